"""A small job as TOML text, for tests to change."""

from __future__ import annotations

from pathlib import Path

INSTRUMENT = """\
kind = "simulator trace"
model = "trace"
serial = "T-1"
calibration_due = {due}
amplitude_uncertainty_percent = 0.01
time_uncertainty_ppm = 1
offset_uncertainty_ua = 1
"""

JOB = """\
schema = 1
title = "Check"
device = "sim:"
who = "A. Technician"
why = "yearly"
phase = "as-found"
loads_ohm = [500]
profiles = ["dpn-conventional"]
channels = [1]
amplitudes_ma = [3]
dwell_s = 2
folder = "state"
captures = "captures"
capture = "trace"
clock = "virtual"
instrument = "scope.toml"
"""


def write_job(folder: Path, *changes: tuple[str, str], due: str = "2099-12-31") -> Path:
    """Write the job with some of its text replaced, and its instrument; return its path."""
    folder.mkdir(exist_ok=True)
    (folder / "scope.toml").write_text(INSTRUMENT.format(due=due))
    text = JOB
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after, 1)
    path = folder / "job.toml"
    path.write_text(text)
    return path
