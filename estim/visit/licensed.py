"""Questionnaires of others: score, version and licence alone, never their text.

Ranges and marks are those of the clinical facts, section 7, each with its certainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Licensed:
    """A questionnaire whose text is not shipped.

    Attributes:
        marks: (from this score on, what it says), rising; the first holds for the lowest score.
        certainty: of the marks, with the source; '' where there are none.
    """

    id: str
    title: str
    minimum: int
    maximum: int
    higher_is_better: bool
    licence: str
    marks: Sequence[tuple[Decimal, str]] = ()
    certainty: str = ""

    def interpret(self, value: Decimal) -> tuple[str, str]:
        """Return what a score says, and how certain that is."""
        told = [words for start, words in self.marks if value >= start]
        return (told[-1], self.certainty) if told else ("", "")


def _marks(*pairs: tuple[str, str]) -> tuple[tuple[Decimal, str], ...]:
    return tuple((Decimal(start), words) for start, words in pairs)


_CHECK = "check the licence; only the score is kept here"

LICENSED = (
    Licensed(
        "dn4", "DN4", 0, 10, False, "copyrighted; commercial use asks for permission [K?]",
        _marks(("0", "below 4"), ("4", "4 or more: neuropathic pain is likely")), "K",
    ),
    Licensed(
        "paindetect", "painDETECT", -1, 38, False, "licence of Pfizer and Mapi [K?]",
        _marks(
            ("-1", "neuropathic pain is unlikely"), ("13", "unclear"),
            ("19", "neuropathic pain is likely"),
        ), "K",
    ),
    Licensed(
        "lanss", "LANSS", 0, 24, False, _CHECK,
        _marks(("0", "below 12"), ("12", "12 or more: neuropathic pain is likely")), "S:pmc713",
    ),
    Licensed(
        "mnsi-history", "MNSI, history", 0, 13, False, "permission not required [S:phenx]",
        _marks(("0", "below 4"), ("4", "abnormal by the newer mark of 4"), ("7", "abnormal")), "K",
    ),
    Licensed(
        "mnsi-examination", "MNSI, examination", 0, 10, False, "permission not required [S:phenx]",
        _marks(("0", "below 2.5"), ("2.5", "abnormal")), "K",
    ),
    Licensed("tnsc", "TNSc", 0, 28, False, "Johns Hopkins, to be checked [K?]"),
    Licensed(
        "tcns", "TCNS", 0, 19, False, _CHECK,
        _marks(("0", "below moderate"), ("9", "moderate"), ("12", "above moderate")),
        "S:nct0525",
    ),
    Licensed("cipn20", "EORTC CIPN20", 0, 100, False, "EORTC user's agreement [K]"),
    Licensed(
        "berg", "Berg Balance Scale", 0, 56, True, _CHECK,
        _marks(("0", "below 45: risk of falling"), ("45", "45 or more")), "K",
    ),
    Licensed("fes-i", "FES-I (fear of falling, no stimulation)", 16, 64, False, _CHECK),
    Licensed("short-fes-i", "Short FES-I (fear of falling)", 7, 28, False, _CHECK),
)  # fmt: skip
"""Every such questionnaire."""
