"""Draw the worst pulse over the commanded one, as SVG or PNG."""

from __future__ import annotations

from pathlib import Path

from estim.errors import UsageError
from estim.rig.measuring.result import Result
from estim.units import UA_PER_MA

SUFFIXES = (".svg", ".png")


def check_picture(path: str | None) -> None:
    """Raise UsageError where a picture could not be drawn later, before anything is done."""
    if path is None:
        return
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(f"--picture {path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if not Path(path).parent.is_dir():
        raise UsageError(f"--picture {path}: there is no such folder")
    _matplotlib()


def draw_worst_pulse(result: Result, path: str) -> None:
    """Write the picture of a result's worst pulse.

    Raises:
        UsageError: the result has no pulse, the file cannot be written, or matplotlib is missing.
    """
    worst = result.worst_pulse
    if worst is None:
        raise UsageError(f"--picture {path}: the capture has no pulse to draw")
    _matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(
        worst.expected_times_us,
        [current / UA_PER_MA for current in worst.expected_ua],
        color="0.6",
        linewidth=4,
        label="commanded",
    )
    axes.plot(
        worst.times_us,
        [current / UA_PER_MA for current in worst.current_ua],
        color="black",
        linewidth=1,
        label="captured",
    )
    axes.axhline(0, color="0.8", linewidth=0.5)
    axes.set_xlabel("time since the onset, us")
    axes.set_ylabel("current, mA")
    axes.set_title(
        f"{result.profile_id}, channel {result.channel}: worst pulse at {worst.at_s:.6f} s\n"
        f"{worst.reason}; {result.verdict.value}",
        fontsize=10,
    )
    axes.legend(frameon=False)
    try:
        figure.savefig(path, metadata={"Date": None} if path.lower().endswith(".svg") else None)
    except OSError as error:
        raise UsageError(f"--picture {path}: {error.strerror or error}") from None


def _matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError("needs the extra 'plot': pip install 'estim[plot]'") from None
