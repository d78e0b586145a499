"""Seeded mistakes of design: one rule of host or device replaced, never an invariant.

A mutant that only both ends together let through is a pair, and its halves stand in `BACKED_UP`
with what holds them: each end judges for itself.
"""

from __future__ import annotations

from typing import NamedTuple

from estim.safety.kernel import RiseKind
from estim.session.states import HostState, Trigger, follow
from firmware_protocol.messages import DeviceState, FaultCode, WantedState
from tests.model import words
from tests.model.device import DeviceRules
from tests.model.host import HostRules
from tests.model.words import ALIVE, HELD, Bound, Device, Frame, Host

_S, _T, _D = HostState, Trigger, DeviceState


class Mutant(NamedTuple):
    """One mistake.

    Attributes:
        needs: classes of events without which it cannot show.
        caught_by: the invariant that breaks first; '' where none does, and `why`.
    """

    name: str
    caught_by: str
    host: type[HostRules] = HostRules
    device: type[DeviceRules] = DeviceRules
    needs: str = ""
    why: str = ""
    top: int = 1
    misfortunes: int = 1

    def bound(self) -> Bound:
        """Return the smallest bound in which it can show."""
        return Bound(
            self.name,
            top=self.top,
            misfortunes=self.misfortunes,
            happenings=frozenset(self.needs.split()),
        )


# Host.


class KeepAliveThread(HostRules):
    """A thread goes on reading and renewing while the loop stands still."""

    def on_received(self, frame: Frame) -> bool | None:
        if self.life == HELD and isinstance(frame, words.Status):
            self.echo_age = frame.tick_age
            self.send_drive(self.targets)
            return None
        return super().on_received(frame)


class BlindToDisplay(HostRules):
    """The lease is renewed whether or not the display lives; the kernel is not asked."""

    def watch_liveness(self) -> None:
        self.beat_age = 0
        super().watch_liveness()


class ShowsCommandAlone(HostRules):
    def shown(self, host: Host) -> tuple[int, ...]:
        return host.targets


class ShowsReportAlone(HostRules):
    def shown(self, host: Host) -> tuple[int, ...]:
        assert host.seen is not None
        return host.seen.setpoints


class ForgetsWhatWasLowered(HostRules):
    """What is lowered counts as gone at once (so it was, until this model was explored)."""

    def shown(self, host: Host) -> tuple[int, ...]:
        assert host.seen is not None
        rows = zip(host.targets, host.seen.setpoints, host.seen.targets, strict=True)
        return tuple(max(row) for row in rows)


class BelievesAnyAnswer(HostRules):
    """Any Status, however old, counts as an answer to what was lowered."""

    def see_status(self, frame: words.Status) -> None:
        self.forget_floor()
        super().see_status(frame)


class ResumesByItself(HostRules):
    def see_status(self, frame: words.Status) -> None:
        super().see_status(frame)
        if self.state is _S.ARMED and any(self.marker) and not self.goal:
            self.goal = "resume"


class ResumesAfterFault(HostRules):
    """FAULT ends when the device looks well again."""

    def see_status(self, frame: words.Status) -> None:
        super().see_status(frame)
        if self.state is _S.FAULT and frame.report.state is _D.SAFE:
            self.follow(_T.ACKNOWLEDGED)


class StopKeepsTargets(HostRules):
    def go_to_zero(self) -> None:
        self.drop_wishes()


class PauseKeepsTargets(HostRules):
    def on_pause(self) -> bool | None:
        targets = self.targets
        result = super().on_pause()
        self.targets = targets
        return result


class TakesAnyEpoch(HostRules):
    """A restarted host takes telemetry from before the crash as fresh."""

    def is_own(self, frame: words.Identity | words.Accepted | words.Status) -> bool:
        return True


class IgnoresSilence(HostRules):
    def watch_liveness(self) -> None:
        self.status_age = min(self.status_age, self.bound.silent - 1)
        if self.state in (_S.ARMED, _S.RUNNING) and self.beat_age >= self.bound.frozen:
            self.latch_fault()

    def on_tick(self) -> None:
        age = self.status_age
        super().on_tick()
        if self.seen is not None:
            self.status_age = min(age + 1, self.bound.silent + 1)


class RearmsByItself(HostRules):
    def see_lead_off(self, report: words.Report, before: words.Report | None) -> None:
        super().see_lead_off(report, before)
        if report.latched:
            self.sent.append(words.Acknowledge(report.latched, self.has_latest))


