"""From profile, electrodes, patient and site to bounds, ceilings and the report of limits."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import ceil, isqrt
from pathlib import Path
from typing import Any

import pytest

from estim.errors import LimitRefused, UsageError
from estim.prepare.report import limit_lines, preview
from estim.prepare.session import REFERENCE, Prepared, prepare
from estim.prepare.site import SitePolicy, load_site
from estim.profile.library import find, shipped_ids
from estim.profile.loader import loads
from estim.profile.models import AREA_MAX_CM2
from estim.safety.bounds import intersect
from estim.session.requests import AREA_MAX_MM2
from firmware_protocol.messages import CapabilityFlag, PolicyFlag
from tests.unit.profile_text import COMPLETE
from tests.unit.toml_arithmetic import Held, delivered, settings_of

PROFILES = Path(__file__).parents[2] / "profiles"


def ready(profile_id: str = "tens-low-rate", **layers: object) -> Prepared:
    return prepare(find(profile_id).profile, **{"is_bench": True, **layers})  # type: ignore[arg-type]


def ceilings(prepared: Prepared) -> list[tuple[int, set[tuple[str, str]]]]:
    return [
        (line.ceiling_ua, {(r.limit, r.owner.value) for r in line.reasons if r.owner})
        for line in prepared.ceilings
    ]


def session_bounds(prepared: Prepared) -> set[tuple[str, int, str]]:
    return {(b.limit, b.value, b.owner.value) for b in prepared.bounds.session}


# Layers. 'tens-low-rate' is 4 Hz, 2 x 200 us, at most 60 mA; half of it for impaired sensation.


def test_the_profile_binds_where_nothing_else_does() -> None:
    assert ceilings(ready()) == [(60_000, {("amplitude_ua", "profile")})]


@pytest.mark.parametrize(
    ("layers", "highest_ua", "owners"),
    [
        ({"patient_ceiling_ua": 59_999}, 59_900, {("amplitude_ua", "patient")}),
        ({"patient_ceiling_ua": 60_000}, 60_000,
         {("amplitude_ua", "profile"), ("amplitude_ua", "patient")}),
        ({"patient_ceiling_ua": 60_001}, 60_000, {("amplitude_ua", "profile")}),
        ({"patient_ceiling_ua": 0}, 0, {("amplitude_ua", "patient")}),
        ({"is_sensation_impaired": True}, 30_000, {("amplitude_ua", "patient")}),
        ({"site": SitePolicy(amplitude_ceiling_ua=12_000)}, 12_000, {("amplitude_ua", "site")}),
        ({"site": SitePolicy(amplitude_ceiling_ua=12_000), "patient_ceiling_ua": 11_000}, 11_000,
         {("amplitude_ua", "patient")}),
        ({"capabilities": replace(REFERENCE, amplitude_max_ua=9_000)}, 9_000,
         {("amplitude_ua", "device")}),
    ],
)  # fmt: skip
def test_each_layer_lowers_the_ceiling_and_is_named(
    layers: dict[str, object], highest_ua: int, owners: set[tuple[str, str]]
) -> None:
    assert ceilings(ready("tens-low-rate", **layers)) == [(highest_ua, owners)]


def test_the_electrode_lowers_the_ceiling_and_is_named() -> None:
    """'dpn-conventional' is 80 Hz, 2 x 200 us; here on a pad of 2 cm2, its own ceiling left out."""
    fast = find("dpn-conventional").profile
    small = fast.electrode.model_copy(update={"minimum_area_cm2": Decimal(1)})
    ceiling_only = fast.ceilings.model_copy(update={"current_density_ma_per_cm2": None})
    thin = fast.model_copy(update={"electrode": small, "ceilings": ceiling_only})
    prepared = prepare(thin, is_bench=True, electrode_area_cm2=Decimal(2))
    # 2 mA/cm2 x 2 cm2 = 4 mA RMS / sqrt(2 x 200 us x 80 Hz) = 22.36 mA, on steps of 0.1 mA.
    assert ceilings(prepared)[0] == (22_300, {("current_density_ua_per_cm2", "electrode")})


def test_impaired_sensation_halves_the_density_too() -> None:
    fast = find("dpn-conventional").profile
    small = fast.electrode.model_copy(update={"minimum_area_cm2": Decimal(1)})
    half = fast.ceilings.model_copy(update={"current_density_ma_per_cm2": None})
    thin = fast.model_copy(update={"electrode": small, "ceilings": half})
    prepared = prepare(
        thin, is_bench=True, electrode_area_cm2=Decimal(2), is_sensation_impaired=True
    )
    # 1 mA/cm2 x 2 cm2 = 2 mA RMS: 11.18 mA.
    assert ceilings(prepared)[0] == (
        11_100,
        {("impaired_current_density_ua_per_cm2", "patient")},
    )


def test_a_profiles_own_ceilings_bind() -> None:
    """At 4 Hz and 2 x 200 us the RMS is 0.04 of the peak: 20 mA make 0.8 mA, and 4 uC a phase."""
    slow = find("tens-low-rate").profile
    for update, highest_ua, limit in (
        ({"rms_ma": Decimal("0.8")}, 20_000, "rms_ua"),
        ({"phase_charge_uc": Decimal(4)}, 20_000, "phase_charge_pc"),
        ({"current_density_ma_per_cm2": Decimal("0.1")}, 60_000, "amplitude_ua"),
    ):
        changed = slow.model_copy(update={"ceilings": slow.ceilings.model_copy(update=update)})
        prepared = prepare(changed, is_bench=True)
        assert ceilings(prepared) == [(highest_ua, {(limit, "profile")})]


def test_impaired_sensation_leaves_the_profiles_share_of_its_own_density() -> None:
    """Half of 1 mA/cm2 is 0.5 mA/cm2."""
    slow = find("tens-low-rate").profile
    own = slow.ceilings.model_copy(update={"current_density_ma_per_cm2": Decimal(1)})
    prepared = prepare(
        slow.model_copy(update={"ceilings": own}), is_bench=True, is_sensation_impaired=True
    )
    found = {(b.limit, b.value, b.owner.value) for b in prepared.bounds.channels[0].bounds}
    assert ("current_density_ua_per_cm2", 1_000, "profile") in found
    assert ("current_density_ua_per_cm2", 500, "patient") in found
    assert ("impaired_current_density_ua_per_cm2", 1_000, "patient") in found


def test_a_pulse_that_a_device_plays_in_leaps_above_a_key_press_is_refused() -> None:
    """Shares of 1000 and 250 permille need multiples of 4 device steps; a press is 0.3 mA."""
    profile = loads(COMPLETE, "complete").profile
    assert profile.rise.step_ua == 300
    fitting = replace(REFERENCE, amplitude_step_ua=75)
    assert prepare(profile, fitting, is_bench=True).bounds.amplitude_step_ua == 75
    coarse = replace(REFERENCE, amplitude_step_ua=76)
    with pytest.raises(LimitRefused, match=r"every 0\.304 mA only, more than one step of 0\.3 mA"):
        prepare(profile, coarse, is_bench=True)


def test_sensory_modes_are_held_to_80_ma_and_motor_modes_to_100() -> None:
    sensory = {(b.limit, b.value) for b in ready().bounds.channels[0].bounds}
    assert ("sensory_amplitude_ua", 80_000) in sensory
    motor = {(b.limit, b.value) for b in ready("nmes-quadriceps").bounds.channels[0].bounds}
    assert not any(limit == "sensory_amplitude_ua" for limit, _ in motor)
    assert ready("nmes-quadriceps").ceilings[0].ceiling_ua == 100_000


@pytest.mark.parametrize("area", ["16", "16.0", "25"])
def test_an_electrode_of_the_least_area_is_taken(area: str) -> None:
    assert ready(electrode_area_cm2=Decimal(area)).ceilings[0].ceiling_ua == 60_000


@pytest.mark.hazard(26)
@pytest.mark.parametrize("area", ["15.9", "15.99", "0", "-25", "NaN", "sNaN", "Infinity"])
def test_an_electrode_below_the_profiles_least_is_refused(area: str) -> None:
    with pytest.raises(LimitRefused, match=r"electrode area: .* at least 16\.0 cm2 required"):
        ready(electrode_area_cm2=Decimal(area))


def test_the_profiles_recommended_electrode_counts_where_none_is_named() -> None:
    assert ready().bounds.channels[0].electrode_area_mm2 == 2_500
    named = ready(electrode_area_cm2=Decimal("16.55"))
    assert named.bounds.channels[0].electrode_area_mm2 == 1_655


@pytest.mark.hazard(26)
def test_nobody_vouches_for_the_recommended_electrode_on_a_person() -> None:
    """Whoever puts on the least that the profile allows must not get the limits of the larger."""
    assert ready(is_bench=False).bounds.channels[0].electrode_area_mm2 == 1_600
    named = ready(is_bench=False, electrode_area_cm2=Decimal(25))
    assert named.bounds.channels[0].electrode_area_mm2 == 2_500


def test_an_area_that_no_pad_has_is_refused_by_whoever_prepares() -> None:
    assert AREA_MAX_CM2 * 100 == AREA_MAX_MM2 == 40_000
    assert ready(electrode_area_cm2=Decimal(400)).bounds.channels[0].electrode_area_mm2 == 40_000
    with pytest.raises(LimitRefused, match=r"2500 cm2 given, .* at most 400 cm2 possible"):
        ready(electrode_area_cm2=Decimal(2500))


def test_impaired_sensation_asks_for_large_electrodes_and_a_slow_rise() -> None:
    """At least 25 cm2, though the profile would take 16; 1 mA/s, though it rises at 2."""
    with pytest.raises(LimitRefused, match=r"24\.99 cm2 given, at least 25 cm2 required where"):
        ready(is_sensation_impaired=True, is_bench=False, electrode_area_cm2=Decimal("24.99"))
    with pytest.raises(LimitRefused, match=r"16 cm2 given, at least 25 cm2 required where"):
        ready(is_sensation_impaired=True, is_bench=False)
    slow = ready(is_sensation_impaired=True, electrode_area_cm2=Decimal(25), is_bench=False)
    assert ("setpoint_slew_ua_per_s", 1_000, "patient") in session_bounds(slow)
    assert ("setpoint_slew_ua_per_s", 2_000, "profile") in session_bounds(ready())
    running = {b.value for b in slow.bounds.session if b.limit == "running_ms"}
    # 2700 s, 60 s from 0 to 60 mA at 1 mA/s, or 62 pulses at 4 Hz, and a minute to end.
    assert min(running) == (2700 + 60 + 60) * 1000


def test_a_negative_patient_ceiling_is_refused() -> None:
    with pytest.raises(LimitRefused, match="-1 for amplitude_ua"):
        ready(patient_ceiling_ua=-1)


def test_a_bench_only_profile_is_refused_on_a_person() -> None:
    # Its shares of 1000 and 250 permille are balanced every 0.4 mA, so the step must be as large.
    profile = loads(COMPLETE.replace("step_ma = 0.3", "step_ma = 0.4"), "complete").profile
    assert prepare(profile, is_bench=True).bounds.is_bench
    with pytest.raises(LimitRefused, match="bench only: made for tests"):
        prepare(profile, is_bench=False)


def test_a_person_gets_the_slow_ramp_of_contractions() -> None:
    profile = find("nmes-quadriceps").profile
    assert ("cycle_ramp_up_ms", 500, "standard") in session_bounds(prepare(profile, is_bench=False))
    assert not any(b[0] == "cycle_ramp_up_ms" for b in session_bounds(ready("nmes-quadriceps")))


def test_what_the_device_cannot_do_is_refused() -> None:
    plain = replace(REFERENCE, flags=CapabilityFlag.NONE)
    with pytest.raises(LimitRefused, match="on/off cycle"):
        ready("nmes-quadriceps", capabilities=plain)


def test_prepared_bounds_already_hold_the_compiled_ones_and_the_devices() -> None:
    prepared = ready()
    assert intersect(prepared.bounds, REFERENCE) == prepared.bounds


# Durations. 'tens-low-rate' lasts 1800 s and at most 2700 s; it rises at 2 mA/s to 60 mA.


def test_the_duration_is_the_profiles_unless_another_is_asked() -> None:
    profile = find("tens-low-rate").profile
    assert ready().settings.duration_s == profile.session.duration_s
    assert ready(duration_s=77).settings.duration_s == 77


@pytest.mark.parametrize("duration_s", [0, -1])
def test_a_duration_of_nothing_is_refused_since_it_would_mean_no_end(duration_s: int) -> None:
    with pytest.raises(LimitRefused, match="at least 1 s"):
        ready(duration_s=duration_s)


def test_a_duration_is_at_most_the_profiles_longest() -> None:
    longest_s = tomllib.loads((PROFILES / "tens-low-rate.toml").read_text())["session"][
        "longest_duration_s"
    ]
    assert ready(duration_s=longest_s).settings.duration_s == longest_s
    with pytest.raises(LimitRefused, match=f"{longest_s} s allowed by the profile"):
        ready(duration_s=longest_s + 1)


def test_a_duration_is_at_most_the_sites_longest() -> None:
    site = SitePolicy(longest_session_s=600)
    assert ready(duration_s=600, site=site).settings.duration_s == 600
    with pytest.raises(LimitRefused, match="600 s allowed by the site policy"):
        ready(duration_s=601, site=site)
    with pytest.raises(LimitRefused, match="by the site policy"):
        ready(site=site)


def test_a_site_that_allows_more_changes_nothing() -> None:
    site = SitePolicy(longest_session_s=10_800, amplitude_ceiling_ua=100_000)
    assert ceilings(ready(site=site)) == ceilings(ready())
    with pytest.raises(LimitRefused, match="by the profile"):
        ready(duration_s=10_800, site=site)


def test_running_is_bound_by_the_longest_session_its_rise_and_a_minute() -> None:
    longest_s = find("tens-low-rate").profile.session.longest_duration_s
    # 60 mA at 2 mA/s are 30 s; a pulse each 250 ms raises 0.5 mA, and 122 of them take 30 s too.
    assert ("running_ms", (longest_s + 30 + 60) * 1000, "profile") in session_bounds(ready())
    site = SitePolicy(longest_session_s=600, setpoint_slew_ua_per_s=1000)
    bound = session_bounds(ready(site=site, duration_s=600))
    assert ("running_ms", (600 + 60 + 60) * 1000, "site") in bound
    assert ("running_ms", (longest_s + 60 + 60) * 1000, "profile") in bound
    assert ("setpoint_slew_ua_per_s", 1000, "site") in bound


def test_contractions_need_time_to_rise() -> None:
    """100 mA at 2 mA a cycle of 66 s: 50 cycles and two more."""
    bound = session_bounds(ready("nmes-quadriceps"))
    assert ("running_ms", (1320 + 52 * 66 + 60) * 1000, "profile") in bound


def test_running_is_never_longer_than_three_hours() -> None:
    slow = find("tens-low-rate").profile
    longest = slow.session.model_copy(update={"longest_duration_s": 10_800})
    prepared = prepare(slow.model_copy(update={"session": longest}), is_bench=True)
    assert ("running_ms", 10_800_000, "profile") in session_bounds(prepared)


def test_policies_of_profile_and_site_reach_the_device() -> None:
    assert ready().bounds.policy is PolicyFlag.NONE
    site = SitePolicy(requires_patient_stop=True)
    assert ready(site=site).bounds.policy is PolicyFlag.REQUIRE_PATIENT_STOP
    profile = find("tens-low-rate").profile
    all_off = profile.policy.model_copy(update={"lead_off": "all", "requires_patient_stop": True})
    prepared = prepare(profile.model_copy(update={"policy": all_off}), is_bench=True)
    assert prepared.bounds.policy is PolicyFlag(3)


def test_a_device_without_the_stop_that_the_site_requires_is_refused() -> None:
    without = replace(REFERENCE, flags=CapabilityFlag(127 - 4))
    with pytest.raises(LimitRefused, match="requires a patient's stop"):
        ready(site=SitePolicy(requires_patient_stop=True), capabilities=without)


# The site policy.


def test_without_a_file_there_is_no_site_policy(tmp_path: Path) -> None:
    assert load_site(tmp_path) == SitePolicy()


def test_a_site_policy_is_read(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        "amplitude_ceiling_ua = 30000\nsetpoint_slew_ua_per_s = 900\n"
        "longest_session_s = 1200\nrequires_patient_stop = true\n"
    )
    assert load_site(tmp_path) == SitePolicy(
        amplitude_ceiling_ua=30_000,
        setpoint_slew_ua_per_s=900,
        longest_session_s=1200,
        requires_patient_stop=True,
    )


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b"amplitude_ceiling_ua = 100001", "amplitude_ceiling_ua"),
        (b"amplitude_ceiling_ua = 0", "amplitude_ceiling_ua"),
        (b"amplitude_ceiling_ua = -5", "amplitude_ceiling_ua"),
        (b"amplitude_ceiling_ua = 30.0", "amplitude_ceiling_ua"),
        (b"amplitude_ceiling_ua = nan", "amplitude_ceiling_ua"),
        (b"amplitude_ceiling_ua = inf", "amplitude_ceiling_ua"),
        (b"amplitude_ceiling_ua = true", "amplitude_ceiling_ua"),
        (b'amplitude_ceiling_ua = "30000"', "amplitude_ceiling_ua"),
        (b"amplitude_ceiling_ua = []", "amplitude_ceiling_ua"),
        (b"setpoint_slew_ua_per_s = 2001", "setpoint_slew_ua_per_s"),
        (b"setpoint_slew_ua_per_s = 0", "setpoint_slew_ua_per_s"),
        (b"longest_session_s = 10801", "longest_session_s"),
        (b"longest_session_s = 0", "longest_session_s"),
        (b"requires_patient_stop = 1", "requires_patient_stop"),
        (b"amplitude_ceiling_ma = 30", "amplitude_ceiling_ma"),
        (b"[limits]\namplitude_ceiling_ua = 5", "limits"),
        (b"amplitude_ceiling_ua = 30000\namplitude_ceiling_ua = 30000", ""),
        (b"amplitude_ceiling_ua = ", ""),
        (b"\xff\xfe", ""),
    ],
)
def test_a_bad_site_policy_is_refused_by_file_and_key(
    tmp_path: Path, text: bytes, key: str
) -> None:
    (tmp_path / "site.toml").write_bytes(text)
    with pytest.raises(UsageError) as refused:
        load_site(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / 'site.toml'}: {key}")
    assert "\n" not in str(refused.value)


def test_a_site_policy_that_cannot_be_read_is_not_ignored(tmp_path: Path) -> None:
    (tmp_path / "site.toml").mkdir()
    with pytest.raises(UsageError, match=r"site\.toml"):
        load_site(tmp_path)


# The report: every shipped profile's figures, worked out from its TOML by other arithmetic.


def onsets(held: Held, stimulus: dict[str, Any]) -> int:
    """Return the most pulses in a second; off times are longer than any spacing."""
    burst = stimulus.get("burst")
    if burst is None:
        return -(-1_000_000 // held.period_us)
    assert 1_000_000 % int(1_000_000 / burst["burst_rate_hz"]) == 0
    return int(burst["burst_rate_hz"] * burst["pulses_per_burst"])


def ceiled_root(square: int) -> int:
    return isqrt(square) + (isqrt(square) ** 2 < square)


@pytest.mark.parametrize("profile_id", shipped_ids())
def test_the_figures_of_a_shipped_profile_are_those_of_its_toml(profile_id: str) -> None:
    raw = tomllib.loads((PROFILES / f"{profile_id}.toml").read_text(), parse_float=Decimal)
    prepared = ready(profile_id)
    area_mm2 = int(Decimal(raw["electrode"]["recommended_area_cm2"]) * 100)
    lines = {(line.channel, line.limit): line for line in preview(prepared)}
    for number, channel in enumerate(raw["channels"], start=1):
        stimulus = channel.get("stimulus", raw["stimulus"])
        peak_ua = int(Decimal(channel["amplitude_ceiling_ma"]) * 1000)
        settings = settings_of(stimulus)
        flows = [delivered(held, peak_ua) for held in settings]
        # One half of every pulse here flows one way: charge and length of a phase are that half's.
        charges = [sum(i * us for _, i, us in flow if i > 0) for flow in flows]
        halves_us = [sum(us for us, share in held.phases if share > 0) for held in settings]
        squares = [sum(i * i * us for _, i, us in flow) for flow in flows]
        counts = [onsets(held, stimulus) for held in settings]
        extra = len(settings) > 1
        second_square = max(n * q for n, q in zip(counts, squares, strict=True))
        second_square += max(squares) if extra else 0
        second_pc = max(2 * n * q for n, q in zip(counts, charges, strict=True))
        second_pc += 2 * max(charges) if extra else 0
        rms_ua = ceiled_root(-(-second_square // 1_000_000))
        expected = {
            "amplitude_ua": peak_ua,
            "phase_duration_us": max(halves_us),
            "pulse_duration_us": max(sum(us for us, _ in held.phases) for held in settings),
            "net_charge_pc": 0,
            "pulse_energy_uj": ceil(Decimal(max(squares)) * 500 / 10**12),
            "rms_ua": rms_ua,
            "average_ua": ceil(Decimal(second_pc) / 1_000_000),
            "current_density_ua_per_cm2": ceil(Decimal(rms_ua * 100) / area_mm2),
            "power_density_uw_per_cm2": ceil(Decimal(rms_ua**2) * 500 / 10_000 / area_mm2),
        }
        for limit, figure in expected.items():
            assert lines[number, limit].figure == figure, limit
        # The phase with the least left of 20 uC + 28 uC/ms, not the one with the most charge.
        allowed = [20_000_000 + 28_000 * us for us in halves_us]
        tightest = max(range(len(charges)), key=lambda i: Fraction(charges[i], allowed[i]))
        line = lines[number, "phase_charge_pc"]
        assert (line.figure, line.allowed) == (charges[tightest], allowed[tightest])


def test_every_line_of_the_report_has_its_margin_owner_and_certainty() -> None:
    """40 mA at 80 Hz, 2 x 200 us on 25 cm2, with the profile's own 1 mA/cm2."""
    lines = preview(ready("dpn-conventional"))
    assert [line.channel for line in lines] == [1] * 11 + [2] * 11
    found = {line.limit: line for line in lines if line.channel == 1}
    told = {
        limit: (line.figure, line.allowed, line.margin_permille, line.owner, line.certainty)
        for limit, line in found.items()
    }
    assert told == {
        "amplitude_ua": (40_000, 40_000, 0, "profile", "E"),
        "sensory_amplitude_ua": (40_000, 80_000, 500, "standard", "E"),
        "phase_duration_us": (200, 1_000, 800, "standard", "K?"),
        "pulse_duration_us": (400, 10_000, 960, "standard", "E"),
        "phase_charge_pc": (8_000_000, 25_600_000, 687, "standard", "K?"),
        "net_charge_pc": (0, 0, 1000, "standard", "E"),
        "pulse_energy_uj": (320, 300_000, 998, "standard", "S"),
        "rms_ua": (7_156, 50_000, 856, "standard", "K"),  # 7155.42
        "average_ua": (1_280, 10_000, 872, "standard", "K?"),
        "current_density_ua_per_cm2": (287, 1_000, 713, "profile", "S"),  # 286.24
        "power_density_uw_per_cm2": (1_025, 250_000, 995, "electrode", "S"),  # 1024.2
    }
    margins = [line.margin_permille for line in lines if line.channel == 1]
    assert margins == sorted(margins)
    assert found["average_ua"].unit == "uA"
    assert found["average_ua"].source == "FDA 2010 draft, average absolute current"


def test_the_report_follows_the_amplitudes_asked() -> None:
    lines = {
        (x.channel, x.limit): x.figure for x in limit_lines(ready("dpn-conventional"), (10_000, 0))
    }
    assert lines[1, "phase_charge_pc"] == 2_000_000
    assert (lines[2, "phase_charge_pc"], lines[2, "rms_ua"], lines[2, "amplitude_ua"]) == (0, 0, 0)
