"""The shipped protocols, restated by hand: which there are, what they deliver, in which order."""

from __future__ import annotations

from datetime import date

import pytest

from estim.profile import library
from estim.visit import course, guide, protocol
from estim.visit.known import Given
from estim.visit.protocol import Protocol, Step
from estim.visit.questions import Answers

NEUROPATHY = {
    "diabetic-neuropathy": "diabetic",
    "chemotherapy-neuropathy": "chemotherapy",
    "idiopathic-neuropathy": "idiopathic",
}
CONDITIONS = (*NEUROPATHY, "knee-osteoarthritis", "low-back-pain", "quadriceps-nmes")
PEOPLE = sorted(f"{name}-{visit}" for name in CONDITIONS for visit in ("first", "follow-up"))
BENCH = "technician-acceptance"

PROFILES = {
    "diabetic-neuropathy": ["dpn-conventional", "dpn-14hz", "dpn-peroneal-low-rate"],
    "chemotherapy-neuropathy": [
        "cipn-conventional",
        "cipn-calf-randomised",
        "cipn-calf-alternating",
    ],
    "idiopathic-neuropathy": ["idiopathic-neuropathy"],
    "knee-osteoarthritis": ["knee-osteoarthritis"],
    "low-back-pain": ["low-back-pain"],
    "quadriceps-nmes": ["nmes-quadriceps", "nmes-alternating", "nmes-simultaneous"],
}
"""What each condition is treated with, the first being proposed; alike at every visit."""

AT_MOST_TWELVE_KEYS = [
    *("screen", "test_sensation", "place_electrodes"),  # carried: one key each
    *("consent", "inspect_skin", "assess", "try_stop"),  # two, two, two keys and the stop itself
    "stimulate",  # and a key to arm: 11 in all
]


def get(protocol_id: str) -> Protocol:
    return protocol.find(protocol_id).protocol


def condition(protocol_id: str) -> str:
    return protocol_id.removesuffix("-first").removesuffix("-follow-up")


def steps(found: Protocol, kind: str) -> list[Step]:
    return [step for step in found.steps if step.kind == kind]


def words(found: Protocol) -> str:
    """Return everything that a protocol says to whoever follows it."""
    said = [(step.why, step.do, step.gates, *step.points) for step in found.steps]
    return " ".join(text for texts in said for text in texts)


def points(found: Protocol) -> list[str]:
    return [point for step in steps(found, "educate") for point in step.points]


def test_these_protocols_are_shipped_and_no_others() -> None:
    assert len(PEOPLE) == 12
    assert protocol.shipped_ids() == sorted([*PEOPLE, BENCH])


@pytest.mark.parametrize("protocol_id", PEOPLE)
def test_a_protocol_is_of_the_visit_that_its_name_says(protocol_id: str) -> None:
    found = get(protocol_id)
    assert protocol_id == f"{condition(protocol_id)}-{found.visit}"
    assert found.title.endswith(", follow-up" if found.visit == "follow-up" else ", first visit")


@pytest.mark.parametrize("protocol_id", PEOPLE)
def test_each_visit_stimulates_once_with_what_its_condition_is_treated_with(
    protocol_id: str,
) -> None:
    # Both visits offer the same, else what was answered about the choice could not be carried.
    offered = [list(step.profiles) for step in steps(get(protocol_id), "stimulate")]
    assert offered == [PROFILES[condition(protocol_id)]]


@pytest.mark.parametrize("protocol_id", PEOPLE)
def test_each_profile_is_for_what_the_protocol_is_for(protocol_id: str) -> None:
    found = get(protocol_id)
    for profile_id in steps(found, "stimulate")[0].profiles:
        profile = library.find(profile_id).profile
        assert found.indications[0] in profile.indications, profile_id


