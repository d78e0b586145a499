"""A pulse that the edge of a capture cuts is told as such, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from estim.rig.captures.capture import ReadOptions
from estim.rig.measuring.measurement import Result, Settings, measure
from tests.rig.generator import Pulse, noise, sampled, steady, write_vcd
from tests.rig.test_measurement import expected_of, failed, measured, open_checks

WHOLE_S = 0.2


def window(begin_s: float, end_s: float) -> np.ndarray:
    """Return what an instrument shows of a train whose pulses begin at 1.23 ms + n x 12.5 ms."""
    whole = sampled(steady(20, WHOLE_S), WHOLE_S) + noise(round(WHOLE_S * 1e6), 0.05)
    return whole[round(begin_s * 1e6) : round(end_s * 1e6)]


@pytest.mark.parametrize(
    ("begin_s", "end_s", "words"),
    [
        (0.00133, 0.012, "cut by the capture's beginning"),
        (0.0, 0.00133, "cut by the capture's end"),
        # Past the first phase: one whole lobe, then the end, in the middle of the second.
        (0.0, 0.00150, "cut by the capture's end"),
        (0.00133, 0.0138, "two pulses"),
    ],
)
def test_half_a_pulse_alone_is_told_as_a_cut_one(
    begin_s: float, end_s: float, words: str, tmp_path: Path
) -> None:
    result = measured(tmp_path, window(begin_s, end_s))
    assert result.verdict == "inconclusive"
    assert open_checks(result) == {"pulses"}
    assert "no whole pulse" in result.check("pulses").note
    assert words in result.check("pulses").note.replace(
        "cut by the capture's beginning and another by its end", "two pulses"
    )


def test_whole_pulses_beside_a_cut_one_are_judged_and_it_is_told(tmp_path: Path) -> None:
    result = measured(tmp_path, window(0.00133, 0.19))
    assert result.verdict == "pass"
    assert result.pulse_count == 15
    assert any("cut by the capture's beginning" in note for note in result.notes)
    assert not any("cut by" in note for note in measured(tmp_path, window(0.01, 0.19)).notes)


@pytest.mark.parametrize("ma", [20, -20, 3])
def test_current_that_goes_on_to_the_end_is_no_cut_pulse(ma: float, tmp_path: Path) -> None:
    # 0.8 ms, where a pulse lasts 0.4 ms.
    samples = window(0, WHOLE_S)
    samples[199_200:] = ma
    result = measured(tmp_path, samples)
    assert "odd_pulses" in failed(result)
    assert result.check("odd_pulses").worst_at_s == pytest.approx(0.1992, abs=1e-5)
    samples = window(0.01, WHOLE_S)
    samples[:800] = ma
    assert "odd_pulses" in failed(measured(tmp_path, samples))
    # So long that it might be an offset.
    samples = window(0, WHOLE_S)
    samples[150_000:] = ma
    assert measured(tmp_path, samples).verdict != "pass"


def of_vcd(folder: Path, pulses: list[Pulse], end_s: float) -> Result:
    path = write_vcd(folder / "bench.vcd", pulses, end_s)
    # What is said of zero belongs to the time of the first pulse.
    return measure(path, expected_of("dpn-conventional", 20_000), Settings(ReadOptions()))


def test_a_vcd_that_begins_or_ends_within_a_pulse_is_judged_without_it(tmp_path: Path) -> None:
    halves = [Pulse(0.0, ((20, 60), (-20, 200))), *steady(20, 1, start_s=0.0125)]
    result = of_vcd(tmp_path, halves, 1.0)
    assert (result.verdict, failed(result)) == ("pass", set())
    path = write_vcd(tmp_path / "bench.vcd", steady(20, 1), 1.0)
    lines = path.read_text().splitlines()
    last = max(n for n, line in enumerate(lines) if line == "r20 !")
    path.write_text("\n".join([*lines[: last + 1], f"#{int(lines[last - 1][1:]) + 90}"]) + "\n")
    result = measure(path, expected_of("dpn-conventional", 20_000), Settings(ReadOptions()))
    assert (result.verdict, failed(result)) == ("pass", set())
    stuck = "\n".join([*lines[: last + 1], "#1500000"]) + "\n"
    path.write_text(stuck)
    result = measure(path, expected_of("dpn-conventional", 20_000), Settings(ReadOptions()))
    assert "odd_pulses" in failed(result)
