"""Write everything that derives from the declarations, or check that it is up to date.

`python -m firmware_protocol.generate` writes, `--check` compares and exits 1 naming stale files.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from firmware_protocol import c_header, reference, vectors
from firmware_protocol.limits import LIMITS, Certainty, Limit
from firmware_protocol.pages import ROOT, Output, between, write_or_check

LIMITS_BEGIN = "<!-- limits:begin -->"
LIMITS_END = "<!-- limits:end -->"

_CERTAINTY_WORDS = {
    Certainty.SOURCE: "read in a public source",
    Certainty.KNOWN: "common professional knowledge",
    Certainty.UNCHECKED: "to be checked against the original",
    Certainty.ENGINEERING: "an engineering proposal of this project",
}


def limits_table(present: str) -> str:
    """Return SAFETY.md with its table of limits renewed.

    Raises:
        ValueError: the two markers are not there, once each and in order.
    """
    rows = reference.table(
        ("id", "limit", "unit", "lowest", "recommended", "highest", "why", "source", "sure",
         "held by"),
        (_limit_cells(limit) for limit in LIMITS),
    )  # fmt: skip
    words = "; ".join(f"{grade.value}: {said}" for grade, said in _CERTAINTY_WORDS.items())
    return between(present, LIMITS_BEGIN, LIMITS_END, f"{rows}\nSure: {words}.")


def _limit_cells(limit: Limit) -> tuple[str, ...]:
    return (
        str(limit.wire_id),
        f"`{limit.name}`",
        limit.unit,
        _figure(limit.hard_min),
        _figure(limit.recommended_max),
        _figure(limit.hard_max),
        limit.why,
        limit.source,
        limit.certainty.value,
        limit.enforced_by.value,
    )


def _figure(bound: int | None) -> str:
    return "" if bound is None else f"{bound:,}".replace(",", " ")


OUTPUTS: tuple[Output, ...] = (
    Output("firmware_protocol/PROTOCOL.md", lambda present: reference.render()),
    Output("firmware_protocol/vectors.json", lambda present: vectors.render()),
    Output("firmware_protocol/c/protocol.h", lambda present: c_header.render()),
    Output("SAFETY.md", limits_table),
)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write or check; return the exit code."""
    return write_or_check("firmware_protocol.generate", OUTPUTS, arguments, root)


if __name__ == "__main__":
    sys.exit(main())
