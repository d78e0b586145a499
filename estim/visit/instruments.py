"""Assessments with their scoring: only what may be used, and of the rest the score alone.

Rules:
1. No text of a licensed questionnaire is shipped. Such an instrument takes its total and the
   version that was used, and says what its licence asks for.
2. A score that was not answered wholly has no number; nothing is guessed or counted as 0. Where
   single parts may be left out (muscles, joints), at least one is needed.
3. An interpretation carries its certainty. None of it is a diagnosis, and none of it opens or
   shuts the sensation gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType

from estim.errors import UsageError
from estim.visit.licensed import LICENSED, Licensed
from estim.visit.questions import Answer, Answers, Choice, Form, Kind, Question, check

SIDES = ("left", "right")


@dataclass(frozen=True, slots=True)
class Score:
    """What an assessment comes to.

    Attributes:
        value: the number that is followed over visits; None where there is none.
        words: the result as it stands in a note.
        interpretation: what it says, '' where nothing is known to say.
        certainty: of the interpretation, with its source: 'S:perkins', 'K', 'K?', 'E'; or ''.
        parts: single numbers that are followed each for itself.
    """

    value: Decimal | None
    words: str
    interpretation: str = ""
    certainty: str = ""
    parts: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One assessment; `higher_is_better` is None where the number has no better end."""

    id: str
    title: str
    form: Form
    higher_is_better: bool | None
    licence: str
    count: Callable[[Mapping[str, Answer]], Score]
    needs_all: bool = True

    def score(self, answers: Answers) -> Score:
        """Return the score; what a question does not take counts as not answered."""
        heard = {q.id: answers[q.id] for q in self.form if _is_taken(q, answers)}
        left = [q for q in self.form if q.id not in heard]
        if left and self.needs_all:
            return Score(None, f"{self.title}: not scored, {len(left)} not answered")
        if not heard:
            return Score(None, f"{self.title}: not scored, nothing answered")
        return self.count(heard)


def change_of_pain(before: int, after: int) -> Score:
    """Judge a change of pain (0-10): 30 % or 2 points less make a responder [S:fstens]."""
    less = before - after
    share = f" ({abs(less) * 100 / before:.0f} %)" if before else ""
    change = f"{abs(less)} {'less' if less > 0 else 'more'}{share}" if less else "unchanged"
    is_responder = less >= 2 or (less > 0 and less * 10 >= before * 3)
    told = "responder" if is_responder else "no responder"
    return Score(
        Decimal(less),
        f"pain {before} to {after} of 10: {change}",
        f"{told}: 30 % or 2 points less is the mark",
        "S:fstens",
    )


def _is_taken(question: Question, answers: Answers) -> bool:
    if question.id not in answers:
        return False
    try:
        check(question, answers[question.id])
    except UsageError:
        return False
    return True


def _whole(name: str, words: str, low: int, high: int, unit: str = "", note: str = "",
           *, is_optional: bool = False) -> Question:  # fmt: skip
    return Question(
        name, words, Kind.WHOLE, minimum=low, maximum=high, unit=unit, note=note,
        is_optional=is_optional,
    )  # fmt: skip


def _yes_no(name: str, words: str) -> Question:
    return Question(name, words, Kind.YES_NO)


def _number(answer: Answer) -> Decimal:
    return Decimal(str(answer))


def _pain(when: str) -> Callable[[Mapping[str, Answer]], Score]:
    def count(heard: Mapping[str, Answer]) -> Score:
        value = _number(next(iter(heard.values())))
        return Score(value, f"pain {when}: {value} of 10")

    return count


def _timed_up_and_go(heard: Mapping[str, Answer]) -> Score:
    value = _number(heard["tug-seconds"])
    if value > Decimal("13.5"):
        told = "above 13.5 s: raised risk of falling"
    elif value > 12:
        told = "above 12 s: risk of falling may be raised"
    else:
        told = "at most 12 s: no raised risk by this test"
    return Score(value, f"timed up and go: {value} s", told, "K")


def _plantar(heard: Mapping[str, Answer]) -> Score:
    value = sum(_number(answer) for answer in heard.values())
    wrong = 8 - value
    told = "between normal and abnormal"
    if wrong >= 5:
        told = "abnormal"
    elif wrong <= 1:
        told = "normal"
    parts = {name: _number(answer) for name, answer in heard.items()}
    words = f"monofilament on the soles: {value} of 8 felt"
    return Score(Decimal(value), words, f"{wrong} not felt: {told}", "S:perkins", parts)


def _falls(heard: Mapping[str, Answer]) -> Score:
    value = _number(heard["falls-count"])
    told = "any fall asks for a look at balance and footwear" if value else ""
    return Score(value, f"falls since the last visit: {value}", told, "K" if told else "")


def _strength(heard: Mapping[str, Answer]) -> Score:
    parts = {name: _number(grade) for name, grade in heard.items()}
    lowest = min(parts.values())
    told = ", ".join(f"{name.replace('-', ' ')} {grade}" for name, grade in parts.items())
    if lowest >= 4:
        meaning = "every muscle tested moves against resistance"
    elif lowest == 3:
        meaning = "the weakest moves against gravity, not against resistance"
    else:
        meaning = "the weakest does not move against gravity: guard against falls"
    return Score(lowest, f"muscle strength (MRC 0-5): {told}", meaning, "K", parts)


