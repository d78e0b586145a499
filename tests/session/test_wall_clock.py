"""Wall time stamps the record and decides nothing: not when it jumps by a year at every look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from estim.record.verify import verify
from estim.session import messages as msg
from estim.session.states import HostState
from firmware_protocol.messages import Message
from tests.session.bench import MS, Bench, S

YEAR = timedelta(days=365)


def _delivered(folder: Path, wall: Iterator[datetime], patch: pytest.MonkeyPatch) -> list[Message]:
    """Return everything that a device was sent in a session with a rise, a pause and a return."""
    folder.mkdir()
    bench = Bench(folder)
    patch.setattr(type(bench.clock), "wall", lambda clock: next(wall))
    bench.to(HostState.RUNNING).raise_to(5000, 3000)
    bench.run(2 * S)
    assert bench.settle(bench.ask(msg.Pause))
    bench.run(500 * MS)
    assert bench.settle(bench.ask(msg.Resume))
    bench.run(1 * S)
    assert bench.device.targets == [5000, 3000]
    assert bench.settle(bench.ask(msg.Stop, "enough"))
    assert bench.settle(bench.ask(msg.CloseVisit))
    return bench.device.received


@pytest.mark.hazard(36)
def test_a_wall_clock_that_jumps_at_every_look_changes_nothing_that_is_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)
    steady = _delivered(tmp_path / "steady", (day for _ in count()), monkeypatch)
    jumping = (day + YEAR * (-1) ** number for number in count())
    assert _delivered(tmp_path / "jumping", jumping, monkeypatch) == steady
    (record,) = (tmp_path / "jumping").rglob("*.jsonl")
    assert verify(record, None).findings == ()
