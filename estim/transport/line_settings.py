"""How a driver wants its line set."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_BAUD = 115_200


@dataclass(frozen=True, slots=True)
class LineSettings:
    """How a driver wants its line set; DTR and RTS are low unless it says otherwise."""

    baud: int = DEFAULT_BAUD
    stop_bits: int = 1
    has_flow_control: bool = False
    dtr: bool = False
    rts: bool = False
