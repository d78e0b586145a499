"""What a single count, sign or word of the kernel decides: each by hand, none drawn at random.

Every test here notices a change of the kernel that no other of the written-down tests notices;
`make mutants-python` tells which are left.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from dataclasses import replace
from typing import Any

import pytest

import estim.safety
from estim.safety.bounds import Bound, Owner, intersect
from estim.safety.checks import Ask
from estim.safety.figures import figures, largest_charge_rise, shortest_ramp_up
from estim.safety.kernel import DriveRequest, RiseKind, ceiling, review, review_load
from estim.safety.verdict import Approved, Reason, Refused
from firmware_protocol.messages import (
    DeviceState,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from tests.safety.samples import (
    CAPABILITIES,
    FACTS,
    NOW_US,
    bounds,
    channel,
    facts,
    judge,
    pair,
    program,
    reasons_of,
    target,
)

S_US = 1_000_000


def told(result: object) -> list[tuple[str, str, int]]:
    assert isinstance(result, Refused)
    return [(r.limit, r.explanation, r.channel) for r in result.reasons]


# Requests.


def test_arming_with_a_target_is_refused_for_that_alone() -> None:
    """From SAFE, where arming is permitted otherwise: no permission takes the reason back."""
    request = DriveRequest(WantedState.ARMED, (1,), (0,))
    result = review(request, program(), facts(device_state=DeviceState.SAFE), bounds(), NOW_US)
    assert told(result) == [("targets", "output is wanted outside RUNNING", 0)]


def test_running_is_entered_with_every_target_at_zero() -> None:
    within, played = bounds(channel_count=2), program(channel(), channel())
    result = review(target(0, 5), played, facts(device_state=DeviceState.ARMED), within, NOW_US)
    assert told(result) == [("state", "output starts at zero", 0)]


def test_running_straight_from_safe_says_what_comes_first() -> None:
    result = review(target(0), program(), facts(device_state=DeviceState.SAFE), bounds(), NOW_US)
    assert told(result) == [("state", "the device must be armed first", 0)]


def test_arming_with_an_electrode_off_says_so() -> None:
    known = facts(device_state=DeviceState.SAFE, lead_off_channels=frozenset({0}))
    result = review(DriveRequest(WantedState.ARMED, (0,), (0,)), program(), known, bounds(), NOW_US)
    assert told(result) == [("lead_off", "electrodes came off and are not acknowledged", 0)]


def test_a_channel_that_stays_at_zero_needs_no_electrode() -> None:
    """The other one goes on while this one's electrode is off; a target for it is refused."""
    within, played = bounds(channel_count=2), program(channel(), channel())
    known = facts(lead_off_channels=frozenset({1}))
    staying = DriveRequest(WantedState.RUNNING, (5_000, 0), (5_000, 0))
    assert isinstance(review(staying, played, known, within, NOW_US), Approved)
    result = review(target(5_000, 1), played, known, within, NOW_US)
    assert told(result) == [("lead_off", "the electrode is off", 2)]


def test_a_negative_target_is_told_with_its_channel() -> None:
    within, played = bounds(channel_count=2), program(channel(), channel())
    for targets_ua, number in (((-1, 0), 1), ((0, -1), 2)):
        result = review(target(*targets_ua), played, FACTS, within, NOW_US)
        assert told(result) == [("targets", "a target is negative", number)]


def test_time_does_not_run_before_running() -> None:
    """A bound of 0 ms, or of less: below RUNNING 0 ms are told against it."""
    armed = facts(device_state=DeviceState.ARMED, running_ms=7)
    none = bounds(session=(Bound("running_ms", 0, Owner.SITE),))
    assert isinstance(review(target(0), program(), armed, none, NOW_US), Approved)
    less = bounds(session=(Bound("running_ms", -1, Owner.SITE),))
    found = reasons_of(review(target(0), program(), armed, less, NOW_US))
    assert ("running_ms", 0, -1, "site", 0) in found


# Rises.


