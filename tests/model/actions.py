"""Everything that can happen, by who does it.

A bound names the classes that may happen in it; what stands under `always` may in every one.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.words import Bound


class Action(NamedTuple):
    """One thing that can happen.

    Attributes:
        kind: 'host', 'device', 'line' or 'tick'.
        place, is_up: of a line: which frame, and whether it goes to the device.
        is_misfortune: it counts against the bound's `misfortunes`; what people do on purpose, and
            what sets a thing right again, does not.
    """

    kind: str
    name: str
    place: int = 0
    is_up: bool = False

    @property
    def is_misfortune(self) -> bool:
        return self.name in MISFORTUNES or bool(self.place) or self.name.startswith("electrode")


_HOST = {
    "always": (
        "started", "connect", "prepare", "arm", "start", "raise #", "stop", "recorded",
    ),
    "lower": ("lower #",),
    "pause": ("pause", "resume"),
    "acknowledge": ("acknowledge", "acknowledging_timed_out"),
    "kill": ("killed",),
    "hold": ("held", "woken"),
    "suspend": ("suspended", "woken"),
    "display": ("display_frozen", "display_back"),
    "interface": ("interface_gone", "waited_long_enough"),
    "close": ("close",),
    "port": ("port_gone",),
    "timers": ("goal_missed", "waited_long_enough"),
    "record": ("record_too_slow", "record_failed"),
    "electrode": ("rearm #",),
}  # fmt: skip
_DEVICE = {
    "always": ("rises #", "contact_proven #"),
    "electrode": ("electrode_off #",),
    "patient": ("pressed", "released"),
    "defect": ("defect",),
    "reboot": ("rebooted",),
    "cycle": ("plateau_begins", "plateau_ends"),
}
MISFORTUNES = frozenset({
    "killed", "held", "suspended", "display_frozen", "interface_gone", "waited_long_enough",
    "port_gone", "goal_missed", "record_too_slow", "record_failed", "defect", "rebooted", "pressed",
    "lose", "repeat",
})  # fmt: skip
_LINE = {"always": "deliver", "loss": "lose", "duplication": "repeat"}
CLASSES = frozenset({*_HOST, *_DEVICE, *_LINE}) - {"always"} | {"reordering"}


def actions_for(bound: Bound) -> tuple[Action, ...]:
    """Return what can happen within a bound."""
    unknown = bound.happenings - CLASSES
    if unknown:
        raise ValueError(f"nobody knows what these are: {', '.join(sorted(unknown))}")
    classes = ("always", *sorted(bound.happenings))
    found = [Action("tick", "tick")]
    for kind, table in (("host", _HOST), ("device", _DEVICE)):
        for name in (name for each in classes for name in table.get(each, ())):
            for channel in range(bound.channels if "#" in name else 1):
                found.append(Action(kind, name.replace("#", str(channel))))
    for is_up, room in ((True, bound.to_device), (False, bound.to_host)):
        for name in (_LINE[each] for each in classes if each in _LINE):
            reach = room if name == "lose" or "reordering" in bound.happenings else 1
            found += [Action("line", name, index, is_up) for index in range(reach)]
    return tuple(dict.fromkeys(found))
