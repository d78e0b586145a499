"""Random keys on the real interface, for some seconds; `make monkey` plays for longer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.soak.monkey import Played, judge, play

pytestmark = pytest.mark.long


@pytest.mark.hazard(24)
def test_whatever_is_pressed_current_flows_only_as_it_was_read_back_and_armed(
    tmp_path: Path,
) -> None:
    played = play(tmp_path, seed=5, duration_s=3)
    assert played.broken == []
    assert played.pulses > 0
    assert played.keys > 10


def event(mono_ms: int, kind: str, /, **content: Any) -> dict[str, Any]:
    return {"mono_us": mono_ms * 1000, "kind": kind, "content": content}


READ_BACK = event(20, "annotation", kind="read_back", content={"ceilings_ua": [5000, 4000]})
AS_IT_SHOULD_BE = [
    event(10, "prepared"),
    READ_BACK,
    event(30, "arm_asked"),
    event(40, "start_asked"),
    event(5000, "state", **{"from": "running", "to": "ready"}),
    event(9000, "closed"),
]


@pytest.mark.parametrize(
    ("left_out", "row", "stops_ms", "words"),
    [
        (None, (1000, 1, 5000), [], ""),
        (None, (1000, 2, 4100), [], "above"),
        (None, (6000, 1, 500), [], "outside"),
        (None, (39, 1, 500), [], "outside"),
        (READ_BACK, (1000, 1, 500), [], "outside"),
        (AS_IT_SHOULD_BE[2], (1000, 1, 500), [], "outside"),
        (None, (3000, 1, 500), [2000], "after F12"),
        (None, (2400, 1, 500), [2000], ""),
    ],
)
def test_the_judge_finds_what_it_is_there_for(
    tmp_path: Path,
    left_out: object,
    row: tuple[int, int, int],
    stops_ms: list[int],
    words: str,
) -> None:
    events = [each for each in AS_IT_SHOULD_BE if each is not left_out]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    at_ms, channel, current_ua = row
    head = "t_us,channel,current_ua,duration_us\n"
    (tmp_path / "trace.csv").write_text(f"{head}{at_ms * 1000},{channel},-{current_ua},200\n")
    played = Played(0)
    judge(tmp_path, [each * 1000 for each in stops_ms], played)
    assert bool(played.broken) is bool(words)
    assert all(words in each for each in played.broken)
