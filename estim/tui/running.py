"""What runs beside the engine's session: level keys, prompts, alarms. Knows no widget.

Rules:
1. What it asks of the engine it returns; nothing here sends a request but an annotation.
2. Every marker, every prompt that ended, every alarm raised or acknowledged is annotated.
3. An answer counts only for a question that stood on screen for half a second at least.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from estim.session.messages import Notice, Snapshot
from estim.session.states import HostState
from estim.units import US_PER_S, format_ma
from estim.visit import alarms
from estim.visit.alarms import Alarm, Alarms, Finding, Priority, Watch
from estim.visit.level import MARKER_WORDS, LevelKeys, Marker
from estim.visit.prompts import NO_PROMPTS, Meaning, Prompt, Prompts, Schedule, Settled, Topic

Annotate = Callable[[str, dict[str, Any]], None]

READ_US = US_PER_S // 2
PAUSE_AGAIN_US = 1 * US_PER_S
RESTING = ("waiting", "ramp_up", "ramp_down", "off")


@dataclass(frozen=True, slots=True)
class RunningPlan:
    """What a visit gives its session.

    Attributes:
        annotate: takes what the record is to hold, as kind and content.
        schedule: what is asked when; nothing on a bench.
        comfortable_ua: comfortable markers of an earlier visit, by channel; 0 for none.
        is_prompt_heard: a prompt rings; alarms ring always.
    """

    annotate: Annotate
    schedule: Schedule = NO_PROMPTS
    comfortable_ua: tuple[int, ...] = ()
    is_prompt_heard: bool = True


@dataclass(frozen=True, slots=True)
class Turn:
    """What one look at a snapshot asks for: bells to ring, a pause."""

    bells: int = 0
    must_pause: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer leads to: words to show, channels (from 0) to raise by the offered step."""

    words: str = ""
    raised: tuple[int, ...] = ()


