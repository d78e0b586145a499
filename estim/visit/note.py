"""Write the note of a visit from its record, in four parts as notes are written: SOAP.

Rules:
1. Everything in it comes from the record; nothing is concluded from it. Assessment and plan are the
   therapist's words, and a billing text stands there only as it was typed.
2. What the record does not hold is named as missing, never left out in silence.
3. Answers stand in the words of their questions; where the protocol is not on this station, under
   their ids.
4. A score that is not whole has no number; an interpretation keeps its certainty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from estim.text import sanitize
from estim.units import format_ma
from estim.visit import course, forms, gates, report, screening, sensation
from estim.visit.account import Account, Noted, count, counts, text
from estim.visit.fold import ADVERSE, REVIEW, Confirmed
from estim.visit.instruments import BY_ID, Instrument, Score
from estim.visit.questions import Answer, Question

NOT_IN_RECORD = "not in the record"
_SUBJECTIVE = ("pain-now", "pain-worst-24h", "symptoms", "falls", "pgic")
"""Assessments that ask the person and measure nothing."""
_CONCURRENT = "concurrent"
_STOP_WORDS = {
    forms.HEARD: "a stop key was pressed and heard",
    forms.TRIED: "the patient's own stop was pressed, and the device reported it",
    forms.NONE: "the device has no stop for the patient; a word or a sign was agreed on",
}
_ADVERSE_WORDS = {
    "adverse-onset": "onset and settings",
    "adverse-what": "what happened",
    "adverse-action": "what was done",
    "adverse-report": "reported to",
}
_REVIEWED = {ADVERSE, *_ADVERSE_WORDS, "assessment", "plan", "next-visit", "billing"}


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the note, a point each line."""

    title: str
    lines: tuple[str, ...]


def sections(account: Account) -> tuple[Section, ...]:
    """Return the parts of the note, in order."""
    found = [
        Section("SUBJECTIVE", tuple(_subjective(account))),
        Section("OBJECTIVE", tuple(_objective(account))),
        Section("ASSESSMENT", tuple(_typed(account, "assessment"))),
        Section("PLAN", tuple(_plan(account))),
        Section("ADVERSE EVENT", tuple(_adverse(account))),
        Section("OVERRIDES, STEPS LEFT OUT, HANDOVERS", tuple(_exceptions(account))),
    ]
    remarks = [
        f"{each.wall:%H:%M} {_by(each, 'operator')}: {text(each.content.get('text'))}"
        for each in account.of_kind(course.REMARK)
    ]
    others = [
        _asked_and_answered(account.questions(step), name, answer)
        for step in account.latest(REVIEW)
        for name, answer in step.answers.items()
        if name not in _REVIEWED
    ]
    optional = (
        ("REVIEW, FURTHER ANSWERS", others),
        ("REMARKS", remarks),
        ("BILLING, AS TYPED", _answers_to(account, REVIEW, "billing")),
        ("ADDED LATER", report.addendum_lines(account)),
    )
    found += [Section(title, tuple(lines)) for title, lines in optional if lines]
    return tuple(found)


def draft(account: Account) -> str:
    """Return the note as the record alone makes it, to be edited."""
    parts = [*report.heading_lines(account)]
    for section in sections(account):
        parts += ["", section.title, *section.lines]
    return "\n".join([*parts, "", report.NOT_CERTIFIED]) + "\n"


def saved(account: Account) -> str:
    """Return the note as it was saved last before the seal, '' where none was."""
    notes = account.of_kind(course.NOTE)
    told = notes[-1].content.get("text") if notes else ""
    return "\n".join(map(text, told.split("\n"))) if isinstance(told, str) else ""


def to_text(account: Account) -> str:
    """Return the note that was saved, with what was added later; without one, the draft."""
    written = saved(account).strip()
    if not written:
        return f"DRAFT FROM THE RECORD: nobody saved a note before the seal.\n\n{draft(account)}"
    parts = []
    if account.pseudonym != account.recorded_for:
        parts += [f"This visit is of {account.pseudonym}: see what was added later.", ""]
    parts.append(written)
    added = report.addendum_lines(account)
    if added:
        parts += ["", "ADDED LATER", *added]
    return "\n".join(parts) + "\n"


# Subjective.


def _subjective(account: Account) -> list[str]:
    found = _screening(account)
    scores = _scores(account, is_subjective=True)
    found += scores or [f"Pain, symptoms: {NOT_IN_RECORD}"]
    concurrent = _answers_to(account, "adjunct", _CONCURRENT)
    found.append(f"Medicines and other care: {'; '.join(concurrent) or NOT_IN_RECORD}")
    return found


