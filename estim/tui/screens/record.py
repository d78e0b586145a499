"""One record: what it says of itself, what happened, whether it verifies; addenda, export, replay.

Rules:
1. The file is read anew for each question; one that goes while it is looked at makes one message.
2. Nothing is changed but by an addendum, or by closing what a crash left, both asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from estim.errors import EstimError
from estim.record.lines import ADDENDUM
from estim.record.timeline import Entry, header_lines
from estim.record.verify import SealState, Verification
from estim.tui import archive, words
from estim.tui.archive import Opened
from estim.tui.background import read_in_background
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.widgets.rows import RowList

FINDINGS_SHOWN = 4
HEAD_NAMES = ("pseudonym", "operator", "bench ohm", "profile", "protocol")


class RecordScreen(EstimScreen[None]):
    """Show one record."""

    TITLE_WORDS = "Record"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down, Enter", "choose an event; look at all of it"),
        ("p", "replay the session"),
        ("a", "add to the record: who, why, about which event"),
        ("e", "export to a file"),
        ("v", "verify chain, seal and key again"),
        ("c", "close a record that a crash left unsealed"),
        ("h", "all that the header says"),
        ("Esc", "back to the list"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "replay", "Replay"),
        Binding("a", "add", "Add"),
        Binding("e", "export", "Export"),
        Binding("v", "verify", "Verify"),
        Binding("c", "close", "Close it"),
        Binding("h", "header", "Header", show=False),
        Binding("escape", "back", "Back", show=False),
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._opened: Opened | None = None
        self._verification: Verification | None = None

    def compose_body(self) -> ComposeResult:
        with Vertical(id="record"):
            yield Static("Reading the record …", id="record-head", markup=False)
            yield Static("Verifying …", id="record-verdict", markup=False)
            yield RowList("entries", _line)

    @property
    def _list(self) -> RowList[Entry]:
        return self.query_one("#entries", RowList)

    def on_mount(self) -> None:
        self._list.focus()
        self._look()

    def _look(self) -> None:
        self.run_worker(self._read(), exclusive=True, group="read")
        self.action_verify()

    async def _read(self) -> None:
        try:
            opened = await read_in_background(lambda: archive.look(self._path))
        except (EstimError, OSError) as error:
            self._opened = None
            self._say("#record-head", Content.styled(f"✗ {words.safe(str(error))}", "bold $error"))
            self._list.show(())
            return
        self._opened = opened
        self._say("#record-head", _head(opened))
        self._list.show(opened.entries, self._list.place)

    def action_verify(self) -> None:
        """Verify the record."""
        self._verification = None
        self._say("#record-verdict", Content("Verifying …"))
        self.run_worker(self._verify(), exclusive=True, group="verify")

    async def _verify(self) -> None:
        try:
            found = await read_in_background(lambda: archive.check(self._path))
        except (EstimError, OSError) as error:
            told = Content.styled(f"✗ not verified: {words.safe(str(error))}", "bold $error")
        else:
            self._verification = found
            told = verdict(found)
        self._say("#record-verdict", told)
        self.refresh_bindings()

    def _say(self, place: str, told: Content) -> None:
        if self.is_mounted:
            self.query_one(place, Static).update(told)

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to close only what no seal closes."""
        if action == "close":
            found = self._verification
            return found is not None and found.state is SealState.UNSEALED
        return True

    def on_row_list_chosen(self, event: RowList.Chosen) -> None:
        from estim.tui.screens.event import EventScreen

        entry = self._list.marked
        if entry is not None:
            self.app.push_screen(EventScreen(entry))

    def action_header(self) -> None:
        """Show the whole header."""
        from estim.tui.screens.event import EventScreen

        if self._opened is not None:
            lines = header_lines(self._opened.header)
            self.app.push_screen(EventScreen(Entry("", "header", "", self._opened.header), lines))

    def action_add(self) -> None:
        """Write an addendum."""
        self._attempt(self._add)

    async def _add(self) -> None:
        from estim.tui.screens.addendum import AddendumScreen

        visiting = self.estim.visiting
        if not visiting.operator and not await visiting.sign_in("Who adds to this record?"):
            return
        who, marked = visiting.operator, self._list.marked
        seq = marked.event.seq if marked is not None and marked.event is not None else None
        given = await self.app.push_screen_wait(AddendumScreen(who, seq))
        if given is None:
            return
        # Left alone for too long, the form may have been sent by somebody else.
        if visiting.operator != who:
            if not await visiting.sign_in("Nobody touched a key for long: who adds this?"):
                return
            who = visiting.operator
        head = await asyncio.to_thread(
            archive.add, self._path,
            who=who, why=given.why, text=given.text, event_seq=given.event_seq,
        )  # fmt: skip
        self.notify(f"Added. The record's head is now {head}", timeout=15, markup=False)
        self._look()

    def action_export(self) -> None:
        """Write the record to a file."""
        self._attempt(self._export)

    async def _export(self) -> None:
        from estim.tui.screens.export import ExportScreen

        header = self._opened.header if self._opened is not None else None
        kind = dict(header_lines(header)).get("kind", "")
        chosen = await self.app.push_screen_wait(ExportScreen(self._path.stem, kind))
        if chosen is not None:
            export, typed = chosen
            said = await asyncio.to_thread(archive.write_export, self._path, export, typed)
            self.notify(words.safe(said), timeout=15, markup=False)

    def action_close(self) -> None:
        """Close what a crash left."""
        self._attempt(self._close)

    async def _close(self) -> None:
        from estim.tui.screens.read_back import ReadBackScreen

        text = (
            f"{self._path.name}\n\nNo seal closes this record: its program ended before it could. "
            "Closing explains what the crash tore, keeps it, and seals the record with this "
            "station's key as recovered. It cannot be undone. A record that a program still "
            "writes to is left alone."
        )
        question = "y closes the record"
        if await self.app.push_screen_wait(ReadBackScreen("Close a record", text, question)):
            recovery = await asyncio.to_thread(archive.close_after_crash, self._path)
            self.notify(
                f"Closed: {recovery.torn_bytes} torn bytes kept."
                if recovery.was_needed
                else "It was closed already.",
                timeout=10,
            )
            self._look()

    def action_replay(self) -> None:
        """Replay the session."""
        self._attempt(self._replay)

    async def _replay(self) -> None:
        from estim.tui.screens.replay import ReplayScreen, refuse_while_output_is_possible

        refuse_while_output_is_possible(self.estim)
        await self.app.push_screen(ReplayScreen(self._path))

    def action_back(self) -> None:
        """Go back to the list."""
        self.dismiss(None)

    def _attempt(self, step: Callable[[], object]) -> None:
        """Run a step in the background; say what refused it."""

        async def attempt() -> None:
            try:
                await step()  # type: ignore[misc]
            except (EstimError, OSError) as error:
                self.notify(words.safe(str(error)), severity="error", markup=False, timeout=15)

        self.run_worker(attempt(), exclusive=True, group="step")


