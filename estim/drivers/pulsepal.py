"""Drive a Sanworks PulsePal: voltage pulses into a declared load, on a rig, never on a person.

Rules:
1. Its resting voltage is set to zero before anything else, and everything that could start or go
   on without this program is switched off: links, custom trains, continuous play.
2. Output is a finite train of at most 500 ms, and the next one is started only when the last has
   ended: the device keeps a trigger that comes too early, and would play it even after an abort.
3. A train is started only when everything that it is made of was confirmed, and voltages change
   only between two trains: no pulse is made of two amplitudes. A fall cuts the train and begins a
   lower one.
4. An answer that does not come, or that is none, ends output: answers bear no mark, and the next
   could not be told from the last.
5. Stop is an abort, twice, with a handshake behind it: the device does one thing after another, so
   a handshake answered that was asked after an abort proves the abort. It is sent three times, and
   then until that answer comes.
6. A current becomes a voltage by the load that the URL declares; nothing measures either.

Nobody here has tried this on a device. What is assumed of it is what its published firmware 2.0.1
does: messages in their order, a train on time, an abort within a cycle of 50 us, and continuous
play switched off by SetContinuous (a development state of that firmware, which calls itself 21 too,
takes it the other way round: there a train of channel 1 might not end by itself).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from estim.dialects import pulsepal
from estim.dialects.pulsepal import Confirmation, Damage, Greeting, Parameter
from estim.drivers.base import (
    NOT_TOLD,
    ConnectFailed,
    DriverEvent,
    Fitting,
    Identified,
    LineDamaged,
    RoundTrip,
    Use,
)
from estim.drivers.host_played import HostPlayedStimulator
from estim.drivers.player import Train
from estim.drivers.pulsepal_link import PulsePalLink
from estim.drivers.pulsepal_program import (
    TRAIN_MAX_US,
    Told,
    capabilities,
    declared_load_ohm,
    quiet_settings,
    remarks,
    shortfalls,
    told,
)
from estim.drivers.stand_in import ENERGISED
from estim.errors import DeviceFault, PortLost
from estim.transport.line_settings import LineSettings
from firmware_protocol.messages import Adoption, DeviceState, FaultCode, Identity, WantedState
from firmware_protocol.program import PulseProgram

SETUP_US = 250_000
SETUP_ATTEMPTS = 4
ANSWER_US = 400_000
"""An answer later than this is none: longer than a busy computer takes, and less than a device that
starts anew. Nothing new begins while it is awaited, and what plays ends by itself."""
STOP_REPEAT_US = 10_000
STOP_COUNT_MIN = 3
PLAN_FRESH_US = 50_000
"""So late may a train begin after it was planned."""
MARGIN_US = 1000
"""How long a train is given beyond its end, for the two clocks."""
FIRST_FIRMWARE = 20
MODEL = "PulsePal 2"

CAUTION = (
    "A PulsePal is for rigs, never for a person. It puts out a voltage: currents are what the load "
    "declared in its URL makes of it, and nothing is measured. If this computer dies, output goes "
    "on for up to 500 ms. Output comes in trains of up to 500 ms with a few milliseconds between "
    "them, and a fall or a stop cuts the pulse in progress."
)

_STOP = pulsepal.abort() + pulsepal.abort() + pulsepal.handshake()
"""Twice: the first lets a trigger begin that the device has kept, the second ends that too."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """The next train of every channel.

    Attributes:
        trains: what each channel plays; None for silence.
        plays: the same, as the device is told it.
        setpoints_ua: where each channel stood when this was planned.
        planned_us: when that was.
    """

    trains: tuple[Train | None, ...]
    plays: tuple[Told | None, ...]
    setpoints_ua: tuple[int, ...]
    planned_us: int


class PulsePalStimulator(HostPlayedStimulator):
    """Speak to a PulsePal, without I/O."""

    # The Arduino inside sends nothing while both DTR and RTS are low, and does not reset by them.
    line = LineSettings(pulsepal.BAUD, dtr=True)
    kind = "PulsePal"
    options = frozenset({"load"})

    @classmethod
    def fitting(cls, program: PulseProgram) -> Fitting:
        return Fitting(shortfalls(program), remarks(program))

    def __init__(self, epoch: int, address: str) -> None:
        self._load_ohm = declared_load_ohm(address)
        super().__init__(address, capabilities(self._load_ohm))
        self._link = PulsePalLink()
        self._attempts_left = 0
        self._settings_us: int | None = None
        self._told: dict[tuple[int, Parameter], int] = {}
        self._playing: _Plan | None = None
        self._pulse_counts = [0] * pulsepal.CHANNELS
        self._began_us: int | None = None
        self._free_us = 0
        self._look_us = 0

    # What the session asks.

    def connect(self, now_us: int) -> None:
        self._attempts_left = SETUP_ATTEMPTS
        self._greet(now_us)

    def receive(self, received: bytes, now_us: int) -> None:
        for found in self._link.feed(received):
            if self._stop_due_us is not None:
                self._take_stopping(found, now_us)
            elif isinstance(found, Damage):
                self._take_damage(found, now_us)
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
        elif self._settings_us is not None and now_us >= self._settings_us:
            self._quieten(now_us)
        events, self._events = self._events, []
        return events

    def next_deadline_us(self) -> int | None:
        due = [self._stop_due_us]
        if self._link.pending is not None:
            due.append(self._link.pending.due_us)
        elif self._stand_in.state is DeviceState.RUNNING:
            due.append(self._look_us)
        due.append(self._settings_us)
        if self._stand_in.state in ENERGISED:
            due.append(self._stand_in.lease_us)
        return min((each for each in due if each is not None), default=None)

    def stop(self, now_us: int) -> None:
        self._drop_output(now_us)
        self._stop_count = 0
        self._link.begin_stop()
        self._send_stop(now_us)

    # Requests and answers.

    def _ask_setup(
        self, messages: Sequence[bytes], answered: Callable[[int], None], now_us: int
    ) -> None:
        self._ordered.append(self._link.ask(messages, answered, now_us, SETUP_US))

    def _ask_drive(
        self, messages: Sequence[bytes], answered: Callable[[int], None], now_us: int
    ) -> None:
        """Ask in the place of a Drive: a Stop drops it."""
        self._is_asked = False
        self._drive_frame = self._link.ask(messages, answered, now_us, ANSWER_US)

    def _take(self, found: Greeting | Confirmation, now_us: int) -> None:
        if isinstance(found, Confirmation) and not found.is_accepted:
            self._fail("the device refused what it was told", now_us)
            return
        request = self._link.take()
        if request is None:
            return
        if self._is_identified:
            self._events.append(RoundTrip(now_us - request.sent_us))
        request.answered(now_us)
        if self._is_identified and self._stop_due_us is None:
            self._follow(now_us)

    def _take_damage(self, damage: Damage, now_us: int) -> None:
        self._events.append(LineDamaged(damage.explanation))
        self._stand_in.damaged_count = (self._stand_in.damaged_count + 1) & 0xFFFF
        if self._stand_in.state in ENERGISED:
            self._latch(FaultCode.LINE_NOISE, now_us)

    def _take_stopping(self, found: Greeting | Confirmation | Damage, now_us: int) -> None:
        """Look for a greeting that was asked for after an abort; all else is from before."""
        is_proof = self._link.is_proof(found)
        if is_proof and self._stop_count >= STOP_COUNT_MIN:
            self._link.drain(now_us)
            self._zero_is_confirmed(now_us)
        if isinstance(found, Greeting):
            self._report(now_us)

    def _expire(self, now_us: int) -> None:
        """Give up an answer that did not come; set-up asks again, output ends."""
        if not self._link.is_overdue(now_us):
            return
        if self._is_identified:
            self._fail("the device did not answer in time", now_us)
        elif self._attempts_left:
            self._greet(now_us)
        else:
            self._events.append(ConnectFailed(self._nobody()))

    def _fail(self, words: str, now_us: int) -> None:
        """End output: what the device holds is no longer known."""
        self._events.append(LineDamaged(words))
        if not self._is_identified:
            error = DeviceFault(f"{self._address}: {words}")
            self._link.pending = None
            self._events.append(ConnectFailed(error))
        elif self._stand_in.state in ENERGISED:
            self._latch(FaultCode.LINE_NOISE, now_us)
        else:
            self.stop(now_us)

    # Set-up.

    def _greet(self, now_us: int) -> None:
        """End what somebody before us left on, and see who answers."""
        self._attempts_left -= 1
        messages = (pulsepal.abort(), pulsepal.abort(), pulsepal.handshake())
        self._ask_setup(messages, self._take_greeting, now_us)

    def _take_greeting(self, now_us: int) -> None:
        if self._link.firmware < FIRST_FIRMWARE:
            words = (
                f"{self._address}: a PulsePal with firmware {self._link.firmware}, expected "
                f"{FIRST_FIRMWARE} or later: a PulsePal 1 is not driven"
            )
            self._events.append(ConnectFailed(DeviceFault(words)))
        elif self._link.is_owed:  # asked more than once: the other answers may still come
            self._settings_us = self._link.drain(now_us)
        else:
            self._quieten(now_us)

    def _quieten(self, now_us: int) -> None:
        self._settings_us = None
        self._link.forget()
        self._ask_setup(quiet_settings(), self._identified, now_us)

    def _identified(self, now_us: int) -> None:
        self._is_identified = True
        identity = Identity(
            in_reply_to=0,
            adoption=Adoption.ADOPTED,
            protocol_version=0,
            schema_hash=0,
            firmware_version=2 << 16 | (self._link.firmware - FIRST_FIRMWARE) & 0xFF,
            tick_ms=self._stand_in.tick_ms(now_us),
            state=DeviceState.SAFE,
            model=MODEL,
            serial_number=NOT_TOLD,
        )
        known = capabilities(self._load_ohm)
        self._events.append(Identified(identity, known, Use.BENCH, CAUTION))
        self._report(now_us)

    def _nobody(self) -> PortLost:
        return PortLost(
            f"{self._address}: the port is open, but no PulsePal answered: check that it is "
            "switched on; where its display says COMM. FAILURE, click its joystick"
        )

    # Output.

    def _follow(self, now_us: int) -> None:
        """Ask the device for the next step towards what is wanted, if nothing is on its way."""
        if self._link.pending or self._wanted is None or not self._link.is_drained(now_us):
            return
        wanted, state = self._wanted.wanted, self._stand_in.state
        if state in ENERGISED and wanted is WantedState.SAFE:
            self.stop(now_us)
        elif state is DeviceState.RUNNING and (
            wanted is WantedState.ARMED or self._must_fall(now_us)
        ):
            self._cut(now_us)
        elif state is DeviceState.RUNNING and self._may_play(now_us):
            self._play(now_us)
        elif self._is_asked:
            self._ask_alive(now_us)

    def _may_play(self, now_us: int) -> bool:
        return now_us >= self._free_us and (self._is_asked or now_us >= self._look_us)

    def _ask_alive(self, now_us: int) -> None:
        self._ask_drive((pulsepal.handshake(),), self._take_alive, now_us)

    def _must_fall(self, now_us: int) -> bool:
        """Tell whether what plays is more than what may play by now."""
        plan = self._playing
        return plan is not None and now_us < self._free_us and self._is_too_high(plan)

    def _is_too_high(self, plan: _Plan) -> bool:
        return any(
            player.setpoint_ua < planned_ua
            for player, planned_ua in zip(self._stand_in.players, plan.setpoints_ua, strict=True)
        )

    def _play(self, now_us: int) -> None:
        """Begin the next train: what has changed first, the trigger once that is confirmed."""
        stand_in = self._stand_in
        trains = stand_in.trains(now_us)
        change_us = stand_in.next_change_us(now_us)
        horizon_us = TRAIN_MAX_US if change_us is None else change_us - now_us
        assert stand_in.program is not None
        plays = tuple(
            told(channel, train, self._load_ohm, horizon_us)
            for channel, train in zip(stand_in.program.channels, trains, strict=True)
        )
        setpoints_ua = tuple(player.setpoint_ua for player in stand_in.players)
        plan = _Plan(trains, plays, setpoints_ua, now_us)
        if not any(plays):
            self._rest(now_us + min(horizon_us, TRAIN_MAX_US), now_us)
            return
        changes = {
            (index, parameter): value
            for index, play in enumerate(plays)
            if play is not None
            for parameter, value in play.values.items()
            if self._told.get((index, parameter)) != value
        }
        if changes:
            self._tell(changes, plan, now_us)
        else:
            self._trigger(plan, now_us)

    def _rest(self, until_us: int, now_us: int) -> None:
        """Play nothing: the last train, if any, has ended by itself."""
        self._note_pulses(now_us)
        self._playing = None
        self._stand_in.silenced()
        self._look_us = until_us
        if self._is_asked:
            self._ask_alive(now_us)

    def _tell(self, changes: dict[tuple[int, Parameter], int], plan: _Plan, now_us: int) -> None:
        messages = [
            pulsepal.program_one(parameter, index + 1, value)
            for (index, parameter), value in changes.items()
        ]

        def answered(at_us: int) -> None:
            self._told.update(changes)
            self._report(at_us)
            wanted = self._wanted
            is_wanted = wanted is not None and wanted.wanted is WantedState.RUNNING
            is_fresh = at_us - plan.planned_us <= PLAN_FRESH_US
            if is_wanted and is_fresh and not self._is_too_high(plan):
                self._trigger(plan, at_us)
            else:
                self._look_us = at_us

        for key in changes:
            self._told.pop(key, None)
        self._ask_drive(messages, answered, now_us)

    def _trigger(self, plan: _Plan, now_us: int) -> None:
        playing = [index for index, play in enumerate(plan.plays) if play is not None]
        occupied_us = max(play.occupied_us for play in plan.plays if play is not None)
        trains = tuple(
            None if play is None else train
            for play, train in zip(plan.plays, plan.trains, strict=True)
        )
        self._note_pulses(now_us)
        self._playing = plan
        self._stand_in.sent(trains)
        self._free_us = self._look_us = now_us + ANSWER_US + occupied_us  # until the answer comes

        def answered(at_us: int) -> None:
            # The train began before this: counted from now, its end is no earlier than it is.
            self._stand_in.confirmed()
            self._began_us = at_us
            self._free_us = self._look_us = at_us + occupied_us + MARGIN_US
            self._report(at_us)

        messages = (pulsepal.trigger([index + 1 for index in playing]), pulsepal.handshake())
        self._ask_drive(messages, answered, now_us)

    def _cut(self, now_us: int) -> None:
        """End the train that plays; the next begins no sooner than a pulse period later."""
        trains = () if self._playing is None else self._playing.trains
        rest_us = max((train.pulse_period_us for train in trains if train), default=0)

        def answered(at_us: int) -> None:
            self._note_pulses(at_us)
            self._playing = None
            self._free_us = self._look_us = at_us + rest_us + MARGIN_US
            self._stand_in.silenced()
            if self._wanted is not None and self._wanted.wanted is WantedState.ARMED:
                self._stand_in.go(DeviceState.ARMED, at_us)
            self._report(at_us)

        messages = (pulsepal.abort(), pulsepal.abort(), pulsepal.handshake())
        self._ask_drive(messages, answered, now_us)

    def _take_alive(self, now_us: int) -> None:
        """Go a state up once the device has shown that it is there."""
        wanted, stand_in = self._wanted, self._stand_in
        if wanted is not None and stand_in.program is not None:
            if stand_in.state is DeviceState.SAFE and wanted.wanted is WantedState.ARMED:
                stand_in.go(DeviceState.ARMED, now_us)
            elif stand_in.state is DeviceState.ARMED and wanted.wanted is WantedState.RUNNING:
                self._free_us = self._look_us = now_us
                self._pulse_counts, self._began_us = [0] * pulsepal.CHANNELS, None
                stand_in.go(DeviceState.RUNNING, now_us)
        self._report(now_us)

    # Down.

    def _drop_output(self, now_us: int) -> None:
        self._want_nothing()
        self._note_pulses(now_us)
        self._playing = None
        self._told.clear()

    def _send_stop(self, now_us: int) -> None:
        self._link.ask_stopped()
        self._urgent.append(_STOP)
        self._stop_count += 1
        self._stop_due_us = now_us + STOP_REPEAT_US

    def _note_pulses(self, now_us: int) -> None:
        """Count the pulses of the train that ends now, or has ended."""
        self._pulse_counts = self._pulse_counts_at(now_us)
        self._began_us = None

    def _pulse_counts_at(self, now_us: int) -> list[int]:
        counts = list(self._pulse_counts)
        if self._playing is not None and self._began_us is not None:
            pairs = zip(self._playing.trains, self._playing.plays, strict=True)
            for index, (train, play) in enumerate(pairs):
                if train is not None and play is not None:
                    begun = (now_us - self._began_us) // train.pulse_period_us + 1
                    counts[index] += min(play.pulse_count, begun)
        return counts

    def _report(self, now_us: int) -> None:
        counts = self._pulse_counts_at(now_us)
        for player, count in zip(self._stand_in.players, counts, strict=False):
            player.pulse_count = count
        super()._report(now_us)
