"""What is known around a visit: of earlier ones, of the site's policy, of the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

from estim.visit.history import Visit as PastVisit
from estim.visit.plan import NO_PLAN, FoundPlan
from estim.visit.questions import Answers

Treatment = tuple[str, tuple[str, ...]]
"""A profile's id, and where the pads lie in the words that are read back."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """Answers of an earlier visit that may still hold.

    Attributes:
        session_id: the visit in which they were really asked.
        on: the day of that.
        read_back: profile and places that were read back in that visit.
        lines: question and answer, in words; made when the step comes.
    """

    session_id: str
    on: date
    answers: Answers
    read_back: frozenset[Treatment] = frozenset()
    lines: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What is known around a visit.

    Attributes:
        today: the day of the visit.
        sensation_valid_days, electrode_uses_max: figures of the site policy.
        clinicians: ids on the roster that may override.
        is_first_session: nothing was ever delivered to this person here.
        longest_ms: longest single delivery that is certain, by profile and places.
        planned: the plan that held before this visit.
        earlier: answers that may still hold, by the step's kind.
        asked_anew: why there are none, in words, by the step's kind.
        cut_off, cut_off_anew: the same of visits that were cut off today, by the step's id.
        delivered_ms: for how long current flowed in visits that were cut off today.
        visits: past ones, newest first.
        has_patient_stop, is_patient_stop_reported: what the device says.
    """

    today: date
    sensation_valid_days: int
    electrode_uses_max: int
    clinicians: frozenset[str] = frozenset()
    is_first_session: bool = True
    longest_ms: Mapping[Treatment, int] = field(default_factory=lambda: MappingProxyType({}))
    planned: FoundPlan = NO_PLAN
    earlier: Mapping[str, Earlier] = field(default_factory=lambda: MappingProxyType({}))
    asked_anew: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    cut_off: Mapping[str, Earlier] = field(default_factory=lambda: MappingProxyType({}))
    cut_off_anew: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    delivered_ms: int = 0
    visits: tuple[PastVisit, ...] = ()
    has_patient_stop: bool = False
    is_patient_stop_reported: bool = False
