"""What interface and engine say to each other: one JSON object per line.

Rules:
1. Requests go to the engine, replies and snapshots come back; each is one frozen dataclass, named
   in the line by the key `message`.
2. Decoding is strict: unknown kinds, missing or extra keys, wrong types and numbers that are none
   raise `UsageError`, and nothing else is raised.
3. Currents are uA, times ms or us, as the suffix says. Nothing here is rounded for display.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from enum import Enum, Flag
from math import isfinite
from typing import Any, TypeVar, Union, get_args, get_origin

from estim.errors import (
    DeviceFault,
    EstimError,
    LimitRefused,
    PortLost,
    RecordError,
    UsageError,
)
from estim.safety.bounds import Bounds
from estim.session.states import HostState

LINE_MAX = 256 * 1024
TEXT_MAX = 16 * 1024
NUMBER_MAX = 2**63 - 1


class Blame(Enum):
    """Whom a failure points at."""

    DEVICE = "device"
    RIG = "rig"
    HOST = "host"
    OPERATOR = "operator"
    UNKNOWN = "unknown"


class Severity(Enum):
    """How a notice is shown."""

    INFORMATION = "information"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What the core needs of a profile, besides programme and bounds.

    Attributes:
        profile_id: for the record and the display.
        profile_version, profile_sha256: of the profile's file, for the record; on a person all
            three are asked for.
        duration_s: seconds after every target was reached; 0 for no end, on a bench alone.
        step_ua: rise of one key press.
        ramp_down_ms: length of the ramp to zero at the end.
        allows_research_device: the site's policy lets a device that is no medical one be used on a
            person.
    """

    profile_id: str
    duration_s: int
    step_ua: int
    ramp_down_ms: int = 2000
    profile_version: str = ""
    profile_sha256: str = ""
    allows_research_device: bool = False


# Requests: interface to engine.


@dataclass(frozen=True, slots=True)
class _Asked:
    """Ask for something that needs no further words."""

    request_id: int


@dataclass(frozen=True, slots=True)
class OpenRecord:
    """Begin the record; nothing is armed without one. `header` is what `estim.record` documents."""

    request_id: int
    folder: str
    key_folder: str
    session_id: str
    header: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a device URL and identify what is there."""

    request_id: int
    url: str


class Disconnect(_Asked):
    """Close the port; refused while energised."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Load a programme (canonical bytes, hex) with its bounds."""

    request_id: int
    program_hex: str
    bounds: Bounds
    settings: SessionSettings


class Arm(_Asked):
    """Arm at zero."""


class Start(_Asked):
    """Begin RUNNING at zero, from ARMED."""


class Pause(_Asked):
    """Go to zero and stay armed."""


class Resume(_Asked):
    """Begin RUNNING at zero, then ask for the targets of before the pause."""


@dataclass(frozen=True, slots=True)
class Raise:
    """Raise channels (indexes from 0) by one step."""

    request_id: int
    channels: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Lower:
    """Lower channels by `amount_ua`, to zero at most."""

    request_id: int
    channels: tuple[int, ...]
    amount_ua: int


@dataclass(frozen=True, slots=True)
class SetTargets:
    """Set every channel's target at once, on the bench."""

    request_id: int
    targets_ua: tuple[int, ...]


class Finish(_Asked):
    """Ramp down, stop, and clear the programme."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Go to zero now. Overtakes everything."""

    request_id: int
    reason: str = "stop key"


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Acknowledge the latched fault; `latch_count` is that of the snapshot that was on screen."""

    request_id: int
    latch_count: int


@dataclass(frozen=True, slots=True)
class Rearm:
    """Clear the lead-off latch of channels; `latch_count` as in `Acknowledge`."""

    request_id: int
    channels: tuple[int, ...]
    latch_count: int


@dataclass(frozen=True, slots=True)
class Annotate:
    """Append something to the record; confirmed once durable."""

    request_id: int
    kind: str
    content: dict[str, Any]


class SelfTest(_Asked):
    """Have the device test itself; nothing flows. Answered by `SelfTestSeen`."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Begin or cease to be told the frames on the line, on the bench; answered by `Frames`."""

    request_id: int
    frames: bool


