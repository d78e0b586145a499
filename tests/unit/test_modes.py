"""Every mode: what it compiles to, worked out by hand; what is refused by name or by physics."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from estim.errors import LimitRefused, ProfileError
from estim.prepare.session import REFERENCE, prepare
from estim.profile.explain import Origin
from estim.profile.library import find, library
from estim.profile.loader import loads, loads_entry
from estim.profile.modes import EXCLUDED
from estim.waveform.compile import compile_profile
from estim.waveform.pulses import pulses
from estim.waveform.render import phase_currents_ua, phase_edges_us
from firmware_protocol.messages import CapabilityFlag
from firmware_protocol.program import ChannelProgram, Phase, PulseProgram
from tests.unit.profile_text import COMPLETE, SIMPLE_STIMULUS, with_stimulus

NET_CHARGE = (
    "it leaves a net charge under the electrodes, which burns the skin; every pulse here must "
    "balance to zero"
)
SINE = """\
[stimulus]
pulse_rate_hz = 2500
[stimulus.pulse]
waveform = "stepped-sine"
period_us = 400
step_count = 16
"""
BEAT = """\
[stimulus]
pulse_rate_hz = 4000
[stimulus.pulse]
waveform = "stepped-sine"
period_us = 250
step_count = 10
[stimulus.modulation]
change = "beat"
cycle_s = 0.01
hold_s = 0.001
"""
RANDOM = (
    SIMPLE_STIMULUS.replace("= 100", "= 80")
    + """\
[stimulus.modulation]
change = "random"
cycle_s = 16
hold_s = 0.5
seed = 7
lowest_pulse_rate_hz = 60
highest_pulse_rate_hz = 100
"""
)
EQUAL_EFFECT = (
    SIMPLE_STIMULUS
    + """\
