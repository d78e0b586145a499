"""Drive a HASOMED P24 (ScienceMode 4, mid-level) as far as it can be driven safely.

Rules:
1. One request is on its way at a time; Stop alone goes ahead of everything, three times, and then
   until the device's own status says that nothing runs.
2. An update says the whole wanted output, and is never repeated: the next one is made of what holds
   then.
3. Amplitudes are whole steps of 0.5 mA, rounded towards zero, before either phase is made of them;
   a pulse period off the device's grid is rounded up, to fewer pulses. What the device cannot play
   is refused when it is loaded.
4. Nothing keeps output alive but an approved Drive: without one the host stops it after 320 ms. If
   the host itself dies, the device stops by itself after 2 s, and not before.

Nobody here has tried this on a device. What is assumed of it: an update takes hold with the next
pulse, and a channel left out of it ends with its pulse.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from estim.dialects import p24
from estim.dialects.p24 import Command, Damage, Frame, Result, StimStatus
from estim.drivers.base import (
    ConnectFailed,
    DriveRefused,
    DriverEvent,
    Fitting,
    Identified,
    LineDamaged,
    RoundTrip,
    Use,
)
from estim.drivers.host_played import HostPlayedStimulator
from estim.drivers.p24_program import channel_update, remarks, shortfalls
from estim.drivers.player import Train
from estim.drivers.stand_in import ENERGISED, HELD_BY_HOST
from estim.errors import DeviceFault, PortLost, ReplyTimeout
from estim.transport.line_settings import LineSettings
from firmware_protocol import limits
from firmware_protocol.errors import MessageError
from firmware_protocol.messages import (
    CHANNELS_MAX,
    Adoption,
    Capabilities,
    CapabilityFlag,
    DeviceState,
    FaultCode,
    Identity,
    PolicyFlag,
    WantedState,
)
from firmware_protocol.program import PulseProgram

SETUP_US = 250_000
SETUP_ATTEMPTS = 4
ANSWER_US = 100_000
"""An answer later than this is none: the next Drive asks anew, well inside the device's 2 s."""
STOP_REPEAT_US = 10_000
STOP_COUNT_MIN = 3
ODD_REPORTS_MAX = 3
"""So often may a channel be on or off otherwise than told, before it is a defect."""
CHANNELS = min(p24.CHANNELS, CHANNELS_MAX)

CAUTION = (
    "The P24 is no medical device. If this computer dies, its output goes on for up to 2 s. It "
    "does not measure its current, has no patient's stop, and notices a lost electrode only above "
    "about 15 mA. Bursts, on/off cycles and modulation are played by this computer."
)

CAPABILITIES = Capabilities(
    in_reply_to=0,
    channel_count=CHANNELS,
    phases_max=p24.POINTS_MAX,
    keyframes_max=32,
    flags=HELD_BY_HOST | CapabilityFlag.UNEQUAL_PHASES,
    amplitude_max_ua=p24.CURRENT_MAX_UA,
    amplitude_step_ua=p24.CURRENT_STEP_UA,
    compliance_mv=p24.COMPLIANCE_MV,
    phase_min_us=p24.POINT_MIN_US,
    phase_max_us=p24.POINT_MAX_US,
    pulse_period_min_us=p24.PERIOD_STEP_US,
    residual_ms=p24.KEEP_ALIVE_US // 1000,
)

_WORDS = {
    Result.TRANSFER: "it got a damaged request",
    Result.PARAMETER: "it does not take the parameters",
    Result.PROTOCOL_VERSION: "it speaks another version of the protocol",
    Result.NOT_INITIALISED: "it is not initialised, or was used otherwise",
    Result.HIGH_VOLTAGE: "its high voltage failed",
    Result.ELECTRODE: "an electrode is off",
    Result.INVALID_COMMAND: "it does not know the command",
    Result.PULSE_TIMEOUT: "a pulse took too long",
    Result.BUSY: "it is busy",
    Result.PULSE_LOW_CURRENT: "less current flows than was set",
}
_PLAYING = (Command.ML_UPDATE, Command.ML_GET_CURRENT_DATA)
_LEAD_OFF = (Result.ELECTRODE, Result.PULSE_LOW_CURRENT, Result.PULSE_TIMEOUT)


@dataclass(slots=True)
class _Request:
    """A request that waits for its answer."""

    command: Command
    payload: bytes
    answered: Callable[[bytes, int], None]
    attempts_left: int = 0
    number: int = 0
    sent_us: int = 0
    due_us: int = 0


