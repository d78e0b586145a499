"""What the device is doing, and what changes it without a message: time, pulses, inputs.

Rules:
1. Output is possible in RUNNING alone; leaving it takes every channel to zero at once.
2. Everything happens at its own scheduled time, in order of time, however late `settle` is called:
   no pulse begins at or after the expiry of the lease.
3. FAULT is latched until acknowledged with its cause gone.
"""

from __future__ import annotations

from collections import deque

from estim.simulator.channel import Finding, OutputChannel
from estim.simulator.gate import Gate, Refusal
from estim.simulator.interpreter import ChannelPlayer
from estim.simulator.reports import COUNT_MASK, Reports
from firmware_protocol import limits
from firmware_protocol.messages import (
    NO_CHANNEL,
    DeviceState,
    EventCode,
    FaultCode,
    PolicyFlag,
    RefusalReason,
)

US_PER_MS = 1000
US_PER_S = 1_000_000
LEASE_MS = limits.lease_ms.maximum
TICK_MODULUS = 1 << 32
BATTERY_LOW_PERCENT = 10
"""Below it the device does not arm."""
BATTERY_EMPTY_PERCENT = 5
"""Below it the supply can no longer be trusted with output."""
ENERGISED = frozenset({DeviceState.ARMED, DeviceState.RUNNING})


