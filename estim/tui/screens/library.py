"""The profiles, what each would deliver, and which limits bind it.

The profile library, its models and numpy load after the first paint, in a thread.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from estim.errors import EstimError
from estim.tui import words
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.widgets.choices import ChoiceList

if TYPE_CHECKING:
    from estim.profile.loader import LoadedEntry, LoadedProfile
    from estim.tui.widgets.preview import ProfilePreview

    Shelved = LoadedProfile | LoadedEntry


class LibraryScreen(EstimScreen[None]):
    """Search the profiles and entries, and look at one; an entry informs and cannot be used."""

    TITLE_WORDS = "Profiles"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down", "choose a profile"),
        ("Enter", "use it: device, dummy load, session"),
        ("d", "demo session: the simulator into 500 ohm"),
        ("t", "technician's bench with this profile"),
        ("/", "search; Enter or Esc returns to the list"),
        ("v", "next waveform: one pulse, pulse train, cycle"),
        ("PgUp, PgDn", "scroll the preview"),
        ("Esc", "back to today"),
        ("q", "quit"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "demo", "Demo session"),
        Binding("t", "technician", "Technician"),
        Binding("slash", "search", "Search", key_display="/"),
        Binding("v", "next_view", show=False),
        Binding("pagedown", "scroll_preview(1)", show=False),
        Binding("pageup", "scroll_preview(-1)", "Scroll", show=False),
        Binding("escape", "leave_search", "Back", show=False),
    ]

    def __init__(self, *, is_demo: bool = False) -> None:
        super().__init__()
        self._is_demo = is_demo
        self._shelved: list[Shelved] = []
        self._preview: ProfilePreview | None = None

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="library"):
            with Vertical(id="shelf"):
                yield Input(placeholder="/ search", id="search", compact=True)
                yield ChoiceList(id="profiles")
            with Vertical(id="preview-place"):
                yield Static("Loading the profiles …", id="loading")
        yield Static(words.BENCH_ONLY, classes="banner")

    def on_mount(self) -> None:
        self.query_one("#profiles").focus()
        self.call_after_refresh(lambda: self.run_worker(self._load()))

    async def _load(self) -> None:
        found, problem = await asyncio.to_thread(_read_library, self.estim.options.profile)
        from estim.tui.widgets.preview import ProfilePreview

        self._shelved = found
        self._preview = ProfilePreview()
        await self.query_one("#loading").remove()
        await self.query_one("#preview-place").mount(self._preview)
        if problem:
            self.notify(words.safe(problem), severity="error", markup=False, timeout=20)
        self._fill("")
        if self._is_demo and found:
            self.action_demo()

    # The list.

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.query_one("#profiles").focus()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        chosen = self.chosen
        if chosen is not None and self._preview is not None:
            self._preview.show(chosen)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_use()

    @property
    def chosen(self) -> Shelved | None:
        """Return the profile or entry under the cursor."""
        shelf = self.query_one("#profiles", OptionList)
        if shelf.highlighted is None:
            return None
        path = shelf.get_option_at_index(shelf.highlighted).id
        return next((one for one in self._shelved if one.path == path), None)

    def _fill(self, sought: str) -> None:
        shelf = self.query_one("#profiles", OptionList)
        shelf.clear_options()
        matching = [loaded for loaded in self._shelved if _matches(loaded, sought)]
        shelf.add_options([Option(_shelf_label(loaded), loaded.path) for loaded in matching])
        if matching:
            shelf.highlighted = 0
        elif self._preview is not None:
            self._preview.show_nothing(f"Nothing matches “{words.safe(sought)}”.")

    # Keys.

    def action_technician(self) -> None:
        """Go to the technician's bench with the chosen profile."""
        self.action_use(is_technician=True)

    def action_use(self, *, is_technician: bool = False) -> None:
        """Go on with the chosen profile; say why an entry cannot be used."""
        from estim.profile.loader import LoadedEntry

        chosen = self.chosen
        if isinstance(chosen, LoadedEntry):
            self.notify(words.safe(str(chosen.refusal())), severity="warning", markup=False)
        elif chosen is not None:
            self.estim.plan_session(chosen, is_technician=is_technician)

    def action_demo(self) -> None:
        """Begin the demo session with the first neuropathy profile."""
        from estim.profile.loader import LoadedProfile
        from estim.profile.search import shelf_order

        profiles = [one for one in self._shelved if isinstance(one, LoadedProfile)]
        if profiles:
            self.estim.start_demo(min(profiles, key=shelf_order))

    def action_search(self) -> None:
        """Put the focus into the search field."""
        self.query_one("#search").focus()

    def action_leave_search(self) -> None:
        """Return to the list; from there, to the screen before."""
        if self.query_one("#search").has_focus:
            self.query_one("#profiles").focus()
        elif len(self.app.screen_stack) > 1:
            self.dismiss(None)

    def action_next_view(self) -> None:
        """Show another view of the waveform."""
        if self._preview is not None:
            self._preview.next_view()

    def action_scroll_preview(self, direction: int) -> None:
        """Scroll the preview by a page."""
        if self._preview is not None:
            self._preview.scroll_page(direction)


def _read_library(first: str) -> tuple[list[Shelved], str]:
    """Return profiles and entries, the profile named `first` before all, and what went wrong."""
    import estim.tui.widgets.preview  # noqa: F401  loads numpy here rather than in the loop
    from estim.profile.library import entries, find, library
    from estim.profile.search import shelf_order

    try:
        found: list[Shelved] = sorted([*library(), *entries()], key=shelf_order)
        if first:
            chosen = find(first)
            found = [chosen, *(one for one in found if one.path != chosen.path)]
    except EstimError as error:
        return [], str(error)
    return found, ""


def _matches(loaded: Shelved, sought: str) -> bool:
    from estim.profile.search import matches

    return matches(loaded, sought)


def _shelf_label(loaded: Shelved) -> Content:
    from estim.profile.loader import LoadedEntry

    if isinstance(loaded, LoadedEntry):
        entry = loaded.entry
        kind = words.safe(entry.kind.replace("-", " "))
        return Content.assemble(words.safe(entry.title), "\n", (f"  {kind}", "$warning"))
    profile = loaded.profile
    return Content.assemble(
        words.safe(profile.title), "\n", (f"  {words.safe(profile.mode)}", "dim")
    )
