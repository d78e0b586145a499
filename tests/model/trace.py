"""Say how one got somewhere: one line a step, who did what and what became of it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model import words
from tests.model.actions import Action
from tests.model.explore import Exploration
from tests.model.product import State
from tests.model.words import ALIVE, Frame

_KEYS = frozenset(
    {
        "connect",
        "prepare",
        "arm",
        "start",
        "resume",
        "raise",
        "lower",
        "pause",
        "stop",
        "acknowledge",
        "rearm",
        "close",
    }
)
_DEVICE = {
    "rises": "a pulse raises channel",
    "contact_proven": "contact is proven on channel",
    "electrode_off": "the electrode comes off channel",
    "pressed": "the patient presses the stop",
    "released": "the patient releases the stop",
    "defect": "the device finds a fault of its own",
    "rebooted": "the device restarts",
    "plateau_begins": "the plateau of a cycle begins",
    "plateau_ends": "the plateau of a cycle ends",
}
HEADING = (
    f"{'':>4}  {'what happens':46} {'host':13} {'wish':9} {'target':6} "
    f"{'device':8} {'set to':6} {'out':5} {'lease':5} {'report':6} {'shown':6} under way"
)


def lines_of(found: Exploration) -> Iterator[str]:
    """Yield the counterexample, ready to print."""
    product = found.product
    texts = {
        each.name: each.words
        for group in product.invariant_groups
        for each in group
    }  # fmt: skip
    yield f"{found.broken}: {texts[found.broken]}: broken after {len(found.path)} steps"
    yield HEADING
    before = product.spelt(product.first())
    yield _line(found, 0, "(nothing yet)", before)
    for number, (action, state) in enumerate(found.path, start=1):
        after = product.spelt(state)
        yield _line(found, number, _told(product.actions[action], before), after)
        before = after


def told(frame: Frame) -> str:
    """Say a frame in a few words."""
    marks = " late" if getattr(frame, "is_late", False) else ""
    marks += " of an earlier epoch" if getattr(frame, "epoch", 1) == 2 else ""
    if isinstance(frame, words.Drive):
        return f"Drive {frame.wanted.name} {_row(frame.targets)} echo {frame.echo_age}{marks}"
    if isinstance(frame, words.Status):
        report = frame.report
        refused = f" refused ({frame.refused})" if frame.refused else ""
        return f"Status {report.state.name} {_row(report.setpoints)}{refused}{marks}"
    if isinstance(frame, words.Acknowledge):
        what = "re-arm" if frame.channel_mask else "acknowledge"
        return f"{what}{'' if frame.is_latest else ' of an older latch'}{marks}"
    return f"{type(frame).__name__}{marks}"


def _told(action: Action, before: State) -> str:
    name, _, argument = action.name.partition(" ")
    if action.kind == "tick":
        return "a tick passes"
    if action.kind == "line":
        line = before.up if action.is_up else before.down
        end = "device" if action.is_up else "host"
        verb = {"deliver": "gets", "repeat": "gets, and will again,", "lose": "never gets"}
        return f"{end} {verb[action.name]} {told(line[action.place])}"
    channel = f" {int(argument) + 1}" if argument else ""
    if action.kind == "device":
        return _DEVICE[name] + channel
    if name in _KEYS:
        return f"operator: {name}{channel}"
    return f"host: {name.replace('_', ' ')}"


def _line(found: Exploration, number: int, what: str, state: State) -> str:
    host, device = state.host, state.device
    name = host.state.value if host.life == ALIVE else host.life
    is_known = host.seen is not None and host.life == ALIVE and host.is_beating
    shown = _row(found.product.host.shown(host)) if is_known else "-"
    lines = [*(f">{told(f)}" for f in state.up), *(f"<{told(f)}" for f in state.down)]
    return (
        f"{number:>4}. {what:46} {name:13} {host.wish or host.goal or '-':9} "
        f"{_row(host.targets):6} {device.state.name:8} {_row(device.targets):6} "
        f"{_row(device.setpoints):5} {device.lease:<5} {host.status_age:<6} {shown:6} "
        f"{'; '.join(lines)}"
    ).rstrip()


def _row(levels: tuple[int, ...]) -> str:
    return "/".join(map(str, levels))
