"""Charge of a phase: no shape of a pulse excuses what one stretch of it moves, on either side."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estim.safety.bounds import Bounds, ChannelBounds, intersect
from estim.safety.kernel import amplitude_reasons, review_load
from estim.safety.verdict import ApprovedLoad
from estim.simulator.gate import Gate
from estim.simulator.settings import DeviceSettings
from firmware_protocol import limits
from firmware_protocol.messages import PolicyFlag
from firmware_protocol.program import ChannelProgram, Phase, PulseProgram
from firmware_protocol.session_limits import compiled_limits
from tests.safety import oracle
from tests.safety.samples import NOW_US

CHARGE = "phase_charge_pc"


def played(*phases: tuple[int, int], unit_us: int = 1) -> PulseProgram:
    """Return a programme of one pulse a second, its phases as (units, permille)."""
    return PulseProgram(
        (ChannelProgram(tuple(Phase(*phase) for phase in phases), unit_us, 1_000_000),)
    )


def judges(program: PulseProgram, step_ua: int) -> tuple[Bounds, Gate]:
    """Return the kernel's bounds and a gate with nothing but compiled limits, the same device."""
    own = DeviceSettings(amplitude_step_ua=step_ua)
    within = intersect(
        Bounds((ChannelBounds((), 40_000),), (), PolicyFlag.NONE, True, 1), own.capabilities()
    )
    gate = Gate(own.capabilities())
    assert gate.take_limits(compiled_limits(own.capabilities().channel_count, 100_000)) is None
    assert gate.take_program(program.messages(), program.digest) is None
    return within, gate


def assert_edge(program: PulseProgram, highest_ua: int, asked_pc: int, allowed_pc: int) -> None:
    """On steps of 0.1 mA both sides take `highest_ua`, and tell the same of the next step."""
    within, gate = judges(program, 100)
    assert amplitude_reasons(program, within, 0, highest_ua) == ()
    assert gate.review_target(0, highest_ua) is None
    told = [(r.limit, r.asked, r.allowed) for r in
            amplitude_reasons(program, within, 0, highest_ua + 100)]  # fmt: skip
    assert told == [(CHARGE, asked_pc, allowed_pc)]
    refusal = gate.review_target(0, highest_ua + 100)
    assert refusal is not None
    assert (refusal.limit, refusal.asked, refusal.allowed) == (
        limits.phase_charge_pc.wire_id, asked_pc, allowed_pc,
    )  # fmt: skip


@pytest.mark.hazard(2)
@pytest.mark.parametrize("tail", [(), ((600, 10),), ((600, 1),), ((50, 0), (500, 10))])
def test_a_weak_tail_does_not_excuse_a_strong_phase(tail: tuple[tuple[int, int], ...]) -> None:
    """400 us are 20 + 11.2 = 31.2 uC: 78.0 mA and not 78.1, however long a trickle follows."""
    back = tuple((duration, -share) for duration, share in reversed(tail))
    program = played((400, 1000), *tail, *back, (400, -1000))
    assert_edge(program, 78_000, 31_240_000, 31_200_000)


@pytest.mark.parametrize("head", [((300, 10),), ((300, 10), (60, 0), (100, 20))])
def test_a_weak_phase_amid_strong_ones_does_not_excuse_them(
    head: tuple[tuple[int, int], ...],
) -> None:
    """2 x 300 us are 20 + 16.8 = 36.8 uC: 61.3 mA and not 61.4, whatever trickles between."""
    back = tuple((duration, -share) for duration, share in reversed(head))
    program = played((300, 1000), *head, (300, 1000), (300, -1000), *back, (300, -1000))
    assert_edge(program, 61_300, 36_840_000, 36_800_000)


def test_a_turn_that_recovers_nothing_does_not_part_two_phases() -> None:
    """2 x 300 us with 10 us at 1 permille between, which steps of 0.1 mA do not even play."""
    program = played((300, 1000), (10, -1), (300, 1000), (300, -1000), (10, 1), (300, -1000))
    assert_edge(program, 61_300, 36_840_000, 36_800_000)


def test_a_turn_counts_for_what_it_recovers() -> None:
    """Back by half of 150 us between: at 100 mA 30 - 7.5 + 30 = 52.5 uC, at 100.0 allowed 36.8.

    60 mA: 18 - 4.5 + 18 = 31.5 uC. At 70.0 mA 36.75, at 70.1 36.8025.
    """
    program = played((300, 1000), (150, -500), (300, 1000), (300, -1000), (150, 500), (300, -1000))
    # Shares of a half on 0.1 mA: pairs are played on every step, halves rounded down to it.
    assert_edge(program, 70_000, 36_810_000, 36_800_000)


def test_phases_that_are_recovered_one_by_one_are_judged_one_by_one() -> None:
    """Twice 300 us there and back are not 600 us: 20 + 8.4 = 28.4 uC, 94.6 mA and not 94.7."""
    program = played((300, 1000), (300, -1000), (300, 1000), (300, -1000))
    assert_edge(program, 94_600, 28_410_000, 28_400_000)


@st.composite
def pulses(draw: st.DrawFn) -> PulseProgram:
    """Build a balanced pulse of up to 16 phases in any order, with gaps and weak steps."""
    count = draw(st.integers(1, 5))
    forth = [(draw(st.sampled_from([1, 2, 3, 30])), draw(st.sampled_from([1, 2, 40, 500, 1000])))
             for _ in range(count)]  # fmt: skip
    forth[0] = (forth[0][0], 1000)
    back = []
    for duration, share in forth:
        weaker = draw(st.sampled_from([1, 1, 2])) if share % 2 == 0 else 1
        back.append((duration * weaker, -share // weaker))
    active = draw(st.permutations([*forth, *back]))
    sign = draw(st.sampled_from([1, -1]))
    phases = []
    gaps = 16 - len(active)
    for index, (duration, share) in enumerate(active):
        phases.append((duration, sign * share))
        if gaps and index + 1 < len(active) and draw(st.booleans()):
            gaps -= 1
            phases.append((draw(st.integers(1, 300)), 0))
    return played(*phases, unit_us=draw(st.sampled_from([10, 33, 100, 300])))


@pytest.mark.hazard(2)
@given(pulses(), st.sampled_from([1, 7, 100, 1000]), st.integers(0, 100_000))
@settings(max_examples=300)
def test_host_and_device_judge_any_pulse_alike_and_as_enumeration_does(
    program: PulseProgram, step_ua: int, amplitude_ua: int
) -> None:
    own = DeviceSettings(amplitude_step_ua=step_ua)
    within = intersect(
        Bounds((ChannelBounds((), 40_000),), (), PolicyFlag.NONE, True, 1), own.capabilities()
    )
    gate = Gate(own.capabilities())
    is_loaded = isinstance(review_load(program, within, own.capabilities(), NOW_US), ApprovedLoad)
    assert (gate.take_program(program.messages(), program.digest) is None) is is_loaded
    if not is_loaded:
        return
    reasons = amplitude_reasons(program, within, 0, amplitude_ua)
    assert (gate.review_target(0, amplitude_ua) is None) is (reasons == ())
    (pulse,) = oracle.delivered(program.channels[0], amplitude_ua, step_ua, 1)
    is_too_much = any(
        net_pc > 48_000_000 or strong_pc > 20_000_000 + 28_000 * strong_us
        for net_pc, strong_pc, strong_us in pulse.stretches
    )
    assert is_too_much is (CHARGE in {reason.limit for reason in reasons})
