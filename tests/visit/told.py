"""A first visit walked from its first step to its last, and written as the engine writes one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from estim.visit import protocol
from estim.visit.questions import Answer
from tests.visit.past import PLACEMENT, Past, day

PROTOCOL = protocol.find("diabetic-neuropathy-first")
SITES = ("left-calf-upper", "left-calf-middle", "right-calf-upper", "right-calf-middle")
NEGATIVES = (
    "active-implant", "undiagnosed-pain", "cannot-report", "shortwave", "driving-bath-sleep",
    "standing-first", "neck-front", "head", "chest", "genitals", "pregnancy", "malignancy",
    "thrombosis", "infection", "skin", "worn-pump-sensor", "heart", "arterial-leg", "under-18",
    "epilepsy", "bleeding", "surgery-fracture", "uterus", "numb-skin", "adhesive-allergy", "metal",
)  # fmt: skip

ANSWERS: dict[str, dict[str, Answer]] = {
    "screening": {
        "neuropathy-kind": "peripheral", "neuropathy-autonomic": False,
        **dict.fromkeys(NEGATIVES, False), "insulin": True,
    },
    "consent": {"explained": True, "agrees": True},
    "baseline": {
        "pain-now-nrs": 6, "pain-worst-24h-nrs": 8, "symptom-burning": True,
        "symptom-numbness": False, "symptom-tingling": True, "symptom-weakness": False,
        "symptom-touch": False, "symptom-balance": False, "symptom-cramps": False,
        "symptom-light-headed": False,
    },
    "function": {
        "tug-seconds": "14.2", "left-foot-felt": 1, "right-foot-felt": 2, "falls-count": 0,
        "lying-systolic": 140, "lying-diastolic": 85, "lying-heart-rate": 70,
        "standing-1-min-systolic": 125, "standing-1-min-diastolic": 80,
        "standing-1-min-heart-rate": 80, "standing-3-min-systolic": 118,
        "standing-3-min-diastolic": 82, "standing-3-min-heart-rate": 78,
    },
    "skin-before": {"clear": False, "finding-1": "dry", "where-1": "left-leg", "another-1": False},
    "sensation": {
        "profile": "dpn-conventional", "is-blinded": True, "more-1": False,
        "tested-on": "2000-01-01",
        **{f"{site}-sharp-dull": 10 for site in SITES},
        **{f"{site}-monofilament": 4 for site in SITES},
        "right-calf-middle-monofilament": 3,
    },
    "stop": {"patient": "none", "key": "heard"},
    "electrodes": {
        "as-profile": True, "alike": True, "all-size": "5x5", "all-lot": "L-77",
        "all-expiry": "2001-05", "all-uses": 2, "all-gap": False, "all-edges": False,
    },
    "stimulation": {},
    "skin-after": {"clear": True},
    "exercise": {"done-1": True, "sets-1": 2, "done-2": False, "done-3": True, "sets-3": 3},
    "manual": {"done-1": False, "done-2": False},
    "adjuncts": {
        "heat": False, "cold": False, "aquatic": False, "occupational": False,
        "adaptive-device": False, "acupuncture": True, "acupuncture-words": "ST36, 20 min",
        "concurrent": "duloxetine 60 mg since Monday",
    },
    "education": {"explained": False, "point-1": True, "point-2": False, "point-3": True},
    "outcome": {"pain-now-nrs": 4, "pgic-grade": "3"},
    "review": {
        "adverse": True, "adverse-onset": "9th minute, 14 mA", "adverse-what": "blister, 4 mm",
        "adverse-action": "stopped, cooled", "adverse-report": "maker, by letter",
        "assessment": "less pain, unsteady", "plan": "twice a week",
        "next-visit": "Monday at ten", "billing": "97032 x 1, attended",
    },
}  # fmt: skip


def walk(
    past: Past,
    changes: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    *,
    left_out: tuple[str, ...] = (),
) -> Past:
    """Answer every step, some otherwise; leave some out; stimulate where that comes."""
    past.annotate(
        "visit", protocol=PROTOCOL.facts, pseudonym=past.pseudonym, operator="T-1",
        site={"sensation_valid_days": 90, "electrode_uses_max": 30},
    )  # fmt: skip
    past.event("identified", url="native:/dev/ttyUSB7", model="Estim NS", serial_number="SN123",
               firmware_version="1.4.2", schema_hash=1, residual_ms=1)  # fmt: skip
    for step in PROTOCOL.protocol.steps:
        if step.id in left_out:
            past.annotate("skip", step=step.id, operator="T-1", reason="no time today")
            continue
        past.step(step.kind, {**ANSWERS[step.id], **changes.get(step.id, {})}, name=step.id)
        if step.id == "screening":
            past.annotate("override", item="insulin", clinician="D-1", reason="glucose checked")
        if step.id == "stimulation":
            stimulate(past)
    return past


def stimulate(past: Past) -> None:
    """Plan ten minutes on two channels; pause, lose an electrode, stop."""
    past.event(
        "prepared", profile="dpn-conventional", profile_version="1.2.0", program_digest=7,
        prepared_digest="cd" * 32, ceilings_ua=[20_000, 25_000],
        electrode_areas_mm2=[2500, 2500], duration_s=600,
    )  # fmt: skip
    past.annotate(
        "read_back", prepared_digest="cd" * 32, program_digest=7, profile="dpn-conventional",
        site_words="; ".join(PLACEMENT), side_words="left leg", ceilings_ua=[20_000, 25_000],
        operator="T-1",
    )  # fmt: skip
    past.event("state", **{"from": "armed", "to": "running", "by": "started"})
    past.event("targets", targets_ua=[14_000, 0], from_ua=[0, 0])
    past.event(
        "telemetry_second", from_us=0, to_us=1_000_000,
        channels=[{"channel": 1, "count": 40, "peak_max_ua": 14_100}],
    )  # fmt: skip
    for marker, amplitude_ua in (("sensory", 6_000), ("comfortable", 12_000)):
        past.annotate("marker", channel=1, marker=marker, amplitude_ua=amplitude_ua)
    past.annotate("prompt", prompt="comfort-60s", answer="comfortable", delivered_ms=60_000)
    past.event("paused", marker_ua=[14_000, 0])
    past.event("lead_off", channel=1, load_ohm=54_000, at_ua=12_000)
    past.event("rearmed", channels=[1])
    past.annotate("alarm", cause="electrode_off", priority="medium", what="raised")
    past.annotate(
        "handover", from_operator="T-1", to_operator="T-2", amplitudes_ua=[14_000, 0],
        ceilings_ua=[20_000, 25_000],
    )  # fmt: skip
    past.event("stop", reason="stop key", state="running")
    past.event("zero_confirmed", tick_ms=1, reason="stop key")
    past.event("state", **{"from": "running", "to": "ready", "by": "stopped"})
    past.event("delivered", rise_ms=14_000, plateau_ms=540_000, ramp_down_ms=0, pulses=[41_000, 0])


def begun(folder: Path, session_id: str = "a", **options: Any) -> Past:
    """Return a visit whose header names the station's own protocol."""
    return Past(folder, session_id, day(0), protocol=PROTOCOL.facts, **options)
