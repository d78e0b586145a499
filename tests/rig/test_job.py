"""Job files: strict, with file, line, key and what was expected in one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim.errors import EstimError
from estim.prepare.session import prepare
from estim.profile.library import find
from estim.rig.jobs.job import load_job
from estim.rig.jobs.scope import scope_settings
from estim.rig.jobs.steps import steps_of, tagged_number
from tests.rig.job_text import write_job

DOCS = Path(__file__).parents[2] / "docs" / "jobs"
LEAKAGE = """
[[leakage]]
name = "a"
question = "?"
at_most_ua = 100
uncertainty_ua = 1
instrument = "scope.toml"
source = "s"
certainty = "E"
"""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("schema = 1", "schema = 2", "line 1: schema: 2; expected 1"),
        ("schema = 1", "schema = true", "line 1: schema: true; expected 1"),
        ('title = "Check"', "", "title: missing; expected a text of 1 to 80 characters"),
        ('title = "Check"', 'title = " "', "line 2: title"),
        ('title = "Check"', 'title = "a\\u001b[2J"', "line 2: title: character 2 is U+001B"),
        ('title = "Check"', 'titel = "Check"', "titel: unknown key; did you mean 'title'?"),
        ('"as-found"', '"later"', "line 6: phase: 'later'; expected 'as-found' or 'as-left'"),
        ("[500]", "[]", "line 7: loads_ohm: a list of 0; expected at least 1"),
        ("[500]", "500", "line 7: loads_ohm: 500; expected a list"),
        ("[500]", "[0]", "loads_ohm[1]: 0; expected a whole number of ohm from 1 to 100000"),
        ("[500]", "[500.0]", "loads_ohm[1]: 500.0; expected a whole number of ohm"),
        ("[500]", '["500"]', "loads_ohm[1]: '500'; expected a whole number of ohm"),
        ("[500]", "[500, 500]", "line 7: loads_ohm: the same twice"),
        ("[500]", "[500, [2000]]", "loads_ohm[2]: a list of 1; expected a whole number"),
        ('["dpn-conventional"]', '["dpn"]', "profiles[1]: there is no profile 'dpn'"),
        ('["dpn-conventional"]', '["x.toml"]', "x.toml: cannot be opened"),
        ('["dpn-conventional"]', '["../../etc"]', "profiles[1]"),
        ("channels = [1]", "channels = [0]", "channels[1]: 0; expected a whole number from 1"),
        ("channels = [1]", "channels = [3]", "channels: 3; expected at most 2"),
        ("[3]", "[0]", "amplitudes_ma[1]: 0; expected a number of mA from 0.1 to 100"),
        ("[3]", "[100.1]", "amplitudes_ma[1]: 100.1; expected a number of mA from 0.1 to 100"),
        ("[3]", "[nan]", "amplitudes_ma[1]: NaN; expected a number of mA"),
        ("[3]", "[1e400]", "amplitudes_ma[1]: 1E+400; expected a number of mA"),
        ("[3]", "[3.05]", "with at most 1 decimal"),
        ("[3]", "[-3]", "amplitudes_ma[1]: -3; expected a number of mA"),
        ("dwell_s = 2", "dwell_s = 0", "line 11: dwell_s: 0; expected a whole number of s from 1"),
        ("dwell_s = 2", "dwell_s = 2\ndwell_s = 3", "dwell_s: given twice"),
        ("dwell_s = 2", "dwell_s = ", "not valid TOML"),
        ('"sim:"', '"manual:"', "capture: 'trace'; expected 'folder'"),
        ('"sim:"', '"native:/dev/x"', "capture: 'trace'; expected 'folder'"),
        ('capture = "trace"', 'capture = "folder"', "clock: 'virtual'; expected 'real'"),
        ('"virtual"', '"virtual"\nnext_due = "2027-01-31"', "'2027-01-31'; expected a date"),
        ('"virtual"', '"virtual"\nnext_due = 2027-01-31T00:00:00', "expected a date such as"),
        ('"scope.toml"', '"scope.toml"\nanswers.visual.case = "pass"', "visual.case: no such"),
        ('"scope.toml"', '"scope.toml"\nanswers.visual = "pass"', "answers.visual"),
        ('"scope.toml"', '"scope.toml"\nanswers.load_is_set = "yes"', "answers.load_is_set"),
        ('"scope.toml"', '"scope.toml"\n[stimulator]\nmodel = "M"\nserial_number = "S"',
         "stimulator: a table; expected none"),
        ('"scope.toml"', '"scope.toml"\n[reading]\nunit = "kV"', "unit: 'kV'; expected 'V'"),
        ('"scope.toml"', f'"scope.toml"\n{LEAKAGE}{LEAKAGE}', "leakage[2].name: 'a' again"),
        ('"scope.toml"', '"scope.toml"\n' + LEAKAGE.replace("100", "inf"), "leakage[1].at_most_ua"),
    ],
)  # fmt: skip
def test_a_bad_job_is_one_sentence(tmp_path: Path, before: str, after: str, said: str) -> None:
    path = write_job(tmp_path, (before, after))
    with pytest.raises(EstimError) as refused:
        load_job(path)
    assert refused.value.exit_code == 2
    assert said in str(refused.value)
    assert str(path) in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("made", ["missing", "folder", "binary", "long", "deep"])
def test_a_file_that_is_no_job_is_refused(tmp_path: Path, made: str) -> None:
    path = tmp_path / "job.toml"
    if made == "folder":
        path.mkdir()
    elif made == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    elif made == "long":
        path.write_bytes(b"#" * 100_000)
    elif made == "deep":
        path.write_text("a = " + "[" * 2000)
    with pytest.raises(EstimError, match=r"job\.toml"):
        load_job(path)


def test_steps_are_walked_load_by_load_and_amplitude_fastest(tmp_path: Path) -> None:
    path = write_job(
        tmp_path,
        ("[500]", "[500, 2000]"),
        ("channels = [1]", "channels = [2, 1]"),
        ("[3]", "[3, 5.5]"),
    )
    steps = steps_of(load_job(path))
    assert [(s.tag, s.load_ohm, s.channel, s.amplitude_ua) for s in steps] == [
        ("s01", 500, 2, 3000), ("s02", 500, 2, 5500), ("s03", 500, 1, 3000), ("s04", 500, 1, 5500),
        ("s05", 2000, 2, 3000), ("s06", 2000, 2, 5500), ("s07", 2000, 1, 3000),
        ("s08", 2000, 1, 5500),
    ]  # fmt: skip
    assert steps[4].words == "2 kohm, dpn-conventional, channel 2, 3 mA"


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("s03.csv", 3), ("S3.CSV", 3), ("scope-s12-again.csv", 12), ("x_s007.vcd", 7),
        ("as-found-s01.csv", 1), ("scope3.csv", None), ("s0.csv", None), ("is3.csv", None),
        ("s3a.csv", None), ("capture.csv", None),
    ],
)  # fmt: skip
def test_a_file_name_may_name_its_step(name: str, number: int | None) -> None:
    assert tagged_number(name) == number


def test_scope_settings_follow_from_amplitude_load_and_pulse() -> None:
    """20 mA into 2 kohm are 40 V; 2 x 200 us; 80 Hz.

    80 V peak to peak on six divisions: 13.3, so 20 V a division. 400 us on five divisions: 80, so
    100 us. 100 samples in 200 us: 500 kS/s. Ten periods are 125 ms, but a second is the least.
    """
    prepared = prepare(find("dpn-conventional").profile, is_bench=True)
    settings = scope_settings(prepared.program.channels[0], 20_000, 2_000, 100)
    assert (settings.vertical_mv_per_div, settings.time_us_per_div) == (20_000, 100)
    assert (settings.sample_rate_hz, settings.record_ms) == (500_000, 1000)
    assert settings.trigger_mv == 20_000
    for said in ("20 V/div", "100 us/div", "single trigger at 20 V, rising", "1 s at 500 kS/s"):
        assert said in settings.words
    # The whole cycle of 66 s must be saved where there is one.
    cycled = prepare(find("nmes-quadriceps").profile, is_bench=True).program.channels[0]
    assert scope_settings(cycled, 20_000, 500, 100).record_ms == 66_000
    assert "high-voltage probe" in scope_settings(cycled, 40_000, 10_000, 100).words


def test_the_example_job_is_one() -> None:
    loaded = load_job(DOCS / "sim-check.toml")
    assert len(steps_of(loaded)) == 4
    assert loaded.job.is_simulated
