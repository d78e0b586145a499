"""Deliver one step of a job into a dummy load, and tell what the device itself says of it.

Rules:
1. Through `estim.api` alone: the same engine, limits and record as any session, and one record for
   each delivery.
2. A step that the device or a limit would refuse is refused before anything is armed.
3. A load that contradicts the declared one ends the output at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from estim import api
from estim.errors import DeviceFault, LimitRefused
from estim.prepare.session import Prepared, target_reasons
from estim.profile.loader import LoadedProfile
from estim.rig.reports.words import format_ohm
from estim.session.messages import DeviceSnapshot, Reply, Snapshot
from estim.session.states import HostState
from firmware_protocol import limits

LOAD_EXTRA_OHM = 20
"""Leads, and the coarseness of what a device measures at a few milliamperes."""
GROSS_PERCENT = 50
"""On the way up, where little current flows, only a load of another kind is believed."""

StopReason = Callable[[], str]


class Interrupted(Exception):
    """Somebody asked to end; output is zero."""


class LoadContradicted(LimitRefused):
    """The measured load is not the declared one."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where deliveries go, and who may end them.

    Attributes:
        url: the device; the simulator is told load and trace by whoever delivers.
        is_virtual: step a virtual clock.
        records: folder of the session records.
        stop_reason: why to end, '' for not.
        on_open: given each stimulator as it is opened, so that somebody can show and stop it.
    """

    url: str
    is_virtual: bool
    records: Path
    stop_reason: StopReason
    on_open: Callable[[api.Stimulator], None] | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the device said of one delivery.

    Attributes:
        device: who it is.
        load_ohm: V/I that it measured last while its output was up; 0 where it measures none.
        measured_ua: largest peak that it measured on the plateau; -1 where it measures none.
        reached_ua: highest peak that it measured at all; of a device that measures none, the
            highest setpoint.
        is_compliance_reached: its voltage did not carry the amplitude.
        lead_off: why the channel was switched off, '' for not.
        plateau_us: start and end of the plateau on the engine's clock; (0, 0) for none.
        record: the session's record.
    """

    device: DeviceSnapshot
    load_ohm: int
    measured_ua: int
    reached_ua: int
    is_compliance_reached: bool
    lead_off: str
    plateau_us: tuple[int, int]
    record: str


def identify(
    bench: Bench, loaded: LoadedProfile, bench_ohm: int, dwell_s: int
) -> tuple[DeviceSnapshot, Prepared]:
    """Ask the device who it is and prepare a profile for it; nothing is delivered.

    Raises:
        EstimError: it cannot be reached, or refuses.
    """
    with api.open(
        bench.url, bench_ohm=bench_ohm, is_virtual=bench.is_virtual, records=bench.records
    ) as stimulator:
        if bench.on_open is not None:
            bench.on_open(stimulator)
        prepared = stimulator.prepare(loaded, duration_s=dwell_s)
        return _device(stimulator), prepared


def deliver(
    bench: Bench,
    loaded: LoadedProfile,
    channel_index: int,
    amplitude_ua: int,
    *,
    load_ohm: int,
    dwell_s: int,
    load_tolerance_percent: int,
) -> tuple[Delivered, Prepared]:
    """Play a profile on one channel at an amplitude for a while; return what the device says.

    A channel that the device switches off for its load is told, not raised: it may be what was
    looked for.

    Raises:
        LoadContradicted: the device measures another load than the declared one.
        Interrupted: somebody asked to end; the output is zero.
        EstimError: a limit refused it, or it failed.
    """
    watch = _Watch(bench.stop_reason, channel_index, load_ohm, load_tolerance_percent)
    with api.open(
        bench.url,
        bench_ohm=load_ohm,
        is_virtual=bench.is_virtual,
        records=bench.records,
        on_reply=watch.take,
    ) as stimulator:
        if bench.on_open is not None:
            bench.on_open(stimulator)
        prepared = stimulator.prepare(loaded, duration_s=dwell_s)
        reasons = target_reasons(prepared, channel_index, amplitude_ua)
        if reasons:
            raise LimitRefused("; ".join(reasons))
        targets_ua = [0] * len(prepared.program.channels)
        targets_ua[channel_index] = amplitude_ua
        for act in (
            stimulator.arm,
            stimulator.start,
            lambda: stimulator.set_targets_ua(tuple(targets_ua)),
        ):
            if bench.stop_reason():
                raise Interrupted
            act()
        result = stimulator.wait_until_finished(watch.reason)
        if bench.stop_reason():
            raise Interrupted
        if watch.contradiction:
            raise LoadContradicted(watch.contradiction)
        if result.end_state is not HostState.READY:
            raise DeviceFault(result.fault or f"the session ended in {result.end_state.value}")
        delivered = watch.delivered(_device(stimulator), result.record_path, dwell_s, result.fault)
    if not delivered.lead_off and result.plateau_ms < dwell_s * 1000:
        raise DeviceFault(result.fault or "stopped before the step was over")
    return delivered, prepared


