"""Captures dropped into a folder: complete ones, the right one, none twice; a trace's plateau."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from estim.clock import SystemClock
from estim.prepare.session import prepare
from estim.profile.library import find
from estim.rig.jobs.steps import Step
from estim.rig.jobs.taking import CaptureFolder, cut_trace

NOBODY: frozenset[str] = frozenset()


def step(number: int = 1) -> Step:
    return Step(number, 500, find("dpn-conventional"), 1, 3000)


def drop(folder: Path, name: str, text: str = "x", age_s: float = 0.0) -> None:
    path = folder / name
    path.write_text(text)
    stamp = time.time() - age_s
    os.utime(path, (stamp, stamp))


@pytest.fixture
def folder(tmp_path: Path) -> CaptureFolder:
    return CaptureFolder(tmp_path / "captures", SystemClock())


def taken(
    folder: CaptureFolder, dropped: dict[str, float], *, used: frozenset[str] = NOBODY
) -> str:
    waiting = folder.begin(step(2))
    for name, age_s in dropped.items():
        drop(folder.folder, name, age_s=age_s)
    found = folder.wait(waiting, used, 0.2, str)
    return found.name if found else ""


@pytest.mark.parametrize(
    ("dropped", "expected"),
    [
        ({}, ""),
        ({"a.csv": 5, "b.csv": 1}, "b.csv"),
        ({"a.csv": 5, "s02.csv": 9, "b.csv": 1}, "s02.csv"),
        ({"s03.csv": 1}, ""),
        ({".hidden": 1}, ""),
    ],
)
def test_a_tag_wins_then_the_newest_and_another_steps_file_is_left_alone(
    folder: CaptureFolder, dropped: dict[str, float], expected: str
) -> None:
    assert taken(folder, dropped) == expected


def test_what_lay_there_before_or_was_used_is_not_taken_unless_it_changed(
    folder: CaptureFolder,
) -> None:
    folder.begin(step())
    drop(folder.folder, "old.csv", age_s=50)
    assert taken(folder, {}) == ""
    drop(folder.folder, "s02.csv", age_s=50)
    assert taken(folder, {}, used=frozenset({"s02.csv"})) == ""
    assert taken(folder, {"s02.csv": 1}, used=frozenset({"s02.csv"})) == "s02.csv"
    assert taken(folder, {"old.csv": 0}, used=frozenset({"old.csv", "s02.csv"})) == "old.csv"


def test_a_file_that_still_grows_is_not_taken(folder: CaptureFolder) -> None:
    waiting = folder.begin(step())
    path = folder.folder / "slow.csv"

    def write_slowly() -> None:
        for _ in range(5):
            with path.open("a") as file:
                file.write("row\n")
            time.sleep(0.15)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    found = folder.wait(waiting, NOBODY, 1.0, str)
    assert found == path
    assert path.read_text() == "row\n" * 5
    writer.join()


def test_waiting_ends_on_a_stop(folder: CaptureFolder) -> None:
    assert folder.wait(folder.begin(step()), NOBODY, 60, lambda: "interrupted") is None


def test_only_whole_pulses_of_the_plateau_and_the_channel_are_kept(tmp_path: Path) -> None:
    channel = prepare(find("dpn-conventional").profile, is_bench=True).program.channels[0]
    trace, cut = tmp_path / "t.csv", tmp_path / "cut.csv"
    rows = ["t_us,channel,current_ua,duration_us"]
    for onset_us in range(0, 1_000_000, 12_500):
        rows += [f"{onset_us},1,3000,200", f"{onset_us + 200},1,-3000,200"]
        rows += [f"{onset_us + 6000},2,3000,200", f"{onset_us + 6200},2,-3000,200"]
    trace.write_text("\n".join(rows) + "\n12")
    # 20 ms are left out at both ends: from 200 100 + 20 000 to before 800 000 - 20 000 - 400.
    cut_trace(trace, cut, channel, 1, (200_100, 800_000))
    kept = [line.split(",") for line in cut.read_text().splitlines()[1:]]
    assert [int(row[0]) for row in kept] == [
        onset + offset for onset in range(225_000, 779_600, 12_500) for offset in (0, 200)
    ]
    assert {row[1] for row in kept} == {"1"}


def test_pulses_of_a_carrier_are_told_apart_though_their_first_phases_have_no_row(
    tmp_path: Path,
) -> None:
    """4000 Hz in ten steps without silence, where the outer steps round to zero at first."""
    channel = prepare(find("interferential-premodulated").profile, is_bench=True).program.channels[
        0
    ]
    assert (channel.pulse_us(channel.unit_us), len(channel.phases)) == (250, 10)
    trace, cut = tmp_path / "t.csv", tmp_path / "cut.csv"
    rows = ["t_us,channel,current_ua,duration_us"]
    for index in range(1000):
        onset_us = 250 * index
        steps = (0, 100, 100, 100, 0) if index < 8 else (400, 800, 900, 800, 400)
        for place, current_ua in enumerate((*steps, *(-step for step in steps))):
            if current_ua:
                rows.append(f"{onset_us + 25 * place},1,{current_ua},25")
    trace.write_text("\n".join(rows) + "\n")
    cut_trace(trace, cut, channel, 1, (0, 200_000))
    kept = [line.split(",") for line in cut.read_text().splitlines()[1:]]
    assert int(kept[0][0]) == 20_000
    assert len(kept) % 10 == 0
    assert {row[2] for row in kept[::10]} == {"400"}
