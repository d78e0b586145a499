"""Make a tape of a record.

Rules:
1. Nothing is made up between readings: summaries of a second join only where no more than 500 ms
   lie between them, as long as the live display believes a reading, and no line is missing there.
2. Any file may claim to be a record: what is not shaped as it should be is passed over.
3. It ends with the session: what was added later was written by another clock.
4. From the first damaged line on it says that what follows does not verify.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from estim.errors import RecordError
from estim.record import telemetry
from estim.record.lines import HEADER, Event
from estim.record.reader import Line, opened, record_lines
from estim.record.timeline import AFTERWARDS, annotated, entries, rows_of
from estim.record.verify import Finding, Verification, What
from estim.session.messages import Blame, Fault, Severity
from estim.session.states import HostState
from estim.tui.archive import checked_size
from estim.tui.tape import Happening, Moment, Second, Span, Tape
from estim.units import US_PER_S
from estim.visit.level import Marker
from firmware_protocol.messages import CHANNELS_MAX

KNOWN_US = 500_000
LONGEST_US = 24 * 3600 * US_PER_S
"""No session is longer: a time beyond that is damage."""
EVENTS_MAX = 100_000
CURRENT_MAX_UA = 1_000_000
LOAD_MAX_OHM = 10_000_000
MS_MAX = LONGEST_US // 1000

AT_REST = frozenset(
    {HostState.DISCONNECTED, HostState.IDENTIFIED, HostState.READY, HostState.CLOSED}
)
"""States without output, in which no readings are kept."""

_ALARMING = frozenset({"fault", "lead_off", "uncertain_delivery"})
_WARNING = frozenset({"stop", "alarm", "drive_refused", "line_damaged", "stalled", "suspended"})
_EXPECTED = (What.TRUNCATED, What.TORN)
_SOUND_KINDS = frozenset({What.TOO_MANY, What.OTHER_HEAD, What.BAD_SEAL})


Fold = Callable[[Moment, Mapping[str, Any]], Moment]
"""What an event, by its content, makes of a moment."""


def load(path: Path, verification: Verification) -> Tape:
    """Read a record, as far as it can be read.

    Raises:
        RecordError: it cannot be opened, is too long, or holds no event of a session.
    """
    checked_size(path)
    with opened(path) as descriptor:
        tape = wind(record_lines(descriptor), verification)
    if not tape.event_count:
        raise RecordError(f"{path}: nothing to replay: no session record, or none of its events")
    return tape


def wind(lines: Iterable[Line], verification: Verification) -> Tape:
    """Make a tape of a record's lines; `verification` says which of them are damage."""
    findings = {
        finding.line: finding
        for finding in reversed(verification.findings)
        if finding.what not in _EXPECTED and finding.what not in _SOUND_KINDS
    }
    winder = _Winder()
    for line in lines:
        event = None
        if line.is_whole and not line.is_torn:
            try:
                event = line.parse()
            except ValueError:
                winder.break_off("a line that cannot be read")
        if event is not None and event.kind in AFTERWARDS:
            break
        if line.number in findings:
            winder.find(findings[line.number])
        if event is not None:
            winder.take(event)
        if len(winder.happenings) > EVENTS_MAX:
            winder.say(Severity.WARNING, "too many events: the rest is left out")
            break
    return winder.finish()


