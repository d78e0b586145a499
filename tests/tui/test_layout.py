"""Nothing essential is cut off at 80x24, and the screen is used at 160x50."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

from estim.tui.screens.bench import BenchScreen
from estim.tui.screens.devices import DeviceScreen
from estim.tui.screens.library import LibraryScreen
from estim.tui.screens.report import ReportScreen
from estim.tui.screens.session import SessionScreen
from estim.tui.widgets.plot import Plot
from tests.tui.harness import LARGE, SMALL, WatchedApp, drive, open_demo, start, until

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])


async def check_fits(app: WatchedApp) -> None:
    """Check that nothing lies outside the screen or scrolls sideways, and the footer is whole."""
    width, height = app.size
    for widget in app.screen.walk_children(Widget):
        if not widget.display or not widget.region.area:
            continue
        assert widget.region.right <= width, widget
        assert not widget.show_horizontal_scrollbar, widget
    footer = app.screen.query_one(Footer)
    keys: list[FooterKey] = []

    def is_laid_out() -> bool:
        keys[:] = footer.query(FooterKey)
        return bool(keys) and all(key.region.area for key in keys)

    await until(is_laid_out)
    assert len(keys) <= 8
    assert max(key.region.right for key in keys) <= width
    assert footer.region.bottom == height
    assert app.strip().rstrip().endswith("stops")


@SIZES
def test_the_library_shows_list_waveform_limits_and_what_it_is_not(
    records: Path, size: tuple[int, int]
) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        assert isinstance(app.screen, LibraryScreen)
        await until(lambda: "Limits at the ceiling" in app.text())
        await check_fits(app)
        for essential in (
            "Diabetic peripheral",
            "not reviewed by a clinician",
            "one pulse, channel 1",
            "allowed by the profile",
            "A session from here is a bench session",
            "Demo session",
        ):
            await until(lambda said=essential: said in " ".join(app.text().split()))  # type: ignore[misc]
        shown = [plot for plot in app.screen.query(Plot) if plot.region.area]
        assert len(shown) == (1 if size == SMALL else 3)

    drive(script, records, size)


@SIZES
def test_device_and_bench_screens_fit(records: Path, size: tuple[int, int]) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        for screen in (DeviceScreen(), BenchScreen("A title " * 12, "native:/dev/" + "x" * 60)):
            await app.push_screen(screen)
            await pilot.pause(0.05)
            await check_fits(app)
            app.screen.query_one("Input").focus()
            await pilot.pause(0.05)
            await check_fits(app)

    drive(script, records, size)


@SIZES
def test_session_help_and_report_fit_while_running(records: Path, size: tuple[int, int]) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        await check_fits(app)
        await start(app, pilot)
        await pilot.press("+")
        await until(lambda: "0.5 mA" in app.strip())
        await check_fits(app)
        await until(lambda: "one pulse, channel 1 at 0.5 mA" in app.text())
        text = " ".join(app.text().split())
        for essential in ("commanded", "measured", "ceiling", "load", "contact", "delivered"):
            assert essential in text
        assert text.count("limit amplitude: 40 mA allowed by the profile") == 2
        assert ("intensity, last 60 s" in text) is (size == LARGE)
        await pilot.press("question_mark")
        await until(lambda: "Keys: Session" in app.text())
        await check_fits(app)
        await pilot.press("escape", "space")
        await until(lambda: isinstance(app.screen, SessionScreen))
        await until(lambda: "STOPPED" in app.strip())
        await pilot.press("e")
        await until(lambda: isinstance(app.screen, ReportScreen) and "head" in app.text())
        await check_fits(app)

    drive(script, records, size)
