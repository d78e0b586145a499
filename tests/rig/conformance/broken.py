"""Devices with one fault each: the simulator, with one thing in it done wrong.

`python -m tests.rig.conformance.broken FAULT [options of estim simulate]` is such a device on a
pseudo-terminal. `FAULTS` tells what each does wrong, and which requirement must find it.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from estim.simulator import device, gate, interpreter, reports, states
from estim.simulator.channel import OutputChannel
from estim.simulator.device import VirtualDevice
from estim.simulator.gate import Gate, Refusal
from estim.simulator.interpreter import ChannelPlayer, PulseShape
from estim.simulator.reports import Reports
from estim.simulator.states import StateMachine
from firmware_protocol import codec, framing, limits, program
from firmware_protocol.connection import Connection, Damaged, Received
from firmware_protocol.errors import ProgramError, ProtocolError
from firmware_protocol.messages import (
    Contact,
    DeviceState,
    Drive,
    EventCode,
    FaultCode,
    RefusalReason,
    SetLimits,
    Stop,
    WantedState,
)

Patch = Callable[[Any, str, Any], None]


@dataclass(frozen=True)
class BrokenDevice:
    """One fault.

    Attributes:
        found_by: the requirement that names it.
        says: what the report must say of it.
        break_it: patches the simulator.
    """

    found_by: str
    says: str
    break_it: Callable[[Patch], None]


FAULTS: dict[str, BrokenDevice] = {}


def fault(found_by: str, says: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Enter a fault by the name of its function."""

    def enter(break_it: Callable[[Patch], None]) -> Callable[[Patch], None]:
        FAULTS[break_it.__name__] = BrokenDevice(found_by, says, break_it)
        return break_it

    return enter


# Freshness and lease.


@fault("LEASE-01", "FAULT_LATCHED within")
def ignores_the_lease(patch: Patch) -> None:
    def renew(self: StateMachine, age_ms: int) -> None:
        self.lease_expiry_us = self.now_us + 3600 * 10**6

    patch(StateMachine, "renew_lease", renew)


@fault("LEASE-01", "the end 320 ms after the echoed tick")
def lease_of_400_ms(patch: Patch) -> None:
    patch(states, "LEASE_MS", 400)


@fault("LEASE-02", "event STATE_CHANGED within")
def armed_never_expires(patch: Patch) -> None:
    timer = StateMachine.next_timer_us

    def next_timer_us(self: StateMachine) -> int | None:
        return None if self.state is DeviceState.ARMED else timer(self)

    patch(StateMachine, "next_timer_us", next_timer_us)


@fault("LEASE-03", "the end 320 ms after the echoed tick")
def older_echo_shortens_the_lease(patch: Patch) -> None:
    renew = StateMachine.renew_lease

    def renew_lease(self: StateMachine, age_ms: int) -> None:
        self.lease_expiry_us = None
        renew(self, age_ms)

    patch(StateMachine, "renew_lease", renew_lease)


@fault("LEASE-04", "the end 320 ms after the echoed tick")
def lease_from_the_arrival(patch: Patch) -> None:
    renew = StateMachine.renew_lease
    patch(StateMachine, "renew_lease", lambda self, age_ms: renew(self, 0))


@fault("LEASE-05", "the lease to end 320 ms after")
def refused_drive_renews_the_lease(patch: Patch) -> None:
    on_drive = VirtualDevice._on_drive

    def renewing(self: VirtualDevice, drive: Drive, sequence: int, epoch: int) -> None:
        on_drive(self, drive, sequence, epoch)
        self._states.renew_lease((self._states.tick_ms - drive.echoed_tick_ms) % (1 << 32))

    patch(VirtualDevice, "_on_drive", renewing)


@fault("FRESH-02", "a Drive whose tick is 325 ms old ignored")
def accepts_a_stale_drive(patch: Patch) -> None:
    patch(device, "LEASE_MS", 60_000)


@fault("FRESH-05", "ms old ignored; accepted")
def accepts_a_drive_of_328_ms(patch: Patch) -> None:
    patch(device, "LEASE_MS", 328)


@fault("FRESH-05", "old accepted; ignored")
def ignores_a_drive_of_318_ms(patch: Patch) -> None:
    patch(device, "LEASE_MS", 317)


@fault("LEASE-01", "the end 320 ms after the echoed tick")
def lease_of_335_ms(patch: Patch) -> None:
    patch(states, "LEASE_MS", 335)


@fault("FRESH-03", "ms ahead ignored")
def accepts_a_drive_of_the_future(patch: Patch) -> None:
    on_drive = VirtualDevice._on_drive

    def lenient(self: VirtualDevice, drive: Drive, sequence: int, epoch: int) -> None:
        now_ms = self._states.tick_ms
        if (now_ms - drive.echoed_tick_ms) % (1 << 32) >= 1 << 31:
            drive = replace(drive, echoed_tick_ms=now_ms)
        on_drive(self, drive, sequence, epoch)

    patch(VirtualDevice, "_on_drive", lenient)


