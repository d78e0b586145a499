"""The keys of the session screen, what they need, and the help that names them.

The number pad works with one hand: 8 raises, 5 below it lowers, 0 is the widest key and stops,
7 pauses, 9 resumes, 6 links all channels, 1 to 4 choose one. A terminal does not tell the pad's
digits from those above the letters: the same digits do the same there.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.binding import Binding, BindingType

from estim.session.messages import Snapshot
from estim.session.states import HostState
from estim.tui.screens.base import HelpLines

HELP_LINES: HelpLines = (
    ("g", "arm and start, from zero"),
    ("+, up, 8", "raise the chosen channels by one step"),
    ("-, down, 5", "lower them by one step; opens the lock"),
    ("1 to 4", "choose one channel"),
    ("a, 6", "choose all channels, linked"),
    ("s, c, m", "mark: first felt, comfortable, muscle moves"),
    ("y, n, u", "answer the question on screen"),
    ("p, 7", "pause: to zero, armed"),
    ("r, 9", "resume: from zero to the intensity of before"),
    ("f", "finish: ramp down, then stop"),
    ("0, Ins", "stop at once: the pad's widest key"),
    ("k", "acknowledge the alarms shown, and a fault"),
    ("l", "re-arm channels whose electrode came off"),
    ("b", "bedside view, digits to be read across a room"),
    ("t", "try the bell"),
    ("v", "next waveform view"),
    ("PgUp, PgDn", "look back in the events"),
    ("w", "in a visit: back to its steps"),
    ("F7", "in a visit: look somebody up"),
    ("F6", "back to this screen, from those"),
    ("e", "on the bench: seal the record, show the report"),
    ("T", "on the bench: the technician's tools"),
    ("q", "leave, once output is off"),
)

BINDINGS: list[BindingType] = [
    Binding("g", "start", "Start"),
    Binding("plus,up,8,equals_sign,add", "raise", "Raise", key_display="+"),
    Binding("minus,down,5,subtract,kp_begin", "lower", "Lower", key_display="-"),
    Binding("p,7", "pause", "Pause", key_display="p"),
    Binding("r,9", "resume", "Resume", key_display="r"),
    Binding("f", "finish", "Finish"),
    Binding("k", "acknowledge", "Acknowledge"),
    Binding("l", "rearm", "Re-arm"),
    Binding("e", "end_visit", "End visit"),
    Binding("w", "show_visit", "Visit"),
    Binding("f7", "look_up", "Today", show=False),
    *(
        Binding(str(number), f"select({number})", f"Choose channel {number}", show=False)
        for number in range(1, 5)
    ),
    Binding("a,6", "select(0)", "Choose all channels", show=False),
    Binding("s", "mark('sensory')", "Mark first felt", show=False),
    Binding("c", "mark('comfortable')", "Mark comfortable", show=False),
    Binding("m", "mark('motor')", "Mark muscle moves", show=False),
    Binding("y", "answer('y')", show=False),
    Binding("n", "answer('n')", show=False),
    Binding("u", "answer('u')", show=False),
    Binding("0,insert", "app.stop", show=False),
    Binding("b", "bedside", "Bedside view", show=False),
    Binding("t", "try_bell", "Try the bell", show=False),
    Binding("v", "next_view", "Next waveform", show=False),
    Binding("pageup", "look_back(5)", show=False),
    Binding("pagedown", "look_back(-5)", show=False),
]


def lead_off(snapshot: Snapshot) -> tuple[int, ...]:
    """Return the channels (from 0) whose electrode is latched as off."""
    return tuple(index for index, row in enumerate(snapshot.channels) if row.is_lead_off)


def is_paused(snapshot: Snapshot) -> bool:
    """Tell whether a resume would return to something."""
    return snapshot.state is HostState.ARMED and any(row.marker_ua for row in snapshot.channels)


BENCH_ALONE = ("end_visit",)
VISIT_ALONE = ("show_visit", "look_up")

NEEDS: dict[str, Callable[[Snapshot], bool]] = {
    "start": lambda now: (
        now.state in (HostState.READY, HostState.IDENTIFIED, HostState.DISCONNECTED)
        or (now.state is HostState.ARMED and not is_paused(now))
    ),
    "raise": lambda now: now.state is HostState.RUNNING,
    "lower": lambda now: now.state is HostState.RUNNING,
    "mark": lambda now: now.state is HostState.RUNNING,
    "pause": lambda now: now.state is HostState.RUNNING,
    "resume": is_paused,
    "finish": lambda now: now.state in (HostState.RUNNING, HostState.ARMED),
    "rearm": lambda now: bool(lead_off(now)),
    "end_visit": lambda now: (
        now.state not in (HostState.ARMED, HostState.RUNNING, HostState.STOPPING)
    ),
}
"""What a key needs of the newest snapshot; what stops is never taken away."""