class Running:
    """Hold level keys, prompts and alarms of one session."""

    def __init__(self, plan: RunningPlan) -> None:
        self._plan = plan
        self.keys = LevelKeys(0, 0)
        self.prompts = Prompts(plan.schedule)
        self.alarms = Alarms()
        self._watch = Watch()
        self._happened: list[Finding] = []
        self._state: HostState | None = None
        self._shown_id = ""
        self._shown_us = 0
        self._pause_us: int | None = None

    def prepare(self, channel_count: int, step_ua: int) -> None:
        """Get ready for a programme; markers outlive a stop, not another number of channels."""
        if channel_count != self.keys.count:
            self.keys = LevelKeys(channel_count, step_ua, self._plan.comfortable_ua)

    # What the engine says.

    def hear(self, notice: Notice) -> None:
        """Take a notice of the engine."""
        self._watch.hear(notice)

    def lose(self, reason: str) -> None:
        """Take it that the engine is gone."""
        self._happened.append(alarms.engine_lost(reason))

    def see(self, snapshot: Snapshot, *, is_known: bool, now_us: int) -> Turn:
        """Take the newest snapshot."""
        is_running = snapshot.state is HostState.RUNNING
        self._follow(snapshot, now_us)
        left_ms = snapshot.duration_ms - snapshot.plateau_ms if snapshot.duration_ms > 0 else None
        can_rise = is_running and bool(self._risable(snapshot))
        self._record(self.prompts.advance(snapshot.delivered_ms, left_ms, can_rise=can_rise))
        must_pause = is_running and self.prompts.is_pause_due
        if must_pause and (self._pause_us is None or now_us - self._pause_us >= PAUSE_AGAIN_US):
            self._pause_us = now_us
            self._happened.append(alarms.attention_paused())
        else:
            must_pause = False
        shown = self.prompts.shown
        is_asked_anew = shown is not None and shown.id != self._shown_id
        if (shown.id if shown else "") != self._shown_id:
            self._shown_id, self._shown_us = shown.id if shown else "", now_us
        also, self._happened = [*self._happened, *self._asked()], []
        found = self._watch.findings(snapshot, is_known=is_known, also=also)
        raised = self.alarms.see(found, now_us)
        for alarm in raised:
            self._annotate_alarm(alarm, "raised")
        gravest = alarms.gravest(raised)
        bells = self.alarms.bells_due(now_us) if gravest is None else gravest.bells
        return Turn(max(bells, int(is_asked_anew and self._plan.is_prompt_heard)), must_pause)

    def _follow(self, snapshot: Snapshot, now_us: int) -> None:
        """Begin where output began at zero; a return to where it was is no new beginning."""
        before, self._state = self._state, snapshot.state
        is_return = any(row.marker_ua for row in snapshot.channels)
        if snapshot.state is HostState.RUNNING and before is not HostState.RUNNING:
            self._pause_us = None
            if not is_return:
                self.keys.begin(now_us)
        chosen = [row for index, row in enumerate(snapshot.channels) if index in self.keys.chosen]
        self.keys.advance(now_us, is_resting=any(row.cycle_phase in RESTING for row in chosen))

    def _risable(self, snapshot: Snapshot) -> tuple[int, ...]:
        """Return the channels (from 0) that carry current and can take a step more."""
        return tuple(
            index
            for index, row in enumerate(snapshot.channels)
            if 0 < row.target_ua <= row.ceiling_ua - self.keys.step_ua and not row.is_lead_off
        )

    def _asked(self) -> list[Finding]:
        """Return what prompts are worth an alarm of low priority."""
        due = []
        for prompt in self.prompts.open:
            if prompt.topic is Topic.SKIN and prompt.is_overdue:
                due.append(alarms.skin_check_due())
            elif prompt.topic is Topic.END:
                due.append(alarms.session_ends())
        return due

    # Keys.

    def press_raise(self, snapshot: Snapshot, now_us: int) -> str:
        """Take the raise key; return why it is refused, nothing where it may pass."""
        self._record(self.prompts.note_key())
        return self.keys.press_raise(now_us, [row.target_ua for row in snapshot.channels])

    def press_lower(self, now_us: int) -> None:
        """Take the lower key."""
        self._record(self.prompts.note_key())
        self.keys.press_lower(now_us)

    def press_resume(self) -> None:
        """Take the resume key: somebody is there again."""
        self._record(self.prompts.note_key())

    def mark(self, marker: Marker, snapshot: Snapshot, now_us: int) -> str:
        """Mark the chosen channels at what flows; return the words for it."""
        self._record(self.prompts.note_key())
        felt = [min(row.target_ua, row.setpoint_ua) for row in snapshot.channels]
        marked, why = self.keys.mark(now_us, marker, felt)
        for one in marked:
            content = {"channel": one.channel, "marker": one.marker.value}
            self._plan.annotate("marker", {**content, "amplitude_ua": one.amplitude_ua})
        currents = ", ".join(f"{one.channel}: {format_ma(one.amplitude_ua)} mA" for one in marked)
        return why or f"marked {MARKER_WORDS[marker]} at {currents}"

    def answer(self, key: str, drawn: Prompt | None, snapshot: Snapshot, now_us: int) -> Answered:
        """Take an answer key for the prompt that was drawn."""
        if drawn is None or drawn.id != self._shown_id:
            return Answered("nothing is asked")
        if now_us - self._shown_us < READ_US:
            return Answered("the question has just come: read it, then answer")
        settled = self.prompts.answer(self._shown_id, key)
        self._record(settled)
        if not settled:
            return Answered("the question has no such answer")
        given = settled[0]
        if given.meaning is Meaning.ADVISE_STOP:
            self._happened.append(alarms.skin_harmed(given.advice))
        raised: tuple[int, ...] = ()
        words = given.advice
        if given.meaning is Meaning.RAISE and snapshot.state is HostState.RUNNING:
            self.keys.take_offer(now_us)
            raised = self._risable(snapshot)
            targets = [row.target_ua for row in snapshot.channels]
            words = self.keys.press_raise(now_us, targets, frozenset(raised))
            raised = () if words else raised
        return Answered(words, raised)

    def acknowledge(self, drawn: tuple[Alarm, ...]) -> None:
        """Acknowledge the alarms that were drawn."""
        for alarm in self.alarms.acknowledge(drawn):
            self._annotate_alarm(alarm, "acknowledged")

    # What is shown.

    @property
    def strip_alarm(self) -> str:
        """Return the alarm of high priority that every screen shows, nothing without one."""
        for alarm in self.alarms.latched:
            if alarm.finding.priority is Priority.HIGH:
                return f"{Priority.HIGH.sign} {alarm.finding.text}"
        return ""

    @property
    def strip_prompt(self) -> str:
        """Return the question that waits, as every other screen names it, nothing without one."""
        shown = self.prompts.shown
        if shown is None:
            return ""
        return f"? {shown.topic.value}{' OVERDUE' if shown.is_overdue else ''}"

    # The record.

    def _record(self, settled: tuple[Settled, ...]) -> None:
        for one in settled:
            self._plan.annotate(
                "prompt",
                {
                    "prompt": one.prompt.id,
                    "answer": one.answer,
                    "delivered_ms": one.delivered_ms,
                },
            )

    def _annotate_alarm(self, alarm: Alarm, what: str) -> None:
        finding = alarm.finding
        priority = finding.priority.name.lower()
        self._plan.annotate("alarm", {"cause": finding.cause, "priority": priority, "what": what})
