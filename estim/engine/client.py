"""The interface's end of an engine.

Rules:
1. The engine is a session of its own, so that a terminal's Ctrl-C and Ctrl-Z reach only the
   interface.
2. When this process ends, however it ends, the socket closes and the engine stops the output.
3. Nothing of the engine is left behind: `close` reaps it, and its last words are in a file without
   a name.
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
from typing import IO

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
        last_words: IO[bytes],
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._connection = connection
        self._on_message = on_message
        self._on_end = on_end
        self._last_words = last_words
        self._lock = threading.Lock()
        self._next_id = 1
        self._asked: dict[int, queue.SimpleQueue[Outcome | None]] = {}
        self._end = ""
        self._reader = threading.Thread(target=self._read, name="engine-reader", daemon=True)
        self._reader.start()

    @classmethod
    def spawn(
        cls, on_message: Callable[[Reply], None], on_end: Callable[[str], None]
    ) -> EngineClient:
        """Start an engine; `on_message` and `on_end` are called from a thread of the client's."""
        environment = dict(os.environ)
        checkout = str(Path(estim.__file__).resolve().parent.parent)
        # Absolute entries alone: a relative one would load what lies in the working folder.
        former = environment.get("PYTHONPATH", "").split(os.pathsep)
        paths = [checkout, *filter(os.path.isabs, former)]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        with contextlib.ExitStack() as on_failure:
            ours, theirs = socket.socketpair()
            on_failure.enter_context(ours)
            last_words = on_failure.enter_context(tempfile.TemporaryFile())
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "estim.engine", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=last_words,
                    start_new_session=True,
                    env=environment,
                )
            on_failure.pop_all()
        return cls(process, ours, on_message, on_end, last_words)

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
        answer: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._asked[request_id] = answer
        try:
            self.send(request)
            outcome = None if self._end else answer.get(timeout=timeout_s)
        except queue.Empty:
            raise DeviceFault("the engine does not answer") from None
        finally:
            self._asked.pop(request_id, None)
        if outcome is None:
            raise DeviceFault(self._end)
        return outcome

    def close(self, timeout_s: float = 2.0) -> int:
        """Close the line, wait for the engine and return its exit code, -N if signal N ended it.

        An engine that does not end in time is killed; closing twice does nothing.
        """
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join(1.0)
        self._connection.close()
        self._last_words.close()
        return code

    def _read(self) -> None:
        with contextlib.suppress(OSError), self._connection.makefile("rb") as lines:
            for line in lines:
                try:
                    reply = from_line(line)
                except EstimError:
                    continue  # half a line from an engine that was killed
                if isinstance(reply, Outcome) and reply.request_id in self._asked:
                    self._asked[reply.request_id].put(reply)
                self._on_message(reply)  # type: ignore[arg-type]  # an engine sends replies alone
        self._end = self._why()
        for waiting in list(self._asked.values()):
            waiting.put(None)
        self._on_end(self._end)

    def _why(self) -> str:
        """Say how the engine ended, with the last words of a crash."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "the engine closed its line"
        if code == 0:
            return "the engine has ended"
        words = ""
        with contextlib.suppress(OSError, ValueError):
            self._last_words.seek(0)
            words = self._last_words.read()[-_CRASH_TEXT_MAX:].decode(errors="replace").strip()
        last = words.splitlines()[-1] if words else ""
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"the engine died ({how}){': ' + last if last else ''}"
