"""Say what of earlier visits may be shown at a repeat visit, and until when.

Rules:
1. Nothing here answers a question. An earlier answer may be shown, with its day, and somebody then
   confirms it or changes it.
2. The day that counts is the one on which the question was really asked. Confirming 'unchanged'
   does not move it: what was carried is followed back to where it was asked, and where that cannot
   be followed, it is asked anew.
3. Nothing is taken from a visit whose record cannot be relied on, or was corrected afterwards.
4. A day in the future is no day: a clock was changed, and everything is asked anew.
5. Only what can hold over days may be shown (`MAY_BE_CARRIED`): consent, skin and how somebody
   feels are asked at every visit.
6. Pads wear out: each visit counts their uses up by one, and all else must be as it was.
7. A level is offered as a marker only for the same programme at the same sites, and never above
   today's ceiling. It is no target: output still begins at zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from estim.units import format_ma
from estim.visit.fold import Confirmed, Stimulation
from estim.visit.history import Visit, find
from estim.visit.questions import Answer

COMFORTABLE = "comfortable"
PLACE = "place_electrodes"
NO_LEVEL = "no marker: no comfortable level is recorded"
MAY_BE_CARRIED = ("screen", "test_sensation", PLACE)


@dataclass(frozen=True, slots=True)
class Today:
    """What is loaded today.

    Attributes:
        program_digest: CRC-32 of the programme, as the record's `prepared` has it.
        placement: where the pads lie, in the words that are read back.
        ceilings_ua: by channel, in order.
    """

    on: date
    profile_id: str
    program_digest: int
    placement: tuple[str, ...]
    ceilings_ua: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """Earlier answers of one step that may be shown, or why there are none.

    Attributes:
        answers: nothing where everything is asked anew.
        session_id: the visit in which they were really asked, for `carried_from`.
        asked_on: the day of that.
        words: what to show, 'changed since DATE?', or why everything is asked anew.
    """

    answers: Mapping[str, Answer]
    session_id: str | None
    asked_on: date | None
    words: str

    @property
    def may_be_shown(self) -> bool:
        """Tell whether there are answers to show."""
        return self.session_id is not None


@dataclass(frozen=True, slots=True)
class Offer:
    """The last comfortable level of one channel as a marker, or why there is none."""

    channel: int
    amplitude_ua: int | None
    words: str


def answers_of(
    visits: Sequence[Visit], kind: str, today: date, valid_days: int, *, step: str | None = None
) -> Carried:
    """Return the newest answers of a kind of step, as far as they may still be shown.

    For sensation this is also what still holds: `asked_on` is the day of the test.

    Args:
        visits: of this person, newest first, without today's.
        kind: of the step, such as 'screen'.
        today: the day.
        valid_days: how many days after it was asked an answer may be shown; 0: on that day alone.
        step: id of the step, where a protocol has several of a kind.
    """
    if kind not in MAY_BE_CARRIED:
        return _none("asked at every visit")
    for visit in visits:
        newest = _newest(visit, kind, step)
        if newest is not None:
            return _judged(visits, visit, newest, today, valid_days)
        if visit.problem:
            # It may hold a newer answer than any that can be read.
            return _none(f"asked anew: of the visit {_day(visit)}, {visit.problem}")
    return _none("asked for the first time")


def counted_up(answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """Return the answers about pads as they are today: used once more (rule 6)."""
    return {
        name: each + 1 if is_uses(name) and type(each) is int else each
        for name, each in answers.items()
    }


def is_uses(question_id: str) -> bool:
    """Tell whether a question asks how often pads were used."""
    return question_id == "uses" or question_id.endswith("-uses")


def comfortable(visits: Sequence[Visit], today: Today, valid_days: int) -> tuple[Offer, ...]:
    """Return for every channel of today the last comfortable level, if it may serve as a marker.

    Args:
        visits: of this person, newest first, without today's.
        today: what is loaded.
        valid_days: how many days a level may serve.
    """
    return tuple(
        _offer(visits, today, valid_days, channel)
        for channel in range(1, len(today.ceilings_ua) + 1)
    )


def _judged(
    visits: Sequence[Visit], visit: Visit, newest: Confirmed, today: date, valid_days: int
) -> Carried:
    origin = _origin(visits, visit, newest)
    if isinstance(origin, str):
        return _none(f"asked anew: {origin}")
    asked_on = origin.wall.date()
    if asked_on > today:
        return _none(f"asked anew: last asked on {asked_on}, which is after today")
    if today > asked_on + timedelta(days=valid_days):
        return _none(f"asked anew: last asked on {asked_on}, over {valid_days} days ago")
    # The newest answers are those of the origin: a step with any other answer is not carried.
    return Carried(newest.answers, origin.session_id, asked_on, f"changed since {asked_on}?")


def _origin(visits: Sequence[Visit], visit: Visit, confirmed: Confirmed) -> Confirmed | str:
    """Return the step in which this was really asked, or why nobody can tell."""
    # A chain that is longer than the visits leads in a circle.
    for _ in range(len(visits) + 1):
        unreliable = _unreliable(visit)
        if unreliable:
            return unreliable
        if confirmed.carried_from is None:
            return confirmed
        earlier = find(visits, confirmed.carried_from)
        before = None if earlier is None else _same_step(earlier, confirmed)
        if earlier is None or before is None:
            return f"it was carried from a visit ({confirmed.carried_from}) that is not there"
        if not _is_unchanged(before, confirmed) or before.wall > confirmed.wall:
            return f"it differs from the visit {_day(earlier)} that it was carried from"
        visit, confirmed = earlier, before
    return "it was carried in a circle"


def _same_step(earlier: Visit, confirmed: Confirmed) -> Confirmed | None:
    """Return the step that was carried; another protocol may have given it another id."""
    kind = confirmed.kind
    return _newest(earlier, kind, confirmed.step) or _newest(earlier, kind, None)


def _is_unchanged(before: Confirmed, later: Confirmed) -> bool:
    """Tell whether answers are those of before; of pads, but for the uses, which only rise."""
    if before.kind != PLACE:
        return before.answers == later.answers
    return before.answers.keys() == later.answers.keys() and all(
        _has_risen(answer, later.answers[name]) if is_uses(name) else answer == later.answers[name]
        for name, answer in before.answers.items()
    )


def _has_risen(before: Answer, later: Answer) -> bool:
    return type(before) is int and type(later) is int and later > before


def _offer(visits: Sequence[Visit], today: Today, valid_days: int, channel: int) -> Offer:
    why_not = NO_LEVEL
    is_first = True
    for visit in visits:
        unreliable = _unreliable(visit)
        if unreliable:
            # A lower level than any older one may stand in it.
            return Offer(channel, None, f"no marker: {unreliable}")
        for stimulation in reversed(visit.facts.stimulations):
            amplitude_ua = stimulation.markers_ua.get(channel, {}).get(COMFORTABLE)
            if amplitude_ua is None:
                continue
            level = f"comfortable at {format_ma(amplitude_ua)} mA {_day(visit)}"
            other = _difference(stimulation, today)
            if not other:
                against = _against(visit, today, valid_days, channel, amplitude_ua)
                if against:
                    return Offer(channel, None, f"no marker: {level}, but {against}")
                return Offer(channel, amplitude_ua, level)
            if is_first:
                why_not, is_first = f"no marker: {level}, but {other}", False
    return Offer(channel, None, why_not)


def _difference(stimulation: Stimulation, today: Today) -> str:
    """Say in what a programme differs from today's, '' for nothing."""
    if stimulation.profile_id != today.profile_id:
        return f"with the profile {stimulation.profile_id}"
    if stimulation.program_digest != today.program_digest:
        return "the profile has changed since"
    if stimulation.placement is None:
        return "nobody read back where"
    return "" if stimulation.placement == today.placement else "at other sites"


def _against(visit: Visit, today: Today, valid_days: int, channel: int, amplitude_ua: int) -> str:
    """Say why the level of the same programme at the same sites does not serve, '' if it does."""
    if visit.on is None or visit.on > today.on:
        return "that is after today"
    if today.on > visit.on + timedelta(days=valid_days):
        return f"that is over {valid_days} days ago"
    ceiling_ua = today.ceilings_ua[channel - 1]
    if amplitude_ua > ceiling_ua:
        return f"today's ceiling is {format_ma(ceiling_ua)} mA"
    return ""


def _newest(visit: Visit, kind: str, step: str | None) -> Confirmed | None:
    return next(
        (
            each
            for each in reversed(visit.facts.steps)
            if each.kind == kind and step in (None, each.step)
        ),
        None,
    )


def _unreliable(visit: Visit) -> str:
    if visit.problem:
        return f"of the visit {_day(visit)}, {visit.problem}"
    if visit.facts.corrections:
        return f"the visit {_day(visit)} was corrected afterwards"
    return ""


def _day(visit: Visit) -> str:
    return f"on {visit.on}" if visit.on else visit.session_id


def _none(words: str) -> Carried:
    return Carried({}, None, None, words)
