"""`estim run --plain`: a bench session in plain lines, for screen readers and any terminal.

Rules:
1. A line that is not exactly a command stops, an empty one too: whoever types anything at all and
   Enter has stopped. Ctrl+C stops at once, half a line or not; so does the end of the input.
2. A stop is sent by the thread that reads the keys, waits for nothing, and forgets every command
   that was typed before it.
3. No beat goes to the engine while a line waits to be written: output that nobody can hear ends.
4. Nothing begins or rises by itself: each is one command, and one step for each 'raise'.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from estim import api
from estim.cli.arguments import area_cm2
from estim.cli.failures import INTERRUPTED
from estim.cli.interruption import Interruption
from estim.cli.spoken import Speaker, summary
from estim.clock import SystemClock
from estim.errors import DeviceFault, EstimError, LimitRefused, RecordError, UsageError
from estim.priority import NICE, ask_for_priority
from estim.profile.loader import LoadedProfile
from estim.session import messages as msg
from estim.session.messages import Notice, Reply, Severity, Snapshot
from estim.session.states import ENERGISED, HostState
from estim.text import sanitize

KNOWN_US = 500_000
LINE_MAX = 4096
INTERRUPTION = "interrupted by a signal"
_SHOWN_MAX = 40
_NOT_HERE = ("amplitude", "json", "junit", "seed")

COMMANDS: dict[str, str] = {
    "start": "arm, and begin from zero",
    "raise": "one step more on every channel; 'raise 2' on channel 2 alone; + does the same",
    "lower": "one step less; 'lower 2' on channel 2 alone; - does the same",
    "pause": "to zero, armed",
    "resume": "from zero to the intensity of before",
    "finish": "ramp down, then stop",
    "stop": "stop at once; so does every line that is no command, an empty one, and Ctrl+C",
    "state": "say how everything stands",
    "rearm": "after an electrode came off: 'rearm 1', once it is on again",
    "acknowledge": "take note of a fault; then 'start' begins anew",
    "help": "say these commands",
    "quit": "stop, seal the record, leave",
}
_ALIASES = {"+": "raise", "-": "lower", "?": "help"}
_WITH_CHANNEL = ("raise", "lower", "rearm")


@dataclass(frozen=True, slots=True)
class Command:
    """What was typed; `channel` counts from 1, 0 for every channel."""

    name: str
    channel: int = 0


def read_command(line: str) -> Command | None:
    """Read a line; None for one that is no command, and so stops."""
    name, *rest = line.lower().split() or [""]
    name = _ALIASES.get(name, name)
    if name not in COMMANDS or name == "stop":
        return None
    if not rest:
        return Command(name)
    is_channel = len(rest) == 1 and rest[0].isascii() and rest[0].isdigit() and len(rest[0]) < 3
    if name not in _WITH_CHANNEL or not is_channel or int(rest[0]) == 0:
        return None
    return Command(name, int(rest[0]))


_QUIT = Command("quit")


class Listener(threading.Thread):
    """Read lines and signals; send a stop at once, hand commands on.

    Args:
        descriptor: where lines come from.
        stop: sends Stop with its reason, from this thread.
    """

    def __init__(self, descriptor: int, stop: Callable[[str], None]) -> None:
        super().__init__(name="plain-listener", daemon=True)
        self.stop_count = 0
        self._descriptor = descriptor
        self._stop = stop
        self._typed: queue.SimpleQueue[tuple[int, str | None, Command | None]] = queue.SimpleQueue()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)

    @contextmanager
    def hearing_signals(self) -> Iterator[None]:
        """Hear of signals here too, even while the main thread cannot take them."""
        former = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(former)

    def taken(self) -> Iterator[tuple[str | None, Command | None]]:
        """Yield what was typed since: line and command; a line of None is the end of the input."""
        while not self._typed.empty():
            stop_count, line, command = self._typed.get()
            if stop_count == self.stop_count or command is None:
                yield line, command

    def run(self) -> None:
        held = b""
        while True:
            ready = select.select([self._descriptor, self._woken], [], [])[0]
            if self._woken in ready:
                os.read(self._woken, 64)
                self._send_stop(INTERRUPTION)
                continue
            try:
                chunk = os.read(self._descriptor, LINE_MAX)
            except OSError:
                chunk = b""
            if not chunk:
                self._send_stop("the input has ended")
                self._typed.put((self.stop_count, None, None))
                return
            *lines, held = (held + chunk).split(b"\n")
            if len(held) > LINE_MAX:
                lines, held = [*lines, held], b""
            for line in lines:
                self._take(line.decode("utf-8", "replace"))

    def _take(self, line: str) -> None:
        command = read_command(line)
        if command is None:
            self._send_stop("stop typed")
        self._typed.put((self.stop_count, line, command))

    def _send_stop(self, reason: str) -> None:
        self.stop_count += 1
        self._stop(reason)


class PlainSession:
    """One bench session in lines; everything is written by the thread that sends the beats."""

    def __init__(
        self, loaded: LoadedProfile, area_cm2: Decimal | None, duration_s: int | None
    ) -> None:
        self._loaded = loaded
        self._area_cm2 = area_cm2
        self._duration_s = duration_s
        self._speaker = Speaker()
        self._clock = SystemClock()
        self._heard_us = self._clock.now_us()
        self._was_energised = False
        self.stimulator: api.Stimulator
        self.listener: Listener

    def hear(self, reply: Reply) -> None:
        """Take what the engine says; in the thread of the beats."""
        if isinstance(reply, Notice):
            remedy = f". {reply.remedy}" if reply.remedy else ""
            sign = "" if reply.severity is Severity.INFORMATION else f"{reply.severity.value}: "
            words = f"{sign}{reply.text}{remedy}."
            say(words[0].upper() + words[1:])
        elif isinstance(reply, Snapshot):
            self._heard_us = self._clock.now_us()
            for line in self._speaker.changes(reply):
                say(line)

    def send_stop(self, reason: str) -> None:
        """Send Stop now; from the listener's thread."""
        self._was_energised = reason == INTERRUPTION and _is_energised(self.stimulator.snapshot)
        self.stimulator.engine.send(msg.Stop(self.stimulator.engine.new_id(), reason))

    def attend(self, interruption: Interruption) -> int:
        """Do what is typed until somebody leaves; return the exit code."""
        self._prepare()
        say("Say start to begin from zero, help for the commands. Enter alone stops.")
        while True:
            self.stimulator.pump()
            if self._clock.now_us() - self._heard_us > KNOWN_US:
                for words in self._speaker.unknown():
                    say(words)
            is_stopped = self._was_energised or _is_energised(self.stimulator.snapshot)
            if interruption.name == "SIGINT" and is_stopped:
                interruption.name = ""
                self._was_energised = False
                say("Stopped by Ctrl+C. Ctrl+C once more leaves.")
            if interruption.name:
                return INTERRUPTED
            for line, command in self.listener.taken():
                if line is None or command == _QUIT:
                    return self._exit_code()
                self._obey(line, command)

    def _obey(self, line: str, command: Command | None) -> None:
        if command is None:
            typed = line.strip()[:_SHOWN_MAX]
            if typed and typed.lower() not in ("stop", "x"):
                say(f"Stopped, since this is no command: {typed}. Help says the commands.")
            else:
                say("Stop sent.")
            return
        try:
            self._do(command)
        except EstimError as error:
            say(f"Not done: {error}.")

    def _do(self, command: Command) -> None:
        stimulator, engine = self.stimulator, self.stimulator.engine
        shown = stimulator.snapshot
        assert shown is not None
        # Of the profile: a snapshot from before it was loaded has none.
        every = tuple(range(len(self._loaded.profile.channels)))
        channels = (command.channel - 1,) if command.channel else every
        if command.name == "start":
            self._start()
        elif command.name == "raise":
            stimulator.ask(msg.Raise(engine.new_id(), channels, "key"))
        elif command.name == "lower":
            stimulator.ask(msg.Lower(engine.new_id(), channels, self._step_ua))
        elif command.name == "pause":
            stimulator.pause()
        elif command.name == "resume":
            stimulator.resume()
        elif command.name == "finish":
            stimulator.ask(msg.Finish(engine.new_id()))
        elif command.name == "rearm":
            off = tuple(i for i in channels if i < len(shown.channels))
            off = tuple(i for i in off if shown.channels[i].is_lead_off)
            if not off:
                raise LimitRefused("no electrode is waiting to be re-armed there")
            stimulator.ask(msg.Rearm(engine.new_id(), off, self._speaker.latch_count))
        elif command.name == "acknowledge":
            stimulator.ask(msg.Acknowledge(engine.new_id(), self._speaker.latch_count))
        elif command.name == "state":
            for line in summary(shown):
                say(line)
        else:
            for name, what in COMMANDS.items():
                say(f"{name}: {what}.")

    def _start(self) -> None:
        """Load if need be, arm, begin at zero; a stop meanwhile ends it."""
        stimulator = self.stimulator
        begun = self.listener.stop_count
        shown = stimulator.snapshot
        steps: list[Callable[[], object]] = [stimulator.arm, stimulator.start]
        if shown is not None and shown.state is HostState.ARMED:
            steps = [stimulator.start]
        elif shown is None or not shown.has_program:
            steps.insert(0, self._prepare)
        for step in steps:
            if self.listener.stop_count != begun:
                raise LimitRefused("a stop came first")
            step()

    def _prepare(self) -> None:
        prepared = self.stimulator.prepare(
            self._loaded, duration_s=self._duration_s, electrode_area_cm2=self._area_cm2
        )
        self._step_ua = prepared.settings.step_ua
        standing = self.stimulator.standing
        if standing is not None and not standing.is_for_people:
            say(f"Warning: device {standing.serial_number}: {standing.words}.")

    def _exit_code(self) -> int:
        shown = self.stimulator.snapshot
        is_faulty = shown is None or shown.state is HostState.FAULT
        return DeviceFault.exit_code if is_faulty else 0


