"""One single pulse from a P24, against a device moved by hand and the published client's bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from science_mode_4 import (
    Channel,
    ChannelPoint,
    Connector,
    LowLevelHighVoltageSource,
    LowLevelMode,
)
from science_mode_4.low_level.low_level_channel_config import PacketLowLevelChannelConfig
from science_mode_4.low_level.low_level_init import PacketLowLevelInit
from science_mode_4.low_level.low_level_stop import PacketLowLevelStop
from science_mode_4.protocol.protocol import Protocol

from estim.dialects.p24_low_level import Measurement, PulseAnswer
from estim.drivers import base
from estim.drivers.p24_single import P24SinglePulse
from estim.safety import kernel
from estim.safety.kernel import DriveRequest
from estim.safety.verdict import _SEAL, Approved
from firmware_protocol.messages import DeviceState, FaultCode, WantedState
from firmware_protocol.program import Keyframe, Phase, PulseProgram
from tests.drivers.hand_p24 import HandP24, frame, request
from tests.drivers.test_p24 import MS, UNLOADED, Line, S

INIT, PULSE, STOP, STATUS = 0, 2, 4, 62
BALANCED = [(200, 10_000), (200, -10_000)]
"""The pulse of `tens-low-rate` at 10 mA: 200 us each way."""


class LowLevelP24(HandP24):
    """Obey the low level too: every pulse is noted, as the points that came."""

    def __init__(self) -> None:
        super().__init__()
        self.pulses: list[tuple[int, list[tuple[int, int]]]] = []
        self.is_deaf_to_stop = False
        self.status_after_init = 1

    def _obey(self, command: int, payload: bytes, now_us: int) -> bytes | None:
        if command == INIT:
            self.mode, self.status = payload[0] >> 4, self.status_after_init
            return b""
        if command == STOP:
            self.status = self.status if self.is_deaf_to_stop else 0
            return b""
        if command != PULSE:
            return super()._obey(command, payload, now_us)
        assert self.status == 1, "a pulse without Ll_init"
        assert payload[0] >> 7 == 1
        words = [int.from_bytes(payload[at : at + 4], "big") for at in range(1, len(payload), 4)]
        assert (payload[0] & 15) + 1 == len(words)
        points = [(word >> 20, ((word >> 10 & 0x3FF) - 300) * 500) for word in words]
        self.pulses.append((payload[0] >> 4 & 7, points))
        samples = b"" if not self.mode else b"\0\4" + b"\3\xe8" * 128
        return bytes((payload[0] >> 5 & 3, self.mode)) + samples


class PulseLine(Line):
    """The single pulse's driver on a line in a test's hand."""

    driver: P24SinglePulse
    device: LowLevelP24

    def __init__(
        self, profile: str = "tens-low-rate", measurement: Measurement = Measurement.CURRENT
    ) -> None:
        super().__init__(profile)
        self.driver = P24SinglePulse(7, "p24:/dev/hand", measurement)
        self.device = LowLevelP24()

    def ask(self, *targets_ua: int) -> PulseLine:
        """Ask for the pulse, and go on asking as a session would."""
        self.targets_ua = targets_ua
        self.drive(WantedState.RUNNING, *targets_ua)
        self.run(400 * MS)
        return self

    def commands(self) -> list[int]:
        return [request(each)[0] for each in self.written]


def ready(profile: str = "tens-low-rate") -> PulseLine:
    line = PulseLine(profile)
    line.running(*line.targets_ua)
    return line


def ended(line: PulseLine) -> bool:
    """Tell whether the low level was left, and that confirmed, with at least three Stops."""
    stops = [each for each in line.commands() if each == STOP]
    return line.newest().state is DeviceState.SAFE and len(stops) >= 3 and not line.device.status


def test_one_balanced_pulse_goes_out_and_is_measured_and_the_low_level_is_left() -> None:
    line = ready().ask(10_000)
    assert line.device.pulses == [(0, BALANCED)]
    pulse = line.driver.pulse
    assert pulse is not None
    assert pulse.answer == PulseAnswer(0, 0, 0, 1, 4, (1000,) * 128)
    assert line.driver.is_over
    assert ended(line)


def test_nothing_flows_before_the_target_and_only_one_request_ever_asks_for_output() -> None:
    line = ready()
    line.run(1 * S)
    assert line.device.pulses == []
    assert line.newest().state is DeviceState.RUNNING
    line.ask(10_000)
    line.targets_ua, line.wanted = (0,), WantedState.ARMED
    line.run(100 * MS)
    line.targets_ua, line.wanted = (10_000,), WantedState.RUNNING
    line.run(300 * MS)
    assert line.commands().count(PULSE) == 1
    assert not {30, 32} & set(line.commands()), "mid-level has no part in it"


def test_the_bytes_are_the_published_clients() -> None:
    line = ready().ask(10_000)
    init = PacketLowLevelInit()
    init.mode = LowLevelMode.STIM_CURRENT
    init.high_voltage_source = LowLevelHighVoltageSource.STANDARD
    pulse = PacketLowLevelChannelConfig()
    pulse.execute_stimulation = True
    pulse.channel, pulse.connector = Channel.RED, Connector.YELLOW
    pulse.points = [ChannelPoint(200, 10), ChannelPoint(200, -10)]
    for command, packet in ((INIT, init), (PULSE, pulse), (STOP, PacketLowLevelStop())):
        ours = next(each for each in line.written if request(each)[0] == command)
        packet.number = request(ours)[1]
        assert ours == Protocol.packet_to_bytes(packet), command


@pytest.mark.parametrize(
    ("asked_ua", "played_ua"), [(10_300, 10_000), (10_499, 10_000), (999, 500), (500, 500)]
)
def test_amplitudes_are_rounded_towards_zero_before_either_phase_is_made(
    asked_ua: int, played_ua: int
) -> None:
    line = ready().ask(asked_ua)
    assert line.device.pulses == [(0, [(200, played_ua), (200, -played_ua)])]
    assert line.driver.pulse is not None
    assert line.driver.pulse.amplitude_ua == played_ua


def test_unequal_phases_are_balanced_on_a_grid_of_their_own() -> None:
    """A quarter, four times as long: 10.5 mA would be 10.5 mA x 200 us and 2.5 mA x 800 us."""
    line = PulseLine()
    (channel,) = line.made.program.channels
    uneven = replace(channel, phases=(Phase(1, 1000), Phase(4, -250)))
    line.made = replace(line.made, program=PulseProgram((uneven,)))
    line.running(0)
    line.ask(10_500)
    assert line.device.pulses == [(0, [(200, 10_000), (800, -2_500)])]


def test_less_than_the_first_step_is_refused() -> None:
    line = ready().ask(499)
    assert line.device.pulses == []
    (refused, *_) = line.of(base.DriveRefused)
    assert "first step" in str(refused)


def test_more_than_the_session_allows_is_refused_whoever_approved_it() -> None:
    """By a Drive that no kernel made: neither wrapped nor clamped."""
    line = ready()
    target_ua = line.made.ceilings[0].ceiling_ua + 500
    forged = Approved(_SEAL, WantedState.RUNNING, (target_ua,), line.now_us + 100 * MS)
    line.wanted = None
    line.driver.drive(forged, line.now_us)
    line.run(20 * MS)
    assert line.device.pulses == []
    assert "allowed in this session" in str(line.of(base.DriveRefused))


def test_an_approval_that_expired_while_an_answer_was_awaited_plays_nothing() -> None:
    line = ready()
    line.wanted = None
    line.device.is_mute = True
    line.drive(WantedState.RUNNING)  # its question waits
    line.drive(WantedState.RUNNING, 10_000)
    line.now_us += 101 * MS
    line.device.is_mute = False
    line.run(50 * MS)
    assert line.device.pulses == []


def test_two_channels_at_once_are_refused() -> None:
    line = ready("dpn-conventional")
    assert len(line.made.program.channels) == 2
    line.ask(5_000, 5_000)
    assert line.device.pulses == []
    assert "one channel" in str(line.of(base.DriveRefused)[-1])


def test_the_second_channel_is_the_second_output() -> None:
    line = ready("dpn-conventional")
    line.ask(0, 5_000)
    ((where, points),) = line.device.pulses
    assert where == 0b010, "channel 1 of connector 0"
    assert sum(duration_us * current_ua for duration_us, current_ua in points) == 0


def test_a_modulation_is_refused_since_it_has_no_one_pulse() -> None:
    (channel,) = PulseLine().made.program.channels
    frames = (Keyframe(0, 1000, 200, 500_000), Keyframe(500, 500, 100, 500_000))
    modulated = replace(channel, keyframes=frames, keyframe_cycle_ms=1000)
    assert "modulation" in P24SinglePulse.fitting(PulseProgram((modulated,))).lacks[0]
    assert P24SinglePulse.fitting(PulseProgram((channel,))).lacks == ()


def _lost(answer: bytes) -> bytes:
    return b""


def _other_output(answer: bytes) -> bytes:
    command, number, payload = request(answer)
    return frame(command, number, payload[:1] + b"\1" + payload[2:])


def _cut(answer: bytes) -> bytes:
    command, number, payload = request(answer)
    return frame(command, number, payload[:2])


def _corrupt(answer: bytes) -> bytes:
    return answer[:-3] + bytes((answer[-3] ^ 1,)) + answer[-2:]


def _general_error(answer: bytes) -> bytes:
    return frame(66, request(answer)[1], b"\2")


def _empty(answer: bytes) -> bytes:
    command, number, _ = request(answer)
    return frame(command, number, b"")


def _other_number(answer: bytes) -> bytes:
    command, number, payload = request(answer)
    return frame(command, (number + 1) % 64, payload)


SPOILT = [_lost, _other_output, _cut, _corrupt, _general_error, _empty, _other_number]


@pytest.mark.hazard(45)
@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_a_pulse_without_a_sound_answer_counts_as_played_and_is_never_repeated(
    spoil: Callable[[bytes], bytes],
) -> None:
    line = ready()
    line.to_host = lambda answer: (
        spoil(answer) if answer and request(answer)[0] == PULSE + 1 else answer
    )
    line.ask(10_000)
    assert len(line.device.pulses) == 1
    assert line.driver.pulse is not None
    assert line.driver.pulse.answer is None
    assert line.driver.is_over
    assert ended(line)


@pytest.mark.parametrize("result", [8, 10, 16, 21, 28, 99])
def test_what_the_device_says_after_the_pulse_is_told_as_it_said_it(result: int) -> None:
    line = ready()

    def say(answer: bytes) -> bytes:
        if not answer or request(answer)[0] != PULSE + 1:
            return answer
        command, number, payload = request(answer)
        return frame(command, number, bytes((result,)) + payload[1:])

    line.to_host = say
    line.ask(10_000)
    assert line.driver.pulse is not None
    assert line.driver.pulse.answer is not None
    assert line.driver.pulse.answer.result == result
    assert ended(line)


@pytest.mark.parametrize("result", [2, 7, 8, 11, 21])
def test_a_device_that_does_not_enter_its_low_level_plays_nothing(result: int) -> None:
    line = PulseLine()
    line.loaded()
    line.device.results[INIT] = result
    line.wanted = WantedState.ARMED
    line.run(200 * MS)
    assert line.newest().state in (DeviceState.SAFE, DeviceState.FAULT)
    assert line.of(base.DriveRefused) or line.newest().fault is FaultCode.SUPPLY
    assert line.device.pulses == []


def test_a_device_that_says_yes_and_is_elsewhere_is_not_armed() -> None:
    line = PulseLine()
    line.loaded()
    line.device.status_after_init = 2
    line.wanted = WantedState.ARMED
    line.run(200 * MS)
    assert line.newest().state is DeviceState.SAFE


def test_a_device_that_left_its_low_level_by_itself_is_a_fault_and_plays_nothing() -> None:
    line = ready()
    line.device.status = 0
    line.run(200 * MS)
    assert line.newest().fault is FaultCode.OUTPUT_STAGE
    line.targets_ua = (0,)
    line.drive(WantedState.RUNNING, 10_000)
    assert line.device.pulses == []


@pytest.mark.parametrize("at_ms", range(0, 60, 5))
def test_a_stop_at_any_moment_is_confirmed_and_no_pulse_follows_it(at_ms: int) -> None:
    line = PulseLine()
    line.loaded()
    line.wanted = WantedState.ARMED
    line.run(at_ms * MS)
    before = len(line.device.pulses)
    line.wanted = None
    line.driver.stop(line.now_us)
    line.drive(WantedState.RUNNING, 10_000)
    line.run(100 * MS)
    assert line.newest().state is DeviceState.SAFE
    assert line.device.status == 0
    assert len(line.device.pulses) == before == 0


def test_a_stop_drops_a_pulse_that_still_waits_to_be_written() -> None:
    line = ready()
    now_us = line.now_us
    verdict = kernel.review(
        DriveRequest(WantedState.RUNNING, (10_000,), (100_000,)),
        line.made.program, UNLOADED, line.made.bounds, now_us,
    )  # fmt: skip
    assert isinstance(verdict, Approved)
    line.driver.drive(verdict, now_us)
    line.driver.stop(now_us)
    line.wanted = None
    line.run(100 * MS)
    assert line.device.pulses == []
    assert ended(line)


def test_a_stop_is_repeated_every_10_ms_until_the_low_level_is_left() -> None:
    line = ready()
    line.wanted = None
    line.device.is_deaf_to_stop = True
    began = len(line.written)
    line.driver.stop(line.now_us)
    line.run(200 * MS)
    assert line.device.status == 1
    stops = [each for each in line.written[began:] if request(each)[0] == STOP]
    assert len(stops) >= 19
    numbers = [request(each)[1] for each in stops]
    assert all(later != former for former, later in pairwise(numbers))
    line.device.is_deaf_to_stop = False
    line.run(20 * MS)
    assert not line.driver.is_stopping
    assert line.newest().state is DeviceState.SAFE


def test_without_a_drive_for_320_ms_the_low_level_is_left() -> None:
    line = ready()
    line.wanted = None
    line.run(310 * MS)
    assert line.device.status == 1
    line.run(40 * MS)
    assert line.device.status == 0
    assert line.newest().fault is FaultCode.LEASE_EXPIRED


def test_what_somebody_left_in_the_low_level_is_silenced_before_anything_else() -> None:
    line = PulseLine()
    line.device.status = 1
    line.connected()
    assert [command for command, _ in line.device.heard] == [52, 68, 62, 4, 62]
