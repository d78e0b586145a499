"""Time an exercise, or anything else: sets, repetitions, holds and rests; or a plain stopwatch.

Times are in us of the caller's clock. A phase with a time ends by itself; one without waits for a
key, since nobody but the person knows when ten repetitions are done.
"""

from __future__ import annotations

from dataclasses import dataclass

from estim.units import US_PER_S
from estim.visit.protocol import Exercise


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of an exercise; without a duration it lasts until a key."""

    words: str
    duration_s: int = 0


def phases(exercise: Exercise) -> tuple[Phase, ...]:
    """Return the stretches of an exercise in order."""
    if exercise.duration_s:
        return (Phase(exercise.name, exercise.duration_s),)
    found: list[Phase] = []
    for number in range(1, exercise.sets + 1):
        of_sets = f"set {number} of {exercise.sets}, " if exercise.sets > 1 else ""
        if exercise.hold_s:
            for repetition in range(1, exercise.repetitions + 1):
                count = f"{of_sets}{repetition} of {exercise.repetitions}"
                if repetition > 1:
                    found.append(Phase(f"{count}: get ready"))
                found.append(Phase(f"{count}: hold", exercise.hold_s))
        else:
            found.append(Phase(f"{of_sets}{exercise.repetitions} repetitions"))
        if number < exercise.sets:
            found.append(Phase("rest", exercise.rest_s))
    return tuple(found)


class Timer:
    """Time the phases of an exercise, begun with the first press; without any, a stopwatch."""

    def __init__(self, exercise: Exercise | None = None) -> None:
        self._phases = phases(exercise) if exercise is not None else (Phase("stopwatch"),)
        self._index = -1
        self._began_us = 0
        self._ended_us = 0

    @property
    def is_running(self) -> bool:
        """Tell whether a phase is being timed."""
        return 0 <= self._index < len(self._phases)

    def press(self, now_us: int) -> None:
        """Begin, or go on to the next phase; after the last one, begin anew."""
        self.advance(now_us)
        if self._index >= len(self._phases):
            self._index = -1
        self._go_on(now_us)

    def advance(self, now_us: int) -> None:
        """Pass over the phases whose time has run out."""
        while self.is_running:
            phase = self._phases[self._index]
            end_us = self._began_us + phase.duration_s * US_PER_S
            if not phase.duration_s or now_us < end_us:
                return
            self._go_on(end_us)

    def elapsed_us(self, now_us: int) -> int:
        """Return how long the phase has lasted, or the last one did."""
        return (now_us if self.is_running else self._ended_us) - self._began_us

    def words(self, now_us: int) -> str:
        """Return what is shown: the phase, and its seconds, left or so far."""
        if self._index < 0:
            return ""
        if not self.is_running:
            last = self._phases[-1]
            return f"{last.words}: done, {tenths(self.elapsed_us(now_us))} s"
        phase = self._phases[self._index]
        if phase.duration_s:
            left_us = phase.duration_s * US_PER_S - self.elapsed_us(now_us)
            return f"{phase.words}: {-(-left_us // US_PER_S)} s left"
        return f"{phase.words}: {tenths(self.elapsed_us(now_us))} s"

    def _go_on(self, at_us: int) -> None:
        self._index += 1
        if self.is_running:
            self._began_us = at_us
        else:
            self._ended_us = at_us


def tenths(elapsed_us: int) -> str:
    """Return seconds with one place, rounded half up."""
    tenths_s = (elapsed_us + US_PER_S // 20) // (US_PER_S // 10)
    return f"{tenths_s // 10}.{tenths_s % 10}"
