"""Judge the steps that gate places and ceilings: screening, sensation, pads.

Rules:
1. What an answer means is worked out from what was confirmed, anew each time.
2. Where a test of sensation is looked at later, the day on which it was done counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from estim.profile import body_chart
from estim.profile.models import Profile
from estim.visit import forms, pads, placement, screening, screening_items, sensation, treatment
from estim.visit.course import Visit
from estim.visit.known import Given
from estim.visit.placement import Placement, Problem, Wanted
from estim.visit.questions import Answers
from estim.visit.screening import Context, Screening
from estim.visit.sensation import SiteSensation

SITES_MORE_MAX = 4
"""So many sites may be tested besides the profile's."""
TESTED_ON = "tested-on"
"""Kept with the answers of a sensation test: the day on which it was done."""

AUTONOMIC = "neuropathy-autonomic"
CAUSE = "neuropathy-cause"
KIND = "neuropathy-kind"
"""What is asked of a neuropathy before the screening."""

# Screening.


def context(visit: Visit, given: Given, answers: Answers) -> Context:
    """Return what the screening has to know."""
    about = visit.protocol.neuropathy
    cause = None
    if about is not None:
        cause = about.causes[0] if len(about.causes) == 1 else str(answers.get(CAUSE, "")) or None
    kinds = {str(answers[KIND])} if KIND in answers else set()
    if answers.get(AUTONOMIC) is True:
        kinds.add("autonomic")
    profiles = [treatment.named(visit, each) for each in treatment.offered(visit)]
    sites = dict.fromkeys(pad for profile in profiles for pad in treatment.pad_sites(profile))
    return Context(
        is_motor=any(profile.is_motor for profile in profiles),
        is_first_session=given.is_first_session,
        cause=cause,
        kinds=frozenset(kinds),
        profile_sites=tuple(sites),
        clinicians=given.clinicians,
    )


def screened(visit: Visit, given: Given, answers: Answers) -> Screening:
    """Return what the answers of the screening mean."""
    return screening.judge(context(visit, given, answers), answers, visit.overrides)


def overridable(visit: Visit, given: Given) -> tuple[tuple[str, str], ...]:
    """Return the screening items that hold output back: id and words."""
    answers = visit.answers("screen")
    if answers is None:
        return ()
    found = screened(visit, given, answers)
    held = {each.item: each.words for each in (*found.stops, *found.clearances) if each.item}
    for item in screening.items():
        is_local = item.gravity is screening_items.Gravity.LOCAL
        if is_local and answers.get(item.id) is True and item.id not in held:
            held[item.id] = item.title
    return tuple(held.items())


def forbidden_sites(visit: Visit, given: Given) -> Mapping[str, str]:
    """Return every site where no pad may go, with the reason: screening and skin."""
    answers = visit.answers("screen")
    found = dict(screened(visit, given, answers).forbidden_sites) if answers else {}
    for step in visit.protocol.steps:
        if step.kind == "inspect_skin" and step.id in visit.answered:
            found |= forms.skin_verdict(step, visit.answered[step.id].answers).forbidden
    return found


# Sensation.


def more_sites(answers: Answers) -> list[str]:
    """Return the sites that somebody wanted tested besides the profile's."""
    told = [
        str(answers.get(f"site-{number}", ""))
        for number in range(1, SITES_MORE_MAX + 1)
        if answers.get(f"more-{number}") is True
    ]
    return [site for site in told if site in body_chart.SITES]


def felt(visit: Visit, given: Given, answers: Answers | None = None) -> Mapping[str, SiteSensation]:
    """Return what sensation is by site: by answers of today, or by what was confirmed (rule 2)."""
    told = visit.answers("test_sensation") if answers is None else answers
    profile = treatment.profile(visit, told)
    if told is None or profile is None:
        return {}
    tested_on = given.today
    if answers is None:
        try:
            tested_on = date.fromisoformat(str(told.get(TESTED_ON)))
        except ValueError:
            return {}
    sites = list(dict.fromkeys([*treatment.pad_sites(profile), *more_sites(told)]))
    return sensation.judge(sites, told, tested_on, given.today, given.sensation_valid_days)


# Pads.


def wanted(visit: Visit, given: Given, profile: Profile) -> Wanted:
    """Return what has to be placed, and what holds for it."""
    return Wanted(
        pads_by_channel=tuple(len(channel.pads) for channel in profile.channels),
        minimum_area_cm2=profile.electrode.minimum_area_cm2,
        forbidden_sites=forbidden_sites(visit, given),
        sensation=felt(visit, given),
        today=given.today,
        uses_max=given.electrode_uses_max,
    )


def placed(visit: Visit, given: Given, answers: Answers | None = None) -> Placement:
    """Return what answers about the pads come to, those that were confirmed if None."""
    profile = treatment.profile(visit)
    told = visit.answers("place_electrodes") if answers is None else answers
    if profile is None or told is None:
        return Placement((Problem("no profile is chosen"),), (), (), (), True, ())
    return placement.judge(wanted(visit, given, profile), pads.expanded(profile, told))
