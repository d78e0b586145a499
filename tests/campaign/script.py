"""A run as text: what happens besides the session's own course, one step a line.

    seed 17
    core c
    session tens
    quiet 8.000000
    at 2.150000 wire drop to-device 3

`seed` decides the epochs alone: every choice of a step stands in the step itself, so that a line
taken away leaves the others as they were. `quiet` is when the faults have ended: the world is
mended then, and must be operable within 5 s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

US_PER_S = 1_000_000
CORES = ("python", "c")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens, in the words of `faults.py`."""

    at_us: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"at {_seconds(self.at_us)} {' '.join(self.words)}"


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that decides a run."""

    seed: int
    core: str
    session: str
    quiet_us: int
    steps: tuple[Step, ...]

    def with_steps(self, steps: tuple[Step, ...]) -> Script:
        return replace(self, steps=steps)

    def text(self) -> str:
        head = (
            f"seed {self.seed}",
            f"core {self.core}",
            f"session {self.session}",
            f"quiet {_seconds(self.quiet_us)}",
        )
        return "".join(f"{line}\n" for line in (*head, *map(str, self.steps)))


def on_other_core(script: Script) -> Script:
    """Return the same script for the other of the two cores."""
    return replace(script, core=CORES[script.core == CORES[0]])


def parse(text: str) -> Script:
    """Read a script; raise ValueError, with the line, where it is none."""
    head: dict[str, str] = {}
    steps: list[Step] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if words[0] == "at" and len(words) > 2:
            steps.append(Step(_microseconds(words[1]), tuple(words[2:])))
        elif words[0] in ("seed", "core", "session", "quiet") and len(words) == 2:
            head[words[0]] = words[1]
        else:
            raise ValueError(f"line {number}: not understood: {line!r}")
    if head.get("core") not in CORES:
        raise ValueError(f"core: one of {', '.join(CORES)} expected")
    return Script(
        int(head["seed"]), head["core"], head["session"], _microseconds(head["quiet"]),
        tuple(sorted(steps, key=lambda step: step.at_us)),
    )  # fmt: skip


def read(path: Path) -> Script:
    """Read a script's file."""
    return parse(path.read_text())


def _seconds(at_us: int) -> str:
    return f"{at_us // US_PER_S}.{at_us % US_PER_S:06d}"


def _microseconds(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * US_PER_S + int((part + "000000")[:6])
