"""The terminal as proof: a beat counts once the sign that the strip drew has been flushed to it.

Rules:
1. A heartbeat is sent from the thread that writes, after `flush` returned: where no terminal takes
   the bytes, there is none.
2. Beats are counted from what was written, never from what was meant to be.
3. A signal, or a terminal that is gone, stops the output first; then the terminal is restored and
   the process ends, whatever the interface is doing.

Textual's own `write` only puts text into a queue, and blocks when that is full. It leaves SIGHUP
and SIGTERM at the system's defaults, which kill without a word, and with SIGHUP ignored it reads an
ended terminal at full speed for ever.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, cast

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from estim.tui.words import BEAT_SIGNS

if TYPE_CHECKING:
    from estim.tui.app import EstimApp

EXIT_INTERRUPTED = 130
WATCH_S = 0.1
LEAVE_S = 2.0
SUSPENDED = -1
ENDING_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)

_BEATS = re.compile(f"[{BEAT_SIGNS}]")
_RESTORE = (
    b"\x1b[<u\x1b[?1003l\x1b[?1000l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[?1049l\x1b[?25h\x1b[0m"
)


class BeatReportingFile:
    """Wrap the terminal's file: remember the newest beat written, and tell it once flushed."""

    def __init__(self, file: IO[str], on_beat: Callable[[int], None]) -> None:
        self._file = file
        self._on_beat = on_beat
        self._written = 0
        self._reported = 0

    def write(self, text: str) -> int:
        for sign in _BEATS.findall(text):
            # The next beat with this sign; the newest beat drawn once more is no new beat.
            self._written += (BEAT_SIGNS.index(sign) - self._written) % len(BEAT_SIGNS)
        return self._file.write(text)

    def flush(self) -> None:
        self._file.flush()
        if self._written != self._reported:
            self._reported = self._written
            self._on_beat(self._reported)

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()


class BeatDriver(LinuxDriver):
    """Textual's driver, writing through a `BeatReportingFile`; stops before it is suspended."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        assert sys.__stderr__ is not None
        on_beat = cast("EstimApp", app).beat_flushed
        # Textual declares its default's type; all it does is write, flush and ask for the number.
        self._file = BeatReportingFile(sys.__stderr__, on_beat)  # type: ignore[assignment]

    def _sigtstp_application(self, *_: Any) -> None:
        cast("EstimApp", self._app).before_suspension()
        super()._sigtstp_application()


class Guard:
    """Watch for signals and for the end of the terminal, in a thread that no drawing can hold up.

    Args:
        stop: sends Stop; called in the guard's thread.
        leave: asks the interface to end with an exit code; called in the guard's thread.
        fileno: the terminal to watch.
    """

    def __init__(
        self, stop: Callable[[str], None], leave: Callable[[int], None], fileno: int
    ) -> None:
        self._stop = stop
        self._leave = leave
        self._fileno = fileno
        self._posted: SimpleQueue[int] = SimpleQueue()
        self._is_over = threading.Event()
        self._attributes = _attributes(fileno)
        self._thread = threading.Thread(target=self._watch, name="estim-guard", daemon=True)

    def start(self) -> None:
        """Take over the signals that end a terminal program, and begin to watch."""
        for number in ENDING_SIGNALS:
            signal.signal(number, self._on_signal)
        self._thread.start()

    def end(self) -> None:
        """Stop watching; the interface has ended by itself."""
        self._is_over.set()
        self._posted.put(0)
        self._thread.join(LEAVE_S)

    def post_stop(self) -> None:
        """Have Stop sent; for signal handlers, since `SimpleQueue.put` may be re-entered."""
        self._posted.put(SUSPENDED)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._posted.put(number)

    def _watch(self) -> None:
        while not self._is_over.is_set():
            try:
                number = self._posted.get(timeout=WATCH_S)
            except Empty:
                number = 0
            if number == SUSPENDED:
                self._stop("suspended")
            elif number:
                self._end_process(signal.Signals(number).name)
            elif self._is_gone():
                self._end_process("the terminal is gone")

    def _is_gone(self) -> bool:
        """Tell whether the terminal was hung up."""
        poller = select.poll()
        poller.register(self._fileno, 0)
        return bool(poller.poll(0))

    def _end_process(self, reason: str) -> None:
        self._stop(reason)
        self._leave(EXIT_INTERRUPTED)
        if self._is_gone() or not self._is_over.wait(LEAVE_S):
            self._restore()
            os._exit(EXIT_INTERRUPTED)

    def _restore(self) -> None:
        """Put the terminal back as well as can be, without waiting for it."""
        import termios

        assert sys.__stderr__ is not None
        output = sys.__stderr__.fileno()
        try:
            if self._attributes is not None:
                termios.tcsetattr(self._fileno, termios.TCSANOW, self._attributes)
            os.set_blocking(output, False)
            os.write(output, _RESTORE)
        except (OSError, termios.error):
            pass
        finally:
            # Whoever shares this terminal, as the shell does, expects it to block.
            os.set_blocking(output, True)


def _attributes(fileno: int) -> list[Any] | None:
    import termios

    try:
        return termios.tcgetattr(fileno)
    except termios.error:
        return None
