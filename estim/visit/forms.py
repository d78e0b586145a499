"""Ask what the plain steps of a visit ask: agreement, skin, exercises, education, review.

Rules:
1. A form is made anew from the answers so far: a finding leads to 'where?', and no question is
   shown that an answer has made pointless.
2. What an answer means stands beside its question, in words, and never in the interface.

Screening, sensation, placement and assessments have modules of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from estim.profile.body_chart import SITES
from estim.visit.protocol import Step
from estim.visit.questions import Answers, Choice, Form, Kind, Question

FINDINGS_MAX = 6
PARTS = tuple(dict.fromkeys(site.part for site in SITES.values()))
"""Parts of the body that the chart shows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the answers to a step mean.

    Attributes:
        blocks: why there may be no output, one sentence each.
        cautions: what asks for care.
        forbidden: sites where no pad may go, with the reason.
    """

    blocks: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    forbidden: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def _yes_no(name: str, words: str, note: str = "") -> Question:
    return Question(name, words, Kind.YES_NO, note=note)


def _text(name: str, words: str, *, is_optional: bool = True) -> Question:
    return Question(name, words, Kind.TEXT, is_optional=is_optional)


# Agreement.


def consent_form(*, is_first: bool) -> Form:
    """Return what is asked before anything is done."""
    explained = _yes_no("explained", "Were sensation, risks and the stop explained, and said back?")
    if not is_first:
        return (_yes_no("agrees", "Knowing what it is like, does the person agree again today?"),)
    return explained, _yes_no("agrees", "Does the person agree to be stimulated today?")


def consent_verdict(answers: Answers, *, is_first: bool) -> Verdict:
    """Judge the agreement: without it nothing is delivered."""
    blocks = []
    if is_first and answers.get("explained") is not True:
        blocks.append("consent: sensation, risks and the stop were not explained")
    if answers.get("agrees") is not True:
        blocks.append("consent: the person does not agree")
    return Verdict(tuple(blocks))


# Skin.


@dataclass(frozen=True, slots=True)
class Finding:
    """Something seen on the skin, and whether a pad may still go there."""

    id: str
    words: str
    forbids: bool


BEFORE = (
    Finding("dry", "dry, thickened or fissured", forbids=False),
    Finding("callus", "callus", forbids=False),
    Finding("wound", "open wound or ulcer", forbids=True),
    Finding("rash", "rash, infection or inflammation", forbids=True),
    Finding("fragile", "fragile, thin or irradiated skin", forbids=True),
    Finding("swelling", "swelling or warmth", forbids=True),
    Finding("deformity", "deformity", forbids=False),
    Finding("other", "something else", forbids=True),
)
AFTER = (
    Finding("mild", "mild redness, even", forbids=False),
    Finding("marked", "marked or patchy redness", forbids=True),
    Finding("blister", "blister, burn or broken skin", forbids=True),
    Finding("other", "something else", forbids=True),
)
_WHERE = tuple(Choice(part.replace(" ", "-"), part) for part in PARTS)


def skin_form(step: Step, answers: Answers) -> Form:
    """Return what is asked about the skin, before or after stimulation."""
    known = BEFORE if step.when == "before" else AFTER
    is_clear = _yes_no(
        "clear",
        "Is the skin at every pad site intact, clean and dry?"
        if step.when == "before"
        else "Is the skin under every pad as it was before?",
    )
    if answers.get("clear") is not False:
        return (is_clear,)
    questions = [is_clear]
    choices = tuple(Choice(each.id, each.words) for each in known)
    for number in range(1, FINDINGS_MAX + 1):
        questions += [
            Question(f"finding-{number}", "What is seen?", Kind.CHOICE, choices),
            Question(f"where-{number}", "Where?", Kind.CHOICE, _WHERE),
        ]
        if number < FINDINGS_MAX:
            questions.append(_yes_no(f"another-{number}", "Anything else?"))
            if answers.get(f"another-{number}") is not True:
                break
    questions.append(_text("words", "In words:"))
    return tuple(questions)


def skin_verdict(step: Step, answers: Answers) -> Verdict:
    """Judge the skin: what is broken or inflamed forbids its part of the body."""
    known = {each.id: each for each in (BEFORE if step.when == "before" else AFTER)}
    if answers.get("clear") is True:
        return Verdict()
    if "clear" not in answers:
        return Verdict(("the skin was not looked at",))
    cautions = []
    forbidden: dict[str, str] = {}
    for number in range(1, FINDINGS_MAX + 1):
        finding = known.get(str(answers.get(f"finding-{number}", "")))
        where = str(answers.get(f"where-{number}", "")).replace("-", " ")
        if finding is None or where not in PARTS:
            continue
        cautions.append(f"skin, {where}: {finding.words}")
        if finding.forbids:
            reason = f"skin: {finding.words} on the {where}"
            forbidden |= {name: reason for name, site in SITES.items() if site.part == where}
    return Verdict((), tuple(cautions), MappingProxyType(forbidden))


def is_skin_adverse(step: Step, answers: Answers) -> bool:
    """Tell whether the skin after stimulation is an adverse event."""
    return step.when == "after" and bool(skin_verdict(step, answers).forbidden)


# The stop.

HEARD = "heard"
TRIED = "tried"
NONE = "none"


def stop_form(*, has_patient_stop: bool, is_first: bool) -> Form:
    """Return what is asked about the stop; hearing a stop key is the last answer."""
    key = Question(
        "key", "Press the stop key now: SPACE, x, F12 or Ctrl+X.", Kind.CHOICE,
        (Choice(HEARD, "(the key itself is the answer)"),),
    )  # fmt: skip
    if has_patient_stop:
        own = (Choice(TRIED, "pressed: the device reported it"),)
        return (
            Question("patient", "Let the person press their own stop.", Kind.CHOICE, own),
            key,
        )
    if not is_first:
        return (key,)
    none = (Choice(NONE, "a word or a sign was agreed on"),)
    words = "This device has no stop for the patient: agree on a word or a sign."
    return Question("patient", words, Kind.CHOICE, none), key


def stop_verdict(answers: Answers, *, has_patient_stop: bool, is_reported: bool) -> Verdict:
    """Judge the trial of the stop; what the device has not reported was not tried."""
    blocks = []
    if answers.get("key") != HEARD:
        blocks.append("stop: no stop key was heard")
    if has_patient_stop and (answers.get("patient") != TRIED or not is_reported):
        blocks.append("stop: the device has not reported that the patient's stop was pressed")
    return Verdict(tuple(blocks))


# Checks on the bench.

PASS = "pass"
FAIL = "fail"
NOT_DONE = "not-done"
_OUTCOMES = (
    Choice(PASS, "as expected"),
    Choice(FAIL, "not as expected"),
    Choice(NOT_DONE, "not done"),
)


def check_form(step: Step, answers: Answers) -> Form:
    """Return what is asked about each thing that is checked; what did not pass asks why."""
    questions = []
    for number, check in enumerate(step.checks, start=1):
        note = f"{check.do} {check.command}" if check.command else check.do
        words = f"{check.name}: {check.expect}"
        questions.append(Question(f"check-{number}", words, Kind.CHOICE, _OUTCOMES, note=note))
        if answers.get(f"check-{number}") in (FAIL, NOT_DONE):
            asked = "What was found?" if answers[f"check-{number}"] == FAIL else "Why not?"
            questions.append(_text(f"found-{number}", asked, is_optional=False))
    questions.append(_text("words", "Instruments, loads, remarks:"))
    return tuple(questions)


def check_verdict(step: Step, answers: Answers) -> Verdict:
    """Judge what was checked: what failed blocks output; what was not done is told."""
    blocks = []
    cautions = []
    for number, check in enumerate(step.checks, start=1):
        outcome = answers.get(f"check-{number}")
        if outcome == FAIL:
            blocks.append(f"check failed: {check.name}")
        elif outcome == NOT_DONE:
            cautions.append(f"not checked: {check.name}")
    return Verdict(tuple(blocks), tuple(cautions))


# Exercises, manual therapy, adjuncts.


def exercise_form(step: Step, answers: Answers) -> Form:
    """Return what is asked about each exercise or technique."""
    questions = []
    for number, exercise in enumerate(step.exercises, start=1):
        questions.append(
            _yes_no(f"done-{number}", f"{exercise.name}: done?", f"{exercise.do} {exercise.dose}.")
        )
        if answers.get(f"done-{number}") is True and exercise.sets * exercise.repetitions > 1:
            questions.append(
                Question(
                    f"sets-{number}",
                    f"{exercise.name}: sets of {exercise.repetitions}",
                    Kind.WHOLE,
                    minimum=1,
                    maximum=100,
                )
            )
        if answers.get(f"done-{number}") is True and exercise.duration_s:
            questions.append(
                Question(
                    f"minutes-{number}",
                    f"{exercise.name}: minutes",
                    Kind.WHOLE,
                    minimum=1,
                    maximum=120,
                    unit="min",
                )
            )
    questions.append(_text("words", "How did it go?"))
    return tuple(questions)


_ADJUNCT_WORDS = {
    "heat": "heat",
    "cold": "cold",
    "ultrasound": "therapeutic ultrasound",
    "aquatic": "exercise in water",
    "occupational": "occupational therapy",
    "adaptive-device": "an aid or adaptive device",
    "acupuncture": "acupuncture",
}


def adjunct_form(step: Step, answers: Answers) -> Form:
    """Return what is asked about other measures."""
    questions = []
    for adjunct in step.adjuncts:
        words = _ADJUNCT_WORDS[adjunct]
        questions.append(_yes_no(adjunct, f"Was there {words} today?"))
        if answers.get(adjunct) is True:
            if adjunct == "aquatic":
                questions.append(
                    _yes_no("dry", "Is the person out of the water, dry, and away from the pool?")
                )
            questions.append(_text(f"{adjunct}-words", f"What {words}, where, how long?"))
    questions.append(_text("concurrent", "Medicines and other care, as far as they changed:"))
    return tuple(questions)


def adjunct_verdict(answers: Answers, *, is_sensation_normal: bool) -> Verdict:
    """Judge other measures: no stimulation in or near water, no heat where it cannot be felt."""
    blocks = []
    cautions = []
    if answers.get("aquatic") is True and answers.get("dry") is not True:
        blocks.append("adjuncts: no stimulation in or near water")
    if answers.get("heat") is True and not is_sensation_normal:
        cautions.append("adjuncts: heat on skin without normal sensation burns unfelt")
    return Verdict(tuple(blocks), tuple(cautions))


# Education and review.


def education_form(step: Step, answers: Answers) -> Form:
    """Return what is asked about education."""
    whole = _yes_no("explained", f"All {len(step.points)} points explained and understood?")
    if answers.get("explained") is not False:
        return (whole,)
    each = tuple(
        _yes_no(f"point-{number}", f"Explained: {point}")
        for number, point in enumerate(step.points, start=1)
    )
    return (whole, *each)


def acceptance_form(step: Step, answers: Answers) -> Form:
    """Return what is asked at the end on the bench."""
    return (
        _yes_no("accepted", "Is the device accepted for use on people?"),
        _text("assessment", "Why, and with which report?", is_optional=False),
        _text("plan", "Next check due, and what is to be mended:"),
    )


def review_form(step: Step, answers: Answers) -> Form:
    """Return what is asked at the end."""
    questions = [_yes_no("adverse", "Was there an adverse event?")]
    if answers.get("adverse") is True:
        questions += [
            _text("adverse-onset", "When did it begin, and what was set then?", is_optional=False),
            _text("adverse-what", "What happened?", is_optional=False),
            _text("adverse-action", "What was done?", is_optional=False),
            _text("adverse-report", "To whom was or will it be reported?", is_optional=False),
        ]
    questions += [
        _text("assessment", "Assessment, in your words:"),
        _text("plan", "Plan until the next visit:"),
        _text("next-visit", "Next visit, as it stands on the take-home sheet:"),
        _text("billing", "Billing text, taken over as it is typed:"),
    ]
    return tuple(questions)
