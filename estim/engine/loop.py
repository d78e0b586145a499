"""One turn after another: events into the core, its effects into the world.

Rules:
1. The loop never blocks and never touches the disk while energised: port and record have threads
   (or, stepped, none).
2. Every Drive goes through `kernel.review`; only its approval reaches the driver.
3. The same loop runs in real time (`process`) and stepped (`virtual`); both tell it the time.
4. A turn more than 320 ms after the last, or boot time growing 50 ms past monotonic time, is told
   to the core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from estim.clock import Clock
from estim.drivers.base import DriverEvent, Output, SelfTested, StatusSeen, Stimulator
from estim.engine.inhibit import Inhibitor
from estim.engine.tap import FrameTap
from estim.errors import EstimError, RecordError, UsageError
from estim.record import station_key
from estim.record.files import FileOps
from estim.record.journal import Journal
from estim.record.telemetry import Reading, Telemetry
from estim.record.writer import EventWriter
from estim.safety import kernel
from estim.safety.verdict import Approved, ApprovedLoad
from estim.session import events as ev
from estim.session.core import SessionCore
from estim.session.messages import Blame, Notice, Reply, Severity, Stop
from estim.session.snapshot import take_snapshot
from estim.session.states import ENERGISED
from firmware_protocol import limits
from firmware_protocol.messages import Contact, DeviceState, Status

STALL_US = limits.lease_ms.maximum * 1000
SUSPEND_US = 50_000
SEAL_TOKEN = -1
BUSY_SNAPSHOT_US = 50_000
IDLE_SNAPSHOT_US = 200_000


class Port(Protocol):
    """The line to the device, as the loop sees it: writing never blocks."""

    def send(self, output: Output) -> None:
        """Hand over what is to be written; a waiting Drive is replaced by a newer one."""

    def close(self) -> None:
        """Let go of the line."""


class World(Protocol):
    """What differs between real time and stepped time."""

    def open_port(self, url: str, now_us: int) -> tuple[Port, Stimulator] | None:
        """Open a device; None where `port_opened` or `port_failed` will be called later."""

    def make_writer(
        self,
        journal: Journal,
        on_durable: Callable[[int], None],
        on_failure: Callable[[str], None],
    ) -> EventWriter:
        """Return the record's writer."""

    def say(self, reply: Reply) -> None:
        """Hand a reply to the interface."""

    def play_fault(self, line: str) -> None:
        """Tell the simulator a fault, without waiting; raise EstimError where that cannot be."""