class P24Stimulator(HostPlayedStimulator):
    """Speak ScienceMode 4, without I/O."""

    line = LineSettings(p24.BAUD, p24.STOP_BITS, has_flow_control=True, dtr=True)
    kind = "P24"
    capabilities = CAPABILITIES
    stop_command: ClassVar[Command] = Command.ML_STOP

    @classmethod
    def fitting(cls, program: PulseProgram) -> Fitting:
        return Fitting(shortfalls(program), remarks(program))

    def __init__(self, epoch: int, address: str) -> None:
        super().__init__(address, CAPABILITIES)
        self._decoder = p24.Decoder()
        self._number = epoch % p24.PACKET_NUMBERS
        self._pending: _Request | None = None
        self._serial_number = ""
        self._firmware_version = 0
        self._played: tuple[Train | None, ...] | None = None
        self._change_us: int | None = None
        self._idle_counts = [0] * CHANNELS
        self._damaged_us: deque[int] = deque(maxlen=limits.line_errors_per_s.maximum)
        self._abandoned: set[tuple[int, int]] = set()

    # What the session asks.

    def connect(self, now_us: int) -> None:
        self._ask_setup(Command.GET_DEVICE_ID, self._take_device_id, now_us)

    def receive(self, received: bytes, now_us: int) -> None:
        for found in self._decoder.feed(received):
            if isinstance(found, Damage):
                self._damage(found.explanation, now_us)
            else:
                self._take(found, now_us)

    def poll(self, now_us: int) -> list[DriverEvent]:
        self._expire(now_us)
        if self._stop_due_us is not None:
            if now_us >= self._stop_due_us:
                self._send_stop(now_us)
        elif self._is_identified:
            self._end_by_time(now_us)
            self._follow(now_us)
        events, self._events = self._events, []
        return events

    def next_deadline_us(self) -> int | None:
        due = [self._stop_due_us]
        if self._pending is not None:
            due.append(self._pending.due_us)
        elif self._played is not None:
            due.append(self._change_us)
        if self._stand_in.state in ENERGISED:
            due.append(self._stand_in.lease_us)
        return min((each for each in due if each is not None), default=None)

    def stop(self, now_us: int) -> None:
        self._stop_count = 0
        self._drop_output()
        self._send_stop(now_us)

    # Requests and answers.

    def _request(self, request: _Request, now_us: int) -> bytes:
        """Give a request its number and its time, and return its frame."""
        self._number = (self._number + 1) % p24.PACKET_NUMBERS
        request.number = self._number
        request.sent_us = now_us
        request.due_us = now_us + (SETUP_US if request.attempts_left else ANSWER_US)
        self._abandoned.discard((request.command + 1, request.number))
        self._pending = request
        return p24.encode(request.command, request.number, request.payload)

    def _ask_setup(
        self, command: Command, answered: Callable[[bytes, int], None], now_us: int
    ) -> None:
        request = _Request(command, b"", answered, SETUP_ATTEMPTS)
        self._ordered.append(self._request(request, now_us))

    def _ask(
        self,
        command: Command,
        answered: Callable[[bytes, int], None],
        now_us: int,
        payload: bytes = b"",
    ) -> None:
        """Ask in the place of a Drive: a Stop drops it."""
        self._is_asked = False
        self._drive_frame = self._request(_Request(command, payload, answered), now_us)

    def _expire(self, now_us: int) -> None:
        """Give up an answer that did not come; set-up asks again, output never does."""
        request = self._pending
        if request is None or now_us < request.due_us:
            return
        self._abandon()
        self._played = None
        if request.attempts_left > 1:
            request.attempts_left -= 1
            self._ordered.append(self._request(request, now_us))
        elif request.attempts_left:
            self._events.append(ConnectFailed(self._nobody()))

    def _nobody(self) -> PortLost | ReplyTimeout:
        if self._serial_number:
            return ReplyTimeout(f"{self._address}: the device did not answer")
        return PortLost(
            f"{self._address}: the port is open, but no P24 answered: check that it is switched "
            "on and speaks ScienceMode 4"
        )

    def _abandon(self) -> None:
        """Wait no more; should the answer come after all, it is none."""
        if self._pending is not None:
            self._abandoned.add((self._pending.command + 1, self._pending.number))
            self._pending = None

    def _take(self, frame: Frame, now_us: int) -> None:
        if self._stop_due_us is not None and self._take_stopped(frame, now_us):
            return
        request = self._pending
        if frame.command in (Command.GENERAL_ERROR, Command.UNKNOWN_COMMAND):
            is_ours = request is not None and frame.number == request.number
        else:
            is_ours = request is not None and (frame.command, frame.number) == (
                request.command + 1,
                request.number,
            )
        if request is None or not is_ours:
            key = (frame.command, frame.number)
            if key not in self._abandoned:
                self._damage(f"an answer that nobody waits for (command {frame.command})", now_us)
            self._abandoned.discard(key)
            return
        self._pending = None
        if not request.attempts_left:
            self._events.append(RoundTrip(now_us - request.sent_us))
        try:
            result = p24.unpack_result(frame.payload)
            if frame.command != request.command + 1:
                self._refused(result or Result.INVALID_COMMAND, now_us)
            elif result and not self._is_told(result, request.command):
                self._refused(result, now_us)
            else:
                request.answered(frame.payload, now_us)
        except MessageError as error:
            self._damage(str(error), now_us)
            self._played = None
        if self._is_identified and self._stop_due_us is None:
            self._follow(now_us)

    def _is_told(self, result: int, command: Command) -> bool:
        """Tell whether an answer that is an error is one that whoever asked reads himself."""
        return result in _LEAD_OFF and command in _PLAYING

    def _damage(self, explanation: str, now_us: int) -> None:
        self._events.append(LineDamaged(explanation))
        self._stand_in.damaged_count = (self._stand_in.damaged_count + 1) & 0xFFFF
        if self._stand_in.state in ENERGISED:
            noted = self._damaged_us
            noted.append(now_us)
            if len(noted) == noted.maxlen and now_us - noted[0] < 1_000_000:
                self._latch(FaultCode.LINE_NOISE, now_us)

    # Set-up.

    def _take_device_id(self, payload: bytes, now_us: int) -> None:
        _, self._serial_number = p24.unpack_device_id(payload)
        self._ask_setup(Command.GET_EXTENDED_VERSION, self._take_version, now_us)

    def _take_version(self, payload: bytes, now_us: int) -> None:
        _, firmware, _protocol = p24.unpack_version(payload)
        major, minor, patch = (int(each) for each in firmware.split("."))
        self._firmware_version = major << 16 | minor << 8 | patch
        self._ask_setup(Command.GET_STIM_STATUS, self._take_first_status, now_us)

    def _take_first_status(self, payload: bytes, now_us: int) -> None:
        """Silence what somebody before us left on, before anything else."""
        _, status, _ = p24.unpack_status(payload)
        if status != StimStatus.NONE:
            level = Command.LL_STOP if status == StimStatus.LOW_LEVEL else Command.ML_STOP
            self._ask_setup(level, self._take_first_stop, now_us)
        else:
            self._identified(now_us)

    def _take_first_stop(self, payload: bytes, now_us: int) -> None:
        self._ask_setup(Command.GET_STIM_STATUS, self._take_first_status, now_us)

    def _identified(self, now_us: int) -> None:
        self._is_identified = True
        identity = Identity(
            in_reply_to=0,
            adoption=Adoption.ADOPTED,
            protocol_version=0,
            schema_hash=0,
            firmware_version=self._firmware_version,
            tick_ms=self._stand_in.tick_ms(now_us),
            state=DeviceState.SAFE,
            model="P24",
            serial_number=self._serial_number,
        )
        self._events.append(Identified(identity, CAPABILITIES, Use.RESEARCH, CAUTION))
        self._report(now_us)

    def _fail_connect(self, result: int) -> None:
        self._pending = None
        words = f"{self._address}: the device answers with an error: {result_words(result)}"
        self._events.append(ConnectFailed(DeviceFault(words)))

    # Output.

    def _follow(self, now_us: int) -> None:
        """Ask the device for the next step towards what is wanted, if nothing is on its way."""
        is_due = self._change_us is not None and now_us >= self._change_us
        if self._pending is not None or self._wanted is None or not (self._is_asked or is_due):
            return
        wanted, state = self._wanted.wanted, self._stand_in.state
        if state in ENERGISED and wanted is WantedState.SAFE:
            self.stop(now_us)
        elif state is DeviceState.RUNNING:
            self._play(now_us)
        elif state is DeviceState.SAFE and wanted is WantedState.ARMED and self._stand_in.program:
            stops_all = PolicyFlag.LEAD_OFF_STOPS_ALL in self._stand_in.policy
            self._ask(Command.ML_INIT, self._take_init, now_us, bytes((stops_all,)))
        elif state is DeviceState.ARMED:
            self._ask_current_data(now_us)
        else:
            self._ask(Command.GET_STIM_STATUS, self._take_status, now_us)

    def _play(self, now_us: int) -> None:
        assert self._wanted is not None
        trains = self._stand_in.trains(now_us)
        self._change_us = self._stand_in.next_change_us(now_us)
        is_pause = self._wanted.wanted is WantedState.ARMED
        if is_pause:
            trains = (None,) * len(trains)
        if trains != self._played or is_pause:
            self._stand_in.sent(trains)
            self._played = None

            def answered(payload: bytes, at_us: int) -> None:
                self._take_update(payload, trains, is_pause, at_us)

            self._ask(Command.ML_UPDATE, answered, now_us, self._update(trains))
        elif self._is_asked:
            self._ask_current_data(now_us)

    def _update(self, trains: tuple[Train | None, ...]) -> bytes:
        assert self._stand_in.program is not None
        channels = self._stand_in.program.channels
        return p24.pack_update(
            tuple(
                None if train is None else channel_update(channel, train)
                for channel, train in zip(channels, trains, strict=True)
            )
        )

    def _ask_current_data(self, now_us: int) -> None:
        kind = bytes((p24.CURRENT_DATA_CHANNELS,))
        self._ask(Command.ML_GET_CURRENT_DATA, self._take_current_data, now_us, kind)

    def _take_init(self, payload: bytes, now_us: int) -> None:
        self._played = None
        self._stand_in.go(DeviceState.ARMED, now_us)
        self._report(now_us)

    def _take_update(
        self, payload: bytes, trains: tuple[Train | None, ...], is_pause: bool, now_us: int
    ) -> None:
        self._stand_in.confirmed()
        self._played = trains
        if is_pause:
            self._stand_in.silenced()
            self._stand_in.go(DeviceState.ARMED, now_us)
        self._report(now_us)

    def _take_current_data(self, payload: bytes, now_us: int) -> None:
        told = p24.unpack_current_data(payload)
        playing = [train is not None for train in self._played or ()]
        playing += [False] * (p24.CHANNELS - len(playing))
        lost = {index for index in range(p24.CHANNELS) if playing[index] and told.states[index]}
        if self._stand_in.latch_lead_off(lost):
            self._played = None
            self._is_asked = True  # not with the next Drive: now
        for index in range(CHANNELS):
            # Both ways round: what should play and does not, and what plays and should not.
            is_odd = told.is_active[index] is not playing[index] and index not in lost
            self._idle_counts[index] = self._idle_counts[index] + 1 if is_odd else 0
            if self._idle_counts[index] >= ODD_REPORTS_MAX:
                self._latch(FaultCode.OUTPUT_STAGE, now_us)
                return
        wanted = self._wanted
        is_wanted = wanted is not None and wanted.wanted is WantedState.RUNNING
        if is_wanted and self._stand_in.state is DeviceState.ARMED:
            self._played = (None,) * len(self._stand_in.players)
            self._stand_in.go(DeviceState.RUNNING, now_us)
        self._report(now_us)

    def _take_status(self, payload: bytes, now_us: int) -> None:
        _, status, _ = p24.unpack_status(payload)
        if status == StimStatus.MID_LEVEL_RUNNING:
            self._latch(FaultCode.OUTPUT_STAGE, now_us)  # nobody asked for output
        else:
            self._report(now_us)

    def _refused(self, result: int, now_us: int) -> None:
        """Act on an answer that is an error."""
        words = result_words(result)
        if not self._is_identified:
            self._fail_connect(result)
        elif result == Result.HIGH_VOLTAGE:
            self._latch(FaultCode.SUPPLY, now_us)
        elif result == Result.NOT_INITIALISED and self._stand_in.state in ENERGISED:
            # It left by itself: zero is confirmed like after a Stop, and told as what it is.
            self._events.append(DriveRefused(words, is_drive=False))
            self.stop(now_us)
        else:
            self._events.append(DriveRefused(words))
            self._report(now_us)

    # Down.

    def _drop_output(self) -> None:
        self._abandon()
        self._want_nothing()
        self._played = None
        self._change_us = None

    def _send_stop(self, now_us: int) -> None:
        """Send Stop and, behind it, the question whether it was obeyed."""
        for command in (self.stop_command, Command.GET_STIM_STATUS):
            self._number = (self._number + 1) % p24.PACKET_NUMBERS
            self._abandoned.add((command + 1, self._number))
            self._urgent.append(p24.encode(command, self._number))
        self._stop_count += 1
        self._stop_due_us = now_us + STOP_REPEAT_US

    def _take_stopped(self, frame: Frame, now_us: int) -> bool:
        """Look for the status that confirms zero; tell whether the frame was such an answer."""
        if frame.command != Command.GET_STIM_STATUS + 1:
            return False
        try:
            result, status, _ = p24.unpack_status(frame.payload)
        except MessageError as error:  # an error's answer is short too: nothing is confirmed
            self._damage(str(error), now_us)
            return True
        self._abandoned.discard((frame.command, frame.number))
        is_confirmed = not result and status not in (
            StimStatus.MID_LEVEL_RUNNING,
            StimStatus.LOW_LEVEL,
        )
        if is_confirmed and self._stop_count >= STOP_COUNT_MIN:
            self._zero_is_confirmed(now_us)
        self._report(now_us)
        return True


def result_words(result: int) -> str:
    """Say what a result means."""
    known = next((words for code, words in _WORDS.items() if code == result), None)
    return known or f"result {result}, which nobody here knows"