def _screening(account: Account) -> list[str]:
    screened = account.latest("screen")
    if not screened:
        return [f"Screening: {NOT_IN_RECORD}"]
    items = {item.id: item for item in screening.items()}
    found = []
    for step in screened:
        found.append(f"Screening{_origin(step)}:")
        asked = account.questions(step)
        told = dict(_in_order(asked, step.answers))
        negatives = [name for name in told if name in items and told[name] is False]
        for name, answer in told.items():
            if name in items and answer is True:
                item = items[name]
                found.append(f"  yes: {item.title} {item.tag}, {item.gravity}")
            elif name not in items:
                found.append(f"  {_asked_and_answered(asked, name, answer)}")
        found.append(f"  answered no: {len(negatives)} items")
        left = [q.words for q in asked.values() if q.id not in told and not q.is_optional]
        found += [f"  not answered: {words}" for words in left]
    return found


# Objective.


def _objective(account: Account) -> list[str]:
    found = _steps(account, "consent", "Consent")
    found += _steps(account, "inspect_skin", "Skin before", "before")
    found += _sensation(account)
    found += _scores(account, is_subjective=False) or [f"Other assessments: {NOT_IN_RECORD}"]
    found += _steps(account, "place_electrodes", "Pads")
    found += _stop(account)
    if account.latest("check_contact"):
        found += _steps(account, "check_contact", "Contact")
    found += ["Stimulation, planned beside delivered:"]
    found += [f"  {line}" for line in report.lines(account)]
    if account.protocol is not None:  # otherwise before and after cannot be told apart
        found += _steps(account, "inspect_skin", "Skin after", "after")
    for kind, title in (
        ("exercise", "Exercises"),
        ("manual_therapy", "Manual therapy"),
        ("adjunct", "Other measures"),
        ("educate", "Education"),
        ("check", "Checks"),
    ):
        if account.latest(kind) or _has_step(account, kind):
            found += _steps(account, kind, title)
    return found


def _has_step(account: Account, kind: str) -> bool:
    return account.protocol is not None and any(s.kind == kind for s in account.protocol.steps)


def _steps(account: Account, kind: str, title: str, when: str | None = None) -> list[str]:
    """Return each answer to the steps of a kind, in the words of its question."""
    confirmed = account.latest(kind, when)
    if not confirmed:
        return [f"{title}: {NOT_IN_RECORD}"]
    found = []
    for step in confirmed:
        asked = account.questions(step)
        found.append(f"{title}{_origin(step)}:")
        found += [
            f"  {_asked_and_answered(asked, name, answer)}"
            for name, answer in _in_order(asked, step.answers)
            if name != _CONCURRENT
        ]
    return found


def _stop(account: Account) -> list[str]:
    tried = account.latest("try_stop")
    if not tried:
        return [f"Stop tried: {NOT_IN_RECORD}"]
    return [
        f"Stop tried{_origin(step)}: {_STOP_WORDS.get(str(answer), sanitize(f'{name} {answer}'))}"
        for step in tried
        for name, answer in step.answers.items()
    ]


def _sensation(account: Account) -> list[str]:
    tested = account.latest("test_sensation")
    if not tested:
        return [f"Sensation at the pad sites: {NOT_IN_RECORD}"]
    found = []
    for step in tested:
        found.append(f"Sensation at the pad sites{_origin(step)}:")
        ending = "-sharp-dull"
        sites = [name.removesuffix(ending) for name in step.answers if name.endswith(ending)]
        tested_on = _day(step.answers.get(gates.TESTED_ON))
        given = account.given
        judged = sensation.judge(
            sites, step.answers, tested_on, given.today, given.sensation_valid_days
        )
        found += [f"  {sanitize(each.words)}" for each in judged.values()]
        if not sites:
            found.append("  no site was tested")
    return found


def _day(answer: object) -> date | None:
    try:
        return date.fromisoformat(str(answer))
    except ValueError:
        return None


def _scores(account: Account, *, is_subjective: bool) -> list[str]:
    found = []
    for step in account.latest("assess"):
        for instrument, score in scores_of(step.answers):
            if (instrument.id in _SUBJECTIVE) is is_subjective:
                when = getattr(account.step(step.step), "when", None)
                at = f" ({when} stimulation)" if when else ""
                told = f": {score.interpretation}" if score.interpretation else ""
                certainty = f" [{score.certainty}]" if score.certainty else ""
                found.append(f"{sanitize(score.words)}{at}{told}{certainty}")
        if not is_subjective:
            known = {question.id for each in BY_ID.values() for question in each.form}
            found += [
                _asked_and_answered({}, name, answer)
                for name, answer in step.answers.items()
                if name not in known
            ]
    return found


