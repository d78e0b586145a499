"""Programmes at the edges of timing, slow enough to be enumerated over seconds."""

from __future__ import annotations

from hypothesis import strategies as st

from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram

SHAPES = (
    (Phase(1, 1000), Phase(1, -1000)),
    (Phase(2, -1000), Phase(50, 0), Phase(2, 1000)),
    (Phase(1, 1000), Phase(4, -250)),
    (Phase(1, 1000), Phase(100, 0), Phase(2, -500)),
    (Phase(3, -300), Phase(1, 1000), Phase(1, -100)),
    (Phase(1, 500), Phase(2, -1000), Phase(20, 0), Phase(3, 500)),
    (Phase(1, 333), Phase(1, 1000), Phase(1, -1000), Phase(1, -333)),
    (Phase(10, 100), Phase(1, -1000)),
)


@st.composite
def channels(
    draw: st.DrawFn, *, keyframes_max: int = 4, cycles: bool = True, fastest_us: int = 1500
) -> ChannelProgram:
    """Build a well-formed channel with at most some hundred pulses a second."""
    phases = draw(st.sampled_from(SHAPES))
    count = draw(st.integers(0, keyframes_max))
    settings = [_setting(draw, phases, fastest_us) for _ in range(max(1, count))]
    frames: tuple[Keyframe, ...] = ()
    length_ms = 0
    if count:
        lengths_ms = [draw(st.integers(1, 900)) for _ in range(count)]
        full = draw(st.integers(0, count - 1))
        frames = tuple(
            Keyframe(
                sum(lengths_ms[:i]), 1000 if i == full else draw(st.integers(0, 1000)), unit, period
            )
            for i, (unit, period) in enumerate(settings)
        )
        length_ms = sum(lengths_ms)
    per_burst = draw(st.sampled_from([0, 0, 1, 2, 5, 20]))
    burst_us = 0
    if per_burst:
        burst_us = per_burst * max(period for _, period in settings)
        burst_us += draw(st.sampled_from([0, 1, 7_000, 100_000, 333_333]))
    cycle = None
    if cycles and draw(st.booleans()):
        times = st.sampled_from([0, 1, 3, 20, 250, 700, 1500])
        on_ms = max(1, draw(times))
        cycle = Cycle(draw(times), on_ms, draw(times), draw(times), draw(times))
    return ChannelProgram(
        phases=phases,
        unit_us=settings[0][0],
        pulse_period_us=settings[0][1],
        pulse_offset_us=draw(st.sampled_from([0, 0, 1, 900, 40_000, 600_000])),
        pulses_per_burst=per_burst,
        burst_period_us=burst_us,
        cycle=cycle,
        keyframes=frames,
        keyframe_cycle_ms=length_ms,
    )


def programs() -> st.SearchStrategy[PulseProgram]:
    """Build a programme of one or two channels that may overlap."""
    return st.lists(channels(fastest_us=100), min_size=1, max_size=2).map(
        lambda played: PulseProgram(tuple(played), allow_overlap=True)
    )


def _setting(draw: st.DrawFn, phases: tuple[Phase, ...], fastest_us: int) -> tuple[int, int]:
    unit_us = draw(st.sampled_from([1, 10, 55, 100, 200, 333, 500]))
    pulse_us = sum(p.duration * (unit_us if p.amplitude_permille else 1) for p in phases)
    period_us = draw(
        st.sampled_from([fastest_us, 9_999, 10_000, 20_000, 100_000, 500_000, 1_000_000, 1_000_001])
        | st.integers(fastest_us, 400_000)
    )
    return unit_us, max(pulse_us, period_us)
