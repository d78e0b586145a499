"""Take the capture of a step: the file dropped into a folder, or the simulator's own trace.

Rules:
1. A file is complete once its size and time have stood still for a moment; half a file is never
   measured.
2. A file whose name names a step belongs to that step and to no other. Among the rest the newest
   that came after the step began is taken, and none is taken twice.
3. Of a trace only the plateau is kept, whole pulses of it: what an oscilloscope would be set to;
   and when the channel's trigger rose until then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from estim.clock import Clock
from estim.errors import UsageError
from estim.rig.jobs.steps import Step, tagged_number
from estim.units import US_PER_S
from firmware_protocol.program import ChannelProgram

SETTLED_S = 0.3
LOOK_EVERY_S = 0.05
PLATEAU_MARGIN_US = 20_000

Mark = tuple[int, int]
"""Size and time of last change."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What lay in the folder when a step began, and what was refused for it since."""

    step: Step
    before: dict[str, Mark]
    refused: set[str]


class CaptureFolder:
    """A folder that captures are dropped into."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock

    def begin(self, step: Step) -> Waiting:
        """Look at what is there before a step delivers.

        Raises:
            UsageError: the folder cannot be made or read.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"captures {self.folder}: {error.strerror}") from None
        return Waiting(step, self._marks(), set())

    def refuse(self, waiting: Waiting, path: Path) -> None:
        """Never take a file for this step again, unless it changes."""
        waiting.refused.add(path.name)
        waiting.before[path.name] = self._marks().get(path.name, (0, 0))

    def wait(
        self,
        waiting: Waiting,
        used: frozenset[str],
        wait_s: float,
        stop_reason: Callable[[], str],
    ) -> Path | None:
        """Return the capture of a step once it is complete; None if none came, or on a stop.

        Args:
            waiting: of `begin`.
            used: names of the files that other steps have taken.
            wait_s: how long to wait for one.
            stop_reason: why to give up, '' for not.
        """
        deadline_us = self._clock.now_us() + int(wait_s * US_PER_S)
        seen: dict[str, tuple[Mark, int]] = {}
        while not stop_reason():
            now_us = self._clock.now_us()
            marks = self._marks()
            for name, mark in marks.items():
                if name not in seen or seen[name][0] != mark:
                    seen[name] = (mark, now_us)
            found = self._choose(waiting, marks, used)
            if found and now_us - seen[found][1] >= SETTLED_S * US_PER_S:
                return self.folder / found
            if found is None and now_us >= deadline_us:
                return None
            time.sleep(LOOK_EVERY_S)
        return None

    def _choose(self, waiting: Waiting, marks: dict[str, Mark], used: frozenset[str]) -> str | None:
        number = waiting.step.number
        # A file that was taken before, in this phase or another, counts again once it was changed.
        changed = {name for name, mark in marks.items() if waiting.before.get(name) != mark}
        mine = [
            name
            for name in marks
            if tagged_number(name) == number
            and (name in changed or name not in used | waiting.refused)
        ]
        if not mine:
            mine = [name for name in changed if tagged_number(name) is None]
        return max(mine, key=lambda name: (marks[name][1], name), default=None)

    def _marks(self) -> dict[str, Mark]:
        marks = {}
        try:
            for path in self.folder.iterdir():
                if path.name.startswith(".") or not path.is_file():
                    continue
                status = path.stat()
                if status.st_size:
                    marks[path.name] = (status.st_size, status.st_mtime_ns)
        except OSError as error:
            raise UsageError(f"captures {self.folder}: {error.strerror}") from None
        return marks


def cut_trace(
    trace: Path, target: Path, channel: ChannelProgram, number: int, plateau_us: Mark
) -> None:
    """Write the whole pulses of one channel that lie in a plateau as a trace of its own.

    Args:
        trace: the simulator's trace of a delivery.
        target: the file to write.
        channel: what the channel played.
        number: of the channel, from 1.
        plateau_us: start and end on the clock of the trace.

    Raises:
        UsageError: a file cannot be read or written.
    """
    start_us, end_us = plateau_us[0] + PLATEAU_MARGIN_US, plateau_us[1] - PLATEAU_MARGIN_US
    lengths_us = [channel.pulse_us(setting.unit_us) for setting in channel.settings]
    try:
        with trace.open(encoding="ascii") as source, target.open("w", encoding="ascii") as kept:
            kept.write(next(source, ""))
            phases = _without_triggers(source, kept, number, end_us)
            for lines, onset_us in _pulses(phases, number, min(lengths_us)):
                if start_us <= onset_us < end_us - max(lengths_us):
                    kept.writelines(lines)
    except OSError as error:
        raise UsageError(f"trace {error.filename or trace}: {error.strerror}") from None


def _without_triggers(
    source: Iterator[str], kept: TextIO, number: int, end_us: int
) -> Iterator[str]:
    """Yield the rows that are phases; triggers of the channel are kept, those long before too."""
    for line in source:
        if not line.endswith(",0,0\n"):
            yield line
        elif line.split(",")[1] == str(number) and int(line.split(",")[0]) < end_us:
            kept.write(line)


def _pulses(
    source: Iterator[str], number: int, shortest_us: int
) -> Iterator[tuple[list[str], int]]:
    """Yield the rows of each whole pulse of a channel, with the time of its first one.

    A pulse ends where its net charge is zero and at least half of its time is over: carriers leave
    no silence between pulses, and at low amplitudes the first phases of a pulse have no row.
    """
    lines: list[str] = []
    onset_us = net_pc = 0
    for line in source:
        cells = line.rstrip("\n").split(",")
        if not line.endswith("\n") or len(cells) != 4 or cells[1] != str(number):
            continue
        t_us, current_ua, duration_us = int(cells[0]), int(cells[2]), int(cells[3])
        onset_us = onset_us if lines else t_us
        lines.append(line)
        net_pc += current_ua * duration_us
        if net_pc == 0 and 2 * (t_us + duration_us - onset_us) >= shortest_us:
            yield lines, onset_us
            lines = []