class AcknowledgesByItself(HostRules):
    def see_fault(self, report: words.Report) -> None:
        super().see_fault(report)
        if report.fault is not FaultCode.NONE:
            self.sent.append(words.Acknowledge(0, self.has_latest))


class StopWaitsForTheTick(HostRules):
    """A Stop is noted, and sent with the next turn."""

    def send_stop(self) -> None:
        self.stops = bool(self.linking)


class WishOutlivesStop(HostRules):
    """A start that waits for the record is obeyed after the Stop, and the programme stays."""

    def drop_wishes(self) -> None:
        self.goal = ""

    def clear_program(self) -> None:
        if self.state is not _S.STOPPING:
            super().clear_program()

    def on_recorded(self) -> bool | None:
        if self.wish == "start" and self.state in (_S.STOPPING, _S.READY):
            self.wish, self.state = "", _S.RUNNING
            return None
        return super().on_recorded()


class RowPausedRuns(HostRules):
    """Replace a row of the table: a pause stays in RUNNING."""

    def way(self, state: HostState, trigger: Trigger) -> HostState | None:
        return _S.RUNNING if trigger is _T.PAUSED else follow(state, trigger)


class RowArmedRuns(HostRules):
    """Replace a row: what is armed runs."""

    def way(self, state: HostState, trigger: Trigger) -> HostState | None:
        return _S.RUNNING if (state, trigger) == (_S.READY, _T.ARMED) else follow(state, trigger)


class RowAcknowledgedArms(HostRules):
    """Replace a row: an acknowledgement goes back to ARMED."""

    def way(self, state: HostState, trigger: Trigger) -> HostState | None:
        return _S.ARMED if trigger is _T.ACKNOWLEDGED else follow(state, trigger)


class RowFaultRuns(HostRules):
    """Replace a row: a fault in RUNNING is no fault."""

    def way(self, state: HostState, trigger: Trigger) -> HostState | None:
        return state if (state, trigger) == (_S.RUNNING, _T.FAULT) else follow(state, trigger)


class KernelAsleep(HostRules):
    """Whatever is wanted is approved, up to a step above the limit."""

    def approves(self, targets: tuple[int, ...], kind: RiseKind) -> bool:
        return max(targets) <= self.bound.top + 1


class StopOnce(HostRules):
    def send_stop(self) -> None:
        super().send_stop()
        self.stops = False


class StallUntold(HostRules):
    def on_woken(self) -> bool | None:
        self.away = min(self.away, 1)
        if self.life != ALIVE:
            self.life = HELD if self.away else self.life
        return super().on_woken()


# Device.


class NoAgeCheck(DeviceRules):
    """A frame is as good as new, however long it was under way."""

    def take_drive(self, drive: words.Drive) -> None:
        super().take_drive(drive._replace(echo_age=0))


class LeaseFromArrival(DeviceRules):
    """The lease counts from when a frame came, not from what it echoes."""

    def renew_lease(self, drive: words.Drive) -> None:
        super().renew_lease(drive._replace(echo_age=0))


class NoLease(DeviceRules):
    def end_lease(self) -> None:
        self.lease = 1


class NoRamp(DeviceRules):
    def set_target(self, channel: int, target: int) -> None:
        super().set_target(channel, target)
        self.set_setpoint(channel, target)


class FaultForgotten(DeviceRules):
    def drive_below_running(self, drive: words.Drive) -> str:
        if self.state is _D.FAULT and not self.is_pressed:
            self.fault = FaultCode.NONE
            self.change(_D.SAFE)
        return super().drive_below_running(drive)


class NoCap(DeviceRules):
    def review_target(self, channel: int, target: int) -> str:
        return super().review_target(channel, min(target, self.bound.top))


class ArmedWithTargets(DeviceRules):
    """A pause keeps the setpoint for later."""

    def leave_running(self) -> None:
        self.good = self.risen = 0


class StartKeepsLevel(DeviceRules):
    """RUNNING begins where it ended."""

    def drive_to_running(self, drive: words.Drive) -> str:
        was = self.state
        refused = super().drive_to_running(drive)
        if was is _D.ARMED and not refused:
            self.targets = self.setpoints = (1,) * self.bound.channels
        return refused


class StartsAtTarget(DeviceRules):
    """A start may bring its target with it."""

    def review_target(self, channel: int, target: int) -> str:
        return "limit" if target > self.bound.top else ""


class Relative(DeviceRules):
    """A Drive says how much more."""

    def set_target(self, channel: int, target: int) -> None:
        super().set_target(channel, self.targets[channel] + target)


class IgnoresTargetsBelow(DeviceRules):
    """Of a Drive the targets are taken where they rise."""

    def set_target(self, channel: int, target: int) -> None:
        super().set_target(channel, max(target, self.targets[channel]))


