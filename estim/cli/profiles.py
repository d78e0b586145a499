"""`estim profiles show`: everything that a profile says, and every figure derived from it."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import Any

from estim.cli import arguments as given
from estim.cli import profile_entry
from estim.cli.console import say, say_json, say_table, say_wrapped
from estim.cli.profile_figures import (
    binding_words,
    document,
    limit_words,
    neuropathy_words,
    rate_hz,
)
from estim.prepare.places import configuration_folder
from estim.prepare.report import limit_lines
from estim.prepare.session import Prepared, check_targets, prepare
from estim.prepare.site import load_site
from estim.profile.body_chart import draw
from estim.profile.library import find_any
from estim.profile.loader import LoadedEntry, LoadedProfile
from estim.profile.models import NOT_REVIEWED, Basis, Profile
from estim.profile.table import Table
from estim.units import MS_PER_S, UA_PER_MA, format_ma, in_unit
from firmware_protocol.program import ChannelProgram, Keyframe

SHOW_SCHEMA = "estim.profile/1"

# The longest ending comes first.
_UNITS = {
    "_ma_per_cm2": "mA/cm2 RMS",
    "_ma_per_s": "mA/s",
    "_permille": "permille",
    "_cm2": "cm2",
    "_ma": "mA",
    "_uc": "uC",
    "_hz": "Hz",
    "_us": "us",
    "_s": "s",
}


def run_show(arguments: Namespace) -> int:
    """Print one profile with every derived figure; refuse what `run` refuses, but show it.

    An entry of the library, which cannot be run, is printed as what it says.

    Raises:
        ProfileError: there is no such profile, or it cannot be used.
        LimitRefused: a limit refuses the profile, or the amplitudes asked for.
    """
    loaded = find_any(arguments.profile)
    if isinstance(loaded, LoadedEntry):
        if arguments.area is not None or arguments.amplitude:
            raise loaded.refusal()
        profile_entry.show(loaded, arguments.json)
        return 0
    area_cm2 = given.area_cm2(arguments.area, loaded.profile)
    targets_ua = None
    if arguments.amplitude:
        targets_ua = given.targets_ua(arguments.amplitude, len(loaded.profile.channels))
    prepared = prepare(
        loaded.profile,
        is_bench=True,
        site=load_site(configuration_folder()),
        electrode_area_cm2=area_cm2,
        origin=loaded.origin,
    )
    if arguments.json:
        say_json(SHOW_SCHEMA, **document(loaded, prepared, targets_ua))
    else:
        _say_profile(loaded, prepared, targets_ua)
    if targets_ua is not None:
        check_targets(prepared, targets_ua)
    return 0


def _say_profile(
    loaded: LoadedProfile, prepared: Prepared, targets_ua: tuple[int, ...] | None
) -> None:
    profile = loaded.profile
    say(f"{profile.title}  ({profile.id} {profile.version})")
    if profile.review_status == NOT_REVIEWED:
        review = NOT_REVIEWED.upper()
    else:
        review = f"The file says: {profile.review_status}; Estim cannot check this"
    say(f"*** {review}. Estim is not a certified medical device. ***")
    if profile.bench_only_reason is not None:
        say_wrapped(f"FOR THE BENCH ONLY: {profile.bench_only_reason}", 0)
    say(f"for {', '.join(profile.indications)}; mode {profile.mode}")
    if profile.neuropathy is not None:
        say(neuropathy_words(profile.neuropathy))
    say(f"file {loaded.path}")
    say(f"sha256 {loaded.sha256}")
    _heading("Placement", profile.basis.placement)
    for number, channel in enumerate(profile.channels, start=1):
        say_wrapped(f"Channel {number}, {channel.name}: {channel.placement}")
    for line in draw([channel.pads for channel in profile.channels]):
        say(f"    {line}".rstrip())
    _heading("What flows", profile.basis.stimulus)
    _say_programs(prepared)
    _heading("Electrodes", profile.basis.electrode)
    _say_parameters(profile.electrode)
    _heading("Ceilings, rise, policy", profile.basis.ceilings)
    _say_parameters(profile.ceilings, profile.rise, profile.policy)
    _heading("Ceilings, and what binds them", None)
    _say_ceilings(prepared)
    ceilings_ua = tuple(line.ceiling_ua for line in prepared.ceilings)
    _say_limits("At the ceilings, tightest first", prepared, ceilings_ua)
    if targets_ua is not None:
        shown = ", ".join(format_ma(target_ua) for target_ua in targets_ua)
        _say_limits(f"At {shown} mA, tightest first", prepared, targets_ua)
    _heading("Dose", profile.basis.session)
    _say_parameters(profile.session)
    _say_guidance(profile)
    profile_entry.say_evidence(profile.evidence)


def _heading(title: str, basis: Basis | None) -> None:
    say()
    say(f"{title} [{basis.certainty}]" if basis else title)
    if basis:
        say_wrapped(f"({basis.source})")


def _say_programs(prepared: Prepared) -> None:
    told: dict[ChannelProgram, list[str]] = {}
    for number, channel in enumerate(prepared.program.channels, start=1):
        # The shift against other channels is no part of what a patient feels.
        told.setdefault(replace(channel, pulse_offset_us=0), []).append(str(number))
    for channel, numbers in told.items():
        say_wrapped(f"Channel {' and '.join(numbers)}: {_program_words(channel)}")
        if channel.keyframes:
            _say_keyframes(channel)


def _say_keyframes(channel: ChannelProgram) -> None:
    say(f"  modulated every {channel.keyframe_cycle_ms / MS_PER_S:g} s:")
    rows = [
        (
            f"{frame.at_ms / MS_PER_S:g}",
            f"{rate_hz(frame.pulse_period_us):g}",
            str(frame.pulse_period_us),
            str(channel.phase_us(channel.phases[0], frame.unit_us)),
            str(frame.amplitude_permille),
        )
        for frame in channel.keyframes
    ]
    say_table(("from s", "rate Hz", "period us", "first phase us", "amplitude permille"), rows, 4)


def _program_words(channel: ChannelProgram) -> str:
    """Say what a channel plays."""
    first = channel.settings[0]
    words = [f"pulse {_phases_words(channel, first)}"]
    if not channel.keyframes:
        words.append(_rate_words(first))
    if channel.pulses_per_burst:
        words.append(
            f"bursts of {channel.pulses_per_burst} pulses, {rate_hz(channel.burst_period_us):g} "
            f"a second (every {channel.burst_period_us} us)"
        )
    cycle = channel.cycle
    if cycle is not None:
        words.append(
            f"cycle of {cycle.total_ms / MS_PER_S:g} s: ramp up {cycle.ramp_up_ms / MS_PER_S:g} s, "
            f"on {cycle.on_ms / MS_PER_S:g} s, ramp down {cycle.ramp_down_ms / MS_PER_S:g} s, "
            f"off {cycle.off_ms / MS_PER_S:g} s"
        )
    return "; ".join(words)


def _phases_words(channel: ChannelProgram, setting: Keyframe) -> str:
    return " / ".join(
        f"{channel.phase_us(phase, setting.unit_us)} us "
        + ("gap" if phase.is_gap else f"{phase.amplitude_permille:+d} permille")
        for phase in channel.phases
    )


def _rate_words(setting: Keyframe) -> str:
    return f"{rate_hz(setting.pulse_period_us):g} Hz (every {setting.pulse_period_us} us)"


def _say_parameters(*tables: Table) -> None:
    rows = [
        _parameter(key, content)
        for table in tables
        for key, content in table.model_dump(mode="json", exclude_none=True).items()
    ]
    texts = [row for row in rows if " " in row[1]]
    say_table(("parameter", "setting", "unit"), [row for row in rows if row not in texts], indent=2)
    for name, text, _ in texts:
        say_wrapped(f"{name}: {text}")


def _parameter(key: str, content: Any) -> tuple[str, str, str]:
    unit = ""
    for ending, words in _UNITS.items():
        if key.endswith(ending):
            key, unit = key.removesuffix(ending), words
            break
    shown = str(content).lower() if isinstance(content, bool) else str(content)
    return key.replace("_", " "), shown, unit


_BINDING = "binding limit (whose)"


def _say_ceilings(prepared: Prepared) -> None:
    rows = [
        (str(line.channel), line.name, f"{line.ceiling_ua / UA_PER_MA:g} mA", binding_words(line))
        for line in prepared.ceilings
    ]
    say_table(("channel", "name", "ceiling", _BINDING), rows, indent=2, folding=(_BINDING, "name"))


def _say_limits(title: str, prepared: Prepared, amplitudes_ua: tuple[int, ...]) -> None:
    """Print a row for each limit; channels that share it share the row."""
    _heading(title, None)
    rows: dict[tuple[str, ...], list[str]] = {}
    for line in sorted(limit_lines(prepared, amplitudes_ua), key=lambda line: line.margin_permille):
        row = (
            limit_words(line.limit),
            ("at most " if line.is_upper_bound else "") + in_unit(line.figure, line.unit),
            in_unit(line.allowed, line.unit),
            f"{line.margin_permille / 10:.1f}%",
            line.owner,
            line.certainty,
        )
        rows.setdefault(row, []).append(str(line.channel))
    say_table(
        ("limit", "figure", "allowed", "margin", "whose", "sure", "channels"),
        [(*row, " ".join(channels)) for row, channels in rows.items()],
        indent=2,
        giving=("channels", "sure", "whose"),
        folding=("figure", "limit"),
    )


def _say_guidance(profile: Profile) -> None:
    _heading("Guidance", profile.basis.guidance)
    say_wrapped(f"Intensity: {profile.guidance.intensity}")
    say_wrapped(f"Expect: {profile.guidance.expect}")
    say("  Contraindications:")
    for text in profile.guidance.contraindications:
        say_wrapped(f"- {text}", 4)
    if profile.guidance.precautions:
        say("  Precautions:")
    for text in profile.guidance.precautions:
        say_wrapped(f"- {text}", 4)
