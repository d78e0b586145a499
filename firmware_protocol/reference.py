"""PROTOCOL.md: the written chapters with tables from the declarations between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum, IntFlag

from firmware_protocol import codec, framing, limits, messages, reference_prose
from firmware_protocol.fields import Wire, wire_fields
from firmware_protocol.messages import (
    FAULT_REMEDIES,
    TO_DEVICE,
    Adoption,
    CapabilityFlag,
    ChannelFlag,
    Contact,
    CyclePhase,
    DeviceState,
    Drive,
    EventCode,
    FaultCode,
    InputFlag,
    Message,
    PolicyFlag,
    ProgramFlag,
    RefusalReason,
    TargetRow,
    WantedState,
)
from firmware_protocol.schema import (
    SCHEMA_HASH,
    enums_used,
    ordered_messages,
    rows_used,
    wire_type,
)

MEANINGS: dict[type[IntEnum] | type[IntFlag], dict[str, str]] = {
    DeviceState: {
        "SAFE": "zero output; limits and programme may be changed",
        "ARMED": "zero output; everything is ready",
        "RUNNING": "the programme plays",
        "FAULT": "zero output, latched",
    },
    WantedState: {
        "SAFE": "zero output",
        "ARMED": "zero output, ready to run",
        "RUNNING": "play towards the targets",
    },
    FaultCode: {
        "NONE": "no fault is latched",
        "LEASE_EXPIRED": "no fresh Drive came in time while RUNNING",
        "OVERCURRENT": "measured current above what was set",
        "RUNNING_TIME": "continuous RUNNING longer than the session limit",
        "PATIENT_STOP": "the patient's own stop was pressed",
        "LINE_NOISE": "too many damaged frames while ARMED or RUNNING",
        "SUPPLY": "battery or supply too low",
        "SELF_TEST": "a check of the self-test failed",
        "OUTPUT_STAGE": "the output stage reports a defect",
    },
    Contact: {
        "UNKNOWN": "not judged yet, or too little current to judge",
        "GOOD": "proven with current",
        "OFF": "lost; the channel is at zero",
    },
    CyclePhase: {
        "IDLE": "not RUNNING",
        "WAITING": "before the first on-phase",
        "RAMP_UP": "the envelope rises",
        "PLATEAU": "full envelope, or no cycle",
        "RAMP_DOWN": "the envelope falls",
        "OFF": "rest between on-phases",
    },
    ChannelFlag: {
        "LEAD_OFF_LATCHED": "lead-off happened; stays until acknowledged",
        "COMPLIANCE_REACHED": "the output voltage is at its limit",
        "SHORTED": "the load is too small for skin",
    },
    InputFlag: {
        "PATIENT_STOP_PRESENT": "a patient's stop is connected",
        "PATIENT_STOP_PRESSED": "pressed; stays until released and acknowledged",
        "PATIENT_STOP_TESTED": "was pressed and released since boot",
    },
    CapabilityFlag: {
        "REPORTS_CURRENT": "`peak_ua` is measured",
        "REPORTS_LOAD": "`load_ohm` is measured",
        "HAS_PATIENT_STOP": "has an input for a patient's stop",
        "HOLDS_BURST": "times bursts by itself",
        "HOLDS_CYCLE": "times on/off cycles by itself",
        "HOLDS_KEYFRAMES": "plays modulations by itself",
        "UNEQUAL_PHASES": "plays pulses that are not equal and opposite in pairs",
    },
    PolicyFlag: {
        "LEAD_OFF_STOPS_ALL": "a lead-off stops every channel",
        "REQUIRE_PATIENT_STOP": "no arming without a patient's stop",
    },
    ProgramFlag: {
        "ALLOW_OVERLAP": "pulses of channels may coincide",
    },
    Adoption: {
        "ADOPTED": "the epoch was taken",
        "ENERGISED": "not taken: the device is RUNNING",
        "SCHEMA_MISMATCH": "not taken: the two ends have different declarations",
    },
    RefusalReason: {
        "STATE": "the message is not allowed in this state",
        "LIMIT": "a limit is exceeded; the message names it, asked and allowed",
        "PROGRAM": "the programme is out of order, not whole or not well formed",
        "PROGRAM_DIGEST": "the digest is not that of the programme here",
        "LIMITS_DIGEST": "the digest is not that of the limits in force",
        "NO_PROGRAM": "no programme is loaded",
        "NOT_FROM_ZERO": "targets must be 0 here",
        "STEP_TOO_FAR": "RUNNING is entered from ARMED alone",
        "FAULT_LATCHED": "a fault is latched",
        "CAPABILITY": "the device cannot play the programme",
        "CHANNELS": "the number of rows does not fit",
        "CAUSE_PRESENT": "the cause of the fault is still there",
        "NOT_THE_LATEST": "something was latched since the Status acknowledged",
        "PATIENT_STOP_MISSING": "the policy wants a patient's stop and there is none",
        "LEAD_OFF_LATCHED": "the channel must be re-armed first",
    },
    EventCode: {
        "BOOTED": "the device started",
        "EPOCH_ADOPTED": "a Hello's epoch was taken",
        "STATE_CHANGED": "`detail` is the new state",
        "FAULT_LATCHED": "`detail` is the fault code",
        "FAULT_CLEARED": "`detail` is the fault code",
        "LEAD_OFF": "`detail` is the load in ohms, 0 unknown",
        "LEAD_OFF_CLEARED": "the channel was re-armed",
        "CONTACT_GOOD": "`detail` is the load in ohms",
        "STOP_RECEIVED": "a Stop came",
        "PATIENT_STOP": "the patient's own stop was pressed (`detail` 1) or released (0)",
    },
}
"""What each value says, by name; a flag of 0 ('NONE') needs no words."""

_FAULT_CAUSES: dict[FaultCode, str] = {
    FaultCode.LEASE_EXPIRED: "the lease ended while RUNNING",
    FaultCode.OVERCURRENT: (
        "measured peak above setpoint x {overcurrent_permille_max} / 1000 + "
        "{overcurrent_margin_ua} uA on {overcurrent_pulses} pulses in a row"
    ),
    FaultCode.RUNNING_TIME: "RUNNING for longer than the session's `running_ms`",
    FaultCode.PATIENT_STOP: "the patient's stop is pressed, in any state",
    FaultCode.LINE_NOISE: (
        "{line_errors_per_s_max} damaged frames within 1 s while ARMED or RUNNING"
    ),
    FaultCode.SUPPLY: "the supply is too low",
    FaultCode.SELF_TEST: "a self-test failed",
    FaultCode.OUTPUT_STAGE: "the output stage reports a defect",
}

EVENTS_KEPT = 64
DRIVE_HZ = 20

_EXAMPLE = Drive(
    wanted_state=WantedState.RUNNING,
    echoed_tick_ms=123_456,
    program_digest=0x600D_CAFE,
    limits_digest=0x1BAD_B002,
    targets=(TargetRow(12_000), TargetRow(0)),
)
_EXAMPLE_SEQUENCE = 258
_EXAMPLE_EPOCH = 0x0123_4567_89AB_CDEF


def render() -> str:
    """Return PROTOCOL.md."""
    figures = _figures()
    chapters = [
        reference_prose.INTRODUCTION,
        reference_prose.LINE,
        reference_prose.STATES,
        reference_prose.CONVERSATION,
        reference_prose.DRIVE,
        reference_prose.PROGRAMME,
        reference_prose.LIMITS,
        reference_prose.FAULTS,
        reference_prose.STATUS,
    ]
    written = [chapter.format_map(figures) for chapter in chapters]
    return "\n".join([*written, *_messages_chapter(), *_rows_chapter(), *_enums_chapter()])


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    heads = list(head)
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _figures() -> dict[str, object]:
    """Return every figure that the written chapters mention, by the name they use."""
    figures: dict[str, object] = {
        "protocol_version": messages.PROTOCOL_VERSION,
        "schema_hash": SCHEMA_HASH,
        "payload_max": codec.PAYLOAD_MAX,
        "body_min": codec.BODY_MIN,
        "body_max": codec.BODY_MAX,
        "frame_max": framing.FRAME_MAX,
        "channels_max": messages.CHANNELS_MAX,
        "phases_max": messages.PHASES_MAX,
        "keyframes_max": messages.KEYFRAMES_MAX,
        "keyframes_per_message": messages.KEYFRAMES_PER_MESSAGE,
        "charge_base_pc": limits.PHASE_CHARGE_BASE_PC,
        "charge_slope_pc": limits.PHASE_CHARGE_SLOPE_PC_PER_US,
        "slow_pulse_ms": limits.SLOW_PULSE_US // 1000,
        "contact_pulses": limits.CONTACT_PULSES,
        "contact_ms": limits.CONTACT_US // 1000,
        "lead_off_pulses": limits.LEAD_OFF_PULSES,
        "lead_off_us": limits.LEAD_OFF_US,
        "overcurrent_margin_ua": limits.OVERCURRENT_MARGIN_UA,
        "overcurrent_pulses": limits.OVERCURRENT_PULSES,
        "events_kept": EVENTS_KEPT,
        "drive_hz": DRIVE_HZ,
        "worked_example": _worked_example(),
    }
    for limit in limits.LIMITS:
        figures[f"{limit.name}_max"] = limit.hard_max
        figures[f"{limit.name}_min"] = limit.hard_min
    figures["limit_ids"] = table(
        ("wire id", "limit", "unit"),
        ((str(limit.wire_id), f"`{limit.name}`", limit.unit) for limit in limits.LIMITS),
    ).rstrip()
    figures["fault_table"] = table(
        ("fault", "when", "what to do"),
        (
            (fault.name, cause.format_map(figures), FAULT_REMEDIES[fault])
            for fault, cause in _FAULT_CAUSES.items()
        ),
    ).rstrip()
    return figures


def _worked_example() -> str:
    body = codec.encode_body(_EXAMPLE, _EXAMPLE_SEQUENCE, _EXAMPLE_EPOCH)
    rows: list[tuple[str, str, str]] = []
    start = 0

    def cut(size: int, field: str, meaning: object) -> None:
        nonlocal start
        rows.append((f"`{body[start : start + size].hex(' ')}`", field, str(meaning)))
        start += size

    cut(1, "`message_id`", f"{_EXAMPLE.message_id}, {type(_EXAMPLE).__name__}")
    cut(2, "`sequence`", _EXAMPLE_SEQUENCE)
    cut(8, "`epoch`", f"0x{_EXAMPLE_EPOCH:016x}")
    for name, wire in wire_fields(type(_EXAMPLE)):
        field = getattr(_EXAMPLE, name)
        if wire.row is None:
            is_digest = name.endswith("_digest")
            meaning = field.name if wire.enum else f"0x{field:08x}" if is_digest else field
            cut(wire.scalar.size, f"`{name}`", meaning)
            continue
        cut(1, f"rows of `{name}`", len(field))
        for number, row in enumerate(field):
            for row_name, row_wire in wire_fields(wire.row):
                cut(row_wire.scalar.size, f"`{row_name}` of row {number}", getattr(row, row_name))
    cut(4, "CRC-32", f"0x{int.from_bytes(body[-4:], 'little'):08x}")
    frame = framing.encode_frame(body)
    return (
        "A `Drive` for two channels, the first at 12 mA:\n\n"
        + table(("bytes", "field", "says"), rows)
        + f"\nThose {len(body)} bytes in COBS, with a closing zero, are {len(frame)} bytes on "
        + "the line:\n\n```\n"
        + "\n".join(frame[at : at + 16].hex(" ") for at in range(0, len(frame), 16))
        + "\n```"
    )


def _messages_chapter() -> Iterator[str]:
    yield (
        "## 9. Messages\n\n"
        "Fields lie in the order given, without gaps. Rows are preceded by their count (u8). "
        "`u8 Name` is a\nnumber with the values that chapter 11 lists; `textN` has N bytes.\n"
    )
    for declared in ordered_messages():
        yield _message_section(declared)


def _message_section(declared: type[Message]) -> str:
    to_device = declared.direction == TO_DEVICE
    lines = [
        f"### 0x{declared.message_id:02X} {declared.__name__}\n",
        f"{(declared.__doc__ or '').strip()}\n".replace("\n    ", "\n"),
    ]
    if to_device:
        states = ", ".join(state.name for state in sorted(declared.allowed_in))
        is_every = declared.allowed_in == frozenset(DeviceState)
        lines.append(f"Host to device. Allowed in {'every state' if is_every else states}.\n")
    else:
        lines.append("Device to host.\n")
    lines.append(_field_table(declared))
    return "\n".join(lines)


def _field_table(declared: type) -> str:
    fields = wire_fields(declared)
    if not fields:
        return "No payload.\n"
    return table(
        ("field", "type", "unit", "what"),
        ((f"`{name}`", _linked_type(wire), wire.unit, wire.doc) for name, wire in fields),
    )


def _linked_type(wire: Wire) -> str:
    if wire.row is not None:
        return f"up to {wire.row_maximum} x `{wire.row.__name__}`"
    return f"`{wire_type(wire)}`"


def _rows_chapter() -> Iterator[str]:
    yield "## 10. Rows\n"
    for row in rows_used():
        yield f"### {row.__name__}\n\n{row.__doc__}\n\n{_field_table(row)}"


def _enums_chapter() -> Iterator[str]:
    yield "## 11. Values\n"
    for kind in enums_used():
        note = " Flags: any sum of them." if issubclass(kind, IntFlag) else ""
        rows = ((str(int(kind[name])), name, meaning) for name, meaning in MEANINGS[kind].items())
        first_line = (kind.__doc__ or "").strip()
        yield f"### {kind.__name__}\n\n{first_line}{note}\n\n" + table(
            ("value", "name", "says"), rows
        )
