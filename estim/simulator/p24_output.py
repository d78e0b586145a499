"""The pulse generator of the virtual P24: one for all channels, as its load rule has it.

Rules:
1. Pulses never overlap: one that is due while another is played waits for its end and 60 us more,
   the time that the load rule adds to each. A wait does not move the channel's later pulses.
2. A pulse is decided, delivered and judged at its onset, and always finished.
3. What was due before an instant is played before anything that happens at it.

Ours, where the vendor says nothing: channels that are switched on together begin one behind the
other; a running channel that is updated goes on from its last onset with its new period.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from estim.dialects.p24 import (
    CHANNELS,
    COMPLIANCE_MV,
    CURRENT_STEP_UA,
    LOAD_POINT_US,
    ChannelState,
    ChannelUpdate,
    Point,
)
from estim.simulator.load import Load
from estim.simulator.output_stage import Delivery, OutputStage
from estim.simulator.trace import TraceSink

DETECTION_UA = 15_000
"""Below such a peak the device finds no fault of load or leads."""
NOTHING = Delivery((), 0, 0, False, False, False, False, False, 0)
"""What a pulse without current does."""


class PointShape:
    """The pulse that a list of points makes, of any amplitude."""

    __slots__ = ("grid_ua", "peak_ua", "phases", "pulse_us")

    def __init__(self, points: tuple[Point, ...]) -> None:
        self.phases: tuple[Point, ...] = points
        self.pulse_us = sum(point.duration_us for point in points)
        self.peak_ua = max(abs(point.current_ua) for point in points)
        self.grid_ua = CURRENT_STEP_UA

    def currents_ua(self, amplitude_ua: int) -> list[int]:
        """Return the current of every point where the largest is `amplitude_ua`."""
        currents = []
        for _, current_ua in self.phases:
            scaled_ua = abs(current_ua) * amplitude_ua // self.peak_ua if self.peak_ua else 0
            currents.append(-scaled_ua if current_ua < 0 else scaled_ua)
        return currents


@lru_cache(maxsize=1024)
def make_shape(points: tuple[Point, ...], share: int = 1, shares: int = 1) -> PointShape:
    """Return the shape of some points at `share` of `shares`, each on the device's grid."""
    if share == shares:
        return PointShape(points)
    ramped = []
    for duration_us, current_ua in points:
        steps = abs(current_ua) * share // (shares * CURRENT_STEP_UA)
        ramped.append(Point(duration_us, (-steps if current_ua < 0 else steps) * CURRENT_STEP_UA))
    return PointShape(tuple(ramped))


class Channel:
    """One channel: what it plays, since when, and what was found on it."""

    def __init__(self, number: int, load: Load, trace: TraceSink | None) -> None:
        self.number = number
        self.load = load
        self.stage = OutputStage(load, COMPLIANCE_MV)
        self.update: ChannelUpdate | None = None
        self.state = ChannelState.OK
        self.due_us = 0
        self.forced: ChannelState | None = None
        self._trace = trace
        self._ramp = 0
        self._pulse_count = 0

    def connect(self, load: Load) -> None:
        """Put another load between the leads."""
        self.load = load
        self.stage.connect(load)

    def switch_on(self, update: ChannelUpdate, due_us: int) -> None:
        """Begin with a pulse at `due_us`, and rise over the ramp."""
        self.update, self.due_us = update, due_us
        self._ramp, self._pulse_count = update.ramp, 0

    def change(self, update: ChannelUpdate, now_us: int) -> None:
        """Go on with other points or another period."""
        if self.update is not None and self.update.period_us != update.period_us:
            self.due_us = max(self.due_us - self.update.period_us + update.period_us, now_us)
        self.update = update

    def next_shape(self, update: ChannelUpdate) -> PointShape:
        """Return the pulse that comes next, ramp included, and count it."""
        self._pulse_count += 1
        if self._pulse_count > self._ramp:
            return make_shape(update.points)
        return make_shape(update.points, self._pulse_count, self._ramp + 1)

    def deliver(self, shape: PointShape, onset_us: int) -> Delivery:
        """Let a pulse flow, and find what is wrong with leads and load."""
        delivery = NOTHING
        if shape.peak_ua:
            delivery = self.stage.deliver(shape, shape.peak_ua, onset_us)
        if delivery.phases and self._trace is not None:
            self._trace.add_pulse(onset_us, self.number, delivery.phases)
        if self.forced is not None:
            self.state, self.forced = self.forced, None
        elif shape.peak_ua < DETECTION_UA:
            self.state = ChannelState.OK
        elif not delivery.phases:
            self.state = ChannelState.ELECTRODE
        elif delivery.peak_ua < shape.peak_ua:
            self.state = ChannelState.LOW_CURRENT
        else:
            self.state = ChannelState.OK
        return delivery


