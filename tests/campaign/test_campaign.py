"""A handful of seeds, and every script that is kept; `make campaign` runs the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.campaign import run_script
from tests.campaign.devices import Cores
from tests.campaign.faults import make_script
from tests.campaign.script import on_other_core, parse, read
from tests.firmware.core import NO_COMPILER, compiler

pytestmark = pytest.mark.long  # builds the core

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cores]:
    if compiler() is None:
        pytest.skip(NO_COMPILER)
    folder = tmp_path_factory.mktemp("core")
    Cores.build(folder)
    made = Cores(folder)
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(1, 5))
def test_every_promise_holds_under_the_faults_of_a_seed(cores: Cores, seed: int) -> None:
    assert run_script(make_script(seed), cores).violations == []


def test_the_same_seed_gives_the_same_bytes_whichever_core_plays_it(cores: Cores) -> None:
    """S8: output, both ends' bytes, displays, answers and records."""
    script = make_script(1)
    first = run_script(script, cores)
    assert run_script(script, cores).digest == first.digest
    assert run_script(on_other_core(script), cores).digest == first.digest
    assert make_script(1) == script == parse(script.text())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_what_once_failed_does_so_no_more(cores: Cores, path: Path) -> None:
    assert run_script(read(path), cores).violations == []
