"""Go everywhere, breadth first, and say how one got to what must not be."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tests.model.device import DeviceRules
from tests.model.host import HostRules
from tests.model.product import Ids, Product
from tests.model.words import Bound

CHUNK = 100_000


@dataclass
class Level:
    """The states first reached in a number of steps, and from where and how."""

    states: Ids
    parents: Ids
    actions: Ids


@dataclass
class Exploration:
    """What an exploration found."""

    product: Product
    levels: list[Level] = field(default_factory=list)
    state_count: int = 0
    step_count: int = 0
    seconds: float = 0.0
    broken: str = ""
    path: list[tuple[int, int]] = field(default_factory=list)
    is_complete: bool = False
    happened: set[str] = field(default_factory=set)

    def reached(self) -> set[str]:
        """Return what hosts, devices and output were seen, in words."""
        hosts, devices = self.product.hosts.things, self.product.devices.things
        words = {f"host {host.state.value}" for host in hosts}
        words |= {f"host {host.life}" for host in hosts}
        words |= {f"device {device.state.name}" for device in devices}
        words |= {f"device fault {device.fault.name}" for device in devices}
        words |= {f"output {max(device.setpoints)}" for device in devices}
        return words


def explore(
    bound: Bound,
    host: HostRules | None = None,
    device: DeviceRules | None = None,
    states_max: int = 0,
) -> Exploration:
    """Visit every state within a bound; stop at the first broken invariant."""
    began = time.perf_counter()
    product = Product(bound, host or HostRules(bound), device or DeviceRules(bound))
    found = Exploration(product)
    first = np.array([product.first()], dtype=np.int64)
    seen = first
    frontier = Level(first, np.array([0]), np.array([0]))
    while len(frontier.states):
        found.levels.append(frontier)
        found.state_count += len(frontier.states)
        wrong = product.judge(frontier.states)
        if wrong is not None:
            found.broken = wrong[1]
            found.path = _path_to(found, len(found.levels) - 1, wrong[0])
            break
        if states_max and found.state_count > states_max:
            break
        frontier = _next_level(found, frontier, seen)
        if found.broken:
            break
        seen = np.sort(np.concatenate((seen, frontier.states)), kind="stable")
    else:
        found.is_complete = True
    found.seconds = time.perf_counter() - began
    return found


def _next_level(found: Exploration, level: Level, seen: Ids) -> Level:
    product = found.product
    gathered: list[tuple[Ids, Ids, Ids]] = []
    for start in range(0, len(level.states), CHUNK):
        chunk = level.states[start : start + CHUNK]
        for number, action in enumerate(product.actions):
            after = product.after(action, chunk)
            found.step_count += len(after.states)
            if len(after.states):
                found.happened.add(action.name if action.kind != "line" else f"line {action.name}")
            if after.broken.any():
                index = int(np.flatnonzero(after.broken)[0])
                found.broken = product.broken_names[int(after.broken[index])]
                origin = start + int(after.origin[index])
                found.path = _path_to(found, len(found.levels) - 1, origin)
                found.path.append((number, int(after.states[index])))
                return level
            fresh, first = np.unique(after.states, return_index=True)
            is_new = ~_is_in(seen, fresh)
            fresh, first = fresh[is_new], first[is_new]
            gathered.append((fresh, start + after.origin[first], np.full(len(fresh), number)))
    states = np.concatenate([each[0] for each in gathered])
    parents = np.concatenate([each[1] for each in gathered])
    actions = np.concatenate([each[2] for each in gathered])
    states, first = np.unique(states, return_index=True)
    return Level(states, parents[first].astype(np.int32), actions[first].astype(np.int16))


def _is_in(known: Ids, asked: Ids) -> npt.NDArray[np.bool_]:
    places = np.searchsorted(known, asked)
    places[places == len(known)] = 0
    found: npt.NDArray[np.bool_] = known[places] == asked
    return found


def _path_to(found: Exploration, depth: int, index: int) -> list[tuple[int, int]]:
    path: list[tuple[int, int]] = []
    while depth:
        level = found.levels[depth]
        path.append((int(level.actions[index]), int(level.states[index])))
        index = int(level.parents[index])
        depth -= 1
    return path[::-1]
