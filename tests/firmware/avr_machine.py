"""The AVR image under the emulator, in lock-step: its line, and what its pins did.

`Machine` is the process of emulation/main.c. `AvrHost` speaks the protocol to it, on the clock of
the emulated processor alone. `pulses` reads the trace: edges and DAC words become pulses, without
any knowledge of what was asked.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from firmware_protocol.connection import Connection, Damaged, Received, Role
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    CommitProgram,
    Drive,
    GetCapabilities,
    Hello,
    Identity,
    LimitsAccepted,
    Message,
    ProgramAccepted,
    SetLimits,
    Status,
    TargetRow,
    WantedState,
)
from firmware_protocol.program import PulseProgram
from firmware_protocol.schema import SCHEMA_HASH
from firmware_protocol.session_limits import compiled_limits, limits_digest
from tests.firmware.core import C_FOLDER

CYCLES_PER_US = 16
CYCLES_PER_MS = 16_000
BYTE_CYCLES = 320
RAM_START = 0x100
EPOCH = 0x1122334455667788
AMPLITUDE_MAX_UA = 80_000
DAC_UA_PER_COUNT = 20
BOOT_MS = 10
DRIVE_MS = 50
LINE_BYTES = DRIVE_MS * CYCLES_PER_MS // BYTE_CYCLES

_M = TypeVar("_M", bound=Message)


class Noted(NamedTuple):
    """One row of the trace."""

    cycle: int
    signal: str
    number: int
    handled: int


class Figures(NamedTuple):
    """What the emulator measured."""

    longest_feed_cycles: int
    static_size: int
    stack_left: int
    reset_count: int


class Avr(NamedTuple):
    """What was built."""

    image: Path
    runner: Path


def missing_tools() -> list[str]:
    """Return the Debian packages that are missing here."""
    needed = {
        "gcc": shutil.which("cc"),
        "make": shutil.which("make"),
        "gcc-avr": shutil.which("avr-gcc"),
        "avr-libc": Path("/usr/lib/avr/include/avr/io.h").exists(),
        "libsimavr-dev": Path("/usr/include/simavr/sim_avr.h").exists(),
        "libelf-dev": Path("/usr/include/libelf.h").exists(),
    }
    return [package for package, found in needed.items() if not found]


def build_avr(folder: Path) -> Avr:
    """Build image and emulator into a folder."""
    for part, target in (("avr", "image"), ("emulation", "runner")):
        made = subprocess.run(
            ["make", "--silent", "-C", C_FOLDER / part, target, f"BUILD={folder}"],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
    return Avr(folder / "estim-avr.elf", folder / "estim-avr-run")


@dataclass
class Pulse:
    """What the pins did between two rests: (from, to, sign) in cycles, and the DAC's current."""

    dac_ua: int
    stretches: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def onset(self) -> int:
        return self.stretches[0][0]

    @property
    def end(self) -> int:
        return self.stretches[-1][1]

    @property
    def lasts(self) -> list[int]:
        return [to - since for since, to, _ in self.stretches]

    @property
    def gaps(self) -> list[int]:
        return [
            later[0] - sooner[1]
            for sooner, later in zip(self.stretches, self.stretches[1:], strict=False)
        ]

    @property
    def net_cycles(self) -> int:
        return sum((to - since) * sign for since, to, sign in self.stretches)


def read_trace(path: Path) -> list[Noted]:
    """Read a trace file."""
    rows = []
    for line in path.read_text().splitlines()[1:]:
        cycle, signal, number, handled = line.split(",")
        rows.append(Noted(int(cycle), signal, int(number), int(handled)))
    return rows


def pulses(rows: Iterable[Noted], rest_cycles: int = 20 * CYCLES_PER_MS) -> list[Pulse]:
    """Put edges together to pulses; a DAC word or a rest ends one. Both pins on is an error."""
    found: list[Pulse] = []
    current: Pulse | None = None
    since: dict[str, int] = {}
    dac_ua = 0
    for row in rows:
        if row.signal == "dac":
            assert not since, f"the amplitude changed within a phase, at {row.cycle}"
            dac_ua = (row.number & 0xFFF) * DAC_UA_PER_COUNT
            current = None
        elif row.signal in ("positive", "negative"):
            if row.number:
                assert row.signal not in since
                since[row.signal] = row.cycle
                continue
            began = since.pop(row.signal)
            if current is None or began - current.end > rest_cycles:
                current = Pulse(dac_ua)
                found.append(current)
            current.stretches.append((began, row.cycle, 1 if row.signal == "positive" else -1))
    for pulse in found:
        pulse.stretches.sort()
        for sooner, later in zip(pulse.stretches, pulse.stretches[1:], strict=False):
            assert later[0] >= sooner[1], f"both polarities on at {later[0]}"
    return found