class _Winder:
    """Build a tape, event by event."""

    def __init__(self) -> None:
        self.happenings: list[Happening] = []
        self._header: Event | None = None
        self._unsound_us: int | None = None
        self._is_closed = False
        self._seconds: list[Second] = []
        self._steps: list[tuple[int, bool, Fold, Mapping[str, Any]]] = []
        self._breaks: list[int] = []
        self._first_us: int | None = None
        self._now_us = 0
        self._seq: int | None = None
        self._count = 0

    def take(self, event: Event) -> None:
        """Take one event."""
        if self._seq is not None and event.seq > self._seq + 1:
            count = event.seq - self._seq - 1
            self.break_off(f"{count} lines that are missing")
        self._seq = event.seq
        if self._first_us is None:
            self._first_us = event.mono_us
        at_us = event.mono_us - self._first_us
        if not self._now_us <= at_us <= self._now_us + LONGEST_US:
            self.break_off("a time that makes no sense")
            return
        self._now_us = at_us
        self._count += 1
        if event.kind == HEADER:
            self._header = event
        elif event.kind == telemetry.SECOND:
            self._take_second(event)
        elif event.kind == telemetry.CHANGED:
            self._take_changes(event)
        else:
            self._take_plain(event)

    def find(self, finding: Finding) -> None:
        """Say that the record does not verify from here on."""
        if self._unsound_us is None:
            self._unsound_us = self._now_us
        self.say(Severity.ALARM, f"damaged record, {finding}")

    def break_off(self, what: str) -> None:
        """Take it that nobody knows what was so: the state comes back with the next one told."""
        self.say(Severity.ALARM, f"the record has {what} here: what was so then is not known")
        self._breaks.append(self._now_us)
        self._step(_forgotten, {})

    def say(self, severity: Severity, said: str) -> None:
        """List something."""
        self.happenings.append(Happening(self._now_us, severity, said))

    def finish(self) -> Tape:
        """Close the tape."""
        if not self._is_closed:
            self.say(Severity.WARNING, "the record ends here without a close")
        # A group of readings is written after its time; at the same time what was done comes last.
        self._steps.sort(key=lambda step: step[:2])
        moment = Moment()
        steps: list[tuple[int, Moment]] = []
        for at_us, _, fold, content in self._steps:
            moment = fold(moment, content)
            steps.append((at_us, moment))
        seconds = sorted(self._seconds, key=lambda second: second.from_us)
        known = _joined([(second.from_us, second.to_us) for second in seconds], self._breaks)
        return Tape(
            self._header, self._now_us, self._unsound_us, tuple(self.happenings), tuple(seconds),
            tuple(known), tuple(self._gaps(steps, known)), tuple(steps), self._count,
        )  # fmt: skip

    def _step(self, fold: Fold, content: Mapping[str, Any]) -> None:
        self._steps.append((self._now_us, True, fold, content))

    def _gaps(self, steps: list[tuple[int, Moment]], known: list[Span]) -> list[Span]:
        """Return when output was possible, or nobody knows, and no reading counts."""
        joined: list[Span] = []
        ends = [*(at_us for at_us, _ in steps[1:]), self._now_us]
        for (begin_us, moment), end_us in zip(steps, ends, strict=False):
            if moment.state in AT_REST or begin_us == end_us:
                continue
            for first_us, last_us in _without(begin_us, end_us, known):
                if joined and first_us <= joined[-1][1]:
                    joined[-1] = (joined[-1][0], last_us)
                else:
                    joined.append((first_us, last_us))
        return [span for span in joined if span[1] - span[0] > KNOWN_US or self._is_broken(span)]

    def _is_broken(self, span: Span) -> bool:
        return any(span[0] <= at_us <= span[1] for at_us in self._breaks)

    # Readings.

    def _take_second(self, event: Event) -> None:
        from_us = self._relative(event.content.get("from_us"))
        to_us = self._relative(event.content.get("to_us"))
        if from_us is None or to_us is None or not from_us < to_us <= from_us + 2 * US_PER_S:
            return
        peaks: dict[int, tuple[int, int, int] | None] = {}
        highest: dict[int, int] = {}
        loads: dict[int, int] = {}
        for row in rows_of(event):
            index = _index(row)
            if index is None:
                continue
            least, mean, most = (
                _whole(row.get(f"peak_{figure}_ua"), CURRENT_MAX_UA)
                for figure in ("min", "mean", "max")
            )
            is_told = least is not None and mean is not None and most is not None
            peaks[index] = (least, mean, most) if is_told else None  # type: ignore[assignment]
            told = (
                _whole(row.get(name), CURRENT_MAX_UA)
                for name in ("peak_max_ua", "setpoint_max_ua", "target_max_ua")
            )
            highest[index] = max((one for one in told if one is not None), default=0)
            loads[index] = _whole(row.get("load_mean_ohm"), LOAD_MAX_OHM) or 0
        if peaks:
            self._seconds.append(Second(from_us, to_us, peaks, highest, loads))

    def _take_changes(self, event: Event) -> None:
        for row in rows_of(event):
            index, at_us = _index(row), self._relative(row.get("at_us"))
            if index is None or at_us is None:
                continue
            kept = {name: row.get(name) for name in _READING}
            self._steps.append((at_us, False, _reading, kept))

    def _relative(self, mono_us: object) -> int | None:
        """Return a time within the tape, no later than now."""
        if type(mono_us) is not int or self._first_us is None:
            return None
        return max(0, min(mono_us - self._first_us, self._now_us))

    # All else.

    def _take_plain(self, event: Event) -> None:
        told = annotated(event)
        kind, content = told if told is not None else (event.kind, event.content)
        after = _FOLDS.get(event.kind if told is None else f"annotation {kind}")
        if after is not None:
            self._step(after, content)
        if event.kind == "closed":
            self._is_closed = True
        severity = Severity.INFORMATION
        if kind in _ALARMING:
            severity = Severity.ALARM
        elif kind in _WARNING:
            severity = Severity.WARNING
        elif kind == "notice":
            given = content.get("severity")
            severity = next((one for one in Severity if one.value == given), severity)
        said = next(entries([event]))
        self.say(severity, f"{said.kind}: {said.words}" if said.words else said.kind)


