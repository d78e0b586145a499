"""The trace: complete, in order, and never a reason for the device to be late."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from estim.simulator.trace import HEADER, CsvTrace

PULSE = ((0, 12_000, 200), (200, -12_000, 200))
ROWS = "{0},1,12000,200\n{1},1,-12000,200\n"


def rows(onsets_us: range) -> str:
    return "".join(ROWS.format(at, at + 200) for at in onsets_us)


@pytest.mark.parametrize("is_behind", [False, True])
def test_every_pulse_is_in_the_file_in_order(tmp_path: Path, is_behind: bool) -> None:
    path, onsets_us = tmp_path / "trace.csv", range(0, 500_000, 1000)
    trace = CsvTrace.to_file(path)
    if is_behind:
        trace.write_behind()
    for onset_us in onsets_us:
        trace.add_pulse(onset_us, 1, PULSE)
        trace.flush()
    trace.close()
    assert path.read_text() == HEADER + rows(onsets_us)


def test_a_disk_that_stalls_does_not_hold_the_device_up() -> None:
    """A full pipe that nobody reads stands for the disk: 200 kB do not fit into its 64."""
    reader, writer = os.pipe()
    trace = CsvTrace(os.fdopen(writer, "w", encoding="ascii"))
    trace.write_behind()
    onsets_us = range(0, 6_000_000, 1000)

    def deliver() -> None:
        for onset_us in onsets_us:
            trace.add_pulse(onset_us, 1, PULSE)
            trace.flush()

    device = threading.Thread(target=deliver, daemon=True)
    device.start()
    device.join(5.0)
    assert not device.is_alive()
    read: list[str] = []
    with os.fdopen(reader, encoding="ascii") as disk:
        reading = threading.Thread(target=lambda: read.append(disk.read()))
        reading.start()
        trace.close()
        reading.join(5.0)
    assert read == [HEADER + rows(onsets_us)]


def test_a_disk_that_fails_is_told() -> None:
    reader, writer = os.pipe()
    trace = CsvTrace(os.fdopen(writer, "w", encoding="ascii"))
    os.close(reader)
    trace.write_behind()

    def deliver() -> None:
        for onset_us in range(0, 10_000_000, 100):
            trace.add_pulse(onset_us, 1, PULSE)
            trace.flush()

    with pytest.raises(BrokenPipeError):
        deliver()
    with pytest.raises(BrokenPipeError):
        trace.close()
