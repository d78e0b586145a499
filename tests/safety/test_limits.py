"""Every limit, restated by hand from clinical.md and the design, and who checks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim.safety import checks
from estim.safety.bounds import compiled_channel_bounds, compiled_session_bounds
from estim.safety.checks import CHECKS, DENSITY_CHECKS, OUTPUT_CHECKS, SESSION_CHECKS
from firmware_protocol.limits import LIMITS, Enforcer, compiled_phase_charge_pc
from firmware_protocol.messages import ChannelLimits, PolicyFlag
from firmware_protocol.session_limits import compiled_limits

# name: (unit, lowest, highest, who refuses)
RESTATED = {
    "amplitude_ua": ("uA", None, 100_000, "both"),  # 100 mA
    "sensory_amplitude_ua": ("uA", None, 80_000, "host"),  # 80 mA
    "phase_duration_us": ("us", 10, 1_000, "both"),
    "pulse_duration_us": ("us", None, 10_000, "both"),  # 10 ms
    "phase_charge_pc": ("pC", None, 48_000_000, "both"),  # 20 + 28 x 1 ms = 48 uC
    "net_charge_pc": ("pC", 0, 0, "both"),
    "pulse_energy_uj": ("uJ", None, 300_000, "host"),  # 300 mJ
    "rms_ua": ("uA", None, 50_000, "both"),  # 50 mA
    "average_ua": ("uA", None, 10_000, "both"),  # 10 mA
    "current_density_ua_per_cm2": ("uA/cm2 RMS", None, 2_000, "host"),  # 2 mA/cm2
    "impaired_current_density_ua_per_cm2": ("uA/cm2 RMS", None, 1_000, "host"),  # 1 mA/cm2
    "power_density_uw_per_cm2": ("uW/cm2", None, 250_000, "host"),  # 0.25 W/cm2
    "setpoint_slew_ua_per_s": ("uA/s", 1, 2_000, "both"),  # 2 mA/s
    "rise_per_cycle_ua": ("uA", 1, 2_000, "both"),  # 2 mA
    "step_ua": ("uA", 100, 1_000, "both"),  # 0.1 to 1 mA
    "held_key_rise_ua_per_s": ("uA/s", None, 1_000, "host"),  # 1 mA/s
    "cycle_ramp_up_ms": ("ms", 500, None, "host"),
    "charge_rise_permille": ("permille of the largest charge", None, 700, "host"),
    "running_ms": ("ms", 1, 10_800_000, "both"),  # 3 h
    "lease_ms": ("ms", None, 320, "device"),
    "zero_after_silence_ms": ("ms", None, 350, "device"),
    "heartbeat_ms": ("ms", None, 400, "host"),
    "overcurrent_permille": ("permille of the amplitude", None, 1_100, "device"),  # + 10 %
    "lead_off_ohm": ("ohm", None, 15_000, "device"),
    "contact_ua": ("uA", None, 2_000, "device"),
    "short_ohm": ("ohm", 100, None, "device"),
    "line_errors_per_s": ("damaged frames a second", None, 16, "device"),
}
ENFORCERS = {"host": Enforcer.HOST, "device": Enforcer.DEVICE, "both": Enforcer.BOTH}


@pytest.mark.hazard(1)
@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_a_limit_is_what_the_design_says(limit) -> None:  # type: ignore[no-untyped-def]
    unit, lowest, highest, enforcer = RESTATED[limit.name]
    assert (limit.unit, limit.hard_min, limit.hard_max) == (unit, lowest, highest)
    assert limit.enforced_by is ENFORCERS[enforcer]


def test_no_limit_is_missing_and_each_has_a_number_of_its_own() -> None:
    assert [limit.name for limit in LIMITS] == list(RESTATED)
    assert len({limit.wire_id for limit in LIMITS}) == len(RESTATED) == 27


def test_the_host_checks_exactly_the_limits_that_it_enforces() -> None:
    enforced = {name for name, row in RESTATED.items() if row[3] in ("host", "both")}
    assert set(CHECKS) == enforced
    assert len(enforced) == 20


def test_each_check_belongs_to_one_limit_but_where_the_quantity_is_the_same() -> None:
    """What each limit judges by stands in the edge table; here that none was wired twice."""
    alike = (
        set(DENSITY_CHECKS),
        {"setpoint_slew_ua_per_s", "rise_per_cycle_ua", "step_ua", "running_ms"},
    )
    for name, check in CHECKS.items():
        sharing = {other for other, function in CHECKS.items() if function is check}
        assert sharing in ({name}, *alike)


def test_a_limit_is_of_output_or_of_the_session_not_both() -> None:
    assert not set(OUTPUT_CHECKS) & set(SESSION_CHECKS)


@pytest.mark.parametrize(
    ("duration_us", "charge_uc"),
    [(100, 22.8), (200, 25.6), (250, 27.0), (300, 28.4), (400, 31.2), (500, 34.0), (1000, 48.0)],
)
def test_the_charge_rule_gives_the_figures_of_clinical_md(
    duration_us: int, charge_uc: float
) -> None:
    assert compiled_phase_charge_pc(duration_us) == round(charge_uc * 1_000_000)


def test_every_compiled_bound_of_a_channel_is_there_with_its_owner() -> None:
    assert {(b.limit, b.value, b.owner.value) for b in compiled_channel_bounds()} == {
        ("amplitude_ua", 100_000, "standard"),
        ("phase_duration_us", 1_000, "standard"),
        ("pulse_duration_us", 10_000, "standard"),
        ("phase_charge_pc", 48_000_000, "standard"),
        ("net_charge_pc", 0, "standard"),
        ("pulse_energy_uj", 300_000, "standard"),
        ("rms_ua", 50_000, "standard"),
        ("average_ua", 10_000, "standard"),
        ("current_density_ua_per_cm2", 2_000, "electrode"),
        ("power_density_uw_per_cm2", 250_000, "electrode"),
    }


def test_every_compiled_bound_of_a_session_is_there() -> None:
    bench = {
        ("setpoint_slew_ua_per_s", 2_000, "standard"),
        ("rise_per_cycle_ua", 2_000, "standard"),
        ("step_ua", 1_000, "standard"),
        ("held_key_rise_ua_per_s", 1_000, "standard"),
        ("running_ms", 10_800_000, "standard"),
        ("heartbeat_ms", 400, "standard"),
    }
    found = {(b.limit, b.value, b.owner.value) for b in compiled_session_bounds(True)}
    assert found == bench
    found = {(b.limit, b.value, b.owner.value) for b in compiled_session_bounds(False)}
    assert found == bench | {
        ("cycle_ramp_up_ms", 500, "standard"),
        ("charge_rise_permille", 700, "standard"),
    }


def test_the_kernel_can_be_read_in_one_sitting() -> None:
    """The design allows 1000 lines for all of it."""
    folder = Path(checks.__file__).parent
    assert sum(len(path.read_text("utf-8").splitlines()) for path in folder.glob("*.py")) <= 1000


def test_the_compiled_limits_of_a_device_are_each_their_own() -> None:
    """By number, since some are alike: two of 2000, and the step is no rise by key."""
    held = compiled_limits(2, 60_000)
    assert (held.setpoint_slew_ua_per_s, held.rise_per_cycle_ua) == (2_000, 2_000)
    assert (held.step_ua, held.running_ms, held.policy) == (1_000, 10_800_000, PolicyFlag.NONE)
    row = ChannelLimits(60_000, 48_000_000, 50_000, 10_000)
    assert held.channels == (row, row)
