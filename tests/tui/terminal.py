"""A terminal for tests: the interface in a process of its own on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

CHECKOUT = Path(__file__).parents[2]

PROGRAM = """
import sys
from pathlib import Path
from estim.tui.app import Options, run
sys.exit(run(Options(records=Path(sys.argv[1]), is_demo=sys.argv[2] == "demo")))
"""

_SEQUENCE = re.compile(rb"\x1b(\[[0-9;?<>=$]*[a-zA-Z~]|[=>])")


class Terminal:
    """Run the interface at a size; read what it draws, or stop reading."""

    def __init__(
        self,
        records: Path,
        *,
        is_demo: bool = False,
        program: str = PROGRAM,
        columns: int = 80,
        rows: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.records = records
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        inherited = dict(
            os.environ,
            PYTHONPATH=str(CHECKOUT),
            TERM="xterm-256color",
            XDG_CONFIG_HOME=str(records / "configuration"),
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(records), "demo" if is_demo else ""],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=inherited | dict(environment or {}),
            preexec_fn=lambda: _own_terminal(slave),
        )
        os.close(slave)
        self.drawn = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal, as a window that is shut."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def read(self, duration_s: float) -> None:
        """Take what is drawn for a while."""
        end = time.monotonic() + duration_s
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.master], [], [], left)[0]:
                return
            try:
                self.drawn += os.read(self.master, 65536)
            except OSError:
                return

    def press(self, keys: str) -> None:
        """Send keys."""
        os.write(self.master, keys.encode())

    def wait_for(self, is_met: Callable[[], bool], timeout_s: float = 8.0) -> bool:
        """Read until a condition holds; tell whether it did."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if is_met():
                return True
            self.read(0.05)
        return False

    def shows(self, words: str) -> bool:
        """Tell whether words were drawn since `drawn` was last emptied."""
        plain = _SEQUENCE.sub(b"", self.drawn).decode("utf-8", "replace")
        return words in plain

    def is_cooked(self) -> bool:
        """Tell whether the terminal echoes and edits lines, as a shell expects it."""
        local_modes = termios.tcgetattr(self.master)[3]
        return bool(local_modes & termios.ECHO and local_modes & termios.ICANON)

    def record(self) -> str:
        """Return what the record of the session holds so far."""
        return "".join(path.read_text() for path in self.records.glob("*.jsonl"))


def _own_terminal(slave: int) -> None:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