@pytest.mark.parametrize("protocol_id", PEOPLE)
def test_a_neuropathy_is_treated_by_profiles_of_its_cause_and_none_that_moves_a_limb(
    protocol_id: str,
) -> None:
    found = get(protocol_id)
    cause = NEUROPATHY.get(condition(protocol_id))
    if cause is None:
        assert found.neuropathy is None
        return
    assert found.neuropathy is not None
    assert found.neuropathy.causes == (cause,)
    assert set(found.neuropathy.kinds) == {"peripheral", "autonomic"}
    for profile_id in steps(found, "stimulate")[0].profiles:
        profile = library.find(profile_id).profile
        assert profile.neuropathy is not None, profile_id
        assert profile.neuropathy.causes == (cause,), profile_id
        assert not profile.is_motor, profile_id


@pytest.mark.parametrize("protocol_id", [name for name in PEOPLE if name.endswith("-follow-up")])
def test_a_repeat_visit_asks_these_and_nothing_else_before_the_current(protocol_id: str) -> None:
    found = get(protocol_id)
    kinds = [step.kind for step in found.steps]
    assert kinds[:8] == AT_MOST_TWELVE_KEYS
    assert found.steps[5].instruments == ("pain-now",)
    assert found.steps[4].when == found.steps[5].when == "before"


@pytest.mark.parametrize("protocol_id", [name for name in PEOPLE if name.endswith("-follow-up")])
def test_what_a_repeat_visit_asks_anew_is_one_question_each(protocol_id: str) -> None:
    found = get(protocol_id)
    given = Given(date(2026, 3, 2), sensation_valid_days=28, electrode_uses_max=20)
    visit = course.begin(found, "p", "t1")
    answered: dict[str, Answers] = {"inspect_skin": {"clear": True}}
    for step in found.steps[3:7]:
        form = guide.form(step, visit, given, answered.get(step.kind, {}))
        assert len(form) == 1, step.id


@pytest.mark.parametrize("name", CONDITIONS)
def test_what_can_be_carried_has_the_same_id_at_both_visits(name: str) -> None:
    first, later = get(f"{name}-first"), get(f"{name}-follow-up")
    for kind in ("screen", "test_sensation", "place_electrodes"):
        assert [s.id for s in steps(first, kind)] == [s.id for s in steps(later, kind)]
    assert first.neuropathy == later.neuropathy


@pytest.mark.parametrize("protocol_id", PEOPLE)
def test_each_visit_has_the_whole_of_a_visit_and_ends_with_the_same_question(
    protocol_id: str,
) -> None:
    found = get(protocol_id)
    for kind in ("exercise", "manual_therapy", "adjunct", "educate"):
        assert len(steps(found, kind)) == 1, kind
    assert "pain-now" in steps(found, "assess")[0].instruments
    # The last assessment is the one that 'after' is read from.
    assert steps(found, "assess")[-1].instruments == ("pain-now", "pgic")
    gone = [step.kind for step in found.steps[-2:]]
    assert gone == ["assess", "review"]


@pytest.mark.parametrize("protocol_id", PEOPLE)
def test_every_gate_says_what_it_gates_and_no_gate_may_be_left_out(protocol_id: str) -> None:
    for step in get(protocol_id).steps:
        if step.kind in protocol.BEFORE_OUTPUT:
            assert step.gates != "nothing", step.id
            assert not step.may_skip, step.id
        assert len(step.why) <= 200, step.id
        assert len(step.do) <= 280, step.id


@pytest.mark.parametrize("protocol_id", [*PEOPLE, BENCH])
def test_how_sure_it_is_stands_in_each(protocol_id: str) -> None:
    found = get(protocol_id)
    assert found.review_status == "not reviewed by a clinician"
    assert found.basis.certainty in ("K", "E")
    if protocol_id.startswith("idiopathic"):
        assert found.basis.certainty == "E"
        assert "without a study in this condition" in found.basis.source


@pytest.mark.parametrize("visit", ["first", "follow-up"])
def test_diabetic_education_names_daily_inspection_and_the_yearly_review(visit: str) -> None:
    told = points(get(f"diabetic-neuropathy-{visit}"))
    assert any("feet every day" in point and "sole" in point for point in told)
    assert any("once a year" in point and "wound" in point for point in told)
    assert any("hot-water" in point for point in told)