class Machine:
    """The emulator in lock-step."""

    def __init__(self, runner: Path, image: Path, trace: Path) -> None:
        self.trace = trace
        self.cycle = 0
        self._process = subprocess.Popen(
            [runner, "--trace", trace, image],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> int:
        """End the process; return its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def run_until(self, cycle: int) -> list[tuple[int, int]]:
        """Go on; return (cycle, byte) of what was sent."""
        self.tell(f"run {cycle}")
        sent: list[tuple[int, int]] = []
        while True:
            word, *numbers = self._answer()
            if word == "now":
                self.cycle = int(numbers[0])
                return sent
            sent.append((int(numbers[0]), int(numbers[1], 16)))

    def receive(self, raw: bytes, at: int | None = None) -> int:
        """Put bytes on a free line; return the cycle at which the last stop bit ends."""
        start = self.cycle + 1 if at is None else at
        self.tell(f"receive {start} {raw.hex()}")
        return start + len(raw) * BYTE_CYCLES

    def figures(self) -> Figures:
        self.tell("figures")
        words = dict(word.split("=") for word in self._answer()[1:])
        return Figures(**{name: int(number) for name, number in words.items()})

    def ram(self) -> bytes:
        """Return all of RAM; its first byte lies at RAM_START."""
        self.tell("peek")
        return bytes.fromhex(self._answer()[1])

    def rows(self, since: int = 0) -> list[Noted]:
        """Return the trace from a cycle on."""
        return [row for row in read_trace(self.trace) if row.cycle >= since]

    def _answer(self) -> list[str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the emulator ended"
        return line.split()


class AvrHost:
    """Speak the protocol to the emulated device."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.connection = Connection(Role.HOST, EPOCH)
        self.seen: list[Message] = []
        self.seen_at: list[int] = []
        self.damaged_count = 0
        self.program_digest = 0
        self.limits_digest = limits_digest(compiled_limits(1, AMPLITUDE_MAX_UA))
        self.pass_us(BOOT_MS * 1000)

    def pass_us(self, duration_us: int) -> list[Message]:
        """Let time pass; return what came."""
        return self.pass_until(self.machine.cycle + duration_us * CYCLES_PER_US)

    def pass_until(self, cycle: int) -> list[Message]:
        fresh: list[Message] = []
        for at, byte in self.machine.run_until(cycle):
            self.connection.receive_bytes(bytes([byte]))
            while (event := self.connection.next_event()) is not None:
                if isinstance(event, Received):
                    fresh.append(event.message)
                    self.seen_at.append(at)
                elif isinstance(event, Damaged):
                    self.damaged_count += 1
        self.seen += fresh
        return fresh

    def send(self, message: Message) -> int:
        """Send; return the cycle at which its last stop bit ends. Time does not pass."""
        return self.machine.receive(self.connection.send(message))

    def ask(self, message: Message, kind: type[_M], within_ms: int = 100) -> _M:
        """Send and wait for an answer."""
        self.send(message)
        for _ in range(within_ms):
            for answer in self.pass_us(1000):
                if isinstance(answer, kind):
                    return answer
        raise AssertionError(f"no {kind.__name__} in {within_ms} ms")

    @property
    def status(self) -> Status:
        return next(m for m in reversed(self.seen) if isinstance(m, Status))

    def of(self, kind: type[_M]) -> list[_M]:
        return [message for message in self.seen if isinstance(message, kind)]

    def greet(self) -> Identity:
        """Begin an epoch; a device that was reset counts its frames anew."""
        self.connection.adopt(EPOCH)
        return self.ask(Hello(PROTOCOL_VERSION, SCHEMA_HASH), Identity)

    def load(self, program: PulseProgram, limits: SetLimits | None = None) -> None:
        """Greet, set limits, load a programme."""
        self.greet()
        if limits is not None:
            self.limits_digest = self.ask(limits, LimitsAccepted).limits_digest
        for message in program.messages():
            self.send(message)
            self.pass_us(2000)
        accepted = self.ask(CommitProgram(program.digest), ProgramAccepted)
        self.program_digest = accepted.program_digest

    def drive(self, wanted: WantedState, target_ua: int = 0, tick_ms: int | None = None) -> int:
        """Send a Drive that echoes the newest Status, or a tick."""
        return self.send(self._drive(wanted, target_ua, tick_ms))

    def start(self, program: PulseProgram, limits: SetLimits | None = None) -> None:
        """Go to RUNNING at zero."""
        self.load(program, limits)
        self.pass_us(300_000)
        for wanted in (WantedState.ARMED, WantedState.RUNNING):
            self.drive(wanted)
            self.pass_us(40_000)
            assert self.status.state.name == wanted.name, self.status

    def keep(self, duration_ms: int, target_ua: int) -> None:
        """Keep RUNNING: a Drive every 50 ms, the first at once."""
        for _ in range(0, duration_ms, DRIVE_MS):
            self.drive(WantedState.RUNNING, target_ua)
            self.pass_us(DRIVE_MS * 1000)

    def keep_on_a_full_line(self, duration_ms: int, target_ua: int) -> int:
        """Keep RUNNING with every bit time of the line in use; return the bytes sent.

        Beside the Drives the host asks for the Capabilities 160 times a second, and frames of
        another epoch come in; what is left is filled with the zeros that stand between frames.
        """
        other = Connection(Role.HOST, EPOCH + 1)
        sent = 0
        for _ in range(0, duration_ms, DRIVE_MS):
            raw = self.connection.send(self._drive(WantedState.RUNNING, target_ua))
            for at in range(150, LINE_BYTES - 150, 280):
                raw += bytes(at - len(raw)) + self.connection.send(GetCapabilities())
                raw += other.send(GetCapabilities())
            raw += bytes(LINE_BYTES - len(raw))
            self.machine.receive(raw)
            self.pass_us(DRIVE_MS * 1000)
            sent += len(raw)
        return sent

    def _drive(self, wanted: WantedState, target_ua: int, tick_ms: int | None = None) -> Drive:
        return Drive(
            wanted,
            self.status.tick_ms if tick_ms is None else tick_ms,
            self.program_digest,
            self.limits_digest,
            (TargetRow(target_ua),),
        )
