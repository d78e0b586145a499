"""List the requirements in docs/conformance.md.

`python -m estim.rig.conformance.page` writes the list; `--check` exits 1 where the page differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from estim.rig.conformance.requirement import GROUPS
from estim.rig.conformance.suite import every_requirement

BEGIN = "<!-- requirements:begin -->"
END = "<!-- requirements:end -->"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "conformance.md"


def listed(page: str) -> str:
    """Return the page with every requirement between its markers.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise ValueError(f"expected {BEGIN} and {END} once each, in order")
    return f"{before}{BEGIN}\n" + "\n".join(_lines()) + f"\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    """Write the list, or check it; return the exit code."""
    present = PAGE.read_text(encoding="utf-8")
    renewed = listed(present)
    if "--check" in arguments:
        if renewed != present:
            print("docs/conformance.md: the list is stale; run make generate", file=sys.stderr)
        return int(renewed != present)
    PAGE.write_text(renewed, encoding="utf-8")
    return 0


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
    sys.exit(main(sys.argv[1:]))
