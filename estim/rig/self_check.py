"""See that a rig is as declared before it judges a device.

Rules:
1. Nothing here is said of the device: what is wrong is a `RigFault`, or the error of whoever knows
   better.
2. The load is measured by the device itself, at the lowest current at which it can tell.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from estim import api
from estim.clock import SystemClock
from estim.drivers.base import NOT_TOLD
from estim.errors import RigFault
from estim.profile.library import find
from estim.rig.jobs.delivery import load_contradiction
from estim.session.messages import DeviceSnapshot, Snapshot
from firmware_protocol import limits

PROFILE = "dpn-conventional"
DURATION_S = 10
LOAD_WITHIN_S = 12.0
NAPS = 20
NAP_S = 0.005
LATE_MAX_S = 0.15
"""A gap between two Drives at which the engine itself begins to warn."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A device, and what is connected to it.

    Attributes:
        url: the device.
        load_ohm: the dummy load, on each of `channels`.
        channels: those that have one, from 1.
        tolerance_percent: of the measured load.
        dut: serial number that the device must have, or that one without any is given.
        folder: for what is written while it is used.
    """

    url: str
    load_ohm: int
    channels: tuple[int, ...]
    tolerance_percent: int
    dut: str = ""
    folder: Path = Path()


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found.

    Attributes:
        loads_ohm: of the bench's channels; empty where the device measures none.
    """

    device: DeviceSnapshot
    loads_ohm: tuple[int, ...]


def check(bench: Bench, records: Path) -> Checked:
    """Check clock, port, identity and load of a bench, in this order.

    Raises:
        RigFault: the bench is not as declared.
        EstimError: the device cannot be reached, or refuses.
    """
    check_clock()
    with api.open(bench.url, bench_ohm=bench.load_ohm, records=records) as stimulator:
        device = stimulator.identify()
        check_identity(device, bench.dut)
        if not device.reports_current:
            return Checked(device, ())
        return Checked(device, _measure_loads(stimulator, bench))


def check_clock() -> None:
    """Raise RigFault where this computer gives its programs no time, with the host as suspect."""
    clock = SystemClock()
    for _ in range(NAPS):
        began_us = clock.now_us()
        time.sleep(NAP_S)
        late_s = (clock.now_us() - began_us) / 1e6 - NAP_S
        if late_s > LATE_MAX_S:
            error = RigFault(f"this computer is too busy: it came {late_s * 1000:.0f} ms late")
            error.blame = "host"
            raise error


def check_identity(device: DeviceSnapshot, dut: str) -> str:
    """Return the device's serial number.

    Raises:
        RigFault: there is none, so that nothing could be told of anybody, or it is not `dut`.
    """
    told = device.serial_number.strip().replace(NOT_TOLD, "")
    serial_number = told or dut.strip()
    if not serial_number:
        raise RigFault(f"{device.url}: the device has no serial number; say one with --estim-dut")
    if dut and serial_number != dut.strip():
        raise RigFault(f"{device.url}: {serial_number} is on the bench, {dut} was expected")
    return serial_number


def _measure_loads(stimulator: api.Stimulator, bench: Bench) -> tuple[int, ...]:
    prepared = stimulator.prepare(find(PROFILE), duration_s=DURATION_S)
    count = len(prepared.program.channels)
    indexes = [number - 1 for number in bench.channels if number <= count]
    stimulator.arm()
    stimulator.start()
    contact_ua = limits.contact_ua.maximum
    stimulator.set_targets_ua(
        tuple(contact_ua if index in indexes else 0 for index in range(count))
    )
    shown = stimulator.wait_for(lambda shown: _is_measured(shown, indexes), LOAD_WITHIN_S)
    loads_ohm = tuple(shown.channels[index].load_ohm for index in indexes)
    stimulator.stop("load measured")
    for index, load_ohm in zip(indexes, loads_ohm, strict=True):
        if shown.channels[index].is_lead_off:
            raise RigFault(f"channel {index + 1}: nothing is connected; is the load in place?")
        contradiction = load_contradiction(bench.load_ohm, load_ohm, bench.tolerance_percent)
        if contradiction:
            raise RigFault(f"channel {index + 1}: {contradiction}")
    return loads_ohm


def _is_measured(shown: Snapshot, indexes: Iterable[int]) -> bool:
    channels = [shown.channels[index] for index in indexes]
    return any(channel.is_lead_off for channel in channels) or all(
        channel.load_ohm for channel in channels
    )
