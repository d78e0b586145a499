"""`estim station`, and where else a quarantined device shows."""

from __future__ import annotations

import pytest

from tests.cli.commands import Shell

WHO = ("--who", "A. Technician", "--why", "yearly check")


def test_a_quarantine_is_shown_everywhere_and_the_bench_still_works(estim: Shell) -> None:
    assert "No device" in estim("station", "list").out
    assert estim("station", "set", "SIM-0001", "--state", "quarantined", *WHO).code == 0
    words = "quarantined by A. Technician"
    assert "quarantined" in estim("station", "list").out
    (listed,) = estim("station", "show", "SIM-0001", "--json").objects
    assert listed["is_for_people"] is False
    assert words in estim("devices").out
    assert words in estim("devices", "--json").objects[-1]["station"]
    assert words in estim("doctor").out
    ran = estim(
        "run", "dpn-conventional", "--clock", "virtual", "--bench", "500", "--amplitude", "1=2",
        "--duration", "1",
    )  # fmt: skip
    assert ran.code == 0
    assert f"{words} on " in ran.err
    assert "bench only" in ran.err
    assert estim("station", "set", "SIM-0001", "--state", "in-service", *WHO).code == 0
    assert "bench only" not in estim("devices").out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("show", "nobody"), "not in the register"),
        (("set", "S", *WHO), "nothing to enter"),
        (("set", "S", "--due", "tomorrow", *WHO), "a date such as"),
        (("set", "S", "--due", "2027-02-30", *WHO), "a date such as"),
        (("set", "S", "--state", "broken", *WHO), "--state"),
        (("set", "S", "--state", "quarantined", "--who", "A"), "--why"),
        (("set", "", "--state", "quarantined", *WHO), "serial number"),
    ],
)
def test_bad_usage_is_one_message(estim: Shell, arguments: tuple[str, ...], expected: str) -> None:
    answer = estim("station", *arguments)
    answer.assert_one_message(2)
    assert expected in answer.err


def test_manual_is_refused_where_something_must_be_driven(estim: Shell) -> None:
    for clock in ("real", "virtual"):
        answer = estim(
            "run", "dpn-conventional", "--device", "manual:", "--clock", clock, "--bench", "500",
            "--amplitude", "1=2",
        )  # fmt: skip
        answer.assert_one_message(2)
        assert "estim verify" in answer.err
