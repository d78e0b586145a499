"""List the requirements in docs/conformance.md.

`python -m estim.rig.conformance.page` writes the list; `--check` exits 1 where the page differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from estim.rig.conformance.requirement import GROUPS
from estim.rig.conformance.suite import every_requirement
from firmware_protocol.pages import Output, between, write_or_check

BEGIN = "<!-- requirements:begin -->"
END = "<!-- requirements:end -->"


def listed(page: str) -> str:
    """Return the page with every requirement between its markers.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    return between(page, BEGIN, END, "\n".join(_lines()))


def _lines() -> Iterator[str]:
    requirements = every_requirement()
    yield f"{len(requirements)} requirements."
    for group, title in GROUPS.items():
        yield f"\n### {group}: {title}\n"
        yield "| id | chapter | requirement |"
        yield "|---|---|---|"
        for each in requirements:
            if each.group == group:
                yield f"| `{each.id}` | {each.chapter} | {each.text} |"


if __name__ == "__main__":
    outputs = (Output("docs/conformance.md", listed),)
    sys.exit(write_or_check("estim.rig.conformance.page", outputs, None))
