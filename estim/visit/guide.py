"""Guide through a visit: what each step asks, what its answers mean, what output waits for.

Rules:
1. What holds output back is worked out from what was confirmed, anew each time; nothing of it is
   stored, so nothing of it can be stale.
2. Every reason is told, not only the first.
3. A ceiling is only ever lowered on the way: by the plan, by sensation, by a first exposure.
4. What was delivered in this visit already counts: begun again and again, output never lasts longer
   in all than once at the longest.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from types import MappingProxyType

from estim.errors import LimitRefused, UsageError
from estim.profile import body_chart, library
from estim.profile.models import NEUROPATHY_KINDS, Profile
from estim.units import MS_PER_S, format_ma
from estim.visit import forms, instruments, pads, placement, screening, screening_items, sensation
from estim.visit import plan as plans
from estim.visit.course import Visit
from estim.visit.forms import Verdict
from estim.visit.history import Visit as PastVisit
from estim.visit.placement import Placement, Wanted
from estim.visit.plan import NO_PLAN, FoundPlan
from estim.visit.protocol import Step
from estim.visit.questions import (
    Answer,
    Answers,
    Choice,
    Form,
    Gravity,
    Kind,
    Question,
    Remark,
    missing,
)
from estim.visit.screening import Context, Screening
from estim.visit.sensation import SiteSensation

SITES_MORE_MAX = 4
SHORTEST_S = 60
"""A stimulation shorter than this is not begun again. [E]"""
TESTED_ON = "tested-on"
"""Kept with the answers of a sensation test: the day on which it was done."""

_AUTONOMIC = "neuropathy-autonomic"
_CAUSE = "neuropathy-cause"
_KIND = "neuropathy-kind"


Treatment = tuple[str, tuple[str, ...]]
"""A profile's id, and where the pads lie in the words that are read back."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """Answers of an earlier visit that may still hold.

    Attributes:
        session_id: the visit in which they were really asked.
        on: the day of that.
        read_back: profile and places that were read back in that visit.
        lines: question and answer, in words; made when the step comes.
    """

    session_id: str
    on: date
    answers: Answers
    read_back: frozenset[Treatment] = frozenset()
    lines: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What is known around a visit.

    Attributes:
        today: the day of the visit.
        sensation_valid_days, electrode_uses_max: figures of the site policy.
        clinicians: ids on the roster that may override.
        is_first_session: nothing was ever delivered to this person here.
        longest_ms: longest single delivery that is certain, by profile and places.
        planned: the plan that held before this visit.
        earlier: answers that may still hold, by the step's kind.
        asked_anew: why there are none, in words, by the step's kind.
        visits: past ones, newest first.
        has_patient_stop, is_patient_stop_reported: what the device says.
    """

    today: date
    sensation_valid_days: int
    electrode_uses_max: int
    clinicians: frozenset[str] = frozenset()
    is_first_session: bool = True
    longest_ms: Mapping[Treatment, int] = field(default_factory=lambda: MappingProxyType({}))
    planned: FoundPlan = NO_PLAN
    earlier: Mapping[str, Earlier] = field(default_factory=lambda: MappingProxyType({}))
    asked_anew: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    visits: tuple[PastVisit, ...] = ()
    has_patient_stop: bool = False
    is_patient_stop_reported: bool = False


@dataclass(frozen=True, slots=True)
class Arguments:
    """With what a profile is prepared for this person, and why, in words."""

    duration_s: int
    electrode_area_cm2: Decimal | None
    patient_ceiling_ua: int | None
    is_sensation_impaired: bool
    words: tuple[str, ...]


# What a step asks, and what the answers mean.


def form(step: Step, visit: Visit, given: Given, answers: Answers) -> Form:
    """Return what a step asks, given the answers so far."""
    if step.kind == "screen":
        asked = _neuropathy_form(visit)
        return (*asked, *screening.form(_context(visit, given, answers), answers))
    if step.kind == "consent":
        return forms.consent_form(is_first=_is_first(visit))
    if step.kind == "inspect_skin":
        return forms.skin_form(step, answers)
    if step.kind == "assess":
        return _assess_form(step, answers)
    if step.kind == "test_sensation":
        return _sensation_form(visit, answers)
    if step.kind == "try_stop":
        return forms.stop_form(has_patient_stop=given.has_patient_stop, is_first=_is_first(visit))
    if step.kind == "place_electrodes":
        return _placement_form(visit, given, answers)
    if step.kind in ("exercise", "manual_therapy"):
        return forms.exercise_form(step, answers)
    if step.kind == "adjunct":
        return forms.adjunct_form(step, answers)
    if step.kind == "educate":
        return forms.education_form(step, answers)
    if step.kind == "check":
        return forms.check_form(step, answers)
    if step.kind == "review" and not visit.protocol.is_for_people:
        return forms.acceptance_form(step, answers)
    if step.kind == "review":
        return forms.review_form(step, answers)
    return ()


