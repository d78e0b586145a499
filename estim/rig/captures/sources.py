"""Take a capture without hands: arm an instrument, then fetch the file that it made.

Rules:
1. What is wrong with an instrument is a `RigFault`: a missing capture says nothing of a device.
2. Waiting never starves a session: `wait` is called again and again, 50 ms apart at most.
3. Only a file that came after `arm` counts, once it has stopped growing.

A source is named by a URL: `folder:captures`, `command:sigrok-cli -d fx2lafw --time 3s -O csv -o
{file}`, `scpi:192.168.1.20:5555?channel=1`.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from estim.clock import SystemClock
from estim.errors import RigFault, UsageError
from estim.text import sanitize

Wait = Callable[[], None]

FETCH_WITHIN_S = 30.0
SETTLED_US = 300_000
FILE = "{file}"
_READ_S = 0.05
_BLOCK_BYTES_MAX = 1 << 26
_PREAMBLE_COUNT = 10


class CaptureSource(ABC):
    """Something that captures what reaches the load."""

    def __init__(self, fetch_within_s: float = FETCH_WITHIN_S) -> None:
        self._within_us = int(fetch_within_s * 1e6)
        self._until_us = 0

    @abstractmethod
    def arm(self) -> None:
        """Get ready; what reaches the load from now on is captured. Raise RigFault."""

    @abstractmethod
    def fetch(self, wait: Wait) -> Path:
        """Return the file of what was captured since `arm`; raise RigFault where there is none."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the instrument, whether it was fetched from or not."""

    def _begin(self) -> None:
        self._until_us = SystemClock().now_us() + self._within_us

    def _is_late(self) -> bool:
        return SystemClock().now_us() >= self._until_us


class FolderSource(CaptureSource):
    """Take the file that another program drops into a folder."""

    def __init__(self, folder: Path, fetch_within_s: float = FETCH_WITHIN_S) -> None:
        super().__init__(fetch_within_s)
        self._folder = folder
        self._before: dict[Path, tuple[int, int]] = {}

    def arm(self) -> None:
        self._before = self._marks()

    def fetch(self, wait: Wait) -> Path:
        self._begin()
        seen: dict[Path, tuple[int, int]] = {}
        since_us = 0
        while not self._is_late():
            wait()
            now = {path: mark for path, mark in self._marks().items() if self._is_new(path, mark)}
            if now != seen:
                seen, since_us = now, SystemClock().now_us()
            elif seen and SystemClock().now_us() - since_us >= SETTLED_US:
                return max(seen, key=lambda path: seen[path][1])
        raise RigFault(f"{self._folder}: no capture came within {self._within_us / 1e6:g} s")

    def close(self) -> None:
        self._before = {}

    def _is_new(self, path: Path, mark: tuple[int, int]) -> bool:
        return self._before.get(path) != mark

    def _marks(self) -> dict[Path, tuple[int, int]]:
        marks = {}
        try:
            for path in self._folder.iterdir():
                status = path.stat()
                if path.is_file() and status.st_size and not path.name.startswith("."):
                    marks[path] = (status.st_size, status.st_mtime_ns)
        except OSError as error:
            raise RigFault(f"captures {self._folder}: {error.strerror}") from None
        return marks


class CommandSource(CaptureSource):
    """Run a program that captures until it ends; `{file}` in its words is the file to write."""

    def __init__(self, words: list[str], file: Path, fetch_within_s: float = FETCH_WITHIN_S):
        super().__init__(fetch_within_s)
        self._words = [word.replace(FILE, str(file)) for word in words]
        self._file = file
        self._running: subprocess.Popen[bytes] | None = None

    def arm(self) -> None:
        self._file.unlink(missing_ok=True)
        try:
            with self._complaints.open("wb") as complaints:
                self._running = subprocess.Popen(
                    self._words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=complaints,
                )
        except OSError as error:
            raise RigFault(f"{self._words[0]}: {error.strerror}") from None

    def fetch(self, wait: Wait) -> Path:
        if self._running is None:
            raise RigFault(f"{self._words[0]}: it was not armed")
        self._begin()
        running = self._running
        while running.poll() is None:
            if self._is_late():
                self._end(running)
                raise RigFault(f"{self._words[0]}: not done within {self._within_us / 1e6:g} s")
            wait()
        if running.returncode:
            lines = self._complaints.read_text("utf-8", "replace").strip().splitlines() or [""]
            raise RigFault(
                f"{self._words[0]}: exit code {running.returncode} {sanitize(lines[-1])}".strip()
            )
        if not self._file.exists() or not self._file.stat().st_size:
            raise RigFault(f"{self._words[0]}: it wrote no capture to {self._file}")
        return self._file

    def close(self) -> None:
        if self._running is not None:
            self._end(self._running)
        self._running = None

    def _end(self, running: subprocess.Popen[bytes]) -> None:
        running.kill()  # one that has ended is left alone
        running.wait()

    @property
    def _complaints(self) -> Path:
        return self._file.with_suffix(".stderr")


