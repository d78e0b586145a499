"""Stimulators in labgrid: one job per device, and a place that is lost ends its output."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.faults import ZERO_AFTER_DEATH_US, ZERO_AFTER_FREEZE_US
from tests.engine.scene import judge_record, now_us, wait_for
from tests.labgrid.grid import Grid, settle

pytest.importorskip("labgrid", reason="labgrid is not here: `make test-labgrid` has it")

pytestmark = pytest.mark.long  # whole processes in real time

NO_DEVICE = 3


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    with Grid(tmp_path) as grid:
        yield grid


def test_two_jobs_drive_two_places_at_once(grid: Grid) -> None:
    jobs = [grid.start_job(place, duration_s=1) for place in ("stim-1", "stim-2")]
    assert [job.read_line() for job in jobs] == ["armed DUT-1", "armed DUT-2"]
    assert grid.holder("stim-1") == grid.holder("stim-2") == "bench/tester"
    for job in jobs:
        state, plateau_ms, fault = job.read_line().split()
        assert (state, fault) == ("ready", "-")
        assert 1000 <= int(plateau_ms) < 1300
        assert job.end() == 0
    assert grid.holder("stim-1") == grid.holder("stim-2") == ""
    assert "estim" not in grid.client("-p", "stim-1", "show")
    for scene in grid.scenes:
        assert {row[1] for row in scene.rows()} == {1}


def test_a_second_job_is_refused_and_disturbs_nothing(grid: Grid) -> None:
    first = grid.start_job("stim-1", ttl_s=6)
    assert first.read_line() == "armed DUT-1"
    grid.scenes[0].wait_for_current()
    second = grid.start_job("stim-1", ttl_s=2)
    words = second.read_line(60.0)
    assert words == f"failed rig place stim-1: it is held by bench/tester/{first.process.pid}"
    assert second.end() == NO_DEVICE
    at_us = now_us()
    wait_for(lambda: grid.scenes[0].last_current_us() > at_us, 3.0, "current of the first job")


def test_a_place_acquired_by_hand_is_never_taken(grid: Grid) -> None:
    grid.client("-p", "stim-1", "acquire")
    job = grid.start_job("stim-1", ttl_s=1)
    assert job.read_line() == "failed rig place stim-1: it is acquired by bench/tester"
    assert job.end() == NO_DEVICE
    assert grid.holder("stim-1") == "bench/tester"


def test_a_job_that_is_killed_lets_its_place_go_after_its_output(grid: Grid) -> None:
    job = grid.start_job("stim-1")
    assert job.read_line() == "armed DUT-1"
    grid.scenes[0].wait_for_current()
    struck_us = now_us()
    os.kill(job.process.pid, signal.SIGKILL)
    wait_for(lambda: not grid.holder("stim-1"), 10.0, "release of the place")
    released_us = now_us()
    zero_us = grid.scenes[0].last_current_us()
    assert zero_us - struck_us <= ZERO_AFTER_DEATH_US
    assert zero_us < released_us
    again = grid.start_job("stim-1", duration_s=1)
    assert again.read_line() == "armed DUT-1"
    assert again.read_line().startswith("ready ")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("release", "it was released"),
        ("exporter", "its exporter rig-a no longer offers stim-1/NetworkSerialPort"),
        ("coordinator", "the coordinator is gone"),
        ("keeper", "its keeper has died"),
    ],
)
def test_losing_the_place_stops_the_output_and_aborts_the_run(
    grid: Grid, what: str, words: str
) -> None:
    scene = grid.scenes[0]
    job = grid.start_job("stim-1")
    assert job.read_line() == "armed DUT-1"
    scene.wait_for_current()
    struck_us = now_us()
    if what == "release":
        grid.client("-p", "stim-1", "release", "--kick")
        struck_us = now_us()
    elif what == "keeper":
        os.kill(job.keeper_pid(), signal.SIGKILL)
    else:
        grid.end(what)
    assert job.read_line() == f"failed rig place stim-1: {words}; the output is stopped"
    assert job.end() == NO_DEVICE
    ended_us = scene.last_current_us()
    assert ended_us - struck_us <= ZERO_AFTER_FREEZE_US
    settle()
    assert scene.last_current_us() == ended_us
    (record,) = (grid.folder / "records").glob("*.jsonl")
    scene.records = record.parent
    assert judge_record(record, scene_key(grid)).was_sealed
    assert any(words in str(event) for event in scene.events())


def test_a_place_whose_keeper_died_is_taken_after_its_time_to_live(grid: Grid) -> None:
    job = grid.start_job("stim-1", ttl_s=3)
    assert job.read_line() == "armed DUT-1"
    os.kill(job.keeper_pid(), signal.SIGKILL)
    assert job.read_line().startswith("failed rig")
    job.end()
    assert grid.holder("stim-1") == "bench/tester"
    began_us = now_us()
    again = grid.start_job("stim-1", duration_s=1)
    assert again.read_line(60.0) == "armed DUT-1"
    assert now_us() - began_us >= 3_000_000
    assert again.read_line().startswith("ready ")


def scene_key(grid: Grid) -> bytes:
    """Return the station key: every process here has the first scene's home."""
    return grid.scenes[0].key()
