"""The patient: electrodes and integrators that trust neither side.

Rules:
1. Every figure is restated by hand from architecture.md, sections 4 to 6. Nothing of `estim` is
   imported.
2. The patient sees currents with their times and knows what lay between the leads. What was asked,
   and what the device says of itself, are nothing to it.
3. Integrals run in the device's own time: a clock that is fast shortens phases and periods alike.

S1: current, charge, density and slope stay in the envelope. S3: no pulse leaves charge behind.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

from tests.campaign.log import Pulse
from tests.campaign.sessions import Envelope

S_US = 1_000_000
GRID_UA = 100
CHARGE_BASE_PC = 20_000_000
CHARGE_SLOPE_PC_PER_US = 28_000
LONGEST_PULSE_US = 10_000
RMS_UA = 50_000
AVERAGE_UA = 10_000
DENSITY_UA_PER_CM2 = 2000
CONTACT_UA = 2000
CONTACT_US = 1_000_000
LEAD_OFF_OHM = 15_000
LEAD_OFF_PULSES = 3
LEAD_OFF_US = 200_000
SLOW_PERIOD_US = 200_000
OVERCURRENT_PULSES = 2
RAMP_US = 500_000
FULL = 1000

Fail = Callable[[str, int, str], None]


class Leads:
    """What lay between a channel's leads, and how true its output stage was, at any time."""

    def __init__(
        self, happened: Sequence[tuple[int, tuple[str, ...]]], channel: int, mended_us: int
    ):
        self.changes: list[tuple[int, bool, int]] = [(-(2**62), True, FULL)]
        is_open, ohm, gain = False, 500, FULL
        number = str(channel + 1)
        for at_us, words in happened:
            if at_us > mended_us:
                break
            if len(words) < 3 or words[2] != number:
                continue
            if words[:2] == ("patient", "open"):
                is_open = True
            elif words[:2] == ("patient", "close"):
                is_open = False
            elif words[:2] == ("patient", "load"):
                ohm = 10**9 if words[3] == "open" else int(words[3])
            elif words[:2] == ("device", "gain"):
                gain = int(words[3])
            else:
                continue
            self.changes.append((at_us, not is_open and ohm < LEAD_OFF_OHM, gain))
        self.changes.append((mended_us, True, FULL))

    def gain(self, at_us: int) -> int:
        return next(gain for from_us, _, gain in reversed(self.changes) if from_us <= at_us)

    def is_on(self, at_us: int) -> bool:
        return next(is_on for from_us, is_on, _ in reversed(self.changes) if from_us <= at_us)

    def was_off(self, from_us: int, until_us: int) -> bool:
        """Tell whether the contact was bad at any time between."""
        return not self.is_on(from_us) or any(
            not is_on for at_us, is_on, _ in self.changes if from_us <= at_us <= until_us
        )

    def spells_off(self) -> list[tuple[int, int]]:
        """Return when the contact was bad."""
        spells, since_us = [], -1
        for at_us, is_on, _ in self.changes:
            if not is_on and since_us < 0:
                since_us = at_us
            elif is_on and since_us >= 0:
                spells.append((since_us, at_us))
                since_us = -1
        return spells


