"""Say what a visit that was cut off today gives to the one that follows it.

Rules:
1. Nothing is resumed. A new visit begins, with a record of its own, and everything that gates
   output is asked there as at any visit; what is told of this one answers nothing.
2. It is a visit of today by the same protocol, without a review, that is closed and can be relied
   on, and that nobody closed with a note; another one that was cut off may stand before it.
3. What hangs on nothing that was asked anew is shown, and somebody says whether it has changed. Of
   what is asked at every visit it is only told that it was answered, and when.
4. What it delivered counts as delivered in the visit that follows: cutting a visit off gives no new
   time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from estim.record.verify import SealState
from estim.visit.fold import REVIEW, Confirmed
from estim.visit.history import Visit, find
from estim.visit.known import Earlier

SHOWN_AGAIN = ("assess", "exercise", "manual_therapy", "adjunct", "educate")
ASKED_AGAIN = ("consent", "inspect_skin", "try_stop")


def cut_off(visits: Sequence[Visit], protocol_id: str, today: date) -> tuple[Visit, ...]:
    """Return the visits that were cut off today, newest first (rule 2).

    Args:
        visits: of this person, newest first, without the one that begins.
        protocol_id: by which it begins.
        today: the day.
    """
    found = []
    for visit in visits:
        if not _is_cut_off(visit, protocol_id, today):
            break
        found.append(visit)
    return tuple(found)


def earlier(visits: Sequence[Visit]) -> dict[str, Earlier]:
    """Return what may be shown again, by the step's id.

    Args:
        visits: those that were cut off.
    """
    shown: dict[str, Earlier] = {}
    for visit, confirmed in _newest(visits):
        origin = visit if confirmed.carried_from is None else find(visits, confirmed.carried_from)
        if confirmed.kind in SHOWN_AGAIN and origin is not None and origin.on is not None:
            shown[confirmed.step] = Earlier(origin.session_id, origin.on, confirmed.answers)
    return shown


def asked_anew(visits: Sequence[Visit]) -> dict[str, str]:
    """Say by the step's id what was answered and is asked again all the same.

    Args:
        visits: those that were cut off.
    """
    return {
        confirmed.step: f"answered at {confirmed.wall:%H:%M} (UTC), before the visit was cut off; "
        "it is asked at every visit"
        for _, confirmed in _newest(visits)
        if confirmed.kind in ASKED_AGAIN
    }


def delivered_ms(visits: Sequence[Visit]) -> int:
    """Return for how long current flowed for certain in visits that were cut off (rule 4)."""
    return sum(each.delivered_ms or 0 for visit in visits for each in visit.facts.stimulations)


def _is_cut_off(visit: Visit, protocol_id: str, today: date) -> bool:
    is_reliable = not visit.problem and not visit.facts.corrections
    return (
        is_reliable
        and visit.on == today
        and visit.state != SealState.UNSEALED
        and visit.closed_on is None
        and visit.facts.protocol_id == protocol_id
        and visit.facts.latest(REVIEW) is None
    )


def _newest(visits: Sequence[Visit]) -> Iterator[tuple[Visit, Confirmed]]:
    """Yield each step as it was confirmed last, with the visit in which it was."""
    seen: set[str] = set()
    for visit in visits:
        for confirmed in reversed(visit.facts.steps):
            if confirmed.step not in seen:
                seen.add(confirmed.step)
                yield visit, confirmed
