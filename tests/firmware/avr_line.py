"""The emulated AVR at the end of the kit's line: its cycles are the kit's clock.

What a busy computer does to an emulator in real time is no fault of the device: here nothing waits
for a wall clock, and every run gives the same verdicts.
"""

from __future__ import annotations

from estim.clock import VirtualClock
from estim.errors import UsageError
from estim.rig.conformance.capture import Capture, Row
from estim.rig.conformance.suite import Report, Suite, chosen_requirements
from estim.rig.conformance.world import world_of
from tests.firmware.avr_machine import CYCLES_PER_US, Machine, pulses, read_trace

START_US = 1_000_000
"""The kit's time when the emulator starts; ages that reach back before the start stay positive."""
BOOT_US = 20_000
READ_US = 50_000
SLICE_US = 500
HAPPENS = {
    "lead-off 1": "load open",
    "lead-on 1": "load 500",
    "patient-stop press": "stop 1",
    "patient-stop release": "stop 0",
}
"""What the kit lets happen, in the words of the emulator; it knows no more."""


class AvrLine:
    """A transport; reading moves the emulator on."""

    def __init__(self, machine: Machine, clock: VirtualClock) -> None:
        self._machine = machine
        self._clock = clock
        self._came = bytearray()
        self._pass(BOOT_US)

    def read(self) -> bytes:
        end_us = self._clock.now_us() + READ_US
        while not self._came and self._clock.now_us() < end_us:
            self._pass(SLICE_US)
        received = bytes(self._came)
        self._came.clear()
        return received

    def write(self, sending: bytes) -> None:
        self._machine.receive(sending)

    def play_fault(self, line: str) -> None:
        if line not in HAPPENS:
            raise UsageError(line)
        self._machine.tell(HAPPENS[line])

    def close(self) -> None:
        """The machine is closed by whoever started it."""

    def _pass(self, duration_us: int) -> None:
        cycle = self._machine.cycle + duration_us * CYCLES_PER_US
        self._came += bytes(byte for _, byte in self._machine.run_until(cycle))
        self._clock.advance_to(START_US + self._machine.cycle // CYCLES_PER_US)


class PinCapture(Capture):
    """What the pins did, by their cycle stamps."""

    def rows(self, start_us: int, end_us: int) -> list[Row]:
        found = []
        for pulse in pulses(read_trace(self.path)):
            for since, to, sign in pulse.stretches:
                at_us = START_US + round(since / CYCLES_PER_US)
                lasts_us = round((to - since) / CYCLES_PER_US)
                if start_us <= at_us < end_us:
                    found.append(Row(at_us, 1, sign * pulse.dac_ua, lasts_us))
        return found


def judge(machine: Machine, only: tuple[str, ...], soak_s: int) -> Report:
    """Run the kit against the emulated device."""
    clock = VirtualClock(START_US)
    line = AvrLine(machine, clock)
    suite = Suite(
        line, clock, world_of(line, None), url="emulated", bench_ohm=500, soak_s=soak_s,
        capture=PinCapture(machine.trace),
    )  # fmt: skip
    return suite.run(chosen_requirements(only), lambda *finding: None)
