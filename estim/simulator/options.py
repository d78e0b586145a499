"""How a simulator is asked for: the same few options on the command line and in a `sim:` URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from estim.errors import UsageError
from estim.simulator.faults import read_script
from estim.simulator.line import FaultyLine
from estim.simulator.load import parse_load
from estim.simulator.models import NATIVE, Model
from estim.simulator.settings import DeviceSettings
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
        answer_us: microseconds from a request to its answer.
        trigger: 'yes' or 'no': whether the trace tells when the device raises its trigger.
    """

    load: str = "500"
    trace: str = ""
    faults: str = ""
    channels: str = "2"
    seed: str = "0"
    serial: str = "SIM-0001"
    patient_stop: str = "yes"
    answer_us: str = ""
    trigger: str = "no"

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> SimulatorOptions:
        """Read the query of a `sim:` URL.

        Raises:
            UsageError: an unknown key, or a value that makes no sense.
        """
        for key in query:
            if key not in NATIVE.options:
                raise UsageError(f"sim: expected one of {', '.join(NATIVE.options)}, got {key!r}")
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
        return whole("channels", self.channels, 1, CHANNELS_MAX)

    def seed_number(self) -> int:
        """Return the seed; raise UsageError where it makes no sense."""
        return whole("seed", self.seed, 0, SEED_MAX)

    def settings(self, boot_us: int = 0) -> DeviceSettings:
        """Return the settings of the device; raise UsageError where they make no sense."""
        check_serial_number(self.serial, SERIAL_NUMBER_MAX)
        if self.patient_stop not in ("yes", "no"):
            raise UsageError(f"patient_stop: expected yes or no, got {self.patient_stop!r}")
        if self.trigger not in ("yes", "no"):
            raise UsageError(f"trigger: expected yes or no, got {self.trigger!r}")
        return DeviceSettings(
            channel_count=self.channel_count(),
            serial_number=self.serial,
            load=parse_load(self.load),
            has_patient_stop=self.patient_stop == "yes",
            has_trigger=self.trigger == "yes",
            boot_us=boot_us,
        )

    def build(self, now_us: int, model: Model = NATIVE) -> tuple[FaultyLine, CsvTrace | None]:
        """Switch a device on at `now_us`, behind a line with its faults, and open its trace.

        Raises:
            UsageError: a value makes no sense, or a file cannot be used.
        """
        channel_count, seed = model.channel_count(self), self.seed_number()
        script = read_script(self.faults, channel_count, model.verbs) if self.faults else ()
        make_device = model.prepare(self, now_us)
        trace = CsvTrace.to_file(self.trace) if self.trace else None
        return FaultyLine(make_device(trace), script, seed, now_us, model.cut), trace


def check_serial_number(text: str, longest: int) -> None:
    """Raise UsageError where a text is no serial number, or has too many characters."""
    if not (1 <= len(text) <= longest and text.isascii() and text.isprintable()):
        raise UsageError(f"serial: expected 1 to {longest} ASCII characters, got {text!r}")


def whole(what: str, text: str, lowest: int, highest: int) -> int:
    """Read a whole number; raise UsageError where it is none, or out of its range."""
    if text.isascii() and text.isdigit() and len(text) <= 10 and lowest <= int(text) <= highest:
        return int(text)
    raise UsageError(f"{what}: expected a whole number from {lowest} to {highest}, got {text!r}")
