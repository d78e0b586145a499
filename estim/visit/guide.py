"""Guide through a visit: what each step asks, what its answers mean, what output waits for.

Rules:
1. What holds output back is worked out from what was confirmed, anew each time; nothing of it is
   stored, so nothing of it can be stale.
2. Every reason is told, not only the first.
3. A ceiling is only ever lowered on the way: by the plan, by sensation, by a first exposure.
4. What was delivered in this visit already counts, and in one of today that was cut off: begun
   again and again, output never lasts longer in all than once at the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from estim.errors import LimitRefused, UsageError
from estim.profile import body_chart
from estim.profile.models import NEUROPATHY_KINDS, Profile
from estim.units import MS_PER_S, format_ma
from estim.visit import forms, gates, instruments, pads, placement, screening, sensation, treatment
from estim.visit import plan as plans
from estim.visit.course import Visit
from estim.visit.forms import Verdict
from estim.visit.known import Given
from estim.visit.plan import FoundPlan
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
from estim.visit.screening import Screening

SHORTEST_S = 60
"""A stimulation shorter than this is not begun again. [E]"""


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
        return (*asked, *screening.form(gates.context(visit, given, answers), answers))
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
        return _screening_remarks(gates.screened(visit, given, answers))
    if step.kind == "test_sensation":
        return _sensation_remarks(visit, given, answers)
    if step.kind == "place_electrodes":
        found = gates.placed(visit, given, answers)
        return (*_all(Gravity.STOP, found.wrong), *_all(Gravity.CARE, found.cautions))
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
        kept[gates.TESTED_ON] = given.today.isoformat()
    return kept


def chart(step: Step | None, visit: Visit, answers: Answers) -> tuple[str, ...]:
    """Return the body chart with the pads, where a step is about places."""
    if step is None or step.kind not in ("test_sensation", "place_electrodes", "stimulate"):
        return ()
    if step.kind == "test_sensation":
        profile = treatment.profile(visit, answers)
        marked = [tuple(channel.pads) for channel in profile.channels] if profile else []
    else:
        shown = answers if step.kind == "place_electrodes" else None
        marked = [sites for sites in treatment.sites_by_channel(visit, shown) if sites]
    return body_chart.draw(marked) if any(marked) else ()


# Output.


def output_problems(visit: Visit, given: Given) -> tuple[str, ...]:
    """Return everything that output on this person still waits for."""
    problems = [f"'{step.title}' is not done" for step in visit.missing_before_output()]
    screened = visit.answers("screen")
    if screened is not None:
        found = gates.screened(visit, given, screened)
        problems += [f"screening: '{question.words}' is not answered" for question in found.missing]
        problems += [f"screening: {each.words}" for each in (*found.stops, *found.clearances)]
    for step in visit.protocol.steps:
        if step.id in visit.answered:
            problems += _verdict(step, visit, given, visit.answered[step.id].answers).blocks
    if visit.answers("place_electrodes") is not None:
        problems += gates.placed(visit, given).problems
    if treatment.profile(visit) is None:
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
    profile = treatment.profile(visit)
    if profile is None:
        return True
    borne_ms = given.longest_ms.get((profile.id, treatment.placement_words(visit)), 0)
    return borne_ms < profile.session.first_exposure_s * MS_PER_S


def arguments(visit: Visit, given: Given, profile: Profile, delivered_ms: int = 0) -> Arguments:
    """Return with what the profile is prepared for this person.

    Args:
        visit, given: what was confirmed, and what is known around it.
        profile: what is to be delivered.
        delivered_ms: for how long current flowed in this visit already, whatever the profile.

    Raises:
        LimitRefused: less than a minute is left of what one visit may deliver (rule 4).
    """
    found = gates.placed(visit, given)
    words = list(found.cautions)
    session = profile.session
    is_first = is_first_exposure(visit, given)
    longest_s, whose = session.longest_duration_s, "the profile's longest duration"
    if is_first:
        longest_s, whose = session.first_exposure_s, "a first exposure"
    used_s = -(-(delivered_ms + given.delivered_ms) // MS_PER_S)
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


# Screening.


def _neuropathy_form(visit: Visit) -> Form:
    about = visit.protocol.neuropathy
    if about is None:
        return ()
    kinds = tuple(Choice(kind, kind) for kind in NEUROPATHY_KINDS if kind != "autonomic")
    asked = [Question(gates.KIND, "Which kind of neuropathy is it, mainly?", Kind.CHOICE, kinds)]
    if len(about.causes) != 1:
        causes = tuple(Choice(cause, cause) for cause in about.causes)
        asked.append(Question(gates.CAUSE, "What is its cause?", Kind.CHOICE, causes))
    asked.append(
        Question(
            gates.AUTONOMIC,
            "Are autonomic nerves affected: faintness on standing, an unusual heart rate?",
            Kind.YES_NO,
            note="begin seated or lying, take the heart rate before and after",
        )
    )
    return tuple(asked)


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


# Sensation.


def _sensation_form(visit: Visit, answers: Answers) -> Form:
    asked: list[Question] = []
    offered = treatment.offered(visit)
    if len(offered) > 1:
        choices = tuple(Choice(each, treatment.named(visit, each).title) for each in offered)
        asked.append(Question("profile", "Which treatment is it to be?", Kind.CHOICE, choices))
    profile = treatment.profile(visit, answers)
    if profile is None:
        return tuple(asked)
    more = gates.more_sites(answers)
    asked += sensation.form([*treatment.pad_sites(profile), *more])
    for number in range(1, gates.SITES_MORE_MAX + 1):
        asked.append(Question(f"more-{number}", "Is another site to be tested?", Kind.YES_NO))
        if answers.get(f"more-{number}") is not True:
            break
        asked.append(Question(f"site-{number}", "Which site?", Kind.CHOICE, placement.SITE_CHOICES))
    return tuple(asked)


def _sensation_remarks(visit: Visit, given: Given, answers: Answers) -> tuple[Remark, ...]:
    if sensation.IS_BLINDED not in answers:
        return _all(Gravity.NOTE, sensation.INSTRUCTIONS)
    found: list[Remark] = []
    for each in gates.felt(visit, given, answers).values():
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
    profile = treatment.profile(visit)
    if profile is None:
        return ()
    return pads.form(profile, gates.wanted(visit, given, profile), answers)


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
        felt = gates.felt(visit, given).values()
        is_normal = all(each.state is sensation.State.NORMAL for each in felt)
        return forms.adjunct_verdict(answers, is_sensation_normal=is_normal)
    return Verdict()


def _is_first(visit: Visit) -> bool:
    return visit.protocol.visit != "follow-up"


def _all(gravity: Gravity, texts: Sequence[str]) -> tuple[Remark, ...]:
    return tuple(Remark(gravity, text) for text in texts)