def test_a_request_says_nothing_of_a_rise_unless_it_is_told() -> None:
    request = DriveRequest(WantedState.RUNNING, (1_000,), (0,))
    result = review(request, program(), FACTS, bounds(), NOW_US)
    assert told(result) == [("none", "a rise that nobody asked for", 1)]


def test_the_kinds_of_rise_are_recorded_by_these_names() -> None:
    assert [kind.value for kind in RiseKind] == ["none", "key", "target", "return"]


@pytest.mark.parametrize("kind", [RiseKind.NONE, RiseKind.RETURN])
def test_the_smallest_rise_needs_its_reason_too(kind: RiseKind) -> None:
    result = review(target(1, kind=kind), program(), FACTS, bounds(), NOW_US)
    assert [row[0] for row in reasons_of(result)] == [kind.value]


@pytest.mark.parametrize("kind", [RiseKind.NONE, RiseKind.TARGET])
def test_what_may_return_excuses_no_other_rise(kind: RiseKind) -> None:
    asked = target(1_000, kind=kind, return_targets_ua=(1_000,))
    result = review(asked, program(), FACTS, bounds(is_bench=False), NOW_US)
    assert [row[0] for row in reasons_of(result)] == [kind.value]


def test_each_channel_returns_to_its_own_amplitude_alone() -> None:
    """1 mA and 0.5 mA before the pause: 1.001 mA on the first is refused, whatever the others."""
    within, played = bounds(channel_count=3), program(channel(), channel(), channel())
    before = (1_000, 500, 300)
    for index in range(3):
        targets = [0, 0, 0]
        for rise_ua, is_allowed in ((0, True), (1, False)):
            targets[index] = before[index] + rise_ua
            asked = target(*targets, kind=RiseKind.RETURN, return_targets_ua=before)
            result = review(asked, played, FACTS, within, NOW_US)
            assert isinstance(result, Approved) is is_allowed


# Bounds.


def test_an_electrode_of_one_square_millimetre_is_one() -> None:
    """2 mA/cm2 on 0.01 cm2 are 20 uA RMS: 100 uA at 100 Hz and 2 x 200 us."""
    within = bounds(area_mm2=1)
    assert isinstance(judge(100, within), Approved)
    assert [row[:3] for row in reasons_of(judge(101, within))] == [
        ("current_density_ua_per_cm2", 2100, 2000)
    ]


def test_a_bound_of_zero_holds_and_one_below_is_none() -> None:
    assert [row[0] for row in reasons_of(judge(1, bounds(Bound("rms_ua", 0, Owner.SITE))))] == [
        "rms_ua"
    ]
    result = judge(1, bounds(Bound("rms_ua", -1, Owner.SITE)))
    assert told(result)[0] == ("bounds", "nothing can check a bound of -1 for rms_ua", 0)


def test_the_ceiling_tells_what_the_next_count_would_be() -> None:
    highest_ua, (reason,) = ceiling(program(), bounds(Bound("rms_ua", 4_000, Owner.SITE)), 0)
    assert (highest_ua, reason.asked, reason.allowed) == (20_000, 4_001, 4_000)
    highest_ua, (reason,) = ceiling(program(), bounds(Bound("amplitude_ua", 7, Owner.SITE)), 0)
    assert (highest_ua, reason.asked, reason.allowed) == (7, 8, 7)


def test_a_ceiling_under_bounds_with_a_flaw_names_the_bounds() -> None:
    flawed = replace(bounds(), session=())
    assert ceiling(program(), flawed, 0) == (
        0, (Reason("bounds", explanation="the compiled limits are missing"),),
    )  # fmt: skip


def test_channels_that_overlap_on_a_person_are_refused_in_words() -> None:
    soft = Cycle(500, 1_000, 500, 1_000)
    both = PulseProgram((channel(cycle=soft), channel(cycle=soft)), allow_overlap=True)
    within = bounds(channel_count=2, is_bench=False)
    assert told(review_load(both, within, CAPABILITIES, NOW_US)) == [
        ("overlap", "on a person the pulses of channels never overlap", 0)
    ]


