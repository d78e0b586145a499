"""The unmodified host delivers a session to the emulated AVR, on a pseudo-terminal in real time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.firmware.avr_machine import CYCLES_PER_MS, CYCLES_PER_US, Avr, pulses, read_trace

pytestmark = pytest.mark.emulated

# focal-neuropathy: 80 pulses a second, 200 us a phase, one channel, 1 mA/s at most.
PERIOD_US = 12_500
PHASE_US = 200
AMPLITUDE_UA = 4000
SECOND = 1000 * CYCLES_PER_MS


@pytest.mark.hazard(3)
def test_a_whole_session_reaches_the_pins_as_it_was_asked(avr: Avr, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    tty = tmp_path / "tty"
    with subprocess.Popen(
        [avr.runner, "--pty", "--link", tty, "--trace", trace, "--load", "500", avr.image],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline().startswith(b"/dev/")
        told = subprocess.run(
            [
                sys.executable, "-m", "estim", "run", "focal-neuropathy",
                "--device", f"native:{tty}?baud=500000", "--bench", "500",
                "--amplitude", "1=4", "--duration", "4", "--json",
                "--records", str(tmp_path / "records"),
            ],
            capture_output=True, text=True, timeout=90, check=False,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        runner.communicate(timeout=10)
    assert told.returncode == 0, told.stdout + told.stderr
    result = json.loads(told.stdout.splitlines()[-1])
    assert (result["event"], result["end"]) == ("result", "finished")
    assert result["record_verifies"] is True

    rows = read_trace(trace)
    played = pulses(rows)
    assert result["pulses"] == {"1": len(played)}
    assert result["plateau_s"] >= 4
    assert [row.number for row in rows if row.signal == "enable"] == [1, 0]
    for pulse in played:
        assert [sign for _, _, sign in pulse.stretches] == [1, -1]
        assert all(abs(lasts - PHASE_US * CYCLES_PER_US) <= 1 for lasts in pulse.lasts)
        assert all(gap == 0 for gap in pulse.gaps)
        assert abs(pulse.net_cycles) <= 1
        assert pulse.dac_ua <= AMPLITUDE_UA
    assert max(pulse.dac_ua for pulse in played) == AMPLITUDE_UA
    for sooner, later in pairwise(played):
        assert abs(later.onset - sooner.onset - PERIOD_US * CYCLES_PER_US) <= 1
        # At most one step of 100 uA at a time, and 1 mA in any second.
        assert later.dac_ua - sooner.dac_ua <= 100
    for at, pulse in enumerate(played):
        a_second_on = [
            later for later in played[at : at + 81] if later.onset - pulse.onset <= SECOND
        ]
        assert a_second_on[-1].dac_ua - pulse.dac_ua <= 1100
