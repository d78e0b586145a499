"""Play one channel of a programme from the host, for a device that holds nothing but a pulse train.

Rules:
1. A setpoint falls at once and rises only on the plateau of an on-phase, where something is
   delivered: never in silence, in a ramp, or in a pause of a modulation.
2. It rises no faster than the slew, and no more in one pulse period or one on-phase than the
   session allows.
3. Between two moments at which a device is told, it plays the lower of what holds at either: the
   host's lateness never adds current.
4. The amplitude is a whole number of the device's steps before any phase is made of it.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from firmware_protocol.messages import CyclePhase, SetLimits
from firmware_protocol.program import FULL_PERMILLE, US_PER_MS, ChannelProgram, Keyframe

US_PER_S = 1_000_000
UPDATE_US = 50_000
"""How often a device is told while something rises or falls."""
HOLD_MIN_US = 50_000
"""The shortest part of a programme that the host plays by updates."""


class Train(NamedTuple):
    """A train of equal pulses, for as long as nothing else is said."""

    amplitude_ua: int
    unit_us: int
    pulse_period_us: int


class Place(NamedTuple):
    """Where a channel stands in its programme.

    Attributes:
        cycle_phase: in its on/off cycle.
        permille: what the ramp leaves of the amplitude, times what the keyframe leaves.
        setting: the keyframe that holds.
        is_pulsing: whether pulses come now, and not the rest between two bursts.
        on_phase: how many on-phases began before this one.
        until_us: when something of this changes, in run time; None for never.
    """

    cycle_phase: CyclePhase
    ramp_permille: int
    setting: Keyframe
    is_pulsing: bool
    on_phase: int
    until_us: int | None


class ChannelPlayer:
    """Follow one channel since RUNNING began; times are of the host's clock."""

    def __init__(self, channel: ChannelProgram, limits: SetLimits, amplitude_step_ua: int) -> None:
        self._channel = channel
        self._limits = limits
        self._grid_ua = channel.grid_ua(amplitude_step_ua)
        self._starts_us = [setting.at_ms * US_PER_MS for setting in channel.settings]
        self.begin(0)

    def begin(self, now_us: int) -> None:
        """Set the channel's clock to zero, and its setpoint."""
        self._began_us = self._seen_us = now_us
        self._credit = 0
        self._risen_ua = 0
        self._risen_on_phase = 0
        self._pulses_us = 0
        self._playing: Train | None = None
        self.target_ua = 0
        self.setpoint_ua = 0
        self.pulse_count = 0

    def aim(self, target_ua: int) -> None:
        """Take a target: down at once, up as time passes.

        Pulses are counted from what was played: a device that does not count them leaves no other.
        """
        self.target_ua = target_ua
        self.setpoint_ua = min(self.setpoint_ua, target_ua)

    def advance(self, now_us: int) -> None:
        """Let the setpoint rise, and count pulses, for the time that has passed."""
        elapsed_us = now_us - self._seen_us
        before = self._place(self._seen_us - self._began_us)
        place = self._place(now_us - self._began_us)
        self._seen_us = now_us
        if self._playing is not None:
            whole, self._pulses_us = divmod(
                self._pulses_us + elapsed_us, self._playing.pulse_period_us
            )
            self.pulse_count += whole
        if self.setpoint_ua < self.target_ua and _is_felt(before) and _is_felt(place):
            self._rise(place, elapsed_us)

    def train(self, now_us: int) -> Train | None:
        """Return what to play from now on; None for nothing."""
        self._playing = self._train(now_us)
        return self._playing

    def _train(self, now_us: int) -> Train | None:
        run_us = now_us - self._began_us
        place, later = self._place(run_us), self._place(run_us + UPDATE_US)
        if not place.is_pulsing:
            return None
        ramp_permille = place.ramp_permille
        if later.is_pulsing and later.on_phase == place.on_phase:
            ramp_permille = min(ramp_permille, later.ramp_permille)
        amplitude_ua = self.setpoint_ua * ramp_permille // FULL_PERMILLE
        amplitude_ua = amplitude_ua * place.setting.amplitude_permille // FULL_PERMILLE
        amplitude_ua -= amplitude_ua % self._grid_ua
        if not amplitude_ua:
            return None
        return Train(amplitude_ua, place.setting.unit_us, place.setting.pulse_period_us)

    def cycle_phase(self, now_us: int) -> CyclePhase:
        """Return the place in the on/off cycle."""
        return self._place(now_us - self._began_us).cycle_phase

    def next_change_us(self, now_us: int) -> int | None:
        """Return when `train` may answer otherwise, if no target comes in between."""
        if not self.target_ua:
            return None
        place = self._place(now_us - self._began_us)
        is_moving = self.setpoint_ua < self.target_ua or place.cycle_phase in _RAMPS
        due = [self._began_us + place.until_us] if place.until_us is not None else []
        if is_moving:
            due.append(now_us + UPDATE_US)
        return min(due, default=None)

    def _rise(self, place: Place, elapsed_us: int) -> None:
        limits, period_us = self._limits, place.setting.pulse_period_us
        slew = min(limits.setpoint_slew_ua_per_s, limits.step_ua * US_PER_S // period_us)
        rise_ua, self._credit = divmod(
            self._credit + slew * min(elapsed_us, 2 * UPDATE_US), US_PER_S
        )
        if self._channel.cycle is not None:
            if self._risen_on_phase != place.on_phase:
                self._risen_on_phase, self._risen_ua = place.on_phase, 0
            rise_ua = min(rise_ua, limits.rise_per_cycle_ua - self._risen_ua)
        rise_ua = min(rise_ua, self.target_ua - self.setpoint_ua)
        self._risen_ua += rise_ua
        self.setpoint_ua += rise_ua

    def _place(self, run_us: int) -> Place:
        """Return where a run time lies (PROTOCOL.md, chapter 5)."""
        cycle = self._channel.cycle
        if cycle is None:
            return self._within(run_us, CyclePhase.PLATEAU, FULL_PERMILLE, 0, None)
        offset_us, total_us = cycle.offset_ms * US_PER_MS, cycle.total_ms * US_PER_MS
        if run_us < offset_us:
            return Place(CyclePhase.WAITING, 0, self._channel.settings[0], False, 0, offset_us)
        on_phase, at_us = divmod(run_us - offset_us, total_us)
        began_us = run_us - at_us
        up_us = cycle.ramp_up_ms * US_PER_MS
        down_us = up_us + cycle.on_ms * US_PER_MS
        off_us = down_us + cycle.ramp_down_ms * US_PER_MS
        if at_us < up_us:
            part = (CyclePhase.RAMP_UP, FULL_PERMILLE * at_us // up_us, up_us)
        elif at_us < down_us:
            part = (CyclePhase.PLATEAU, FULL_PERMILLE, down_us)
        elif at_us < off_us:
            left = FULL_PERMILLE * (off_us - at_us) // (off_us - down_us)
            part = (CyclePhase.RAMP_DOWN, left, off_us)
        else:
            first = self._channel.settings[0]
            return Place(CyclePhase.OFF, 0, first, False, on_phase, began_us + total_us)
        phase, permille, end_us = part
        return self._within(run_us, phase, permille, on_phase, began_us + end_us, at_us)

    def _within(
        self, run_us: int, phase: CyclePhase, permille: int, on_phase: int, end_us: int | None,
        at_us: int | None = None,
    ) -> Place:  # fmt: skip
        """Return the place within an on-phase: its keyframe, and its burst."""
        channel, settings = self._channel, self._channel.settings
        at_us = run_us if at_us is None else at_us
        due = [] if end_us is None else [end_us]
        setting = settings[0]
        if channel.keyframes:
            cycle_us = channel.keyframe_cycle_ms * US_PER_MS
            frame_us = at_us % cycle_us
            index = bisect_right(self._starts_us, frame_us) - 1
            setting = settings[index]
            next_us = (*self._starts_us[1:], cycle_us)[index]
            due.append(run_us + next_us - frame_us)
        is_pulsing = True
        if channel.pulses_per_burst:
            burst_us = at_us % channel.burst_period_us
            # Between the last onset of a burst and the one that must not come.
            last_us = (2 * channel.pulses_per_burst - 1) * setting.pulse_period_us // 2
            is_pulsing = burst_us < last_us
            due.append(run_us - burst_us + (last_us if is_pulsing else channel.burst_period_us))
        return Place(phase, permille, setting, is_pulsing, on_phase, min(due, default=None))


def shortest_part_ms(channel: ChannelProgram) -> int | None:
    """Return the shortest part of a programme that the host must play; None where there is none."""
    parts_ms = []
    if channel.cycle is not None:
        cycle = channel.cycle
        parts_ms += [cycle.ramp_up_ms, cycle.on_ms, cycle.ramp_down_ms, cycle.off_ms]
    if channel.keyframes:
        starts_ms = [*(frame.at_ms for frame in channel.keyframes), channel.keyframe_cycle_ms]
        parts_ms += [later - earlier for earlier, later in pairwise(starts_ms)]
    return min((each for each in parts_ms if each), default=None)


_RAMPS = (CyclePhase.RAMP_UP, CyclePhase.RAMP_DOWN)


def _is_felt(place: Place) -> bool:
    """Tell whether a rise would be felt at once: on a plateau, where pulses come."""
    is_plateau = place.cycle_phase is CyclePhase.PLATEAU
    return is_plateau and place.is_pulsing and bool(place.setting.amplitude_permille)