def remarks(step: Step, visit: Visit, given: Given, answers: Answers) -> tuple[Remark, ...]:
    """Return what the answers so far mean, the gravest first."""
    if step.kind == "screen":
        return _screening_remarks(_screening(visit, given, answers))
    if step.kind == "test_sensation":
        return _sensation_remarks(visit, given, answers)
    if step.kind == "place_electrodes":
        found = _placement(visit, given, answers)
        told = _asked_so_far(found)
        return (*_all(Gravity.STOP, told), *_all(Gravity.CARE, found.cautions))
    if step.kind == "assess":
        return _assess_remarks(step, answers)
    if step.kind == "educate":
        return _all(Gravity.NOTE, step.points)
    verdict = _verdict(step, visit, given, answers)
    # What only says that a question is still open is no finding; of checks, nothing says that.
    is_open = step.kind != "check" and missing(form(step, visit, given, answers), answers)
    blocks = () if is_open else verdict.blocks
    return (*_all(Gravity.STOP, blocks), *_all(Gravity.CARE, verdict.cautions))


def stamped(step: Step, given: Given, answers: Answers) -> dict[str, Answer]:
    """Return answers as they are kept: a sensation test with the day on which it was done."""
    kept = dict(answers)
    if step.kind == "test_sensation":
        kept[TESTED_ON] = given.today.isoformat()
    return kept


def chart(step: Step | None, visit: Visit, answers: Answers) -> tuple[str, ...]:
    """Return the body chart with the pads, where a step is about places."""
    if step is None or step.kind not in ("test_sensation", "place_electrodes", "stimulate"):
        return ()
    if step.kind == "test_sensation":
        profile = _profile(visit, answers)
        marked = [tuple(channel.pads) for channel in profile.channels] if profile else []
    else:
        shown = answers if step.kind == "place_electrodes" else None
        marked = [sites for sites in sites_by_channel(visit, shown) if sites]
    return body_chart.draw(marked) if any(marked) else ()


# Output.


def output_problems(visit: Visit, given: Given) -> tuple[str, ...]:
    """Return everything that output on this person still waits for."""
    problems = [f"'{step.title}' is not done" for step in visit.missing_before_output()]
    screened = visit.answers("screen")
    if screened is not None:
        found = _screening(visit, given, screened)
        problems += [f"screening: '{question.words}' is not answered" for question in found.missing]
        problems += [f"screening: {each.words}" for each in (*found.stops, *found.clearances)]
    for step in visit.protocol.steps:
        if step.id in visit.answered:
            problems += _verdict(step, visit, given, visit.answered[step.id].answers).blocks
    if visit.answers("place_electrodes") is not None:
        problems += _placement(visit, given, None).problems
    if _profile(visit, None) is None:
        problems.append("no profile is chosen")
    planned = found_plan(visit, given)
    if planned.is_unreadable:
        problems.append(planned.words)
    return tuple(problems)


def found_plan(visit: Visit, given: Given) -> FoundPlan:
    """Return the plan that holds now: one made in this visit goes before one of an earlier."""
    if visit.plan is None:
        return given.planned
    try:
        return FoundPlan(plans.check(visit.plan, given.today), "planned in this visit")
    except UsageError as error:
        return FoundPlan(None, f"no plan holds: {error}: plan anew", is_unreadable=True)


def is_first_exposure(visit: Visit, given: Given) -> bool:
    """Tell whether this profile at these places has yet to be borne for a first exposure's time.

    Only what was delivered for certain, and in one go, counts.
    """
    profile = _profile(visit, None)
    if profile is None:
        return True
    borne_ms = given.longest_ms.get((profile.id, placement_words(visit)), 0)
    return borne_ms < profile.session.first_exposure_s * MS_PER_S


