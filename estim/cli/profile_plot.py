"""`estim profiles plot`: pulse, train, burst, what modulates them, and the session's envelope."""

from __future__ import annotations

import shutil
import textwrap
from argparse import Namespace
from collections.abc import Sequence

from estim.cli.arguments import targets_ua, whole
from estim.cli.console import can_print, complain, progress, say
from estim.cli.new_file import new_file
from estim.cli.plot import BRAILLE_FULL, Axes, Step, draw
from estim.cli.profile_figures import rate_hz
from estim.cli.version import VERSION_TEXT
from estim.errors import UsageError
from estim.prepare.places import configuration_folder
from estim.prepare.session import Prepared, check_targets, prepare
from estim.prepare.site import load_site
from estim.profile.library import find
from estim.profile.loader import LoadedProfile
from estim.units import MS_PER_S, UA_PER_MA, US_PER_MS, US_PER_S, format_clock, format_ma
from estim.waveform.envelope import Pace, session_envelope
from estim.waveform.pictures import Page, render
from estim.waveform.pulses import PulseTrain, pulses
from firmware_protocol import limits
from firmware_protocol.program import FULL_PERMILLE, ChannelProgram, PulseProgram

WIDTH_MIN, WIDTH_MAX = 40, 240
_PULSE_ROWS, _TRAIN_ROWS, _ENVELOPE_ROWS = 8, 6, 5
_PULSES_SHOWN = 8
_BURSTS_SHOWN = 2
_DOTS_ACROSS = 2
_SUBTITLE_CHARACTERS = 110


def run(arguments: Namespace) -> int:
    """Draw a profile in the terminal, or into files.

    Raises:
        ProfileError: there is no such profile, or it cannot be used.
        LimitRefused: a limit refuses an amplitude.
        UsageError: no such channel, no such width, a file that is there already, no matplotlib.
    """
    loaded = find(arguments.profile)
    prepared = prepare(
        loaded.profile,
        is_bench=True,
        site=load_site(configuration_folder()),
        origin=loaded.origin,
    )
    amplitudes_ua = tuple(line.ceiling_ua for line in prepared.ceilings)
    if arguments.amplitude:
        amplitudes_ua = targets_ua(arguments.amplitude, len(amplitudes_ua))
        check_targets(prepared, amplitudes_ua)
    if arguments.svg is None and arguments.png is None:
        return _say(arguments, loaded, prepared, amplitudes_ua)
    page = _page(loaded, prepared, amplitudes_ua)
    for form in ("svg", "png"):
        path = getattr(arguments, form)
        if path is not None:
            _write(page, form, path, arguments.force)
    return 0


def _say(
    arguments: Namespace,
    loaded: LoadedProfile,
    prepared: Prepared,
    amplitudes_ua: tuple[int, ...],
) -> int:
    """Draw one channel in the terminal."""
    number = whole("--channel", arguments.channel, 1, len(prepared.program.channels))
    width = min(shutil.get_terminal_size().columns, WIDTH_MAX)
    if arguments.width is not None:
        width = whole("--width", arguments.width, WIDTH_MIN, WIDTH_MAX)
    drawing = _Drawing(prepared, number - 1, amplitudes_ua, max(width, WIDTH_MIN))
    line = prepared.ceilings[number - 1]
    at = f"{format_ma(amplitudes_ua[number - 1])} mA"
    say(f"{loaded.profile.title} ({loaded.profile.id})")
    say(
        f"channel {number}, {line.name}, at "
        + (at if arguments.amplitude else f"its ceiling of {at}")
    )
    drawing.pulse()
    drawing.train()
    drawing.burst()
    drawing.envelope()
    drawing.modulation()
    drawing.session()
    return 0


def _page(loaded: LoadedProfile, prepared: Prepared, amplitudes_ua: tuple[int, ...]) -> Page:
    profile = loaded.profile
    amplitudes = ", ".join(f"{format_ma(amplitude_ua)} mA" for amplitude_ua in amplitudes_ua)
    words = [f"mode {profile.mode}", f"amplitude {amplitudes}", profile.review_status]
    if profile.is_bench_only:
        words.insert(0, "FOR THE BENCH ONLY")
    return Page(
        title=profile.title,
        subtitle=textwrap.shorten("; ".join(words), _SUBTITLE_CHARACTERS, placeholder=" ..."),
        footer=(
            f"{profile.id} {profile.version}, programme {prepared.program.digest:08x}",
            f"file sha256 {loaded.sha256}",
            f"{VERSION_TEXT} Computed from the programme, not measured.",
        ),
        program=prepared.program,
        names=tuple(line.name for line in prepared.ceilings),
        amplitudes_ua=amplitudes_ua,
        amplitude_step_ua=prepared.bounds.amplitude_step_ua,
        pace=_pace(prepared),
        duration_s=prepared.settings.duration_s,
    )