# Frames, sequences, epochs.


def _lax_connection(patch: Patch, judge: Callable[[Connection, bytes], bytes]) -> None:
    """Give the device, and nobody else, a connection that looks at a frame before it is judged."""

    class LaxConnection(Connection):
        def _judge(self, frame: bytes | None) -> Any:
            if frame is not None:
                with suppress(ProtocolError):
                    frame = judge(self, frame)
            return super()._judge(frame)

    patch(reports, "Connection", LaxConnection)


def _decoded(frame: bytes) -> codec.Envelope:
    return codec.decode_body(framing.decode_frame(frame))


@fault("LINE-04", "no answer to a CRC that does not match")
def accepts_a_wrong_crc(patch: Patch) -> None:
    def repair(self: Connection, frame: bytes) -> bytes:
        content = framing.decode_frame(frame)[:-4]
        return framing.encode_frame(content + codec.CRC.pack(zlib.crc32(content)))[:-1]

    _lax_connection(patch, repair)


@fault("LINE-08", "no answer to payloads too long or too short")
def accepts_a_payload_too_long(patch: Patch) -> None:
    def cut(self: Connection, frame: bytes) -> bytes:
        content = framing.decode_frame(frame)[:-4]
        if content[:1] in (
            b"\x02",
            b"\x0c",
        ):  # GetCapabilities, SelfTest: nothing follows the header
            content = content[: codec.HEADER.size]
        return framing.encode_frame(content + codec.CRC.pack(zlib.crc32(content)))[:-1]

    _lax_connection(patch, cut)


@fault("SEQ-02", "dropped after")
def ignores_the_sequence_window(patch: Patch) -> None:
    def forget(self: Connection, frame: bytes) -> bytes:
        self._newest_received = None
        return frame

    _lax_connection(patch, forget)


@fault("SEQ-02", "sequence 7233 dropped")
def half_window_one_too_wide(patch: Patch) -> None:
    def widen(self: Connection, frame: bytes) -> bytes:
        newest = self._newest_received
        if newest is not None and (_decoded(frame).sequence - newest) % 65536 == 1 << 15:
            self._newest_received = None
        return frame

    _lax_connection(patch, widen)


@fault("SEQ-04", "taken after them")
def stop_moves_the_window(patch: Patch) -> None:
    def move(self: Connection, frame: bytes) -> bytes:
        envelope = _decoded(frame)
        if isinstance(envelope.message, Stop):
            self._newest_received = envelope.sequence
        return frame

    _lax_connection(patch, move)


@fault("EPOCH-02", "no answer to another epoch")
def ignores_the_epoch(patch: Patch) -> None:
    class BlindConnection(Connection):
        def _judge(self, frame: bytes | None) -> Any:
            own = self.epoch
            if frame is not None and own is not None:
                with suppress(ProtocolError):
                    self.epoch = _decoded(frame).epoch
            try:
                return super()._judge(frame)
            finally:
                self.epoch = own

    patch(reports, "Connection", BlindConnection)


@fault("LINE-11", "damaged frames counted")
def does_not_count_damage(patch: Patch) -> None:
    class ForgetfulConnection(Connection):
        def _damaged(self, reason: str) -> Damaged:
            return Damaged(reason)

    patch(reports, "Connection", ForgetfulConnection)


@fault("ID-03", "Identity(SCHEMA_MISMATCH)")
def ignores_the_schema(patch: Patch) -> None:
    on_hello = VirtualDevice._on_hello

    def trusting(self: VirtualDevice, hello: Any, sequence: int, epoch: int) -> None:
        mine = self._settings.schema_hash
        on_hello(self, replace(hello, schema_hash=mine), sequence, epoch)

    patch(VirtualDevice, "_on_hello", trusting)


@fault("ID-05", "no programme")
def keeps_the_programme_over_an_epoch(patch: Patch) -> None:
    reset = Gate.reset

    def keep(self: Gate) -> None:
        if self.program is None:
            reset(self)
        else:
            self._put_in_force(self._compiled)

    patch(Gate, "reset", keep)


@fault("EPOCH-01", "silence until a Hello")
def talks_before_an_epoch(patch: Patch) -> None:
    init = Reports.__init__

    def talkative(self: Reports) -> None:
        init(self)
        self.status_due_us = 0

    patch(Reports, "__init__", talkative)


# States and Stop.


@fault("START-01", "Refused(NOT_FROM_ZERO)")
def energises_at_a_target(patch: Patch) -> None:
    def review(self: VirtualDevice, index: int, target_ua: int) -> Refusal | None:
        return self._gate.review_target(index, target_ua)

    patch(VirtualDevice, "_review_target", review)


