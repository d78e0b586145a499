"""A latched fault: what happened, what to do, whom it points at, which key acknowledges it."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from estim.session.messages import Fault
from estim.tui import session_words, words


class FaultPanel(Static):
    """Show a fault while there is one."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._fault: Fault | None = None

    def show(self, fault: Fault | None) -> None:
        """Show a fault, or hide."""
        self.display = fault is not None
        if fault is None or fault == self._fault:
            self._fault = fault
            return
        self._fault = fault
        self.update(
            Content.assemble(
                (f"▲ FAULT: {words.safe(fault.text)}\n", "bold $error"),
                ("What to do  ", "dim"), f"{words.safe(fault.remedy)}\n",
                ("Suspect     ", "dim"), f"{session_words.BLAME_WORDS[fault.blame]}\n",
                (" k ", "bold reverse"),
                " acknowledges, where the cause is gone; nothing starts by itself",
            )
        )  # fmt: skip
