"""Each limit at its last passing value and one count above, whoever owns it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from estim.safety import checks
from estim.safety.bounds import Bound, Owner
from estim.safety.checks import CHECKS, Ask
from estim.safety.figures import Figures
from estim.safety.kernel import RiseKind, ceiling, review, review_load
from estim.safety.verdict import Approved, ApprovedLoad, Reason, Refused
from firmware_protocol.messages import ChannelLimits, PolicyFlag, SetLimits
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from tests.safety.samples import (
    CAPABILITIES,
    FACTS,
    NOW_US,
    bounds,
    channel,
    facts,
    judge,
    program,
    reasons_of,
    target,
)

OWNERS = list(Owner)
NOTHING = Figures(
    amplitude_ua=0,
    peak_ua=0,
    phase_charges=((0, 200),),
    net_charge_pc=0,
    second_square=0,
    second_absolute_pc=0,
    pulse_square=0,
    phase_min_us=200,
    phase_max_us=200,
    pulse_max_us=400,
)
SESSION = SetLimits(2000, 2000, 1000, 10_800_000, PolicyFlag.NONE, (ChannelLimits(0, 0, 0, 0),))


def output(area_mm2: int = 100, **figure: object) -> Ask:
    return Ask(3, None, replace(NOTHING, **figure), area_mm2)  # type: ignore[arg-type]


def held(**value: object) -> Ask:
    return Ask(3, session_limits=replace(SESSION, **value))  # type: ignore[arg-type]


# (limit, bound, what passes, what does not, the figure told of the latter)
EDGES = [
    ("amplitude_ua", 40_000, output(amplitude_ua=40_000), output(amplitude_ua=40_001), 40_001),
    ("sensory_amplitude_ua", 80_000, output(amplitude_ua=80_000), output(amplitude_ua=80_001),
     80_001),
    ("phase_duration_us", 1000, output(phase_max_us=1000), output(phase_max_us=1001), 1001),
    ("pulse_duration_us", 10_000, output(pulse_max_us=10_000), output(pulse_max_us=10_001), 10_001),
    ("phase_charge_pc", 5_000_000, output(phase_charges=((5_000_000, 200),)),
     output(phase_charges=((5_000_001, 200),)), 5_000_001),
    ("net_charge_pc", 0, output(net_charge_pc=0), output(net_charge_pc=1), 1),
    # 300 mJ into 500 ohm: 6e14 uA2 us.
    ("pulse_energy_uj", 300_000, output(pulse_square=600_000_000_000_000),
     output(pulse_square=600_000_000_000_001), 300_001),
    ("rms_ua", 50_000, output(second_square=50_000**2 * 1_000_000),
     output(second_square=50_000**2 * 1_000_000 + 1), 50_001),
    ("average_ua", 10_000, output(second_absolute_pc=10_000 * 1_000_000),
     output(second_absolute_pc=10_000 * 1_000_000 + 1), 10_001),
    # 2 mA/cm2 on 8 cm2 is 16 mA.
    ("current_density_ua_per_cm2", 2000, output(800, second_square=16_000**2 * 1_000_000),
     output(800, second_square=16_000**2 * 1_000_000 + 1), 2001),
    ("impaired_current_density_ua_per_cm2", 1000, output(800, second_square=8_000**2 * 1_000_000),
     output(800, second_square=8_000**2 * 1_000_000 + 1), 1001),
    # 0.25 W/cm2 on 8 cm2 is 2 W: into 500 ohm that is 63.2455 mA, rounded down.
    ("power_density_uw_per_cm2", 250_000, output(800, second_square=63_245**2 * 1_000_000),
     output(800, second_square=63_245**2 * 1_000_000 + 1), 250_004),
    ("setpoint_slew_ua_per_s", 1500, held(setpoint_slew_ua_per_s=1500),
     held(setpoint_slew_ua_per_s=1501), 1501),
    ("rise_per_cycle_ua", 1500, held(rise_per_cycle_ua=1500), held(rise_per_cycle_ua=1501), 1501),
    ("step_ua", 500, held(step_ua=500), held(step_ua=501), 501),
    ("running_ms", 60_000, held(running_ms=60_000), held(running_ms=60_001), 60_001),
    ("held_key_rise_ua_per_s", 1000, Ask(3, key_rise_ua=400, key_rise_in_second_ua=600),
     Ask(3, key_rise_ua=400, key_rise_in_second_ua=601), 1001),
    ("heartbeat_ms", 400, Ask(3, heartbeat_age_ms=400), Ask(3, heartbeat_age_ms=401), 401),
]  # fmt: skip


@pytest.mark.hazard(1, 2)
@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize(("limit", "value", "passing", "failing", "told"), EDGES)
def test_a_bound_allows_its_value_and_not_one_count_more(
    limit: str, value: int, passing: Ask, failing: Ask, told: int, owner: Owner
) -> None:
    bound = Bound(limit, value, owner)
    assert CHECKS[limit](passing, bound) is None
    reason = CHECKS[limit](failing, bound)
    assert reason is not None
    assert (reason.limit, reason.asked, reason.allowed) == (limit, told, value)
    assert (reason.owner, reason.channel) == (owner, 3)


def test_every_check_stands_in_the_edge_table() -> None:
    by_programme = {"cycle_ramp_up_ms", "charge_rise_permille"}
    assert {row[0] for row in EDGES} | by_programme == set(CHECKS)


@pytest.mark.parametrize(
    ("limit", "table"),
    [("running_ms", checks.TIME_CHECKS), ("step_ua", checks.KEY_CHECKS)],
)
def test_running_time_and_key_step_are_checked_as_facts_too(
    limit: str, table: dict[str, checks.Check]
) -> None:
    asked = {"running_ms": "running_ms", "step_ua": "key_rise_ua"}[limit]
    bound = Bound(limit, 700, Owner.PROFILE)
    assert table[limit](Ask(0, **{asked: 700}), bound) is None  # type: ignore[arg-type]
    assert table[limit](Ask(1, **{asked: 701}), bound) == Reason(limit, 701, 700, Owner.PROFILE, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limit", "lowest"),
    [("setpoint_slew_ua_per_s", 1), ("rise_per_cycle_ua", 1), ("step_ua", 100), ("running_ms", 1)],
)
def test_a_bound_that_no_device_would_take_is_refused(limit: str, lowest: int) -> None:
    """The device refuses session limits below these, so the host must not send them."""
    low = bounds(session=(Bound(limit, lowest - 1, Owner.SITE),))
    result = review_load(program(), low, CAPABILITIES, NOW_US)
    assert reasons_of(result) == [(limit, lowest - 1, lowest, "site", 0)]
    enough = bounds(session=(Bound(limit, lowest, Owner.SITE),))
    assert isinstance(review_load(program(), enough, CAPABILITIES, NOW_US), ApprovedLoad)


# At 100 Hz and 2 x 200 us, 20 mA is 4 uC a phase, 4 mA RMS, 0.8 mA on average, 80 uJ a pulse, and
# on 25 cm2 160 uA/cm2 and 320 uW/cm2. (limit, bound, figure told at 20.001 mA)
REACHED_AT_20_MA = [
    ("amplitude_ua", 20_000, 20_001),
    ("sensory_amplitude_ua", 20_000, 20_001),
    ("phase_charge_pc", 4_000_000, 4_000_200),
    ("pulse_energy_uj", 80, 81),
    ("rms_ua", 4_000, 4_001),
    ("average_ua", 800, 801),
    ("current_density_ua_per_cm2", 160, 161),
    ("impaired_current_density_ua_per_cm2", 160, 161),
    ("power_density_uw_per_cm2", 320, 321),
]


@pytest.mark.hazard(1)
@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize(("limit", "value", "told"), REACHED_AT_20_MA)
def test_each_layer_lowers_the_ceiling_and_is_named(
    limit: str, value: int, told: int, owner: Owner
) -> None:
    within = bounds(Bound(limit, value, owner))
    assert isinstance(judge(19_999, within), Approved)
    assert isinstance(judge(20_000, within), Approved)
    assert reasons_of(judge(20_001, within)) == [(limit, told, value, owner.value, 1)]
    highest_ua, binding = ceiling(program(), within, 0)
    assert highest_ua == 20_000
    assert [(r.limit, r.owner, r.channel) for r in binding] == [(limit, owner, 1)]


@pytest.mark.parametrize(("limit", "value", "told"), REACHED_AT_20_MA)
def test_a_looser_layer_undoes_nothing(limit: str, value: int, told: int) -> None:
    within = bounds(
        Bound(limit, value * 2, Owner.SITE),
        Bound(limit, value, Owner.PATIENT),
        Bound(limit, value * 3, Owner.PROFILE),
    )
    assert isinstance(judge(20_000, within), Approved)
    assert reasons_of(judge(20_001, within)) == [(limit, told, value, "patient", 1)]


@pytest.mark.hazard(19)
@pytest.mark.parametrize(
    ("played", "highest_ua", "reason"),
    [
        (channel(100, 1_000_000), 100_000, ("amplitude_ua", 100_001, 100_000, "standard", 1)),
        # 34.0 uC in 500 us are 68 mA; 31.2 uC in 400 us are 78 mA; 48 uC in 1 ms are 48 mA.
        (channel(500, 10**6), 68_000, ("phase_charge_pc", 34_000_500, 34_000_000, "standard", 1)),
        (channel(400, 10**6), 78_000, ("phase_charge_pc", 31_200_400, 31_200_000, "standard", 1)),
        (channel(1000, 10**6), 48_000, ("phase_charge_pc", 48_001_000, 48_000_000, "standard", 1)),
        # 2 x 250 us at 500 Hz flow a quarter of the time: 10 mA on average are 40 mA.
        (channel(250, 2_000), 40_000, ("average_ua", 10_001, 10_000, "standard", 1)),
    ],
)  # fmt: skip
def test_the_compiled_limits_hold_alone(
    played: ChannelProgram, highest_ua: int, reason: tuple[object, ...]
) -> None:
    within = bounds(area_mm2=40_000)
    assert isinstance(judge(highest_ua, within, program(played)), Approved)
    assert reason in reasons_of(judge(highest_ua + 1, within, program(played)))


@pytest.mark.hazard(26)
def test_the_electrode_binds_a_small_pad() -> None:
    """2 mA/cm2 on 1 cm2 is 2 mA RMS: 10 mA at 100 Hz and 2 x 200 us."""
    within = bounds(area_mm2=100)
    assert isinstance(judge(10_000, within), Approved)
    assert reasons_of(judge(10_001, within)) == [
        ("current_density_ua_per_cm2", 2001, 2000, "electrode", 1)
    ]


def test_the_device_binds_where_it_delivers_less() -> None:
    weaker = replace(CAPABILITIES, amplitude_max_ua=15_000)
    within = bounds(capabilities=weaker)
    assert isinstance(judge(15_000, within), Approved)
    assert reasons_of(judge(15_001, within)) == [("amplitude_ua", 15_001, 15_000, "device", 1)]


def test_the_worst_of_several_phases_is_told() -> None:
    """80 mA for 500 us exceed 34 uC; the way back, 40 mA for 1 ms, may carry 48 uC."""
    phases = (Phase(5, 1000), Phase(10, -500))
    slow = program(replace(channel(), phases=phases, unit_us=100, pulse_period_us=1_000_000))
    found = reasons_of(judge(80_000, bounds(), slow))
    assert found == [("phase_charge_pc", 40_000_000, 34_000_000, "standard", 1)]


@pytest.mark.hazard(2)
def test_a_phase_cut_in_two_carries_no_more_than_a_whole_one() -> None:
    """2 x 300 us flow 600 us one way and may carry 36.8 uC: 61.333 mA, not 28.4 uC each."""
    phases = (Phase(3, 1000), Phase(1, 0), Phase(3, 1000), Phase(6, -1000))
    cut = program(replace(channel(), phases=phases, unit_us=100, pulse_period_us=1_000_000))
    assert isinstance(judge(61_333, bounds(), cut), Approved)
    found = reasons_of(judge(61_334, bounds(), cut))
    assert found == [("phase_charge_pc", 36_800_400, 36_800_000, "standard", 1)]


def test_phases_of_one_polarity_are_no_longer_than_one() -> None:
    """501 + 500 us one way are 1001 us of 1000."""
    for first_us, is_allowed in ((500, True), (501, False)):
        phases = (Phase(first_us, 1000), Phase(500, 1000), Phase(500, -1000), Phase(1, 0),
                  Phase(first_us, -1000))  # fmt: skip
        long = program(replace(channel(), phases=phases, unit_us=1, pulse_period_us=1_000_000))
        found = reasons_of(judge(10_000, bounds(), long))
        expected = [] if is_allowed else [("phase_duration_us", 1001, 1000, "standard", 1)]
        assert found == expected


def test_a_short_phase_is_not_hidden_by_a_long_one_with_more_charge() -> None:
    """At 70 mA 500 us carry 35 uC of 34 allowed; 1 ms at 60 % carries 42 uC of 48 allowed."""
    phases = (Phase(5, 1000), Phase(10, -600), Phase(10, 600), Phase(10, -500))
    slow = program(replace(channel(), phases=phases, unit_us=100, pulse_period_us=1_000_000))
    found = reasons_of(judge(70_000, bounds(), slow))
    assert found == [("phase_charge_pc", 35_000_000, 34_000_000, "standard", 1)]


@pytest.mark.parametrize(
    ("played", "reason"),
    [
        (channel(10), None),
        (channel(9), ("phase_duration_us", 9, 10, "standard", 1)),
        (channel(1000, 100_000), None),
        (channel(1001, 100_000), ("phase_duration_us", 1001, 1000, "standard", 1)),
        (channel(500, 100_000, 9_000), None),
        (channel(500, 100_000, 9_001), ("pulse_duration_us", 10_001, 10_000, "standard", 1)),
    ],
)  # fmt: skip
def test_the_shape_of_a_pulse_is_judged_when_it_is_loaded(
    played: ChannelProgram, reason: object
) -> None:
    result = review_load(program(played), bounds(), CAPABILITIES, NOW_US)
    assert reasons_of(result) == ([] if reason is None else [reason])
    driven = judge(100, bounds(), program(played))
    assert reasons_of(driven) == ([] if reason is None else [reason])


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize(
    ("limit", "value", "is_refused"),
    [
        ("phase_duration_us", 200, False),
        ("phase_duration_us", 199, True),
        ("pulse_duration_us", 400, False),
        ("pulse_duration_us", 399, True),
    ],
)
def test_any_layer_may_ask_for_shorter_pulses(
    limit: str, value: int, is_refused: bool, owner: Owner
) -> None:
    result = review_load(program(), bounds(Bound(limit, value, owner)), CAPABILITIES, NOW_US)
    asked = 200 if limit == "phase_duration_us" else 400
    assert reasons_of(result) == ([(limit, asked, value, owner.value, 1)] if is_refused else [])


@pytest.mark.parametrize(
    ("ramp_up_ms", "is_bench", "is_refused"),
    [(500, False, False), (499, False, True), (499, True, False), (0, True, False)],
)
def test_a_cycle_on_a_person_ramps_up_in_half_a_second_at_least(
    ramp_up_ms: int, is_bench: bool, is_refused: bool
) -> None:
    played = program(channel(cycle=Cycle(ramp_up_ms, 5_000, 500, 10_000)))
    result = review_load(played, bounds(is_bench=is_bench), CAPABILITIES, NOW_US)
    expected = [("cycle_ramp_up_ms", ramp_up_ms, 500, "standard", 1)]
    assert reasons_of(result) == (expected if is_refused else [])


def steps(*held: tuple[int, int]) -> PulseProgram:
    """Return a programme of holds, each (ms, permille), that repeat."""
    starts = [sum(ms for ms, _ in held[:index]) for index in range(len(held) + 1)]
    frames = tuple(
        Keyframe(at_ms, permille, 1, 10_000)
        for at_ms, (_, permille) in zip(starts, held, strict=False)
    )
    return program(channel(keyframes=frames, keyframe_cycle_ms=starts[-1]))


@pytest.mark.hazard(4)
@pytest.mark.parametrize(
    ("played", "told_ms"),
    [
        # A ramp of 500 ms in five steps of 100 ms, and in 10 of 50: as fast as can be.
        (steps((100, 0), (100, 200), (100, 400), (100, 600), (100, 800), (1000, 1000)), None),
        (steps(*((50, 100 * index) for index in range(10)), (50, 1000)), None),
        (steps((1000, 800), (1000, 1000)), None),
        # The last step comes after 99 ms: 495 ms for the whole.
        (steps((100, 0), (100, 200), (100, 400), (100, 600), (99, 800), (1000, 1000)), 495),
        # 201 permille at once are a ramp of 497 ms, however long it was quiet before.
        (steps((60_000, 799), (1000, 1000)), 497),
        (steps((2000, 0), (2000, 1000)), 100),
        # Up from the last hold to the first.
        (steps((2000, 1000), (2000, 0)), 100),
        # 51 pulses 10 ms apart last 500 ms, 52 last 510.
        (program(channel(pulses_per_burst=51, burst_period_us=2_000_000)), None),
        (program(channel(pulses_per_burst=52, burst_period_us=2_000_000)), 0),
        # One pulse is no train, however seldom it comes.
        (program(channel(pulses_per_burst=1, burst_period_us=9_000_000)), None),
    ],
)
@pytest.mark.parametrize("cycle", [None, Cycle(500, 5_000, 500, 10_000)])
def test_nothing_on_a_person_rises_faster_than_a_ramp_whatever_it_is_called(
    played: PulseProgram, told_ms: int | None, cycle: Cycle | None
) -> None:
    played = program(replace(played.channels[0], cycle=cycle))
    expected = [("cycle_ramp_up_ms", told_ms, 500, "standard", 1)]
    if told_ms == 100:  # all at once: the charge leaps too
        expected.append(("charge_rise_permille", 1000, 700, "standard", 1))
    result = review_load(played, bounds(is_bench=False), CAPABILITIES, NOW_US)
    assert reasons_of(result) == ([] if told_ms is None else expected)
    on_a_bench = review_load(played, bounds(is_bench=True), CAPABILITIES, NOW_US)
    assert isinstance(on_a_bench, ApprovedLoad)


def charges(*held: tuple[int, int, int]) -> PulseProgram:
    """Return a programme of holds, each (ms, permille, us of a phase), that repeat."""
    starts = [sum(ms for ms, *_ in held[:index]) for index in range(len(held) + 1)]
    frames = tuple(
        Keyframe(at_ms, permille, unit_us, 10_000)
        for at_ms, (_, permille, unit_us) in zip(starts, held, strict=False)
    )
    pulse = (Phase(1, 1000), Phase(1, -1000))
    played = replace(channel(), phases=pulse, keyframes=frames, keyframe_cycle_ms=starts[-1])
    return program(played)


CHARGES = [
    # 200 of 600 us is a leap of 667 permille, Han's; 120 of 400 us one of 700; 119 of 702.5.
    (charges((3000, 1000, 600), (3000, 1000, 200)), None),
    (charges((1000, 1000, 400), (1000, 1000, 120)), None),
    (charges((1000, 1000, 400), (1000, 1000, 119)), 703),
    # However long it was short before, and from the last hold to the first.
    (charges((60_000, 1000, 10), (1000, 1000, 400)), 975),
    (charges((1000, 1000, 400), (60_000, 1000, 10)), 975),
    # Two steps one upon the other are one leap, but for 2 permille in each ms between them.
    (charges((1000, 1000, 100), (1, 1000, 600), (1000, 1000, 1000)), 898),
    (charges((1000, 1000, 100), (100, 1000, 600), (1000, 1000, 1000)), None),
    (charges((1000, 1000, 99), (100, 1000, 600), (1000, 1000, 1000)), 701),
    # A longer wait excuses no more, and a dip between steps gives nothing.
    (charges((1000, 1000, 99), (9000, 1000, 600), (1000, 1000, 1000)), 701),
    (charges((1000, 1000, 100), (50, 1000, 600), (50, 1000, 500), (1000, 1000, 1000)), None),
    (charges((1000, 1000, 100), (50, 1000, 600), (49, 1000, 500), (1000, 1000, 1000)), 702),
    # Amplitude and phase together: 800 permille of 100 us are 80, of 400 us 320, then 400.
    (charges((1000, 800, 100), (1000, 1000, 400)), 800),
    (charges((1000, 800, 100), (100, 800, 400), (1000, 1000, 400)), None),
    # Down at once, and back by a fifth every 100 ms.
    (charges((1000, 1000, 1000), (100, 1000, 10), (100, 1000, 510), (100, 1000, 910)), None),
]


@pytest.mark.hazard(4)
@pytest.mark.parametrize(("played", "told_permille"), CHARGES)
@pytest.mark.parametrize("cycle", [None, Cycle(500, 5_000, 500, 10_000)])
def test_no_charge_leaps_on_a_person(
    played: PulseProgram, told_permille: int | None, cycle: Cycle | None
) -> None:
    """At once by 700 permille of the largest charge, more only as slowly as a ramp rises."""
    played = program(replace(played.channels[0], cycle=cycle))
    expected = [("charge_rise_permille", told_permille, 700, "standard", 1)]
    result = review_load(played, bounds(is_bench=False), CAPABILITIES, NOW_US)
    assert reasons_of(result) == ([] if told_permille is None else expected)
    on_a_bench = review_load(played, bounds(is_bench=True), CAPABILITIES, NOW_US)
    assert isinstance(on_a_bench, ApprovedLoad)


@pytest.mark.parametrize("owner", OWNERS)
def test_a_layer_may_ask_for_smaller_leaps_of_charge(owner: Owner) -> None:
    smaller = bounds(session=(Bound("charge_rise_permille", 500, owner),))
    for unit_us, is_refused in ((200, False), (199, True)):
        played = charges((1000, 1000, 400), (1000, 1000, unit_us))
        found = reasons_of(review_load(played, smaller, CAPABILITIES, NOW_US))
        expected = [("charge_rise_permille", 503, 500, owner.value, 1)]
        assert found == (expected if is_refused else [])


@pytest.mark.hazard(44)
def test_channels_overlap_on_a_bench_alone() -> None:
    both = program(channel(), channel())
    assert both.allow_overlap
    on_a_bench = bounds(channel_count=2)
    assert isinstance(review_load(both, on_a_bench, CAPABILITIES, NOW_US), ApprovedLoad)
    result = review_load(both, bounds(channel_count=2, is_bench=False), CAPABILITIES, NOW_US)
    assert isinstance(result, Refused)
    assert [reason.limit for reason in result.reasons] == ["overlap"]


@pytest.mark.parametrize("owner", OWNERS)
def test_a_layer_may_ask_for_a_slower_ramp(owner: Owner) -> None:
    played = program(channel(cycle=Cycle(999, 5_000, 500, 10_000)))
    slower = bounds(session=(Bound("cycle_ramp_up_ms", 1000, owner),))
    result = review_load(played, slower, CAPABILITIES, NOW_US)
    assert reasons_of(result) == [("cycle_ramp_up_ms", 999, 1000, owner.value, 1)]
    without = review_load(program(), slower, CAPABILITIES, NOW_US)
    assert isinstance(without, ApprovedLoad)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"heartbeat_age_us": 400_000}, None),
        ({"heartbeat_age_us": 400_001}, ("heartbeat_ms", 401, 400, "standard", 0)),
        ({"running_ms": 10_800_000}, None),
        ({"running_ms": 10_800_001}, ("running_ms", 10_800_001, 10_800_000, "standard", 0)),
        ({"status_age_us": 500_000}, None),
        ({"status_age_us": 500_001}, ("status", None, None, None, 0)),
    ],
)
def test_time_limits_at_their_edges(changed: dict[str, int], reason: object) -> None:
    result = review(target(5_000), program(), facts(**changed), bounds(), NOW_US)
    assert reasons_of(result) == ([] if reason is None else [reason])


@pytest.mark.hazard(23)
@pytest.mark.parametrize(
    ("rise_ua", "before_ua", "limits"),
    [
        (1000, 0, []),
        (1001, 0, ["held_key_rise_ua_per_s", "step_ua"]),
        (500, 500, []),
        (500, 501, ["held_key_rise_ua_per_s"]),
        (1, 1000, ["held_key_rise_ua_per_s"]),
        (1000, -500, []),
        (1001, -500, ["held_key_rise_ua_per_s", "step_ua"]),
    ],
)
def test_a_key_raises_by_one_step_and_by_1_ma_a_second(
    rise_ua: int, before_ua: int, limits: list[str]
) -> None:
    asked = target(rise_ua, kind=RiseKind.KEY, key_rise_in_second_ua=(before_ua,))
    result = review(asked, program(), FACTS, bounds(), NOW_US)
    assert sorted(row[0] for row in reasons_of(result)) == limits


def test_a_profile_may_make_the_key_step_smaller() -> None:
    within = bounds(session=(Bound("step_ua", 500, Owner.PROFILE),))
    asked = target(500, kind=RiseKind.KEY, key_rise_in_second_ua=(0,))
    assert isinstance(review(asked, program(), FACTS, within, NOW_US), Approved)
    asked = target(501, kind=RiseKind.KEY, key_rise_in_second_ua=(0,))
    found = reasons_of(review(asked, program(), FACTS, within, NOW_US))
    assert found == [("step_ua", 501, 500, "profile", 1)]


def test_the_device_is_sent_the_lowest_of_every_layer() -> None:
    """On 25 cm2: 100 uA/cm2 is 2.5 mA RMS; 125 uW/cm2 is 3125 uW, 2.5 mA again; 4 mA binds less."""
    within = bounds(
        Bound("amplitude_ua", 30_000, Owner.PROFILE),
        Bound("amplitude_ua", 9_000, Owner.SITE),
        Bound("phase_charge_pc", 7_000_000, Owner.PROFILE),
        Bound("rms_ua", 4_000, Owner.PROFILE),
        Bound("average_ua", 700, Owner.PATIENT),
        Bound("current_density_ua_per_cm2", 100, Owner.PROFILE),
        Bound("power_density_uw_per_cm2", 126, Owner.PROFILE),
        session=(
            Bound("setpoint_slew_ua_per_s", 1000, Owner.PROFILE),
            Bound("setpoint_slew_ua_per_s", 900, Owner.SITE),
            Bound("rise_per_cycle_ua", 1900, Owner.PROFILE),
            Bound("step_ua", 300, Owner.PROFILE),
            Bound("running_ms", 77_000, Owner.PROFILE),
        ),
        policy=PolicyFlag.LEAD_OFF_STOPS_ALL,
    )
    result = review_load(program(), within, replace(CAPABILITIES, channel_count=2), NOW_US)
    assert isinstance(result, ApprovedLoad)
    assert result.limits == SetLimits(
        900, 1900, 300, 77_000, PolicyFlag.LEAD_OFF_STOPS_ALL,
        (ChannelLimits(9_000, 7_000_000, 2_500, 700), ChannelLimits(0, 0, 0, 0)),
    )  # fmt: skip
    assert result.program == program()
    assert result.expires_us == NOW_US + 100_000


def test_the_rms_sent_is_that_of_the_power_density_where_it_is_least() -> None:
    """124 uW/cm2 on 25 cm2 are 3100 uW: sqrt(3100e-6 / 500) = 2.48998 mA, rounded down."""
    within = bounds(Bound("power_density_uw_per_cm2", 124, Owner.PROFILE))
    result = review_load(program(), within, CAPABILITIES, NOW_US)
    assert isinstance(result, ApprovedLoad)
    assert result.limits.channels[0].rms_ua == 2_489


@pytest.mark.hazard(26)
def test_the_rms_sent_is_that_of_the_current_density_rounded_down_and_the_kernel_obeys_it() -> None:
    """333 uA/cm2 on 25.01 cm2 are 8328.33 uA RMS: 41.64165 mA at 100 Hz and 2 x 200 us."""
    within = bounds(Bound("current_density_ua_per_cm2", 333, Owner.PROFILE), area_mm2=2_501)
    result = review_load(program(), within, CAPABILITIES, NOW_US)
    assert isinstance(result, ApprovedLoad)
    assert result.limits.channels[0].rms_ua == 8_328
    # 8328 uA RMS are 41.640 mA; 41.641 mA are 8328.2 uA, which the device would refuse.
    assert result.limits.channels[0].amplitude_ua == 41_640
    assert reasons_of(judge(41_641, within)) == [
        ("current_density_ua_per_cm2", 334, 333, "profile", 1)
    ]


def test_a_programme_of_two_channels_is_judged_by_each_channels_own_bounds() -> None:
    both = bounds(Bound("amplitude_ua", 20_000, Owner.PROFILE), channel_count=2)
    row = both.channels[1]
    second = replace(row, bounds=(*row.bounds, Bound("amplitude_ua", 10_000, Owner.SITE)))
    within = replace(both, channels=(both.channels[0], second))
    played = PulseProgram((channel(), channel()), allow_overlap=True)
    assert isinstance(review(target(20_000, 10_000), played, FACTS, within, NOW_US), Approved)
    found = reasons_of(review(target(20_001, 10_001), played, FACTS, within, NOW_US))
    assert found == [
        ("amplitude_ua", 20_001, 20_000, "profile", 1),
        ("amplitude_ua", 10_001, 10_000, "site", 2),
    ]
