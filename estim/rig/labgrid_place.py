"""Hold a place of labgrid's for as long as this job lives, and learn when it is lost.

A process of its own keeps it (`estim.rig.labgrid_keeper`), so that nothing of the job's holds the
renewal up and the job's death, whatever its kind, lets the place go.

Rules:
1. Who lost the place, its keeper or the coordinator has lost the device: there is no grace.
2. The place is let go only once output has certainly ended: the keeper waits out the lease first.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from types import TracebackType

from estim.clock import SystemClock
from estim.errors import PortLost

TTL_S = 30
HELD, LOST, REFUSED, WAITING = "held", "lost", "refused", "waiting"
_START_S = 20.0
_END_S = 10.0


class PlaceLost(PortLost):
    """The place was not to be had, or it has been lost; the rig's fault, never the device's."""

    blame = "rig"


class PlaceHold:
    """Hold a place from now until `close`, or only watch over one that was acquired before."""

    def __init__(
        self,
        place: str,
        *,
        coordinator: str = "",
        ttl_s: int = TTL_S,
        is_acquiring: bool = True,
    ) -> None:
        """Take the place.

        Args:
            place: its name.
            coordinator: HOST:PORT; from LG_COORDINATOR, or labgrid's default, where empty.
            ttl_s: after so long without a sign of life of the keeper another job may take it.
            is_acquiring: False where this user has acquired it already, and goes on holding it.

        Raises:
            PlaceLost: somebody else holds it, there is none, or there is no coordinator.
        """
        self.place = place
        self._said = b""
        self._lost = ""
        command = [sys.executable, "-m", "estim.rig.labgrid_keeper", place, str(ttl_s)]
        command += [coordinator or os.environ.get("LG_COORDINATOR", "127.0.0.1:20408")]
        command += [] if is_acquiring else ["--watch"]
        self._keeper = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        try:
            self._await_place()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PlaceHold:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def lost(self) -> str:
        """Return why the place is lost, '' while it is held; does not wait."""
        if not self._lost:
            self._read(0.0)
            self._lost = self._word_after(LOST)
        return self._lost

    def close(self) -> None:
        """Let the place go; closing twice does nothing."""
        if self._keeper.stdin is None or self._keeper.stdin.closed:
            return
        self._keeper.stdin.close()
        try:
            self._keeper.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        if self._keeper.stdout is not None:
            self._keeper.stdout.close()

    def _await_place(self) -> None:
        clock = SystemClock()
        began_us = clock.now_us()
        while f"{HELD}\n".encode() not in self._said:
            # A place whose keeper may have died is waited for as long as that one said.
            within_s = _START_S + int(self._word_after(WAITING) or 0)
            left_s = within_s - (clock.now_us() - began_us) / 1e6
            refusal = self._word_after(REFUSED) or self._word_after(LOST)
            if refusal or left_s <= 0:
                raise PlaceLost(f"place {self.place}: {refusal or 'the coordinator is silent'}")
            self._read(left_s)

    def _read(self, timeout_s: float) -> None:
        stream = self._keeper.stdout
        if stream is None or stream.closed:
            self._said += f"{LOST} it was let go\n".encode()
        elif select.select([stream], [], [], timeout_s)[0]:
            received = os.read(stream.fileno(), 4096)
            self._said += received or f"{LOST} its keeper has died\n".encode()

    def _word_after(self, word: str) -> str:
        for line in self._said.decode(errors="replace").splitlines():
            if line.startswith(f"{word} "):
                return line.removeprefix(f"{word} ")
        return ""
