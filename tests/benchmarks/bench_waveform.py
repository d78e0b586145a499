"""How fast waveforms are compiled, rendered, measured and exported."""

from __future__ import annotations

import io
from collections.abc import Iterable
from time import perf_counter
from typing import Any

import numpy as np

from estim.prepare.report import preview
from estim.prepare.session import prepare
from estim.profile.library import entries, find, library
from estim.waveform.compile import compile_profile
from estim.waveform.exports import Waveform, csv_blocks, sigrok_blocks, vcd_blocks
from estim.waveform.measure import Meter
from estim.waveform.render import CHUNK_SAMPLES, iter_chunks

RATE_HZ = 1_000_000
DURATION_S = 60
EXPORT_S = 5
SAVETXT_US = 200_000


def run() -> Iterable[dict[str, Any]]:
    """Yield name, value, unit and reference; rendering is held against filling plain arrays."""
    fill = _fill_rate()
    for profile_id in ("dpn-conventional", "tens-modulated"):
        program = compile_profile(find(profile_id).profile)
        amplitudes_ua = [20_000] * len(program.channels)
        began = perf_counter()
        count = sum(
            chunk.size
            for chunk in iter_chunks(program, amplitudes_ua, 100, RATE_HZ, DURATION_S * 1_000_000)
        )
        yield {
            "name": f"render {profile_id}",
            "value": count / (perf_counter() - began) / 1e6,
            "unit": "Msamples/s",
            "reference": fill,
        }
    program = compile_profile(find("dpn-conventional").profile)
    chunks = [c[0] for c in iter_chunks(program, [20_000] * 2, 100, RATE_HZ, 10_000_000)]
    meter = Meter(RATE_HZ, 0)
    began = perf_counter()
    for chunk in chunks:
        meter.add(chunk)
    yield {
        "name": "measure samples",
        "value": sum(map(len, chunks)) / (perf_counter() - began) / 1e6,
        "unit": "Msamples/s",
        "reference": fill,
    }
    yield from _exports()
    began = perf_counter()
    loaded = library()
    yield {
        "name": "load and check a profile",
        "value": (perf_counter() - began) / len(loaded) * 1e3,
        "unit": "ms",
    }
    yield {"name": "load, compile and check the library", "value": _library_ms(), "unit": "ms"}


def _library_ms() -> float:
    """Return how long every profile and entry takes, from TOML to its limits at the ceilings."""
    began = perf_counter()
    entries()
    for loaded in library():
        preview(prepare(loaded.profile, is_bench=True, origin=loaded.origin))
    return (perf_counter() - began) * 1e3


def _exports() -> Iterable[dict[str, Any]]:
    """Yield MB/s of each text format, beside numpy.savetxt on the same samples."""
    program = compile_profile(find("dpn-conventional").profile)
    wave = Waveform(program, (0, 1), (20_000, 20_000), 100, RATE_HZ, 0, EXPORT_S * 1_000_000)
    samples = next(iter_chunks(program, [20_000] * 2, 100, RATE_HZ, SAVETXT_US)).T / 1000
    target = io.BytesIO()
    began = perf_counter()
    np.savetxt(target, samples, fmt="%.3f", delimiter=",")
    reference = target.tell() / (perf_counter() - began) / 1e6
    for name, blocks in (("csv", csv_blocks), ("sigrok", sigrok_blocks)):
        began = perf_counter()
        size = sum(len(block.text) for block in blocks(wave))
        yield {
            "name": f"export {name}",
            "value": size / (perf_counter() - began) / 1e6,
            "unit": "MB/s",
            "reference": reference,
        }
    began = perf_counter()
    count = [block.sample_count for block in vcd_blocks(wave)][-1]
    yield {
        "name": "export vcd",
        "value": count * 2 / (perf_counter() - began) / 1e6,
        "unit": "Msamples/s",
    }


def _fill_rate() -> float:
    """Return how many million samples a second numpy writes into fresh arrays of a chunk's size."""
    began = perf_counter()
    rounds = DURATION_S * RATE_HZ // CHUNK_SAMPLES
    for _ in range(rounds):
        np.full(CHUNK_SAMPLES, 1, np.int32)
    return rounds * CHUNK_SAMPLES / (perf_counter() - began) / 1e6
