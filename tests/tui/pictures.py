"""Take every picture of README and docs: `make pictures`, or `python -m tests.tui.pictures NAME`.

They show the real application on the real simulator, in real time: the clock, the beat and the ids
of sessions differ from one run to the next. A picture that differs in these alone is left as it is,
so that a second run changes nothing. The machine is one that lets itself be kept awake.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from html import unescape
from itertools import groupby
from pathlib import Path
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from estim.__main__ import main as estim
from estim.engine.viewers import viewers_folder
from estim.tui.screens.record import RecordScreen
from estim.tui.screens.replay import ReplayScreen
from estim.tui.screens.technician.device import DeviceFactsScreen
from estim.tui.viewer import TURN_SIGNS, ViewerApp
from estim.tui.words import BEAT_SIGNS
from tests.tui import visit_pictures
from tests.tui.harness import WatchedApp, drive, open_demo, start, until
from tests.tui.sessions import session
from tests.tui.terminal import CHECKOUT
from tests.tui.visits import THERAPIST_PIN, make_roster, sign_in

FOLDER = CHECKOUT / "docs" / "pictures"
SIZE, WIDE = (100, 30), (120, 36)
SEARCH_MA = (4.0, 3.5, 6.0, 5.5, 7.0)
"""A level found by going up and down; its events fill the list, so that no other is seen."""
STEP_MA = 0.5
TITLE = "estim"

_FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)
_STYLE = re.compile(r"\.terminal-\d+-r\d+ (\{.*?\})")
_TEXT = re.compile(r'<text [^>]*?\by="([\d.]+)"[^>]*>(.*?)</text>', re.DOTALL)
_MASKS = (
    (re.compile(r"\b\d+:\d\d\b"), "m:ss"),
    (re.compile(r"\b(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, "), ""),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "date"),
    (re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{6}\b"), "session"),
    (re.compile(f"^ ?[{BEAT_SIGNS}{re.escape(TURN_SIGNS)}] "), "  "),
    (re.compile(r"\blast \d+ s\b|-\d+ s(?= )"), "span"),
)


def take_session(path: Path) -> None:
    """Find the level of both channels in the demo session."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await _find_level(app, pilot)
        _keep(path, app)

    drive(script, path.parent / "records", SIZE)


def take_library(path: Path) -> None:
    """Show the profiles."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await pilot.pause(1.0)
        _keep(path, app)

    drive(script, path.parent / "records", SIZE)


def take_technician(path: Path) -> None:
    """Open the technician's bench over a demo session."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        await pilot.press("T")
        await until(lambda: "Characterise" in app.text() and _is_calm(app.text()))
        _keep(path, app)

    drive(script, path.parent / "records", SIZE)


def take_acceptance(path: Path) -> None:
    """Walk the acceptance test of a device."""
    make_roster()

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        await pilot.press("T")
        await until(lambda: "Acceptance test" in app.text())
        await pilot.press("home", *["down"] * 6, "enter")
        await sign_in(app, pilot, 0, THERAPIST_PIN)
        await until(lambda: "Case and connectors" in app.text())
        await pilot.press("1", "2", *"lead 2: insulation cracked", "enter", "1")
        await until(lambda: "check failed: Leads" in app.text() and _is_calm(app.text()))
        _keep(path, app)

    drive(script, path.parent / "records", WIDE)


def take_device(path: Path) -> None:
    """Show what the device says of itself, once it has tested itself."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        await pilot.press("T")
        await until(lambda: "Identity" in app.text() or "identity" in app.text())
        await pilot.press("home", "down", "enter")
        await until(lambda: isinstance(app.screen, DeviceFactsScreen))
        await pilot.press("s")
        await until(lambda: "passed" in app.text() and _is_calm(app.text()))
        _keep(path, app)

    drive(script, path.parent / "records", WIDE)


def take_replay(path: Path) -> None:
    """Play a kept session again."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        kept = session(path.parent / "records")

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        app.push_screen(RecordScreen(kept))
        await until(lambda: "prepared" in app.text() and "Verifying" not in app.text())
        await pilot.press("p")
        await until(lambda: isinstance(app.screen, ReplayScreen) and "REPLAY" in app.text())
        await pilot.press("right", "right")
        await pilot.pause(1.0)
        _keep(path, app)

    drive(script, path.parent / "records", WIDE, from_profiles=False)


