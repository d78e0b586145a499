"""Each prompt is asked once and ends answered or unanswered, however time jumps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.visit.prompts import (
    ANSWER_KEYS,
    WORDINGS,
    Meaning,
    Prompts,
    Schedule,
    Settled,
    Topic,
    schedule_for_a_person,
)

MIN = 60_000
FIRST = schedule_for_a_person(is_first_exposure=True)
PLAIN = Schedule(comfort_every_ms=5 * MIN)


def at(prompts: Prompts, minutes: float, left_ms: int | None = None) -> tuple[Settled, ...]:
    return prompts.advance(int(minutes * MIN), left_ms)


def ids(prompts: Prompts) -> list[str]:
    return [prompt.id for prompt in prompts.open]


def test_comfort_is_asked_after_5_minutes_and_every_5_minutes_then() -> None:
    prompts = Prompts(PLAIN)
    at(prompts, 4.999)
    assert prompts.shown is None
    at(prompts, 5)
    assert ids(prompts) == ["comfort-300s"]
    (settled,) = prompts.answer("comfort-300s", "y")
    assert (settled.answer, settled.delivered_ms) == ("comfortable", 300_000)
    assert prompts.shown is None
    at(prompts, 9.9)
    assert prompts.shown is None  # once
    at(prompts, 10)
    assert ids(prompts) == ["comfort-600s"]


def test_skin_is_looked_at_after_5_and_10_minutes_of_a_first_exposure_alone() -> None:
    prompts = Prompts(FIRST)
    at(prompts, 5)
    assert ids(prompts) == ["skin-300s", "comfort-300s"]  # the graver first
    (settled,) = prompts.answer("skin-300s", "n")
    assert settled.meaning is Meaning.ADVISE_STOP
    assert "stop now" in settled.advice
    at(prompts, 10)
    assert "skin-600s" in ids(prompts)
    at(prompts, 30)
    assert [one for one in ids(prompts) if one.startswith("skin")] == ["skin-600s"]
    assert schedule_for_a_person(is_first_exposure=False).skin_at_ms == ()


@pytest.mark.hazard(32)
def test_an_attention_check_without_an_answer_asks_for_a_pause_and_a_key_takes_it_back() -> None:
    prompts = Prompts(Schedule(attention_after_ms=10 * MIN, attention_answer_ms=MIN))
    at(prompts, 10)
    assert ids(prompts) == ["attention-600s"]
    assert bool(prompts.is_pause_due) is False
    assert at(prompts, 10.99) == ()
    (late,) = at(prompts, 11)
    assert (late.prompt.id, late.answer) == ("attention-600s", "overdue")
    assert bool(prompts.is_pause_due) is True
    assert at(prompts, 12) == ()  # overdue once
    (settled,) = prompts.note_key()
    assert settled.answer == "key"
    assert bool(prompts.is_pause_due) is False
    at(prompts, 21.99)
    assert prompts.shown is None  # ten minutes after that key
    at(prompts, 22)
    assert ids(prompts) == ["attention-1320s"]
    (settled,) = prompts.answer("attention-1320s", "y")
    assert settled.answer == "present"


def test_any_answer_shows_that_somebody_is_there() -> None:
    prompts = Prompts(Schedule(comfort_every_ms=9 * MIN, attention_after_ms=10 * MIN))
    at(prompts, 9)
    prompts.answer("comfort-540s", "y")
    at(prompts, 18.9)
    assert Topic.ATTENTION not in {prompt.topic for prompt in prompts.open}
    at(prompts, 19)
    assert prompts.shown is not None
    assert prompts.shown.topic is Topic.ATTENTION  # the gravest of two
    assert [one.answer for one in prompts.answer("comfort-1080s", "y")] == ["comfortable", "key"]


def test_fainter_brings_an_offer_and_too_strong_takes_one_back() -> None:
    prompts = Prompts(PLAIN)
    at(prompts, 5)
    prompts.answer("comfort-300s", "u")
    assert ids(prompts) == ["accommodation-300s"]
    (taken,) = prompts.answer("accommodation-300s", "y")
    assert taken.meaning is Meaning.RAISE
    at(prompts, 10)
    prompts.answer("comfort-600s", "u")
    at(prompts, 15)
    settled = prompts.answer("comfort-900s", "n")
    assert [(one.prompt.topic, one.answer) for one in settled] == [
        (Topic.COMFORT, "too_strong"),
        (Topic.ACCOMMODATION, "withdrawn"),
    ]
    assert settled[0].meaning is Meaning.ADVISE_LOWER


def test_no_step_is_offered_where_none_is_possible() -> None:
    prompts = Prompts(Schedule(accommodation_every_ms=MIN))
    prompts.advance(MIN, None, can_rise=False)
    assert prompts.shown is None
    prompts.advance(2 * MIN, None, can_rise=True)
    assert ids(prompts) == ["accommodation-120s"]


def test_the_end_is_told_once_in_each_stimulation() -> None:
    prompts = Prompts(Schedule(end_before_ms=MIN))
    at(prompts, 28, left_ms=MIN + 1)
    assert prompts.shown is None
    at(prompts, 29, left_ms=MIN)
    assert ids(prompts) == ["end-1740s"]
    prompts.answer("end-1740s", "y")
    at(prompts, 29.5, left_ms=MIN // 2)
    assert prompts.shown is None
    at(prompts, 0, left_ms=30 * MIN)  # another stimulation
    at(prompts, 29, left_ms=MIN)
    assert ids(prompts) == ["end-3510s"]  # 29.5 + 29 minutes


def test_a_second_stimulation_goes_on_counting_where_the_first_ended() -> None:
    prompts = Prompts(FIRST)
    at(prompts, 4)
    at(prompts, 0)
    at(prompts, 1)
    assert "skin-300s" in ids(prompts)


def test_an_answer_counts_for_the_prompt_that_was_on_screen() -> None:
    prompts = Prompts(FIRST)
    at(prompts, 5)
    assert prompts.answer("comfort-240s", "y") == ()  # gone
    assert prompts.answer("skin-300s", "u") == ()  # no such answer
    assert prompts.answer("skin-300s", "y")[0].answer == "as_before"
    assert prompts.answer("skin-300s", "y") == ()  # once


@pytest.mark.parametrize("topic", list(Topic))
def test_every_topic_is_answered_by_one_key_of_three(topic: Topic) -> None:
    keys = [answer.key for answer in WORDINGS[topic].answers]
    assert len(set(keys)) == len(keys)
    assert set(keys) <= set(ANSWER_KEYS)
    assert len({answer.answer for answer in WORDINGS[topic].answers}) == len(keys)


@given(
    st.lists(st.integers(0, 12 * MIN), max_size=40),
    st.lists(st.sampled_from([None, "y", "n", "u"]), min_size=40, max_size=40),
)
def test_each_prompt_is_settled_at_most_once_and_asked_at_its_times_however_time_jumps(
    steps: list[int], keys: list[str | None]
) -> None:
    prompts, seen, ends, now_ms = Prompts(PLAIN), set(), [], 0
    for step_ms, key in zip(steps, keys, strict=False):
        now_ms += step_ms
        settled = list(prompts.advance(now_ms, None))
        seen |= {each.id for each in prompts.open} | {each.prompt.id for each in settled}
        if key and prompts.shown:
            settled += prompts.answer(prompts.shown.id, key)
        ends += [each.prompt.id for each in settled if each.answer != "overdue"]
    assert len(ends) == len(set(ends))
    comfort = {name for name in seen if name.startswith("comfort")}
    # Every fifth minute that has passed, worked out anew: 300 s, 600 s, ...
    assert comfort == {f"comfort-{300 * n}s" for n in range(1, now_ms // (5 * MIN) + 1)}
    assert comfort - set(ends) <= {each.id for each in prompts.open}
