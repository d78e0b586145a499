"""Draw the state diagram in ARCHITECTURE.md from the transition table.

`python -m estim.session.diagram` writes it; `--check` exits 1 where the page differs.
"""

from __future__ import annotations

import sys

from estim.session.states import mermaid
from firmware_protocol.pages import Output, between, write_or_check

BEGIN = "<!-- states:begin -->"
END = "<!-- states:end -->"


def drawn(page: str) -> str:
    """Return the page with the diagram of the table between its markers.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    return between(page, BEGIN, END, f"```mermaid\n{mermaid()}\n```")


if __name__ == "__main__":
    sys.exit(write_or_check("estim.session.diagram", (Output("ARCHITECTURE.md", drawn),), None))
