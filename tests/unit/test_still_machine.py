"""Only what all processors overslept at once is the machine's own standing still."""

from tests.soak.still_machine import together


def test_only_what_is_common_counts() -> None:
    first = [(1_000_000, 100_000), (2_000_000, 300_000), (9_000_000, 400_000)]
    second = [(990_000, 80_000), (2_050_000, 200_000), (5_000_000, 500_000)]
    # 910..990 ms in both; 1850..2000 ms in both; the others were one processor's alone.
    assert together([first, second]) == [80_000, 150_000]


def test_a_short_meeting_is_none() -> None:
    assert together([[(1_000_000, 100_000)], [(1_070_000, 110_000)]]) == []


def test_one_processor_is_the_machine() -> None:
    assert together([[(1_000_000, 60_000)]]) == [60_000]