def _write(page: Page, form: str, path: str, replaces: bool) -> None:
    # Opened first: a file that is there already is refused at once.
    with new_file(f"--{form}", path, replaces=replaces) as file, progress(f"drawing {path}"):
        try:
            picture = render(page, form)
        except ImportError:
            raise UsageError(
                f"--{form}: needs the extra 'plot': pip install 'estim[plot]'"
            ) from None
        file.write(picture)
    complain(f"{len(picture)} bytes written to {path}")


def _pace(prepared: Prepared) -> Pace:
    """Return how fast the tightest bounds let a setpoint rise."""

    def tightest(name: str) -> int:
        return min(bound.value for bound in prepared.bounds.session if bound.limit == name)

    return Pace(
        tightest(limits.setpoint_slew_ua_per_s.name),
        tightest(limits.rise_per_cycle_ua.name),
        tightest(limits.step_ua.name),
    )


class _Drawing:
    """Draw one channel of a programme."""

    def __init__(
        self, prepared: Prepared, index: int, amplitudes_ua: tuple[int, ...], width: int
    ) -> None:
        self._prepared = prepared
        self._amplitudes_ua = amplitudes_ua
        self._program: PulseProgram = prepared.program
        self._channel: ChannelProgram = prepared.program.channels[index]
        self._index = index
        self._amplitude_ua = amplitudes_ua[index]
        self._step_ua = prepared.bounds.amplitude_step_ua
        self._width = width
        self._is_ascii = not can_print(BRAILLE_FULL + "│└─")

    def pulse(self) -> None:
        """Draw one pulse at full amplitude."""
        setting = next(frame for frame in self._channel.settings if frame.amplitude_permille)
        length_us = self._channel.pulse_us(setting.unit_us)
        steps = self._phases(0, self._amplitude_ua, setting.unit_us, 1)
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
        where = " from the plateau's start" if cycle else ""
        self._draw_train("train, {count} pulses" + where, start_us, length_us)

    def burst(self) -> None:
        """Draw one burst of the plateau, if there are bursts."""
        channel, cycle = self._channel, self._channel.cycle
        if not channel.pulses_per_burst:
            return
        start_us = (cycle.offset_ms + cycle.ramp_up_ms) * US_PER_MS if cycle else 0
        # The first burst of the plateau, wherever the cycle's start has put it.
        start_us = int(self._pulses(start_us, 2 * channel.burst_period_us).onset_us[0])
        length_us = channel.pulses_per_burst * channel.settings[0].pulse_period_us
        title = (
            f"one burst of {channel.pulses_per_burst} pulses; "
            f"the next after {channel.burst_period_us / US_PER_MS:g} ms"
        )
        self._draw_train(title, start_us, min(length_us, channel.burst_period_us))

    def session(self) -> None:
        """Draw the amplitude over the whole session: rise, plateau, ramp down."""
        columns = _DOTS_ACROSS * self._width
        whole_session = session_envelope(
            self._program,
            self._amplitudes_ua,
            self._step_ua,
            _pace(self._prepared),
            self._prepared.settings.duration_s,
            columns,
        )
        shape = whole_session.channels[self._index]
        per_column_min = whole_session.total_us / US_PER_S / 60 / columns
        steps = []
        for column, (low_ua, high_ua) in enumerate(
            zip(shape.low_ua.tolist(), shape.high_ua.tolist(), strict=True)
        ):
            start, middle, end = ((column + share) * per_column_min for share in (0.0, 0.5, 1.0))
            steps.append(Step(start, middle, low_ua / UA_PER_MA))
            steps.append(Step(middle, end, high_ua / UA_PER_MA))
        title = (
            f"whole session: rise {format_clock(round(whole_session.rise_us / US_PER_S))}, plateau "
            f"{format_clock(whole_session.plateau_us // US_PER_S)}, then 2 s down"
        )
        self._draw(title, steps, 0, round(columns * per_column_min, 1), "min", _ENVELOPE_ROWS)

    def _draw_train(self, title: str, start_us: int, length_us: int) -> None:
        train = self._pulses(start_us, length_us)
        steps: list[Step] = []
        for onset_us, amplitude_ua, unit_us in zip(
            train.onset_us.tolist(),
            train.amplitude_ua.tolist(),
            train.unit_us.tolist(),
            strict=True,
        ):
            steps += self._phases(onset_us - start_us, amplitude_ua, unit_us, US_PER_MS)
        title = title.format(count=train.count)
        self._draw(title, steps, 0, length_us / US_PER_MS, "ms", _TRAIN_ROWS)

    def _pulses(self, start_us: int, length_us: int) -> PulseTrain:
        """Return the channel's pulses within a span of time."""
        return pulses(
            self._program,
            self._index,
            self._amplitude_ua,
            self._step_ua,
            start_us,
            start_us + length_us,
        )

    def envelope(self) -> None:
        """Draw the amplitude over one on/off cycle."""
        cycle = self._channel.cycle
        if cycle is None:
            say()
            say("no on/off cycle: continuous")
            return
        start_us = cycle.offset_ms * US_PER_MS
        length_us = cycle.total_ms * US_PER_MS
        train = self._pulses(start_us, length_us)
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
        full_ma = self._amplitude_ua / UA_PER_MA
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