class IgnoresWanted(DeviceRules):
    """ARMED while RUNNING renews the lease and changes nothing (an error of the first draft)."""

    def drive_below_running(self, drive: words.Drive) -> str:
        if self.state is _D.RUNNING and drive.wanted is WantedState.ARMED:
            return ""
        return super().drive_below_running(drive)


class StopKeepsLevel(DeviceRules):
    def leave_running(self) -> None:
        self.targets = self.zeros


class RisesInSilence(DeviceRules):
    def is_felt(self) -> bool:
        return True


class RisesOften(DeviceRules):
    def on_rises(self, channel: int) -> bool | None:
        self.risen = 0
        return super().on_rises(channel)


class NoHold(DeviceRules):
    def may_rise(self, channel: int) -> bool:
        self.good, good = -1, self.good
        may = super().may_rise(channel)
        self.good = good
        return may


class LeadOffGoesOn(DeviceRules):
    def latch_lead_off(self, channel: int) -> None:
        self.latched |= 1 << channel


class LeadOffForgets(DeviceRules):
    """An electrode that is on again is as good as before."""

    def on_tick(self) -> None:
        self.latched = 0
        super().on_tick()


class LeadOffUnlatched(DeviceRules):
    """A latched channel takes targets again."""

    def review_target(self, channel: int, target: int) -> str:
        self.latched, latched = 0, self.latched
        refused = super().review_target(channel, target)
        self.latched = latched
        return refused


class PatientStopUnlatched(DeviceRules):
    def on_released(self) -> bool | None:
        if super().on_released() is False:
            return False
        self.fault = FaultCode.NONE
        self.change(_D.SAFE)
        return None


class PatientStopAtRest(DeviceRules):
    """The patient's stop counts while RUNNING alone."""

    def on_pressed(self) -> bool | None:
        if self.state is _D.RUNNING:
            return super().on_pressed()
        if self.is_pressed:
            return False
        self.is_pressed = True
        return None


class CauseUnasked(DeviceRules):
    """A fault is acknowledged while its cause lasts."""

    def acknowledge(self, frame: words.Acknowledge) -> None:
        self.is_pressed, is_pressed = False, self.is_pressed
        super().acknowledge(frame)
        self.is_pressed = is_pressed


class AnyLatch(DeviceRules):
    """An acknowledgement clears what nobody has seen yet."""

    def is_meant(self, frame: words.Acknowledge) -> bool:
        return True


class AdoptsWhileRunning(DeviceRules):
    def take_hello(self, hello: words.Hello) -> None:
        if self.state is _D.RUNNING:
            self.epoch, self.is_loaded = hello.epoch, False
        else:
            super().take_hello(hello)


class AnyEpoch(DeviceRules):
    def is_let_through(self, frame: Frame) -> bool:
        return super().is_let_through(frame) or (
            self.epoch > 0 and not isinstance(frame, words.Hello | words.Stop) and not frame.is_late
        )


class NoWindow(DeviceRules):
    def is_let_through(self, frame: Frame) -> bool:
        return super().is_let_through(frame) or (
            not isinstance(frame, words.Hello | words.Stop) and frame.epoch == self.epoch
        )


class RebootsHot(DeviceRules):
    """A reset comes back to what it did."""

    def on_rebooted(self) -> None:
        kept = Device(*[self.__dict__[name] for name in Device._fields])
        super().on_rebooted()
        if kept.state is _D.RUNNING:
            self.state, self.setpoints, self.targets = kept.state, kept.setpoints, kept.targets


