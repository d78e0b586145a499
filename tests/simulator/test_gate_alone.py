"""The simulator's gate by itself, at every edge: the tables that the C core is held to, and more.

Where the reference firmware is tested both are asked together, over the wire; here no compiler is
needed, and the gate alone is asked, whatever the states let through.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from estim.simulator.device import DeviceSettings
from estim.simulator.gate import Gate, Refusal
from firmware_protocol import limits
from firmware_protocol.messages import (
    NO_CHANNEL,
    Capabilities,
    CapabilityFlag,
    ChannelLimits,
    PolicyFlag,
    RefusalReason,
    SetLimits,
    TargetRow,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from firmware_protocol.session_limits import compiled_limits, limits_digest
from tests.firmware.test_gate import FINE, PAIR, RUNS, SHARP, STRETCHES, TIMED, WORST_SECONDS
from tests.firmware.test_small import PINS, SWITCHED
from tests.simulator.host import session_limits

S_US = 1_000_000
PLAIN = ChannelProgram(PAIR, 1, 10_000)


def gate_of(own: DeviceSettings = FINE, *played: ChannelProgram, **session: Any) -> Gate:
    """Return a gate with limits and a programme in force."""
    gate = Gate(own.capabilities(), is_switched=own.is_switched)
    assert gate.take_limits(session_limits(own.channel_count, **session)) is None
    if played:
        assert load(gate, *played) is None
    return gate


def load(gate: Gate, *played: ChannelProgram) -> Refusal | None:
    program = PulseProgram(played)
    return gate.take_program(program.messages(), program.digest)


def assert_needs(played: ChannelProgram, target_ua: int, limit: limits.Limit, needed: int) -> None:
    """Assert that a limit of `needed` takes the target and one of a count less refuses it."""
    assert gate_of(FINE, played, **{limit.name: needed}).review_target(0, target_ua) is None
    refused = gate_of(FINE, played, **{limit.name: needed - 1}).review_target(0, target_ua)
    assert refused == Refusal(RefusalReason.LIMIT, limit.wire_id, 0, needed, needed - 1)


# The tables of the C core.


@pytest.mark.parametrize(("played", "pulses"), WORST_SECONDS)
def test_pulses_in_the_worst_second(played: ChannelProgram, pulses: int) -> None:
    assert_needs(played, 100_000, limits.average_ua, 2 * pulses)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("phases", "target_ua", "session_pc", "told"), STRETCHES)
def test_charge_over_a_stretch(
    phases: tuple[tuple[int, int], ...],
    target_ua: int,
    session_pc: int,
    told: tuple[int, int],
    sign: int,
) -> None:
    shape = tuple(Phase(lasts_us, sign * permille) for lasts_us, permille in phases)
    gate = gate_of(FINE, ChannelProgram(shape, 1, S_US), phase_charge_pc=session_pc)
    charge_id = limits.phase_charge_pc.wire_id
    assert gate.review_target(0, target_ua) == Refusal(RefusalReason.LIMIT, charge_id, 0, *told)


@pytest.mark.parametrize("sign", [1, -1])
def test_time_at_28_ma_excuses_no_charge_beside_it(sign: int) -> None:
    """2 x 440 us x 56 mA against 20 uC + 880 us x 28 mA, whatever 100 us at 28 mA lie between."""
    phases = ((440, 1000), (100, 500), (440, 1000), (1000, -930))
    shape = tuple(Phase(lasts_us, sign * permille) for lasts_us, permille in phases)
    refused = gate_of(FINE, ChannelProgram(shape, 1, S_US)).review_target(0, 56_000)
    assert refused == Refusal(RefusalReason.LIMIT, 5, 0, 49_280_000, 44_640_000)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("phases", "run_us"), RUNS)
def test_a_run_is_held_to_1000_us_wherever_it_lies(
    phases: tuple[tuple[int, int], ...], run_us: int, sign: int
) -> None:
    shape = tuple(Phase(lasts_us, sign * permille) for lasts_us, permille in phases)
    refused = load(gate_of(), ChannelProgram(shape, 1, 20_000))
    assert refused == Refusal(RefusalReason.LIMIT, 3, 0, run_us, 1000)


@pytest.mark.parametrize(("played", "told"), TIMED)
def test_what_a_device_cannot_time_is_told(
    played: ChannelProgram, told: tuple[int, int] | None
) -> None:
    own = replace(FINE, phase_min_us=50, phase_max_us=300, pulse_period_min_us=1_000)
    refused = load(gate_of(own), played)
    expected = None if told is None else Refusal(RefusalReason.CAPABILITY, 0, 0, *told)
    assert refused == expected


@pytest.mark.parametrize(("channels", "asked", "allowed"), PINS)
def test_a_switched_stage_refuses_what_its_pins_cannot_play(
    channels: tuple[ChannelProgram], asked: int | None, allowed: int | None
) -> None:
    refused = load(gate_of(SWITCHED), *channels)
    if asked is None or allowed is None:
        assert refused is None
    else:
        assert refused == Refusal(RefusalReason.CAPABILITY, 0, 0, asked, allowed)
    assert load(gate_of(replace(SWITCHED, is_switched=False)), *channels) is None


@pytest.mark.parametrize(
    ("target_ua", "needed"),
    # 2 % of 19601^2 are 2772.0036^2; sqrt(0.02) of 70.710 mA is 9999.99 uA.
    [(19_601, 2_773), (70_710, 10_000)],
)
def test_rms_is_compared_exactly(target_ua: int, needed: int) -> None:
    played = ChannelProgram((Phase(100, 1000), Phase(100, -1000)), 1, 10_000)
    assert_needs(played, target_ua, limits.rms_ua, needed)


def test_average_is_compared_exactly() -> None:
    """202 us x 9901 uA once a second are 2000002 pC, 2 more than 2 uA; 9900 uA are 1999800."""
    played = ChannelProgram((Phase(101, 1000), Phase(101, -1000)), 1, S_US)
    assert_needs(played, 9_901, limits.average_ua, 3)
    assert_needs(played, 9_900, limits.average_ua, 2)


def test_settings_of_other_lengths_are_put_together() -> None:
    """100 pulses of 2 uC or 10 of 20 uC: 200 uC either way, and one of 20 uC more."""
    frames = (Keyframe(0, 1000, 1, 10_000), Keyframe(1, 1000, 10, 100_000))
    played = ChannelProgram(SHARP, 1, 10_000, keyframes=frames, keyframe_cycle_ms=2)
    assert_needs(played, 100_000, limits.average_ua, 220)


def test_restarts_are_judged_by_the_shortest_pulse() -> None:
    """20 us of pulse + 9979 us of offset are less than 10 ms, though another pulse has 200 us.

    100 + 1 + 34 pulses of up to 20 uC.
    """
    frames = (Keyframe(0, 1000, 1, 10_000), Keyframe(1, 1000, 10, 10_000))
    played = ChannelProgram(SHARP, 10, 10_000, pulse_offset_us=9_979, cycle=Cycle(0, 30, 0, 0),
                            keyframes=frames, keyframe_cycle_ms=2)  # fmt: skip
    assert_needs(played, 100_000, limits.average_ua, 2_700)
    assert_needs(replace(played, pulse_offset_us=9_980), 100_000, limits.average_ua, 2_020)


def test_a_gap_carries_nothing() -> None:
    parted = (Phase(10, 1000), Phase(100, 0), Phase(10, -1000))
    assert_needs(ChannelProgram(parted, 1, 1_000), 100_000, limits.average_ua, 2_000)


def test_limits_of_zero_allow_what_is_nothing_on_the_grid() -> None:
    """50 uA in steps of 100 uA are no current; 100 uA are 20 uA RMS and 4 uA average."""
    gate = gate_of(DeviceSettings(), PLAIN, rms_ua=0, average_ua=0)
    assert gate.review_target(0, 50) is None
    assert gate.review_target(0, 100) == Refusal(RefusalReason.LIMIT, 8, 0, 20, 0)
    gate = gate_of(DeviceSettings(), PLAIN, average_ua=0)
    assert gate.review_target(0, 100) == Refusal(RefusalReason.LIMIT, 9, 0, 4, 0)


def test_a_charge_of_nothing_is_allowed_where_nothing_is() -> None:
    gate = gate_of(DeviceSettings(), PLAIN, phase_charge_pc=0)
    assert gate.review_target(0, 50) is None
    assert gate.review_target(0, 100) == Refusal(RefusalReason.LIMIT, 5, 0, 20_000, 0)


def test_a_target_below_zero_is_none() -> None:
    gate = gate_of(FINE, PLAIN)
    assert gate.review_target(0, -1) == Refusal(RefusalReason.LIMIT, 1, 0, -1, 0)


def test_the_shortest_period_of_all_keyframes_counts() -> None:
    frames = (Keyframe(0, 1000, 1, 20_000), Keyframe(1, 1000, 1, 10_000))
    played = replace(PLAIN, keyframes=frames, keyframe_cycle_ms=2)
    refused = load(gate_of(replace(FINE, pulse_period_min_us=10_001)), played)
    assert refused == Refusal(RefusalReason.CAPABILITY, 0, 0, 10_000, 10_001)


def test_what_was_judged_before_is_forgotten_with_its_programme() -> None:
    gate = gate_of(FINE, PLAIN)
    assert gate.review_target(0, 10) is None
    gate.unload()
    with pytest.raises(IndexError):
        gate.review_target(0, 10)


# What is in force.


def test_a_gate_begins_with_the_compiled_limits_and_no_programme() -> None:
    gate = Gate(FINE.capabilities())
    assert (gate.program, gate.program_digest, gate.shapes) == (None, 0, ())
    assert gate.session == compiled_limits(2, 100_000)
    assert gate.limits_digest == limits_digest(compiled_limits(2, 100_000))


def test_resetting_takes_limits_and_programme_back() -> None:
    gate = gate_of(FINE, PLAIN, amplitude_ua=5)
    gate.reset()
    assert (gate.program, gate.program_digest, gate.shapes) == (None, 0, ())
    assert gate.session == compiled_limits(2, 100_000)


def test_unloading_leaves_the_limits() -> None:
    gate = gate_of(FINE, PLAIN, amplitude_ua=5)
    gate.unload()
    assert (gate.program, gate.program_digest, gate.shapes) == (None, 0, ())
    assert gate.session.channels[0].amplitude_ua == 5


def test_what_was_judged_before_is_judged_anew_under_other_limits() -> None:
    gate = gate_of(FINE, PLAIN)
    assert gate.review_target(0, 10_000) is None
    assert gate.take_limits(session_limits(2, amplitude_ua=9_999)) is None
    refused = Refusal(RefusalReason.LIMIT, 1, 0, 10_000, 9_999)
    assert gate.review_target(0, 10_000) == refused
    assert gate.review_target(0, 10_000) == refused
    gate.reset()
    assert load(gate, PLAIN) is None
    assert gate.review_target(0, 10_000) is None


def test_what_was_judged_before_is_judged_anew_under_another_programme() -> None:
    """10 mA x 200 us are the 2 uC allowed; x 1 ms are 10 uC."""
    gate = gate_of(FINE, PLAIN, phase_charge_pc=2_000_000)
    assert gate.review_target(0, 10_000) is None
    long = (Phase(1_000, 1000), Phase(1_000, -1000))
    assert load(gate, ChannelProgram(long, 1, 10_000)) is None
    assert gate.review_target(0, 10_000) == Refusal(
        RefusalReason.LIMIT, 5, 0, 10_000_000, 2_000_000
    )


def test_more_targets_than_are_remembered_are_still_judged() -> None:
    gate = gate_of(FINE, PLAIN, amplitude_ua=4_999)
    for target_ua in range(5_005):
        assert (gate.review_target(0, target_ua) is None) is (target_ua <= 4_999)
    assert len(gate._reviewed) == 5_005 - 4_096
    assert gate.review_target(0, 4_999) is None


def test_each_channel_is_judged_by_its_own_limits() -> None:
    rows = (ChannelLimits(100_000, 48_000_000, 50_000, 10_000), ChannelLimits(7, 0, 0, 0))
    gate = Gate(FINE.capabilities())
    assert gate.take_limits(SetLimits(2000, 2000, 1000, 1, PolicyFlag.NONE, rows)) is None
    assert load(gate, PLAIN, replace(PLAIN, pulse_offset_us=5_000)) is None
    assert gate.review_target(0, 8) is None
    assert gate.review_target(1, 8) == Refusal(RefusalReason.LIMIT, 1, 1, 8, 7)
    assert gate.review_target(1, 7) == Refusal(RefusalReason.LIMIT, 5, 1, 1_400, 0)


# Limits that are asked for.

EDGES = [
    ("setpoint_slew_ua_per_s", 13, 1, 2_000),
    ("rise_per_cycle_ua", 14, 1, 2_000),
    ("step_ua", 15, 100, 1_000),
    ("running_ms", 18, 1, 10_800_000),
]
ROW_EDGES = [
    ("amplitude_ua", 1, 100_000),
    ("phase_charge_pc", 5, 48_000_000),
    ("rms_ua", 8, 50_000),
    ("average_ua", 9, 10_000),
]


@pytest.mark.parametrize(("name", "wire_id", "lowest", "highest"), EDGES)
def test_each_limit_of_a_session_at_its_edges(
    name: str, wire_id: int, lowest: int, highest: int
) -> None:
    gate = Gate(FINE.capabilities())
    for asked in (lowest, highest):
        assert gate.take_limits(session_limits(2, **{name: asked})) is None
        assert getattr(gate.session, name) == asked
    for asked, allowed in ((lowest - 1, lowest), (highest + 1, highest)):
        refused = gate.take_limits(session_limits(2, **{name: asked}))
        assert refused == Refusal(RefusalReason.LIMIT, wire_id, NO_CHANNEL, asked, allowed)
        assert getattr(gate.session, name) == highest


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("name", "wire_id", "highest"), ROW_EDGES)
def test_each_limit_of_a_channel_at_its_edges(
    name: str, wire_id: int, highest: int, index: int
) -> None:
    gate = Gate(FINE.capabilities())
    for asked, allowed in ((0, None), (highest, None), (-1, 0), (highest + 1, highest)):
        rows = list(session_limits(2).channels)
        rows[index] = replace(rows[index], **{name: asked})
        refused = gate.take_limits(replace(session_limits(2), channels=tuple(rows)))
        expected = None
        if allowed is not None:
            expected = Refusal(RefusalReason.LIMIT, wire_id, index, asked, allowed)
        assert refused == expected


@pytest.mark.parametrize("count", [1, 3])
def test_limits_for_another_number_of_channels_are_refused(count: int) -> None:
    refused = Gate(FINE.capabilities()).take_limits(session_limits(count))
    assert refused == Refusal(RefusalReason.CHANNELS, 0, NO_CHANNEL, count, 2)


# Programmes that are asked for.


def test_a_programme_with_another_digest_is_refused() -> None:
    program = PulseProgram((PLAIN,))
    gate = gate_of()
    refused = gate.take_program(program.messages(), program.digest ^ 1)
    assert refused == Refusal(RefusalReason.PROGRAM_DIGEST, 0, NO_CHANNEL, 0, 0)
    assert gate.program is None


def test_what_is_no_programme_is_refused() -> None:
    assert gate_of().take_program((), 0) == Refusal(RefusalReason.PROGRAM, 0, NO_CHANNEL, 0, 0)


def test_more_channels_than_there_are_are_refused() -> None:
    own = replace(FINE, channel_count=1)
    refused = load(gate_of(own), PLAIN, replace(PLAIN, pulse_offset_us=5_000))
    assert refused == Refusal(RefusalReason.CAPABILITY, 0, NO_CHANNEL, 2, 1)


def test_a_refused_programme_leaves_the_one_that_is_loaded() -> None:
    gate = gate_of(FINE, PLAIN)
    before = gate.program, gate.program_digest, gate.shapes
    assert load(gate, ChannelProgram((Phase(9, 1000), Phase(9, -1000)), 1, 10_000)) is not None
    assert (gate.program, gate.program_digest, gate.shapes) == before
    assert before[1] == PulseProgram((PLAIN,)).digest


MODULATED = {"keyframes": (Keyframe(0, 1000, 1, 10_000),) * 1, "keyframe_cycle_ms": 5}
WEAK = (Phase(10, 1000), Phase(20, -500))


@pytest.mark.parametrize(
    ("own", "played", "asked", "allowed"),
    [
        (replace(FINE, phases_max=1), PLAIN, 2, 1),
        (replace(FINE, keyframes_max=0), replace(PLAIN, **MODULATED), 1, 0),  # type: ignore[arg-type]
        (replace(FINE, flags=CapabilityFlag.NONE, has_patient_stop=False),
         replace(PLAIN, pulses_per_burst=1, burst_period_us=10_000), 8, 0),
        (replace(FINE, flags=CapabilityFlag.HOLDS_BURST, has_patient_stop=False),
         replace(PLAIN, cycle=Cycle(0, 100, 0, 0)), 16, 8),
    ],
)  # fmt: skip
def test_what_is_beyond_a_device_is_told_in_figures(
    own: DeviceSettings, played: ChannelProgram, asked: int, allowed: int
) -> None:
    refused = load(gate_of(own), played)
    assert refused is not None
    assert (refused.reason, refused.limit, refused.channel) == (RefusalReason.CAPABILITY, 0, 0)
    assert refused.allowed == allowed
    needed = {8: CapabilityFlag.HOLDS_BURST, 16: CapabilityFlag.HOLDS_CYCLE}
    assert refused.asked == int(needed.get(asked, asked))


@pytest.mark.parametrize(
    ("flag", "played"),
    [
        (CapabilityFlag.HOLDS_BURST, replace(PLAIN, pulses_per_burst=1, burst_period_us=10_000)),
        (CapabilityFlag.HOLDS_CYCLE, replace(PLAIN, cycle=Cycle(0, 100, 0, 0))),
        (CapabilityFlag.HOLDS_KEYFRAMES, replace(PLAIN, **MODULATED)),  # type: ignore[arg-type]
        (CapabilityFlag.UNEQUAL_PHASES, replace(PLAIN, phases=WEAK)),
    ],
)
def test_each_ability_is_needed_for_itself(flag: CapabilityFlag, played: ChannelProgram) -> None:
    all_flags = FINE.capabilities().flags
    own = FINE.capabilities()
    assert load(Gate(own), played) is None
    without = CapabilityFlag(int(all_flags) & ~int(flag))
    refused = load(Gate(replace(own, flags=without)), played)
    assert refused == Refusal(RefusalReason.CAPABILITY, 0, 0, int(flag), int(without))
    assert load(Gate(replace(own, flags=flag)), played) is None


def test_every_ability_that_is_needed_is_told_at_once() -> None:
    everything = ChannelProgram(
        WEAK, 1, 10_000, cycle=Cycle(0, 100, 0, 0), pulses_per_burst=1, burst_period_us=10_000,
        keyframes=(Keyframe(0, 1000, 1, 10_000),), keyframe_cycle_ms=1,
    )  # fmt: skip
    needed = (
        CapabilityFlag.HOLDS_BURST
        | CapabilityFlag.HOLDS_CYCLE
        | CapabilityFlag.HOLDS_KEYFRAMES
        | CapabilityFlag.UNEQUAL_PHASES
    )
    refused = load(Gate(replace(FINE.capabilities(), flags=CapabilityFlag.NONE)), everything)
    assert refused == Refusal(RefusalReason.CAPABILITY, 0, 0, int(needed), 0)


def exactly() -> Capabilities:
    """Return a device that can do just what `PLAIN` with one keyframe of its own needs."""
    return replace(
        FINE.capabilities(), phases_max=2, keyframes_max=1, phase_min_us=200, phase_max_us=200,
        pulse_period_min_us=10_000,
    )  # fmt: skip


def test_a_device_that_can_do_just_enough_takes_it() -> None:
    played = replace(PLAIN, **MODULATED)  # type: ignore[arg-type]
    assert load(Gate(exactly()), played) is None


@pytest.mark.parametrize(
    ("name", "allowed", "asked"),
    [("phases_max", 1, 2), ("keyframes_max", 0, 1), ("phase_min_us", 201, 200),
     ("phase_max_us", 199, 200), ("pulse_period_min_us", 10_001, 10_000)],
)  # fmt: skip
def test_one_count_less_is_too_little(name: str, allowed: int, asked: int) -> None:
    played = replace(PLAIN, **MODULATED)  # type: ignore[arg-type]
    refused = load(Gate(replace(exactly(), **{name: allowed})), played)  # type: ignore[arg-type]
    assert refused == Refusal(RefusalReason.CAPABILITY, 0, 0, asked, allowed)


def test_the_second_channel_is_judged_too() -> None:
    own = replace(FINE, phase_min_us=1)
    short = ChannelProgram((Phase(9, 1000), Phase(9, -1000)), 1, 10_000, 5_000)
    assert load(gate_of(own), PLAIN, short) == Refusal(RefusalReason.LIMIT, 3, 1, 9, 10)
    able = replace(FINE, pulse_period_min_us=10_001)
    assert load(gate_of(able), replace(PLAIN, pulse_period_us=10_001), replace(
        PLAIN, pulse_period_us=10_001, pulse_offset_us=5_000)) is None  # fmt: skip


@pytest.mark.parametrize(("gap_us", "told"), [(9_600, None), (9_601, (10_001, 10_000))])
def test_a_whole_pulse_lasts_at_most_10_ms(gap_us: int, told: tuple[int, int] | None) -> None:
    phases = (Phase(200, 1000), Phase(gap_us, 0), Phase(200, -1000))
    refused = load(gate_of(), ChannelProgram(phases, 1, 20_000))
    assert refused == (None if told is None else Refusal(RefusalReason.LIMIT, 4, 0, *told))


@pytest.mark.parametrize(
    ("gap_us", "unit_us", "told"),
    [(1, 6, (3, 1_200, 1_000)), (9_500, 2, (4, 10_300, 10_000)), (9_500, 1, None)],
)
def test_every_keyframe_is_held_to_the_durations(
    gap_us: int, unit_us: int, told: tuple[int, int, int] | None
) -> None:
    phases = (Phase(200, 1000), Phase(gap_us, 0), Phase(200, -1000))
    frames = (Keyframe(0, 1000, 1, 20_000), Keyframe(1, 1000, unit_us, 20_000))
    played = ChannelProgram(phases, 1, 20_000, keyframes=frames, keyframe_cycle_ms=2)
    refused = load(gate_of(replace(FINE, phase_max_us=60_000)), played)
    expected = None
    if told is not None:
        expected = Refusal(RefusalReason.LIMIT, told[0], 0, told[1], told[2])
    assert refused == expected


def test_a_switched_stage_without_gaps_is_refused_for_none() -> None:
    """Its shortest phase, 1001 us, is beyond what any phase may last: that is what it is told."""
    own = replace(SWITCHED, phase_min_us=1_001, phase_max_us=2_000, pulse_period_min_us=1)
    phases = (Phase(1_001, 1000), Phase(1_001, -1000))
    refused = load(gate_of(own), ChannelProgram(phases, 1, 20_000))
    assert refused == Refusal(RefusalReason.LIMIT, 3, 0, 1_001, 1_000)


# What is believed of a Drive.


def test_both_digests_must_be_those_in_force() -> None:
    gate = gate_of()
    assert gate.review_digests(0, gate.limits_digest) == Refusal(RefusalReason.NO_PROGRAM)
    assert load(gate, PLAIN) is None
    right = gate.program_digest, gate.limits_digest
    assert gate.review_digests(*right) is None
    wrong = gate.review_digests(right[0] ^ 1, right[1])
    assert wrong == Refusal(RefusalReason.PROGRAM_DIGEST, 0, NO_CHANNEL, 0, 0)
    wrong = gate.review_digests(right[0], right[1] ^ 1)
    assert wrong == Refusal(RefusalReason.LIMITS_DIGEST, 0, NO_CHANNEL, 0, 0)


def test_there_is_one_target_for_each_channel_of_the_programme() -> None:
    gate = gate_of()
    one, two = (TargetRow(1),), (TargetRow(1), TargetRow(2))
    assert gate.review_count(()) is None
    assert gate.review_count(one) == Refusal(RefusalReason.CHANNELS, 0, NO_CHANNEL, 1, 0)
    assert load(gate, PLAIN) is None
    assert gate.review_count(one) is None
    assert gate.review_count(two) == Refusal(RefusalReason.CHANNELS, 0, NO_CHANNEL, 2, 1)
    assert gate.review_count(()) == Refusal(RefusalReason.CHANNELS, 0, NO_CHANNEL, 0, 1)


def test_a_refusal_says_nothing_unless_it_is_told_and_stays_as_it_is() -> None:
    refusal = Refusal(RefusalReason.STATE)
    told = (refusal.limit, refusal.channel, refusal.asked, refusal.allowed)
    assert told == (0, NO_CHANNEL, 0, 0)
    for field in dataclasses.fields(Refusal):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(refusal, field.name, 1)
