"""The host of the model: one step at a time, along the table that the session runs.

Rules:
1. The state moves by `states.follow` alone, what a Drive wants is `states.WANTED`, and whether a
   Drive may go is `safety.kernel.review`: the product's own, not restated here.
2. The names follow `estim.session`; what is left out stands in docs/model.md.
3. A long timer (record, goal, zero) may run out at any time: it is an event of its own.
"""

from __future__ import annotations

from functools import lru_cache

from estim.safety import kernel
from estim.safety.bounds import Bound as Limit
from estim.safety.bounds import Bounds, ChannelBounds, Owner, intersect
from estim.safety.kernel import DriveRequest, Facts, RiseKind
from estim.safety.verdict import Approved
from estim.session.states import ENERGISED, WANTED, HostState, Trigger, follow
from firmware_protocol.messages import DeviceState, FaultCode, InputFlag, PolicyFlag, WantedState
from firmware_protocol.program import ChannelProgram, Phase, PulseProgram
from estim.prepare.session import REFERENCE
from tests.model import words
from tests.model.words import ALIVE, ASLEEP, DEAD, HELD, UNIT_UA, Bound, Frame, Host

_S, _T = HostState, Trigger
_FIELDS = Host._fields
REACHED = {"arm": _T.ARMED, "start": _T.STARTED, "resume": _T.STARTED}


@lru_cache
def programme(channels: int) -> PulseProgram:
    """Return a programme of short balanced pulses at 40 Hz, whose channels never overlap."""
    phases = (Phase(100, 1000), Phase(100, -1000))
    return PulseProgram(
        tuple(
            ChannelProgram(phases, unit_us=1, pulse_period_us=25_000, pulse_offset_us=5_000 * index)
            for index in range(channels)
        )
    )


@lru_cache
def bounds(channels: int, top: int) -> Bounds:
    """Return the bounds of a bench session whose patient limit is `top` units."""
    row = ChannelBounds((Limit("amplitude_ua", top * UNIT_UA, Owner.PATIENT),), 2500)
    return intersect(Bounds((row,) * channels, (), PolicyFlag.NONE, True, 1), REFERENCE)


@lru_cache(maxsize=1 << 18)
def is_approved(
    bound: Bound,
    wanted: WantedState,
    targets: tuple[int, ...],
    former: tuple[int, ...],
    kind: RiseKind,
    ceiling: tuple[int, ...],
    report: words.Report,
    ages: tuple[int, int],
    has_program: bool,
) -> bool:
    """Ask the kernel itself."""
    status_age, beat_age = ages
    tick_us = bound.tick_ms * 1000
    facts = Facts(
        device_state=report.state,
        status_age_us=status_age * tick_us,
        heartbeat_age_us=beat_age * tick_us,
        running_ms=0,
        digests_match=has_program and report.is_loaded,
        is_fault_latched=report.fault is not FaultCode.NONE,
        lead_off_channels=frozenset(i for i in range(bound.channels) if report.latched >> i & 1),
        inputs=InputFlag.PATIENT_STOP_PRESENT
        | (InputFlag.PATIENT_STOP_PRESSED if report.is_pressed else InputFlag.NONE),
    )
    in_ua = (tuple(UNIT_UA * level for level in row) for row in (targets, former, ceiling))
    targets_ua, former_ua, return_ua = in_ua
    request = DriveRequest(wanted, targets_ua, former_ua, kind, (0,) * len(targets), return_ua)
    program = programme(bound.channels) if has_program else None
    verdict = kernel.review(request, program, facts, bounds(bound.channels, bound.top), 0)
    return isinstance(verdict, Approved)


