"""The gate's derived limits at their edges, one count to each side; every figure by hand."""

from __future__ import annotations

import pytest

from firmware_protocol.messages import Message, RefusalReason, Refused, Status, WantedState
from firmware_protocol.program import ChannelProgram, Keyframe, Phase, PulseProgram
from tests.simulator.host import BIPHASIC, Host, one_channel, session_limits

CHARGE, RMS, AVERAGE, AMPLITUDE = 5, 8, 9, 1


def ask(program: PulseProgram, target_ua: int, **session: int) -> Refused | None:
    """Ask a RUNNING device for a target; return its refusal, if any."""
    host = Host()
    host.start(program, session_limits(**session))
    answer: list[Message] = host.drive(WantedState.RUNNING, target_ua)
    assert any(isinstance(message, Status) for message in answer)
    refusals = [message for message in answer if isinstance(message, Refused)]
    assert host.status.channels[0].target_ua == (0 if refusals else target_ua)
    return refusals[0] if refusals else None


def assert_edge(
    program: PulseProgram, target_ua: int, name: str, wire_id: int, needed: int
) -> None:
    """A session limit of exactly `needed` allows the target; one count less refuses it."""
    assert ask(program, target_ua, **{name: needed}) is None
    refused = ask(program, target_ua, **{name: needed - 1})
    assert refused is not None
    assert refused.reason is RefusalReason.LIMIT
    assert (refused.limit, refused.channel) == (wire_id, 0)
    assert (refused.asked, refused.allowed) == (needed, needed - 1)


@pytest.mark.hazard(1)
def test_amplitude() -> None:
    assert_edge(one_channel(), 20_000, "amplitude_ua", AMPLITUDE, 20_000)


def test_figures_that_are_no_whole_microampere_are_rounded_up() -> None:
    """100 pulses of 2 x 300 us at 1 mA: RMS is the root of 60000 uA^2, 244.9 uA. One in
    30 ms, so 34 in the worst second: 20.4 uA flow on average."""
    pair = (Phase(300, 1000), Phase(300, -1000))
    assert_edge(one_channel(10_000, pair), 1_000, "rms_ua", RMS, 245)
    assert_edge(one_channel(30_000, pair), 1_000, "average_ua", AVERAGE, 21)


def test_an_absurd_amplitude_fits_the_refusal() -> None:
    refused = ask(one_channel(), 2**32 - 1)
    assert refused is not None
    assert (refused.asked, refused.allowed) == (2**31 - 1, 100_000)


@pytest.mark.hazard(2)
def test_charge_per_phase() -> None:
    # 20 mA x 200 us = 4 uC.
    assert_edge(one_channel(), 20_000, "phase_charge_pc", CHARGE, 4_000_000)


def test_charge_is_judged_at_the_snapped_target() -> None:
    assert ask(one_channel(), 20_099, phase_charge_pc=4_000_000) is None
    refused = ask(one_channel(), 20_100, phase_charge_pc=4_000_000)
    assert refused is not None
    assert refused.asked == 4_020_000


def test_the_compiled_charge_rule_stands_above_the_session() -> None:
    """20 uC + 28 uC/ms x 0.5 ms = 34 uC: 68.0 mA for 500 us, and not 68.1."""
    program = one_channel(1_000_000, (Phase(500, 1000), Phase(500, -1000)))
    assert ask(program, 68_000) is None
    refused = ask(program, 68_100)
    assert refused is not None
    assert (refused.limit, refused.asked, refused.allowed) == (CHARGE, 34_050_000, 34_000_000)


def test_a_phase_cut_in_steps_carries_no_more_than_a_whole_one() -> None:
    """2 x 300 us flow 600 us one way: 20 + 16.8 = 36.8 uC, 61.3 mA and not 61.4."""
    phases = (Phase(3, 1000), Phase(50, 0), Phase(3, 1000), Phase(6, -1000))
    program = one_channel(1_000_000, phases, unit_us=100)
    assert ask(program, 61_300) is None
    refused = ask(program, 61_400)
    assert refused is not None
    assert (refused.limit, refused.asked, refused.allowed) == (CHARGE, 36_840_000, 36_800_000)


def test_the_ends_of_a_pulse_flow_together() -> None:
    """The last 300 us join the first 300 us of the next pulse, whatever the sign of the middle."""
    for sign in (1, -1):
        phases = (Phase(3, sign * 1000), Phase(6, sign * -1000), Phase(3, sign * 1000))
        program = one_channel(1_000_000, phases, unit_us=100)
        assert ask(program, 61_300) is None
        refused = ask(program, 61_400)
        assert refused is not None
        assert (refused.asked, refused.allowed) == (36_840_000, 36_800_000)