def take_viewer(path: Path) -> None:
    """Look on at a demo session, as `estim serve` does."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await _find_level(app, pilot)
        viewer = ViewerApp(viewers_folder())

        async def look(onlooker: Pilot[Any]) -> None:
            await until(lambda: "last 3 s" in _text(viewer) and _is_calm(_text(viewer)))
            _keep(path, viewer)
            viewer.exit()

        await asyncio.create_task(viewer.run_async(headless=True, size=SIZE, auto_pilot=look))

    drive(script, path.parent / "records", SIZE)


def take_waveform(path: Path) -> None:
    """Draw what a profile delivers."""
    amplitudes = ["--amplitude", "1=12", "--amplitude", "2=12"]
    with contextlib.redirect_stderr(io.StringIO()):
        assert estim(["profiles", "plot", "dpn-conventional", "--svg", str(path), *amplitudes]) == 0


def _take_of_visit(take: Callable[[Path, visit_pictures.Keep], None], path: Path) -> None:
    take(path, _keep)


PICTURES: dict[str, Callable[[Path], None]] = {
    "acceptance.svg": take_acceptance,
    "device.svg": take_device,
    "dpn-conventional.svg": take_waveform,
    "library.svg": take_library,
    "replay.svg": take_replay,
    "session.svg": take_session,
    "technician.svg": take_technician,
    "viewer.svg": take_viewer,
}
PICTURES |= {name: partial(_take_of_visit, take) for name, take in visit_pictures.TAKEN.items()}
"""Every picture of docs/pictures, by its name, and what takes it."""


def substance(svg: str) -> tuple[list[str], list[str]]:
    """Return the colours and the lines of a picture, without what differs each time."""
    by_line = groupby(_TEXT.findall(svg), key=lambda found: found[0])
    lines = ["".join(unescape(text) for _, text in found) for _, found in by_line]
    lines = [line.replace("\N{NO-BREAK SPACE}", " ").rstrip() for line in lines]
    for mask, words in _MASKS:
        lines = [mask.sub(words, line) for line in lines]
    return sorted(set(_STYLE.findall(svg))), lines


def renew(path: Path, taken: str) -> bool:
    """Write a picture where its substance has changed; tell whether it had."""
    if path.exists():
        former = path.read_text("utf-8")
        # A drawing without lines of text is compared as it is.
        if former == taken or (substance(taken)[0] and substance(former) == substance(taken)):
            return False
    path.write_text(taken, "utf-8")
    return True


async def _find_level(app: WatchedApp, pilot: Pilot[Any]) -> None:
    await open_demo(app, pilot)
    await start(app, pilot)
    reached_ma = 0.0
    for goal_ma in SEARCH_MA:
        key, step_ma = ("+", STEP_MA) if goal_ma > reached_ma else ("-", -STEP_MA)
        while reached_ma != goal_ma:
            reached_ma += step_ma
            words = f"{'commanded' if step_ma > 0 else 'lowered to'} 1: {reached_ma:.1f} mA"
            for _ in range(3):  # a slow disk makes the engine refuse a rise now and then
                await pilot.press(key)
                with contextlib.suppress(AssertionError):
                    await until(lambda wanted=words: wanted in app.text(), 2.0)  # type: ignore[misc]
                    break
            await pilot.pause(0.4)
    await pilot.pause(1.0)
    await until(lambda: app.text().count("✓ good") == 2 and _is_calm(app.text()))


def _is_calm(shown: str) -> bool:
    """Tell whether this machine's own slowness is not to be seen at the moment."""
    return not any(words in shown for words in ("▲", "slow", "busy"))


def _text(app: App[Any]) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def _keep(path: Path, app: App[Any]) -> None:
    # Without the fonts that it would fetch: a picture asks nobody for anything.
    path.write_text(_FONT_FACE.sub("", app.export_screenshot(title=TITLE)), "utf-8")


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """Keep away from this user's configuration, records and engines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run").mkdir()
        awake = folder / "systemd-inhibit"
        awake.write_text("#!/bin/sh\nexec cat\n")
        awake.chmod(0o700)
        os.environ |= {
            "XDG_CONFIG_HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "COLORTERM": "truecolor",
            "TEXTUAL_ANIMATIONS": "none",
        }
        os.environ.pop("NO_COLOR", None)
        yield folder


def main(names: list[str]) -> int:
    """Take the pictures of these names, or all; say which have changed."""
    unknown = set(names) - set(PICTURES)
    if unknown:
        print(f"no such picture: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    for name in names or PICTURES:
        with _place() as folder:
            PICTURES[name](folder / name)
            has_changed = renew(FOLDER / name, (folder / name).read_text("utf-8"))
        print(f"{name}: {'renewed' if has_changed else 'as it was'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
