"""The device's trigger in its trace, and what is measured by it.

fes-drop-foot: 30 Hz, 2 x 400 us; ramp up 0.5 s, plateau 1.5 s, ramp down 0.5 s, off 2.5 s: 5 s in
all, 2.5 s of it on. Here at 10 mA.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from estim.errors import UsageError
from estim.rig.captures.capture import ReadOptions
from estim.rig.jobs.taking import cut_trace
from estim.rig.measuring.measurement import Result, Settings, measure
from tests.cli.commands import Shell
from tests.rig.generator import Pulse, noise, sampled, write_csv
from tests.rig.test_measurement import expected_of

HEADER = "t_us,channel,current_ua,duration_us"
PERIOD_US = 33_333
CYCLE_US, ON_US, RAMP_US = 5_000_000, 2_500_000, 500_000
GRID_UA = 100
PLATEAU_FROM_US, PLATEAU_TO_US = 600_000, 1_900_000


def row(at_us: int, current_ua: int, duration_us: int) -> str:
    return f"{at_us},1,{current_ua},{duration_us}"


def pulse(at_us: int, ua: int) -> list[str]:
    return [row(at_us, ua, 400), row(at_us + 400, -ua, 400)] if ua else []


def cycles(count: int, first_us: int = 1_000_000, late_us: int = 0) -> list[str]:
    """Return whole on-phases, each a while after its trigger, on a grid of 0.1 mA."""
    rows: list[str] = []
    for number in range(count):
        trigger_us = first_us + number * CYCLE_US
        rows.append(row(trigger_us, 0, 0))
        for since_us in range(0, ON_US - 800, PERIOD_US):
            ramp_us = min(RAMP_US, since_us, ON_US - since_us)
            ua = 10_000 * ramp_us // RAMP_US // GRID_UA * GRID_UA
            rows += pulse(trigger_us + late_us + since_us, ua)
    return rows


def plateau() -> list[str]:
    """Return a trigger at 1 s, and what lies on the plateau that it began."""
    onsets = range(1_000_000 + PLATEAU_FROM_US, 1_000_000 + PLATEAU_TO_US, PERIOD_US)
    return [row(1_000_000, 0, 0), *(line for at_us in onsets for line in pulse(at_us, 10_000))]


def written(folder: Path, rows: list[str], *, with_trigger: bool = True) -> Path:
    path = folder / f"trace-{with_trigger}.csv"
    kept = [line for line in rows if with_trigger or not line.endswith(",0,0")]
    path.write_text("\n".join([HEADER, *kept]) + "\n")
    return path


def measured(path: Path, **read: float) -> Result:
    return measure(path, expected_of("fes-drop-foot", 10_000), Settings(ReadOptions(**read)))  # type: ignore[arg-type]


# In a capture.


def test_a_plateau_alone_has_its_place_by_the_trigger(tmp_path: Path) -> None:
    """The first pulse comes 0.6 s after the trigger; without that nobody could tell."""
    unknown = "only a plateau is captured: where in the on/off cycle it lies is unknown"
    without = measured(written(tmp_path, plateau(), with_trigger=False))
    assert unknown in without.unknowns
    assert not any("trigger" in note for note in without.notes)
    result = measured(written(tmp_path, plateau()))
    assert unknown not in result.unknowns
    assert "the capture begins 0.600 s into the on/off cycle, by the device's trigger" in (
        result.notes
    )
    assert result.verdict == "pass"
    assert result.check("after_trigger").measured == 0
    # A trigger is no pulse, and no time of the capture: 40 pulses, the last at 39 x 33.333 ms.
    assert result.pulse_count == 40
    assert result.capture.duration_s == pytest.approx(1.299987 + 0.0008)
    assert result.capture.triggers_s == (1.0,)


def test_output_that_comes_400_ms_after_its_trigger_fails(tmp_path: Path) -> None:
    """The pulses that are due from 2.1 s on come in the off time, 11 of 74; one is too near it."""
    rows = cycles(3, late_us=400_000)
    assert measured(written(tmp_path, rows, with_trigger=False)).verdict == "pass"
    result = measured(written(tmp_path, rows))
    assert result.verdict == "fail"
    check = result.check("after_trigger")
    assert check.verdict == "fail"
    assert check.measured == pytest.approx(100 * 11 / 73)


@pytest.mark.long
def test_output_that_follows_its_trigger_passes(tmp_path: Path) -> None:
    result = measured(written(tmp_path, cycles(3)))
    assert result.verdict == "pass"
    assert result.check("after_trigger").measured == 0


@pytest.mark.long
def test_a_trigger_is_said_where_the_file_has_none(tmp_path: Path) -> None:
    """An instrument's file begins 0.6 s after the trigger: at -0.6 s on its own axis."""
    onsets_s = [n * PERIOD_US / 1e6 for n in range(39)]
    pulses = [Pulse(at_s + 1e-5, ((10, 400), (-10, 400))) for at_s in onsets_s]
    samples = sampled(pulses, 1.3, 100_000)
    path = write_csv(tmp_path / "scope.csv", samples + noise(len(samples), 0.02), 100_000)
    assert any("only a plateau" in text for text in measured(path).unknowns)
    result = measured(path, trigger_s=-0.6)
    assert not any("only a plateau" in text for text in result.unknowns)
    assert "the capture begins 0.600 s into the on/off cycle, by the device's trigger" in (
        result.notes
    )
    # 1.7 s after its trigger a plateau is over by 0.4 s when 1.3 s of it have been captured.
    late = measured(path, trigger_s=-1.7)
    assert late.check("after_trigger").verdict == "fail"


