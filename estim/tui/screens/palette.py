"""The command palette: what the screen below can do now, by name, and the themes.

A screen of its own rather than Textual's, which has no strip: without the strip there is no beat,
and without a beat the engine stops the output.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from estim.tui import themes
from estim.tui.screens.base import EstimModal, HelpLines
from estim.tui.widgets.choices import ChoiceList

STOP = "Stop"
"""Named first, whatever the screen."""
_TEXTUAL_ACTIONS = ("app.focus", "screen.", "palette")


@dataclass(frozen=True, slots=True)
class Command:
    """One thing to do: its name, the key that does it as well, and how it is done."""

    name: str
    key: str
    run: Callable[[], Awaitable[object]]


class PaletteScreen(EstimModal[Command | None]):
    """Give the chosen command, or None."""

    TITLE_WORDS = "Commands"
    HELP_LINES: ClassVar[HelpLines] = (
        ("letters", "look for a command"),
        ("up, down, Enter", "choose one"),
        ("Esc", "back"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
    ]

    def __init__(self, commands: list[Command]) -> None:
        super().__init__()
        self._commands = commands

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="dialogue palette"):
            yield Input(placeholder="command", id="command", compact=True, max_length=40)
            yield ChoiceList(id="commands")

    def on_mount(self) -> None:
        self.query_one("#commands").can_focus = False
        self.query_one("#command").focus()
        self._fill("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.query_one(OptionList).action_select()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(next(each for each in self._commands if each.name == event.option_id))

    def action_move(self, rows: int) -> None:
        """Move through the list while the field keeps the focus."""
        shelf = self.query_one(OptionList)
        if rows > 0:
            shelf.action_cursor_down()
        else:
            shelf.action_cursor_up()

    def _fill(self, sought: str) -> None:
        parts = sought.casefold().split()
        shelf = self.query_one(OptionList)
        shelf.clear_options()
        for command in self._commands:
            if all(part in command.name.casefold() for part in parts):
                label = Content.assemble(command.name, (f"   {command.key}", "dim"))
                shelf.add_option(Option(label, command.name))
        shelf.highlighted = 0 if shelf.option_count else None


def commands_of(screen: Screen[Any], set_theme: Callable[[str], None]) -> list[Command]:
    """Return what a screen's keys do now, each under its name, then the themes."""
    found: dict[str, Command] = {}
    own = {screen, screen.app}
    for active in screen.active_bindings.values():
        name, action = active.binding.description, active.binding.action
        is_ours = active.node in own and not action.startswith(_TEXTUAL_ACTIONS)
        if not (active.enabled and name and is_ours) or name in found:
            continue
        key = screen.app.get_key_display(active.binding)
        found[name] = Command(name, key, partial(screen.app.run_action, action, active.node))
    for theme in themes.THEMES:
        name = f"Theme: {theme}"
        found[name] = Command(name, "", partial(_call, set_theme, theme))
    return sorted(found.values(), key=lambda command: command.name != STOP)


async def _call(set_theme: Callable[[str], None], theme: str) -> None:
    set_theme(theme)
