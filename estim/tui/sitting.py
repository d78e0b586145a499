"""Hold one visit between its screens: what was confirmed, and what is known around it.

Rules:
1. Each confirmation is written first and counts once it is durable; what could not be written was
   not confirmed.
2. Nothing is taken over from an earlier visit unless somebody said that it did not change.
3. What output waits for is worked out anew each time it is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from estim.errors import LimitRefused
from estim.prepare import roster
from estim.prepare.site import SitePolicy
from estim.profile.library import find
from estim.profile.loader import LoadedProfile
from estim.tui import words
from estim.tui.controller import SessionController, Stimulation, VisitPlan
from estim.tui.running import RunningPlan
from estim.units import MS_PER_S
from estim.visit import course, guide
from estim.visit.course import Visit
from estim.visit.guide import Earlier, Given
from estim.visit.prompts import schedule_for_a_person
from estim.visit.protocol import LoadedProtocol, Step
from estim.visit.questions import Answers, Form, Remark

PATIENT_STOP_REPORTED = ("pressed", "tested")


def given_for(
    records: Path, configuration: Path, policy: SitePolicy, pseudonym: str, today: date
) -> Given:
    """Return what is known of a person before a visit; reads files.

    Raises:
        EstimError: roster or record folder cannot be read.
    """
    return Given(
        today=today,
        sensation_valid_days=policy.sensation_valid_days,
        electrode_uses_max=policy.electrode_uses_max,
        clinicians=frozenset(
            each.id for each in roster.operators(configuration) if each.may_override
        ),
    )


class Sitting:
    """One visit at this station.

    Args:
        loaded: the protocol.
        given: what was known before.
        controller: drives the engine; its record is open.
        plan: whose visit it is, and who begins it.
        policy: of the site.
    """

    def __init__(
        self,
        loaded: LoadedProtocol,
        given: Given,
        controller: SessionController,
        plan: VisitPlan,
        policy: SitePolicy,
    ) -> None:
        self.controller = controller
        self.visit: Visit = course.begin(loaded.protocol, plan.pseudonym, plan.operator)
        self.note_draft = ""
        """The note as somebody has edited it, until it is saved at the end."""
        self._given = given
        self._policy = policy
        self._one_at_a_time = asyncio.Lock()

    @property
    def given(self) -> Given:
        """Return what is known around the visit, the device's word on the patient's stop too."""
        snapshot = self.controller.snapshot
        if snapshot is None or snapshot.device is None:
            return self._given
        is_reported = self._given.is_patient_stop_reported
        self._given = replace(
            self._given,
            has_patient_stop=snapshot.device.has_patient_stop,
            is_patient_stop_reported=is_reported or snapshot.patient_stop in PATIENT_STOP_REPORTED,
        )
        return self._given

    # What is asked.

    def form(self, step: Step, answers: Answers) -> Form:
        """Return what a step asks, given the answers so far."""
        return guide.form(step, self.visit, self.given, answers)

    def remarks(self, step: Step, answers: Answers) -> Sequence[Remark]:
        """Return what the answers mean."""
        return guide.remarks(step, self.visit, self.given, answers)

    def chart(self, step: Step | None, answers: Answers) -> Sequence[str]:
        """Return the body chart of a step that is about places."""
        return guide.chart(step, self.visit, answers)

    def earlier(self, step: Step) -> Earlier | None:
        """Return the answers of an earlier visit that may still hold."""
        return self._given.earlier.get(guide.earlier_key(step))

    def overridable(self) -> Sequence[tuple[str, str]]:
        """Return the screening items that a clinician might take responsibility for."""
        return guide.overridable(self.visit, self.given)

    # What is confirmed.

    async def annotate(self, kind: str, content: Mapping[str, Any]) -> None:
        """Write an annotation down, then let it count (rule 1).

        Raises:
            EstimError: it was not kept.
        """
        async with self._one_at_a_time:
            await self.controller.annotate(kind, content)
            self.visit = course.fold(self.visit, kind, content)

    async def confirm(self, step: Step, answers: Answers, carried_from: str | None = None) -> None:
        """Confirm a step.

        Raises:
            EstimError: it does not come now, or was not kept.
        """
        kept = answers if carried_from else guide.stamped(step, self._given, answers)
        await self.annotate(*course.answer(self.visit, step, kept, carried_from))

    async def leave_out(self, step: Step, reason: str) -> None:
        """Leave a step out.

        Raises:
            EstimError: it may not be left out, or that was not kept.
        """
        await self.annotate(*course.skip(self.visit, step, reason))

    async def remark(self, text: str) -> None:
        """Keep a remark.

        Raises:
            EstimError: it was not kept.
        """
        content = {"text": course.checked_text(text), "operator": self.visit.operator}
        await self.annotate(course.REMARK, content)

    async def override(self, item: str, clinician: str, reason: str) -> None:
        """Let a clinician take responsibility for a screening item.

        Raises:
            EstimError: it was not kept.
        """
        content = {"item": item, "clinician": clinician, "reason": course.checked_text(reason)}
        await self.annotate(course.OVERRIDE, content)

    async def hand_over(self, to_operator: str) -> None:
        """Note who goes on, with the amplitudes and ceilings that were read back.

        Raises:
            EstimError: it was not kept.
        """
        snapshot = self.controller.snapshot
        channels = snapshot.channels if snapshot is not None else ()
        content = {
            "from_operator": self.visit.operator,
            "to_operator": to_operator,
            "amplitudes_ua": [channel.shown_ua for channel in channels],
            "ceilings_ua": [channel.ceiling_ua for channel in channels],
        }
        await self.annotate(course.HANDOVER, content)

    # Output.

    @property
    def profile(self) -> LoadedProfile | None:
        """Return the profile that was chosen for the pads."""
        profile_id = guide.profile_id(self.visit)
        return find(profile_id) if profile_id else None

    def output_problems(self) -> Sequence[str]:
        """Return everything that output still waits for."""
        return guide.output_problems(self.visit, self.given)

    def check_output(self) -> None:
        """Refuse where output still waits for something.

        Raises:
            LimitRefused: with every reason.
        """
        problems = self.output_problems()
        if problems:
            raise LimitRefused("; ".join(problems))

    async def connect(self, url: str) -> None:
        """Find the device.

        Raises:
            EstimError: it is not there, or it is another one.
        """
        await self.controller.connect(url)

    def note(self, kind: str, content: dict[str, Any]) -> None:
        """Have the record keep what happens while current flows; the visit follows at once."""
        self.controller.note(kind, content)
        self.visit = course.fold(self.visit, kind, content)

    def running_plan(self) -> RunningPlan:
        """Return what is asked while current flows, and the markers of the visit before."""
        policy, given = self._policy, self._given
        count = max(given.markers, default=0)
        return RunningPlan(
            self.note,
            schedule_for_a_person(
                is_first_exposure=given.is_first_session,
                comfort_every_ms=policy.comfort_check_s * MS_PER_S,
                attention_after_ms=policy.attention_check_s * MS_PER_S,
            ),
            tuple(given.markers.get(number, 0) for number in range(1, count + 1)),
        )

    async def prepare(self) -> None:
        """Load what this visit allows.

        Raises:
            EstimError: something is missing, or a limit refuses it.
        """
        self.check_output()
        loaded = self.profile
        assert loaded is not None
        arguments = guide.arguments(self.visit, self.given, loaded.profile)
        await self.controller.prepare(
            Stimulation(
                loaded,
                duration_s=arguments.duration_s,
                electrode_area_cm2=arguments.electrode_area_cm2,
                patient_ceiling_ua=arguments.patient_ceiling_ua,
                is_sensation_impaired=arguments.is_sensation_impaired,
            )
        )

    def placement_words(self) -> Sequence[str]:
        """Return site and side of every pad."""
        return guide.placement_words(self.visit)

    def read_back_text(self) -> str:
        """Return what is read back before arming: person, site and side, ceilings and why."""
        prepared, loaded = self.controller.prepared, self.profile
        assert prepared is not None
        assert loaded is not None
        lines = [f"Person     {self.visit.pseudonym}", f"Treatment  {loaded.profile.title}"]
        lines += self.placement_words()
        for ceiling in prepared.ceilings:
            binding = "; ".join(map(str, ceiling.reasons[:1]))
            lines.append(
                f"channel {ceiling.channel}: at most {words.current(ceiling.ceiling_ua)}"
                + (f" ({binding})" if binding else "")
            )
        lines.append(f"Duration   {prepared.settings.duration_s // 60} min")
        arguments = guide.arguments(self.visit, self.given, loaded.profile)
        return "\n".join([*lines, *arguments.words])

    async def read_back(self) -> None:
        """Note that site, side and limits were read back.

        Raises:
            EstimError: it was not kept.
        """
        prepared, loaded = self.controller.prepared, self.profile
        assert prepared is not None
        assert loaded is not None
        sites = guide.sites_by_channel(self.visit)
        content = {
            "prepared_digest": self.controller.prepared_digest,
            "program_digest": prepared.program.digest,
            "profile": loaded.profile.id,
            "site_words": "; ".join(self.placement_words()),
            "side_words": " and ".join(guide.sides(sites)),
            "ceilings_ua": [ceiling.ceiling_ua for ceiling in prepared.ceilings],
            "operator": self.visit.operator,
        }
        await self.annotate(course.READ_BACK, content)

    async def close(self) -> None:
        """Seal the record.

        Raises:
            EstimError: output is possible, or the record cannot be sealed.
        """
        ended = "visit ended" if self.visit.is_reviewed else "visit left unfinished"
        await self.controller.close(ended)