class EngineLoop:
    """Run one visit."""

    def __init__(
        self,
        world: World,
        clock: Clock,
        snapshot_us: int = BUSY_SNAPSHOT_US,
        inhibitor: Inhibitor | None = None,
        file_ops: FileOps | None = None,
    ) -> None:
        self.core = SessionCore()
        self.has_ended = False
        self._world = world
        self._clock = clock
        self._snapshot_us = snapshot_us
        self._file_ops = file_ops
        self._port: Port | None = None
        self._driver: Stimulator | None = None
        self._writer: EventWriter | None = None
        self._journal: Journal | None = None
        self._key = b""
        self._telemetry = Telemetry()
        self._inhibitor = inhibitor
        self._tap: FrameTap | None = None
        self._has_told_inhibition = False
        self._waiting: deque[ev.CoreEvent] = deque()
        self._is_turning = False
        self._owes_output = False
        self._record_events = 0
        self._core_due_us: int | None = None
        self._snapshot_due_us = 0
        self._turned_us = clock.now_us()
        self._asleep_us = clock.boot_us() - clock.now_us()

    # What the world calls.

    def post(self, event: ev.CoreEvent) -> None:
        """Take an event; what it causes is done before this returns, in order."""
        self._waiting.append(event)
        if self._is_turning:
            return
        self._is_turning = True
        try:
            while self._waiting:
                now_us = self._clock.now_us()
                self._core_due_us = None
                for effect in self.core.handle(self._waiting.popleft(), now_us):
                    self._carry_out(effect, now_us)
        finally:
            self._is_turning = False
        if self._owes_output:
            self._flush_output()

    def receive(self, received: bytes) -> None:
        """Take bytes from the device."""
        if self._driver is None:
            return
        now_us = self._clock.now_us()
        if self._tap is not None:
            self._tap.saw_input(received, now_us)
        self._driver.receive(received, now_us)
        self._poll_driver(now_us)

    def port_opened(self, port: Port, driver: Stimulator) -> None:
        """Begin to identify on a line that has opened."""
        if not self.core.connect_id:  # nobody waits for it any more
            port.close()
            return
        self._port, self._driver = port, driver
        driver.connect(self._clock.now_us())
        self._flush_output()

    def wake(self) -> None:
        """Begin a turn: tell a stall or a sleep before anything that waited is believed."""
        now_us = self._clock.now_us()
        gap_us, self._turned_us = now_us - self._turned_us, now_us
        if gap_us > STALL_US:
            self.post(ev.LoopStalled(gap_us))
        asleep_us = self._clock.boot_us() - now_us
        if asleep_us - self._asleep_us > SUSPEND_US:
            self.post(ev.Suspended(asleep_us - self._asleep_us))
        self._asleep_us = asleep_us

    def turn(self) -> None:
        """Serve every deadline that has come, and publish."""
        now_us = self._clock.now_us()
        self._poll_driver(now_us)
        if now_us >= self._core_deadline_us():
            self.post(ev.Ticked())
        for kind, content in self._telemetry.due(now_us):
            self._record(kind, content, None, now_us)
        if now_us >= self._snapshot_due_us:
            self.publish(now_us)

    def next_deadline_us(self) -> int:
        """Return when `turn` is due at the latest."""
        due = [self._core_deadline_us(), self._snapshot_due_us]
        driver_us = self._driver.next_deadline_us() if self._driver else None
        if driver_us is not None:
            due.append(driver_us)
        return min(due)

    def _core_deadline_us(self) -> int:
        """Return when the core is due, worked out once after each event."""
        if self._core_due_us is None:
            self._core_due_us = self.core.next_deadline_us()
        return self._core_due_us

    def publish(self, now_us: int) -> None:
        """Send a snapshot to the interface."""
        is_busy = self.core.state in ENERGISED or self.core.is_busy
        self._tell_inhibition(now_us)
        self._snapshot_due_us = now_us + (self._snapshot_us if is_busy else IDLE_SNAPSHOT_US)
        inhibition = self._inhibitor.explanation if self._inhibitor else ""
        self._world.say(take_snapshot(self.core, self._record_events, inhibition, now_us))
        frames = self._tap.take() if self._tap is not None else None
        if frames is not None:
            self._world.say(frames)

    def _tell_inhibition(self, now_us: int) -> None:
        """Warn once where nothing keeps the computer awake while output is possible."""
        inhibitor = self._inhibitor
        if inhibitor is None or self._has_told_inhibition or self.core.state not in ENERGISED:
            return
        if not inhibitor.is_holding:
            self._has_told_inhibition = True
            self._world.say(Notice(now_us, Severity.WARNING, inhibitor.explanation, "", Blame.HOST))

    def durable(self, token: int) -> None:
        """Note that the record has kept something (called in the loop's thread)."""
        if token == SEAL_TOKEN:
            self.post(ev.RecordSealed(self._journal.head if self._journal else ""))
        else:
            self.post(ev.RecordDurable(token))

    def end(self) -> None:
        """Let go of everything, with a last Stop where a line is open."""
        if self._driver is not None and self._port is not None and not self.has_ended:
            self._driver.stop(self._clock.now_us())
            self._flush_output()
        self._inhibit(False)
        if self._port is not None:
            self._port.close()
        if self._writer is not None:
            self._writer.close(1.0)

    # Effects.

    def _carry_out(self, effect: ev.Effect, now_us: int) -> None:
        if isinstance(effect, ev.ReviewDrive):
            self._review_drive(effect, now_us)
        elif isinstance(effect, ev.Append):
            self._record(effect.kind, effect.content, effect.token, now_us)
        elif isinstance(effect, ev.Say):
            self._world.say(effect.reply)
        elif isinstance(effect, ev.StopOutput):
            if self._driver is not None:
                self._driver.stop(now_us)
                self._flush_output()
        elif isinstance(effect, ev.ReviewLoad):
            self._review_load(effect, now_us)
        elif isinstance(effect, ev.AcknowledgeDevice):
            if self._driver is not None:
                self._driver.acknowledge(effect.latch_count, effect.channel_mask, now_us)
                self._owes_output = True
        elif isinstance(effect, ev.TestDevice):
            self._test_device(now_us)
        elif isinstance(effect, ev.WatchFrames):
            self._tap = FrameTap() if effect.is_wanted else None
        elif isinstance(effect, ev.PlayFault):
            self._play_fault(effect)
        elif isinstance(effect, ev.OpenPort):
            self._open_port(effect.url, now_us)
        elif isinstance(effect, ev.ClosePort):
            self._close_port()
        elif isinstance(effect, ev.OpenRecordFile):
            self._open_record(effect)
        elif isinstance(effect, ev.SealRecord):
            self._seal(now_us)
        elif isinstance(effect, ev.Inhibit):
            self._inhibit(effect.is_wanted)
        else:
            self.publish(now_us)
            self.has_ended = True

    def _inhibit(self, is_wanted: bool) -> None:
        if self._inhibitor is not None:
            self._inhibitor.hold() if is_wanted else self._inhibitor.release()

    def _review_drive(self, effect: ev.ReviewDrive, now_us: int) -> None:
        core = self.core
        result = kernel.review(
            effect.request, core.program, core.facts(now_us), core.bounds, now_us
        )
        if isinstance(result, Approved) and self._driver is not None:
            self._driver.drive(result, now_us)
            self._owes_output = True
        self._waiting.appendleft(ev.DriveReviewed(effect.request, result))

    def _review_load(self, effect: ev.ReviewLoad, now_us: int) -> None:
        capabilities = self.core.capabilities
        if capabilities is None or self._driver is None:
            return
        result = kernel.review_load(effect.program, effect.bounds, capabilities, now_us)
        if isinstance(result, ApprovedLoad):
            self._driver.load(result, now_us)
            self._owes_output = True
        else:
            self._waiting.append(ev.LoadReviewed(result))

    def _test_device(self, now_us: int) -> None:
        if self._driver is None or not self._driver.self_test(now_us):
            self._waiting.append(SelfTested(refusal="this kind of device has no self-test"))
        self._owes_output = True

    def _play_fault(self, effect: ev.PlayFault) -> None:
        error: EstimError | None = None
        try:
            self._world.play_fault(effect.line)
        except EstimError as caught:
            error = caught
        self._waiting.append(ev.FaultPlayed(effect.request_id, effect.line, error))

    def _open_port(self, url: str, now_us: int) -> None:
        try:
            opened = self._world.open_port(url, now_us)
        except EstimError as error:
            self._waiting.append(ev.PortFailed(error))
            return
        if opened is not None:
            self.port_opened(*opened)

    def _close_port(self) -> None:
        if self._port is not None:
            self._flush_output()
            self._port.close()
        self._port = None
        self._driver = None

    def _open_record(self, effect: ev.OpenRecordFile) -> None:
        request = effect.request
        try:
            self._key = station_key.load_or_make(Path(request.key_folder))
            self._journal = Journal.create(
                Path(request.folder),
                request.header,
                self._clock,
                request.session_id,
                ops=self._file_ops,
            )
        except (RecordError, UsageError, OSError, ValueError) as error:
            # ValueError: a path that no file can have.
            self._waiting.append(ev.RecordFailed(str(error)))
            return
        self._writer = self._world.make_writer(
            self._journal, self.durable, lambda text: self.post(ev.RecordFailed(text))
        )
        self._waiting.append(ev.RecordOpened(str(self._journal.path)))

    def _record(
        self, kind: str, content: dict[str, object], token: int | None, now_us: int
    ) -> None:
        if self._writer is None:
            return
        self._record_events += 1
        self._writer.submit(kind, content, mono_us=now_us, wall=self._clock.wall(), token=token)

    def _seal(self, now_us: int) -> None:
        for kind, content in self._telemetry.finish(now_us):
            self._record(kind, content, None, now_us)
        if self._writer is not None:
            self._writer.seal(self._key, mono_us=now_us, wall=self._clock.wall(), token=SEAL_TOKEN)

    # The line.

    def _poll_driver(self, now_us: int) -> None:
        if self._driver is None:
            return
        for event in self._driver.poll(now_us):
            self._see(event, now_us)
        self._flush_output()

    def _see(self, event: DriverEvent, now_us: int) -> None:
        self.post(event)
        if isinstance(event, StatusSeen) and (
            self.core.state in ENERGISED or is_output_told(event.status)
        ):
            readings = _readings(event.status, self.core.reports_current)
            for kind, content in self._telemetry.add(now_us, readings):
                self._record(kind, content, None, now_us)

    def _flush_output(self) -> None:
        self._owes_output = False
        if self._driver is not None and self._port is not None and self._driver.has_output:
            output = self._driver.take_output()
            if self._tap is not None:
                self._tap.saw_output(output, self._clock.now_us())
            self._port.send(output)


def is_urgent(request: object) -> bool:
    """Tell whether a request overtakes all others."""
    return isinstance(request, Stop)


def is_output_told(status: Status) -> bool:
    """Tell whether a report tells of output, whatever was asked."""
    return status.state is DeviceState.RUNNING or any(
        row.setpoint_ua or row.peak_ua for row in status.channels
    )


_CONTACT_WORDS = {contact: contact.name.lower() for contact in Contact}


def _readings(status: Status, reports_current: bool) -> list[Reading]:
    return [
        Reading(
            index + 1,
            row.target_ua,
            row.setpoint_ua,
            row.peak_ua if reports_current else None,
            row.load_ohm or None,
            _CONTACT_WORDS[row.contact],
        )
        for index, row in enumerate(status.channels)
    ]
