"""What is asked while stimulation runs, when, and what each answer means.

Rules:
1. Time is delivered time: nothing is asked, and nothing becomes overdue, while no output flows.
2. Each prompt is asked once; it ends answered, or given way to the next of its kind unanswered.
3. Of several the gravest is shown first, and an answer counts for the prompt that was on screen.
4. An attention check that nobody answers in time asks for a pause, never for a fault; any answer,
   and any key of the level, shows that somebody is there.
5. An answer advises; it stops, lowers or raises nothing by itself but a raise that was offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from estim.units import MS_PER_S

MINUTE_MS = 60 * MS_PER_S


class Topic(StrEnum):
    """What a prompt is about, in order of gravity."""

    ATTENTION = "attention"
    SKIN = "skin"
    COMFORT = "comfort"
    END = "end"
    ACCOMMODATION = "accommodation"


class Meaning(StrEnum):
    """What follows from an answer."""

    NOTHING = "nothing"
    ADVISE_STOP = "advise stop"
    ADVISE_LOWER = "advise lower"
    OFFER = "offer a step"
    RAISE = "raise one step"


OVERDUE = "overdue"
UNANSWERED = "unanswered"
WITHDRAWN = "withdrawn"
BY_KEY = "key"
"""Answers in the record that no answer key gives."""


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """One answer: its key, its name in the record, its words, and what is said when it is given."""

    key: str
    answer: str
    words: str
    meaning: Meaning = Meaning.NOTHING
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Wording:
    """The question of a topic with its answers."""

    question: str
    answers: tuple[AnswerKey, ...]


WORDINGS: Mapping[Topic, Wording] = {
    Topic.ATTENTION: Wording(
        "Is somebody watching? Without an answer the output pauses.",
        (AnswerKey("y", "present", "yes, I am here"),),
    ),
    Topic.SKIN: Wording(
        "Look at the skin beside the pads.",
        (
            AnswerKey("y", "as_before", "as before"),
            AnswerKey(
                "n", "red_or_painful", "red or painful", Meaning.ADVISE_STOP,
                "skin red or painful: stop now, look under the pads, write down what you see",
            ),
        ),
    ),
    Topic.COMFORT: Wording(
        "Ask: how does it feel?",
        (
            AnswerKey("y", "comfortable", "strong and comfortable"),
            AnswerKey(
                "n", "too_strong", "too strong or painful", Meaning.ADVISE_LOWER,
                "too strong: lower until it is comfortable; if it still hurts, stop",
            ),
            AnswerKey("u", "fainter", "fainter than before", Meaning.OFFER),
        ),
    ),
    Topic.END: Wording(
        "The session ends soon: the output ramps down by itself.",
        (AnswerKey("y", "seen", "seen"),),
    ),
    Topic.ACCOMMODATION: Wording(
        "Fainter than before? One step more, inside the ceiling?",
        (
            AnswerKey("y", "raised", "one step up", Meaning.RAISE),
            AnswerKey("n", "left", "leave it"),
        ),
    ),
}  # fmt: skip

ANSWER_KEYS = ("y", "n", "u")
_GRAVITY = tuple(Topic)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When what is asked, in delivered time; 0 or nothing for never.

    Attributes:
        comfort_every_ms: interval of the comfort checks.
        skin_at_ms: times of the looks at the skin.
        accommodation_every_ms: interval of the offers of one step more.
        attention_after_ms: time without a key after which somebody is asked for.
        attention_answer_ms: time to answer that, before the output pauses.
        answer_ms: time after which any other prompt is overdue.
        end_before_ms: how long before the end it is announced.
    """

    comfort_every_ms: int = 0
    skin_at_ms: tuple[int, ...] = ()
    accommodation_every_ms: int = 0
    attention_after_ms: int = 0
    attention_answer_ms: int = MINUTE_MS
    answer_ms: int = 2 * MINUTE_MS
    end_before_ms: int = 0


NO_PROMPTS = Schedule()


def schedule_for_a_person(
    *,
    is_first_exposure: bool,
    comfort_every_ms: int = 5 * MINUTE_MS,
    accommodation_every_ms: int = 10 * MINUTE_MS,
    attention_after_ms: int = 10 * MINUTE_MS,
    attention_answer_ms: int = MINUTE_MS,
) -> Schedule:
    """Return what is asked of a person.

    Comfort after 5 minutes and then every 5 to 10, and the offers: clinical.md, 5, step 10 [K].
    Skin at 5 and 10 minutes of a first exposure: 3.2 [E]. Attention: a proposal of this project.
    """
    return Schedule(
        comfort_every_ms=comfort_every_ms,
        skin_at_ms=(5 * MINUTE_MS, 10 * MINUTE_MS) if is_first_exposure else (),
        accommodation_every_ms=accommodation_every_ms,
        attention_after_ms=attention_after_ms,
        attention_answer_ms=attention_answer_ms,
        end_before_ms=MINUTE_MS,
    )


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question at one time; `due_ms` counts what the whole visit delivered."""

    topic: Topic
    due_ms: int
    is_overdue: bool = False

    @property
    def id(self) -> str:
        """Return the name in the record."""
        return f"{self.topic.value}-{self.due_ms // MS_PER_S}s"

    @property
    def wording(self) -> Wording:
        """Return question and answers."""
        return WORDINGS[self.topic]


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a prompt, as the record has it: an answer, or why there is none."""

    prompt: Prompt
    answer: str
    delivered_ms: int
    meaning: Meaning = Meaning.NOTHING
    advice: str = ""


