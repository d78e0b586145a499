"""Say which profile a visit delivers, and where its pads lie.

Rules:
1. A visit goes on with the profiles that were read when it began: what is edited, or deleted,
   meanwhile changes nothing in it. Where none were read, as of a visit of the past, it is the
   library's that serve for words.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from estim.profile import body_chart, library
from estim.profile.models import Profile
from estim.visit import pads, placement
from estim.visit.course import Visit
from estim.visit.questions import Answers


def offered(visit: Visit) -> tuple[str, ...]:
    """Return the id of every profile that the protocol may deliver, each once."""
    steps = [step for step in visit.protocol.steps if step.kind == "stimulate"]
    return tuple(dict.fromkeys(each for step in steps for each in step.profiles))


def named(visit: Visit, profile_id: str) -> Profile:
    """Return a profile that the protocol offers (rule 1).

    Raises:
        ProfileError: of a visit of the past, where the library has it no more.
    """
    loaded = visit.profiles.get(profile_id)
    return loaded.profile if loaded is not None else _of_library(profile_id)


def profile_id(visit: Visit, answers: Answers | None = None) -> str:
    """Return the profile that was chosen with the sensation test; '' for none."""
    chosen = (visit.answers("test_sensation") or {}) if answers is None else answers
    choices = offered(visit)
    if len(choices) == 1:
        return choices[0]
    found = chosen.get("profile")
    return str(found) if found in choices else ""


def profile(visit: Visit, answers: Answers | None = None) -> Profile | None:
    """Return the profile by which sensation is tested and the pads are placed."""
    chosen = profile_id(visit, answers)
    return named(visit, chosen) if chosen else None


def pad_sites(chosen: Profile) -> list[str]:
    """Return the sites where a profile would have its pads."""
    return [pad for channel in chosen.channels for pad in channel.pads]


def sites_by_channel(visit: Visit, answers: Answers | None = None) -> list[tuple[str, ...]]:
    """Return the sites of each channel's pads, as far as they are told."""
    given = visit.answers("place_electrodes") if answers is None else answers
    chosen = profile(visit)
    if chosen is None or given is None:
        return []
    return pads.sites_by_channel(chosen, given)


def placement_words(visit: Visit) -> tuple[str, ...]:
    """Return site and side of every pad, as they are read back."""
    return tuple(placement.read_back(sites_by_channel(visit)))


def sides(sites: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the parts of the body that pads lie on, each once: 'left leg', 'low back'."""
    return body_chart.parts(site for channel in sites for site in channel)


@functools.cache
def _of_library(profile_id: str) -> Profile:
    return library.find(profile_id).profile