@dataclass(frozen=True, slots=True)
class InjectFault:
    """Let something go wrong at the simulator, on the bench: one line of its fault script."""

    request_id: int
    line: str


@dataclass(frozen=True, slots=True)
class CloseVisit:
    """Seal the record and end the engine."""

    request_id: int
    reason: str = "closed"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The display showed beat `beat`."""

    beat: int


Request = (
    OpenRecord
    | Connect
    | Disconnect
    | Prepare
    | Arm
    | Start
    | Pause
    | Resume
    | Raise
    | Lower
    | SetTargets
    | Finish
    | Stop
    | Acknowledge
    | Rearm
    | Annotate
    | SelfTest
    | Watch
    | InjectFault
    | CloseVisit
    | Heartbeat
)


# Replies: engine to interface.


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request; `reasons` is empty, and nobody to blame, where it was done."""

    request_id: int
    is_done: bool
    reasons: tuple[str, ...] = ()
    exit_code: int = 0
    blame: Blame | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people should know, once."""

    at_us: int
    severity: Severity
    text: str
    remedy: str = ""
    blame: Blame | None = None


@dataclass(frozen=True, slots=True)
class ChannelSnapshot:
    """One channel, now.

    Attributes:
        target_ua: what was commanded last.
        setpoint_ua: what the device has ramped to.
        measured_ua: peak that the device measured; -1 where it reports none.
        shown_ua: the larger of commanded and reported; what a display may show.
        ceiling_ua: highest target that passes.
        ceiling_reason: which limit binds there, whose, in words.
        load_ohm: 0 for unknown.
        contact: 'unknown', 'good' or 'off'.
        cycle_phase: 'idle', 'waiting', 'ramp_up', 'plateau', 'ramp_down' or 'off'.
        is_lead_off: latched.
        pulse_count: pulses delivered in this session, pauses included.
        marker_ua: target of before the last pause or lead-off.
    """

    target_ua: int
    setpoint_ua: int
    measured_ua: int
    shown_ua: int
    ceiling_ua: int
    ceiling_reason: str
    load_ohm: int
    contact: str
    cycle_phase: str
    is_lead_off: bool
    is_compliance_reached: bool
    is_shorted: bool
    pulse_count: int
    marker_ua: int


@dataclass(frozen=True, slots=True)
class DeviceSnapshot:
    """Who the device is, and what it can do by itself.

    Attributes:
        residual_ms: how long output may go on after this computer fell silent.
        caution: what whoever picks it must know, in plain words; '' for nothing.
    """

    url: str
    model: str
    serial_number: str
    firmware_version: str
    channel_count: int
    amplitude_max_ua: int
    amplitude_step_ua: int
    reports_current: bool
    has_patient_stop: bool
    residual_ms: int
    capabilities: dict[str, int]
    caution: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A latched fault, in words."""

    code: str
    text: str
    remedy: str
    blame: Blame


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything an interface shows.

    Attributes:
        status_age_ms: since the newest Status; -1 for none.
        is_known: False when the report is older than 500 ms: show UNKNOWN.
        prepared_digest: names everything that is loaded, programme, bounds and settings; what is
            read back before arming on a person names it. Empty with nothing loaded.
        latch_count: faults and lead-offs that the device has latched, as its newest Status counts
            them; -1 without one. Whoever clears a latch sends back what was on screen.
        delivered_ms: time with output, pauses excluded.
        rise_ms, plateau_ms: parts of it before and since every target was reached.
        draw_less: the engine asks the interface to draw less.
        is_link_slow: an echo took over 150 ms.
    """

    at_us: int
    state: HostState
    is_busy: bool
    device: DeviceSnapshot | None
    profile_id: str
    has_program: bool
    prepared_digest: str
    channels: tuple[ChannelSnapshot, ...]
    status_age_ms: int
    is_known: bool
    latch_count: int
    fault: Fault | None
    patient_stop: str
    battery_percent: int
    delivered_ms: int
    rise_ms: int
    plateau_ms: int
    duration_ms: int
    record_path: str
    record_events: int
    draw_less: bool
    is_link_slow: bool
    inhibition: str


@dataclass(frozen=True, slots=True)
class SelfTestSeen:
    """What the device says of its self-test: bit masks of its checks."""

    at_us: int
    passed: int
    failed: int


@dataclass(frozen=True, slots=True)
class FrameSeen:
    """One frame on the line, as it was coded, without the zero that closes it.

    Attributes:
        at_us: when it came in, or was handed to the line.
        is_to_device: which way it goes.
        octets_hex: its bytes; '' for one too long to be a frame.
    """

    at_us: int
    is_to_device: bool
    octets_hex: str


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames since the last of these; `dropped_count` more were not kept."""

    frames: tuple[FrameSeen, ...]
    dropped_count: int