def _head(opened: Opened) -> Content:
    """Return the two lines by which a record is known; `h` shows the rest."""
    told = dict(reversed(header_lines(opened.header)))
    if opened.header is None:
        first, rest = f"header {told['header']}", []
    else:
        first = f"{told['session']}   {told['started'][:19]} UTC   {told.get('kind', '')}"
        rest = [f"{name} {told[name]}" for name in HEAD_NAMES if name in told]
    lines = [Content.styled(words.safe(first), "bold"), Content(words.safe("   ".join(rest)))]
    if opened.left_out:
        lines.append(
            Content(f"and {opened.left_out} events more than can be shown: export shows all")
        )
    return Content("\n").join(lines)


def verdict(found: Verification) -> Content:
    """Return whether a record verifies: chain, seal, key, what was found."""
    if found.is_ok:
        line = f"✓ verifies: {found.lines} lines, {found.state.value}"
        if found.state is SealState.UNCHECKED:
            line = f"! the chain holds: {found.lines} lines; {found.state.value}"
    else:
        line = f"✗ DOES NOT VERIFY: {found.state.value}, {len(found.findings)} found"
    line += f", {found.addenda} addenda" if found.addenda else ""
    line += ", recovered after a crash" if found.is_recovered else ""
    style = "bold $success" if found.is_ok else "bold $error"
    rows = [Content.styled(line, style)]
    shown = found.findings[:FINDINGS_SHOWN]
    rows += [Content(f"  {words.safe(str(finding))}") for finding in shown]
    left = len(found.findings) - len(shown)
    rows += [Content(f"  and {left} more")] if left > 0 else []
    rows += [Content.styled(f"  note: {words.safe(note)}", "dim") for note in found.notes[:3]]
    rows.append(Content.styled(f"  head {found.head}", "dim"))
    return Content("\n").join(rows)


def _line(entry: Entry, width: int) -> Content:
    kind = f"{words.safe(entry.kind):<16} "
    is_added = entry.event is not None and entry.event.kind == ADDENDUM
    return Content.assemble(
        (f"{words.safe(entry.when):>10}  ", "dim"),
        (kind, "bold $accent" if is_added else "bold"),
        words.safe(entry.words),
    )
