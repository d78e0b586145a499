"""The technician's bench: what can be done with the device into its declared dummy load."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from estim.tui import words
from estim.tui.bench import BenchLink
from estim.tui.screens.base import HelpLines
from estim.tui.screens.technician.base import TechnicianScreen
from estim.tui.widgets.choices import ChoiceList

_TOOLS = (
    ("manual", "Manual control", "the live session below: arm, start, raise; t comes back here"),
    ("device", "Device", "identity, capabilities, self-test, the station's register"),
    ("frames", "Frames on the line", "live: message, fields, age, CRC; one frame byte by byte"),
    ("faults", "Faults of the simulator", "lose frames, take off electrodes, reboot: sim: alone"),
    ("characterise", "Characterise", "voltage, current and charge at 500 ohm, 2 and 10 kohm"),
    ("verify", "Verify a job", "a job file: each step delivered, captured and measured"),
    ("capture", "A capture over the waveform", "what a scope saw, over what was commanded"),
)
_ABSENT = "not available yet: the conformance kit is not there"


class TechnicianMenu(TechnicianScreen):
    """Choose a tool."""

    TITLE_WORDS = "Technician's bench"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down, Enter", "choose"),
        ("Esc", "back to the session"),
        ("t", "in the session: back to this bench"),
    )

    def __init__(self, link: BenchLink) -> None:
        super().__init__(link)

    def compose_body(self) -> ComposeResult:
        plan = self.link.controller.plan
        with VerticalScroll(classes="page", can_focus=False):
            yield Static(
                Content.assemble(
                    ("Technician's bench  ", "bold"),
                    (f"BENCH {plan.bench_ohm} ohm, nobody connected\n", "$accent"),
                    (words.safe(plan.url), "bold"),
                    f"  {words.safe(plan.loaded.profile.title)}",
                )
            )
            yield ChoiceList(id="tools")

    def on_mount(self) -> None:
        shelf = self.query_one("#tools", OptionList)
        for name, title, what in _TOOLS:
            label = Content.assemble((title, "bold"), (f"\n  {what}", "dim"))
            shelf.add_option(Option(label, name))
        shelf.add_option(
            Option(Content.assemble("Conformance\n", f"  {_ABSENT}"), "conformance", disabled=True)
        )
        shelf.highlighted = 0
        shelf.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option_id == "manual":
            self.dismiss(None)
        elif event.option_id is not None:
            self.app.push_screen(self._tool(event.option_id))

    def _tool(self, name: str) -> Screen[None]:
        """Return the screen of a tool; the rig loads with the first that needs it."""
        if name == "device":
            from estim.tui.screens.technician.device import DeviceFactsScreen

            return DeviceFactsScreen(self.link)
        if name == "frames":
            from estim.tui.screens.technician.frames import FramesScreen

            return FramesScreen(self.link)
        if name == "faults":
            from estim.tui.screens.technician.faults import FaultsScreen

            return FaultsScreen(self.link)
        if name == "capture":
            from estim.tui.screens.technician.capture import CaptureScreen

            return CaptureScreen(self.link)
        from estim.tui.screens.technician.jobs import CharacteriseScreen, VerifyScreen

        return CharacteriseScreen(self.link) if name == "characterise" else VerifyScreen(self.link)
