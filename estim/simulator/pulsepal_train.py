"""How one output of a PulsePal plays, cycle by cycle of 50 us, as its firmware does.

Rules:
1. Every step waits for the cycle that was named for it, and for no later one: what was named for a
   cycle that has passed never comes, and the output stays as it is. That is how a phase of no time,
   or a custom train whose onsets do not rise, holds a voltage without end.
2. A train ends on its cycle, in the middle of a pulse if that is where it falls.
3. Whatever ends a train, the output goes to the resting voltage.
4. A trigger for a channel that plays is kept, and starts it again once it has ended, an abort
   included.

Source: the vendor's firmware 2.0.1, read for what it does; the words and the code are our own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from estim.dialects.pulsepal import CODE_ZERO, CUSTOM_PULSES_MAX

CODE_MODULUS = 1 << 16
TIME_MODULUS = 1 << 32
SLOTS = CUSTOM_PULSES_MAX + 1
"""One more than are written: playing looks at the onset after the last."""


@dataclass(slots=True)
class Settings:
    """What a channel was told, as the device keeps it: cycles and codes. Defaults as at start."""

    is_biphasic: int = 0
    phase_1_code: int = 49_152
    phase_2_code: int = 16_384
    resting_code: int = CODE_ZERO
    phase_1: int = 2
    interphase: int = 2
    phase_2: int = 2
    interpulse: int = 20
    burst: int = 0
    interburst: int = 0
    duration: int = 20_000
    offset: int = 0
    links: list[int] = field(default_factory=lambda: [1, 0])
    custom_train: int = 0
    custom_target: int = 0
    custom_loop: int = 0


class CustomTrain:
    """One of the two custom trains; what an earlier, longer one left behind stays there."""

    def __init__(self) -> None:
        self.count = 0
        self.onsets = [0] * SLOTS
        self.codes = [0] * SLOTS


class _Stage(Enum):
    """Where in a pulse a channel is."""

    BETWEEN = 0
    PHASE_1 = 1
    INTERPHASE = 2
    PHASE_2 = 3


class OutputChannel:
    """Play one output.

    `code` is what the channel wants at its output; it gets there with the next cycle.
    """

    def __init__(self, customs: tuple[CustomTrain, CustomTrain]) -> None:
        self.settings = Settings()
        self.is_continuous = False
        self.is_triggered = False
        self.code = CODE_ZERO
        self._customs = customs
        self._uses_bursts = False
        self._start: int | None = None
        self._is_playing = False
        self._is_in_burst = False
        self._stage = _Stage.BETWEEN
        self._origin = self._end = self._next_pulse = self._next_burst = self._index = 0

    @property
    def is_busy(self) -> bool:
        """Tell whether a train plays or waits for its offset to pass."""
        return self._is_playing or self._start is not None

    def notice_bursts(self) -> None:
        """Find out whether bursts are played; the device does so at some changes alone."""
        told = self.settings
        has_bursts = bool(told.burst and told.interburst and not told.custom_train)
        self._uses_bursts = has_bursts or told.custom_target == 1

    def stop(self) -> None:
        """End the train, if any; a kept trigger stays."""
        self._start = None
        self._is_playing = self._is_in_burst = False
        self._stage = _Stage.BETWEEN
        self._index = 0
        self.code = self.settings.resting_code

    def begin(self, cycle: int) -> None:
        """Take the trigger: the train begins after its offset."""
        self.is_triggered = False
        self._start = cycle + self.settings.offset
        self._is_in_burst = True
        self._stage = _Stage.BETWEEN

    def next_cycle(self, after: int) -> int | None:
        """Return the next cycle on which anything happens here."""
        if not self._is_playing:
            return self._start if self._start is not None and self._start > after else None
        named = [self._end]
        if self._is_in_burst:
            named.append(self._next_pulse)
        if self._uses_bursts:
            named.append(self._next_burst)
        return min((cycle for cycle in named if cycle > after), default=None)

    def step(self, cycle: int) -> None:
        """Do what was named for this cycle."""
        if self._start == cycle:
            self._start_train(cycle)
        if not self._is_playing:
            return
        if self._is_in_burst and cycle == self._next_pulse:
            self._step_pulse(cycle)
        if self._uses_bursts and cycle == self._next_burst and self._is_playing:
            self._step_burst(cycle)
        told = self.settings
        ends = (told.custom_loop == 1 or not told.custom_train) and not self.is_continuous
        if self._is_playing and ends and cycle == self._end:
            self.stop()

    @property
    def _custom(self) -> CustomTrain | None:
        number = self.settings.custom_train
        return self._customs[min(number, 2) - 1] if number else None

    @property
    def _plays_onsets(self) -> bool:
        """Tell whether a custom train says when each pulse begins, and not when each burst does."""
        return bool(self.settings.custom_train) and self.settings.custom_target == 0

    @property
    def _pulse_code(self) -> int:
        """Return the voltage of the first phase at hand."""
        custom = self._custom
        return self.settings.phase_1_code if custom is None else custom.codes[self._index]

    @property
    def _opposite_code(self) -> int:
        """Return the voltage of the second phase; -10 V has no opposite, and stays -10 V."""
        if self._custom is None:
            return self.settings.phase_2_code
        return (2 * CODE_ZERO - self._pulse_code) % CODE_MODULUS

    def _start_train(self, cycle: int) -> None:
        told, custom = self.settings, self._custom
        self._start = None
        self._is_playing = True
        self._stage = _Stage.BETWEEN
        self._index = 0
        self._origin = cycle
        self._end = cycle + told.duration
        self._next_burst = cycle + told.burst
        if told.custom_target == 1:
            self._next_burst = cycle + (custom or self._customs[1]).onsets[0]
            self._is_in_burst = False
        if custom is None:
            self._next_pulse = cycle
            self.code = told.phase_1_code
        else:
            self._next_pulse = cycle + custom.onsets[0]

    # Pulses.

    def _step_pulse(self, cycle: int) -> None:
        if self._stage is _Stage.BETWEEN and self._plays_onsets:
            self._begin_custom_pulse(cycle)
        elif self._stage is _Stage.BETWEEN:
            self._next_pulse = cycle + self.settings.phase_1
            if not (self._uses_bursts and self._next_pulse >= self._next_burst):
                self._stage = _Stage.PHASE_1
                self.code = self._pulse_code
        elif self._stage is _Stage.PHASE_1 and not self.settings.is_biphasic:
            self._end_monophasic(cycle)
        elif self._stage is _Stage.PHASE_1 and self.settings.interphase:
            self._rest(_Stage.INTERPHASE, cycle + self.settings.interphase)
        elif self._stage is _Stage.PHASE_2:
            self._end_biphasic(cycle)
        else:
            self._stage = _Stage.PHASE_2
            self._next_pulse = cycle + self.settings.phase_2
            self.code = self._opposite_code
            if self._plays_onsets:
                self._index += 1

    def _rest(self, stage: _Stage, until: int) -> None:
        self._stage = stage
        self._next_pulse = until
        self.code = self.settings.resting_code

    def _begin_custom_pulse(self, cycle: int) -> None:
        custom = self._custom
        assert custom is not None
        if self.settings.custom_loop == 1 and self._index == custom.count:
            self._index = 0
            self._origin = cycle
        at, is_joined = self._index, False
        if at < custom.count:
            apart = (custom.onsets[at + 1] - custom.onsets[at]) % TIME_MODULUS
            is_joined = apart <= self.settings.phase_1  # the next one begins where this one ends
            self._next_pulse = (
                self._origin + custom.onsets[at + 1] if is_joined else cycle + self.settings.phase_1
            )
        if not is_joined:
            self._stage = _Stage.PHASE_1
        self.code = custom.codes[at]
        if not self.settings.is_biphasic:
            self._index += 1
        if self._index > custom.count:
            self._index = 0
            if not self.settings.custom_loop:
                self.stop()

    def _end_monophasic(self, cycle: int) -> None:
        custom = self._custom
        if custom is None or not self._plays_onsets:
            self._rest(_Stage.BETWEEN, cycle + self.settings.interpulse)
        elif self._index != custom.count:
            self._rest(_Stage.BETWEEN, self._origin + custom.onsets[self._index])
        elif self.settings.custom_loop == 1:
            self._origin = cycle
            self._index = 1
            self._next_pulse = cycle + self.settings.phase_1
            apart = (custom.onsets[1] - custom.onsets[0]) % TIME_MODULUS
            is_joined = apart <= self.settings.phase_1
            self._stage = _Stage.BETWEEN if is_joined else _Stage.PHASE_1
            self.code = custom.codes[0]
        else:
            self.stop()

    def _end_biphasic(self, cycle: int) -> None:
        custom = self._custom
        if custom is not None and self._plays_onsets:
            if self._index == custom.count:
                self.stop()
            else:
                self._rest(_Stage.BETWEEN, self._origin + custom.onsets[self._index])
        elif custom is None and not self.settings.interpulse:
            self._stage = _Stage.PHASE_1
            self._next_pulse = cycle + self.settings.phase_1
            self.code = self.settings.phase_1_code
        else:
            self._rest(_Stage.BETWEEN, cycle + self.settings.interpulse)

    # Bursts.

    def _step_burst(self, cycle: int) -> None:
        told, custom = self.settings, self._custom
        if not self._is_in_burst:
            self._is_in_burst = True
            self._stage = _Stage.PHASE_1
            self._next_burst = cycle + told.burst
            self._next_pulse = cycle + told.phase_1
            if custom is None or self._index < custom.count:
                self.code = self._pulse_code
            return
        if custom is None:
            self._next_pulse = self._next_burst = cycle + told.interburst
        elif told.custom_target == 1:
            self._index += 1
            if self._index == custom.count:
                self.stop()
                return
            self._next_pulse = self._next_burst = self._origin + custom.onsets[self._index]
        self._is_in_burst = False
        self.code = told.resting_code