_LOSSY = "loss duplication reordering"
CAUGHT = (
    Mutant("keep-alive thread", "I3 host", host=KeepAliveThread, needs="hold"),
    Mutant("lease renewed behind a frozen display", "I3 display", host=BlindToDisplay,
           needs="display"),
    Mutant("display from the commanded value alone", "I8", host=ShowsCommandAlone, needs="lower"),
    Mutant("display from the report alone", "I8", host=ShowsReportAlone),
    Mutant("display forgets what was lowered", "I8", host=ForgetsWhatWasLowered, needs="lower"),
    Mutant("any Status answers a lowering", "I8", host=BelievesAnyAnswer, needs="lower"),
    Mutant("automatic resume after a pause", "I6", host=ResumesByItself, needs="pause"),
    Mutant("fault not latched by the host", "I7 host", host=ResumesAfterFault, needs="hold"),
    Mutant("emergency stop keeps the target", "I9", host=StopKeepsTargets),
    Mutant("pause keeps the target", "I9", host=PauseKeepsTargets, needs="pause"),
    Mutant("telemetry without epoch (first error of the draft)", "I13 host", host=TakesAnyEpoch,
           needs="kill"),
    Mutant("stale telemetry is no fault", "I11", host=IgnoresSilence, needs="loss"),
    Mutant("lead-off re-armed by the host itself", "E4", host=RearmsByItself, needs="electrode"),
    Mutant("fault acknowledged by the host itself", "E4", host=AcknowledgesByItself,
           needs="patient"),
    Mutant("stop waits for the next turn", "I17", host=StopWaitsForTheTick),
    Mutant("a start outlives the stop", "I5 host", host=WishOutlivesStop),
    Mutant("row: pause stays in RUNNING", "I6", host=RowPausedRuns, needs="pause"),
    Mutant("row: acknowledgement arms", "I16", host=RowAcknowledgedArms,
           needs="acknowledge patient"),
    Mutant("row: no fault in RUNNING", "I11", host=RowFaultRuns, needs="display"),
    Mutant("no age check", "I6", device=NoAgeCheck, needs="loss"),
    Mutant("lease from the arrival", "I6", device=LeaseFromArrival, needs="loss"),
    Mutant("no lease", "I3 link", device=NoLease),
    Mutant("no ramp", "I4", device=NoRamp),
    Mutant("fault not latched by the device", "I7 device", device=FaultForgotten, needs="patient"),
    Mutant("no cap, and a host that approves everything", "I1", host=KernelAsleep, device=NoCap),
    Mutant("armed at non-zero", "I12 device", device=ArmedWithTargets, needs="pause"),
    Mutant("start keeps the level", "I4", device=StartKeepsLevel),
    Mutant("relative commands", "I10 asked", device=Relative),
    Mutant("device ignores targets that fall", "I10 asked", device=IgnoresTargetsBelow,
           needs="lower"),
    Mutant("ARMED leaves RUNNING on (second error of the draft)", "I15", device=IgnoresWanted,
           needs="pause"),
    Mutant("device's stop keeps the level", "I2", device=StopKeepsLevel),
    Mutant("rise in silence", "S1", device=RisesInSilence, needs="cycle"),
    Mutant("more than one step at once", "I4", device=RisesOften, top=2),
    Mutant("no hold until contact is proven", "S2", device=NoHold, top=2),
    Mutant("lead-off does not zero its channel", "E1", device=LeadOffGoesOn, needs="electrode"),
    Mutant("lead-off clears itself", "E3", device=LeadOffForgets, needs="electrode"),
    Mutant("a latched channel takes targets", "E1", device=LeadOffUnlatched, needs="electrode"),
    Mutant("patient stop not latched", "I7 device", device=PatientStopUnlatched, needs="patient"),
    Mutant("patient stop in RUNNING alone", "P1", device=PatientStopAtRest, needs="patient"),
    Mutant("acknowledged while the stop is pressed", "P1", device=CauseUnasked,
           needs="patient acknowledge"),
    Mutant("acknowledge clears a newer fault", "I7 device", device=AnyLatch,
           needs="patient acknowledge defect"),
    Mutant("epoch adopted while energised", "I13", device=AdoptsWhileRunning, needs="kill"),
    Mutant("frames of another epoch obeyed", "I14", device=AnyEpoch, needs="kill reordering",
           misfortunes=2),
    Mutant("no window for Drives", "I14", device=NoWindow, needs=_LOSSY),
    Mutant("a reset comes back running", "I2", device=RebootsHot, needs="reboot"),
)  # fmt: skip

BACKED_UP = (
    Mutant("row: arming runs", "", host=RowArmedRuns,
           why="the Status that says ARMED says too that the device does not run: FAULT at once"),
    Mutant("the kernel approves everything", "", host=KernelAsleep, misfortunes=0,
           why="the device refuses what is above its limit, or not from zero"),
    Mutant("no cap in the device", "", device=NoCap,
           why="the kernel refuses first; tests of the gate hold the device's own cap"),
    Mutant("a start may bring its target", "", device=StartsAtTarget,
           why="the kernel refuses a target from ARMED"),
    Mutant("Stop is sent once", "", host=StopOnce, needs="loss",
           why="each Drive that follows wants SAFE, and without them the lease ends output"),
    Mutant("a stall is not told", "", host=StallUntold, needs="hold",
           why="the lease has ended output, and the next Status says so: FAULT"),
)  # fmt: skip
"""Mistakes that another rule makes harmless: explored completely, nothing breaks."""
