"""Write everything that derives from the declarations, or check that it is up to date.

`python -m firmware_protocol.generate` writes, `--check` compares and exits 1 naming stale files.
An output is a path and a function from the file's present text ('' if there is none) to its new
text, so that a part of a file that people write can be kept.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware_protocol import c_header, reference, vectors
from firmware_protocol.limits import LIMITS, Certainty, Limit

LIMITS_BEGIN = "<!-- limits:begin -->"
LIMITS_END = "<!-- limits:end -->"

_ROOT = Path(__file__).resolve().parent.parent
_DIFF_LINES_MAX = 20

_CERTAINTY_WORDS = {
    Certainty.SOURCE: "read in a public source",
    Certainty.KNOWN: "common professional knowledge",
    Certainty.UNCHECKED: "to be checked against the original",
    Certainty.ENGINEERING: "an engineering proposal of this project",
}


@dataclass(frozen=True, slots=True)
class Output:
    """One generated file, relative to the root of the checkout."""

    path: str
    render: Callable[[str], str]


def limits_table(present: str) -> str:
    """Return SAFETY.md with its table of limits renewed.

    Raises:
        ValueError: the two markers are not there, once each and in order.
    """
    before, begin, rest = present.partition(LIMITS_BEGIN)
    _, end, after = rest.partition(LIMITS_END)
    if not begin or not end or LIMITS_BEGIN in rest or LIMITS_END in before + after:
        raise ValueError(f"expected {LIMITS_BEGIN} and then {LIMITS_END}, once each")
    rows = reference.table(
        ("id", "limit", "unit", "lowest", "recommended", "highest", "why", "source", "sure",
         "held by"),
        (_limit_cells(limit) for limit in LIMITS),
    )  # fmt: skip
    words = "; ".join(f"{grade.value}: {said}" for grade, said in _CERTAINTY_WORDS.items())
    return f"{before}{begin}\n{rows}\nSure: {words}.\n{end}{after}"


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


def stale(root: Path) -> dict[str, tuple[str, str]]:
    """Return present and new text of every output that is not up to date, by path.

    Raises:
        ValueError: a file lacks the markers of its generated part.
    """
    found = {}
    for output in OUTPUTS:
        path = root / output.path
        present = path.read_text(encoding="utf-8") if path.exists() else ""
        try:
            renewed = output.render(present)
        except ValueError as error:
            raise ValueError(f"{output.path}: {error}") from error
        if renewed != present:
            found[output.path] = (present, renewed)
    return found


def main(arguments: Sequence[str] | None = None, root: Path = _ROOT) -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m firmware_protocol.generate")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    is_check = parser.parse_args(arguments).check
    try:
        found = stale(root)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for path, (present, renewed) in found.items():
        if is_check:
            print(f"{path} is stale: run `python -m firmware_protocol.generate`", file=sys.stderr)
            for line in _short_diff(path, present, renewed):
                print(line, file=sys.stderr)
        else:
            (root / path).write_text(renewed, encoding="utf-8")
            print(f"{path} written")
    return 1 if is_check and found else 0


def _short_diff(path: str, present: str, renewed: str) -> list[str]:
    lines = list(
        difflib.unified_diff(
            present.splitlines(), renewed.splitlines(), path, f"{path} (new)", lineterm="", n=0
        )
    )
    if len(lines) > _DIFF_LINES_MAX:
        return [*lines[:_DIFF_LINES_MAX], f"... and {len(lines) - _DIFF_LINES_MAX} more lines"]
    return lines


if __name__ == "__main__":
    sys.exit(main())