class Generator:
    """Play every channel's pulses, one after the other."""

    def __init__(self, load: Load, trace: TraceSink | None) -> None:
        self.channels = tuple(Channel(number, load, trace) for number in range(1, CHANNELS + 1))
        self.stops_all = False
        self._free_us = 0

    @property
    def is_active(self) -> bool:
        """Tell whether any channel plays."""
        return any(channel.update is not None for channel in self.channels)

    def update(self, updates: Sequence[ChannelUpdate | None], now_us: int) -> None:
        """Play this from now on; what was found before is forgotten."""
        begin_us = max(now_us, self._free_us)
        for channel, update in zip(self.channels, updates, strict=True):
            channel.state = ChannelState.OK
            if update is None:
                channel.update = None
            elif channel.update is not None:
                channel.change(update, now_us)
            else:
                channel.switch_on(update, begin_us)
                begin_us += make_shape(update.points).pulse_us + LOAD_POINT_US

    def stop(self) -> None:
        """Begin no further pulse; what was found stays known."""
        for channel in self.channels:
            channel.update = None

    def forget(self) -> None:
        """Forget what was found."""
        for channel in self.channels:
            channel.state, channel.forced = ChannelState.OK, None

    def play_until(self, end_us: int) -> None:
        """Play every pulse whose onset is before `end_us`."""
        while True:
            waiting = [channel for channel in self.channels if channel.update is not None]
            if not waiting:
                return
            channel = min(waiting, key=lambda each: (max(each.due_us, self._free_us), each.due_us))
            onset_us = max(channel.due_us, self._free_us)
            if onset_us >= end_us:
                return
            self._play(channel, onset_us)

    def play_one(self, channel: Channel, points: tuple[Point, ...], now_us: int) -> Delivery:
        """Play a single pulse now, and say what it did."""
        shape = make_shape(points)
        self._free_us = now_us + shape.pulse_us + LOAD_POINT_US
        return channel.deliver(shape, now_us)

    def _play(self, channel: Channel, onset_us: int) -> None:
        update = channel.update
        assert update is not None
        if onset_us - channel.due_us >= update.period_us:
            channel.state = ChannelState.PULSE_TIMEOUT
        else:
            shape = channel.next_shape(update)
            channel.deliver(shape, onset_us)
            channel.due_us += update.period_us
            self._free_us = onset_us + shape.pulse_us + LOAD_POINT_US
        if channel.state is not ChannelState.OK:
            channel.update = None
            if self.stops_all:
                self.stop()


def delivered_ua(delivery: Delivery, at_us: int) -> int:
    """Return what flows at a time after a pulse's onset, either way."""
    for begin_us, current_ua, duration_us in delivery.phases:
        if begin_us <= at_us < begin_us + duration_us:
            return abs(current_ua)
    return 0


def voltage_mv(load: Load, points: tuple[Point, ...], delivery: Delivery, at_us: int) -> int:
    """Return the voltage at the leads at a time after a pulse's onset, either way.

    Where current is asked and none flows, all there is.
    """
    begin_us, capacitor_mv = 0, 0.0
    flowing = {offset_us: current_ua for offset_us, current_ua, _ in delivery.phases}
    for duration_us, asked_ua in points:
        within_us = min(duration_us, at_us - begin_us)
        current_ua = flowing.get(begin_us, 0)
        across_mv, capacitor_mv = load.after_phase(current_ua, within_us, capacitor_mv)
        begin_us += duration_us
        if at_us < begin_us:
            return COMPLIANCE_MV if asked_ua and not flowing else round(abs(across_mv))
    return 0
