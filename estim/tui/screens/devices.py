"""Choose the device: a serial port that is there, the simulator, or any URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from estim.tui import words
from estim.tui.screens.base import EstimScreen, HelpLines
from estim.tui.widgets.choices import ChoiceList

if TYPE_CHECKING:
    from estim.prepare.station import Standing

SIMULATOR_URL = "sim:"


class DeviceScreen(EstimScreen[str | None]):
    """Give the chosen device's URL, or None."""

    TITLE_WORDS = "Device"
    HELP_LINES: ClassVar[HelpLines] = (
        ("up, down, Enter", "choose a device"),
        ("Tab", "to the field for another URL and back"),
        ("l", "look for ports again"),
        ("Esc", "back to the profiles"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Other field"),
        Binding("l", "look_again", "Look again"),
        Binding("escape", "leave", "Back"),
    ]

    def compose_body(self) -> ComposeResult:
        with Vertical(classes="page"):
            yield Static("Which stimulator?", classes="heading")
            yield ChoiceList(id="devices")
            yield Static("Or another address:", classes="label")
            yield Input(
                value=self.estim.options.device_url,
                placeholder="native:/dev/ttyUSB0   native:socket://host:port   sim:",
                id="url",
                compact=True,
            )
            yield Static(
                "A port's name says nothing about what is behind it: the device is asked who it "
                "is, and refused if it is not one that Estim knows.",
                classes="remark",
            )

    def on_mount(self) -> None:
        self.action_look_again()
        self.query_one("#url" if self.estim.options.device_url else "#devices").focus()

    def action_look_again(self) -> None:
        """List the ports that are there now, what was used last before all."""
        from estim.prepare import last_device, places

        told: dict[str, list[str]] = {}
        for port in self.estim.options.list_ports():
            told[port.url] = [port.description]
            found = self._standing(port.serial_number)
            if found is not None:
                mark = "" if found.is_for_people else "! "
                told[port.url].append(f"{mark}{found.words}")
        told[SIMULATOR_URL] = ["the built-in simulator, into a simulated load"]
        last = last_device.recall(places.configuration_folder())
        if last:
            told = {last: ["used here last", *told.pop(last, [])], **told}
        shelf = self.query_one("#devices", OptionList)
        shelf.clear_options()
        for url, lines in told.items():
            below = "".join(f"\n  {words.safe(line)}" for line in lines)
            shelf.add_option(Option(Content.assemble((words.safe(url), "bold"), below), url))
        shelf.highlighted = 0

    def _standing(self, serial_number: str | None) -> Standing | None:
        """Look a port up in the station's register by the serial number of its USB line."""
        if serial_number is None:
            return None
        from estim.clock import SystemClock
        from estim.prepare import places, station

        today = SystemClock().wall().date()
        return station.standing(places.configuration_folder(), serial_number, today)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        url = event.value.strip()
        if ":" not in url:
            self.notify("A device URL looks like native:/dev/ttyUSB0 or sim:", severity="warning")
        else:
            self.dismiss(url)

    def action_leave(self) -> None:
        """Go back without a choice."""
        self.dismiss(None)
