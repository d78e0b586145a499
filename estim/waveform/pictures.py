"""Draw a profile on one page, as SVG or PNG: pulse, train or burst, modulation, cycle, session.

Rules:
1. What is drawn is the quantised programme; figures on the page come from its integers.
2. A channel is told by a lane or a line style of its own and by its label, not by colour alone;
   the colours are those of Okabe and Ito, which colour-blind people can tell apart. Every axis has
   a title with its unit.
3. The same page gives the same bytes: no date, fixed identifiers, and the fonts of matplotlib.
4. matplotlib (the extra `plot`) is imported when `render` is called, not before.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estim.units import MS_PER_S, UA_PER_MA, US_PER_MS, US_PER_S, format_clock
from estim.waveform.envelope import Pace, SessionEnvelope, session_envelope
from estim.waveform.pulse_drawing import GREY, INK, draw_pulse
from estim.waveform.pulses import PulseTrain, pulses
from estim.waveform.render import phase_currents_ua, phase_edges_us
from firmware_protocol.program import FULL_PERMILLE, ChannelProgram, PulseProgram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PNG_DPI = 150
WIDTH_IN = 8.27
"""The width of A4."""

_LEFT_IN, _RIGHT_IN = 0.75, 0.25
_HEAD_IN, _FOOT_IN = 0.6, 0.6
_TITLE_IN, _WORDS_IN, _SPACE_IN = 0.3, 0.45, 0.14

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_STYLES = ("-", (0, (6, 2)), (0, (6, 2, 1, 2)), (0, (1, 1.4)))
_COLUMNS = 1600
_CYCLES_SHOWN = 100
_TITLE_CHARACTERS = 58
_PULSES_SHOWN = 6
_BEAT_PULSES = 100
_SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "estim",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,
    "path.simplify": False,
}


@dataclass(frozen=True, slots=True)
class Page:
    """What is drawn.

    Attributes:
        title: of the profile.
        subtitle: one line below it.
        footer: lines at the foot of the page.
        program: what the channels play.
        names: of the channels.
        amplitudes_ua: what each channel reaches, on the device's grid.
        amplitude_step_ua: step of the device that the programme is quantised for.
        pace: how fast setpoints may rise.
        duration_s: plateau of the session.
    """

    title: str
    subtitle: str
    footer: tuple[str, ...]
    program: PulseProgram
    names: tuple[str, ...]
    amplitudes_ua: tuple[int, ...]
    amplitude_step_ua: int
    pace: Pace
    duration_s: int


def render(page: Page, form: str) -> bytes:
    """Return the page as 'svg' or 'png'.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **_SETTINGS}
    with (
        matplotlib.rc_context(settings),
        warnings.catch_warnings(),
    ):
        # A title may hold a letter that the font lacks: a box stands for it.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        drawing = _Drawing(page)
        figure = Figure(figsize=(WIDTH_IN, drawing.height_in))
        drawing.draw(figure)
        target = io.BytesIO()
        # Neither a date nor the version of the library: the same page gives the same bytes.
        nothing = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(target, format=form, dpi=PNG_DPI, metadata=nothing)
    return target.getvalue()


@dataclass(frozen=True, slots=True)
class _Panel:
    """What draws a part of the page, and the axes that it needs."""

    draw: Callable[[list[Axes]], None]
    axes_height_in: float
    rows: int = 1
    columns: int = 1

    @property
    def height_in(self) -> float:
        """Return the height with a title above and the words of the time axis below."""
        return _TITLE_IN + self.rows * self.axes_height_in + (self.rows - 1) * _SPACE_IN + _WORDS_IN


