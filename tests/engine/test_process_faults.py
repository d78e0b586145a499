"""Whatever happens to host, line or disk: output ends in time, it is recorded, nothing stays."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from tests.engine.faults import CASES, try_case

SEED = int(os.environ.get("ESTIM_SEED", "0")) or int.from_bytes(os.urandom(4), "big")

QUICK = {"engine killed", "both stopped", "line silent", "SIGTERM", "disk full", "lead off"}


@pytest.mark.hazard(6, 7, 8, 37)
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in CASES],
)
def test_output_ends_in_time_and_the_record_is_closed_or_explained(
    name: str, tmp_path: Path
) -> None:
    print(f"ESTIM_SEED={SEED}")
    try_case(CASES[name], tmp_path, Random(f"{SEED} {name}"))
