"""Every message between host and device, declared once.

Rules:
1. Body: `message_id u8 | sequence u16 | epoch u64 | payload | crc32 u32`, little-endian, at most
   250 bytes, COBS-coded, 0x00 between frames.
2. `allowed_in` names the device states in which a device acts on a message; elsewhere it refuses
   it. Stop has every state.
3. `Hello` and `Identity` keep their layout for ever, so that two ends of different schemas can say
   so to each other.
4. A name ends in its unit. Currents are microamperes, charges picocoulombs, times microseconds or
   milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import ClassVar, TypeVar

from firmware_protocol.fields import (
    I16,
    I32,
    U8,
    U16,
    U32,
    Declared,
    declared,
    enumeration,
    rows,
    scalar,
    text,
)

PROTOCOL_VERSION = 1
CHANNELS_MAX = 4
PHASES_MAX = 16
KEYFRAMES_MAX = 32
KEYFRAMES_PER_MESSAGE = 16
NO_CHANNEL = 255
MAINS_PERCENT = 255


class DeviceState(IntEnum):
    """What the device is doing. Output is possible in RUNNING alone."""

    SAFE = 0
    ARMED = 1
    RUNNING = 2
    FAULT = 3


class WantedState(IntEnum):
    """What a Drive wants. Everything below RUNNING means zero output."""

    SAFE = 0
    ARMED = 1
    RUNNING = 2


class FaultCode(IntEnum):
    """Why the device latched FAULT."""

    NONE = 0
    LEASE_EXPIRED = 1
    OVERCURRENT = 2
    RUNNING_TIME = 3
    PATIENT_STOP = 4
    LINE_NOISE = 5
    SUPPLY = 6
    SELF_TEST = 7
    OUTPUT_STAGE = 8


class Contact(IntEnum):
    """What the device knows of a channel's electrodes."""

    UNKNOWN = 0
    GOOD = 1
    OFF = 2


class CyclePhase(IntEnum):
    """Where a channel stands in its on/off cycle. A setpoint rises in PLATEAU alone."""

    IDLE = 0
    WAITING = 1
    RAMP_UP = 2
    PLATEAU = 3
    RAMP_DOWN = 4
    OFF = 5


class ChannelFlag(IntFlag):
    """Facts about a channel that stay until acknowledged, or while they hold."""

    NONE = 0
    LEAD_OFF_LATCHED = 1
    COMPLIANCE_REACHED = 2
    SHORTED = 4


class InputFlag(IntFlag):
    """The patient's own stop and other inputs of the device."""

    NONE = 0
    PATIENT_STOP_PRESENT = 1
    PATIENT_STOP_PRESSED = 2
    PATIENT_STOP_TESTED = 4


class CapabilityFlag(IntFlag):
    """What a device can do by itself."""

    NONE = 0
    REPORTS_CURRENT = 1
    REPORTS_LOAD = 2
    HAS_PATIENT_STOP = 4
    HOLDS_BURST = 8
    HOLDS_CYCLE = 16
    HOLDS_KEYFRAMES = 32
    UNEQUAL_PHASES = 64


class PolicyFlag(IntFlag):
    """Session policies that the device enforces."""

    NONE = 0
    LEAD_OFF_STOPS_ALL = 1
    REQUIRE_PATIENT_STOP = 2


class ProgramFlag(IntFlag):
    """Properties of a whole pulse programme."""

    NONE = 0
    ALLOW_OVERLAP = 1


class Adoption(IntEnum):
    """Whether a Hello's epoch was taken."""

    ADOPTED = 0
    ENERGISED = 1
    SCHEMA_MISMATCH = 2


class RefusalReason(IntEnum):
    """Why a device did not act on a message."""

    STATE = 1
    LIMIT = 2
    PROGRAM = 3
    PROGRAM_DIGEST = 4
    LIMITS_DIGEST = 5
    NO_PROGRAM = 6
    NOT_FROM_ZERO = 7
    STEP_TOO_FAR = 8
    FAULT_LATCHED = 9
    CAPABILITY = 10
    CHANNELS = 11
    CAUSE_PRESENT = 12
    NOT_THE_LATEST = 13
    PATIENT_STOP_MISSING = 14
    LEAD_OFF_LATCHED = 15


class EventCode(IntEnum):
    """What a device tells of its own accord."""

    BOOTED = 1
    EPOCH_ADOPTED = 2
    STATE_CHANGED = 3
    FAULT_LATCHED = 4
    FAULT_CLEARED = 5
    LEAD_OFF = 6
    LEAD_OFF_CLEARED = 7
    CONTACT_GOOD = 8
    STOP_RECEIVED = 9
    PATIENT_STOP = 10


