"""Our own trace and VCD: exact times and currents, whole programmes, damage told by its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estim.errors import UsageError
from estim.rig.captures.capture import ReadOptions, open_capture
from estim.rig.measuring.measurement import Result, Settings, measure
from tests.rig.generator import Pulse, biphasic, noise, sampled, steady, write_trace, write_vcd
from tests.rig.test_measurement import expected_of, failed, open_checks

READ = ReadOptions()


def of_trace(folder: Path, pulses: list[Pulse], profile_id: str, amplitude_ua: int) -> Result:
    path = write_trace(folder / "trace.csv", pulses)
    return measure(path, expected_of(profile_id, amplitude_ua), Settings(READ))


def contractions(
    ma: float = 40, up_s: float = 3, on_s: float = 15, down_s: float = 3, count: int = 2
) -> list[Pulse]:
    """Return NMES: 50 Hz, 2 x 250 us, every 66 s, in steps of 0.1 mA."""
    pulses = []
    for start_s in (66.0 * n for n in range(count)):
        length_s = up_s + on_s + down_s
        for n in range(int(length_s * 50)):
            since_s = n / 50
            left_s = length_s - since_s
            share = min(1.0, since_s / up_s if up_s else 1, left_s / down_s if down_s else 1)
            level = int(ma * share * 10 + 1e-9) / 10
            if level:
                pulses.append(biphasic(start_s + since_s, level, 250, 250))
    return pulses


def dense_disperse(cycles: int, stretch: float = 1.0, long_us: float = 600) -> list[Pulse]:
    """Return 3 s of 2 Hz and long phases, then 3 s of 100 Hz and 200 us."""
    pulses = []
    at_us = 0
    while at_us < cycles * 6e6 * stretch:
        is_slow = (at_us / stretch) % 6e6 < 3e6
        length_us = long_us if is_slow else 200
        pulses.append(biphasic(at_us * 1e-6, 10, length_us, length_us))
        at_us += round((500_000 if is_slow else 10_000) * stretch)
    return pulses


def ended(pulses: list[Pulse], at_s: float) -> list[Pulse]:
    """Return pulses that ramp down to nothing in the two seconds from `at_s`."""
    left = []
    for pulse in pulses:
        share = min(1.0, (at_s + 2 - pulse.at_s) / 2)
        ma, length_us = pulse.phases[0]
        level = int(ma * share * 10 + 1e-9) / 10
        if level > 0:
            left.append(biphasic(pulse.at_s, level, length_us, length_us))
    return left


def bursts(count: int, size: int = 10) -> list[Pulse]:
    """Return bursts of 100 Hz twice a second."""
    return [biphasic(0.1 + b / 2 + n / 100, 20) for b in range(count) for n in range(size)]


def test_a_trace_is_exact(tmp_path: Path) -> None:
    result = of_trace(tmp_path, steady(20, 5), "dpn-conventional", 20_000)
    assert result.verdict == "pass"
    assert result.check("phase_duration.phase1").measured == 200
    assert result.check("net_charge").measured == 0
    imbalanced = steady(20, 5, first_us=201)
    assert failed(of_trace(tmp_path, imbalanced, "dpn-conventional", 20_000)) == {
        "net_charge",
        "pulses_outside",
    }


def test_a_trace_has_channels(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "trace.csv", steady(20, 1), channel=2)
    with pytest.raises(UsageError, match="no rows of channel 1; there are: 2"):
        measure(path, expected_of("dpn-conventional", 20_000), Settings(READ))


def test_the_contractions_of_a_cycle_are_timed(tmp_path: Path) -> None:
    result = of_trace(tmp_path, contractions(), "nmes-quadriceps", 40_000)
    assert result.verdict == "pass"
    for name, wanted_s in (("ramp.up", 3), ("on_time", 15), ("ramp.down", 3), ("off_time", 45)):
        assert result.check(name).measured == pytest.approx(wanted_s, abs=0.06)
    shorter = of_trace(tmp_path, contractions(up_s=2, on_s=16), "nmes-quadriceps", 40_000)
    assert failed(shorter) == {"ramp.up", "on_time"}
    at_once = of_trace(tmp_path, contractions(up_s=0, on_s=18), "nmes-quadriceps", 40_000)
    assert "ramp.up" in failed(at_once)
    assert at_once.check("ramp.up").measured == pytest.approx(0, abs=0.03)


def test_a_single_contraction_is_timed_and_does_not_pass_with_another_form(tmp_path: Path) -> None:
    def single(up_s: float = 3, on_s: float = 15) -> Result:
        # The silence before and after it is captured.
        pulses = [Pulse(p.at_s + 2, p.phases) for p in contractions(40, up_s, on_s, count=1)]
        path = write_vcd(tmp_path / "capture.vcd", pulses, end_s=30)
        return measure(path, expected_of("nmes-quadriceps", 40_000), Settings(READ))

    result = single()
    assert result.verdict == "pass"
    for name, wanted_s in (("ramp.up", 3), ("on_time", 15), ("ramp.down", 3)):
        assert result.check(name).measured == pytest.approx(wanted_s, abs=0.06)
    # Whoever raises the amplitude makes a plateau shorter: neither a pass nor a fail.
    for name, result in (("on_time", single(on_s=10)), ("ramp.up", single(up_s=0.5))):
        assert (result.verdict, open_checks(result)) == ("inconclusive", {name})
        assert "may still be rising" in result.check(name).note


def test_output_that_ends_within_a_contraction_says_nothing_of_the_others(tmp_path: Path) -> None:
    # The third one has 10 s of its 21 and ramps down in 2.
    pulses = ended(contractions(count=3), 132 + 10)
    result = of_trace(tmp_path, pulses, "nmes-quadriceps", 40_000)
    assert (result.verdict, failed(result)) == ("pass", set())
    assert "the last on-phase is short, as if output was ended; not judged" in result.notes
    slow = ended(contractions(count=3, down_s=2, on_s=16), 132 + 10)
    assert failed(of_trace(tmp_path, slow, "nmes-quadriceps", 40_000)) == {"ramp.down", "on_time"}


def test_a_ramp_down_is_told_where_its_last_pulses_are_far_apart(tmp_path: Path) -> None:
    # From 17.05 s on, at 100 Hz; the last two pulses come after 18 s, at 2 Hz.
    pulses = ended(dense_disperse(4), 17.05)
    result = of_trace(tmp_path, pulses, "tens-dense-disperse", 10_000)
    assert (result.verdict, failed(result)) == ("pass", set())
    assert any("ramps down in the last 1." in note for note in result.notes)


@pytest.mark.long
def test_a_rise_is_told_from_a_beat(tmp_path: Path) -> None:
    # Up to 7 mA, the last of it at 2 mA/s, 1.2 s there, and down; all of it rounded down to
    # 0.1 mA, so that at first the weak holds, 158 permille, are no current at all.
    swell = (158, 460, 716, 902, 1000, 1000, 902, 716, 460, 158)
    shares = (309, 809, 1000, 809, 309)
    pulses = []
    for n in range(8400):
        at_s = n * 250e-6
        setpoint = int(np.interp(at_s, (0, 0.2, 0.6, 1.8, 1.9, 2.1), (0, 62, 70, 70, 68, 0)) + 1e-9)
        level = setpoint * swell[n // 4 % 10] // 1000
        steps = [level * share // 1000 / 10 for share in shares]
        pulses.append(Pulse(at_s, [(ma, 25) for ma in (*steps, *(-ma for ma in steps))]))
    result = of_trace(tmp_path, pulses, "interferential-premodulated", 7_000)
    assert (result.verdict, failed(result)) == ("pass", set())
    assert any("the amplitude rises for 0." in note for note in result.notes)


def test_what_sags_at_the_end_of_a_contraction_is_no_ramp(tmp_path: Path) -> None:
    whole = contractions()
    # The last second of either plateau, 2 mA of 40 too low, before the ramp.
    sagged = [
        biphasic(p.at_s, 36, 250, 250) if 17 < p.at_s % 66 < 18 else p for p in whole
    ]  # fmt: skip
    assert "pulses_outside" in failed(of_trace(tmp_path, sagged, "nmes-quadriceps", 40_000))
    # Two seconds that fall from the middle of the plateau on, and rise again.
    dipped = [
        biphasic(p.at_s, 40 - 10 * (1 - abs(p.at_s % 66 - 10)), 250, 250)
        if 9 < p.at_s % 66 < 11 else p for p in whole
    ]  # fmt: skip
    assert "pulses_outside" in failed(of_trace(tmp_path, dipped, "nmes-quadriceps", 40_000))
    # A plateau that falls for five seconds is no ramp of three.
    slow = contractions(down_s=8, on_s=10)
    result = of_trace(tmp_path, slow, "nmes-quadriceps", 40_000)
    assert {"ramp.down", "on_time"} <= failed(result)


def test_a_capture_may_begin_anywhere_in_the_cycle(tmp_path: Path) -> None:
    for start_s in (1.5, 10.0, 19.5, 40.0):
        later = [Pulse(p.at_s - start_s, p.phases) for p in contractions() if p.at_s >= start_s]
        result = of_trace(tmp_path, later, "nmes-quadriceps", 40_000)
        assert failed(result) == set(), start_s
    only_plateau = [p for p in contractions() if 5 < p.at_s < 15]
    result = of_trace(tmp_path, only_plateau, "nmes-quadriceps", 40_000)
    assert result.verdict == "pass"
    assert any("only a plateau is captured" in text for text in result.unknowns)
    assert any("does not show whole: ramp up, on time" in text for text in result.unknowns)


def test_a_modulation_is_followed_from_anywhere_and_its_faults_are_seen(tmp_path: Path) -> None:
    for start_s in (0.0, 1.5, 4.4):
        pulses = [Pulse(p.at_s - start_s, p.phases) for p in dense_disperse(5) if p.at_s >= start_s]
        result = of_trace(tmp_path, pulses, "tens-dense-disperse", 10_000)
        assert result.verdict == "pass", (start_s, failed(result))
        assert any(f"begins {start_s:.1f}" in note for note in result.notes) or start_s == 0
    # A clock that is half a percent slow is within tolerance, even over many cycles.
    slow = of_trace(tmp_path, dense_disperse(10, 1.005), "tens-dense-disperse", 10_000)
    assert slow.verdict == "pass"
    assert slow.check("modulation_cycle").measured == pytest.approx(6.03, abs=0.05)
    # The long phases are not what they should be: every one of them is found.
    wrong = of_trace(tmp_path, dense_disperse(5, 1.0, 400), "tens-dense-disperse", 10_000)
    assert "pulses_outside" in failed(wrong)


def test_bursts_are_counted(tmp_path: Path) -> None:
    result = of_trace(tmp_path, bursts(8), "tens-burst", 20_000)
    assert result.verdict == "pass"
    assert result.check("pulses_per_burst").measured == 10
    assert result.check("burst_rate").measured == pytest.approx(2)
    nine = of_trace(tmp_path, bursts(8, 9), "tens-burst", 20_000)
    assert "pulses_per_burst" in failed(nine)
    holed = bursts(8)
    lacking = of_trace(tmp_path, holed[:34] + holed[35:], "tens-burst", 20_000)
    assert {"pulses_per_burst", "missing_pulses"} <= failed(lacking)
    # The fourth burst begins at 1.6 s; its fifth pulse 40 ms later.
    assert lacking.check("pulses_per_burst").worst_at_s == pytest.approx(1.6, abs=1e-3)
    whole = of_trace(tmp_path, holed[:30] + holed[40:], "tens-burst", 20_000)
    assert failed(whole) - {"rms", "average"} == {"missing_pulses"}
    assert whole.check("missing_pulses").measured == 10


def test_a_rise_before_and_a_ramp_down_after_are_not_judged(tmp_path: Path) -> None:
    def risen(end_s: float) -> list[Pulse]:
        pulses = []
        for pulse in steady(1, end_s):
            level = min(20.0, int(pulse.at_s * 2 * 10) / 10)  # 2 mA/s in steps of 0.1 mA
            if pulse.at_s > 20:
                level = int(20 * (1 - (pulse.at_s - 20) / 2) * 10) / 10
            if level > 0:
                pulses.append(biphasic(pulse.at_s, level))
        return pulses

    result = of_trace(tmp_path, risen(22), "dpn-conventional", 20_000)
    assert result.verdict == "pass"
    assert any("the amplitude rises for 9." in note for note in result.notes)
    assert any("ramps down in the last 1." in note for note in result.notes)
    rising = of_trace(tmp_path, risen(7), "dpn-conventional", 20_000)
    assert rising.verdict == "inconclusive"
    assert {"amplitude.phase1", "charge.phase1", "rms"} <= open_checks(rising)
    assert any("still rising at 13" in text for text in rising.unknowns)
    # What falls by itself in the middle is no ramp down.
    sagged = [biphasic(p.at_s, 20 if p.at_s < 3 else 18) for p in steady(1, 5)]
    assert "pulses_outside" in failed(of_trace(tmp_path, sagged, "dpn-conventional", 20_000))


def test_a_vcd_of_changes_is_exact(tmp_path: Path) -> None:
    expected = expected_of("dpn-conventional", 20_000)
    path = write_vcd(tmp_path / "bench.vcd", steady(20, 2), 2.0)
    result = measure(path, expected, Settings(READ))
    assert (result.verdict, result.capture.format) == ("pass", "VCD")
    assert result.check("phase_duration.phase1").measured == 200
    path = write_vcd(tmp_path / "bench.vcd", steady(21, 2), 2.0)
    assert "amplitude.phase1" in failed(measure(path, expected, Settings(READ)))


def test_a_vcd_of_noisy_samples_is_read_as_samples(tmp_path: Path) -> None:
    samples = sampled(steady(20, 0.2), 0.2) + noise(200_000, 0.1)
    head = "$timescale 1 us $end $var real 64 a out_ma $end $enddefinitions $end\n"
    body = "".join(f"#{n}\nr{ma:.4f} a\n" for n, ma in enumerate(samples.tolist()))
    path = tmp_path / "noisy.vcd"
    path.write_text(head + body)
    result = measure(path, expected_of("dpn-conventional", 20_000), Settings(READ))
    assert result.verdict == "pass"
    assert result.capture.sample_rate_hz == pytest.approx(1e6)


def of_vcd_samples(folder: Path, levels_ma: np.ndarray, *, all_of_them: bool = False) -> Result:
    """Measure samples, one every us, that were stored as changes."""
    lines = ["$timescale 1 us $end $var real 64 a out_ma $end $enddefinitions $end"]
    moved = np.append(True, np.diff(levels_ma) != 0) | all_of_them
    lines += [f"#{n}\nr{levels_ma[n]:g} a" for n in np.flatnonzero(moved).tolist()]
    path = folder / "samples.vcd"
    path.write_text("\n".join([*lines, f"#{len(levels_ma)}"]) + "\n")
    return measure(path, expected_of("dpn-conventional", 20_000), Settings(READ))


@pytest.mark.parametrize(("deviation", "step"), [(0.04, 0.2), (0.06, 0.2), (0.2, 0.2), (0.2, 1.0)])
def test_a_vcd_whose_samples_flicker_by_a_step_is_read_as_samples(
    deviation: float, step: float, tmp_path: Path
) -> None:
    samples = sampled(steady(20, 0.2), 0.2) + noise(200_000, deviation, seed=3)
    result = of_vcd_samples(tmp_path, np.round(samples / step) * step)
    assert result.capture.sample_rate_hz == pytest.approx(1e6)
    assert not failed(result)
    # What a step hides of the balance is told.
    assert open_checks(result) <= {"net_charge", "amplitude.phase1", "amplitude.phase2"}


def test_a_vcd_that_repeats_its_samples_is_read_as_samples(tmp_path: Path) -> None:
    result = of_vcd_samples(tmp_path, sampled(steady(20, 0.2), 0.2), all_of_them=True)
    assert result.verdict == "pass"
    assert result.capture.sample_rate_hz == pytest.approx(1e6)


def test_a_rare_flicker_between_exact_pulses_is_no_part_of_them(tmp_path: Path) -> None:
    levels = sampled(steady(20, 0.5), 0.5)
    for begin in np.flatnonzero(np.diff(levels) > 15)[::10].tolist():
        levels[begin - 7] = levels[begin + 420] = 0.2
    result = of_vcd_samples(tmp_path, levels)
    assert (result.verdict, result.capture.sample_rate_hz) == ("pass", None)
    # Higher than a tenth of a pulse it is no flicker.
    levels[levels == 0.2] = 3.0
    assert "odd_pulses" in failed(of_vcd_samples(tmp_path, levels))


@pytest.mark.parametrize("ma", [1.0, 2.0, 5.0])
def test_an_exact_stepped_sine_is_not_taken_for_samples(ma: float, tmp_path: Path) -> None:
    # 16 steps of 25 us: the sine in the middle of each, in whole steps of 0.1 mA.
    sine = np.sin((np.arange(16) + 0.5) * np.pi / 8)
    heights = np.sign(sine) * np.floor(np.abs(sine) / np.abs(sine).max() * ma * 10 + 1e-9) / 10
    pulses = [
        Pulse(burst / 50 + n * 4e-4, [(float(h), 25.0) for h in heights])
        for burst in range(10)
        for n in range(25)
    ]
    path = write_vcd(tmp_path / "sine.vcd", pulses, 0.2)
    assert not open_capture(path, READ).is_sampled


VCD_HEAD = "$timescale 1 us $end\n$var real 64 ! ch1_ma $end\n$enddefinitions $end\n"
VCD_DAMAGES = {
    "no end of the header": (
        "$timescale 1 us $end\n$var real 64 ! x $end\n", "expected $enddefinitions"
    ),
    "no timescale": ("$var real 64 ! x_ma $end\n$enddefinitions $end\n#0\n", "no $timescale"),
    "a timescale of another kind": (
        "$comment x $end\n$timescale 3 weeks $end\n$enddefinitions $end\n",
        ":2: $timescale '3 weeks'",
    ),
    "a variable cut short": (
        "$timescale 1 us $end\n$var real $end\n$enddefinitions $end\n",
        ":2: $var 'real'; expected kind",
    ),
    "a wire": (
        "$timescale 1 us $end\n$var wire 1 ! q $end\n$enddefinitions $end\n", "no real variable"
    ),
    "no unit": (VCD_HEAD.replace("ch1_ma", "out"), "say it with --unit"),
    "two variables": (
        "$timescale 1 us $end $var real 64 ! a_ma $end $var real 64 % other_ma $end "
        "$enddefinitions $end\n",
        "choose with --column: a_ma, other_ma",
    ),
    "a value that is none": (VCD_HEAD + "#0\nr0 !\n#5\nrx5 !\n", ":7: 'rx5'; expected a time"),
    "a time that is none": (VCD_HEAD + "#0\nr0 !\n#five\n", ":6: '#five'; expected a time"),
    "time going back": (VCD_HEAD + "#9\nr0 !\n#5\nr1 !\n", ":6: '#5'; expected a time from 9 on"),
    "prose": (VCD_HEAD + "#0\nr0 !\nhello\n", ":6: 'hello'; expected a time"),
}  # fmt: skip


@pytest.mark.parametrize("name", VCD_DAMAGES)
def test_a_damaged_vcd_is_told_with_file_line_and_what_was_expected(
    name: str, tmp_path: Path
) -> None:
    text, words = VCD_DAMAGES[name]
    path = tmp_path / "damaged.vcd"
    path.write_text(text)
    with pytest.raises(UsageError) as failure:
        measure(path, expected_of("dpn-conventional", 20_000), Settings(READ))
    assert words in str(failure.value)
    assert str(failure.value).startswith(str(path))


def test_whole_numbers_have_a_sign_where_they_are_integers(tmp_path: Path) -> None:
    path = tmp_path / "whole.vcd"
    path.write_text(
        "$timescale 1 us $end $var integer 16 ! load_ua $end $enddefinitions $end\n"
        "#0 b0 !\n#10 b100111000100000 !\n#210 b1011000111100000 !\n#410 b0 !\n#500\n"
    )
    (steps,) = open_capture(path, READ).steps()
    # 100111000100000 is 20 000; 1011000111100000 is 45536 - 65536 = -20 000.
    assert steps.current_ua.tolist() == [20_000, -20_000]
    assert (steps.end_us - steps.start_us).tolist() == [200, 200]


TRACE_DAMAGES = {
    "a word": ("10,1,x,200\n", ":2: '10,1,x,200'; expected t_us, channel"),
    "a column too few": ("10,1,20000,200\n500,1,200\n", ":3: '500,1,200'; expected t_us"),
    "no duration": ("10,1,20000,0\n", ":2: '10,1,20000,0'; expected t_us"),
    "channel 0": ("10,0,20000,200\n", ":2: '10,0,20000,200'; expected t_us"),
    "time going back": ("500,1,20000,200\n10,1,20000,200\n", "goes backwards before line 4"),
}


@pytest.mark.parametrize("name", TRACE_DAMAGES)
def test_a_damaged_trace_is_told_with_file_line_and_what_was_expected(
    name: str, tmp_path: Path
) -> None:
    rows, words = TRACE_DAMAGES[name]
    path = tmp_path / "damaged.csv"
    path.write_text("t_us,channel,current_ua,duration_us\n" + rows)
    with pytest.raises(UsageError) as failure:
        measure(path, expected_of("dpn-conventional", 20_000), Settings(READ))
    assert words in str(failure.value)


WORDS = st.sampled_from(
    ["#0", "#5", "#1e3", "r1 !", "r-2.5 !", "rnan !", "b101 !", "bx !", "0!", "$dumpvars", "$end",
     "x", "$comment a $end", "$timescale 1 us $end", "$var real 64 ! a_ma $end", "\x00",
     "$enddefinitions $end", "t_us,channel,current_ua,duration_us", "10,1,20000,200",
     "220,1,-20000,200", "-5,1,3,4"]
)  # fmt: skip


@settings(max_examples=80)
@given(st.sampled_from([VCD_HEAD, "t_us,channel,current_ua,duration_us\n", "$date x $end\n"]),
       st.lists(WORDS, max_size=12))  # fmt: skip
def test_whatever_follows_a_header_there_is_a_result_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, head: str, words: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.vcd"
    path.write_text(head + "\n".join(words))
    message = ""
    try:
        result = measure(path, EXPECTED, Settings(READ))
        assert result.verdict in ("pass", "fail", "inconclusive")
        assert all(np.isfinite(c.measured) for c in result.checks if c.measured is not None)
    except UsageError as error:
        message = str(error)
    assert message.isprintable()


EXPECTED = expected_of("dpn-conventional", 20_000)


@pytest.mark.parametrize(
    ("at_s", "words"),
    [
        # Bursts begin every 0.5 s from 0.1 s on and last 0.09 s.
        ([1.4], "1 pulse between bursts, the first at 1.400000 s"),
        ([1.35], "1 pulse between bursts, the first at 1.350000 s"),
        ([1.22], "1 pulse between bursts, the first at 1.220000 s"),
        ([1.57], "1 pulse between bursts, the first at 1.570000 s"),
        ([0.05], "1 pulse between bursts, the first at 0.050000 s"),
        ([3.9], "1 pulse between bursts, the first at 3.900000 s"),
        ([1.35, 1.36], "2 pulses between bursts, the first at 1.350000 s"),
        ([0.35 + n / 2 for n in range(7)], "7 pulses between bursts, the first at 0.350000 s"),
    ],
)
def test_a_lone_pulse_between_bursts_is_extra_and_no_burst(
    at_s: list[float], words: str, tmp_path: Path
) -> None:
    pulses = sorted([*bursts(8), *(biphasic(s, 20) for s in at_s)], key=lambda p: p.at_s)
    result = of_trace(tmp_path, pulses, "tens-burst", 20_000)
    assert failed(result) - {"average", "rms"} == {"extra_pulses"}
    check = result.check("extra_pulses")
    assert (check.measured, check.note) == (len(at_s), words)
    assert check.worst_at_s == pytest.approx(at_s[0], abs=1e-6)


def test_what_only_resembles_a_lone_pulse_stays_what_it_is(tmp_path: Path) -> None:
    whole = bursts(8)
    cut = [pulse for pulse in whole if not 1.105 < pulse.at_s < 1.3]
    result = of_trace(tmp_path, cut, "tens-burst", 20_000)
    assert failed(result) - {"average", "rms"} == {"pulses_per_burst"}
    assert result.check("pulses_per_burst").measured == 1
    eleven = of_trace(tmp_path, bursts(8, 11), "tens-burst", 20_000)
    assert "pulses_per_burst" in failed(eleven)
    assert eleven.check("extra_pulses").measured == 0
