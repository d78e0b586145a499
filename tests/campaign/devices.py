"""The device at the end of the line: the simulator's core or the C core, on a clock of its own.

What the world does to it is told in the words of the simulator's fault scripts, to both alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from estim.simulator.device import DeviceSettings, VirtualDevice
from estim.simulator.faults import parse_line
from estim.simulator.load import Load
from estim.simulator.trace import DeliveredPhases
from firmware_protocol.messages import CapabilityFlag
from tests.campaign.clocks import DriftingClock
from tests.firmware.core import Lockstep, Step, build

CHANNELS = 2
LOAD_OHM = 500
SERIAL_NUMBER = "SIM-0001"
OTHER_SERIAL_NUMBER = "SIM-0002"

# Of one pulse: true time and the device's own time of its onset, channel from 0, phases.
PulseSink = Callable[[int, int, int, DeliveredPhases], None]
_Sink = Callable[[int, int, DeliveredPhases], None]


class Core(Protocol):
    """A device core, its time from outside."""

    def receive(self, received: bytes, now_us: int) -> None: ...

    def take_output(self, now_us: int) -> bytes: ...

    def next_deadline_us(self) -> int | None: ...

    def happen(self, words: str, now_us: int) -> None: ...

    def reboot(self, now_us: int) -> None: ...


class PythonCore:
    """The simulator's core."""

    def __init__(self, serial_number: str, now_us: int, sink: _Sink) -> None:
        settings = DeviceSettings(
            channel_count=CHANNELS, serial_number=serial_number, load=Load(LOAD_OHM),
            boot_us=now_us,
        )  # fmt: skip
        self._device = VirtualDevice(settings, _Trace(sink))
        self.receive = self._device.receive
        self.take_output = self._device.take_output
        self.next_deadline_us = self._device.next_deadline_us
        self.reboot = self._device.reboot

    def happen(self, words: str, now_us: int) -> None:
        fault = parse_line(words, CHANNELS)
        assert fault is not None
        self._device.play(fault, now_us)


class CCore:
    """The C core, in a process that is stepped."""

    def __init__(self, lockstep: Lockstep, now_us: int, sink: _Sink) -> None:
        settings = DeviceSettings(channel_count=CHANNELS, load=Load(LOAD_OHM))
        flags = settings.flags | CapabilityFlag.HAS_PATIENT_STOP
        self._lockstep = lockstep
        self._sink = sink
        self._boot_us = now_us
        self._output = b""
        self._due_us: int | None = None
        self._take(lockstep.boot(dataclasses.replace(settings, flags=flags)))

    def receive(self, received: bytes, now_us: int) -> None:
        self._command("bytes {} " + received.hex(), now_us)

    def take_output(self, now_us: int) -> bytes:
        if not self._output:
            self._command("advance {}", now_us)
        output, self._output = self._output, b""
        return output

    def next_deadline_us(self) -> int | None:
        return self._due_us

    def happen(self, words: str, now_us: int) -> None:
        self._command("happen {} " + words, now_us)

    def reboot(self, now_us: int) -> None:
        self._command("reboot {}", now_us)
        self._output = b""
        self._boot_us = now_us

    def _command(self, command: str, now_us: int) -> None:
        self._take(self._lockstep.command(command.format(now_us - self._boot_us)))

    def _take(self, step: Step) -> None:
        for onset_us, number, phases in step.pulses:
            self._sink(self._boot_us + onset_us, number, phases)
        self._output += step.frames
        self._due_us = None if step.due_us is None else self._boot_us + step.due_us


class _Trace:
    def __init__(self, sink: _Sink) -> None:
        self.add_pulse = sink

    def flush(self) -> None: ...


class Cores:
    """Make cores; the C core's process is started once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lockstep: Lockstep | None = None

    @staticmethod
    def build(folder: Path) -> None:
        build("lockstep", folder)

    def make(self, kind: str, now_us: int, sink: _Sink) -> Core:
        if kind == "python":
            return PythonCore(SERIAL_NUMBER, now_us, sink)
        if self._lockstep is None:
            self._lockstep = Lockstep(self._folder / "lockstep")
        return CCore(self._lockstep, now_us, sink)

    def close(self) -> None:
        if self._lockstep is not None:
            self._lockstep.close()
            self._lockstep = None


class DeviceSide:
    """One device with its clock and its supply; times are true times."""

    def __init__(self, make: Callable[[int, _Sink], Core], sink: PulseSink) -> None:
        self.clock = DriftingClock()
        self._sink = sink
        self._core = make(0, self._add_pulse)
        self.is_dead = False
        self.boots_us = [0]

    def tick_us(self, now_us: int) -> int:
        """Return the device's own microseconds since its boot."""
        return self.clock.at(now_us) - self.boots_us[-1]

    def receive(self, received: bytes, now_us: int) -> None:
        if not self.is_dead:
            self._core.receive(received, self.clock.at(now_us))

    def take_output(self, now_us: int) -> bytes:
        return b"" if self.is_dead else self._core.take_output(self.clock.at(now_us))

    def next_us(self) -> int | None:
        due_us = None if self.is_dead else self._core.next_deadline_us()
        return None if due_us is None else self.clock.when(due_us)

    def happen(self, words: str, now_us: int) -> None:
        if self.is_dead and words.startswith("battery"):
            return
        self._core.happen(words, self.clock.at(now_us))

    def drift(self, ppm: int, now_us: int) -> None:
        self.take_output(now_us)
        self.clock.drift(now_us, ppm)

    def reboot(self, now_us: int) -> None:
        """Start again, as after a reset."""
        self._core.reboot(self.clock.at(now_us))
        self.boots_us.append(self.clock.at(now_us))
        self.is_dead = False

    def die(self, now_us: int) -> None:
        """Go dark at zero, until a reboot: a hang that the watchdog ended, or no supply."""
        self.reboot(now_us)
        self.is_dead = True

    def _add_pulse(self, onset_us: int, number: int, phases: DeliveredPhases) -> None:
        self._sink(self.clock.when(onset_us), onset_us, number - 1, phases)
