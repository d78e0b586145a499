"""The C core beside the simulator: built once, stepped over a pipe, held to the same bytes.

`Lockstep` is the process of posix/lockstep.c. `Twins` stands where a device stands at the end of a
line: it feeds the simulator and the C core with the same bytes at the same times and asserts, after
every step, that the same frames, the same pulses (phase by phase) and the same deadline came out.
`CoreGate` asks both about targets, over the wire.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from estim.simulator.device import DeviceSettings, VirtualDevice
from estim.simulator.load import Load
from estim.simulator.trace import DeliveredPhases
from firmware_protocol.messages import (
    DeviceState,
    LimitsAccepted,
    ProgramAccepted,
    Refused,
    SetLimits,
    Status,
    WantedState,
)
from firmware_protocol.program import PulseProgram
from tests.simulator.host import Host, PulseList

C_FOLDER = Path(__file__).resolve().parents[2] / "firmware_protocol" / "c"
NO_COMPILER = "no C compiler (cc) here: the reference firmware is not tested"

SMALL = "-DEST_CHANNELS=1U -DEST_PHASES=6U -DEST_KEYFRAMES=8U -DEST_EVENTS=16U -DEST_ANSWERS=32U"
"""What a microcontroller of 2 KB holds; only its queue is longer, for what tests ask at once."""

RECORD = os.environ.get("ESTIM_FIRMWARE_RECORD", "")
"""Files of this name, one for each configuration, take every command and its answers, for
`mutants.py` to play again."""

Pulse = tuple[int, int, DeliveredPhases]


def compiler() -> str | None:
    """Return the C compiler of this machine, or None."""
    return shutil.which("cc")


def build(target: str, folder: Path, *variables: str) -> None:
    """Make a target of the C core in a folder of its own."""
    made = subprocess.run(
        ["make", "--silent", "-C", str(C_FOLDER), target, f"BUILD={folder}", *variables],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr


class Step(NamedTuple):
    """What came of one command."""

    frames: bytes
    pulses: list[Pulse]
    due_us: int | None
    said: list[str]


class Lockstep:
    """The C core, its time from outside."""

    def __init__(self, binary: Path) -> None:
        self._configuration = binary.parent.name
        self._recorded: list[str] = []
        self._process = subprocess.Popen(
            [binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> int:
        """End the process; return its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        if RECORD:
            with open(f"{RECORD}.{self._configuration}", "a") as record:
                record.writelines(f"{line}\n" for line in self._recorded)
        return self._process.wait(10)

    def boot(self, settings: DeviceSettings, *, is_stop_pressed: bool = False) -> Step:
        """Switch a device on that is what the simulator's is; its clock begins at 0."""
        load = settings.load
        assert not load.parallel_ohm, "the C bench has plain resistors"
        figures = (
            settings.channel_count,
            0 if load.is_open else load.series_ohm,
            int(is_stop_pressed),
            settings.battery_percent,
            settings.amplitude_step_ua,
            settings.amplitude_max_ua,
            int(settings.capabilities().flags),
            settings.baud,
            settings.compliance_mv,
            settings.phase_min_us,
            settings.phase_max_us,
            settings.pulse_period_min_us,
            int(settings.is_switched),
        )
        return self.command("boot " + " ".join(map(str, figures)))

    def command(self, line: str) -> Step:
        """Give one command and collect what it brings."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        frames, pulses, due_us, said = bytearray(), [], None, []
        recorded = [f"> {line}"]
        while (answer := self._process.stdout.readline().rstrip("\n")) != ".":
            recorded.append(answer)
            word, _, rest = answer.partition(" ")
            if word == "frame":
                frames += bytes.fromhex(rest)
            elif word == "pulse":
                pulses.append(_pulse(rest))
            elif word == "due":
                due_us = int(rest)
            elif answer:
                said.append(answer)
            else:
                raise AssertionError(f"the core ended on {line!r}")
        if RECORD:
            self._recorded += [*recorded, "."]
        return Step(bytes(frames), pulses, due_us, said)


def _pulse(words: str) -> Pulse:
    onset_us, channel_number, *phases = words.split()
    delivered = []
    for phase in phases:
        offset_us, current_ua, duration_us = phase.split(":")
        delivered.append((int(offset_us), int(current_ua), int(duration_us)))
    return int(onset_us), int(channel_number), tuple(delivered)


class Twins:
    """Simulator and C core, fed alike; same methods as what stands at the end of a line."""

    def __init__(self, lockstep: Lockstep, settings: DeviceSettings) -> None:
        self._lockstep = lockstep
        self.trace = PulseList()
        self.python = VirtualDevice(settings, self.trace)
        self._compared = 0
        self._output = bytearray()
        self._now_us = self._boot_us = settings.boot_us
        self._compare(lockstep.boot(settings))

    def receive(self, received: bytes, now_us: int) -> None:
        self.python.receive(received, now_us)
        self._step(f"bytes {{}} {received.hex()}", now_us)

    def advance(self, now_us: int) -> None:
        self.python.advance(now_us)
        self._step("advance {}", now_us)

    def take_output(self, now_us: int) -> bytes:
        self.advance(now_us)
        output = bytes(self._output)
        self._output.clear()
        return output

    # What the world does, to both.

    def set_load(self, channel_number: int, load: Load, now_us: int) -> None:
        self.python.set_load(channel_number, load, now_us)
        words = "open" if load.is_open else str(load.series_ohm)
        self._step(f"happen {{}} load {channel_number} {words}", now_us)

    def set_lead_off(self, channel_number: int, is_off: bool, now_us: int) -> None:
        self.python.set_lead_off(channel_number, is_off, now_us)
        self._step(f"happen {{}} lead-{'off' if is_off else 'on'} {channel_number}", now_us)

    def set_gain(self, channel_number: int, gain_permille: int, now_us: int) -> None:
        self.python.set_gain(channel_number, gain_permille, now_us)
        self._step(f"happen {{}} gain {channel_number} {gain_permille}", now_us)

    def set_patient_stop(self, is_pressed: bool, now_us: int) -> None:
        self.python.set_patient_stop(is_pressed, now_us)
        self._step(f"happen {{}} patient-stop {'press' if is_pressed else 'release'}", now_us)

    def set_battery(self, percent: int, now_us: int) -> None:
        self.python.set_battery(percent, now_us)
        self._step(f"happen {{}} battery {percent}", now_us)

    def reboot(self, now_us: int) -> None:
        self.python.reboot(now_us)
        self._output.clear()
        step = self._lockstep.command(f"reboot {now_us - self._boot_us}")
        self._now_us = self._boot_us = now_us
        self._compare(step)

    def peek(self) -> Status:
        """Return the simulator's Status as of now; both begin their next peaks."""
        self._lockstep.command("peek")
        return self.python._status()

    def _step(self, command: str, now_us: int) -> None:
        self._now_us = now_us
        self._compare(self._lockstep.command(command.format(now_us - self._boot_us)))

    def _compare(self, step: Step) -> None:
        due_us = self.python.next_deadline_us()
        frames = self.python.take_output(self._now_us)
        pulses, self._compared = self.trace.pulses[self._compared :], len(self.trace.pulses)
        boot_us = self._boot_us
        of_core = [(boot_us + onset_us, number, phases) for onset_us, number, phases in step.pulses]
        assert step.frames == frames
        assert of_core == pulses
        assert (None if step.due_us is None else boot_us + step.due_us) == due_us
        assert step.said == []
        self._output += frames


class CoreGate:
    """The gate of a C core (and, at its side, of the simulator), asked over the wire in RUNNING."""

    def __init__(
        self, lockstep: Lockstep, own: DeviceSettings, played: PulseProgram, session: SetLimits
    ) -> None:
        self.twins = Twins(lockstep, own)
        self.host = Host(own, wire=self.twins, device=self.twins.python)
        self.host.hello()
        assert isinstance(self.host.set_limits(session)[0], LimitsAccepted)
        assert isinstance(self.host.load(played)[0], ProgramAccepted)
        self.host.drive(WantedState.ARMED)
        self.host.drive(WantedState.RUNNING)
        assert self.host.state() is DeviceState.RUNNING

    def review_target(self, index: int, target_ua: int) -> Refused | None:
        """Return how the device refuses one target, or None where it takes it."""
        targets_ua = [0] * self.host.channel_count
        targets_ua[index] = target_ua
        answer = self.host.drive(WantedState.RUNNING, *targets_ua)
        refused = [message for message in answer if isinstance(message, Refused)]
        assert len(refused) <= 1
        return refused[0] if refused else None