# What an event changes.

_READING = ("channel", "target_ua", "setpoint_ua", "peak_ua", "load_ohm", "contact")


def _reading(moment: Moment, row: Mapping[str, Any]) -> Moment:
    index = _index(row)
    if index is None:
        return moment
    now, contact = _wide(moment, index + 1), row.get("contact")
    return replace(
        now,
        reported_ua=_put(now.reported_ua, index, row.get("target_ua")),
        setpoints_ua=_put(now.setpoints_ua, index, row.get("setpoint_ua")),
        peaks_ua=_put(now.peaks_ua, index, row.get("peak_ua"), unknown=-1),
        loads_ohm=_put(now.loads_ohm, index, row.get("load_ohm"), LOAD_MAX_OHM),
        contacts=_changed(
            now.contacts, index, contact if contact in ("good", "off") else "unknown"
        ),
        is_zero=now.is_zero and not (row.get("setpoint_ua") or row.get("peak_ua")),
    )


def _forgotten(moment: Moment, content: Mapping[str, Any]) -> Moment:
    return replace(moment, state=None, is_zero=False)


def _state(moment: Moment, content: Mapping[str, Any]) -> Moment:
    state = next((one for one in HostState if one.value == content.get("to")), None)
    fault = moment.fault if state is HostState.FAULT else None
    return replace(moment, state=state, fault=fault, is_zero=moment.is_zero and state in AT_REST)


