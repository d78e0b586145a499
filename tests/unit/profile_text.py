"""A complete profile as TOML text, every optional table included, for tests to spoil."""

from __future__ import annotations

COMPLETE = """\
schema = 1
id = "complete"
version = "1.2.3"
title = "Every key there is"
mode = "conventional"
indications = ["chronic-pain"]
review_status = "not reviewed by a clinician"
bench_only_reason = "made for tests"
allow_overlap = false

[stimulus]
pulse_rate_hz = 100

[stimulus.pulse]
waveform = "asymmetric-biphasic"
phase_duration_us = 100
interphase_gap_us = 50
second_phase_duration_us = 400
second_phase_amplitude_permille = 250

[stimulus.burst]
pulses_per_burst = 7
burst_rate_hz = 2.5

[stimulus.cycle]
ramp_up_s = 1.5
on_s = 10
ramp_down_s = 1
off_s = 12.5

[stimulus.modulation]
change = "linear"
cycle_s = 6
hold_s = 0.5

[[stimulus.modulation.points]]
at_s = 0
pulse_rate_hz = 100
phase_duration_us = 100
amplitude_permille = 1000

[[stimulus.modulation.points]]
at_s = 3
pulse_rate_hz = 80
phase_duration_us = 150
amplitude_permille = 500

[[channels]]
name = "left"
placement = "left leg"
amplitude_ceiling_ma = 20.5
cycle_offset_s = 0.5

[electrode]
minimum_area_cm2 = 16
recommended_area_cm2 = 25.5
size = "5 x 5 cm"

[ceilings]
impaired_sensation_permille = 500
phase_charge_uc = 20.5
rms_ma = 30
average_ma = 5.5
current_density_ma_per_cm2 = 1.5

[rise]
step_ma = 0.3
setpoint_slew_ma_per_s = 1.5
rise_per_cycle_ma = 1.1

[session]
duration_s = 1800
longest_duration_s = 3600
first_exposure_s = 600
dose = "daily"

[policy]
lead_off = "channel"
requires_patient_stop = false

[guidance]
intensity = "until it tingles"
expect = "tingling"
contraindications = ["pacemaker"]

[basis.stimulus]
certainty = "S"
source = "a book"

[basis.session]
certainty = "K"
source = "a book"

[basis.placement]
certainty = "K?"
source = "a book"

[basis.electrode]
certainty = "E"
source = "a book"

[basis.ceilings]
certainty = "E"
source = "a book"

[basis.guidance]
certainty = "K"
source = "a book"

[[evidence]]
study = "a study"
source = "a journal"
grade = "randomised"
certainty = "S"
effect = "some"
caveat = "small"
"""

SIMPLE_STIMULUS = """\
[stimulus]
pulse_rate_hz = 100

[stimulus.pulse]
waveform = "symmetric-biphasic"
phase_duration_us = 200

"""


def with_stimulus(stimulus: str, channels: int = 1) -> str:
    """Return the complete profile with another stimulus and a number of equal channels."""
    head, rest = COMPLETE.split("[stimulus]\n", 1)
    surrounds = rest[rest.index("[electrode]") :]
    channel = '[[channels]]\nname = "leg"\nplacement = "leg"\namplitude_ceiling_ma = 40\n\n'
    return head + stimulus.rstrip() + "\n\n" + channel * channels + surrounds
