"""A CSV holds what the record holds, and no spreadsheet runs any of it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from estim.errors import RecordError
from estim.record.exports import export_events, export_telemetry
from estim.record.recover import recover
from estim.record.telemetry import Reading, Telemetry
from tests.record.samples import KEY, append, start, wall


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def exported(path: Path) -> list[dict[str, str]]:
    target = io.StringIO(newline="")
    count = export_events(path, target)
    rows = rows_of(target.getvalue())
    assert len(rows) == count
    return rows


def test_every_event_is_a_row_with_its_content_flattened(tmp_path: Path) -> None:
    journal = start(tmp_path)
    append(journal, "target_changed", 1_500_000, channel=1, target_ua=-5, why={"key": "+"})
    append(journal, "noted", 2, pads=[{"site": "foot"}, {"site": "calf"}], ok=True, none=None)
    journal.close()
    header, target, note = exported(journal.path)
    assert list(header)[:4] == ["seq", "mono_us", "wall", "kind"]
    assert (header["kind"], header["content.profile.id"]) == ("header", "dpn-high-rate")
    assert header["content.assets.0.serial"] == "SN123"
    assert (target["seq"], target["mono_us"]) == ("1", "1500000")
    assert target["wall"] == "2000-01-01T00:00:01.500000+00:00"
    assert target["content.target_ua"] == "-5"  # a number is no formula
    assert target["content.why.key"] == "'+"
    assert (note["content.pads.0.site"], note["content.pads.1.site"]) == ("foot", "calf")
    assert (note["content.ok"], note["content.none"], note["content.target_ua"]) == ("True", "", "")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "' =1"),
        (" =1", "' =1"),
        ("\r\n=1", "'  =1"),
        ("a=1", "a=1"),
        ('say "x", then y', 'say "x", then y'),
        ("two\nlines", "two lines"),
        ("\x1b[2J", " [2J"),
        ("µ", "µ"),
        ("\ud800", "\\ud800"),
    ],
)
def test_no_cell_is_a_formula_or_repaints_a_screen(tmp_path: Path, text: str, cell: str) -> None:
    journal = start(tmp_path)
    append(journal, "noted", 1, said=text, **{text: 1})
    journal.close()
    row = exported(journal.path)[1]
    assert row["content.said"] == cell
    assert row["content." + cell.removeprefix("'")] == "1"


def test_too_many_different_keys_are_refused(tmp_path: Path) -> None:
    journal = start(tmp_path)
    append(journal, "noted", 1, **{f"k{number}": number for number in range(1001)})
    journal.close()
    with pytest.raises(RecordError, match="1000 different keys"):
        exported(journal.path)


def test_torn_bytes_are_no_row(tmp_path: Path) -> None:
    journal = start(tmp_path)
    append(journal, "armed", 1)
    journal.close()
    with journal.path.open("ab") as more:
        more.write(b'{"content":{"half')
    assert [row["kind"] for row in exported(journal.path)] == ["header", "armed"]
    recover(journal.path, KEY, mono_us=2, wall=wall(2))
    kinds = [row["kind"] for row in exported(journal.path)]
    assert kinds == ["header", "armed", "recovered", "seal"]


def test_telemetry_has_a_row_for_each_change_and_each_second_of_a_channel(
    tmp_path: Path,
) -> None:
    telemetry = Telemetry()
    telemetry.add(10, [Reading(1, 2000, 1000, 990, 500, "good")])
    telemetry.add(20, [Reading(2, 0, 0, None, None, "=off")])
    journal = start(tmp_path)
    append(journal, "armed", 1)
    for kind, content in telemetry.finish(400):
        append(journal, kind, 400, **content)
    journal.append("telemetry_second", {"channels": "x"}, mono_us=500, wall=wall(500))
    journal.append("telemetry_changed", {"changes": [7]}, mono_us=500, wall=wall(500))
    journal.close()
    target = io.StringIO(newline="")
    assert export_telemetry(journal.path, target) == 4
    changes_1, changes_2, second_1, second_2 = rows_of(target.getvalue())
    assert (changes_1["from_us"], changes_1["to_us"], changes_1["channel"]) == ("10", "10", "1")
    assert (changes_1["peak_ua"], changes_1["load_ohm"]) == ("990", "500")
    assert (changes_2["peak_ua"], changes_2["contact"]) == ("", "'=off")
    assert (second_1["from_us"], second_1["to_us"]) == ("10", "400")
    assert (second_1["peak_mean_ua"], second_1["target_max_ua"]) == ("990", "2000")
    assert (second_2["channel"], second_2["peak_max_ua"]) == ("2", "")
