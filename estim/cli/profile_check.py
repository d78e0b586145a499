"""`estim profiles check`: whether files are profiles, and whether every limit lets them through.

A file that is no usable profile counts 2, one that a limit refuses 4; the exit code is the worst.
What is allowed but unusual is a warning, and changes no exit code.
"""

from __future__ import annotations

from argparse import Namespace

from estim.cli.arguments import area_cm2
from estim.cli.console import complain, progress, say, say_json
from estim.cli.profile_figures import binding_words, limit_words
from estim.drivers.base import Fitting, Stimulator
from estim.drivers.registry import driver_class
from estim.errors import EstimError, LimitRefused, ProfileError, UsageError
from estim.prepare.report import LimitLine, preview
from estim.prepare.session import REFERENCE, Prepared, prepare
from estim.profile.library import entry_ids, find, shipped_ids
from estim.profile.loader import load
from estim.profile.models import Profile
from estim.units import UA_PER_MA, in_unit
from firmware_protocol.errors import ProtocolError
from firmware_protocol.limits import BY_NAME

SCHEMA = "estim.profile-check/1"


def run(arguments: Namespace) -> int:
    """Check every file; say of each that it is fine, or the one thing that is wrong with it."""
    driver = driver_class(f"{arguments.driver}:") if arguments.driver else None
    codes = []
    for number, name in enumerate(arguments.profiles, start=1):
        with progress(f"checking {number} of {len(arguments.profiles)}"):
            code, problem, warnings = _check(name, arguments.area, driver)
        codes.append(code)
        if problem:
            complain(problem)
        for warning in warnings:
            complain(f"warning: {name}: {warning}")
        if arguments.json:
            say_json(SCHEMA, file=name, exit_code=code, problem=problem, warnings=warnings)
        elif not code:
            say(f"ok  {name}")
    return max(codes)


def _check(
    name: str, area: str | None, driver: type[Stimulator] | None
) -> tuple[int, str, list[str]]:
    """Return the exit code of one profile, what is wrong with it, and what is worth a warning."""
    try:
        loaded = find(name) if name in (*shipped_ids(), *entry_ids()) else load(name)
        profile = loaded.profile
        prepared = prepare(
            profile,
            (driver.capabilities if driver is not None else None) or REFERENCE,
            is_bench=profile.is_bench_only,
            electrode_area_cm2=area_cm2(area, profile) or profile.electrode.recommended_area_cm2,
            origin=loaded.origin,
        )
        _check_ceilings(prepared)
        fitting = driver.fitting(prepared.program) if driver is not None else Fitting()
        if fitting.lacks:
            raise LimitRefused(f"this kind of device cannot play it: {'; '.join(fitting.lacks)}")
    except (ProfileError, UsageError) as error:
        return error.exit_code, str(error), []
    except (EstimError, ProtocolError) as error:
        return LimitRefused.exit_code, f"{name}: {error}", []
    return 0, "", [*_warnings(profile, prepared), *fitting.remarks]


def _check_ceilings(prepared: Prepared) -> None:
    """Refuse a profile of which some channel could never deliver anything."""
    for line in prepared.ceilings:
        if line.ceiling_ua < prepared.program.channels[line.channel - 1].grid_ua(
            prepared.bounds.amplitude_step_ua
        ):
            reasons = "; ".join(str(reason) for reason in line.reasons)
            raise LimitRefused(f"no amplitude passes: {reasons}")


def _warnings(profile: Profile, prepared: Prepared) -> list[str]:
    warnings = []
    for channel, line in zip(profile.channels, prepared.ceilings, strict=True):
        if line.ceiling_ua < channel.amplitude_ceiling_ua:
            warnings.append(
                f"channel {line.channel}: its ceiling of {channel.amplitude_ceiling_ma} mA is out "
                f"of reach: {binding_words(line)} binds at {line.ceiling_ua / UA_PER_MA:g} mA"
            )
    recommended = {_above_recommended(line): None for line in preview(prepared)}
    return [*warnings, *filter(None, recommended)]


def _above_recommended(line: LimitLine) -> str:
    recommended = BY_NAME[line.limit].recommended_max
    if recommended is None or line.figure <= recommended:
        return ""
    return (
        f"{limit_words(line.limit)}: {in_unit(line.figure, line.unit)}, "
        f"recommended at most {in_unit(recommended, line.unit)}"
    )
