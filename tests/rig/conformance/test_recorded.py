"""One recording of an oscilloscope tells form, charge, amplitude and end of the output.

The simulator's own trace is turned into samples by arithmetic of its own, on a clock of its own.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from estim.clock import Clock, SystemClock, VirtualClock
from estim.rig.conformance.recording import Recorder
from estim.rig.conformance.requirement import Verdict
from estim.rig.conformance.suite import Report, Suite, chosen_requirements
from estim.rig.conformance.world import world_of
from estim.simulator.device import DeviceSettings
from tests.rig.conformance.broken import FAULTS
from tests.rig.conformance.ptys import BENCH, conformance, device
from tests.rig.conformance.stepped import START_US, SteppedLine

RATE_HZ = 200_000
SAMPLE_US = 1_000_000 // RATE_HZ
BENCH_OHM = 500
NOISE_V = 0.004  # 8 uA over the load
JUDGED = {"ID-01", "OUTPUT-01", "OUTPUT-02", "OUTPUT-03", "OUTPUT-04", "OUTPUT-05"}
LATER_US = 160_000
WALKED_US = 9_000_000
"""From being told to having started it."""


class Scope:
    """A person with an oscilloscope: started when told, saved when told."""

    def __init__(self, trace: Path, capture: Path, clock: Clock) -> None:
        self._trace, self._capture, self._clock = trace, capture, clock
        self.start_us, self.lasts_us = 0, 8_000_000
        self.has_times = False
        self.bend: Callable[[list[list[int]]], list[list[int]]] = lambda rows: rows
        self.late_us = WALKED_US
        self.said: list[str] = []

    def told(self, text: str) -> None:
        self.said.append(text)
        if text.startswith("Record the voltage"):
            self.start_us = self._clock.now_us() + self.late_us
        elif text.startswith(f"Save the recording as {self._capture}"):
            self._save()

    def _save(self) -> None:
        with self._trace.open(newline="") as stream:
            rows = [[int(text) for text in row] for row in list(csv.reader(stream))[1:]]
        count = self.lasts_us // SAMPLE_US
        volts = np.random.default_rng(3).normal(0.0, NOISE_V, count)
        for at_us, channel, current_ua, lasts_us in self.bend(rows):
            first = -((self.start_us - at_us) // SAMPLE_US)
            last = -((self.start_us - at_us - lasts_us) // SAMPLE_US)
            if channel == 1 and first >= 0:
                volts[first:last] += current_ua * BENCH_OHM / 1e6
        if self.has_times:  # 0 at a trigger of its own
            lines = ["Time (s),CH1 (V)"]
            lines += [f"{-3 + n / RATE_HZ:.6f},{volt:.5f}" for n, volt in enumerate(volts.tolist())]
        else:
            lines = [f"# Sample rate: {RATE_HZ} Hz", "CH1 (uV)"]
            lines += map(str, np.round(volts * 1e6).astype(np.int64).tolist())
        self._capture.write_text("\n".join(lines) + "\n")


def judged(folder: Path, prepare: Callable[[Scope], None] = lambda scope: None) -> Report:
    clock = VirtualClock(START_US)
    trace, capture = folder / "trace.csv", folder / "scope.csv"
    line = SteppedLine(clock, DeviceSettings(), trace)
    scope = Scope(trace, capture, clock)
    prepare(scope)
    suite = Suite(
        line, clock, world_of(line, None), url="stepped", bench_ohm=BENCH_OHM,
        recorder=Recorder(capture, BENCH_OHM, scope.told),
    )  # fmt: skip
    try:
        return suite.run(chosen_requirements(("OUTPUT",)), lambda *finding: None)
    finally:
        line.close()


def verdicts(report: Report, verdict: Verdict) -> dict[str, str]:
    return {
        each.requirement.id: f"{each.expected}; {each.seen}; {each.why}"
        for each in report.findings
        if each.verdict is verdict
    }


@pytest.mark.parametrize("has_times", [False, True])
def test_a_sound_device_passes_by_one_recording(has_times: bool, tmp_path: Path) -> None:
    def prepare(scope: Scope) -> None:
        scope.has_times = has_times

    report = judged(tmp_path, prepare)
    assert set(verdicts(report, Verdict.PASS)) == JUDGED, report.findings
    left = verdicts(report, Verdict.NOT_TESTABLE)
    assert set(left) == {f"OUTPUT-{number:02}" for number in range(6, 13)}
    assert all("on this computer's clock" in why for why in left.values())


def longer_second_phase(rows: list[list[int]]) -> list[list[int]]:
    return [[at, ch, ua, lasts + (ua < 0) * 20] for at, ch, ua, lasts in rows]


def weaker_second_phase(rows: list[list[int]]) -> list[list[int]]:
    return [[at, ch, ua * 9 // 10 if ua < 0 else ua, lasts] for at, ch, ua, lasts in rows]


def leads_swapped(rows: list[list[int]]) -> list[list[int]]:
    return [[at, ch, -ua, lasts] for at, ch, ua, lasts in rows]


def one_missing(rows: list[list[int]]) -> list[list[int]]:
    loud = next(n for n, row in enumerate(rows) if row[2] >= 2500)
    return rows[:loud] + rows[loud + 2 :]


def too_much(rows: list[list[int]]) -> list[list[int]]:
    return [[at, ch, ua * 112 // 100, lasts] for at, ch, ua, lasts in rows]


def played_on(rows: list[list[int]]) -> list[list[int]]:
    """Let the last pulses of each train come again, so that it ends later."""
    found: list[list[int]] = []
    for earlier, later in pairwise([*rows, [10**18, 1, 0, 0]]):
        found.append(earlier)
        if later[0] - earlier[0] > 500_000:
            tail = [row for row in found if earlier[0] - row[0] < LATER_US]
            found += [[at + LATER_US, *rest] for at, *rest in tail]
    return found


@pytest.mark.parametrize(
    ("bend", "found_by", "says"),
    [
        (longer_second_phase, "OUTPUT-01", "two phases of 200 us"),
        (weaker_second_phase, "OUTPUT-01", "no net charge"),
        (leads_swapped, "OUTPUT-01", "first positive, then negative"),
        (one_missing, "OUTPUT-02", "10000 us from onset to onset"),
        (too_much, "OUTPUT-03", "3000 uA, give or take 5 %"),
        (played_on, "OUTPUT-04", "zero within 20 ms (+100)"),
        (played_on, "OUTPUT-05", "zero within 350 ms"),
    ],
)
def test_what_the_pins_did_wrong_is_found(
    bend: Callable[[list[list[int]]], list[list[int]]], found_by: str, says: str, tmp_path: Path
) -> None:
    def prepare(scope: Scope) -> None:
        scope.bend = bend

    failed = verdicts(judged(tmp_path, prepare), Verdict.FAIL)
    assert found_by in failed
    assert says in failed[found_by]


@pytest.mark.parametrize(
    ("name", "found_by"),
    [("leaves_charge_behind", "OUTPUT-01"), ("lease_of_400_ms", "OUTPUT-05")],
)
def test_a_broken_device_is_found(
    name: str, found_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS[name].break_it(monkeypatch.setattr)
    assert found_by in verdicts(judged(tmp_path), Verdict.FAIL)


@pytest.mark.parametrize(
    ("late_us", "lasts_us", "says"),
    [
        (13_500_000, 4_000_000, "it began late, or the load is another"),
        (0, 9_000_000, "holds no pulse"),
        (WALKED_US, 3_000_000, "ends before"),
    ],
)
def test_a_recording_that_lacks_a_part_fails_nothing(
    late_us: int, lasts_us: int, says: str, tmp_path: Path
) -> None:
    def prepare(scope: Scope) -> None:
        scope.late_us, scope.lasts_us = late_us, lasts_us

    report = judged(tmp_path, prepare)
    assert verdicts(report, Verdict.FAIL) == {}
    assert says in " ".join(verdicts(report, Verdict.NOT_TESTABLE).values())


def test_a_recording_that_never_comes_fails_nothing(tmp_path: Path) -> None:
    def prepare(scope: Scope) -> None:
        scope.bend = lambda rows: []
        scope._save = lambda: None  # type: ignore[method-assign]

    report = judged(tmp_path, prepare)
    assert verdicts(report, Verdict.FAIL) == {}
    why = verdicts(report, Verdict.NOT_TESTABLE)
    assert "no recording was saved as" in why["OUTPUT-01"]
    assert "no recording was saved as" in why["OUTPUT-05"]


@pytest.mark.long
def test_the_command_says_what_to_record_and_judges_the_file(tmp_path: Path) -> None:
    trace, capture = tmp_path / "trace.csv", tmp_path / "scope.csv"
    scope = Scope(trace, capture, SystemClock())
    scope.late_us, scope.lasts_us = 0, 17_000_000
    with device("estim.simulator", f"--trace={trace}") as (_, path):
        process = conformance(
            *BENCH, "--device", f"native:{path}", "--only=OUTPUT", "--json",
            "--scope", str(capture),
        )  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            scope.told(line.removeprefix("estim: ").strip())
            if len(scope.said) == 2:
                break
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    _, *checks, result = [json.loads(line) for line in out.splitlines()]
    assert {check["id"] for check in checks if check["verdict"] == "pass"} == JUDGED
    assert result["is_at_zero"]
