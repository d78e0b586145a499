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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


def run() -> Iterable[dict[str, Any]]:
    """Measure; the figure to hold is 50 ms for the slowest of a thousand."""
    with tempfile.TemporaryDirectory() as folder:
        frames, keys, stops_us = _measure(Path(folder))
    firsts = [min(at_us for at_us in stops_us if at_us >= sent_us) for _, sent_us in keys]
    for what, began_us in (
        ("stop_key_to_wire", [due_us for due_us, _ in keys]),
        ("stop_request_to_wire", [sent_us for _, sent_us in keys]),
    ):
        delays_us = sorted(first - began for first, began in zip(firsts, began_us, strict=True))
        for name, permille in (("p50", 500), ("p99", 990), ("p99_9", 999)):
            yield {
                "name": f"{what}_{name}",
                "value": delays_us[min(TRIES - 1, TRIES * permille // 1000)] / 1000,
                "unit": "ms",
            }
    yield {
        "name": "stop_interface_drawing",
        "value": round(1e6 * len(frames) / (frames[-1] - frames[0]), 1),
        "unit": "frames/s",
    }


def _measure(folder: Path) -> tuple[list[int], list[tuple[int, int]], list[int]]:
    """Return when frames were drawn, keys pressed and sent on, and Stops seen, in us."""
    environment = dict(os.environ, PYTHONPATH=str(CHECKOUT), HOME=str(folder))
    with (
        _process(["-m", "estim.simulator"], environment) as device,
        _process(["-m", "tests.soak.wire_tap", _line(device)], environment) as tap,
    ):
        assert tap.stdout is not None
        told = tap.stdout
        address = json.loads(told.readline())["address"]
        seen: list[bytes] = []
        reader = threading.Thread(target=lambda: seen.extend(told), daemon=True)
        reader.start()
        client = EngineClient.spawn(lambda reply: None, lambda reason: None)
        try:
            connected = client.ask(msg.Connect(client.new_id(), f"native:{address}"))
            if not connected.is_done:
                raise RuntimeError(connected.reasons)
            frames, keys = _interface(client)
        finally:
            client.close()
            tap.kill()
            reader.join(2.0)
    return frames, keys, [json.loads(line)["stop_us"] for line in seen]


def _interface(client: EngineClient) -> tuple[list[int], list[tuple[int, int]]]:
    """Draw and take keys on one thread, as the terminal interface does."""
    random = Random(1)
    frames: list[int] = []
    keys: list[tuple[int, int]] = []
    next_frame_us = next_key_us = _now_us() + FRAME_US
    while len(keys) < TRIES:
        time.sleep(max(0, min(next_frame_us, next_key_us) - _now_us()) / 1e6)
        if _now_us() >= next_key_us:
            keys.append((next_key_us, _now_us()))
            client.send(msg.Stop(client.new_id()))
            next_key_us = _now_us() + QUIET_US + random.randrange(FRAME_US)
        if _now_us() >= next_frame_us:
            draw(len(frames))
            frames.append(_now_us())
            next_frame_us += FRAME_US
    time.sleep(2 * QUIET_US / 1e6)
    return frames, keys


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
