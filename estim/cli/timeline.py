"""What happened in a session, in order, in words.

Any file may claim to be a record, so nothing is taken for granted about what an event holds: single
figures and texts are shown, what is nested or long stays in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from estim.cli.console import say
from estim.record import telemetry
from estim.record.lines import HEADER, Event
from estim.record.reader import RecordFile
from estim.record.verify import Verification
from estim.units import MS_PER_S, US_PER_MS, US_PER_S, format_ma

_TELEMETRY = frozenset({telemetry.CHANGED, telemetry.SECOND})
# Shorter than a hash: those that matter are shown by name.
_LONGEST_TEXT = 63
_KIND_WIDTH = 16


def say_timeline(record: RecordFile, verification: Verification) -> None:
    """Print a record's header, its events with time since the first, and whether it is whole."""
    _say_header(record.header)
    first_us = record.events[0].mono_us
    readings: list[Event] = []
    for event in record.events:
        if event.kind in _TELEMETRY:
            readings.append(event)
            continue
        _say_telemetry(readings, first_us)
        readings = []
        if event.kind != HEADER:
            _say_event(event.mono_us - first_us, event.kind, _words(event.content))
    _say_telemetry(readings, first_us)
    for line in record.torn:
        say(f"line {line.number}: {line.size} bytes that a crash cut short; kept")
    if record.unreadable:
        numbers = ", ".join(map(str, record.unreadable))
        say(f"lines that cannot be read: {numbers}")
    verdict = (
        "nothing found" if verification.is_ok else f"{len(verification.findings)} faults found"
    )
    say(f"{verification.state}; {verdict} (`estim records verify` tells more)")


def _say_header(header: Event | None) -> None:
    if header is None:
        say("no header: a crash or damage took it")
        return
    content = header.content
    say(f"session    {content.get('session_id')}")
    say(f"started    {header.wall.isoformat(sep=' ', timespec='seconds')}")
    for name in ("kind", "operator", "pseudonym", "bench_ohm", "clock", "seed"):
        if content.get(name) is not None:
            say(f"{name.replace('_', ' '):10} {content[name]}")
    for name in ("profile", "protocol", "software"):
        table = content.get(name)
        if isinstance(table, Mapping):
            say(f"{name:10} {_words(table)}")
            if "sha256" in table:
                say(f"{'':10} sha256 {table['sha256']}")
    assets = content.get("assets")
    for asset in assets if isinstance(assets, Sequence) else ():
        if isinstance(asset, Mapping):
            say(f"asset      {_words(asset)}")
    say()


def _say_event(since_us: int, kind: str, words: str) -> None:
    say(f"{_clock(since_us):>10}  {kind.replace('_', ' '):{_KIND_WIDTH}}  {words}".rstrip())


def _clock(since_us: int) -> str:
    minutes, rest_us = divmod(since_us, 60 * US_PER_S)
    return f"{minutes}:{rest_us / US_PER_S:06.3f}"


def _say_telemetry(readings: Sequence[Event], first_us: int) -> None:
    """Sum up what was reported between two events: how high each channel's output was measured."""
    highest_ua: dict[int, int] = {}
    times_us: list[int] = []
    for event in readings:
        for row in _rows(event):
            channel = row.get("channel")
            peak_ua = row.get("peak_max_ua", row.get("peak_ua"))
            if type(channel) is int and type(peak_ua) is int:
                highest_ua[channel] = max(highest_ua.get(channel, 0), peak_ua)
            # A summary is written once its second is over, so its own times tell.
            told = (row.get("at_us"), event.content.get("from_us"), event.content.get("to_us"))
            times_us += [time_us for time_us in told if type(time_us) is int]
    if not highest_ua or not times_us:
        return
    words = ", ".join(
        f"channel {channel} up to {format_ma(peak_ua)} mA"
        for channel, peak_ua in sorted(highest_ua.items())
    )
    until = _clock(max(times_us) - first_us)
    _say_event(min(times_us) - first_us, "measured", f"until {until}: {words}")


def _rows(event: Event) -> list[Mapping[str, Any]]:
    rows = event.content.get("changes", event.content.get("channels"))
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _words(content: Mapping[str, Any]) -> str:
    words = (_field(name, held) for name, held in content.items())
    return ", ".join(filter(None, words))


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
    if name.endswith("_ua"):
        return format_ma(held)
    if name.endswith("_ms"):
        return f"{held / MS_PER_S:.3f}"
    if name.endswith("_us"):
        return f"{held / (MS_PER_S * US_PER_MS):.3f}"
    return str(held)
