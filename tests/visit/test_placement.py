"""No pad passes on a forbidden, untested or shared site, too small, too old or across the body."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estim.profile.body_chart import SITES
from estim.visit import placement, screening, sensation
from estim.visit.placement import Placement, Wanted
from estim.visit.questions import Answer
from estim.visit.sensation import SiteSensation, State
from firmware_protocol.program import ChannelProgram, Phase
from tests.visit.answering import JUNK, fill

TODAY = date(2026, 3, 2)
UPPER, MIDDLE = "left-calf-upper", "left-calf-middle"


def felt(**states: State) -> dict[str, SiteSensation]:
    """Return every site as normal, but for `states` (with _ for -)."""
    changed = {name.replace("_", "-"): state for name, state in states.items()}
    return {
        site: SiteSensation(site, changed.get(site, State.NORMAL), f"{site} told") for site in SITES
    }


def wanted(
    channels: int = 1,
    minimum_cm2: str = "16",
    forbidden: dict[str, str] | None = None,
    sensed: dict[str, SiteSensation] | None = None,
    uses_max: int = 20,
) -> Wanted:
    return Wanted(
        pads_by_channel=(2,) * channels,
        minimum_area_cm2=Decimal(minimum_cm2),
        forbidden_sites=forbidden or {},
        sensation=felt() if sensed is None else sensed,
        today=TODAY,
        uses_max=uses_max,
    )


def channel(
    number: int = 1, a: str = UPPER, b: str = MIDDLE, **changed: Answer
) -> dict[str, Answer]:
    good: dict[str, Answer] = {
        "a-site": a, "b-site": b, "a-size": "5x5", "b-size": "5x5", "lot": "L7",
        "expiry": "2026-03", "uses": 3, "gap": False, "edges": False,
    }  # fmt: skip
    good.update({name.replace("_", "-"): answer for name, answer in changed.items()})
    return {f"channel-{number}-{name}": answer for name, answer in good.items()}


def judged(asked: Wanted | None = None, **changed: Answer) -> Placement:
    return placement.judge(asked or wanted(), channel(**changed))  # type: ignore[arg-type]


def only(found: Placement) -> str:
    assert len(found.problems) == 1, found.problems
    return found.problems[0]


def test_good_pads_have_no_problem_and_are_read_back_with_side_and_site() -> None:
    found = placement.judge(
        wanted(2), channel() | channel(2, "right-calf-upper", "right-calf-middle", b_size="4x4")
    )
    assert found.problems == ()
    assert found.words == (
        "channel 1: left calf upper and left calf middle",
        "channel 2: right calf upper and right calf middle",
    )
    assert found.area_cm2_by_channel == (Decimal(25), Decimal(16))
    assert found.area_cm2 == Decimal(16)
    assert not found.is_sensation_impaired


def test_nothing_answered_names_every_pad_that_is_missing() -> None:
    found = placement.judge(wanted(2), {})
    for needed in ("channel 1: pad a is missing", "channel 2: pad b is missing"):
        assert needed in found.problems
    assert found.area_cm2 is None


def test_the_area_is_not_known_while_one_pad_is_not_told() -> None:
    """The pad that is not told may be the smallest."""
    found = placement.judge(wanted(2), channel())
    assert found.area_cm2_by_channel == (Decimal(25), None)
    assert found.area_cm2 is None


def test_no_channel_is_a_problem() -> None:
    assert placement.judge(wanted(0), {}).problems == ("no channel has pads",)


@pytest.mark.parametrize("left_out", sorted(channel()))
def test_each_answer_left_out_is_a_problem(left_out: str) -> None:
    answers = {name: answer for name, answer in channel().items() if name != left_out}
    assert len(placement.judge(wanted(), answers).problems) == 1


@pytest.mark.parametrize("left_out", sorted(channel()))
def test_an_open_question_is_no_fault_of_what_was_answered(left_out: str) -> None:
    answers = {name: answer for name, answer in channel().items() if name != left_out}
    assert placement.judge(wanted(), answers).wrong == ()


@pytest.mark.parametrize("typed", ["missing", "not told"])
def test_what_is_wrong_is_told_whatever_its_words_are(typed: str) -> None:
    (told,) = judged(expiry=typed).wrong
    assert typed in told
    told = only(judged(wanted(forbidden={MIDDLE: "the reason is not told"})))
    assert judged(wanted(forbidden={MIDDLE: "the reason is not told"})).wrong == (told,)


def test_a_forbidden_site_tells_the_reason() -> None:
    told = only(judged(wanted(forbidden={MIDDLE: "at or near: wound"})))
    assert told == "channel 1: left calf middle is forbidden: at or near: wound"


@pytest.mark.parametrize("state", [State.FAILED, State.NOT_TESTED, State.EXPIRED])
def test_a_site_that_was_not_felt_in_time_is_a_problem(state: State) -> None:
    assert f"{MIDDLE} told" in only(judged(wanted(sensed=felt(left_calf_middle=state))))
    untested = {UPPER: felt()[UPPER]}
    assert "not tested" in only(judged(wanted(sensed=untested)))


def test_impaired_sensation_lowers_ceilings_and_asks_for_25_cm2() -> None:
    impaired = wanted(sensed=felt(left_calf_middle=State.IMPAIRED))
    found = judged(impaired)
    assert found.problems == ()
    assert found.is_sensation_impaired
    assert found.cautions == (f"{MIDDLE} told",)
    assert "25 cm2" in only(judged(impaired, b_size="round-5"))
    assert judged(impaired, a_size="round-5").problems == ()


@pytest.mark.hazard(44)
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (UPPER, "right-calf-upper"), ("left-low-back-upper", "left-abdomen-upper"),
        (UPPER, "left-wrist-above"), ("left-shoulder-front", "right-shoulder-front"),
    ],
)  # fmt: skip
def test_pads_of_a_channel_on_two_parts_of_the_body_are_refused(a: str, b: str) -> None:
    assert "must not cross the body" in only(judged(a=a, b=b))


def test_a_site_holds_one_pad_even_of_two_channels() -> None:
    assert "already" in only(judged(b=UPPER))
    both = placement.judge(wanted(2), channel() | channel(2, UPPER, "left-calf-lower-outer"))
    assert only(both) == "channel 2: left calf upper holds a pad of channel 1 already"


@pytest.mark.hazard(26)
@pytest.mark.parametrize(
    ("size", "area", "is_enough"),
    [
        ("round-5", None, False), ("5x5", None, True), ("other", "24.9", False),
        ("other", "25", True), ("other", "25.0", True), ("other", None, False),
    ],
)  # fmt: skip
def test_the_smaller_pad_must_have_the_profiles_area(
    size: str, area: str | None, is_enough: bool
) -> None:
    changed: dict[str, Answer] = {"b_size": size}
    if area is not None:
        changed["b_area"] = area
    found = judged(wanted(minimum_cm2="25"), **{"a_size": "7x13", **changed})
    assert (not found.problems) == is_enough


@pytest.mark.parametrize(
    ("size", "area_cm2"),
    [
        ("round-3.2", "8"), ("4x4", "16"), ("round-5", "19.6"), ("5x5", "25"), ("5x9", "45"),
        ("7x13", "91"),
    ],
)  # fmt: skip
def test_the_area_of_each_size_is_never_more_than_the_pad_has(size: str, area_cm2: str) -> None:
    """Restated: 3.1416 x 1.6^2 = 8.04 and x 2.5^2 = 19.63, rounded down; the rest multiplied."""
    found = judged(wanted(minimum_cm2="1"), a_size=size, b_size="7x13")
    assert found.area_cm2 == Decimal(area_cm2)


@pytest.mark.parametrize(
    ("expiry", "problem"),
    [
        ("2026-03-02", ""), ("2026-03-01", "expired"), ("2026-03", ""), ("2026-02", "expired"),
        ("2028-02-29", ""), ("2027-02-29", "no date"), ("03/2027", "no date"), ("2027-13", "no"),
        ("none", ""), ("soon", "no date"), ("0000-01", "no date"), ("2027-00-10", "no date"),
    ],
)  # fmt: skip
def test_expired_pads_are_refused_the_day_after(expiry: str, problem: str) -> None:
    found = judged(expiry=expiry)
    assert problem in " ".join(found.problems)
    assert bool(found.problems) == bool(problem)
    assert ("no expiry is printed" in " ".join(found.cautions)) == (expiry == "none")


@pytest.mark.parametrize(("uses", "is_allowed"), [(1, True), (20, True), (21, False)])
def test_pads_are_used_as_often_as_the_policy_allows(uses: int, is_allowed: bool) -> None:
    assert (not judged(uses=uses).problems) == is_allowed


def test_a_narrow_gap_and_a_lifting_edge_are_told() -> None:
    assert "gap" in only(judged(gap=True))
    assert "edge" in only(judged(edges=True))


def test_the_density_at_the_ceiling_is_what_the_manual_formula_gives() -> None:
    """I_rms = 20 mA x sqrt(2 x 200 us x 100 Hz) = 4 mA, on 16 cm2 0.25 mA/cm2 [S:enraf47]."""
    pulse = ChannelProgram((Phase(1, 1000), Phase(1, -1000)), unit_us=200, pulse_period_us=10_000)
    assert placement.density_words(pulse, 20_000, 100, Decimal(16)).startswith("0.25 mA/cm2 RMS")


@pytest.mark.hazard(21)
@given(st.data(), st.booleans(), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_a_forbidden_or_unfelt_site_never_passes(
    data: st.DataObject, is_whole: bool, channels: int
) -> None:
    by_chance = data.draw(st.randoms(use_true_random=False))
    forbidden = set(by_chance.sample(sorted(SITES), 30))
    states = [State.NORMAL, State.NORMAL, State.IMPAIRED, State.FAILED, State.EXPIRED]
    sensed = {site: SiteSensation(site, by_chance.choice(states), f"<{site}>") for site in SITES}
    asked = wanted(channels, "1", {site: f"<{site}>" for site in forbidden}, sensed, 1000)
    answers = fill(data.draw, lambda so_far: placement.form(asked, so_far), is_whole)
    found = placement.judge(asked, answers)
    placed = [site for sites in found.sites_by_channel for site in sites]
    for site in placed:
        if site in forbidden or not sensed[site].is_allowed:
            assert any(f"<{site}>" in problem for problem in found.problems)
    if not found.problems:
        assert not forbidden & set(placed)
        assert len(set(placed)) == len(placed) >= 2
        assert found.area_cm2 is not None
        assert len({SITES[s].part for s in found.sites_by_channel[0]}) == 1


@given(st.dictionaries(st.sampled_from([*channel(), "channel-1-a-area"]), JUNK))
def test_no_answer_makes_judging_raise(answers: dict[str, Answer]) -> None:
    found = placement.judge(wanted(), channel() | answers)
    placement.form(wanted(), answers)
    assert found.words


def test_a_place_named_in_the_screening_is_refused_for_pads() -> None:
    """From a yes to the pad: a wound at the left lower leg leaves no pad on the calf."""
    asked = screening.Context(
        is_motor=False, is_first_session=False, cause=None, kinds=frozenset(), has_womb=False
    )
    told = screening.judge(
        asked, {"skin": True, "skin-where": "left-lower-leg", "skin-where-2": "nowhere-else"}
    )
    found = judged(wanted(forbidden=dict(told.forbidden_sites)))
    assert len(found.problems) == 2
    assert all("damaged skin" in problem for problem in found.problems)


def test_counts_of_the_gate_reach_the_pads() -> None:
    counts: dict[str, Answer] = {"is-blinded": True}
    for site, right in ((UPPER, 10), (MIDDLE, 7)):
        counts |= {f"{site}-sharp-dull": right, f"{site}-monofilament": 4}
    gate = dict(sensation.judge([UPPER, MIDDLE], counts, TODAY, TODAY, 30))
    assert "7 of 10" in only(judged(wanted(sensed=gate)))
