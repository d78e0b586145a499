"""What happens around a device: leads, the patient's stop, the supply.

The simulator plays it from a word; a person does some of it by hand; else it cannot be tested.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from estim.drivers.registry import FaultPlayer, Transport
from estim.errors import UsageError
from estim.rig.conformance.requirement import NotTestable

SIMULATED_MS = 1500
HANDS_MS = 30_000
BACK_MS = 100
HANDS_BACK_MS = 10_000
_BY_HAND = {
    "lead-off": "Take a lead of channel {0} off its dummy load.",
    "lead-on": "Put the lead of channel {0} back, within 10 seconds.",
    "patient-stop press": "Press the patient's stop and keep it pressed.",
    "patient-stop release": "Release the patient's stop.",
}


UNDONE_BY = {
    "lead-off 1": "lead-on 1",
    "patient-stop press": "patient-stop release",
    "gain 1 2500": "gain 1 1000",
    "battery 4": "battery 100",
    "battery 3": "battery 100",
}
"""What the kit lets happen, and what takes it back."""


class World(Protocol):
    """Let something happen to the device under test."""

    patience_ms: int
    """How long until it has surely happened."""
    back_ms: int
    """How long until a lead is surely back: nothing tells."""

    def play(self, line: str) -> None:
        """Let something happen, in the words of the simulator's fault script.

        Raises:
            NotTestable: nobody can do that here.
        """


class Nobody:
    """Nobody is there, and the device takes no faults."""

    patience_ms, back_ms = SIMULATED_MS, BACK_MS

    def play(self, line: str) -> None:
        words = line.split()
        if words[0] == "patient-stop":
            raise NotTestable("needs a hand on the patient's stop: add --hands")
        if words[0] in ("lead-off", "lead-on"):
            raise NotTestable("needs a hand on a lead: add --hands")
        raise NotTestable(f"needs a device whose {words[0]} can be played, such as sim:")


class Simulated:
    """The simulator at the other end plays it."""

    patience_ms, back_ms = SIMULATED_MS, BACK_MS

    def __init__(self, player: FaultPlayer) -> None:
        self._player = player

    def play(self, line: str) -> None:
        try:
            self._player.play_fault(line)
        except UsageError as error:
            raise NotTestable(f"the simulator does not know it: {error}") from None


class Hands:
    """A person does it, as told."""

    patience_ms, back_ms = HANDS_MS, HANDS_BACK_MS

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def play(self, line: str) -> None:
        words = line.split()
        instruction = _BY_HAND.get(line) or _BY_HAND.get(words[0])
        if instruction is None:
            raise NotTestable(f"needs a device whose {words[0]} can be played, such as sim:")
        self._say(instruction.format(*words[1:]))


def world_of(transport: Transport, say: Callable[[str], None] | None) -> World:
    """Return who lets things happen; `say` instructs a person where one is there."""
    if isinstance(transport, FaultPlayer):
        return Simulated(transport)
    return Nobody() if say is None else Hands(say)
