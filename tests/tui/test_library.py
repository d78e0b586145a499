"""The home screen: search, preview, demo."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from estim.session.states import HostState
from estim.tui.screens.library import LibraryScreen
from tests.tui.harness import WatchedApp, drive, open_demo, until

PROFILES = Path(__file__).parents[2] / "profiles"


def _shelf(app: WatchedApp) -> list[str]:
    shelf = app.screen.query_one("#profiles", OptionList)
    paths = (shelf.get_option_at_index(index).id for index in range(shelf.option_count))
    return [Path(path or "").stem for path in paths]


def _written_profiles() -> dict[str, dict[str, Any]]:
    return {path.stem: tomllib.loads(path.read_text()) for path in PROFILES.glob("*.toml")}


def _planned(app: WatchedApp) -> str | None:
    """Return the profile of the session that was opened, None without one."""
    loaded = app.controller.loaded if app.controller else None
    return loaded.profile.id if loaded else None


async def _seek(app: WatchedApp, sought: str, expected: list[str]) -> None:
    """Search, and return to the list with the first item chosen."""
    app.screen.query_one("#search", Input).value = sought
    await until(lambda: _shelf(app) == expected)


def test_every_shipped_profile_is_listed_and_those_for_neuropathy_lead(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        written = _written_profiles()
        entries = {path.stem for path in (PROFILES / "entries").glob("*.toml")}
        listed = _shelf(app)
        assert set(listed[len(written) :]) == entries
        listed = listed[: len(written)]
        assert sorted(listed) == sorted(written)
        leads = [
            any("neuropathy" in one for one in written[name]["indications"])
            and "bench_only_reason" not in written[name]
            for name in listed
        ]
        assert listed[0] == "dpn-conventional"
        assert leads == sorted(leads, reverse=True)

    drive(script, records)


def test_search_takes_words_in_any_order_and_says_when_nothing_matches(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await pilot.press("slash")
        search = app.screen.query_one("#search", Input)
        assert app.focused is search
        everything = _shelf(app)
        await _seek(app, "focal NERVE", ["focal-neuropathy"])
        await _seek(app, "tibial-nerve", ["tibial-nerve-bladder"])
        await _seek(app, "osteoarthritis", ["knee-osteoarthritis"])
        await _seek(app, "no such thing", [])
        await until(lambda: "Nothing matches “no such thing”." in app.text())
        await _seek(app, "", everything)
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


ENTRIES = (
    ("h-wave", "h-wave", "evidence only", "Pulses of 4 ms"),
    ("micro-tens", "dpn-micro-tens", "negative", "A negative result"),
    ("galvanic", "galvanic", "excluded", "Current in one direction"),
)


def test_an_entry_is_marked_told_and_cannot_be_started(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        for sought, entry_id, mark, reason in ENTRIES:
            told = f"{mark}, cannot be run: {reason}"
            refusal = f"{entry_id} informs and cannot be run"
            await _seek(app, sought, [entry_id])
            await until(lambda told=told: told in app.text())  # type: ignore[misc]
            await until(lambda: "one pulse" not in app.text())
            assert f"  {mark}" in app.text()
            await pilot.press("slash", "enter", "enter")
            await until(lambda refusal=refusal: refusal in app.text())  # type: ignore[misc]
            assert isinstance(app.screen, LibraryScreen)
            assert _planned(app) is None

    drive(script, records, (120, 30))


def test_the_demo_is_that_of_the_first_profile_even_with_an_entry_chosen(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await _seek(app, "galvanic", ["galvanic"])
        await pilot.press("slash", "enter", "d")
        await until(lambda: _planned(app) == "dpn-conventional")

    drive(script, records)


def test_the_preview_draws_the_pads_and_names_precautions(records: Path) -> None:
    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        seen = app.text()
        for _ in range(8):
            await pilot.press("pagedown")
            await pilot.pause()
            seen += app.text()
        assert "|    1a     |  |     2a    |" in seen
        assert "2b  right calf middle" in seen
        assert "Care: Autonomic neuropathy" in seen

    drive(script, records, (120, 40))