FAULT_REMEDIES: dict[FaultCode, str] = {
    FaultCode.NONE: "No fault.",
    FaultCode.LEASE_EXPIRED: "The link was silent: check cable and computer, then acknowledge.",
    FaultCode.OVERCURRENT: "More current was measured than set: take the device out of use.",
    FaultCode.RUNNING_TIME: "The longest allowed running time is over: end the session.",
    FaultCode.PATIENT_STOP: (
        "The patient pressed stop: talk to the patient, release the stop, acknowledge."
    ),
    FaultCode.LINE_NOISE: "Too many damaged frames: check cable, connectors and line speed.",
    FaultCode.SUPPLY: "The supply is too low: charge or change the battery.",
    FaultCode.SELF_TEST: "The self-test failed: take the device out of use.",
    FaultCode.OUTPUT_STAGE: "The output stage reports a defect: take the device out of use.",
}

_EVERY_STATE = frozenset(DeviceState)
_SAFE_ONLY = frozenset({DeviceState.SAFE})
_DE_ENERGISED = frozenset({DeviceState.SAFE, DeviceState.ARMED, DeviceState.FAULT})

TO_DEVICE = "to_device"
TO_HOST = "to_host"


@declared
class Message(Declared):
    """The base of every message; where one is declared, these three are set."""

    message_id: ClassVar[int]
    direction: ClassVar[str]
    allowed_in: ClassVar[frozenset[DeviceState]]


_M = TypeVar("_M", bound=Message)
MESSAGES: dict[int, type[Message]] = {}


def _declare(
    message_id: int, direction: str, allowed_in: frozenset[DeviceState] = _EVERY_STATE
) -> Callable[[type[_M]], type[_M]]:
    def register(message: type[_M]) -> type[_M]:
        if message_id in MESSAGES:
            raise ValueError(f"message id {message_id} is declared twice")
        message.message_id = message_id
        message.direction = direction
        message.allowed_in = allowed_in
        MESSAGES[message_id] = message
        return message

    return register


# Rows of messages that carry lists.


@declared
class ChannelLimits(Declared):
    """The session limits of one channel."""

    amplitude_ua: int = scalar(U32, "uA", "highest target amplitude")
    phase_charge_pc: int = scalar(U32, "pC", "highest charge of one phase")
    rms_ua: int = scalar(U32, "uA", "highest RMS current over the worst sliding second")
    average_ua: int = scalar(
        U32, "uA", "highest average absolute current over the worst sliding second"
    )


@declared
class PhaseRow(Declared):
    """One phase of a pulse."""

    duration: int = scalar(
        U16, "", "units for an active phase, microseconds for a gap (amplitude 0)"
    )
    amplitude_permille: int = scalar(
        I16, "permille", "signed share of the channel's amplitude; 0 is a gap"
    )


@declared
class KeyframeRow(Declared):
    """One hold of a modulation."""

    at_ms: int = scalar(U32, "ms", "start within the modulation cycle")
    amplitude_permille: int = scalar(U16, "permille", "share of the amplitude, 0 to 1000")
    unit_us: int = scalar(U16, "us", "length of one phase unit, absolute")
    pulse_period_us: int = scalar(U32, "us", "onset to onset of two pulses")


@declared
class TargetRow(Declared):
    """What one channel shall reach."""

    target_ua: int = scalar(U32, "uA", "target amplitude")


@declared
class ChannelStatus(Declared):
    """What one channel does and what was measured on it."""

    target_ua: int = scalar(U32, "uA", "target last accepted")
    setpoint_ua: int = scalar(U32, "uA", "amplitude the channel has ramped to")
    peak_ua: int = scalar(
        U32, "uA", "highest measured current since the last Status, or of the last pulse"
    )
    load_ohm: int = scalar(
        U32, "ohm", "voltage over current at the end of the first active phase; 0 unknown"
    )
    pulse_count: int = scalar(U32, "", "pulses delivered since RUNNING began")
    contact: Contact = enumeration(Contact, "electrode contact")
    cycle_phase: CyclePhase = enumeration(CyclePhase, "place in the on/off cycle")
    flags: ChannelFlag = enumeration(ChannelFlag, "latched and present facts")


# Host to device.


@_declare(0x01, TO_DEVICE, _DE_ENERGISED)
@declared
class Hello(Message):
    """Propose the epoch in the header.

    Adopting it restores the compiled limits and unloads the programme.
    """

    protocol_version: int = scalar(U8, "", "version the host speaks")
    schema_hash: int = scalar(U32, "", "hash of the host's message declarations")


@_declare(0x02, TO_DEVICE)
class GetCapabilities(Message):
    """Ask for Capabilities."""


