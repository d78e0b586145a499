"""`estim characterise` on the simulator: figures worked out by hand, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.commands import Shell

BENCH = ("--bench", "500", "--nobody-connected", "--clock", "virtual")


@pytest.mark.long
def test_the_sheet_holds_the_quantities_at_every_load(estim: Shell, tmp_path: Path) -> None:
    """80 Hz, 2 x 200 us, 20 mA: 4 uC a phase, RMS 20 x sqrt(0.032), average 20 x 0.032.

    10 kohm and 180 V allow 18 mA.
    """
    out = tmp_path / "sheet"
    answer = estim(
        "characterise", *BENCH, "--amplitude", "5", "--amplitude", "20", "--area", "25",
        "--out", out, "--json", "--pdf",
    )  # fmt: skip
    assert answer.code == 0, answer
    (sheet,) = answer.objects
    assert sheet == json.loads((out / "sheet.json").read_text())
    loads = {load["load_ohm"]: load for load in sheet["loads"]}
    assert list(loads) == [500, 2000, 10000]
    for load_ohm, load in loads.items():
        point = load["points"][0]
        assert point["measured_ua"] == 5000
        assert point["peak_mv"] == 5 * load_ohm
        assert point["device_load_ohm"] == load_ohm
        assert point["phase_duration_us"] == pytest.approx(200)
        assert point["pulse_rate_hz"] == pytest.approx(80)
        assert point["net_charge_pc"] == 0
    assert loads[2000]["linearity"]["gain"] == pytest.approx(1)
    assert loads[2000]["compliance"] is None
    assert loads[10000]["compliance"] == {
        "asked_ua": 20000, "reached_ua": 18000, "is_by_voltage": True, "voltage_mv": 180000
    }  # fmt: skip
    stated = sheet["stated"]
    assert stated["phase_charge_pc"] == pytest.approx(4e6)
    assert stated["average_ua"] == pytest.approx(640)
    assert stated["rms_ua"] == pytest.approx(3577.7, abs=0.1)
    (area,) = stated["areas"]
    assert area["rms_density_ua_per_cm2"] == pytest.approx(143.1, abs=0.1)
    # 3.5777 mA squared, times 500 ohm, over 25 cm2: 0.256 mW/cm2.
    assert area["power_density_uw_per_cm2"] == pytest.approx(256, abs=0.1)
    waveform = sheet["waveforms"][0]
    assert (waveform["load_ohm"], waveform["amplitude_ua"]) == (500, 20000)
    assert sorted(set(waveform["current_ua"])) == [-20000, 0, 20000]
    for name in ("waveforms", "linearity"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (out / f"{name}.svg").read_text()
    text = (out / "sheet.md").read_text()
    assert "20 mA was not reached: the compliance voltage limits at 18 mA, 180 V" in text
    assert "not a certified medical device" in text
    assert (out / "sheet.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.hazard(45)
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 4, "--nobody-connected"),
        (("--bench", "500"), 4, "--nobody-connected"),
        (("--nobody-connected",), 4, "--bench OHM"),
        (("--bench", "700", "--nobody-connected"), 2, "500, 2000, 10000"),
        ((*BENCH, "--load", "501"), 2, "--load 501: expected one of the loads"),
        ((*BENCH, "--device", "manual:"), 2, "estim verify"),
        ((*BENCH, "--channel", "3"), 2, "--channel 3: expected a whole number from 1 to 2"),
        ((*BENCH, "--area", "0.5"), 2, "--area 0.5: expected 1 to 400 cm2"),
        ((*BENCH, "--amplitude", "0"), 2, "above 0"),
        ((*BENCH, "--amplitude", "50"), 4, "40 mA allowed by the profile"),
        ((*BENCH, "--captures", "x"), 2, "--instrument"),
        ((*BENCH, "--pdf"), 2, "--out"),
        ((*BENCH, "--load", "500", "--device", "sim:?load=700"), 4, "said 500 ohm, see 700 ohm"),
    ],
)
def test_what_is_refused(estim: Shell, arguments: tuple[str, ...], code: int, said: str) -> None:
    answer = estim("characterise", *arguments)
    answer.assert_one_message(code)
    assert said in answer.err


def test_a_missing_extra_is_one_line_before_anything_is_delivered(
    estim: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = estim("characterise", *BENCH, "--out", tmp_path / "sheet")
    answer.assert_one_message(2)
    assert "needs the extra 'plot': pip install 'estim[plot]'" in answer.err
    monkeypatch.setitem(sys.modules, "reportlab", None)
    answer = estim("verify", tmp_path / "job.toml", "--pdf")
    answer.assert_one_message(2)
    assert "needs the extra 'report': pip install 'estim[report]'" in answer.err