[stimulus.modulation]
change = "strength-duration"
cycle_s = 4
hold_s = 1
chronaxie_us = 200
points = [{ at_s = 0, phase_duration_us = 100 }, { at_s = 2, phase_duration_us = 200 }]
"""
)
LINEAR = """\
[stimulus.modulation]
change = "linear"
cycle_s = 4
hold_s = 1
points = [{{ at_s = 0 }}, {{ at_s = 2, {change} }}]
"""


def channel(stimulus: str) -> ChannelProgram:
    return compile_profile(loads(with_stimulus(stimulus), "own.toml").profile).channels[0]


def refusal(text: str) -> str:
    """Return the message of loading or compiling, without file and line."""
    with pytest.raises(ProfileError) as caught:
        compile_profile(loads(text, "own.toml").profile, Origin("own.toml", text))
    return re.sub(r"^own\.toml(, line \d+)?: ", "", str(caught.value))


def in_mode(mode: str, stimulus: str) -> str:
    return with_stimulus(stimulus).replace('mode = "conventional"', f'mode = "{mode}"')


# What flows.


def test_a_sine_in_sixteen_steps() -> None:
    """sin of 11.25, 33.75, 56.25, 78.75 degrees: 0.19509, 0.55557, 0.83147, 0.98079.

    Over the largest: 0.19891, 0.56645, 0.84776, 1. 400 us / 16 = 25 us each.
    """
    quarter = (199, 566, 848, 1000)
    half = (*quarter, *reversed(quarter))
    found = channel(SINE)
    assert found.unit_us == 25
    assert found.pulse_period_us == 400
    assert found.phases == tuple(Phase(1, share) for share in (*half, *(-s for s in half)))
    assert found.grid_ua(100) == 100  # equal and opposite in pairs: every step of the device


def test_a_sine_in_two_steps_is_a_square() -> None:
    found = channel(SINE.replace("16", "2"))
    assert (found.unit_us, found.phases) == (200, (Phase(1, 1000), Phase(1, -1000)))


def test_a_beat_is_holds_of_whole_milliseconds() -> None:
    """sin of 9, 27, 45, 63, 81 degrees over sin 81 = 0.98769, and back; each with four pulses."""
    found = channel(BEAT)
    rising = [158, 460, 716, 902, 1000]
    assert [frame.at_ms for frame in found.keyframes] == list(range(10))
    assert [frame.amplitude_permille for frame in found.keyframes] == rising + rising[::-1]
    assert {(frame.unit_us, frame.pulse_period_us) for frame in found.keyframes} == {(25, 250)}
    assert found.keyframe_cycle_ms == 10
    # sin of 18, 54, 90 degrees: 0.30902, 0.80902, 1
    assert [phase.amplitude_permille for phase in found.phases[:5]] == [309, 809, 1000, 809, 309]


def test_pulses_that_fill_their_period_leave_no_moment_free() -> None:
    """Each sine begins where the one before ends, in every hold of the beat."""
    played = channel(BEAT)
    train = pulses(PulseProgram((played,)), 0, 15_000, 100, 0, 40_000)
    edges_us = phase_edges_us(played, train)
    assert train.count == 160  # 4000 Hz for 40 ms
    assert (edges_us[1:, 0] == edges_us[:-1, -1]).all()
    assert (phase_currents_ua(played, train, 100).sum(axis=1) == 0).all()


def test_random_rates_can_be_drawn_again_by_anybody() -> None:
    """`printf 7:0 | sha256sum` begins f5ff61d7b533cd73, 7:1 d7a0cee7b61eb0e3, 7:3 111c309fc0cfd2b7.

    Of 40 001 thousandths above 60 Hz: 38 438, 33 692 and 2 673; 98.438 Hz is every 10 158.7 us.
    """
    found = channel(RANDOM)
    assert len(found.keyframes) == 32
    periods_us = [frame.pulse_period_us for frame in found.keyframes]
    assert (periods_us[0], periods_us[1], periods_us[3]) == (10_158, 10_673, 15_955)
    assert all(10_000 <= period_us <= 16_666 for period_us in periods_us)
    assert len(set(periods_us)) > 20
    assert {frame.amplitude_permille for frame in found.keyframes} == {1000}
    assert channel(RANDOM) == found
    assert channel(RANDOM.replace("seed = 7", "seed = 8")) != found


def test_amplitude_falls_along_the_strength_duration_curve() -> None:
    """Chronaxie 200 us: (1 + 200/150) / (1 + 200/100) = 7/9, and at 200 us 2/3."""
    holds = channel(EQUAL_EFFECT).keyframes
    assert [(frame.unit_us, frame.amplitude_permille) for frame in holds] == [
        (100, 1000), (150, 777), (200, 666), (150, 777),
    ]  # fmt: skip
    # The charge falls less than the amplitude, as the curve has it: 100, 117 and 133 of 100.


def test_a_ramped_doublet_is_a_custom_pulse() -> None:
    """Two pulses 500 us apart, the first half as large: as peers have them."""
    phases = "[" + ", ".join(
        f"{{ duration_us = {us}, amplitude_permille = {share} }}"
        for us, share in ((100, 500), (100, -500), (300, 0), (100, 1000), (100, -1000))
    )  # fmt: skip
    found = channel(f'[stimulus]\npulse_rate_hz = 20\n[stimulus.pulse]\nwaveform = "custom"\n'
                    f"phases = {phases}]\n")  # fmt: skip
    assert found.pulse_us(found.unit_us) == 700
    assert found.phase_currents_ua(20_000, 100) == (10_000, -10_000, 0, 20_000, -20_000)
    assert found.grid_ua(100) == 100


def test_a_shape_of_sixteen_points_is_a_custom_pulse() -> None:
    """Any sixteen steps that cancel; here a ramp up, then a low and long way back."""
    up = [125, 250, 375, 500, 625, 750, 875, 1000]  # 4500 in all
    back = [-900, -800, -700, -600, -500, -400, -300, -300]
    rows = ", ".join(
        f"{{ duration_us = 20, amplitude_permille = {share} }}" for share in (*up, *back)
    )
    found = channel(f'[stimulus]\npulse_rate_hz = 50\n[stimulus.pulse]\nwaveform = "custom"\n'
                    f"phases = [{rows}]\n")  # fmt: skip
    assert [phase.amplitude_permille for phase in found.phases] == [*up, *back]
    assert found.unit_us == 20
    # 125 permille needs eighths, 300 needs tenths: 40 steps make every point a whole step.
    assert found.grid_ua(100) == 4000
    assert sum(found.phase_currents_ua(8000, 100)) == 0


# What is refused by name.

NEEDED = [
    "galvanic", "direct-current", "pulsed-direct-current", "diadynamic", "iontophoresis",
    "monophasic", "hvpc", "four-pole-interferential", "h-wave", "htems", "frems",
]  # fmt: skip


@pytest.mark.hazard(3)
@pytest.mark.parametrize("name", sorted({*NEEDED, *EXCLUDED}))
def test_an_excluded_current_is_refused_by_name_as_mode_and_as_waveform(name: str) -> None:
    reason = EXCLUDED[name]
    as_mode = COMPLETE.replace('mode = "conventional"', f'mode = "{name}"')
    assert refusal(as_mode) == f"mode: {name!r} is refused: {reason}"
    as_waveform = COMPLETE.replace('"asymmetric-biphasic"', f'"{name}"')
    assert refusal(as_waveform) == f"stimulus.pulse.waveform: {name!r} is refused: {reason}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("galvanic", f"current in one direction: {NET_CHARGE}"),
        ("Pulsed DC", f"pulses of one direction: {NET_CHARGE}"),
        ("Diadynamic", f"a rectified sine flows in one direction: {NET_CHARGE}"),
        ("iontophoresis", f"direct current that drives drugs through the skin: {NET_CHARGE}"),
        ("MONOPHASIC", f"pulses of one direction: {NET_CHARGE}"),
        ("high_voltage", f"twin peaks of one direction at up to 500 V: {NET_CHARGE}"),
        ("HVPC", f"twin peaks of one direction at up to 500 V: {NET_CHARGE}"),
        ("four-pole interferential",
         "two medium-frequency currents that cross in the tissue: both flow at once, where "
         "channels here take turns; the premodulated form is mode 'interferential'"),
        ("H-Wave", "phases of 4000 us; a phase here lasts at most 1000 us"),
        ("HTEMS", "a sine swept from 4096 to 32768 Hz: it needs an output that no pulsed, "
         "current-controlled stimulator has"),
        ("FREMS", "its pulse sequence is proprietary and was not published in full"),
    ],
)  # fmt: skip
def test_the_reason_is_told_whatever_the_spelling(name: str, said: str) -> None:
    text = COMPLETE.replace('mode = "conventional"', f'mode = "{name}"')
    assert refusal(text) == f"mode: {name!r} is refused: {said}"


def test_the_reason_is_told_even_where_more_is_wrong() -> None:
    """A whole file for another machine: its name says more than its first strange key."""
    text = COMPLETE.replace('mode = "conventional"', 'mode = "hvpc"').replace("[rise]", "[rising]")
    assert refusal(text).startswith("mode: 'hvpc' is refused: ")
    assert refusal(COMPLETE.replace('mode = "conventional"', 'mode = "magic"')).startswith(
        "mode: 'magic'; expected 'conventional', 'low-rate', "
    )


# What is refused by physics.


@pytest.mark.parametrize(
    ("stimulus", "said"),
    [
        (SINE.replace("16", "15"),
         "stimulus.pulse.step_count: 15; expected an even number: each half has as many steps"),
        (SINE.replace("400", "410"), "stimulus.pulse.period_us: 410; expected a multiple of "
         "step_count, 16: steps of whole microseconds"),
        (SINE.replace("16", "18"),
         "stimulus.pulse.step_count: 18; expected a whole number from 2 to 16"),
        (SINE.replace("400", "144"), "stimulus.pulse: a phase of 9 us; expected 10 to 1000 us"),
        (SINE.replace("400", "2016").replace("2500", "400"), "stimulus.pulse: 8 phases of one "
         "polarity in a row, 1008 us together; expected at most 1000 us before the current turns"),
        (SINE.replace("2500", "2501"), "stimulus.pulse_rate_hz: a pulse of 400 us in a period of "
         "399 us; expected at most 2500 Hz"),
        (SINE.replace("step_count = 16\n", ""),
         "stimulus.pulse.step_count: missing; expected a whole number from 2 to 16"),
        (SINE + "phase_duration_us = 200\n", "stimulus.pulse.phase_duration_us: given; expected "
         "with waveform = 'symmetric-biphasic' or 'asymmetric-biphasic' only"),
        (BEAT.replace("hold_s = 0.001", "hold_s = 0.003"), "stimulus.modulation.hold_s: 0.003; "
         "expected a length of which 0.010 s is a whole multiple"),
        (BEAT.replace("cycle_s = 0.01", "cycle_s = 0.033"), "stimulus.modulation.hold_s: 0.001; "
         "expected at least 0.00103125 s: a cycle has at most 32 holds"),
        (BEAT.replace("hold_s = 0.001", "hold_s = 0.01"), "stimulus.modulation.hold_s: 0.010; "
         "expected at most half of cycle_s, 0.010"),
        (BEAT.replace("hold_s = 0.001", "hold_s = 0.0005"), "stimulus.modulation.hold_s: 0.0005; "
         "expected a number of s from 0.001 to 1 with at most 3 decimals"),
        (BEAT.replace("4000", "900"), "stimulus.modulation.hold_s: 0.001; expected at least one "
         "pulse period, 1111 us"),
        (RANDOM.replace("= 60\n", "= 100\n"), "stimulus.modulation.lowest_pulse_rate_hz: 100.000; "
         "expected less than highest_pulse_rate_hz, 100.000"),
        (RANDOM.replace("= 80\n", "= 101\n"), "stimulus.pulse_rate_hz: 101.000; expected a rate "
         "that occurs, 60.000 to 100.000 Hz"),
        (RANDOM.replace("seed = 7", "seed = -1"), "stimulus.modulation.seed: -1; expected a whole "
         "number from 0 to 4294967295"),
        (RANDOM.replace("= 16\n", "= 17\n"), "stimulus.modulation.hold_s: 0.500; expected at least "
         "0.53125 s: a cycle has at most 32 holds"),
        (RANDOM.replace("= 100\n", "= 4000\n"), "stimulus.modulation.highest_pulse_rate_hz: a "
         "pulse of 400 us in a period of "),
        (RANDOM + "points = []\n", "stimulus.modulation.points: given; expected with change = "
         "'hold' or 'linear' or 'strength-duration' only"),
        (EQUAL_EFFECT.replace("chronaxie_us = 200\n", ""), "stimulus.modulation.chronaxie_us: "
         "missing; expected a whole number of us from 10 to 10000"),
        (EQUAL_EFFECT.replace("at_s = 2, ", "at_s = 2, amplitude_permille = 500, "),
         "stimulus.modulation.points[2].amplitude_permille: unknown key; expected one of: at_s, "
         "phase_duration_us, pulse_rate_hz"),
        (EQUAL_EFFECT.replace("hold_s = 1", "hold_s = 3"), "stimulus.modulation.hold_s: 3.000; "
         "expected a length of which 2.000 s is a whole multiple"),
        (SINE + LINEAR.format(change="phase_duration_us = 100"),
         "stimulus.modulation.points[2].phase_duration_us: given; expected none: a stepped-sine "
         "pulse has no single phase duration"),
        (SIMPLE_STIMULUS + "[stimulus.modulation]\ncycle_s = 1\n", "stimulus.modulation.change: "
         "missing; expected 'hold' or 'linear' or 'strength-duration' or 'random' or 'beat'"),
        (SIMPLE_STIMULUS + '[stimulus.modulation]\nchange = "sweep"\n',
         "stimulus.modulation.change: 'sweep'; expected 'hold' or 'linear' or "),
        (SIMPLE_STIMULUS + '[stimulus.modulation]\nchang = "beat"\n',
         "stimulus.modulation.chang: unknown key; did you mean 'change'?"),
    ],
)  # fmt: skip
def test_what_cannot_flow_is_refused_with_key_and_physics(stimulus: str, said: str) -> None:
    assert refusal(with_stimulus(stimulus)).startswith(said)


PERSON = 'bench_only_reason = "made for tests"\n'


@pytest.mark.parametrize(
    ("mode", "stimulus", "said"),
    [
        ("burst", SIMPLE_STIMULUS, "stimulus.burst: missing; mode 'burst' has one"),
        ("nmes", SIMPLE_STIMULUS, "stimulus.cycle: missing; mode 'nmes' has one"),
        ("fes", SIMPLE_STIMULUS, "stimulus.cycle: missing; mode 'fes' has one"),
        ("russian", SINE, "stimulus.burst: missing; mode 'russian' has one"),
        ("interferential", SIMPLE_STIMULUS, "stimulus.pulse.waveform: 'symmetric-biphasic'; "
         "expected 'stepped-sine' in mode 'interferential'"),
        ("interferential", SINE,
         "stimulus.modulation: missing; mode 'interferential' has one"),
        ("interferential", SINE + LINEAR.format(change="amplitude_permille = 0"),
         "stimulus.modulation.change: 'linear'; expected 'beat' in mode 'interferential'"),
        ("randomised", EQUAL_EFFECT, "stimulus.modulation.change: 'strength-duration'; expected "
         "'random' in mode 'randomised'"),
        ("strength-duration", RANDOM, "stimulus.modulation.change: 'random'; expected "
         "'strength-duration' in mode 'strength-duration'"),
        ("frequency-modulated", SIMPLE_STIMULUS,
         "stimulus.modulation: missing; mode 'frequency-modulated' has one"),
        ("frequency-modulated", SIMPLE_STIMULUS + LINEAR.format(change="phase_duration_us = 100"),
         "stimulus.modulation: it changes phase_duration_us; mode 'frequency-modulated' changes "
         "pulse_rate_hz"),
        ("width-modulated", SIMPLE_STIMULUS + LINEAR.format(change="amplitude_permille = 100"),
         "stimulus.modulation: it changes amplitude_permille; mode 'width-modulated' changes "
         "phase_duration_us"),
        ("frequency-width-modulated", SIMPLE_STIMULUS + LINEAR.format(change="pulse_rate_hz = 9"),
         "stimulus.modulation: it changes pulse_rate_hz; mode 'frequency-width-modulated' changes "
         "phase_duration_us and pulse_rate_hz"),
        ("amplitude-modulated", SIMPLE_STIMULUS + LINEAR.format(change="pulse_rate_hz = 9"),
         "stimulus.modulation: it changes pulse_rate_hz; mode 'amplitude-modulated' changes "
         "amplitude_permille"),
        ("amplitude-modulated", SIMPLE_STIMULUS + LINEAR.format(change="amplitude_permille = 1000"),
         "stimulus.modulation: it changes nothing; mode 'amplitude-modulated' changes "
         "amplitude_permille"),
        ("dense-disperse", SIMPLE_STIMULUS + LINEAR.format(change="pulse_rate_hz = 9"),
         "stimulus.modulation.change: 'linear'; expected 'hold' in mode 'dense-disperse'"),
    ],
)  # fmt: skip
def test_a_mode_must_be_what_its_name_says(mode: str, stimulus: str, said: str) -> None:
    assert refusal(in_mode(mode, stimulus)) == said


POINTS = """\
[stimulus.modulation]
change = "hold"
cycle_s = 2
points = [{{ at_s = 0, pulse_rate_hz = 100 }}, {{ at_s = 1, pulse_rate_hz = {} }}]
"""


@pytest.mark.parametrize(
    ("mode", "stimulus", "said"),
    [
        ("conventional", SIMPLE_STIMULUS.replace("= 100\n", "= 10\n", 1), None),
        ("conventional", SIMPLE_STIMULUS.replace("= 100\n", "= 9.999\n", 1),
         "stimulus.pulse_rate_hz: 9.999; expected 10 to 150 Hz in mode 'conventional'"),
        ("conventional", SIMPLE_STIMULUS.replace("= 100\n", "= 150\n", 1), None),
        ("conventional", SIMPLE_STIMULUS.replace("= 100\n", "= 150.001\n", 1),
         "stimulus.pulse_rate_hz: 150.001; expected 10 to 150 Hz in mode 'conventional'"),
        ("conventional", SIMPLE_STIMULUS + POINTS.format(10), None),
        ("conventional", SIMPLE_STIMULUS + POINTS.format(2),
         "stimulus.modulation.points[2].pulse_rate_hz: 2.000; expected 10 to 150 Hz in mode "
         "'conventional'"),
        ("conventional", RANDOM.replace("= 60\n", "= 6\n"),
         "stimulus.modulation.lowest_pulse_rate_hz: 6.000; expected 10 to 150 Hz in mode "
         "'conventional'"),
        ("conventional", RANDOM.replace("hz = 100\n", "hz = 200\n"),
         "stimulus.modulation.highest_pulse_rate_hz: 200.000; expected 10 to 150 Hz in mode "
         "'conventional'"),
        ("low-rate", SIMPLE_STIMULUS.replace("= 100\n", "= 10\n", 1), None),
        ("low-rate", SIMPLE_STIMULUS.replace("= 100\n", "= 10.001\n", 1),
         "stimulus.pulse_rate_hz: 10.001; expected 1 to 10 Hz in mode 'low-rate'"),
        ("low-rate", SIMPLE_STIMULUS.replace("= 100\n", "= 0.999\n", 1),
         "stimulus.pulse_rate_hz: 0.999; expected 1 to 10 Hz in mode 'low-rate'"),
        ("frequency-modulated", SIMPLE_STIMULUS + POINTS.format(2), None),
        ("frequency-modulated", SIMPLE_STIMULUS + POINTS.format(1000), None),
        ("frequency-modulated", SIMPLE_STIMULUS + POINTS.format(1001),
         "stimulus.modulation.points[2].pulse_rate_hz: 1001.000; expected 0 to 1000 Hz in mode "
         "'frequency-modulated'"),
    ],
)  # fmt: skip
def test_a_rate_on_a_person_is_one_that_the_mode_is_named_for(
    mode: str, stimulus: str, said: str | None
) -> None:
    """A bench may try any rate under any name."""
    bench = in_mode(mode, stimulus)
    loads(bench, "own.toml")
    person = bench.replace(PERSON, "")
    if said is None:
        loads(person, "own.toml")
    else:
        assert refusal(person) == said


def test_a_channel_of_its_own_must_be_it_too() -> None:
    own = in_mode("randomised", RANDOM).replace(
        "amplitude_ceiling_ma = 40",
        "amplitude_ceiling_ma = 40\n[channels.stimulus]\npulse_rate_hz = 50\n"
        'pulse = { waveform = "symmetric-biphasic", phase_duration_us = 300 }',
    )
    assert refusal(own) == ("channels[1].stimulus.modulation: missing; mode 'randomised' has one")


@pytest.mark.parametrize(
    ("mode", "stimulus", "waveform"),
    [
        ("microcurrent", SIMPLE_STIMULUS, "symmetric-biphasic"),
        ("conventional", SINE, "stepped-sine"),
        ("interferential", BEAT, "stepped-sine"),
        ("conventional", BEAT.replace('"stepped-sine"', '"symmetric-biphasic"')
         .replace("period_us = 250\nstep_count = 10", "phase_duration_us = 100"),
         "symmetric-biphasic"),
    ],
)  # fmt: skip
def test_no_name_takes_a_sine_or_a_beat_to_a_person(
    mode: str, stimulus: str, waveform: str
) -> None:
    text = in_mode(mode, stimulus)
    loads(text, "own.toml")
    assert refusal(text.replace(PERSON, "")) == (
        f"bench_only_reason: missing; expected the reason why mode {mode!r} with waveform "
        f"{waveform!r} is not for a person"
    )


@pytest.mark.hazard(4)
@pytest.mark.parametrize(
    ("points", "said"),
    [
        # 500 ms from nothing to all: 2 permille for each millisecond of the hold before, of which
        # 100 count: on a person nothing leaps, however long it was quiet.
        ("{ at_s = 0 }, { at_s = 1, amplitude_permille = 0 }, { at_s = 1.5 }",
         "stimulus.modulation.points: the amplitude rises by 1000 permille from the hold at "
         "1 s to the one at 1.5 s; expected at most 200 on a person"),
        ("{ at_s = 0 }, { at_s = 1.4, amplitude_permille = 898 }, { at_s = 1.45 }",
         "stimulus.modulation.points: the amplitude rises by 102 permille from the hold at "
         "1.4 s to the one at 1.45 s; expected at most 100 on a person"),
        ("{ at_s = 0 }, { at_s = 1.4, amplitude_permille = 900 }, { at_s = 1.45 }", None),
        # The last hold is followed by the first.
        ("{ at_s = 0 }, { at_s = 1.9, amplitude_permille = 799 }",
         "stimulus.modulation.points: the amplitude rises by 201 permille from the hold at "
         "1.9 s to the one at 0 s; expected at most 200 on a person"),
        ("{ at_s = 0 }, { at_s = 1.9, amplitude_permille = 800 }", None),
    ],
)  # fmt: skip
def test_an_amplitude_leaps_on_no_person(points: str, said: str | None) -> None:
    """A modulation is no way round the shortest ramp of a cycle; down is free."""
    held = f'[stimulus.modulation]\nchange = "hold"\ncycle_s = 2\npoints = [{points}]\n'
    bench = with_stimulus(SIMPLE_STIMULUS + held)
    compile_profile(loads(bench, "own.toml").profile)
    person = bench.replace(PERSON, "")
    if said is None:
        compile_profile(loads(person, "own.toml").profile)
    else:
        assert refusal(person) == said


@pytest.mark.hazard(4)
@pytest.mark.parametrize(
    ("points", "said"),
    [
        # 120 of 400 us is a leap of 700 permille of the largest charge, 119 one of 702.5.
        ("{ at_s = 0, phase_duration_us = 400 }, { at_s = 1, phase_duration_us = 120 }", None),
        ("{ at_s = 0, phase_duration_us = 400 }, { at_s = 1, phase_duration_us = 119 }",
         "the charge of a pulse rises by 703 permille of the largest from the hold at 1 s to the "
         "one at 0 s; expected at most 700 on a person"),
        ("{ at_s = 0, phase_duration_us = 10 }, { at_s = 1.9, phase_duration_us = 400 }",
         "the charge of a pulse rises by 975 permille of the largest from the hold at 0 s to the "
         "one at 1.9 s; expected at most 700 on a person"),
        # Two steps are one leap, but for 200 permille in the 100 ms between them.
        ("{ at_s = 0, phase_duration_us = 100 }, { at_s = 1, phase_duration_us = 600 }, "
         "{ at_s = 1.1, phase_duration_us = 1000 }", None),
        ("{ at_s = 0, phase_duration_us = 99 }, { at_s = 1, phase_duration_us = 600 }, "
         "{ at_s = 1.9, phase_duration_us = 1000 }",
         "the charge of a pulse rises by 901 permille of the largest from the hold at 0 s to the "
         "one at 1.9 s; expected at most 900 on a person"),
        ("{ at_s = 0, phase_duration_us = 1000 }, { at_s = 1, phase_duration_us = 90 }, "
         "{ at_s = 1.951, phase_duration_us = 790 }",
         "the charge of a pulse rises by 910 permille of the largest from the hold at 1 s to the "
         "one at 0 s; expected at most 798 on a person"),
        # Amplitude and phase together: 800 permille of 100 us are a fifth of 400 us.
        ("{ at_s = 0, phase_duration_us = 400 }, "
         "{ at_s = 1, phase_duration_us = 100, amplitude_permille = 800 }",
         "the charge of a pulse rises by 800 permille of the largest from the hold at 1 s to the "
         "one at 0 s; expected at most 700 on a person"),
    ],
)  # fmt: skip
def test_a_charge_leaps_on_no_person(points: str, said: str | None) -> None:
    """Nor is a phase that grows long at once a way round a ramp; down is free."""
    held = f'[stimulus.modulation]\nchange = "hold"\ncycle_s = 2\npoints = [{points}]\n'
    bench = with_stimulus(SIMPLE_STIMULUS + held)
    compile_profile(loads(bench, "own.toml").profile)
    person = bench.replace(PERSON, "")
    if said is None:
        prepare(loads(person, "own.toml").profile, is_bench=False)
    else:
        assert refusal(person) == f"stimulus.modulation.points: {said}"


def test_a_pulse_rate_may_leap() -> None:
    """It adds no charge to any pulse."""
    points = "{ at_s = 0, pulse_rate_hz = 1 }, { at_s = 1, pulse_rate_hz = 100 }"
    held = f'[stimulus.modulation]\nchange = "hold"\ncycle_s = 2\npoints = [{points}]\n'
    person = in_mode("frequency-modulated", SIMPLE_STIMULUS + held).replace(PERSON, "")
    assert prepare(loads(person, "own.toml").profile, is_bench=False).ceilings[0].ceiling_ua > 0


def test_a_long_burst_is_no_way_round_a_ramp_either() -> None:
    """At 100 Hz 51 pulses last 50 x 10 ms = 500 ms."""
    burst = "[stimulus.burst]\npulses_per_burst = {}\nburst_rate_hz = 0.2\n"
    for count, said in (
        (51, None),
        (52, "stimulus.burst.pulses_per_burst: bursts of 0.51 s; expected at most 0.5 s on a "
         "person: what lasts longer needs a cycle, with its ramp"),
    ):  # fmt: skip
        bench = with_stimulus(SIMPLE_STIMULUS + burst.format(count))
        compile_profile(loads(bench, "own.toml").profile)
        person = bench.replace(PERSON, "")
        if said is None:
            compile_profile(loads(person, "own.toml").profile)
        else:
            assert refusal(person) == said


def test_a_device_without_what_a_mode_needs_is_refused_before_anything_is_sent() -> None:
    russian = find("russian-quadriceps").profile
    few = replace(REFERENCE, phases_max=8)
    with pytest.raises(LimitRefused, match="a pulse of 16 phases, the device plays at most 8"):
        prepare(russian, few, is_bench=True)
    slow = replace(REFERENCE, pulse_period_min_us=1000)
    with pytest.raises(LimitRefused, match="a pulse period of 400 us, the device's shortest is"):
        prepare(russian, slow, is_bench=True)
    plain = replace(REFERENCE, flags=CapabilityFlag.HOLDS_BURST | CapabilityFlag.HOLDS_CYCLE)
    with pytest.raises(LimitRefused, match="a modulation, which the device cannot time by itself"):
        prepare(find("interferential-premodulated").profile, plain, is_bench=True)
    coarse = replace(REFERENCE, phase_min_us=50)
    with pytest.raises(LimitRefused, match="a phase of 25 us, the device's shortest is 50 us"):
        prepare(russian, coarse, is_bench=True)


SINES = ["russian-quadriceps", "interferential-premodulated"]
HELD_BACK = [*SINES, "fes-drop-foot", "microcurrent-balanced"]


def test_the_shipped_sines_are_the_ones_tried_here() -> None:
    found = {
        loaded.profile.id
        for loaded in library()
        for one in loaded.profile.channels
        if loaded.profile.channel_stimulus(one).pulse.waveform == "stepped-sine"
    }
    assert found == set(SINES)
    assert {loaded.profile.id for loaded in library() if loaded.profile.is_bench_only} == set(
        HELD_BACK
    )


@pytest.mark.hazard(43)
@pytest.mark.parametrize("profile_id", HELD_BACK)
def test_no_person_gets_what_is_for_the_bench(profile_id: str) -> None:
    with pytest.raises(LimitRefused, match=f"{profile_id} is for the bench only: "):
        prepare(find(profile_id).profile, is_bench=False)


@pytest.mark.hazard(19)
@pytest.mark.parametrize("profile_id", SINES)
def test_no_edit_of_its_file_takes_a_sine_to_a_person(profile_id: str, tmp_path: Path) -> None:
    """Neither without the reason, nor under another name, nor as a channel's own stimulus."""
    text = (Path(__file__).parents[2] / "profiles" / f"{profile_id}.toml").read_text("utf-8")
    person = re.sub(r'^bench_only_reason = (""".*?"""|".*?")\n', "", text, flags=re.M | re.S)
    assert person != text
    renamed = re.sub(r'^mode = ".*"$', 'mode = "conventional"', person, flags=re.M)
    for spoilt in (person, renamed):
        with pytest.raises(ProfileError, match="bench_only_reason: missing"):
            loads(spoilt, "own.toml")
    sine = SINE.replace("[stimulus", "[channels.stimulus")
    key = "amplitude_ceiling_ma = 40\n"
    own = with_stimulus(SIMPLE_STIMULUS).replace(PERSON, "").replace(key, key + sine)
    assert "stepped-sine" in own
    with pytest.raises(ProfileError, match="bench_only_reason: missing"):
        loads(own, "own.toml")


