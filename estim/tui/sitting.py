"""Hold one visit between its screens: what was confirmed, and what is known around it.

Rules:
1. Each confirmation is written first and counts once it is durable; what could not be written was
   not confirmed.
2. Nothing is taken over from an earlier visit unless somebody said that it did not change.
3. What output waits for is worked out anew each time it is asked for.
4. While output is possible no step that gates it is answered, left out or overridden.
5. The patient's stop was tried once the device reported it pressed while this visit asked for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from estim.errors import EstimError, LimitRefused
from estim.prepare import roster, session
from estim.prepare.site import SitePolicy
from estim.profile.loader import LoadedProfile
from estim.record import station_key
from estim.session.states import ENERGISED, HostState
from estim.tui import session_words, words
from estim.tui.controller import SessionController, Stimulation, VisitPlan
from estim.tui.link import Delivered
from estim.tui.running import RunningPlan
from estim.units import MS_PER_S
from estim.visit import carry, course, gates, guide, history, placement, plan, repeat, treatment
from estim.visit.carry import COMFORTABLE, PLACE, Offer
from estim.visit.course import Visit
from estim.visit.known import Given
from estim.visit.prompts import schedule_for_a_person
from estim.visit.protocol import BEFORE_OUTPUT, LoadedProtocol, Step
from estim.visit.questions import Answer, Answers, Form, Gravity, Remark
from estim.visit.repeat import Shown

PRESSED = "pressed"
STIMULATE = "stimulate"


def given_for(
    records: Path,
    configuration: Path,
    policy: SitePolicy,
    pseudonym: str,
    protocol_id: str,
    today: date,
) -> Given:
    """Return what is known of a person before a visit; reads files.

    Raises:
        EstimError: roster or record folder cannot be read.
    """
    return repeat.given(
        history.visits_of(records, pseudonym, station_key.load(configuration)),
        today,
        screening_valid_days=policy.screening_valid_days,
        sensation_valid_days=policy.sensation_valid_days,
        electrode_uses_max=policy.electrode_uses_max,
        clinicians=roster.clinicians(configuration),
        protocol_id=protocol_id,
    )


class Sitting:
    """One visit at this station.

    Args:
        loaded: the protocol.
        given: what was known before.
        controller: drives the engine; its record is open.
        whose: whose visit it is, and who begins it.
        policy: of the site.
    """

    def __init__(
        self,
        loaded: LoadedProtocol,
        given: Given,
        controller: SessionController,
        whose: VisitPlan,
        policy: SitePolicy,
    ) -> None:
        self.controller = controller
        self.visit: Visit = course.begin(
            loaded.protocol, whose.pseudonym, whose.operator, loaded.profiles
        )
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
        self._given = replace(self._given, has_patient_stop=snapshot.device.has_patient_stop)
        return self._given

    @property
    def is_energised(self) -> bool:
        """Tell whether output is possible, or zero not confirmed yet."""
        snapshot = self.controller.snapshot
        state = snapshot.state if snapshot is not None else HostState.DISCONNECTED
        return state in (*ENERGISED, HostState.STOPPING)

    @property
    def is_connected(self) -> bool:
        """Tell whether a device is there."""
        snapshot = self.controller.snapshot
        return snapshot is not None and snapshot.device is not None

    def see_trial(self) -> bool:
        """Look whether the patient's stop is pressed, while it is tried (rule 5)."""
        snapshot = self.controller.snapshot
        if snapshot is not None and snapshot.patient_stop == PRESSED:
            self._given = replace(self._given, is_patient_stop_reported=True)
        return self._given.is_patient_stop_reported

    # What is asked.

    def form(self, step: Step, answers: Answers) -> Form:
        """Return what a step asks, given the answers so far."""
        return guide.form(step, self.visit, self.given, answers)

    def remarks(self, step: Step, answers: Answers) -> Sequence[Remark]:
        """Return what the answers mean; of pads, the density under them too."""
        found = guide.remarks(step, self.visit, self.given, answers)
        return (*found, *self._density(answers)) if step.kind == PLACE else found

    def _density(self, answers: Answers) -> Sequence[Remark]:
        """Return the density under each channel's pads at the ceiling that this size allows."""
        placed, loaded = gates.placed(self.visit, self.given, answers), self.profile
        if loaded is None or placed.area_cm2 is None:
            return ()
        planned = self.found_plan.plan
        try:
            found = session.prepare(
                loaded.profile,
                is_bench=False,
                site=self._policy,
                electrode_area_cm2=placed.area_cm2,
                patient_ceiling_ua=planned.ceiling_ua if planned is not None else None,
                is_sensation_impaired=placed.is_sensation_impaired,
            )
        except EstimError:
            return ()  # what refuses it is among the problems
        return [
            Remark(
                Gravity.NOTE,
                f"channel {ceiling.channel}: "
                + placement.density_words(
                    channel, ceiling.ceiling_ua, found.bounds.amplitude_step_ua, placed.area_cm2
                ),
            )
            for channel, ceiling in zip(found.program.channels, found.ceilings, strict=True)
        ]

    def chart(self, step: Step | None, answers: Answers) -> Sequence[str]:
        """Return the body chart of a step that is about places."""
        return guide.chart(step, self.visit, answers)

    def earlier(self, step: Step) -> Shown:
        """Return the answers of an earlier visit that may still hold, or why there are none."""
        return repeat.shown(step, self.visit, self.given)

    def overridable(self) -> Sequence[tuple[str, str]]:
        """Return the screening items that a clinician might take responsibility for."""
        return gates.overridable(self.visit, self.given)

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
        self._check_gating(step)
        kept = answers if carried_from else guide.stamped(step, self._given, answers)
        await self.annotate(*course.answer(self.visit, step, kept, carried_from))

    async def leave_out(self, step: Step, reason: str) -> None:
        """Leave a step out.

        Raises:
            EstimError: it may not be left out, or that was not kept.
        """
        self._check_gating(step)
        await self.annotate(*course.skip(self.visit, step, reason))

    def is_held(self, step: Step) -> bool:
        """Tell whether a step cannot be answered now because output is possible (rule 4)."""
        return self.is_energised and step.kind in (*BEFORE_OUTPUT, STIMULATE)

    def _check_gating(self, step: Step) -> None:
        if self.is_held(step):
            raise LimitRefused(f"output is on: stop it first, then answer '{step.title}'")

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
        if self.is_energised:
            raise LimitRefused("output is on: stop it first, then override")
        content = {"item": item, "clinician": clinician, "reason": course.checked_text(reason)}
        await self.annotate(course.OVERRIDE, content)

    @property
    def found_plan(self) -> plan.FoundPlan:
        """Return the plan that holds now."""
        return guide.found_plan(self.visit, self.given)

    async def make_plan(self, content: Mapping[str, Any]) -> None:
        """Keep a plan; it holds at once, for what is loaded next.

        Raises:
            EstimError: it is no plan, or was not kept.
        """
        plan.check(content, self._given.today)
        await self.annotate(course.PLAN, content)

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
        """Return the profile that was chosen, as it was read when the visit began."""
        return self.visit.profiles.get(treatment.profile_id(self.visit))

    def output_problems(self) -> Sequence[str]:
        """Return everything that output still waits for."""
        return guide.output_problems(self.visit, self.given)

    @property
    def stimulation_step(self) -> Step | None:
        """Return the stimulation that comes now, else the last one that was answered."""
        visit = self.visit
        if visit.next_step is not None and visit.next_step.kind == STIMULATE:
            return visit.next_step
        steps = [step for step in visit.protocol.steps if step.kind == STIMULATE]
        answered = [step for step in steps if visit.may_open(step)]
        return answered[-1] if answered else None

    def check_output(self) -> None:
        """Refuse where output still waits for something.

        Raises:
            LimitRefused: with every reason.
        """
        problems = list(self.output_problems())
        if self.stimulation_step is None:
            ahead = self.visit.next_step
            problems.append(f"first comes '{ahead.title}'" if ahead else "the visit was reviewed")
        if problems:
            raise LimitRefused("; ".join(problems))

    @property
    def delivered_ms(self) -> int:
        """Return for how long current flowed in this visit, whatever the profile."""
        return sum(each.delivered_ms for each in self.controller.deliveries)

    async def confirm_stimulation(self) -> bool:
        """Confirm the stimulation with everything that this visit delivered; tell whether it was.

        Raises:
            EstimError: output is possible, or it was not kept.
        """
        step, deliveries = self.stimulation_step, self.controller.deliveries
        if step is None or not deliveries:
            return False
        answers = delivered_answers(deliveries)
        former = self.visit.answered.get(step.id)
        if former is not None and dict(former.answers) == answers:
            return False  # nothing flowed since it was confirmed
        await self.confirm(step, answers)
        return True

    async def connect(self, url: str) -> None:
        """Find the device.

        Raises:
            EstimError: it is not there, or it is another one.
        """
        await self.controller.connect(url)

    async def press_simulated_stop(self) -> None:
        """Press and release the stop of the simulated person; the record has both.

        Raises:
            EstimError: it is no simulator, or it was not kept.
        """
        await self.controller.inject("patient-stop press")
        await self.controller.next_snapshot()
        self.see_trial()
        await self.controller.inject("patient-stop release")

    def note(self, kind: str, content: dict[str, Any]) -> None:
        """Have the record keep what happens while current flows; the visit follows at once."""
        self.controller.note(kind, content)
        self.visit = course.fold(self.visit, kind, content)

    def running_plan(self) -> RunningPlan:
        """Return what is asked while current flows, and the comfortable levels known so far.

        What was marked today goes before a level of an earlier visit; neither stands above what is
        allowed now.
        """
        policy, prepared = self._policy, self.controller.prepared
        ceilings = prepared.ceilings if prepared is not None else ()
        marked = [self.visit.markers.get((each.channel, COMFORTABLE), 0) for each in ceilings]
        earlier = [offer.amplitude_ua or 0 for offer in self.last_levels()]
        levels = [
            today_ua if 0 < today_ua <= each.ceiling_ua else earlier_ua
            for each, today_ua, earlier_ua in zip(ceilings, marked, earlier, strict=True)
        ]
        return RunningPlan(
            self.note,
            schedule_for_a_person(
                is_first_exposure=guide.is_first_exposure(self.visit, self.given),
                comfort_every_ms=policy.comfort_check_s * MS_PER_S,
                attention_after_ms=policy.attention_check_s * MS_PER_S,
            ),
            tuple(levels),
        )

    def last_levels(self) -> Sequence[Offer]:
        """Return each channel's last comfortable level, as far as it serves with what is loaded."""
        prepared = self.controller.prepared
        if prepared is None:
            return ()
        ceilings_ua = tuple(ceiling.ceiling_ua for ceiling in prepared.ceilings)
        return repeat.markers(self.visit, self.given, prepared.program.digest, ceilings_ua)

    async def prepare(self) -> None:
        """Load what this visit allows.

        Raises:
            EstimError: something is missing, or a limit refuses it.
        """
        self.check_output()
        loaded = self.profile
        assert loaded is not None
        arguments = guide.arguments(self.visit, self.given, loaded.profile, self.delivered_ms)
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
        return treatment.placement_words(self.visit)

    def read_back_text(self) -> str:
        """Return what is read back before arming: person, site and side, ceilings and why."""
        prepared, loaded = self.controller.prepared, self.profile
        assert prepared is not None
        assert loaded is not None
        rows = [("Person", self.visit.pseudonym), ("Treatment", loaded.profile.title)]
        offers = self.last_levels() if self.given.visits else ()
        for ceiling, placed in zip(prepared.ceilings, self.placement_words(), strict=False):
            limits = [session_words.limit(str(reason)) for reason in ceiling.reasons[:1]]
            binding = f" ({limits[0]})" if limits else ""
            rows += [
                (f"Channel {ceiling.channel}", placed.partition(": ")[2]),
                ("", f"at most {words.current(ceiling.ceiling_ua)}{binding}"),
            ]
            rows += [
                ("", f"last {offer.words}" if offer.amplitude_ua else offer.words)
                for offer in offers
                if offer.channel == ceiling.channel and offer.words != carry.NO_LEVEL
            ]
        minutes, seconds = divmod(prepared.settings.duration_s, 60)
        rows.append(("Duration", f"{minutes} min" + (f" {seconds} s" if seconds else "")))
        arguments = guide.arguments(self.visit, self.given, loaded.profile, self.delivered_ms)
        rows += [("", told) for told in arguments.words]
        return words.table(rows)

    async def read_back(self) -> None:
        """Note that site, side and limits were read back.

        Raises:
            EstimError: it was not kept.
        """
        prepared, loaded = self.controller.prepared, self.profile
        assert prepared is not None
        assert loaded is not None
        sites = treatment.sites_by_channel(self.visit)
        content = {
            "prepared_digest": self.controller.prepared_digest,
            "program_digest": prepared.program.digest,
            "profile": loaded.profile.id,
            "placement": list(self.placement_words()),
            "site_words": "; ".join(self.placement_words()),
            "side_words": " and ".join(treatment.sides(sites)),
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


def delivered_answers(deliveries: Sequence[Delivered]) -> dict[str, Answer]:
    """Return what a stimulation is confirmed with: everything that was delivered."""
    channels = max(len(each.pulse_counts) for each in deliveries)
    answers: dict[str, Answer] = {
        "profile": deliveries[-1].profile_id,
        "stimulations": len(deliveries),
        "delivered_ms": sum(each.delivered_ms for each in deliveries),
        "plateau_ms": sum(each.plateau_ms for each in deliveries),
    }
    for index in range(channels):
        held = [each for each in deliveries if index < len(each.pulse_counts)]
        answers[f"pulses-{index + 1}"] = sum(each.pulse_counts[index] for each in held)
        answers[f"highest_ua-{index + 1}"] = max(each.highest_ua[index] for each in held)
    return answers
