"""What every event of the model's host is made of, along the table that the session runs.

Rules:
1. The state moves by `states.follow` alone, what a Drive wants is `states.WANTED`, and whether a
   Drive may go is `safety.kernel.review`: the product's own, not restated here.
2. Going down never waits, as in `estim.session.state`.
"""

from __future__ import annotations

from functools import lru_cache

from estim.prepare.session import REFERENCE
from estim.safety import kernel
from estim.safety.bounds import Bound as Limit
from estim.safety.bounds import Bounds, ChannelBounds, Owner, intersect
from estim.safety.kernel import DriveRequest, Facts, RiseKind
from estim.safety.verdict import Approved
from estim.session.states import ENERGISED, WANTED, HostState, Trigger, follow
from firmware_protocol.messages import FaultCode, InputFlag, PolicyFlag, WantedState
from firmware_protocol.program import ChannelProgram, Phase, PulseProgram
from tests.model import words
from tests.model.words import ALIVE, DEAD, UNIT_UA, Bound, Frame, Host

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


class HostSteps:
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
        is_return_asked = self.wish == "return"
        self.drop_wishes()
        if self.state is _S.RUNNING and not is_return_asked:
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
        self.targets = with_level(self.targets, channel, level)

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


def with_level(row: tuple[int, ...], index: int, level: int) -> tuple[int, ...]:
    return (*row[:index], level, *row[index + 1 :])
