"""The host of the model: one step at a time.

Rules:
1. The names follow `estim.session`; what is left out stands in docs/model.md.
2. A long timer (record, goal, zero) may run out at any time: it is an event of its own.
"""

from __future__ import annotations

from estim.safety.kernel import RiseKind
from estim.session.states import ENERGISED, HostState, Trigger, follow
from firmware_protocol.messages import DeviceState, FaultCode
from tests.model import words
from tests.model.host_steps import REACHED, HostSteps, with_level
from tests.model.words import ALIVE, ASLEEP, DEAD, HELD, Frame, Host

_S, _T = HostState, Trigger


class HostRules(HostSteps):
    """Every event that can come to a host: the world, the operator, the record, the line."""

    # The world.

    def on_started(self) -> bool | None:
        """Start the program: nothing is known of what was before."""
        if self.life != DEAD:
            return False
        self.life = ALIVE
        self.dark = 0
        return None

    def on_killed(self) -> bool | None:
        return self._ends(self.life != DEAD)

    def on_held(self) -> bool | None:
        return self._goes(HELD)

    def on_suspended(self) -> bool | None:
        return self._goes(ASLEEP)

    def on_woken(self) -> bool | None:
        """Tell a stall or a sleep before anything that waited is believed."""
        if self.life not in (HELD, ASLEEP) or not self.away:
            return False
        is_told = self.life == ASLEEP or self.away >= self.bound.stalled
        self.life, self.away = ALIVE, 0
        if self.word:
            self.wordless = 0
        if is_told and self.state in ENERGISED:
            self.latch_fault()
        self.watch_liveness()
        return None

    def on_display_frozen(self) -> bool | None:
        if self.life != ALIVE or not self.is_beating:
            return False
        self.is_beating = False
        return None

    def on_display_back(self) -> bool | None:
        if self.life != ALIVE or self.is_beating:
            return False
        self.is_beating = True
        self.beat_age = self.dark = 0
        return None

    def on_interface_gone(self) -> bool | None:
        if self.life != ALIVE or self.is_leaving:
            return False
        self.begin_stop()
        if self.state is _S.STOPPING:
            self.is_leaving = True
            return None
        return self.end_visit()

    def on_waited_long_enough(self) -> bool | None:
        """Give up the wait for zero: of a visit that ends, or of a stop."""
        if self.life != ALIVE or self.state is not _S.STOPPING:
            return False
        if self.is_leaving:
            return self.end_visit()
        self.latch_fault()
        return None

    def on_port_gone(self) -> bool | None:
        if self.life != ALIVE or not self.linking:
            return False
        if self.state in ENERGISED or self.state is _S.STOPPING:
            self.latch_fault()
        self.lose_link()
        self.follow(_T.LINK_CLOSED)
        if self.is_leaving:
            return self.end_visit()
        return None

    def on_tick(self) -> None:
        """Let one tick pass; an engine that can, acts on what has become too old."""
        top = self.bound
        if self.word and self.life == ALIVE:
            self.wordless = 0
        else:
            self.wordless = min(self.wordless + 1, top.oldest)
        if self.life == DEAD:
            self.dark = min(self.dark + 1, top.dark + 1) if self.dark else 0
            return
        self.dark = 0 if self.is_beating else min(self.dark + 1, top.dark + 1)
        if self.seen is not None:
            self.status_age = min(self.status_age + 1, top.silent + 1)
            self.echo_age = min(self.echo_age + 1, top.oldest)
        if any(self.floor):
            self.floor_age += 1
            if self.floor_age >= top.obeyed:
                self.forget_floor()
        self.beat_age = 0 if self.is_beating else min(self.beat_age + 1, top.frozen + 1)
        if self.life != ALIVE:
            self.away = min(self.away + 1, top.stalled)
            return
        self.watch_liveness()
        if self.linking == 1:
            self.sent.append(words.Hello())
        elif self.loading == 1:
            self.sent.append(words.Load())
        if self.stops:
            self.sent.append(words.Stop())
        self.review_drive()

    def watch_liveness(self) -> None:
        if self.state not in ENERGISED:
            return
        if self.beat_age >= self.bound.frozen or self.status_age >= self.bound.silent:
            self.latch_fault()

    def on_latched_elsewhere(self) -> None:
        """The device has latched something that no Status has told yet (for the judge)."""
        self.has_latest = False

    def shown(self, host: Host) -> tuple[int, ...]:
        """Return what a display shows: the larger of what was commanded and what was reported."""
        assert host.seen is not None
        rows = zip(host.targets, host.floor, host.seen.setpoints, host.seen.targets, strict=True)
        return tuple(max(row) for row in rows)

    # The operator.

    def on_connect(self) -> bool | None:
        if not self._hears() or self.state is not _S.DISCONNECTED or self.linking:
            return False
        self.linking = 1
        self.sent.append(words.Hello())
        return None

    def on_prepare(self) -> bool | None:
        if not self._hears() or self.state not in (_S.IDENTIFIED, _S.READY):
            return False
        if self.loading or self.goal or self.wish:
            return False
        self.clear_program()
        self.loading = 1
        self.sent.append(words.Load())
        return None

    def on_arm(self) -> bool | None:
        if not self._hears() or self.state is not _S.READY or self.goal or self.wish:
            return False
        if not self.has_program:
            return False
        self.wish = "arm"
        return None

    def on_start(self) -> bool | None:
        return self._asks_to_start("start")

    def on_resume(self) -> bool | None:
        return any(self.marker) and self._asks_to_start("resume")

    def _asks_to_start(self, wish: str) -> bool | None:
        if not self._hears() or self.state is not _S.ARMED or self.goal or self.wish:
            return False
        self.wish = wish
        self.say(True)
        return None

    def on_raise(self, channel: int) -> bool | None:
        if not self._hears() or self.state is not _S.RUNNING or self.wish:
            return False
        assert self.seen is not None
        self.wish = f"raise {channel}"
        return None

    def on_lower(self, channel: int) -> bool | None:
        if not self._hears() or self.state is not _S.RUNNING or not self.targets[channel]:
            return False
        self.drop_wishes()
        self.note_lowering()
        self.set_target(channel, self.targets[channel] - 1)
        self.review_drive()
        return None

    def on_pause(self) -> bool | None:
        if not self._hears() or self.state is not _S.RUNNING:
            return False
        self.awaits_pause = True
        self.say(False)
        self.note_lowering()
        self.go_to_zero()
        self.follow(_T.PAUSED)
        self.review_drive()
        return None

    def on_stop(self) -> bool | None:
        if not self._hears() or self.state is _S.CLOSED:
            return False
        self.begin_stop()
        return None

    def on_acknowledge(self) -> bool | None:
        if not self._hears() or self.state is not _S.FAULT or self.is_acknowledging:
            return False
        if self.seen is None:
            self.lose_link()
            self.follow(_T.ACKNOWLEDGED_UNLINKED)
            return None
        if self.seen.state is DeviceState.RUNNING or any(self.seen.setpoints):
            return False
        if self.seen.fault is FaultCode.NONE and self.seen.state is not DeviceState.FAULT:
            self.follow(_T.ACKNOWLEDGED)
            return None
        self.is_acknowledging = True
        self.sent.append(words.Acknowledge(0, self.has_latest))
        return None

    def on_acknowledging_timed_out(self) -> bool | None:
        if self.life != ALIVE or not self.is_acknowledging:
            return False
        self.is_acknowledging = False
        return None

    def on_rearm(self, channel: int) -> bool | None:
        if not self._hears() or self.seen is None or self.targets[channel]:
            return False
        if not self.seen.latched >> channel & 1:
            return False
        self.sent.append(words.Acknowledge(1 << channel, self.has_latest))
        return None

    def on_close(self) -> bool | None:
        if not self._hears() or self.goal or follow(self.state, _T.CLOSED) is None:
            return False
        return self.end_visit()

    # The record.

    def on_recorded(self) -> bool | None:
        """What was asked is durable: it may go on."""
        wish, self.wish = self.wish, ""
        if self.life != ALIVE or not wish:
            return False
        if wish in REACHED:
            self.goal = wish
            self.review_drive()
        elif wish == "return":
            self.review_rise(self.marker, RiseKind.RETURN)
        else:
            channel = int(wish.removeprefix("raise "))
            wished = list(self.targets)
            wished[channel] += 1
            self.review_rise(tuple(wished), RiseKind.TARGET)
        return None

    def on_record_too_slow(self) -> bool | None:
        if self.life != ALIVE or not self.wish:
            return False
        self.wish = ""
        return None

    def on_record_failed(self) -> bool | None:
        """No disk: ramp to zero (here at once), or stop."""
        if self.life != ALIVE or self.state not in ENERGISED:
            return False
        self.drop_wishes()
        self.begin_stop()
        return None

    def on_goal_missed(self) -> bool | None:
        if self.life != ALIVE or not self.goal:
            return False
        self.begin_stop()
        return None

    # The line.

    def on_received(self, frame: Frame) -> bool | None:
        """Take what came from the device, if the line of this epoch lets it through."""
        if self.life != ALIVE:
            return False
        assert not isinstance(frame, words.Hello | words.Load | words.Drive | words.Stop)
        assert not isinstance(frame, words.Acknowledge)
        if not self.linking or not self.is_own(frame) or frame.is_late:
            return None
        if isinstance(frame, words.Identity):
            if self.linking == 1 and frame.is_adopted:
                self.linking = 2
                self.follow(_T.IDENTIFIED)
        elif isinstance(frame, words.Accepted):
            if self.loading == 1:
                self.loading = 2
        elif self.linking == 2:
            self.see_status(frame)
            is_told = frame.refused and frame.refused != "lead-off"
            if is_told and (self.state in ENERGISED or self.goal):
                self.begin_stop()
        return None

    def is_own(self, frame: words.Identity | words.Accepted | words.Status) -> bool:
        return frame.epoch == 1

    def see_status(self, frame: words.Status) -> None:
        report, before = frame.report, self.seen
        self.seen, self.has_latest = report, frame.is_latest
        self.status_age, self.echo_age = 0, frame.tick_age
        if frame.follows or report.state is not DeviceState.RUNNING:
            self.forget_floor()
        if report.state is not DeviceState.RUNNING:
            self.is_told_rest = True
            self.awaits_pause = False
            if not any(report.setpoints):
                self.stops = False
        self.see_lead_off(report, before)
        self.see_fault(report)
        if self.loading == 2 and report.is_loaded:
            self.loading, self.has_program = 0, True
            self.targets = self.marker = self.zero
            self.follow(_T.PREPARED)
        self.see_goal(report)
        if self.state is _S.STOPPING:
            if report.state is DeviceState.SAFE and not any(report.setpoints):
                self.follow(_T.ZERO_CONFIRMED)
                if self.is_leaving:
                    self.end_visit()
        elif self.state in ENERGISED:
            self.see_disobedience(report)
        elif self.state is not _S.FAULT and report.state is DeviceState.RUNNING:
            self.latch_fault()
        if self.life == ALIVE:
            self.review_drive()

    def see_lead_off(self, report: words.Report, before: words.Report | None) -> None:
        fresh = report.latched & ~(before.latched if before is not None else 0)
        for channel in range(self.bound.channels):
            if fresh >> channel & 1:
                self.drop_wishes()
                if self.targets[channel]:
                    self.note_lowering()
                    self.marker = with_level(self.marker, channel, self.targets[channel])
                    self.set_target(channel, 0)

    def see_fault(self, report: words.Report) -> None:
        if report.fault is FaultCode.NONE:
            if self.is_acknowledging and report.state is not DeviceState.FAULT:
                self.is_acknowledging = False
                self.follow(_T.ACKNOWLEDGED)
        elif self.state not in (_S.FAULT, _S.CLOSED):
            self.latch_fault()

    def see_goal(self, report: words.Report) -> None:
        wanted = {"arm": DeviceState.ARMED}.get(self.goal, DeviceState.RUNNING)
        if not self.goal or report.state is not wanted or self.awaits_pause:
            return
        goal, self.goal = self.goal, ""
        self.follow(REACHED[goal])
        if goal == "resume":
            self.wish = "return"

    def see_disobedience(self, report: words.Report) -> None:
        if not report.is_loaded or (
            self.state is _S.RUNNING and report.state is not DeviceState.RUNNING
        ):
            self.latch_fault()
        elif self.state is _S.ARMED and report.state is DeviceState.SAFE:
            self.begin_stop()
