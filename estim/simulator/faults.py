"""What may go wrong, as words: one fault per line, in a script with a time, or live without one.

`SCRIPT_HELP` is the whole language, as people are told it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from estim.errors import UsageError
from estim.simulator.load import Load, parse_load
from firmware_protocol.messages import MAINS_PERCENT

US_PER_S = 1_000_000
FRAMES_MAX = 1_000_000
GAIN_MAX_PERMILLE = 5000
PERCENT_MAX = 100
RESULT_MAX = 255
SCRIPT_BYTES_MAX = 65_536

SCRIPT_HELP = """\
fault script: one fault a line, at seconds since the start; # begins a comment
  at 2.0 drop 3              the next 3 frames are lost
  at 2.0 delay 0.2           every frame takes 0.2 s from now on; 0 ends it
  at 2.0 corrupt 3           one bit of each of the next 3 frames is flipped
  at 2.0 duplicate 3         the next 3 frames come twice
  at 2.0 silent 0.5          nothing passes for 0.5 s
  at 2.0 reboot              the device starts again
  at 2.0 hang                the device freezes at zero, until a reboot
  at 2.0 lead-off 1          a lead of channel 1 comes off
  at 2.0 lead-on 1           it is put back
  at 2.0 load 1 typical      another load on channel 1: a name or ohms
  at 2.0 gain 1 1300         the output stage of channel 1 gives 1300 permille
  at 2.0 patient-stop press  the patient's stop is pressed; or release
  at 2.0 battery 4           the charge in percent; 255 is mains
drop, delay, corrupt, duplicate and silent mean both directions, or the one
named at their end: to-device or to-host. The same lines without their time, on
standard input, happen at once.
a P24 has no patient-stop and no battery, but all others, and of its own:
  at 2.0 stall 0.5           it takes up no request and answers none for 0.5 s
  at 2.0 channel-error 1 electrode  channel 1 finds this at its next pulse; or
                             timeout, or low-current
  at 2.0 result 99           it does not obey the next request, and answers so
  at 2.0 renumber 1          the next answer bears another packet's number
  at 2.0 truncate 1          of the next answer only the first half comes
  at 2.0 shorten 1           the next answer is whole, but a byte too short
a PulsePal has no patient-stop and no battery, but all others and stall; it has
no frames, so that drop, corrupt and duplicate count bytes; hang and stall leave
its outputs as they are"""

_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


class Direction(Enum):
    """Which way bytes go."""

    TO_DEVICE = "to-device"
    TO_HOST = "to-host"


BOTH = (Direction.TO_DEVICE, Direction.TO_HOST)


class Verb(Enum):
    """What happens."""

    DROP = "drop"
    DELAY = "delay"
    CORRUPT = "corrupt"
    DUPLICATE = "duplicate"
    SILENT = "silent"
    REBOOT = "reboot"
    HANG = "hang"
    LEAD_OFF = "lead-off"
    LEAD_ON = "lead-on"
    LOAD = "load"
    GAIN = "gain"
    PATIENT_STOP = "patient-stop"
    BATTERY = "battery"
    STALL = "stall"
    CHANNEL_ERROR = "channel-error"
    RESULT = "result"
    RENUMBER = "renumber"
    TRUNCATE = "truncate"
    SHORTEN = "shorten"


LINE_VERBS = frozenset({Verb.DROP, Verb.DELAY, Verb.CORRUPT, Verb.DUPLICATE, Verb.SILENT})
WORLD_VERBS = frozenset({Verb.REBOOT, Verb.HANG, Verb.LEAD_OFF, Verb.LEAD_ON, Verb.LOAD, Verb.GAIN})
NATIVE_VERBS = LINE_VERBS | WORLD_VERBS | {Verb.PATIENT_STOP, Verb.BATTERY}
P24_VERBS = (
    LINE_VERBS
    | WORLD_VERBS
    | {
        Verb.STALL,
        Verb.CHANNEL_ERROR,
        Verb.RESULT,
        Verb.RENUMBER,
        Verb.TRUNCATE,
        Verb.SHORTEN,
    }
)
PULSEPAL_VERBS = LINE_VERBS | WORLD_VERBS | {Verb.STALL}
CHANNEL_ERRORS = ("electrode", "timeout", "low-current")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        verb: what happens.
        at_us: when, since the simulator started; None for now.
        amount: frames, us, permille, percent, a result, the place in `CHANNEL_ERRORS`, or 1 for a
            press, by verb.
        channel: the channel concerned, from 1; 0 for none.
        load: the load to connect.
        directions: where a fault of the line applies.
    """

    verb: Verb
    at_us: int | None = None
    amount: int = 0
    channel: int = 0
    load: Load | None = None
    directions: tuple[Direction, ...] = BOTH


