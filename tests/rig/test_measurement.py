"""Captures made by another program pass, fail or stay open for the right reason.

dpn-conventional: 80 Hz, 2 x 200 us; here at 20 mA, so that a phase holds 4 uC.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from estim.prepare.session import prepare
from estim.profile.library import find
from estim.rig.captures.capture import ReadOptions
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.instrument import Instrument
from estim.rig.measuring.measurement import Result, Settings, measure
from estim.rig.measuring.tolerances import PROJECT, STANDARD
from tests.rig.generator import (
    Floats,
    Pulse,
    biphasic,
    noise,
    sampled,
    slowed,
    steady,
    write_csv,
    write_trace,
)

LENGTH_S = 0.2
SCOPE = Instrument("oscilloscope", "X", "1", date(2027, 1, 1), 1.5, 50.0)
TODAY = date(2026, 6, 1)


def expected_of(profile_id: str, amplitude_ua: int | None) -> Expected:
    return Expected.of(prepare(find(profile_id).profile, is_bench=True), 0, amplitude_ua)


def measured(
    folder: Path,
    samples: Floats,
    *,
    rate_hz: float = 1e6,
    unit: str = "uA",
    profile_id: str = "dpn-conventional",
    amplitude_ua: int | None = 20_000,
    load_ohm: int | None = None,
    instrument: Instrument | None = SCOPE,
    tolerances: str = "project",
) -> Result:
    path = write_csv(folder / "capture.csv", samples, rate_hz, unit)
    settings = Settings(
        ReadOptions(load_ohm=load_ohm), tolerances, instrument=instrument, today=TODAY
    )
    return measure(path, expected_of(profile_id, amplitude_ua), settings)


def failed(result: Result) -> set[str]:
    return {check.name for check in result.checks if check.verdict == "fail"}


def open_checks(result: Result) -> set[str]:
    return {check.name for check in result.checks if check.verdict == "inconclusive"}


def noisy(pulses: list[Pulse], deviation: float = 0.1, length_s: float = LENGTH_S) -> Floats:
    samples = sampled(pulses, length_s)
    return samples + noise(len(samples), deviation)


def test_what_was_commanded_passes_and_every_figure_is_right(tmp_path: Path) -> None:
    result = measured(tmp_path, noisy(steady(20, LENGTH_S)))
    assert (result.verdict, result.unknowns, result.looks_like) == ("pass", (), "")
    figures = {check.name: check.measured for check in result.checks}
    assert figures["amplitude.phase1"] == pytest.approx(20_000, rel=1e-3)
    assert figures["phase_duration.phase2"] == pytest.approx(200, abs=0.1)
    assert figures["charge.phase1"] == pytest.approx(4e6, rel=1e-3)
    assert figures["net_charge"] == pytest.approx(0, abs=4e3)
    assert figures["pulse_rate"] == pytest.approx(80, rel=1e-4)
    # 20 mA x sqrt(80 x 400 us) = 3577.7 uA; 20 mA x 80 x 400 us = 640 uA.
    assert figures["rms"] == pytest.approx(3577.7, rel=1e-3)
    assert figures["average"] == pytest.approx(640, rel=1e-3)


def test_samples_without_noise_pass(tmp_path: Path) -> None:
    assert measured(tmp_path, sampled(steady(20, LENGTH_S), LENGTH_S)).verdict == "pass"


def test_five_percent_of_amplitude_fail_and_nothing_else_does(tmp_path: Path) -> None:
    for ma in (21.0, 19.0):
        result = measured(tmp_path, noisy(steady(ma, LENGTH_S)))
        assert result.verdict == "fail"
        assert {"amplitude.phase1", "amplitude.phase2"} <= failed(result)
        # What is made of the amplitude may fail with it; balance, times and counts may not.
        assert failed(result) <= {
            "amplitude.phase1", "amplitude.phase2", "charge.phase1", "charge.phase2", "rms",
            "average", "pulses_outside",
        }  # fmt: skip
        assert result.check("net_charge").verdict == "pass"


def test_two_percent_of_amplitude_are_neither_passed_nor_failed_by_a_scope(tmp_path: Path) -> None:
    # 400 uA off, 520 uA allowed, and 1.5 % of 20 mA = 300 uA uncertain: between 100 and 700.
    result = measured(tmp_path, noisy(steady(20.4, LENGTH_S)))
    assert result.verdict == "inconclusive"
    assert "amplitude.phase1" in open_checks(result)
    check = result.check("amplitude.phase1")
    assert check.deviation == pytest.approx(400, abs=5)
    assert check.tolerance == pytest.approx(520)
    assert check.uncertainty == pytest.approx(306, abs=5)


def test_a_microsecond_of_imbalance_fails_as_imbalance(tmp_path: Path) -> None:
    for first_us, second_us, sign in ((201, 200, 1), (200, 201, -1), (199, 200, -1)):
        pulses = steady(20, LENGTH_S, first_us=first_us, second_us=second_us)
        result = measured(tmp_path, noisy(pulses))
        assert failed(result) == {"net_charge"}, result.checks
        check = result.check("net_charge")
        # 1 us x 20 mA = 20 nC; a quarter percent of 4 uC = 10 nC is allowed.
        assert check.measured == pytest.approx(sign * 20_000, rel=0.05)
        assert check.tolerance == pytest.approx(10_000, rel=0.01)
        assert "us more of" in check.note


def test_the_standard_table_lets_both_through(tmp_path: Path) -> None:
    samples = noisy(steady(21, LENGTH_S, first_us=201))
    result = measured(tmp_path, samples, tolerances="standard")
    assert result.verdict == "pass"
    assert result.check("amplitude.phase1").certainty == "K?"
    # A quarter more is too much for it as well.
    result = measured(tmp_path, noisy(steady(25.2, LENGTH_S)), tolerances="standard")
    assert "amplitude.phase1" in failed(result)


def test_an_offset_is_taken_off_and_may_not_pass_unexplained(tmp_path: Path) -> None:
    for offset_ma in (3, -3, 0.2):
        result = measured(tmp_path, noisy(steady(20, LENGTH_S)) + offset_ma)
        # 100 uA are allowed; whose current it is the capture alone does not say.
        assert (result.verdict, open_checks(result)) == ("inconclusive", {"offset"})
        assert result.check("offset").measured == pytest.approx(offset_ma * 1000, abs=2)
        assert any("short" in text and "offset" in text for text in result.unknowns)
    assert measured(tmp_path, noisy(steady(20, LENGTH_S)) + 0.05).verdict == "pass"
    # An instrument that states its own offset makes it a direct current of the device.
    sure = Instrument("oscilloscope", "X", "1", date(2027, 1, 1), 1.5, 50.0, 20.0)
    result = measured(tmp_path, noisy(steady(20, LENGTH_S)) + 3, instrument=sure)
    assert failed(result) == {"offset"}


def test_hum_is_followed_beside_the_pulses(tmp_path: Path) -> None:
    hum = np.sin(2 * np.pi * 50 * np.arange(200_000) * 1e-6)
    result = measured(tmp_path, noisy(steady(20, LENGTH_S)) + hum)
    assert result.verdict == "pass"
    # 1 mA either way: 2 mA in all.
    assert any("it drifts by 2" in note for note in result.notes)
    assert result.check("amplitude.phase1").measured == pytest.approx(20_000, rel=3e-3)
    assert "amplitude.phase1" in failed(measured(tmp_path, noisy(steady(21, LENGTH_S)) + hum))


def test_a_slow_current_whose_mean_is_nothing_may_not_pass(tmp_path: Path) -> None:
    samples = noisy(steady(20, LENGTH_S))
    instants_s = np.arange(len(samples)) * 1e-6
    result = measured(tmp_path, samples + 2 * np.sin(2 * np.pi * 5 * instants_s))
    assert result.verdict == "inconclusive"
    assert open_checks(result) == {"offset"}
    # The mean of half a period, 0.1 s: 2 mA x 2 / pi.
    assert abs(result.check("offset").measured or 0) == pytest.approx(1273, rel=0.02)


def test_clipping_leaves_amplitudes_unknown_and_times_known(tmp_path: Path) -> None:
    samples = np.clip(noisy(steady(20, LENGTH_S)), -15, 15)
    result = measured(tmp_path, samples)
    assert result.verdict == "inconclusive"
    assert {"amplitude.phase1", "net_charge", "rms", "overshoot"} <= open_checks(result)
    assert any("clipped at 15 mA" in text for text in result.unknowns)
    for name in ("phase_duration.phase1", "pulse_rate", "missing_pulses"):
        assert result.check(name).verdict == "pass"
    # Clipped above what is allowed it is at least that much: it fails.
    samples = np.clip(noisy(steady(30, LENGTH_S)), -25, 25)
    assert "amplitude.phase1" in failed(measured(tmp_path, samples))


def test_too_few_samples_are_inconclusive_not_wrong(tmp_path: Path) -> None:
    samples = sampled(steady(20, 2.0), 2.0, 20_000) + noise(40_000, 0.1)
    result = measured(tmp_path, samples, rate_hz=20_000)
    assert result.verdict == "inconclusive"
    assert {"phase_duration.phase1", "net_charge"} <= open_checks(result)
    uncertainty_us = result.check("phase_duration.phase1").uncertainty
    assert uncertainty_us is not None
    assert uncertainty_us >= 50  # one sample
    assert result.check("pulse_rate").verdict == "pass"
    assert any("undersampled: samples in the shortest phase: 4" in t for t in result.unknowns)
    # What is far off all the same is told as wrong.
    wrong = sampled(steady(20, 2.0, first_us=400, second_us=400), 2.0, 20_000)
    result = measured(tmp_path, wrong + noise(40_000, 0.1), rate_hz=20_000)
    assert "phase_duration.phase1" in failed(result)


def test_one_pulse_the_other_way_round_is_odd(tmp_path: Path) -> None:
    # It is balanced and in time: its polarity alone gives it away. 5 / 80 Hz + 1.23 ms = 63.73 ms.
    whole = steady(20, LENGTH_S)
    turned = [*whole[:5], biphasic(whole[5].at_s, -20), *whole[6:]]
    for sign, also in ((1, set()), (-1, {"polarity"})):
        result = measured(tmp_path, sign * noisy(turned))
        assert failed(result) == {"odd_pulses", *also}
        assert result.check("odd_pulses").measured == 1
        assert result.check("odd_pulses").worst_at_s == pytest.approx(0.06373, abs=1e-5)
    trace = write_trace(tmp_path / "trace.csv", turned)
    result = measure(trace, expected_of("dpn-conventional", 20_000), Settings(today=TODAY))
    assert failed(result) == {"odd_pulses"}


def test_charge_between_pulses_may_not_pass_unexplained(tmp_path: Path) -> None:
    # 0.5 mA are 2.5 % of a pulse's amplitude; for 1 ms they are 0.5 uC, an eighth of its phase's.
    samples = noisy(steady(20, LENGTH_S), 0.01)
    samples[70_000:71_000] += 0.5
    result = measured(tmp_path, samples)
    assert (result.verdict, open_checks(result)) == ("inconclusive", {"odd_pulses"})
    assert "12.5 % of a phase's charge, the first at 0.07" in result.check("odd_pulses").note


def test_a_spike_higher_than_any_pulse_may_not_pass_unexplained(tmp_path: Path) -> None:
    samples = noisy(steady(20, LENGTH_S))
    samples[70_000:70_002] = 18.0
    assert measured(tmp_path, samples).verdict == "pass"
    samples[70_000:70_002] = 30.0
    result = measured(tmp_path, samples)
    assert (result.verdict, open_checks(result)) == ("inconclusive", {"odd_pulses"})
    assert "1 glitch of up to 30 mA" in result.check("odd_pulses").note


def test_silence_without_a_reading_near_its_offset_gives_no_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    # As many readings of 30 to 40 uA as of -30 to -40 uA, in steps of 1 uA: none near 0.
    sizes = np.random.default_rng(1).integers(30, 41, round(LENGTH_S * 1e6)) / 1000
    silence = np.where(np.arange(len(sizes)) % 2, sizes, -sizes)
    pulses = sampled(steady(20, LENGTH_S), LENGTH_S)
    result = measured(tmp_path, np.where(pulses == 0, silence, pulses))
    assert result.check("amplitude.phase1").measured == pytest.approx(20_000, rel=1e-3)
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


def test_missing_extra_and_odd_pulses_are_counted_with_their_time(tmp_path: Path) -> None:
    whole = steady(20, LENGTH_S)
    result = measured(tmp_path, noisy(whole[:10] + whole[12:]))
    # Without them less flows, too.
    assert failed(result) - {"rms", "average"} == {"missing_pulses"}
    assert result.check("missing_pulses").measured == 2
    # The eleventh pulse should have begun at 1.23 ms + 10 x 12.5 ms.
    assert result.check("missing_pulses").worst_at_s == pytest.approx(0.12623, abs=1e-5)
    result = measured(tmp_path, noisy([*whole, biphasic(whole[7].at_s + 0.005, 20)]))
    assert failed(result) == {"extra_pulses"}
    assert result.check("extra_pulses").worst_at_s == pytest.approx(0.09373, abs=1e-5)
    odd = [*whole[:5], Pulse(whole[5].at_s, ((20, 200),)), *whole[6:]]
    result = measured(tmp_path, noisy(odd))
    assert failed(result) == {"odd_pulses"}
    assert result.check("odd_pulses").worst_at_s == pytest.approx(0.06373, abs=1e-5)


def test_output_that_ends_without_a_ramp_down_does_not_pass(tmp_path: Path) -> None:
    half = [pulse for pulse in steady(20, LENGTH_S) if pulse.at_s < 0.15]
    result = measured(tmp_path, noisy(half))
    assert result.verdict == "inconclusive"
    assert open_checks(result) == {"missing_pulses"}
    assert "stopped or lost" in result.check("missing_pulses").note


def test_jitter_of_a_loop_fails_and_that_of_a_timer_does_not(tmp_path: Path) -> None:
    random = np.random.default_rng(5)

    def shaken(deviation_us: float) -> list[Pulse]:
        return [
            Pulse(pulse.at_s + random.normal(0, deviation_us * 1e-6), pulse.phases)
            for pulse in steady(20, LENGTH_S, start_s=0.005)
        ]

    assert measured(tmp_path, noisy(shaken(3))).verdict == "pass"
    result = measured(tmp_path, noisy(shaken(300)))
    assert failed(result) == {"jitter"}
    # A period has two onsets: 300 us x sqrt 2, within what 16 pulses can tell.
    assert result.check("jitter").measured == pytest.approx(424, rel=0.4)


def test_a_single_pulse_that_is_wrong_is_found(tmp_path: Path) -> None:
    pulses = steady(20, LENGTH_S)
    pulses[8] = biphasic(pulses[8].at_s, 22)
    result = measured(tmp_path, noisy(pulses))
    assert failed(result) == {"pulses_outside"}
    assert result.worst_pulse is not None
    assert result.worst_pulse.at_s == pytest.approx(0.00123 + 8 * 0.0125, abs=2e-6)
    assert max(result.worst_pulse.current_ua) == pytest.approx(22_000, abs=500)
    assert max(result.worst_pulse.expected_ua) == 20_000


def test_slow_edges_and_swapped_leads(tmp_path: Path) -> None:
    samples = slowed(sampled(steady(20, LENGTH_S), LENGTH_S), 9)
    result = measured(tmp_path, samples + noise(len(samples), 0.05))
    assert result.verdict == "pass"
    # Straight edges of 9 samples: from 10 to 90 % takes 7.2 us.
    assert result.check("rise_time").measured == pytest.approx(7.2, abs=0.5)
    result = measured(tmp_path, -noisy(steady(20, LENGTH_S)))
    assert failed(result) == {"polarity"}


def test_an_overshoot_and_a_gap_are_seen(tmp_path: Path) -> None:
    spiky = [Pulse(p.at_s, ((25, 10), (20, 187.5), (-20, 200))) for p in steady(20, LENGTH_S)]
    result = measured(tmp_path, noisy(spiky))
    assert "overshoot" in failed(result)
    assert result.check("overshoot").measured == pytest.approx(25, abs=2)
    parted = [Pulse(p.at_s, ((20, 200), (0, 30), (-20, 200))) for p in steady(20, LENGTH_S)]
    result = measured(tmp_path, noisy(parted))
    assert failed(result) == {"interphase_gap.1", "pulses_outside"}
    assert result.check("interphase_gap.1").measured == pytest.approx(30, abs=0.5)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1000.0, "1000 times what was commanded: mV read as V"),
        (0.001, "1/1000 of what was commanded"),
        (0.1, "a probe factor of 10 left out"),
        (2.0, "said 500 ohm, this looks like 1000 ohm"),
    ],
)
def test_other_units_probes_and_loads_are_named(factor: float, words: str, tmp_path: Path) -> None:
    # 20 mA over 500 ohm are 10 V; the file holds whole millivolts.
    volts = noisy(steady(20, LENGTH_S)) / 2 * factor
    result = measured(tmp_path, volts, unit="mV", load_ohm=500)
    assert "amplitude.phase1" in failed(result)
    assert words in result.looks_like


def test_silence_fails_as_silence(tmp_path: Path) -> None:
    result = measured(tmp_path, noise(100_000, 0.1))
    assert failed(result) == {"pulses"}
    assert "nothing stands out of" in result.looks_like
    assert failed(measured(tmp_path, np.zeros(100_000))) == {"pulses"}


def test_the_pulses_of_another_profile_are_named(tmp_path: Path) -> None:
    # tens-low-rate holds pulses of 200 us at 2 Hz.
    pulses = steady(20, 3.0, rate_hz=2, start_s=0.1)
    samples = sampled(pulses, 3.0, 200_000) + noise(600_000, 0.1)
    result = measured(tmp_path, samples, rate_hz=200_000)
    assert {"profile", "pulse_rate"} <= failed(result)
    assert "pulses of 200 + 200 us at 2 Hz" in result.looks_like
    long_ones = steady(20, LENGTH_S, rate_hz=50, first_us=350, second_us=350)
    result = measured(tmp_path, noisy(long_ones))
    assert "profile" in failed(result)
    assert "pulses of 350 + 350 us at 50 Hz" in result.looks_like


def test_milliseconds_read_as_seconds_are_named(tmp_path: Path) -> None:
    # The file claims 1 kHz where 1 MHz was meant: everything is 1000 times as long.
    result = measured(tmp_path, noisy(steady(20, LENGTH_S)), rate_hz=1000)
    assert result.verdict == "fail"
    assert "time is 1000 times too long" in result.looks_like


def test_without_an_amplitude_nothing_passes(tmp_path: Path) -> None:
    result = measured(tmp_path, noisy(steady(20, LENGTH_S)), amplitude_ua=None)
    assert result.verdict == "inconclusive"
    assert result.check("amplitude.phase1").note == "not commanded: give --amplitude"
    assert result.check("net_charge").verdict == "pass"


def test_an_overdue_instrument_cannot_pass_but_can_fail(tmp_path: Path) -> None:
    overdue = Instrument("oscilloscope", "X", "1", date(2026, 5, 31), 1.5, 50.0)
    result = measured(tmp_path, noisy(steady(20, LENGTH_S)), instrument=overdue)
    assert result.verdict == "inconclusive"
    assert any("2026-05-31: nothing measured with it can pass" in t for t in result.unknowns)
    result = measured(tmp_path, noisy(steady(22, LENGTH_S)), instrument=overdue)
    assert result.verdict == "fail"
    # The day it is due still counts.
    due = Instrument("oscilloscope", "X", "1", TODAY, 1.5, 50.0)
    assert measured(tmp_path, noisy(steady(20, LENGTH_S)), instrument=due).verdict == "pass"


def test_without_an_instrument_it_is_told_or_required(tmp_path: Path) -> None:
    samples = noisy(steady(20, LENGTH_S))
    result = measured(tmp_path, samples, instrument=None)
    assert result.verdict == "pass"
    assert any("no instrument was named" in text for text in result.unknowns)
    settings = Settings(requires_instrument=True)
    required = measure(tmp_path / "capture.csv", expected_of("dpn-conventional", 20_000), settings)
    assert required.verdict == "inconclusive"


def test_coarse_readings_leave_the_balance_open(tmp_path: Path) -> None:
    # Steps of 0.8 mA with noise a fifth of that: at 20 mA about 25 readings, as of a low range.
    samples = noisy(steady(20, LENGTH_S), 0.16)
    result = measured(tmp_path, np.round(samples / 0.8) * 0.8)
    assert "net_charge" in open_checks(result)
    assert any("800 uA apart" in text for text in result.unknowns)


def test_readings_coarser_than_the_noise_are_no_imbalance(tmp_path: Path) -> None:
    # Readings 312.5 uA apart, as of 8 bits: 20.16 mA and 20.04 mA read as 20.3125 and 20 mA, and
    # silence as nothing but 0. The pulses are balanced.
    step_ua = 312.5
    samples = slowed(sampled(steady(20.1, LENGTH_S), LENGTH_S), 3) * 1000 + 60
    readings = np.round(samples / step_ua) * step_ua
    assert set(readings[:1000]) == {0.0}
    assert (readings.max(), readings.min()) == (20_312.5, -20_000)
    path = tmp_path / "coarse.csv"
    head = "# Sample rate: 1000000 Hz\nCH1 (uA)\n"
    path.write_text(head + "\n".join(map(str, readings.tolist())) + "\n")
    expected = expected_of("dpn-conventional", 20_000)
    result = measure(path, expected, Settings(ReadOptions(), instrument=SCOPE, today=TODAY))
    assert (result.verdict, failed(result)) == ("inconclusive", set())
    assert "net_charge" in open_checks(result)
    assert any("readings are 312 uA apart" in unknown for unknown in result.unknowns)
    # 312.5 uA / sqrt(12), doubled, is 180 uA, and 1.5 % of 20.2 mA is 302: 352 together.
    check = result.check("amplitude.phase1")
    assert check.uncertainty == pytest.approx(352, rel=0.02)


@pytest.mark.parametrize("deviation", [0.08, 0.2])
def test_steps_that_hardly_stand_out_of_the_noise_fail_nothing(
    deviation: float, tmp_path: Path
) -> None:
    # Premodulated interferential at 12 mA: in the weakest hold, 158 permille, a step of 309
    # permille is 0.5 mA. Six times the noise is as much, or more.
    result = measured(
        tmp_path,
        noisy(beating(12.0), deviation, 0.05),
        profile_id="interferential-premodulated",
        amplitude_ua=12_000,
    )
    assert (result.verdict, failed(result), result.looks_like) == ("inconclusive", set(), "")
    assert any("hardly stands out" in unknown for unknown in result.unknowns)


def test_a_wrong_amplitude_fails_where_weak_steps_hardly_stand_out(tmp_path: Path) -> None:
    result = measured(
        tmp_path,
        noisy(beating(10.8), 0.08, 0.05),
        profile_id="interferential-premodulated",
        amplitude_ua=12_000,
    )
    # The three middle steps of each half are at least 1.4 mA in every hold; 0.84 mA is clear.
    assert failed(result) == {f"amplitude.phase{number}" for number in (2, 3, 4, 7, 8, 9)}


def beating(ma: float) -> list[Pulse]:
    """Return 40 ms of stepped sines of 250 us whose amplitude swells and fades every 10 ms."""
    shares = (0.309, 0.809, 1.0, 0.809, 0.309)
    swell = (0.158, 0.46, 0.716, 0.902, 1.0, 1.0, 0.902, 0.716, 0.46, 0.158)
    return [
        Pulse(
            0.005 + n * 250e-6,
            tuple(
                (ma * swell[n // 4 % 10] * sign * share, 25) for sign in (1, -1) for share in shares
            ),
        )
        for n in range(160)
    ]


def test_the_page_has_every_tolerance() -> None:
    page = (Path(__file__).parents[2] / "MEASURING.md").read_text()
    lines = {line.split("|")[1].strip(): line for line in page.splitlines() if "|" in line}
    for name, row in PROJECT.items():
        line = lines[name]
        assert f"[{row.certainty.value}]" in line
        assert row.why in line
        for share in (row.relative, STANDARD[name].relative):
            assert not share or f"{share * 100:g} %" in line, name
        shown = row.absolute / 1000 if row.unit == "pC" else row.absolute
        assert not row.absolute or f"{shown:g} " in line, name


def stepped_profile(folder: Path, burst: str) -> Path:
    """Write a profile of sixteen steps of 25 us: a stepped sine of 2500 Hz, pulse upon pulse."""
    shipped = (Path(__file__).parents[2] / "profiles" / "tens-burst.toml").read_text()
    shares = [195, 556, 831, 1000, 1000, 831, 556, 195]
    phases = ", ".join(
        f"{{ duration_us = 25, amplitude_permille = {share} }}"
        for share in [*shares, *(-share for share in shares)]
    )
    begin, end = shipped.index("[stimulus]"), shipped.index("[[channels]]")
    stimulus = (
        f'[stimulus]\npulse_rate_hz = 2500\n{burst}\n[stimulus.pulse]\nwaveform = "custom"\n'
        f"phases = [ {phases} ]\n\n"
    )
    text = shipped[:begin] + stimulus + shipped[end:]
    if not burst:
        text = text.replace('mode = "burst"', 'mode = "conventional"')
    text = text.replace("[stimulus]", 'bench_only_reason = "a carrier"\n\n[stimulus]', 1)
    path = folder / "tens-stepped.toml"
    path.write_text(text.replace("amplitude_ceiling_ma = 60", "amplitude_ceiling_ma = 15"))
    return path


def test_direct_current_under_pulses_that_never_pause_does_not_pass(tmp_path: Path) -> None:
    """Every pulse is balanced, so what the mean of all samples shows is direct current."""
    profile = str(stepped_profile(tmp_path, ""))
    steps = [1.5, 4.4, 6.6, 8.0, 8.0, 6.6, 4.4, 1.5]
    phases = [(ma, 25.0) for ma in [*steps, *(-ma for ma in steps)]]
    samples = noisy([Pulse(n * 400e-6, phases) for n in range(450)], 0.02)[: 450 * 400]
    for offset_ma in (0.0, 2.0):
        result = measured(tmp_path, samples + offset_ma, profile_id=profile, amplitude_ua=8_000)
        assert ("offset" in open_checks(result)) is (offset_ma > 0)
        assert offset_ma == 0 or result.verdict != "pass"
    assert result.check("offset").measured == pytest.approx(2_000, abs=20)


@pytest.mark.parametrize("is_burst", [True, False])
def test_stepped_pulses_without_silence_between_them(is_burst: bool, tmp_path: Path) -> None:
    burst = "burst = { pulses_per_burst = 25, burst_rate_hz = 50 }" if is_burst else ""
    profile = str(stepped_profile(tmp_path, burst))
    # On a grid of 0.1 mA, 8 mA become 1.5, 4.4, 6.6 and 8 mA.
    steps = [1.5, 4.4, 6.6, 8.0, 8.0, 6.6, 4.4, 1.5]
    phases = [(ma, 25.0) for ma in [*steps, *(-ma for ma in steps)]]
    pulses = [
        Pulse(0.0107 + n * 400e-6, phases)
        for n in range(450)
        if not is_burst or (n * 400) % 20_000 < 10_000
    ]
    result = measured(tmp_path, noisy(pulses, 0.02), profile_id=profile, amplitude_ua=8_000)
    assert (failed(result), result.looks_like) == (set(), "")
    assert result.check("amplitude.phase1").measured == pytest.approx(1500, abs=30)
    assert result.check("amplitude.phase12").measured == pytest.approx(8000, abs=30)
    assert result.check("phase_duration.phase1").measured == pytest.approx(200, abs=1)
    if is_burst:
        assert result.check("pulses_per_burst").measured == 25
    wrong = [Pulse(pulse.at_s, [(ma * 1.06, us) for ma, us in phases]) for pulse in pulses]
    result = measured(tmp_path, noisy(wrong, 0.02), profile_id=profile, amplitude_ua=8_000)
    assert "amplitude.phase4" in failed(result)
    if is_burst:  # where silence begins each burst, swapped leads are told as such
        swapped = [Pulse(pulse.at_s, [(-ma, us) for ma, us in phases]) for pulse in pulses]
        result = measured(tmp_path, noisy(swapped, 0.02), profile_id=profile, amplitude_ua=8_000)
        assert failed(result) == {"polarity"}
