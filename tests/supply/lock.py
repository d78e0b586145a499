"""Read the lock: what is pinned, with which hashes, and who asked for it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
RUN_LOCK = "requirements/run.txt"
ROOT = "estim"

_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)(?: *; *([^\\]*[^\\ ]))?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_VIA = re.compile(r"    #(?: via)?(?:   )? ?([A-Za-z0-9._-]+)(?: \(pyproject\.toml.*\))?")


@dataclass(frozen=True, slots=True)
class Pinned:
    """One package of the lock.

    Attributes:
        name, version: of the package.
        marker: on which systems it is needed, '' for all.
        hashes: SHA-256 of each file of the release, sorted.
        wanted_by: packages that depend on it, and `estim` where it does itself.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    wanted_by: tuple[str, ...]


def read(text: str) -> tuple[Pinned, ...]:
    """Return every package that a lock pins, by name.

    Raises:
        ValueError: a line is none of a lock, or a package has no hash or nobody who wants it.
    """
    found: list[Pinned] = []
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        pin, *rest = [line for line in block.splitlines() if not line.startswith("#")] or [""]
        if not pin:
            continue
        named = _PIN.match(pin)
        hashes = sorted(_HASH.findall(block))
        wanted = [via[1] for line in rest if (via := _VIA.fullmatch(line)) and via[1] != "via"]
        if named is None or not hashes or not wanted:
            raise ValueError(f"not a pinned package with hashes: {pin[:80]!r}")
        found.append(
            Pinned(named[1], named[2], named[3] or "", tuple(hashes), tuple(sorted(set(wanted))))
        )
    return tuple(sorted(found, key=lambda each: each.name))


def read_run(checkout: Path = CHECKOUT) -> tuple[Pinned, ...]:
    """Return what an installed Estim brings, extras included."""
    return read((checkout / RUN_LOCK).read_text(encoding="utf-8"))


def releases(checkout: Path = CHECKOUT) -> list[str]:
    """Return the tags of the checkout, the newest last, and HEAD."""
    listed = _git(checkout, "tag", "--sort=creatordate")
    return [*listed.split(), "HEAD"]


def of_release(release: str, checkout: Path = CHECKOUT) -> tuple[Pinned, ...]:
    """Return what a release pinned; nothing where it had no lock."""
    try:
        return read(_git(checkout, "show", f"{release}:{RUN_LOCK}"))
    except subprocess.CalledProcessError:
        return ()


def _git(checkout: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True
    ).stdout
