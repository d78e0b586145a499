"""A job of the rig under the interface: in a thread, with its progress, questions and stop.

Rules:
1. `stop` sends Stop at once, from any thread, and has the job end; nothing goes on after it.
2. While a job runs, its device's state is what the strip shows, never the session's that waits.
3. A display that stands still ends a job as it ends a session.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import Any

from estim import api
from estim.clock import SystemClock
from estim.rig.jobs.delivery import Interrupted
from estim.session import messages
from estim.session.states import ENERGISED, HostState
from estim.text import sanitize
from estim.tui.widgets.strip import StripState

KNOWN_US = 500_000
FROZEN_US = 1_000_000
"""Longer than a session's: measuring in the same process may hold the display up for a while."""
LOOK_S = 0.1
LINES_KEPT = 500

Ask = Callable[[str, Sequence[str]], None]


class BenchJob:
    """One run of a job; also the desk that it asks at.

    Args:
        ask: shows a question and its choices; called in the job's thread, answered by `answer`.
        is_virtual: whether it steps a virtual clock; nothing real flows then.
    """

    is_attended = True

    def __init__(self, ask: Ask, *, is_virtual: bool) -> None:
        self.lines: list[str] = []
        self.steps: list[dict[str, Any]] = []
        self._ask = ask
        self._is_virtual = is_virtual
        self._clock = SystemClock()
        self._shown_us = self._clock.now_us()
        self._stimulator: api.Stimulator | None = None
        self._stop_reason = ""
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._end_process: Callable[[], None] | None = None

    # In the interface's thread, or any.

    def stop(self, reason: str) -> None:
        """Stop the output and end the job (rule 1)."""
        self._stop_reason = self._stop_reason or reason
        if self._end_process is not None:
            self._end_process()
        stimulator = self._stimulator
        if stimulator is not None and not self._is_virtual:
            engine = stimulator.engine
            engine.send(messages.Stop(engine.new_id(), reason))

    def answer(self, word: str) -> None:
        """Answer the question that was asked."""
        self._answers.put(word)

    def strip_state(self, beat: int) -> StripState:
        """Return what the strip shows of the device that the job drives."""
        self._shown_us = self._clock.now_us()
        if self._end_process is not None:
            return StripState(beat=beat, driven_by="CONFORMANCE")
        shown = self._stimulator.snapshot if self._stimulator is not None else None
        if shown is None:
            return StripState(beat=beat)
        is_at_rest = shown.state in (HostState.CLOSED, HostState.DISCONNECTED)
        is_fresh = self._clock.now_us() - shown.at_us <= KNOWN_US and shown.is_known
        return StripState(shown, self._is_virtual or is_at_rest or is_fresh, beat)

    # In the job's thread.

    def opened(self, stimulator: api.Stimulator) -> None:
        """Take note of whom the job drives now."""
        self._stimulator = stimulator

    def driven_by_process(self, end: Callable[[], None] | None) -> None:
        """Take note of a process that drives the device, and of what ends it; None once it has."""
        self._end_process = end
        if end is not None and self._stop_reason:
            end()

    def stop_reason(self) -> str:
        """Return why to end, '' for not (rule 3)."""
        shown = self._stimulator.snapshot if self._stimulator is not None else None
        is_energised = shown is not None and shown.state in ENERGISED and not self._is_virtual
        is_energised = is_energised or self._end_process is not None
        if is_energised and self._clock.now_us() - self._shown_us > FROZEN_US:
            self._stop_reason = self._stop_reason or "the display stood still"
        return self._stop_reason

    def say(self, text: str) -> None:
        """Say one line."""
        self.lines.append(sanitize(text))
        del self.lines[:-LINES_KEPT]

    def tell(self, event: str, **fields: Any) -> None:
        """Take what programs are told: the steps are listed from it."""
        if event == "step":
            self.steps.append(fields)

    def ask(self, name: str, question: str, choices: Sequence[str] = ()) -> str:
        """Ask a person and wait; see `Desk`."""
        while not self._answers.empty():
            self._answers.get()
        self._ask(question, choices)
        while not self.stop_reason():
            try:
                return self._answers.get(timeout=LOOK_S)
            except queue.Empty:
                continue
        raise Interrupted