@pytest.mark.hazard(2)
def test_rms() -> None:
    # 100 pulses x 400 us x (20 mA)^2 = 1.6e13 uA2 us in a second: 4 mA.
    assert_edge(one_channel(), 20_000, "rms_ua", RMS, 4_000)


@pytest.mark.hazard(2)
def test_average() -> None:
    # 100 pulses x 400 us x 20 mA = 8e8 pC in a second: 800 uA.
    assert_edge(one_channel(), 20_000, "average_ua", AVERAGE, 800)


def test_a_second_holds_the_pulse_that_begins_with_it() -> None:
    # Period 9 999 us: 101 onsets fit into a half-open second; 101 x 8e6 pC = 808 uA.
    assert_edge(one_channel(9_999), 20_000, "average_ua", AVERAGE, 808)


def test_bursts_average_over_the_second() -> None:
    # Two bursts of 7 pulses: 14 x 8e6 pC = 112 uA.
    program = one_channel(10_000, pulses_per_burst=7, burst_period_us=500_000)
    assert_edge(program, 20_000, "average_ua", AVERAGE, 112)


@pytest.mark.parametrize(("pulses", "needed_ua"), [(7, 224), (12, 368)])
def test_a_part_of_a_burst_counts_in_the_worst_second(pulses: int, needed_ua: int) -> None:
    # Bursts every 300 ms: 3 whole ones and up to 100 ms of another: min(n, 10) pulses more.
    # 7: 3 x 7 + 7 = 28 pulses, 224 uA; 12: 3 x 12 + 10 = 46 pulses, 368 uA.
    program = one_channel(10_000, pulses_per_burst=pulses, burst_period_us=300_000)
    assert_edge(program, 20_000, "average_ua", AVERAGE, needed_ua)


KEYFRAMES = (Keyframe(0, 1000, 100, 10_000), Keyframe(3_000, 500, 200, 500_000))
PAIR = (Phase(2, 1000), Phase(2, -1000))


def test_the_worst_keyframe_decides_and_one_pulse_is_added() -> None:
    # First: 20 mA x 400 us = 8e6 pC, 100 a second. Second: 10 mA x 800 us = 8e6 pC, 2 a second.
    # Worst second 100 x 8e6, and one pulse of 8e6 across the border: 808 uA.
    program = one_channel(10_000, PAIR, keyframes=KEYFRAMES, keyframe_cycle_ms=6_000)
    assert_edge(program, 20_000, "average_ua", AVERAGE, 808)
    # Squares: 4e8 x 400 = 1.6e11 and 1e8 x 800 = 0.8e11; 101 x 1.6e11 / 1e6: 4 019.95 uA.
    assert_edge(program, 20_000, "rms_ua", RMS, 4_020)


def test_bursts_under_keyframes_take_the_shortest_period_and_the_largest_pulse() -> None:
    # Burst of 3 every 400 ms: 2 whole ones; 200 ms more hold min(3, 20) at the shortest period:
    # 9 pulses, one more across the border; x 8e6 pC: 80 uA.
    frames = (Keyframe(0, 1000, 100, 10_000), Keyframe(3_000, 500, 200, 100_000))
    program = one_channel(
        10_000, PAIR, keyframes=frames, keyframe_cycle_ms=6_000, pulses_per_burst=3,
        burst_period_us=400_000,
    )  # fmt: skip
    assert_edge(program, 20_000, "average_ua", AVERAGE, 80)


def test_a_weak_keyframe_with_long_phases_may_bind_the_charge() -> None:
    # 90 % for 300 us: 18 mA x 300 us = 5.4 uC, more than 20 mA x 200 us.
    frames = (Keyframe(0, 1000, 100, 10_000), Keyframe(500, 900, 150, 10_000))
    program = one_channel(10_000, PAIR, keyframes=frames, keyframe_cycle_ms=1_000)
    assert_edge(program, 20_000, "phase_charge_pc", CHARGE, 5_400_000)


@pytest.mark.hazard(26)
def test_every_channel_has_its_own_limits() -> None:
    host = Host()
    second = ChannelProgram(BIPHASIC, 1, 10_000, pulse_offset_us=5_000)
    limits = session_limits()
    low = session_limits(average_ua=799)
    mixed = type(limits)(
        limits.setpoint_slew_ua_per_s,
        limits.rise_per_cycle_ua,
        limits.step_ua,
        limits.running_ms,
        limits.policy,
        (limits.channels[0], low.channels[1]),
    )
    host.start(PulseProgram((ChannelProgram(BIPHASIC, 1, 10_000), second)), mixed)
    answer = host.drive(WantedState.RUNNING, 20_000, 20_000)
    (refused,) = (message for message in answer if isinstance(message, Refused))
    assert (refused.channel, refused.limit, refused.asked) == (1, AVERAGE, 800)
    assert not any(isinstance(m, Refused) for m in host.drive(WantedState.RUNNING, 20_000, 19_900))
