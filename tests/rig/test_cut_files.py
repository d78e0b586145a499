"""A capture file that was cut never passes silently; a whole one is never taken for a cut one."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim.errors import UsageError
from estim.rig.captures.capture import ReadOptions, open_capture
from estim.rig.measuring.measurement import Result, Settings, measure
from tests.rig.generator import noise, sampled, steady, write_trace
from tests.rig.test_measurement import SCOPE, TODAY, expected_of, open_checks

COUNT = 200_000
HEADS = {
    "tektronix": f"Sample Interval,1e-06\nRecord Length,{COUNT}\nVertical Units,A\nTIME,CH1 (uA)\n",
    "siglent": f"Record Length,Analog:{COUNT}\nSecond,CH1 (uA)\n",
    "digilent": f"#Digilent WaveForms\n#Samples: {COUNT}\n\nTime (s),CH1 (uA)\n",
    "lecroy": f"LECROY,1,Waveform\nSegments,1,SegmentSize,{COUNT}\nTime,CH1 (uA)\n",
    "keysight": f"Type: raw\nPoints: {COUNT}\nTime (s),CH1 (uA)\n",
    "rounded": "Record Length,Analog:200kpts\nSecond,CH1 (uA)\n",
}


def written(folder: Path, head: str, kept: int) -> Path:
    samples = sampled(steady(20, 0.2), 0.2) + noise(COUNT, 0.05)
    lines = [f"{n * 1e-6:.6f},{1000 * ma:.0f}" for n, ma in enumerate(samples[:kept].tolist())]
    path = folder / "capture.csv"
    path.write_text(head + "\n".join(lines) + "\n")
    return path


def result_of(path: Path) -> Result:
    settings = Settings(ReadOptions(), instrument=SCOPE, today=TODAY)
    return measure(path, expected_of("dpn-conventional", 20_000), settings)


@pytest.mark.parametrize("head", HEADS)
def test_fewer_samples_than_the_header_states_do_not_pass(head: str, tmp_path: Path) -> None:
    if head in ("tektronix", "rounded"):
        assert result_of(written(tmp_path, HEADS[head], COUNT)).verdict == "pass"
    # Cut at the end of a line, in the silence after a whole pulse.
    kept = 150_000 if head != "rounded" else 199_000
    result = result_of(written(tmp_path, HEADS[head], kept))
    assert result.verdict == "inconclusive"
    assert open_checks(result) == {"samples"}
    check = result.check("samples")
    assert (check.expected, check.measured) == (200_000 if head != "rounded" else 199_500, kept)
    assert "cut short" in check.note


def test_a_file_without_a_stated_length_or_with_more_than_it_passes(tmp_path: Path) -> None:
    assert result_of(written(tmp_path, "Time (s),CH1 (uA)\n", 150_000)).verdict == "pass"
    head = HEADS["tektronix"].replace(str(COUNT), "1000")
    assert result_of(written(tmp_path, head, 150_000)).verdict == "pass"


HEAD = "time,CH1 (mA),CH2 (mA)\n"
ROWS = "".join(f"{n * 1e-6:.6f},{-n % 7 - 10:.3f},{n % 5:.3f}\n" for n in range(60))
CUT = {
    "a cell is missing": HEAD + ROWS + "0.000060,-10.000",
    "decimals are missing": HEAD + ROWS + "0.000060,-10.000,1.0",
    "all decimals are missing": HEAD + ROWS + "0.000060,-10.000,1",
    "the exponent is missing": "time,CH1 (mA)\n"
    + "".join(f"{n * 1e-6:.3e},{n % 5:.3e}\n" for n in range(60)) + "6.000e-05,1.000",
    "half the exponent is missing": "time,CH1 (mA)\n"
    + "".join(f"{n * 1e-6:.3e},{n % 5:.3e}\n" for n in range(60)) + "6.000e-05,1.000e-0",
    "the last comma is missing": "time,CH1 (mA)\n"
    + "".join(f"{n * 1e-6:.6f},{n % 5:.3f},\n" for n in range(60)) + "0.000060,1.000",
}  # fmt: skip
WHOLE = {
    "no newline": (HEAD + ROWS).rstrip("\n"),
    "numbers as short as can be": "time,CH1 (mA)\n"
    + "".join(f"{n * 1e-6:.6f},{n % 7 / 4:g}\n" for n in range(60)) + "0.000060,1",
    "whole numbers": "time,CH1 (mA)\n"
    + "".join(f"{n * 1e-6:.6f},{1000 + n}\n" for n in range(60)) + "0.000060,7",
    "carriage returns": (HEAD + ROWS).replace("\n", "\r\n").rstrip("\n").rstrip("\r"),
    "one column": "# Sample rate: 1 MHz\nCH1 (mA)\n"
    + "".join(f"{n % 7 / 4:g}\n" for n in range(60)) + "1",
    "few lines": "time,CH1 (mA)\n0.000000,1.5\n0.000001,1.5\n0.000002,1",
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_a_last_line_that_was_cut_is_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / "capture.csv"
    path.write_text(CUT[name])
    capture = open_capture(path, ReadOptions())
    with pytest.raises(UsageError) as failure:
        list(capture.chunks())
    assert f"{path}:62: " in str(failure.value)
    assert "cut short" in str(failure.value)


@pytest.mark.parametrize("name", WHOLE)
def test_a_last_line_without_its_newline_is_as_good_as_any(name: str, tmp_path: Path) -> None:
    path = tmp_path / "capture.csv"
    path.write_bytes(WHOLE[name].encode())
    assert sum(map(len, open_capture(path, ReadOptions()).chunks())) >= 3


def test_a_trace_and_a_vcd_that_end_in_the_middle_are_told(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "trace.csv", steady(20, 2))
    # The simulator ends every row: "...,-20000,20" of "...,-20000,200".
    path.write_text(path.read_text()[:-2])
    with pytest.raises(UsageError, match=r"trace.csv:\d+: .*cut short"):
        list(open_capture(path, ReadOptions()).steps())
    path = tmp_path / "cut.vcd"
    head = "$timescale 1 us $end $var real 64 ! x_ma $end $enddefinitions $end\n"
    path.write_text(head + "#0 r0 !\n#5 r20 !\n#205 r-2")
    with pytest.raises(UsageError, match=r"cut.vcd:4: .*cut short"):
        list(open_capture(path, ReadOptions()).steps())
