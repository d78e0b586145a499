"""Say what earlier visits give to today's: what is known before it, and what its steps may show.

Rules:
1. Nothing here answers a question: what may be shown is shown, and somebody says whether it has
   changed. What may not be shown is asked anew, with the reason in words.
2. What is shown answers everything that today's form asks. Pads are shown only where today's
   profile puts them in the very places that were read back then.
3. Anything that was ever delivered, for certain or not, ends 'never stimulated here'. A first
   exposure is over only once the same profile, in the same places, was delivered for certain as
   long as it lasts: another profile or place is a first exposure again.
4. A plan that cannot be read lifts no ceiling: output waits until somebody plans anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from types import MappingProxyType

from estim.errors import UsageError
from estim.profile.body_chart import SITES
from estim.visit import carry, guide, placement, questions, resume, sensation, treatment
from estim.visit.carry import MAY_BE_CARRIED, PLACE, Offer
from estim.visit.course import Visit
from estim.visit.gates import TESTED_ON
from estim.visit.history import Visit as PastVisit
from estim.visit.history import find
from estim.visit.known import Earlier, Given, Treatment
from estim.visit.plan import plan_of
from estim.visit.protocol import Step
from estim.visit.questions import Answer, Answers, Form, Gravity, Question

_SENSATION = "test_sensation"
_PAD_WORDS = {
    "alike": "all of one size and packet",
    "area": "area of the gel",
    "uses": "use of these pads",
    "gap": "gap narrower than a pad, or they touch",
    "edges": "an edge lifts, or skin wet, oily or hairy",
}
NOES_MAX = 2
"""More noes than this are told in one line."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a step shows of earlier visits; without answers, `words` say why it is asked anew."""

    earlier: Earlier | None
    words: str = ""


def given(
    visits: Sequence[PastVisit],
    today: date,
    *,
    screening_valid_days: int,
    sensation_valid_days: int,
    electrode_uses_max: int,
    clinicians: frozenset[str],
    protocol_id: str = "",
) -> Given:
    """Return what is known before a visit.

    Args:
        visits: of this person, all of them, newest first, without today's.
        today: the day.
        screening_valid_days, sensation_valid_days, electrode_uses_max: of the site policy.
        clinicians: ids on the roster that may override.
        protocol_id: by which the visit is walked; '' takes nothing from one that was cut off.
    """
    earlier: dict[str, Earlier] = {}
    anew: dict[str, str] = {}
    for kind in MAY_BE_CARRIED:
        days = sensation_valid_days if kind == _SENSATION else screening_valid_days
        carried = carry.answers_of(visits, kind, today, days)
        if carried.session_id is None or carried.asked_on is None:
            if visits:
                anew[kind] = carried.words
            continue
        answers = carry.counted_up(carried.answers) if kind == PLACE else carried.answers
        origin = find(visits, carried.session_id)
        read_back = _read_back(origin) if origin is not None else frozenset()
        earlier[kind] = Earlier(carried.session_id, carried.asked_on, answers, read_back)
    cut_off = resume.cut_off(visits, protocol_id, today)
    return Given(
        today=today,
        sensation_valid_days=sensation_valid_days,
        electrode_uses_max=electrode_uses_max,
        clinicians=clinicians,
        is_first_session=not any(_has_run(visit) for visit in visits),
        longest_ms=MappingProxyType(_longest_ms(visits)),
        planned=plan_of(visits),
        earlier=MappingProxyType(earlier),
        asked_anew=MappingProxyType(anew),
        cut_off=MappingProxyType(resume.earlier(cut_off)),
        cut_off_anew=MappingProxyType(resume.asked_anew(cut_off)),
        delivered_ms=resume.delivered_ms(cut_off),
        visits=tuple(visits),
    )


def shown(step: Step, visit: Visit, known: Given) -> Shown:
    """Return what a step of today's visit shows of earlier ones."""
    earlier = known.earlier.get(step.kind) or known.cut_off.get(step.id)
    if earlier is None:
        return Shown(None, known.asked_anew.get(step.kind) or known.cut_off_anew.get(step.id, ""))
    why = _why_anew(step, visit, known, earlier)
    if why:
        return Shown(None, f"asked anew: {why}")
    return Shown(replace(earlier, lines=tuple(_lines(step, visit, known, earlier))))


def markers(
    visit: Visit, known: Given, program_digest: int, ceilings_ua: tuple[int, ...]
) -> tuple[Offer, ...]:
    """Return each channel's last comfortable level as far as it serves today, in words too.

    How it feels hangs on sensation, so a level holds as long as a test of sensation does.

    Args:
        visit: today's, with the pads placed.
        known: what is known around it.
        program_digest: of what is loaded.
        ceilings_ua: of what is loaded, by channel.
    """
    loaded = carry.Today(
        known.today,
        treatment.profile_id(visit),
        program_digest,
        treatment.placement_words(visit),
        ceilings_ua,
    )
    return carry.comfortable(known.visits, loaded, known.sensation_valid_days)


