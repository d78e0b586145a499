"""Frames of ScienceMode 4 in which two independent encoders agree, and strategies for more."""

from __future__ import annotations

from hypothesis import strategies as st

from estim.dialects.p24 import ChannelUpdate, Command, Frame, Point

GOLDEN = {
    "get_device_id": ("f08155815981ef814604340f", Frame(52, 1, b"")),
    "ml_init": ("f08155815881cc81a9081e010f", Frame(30, 2, b"\1")),
    "ml_update": (
        "f081558149813c81d31c20012300500c8550000644b0000c8410000f",
        Frame(32, 7, bytes.fromhex("01 23 0050 0c855000 0644b000 0c841000")),
    ),
    "get_current_data": ("f081558158815981352024040f", Frame(36, 8, b"\4")),
    "current_data": (
        "f081558146816d818f2025000401000000000f",
        Frame(37, 8, bytes.fromhex("00 04 01 00000000")),
    ),
    "ml_stop": ("f081558159819b815724220f", Frame(34, 9, b"")),
}
"""The update: channel 1, ramp 3, 20 ms: 200 us +20 mA, 100 us nothing, 200 us -20 mA."""
SIMPLE = ChannelUpdate((Point(200, 20_000), Point(100, 0), Point(200, -20_000)), 20_000, 3)
COMMANDS = [command for command in Command if command not in (66, 67)]

points = st.builds(
    Point,
    duration_us=st.integers(10, 4095),
    current_ua=st.integers(-260, 260).map(lambda steps: steps * 500),
)
point_lists = st.lists(points, min_size=1, max_size=16).map(tuple)


def is_within_load(channels: list[ChannelUpdate | None]) -> bool:
    """Tell whether microseconds of points, and 60 each, over milliseconds come to 999 at most."""
    return (
        sum(
            (sum(point.duration_us for point in channel.points) + 60) / (channel.period_us / 1000)
            for channel in channels
            if channel is not None
        )
        < 998.999
    )


def updates(periods_us: st.SearchStrategy[int]) -> st.SearchStrategy[list[ChannelUpdate | None]]:
    """Return strategies of what the device takes, one to eight channels."""
    channel = st.builds(
        ChannelUpdate, points=point_lists, period_us=periods_us, ramp=st.integers(0, 15)
    )
    return st.lists(st.none() | channel, min_size=1, max_size=8).filter(is_within_load)


coarse_us = st.integers(1, 32_766).map(lambda steps: steps * 500)
fine_us = st.integers(1, 32_764).map(lambda steps: steps * 250)
