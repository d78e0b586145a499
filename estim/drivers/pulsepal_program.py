"""Say whether a PulsePal can play a programme, and make of a train what each channel is told.

Rules:
1. A current becomes a voltage by the declared load, rounded towards zero to a whole millivolt,
   before either phase is made of it: both phases are of one size.
2. A train is finite, ends with a whole pulse, and is over within 500 ms, or is a single pulse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from estim.dialects import pulsepal
from estim.dialects.pulsepal import CYCLE_US, Parameter
from estim.drivers.player import HOLD_MIN_US, Train, shortest_part_ms
from estim.drivers.stand_in import HELD_BY_HOST
from estim.errors import UsageError
from firmware_protocol import limits
from firmware_protocol.messages import CHANNELS_MAX, KEYFRAMES_MAX, Capabilities
from firmware_protocol.program import ChannelProgram, PulseProgram

TRAIN_MAX_US = 500_000
"""The longest train: after it a device whose host has died is silent."""
REST_MIN_US = 100
"""The shortest rest between two pulses: a train ends within it."""
LOAD_OHM_MAX = 1_000_000
PHASE_MAX_US = 60_000
CLIENT = "ESTIM "
UA_OHM_PER_MV = 1000
US_PER_MS = 1000


class Told(NamedTuple):
    """What a channel is told for one train.

    Attributes:
        values: parameters and their values.
        occupied_us: from the trigger until the next train may begin.
        pulse_count: pulses of the train.
    """

    values: dict[Parameter, int]
    occupied_us: int
    pulse_count: int


def declared_load_ohm(address: str) -> int:
    """Return the load that a URL declares.

    Raises:
        UsageError: it declares none, or one that makes no sense.
    """
    pairs = (pair.partition("=") for pair in address.partition("?")[2].split("&"))
    texts = [value for name, _, value in pairs if name == "load"]
    text = texts[0] if len(texts) == 1 else ""
    if text.isascii() and text.isdigit() and 1 <= int(text[:8]) <= LOAD_OHM_MAX:
        return int(text)
    raise UsageError(
        f"{address}: a PulsePal puts out a voltage, so its URL declares the load, once, as whole "
        f"ohms up to {LOAD_OHM_MAX}, for example pulsepal:/dev/ttyACM0?load=1000"
    )


def capabilities(load_ohm: int) -> Capabilities:
    """Return what a PulsePal can do into a load."""
    return Capabilities(
        in_reply_to=0,
        channel_count=min(pulsepal.CHANNELS, CHANNELS_MAX),
        phases_max=3,
        keyframes_max=KEYFRAMES_MAX,
        flags=HELD_BY_HOST,
        amplitude_max_ua=min(
            pulsepal.VOLTAGE_MAX_MV * UA_OHM_PER_MV // load_ohm, limits.amplitude_ua.maximum
        ),
        amplitude_step_ua=-(-UA_OHM_PER_MV // load_ohm),
        compliance_mv=pulsepal.VOLTAGE_MAX_MV,
        phase_min_us=CYCLE_US,
        phase_max_us=PHASE_MAX_US,
        pulse_period_min_us=2 * CYCLE_US + REST_MIN_US,
        residual_ms=TRAIN_MAX_US // US_PER_MS,
    )


def quiet_settings() -> list[bytes]:
    """Return what makes a PulsePal begin nothing by itself, the resting voltage first.

    Bursts come after custom trains, since the device works out then whether it plays any; and
    continuous play is switched off when no channel has a voltage to play.
    """
    values = {
        Parameter.RESTING_VOLTAGE: 0,
        Parameter.PHASE_1_VOLTAGE: 0,
        Parameter.PHASE_2_VOLTAGE: 0,
        Parameter.LINK_TRIGGER_1: 0,
        Parameter.LINK_TRIGGER_2: 0,
        Parameter.CUSTOM_TRAIN: 0,
        Parameter.CUSTOM_TARGET: 0,
        Parameter.CUSTOM_LOOP: 0,
        Parameter.IS_BIPHASIC: 1,
        Parameter.BURST_DURATION: 0,
        Parameter.INTERBURST_GAP: 0,
    }
    numbers = range(1, pulsepal.CHANNELS + 1)
    return [
        *(
            pulsepal.program_one(parameter, number, value)
            for parameter, value in values.items()
            for number in numbers
        ),
        *(pulsepal.continuous(number, False) for number in numbers),
        pulsepal.client_name(CLIENT),
        *(pulsepal.abort(), pulsepal.abort(), pulsepal.handshake()),
    ]


def shortfalls(program: PulseProgram) -> tuple[str, ...]:
    """Return one sentence for each thing in a programme that cannot be played on a PulsePal."""
    found = [
        f"channel {number}: {words}"
        for number, channel in enumerate(program.channels, start=1)
        for words in (*_shape_shortfalls(channel), *_time_shortfalls(channel))
    ]
    return tuple(dict.fromkeys(found))


def remarks(program: PulseProgram) -> tuple[str, ...]:
    """Return one sentence for each thing that is played otherwise than written, safely."""
    found = []
    for number, channel in enumerate(program.channels, start=1):
        times = {"pulse periods": {each.pulse_period_us for each in channel.settings}}
        times["pulse offsets"] = {channel.pulse_offset_us}
        for what, each_us in times.items():
            changed = sorted(time_us for time_us in each_us if played_us(time_us) != time_us)
            if changed:
                found.append(
                    f"channel {number}: {what} are rounded up to steps of {CYCLE_US} us "
                    f"({changed[0]} us to {played_us(changed[0])} us)"
                )
    rates = {tuple(each.pulse_period_us for each in chan.settings) for chan in program.channels}
    if len(rates) > 1:
        found.append("channels begin their trains together: the faster ones wait for the slower")
    return tuple(found)


def played_us(time_us: int) -> int:
    """Return a time on the device's grid, rounded up: never more pulses than approved."""
    return -(-time_us // CYCLE_US) * CYCLE_US


def voltage_mv(amplitude_ua: int, load_ohm: int) -> int:
    """Return the voltage of an amplitude, never more than it needs."""
    return amplitude_ua * load_ohm // UA_OHM_PER_MV


def told(
    channel: ChannelProgram, train: Train | None, load_ohm: int, horizon_us: int
) -> Told | None:
    """Return what a channel is told for a train that ends before a horizon; None for silence."""
    if train is None:
        return None
    first, last = channel.phases[0], channel.phases[-1]
    size_mv = voltage_mv(train.amplitude_ua, load_ohm)
    first_us = channel.phase_us(first, train.unit_us)
    last_us = channel.phase_us(last, train.unit_us)
    pulse_us, period_us = channel.pulse_us(train.unit_us), played_us(train.pulse_period_us)
    offset_us = played_us(channel.pulse_offset_us)
    end_us = offset_us + pulse_us + CYCLE_US
    if _is_steady(channel):
        horizon_us = max(horizon_us, end_us)  # nothing ends there: it is only looked at again
    room_us = min(horizon_us, TRAIN_MAX_US) - end_us
    if not size_mv or room_us < 0:
        return None
    pulse_count = room_us // period_us + 1
    sign = 1 if first.amplitude_permille > 0 else -1
    values = {
        Parameter.PHASE_1_VOLTAGE: sign * size_mv,
        Parameter.PHASE_2_VOLTAGE: -sign * size_mv,
        Parameter.PHASE_1_DURATION: first_us,
        Parameter.INTERPHASE_GAP: pulse_us - first_us - last_us,
        Parameter.PHASE_2_DURATION: last_us,
        Parameter.INTERPULSE_GAP: period_us - pulse_us,
        Parameter.TRAIN_DURATION: (pulse_count - 1) * period_us + pulse_us + CYCLE_US,
        Parameter.TRAIN_OFFSET: offset_us,
    }
    return Told(values, offset_us + pulse_count * period_us, pulse_count)


def _is_steady(channel: ChannelProgram) -> bool:
    """Tell whether a channel plays on and on, without parts that end."""
    return not (channel.cycle or channel.keyframes or channel.pulses_per_burst)


def _shape_shortfalls(channel: ChannelProgram) -> Iterator[str]:
    is_gap = [phase.is_gap for phase in channel.phases]
    if is_gap not in ([False, False], [False, True, False]):
        yield "the device plays one phase, maybe a gap, and the opposite phase"
        return
    for what, wants_gap in (("phase", False), ("gap", True)):
        times_us = {
            channel.phase_us(phase, setting.unit_us)
            for setting in channel.settings
            for phase in channel.phases
            if phase.is_gap is wants_gap
        }
        off_us = sorted(time_us for time_us in times_us if time_us % CYCLE_US)
        if off_us:
            more = len(off_us) - 1
            others = f" (and {more} other{'s' if more > 1 else ''})" if more else ""
            yield f"a {what} of {off_us[0]} us{others}, expected steps of {CYCLE_US} us"
    rest_us = min(
        each.pulse_period_us - channel.pulse_us(each.unit_us) for each in channel.settings
    )
    if rest_us < REST_MIN_US:
        yield f"{rest_us} us between two pulses, expected at least {REST_MIN_US} us"


def _time_shortfalls(channel: ChannelProgram) -> Iterator[str]:
    longest_us = max(channel.pulse_us(setting.unit_us) for setting in channel.settings)
    end_max_us = TRAIN_MAX_US if _is_steady(channel) else HOLD_MIN_US
    if played_us(channel.pulse_offset_us) + longest_us + CYCLE_US > end_max_us:
        yield f"a pulse that ends later than {end_max_us} us after its train began"
    shortest_ms = shortest_part_ms(channel)
    if channel.pulses_per_burst:
        burst_ms = channel.burst_period_us // US_PER_MS
        shortest_ms = min(burst_ms, burst_ms if shortest_ms is None else shortest_ms)
    if shortest_ms is not None and shortest_ms * US_PER_MS < HOLD_MIN_US:
        yield (
            f"a part of {shortest_ms} ms, which this computer cannot time: at least "
            f"{HOLD_MIN_US // US_PER_MS} ms"
        )
