"""How long a stop key takes to the wire while the interface redraws 20 frames a second.

The time counts from the moment of the key, wherever in its work the interface is, to the last byte
of the Stop as read at the other end of the line by a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from estim.engine.client import EngineClient
from estim.session import messages as msg

TRIES = 1000
FRAME_US = 50_000
# A Stop is repeated twice, 30 ms apart; the next key comes after that, at any point of a frame.
QUIET_US = 80_000
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened when, in us.

    Attributes:
        frames: drawn by the interface.
        keys: pressed.
        requests: sent for each key, once the interface came to it.
        marks: written straight to the process that watches the line: the yardstick.
        marks_seen, stops_seen: as that process saw them.
    """

    frames: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    marks_seen: list[int] = field(default_factory=list)
    stops_seen: list[int] = field(default_factory=list)


def run() -> Iterable[dict[str, Any]]:
    """Measure; the figure to hold is 50 ms for the slowest of a thousand keys.

    The yardstick is one byte through a pipe to the process that watches the line, in the same run:
    what this machine takes to wake another process at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        seen = _measure(Path(folder))
    wake_us = _delays_us(seen.marks, seen.marks_seen)
    for what, delays_us in (
        ("stop_key_to_wire", _delays_us(seen.keys, seen.stops_seen)),
        ("stop_request_to_wire", _delays_us(seen.requests, seen.stops_seen)),
    ):
        for name, permille in (("p50", 500), ("p99", 990), ("p99_9", 999)):
            rank = min(TRIES - 1, TRIES * permille // 1000)
            yield {
                "name": f"{what}_{name}",
                "value": delays_us[rank] / 1000,
                "unit": "ms",
                "reference": wake_us[rank] / 1000,
            }
    frames = seen.frames
    yield {
        "name": "stop_interface_drawing",
        "value": round(1e6 * len(frames) / (frames[-1] - frames[0]), 1),
        "unit": "frames/s",
    }


def _delays_us(began_us: list[int], seen_us: list[int]) -> list[int]:
    """Return the time from each beginning to the first that was seen after it, sorted."""
    return sorted(seen_us[bisect_left(seen_us, at_us)] - at_us for at_us in began_us)


def _measure(folder: Path) -> Seen:
    seen = Seen()
    environment = dict(os.environ, PYTHONPATH=str(CHECKOUT), HOME=str(folder))
    with (
        _process(["-m", "estim.simulator"], environment) as device,
        _process(["-m", "tests.soak.wire_tap", _line(device)], environment) as tap,
    ):
        address = json.loads(_line(tap))["address"]
        reader = threading.Thread(target=_listen, args=(tap, seen), daemon=True)
        reader.start()
        client = EngineClient.spawn(lambda reply: None, lambda reason: None)
        try:
            connected = client.ask(msg.Connect(client.new_id(), f"native:{address}"))
            if not connected.is_done:
                raise RuntimeError(connected.reasons)
            _interface(client, tap, seen)
        finally:
            client.close()
            tap.kill()
            reader.join(2.0)
    return seen


def _listen(tap: subprocess.Popen[bytes], seen: Seen) -> None:
    assert tap.stdout is not None
    for line in tap.stdout:
        told = json.loads(line)
        if "stop_us" in told:
            seen.stops_seen.append(told["stop_us"])
        else:
            seen.marks_seen.append(told["mark_us"])


def _interface(client: EngineClient, tap: subprocess.Popen[bytes], seen: Seen) -> None:
    """Draw and take keys on one thread, as the terminal interface does."""
    assert tap.stdin is not None
    random = Random(1)
    frame_us = key_us = _now_us() + FRAME_US
    mark_us = key_us + QUIET_US // 2
    while len(seen.marks) < TRIES:
        time.sleep(max(0, min(frame_us, key_us, mark_us) - _now_us()) / 1e6)
        if _now_us() >= key_us:
            seen.keys.append(key_us)
            seen.requests.append(_now_us())
            client.send(msg.Stop(client.new_id()))
            mark_us = _now_us() + QUIET_US // 2
            key_us = _now_us() + QUIET_US + random.randrange(FRAME_US)
        if _now_us() >= mark_us:
            seen.marks.append(_now_us())
            os.write(tap.stdin.fileno(), b".")
            mark_us = key_us + QUIET_US // 2
        if _now_us() >= frame_us:
            draw(len(seen.frames))
            seen.frames.append(_now_us())
            frame_us += FRAME_US
    time.sleep(2 * QUIET_US / 1e6)


def draw(number: int) -> None:
    """Lay out a screen full of figures: some 10 ms of work."""
    table = Table(*(f"column {column}" for column in range(8)))
    for row in range(20):
        table.add_row(*(f"{number * row * column % 9973} mA" for column in range(8)))
    Console(file=StringIO(), width=120, force_terminal=True).print(table)


@contextmanager
def _process(
    arguments: list[str], environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python with arguments for a while."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        cwd=CHECKOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def _line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def _now_us() -> int:
    return time.monotonic_ns() // 1000