class Prompts:
    """Ask what a schedule says."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._former_ms = 0
        self._delivered_ms = 0
        self._seen_ms = 0
        self._key_ms = 0
        self._is_end_told = False
        self._open: dict[Topic, Prompt] = {}

    @property
    def total_ms(self) -> int:
        """Return what was delivered so far, in every stimulation of the visit."""
        return self._former_ms + self._delivered_ms

    @property
    def open(self) -> tuple[Prompt, ...]:
        """Return what is asked now, the gravest first."""
        return tuple(self._open[topic] for topic in _GRAVITY if topic in self._open)

    @property
    def shown(self) -> Prompt | None:
        """Return the gravest."""
        return next(iter(self.open), None)

    @property
    def is_pause_due(self) -> bool:
        """Tell whether an attention check has gone unanswered for too long."""
        asked = self._open.get(Topic.ATTENTION)
        return asked is not None and asked.is_overdue

    def advance(
        self, delivered_ms: int, left_ms: int | None, *, can_rise: bool = True
    ) -> tuple[Settled, ...]:
        """Let delivered time pass; return what became overdue, or gave way unanswered.

        Args:
            delivered_ms: of this stimulation; less than before begins another one.
            left_ms: until the end; None where there is none.
            can_rise: whether one step more is possible at all; else none is offered.
        """
        if delivered_ms < self._delivered_ms:
            self._former_ms += self._delivered_ms
            self._is_end_told = False
        self._delivered_ms = delivered_ms
        settled: list[Settled] = []
        for prompt in self._due(left_ms, can_rise):
            settled += self._ask(prompt)
        self._seen_ms = self.total_ms
        for topic, prompt in list(self._open.items()):
            if not prompt.is_overdue and self.total_ms - prompt.due_ms >= self._allowed_ms(topic):
                self._open[topic] = late = Prompt(topic, prompt.due_ms, is_overdue=True)
                settled.append(Settled(late, OVERDUE, self.total_ms))
        return tuple(settled)

    def answer(self, prompt_id: str, key: str) -> tuple[Settled, ...]:
        """Take an answer key for the prompt that was on screen; return what it settles.

        Nothing, where that prompt is not asked any more or has no such answer.
        """
        prompt = next((each for each in self._open.values() if each.id == prompt_id), None)
        if prompt is None:
            return ()
        given = next((each for each in prompt.wording.answers if each.key == key), None)
        if given is None:
            return ()
        del self._open[prompt.topic]
        settled = [Settled(prompt, given.answer, self.total_ms, given.meaning, given.advice)]
        if prompt.topic is not Topic.ATTENTION:
            settled += self.note_key()
        self._key_ms = self.total_ms
        if given.meaning is Meaning.OFFER:
            settled += self._ask(Prompt(Topic.ACCOMMODATION, self.total_ms))
        elif given.meaning in (Meaning.ADVISE_STOP, Meaning.ADVISE_LOWER):
            settled += self._end(Topic.ACCOMMODATION, WITHDRAWN)
        return tuple(settled)

    def note_key(self) -> tuple[Settled, ...]:
        """Take any other key as a sign that somebody is there."""
        self._key_ms = self.total_ms
        return self._end(Topic.ATTENTION, BY_KEY)

    def _due(self, left_ms: int | None, can_rise: bool) -> list[Prompt]:
        """Return what falls due after what was seen, up to now."""
        plan, seen_ms, now_ms = self._schedule, self._seen_ms, self.total_ms
        due = [Prompt(Topic.SKIN, at_ms) for at_ms in plan.skin_at_ms if seen_ms < at_ms <= now_ms]
        due += [Prompt(Topic.COMFORT, at) for at in _times(plan.comfort_every_ms, seen_ms, now_ms)]
        if can_rise:
            times = _times(plan.accommodation_every_ms, seen_ms, now_ms)
            due += [Prompt(Topic.ACCOMMODATION, at_ms) for at_ms in times]
        attention_ms = self._key_ms + plan.attention_after_ms
        if plan.attention_after_ms and now_ms >= attention_ms and Topic.ATTENTION not in self._open:
            due.append(Prompt(Topic.ATTENTION, attention_ms))
        if left_ms is not None and left_ms <= plan.end_before_ms and not self._is_end_told:
            self._is_end_told = True
            due.append(Prompt(Topic.END, now_ms))
        return due

    def _allowed_ms(self, topic: Topic) -> int:
        plan = self._schedule
        return plan.attention_answer_ms if topic is Topic.ATTENTION else plan.answer_ms

    def _ask(self, prompt: Prompt) -> tuple[Settled, ...]:
        gone = self._end(prompt.topic, UNANSWERED)
        self._open[prompt.topic] = prompt
        return gone

    def _end(self, topic: Topic, answer: str) -> tuple[Settled, ...]:
        prompt = self._open.pop(topic, None)
        return () if prompt is None else (Settled(prompt, answer, self.total_ms),)


def _times(every_ms: int, after_ms: int, until_ms: int) -> list[int]:
    """Return the multiples of an interval above `after_ms` and up to `until_ms`."""
    if every_ms <= 0:
        return []
    return list(range((after_ms // every_ms + 1) * every_ms, until_ms + 1, every_ms))
