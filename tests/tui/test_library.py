"""The home screen: search, preview, demo."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from estim.session.states import HostState
from tests.tui.harness import WatchedApp, drive, open_demo, until

PROFILES = Path(__file__).parents[2] / "profiles"


def _shelf(app: WatchedApp) -> list[str | None]:
    shelf = app.screen.query_one("#profiles", OptionList)
    return [shelf.get_option_at_index(index).id for index in range(shelf.option_count)]


def _written_profiles() -> dict[str, dict[str, Any]]:
    return {path.stem: tomllib.loads(path.read_text()) for path in PROFILES.glob("*.toml")}


def test_every_shipped_profile_is_listed_and_those_for_neuropathy_lead(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        written = _written_profiles()
        listed = _shelf(app)
        assert sorted(filter(None, listed)) == sorted(written)
        leads = [
            any("neuropathy" in one for one in written[name or ""]["indications"])
            and "bench_only_reason" not in written[name or ""]
            for name in listed
        ]
        assert leads[0]
        assert leads == sorted(leads, reverse=True)

    drive(script, records)


def test_search_takes_words_in_any_order_and_says_when_nothing_matches(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await pilot.press("slash")
        search = app.screen.query_one("#search", Input)
        assert app.focused is search
        search.value = "conventional NEUROPATHY"
        await until(lambda: _shelf(app) == ["dpn-conventional"])
        search.value = "no such thing"
        await until(lambda: _shelf(app) == [])
        await until(lambda: "No profile matches “no such thing”." in app.text())
        search.value = ""
        await until(lambda: len(_shelf(app)) == len(_written_profiles()))
        await pilot.press("enter")
        assert app.focused is app.screen.query_one("#profiles")

    drive(script, records)


def test_the_preview_shows_three_views_one_after_the_other(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        for caption in ("one pulse", "8 pulses", "one second, no on/off cycle", "one pulse"):
            await until(lambda caption=caption: f"{caption}, channel 1" in app.text())  # type: ignore[misc]
            await pilot.press("v")

    drive(script, records)


def test_the_preview_scrolls_to_evidence_with_its_caveat(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        seen = app.text()
        for _ in range(12):
            await pilot.press("pagedown")
            await pilot.pause()
            seen += app.text()
        assert "Evidence and its caveats" in seen
        assert "Caveat:" in seen
        assert "Certainty: S read in a public source" in " ".join(seen.split())

    drive(script, records, (120, 24))


def test_one_key_opens_the_demo_on_the_simulator_declared_as_such(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        assert "DEMO, bench 500 ohm, nobody connected" in app.text()
        assert app.controller is not None
        assert app.state is HostState.READY
        assert app.controller.snapshot is not None
        assert app.controller.snapshot.device is not None
        assert app.controller.snapshot.device.url == "sim:"

    drive(script, records)
