"""One single pulse from the simulated P24, over its pseudo-terminal, as a technician asks."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from estim.dialects.p24_low_level import Measurement
from estim.errors import (
    DeviceFault,
    LimitRefused,
    RecordError,
    RigFault,
    UncertainDelivery,
    UsageError,
)
from estim.profile.library import find
from estim.rig.port_lock import port_lock
from estim.rig.single_pulse import single_pulse

CHECKOUT = Path(__file__).resolve().parents[2]
PROFILE = "tens-low-rate"
"""Its pulse is 200 us each way."""


class Bench:
    """A simulated P24 with a trace, and a folder for what is written down."""

    def __init__(self, process: subprocess.Popen[bytes], path: str, folder: Path) -> None:
        self.url = f"p24:{path}"
        self.out = folder / "pulse.jsonl"
        self._process = process
        self._trace = folder / "trace.csv"

    def pulse(self, amplitude_ua: int, **asked: Any) -> Any:
        return single_pulse(
            self.url,
            find(PROFILE),
            amplitude_ua=amplitude_ua,
            bench_ohm=1000,
            out=self.out,
            **asked,
        )

    def fault(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def go_away(self, how: str) -> None:
        """Be gone as soon as something is written down."""
        while not self.out.exists():
            time.sleep(0.001)
        if how == "hang":
            self.fault("hang")
        else:
            self._process.kill()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def played(self) -> list[tuple[int, int, int]]:
        """Switch the device off; return (channel, current_ua, duration_us) of all it played."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)
        with self._trace.open(newline="") as stream:
            return [
                (int(row["channel"]), int(row["current_ua"]), int(row["duration_us"]))
                for row in csv.DictReader(stream)
            ]


@contextmanager
def simulated(folder: Path, *arguments: str) -> Iterator[Bench]:
    process = subprocess.Popen(
        [sys.executable, "-m", "estim.simulator", "--model", "p24", "--trace",
         str(folder / "trace.csv"), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=CHECKOUT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            yield Bench(process, process.stdout.readline().decode().strip(), folder)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(10)


def test_one_pulse_is_played_measured_and_written_down(tmp_path: Path) -> None:
    """10.3 mA asked, 10 mA played each way; the current is sampled every 4 us, without a sign."""
    with simulated(tmp_path, "--load", "1000") as bench:
        taken = bench.pulse(10_300)
        asked, told = bench.lines()
        assert bench.played() == [(1, 10_000, 200), (1, -10_000, 200)]
    assert (asked["state"], told["state"]) == ("asked", "played")
    assert (asked["serial_number"], asked["asked_ua"], asked["bench_ohm"]) == (
        "SIM-0001", 10_300, 1000,
    )  # fmt: skip
    assert told["points"] == [[200, 10_000], [200, -10_000]]
    assert told["played_ua"] == 10_000
    measured = told["measured"]
    assert (measured["quantity"], measured["unit"]) == ("current", "mA/100")
    assert measured["sample_us"] == 4
    assert measured["samples"] == [1000] * 100 + [0] * 28
    assert told == {"state": "played", **taken.document()}


@pytest.mark.long
def test_the_voltage_is_that_of_the_load(tmp_path: Path) -> None:
    """20 mA through 1 kohm are 20 V."""
    with simulated(tmp_path, "--load", "1000") as bench:
        document = bench.pulse(20_000, measurement=Measurement.VOLTAGE).document()
    assert document["measured"]["unit"] == "V/100"
    assert document["measured"]["samples"][:100] == [2000] * 100


@pytest.mark.long
def test_a_second_pulse_is_a_second_call_with_a_file_of_its_own(tmp_path: Path) -> None:
    with simulated(tmp_path) as bench:
        bench.pulse(5_000)
        with pytest.raises(RecordError, match="exists"):
            bench.pulse(5_000)
        bench.out = tmp_path / "second.jsonl"
        bench.pulse(6_000)
        assert [row[1] for row in bench.played()] == [5_000, -5_000, 6_000, -6_000]


@pytest.mark.long
def test_what_is_out_of_range_is_refused_and_nothing_flows(tmp_path: Path) -> None:
    refused: list[tuple[int, int, type[Exception], str]] = [
        (90_000, 1, LimitRefused, "allowed by"),
        (131_000, 1, LimitRefused, "allowed by"),
        (-5_000, 1, LimitRefused, "negative"),
        (400, 1, LimitRefused, "first step"),
        (5_000, 2, UsageError, "channel 2"),
        (5_000, 0, UsageError, "channel 0"),
    ]
    with simulated(tmp_path) as bench:
        for number, (amplitude_ua, channel, error, words) in enumerate(refused):
            bench.out = tmp_path / f"{number}.jsonl"
            with pytest.raises(error, match=words):
                bench.pulse(amplitude_ua, channel=channel)
            if error is LimitRefused:
                assert bench.lines()[-1]["counts_as_played"] is False
        assert bench.played() == []


@pytest.mark.hazard(45)
def test_nobody_is_connected_and_it_is_a_p24(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="never a person"):
        single_pulse("p24:/dev/none", find(PROFILE), amplitude_ua=1, bench_ohm=0, out=tmp_path)
    with pytest.raises(UsageError, match="P24 alone"):
        single_pulse("sim:", find(PROFILE), amplitude_ua=5_000, bench_ohm=500, out=tmp_path)


@pytest.mark.long
def test_a_lost_electrode_is_told_with_what_was_measured(tmp_path: Path) -> None:
    with simulated(tmp_path, "--load", "open") as bench:
        with pytest.raises(DeviceFault, match="electrode is off"):
            bench.pulse(20_000)
        told = bench.lines()[-1]
        assert (told["state"], told["result"]) == ("played", 10)
        assert set(told["measured"]["samples"]) == {0}
        assert bench.played() == []


@pytest.mark.long
@pytest.mark.parametrize("how", ["unplugged", "hang"])
def test_a_device_that_goes_away_is_told_with_what_is_left(tmp_path: Path, how: str) -> None:
    """It goes once the file is begun, so before or behind the pulse."""
    with simulated(tmp_path) as bench:
        goes = threading.Thread(target=bench.go_away, args=(how,))
        goes.start()
        with pytest.raises(UncertainDelivery, match=r"stop is not confirmed.*unplug it"):
            bench.pulse(5_000)
        goes.join(5)
        asked, told = bench.lines()
    assert (asked["state"], told["state"]) == ("asked", "failed")
    assert "not confirmed" in told["error"]


@pytest.mark.long
def test_a_port_that_is_used_already_is_left_alone(tmp_path: Path) -> None:
    with simulated(tmp_path) as bench, port_lock(bench.url, 1.0, "another test"):
        with pytest.raises(RigFault, match="another test"):
            bench.pulse(5_000)
        assert not bench.out.exists()
