"""What every screen has: the strip on top, a footer with its keys, help under `?`.

A modal has its own strip too, since it covers the one below.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus, ScreenResume
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Static

from estim.tui.widgets.strip import StatusStrip

if TYPE_CHECKING:
    from estim.tui.app import EstimApp

Result = TypeVar("Result")

KEYS_WIDTH = 16
WORDS_WIDTH = 48
"""Together, with what stands before them, they fill a dialogue."""

HelpLines = tuple[tuple[str, str], ...]

STOP_HELP: HelpLines = (
    ("Space, x", "stop at once; not while typing in a field"),
    ("F12, Ctrl+X", "stop at once, from everywhere"),
)

EVERYWHERE_HELP: HelpLines = (
    ("Ctrl+P", "commands by name, themes"),
    ("?", "the keys of this screen"),
)


class EstimScreen(Screen[Result]):
    """A full screen; subclasses give `compose_body`, a title and lines of help."""

    TITLE_WORDS: ClassVar[str] = ""
    HELP_LINES: ClassVar[HelpLines] = ()

    @property
    def estim(self) -> EstimApp:
        """Return the application, as what it is."""
        return cast("EstimApp", self.app)

    @property
    def replayed(self) -> str:
        """Return which record this screen replays, in words; '' for none."""
        return ""

    def compose(self) -> ComposeResult:
        yield StatusStrip()
        yield from self.compose_body()
        yield Footer(show_command_palette=False, compact=True)

    def compose_body(self) -> ComposeResult:
        """Yield what stands between strip and footer."""
        yield from ()

    def why_not_leave(self) -> str:
        """Say what would be lost if the application were left now; '' for nothing."""
        return ""

    def on_screen_resume(self, event: ScreenResume) -> None:
        self.estim.refresh_strip()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        self.estim.refresh_strip()

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        self.estim.refresh_strip()


class EstimModal(EstimScreen[Result], ModalScreen[Result]):
    """A dialogue over another screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back")]

    def action_leave(self) -> None:
        """Close the dialogue without a choice."""
        self.dismiss(None)


class HelpScreen(EstimModal[None]):
    """Show the keys of the screen below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,enter,q", "leave", "Back", show=False)
    ]

    def __init__(self, title: str, lines: HelpLines) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose_body(self) -> ComposeResult:
        text = Content.assemble((f"Keys: {self._title}\n\n", "bold"), key_table(self._lines))
        stop = Content.assemble(("The stop key\n\n", "bold"), key_table(STOP_HELP))
        everywhere = Content.assemble(("\nOn every screen\n\n", "bold"), key_table(EVERYWHERE_HELP))
        with VerticalScroll(classes="dialogue"):
            yield Static(Content.assemble(stop, everywhere, "\n", text))


def key_table(lines: HelpLines) -> Content:
    """Return keys and what they do beside them; what is longer goes on below itself."""
    parts: list[Content] = []
    for key, what in lines:
        first, *more = textwrap.wrap(what, WORDS_WIDTH)
        parts.append(Content.assemble((f"  {key:<{KEYS_WIDTH}}", "bold $accent"), f"{first}\n"))
        parts += [Content(f"  {'':<{KEYS_WIDTH}}{line}\n") for line in more]
    return Content.assemble(*parts)
