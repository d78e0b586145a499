"""What is explored: scenes, each a bound that is explored to its end.

Everything at once is too much to finish, so each scene takes together what acts upon each other,
and leaves the rest alone; `docs/model.md` says what no scene holds.
"""

from __future__ import annotations

from tests.model.actions import CLASSES
from tests.model.words import Bound


def _bound(name: str, happenings: str, **sizes: int) -> Bound:
    return Bound(name, happenings=frozenset(happenings.split()), **{"top": 1, **sizes})


CI = {
    _bound("line", "loss duplication reordering"): 1_409_126,
    _bound(
        "restart", "kill loss duplication reordering port acknowledge", to_device=1, misfortunes=2
    ): 1_377_262,
    _bound(
        "host",
        "kill hold suspend display interface close port timers record acknowledge",
        to_device=1,
    ): 1_736_819,
    _bound(
        "device", "electrode patient defect reboot acknowledge cycle", to_device=1, top=2
    ): 1_500_856,
    _bound("electrodes", "electrode acknowledge", to_device=1, channels=2): 1_982_593,
    _bound("keys", "lower pause", misfortunes=0): 919_992,
}
"""Explored by every run of CI, with how many states each has: a change of a rule shows here."""

LARGE = (
    _bound("line and keys", "loss duplication reordering lower pause"),
    _bound("line, twice", "loss duplication reordering", misfortunes=2),
    _bound("restart, two frames", "kill loss duplication reordering port acknowledge"),
    _bound("host and keys", "kill hold suspend display interface lower pause", to_device=1),
    _bound("finer ticks", "loss hold display", tick_ms=80, to_device=1),
    _bound("device and keys", "electrode patient reboot acknowledge cycle pause", to_device=1),
)
"""Explored by `make model BOUND=large`."""

EVERYTHING = (_bound("everything", " ".join(sorted(CLASSES)), top=2, misfortunes=3),)
"""Never finished: as far as `STATES_MAX` states go, breadth first."""

STATES_MAX = 40_000_000
BOUNDS: dict[str, tuple[Bound, ...]] = {
    "ci": tuple(CI),
    "large": LARGE,
    "everything": EVERYTHING,
}
