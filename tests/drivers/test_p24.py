"""The P24's driver against a device moved by hand: frame by frame, at the times a test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from estim.drivers import base, p24, p24_program
from estim.drivers.p24 import P24Stimulator
from estim.drivers.player import Train
from estim.errors import DeviceFault, PortLost
from estim.prepare.session import Prepared, prepare
from estim.profile.loader import load
from estim.safety import kernel
from estim.safety.kernel import DriveRequest, Facts
from estim.safety.verdict import Approved, ApprovedLoad
from firmware_protocol.messages import (
    ChannelFlag,
    DeviceState,
    FaultCode,
    InputFlag,
    Status,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from tests.drivers.hand_p24 import HandP24, frame, request
from tests.session.bench import PROFILES

MS = 1000
S = 1_000_000
UNLOADED = Facts(DeviceState.RUNNING, 0, 0, 0, True, False, frozenset(), InputFlag.NONE)


def prepared(profile: str) -> Prepared:
    loaded = load(PROFILES / f"{profile}.toml")
    return prepare(loaded.profile, p24.CAPABILITIES, is_bench=True, sha256=loaded.sha256)


class Line:
    """Driver and device with the line in a test's hand; the session's Drives every 50 ms."""

    def __init__(self, profile: str = "dpn-conventional") -> None:
        self.driver = P24Stimulator(7, "p24:/dev/hand")
        self.device = HandP24()
        self.made = prepared(profile)
        self.now_us = 0
        self.events: list[base.DriverEvent] = []
        self.written: list[bytes] = []
        self.to_host: Callable[[bytes], bytes] = lambda answer: answer
        self.targets_ua: tuple[int, ...] = (0,) * len(self.made.program.channels)
        self.wanted: WantedState | None = None
        self._driven_us = 0

    def pass_on(self) -> None:
        while self.driver.has_output:
            output = self.driver.take_output()
            frames = [*output.urgent, *output.ordered, *([output.drive] if output.drive else [])]
            for each in frames:
                self.written.append(each)
                answer = self.to_host(self.device.receive(each, self.now_us))
                if answer:
                    self.driver.receive(answer, self.now_us)
            self.events += self.driver.poll(self.now_us)

    def run(self, duration_us: int, step_us: int = 5 * MS) -> Line:
        end_us = self.now_us + duration_us
        while self.now_us < end_us:
            self.now_us += step_us
            self.device.settle(self.now_us)
            self.events += self.driver.poll(self.now_us)
            self.pass_on()
            if self.wanted is not None and self.now_us - self._driven_us >= 50 * MS:
                self._driven_us = self.now_us
                self.drive(self.wanted, *self.targets_ua)
        return self

    def drive(self, wanted: WantedState, *targets_ua: int) -> None:
        count = len(self.made.program.channels)
        asked = DriveRequest(wanted, targets_ua or (0,) * count, (100_000,) * count)
        verdict = kernel.review(asked, self.made.program, UNLOADED, self.made.bounds, self.now_us)
        assert isinstance(verdict, Approved), verdict
        self.driver.drive(verdict, self.now_us)
        self.pass_on()

    def of(self, kind: type) -> list[base.DriverEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def newest(self) -> Status:
        seen = self.of(base.StatusSeen)[-1]
        assert isinstance(seen, base.StatusSeen)
        return seen.status

    def connected(self) -> Line:
        self.driver.connect(self.now_us)
        self.pass_on()
        assert len(self.of(base.Identified)) == 1
        return self

    def loaded(self) -> Line:
        self.connected()
        verdict = kernel.review_load(
            self.made.program, self.made.bounds, p24.CAPABILITIES, self.now_us
        )
        assert isinstance(verdict, ApprovedLoad), verdict
        self.driver.load(verdict, self.now_us)
        self.run(5 * MS)
        return self

    def running(self, *targets_ua: int) -> Line:
        self.loaded()
        assert len(self.of(base.Loaded)) == 1
        self.wanted = WantedState.ARMED
        self.run(100 * MS)
        assert self.newest().state is DeviceState.ARMED
        self.wanted = WantedState.RUNNING
        self.run(100 * MS)
        assert self.newest().state is DeviceState.RUNNING
        assert self.device.playing == {}
        self.targets_ua = targets_ua
        return self


# Set-up.


def test_a_device_says_who_it_is_and_what_goes_on_if_this_computer_dies() -> None:
    line = Line().connected()
    (told,) = line.of(base.Identified)
    assert isinstance(told, base.Identified)
    assert (told.identity.model, told.identity.serial_number) == ("P24", "P24-000042")
    assert told.identity.firmware_version == 3 << 16 | 2 << 8 | 1
    assert (told.use, told.capabilities.residual_ms) == (base.Use.RESEARCH, 2000)
    assert "2 s" in told.caution
    assert [command for command, _ in line.device.heard] == [52, 68, 62]


@pytest.mark.parametrize(("status", "stop"), [(1, None), (2, 34), (3, 34)])
def test_what_somebody_left_on_is_silenced_before_anything_else(
    status: int, stop: int | None
) -> None:
    line = Line()
    line.device.status = status
    if status == 1:  # the hand device has no low level: see what is asked
        with pytest.raises(AssertionError, match="command 4"):
            line.connected()
        return
    line.connected()
    assert [command for command, _ in line.device.heard] == [52, 68, 62, stop, 62]
    assert line.device.status == 0


def test_nobody_there_ends_with_one_message_within_two_seconds() -> None:
    line = Line()
    line.device.is_mute = True
    line.driver.connect(0)
    line.run(2 * S)
    (failed,) = line.of(base.ConnectFailed)
    assert isinstance(failed, base.ConnectFailed)
    assert isinstance(failed.error, PortLost)
    assert "no P24 answered" in str(failed.error)


def test_an_error_while_connecting_is_told() -> None:
    line = Line()
    line.device.results[52] = 1
    line.driver.connect(0)
    line.run(50 * MS)
    line.pass_on()
    (failed,) = line.of(base.ConnectFailed)
    assert isinstance(failed, base.ConnectFailed)
    assert isinstance(failed.error, DeviceFault)
    assert "damaged request" in str(failed.error)


# Output.


def test_output_rises_from_zero_at_the_slew_and_every_pulse_is_balanced() -> None:
    line = Line().running(10_000, 0)
    before: tuple[int, int] | None = None
    for _ in range(240):
        line.run(50 * MS)
        points, period_us = line.device.playing.get(0, ([(200, 0)], 12_500))
        assert period_us == 12_500
        now_ua = points[0][1]
        assert sum(duration_us * current_ua for duration_us, current_ua in points) % S == 0
        if len(points) > 1:
            assert points[0] == (200, now_ua)
            assert points[-1] == (200, -now_ua)
        if before is not None:
            assert now_ua - before[0] in (0, 500)
        before = now_ua, line.now_us
        # 1 mA/s: never earlier than that.
        assert now_ua <= 1000 * (line.now_us // S + 1)
    assert before is not None
    assert before[0] == 10_000
    assert 1 not in line.device.playing
    assert line.newest().channels[0].setpoint_ua == 10_000
    assert line.device.highest_ua == 10_000


def test_a_lower_target_holds_with_the_next_update_and_is_told_once_confirmed() -> None:
    line = Line().running(10_000, 0).run(12 * S)
    line.to_host = lambda answer: b""
    line.targets_ua = (2_000, 0)
    line.drive(WantedState.RUNNING, 2_000, 0)
    assert line.device.playing[0][0][0] == (200, 2_000)
    told = len(line.of(base.StatusSeen))
    assert line.newest().channels[0].setpoint_ua == 10_000
    line.to_host = lambda answer: answer
    line.run(300 * MS)
    assert len(line.of(base.StatusSeen)) > told
    assert line.newest().channels[0].setpoint_ua == 2_000


def test_a_pause_is_zero_at_once_and_nothing_comes_back_by_itself() -> None:
    line = Line().running(10_000, 5_000).run(12 * S)
    line.drive(WantedState.ARMED)
    line.wanted, line.targets_ua = WantedState.ARMED, (0, 0)
    assert line.device.playing == {}
    line.run(S)
    assert line.newest().state is DeviceState.ARMED
    assert line.device.playing == {}
    line.wanted, line.targets_ua = WantedState.RUNNING, (0, 0)
    line.run(S)
    assert line.device.playing == {}
    assert line.newest().channels[0].setpoint_ua == 0


def test_the_device_is_asked_often_enough_to_live_and_no_oftener_than_driven() -> None:
    line = Line().running(2_000, 0).run(5 * S)
    line.device.heard.clear()
    line.run(4 * S)
    assert {command for command, _ in line.device.heard} == {36}
    assert 70 <= len(line.device.heard) <= 80


# Down.


@pytest.mark.hazard(30)
@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "a request on its way"])
def test_stop_goes_first_three_times_and_is_confirmed_by_the_devices_status(is_busy: bool) -> None:
    line = Line().running(10_000, 0).run(12 * S)
    if is_busy:
        line.to_host = lambda answer: b""
        line.drive(WantedState.RUNNING, 9_000, 0)
        line.to_host = lambda answer: answer
    line.wanted = None
    line.device.heard.clear()
    stopped_us = line.now_us
    line.driver.stop(line.now_us)
    line.pass_on()
    assert line.device.playing == {}
    assert line.newest().state is DeviceState.RUNNING
    while line.newest().state is not DeviceState.SAFE:
        line.run(5 * MS)
        assert line.now_us - stopped_us < 100 * MS
    assert [command for command, _ in line.device.heard] == [34, 62] * 3
    assert line.newest().channels[0].setpoint_ua == 0
    line.run(S)
    assert [command for command, _ in line.device.heard] == [34, 62] * 3


def test_a_stop_that_the_device_does_not_follow_is_repeated_and_never_called_done() -> None:
    line = Line().running(10_000, 0).run(12 * S)
    line.device.results[34] = 7
    line.wanted = None
    line.driver.stop(line.now_us)
    line.run(S)
    assert line.device.playing
    assert line.newest().state is DeviceState.RUNNING
    assert sum(command == 34 for command, _ in line.device.heard) >= 30
    assert line.newest().channels[0].setpoint_ua == 10_000


def test_nothing_reaches_the_device_after_a_stop_but_stops_and_questions() -> None:
    line = Line().running(10_000, 0).run(3 * S)
    line.driver.stop(line.now_us)
    line.pass_on()
    line.device.heard.clear()
    line.drive(WantedState.RUNNING, 3_000, 0)
    line.drive(WantedState.ARMED)
    line.run(50 * MS)
    assert {command for command, _ in line.device.heard} <= {34, 62}


@pytest.mark.hazard(30)
def test_without_drives_output_ends_after_the_lease_though_the_driver_goes_on() -> None:
    line = Line().running(10_000, 0).run(12 * S)
    line.wanted = None
    line.run(310 * MS)
    assert line.device.playing
    line.run(30 * MS)
    assert line.device.playing == {}
    line.run(100 * MS)
    assert (line.newest().state, line.newest().fault) == (
        DeviceState.FAULT,
        FaultCode.LEASE_EXPIRED,
    )
    line.driver.acknowledge(line.newest().latch_count, 0, line.now_us)
    line.wanted, line.targets_ua = WantedState.SAFE, (0, 0)
    line.run(100 * MS)
    assert line.newest().state is DeviceState.SAFE
    assert line.device.playing == {}


def test_a_silent_device_is_asked_anew_and_an_answer_too_late_counts_for_nothing() -> None:
    line = Line().running(2_000, 0).run(5 * S)
    told = len(line.of(base.StatusSeen))
    kept: list[bytes] = []

    def keep(answer: bytes) -> bytes:
        kept.append(answer)
        return b""

    line.to_host = keep
    line.run(400 * MS)
    assert len(line.of(base.StatusSeen)) == told
    assert 3 <= len(kept) <= 5
    line.to_host = lambda answer: answer
    line.driver.receive(kept[0], line.now_us)
    line.events += line.driver.poll(line.now_us)
    assert len(line.of(base.StatusSeen)) == told
    assert line.of(base.LineDamaged) == []
    line.run(100 * MS)
    assert len(line.of(base.StatusSeen)) > told


# What goes wrong.


@pytest.mark.parametrize("state", [1, 2, 3, 9])
def test_a_lost_electrode_stops_its_channel_alone_and_stays_off_until_acknowledged(
    state: int,
) -> None:
    line = Line().running(10_000, 8_000).run(12 * S)
    line.device.states[0] = state
    line.run(100 * MS)
    assert set(line.device.playing) == {1}
    assert ChannelFlag.LEAD_OFF_LATCHED in line.newest().channels[0].flags
    assert line.newest().channels[0].setpoint_ua == 0
    line.device.states[0] = 0
    line.targets_ua = (0, 8_000)
    line.run(S)
    assert set(line.device.playing) == {1}
    line.drive(WantedState.RUNNING, 1_000, 8_000)
    refused = line.of(base.DriveRefused)[-1]
    assert isinstance(refused, base.DriveRefused)
    assert "lead-off" in refused.explanation
    line.driver.acknowledge(line.newest().latch_count, 1, line.now_us)
    line.targets_ua = (1_000, 8_000)
    line.run(3 * S)
    assert line.device.playing[0][0][0] == (200, 1_000)


def test_an_error_of_a_channel_that_plays_nothing_is_no_lead_off() -> None:
    line = Line().running(10_000, 0)
    line.device.states[5] = 1
    line.run(5 * S)
    assert 0 in line.device.playing
    assert line.newest().channels[0].flags == ChannelFlag.NONE


@pytest.mark.parametrize(("result", "words"), [(2, "parameters"), (21, "busy"), (99, "result 99")])
def test_an_update_that_is_refused_is_told_in_words(result: int, words: str) -> None:
    line = Line().running(10_000, 0).run(3 * S)
    line.device.results[32] = result
    line.run(S)
    refused = line.of(base.DriveRefused)[0]
    assert isinstance(refused, base.DriveRefused)
    assert words in refused.explanation
    assert refused.is_drive


def test_high_voltage_that_fails_is_a_fault_and_stops() -> None:
    line = Line().running(10_000, 0).run(3 * S)
    line.device.results[36] = 8
    line.run(3 * S)
    assert line.device.playing == {}
    assert (line.newest().state, line.newest().fault) == (DeviceState.FAULT, FaultCode.SUPPLY)


def test_a_device_that_restarted_is_found_and_reported_as_not_running() -> None:
    line = Line().running(10_000, 0).run(3 * S)
    line.device.status, line.device.playing = 0, {}
    line.device.results.update({32: 7, 36: 7})
    line.run(200 * MS)
    assert line.newest().state is DeviceState.SAFE
    assert line.device.playing == {}


@pytest.mark.parametrize("is_too_much", [True, False])
def test_a_channel_that_plays_otherwise_than_told_is_a_defect(is_too_much: bool) -> None:
    line = Line().running(10_000, 0).run(12 * S)
    if is_too_much:
        line.device._update = lambda payload: None  # type: ignore[method-assign]
        line.targets_ua = (0, 0)
    else:
        line.device.inactive.add(0)
    line.run(400 * MS)
    assert line.newest().fault is FaultCode.OUTPUT_STAGE
    assert line.device.playing == {}


@pytest.mark.parametrize("harm", ["cut", "bit", "number", "twice", "junk", "empty"])
def test_answers_that_are_not_whole_or_not_ours_are_damage_and_no_sign_of_life(harm: str) -> None:
    line = Line().running(2_000, 0).run(5 * S)
    told = len(line.of(base.StatusSeen))

    def harmed(answer: bytes) -> bytes:
        if harm == "cut":
            return answer[:-3]
        if harm == "bit":
            return answer[:10] + bytes((answer[10] ^ 4,)) + answer[11:]
        if harm == "number":
            command, number, payload = request(answer)
            return frame(command, number + 1 & 63, payload)
        if harm == "empty":
            command, number, _ = request(answer)
            return frame(command, number, b"")
        return answer + answer if harm == "twice" else b"\x00\x0f\xf0" + answer

    line.to_host = harmed
    line.run(250 * MS)
    line.to_host = lambda answer: answer
    is_heard = len(line.of(base.StatusSeen)) > told
    assert is_heard is (harm in ("twice", "junk"))
    line.run(300 * MS)
    assert len(line.of(base.StatusSeen)) > told
    assert line.of(base.LineDamaged)


def test_random_bytes_never_raise() -> None:
    line = Line().running(2_000, 0).run(S)
    random = Random(24)
    for _ in range(500):
        line.driver.receive(random.randbytes(random.randrange(30)), line.now_us)
        line.events += line.driver.poll(line.now_us)
    line.run(100 * MS)


# Programmes.


def test_a_period_off_the_grid_becomes_longer_and_is_told() -> None:
    assert p24_program.played_period_us(28_571) == 28_750
    assert p24_program.played_period_us(12_500) == 12_500
    assert p24_program.played_period_us(8_191_001) == 8_191_500
    line = Line("dpn-14hz").loaded()
    (loaded,) = line.of(base.Loaded)
    assert isinstance(loaded, base.Loaded)
    assert loaded.remarks == (
        "channel 1: a pulse period of 71428 us is played as 71500 us (13.99 Hz)",
        "channel 2: a pulse period of 71428 us is played as 71500 us (13.99 Hz)",
        "channel 2: the device itself keeps pulses of channels apart",
    )


def channel(**changes: object) -> ChannelProgram:
    plain = ChannelProgram((Phase(1, 1000), Phase(1, -1000)), 200, 10_000)
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"phases": (Phase(1, 1000), Phase(9, 0), Phase(1, -1000))}, "a point of 9 us"),
        ({"phases": (Phase(1, 1000), Phase(1, -1000)) * 9}, "18 points"),
        ({"pulse_period_us": 16_384_000}, "a period of 16384000 us"),
        ({"pulses_per_burst": 5, "burst_period_us": 500_000, "pulse_period_us": 4000}, "4000 us"),
        ({"cycle": Cycle(40, 1000, 100, 1000)}, "40 ms"),
        (
            {
                "keyframes": (Keyframe(0, 1000, 200, 10_000), Keyframe(49, 500, 200, 10_000)),
                "keyframe_cycle_ms": 200,
            },
            "49 ms",
        ),
    ],
)
def test_what_a_p24_cannot_play_is_refused_in_words(changes: dict[str, object], words: str) -> None:
    (found,) = p24_program.shortfalls(PulseProgram((channel(**changes),)))
    assert found.startswith("channel 1: ")
    assert words in found


def test_the_devices_time_is_shared_by_all_channels() -> None:
    """400 us of pulse and 60 us each, every 500 us: one channel takes 92 %, two are too much."""
    one = channel(pulse_period_us=500)
    assert p24_program.shortfalls(PulseProgram((one,))) == ()
    two = p24_program.shortfalls(PulseProgram((one, one), allow_overlap=True))
    assert two == ("all channels together take more than the device's time",)


def test_a_long_gap_is_cut_into_points() -> None:
    made = channel(phases=(Phase(1, 1000), Phase(4100, 0), Phase(1, -1000)))
    update = p24_program.channel_update(made, Train(2000, 200, 10_000))
    assert [tuple(point) for point in update.points] == [
        (200, 2000), (4090, 0), (10, 0), (200, -2000),
    ]  # fmt: skip
