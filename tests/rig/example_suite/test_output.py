"""Rise, stop and a lead that comes off, on channel 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim import api
from estim.record.reader import stream
from estim.rig.pytest_plugin import Load
from estim.session.states import HostState

AMPLITUDE_UA = 4_000
SLEW_UA_PER_S = 2_000  # of the profile
STOP_WITHIN_US = 150_000  # 20 ms, the rest of a pulse, and a computer that has other things to do

pytestmark = pytest.mark.estim_profile("low-back-pain", duration_s=20)


def rise(session: api.Stimulator) -> None:
    """Bring channel 1 to its amplitude."""
    assert session.snapshot is not None
    session.arm()
    session.start()
    channels = session.wait_for(lambda shown: len(shown.channels) > 0).channels
    session.set_targets_ua((AMPLITUDE_UA,) + (0,) * (len(channels) - 1))
    session.wait_for(lambda shown: shown.channels[0].setpoint_ua >= AMPLITUDE_UA)


def test_it_rises_no_faster_than_its_slew_and_gives_what_was_asked(
    estim_session: api.Stimulator, load: Load
) -> None:
    began_us = estim_session.engine.clock.now_us()
    rise(estim_session)
    took_s = (estim_session.engine.clock.now_us() - began_us) / 1e6
    assert took_s >= AMPLITUDE_UA / SLEW_UA_PER_S
    shown = estim_session.hold(0.5)
    channel = shown.channels[0]
    if channel.measured_ua >= 0:
        assert abs(channel.measured_ua - AMPLITUDE_UA) <= 200
    if channel.load_ohm:
        assert abs(channel.load_ohm - load.ohm) <= load.ohm // 10


def test_a_stop_is_zero_in_time_by_the_record(estim_session: api.Stimulator) -> None:
    rise(estim_session)
    estim_session.stop()
    shown = estim_session.snapshot
    assert shown is not None
    assert shown.state is HostState.READY
    at_us = {event.kind: event.mono_us for event in stream(Path(shown.record_path))}
    assert at_us["zero_confirmed"] - at_us["stop"] <= STOP_WITHIN_US


def test_a_stop_is_zero_in_time_at_the_load(
    estim_session: api.Stimulator, estim_trace: Path
) -> None:
    rise(estim_session)
    asked_us = estim_session.engine.clock.now_us()
    estim_session.stop()
    estim_session.hold(0.2)  # the trace is written
    last_row = estim_trace.read_text("ascii").splitlines()[-1]
    assert int(last_row.partition(",")[0]) - asked_us <= STOP_WITHIN_US


def test_a_lead_that_comes_off_ends_its_channel(estim_session: api.Stimulator, load: Load) -> None:
    rise(estim_session)
    load.take_off(1)
    shown = estim_session.wait_for(lambda shown: shown.channels[0].is_lead_off, timeout_s=2)
    assert shown.channels[0].setpoint_ua == 0
