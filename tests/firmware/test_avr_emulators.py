"""Two emulators, written by different people, play the same bytes into the same image."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from firmware_protocol.program import ChannelProgram, Phase, PulseProgram
from tests.firmware.avr_machine import CYCLES_PER_US, Avr, AvrHost, Machine, pulses, read_trace
from tests.firmware.core import C_FOLDER

pytestmark = pytest.mark.emulated

REPLAY = C_FOLDER / "emulation" / "replay.cjs"
AVR8JS = C_FOLDER / "emulation" / "node_modules" / "avr8js"
PHASES = (Phase(200, 1000), Phase(57, 0), Phase(200, -1000), Phase(50, -1000), Phase(50, 1000))


def test_edges_and_amplitudes_agree_within_2_cycles(
    avr: Avr, machine: Machine, tmp_path: Path
) -> None:
    if shutil.which("node") is None or not AVR8JS.exists():
        pytest.skip("no second emulator: make -C firmware_protocol/c/emulation avr8js")
    host = AvrHost(machine)
    host.start(PulseProgram((ChannelProgram(PHASES, unit_us=1, pulse_period_us=7000),)))
    host.keep(500, 6000)
    host.keep_on_a_full_line(1000, 6000)
    flash = avr.image.with_suffix(".bin")
    subprocess.run(
        ["make", "--silent", "-C", C_FOLDER / "avr", "flash", f"BUILD={flash.parent}"],
        check=True, timeout=60,
    )  # fmt: skip
    replayed = tmp_path / "replayed.csv"
    with replayed.open("wb") as out:
        subprocess.run(
            ["node", REPLAY, flash, machine.trace, str(machine.cycle)],
            stdout=out, check=True, timeout=100,
        )  # fmt: skip
    rows = read_trace(replayed)
    # The line was full, and yet no byte was read so late that a chip would have lost it.
    assert [row.number for row in rows if row.signal == "lost"] == [0]
    first, second = pulses(machine.rows()), pulses(rows)
    assert len(first) > 1_400_000 // 7000 - 10
    # They take interrupts a few cycles apart, so RUNNING begins some microseconds apart, for all.
    apart = second[0].onset - first[0].onset
    assert abs(apart) <= 100 * CYCLES_PER_US
    assert abs(len(first) - len(second)) <= 1
    for one, other in zip(first, second, strict=False):
        assert one.dac_ua == other.dac_ua
        assert len(one.stretches) == len(other.stretches)
        for mine, theirs in zip(one.stretches, other.stretches, strict=True):
            assert mine[2] == theirs[2]
            assert abs(theirs[0] - apart - mine[0]) <= 2
            assert abs(theirs[1] - apart - mine[1]) <= 2