@_declare(0x03, TO_DEVICE, _SAFE_ONLY)
@declared
class SetLimits(Message):
    """Replace the session limits; each value is at or below the compiled one."""

    setpoint_slew_ua_per_s: int = scalar(U16, "uA/s", "fastest rise of a setpoint")
    rise_per_cycle_ua: int = scalar(U16, "uA", "largest rise of a setpoint within one on/off cycle")
    step_ua: int = scalar(U16, "uA", "largest rise per pulse below 5 Hz")
    running_ms: int = scalar(U32, "ms", "longest continuous RUNNING")
    policy: PolicyFlag = enumeration(PolicyFlag, "lead-off and patient-stop policy")
    channels: tuple[ChannelLimits, ...] = rows(ChannelLimits, CHANNELS_MAX, "one row per channel")


@_declare(0x04, TO_DEVICE, _SAFE_ONLY)
@declared
class BeginProgram(Message):
    """Start loading a programme; what was loaded is gone."""

    channel_count: int = scalar(U8, "", "channels that follow")
    flags: ProgramFlag = enumeration(ProgramFlag, "properties of the whole programme")


@_declare(0x05, TO_DEVICE, _SAFE_ONLY)
@declared
class ProgramPhases(Message):
    """Give one channel's timing and the phases of its pulse."""

    channel: int = scalar(U8, "", "index from 0")
    unit_us: int = scalar(U16, "us", "length of one phase unit where no keyframe says otherwise")
    pulse_period_us: int = scalar(
        U32, "us", "onset to onset of two pulses where no keyframe says otherwise"
    )
    pulse_offset_us: int = scalar(U32, "us", "first onset after the start of an on-phase")
    pulses_per_burst: int = scalar(U16, "", "0 for no bursts")
    burst_period_us: int = scalar(U32, "us", "start to start of two bursts; 0 for no bursts")
    ramp_up_ms: int = scalar(U16, "ms", "rise of the cycle's envelope")
    on_ms: int = scalar(U32, "ms", "plateau of the cycle; 0 for no cycle")
    ramp_down_ms: int = scalar(U16, "ms", "fall of the cycle's envelope")
    off_ms: int = scalar(U32, "ms", "rest of the cycle")
    cycle_offset_ms: int = scalar(U32, "ms", "wait before the first cycle")
    keyframe_cycle_ms: int = scalar(U32, "ms", "length of the modulation cycle; 0 for no keyframes")
    keyframe_count: int = scalar(U8, "", "keyframes that follow in ProgramKeyframes")
    phases: tuple[PhaseRow, ...] = rows(PhaseRow, PHASES_MAX, "the phases in order")


@_declare(0x06, TO_DEVICE, _SAFE_ONLY)
@declared
class ProgramKeyframes(Message):
    """Give the next keyframes of one channel."""

    channel: int = scalar(U8, "", "index from 0")
    first_index: int = scalar(U8, "", "index of the first keyframe here")
    keyframes: tuple[KeyframeRow, ...] = rows(
        KeyframeRow, KEYFRAMES_PER_MESSAGE, "in order of time"
    )


@_declare(0x07, TO_DEVICE, _SAFE_ONLY)
@declared
class CommitProgram(Message):
    """Take the programme if it is whole, well formed and possible here."""

    program_digest: int = scalar(U32, "", "CRC-32 of the programme's canonical bytes")


@_declare(0x08, TO_DEVICE)
@declared
class Drive(Message):
    """Say the whole wanted state; renews the lease."""

    wanted_state: WantedState = enumeration(WantedState, "the state to be in")
    echoed_tick_ms: int = scalar(U32, "ms", "device tick of the newest Status seen")
    program_digest: int = scalar(U32, "", "programme believed loaded; 0 for none")
    limits_digest: int = scalar(U32, "", "limits believed in force")
    targets: tuple[TargetRow, ...] = rows(
        TargetRow, CHANNELS_MAX, "one row per channel of the programme"
    )


@_declare(0x09, TO_DEVICE)
class Stop(Message):
    """Go to zero and SAFE now, whatever the epoch, sequence or state."""


@_declare(0x0A, TO_DEVICE)
@declared
class AcknowledgeFault(Message):
    """Clear a latched fault (no channels) or the lead-off latches of some channels."""

    latch_count: int = scalar(U16, "", "latch count of the Status that the operator saw")
    channels: int = scalar(U8, "", "bit mask of channels to re-arm; 0 for the device's fault")


@_declare(0x0B, TO_DEVICE)
@declared
class GetEvents(Message):
    """Ask for events again, from an index on, as far as the device keeps them."""

    first_index: int = scalar(U16, "", "index of the first event wanted")


@_declare(0x0C, TO_DEVICE, _SAFE_ONLY)
class SelfTest(Message):
    """Run the self-test."""


# Device to host.


