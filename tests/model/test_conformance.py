"""The model does what the product does: single steps, from states that the model reached.

The real core with the real kernel, and the real simulated device, are put into a state that an
exploration reached, let the same thing happen, and must stand where the model stands, having sent
the same. What is left out on purpose stands in `real.py` and docs/model.md.
"""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from typing import Any

import pytest

from tests.model import real, real_device, words
from tests.model.device import DeviceRules
from tests.model.explore import Exploration, explore
from tests.model.host import HostRules
from tests.model.mutants import (
    AnyLatch,
    IgnoresWanted,
    NoAgeCheck,
    PauseKeepsTargets,
    RowFaultRuns,
    StopKeepsLevel,
    StopKeepsTargets,
)
from tests.model.words import ALIVE, DEAD, Bound

NOT_OBEYED = "not_obeyed"
"""The core doubts a device that disobeys; the model's never does."""


def _bound(name: str, happenings: str, **sizes: int) -> Bound:
    return Bound(name, top=1, to_device=1, happenings=frozenset(happenings.split()), **sizes)


PLAIN = _bound("plain", "", misfortunes=0)
KEYS = _bound("keys", "pause lower record")
BODY = _bound("body", "electrode patient acknowledge reboot")
WORLD = _bound("world", "hold suspend display interface port timers acknowledge")


@cache
def reached(bound: Bound) -> Exploration:
    return explore(bound)


def host_steps(bound: Bound, rules: HostRules, count: int) -> Counter[str]:
    """Compare `count` steps of hosts; return how many of each event were, and fail on the first."""
    found, chance = reached(bound), random.Random(1)
    hosts = [host for host in found.product.hosts.things if host.life != DEAD]
    # Alike in what matters: the rare ones shall come up as often as the many.
    alike: dict[tuple[object, ...], list[words.Host]] = {}
    for host in hosts:
        key = (host.life, host.state, host.wish, host.goal, host.linking, host.has_program)
        alike.setdefault(key, []).append(host)
    groups = list(alike.values())
    events = [each.name for each in found.product.actions if each.kind in ("host", "tick")]
    frames = [
        frame
        for frame in found.product.frames.things
        if isinstance(frame, words.Status) and frame.epoch == 1 and not frame.is_late
    ]
    compared: Counter[str] = Counter()
    while compared.total() < count:
        before = chance.choice(chance.choice(groups))
        frame = chance.choice(frames) if chance.random() < 0.4 else None
        event = "received" if frame is not None else chance.choice(events)
        if frame is not None and before.linking != 2:
            continue
        if before.life != ALIVE and event in ("tick", "record_failed"):
            continue
        more: tuple[Any, ...] = () if frame is None else (frame,)
        step = rules.step(before, event, *more)
        # A failed record ramps down in the core, and ends at once here.
        if step is None or step[0].life == DEAD or event == "record_failed":
            continue
        played = real.RealHost(bound, before)
        if not played.play(before, event, frame):
            continue
        after, sent, _ = step
        if played.core.fault is not None and played.core.fault.code == NOT_OBEYED:
            continue
        modelled = real.without_driver(real.modelled(after, sent), before, event, after)
        is_so = real.without_driver(played.read(), before, event, after)
        assert modelled == is_so, (event, before, frame)
        compared[event.partition(" ")[0]] += 1
    return compared


def device_steps(bound: Bound, rules: DeviceRules, count: int) -> Counter[str]:
    """Compare `count` steps of devices; return how many of each event were."""
    found, chance = reached(bound), random.Random(1)
    devices = found.product.devices.things
    events = [each.name for each in found.product.actions if each.kind in ("device", "tick")]
    to_device = words.Hello | words.Load | words.Drive | words.Stop | words.Acknowledge
    frames = [frame for frame in found.product.frames.things if isinstance(frame, to_device)]
    compared: Counter[str] = Counter()
    while compared.total() < count:
        before = chance.choice(devices)
        frame = chance.choice(frames) if chance.random() < 0.6 else None
        event = "received" if frame is not None else chance.choice(events)
        more: tuple[Any, ...] = () if frame is None else (frame,)
        step = rules.step(before, event, *more)
        if step is None:
            continue
        played = real_device.RealDevice(bound, before)
        if not played.play(event, frame):
            continue
        modelled = real_device.comparable(real_device.modelled(*step), event)
        assert modelled == real_device.comparable(played.read(), event), (event, before, frame)
        compared[event.partition(" ")[0] if frame is None else type(frame).__name__] += 1
    return compared


def test_some_steps_of_a_host_are_those_of_the_core() -> None:
    compared = host_steps(PLAIN, HostRules(PLAIN), 300)
    assert compared["received"] > 50


def test_some_steps_of_a_device_are_those_of_the_simulator() -> None:
    compared = device_steps(PLAIN, DeviceRules(PLAIN), 300)
    assert compared["Drive"] > 50


@pytest.mark.long
@pytest.mark.parametrize(
    ("bound", "events"),
    [
        (KEYS, "connect prepare arm start raise lower pause resume stop recorded record_too_slow"),
        (BODY, "rearm acknowledge acknowledging_timed_out received tick"),
        (WORLD, "woken interface_gone port_gone goal_missed waited_long_enough received tick"),
    ],
    ids=["keys", "body", "world"],
)
def test_every_kind_of_step_of_a_host_is_the_core_s(bound: Bound, events: str) -> None:
    compared = host_steps(bound, HostRules(bound), 3000)
    for event in events.split():
        assert compared[event], event


@pytest.mark.long
@pytest.mark.parametrize("bound", [KEYS, BODY], ids=lambda bound: bound.name)
def test_every_kind_of_step_of_a_device_is_the_simulator_s(bound: Bound) -> None:
    compared = device_steps(bound, DeviceRules(bound), 3000)
    body = "pressed released rebooted electrode_off Acknowledge" if bound is BODY else ""
    for event in f"Hello Load Drive Stop tick {body}".split():
        assert compared[event], event


@pytest.mark.long
@pytest.mark.parametrize(
    ("rules", "bound"), [(PauseKeepsTargets, KEYS), (StopKeepsTargets, PLAIN), (RowFaultRuns, BODY)]
)
def test_a_host_that_differs_from_the_core_is_told(rules: type[HostRules], bound: Bound) -> None:
    with pytest.raises(AssertionError):
        host_steps(bound, rules(bound), 6000)


@pytest.mark.long
@pytest.mark.parametrize(
    ("rules", "bound"),
    [(NoAgeCheck, PLAIN), (StopKeepsLevel, PLAIN), (IgnoresWanted, KEYS), (AnyLatch, BODY)],
)
def test_a_device_that_differs_from_the_simulator_is_told(
    rules: type[DeviceRules], bound: Bound
) -> None:
    with pytest.raises(AssertionError):
        device_steps(bound, rules(bound), 6000)
