"""Which protocol is offered and proposed to a person, and how what was measured is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from estim.tui import people
from tests.record.samples import KEY
from tests.visit.past import Past
from tests.visit.walked import first_visit

PERSON = "K7M4Q2"
ON = datetime(2026, 11, 14, 9, tzinfo=UTC)


def kinds(view: people.PersonView) -> list[str]:
    return [each.protocol.visit for each in view.protocols]


def proposed(view: people.PersonView) -> str:
    return view.proposed.protocol.id if view.proposed is not None else ""


def test_somebody_new_sees_first_visits_on_top_and_nothing_is_proposed(tmp_path: Path) -> None:
    view = people.view(tmp_path, PERSON, KEY)
    assert kinds(view) == ["first"] * 6 + ["follow-up"] * 6
    assert "neuropathy" in view.protocols[0].protocol.id
    assert proposed(view) == ""


def test_a_visit_that_delivered_nothing_is_not_followed_up(tmp_path: Path) -> None:
    Past(tmp_path, "left", ON, pseudonym=PERSON).close()
    view = people.view(tmp_path, PERSON, KEY)
    assert proposed(view) == "diabetic-neuropathy-first"
    first_visit(tmp_path, ON + timedelta(days=1), person=PERSON).finish()
    view = people.view(tmp_path, PERSON, KEY)
    assert proposed(view) == "diabetic-neuropathy-follow-up"
    assert kinds(view)[0] == "follow-up"


def test_what_was_measured_once_stands_in_one_place_and_has_no_plot(tmp_path: Path) -> None:
    first_visit(tmp_path, ON, "one", person=PERSON, pain=6).finish()
    (once,) = people.view(tmp_path, PERSON, KEY).sections[2:]
    assert once.title == "Measured once"
    assert once.lines[0] == "Pain now (0-10), before: 6 on 2026-11-14"
    first_visit(tmp_path, ON + timedelta(days=7), "two", person=PERSON, pain=4).finish()
    pain, *_ = people.view(tmp_path, PERSON, KEY).sections[2:]
    assert pain.trace is not None
    assert pain.lines[0].startswith("first 6 on 2026-11-14, last 4 on 2026-11-21, change -2")


def test_the_visit_that_is_open_is_not_called_unfinished(tmp_path: Path) -> None:
    Past(tmp_path, "open", ON, pseudonym=PERSON).close()
    assert people.due_and_unfinished(tmp_path, KEY, "open") == [
        (PERSON, "the visit that is open: Esc goes back to it")
    ]
    ((_, said),) = people.due_and_unfinished(tmp_path, KEY)
    assert said.startswith("unfinished, 2026-11-14: it ended by: visit over")
