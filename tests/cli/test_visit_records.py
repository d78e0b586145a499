"""`estim records export --format` and `amend`: a visit leaves the record whole, and stays whole."""

from __future__ import annotations

import importlib.util
import io
import json
import stat
import sys
from pathlib import Path

import pytest

from estim.record import station_key
from estim.record.lines import NOTE_LATER, REASSIGNED
from estim.record.reader import read
from estim.record.verify import verify
from estim.tui import papers
from tests.cli.commands import Shell
from tests.record.samples import KEY, sealed_record
from tests.visit.past import PERSON
from tests.visit.told import ANSWERS, begun, walk

PIN = "4711"


@pytest.fixture
def folder(tmp_path: Path, home: Path) -> Path:
    """Return a folder for records, on a station whose key seals them."""
    configuration = home / "config" / "estim"
    configuration.mkdir(parents=True)
    key_file = configuration / station_key.FILE_NAME
    key_file.touch(stat.S_IRUSR | stat.S_IWUSR)
    key_file.write_text(KEY.hex())
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, estim: Shell, folder: Path) -> pytest.MonkeyPatch:
    """Put T-9 on the roster, and their PIN on standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PIN}\n"))
    assert estim("roster", "add", "T-9", "--role", "therapist", "--pin-stdin").code == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PIN}\nS: later.\r\n\tA: well.\n"))
    return monkeypatch


def whole(folder: Path) -> Path:
    return walk(begun(folder)).finish(review=ANSWERS["review"], note="S: better.\nO: well.")


# Export.


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("note", "S: better.\nO: well."),
        ("report", "planned: 10:00 at the targets"),
        ("take-home", "CALL US AT ONCE FOR"),
        ("csv", "seq,mono_us,wall,kind"),
    ],
)
def test_a_visit_is_written_out_and_never_over_anything(
    estim: Shell, folder: Path, tmp_path: Path, form: str, expected: str
) -> None:
    whole(folder)
    asked = ("records", "export", "a", "--records", folder, "--format", form)
    printed = estim(*asked)
    assert (printed.code, printed.err) == (0, "")
    assert expected in printed.out
    target = tmp_path / "out.txt"
    written = estim(*asked, "--out", target)
    assert (written.code, written.out) == (0, "")
    assert expected in target.read_text("utf-8")
    before = target.read_bytes()
    again = estim(*asked, "--out", target)
    again.assert_one_message(2)
    assert "is there already" in again.err
    assert target.read_bytes() == before


def test_the_report_is_data_too(estim: Shell, folder: Path) -> None:
    whole(folder)
    answer = estim("records", "export", "a", "--records", folder, "--format", "json")
    document = json.loads(answer.out)
    assert document["schema"] == "estim.visit-report/1"
    assert document["pseudonym"] == PERSON
    assert document["programmes"][0]["delivered"]["plateau_ms"] == 540_000


@pytest.mark.parametrize("form", ["pdf", "take-home-pdf"])
def test_a_visit_becomes_a_pdf(estim: Shell, folder: Path, tmp_path: Path, form: str) -> None:
    pytest.importorskip("reportlab")
    whole(folder)
    asked = ("records", "export", "a", "--records", folder, "--format", form)
    estim(*asked).assert_one_message(2)
    target = tmp_path / "visit.pdf"
    answer = estim(*asked, "--out", target)
    assert answer.code == 0, answer.err
    assert target.read_bytes().startswith(b"%PDF-")


def test_the_sheet_is_printed_large(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("reportlab")
    pypdf = pytest.importorskip("pypdf")
    from estim.visit.account import read_account

    target = tmp_path / "sheet.pdf"
    papers.take_home_pdf(read_account(whole(folder)), target)
    sizes: set[float] = set()

    def visit(text: str, _: object, matrix: list[float], font: object, size: float) -> None:
        if "Heel raises" in text:
            sizes.add(size)

    for page in pypdf.PdfReader(target).pages:
        page.extract_text(visitor_text=visit)
    assert sizes == {18}


def test_a_visit_becomes_a_bundle_that_the_models_take(estim: Shell, folder: Path) -> None:
    models = pytest.importorskip("fhir.resources.R4B.bundle", reason="needs the extra 'fhir'")
    whole(folder)
    answer = estim("records", "export", "a", "--records", folder, "--format", "fhir")
    assert (answer.code, answer.err) == (0, "")
    bundle = json.loads(answer.out)
    assert models.Bundle.model_validate(bundle).type == "collection"
    assert bundle["identifier"]["value"] == "a"


@pytest.mark.parametrize(("form", "extra"), [("fhir", "fhir"), ("pdf", "report")])
def test_a_missing_extra_is_one_message_that_says_what_to_install(
    estim: Shell, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str,
    extra: str,
) -> None:  # fmt: skip
    whole(folder)
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> object:
        return None if name in ("fhir", "reportlab") else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    target = tmp_path / "out"
    answer = estim("records", "export", "a", "--records", folder, "--format", form, "--out", target)
    answer.assert_one_message(2)
    assert f"pip install 'estim[{extra}]'" in answer.err
    assert not target.exists()


def test_what_does_not_go_together_is_refused(estim: Shell, folder: Path, tmp_path: Path) -> None:
    whole(folder)
    bench = sealed_record(folder, "bench")
    asked = ("records", "export", "a", "--records", folder)
    target = tmp_path / "out"
    for options in (
        (), ("--csv", "-", "--format", "note"), ("--format", "word"),
        ("--format", "note", "--telemetry"), ("--csv", "-", "--out", target),
    ):  # fmt: skip
        estim(*asked, *options).assert_one_message(2)
    refused = estim("records", "export", bench, "--format", "note")
    refused.assert_one_message(2)
    assert "not a person's visit" in refused.err


# Amend.


def amend(estim: Shell, folder: Path, *options: str | Path) -> tuple[int, str]:
    answer = estim(
        "records", "amend", "a", "--records", folder, "--who", "T-9", "--pin-stdin", *options
    )
    return answer.code, answer.err


def test_a_note_is_written_later_with_its_lines(
    estim: Shell, folder: Path, typed: pytest.MonkeyPatch
) -> None:
    path = walk(begun(folder)).close()
    before = path.read_bytes()
    assert amend(estim, folder, "--note", "-") == (0, "")
    assert path.read_bytes().startswith(before)
    (added,) = read(path).addenda
    assert added.content["who"] == "T-9"
    assert (added.content["why"], added.content["text"]) == (
        NOTE_LATER, "S: later.\n    A: well.",
    )  # fmt: skip
    assert verify(path, KEY).is_ok
    for form in ("note", "report"):
        shown = estim("records", "export", "a", "--records", folder, "--format", form)
        assert "note written later:\n  S: later." in shown.out


def test_a_correction_names_the_event_and_a_visit_goes_to_whom_it_belongs(
    estim: Shell, folder: Path, typed: pytest.MonkeyPatch
) -> None:
    path = whole(folder)
    told = ("--text", "it was the right foot", "--why", "slip of the pen", "--event", "5")
    assert amend(estim, folder, *told) == (0, "")
    typed.setattr(sys, "stdin", io.StringIO(f"{PIN}\n"))
    assert amend(estim, folder, "--reassign", "P-7") == (0, "")
    first, second = read(path).addenda
    assert first.content["event_seq"] == 5
    assert (second.content["why"], second.content["text"]) == (REASSIGNED, "P-7")
    shown = estim("records", "export", "a", "--records", folder, "--format", "report").out
    assert "Person    P-7" in shown
    assert "T-9, about event 5: slip of the pen: it was the right foot" in shown
    listed = estim("records", "list", "--records", folder, "--json").objects
    assert [each["pseudonym"] for each in listed] == ["P-7"]


def test_a_visit_that_a_crash_left_open_gets_its_note_after_recovery(
    estim: Shell, folder: Path, typed: pytest.MonkeyPatch
) -> None:
    path = walk(begun(folder)).tear()
    code, told = amend(estim, folder, "--note", "-")
    assert code != 0
    assert "--recover" in told
    typed.setattr(sys, "stdin", io.StringIO(f"{PIN}\nS: later.\n"))
    code, told = amend(estim, folder, "--note", "-", "--recover")
    assert code == 0
    assert "closed after a crash" in told
    assert verify(path, KEY).is_ok
    assert read(path).addenda[0].content["text"] == "S: later."


def test_a_record_that_is_being_written_is_left_alone(
    estim: Shell, folder: Path, typed: pytest.MonkeyPatch
) -> None:
    past = begun(folder)
    before = past.path.read_bytes()
    code, told = amend(estim, folder, "--note", "-", "--recover")
    assert code != 0
    assert "another program is writing" in told
    assert past.path.read_bytes() == before
    past.journal.close()


@pytest.mark.parametrize(
    ("options", "typed_in", "expected"),
    [
        (("--note", "-"), "0000\nS: later.\n", "wrong PIN"),
        (("--note", "-"), f"{PIN}\n", "note: expected"),
        (("--note", "-"), f"{PIN}\nS: \x1b[2J\n", "note: expected"),
        (("--note", "-"), f"{PIN}\nS: \u202egnorw\n", "note: expected"),
        (("--note", "-"), f"{PIN}\n{'x' * 8001}\n", "note: expected"),
        (("--note", "nowhere.txt"), f"{PIN}\n", "cannot be read"),
        (("--reassign", "John Doe"), f"{PIN}\n", "pseudonym"),
        (("--text", "two\nlines", "--why", "x"), f"{PIN}\n", "text: expected"),
        (("--text", "x"), f"{PIN}\n", "--why"),
        (("--text", "x", "--why", "y", "--event", "-1"), f"{PIN}\n", "--event"),
        (("--text", "x", "--why", "y", "--event", "99999"), f"{PIN}\n", "event 99999"),
        (("--text", "P-7", "--why", REASSIGNED), f"{PIN}\n", "--reassign"),
        (("--note", "-", "--why", "y"), f"{PIN}\n", "--text only"),
        (("--note", "-", "--reassign", "P-7"), f"{PIN}\n", "not allowed with"),
        (("--who", "T-8", "--note", "-"), f"{PIN}\n", "T-8"),
        ((), f"{PIN}\n", "one of the arguments"),
    ],
)
def test_what_may_not_be_added_is_one_message_and_changes_nothing(
    estim: Shell, folder: Path, typed: pytest.MonkeyPatch, options: tuple[str, ...],
    typed_in: str, expected: str,
) -> None:  # fmt: skip
    path = whole(folder)
    before = path.read_bytes()
    typed.setattr(sys, "stdin", io.StringIO(typed_in))
    code, told = amend(estim, folder, *options)
    assert code in (2, 4)
    assert expected in told
    assert told.count("\n") == 1
    assert path.read_bytes() == before


def test_nothing_is_added_without_a_pin(
    estim: Shell, folder: Path, typed: pytest.MonkeyPatch
) -> None:
    path = whole(folder)
    before = path.read_bytes()
    answer = estim(
        "records", "amend", "a", "--records", folder, "--who", "T-9", "--reassign", "P-7"
    )
    answer.assert_one_message(2)
    assert "--pin-stdin" in answer.err
    assert path.read_bytes() == before
