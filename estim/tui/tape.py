"""A session as it can be looked at again, moment by moment. Knows no widget.

Rules:
1. Where no reading counts nothing is known; where output was possible then, that is a gap.
2. A moment never understates: shown is the largest of what was commanded, set and measured.
3. Times are microseconds from the beginning of the record, and within it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from estim.record.lines import Event
from estim.session.messages import ChannelSnapshot, Fault, Severity, Snapshot
from estim.session.states import HostState
from estim.visit.level import Marker

Span = tuple[int, int]
"""From when to when."""

HEARD = 200
"""So many events are listed at a time."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One event as it is listed; `at_us` counts from the beginning of the record."""

    at_us: int
    severity: Severity
    words: str


@dataclass(frozen=True, slots=True)
class Second:
    """One summary: by channel (from 0) least, mean and highest peak, and the highest of all else.

    `peaks_ua` holds None for a channel whose device does not measure.
    """

    from_us: int
    to_us: int
    peaks_ua: Mapping[int, tuple[int, int, int] | None]
    highest_ua: Mapping[int, int]
    loads_ohm: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Moment:
    """What was so from one event to the next; tuples are by channel.

    `state` is None where nobody knows; `is_zero` from the device's own word on, to the next output.
    """

    state: HostState | None = HostState.DISCONNECTED
    commanded_ua: tuple[int, ...] = ()
    reported_ua: tuple[int, ...] = ()
    setpoints_ua: tuple[int, ...] = ()
    peaks_ua: tuple[int, ...] = ()
    loads_ohm: tuple[int, ...] = ()
    contacts: tuple[str, ...] = ()
    ceilings_ua: tuple[int, ...] = ()
    paused_ua: tuple[int, ...] = ()
    lead_off: frozenset[int] = frozenset()
    markers: tuple[Mapping[Marker, int], ...] = ()
    alarms: tuple[tuple[str, str], ...] = ()
    fault: Fault | None = None
    is_ramping_down: bool = False
    is_zero: bool = False
    delivered_ms: int = 0
    duration_ms: int = 0
    profile_id: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What a display shows of one moment.

    Attributes:
        snapshot: as the engine would have published it; `is_known` by rule 1.
        moment: what else was so.
        spans_ua: least, mean and highest peak within this second, by channel; None where unknown.
        is_gap: output was possible, and the record holds no reading.
    """

    snapshot: Snapshot
    moment: Moment
    spans_ua: tuple[tuple[int, int, int] | None, ...]
    is_gap: bool


@dataclass(frozen=True, slots=True)
class Tape:
    """Hold a session so that any moment of it can be looked at.

    Attributes:
        header: of the record; None where a crash or damage took it.
        duration_us: from the header to the last event of the session.
        unsound_us: from when on the record does not verify; None where it does.
        happenings: what is listed, in order.
        seconds: the summaries, in order.
        known: when readings count, in order and apart.
        gaps: when output was possible, or nobody knows, and no reading counts (rule 1).
        steps: what was so from when on, in order.
        event_count: events of the session that it was made from.
    """

    header: Event | None = None
    duration_us: int = 0
    unsound_us: int | None = None
    happenings: tuple[Happening, ...] = ()
    seconds: tuple[Second, ...] = ()
    known: tuple[Span, ...] = ()
    gaps: tuple[Span, ...] = ()
    steps: tuple[tuple[int, Moment], ...] = field(default=(), repr=False)
    event_count: int = 0

    def moment(self, at_us: int) -> Moment:
        """Return what was so then."""
        index = bisect_right(self.steps, at_us, key=lambda step: step[0]) - 1
        return self.steps[index][1] if index >= 0 else Moment()

    def second(self, at_us: int) -> Second | None:
        """Return the newest summary that had begun then, if a reading counts (rule 1)."""
        index = bisect_right(self.seconds, at_us, key=lambda second: second.from_us) - 1
        return self.seconds[index] if index >= 0 and self.is_known(at_us) else None

    def within(self, span: Span) -> tuple[Second, ...]:
        """Return the summaries that a span touches."""
        first = bisect_left(self.seconds, span[0], key=lambda second: second.to_us)
        last = bisect_right(self.seconds, span[1], key=lambda second: second.from_us)
        return self.seconds[first:last]

    def is_known(self, at_us: int) -> bool:
        """Tell whether a reading counts then."""
        return _holds(self.known, at_us)

    def look(self, at_us: int) -> Look:
        """Return what is to be shown of a moment."""
        moment = self.moment(at_us)
        # The second in which output ended tells what was before.
        second = None if moment.is_zero else self.second(at_us)
        is_known = self.is_known(at_us)
        rows = tuple(_row(moment, second, index) for index in range(len(moment.commanded_ua)))
        spans = tuple(
            second.peaks_ua.get(index) if second is not None else None for index in range(len(rows))
        )
        is_gap = _holds(self.gaps, at_us)
        return Look(_snapshot(at_us, moment, rows, is_known), moment, spans, is_gap)

    def wall(self, at_us: int) -> datetime | None:
        """Return the time of day, as the header's clock had it."""
        return self.header.wall + timedelta(microseconds=at_us) if self.header else None

    def heard(self, at_us: int) -> tuple[Happening, ...]:
        """Return the last that had happened by then, in order."""
        last = bisect_right(self.happenings, at_us, key=lambda one: one.at_us)
        return self.happenings[max(0, last - HEARD) : last]

    def after(self, at_us: int) -> int:
        """Return when the next event comes; the end where none does."""
        index = bisect_right(self.happenings, at_us, key=lambda one: one.at_us)
        return self.happenings[index].at_us if index < len(self.happenings) else self.duration_us

    def before(self, at_us: int) -> int:
        """Return when the event before was; the beginning where there was none."""
        index = bisect_left(self.happenings, at_us, key=lambda one: one.at_us) - 1
        return self.happenings[index].at_us if index >= 0 else 0


