"""A virtual Sanworks PulsePal 2: what it does with the bytes that come in, without I/O.

Rules:
1. Any bytes may come in at any time; none raises an exception.
2. It works in cycles of 50 us, one message each; in the middle of a message it stands still, its
   outputs as they are, until the rest comes.
3. Where the rest does not come for half a second, the device takes zeros for it, obeys, and waits
   for a person at its front: deaf, its outputs as they are. A reboot stands for that person.
4. Nothing but a message, the end of a train or a reboot ends an output: it has no watchdog.
5. It takes 600 ms to start, with its outputs at zero; what comes in meanwhile waits.
6. The same calls give the same bytes and the same trace.

Not simulated: trigger inputs (links and modes are kept and play no part), the menu, loading and
deleting of settings files.

Source: the vendor's firmware 2.0.1, which calls itself 21, read for what it does; nobody here has
checked it on a device.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from estim.dialects import pulsepal
from estim.dialects.pulsepal import CYCLE_US, Opcode, Parameter
from estim.simulator.faults import Fault, Verb
from estim.simulator.load import Load
from estim.simulator.pulsepal_commands import Command, CommandReader
from estim.simulator.pulsepal_output import Outputs
from estim.simulator.pulsepal_train import CustomTrain, OutputChannel, Settings
from estim.simulator.trace import TraceSink

READ_TIMEOUT_US = 500_000
BOOT_US = 600_000
"""The firmware waits 100 ms twice and looks for its card; a computer looks for its port anew."""
ANSWERS_MAX = 4096
"""Bytes of answers that wait at most for a host that does not read; the newest are lost."""
TOLD_EVERY_US = 50_000
CONFIRMED = b"\x01"

_ALL = Struct("<32I12H16B8B2B")
_FILE_CHANNEL = Struct("<8IB3H3B")
_FIELDS: dict[int, str] = {
    Parameter.IS_BIPHASIC: "is_biphasic",
    Parameter.PHASE_1_VOLTAGE: "phase_1_code",
    Parameter.PHASE_2_VOLTAGE: "phase_2_code",
    Parameter.PHASE_1_DURATION: "phase_1",
    Parameter.INTERPHASE_GAP: "interphase",
    Parameter.PHASE_2_DURATION: "phase_2",
    Parameter.INTERPULSE_GAP: "interpulse",
    Parameter.BURST_DURATION: "burst",
    Parameter.INTERBURST_GAP: "interburst",
    Parameter.TRAIN_DURATION: "duration",
    Parameter.TRAIN_OFFSET: "offset",
    Parameter.CUSTOM_TRAIN: "custom_train",
    Parameter.CUSTOM_TARGET: "custom_target",
    Parameter.CUSTOM_LOOP: "custom_loop",
    Parameter.RESTING_VOLTAGE: "resting_code",
}
_TIMES = (
    *("phase_1", "interphase", "phase_2", "interpulse"),
    *("burst", "interburst", "duration", "offset"),
)
_CODES = ("phase_1_code", "phase_2_code", "resting_code")
_CHOICES = ("is_biphasic", "custom_train", "custom_target", "custom_loop")


class VirtualPulsePal:
    """Behave as a PulsePal: bytes in, bytes out, currents to the trace, at the times given."""

    # What a reboot sets anew.
    _output: bytes
    _input_cycle: int | None
    _is_reading: bool
    _stalled_until_us: int | None
    _settings_file: bytes

    def __init__(self, load: Load, trace: TraceSink | None = None, boot_us: int = 0) -> None:
        self._outputs = Outputs(load, trace, boot_us)
        self._handlers: dict[int, Callable[[bytes], None]] = {
            Opcode.HANDSHAKE: self._greet,
            Opcode.PROGRAM_ALL: self._program_all,
            Opcode.PROGRAM_ONE: self._program_one,
            Opcode.CUSTOM_TRAIN_1: lambda body: self._load_train(0, body),
            Opcode.CUSTOM_TRAIN_2: lambda body: self._load_train(1, body),
            Opcode.TRIGGER: self._schedule,
            Opcode.FIXED_VOLTAGE: self._fix_voltage,
            Opcode.ABORT: self._abort,
            Opcode.DISCONNECT: self._abort,
            Opcode.CONTINUOUS: self._set_continuous,
            Opcode.READ_SETTINGS: lambda _: self._answer(self._settings_file),
            Opcode.READ_PIN: lambda _: self._answer(b"\x01"),
            Opcode.SETTINGS_FILE: self._use_settings_file,
        }
        self._now_us = boot_us
        self._boot(boot_us)

    # The four methods of everything that stands at the end of a line.

    def receive(self, received: bytes, now_us: int) -> None:
        """Take bytes from the line; everything due before them happens first."""
        self.advance(now_us)
        if self._is_dead or not received:
            return
        self._reader.feed(received)
        self._last_byte_us = now_us
        if self._stalled_until_us is not None:
            return
        if self._is_reading:
            self._read_on(now_us)
        elif self._input_cycle is None:
            self._input_cycle = self._cycle_from(now_us)
        self.advance(now_us)

    def advance(self, now_us: int) -> None:
        """Play every cycle that falls due up to `now_us`.

        Raises:
            ValueError: time went backwards.
        """
        if now_us < self._now_us:
            raise ValueError(f"the device is at {self._now_us} us, later than {now_us}")
        while not self._is_dead:
            if self._stalled_until_us is not None:
                if now_us < self._stalled_until_us:
                    break
                self._end_stall(self._stalled_until_us)
            elif self._is_reading:
                if now_us < self._last_byte_us + READ_TIMEOUT_US:
                    break
                self._give_up_reading()
            else:
                cycle = self._next_cycle()
                if cycle is None or self._time_of(cycle) > now_us:
                    break
                self._run(cycle)
        self._now_us = now_us
        self._outputs.settle(now_us)

    def take_output(self, now_us: int) -> bytes:
        """Return the answers that wait; they are gone from here then."""
        self.advance(now_us)
        output, self._output = self._output, b""
        return output

    def next_deadline_us(self) -> int | None:
        """Return when an answer may be due next, and every 50 ms what the trace should hear."""
        due = []
        if self.is_energised:
            due.append(self._now_us + TOLD_EVERY_US)
        if self._is_dead:
            pass
        elif self._stalled_until_us is not None:
            due.append(self._stalled_until_us)
        elif self._is_reading:
            due.append(self._last_byte_us + READ_TIMEOUT_US)
        elif self._input_cycle is not None:
            due.append(self._time_of(self._input_cycle))
        return min(due, default=None)

    @property
    def is_energised(self) -> bool:
        """Tell whether a load takes current, or a train plays or is about to."""
        waits = any(each.is_busy or each.is_triggered for each in self._channels)
        return self._outputs.has_current or (
            not self._is_dead and (waits or bool(self._scheduled_mask))
        )

    def play(self, fault: Fault, now_us: int) -> None:
        """Let a fault of `PULSEPAL_VERBS` happen that is none of the line's."""
        self.advance(now_us)
        channel = fault.channel - 1
        match fault.verb:
            case Verb.REBOOT:
                self._boot(now_us)
            case Verb.HANG:
                self._is_dead = True
            case Verb.STALL if not self._is_dead:
                if self._stalled_until_us is None:
                    self._stalled_from_us = self._stalled_until_us = now_us
                self._stalled_until_us = max(self._stalled_until_us, now_us + fault.amount)
            case Verb.LEAD_OFF | Verb.LEAD_ON:
                self._outputs.set_lead_off(channel, fault.verb is Verb.LEAD_OFF, now_us)
            case Verb.LOAD if fault.load is not None:
                self._outputs.set_load(channel, fault.load, now_us)
            case Verb.GAIN:
                self._outputs.set_gain(channel, fault.amount, now_us)

    # Time.

    def _boot(self, now_us: int) -> None:
        customs = (CustomTrain(), CustomTrain())
        self._customs = customs
        self._channels = tuple(OutputChannel(customs) for _ in range(pulsepal.CHANNELS))
        self._trigger_modes = [0] * pulsepal.TRIGGER_INPUTS
        self._reader = CommandReader()
        self._output = b""
        self._origin_us = now_us
        self._cycle = -1
        self._input_cycle = None
        self._is_write_due = False
        self._scheduled_mask = 0
        self._is_reading = False
        self._last_byte_us = now_us
        self._stalled_from_us = now_us
        self._stalled_until_us = now_us + BOOT_US
        self._is_dead = False
        self._settings_file = self._settings()
        self._write_outputs(now_us)

    def _time_of(self, cycle: int) -> int:
        return self._origin_us + cycle * CYCLE_US

    def _cycle_from(self, now_us: int) -> int:
        """Return the first cycle from `now_us` on that has not been played."""
        return max(self._cycle + 1, -(-(now_us - self._origin_us) // CYCLE_US))

    def _next_cycle(self) -> int | None:
        named = [channel.next_cycle(self._cycle) for channel in self._channels]
        named.append(self._input_cycle)
        restarts = any(each.is_triggered and not each.is_busy for each in self._channels)
        if self._is_write_due or self._scheduled_mask or restarts:
            named.append(self._cycle + 1)
        return min((cycle for cycle in named if cycle is not None), default=None)

    def _run(self, cycle: int) -> None:
        """Play one cycle: write what the one before decided, read a message, decide."""
        self._cycle = cycle
        if self._is_write_due:
            self._write_outputs(self._time_of(cycle))
        for index, channel in enumerate(self._channels):
            channel.is_triggered |= bool(self._scheduled_mask >> index & 1)
        self._scheduled_mask = 0
        if self._input_cycle is not None and cycle >= self._input_cycle:
            command = self._reader.take()
            if command is None and not self._reader.is_empty:
                self._is_reading = True
                return
            self._obey(command)
        self._decide()

    def _decide(self) -> None:
        for channel in self._channels:
            if channel.is_triggered and not channel.is_busy:
                channel.begin(self._cycle)
        before = [channel.code for channel in self._channels]
        for channel in self._channels:
            channel.step(self._cycle)
        if before != [channel.code for channel in self._channels]:
            self._is_write_due = True

    def _obey(self, command: Command | None) -> None:
        self._input_cycle = None if self._reader.is_empty else self._cycle + 1
        if command is None:
            return
        if command.is_overlong:  # it writes past its memory
            self._is_dead = True
            return
        handler = self._handlers.get(command.opcode)
        if handler is not None:
            handler(command.body)

    def _read_on(self, now_us: int) -> None:
        """Go on with the cycle that waits for its message: time begins again now."""
        command = self._reader.take()
        if command is None:
            return
        self._is_reading = False
        self._origin_us = now_us - self._cycle * CYCLE_US
        self._obey(command)
        self._decide()

    def _give_up_reading(self) -> None:
        self._is_reading = False
        self._origin_us = self._last_byte_us + READ_TIMEOUT_US - self._cycle * CYCLE_US
        self._obey(self._reader.take_filled())
        self._is_dead = True

    def _end_stall(self, now_us: int) -> None:
        self._stalled_until_us = None
        if self._is_reading:
            self._last_byte_us = now_us
            self._read_on(now_us)
            return
        self._origin_us += now_us - self._stalled_from_us
        if not self._reader.is_empty and self._input_cycle is None:
            self._input_cycle = self._cycle_from(now_us)

    def _write_outputs(self, now_us: int) -> None:
        self._is_write_due = False
        for index, channel in enumerate(self._channels):
            self._outputs.set_code(index, channel.code, now_us)

    # Messages.

    def _answer(self, answer: bytes) -> None:
        if len(self._output) < ANSWERS_MAX:
            self._output += answer

    def _write_now(self) -> None:
        self._write_outputs(self._time_of(self._cycle))

    def _greet(self, _body: bytes) -> None:
        self._answer(bytes((pulsepal.HANDSHAKE_REPLY,)) + pulsepal.FIRMWARE.to_bytes(4, "little"))

    def _program_all(self, body: bytes) -> None:
        told = _ALL.unpack(body)
        times, codes, choices, links = told[:32], told[32:44], told[44:60], told[60:68]
        for index, channel in enumerate(self._channels):
            settings = channel.settings
            for names, group in ((_TIMES, times), (_CODES, codes), (_CHOICES, choices)):
                first = index * len(names)
                for name, value in zip(names, group[first : first + len(names)], strict=True):
                    setattr(settings, name, value)
            settings.links = [links[index], links[pulsepal.CHANNELS + index]]
            channel.notice_bursts()
            channel.code = settings.resting_code
        self._trigger_modes = list(told[68:])
        self._write_now()
        self._answer(CONFIRMED)

    def _program_one(self, body: bytes) -> None:
        """Change one parameter; what does not exist is confirmed and changes nothing here."""
        parameter, number, value = body[0], body[1], int.from_bytes(body[2:], "little")
        if 1 <= number <= pulsepal.CHANNELS:
            channel = self._channels[number - 1]
            if parameter in _FIELDS:
                setattr(channel.settings, _FIELDS[parameter], value)
            elif parameter in (Parameter.LINK_TRIGGER_1, Parameter.LINK_TRIGGER_2):
                channel.settings.links[parameter - Parameter.LINK_TRIGGER_1] = value
            elif parameter == Parameter.TRIGGER_MODE and number <= pulsepal.TRIGGER_INPUTS:
                self._trigger_modes[number - 1] = value
            if parameter < Parameter.CUSTOM_TRAIN:
                channel.notice_bursts()
            if parameter == Parameter.RESTING_VOLTAGE:
                channel.code = value
                self._write_now()
        self._answer(CONFIRMED)

    def _load_train(self, index: int, body: bytes) -> None:
        train, count = self._customs[index], int.from_bytes(body[:4], "little")
        train.count = count
        train.onsets[:count] = Struct(f"<{count}I").unpack_from(body, 4)
        train.codes[:count] = Struct(f"<{count}H").unpack_from(body, 4 + 4 * count)
        self._answer(CONFIRMED)

    def _schedule(self, body: bytes) -> None:
        self._scheduled_mask = body[0]

    def _fix_voltage(self, body: bytes) -> None:
        if 1 <= body[0] <= pulsepal.CHANNELS:
            self._channels[body[0] - 1].code = int.from_bytes(body[1:], "little")
            self._write_now()
        self._answer(CONFIRMED)

    def _abort(self, _body: bytes) -> None:
        for channel in self._channels:
            channel.stop()
        self._write_now()

    def _set_continuous(self, body: bytes) -> None:
        number, is_on = body[0], bool(body[1])
        if 1 <= number <= pulsepal.CHANNELS:
            channel = self._channels[number - 1]
            channel.is_continuous = is_on
            if is_on:
                self._scheduled_mask |= 1 << (number - 1)
            else:
                channel.stop()
                self._write_now()
        self._answer(CONFIRMED)

    def _use_settings_file(self, body: bytes) -> None:
        if body[0] == 1:
            self._settings_file = self._settings()

    def _settings(self) -> bytes:
        """Return what a settings file holds, in its own order."""
        channels = b"".join(self._file_channel(each.settings) for each in self._channels)
        links = zip(*(each.settings.links for each in self._channels), strict=True)
        inputs = zip(self._trigger_modes, links, strict=True)
        return channels + b"".join(bytes((mode, *linked)) for mode, linked in inputs)

    def _file_channel(self, told: Settings) -> bytes:
        return _FILE_CHANNEL.pack(
            *(getattr(told, name) for name in _TIMES),
            told.is_biphasic,
            *(getattr(told, name) for name in _CODES),
            told.custom_train,
            told.custom_target,
            told.custom_loop,
        )
