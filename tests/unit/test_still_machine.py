"""How long the machine stood still, as its witnesses tell."""

from pathlib import Path

from tests.still_machine import Hold, Witnesses


def test_only_what_falls_within_counts() -> None:
    hold = Hold(ended_us=1_000_000, lasted_us=200_000)
    assert hold.ms_within(0) == 200
    assert hold.ms_within(900_000) == 100
    assert hold.ms_within(0, 850_000) == 50
    assert hold.ms_within(1_000_001) == 0
    assert hold.ms_within(0, 700_000) == 0


def test_the_worst_processor_counts_in_all(tmp_path: Path) -> None:
    paths = [tmp_path / "0", tmp_path / "1"]
    paths[0].write_text("1000000 60000\n2000000 90000\n")
    paths[1].write_text("1500000 100000\n")
    witnesses = Witnesses([], paths)
    assert witnesses.held_ms(0) == 150
    assert witnesses.held_ms(1_200_000) == 100
    assert witnesses.held_ms(3_000_000) == 0
