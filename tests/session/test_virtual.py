"""The engine on a virtual clock: replays, sessions end to end, and a patient who judges."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from estim.engine.virtual import VirtualEngine
from estim.errors import UsageError
from estim.prepare.session import capabilities_from_snapshot, prepare
from estim.profile.loader import load
from estim.session import messages as msg
from estim.session.states import ENERGISED, HostState
from estim.simulator.faults import parse_line
from tests.session.bench import HEADER, PROFILES
from tests.session.patient import (
    ZERO_AFTER_FROZEN_DISPLAY_US,
    ZERO_AFTER_LINK_LOSS_US,
    ZERO_AFTER_STOP_US,
    Judge,
    Pulse,
    read_pulses,
)

MS = 1000
S = 1_000_000
REST = (HostState.READY, HostState.FAULT, HostState.DISCONNECTED, HostState.CLOSED)


class Visit:
    """A virtual engine, its replies, and its trace."""

    def __init__(self, folder: Path, profile: str, seed: int = 1, **options: str) -> None:
        self.folder = folder
        self.profile = profile
        self.key_folder = folder
        self.seed = seed
        self.trace = folder / "trace.csv"
        self.options = {"trace": str(self.trace), **options}
        self.engine = VirtualEngine(seed)
        self.outcomes: dict[int, list[msg.Outcome]] = {}
        self.snapshot: Any = None
        self.pieces: list[Path] = []  # a trace for each connection
        self.asked: list[int] = []

    @property
    def now_us(self) -> int:
        return self.engine.clock.now_us()

    @property
    def state(self) -> HostState:
        return self.engine._loop.core.state

    def ask(self, kind: type, *args: Any) -> int:
        if kind in (msg.Acknowledge, msg.Rearm):
            args = (*args, self.snapshot.latch_count)
        request_id = self.engine.new_id()
        self.asked.append(request_id)
        self.engine.send(kind(request_id, *args))
        self.take()
        return request_id

    def take(self) -> None:
        for reply in self.engine.take_replies():
            if isinstance(reply, msg.Outcome):
                self.outcomes.setdefault(reply.request_id, []).append(reply)
            elif isinstance(reply, msg.Snapshot):
                self.snapshot = reply

    def run(self, duration_us: int) -> None:
        until_us = self.now_us + duration_us
        while self.now_us < until_us and not self.engine.has_ended:
            self.engine.step(until_us)
            self.take()

    def settle(self, request_id: int) -> bool:
        for _ in range(1000):
            if request_id in self.outcomes:
                return self.outcomes[request_id][0].is_done
            self.engine.step()
            self.take()
        raise AssertionError(f"request {request_id} was never answered")

    def connect(self) -> bool:
        if self.pieces:
            self.options["trace"] = f"{self.trace}.{len(self.pieces)}"
        self.pieces.append(Path(self.options["trace"]))
        query = "&".join(f"{name}={value}" for name, value in self.options.items())
        return self.settle(self.ask(msg.Connect, f"sim:?{query}"))

    def open_record(self) -> None:
        session_id = HEADER["session_id"]
        folders = str(self.folder), str(self.key_folder)
        assert self.settle(self.ask(msg.OpenRecord, *folders, session_id, dict(HEADER)))

    def prepare(self, duration_s: int | None = None) -> int:
        self.run(600 * MS)
        capabilities = capabilities_from_snapshot(self.snapshot.device)
        loaded = load(PROFILES / f"{self.profile}.toml")
        made = prepare(loaded.profile, capabilities, is_bench=True, duration_s=duration_s)
        program_hex = made.program.canonical_bytes().hex()
        return self.ask(msg.Prepare, program_hex, made.bounds, made.settings)

    def start(self, duration_s: int | None, targets_ua: tuple[int, ...]) -> None:
        self.open_record()
        assert self.connect()
        assert self.settle(self.prepare(duration_s))
        assert self.settle(self.ask(msg.Arm))
        assert self.settle(self.ask(msg.Start))
        assert self.settle(self.ask(msg.SetTargets, targets_ua))

    def until_rest(self) -> None:
        while self.state not in REST:
            self.engine.step()
            self.take()

    def close(self) -> None:
        if not self.engine.has_ended:
            self.settle(self.ask(msg.CloseVisit))
        self.engine.close()

    def pulses(self) -> list[Pulse]:
        if self.engine._trace is not None:
            self.engine._trace.flush()
        found = [pulse for piece in self.pieces if piece.exists() for pulse in read_pulses(piece)]
        return sorted(found, key=lambda pulse: pulse.onset_us)


def _session(
    folder: Path, profile: str, duration_s: int, targets_ua: tuple[int, ...], **options: str
) -> Visit:
    visit = Visit(folder, profile, 1, **options)
    visit.start(duration_s, targets_ua)
    visit.until_rest()
    visit.run(600 * MS)
    visit.close()
    return visit


def test_the_same_seed_gives_the_same_record_and_trace_byte_for_byte(tmp_path: Path) -> None:
    """Faults of the line, where chance has its say, included."""
    faults = tmp_path / "faults"
    faults.write_text("at 3 corrupt 4\nat 4 drop 2 to-host\nat 5 delay 0.05\nat 6 lead-off 1\n")
    made = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        visit = Visit(folder, "dpn-conventional", seed=5 if number < 2 else 6, faults=str(faults))
        visit.options["trace"] = str(tmp_path / "trace.csv")  # the URL is in the record
        visit.key_folder = tmp_path  # one station has one key
        visit.start(4, (4000, 3000))
        visit.until_rest()
        visit.run(600 * MS)
        visit.close()
        record = (folder / f"{HEADER['session_id']}.jsonl").read_bytes()
        made.append((record, (tmp_path / "trace.csv").read_bytes()))
    assert made[0] == made[1]
    assert made[0][0] != made[2][0], "another seed corrupts other bits"
    assert len(made[0][0].splitlines()) > 20
    assert len(made[0][1].splitlines()) > 500


# Hand-computed sessions.


def test_conventional_tens_end_to_end(tmp_path: Path) -> None:
    """80 Hz, slew 1 mA/s to 5 mA, 10 s.

    Rise: 2 s to 2 mA, held there for 1 s until contact is good, 3 s to 5 mA: 6 s. Then 10 s of
    plateau and 2 s of ramp down: 18 s x 80 Hz = 1440 pulses, of which those below the 0.1 mA step
    do not flow: 8 at the start (12.5 uA a pulse), at most 4 at the end (0.1 mA is 40 ms of 5 mA in
    2 s). Times are known to 60 ms, the interval of reports.
    """
    visit = _session(tmp_path, "dpn-conventional", 10, (5000, 0))
    shown = visit.snapshot
    assert shown.fault is None
    assert abs(shown.rise_ms - 6000) <= 60
    assert 10_000 <= shown.plateau_ms <= 10_060
    assert abs(shown.delivered_ms - 18_000) <= 180
    pulses = visit.pulses()
    assert {pulse.channel for pulse in pulses} == {1}
    assert 1440 - 8 - 4 - 5 <= len(pulses) <= 1440 - 8 + 5
    assert shown.channels[0].pulse_count == len(pulses)
    assert shown.channels[1].pulse_count == 0
    plateau = [pulse for pulse in pulses if pulse.peak_ua == 5000]
    assert 800 <= len(plateau) <= 810  # 10 s and at most two intervals of 60 ms
    judge = Judge(2, 1000)
    judge.armed()
    judge.started(0)
    judge.targets((5000, 0), 0)
    judge.judge(pulses)


def test_low_rate_tens_end_to_end(tmp_path: Path) -> None:
    """4 Hz, below which each pulse rises by one step of 0.5 mA, to 5 mA, 10 s.

    The first pulse is zero, the next four reach 2 mA at 1.0 s, the first judged one. Five good
    pulses and 1 s later, at 2.0 s, contact is good; six more steps take 1.5 s: 5 mA at 3.5 s. From
    the first current at 0.25 s that is 3.25 s, plus at most the 60 ms between reports. Plateau:
    10 s x 4 Hz = 40 pulses and the one at its beginning.
    """
    visit = _session(tmp_path, "tens-low-rate", 10, (5000,), channels="1")
    shown = visit.snapshot
    assert abs(shown.rise_ms - 3250) <= 60
    assert 10_000 <= shown.plateau_ms <= 10_060
    peaks = [pulse.peak_ua for pulse in visit.pulses()]
    assert peaks[:15] == [
        500, 1000, 1500, 2000, 2000, 2000, 2000, 2000, 2500, 3000, 3500, 4000, 4500, 5000, 5000,
    ]  # fmt: skip
    assert peaks.count(5000) in (40, 41, 42)
    onsets = [pulse.onset_us for pulse in visit.pulses()]
    assert {later - earlier for earlier, later in pairwise(onsets)} == {250_000}


def test_burst_tens_end_to_end(tmp_path: Path) -> None:
    """10 pulses 10 ms apart, twice a second: a plateau of 10 s holds 20 bursts, 200 pulses."""
    visit = _session(tmp_path, "tens-burst", 10, (4000,), channels="1")
    pulses = visit.pulses()
    plateau = [pulse.onset_us for pulse in pulses if pulse.peak_ua == 4000]
    assert 200 - 10 <= len(plateau) <= 200 + 10
    bursts: dict[int, int] = {}
    for onset_us in plateau:
        bursts[onset_us // 500_000] = bursts.get(onset_us // 500_000, 0) + 1
    intervals = {b - a for a, b in pairwise(plateau)}
    assert intervals == {10_000, 410_000}
    assert visit.snapshot.channels[0].pulse_count == len(pulses)


# A device that fails, judged from the patient's side.


@pytest.mark.hazard(6)
@pytest.mark.parametrize("fault", ["silent 5", "silent 5 to-device", "silent 5 to-host", "hang"])
def test_zero_within_350_ms_of_losing_the_link(tmp_path: Path, fault: str) -> None:
    """At moments spread over the interval between two Drives."""
    for offset_us in (0, 7 * MS, 19 * MS, 33 * MS, 44 * MS, 58 * MS):
        visit = Visit(tmp_path, "dpn-conventional")
        visit.start(None, (3000, 3000))
        visit.run(2 * S + offset_us)
        lost_us = visit.now_us
        _play(visit, fault)
        visit.run(3 * S)
        last_us = max(pulse.end_us for pulse in visit.pulses())
        assert last_us <= lost_us + ZERO_AFTER_LINK_LOSS_US
        assert visit.state in (HostState.FAULT, HostState.DISCONNECTED)
        visit.engine.close()
        (tmp_path / f"{HEADER['session_id']}.jsonl").unlink()


@pytest.mark.hazard(7)
def test_zero_within_350_ms_of_the_engine_s_death(tmp_path: Path) -> None:
    visit = Visit(tmp_path, "dpn-conventional")
    visit.start(None, (3000, 3000))
    visit.run(3 * S)
    died_us = visit.now_us
    device: Any = visit.engine._device
    for _ in range(300):
        device.advance(died_us + 10 * MS * _)
    last_us = max(pulse.end_us for pulse in visit.pulses())
    assert died_us < last_us <= died_us + ZERO_AFTER_LINK_LOSS_US
    visit.engine.clock.advance_to(died_us + 4 * S)
    visit.engine.close()


@pytest.mark.hazard(8)
def test_zero_within_750_ms_of_a_frozen_display(tmp_path: Path) -> None:
    visit = Visit(tmp_path, "dpn-conventional")
    visit.start(None, (3000, 3000))
    visit.run(3 * S)
    frozen_us = visit.now_us
    visit.engine._beat_due_us = 2**62
    visit.run(3 * S)
    last_us = max(pulse.end_us for pulse in visit.pulses())
    assert frozen_us < last_us <= frozen_us + ZERO_AFTER_FROZEN_DISPLAY_US
    assert visit.state is HostState.FAULT
    visit.engine.close()


@pytest.mark.hazard(31)
def test_zero_within_20_ms_of_a_stop(tmp_path: Path) -> None:
    visit = Visit(tmp_path, "dpn-conventional")
    visit.start(None, (3000, 3000))
    visit.run(3 * S)
    stopped_us = visit.now_us
    assert visit.settle(visit.ask(msg.Stop))
    visit.run(1 * S)
    assert max(pulse.onset_us for pulse in visit.pulses()) <= stopped_us + ZERO_AFTER_STOP_US
    visit.engine.close()


@pytest.mark.hazard(29)
def test_too_much_gain_ends_after_two_pulses(tmp_path: Path) -> None:
    """30 % more than asked, well above 10 % + 1 mA at 10 mA."""
    visit = Visit(tmp_path, "dpn-conventional")
    visit.start(None, (10_000, 0))
    visit.run(12 * S)
    _play(visit, "gain 1 1300")
    visit.run(1 * S)
    above = [pulse for pulse in visit.pulses() if pulse.peak_ua > 10_000]
    assert [pulse.peak_ua for pulse in above] == [13_000, 13_000]
    assert visit.state is HostState.FAULT
    visit.engine.close()


def test_only_the_simulator_runs_on_a_virtual_clock(tmp_path: Path) -> None:
    visit = Visit(tmp_path, "dpn-conventional")
    assert not visit.settle(visit.ask(msg.Connect, "native:/dev/ttyUSB0"))
    assert "sim: alone" in visit.outcomes[1][0].reasons[0]
    assert not visit.settle(visit.ask(msg.Connect, "sim:?nonsense=1"))
    assert not visit.settle(visit.ask(msg.Connect, "sim:?a=1&a=2"))
    assert not visit.settle(visit.ask(msg.Connect, "nonsense"))
    visit.engine.close()


def _play(visit: Visit, line: str) -> None:
    fault = parse_line(line, 2)
    assert fault is not None
    device: Any = visit.engine._device
    if device is not None:
        device.schedule(fault, visit.now_us)


# Anything in any order.


class AnyVisit(RuleBasedStateMachine):
    """Ask at random, break things at random; the judge knows only what was asked."""

    SLEW_UA_PER_S = 1000  # of the profile
    STEP_UA = 500

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.visit = Visit(Path(self.folder.name), "dpn-conventional", seed)
        self.judge = Judge(2, self.SLEW_UA_PER_S)
        self.is_line_clean = True
        self.visit.open_record()
        assert self.visit.connect()
        self.get_going(True, (8000, 5000))
        self.pass_time(4 * S)

    def ask(self, kind: type, *args: Any) -> int:
        return self.visit.ask(kind, *args)

    def pass_time(self, duration_us: int) -> None:
        """Step, and take the host at its word where it says that output is off."""
        until_us = self.visit.now_us + duration_us
        while self.visit.now_us < until_us:
            was_on = self.visit.state in ENERGISED
            self.visit.engine.step(until_us)
            self.visit.take()
            if was_on and self.visit.state not in ENERGISED:
                self.judge.ended(self.visit.now_us, ZERO_AFTER_LINK_LOSS_US)

    @rule(duration_ms=st.integers(1, 2500))
    def wait(self, duration_ms: int) -> None:
        self.pass_time(duration_ms * MS)

    @precondition(lambda self: self.visit.state not in ENERGISED)
    @rule(
        does_settle=st.booleans(), targets_ua=st.tuples(st.just(9000), st.sampled_from([0, 3000]))
    )
    def get_going(self, does_settle: bool, targets_ua: tuple[int, int]) -> None:
        """Mend, acknowledge, connect, prepare, arm, start and rise, perhaps without waiting."""
        for line in ("lead-on 1", "lead-on 2", "load 2 500", "delay 0", "battery 255",
                     "patient-stop release"):  # fmt: skip
            _play(self.visit, line)
        if does_settle:
            self.pass_time(3 * S)
        if self.visit.state is HostState.FAULT:
            self.visit.settle(self.ask(msg.Acknowledge))
        if self.visit.state is HostState.DISCONNECTED:
            self.visit.connect()
        if self.visit.snapshot.device is not None and self.visit.state in (
            HostState.IDENTIFIED,
            HostState.READY,
        ):
            self.visit.settle(self.visit.prepare())
        self.judge.armed()
        arming = self.ask(msg.Arm)
        if does_settle:
            self.visit.settle(arming)
        self.judge.started(self.visit.now_us)
        starting = self.ask(msg.Start)
        if does_settle:
            self.visit.settle(starting)
        self.set_targets(targets_ua)
        self.pass_time(2500 * MS)

    @rule()
    def start(self) -> None:
        self.judge.started(self.visit.now_us)
        self.ask(msg.Start)

    @rule(targets_ua=st.tuples(st.integers(0, 12_000), st.integers(0, 12_000)))
    def set_targets(self, targets_ua: tuple[int, int]) -> None:
        asked_us = self.visit.now_us
        if self.visit.settle(self.ask(msg.SetTargets, targets_ua)):
            self.judge.targets(targets_ua, asked_us)
        elif self.judge.has_started:
            # Refused whole: what was to be lowered stays, since another channel was to rise.
            self._sync()

    @rule(index=st.integers(0, 1), count=st.integers(1, 4))
    def press(self, index: int, count: int) -> None:
        for _ in range(count):
            wished = list(self.judge.asked_ua)
            wished[index] += self.STEP_UA
            self.judge.targets(wished, self.visit.now_us)
            if not self.visit.settle(self.ask(msg.Raise, (index,))):
                self._sync()

    @rule(index=st.integers(0, 1), amount_ua=st.integers(0, 6000))
    def lower(self, index: int, amount_ua: int) -> None:
        wished = list(self.judge.asked_ua)
        wished[index] = max(0, wished[index] - amount_ua)
        self.judge.targets(wished, self.visit.now_us)
        self.ask(msg.Lower, (index,), amount_ua)

    @rule()
    def pause(self) -> None:
        if self.visit.state is HostState.RUNNING:
            self.judge.paused(self.visit.now_us)
        self.ask(msg.Pause)

    @rule()
    def resume(self) -> None:
        self.judge.resumed(self.visit.now_us)
        self.ask(msg.Resume)
        self.pass_time(50 * MS)

    @rule()
    def stop(self) -> None:
        within_us = ZERO_AFTER_STOP_US if self.is_line_clean else ZERO_AFTER_LINK_LOSS_US
        self.judge.ended(self.visit.now_us, within_us)
        self.ask(msg.Stop)

    @rule()
    def finish(self) -> None:
        self.ask(msg.Finish)

    @rule(kind=st.sampled_from([msg.Acknowledge, msg.Disconnect]))
    def tidy(self, kind: type) -> None:
        self.ask(kind)
        self.pass_time(50 * MS)

    @rule(index=st.integers(0, 1))
    def rearm(self, index: int) -> None:
        self.ask(msg.Rearm, (index,))

    @rule(duration_ms=st.integers(300, 1500))
    def freeze(self, duration_ms: int) -> None:
        """Let the display stand still; over 400 ms that ends the session."""
        if duration_ms > 500:
            self.judge.ended(self.visit.now_us, ZERO_AFTER_FROZEN_DISPLAY_US)
        self.visit.engine._beat_due_us = 2**62
        self.pass_time(duration_ms * MS)
        self.visit.engine._beat_due_us = 0

    @precondition(lambda self: self.visit.state is HostState.RUNNING)
    @rule(
        line=st.sampled_from(
            [
                "drop 3", "drop 1 to-device", "corrupt 2", "corrupt 30", "duplicate 4",
                "delay 0.02", "delay 0.3", "delay 0", "silent 0.1", "silent 0.3 to-host",
                "lead-off 1", "lead-off 2", "load 1 200", "load 2 20000", "battery 3",
                "patient-stop release", "gain 1 950",
            ]
        )
    )  # fmt: skip
    def disturb(self, line: str) -> None:
        if line.split()[0] in ("drop", "corrupt", "duplicate", "delay", "silent"):
            self.is_line_clean = False
        _play(self.visit, line)

    @rule(line=st.sampled_from(["lead-on 1", "lead-on 2", "load 1 500", "load 2 500", "delay 0"]))
    def mend(self, line: str) -> None:
        _play(self.visit, line)

    @precondition(lambda self: self.visit.state in ENERGISED)
    @rule(line=st.sampled_from(["silent 3", "reboot", "hang", "patient-stop press"]))
    def end(self, line: str) -> None:
        self.is_line_clean = False
        self.judge.ended(self.visit.now_us, ZERO_AFTER_LINK_LOSS_US)
        _play(self.visit, line)

    def _sync(self) -> None:
        """A refused rise leaves what was asked before: the judge stays lenient, upwards alone."""
        self.judge.asked_ua = [
            max(asked, core)
            for asked, core in zip(
                self.judge.asked_ua, self.visit.engine._loop.core.targets_ua or (0, 0), strict=True
            )
        ]

    def teardown(self) -> None:
        if not hasattr(self, "visit"):
            return
        self.visit.engine._beat_due_us = 0
        self.ask(msg.Stop)
        self.pass_time(4 * S)
        self.ask(msg.CloseVisit)
        pulses = self.visit.pulses()
        self.visit.engine.close()
        self.folder.cleanup()
        self.judge.judge(pulses)
        assert all(len(self.visit.outcomes.get(each, [])) == 1 for each in self.visit.asked)


AnyVisit.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestAnyVisit = AnyVisit.TestCase


def test_the_judge_convicts() -> None:
    """A judge that lets everything pass would be no witness."""

    def pulse(onset_us: int, peak_ua: int, net_pc: int = 0) -> Pulse:
        return Pulse(onset_us, 1, peak_ua, net_pc, onset_us + 400)

    def fresh() -> Judge:
        judge = Judge(1, 1000)
        judge.armed()
        judge.started(0)
        judge.targets((2000,), 0)
        return judge

    fresh().judge([pulse(1 * S, 900), pulse(3 * S, 2000)])
    for wrong in (
        [pulse(1 * S, 900, net_pc=1)],
        [pulse(3 * S, 2001)],
        [pulse(1 * S, 1200)],
        [pulse(1 * S, 500), pulse(1100 * MS, 800)],
    ):
        with pytest.raises(AssertionError):
            fresh().judge(wrong)
    stopped = fresh()
    stopped.ended(2 * S, 20 * MS)
    stopped.judge([pulse(2019 * MS, 1500)])
    for later in (2020 * MS, 5 * S):
        with pytest.raises(AssertionError):
            stopped.judge([pulse(later, 100)])
    stopped.started(6 * S)
    stopped.targets((1000,), 6 * S)
    with pytest.raises(AssertionError):
        stopped.judge([pulse(7 * S, 100)])


def test_a_url_that_makes_no_sense_is_an_error_of_usage() -> None:
    with pytest.raises(UsageError):
        VirtualEngine(0).open_port("native:x", 0)
