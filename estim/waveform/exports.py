"""Write the sampled waveform of a programme as CSV, as the CSV that sigrok reads, and as VCD.

Rules:
1. What is written is the quantised programme at setpoints that have been reached, sample by sample
   as `estim.waveform.render` defines them. At 1 MHz, and multiples of it, every edge is exact.
2. Numbers are exact decimals: currents to 1 uA, voltages (current x load) to 1 uV, times to 1 us;
   where a sample's time is no whole microsecond, to 1 ns, rounded down.
3. Time is that of the programme: zero is when RUNNING begins, whatever part is written.
4. Everything comes in blocks, in memory bounded whatever the duration. The same waveform gives the
   same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estim.units import US_PER_MS, US_PER_S
from estim.waveform.pulses import Int64Array
from estim.waveform.render import Runs, iter_runs
from firmware_protocol.program import ChannelProgram, PulseProgram

SAMPLE_RATE_MAX_HZ = 100_000_000
TIME_MAX_S = 86_400

_BLOCK_SAMPLES = 1 << 16
_MA_PLACES, _V_PLACES = 3, 6
_US_PLACES, _NS_PLACES = 6, 9
_FIRST_VCD_CODE = 33
_THREE_DIGITS = np.array([list(f"{number:03d}".encode()) for number in range(1000)], np.uint8)

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Block:
    """Some text of a file, and the number of samples that are written once it is."""

    text: bytes
    sample_count: int


@dataclass(frozen=True, slots=True)
class Column:
    """One column of numbers: a channel's current, or the voltage over the load."""

    name: str
    unit: str
    places: int
    channel_index: int
    factor: int

    def text(self, current_ua: int) -> str:
        """Return a current, or the voltage that it makes, as an exact decimal."""
        count = abs(current_ua) * self.factor
        whole, rest = divmod(count, 10**self.places)
        return f"{'-' if current_ua < 0 and count else ''}{whole}.{rest:0{self.places}d}"


