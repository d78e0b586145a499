"""What holds of every programme and every set of bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from estim.safety.bounds import Bound, Bounds, Owner
from estim.safety.kernel import ceiling, review_load
from estim.safety.verdict import Approved, ApprovedLoad, Refused
from firmware_protocol.program import ChannelProgram
from tests.safety import strategies
from tests.safety.samples import CAPABILITIES, NOW_US, bounds, judge, program, reasons_of

HIGHEST = {
    "amplitude_ua": 100_000,
    "sensory_amplitude_ua": 80_000,
    "phase_duration_us": 1_000,
    "pulse_duration_us": 10_000,
    "phase_charge_pc": 48_000_000,
    "pulse_energy_uj": 300_000,
    "rms_ua": 50_000,
    "average_ua": 10_000,
    "current_density_ua_per_cm2": 2_000,
    "impaired_current_density_ua_per_cm2": 1_000,
    "power_density_uw_per_cm2": 250_000,
}
LAYERS = st.lists(
    st.sampled_from(sorted(HIGHEST)).flatmap(
        lambda name: st.builds(
            Bound, st.just(name), st.integers(0, HIGHEST[name]), st.sampled_from(list(Owner))
        )
    ),
    max_size=4,
)
WITHIN = st.builds(
    lambda layers, area_mm2, step_ua: bounds(
        *layers, area_mm2=area_mm2, capabilities=replace(CAPABILITIES, amplitude_step_ua=step_ua)
    ),
    LAYERS,
    st.integers(1, 40_000),
    st.sampled_from([1, 100]),
)
CHANNELS = strategies.channels(fastest_us=100)


def passes(amplitude_ua: int, within: Bounds, played: ChannelProgram) -> bool:
    return isinstance(judge(amplitude_ua, within, program(played)), Approved)


@given(CHANNELS, WITHIN, st.integers(1, 110_000), st.integers(1, 110_000))
def test_what_passes_passes_at_every_lower_amplitude(
    played: ChannelProgram, within: Bounds, one_ua: int, other_ua: int
) -> None:
    low_ua, high_ua = sorted((one_ua, other_ua))
    assert passes(low_ua, within, played) or not passes(high_ua, within, played)


@given(CHANNELS, WITHIN)
def test_the_ceiling_is_the_last_amplitude_that_passes(
    played: ChannelProgram, within: Bounds
) -> None:
    highest_ua, reasons = ceiling(program(played), within, 0)
    assert 0 <= highest_ua <= 100_000
    if highest_ua:
        assert passes(highest_ua, within, played)
    assert not passes(highest_ua + 1, within, played)
    above = judge(highest_ua + 1, within, program(played))
    assert isinstance(above, Refused)
    assert above.reasons == reasons
    for reason in reasons:
        assert isinstance(reason.owner, Owner)
        assert reason.asked is not None and reason.allowed is not None  # noqa: PT018
        assert reason.explanation == "at least" or reason.asked > reason.allowed
        assert str(reason).startswith("channel 1: ")


@given(CHANNELS, WITHIN, st.data())
def test_lowering_any_bound_never_lets_more_pass(
    played: ChannelProgram, within: Bounds, data: st.DataObject
) -> None:
    row = within.channels[0]
    chosen = data.draw(st.sampled_from(row.bounds))
    lower = replace(chosen, value=data.draw(st.integers(-(2**40), chosen.value)))
    lowered = replace(within, channels=(replace(row, bounds=(*row.bounds, lower)),))
    replaced = replace(
        within,
        channels=(replace(row, bounds=tuple(lower if b == chosen else b for b in row.bounds)),),
    )
    before_ua = ceiling(program(played), within, 0)[0]
    assert ceiling(program(played), lowered, 0)[0] <= before_ua
    assert ceiling(program(played), replaced, 0)[0] <= before_ua


@pytest.mark.hazard(26)
@given(CHANNELS, WITHIN, st.integers(1, 40_000))
@settings(max_examples=50)
def test_a_smaller_electrode_never_lets_more_pass(
    played: ChannelProgram, within: Bounds, area_mm2: int
) -> None:
    row = within.channels[0]
    assume(area_mm2 <= row.electrode_area_mm2)
    smaller = replace(within, channels=(replace(row, electrode_area_mm2=area_mm2),))
    before_ua = ceiling(program(played), within, 0)[0]
    assert ceiling(program(played), smaller, 0)[0] <= before_ua


@given(CHANNELS, WITHIN, st.integers(1, 120_000))
@settings(max_examples=50)
def test_a_verdict_is_the_same_every_time(
    played: ChannelProgram, within: Bounds, amplitude_ua: int
) -> None:
    first = judge(amplitude_ua, within, program(played))
    assert reasons_of(first) == reasons_of(judge(amplitude_ua, within, program(played)))


@given(CHANNELS, WITHIN)
@settings(max_examples=40)
def test_the_device_is_never_sent_more_than_any_layer_allows(
    played: ChannelProgram, within: Bounds
) -> None:
    own = replace(CAPABILITIES, amplitude_step_ua=within.amplitude_step_ua)
    result = review_load(program(played), within, own, NOW_US)
    assume(isinstance(result, ApprovedLoad))
    assert isinstance(result, ApprovedLoad)
    row, given_bounds = result.limits.channels[0], within.channels[0]
    for bound in given_bounds.bounds:
        if bound.limit in ("amplitude_ua", "sensory_amplitude_ua"):
            assert row.amplitude_ua <= bound.value
        elif bound.limit == "phase_charge_pc":
            assert row.phase_charge_pc <= bound.value
        elif bound.limit == "rms_ua":
            assert row.rms_ua <= bound.value
        elif bound.limit == "average_ua":
            assert row.average_ua <= bound.value
        elif bound.limit.endswith("current_density_ua_per_cm2"):
            assert row.rms_ua * 100 <= bound.value * given_bounds.electrode_area_mm2
        elif bound.limit == "power_density_uw_per_cm2":
            # uA2 x 500 ohm / 1e6 = uW
            allowed_uw = bound.value * given_bounds.electrode_area_mm2
            assert row.rms_ua**2 * 500 * 100 <= allowed_uw * 10**6
