"""A profile compiles to a balanced programme of integers, or is refused with the physics."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.errors import ProfileError
from estim.profile.loader import loads
from estim.waveform.compile import compile_profile
from firmware_protocol.program import Cycle, Keyframe, Phase, PulseProgram, from_canonical_bytes
from tests.unit.profile_text import COMPLETE, SIMPLE_STIMULUS, with_stimulus

ASYMMETRIC = """\
[stimulus]
pulse_rate_hz = 100
[stimulus.pulse]
waveform = "asymmetric-biphasic"
phase_duration_us = {first}
second_phase_duration_us = {second}
second_phase_amplitude_permille = {permille}
"""
CUSTOM = """\
[stimulus]
pulse_rate_hz = 100
[stimulus.pulse]
waveform = "custom"
phases = [{phases}]
"""


def compiled(text: str) -> PulseProgram:
    return compile_profile(loads(text, "own.toml").profile)


def refusal(text: str) -> str:
    """Return what compiling says; whatever it is, it names the key, and the line that holds it."""
    loaded = loads(text, "own.toml")
    with pytest.raises(ProfileError) as caught:
        compile_profile(loaded.profile, loaded.origin)
    message = str(caught.value)
    assert message.isprintable()
    place = re.match(r"own\.toml, line (\d+): [^:]*?(\w+)(\[\d+\])?: ", message)
    assert place is not None, message
    assert place[2] in text.splitlines()[int(place[1]) - 1], message
    return message


def custom(*phases: tuple[int, int]) -> str:
    rows = (f"{{ duration_us = {d}, amplitude_permille = {a} }}" for d, a in phases)
    return with_stimulus(CUSTOM.format(phases=", ".join(rows)))


def test_the_complete_profile_compiles_to_these_integers() -> None:
    """100 us full, 50 us gap, 400 us of a quarter; the holds worked out by hand."""
    (channel,) = compiled(COMPLETE).channels
    # gcd(100, 400) = 100: 1 and 4 units; 1 x 1000 = 4 x 250
    assert channel.phases == (Phase(1, 1000), Phase(50, 0), Phase(4, -250))
    assert channel.pulses_per_burst == 7
    assert channel.burst_period_us == 400_000  # 1 / 2.5 Hz
    assert channel.cycle == Cycle(1500, 10_000, 1000, 12_500, 500)
    assert channel.keyframe_cycle_ms == 6000
    assert len(channel.keyframes) == 12  # 6 s in holds of 0.5 s
    # A sixth of the way from (100 Hz, 100 us, 1000) to (80 Hz, 150 us, 500) with each hold:
    # 96.67 Hz is 10344.8 us; 108.33 us; 916.67 permille, each floored.
    assert channel.keyframes[:2] == (
        Keyframe(0, 1000, 100, 10_000),
        Keyframe(500, 916, 108, 10_344),
    )
    assert channel.keyframes[6] == Keyframe(3000, 500, 150, 12_500)
    assert channel.keyframes[11] == Keyframe(5500, 916, 108, 10_344)
    assert (channel.unit_us, channel.pulse_period_us) == (100, 10_000)


@pytest.mark.parametrize(
    ("rate_hz", "period_us"),
    [("100", 10_000), ("120", 8333), ("14", 71_428), ("0.1", 10_000_000), ("33.333", 30_000),
     ("3", 333_333), ("2500", 400)],
)  # fmt: skip
def test_a_period_is_floored_to_whole_microseconds(rate_hz: str, period_us: int) -> None:
    """120 Hz is 8333.33 us: 8333; 33.333 Hz is 30000.3 us: 30000."""
    text = with_stimulus(SIMPLE_STIMULUS.replace("= 100", f"= {rate_hz}"))
    assert compiled(text).channels[0].pulse_period_us == period_us


@pytest.mark.parametrize(
    ("first", "second", "permille", "unit_us", "units"),
    [
        (200, 200, 1000, 200, (1, 1)),
        (100, 400, 250, 100, (1, 4)),
        (200, 1000, 200, 200, (1, 5)),
        (150, 250, 600, 50, (3, 5)),
        (37, 148, 250, 37, (1, 4)),
        (333, 1000, 333, 1, (333, 1000)),
    ],
)
def test_units_are_the_greatest_common_length(
    first: int, second: int, permille: int, unit_us: int, units: tuple[int, int]
) -> None:
    text = with_stimulus(ASYMMETRIC.format(first=first, second=second, permille=permille))
    (channel,) = compiled(text).channels
    assert channel.unit_us == unit_us
    assert channel.phases == (Phase(units[0], 1000), Phase(units[1], -permille))


@pytest.mark.hazard(3)
@pytest.mark.parametrize(
    ("first", "second", "permille", "said"),
    [
        # at 40 mA: 8.0 uC against 40 mA x 250/1000 x 680 us = 6.8 uC
        (200, 680, 250, "+1.2 uC per pulse at 40.0 mA: lengthen the second phase to 800 us"),
        (200, 205, 1000, "-0.2 uC per pulse at 40.0 mA: shorten the second phase to 200 us"),
        # 100 - 99.9 = 0.1 us x 40 mA = 4 nC; 100/0.333 is no whole number
        (100, 300, 333, "+0.004 uC per pulse at 40.0 mA: no length of the second phase balances"),
        # would need 2000 us
        (200, 1000, 100, "+4.0 uC per pulse at 40.0 mA: no length of the second phase balances"),
    ],
)
def test_what_is_not_balanced_is_refused_with_the_charge_and_the_remedy(
    first: int, second: int, permille: int, said: str
) -> None:
    message = refusal(
        with_stimulus(ASYMMETRIC.format(first=first, second=second, permille=permille))
    )
    assert f"stimulus.pulse.second_phase_duration_us: net charge {said}" in message


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        (((200, 1000), (100, 0)), "stimulus.pulse.phases: a gap; expected a current"),
        (((50, 0), (200, 1000), (200, -1000)), "stimulus.pulse.phases: a gap"),
        (((200, 999), (200, -999)), "stimulus.pulse.phases: at most 999 permille; expected 1000"),
        (((200, 1000), (100, 1000)), "net charge +12.0 uC per pulse at 40.0 mA: no length"),
        (((200, 1000), (50, 0), (100, -1000)), "lengthen the last phase to 200 us"),
        (((600, 1000), (9, 0), (600, 1000), (600, -1000), (600, -1000)),
         "stimulus.pulse: 2 phases of one polarity in a row, 1200 us together; expected at most "
         "1000 us before the current turns"),
        (((5, 1000), (5, -1000)), "stimulus.pulse: a phase of 5 us; expected 10 to 1000 us"),
        (((1000, 1000), (1000, -1000)) * 6, "stimulus.pulse: a pulse of 12000 us; expected"),
    ],
)  # fmt: skip
def test_custom_pulses_obey_the_same_rules(phases: tuple[tuple[int, int], ...], said: str) -> None:
    assert said in refusal(custom(*phases))


def test_a_device_takes_sixteen_phases_and_no_more() -> None:
    pairs = ((20, 1000), (20, -1000)) * 8
    assert len(compiled(custom(*pairs)).channels[0].phases) == 16
    with pytest.raises(ProfileError, match=r"own\.toml, line \d+: stimulus\.pulse\.phases: a list"):
        loads(custom(*pairs, (20, 1000), (20, -1000)), "own.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("= 100\n", "= 5000\n", "stimulus.pulse_rate_hz: a pulse of 400 us in a period of 200 us; "
         "expected at most 2500 Hz"),
        ("[stimulus.pulse]", "[stimulus.burst]\npulses_per_burst = 11\nburst_rate_hz = 10\n"
         "[stimulus.pulse]", "stimulus.burst: 11 pulses 10000 us apart in 100000 us"),
        ("[stimulus.pulse]", '[stimulus.modulation]\nchange = "hold"\ncycle_s = 2\n'
         "points = [{ at_s = 0 }, { at_s = 1, pulse_rate_hz = 4000 }]\n[stimulus.pulse]",
         "stimulus.modulation.points: a pulse of 400 us in a period of 250 us"),
    ],
)  # fmt: skip
def test_pulses_and_bursts_fit_their_periods(old: str, new: str, said: str) -> None:
    assert said in refusal(with_stimulus(SIMPLE_STIMULUS.replace(old, new, 1)))


def test_a_modulated_second_phase_stays_within_the_limit() -> None:
    """100 us with 400 us behind it; at 300 us the second phase would be 1200 us."""
    text = COMPLETE.replace("phase_duration_us = 150", "phase_duration_us = 300")
    # At 2 s, two thirds of the way, 233 us and 932 us behind it; at 2.5 s 266 us and 1064 us.
    assert "stimulus.modulation.points: a phase of 1064 us; expected 10 to 1000" in refusal(text)


def test_channels_that_tick_together_are_spread_over_the_period() -> None:
    offsets_us = [c.pulse_offset_us for c in compiled(with_stimulus(SIMPLE_STIMULUS, 4)).channels]
    assert offsets_us == [0, 2500, 5000, 7500]
    full = with_stimulus(SIMPLE_STIMULUS.replace("= 100\n", "= 626\n"), 4)  # 1597 us for 4 x 400
    assert "channels[1]: a pulse of 400 us where each of 4 channels has 399 us" in refusal(full)


ALTERNATING = SIMPLE_STIMULUS + (
    "[stimulus.cycle]\nramp_up_s = 1\non_s = 3\nramp_down_s = 1\noff_s = {off_s}\n"
)


def alternating(off_s: int, offset_s: str) -> str:
    text = with_stimulus(ALTERNATING.format(off_s=off_s), 2)
    first, second = text.rsplit("amplitude_ceiling_ma = 40", 1)
    return f"{first}amplitude_ceiling_ma = 40\ncycle_offset_s = {offset_s}{second}"


def test_alternating_channels_start_with_their_own_on_phase() -> None:
    channels = compiled(alternating(off_s=5, offset_s="5")).channels
    assert [c.pulse_offset_us for c in channels] == [0, 0]
    assert [c.cycle and c.cycle.offset_ms for c in channels] == [0, 5000]


def test_channels_that_would_meet_are_refused() -> None:
    for text in (alternating(off_s=5, offset_s="4.999"), alternating(off_s=4, offset_s="5")):
        assert "channels: pulses of channels 1 and 2 can overlap; expected" in refusal(text)


def test_a_channel_may_play_a_stimulus_of_its_own() -> None:
    own = alternating(off_s=5, offset_s="5").replace(
        "cycle_offset_s = 5",
        "cycle_offset_s = 5\n[channels.stimulus]\npulse_rate_hz = 50\n"
        'pulse = { waveform = "symmetric-biphasic", phase_duration_us = 300 }\n'
        "cycle = { ramp_up_s = 1, on_s = 3, ramp_down_s = 1, off_s = 5 }",
    )
    first, second = compiled(own).channels
    assert (first.unit_us, first.pulse_period_us) == (200, 10_000)
    assert (second.unit_us, second.pulse_period_us) == (300, 20_000)
    spoilt = own.replace("pulse_rate_hz = 50", "pulse_rate_hz = 4000")
    assert ": channels[2].stimulus.pulse_rate_hz: a pulse of 600 us" in refusal(spoilt)


def test_overlap_is_kept_where_the_profile_allows_it() -> None:
    text = with_stimulus(SIMPLE_STIMULUS, 2).replace(
        "allow_overlap = false", "allow_overlap = true"
    )
    program = compiled(text)
    assert program.allow_overlap
    assert [c.pulse_offset_us for c in program.channels] == [0, 0]


@given(
    first_us=st.integers(10, 1000),
    ratio=st.sampled_from([1, 2, 4, 5, 8, 10, 20]),
    gap_us=st.integers(0, 1000),
    rate_hz=st.integers(1, 120),
    channels=st.integers(1, 4),
)
def test_every_compiled_pulse_is_balanced_to_the_last_count(
    first_us: int, ratio: int, gap_us: int, rate_hz: int, channels: int
) -> None:
    """Whatever compiles survives the wire and carries exactly as much back as forth."""
    if first_us * ratio > 1000:
        return
    stimulus = ASYMMETRIC.format(
        first=first_us, second=first_us * ratio, permille=1000 // ratio
    ).replace("= 100\n", f"= {rate_hz}\n", 1)
    stimulus += f"interphase_gap_us = {gap_us}\n"
    slot_us = 1_000_000 // rate_hz // channels
    text = with_stimulus(stimulus, channels)
    if first_us + gap_us + first_us * ratio > slot_us:
        assert "expected a lower rate or shorter phases" in refusal(text)
        return
    program = compiled(text)
    assert from_canonical_bytes(program.canonical_bytes()) == program
    for channel in program.channels:
        grid_ua = channel.grid_ua(100)
        for amplitude_ua in (grid_ua, 7 * grid_ua, 40_000 // grid_ua * grid_ua):
            currents = channel.phase_currents_ua(amplitude_ua, 100)
            charge = sum(
                current * channel.phase_us(phase, channel.unit_us)
                for current, phase in zip(currents, channel.phases, strict=True)
            )
            assert charge == 0
