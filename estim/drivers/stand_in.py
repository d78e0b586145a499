"""Stand in, in the host, for what a device of another maker lacks: states, lease, latches, reports.

Rules:
1. States are those of PROTOCOL.md, chapter 2, and what the device has confirmed moves them.
2. Without an approved Drive for 320 ms output ends: an engine that goes on turning but no longer
   approves keeps nothing alive.
3. A report never understates: until the device has confirmed less, it tells what was sent before.
4. Nothing that ended output lets it begin again without somebody's acknowledgement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estim.drivers.player import ChannelPlayer, Train
from firmware_protocol import limits
from firmware_protocol.messages import (
    Capabilities,
    CapabilityFlag,
    ChannelFlag,
    ChannelStatus,
    Contact,
    CyclePhase,
    DeviceState,
    FaultCode,
    InputFlag,
    PolicyFlag,
    Status,
    WantedState,
)
from firmware_protocol.program import PulseProgram
from firmware_protocol.session_limits import limits_digest

if TYPE_CHECKING:  # who only asks a device who it is needs no kernel
    from estim.safety.verdict import Approved, ApprovedLoad

MAINS_PERCENT = 255
LEASE_US = limits.lease_ms.maximum * 1000
COUNT_MASK = 0xFFFF
ENERGISED = (DeviceState.ARMED, DeviceState.RUNNING)


class StandIn:
    """Hold the device's side of a session."""

    def __init__(self, capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        self.state = DeviceState.SAFE
        self.fault = FaultCode.NONE
        self.latch_count = 0
        self.damaged_count = 0
        self.program: PulseProgram | None = None
        self.players: tuple[ChannelPlayer, ...] = ()
        self.policy = PolicyFlag.NONE
        self.lease_us: int | None = None
        self._digests = (0, 0)
        self._longest_ms = limits.running_ms.maximum
        self._amplitudes_max_ua: tuple[int, ...] = ()
        self._latched = [False] * capabilities.channel_count
        self._sent: list[int] = [0] * capabilities.channel_count
        self._confirmed: list[int] = [0] * capabilities.channel_count
        self._began_us = 0
        self._ran_ms = 0
        self._boot_us = 0
        self._is_reported_active = [False] * capabilities.channel_count

    # What the host wants.

    def load(self, approved: ApprovedLoad) -> tuple[int, int]:
        """Take a programme with its limits, at rest; return both digests."""
        step_ua = self.capabilities.amplitude_step_ua
        self.program = approved.program
        self.players = tuple(
            ChannelPlayer(channel, approved.limits, step_ua)
            for channel in approved.program.channels
        )
        self.policy = approved.limits.policy
        self._longest_ms = approved.limits.running_ms
        self._amplitudes_max_ua = tuple(row.amplitude_ua for row in approved.limits.channels)
        self._digests = (approved.program.digest, limits_digest(approved.limits))
        return self._digests

    def unload(self) -> None:
        """Forget the programme."""
        self.program, self.players, self._digests = None, (), (0, 0)

    def renew_lease(self, now_us: int) -> None:
        """Let output live on for as long as an approved Drive lets it."""
        self.lease_us = now_us + LEASE_US

    def drive_problem(self, approved: Approved) -> str:
        """Say why a Drive cannot be followed, whoever approved it; '' where it can."""
        if approved.wanted is not WantedState.RUNNING:
            return ""
        if self.state is DeviceState.SAFE:
            return "it must be armed first"
        if self.state is DeviceState.FAULT:
            return "a fault is latched"
        if self.state is DeviceState.ARMED and any(approved.targets_ua):
            return "output starts at zero"
        return self.target_problem(approved.targets_ua)

    def target_problem(self, targets_ua: tuple[int, ...]) -> str:
        """Say which target may not be, whoever approved it; '' for none."""
        if len(targets_ua) != len(self.players):
            return f"{len(targets_ua)} targets, the programme has {len(self.players)} channels"
        for index, target_ua in enumerate(targets_ua):
            if target_ua > self._amplitudes_max_ua[index]:
                return (
                    f"channel {index + 1}: {target_ua} uA asked, "
                    f"{self._amplitudes_max_ua[index]} uA allowed in this session"
                )
            if target_ua and self._latched[index]:
                return f"channel {index + 1}: the lead-off is not acknowledged"
        return ""

    # What time does.

    def time_fault(self, now_us: int) -> FaultCode:
        """Return what time itself ends, NONE for nothing."""
        if self.state is DeviceState.RUNNING:
            if self.lease_us is not None and now_us >= self.lease_us:
                return FaultCode.LEASE_EXPIRED
            if (now_us - self._began_us) // 1000 > self._longest_ms:
                return FaultCode.RUNNING_TIME
        return FaultCode.NONE

    def is_disarmed_by_time(self, now_us: int) -> bool:
        """Tell whether ARMED has outlived its lease."""
        is_over = self.lease_us is not None and now_us >= self.lease_us
        return self.state is DeviceState.ARMED and is_over

    def trains(self, now_us: int) -> tuple[Train | None, ...]:
        """Return what every channel should play from now on."""
        if self.state is not DeviceState.RUNNING:
            return (None,) * len(self.players)
        for player in self.players:
            player.advance(now_us)
        return tuple(player.train(now_us) for player in self.players)

    def next_change_us(self, now_us: int) -> int | None:
        """Return when `trains` may answer otherwise."""
        if self.state is not DeviceState.RUNNING:
            return None
        due = [player.next_change_us(now_us) for player in self.players]
        return min((each for each in due if each is not None), default=None)

    # What the device confirmed.

    def go(self, state: DeviceState, now_us: int) -> None:
        """Enter a state that the device has confirmed; below RUNNING nothing is aimed at."""
        if state is self.state:
            return
        if self.state is DeviceState.RUNNING:
            self._ran_ms = (now_us - self._began_us) // 1000
        for player in self.players:
            if state is DeviceState.RUNNING:
                player.begin(now_us)
            else:
                player.aim(0)
        if state is DeviceState.RUNNING:
            self._began_us = now_us
        self.state = state

    def latch(self, fault: FaultCode, now_us: int) -> None:
        """Go to FAULT, until acknowledged."""
        if self.state is DeviceState.FAULT:
            return
        self.go(DeviceState.FAULT, now_us)
        self.fault = fault
        self.latch_count = (self.latch_count + 1) & COUNT_MASK

    def latch_lead_off(self, channels: set[int]) -> bool:
        """Latch channels whose electrode was lost, by index; tell whether anything is new."""
        if PolicyFlag.LEAD_OFF_STOPS_ALL in self.policy and channels:
            channels = set(range(len(self.players)))
        new = [index for index in sorted(channels) if not self._latched[index]]
        for index in new:
            self._latched[index] = True
            self.latch_count = (self.latch_count + 1) & COUNT_MASK
            if index < len(self.players):
                self.players[index].aim(0)
        return bool(new)

    def acknowledge(self, latch_count: int, channel_mask: int, now_us: int) -> str:
        """Clear the fault (mask 0) or lead-off latches; return why not, '' where done."""
        if latch_count != self.latch_count:
            return "something was latched since the report that is acknowledged"
        if channel_mask:
            for index in range(len(self._latched)):
                if channel_mask >> index & 1:
                    self._latched[index] = False
            return ""
        if self.state is not DeviceState.FAULT:
            return "no fault is latched"
        self.fault = FaultCode.NONE
        self.go(DeviceState.SAFE, now_us)
        return ""

    def sent(self, trains: tuple[Train | None, ...]) -> None:
        """Note what is on its way: the higher of it and what was confirmed is told (rule 3)."""
        for index, train in enumerate(trains):
            self._sent[index] = train.amplitude_ua if train else 0

    def confirmed(self) -> None:
        """Note that the device plays what was sent last."""
        self._confirmed = list(self._sent)

    def silenced(self) -> None:
        """Note that the device has confirmed that nothing flows."""
        self._sent = [0] * len(self._sent)
        self._confirmed = [0] * len(self._confirmed)

    @property
    def is_zero(self) -> bool:
        """Tell whether nothing flows, as far as the device has confirmed."""
        return not any(self._sent) and not any(self._confirmed)

    def tick_ms(self, now_us: int) -> int:
        """Return the time as a device would count it."""
        return now_us // 1000 & 0xFFFFFFFF

    def status(self, now_us: int) -> Status:
        """Report, as PROTOCOL.md has it; what this kind of device cannot tell is UNKNOWN or 0."""
        is_running = self.state is DeviceState.RUNNING
        running_ms = (now_us - self._began_us) // 1000 if is_running else self._ran_ms
        return Status(
            tick_ms=self.tick_ms(now_us),
            state=self.state,
            fault=self.fault,
            latch_count=self.latch_count,
            inputs=InputFlag.NONE,
            battery_percent=MAINS_PERCENT,
            drive_sequence=0,
            program_digest=self._digests[0],
            limits_digest=self._digests[1],
            refusal_count=0,
            damaged_count=self.damaged_count,
            event_count=0,
            running_ms=running_ms,
            channels=tuple(
                self._channel_status(index, is_running, now_us)
                for index in range(self.capabilities.channel_count)
            ),
        )

    def _channel_status(self, index: int, is_running: bool, now_us: int) -> ChannelStatus:
        player = self.players[index] if index < len(self.players) else None
        told_ua = max(self._sent[index], self._confirmed[index])
        if player is not None and is_running:
            told_ua = max(told_ua, player.setpoint_ua)
        return ChannelStatus(
            target_ua=player.target_ua if player is not None else 0,
            setpoint_ua=told_ua,
            peak_ua=0,
            load_ohm=0,
            pulse_count=player.pulse_count if player is not None else 0,
            contact=Contact.OFF if self._latched[index] else Contact.UNKNOWN,
            cycle_phase=(
                player.cycle_phase(now_us) if player is not None and is_running else CyclePhase.IDLE
            ),
            flags=ChannelFlag.LEAD_OFF_LATCHED if self._latched[index] else ChannelFlag.NONE,
        )


HELD_BY_HOST = (
    CapabilityFlag.HOLDS_BURST | CapabilityFlag.HOLDS_CYCLE | CapabilityFlag.HOLDS_KEYFRAMES
)
"""What a device counts as able to do because the host plays it by updates."""