def run(
    arguments: Namespace,
    loaded: LoadedProfile,
    bench_ohm: int,
    url: str,
    records: Path,
) -> int:
    """Attend to a bench session in lines; return the exit code.

    Raises:
        UsageError: a flag that does not go with lines, or nobody can type.
        EstimError: there is no device, or a limit refuses the profile.
    """
    from estim.cli.run import duration_of, record_verification

    for name in _NOT_HERE:
        if getattr(arguments, name):
            raise UsageError(f"--{name} does not go with --plain: each rise is typed")
    if arguments.clock != "real":
        raise UsageError("--clock virtual does not go with --plain: a person sits there")
    if sys.stdin is None:
        raise UsageError("--plain: standard input is closed, and nobody could stop")
    session = PlainSession(loaded, area_cm2(arguments.area, loaded.profile), duration_of(arguments))
    ask_for_priority(NICE)
    with Interruption() as interruption:
        try:
            with api.open(
                url, bench_ohm=bench_ohm, records=records, on_reply=session.hear
            ) as stimulator:
                session.stimulator = stimulator
                session.listener = Listener(sys.stdin.fileno(), session.send_stop)
                say(f"{loaded.profile.title}. Bench: {bench_ohm} ohm, nobody connected.")
                with session.listener.hearing_signals():
                    session.listener.start()
                    code = session.attend(interruption)
        except OSError:
            if interruption.name:  # a terminal that vanished takes the output with it
                return INTERRUPTED
            raise
    result = stimulator.result()
    verification = record_verification(result.record_path)
    is_sound = verification is not None and verification.is_ok
    say(f"Record: {result.record_path}, {'verifies' if is_sound else 'does not verify'}.")
    return code or (0 if is_sound else RecordError.exit_code)


def say(text: str) -> None:
    """Write one line and see it off (rule 3)."""
    print(sanitize(text), flush=True)


def _is_energised(shown: Snapshot | None) -> bool:
    return shown is not None and shown.state in (*ENERGISED, HostState.STOPPING)
