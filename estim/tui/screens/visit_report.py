"""The end of a visit: planned beside delivered, the note to edit, the take-home sheet, the seal.

Rules:
1. The note begins as the record alone makes it; it is saved, durable, before the record is sealed.
2. What is not done is named; ending does not wait for it.
3. What was edited is kept when somebody goes back to the visit, and is not lost by leaving unasked.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from estim.errors import EstimError, UsageError
from estim.record.names import record_path
from estim.tui import words
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.screens.report import planned_and_delivered
from estim.tui.sitting import Sitting
from estim.tui.widgets.note_area import NoteArea, plain_lines
from estim.visit import course, note, take_home
from estim.visit.account import read_account

TAKE_HOME_FOLDER = "take-home"
_COPIES_MAX = 100


class VisitReportScreen(EstimScreen[bool]):
    """Give True where the visit is to be ended; its note is saved then."""

    TITLE_WORDS = "Report and note"
    HELP_LINES: ClassVar[HelpLines] = (
        ("n, Tab", "edit the note; Space and x are typed there, F12 and Ctrl+X stop"),
        ("Esc", "out of the note; once more, back to the visit: what was edited is kept"),
        ("e, F9", "save the note, end the visit: the record is sealed"),
        ("c, F2", "copy the note; the terminal may refuse it without a word"),
        ("t, F3", "save the take-home sheet to a file"),
        ("F4", "write the note anew from the record; what was edited is lost"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "edit", "Edit note"),
        Binding("e,f9", "end", "End and seal"),
        Binding("c,f2", "copy", "Copy note"),
        Binding("t,f3", "take_home", "Take-home"),
        Binding("f4", "write_anew", "Note anew"),
        Binding("escape", "leave", "Back"),
    ]

    def __init__(self, sitting: Sitting) -> None:
        super().__init__()
        self._sitting = sitting
        self._begun_with = ""
        self._is_written = asyncio.Event()
        self._is_ending = False
        self._was_warned = False

    def compose_body(self) -> ComposeResult:
        visit = self._sitting.visit
        left = [step.title for step in visit.protocol.steps if not visit.is_past(step)]
        with VerticalScroll(id="end-report"):
            yield Static(planned_and_delivered(self._sitting.controller))
            if left:
                yield Static(
                    f"Not done: {words.safe('; '.join(left))}. The visit stays unfinished.",
                    classes="banner",
                    markup=False,
                )
        yield Static("Note, from the record: read it, edit it (n)", id="note-head", markup=False)
        yield NoteArea("note")

    def on_mount(self) -> None:
        kept = self._sitting.note_draft or self._sitting.visit.note
        if kept:
            self._fill(kept)
            self._is_written.set()
        else:
            self.action_write_anew()

    @property
    def _area(self) -> NoteArea:
        return self.query_one(NoteArea)

    def _fill(self, text: str) -> None:
        self._area.fill(text)
        self._begun_with = self._area.text

    @property
    def _path(self) -> Path:
        """Return where the record lies; no snapshot may have told that yet."""
        return record_path(self.estim.visiting.records, self._sitting.controller.session_id)

    # Keys.

    def action_edit(self) -> None:
        """Go into the note."""
        self._area.focus()

    def action_write_anew(self) -> None:
        """Write the note anew from the record."""
        self.run_worker(self._write_anew(), exclusive=True, group="note")

    async def _write_anew(self) -> None:
        self._is_written.clear()
        try:
            account = await asyncio.to_thread(read_account, self._path)
            self._fill(note.draft(account))
        except EstimError as error:
            self._complain(error)
        finally:
            self._is_written.set()

    def action_copy(self) -> None:
        """Hand the note to the terminal's clipboard."""
        self.app.copy_to_clipboard(self._area.text)
        self.notify(
            "Handed to the terminal to copy (OSC 52). It may refuse without a word: paste "
            "somewhere to see.",
            markup=False,
            timeout=8,
        )

    def action_take_home(self) -> None:
        """Save the take-home sheet."""
        self.run_worker(self._save_take_home(), exclusive=True, group="take-home")

    async def _save_take_home(self) -> None:
        try:
            path = await asyncio.to_thread(save_take_home, self._path)
        except EstimError as error:
            self._complain(error)
            return
        self.notify(f"Take-home sheet: {words.safe(str(path))}", markup=False, timeout=15)

    def action_end(self) -> None:
        """Save the note, then end the visit."""
        if not self._is_ending:
            self._is_ending = True
            self.run_worker(self._end(), group="end")

    async def _end(self) -> None:
        await self._is_written.wait()  # a quick key must not end it before the note is there
        text = plain_lines(self._area.text).strip()
        if not text and not self._was_warned:
            self._was_warned = True
            self._is_ending = False
            self.notify("There is no note: once more ends the visit without one.", markup=False)
            return
        try:
            if text and text != self._sitting.visit.note:
                operator = self._sitting.visit.operator
                await self._sitting.annotate(course.NOTE, {"text": text, "operator": operator})
        except EstimError as error:
            self._complain(error)
            self._is_ending = False
            return
        self._sitting.note_draft = ""
        self.dismiss(True)

    def action_leave(self) -> None:
        """Leave the note; from outside it, go back to the visit."""
        if self._area.has_focus:
            self.query_one("#end-report").focus()
            return
        if self._is_edited:
            self._sitting.note_draft = self._area.text
        self.dismiss(False)

    @property
    def _is_edited(self) -> bool:
        return self._area.text != self._begun_with or bool(self._sitting.note_draft)

    def why_not_leave(self) -> str:
        """Say once that the note is not saved yet."""
        if self._was_warned or not self._is_edited:
            return ""
        self._was_warned = True
        return "The note is not saved: F9 saves it and ends the visit. Once more leaves without it."

    def _complain(self, error: EstimError) -> None:
        self.notify(words.safe(str(error)), severity="warning", markup=False, timeout=15)


def save_take_home(record: Path) -> Path:
    """Write the take-home sheet of a visit beside its record, and return where it is.

    A sheet that is there already stays; the new one gets a number.

    Raises:
        EstimError: the record cannot be read, or the sheet cannot be written.
    """
    sheet = take_home.to_text(read_account(record))
    folder = record.parent / TAKE_HOME_FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for number in range(1, _COPIES_MAX):
            ending = f"-{number}" if number > 1 else ""
            path = folder / f"{record.stem}{ending}.txt"
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(sheet)
            except FileExistsError:
                continue
            return path
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from None
    raise UsageError(f"{folder}: {_COPIES_MAX} sheets of this visit are there already")