class HostRules:
    """Take one host, let one thing happen, return the host after it and the frames it sent."""

    # What `step` spreads out and gathers again; declared for whoever reads or checks types.
    life: str
    away: int
    state: HostState
    linking: int
    loading: int
    has_program: bool
    wish: str
    goal: str
    targets: tuple[int, ...]
    marker: tuple[int, ...]
    floor: tuple[int, ...]
    floor_age: int
    seen: words.Report | None
    status_age: int
    echo_age: int
    beat_age: int
    is_beating: bool
    awaits_pause: bool
    stops: bool
    is_acknowledging: bool
    has_latest: bool
    is_leaving: bool
    word: bool
    wordless: int
    dark: int

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.zero = (0,) * bound.channels
        self.sent: list[Frame] = []
        self.has_lowered = self.is_told_rest = False
        self.ways: set[tuple[HostState, Trigger]] = set()

    def first(self) -> Host:
        """Return the host before anybody started it."""
        return self.gone(self.bound.oldest, 0)

    def step(
        self, host: Host, event: str, *more: object
    ) -> tuple[Host, tuple[Frame, ...], bool] | None:
        """Return the host after an event, what it sent, and whether it lowered anything.

        None stands for what cannot happen.
        """
        self.__dict__.update(zip(_FIELDS, host, strict=True))
        self.sent, self.has_lowered, self.is_told_rest = [], False, False
        name, _, argument = event.partition(" ")
        if argument:
            more = (int(argument), *more)
        if getattr(self, f"on_{name}")(*more) is False:
            return None
        if self.life == DEAD:
            return self.gone(self.wordless, self.dark), tuple(self.sent), False
        after = Host(*[self.__dict__[field] for field in _FIELDS])
        return after, tuple(self.sent), self.has_lowered

    def gone(self, wordless: int, dark: int) -> Host:
        zero = self.zero
        return Host(targets=zero, marker=zero, floor=zero, wordless=wordless, dark=dark)

    # The world.

    def on_started(self) -> bool | None:
        """Start the program: nothing is known of what was before."""
        if self.life != DEAD:
            return False
        self.life = ALIVE
        self.dark = 0
        return None

    def on_killed(self) -> bool | None:
        return self._ends(self.life != DEAD)

    def on_held(self) -> bool | None:
        return self._goes(HELD)

    def on_suspended(self) -> bool | None:
        return self._goes(ASLEEP)

    def on_woken(self) -> bool | None:
        """Tell a stall or a sleep before anything that waited is believed."""
        if self.life not in (HELD, ASLEEP) or not self.away:
            return False
        is_told = self.life == ASLEEP or self.away >= self.bound.stalled
        self.life, self.away = ALIVE, 0
        if self.word:
            self.wordless = 0
        if is_told and self.state in ENERGISED:
            self.latch_fault()
        self.watch_liveness()
        return None

    def on_display_frozen(self) -> bool | None:
        if self.life != ALIVE or not self.is_beating:
            return False
        self.is_beating = False
        return None

    def on_display_back(self) -> bool | None:
        if self.life != ALIVE or self.is_beating:
            return False
        self.is_beating = True
        self.beat_age = self.dark = 0
        return None

    def on_interface_gone(self) -> bool | None:
        if self.life != ALIVE or self.is_leaving:
            return False
        self.begin_stop()
        if self.state is _S.STOPPING:
            self.is_leaving = True
            return None
        return self.end_visit()

    def on_waited_long_enough(self) -> bool | None:
        """Give up the wait for zero: of a visit that ends, or of a stop."""
        if self.life != ALIVE or self.state is not _S.STOPPING:
            return False
        if self.is_leaving:
            return self.end_visit()
        self.latch_fault()
        return None

    def on_port_gone(self) -> bool | None:
        if self.life != ALIVE or not self.linking:
            return False
        if self.state in ENERGISED or self.state is _S.STOPPING:
            self.latch_fault()
        self.lose_link()
        self.follow(_T.LINK_CLOSED)
        if self.is_leaving:
            return self.end_visit()
        return None

    def on_tick(self) -> None:
        """Let one tick pass; an engine that can, acts on what has become too old."""
        top = self.bound
        if self.word and self.life == ALIVE:
            self.wordless = 0
        else:
            self.wordless = min(self.wordless + 1, top.oldest)
        if self.life == DEAD:
            self.dark = min(self.dark + 1, top.dark + 1) if self.dark else 0
            return
        self.dark = 0 if self.is_beating else min(self.dark + 1, top.dark + 1)
        if self.seen is not None:
            self.status_age = min(self.status_age + 1, top.silent + 1)
            self.echo_age = min(self.echo_age + 1, top.oldest)
        if any(self.floor):
            self.floor_age += 1
            if self.floor_age >= top.obeyed:
                self.forget_floor()
        self.beat_age = 0 if self.is_beating else min(self.beat_age + 1, top.frozen + 1)
        if self.life != ALIVE:
            self.away = min(self.away + 1, top.stalled)
            return
        self.watch_liveness()
        if self.linking == 1:
            self.sent.append(words.Hello())
        elif self.loading == 1:
            self.sent.append(words.Load())
        if self.stops:
            self.sent.append(words.Stop())
        self.review_drive()

    def watch_liveness(self) -> None:
        if self.state not in ENERGISED:
            return
        if self.beat_age >= self.bound.frozen or self.status_age >= self.bound.silent:
            self.latch_fault()

    def on_latched_elsewhere(self) -> None:
        """The device has latched something that no Status has told yet (for the judge)."""
        self.has_latest = False

    def shown(self, host: Host) -> tuple[int, ...]:
        """Return what a display shows: the larger of what was commanded and what was reported."""
        assert host.seen is not None
        rows = zip(host.targets, host.floor, host.seen.setpoints, host.seen.targets, strict=True)
        return tuple(max(row) for row in rows)

    # The operator.

    def on_connect(self) -> bool | None:
        if not self._hears() or self.state is not _S.DISCONNECTED or self.linking:
            return False
        self.linking = 1
        self.sent.append(words.Hello())
        return None

    def on_prepare(self) -> bool | None:
        if not self._hears() or self.state not in (_S.IDENTIFIED, _S.READY):
            return False
        if self.loading or self.goal or self.wish:
            return False
        self.clear_program()
        self.loading = 1
        self.sent.append(words.Load())
        return None

    def on_arm(self) -> bool | None:
        if not self._hears() or self.state is not _S.READY or self.goal or self.wish:
            return False
        if not self.has_program:
            return False
        self.wish = "arm"
        return None

    def on_start(self) -> bool | None:
        return self._asks_to_start("start")

    def on_resume(self) -> bool | None:
        return any(self.marker) and self._asks_to_start("resume")

    def _asks_to_start(self, wish: str) -> bool | None:
        if not self._hears() or self.state is not _S.ARMED or self.goal or self.wish:
            return False
        self.wish = wish
        self.say(True)
        return None

    def on_raise(self, channel: int) -> bool | None:
        if not self._hears() or self.state is not _S.RUNNING or self.wish:
            return False
        assert self.seen is not None
        self.wish = f"raise {channel}"
        return None

    def on_lower(self, channel: int) -> bool | None:
        if not self._hears() or self.state is not _S.RUNNING or not self.targets[channel]:
            return False
        self.drop_wishes()
        self.note_lowering()
        self.set_target(channel, self.targets[channel] - 1)
        self.review_drive()
        return None

    def on_pause(self) -> bool | None:
        if not self._hears() or self.state is not _S.RUNNING:
            return False
        self.awaits_pause = True
        self.say(False)
        self.note_lowering()
        self.go_to_zero()
        self.follow(_T.PAUSED)
        self.review_drive()
        return None

    def on_stop(self) -> bool | None:
        if not self._hears() or self.state is _S.CLOSED:
            return False
        self.begin_stop()
        return None

    def on_acknowledge(self) -> bool | None:
        if not self._hears() or self.state is not _S.FAULT or self.is_acknowledging:
            return False
        if self.seen is None:
            self.lose_link()
            self.follow(_T.ACKNOWLEDGED_UNLINKED)
            return None
        if self.seen.state is DeviceState.RUNNING or any(self.seen.setpoints):
            return False
        if self.seen.fault is FaultCode.NONE and self.seen.state is not DeviceState.FAULT:
            self.follow(_T.ACKNOWLEDGED)
            return None
        self.is_acknowledging = True
        self.sent.append(words.Acknowledge(0, self.has_latest))
        return None

    def on_acknowledging_timed_out(self) -> bool | None:
        if self.life != ALIVE or not self.is_acknowledging:
            return False
        self.is_acknowledging = False
        return None

    def on_rearm(self, channel: int) -> bool | None:
        if not self._hears() or self.seen is None or self.targets[channel]:
            return False
        if not self.seen.latched >> channel & 1:
            return False
        self.sent.append(words.Acknowledge(1 << channel, self.has_latest))
        return None

    def on_close(self) -> bool | None:
        if not self._hears() or self.goal or follow(self.state, _T.CLOSED) is None:
            return False
        return self.end_visit()

    # The record.

    def on_recorded(self) -> bool | None:
        """What was asked is durable: it may go on."""
        wish, self.wish = self.wish, ""
        if self.life != ALIVE or not wish:
            return False
        if wish in REACHED:
            self.goal = wish
            self.review_drive()
        elif wish == "return":
            self.review_rise(self.marker, RiseKind.RETURN)
        else:
            channel = int(wish.removeprefix("raise "))
            wished = list(self.targets)
            wished[channel] += 1
            self.review_rise(tuple(wished), RiseKind.TARGET)
        return None

    def on_record_too_slow(self) -> bool | None:
        if self.life != ALIVE or not self.wish:
            return False
        self.wish = ""
        return None

    def on_record_failed(self) -> bool | None:
        """No disk: ramp to zero (here at once), or stop."""
        if self.life != ALIVE or self.state not in ENERGISED:
            return False
        self.drop_wishes()
        self.begin_stop()
        return None

    def on_goal_missed(self) -> bool | None:
        if self.life != ALIVE or not self.goal:
            return False
        self.goal = ""
        self.begin_stop()
        return None

    # The line.

    def on_received(self, frame: Frame) -> bool | None:
        """Take what came from the device, if the line of this epoch lets it through."""
        if self.life != ALIVE:
            return False
        assert not isinstance(frame, words.Hello | words.Load | words.Drive | words.Stop)
        assert not isinstance(frame, words.Acknowledge)
        if not self.linking or not self.is_own(frame) or frame.is_late:
            return None
        if isinstance(frame, words.Identity):
            if self.linking == 1 and frame.is_adopted:
                self.linking = 2
                self.follow(_T.IDENTIFIED)
        elif isinstance(frame, words.Accepted):
            if self.loading == 1:
                self.loading = 2
        elif self.linking == 2:
            self.see_status(frame)
            if frame.refused and (self.state in ENERGISED or self.goal):
                if frame.refused != "lead-off":
                    self.begin_stop()
        return None

    def is_own(self, frame: words.Identity | words.Accepted | words.Status) -> bool:
        return frame.epoch == 1

    def see_status(self, frame: words.Status) -> None:
        report, before = frame.report, self.seen
        self.seen, self.has_latest = report, frame.is_latest
        self.status_age, self.echo_age = 0, frame.tick_age
        if frame.follows or report.state is not DeviceState.RUNNING:
            self.forget_floor()
        if report.state is not DeviceState.RUNNING:
            self.is_told_rest = True
            self.awaits_pause = False
            if not any(report.setpoints):
                self.stops = False
        self.see_lead_off(report, before)
        self.see_fault(report)
        if self.loading == 2 and report.is_loaded:
            self.loading, self.has_program = 0, True
            self.targets = self.marker = self.zero
            self.follow(_T.PREPARED)
        self.see_goal(report)
        if self.state is _S.STOPPING:
            if report.state is DeviceState.SAFE and not any(report.setpoints):
                self.follow(_T.ZERO_CONFIRMED)
                if self.is_leaving:
                    self.end_visit()
        elif self.state in ENERGISED:
            self.see_disobedience(report)
        elif self.state is not _S.FAULT and report.state is DeviceState.RUNNING:
            self.latch_fault()
        if self.life == ALIVE:
            self.review_drive()

    def see_lead_off(self, report: words.Report, before: words.Report | None) -> None:
        fresh = report.latched & ~(before.latched if before is not None else 0)
        for channel in range(self.bound.channels):
            if fresh >> channel & 1:
                self.drop_wishes()
                if self.targets[channel]:
                    self.note_lowering()
                    self.marker = _with(self.marker, channel, self.targets[channel])
                    self.set_target(channel, 0)

    def see_fault(self, report: words.Report) -> None:
        if report.fault is FaultCode.NONE:
            if self.is_acknowledging and report.state is not DeviceState.FAULT:
                self.is_acknowledging = False
                self.follow(_T.ACKNOWLEDGED)
        elif self.state not in (_S.FAULT, _S.CLOSED):
            self.latch_fault()

    def see_goal(self, report: words.Report) -> None:
        wanted = {"arm": DeviceState.ARMED}.get(self.goal, DeviceState.RUNNING)
        if not self.goal or report.state is not wanted or self.awaits_pause:
            return
        goal, self.goal = self.goal, ""
        self.follow(REACHED[goal])
        if goal == "resume":
            self.wish = "return"

    def see_disobedience(self, report: words.Report) -> None:
        if not report.is_loaded:
            self.latch_fault()
        elif self.state is _S.RUNNING and report.state is not DeviceState.RUNNING:
            self.latch_fault()
        elif self.state is _S.ARMED and report.state is DeviceState.SAFE:
            self.begin_stop()

    # The steps that everything else is made of.

    def follow(self, trigger: Trigger) -> bool:
        target = self.way(self.state, trigger)
        if target is None:
            return False
        self.ways.add((self.state, trigger))
        self.state = target
        return True

    def way(self, state: HostState, trigger: Trigger) -> HostState | None:
        """Look into the table of the session itself."""
        return follow(state, trigger)

    def say(self, word: bool) -> None:
        """Note for the judge whether anybody wants output."""
        self.word = word
        if word:
            self.wordless = 0

    def wanted(self) -> WantedState:
        if self.goal:
            waits = self.goal == "arm" or self.awaits_pause
            return WantedState.ARMED if waits else WantedState.RUNNING
        return WANTED.get(self.state, WantedState.SAFE)

    def review_drive(
        self, wished: tuple[int, ...] | None = None, kind: RiseKind = RiseKind.NONE
    ) -> bool:
        """Have the whole wanted state reviewed by the kernel, and sent."""
        if self.seen is None or self.linking != 2:
            return False
        targets = self.targets if wished is None else wished
        if self.approves(targets, kind):
            self.send_drive(targets)
            return True
        if wished is None and (self.state in ENERGISED or self.goal):
            self.begin_stop()
        return False

    def approves(self, targets: tuple[int, ...], kind: RiseKind) -> bool:
        assert self.seen is not None
        ages = (self.status_age, self.beat_age)
        return is_approved(
            self.bound, self.wanted(), targets, self.targets, kind, self.marker, self.seen, ages,
            self.has_program,
        )  # fmt: skip

    def send_drive(self, targets: tuple[int, ...]) -> None:
        drive = words.Drive(
            self.wanted(), targets, self.echo_age, self.has_program, not self.has_lowered
        )
        self.sent.append(drive)

    def review_rise(self, wished: tuple[int, ...], kind: RiseKind) -> None:
        if self.state is not _S.RUNNING:
            return
        if self.review_drive(wished, kind):
            self.targets = wished
        else:
            self.review_drive()

    def note_lowering(self) -> None:
        """Remember what was commanded until the device is known to have followed."""
        if any(self.targets) and not self.is_told_rest:
            self.has_lowered = True
            self.floor = tuple(max(row) for row in zip(self.floor, self.targets, strict=True))
            self.floor_age = 0

    def forget_floor(self) -> None:
        self.floor, self.floor_age = self.zero, 0

    def go_to_zero(self) -> None:
        self.drop_wishes()
        if self.state is _S.RUNNING:
            self.marker = self.targets
        self.targets = self.zero

    def drop_wishes(self) -> None:
        self.wish = self.goal = ""

    def begin_stop(self) -> None:
        """Send Stop whatever the state; clear everything that could bring output back."""
        self.send_stop()
        self.loading = 0
        was_busy = bool(self.goal) or self.state in (*ENERGISED, _S.STOPPING)
        self.note_lowering()
        self.go_to_zero()
        self.say(False)
        if was_busy:
            self.follow(_T.STOPPED)
        self.clear_program()

    def send_stop(self) -> None:
        if self.linking:
            self.stops = True
            self.sent = [frame for frame in self.sent if not isinstance(frame, words.Drive)]
            self.sent.insert(0, words.Stop())

    def latch_fault(self) -> None:
        self.send_stop()
        self.loading = 0
        self.note_lowering()
        self.go_to_zero()
        self.say(False)
        self.clear_program()
        self.follow(_T.FAULT)

    def clear_program(self) -> None:
        self.has_program = False

    def lose_link(self) -> None:
        self.drop_wishes()
        self.linking = self.loading = 0
        self.seen = None
        self.status_age = self.echo_age = 0
        self.stops = self.has_latest = False
        self.clear_program()

    def end_visit(self) -> bool | None:
        if self.state in (_S.STOPPING, *ENERGISED):
            self.follow(_T.FAULT)
        self.lose_link()
        self.follow(_T.CLOSED)
        return self._ends(True)

    def set_target(self, channel: int, level: int) -> None:
        self.targets = _with(self.targets, channel, level)

    def _hears(self) -> bool:
        """Tell whether a key reaches the engine."""
        return self.life == ALIVE and self.is_beating and not self.is_leaving

    def _goes(self, life: str) -> bool | None:
        if self.life != ALIVE:
            return False
        self.life, self.away = life, 0
        return None

    def _ends(self, can_end: bool) -> bool | None:
        if not can_end:
            return False
        self.life = DEAD
        self.say(False)
        return None


def _with(row: tuple[int, ...], index: int, level: int) -> tuple[int, ...]:
    return (*row[:index], level, *row[index + 1 :])
