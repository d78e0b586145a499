"""The lease, anchored to the echoed tick: output ends exactly 320 ms after it, come what may."""

from __future__ import annotations

import pytest

from estim.simulator.device import DeviceSettings, VirtualDevice
from firmware_protocol.messages import (
    DeviceState,
    Event,
    EventCode,
    FaultCode,
    Stop,
    WantedState,
)
from firmware_protocol.program import Phase
from tests.simulator.host import MS, Host, PulseList, S, one_channel

WRAP_US = 2**32 * MS


def running_host(boot_us: int = 0, wait_us: int = 0) -> Host:
    """Return a host whose device delivers 100 Hz at 1.9 mA, after a wait that moves the ticks."""
    host = Host(DeviceSettings(boot_us=boot_us))
    host.now_us += wait_us
    host.start(one_channel())
    host.keep(1 * S, 1_900)
    host.drive(WantedState.RUNNING, 1_900)
    return host


@pytest.mark.hazard(6)
def test_running_ends_exactly_320_ms_after_the_echoed_tick() -> None:
    host = running_host(boot_us=777, wait_us=123_456)
    echoed_us = 777 + (host.now_us - 777) // MS * MS
    expiry_us = echoed_us + 320 * MS
    assert host.device.next_deadline_us() is not None
    host.now_us = expiry_us - 1
    host.collect()
    assert host.state() is DeviceState.RUNNING
    host.now_us = expiry_us
    host.collect()
    assert host.state() is DeviceState.FAULT
    (latched,) = (e for e in host.of(Event) if e.code is EventCode.FAULT_LATCHED)
    assert latched.tick_ms == (expiry_us - 777) // MS
    host.pass_time(10 * S)
    assert host.status.fault is FaultCode.LEASE_EXPIRED
    last_onset_us = host.trace.pulses[-1][0]
    assert expiry_us - 10 * MS <= last_onset_us < expiry_us


def test_a_pulse_due_at_the_expiry_itself_is_not_started() -> None:
    # Onsets fall on whole multiples of 10 ms after 0, and so does the expiry: 1000 + 320 ms.
    host = running_host()
    host.pass_time(5 * S)
    assert host.trace.pulses[-1][0] == 1_310 * MS


def test_waking_late_changes_nothing_that_was_delivered() -> None:
    """One call 10 s late plays the same trace as a call every millisecond."""
    prompt, late = running_host(), running_host()
    for _ in range(1_000):
        prompt.pass_time(1 * MS)
    late.pass_time(10 * S)
    assert late.trace.pulses == prompt.trace.pulses
    assert late.status.fault is FaultCode.LEASE_EXPIRED
    latched = [
        [e for e in h.of(Event) if e.code is EventCode.FAULT_LATCHED] for h in (prompt, late)
    ]
    assert latched[0][0].tick_ms == latched[1][0].tick_ms == 1_320


def test_bytes_that_come_after_the_expiry_do_not_undo_it() -> None:
    host = running_host()
    host.now_us += 320 * MS
    host.drive(WantedState.RUNNING, 1_900)
    assert host.status.state is DeviceState.FAULT
    host.pass_time(1 * S)
    assert host.trace.pulses[-1][0] < 1_320 * MS


def test_armed_falls_to_safe() -> None:
    host = Host()
    host.prepare(one_channel())
    host.arm()
    host.pass_time(320 * MS - 1)
    assert host.state() is DeviceState.ARMED
    host.pass_time(1)
    assert host.state() is DeviceState.SAFE
    assert host.status.fault is FaultCode.NONE


@pytest.mark.hazard(9)
@pytest.mark.parametrize("age_ms", [-1, -1_000, 321, 5_000, 2**31, -(2**31) + 1])
def test_a_stale_or_future_drive_is_ignored_whole(age_ms: int) -> None:
    host = running_host(wait_us=10 * S)
    host.now_us += 100 * MS
    host.collect()
    echoed = (host.tick_ms - age_ms) % 2**32
    before = host.device.ignored_count
    for wanted in (WantedState.SAFE, WantedState.RUNNING):
        assert host.drive(wanted, 0, echoed_tick_ms=echoed) == []
    assert host.device.ignored_count == before + 2
    assert host.state() is DeviceState.RUNNING
    host.pass_time(20 * MS)
    assert host.status.channels[0].target_ua == 1_900
    # Nor did it renew: the echo of 100 ms before still ends it.
    host.pass_time(200 * MS)
    assert host.state() is DeviceState.FAULT


