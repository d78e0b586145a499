"""The roster: who works here, PINs that stay secret, and wrong ones that cost time."""

from __future__ import annotations

import json
import multiprocessing
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from estim.errors import EstimError, RecordError, UsageError
from estim.prepare import durable, roster
from estim.prepare.roster import Role

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
PIN = "4711"
WRONG = "4712"


def at(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    roster.add(tmp_path, "T-1", Role.THERAPIST, PIN)
    return tmp_path


def try_at(folder: Path, pin: str, seconds: int = 0) -> roster.Try:
    return roster.try_pin(folder, "T-1", pin, at(seconds))


def test_an_empty_roster_has_nobody_and_no_pin_opens_it(tmp_path: Path) -> None:
    assert roster.operators(tmp_path) == ()
    for pin in ("0000", "1234", ""):
        with pytest.raises(UsageError, match="estim roster add"):
            roster.try_pin(tmp_path, "T-1", pin, NOW)
    assert not (tmp_path / roster.FILE_NAME).exists()


def test_only_the_right_pin_is_right(folder: Path) -> None:
    assert try_at(folder, PIN).is_right
    for pin in (
        WRONG,
        "",
        "47110",
        "471",
        " 4711",
        "4711\n",
        "x" * 10_000_000,
        "\u0664\u0667\u0661\u0661",
    ):
        roster.set_pin(folder, "T-1", PIN)
        assert not try_at(folder, pin).is_right


def test_the_file_is_private_and_holds_no_pin(folder: Path) -> None:
    path = folder / roster.FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PIN not in path.read_text()
    roster.add(folder, "T-2", Role.CLINICIAN, PIN)
    first, second = json.loads(path.read_text())["operators"]
    assert first["hash"] != second["hash"], "each PIN has a salt of its own"
    assert sorted(each.name for each in folder.iterdir()) == ["configuration.lock", "roster.json"]


def test_only_a_clinician_may_override(tmp_path: Path) -> None:
    pins = {"A": "9081", "B": "9082", "C": "9083"}
    for (name, pin), role in zip(pins.items(), Role, strict=True):
        roster.add(tmp_path, name, role, pin)
    told = {each.role.value: each.may_override for each in roster.operators(tmp_path)}
    assert told == {"therapist": False, "clinician": True, "technician": False}


@pytest.mark.parametrize(
    "pin",
    [
        "",
        "123",
        "1234567890123",
        "0000",
        "9999",
        "1234",
        "98765",
        "12a4",
        "\uff11\uff12\uff14\uff17",
        "4711 ",
        "-471",
    ],
)
def test_a_pin_that_is_none_or_easy_is_refused_without_repeating_it(
    tmp_path: Path, pin: str
) -> None:
    with pytest.raises(UsageError) as refused:
        roster.add(tmp_path, "T-1", Role.THERAPIST, pin)
    assert str(refused.value) == roster.PIN_EXPECTED
    assert roster.operators(tmp_path) == ()


@pytest.mark.parametrize("operator_id", ["", "A. Name", "-x", "x" * 65, "a/b", "a\x1b[2J"])
def test_an_operator_is_a_pseudonym(tmp_path: Path, operator_id: str) -> None:
    with pytest.raises(UsageError, match="operator"):
        roster.add(tmp_path, operator_id, Role.THERAPIST, PIN)


@pytest.mark.parametrize("again", ["T-1", "t-1"])
def test_an_id_is_never_given_twice(folder: Path, again: str) -> None:
    with pytest.raises(UsageError, match="on the roster already"):
        roster.add(folder, again, Role.CLINICIAN, "9081")
    roster.remove(folder, "T-1")
    assert roster.operators(folder) == ()
    with pytest.raises(UsageError, match="was removed"):
        roster.add(folder, again, Role.CLINICIAN, "9081")
    with pytest.raises(UsageError, match="not on the roster"):
        try_at(folder, PIN)


@pytest.mark.parametrize(
    ("failures", "since_s", "expected_s"),
    [
        (0, 0, 0), (2, 0, 0), (3, 0, 4), (3, 3, 1), (3, 4, 0), (3, 5, 0), (4, 0, 8), (5, 0, 16),
        (9, 0, 256), (10, 0, 300), (10, 299, 1), (10, 300, 0), (1_000_000, 0, 300),
    ],
)  # fmt: skip
def test_the_wait_doubles_up_to_five_minutes(failures: int, since_s: int, expected_s: int) -> None:
    assert roster.wait_s(failures, since_s) == expected_s


def test_while_a_wait_lasts_even_the_right_pin_is_not_looked_at(folder: Path) -> None:
    waits = [try_at(folder, WRONG).wait_s for _ in range(3)]
    assert waits == [0, 0, 4]
    assert not try_at(folder, PIN, 3).is_right
    assert try_at(folder, WRONG, 3).wait_s == 1
    assert roster.find(folder, "T-1").failures == 3, "what is not looked at counts for nothing"
    assert try_at(folder, PIN, 4).is_right
    assert roster.find(folder, "T-1").failures == 0


def test_the_count_outlives_the_program(folder: Path) -> None:
    for _ in range(3):
        try_at(folder, WRONG)
    (entry,) = json.loads((folder / roster.FILE_NAME).read_text())["operators"]
    assert entry["failures"] == 3
    assert entry["last_failure_s"] == int(NOW.timestamp())


def test_a_clock_that_was_set_back_makes_nobody_wait_for_a_year(folder: Path) -> None:
    year_s = 365 * 24 * 3600
    for _ in range(3):
        try_at(folder, WRONG, year_s)
    assert try_at(folder, PIN, 0).wait_s == 4
    assert try_at(folder, PIN, 4).is_right


def test_a_new_pin_ends_a_wait_and_the_old_one(folder: Path) -> None:
    for _ in range(3):
        try_at(folder, WRONG)
    roster.set_pin(folder, "T-1", "9081")
    assert not try_at(folder, PIN).is_right
    assert try_at(folder, "9081").is_right


def test_a_try_takes_bounded_time(folder: Path) -> None:
    started = time.perf_counter()
    try_at(folder, WRONG)
    assert time.perf_counter() - started < 2  # some 0.05 s where nothing else runs


def _changed(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda loaded: loaded["operators"][0].update(fields)


@pytest.mark.parametrize(
    "change",
    [
        _changed(role="owner"),
        _changed(role=["therapist"]),
        _changed(id="a b"),
        _changed(id=None),
        _changed(failures=-1),
        _changed(failures=True),
        _changed(last_failure_s=1.5),
        _changed(salt="AAAA"),
        _changed(hash="*"),
        _changed(name="A. Name"),
        lambda loaded: loaded.update(schema=2),
        lambda loaded: loaded.update(extra=1),
        lambda loaded: loaded.update(operators={}),
        lambda loaded: loaded.update(operators=[1]),
        lambda loaded: loaded.update(removed=["T-1"]),
        lambda loaded: loaded["operators"].append(loaded["operators"][0]),
    ],
)
def test_a_changed_roster_is_refused_whole(
    folder: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    path = folder / roster.FILE_NAME
    loaded = json.loads(path.read_text())
    change(loaded)
    path.write_text(json.dumps(loaded))
    held = path.read_bytes()
    for call in (
        lambda: roster.operators(folder),
        lambda: try_at(folder, PIN),
        lambda: roster.add(folder, "T-2", Role.THERAPIST, "9081"),
    ):
        with pytest.raises(UsageError) as refused:
            call()
        assert str(refused.value).startswith(f"{path}: not a roster: expected ")
        assert "\n" not in str(refused.value)
    assert path.read_bytes() == held


@pytest.mark.parametrize("octets", [b"", b"[", b"\xff", b"[" * 60_000, b"x" * 70_000, b"null"])
def test_what_is_no_roster_is_refused(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / roster.FILE_NAME
    path.write_bytes(octets)
    path.chmod(0o600)
    with pytest.raises(UsageError, match=r"roster\.json: "):
        roster.operators(tmp_path)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_roster_that_others_may_touch_is_refused(folder: Path, mode: int) -> None:
    (folder / roster.FILE_NAME).chmod(mode)
    with pytest.raises(UsageError, match=f"mode {mode:03o}"):
        try_at(folder, PIN)


def _add(folder: Path, number: int) -> None:
    roster.add(folder, f"T-{number}", Role.THERAPIST, "9081")


def test_two_programs_lose_nothing_of_each_other(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add, args=(folder, number)) for number in (2, 3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert {each.id for each in roster.operators(folder)} == {"T-1", "T-2", "T-3"}


def test_while_another_program_changes_the_folder_nothing_is_overwritten(folder: Path) -> None:
    with durable.alone(folder), pytest.raises(RecordError, match="another program"):
        try_at(folder, PIN)


def test_a_disk_that_refuses_leaves_the_roster_as_it_was(folder: Path) -> None:
    """The place of the new file is taken by a folder, so that replacing fails, root or not."""
    target = folder / "taken"
    (target / "full").mkdir(parents=True)
    with pytest.raises(RecordError, match="cannot be written"):
        durable.replace(target, b"new")
    assert sorted(each.name for each in folder.iterdir()) == [
        "configuration.lock", "roster.json", "taken",
    ]  # fmt: skip
    assert isinstance(roster.operators(folder)[0].role, Role)
    assert issubclass(RecordError, EstimError)
