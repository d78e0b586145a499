"""How a simulator is asked for: the same few options on the command line and in a `sim:` URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from estim.errors import UsageError
from estim.simulator.device import DeviceSettings, VirtualDevice
from estim.simulator.faults import read_script
from estim.simulator.line import FaultyLine
from estim.simulator.load import parse_load
from estim.simulator.trace import CsvTrace
from firmware_protocol.messages import CHANNELS_MAX

SEED_MAX = (1 << 32) - 1
SERIAL_NUMBER_MAX = 16


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """What may be chosen; every value as people write it, '' where they do not.

    Attributes:
        load: ohms or a name, on every channel.
        trace: file to write what reached the load to.
        faults: file with a fault script.
        channels: number of channels.
        seed: decides every random choice of the faulty line.
        serial: serial number of the device.
        patient_stop: 'yes' or 'no': whether the device has a stop for the patient.
    """

    load: str = "500"
    trace: str = ""
    faults: str = ""
    channels: str = "2"
    seed: str = "0"
    serial: str = "SIM-0001"
    patient_stop: str = "yes"

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> SimulatorOptions:
        """Read the query of a `sim:` URL.

        Raises:
            UsageError: an unknown key, or a value that makes no sense.
        """
        known = cls.__slots__
        for key in query:
            if key not in known:
                raise UsageError(f"sim: expected one of {', '.join(known)}, got {key!r}")
        options = cls(**query)
        options.settings()
        options.seed_number()
        if options.faults:
            read_script(options.faults, options.channel_count())
        return options

    def arguments(self) -> list[str]:
        """Return the command-line arguments that say the same."""
        return [
            f"--{name.replace('_', '-')}={getattr(self, name)}"
            for name in self.__slots__
            if getattr(self, name)
        ]

    def channel_count(self) -> int:
        """Return the number of channels; raise UsageError where it makes no sense."""
        return _whole("channels", self.channels, 1, CHANNELS_MAX)

    def seed_number(self) -> int:
        """Return the seed; raise UsageError where it makes no sense."""
        return _whole("seed", self.seed, 0, SEED_MAX)

    def settings(self, boot_us: int = 0) -> DeviceSettings:
        """Return the settings of the device; raise UsageError where they make no sense."""
        serial_number = self.serial
        if not (
            1 <= len(serial_number) <= SERIAL_NUMBER_MAX
            and serial_number.isascii()
            and serial_number.isprintable()
        ):
            raise UsageError(
                f"serial: expected 1 to {SERIAL_NUMBER_MAX} ASCII characters, got {serial_number!r}"
            )
        if self.patient_stop not in ("yes", "no"):
            raise UsageError(f"patient_stop: expected yes or no, got {self.patient_stop!r}")
        return DeviceSettings(
            channel_count=self.channel_count(),
            serial_number=serial_number,
            load=parse_load(self.load),
            has_patient_stop=self.patient_stop == "yes",
            boot_us=boot_us,
        )

    def build(self, now_us: int) -> tuple[FaultyLine, CsvTrace | None]:
        """Switch a device on at `now_us`, behind a line with its faults, and open its trace.

        Raises:
            UsageError: a value makes no sense, or a file cannot be used.
        """
        settings = self.settings(now_us)
        script = read_script(self.faults, self.channel_count()) if self.faults else ()
        trace = CsvTrace.to_file(self.trace) if self.trace else None
        return FaultyLine(VirtualDevice(settings, trace), script, self.seed_number(), now_us), trace


def _whole(what: str, text: str, lowest: int, highest: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 10 and lowest <= int(text) <= highest:
        return int(text)
    raise UsageError(f"{what}: expected a whole number from {lowest} to {highest}, got {text!r}")
