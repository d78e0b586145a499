"""The library is searched by words, condition and mode; a device is told what it can make."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from estim.prepare.fit import fit
from estim.prepare.session import REFERENCE
from estim.prepare.site import SitePolicy
from estim.profile.library import entries, find, library
from estim.profile.loader import LoadedEntry, LoadedProfile
from estim.profile.search import matches, shelf_order, told
from firmware_protocol.messages import CapabilityFlag


@cache
def everything() -> list[LoadedProfile | LoadedEntry]:
    return [*library(), *entries()]


def found(text: str = "", condition: str = "", mode: str = "") -> set[str]:
    return {
        told(one).id for one in everything() if matches(one, text, condition=condition, mode=mode)
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chemotherapy", {
            "cipn-calf-alternating", "cipn-calf-randomised", "cipn-conventional", "htems",
            "cipn-modulated-tens", "focal-neuropathy", "proximal-neuropathy",
            "pulsed-direct-current",
        }),
        ("KNEE osteoarthritis", {"knee-osteoarthritis"}),
        ("knee-osteoarthritis", {"knee-osteoarthritis"}),
        ("galvanic", {"galvanic"}),
        ("bladder", {"tibial-nerve-bladder"}),
        ("negative", {"cipn-modulated-tens", "dpn-balance-knee", "dpn-micro-tens"}),
        ("focal nerve", {"focal-neuropathy"}),
        ("no such thing", set()),
    ],
)  # fmt: skip
def test_every_word_must_occur_somewhere(text: str, expected: set[str]) -> None:
    assert found(text) == expected


def test_an_empty_search_finds_everything() -> None:
    assert len(found()) == len(library()) + len(entries())


def test_autonomic_words_lead_to_every_neuropathy_profile() -> None:
    led = {one.profile.id for one in library() if one.profile.neuropathy is not None}
    assert len(led) >= 12
    assert found("autonomic faintness") == led


def test_a_condition_is_what_a_profile_is_for_and_not_what_it_mentions() -> None:
    assert found(condition="dysmenorrhoea") == {"dysmenorrhoea"}
    assert "calf-randomised" in found(condition="diabetic")
    assert found(condition="faintness") == set()
    assert found(condition="proximal") == {"proximal-neuropathy"}
    assert "focal-neuropathy" in found(condition="trauma")  # it names no cause: any will do
    assert "idiopathic-neuropathy" not in found(condition="trauma")


def test_a_mode_is_the_mode_alone() -> None:
    assert found(mode="randomised") == {
        "calf-randomised", "cipn-calf-alternating", "cipn-calf-randomised",
    }  # fmt: skip
    assert found(mode="burst") == {"tens-burst"}
    assert found("chronic", mode="low rate") == {"tens-low-rate"}
    assert found(condition="pain", mode="tibial") == set()


def test_the_first_choice_in_neuropathy_opens_the_shelf_and_entries_close_it() -> None:
    shelf = sorted(everything(), key=shelf_order)
    assert told(shelf[0]).id == "dpn-conventional"
    kinds = [
        "entry"
        if not isinstance(one, LoadedProfile)
        else "bench"
        if one.profile.is_bench_only
        else "neuropathy"
        if one.profile.neuropathy is not None
        else "person"
        for one in shelf
    ]
    order = ["neuropathy", "person", "bench", "entry"]
    assert kinds == sorted(kinds, key=order.index)
    causes = [
        one.profile.neuropathy.causes[:1]
        for one in shelf[:9]
        if isinstance(one, LoadedProfile) and one.profile.neuropathy
    ]
    assert causes == [("diabetic",)] * 5 + [("chemotherapy",)] * 3 + [("idiopathic",)]


def test_a_capable_device_can_make_a_profile_up_to_its_ceilings() -> None:
    assert fit(find("dpn-conventional"), REFERENCE, SitePolicy()).ceilings_ua == (40_000, 40_000)


@pytest.mark.parametrize(
    ("profile_id", "change", "said"),
    [
        ("dpn-conventional", {"channel_count": 1}, "2 channels, the device has 1"),
        ("dpn-14hz", {"phase_max_us": 240}, "a phase of 250 us, the device's longest is 240 us"),
        ("tens-burst", {"flags": CapabilityFlag(0)}, "bursts, which the device cannot time"),
        ("calf-randomised", {"keyframes_max": 8}, "30 keyframes, the device holds at most 8"),
        ("nmes-quadriceps", {"flags": CapabilityFlag(0)}, "an on/off cycle"),
    ],
)
def test_what_a_device_lacks_is_said(profile_id: str, change: dict[str, Any], said: str) -> None:
    lacking = fit(find(profile_id), replace(REFERENCE, **change), SitePolicy())
    assert said in " ".join(lacking.missing)
    assert lacking.ceilings_ua == ()


def test_a_weaker_device_lowers_the_ceilings_it_can_reach() -> None:
    weak = replace(REFERENCE, amplitude_max_ua=30_000)
    assert fit(find("dpn-conventional"), weak, SitePolicy()).ceilings_ua == (30_000, 30_000)
