"""One frame of every message, written down by hand.

The hex was worked out from the tables of the wire with `struct` and the packages `cobs` and
`crccheck`, never with the code under test. Keep it: a frame here changes only when the protocol
does.
"""

from __future__ import annotations

from typing import NamedTuple

from firmware_protocol.messages import (
    AcknowledgeFault,
    Adoption,
    BeginProgram,
    Capabilities,
    CapabilityFlag,
    ChannelFlag,
    ChannelLimits,
    ChannelStatus,
    CommitProgram,
    Contact,
    CyclePhase,
    DeviceState,
    Drive,
    Event,
    EventCode,
    FaultCode,
    GetCapabilities,
    GetEvents,
    Hello,
    Identity,
    InputFlag,
    KeyframeRow,
    LimitsAccepted,
    Message,
    PhaseRow,
    PolicyFlag,
    ProgramAccepted,
    ProgramFlag,
    ProgramKeyframes,
    ProgramPhases,
    RefusalReason,
    Refused,
    SelfTest,
    SelfTestReport,
    SetLimits,
    Status,
    Stop,
    TargetRow,
    WantedState,
)

EPOCH = 0xA1B2C3D4E5F60718


class HandWritten(NamedTuple):
    """A message with its header, and its frame with the closing zero."""

    message: Message
    sequence: int
    frame: bytes
    epoch: int = EPOCH