def test_bounds_that_are_whole_already_stay_the_same_object() -> None:
    """They are looked up by every Drive."""
    whole = bounds()
    assert intersect(whole, CAPABILITIES) is whole


def test_an_ask_asks_for_nothing_unless_it_is_told() -> None:
    nothing = Ask(1)
    asked = (nothing.electrode_area_mm2, nothing.key_rise_ua, nothing.key_rise_in_second_ua,
             nothing.heartbeat_age_ms, nothing.running_ms)  # fmt: skip
    assert asked == (0, 0, 0, 0, 0)
    assert (nothing.program, nothing.figures, nothing.session_limits) == (None, None, None)


def test_the_tightest_of_several_bounds_is_told_first() -> None:
    within = bounds(Bound("rms_ua", 1, Owner.SITE), Bound("rms_ua", 0, Owner.PATIENT))
    assert [row[2] for row in reasons_of(judge(1_000, within))] == [0, 1]
    timed = [Bound("running_ms", value, Owner.SITE) for value in (0, -1)]
    late = facts(running_ms=5)
    found = reasons_of(review(target(0), program(), late, bounds(session=tuple(timed)), NOW_US))
    assert [row[2] for row in found if row[0] == "running_ms"] == [-1, 0]


def test_what_is_below_a_lowest_value_is_told_as_that() -> None:
    short = review_load(program(channel(9)), bounds(), CAPABILITIES, NOW_US)
    assert isinstance(short, Refused)
    assert [str(reason) for reason in short.reasons] == [
        "channel 1: phase duration: 9 us asked, 10 us allowed by the compiled safety limit "
        "(at least)"
    ]
    low = bounds(session=(Bound("step_ua", 99, Owner.SITE),))
    small = review_load(program(), low, CAPABILITIES, NOW_US)
    assert isinstance(small, Refused)
    assert [str(reason) for reason in small.reasons] == [
        "step: 0.099 mA asked, 0.1 mA allowed by the site policy (at least)"
    ]


# What is said.


@pytest.mark.parametrize(
    "missing",
    [{"asked": None}, {"allowed": None}, {"owner": None}],
    ids=["asked", "allowed", "owner"],
)
def test_a_reason_without_figures_is_its_explanation(missing: dict[str, None]) -> None:
    whole = Reason("rms_ua", 2, 1, Owner.SITE, 0, "why")
    assert str(replace(whole, **missing)) == "why"  # type: ignore[arg-type]


def test_who_else_makes_an_approval_is_told_so() -> None:
    with pytest.raises(PermissionError, match=r"^only the safety kernel approves$"):
        Approved(None, WantedState.RUNNING, (1,), 1)


def every_dataclass() -> list[type]:
    found = []
    for each in pkgutil.iter_modules(estim.safety.__path__):
        module = importlib.import_module(f"estim.safety.{each.name}")
        found += [
            kind for kind in vars(module).values()
            if dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__
        ]  # fmt: skip
    return [kind for kind in found if isinstance(kind, type)]


def test_nothing_that_the_kernel_is_told_or_answers_can_be_changed() -> None:
    kinds = every_dataclass()
    assert {"Bounds", "Ask", "Figures", "Facts", "DriveRequest", "Reason", "Approved",
            "ApprovedLoad", "Refused"} <= {kind.__name__ for kind in kinds}  # fmt: skip
    for kind in kinds:
        made: object = object.__new__(kind)
        for field in dataclasses.fields(kind):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(made, field.name, 1)


# Charge over stretches. (phases as us and permille, amplitude, (charge, time) of each stretch)

