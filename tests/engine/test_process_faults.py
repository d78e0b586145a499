"""Whatever happens to host, line or disk: output ends in time, it is recorded, nothing stays."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from tests.engine.desk_faults import ALL_CASES, give_slow_disk
from tests.engine.faults import CHECK_FAILED, try_case
from tests.engine.scene import Scene

SEED = int(os.environ.get("ESTIM_SEED", "0")) or int.from_bytes(os.urandom(4), "big")

QUICK = {"engine killed", "both stopped", "line silent", "SIGTERM", "disk full", "lead off"}


@pytest.mark.hazard(6, 7, 8, 14, 15, 34, 37)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.long]) for name in ALL_CASES],
)
def test_output_ends_in_time_and_the_record_is_closed_or_explained(
    name: str, tmp_path: Path
) -> None:
    print(f"ESTIM_SEED={SEED}")
    try_case(ALL_CASES[name], tmp_path, Random(f"{SEED} {name}"))


@pytest.mark.long
def test_on_a_disk_too_slow_to_keep_a_record_nothing_is_started(tmp_path: Path) -> None:
    """A start waits 250 ms for the record at most; here a sync takes 300 ms."""
    with Scene(tmp_path) as scene:
        scene.start_simulator()
        give_slow_disk(scene, "0.3")
        host = scene.start_host()
        assert host.end() == CHECK_FAILED
        assert b"the record is too slow: nothing was started" in host.complaints
        assert scene.last_current_us() == 0