@dataclass(frozen=True, slots=True)
class Waveform:
    """What is written.

    Attributes:
        program: with all its channels.
        channel_indexes: the channels that are written, in order.
        amplitudes_ua: setpoint of every channel of the programme.
        amplitude_step_ua: step of the device that the programme is quantised for.
        sample_rate_hz: up to SAMPLE_RATE_MAX_HZ.
        start_us: when the first sample lies.
        duration_us: how long.
        load_ohm: adds the voltage over this load; None for currents alone.
        about: lines for people, put where the format has a place for remarks.
    """

    program: PulseProgram
    channel_indexes: tuple[int, ...]
    amplitudes_ua: tuple[int, ...]
    amplitude_step_ua: int
    sample_rate_hz: int
    start_us: int
    duration_us: int
    load_ohm: int | None = None
    about: tuple[str, ...] = ()

    @property
    def sample_count(self) -> int:
        """Return the number of samples of each column."""
        return self.duration_us * self.sample_rate_hz // US_PER_S

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return the columns: all currents, then all voltages."""
        currents = tuple(
            Column(f"channel_{index + 1}_current_ma", "mA", _MA_PLACES, index, 1)
            for index in self.channel_indexes
        )
        if self.load_ohm is None:
            return currents
        voltages = tuple(
            Column(f"channel_{index + 1}_voltage_v", "V", _V_PLACES, index, self.load_ohm)
            for index in self.channel_indexes
        )
        return (*currents, *voltages)

    @property
    def time_places(self) -> int:
        """Return the decimals of a time in seconds (rule 2)."""
        return _NS_PLACES if US_PER_S % self.sample_rate_hz else _US_PLACES

    @property
    def has_exact_edges(self) -> bool:
        """Tell whether every phase begins at a sample, so that charges in the file are exact."""
        step_us = gcd(
            self.start_us,
            *(
                time_us
                for index in self.channel_indexes
                for time_us in _times_us(self.program.channels[index])
            ),
        )
        return step_us * self.sample_rate_hz % US_PER_S == 0

    def ticks(self, samples: Int64Array) -> Int64Array:
        """Return the times of samples in units of the last decimal."""
        per_second = 10**self.time_places
        seconds, rest = np.divmod(samples, self.sample_rate_hz)
        start = self.start_us * (per_second // US_PER_S)
        ticks: Int64Array = seconds * per_second + rest * per_second // self.sample_rate_hz + start
        return ticks


def csv_blocks(waveform: Waveform) -> Iterator[Block]:
    """Yield a CSV: a header, then `time_s` and a column per channel; with a load volts as well."""
    names = ",".join(("time_s", *(column.name for column in waveform.columns)))
    yield Block(f"{names}\n".encode(), 0)
    for first, stop, runs in _runs(waveform):
        ticks = waveform.ticks(np.arange(first, stop, dtype=np.int64))
        yield Block(_time_rows(waveform, ticks, _cells(waveform, runs, stop, ",")), stop)


def sigrok_blocks(waveform: Waveform) -> Iterator[Block]:
    """Yield the CSV that sigrok reads: remarks after ';', a header, a column per channel."""
    remarks = [
        *waveform.about,
        f"Samplerate: {_rate_words(waveform.sample_rate_hz)}",
        f"Start: {waveform.start_us} us after the programme's",
        f"Read it with: {sigrok_command(waveform, 'FILE')}",
    ]
    names = ",".join(column.name for column in waveform.columns)
    yield Block("".join(f"; {line}\n" for line in remarks).encode() + f"{names}\n".encode(), 0)
    for _, stop, runs in _runs(waveform):
        yield Block(_text([*_cells(waveform, runs, stop, "")]), stop)


def sigrok_command(waveform: Waveform, path: str) -> str:
    """Return the command with which sigrok-cli reads the CSV made for it."""
    count = len(waveform.channel_indexes)
    formats = f"{count}a{_MA_PLACES}"
    if waveform.load_ohm is not None:
        formats += f",{count}a{_V_PLACES}"
    return (
        f"sigrok-cli -I csv:samplerate={waveform.sample_rate_hz}:column_formats={formats} -i {path}"
    )


def vcd_blocks(waveform: Waveform) -> Iterator[Block]:
    """Yield a VCD (IEEE 1364) of real variables, written where they change."""
    columns = waveform.columns
    unit = "1 ns" if waveform.time_places == _NS_PLACES else "1 us"
    codes = [chr(_FIRST_VCD_CODE + number) for number in range(len(columns))]
    head = [f"$comment {line} $end" for line in waveform.about]
    head += [f"$timescale {unit} $end", "$scope module programme $end"]
    head += [
        f"$var real 64 {code} {column.name} $end"
        for code, column in zip(codes, columns, strict=True)
    ]
    head += ["$upscope $end", "$enddefinitions $end", ""]
    yield Block("\n".join(head).encode(), 0)
    held_ua: list[int | None] = [None] * len(waveform.channel_indexes)
    texts: dict[tuple[int, int], str] = {}
    for first, stop, runs in _runs(waveform):
        lines: list[str] = []
        before = -1
        for sample, place, current_ua in _changes(runs, stop):
            if held_ua[place] == current_ua:
                continue
            held_ua[place] = current_ua
            if sample != before:
                lines.append(f"#{int(waveform.ticks(np.array(sample)))}")
                before = sample
            known = (place, current_ua)
            if known not in texts:
                texts[known] = "\n".join(
                    f"r{column.text(current_ua)} {code}"
                    for code, column in zip(codes, columns, strict=True)
                    if column.channel_index == waveform.channel_indexes[place]
                )
            lines.append(texts[known])
            if first == sample == 0 and place == len(held_ua) - 1:
                lines = [lines[0], "$dumpvars", *lines[1:], "$end"]
        lines.append("")
        yield Block("\n".join(lines).encode(), stop)
    # The end is told, so that a reader knows how long the last values hold.
    end = int(waveform.ticks(np.array(waveform.sample_count)))
    yield Block(f"#{end}\n".encode(), waveform.sample_count)


def _runs(waveform: Waveform) -> Iterator[tuple[int, int, list[Runs]]]:
    """Yield the runs of the channels that are written."""
    for first, stop, runs in iter_runs(
        waveform.program,
        waveform.amplitudes_ua,
        waveform.amplitude_step_ua,
        waveform.sample_rate_hz,
        waveform.duration_us,
        waveform.start_us,
        _BLOCK_SAMPLES,
    ):
        yield first, stop, [runs[index] for index in waveform.channel_indexes]


def _changes(runs: list[Runs], stop: int) -> list[tuple[int, int, int]]:
    """Return (sample, place of the channel, current) of every run that holds a sample, in order."""
    found: list[tuple[int, int, int]] = []
    for place, (starts, currents_ua) in enumerate(runs):
        lasting = np.diff(starts, append=stop) > 0
        found += [
            (sample, place, current_ua)
            for sample, current_ua in zip(
                starts[lasting].tolist(), currents_ua[lasting].tolist(), strict=True
            )
        ]
    found.sort()
    return found


def _cells(waveform: Waveform, runs: list[Runs], stop: int, before_first: str) -> Iterator[Bytes]:
    """Yield each column as bytes, shape (samples, widest text), separators and line ends included.

    Shorter texts are filled up with zero bytes.
    """
    columns = waveform.columns
    for number, column in enumerate(columns):
        starts, currents_ua = runs[number % len(runs)]
        separator = "," if number else before_first
        ending = "\n" if number == len(columns) - 1 else ""
        kinds, kind_of_run = np.unique(currents_ua, return_inverse=True)
        texts = [f"{separator}{column.text(kind)}{ending}".encode() for kind in kinds.tolist()]
        width = max(map(len, texts))
        table = np.array(texts, f"S{width}").view(np.uint8).reshape(len(texts), width)
        yield table[np.repeat(kind_of_run, np.diff(starts, append=stop))]


def _time_rows(waveform: Waveform, ticks: Int64Array, cells: Iterator[Bytes]) -> bytes:
    """Return rows that begin with their time; all rows of a part have equally long times."""
    per_second = 10**waveform.time_places
    columns = list(cells)
    rows = []
    begin = 0
    while begin < len(ticks):
        digits = len(str(int(ticks[begin]) // per_second))
        end = int(np.searchsorted(ticks, 10**digits * per_second))
        seconds, fraction = np.divmod(ticks[begin:end], per_second)
        times = [_digits(seconds, digits), np.full((end - begin, 1), ord("."), np.uint8)]
        times.append(_digits(fraction, waveform.time_places))
        rows.append(_text([*times, *(column[begin:end] for column in columns)]))
        begin = end
    return b"".join(rows)


def _digits(numbers: Int64Array, count: int) -> Bytes:
    """Return numbers as `count` decimal digits each."""
    groups: list[Bytes] = []
    for _ in range(0, count, 3):
        numbers, rest = np.divmod(numbers, 1000)
        groups.insert(0, _THREE_DIGITS[rest])
    digits: Bytes = np.concatenate(groups, axis=1)
    return digits[:, digits.shape[1] - count :]


def _text(columns: list[Bytes]) -> bytes:
    """Return rows of bytes one after another, without what fills them up."""
    rows: NDArray[Any] = np.concatenate(columns, axis=1)
    return rows.tobytes().translate(None, b"\0")


def _times_us(channel: ChannelProgram) -> Iterator[int]:
    """Yield every duration that decides when a phase begins or ends."""
    yield channel.pulse_offset_us
    yield channel.burst_period_us
    yield channel.keyframe_cycle_ms * US_PER_MS
    cycle = channel.cycle
    if cycle is not None:
        yield cycle.offset_ms * US_PER_MS
        yield cycle.total_ms * US_PER_MS
    for setting in channel.settings:
        yield setting.at_ms * US_PER_MS
        yield setting.pulse_period_us
        for phase in channel.phases:
            yield channel.phase_us(phase, setting.unit_us)


def _rate_words(sample_rate_hz: int) -> str:
    """Return a sample rate as sigrok writes it."""
    for size, unit in ((1_000_000, "MHz"), (1000, "kHz")):
        if sample_rate_hz >= size:
            return f"{sample_rate_hz / size:.12g} {unit}"
    return f"{sample_rate_hz} Hz"