class _Watch:
    """Follow one channel through the snapshots of a delivery."""

    def __init__(
        self, stop_reason: StopReason, channel_index: int, load_ohm: int, tolerance_percent: int
    ) -> None:
        self.contradiction = ""
        self._stop_reason = stop_reason
        self._channel_index = channel_index
        self._declared_ohm = load_ohm
        self._tolerance_percent = tolerance_percent
        self._load_ohm = 0
        self._measured_ua = -1
        self._reached_ua = 0
        self._is_compliance_reached = False
        self._start_us = 0

    def take(self, reply: Reply) -> None:
        """Take everything that the engine says."""
        if not isinstance(reply, Snapshot) or self._channel_index >= len(reply.channels):
            return
        channel = reply.channels[self._channel_index]
        self._is_compliance_reached |= channel.is_compliance_reached
        is_measured = channel.measured_ua >= 0
        reached_ua = channel.measured_ua if is_measured else channel.setpoint_ua
        self._reached_ua = max(self._reached_ua, reached_ua)
        if reply.state is not HostState.RUNNING:
            return
        is_on_plateau = reply.plateau_ms > 0
        if is_on_plateau:
            self._start_us = self._start_us or reply.at_us - reply.plateau_ms * 1000
            self._measured_ua = max(self._measured_ua, channel.measured_ua)
        if channel.load_ohm and channel.setpoint_ua >= limits.contact_ua.maximum:
            self._see_load(channel.load_ohm, is_on_plateau)

    def _see_load(self, load_ohm: int, is_on_plateau: bool) -> None:
        """Judge finely at the amplitude that was asked for, and grossly on the way up."""
        self._load_ohm = load_ohm
        tolerance_percent = self._tolerance_percent if is_on_plateau else GROSS_PERCENT
        self.contradiction = self.contradiction or load_contradiction(
            self._declared_ohm, load_ohm, tolerance_percent
        )

    def reason(self) -> str:
        """Return why the output shall end, '' for not."""
        return self._stop_reason() or self.contradiction

    def delivered(
        self, device: DeviceSnapshot, record: str, dwell_s: int, ended_for: str
    ) -> Delivered:
        """Return what was seen."""
        end_us = self._start_us + dwell_s * 1_000_000 if self._start_us else 0
        return Delivered(
            device=device,
            load_ohm=self._load_ohm,
            measured_ua=self._measured_ua,
            reached_ua=self._reached_ua,
            is_compliance_reached=self._is_compliance_reached,
            lead_off=ended_for,
            plateau_us=(self._start_us, end_us),
            record=record,
        )


def load_contradiction(declared_ohm: int, measured_ohm: int, tolerance_percent: int) -> str:
    """Say how a measured load contradicts the declared one, '' where it does not."""
    allowed_ohm = declared_ohm * tolerance_percent // 100 + LOAD_EXTRA_OHM
    if abs(measured_ohm - declared_ohm) <= allowed_ohm:
        return ""
    return f"load: said {format_ohm(declared_ohm)}, see {measured_ohm} ohm"


def _device(stimulator: api.Stimulator) -> DeviceSnapshot:
    shown = stimulator.snapshot
    if shown is None or shown.device is None:
        raise DeviceFault("the device has gone")
    return shown.device
