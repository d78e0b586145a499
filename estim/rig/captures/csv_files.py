"""Read samples from a CSV, block by block.

Rules:
1. numpy's parser reads whole blocks; only a block that it refuses is looked at line by line.
2. Times must be even: a gap or a change of rate is an error with its line, never measured over.
3. Readings beyond the instrument's range, written as infinity, become the largest that was seen,
   and the capture counts as clipped.
4. A file that was cut in the middle of its last line is refused; one that holds fewer samples than
   its header states says so.
"""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from estim.errors import UsageError
from estim.rig.captures.capture import (
    Capture,
    CaptureInfo,
    Floats,
    Progress,
    ReadOptions,
    read_probe,
    scale_to_ua,
    whole_lines,
)
from estim.rig.captures.csv_headers import Header, read_header
from estim.rig.captures.last_lines import why_cut
from estim.rig.counts import counted
from estim.text import sanitize

_BLOCK_BYTES = 1 << 22
_EVEN = 0.5
_LEAP = 20
"""Intervals that times of too few digits may leap by; what leaps farther is a gap."""
_DIGIT_SHARE = 1e-3
"""Of a capture's length: what the last digit of its times may be, a tenth of a rate's tolerance."""
_READING_MAX = 1e15
_WIDE_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def open_csv(name: str, options: ReadOptions, progress: Progress) -> Capture:
    """Open a CSV of samples.

    Raises:
        UsageError: it holds no samples, or something must be said about them.
    """
    probe = read_probe(name)
    if probe.startswith(_WIDE_BOMS):
        raise UsageError(f"{sanitize(name)}: UTF-16 text; expected UTF-8: save it as plain CSV")
    text = _decoded(probe)
    header = read_header(name, text, len(probe) == os.path.getsize(name), options)
    return _Csv(name, header, options, progress)


def _decoded(octets: bytes) -> str:
    octets = octets.removeprefix(codecs.BOM_UTF8)
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