def test_a_sine_drawn_as_a_custom_pulse_reaches_no_person_either() -> None:
    """Its carrier gives it away: pulse upon pulse at 2500 Hz."""
    shares = (199, 566, 848, 1000, 1000, 848, 566, 199)
    steps = ", ".join(
        f"{{ duration_us = 25, amplitude_permille = {share} }}"
        for share in (*shares, *(-share for share in shares))
    )
    drawn = (
        "[stimulus]\npulse_rate_hz = 2500\nburst = { pulses_per_burst = 25, burst_rate_hz = 50 }\n"
        f'[stimulus.pulse]\nwaveform = "custom"\nphases = [{steps}]\n'
    )
    bench = in_mode("burst", drawn)
    compile_profile(loads(bench, "own.toml").profile)
    assert refusal(bench.replace(PERSON, "")) == (
        "stimulus.pulse_rate_hz: 2500.000; expected 0 to 1000 Hz in mode 'burst'"
    )


# Pads, precautions, neuropathy, and entries that inform.


@pytest.mark.parametrize(
    ("pads", "said"),
    [
        ('"left-thigh-lower-iner"', "channels[1].pads[1]: 'left-thigh-lower-iner'; expected a site "
         "of the body chart; did you mean 'left-thigh-lower-inner'?"),
        ('"nowhere"', "channels[1].pads[1]: 'nowhere'; expected a site of the body chart"),
        ("5", "channels[1].pads[1]: 5; expected a site of the body chart"),
        ('"left-thigh-lower-inner", "left-thigh-lower-inner"',
         "channels[1].pads[2]: 'left-thigh-lower-inner'; expected each site once"),
    ],
)  # fmt: skip
def test_pads_lie_on_sites_that_there_are(pads: str, said: str) -> None:
    key = "amplitude_ceiling_ma = 20.5\n"
    assert refusal(COMPLETE.replace(key, f"{key}pads = [{pads}]\n")).startswith(said)
    good = '"left-thigh-lower-inner", "left-thigh-upper-outer"'
    profile = loads(COMPLETE.replace(key, f"{key}pads = [{good}]\n"), "own.toml").profile
    assert profile.channels[0].pads == ("left-thigh-lower-inner", "left-thigh-upper-outer")
    assert loads(COMPLETE, "own.toml").profile.channels[0].pads == ()


