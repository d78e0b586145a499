"""Is what reaches the load what the profile says?"""

from __future__ import annotations

import pytest

from estim import api
from estim.rig.pytest_plugin import Measure
from estim.session.states import HostState

AMPLITUDE_UA = 4_000


@pytest.mark.estim_profile("low-back-pain", duration_s=20)
def test_the_pulses_are_those_of_the_profile(
    estim_session: api.Stimulator, estim_measure: Measure
) -> None:
    assert estim_session.prepared is not None
    count = len(estim_session.prepared.program.channels)
    estim_session.arm()
    estim_session.start()
    estim_session.set_targets_ua((AMPLITUDE_UA,) + (0,) * (count - 1))
    estim_session.wait_for(lambda shown: shown.channels[0].setpoint_ua >= AMPLITUDE_UA)
    result = estim_measure(2.0, channel=1, amplitude_ua=AMPLITUDE_UA)
    failed = [check for check in result.checks if check.verdict.value == "fail"]
    assert not failed
    assert result.verdict.value == "pass", result.unknowns


def test_a_minute_on_the_virtual_clock_ends_by_itself(
    virtual_stimulator: api.Stimulator,
) -> None:
    from estim.profile.library import find

    virtual_stimulator.prepare(find("low-back-pain"), duration_s=60)
    virtual_stimulator.arm()
    virtual_stimulator.start()
    virtual_stimulator.set_targets_ua((AMPLITUDE_UA, 0))
    result = virtual_stimulator.wait_until_finished()
    assert result.end_state is HostState.READY
    assert result.plateau_ms >= 60_000