class _Csv(Capture):
    def __init__(self, name: str, header: Header, options: ReadOptions, progress: Progress) -> None:
        self._name = sanitize(name)
        self._path = name
        self._header = header
        self._progress = progress
        quantity, self._scale = scale_to_ua(header.unit, f"{self._name}: {header.name}", options)
        self._interval_s = header.interval_s or 0.0
        self._start_s = header.start_s
        self._last_s = 0.0
        self._count = 0
        self._digit_s = 0.0
        self._largest = 0.0
        self._blocks: list[tuple[int, int, int]] = []
        self._info = CaptureInfo(
            path=name,
            format=header.style,
            quantity=quantity,
            sample_rate_hz=1.0 / header.interval_s if header.interval_s else None,
            duration_s=0.0,
            resolution_ua=None,
            start_s=header.start_s,
            column=header.name,
            notes=header.notes,
            stated_count=header.stated_count,
        )

    @property
    def info(self) -> CaptureInfo:
        return self._info

    def chunks(self) -> Iterator[Floats]:
        total = os.path.getsize(self._path)
        offset, line = 0, 0
        with open(self._path, "rb") as file:
            for block in whole_lines(file, _BLOCK_BYTES):
                first_line = line
                length, line = len(block), line + block.count(b"\n")
                body, skipped = self._body(block, first_line)
                if body.strip():
                    self._blocks.append((self._count, offset, length))
                    readings = self._samples(body, first_line + skipped)
                    if len(readings):
                        yield readings
                offset += length
                self._progress(offset, total)
        missing = why_cut(self._path, self._header)
        if missing:
            raise UsageError(
                f"{self._name}:{line + 1}: the last line is cut short; expected {missing}: save "
                "the capture again"
            )
        if self._count < 2:
            raise UsageError(f"{self._name}: {counted(self._count, 'sample')}; expected a capture")
        if self._header.time_column is not None:
            span_s = self._last_s - self._start_s
            self._interval_s = span_s / (self._count - 1)
            if self._digit_s > _DIGIT_SHARE * span_s:
                raise self._few_digits(self._header.first_line)
        self._tell()

    def window(self, first: int, count: int) -> Floats:
        wanted: list[Floats] = []
        with open(self._path, "rb") as file:
            for index, (begin, offset, length) in enumerate(self._blocks):
                after = len(self._blocks) == index + 1
                end = self._count if after else self._blocks[index + 1][0]
                if begin >= first + count or end <= first:
                    continue
                file.seek(offset)
                body, _ = self._body(file.read(length), 0 if offset == 0 else 1 << 30)
                readings = self._parsed(body)[:, -1] * self._scale
                readings = np.nan_to_num(readings, posinf=self._largest, neginf=-self._largest)
                wanted.append(readings[max(0, first - begin) : first + count - begin])
        return np.concatenate(wanted) if wanted else np.empty(0)

    def _body(self, block: bytes, first_line: int) -> tuple[bytes, int]:
        """Return a block without the header's lines, and how many were left out."""
        skip = max(0, self._header.first_line - first_line)
        at = 0
        for _ in range(skip):
            at = block.find(b"\n", at) + 1
            if at == 0:
                return b"", skip
        if self._header.decimal == ",":
            block = block.replace(b",", b".")
        return block[at:], skip

    def _parsed(self, body: bytes) -> Floats:
        """Return times (if there are) and readings, shape (samples, columns)."""
        header = self._header
        columns = [header.value_column]
        if header.time_column is not None:
            columns.insert(0, header.time_column)
        if b"\xe2\x88\x9e" in body:
            body = body.replace("∞".encode(), b"inf")
        if b'"' in body:
            body = body.replace(b'"', b"")
        if b"\r" in body:
            body = body.replace(b"\r", b"")
        rows: Floats = np.loadtxt(
            io.BytesIO(body),
            delimiter=None if header.delimiter == " " else header.delimiter,
            usecols=columns,
            ndmin=2,
            comments=None,
            dtype=np.float64,
            encoding="latin-1",
        )
        return rows

    def _samples(self, body: bytes, line: int) -> Floats:
        try:
            rows = self._parsed(body)
        except ValueError:
            raise self._damage(body, line) from None
        if np.isnan(rows).any() or (np.abs(rows[np.isfinite(rows)]) > _READING_MAX).any():
            raise self._damage(body, line)
        if self._header.time_column is not None:
            self._check_times(rows[:, 0] * self._header.time_scale_s, body, line)
        else:
            self._last_s = self._start_s + (self._count + len(rows) - 1) * self._interval_s
        readings = rows[:, -1] * self._scale
        self._count += len(readings)
        infinite = np.isinf(readings)
        if not infinite.all():
            self._largest = max(self._largest, float(np.abs(readings[~infinite]).max()))
        if infinite.any():
            self._info = replace(self._info, is_clipped=True)
            readings = np.clip(readings, -self._largest, self._largest)
        self._tell()
        return readings

    def _tell(self) -> None:
        self._info = replace(
            self._info,
            sample_rate_hz=1.0 / self._interval_s if self._interval_s > 0 else None,
            duration_s=self._count * self._interval_s,
            sample_count=self._count,
            start_s=self._start_s,
        )

    def _check_times(self, times_s: Floats, body: bytes, line: int) -> None:
        """Hold the times of a block against an even grid (rule 2)."""
        if not np.isfinite(times_s).all():
            raise self._damage(body, line)
        if self._count == 0:
            self._start_s = float(times_s[0])
            if len(times_s) > 1:
                self._interval_s = float(times_s[-1] - times_s[0]) / (len(times_s) - 1)
            if self._interval_s <= 0:
                raise UsageError(
                    f"{self._name}:{line + 1}: times do not rise; expected evenly spaced samples"
                )
        else:
            times_s = np.concatenate(([self._last_s], times_s))
        steps = np.diff(times_s)
        # Times printed with few digits stand still and leap: by no more than their last digit.
        moves = steps[steps != 0]
        digit_s = float(np.abs(moves).min()) if len(moves) < len(steps) and len(moves) else 0.0
        allowed_s = _EVEN * self._interval_s + digit_s
        wrong = np.flatnonzero(np.abs(steps - self._interval_s) > allowed_s)
        if len(wrong) and digit_s == 0.0:
            # The mean of a block with a gap is nobody's interval: the median tells it.
            middle_s = float(np.median(steps))
            wrong = np.flatnonzero(np.abs(steps - middle_s) > _EVEN * abs(middle_s))
        self._digit_s = max(self._digit_s, digit_s)
        largest_s = float(np.abs(steps).max(initial=0.0))
        if len(wrong) and digit_s and largest_s <= _LEAP * max(digit_s, self._interval_s):
            self._digit_s = largest_s
            raise self._few_digits(line)
        if len(wrong):
            row = int(wrong[0]) + (1 if self._count == 0 else 0)
            number = self._line_of(body, row, line)
            raise UsageError(
                f"{self._name}:{number}: the time moves by {steps[wrong[0]]:.6g} s; expected "
                f"{float(np.median(steps)):.6g} s between all samples"
            )
        self._last_s = float(times_s[-1])

    def _few_digits(self, line: int) -> UsageError:
        return UsageError(
            f"{self._name}:{line + 1}: the times have too few digits to tell the sample rate: they "
            f"stand still and move by {self._digit_s:.3g} s; say it with --sample-rate HZ"
        )

    @staticmethod
    def _line_of(body: bytes, row: int, line: int) -> int:
        """Return the number, from 1, of the line that holds a row of a block."""
        seen = -1
        for number, text in enumerate(body.splitlines(), start=line + 1):
            seen += bool(text.strip())
            if seen == row:
                return number
        return line + 1

    def _damage(self, body: bytes, line: int) -> UsageError:
        """Return what is wrong with the first damaged line of a block."""
        for number, text in enumerate(body.splitlines(), start=line + 1):
            if not text.strip():
                continue
            try:
                row = self._parsed(text)
                sound = not np.isnan(row).any() and np.isfinite(row[:, :-1]).all()
                finite = row[np.isfinite(row)]
                if sound and (np.abs(finite) <= _READING_MAX).all():
                    continue
            except ValueError:
                pass
            shown = sanitize(text[:60].decode("utf-8", "replace"))
            columns = [self._header.value_column + 1]
            if self._header.time_column is not None:
                columns.insert(0, self._header.time_column + 1)
            where = " and ".join(map(str, columns))
            return UsageError(
                f"{self._name}:{number}: {shown!r}; expected a number in column {where}"
            )
        return UsageError(f"{self._name}: not readable after line {line}")
