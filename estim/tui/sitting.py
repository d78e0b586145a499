"""Hold one visit between its screens: what was confirmed, and what is known around it.

Rules:
1. Each confirmation is written first and counts once it is durable; what could not be written was
   not confirmed.
2. Nothing is taken over from an earlier visit unless somebody said that it did not change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from estim.errors import LimitRefused
from estim.profile.library import find
from estim.profile.loader import LoadedProfile
from estim.tui.controller import SessionController, Stimulation
from estim.visit import course, guide
from estim.visit.course import Visit
from estim.visit.guide import Earlier, Given, Remark
from estim.visit.protocol import LoadedProtocol, Step
from estim.visit.questions import Answers, Form


class Sitting:
    """One visit at this station.

    Args:
        loaded: the protocol.
        pseudonym: whose visit it is.
        operator: who begins it.
        given: what was known before.
        controller: drives the engine; its record is open.
    """

    def __init__(
        self,
        loaded: LoadedProtocol,
        pseudonym: str,
        operator: str,
        given: Given,
        controller: SessionController,
    ) -> None:
        self.controller = controller
        self.given = given
        self.visit: Visit = course.begin(loaded.protocol, pseudonym, operator)
        self._one_at_a_time = asyncio.Lock()

    # What is asked.

    def form(self, step: Step, answers: Answers) -> Form:
        """Return what a step asks, given the answers so far."""
        return guide.form(step, self.visit, self.given, answers)

    def remarks(self, step: Step, answers: Answers) -> Sequence[Remark]:
        """Return what the answers mean."""
        return guide.remarks(step, self.visit, self.given, answers)

    def earlier(self, step: Step) -> Earlier | None:
        """Return the answers of an earlier visit that may still hold."""
        return guide.earlier(step, self.visit, self.given)

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
        await self.annotate(*course.answer(self.visit, step, answers, carried_from))

    async def leave_out(self, step: Step, reason: str) -> None:
        """Leave a step out.

        Raises:
            EstimError: it may not be left out, or that was not kept.
        """
        await self.annotate(*course.skip(self.visit, step, reason))

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
        """Return the profile that was chosen with the electrodes."""
        profile_id = guide.profile_id(self.visit)
        return find(profile_id) if profile_id else None

    async def prepare(self) -> None:
        """Load what this visit allows.

        Raises:
            EstimError: something is missing, or a limit refuses it.
        """
        problems = guide.output_problems(self.visit, self.given)
        if problems:
            raise LimitRefused("; ".join(problems))
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

    def read_back_text(self) -> str:
        """Return what is read back before arming: person, site and side, ceilings and why."""
        prepared, loaded = self.controller.prepared, self.profile
        assert prepared is not None
        assert loaded is not None
        lines = [f"Person     {self.visit.pseudonym}", f"Treatment  {loaded.profile.title}"]
        lines += guide.placement_words(self.visit)
        for ceiling in prepared.ceilings:
            because = "; ".join(str(reason) for reason in ceiling.reasons[:1])
            lines.append(
                f"Channel {ceiling.channel}  at most {ceiling.ceiling_ua / 1000:g} mA"
                + (f"  ({because})" if because else "")
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
        content = {
            "prepared_digest": self.controller.prepared_digest,
            "profile": loaded.profile.id,
            "placement": guide.placement_words(self.visit),
            "ceilings_ua": [ceiling.ceiling_ua for ceiling in prepared.ceilings],
            "operator": self.visit.operator,
        }
        await self.annotate(course.READ_BACK, content)
