"""Whether a device can make a profile, and what it lacks if not."""

from __future__ import annotations

from dataclasses import dataclass

from estim.drivers.base import Stimulator
from estim.drivers.native import NativeStimulator
from estim.errors import LimitRefused
from estim.prepare.session import prepare
from estim.prepare.site import SitePolicy
from estim.profile.loader import LoadedProfile
from estim.waveform.compile import compile_profile
from firmware_protocol.capabilities import shortfalls
from firmware_protocol.messages import Capabilities


@dataclass(frozen=True, slots=True)
class Fit:
    """What a device can do with a profile.

    Attributes:
        missing: one sentence for each thing that it lacks; empty if it can make the profile.
        remarks: one sentence for each thing that it plays otherwise than written.
        ceilings_ua: how far each channel may rise on it; empty if it cannot.
    """

    missing: tuple[str, ...]
    ceilings_ua: tuple[int, ...]
    remarks: tuple[str, ...] = ()


def fit(
    loaded: LoadedProfile,
    capabilities: Capabilities,
    site: SitePolicy,
    driver: type[Stimulator] = NativeStimulator,
) -> Fit:
    """Compare a profile with a device; raise ProfileError where it cannot be compiled at all."""
    program = compile_profile(loaded.profile, loaded.origin)
    fitting = driver.fitting(program)
    missing = (*shortfalls(program, capabilities), *fitting.lacks)
    if missing:
        return Fit(missing, ())
    try:
        prepared = prepare(
            loaded.profile, capabilities, is_bench=True, site=site, origin=loaded.origin
        )
    except LimitRefused as error:
        return Fit((str(error),), ())
    return Fit((), tuple(line.ceiling_ua for line in prepared.ceilings), fitting.remarks)
