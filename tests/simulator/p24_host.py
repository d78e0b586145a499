"""A host of the P24 for tests, as small as can be: it asks, and steps the device in time."""

from __future__ import annotations

from estim.dialects import p24
from estim.dialects.p24 import (
    ChannelUpdate,
    Command,
    CurrentData,
    Decoder,
    Frame,
    Point,
    Status,
    cut,
    encode,
    pack_update,
)
from estim.simulator.faults import P24_VERBS, parse_line
from estim.simulator.line import FaultyLine
from estim.simulator.load import Load
from estim.simulator.p24 import P24Settings, VirtualP24
from tests.simulator.host import PulseList

MS = 1000
S = 1_000_000
ANSWER_US = 1000


def pulse(amplitude_ua: int, duration_us: int = 200, gap_us: int = 100) -> tuple[Point, ...]:
    """Return a balanced pulse: forth, nothing, back."""
    return (
        Point(duration_us, amplitude_ua),
        Point(gap_us, 0),
        Point(duration_us, -amplitude_ua),
    )


def playing(amplitude_ua: int = 20_000, period_us: int = 20 * MS, ramp: int = 0) -> ChannelUpdate:
    return ChannelUpdate(pulse(amplitude_ua), period_us, ramp)


class P24Host:
    """Ask a virtual P24 on a line, on a clock of its own."""

    def __init__(
        self, *lines: str, load: Load | None = None, answer_us: int = ANSWER_US, seed: int = 0
    ) -> None:
        self.trace = PulseList()
        settings = P24Settings(load=load or Load(500), answer_us=answer_us)
        self.device = VirtualP24(settings, self.trace)
        script = [fault for line in lines if (fault := parse_line(line, 8, P24_VERBS)) is not None]
        self.line = FaultyLine(self.device, script, seed, 0, cut)
        self.now_us = 0
        self.number = 0
        self._decoder = Decoder()

    def send(self, command: int, payload: bytes = b"") -> int:
        """Write a request; return its packet number."""
        self.number = (self.number + 1) % 64
        self.write(encode(command, self.number, payload))
        return self.number

    def write(self, raw: bytes) -> None:
        self.line.receive(raw, self.now_us)

    def collect(self) -> list[Frame]:
        """Return the answers that have come by now."""
        found = self._decoder.feed(self.line.take_output(self.now_us))
        return [each for each in found if isinstance(each, Frame)]

    def pass_time(self, duration_us: int) -> list[Frame]:
        """Let time pass in silence, from deadline to deadline."""
        end_us = self.now_us + duration_us
        frames = []
        while (due_us := self.line.next_deadline_us()) is not None and due_us <= end_us:
            self.now_us = max(self.now_us, due_us)
            frames += self.collect()
        self.now_us = end_us
        return frames + self.collect()

    def ask(self, command: int, payload: bytes = b"") -> Frame:
        """Send a request and let time pass until its answer."""
        number = self.send(command, payload)
        for _ in range(1000):
            deadline_us = self.line.next_deadline_us()
            assert deadline_us is not None, "no answer will come"
            for frame in self.pass_time(max(0, deadline_us - self.now_us)):
                if frame.number == number:
                    return frame
        raise AssertionError("no answer came")

    def result(self, command: int, payload: bytes = b"") -> int:
        return p24.unpack_result(self.ask(command, payload).payload)

    def play(self, line: str) -> None:
        """Let a fault happen now."""
        fault = parse_line(line, 8, P24_VERBS)
        assert fault is not None
        self.line.schedule(fault, self.now_us)

    # What tests ask again and again.

    def init(self, stops_all: bool = False) -> None:
        assert self.result(Command.ML_INIT, bytes((stops_all,))) == 0

    def update(self, *channels: ChannelUpdate | None) -> int:
        """Update; return when it was taken up."""
        sent_us = self.now_us
        assert self.result(Command.ML_UPDATE, pack_update(channels)) == 0
        return sent_us

    def poll(self) -> CurrentData:
        return p24.unpack_current_data(self.ask(Command.ML_GET_CURRENT_DATA, b"\4").payload)

    def status(self) -> Status:
        return p24.unpack_status(self.ask(Command.GET_STIM_STATUS).payload)

    def keep(self, duration_us: int) -> None:
        """Poll every 500 ms for a time."""
        end_us = self.now_us + duration_us
        while self.now_us < end_us:
            self.poll()
            self.pass_time(min(500 * MS, max(0, end_us - self.now_us)))
