"""The kernel, the device's gate and rendered samples, each reckoned apart, agree."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from estim.safety.bounds import Bound, Bounds, ChannelBounds, Owner, intersect
from estim.safety.kernel import DriveRequest, Facts, RiseKind, ceiling, review, review_load
from estim.safety.verdict import Approved, ApprovedLoad
from estim.simulator.device import DeviceSettings
from estim.simulator.gate import Gate
from firmware_protocol.messages import (
    ChannelFlag,
    DeviceState,
    FaultCode,
    PolicyFlag,
    Refused,
    SetLimits,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from tests.safety import strategies
from tests.safety.samples import NOW_US, channel, program
from tests.safety.verdicts import ROWS, SETTINGS, bounds_for, hold_together, shapes
from tests.simulator.host import Host
from tests.soak.agreement import try_programme

MS = 1000


def gate_with(played: PulseProgram, within: Bounds, settings: DeviceSettings) -> Gate:
    """Return a gate that holds the programme and the limits that the kernel approved."""
    result = review_load(played, within, settings.capabilities(), NOW_US)
    assert isinstance(result, ApprovedLoad)
    gate = Gate(settings.capabilities())
    assert gate.take_limits(result.limits) is None
    assert gate.take_program(played.messages(), played.digest) is None
    return gate


@pytest.mark.hazard(1)
@given(strategies.programs(), ROWS, SETTINGS, st.data())
@settings(max_examples=80)
def test_gate_and_kernel_give_the_same_verdict_on_every_target(
    played: PulseProgram, rows: list[ChannelBounds], own: DeviceSettings, data: st.DataObject
) -> None:
    """Whatever binds."""

    def gate_of(played: PulseProgram, session: SetLimits) -> Gate:
        gate = Gate(own.capabilities())
        assert gate.take_limits(session) is None
        assert gate.take_program(played.messages(), played.digest) is None
        return gate

    hold_together(played, rows, own, data, gate_of)


SHARP = (Phase(1, 1000), Phase(1, -1000))
TWO_RATES = (Keyframe(0, 1000, 200, 100_000), Keyframe(50, 1000, 100, 60_000))
QUICK_AND_SLOW = (Keyframe(0, 1000, 100, 10_000), Keyframe(500, 1000, 100, 1_000))


@pytest.mark.parametrize(
    "played",
    [
        channel(),
        channel(pulses_per_burst=10, burst_period_us=480_001),
        channel(period_us=100_000, cycle=Cycle(0, 1, 0, 0)),
        channel(200, 2_000, pulses_per_burst=10, burst_period_us=10**6, cycle=Cycle(0, 20, 0, 0)),
        channel(gap_us=600, cycle=Cycle(0, 100, 0, 9)),
        channel(gap_us=599, cycle=Cycle(0, 100, 0, 9)),
        channel(gap_us=500, cycle=Cycle(0, 100, 0, 9), pulse_offset_us=100),
        ChannelProgram(SHARP, 200, 100_000, keyframes=TWO_RATES, keyframe_cycle_ms=100),
        ChannelProgram(SHARP, 200, 100_000, keyframes=TWO_RATES, keyframe_cycle_ms=100,
                       cycle=Cycle(0, 1, 0, 0)),
        ChannelProgram(SHARP, 100, 10_000, pulses_per_burst=50, burst_period_us=500_000,
                       keyframes=QUICK_AND_SLOW, keyframe_cycle_ms=1500),
        ChannelProgram(SHARP, 100, 10_000, pulses_per_burst=50, burst_period_us=500_000,
                       keyframes=QUICK_AND_SLOW, keyframe_cycle_ms=1500, cycle=Cycle(0, 700, 0, 0)),
        ChannelProgram((Phase(1, 1000), Phase(4, -250)), 100, 10_000),
        ChannelProgram((Phase(5, 1000), Phase(10, -600), Phase(1, 1000)), 100, 10_000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("binding", ["rms_ua", "average_ua", "current_density_ua_per_cm2"])
@pytest.mark.parametrize("share_permille", [5, 83, 500])
def test_gate_and_kernel_agree_on_every_way_that_pulses_gather(
    played: ChannelProgram, binding: str, share_permille: int
) -> None:
    """The last target that passes is the same for both, found by the gate's own arithmetic."""
    own = DeviceSettings(amplitude_step_ua=1)
    highest = {"rms_ua": 50_000, "average_ua": 10_000, "current_density_ua_per_cm2": 2_000}
    bound = Bound(binding, highest[binding] * share_permille // 1000, Owner.PROFILE)
    within = bounds_for(own, ChannelBounds((bound,), 2_501))
    gate = gate_with(program(played), within, own)
    rows = (replace(gate.session.channels[0], amplitude_ua=100_000), *gate.session.channels[1:])
    assert gate.take_limits(replace(gate.session, channels=rows)) is None
    highest_ua = ceiling(program(played), within, 0)[0]
    assert highest_ua > 0
    assert gate.review_target(0, highest_ua) is None
    assert gate.review_target(0, highest_ua + 1) is not None


@given(strategies.programs(), ROWS, SETTINGS)
@settings(max_examples=25)
def test_the_device_takes_every_target_up_to_the_ceiling_and_none_above(
    played: PulseProgram, rows: list[ChannelBounds], own: DeviceSettings
) -> None:
    within = bounds_for(own, *rows[: len(played.channels)])
    assume(isinstance(review_load(played, within, own.capabilities(), NOW_US), ApprovedLoad))
    gate = gate_with(played, within, own)
    for index in range(len(played.channels)):
        highest_ua = ceiling(played, within, index)[0]
        assert gate.review_target(index, highest_ua) is None
        assert gate.review_target(index, highest_ua + 1) is not None


@given(shapes(), st.sampled_from([10, 200]), st.sampled_from([500, 1000]))
def test_gate_and_kernel_take_the_same_shapes(
    played: ChannelProgram, shortest_us: int, longest_us: int
) -> None:
    own = DeviceSettings(phase_min_us=shortest_us, phase_max_us=longest_us)
    within = bounds_for(own, ChannelBounds((), 2500))
    verdict = review_load(program(played), within, own.capabilities(), NOW_US)
    gate = Gate(own.capabilities())
    refusal = gate.take_program(program(played).messages(), program(played).digest)
    assert (refusal is None) is isinstance(verdict, ApprovedLoad)


SESSION_EDGES = {
    "setpoint_slew_ua_per_s": (0, 1, 2, 1999, 2000, 2001),
    "rise_per_cycle_ua": (0, 1, 2, 1999, 2000, 2001),
    "step_ua": (99, 100, 101, 999, 1000, 1001),
    "running_ms": (0, 1, 2, 10_799_999, 10_800_000, 10_800_001),
}


@given(st.sampled_from(sorted(SESSION_EDGES)), st.integers(0, 5))
def test_the_device_takes_the_session_limits_that_the_kernel_approves(
    limit: str, which: int
) -> None:
    """Above the compiled value the kernel sends the compiled one; below the least it refuses."""
    value, own = SESSION_EDGES[limit][which], DeviceSettings()
    given_bounds = Bounds(
        (ChannelBounds((), 2500),), (Bound(limit, value, Owner.PROFILE),), PolicyFlag.NONE, True, 1
    )
    verdict = review_load(
        program(), intersect(given_bounds, own.capabilities()), own.capabilities(), NOW_US
    )
    assert isinstance(verdict, ApprovedLoad) is (which > 0 or (limit == "step_ua" and value >= 100))
    if isinstance(verdict, ApprovedLoad):
        assert getattr(verdict.limits, limit) == min(value, SESSION_EDGES[limit][4])
        assert Gate(own.capabilities()).take_limits(verdict.limits) is None
    gate = Gate(own.capabilities())
    sent = replace(gate.session, **{limit: value})  # type: ignore[arg-type]
    assert (gate.take_limits(sent) is None) is (1 <= which <= 4)


def facts_of(host: Host) -> Facts:
    """Return what a session would know from the newest Status."""
    status = host.status
    return Facts(
        device_state=status.state,
        status_age_us=0,
        heartbeat_age_us=0,
        running_ms=status.running_ms,
        digests_match=(status.program_digest, status.limits_digest)
        == (host.program_digest, host.limits_digest),
        is_fault_latched=status.fault is not FaultCode.NONE,
        lead_off_channels=frozenset(
            index
            for index, row in enumerate(status.channels)
            if ChannelFlag.LEAD_OFF_LATCHED in row.flags
        ),
        inputs=status.inputs,
    )


WISHES = st.tuples(
    st.sampled_from(list(WantedState)) | st.just(WantedState.RUNNING),
    st.sampled_from([0, 0, 1, 5_000, 19_999, 20_000, 20_001, 100_000]),
    st.sampled_from([0, 0, 10_000, 20_001]),
    st.sampled_from(["", "", "", "press", "release", "lead off", "stop", "wait"]),
)


@given(st.lists(WISHES, min_size=1, max_size=25), st.booleans(), st.booleans())
@settings(max_examples=60)
def test_the_device_follows_every_drive_that_the_kernel_approves(
    wishes: list[tuple[WantedState, int, int, str]], has_stop: bool, is_required: bool
) -> None:
    own = DeviceSettings(has_patient_stop=has_stop)
    policy = PolicyFlag.REQUIRE_PATIENT_STOP if is_required else PolicyFlag.NONE
    row = ChannelBounds((Bound("amplitude_ua", 20_000, Owner.PROFILE),), 2500)
    within = intersect(Bounds((row, row), (), policy, True, 1), own.capabilities())
    played = PulseProgram((channel(), channel(pulse_offset_us=5_000)))
    loaded = review_load(played, within, own.capabilities(), NOW_US)
    assert isinstance(loaded, ApprovedLoad) is (has_stop or not is_required)
    if not isinstance(loaded, ApprovedLoad):
        return
    host = Host(own)
    host.hello()
    host.set_limits(loaded.limits)
    host.load(played)
    host.pass_time(250 * MS)
    former = (0, 0)
    for wanted, first_ua, second_ua, event in wishes:
        host.pass_time(50 * MS)
        if event in ("press", "release"):
            host.device.set_patient_stop(event == "press", host.now_us)
        elif event == "lead off":
            host.device.set_lead_off(1, True, host.now_us)
        elif event == "wait":
            host.pass_time(400 * MS)
        host.pass_time(250 * MS)
        targets = (first_ua, second_ua)
        request = DriveRequest(wanted, targets, former, RiseKind.TARGET)
        verdict = review(request, played, facts_of(host), within, host.now_us)
        answer = host.drive(wanted, *targets)
        refused = [message for message in answer if isinstance(message, Refused)]
        if isinstance(verdict, Approved):
            assert not refused
            former = targets
        elif refused or host.status.state is not DeviceState.RUNNING:
            former = (0, 0)
        assert all(row.target_ua <= 20_000 for row in host.status.channels)


@pytest.mark.hazard(2)
@pytest.mark.parametrize("block", range(4))
def test_the_kernel_and_the_samples_agree_on_random_programmes(block: int) -> None:
    """Charge, peak, energy, RMS and average; `make agreement` tries ten thousand."""
    trials = [try_programme(f"{block} {number}") for number in range(10)]
    assert [trial for trial in trials if trial.problems] == []
    assert any(trial.is_modulated for trial in trials)
    assert any(trial.is_separable for trial in trials)
