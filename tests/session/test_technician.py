"""What a technician asks of the engine: self-test, faults of the simulator, frames on the line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from estim import api
from estim.errors import LimitRefused, UsageError
from estim.profile.library import find
from estim.record.reader import read
from estim.session import messages as msg
from estim.session.messages import Frames, FrameSeen, Reply, SelfTestSeen
from estim.session.states import HostState
from firmware_protocol.codec import decode_body
from firmware_protocol.framing import decode_frame
from firmware_protocol.messages import Drive, RefusalReason, SelfTest, Status
from tests.session.bench import Bench

MS, S = 1000, 1_000_000


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.loop.end()


# The self-test.


def test_a_self_test_is_told_and_recorded_and_nothing_flows(bench: Bench) -> None:
    bench.to(HostState.IDENTIFIED)
    assert bench.settle(bench.ask(msg.SelfTest))
    (told,) = bench.told
    assert isinstance(told, SelfTestSeen)
    assert (told.passed, told.failed) == (0b111, 0)
    assert ("self_test", {"passed": 0b111, "failed": 0}) in bench.submitted
    assert bench.state is HostState.IDENTIFIED
    assert bench.device.setpoints == [0, 0]


@pytest.mark.parametrize("state", [HostState.ARMED, HostState.RUNNING, HostState.FAULT])
def test_no_self_test_reaches_a_device_that_is_not_at_rest(bench: Bench, state: HostState) -> None:
    bench.to(state)
    assert f"not while {state.value}" in bench.why(bench.ask(msg.SelfTest))
    assert bench.device.of(SelfTest) == []


def test_a_failed_self_test_latches_a_fault_that_bars_arming(bench: Bench) -> None:
    bench.to(HostState.READY)
    bench.device.failed_checks = 0b010
    assert bench.settle(bench.ask(msg.SelfTest))
    assert bench.state is HostState.FAULT
    assert bench.core.fault.code == "self_test_failed"
    assert bench.core.fault.blame is msg.Blame.DEVICE
    assert not bench.settle(bench.ask(msg.Arm))


def test_a_device_that_does_not_answer_its_self_test_is_told_in_time(bench: Bench) -> None:
    bench.to(HostState.READY)
    bench.device.ignores = (SelfTest,)
    asked = bench.ask(msg.SelfTest)
    again, arming = bench.ask(msg.SelfTest), bench.ask(msg.Arm)
    assert "already" in bench.why(again)
    assert "not while ready" in bench.why(arming)
    bench.run(1490 * MS)
    assert bench.outcome(asked) is None
    bench.run(30 * MS)
    assert "did not tell how its self-test went" in bench.why(asked)
    assert "self_test_unanswered" in bench.kinds()
    assert bench.settle(bench.ask(msg.Arm))


def test_a_device_that_refuses_its_self_test_is_told_at_once(bench: Bench) -> None:
    bench.to(HostState.READY)
    bench.device.self_test_refusal = RefusalReason.STATE
    asked = bench.ask(msg.SelfTest)
    bench.run(50 * MS)
    assert "the device refused: state" in bench.why(asked)
    assert bench.told == []


def test_a_link_that_ends_ends_the_self_test_too(bench: Bench) -> None:
    bench.to(HostState.IDENTIFIED)
    bench.device.ignores = (SelfTest,)
    asked = bench.ask(msg.SelfTest)
    assert bench.settle(bench.ask(msg.Disconnect))
    assert "the link was closed" in bench.why(asked)


# Faults of the simulator, and frames on the line: the real engine, stepped.


class Stepped:
    """A bench session on the virtual clock, with everything that was told."""

    def __init__(self, folder: Path, seed: int = 3) -> None:
        self.told: list[Reply] = []
        self.stimulator = api.open(
            "sim:",
            bench_ohm=500,
            is_virtual=True,
            seed=seed,
            records=folder,
            on_reply=self.told.append,
        )
        self.stimulator.prepare(find("dpn-conventional"), duration_s=2)

    def ask(self, kind: type, *arguments: object) -> None:
        self.stimulator.ask(kind(self.stimulator.engine.new_id(), *arguments))

    def deliver(self) -> None:
        self.stimulator.arm()
        self.stimulator.start()
        self.stimulator.set_targets_ua((3000, 0))
        self.stimulator.wait_until_finished()

    def close(self) -> list[tuple[str, object]]:
        """Seal the record; return what it holds."""
        path = self.stimulator.result().record_path
        self.stimulator.close()
        return [(event.kind, event.content) for event in read(Path(path)).events]

    def frames(self) -> list[FrameSeen]:
        return [frame for one in self.told if isinstance(one, Frames) for frame in one.frames]


def test_a_fault_is_recorded_before_it_happens_and_then_happens(tmp_path: Path) -> None:
    stepped = Stepped(tmp_path)
    stepped.ask(msg.InjectFault, "battery 4")
    for _ in range(20):
        stepped.stimulator.pump()
    shown = stepped.stimulator.snapshot
    assert shown is not None
    assert shown.battery_percent == 4
    events = stepped.close()
    asked = events.index(("fault_asked", {"line": "battery 4"}))
    assert events[asked + 1] == ("fault_injected", {"line": "battery 4"})


def test_a_fault_that_makes_no_sense_is_refused_in_words_and_recorded_so(tmp_path: Path) -> None:
    stepped = Stepped(tmp_path)
    with pytest.raises(UsageError, match="channel: expected a whole number from 1 to 2"):
        stepped.ask(msg.InjectFault, "lead-off 9")
    with pytest.raises(UsageError, match="one line"):
        stepped.ask(msg.InjectFault, "reboot\nhang")
    kinds = [kind for kind, _ in stepped.close()]
    assert "fault_not_injected" in kinds
    assert "fault_injected" not in kinds


@pytest.mark.hazard(45)
def test_no_fault_is_injected_into_a_real_device_or_beside_a_person(tmp_path: Path) -> None:
    stepped = Stepped(tmp_path)
    core = stepped.stimulator.engine._loop.core  # type: ignore[attr-defined]
    core.url = "native:/dev/ttyUSB0"
    with pytest.raises(LimitRefused, match="sim: alone"):
        stepped.ask(msg.InjectFault, "reboot")
    core.url, core.is_bench = "sim:", False
    with pytest.raises(LimitRefused, match="bench alone"):
        stepped.ask(msg.InjectFault, "reboot")
    for line in ("patient-stop press ", "patient-stop", "patient-stop press\nreboot"):
        with pytest.raises(LimitRefused, match="bench alone"):
            stepped.ask(msg.InjectFault, line)
    with pytest.raises(LimitRefused, match="bench alone"):
        stepped.ask(msg.Watch, True)
    stepped.close()


def test_in_a_persons_record_the_simulated_person_presses_the_stop_and_it_is_recorded(
    tmp_path: Path,
) -> None:
    stepped = Stepped(tmp_path)
    core = stepped.stimulator.engine._loop.core  # type: ignore[attr-defined]
    core.is_bench = False
    for line in ("patient-stop press", "patient-stop release"):
        stepped.ask(msg.InjectFault, line)
        for _ in range(20):
            stepped.stimulator.pump()
    shown = stepped.stimulator.snapshot
    assert shown is not None
    assert shown.fault is not None
    assert shown.fault.code == "device_patient_stop"
    core.url = "native:/dev/ttyUSB0"
    with pytest.raises(LimitRefused, match="sim: alone"):
        stepped.ask(msg.InjectFault, "patient-stop press")
    events = stepped.close()
    assert ("fault_injected", {"line": "patient-stop press"}) in events
    assert ("fault_injected", {"line": "patient-stop release"}) in events


def test_watched_frames_are_those_on_the_line_in_both_directions(tmp_path: Path) -> None:
    stepped = Stepped(tmp_path)
    assert stepped.frames() == []  # opt-in
    stepped.ask(msg.Watch, True)
    stepped.deliver()
    seen = stepped.frames()
    decoded = [
        (frame.is_to_device, decode_body(decode_frame(bytes.fromhex(frame.octets_hex))))
        for frame in seen
    ]
    drives = [one for is_out, one in decoded if is_out and isinstance(one.message, Drive)]
    statuses = [one for is_out, one in decoded if not is_out and isinstance(one.message, Status)]
    assert any(one.message.targets[0].target_ua == 3000 for one in drives)  # type: ignore[attr-defined]
    assert any(one.message.channels[0].setpoint_ua == 3000 for one in statuses)  # type: ignore[attr-defined]
    assert len({one.sequence for one in drives}) == len(drives)
    stepped.ask(msg.Watch, False)
    count = len(stepped.frames())
    for _ in range(20):
        stepped.stimulator.pump()
    assert len(stepped.frames()) == count
    stepped.close()


def test_looking_at_frames_changes_no_drive_and_no_byte_of_the_record(tmp_path: Path) -> None:
    """The same session, watched and not: everything at the same microsecond."""
    records = []
    for is_watched in (False, True):
        stepped = Stepped(tmp_path / str(is_watched))
        stepped.ask(msg.Watch, is_watched)
        stepped.deliver()
        assert bool(stepped.frames()) is is_watched
        path = Path(stepped.stimulator.result().record_path)
        stepped.close()
        lines = path.read_text().splitlines()
        records.append([line.split('"prev"')[0] for line in lines[1:-1]])
    assert records[0] == records[1]