def _range_of_motion(heard: Mapping[str, Answer]) -> Score:
    parts = {name: _number(angle) for name, angle in heard.items()}
    told = ", ".join(f"{name.replace('-', ' ')} {angle}" for name, angle in parts.items())
    return Score(None, f"range of motion in degrees: {told}", parts=parts)


def _blood_pressure(heard: Mapping[str, Answer]) -> Score:
    def lowest(what: str) -> Decimal:
        return min(_number(heard[f"standing-{at}-{what}"]) for at in ("1-min", "3-min"))

    systolic = _number(heard["lying-systolic"]) - lowest("systolic")
    diastolic = _number(heard["lying-diastolic"]) - lowest("diastolic")
    fastest = max(_number(heard[f"standing-{at}-heart-rate"]) for at in ("1-min", "3-min"))
    faster = fastest - _number(heard["lying-heart-rate"])
    is_drop = systolic >= 20 or diastolic >= 10
    told = (
        "drop within 3 min (20 systolic or 10 diastolic): begin seated or lying, watch for "
        "faintness, tell the prescriber"
        if is_drop
        else "no drop of 20 systolic or 10 diastolic within 3 min"
    )
    return Score(
        systolic,
        f"on standing up: systolic {-systolic:+} mmHg, diastolic {-diastolic:+} mmHg, heart rate "
        f"{faster:+} a minute",
        told, "K",
        {"systolic-drop": systolic, "diastolic-drop": diastolic, "heart-rate-rise": faster},
    )  # fmt: skip


def _impression(heard: Mapping[str, Answer]) -> Score:
    value = _number(heard["pgic-grade"])
    words = next(c.words for c in _IMPRESSIONS if c.id == heard["pgic-grade"])
    told = "no change"
    if value != 4:
        told = "better" if value < 4 else "worse"
    return Score(value, f"patient's impression of change: {value} of 7, {words}", told, "K")


def _yes_list(title: str, names: Mapping[str, str]) -> Callable[[Mapping[str, Answer]], Score]:
    def count(heard: Mapping[str, Answer]) -> Score:
        present = [words for name, words in names.items() if heard[name] is True]
        told = ", ".join(present) or "none"
        return Score(Decimal(len(present)), f"{title}: {told}")

    return count


def _feet(heard: Mapping[str, Answer]) -> Score:
    present = [name for name in _FOOT_FINDINGS if heard[name] is True]
    told = ", ".join(name.replace("-", " ") for name in present) or "none"
    ulcers = [side for side in SIDES if heard[f"{side}-foot-ulcer"] is True]
    open_skin = [side for side in SIDES if heard[f"{side}-foot-fissure"] is True]
    warm = [side for side in SIDES if heard[f"{side}-foot-warmth"] is True]
    advice = []
    if ulcers or open_skin:
        feet = " and ".join(dict.fromkeys((*ulcers, *open_skin)))
        advice.append(f"no pad on broken skin ({feet} foot): answer the screening's skin item yes")
    if ulcers or warm:
        advice.append("ulcer or warmth: prescriber or foot clinic today")
    words = f"findings on the feet: {told}"
    return Score(Decimal(len(present)), words, "; ".join(advice), "K" if advice else "")


_IMPRESSIONS = tuple(
    Choice(str(grade), words)
    for grade, words in enumerate(
        (
            "very much better", "much better", "a little better", "no change", "a little worse",
            "much worse", "very much worse",
        ),
        start=1,
    )
)  # fmt: skip
_MUSCLES = {
    "ankle-up": "lifting the foot", "ankle-down": "pushing the foot down",
    "big-toe-up": "lifting the big toe", "knee-straight": "straightening the knee",
    "hip-up": "lifting the thigh", "grip": "grip", "arm-out": "lifting the arm sideways",
}  # fmt: skip
_MOVEMENTS = {
    "ankle-up": ("foot upwards, knee straight", -30, 45),
    "ankle-down": ("foot downwards", 0, 80),
    "knee-bend": ("bending the knee", 0, 160),
    "knee-straight": ("straightening the knee; minus is what is missing", -90, 20),
    "hip-bend": ("bending the hip", 0, 140),
    "shoulder-up": ("lifting the arm forwards", 0, 180),
}
_SYMPTOMS = {
    "symptom-burning": "burning or stabbing pain",
    "symptom-numbness": "numbness",
    "symptom-tingling": "tingling",
    "symptom-weakness": "weakness",
    "symptom-touch": "sensitivity to touch",
    "symptom-balance": "trouble with balance",
    "symptom-cramps": "cramps",
    "symptom-light-headed": "light-headedness",
}
_FOOT_SIGNS = {
    "dryness": "dry skin", "callus": "callus", "fissure": "fissures", "ulcer": "an ulcer",
    "deformity": "a deformity", "warmth": "a warm spot, or one foot warmer",
}  # fmt: skip
_FOOT_FINDINGS = tuple(f"{side}-foot-{sign}" for side in SIDES for sign in _FOOT_SIGNS)


