"""Start a simulator as a process of its own, as `sim:` does in real time."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from estim.errors import PortLost, UsageError
from estim.simulator.faults import parse_line
from estim.simulator.options import SimulatorOptions

READY_WITHIN_S = 10.0
ENDED_WITHIN_S = 5.0
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class SimulatorProcess:
    """A running simulator.

    Attributes:
        path: what a host opens: a pseudo-terminal.
        process: the process; in a session of its own, so that it outlives whoever started it.
        stdin: takes fault lines; once closed, the simulator ends 2 s after its output is off.
        messages: what the simulator wrote on standard error.
        channel_count: how many channels it has.
    """

    path: str
    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    messages: IO[bytes]
    channel_count: int

    def play(self, line: str) -> None:
        """Let a fault happen now, in the words of `faults.py`."""
        self.stdin.write(line.encode("ascii") + b"\n")
        self.stdin.flush()

    def inject(self, line: str) -> None:
        """Let a fault happen now, without waiting for the simulator to take it.

        Raises:
            UsageError: the line makes no sense.
            PortLost: the simulator is gone, or takes nothing.
        """
        if parse_line(line, self.channel_count) is None:
            raise UsageError("expected a fault")
        try:
            os.set_blocking(self.stdin.fileno(), False)
            os.write(self.stdin.fileno(), line.encode("ascii") + b"\n")  # whole, or not at all
        except (OSError, ValueError):  # ValueError: closed
            raise PortLost("sim: the simulator takes no faults") from None

    def read_messages(self) -> str:
        """Return everything that the simulator said on standard error so far."""
        self.messages.seek(0)
        return self.messages.read().decode("utf-8", "replace")

    def let_go(self) -> None:
        """Leave the simulator to itself, without waiting: it ends once its output is off."""
        self.stdin.close()
        self.messages.close()
        threading.Thread(target=self.process.wait, name="simulator-end", daemon=True).start()

    def close(self) -> None:
        """End the simulator, and kill it where it does not end."""
        self.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(ENDED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.messages.close()


def spawn(url_query: Mapping[str, str]) -> SimulatorProcess:
    """Start a simulator for the query of a `sim:` URL.

    Raises:
        UsageError: an unknown key, or a value that makes no sense.
        PortLost: the simulator did not start.
    """
    options = SimulatorOptions.from_query(url_query)
    environment = dict(os.environ)
    paths = [str(CHECKOUT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    # A file, not a pipe: nobody needs to drain it, and it does not write over a terminal interface.
    messages = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "estim.simulator", "--until-closed", *options.arguments()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=messages,
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout:
        path = _first_line(process.stdout)
    started = SimulatorProcess(path, process, process.stdin, messages, options.channel_count())
    if not path:
        said = started.read_messages().strip()
        started.close()
        raise PortLost(f"sim: the simulator did not start: {said or 'it said nothing'}")
    return started


def _first_line(stream: IO[bytes]) -> str:
    """Return the first line that comes in time, else ''."""
    readable, _, _ = select.select([stream], [], [], READY_WITHIN_S)
    return stream.readline().decode("ascii", "replace").strip() if readable else ""
