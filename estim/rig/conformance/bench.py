"""A session with the device under test, as far as checks share it: to a state, and back to zero.

Rules:
1. Every check begins from SAFE at zero, in an epoch of its own, with the compiled limits and no
   programme; what a check leaves behind touches no other.
2. Output is small (at most `TARGET_UA`), on one channel, and flows in RUNNING held by fresh Drives.
3. A load that contradicts the declared one ends the run at once: somebody may be connected.
4. What a device says is judged by its own ticks where it gives them. What must be judged by this
   computer's clock is allowed `HOST_MS` more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from estim.errors import LimitRefused
from estim.rig.conformance.conversation import ANSWER_MS, Conversation
from estim.rig.conformance.hearing import (
    TICK_MODULUS,
    Outcome,
    in_state,
    words,
)
from estim.rig.conformance.line import US_PER_MS, Heard, Line
from estim.rig.conformance.requirement import (
    Failed,
    NeverAtRest,
    NotApplicable,
    NotReached,
    NotTestable,
    expect,
    fail,
)
from estim.rig.conformance.world import UNDONE_BY, World
from firmware_protocol import limits
from firmware_protocol.messages import (
    AcknowledgeFault,
    CapabilityFlag,
    DeviceState,
    Drive,
    Identity,
    RefusalReason,
    Refused,
    SetLimits,
    Status,
    TargetRow,
    WantedState,
)
from firmware_protocol.program import PulseProgram

if TYPE_CHECKING:
    from estim.rig.conformance.capture import Capture
    from estim.rig.conformance.recording import Recorder

LEASE_MS = limits.lease_ms.maximum
HOST_MS = 100
"""What this computer and the line may add to a time that the device does not stamp."""
TICK_MS = 10
"""How late, by its own tick, a device may act on a timer."""
AHEAD_MS = 20
"""How long before its pulse a setpoint may be told: what is decided no further ahead may still be
played after a Stop too."""
DRIVE_US = 50_000
TARGET_UA = 3000
LOAD_PERCENT = 50
LOAD_EXTRA_OHM = 20
NOISE_FRAME = b"\x02\x02\x00"


@contextmanager
def _on_the_way() -> Iterator[None]:
    """Tell a failure on the way to a check from one of the check."""
    try:
        yield
    except NeverAtRest:
        raise
    except Failed as failure:
        raise NotReached(failure.expected, failure.seen) from failure


class Bench(Conversation):
    """What every check is given.

    Attributes:
        world: lets things happen to the device.
        bench_ohm: the declared load.
        soak_s: how long a soak lasts.
        capture: what reached the load, None where nobody looks.
        recorder: who records the same with an instrument, None for nobody.
        scenarios: what several checks judge, made once.
        reboot_count: how often the kit had the device started anew.
    """

    def __init__(
        self,
        line: Line,
        world: World,
        bench_ohm: int,
        soak_s: int,
        capture: Capture | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(line)
        self.world = world
        self.bench_ohm = bench_ohm
        self.soak_s = soak_s
        self.capture = capture
        self.recorder = recorder
        self.scenarios: dict[str, object] = {}
        self.reboot_count = 0
        self._is_load_free = False
        self._to_undo: list[str] = []

    # Sessions.

    def begin(
        self, program: PulseProgram | None = None, session: SetLimits | None = None
    ) -> Identity:
        """Bring the device to SAFE at zero in a new epoch; maybe set limits and load a programme.

        Raises:
            NotReached: the device does not get there.
        """
        with _on_the_way():
            return self._begin(program, session)

    def _begin(self, program: PulseProgram | None, session: SetLimits | None) -> Identity:
        self.stop()
        while self._to_undo:  # of a check that ended before it did so itself
            self.play(self._to_undo[0])
            self.line.listen(self.world.back_ms)
        identity = self.adopt()
        self._is_load_free = False
        if identity.state is DeviceState.FAULT or self.latched_mask:
            self.acknowledge()
        if session is not None:
            self.set_limits(session)
        if program is not None:
            self.load(program)
        return identity

    def acknowledge(self) -> None:
        """Clear a latched fault and lead-offs, whose causes must be gone."""
        status = self.stop()
        mask = self.latched_mask
        if mask:
            self.line.send(AcknowledgeFault(status.latch_count, mask))
        if status.state is DeviceState.FAULT:
            self.line.send(AcknowledgeFault(status.latch_count, 0))
        status = self.stop()
        expect(
            status.state is DeviceState.SAFE and not self.latched_mask,
            "SAFE once fault and lead-offs are acknowledged",
            words(status),
        )

    # Drives.

    def drive_message(
        self,
        wanted: WantedState,
        targets_ua: Sequence[int] | None = None,
        *,
        echoed_ms: int | None = None,
        program_digest: int | None = None,
        limits_digest: int | None = None,
    ) -> Drive:
        """Return a Drive; what is not given is as the device has it."""
        targets = (0,) * self.channel_count if targets_ua is None else targets_ua
        return Drive(
            wanted,
            self.echo() if echoed_ms is None else echoed_ms % TICK_MODULUS,
            self.program_digest if program_digest is None else program_digest,
            self.limits_digest if limits_digest is None else limits_digest,
            tuple(TargetRow(target_ua) for target_ua in targets),
        )

    def drive(self, drive: Drive, *, sequence: int | None = None) -> Outcome:
        """Send a Drive and return the Status that shows what came of it.

        Raises:
            Failed: neither accepted nor refused.
        """
        before = self.status.refusal_count if self.status is not None else -1
        mark = self.line.mark()
        sent = self.line.send(drive, sequence=sequence)

        def settled(heard: Heard) -> bool:
            message = heard.message
            if isinstance(message, Refused):
                return message.in_reply_to == sent
            return isinstance(message, Status) and message.drive_sequence == sent

        heard = self.line.wait(mark, settled, ANSWER_MS)
        if heard is None:
            fail("a Status or a Refused in answer to a fresh Drive", words(self.status))
        if isinstance(heard.message, Status):
            return Outcome(sent, heard.message, None)
        refused = heard.message
        assert isinstance(refused, Refused)
        counted = self.line.wait(
            mark,
            lambda h: isinstance(h.message, Status) and h.message.refusal_count != before,
            ANSWER_MS,
        )
        if counted is None:
            fail("a Status that counts the refusal", words(self.status))
        assert isinstance(counted.message, Status)
        return Outcome(sent, counted.message, refused)

    def probe(self) -> Status:
        """Return a Status of now; the lease is renewed and nothing else changes."""
        state = self.status.state if self.status is not None else DeviceState.SAFE
        if state is DeviceState.FAULT:
            mark = self.line.mark()
            self.line.send(self.drive_message(WantedState.SAFE, ()))
            heard = self.line.wait(mark, lambda h: isinstance(h.message, Status), ANSWER_MS)
            if heard is None:
                fail("a Status in answer to a Drive in FAULT", "no answer")
            assert isinstance(heard.message, Status)
            return heard.message
        targets_ua = self.targets_ua if state is DeviceState.RUNNING else None
        return self.drive(self.drive_message(WantedState(int(state)), targets_ua)).status

    def expect_drive_refused(
        self, drive: Drive, *reasons: RefusalReason, what: str = ""
    ) -> Outcome:
        """Send a Drive that must be refused."""
        outcome = self.drive(drive)
        named = " or ".join(reason.name for reason in reasons)
        expect(
            outcome.refused is not None and outcome.refused.reason in reasons,
            f"Refused({named}) for a Drive{' ' + what if what else ''}",
            words(outcome.refused or outcome.status),
        )
        return outcome

    # States.

    def reach(self, state: DeviceState, targets_ua: Sequence[int] | None = None) -> Status:
        """Go from SAFE with a programme to a state; RUNNING with targets where some are given.

        Raises:
            NotReached: the device does not get there.
        """
        with _on_the_way():
            return self._reach(state, targets_ua)

    def _reach(self, state: DeviceState, targets_ua: Sequence[int] | None) -> Status:
        if state is DeviceState.SAFE:
            return self.arrived(self.drive(self.drive_message(WantedState.SAFE)), state)
        status = self.arrived(self.drive(self.drive_message(WantedState.ARMED)), DeviceState.ARMED)
        if state is DeviceState.FAULT:
            return self._into_fault()
        if state is DeviceState.RUNNING:
            self.targets_ua = (0,) * self.channel_count
            status = self.arrived(self.drive(self.drive_message(WantedState.RUNNING)), state)
            if targets_ua is not None:
                self.targets_ua = tuple(targets_ua)
                raised = self.drive_message(WantedState.RUNNING, targets_ua)
                status = self.arrived(self.drive(raised), state)
        return status

    def arrived(self, outcome: Outcome, state: DeviceState) -> Status:
        """Return the Status of a Drive that must have led to a state."""
        expect(
            outcome.refused is None and outcome.status.state is state,
            f"the Drive to lead to {state.name}",
            words(outcome.refused or outcome.status),
        )
        return outcome.status

    def _into_fault(self) -> Status:
        """Latch the fault that is quickest; the lease where damaged frames do not do it."""
        mark = self.line.mark()
        self.line.send_raw(NOISE_FRAME * (limits.line_errors_per_s.maximum + 1))
        heard = self.line.wait(mark, in_state(DeviceState.FAULT), HOST_MS)
        if heard is None:
            self.drive(self.drive_message(WantedState.RUNNING))
            heard = self.line.wait(mark, in_state(DeviceState.FAULT), LEASE_MS + ANSWER_MS)
        if heard is None:
            fail("FAULT by damaged frames, or by a lease that ends", words(self.status))
        if isinstance(heard.message, Status):
            return heard.message
        return self.probe_in_fault()

    def probe_in_fault(self) -> Status:
        """Return a Status that shows FAULT."""
        mark = self.line.mark()
        self.line.send(self.drive_message(WantedState.SAFE, ()))
        heard = self.line.wait(
            mark,
            lambda h: isinstance(h.message, Status) and h.message.state is DeviceState.FAULT,
            ANSWER_MS,
        )
        if heard is None:
            fail("a Status that shows FAULT", words(self.status))
        assert isinstance(heard.message, Status)
        return heard.message

    def hold(
        self,
        for_ms: int,
        targets_ua: Sequence[int] | None = None,
        *,
        until: Callable[[Status], bool] | None = None,
        may_end: bool = False,
        may_refuse: bool = False,
        every_us: int = DRIVE_US,
    ) -> Status:
        """Keep the device RUNNING for a while, or until a Status fits; return the last one.

        Raises:
            Failed: it leaves RUNNING, unless it may.
        """
        if targets_ua is not None:
            self.targets_ua = tuple(targets_ua)
        line = self.line
        next_us, end_us, at = line.now_us(), line.now_us() + for_ms * US_PER_MS, line.mark()
        while (now_us := line.now_us()) < end_us:
            if now_us >= next_us:
                line.send(self.drive_message(WantedState.RUNNING, self.targets_ua))
                next_us = now_us + every_us
            line.turn()
            for heard in line.heard[at:]:
                if isinstance(heard.message, Refused) and not (may_end or may_refuse):
                    fail("a Drive within limits to be accepted", words(heard.message))
                if not isinstance(heard.message, Status):
                    continue
                if until is not None and until(heard.message):
                    return heard.message
                if heard.message.state is not DeviceState.RUNNING:
                    expect(may_end, "the device to stay RUNNING while driven", words(heard.message))
                    return heard.message
            at = line.mark()
        assert self.status is not None
        return self.status

    # The world, and what is lacking.

    def play(self, fault: str) -> None:
        """Let something happen to the device; from now on its load may be anything."""
        self._is_load_free = True
        self.world.play(fault)
        self.reboot_count += fault == "reboot"
        self._to_undo = [undo for undo in self._to_undo if undo != fault]
        if fault in UNDONE_BY:
            self._to_undo.append(UNDONE_BY[fault])

    def put_lead_back(self) -> None:
        """Have the lead of the first channel put back, output held at zero meanwhile."""
        self.play("lead-on 1")
        if self.status is not None and self.status.state is DeviceState.RUNNING:
            self.hold(self.world.back_ms, (0,) * self.channel_count)
        else:
            self.line.listen(self.world.back_ms)

    def need(self, flag: CapabilityFlag) -> None:
        """Raise NotApplicable where the device lacks a capability."""
        if flag not in self.can.flags:
            raise NotApplicable(f"the device lacks {flag.name}")

    def need_channels(self, count: int) -> None:
        """Raise NotApplicable where the device has fewer channels."""
        if self.can.channel_count < count:
            raise NotApplicable(f"the device has fewer than {count} channels")

    def need_playable(self, program: PulseProgram) -> None:
        """Raise NotApplicable where the device refuses what Capabilities cannot rule out."""
        self.begin()
        found = self.commit(program)
        if isinstance(found, Refused) and found.reason is RefusalReason.CAPABILITY:
            raise NotApplicable("the device's output stage cannot play it: Refused(CAPABILITY)")

    def need_capture(self) -> Capture:
        """Return the capture, or raise NotTestable."""
        if self.capture is None and self.recorder is not None:
            raise NotTestable("needs a capture on this computer's clock: a recording has its own")
        if self.capture is None:
            raise NotTestable("needs a capture of what reached the load: add --capture or --scope")
        return self.capture

    @property
    def target_ua(self) -> int:
        """Return the highest target that the kit delivers."""
        return min(TARGET_UA, self.can.amplitude_max_ua)

    def watch(self, heard: Heard) -> None:
        """Keep the newest Status, and hold its load against the declared one (rule 3)."""
        super().watch(heard)
        message = heard.message
        if not isinstance(message, Status):
            return
        is_judged = message.state is DeviceState.RUNNING and not self._is_load_free
        if not is_judged or CapabilityFlag.REPORTS_LOAD not in self.can.flags:
            return
        allowed_ohm = self.bench_ohm * LOAD_PERCENT // 100 + LOAD_EXTRA_OHM
        for number, channel in enumerate(message.channels, start=1):
            if channel.load_ohm and abs(channel.load_ohm - self.bench_ohm) > allowed_ohm:
                raise LimitRefused(
                    f"the bench is said to be {self.bench_ohm} ohm, but channel {number} sees "
                    f"{channel.load_ohm} ohm: nothing more is delivered"
                )