STRETCHES = [
    # A turn of 1 uA takes off 10 us x 1 uA of 2 x 300 us x 1 mA.
    (((300, 1000), (10, -1), (300, 1000), (300, -1000), (10, 1), (300, -1000)), 1_000,
     {(0, 0), (599_990, 600)}),
    # One uA counts, with its time.
    (((200, 1000), (200, -1000)), 1, {(0, 0), (200, 200)}),
    # At 28000 uA a phase is weak and left out of what time excuses: 720 x 56 mA alone. Forth
    # and back, both with all: 100 x 28 mA more.
    (((100, 500), (720, 1000), (100, -500), (720, -1000)), 56_000,
     {(40_320_000, 720), (43_120_000, 820)}),
    # Between two strong phases too 28000 uA are left out, with their time: 2 x 300 us x 56 mA.
    (((300, 1000), (100, 500), (300, 1000), (650, -1000)), 56_000,
     {(33_600_000, 600), (36_400_000, 700), (36_400_000, 650)}),
    # 1 uA one way, 2 uA back: each counts, with its own time.
    (((400, 500), (200, -1000)), 2, {(0, 0), (400, 400), (400, 200)}),
    # What was recovered wholly is behind: the second phase begins anew, with its own time.
    (((100, 1000), (100, -1000), (300, 1000), (300, -1000)), 10_000,
     {(0, 0), (3_000_000, 300)}),
    # Of two stretches of one charge the first is told: 200 us and not 400 us.
    (((200, 1000), (200, -1000), (400, 500), (200, -1000)), 10_000, {(0, 0), (2_000_000, 200)}),
    # 100 us x 60 mA are 3.2 uC above their slope, the turn of 40 us x 100 mA takes off 4 uC: the
    # 600 us x 60 mA after it begin anew. Without a slope 6 - 4 + 36 uC; back 38 uC in 380 us.
    (((100, 600), (40, -1000), (600, 600), (380, -1000)), 100_000,
     {(36_000_000, 600), (38_000_000, 700), (38_000_000, 380)}),
    # 100 us x 60 mA are 3.2 uC above their slope, 300 us x 45 mA 5.1 uC: the latter is told.
    (((100, 600), (60, -1000), (300, 450), (135, -1000)), 100_000,
     {(13_500_000, 300), (13_500_000, 135)}),
]  # fmt: skip


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("phases", "amplitude_ua", "stretches"), STRETCHES)
def test_the_stretches_nearest_to_a_limit_of_charge(
    phases: tuple[tuple[int, int], ...],
    amplitude_ua: int,
    stretches: set[tuple[int, int]],
    sign: int,
) -> None:
    shape = tuple(Phase(lasts_us, sign * permille) for lasts_us, permille in phases)
    worst = figures(ChannelProgram(shape, 1, S_US), amplitude_ua, 1)
    assert worst.phase_charges == tuple(sorted(stretches))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_strong_way_is_judged_whichever_it_is(sign: int) -> None:
    """500 us x 80 mA are 40 uC of 34 allowed, there or back; the weak way, 1 ms, may carry 48."""
    for phases in (((1000, 500), (500, -1000)), ((500, 1000), (1000, -500))):
        shape = tuple(Phase(lasts_us, sign * permille) for lasts_us, permille in phases)
        slow = program(ChannelProgram(shape, 1, S_US))
        found = reasons_of(judge(80_000, bounds(), slow))
        assert found == [("phase_charge_pc", 40_000_000, 34_000_000, "standard", 1)]


def test_charge_that_stays_behind_is_told_whichever_its_sign() -> None:
    """10 mA for 1 us too long are 10 nC; where a keyframe doubles all lengths, 20 nC."""
    for sign in (1, -1):
        lopsided = channel(keyframes=(Keyframe(0, 1000, 1, 10_000), Keyframe(1, 1000, 2, 10_000)),
                           keyframe_cycle_ms=2)  # fmt: skip
        phases = (Phase(201, sign * 1000), Phase(200, -sign * 1000))
        assert figures(replace(lopsided, phases=phases), 10_000, 1).net_charge_pc == 20_000


# Onsets, ramps and rises of charge.


def test_restarts_are_judged_by_the_shortest_pulse() -> None:
    """20 us of pulse + 9979 us of offset are less than 10 ms, though another pulse has 200 us."""
    frames = (Keyframe(0, 1000, 10, 10_000), Keyframe(1, 1000, 100, 10_000))
    played = ChannelProgram(pair(1), 10, 10_000, pulse_offset_us=9_979, cycle=Cycle(0, 30, 0, 0),
                            keyframes=frames, keyframe_cycle_ms=2)  # fmt: skip
    assert figures(played, 100_000, 1).second_absolute_pc == 135 * 20_000_000
    later = replace(played, pulse_offset_us=9_980)
    assert figures(later, 100_000, 1).second_absolute_pc == 101 * 20_000_000


