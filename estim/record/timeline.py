"""What happened in a session, in order, in words.

Rules:
1. Any file may claim to be a record, so nothing is taken for granted about what an event holds:
   single figures and texts are said, what is nested or long stays in the file.
2. Time is told since the header. What was added after the close was written by another clock: it is
   told by its date.
3. Nothing here is made safe to draw; whoever shows it does that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from estim.record import telemetry
from estim.record.lines import ADDENDUM, ANNOTATION, HEADER, RECOVERED, SEAL, Event
from estim.units import MS_PER_S, US_PER_MS, US_PER_S, format_ma

TELEMETRY = frozenset({telemetry.CHANGED, telemetry.SECOND})
AFTERWARDS = frozenset({SEAL, ADDENDUM, RECOVERED})
"""Kinds that are added once a session is over."""
# Shorter than a hash: those that matter are shown by name.
_LONGEST_TEXT = 63


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: when, its kind and its figures in words, and the event itself.

    `event` is None for readings, which are summed up.
    """

    when: str
    kind: str
    words: str
    event: Event | None


def entries(events: Iterable[Event]) -> Iterator[Entry]:
    """Yield what happened, readings between two events summed up as one; the header is left out."""
    first_us: int | None = None
    readings = _Readings()
    for event in events:
        if first_us is None:
            first_us = event.mono_us
        if event.kind in TELEMETRY:
            readings.add(event)
            continue
        yield from readings.entry(first_us)
        readings = _Readings()
        if event.kind != HEADER:
            yield _entry(event, first_us)
    yield from readings.entry(first_us or 0)


def header_lines(header: Event | None) -> list[tuple[str, str]]:
    """Return what the header says, as names and words."""
    if header is None:
        return [("header", "none: a crash or damage took it")]
    content = header.content
    lines = [
        ("session", str(content.get("session_id"))),
        ("started", header.wall.isoformat(sep=" ", timespec="seconds")),
    ]
    for name in ("kind", "operator", "pseudonym", "bench_ohm", "clock", "seed"):
        if content.get(name) is not None:
            lines.append((name.replace("_", " "), str(content[name])))
    for name in ("profile", "protocol", "software"):
        table = content.get(name)
        if isinstance(table, Mapping):
            lines.append((name, words_of(table)))
            if "sha256" in table:
                lines.append(("", f"sha256 {table['sha256']}"))
    assets = content.get("assets")
    lines += [
        ("asset", words_of(asset))
        for asset in (assets if isinstance(assets, Sequence) else ())
        if isinstance(asset, Mapping)
    ]
    return lines


def clock(since_us: int) -> str:
    """Show a time since the header as m:ss.mmm."""
    minutes, rest_us = divmod(since_us, 60 * US_PER_S)
    return f"{minutes}:{rest_us / US_PER_S:06.3f}"


def words_of(content: Mapping[str, Any]) -> str:
    """Say the single figures and texts of a content."""
    words = (_field(name, held) for name, held in content.items())
    return ", ".join(filter(None, words))


def rows_of(event: Event) -> list[Mapping[str, Any]]:
    """Return the readings that an event of telemetry holds."""
    rows = event.content.get("changes", event.content.get("channels"))
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def annotated(event: Event) -> tuple[str, Mapping[str, Any]] | None:
    """Return kind and content of an annotation; None for what is none."""
    kind, content = event.content.get("kind"), event.content.get("content")
    if event.kind == ANNOTATION and isinstance(kind, str) and isinstance(content, Mapping):
        return kind, content
    return None


def _entry(event: Event, first_us: int) -> Entry:
    when = clock(event.mono_us - first_us)
    if event.kind in AFTERWARDS:
        when = f"{event.wall:%Y-%m-%d}"
    kind, content = annotated(event) or (event.kind, event.content)
    words = words_of(content)
    answers = content.get("answers")
    if kind != event.kind and isinstance(answers, Mapping):
        words = ", ".join(filter(None, (words, words_of(answers))))
    return Entry(when, kind.replace("_", " "), words, event)


class _Readings:
    """Sum up what was reported between two events: how high each channel was measured."""

    def __init__(self) -> None:
        self._highest_ua: dict[int, int] = {}
        self._span_us: tuple[int, int] | None = None

    def add(self, event: Event) -> None:
        for row in rows_of(event):
            channel = row.get("channel")
            peak_ua = row.get("peak_max_ua", row.get("peak_ua"))
            if type(channel) is int and type(peak_ua) is int:
                self._highest_ua[channel] = max(self._highest_ua.get(channel, 0), peak_ua)
            # A summary is written once its second is over, so its own times tell.
            for told in (
                row.get("at_us"),
                event.content.get("from_us"),
                event.content.get("to_us"),
            ):
                if type(told) is int:
                    first_us, last_us = self._span_us or (told, told)
                    self._span_us = min(first_us, told), max(last_us, told)

    def entry(self, first_us: int) -> Iterator[Entry]:
        if not self._highest_ua or self._span_us is None:
            return
        words = ", ".join(
            f"channel {channel} up to {format_ma(peak_ua)} mA"
            for channel, peak_ua in sorted(self._highest_ua.items())
        )
        begin_us, end_us = self._span_us
        until = clock(end_us - first_us)
        yield Entry(clock(begin_us - first_us), "measured", f"until {until}: {words}", None)


def _field(name: str, held: object) -> str:
    """Say one field, or '' for one that only the file itself can show."""
    if isinstance(held, list):
        if any(isinstance(item, (list, dict)) for item in held):
            return ""
        shown = " ".join(_one(name, item) for item in held)
    elif isinstance(held, dict) or held is None or held == "":
        return ""
    else:
        shown = _one(name, held)
    if len(shown) > _LONGEST_TEXT:
        return ""
    words, unit = name, ""
    for ending, spelled in (("_ua", " mA"), ("_ms", " s"), ("_us", " s"), ("_ohm", " ohm")):
        if name.endswith(ending):
            words, unit = name.removesuffix(ending), spelled
    return f"{words.replace('_', ' ')} {shown}{unit}" if shown else ""


def _one(name: str, held: object) -> str:
    if type(held) is not int:
        return str(held)
    if len(f"{held}") > _LONGEST_TEXT:
        return ""
    if name.endswith("_ua"):
        return format_ma(held)
    if name.endswith("_ms"):
        return f"{held / MS_PER_S:.3f}"
    if name.endswith("_us"):
        return f"{held / (MS_PER_S * US_PER_MS):.3f}"
    return str(held)
