"""Every step of the whole system, for many states at once.

Rules:
1. A step of one part (host, device, line) is worked out once, by its readable rules, and looked up
   ever after; numpy does the looking-up.
2. A state is one 63-bit integer: the numbers of its host, its device and its two lines, and how
   much may still go wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tests.model import invariants, link
from tests.model.actions import Action, actions_for
from tests.model.device import DeviceRules
from tests.model.host import HostRules
from tests.model.words import ALIVE, Bound, Device, Frame, Host

Ids = npt.NDArray[np.int64]
LEFT_BITS, HOST_BITS, DEVICE_BITS, UP_BITS, DOWN_BITS = 2, 20, 13, 15, 13
_LEFT_SHIFT = HOST_BITS + DEVICE_BITS + UP_BITS + DOWN_BITS
_UNKNOWN = -2
NEVER = -1


class Numbers:
    """Give each thing a small number."""

    def __init__(self, bits: int = 31) -> None:
        self.things: list[Any] = []
        self._ids: dict[Any, int] = {}
        self._limit = 1 << bits

    def of(self, thing: Any) -> int:
        number = self._ids.get(thing)
        if number is None:
            number = self._ids[thing] = len(self.things)
            self.things.append(thing)
            if number >= self._limit:
                raise OverflowError(f"more than {self._limit} of one kind: a bound too large")
        return number


class Table:
    """Look up what each of many numbers leads to; work out what nobody asked for before."""

    def __init__(self, columns: int, compute: Callable[[int], tuple[int, ...]]) -> None:
        self._compute = compute
        self._rows = np.full((1024, columns), _UNKNOWN, dtype=np.int64)

    def __call__(self, ids: Ids) -> Ids:
        if not len(ids):
            return self._rows[ids]
        size = int(ids.max()) + 1
        if size > len(self._rows):
            grown = np.full((2 * size, self._rows.shape[1]), _UNKNOWN, dtype=np.int64)
            grown[: len(self._rows)] = self._rows
            self._rows = grown
        missing = ids[self._rows[ids, 0] == _UNKNOWN]
        for number in np.unique(missing).tolist():
            self._rows[number] = self._compute(number)
        return self._rows[ids]


class Pairs:
    """The same for pairs of numbers."""

    def __init__(self, columns: int, compute: Callable[[int, int], tuple[int, ...]]) -> None:
        self._numbers: dict[int, int] = {}
        self._pairs: list[int] = []
        self._table = Table(columns, lambda n: compute(self._pairs[n] >> 32, self._pairs[n] & _LOW))

    def __call__(self, first: Ids, second: Ids) -> Ids:
        unique, inverse = np.unique(first << 32 | second, return_inverse=True)
        numbers = self._numbers
        found = []
        for pair in unique.tolist():
            number = numbers.get(pair)
            if number is None:
                number = numbers[pair] = len(self._pairs)
                self._pairs.append(pair)
            found.append(number)
        return self._table(np.array(found, dtype=np.int64)[inverse])


_LOW = (1 << 32) - 1


class State(NamedTuple):
    """One state, spelt out."""

    host: Host
    device: Device
    up: link.Line
    down: link.Line
    misfortunes_left: int


class Successors(NamedTuple):
    """What one action leads to: from which of the states asked about, where, and what breaks."""

    origin: Ids
    states: Ids
    broken: Ids


class Product:
    """Host, device and two lines, put together."""

    def __init__(self, bound: Bound, host: HostRules, device: DeviceRules) -> None:
        self.bound, self.host, self.device = bound, host, device
        self.hosts, self.devices = Numbers(HOST_BITS), Numbers(DEVICE_BITS)
        self.ups, self.downs = Numbers(UP_BITS), Numbers(DOWN_BITS)
        self.frames, self.sendings = Numbers(), Numbers()
        self.nothing_sent = self.sendings.of(())
        self.actions = actions_for(bound)
        self.broken_names: list[str] = [""]
        self.cases: dict[str, int] = {}
        self._of_device = invariants.of_device(bound)
        self._of_device_step = invariants.of_device_step(bound)
        self._of_host = invariants.of_host(bound)
        self._of_host_step = invariants.of_host_step(bound)
        self._of_both = invariants.of_both(bound)
        self.invariant_groups = (
            self._of_device, self._of_device_step, self._of_host, self._of_host_step, self._of_both
        )  # fmt: skip
        for group in self.invariant_groups:
            for each in group:
                self.cases[each.name] = 0
        self._host_events: dict[str, Table] = {}
        self._device_events: dict[str, Table] = {}
        self._host_takes = Pairs(4, self._host_receives)
        self._device_takes = Pairs(4, self._device_receives)
        self._push_up = Pairs(1, lambda u, s: self._push(self.ups, u, s, bound.to_device))
        self._push_down = Pairs(1, lambda d, s: self._push(self.downs, d, s, bound.to_host))
        self._lines: dict[tuple[str, int, bool], Table] = {}
        self._host_columns = Table(4 + bound.channels, self._host_facts)
        self._device_columns = Table(bound.channels, self._device_facts)

    def first(self) -> int:
        """Return the state in which everything begins."""
        parts = (self.hosts.of(self.host.first()), self.devices.of(self.device.first()))
        lines = (self.ups.of(()), self.downs.of(()))
        alone = int(_packed(*(np.array([part]) for part in (*parts, *lines)))[0])
        return alone | self.bound.misfortunes << _LEFT_SHIFT

    def spelt(self, state: int) -> State:
        """Return one state as what it means."""
        host, device, up, down = (int(part[0]) for part in unpacked(np.array([state])))
        return State(
            self.hosts.things[host],
            self.devices.things[device],
            self.ups.things[up],
            self.downs.things[down],
            state >> _LEFT_SHIFT,
        )

    # One action.

    def after(self, action: Action, states: Ids) -> Successors:
        """Return where an action leads from each state in which it can happen."""
        left = states >> _LEFT_SHIFT
        if action.is_misfortune:
            origin = np.flatnonzero(left)
            left = left - 1
        else:
            origin = np.arange(len(states))
        after = self._after(action, states[origin], origin)
        return after._replace(states=after.states | left[after.origin] << _LEFT_SHIFT)

    def _after(self, action: Action, states: Ids, origin: Ids) -> Successors:
        host, device, up, down = unpacked(states)
        broken = np.zeros(len(states), dtype=np.int64)
        zero = broken
        if action.kind == "host":
            steps = self._host_event(action.name)(host)
            ok = steps[:, 0] >= 0
            origin, steps, device, up, down = origin[ok], steps[ok], device[ok], up[ok], down[ok]
            if action.name == "connect":
                up, down = self._line("epoch", up, True), self._line("epoch", down, False)
                device = self._device_event("other_epoch")(device)[:, 0]
            host, device, up, down, broken = self._with_host(steps, device, up, down)
        elif action.kind == "device":
            steps = self._device_event(action.name)(device)
            ok = steps[:, 0] >= 0
            origin, steps, host, up, down = origin[ok], steps[ok], host[ok], up[ok], down[ok]
            host, device, up, down, broken = self._with_device(steps, host, up, down)
        elif action.kind == "tick":
            steps = self._device_event("tick")(device)
            up, down = self._line("older", up, True), self._line("older", down, False)
            ticked = self._host_event("tick")(host)
            host, device, up, down, also = self._with_device(steps, ticked[:, 0], up, down)
            ticked[:, 0] = host
            host, device, up, down, broken = self._with_host(ticked, device, up, down)
            broken = np.where(broken, broken, also)
        elif action.is_up:
            rows = self._line_table(action.name, action.place, True)(up)
            ok = rows[:, 0] >= 0
            origin, host, device, down, rows = origin[ok], host[ok], device[ok], down[ok], rows[ok]
            up, broken = rows[:, 0], zero[ok]
            if action.name != "lose":
                steps = self._device_takes(device, rows[:, 1])
                host, device, up, down, broken = self._with_device(steps, host, up, down)
        else:
            rows = self._line_table(action.name, action.place, False)(down)
            ok = rows[:, 0] >= 0
            origin, host, device, up, rows = origin[ok], host[ok], device[ok], up[ok], rows[ok]
            down, broken = rows[:, 0], zero[ok]
            if action.name != "lose":
                steps = self._host_takes(host, rows[:, 1])
                ok = steps[:, 0] >= 0
                origin, steps, device, up, down = (
                    origin[ok], steps[ok], device[ok], up[ok], down[ok]
                )  # fmt: skip
                host, device, up, down, broken = self._with_host(steps, device, up, down)
        return Successors(origin, _packed(host, device, up, down), broken)

    def _with_host(
        self, steps: Ids, device: Ids, up: Ids, down: Ids
    ) -> tuple[Ids, Ids, Ids, Ids, Ids]:
        has_lowered = steps[:, 3] > 0
        if has_lowered.any():
            up, down, device = up.copy(), down.copy(), device.copy()
            up[has_lowered] = self._line("lowering", up[has_lowered], True)
            down[has_lowered] = self._line("lowering", down[has_lowered], False)
            told = self._device_event("lowered_elsewhere")(device[has_lowered])
            device[has_lowered] = told[:, 0]
        return steps[:, 0], device, self._push_up(up, steps[:, 1])[:, 0], down, steps[:, 2]

    def _with_device(
        self, steps: Ids, host: Ids, up: Ids, down: Ids
    ) -> tuple[Ids, Ids, Ids, Ids, Ids]:
        has_latched = steps[:, 2] > 0
        if has_latched.any():
            up, down, host = up.copy(), down.copy(), host.copy()
            up[has_latched] = self._line("latch", up[has_latched], True)
            down[has_latched] = self._line("latch", down[has_latched], False)
            told = self._host_event("latched_elsewhere")(host[has_latched])
            host[has_latched] = told[:, 0]
        return host, steps[:, 0], up, self._push_down(down, steps[:, 1])[:, 0], steps[:, 3]

    # Judging.

    def judge(self, states: Ids) -> tuple[int, str] | None:
        """Return the index of a state that breaks an invariant between both ends, and which."""
        host, device, _, _ = unpacked(states)
        h = _HostColumns(self._host_columns(host))
        d = _DeviceColumns(self._device_columns(device))
        for each in self._of_both:
            case = each.case(h, d)
            self.cases[each.name] += int(case.sum())
            wrong = case & ~each.holds(h, d)
            if wrong.any():
                return int(np.flatnonzero(wrong)[0]), each.name
        return None

    def _break(self, group: tuple[invariants.Invariant, ...], thing: Any) -> int:
        for each in group:
            if each.case(thing):
                self.cases[each.name] += 1
                if not each.holds(thing):
                    if each.name not in self.broken_names:
                        self.broken_names.append(each.name)
                    return self.broken_names.index(each.name)
        return 0

    def _host_facts(self, number: int) -> tuple[int, ...]:
        host: Host = self.hosts.things[number]
        is_known = host.life == ALIVE and host.is_beating and host.seen is not None
        is_known = is_known and host.status_age < self.bound.silent
        shown = self.host.shown(host) if is_known else self.host.zero
        return (host.life == ALIVE, host.wordless, host.dark, is_known, *shown)

    def _device_facts(self, number: int) -> tuple[int, ...]:
        device: Device = self.devices.things[number]
        return device.setpoints

    # Steps of one part, worked out once.

    def _host_event(self, event: str) -> Table:
        table = self._host_events.get(event)
        if table is None:
            table = Table(4, lambda number: self._host_step(number, event, None))
            self._host_events[event] = table
        return table

    def _host_receives(self, number: int, frame: int) -> tuple[int, ...]:
        return self._host_step(number, "received", self.frames.things[frame])

    def _host_step(self, number: int, event: str, frame: Frame | None) -> tuple[int, ...]:
        before: Host = self.hosts.things[number]
        step = self.host.step(before, event, *(() if frame is None else (frame,)))
        if step is None:
            return NEVER, 0, 0, 0
        after, sent, has_lowered = step
        broken = self._break(self._of_host, after) or self._break(
            self._of_host_step, invariants.HostStep(before, event, frame, after, sent)
        )
        return self.hosts.of(after), self.sendings.of(sent), broken, int(has_lowered)

    def _device_event(self, event: str) -> Table:
        table = self._device_events.get(event)
        if table is None:
            table = Table(4, lambda number: self._device_step(number, event, None))
            self._device_events[event] = table
        return table

    def _device_receives(self, number: int, frame: int) -> tuple[int, ...]:
        return self._device_step(number, "received", self.frames.things[frame])

    def _device_step(self, number: int, event: str, frame: Frame | None) -> tuple[int, ...]:
        before: Device = self.devices.things[number]
        step = self.device.step(before, event, *(() if frame is None else (frame,)))
        if step is None:
            return NEVER, 0, 0, 0
        after, sent, has_latched = step
        broken = self._break(self._of_device, after) or self._break(
            self._of_device_step, invariants.DeviceStep(before, event, frame, after)
        )
        return self.devices.of(after), self.sendings.of(sent), int(has_latched), broken

    def _push(self, lines: Numbers, line: int, sent: int, room: int) -> tuple[int]:
        if sent == self.nothing_sent:
            return (line,)
        return (lines.of(link.pushed(lines.things[line], self.sendings.things[sent], room)),)

    def _line(self, what: str, line: Ids, is_up: bool) -> Ids:
        return self._line_table(what, 0, is_up)(line)[:, 0]

    def _line_table(self, what: str, index: int, is_up: bool) -> Table:
        key = (what, index, is_up)
        if key not in self._lines:
            self._lines[key] = Table(2, lambda number: self._line_step(*key, number))
        return self._lines[key]

    def _line_step(self, what: str, index: int, is_up: bool, number: int) -> tuple[int, int]:
        lines = self.ups if is_up else self.downs
        line: link.Line = lines.things[number]
        if what in ("deliver", "repeat"):
            taken = link.taken(line, index, is_kept=what == "repeat")
            return (NEVER, 0) if taken is None else (lines.of(taken[0]), self.frames.of(taken[1]))
        if what == "lose":
            left = link.lost(line, index)
            return (NEVER, 0) if left is None else (lines.of(left), 0)
        if what == "older":
            return lines.of(link.older(line, self.bound.oldest)), 0
        return lines.of(_CHANGES[what](line)), 0


_CHANGES: dict[str, Callable[[link.Line], link.Line]] = {
    "epoch": link.of_earlier_epoch,
    "latch": link.with_unseen_latch,
    "lowering": link.with_unheard_lowering,
}


class _HostColumns:
    def __init__(self, rows: Ids) -> None:
        self.is_alive = rows[:, 0] > 0
        self.wordless = rows[:, 1]
        self.dark = rows[:, 2]
        self.is_known = rows[:, 3] > 0
        self.shown = rows[:, 4:].T


class _DeviceColumns:
    def __init__(self, rows: Ids) -> None:
        self.output = rows.T
        self.any_output = (rows > 0).any(axis=1)


def _packed(host: Ids, device: Ids, up: Ids, down: Ids) -> Ids:
    return ((host << DEVICE_BITS | device) << UP_BITS | up) << DOWN_BITS | down


def unpacked(states: Ids) -> tuple[Ids, Ids, Ids, Ids]:
    """Return the numbers of hosts, devices and lines of many states."""
    return (
        states >> (DEVICE_BITS + UP_BITS + DOWN_BITS) & (1 << HOST_BITS) - 1,
        states >> (UP_BITS + DOWN_BITS) & (1 << DEVICE_BITS) - 1,
        states >> DOWN_BITS & (1 << UP_BITS) - 1,
        states & (1 << DOWN_BITS) - 1,
    )
