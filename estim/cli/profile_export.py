"""`estim profiles export`: the sampled waveform of a profile as a file for another program."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator
from decimal import Decimal
from typing import BinaryIO

from estim.cli.arguments import exact, targets_ua, whole
from estim.cli.console import complain, progress
from estim.cli.new_file import new_file
from estim.errors import UsageError
from estim.prepare.places import configuration_folder
from estim.prepare.session import check_targets, prepare
from estim.prepare.site import load_site
from estim.profile.library import find
from estim.units import US_PER_S, format_ma
from estim.waveform.exports import (
    SAMPLE_RATE_MAX_HZ,
    TIME_MAX_S,
    Block,
    Waveform,
    csv_blocks,
    sigrok_blocks,
    sigrok_command,
    vcd_blocks,
)

LOAD_MAX_OHM = 1_000_000
_FORMATS = {"csv": csv_blocks, "vcd": vcd_blocks, "sigrok": sigrok_blocks}


def run(arguments: Namespace) -> int:
    """Write the waveform.

    Raises:
        ProfileError: there is no such profile, or it cannot be used.
        LimitRefused: a limit refuses an amplitude.
        UsageError: something else makes no sense, or the file is there already.
    """
    ((name, path),) = (
        (name, getattr(arguments, name))
        for name in _FORMATS
        if getattr(arguments, name) is not None
    )
    waveform = _waveform(arguments)
    blocks = _FORMATS[name](waveform)
    if path == "-":
        _write(blocks, sys.stdout.buffer, waveform, "standard output")
        return 0
    with new_file(f"--{name}", path, replaces=arguments.force) as file:
        byte_count = _write(blocks, file, waveform, path)
    complain(f"{waveform.sample_count} samples, {byte_count} bytes written to {path}")
    if name == "sigrok":
        complain(f"read it with: {sigrok_command(waveform, shlex.quote(path))}")
    return 0


def _waveform(arguments: Namespace) -> Waveform:
    """Return what is to be written; say on standard error what it cannot hold exactly."""
    loaded = find(arguments.profile)
    prepared = prepare(
        loaded.profile,
        is_bench=True,
        site=load_site(configuration_folder()),
        origin=loaded.origin,
    )
    program, step_ua = prepared.program, prepared.bounds.amplitude_step_ua
    count = len(program.channels)
    amplitudes_ua = tuple(line.ceiling_ua for line in prepared.ceilings)
    if arguments.amplitude:
        amplitudes_ua = targets_ua(arguments.amplitude, count)
        check_targets(prepared, amplitudes_ua)
    numbers = {whole("--channel", text, 1, count) for text in arguments.channel or ()}
    profile = loaded.profile
    waveform = Waveform(
        program,
        tuple(sorted(number - 1 for number in numbers)) or tuple(range(count)),
        amplitudes_ua,
        step_ua,
        sample_rate_hz=whole("--rate", arguments.rate, 1, SAMPLE_RATE_MAX_HZ),
        start_us=_time_us("--start", arguments.start, Decimal(0)),
        duration_us=_time_us("--duration", arguments.duration, Decimal("0.000001")),
        load_ohm=None
        if arguments.load is None
        else whole("--load", arguments.load, 1, LOAD_MAX_OHM),
        about=(
            f"{profile.id} {profile.version}, file sha256 {loaded.sha256}",
            f"programme {program.digest:08x}, quantised to steps of {format_ma(step_ua)} mA; at "
            + ", ".join(f"{format_ma(amplitude_ua)} mA" for amplitude_ua in amplitudes_ua),
            "computed, not measured; Estim is not a certified medical device",
        ),
    )
    if not waveform.sample_count:
        raise UsageError(
            f"--duration {arguments.duration}: no sample at {waveform.sample_rate_hz} Hz; "
            "expected a longer one"
        )
    if not waveform.has_exact_edges:
        complain(
            f"warning: at {waveform.sample_rate_hz} Hz edges fall between samples, so charges in "
            "the file are not exact; at 1000000 Hz they are"
        )
    return waveform


def _time_us(flag: str, text: str, lowest: Decimal) -> int:
    return int(exact(flag, text, lowest, Decimal(TIME_MAX_S), 6, "s") * US_PER_S)


def _write(blocks: Iterator[Block], file: BinaryIO, waveform: Waveform, name: str) -> int:
    """Write all blocks; return the number of bytes."""
    byte_count, told = 0, -1
    with progress(f"exporting to {name}") as tell:
        for block in blocks:
            file.write(block.text)
            byte_count += len(block.text)
            percent = block.sample_count * 100 // waveform.sample_count
            if percent != told:
                told = percent
                tell(f"exporting to {name}: {percent} %, {byte_count // 1_000_000} MB")
    file.flush()
    return byte_count