def test_an_echo_of_320_ms_is_still_obeyed() -> None:
    host = running_host(wait_us=10 * S)
    host.now_us += 100 * MS
    host.drive(WantedState.RUNNING, 500, echoed_tick_ms=host.tick_ms - 320)
    assert host.status.channels[0].target_ua == 500


def test_an_older_echo_never_shortens_nor_a_delayed_frame_prolongs() -> None:
    host = running_host()
    host.now_us += 100 * MS
    host.drive(WantedState.RUNNING, 1_900, echoed_tick_ms=host.tick_ms - 250)
    host.pass_time(219 * MS)
    assert host.state() is DeviceState.RUNNING
    host.drive(WantedState.RUNNING, 1_900, echoed_tick_ms=host.tick_ms - 300)
    host.pass_time(1 * MS)
    # 1000 + 320, not 1319 - 300 + 320.
    assert host.state() is DeviceState.RUNNING
    host.pass_time(18 * MS)
    assert host.state() is DeviceState.RUNNING
    host.pass_time(1 * MS)
    assert host.state() is DeviceState.FAULT


def test_a_lease_taken_in_its_last_millisecond_ends_at_once() -> None:
    host = Host()
    host.now_us = 10 * S + 700
    host.prepare(one_channel())
    host.drive(WantedState.ARMED, echoed_tick_ms=host.tick_ms - 320)
    assert host.state() is DeviceState.SAFE
    told = [(e.detail, e.tick_ms) for e in host.of(Event) if e.code is EventCode.STATE_CHANGED]
    assert told == [(DeviceState.ARMED, 10_000), (DeviceState.SAFE, 10_000)]


def test_ticks_and_lease_survive_the_wrap_of_the_tick() -> None:
    host = Host(DeviceSettings(boot_us=-WRAP_US + 1_500 * MS))
    host.now_us = 0
    host.start(one_channel())
    assert host.status.tick_ms == 2**32 - 1_500
    host.keep(1_400 * MS, 1_000)
    host.drive(WantedState.RUNNING, 1_000)
    host.pass_time(200 * MS)
    assert host.status.tick_ms == 100
    host.drive(WantedState.RUNNING, 1_000, echoed_tick_ms=2**32 - 50)
    assert host.state() is DeviceState.RUNNING
    # Echoed at 1450 ms on our clock: ends at 1770 ms.
    host.now_us = 1_770 * MS - 1
    host.collect()
    assert host.state() is DeviceState.RUNNING
    host.pass_time(1)
    assert host.state() is DeviceState.FAULT


@pytest.mark.hazard(3)
@pytest.mark.parametrize("into_pulse_us", [0, 1, 199, 200, 249, 250, 449, 450, 451])
@pytest.mark.parametrize("how", ["stop", "pause", "lease", "patient", "reboot", "hang"])
def test_a_pulse_in_progress_is_finished_and_nothing_follows(how: str, into_pulse_us: int) -> None:
    """Cut at any moment of a pulse of 200 + 50 + 200 us: it stays whole, its net charge zero."""
    trace = PulseList()
    device = VirtualDevice(DeviceSettings(), trace)
    host = Host(device=device)
    host.trace = trace
    host.start(one_channel(phases=(Phase(200, 1000), Phase(50, 0), Phase(200, -1000))))
    host.keep(1 * S, 1_500)
    host.now_us += into_pulse_us
    if how == "stop":
        host.send(Stop())
    elif how == "pause":
        host.drive(WantedState.ARMED)
    elif how == "patient":
        device.set_patient_stop(True, host.now_us)
    elif how == "reboot":
        device.reboot(host.now_us)
    elif how == "hang":
        device.hang(host.now_us)
    host.pass_time(1 * S)
    onset_us, _, phases = trace.pulses[-1]
    assert phases == ((0, 1_500, 200), (250, -1_500, 200))
    if how == "lease":
        assert onset_us == 1_260 * MS  # the last Drive of `keep` echoed 950 ms
    else:
        assert onset_us == 1_000 * MS