@fault("STOP-02", "SAFE after Stop in ARMED")
def ignores_stop_in_armed(patch: Patch) -> None:
    on_stop = VirtualDevice._on_stop

    def deaf(self: VirtualDevice, stop: Stop, sequence: int, epoch: int) -> None:
        if self._states.state is not DeviceState.ARMED:
            on_stop(self, stop, sequence, epoch)
        else:
            self._states.emit(EventCode.STOP_RECEIVED)
            self._answer_with_status()

    patch(VirtualDevice, "_on_stop", deaf)


@fault("FAULT-03", "Refused(STEP_TOO_FAR)")
def resumes_after_a_fault(patch: Patch) -> None:
    acknowledge = StateMachine.acknowledge_fault

    def resume(self: StateMachine) -> Refusal | None:
        refusal = acknowledge(self)
        if refusal is None and self._gate.program is not None:
            self.lease_expiry_us = self.now_us + 320_000
            self.change(DeviceState.ARMED)
            self.change(DeviceState.RUNNING)
        return refusal

    patch(StateMachine, "acknowledge_fault", resume)


@fault("STATE-10", "every setpoint and target 0")
def keeps_the_setpoint_over_a_pause(patch: Patch) -> None:
    zero = OutputChannel.zero
    change = StateMachine.change

    def pausing(self: StateMachine, state: DeviceState) -> None:
        is_pause = self.state is DeviceState.RUNNING and state is DeviceState.ARMED
        kept = [(channel.target_ua, channel.setpoint_ua) for channel in self._channels]
        change(self, state)
        if is_pause:
            for channel, (target_ua, setpoint_ua) in zip(self._channels, kept, strict=True):
                zero(channel)
                channel.target_ua, channel.setpoint_ua = target_ua, setpoint_ua

    patch(StateMachine, "change", pausing)


@fault("STATE-03", "Refused(PROGRAM_DIGEST)")
def arms_with_any_digest(patch: Patch) -> None:
    def review(self: Gate, program_digest: int, limits_digest: int) -> Refusal | None:
        return None if self.program is not None else Refusal(RefusalReason.NO_PROGRAM)

    patch(Gate, "review_digests", review)


@fault("ALLOW-ARMED-SetLimits", "Refused(STATE)")
def takes_limits_while_armed(patch: Patch) -> None:
    act = VirtualDevice._act_on_message

    def lax(self: VirtualDevice, received: Received) -> None:
        if isinstance(received.message, SetLimits) and self.state is DeviceState.ARMED:
            self._on_set_limits(received.message, received.sequence, received.epoch)
        else:
            act(self, received)

    patch(VirtualDevice, "_act_on_message", lax)


# Limits and programmes.


@fault("TARGET-01", "Refused(LIMIT) of amplitude_ua")
def amplitude_limit_off_by_one(patch: Patch) -> None:
    review = Gate.review_amplitude

    def lax(self: Gate, index: int, target_ua: int) -> Refusal | None:
        return review(self, index, max(0, target_ua - 1))

    patch(Gate, "review_amplitude", lax)


@fault("TARGET-02", "Refused(LIMIT) of phase_charge_pc")
def charge_limit_off_by_one(patch: Patch) -> None:
    worst = gate._worst_stretch

    def lax(shape: PulseShape, amplitude_ua: int, session_pc: int) -> tuple[int, int]:
        return worst(shape, amplitude_ua, session_pc + 1)

    patch(gate, "_worst_stretch", lax)


@fault("TARGET-03", "Refused(LIMIT) of phase_charge_pc")
def no_charge_rule_by_duration(patch: Patch) -> None:
    patch(limits, "compiled_phase_charge_pc", lambda duration_us: 48_000_000)


@fault("TARGET-06", "Refused(LIMIT) of average_ua")
def counts_one_burst_too_few(patch: Patch) -> None:
    count = gate._pulses_in_second

    def lax(channel: Any, period_us: int) -> int:
        pulses: int = channel.pulses_per_burst
        return count(channel, period_us) - pulses

    patch(gate, "_pulses_in_second", lax)


@fault("LIMIT-04", "Refused(LIMIT) in answer to SetLimits")
def slew_limit_off_by_one(patch: Patch) -> None:
    take = Gate.take_limits

    def lax(self: Gate, asked: SetLimits) -> Refusal | None:
        if asked.setpoint_slew_ua_per_s == 2001:
            self._put_in_force(asked)
            return None
        return take(self, asked)

    patch(Gate, "take_limits", lax)


@fault("LOAD-02", "Refused(PROGRAM_DIGEST)")
def commits_any_digest(patch: Patch) -> None:
    take = Gate.take_program

    def lax(self: Gate, loading: Any, digest: int) -> Refusal | None:
        refusal = take(self, loading, digest)
        if refusal is None or refusal.reason is not RefusalReason.PROGRAM_DIGEST:
            return refusal
        from firmware_protocol.program import from_messages

        return take(self, loading, from_messages(loading).digest)

    patch(Gate, "take_program", lax)


