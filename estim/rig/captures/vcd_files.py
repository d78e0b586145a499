"""Read a value change dump (IEEE 1364): real variables, and whole numbers whose unit is known.

Rules:
1. One variable is read. What it holds until it changes is exact, unless its values are noisy,
   flicker by a small step, or are repeated: then it is a capture of samples that was stored as
   changes, and is read as samples.
2. A unit is taken from the end of the variable's name (`_ua`, `_ma`, `_a`, `_mv`, `_v`), or asked.
3. A wire of one bit has no amplitude, and is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from estim.errors import UsageError
from estim.rig.captures.capture import (
    UNITS_UA,
    Capture,
    CaptureInfo,
    Floats,
    Progress,
    ReadOptions,
    Steps,
    scale_to_ua,
    whole_lines,
)
from estim.text import sanitize
from estim.units import US_PER_S

_BLOCK_BYTES = 1 << 20
_HEADER_MAX_BYTES = 1 << 22
_CHUNK_SAMPLES = 1 << 20
_NOISY_CHANGES_MIN = 200
_NOISY_SHARE = 0.2
_SMALL_PART, _SMALL_SHARE = 1 / 32, 0.2
_REPEATED_SHARE = 0.5
_EXPANSION_MAX = 1000
_TICK_MAX = 10**18
_TIMESCALE = re.compile(r"(1|10|100)\s*(s|ms|us|ns|ps|fs)")
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12, "fs": 1e-15}
_SECTIONS = {b"$dumpvars", b"$dumpall", b"$dumpon", b"$dumpoff", b"$end"}
_UNITS = {"ua": "uA", "ma": "mA", "a": "A", "uv": "uV", "mv": "mV", "v": "V"}


@dataclass(frozen=True, slots=True)
class _Variable:
    kind: str
    size: int
    code: bytes
    name: str

    @property
    def is_number(self) -> bool:
        return self.kind == "real" or self.size > 1

    @property
    def unit(self) -> str | None:
        """Return the unit at the end of the name."""
        return _UNITS.get(re.split(r"[_\s(\[]", self.name.rstrip(")]").lower())[-1])


def is_vcd(probe: bytes) -> bool:
    """Tell whether a file begins as a VCD does."""
    head = probe.removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith(b"$") and any(
        word in head for word in (b"$enddefinitions", b"$timescale", b"$var", b"$date", b"$comment")
    )


def open_vcd(name: str, options: ReadOptions, progress: Progress) -> Capture:
    """Open a VCD.

    Raises:
        UsageError: its header is damaged, or something must be said about its variables.
    """
    header = _Header(name)
    return _Vcd(name, header, header.chosen(options), options, progress)


class _Header:
    """What stands before `$enddefinitions`."""

    def __init__(self, name: str) -> None:
        self.name = sanitize(name)
        with open(name, "rb") as file:
            octets = file.read(_HEADER_MAX_BYTES)
        marker = octets.find(b"$enddefinitions")
        end = octets.find(b"$end", marker + len(b"$enddefinitions")) if marker >= 0 else -1
        if end < 0:
            raise UsageError(
                f"{self.name}:{octets.count(10) + 1}: the header does not end; expected "
                "$enddefinitions $end"
            )
        self.length = end + len(b"$end")
        self.line_count = octets[: self.length].count(b"\n")
        self.tick_s = 0.0
        self.variables: list[_Variable] = []
        self._parse(octets[:marker])
        if not self.tick_s:
            raise UsageError(
                f"{self.name}: no $timescale; expected for example $timescale 1 us $end"
            )

    def _parse(self, octets: bytes) -> None:
        text = octets.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
        scopes: list[str] = []
        for match in re.finditer(r"\$(\w+)\s*(.*?)\s*\$end\b", text, re.DOTALL):
            keyword, body = match[1], match[2]
            line = text.count("\n", 0, match.start()) + 1
            if keyword == "timescale":
                scale = _TIMESCALE.fullmatch(body)
                if scale is None:
                    raise UsageError(
                        f"{self.name}:{line}: $timescale {sanitize(body)[:30]!r}; expected 1, 10 "
                        "or 100 of s, ms, us, ns, ps or fs"
                    )
                self.tick_s = int(scale[1]) * _SECONDS[scale[2]]
            elif keyword == "scope":
                scopes.append(body.split()[-1] if body.split() else "")
            elif keyword == "upscope" and scopes:
                scopes.pop()
            elif keyword == "var":
                words = body.split()
                if len(words) < 4 or not words[1].isdecimal() or len(words[1]) > 6:
                    raise UsageError(
                        f"{self.name}:{line}: $var {sanitize(body)[:40]!r}; expected kind, size, "
                        "code and name"
                    )
                self.variables.append(
                    _Variable(words[0], int(words[1]), words[2].encode(), " ".join(words[3:]))
                )

    def chosen(self, options: ReadOptions) -> _Variable:
        """Return the variable to read."""
        numbers = [variable for variable in self.variables if variable.is_number]
        if not numbers:
            raise UsageError(
                f"{self.name}: no real variable; expected currents or volts: wires of one bit have "
                "no amplitude"
            )
        known = ", ".join(sanitize(variable.name) for variable in numbers)[:200]
        if options.column is not None:
            for variable in numbers:
                if options.column in (variable.name, variable.code.decode("utf-8", "replace")):
                    return variable
            raise UsageError(
                f"{self.name}: no variable {sanitize(options.column)!r}; there are: {known}"
            )
        if len(numbers) == 1:
            return numbers[0]
        mine = [
            v for v in numbers if re.search(rf"(?i)ch(annel)?[ _]?{options.channel}(?!\d)", v.name)
        ]
        currents = [v for v in mine if (v.unit or "").endswith("A")]
        chosen = currents if len(currents) == 1 else mine
        if len(chosen) == 1:
            return chosen[0]
        raise UsageError(f"{self.name}: several variables; choose with --column: {known}")


class _Vcd(Capture):
    def __init__(
        self,
        path: str,
        header: _Header,
        variable: _Variable,
        options: ReadOptions,
        progress: Progress,
    ) -> None:
        self._path = path
        self._header = header
        self._variable = variable
        self._progress = progress
        unit = options.unit or variable.unit
        notes: tuple[str, ...] = ()
        if unit is None and options.load_ohm is not None:
            unit, notes = "V", ("no unit is named: volts were assumed, since a load was given",)
        if unit is None:
            raise UsageError(
                f"{header.name}: the unit of {sanitize(variable.name)} is not named; say it with "
                f"--unit {'|'.join(UNITS_UA)}"
            )
        what = f"{header.name}: {sanitize(variable.name)}"
        self._quantity, self._scale = scale_to_ua(unit, what, options)
        self._notes = notes
        self._tick_us = header.tick_s * US_PER_S
        self._first_tick: int | None = None
        self._last_tick = 0
        self._step_ticks = self._sampled_step()
        self.is_sampled = self._step_ticks > 0

    @property
    def info(self) -> CaptureInfo:
        first = self._first_tick or 0
        step_us = self._step_ticks * self._tick_us
        return CaptureInfo(
            path=self._path,
            format="VCD",
            quantity=self._quantity,
            sample_rate_hz=US_PER_S / step_us if self.is_sampled else None,
            duration_s=(self._last_tick - first) * self._header.tick_s,
            resolution_ua=None,
            start_s=first * self._header.tick_s,
            column=sanitize(self._variable.name),
            notes=self._notes,
        )

    def steps(self) -> Iterator[Steps]:
        held_tick, held = 0, 0.0
        for ticks, levels in self._changes(self._progress):
            first = self._first_tick or 0
            starts = np.concatenate(([held_tick], ticks))
            currents = np.concatenate(([held], levels))
            held_tick, held = int(ticks[-1]), float(levels[-1])
            begin_us = (starts[:-1] - first) * self._tick_us
            end_us = (starts[1:] - first) * self._tick_us
            flowing = (currents[:-1] != 0) & (end_us > begin_us)
            if flowing.any():
                yield Steps(
                    begin_us[flowing], end_us[flowing], currents[:-1][flowing] * self._scale
                )
        if held and self._last_tick > held_tick:
            first = self._first_tick or 0
            bounds = np.array([held_tick, self._last_tick], np.float64) - first
            bounds = bounds * self._tick_us
            yield Steps(bounds[:1], bounds[1:], np.array([held * self._scale]))

    def chunks(self) -> Iterator[Floats]:
        held: tuple[int, float] | None = None
        for ticks, levels in self._changes(self._progress):
            if held is not None:
                ticks = np.concatenate(([held[0]], ticks))
                levels = np.concatenate(([held[1]], levels))
            held = int(ticks[-1]), float(levels[-1])
            counts = np.round(np.diff(ticks) / self._step_ticks).astype(np.int64)
            at = 0
            while at < len(counts):
                # Long stretches without a change come in parts.
                stop = at + max(1, int(np.searchsorted(np.cumsum(counts[at:]), _CHUNK_SAMPLES)))
                part = counts[at:stop]
                while part[0] > _CHUNK_SAMPLES:
                    yield np.full(_CHUNK_SAMPLES, levels[at] * self._scale)
                    part = np.append(part[0] - _CHUNK_SAMPLES, part[1:])
                yield np.repeat(levels[at:stop], part) * self._scale
                at = stop

    def _sampled_step(self) -> int:
        """Return the ticks between samples where the values are noisy; 0 where they are exact."""
        for ticks, levels in self._changes(None):
            changes = np.diff(ticks)
            changes = changes[changes > 0]
            if len(changes) < _NOISY_CHANGES_MIN:
                return 0
            if not _are_samples(levels):
                return 0
            step = int(np.quantile(changes, 0.05))
            if np.abs(changes / step - np.round(changes / step)).max() >= 0.2:
                step = int(np.gcd.reduce(changes.astype(np.int64)))
            return step if changes.mean() / step < _EXPANSION_MAX else 0
        return 0

    def _changes(self, progress: Progress | None) -> Iterator[tuple[Floats, Floats]]:
        """Yield ticks and values of the chosen variable, block by block."""
        total = os.path.getsize(self._path)
        self._first_tick, self._last_tick = None, 0
        tick, line = 0, self._header.line_count
        done = self._header.length
        code = self._variable.code
        pending: bytes | None = None
        is_comment = False
        with open(self._path, "rb") as file:
            file.seek(self._header.length)
            for block in whole_lines(file, _BLOCK_BYTES):
                ticks: list[int] = []
                levels: list[float] = []
                for token in block.split():
                    if is_comment:
                        is_comment = token != b"$end"
                        continue
                    if pending is not None:
                        if token == code:
                            level = self._level(pending)
                            if level is None:
                                raise self._damage(block, line, pending)
                            ticks.append(tick)
                            levels.append(level)
                        pending = None
                        continue
                    head = token[:1]
                    if head == b"#":
                        if not token[1:].isdigit() or int(token[1:]) > _TICK_MAX:
                            raise self._damage(block, line, token)
                        if int(token[1:]) < tick and self._first_tick is not None:
                            raise self._damage(block, line, token, f"a time from {tick} on")
                        tick = int(token[1:])
                        if self._first_tick is None:
                            self._first_tick = tick
                    elif head in b"rRbB" and len(token) > 1:
                        pending = token
                    elif token == b"$comment":
                        is_comment = True
                    elif token in _SECTIONS or (head in b"01xXzZ" and len(token) > 1):
                        continue
                    else:
                        raise self._damage(block, line, token)
                self._last_tick = tick
                done += len(block)
                line += block.count(b"\n")
                if progress is not None:
                    progress(done, total)
                if ticks:
                    yield np.array(ticks, np.float64), np.array(levels, np.float64)
        if pending is not None:
            shown = sanitize(pending[:40].decode("utf-8", "replace"))
            raise UsageError(
                f"{self._header.name}:{line + 1}: {shown!r}: the file is cut short; expected the "
                "code of a variable after it"
            )

    def _level(self, token: bytes) -> float | None:
        """Return the value of a token; None where it is none."""
        try:
            if token[:1] in b"rR":
                level = float(token[1:])
                return level if np.isfinite(level) and abs(level) < 1e15 else None
            if set(token[1:]) <= set(b"xXzZ"):
                return 0.0  # not driven yet
            number = int(token[1:], 2)
        except ValueError:
            return None
        size = self._variable.size
        if self._variable.kind == "integer" and len(token) - 1 >= size and number >> (size - 1):
            number -= 1 << size
        return float(number)

    def _damage(self, block: bytes, line: int, token: bytes, expected: str = "") -> UsageError:
        """Return what is wrong with a token, and in which line it stands."""
        number = line + 1
        for offset, text in enumerate(block.split(b"\n")):
            if token in text.split():
                number = line + offset + 1
                break
        shown = sanitize(token[:40].decode("utf-8", "replace"))
        expected = expected or "a time (#123) or a change (r0.5 !)"
        return UsageError(f"{self._header.name}:{number}: {shown!r}; expected {expected}")


def _are_samples(levels: Floats) -> bool:
    """Tell values that an instrument sampled from those that a programme has."""
    moves = np.abs(np.diff(levels))
    if np.count_nonzero(moves == 0) > _REPEATED_SHARE * len(moves):
        return True
    moves = moves[moves > 0]
    # Pulses leap; only in the first steps of a ramp do they move by a small part of their height.
    is_small = moves < _SMALL_PART * np.ptp(levels)
    if np.count_nonzero(is_small) > _SMALL_SHARE * len(moves):
        return True
    silent = np.count_nonzero(levels == 0) / len(levels)
    # Pulses come back to zero after each; noise, or an offset, does not.
    return bool(silent <= _NOISY_SHARE) and len(np.unique(levels)) >= _NOISY_CHANGES_MIN // 4