def test_precautions_and_neuropathy_are_optional() -> None:
    plain = loads(COMPLETE, "own.toml").profile
    assert (plain.guidance.precautions, plain.neuropathy) == ((), None)
    table = '[neuropathy]\nkinds = ["peripheral", "autonomic"]\ncauses = ["diabetic"]\n\n'
    text = COMPLETE.replace("[stimulus]\n", table + "[stimulus]\n", 1).replace(
        'contraindications = ["pacemaker"]',
        'contraindications = ["pacemaker"]\nprecautions = ["lie down first"]',
    )
    profile = loads(text, "own.toml").profile
    assert profile.guidance.precautions == ("lie down first",)
    assert profile.neuropathy is not None
    assert profile.neuropathy.kinds == ("peripheral", "autonomic")
    assert refusal(text.replace('"autonomic"', '"autonom"')) == (
        "neuropathy.kinds[2]: 'autonom'; expected a kind of neuropathy; did you mean 'autonomic'?"
    )


ENTRY = """\
schema = 1
kind = "evidence-only"
id = "told"
version = "1.0.0"
title = "Told, not run"
mode = "something else"
indications = ["chronic-pain"]
review_status = "not reviewed by a clinician"
stimulus = "Pulses of another machine."
dose = "30 minutes."
placement = "Anywhere."
cannot_run = "Phases of 4 ms."

[basis.stimulus]
certainty = "S"
source = "a book"
[basis.dose]
certainty = "K"
source = "a book"
[basis.placement]
certainty = "K?"
source = "a book"

[[evidence]]
study = "a study"
source = "a journal"
grade = "randomised"
certainty = "S"
effect = "some"
caveat = "small"
"""


def test_an_entry_informs() -> None:
    entry = loads_entry(ENTRY, "told.toml").entry
    assert (entry.kind, entry.cannot_run) == ("evidence-only", "Phases of 4 ms.")
    assert entry.basis.dose.certainty == "K"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('cannot_run = "Phases of 4 ms."\n', "",
         "told.toml: cannot_run: missing; expected a text of 1 to 1000 characters"),
        ('"evidence-only"', '"unclear"', "told.toml, line 2: kind: 'unclear'; expected "
         "'evidence-only', 'negative' or 'excluded'"),
        ('dose = "30', 'dosis = "30',
         "told.toml, line 10: dosis: unknown key; did you mean 'dose'?"),
        ('certainty = "K?"', 'certainty = "maybe"', "told.toml, line 21: "
         "basis.placement.certainty: 'maybe'; expected 'S', 'K', 'K?' or 'E'"),
    ],
)  # fmt: skip
def test_a_spoilt_entry_is_refused_in_one_sentence(old: str, new: str, said: str) -> None:
    assert old in ENTRY
    with pytest.raises(ProfileError) as caught:
        loads_entry(ENTRY.replace(old, new), "told.toml")
    assert str(caught.value) == said
