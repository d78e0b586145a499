"""The product's own parts, put into a state of the model, moved one step, and read back.

Rules:
1. Nothing here decides anything: the real core, kernel, gate and state machine do.
2. What the model leaves out is given a figure that lets it rest (timers far away, one load).
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from estim.drivers import base as driver
from estim.prepare.session import REFERENCE
from estim.safety import kernel
from estim.safety.kernel import RiseKind
from estim.safety.verdict import Approved
from estim.session import events as ev
from estim.session import messages as msg
from estim.session import requests
from estim.session.core import SessionCore
from estim.session.state import OBEY_US, Pending
from estim.session.states import HostState, Trigger
from firmware_protocol.messages import (
    MAINS_PERCENT,
    ChannelFlag,
    ChannelStatus,
    Contact,
    CyclePhase,
    InputFlag,
    Status,
    WantedState,
)
from tests.model import words
from tests.model.host_steps import REACHED, bounds, programme
from tests.model.words import ASLEEP, UNIT_UA, Bound, Host

NOW_US = 10_000_000_000
FAR_US = 1 << 60
PROGRAM_DIGEST, LIMITS_DIGEST = 7, 5
LATCHES = 5
SETTINGS = msg.SessionSettings("model", 0, 1000)
IDENTITY_SERIAL = "M-1"


class Step(NamedTuple):
    """What is compared after a step of a host."""

    state: HostState
    targets: tuple[int, ...]
    marker: tuple[int, ...]
    commanded: tuple[int, ...]
    goal: str
    has_wish: bool
    has_program: bool
    is_loading: bool
    has_seen: bool
    awaits_pause: bool
    is_acknowledging: bool
    has_stopped: bool
    drive: tuple[WantedState, tuple[int, ...]] | None
    acknowledged: int | None


class RealHost:
    """A session core in a state of the model."""

    def __init__(self, bound: Bound, host: Host) -> None:
        self.bound, self.tick_us = bound, bound.tick_ms * 1000
        self.now_us = NOW_US
        self.has_stopped = False
        self.drive: tuple[WantedState, tuple[int, ...]] | None = None
        self.acknowledged: int | None = None
        self.core = core = SessionCore()
        count = bound.channels
        self.capabilities = dataclasses.replace(REFERENCE, channel_count=count)
        self.program = programme(count)
        core.capabilities = self.capabilities
        core.is_bench, core.record_path = True, "record"
        core.state, core.bounds, core.settings = host.state, bounds(count, bound.top), SETTINGS
        core.connect_id = int(host.linking == 1)
        core.has_link = host.linking == 2
        core.program = self.program if host.has_program else None
        core.program_digest = PROGRAM_DIGEST if host.has_program else 0
        core.limits_digest = LIMITS_DIGEST
        core.targets_ua, core.marker_ua = _ua(host.targets), _ua(host.marker)
        core.delivery = type(core.delivery)(count)
        if any(host.floor):
            since_us = NOW_US - host.floor_age * self.tick_us - 1
            core.lowered.append((since_us + OBEY_US, _ua(host.floor)))
        if host.seen is not None:
            core.status = self.status(host.seen)
        core.status_us = NOW_US - host.status_age * self.tick_us
        core.beat_us = NOW_US - host.beat_age * self.tick_us
        core.drive_us = NOW_US
        core.is_pause_seen, core.paused_us = not host.awaits_pause, NOW_US
        core.stopping_until_us = FAR_US
        core.orphaned_us = FAR_US if host.is_leaving else None
        if host.state is HostState.FAULT:
            core.fault = msg.Fault("model", "", "", msg.Blame.UNKNOWN)
        if host.loading:
            core.preparing = (1, self.program, core.bounds, SETTINGS)
            core.loaded_until_us = FAR_US if host.loading == 2 else None
        if host.loading == 2:
            core.program_digest = PROGRAM_DIGEST
        if host.goal:
            core.goal = (REACHED[host.goal], self._rests())
            core.return_ua = _ua(host.marker) if host.goal == "resume" else []
        if host.wish:
            core.durable[1] = self._wish(host)
        if host.is_acknowledging:
            core.acknowledge = dataclasses.replace(
                self._rests(), proceed=lambda _: requests._leave_fault(core, 1)
            )

    def status(self, report: words.Report) -> Status:
        rows = tuple(
            ChannelStatus(
                target_ua=target * UNIT_UA,
                setpoint_ua=setpoint * UNIT_UA,
                peak_ua=setpoint * UNIT_UA,
                load_ohm=500,
                pulse_count=0,
                contact=Contact.GOOD,
                cycle_phase=CyclePhase.PLATEAU,
                flags=ChannelFlag(report.latched >> index & 1),
            )
            for index, (setpoint, target) in enumerate(
                zip(report.setpoints, report.targets, strict=True)
            )
        )
        pressed = InputFlag.PATIENT_STOP_PRESSED if report.is_pressed else InputFlag.NONE
        return Status(
            tick_ms=self.now_us // 1000 & 0xFFFF_FFFF,
            state=report.state,
            fault=report.fault,
            latch_count=LATCHES,
            inputs=InputFlag.PATIENT_STOP_PRESENT | pressed,
            battery_percent=MAINS_PERCENT,
            drive_sequence=0,
            program_digest=PROGRAM_DIGEST if report.is_loaded else 0,
            limits_digest=LIMITS_DIGEST,
            refusal_count=0,
            damaged_count=0,
            event_count=0,
            running_ms=0,
            channels=rows,
        )

    def play(self, host: Host, event: str, frame: words.Frame | None) -> bool:
        """Let an event of the model happen; False where it is none of the core's."""
        core = self.core
        name, _, argument = event.partition(" ")
        channel = int(argument or 0)
        ask = self._request(name, channel)
        if ask is not None:
            self._handle(ev.RequestMade(ask))
        elif name == "recorded":
            self._handle(ev.RecordDurable(1))
        elif name == "record_too_slow":
            core.durable[1].deadline_us = 0
            self._handle(ev.Ticked())
        elif name == "goal_missed" and core.goal is not None:
            core.goal[1].deadline_us = 0
            self._handle(ev.Ticked())
        elif name == "acknowledging_timed_out" and core.acknowledge is not None:
            core.acknowledge.deadline_us = 0
            self._handle(ev.Ticked())
        elif name == "waited_long_enough":
            if host.is_leaving:
                core.orphaned_us = 0
            else:
                core.stopping_until_us = 0
            self._handle(ev.Ticked())
        elif name == "port_gone" and host.linking == 2:
            self._handle(ev.PortGone("unplugged"))
        elif name == "interface_gone":
            self._handle(ev.InterfaceGone())
        elif name == "woken":
            if host.life == ASLEEP:
                self._handle(ev.Suspended(host.away * self.tick_us))
            elif host.away >= self.bound.stalled:
                self._handle(ev.LoopStalled(host.away * self.tick_us))
            self._handle(ev.Ticked())
        elif name == "tick":
            self.now_us += self.tick_us
            if host.is_beating:
                core.beat_us = self.now_us
            self._handle(ev.Ticked())
        elif name == "received" and isinstance(frame, words.Status):
            self._receive(frame)
        else:
            return False
        return True

    def read(self) -> Step:
        """Return where the core stands, in the words of the model."""
        core = self.core
        goal = ""
        if core.goal is not None:
            goal = "arm" if core.goal[0] is Trigger.ARMED else "start"
            goal = "resume" if core.return_ua else goal
        count = self.bound.channels
        return Step(
            state=core.state,
            targets=_levels(core.targets_ua),
            marker=_levels(core.marker_ua),
            commanded=_levels([core.commanded_ua(i, self.now_us) for i in range(count)]),
            goal=goal,
            has_wish=core.has_wish,
            has_program=core.program is not None,
            is_loading=core.preparing is not None,
            has_seen=core.status is not None,
            awaits_pause=not core.is_pause_seen,
            is_acknowledging=core.acknowledge is not None,
            has_stopped=self.has_stopped,
            drive=self.drive,
            acknowledged=self.acknowledged,
        )

    def _request(self, name: str, channel: int) -> msg.Request | None:
        targets = list(self.core.targets_ua)
        if name == "raise":
            targets[channel] += UNIT_UA
        made: dict[str, msg.Request] = {
            "connect": msg.Connect(1, "native:model"),
            "prepare": msg.Prepare(
                1, self.program.canonical_bytes().hex(), self.core.bounds, SETTINGS
            ),
            "arm": msg.Arm(1),
            "start": msg.Start(1),
            "resume": msg.Resume(1),
            "raise": msg.SetTargets(1, tuple(targets)),
            "lower": msg.Lower(1, (channel,), UNIT_UA),
            "pause": msg.Pause(1),
            "stop": msg.Stop(1),
            "acknowledge": msg.Acknowledge(1, self.core.latch_count),
            "rearm": msg.Rearm(1, (channel,), self.core.latch_count),
            "close": msg.CloseVisit(1),
        }
        return made.get(name)

    def _receive(self, frame: words.Status) -> None:
        if frame.follows:
            self._handle(driver.RoundTrip(0))
        self.core.drive_us = 0  # a Drive is due whenever a Status comes
        self._handle(driver.StatusSeen(self.status(frame.report)))
        if frame.refused:
            is_lead_off = frame.refused == "lead-off"
            self._handle(driver.DriveRefused("refused", True, is_lead_off))

    def _handle(self, event: ev.CoreEvent) -> None:
        """Do what the engine's loop does with an event and its effects."""
        waiting = [event]
        while waiting:
            for effect in self.core.handle(waiting.pop(0), self.now_us):
                if isinstance(effect, ev.StopOutput):
                    self.has_stopped, self.drive = True, None
                elif isinstance(effect, ev.AcknowledgeDevice):
                    self.acknowledged = effect.channel_mask
                elif isinstance(effect, ev.ReviewDrive):
                    verdict = kernel.review(
                        effect.request, self.core.program, self.core.facts(self.now_us),
                        self.core.bounds, self.now_us,
                    )  # fmt: skip
                    if isinstance(verdict, Approved):
                        self.drive = (verdict.wanted, _levels(verdict.targets_ua))
                    waiting.insert(0, ev.DriveReviewed(effect.request, verdict))

    def _wish(self, host: Host) -> Pending:
        core = self.core
        kind, _, argument = host.wish.partition(" ")
        if kind in REACHED:
            core.return_ua = _ua(host.marker) if kind == "resume" else []
            return requests._goal_for(core, REACHED[kind], 1, "")(NOW_US)
        wished = _ua(host.marker)
        rise = RiseKind.RETURN
        core.return_ua = wished if kind == "return" else []
        if kind == "raise":
            wished, rise = _ua(host.targets), RiseKind.TARGET
            wished[int(argument)] += UNIT_UA
        return dataclasses.replace(
            self._rests(), proceed=lambda at_us: core.review_rise(1, wished, rise, at_us)
        )

    def _rests(self) -> Pending:
        return Pending(1, FAR_US, lambda _: None, "")