@_declare(0x81, TO_HOST)
@declared
class Identity(Message):
    """Answer a Hello: who this is, and whether its epoch was taken."""

    in_reply_to: int = scalar(U16, "", "sequence of the Hello")
    adoption: Adoption = enumeration(Adoption, "whether the epoch was taken")
    protocol_version: int = scalar(U8, "", "version the device speaks")
    schema_hash: int = scalar(U32, "", "hash of the device's message declarations")
    firmware_version: int = scalar(U32, "", "major << 16 | minor << 8 | patch")
    tick_ms: int = scalar(U32, "ms", "device tick")
    state: DeviceState = enumeration(DeviceState, "device state")
    model: str = text(16, "model name")
    serial_number: str = text(16, "serial number")


@_declare(0x82, TO_HOST)
@declared
class Capabilities(Message):
    """Say what this device can do."""

    in_reply_to: int = scalar(U16, "", "sequence of the request")
    channel_count: int = scalar(U8, "", "channels")
    phases_max: int = scalar(U8, "", "phases in a pulse")
    keyframes_max: int = scalar(U8, "", "keyframes of a channel")
    flags: CapabilityFlag = enumeration(CapabilityFlag, "what it does by itself", U16)
    amplitude_max_ua: int = scalar(U32, "uA", "highest amplitude")
    amplitude_step_ua: int = scalar(U16, "uA", "amplitude step")
    compliance_mv: int = scalar(U32, "mV", "highest output voltage")
    phase_min_us: int = scalar(U16, "us", "shortest active phase")
    phase_max_us: int = scalar(U16, "us", "longest active phase")
    pulse_period_min_us: int = scalar(U32, "us", "shortest pulse period")
    residual_ms: int = scalar(U16, "ms", "longest output after the host fell silent")


@_declare(0x83, TO_HOST)
@declared
class LimitsAccepted(Message):
    """Confirm SetLimits."""

    in_reply_to: int = scalar(U16, "", "sequence of the request")
    limits_digest: int = scalar(U32, "", "CRC-32 of the payload of SetLimits")


@_declare(0x84, TO_HOST)
@declared
class ProgramAccepted(Message):
    """Confirm CommitProgram."""

    in_reply_to: int = scalar(U16, "", "sequence of the request")
    program_digest: int = scalar(U32, "", "CRC-32 of the programme's canonical bytes")


@_declare(0x85, TO_HOST)
@declared
class Status(Message):
    """Tell everything that matters now."""

    tick_ms: int = scalar(U32, "ms", "device tick")
    state: DeviceState = enumeration(DeviceState, "device state")
    fault: FaultCode = enumeration(FaultCode, "latched fault")
    latch_count: int = scalar(U16, "", "faults and lead-offs latched since boot")
    inputs: InputFlag = enumeration(InputFlag, "patient stop")
    battery_percent: int = scalar(U8, "%", "charge; 255 for mains")
    drive_sequence: int = scalar(U16, "", "sequence of the newest Drive accepted")
    program_digest: int = scalar(U32, "", "programme loaded; 0 for none")
    limits_digest: int = scalar(U32, "", "limits in force")
    refusal_count: int = scalar(U16, "", "messages refused since boot")
    damaged_count: int = scalar(U16, "", "damaged frames since boot")
    event_count: int = scalar(U16, "", "events since boot")
    running_ms: int = scalar(U32, "ms", "time in RUNNING since it began")
    channels: tuple[ChannelStatus, ...] = rows(ChannelStatus, CHANNELS_MAX, "one row per channel")


@_declare(0x86, TO_HOST)
@declared
class Event(Message):
    """Tell of something that happened, once, as it happens."""

    index: int = scalar(U16, "", "count since boot")
    tick_ms: int = scalar(U32, "ms", "device tick")
    code: EventCode = enumeration(EventCode, "what happened")
    channel: int = scalar(U8, "", "index from 0; 255 for the device")
    detail: int = scalar(I32, "", "state, fault code or ohms, by code")


@_declare(0x87, TO_HOST)
@declared
class Refused(Message):
    """Say that a message was not acted on, and why."""

    in_reply_to: int = scalar(U16, "", "sequence of the message refused")
    message: int = scalar(U8, "", "its message id")
    reason: RefusalReason = enumeration(RefusalReason, "why")
    limit: int = scalar(U8, "", "wire id of the limit (limits.py); 0 for none")
    channel: int = scalar(U8, "", "index from 0; 255 for none")
    asked: int = scalar(I32, "", "what was asked, in the limit's unit; at most 2147483647 is told")
    allowed: int = scalar(I32, "", "what is allowed, in the limit's unit")


@_declare(0x88, TO_HOST)
@declared
class SelfTestReport(Message):
    """Tell how the self-test went."""

    in_reply_to: int = scalar(U16, "", "sequence of the request")
    passed: int = scalar(U16, "", "bit mask of checks passed")
    failed: int = scalar(U16, "", "bit mask of checks failed")
