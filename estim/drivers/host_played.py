"""What all drivers share whose device the host stands in for: approvals in, states and reports out.

Rules:
1. A Drive that has expired, or comes while a Stop is not confirmed, has no effect; one that cannot
   be followed is refused and renews no lease.
2. Whatever ends output by itself, a fault or time, ends it by a Stop.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from estim.drivers.base import (
    DriveRefused,
    DriverEvent,
    Loaded,
    LoadFailed,
    Output,
    StatusSeen,
    Stimulator,
)
from estim.drivers.stand_in import StandIn
from estim.errors import LimitRefused
from firmware_protocol.messages import Capabilities, DeviceState, FaultCode, WantedState

if TYPE_CHECKING:  # who only asks a device who it is needs no kernel
    from estim.safety.verdict import Approved, ApprovedLoad


class HostPlayedStimulator(Stimulator):
    """Hold a session's side of a device that has no states of its own.

    Attributes:
        kind: how people call the device, as in 'the P24'.
    """

    kind: ClassVar[str]

    def __init__(self, address: str, capabilities: Capabilities) -> None:
        self._address = address
        self._stand_in = StandIn(capabilities)
        self._events: list[DriverEvent] = []
        self._urgent: list[bytes] = []
        self._ordered: list[bytes] = []
        self._drive_frame: bytes | None = None
        self._is_identified = False
        self._wanted: Approved | None = None
        self._is_asked = False
        self._stop_count = 0
        self._stop_due_us: int | None = None

    def load(self, approved: ApprovedLoad, now_us: int) -> None:
        if now_us > approved.expires_us:
            self._events.append(LoadFailed(LimitRefused("the approval to load has expired")))
            return
        fitting = self.fitting(approved.program)
        if fitting.lacks:
            words = f"the {self.kind} cannot play this: {fitting.lacks[0]}"
            self._events.append(LoadFailed(LimitRefused(words)))
            return
        self._events.append(Loaded(*self._stand_in.load(approved), fitting.remarks))

    def drive(self, approved: Approved, now_us: int) -> None:
        if now_us > approved.expires_us or self._stop_due_us is not None:
            return
        problem = self._stand_in.drive_problem(approved)
        if problem:
            self._events.append(DriveRefused(problem))
            return
        self._wanted = approved
        self._is_asked = True
        self._stand_in.renew_lease(now_us)
        if self._stand_in.state is DeviceState.RUNNING:
            is_pause = approved.wanted is not WantedState.RUNNING
            for index, player in enumerate(self._stand_in.players):
                player.aim(0 if is_pause else approved.targets_ua[index])
        self._follow(now_us)

    def acknowledge(self, latch_count: int, channel_mask: int, now_us: int) -> None:
        problem = self._stand_in.acknowledge(latch_count, channel_mask, now_us)
        if problem:
            self._events.append(DriveRefused(problem, is_drive=False))

    @property
    def has_output(self) -> bool:
        return bool(self._urgent or self._ordered or self._drive_frame)

    def take_output(self) -> Output:
        output = Output(self._urgent, self._ordered, self._drive_frame)
        self._urgent, self._ordered, self._drive_frame = [], [], None
        return output

    @abstractmethod
    def _follow(self, now_us: int) -> None:
        """Ask the device for the next step towards what is wanted, where one is due."""

    def _end_by_time(self, now_us: int) -> None:
        fault = self._stand_in.time_fault(now_us)
        if fault is not FaultCode.NONE:
            self._latch(fault, now_us)
        elif self._stand_in.is_disarmed_by_time(now_us):
            self.stop(now_us)

    def _latch(self, fault: FaultCode, now_us: int) -> None:
        self._stand_in.latch(fault, now_us)
        self.stop(now_us)

    def _want_nothing(self) -> None:
        """Forget what was wanted, and what waits to be written for it."""
        self._drive_frame = None
        self._wanted = None
        self._is_asked = False
        for player in self._stand_in.players:
            player.aim(0)

    def _zero_is_confirmed(self, now_us: int) -> None:
        """End a Stop: the device itself has said that nothing runs."""
        self._stop_due_us = None
        self._stand_in.silenced()
        if self._stand_in.state is not DeviceState.FAULT:
            self._stand_in.go(DeviceState.SAFE, now_us)

    def _report(self, now_us: int) -> None:
        self._events.append(StatusSeen(self._stand_in.status(now_us)))
