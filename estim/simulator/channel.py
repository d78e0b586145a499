"""One output channel of the device: setpoint, contact, and each pulse at its onset.

Rules:
1. A setpoint falls at once and rises only at onsets of plateau pulses that deliver something:
   never in silence, in a ramp, or at the first pulse of an on-phase.
2. Until contact is proven the setpoint holds at the lowest amplitude that can judge it.
3. A pulse is decided, delivered and judged at its onset, and always finished.
4. The trigger rises with the first pulse of each on-phase, whether that delivers anything or not;
   without an on/off cycle, with the first pulse since RUNNING began.
"""

from __future__ import annotations

from enum import Enum

from estim.simulator.interpreter import ChannelPlayer, PulseShape
from estim.simulator.output_stage import Delivery, OutputStage
from estim.simulator.trace import TRIGGER, TraceSink
from firmware_protocol import limits
from firmware_protocol.messages import ChannelFlag, ChannelStatus, Contact, CyclePhase, SetLimits
from firmware_protocol.program import ChannelProgram

US_PER_S = 1_000_000
PERMILLE = 1000
CONTACT_UA = limits.contact_ua.maximum
SHORT_OHM = limits.short_ohm.minimum
_NONE_YET = -1


class Finding(Enum):
    """What a pulse brought to light."""

    NOTHING = 0
    CONTACT_GOOD = 1
    LEAD_OFF = 2
    OVERCURRENT = 3