@fault("LOAD-08", "Refused(CAPABILITY or LIMIT)")
def takes_phases_beyond_its_longest(patch: Patch) -> None:
    patch(gate, "_review_durations", lambda index, channel, shapes: None)
    patch(Gate, "_review_capability", lambda self, index, channel, shapes: None)


# Output.


@fault("RISE-01", "at most")
def no_slew(patch: Patch) -> None:
    def leap(self: OutputChannel, player: ChannelPlayer, session: SetLimits) -> None:
        is_held = self.contact is not Contact.GOOD
        self.setpoint_ua = min(self.target_ua, self._hold_ua if is_held else self.target_ua)

    patch(OutputChannel, "_rise", leap)


@fault("RISE-02", "at most")
def ignores_the_session_slew(patch: Patch) -> None:
    rise = OutputChannel._rise

    def own(self: OutputChannel, player: ChannelPlayer, session: SetLimits) -> None:
        rise(self, player, replace(session, setpoint_slew_ua_per_s=2000))

    patch(OutputChannel, "_rise", own)


@fault("RISE-03", "at most 2000 uA while contact is UNKNOWN")
def no_hold_until_contact(patch: Patch) -> None:
    load = OutputChannel.load_program

    def holdless(self: OutputChannel, *program: Any) -> None:
        load(self, *program)
        self._hold_ua = 100_000

    patch(OutputChannel, "load_program", holdless)


@fault("RISE-04", "uA in the answer to the Drive")
def falls_late(patch: Patch) -> None:
    def linger(self: OutputChannel, target_ua: int) -> None:
        self.target_ua = target_ua
        if self.setpoint_ua > target_ua:
            self.setpoint_ua = max(target_ua, self.setpoint_ua - 100)

    patch(OutputChannel, "set_target", linger)


@fault("RISE-05", "uA more with a pulse")
def slow_pulses_leap(patch: Patch) -> None:
    rise = OutputChannel._rise

    def leap(self: OutputChannel, player: ChannelPlayer, session: SetLimits) -> None:
        rise(self, player, replace(session, step_ua=1000))

    patch(OutputChannel, "_rise", leap)


@fault("RISE-06", "uA more in each cycle")
def ignores_the_rise_of_a_cycle(patch: Patch) -> None:
    rise = OutputChannel._rise

    def own(self: OutputChannel, player: ChannelPlayer, session: SetLimits) -> None:
        rise(self, player, replace(session, rise_per_cycle_ua=2000))

    patch(OutputChannel, "_rise", own)


@fault("RISE-07", "no rise in a ramp or off time")
def rises_in_ramps(patch: Patch) -> None:
    begin = ChannelPlayer.begin

    def always(self: ChannelPlayer) -> PulseShape | None:
        shape = begin(self)
        self.is_plateau = True
        return shape

    patch(ChannelPlayer, "begin", always)


@fault("RISE-08", "setpoints (200, 400) uA")
def gives_every_channel_the_first_target(patch: Patch) -> None:
    on_drive = VirtualDevice._drive_to_running

    def alike(self: VirtualDevice, drive: Drive) -> Refusal | None:
        rows = (drive.targets[:1] or ()) * len(drive.targets)
        return on_drive(self, replace(drive, targets=rows))

    patch(VirtualDevice, "_drive_to_running", alike)


@fault("TARGET-10", "2000 uA taken on channel 2")
def holds_every_channel_to_the_first_limits(patch: Patch) -> None:
    review = Gate.review_amplitude
    patch(Gate, "review_amplitude", lambda self, index, target_ua: review(self, 0, target_ua))


@fault("OUTPUT-07", "us after RUNNING began")
def plays_a_pulse_more_in_each_burst(patch: Patch) -> None:
    start = ChannelPlayer.start

    def longer(self: ChannelPlayer, run_us: int) -> None:
        start(self, run_us)
        if self._burst_period_us == 100_000:
            self._pulses_per_burst = 6

    patch(ChannelPlayer, "start", longer)


@fault("OUTPUT-08", "phases")
def plays_keyframes_at_full_scale(patch: Patch) -> None:
    amplitude = PulseShape.amplitude_ua

    def full(self: PulseShape, ramped_ua: int) -> int:
        return (
            ramped_ua - ramped_ua % self.grid_ua
            if self.period_us == 40_000
            else amplitude(self, ramped_ua)
        )

    patch(PulseShape, "amplitude_ua", full)


@fault("OUTPUT-09", "phases of")
def plays_no_ramps(patch: Patch) -> None:
    patch(interpreter._CycleTiming, "ramped_ua", lambda self, setpoint_ua, elapsed_us: setpoint_ua)


@fault("OUTPUT-10", "phases")
def plays_unequal_phases_off_their_grid(patch: Patch) -> None:
    patch(interpreter, "_grid_steps", lambda phases: 1)