def scores_of(answers: Mapping[str, Answer]) -> Iterable[tuple[Instrument, Score]]:
    """Return the score of every assessment of which anything was answered."""
    for instrument in BY_ID.values():
        if any(question.id in answers for question in instrument.form):
            yield instrument, instrument.score(answers)


# Assessment, plan, adverse event.


def _typed(account: Account, name: str) -> list[str]:
    return _answers_to(account, REVIEW, name) or [NOT_IN_RECORD]


def _plan(account: Account) -> list[str]:
    found = _typed(account, "plan")
    following = _answers_to(account, REVIEW, "next-visit")
    found.append(f"Next visit: {following[0] if following else NOT_IN_RECORD}")
    for each in account.of_kind(course.PLAN)[-1:]:
        content = each.content
        week, sessions = count(content.get("sessions_per_week")), content.get("planned_sessions")
        ceiling_ua = count(content.get("ceiling_ua"))
        most = f"at most {format_ma(ceiling_ua)} mA" if ceiling_ua is not None else "no ceiling"
        found.append(
            f"Plan made by {_by(each, 'operator')}: {text(content.get('goals'))}; "
            f"{week} a week, {count(sessions)} sessions, {most}"
        )
    return found


def _adverse(account: Account) -> list[str]:
    reviewed = account.latest(REVIEW)
    answer = reviewed[-1].answers.get(ADVERSE) if reviewed else None
    if not isinstance(answer, bool):
        return [f"Whether there was one: {NOT_IN_RECORD}"]
    if not answer:
        return ["none, by the review"]
    told = reviewed[-1].answers
    return [
        f"{words}: {sanitize(str(told[name])) if name in told else NOT_IN_RECORD}"
        for name, words in _ADVERSE_WORDS.items()
    ]


def _exceptions(account: Account) -> list[str]:
    titles = {item.id: item.title for item in screening.items()}
    found = []
    for each in account.of_kind(course.OVERRIDE):
        item = text(each.content.get("item"))
        found.append(
            f"override of '{titles.get(item, item)}' by {_by(each, 'clinician')}: "
            f"{text(each.content.get('reason'))}"
        )
    visit = account.visit
    for each in account.of_kind(course.SKIP):
        step_id = text(each.content.get("step"))
        if visit is not None and step_id in visit.answered:
            continue  # it was done after all
        step = account.step(step_id)
        found.append(
            f"left out: {step.title if step else step_id} ({_by(each, 'operator')}): "
            f"{text(each.content.get('reason'))}"
        )
    for each in account.of_kind(course.HANDOVER):
        at = ", ".join(f"{format_ma(ua)} mA" for ua in counts(each.content.get("amplitudes_ua")))
        found.append(
            f"handed over at {each.wall:%H:%M} from {_by(each, 'from_operator')} to "
            f"{_by(each, 'to_operator')}" + (f", at {at}" if at else "")
        )
    found += [f"not done: {title}" for title in account.not_done]
    return found or ["none"]


# Words.


def _answers_to(account: Account, kind: str, name: str) -> list[str]:
    """Return what was typed as an answer, in every step of a kind."""
    told = [step.answers.get(name) for step in account.latest(kind)]
    return [sanitize(each) for each in told if isinstance(each, str) and each.strip()]


def _in_order(
    asked: Mapping[str, Question], answers: Mapping[str, Answer]
) -> list[tuple[str, Answer]]:
    """Return answers in the order of their questions: a record keeps them sorted by id."""
    names = [*(name for name in asked if name in answers)]
    names += [name for name in answers if name not in asked]
    return [(name, answers[name]) for name in names]


def _asked_and_answered(asked: Mapping[str, Question], name: str, answer: Answer) -> str:
    if name in asked:
        words = asked[name].words
        colon = "" if words.endswith(("?", ":")) else ":"
        return sanitize(f"{words}{colon} {asked[name].words_of(answer)}")
    told = ("yes" if answer else "no") if isinstance(answer, bool) else str(answer)
    return sanitize(f"{name}: {told}")


def _by(each: Noted, name: str) -> str:
    return text(each.content.get(name)) or "nobody named"


def _origin(step: Confirmed) -> str:
    """Say who confirmed a step, and from which visit it was taken over."""
    carried = f", unchanged since visit {sanitize(step.carried_from)}" if step.carried_from else ""
    return f" ({sanitize(step.operator)}, {step.wall:%H:%M}{carried})"
