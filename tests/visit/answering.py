"""Answer forms as a person might: by chance, and as nobody should."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from estim.visit.questions import Answer, Answers, Form, Kind, Question

JUNK: st.SearchStrategy[Answer] = st.one_of(
    st.booleans(), st.integers(), st.text(max_size=20), st.sampled_from(["", "no", "1e9", "-0.0"])
)


def answer_to(question: Question) -> st.SearchStrategy[Answer]:
    """Return answers that a question takes."""
    low, high = question.minimum, question.maximum
    if question.kind is Kind.YES_NO:
        return st.booleans()
    if question.kind is Kind.CHOICE:
        return st.sampled_from([choice.id for choice in question.choices])
    if question.kind is Kind.WHOLE:
        return st.integers(low, high)
    if question.kind is Kind.DECIMAL:
        tenths = st.integers((low or 0) * 10, (9999 if high is None else high) * 10)
        return tenths.map(lambda n: f"{'-' if n < 0 else ''}{abs(n) // 10}.{abs(n) % 10}")
    return st.sampled_from(["no", "pending", "Dr 4711, 2 May", "lot 7", "2026-11-30", "2020-01"])


def fill(
    draw: Callable[..., Answer], form_of: Callable[[Answers], Form], is_whole: bool
) -> Answers:
    """Return answers to a form that grows with them; all that must be answered if `is_whole`."""
    answers: dict[str, Answer] = {}
    passed: set[str] = set()
    for _ in range(400):
        left = [q for q in form_of(answers) if q.id not in passed]
        if not left:
            return answers
        question = left[0]
        passed.add(question.id)
        skips = not is_whole or question.is_optional
        if not (skips and draw(st.integers(0, 9)) == 0):
            answers[question.id] = draw(answer_to(question))
    raise AssertionError("the form has no end")
