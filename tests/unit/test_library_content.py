"""Each row of the clinical table is in the library, with the figures that were read for it.

The tables below were typed from the written facts, not from the files or the code: rate in Hz,
first phase in us, minutes of a session and of the longest one, certainty of stimulus, of session
and of placement. 'E' stands where the facts give nothing and the file must say so.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from estim.errors import LimitRefused
from estim.prepare.session import prepare
from estim.profile.library import entries, entry_ids, find, find_any, library, shipped_ids

FOLDER = Path(__file__).resolve().parents[2] / "profiles"

PROFILES: dict[str, tuple[int, str, float, int, float, float, str, str, str]] = {
    # id: row, mode, Hz, us, minutes, longest, certainty of stimulus, session, placement
    "dpn-conventional": (1, "conventional", 80, 200, 30, 60, "S", "K", "K"),
    "dpn-14hz": (2, "conventional", 14, 250, 30, 30, "S", "S", "E"),
    "dpn-peroneal-low-rate": (4, "low-rate", 4, 280, 30, 30, "K?", "K?", "K"),
    "dpn-nerve-trunk-high-rate": (8, "conventional", 100, 100, 30, 60, "K?", "K", "K?"),
    "calf-randomised": (10, "randomised", 80, 100, 60, 60, "K?", "S", "S"),
    "cipn-calf-randomised": (11, "randomised", 80, 100, 60, 60, "K?", "S", "S"),
    "cipn-calf-alternating": (12, "randomised", 80, 100, 60, 60, "K?", "S", "S"),
    "cipn-conventional": (13, "conventional", 100, 100, 30, 30, "K", "S", "E"),
    "cancer-pain": (15, "conventional", 100, 100, 30, 60, "K", "S", "S"),
    "low-back-pain": (17, "conventional", 100, 150, 30, 60, "K", "K", "K"),
    "knee-osteoarthritis": (18, "conventional", 100, 100, 30, 40, "K", "S", "K"),
    "shoulder-pain": (19, "conventional", 100, 100, 20, 30, "K", "K", "K"),
    "dysmenorrhoea": (20, "conventional", 100, 100, 30, 60, "S", "S", "K"),
    "post-operative-pain": (21, "conventional", 100, 100, 30, 60, "K?", "K?", "K?"),
    "nmes-quadriceps": (22, "nmes", 50, 250, 16.5, 22, "K", "S", "K"),
    "tibial-nerve-bladder": (24, "tibial-nerve", 20, 200, 30, 60, "S", "S", "S"),
    # No row: derived from the first one, and told so.
    "idiopathic-neuropathy": (0, "conventional", 80, 200, 30, 60, "E", "E", "E"),
    "peripheral-neuropathy": (0, "conventional", 80, 200, 30, 60, "E", "E", "E"),
    "proximal-neuropathy": (0, "conventional", 80, 200, 30, 60, "E", "E", "E"),
    "focal-neuropathy": (0, "conventional", 80, 200, 30, 60, "E", "E", "E"),
}

ENTRIES: dict[str, tuple[int, str, tuple[str, ...], str, str]] = {
    # id: row (0 for a mode of its own), kind, what it must say, certainty of stimulus and dose
    "h-wave": (3, "evidence-only", ("4 ms", "25 to 35 V", "30 minutes daily"), "S", "S"),
    "dpn-high-frequency-muscle": (5, "evidence-only", ("180 Hz", "3 days"), "K?", "S"),
    "dpn-micro-tens": (6, "negative", ("three times a week",), "K?", "K?"),
    "dpn-tens-three-hours": (7, "evidence-only", ("3 hours a day for 3 weeks",), "E", "S"),
    "frems": (9, "evidence-only", ("10 to 40 us", "35 minutes, 10 sessions in 14 days"), "K?", "S"),
    "htems": (13, "evidence-only", ("4096 to 32768 Hz", "30 minutes"), "K", "S"),
    "cipn-modulated-tens": (14, "negative", ("7 to 65 Hz, 200 us", "45 days"), "K?", "K?"),
    "dpn-balance-knee": (16, "negative", ("5 minutes", "Knee"), "S", "S"),
    "pulsed-direct-current": (25, "excluded", ("30 minutes", "Feet"), "S", "S"),
    "galvanic": (0, "excluded", ("1 to 4 mA",), "K", "E"),
    "iontophoresis": (0, "excluded", ("1 to 4 mA",), "K", "E"),
    "diadynamic": (0, "excluded", ("Direct current",), "K", "E"),
    "high-voltage-pulsed-current": (0, "excluded", ("500 V", "30 to 90 minutes"), "S", "S"),
    "monophasic-microcurrent": (0, "excluded", ("10 to 800 uA", "20 to 60 minutes"), "S", "K"),
    "four-pole-interferential": (0, "evidence-only", ("4001 to 4250 Hz", "15 to 20"), "S", "K"),
}

# Figures of the result column: where they stand, and how sure they are.
EFFECTS = {
    "dpn-14hz": ("41.7 %", "n = 60", "S"),
    "dpn-peroneal-low-rate": ("42 %", "n = 19", "S"),
    "dpn-nerve-trunk-high-rate": ("High rate did more", "n = 75", "S"),
    "calf-randomised": ("Observational", "n = 713", "S"),
    "cipn-calf-randomised": ("38 %, tingling by 30 %, numbness by 20 %", "n = 29", "S"),
    "cipn-calf-alternating": ("Terminated", "n = 10", "S"),
    "cipn-conventional": ("less foot pain, better walking", "n = 51", "S"),
    "cancer-pain": ("69.7 %", "n = 55", "S"),
    "low-back-pain": ("not covered", "", "S"),
    "knee-osteoarthritis": ("High amplitude did more", "", "S"),
    "h-wave": ("83 % against 38 %", "n = 31", "S"),
    "dpn-high-frequency-muscle": ("80 % responded, 33 %", "n = 41", "S"),
    "dpn-micro-tens": ("No better than placebo", "", "K?"),
    "dpn-tens-three-hours": ("did not change", "n = 46", "S"),
    "frems": ("32 to 35 %", "", "S"),
    "htems": ("less tingling and numbness", "n = 51", "S"),
    "cipn-modulated-tens": ("No difference from placebo", "", "K"),
    "dpn-balance-knee": ("No effect on balance", "n = 28", "S"),
    "pulsed-direct-current": ("No change in the TENS group", "n = 150", "S"),
}

WITHOUT_A_STUDY = (
    "idiopathic-neuropathy", "peripheral-neuropathy", "proximal-neuropathy", "focal-neuropathy",
)  # fmt: skip
NEUROPATHY = {
    "dpn-conventional": ({"peripheral"}, {"diabetic"}),
    "dpn-14hz": ({"peripheral"}, {"diabetic"}),
    "dpn-peroneal-low-rate": ({"peripheral"}, {"diabetic"}),
    "dpn-nerve-trunk-high-rate": ({"peripheral"}, {"diabetic"}),
    "calf-randomised": ({"peripheral"}, {"diabetic"}),
    "cipn-calf-randomised": ({"peripheral"}, {"chemotherapy"}),
    "cipn-calf-alternating": ({"peripheral"}, {"chemotherapy"}),
    "cipn-conventional": ({"peripheral"}, {"chemotherapy"}),
    "idiopathic-neuropathy": ({"peripheral"}, {"idiopathic"}),
    "peripheral-neuropathy": ({"peripheral"}, {"toxic", "infection", "autoimmune"}),
    "proximal-neuropathy": ({"proximal"}, set()),
    "focal-neuropathy": ({"focal"}, set()),
}


def raw(path: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{path}.toml").read_text("utf-8"))


def words_of(content: object) -> str:
    if isinstance(content, dict):
        return " ".join(words_of(member) for member in content.values())
    if isinstance(content, list):
        return " ".join(words_of(member) for member in content)
    return " ".join(str(content).split())


@pytest.mark.parametrize("profile_id", PROFILES)
def test_a_runnable_row_has_the_figures_that_were_read(profile_id: str) -> None:
    _, mode, rate_hz, phase_us, minutes, longest, *certainties = PROFILES[profile_id]
    text = raw(profile_id)
    assert text["mode"] == mode
    assert text["stimulus"]["pulse_rate_hz"] == rate_hz
    assert text["stimulus"]["pulse"] == {
        "waveform": "symmetric-biphasic",
        "phase_duration_us": phase_us,
    }
    assert text["session"]["duration_s"] == minutes * 60
    assert text["session"]["longest_duration_s"] == longest * 60
    stated = [text["basis"][group]["certainty"] for group in ("stimulus", "session", "placement")]
    assert stated == certainties


@pytest.mark.parametrize("entry_id", ENTRIES)
def test_a_row_that_cannot_run_is_told_and_refused(entry_id: str) -> None:
    _, kind, said, *certainties = ENTRIES[entry_id]
    text = raw(f"entries/{entry_id}")
    assert text["kind"] == kind
    for words in said:
        assert words in words_of(text)
    assert [text["basis"][group]["certainty"] for group in ("stimulus", "dose")] == certainties
    for wanted in (entry_id, str(FOLDER / "entries" / f"{entry_id}.toml")):
        with pytest.raises(LimitRefused) as caught:
            find(wanted)
        assert caught.value.exit_code == 4
        assert words_of(text["cannot_run"]) in str(caught.value)
        assert kind in str(caught.value)


def test_every_row_of_the_clinical_table_is_in_the_library() -> None:
    """25 rows; 13 has two arms; 23 is the bench profile of gait stimulation."""
    rows = {row for row, *_ in PROFILES.values()} | {row for row, *_ in ENTRIES.values()}
    assert rows - {0} == set(range(1, 26)) - {23}
    assert "bench_only_reason" in raw("fes-drop-foot")
    assert entry_ids() == sorted(ENTRIES)
    assert set(PROFILES) <= set(shipped_ids())
    assert not set(entry_ids()) & set(shipped_ids())


@pytest.mark.parametrize("item_id", EFFECTS)
def test_results_are_quoted_with_size_and_certainty(item_id: str) -> None:
    effect, size, certainty = EFFECTS[item_id]
    text = raw(item_id if item_id in PROFILES else f"entries/{item_id}")
    (study,) = [one for one in text["evidence"][:1] if effect in words_of(one["effect"])]
    assert size in words_of(study["effect"])
    assert study["certainty"] == certainty
    assert study["caveat"]


@pytest.mark.parametrize("profile_id", NEUROPATHY)
def test_neuropathy_keeps_the_lowered_ceilings_and_autonomic_precautions(profile_id: str) -> None:
    """25 cm2, 1 mA/cm2 RMS, half of 80 mA, 1 mA/s, 10 min first, never unattended at home."""
    text = raw(profile_id)
    kinds, causes = NEUROPATHY[profile_id]
    assert set(text["neuropathy"]["kinds"]) == kinds
    assert set(text["neuropathy"].get("causes", [])) == causes
    assert text["electrode"]["minimum_area_cm2"] >= 25
    assert text["ceilings"]["current_density_ma_per_cm2"] <= 1
    assert all(channel["amplitude_ceiling_ma"] <= 40 for channel in text["channels"])
    assert text["rise"]["setpoint_slew_ma_per_s"] <= 1
    assert text["session"]["first_exposure_s"] <= 600
    guidance = text["guidance"]
    precautions = words_of(guidance["precautions"])
    for word in ("Autonomic", "faintness", "heart rate", "seated or lying", "5 minutes", "Stop"):
        assert word in precautions
    assert "Test sensation at each site first" in words_of(guidance["intensity"])
    assert "No home use unattended" in words_of(guidance["contraindications"])
    assert "after 5 and 10 minutes" in words_of(text["session"]["dose"])


def test_no_profile_of_a_neuropathy_escapes_that_rule() -> None:
    led = {one.profile.id for one in library() if one.profile.neuropathy is not None}
    named = {
        one.profile.id
        for one in library()
        if any("neuropath" in indication for indication in one.profile.indications)
    }
    assert led == named == set(NEUROPATHY)


@pytest.mark.parametrize("profile_id", WITHOUT_A_STUDY)
def test_what_no_study_supports_says_so_first(profile_id: str) -> None:
    text = raw(profile_id)
    assert text["evidence"][0]["study"].startswith("None: no study of TENS in")
    assert text["evidence"][0]["certainty"] == "E"
    assert "carried over" in words_of(text["basis"]["stimulus"]["source"])


@pytest.mark.parametrize(
    ("profile_id", "forbidden"),
    [
        ("low-back-pain", "Pregnancy: never on the lower back"),
        ("dysmenorrhoea", "never on the abdomen or the lower back"),
        ("cancer-pain", "On or near a tumour"),
        ("cancer-pain", "Metastases"),
        ("shoulder-pain", "Across the chest"),
        ("post-operative-pain", "On the wound"),
        ("knee-osteoarthritis", "Severe arterial disease of the leg"),
        ("tibial-nerve-bladder", "Severe arterial disease of the leg"),
        ("dpn-conventional", "a foot with ulcer"),
        ("nmes-quadriceps", "Standing or bearing weight"),
    ],
)
def test_contraindications_follow_the_placement(profile_id: str, forbidden: str) -> None:
    assert forbidden in words_of(raw(profile_id)["guidance"]["contraindications"])


@pytest.mark.parametrize(
    "profile_id", [one.profile.id for one in library() if not one.profile.is_bench_only]
)
def test_what_holds_at_any_site_stands_in_every_profile_for_a_person(profile_id: str) -> None:
    """The rows of the screening table that name no site: their class is stop, or the prescriber."""
    words = words_of(raw(profile_id)["guidance"]["contraindications"])
    for word in ("implant", "ndiagnosed", "cannot report", "Under 18", "egnan", "arrhythmia"):
        assert word in words
    assert "In the bath, asleep, while driving, or near shortwave" in words


def test_every_profile_that_leaves_the_limb_open_asks_about_its_arteries() -> None:
    named = [profile_id for profile_id in shipped_ids() if profile_id.startswith("tens-")]
    assert len(named) == 9
    for profile_id in named:
        words = words_of(raw(profile_id)["guidance"]["contraindications"])
        assert "Severe arterial disease of the leg" in words


def test_every_profile_prepares_up_to_the_ceiling_that_it_names() -> None:
    for loaded in library():
        profile = loaded.profile
        prepared = prepare(profile, is_bench=profile.is_bench_only, origin=loaded.origin)
        for channel, line in zip(profile.channels, prepared.ceilings, strict=True):
            assert line.ceiling_ua == channel.amplitude_ceiling_ua, profile.id


def test_every_item_says_that_no_clinician_reviewed_it() -> None:
    for loaded in library():
        assert loaded.profile.review_status == "not reviewed by a clinician"
    for entry in entries():
        assert entry.entry.review_status == "not reviewed by a clinician"
        assert find_any(entry.entry.id) == entry


def test_the_readme_lists_the_library_whole() -> None:
    readme = (FOLDER.parent / "README.md").read_text("utf-8")
    section = readme.partition("## The library")[2].partition("`estim profiles show ID`")[0]
    named = set(re.findall(r"`([a-z0-9*-]+)`", section))
    known = {*shipped_ids(), *entry_ids()}
    assert all(fnmatch.filter(known, name) for name in named)
    assert all(any(fnmatch.fnmatch(one, name) for name in named) for one in known)


@pytest.mark.parametrize(
    ("profile_id", "unread"),
    [
        ("dpn-conventional", ("Older and mostly small",)),
        ("tens-dense-disperse", ("rats", "40 %")),
        ("tens-modulated", ("page 23", "120 Hz", "shoulder")),
        ("tens-burst", ("page 35", "Primo Pro")),
    ],
)
def test_no_profile_says_more_than_was_read(profile_id: str, unread: tuple[str, ...]) -> None:
    text = Path(find(profile_id).path).read_text(encoding="utf-8")
    assert [words for words in unread if words in text] == []