class StateMachine:
    """Hold the state of a device from one boot to the next."""

    def __init__(
        self,
        boot_us: int,
        channels: tuple[OutputChannel, ...],
        gate: Gate,
        reports: Reports,
        battery_percent: int,
        is_stop_pressed: bool,
    ) -> None:
        self.boot_us = boot_us
        self.now_us = boot_us
        self.state = DeviceState.SAFE
        self.fault = FaultCode.NONE
        self.latch_count = 0
        self.lease_expiry_us: int | None = None
        self.battery_percent = battery_percent
        self.is_stop_pressed = is_stop_pressed
        self.is_stop_latched = False
        self.is_stop_tested = False
        self.is_hung = False
        self._channels = channels
        self._gate = gate
        self._reports = reports
        self._playing: tuple[tuple[OutputChannel, ChannelPlayer], ...] = ()
        self._damaged_at_us: deque[int] = deque(maxlen=limits.line_errors_per_s.maximum)
        self._run_us = boot_us
        self._ran_ms = 0
        self.emit(EventCode.BOOTED)
        if is_stop_pressed:
            self._latch_patient_stop()

    @property
    def tick_ms(self) -> int:
        """Return the device tick."""
        return (self.now_us - self.boot_us) // US_PER_MS % TICK_MODULUS

    @property
    def running_ms(self) -> int:
        """Return how long RUNNING has lasted, or lasted last."""
        if self.state is DeviceState.RUNNING:
            return (self.now_us - self._run_us) // US_PER_MS
        return self._ran_ms

    @property
    def is_energised(self) -> bool:
        """Tell whether the device is ARMED or RUNNING."""
        return self.state in ENERGISED

    @property
    def has_charge(self) -> bool:
        """Tell whether the supply lets the device arm."""
        return self.battery_percent >= BATTERY_LOW_PERCENT

    def emit(self, code: EventCode, channel_index: int = NO_CHANNEL, detail: int = 0) -> None:
        """Tell an event of now."""
        self._reports.emit(self.tick_ms, code, channel_index, detail)

    # Transitions.

    def change(self, state: DeviceState) -> None:
        """Go to another state; whatever leaves RUNNING leaves it at zero."""
        if state is self.state:
            return
        self._ran_ms = self.running_ms
        if self.state is DeviceState.RUNNING:
            for channel in self._channels:
                channel.zero()
        if state not in ENERGISED:
            self._damaged_at_us.clear()
        self.state = state
        self.emit(EventCode.STATE_CHANGED, detail=int(state))
        if state is DeviceState.RUNNING:
            self._run_us = self.now_us
            self._playing = tuple((c, c.player) for c in self._channels if c.player is not None)
            for channel in self._channels:
                channel.begin_running(self._run_us)

    def latch_fault(self, fault: FaultCode) -> None:
        """Go to FAULT and stay there until acknowledged."""
        self.change(DeviceState.FAULT)
        self.fault = fault
        self.latch_count = (self.latch_count + 1) & COUNT_MASK
        self.emit(EventCode.FAULT_LATCHED, detail=int(fault))

    def acknowledge_fault(self) -> Refusal | None:
        """Clear the latched fault, or say why not."""
        if self.state is not DeviceState.FAULT:
            return Refusal(RefusalReason.STATE)
        if self.is_stop_pressed or self.battery_percent < BATTERY_EMPTY_PERCENT:
            return Refusal(RefusalReason.CAUSE_PRESENT)
        cleared = self.fault
        self.fault = FaultCode.NONE
        self.is_stop_latched = False
        self.change(DeviceState.SAFE)
        self.emit(EventCode.FAULT_CLEARED, detail=int(cleared))
        return None

    def renew_lease(self, age_ms: int) -> None:
        """Let the lease last from a tick that is `age_ms` old; it never gets shorter."""
        echoed_ms = (self.now_us - self.boot_us) // US_PER_MS - age_ms
        expiry_us = self.boot_us + (echoed_ms + LEASE_MS) * US_PER_MS
        if self.lease_expiry_us is None or expiry_us > self.lease_expiry_us:
            self.lease_expiry_us = expiry_us

    # Inputs.

    def set_patient_stop(self, is_pressed: bool) -> None:
        """Press or release the patient's own stop."""
        if is_pressed is self.is_stop_pressed:
            return
        self.is_stop_pressed = is_pressed
        if self.is_hung:
            return
        self.emit(EventCode.PATIENT_STOP, detail=int(is_pressed))
        if is_pressed:
            self._latch_patient_stop()
        else:
            self.is_stop_tested = True

    def set_battery(self, percent: int) -> None:
        """Set the charge of the supply."""
        was_good = self.battery_percent >= BATTERY_EMPTY_PERCENT
        self.battery_percent = percent
        if was_good and percent < BATTERY_EMPTY_PERCENT and not self.is_hung:
            self.latch_fault(FaultCode.SUPPLY)

    def note_damaged(self) -> None:
        """Count a damaged frame; too many within a second, while energised, are a fault."""
        if not self.is_energised:
            return
        noted = self._damaged_at_us
        noted.append(self.now_us)
        if len(noted) == noted.maxlen and self.now_us - noted[0] < US_PER_S:
            self.latch_fault(FaultCode.LINE_NOISE)

    def hang(self) -> None:
        """Freeze with the output at zero; only a reboot helps."""
        self.change(DeviceState.SAFE)
        self.is_hung = True

    # Time.

    def settle(self, now_us: int) -> None:
        """Let everything happen that is due up to `now_us`."""
        while not self.is_hung:
            timer_us = self.next_timer_us()
            is_timer_due = timer_us is not None and timer_us <= now_us
            until_us = timer_us - 1 if timer_us is not None and is_timer_due else now_us
            if self.state is DeviceState.RUNNING and not self._play_until(until_us):
                continue
            if timer_us is None or not is_timer_due:
                break
            # A lease may be accepted in the very millisecond in which it ends.
            self.now_us = max(self.now_us, timer_us)
            self._end_by_time(timer_us)
        self.now_us = now_us
        self._reports.note_time(now_us, self.state)

    def next_timer_us(self) -> int | None:
        """Return when time itself ends RUNNING or ARMED next."""
        if self.state is DeviceState.RUNNING and self.lease_expiry_us is not None:
            return min(self.lease_expiry_us, self._longest_run_us())
        return self.lease_expiry_us if self.state is DeviceState.ARMED else None

    def _longest_run_us(self) -> int:
        """Return when `running_ms` passes its limit."""
        return self._run_us + (self._gate.session.running_ms + 1) * US_PER_MS

    def _end_by_time(self, timer_us: int) -> None:
        if self.state is DeviceState.ARMED:
            self.change(DeviceState.SAFE)
        elif timer_us == self.lease_expiry_us:
            self.latch_fault(FaultCode.LEASE_EXPIRED)
        else:
            self.latch_fault(FaultCode.RUNNING_TIME)

    def _play_until(self, until_us: int) -> bool:
        """Play every pulse with its onset up to `until_us`; tell whether still RUNNING."""
        session = self._gate.session
        while True:
            channel, player = self._playing[0]
            for other in self._playing:
                if other[1].next_us < player.next_us:
                    channel, player = other
            onset_us = player.next_us
            if onset_us > until_us:
                return True
            finding = channel.play(player, session)
            if finding is not Finding.NOTHING:
                self.now_us = onset_us
                self._act_on_finding(finding, channel)
                if self.state is not DeviceState.RUNNING:
                    return False

    def _act_on_finding(self, finding: Finding, channel: OutputChannel) -> None:
        index = channel.number - 1
        if finding is Finding.CONTACT_GOOD:
            self.emit(EventCode.CONTACT_GOOD, index, channel.load_ohm)
        elif finding is Finding.OVERCURRENT:
            self.latch_fault(FaultCode.OVERCURRENT)
        elif finding is Finding.LEAD_OFF:
            stops_all = PolicyFlag.LEAD_OFF_STOPS_ALL in self._gate.session.policy
            for other in self._channels if stops_all else (channel,):
                other.latch_lead_off()
            self.latch_count = (self.latch_count + 1) & COUNT_MASK
            self.emit(EventCode.LEAD_OFF, index, channel.load_ohm)

    def _latch_patient_stop(self) -> None:
        self.is_stop_latched = True
        self.latch_fault(FaultCode.PATIENT_STOP)
