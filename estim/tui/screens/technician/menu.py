"""The technician's bench: what can be done with the device into its declared dummy load."""

from __future__ import annotations

import asyncio
import importlib
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from estim.tui import words
from estim.tui.screens.base import HelpLines
from estim.tui.screens.technician.base import TechnicianScreen
from estim.tui.widgets.choices import ChoiceList

_TOOLS = (
    ("manual", "Manual control", "the live session below: arm, start, raise; T comes back here"),
    ("device", "Device", "identity, capabilities, self-test, the station's register"),
    ("frames", "Frames on the line", "live: message, fields, age, CRC; one frame byte by byte"),
    ("faults", "Faults of the simulator", "lose frames, take off electrodes, reboot: sim: alone"),
    ("characterise", "Characterise", "voltage, current and charge at 500 ohm, 2 and 10 kohm"),
    ("verify", "Verify a job", "a job file: each step delivered, captured and measured"),
    ("acceptance", "Acceptance test", "a new, repaired or yearly device: checks, one by one, kept"),
    ("capture", "A capture over the waveform", "what a scope saw, over what was commanded"),
    ("conformance", "Conformance", "whether the device does what its protocol says, id by id"),
)
_SCREENS = {
    "device": "estim.tui.screens.technician.device:DeviceFactsScreen",
    "frames": "estim.tui.screens.technician.frames:FramesScreen",
    "faults": "estim.tui.screens.technician.faults:FaultsScreen",
    "characterise": "estim.tui.screens.technician.jobs:CharacteriseScreen",
    "verify": "estim.tui.screens.technician.jobs:VerifyScreen",
    "acceptance": "estim.tui.screens.technician.acceptance:AcceptanceScreen",
    "capture": "estim.tui.screens.technician.capture:CaptureScreen",
    "conformance": "estim.tui.screens.technician.conformance:ConformanceScreen",
}
_OF_THE_RIG = ("characterise", "verify", "capture", "conformance")


class TechnicianMenu(TechnicianScreen):
    """Choose a tool."""

    TITLE_WORDS = "Technician's bench"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down, Enter", "choose"),
        ("Esc", "back to the session"),
        ("T", "in the session: back to this bench"),
    )

    def compose_body(self) -> ComposeResult:
        plan = self.link.plan
        with VerticalScroll(classes="page", can_focus=False):
            yield Static(
                Content.assemble(
                    ("Technician's bench  ", "bold"),
                    (f"BENCH {plan.bench_ohm} ohm, nobody connected\n", "$accent"),
                    (words.safe(plan.url), "bold"),
                    f"  {words.safe(plan.loaded.profile.title)}",
                )
            )
            yield Static("", id="complaint", markup=False)
            yield ChoiceList(id="tools")

    def on_mount(self) -> None:
        shelf = self.query_one("#tools", OptionList)
        for name, title, what in _TOOLS:
            label = Content.assemble((title, "bold"), (f"\n  {what}", "dim"))
            shelf.add_option(Option(label, name))
        shelf.highlighted = 0
        shelf.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        name = event.option_id
        if name == "manual":
            self.dismiss(None)
        elif name in _OF_THE_RIG and self.link.controller.is_energised:
            # Loading the rig alone could hold the display up for longer than output may go on.
            self.complain("end what the session delivers first: SPACE stops it")
        elif name is not None:
            self.complain("")
            self.run_worker(self._open(name), exclusive=True, group="tool")

    async def _open(self, name: str) -> None:
        """Load a tool in a thread: the rig takes longer than a display may stand still."""
        place, _, kind = _SCREENS[name].partition(":")
        module = await asyncio.to_thread(importlib.import_module, place)
        screen: TechnicianScreen = getattr(module, kind)(self.link)
        await self.app.push_screen(screen)
