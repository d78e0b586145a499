"""The records of this station: look for one, and open it.

Rules:
1. The list is read in a thread that nobody waits for; what is damaged or unsealed says so in words.
2. Nothing here holds a file open, so another program in the same folder is not disturbed.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import ScreenResume
from textual.widgets import Input, Static

from estim.errors import EstimError
from estim.record.catalogue import CatalogueEntry
from estim.record.names import SUFFIX
from estim.tui import archive, words
from estim.tui.background import read_in_background
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.widgets.rows import RowList
from estim.units import format_clock

WIDE_CELLS = 110


class RecordsScreen(EstimScreen[None]):
    """List the records of the folder, the newest first."""

    TITLE_WORDS = "Records"
    HELP_LINES: ClassVar[HelpLines] = (
        ("/", "look for person, profile, operator, device, state or date"),
        ("up, down, Enter", "choose a record and open it"),
        ("u", "read the folder again"),
        ("Esc", "from the field to the list; from the list back"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Look for", key_display="/"),
        Binding("u", "look", "Update"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[CatalogueEntry] = []
        self._has_looked = False

    def compose_body(self) -> ComposeResult:
        with Vertical(id="records"):
            yield Input(
                placeholder="/ person, profile, operator, device, state, date",
                id="sought", compact=True, max_length=100,
            )  # fmt: skip
            yield Static("Reading the records …", id="records-words", markup=False)
            yield Static(id="records-head", markup=False)
            yield RowList("record-list", self._line)

    @property
    def _list(self) -> RowList[CatalogueEntry]:
        return self.query_one("#record-list", RowList)

    def on_mount(self) -> None:
        self._list.focus()
        self.action_look()

    def on_screen_resume(self, event: ScreenResume) -> None:
        super().on_screen_resume(event)
        if self._has_looked:  # an addendum or a recovery may have changed what is listed
            self.action_look()

    def on_resize(self) -> None:
        self.query_one("#records-head", Static).update(
            Content.styled(f"  {_cells(HEAD, self.size.width)}", "dim").truncate(
                self.size.width - 2
            )
        )

    # The list.

    def action_look(self) -> None:
        """Read the folder again."""
        self.run_worker(self._look(), exclusive=True, group="look")

    async def _look(self) -> None:
        folder = self.estim.visiting.records
        try:
            self._entries, said = await read_in_background(lambda: archive.listed(folder))
        except (EstimError, OSError) as error:
            self._entries, said = [], str(error)
        self._has_looked = True
        self._fill(said)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._list.focus()

    def _fill(self, said: str) -> None:
        sought = self.query_one("#sought", Input).value
        found = [entry for entry in self._entries if archive.matches(entry, sought)]
        before = self._list.marked
        places = {entry.session_id: place for place, entry in enumerate(found)}
        self._list.show(found, places.get(before.session_id, 0) if before is not None else 0)
        if not said and self._has_looked:
            odd = sum(archive.is_odd(entry.state) for entry in found)
            said = f"{len(found)} of {len(self._entries)} records"
            said += f", {odd} to look at: damaged or unsealed" if odd else ""
        if said:
            self.query_one("#records-words", Static).update(words.safe(said))

    def _line(self, entry: CatalogueEntry, width: int) -> Content:
        state = archive.state_words(entry.state)
        controller = self.estim.controller
        if (
            controller is not None
            and controller.record_path is not None
            and not controller.is_ended
        ):
            state = "open now" if controller.record_path.stem == entry.session_id else state
        cells = (
            (entry.started_wall or entry.session_id)[:16].replace("T", " "),
            state, entry.pseudonym or "", entry.profile_id or "",
            "" if entry.delivered_s is None else format_clock(entry.delivered_s),
            entry.kind or "", entry.operator or "", entry.device_serial or "",
            entry.end_reason or "",
        )  # fmt: skip
        style = "$warning" if archive.is_odd(entry.state) and state != "open now" else ""
        return Content.styled(_cells(cells, self.size.width), style)

    # Keys.

    def on_row_list_chosen(self, event: RowList.Chosen) -> None:
        from estim.tui.screens.record import RecordScreen

        entry = self._list.marked
        if entry is not None:
            path = self.estim.visiting.records / f"{entry.session_id}{SUFFIX}"
            self.app.push_screen(RecordScreen(path))

    def action_search(self) -> None:
        """Put the focus into the field."""
        self.query_one("#sought").focus()

    def action_back(self) -> None:
        """Return to the list; from there, to the screen before."""
        if self.query_one("#sought").has_focus:
            self._list.focus()
        else:
            self.dismiss(None)


HEAD = (
    "started (UTC)", "state", "person", "profile", "output", "kind", "operator", "device", "end",
)  # fmt: skip
_WIDTHS = (17, 17, 13, 20, 7, 10, 12, 14, 30)


def _cells(cells: tuple[str, ...], width: int) -> str:
    """Return a row; where there is little room the first five columns."""
    shown = len(_WIDTHS) if width >= WIDE_CELLS else 5
    return "".join(
        f"{words.safe(cell)[: size - 1]:<{size}}"
        for cell, size in zip(cells[:shown], _WIDTHS[:shown], strict=True)
    )