def modelled(after: Host, sent: tuple[words.Frame, ...]) -> Step:
    """Return the same of a step of the model; a later Drive replaces an earlier one."""
    drives = [frame for frame in sent if isinstance(frame, words.Drive)]
    masks = [frame.channel_mask for frame in sent if isinstance(frame, words.Acknowledge)]
    return Step(
        state=after.state,
        targets=after.targets,
        marker=after.marker,
        commanded=tuple(max(row) for row in zip(after.targets, after.floor, strict=True)),
        goal=after.goal,
        has_wish=bool(after.wish),
        has_program=after.has_program,
        is_loading=bool(after.loading),
        has_seen=after.seen is not None,
        awaits_pause=after.awaits_pause,
        is_acknowledging=after.is_acknowledging,
        has_stopped=words.Stop() in sent,
        drive=(drives[-1].wanted, drives[-1].targets) if drives else None,
        acknowledged=masks[-1] if masks else None,
    )


def without_driver(step: Step, before: Host, event: str, after: Host) -> Step:
    """Leave out what is the driver's, or has nobody to hear it: Stops repeated, or without a line.

    In FAULT a second fault of the device has the core stop once more; the model does not tell one
    fault from another.
    """
    is_again = before.state is after.state is HostState.FAULT and event == "received"
    if event == "tick" or is_again or before.linking != 2 or not after.linking:
        return step._replace(has_stopped=False)
    return step


def _ua(levels: tuple[int, ...]) -> list[int]:
    return [level * UNIT_UA for level in levels]


def _levels(row: list[int] | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(ua // UNIT_UA for ua in row)