@pytest.mark.parametrize("name", NEUROPATHY)
def test_a_neuropathy_is_trained_for_balance_and_followed_by_falls(name: str) -> None:
    for visit in ("first", "follow-up"):
        found = get(f"{name}-{visit}")
        exercises = [each for step in steps(found, "exercise") for each in step.exercises]
        assert any("stand" in each.name.lower() and each.hold_s for each in exercises)
        manual = [each.name for step in steps(found, "manual_therapy") for each in step.exercises]
        assert any("nerve gliding" in each for each in manual)
        asked = [name for step in steps(found, "assess") for name in step.instruments]
        assert {"tug", "falls", "monofilament-plantar"} <= set(asked)
        assert any("once a year" in point for point in points(found))


@pytest.mark.parametrize("protocol_id", [n for n in PEOPLE if not n.startswith("quadriceps")])
def test_only_the_thigh_is_made_to_contract(protocol_id: str) -> None:
    found = get(protocol_id)
    offered = steps(found, "stimulate")[0].profiles
    assert not any(library.find(each).profile.is_motor for each in offered)


@pytest.mark.hazard(43)
@pytest.mark.parametrize("visit", ["first", "follow-up"])
def test_contractions_are_seated_or_lying_and_wait_for_the_surgeon(visit: str) -> None:
    found = get(f"quadriceps-nmes-{visit}")
    assert all(library.find(p).profile.is_motor for p in steps(found, "stimulate")[0].profiles)
    screening = steps(found, "screen")[0].do
    assert "surgery" in screening
    assert "cleared" in screening
    placing = steps(found, "place_electrodes")[0].do
    assert "Seated" in placing
    assert "never standing" in placing
    assert "calf" in steps(found, "inspect_skin")[0].do


def test_a_first_exposure_of_contractions_is_shorter() -> None:
    assert "Fewer contractions" in steps(get("quadriceps-nmes-first"), "stimulate")[0].do


@pytest.mark.parametrize("visit", ["first", "follow-up"])
def test_cycle_and_platelets_are_asked_after_chemotherapy(visit: str) -> None:
    screening = steps(get(f"chemotherapy-neuropathy-{visit}"), "screen")[0].do
    assert "cycle" in screening
    assert "platelet" in screening


@pytest.mark.parametrize("visit", ["first", "follow-up"])
def test_back_pain_that_is_a_warning_is_sent_to_a_doctor_the_same_day(visit: str) -> None:
    screening = steps(get(f"low-back-pain-{visit}"), "screen")[0].do.lower()
    for sign in ("bladder or bowel", "between the legs", "weaker", "fever", "fall"):
        assert sign in screening, sign
    assert "today" in screening


@pytest.mark.parametrize("protocol_id", PEOPLE)
def test_nothing_promises_what_nobody_knows(protocol_id: str) -> None:
    said = words(get(protocol_id)).lower()
    for claim in ("cure", "heals nerves", "restores", "guarantee", "proven", "no side effect"):
        assert claim not in said, claim


@pytest.mark.parametrize(
    "protocol_id", [n for n in PEOPLE if "adjunct" in {s.kind for s in get(n).steps}]
)
def test_no_stimulation_in_or_near_water(protocol_id: str) -> None:
    assert "in or near water" in steps(get(protocol_id), "adjunct")[0].do


def test_the_acceptance_test_is_for_the_bench_and_needs_nobody() -> None:
    found = get(BENCH)
    assert not found.is_for_people
    assert [step.kind for step in found.steps] == [
        *("check", "check", "stimulate", "check", "check", "educate", "review"),
    ]
    names = [check.name for step in steps(found, "check") for check in step.checks]
    assert {"500 ohm", "2 kohm", "10 kohm", "Self-test", "Stop key", "Identity"} <= set(names)
    commands = [c.command for step in steps(found, "check") for c in step.checks if c.command]
    assert {each.split()[1] for each in commands} == {
        *("doctor", "devices", "profiles", "station", "verify", "characterise"),
    }


def test_every_command_of_the_acceptance_test_is_one_that_estim_knows() -> None:
    from estim.cli.parser import build_parser

    for step in steps(get(BENCH), "check"):
        for check in step.checks:
            if check.command:
                build_parser().parse_args(check.command.split()[1:])
