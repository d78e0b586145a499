"""The home screen: the profiles, what each would deliver, and which limits bind it.

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
    from estim.profile.loader import LoadedProfile
    from estim.tui.widgets.preview import ProfilePreview

LEADING_INDICATION = "neuropathy"


class LibraryScreen(EstimScreen[None]):
    """Search the profiles and look at one."""

    TITLE_WORDS = "Profiles"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down", "choose a profile"),
        ("Enter", "use it: device, dummy load, session"),
        ("d", "demo session: the simulator into 500 ohm"),
        ("/", "search; Enter or Esc returns to the list"),
        ("v", "next waveform: one pulse, pulse train, cycle"),
        ("PgUp, PgDn", "scroll the preview"),
        ("q", "quit"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "demo", "Demo session"),
        Binding("slash", "search", "Search", key_display="/"),
        Binding("v", "next_view", "Waveform"),
        Binding("pagedown", "scroll_preview(1)", "Scroll", key_display="PgDn"),
        Binding("pageup", "scroll_preview(-1)", "Scroll", show=False),
        Binding("escape", "leave_search", "Back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._profiles: list[LoadedProfile] = []
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

        self._profiles = found
        self._preview = ProfilePreview()
        await self.query_one("#loading").remove()
        await self.query_one("#preview-place").mount(self._preview)
        if problem:
            self.notify(words.safe(problem), severity="error", markup=False, timeout=20)
        self._fill("")
        if self.estim.options.is_demo and found:
            self.action_demo()

    # The list.

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.action_leave_search()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        chosen = self.chosen
        if chosen is not None and self._preview is not None:
            self._preview.show(chosen)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_use()

    @property
    def chosen(self) -> LoadedProfile | None:
        """Return the profile under the cursor."""
        shelf = self.query_one("#profiles", OptionList)
        if shelf.highlighted is None:
            return None
        profile_id = shelf.get_option_at_index(shelf.highlighted).id
        return next((one for one in self._profiles if one.profile.id == profile_id), None)

    def _fill(self, sought: str) -> None:
        shelf = self.query_one("#profiles", OptionList)
        shelf.clear_options()
        matching = [loaded for loaded in self._profiles if _matches(loaded, sought)]
        shelf.add_options([Option(_shelf_label(loaded), loaded.profile.id) for loaded in matching])
        if matching:
            shelf.highlighted = 0
        elif self._preview is not None:
            self._preview.show_nothing(f"No profile matches “{words.safe(sought)}”.")

    # Keys.

    def action_use(self) -> None:
        """Go on with the chosen profile."""
        if self.chosen is not None:
            self.estim.plan_session(self.chosen)

    def action_demo(self) -> None:
        """Begin the demo session with the first neuropathy profile."""
        if self._profiles:
            self.estim.start_demo(min(self._profiles, key=_shelf_order))

    def action_search(self) -> None:
        """Put the focus into the search field."""
        self.query_one("#search").focus()

    def action_leave_search(self) -> None:
        """Return to the list."""
        self.query_one("#profiles").focus()

    def action_next_view(self) -> None:
        """Show another view of the waveform."""
        if self._preview is not None:
            self._preview.next_view()

    def action_scroll_preview(self, direction: int) -> None:
        """Scroll the preview by a page."""
        if self._preview is not None:
            self._preview.scroll_page(direction)


def _read_library(first: str) -> tuple[list[LoadedProfile], str]:
    """Return the profiles, the one named `first` before all others, and what went wrong."""
    import estim.tui.widgets.preview  # noqa: F401  loads numpy here rather than in the loop
    from estim.profile.library import find, library

    try:
        found = sorted(library(), key=_shelf_order)
        if first:
            chosen = find(first)
            found = [chosen, *(one for one in found if one.path != chosen.path)]
    except EstimError as error:
        return [], str(error)
    return found, ""


def _shelf_order(loaded: LoadedProfile) -> tuple[bool, bool, str]:
    """Put the profiles for neuropathy first, and what is for the bench alone last."""
    profile = loaded.profile
    leads = any(LEADING_INDICATION in indication for indication in profile.indications)
    return (profile.is_bench_only, not leads, profile.id)


def _matches(loaded: LoadedProfile, sought: str) -> bool:
    profile = loaded.profile
    text = " ".join((profile.id, profile.title, profile.mode, *profile.indications)).lower()
    return all(word in text for word in sought.lower().split())


def _shelf_label(loaded: LoadedProfile) -> Content:
    profile = loaded.profile
    return Content.assemble(
        words.safe(profile.title), "\n", (f"  {words.safe(profile.mode)}", "dim")
    )
