"""Steps too small for the device are silence within a pulse, and no pulses of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim import api
from estim.prepare.session import prepare
from estim.profile.library import find
from estim.rig.measuring.expectation import Expected
from estim.rig.measuring.measurement import Settings, measure
from estim.rig.measuring.result import Verdict

RUSSIAN = find("russian-quadriceps")


@pytest.mark.parametrize(
    ("amplitude_ua", "duration_s"),
    [
        # The outer steps carry 199 permille: 99.5 uA, which the device rounds to nothing.
        (500, 2),
        # They flow on the plateau, but not in the ramps: down at 8 s, up again at 60 s.
        (1000, 54),
    ],
)
def test_a_stepped_sine_passes_whatever_its_steps_round_to(
    amplitude_ua: int, duration_s: int, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    url = api.simulator_url("sim:?load=500", {"trace": str(trace)})
    with api.open(url, bench_ohm=500, is_virtual=True, records=tmp_path) as stimulator:
        stimulator.prepare(RUSSIAN, duration_s=duration_s)
        stimulator.arm()
        stimulator.start()
        stimulator.set_targets_ua((amplitude_ua,))
        stimulator.wait_until_finished(lambda: "")
    prepared = prepare(RUSSIAN.profile, is_bench=True)
    result = measure(trace, Expected.of(prepared, 0, amplitude_ua), Settings())
    assert result.check("pulses_per_burst").measured == 25
    assert result.check("odd_pulses").measured == 0
    assert result.check("phase_duration.phase1").measured == 200
    assert result.check("extra_pulses").measured == 0
    assert result.check("amplitude.phase1").verdict is Verdict.PASS
    # Of 0.5 mA the ramp down has too few steps to be told from a plateau.
    assert result.verdict is Verdict.PASS or amplitude_ua == 500
