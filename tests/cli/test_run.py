"""`estim run`: what it delivers, what it refuses, and the exit code of each way to end."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest

from estim.cli.run import _Teller
from tests.cli.commands import Answer, Shell
from tests.cli.test_profile_check import thin
from tests.tui.snapshots import channel, snapshot

BENCH = ("--clock", "virtual", "--bench", "500")


def rows(trace: Path) -> list[tuple[int, int, int, int]]:
    """Return (t_us, channel, current_ua, duration_us) of every row of a trace."""
    with trace.open() as file:
        table = list(csv.reader(file))
    assert table[0] == ["t_us", "channel", "current_ua", "duration_us"]
    return [(int(t), int(c), int(i), int(d)) for t, c, i, d in table[1:]]


def faults(tmp_path: Path, *lines: str) -> str:
    script = tmp_path / "faults.txt"
    script.write_text("\n".join(lines))
    return f"sim:?faults={script}"


def test_trace_result_and_record_tell_the_same_story(estim: Shell, tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    answer = estim(
        "run", "dpn-conventional", *BENCH, "--amplitude", "1=12", "--duration", "8", "--json",
        "--trace", trace, "--records", tmp_path / "records",
    )  # fmt: skip
    assert answer.code == 0
    result = answer.objects[-1]
    played = rows(trace)
    assert result["pulses"] == {"1": len(played) // 2, "2": 0}
    # 12 mA at 1 mA/s, and 1 s at 2 mA until contact is proven: 13 s; then 8 s; the ramp takes 2 s.
    assert result["rise_s"] == pytest.approx(13, abs=0.1)
    assert result["plateau_s"] == pytest.approx(8, abs=0.1)
    assert result["total_s"] == pytest.approx(23, abs=0.2)
    # 80 Hz, two phases of 200 us, never above 12 mA, balanced pulse by pulse.
    assert {duration_us for _, _, _, duration_us in played} == {200}
    assert max(abs(current_ua) for _, _, current_ua, _ in played) == 12_000
    for (onset_us, _, first_ua, _), (second_us, _, second_ua, _) in zip(
        played[::2], played[1::2], strict=True
    ):
        assert second_us == onset_us + 200
        assert first_ua + second_ua == 0
    onsets = [t_us for t_us, _, _, _ in played[::2]]
    assert {later - earlier for earlier, later in pairwise(onsets)} == {12_500}
    # The rise is no steeper than 1 mA/s, give or take one amplitude step.
    start_us = onsets[0]
    for t_us, _, current_ua, _ in played[::2]:
        assert current_ua <= 1000 * (t_us - start_us) / 1e6 + 100
    assert result["record_verifies"] is True
    record = Path(result["record"])
    assert estim("records", "verify", record).code == 0
    changed = bytearray(record.read_bytes())
    changed[len(changed) // 2] ^= 1
    record.write_bytes(bytes(changed))
    assert estim("records", "verify", record).code == 1


def test_the_declared_area_decides_the_density_and_is_recorded(
    estim: Shell, tmp_path: Path
) -> None:
    path = thin(tmp_path)

    def run(amplitude: str, *options: str) -> Answer:
        return estim(
            "run", path, *BENCH, "--amplitude", amplitude, "--duration", "1", "--json",
            "--records", tmp_path / "records", *options,
        )  # fmt: skip

    # 22.36 mA is where 4 cm2 bind: see `test_an_area_shows_where_density_binds`.
    refused = run("1=22.4", "--area", "4")
    assert refused.code == 4
    # 22.4 mA x sqrt(2 x 200 us x 80 Hz) / 4 cm2 = 1.0018 mA/cm2, rounded up.
    assert "current density: 1.002 mA/cm2 RMS asked, 1 mA/cm2 RMS allowed" in refused.err
    done = run("1=22.3", "--area", "4")
    assert done.code == 0
    (told,) = [item for item in done.objects if item["event"] == "prepared"]
    assert told["electrode_areas_mm2"] == [400, 400]
    assert run("2=22.4").code == 0  # on the 25 cm2 that the profile recommends
    events = estim("records", "show", done.objects[-1]["record"], "--json").objects
    (kept,) = [item for item in events if item.get("kind") == "prepared"]
    assert kept["content"]["electrode_areas_mm2"] == [400, 400]


@pytest.mark.parametrize("area", ["24.99", "400.01", "0", "-25", "NaN", "1e999999", "25,5", "x"])
def test_an_area_that_the_profile_was_not_made_for_is_bad_usage(
    estim: Shell, tmp_path: Path, area: str
) -> None:
    refused = estim(
        "run", "dpn-conventional", *BENCH, "--amplitude", "1=5", f"--area={area}",
        "--records", tmp_path / "records",
    )  # fmt: skip
    refused.assert_one_message(2)
    assert f"--area {area}: expected 25 to 400 cm2 for dpn-conventional" in refused.err
    assert not (tmp_path / "records").exists()


def test_a_failure_in_the_engine_names_its_suspect(estim: Shell, tmp_path: Path) -> None:
    answer = estim(
        "run", "dpn-conventional", *BENCH, "--device", "native:/dev/ttyS0", "--amplitude", "1=5",
        "--json", "--records", tmp_path,
    )  # fmt: skip
    assert answer.code == 2
    told = answer.objects[-1]
    assert (told["event"], told["exit_code"], told["blame"]) == ("error", 2, "operator")


def test_progress_says_null_where_a_device_measures_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    channels = (channel(measured_ua=-1), channel(measured_ua=0))
    teller = _Teller(is_json=True)
    teller.reply(snapshot(channels=channels))  # nothing progresses before it is prepared
    teller.event("prepared")
    teller.reply(snapshot(channels=channels))
    _, line = capsys.readouterr().out.splitlines()
    assert json.loads(line)["measured_ua"] == [None, 0]


def test_the_same_seed_gives_the_same_record_and_trace(estim: Shell, tmp_path: Path) -> None:
    kept = []
    for name in ("one", "two"):
        trace = tmp_path / "t.csv"
        answer = estim(
            "run", "tens-burst", *BENCH, "--amplitude", "1=6", "--duration", "3", "--seed", "7",
            "--json", "--trace", trace, "--records", tmp_path / name,
        )  # fmt: skip
        kept.append((Path(answer.objects[-1]["record"]).read_bytes(), trace.read_bytes()))
    assert kept[0][1] == kept[1][1]
    # The seal's key is the station's, and the same here: so the whole record is the same.
    assert kept[0][0] == kept[1][0]


@pytest.mark.hazard(45)
def test_a_clinical_session_is_refused_and_says_what_is_missing(estim: Shell) -> None:
    answer = estim("run", "dpn-conventional", "--amplitude", "1=5")
    answer.assert_one_message(4)
    for word in ("screening", "consent", "sensation test", "operator", "guided visit", "--bench"):
        assert word in answer.err


@pytest.mark.hazard(1)
def test_above_the_ceiling_is_refused_with_limit_values_and_owner(estim: Shell) -> None:
    answer = estim("run", "dpn-conventional", *BENCH, "--amplitude", "1=40.1")
    answer.assert_one_message(4)
    assert "channel 1" in answer.err
    assert "amplitude: 40.1 mA asked, 40 mA allowed by the profile" in answer.err


def test_every_channel_and_every_limit_that_refuses_is_named(estim: Shell) -> None:
    answer = estim("run", "dpn-conventional", *BENCH, "--amplitude", "1=101", "--amplitude", "2=41")
    answer.assert_one_message(4)
    for said in (
        "channel 1: amplitude: 101 mA asked, 40 mA allowed by the profile",
        "channel 1: sensory amplitude: 101 mA asked, 80 mA allowed by the compiled safety limit",
        "channel 1: amplitude: 101 mA asked, 100 mA allowed by the compiled safety limit",
        "channel 1: amplitude: 101 mA asked, 100 mA allowed by the device",
        "channel 2: amplitude: 41 mA asked, 40 mA allowed by the profile",
    ):
        assert said in answer.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--amplitude", "1=12"), "--bench"),
        (("--bench", "500"), "--amplitude"),
        (("--bench", "500", "--amplitude", "12"), "CH=MA"),
        (("--bench", "500", "--amplitude", "3=12"), "a channel from 1 to 2"),
        (("--bench", "500", "--amplitude", "0=12"), "a channel from 1 to 2"),
        (("--bench", "500", "--amplitude", "1=-3"), "milliamperes"),
        (("--bench", "500", "--amplitude", "1=1e1"), "milliamperes"),
        (("--bench", "500", "--amplitude", "1=nan"), "milliamperes"),
        (("--bench", "500", "--amplitude", "1=12,5"), "milliamperes"),
        (("--bench", "500", "--amplitude", "1=0"), "above zero"),
        (("--bench", "500", "--amplitude", "1=1", "--amplitude", "1=2"), "twice"),
        (("--bench", "0", "--amplitude", "1=1"), "--bench"),
        (("--bench", "5e2", "--amplitude", "1=1"), "--bench"),
        (("--bench", "500", "--amplitude", "1=1", "--duration", "-1"), "--duration"),
        (("--bench", "500", "--amplitude", "1=1", "--seed", "x"), "--seed"),
        (("--bench", "500", "--amplitude", "1=1", "--device", "usb0"), "expected one of"),
        (("--bench", "500", "--amplitude", "1=1", "--device", "sim:?loud=1"), "sim: expected"),
        (("--bench", "500", "--amplitude", "1=1", "--device", "native:/dev/x"), "virtual clock"),
    ],
)
def test_bad_usage_is_one_message(estim: Shell, arguments: tuple[str, ...], expected: str) -> None:
    answer = estim("run", "dpn-conventional", "--clock", "virtual", *arguments)
    answer.assert_one_message(4 if expected == "--bench" and "--bench" not in arguments else 2)
    assert expected in answer.err


def test_a_duration_beyond_the_profile_is_refused(estim: Shell) -> None:
    answer = estim("run", "dpn-conventional", *BENCH, "--amplitude", "1=1", "--duration", "3601")
    answer.assert_one_message(4)
    assert "3601 s asked, 3600 s allowed by the profile" in answer.err


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("at 5 silent 30", "fell silent"),
        ("at 5 hang", "fell silent"),
        ("at 5 patient-stop press", "patient stop"),
        ("at 5 gain 1 1500", "overcurrent"),
        ("at 5 battery 2", "supply"),
        ("at 5 lead-off 1", "electrode off"),
    ],
)
def test_a_fault_of_the_device_is_exit_code_5_and_the_record_is_closed(
    estim: Shell, tmp_path: Path, script: str, said: str
) -> None:
    answer = estim(
        "run", "dpn-conventional", *BENCH, "--amplitude", "1=4", "--duration", "5", "--json",
        "--device", faults(tmp_path, script),
    )  # fmt: skip
    result = answer.objects[-1]
    assert answer.code == result["exit_code"] == 5
    assert said in result["end"]
    assert result["record_verifies"] is True
    if "lead" not in script:
        alarms = [o for o in answer.objects if o["event"] == "notice" and o["severity"] == "alarm"]
        assert alarms
        assert all(alarm["blame"] for alarm in alarms)


@pytest.mark.hazard(47)
@pytest.mark.parametrize("script", ["at 5 drop 4", "at 5 corrupt 5", "at 5 duplicate 9"])
def test_a_few_bad_frames_disturb_nothing(estim: Shell, tmp_path: Path, script: str) -> None:
    answer = estim(
        "run", "dpn-conventional", *BENCH, "--amplitude", "1=4", "--duration", "3", "--json",
        "--device", faults(tmp_path, script),
    )  # fmt: skip
    assert answer.code == 0
    assert answer.objects[-1]["plateau_s"] == pytest.approx(3, abs=0.1)


def test_junit_holds_one_case_that_passes_or_fails(estim: Shell, tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    common = ("run", "dpn-conventional", *BENCH, "--amplitude", "1=2", "--duration", "2")
    assert estim(*common, "--junit", report).code == 0
    suite = ElementTree.parse(report).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")
    script = faults(tmp_path, "at 2 battery 1")
    assert estim(*common, "--junit", report, "--device", script).code == 5
    suite = ElementTree.parse(report).getroot()
    assert suite.get("failures") == "1"
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "supply" in (failure.get("message") or "")


def test_without_a_record_nothing_starts(estim: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    answer = estim(
        "run", "dpn-conventional", *BENCH, "--amplitude", "1=2", "--records", tmp_path / "file"
    )
    answer.assert_one_message(1)
    assert "record" in answer.err


def test_leads_that_touch_are_told_and_stop_nothing(estim: Shell) -> None:
    answer = estim(
        "run", "dpn-conventional", *BENCH, "--amplitude", "1=3", "--duration", "2", "--json",
        "--device", "sim:?load=50",
    )  # fmt: skip
    assert answer.code == 0
    warnings = [o["text"] for o in answer.objects if o["event"] == "notice"]
    assert any("channel 1: 50 ohm, the leads may touch" in text for text in warnings)


def test_a_target_between_the_steps_of_the_device_is_refused_not_trimmed(estim: Shell) -> None:
    answer = estim("run", "dpn-conventional", *BENCH, "--amplitude", "1=0.25")
    answer.assert_one_message(4)
    assert "0.25 mA asked, the device delivers steps of 0.1 mA" in answer.err


def test_a_report_that_could_not_be_written_is_refused_before_output(
    estim: Shell, tmp_path: Path
) -> None:
    answer = estim(
        "run", "dpn-conventional", *BENCH, "--amplitude", "1=3",
        "--junit", tmp_path / "nowhere" / "j.xml",
    )  # fmt: skip
    answer.assert_one_message(2)
    assert "there is no such folder" in answer.err
