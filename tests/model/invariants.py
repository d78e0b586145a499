"""What must hold: I1 to I12 and more, each with the case in which it says anything.

Rules:
1. An invariant never reads a rule of host or device, so that no mutant can change it.
2. Each counts how often its case came up: one that never does proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from estim.session.states import ENERGISED, HostState
from firmware_protocol.messages import DeviceState, FaultCode, WantedState
from tests.model import words
from tests.model.words import ALIVE, Bound, Device, Frame, Host

_D = DeviceState


class DeviceStep(NamedTuple):
    """One step of a device: `received` is the frame, where the event is one."""

    before: Device
    event: str
    received: Frame | None
    after: Device


class HostStep(NamedTuple):
    """One step of a host."""

    before: Host
    event: str
    received: Frame | None
    after: Host
    sent: tuple[Frame, ...]


class Invariant(NamedTuple):
    """`case` says when it speaks; `holds` what must be then."""

    name: str
    words: str
    case: Callable[..., Any]
    holds: Callable[..., Any]


def _has_output(device: Device) -> bool:
    return any(device.setpoints)


def _is_running(device: Device) -> bool:
    return device.state is _D.RUNNING


def _rises(step: DeviceStep) -> bool:
    return any(b < a for b, a in zip(step.before.setpoints, step.after.setpoints, strict=True))


def _rising(step: DeviceStep) -> list[int]:
    pairs = zip(step.before.setpoints, step.after.setpoints, strict=True)
    return [channel for channel, (before, after) in enumerate(pairs) if before < after]


def _cleared(step: DeviceStep) -> int:
    return step.before.latched & ~step.after.latched


def of_device(bound: Bound) -> tuple[Invariant, ...]:
    """Return what holds of every device, whatever the host."""
    return (
        Invariant(
            "I1", "output never exceeds the limit",
            _has_output,
            lambda d: max(d.setpoints) <= bound.top,
        ),
        Invariant(
            "I2", "output only in RUNNING, with a lease",
            _has_output,
            lambda d: _is_running(d) and d.lease > 0,
        ),
        Invariant(
            "I3 link", "output ends a lease after the last Drive that reached the device",
            lambda d: d.unheard >= bound.lease and d.epoch,
            lambda d: not _has_output(d),
        ),
        Invariant(
            "I10", "output stays within what the last Drive asked",
            _has_output,
            lambda d: all(s <= t for s, t in zip(d.setpoints, d.targets, strict=True)),
        ),
        Invariant(
            "I12 device", "an armed device is at zero",
            lambda d: d.state is _D.ARMED,
            lambda d: not any(d.targets) and not _has_output(d),
        ),
        Invariant(
            "P1", "a pressed patient stop means FAULT and zero",
            lambda d: d.is_pressed,
            lambda d: d.state is _D.FAULT and not _has_output(d),
        ),
        Invariant(
            "E1", "a channel whose electrode came off is at zero while it is latched",
            lambda d: d.latched,
            lambda d: not any(
                d.latched >> c & 1 and (d.setpoints[c] or d.targets[c])
                for c in range(bound.channels)
            ),
        ),
    )  # fmt: skip


def of_device_step(bound: Bound) -> tuple[Invariant, ...]:
    """Return what holds of every step of a device."""
    return (
        Invariant(
            "I4", "a setpoint rises one step at a time, once a tick, by a pulse alone",
            _rises,
            lambda s: s.event.startswith("rises")
            and all(
                s.after.setpoints[c] == s.before.setpoints[c] + 1 and not s.before.risen >> c & 1
                for c in _rising(s)
            ),
        ),
        Invariant(
            "I5", "RUNNING is entered from ARMED, at zero",
            lambda s: _is_running(s.after) and not _is_running(s.before),
            lambda s: s.before.state is _D.ARMED
            and not any(s.after.targets)
            and not _has_output(s.after),
        ),
        Invariant(
            "I7 device", "only an acknowledgement of the newest latch, or a reset, leaves FAULT",
            lambda s: s.before.state is _D.FAULT and s.after.state is not _D.FAULT,
            lambda s: s.after.state is _D.SAFE
            and (
                s.event == "rebooted"
                or (isinstance(s.received, words.Acknowledge) and s.received.is_latest)
            ),
        ),
        Invariant(
            "I13", "an epoch is adopted only without output possible",
            lambda s: isinstance(s.received, words.Hello)
            and (s.after.epoch, s.after.is_loaded) != (s.before.epoch, s.before.is_loaded),
            lambda s: not _is_running(s.before),
        ),
        Invariant(
            "I14", "nothing but Hello and Stop of another epoch, or out of turn, has an effect",
            lambda s: isinstance(s.received, words.Drive | words.Load | words.Acknowledge)
            and (s.received.is_late or s.received.epoch != s.before.epoch),
            lambda s: s.after._replace(unheard=0) == s.before._replace(unheard=0),
        ),
        Invariant(
            "I15", "every fresh wish below RUNNING ends output",
            lambda s: isinstance(s.received, words.Stop)
            or (
                isinstance(s.received, words.Drive)
                and s.received.wanted is not WantedState.RUNNING
                and s.received.echo_age <= bound.lease
                and s.received.epoch == s.before.epoch
                and not s.received.is_late
            ),
            lambda s: not _is_running(s.after) and not _has_output(s.after),
        ),
        Invariant(
            "I10 asked", "a Drive that nothing stands against is obeyed to the letter",
            lambda s: isinstance(s.received, words.Drive)
            and s.received.wanted is WantedState.RUNNING
            and s.before.state is _D.RUNNING
            and s.received.epoch == s.before.epoch
            and not s.received.is_late
            and s.received.echo_age < bound.lease
            and s.received.has_digests
            and s.before.is_loaded
            and not any(
                target > bound.top or (target and s.before.latched >> c & 1)
                for c, target in enumerate(s.received.targets)
            ),
            lambda s: s.after.targets == s.received.targets,
        ),
        Invariant(
            "S1", "nothing rises in silence: outside a plateau, or twice in one on-phase",
            _rises,
            lambda s: s.before.is_plateau and not any(s.before.risen >> c & 1 for c in _rising(s)),
        ),
        Invariant(
            "S2", "nothing passes the first step before contact is proven",
            lambda s: _rises(s) and max(s.after.setpoints) > 1,
            lambda s: all(
                s.before.good >> c & 1 for c in _rising(s) if s.after.setpoints[c] > 1
            ),
        ),
        Invariant(
            "E2", "an electrode that came off takes its channel to zero",
            lambda s: s.event.startswith("electrode_off"),
            lambda s: s.after.latched >> int(s.event[-1]) & 1
            and not s.after.setpoints[int(s.event[-1])],
        ),
        Invariant(
            "E3", "only the operator's re-arming of that channel clears it, or a reset",
            _cleared,
            lambda s: s.event == "rebooted"
            or (
                isinstance(s.received, words.Acknowledge)
                and s.received.is_latest
                and not _cleared(s) & ~s.received.channel_mask
            ),
        ),
        Invariant(
            "P2", "pressing the patient stop latches, releasing it clears nothing",
            lambda s: s.event in ("pressed", "released"),
            lambda s: s.after.state is _D.FAULT and s.after.fault is not FaultCode.NONE,
        ),
    )  # fmt: skip


def of_host(bound: Bound) -> tuple[Invariant, ...]:
    """Return what holds of every host that can act."""
    return (
        Invariant(
            "I9", "no target outside RUNNING",
            lambda h: h.life == ALIVE and h.state is not HostState.RUNNING,
            lambda h: not any(h.targets),
        ),
        Invariant(
            "I11", "stale telemetry or a frozen display leaves no host energised",
            lambda h: h.life == ALIVE
            and (h.status_age >= bound.silent or h.beat_age >= bound.frozen),
            lambda h: h.state not in ENERGISED,
        ),
        Invariant(
            "I16", "an energised host has seen this epoch's telemetry and holds a programme",
            lambda h: h.state in ENERGISED,
            lambda h: h.seen is not None and h.has_program,
        ),
    )  # fmt: skip


_OPERATOR = frozenset({"acknowledge", "rearm", "close"})


def of_host_step(bound: Bound) -> tuple[Invariant, ...]:
    """Return what holds of every step of a host."""
    return (
        Invariant(
            "I7 host", "FAULT is left by an acknowledgement asked for, or the end of the visit",
            lambda s: s.before.state is HostState.FAULT and s.after.state is not HostState.FAULT,
            lambda s: s.after.life != ALIVE
            or s.event == "acknowledge"
            or (s.before.is_acknowledging and s.after.state is HostState.READY),
        ),
        Invariant(
            "I17", "a stop asked for is sent at once, and nothing that wants output with it",
            lambda s: s.event == "stop" and s.before.linking,
            lambda s: words.Stop() in s.sent
            and not any(isinstance(f, words.Drive) and f.wanted for f in s.sent),
        ),
        Invariant(
            "E4", "only the operator acknowledges or re-arms",
            lambda s: any(isinstance(f, words.Acknowledge) for f in s.sent),
            lambda s: s.event.partition(" ")[0] in _OPERATOR,
        ),
        Invariant(
            "I12 host", "ARMED is entered at zero, and by an arming or a pause asked for",
            lambda s: s.after.state is HostState.ARMED and s.before.state is not HostState.ARMED,
            lambda s: not any(s.after.targets) and (s.before.goal == "arm" or s.event == "pause"),
        ),
        Invariant(
            "I5 host", "the host goes to RUNNING from ARMED by a start asked for, at zero",
            lambda s: s.after.state is HostState.RUNNING
            and s.before.state is not HostState.RUNNING,
            lambda s: s.before.state is HostState.ARMED
            and s.before.goal in ("start", "resume")
            and not any(s.after.targets),
        ),
        Invariant(
            "I13 host", "a report of another epoch, or out of turn, says nothing",
            lambda s: isinstance(s.received, words.Status)
            and (s.received.epoch != 1 or s.received.is_late),
            lambda s: s.after == s.before,
        ),
    )  # fmt: skip


def of_both(bound: Bound) -> tuple[Invariant, ...]:
    """Return what holds between both ends; columns of numbers, one row for each state.

    `h` has life (1 where it can act), wordless, dark and shown (a row for each channel, -1 where
    unknown); `d` has output (a row for each channel) and any_output.
    """
    return (
        Invariant(
            "I3 host", "output ends a lease after the host was killed, held or put to sleep",
            lambda h, d: ~h.is_alive & (h.wordless > bound.lease),
            lambda h, d: ~d.any_output,
        ),
        Invariant(
            "I3 display", "output ends after a frozen display: heartbeat and lease together",
            lambda h, d: h.dark > bound.dark,
            lambda h, d: ~d.any_output,
        ),
        Invariant(
            "I6", "output ends a lease after stop, pause or fault, and begins by a person alone",
            lambda h, d: h.is_alive & (h.wordless > bound.lease),
            lambda h, d: ~d.any_output,
        ),
        Invariant(
            "I8", "a display that claims to know never shows less than flows",
            lambda h, d: d.any_output & h.is_known,
            lambda h, d: (h.shown >= d.output).all(axis=0),
        ),
    )  # fmt: skip
