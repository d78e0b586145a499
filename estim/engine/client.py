"""The interface's end of an engine.

Rules:
1. The engine is a session of its own, so that a terminal's Ctrl-C and Ctrl-Z reach only the
   interface.
2. When this process ends, however it ends, the socket closes and the engine stops the output.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import estim
from estim.errors import DeviceFault, EstimError
from estim.session.messages import (
    Heartbeat,
    Outcome,
    Reply,
    Request,
    from_line,
    to_line,
)

_CRASH_TEXT_MAX = 2000


class EngineClient:
    """Speak to one engine process. Methods are safe from any thread."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        connection: socket.socket,
        on_message: Callable[[Reply], None],
        on_end: Callable[[str], None],
        crash_file: Path,
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._connection = connection
        self._on_message = on_message
        self._on_end = on_end
        self._crash_file = crash_file
        self._lock = threading.Lock()
        self._next_id = 1
        self._asked: dict[int, queue.SimpleQueue[Outcome]] = {}
        self._reader = threading.Thread(target=self._read, name="engine-reader", daemon=True)
        self._reader.start()

    @classmethod
    def spawn(
        cls, on_message: Callable[[Reply], None], on_end: Callable[[str], None]
    ) -> EngineClient:
        """Start an engine; `on_message` and `on_end` are called from a thread of the client's."""
        ours, theirs = socket.socketpair()
        environment = dict(os.environ)
        checkout = str(Path(estim.__file__).resolve().parent.parent)
        former = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([checkout, former] if former else [checkout])
        descriptor, crash_name = tempfile.mkstemp(prefix="estim-engine-", suffix=".txt")
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "estim.engine", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=descriptor,
                start_new_session=True,
                env=environment,
            )
        os.close(descriptor)
        return cls(process, ours, on_message, on_end, Path(crash_name))

    def new_id(self) -> int:
        """Return a fresh request id, above zero."""
        with self._lock:
            self._next_id += 1
            return self._next_id - 1

    def send(self, request: Request) -> None:
        """Send a request; an engine that is gone is told by `on_end`, not here."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.sendall(to_line(request))

    def heartbeat(self, beat: int) -> None:
        """Say that the display has shown `beat`."""
        self.send(Heartbeat(beat))

    def ask(self, request: Request, timeout_s: float = 5.0) -> Outcome:
        """Send a request and wait for its outcome; never from the thread of `on_message`.

        Raises:
            DeviceFault: the engine is gone, or does not answer within the time-out.
        """
        request_id = getattr(request, "request_id", 0)
        answer: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._asked[request_id] = answer
        try:
            self.send(request)
            return answer.get(timeout=timeout_s)
        except queue.Empty:
            raise DeviceFault("the engine does not answer") from None
        finally:
            self._asked.pop(request_id, None)

    def close(self, timeout_s: float = 2.0) -> int:
        """Close the line, wait for the engine and return its exit code, -1 if it was killed."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = -1
        self._reader.join(1.0)
        self._connection.close()
        self._crash_file.unlink(missing_ok=True)
        return code

    def _read(self) -> None:
        with contextlib.suppress(OSError), self._connection.makefile("rb") as lines:
            for line in lines:
                try:
                    reply = from_line(line)
                except EstimError:
                    continue  # half a line from an engine that was killed
                if isinstance(reply, Outcome):
                    waiting = self._asked.get(reply.request_id)
                    if waiting is not None:
                        waiting.put(reply)
                self._on_message(reply)  # type: ignore[arg-type]  # an engine sends replies alone
        self._on_end(self._why())

    def _why(self) -> str:
        """Say how the engine ended, with the last words of a crash."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "the engine closed its line"
        if code == 0:
            return "the engine has ended"
        words = ""
        with contextlib.suppress(OSError):
            words = self._crash_file.read_text(errors="replace")[-_CRASH_TEXT_MAX:].strip()
        last = words.splitlines()[-1] if words else ""
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"the engine died ({how}){': ' + last if last else ''}"