def missing_pulses_max(period_us: int) -> int:
    """Return how many pulses may find no contact before the channel is at zero for good."""
    return max(1, min(LEAD_OFF_PULSES, LEAD_OFF_US // period_us))


def examine(
    pulses: Sequence[Pulse], envelope: Envelope, leads: Sequence[Leads], fail: Fail,
    seen: Counter[str],
) -> None:  # fmt: skip
    """Judge everything that flowed."""
    _overlaps(pulses, fail, seen)
    for channel, lead in enumerate(leads):
        own = [pulse for pulse in pulses if pulse.channel == channel]
        for pulse in own:
            _whole(pulse, fail)
        seen["S3"] += len(own)
        seen["S1"] += len(own)
        _gained(own, lead, fail, seen)
        by_boot: dict[int, list[Pulse]] = {}
        for pulse in own:
            by_boot.setdefault(pulse.boot, []).append(pulse)
        for played in by_boot.values():
            _integrals(played, envelope, lead, fail)
            if envelope.rest_us:
                _cycles(played, envelope, lead, fail, seen)
            else:
                _slope(played, envelope, lead, fail, seen)


def commanded_ua(pulse: Pulse, lead: Leads) -> int:
    """Return what a true output stage would have given."""
    gain = lead.gain(pulse.onset_us)
    return pulse.peak_ua if gain == FULL else pulse.peak_ua * FULL // max(gain, 1)


def unknown(lead: Leads, pulse: Pulse) -> int:
    """Return how far `commanded_ua` may be below what was commanded.

    A stage that is not true rounds to its own grid, and gives nothing of the least.
    """
    gain = lead.gain(pulse.onset_us)
    return 0 if gain == FULL else GRID_UA * FULL // min(gain, FULL)


def _whole(pulse: Pulse, fail: Fail) -> None:
    net_pc = sum(current * duration for _, current, duration in pulse.phases)
    if net_pc:
        fail("S3", pulse.onset_us, f"net charge {net_pc} pC")
    if pulse.end_us - pulse.onset_us > LONGEST_PULSE_US:
        fail("S1", pulse.onset_us, "a pulse longer than 10 ms")
    for _, current, duration in pulse.phases:
        if abs(current) * duration > CHARGE_BASE_PC + CHARGE_SLOPE_PC_PER_US * duration:
            fail("S1", pulse.onset_us, f"{abs(current) * duration} pC in {duration} us")


def _overlaps(pulses: Sequence[Pulse], fail: Fail, seen: Counter[str]) -> None:
    """Two channels never flow at once."""
    busy_until_us: dict[int, tuple[int, int]] = {}
    for pulse in pulses:
        until_us, channel = busy_until_us.get(pulse.boot, (-1, -1))
        if pulse.tick_us < until_us and channel != pulse.channel:
            fail("S1", pulse.onset_us, "two channels at once")
        length_us = pulse.phases[-1][0] + pulse.phases[-1][2]
        busy_until_us[pulse.boot] = (pulse.tick_us + length_us, pulse.channel)
    seen["S1 overlap"] += len({pulse.channel for pulse in pulses}) > 1


def _gained(own: Sequence[Pulse], lead: Leads, fail: Fail, seen: Counter[str]) -> None:
    """A stage that gives over 10 % + 1 mA more is stopped at the second such pulse running."""
    running = 0
    for pulse in own:
        asked_ua = commanded_ua(pulse, lead)
        # Both roundings to the grid, of the stage and of this estimate, may hide 200 uA.
        is_over = pulse.peak_ua * FULL > (asked_ua + 2 * GRID_UA) * 1100 + 1000 * FULL
        running = running + 1 if is_over else 0
        seen["S1 overcurrent"] += is_over
        if running > OVERCURRENT_PULSES:
            fail("S1", pulse.onset_us, f"{running} pulses far above what was set")


def _integrals(own: Sequence[Pulse], envelope: Envelope, lead: Leads, fail: Fail) -> None:
    """Judge amplitude, and every second's RMS, average and density."""
    rms_ua = min(RMS_UA, DENSITY_UA_PER_CM2 * envelope.area_mm2 // 100)
    window: deque[tuple[int, int, int]] = deque()
    squares = charge = 0
    for pulse in own:
        is_true = lead.gain(pulse.onset_us) == FULL
        if commanded_ua(pulse, lead) > envelope.amplitude_ua:
            fail("S1", pulse.onset_us, f"{pulse.peak_ua} uA, {envelope.amplitude_ua} uA at most")
        if not is_true:
            continue
        one_square = sum(current * current * duration for _, current, duration in pulse.phases)
        one_charge = sum(abs(current) * duration for _, current, duration in pulse.phases)
        window.append((pulse.tick_us, one_square, one_charge))
        squares, charge = squares + one_square, charge + one_charge
        while window[0][0] <= pulse.tick_us - S_US:
            _, old_square, old_charge = window.popleft()
            squares, charge = squares - old_square, charge - old_charge
        if squares > rms_ua * rms_ua * S_US:
            fail("S1", pulse.onset_us, f"more than {rms_ua} uA RMS within a second")
        if charge > AVERAGE_UA * S_US:
            fail("S1", pulse.onset_us, "more than 10 mA on average within a second")


def _slope(
    own: Sequence[Pulse], envelope: Envelope, lead: Leads, fail: Fail, seen: Counter[str]
) -> None:
    """No pulse lies above the line that rises at the slew from any before it, or from silence."""
    period_us = envelope.period_us
    is_slow = period_us > SLOW_PERIOD_US
    # Below 5 Hz one step a pulse, whatever the slew would allow.
    rise_ua = min(envelope.slew_ua_per_s * period_us // S_US, envelope.step_ua) if is_slow else 0
    silence_us = period_us * (2 * missing_pulses_max(period_us) + 1) // 2
    former: Pulse | None = None
    base = 0
    judged_us: int | None = None
    for pulse in own:
        ua = commanded_ua(pulse, lead)
        gap_us = S_US if former is None else pulse.tick_us - former.tick_us
        line = rise_ua * S_US // period_us if is_slow else envelope.slew_ua_per_s
        height = ua * S_US - line * pulse.tick_us
        unknown_ua = unknown(lead, pulse)
        if former is None or gap_us > silence_us:
            base = unknown_ua * S_US - line * (pulse.tick_us - period_us)
            since_us = pulse.onset_us - gap_us * 11 // 10
            if lead.was_off(since_us, pulse.onset_us):
                # Contact cannot be judged below 2 mA: so much may wait behind an open lead.
                base += CONTACT_UA * S_US
            # Lowered to zero and raised again within one RUNNING, contact stays proven.
            if former is None or lead.was_off(since_us, pulse.onset_us):
                judged_us = None
            seen["S1 slope from zero"] += 1
        if judged_us is None and ua >= CONTACT_UA:
            judged_us = pulse.tick_us
        is_proven = judged_us is not None and pulse.tick_us - judged_us >= CONTACT_US
        if ua > CONTACT_UA + unknown_ua and not is_proven:
            fail("S1", pulse.onset_us, f"{ua} uA before contact was proven for a second at 2 mA")
        if height > base + GRID_UA * S_US:
            fail("S1", pulse.onset_us, f"{ua} uA rise faster than the slew")
        if lead.is_on(pulse.onset_us):
            base = min(base, height + unknown_ua * S_US)
        former = pulse


def _cycles(
    own: Sequence[Pulse], envelope: Envelope, lead: Leads, fail: Fail, seen: Counter[str]
) -> None:
    """From one on-phase to the next at most the cycle's rise, and each begins with its ramp."""
    former_max = now_max = began_us = 0
    last_us: int | None = None
    former_began_us = on_phase_us = -S_US
    for pulse in own:
        ua = commanded_ua(pulse, lead)
        if last_us is None or pulse.tick_us - last_us > envelope.rest_us:
            former_max, now_max, began_us = now_max, 0, pulse.tick_us
            former_began_us, on_phase_us = on_phase_us, pulse.onset_us - RAMP_US
            seen["S1 cycle"] += 1
        was_off = lead.was_off(former_began_us, pulse.onset_us)
        hidden_ua = CONTACT_UA if was_off else 0
        most_ua = former_max + envelope.rise_per_cycle_ua + hidden_ua
        unknown_ua = unknown(lead, pulse)
        if ua > most_ua + GRID_UA + unknown_ua:
            fail("S1", pulse.onset_us, f"{ua} uA after {former_max} uA in the cycle before")
        into_us = pulse.tick_us - began_us + envelope.period_us
        if (
            into_us < RAMP_US
            and not hidden_ua
            and ua - unknown_ua > most_ua * into_us // RAMP_US + GRID_UA
        ):
            fail("S1", pulse.onset_us, f"{ua} uA {into_us} us into the ramp")
        now_max = max(now_max, ua)
        last_us = pulse.tick_us
