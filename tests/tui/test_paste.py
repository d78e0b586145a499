"""Whatever is pasted into whatever field: nothing of it moves the terminal, nothing ends.

What the terminal was written is read, not what the screen seems to show: an escape that is pasted
must not come out of the interface again.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from estim.prepare import places
from estim.record import station_key
from estim.record.verify import verify
from estim.session.states import HostState
from estim.text import sanitize
from estim.tui import words
from tests.tui.every_screen import SCREENS
from tests.tui.harness import WatchedApp, drive, open_demo

pytestmark = pytest.mark.long

TURNED = "\u202e\u2066\u200b\ufeff\ud800\x1b[31;7mred\x07\x9b8;99;99t"
ESCAPES = (
    "\x1b]0;PASTED\x07\x1b]52;c;UEFTVEVE\x07\x1bP+q\x1b\\\x9d0;x\x9c\x00\x08\x0e\x7f\x1bc"
    "\r\nsecond line\x1b[2J\x0b\x0c"
)
SCRIPTS = (
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 e\u0301\u0302"
    + "\u0336" * 40
    + "\U0001f469\U0001f3fd\u200d\U0001f9bd \U0001f1ec\U0001f1e7 \u6f22\u5b57 \uff57\uff49 "
    + f"{words.BEAT_SIGNS} [bold]markup[/] {{}} %s"
)
HOSTILE = TURNED + SCRIPTS + ESCAPES
LONG = "long and longer " * 1000

_RAW = re.compile(
    r"\x1b\](?!22;)|\x1bP|\x1bc|\x1b\[8;99|\x1b\[31;7m|\x1b\[2Jsecond|"
    "[\x80-\x9f\u200b-\u200f\u2028\u202a-\u202e\u2066-\u2069\ufeff\ud800\x00\x08\x0b\x0c\x0e\x7f]"
)
"""What no drawing of ours has in it: of the pasted escapes, and of what turns or hides text.

Textual's own OSC 22 asks for the shape of the pointer."""


async def paste(app: WatchedApp, pilot: Pilot[Any], field: Input | TextArea, text: str) -> str:
    """Paste as much as a field takes into it, in the place of what it held; return what it holds.

    A field refuses the whole of a paste that is too long for it.
    """
    if isinstance(field, TextArea):
        field.load_text("")
    else:
        field.value = ""
        text = text[: field.max_length]
    app.screen.set_focus(field)
    app.post_message(Paste(text))
    await pilot.pause()
    return field.text if isinstance(field, TextArea) else field.value


async def test_of_what_is_pasted_only_what_may_be_drawn_is_left() -> None:
    clean = words.pasted(HOSTILE)
    assert _RAW.findall(clean.replace("\n", "")) == []
    assert "\r\nsecond line" in clean
    assert SCRIPTS.partition("\U0001f469")[0] in clean  # letters of any script are letters
    assert words.BEAT_SIGNS[0] not in clean
    assert words.pasted("a\tb\r\nc\n") == "a\tb\r\nc\n"


def test_a_paste_into_any_field_of_any_screen_harms_nothing(records: Path) -> None:
    tried: set[str] = set()
    harmed: list[tuple[str, str, str]] = []

    async def into(app: WatchedApp, pilot: Pilot[Any], field: Input | TextArea) -> None:
        where = type(app.screen).__name__, field.id or ""
        tried.add(where[0])
        app.written.seek(0)
        app.written.truncate()
        await paste(app, pilot, field, LONG)
        held = await paste(app, pilot, field, HOSTILE)
        if any(sanitize(line) != line for line in held.split("\n")):
            harmed.append((*where, f"holds {held!r}"))
        await pilot.press("enter")
        await pilot.pause(0.02)
        written = app.written.getvalue()
        harmed.extend(
            (*where, f"wrote {written[max(0, hit.start() - 20) : hit.end() + 20]!r}")
            for hit in _RAW.finditer(written)
        )

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        session = await open_demo(app, pilot)
        for kind, make in SCREENS.items():
            index, count = 0, 1
            while index < count:
                screen = make(app)
                if screen is None:
                    break
                await app.push_screen(screen)
                await pilot.pause(0.02)
                assert type(app.screen) is kind
                fields = [w for w in app.screen.focus_chain if isinstance(w, Input | TextArea)]
                if fields:
                    await into(app, pilot, fields[index])
                while app.screen is not session:
                    await app.pop_screen()
                index, count = index + 1, len(fields)
        assert app.state in (HostState.READY, HostState.IDENTIFIED, HostState.DISCONNECTED)

    drive(script, records)
    assert harmed == []
    assert tried == {
        "LibraryScreen", "DeviceScreen", "BenchScreen", "PaletteScreen", "TodayScreen",
        "PlanScreen", "SignInScreen", "OverrideScreen", "TextScreen", "FaultsScreen",
        "CharacteriseScreen", "VerifyScreen", "CaptureScreen", "RecordsScreen", "AddendumScreen",
        "ExportScreen", "VisitReportScreen",
    }  # fmt: skip
    (path,) = records.glob("*.jsonl")
    assert verify(path, station_key.load(places.configuration_folder())).findings == ()
