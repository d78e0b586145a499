"""On whom a device may be used: the engine refuses by itself, whatever an interface prepared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from estim.drivers.base import Use
from estim.session import messages as msg
from estim.session.states import HostState
from tests.session.bench import Bench, prepared
from tests.session.test_gate import ANSWERED, Visit, on_a_person


def on_a_person_with(folder: Path, use: Use, allows: bool) -> tuple[Visit, int]:
    visit = Visit(folder)
    visit.open_record(kind="clinical")
    visit.connect()
    visit.core.use = use
    visit.answer(*ANSWERED)
    program, bounds, settings = visit.prepare_request(on_a_person())
    settings = dataclasses.replace(settings, allows_research_device=allows)
    return visit, visit.ask(msg.Prepare, program, bounds, settings)


@pytest.mark.hazard(30)
@pytest.mark.parametrize(
    ("use", "allows", "words"),
    [
        (Use.BENCH, False, "for the bench alone, never for a person"),
        (Use.BENCH, True, "for the bench alone, never for a person"),
        (Use.RESEARCH, False, "allows_research_device"),
    ],
)
def test_a_device_that_is_not_for_people_is_not_loaded_for_one(
    tmp_path: Path, use: Use, allows: bool, words: str
) -> None:
    visit, asked = on_a_person_with(tmp_path, use, allows)
    assert not visit.settle(asked)
    assert words in visit.why(asked)
    assert visit.state is HostState.IDENTIFIED
    assert "prepared" not in visit.kinds()


@pytest.mark.parametrize(("use", "allows"), [(Use.RESEARCH, True), (Use.CLINICAL, False)])
def test_the_sites_policy_lets_a_research_device_be_used(
    tmp_path: Path, use: Use, allows: bool
) -> None:
    visit, asked = on_a_person_with(tmp_path, use, allows)
    assert visit.settle(asked)
    assert dict(visit.submitted)["prepared"]["allows_research_device"] is allows


@pytest.mark.parametrize("use", list(Use))
def test_on_the_bench_every_device_may_be_used(tmp_path: Path, use: Use) -> None:
    bench = Bench(tmp_path)
    bench.open_record()
    bench.connect()
    bench.core.use = use
    bench.prepare(prepared())
    assert bench.state is HostState.READY
