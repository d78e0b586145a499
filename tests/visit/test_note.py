"""Note, report, take-home sheet: all from the record, nothing concluded, nothing leaked."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from estim.record.addenda import add_addendum
from estim.record.lines import NOTE_LATER, REASSIGNED
from estim.record.recover import recover
from estim.visit import fhir, note, report, take_home
from estim.visit.account import HAPPENED_MAX, Account, read_account
from tests.record.samples import KEY
from tests.visit.past import PERSON, Past, damage, day, whole_visit
from tests.visit.told import ANSWERS, PROTOCOL, begun, stimulate, walk


def told(path: Path) -> Account:
    return read_account(path)


def section(account: Account, title: str) -> list[str]:
    """Return the lines of one part of the note, without what is set in."""
    (found,) = [each for each in note.sections(account) if each.title.startswith(title)]
    return [line.strip() for line in found.lines]


def addendum(path: Path, why: str, text: str, event_seq: int | None = None) -> None:
    add_addendum(
        path, KEY, who="T-9", why=why, text=text, event_seq=event_seq, mono_us=10**16, wall=day(20)
    )


# The note.


def test_the_whole_visit_is_told_in_four_parts(tmp_path: Path) -> None:
    account = told(walk(begun(tmp_path)).close())
    subjective = section(account, "SUBJECTIVE")
    assert "yes: insulin use [K], CARE" in subjective
    assert "answered no: 26 items" in subjective
    assert "pain now: 6 of 10 (before stimulation)" in subjective
    assert "pain now: 4 of 10 (after stimulation)" in subjective
    assert "symptoms: burning or stabbing pain, tingling (before stimulation)" in subjective
    assert "Medicines and other care: duloxetine 60 mg since Monday" in subjective
    objective = section(account, "OBJECTIVE")
    assert "What is seen? dry, thickened or fissured" in objective
    assert (
        "timed up and go: 14.2 s (before stimulation): above 13.5 s: raised risk of falling [K]"
        in objective
    )
    assert [line for line in objective if line.startswith("right calf middle: impaired")]
    assert "All pads: lot of the pads? L-77" in objective
    assert "Is the skin under every pad as it was before? yes" in objective
    assert section(account, "ASSESSMENT") == ["less pain, unsteady"]
    assert section(account, "PLAN") == ["twice a week", "Next visit: Monday at ten"]
    assert section(account, "ADVERSE") == [
        "onset and settings: 9th minute, 14 mA", "what happened: blister, 4 mm",
        "what was done: stopped, cooled", "reported to: maker, by letter",
    ]  # fmt: skip
    assert section(account, "OVERRIDES") == [
        "override of 'insulin use' by D-1: glucose checked",
        "handed over at 09:00 from T-1 to T-2, at 14.0 mA, 0.0 mA",
    ]
    assert section(account, "BILLING") == ["97032 x 1, attended"]
    assert account.is_same_protocol


def test_billing_stands_there_only_as_it_was_typed(tmp_path: Path) -> None:
    past = begun(tmp_path)
    review = {name: each for name, each in ANSWERS["review"].items() if name != "billing"}
    past.step("review", review, name="review")
    text = note.draft(told(past.close()))
    assert "BILLING" not in text
    assert "97032" not in text


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    account = told(begun(tmp_path).close())
    text = note.draft(account)
    for what in (
        "Screening", "Consent", "Skin before", "Skin after", "Sensation at the pad sites", "Pads",
        "Stop tried", "Pain, symptoms", "Other assessments", "Exercises", "Education",
        "Next visit", "Whether there was one", "Medicines and other care",
    ):  # fmt: skip
        assert f"{what}: {note.NOT_IN_RECORD}" in text
    assert "No programme was prepared; nothing was delivered." in text
    titles = {f"not done: {step.title}" for step in PROTOCOL.protocol.steps}
    assert titles <= set(section(account, "OVERRIDES"))


def test_a_step_left_out_has_its_reason_and_one_done_after_all_has_none(tmp_path: Path) -> None:
    past = walk(begun(tmp_path), left_out=("exercise", "manual"))
    past.step("manual_therapy", ANSWERS["manual"], name="manual")
    lines = section(told(past.close()), "OVERRIDES")
    assert "left out: Balance and foot exercises (T-1): no time today" in lines
    assert not [line for line in lines if "Manual therapy" in line]


def test_a_step_answered_and_then_left_out_has_no_answers(tmp_path: Path) -> None:
    past = walk(begun(tmp_path))
    past.annotate("skip", step="exercise", operator="T-1", reason="a mistake")
    account = told(past.close())
    assert "Exercises: not in the record" in section(account, "OBJECTIVE")
    assert "YOUR EXERCISES" not in take_home.to_text(account)


def test_a_half_answered_score_has_no_number(tmp_path: Path) -> None:
    past = begun(tmp_path)
    past.step("assess", {"tug-seconds": "14.2", "left-foot-felt": 1}, name="function")
    objective = section(told(past.close()), "OBJECTIVE")
    (line,) = [each for each in objective if each.startswith("Monofilament")]
    assert line == "Monofilament on the soles: not scored, 1 not answered (before stimulation)"


def test_answers_that_were_carried_name_the_visit_they_come_from(tmp_path: Path) -> None:
    past = begun(tmp_path)
    past.step("screen", ANSWERS["screening"], carried_from="20000101-x", name="screening")
    (line,) = [s for s in section(told(past.close()), "SUBJECTIVE") if s.startswith("Screening")]
    assert "unchanged since visit 20000101-x" in line


def test_a_protocol_that_is_not_here_leaves_every_answer_under_its_id(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0), protocol={"id": "gone", "version": "9", "sha256": "0" * 64})
    past.step("screen", {"insulin": True, "odd": "heard", "metal": False})
    past.step("inspect_skin", {"clear": False, "words": "pale"})
    past.step("assess", {"pain-now-nrs": 6, "new-scale": 3})
    account = told(past.close())
    text = note.draft(account)
    assert "not on this station: questions are named by their ids" in text
    assert "yes: insulin use [K], CARE" in text
    for line in ("odd: heard", "clear: no", "words: pale", "pain now: 6 of 10", "new-scale: 3"):
        assert line in text


def test_an_answer_of_the_review_that_is_not_known_here_is_told(tmp_path: Path) -> None:
    past = begun(tmp_path)
    past.step("review", {**ANSWERS["review"], "accepted": True}, name="review")
    assert section(told(past.close()), "REVIEW, FURTHER") == ["accepted: yes"]


# Planned beside delivered.


def test_planned_stands_beside_delivered(tmp_path: Path) -> None:
    account = told(walk(begun(tmp_path)).close())
    document = report.document(account)
    (programme,) = document["programmes"]
    assert programme["planned"] == {
        "plateau_s": 600, "ceilings_ua": [20_000, 25_000], "electrode_areas_mm2": [2500, 2500],
    }  # fmt: skip
    assert programme["delivered"] == {
        "has_run": True, "output_ms": 554_000, "plateau_ms": 540_000, "is_uncertain": False,
        "pulses": [41_000, 0], "highest_asked_ua": {"1": 14_000, "2": 0},
        "highest_measured_ua": {"1": 14_100},
        "markers_ua": {"1": {"sensory": 6_000, "comfortable": 12_000}},
    }  # fmt: skip
    assert [each["words"] for each in programme["happened"]] == [
        "asked comfort-60s: comfortable",
        "paused; channel 1 at 14.0 mA; channel 2 at 0.0 mA",
        "electrode off, channel 1 at 12.0 mA",
        "re-armed, channels 1",
        "alarm electrode off (medium) raised",
        "stop: stop key; zero confirmed after 1.00 s",
    ]
    assert document["device"] == {
        "model": "Estim NS", "serial_number": "SN123", "firmware_version": "1.4.2",
    }  # fmt: skip
    text = report.to_text(account)
    assert "planned: 10:00 at the targets" in text
    assert "9:14 with output, of it 9:00 at the targets" in text
    assert "asked up to 14.0 mA, measured up to 14.1 mA" in text
    assert report.NOT_CERTIFIED in text


def test_how_long_is_uncertain_is_said(tmp_path: Path) -> None:
    past = begun(tmp_path)
    past.stimulate(plateau_ms=0)
    past.event("uncertain_delivery", targets_ua=[14_000])
    path = past.tear()
    recover(path, KEY, mono_us=10**15, wall=day(1))
    text = report.to_text(told(path))
    assert "it ran; the record does not say how long" in text
    assert "uncertain how long" in text
    assert "nothing says why it ended" in text


def test_a_note_that_is_written_during_the_visit_does_not_say_how_it_ended(tmp_path: Path) -> None:
    past = begun(tmp_path)
    text = note.draft(told(past.path))
    assert "not closed when this was written" in text
    assert "ended" not in text
    past.journal.close()


def test_what_was_prepared_and_never_ran_delivered_nothing(tmp_path: Path) -> None:
    past = begun(tmp_path)
    past.event("prepared", profile="x", program_digest=1, prepared_digest="ab", ceilings_ua=[1])
    text = report.to_text(told(past.close()))
    assert "delivered: nothing: it was prepared and did not run" in text
    assert "planned: time not in the record" in text


def test_a_second_programme_is_told_for_itself(tmp_path: Path) -> None:
    past = begun(tmp_path)
    past.stimulate(comfortable_ua=9_000)
    stimulate(past)
    first, second = report.document(told(past.close()))["programmes"]
    assert first["delivered"]["markers_ua"] == {"1": {"comfortable": 9_000}}
    assert first["happened"] == []
    assert len(second["happened"]) == 6


def test_thousands_of_alarms_are_counted_and_not_all_told(tmp_path: Path) -> None:
    past = begun(tmp_path)
    stimulate(past)
    for _ in range(HAPPENED_MAX):
        past.event("lead_off", channel=1, load_ohm=1, at_ua=1)
    account = told(past.close())
    assert len(account.happened) == HAPPENED_MAX
    assert account.left_out == 7  # what `stimulate` has kept of it: seven
    assert "7 more events" in report.to_text(account)


# Later.


def test_addenda_stand_in_note_and_report_and_the_saved_note_stays(tmp_path: Path) -> None:
    path = walk(begun(tmp_path)).finish(review=ANSWERS["review"], note="S: better.\nO: skin well.")
    addendum(path, "slip of the pen", "it was the right foot", event_seq=5)
    addendum(path, NOTE_LATER, "A: later\nP: same")
    addendum(path, REASSIGNED, "P-7")
    account = told(path)
    assert (account.pseudonym, account.recorded_for) == ("P-7", PERSON)
    text = note.to_text(account)
    assert "S: better.\nO: skin well." in text
    assert text.startswith("This visit is of P-7")
    for told_text in (text, report.to_text(account)):
        assert "T-9, about event 5: slip of the pen: it was the right foot" in told_text
        assert "T-9: note written later:\n  A: later\n  P: same" in told_text
        assert "belongs to another person: this visit is of P-7, not as recorded" in told_text
    assert "P-7" in take_home.to_text(account)
    assert PERSON not in take_home.to_text(account)
    assert [each["event_seq"] for each in report.document(account)["addenda"]] == [5, None, None]


def test_without_a_saved_note_the_draft_says_that_it_is_one(tmp_path: Path) -> None:
    text = note.to_text(told(walk(begun(tmp_path)).close()))
    assert text.startswith("DRAFT FROM THE RECORD: nobody saved a note")


# The sheet.


def test_the_sheet_holds_what_was_explained_and_done_and_no_more(tmp_path: Path) -> None:
    text = take_home.to_text(told(walk(begun(tmp_path)).close()))
    flat = " ".join(text.split())
    assert "Look at both feet every day" in flat
    assert "Never walk barefoot" not in flat
    assert "Heel raises, hands on the rail" in flat
    assert "2 x 10, 60 s rest between sets" in flat
    assert "Tandem stand" not in flat
    assert "Monday at ten" in flat
    assert PERSON in flat
    assert "not a certified medical device" in flat
    assert max(map(len, text.splitlines())) <= take_home.COLUMNS
    for private in ("blister, 4 mm", "duloxetine", "unsteady", "T-1", "D-1", "97032", "SN123"):
        assert private not in flat


# Nothing leaks, nothing hostile comes through, nothing raises.


CANARY = "CANARY-7431"


def written_out(account: Account) -> str:
    return "\n".join(
        [
            note.draft(account), note.to_text(account), report.to_text(account),
            str(report.document(account)), take_home.to_text(account), str(fhir.bundle(account)),
        ]
    )  # fmt: skip


@pytest.mark.hazard(40)
def test_what_no_export_names_is_in_none(tmp_path: Path) -> None:
    """Every key and kind that is not known here holds the canary, and none comes out."""
    past = begun(tmp_path, name=CANARY, assets=[{"kind": "person", "id": CANARY}], seed=CANARY,
                 bench_ohm=CANARY, clock=CANARY)  # fmt: skip
    whole = past.event

    def event(kind: str, /, **content: Any) -> None:
        whole(kind, **content, **{CANARY: CANARY}, birth_date=CANARY, patient_name=CANARY)

    def annotate(kind: str, /, **content: Any) -> None:
        event("annotation", kind=kind, content={**content, CANARY: CANARY, "name": CANARY})

    past.event, past.annotate = event, annotate  # type: ignore[method-assign]
    walk(past)
    past.annotate("identity", name=CANARY)
    past.event("from_the_future", what=CANARY)
    account = told(past.close())
    assert account.pseudonym == PERSON
    text = written_out(account)
    assert PERSON in text
    assert CANARY not in text
    assert "ttyUSB7" not in text


HOSTILE = "\x1b[2J\x1b]52;c;cm0=\x07 \u202egnorw\u2066\x00\r\n\x9b31m \ud800 ◐ <b> ' | # \u2028"


def hostile(answers: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(answers, HOSTILE)


def assert_safe(text: str) -> None:
    for line in text.split("\n"):
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@pytest.mark.parametrize("keeps_yes_and_no", [True, False])
@pytest.mark.parametrize("step_id", ANSWERS)
def test_hostile_text_in_every_answer_comes_out_as_one_safe_line(
    tmp_path: Path, step_id: str, keeps_yes_and_no: bool
) -> None:
    answers = dict(ANSWERS[step_id])
    if keeps_yes_and_no:  # so that every question which leads to another does
        answers = {name: each for name, each in answers.items() if isinstance(each, str)}
    changed = {**hostile(answers), "words": HOSTILE, "more": HOSTILE}
    account = told(walk(begun(tmp_path), {step_id: changed}).close())
    for text in (note.draft(account), report.to_text(account), take_home.to_text(account)):
        assert_safe(text)
    for text in _strings(fhir.bundle(account)):
        assert_safe(text)


def test_hostile_text_everywhere_else_comes_out_safe(tmp_path: Path) -> None:
    past = begun(tmp_path)
    past.annotate("visit", protocol=hostile(PROTOCOL.facts), pseudonym=PERSON, operator=HOSTILE)
    for kind in ("override", "skip", "handover", "remark", "plan", "read_back", "marker"):
        keys = (
            "item", "clinician", "reason", "step", "operator", "from_operator", "to_operator",
            "text", "goals", "site_words", "marker", "placement", "prepared_digest",
        )  # fmt: skip
        past.annotate(kind, **dict.fromkeys(keys, HOSTILE))
    past.event("identified", model=HOSTILE, serial_number=HOSTILE, firmware_version=HOSTILE)
    past.event("prepared", profile=HOSTILE, profile_version=HOSTILE, program_digest=1,
               prepared_digest=HOSTILE, ceilings_ua=[1], duration_s=HOSTILE)  # fmt: skip
    past.annotate("read_back", prepared_digest=HOSTILE, site_words=HOSTILE)
    past.annotate("marker", channel=1, marker=HOSTILE, amplitude_ua=1)
    past.event("state", **{"from": HOSTILE, "to": "running"})
    for kind in ("paused", "lead_off", "rearmed", "stop", "fault", "suspended"):
        past.event(kind, **dict.fromkeys(
            ("reason", "text", "channel", "channels", "at_ua", "marker_ua"), HOSTILE))  # fmt: skip
    for kind in ("alarm", "prompt"):
        past.annotate(kind, **dict.fromkeys(
            ("cause", "priority", "what", "prompt", "answer"), HOSTILE))  # fmt: skip
    past.annotate("note", text=f"S: well\n{HOSTILE}")
    account = told(past.close())
    for text in (note.draft(account), note.to_text(account), report.to_text(account)):
        assert_safe(text)
    for text in [*_strings(fhir.bundle(account)), *_strings(report.document(account))]:
        assert_safe(text)


def _strings(item: Any) -> list[str]:
    if isinstance(item, dict):
        return [s for name, each in item.items() for s in (*_strings(name), *_strings(each))]
    if isinstance(item, list):
        return [s for each in item for s in _strings(each)]
    return [item] if isinstance(item, str) else []


@pytest.mark.long
def test_damage_in_any_line_raises_nowhere_and_is_said(tmp_path: Path) -> None:
    path = walk(begun(tmp_path)).close()
    intact = path.read_bytes()
    for line in range(intact.count(b"\n")):
        path.write_bytes(intact)
        damage(path, line)
        account = told(path)
        written_out(account)
        is_reading = b'"kind":"telemetry_' in intact.split(b"\n")[line]
        assert account.unreadable == (() if is_reading else (line + 1,))
        assert ("THE RECORD IS DAMAGED" in note.draft(account)) is not is_reading


def test_a_record_cut_anywhere_raises_nowhere(tmp_path: Path) -> None:
    path = walk(begun(tmp_path)).close()
    octets = path.read_bytes()
    chance = random.Random(7)
    for length in [*range(1, 400, 60), *(chance.randrange(len(octets)) for _ in range(12))]:
        path.write_bytes(octets[:length])
        written_out(told(path))


# FHIR.


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


@pytest.mark.hazard(40)
def test_the_bundle_holds_figures_with_units_and_a_pseudonym_alone(tmp_path: Path) -> None:
    bundle = fhir.bundle(told(walk(begun(tmp_path)).close()))
    (patient,) = resources(bundle, "Patient")
    assert patient == {
        "resourceType": "Patient", "id": "patient",
        "identifier": [{"system": "urn:estim:pseudonym", "value": PERSON}],
    }  # fmt: skip
    assert len(resources(bundle, "Procedure")) == 1
    (device,) = resources(bundle, "Device")
    assert device["serialNumber"] == "SN123"
    figures = {
        (each["code"]["coding"][0]["code"], each["effectiveDateTime"][:10]): each["valueQuantity"]
        for each in resources(bundle, "Observation")
        if "valueQuantity" in each
    }
    amounts = {name: (each["value"], each["code"]) for (name, _), each in figures.items()}
    assert amounts["tug"] == (14.2, "s")
    assert amounts["blood-pressure"] == (22, "mm[Hg]")
    assert amounts["delivered-time"] == (554, "s")
    assert amounts["measured-1"] == (14.1, "mA")
    assert amounts["comfortable-1"] == (12, "mA")
    pains = [
        each["valueQuantity"]["value"]
        for each in resources(bundle, "Observation")
        if each["code"]["coding"][0]["code"] == "pain-now"
    ]
    assert pains == [6, 4]
    typed = str(bundle)
    for text in ("duloxetine", "unsteady", "twice a week", "97032", "glucose checked", "ST36"):
        assert text not in typed
    assert "blister, 4 mm" in typed


def test_every_reference_of_the_bundle_leads_to_one_of_its_resources(tmp_path: Path) -> None:
    bundle = fhir.bundle(told(walk(begun(tmp_path)).close()))
    urls = [each["fullUrl"] for each in bundle["entry"]]
    assert len(set(urls)) == len(urls)
    pointed = _references(bundle)
    assert len(pointed) == 4  # person, visit, device, stimulation
    assert pointed <= set(urls)


def _references(item: Any) -> set[str]:
    if isinstance(item, dict):
        own = {item["reference"]} if "reference" in item else set()
        return own.union(*(_references(each) for each in item.values()))
    return set().union(*map(_references, item)) if isinstance(item, list) else set()


@pytest.mark.parametrize("which", ["whole", "short", "torn", "hostile"])
def test_the_librarys_models_take_the_bundle(tmp_path: Path, which: str) -> None:
    models = pytest.importorskip("fhir.resources.R4B.bundle", reason="needs the extra 'fhir'")
    if which == "whole":
        path = walk(begun(tmp_path)).close()
    elif which == "short":
        path = whole_visit(tmp_path, "a", day(0))
    elif which == "torn":
        past = begun(tmp_path)
        past.stimulate(plateau_ms=0)
        path = past.tear()
    else:
        every = {name: hostile(answers) for name, answers in ANSWERS.items()}
        path = walk(begun(tmp_path), every).close()
    bundle = fhir.bundle(told(path))
    taken = models.Bundle.model_validate(bundle)
    assert len(taken.entry) == len(bundle["entry"])
    broken = {**bundle, "entry": [{"resource": {"resourceType": "Observation"}}]}
    with pytest.raises(ValueError, match="Field required"):
        models.Bundle.model_validate(broken)