def test_restarts_under_keyframes_count_where_the_longest_period_leaves_room() -> None:
    """34 on-phases of 30 ms: each restart 10 ms after an onset, sooner than 20 ms; 100 + 1 + 34."""
    frames = (Keyframe(0, 1000, 10, 10_000), Keyframe(1, 1000, 10, 20_000))
    played = ChannelProgram(pair(1), 10, 10_000, pulse_offset_us=9_980, cycle=Cycle(0, 30, 0, 0),
                            keyframes=frames, keyframe_cycle_ms=2)  # fmt: skip
    assert figures(played, 100_000, 1).second_absolute_pc == 135 * 2_000_000
    later = replace(played, pulse_offset_us=19_980)
    assert figures(later, 100_000, 1).second_absolute_pc == 101 * 2_000_000


def modulated(*holds: tuple[int, int, int], cycle_ms: int, **more: Any) -> ChannelProgram:
    """Return a channel of holds as (at ms, permille, unit us)."""
    frames = tuple(Keyframe(at_ms, share, unit_us, 10_000) for at_ms, share, unit_us in holds)
    return channel(keyframes=frames, keyframe_cycle_ms=cycle_ms, **more)


def test_no_modulation_adds_no_charge_at_once() -> None:
    assert largest_charge_rise(channel()) == 0


def test_a_rise_of_charge_goes_on_where_a_modulation_begins_anew() -> None:
    """400 -> 700 -> 1000 permille over the seam: 600, less 2 for the millisecond between."""
    played = modulated((0, 700, 10), (1, 1000, 10), (2, 400, 10), cycle_ms=3)
    assert largest_charge_rise(played) == 598


def test_a_rise_of_charge_is_rounded_up_however_little_is_over() -> None:
    """13000 -> 18598: 5598 of 18598 are 301.0001 permille."""
    assert largest_charge_rise(modulated((0, 1000, 13), (1, 547, 34), cycle_ms=2)) == 302


def test_a_rise_of_one_permille_in_one_millisecond_is_a_ramp_of_a_second() -> None:
    played = modulated((0, 1000, 10), (1, 999, 10), cycle_ms=2)
    assert shortest_ramp_up(played, 2_000) == (1_000, "at least, in a modulation too")
    assert shortest_ramp_up(played, 500) == (500, "at least")


def test_a_cycle_that_rises_too_fast_is_told_in_words() -> None:
    within = bounds(is_bench=False)
    hasty = program(channel(cycle=Cycle(499, 1_000, 500, 1_000)))
    result = review_load(hasty, within, CAPABILITIES, NOW_US)
    assert told(result) == [("cycle_ramp_up_ms", "at least", 1)]
    # 1000 permille x 40 ms of 100 permille: 400 ms to the whole.
    wavy = program(modulated((0, 1000, 1), (40, 900, 1), cycle_ms=80))
    result = review_load(wavy, within, CAPABILITIES, NOW_US)
    assert told(result) == [("cycle_ramp_up_ms", "at least, in a modulation too", 1)]
    assert reasons_of(result) == [("cycle_ramp_up_ms", 400, 500, "standard", 1)]


def test_a_burst_lasts_as_long_as_its_slowest_pulses() -> None:
    """Three pulses 300 ms apart last 600 ms, though others are 10 ms apart."""
    frames = (Keyframe(0, 1000, 10, 10_000), Keyframe(1, 1000, 10, 300_000))
    played = channel(keyframes=frames, keyframe_cycle_ms=2, pulses_per_burst=3,
                     burst_period_us=1_000_000)  # fmt: skip
    assert shortest_ramp_up(played, 500) == (0, "at least, a burst is too long without")
    assert shortest_ramp_up(played, 600) == (600, "at least")