# What was delivered.


def _has_run(visit: PastVisit) -> bool:
    return any(each.has_run or each.is_uncertain for each in visit.facts.stimulations)


def _longest_ms(visits: Sequence[PastVisit]) -> dict[Treatment, int]:
    found: dict[Treatment, int] = {}
    for visit in visits:
        if visit.problem or visit.facts.corrections:
            continue  # it may be another person's, or another place
        for each in visit.facts.stimulations:
            if each.placement is None or each.delivered_ms is None or each.is_uncertain:
                continue
            treatment = each.profile_id, each.placement
            found[treatment] = max(found.get(treatment, 0), each.delivered_ms)
    return found


def _read_back(visit: PastVisit) -> frozenset[Treatment]:
    told = visit.facts.stimulations
    return frozenset((e.profile_id, e.placement) for e in told if e.placement is not None)


# Whether earlier answers may be shown.


def _why_anew(step: Step, visit: Visit, known: Given, earlier: Earlier) -> str:
    """Say why earlier answers do not serve today; '' where they do."""
    for question in guide.form(step, visit, known, earlier.answers):
        if question.id not in earlier.answers:
            if question.is_optional:
                continue
            return f"'{question.words}' was not asked on {earlier.on}"
        try:
            questions.check(question, earlier.answers[question.id])
        except UsageError as error:
            return str(error)
    if step.kind == _SENSATION:
        return _why_sensation_anew(known, earlier.answers)
    if step.kind == PLACE:
        wanted = treatment.profile_id(visit), _places(visit, earlier.answers)
        if wanted not in earlier.read_back:
            return "other places, or another profile, than were read back then"
        remarks = guide.remarks(step, visit, known, earlier.answers)
        return next((each.text for each in remarks if each.gravity is Gravity.STOP), "")
    return ""


def _why_sensation_anew(known: Given, answers: Answers) -> str:
    try:
        tested_on = date.fromisoformat(str(answers.get(TESTED_ON)))
    except ValueError:
        return "nobody wrote down when sensation was tested"
    if tested_on > known.today:
        return f"sensation was tested on {tested_on}, which is after today"
    if known.today > tested_on + timedelta(days=known.sensation_valid_days):
        return f"sensation was tested on {tested_on}, over {known.sensation_valid_days} days ago"
    return ""


def _places(visit: Visit, answers: Answers) -> tuple[str, ...]:
    return tuple(placement.read_back(treatment.sites_by_channel(visit, answers)))


# In words.


def _lines(step: Step, visit: Visit, known: Given, earlier: Earlier) -> Iterator[tuple[str, str]]:
    """Yield every earlier answer in words: what is not a no first, many noes in one line."""
    answers = earlier.answers
    left = dict(answers)
    if step.kind == PLACE:
        for words in _places(visit, answers):
            channel, _, places = words.partition(": ")
            yield channel, places
        left = {n: a for n, a in left.items() if n != "as-profile" and not n.endswith("-site")}
    elif step.kind == _SENSATION:
        yield "tested on", str(left.pop(TESTED_ON))
        yield from _site_lines(left)
    asked = _by_id(
        guide.form(step, visit, replace(known, is_first_session=True), answers),
        guide.form(step, visit, known, answers),
    )
    noes = []
    for name in (*(each for each in asked if each in left), *sorted(left.keys() - asked.keys())):
        question, answer = asked.get(name), left[name]
        words = question.words if question is not None else name
        if step.kind == PLACE:
            words = _pad_words(name)
        if answer is False:
            noes.append(words)
            continue
        told = question.words_of(answer) if question is not None else _plain(answer)
        if carry.is_uses(name):
            told += f", counted up by one; at most {known.electrode_uses_max}"
        yield words, told
    if len(noes) > NOES_MAX:
        yield f"everything else ({len(noes)} questions)", "no"
    else:
        yield from ((words, "no") for words in noes)


def _pad_words(name: str) -> str:
    """Say in short what a question about pads asks, so that all of them stand on one screen."""
    *which, what = name.split("-")
    where = "" if which[:1] != ["channel"] else f"channel {', pad '.join(which[1:])}: "
    return where + _PAD_WORDS.get(what, what)


def _site_lines(left: dict[str, Answer]) -> Iterator[tuple[str, str]]:
    """Yield one line for each site, and take its counts out of what is left."""
    for site in SITES.values():
        names = [question.id for question in sensation.form([site.name])[1:]]
        if all(name in left for name in names):
            sharp_dull, monofilament = (left.pop(name) for name in names)
            yield (
                site.words,
                f"sharp or dull {_plain(sharp_dull)} of {sensation.SHARP_DULL_TOUCHES}, thread "
                f"{_plain(monofilament)} of {sensation.MONOFILAMENT_TOUCHES}",
            )


def _by_id(*forms: Form) -> Mapping[str, Question]:
    return {question.id: question for form in forms for question in form}


def _plain(answer: Answer) -> str:
    return "yes" if answer is True else str(answer)
