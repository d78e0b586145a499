"""Skin load and output stage, against numbers worked out by hand and a step-by-step integration."""

from __future__ import annotations

import pytest

from estim.errors import UsageError
from estim.simulator.interpreter import pulse_shapes
from estim.simulator.load import NAMED_LOADS, Load, parse_load
from estim.simulator.output_stage import LOAD_OHM_MAX, OutputStage
from firmware_protocol.program import ChannelProgram, Phase

BIPHASIC = ChannelProgram((Phase(200, 1000), Phase(200, -1000)), 1, 10_000)
UNEQUAL = ChannelProgram((Phase(1, 1000), Phase(4, -250)), 100, 10_000)
(SHAPE,) = pulse_shapes(BIPHASIC, 100)


def test_skin_voltage_by_hand() -> None:
    # 10 mA halves Rp: 2500 ohm, tau 125 us; 25 V x (1 - e^-1.6) = 19.9526 V, and 3 V across Rs.
    voltage_mv, capacitor_mv = NAMED_LOADS["typical"].after_phase(10_000, 200, 0.0)
    assert voltage_mv == pytest.approx(22_952.6, abs=0.1)
    assert capacitor_mv == pytest.approx(19_952.6, abs=0.1)


@pytest.mark.parametrize("name", ["good-gel", "typical", "dry"])
@pytest.mark.parametrize("current_ua", [2_000, 50_000, -30_000])
def test_closed_form_agrees_with_small_steps(name: str, current_ua: int) -> None:
    load = NAMED_LOADS[name]
    amperes, farads = current_ua * 1e-6, load.parallel_nf * 1e-9
    ohms = load.parallel_ohm / (1 + abs(amperes) / 10e-3)
    volts, step_s = 4.0, 1e-8
    for _ in range(20_000):
        volts += (amperes - volts / ohms) / farads * step_s
    _, capacitor_mv = load.after_phase(current_ua, 200, 4_000.0)
    assert capacitor_mv == pytest.approx(volts * 1000, rel=1e-3, abs=1)


def test_a_plain_resistor_is_measured_exactly() -> None:
    for ohms in (500, 1_000, 2_000, 10_000):
        delivery = OutputStage(Load(ohms), 180_000).deliver(SHAPE, 10_000, 0)
        assert (delivery.load_ohm, delivery.peak_ua) == (ohms, 10_000)
        assert delivery.phases == ((0, 10_000, 200), (200, -10_000, 200))


def test_compliance_scales_all_phases_alike() -> None:
    # 180 V over 10 kohm: 18.0 mA is the most; one step more would need 181 V.
    delivery = OutputStage(Load(10_000), 180_000).deliver(SHAPE, 20_000, 0)
    assert delivery.phases == ((0, 18_000, 200), (200, -18_000, 200))
    assert delivery.is_compliance_reached
    assert not delivery.is_good
    at_limit = OutputStage(Load(10_000), 180_000).deliver(SHAPE, 18_000, 0)
    assert not at_limit.is_compliance_reached
    assert at_limit.is_good


def test_scaled_unequal_phases_stay_on_their_grid() -> None:
    # 179 V over 10 kohm: 17.9 mA, on the 400 uA grid 17.6 mA; a quarter of it four times as long.
    (shape,) = pulse_shapes(UNEQUAL, 100)
    delivery = OutputStage(Load(10_000), 179_000).deliver(shape, 20_000, 0)
    assert delivery.phases == ((0, 17_600, 100), (100, -4_400, 400))


def test_an_open_circuit_takes_no_current() -> None:
    stage = OutputStage(NAMED_LOADS["open"], 180_000)
    delivery = stage.deliver(SHAPE, 5_000, 0)
    assert (delivery.phases, delivery.peak_ua, delivery.load_ohm) == ((), 0, LOAD_OHM_MAX)
    assert not delivery.is_good


def test_a_lead_that_comes_off_is_open_until_it_is_back() -> None:
    stage = OutputStage(Load(500), 180_000)
    stage.set_lead_off(True)
    stage.connect(Load(1_000))
    assert stage.deliver(SHAPE, 5_000, 0).phases == ()
    stage.set_lead_off(False)
    assert stage.deliver(SHAPE, 5_000, 10_000).load_ohm == 1_000


def test_gain_delivers_more_and_stays_balanced() -> None:
    stage = OutputStage(Load(500), 180_000)
    stage.set_gain(1_333)
    # 10 mA x 1.333 = 13.33 mA, on the step grid 13.3 mA.
    delivery = stage.deliver(SHAPE, 10_000, 0)
    assert delivery.phases == ((0, 13_300, 200), (200, -13_300, 200))
    assert delivery.is_amplified


def test_charge_left_on_the_skin_decays_between_pulses() -> None:
    """A pulse soon after another meets the capacitor's voltage; after a long rest it does not."""
    stage = OutputStage(NAMED_LOADS["dry"], 180_000)
    fresh = stage.deliver(SHAPE, 2_000, 0)
    soon = stage.deliver(SHAPE, 2_000, 500)
    late = stage.deliver(SHAPE, 2_000, 1_000_000)
    assert fresh.capacitor_mv != 0
    assert soon.load_ohm != fresh.load_ohm
    assert late.load_ohm == fresh.load_ohm


def test_decay_follows_the_resting_time_constant() -> None:
    # tau = 20 kohm x 30 nF = 600 us; e^-1 of 10 V is 3.679 V.
    assert NAMED_LOADS["dry"].decayed_mv(10_000, 600) == 3_679
    assert NAMED_LOADS["dry"].settled_us == 15_000


@pytest.mark.parametrize("text", ["", "0", "1000001", "-5", "5.0", "½", "wet", "99999999999"])
def test_a_load_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected 1 to 1000000 ohm or one of good-gel"):
        parse_load(text)
