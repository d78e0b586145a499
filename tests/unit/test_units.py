from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim import units


@pytest.mark.parametrize(
    ("current_ua", "shown"),
    [
        (0, "0.0"),
        (1, "0.1"),
        (100, "0.1"),
        (101, "0.2"),
        (999, "1.0"),
        (1000, "1.0"),
        (12_000, "12.0"),
        (12_001, "12.1"),
        (99_950, "100.0"),
        (-1, "-0.1"),
        (-12_001, "-12.1"),
    ],
)
def test_milliamperes_are_rounded_away_from_zero(current_ua: int, shown: str) -> None:
    assert units.format_ma(current_ua) == shown


@pytest.mark.hazard(22)
@given(st.integers(-200_000, 200_000))
def test_shown_milliamperes_never_understate_by_any_amount(current_ua: int) -> None:
    tenths = int(units.format_ma(current_ua).replace(".", ""))
    assert 0 <= abs(tenths) * 100 - abs(current_ua) < 100
    assert tenths * current_ua >= 0


@pytest.mark.parametrize(
    ("duration_s", "shown"),
    [(0, "0:00"), (9, "0:09"), (59, "0:59"), (60, "1:00"), (1800, "30:00"), (10_800, "180:00")],
)
def test_clock_shows_minutes_without_an_hour(duration_s: int, shown: str) -> None:
    assert units.format_clock(duration_s) == shown


@pytest.mark.parametrize(
    ("text", "current_ua"),
    [
        ("0", 0),
        ("12", 12_000),
        ("012", 12_000),
        ("12.5", 12_500),
        ("0.1", 100),
        ("0.05", 50),
        ("12.345", 12_345),
        ("999999", 999_999_000),
    ],
)
def test_plain_decimals_are_read_exactly(text: str, current_ua: int) -> None:
    assert units.parse_ma(text) == current_ua


@pytest.mark.hazard(20)
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        " 12",
        "12 ",
        "12\n",
        "12.",
        ".5",
        "12.3456",
        "1234567",
        "+12",
        "-12",
        "12,5",
        "1_2",
        "1e1",
        "0x10",
        "nan",
        "inf",
        "12mA",
        "١٢",
        "²",
    ],
)
def test_anything_but_digits_and_one_point_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected milliamperes such as 12 or 12\.5") as refused:
        units.parse_ma(text)
    assert repr(text) in str(refused.value)


@given(st.integers(0, 999_999_999))
def test_a_current_written_with_three_decimals_reads_back_the_same(current_ua: int) -> None:
    assert units.parse_ma(f"{current_ua // 1000}.{current_ua % 1000:03d}") == current_ua


@pytest.mark.hazard(18)
def test_the_conversion_factors_are_those_of_the_si() -> None:
    assert (units.UA_PER_MA, units.US_PER_MS, units.MS_PER_S) == (10**3, 10**3, 10**3)
    assert (units.US_PER_S, units.PC_PER_UC) == (10**6, 10**6)