Reply = Outcome | Notice | Snapshot | SelfTestSeen | Frames

_ERRORS: dict[int, type[EstimError]] = {
    error.exit_code: error
    for error in (RecordError, UsageError, PortLost, LimitRefused, DeviceFault)
}
_KINDS: dict[str, type] = {kind.__name__: kind for kind in (*get_args(Request), *get_args(Reply))}
_T = TypeVar("_T")


def to_line(message: Request | Reply) -> bytes:
    """Return one line of JSON, newline included."""
    fields = _plain(message)
    fields["message"] = type(message).__name__
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def from_line(line: bytes) -> Request | Reply:
    """Decode one line.

    Raises:
        UsageError: it is not exactly one known message.
    """
    try:
        fields = json.loads(line, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not a line of JSON: {error}") from None
    if not isinstance(fields, dict):
        raise UsageError("a message is a JSON object")
    name = fields.pop("message", None)
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UsageError("a message names a known kind")
    built: Any = _build(kind, fields, kind.__name__)
    if getattr(built, "request_id", 1) < 1:
        raise UsageError(f"{kind.__name__}.request_id: above 0 expected")
    return typing.cast("Request | Reply", built)


def error_of(outcome: Outcome) -> EstimError:
    """Return why a request was not done, in the class that its exit code names."""
    error = _ERRORS.get(outcome.exit_code, DeviceFault)("; ".join(outcome.reasons))
    error.blame = outcome.blame.value if outcome.blame else ""
    return error


def to_fields(message: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON values."""
    return typing.cast("dict[str, Any]", _plain(message))


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is no number that could be kept")
    return number


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value


def _build(kind: type[_T], fields: dict[str, Any], place: str) -> _T:
    hints = _hints(kind)
    declared = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(fields) - set(declared))
    if unknown:
        raise UsageError(f"{place}: unknown key {unknown[0]!r}")
    built = {}
    for name, field in declared.items():
        if name in fields:
            built[name] = _typed(hints[name], fields[name], f"{place}.{name}")
        elif field.default is dataclasses.MISSING:
            raise UsageError(f"{place}: {name} is missing")
    return kind(**built)


_HINTS: dict[type, dict[str, Any]] = {}


def _hints(kind: type) -> dict[str, Any]:
    found = _HINTS.get(kind)
    if found is None:
        found = _HINTS[kind] = typing.get_type_hints(kind)
    return found


def _typed(hint: Any, value: Any, place: str) -> Any:
    origin = get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list):
            raise UsageError(f"{place}: a list expected")
        return tuple(_typed(get_args(hint)[0], part, place) for part in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise UsageError(f"{place}: an object expected")
        return value
    if origin in (Union, types.UnionType):
        chosen = [part for part in get_args(hint) if part is not type(None)]
        return None if value is None else _typed(chosen[0], value, place)
    if isinstance(hint, type) and issubclass(hint, Enum):
        # A flag takes any number, and a bool for one; only what is declared is known.
        is_known = not issubclass(hint, Flag) or (type(value) is int and 0 <= value <= sum(hint))
        try:
            if is_known:
                return hint(value)
        except ValueError:
            pass
        raise UsageError(f"{place}: unknown value {value!r}")
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise UsageError(f"{place}: an object expected")
        return _build(hint, value, place)
    if type(value) is not hint:
        raise UsageError(f"{place}: {hint.__name__} expected, got {value!r}")
    if hint is int and abs(value) > NUMBER_MAX:
        raise UsageError(f"{place}: the number is too large")
    if hint is str and len(value) > TEXT_MAX:
        raise UsageError(f"{place}: the text is too long")
    return value
