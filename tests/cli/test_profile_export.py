"""`estim profiles export`: files for other programs, and what it refuses to write."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.commands import Shell

ID = "dpn-conventional"


@pytest.mark.skipif(shutil.which("sigrok-cli") is None, reason="sigrok-cli is not installed")
@pytest.mark.parametrize("load", [(), ("--load", "500")])
def test_sigrok_reads_the_export_with_the_command_that_is_told(
    estim: Shell, tmp_path: Path, load: tuple[str, ...]
) -> None:
    """0.05 s at 80 Hz: 4 pulses, each 200 samples of 12 mA and 200 of -12 mA, 6 V over 500 ohm."""
    path = tmp_path / "a file.csv"
    answer = estim(
        "profiles", "export", ID, "--sigrok", path, "--duration", "0.05", "--amplitude", "2=12",
        *load,
    )  # fmt: skip
    assert (answer.code, answer.out) == (0, "")
    told = answer.err.splitlines()[-1].removeprefix("estim: read it with: ")
    read = subprocess.run(shlex.split(told), capture_output=True, text=True, timeout=60, check=True)
    lines = Counter(read.stdout.splitlines())
    assert lines["META samplerate: 1000000"] == 1
    assert lines["channel_2_current_ma: 12.000 "] == 800
    assert lines["channel_2_current_ma: -12.000 "] == 800
    assert lines["channel_2_current_ma: 0.000 "] == 50_000 - 1600
    assert lines["channel_1_current_ma: 0.000 "] == 50_000
    if load:
        assert lines["channel_2_voltage_v: 6.000000 "] == 800
        assert lines["channel_2_voltage_v: -6.000000 "] == 800
    assert sum(lines.values()) == 1 + 50_000 * (4 if load else 2)


def test_a_file_that_is_there_is_replaced_only_when_told(estim: Shell, tmp_path: Path) -> None:
    path = tmp_path / "wave.vcd"
    path.write_text("precious")
    command = ("profiles", "export", ID, "--vcd", path, "--duration", "0.1")
    answer = estim(*command)
    answer.assert_one_message(2)
    assert "--force" in answer.err
    assert path.read_text() == "precious"
    assert estim(*command, "--force").code == 0
    written = path.read_text()
    assert written.startswith("$comment dpn-conventional 1.0.1, file sha256 ")
    assert "not a certified medical device" in written
    assert written.endswith("#100000\n")


def test_a_minus_writes_to_standard_output_and_nothing_else_does(estim: Shell) -> None:
    answer = estim(
        "profiles", "export", ID, "--csv", "-", "--duration", "0.0001", "--rate", "20000",
        "--channel", "1", "--load", "1000",
    )  # fmt: skip
    assert (answer.code, answer.err) == (0, "")
    # The ceiling of 40 mA; 40 V over 1 kohm.
    assert answer.out.splitlines() == [
        "time_s,channel_1_current_ma,channel_1_voltage_v",
        "0.000000,40.000,40.000000",
        "0.000050,40.000,40.000000",
    ]


def test_an_amplitude_above_a_limit_is_refused_before_anything_is_written(
    estim: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "wave.csv"
    answer = estim("profiles", "export", ID, "--csv", path, "--amplitude", "1=40.1")
    answer.assert_one_message(4)
    assert (
        answer.err == "estim: channel 1: amplitude: 40.1 mA asked, 40 mA allowed by the profile\n"
    )
    assert not path.exists()


def test_what_was_quantised_is_told_in_the_file(estim: Shell) -> None:
    answer = estim(
        "profiles", "export", ID, "--sigrok", "-", "--amplitude", "1=12.3", "--duration",
        "0.000001",
    )  # fmt: skip
    assert "quantised to steps of 0.1 mA; at 12.3 mA, 0.0 mA" in answer.out
    assert answer.out.splitlines()[-1] == "12.300,0.000"


def test_a_rate_that_misses_edges_is_told(estim: Shell, tmp_path: Path) -> None:
    path = tmp_path / "wave.csv"
    answer = estim("profiles", "export", ID, "--csv", path, "--rate", "44100")
    assert answer.code == 0
    assert answer.err.startswith("estim: warning: at 44100 Hz edges fall between samples")


@pytest.mark.parametrize(
    "bad",
    [
        ("--csv", "{}/a", "--rate", "0"),
        ("--csv", "{}/a", "--rate", "1e6"),
        ("--csv", "{}/a", "--rate", "100000001"),
        ("--csv", "{}/a", "--duration", "0"),
        ("--csv", "{}/a", "--duration", "-1"),
        ("--csv", "{}/a", "--duration", "nan"),
        ("--csv", "{}/a", "--duration", "0.0000001"),
        ("--csv", "{}/a", "--duration", "86401"),
        ("--csv", "{}/a", "--duration", "0.001", "--rate", "100"),
        ("--csv", "{}/a", "--start", "."),
        ("--csv", "{}/a", "--channel", "3"),
        ("--csv", "{}/a", "--amplitude", "1"),
        ("--csv", "{}/a", "--load", "0"),
        ("--csv", "{}/a", "--vcd", "{}/b"),
        ("--csv", ""),
        ("--csv", "{}/no/such/folder"),
        (),
    ],
)
def test_bad_usage_is_one_message_and_no_file(
    estim: Shell, tmp_path: Path, bad: tuple[str, ...]
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    answer = estim("profiles", "export", ID, *(text.format(folder) for text in bad))
    answer.assert_one_message(2)
    assert list(folder.iterdir()) == []