class OutputChannel:
    """Ramp, play and judge one channel."""

    def __init__(
        self,
        number: int,
        stage: OutputStage,
        trace: TraceSink | None,
        *,
        has_trigger: bool = False,
    ) -> None:
        self.number = number
        self.stage = stage
        self.contact = Contact.UNKNOWN
        self.is_latched = False
        self.target_ua = 0
        self.setpoint_ua = 0
        self.pulse_count = 0
        self.player: ChannelPlayer | None = None
        self._trace = trace
        self._trigger = trace if has_trigger else None
        self._hold_ua = 0
        self.begin_running(0)

    def load_program(self, channel: ChannelProgram, shapes: tuple[PulseShape, ...]) -> None:
        """Take the programme that `begin_running` will play."""
        self.player = ChannelPlayer(channel, shapes)
        grid_ua = shapes[0].grid_ua
        self._hold_ua = -(-CONTACT_UA // grid_ua) * grid_ua

    def unload_program(self) -> None:
        """Forget the programme."""
        self.player = None

    def begin_running(self, run_us: int) -> None:
        """Start the channel's clock, with contact unknown and everything at zero."""
        self.zero()
        self.pulse_count = 0
        self.forget_contact()
        self._credit = 0
        self._risen_ua = 0
        self._risen_on_phase = 0
        self._triggered_on_phase = 0
        self._last_peak_ua = 0
        self._peak_since_ua = _NONE_YET
        self._judged: Delivery | None = None
        if self.player is not None:
            self.player.start(run_us)

    def zero(self) -> None:
        """Take target and setpoint to zero; the pulse in progress is finished."""
        self.target_ua = 0
        self.setpoint_ua = 0

    def set_target(self, target_ua: int) -> None:
        """Aim at a target: down at once, up pulse by pulse."""
        self.target_ua = target_ua
        if self.setpoint_ua > target_ua:
            self.setpoint_ua = target_ua

    def latch_lead_off(self) -> None:
        """Go to zero and stay there until re-armed."""
        self.zero()
        self.is_latched = True

    def forget_contact(self) -> None:
        """Prove contact anew before passing the hold."""
        self.contact = Contact.UNKNOWN
        self._good_count = 0
        self._bad_streak = 0
        self._over_streak = 0
        self._first_judged_us: int | None = None

    def play(self, player: ChannelPlayer, session: SetLimits) -> Finding:
        """Deliver the pulse that is due at the player's `next_us`."""
        onset_us = player.next_us
        shape = player.begin()
        if shape is None:
            return Finding.NOTHING
        if self._trigger is not None and self._triggered_on_phase != player.on_phase_count:
            self._triggered_on_phase = player.on_phase_count
            self._trigger.add_pulse(onset_us, self.number, TRIGGER)
        if self.setpoint_ua < self.target_ua and player.is_plateau and self._is_felt(shape):
            self._rise(player, session)
        amplitude_ua = player.amplitude_ua(self.setpoint_ua)
        if not amplitude_ua:
            return Finding.NOTHING
        delivery = self.stage.deliver(shape, amplitude_ua, onset_us)
        if delivery.phases:
            self.pulse_count += 1
            if self._trace is not None:
                self._trace.add_pulse(onset_us, self.number, delivery.phases)
        self._last_peak_ua = peak_ua = delivery.peak_ua
        if peak_ua > self._peak_since_ua:
            self._peak_since_ua = peak_ua
        if delivery.is_clean and self.contact is Contact.GOOD:
            self._judged = delivery
            self._bad_streak = self._over_streak = 0
            return Finding.NOTHING
        return self._judge(delivery, onset_us, shape.period_us)

    def status(self, is_running: bool, now_us: int) -> ChannelStatus:
        """Report the channel, and begin a new interval for its peak."""
        peak_ua = self._peak_since_ua
        if peak_ua == _NONE_YET:
            peak_ua = self._last_peak_ua if is_running and self.setpoint_ua else 0
        self._peak_since_ua = _NONE_YET
        is_blind = self.setpoint_ua < CONTACT_UA and self.contact is not Contact.OFF
        judged = None if is_blind else self._judged
        flags = ChannelFlag.LEAD_OFF_LATCHED if self.is_latched else ChannelFlag.NONE
        if judged is not None and judged.is_compliance_reached:
            flags |= ChannelFlag.COMPLIANCE_REACHED
        if judged is not None and judged.load_ohm < SHORT_OHM:
            flags |= ChannelFlag.SHORTED
        player = self.player if is_running else None
        return ChannelStatus(
            target_ua=self.target_ua,
            setpoint_ua=self.setpoint_ua,
            peak_ua=peak_ua,
            load_ohm=0 if judged is None else judged.load_ohm,
            pulse_count=self.pulse_count,
            contact=Contact.UNKNOWN if is_blind else self.contact,
            cycle_phase=CyclePhase.IDLE if player is None else player.cycle_phase(now_us),
            flags=flags,
        )

    @property
    def load_ohm(self) -> int:
        """Return the load measured last, 0 where none was."""
        return 0 if self._judged is None else self._judged.load_ohm

    def _is_felt(self, shape: PulseShape) -> bool:
        """Tell whether this setting delivers anything at the setpoint, or at the hold."""
        return bool(shape.amplitude_ua(max(self.setpoint_ua, self._hold_ua)))

    def _rise(self, player: ChannelPlayer, session: SetLimits) -> None:
        interval_us = player.interval_us
        if interval_us > limits.SLOW_PULSE_US:
            rise_ua = session.setpoint_slew_ua_per_s * interval_us // US_PER_S
            rise_ua = min(rise_ua, session.step_ua)
        else:
            self._credit += session.setpoint_slew_ua_per_s * interval_us
            rise_ua, self._credit = divmod(self._credit, US_PER_S)
        if player.has_cycle:
            if self._risen_on_phase != player.on_phase_count:
                self._risen_on_phase = player.on_phase_count
                self._risen_ua = 0
            rise_ua = min(rise_ua, session.rise_per_cycle_ua - self._risen_ua)
        ceiling_ua = self.target_ua
        if self.contact is not Contact.GOOD:
            ceiling_ua = min(ceiling_ua, max(self._hold_ua, self.setpoint_ua))
        rise_ua = min(rise_ua, ceiling_ua - self.setpoint_ua)
        self._risen_ua += rise_ua
        self.setpoint_ua += rise_ua

    def _judge(self, delivery: Delivery, onset_us: int, period_us: int) -> Finding:
        highest = self.setpoint_ua * limits.overcurrent_permille.maximum
        highest += limits.OVERCURRENT_MARGIN_UA * PERMILLE
        self._over_streak = self._over_streak + 1 if delivery.peak_ua * PERMILLE > highest else 0
        if self._over_streak >= limits.OVERCURRENT_PULSES:
            return Finding.OVERCURRENT
        if not delivery.is_judged:
            return Finding.NOTHING
        self._judged = delivery
        if self._first_judged_us is None:
            self._first_judged_us = onset_us
        if delivery.is_good:
            self._bad_streak = 0
            self._good_count += 1
            is_proven = (
                self._good_count >= limits.CONTACT_PULSES
                and onset_us - self._first_judged_us >= limits.CONTACT_US
            )
            if is_proven and self.contact is not Contact.GOOD:
                self.contact = Contact.GOOD
                return Finding.CONTACT_GOOD
            return Finding.NOTHING
        self._bad_streak += 1
        bad_pulses_max = max(1, min(limits.LEAD_OFF_PULSES, limits.LEAD_OFF_US // period_us))
        if self._bad_streak < bad_pulses_max:
            return Finding.NOTHING
        self.contact = Contact.OFF
        return Finding.LEAD_OFF
