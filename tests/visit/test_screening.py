"""Every yes has exactly the consequence that clinical.md 3.1 gives it, and nothing gets round it.

The tables are restated by hand from clinical.md 3.1; rows of the brief that are not in it stand
below them with their own certainty.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estim.profile.body_chart import SITES, Site
from estim.profile.models import NEUROPATHY_CAUSES, NEUROPATHY_KINDS
from estim.visit import screening
from estim.visit.questions import Answer, Answers, Kind
from estim.visit.regions import EVERYWHERE, LIMBS, REGIONS, never
from estim.visit.screening import Context, Override, Screening
from estim.visit.screening_items import Item
from tests.visit.answering import JUNK, fill

LOW_BACK = {s for s in SITES if "low-back" in s} | {"left-buttock-upper", "right-buttock-upper"}
ABDOMEN = {s for s in SITES if "abdomen" in s}
LEFT_FOOT = {
    "left-ankle-front", "left-foot-top-outer", "left-foot-top-inner", "left-toes-base-outer",
    "left-toes-base-inner", "left-sole-front-outer", "left-sole-front-inner", "left-heel",
    "left-inner-ankle-behind",
}  # fmt: skip
LEFT_LEG = {s for s, site in SITES.items() if site.part == "left leg"}
BLADES = {"left-shoulder-blade-above", "right-shoulder-blade-above"}
CHEST = {
    "left-shoulder-front", "right-shoulder-front", "left-abdomen-upper", "right-abdomen-upper",
    "left-low-back-upper", "right-low-back-upper",
} | BLADES  # fmt: skip
GENITALS = {
    "left-abdomen-lowest", "right-abdomen-lowest", "left-thigh-upper-inner",
    "right-thigh-upper-inner",
}  # fmt: skip
NONE: set[str] = set()

# id: (class, source, certainty, what sensory modes get, what motor modes get, forbidden sites).
# A place that is asked for is answered 'left-foot', a limb 'left-leg'.
TABLE: Mapping[str, tuple[str, str, str, str, str, set[str]]] = {
    "active-implant": ("STOP", "as", "S", "stop", "stop", NONE),
    "neck-front": ("LOCAL", "as", "S", "caution", "caution", BLADES),
    "head": ("LOCAL", "as", "S", "caution", "caution", NONE),
    "chest": ("LOCAL", "as", "S", "caution", "caution", CHEST),
    "pregnancy": ("LOCAL", "neurorehab", "S", "clearance", "clearance", ABDOMEN | LOW_BACK),
    "malignancy": ("LOCAL", "eva", "S", "caution", "caution", LEFT_FOOT),
    "thrombosis": ("LOCAL", "ds", "S", "caution", "stop", LEFT_LEG),
    "infection": ("LOCAL", "eva", "S", "caution", "caution", LEFT_FOOT),
    "skin": ("LOCAL", "eva", "S", "caution", "caution", LEFT_FOOT),
    "epilepsy": ("CARE", "intelect", "S", "caution", "caution", BLADES),
    "bleeding": ("CARE", "zynex", "S", "caution", "stop", NONE),
    "surgery-fracture": ("CARE", "zynex", "S", "caution", "stop", NONE),
    "uterus": ("CARE", "zynex", "S", "caution", "caution", NONE),
    "numb-skin": ("CARE", "intelect", "S", "caution", "caution", NONE),
    "undiagnosed-pain": ("STOP", "intelect", "S", "stop", "stop", NONE),
    "arterial-leg": ("MD", "ds", "S", "clearance", "clearance", NONE),
    "heart": ("MD", "eva", "S", "clearance", "clearance", NONE),
    "genitals": ("LOCAL", "", "K", "caution", "caution", GENITALS),
    "growing-bone": ("LOCAL", "", "K", "-", "caution", LEFT_FOOT),
    "cannot-report": ("STOP", "neurorehab", "S", "stop", "stop", NONE),
    "adhesive-allergy": ("CARE", "neurorehab", "S", "caution", "caution", NONE),
    "metal": ("CARE", "", "K", "caution", "caution", NONE),
    "shortwave": ("STOP", "as", "S", "stop", "stop", NONE),
    "driving-bath-sleep": ("STOP", "cfr5891", "S", "stop", "stop", NONE),
    "standing-first": ("STOP", "compex", "S", "stop", "stop", NONE),
    "under-18": ("MD", "", "K", "clearance", "clearance", NONE),
    # Not in clinical.md 3.1.
    "posture-motor": ("STOP", "", "E", "-", "stop", NONE),
    "worn-pump-sensor": ("LOCAL", "", "K?", "caution", "caution", LEFT_FOOT),
    "insulin": ("CARE", "", "K", "caution", "caution", NONE),
    "lymphoedema": ("LOCAL", "", "K?", "caution", "caution", LEFT_LEG),
    "platelets": ("MD", "", "K?", "clearance", "stop", NONE),
    "chemotherapy-cycle": ("CARE", "", "E", "caution", "caution", NONE),
    "faints": ("CARE", "", "K", "caution", "caution", NONE),
}
NEVER_LIFTED = {
    "undiagnosed-pain", "shortwave", "driving-bath-sleep", "standing-first", "posture-motor",
}  # fmt: skip


def context(*, is_motor: bool = False, **known: object) -> Context:
    given: dict[str, object] = {
        "is_first_session": True,
        "cause": "chemotherapy",
        "kinds": frozenset({"autonomic"}),
        "clinicians": frozenset({"anna"}),
    }
    return Context(is_motor=is_motor, **{**given, **known})  # type: ignore[arg-type]


def answered(asked: Context, **changed: Answer) -> dict[str, Answer]:
    """Return a whole form answered no, but for `changed` (with _ for -) and what follows."""
    answers: dict[str, Answer] = {name.replace("_", "-"): a for name, a in changed.items()}
    for _ in range(9):
        for question in screening.form(asked, answers):
            if question.id in answers or question.is_optional:
                continue
            ids = [choice.id for choice in question.choices]
            if question.kind is Kind.CHOICE:
                wanted = ("nowhere-else", "unattended", "left-foot", "left-leg")
                answers[question.id] = next(i for i in wanted if i in ids)
            else:
                answers[question.id] = 3 if question.kind is Kind.WHOLE else False
    return answers


def judged(asked: Context, *overrides: Override, **changed: Answer) -> Screening:
    return screening.judge(asked, answered(asked, **changed), overrides)


def outcome(found: Screening, item: str) -> str:
    if any(stop.item == item for stop in found.stops):
        return "stop"
    if any(clearance.item == item for clearance in found.clearances):
        return "clearance"
    return "caution" if any(caution.item == item for caution in found.cautions) else "-"


def test_the_items_are_those_of_the_table_with_class_source_and_certainty() -> None:
    found = {i.id: (str(i.gravity), i.source, i.certainty) for i in screening.items()}
    assert found == {name: row[:3] for name, row in TABLE.items()}


@pytest.mark.hazard(43)
@pytest.mark.parametrize("is_motor", [False, True])
@pytest.mark.parametrize("item", TABLE)
def test_yes_leads_to_what_the_table_says_and_to_nothing_else(item: str, is_motor: bool) -> None:
    _, _, _, sensory, motor, sites = TABLE[item]
    asked = context(is_motor=is_motor)
    found = judged(asked, **{item: True})
    expected = motor if is_motor else sensory
    assert found.missing == ()
    assert outcome(found, item) == expected
    assert found.is_passed == (expected in ("caution", "-"))
    assert {f.item for f in (*found.stops, *found.clearances, *found.cautions)} <= {item}
    assert set(found.forbidden_sites) == (sites if expected != "-" else NONE)
    title = next(i.title for i in screening.items() if i.id == item)
    for reason in found.forbidden_sites.values():
        assert title in reason


@pytest.mark.parametrize("is_motor", [False, True])
def test_all_no_passes_and_forbids_nothing(is_motor: bool) -> None:
    found = judged(context(is_motor=is_motor))
    assert found.is_passed
    assert [*found.stops, *found.clearances, *found.cautions] == []
    assert not found.forbidden_sites


def test_nothing_answered_is_all_missing_and_does_not_pass() -> None:
    asked = context(is_motor=True)
    found = screening.judge(asked, {})
    assert {q.id for q in found.missing} == set(TABLE)
    assert not found.is_passed


@pytest.mark.parametrize("item", TABLE)
def test_one_item_not_answered_does_not_pass(item: str) -> None:
    asked = context(is_motor=True)
    answers = answered(asked)
    del answers[item]
    found = screening.judge(asked, answers)
    assert [q.id for q in found.missing] == [item]
    assert not found.is_passed


@pytest.mark.parametrize("item", sorted(NEVER_LIFTED))
def test_what_can_be_changed_is_never_overridden(item: str) -> None:
    found = judged(context(is_motor=True), Override(item, "anna", "well known"), **{item: True})
    assert outcome(found, item) == "stop"
    assert "STOP cannot be overridden" in found.refused_overrides[0].words


def test_an_implant_needs_prescriber_and_cardiology_and_an_override() -> None:
    names = {"active_implant_prescriber": "Dr 4711", "active_implant_cardiology": "Dr 4712"}
    override = Override("active-implant", "anna", "cleared on 2 May")
    for left_out in (*names, "both", ""):
        for overrides in ((), (override,)):
            told: dict[str, Answer] = {
                n: a for n, a in names.items() if left_out not in (n, "both")
            }
            told["active_implant"] = True
            found = judged(context(), *overrides, **told)
            assert found.is_passed == (not left_out and bool(overrides))


@pytest.mark.parametrize(
    "name", ["no", "None yet", "pending", "-", "?", "n/a", "N/A", "not cleared", "x", "yes", " ok."]
)
def test_what_names_nobody_is_no_clearance(name: str) -> None:
    assert outcome(judged(context(), heart=True, heart_prescriber=name), "heart") == "clearance"


@pytest.mark.parametrize("name", ["Dr 4711", "N. Adams 2 May", "Noble 33", "XR-12", "É. Ö."])
def test_who_cleared_is_taken_as_named(name: str) -> None:
    assert judged(context(), heart=True, heart_prescriber=name).is_passed


@pytest.mark.parametrize(
    ("item", "is_motor", "lifts"),
    [
        ("heart", False, True), ("arterial-leg", False, True), ("under-18", False, True),
        ("pregnancy", False, False), ("platelets", False, False), ("thrombosis", True, False),
        ("bleeding", True, False), ("surgery-fracture", True, False), ("platelets", True, False),
        ("cannot-report", False, False), ("active-implant", False, False),
    ],
)  # fmt: skip
def test_an_override_alone_lifts_only_what_the_rules_say(
    item: str, is_motor: bool, lifts: bool
) -> None:
    asked = context(is_motor=is_motor)
    found = judged(asked, Override(item, "anna", "well known"), **{item: True})
    assert found.is_passed is lifts
    assert bool(found.overridden) is lifts
    assert bool(found.refused_overrides) is not lifts


@pytest.mark.parametrize("item", ["bleeding", "surgery-fracture", "platelets"])
def test_no_contraction_is_lifted_by_the_prescriber_and_an_override(item: str) -> None:
    asked, override = context(is_motor=True), Override(item, "anna", "wanted after surgery")
    named: dict[str, Answer] = {item: True, f"{item}-prescriber": "Dr 4711"}
    assert not judged(asked, **named).is_passed
    assert judged(asked, override, **named).is_passed


@pytest.mark.parametrize(
    "override",
    [
        Override("heart", "berta", "well known"), Override("heart", "", "well known"),
        Override("heart", "anna", "  "), Override("heart", "anna", ""),
        Override("epilepsy", "anna", "well known"), Override("nothing", "anna", "well known"),
    ],
)  # fmt: skip
def test_an_override_without_clinician_reason_or_use_does_not_count(override: Override) -> None:
    found = judged(context(), override, heart=True)
    assert not found.is_passed
    assert len(found.refused_overrides) == 1
    assert not found.overridden


def test_local_is_lifted_only_for_palliation_with_consent_clearance_and_override() -> None:
    conditions: dict[str, Answer] = {
        "malignancy_palliative": True,
        "malignancy_consent": True,
        "malignancy_prescriber": "Dr 4711",
    }
    override = Override("malignancy", "anna", "comfort in the last weeks")
    for left_out in (*conditions, "override", ""):
        given_answers = {k: a for k, a in conditions.items() if k != left_out}
        overrides = () if left_out == "override" else (override,)
        found = judged(context(), *overrides, malignancy=True, **given_answers)
        assert set(found.forbidden_sites) == (LEFT_FOOT if left_out else NONE), left_out
    for item in ("infection", "skin", "worn-pump-sensor", "thrombosis"):
        found = judged(context(), Override(item, "anna", "well known"), **{item: True})
        assert found.forbidden_sites
        assert found.refused_overrides


def test_a_lifted_tumour_does_not_lift_a_wound_at_the_same_place() -> None:
    override = Override("malignancy", "anna", "comfort in the last weeks")
    found = judged(
        context(), override, malignancy=True, malignancy_palliative=True, malignancy_consent=True,
        malignancy_prescriber="Dr 4711", skin=True,
    )  # fmt: skip
    assert set(found.forbidden_sites) == LEFT_FOOT


def test_metastases_and_pregnancy_block_until_the_prescriber_is_named() -> None:
    spread: dict[str, Answer] = {"malignancy": True, "malignancy_metastases": True}
    pregnant: dict[str, Answer] = {"pregnancy": True}
    for asked_for in (spread, pregnant):
        item = next(iter(asked_for))
        assert outcome(judged(context(), **asked_for), item) == "clearance"
        assert not judged(context(), Override(item, "anna", "known"), **asked_for).is_passed
        named = judged(context(), **asked_for, **{f"{item}_prescriber": "Dr 47"})
        assert named.is_passed
        assert named.forbidden_sites
    trimester = judged(context(), pregnancy=True, pregnancy_first_trimester=True)
    assert "first trimester" in trimester.cautions[0].words


def test_who_cannot_report_is_stimulated_only_attended() -> None:
    attended = judged(context(), cannot_report=True, cannot_report_attended="attended")
    assert attended.is_passed
    assert outcome(attended, "cannot-report") == "caution"


def test_further_places_are_asked_for_until_there_is_no_other() -> None:
    found = judged(context(), skin=True, skin_where="left-foot", **{"skin-where-2": "right-hand"})
    hand = {"right-wrist-above", "right-forearm-middle-outer", "right-forearm-middle-inner"}
    assert set(found.forbidden_sites) == LEFT_FOOT | hand
    half = screening.judge(context(), answered(context()) | {"skin": True, "skin-where": "head"})
    assert [q.id for q in half.missing] == ["skin-where-2"]
    whole = judged(context(), skin=True, skin_where=EVERYWHERE)
    assert set(whole.forbidden_sites) == set(SITES)


def test_sites_of_the_profile_that_are_forbidden_are_named() -> None:
    asked = context(profile_sites=("left-heel", "left-calf-upper"))
    assert judged(asked, skin=True).blocked_profile_sites == ("left-heel",)


def test_what_is_not_asked_is_listed_with_the_reason() -> None:
    asked = context(is_first_session=False, cause="diabetic", kinds=frozenset(), has_womb=False)
    found = judged(asked)
    assert {f.item: f.words for f in found.not_asked} == {
        "posture-motor": "asked only where muscles are made to contract",
        "growing-bone": "asked only where muscles are made to contract",
        "standing-first": "asked only at a first session",
        "platelets": "asked only where chemotherapy is the cause",
        "lymphoedema": "asked only where chemotherapy is the cause",
        "chemotherapy-cycle": "asked only where chemotherapy is the cause",
        "faints": "asked only where autonomic nerves are affected",
        "pregnancy": "asked only of those who have a womb",
        "uterus": "asked only of those who have a womb",
    }
    assert {q.id for q in screening.form(asked, {})} | {f.item for f in found.not_asked} == set(
        TABLE
    )


def test_an_answer_to_what_is_not_asked_does_not_count() -> None:
    asked = context(has_womb=False)
    answers = answered(asked) | {"pregnancy": True, "uterus": True, "posture-motor": True}
    found = screening.judge(asked, answers)
    assert found.is_passed
    assert not found.forbidden_sites


@pytest.mark.parametrize("kind", NEUROPATHY_KINDS)
@pytest.mark.parametrize("cause", NEUROPATHY_CAUSES)
def test_kind_and_cause_of_a_neuropathy_set_precautions(kind: str, cause: str) -> None:
    plain = judged(context(kinds=frozenset(), cause=None, is_first_session=False))
    of_kind = judged(context(kinds=frozenset({kind}), cause=None, is_first_session=False))
    of_both = judged(context(kinds=frozenset({kind}), cause=cause, is_first_session=False))
    assert plain.prompts == ()
    assert len(of_both.prompts) > len(of_kind.prompts) > 0
    for prompt in of_both.prompts:
        assert prompt.words.endswith("]")


def test_autonomic_neuropathy_starts_seated_with_heart_rate_and_faintness_watched() -> None:
    words = " ".join(p.words for p in judged(context()).prompts)
    for needed in ("begin seated or lying", "heart rate", "faintness"):
        assert needed in words


def test_insulin_and_a_worn_pump_ask_once_for_a_check_of_low_sugar() -> None:
    found = judged(context(), insulin=True, worn_pump_sensor=True)
    assert len([p for p in found.prompts if "low sugar" in p.words]) == 1


def test_a_first_session_begins_with_five_minutes_of_rest() -> None:
    assert any("at least 5 min" in p.words for p in judged(context()).prompts)
    later = judged(context(is_first_session=False))
    assert not any("at least 5 min" in p.words for p in later.prompts)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("neck-front", "neck"), ("left-eye-above", "face"), ("chest-upper", "trunk"),
        ("left-temple", "skull"), ("upper", "thorax"), ("left-inner", "groin"),
        ("carotid", "left side"), ("mouth", "mouth"),
    ],
)  # fmt: skip
def test_a_site_that_a_chart_may_get_on_head_neck_or_chest_is_forbidden(
    name: str, part: str
) -> None:
    assert never(Site(name, part, "view", 0, 0)) is not None


def test_no_site_of_the_chart_is_forbidden_for_everybody() -> None:
    assert [site.name for site in SITES.values() if never(site)] == []


def test_every_site_lies_in_a_region_of_its_own_size() -> None:
    small = [r for name, r in REGIONS.items() if name not in (EVERYWHERE, *LIMBS)]
    assert frozenset().union(*(r.sites for r in small)) == frozenset(SITES)
    assert all(region.sites <= set(SITES) for region in REGIONS.values())
    for side in ("left", "right"):
        other = {"left": "right", "right": "left"}[side]
        sided = [r for r in small if r.id.startswith(side)]
        assert not any(s.startswith(other) for region in sided for s in region.sites)


@pytest.mark.parametrize("item", screening.items(), ids=lambda item: item.id)
def test_an_item_can_be_read_out(item: Item) -> None:
    assert item.words.endswith("?")
    assert item.advice
    assert item.certainty in ("S", "K", "K?", "E")
    assert bool(item.source) == (item.certainty == "S")


contexts = st.builds(
    Context,
    is_motor=st.booleans(),
    is_first_session=st.booleans(),
    cause=st.sampled_from([None, "", "made-up", *NEUROPATHY_CAUSES]),
    kinds=st.frozensets(st.sampled_from(["made-up", *NEUROPATHY_KINDS])),
    has_womb=st.sampled_from([None, True, False]),
    profile_sites=st.just(("left-calf-upper", "left-calf-middle")),
    clinicians=st.just(frozenset({"anna"})),
)
overriding = st.lists(
    st.builds(
        Override,
        st.sampled_from([*TABLE, "nothing"]),
        st.sampled_from(["anna", "berta", ""]),
        st.sampled_from(["well known", " ", ""]),
    ),
    max_size=12,
)
every_override = [Override(item, "anna", "well known") for item in TABLE]


@given(contexts, st.data(), overriding, st.booleans())
@settings(max_examples=150, deadline=None)
def test_however_a_form_is_answered_a_stop_never_passes_and_a_place_stays_forbidden(
    asked: Context, data: st.DataObject, overrides: list[Override], is_whole: bool
) -> None:
    answers = fill(data.draw, lambda so_far: screening.form(asked, so_far), is_whole)
    found = screening.judge(asked, answers, overrides)
    _check(asked, answers, found)
    _check(asked, answers, screening.judge(asked, answers, every_override))


def _check(asked: Context, answers: Answers, found: Screening) -> None:
    yes = {name for name in TABLE if answers.get(name) is True}
    asked_ids = {q.id for q in screening.form(asked, answers)}
    if found.is_passed:
        assert not yes & asked_ids & NEVER_LIFTED
        assert not (asked.is_motor and "thrombosis" in yes)
        assert answers.get("cannot-report-attended") != "unattended"
        assert {n for n in asked_ids if n in TABLE} <= set(answers)
        for item in yes & {"active-implant"}:
            assert f"{item}-prescriber" in answers
            assert f"{item}-cardiology" in answers
        assert "pregnancy" not in yes & asked_ids or "pregnancy-prescriber" in answers
    for name, answer in answers.items():
        item, is_place, _ = name.partition("-where")
        if is_place and answer in REGIONS and item != "malignancy":
            assert REGIONS[str(answer)].sites <= set(found.forbidden_sites)
    if "pregnancy" in yes & asked_ids:
        assert set(found.forbidden_sites) >= ABDOMEN | LOW_BACK
    assert all(found.forbidden_sites.values())


@given(contexts, st.dictionaries(st.sampled_from([
    *TABLE, "skin-where", "skin-where-2", "cannot-report-attended", "heart-prescriber",
    "malignancy-where", "malignancy-palliative", "malignancy-consent", "chemotherapy-cycle-day",
]), JUNK), overriding)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_no_answer_whatever_it_is_makes_judging_raise_or_counts_for_one_that_is_taken(
    asked: Context, answers: dict[str, Answer], overrides: list[Override]
) -> None:
    found = screening.judge(asked, answers, overrides)
    taken = {name for name, answer in answers.items() if isinstance(answer, bool)}
    open_ids = {q.id for q in found.missing}
    for question in screening.form(asked, answers):
        if question.id in TABLE:
            assert (question.id in open_ids) == (question.id not in taken)
