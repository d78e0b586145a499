"""What the kernel refuses whatever the figures: states, stale reports, rises nobody may make."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from itertools import product

import pytest

from estim.safety import verdict
from estim.safety.bounds import Bound, Bounds, ChannelBounds, Owner, intersect
from estim.safety.checks import CHECKS, OUTPUT_CHECKS, RISE_CHECKS, Ask
from estim.safety.kernel import DriveRequest, RiseKind, ceiling, review, review_load
from estim.safety.verdict import Approved, ApprovedLoad, Reason, Refused
from estim.units import in_unit
from firmware_protocol.messages import (
    CapabilityFlag,
    DeviceState,
    InputFlag,
    PolicyFlag,
    SetLimits,
    WantedState,
)
from firmware_protocol.program import Phase, PulseProgram
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

DEAD = facts(
    status_age_us=10**12,
    heartbeat_age_us=10**12,
    running_ms=10**12,
    digests_match=False,
    is_fault_latched=True,
    lead_off_channels=frozenset({0, 1}),
    inputs=InputFlag.PATIENT_STOP_PRESSED,
)
HEALTHY = {DeviceState.ARMED: (0,), DeviceState.RUNNING: (5_000,)}


def explained(result: object) -> list[str]:
    assert isinstance(result, Refused)
    return [f"{reason.limit}: {reason.explanation}" for reason in result.reasons]


# One thing wrong at a time.


def test_nothing_stands_against_a_healthy_session() -> None:
    for state, targets_ua in HEALTHY.items():
        result = review(target(*targets_ua), program(), facts(device_state=state), bounds(), NOW_US)
        assert isinstance(result, Approved)
        assert (result.wanted, result.targets_ua) == (WantedState.RUNNING, targets_ua)


@pytest.mark.parametrize(
    ("changed", "limit"),
    [
        ({"status_age_us": 500_001}, "status"),
        ({"digests_match": False}, "digest"),
        ({"is_fault_latched": True}, "fault"),
        ({"device_state": DeviceState.FAULT}, "fault"),
        ({"device_state": DeviceState.SAFE}, "state"),
        ({"device_state": DeviceState.ARMED}, "state"),
        ({"inputs": InputFlag.PATIENT_STOP_PRESSED}, "patient_stop"),
        ({"inputs": InputFlag(7)}, "patient_stop"),
        ({"lead_off_channels": frozenset({0})}, "lead_off"),
        ({"heartbeat_age_us": 400_001}, "heartbeat_ms"),
        ({"running_ms": 10_800_001}, "running_ms"),
    ],
)
def test_each_interlock_refuses_output_alone(changed: dict[str, object], limit: str) -> None:
    result = review(target(5_000), program(), facts(**changed), bounds(), NOW_US)
    assert [row[0] for row in reasons_of(result)] == [limit]


@pytest.mark.parametrize(
    ("changed", "limit"),
    [
        ({"status_age_us": 500_001}, "status"),
        ({"digests_match": False}, "digest"),
        ({"is_fault_latched": True}, "fault"),
        ({"inputs": InputFlag.PATIENT_STOP_PRESSED}, "patient_stop"),
        ({"lead_off_channels": frozenset({0})}, "lead_off"),
        ({"lead_off_channels": frozenset({7})}, "lead_off"),
        ({"heartbeat_age_us": 400_001}, "heartbeat_ms"),
    ],
)
def test_each_interlock_refuses_arming_alone(changed: dict[str, object], limit: str) -> None:
    known = facts(device_state=DeviceState.SAFE, **changed)
    request = DriveRequest(WantedState.ARMED, (0,), (0,))
    result = review(request, program(), known, bounds(), NOW_US)
    assert [row[0] for row in reasons_of(result)] == [limit]


def test_arming_needs_a_programme_and_nothing_else() -> None:
    known = facts(device_state=DeviceState.SAFE)
    request = DriveRequest(WantedState.ARMED, (0,), (0,))
    assert isinstance(review(request, program(), known, bounds(), NOW_US), Approved)
    result = review(request, None, known, bounds(), NOW_US)
    assert explained(result) == ["programme: no programme is loaded"]


def test_running_needs_a_programme() -> None:
    result = review(target(), None, FACTS, bounds(channel_count=0), NOW_US)
    assert explained(result) == ["programme: no programme is loaded"]


@pytest.mark.hazard(4)
def test_running_is_entered_at_zero_alone() -> None:
    known = facts(device_state=DeviceState.ARMED)
    assert isinstance(review(target(0), program(), known, bounds(), NOW_US), Approved)
    found = explained(review(target(1), program(), known, bounds(), NOW_US))
    assert found == ["state: output starts at zero"]


def test_running_straight_from_safe_or_fault_is_refused_at_zero_too() -> None:
    for state in (DeviceState.SAFE, DeviceState.FAULT):
        known = facts(device_state=state)
        assert isinstance(review(target(0), program(), known, bounds(), NOW_US), Refused)


@pytest.mark.hazard(46)
@pytest.mark.parametrize("state", [DeviceState.SAFE, DeviceState.ARMED, DeviceState.RUNNING])
@pytest.mark.parametrize("inputs", [InputFlag.NONE, InputFlag.PATIENT_STOP_TESTED])
def test_a_required_patient_stop_must_be_there_to_arm_and_to_run(
    state: DeviceState, inputs: InputFlag
) -> None:
    required = bounds(policy=PolicyFlag.REQUIRE_PATIENT_STOP)
    wanted = WantedState.ARMED if state is DeviceState.SAFE else WantedState.RUNNING
    request = DriveRequest(wanted, (0,), (0,))
    without = review(request, program(), facts(device_state=state, inputs=inputs), required, NOW_US)
    assert explained(without) == ["patient_stop: the session requires a patient's stop"]
    present = facts(device_state=state, inputs=InputFlag.PATIENT_STOP_PRESENT)
    assert isinstance(review(request, program(), present, required, NOW_US), Approved)


def test_the_running_time_of_an_earlier_run_does_not_bar_the_next() -> None:
    """A device tells the time of its last run until it runs again."""
    shorter = bounds(session=(Bound("running_ms", 60_000, Owner.PROFILE),))
    known = facts(device_state=DeviceState.ARMED, running_ms=60_001)
    assert isinstance(review(target(0), program(), known, shorter, NOW_US), Approved)
    known = facts(device_state=DeviceState.RUNNING, running_ms=60_001)
    found = reasons_of(review(target(0), program(), known, shorter, NOW_US))
    assert found == [("running_ms", 60_001, 60_000, "profile", 0)]


# Going down.


@pytest.mark.parametrize("state", list(DeviceState))
@pytest.mark.parametrize("wanted", [WantedState.SAFE, WantedState.ARMED])
@pytest.mark.parametrize("loaded", [program(), None])
def test_going_down_is_never_refused(
    state: DeviceState, wanted: WantedState, loaded: PulseProgram | None
) -> None:
    """Whatever else is wrong; only SAFE to ARMED goes up."""
    request = DriveRequest(wanted, (0, 0), (90_000, 90_000))
    nothing = Bounds((), (), PolicyFlag.REQUIRE_PATIENT_STOP, False, 0)
    result = review(request, loaded, replace(DEAD, device_state=state), nothing, NOW_US)
    is_up = wanted is WantedState.ARMED and state is DeviceState.SAFE
    assert isinstance(result, Refused if is_up else Approved)


@pytest.mark.parametrize("wanted", [WantedState.SAFE, WantedState.ARMED])
@pytest.mark.parametrize("targets_ua", [(1,), (-1,), (0, 100_000)])
def test_output_is_not_approved_outside_running(
    wanted: WantedState, targets_ua: tuple[int, ...]
) -> None:
    request = DriveRequest(wanted, targets_ua, targets_ua)
    result = review(request, program(), FACTS, bounds(), NOW_US)
    assert explained(result) == ["targets: output is wanted outside RUNNING"]


def test_lowering_in_a_healthy_session_needs_no_kind() -> None:
    request = DriveRequest(WantedState.RUNNING, (9_999, 0), (10_000, 30_000))
    known = facts(lead_off_channels=frozenset({1}))
    within = bounds(channel_count=2)
    assert isinstance(
        review(request, program(channel(), channel()), known, within, NOW_US), Approved
    )


def test_a_channel_whose_electrode_is_off_gets_nothing_even_downwards() -> None:
    request = DriveRequest(WantedState.RUNNING, (9_999, 1_000), (10_000, 1_000))
    known = facts(lead_off_channels=frozenset({0}))
    within = bounds(channel_count=2)
    result = review(request, program(channel(), channel()), known, within, NOW_US)
    assert reasons_of(result) == [("lead_off", None, None, None, 1)]


# Rises.


@pytest.mark.hazard(5)
@pytest.mark.parametrize(
    ("kind", "more", "is_bench", "said"),
    [
        (RiseKind.NONE, {}, True, "none: a rise that nobody asked for"),
        (RiseKind.TARGET, {}, False, "target: a target is set at once on the bench alone"),
        (RiseKind.TARGET, {}, True, ""),
        (RiseKind.KEY, {}, True, "key: nobody knows what keys raised before"),
        (RiseKind.KEY, {"key_rise_in_second_ua": (0,)}, False, ""),
        (RiseKind.RETURN, {}, True, "return: a return goes no higher than before"),
        (RiseKind.RETURN, {"return_targets_ua": (999,)}, True,
         "return: a return goes no higher than before"),
        (RiseKind.RETURN, {"return_targets_ua": (1_000,)}, False, ""),
    ],
)  # fmt: skip
def test_a_rise_needs_its_reason(
    kind: RiseKind, more: dict[str, tuple[int, ...]], is_bench: bool, said: str
) -> None:
    asked = target(1_000, kind=kind, **more)
    result = review(asked, program(), FACTS, bounds(is_bench=is_bench), NOW_US)
    if said:
        assert explained(result) == [said]
    else:
        assert isinstance(result, Approved)


@pytest.mark.hazard(5)
def test_a_return_is_bound_like_any_rise() -> None:
    asked = target(50_000, kind=RiseKind.RETURN, return_targets_ua=(50_000,))
    within = bounds(Bound("amplitude_ua", 40_000, Owner.PATIENT))
    found = reasons_of(review(asked, program(), FACTS, within, NOW_US))
    assert found == [("amplitude_ua", 50_000, 40_000, "patient", 1)]


def test_each_channel_needs_its_own_leave_to_rise() -> None:
    played, within = program(channel(), channel()), bounds(channel_count=2)
    request = DriveRequest(
        WantedState.RUNNING, (900, 901), (0, 0), RiseKind.KEY, key_rise_in_second_ua=(100, 100)
    )
    found = reasons_of(review(request, played, FACTS, within, NOW_US))
    assert found == [("held_key_rise_ua_per_s", 1001, 1000, "standard", 2)]
    request = DriveRequest(
        WantedState.RUNNING, (900, 900), (0, 0), RiseKind.RETURN, return_targets_ua=(900,)
    )
    assert reasons_of(review(request, played, FACTS, within, NOW_US)) == [
        ("return", None, None, None, 2)
    ]


# Requests that make no sense.


@pytest.mark.parametrize(
    ("targets_ua", "former_ua"),
    [((), ()), ((5_000, 5_000), (0, 0)), ((5_000,), ()), ((5_000,), (0, 0)), ((0, 5_000), (0,))],
)
def test_a_number_of_targets_that_is_not_the_programmes_is_refused(
    targets_ua: tuple[int, ...], former_ua: tuple[int, ...]
) -> None:
    request = DriveRequest(WantedState.RUNNING, targets_ua, former_ua, RiseKind.TARGET)
    result = review(request, program(), FACTS, bounds(), NOW_US)
    assert explained(result) == ["channels: 1 targets expected"]


def test_bounds_of_another_number_of_channels_are_refused() -> None:
    result = review(target(5_000), program(), FACTS, bounds(channel_count=2), NOW_US)
    assert explained(result) == ["channels: bounds for 1 channels expected"]
    loaded = review_load(program(), bounds(channel_count=2), CAPABILITIES, NOW_US)
    assert explained(loaded) == ["programme: bounds and programme differ in channels"]


@pytest.mark.parametrize("amplitude_ua", [-1, -(2**40)])
def test_a_negative_target_is_refused(amplitude_ua: int) -> None:
    request = DriveRequest(WantedState.RUNNING, (amplitude_ua,), (0,))
    result = review(request, program(), FACTS, bounds(), NOW_US)
    assert explained(result) == ["targets: a target is negative"]


@pytest.mark.parametrize("amplitude_ua", [100_001, 2**31, 2**32 + 5_000, 2**64 + 5_000, 10**60])
def test_a_huge_target_is_refused_not_wrapped(amplitude_ua: int) -> None:
    found = reasons_of(judge(amplitude_ua, bounds()))
    assert ("amplitude_ua", amplitude_ua, 100_000, "standard", 1) in found


def test_an_amplitude_between_steps_is_judged_by_what_would_flow_and_by_itself() -> None:
    """19.999 mA flow as 19.9 mA on a device of 0.1 mA steps, yet count as asked."""
    coarse = replace(CAPABILITIES, amplitude_step_ua=100)
    within = bounds(Bound("phase_charge_pc", 3_980_000, Owner.PROFILE), capabilities=coarse)
    assert isinstance(judge(19_999, within), Approved)
    assert reasons_of(judge(20_000, within)) == [
        ("phase_charge_pc", 4_000_000, 3_980_000, "profile", 1)
    ]
    within = bounds(Bound("amplitude_ua", 19_950, Owner.PROFILE), capabilities=coarse)
    assert reasons_of(judge(19_951, within)) == [("amplitude_ua", 19_951, 19_950, "profile", 1)]


# Bounds that cannot be relied on.


def spoilt() -> list[tuple[str, Bounds, str]]:
    whole = bounds()
    row = whole.channels[0]
    cases = [
        ("no bound of a channel", ChannelBounds((), 2500), "the compiled limits are missing"),
        ("no area", replace(row, electrode_area_mm2=0),
         "no amplitude step or no electrode area is known"),
        ("negative area", replace(row, electrode_area_mm2=-2500),
         "no amplitude step or no electrode area is known"),
        ("negative bound", replace(row, bounds=(*row.bounds, Bound("rms_ua", -9, Owner.SITE))),
         "nothing can check a bound of -9 for rms_ua"),
        ("unknown limit", replace(row, bounds=(*row.bounds, Bound("rms_ma", 9, Owner.SITE))),
         "nothing can check a bound of 9 for rms_ma"),
        ("not a channel's", replace(row, bounds=(*row.bounds, Bound("step_ua", 9, Owner.SITE))),
         "nothing can check a bound of 9 for step_ua"),
        ("raised", replace(row, bounds=tuple(replace(b, value=b.value + 1) for b in row.bounds)),
         "the compiled limits are missing"),
    ]  # fmt: skip
    cases += [
        (f"without {missing.limit}",
         replace(row, bounds=tuple(b for b in row.bounds if b != missing)),
         "the compiled limits are missing")
        for missing in row.bounds if missing.owner is not Owner.DEVICE
    ]  # fmt: skip
    spoilt = [(name, replace(whole, channels=(given,)), said) for name, given, said in cases]
    for missing in whole.session:
        left = tuple(b for b in whole.session if b != missing)
        spoilt.append((f"session without {missing.limit}", replace(whole, session=left),
                       "the compiled limits are missing"))  # fmt: skip
    person = bounds(is_bench=False)
    for_a_person = ("cycle_ramp_up_ms", "charge_rise_permille")
    without = [tuple(b for b in person.session if b.limit != name) for name in for_a_person]
    odd = (*whole.session, Bound("amplitude_ua", 5, Owner.SITE))
    negative = (*whole.session, Bound("step_ua", -5, Owner.SITE))
    return [
        *spoilt,
        ("no ramp up on a person", replace(person, session=without[0]),
         "the compiled limits are missing"),
        ("any leap on a person", replace(person, session=without[1]),
         "the compiled limits are missing"),
        ("not a session's", replace(whole, session=odd),
         "nothing can check a bound of 5 for amplitude_ua"),
        ("negative session", replace(whole, session=negative),
         "nothing can check a bound of -5 for step_ua"),
        ("no step", replace(whole, amplitude_step_ua=0),
         "no amplitude step or no electrode area is known"),
        ("negative step", replace(whole, amplitude_step_ua=-100),
         "no amplitude step or no electrode area is known"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("within", "said"), [c[1:] for c in spoilt()], ids=[c[0] for c in spoilt()]
)
def test_bounds_with_a_flaw_allow_nothing(within: Bounds, said: str) -> None:
    assert f"bounds: {said}" in explained(judge(1, within))
    known = facts(device_state=DeviceState.SAFE)
    arming = DriveRequest(WantedState.ARMED, (0,), (0,))
    assert f"bounds: {said}" in explained(review(arming, program(), known, within, NOW_US))
    assert explained(review_load(program(), within, CAPABILITIES, NOW_US)) == [f"bounds: {said}"]
    highest_ua, reasons = ceiling(program(), within, 0)
    assert (highest_ua, [str(reason) for reason in reasons]) == (0, [said])


def test_a_flaw_is_told_beside_every_other_reason() -> None:
    found = explained(review(target(1), program(), DEAD, replace(bounds(), channels=(
        ChannelBounds((), 2500),)), NOW_US))  # fmt: skip
    assert found == [
        "status: the device's report is too old",
        "digest: the device holds another programme or other limits",
        "fault: the device holds a fault",
        "patient_stop: the patient's stop is pressed",
        "bounds: the compiled limits are missing",
        "heartbeat_ms: ",
        "running_ms: ",
    ]


@pytest.mark.parametrize(
    "other",
    [
        replace(CAPABILITIES, amplitude_max_ua=99_999),
        replace(CAPABILITIES, amplitude_step_ua=100),
    ],
)
def test_bounds_of_another_device_are_not_loaded(other) -> None:  # type: ignore[no-untyped-def]
    result = review_load(program(), bounds(), other, NOW_US)
    assert explained(result) == ["bounds: these are another device's bounds"]


def test_bounds_made_for_a_stronger_device_can_be_intersected_again() -> None:
    weaker = replace(CAPABILITIES, amplitude_max_ua=20_000, amplitude_step_ua=100)
    again = intersect(bounds(), weaker)
    assert intersect(again, weaker) == again
    result = review_load(program(), again, weaker, NOW_US)
    assert isinstance(result, ApprovedLoad)
    assert result.limits.channels[0].amplitude_ua == 20_000


# Loading.


def test_a_malformed_programme_is_refused() -> None:
    lopsided = replace(channel(), phases=(Phase(200, 1000), Phase(201, -1000)))
    result = review_load(program(lopsided), bounds(), CAPABILITIES, NOW_US)
    assert explained(result) == [
        "programme: channel 1: net charge is not zero: -1000 unit-permille"
    ]


def test_a_device_that_cannot_play_it_is_named_with_everything_it_lacks() -> None:
    poor = replace(CAPABILITIES, flags=CapabilityFlag.NONE, phases_max=1)
    played = program(channel(pulses_per_burst=2, burst_period_us=100_000))
    result = review_load(played, bounds(capabilities=poor), poor, NOW_US)
    found = explained(result)
    assert len(found) == 2
    assert all(f.startswith("capability: the device cannot play this: channel 1: ") for f in found)


def test_a_device_of_more_channels_than_limits_can_be_sent_for_is_refused() -> None:
    many = replace(CAPABILITIES, channel_count=5)
    found = explained(review_load(program(), bounds(), many, NOW_US))
    assert found == [
        "capability: the device cannot play this: limits can be sent for 4 channels, it has more"
    ]


def test_a_required_patient_stop_that_the_device_has_not_is_refused_when_loading() -> None:
    without = replace(CAPABILITIES, flags=CapabilityFlag(127 - 4))
    required = bounds(policy=PolicyFlag.REQUIRE_PATIENT_STOP)
    found = explained(review_load(program(), required, without, NOW_US))
    assert found == ["patient_stop: the session requires a patient's stop"]
    assert isinstance(review_load(program(), required, CAPABILITIES, NOW_US), ApprovedLoad)
    assert isinstance(review_load(program(), bounds(), without, NOW_US), ApprovedLoad)


def test_a_load_is_refused_with_all_its_reasons() -> None:
    without = replace(CAPABILITIES, flags=CapabilityFlag.NONE, phase_max_us=900)
    odd = channel(1001, 20_000, 9_000)
    required = bounds(
        session=(Bound("step_ua", 99, Owner.SITE),),
        policy=PolicyFlag.REQUIRE_PATIENT_STOP,
        channel_count=2,
    )
    result = review_load(program(odd, odd), required, without, NOW_US)
    assert [(row[0], row[4]) for row in reasons_of(result)] == [
        ("capability", 0),
        ("capability", 0),
        ("patient_stop", 0),
        ("step_ua", 0),
        ("phase_duration_us", 1),
        ("pulse_duration_us", 1),
        ("phase_duration_us", 2),
        ("pulse_duration_us", 2),
    ]


# Refusals in full.


def test_a_refusal_gives_every_reason_each_with_limit_asked_allowed_and_owner() -> None:
    """60 mA at 100 Hz, 2 x 200 us, on 1 cm2: 12 mA RMS, 2.4 mA average, 12 uC, 720 uJ."""
    within = bounds(
        Bound("amplitude_ua", 50_000, Owner.PROFILE),
        Bound("amplitude_ua", 40_000, Owner.PATIENT),
        Bound("amplitude_ua", 30_000, Owner.SITE),
        Bound("sensory_amplitude_ua", 55_000, Owner.STANDARD),
        Bound("phase_charge_pc", 11_000_000, Owner.PROFILE),
        Bound("pulse_energy_uj", 719, Owner.PROFILE),
        Bound("rms_ua", 11_000, Owner.PROFILE),
        Bound("average_ua", 2_000, Owner.PROFILE),
        Bound("impaired_current_density_ua_per_cm2", 1_000, Owner.PATIENT),
        Bound("power_density_uw_per_cm2", 71_000, Owner.PROFILE),
        area_mm2=100,
    )
    known = facts(is_fault_latched=True, heartbeat_age_us=900_000)
    request = target(60_000, kind=RiseKind.NONE)
    found = reasons_of(review(request, program(), known, within, NOW_US))
    assert sorted(found, key=str) == sorted(
        [
            ("fault", None, None, None, 0),
            ("heartbeat_ms", 900, 400, "standard", 0),
            ("amplitude_ua", 60_000, 50_000, "profile", 1),
            ("amplitude_ua", 60_000, 40_000, "patient", 1),
            ("amplitude_ua", 60_000, 30_000, "site", 1),
            ("sensory_amplitude_ua", 60_000, 55_000, "standard", 1),
            ("phase_charge_pc", 12_000_000, 11_000_000, "profile", 1),
            ("pulse_energy_uj", 720, 719, "profile", 1),
            ("rms_ua", 12_000, 11_000, "profile", 1),
            ("average_ua", 2_400, 2_000, "profile", 1),
            ("current_density_ua_per_cm2", 12_000, 2_000, "electrode", 1),
            ("impaired_current_density_ua_per_cm2", 12_000, 1_000, "patient", 1),
            ("power_density_uw_per_cm2", 72_000, 71_000, "profile", 1),
            ("none", None, None, None, 1),
        ],
        key=str,
    )


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason("amplitude_ua", 40_001, 40_000, Owner.PROFILE, 1),
         "channel 1: amplitude: 40.001 mA asked, 40 mA allowed by the profile"),
        (Reason("phase_charge_pc", 34_000_001, 34_000_000, Owner.STANDARD, 2),
         "channel 2: phase charge: 34.000001 uC asked, 34 uC allowed by the compiled safety limit"),
        (Reason("current_density_ua_per_cm2", 2_050, 2_000, Owner.ELECTRODE, 1, "8.04 cm2"),
         "channel 1: current density: 2.05 mA/cm2 RMS asked, 2 mA/cm2 RMS allowed by the electrode "
         "area (8.04 cm2)"),
        (Reason("power_density_uw_per_cm2", 250_001, 250_000, Owner.ELECTRODE, 1),
         "channel 1: power density: 0.250001 W/cm2 asked, 0.25 W/cm2 allowed by the electrode "
         "area"),
        (Reason("running_ms", 10_800_001, 10_800_000, Owner.SITE),
         "running: 10800001 ms asked, 10800000 ms allowed by the site policy"),
        (Reason("setpoint_slew_ua_per_s", 1_100, 1_000, Owner.PATIENT),
         "setpoint slew: 1.1 mA/s asked, 1 mA/s allowed by the patient's ceiling"),
        (Reason("pulse_energy_uj", 300_001, 300_000, Owner.DEVICE),
         "pulse energy: 300.001 mJ asked, 300 mJ allowed by the device"),
        (Reason("fault", explanation="the device holds a fault", channel=2),
         "channel 2: the device holds a fault"),
    ],
)  # fmt: skip
def test_a_reason_reads_as_a_sentence_to_the_last_digit(reason: Reason, words: str) -> None:
    assert str(reason) == words
    assert str(Refused((reason, reason))) == f"{words}; {words}"


def test_units_are_shown_as_people_write_them() -> None:
    assert in_unit(-1_500, "uA") == "-1.5 mA"
    assert in_unit(1_050, "mm2") == "10.5 cm2"
    assert in_unit(7, "us") == "7 us"


def test_a_density_refusal_tells_the_area() -> None:
    result = judge(10_001, bounds(area_mm2=100))
    assert isinstance(result, Refused)
    assert result.reasons[0].explanation == "1 cm2"


# Approvals.


def test_an_approval_expires_after_100_ms() -> None:
    result = judge(5_000, bounds())
    assert isinstance(result, Approved)
    assert result.expires_us == NOW_US + 100_000


@pytest.mark.hazard(41)
@pytest.mark.parametrize("seal", [None, object(), "seal", True])
def test_nobody_but_the_kernel_makes_an_approval(seal: object) -> None:
    held = SetLimits(1, 1, 100, 1, PolicyFlag.NONE, ())
    with pytest.raises(PermissionError):
        Approved(seal, WantedState.RUNNING, (100_000,), 2**62)
    with pytest.raises(PermissionError):
        ApprovedLoad(seal, program(), held, 2**62)
    with pytest.raises(TypeError):
        Approved(WantedState.RUNNING, (100_000,), 2**62)  # type: ignore[call-arg]


def test_an_approval_can_be_neither_changed_nor_copied_with_changes() -> None:
    result = judge(5_000, bounds())
    loaded = review_load(program(), bounds(), CAPABILITIES, NOW_US)
    assert isinstance(result, Approved)
    assert isinstance(loaded, ApprovedLoad)
    for given, name in product((result, loaded), ("targets_ua", "limits", "program", "expires_us")):
        with pytest.raises((FrozenInstanceError, TypeError)):
            setattr(given, name, (100_000,))
    with pytest.raises((ValueError, TypeError), match="seal"):  # which one: by Python
        replace(result, targets_ua=(100_000,))  # type: ignore[call-arg]
    with pytest.raises(PermissionError):
        replace(result, seal=None, targets_ua=(100_000,))
    with pytest.raises((ValueError, TypeError), match="seal"):  # which one: by Python
        replace(loaded, expires_us=2**62)  # type: ignore[call-arg]
    assert not hasattr(verdict, "SEAL")


# Checks that are asked the wrong thing stop instead of passing.


@pytest.mark.parametrize("limit", sorted(OUTPUT_CHECKS))
def test_a_check_of_output_without_figures_raises(limit: str) -> None:
    with pytest.raises(ValueError, match="figures"):
        CHECKS[limit](Ask(1), Bound(limit, 1, Owner.STANDARD))


@pytest.mark.parametrize("limit", sorted(RISE_CHECKS))
def test_a_check_of_rises_without_a_programme_raises(limit: str) -> None:
    with pytest.raises(ValueError, match="programme"):
        CHECKS[limit](Ask(1), Bound(limit, 1, Owner.STANDARD))
