"""Who is on the bench, and does it refuse what it must?"""

from __future__ import annotations

import pytest

from estim import api
from estim.errors import LimitRefused
from estim.session.states import HostState


def test_the_device_says_who_it_is(stimulator: api.Stimulator) -> None:
    device = stimulator.identify()
    assert device.serial_number
    assert device.channel_count >= 1
    assert device.residual_ms <= 2_000, "output may go on for too long once this computer is silent"


@pytest.mark.estim_profile("low-back-pain", duration_s=5)
def test_a_target_above_the_ceiling_is_refused_and_nothing_flows(
    estim_session: api.Stimulator,
) -> None:
    assert estim_session.prepared is not None
    ceiling_ua = estim_session.prepared.ceilings[0].ceiling_ua
    count = len(estim_session.prepared.ceilings)
    estim_session.arm()
    estim_session.start()
    with pytest.raises(LimitRefused):
        estim_session.set_targets_ua((ceiling_ua + 1_000,) + (0,) * (count - 1))
    shown = estim_session.hold(0.2)
    assert shown.state is HostState.RUNNING
    assert [channel.shown_ua for channel in shown.channels] == [0] * count


@pytest.mark.estim_hardware
def test_the_serial_number_is_not_that_of_the_simulator(stimulator: api.Stimulator) -> None:
    assert stimulator.identify().serial_number != "SIM-0001"
