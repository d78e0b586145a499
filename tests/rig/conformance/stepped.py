"""The simulator at the end of a line whose time is stepped: a run of seconds takes none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from estim.clock import VirtualClock
from estim.rig.conformance.capture import Capture
from estim.rig.conformance.requirement import Finding
from estim.rig.conformance.suite import Report, Suite, chosen_requirements
from estim.rig.conformance.world import world_of
from estim.simulator.device import DeviceSettings, VirtualDevice
from estim.simulator.faults import parse_line
from estim.simulator.line import FaultyLine
from estim.simulator.trace import CsvTrace

START_US = 5_000_000
READ_US = 50_000
BYTE_US = 2
DELAY_US = 400
HAND_US = 2_000_000
STILL_US = 400_000
HANDS = {
    "Take a lead of channel 1 off": "lead-off 1",
    "Put the lead of channel 1 back": "lead-on 1",
    "Press the patient's stop and keep it pressed": "patient-stop press",
    "Release the patient's stop": "patient-stop release",
}


class SteppedLine:
    """A transport; reading moves the time."""

    def __init__(
        self, clock: VirtualClock, settings: DeviceSettings, trace: Path, still_every: int = 0
    ) -> None:
        self._still_every = still_every
        self._read_count = 0
        self._clock = clock
        self._channel_count = settings.channel_count
        self._trace = CsvTrace.to_file(trace)
        settings = replace(settings, boot_us=clock.now_us())
        self._line = FaultyLine(VirtualDevice(settings, self._trace), start_us=clock.now_us())

    def read(self) -> bytes:
        clock, line = self._clock, self._line
        self._read_count += 1
        if self._still_every and self._read_count % self._still_every == 0:
            clock.advance_to(clock.now_us() + STILL_US)
        end_us = clock.now_us() + READ_US
        while True:
            received = line.take_output(clock.now_us())
            self._trace.flush()
            if received:
                clock.advance_to(clock.now_us() + DELAY_US)
                return received
            if clock.now_us() >= end_us:
                return b""
            due_us = line.next_deadline_us() or end_us
            clock.advance_to(min(max(due_us, clock.now_us() + 1), end_us))

    def write(self, sending: bytes) -> None:
        self._clock.advance_to(self._clock.now_us() + BYTE_US * len(sending))
        self._line.receive(sending, self._clock.now_us())

    def play_fault(self, line: str) -> None:
        fault = parse_line(line, self._channel_count)
        assert fault is not None
        self._line.schedule(fault, self._clock.now_us())

    def play_later(self, fault: str, after_us: int) -> None:
        at_s = (self._clock.now_us() - START_US + after_us) / 1_000_000
        self.play_fault(f"at {at_s:.6f} {fault}")

    def close(self) -> None:
        self._trace.close()


class HandledLine:
    """The same, but it takes no faults: a person is told what to do, and does it 2 s later."""

    def __init__(self, line: SteppedLine) -> None:
        self._line = line
        self.read, self.write, self.close = line.read, line.write, line.close
        self.said: list[str] = []

    def instruct(self, text: str) -> None:
        self.said.append(text)
        (fault,) = [fault for words, fault in HANDS.items() if words in text]
        self._line.play_later(fault, HAND_US)


def judge(
    only: tuple[str, ...], folder: Path, soak_s: int = 3, still_every: int = 0, **settings: Any
) -> Report:
    """Run the kit against the simulator, as it is patched by now."""
    clock = VirtualClock(START_US)
    trace = folder / "trace.csv"
    line = SteppedLine(clock, DeviceSettings(**settings), trace, still_every)

    def quiet(finding: Finding, number: int, total: int) -> None:
        assert number <= total

    suite = Suite(
        line, clock, world_of(line, None), url="stepped", bench_ohm=500, soak_s=soak_s,
        capture=Capture(trace),
    )  # fmt: skip
    try:
        return suite.run(chosen_requirements(only), quiet)
    finally:
        line.close()


def judge_by_hand(only: tuple[str, ...], folder: Path) -> tuple[Report, list[str]]:
    """Run the kit with a person at the leads and at the patient's stop; return what it said too."""
    clock = VirtualClock(START_US)
    line = HandledLine(SteppedLine(clock, DeviceSettings(), folder / "trace.csv"))
    suite = Suite(line, clock, world_of(line, line.instruct), url="by hand", bench_ohm=500)
    try:
        return suite.run(chosen_requirements(only), lambda *finding: None), line.said
    finally:
        line.close()
