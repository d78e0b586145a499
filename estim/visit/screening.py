"""Judge the answers of the screening: what stops, where no pad may lie, who must clear it.

Rules:
1. What was not answered is missing, and nothing passes while anything is missing.
2. STOP blocks. Whoever can change the situation (posture, water, pain that is to be assessed)
   changes it and answers again; no override lifts that. An active implant is lifted only by
   prescriber *and* cardiology, both named, and an override besides. 'No contraction' (bleeding,
   surgery, platelets) is lifted likewise by the prescriber's clearance and an override; with a
   thrombosis it never is.
3. LOCAL forbids the sites at and near what was named. Nothing lifts it but one thing: a palliative
   treatment at a tumour, with the prescriber's clearance, the patient's consent and an override.
4. MD blocks until its prescriber is named. An override may stand in where the data says so (heart,
   arteries, age); never for a pregnancy, metastases or platelets.
5. CARE blocks nothing, so there is nothing to override.
6. An override names an item, a clinician on the station's roster and a reason. One that does not
   count is told, with why; it is never an error.
7. Sites on head, neck, chest or genitals are forbidden whatever was answered.
8. An item that is not asked of this person is listed with the reason; none disappears.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from estim.errors import UsageError
from estim.profile.body_chart import SITES
from estim.visit.questions import Answers, Choice, Form, Kind, Question, check
from estim.visit.regions import EVERYWHERE, NOWHERE_ELSE, REGIONS, choices, never, sites_of
from estim.visit.screening_items import (
    BY_CAUSE,
    BY_KIND,
    CONSENT,
    FIRST_SESSION,
    ITEMS,
    Clearer,
    Gravity,
    Item,
    Lift,
    OnlyFor,
    Precaution,
)

_NO_NAME = re.compile(
    r"(no|not|none|nobody|nil|unknown|unclear|pending|asked|later|yes|ok|tbd)\b|(n.?a|x+)$",
    re.IGNORECASE,
)
"""What is typed where nobody has cleared anything."""
_REASON_SIZE_MIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known of the visit before the screening.

    Attributes:
        is_motor: whether any stimulation of the visit makes muscles contract.
        is_first_session: whether this person has never been stimulated here.
        cause: of the neuropathy, one of `NEUROPATHY_CAUSES`; None where there is none.
        kinds: of the neuropathy, of `NEUROPATHY_KINDS`.
        has_womb: None where nobody has said; then what concerns a womb is asked.
        profile_sites: where the profile would have its pads.
        clinicians: ids on the station's roster that may override.
    """

    is_motor: bool
    is_first_session: bool
    cause: str | None
    kinds: frozenset[str]
    has_womb: bool | None = None
    profile_sites: tuple[str, ...] = ()
    clinicians: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Override:
    """A clinician answers for an item in spite of its yes."""

    item: str
    clinician: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What an item, or the visit itself (item ''), brings about, in words with their certainty."""

    item: str
    words: str


@dataclass(frozen=True, slots=True)
class Screening:
    """What the answers come to.

    Attributes:
        missing: questions that are not answered, or with what they do not take.
        stops: what blocks the visit's stimulation.
        forbidden_sites: every forbidden site with its reasons.
        blocked_profile_sites: sites of the profile that are forbidden.
        clearances: what blocks until somebody has cleared it.
        cautions: what the therapist has to know.
        prompts: what the therapist has to do.
        overridden: what an override has lifted, with clinician and reason.
        refused_overrides: overrides that do not count, with why.
        not_asked: items that were not asked of this person, with why.
    """

    missing: tuple[Question, ...]
    stops: tuple[Finding, ...]
    forbidden_sites: Mapping[str, str]
    blocked_profile_sites: tuple[str, ...]
    clearances: tuple[Finding, ...]
    cautions: tuple[Finding, ...]
    prompts: tuple[Finding, ...]
    overridden: tuple[Finding, ...]
    refused_overrides: tuple[Finding, ...]
    not_asked: tuple[Finding, ...]

    @property
    def is_passed(self) -> bool:
        """Tell whether the visit may go on to pads; forbidden sites stay forbidden."""
        return not (self.missing or self.stops or self.clearances)


def items() -> tuple[Item, ...]:
    """Return every item, asked of this person or not."""
    return ITEMS


def form(context: Context, answers: Answers) -> Form:
    """Return what is to be asked, with what the answers so far lead to."""
    found: list[Question] = []
    for item in ITEMS:
        if _why_not_asked(item, context) is None:
            note = f"{item.gravity}: {item.advice} {item.tag}"
            found.append(Question(item.id, item.words, Kind.YES_NO, note=note))
            if answers.get(item.id) is True:
                found += _follow_ups(item, context, answers)
    return tuple(found)


def judge(context: Context, answers: Answers, overrides: Sequence[Override] = ()) -> Screening:
    """Return what the answers come to; answers to questions that are not asked do not count."""
    asked = form(context, answers)
    heard = {q.id: answers[q.id] for q in asked if _is_answered(q, answers)}
    found = _Weighing(context, heard)
    for override in overrides:
        found.take(override)
    for item in ITEMS:
        why = _why_not_asked(item, context)
        if why is not None:
            found.not_asked.append(Finding(item.id, why))
        elif heard.get(item.id) is True:
            found.weigh(item)
    found.add_precautions()
    return found.screening(tuple(q for q in asked if q.id not in heard and not q.is_optional))


def _why_not_asked(item: Item, context: Context) -> str | None:
    applies = {
        None: True,
        OnlyFor.MOTOR: context.is_motor,
        OnlyFor.FIRST: context.is_first_session,
        OnlyFor.CHEMOTHERAPY: context.cause == "chemotherapy",
        OnlyFor.AUTONOMIC: "autonomic" in context.kinds,
        OnlyFor.WOMB: context.has_womb is not False,
    }
    return None if applies[item.only_for] else str(item.only_for)


def _is_answered(question: Question, answers: Answers) -> bool:
    if question.id not in answers:
        return False
    try:
        check(question, answers[question.id])
    except UsageError:
        return False
    return True


def _follow_ups(item: Item, context: Context, answers: Answers) -> list[Question]:
    found = _where(item, answers)[0] if item.where else []
    found += item.follow_ups
    if CONSENT.id in item.lift_if and answers.get("malignancy-palliative") is True:
        found.append(CONSENT)
    if _asks_clearance(item, context, answers):
        found += [_clearance_question(item, clearer) for clearer in item.clearers]
    return found


def _where(item: Item, answers: Answers) -> tuple[list[Question], list[str]]:
    """Return the questions for the place, one after each place named, and the places."""
    found: list[Question] = []
    named: list[str] = []
    left = list(item.where)
    while left:
        offered = choices(left)
        words = "Where?"
        name = f"{item.id}-where"
        if named:
            offered = (Choice(NOWHERE_ELSE, "nowhere else"), *offered)
            words, name = "Where else?", f"{name}-{len(named) + 1}"
        found.append(Question(name, words, Kind.CHOICE, offered, note=item.advice))
        answer = answers.get(name)
        if not isinstance(answer, str) or answer not in left:
            break
        named.append(answer)
        if answer == EVERYWHERE:
            break
        left.remove(answer)
    return found, named


def _clearance_question(item: Item, clearer: Clearer) -> Question:
    return Question(
        f"{item.id}-{clearer}",
        f"Cleared by {clearer} (code or registration, and date):",
        Kind.TEXT,
        note="empty while nobody has cleared it; the visit is blocked until then",
        is_optional=True,
    )


def _gravity(item: Item, context: Context, answers: Answers) -> Gravity:
    """Return what yes means for this person."""
    if item.eased_by is not None and answers.get(item.eased_by[0]) == item.eased_by[1]:
        return Gravity.CARE
    return item.motor if context.is_motor and item.motor is not None else item.gravity


def _is_md(item: Item, gravity: Gravity, answers: Answers) -> bool:
    return gravity is Gravity.MD or any(answers.get(name) is True for name in item.md_if)


def _asks_clearance(item: Item, context: Context, answers: Answers) -> bool:
    gravity = _gravity(item, context, answers)
    if _is_md(item, gravity, answers):
        return True
    if item.lift_if:
        return answers.get(item.lift_if[0]) is True
    return gravity is Gravity.STOP and item.lift is Lift.CLEARED


def _is_cleared(item: Item, answers: Answers) -> bool:
    """Tell whether everybody who must clear an item is named; 'no' and 'pending' name nobody."""
    for clearer in item.clearers:
        name = answers.get(f"{item.id}-{clearer}")
        if not isinstance(name, str) or len(re.findall(r"[^\W_]", name)) < 2:
            return False
        if _NO_NAME.match(name.strip(" .,-/?!")):
            return False
    return bool(item.clearers)


class _Weighing:
    """Gather what each item brings about."""

    def __init__(self, context: Context, answers: Answers) -> None:
        self._context = context
        self._answers = answers
        self._overrides: dict[str, Override] = {}
        self._reasons: dict[str, list[str]] = {}
        self._stops: list[Finding] = []
        self._clearances: list[Finding] = []
        self._cautions: list[Finding] = []
        self._prompts: list[Finding] = []
        self._overridden: list[Finding] = []
        self._refused: list[Finding] = []
        self.not_asked: list[Finding] = []
        for site in SITES.values():
            reason = never(site)
            if reason is not None:
                self._forbid([site.name], reason)

    def take(self, override: Override) -> None:
        """Keep an override that counts; list another with why it does not."""
        why = self._why_refused(override)
        if why:
            self._refused.append(Finding(override.item, f"override does not count: {why}"))
        else:
            self._overrides[override.item] = override

    def _why_refused(self, override: Override) -> str:
        if override.clinician not in self._context.clinicians:
            return "the clinician is not on this station's roster"
        if len(override.reason.strip()) < _REASON_SIZE_MIN:
            return "no reason is given"
        item = next((each for each in ITEMS if each.id == override.item), None)
        if item is None or self._answers.get(item.id) is not True:
            return "there is nothing to override"
        gravity = _gravity(item, self._context, self._answers)
        is_cleared = _is_cleared(item, self._answers)
        if item.lift_if:
            if not all(self._answers.get(name) is True for name in item.lift_if):
                return "only a palliative treatment, with the patient's consent, is an exception"
            return "" if is_cleared else _needed(item)
        if gravity is Gravity.CARE:
            return "it blocks nothing"
        if gravity is Gravity.STOP and item.lift is Lift.CLEARED:
            return "" if is_cleared else _needed(item)
        if gravity is Gravity.MD and item.lift is Lift.CLINICIAN:
            return ""
        if gravity is Gravity.MD:
            return "clearance by the prescriber alone counts"
        return f"{gravity} cannot be overridden here"

    def weigh(self, item: Item) -> None:
        """Gather what a yes brings about."""
        gravity = _gravity(item, self._context, self._answers)
        override = self._overrides.get(item.id)
        if override is not None:
            lifted = f"{item.title}: overridden by {override.clinician}: {override.reason}"
            self._overridden.append(Finding(item.id, lifted))
        if item.prompt:
            self._prompt(item.id, item.prompt)
        self._forbid_places(item, override)
        told = f"{item.title}: {item.advice} {item.tag}"
        if gravity is Gravity.STOP and override is None:
            self._stops.append(Finding(item.id, f"STOP: {told}{_lifted_by(item)}"))
            return
        is_answered_for = override is not None or _is_cleared(item, self._answers)
        if _is_md(item, gravity, self._answers) and not is_answered_for:
            self._clearances.append(Finding(item.id, f"{told}; {_needed(item)}"))
        if self._answers.get("pregnancy-first-trimester") is True and item.id == "pregnancy":
            told += "; first trimester, or the week is not known"
        self._cautions.append(Finding(item.id, told))

    def _forbid_places(self, item: Item, override: Override | None) -> None:
        if item.lift_if and override is not None:
            return
        named = _where(item, self._answers)[1] if item.where else []
        for name in (*item.regions, *named):
            words = f"at or near: {REGIONS[name].words}; {item.title}: {item.advice} {item.tag}"
            self._forbid(sites_of([name]), words)

    def _forbid(self, sites: Iterable[str], reason: str) -> None:
        for site in sites:
            self._reasons.setdefault(site, []).append(reason)

    def _prompt(self, item: str, words: str) -> None:
        if all(prompt.words != words for prompt in self._prompts):
            self._prompts.append(Finding(item, words))

    def add_precautions(self) -> None:
        """Add what kind, cause and a first session ask for, whatever was answered."""
        found: list[Precaution] = []
        for kind in sorted(self._context.kinds):
            found += BY_KIND.get(kind, ())
        found += BY_CAUSE.get(self._context.cause or "", ())
        for precaution in found:
            self._prompt("", f"{precaution.words} [{precaution.certainty}]")
        if self._context.is_first_session:
            self._prompt("", FIRST_SESSION.words)

    def screening(self, missing: tuple[Question, ...]) -> Screening:
        """Return everything gathered."""
        reasons = {site: "; ".join(self._reasons[site]) for site in SITES if site in self._reasons}
        return Screening(
            missing=missing,
            stops=tuple(self._stops),
            forbidden_sites=reasons,
            blocked_profile_sites=tuple(s for s in self._context.profile_sites if s in reasons),
            clearances=tuple(self._clearances),
            cautions=tuple(self._cautions),
            prompts=tuple(self._prompts),
            overridden=tuple(self._overridden),
            refused_overrides=tuple(self._refused),
            not_asked=tuple(self.not_asked),
        )


def _needed(item: Item) -> str:
    return f"clearance by {' and '.join(item.clearers)} is needed, named in the answers"


def _lifted_by(item: Item) -> str:
    if item.lift is not Lift.CLEARED:
        return ""
    return f"; {_needed(item)}, and a clinician's override besides"
