"""Who the device is, what it can do, its self-test, and what the station's register says of it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from estim.errors import EstimError
from estim.prepare import places, station
from estim.session import messages
from estim.session.messages import DeviceSnapshot, SelfTestSeen
from estim.tui import words
from estim.tui.bench import BenchLink
from estim.tui.screens.base import HelpLines
from estim.tui.screens.technician.base import TechnicianScreen
from firmware_protocol.fields import wire_fields
from firmware_protocol.messages import Capabilities, CapabilityFlag

LABEL_CELLS = 42
LOOK_S = 0.5

FLAG_WORDS = {
    CapabilityFlag.REPORTS_CURRENT: "measures its output current",
    CapabilityFlag.REPORTS_LOAD: "measures the load",
    CapabilityFlag.HOLDS_BURST: "times bursts by itself",
    CapabilityFlag.HOLDS_CYCLE: "times an on/off cycle by itself",
    CapabilityFlag.HOLDS_KEYFRAMES: "times a modulation by itself",
    CapabilityFlag.HAS_PATIENT_STOP: "has a stop for the patient",
    CapabilityFlag.UNEQUAL_PHASES: "plays phases of unequal size",
}


class DeviceFactsScreen(TechnicianScreen):
    """Show everything that is known of the device."""

    TITLE_WORDS = "Device"
    HELP_LINES: ClassVar[HelpLines] = (
        ("s", "self-test: nothing flows, and it is recorded"),
        ("arrows, PgUp/Dn", "scroll"),
        ("Esc", "back to the bench"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "self_test", "Self-test"),
    ]

    def __init__(self, link: BenchLink) -> None:
        super().__init__(link)
        self._shown: object = None
        self._is_testing = False

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(classes="page", id="facts"):
            yield Static("asking the device who it is …", id="identity", markup=False)
            yield Static("", id="self-test", markup=False)
            yield Static("", id="complaint", markup=False)
            yield Static("", id="register", markup=False)
            yield Static("", id="capabilities", markup=False)

    def on_mount(self) -> None:
        self._look()
        self.set_interval(LOOK_S, self._look)
        self.query_one("#facts").focus()

    def action_self_test(self) -> None:
        """Have the device test itself."""
        self.attempt(self._self_test)

    async def _self_test(self) -> None:
        self.complain("")
        self._is_testing = True
        self._look()
        try:
            await self.link.ask(messages.SelfTest)
        finally:
            self._is_testing = False
            self._look()

    def _look(self) -> None:
        snapshot = self.link.controller.snapshot
        device = snapshot.device if snapshot is not None else None
        seen = (device, self.link.self_test, self._is_testing)
        if seen == self._shown:
            return
        self._shown = seen
        self.query_one("#self-test", Static).update(
            self_test_words(self.link.self_test, self._is_testing)
        )
        if device is None:
            self.query_one("#identity", Static).update("No device is connected.")
            return
        self.query_one("#identity", Static).update(_identity(device))
        self.query_one("#capabilities", Static).update(capabilities_words(device))
        self.query_one("#register", Static).update(self._register(device.serial_number))

    def _register(self, serial_number: str) -> Content:
        folder = places.configuration_folder()
        rows = [Content.styled("\nStation register", "bold")]
        standing = station.standing(folder, serial_number, self.link.clock.wall().date())
        if standing is None:
            rows.append(Content("not entered: the register does not hold this device back"))
            return Content("\n").join(rows)
        rows.append(Content(words.safe(standing.words)))
        try:
            for entry in station.history(folder, serial_number):
                due = f", due {entry.due}" if entry.due else ""
                line = f"  {entry.since}  {entry.state.value}{due}: {entry.why} ({entry.who})"
                rows.append(Content.styled(words.safe(line), "dim"))
        except EstimError as error:
            rows.append(Content.styled(f"✗ {words.safe(str(error))}", "bold $error"))
        return Content("\n").join(rows)


def self_test_words(seen: SelfTestSeen | None, is_testing: bool) -> Content:
    """Return what the newest self-test came to."""
    head = ("\nSelf-test\n", "bold")
    if is_testing:
        return Content.assemble(head, "the device tests itself …")
    if seen is None:
        return Content.assemble(head, "not done in this session: s begins it")
    if seen.failed:
        return Content.assemble(
            head, (f"✗ FAILED: checks {_numbers(seen.failed)}", "bold $error"),
            f"; passed: {_numbers(seen.passed) or 'none'}. Take the device out of use.",
        )  # fmt: skip
    if not seen.passed:
        return Content.assemble(head, ("! the device says that it ran no check", "$warning"))
    return Content.assemble(
        head, ("✓ passed", "bold $success"), f": checks {_numbers(seen.passed)}"
    )


def capabilities_words(device: DeviceSnapshot) -> Content:
    """Return every capability that the protocol knows, in words, with its unit."""
    rows = [Content.styled("\nCapabilities, as the device says", "bold")]
    flags = CapabilityFlag(device.capabilities["flags"])
    for name, wire in wire_fields(Capabilities):
        if name in ("in_reply_to", "flags"):
            continue
        rows.append(_row(wire.doc, _figure(device.capabilities[name], wire.unit)))
    for flag in CapabilityFlag:
        if flag:
            what = FLAG_WORDS.get(flag, (flag.name or "").replace("_", " ").lower())
            rows.append(_row(what, "yes" if flag in flags else "no"))
    return Content("\n").join(rows)


def _identity(device: DeviceSnapshot) -> Content:
    rows = [
        Content.styled("Identity", "bold"),
        _row("model", device.model),
        _row("serial number", device.serial_number),
        _row("firmware", device.firmware_version),
        _row("connected at", device.url),
        *([_row("caution", device.caution)] if device.caution else []),
    ]
    return Content("\n").join(rows)


def _figure(figure: int, unit: str) -> str:
    """Show a figure in the unit that people read it in."""
    if unit == "uA":
        return words.current(figure)
    return f"{figure / 1000:g} V" if unit == "mV" else f"{figure} {unit}".rstrip()


def _row(what: str, figure: str) -> Content:
    return Content.assemble((f"{what:<{LABEL_CELLS}}", "dim"), words.safe(figure))


def _numbers(mask: int) -> str:
    """Return the checks of a mask, numbered from 1."""
    return ", ".join(str(bit + 1) for bit in range(16) if mask >> bit & 1)