@pytest.mark.parametrize("damaged", ["5,1,0,5", "5,1,5,0", "5,0,0,0"])
def test_half_a_trigger_is_damage(tmp_path: Path, damaged: str) -> None:
    path = written(tmp_path, [*plateau(), damaged])
    with pytest.raises(UsageError, match=f"'{damaged}'"):
        measured(path)


def test_a_cut_keeps_the_triggers_before_it(tmp_path: Path) -> None:
    """Of three cycles the second plateau, 6.5 to 7.9 s: the triggers of 1 s and 6 s say where."""
    channel = expected_of("fes-drop-foot", 10_000).channel
    cut = tmp_path / "cut.csv"
    cut_trace(written(tmp_path, cycles(3)), cut, channel, 1, (6_500_000, 7_900_000))
    result = measured(cut)
    assert result.capture.triggers_s == (1.0, 6.0)
    # The first onset from 6.52 s on is the 16th after the trigger: 16 x 33.333 ms = 0.533 s.
    assert "the capture begins 0.533 s into the on/off cycle, by the device's trigger" in (
        result.notes
    )


# In the simulator's trace.


def triggers(estim: Shell, folder: Path, profile: str, device: str) -> list[tuple[int, str]]:
    trace = folder / "trace.csv"
    answer = estim(
        "run", profile, "--device", device, "--bench", "500", "--amplitude", "1=2",
        "--duration", "12", "--clock", "virtual", "--trace", trace, "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    cells = [line.split(",") for line in trace.read_text().splitlines()[1:]]
    assert len(cells) > 100
    onsets = [int(each[0]) for each in cells if each[1] == "1"]
    assert onsets == sorted(onsets)
    return [(int(each[0]), each[1]) for each in cells if each[2:] == ["0", "0"]]


@pytest.mark.long
def test_it_rises_with_every_on_phase(estim: Shell, tmp_path: Path) -> None:
    found = triggers(estim, tmp_path, "fes-drop-foot", "sim:?trigger=yes")
    first_us, _ = found[0]
    assert len(found) >= 3
    assert found == [(first_us + n * CYCLE_US, "1") for n in range(len(found))]


@pytest.mark.long
def test_without_a_cycle_it_rises_once_for_each_channel(estim: Shell, tmp_path: Path) -> None:
    found = triggers(estim, tmp_path, "dpn-conventional", "sim:?trigger=yes")
    assert sorted(channel for _, channel in found) == ["1", "2"]


@pytest.mark.long
def test_nobody_who_did_not_ask_finds_one(estim: Shell, tmp_path: Path) -> None:
    assert triggers(estim, tmp_path, "fes-drop-foot", "sim:") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--trigger", "perhaps"), "trigger: expected yes or no"),
        (("--model", "p24", "--trigger", "yes"), "--trigger: a P24 has no such option"),
        (("--model", "reference", "--trigger", "yes"), "--trigger: the reference device has no"),
    ],
)
def test_who_has_none_says_so(estim: Shell, words: tuple[str, ...], said: str) -> None:
    answer = estim("simulate", *words)
    answer.assert_one_message(2)
    assert said in answer.err