HAND_WRITTEN = (
    HandWritten(
        Hello(protocol_version=1, schema_hash=0x89ABCDEF),
        0,
        bytes.fromhex("020101121807f6e5d4c3b2a101efcdab89aec2064300"),
    ),
    HandWritten(
        GetCapabilities(),
        1,
        bytes.fromhex("0302010d1807f6e5d4c3b2a13b9cd2d800"),
    ),
    HandWritten(
        SetLimits(
            setpoint_slew_ua_per_s=1000,
            rise_per_cycle_ua=2000,
            step_ua=500,
            running_ms=1_800_000,
            policy=PolicyFlag.LEAD_OFF_STOPS_ALL,
            channels=(
                ChannelLimits(30_000, 25_600_000, 20_000, 5_000),
                ChannelLimits(15_000, 24_000_000, 10_000, 2_500),
            ),
        ),
        2,
        bytes.fromhex(
            "030302121807f6e5d4c3b2a1e803d007f40140771b0501023075010106a08601204e0103881301"
            "03983a010106366e0110270103c40901059dd3ab6300"
        ),
    ),
    HandWritten(
        BeginProgram(channel_count=2, flags=ProgramFlag.ALLOW_OVERLAP),
        3,
        bytes.fromhex("0304030f1807f6e5d4c3b2a102012ce93d8d00"),
    ),
    HandWritten(
        ProgramPhases(
            channel=1,
            unit_us=100,
            pulse_period_us=12_500,
            pulse_offset_us=6_250,
            pulses_per_burst=5,
            burst_period_us=500_000,
            ramp_up_ms=1_500,
            on_ms=8_000,
            ramp_down_ms=700,
            off_ms=12_000,
            cycle_offset_ms=20_700,
            keyframe_cycle_ms=4_500,
            keyframe_count=2,
            phases=(PhaseRow(1, 1000), PhaseRow(50, 0), PhaseRow(4, -250)),
        ),
        4,
        bytes.fromhex(
            "0305040b1807f6e5d4c3b2a1016403d43001036a180102050420a10705dc05401f0105bc02e02e"
            "0103dc5001039411010402030104e80332010102040706ff804d8ffa00"
        ),
    ),
    HandWritten(
        ProgramKeyframes(
            channel=1,
            first_index=16,
            keyframes=(
                KeyframeRow(0, 1000, 200, 10_000),
                KeyframeRow(3_000, 640, 250, 500_000),
            ),
        ),
        5,
        bytes.fromhex(
            "0306050c1807f6e5d4c3b2a101100201010104e803c80310270103b80b01048002fa0420a10705"
            "0c897eed00"
        ),
    ),
    HandWritten(
        CommitProgram(program_digest=0xFEDCBA98),
        6,
        bytes.fromhex("030706111807f6e5d4c3b2a198badcfe9def9e5800"),
    ),
    HandWritten(
        Drive(
            wanted_state=WantedState.RUNNING,
            echoed_tick_ms=0x00012345,
            program_digest=0xFEDCBA98,
            limits_digest=0x13572468,
            targets=(TargetRow(12_000), TargetRow(0)),
        ),
        0x0100,
        bytes.fromhex(
            "02080e011807f6e5d4c3b2a1024523010c98badcfe6824571302e02e010101010105e9734de000"
        ),
    ),
    HandWritten(
        Stop(),
        0xFFFF,
        bytes.fromhex("0409ffff01010101010101053654c2b800"),
        epoch=0,
    ),
    HandWritten(
        AcknowledgeFault(latch_count=300, channels=0b1010),
        9,
        bytes.fromhex("030a09101807f6e5d4c3b2a12c010ad50f95c300"),
    ),
    HandWritten(
        GetEvents(first_index=700),
        10,
        bytes.fromhex("030b0a0f1807f6e5d4c3b2a1bc0204d4abd400"),
    ),
    HandWritten(
        SelfTest(),
        11,
        bytes.fromhex("030c0b0d1807f6e5d4c3b2a1f427869d00"),
    ),
    HandWritten(
        Identity(
            in_reply_to=0,
            adoption=Adoption.SCHEMA_MISMATCH,
            protocol_version=1,
            schema_hash=0x89ABCDEF,
            firmware_version=(1 << 16) | (2 << 8) | 3,
            tick_ms=123_456,
            state=DeviceState.FAULT,
            model="EstimSim",
            serial_number="SN-0001",
        ),
        0,
        bytes.fromhex(
            "028101091807f6e5d4c3b2a1010a0201efcdab890302010440e2010a03457374696d53696d0101"
            "010101010108534e2d30303031010101010101010105f133078400"
        ),
    ),
    HandWritten(
        Capabilities(
            in_reply_to=1,
            channel_count=2,
            phases_max=16,
            keyframes_max=32,
            flags=CapabilityFlag(0b111_1011),
            amplitude_max_ua=90_000,
            amplitude_step_ua=100,
            compliance_mv=150_000,
            phase_min_us=20,
            phase_max_us=1_000,
            pulse_period_min_us=2_000,
            residual_ms=330,
        ),
        1,
        bytes.fromhex(
            "0382010a1807f6e5d4c3b2a101050210207b04905f01026404f04902021405e803d00701074a01"
            "acfbffea00"
        ),
    ),
    HandWritten(
        LimitsAccepted(in_reply_to=2, limits_digest=0x13572468),
        2,
        bytes.fromhex("0383020a1807f6e5d4c3b2a10209682457138927f62d00"),
    ),
    HandWritten(
        ProgramAccepted(in_reply_to=6, program_digest=0xFEDCBA98),
        3,
        bytes.fromhex("0384030a1807f6e5d4c3b2a1060998badcfe5dd4ba4f00"),
    ),
    HandWritten(
        Status(
            tick_ms=4_000_000_000,
            state=DeviceState.FAULT,
            fault=FaultCode.PATIENT_STOP,
            latch_count=7,
            inputs=InputFlag.PATIENT_STOP_PRESENT | InputFlag.PATIENT_STOP_PRESSED,
            battery_percent=87,
            drive_sequence=256,
            program_digest=0xFEDCBA98,
            limits_digest=0x13572468,
            refusal_count=5,
            damaged_count=6,
            event_count=41,
            running_ms=61_000,
            channels=(
                ChannelStatus(
                    12_000,
                    11_500,
                    11_420,
                    1_250,
                    6_100,
                    Contact.GOOD,
                    CyclePhase.PLATEAU,
                    ChannelFlag.NONE,
                ),
                ChannelStatus(
                    8_000,
                    0,
                    0,
                    16_000,
                    77,
                    Contact.OFF,
                    CyclePhase.OFF,
                    ChannelFlag.LEAD_OFF_LATCHED | ChannelFlag.COMPLIANCE_REACHED,
                ),
            ),
        ),
        4,
        bytes.fromhex(
            "038504091807f6e5d4c3b2a107286bee0304070303570b0198badcfe6824571305020602290348"
            "ee010402e02e0103ec2c01039c2c0103e2040103d4170103010303401f01010101010101010103"
            "803e01024d01010802050335cc320200"
        ),
    ),
    HandWritten(
        Event(index=40, tick_ms=4_000_000_001, code=EventCode.LEAD_OFF, channel=1, detail=-16_000),
        5,
        bytes.fromhex("0386050a1807f6e5d4c3b2a1280f01286bee060180c1ffff6a9ed25000"),
    ),
    HandWritten(
        Refused(
            in_reply_to=256,
            message=8,
            reason=RefusalReason.LIMIT,
            limit=1,
            channel=0,
            asked=101_000,
            allowed=100_000,
        ),
        6,
        bytes.fromhex("038706091807f6e5d4c3b2a1050108020104888a0104a0860105908885c600"),
    ),
    HandWritten(
        SelfTestReport(in_reply_to=11, passed=0x00F7, failed=0x0008),
        7,
        bytes.fromhex("0388070a1807f6e5d4c3b2a10b02f7020805c6a0d0a600"),
    ),
)