@fault("OUTPUT-01", "no net charge")
def leaves_charge_behind(patch: Patch) -> None:
    def lopsided(self: PulseShape, amplitude_ua: int) -> list[int]:
        return [
            0 if not share else amplitude_ua if share > 0 else -(amplitude_ua * 9 // 10)
            for _, share in self.phases
        ]

    patch(PulseShape, "currents_ua", lopsided)


@fault("OUTPUT-02", "from onset to onset")
def pulses_too_often(patch: Patch) -> None:
    begin = ChannelPlayer.begin

    def hasty(self: ChannelPlayer) -> PulseShape | None:
        shape = begin(self)
        self.next_us -= 5 * self._is_plain
        return shape

    patch(ChannelPlayer, "begin", hasty)


# Measurement, leads, faults.


@fault("MEASURE-04", "measured into an open circuit")
def fakes_the_measured_current(patch: Patch) -> None:
    status = OutputChannel.status

    def copied(self: OutputChannel, is_running: bool, now_us: int) -> Any:
        told = status(self, is_running, now_us)
        return replace(told, peak_ua=told.setpoint_ua)

    patch(OutputChannel, "status", copied)


@fault("MEASURE-03", "pulses")
def counts_half_the_pulses(patch: Patch) -> None:
    status = OutputChannel.status

    def half(self: OutputChannel, is_running: bool, now_us: int) -> Any:
        told = status(self, is_running, now_us)
        return replace(told, pulse_count=told.pulse_count // 2)

    patch(OutputChannel, "status", half)


@fault("LEAD-04", "Refused(LEAD_OFF_LATCHED)")
def forgets_a_lead_off(patch: Patch) -> None:
    set_lead_off = VirtualDevice.set_lead_off

    def forgiving(self: VirtualDevice, number: int, is_off: bool, now_us: int) -> None:
        set_lead_off(self, number, is_off, now_us)
        if not is_off:
            self._channels[number - 1].is_latched = False

    patch(VirtualDevice, "set_lead_off", forgiving)


@fault("LEAD-01", "LEAD_OFF_LATCHED once a lead is off")
def never_finds_a_lead_off(patch: Patch) -> None:
    patch(limits, "LEAD_OFF_PULSES", 10**6)
    patch(limits, "LEAD_OFF_US", 10**12)


@fault("LEAD-06", "channel 2 at zero and latched")
def ignores_the_lead_off_policy(patch: Patch) -> None:
    put = Gate._put_in_force

    def without_policy(self: Gate, session: SetLimits) -> None:
        put(self, session)
        self.session = replace(session, policy=type(session.policy)(0))

    patch(Gate, "_put_in_force", without_policy)


@fault("FAULT-09", "the event FAULT_LATCHED")
def no_overcurrent(patch: Patch) -> None:
    patch(limits, "OVERCURRENT_PULSES", 10**9)


@fault("FAULT-05", "the event FAULT_LATCHED")
def line_noise_at_17(patch: Patch) -> None:
    init = StateMachine.__init__

    def init_17(self: StateMachine, *arguments: Any) -> None:
        init(self, *arguments)
        self._damaged_at_us = type(self._damaged_at_us)(maxlen=17)

    patch(StateMachine, "__init__", init_17)


@fault("FAULT-02", "Refused(NOT_THE_LATEST)")
def clears_whatever_is_acknowledged(patch: Patch) -> None:
    acknowledge = VirtualDevice._acknowledge

    def lax(self: VirtualDevice, message: Any) -> Refusal | None:
        return acknowledge(self, replace(message, latch_count=self._states.latch_count))

    patch(VirtualDevice, "_acknowledge", lax)


@fault("FAULT-08", "the event FAULT_LATCHED")
def runs_for_ever(patch: Patch) -> None:
    patch(StateMachine, "_longest_run_us", lambda self: self.now_us + 10**12)


@fault("PSTOP-05", "a Status that shows FAULT")
def patient_stop_not_latched(patch: Patch) -> None:
    press = StateMachine.set_patient_stop

    def unlatched(self: StateMachine, is_pressed: bool) -> None:
        press(self, is_pressed)
        if not is_pressed and self.fault is FaultCode.PATIENT_STOP:
            self.acknowledge_fault()

    patch(StateMachine, "set_patient_stop", unlatched)


@fault("PSTOP-03", "FAULT(PATIENT_STOP) in SAFE")
def patient_stop_in_running_alone(patch: Patch) -> None:
    press = StateMachine.set_patient_stop

    def picky(self: StateMachine, is_pressed: bool) -> None:
        if not is_pressed or self.state is DeviceState.RUNNING:
            press(self, is_pressed)

    patch(StateMachine, "set_patient_stop", picky)


# What it tells.


@fault("EVENT-01", "events of index")
def loses_events(patch: Patch) -> None:
    send = Reports.send

    def forgetful(self: Reports, message: Any, epoch: int | None = None) -> None:
        if type(message).__name__ != "Event" or message.index % 5:
            send(self, message, epoch)

    patch(Reports, "send", forgetful)


@fault("EVENT-03", "1 to 64 events kept; 65")
def keeps_65_events(patch: Patch) -> None:
    patch(reports, "EVENTS_KEPT", 65)


@fault("STATUS-04", "ms, give or take")
def ticks_five_percent_fast(patch: Patch) -> None:
    def tick_ms(self: StateMachine) -> int:
        return (self.now_us - self.boot_us) * 21 // 20_000 % (1 << 32)

    patch(StateMachine, "tick_ms", property(tick_ms))


@fault("STATUS-03", "a Status every 250 ms")
def idle_status_each_second(patch: Patch) -> None:
    patch(reports, "STATUS_IDLE_US", 1_000_000)


@fault("STATUS-06", "refusal_count 3 more")
def does_not_count_refusals(patch: Patch) -> None:
    refuse = Reports.refuse

    def uncounted(self: Reports, *arguments: Any) -> None:
        former = self.refusal_count
        refuse(self, *arguments)
        self.refusal_count = former

    patch(Reports, "refuse", uncounted)


@fault("STATE-12", "ARMED all the same")
def a_refused_pause_is_no_pause(patch: Patch) -> None:
    below = VirtualDevice._drive_below_running

    def strict(self: VirtualDevice, drive: Drive) -> Refusal | None:
        if any(row.target_ua for row in drive.targets) and drive.wanted_state < WantedState.RUNNING:
            return Refusal(RefusalReason.NOT_FROM_ZERO, channel=0)
        return below(self, drive)

    patch(VirtualDevice, "_drive_below_running", strict)


# What somebody who built a device from PROTOCOL.md alone got past the kit.


@fault("TARGET-11", "uA taken under phase_charge_pc")
def forgets_what_flows_back(patch: Patch) -> None:
    worst = gate._worst_stretch

    def one_way(shape: PulseShape, amplitude_ua: int, session_pc: int) -> tuple[int, int]:
        forward_pc = sum(max(0, current_ua) * us for current_ua, us in _flows(shape, amplitude_ua))
        if forward_pc > session_pc:
            return forward_pc, session_pc
        return worst(shape, amplitude_ua, session_pc)

    patch(gate, "_worst_stretch", one_way)


def _flows(shape: PulseShape, amplitude_ua: int) -> list[tuple[int, int]]:
    currents_ua = shape.currents_ua(amplitude_ua)
    return [(current_ua, us) for current_ua, (us, _) in zip(currents_ua, shape.phases, strict=True)]


def _worst_by(
    shape: PulseShape, amplitude_ua: int, session_pc: int, *, is_ring: bool, weak_ua: int
) -> tuple[int, int]:
    """Return the worst stretch; 20 uC + 28 uC/ms is for phases above `weak_ua` alone."""
    flows = _flows(shape, amplitude_ua)
    worst = (0, session_pc)
    for sign in (1, -1):
        for first in range(len(flows)):
            net_pc, asked_pc, allowed_pc = 0, 0, 20_000_000
            for current_ua, us in flows[first:] + (flows[:first] if is_ring else []):
                forward_ua = sign * current_ua
                net_pc += forward_ua * us
                if not 0 < forward_ua <= weak_ua:
                    asked_pc += forward_ua * us
                    allowed_pc += 28_000 * us * (forward_ua > 0)
                worst = max(
                    worst, (max(0, net_pc), session_pc), (max(0, asked_pc), allowed_pc),
                    key=lambda pair: pair[0] - pair[1],
                )  # fmt: skip
    return worst


@fault("TARGET-12", "Refused(LIMIT) of phase_charge_pc")
def weak_phases_earn_charge(patch: Patch) -> None:
    def earning(*judged: Any) -> tuple[int, int]:
        return _worst_by(*judged, is_ring=True, weak_ua=0)

    patch(gate, "_worst_stretch", earning)


@fault("TARGET-13", "Refused(LIMIT) of phase_charge_pc")
def charge_is_no_ring(patch: Patch) -> None:
    def open_ended(*judged: Any) -> tuple[int, int]:
        return _worst_by(*judged, is_ring=False, weak_ua=28_000)

    patch(gate, "_worst_stretch", open_ended)


@fault("LOAD-15", "Refused(LIMIT phase_duration_us)")
def polarity_runs_are_no_ring(patch: Patch) -> None:
    patch(interpreter, "_runs", lambda shares: _linear_runs(shares, is_broken_by_gaps=False))


@fault("LOAD-16", "Refused(LIMIT phase_duration_us)")
def gaps_break_polarity_runs(patch: Patch) -> None:
    patch(interpreter, "_runs", lambda shares: _linear_runs(shares, is_broken_by_gaps=True))


def _linear_runs(shares: list[int], *, is_broken_by_gaps: bool) -> tuple[tuple[int, ...], ...]:
    runs: list[list[int]] = []
    sign = 0
    for index, share in enumerate(shares):
        if not share:
            sign = 0 if is_broken_by_gaps else sign
        elif sign * share > 0:
            runs[-1].append(index)
        else:
            sign = share
            runs.append([index])
    return tuple(map(tuple, runs))


@fault("TARGET-14", "Refused(LIMIT) of average_ua")
def drops_the_pulse_begun(patch: Patch) -> None:
    count = gate._pulses_in_second

    def whole(channel: Any, period_us: int) -> int:
        is_plain = not channel.pulses_per_burst and channel.cycle is None
        return 1_000_000 // period_us if is_plain else count(channel, period_us)

    patch(gate, "_pulses_in_second", whole)


@fault("TARGET-15", "Refused(LIMIT) of average_ua")
def drops_the_pulse_begun_in_a_burst(patch: Patch) -> None:
    count = gate._pulses_in_second

    def whole(channel: Any, period_us: int) -> int:
        pulses: int = channel.pulses_per_burst
        if not pulses:
            return count(channel, period_us)
        period: int = channel.burst_period_us
        bursts, left_us = divmod(1_000_000, period)
        return bursts * pulses + min(pulses, left_us // period_us)

    patch(gate, "_pulses_in_second", whole)


@fault("TARGET-16", "Refused(LIMIT) of average_ua")
def forgets_the_slow_burst_before(patch: Patch) -> None:
    count = gate._pulses_in_second

    def even(channel: Any, period_us: int) -> int:
        return count(replace(channel, keyframes=()), period_us)

    patch(gate, "_pulses_in_second", even)


@fault("TARGET-17", "uA taken under phase_charge_pc")
def judges_charge_before_the_grid(patch: Patch) -> None:
    review = Gate._review_derived

    def early(self: Gate, index: int, target_ua: int) -> Refusal | None:
        charge_pc = target_ua * max(us for us, share in self.shapes[index][0].phases if share > 0)
        allowed_pc = self.session.channels[index].phase_charge_pc
        if charge_pc > allowed_pc:
            wire_id = limits.phase_charge_pc.wire_id
            return Refusal(RefusalReason.LIMIT, wire_id, index, charge_pc, allowed_pc)
        return review(self, index, target_ua)

    patch(Gate, "_review_derived", early)


@fault("LOAD-17", "Refused(PROGRAM_DIGEST)")
def looks_at_its_capability_before_the_digest(patch: Patch) -> None:
    take = Gate.take_program

    def hasty(self: Gate, loading: Any, digest: int) -> Refusal | None:
        from firmware_protocol.program import from_messages

        with suppress(ProgramError):
            refusal = take(self, loading, from_messages(loading).digest)
            self.unload()
            if refusal is not None and refusal.reason is RefusalReason.CAPABILITY:
                return refusal
        return take(self, loading, digest)

    patch(Gate, "take_program", hasty)


@fault("LOAD-18", "on-phases of 400 ms, 400 of 1000 apart accepted")
def refuses_channels_that_take_turns(patch: Patch) -> None:
    patch(program, "_never_on_together", lambda first, second: False)


@fault("RISE-09", "setpoint 0 where each on-phase has one pulse")
def first_pulse_of_an_on_phase_rises(patch: Patch) -> None:
    begin = ChannelPlayer.begin

    def eager(self: ChannelPlayer) -> PulseShape | None:
        shape = begin(self)
        if shape is not None and self.has_cycle and not self.interval_us:
            self.interval_us = shape.period_us
        return shape

    patch(ChannelPlayer, "begin", eager)


@fault("RISE-10", "the setpoint as it is in a keyframe of")
def rises_in_silent_keyframes(patch: Patch) -> None:
    patch(OutputChannel, "_is_felt", lambda self, shape: True)


@fault("RISE-11", "half a microampere a pulse")
def drops_the_fraction_of_a_rise(patch: Patch) -> None:
    rise = OutputChannel._rise

    def whole(self: OutputChannel, player: ChannelPlayer, session: SetLimits) -> None:
        rise(self, player, session)
        self._credit = 0

    patch(OutputChannel, "_rise", whole)


@fault("RISE-12", "a hold of 2400 uA, 2 mA on its grid; 2000 uA")
def hold_is_not_on_the_grid(patch: Patch) -> None:
    load = OutputChannel.load_program

    def at_2_ma(self: OutputChannel, *program: Any) -> None:
        load(self, *program)
        self._hold_ua = 2000

    patch(OutputChannel, "load_program", at_2_ma)


@fault("FAULT-11", "the event FAULT_LATCHED")
def counts_noise_in_a_tumbling_window(patch: Patch) -> None:
    def tumbling(self: StateMachine) -> None:
        if not self.is_energised:
            return
        noted = self._damaged_at_us
        if noted and self.now_us - noted[0] > 1_000_000:
            noted.clear()
        noted.append(self.now_us)
        if len(noted) == noted.maxlen:
            self.latch_fault(FaultCode.LINE_NOISE)

    patch(StateMachine, "note_damaged", tumbling)


@fault("FAULT-12", "Refused(CAUSE_PRESENT)")
def looks_for_the_cause_of_the_fault_told_alone(patch: Patch) -> None:
    acknowledge = StateMachine.acknowledge_fault

    def narrow(self: StateMachine) -> Refusal | None:
        charge = self.battery_percent
        if self.fault is not FaultCode.SUPPLY:
            self.battery_percent = 100
        refusal = acknowledge(self)
        self.battery_percent = charge
        return refusal

    patch(StateMachine, "acknowledge_fault", narrow)


@fault("FAULT-13", "latch_count one more")
def latches_each_report_of_an_empty_supply(patch: Patch) -> None:
    tell = StateMachine.set_battery

    def each(self: StateMachine, percent: int) -> None:
        self.battery_percent = 100
        tell(self, percent)

    patch(StateMachine, "set_battery", each)


@fault("STATUS-09", "250 ms from an answer to the next Status in SAFE")
def answers_leave_the_timer(patch: Patch) -> None:
    def answer(self: Reports, now_us: int, state: DeviceState) -> None:
        self._is_status_wanted = True

    patch(Reports, "answer_with_status", answer)


@fault("LEAD-07", "a lead-off with the next pulse")
def takes_three_bad_pulses_at_any_rate(patch: Patch) -> None:
    patch(limits, "LEAD_OFF_US", 10**12)


@fault("LEAD-08", "the others latched; latched: ")
def one_acknowledge_rearms_all(patch: Patch) -> None:
    acknowledge = VirtualDevice._acknowledge

    def generous(self: VirtualDevice, message: Any) -> Refusal | None:
        return acknowledge(self, replace(message, channels=message.channels and 0b11))

    patch(VirtualDevice, "_acknowledge", generous)


@fault("OUTPUT-07", "current on channel 1 alone; on channels [2]")
def plays_on_another_channel(patch: Patch) -> None:
    play = OutputChannel.play

    def crossed(self: OutputChannel, *arguments: Any) -> Any:
        self.number += 1
        try:
            return play(self, *arguments)
        finally:
            self.number -= 1

    patch(OutputChannel, "play", crossed)


@fault("OUTPUT-09", "us after RUNNING began")
def rounds_the_ramp(patch: Patch) -> None:
    ramped_ua = interpreter._CycleTiming.ramped_ua

    def rounded(self: interpreter._CycleTiming, setpoint_ua: int, elapsed_us: int) -> int:
        if elapsed_us < self.ramp_up_us:
            return round(setpoint_ua * elapsed_us / self.ramp_up_us)
        return ramped_ua(self, setpoint_ua, elapsed_us)

    patch(interpreter._CycleTiming, "ramped_ua", rounded)


@fault("OUTPUT-11", "us after RUNNING began")
def waits_the_pulse_offset_once(patch: Patch) -> None:
    schedule = ChannelPlayer._schedule_on_phase

    def once(self: ChannelPlayer, on_start_us: int) -> None:
        schedule(self, on_start_us)
        self.next_us -= self._offset_us * (self.on_phase_count > 0)

    patch(ChannelPlayer, "_schedule_on_phase", once)


@fault("OUTPUT-11", "04800 us after RUNNING began")
def starts_a_pulse_that_outlasts_its_on_phase(patch: Patch) -> None:
    begin = ChannelPlayer.begin
    patch(ChannelPlayer, "begin", lambda self: begin(self) or self.shape)


def _looks_keyframes_up(patch: Patch, since_us: Callable[[ChannelPlayer, int], int]) -> None:
    begin = ChannelPlayer.begin

    def elsewhere(self: ChannelPlayer) -> PulseShape | None:
        onset_us = self.next_us
        if begin(self) is None:
            return None
        if self._keyframe_starts_us:
            at_us = since_us(self, onset_us) % self._keyframe_cycle_us
            index = sum(start_us <= at_us for start_us in self._keyframe_starts_us) - 1
            self.shape = self.shapes[index]
        return self.shape

    patch(ChannelPlayer, "begin", elsewhere)


@fault("OUTPUT-12", "phases of")
def times_keyframes_from_the_on_phase(patch: Patch) -> None:
    _looks_keyframes_up(patch, lambda self, onset_us: self._elapsed_us)


@fault("OUTPUT-12", "phases of")
def lets_keyframes_run_on_over_cycles(patch: Patch) -> None:
    _looks_keyframes_up(patch, lambda self, onset_us: onset_us - self._run_us - self._offset_us)


def main() -> int:
    """Be one of them."""
    name, *rest = sys.argv[1:]
    FAULTS[name].break_it(setattr)
    from estim.simulator.__main__ import main as simulate

    return simulate(rest)


if __name__ == "__main__":
    sys.exit(main())
