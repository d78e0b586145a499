"""Draw the state diagram in ARCHITECTURE.md from the transition table.

`python -m estim.session.diagram` writes it; `--check` exits 1 where the page differs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from estim.session.states import mermaid

BEGIN = "<!-- states:begin -->"
END = "<!-- states:end -->"
PAGE = Path(__file__).resolve().parents[2] / "ARCHITECTURE.md"


def drawn(page: str) -> str:
    """Return the page with the diagram of the table between its markers.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise ValueError(f"expected {BEGIN} and {END} once each, in order")
    return f"{before}{BEGIN}\n```mermaid\n{mermaid()}\n```\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    """Write the diagram, or check it; return the exit code."""
    present = PAGE.read_text(encoding="utf-8")
    renewed = drawn(present)
    if "--check" in arguments:
        if renewed != present:
            print("ARCHITECTURE.md: the state diagram is stale; run make generate", file=sys.stderr)
        return int(renewed != present)
    PAGE.write_text(renewed, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
