"""Draw one pulse with its dimensions, into axes of matplotlib; a part of `pictures`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from estim.units import PC_PER_UC, UA_PER_MA

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY, INK = "#666666", "#222222"


def draw_pulse(
    axes: Axes, durations_us: Sequence[int], currents_ua: Sequence[int], look: dict[str, Any]
) -> None:
    """Draw a pulse with the duration, amplitude and charge of each phase.

    Phases of one sign without a gap between them are told as one.
    """
    edges_us = np.concatenate(([0], np.cumsum(durations_us)))
    currents_ma = np.array(currents_ua) / UA_PER_MA
    length_us, top = int(edges_us[-1]), max(float(np.abs(currents_ma).max()), 0.1)
    margin_us = length_us * 0.12
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.stairs(currents_ma, edges_us, fill=True, color=look["color"], alpha=0.15, linewidth=0)
    end_us = length_us + 2.2 * margin_us
    corners_us = np.concatenate(([-margin_us], np.repeat(edges_us, 2), [end_us]))
    corners_ma = np.concatenate(([0, 0], np.repeat(currents_ma, 2), [0, 0]))
    axes.plot(corners_us, corners_ma, solid_joinstyle="miter", **{**look, "linewidth": 1.6})
    place = 0
    for sign, members in groupby(range(len(durations_us)), key=lambda i: np.sign(currents_ua[i])):
        run = list(members)
        start_us, stop_us = int(edges_us[place]), int(edges_us[place + len(run)])
        place += len(run)
        span = f"{stop_us - start_us} µs"
        peak_ma = max(abs(float(currents_ma[i])) for i in run) * float(sign)
        charge_uc = sum(abs(currents_ua[i]) * durations_us[i] for i in run) / PC_PER_UC
        middle_us = (start_us + stop_us) / 2
        if not sign:
            if start_us > 0 and stop_us < length_us:
                # Beside the phase that follows, where there is room even for a short gap.
                away = -0.16 * top * float(np.sign(currents_ua[place]))
                _dimension(axes, start_us, stop_us, away, f"gap {span}", is_left=True)
            continue
        _dimension(axes, start_us, stop_us, peak_ma + sign * 0.16 * top, span)
        inside = f"{peak_ma:+g} mA\n{charge_uc:.3g} µC".replace("-", "−")
        axes.text(middle_us, peak_ma / 2, inside, ha="center", va="center", fontsize=8.5)
    net_pc = sum(current * span for current, span in zip(currents_ua, durations_us, strict=True))
    axes.annotate(
        f"net charge {net_pc / PC_PER_UC:g} µC", (1, 0.5), (0, 4), xycoords="axes fraction",
        textcoords="offset points", ha="right", va="bottom", fontsize=8, color=GREY,
    )  # fmt: skip
    axes.set_xlim(-margin_us, end_us)
    axes.set_ylim(-1.45 * top, 1.45 * top)
    axes.set_xlabel("time (µs)")
    axes.set_ylabel("current (mA)")


def _dimension(
    axes: Axes, start: float, end: float, height: float, words: str, *, is_left: bool = False
) -> None:
    """Draw an arrow with two heads between two times, and say how long that is."""
    arrow = {"arrowstyle": "<->", "color": INK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (start, height), (end, height), arrowprops=arrow)
    above = 1 if height >= 0 else -1
    axes.annotate(
        words,
        (start if is_left else (start + end) / 2, height),
        (2 * is_left, 3 * above),
        textcoords="offset points",
        ha="left" if is_left else "center",
        va="bottom" if above > 0 else "top",
        fontsize=8,
    )