def profile_id(visit: Visit, answers: Answers | None = None) -> str:
    """Return the profile that was chosen with the sensation test; '' for none."""
    chosen = (visit.answers("test_sensation") or {}) if answers is None else answers
    offered = _offered(visit)
    if len(offered) == 1:
        return offered[0]
    found = chosen.get("profile")
    return str(found) if found in offered else ""


def profile(visit: Visit) -> Profile | None:
    """Return the profile by which sensation was tested and the pads were placed."""
    return _profile(visit, None)


def arguments(visit: Visit, given: Given, profile: Profile, delivered_ms: int = 0) -> Arguments:
    """Return with what the profile is prepared for this person.

    Args:
        visit, given: what was confirmed, and what is known around it.
        profile: what is to be delivered.
        delivered_ms: for how long current flowed in this visit already, whatever the profile.

    Raises:
        LimitRefused: less than a minute is left of what one visit may deliver (rule 4).
    """
    found = _placement(visit, given, None)
    words = list(found.cautions)
    session = profile.session
    is_first = is_first_exposure(visit, given)
    longest_s, whose = session.longest_duration_s, "the profile's longest duration"
    if is_first:
        longest_s, whose = session.first_exposure_s, "a first exposure"
    used_s = -(-delivered_ms // MS_PER_S)
    left_s = longest_s - used_s
    if left_s < min(SHORTEST_S, longest_s):
        raise LimitRefused(
            f"the time of this visit is used up: {used_s // 60} min {used_s % 60} s delivered, and "
            f"{whose} is {longest_s // 60} min in all"
        )
    duration_s = min(session.duration_s, left_s)
    if is_first:
        words.append(f"first exposure: {longest_s // 60} min, skin looked at after 5 and 10 min")
    if used_s:
        words.append(f"{used_s // 60} min {used_s % 60} s of {longest_s // 60} min are delivered")
    planned = found_plan(visit, given).plan
    ceiling_ua = planned.ceiling_ua if planned is not None else None
    if ceiling_ua is not None:
        words.append(f"the plan allows at most {format_ma(ceiling_ua)} mA")
    return Arguments(
        duration_s, found.area_cm2, ceiling_ua, found.is_sensation_impaired, tuple(words)
    )


def placement_words(visit: Visit) -> tuple[str, ...]:
    """Return site and side of every pad, as they are read back."""
    return tuple(placement.read_back(sites_by_channel(visit)))


def sites_by_channel(visit: Visit, answers: Answers | None = None) -> list[tuple[str, ...]]:
    """Return the sites of each channel's pads, as far as they are told."""
    given = visit.answers("place_electrodes") if answers is None else answers
    profile = _profile(visit, None)
    if profile is None or given is None:
        return []
    return pads.sites_by_channel(profile, given)


def placed(visit: Visit, given: Given, answers: Answers) -> Placement:
    """Return what answers about the pads come to, confirmed or not yet."""
    return _placement(visit, given, answers)


def sides(sites: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the parts of the body that pads lie on, each once: 'left leg', 'low back'."""
    return body_chart.parts(site for channel in sites for site in channel)


def overridable(visit: Visit, given: Given) -> tuple[tuple[str, str], ...]:
    """Return the screening items that hold output back: id and words."""
    screened = visit.answers("screen")
    if screened is None:
        return ()
    found = _screening(visit, given, screened)
    held = {each.item: each.words for each in (*found.stops, *found.clearances) if each.item}
    titles = {item.id: item.title for item in screening.items()}
    held |= {each: titles[each] for each in _local_yes(screened) if each not in held}
    return tuple(held.items())


# Screening.


def _neuropathy_form(visit: Visit) -> Form:
    about = visit.protocol.neuropathy
    if about is None:
        return ()
    kinds = tuple(Choice(kind, kind) for kind in NEUROPATHY_KINDS if kind != "autonomic")
    asked = [Question(_KIND, "Which kind of neuropathy is it, mainly?", Kind.CHOICE, kinds)]
    if len(about.causes) != 1:
        causes = tuple(Choice(cause, cause) for cause in about.causes)
        asked.append(Question(_CAUSE, "What is its cause?", Kind.CHOICE, causes))
    asked.append(
        Question(
            _AUTONOMIC,
            "Are autonomic nerves affected: faintness on standing, an unusual heart rate?",
            Kind.YES_NO,
            note="begin seated or lying, take the heart rate before and after",
        )
    )
    return tuple(asked)


def _context(visit: Visit, given: Given, answers: Answers) -> Context:
    about = visit.protocol.neuropathy
    cause = None
    if about is not None:
        cause = about.causes[0] if len(about.causes) == 1 else str(answers.get(_CAUSE, "")) or None
    kinds = {str(answers[_KIND])} if _KIND in answers else set()
    if answers.get(_AUTONOMIC) is True:
        kinds.add("autonomic")
    profiles = [_found(each) for each in _offered(visit)]
    return Context(
        is_motor=any(profile.is_motor for profile in profiles),
        is_first_session=given.is_first_session,
        cause=cause,
        kinds=frozenset(kinds),
        profile_sites=tuple(
            dict.fromkeys(pad for p in profiles for channel in p.channels for pad in channel.pads)
        ),
        clinicians=given.clinicians,
    )


def _screening(visit: Visit, given: Given, answers: Answers) -> Screening:
    return screening.judge(_context(visit, given, answers), answers, visit.overrides)


def _screening_remarks(found: Screening) -> tuple[Remark, ...]:
    graver = (*found.stops, *found.clearances)
    cautions = [each.words for each in (*found.cautions, *found.refused_overrides)]
    forbidden = dict.fromkeys(found.forbidden_sites.values())
    blocked = [
        f"the profile's site {site.replace('-', ' ')}" for site in found.blocked_profile_sites
    ]
    return (
        *_all(Gravity.STOP, [each.words for each in graver]),
        *_all(Gravity.CARE, [f"no pads {reason}" for reason in forbidden]),
        *_all(Gravity.CARE, [f"forbidden: {each}" for each in blocked]),
        *_all(Gravity.CARE, [each for each in cautions if each not in " ".join(forbidden)]),
        *_all(Gravity.NOTE, [each.words for each in (*found.prompts, *found.overridden)]),
    )


def _local_yes(answers: Answers) -> list[str]:
    return [
        item.id
        for item in screening.items()
        if item.gravity is screening_items.Gravity.LOCAL and answers.get(item.id) is True
    ]


# Sensation.


def _sensation_form(visit: Visit, answers: Answers) -> Form:
    asked: list[Question] = []
    offered = _offered(visit)
    if len(offered) > 1:
        choices = tuple(Choice(each, _found(each).title) for each in offered)
        asked.append(Question("profile", "Which treatment is it to be?", Kind.CHOICE, choices))
    profile = _profile(visit, answers)
    if profile is None:
        return tuple(asked)
    more = _more_sites(answers)
    asked += sensation.form([*_pads(profile), *more])
    for number in range(1, SITES_MORE_MAX + 1):
        asked.append(Question(f"more-{number}", "Is another site to be tested?", Kind.YES_NO))
        if answers.get(f"more-{number}") is not True:
            break
        asked.append(Question(f"site-{number}", "Which site?", Kind.CHOICE, placement.SITE_CHOICES))
    return tuple(asked)


def _more_sites(answers: Answers) -> list[str]:
    told = [
        str(answers.get(f"site-{number}", ""))
        for number in range(1, SITES_MORE_MAX + 1)
        if answers.get(f"more-{number}") is True
    ]
    return [site for site in told if site in body_chart.SITES]


def _sensation(visit: Visit, given: Given, answers: Answers | None) -> Mapping[str, SiteSensation]:
    told = visit.answers("test_sensation") if answers is None else answers
    profile = _profile(visit, told)
    if told is None or profile is None:
        return {}
    tested_on = given.today
    if answers is None:
        try:
            tested_on = date.fromisoformat(str(told.get(TESTED_ON)))
        except ValueError:
            return {}
    sites = list(dict.fromkeys([*_pads(profile), *_more_sites(told)]))
    valid_days = given.sensation_valid_days
    return sensation.judge(sites, told, tested_on, given.today, valid_days)


def _sensation_remarks(visit: Visit, given: Given, answers: Answers) -> tuple[Remark, ...]:
    if sensation.IS_BLINDED not in answers:
        return _all(Gravity.NOTE, sensation.INSTRUCTIONS)
    found: list[Remark] = []
    for each in _sensation(visit, given, answers).values():
        if each.state is sensation.State.NOT_TESTED and answers[sensation.IS_BLINDED] is True:
            continue  # not asked yet
        gravity = Gravity.NOTE
        if not each.is_allowed:
            gravity = Gravity.STOP
        elif each.lowers_ceilings:
            gravity = Gravity.CARE
        found.append(Remark(gravity, each.words))
        found += _all(Gravity.NOTE, each.alternatives)
    return tuple(sorted(found, key=lambda remark: list(Gravity).index(remark.gravity)))


# Placement.


def _placement_form(visit: Visit, given: Given, answers: Answers) -> Form:
    profile = _profile(visit, None)
    return () if profile is None else pads.form(profile, _wanted(visit, given, profile), answers)


def _wanted(visit: Visit, given: Given, profile: Profile) -> Wanted:
    return Wanted(
        pads_by_channel=tuple(len(channel.pads) for channel in profile.channels),
        minimum_area_cm2=profile.electrode.minimum_area_cm2,
        forbidden_sites=forbidden_sites(visit, given),
        sensation=_sensation(visit, given, None),
        today=given.today,
        uses_max=given.electrode_uses_max,
    )


def forbidden_sites(visit: Visit, given: Given) -> Mapping[str, str]:
    """Return every site where no pad may go, with the reason: screening and skin."""
    screened = visit.answers("screen")
    found = dict(_screening(visit, given, screened).forbidden_sites) if screened else {}
    for step in visit.protocol.steps:
        if step.kind == "inspect_skin" and step.id in visit.answered:
            found |= forms.skin_verdict(step, visit.answered[step.id].answers).forbidden
    return found


def _placement(visit: Visit, given: Given, answers: Answers | None) -> Placement:
    profile = _profile(visit, None)
    told = visit.answers("place_electrodes") if answers is None else answers
    if profile is None or told is None:
        return Placement(("no profile is chosen",), (), (), (), True, ())
    return placement.judge(_wanted(visit, given, profile), pads.expanded(profile, told))


def _asked_so_far(found: Placement) -> list[str]:
    """Leave out of the problems what only says that a question is still open."""
    return [each for each in found.problems if "not told" not in each and "missing" not in each]


# Assessments.


def _assess_form(step: Step, answers: Answers) -> Form:
    asked: list[Question] = []
    for name in step.instruments:
        asked += instruments.BY_ID[name].form
    return tuple(asked)


def _assess_remarks(step: Step, answers: Answers) -> tuple[Remark, ...]:
    found = []
    for name in step.instruments:
        instrument = instruments.BY_ID[name]
        if all(question.id in answers or question.is_optional for question in instrument.form):
            found.append(Remark(Gravity.NOTE, instrument.score(answers).words))
    return tuple(found)


# What several steps share.


def _verdict(step: Step, visit: Visit, given: Given, answers: Answers) -> Verdict:
    if step.kind == "consent":
        return forms.consent_verdict(answers, is_first=_is_first(visit))
    if step.kind == "inspect_skin":
        return forms.skin_verdict(step, answers)
    if step.kind == "try_stop":
        return forms.stop_verdict(
            answers,
            has_patient_stop=given.has_patient_stop,
            is_reported=given.is_patient_stop_reported,
        )
    if step.kind == "check":
        return forms.check_verdict(step, answers)
    if step.kind == "adjunct":
        felt = _sensation(visit, given, None).values()
        is_normal = all(each.state is sensation.State.NORMAL for each in felt)
        return forms.adjunct_verdict(answers, is_sensation_normal=is_normal)
    return Verdict()


def _is_first(visit: Visit) -> bool:
    return visit.protocol.visit != "follow-up"


def _offered(visit: Visit) -> tuple[str, ...]:
    steps = [step for step in visit.protocol.steps if step.kind == "stimulate"]
    return tuple(dict.fromkeys(each for step in steps for each in step.profiles))


@functools.cache
def _found(name: str) -> Profile:
    return library.find(name).profile


def _profile(visit: Visit, answers: Answers | None) -> Profile | None:
    chosen = profile_id(visit, answers)
    return _found(chosen) if chosen else None


def _pads(profile: Profile) -> list[str]:
    return [pad for channel in profile.channels for pad in channel.pads]


def _all(gravity: Gravity, texts: Sequence[str]) -> tuple[Remark, ...]:
    return tuple(Remark(gravity, text) for text in texts)
