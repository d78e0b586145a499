"""The course of a visit: one fold over what was confirmed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.errors import LimitRefused, UsageError
from estim.visit import course, protocol
from estim.visit.course import Visit

PROTOCOL = protocol.find("diabetic-neuropathy-first").protocol
START = course.begin(PROTOCOL, "K7Q2M9X", "t1")


def _answered(visit: Visit, *step_ids: str) -> Visit:
    for step_id in step_ids:
        visit = course.fold(visit, *course.answer(visit, PROTOCOL.step(step_id), {"ok": True}))
    return visit


def test_steps_come_in_the_order_of_the_protocol() -> None:
    assert START.next_step == PROTOCOL.steps[0]
    visit = _answered(START, "screening")
    assert visit.next_step is not None
    assert visit.next_step.id == "consent"
    with pytest.raises(LimitRefused, match="first comes 'Explain and agree'"):
        course.answer(visit, PROTOCOL.step("electrodes"), {})


def test_a_gate_cannot_be_left_out_whatever_the_reason() -> None:
    with pytest.raises(LimitRefused, match="may not be left out"):
        course.skip(START, PROTOCOL.step("screening"), "in a hurry")
    # Nor by a line in a record that says so.
    forged = course.fold(
        START, "skip", {"step": "screening", "reason": "in a hurry", "operator": "t1"}
    )
    assert forged.next_step == PROTOCOL.steps[0]
    assert forged.odd_count == 1


def test_a_step_is_left_out_with_a_reason_alone_and_can_be_answered_after_all() -> None:
    visit = _answered(START, "screening", "consent")
    with pytest.raises(UsageError, match="reason"):
        course.skip(visit, PROTOCOL.step("baseline"), "  ")
    visit = course.fold(visit, *course.skip(visit, PROTOCOL.step("baseline"), "came late"))
    assert visit.skipped["baseline"].reason == "came late"
    assert visit.next_step is not None
    assert visit.next_step.id == "function"
    visit = _answered(visit, "baseline")
    assert "baseline" not in visit.skipped
    assert visit.answered["baseline"].answers == {"ok": True}


def test_output_waits_for_every_gate() -> None:
    waiting = [step.id for step in START.missing_before_output()]
    assert waiting == ["screening", "consent", "skin-before", "sensation", "stop", "electrodes"]
    visit = _answered(START, "screening", "consent")
    assert [step.id for step in visit.missing_before_output()] == waiting[2:]


def test_while_the_stimulation_is_next_only_what_hangs_on_nothing_of_it_opens() -> None:
    assert START.open_meanwhile == ()
    visit = START
    for step in PROTOCOL.steps[: PROTOCOL.steps.index(PROTOCOL.step("stimulation"))]:
        visit = _answered(visit, step.id)
    assert visit.next_step == PROTOCOL.step("stimulation")
    assert [step.id for step in visit.open_meanwhile] == ["adjuncts", "education"]
    for later in ("skin-after", "exercise", "manual", "outcome", "review"):
        with pytest.raises(LimitRefused, match="first comes 'Stimulation'"):
            course.answer(visit, PROTOCOL.step(later), {})
    visit = _answered(visit, "education")
    assert visit.next_step == PROTOCOL.step("stimulation")
    assert [step.id for step in visit.open_meanwhile] == ["adjuncts"]
    visit = _answered(visit, "stimulation")
    assert visit.open_meanwhile == ()
    assert visit.next_step == PROTOCOL.step("skin-after")


def test_nothing_answered_meanwhile_takes_the_place_of_a_gate() -> None:
    visit = _answered(START, "screening", "consent")
    visit = course.fold(visit, "educate", {"step": "education", "operator": "t1", "answers": {}})
    assert visit.open_meanwhile == ()
    assert [step.id for step in visit.missing_before_output()] == [
        "skin-before", "sensation", "stop", "electrodes",
    ]  # fmt: skip


def test_a_gate_answered_anew_takes_back_what_was_read_back() -> None:
    visit = _answered(START, "screening", "consent")
    visit = course.fold(visit, "read_back", {"program_digest": "aa"})
    assert visit.read_back == {"program_digest": "aa"}
    assert _answered(visit, "screening").read_back is None
    assert (
        course.fold(
            visit, "override", {"item": "heart", "clinician": "c1", "reason": "cleared"}
        ).read_back
        is None
    )


def test_the_newest_marker_holds_for_each_channel() -> None:
    visit = START
    for channel, marker, amplitude_ua in (
        (1, "sensory", 3000),
        (1, "sensory", 3500),
        (2, "motor", 9000),
        (1, "painful", 1),
        (True, "motor", 1.5),
    ):
        content = {"channel": channel, "marker": marker, "amplitude_ua": amplitude_ua}
        visit = course.fold(visit, "marker", content)
    assert visit.markers == {(1, "sensory"): 3500, (2, "motor"): 9000}
    assert visit.odd_count == 2


def test_after_a_handover_another_operator_answers() -> None:
    visit = course.fold(START, "handover", {"from_operator": "t1", "to_operator": "t2"})
    _, content = course.answer(visit, PROTOCOL.steps[0], {})
    assert content["operator"] == "t2"


def test_nothing_is_answered_after_the_review() -> None:
    visit = START
    for step in PROTOCOL.steps:
        visit = _answered(visit, step.id)
    assert visit.is_reviewed
    with pytest.raises(LimitRefused, match="was reviewed"):
        course.answer(visit, PROTOCOL.steps[0], {})


_JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
_NAMES = ["step", "operator", "answers", "channel", "marker", "amplitude_ua", "text", "item"]


@given(
    st.sampled_from([*protocol.KINDS, "skip", "override", "marker", "handover", "note", "plan"]),
    st.dictionaries(st.sampled_from(_NAMES), _JUNK | st.just("screening")),
)
def test_folding_takes_anything_and_never_opens_a_gate_by_it(
    kind: str, content: dict[str, Any]
) -> None:
    visit = course.fold(START, kind, content)
    if kind != "screen":
        assert len(visit.missing_before_output()) == 6