def _prepared(moment: Moment, content: Mapping[str, Any]) -> Moment:
    ceilings = _currents(content.get("ceilings_ua"))
    seconds = _whole(content.get("duration_s"), LONGEST_US // US_PER_S) or 0
    profile = content.get("profile")
    empty = Moment(
        state=moment.state, alarms=moment.alarms, fault=moment.fault, markers=moment.markers,
        delivered_ms=moment.delivered_ms, duration_ms=seconds * 1000, ceilings_ua=ceilings,
        profile_id=profile if isinstance(profile, str) else "",
    )  # fmt: skip
    return _wide(empty, len(ceilings))


def _commanded(name: str) -> Fold:
    def fold(moment: Moment, content: Mapping[str, Any]) -> Moment:
        targets = _currents(content.get(name))
        wide = _wide(moment, len(targets))
        targets += (0,) * (len(wide.commanded_ua) - len(targets))
        return replace(wide, commanded_ua=targets, is_ramping_down=False)

    return fold


def _paused(moment: Moment, content: Mapping[str, Any]) -> Moment:
    return replace(_to_zero(moment, content), paused_ua=_currents(content.get("marker_ua")))


def _to_zero(moment: Moment, content: Mapping[str, Any]) -> Moment:
    return replace(moment, commanded_ua=(0,) * len(moment.commanded_ua), is_ramping_down=False)


def _zero_confirmed(moment: Moment, content: Mapping[str, Any]) -> Moment:
    count = len(moment.commanded_ua)
    return replace(
        _to_zero(moment, content), reported_ua=(0,) * count, setpoints_ua=(0,) * count,
        peaks_ua=(0,) * count, paused_ua=(), is_zero=True,
    )  # fmt: skip


def _ramp_down(moment: Moment, content: Mapping[str, Any]) -> Moment:
    return replace(moment, is_ramping_down=True)


def _fault(moment: Moment, content: Mapping[str, Any]) -> Moment:
    blame = next((one for one in Blame if one.value == content.get("blame")), Blame.UNKNOWN)
    fault = Fault(str(content.get("code")), str(content.get("text")), "", blame)
    return replace(_to_zero(moment, content), fault=fault)


def _lead_off(moment: Moment, content: Mapping[str, Any]) -> Moment:
    index = _index(content)
    if index is None:
        return moment
    wide = _wide(moment, index + 1)
    return replace(
        wide,
        lead_off=wide.lead_off | {index},
        commanded_ua=_changed(wide.commanded_ua, index, 0),
        paused_ua=_changed(
            _padded(wide.paused_ua, len(wide.commanded_ua), 0), index,
            _whole(content.get("at_ua"), CURRENT_MAX_UA) or 0,
        ),
    )  # fmt: skip


def _rearmed(moment: Moment, content: Mapping[str, Any]) -> Moment:
    numbers = content.get("channels")
    held = {each for each in (numbers if isinstance(numbers, list) else []) if type(each) is int}
    return replace(moment, lead_off=frozenset(i for i in moment.lead_off if i + 1 not in held))


def _delivered(moment: Moment, content: Mapping[str, Any]) -> Moment:
    figures = (_whole(content.get(f"{part}_ms"), MS_MAX) for part in ("rise", "plateau"))
    ramp_ms = _whole(content.get("ramp_down_ms"), MS_MAX) or 0
    return replace(moment, delivered_ms=ramp_ms + sum(one or 0 for one in figures))


def _marker(moment: Moment, content: Mapping[str, Any]) -> Moment:
    index, at_ua = _index(content), _whole(content.get("amplitude_ua"), CURRENT_MAX_UA)
    marker = next((one for one in Marker if one.value == content.get("marker")), None)
    if index is None or at_ua is None or marker is None:
        return moment
    markers = _padded(moment.markers, index + 1, {})
    return replace(moment, markers=_changed(markers, index, {**markers[index], marker: at_ua}))


def _alarm(moment: Moment, content: Mapping[str, Any]) -> Moment:
    cause, priority = str(content.get("cause")), str(content.get("priority"))
    others = tuple(one for one in moment.alarms if one[0] != cause)
    is_raised = content.get("what") == "raised"
    return replace(moment, alarms=(*others, (cause, priority)) if is_raised else others)


_FOLDS: Mapping[str, Fold] = {
    "state": _state,
    "prepared": _prepared,
    "targets": _commanded("targets_ua"),
    "lowered": _commanded("to_ua"),
    "paused": _paused,
    "ramp_down": _ramp_down,
    "stop": _to_zero,
    "fault": _fault,
    "zero_confirmed": _zero_confirmed,
    "lead_off": _lead_off,
    "rearmed": _rearmed,
    "delivered": _delivered,
    "annotation marker": _marker,
    "annotation alarm": _alarm,
}


# Figures.


def _whole(told: object, most: int) -> int | None:
    return told if type(told) is int and 0 <= told <= most else None


def _index(row: Mapping[str, Any]) -> int | None:
    """Return a channel's index from its number in the record."""
    number = row.get("channel")
    return number - 1 if type(number) is int and 1 <= number <= CHANNELS_MAX else None


def _currents(told: object) -> tuple[int, ...]:
    if not isinstance(told, list):
        return ()
    return tuple(_whole(one, CURRENT_MAX_UA) or 0 for one in told[:CHANNELS_MAX])


def _padded(held: tuple[Any, ...], count: int, filler: Any) -> tuple[Any, ...]:
    return held + (filler,) * (count - len(held))


def _wide(moment: Moment, count: int) -> Moment:
    """Return a moment with so many channels at least."""
    if count <= len(moment.commanded_ua):
        return moment
    return replace(
        moment,
        commanded_ua=_padded(moment.commanded_ua, count, 0),
        reported_ua=_padded(moment.reported_ua, count, 0),
        setpoints_ua=_padded(moment.setpoints_ua, count, 0),
        peaks_ua=_padded(moment.peaks_ua, count, -1),
        loads_ohm=_padded(moment.loads_ohm, count, 0),
        contacts=_padded(moment.contacts, count, "unknown"),
    )


def _changed(held: tuple[Any, ...], index: int, one: Any) -> tuple[Any, ...]:
    return (*held[:index], one, *held[index + 1 :])


def _put(
    held: tuple[int, ...], index: int, told: object, most: int = CURRENT_MAX_UA, unknown: int = 0
) -> tuple[int, ...]:
    figure = _whole(told, most)
    return _changed(held, index, unknown if figure is None else figure)


# Spans of time.


def _joined(spans: list[Span], breaks: list[int]) -> list[Span]:
    """Join spans as rule 1 has it."""
    found: list[Span] = []
    for begin_us, end_us in spans:
        last = found[-1] if found else None
        is_next = last is not None and begin_us - last[1] <= KNOWN_US
        if last is not None and is_next and not _any_between(breaks, last[1], begin_us):
            found[-1] = (last[0], max(last[1], end_us))
        else:
            found.append((begin_us, end_us))
    return found


def _any_between(times: list[int], begin_us: int, end_us: int) -> bool:
    index = bisect_left(times, begin_us)
    return index < len(times) and times[index] <= end_us and begin_us < end_us


def _without(begin_us: int, end_us: int, spans: list[Span]) -> list[Span]:
    """Return what of a span lies in none of the others, which are in order and apart."""
    left: list[Span] = []
    for first_us, last_us in spans[max(0, bisect_right(spans, begin_us, key=lambda s: s[0]) - 1) :]:
        if first_us >= end_us:
            break
        if first_us > begin_us:
            left.append((begin_us, first_us))
        begin_us = max(begin_us, last_us)
    if begin_us < end_us:
        left.append((begin_us, end_us))
    return left
