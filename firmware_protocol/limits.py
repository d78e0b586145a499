"""Every safety limit, on one page.

Rules:
1. A limit stands here once: value, unit, why, source, certainty, who enforces it. Host, device,
   SAFETY.md and the C header read this page.
2. Hard bounds refuse; nothing clamps. A recommended bound warns.
3. Certainty: S read in a public source, K common professional knowledge, K? to be checked against
   the original, E an engineering proposal of this project. The paid standards themselves were not
   read.
4. A session may lower what is compiled here, never raise it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

US_PER_S = 1_000_000


class Certainty(Enum):
    """How sure a figure is."""

    SOURCE = "S"
    KNOWN = "K"
    UNCHECKED = "K?"
    ENGINEERING = "E"


class Enforcer(Enum):
    """Which end refuses."""

    HOST = "host"
    DEVICE = "device"
    BOTH = "host and device"


class Limit(NamedTuple):
    """One safety limit.

    Attributes:
        wire_id: number of the limit in a Refused message; never reused.
        name: the quantity, with its unit suffix.
        unit: as people write it.
        hard_max: highest value allowed, None for no upper bound.
        hard_min: lowest value allowed, None for no lower bound.
        recommended_max: above it a profile check warns.
        why: the harm it prevents.
        source: where the figure comes from.
        certainty: how sure the figure is.
        enforced_by: which end refuses.
    """

    wire_id: int
    name: str
    unit: str
    hard_max: int | None
    why: str
    source: str
    certainty: Certainty
    enforced_by: Enforcer
    hard_min: int | None = None
    recommended_max: int | None = None

    @property
    def maximum(self) -> int:
        """Return `hard_max` of a limit that has one; raise ValueError otherwise."""
        if self.hard_max is None:
            raise ValueError(f"{self.name} has no upper bound")
        return self.hard_max

    @property
    def minimum(self) -> int:
        """Return `hard_min` of a limit that has one; raise ValueError otherwise."""
        if self.hard_min is None:
            raise ValueError(f"{self.name} has no lower bound")
        return self.hard_min


_E = Certainty.ENGINEERING
_K = Certainty.KNOWN
_U = Certainty.UNCHECKED
_S = Certainty.SOURCE
_HOST = Enforcer.HOST
_DEVICE = Enforcer.DEVICE
_BOTH = Enforcer.BOTH

# What one pulse may be.

amplitude_ua = Limit(
    1, "amplitude_ua", "uA", 100_000,
    "burns, pain, contraction beyond what a limb bears", "project proposal, NMES", _E, _BOTH,
)  # fmt: skip
sensory_amplitude_ua = Limit(
    2, "sensory_amplitude_ua", "uA", 80_000,
    "sensory modes need no more", "project proposal", _E, _HOST,
)  # fmt: skip
phase_duration_us = Limit(
    3, "phase_duration_us", "us", 1000,
    "long phases reach pain fibres and carry charge; steps of one polarity in a row count as one",
    "hard: project proposal; recommended: FDA 2010 draft, primary phase", _U, _BOTH,
    hard_min=10, recommended_max=500,
)  # fmt: skip
pulse_duration_us = Limit(
    4, "pulse_duration_us", "us", 10_000,
    "a stop waits for the pulse in progress", "project proposal", _E, _BOTH,
)  # fmt: skip
phase_charge_pc = Limit(
    5, "phase_charge_pc", "pC", 48_000_000,
    "electrochemical and thermal skin damage; the rule is 20 uC + 28 uC/ms x duration, for the net "
    "charge of every stretch of a pulse",
    "FDA 2010 draft, limited output", _U, _BOTH,
)  # fmt: skip
PHASE_CHARGE_BASE_PC = 20_000_000
PHASE_CHARGE_SLOPE_PC_PER_US = 28_000
net_charge_pc = Limit(
    6, "net_charge_pc", "pC", 0,
    "direct current burns the skin", "project rule: exactly zero in every pulse", _E, _BOTH,
    hard_min=0,
)  # fmt: skip
pulse_energy_uj = Limit(
    7, "pulse_energy_uj", "uJ", 300_000,
    "fibrillation and burns; computed into 500 ohm", "IEC 60601-2-10, via public summaries",
    _S, _HOST,
)  # fmt: skip

# What a train of pulses may be, over the worst sliding second.

rms_ua = Limit(
    8, "rms_ua", "uA", 50_000,
    "heating of tissue", "IEC 60601-2-10 up to 400 Hz; a maker's 'never exceed 50 mA r.m.s.'",
    _K, _BOTH,
)  # fmt: skip
average_ua = Limit(
    9, "average_ua", "uA", 10_000,
    "electrochemical load", "FDA 2010 draft, average absolute current", _U, _BOTH,
)  # fmt: skip
current_density_ua_per_cm2 = Limit(
    10, "current_density_ua_per_cm2", "uA/cm2 RMS", 2000,
    "burns under a small or peeling electrode",
    "IEC 60601-2-10 warning value, read in public documents", _S, _HOST,
)  # fmt: skip
impaired_current_density_ua_per_cm2 = Limit(
    11, "impaired_current_density_ua_per_cm2", "uA/cm2 RMS", 1000,
    "impaired sensation does not warn of a burn", "project proposal: half of the general value",
    _E, _HOST,
)  # fmt: skip
power_density_uw_per_cm2 = Limit(
    12, "power_density_uw_per_cm2", "uW/cm2", 250_000,
    "thermal burns; computed into 500 ohm", "FDA guidance of June 1999, in a public summary",
    _S, _HOST,
)  # fmt: skip

# How output may rise.

setpoint_slew_ua_per_s = Limit(
    13, "setpoint_slew_ua_per_s", "uA/s", 2000,
    "startle, loss of control", "project proposal", _E, _BOTH,
    hard_min=1,
)  # fmt: skip
rise_per_cycle_ua = Limit(
    14, "rise_per_cycle_ua", "uA", 2000,
    "presses made in an off time go unfelt and arrive as one jump", "project proposal", _E, _BOTH,
    hard_min=1,
)  # fmt: skip
step_ua = Limit(
    15, "step_ua", "uA", 1000,
    "startle by one key press, or by one pulse below 5 Hz",
    "IEC 60601-2-10 clause 201.12.1.101: steps of at most 1 mA", _K, _BOTH,
    hard_min=100,
)  # fmt: skip
held_key_rise_ua_per_s = Limit(
    16, "held_key_rise_ua_per_s", "uA/s", 1000,
    "a key that sticks or is leant on", "project proposal", _E, _HOST,
)  # fmt: skip
cycle_ramp_up_ms = Limit(
    17, "cycle_ramp_up_ms", "ms", None,
    "startle at each contraction, on a person; a modulation rises no faster, by at most a fifth of "
    "the amplitude at once, and a longer burst needs a cycle", "project proposal", _E, _HOST,
    hard_min=500,
)  # fmt: skip
RAMP_STEP_MS = 100
"""What one step of a modulation counts for as a ramp, at most: a longer rest excuses no leap."""
charge_rise_permille = Limit(
    27, "charge_rise_permille", "permille of the largest charge", 700,
    "startle, on a person, by a modulation whose charge per phase leaps; what rises further takes "
    "as long as a ramp",
    "project proposal; room for dense-disperse of 200 and 600 us, which leaps 667", _E, _HOST,
)  # fmt: skip

# How long output may last.

running_ms = Limit(
    18, "running_ms", "ms", 3 * 60 * 60 * 1000,
    "forgotten sessions", "project proposal", _E, _BOTH,
    hard_min=1,
)  # fmt: skip
lease_ms = Limit(
    19, "lease_ms", "ms", 320,
    "output that outlives its host", "project proposal, measured over a 40 ms link", _E, _DEVICE,
)  # fmt: skip
zero_after_silence_ms = Limit(
    20, "zero_after_silence_ms", "ms", 350,
    "output that outlives its host: lease, pulse in progress and scheduling together",
    "project proposal", _E, _DEVICE,
)  # fmt: skip
heartbeat_ms = Limit(
    21, "heartbeat_ms", "ms", 400,
    "output that nobody can see, because the display froze", "project proposal", _E, _HOST,
)  # fmt: skip

# What the device measures.

overcurrent_permille = Limit(
    22, "overcurrent_permille", "permille of the amplitude", 1100,
    "an output stage that delivers more than was set; 1 mA is added", "project proposal",
    _E, _DEVICE,
)  # fmt: skip
OVERCURRENT_MARGIN_UA = 1000
OVERCURRENT_PULSES = 2
lead_off_ohm = Limit(
    23, "lead_off_ohm", "ohm", 15_000,
    "a lifting electrode concentrates current", "project proposal", _E, _DEVICE,
)  # fmt: skip
LEAD_OFF_PULSES = 3
LEAD_OFF_US = 200_000
contact_ua = Limit(
    24, "contact_ua", "uA", 2000,
    "contact cannot be judged below it, and is proven before more is delivered", "project proposal",
    _E, _DEVICE,
)  # fmt: skip
CONTACT_PULSES = 5
CONTACT_US = 1_000_000
short_ohm = Limit(
    25, "short_ohm", "ohm", None,
    "leads that touch", "project proposal; warns, stops nothing", _E, _DEVICE,
    hard_min=100,
)  # fmt: skip
line_errors_per_s = Limit(
    26, "line_errors_per_s", "damaged frames a second", 16,
    "a line that cannot be trusted, while energised", "project proposal", _E, _DEVICE,
)  # fmt: skip

SLOW_PULSE_US = 200_000
"""Pulses further apart than this (below 5 Hz) raise by at most one `step_ua` each."""

LIMITS: tuple[Limit, ...] = tuple(entry for entry in globals().values() if isinstance(entry, Limit))
BY_WIRE_ID: dict[int, Limit] = {entry.wire_id: entry for entry in LIMITS}
BY_NAME: dict[str, Limit] = {entry.name: entry for entry in LIMITS}


def compiled_phase_charge_pc(duration_us: int) -> int:
    """Return the highest charge of one phase that lasts `duration_us`.

    20 uC + 28 uC/ms x t, from the FDA draft of 2010 on limited output (unchecked).
    """
    return PHASE_CHARGE_BASE_PC + PHASE_CHARGE_SLOPE_PC_PER_US * duration_us
