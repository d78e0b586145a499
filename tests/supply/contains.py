"""Tell which releases contain a package: `make contains PACKAGE=aiohttp`.

Answers from the locks of the tags and of HEAD, without a network: a package that nobody named
directly is found as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.supply import lock


def main(arguments: list[str], checkout: Path = lock.CHECKOUT) -> int:
    """Print each release with the version that it has; return 1 where none has the package."""
    if len(arguments) != 1:
        print("contains: expected the name of one package", file=sys.stderr)
        return 2
    wanted = arguments[0].lower().replace("_", "-")
    found = False
    for release in lock.releases(checkout):
        for pinned in lock.of_release(release, checkout):
            if pinned.name.lower() == wanted:
                print(
                    f"{release}: {pinned.name} {pinned.version}, for {', '.join(pinned.wanted_by)}"
                )
                found = True
    if not found:
        print(f"contains: no release has {wanted}", file=sys.stderr)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
