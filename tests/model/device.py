"""The device of the model: one step at a time, as PROTOCOL.md has it.

Rules:
1. In which state a message is acted on is `allowed_in` of the declarations, and every figure comes
   from `firmware_protocol.limits`: not restated here.
2. The names follow `estim.simulator`; `test_conformance.py` holds both against each other.
3. A pulse that raises, finds contact or loses it may come at any time: it is an event of its own.
"""

from __future__ import annotations

from firmware_protocol import messages as wire
from firmware_protocol.messages import DeviceState, FaultCode, Message, WantedState
from tests.model import words
from tests.model.words import Bound, Device, Frame

_S = DeviceState
_FIELDS = Device._fields
ENERGISED = (_S.ARMED, _S.RUNNING)
DECLARED: dict[type[Frame], tuple[type[Message], ...]] = {
    words.Hello: (wire.Hello,),
    words.Load: (wire.SetLimits, wire.BeginProgram, wire.ProgramPhases, wire.CommitProgram),
    words.Drive: (wire.Drive,),
    words.Stop: (wire.Stop,),
    words.Acknowledge: (wire.AcknowledgeFault,),
}
"""Which messages of the protocol a frame of the model stands for."""


class DeviceRules:
    """Take one device, let one thing happen, return the device after it and what it sent."""

    state: DeviceState
    epoch: int
    is_loaded: bool
    lease: int
    setpoints: tuple[int, ...]
    targets: tuple[int, ...]
    good: int
    latched: int
    fault: FaultCode
    is_pressed: bool
    is_plateau: bool
    risen: int
    follows: bool
    unheard: int

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.zeros = (0,) * bound.channels
        self.has_cycle = "cycle" in bound.happenings
        self.sent: list[Frame] = []
        self.has_latched = False

    def first(self) -> Device:
        """Return the device as it was switched on."""
        return Device(setpoints=self.zeros, targets=self.zeros, unheard=self.bound.oldest)

    def step(
        self, device: Device, event: str, *more: object
    ) -> tuple[Device, tuple[Frame, ...], bool] | None:
        """Return the device after an event, what it sent and whether it latched something."""
        self.__dict__.update(zip(_FIELDS, device, strict=True))
        self.sent, self.has_latched = [], False
        name, _, argument = event.partition(" ")
        if argument:
            more = (int(argument), *more)
        if getattr(self, f"on_{name}")(*more) is False:
            return None
        after = Device(*[self.__dict__[field] for field in _FIELDS])
        return after, tuple(self.sent), self.has_latched

    # Time and the world.

    def on_tick(self) -> None:
        """Let one tick pass; a lease that ends takes output with it."""
        self.unheard = min(self.unheard + 1, self.bound.oldest)
        if not self.has_cycle:
            self.risen = 0
        if self.state in ENERGISED:
            self.lease = max(0, self.lease - 1)
            if not self.lease:
                self.end_lease()
        self.tell()

    def end_lease(self) -> None:
        if self.state is _S.ARMED:
            self.change(_S.SAFE)
        else:
            self.latch_fault(FaultCode.LEASE_EXPIRED)

    def on_other_epoch(self) -> None:
        """A host begins anew: what was its epoch is an earlier one now."""
        self.epoch = 2 if self.epoch else 0
        self.follows = False

    def on_lowered_elsewhere(self) -> None:
        """The host has lowered something that this device has not heard of yet (for the judge)."""
        self.follows = False

    def on_rebooted(self) -> None:
        is_pressed = self.is_pressed
        self.__dict__.update(zip(_FIELDS, self.first(), strict=True))
        self.is_pressed = is_pressed
        if is_pressed:
            self.latch_fault(FaultCode.PATIENT_STOP)

    def on_defect(self) -> bool | None:
        """Measure too much, or any other fault of the device's own."""
        if self.state not in ENERGISED:
            return False
        self.latch_fault(FaultCode.OVERCURRENT)
        return None

    def on_pressed(self) -> bool | None:
        """The patient presses the stop."""
        if self.is_pressed:
            return False
        self.is_pressed = True
        self.latch_fault(FaultCode.PATIENT_STOP)
        return None

    def on_released(self) -> bool | None:
        if not self.is_pressed:
            return False
        self.is_pressed = False
        return None

    def on_plateau_ends(self) -> bool | None:
        if self.state is not _S.RUNNING or not self.is_plateau:
            return False
        self.is_plateau = False
        return None

    def on_plateau_begins(self) -> bool | None:
        if self.state is not _S.RUNNING or self.is_plateau:
            return False
        self.is_plateau, self.risen = True, 0
        return None

    def on_rises(self, channel: int) -> bool | None:
        """A pulse comes with which the setpoint moves towards the target."""
        if not self.may_rise(channel):
            return False
        self.risen |= 1 << channel
        self.set_setpoint(channel, self.setpoints[channel] + 1)
        return None

    def may_rise(self, channel: int) -> bool:
        ceiling = self.targets[channel]
        if not self.good >> channel & 1:
            ceiling = min(ceiling, max(1, self.setpoints[channel]))
        return (
            self.state is _S.RUNNING
            and self.setpoints[channel] < ceiling
            and self.is_felt()
            and not self.risen >> channel & 1
        )

    def is_felt(self) -> bool:
        return self.is_plateau

    def on_contact_proven(self, channel: int) -> bool | None:
        if self.state is not _S.RUNNING or not self.setpoints[channel]:
            return False
        if self.good >> channel & 1:
            return False
        self.good |= 1 << channel
        return None

    def on_electrode_off(self, channel: int) -> bool | None:
        """Pulses find no contact."""
        if self.state is not _S.RUNNING or not self.setpoints[channel]:
            return False
        self.latch_lead_off(channel)
        self.has_latched = True
        return None

    def latch_lead_off(self, channel: int) -> None:
        self.zero(channel)
        self.latched |= 1 << channel
        self.good &= ~(1 << channel)

    # The line.

    def on_received(self, frame: Frame) -> None:
        if isinstance(frame, words.Drive):
            self.unheard = 0
        if not self.is_let_through(frame):
            return
        if not isinstance(frame, words.Hello) and not all(
            self.state in message.allowed_in for message in DECLARED[type(frame)]
        ):
            return
        if isinstance(frame, words.Hello):
            self.take_hello(frame)
        elif isinstance(frame, words.Load):
            self.is_loaded = True
            self.sent.append(words.Accepted())
        elif isinstance(frame, words.Drive):
            self.take_drive(frame)
        elif isinstance(frame, words.Stop):
            if self.state is not _S.FAULT:
                self.change(_S.SAFE)
            self.tell()
        elif isinstance(frame, words.Acknowledge):
            self.acknowledge(frame)
            self.tell()

    def is_let_through(self, frame: Frame) -> bool:
        """Let through what is of this epoch and in order; every Hello and Stop besides."""
        if isinstance(frame, words.Hello | words.Stop):
            return True
        return frame.epoch == self.epoch and not frame.is_late

    def take_hello(self, hello: words.Hello) -> None:
        if not self.may_adopt():
            self.sent.append(words.Identity(False, hello.epoch))
            return
        self.change(_S.FAULT if self.state is _S.FAULT else _S.SAFE)
        self.lease = 0
        self.epoch = hello.epoch
        self.is_loaded = False
        self.sent.append(words.Identity(True, hello.epoch))

    def may_adopt(self) -> bool:
        return self.state in wire.Hello.allowed_in

    def take_drive(self, drive: words.Drive) -> None:
        if drive.echo_age > self.bound.lease:
            return
        if drive.wanted is WantedState.RUNNING:
            refused = self.drive_to_running(drive)
        else:
            refused = self.drive_below_running(drive)
        if not refused:
            self.follows = drive.is_newest
            self.renew_lease(drive)
        self.tell(refused)

    def renew_lease(self, drive: words.Drive) -> None:
        if self.state in ENERGISED:
            self.lease = max(self.lease, self.bound.lease - drive.echo_age)
            if not self.lease:
                self.end_lease()

    def drive_below_running(self, drive: words.Drive) -> str:
        if self.state is _S.FAULT:
            return ""
        was_safe = self.state is _S.SAFE
        if drive.wanted is WantedState.SAFE:
            self.change(_S.SAFE)
        elif self.state is _S.RUNNING:
            self.change(_S.ARMED)
        if any(drive.targets):
            return "not from zero"
        if was_safe and drive.wanted is WantedState.ARMED:
            if not self.is_loaded or not drive.has_digests:
                return "digest"
            self.change(_S.ARMED)
        return ""

    def drive_to_running(self, drive: words.Drive) -> str:
        if self.state is _S.SAFE:
            return "step too far"
        if self.state is _S.FAULT:
            return "fault latched"
        if not self.is_loaded or not drive.has_digests:
            return "digest"
        for channel, target in enumerate(drive.targets):
            refused = self.review_target(channel, target)
            if refused:
                return refused
        if self.state is _S.ARMED:
            self.change(_S.RUNNING)
        for channel, target in enumerate(drive.targets):
            self.set_target(channel, target)
        return ""

    def review_target(self, channel: int, target: int) -> str:
        if target and self.state is _S.ARMED:
            return "not from zero"
        if target > self.bound.top:
            return "limit"
        if target and self.latched >> channel & 1:
            return "lead-off"
        return ""

    def acknowledge(self, frame: words.Acknowledge) -> None:
        if not self.is_meant(frame):
            return
        if frame.channel_mask:
            self.latched &= ~frame.channel_mask
            self.good &= ~frame.channel_mask
        elif self.state is _S.FAULT and not self.is_pressed:
            self.fault = FaultCode.NONE
            self.change(_S.SAFE)

    def is_meant(self, frame: words.Acknowledge) -> bool:
        return frame.is_latest

    # The steps that everything else is made of.

    def change(self, state: DeviceState) -> None:
        if state is self.state:
            return
        if self.state is _S.RUNNING:
            self.leave_running()
        self.state = state
        if state is _S.RUNNING:
            self.enter_running()
        if state not in ENERGISED:
            self.lease = 0

    def leave_running(self) -> None:
        for channel in range(self.bound.channels):
            self.zero(channel)
        self.good = self.risen = 0
        self.is_plateau = True

    def enter_running(self) -> None:
        for channel in range(self.bound.channels):
            self.zero(channel)
        # A cycle begins with its ramp: nothing is felt yet.
        self.is_plateau = not self.has_cycle

    def latch_fault(self, fault: FaultCode) -> None:
        self.change(_S.FAULT)
        self.fault = fault
        self.has_latched = True

    def set_target(self, channel: int, target: int) -> None:
        row = self.targets
        self.targets = (*row[:channel], target, *row[channel + 1 :])
        self.set_setpoint(channel, min(self.setpoints[channel], target))

    def set_setpoint(self, channel: int, level: int) -> None:
        row = self.setpoints
        self.setpoints = (*row[:channel], level, *row[channel + 1 :])

    def zero(self, channel: int) -> None:
        row = self.targets
        self.targets = (*row[:channel], 0, *row[channel + 1 :])
        self.set_setpoint(channel, 0)

    def tell(self, refused: str = "") -> None:
        """Send a Status, once an epoch was adopted."""
        if not self.epoch:
            return
        if refused and refused != "lead-off":
            refused = "refused"
        is_pressed = self.is_pressed or self.fault is FaultCode.PATIENT_STOP
        report = words.Report(
            self.state, self.setpoints, self.targets, self.latched, self.fault, self.is_loaded,
            is_pressed,
        )  # fmt: skip
        self.sent.append(
            words.Status(report, follows=self.follows, refused=refused, epoch=self.epoch)
        )
