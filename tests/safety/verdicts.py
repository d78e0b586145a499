"""The host's kernel and a device's gate, asked about the same targets: one verdict of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from hypothesis import assume
from hypothesis import strategies as st

from estim.safety.bounds import Bounds, ChannelBounds, intersect
from estim.safety.kernel import ceiling, review, review_load
from estim.safety.verdict import Approved, ApprovedLoad
from estim.simulator.device import DeviceSettings
from firmware_protocol.messages import PolicyFlag, SetLimits
from firmware_protocol.program import ChannelProgram, Phase, PulseProgram
from tests.safety.samples import NOW_US, facts, reasons_of, target
from tests.safety.test_properties import LAYERS

ROWS = st.lists(
    st.builds(
        lambda given, area: ChannelBounds(tuple(given), area), LAYERS, st.integers(1, 40_000)
    ),
    min_size=2,
    max_size=2,
)
SETTINGS = st.builds(
    DeviceSettings,
    amplitude_step_ua=st.sampled_from([1, 50, 100, 1000]),
    amplitude_max_ua=st.sampled_from([100_000, 60_000, 12_345]),
)
AMPLITUDES = ("amplitude_ua", "sensory_amplitude_ua")
HOST_ONLY = ("pulse_energy_uj", "phase_duration_us", "pulse_duration_us")


class Judge(Protocol):
    """A gate that holds a programme and limits."""

    def review_target(self, index: int, target_ua: int) -> object | None:
        """Return a refusal, or None where the target is taken."""


def bounds_for(settings: DeviceSettings, *rows: ChannelBounds) -> Bounds:
    return intersect(Bounds(rows, (), PolicyFlag.NONE, True, 1), settings.capabilities())


@st.composite
def shapes(draw: st.DrawFn) -> ChannelProgram:
    """Build a channel whose durations lie at their limits or one beside."""
    unit_us = draw(st.sampled_from([9, 10, 11, 200, 999, 1000, 1001]))
    gap_us = draw(st.sampled_from([1, 7_999, 8_000, 8_001, 9_979, 9_980, 9_981]))
    own = draw(st.sampled_from([20_000, 99, 100]))
    phases = (Phase(1, 1000), Phase(gap_us, 0), Phase(1, -1000))
    pulse_us = 2 * unit_us + gap_us
    return ChannelProgram(phases, unit_us, max(own, pulse_us))


def hold_together(
    played: PulseProgram,
    rows: list[ChannelBounds],
    own: DeviceSettings,
    data: st.DataObject,
    gate_of: Callable[[PulseProgram, SetLimits], Judge],
) -> None:
    """Assert one verdict at the last passing target, a count to each side, and anywhere else.

    The gate is left to find out by its own arithmetic: its amplitude limit is the lowest bound of
    amplitude, not the ceiling that the kernel computed. Energy is the host's alone; shapes are
    judged when the programme is loaded.
    """
    shared = [
        replace(row, bounds=tuple(b for b in row.bounds if b.limit not in HOST_ONLY))
        for row in rows[: len(played.channels)]
    ]
    within = bounds_for(own, *shared)
    loaded = review_load(played, within, own.capabilities(), NOW_US)
    assume(isinstance(loaded, ApprovedLoad))
    assert isinstance(loaded, ApprovedLoad)
    plain = list(loaded.limits.channels)
    for index in range(len(played.channels)):
        given = within.channels[index].bounds
        lowest_ua = min(bound.value for bound in given if bound.limit in AMPLITUDES)
        plain[index] = replace(plain[index], amplitude_ua=lowest_ua)
    gate = gate_of(played, replace(loaded.limits, channels=tuple(plain)))
    for index in range(len(played.channels)):
        highest_ua = ceiling(played, within, index)[0]
        somewhere = data.draw(st.integers(0, 110_000))
        near = (highest_ua - 1, highest_ua, highest_ua + 1, highest_ua + own.amplitude_step_ua)
        for amplitude_ua in (max(near[0], 0), *near[1:], somewhere):
            wanted = [0] * len(played.channels)
            wanted[index] = amplitude_ua
            verdict = review(target(*wanted), played, facts(), within, NOW_US)
            refusal = gate.review_target(index, amplitude_ua)
            is_approved = isinstance(verdict, Approved) or amplitude_ua == 0
            assert (refusal is None) is is_approved, (refusal, reasons_of(verdict))
