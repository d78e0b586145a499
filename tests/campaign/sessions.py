"""What the sessions of the campaign play, and the envelope that each must stay in.

The envelope is stated by hand beside what the product is given; the judge reads nothing else of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from estim.safety.bounds import Bound, Bounds, ChannelBounds, Owner
from firmware_protocol.messages import PolicyFlag
from firmware_protocol.program import ChannelProgram, Cycle, Phase, PulseProgram


@dataclass(frozen=True, slots=True)
class Envelope:
    """The most that may reach the patient.

    Attributes:
        amplitude_ua: per channel.
        area_mm2: of the electrodes of each channel.
        period_us: the shortest time between two pulses of a channel.
        rest_us: a silence that parts two on-phases; 0 where output is continuous.
        step_ua: highest rise from one pulse to the next below 5 Hz, and of a key.
        lead_off_stops_all: one electrode off latches all channels.
    """

    amplitude_ua: int
    area_mm2: int
    period_us: int
    slew_ua_per_s: int
    rest_us: int = 0
    step_ua: int = 1000
    rise_per_cycle_ua: int = 2000
    lead_off_stops_all: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """One kind of session."""

    program: PulseProgram
    envelope: Envelope
    is_bench: bool

    @property
    def channel_count(self) -> int:
        return len(self.program.channels)

    def bounds(self) -> Bounds:
        """Return what the product is given."""
        envelope = self.envelope
        session = (
            Bound("setpoint_slew_ua_per_s", envelope.slew_ua_per_s, Owner.PROFILE),
            Bound("rise_per_cycle_ua", envelope.rise_per_cycle_ua, Owner.PROFILE),
            Bound("step_ua", envelope.step_ua, Owner.PROFILE),
            Bound("running_ms", 3_600_000, Owner.PROFILE),
        )
        channel = ChannelBounds(
            (Bound("amplitude_ua", envelope.amplitude_ua, Owner.PATIENT),), envelope.area_mm2
        )
        policy = PolicyFlag.LEAD_OFF_STOPS_ALL if envelope.lead_off_stops_all else PolicyFlag.NONE
        return Bounds((channel,) * self.channel_count, session, policy, self.is_bench, 100)


def _biphasic(phase_us: int) -> tuple[Phase, ...]:
    return (Phase(phase_us, 1000), Phase(phase_us, -1000))


def _channel(
    phase_us: int, period_us: int, offset_us: int = 0, cycle: Cycle | None = None
) -> ChannelProgram:
    return ChannelProgram(
        _biphasic(phase_us), 1, pulse_period_us=period_us, pulse_offset_us=offset_us, cycle=cycle
    )


_CYCLE = Cycle(ramp_up_ms=500, on_ms=900, ramp_down_ms=300, off_ms=600)

SESSIONS: dict[str, Session] = {
    # A person's TENS: keys alone raise, the gate's answers come first.
    "tens": Session(
        PulseProgram((_channel(200, 10_000),)),
        Envelope(amplitude_ua=12_000, area_mm2=2500, period_us=10_000, slew_ua_per_s=2000),
        is_bench=False,
    ),
    "two": Session(
        PulseProgram((_channel(250, 12_500), _channel(250, 12_500, 6_000))),
        Envelope(
            amplitude_ua=14_000,
            area_mm2=2500,
            period_us=12_500,
            slew_ua_per_s=1500,
            lead_off_stops_all=True,
        ),
        is_bench=True,
    ),
    "cycle": Session(
        PulseProgram(
            (_channel(300, 28_000, cycle=_CYCLE), _channel(300, 28_000, 14_000, cycle=_CYCLE))
        ),
        Envelope(
            amplitude_ua=10_000,
            area_mm2=5000,
            period_us=28_000,
            slew_ua_per_s=2000,
            rest_us=400_000,
            rise_per_cycle_ua=1500,
        ),
        is_bench=True,
    ),
    # 2 Hz: a step at each pulse.
    "slow": Session(
        PulseProgram((_channel(200, 500_000),)),
        Envelope(
            amplitude_ua=9_000, area_mm2=2500, period_us=500_000, slew_ua_per_s=2000, step_ua=500
        ),
        is_bench=True,
    ),
    # Small electrodes: 2 mA/cm2 RMS on 1 cm2 is 2 mA RMS; 500 us twice in 10 ms is a share of 0.1,
    # so 2 mA / sqrt(0.1) = 6324 uA, on the grid 6300, may flow though 20 mA are declared.
    "dense": Session(
        PulseProgram((_channel(500, 10_000),)),
        Envelope(amplitude_ua=6_300, area_mm2=100, period_us=10_000, slew_ua_per_s=2000),
        is_bench=True,
    ),
}
DECLARED_UA = {"dense": 20_000}
"""What the product is told as the patient's ceiling where something else must bind."""


def session_named(name: str) -> tuple[Session, Bounds]:
    """Return a session and the bounds that the product is given."""
    session = SESSIONS[name]
    bounds = session.bounds()
    if name in DECLARED_UA:
        row = ChannelBounds(
            (Bound("amplitude_ua", DECLARED_UA[name], Owner.PATIENT),),
            session.envelope.area_mm2,
        )
        bounds = Bounds((row,) * session.channel_count, bounds.session, bounds.policy, True, 100)
    return session, bounds
