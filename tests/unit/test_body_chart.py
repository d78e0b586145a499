"""The body chart: small ASCII drawings, sites that can be addressed, pads that stay on one limb."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from estim.errors import ProfileError
from estim.profile.body_chart import SITES, VIEWS, View, draw, parts
from estim.profile.loader import loads
from estim.text import sanitize
from tests.unit.profile_text import COMPLETE

PROFILES = Path(__file__).resolve().parents[2] / "profiles"
EVERY_VIEW = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())


@EVERY_VIEW
def test_a_drawing_is_small_and_plain(view: View) -> None:
    assert 5 <= len(view.rows) <= 20
    assert max(map(len, view.rows)) <= 30
    assert all(row.isascii() and row.isprintable() and sanitize(row) == row for row in view.rows)
    assert not any(sign.isupper() or sign.isdigit() for row in view.rows for sign in row)


@EVERY_VIEW
def test_each_site_has_two_blank_columns_of_its_own(view: View) -> None:
    taken: set[tuple[int, int]] = set()
    for site in view.sites:
        assert site.view == view.name
        assert SITES[site.name] is site
        for column in (site.column, site.column + 1):
            assert view.rows[site.row].ljust(30)[column] == " "
            assert (site.row, column) not in taken
            taken.add((site.row, column))


@EVERY_VIEW
def test_sites_are_in_reading_order_for_a_cursor(view: View) -> None:
    places = [(site.row, site.column) for site in view.sites]
    assert places == sorted(places)
    assert view.sites


def test_every_region_that_a_profile_may_need_is_drawn() -> None:
    assert set(VIEWS) == {
        "lower legs, front", "lower legs, back", "lower legs, inner side", "feet, from above",
        "feet, soles", "knees, front", "thighs, front", "thighs, back", "forearms, palm side",
        "shoulders, front", "shoulders, back", "low back and buttocks", "abdomen",
    }  # fmt: skip


def test_left_and_right_stand_as_the_therapist_sees_them() -> None:
    """From behind the patient's left is on the left; from the front it is on the right."""
    for name, left_is_left in (
        ("left-calf-upper", True),
        ("left-low-back-upper", True),
        ("left-shoulder-back", True),
        ("left-knee-above-inner", False),
        ("left-abdomen-lower", False),
        ("left-thigh-upper-outer", False),
    ):
        left, right = SITES[name], SITES[name.replace("left-", "right-")]
        assert (left.row, left.view) == (right.row, right.view)
        assert (left.column < right.column) is left_is_left


def test_outer_sites_lie_outside() -> None:
    for side in ("left", "right"):
        for pair in ("calf-upper-", "knee-above-", "thigh-upper-", "shin-middle-"):
            outer, inner = SITES[f"{side}-{pair}outer"], SITES[f"{side}-{pair}inner"]
            middle = 14
            assert abs(outer.column - middle) > abs(inner.column - middle)


def test_the_sites_of_a_pair_mirror_each_other() -> None:
    for view in VIEWS.values():
        sums = set()
        for site in view.sites:
            if site.name.startswith("left-"):
                twin = SITES[site.name.replace("left-", "right-", 1)]
                assert (twin.view, twin.row) == (site.view, site.row)
                sums.add(site.column + twin.column)
        assert len(sums) == 1, view.name


def test_pads_are_marked_channel_by_channel_with_a_legend() -> None:
    lines = draw([("left-calf-upper", "left-calf-middle"), ("right-calf-upper",)])
    assert lines[0] == "lower legs, back:"
    picture = lines[1:-3]
    for name, mark in (("left-calf-upper", "1a"), ("right-calf-upper", "2a")):
        site = SITES[name]
        assert picture[site.row][site.column : site.column + 2] == mark
    assert lines[-3:] == ("1a  left calf upper", "1b  left calf middle", "2a  right calf upper")
    unmarked = "".join(picture).replace("1a", "  ").replace("1b", "  ").replace("2a", "  ")
    assert not any(sign.isdigit() for sign in unmarked)


def test_pads_in_two_drawings_show_both_and_a_shared_site_names_both_pads() -> None:
    lines = draw([("left-shoulder-front", "left-shoulder-back"), ("left-shoulder-back",)])
    assert [line for line in lines if line.endswith(":")] == [
        "shoulders, front:",
        "shoulders, back:",
    ]
    assert lines[-1] == "1b, 2a  left shoulder back"


def test_nothing_is_drawn_for_nothing_and_an_unknown_site_is_an_error() -> None:
    assert draw([]) == ()
    assert draw([(), ()]) == ()
    with pytest.raises(KeyError):
        draw([("left-ear",)])


def test_both_pads_of_a_channel_of_every_shipped_profile_lie_on_one_part() -> None:
    seen = 0
    for path in PROFILES.glob("*.toml"):
        for channel in tomllib.loads(path.read_text())["channels"]:
            pads = channel.get("pads", [])
            seen += len(pads)
            assert len(pads) in (0, 2), path
            assert len(parts(pads)) <= 1, path
    assert seen > 40
    assert parts(["left-calf-upper", "right-calf-upper"]) == ("left leg", "right leg")
    assert parts(["left-knee-back", "left-inner-ankle-behind"]) == ("left leg",)


@pytest.mark.hazard(44)
@pytest.mark.parametrize(
    ("pads", "said"),
    [
        (
            '"left-calf-upper", "right-calf-upper"',
            "channels[1].pads: on left leg and right leg; expected one part of the body",
        ),
        (
            '"left-abdomen-lower", "left-low-back-lower"',
            "channels[1].pads: on abdomen and low back; expected one part of the body",
        ),
        ('"left-calf-upper"', "channels[1].pads: one site; expected two at least, or none"),
    ],
)
def test_a_profile_whose_current_would_cross_the_trunk_is_refused(pads: str, said: str) -> None:
    key = "amplitude_ceiling_ma"
    written = COMPLETE.replace(key, f"pads = [{pads}]\n{key}", 1)
    with pytest.raises(ProfileError) as caught:
        loads(written, "own.toml")
    assert said in str(caught.value)
    good = written.replace(pads, '"left-calf-upper", "left-knee-back"')
    assert loads(good, "own.toml").profile.channels[0].pads == ("left-calf-upper", "left-knee-back")
