"""What reaches the load is what the TOML says, worked out from its keys: every pulse of a run."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path

import pytest

from firmware_protocol.messages import DeviceState
from tests.cli.commands import CHECKOUT, Shell
from tests.cli.test_run import BENCH, rows
from tests.unit.toml_arithmetic import Held, Onset, delivered, schedule

Played = list[tuple[Onset, list[tuple[int, int, int]]]]
"""Each pulse of the schedule with its rows: start since the onset, current, duration."""


def running_since_us(record: Path) -> int:
    """Return when the device says that it began RUNNING."""
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    (tick_ms,) = (
        line["content"]["tick_ms"]
        for line in lines
        if line["kind"] == "device_event"
        and line["content"]["code"] == "state_changed"
        and line["content"]["detail"] == DeviceState.RUNNING
    )
    return int(tick_ms) * 1000


def explained(trace: list[tuple[int, int, int, int]], onsets: list[Onset], start_us: int) -> Played:
    """Return the rows by pulse, RUNNING having begun at `start_us`; each must be a phase of one."""
    pulses = iter(onsets)
    played: Played = []
    pulse = next(pulses)
    for t_us, _, current_ua, duration_us in trace:
        while t_us - start_us > pulse.at_us + max(flowing(pulse.held)):
            pulse = next(pulses)
        since_us = t_us - start_us - pulse.at_us
        assert flowing(pulse.held).get(since_us) == (duration_us, current_ua > 0), (t_us, pulse)
        if not played or played[-1][0] is not pulse:
            played.append((pulse, []))
        played[-1][1].append((since_us, current_ua, duration_us))
    return played


@cache
def flowing(held: Held) -> dict[int, tuple[int, bool]]:
    """Return duration and direction of each phase with current, by its start since the onset."""
    durations_us = [us for us, _ in held.phases]
    return {
        sum(durations_us[:index]): (us, share > 0)
        for index, (us, share) in enumerate(held.phases)
        if share
    }


def longest_span(played: Played, target_ua: int) -> tuple[int, int, int]:
    """Return length, first and last onset of the longest time with every pulse at the target."""
    best, first_us = (0, 0, 0), None
    for onset, flows in played:
        if tuple(flows) != delivered(onset.held, int(target_ua * onset.ramp)):
            first_us = None
            continue
        first_us = onset.at_us if first_us is None else first_us
        best = max(best, (onset.at_us - first_us, first_us, onset.at_us))
    return best


@pytest.mark.hazard(18)
@pytest.mark.parametrize(
    ("profile_id", "amplitude_ma", "duration_s"),
    [
        ("tens-strength-duration", 5, 7),
        ("tens-width-modulated", 6, 3),
        ("calf-randomised", 2, 15),
        ("fes-drop-foot", 6, 10),
        ("microcurrent-balanced", 0.8, 3),
        ("interferential-premodulated", 1.5, 1),
    ],
)
def test_every_pulse_of_the_trace_is_the_one_that_the_toml_says(
    estim: Shell, tmp_path: Path, profile_id: str, amplitude_ma: float, duration_s: int
) -> None:
    stimulus = tomllib.loads((CHECKOUT / f"profiles/{profile_id}.toml").read_text())["stimulus"]
    trace, target_ua = tmp_path / "t.csv", round(amplitude_ma * 1000)
    answer = estim(
        "run", profile_id, *BENCH, "--amplitude", f"1={amplitude_ma}", "--duration",
        str(duration_s), "--json", "--trace", trace, "--records", tmp_path / "records",
    )  # fmt: skip
    assert answer.code == 0
    table = rows(trace)
    onsets = list(schedule(stimulus, 0, 0, table[-1][0]))
    played = explained(table, onsets, running_since_us(Path(answer.objects[-1]["record"])))
    span_us, first_us, last_us = longest_span(played, target_ua)
    assert answer.objects[-1]["pulses"]["1"] == len(played)
    assert all(sum(current * us for _, current, us in flows) == 0 for _, flows in played)
    assert max(abs(current) for _, _, current, _ in table) == target_ua
    # At the target for as long as was asked, but for an off time at either end.
    off_us = round(2 * stimulus.get("cycle", {}).get("off_s", 0) * 1_000_000)
    assert span_us >= duration_s * 1_000_000 - off_us
    due = [
        onset for onset in onsets
        if first_us <= onset.at_us <= last_us and delivered(onset.held, int(target_ua * onset.ramp))
    ]  # fmt: skip
    there = [onset for onset, _ in played if first_us <= onset.at_us <= last_us]
    assert there == due
    assert {onset.held for onset in there} == {onset.held for onset in onsets}
