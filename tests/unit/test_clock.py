from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from estim.clock import Clock, SystemClock, VirtualClock


def test_system_clock_reads_the_monotonic_clock_in_whole_microseconds() -> None:
    before_ns = time.monotonic_ns()
    now_us = SystemClock().now_us()
    after_ns = time.monotonic_ns()
    assert isinstance(now_us, int)
    assert before_ns // 1000 <= now_us <= after_ns // 1000


@pytest.mark.hazard(35)
@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux counts its sleep")
def test_system_boot_time_counts_the_sleep_that_the_monotonic_clock_leaves_out() -> None:
    clock = SystemClock()
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    boot_us = clock.boot_us()
    after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert before_ns // 1000 <= boot_us <= after_ns // 1000
    assert clock.boot_us() >= clock.now_us() - 1000


def test_system_wall_time_carries_its_zone_and_is_utc() -> None:
    before = datetime.now(UTC)
    wall = SystemClock().wall()
    assert wall.utcoffset() == timedelta(0)
    assert before <= wall <= datetime.now(UTC)


def test_virtual_clock_stands_still_until_told() -> None:
    clock = VirtualClock(5)
    assert [clock.now_us(), clock.now_us(), clock.boot_us()] == [5, 5, 5]
    clock.advance_to(1_500_000)
    assert [clock.now_us(), clock.boot_us()] == [1_500_000, 1_500_000]
    assert clock.wall() == datetime(2000, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)


def test_virtual_clock_may_be_told_the_same_time_twice_but_never_an_earlier_one() -> None:
    clock = VirtualClock(10)
    clock.advance_to(10)
    with pytest.raises(ValueError, match="cannot go back from 10 to 9 us"):
        clock.advance_to(9)
    assert clock.now_us() == 10


def test_both_clocks_can_stand_where_a_clock_is_asked_for() -> None:
    clocks: list[Clock] = [SystemClock(), VirtualClock()]
    for clock in clocks:
        first_us = clock.now_us()
        assert clock.now_us() >= first_us
