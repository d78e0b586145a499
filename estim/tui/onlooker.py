"""Look on at engines: read what they publish, believe only what is fresh and well formed.

Rules:
1. Nothing is ever sent: each connection is shut for sending before anything is read.
2. What arrives is untrusted: only this user's sockets are opened, a line that is not exactly one
   plausible snapshot ends the connection, and every text in it is sanitised as it is taken in.
3. What is older than 500 ms by the engine's own stamp is not known, however it was delivered; nor
   is anything once the connection has ended, unless the visit was closed with output off.
4. No call here waits.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from collections import deque
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, cast

from estim.engine.viewers import claim, sockets
from estim.errors import UsageError
from estim.session.messages import LINE_MAX, Snapshot, from_line
from estim.session.states import HostState
from estim.text import sanitize
from estim.units import US_PER_S
from firmware_protocol.messages import CHANNELS_MAX

KNOWN_US = 500_000
DISCOVERY_US = 500_000
ENDED_SHOWN_US = 10 * US_PER_S
"""An engine that has gone is still told of for so long, then forgotten."""
HISTORY_US = 60 * US_PER_S
HISTORY_POINTS_MAX = 4096
SOURCES_MAX = 16
RECEIVE_MAX = LINE_MAX
CURRENT_MAX_UA = 1_000_000
NUMBER_MAX = 2**53
_MAY_BE_NONE = frozenset({"measured_ua", "status_age_ms", "latch_count"})
"""What a snapshot gives as -1 where there is none."""


class Source:
    """Hold one engine's socket and the newest that came through it.

    Attributes:
        path: the engine's socket.
        snapshot: the newest, with its texts sanitised; None until one has come.
        history: (at_us, largest current shown) of the last minute without a gap.
        ended: '' while connected; then why not any more, in words.
        ended_us: when that was.
    """

    def __init__(self, path: Path, connection: socket.socket) -> None:
        self.path = path
        self.snapshot: Snapshot | None = None
        self.history: deque[tuple[int, int]] = deque(maxlen=HISTORY_POINTS_MAX)
        self.ended = ""
        self.ended_us = 0
        self._connection = connection
        self._received = b""

    def is_known(self, now_us: int) -> bool:
        """Tell whether the newest snapshot may be shown as what is (rule 3)."""
        if self.snapshot is None:
            return False
        if self.snapshot.state is HostState.CLOSED:
            return True
        return not self.ended and 0 <= now_us - self.snapshot.at_us <= KNOWN_US

    def read(self, now_us: int) -> None:
        """Take in what has arrived, so much of it at most as one turn may cost."""
        if self.ended:
            return
        is_gone = False
        with contextlib.suppress(BlockingIOError):
            try:
                received = self._connection.recv(RECEIVE_MAX)
                is_gone = not received
                self._received += received
            except BlockingIOError:
                raise
            except OSError:
                is_gone = True
        *lines, self._received = self._received.split(b"\n")
        try:
            for line in lines:
                self._take(_snapshot(line))
            if len(self._received) > LINE_MAX:
                raise UsageError("a line without end")
        except UsageError:
            self._end("what the engine's socket sent makes no sense", now_us)
        if is_gone:
            is_closed = self.snapshot is not None and self.snapshot.state is HostState.CLOSED
            self._end("the visit was closed" if is_closed else "the engine has gone", now_us)
        elif not self.is_known(now_us):
            self.history.clear()

    def close(self) -> None:
        """Let go of the socket."""
        self._connection.close()

    def _take(self, snapshot: Snapshot) -> None:
        if self.snapshot is not None and snapshot.at_us < self.snapshot.at_us:
            raise UsageError("an engine's clock does not go back")
        self.snapshot = snapshot
        shown_ua = max((channel.shown_ua for channel in snapshot.channels), default=0)
        self.history.append((snapshot.at_us, shown_ua))
        while self.history[0][0] < snapshot.at_us - HISTORY_US:
            self.history.popleft()

    def _end(self, reason: str, now_us: int) -> None:
        self.close()
        if not self.ended:
            self.ended, self.ended_us = reason, now_us
        self.history.clear()


class Lookout:
    """Find the engines of this user and read them all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sources: dict[Path, Source] = {}
        self._looked_us = -DISCOVERY_US

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return every engine that is there, or was until a moment ago."""
        return tuple(self._sources[path] for path in sorted(self._sources))

    def look(self, now_us: int) -> None:
        """Read what has come; twice a second, see who else is there."""
        if now_us - self._looked_us >= DISCOVERY_US:
            self._looked_us = now_us
            self._discover()
        for path, source in list(self._sources.items()):
            source.read(now_us)
            if source.ended and now_us - source.ended_us > ENDED_SHOWN_US:
                del self._sources[path]

    def close(self) -> None:
        """Let go of every engine."""
        for source in self._sources.values():
            source.close()
        self._sources = {}

    def _discover(self) -> None:
        try:
            claim(self._folder)
            paths = sockets(self._folder)
        except OSError:  # not this user's, or not to be made: nobody to look at
            return
        for path in paths:
            known = self._sources.get(path)
            if (known is None and len(self._sources) < SOURCES_MAX) or (known and known.ended):
                connection = _connect(path)
                if connection is not None:
                    self._sources[path] = Source(path, connection)


def _connect(path: Path) -> socket.socket | None:
    """Return a connection that can only be read; None where nobody of this user's listens."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.setblocking(False)
        connection.connect(str(path))
        if not _is_own(connection):
            raise PermissionError(f"{path} is served by another user")
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        connection.close()
        return None
    return connection


def _is_own(connection: socket.socket) -> bool:
    if sys.platform != "linux":
        return True  # the folder is this user's alone
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    user: int = struct.unpack("3i", credentials)[1]
    return user == os.getuid()


def _snapshot(line: bytes) -> Snapshot:
    """Decode a line.

    Raises:
        UsageError: it is no snapshot, or not one that an engine could send.
    """
    if len(line) > LINE_MAX:
        raise UsageError("a line too long")
    message = from_line(line)
    if not isinstance(message, Snapshot):
        raise UsageError("only snapshots are published")
    if len(message.channels) > CHANNELS_MAX:
        raise UsageError("more channels than a device has")
    return cast(Snapshot, _checked(message))


def _checked(part: Any, name: str = "") -> Any:
    """Return a part of a snapshot with its texts sanitised; `name` is the field it stands in.

    Raises:
        UsageError: a number that no engine sends.
    """
    if isinstance(part, str) and not isinstance(part, Enum):
        return sanitize(part)
    if type(part) is int:
        highest = CURRENT_MAX_UA if name.endswith("_ua") else NUMBER_MAX
        if not -(name in _MAY_BE_NONE) <= part <= highest:
            raise UsageError(f"{name}: {part} is not plausible")
    if is_dataclass(part) and not isinstance(part, type):
        checked = {one.name: _checked(getattr(part, one.name), one.name) for one in fields(part)}
        return replace(part, **checked)
    if isinstance(part, tuple):
        return tuple(_checked(one, name) for one in part)
    if isinstance(part, dict):
        return {}  # what a device can do in detail is not shown, so it is not kept
    return part