def read_script(
    path: str | Path, channel_count: int, verbs: frozenset[Verb] = NATIVE_VERBS
) -> tuple[Fault, ...]:
    """Read a script of faults, in order of time.

    Raises:
        UsageError: the file cannot be read, or a line makes no sense; names file, line and what was
            expected.
    """
    try:
        # Neither a named pipe nor a device without end holds the simulator up.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"faults {path}: expected a plain file")
            raw = file.read(SCRIPT_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"faults {path}: cannot be read: {error.strerror}") from error
    if len(raw) > SCRIPT_BYTES_MAX:
        raise UsageError(f"faults {path}: expected at most {SCRIPT_BYTES_MAX} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"faults {path}: expected UTF-8 text") from error
    faults = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            fault = parse_line(line, channel_count, verbs)
            if fault is not None and fault.at_us is None:
                raise UsageError("expected `at SECONDS` before the verb")
        except UsageError as error:
            raise UsageError(f"faults {path}, line {number}: {error}") from error
        if fault is not None:
            faults.append(fault)
    return tuple(sorted(faults, key=lambda fault: fault.at_us or 0))


def parse_line(
    line: str, channel_count: int, verbs: frozenset[Verb] = NATIVE_VERBS
) -> Fault | None:
    """Read one line, with or without a time, of what a device can play; None for an empty one.

    Raises:
        UsageError: the line makes no sense; says what was expected.
    """
    words = line.partition("#")[0].split()
    if not words:
        return None
    at_us = None
    if words[0] == "at":
        if len(words) < 2:
            raise UsageError("expected `at SECONDS VERB`")
        at_us = _microseconds(words[1])
        words = words[2:]
        if not words:
            raise UsageError("expected a verb after the time")
    verb = next((verb for verb in Verb if verb in verbs and verb.value == words[0]), None)
    if verb is None:
        known = ", ".join(verb.value for verb in Verb if verb in verbs)
        elsewhere = words[0] in {verb.value for verb in Verb}
        why = ", which this device cannot play" if elsewhere else ""
        raise UsageError(f"expected one of {known}, got {words[0]!r}{why}")
    directions: tuple[Direction, ...] = BOTH
    if verb in LINE_VERBS and words[-1] in {direction.value for direction in Direction}:
        directions = (Direction(words.pop()),)
    usage, build = _GRAMMAR[verb]
    if len(words) != len(usage.split()):
        raise UsageError(f"expected `{usage}`, got {' '.join(words)!r}")
    return build(verb, at_us, words[1:], directions, channel_count)


_Build = Callable[[Verb, int | None, list[str], tuple[Direction, ...], int], Fault]


def _bare(
    verb: Verb, at_us: int | None, _words: list[str], _where: tuple[Direction, ...], _channels: int
) -> Fault:
    return Fault(verb, at_us)


def _frames(
    verb: Verb, at_us: int | None, words: list[str], where: tuple[Direction, ...], _channels: int
) -> Fault:
    return Fault(verb, at_us, _whole("frames", words[0], 1, FRAMES_MAX), directions=where)


def _time(
    verb: Verb, at_us: int | None, words: list[str], where: tuple[Direction, ...], _channels: int
) -> Fault:
    return Fault(verb, at_us, _microseconds(words[0]), directions=where)


def _lead(
    verb: Verb, at_us: int | None, words: list[str], _where: tuple[Direction, ...], channels: int
) -> Fault:
    return Fault(verb, at_us, channel=_whole("channel", words[0], 1, channels))


def _load(
    verb: Verb, at_us: int | None, words: list[str], _where: tuple[Direction, ...], channels: int
) -> Fault:
    channel = _whole("channel", words[0], 1, channels)
    return Fault(verb, at_us, channel=channel, load=parse_load(words[1]))


def _gain(
    verb: Verb, at_us: int | None, words: list[str], _where: tuple[Direction, ...], channels: int
) -> Fault:
    channel = _whole("channel", words[0], 1, channels)
    return Fault(verb, at_us, _whole("permille", words[1], 0, GAIN_MAX_PERMILLE), channel)


def _channel_error(
    verb: Verb, at_us: int | None, words: list[str], _where: tuple[Direction, ...], channels: int
) -> Fault:
    channel = _whole("channel", words[0], 1, channels)
    if words[1] not in CHANNEL_ERRORS:
        raise UsageError(f"expected one of {', '.join(CHANNEL_ERRORS)}, got {words[1]!r}")
    return Fault(verb, at_us, CHANNEL_ERRORS.index(words[1]), channel)


def _result(
    verb: Verb, at_us: int | None, words: list[str], _where: tuple[Direction, ...], _channels: int
) -> Fault:
    return Fault(verb, at_us, _whole("result", words[0], 1, RESULT_MAX))


def _patient_stop(
    verb: Verb, at_us: int | None, words: list[str], _where: tuple[Direction, ...], _channels: int
) -> Fault:
    if words[0] not in ("press", "release"):
        raise UsageError(f"expected `patient-stop press` or `release`, got {words[0]!r}")
    return Fault(verb, at_us, int(words[0] == "press"))


def _battery(
    verb: Verb, at_us: int | None, words: list[str], _where: tuple[Direction, ...], _channels: int
) -> Fault:
    percent = _whole("percent", words[0], 0, MAINS_PERCENT)
    if PERCENT_MAX < percent < MAINS_PERCENT:
        raise UsageError(f"expected 0 to 100 percent, or 255 for mains, got {words[0]!r}")
    return Fault(verb, at_us, percent)


_GRAMMAR: dict[Verb, tuple[str, _Build]] = {
    Verb.DROP: ("drop FRAMES", _frames),
    Verb.DELAY: ("delay SECONDS", _time),
    Verb.CORRUPT: ("corrupt FRAMES", _frames),
    Verb.DUPLICATE: ("duplicate FRAMES", _frames),
    Verb.SILENT: ("silent SECONDS", _time),
    Verb.REBOOT: ("reboot", _bare),
    Verb.HANG: ("hang", _bare),
    Verb.LEAD_OFF: ("lead-off CHANNEL", _lead),
    Verb.LEAD_ON: ("lead-on CHANNEL", _lead),
    Verb.LOAD: ("load CHANNEL OHM|NAME", _load),
    Verb.GAIN: ("gain CHANNEL PERMILLE", _gain),
    Verb.PATIENT_STOP: ("patient-stop press|release", _patient_stop),
    Verb.BATTERY: ("battery PERCENT", _battery),
    Verb.STALL: ("stall SECONDS", _time),
    Verb.CHANNEL_ERROR: (f"channel-error CHANNEL {'|'.join(CHANNEL_ERRORS)}", _channel_error),
    Verb.RESULT: ("result CODE", _result),
    Verb.RENUMBER: ("renumber ANSWERS", _frames),
    Verb.TRUNCATE: ("truncate ANSWERS", _frames),
    Verb.SHORTEN: ("shorten ANSWERS", _frames),
}


def _whole(what: str, text: str, lowest: int, highest: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 7 and lowest <= int(text) <= highest:
        return int(text)
    raise UsageError(f"{what}: expected a whole number from {lowest} to {highest}, got {text!r}")


def _microseconds(text: str) -> int:
    if not _SECONDS.fullmatch(text):
        raise UsageError(f"expected seconds such as 2 or 0.25, got {text!r}")
    whole, _, fraction = text.partition(".")
    return int(whole) * US_PER_S + int((fraction + "000000")[:6])
