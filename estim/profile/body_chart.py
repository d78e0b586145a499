"""The sites of the body chart: names under which a profile says where pads go."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Site:
    """One place for a pad: a drawing, the row and column in it from 0, and its name in words."""

    view: str
    row: int
    column: int
    words: str


SITES = MappingProxyType(
    {
        "left-calf-upper": Site("back", 20, 8, "left calf, upper third"),
        "left-calf-middle": Site("back", 22, 8, "left calf, middle"),
        "right-calf-upper": Site("back", 20, 14, "right calf, upper third"),
        "right-calf-middle": Site("back", 22, 14, "right calf, middle"),
        "left-thigh-lower-inner": Site("front", 16, 12, "left thigh, lower inner side"),
        "left-thigh-upper-outer": Site("front", 12, 15, "left thigh, upper outer side"),
        "right-thigh-lower-inner": Site("front", 16, 9, "right thigh, lower inner side"),
        "right-thigh-upper-outer": Site("front", 12, 6, "right thigh, upper outer side"),
    }
)
"""Every site, by the name that `Channel.pads` uses."""
