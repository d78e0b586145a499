"""The picture tells the truth: no spike is lost, no zero is hidden."""

from __future__ import annotations

import pytest

from estim.cli.plot import Axes, Step, draw

WIDTH, HEIGHT = 60, 7


def canvas(steps: list[Step], axes: Axes) -> list[str]:
    """Return the picture alone, in ASCII: without the unit above, the axes, and the labels."""
    lines = draw(steps, axes, WIDTH, HEIGHT, is_ascii=True)
    assert len(lines) == HEIGHT + 3
    return [line.partition("|")[2] for line in lines[1:-2]]


@pytest.mark.parametrize("at", [0.0, 1.0, 333.3, 999.9])
def test_a_pulse_far_shorter_than_a_column_is_drawn_at_full_height(at: float) -> None:
    rows = canvas([Step(at, at + 0.01, 50.0)], Axes(0, 1000, -50, 50, "ms", "mA"))
    assert [row.count("#") for row in rows[:3]] == [1, 1, 1]
    # The middle row is the zero line, from end to end.
    assert rows[3].count("#") == WIDTH - len("-50") - 2
    assert not any("#" in row for row in rows[4:])


def test_a_step_that_holds_all_the_time_never_touches_zero() -> None:
    rows = canvas([Step(0, 10, 5.0)], Axes(0, 10, 0, 5, "s", "mA"))
    assert rows[0].count("#") == WIDTH - 3
    assert not any("#" in row for row in rows[1:])


def test_neighbouring_steps_are_joined() -> None:
    rows = canvas([Step(0, 5, 5.0), Step(5, 10, -5.0)], Axes(0, 10, -5, 5, "us", "mA"))
    assert all("#" in row for row in rows)
    # One jump, in the middle.
    assert sum(row.count("#") for row in rows[1:-1]) <= HEIGHT


def test_labels_name_both_ends_zero_and_the_units() -> None:
    lines = draw([Step(0, 1, 2.0)], Axes(0, 4, -2, 2, "ms", "mA"), WIDTH, HEIGHT, is_ascii=True)
    assert lines[0] == "mA"
    labels = [line.partition("|")[0].strip() for line in lines[1:-2]]
    assert [labels[0], labels[3], labels[6]] == ["2", "0", "-2"]
    assert lines[-1].split() == ["0", "4", "ms"]


def test_braille_has_the_same_shape_at_eight_times_the_dots() -> None:
    lines = draw([Step(0, 1, 2.0)], Axes(0, 4, 0, 2, "ms", "mA"), WIDTH, HEIGHT, is_ascii=False)
    marks = "".join(lines[1:-2])
    assert "⠉" in marks  # the top pair of dots of a cell: the plateau at 2 mA
    assert "⣀" in marks  # the bottom pair: zero
    assert all(len(line) <= WIDTH for line in lines)
