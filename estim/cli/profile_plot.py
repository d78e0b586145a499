"""`estim profiles plot`: one pulse, a train of them and what modulates them, at the ceiling."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Sequence

from estim.cli.arguments import whole
from estim.cli.console import can_print, say
from estim.cli.plot import BRAILLE_FULL, Axes, Step, draw
from estim.cli.profile_figures import rate_hz
from estim.prepare.session import Prepared, prepare
from estim.profile.library import find
from estim.units import MS_PER_S, UA_PER_MA, US_PER_MS, US_PER_S, format_ma
from estim.waveform.pulses import pulses
from firmware_protocol.program import FULL_PERMILLE, ChannelProgram, PulseProgram

WIDTH_MIN, WIDTH_MAX = 40, 240
_PULSE_ROWS, _TRAIN_ROWS, _ENVELOPE_ROWS = 8, 6, 5
_PULSES_SHOWN = 8
_BURSTS_SHOWN = 2


def run(arguments: Namespace) -> int:
    """Draw a profile.

    Raises:
        ProfileError: there is no such profile, or it cannot be used.
        UsageError: no such channel, or no such width.
    """
    loaded = find(arguments.profile)
    prepared = prepare(loaded.profile, is_bench=True, origin=loaded.path)
    number = whole("--channel", arguments.channel, 1, len(prepared.program.channels))
    width = min(shutil.get_terminal_size().columns, WIDTH_MAX)
    if arguments.width is not None:
        width = whole("--width", arguments.width, WIDTH_MIN, WIDTH_MAX)
    drawing = _Drawing(prepared, number - 1, max(width, WIDTH_MIN))
    line = prepared.ceilings[number - 1]
    say(f"{loaded.profile.title} ({loaded.profile.id})")
    say(f"channel {number}, {line.name}, at its ceiling of {format_ma(line.ceiling_ua)} mA")
    drawing.pulse()
    drawing.train()
    drawing.envelope()
    drawing.modulation()
    return 0


class _Drawing:
    """Draw one channel of a programme."""

    def __init__(self, prepared: Prepared, index: int, width: int) -> None:
        self._program: PulseProgram = prepared.program
        self._channel: ChannelProgram = prepared.program.channels[index]
        self._index = index
        self._ceiling_ua = prepared.ceilings[index].ceiling_ua
        self._step_ua = prepared.bounds.amplitude_step_ua
        self._width = width
        self._is_ascii = not can_print(BRAILLE_FULL + "│└─")

    def pulse(self) -> None:
        """Draw one pulse at full amplitude."""
        setting = next(frame for frame in self._channel.settings if frame.amplitude_permille)
        length_us = self._channel.pulse_us(setting.unit_us)
        steps = self._phases(0, self._ceiling_ua, setting.unit_us, 1)
        edge_us = max(1, length_us // 8)
        self._draw(f"one pulse, {length_us} us", steps, -edge_us, length_us + edge_us, "us")

    def train(self) -> None:
        """Draw some pulses or bursts of the plateau."""
        channel, cycle = self._channel, self._channel.cycle
        start_us = (cycle.offset_ms + cycle.ramp_up_ms) * US_PER_MS if cycle else 0
        slowest_us = max(frame.pulse_period_us for frame in channel.settings)
        length_us = _PULSES_SHOWN * slowest_us
        if channel.pulses_per_burst:
            length_us = _BURSTS_SHOWN * channel.burst_period_us
        train = pulses(
            self._program,
            self._index,
            self._ceiling_ua,
            self._step_ua,
            start_us,
            start_us + length_us,
        )
        steps: list[Step] = []
        for onset_us, amplitude_ua, unit_us in zip(
            train.onset_us.tolist(),
            train.amplitude_ua.tolist(),
            train.unit_us.tolist(),
            strict=True,
        ):
            steps += self._phases(onset_us - start_us, amplitude_ua, unit_us, US_PER_MS)
        where = " from the plateau's start" if cycle else ""
        title = f"train, {train.count} pulses{where}"
        self._draw(title, steps, 0, length_us / US_PER_MS, "ms", _TRAIN_ROWS)

    def envelope(self) -> None:
        """Draw the amplitude over one on/off cycle."""
        cycle = self._channel.cycle
        if cycle is None:
            say()
            say("no on/off cycle: continuous")
            return
        start_us = cycle.offset_ms * US_PER_MS
        length_us = cycle.total_ms * US_PER_MS
        train = pulses(
            self._program,
            self._index,
            self._ceiling_ua,
            self._step_ua,
            start_us,
            start_us + length_us,
        )
        onsets_us = [onset_us - start_us for onset_us in train.onset_us.tolist()]
        end_us = min(length_us, cycle.on_phase_ms * US_PER_MS)
        steps = [
            Step(onset_us / US_PER_S, next_us / US_PER_S, amplitude_ua / UA_PER_MA)
            for onset_us, next_us, amplitude_ua in zip(
                onsets_us, [*onsets_us[1:], end_us], train.amplitude_ua.tolist(), strict=True
            )
        ]
        title = (
            f"on/off cycle: up {cycle.ramp_up_ms / MS_PER_S:g} s, on {cycle.on_ms / MS_PER_S:g} s, "
            f"down {cycle.ramp_down_ms / MS_PER_S:g} s, off {cycle.off_ms / MS_PER_S:g} s"
        )
        self._draw(title, steps, 0, length_us / US_PER_S, "s", _ENVELOPE_ROWS)

    def modulation(self) -> None:
        """Draw what keyframes change: amplitude, pulse rate, phase duration."""
        channel = self._channel
        first, settings = channel.phases[0], channel.settings
        full_ma = self._ceiling_ua / UA_PER_MA
        quantities: tuple[tuple[str, str, list[float]], ...] = (
            ("amplitude", "mA", [f.amplitude_permille * full_ma / FULL_PERMILLE for f in settings]),
            ("pulse rate", "Hz", [rate_hz(f.pulse_period_us) for f in settings]),
            ("first phase", "us", [channel.phase_us(first, f.unit_us) for f in settings]),
        )
        starts_s = [frame.at_ms / MS_PER_S for frame in channel.settings]
        end_s = channel.keyframe_cycle_ms / MS_PER_S
        for name, unit, held in quantities:
            if len(set(held)) == 1:
                continue
            steps = [
                Step(start_s, until_s, one)
                for start_s, until_s, one in zip(
                    starts_s, [*starts_s[1:], end_s], held, strict=True
                )
            ]
            self._draw(f"modulation of the {name}", steps, 0, end_s, "s", _ENVELOPE_ROWS, unit)

    def _phases(
        self, onset_us: int, amplitude_ua: int, unit_us: int, us_per_unit: int
    ) -> list[Step]:
        """Return the phases of one pulse as steps in mA."""
        steps = []
        currents_ua = self._channel.phase_currents_ua(amplitude_ua, self._step_ua)
        for phase, current_ua in zip(self._channel.phases, currents_ua, strict=True):
            end_us = onset_us + self._channel.phase_us(phase, unit_us)
            steps.append(Step(onset_us / us_per_unit, end_us / us_per_unit, current_ua / UA_PER_MA))
            onset_us = end_us
        return steps

    def _draw(
        self,
        title: str,
        steps: Sequence[Step],
        start: float,
        end: float,
        time_unit: str,
        rows: int = _PULSE_ROWS,
        unit: str = "mA",
    ) -> None:
        lowest = min((step.held for step in steps), default=0)
        highest = max((step.held for step in steps), default=0)
        axes = Axes(start, end, min(0, lowest), max(highest, 0) or 1, time_unit, unit)
        say()
        say(title)
        for line in draw(steps, axes, self._width, rows, self._is_ascii):
            say(line)
