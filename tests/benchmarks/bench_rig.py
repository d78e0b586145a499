"""How fast captures are read and measured."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from estim.prepare.session import prepare
from estim.profile.library import find
from estim.rig.captures.capture import Capture, CaptureInfo, Floats, ReadOptions, open_capture
from estim.rig.measuring.checking import Checker
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.finding import find as find_pulses
from estim.rig.measuring.pulses import Layout
from estim.rig.measuring.tolerances import PROJECT
from estim.waveform.render import iter_chunks

RATE_HZ = 1_000_000
DURATION_S = 10
CSV_SAMPLES = 1_000_000
CHUNK_SAMPLES = 1 << 18


class _InMemory(Capture):
    """Hold samples that are there already, so that no file's reading is measured with them."""

    def __init__(self, samples: Floats) -> None:
        self._samples = samples

    @property
    def info(self) -> CaptureInfo:
        duration_s = len(self._samples) / RATE_HZ
        return CaptureInfo("memory", "samples", "A", float(RATE_HZ), duration_s, None)

    def chunks(self) -> Iterator[Floats]:
        for first in range(0, len(self._samples), CHUNK_SAMPLES):
            yield self._samples[first : first + CHUNK_SAMPLES]


def run() -> Iterable[dict[str, Any]]:
    """Yield name, value, unit and reference; reading is held against numpy's own parser."""
    random = np.random.default_rng(1)
    for profile_id, figure in (
        ("dpn-conventional", "measure 10 s at 1 MS/s"),
        ("tens-modulated", "measure 10 s at 1 MS/s, modulated"),
    ):
        prepared = prepare(find(profile_id).profile, is_bench=True)
        amplitudes_ua = [20_000] * len(prepared.program.channels)
        chunks = iter_chunks(prepared.program, amplitudes_ua, 100, RATE_HZ, DURATION_S * 1_000_000)
        samples = np.concatenate([chunk[0] for chunk in chunks]).astype(np.float64)
        capture = _InMemory(samples + random.normal(0, 100, len(samples)))
        expected = Expected.of(prepared, 0, 20_000)
        began = process_time()
        found = find_pulses(capture, Layout.of(expected))
        Checker(expected, found, capture.info, PROJECT, None, None).run()
        yield {"name": figure, "value": process_time() - began, "unit": "s of CPU"}
    yield from _csv(random)


def _csv(random: np.random.Generator) -> Iterator[dict[str, Any]]:
    readings = random.normal(0, 1, CSV_SAMPLES).round(5).tolist()
    rows = "".join(f"{n * 1e-6:.6f},{reading:.5f}\n" for n, reading in enumerate(readings))
    began = perf_counter()
    np.loadtxt(io.StringIO(rows), delimiter=",")
    reference = len(rows) / 1e6 / (perf_counter() - began)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "capture.csv"
        path.write_text("time (s),CH1 (V)\n" + rows)
        began = perf_counter()
        for _ in open_capture(path, ReadOptions(load_ohm=500)).chunks():
            pass
        speed = path.stat().st_size / 1e6 / (perf_counter() - began)
    yield {"name": "read CSV", "value": speed, "unit": "MB/s", "reference": reference}
