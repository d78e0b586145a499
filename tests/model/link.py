"""The line of the model: a few frames on their way, in one direction.

Rules:
1. A frame may be delivered at once, late, out of turn, twice or never; nothing is made up, since a
   damaged frame fails its CRC-32 and is never delivered (loss).
2. A frame that a newer one has overtaken, or that was delivered before, is late: the sequence says
   so. A Stop is outside that order.
3. What is sent into a full line is lost.
"""

from __future__ import annotations

from tests.model import words
from tests.model.words import Frame

Line = tuple[Frame, ...]


def pushed(line: Line, sent: tuple[Frame, ...], room: int) -> Line:
    """Return a line with frames more; the newest of a kind that is there already says it all."""
    for frame in sent:
        if len(line) < room and frame not in line:
            line = (*line, frame)
    return line


def taken(line: Line, index: int, is_kept: bool) -> tuple[Line, Frame] | None:
    """Deliver a frame; one that is kept comes once more."""
    if index >= len(line):
        return None
    frame = line[index]
    before = line[:index]
    if not isinstance(frame, words.Stop):
        before = tuple(_late(other) for other in before)
    again = (_late(frame),) if is_kept else ()
    return _without_twins((*before, *again, *line[index + 1 :])), frame


def lost(line: Line, index: int) -> Line | None:
    """Let a frame get lost, or be damaged."""
    return None if index >= len(line) else (*line[:index], *line[index + 1 :])


def older(line: Line, oldest: int) -> Line:
    """Let one tick pass for everything under way."""
    return _without_twins(tuple(_older(frame, oldest) for frame in line))


def of_earlier_epoch(line: Line) -> Line:
    """A host begins anew: everything under way was of an earlier one."""
    return _without_twins(
        tuple(frame if isinstance(frame, words.Stop) else frame._replace(epoch=2) for frame in line)
    )


def with_unseen_latch(line: Line) -> Line:
    """The device latches: whatever is under way tells of before, or is meant for before."""
    return _without_twins(
        tuple(
            frame._replace(is_latest=False)
            if isinstance(frame, words.Status | words.Acknowledge)
            else frame
            for frame in line
        )
    )


def with_unheard_lowering(line: Line) -> Line:
    """The host lowers: whatever is under way, either way, tells nothing of that."""
    return _without_twins(tuple(_of_before(frame) for frame in line))


def _of_before(frame: Frame) -> Frame:
    if isinstance(frame, words.Drive):
        return frame._replace(is_newest=False)
    return frame._replace(follows=False) if isinstance(frame, words.Status) else frame


def _late(frame: Frame) -> Frame:
    if isinstance(frame, words.Hello | words.Stop):
        return frame
    return frame._replace(is_late=True)


def _older(frame: Frame, oldest: int) -> Frame:
    if isinstance(frame, words.Drive):
        return frame._replace(echo_age=min(frame.echo_age + 1, oldest))
    if isinstance(frame, words.Status):
        return frame._replace(tick_age=min(frame.tick_age + 1, oldest))
    return frame


def _without_twins(line: Line) -> Line:
    """Two frames that say the same, and are judged the same, are one that may come twice."""
    return tuple(dict.fromkeys(line))