class _Drawing:
    """Draw one page; channels that look alike in a panel share a drawing."""

    def __init__(self, page: Page) -> None:
        self._page = page
        channels = page.program.channels
        everyone = range(len(channels))
        playing = [index for index in everyone if page.amplitudes_ua[index]]
        self._indexes = playing or list(everyone)
        self._pulse_groups = self._alike(
            lambda i: (channels[i].phases, channels[i].settings, page.amplitudes_ua[i])
        )
        self._modulated = self._alike(
            lambda i: (channels[i].keyframes, channels[i].phases[0], page.amplitudes_ua[i]),
            [i for i in self._indexes if channels[i].keyframes],
        )
        self._quantities = [name for name in _QUANTITIES if self._varies(name)]
        self._cycled = self._alike(
            lambda i: (channels[i].cycle, page.amplitudes_ua[i]),
            [i for i in self._indexes if channels[i].cycle],
        )
        self._session_groups = self._alike(
            lambda i: (
                channels[i].cycle, channels[i].settings, channels[i].phases,
                channels[i].pulses_per_burst, page.amplitudes_ua[i],
            )
        )  # fmt: skip
        panels = [_Panel(self._pulse, 2.2, columns=len(self._pulse_groups))]
        panels.append(_Panel(self._train, 0.62, rows=len(self._indexes)))
        if self._quantities:
            panels.append(_Panel(self._modulation, 0.75, rows=len(self._quantities)))
        if self._cycled:
            panels.append(_Panel(self._cycle, 1.2))
        panels.append(_Panel(self._session, 0.85, rows=len(self._session_groups)))
        self._panels = panels

    @property
    def height_in(self) -> float:
        """Return the height of the page."""
        return _HEAD_IN + sum(panel.height_in for panel in self._panels) + _FOOT_IN

    def draw(self, figure: Figure) -> None:
        """Draw all panels, top to bottom, each with its axes below one another or side by side."""
        page, height_in = self._page, self.height_in
        left = _LEFT_IN / WIDTH_IN
        size = min(13, 13 * _TITLE_CHARACTERS / len(page.title))
        figure.text(left, 1 - 0.3 / height_in, page.title, fontsize=size, fontweight="bold")
        figure.text(left, 1 - 0.52 / height_in, page.subtitle, fontsize=8.5, color=GREY)
        for number, line in enumerate(reversed(page.footer)):
            figure.text(left, (0.15 + 0.15 * number) / height_in, line, fontsize=7, color=GREY)
        top_in = height_in - _HEAD_IN
        for panel in self._panels:
            panel.draw(_axes_of(figure, panel, top_in, height_in))
            top_in -= panel.height_in

    def _alike(self, key: Any, indexes: Sequence[int] | None = None) -> list[list[int]]:
        """Return channels in groups of those for which `key` is the same, in order."""
        groups: dict[Any, list[int]] = {}
        for index in self._indexes if indexes is None else indexes:
            groups.setdefault(key(index), []).append(index)
        return list(groups.values())

    def _label(self, group: Sequence[int]) -> str:
        if len(group) > 1:
            return f"channels {', '.join(str(index + 1) for index in group)}"
        return f"channel {group[0] + 1}: {self._page.names[group[0]]}"

    def _line(self, index: int) -> dict[str, Any]:
        place = self._indexes.index(index) % len(_COLOURS)
        return {"color": _COLOURS[place], "linestyle": _STYLES[place], "linewidth": 1.3}

    def _pulse(self, row: list[Axes]) -> None:
        """Draw one pulse of each kind, with its dimensions."""
        for axes, group in zip(row, self._pulse_groups, strict=True):
            channel, index = self._page.program.channels[group[0]], group[0]
            setting = next(s for s in channel.settings if s.amplitude_permille == FULL_PERMILLE)
            durations_us = [channel.phase_us(phase, setting.unit_us) for phase in channel.phases]
            currents_ua = channel.phase_currents_ua(
                self._page.amplitudes_ua[index], self._page.amplitude_step_ua
            )
            which = "" if len(self._pulse_groups) == 1 else f", {self._label(group)}"
            axes.set_title(f"One pulse, {sum(durations_us)} µs{which}")
            draw_pulse(axes, durations_us, currents_ua, self._line(index))

    def _train(self, lanes: list[Axes]) -> None:
        """Draw one burst, or some pulses, of each channel in a lane of its own."""
        channels = [self._page.program.channels[index] for index in self._indexes]
        length_us = max(_train_us(channel) for channel in channels)
        unit, per_unit = ("s", US_PER_S) if length_us > 2 * US_PER_S else ("ms", US_PER_MS)
        for axes, index, channel in zip(lanes, self._indexes, channels, strict=True):
            cycle = channel.cycle
            start_us = (cycle.offset_ms + cycle.ramp_up_ms) * US_PER_MS if cycle else 0
            train = pulses(
                self._page.program, index, self._page.amplitudes_ua[index],
                self._page.amplitude_step_ua, start_us, start_us + length_us,
            )  # fmt: skip
            times, currents = _corners(channel, train, self._page.amplitude_step_ua)
            look = {**self._line(index), "linestyle": "-", "linewidth": 0.9}
            axes.plot(
                np.concatenate(
                    ([-length_us / per_unit], (times - start_us) / per_unit, [length_us / per_unit])
                ),
                np.concatenate(([0], currents / UA_PER_MA, [0])),
                **look,
            )
            _name_lane(axes, self._label([index]))
            axes.set_ylabel("mA")
            top_ma = max(self._page.amplitudes_ua[index] / UA_PER_MA, 0.1)
            axes.set_ylim(-1.2 * top_ma, 2 * top_ma)
            axes.set_yticks([-top_ma, 0, top_ma])
            axes.set_xlim(-0.015 * length_us / per_unit, length_us / per_unit)
        lanes[0].set_title(_train_title(channels[0]))
        where = "time from the plateau's start" if channels[0].cycle else "time"
        if len({channel.cycle for channel in channels}) > 1:
            where = "time from the start of each channel's own plateau"
        lanes[-1].set_xlabel(f"{where} ({unit})")

    def _varies(self, name: str) -> bool:
        return any(len(set(self._quantity(name, group[0]))) > 1 for group in self._modulated)

    def _quantity(self, name: str, index: int) -> list[float]:
        """Return what each keyframe of a channel makes of a quantity."""
        channel, amplitude_ua = self._page.program.channels[index], self._page.amplitudes_ua[index]
        if name == "pulse rate":
            return [US_PER_S / frame.pulse_period_us for frame in channel.keyframes]
        if name == "first phase":
            return [channel.phase_us(channel.phases[0], f.unit_us) for f in channel.keyframes]
        return [
            channel.deliverable_ua(
                amplitude_ua * frame.amplitude_permille // FULL_PERMILLE,
                self._page.amplitude_step_ua,
            )
            / UA_PER_MA
            for frame in channel.keyframes
        ]

    def _modulation(self, rows: list[Axes]) -> None:
        """Draw what changes over a modulation cycle."""
        cycle_ms = max(
            self._page.program.channels[group[0]].keyframe_cycle_ms for group in self._modulated
        )
        unit, ms_per_unit = ("s", MS_PER_S) if cycle_ms >= MS_PER_S else ("ms", 1)
        for axes, name in zip(rows, self._quantities, strict=True):
            for group in self._modulated:
                channel = self._page.program.channels[group[0]]
                held = self._quantity(name, group[0])
                times = [frame.at_ms / ms_per_unit for frame in channel.keyframes]
                times.append(channel.keyframe_cycle_ms / ms_per_unit)
                axes.step(
                    times, [*held, held[-1]], where="post",
                    label=self._label(group), **self._line(group[0]),
                )  # fmt: skip
            axes.set_ylabel(f"{name}\n({_QUANTITIES[name]})")
            highest = max(max(self._quantity(name, group[0])) for group in self._modulated)
            axes.set_ylim(0, 1.2 * highest)
        if len(self._modulated) > 1:
            rows[0].legend(loc="upper right", frameon=False, ncols=len(self._modulated))
        for axes in rows:
            axes.set_xlim(0, cycle_ms / ms_per_unit)
        rows[0].set_title(f"Modulation cycle, repeated every {cycle_ms / ms_per_unit:g} {unit}")
        rows[-1].set_xlabel(f"time ({unit})")

    def _cycle(self, row: list[Axes]) -> None:
        """Draw the amplitude over one on/off cycle."""
        (axes,) = row
        words = ""
        cycles = [self._page.program.channels[group[0]].cycle for group in self._cycled]
        end_s = max(cycle.offset_ms + cycle.total_ms for cycle in cycles if cycle) / MS_PER_S
        for group, cycle in zip(self._cycled, cycles, strict=True):
            assert cycle is not None
            parts_s = [
                part_ms / MS_PER_S
                for part_ms in (cycle.ramp_up_ms, cycle.on_ms, cycle.ramp_down_ms, cycle.off_ms)
            ]
            top_ma = self._page.amplitudes_ua[group[0]] / UA_PER_MA
            corners_s, corners_ma = [0.0], [0.0]
            begin_s = cycle.offset_ms / MS_PER_S
            while begin_s < end_s:
                corners_s += np.cumsum([begin_s, *parts_s[:3]]).tolist()
                corners_ma += [0, top_ma, top_ma, 0]
                begin_s += sum(parts_s)
            axes.plot(
                [*corners_s, max(end_s, corners_s[-1])], [*corners_ma, 0],
                label=self._label(group), **self._line(group[0]),
            )  # fmt: skip
            up, on, down, off = parts_s
            words = words or f"ramp up {up:g} s, on {on:g} s, ramp down {down:g} s, off {off:g} s"
        axes.set_title(f"On/off cycle: {words}")
        axes.set_xlim(0, end_s)
        highest_ma = max(self._page.amplitudes_ua[group[0]] for group in self._cycled) / UA_PER_MA
        axes.set_ylim(-0.05 * highest_ma, 1.45 * max(highest_ma, 0.1))
        axes.set_xlabel("time (s)")
        axes.set_ylabel("amplitude (mA)")
        axes.legend(loc="upper right", frameon=False, ncols=2)

    def _session(self, lanes: list[Axes]) -> None:
        """Draw the amplitude over the whole session."""
        page = self._page
        whole, count = self._envelope(_COLUMNS), _COLUMNS
        cycle_us = max(map(_cycle_us, page.program.channels))
        remark = ""
        if whole.total_us > _CYCLES_SHOWN * cycle_us > 0:
            # Single cycles would be too narrow to be seen: each column then holds a whole one.
            count = min(_COLUMNS, whole.total_us // cycle_us)
            whole = self._envelope(count)
            remark = "; line: highest, darker: lowest within each cycle"
        edges_s = np.linspace(0, whole.total_us / US_PER_S, count + 1)
        unit, per_unit_s = ("min", 60) if edges_s[-1] > 300 else ("s", 1)
        edges = edges_s / per_unit_s
        rise = whole.rise_us / US_PER_S / per_unit_s
        fall = (whole.rise_us + whole.plateau_us) / US_PER_S / per_unit_s
        for axes, group in zip(lanes, self._session_groups, strict=True):
            shape, look = whole.channels[group[0]], self._line(group[0])
            high, low = shape.high_ua / UA_PER_MA, shape.low_ua / UA_PER_MA
            changes = np.flatnonzero((np.diff(high) != 0) | (np.diff(low) != 0)) + 1
            kept = np.concatenate(([0], changes))
            high, low, spans = high[kept], low[kept], edges[[*kept, count]]
            axes.stairs(high, spans, fill=True, color=look["color"], alpha=0.18, linewidth=0)
            axes.stairs(low, spans, fill=True, color=look["color"], alpha=0.15, linewidth=0)
            axes.stairs(high, spans, color=look["color"], linewidth=0.9)
            for at in (rise, fall):
                axes.axvline(at, color=GREY, linewidth=0.7, linestyle=":")
            _name_lane(axes, self._label(group))
            axes.set_ylabel("amplitude\n(mA)")
            axes.set_xlim(0, edges[-1])
            top_ma = max(float(high.max()), 0.1)
            axes.set_ylim(0, 1.45 * top_ma)
            axes.set_yticks([0, top_ma])
        pace = f"{page.pace.setpoint_slew_ua_per_s / UA_PER_MA:g} mA/s"
        if self._cycled:
            pace += f" and {page.pace.rise_per_cycle_ua / UA_PER_MA:g} mA per cycle"
        lanes[0].set_title(
            f"Whole session: rise {_span_words(whole.rise_us)} at {pace} at most, "
            f"plateau {format_clock(page.duration_s)}, "
            f"ramp down {(whole.total_us - whole.rise_us - whole.plateau_us) / US_PER_S:g} s"
        )
        lanes[-1].set_xlabel(f"time ({unit}); dotted lines: the plateau begins and ends{remark}")

    def _envelope(self, column_count: int) -> SessionEnvelope:
        page = self._page
        return session_envelope(
            page.program, page.amplitudes_ua, page.amplitude_step_ua, page.pace, page.duration_s,
            column_count,
        )  # fmt: skip


_QUANTITIES = {"pulse rate": "Hz", "first phase": "µs", "amplitude": "mA"}


def _axes_of(figure: Figure, panel: _Panel, top_in: float, height_in: float) -> list[Axes]:
    """Return the axes of a panel whose top lies at a height of the page, row by row."""
    room_in = WIDTH_IN - _LEFT_IN - _RIGHT_IN
    width_in = (room_in - (panel.columns - 1) * _LEFT_IN) / panel.columns
    made = []
    for row in range(panel.rows):
        bottom_in = top_in - _TITLE_IN - (row + 1) * panel.axes_height_in - row * _SPACE_IN
        for column in range(panel.columns):
            left_in = _LEFT_IN + column * (width_in + _LEFT_IN)
            axes = figure.add_axes(
                (
                    left_in / WIDTH_IN, bottom_in / height_in,
                    width_in / WIDTH_IN, panel.axes_height_in / height_in,
                )
            )  # fmt: skip
            axes.tick_params(labelbottom=row == panel.rows - 1)
            made.append(axes)
    figure.align_ylabels(made)
    return made


def _corners(channel: ChannelProgram, train: PulseTrain, step_ua: int) -> tuple[Any, Any]:
    """Return the corners of pulses as a line: times in us and currents in uA."""
    edges_us = np.repeat(phase_edges_us(channel, train), 2, axis=1)
    held_ua = np.repeat(phase_currents_ua(channel, train, step_ua), 2, axis=1)
    currents_ua = np.pad(held_ua, ((0, 0), (1, 1)))
    return edges_us.ravel(), currents_ua.ravel()


def _train_us(channel: ChannelProgram) -> int:
    """Return how much of a train is drawn: one burst and some silence, a beat, or some pulses."""
    first = channel.settings[0]
    if channel.pulses_per_burst:
        burst_us = channel.pulses_per_burst * first.pulse_period_us
        return min(channel.burst_period_us, burst_us + burst_us // 4)
    if _is_beat(channel):
        return channel.keyframe_cycle_ms * US_PER_MS
    return _PULSES_SHOWN * first.pulse_period_us


def _is_beat(channel: ChannelProgram) -> bool:
    """Tell whether a modulation is so fast that the train has to show all of it."""
    longest_us = _BEAT_PULSES * channel.settings[0].pulse_period_us
    return 0 < channel.keyframe_cycle_ms * US_PER_MS <= longest_us


def _cycle_us(channel: ChannelProgram) -> int:
    """Return how long the longest thing takes that repeats and changes the amplitude."""
    is_modulated = len({frame.amplitude_permille for frame in channel.settings}) > 1
    return US_PER_MS * max(
        channel.keyframe_cycle_ms if is_modulated else 0,
        channel.cycle.total_ms if channel.cycle else 0,
    )


def _train_title(channel: ChannelProgram) -> str:
    first = channel.settings[0]
    rate = f"{US_PER_S / first.pulse_period_us:.6g} Hz, a pulse every {_ms(first.pulse_period_us)}"
    if channel.pulses_per_burst:
        return (
            f"One burst: {channel.pulses_per_burst} pulses at {rate}; "
            f"the next burst after {_ms(channel.burst_period_us)}"
        )
    if _is_beat(channel):
        return f"Train: {rate}, over one modulation cycle"
    begin = " at the start of the modulation" if channel.keyframes else ""
    return f"Train: {rate}{begin}"


def _ms(time_us: int) -> str:
    return f"{time_us / US_PER_MS:g} ms"


def _span_words(time_us: int) -> str:
    """Return a span as people read it: seconds, or minutes and seconds."""
    seconds = round(time_us / US_PER_S)
    return f"{seconds} s" if seconds < 120 else format_clock(seconds)


def _name_lane(axes: Axes, name: str) -> None:
    axes.text(
        0.995, 0.98, name, transform=axes.transAxes, ha="right", va="top", fontsize=8,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip
