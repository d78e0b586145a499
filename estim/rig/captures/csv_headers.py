"""Read what stands before the numbers of a CSV: delimiter, columns, units, sample interval.

Known styles: Tektronix (key, value in leading columns or lines), Keysight (`x-axis,1` over
`second,Volt`), Rigol (`X,CH1,Start,Increment` over `Sequence,Volt,...`; `CH1(V),t0 = ..., tInc =
...`), Siglent (keys, then
`Source,CH1` over `Second,Value`), LeCroy (`Time,Ampl`), PicoScope (a row of units in brackets),
Digilent (`#Sample rate:`), sigrok (remarks after ';'), and plain `time,value`.

Rules:
1. Numbers decide: the data begin where all later lines have numbers in the same columns.
2. A unit is taken from the column's name, the row below it, or the header; else it is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

from estim.errors import UsageError
from estim.rig.captures.capture import UNITS_UA, ReadOptions
from estim.text import sanitize

_NUMBER = re.compile(
    r"\s*[\"']?[+-]?(\d+([.]\d*)?|[.]\d+)([eE][+-]?\d+)?[\"']?\s*|\s*[+-]?(inf|nan|∞|infinity)\s*",
    re.IGNORECASE,
)
_TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}
_TIME_WORDS = {
    "time", "t", "s", "sec", "second", "seconds", "timestamp", "x-axis", "x", "time(s)", "zeit",
    "zeitstempel", "temps", "tiempo",
}  # fmt: skip
_INDEX_WORDS = {"x", "sample", "samples", "index", "sequence", "n", "#"}
_QUANTITY = {
    "v": "V", "volt": "V", "volts": "V", "mv": "mV", "millivolt": "mV", "uv": "uV",
    "a": "A", "amp": "A", "ampere": "A", "amps": "A", "amperes": "A", "ma": "mA",
    "milliampere": "mA", "ua": "uA", "microampere": "uA",
}  # fmt: skip
_BRACKETS = re.compile(r"[(\[]\s*([^)\]]{1,12}?)\s*[)\]]")
_KEYED = re.compile(r"[:=]")
_CHANNEL = re.compile(
    r"(?:ch(?:annel)?|kanal|c)[\s_]*(\d)\b|(?:ch(?:annel)?)[\s_]*(\d)(?=_)", re.IGNORECASE
)
_INTERVAL_KEYS = {
    "sample interval", "sampling interval", "sampling period", "sample period", "h resolution",
    "hresolution", "xinc", "x increment", "increment", "interval", "dt", "delta t", "time interval",
    "sample time", "xincrement", "tinc",
}  # fmt: skip
_RATE_KEYS = {
    "sample rate", "samplerate", "sampling rate", "sampling frequency", "sample frequency", "fs",
    "sampling rate (hz)", "samples per second", "meta samplerate",
}  # fmt: skip
_COUNT_KEYS = {
    "record length", "samples", "points", "number of samples", "sample count", "samples count",
    "number of points", "data points", "waveform points", "memory length", "blocksize",
    "block size", "recordlength", "segmentsize",
}  # fmt: skip
_COUNT = re.compile(
    r"(?:analog\s*:)?\s*(\d+)(?:[.](\d*))?(?:e([+]?\d{1,2}))?\s*([kmg]?)"
    r"\s*(?:pts?|points?|samples?|sa|s)?",
    re.IGNORECASE,
)
_CHANNEL_UNIT = re.compile(r"ch(\d)\s*:\s*([a-zµμ]+)", re.IGNORECASE)
_UNIT_KEYS = {"vertical units", "vertical unit", "vunit", "y units", "yunit", "y unit"}
_RATE = re.compile(r"([0-9.eE+]+)\s*([kMG]?)\s*(?:Hz|S/s|Sa/s|SPS)?", re.IGNORECASE)
_WITH_UNIT = re.compile(r"(?:.*:)?\s*([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([a-zµμ]*)\s*")
_PROBE_ROWS = 8
_LINES_MAX = 400
_FORMS = ((",", "."), (";", ","), (";", "."), ("\t", "."), ("\t", ","), (" ", "."))


@dataclass(frozen=True, slots=True)
class Header:
    """What a CSV's header says.

    Attributes:
        style: in words.
        delimiter: between cells.
        decimal: '.' or ','.
        first_line: number of the first line of data, from 0.
        time_column: None where times follow from the interval.
        value_column: of the readings.
        columns: number of cells that a line needs.
        unit: of the readings.
        time_scale_s: seconds per unit of the time column.
        interval_s: between samples, where the header says it.
        start_s: time of the first sample, where there is no time column.
        name: of the column of readings.
        notes: what a person should know.
        stated_count: samples that there are at least, where the header says so.
    """

    style: str
    delimiter: str
    decimal: str
    first_line: int
    time_column: int | None
    value_column: int
    columns: int
    unit: str
    time_scale_s: float
    interval_s: float | None
    start_s: float
    name: str
    notes: tuple[str, ...] = field(default=())
    stated_count: int | None = None


def read_header(name: str, text: str, is_whole: bool, options: ReadOptions) -> Header:
    """Return what the header of a CSV says; `text` is the beginning of the file.

    Raises:
        UsageError: there are no numbers, or something must be said about them.
    """
    lines = text.splitlines()[: _LINES_MAX + 1]
    if len(lines) > 1 and (not is_whole or len(lines) > _LINES_MAX):
        lines.pop()
    return _Reader(sanitize(name), lines, options).header()


class _Reader:
    def __init__(self, name: str, lines: list[str], options: ReadOptions) -> None:
        self._name = name
        self._lines = lines
        self._options = options
        self._notes: list[str] = []

    def header(self) -> Header:
        delimiter, decimal, numeric = self._form()
        self._cells = [self._split(line, delimiter, decimal) for line in self._lines]
        first = self._first_line(numeric)
        self._keys = self._preamble(first, numeric)
        titles = {column: self._titles(column, first, numeric) for column in numeric}
        time_column, scale_s, interval_s, start_s = self._time(numeric, titles, first)
        values = [column for column in numeric if column != time_column]
        if self._index_column is not None and self._index_column in values:
            values.remove(self._index_column)
        if not values:
            raise UsageError(
                f"{self._name}:{first + 1}: one column of times and none of readings; expected both"
            )
        value_column = self._value_column(values, titles)
        unit = self._unit(titles[value_column])
        if time_column is None and interval_s is None:
            raise UsageError(
                f"{self._name}: no column of times and no sample interval in the header; say it "
                "with --sample-rate HZ"
            )
        return Header(
            style=self._style(titles),
            delimiter=delimiter,
            decimal=decimal,
            first_line=first,
            time_column=time_column,
            value_column=value_column,
            columns=max(value_column, time_column or 0) + 1,
            unit=unit,
            time_scale_s=scale_s,
            interval_s=interval_s,
            start_s=start_s,
            name=sanitize(_name_of(titles[value_column]) or f"column {value_column + 1}"),
            notes=tuple(self._notes),
            stated_count=self._stated_count(),
        )

    # ---- where the numbers are ----

    def _form(self) -> tuple[str, str, list[int]]:
        """Return delimiter, decimal sign and the columns that hold numbers."""
        tail = [
            (number, line)
            for number, line in enumerate(self._lines)
            if line.strip(" ,;\t") and not line.startswith((";", "#"))
        ][-_PROBE_ROWS:]
        if not tail:
            raise UsageError(f"{self._name}: no line with numbers; expected samples")
        best: tuple[int, str, str, list[int]] | None = None
        # A comma first: of several that give as many columns, the first is taken.
        for delimiter, decimal in _FORMS:
            rows = [self._split(line, delimiter, decimal) for _, line in tail]
            # A file may hold little but its header: its last lines decide.
            columns = _numeric_columns(rows[len(rows) // 2 :])
            if decimal == "," and not any("," in line for _, line in tail):
                continue
            if columns and (best is None or len(columns) > best[0]):
                best = (len(columns), delimiter, decimal, columns)
        if best is None:
            number, line = tail[-1]
            raise UsageError(
                f"{self._name}:{number + 1}: {sanitize(line.strip())[:60]!r}; expected numbers in "
                "columns (a CSV of samples), a VCD, or a trace of estim"
            )
        return best[1], best[2], best[3]

    @staticmethod
    def _split(line: str, delimiter: str, decimal: str) -> list[str]:
        cells = line.split() if delimiter == " " else line.split(delimiter)
        if decimal == ",":
            cells = [cell.replace(",", ".") for cell in cells]
        return [cell.strip().strip("\"'") for cell in cells]

    def _first_line(self, numeric: list[int]) -> int:
        """Return the first line from which a stretch of lines has numbers in these columns."""
        run = first = 0
        for index, cells in enumerate(self._cells):
            if self._lines[index].startswith((";", "#")) or not self._lines[index].strip():
                run = 0 if run < 2 else run
                continue
            if _is_row(cells, numeric):
                run += 1
                first = index if run == 1 else first
                if run >= 3 or index == len(self._cells) - 1:
                    return first
            else:
                run = 0
        last = len(self._cells) - 1
        while last > 0 and not _is_row(self._cells[last], numeric):
            last -= 1
        return last - max(0, run - 1)

    def _preamble(self, first: int, numeric: list[int]) -> dict[str, str]:
        """Return keys and values of the header: lines before the data, and columns beside them."""
        keys: dict[str, str] = {}
        rows = self._cells[:first]
        beside = min(numeric)
        if beside >= 2:  # the old Tektronix style
            rows = rows + [cells[:beside] for cells in self._cells[first : first + 40]]
        for cells in rows:
            joined = " ".join(cells).lstrip("#; \t")
            if len(cells) >= 2 and cells[0] and cells[1]:
                keys.setdefault(_plain(cells[0]), cells[1])
            if len(cells) >= 4 and _plain(cells[0]) == "segments" and cells[1] == "1":
                keys.setdefault(_plain(cells[2]), cells[3])
            for key, separator, rest in (cell.partition("=") for cell in cells):
                if separator:
                    keys.setdefault(_plain(key), rest.strip())
            key, separator, rest = joined.partition(":")
            if not separator:
                key, separator, rest = joined.partition("=")
            if separator and len(key) < 40:
                keys.setdefault(_plain(key), rest.strip())
        return keys

    def _titles(self, column: int, first: int, numeric: list[int]) -> list[str]:
        """Return what stands above a column, the nearest last."""
        titles: list[str] = []
        for index in range(max(0, first - 4), first):
            cells, line = self._cells[index], self._lines[index]
            if line.startswith((";", "#")) and index < first - 1:
                continue
            if len(cells) > column and len([c for c in cells if c]) >= min(2, len(numeric)):
                titles.append(cells[column].lstrip("#; "))
        return titles

    # ---- what they mean ----

    def _time(
        self, numeric: list[int], titles: dict[int, list[str]], first: int
    ) -> tuple[int | None, float, float | None, float]:
        """Return the column of times, its scale, the interval and the first time."""
        self._index_column: int | None = None
        interval_s, start_s = self._interval()
        start_s = start_s or 0.0
        time_column = None
        # A lone column beside a stated interval holds readings, whatever stands above it.
        for column in numeric if len(numeric) > 1 or interval_s is None else []:
            words = [_plain(_BRACKETS.sub("", title)) for title in titles[column]]
            if any(
                word in _TIME_WORDS or word.startswith(("time", "t_", "second")) for word in words
            ):
                time_column = column
                break
        index_words = [_plain(t) for t in titles[numeric[0]]] if titles else []
        if any(word in _INDEX_WORDS - {"x"} for word in index_words):
            # Rigol: sample numbers, with start and increment beside the names.
            self._index_column = numeric[0]
            increment_s, begin_s = self._increment(first)
            return None, 1.0, increment_s or interval_s, begin_s or start_s
        if self._options.sample_rate_hz is not None:
            self._index_column = time_column
            if time_column is not None:
                self._notes.append("the column of times was not used: --sample-rate was given")
            return None, 1.0, 1.0 / self._options.sample_rate_hz, start_s
        is_named = bool(interval_s and titles[numeric[0]])
        if (
            time_column is None
            and len(numeric) >= 2
            and not is_named
            and self._looks_like_time(numeric[0], first)
        ):
            time_column = numeric[0]
            self._notes.append("no header names the times: the first column was taken, in s")
        if time_column is None:
            return None, 1.0, interval_s, start_s
        return time_column, self._time_scale(titles[time_column]), None, 0.0

    def _increment(self, first: int) -> tuple[float | None, float | None]:
        names = [
            (index, [_plain(cell) for cell in cells])
            for index, cells in enumerate(self._cells[:first])
        ]
        for index, cells in names:
            if "increment" in cells and index + 1 < len(self._cells):
                row = self._cells[index + 1]
                increment_s = _number(row, cells.index("increment"))
                start_s = _number(row, cells.index("start")) if "start" in cells else None
                return increment_s, start_s
        return None, None

    def _interval(self) -> tuple[float | None, float | None]:
        """Return sample interval and first time as the header says them."""
        for key in _INTERVAL_KEYS & self._keys.keys():
            match = _WITH_UNIT.fullmatch(self._keys[key])
            if match and float(match[1]) > 0:
                unit = match[2].replace("µ", "u").replace("μ", "u")
                return float(match[1]) * _TIME_UNITS.get(unit, 1.0), None
        for key in _RATE_KEYS & self._keys.keys():
            match = _RATE.match(self._keys[key].strip())
            if match:
                try:
                    rate = float(match[1]) * {"k": 1e3, "m": 1e6, "g": 1e9}.get(
                        match[2].lower(), 1.0
                    )
                except ValueError:
                    continue
                if rate > 0:
                    return 1.0 / rate, None
        return None, None

    def _stated_count(self) -> int | None:
        """Return how many samples the header says there are; rounded figures by their least."""
        for key in sorted(_COUNT_KEYS & self._keys.keys()):
            match = _COUNT.fullmatch(self._keys[key].split(",")[0].strip())
            if match is None:
                continue
            whole, decimals, exponent, prefix = match.groups()
            figure = float(f"{whole}.{decimals or '0'}e{exponent or '0'}")
            factor = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}[prefix.lower()]
            # '14M' may be anything that rounds to it; a whole number stands for itself.
            rounded = 0.5 * factor * 10.0 ** -len(decimals or "") if prefix else 0.0
            return max(0, round(figure * factor - rounded)) or None
        return None

    def _looks_like_time(self, column: int, first: int) -> bool:
        """Tell whether a column rises evenly."""
        times = [_number(cells, column) for cells in self._cells[first : first + 200] if any(cells)]
        known = [time for time in times if time is not None]
        if len(known) < 3 or len(known) != len(times):
            return False
        steps = [later - earlier for earlier, later in pairwise(known)]
        mean = (known[-1] - known[0]) / (len(known) - 1)
        return mean > 0 and all(abs(step - mean) <= 0.6 * mean for step in steps)

    def _time_scale(self, titles: list[str]) -> float:
        for title in reversed(titles):
            for word in (*_BRACKETS.findall(title), title, title.rpartition("_")[2]):
                unit = _plain(word).replace("µ", "u").replace("μ", "u")
                if unit in _TIME_UNITS:
                    return _TIME_UNITS[unit]
                spelled = {
                    "millisecond": 1e-3, "milliseconds": 1e-3, "microseconds": 1e-6,
                    "microsecond": 1e-6, "nanoseconds": 1e-9, "second": 1.0, "seconds": 1.0,
                }  # fmt: skip
                if unit in spelled:
                    return spelled[unit]
        return 1.0

    def _value_column(self, values: list[int], titles: dict[int, list[str]]) -> int:
        wanted = self._options.column
        names = {column: " ".join(t for t in titles[column] if t) for column in values}
        if wanted is not None:
            for column in values:
                if wanted in titles[column] or wanted.lower() == names[column].lower():
                    return column
            if wanted.isdigit() and int(wanted) - 1 in values:
                return int(wanted) - 1
            raise self._ask_column(f"no column {sanitize(wanted)!r}", names)
        if len(values) == 1:
            return values[0]
        of_channel = [
            column for column in values if _channel_of(names[column]) == self._options.channel
        ]
        currents = [c for c in of_channel if (_unit_of(titles[c]) or "").endswith("A")]
        chosen = currents if len(currents) == 1 else of_channel
        if len(chosen) == 1:
            self._notes.append(f"of several columns, {sanitize(names[chosen[0]])} was taken")
            return chosen[0]
        raise self._ask_column("several columns of readings", names)

    def _ask_column(self, problem: str, names: dict[int, str]) -> UsageError:
        known = ", ".join(sanitize(name) or str(column + 1) for column, name in names.items())
        return UsageError(f"{self._name}: {problem}; choose with --column: {known[:200]}")

    def _unit(self, titles: list[str]) -> str:
        if self._options.unit is not None:
            return self._options.unit
        unit = _unit_of(titles)
        for key in _UNIT_KEYS & self._keys.keys():
            unit = unit or _keyed_unit(self._keys[key], self._channel(titles))
        if unit is None and "ampl" in [_plain(title) for title in titles]:
            unit = "V"  # LeCroy writes volts, and no unit
        if unit is None and self._options.load_ohm is not None:
            self._notes.append("no unit is named: volts were assumed, since a load was given")
            unit = "V"
        if unit is None:
            raise UsageError(
                f"{self._name}: the unit of the readings is not named; say it with --unit "
                f"{'|'.join(UNITS_UA)}"
            )
        return unit

    def _channel(self, titles: list[str]) -> int:
        """Return the number that the header's source or a column's title names, or the asked."""
        names = [self._keys.get("source", ""), *(t for t in titles[::-1] if not _KEYED.search(t))]
        return next((number for name in names if (number := _channel_of(name))), 0) or (
            self._options.channel
        )

    def _style(self, titles: dict[int, list[str]]) -> str:
        head = "\n".join(self._lines[:40]).lower()
        for mark, style in (
            ("libsigrok", "sigrok CSV"), ("sigrok", "sigrok CSV"), ("digilent", "Digilent CSV"),
            ("lecroy", "LeCroy CSV"), ("x-axis", "Keysight CSV"), ("increment", "Rigol CSV"),
            ("analog:", "Siglent CSV"),
            ("second,value", "Siglent CSV"),
            ("record length", "Tektronix CSV"),
        ):  # fmt: skip
            if mark in head:
                return style
        units = [title for column in titles.values() for title in column[-1:]]
        if units and all(title.startswith("(") and title.endswith(")") for title in units):
            return "PicoScope CSV"
        return "CSV"


def _plain(text: str) -> str:
    return " ".join(text.strip(" \t\"'#;:").lower().split())


def _number(cells: list[str], column: int) -> float | None:
    if column >= len(cells) or not _NUMBER.fullmatch(cells[column]):
        return None
    try:
        return float(cells[column].replace("∞", "inf"))
    except ValueError:
        return None


def _is_row(cells: list[str], numeric: list[int]) -> bool:
    return all(len(cells) > column and _NUMBER.fullmatch(cells[column]) for column in numeric)


def _numeric_columns(rows: list[list[str]]) -> list[int]:
    """Return the columns that hold a number in every row."""
    width = min(len(cells) for cells in rows)
    columns = []
    for column in range(width):
        cells = [row[column] for row in rows]
        if all(_NUMBER.fullmatch(cell) for cell in cells):
            columns.append(column)
        elif any(cells) and all(cell and not _NUMBER.fullmatch(cell) for cell in cells):
            return [] if width == 1 else columns
    return columns


def _unit_of(titles: list[str]) -> str | None:
    """Return the unit of readings that the words above a column name."""
    for title in reversed(titles):
        for word in (
            *_BRACKETS.findall(title),
            title,
            title.rpartition("_")[2],
            title.split(" ")[-1],
        ):
            unit = _QUANTITY.get(_plain(word).replace("µ", "u").replace("μ", "u"))
            if unit is not None:
                return unit
    return None


def _keyed_unit(stated: str, channel: int) -> str | None:
    """Return a unit that the header states: 'V', or one for each channel as 'CH1:V CH2:A'."""
    of_channels = {int(number): unit for number, unit in _CHANNEL_UNIT.findall(stated)}
    unit = of_channels.get(channel, "") if of_channels else stated
    return _QUANTITY.get(_plain(unit))


def _name_of(titles: list[str]) -> str:
    """Return what a column is called: the nearest title that is more than a unit, and the unit."""
    shown = [title for title in titles if title and not _KEYED.search(title)]
    if not shown:
        return ""
    *above, nearest = shown
    bare = _plain(nearest).strip("()[]").strip()
    if not above or (bare not in _QUANTITY and bare != "value"):
        return nearest
    name = f"channel {above[-1]}" if above[-1].isdigit() else above[-1]
    if bare == "value" or _BRACKETS.search(name):
        return name
    return f"{name} ({nearest.strip('()[] ')})"


def _channel_of(name: str) -> int | None:
    match = _CHANNEL.search(name)
    return int(match[1] or match[2]) if match else None