def _pressure_form() -> Form:
    found = []
    for name, words in (
        ("lying", "after 5 min lying"),
        ("standing-1-min", "after 1 min standing"),
        ("standing-3-min", "after 3 min standing"),
    ):
        found += [
            _whole(f"{name}-systolic", f"{words}: systolic?", 50, 280, "mmHg"),
            _whole(f"{name}-diastolic", f"{words}: diastolic?", 20, 180, "mmHg"),
            _whole(f"{name}-heart-rate", f"{words}: heart rate?", 20, 240, "a minute"),
        ]
    return tuple(found)


def _score_only(entry: Licensed) -> Instrument:
    asked = (
        Question(
            f"{entry.id}-score", f"{entry.title}: total score?", Kind.DECIMAL,
            minimum=entry.minimum, maximum=entry.maximum,
        ),
        Question(f"{entry.id}-version", f"{entry.title}: version and language used?", Kind.TEXT),
    )  # fmt: skip

    def count(heard: Mapping[str, Answer]) -> Score:
        value = _number(heard[f"{entry.id}-score"])
        told, certainty = entry.interpret(value)
        words = f"{entry.title}: {value} ({heard[f'{entry.id}-version']})"
        return Score(value, words, told, certainty)

    return Instrument(entry.id, entry.title, asked, entry.higher_is_better, entry.licence, count)


_FREE = "free [K]"
_OWN = "a plain list or measurement, no questionnaire"


def _own() -> Sequence[Instrument]:
    sides = [(side, name) for side in SIDES for name in _MUSCLES]
    return (
        Instrument(
            "pain-now", "Pain now (0-10)",
            (_whole("pain-now-nrs", "From 0, no pain, to 10, the worst: how is it now?", 0, 10),),
            False, _FREE, _pain("now"),
        ),
        Instrument(
            "pain-worst-24h", "Worst pain in 24 h (0-10)",
            (_whole("pain-worst-24h-nrs",
                    "From 0, no pain, to 10: what was the worst in the last 24 hours?", 0, 10),),
            False, _FREE, _pain("at its worst in 24 h"),
        ),
        Instrument(
            "tug", "Timed up and go",
            (Question(
                "tug-seconds", "Up from the chair, 3 m, turn, back and sit: how long?",
                Kind.DECIMAL, minimum=1, maximum=600, unit="s", note="above 12 s: falls [K]",
            ),),
            False, _FREE, _timed_up_and_go,
        ),
        Instrument(
            "monofilament-plantar", "Monofilament on the soles",
            tuple(
                _whole(f"{side}-foot-felt", f"{side} foot: how many of 4 touches felt?", 0, 4,
                       note="an outcome; the gate for pads tests each pad site")
                for side in SIDES
            ),
            True, _FREE, _plantar,
        ),
        Instrument(
            "falls", "Falls since the last visit",
            (_whole("falls-count", "How often has the patient fallen since the last visit?", 0,
                    999),),
            False, _OWN, _falls,
        ),
        Instrument(
            "strength", "Muscle strength (MRC 0-5)",
            tuple(
                _whole(f"{side}-{name}", f"{side}, {_MUSCLES[name]}: grade?", 0, 5,
                       note="0 nothing, 3 against gravity, 5 normal [K]", is_optional=True)
                for side, name in sides
            ),
            True, _FREE, _strength, needs_all=False,
        ),
        Instrument(
            "range-of-motion", "Range of motion",
            tuple(
                _whole(f"{side}-{name}-angle", f"{side}, {words}: angle?", low, high, "degrees",
                       "active, with a goniometer [K]", is_optional=True)
                for side in SIDES
                for name, (words, low, high) in _MOVEMENTS.items()
            ),
            None, _OWN, _range_of_motion, needs_all=False,
        ),
        Instrument(
            "blood-pressure", "Blood pressure lying and standing", _pressure_form(), False, _OWN,
            _blood_pressure,
        ),
        Instrument(
            "pgic", "Patient's impression of change (1-7)",
            (Question("pgic-grade", "Since treatment began, how is it?", Kind.CHOICE,
                      _IMPRESSIONS, note="1 is best; other versions count upwards [K]"),),
            False, _FREE, _impression,
        ),
        Instrument(
            "symptoms", "Symptoms of neuropathy",
            tuple(_yes_no(name, f"{words[0].upper()}{words[1:]}?")
                  for name, words in _SYMPTOMS.items()),
            False, _OWN, _yes_list("symptoms", _SYMPTOMS),
        ),
        Instrument(
            "feet", "Inspection of the feet",
            tuple(_yes_no(f"{side}-foot-{sign}", f"{side} foot: {words}?")
                  for side in SIDES for sign, words in _FOOT_SIGNS.items()),
            False, _OWN, _feet,
        ),
    )  # fmt: skip


BY_ID: Mapping[str, Instrument] = MappingProxyType(
    {each.id: each for each in (*_own(), *map(_score_only, LICENSED))}
)
"""Every instrument by its id, in the order in which they are offered."""
