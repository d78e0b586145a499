"""What one virtual stimulator is and can do."""

from __future__ import annotations

from dataclasses import dataclass

from estim.simulator.load import Load
from firmware_protocol import limits
from firmware_protocol.messages import KEYFRAMES_MAX, PHASES_MAX, Capabilities, CapabilityFlag
from firmware_protocol.schema import SCHEMA_HASH

US_PER_MS = 1000
STANDARD_LOAD = Load(500)
EVERYTHING_HELD = (
    CapabilityFlag.REPORTS_CURRENT
    | CapabilityFlag.REPORTS_LOAD
    | CapabilityFlag.HOLDS_BURST
    | CapabilityFlag.HOLDS_CYCLE
    | CapabilityFlag.HOLDS_KEYFRAMES
    | CapabilityFlag.UNEQUAL_PHASES
)


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """One virtual stimulator.

    Attributes:
        boot_us: when it was switched on, on the caller's clock; ticks count from here.
        flags: what it does by itself; `has_patient_stop` adds its own flag.
        has_trigger: the trace tells when a channel's trigger rises.
        load: what is connected to every channel at first.
        baud: line speed, which decides how often a Status fits.
        battery_percent: charge at first; 255 is mains.
        is_switched: the output stage is one current source that pins switch, as on a
            microcontroller: one magnitude, rests of at least `phase_min_us`.
    """

    channel_count: int = 2
    serial_number: str = "SIM-0001"
    model: str = "estim-virtual"
    amplitude_max_ua: int = 100_000
    amplitude_step_ua: int = 100
    compliance_mv: int = 180_000
    load: Load = STANDARD_LOAD
    baud: int = 115_200
    flags: CapabilityFlag = EVERYTHING_HELD
    has_patient_stop: bool = True
    has_trigger: bool = False
    phases_max: int = PHASES_MAX
    keyframes_max: int = KEYFRAMES_MAX
    phase_min_us: int = 10
    phase_max_us: int = 1000
    pulse_period_min_us: int = 100
    battery_percent: int = 100
    is_switched: bool = False
    schema_hash: int = SCHEMA_HASH
    boot_us: int = 0

    def capabilities(self, in_reply_to: int = 0) -> Capabilities:
        """Return the message that tells them."""
        flags = self.flags
        if self.has_patient_stop:
            flags |= CapabilityFlag.HAS_PATIENT_STOP
        return Capabilities(
            in_reply_to=in_reply_to,
            channel_count=self.channel_count,
            phases_max=self.phases_max,
            keyframes_max=self.keyframes_max,
            flags=flags,
            amplitude_max_ua=self.amplitude_max_ua,
            amplitude_step_ua=self.amplitude_step_ua,
            compliance_mv=self.compliance_mv,
            phase_min_us=self.phase_min_us,
            phase_max_us=self.phase_max_us,
            pulse_period_min_us=self.pulse_period_min_us,
            residual_ms=limits.lease_ms.maximum + limits.pulse_duration_us.maximum // US_PER_MS,
        )