class ScpiSource(CaptureSource):
    """Ask an oscilloscope on the network for its screen, in the words of Rigol's DS1000Z.

    Programming guide: `:SINGle`, `:TRIGger:STATus?`, `:WAVeform:PREamble?` with ten figures, and
    `:WAVeform:DATA?`, a definite-length block of IEEE 488.2; volts = (raw - y origin - y
    reference) x y increment. No real one was tried.
    """

    def __init__(
        self, host: str, port: int, channel: int, file: Path, fetch_within_s: float = FETCH_WITHIN_S
    ) -> None:
        super().__init__(fetch_within_s)
        self._name = f"{host}:{port}"
        self._address = (host, port)
        self._channel = channel
        self._file = file
        self._line: socket.socket | None = None
        self._buffer = b""

    def arm(self) -> None:
        self.close()
        try:
            self._line = socket.create_connection(self._address, timeout=5.0)
        except OSError as error:
            raise RigFault(f"scpi:{self._name}: {error.strerror or error}") from None
        self._line.settimeout(_READ_S)
        self._begin()
        self._tell(":SINGle")
        self._ask("*IDN?", lambda: None)  # answered once it has taken all before it

    def fetch(self, wait: Wait) -> Path:
        self._begin()
        try:
            while self._ask(":TRIGger:STATus?", wait) != "STOP":
                wait()
                if self._is_late():
                    raise RigFault(f"scpi:{self._name}: it was not triggered")
            self._tell(f":WAVeform:SOURce CHANnel{self._channel}")
            self._tell(":WAVeform:MODE NORMal")
            self._tell(":WAVeform:FORMat BYTE")
            preamble = self._ask(":WAVeform:PREamble?", wait)
            self._tell(":WAVeform:DATA?")
            self._write(preamble, self._block(wait))
        finally:
            self.close()
        return self._file

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line, self._buffer = None, b""

    def _write(self, preamble: str, samples: bytes) -> None:
        try:
            figures = [float(part) for part in preamble.split(",")]
            _, _, _, _, x_increment, x_origin, _, y_increment, y_origin, y_reference = figures
        except ValueError:
            raise RigFault(
                f"scpi:{self._name}: {_PREAMBLE_COUNT} figures expected, got {sanitize(preamble)!r}"
            ) from None
        if not samples:
            raise RigFault(f"scpi:{self._name}: it holds no samples")
        with self._file.open("w", encoding="ascii") as file:
            file.write(f"Time (s),CH{self._channel} (V)\n")
            for index, raw in enumerate(samples):
                volts = (raw - y_origin - y_reference) * y_increment
                file.write(f"{x_origin + index * x_increment:.9g},{volts:.6g}\n")

    def _tell(self, words: str) -> None:
        if self._line is None:
            raise RigFault(f"scpi:{self._name}: it was not armed")
        try:
            self._line.sendall(words.encode("ascii") + b"\n")
        except OSError as error:
            raise RigFault(f"scpi:{self._name}: {error.strerror or error}") from None

    def _ask(self, words: str, wait: Wait) -> str:
        self._tell(words)
        while b"\n" not in self._buffer:
            self._read(wait)
        answer, _, self._buffer = self._buffer.partition(b"\n")
        return answer.decode("ascii", "replace").strip()

    def _block(self, wait: Wait) -> bytes:
        """Read `#`, a digit N, N digits of a length, and as many bytes."""
        while len(self._buffer) < 2 or len(self._buffer) < 2 + self._digits():
            self._read(wait)
        head = 2 + self._digits()
        length = self._buffer[2:head]
        if not length.isdigit() or int(length) > _BLOCK_BYTES_MAX:
            raise RigFault(f"scpi:{self._name}: a block of unknown length")
        while len(self._buffer) < head + int(length):
            self._read(wait)
        return self._buffer[head : head + int(length)]

    def _digits(self) -> int:
        if self._buffer[:1] != b"#" or not self._buffer[1:2].isdigit():
            raise RigFault(f"scpi:{self._name}: a block expected, which begins with #")
        return int(self._buffer[1:2])

    def _read(self, wait: Wait) -> None:
        wait()
        if self._line is None or self._is_late():
            raise RigFault(f"scpi:{self._name}: it does not answer")
        try:
            received = self._line.recv(1 << 16)
        except TimeoutError:
            return
        except OSError as error:
            raise RigFault(f"scpi:{self._name}: {error.strerror or error}") from None
        if not received:
            raise RigFault(f"scpi:{self._name}: it closed the line")
        self._buffer += received


def check_source(url: str) -> None:
    """Raise UsageError where a URL names no source."""
    open_source(url, Path())


def open_source(url: str, folder: Path) -> CaptureSource:
    """Return what a URL names; files of its own making go to `folder`.

    Raises:
        UsageError: it names none.
    """
    kind, _, address = url.partition(":")
    if kind == "folder" and address:
        return FolderSource(Path(address))
    if kind == "command" and FILE in address:
        try:
            return CommandSource(shlex.split(address), folder / "capture.csv")
        except ValueError as error:
            raise UsageError(f"{url}: {error}") from None
    if kind == "scpi":
        place, _, query = address.partition("?")
        options = dict(parse_qsl(query))
        host, _, port = place.rpartition(":")
        channel = options.pop("channel", "1")
        if host and port.isdigit() and channel in ("1", "2", "3", "4") and not options:
            return ScpiSource(host, int(port), int(channel), folder / "capture.csv")
    raise UsageError(
        f"capture {url!r}: expected folder:PATH, command:WORDS with {FILE} among them, or "
        "scpi:HOST:PORT?channel=1"
    )


def pause() -> None:
    """Wait where there is no session to keep alive."""
    time.sleep(_READ_S)