def _row(moment: Moment, second: Second | None, index: int) -> ChannelSnapshot:
    """Return one channel; a summary's highest counts for all of its second (rule 2)."""
    commanded_ua = moment.commanded_ua[index]
    setpoint_ua, measured_ua = moment.setpoints_ua[index], moment.peaks_ua[index]
    if moment.is_ramping_down:
        commanded_ua = moment.reported_ua[index]
    load_ohm = moment.loads_ohm[index]
    if second is not None:
        span = second.peaks_ua.get(index)
        measured_ua = span[2] if span is not None else -1
        load_ohm = second.loads_ohm.get(index, 0) or load_ohm
    ceilings, paused = moment.ceilings_ua, moment.paused_ua
    return ChannelSnapshot(
        target_ua=commanded_ua,
        setpoint_ua=setpoint_ua,
        measured_ua=measured_ua,
        shown_ua=max(commanded_ua, setpoint_ua, measured_ua),
        ceiling_ua=ceilings[index] if index < len(ceilings) else 0,
        ceiling_reason="",
        load_ohm=load_ohm,
        # Latched, but not `is_lead_off`: that would name the key that re-arms.
        contact="off" if index in moment.lead_off else moment.contacts[index],
        cycle_phase="idle",
        is_lead_off=False,
        is_compliance_reached=False,
        is_shorted=False,
        pulse_count=0,
        marker_ua=paused[index] if index < len(paused) else 0,
    )


def _snapshot(
    at_us: int, moment: Moment, rows: tuple[ChannelSnapshot, ...], is_known: bool
) -> Snapshot:
    return Snapshot(
        at_us=at_us,
        state=moment.state or HostState.DISCONNECTED,
        is_busy=False,
        device=None,
        profile_id=moment.profile_id,
        has_program=True,
        prepared_digest="",
        channels=rows,
        status_age_ms=-1,
        is_known=is_known,
        latch_count=-1,
        fault=moment.fault,
        patient_stop="",
        battery_percent=-1,
        delivered_ms=moment.delivered_ms,
        rise_ms=0,
        plateau_ms=0,
        duration_ms=moment.duration_ms,
        record_path="",
        record_events=0,
        draw_less=False,
        is_link_slow=False,
        inhibition="",
    )


def _holds(spans: tuple[Span, ...], at_us: int) -> bool:
    index = bisect_right(spans, at_us, key=lambda span: span[0]) - 1
    return index >= 0 and at_us <= spans[index][1]
