"""Past visits: what records tell, and that no record, however damaged, disappears or raises."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
from datetime import date
from pathlib import Path

import pytest

from estim.errors import RecordError, UsageError
from estim.record.addenda import add_addendum
from estim.record.lines import NOTE_LATER, REASSIGNED, event_entry
from estim.record.recover import recover
from estim.visit import history
from tests.record.samples import KEY
from tests.visit.past import PERSON, PLACEMENT, Past, damage, day, whole_visit


def visits(folder: Path, pseudonym: str = PERSON) -> tuple[history.Visit, ...]:
    return history.visits_of(folder, pseudonym, KEY)


def addendum(path: Path, why: str, text: str, on: int = 20) -> None:
    add_addendum(
        path, KEY, who="T-2", why=why, text=text, event_seq=None, mono_us=10**16, wall=day(on)
    )


def test_a_finished_visit_is_told_as_it_was(tmp_path: Path) -> None:
    whole_visit(tmp_path, "a", day(0))
    (visit,) = visits(tmp_path)
    assert (visit.session_id, visit.on, visit.operator) == ("a", date(2000, 1, 1), "T-1")
    assert visit.facts.protocol_id == "diabetic-neuropathy-first"
    assert (visit.is_finished, visit.problem, visit.end_reason) == (True, "", "visit over")
    kinds = [step.kind for step in visit.facts.steps]
    assert kinds == ["screen", "test_sensation", "assess", "review"]
    screen = visit.facts.latest("screen")
    assert screen is not None
    assert screen.answers == {"pacemaker": False, "insulin": True}
    assert (screen.session_id, screen.wall.date()) == ("a", date(2000, 1, 1))
    (stimulation,) = visit.facts.stimulations
    assert stimulation.profile_id == "dpn-conventional"
    assert stimulation.delivered_ms == 14_000 + 1_200_000 + 2_000
    assert visit.delivered_ms == 1_216_000
    assert (stimulation.highest_target_ua, stimulation.highest_measured_ua) == (
        {1: 14_000}, {1: 14_100},
    )  # fmt: skip
    assert stimulation.markers_ua == {1: {"comfortable": 12_000}}
    assert stimulation.placement == tuple(PLACEMENT)
    assert stimulation.pulses == (97_000,)
    assert stimulation.charge_pc is None
    assert visit.facts.notes == ("S: better.",)
    assert visit.facts.adverse is None


def test_visits_come_newest_first_and_only_those_of_the_person(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        whole_visit(tmp_path, f"s{number}", day(number))
    whole_visit(tmp_path, "other", day(4), pseudonym="P-7")
    whole_visit(tmp_path, "bench", day(5), kind="bench")
    assert [each.session_id for each in visits(tmp_path)] == ["s3", "s2", "s1"]
    assert [v.session_id for v in history.visits_of(tmp_path, PERSON, KEY, at_most=2)] == [
        "s3", "s2",
    ]  # fmt: skip
    first, second = history.people(tmp_path, KEY)
    assert (first.pseudonym, first.last_visit_on) == ("P-7", date(2000, 1, 5))
    assert (second.pseudonym, len(second.visits_on), second.damaged_count) == (PERSON, 3, 0)
    assert history.unfinished(tmp_path, KEY) == ()


def test_an_empty_or_missing_folder_has_nobody(tmp_path: Path) -> None:
    assert history.people(tmp_path / "none") == ()
    assert visits(tmp_path) == ()


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be read"):
        history.people(tmp_path / "file")


def test_a_step_confirmed_twice_holds_as_it_was_confirmed_last(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    past.step("screen", {"insulin": False})
    past.step("screen", {"insulin": True})
    past.finish()
    (visit,) = visits(tmp_path)
    latest = visit.facts.latest("screen")
    assert latest is not None
    assert latest.answers == {"insulin": True}
    assert len(visit.facts.steps) == 3


def test_an_adverse_event_is_told_with_its_answers(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    review = {"adverse": True, "adverse-what": "blister", "plan": "rest"}
    past.finish(review=review)
    adverse = visits(tmp_path)[0].facts.adverse
    assert adverse is not None
    assert adverse.answers == {"adverse": True, "adverse-what": "blister"}


# What is not finished.


def test_what_is_missing_makes_a_visit_unfinished(tmp_path: Path) -> None:
    open_visit = Past(tmp_path, "open", day(0))
    no_note = Past(tmp_path, "no-note", day(1))
    no_note.step("review", {"adverse": False})
    no_note.close()
    no_review = Past(tmp_path, "no-review", day(2))
    no_review.annotate("note", text="S: well.")
    no_review.close()
    whole_visit(tmp_path, "whole", day(3))
    told = {v.session_id: v.unfinished_because for v in history.unfinished(tmp_path, KEY)}
    assert told == {
        "no-review": ("there is no review",),
        "no-note": ("there is no note",),
        "open": (
            "its record was never closed, or the visit is still going on",
            "there is no review",
            "there is no note",
        ),
    }
    open_visit.journal.close()


def test_finished_visits_are_not_read_to_find_the_others(tmp_path: Path) -> None:
    for number in range(5):
        whole_visit(tmp_path, f"s{number}", day(number))
    history._kept_facts.cache_clear()
    assert history.unfinished(tmp_path, KEY) == ()
    assert history._kept_facts.cache_info().misses == 0


def test_a_note_written_later_finishes_a_visit(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    past.step("review", {"adverse": False})
    path = past.close()
    assert not visits(tmp_path)[0].is_finished
    addendum(path, NOTE_LATER, "S: better.")
    (visit,) = visits(tmp_path)
    assert visit.is_finished
    assert visit.facts.notes == ("S: better.",)
    assert visit.facts.corrections == ()


def test_a_crashed_visit_is_closed_by_the_note_that_is_added_to_it(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(1))
    past.step("screen", {"insulin": True})
    path = past.tear()
    (crashed,) = history.unfinished(tmp_path, KEY)
    assert "there is no review" in crashed.unfinished_because
    assert crashed.closed_on is None
    recover(path, KEY, mono_us=10**15, wall=day(2))
    addendum(path, NOTE_LATER, "S: sent home, no harm.")
    assert history.unfinished(tmp_path, KEY) == ()
    (visit,) = history.visits_of(tmp_path, PERSON, KEY)
    assert visit.is_finished
    assert visit.closed_on is not None
    damage(path, 2)
    (visit,) = history.unfinished(tmp_path, KEY)  # a note does not close what cannot be relied on
    assert visit.closed_on is None


def test_what_a_crash_tore_keeps_everything_confirmed(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    past.step("screen", {"insulin": True})
    past.stimulate(plateau_ms=0)
    path = past.tear()
    for state in ("unsealed", "sealed"):
        (visit,) = visits(tmp_path)
        assert (visit.state, visit.problem) == (state, "")
        assert visit.facts.latest("screen") is not None
        (stimulation,) = visit.facts.stimulations
        assert (stimulation.delivered_ms, stimulation.is_uncertain) == (None, True)
        assert visit.delivered_ms is None
        assert not visit.is_finished
        if state == "unsealed":
            recover(path, KEY, mono_us=10**15, wall=day(1))
    assert "it was cut short: nothing says why it ended" in visit.unfinished_because


def test_a_lost_link_makes_what_was_delivered_uncertain(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    past.stimulate(plateau_ms=0)
    past.event("uncertain_delivery", targets_ua=[14_000])
    past.event("delivered", rise_ms=1_000, plateau_ms=5_000, ramp_down_ms=0, pulses=[480])
    past.finish()
    (visit,) = visits(tmp_path)
    (stimulation,) = visit.facts.stimulations
    assert (stimulation.delivered_ms, stimulation.is_uncertain) == (6_000, True)
    assert visit.delivered_ms is None


def test_what_was_prepared_and_never_ran_delivered_nothing(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    past.event("prepared", profile="x", program_digest=1, prepared_digest="ab", ceilings_ua=[1])
    past.finish()
    assert visits(tmp_path)[0].delivered_ms == 0


# Damage.


def test_every_line_can_be_damaged_and_the_visit_stays_and_says_so(tmp_path: Path) -> None:
    """Whatever line it hits, the header with its pseudonym too."""
    whole_visit(tmp_path, "a", day(0))
    intact = (tmp_path / "a.jsonl").read_bytes()
    for line in range(intact.count(b"\n")):
        (tmp_path / "a.jsonl").write_bytes(intact)
        damage(tmp_path / "a.jsonl", line)
        (visit,) = visits(tmp_path)
        assert visit.problem, line
        assert not visit.is_finished, line
        assert [each.session_id for each in history.unfinished(tmp_path, KEY)] == ["a"]


def test_a_record_cut_anywhere_never_raises_nor_disappears(tmp_path: Path) -> None:
    path = whole_visit(tmp_path, "a", day(0))
    intact = path.read_bytes()
    for size in random.Random(1).sample(range(1, len(intact) - 1), 60):
        path.write_bytes(intact[:size])
        (visit,) = history.unfinished(tmp_path, KEY)
        assert visit.session_id == "a"


def test_a_visit_without_its_header_keeps_its_place_among_the_others(tmp_path: Path) -> None:
    """Its first readable line tells the day; what tells none at all is looked at first."""
    for number in (1, 2, 3):
        whole_visit(tmp_path, f"s{number}", day(number))
    damage(tmp_path / "s2.jsonl", 0)
    assert [(each.session_id, each.on) for each in visits(tmp_path)] == [
        ("s3", date(2000, 1, 4)), ("s2", date(2000, 1, 3)), ("s1", date(2000, 1, 2)),
    ]  # fmt: skip
    assert [v.session_id for v in history.visits_of(tmp_path, PERSON, KEY, at_most=2)] == [
        "s3", "s2",
    ]  # fmt: skip
    (tmp_path / "x.jsonl").write_bytes(b"\n")
    assert [each.session_id for each in history.unfinished(tmp_path, KEY)] == ["x", "s2"]


@pytest.mark.parametrize("octets", [b"", b"\n", b"{}\n", b"\xff" * 5000, b"\n" * 500])
def test_what_is_no_record_waits_to_be_looked_at(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "x.jsonl").write_bytes(octets)
    (visit,) = history.unfinished(tmp_path, KEY)
    assert (visit.pseudonym, bool(visit.problem)) == (None, True)


def test_a_link_or_a_pipe_in_the_folder_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "link.jsonl").symlink_to("/dev/zero")
    assert {each.session_id for each in history.unfinished(tmp_path, KEY)} == {"pipe", "link"}


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "screen", "content": {"step": "screen", "operator": "T-1", "answers": [1]}},
        {"kind": "screen", "content": {"step": "s", "operator": "T-1", "answers": {"a": {"b": 1}}}},
        {"kind": "screen", "content": {"step": 1, "operator": "T-1", "answers": {}}},
        {"kind": "marker", "content": {"channel": -1, "marker": "comfortable", "amplitude_ua": 1}},
        {"kind": "marker", "content": {"channel": 1, "marker": "comfortable", "amplitude_ua": 1}},
        {"kind": "note", "content": {}},
        {"kind": 1, "content": {}},
        {"content": 1},
        {},
    ],
)
def test_an_annotation_of_another_shape_is_a_fault_in_words(
    tmp_path: Path, content: dict[str, object]
) -> None:
    past = Past(tmp_path, "a", day(0))
    past.event("annotation", **content)
    past.finish()
    (visit,) = visits(tmp_path)
    assert visit.problem.startswith("line 3 of its record: ")
    assert visit.facts.notes == ("S: better.",)


def test_kinds_that_are_not_known_are_passed_over(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    past.annotate("from-the-future", anything=1)
    past.finish()
    assert visits(tmp_path)[0].is_finished


def test_a_header_and_a_visit_of_two_people_are_nobodys(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    past.annotate("visit", protocol={"id": "x"}, pseudonym="P-9", operator="T-1", site={})
    past.finish()
    assert "names another person" in visits(tmp_path)[0].problem


def test_a_copy_under_another_name_is_told(tmp_path: Path) -> None:
    path = whole_visit(tmp_path, "a", day(0))
    (tmp_path / "b.jsonl").write_bytes(path.read_bytes())
    told = {each.session_id: each.problem for each in visits(tmp_path)}
    assert told["a"] == ""
    assert "another name" in told["b"]


# Addenda.


def test_a_visit_of_the_wrong_person_is_found_where_it_belongs(tmp_path: Path) -> None:
    path = whole_visit(tmp_path, "a", day(0))
    assert len(visits(tmp_path)) == 1
    with pytest.raises(UsageError, match="pseudonym"):
        addendum(path, REASSIGNED, "John Doe")
    addendum(path, REASSIGNED, "P-7")
    assert visits(tmp_path) == ()
    (visit,) = visits(tmp_path, "P-7")
    assert visit.facts.reassigned_to == "P-7"
    assert visit.facts.pseudonym == PERSON
    assert [each.pseudonym for each in history.people(tmp_path, KEY)] == ["P-7"]


# Two programs, and time.


def _look(folder: Path, rounds: int) -> None:
    for _ in range(rounds):
        assert all(not visit.problem for visit in visits(folder))


def test_two_programs_look_while_a_third_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    lookers = [context.Process(target=_look, args=(tmp_path, 15)) for _ in range(2)]
    for looker in lookers:
        looker.start()
    for number in range(15):
        whole_visit(tmp_path, f"s{number:02}", day(number))
    for looker in lookers:
        looker.join(60)
        assert looker.exitcode == 0
    assert len(visits(tmp_path)) == 15


def test_a_visit_that_grows_is_read_again(tmp_path: Path) -> None:
    past = Past(tmp_path, "a", day(0))
    past.step("screen", {"insulin": True})
    assert len(visits(tmp_path)[0].facts.steps) == 1
    past.step("consent", {"agrees": True})
    assert len(visits(tmp_path)[0].facts.steps) == 2
    past.journal.close()


def test_readings_are_passed_over_in_bounded_memory(tmp_path: Path) -> None:
    """3 MB: what ten noisy minutes of two channels leave, and held they would take ten times it."""
    past = Past(tmp_path, "a", day(0))
    past.stimulate()
    readings = [
        {"at_us": at, "channel": channel, "contact": "good", "load_ohm": 900, "peak_ua": 14_000,
         "setpoint_ua": 14_000, "target_ua": 14_000}
        for at in range(2) for channel in (1, 2)
    ]  # fmt: skip
    entries = [
        event_entry("telemetry_changed", {"changes": readings}, mono_us=number, wall=day(0))
        for number in range(6_000)
    ]
    entries.append(
        event_entry(
            "telemetry_second",
            {"channels": [{"channel": 2, "peak_max_ua": 15_000}]},
            mono_us=6_000,
            wall=day(0),
        )
    )
    past.journal.append_many(entries)
    path = past.finish()
    assert path.stat().st_size > 3_000_000
    visits(tmp_path)  # the catalogue verifies it once
    history._kept_facts.cache_clear()
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (visit,) = visits(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 8_000
    assert visit.facts.stimulations[0].highest_measured_ua == {1: 14_100, 2: 15_000}
