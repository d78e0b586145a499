"""Let one test at a time use a device, whatever process it runs in.

Rules:
1. A lock belongs to a port, not to a spelling: links are followed, driver and options left out.
2. It ends with its process, however that ends; its file stays, and says who had it last.
3. The built-in simulator is a process for each session, and needs none.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from estim.clock import SystemClock
from estim.engine.viewers import claim, viewers_folder
from estim.errors import RigFault

SIMULATOR = "sim:"
_POLL_S = 0.02
_WORDS_MAX = 200


def port_of(url: str) -> str:
    """Return what a device URL opens; '' for the simulator."""
    if url.startswith(SIMULATOR):
        return ""
    address = url.partition(":")[2].partition("?")[0]
    return os.path.realpath(address) if address.startswith("/") else address


@contextmanager
def port_lock(url: str, timeout_s: float, who: str) -> Iterator[None]:
    """Hold a device for this process alone; `who` is told to those that wait in vain.

    Raises:
        RigFault: another process holds it for longer than the time-out.
    """
    port = port_of(url)
    if not port:
        yield
        return
    import fcntl  # not on every system

    folder = viewers_folder()
    claim(folder)
    name = hashlib.sha256(port.encode()).hexdigest()[:16]
    with open(folder / f"port-{name}.lock", "a+", encoding="utf-8") as file:
        until_us = SystemClock().now_us() + int(timeout_s * 1e6)
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if SystemClock().now_us() >= until_us:
                    raise RigFault(_busy(url, timeout_s, Path(file.name))) from None
                time.sleep(_POLL_S)
        file.truncate(0)
        file.write(f"process {os.getpid()}: {who}"[:_WORDS_MAX])
        file.flush()
        yield


def _busy(url: str, timeout_s: float, path: Path) -> str:
    try:
        owner = path.read_text("utf-8").strip()
    except OSError:
        owner = ""
    return f"{url}: in use for over {timeout_s:g} s by {owner or 'another process'}"
