"""A session of the stepped engine, whose interface and device are told things while the disk fails.

Current is a promise too: whatever the device was told to do, the record said before that somebody
had asked for it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from estim.drivers.base import Output
from estim.engine.virtual import VirtualEngine
from estim.errors import RecordError
from estim.record import station_key
from estim.record.reader import read
from estim.record.recover import recover
from estim.record.verify import verify
from estim.session import messages as msg
from firmware_protocol.codec import decode_body
from firmware_protocol.framing import decode_frame
from firmware_protocol.messages import Drive, WantedState
from tests.record.crash_disk import State
from tests.record.crash_lives import Tell
from tests.record.samples import wall
from tests.session.bench import HEADER
from tests.session.test_virtual import Visit

PROFILE = "dpn-conventional"
FIRST_UA, SECOND_UA, LOW_UA = (4000, 3000), (6000, 3000), (1000, 1000)
S = 1_000_000


class Told(VirtualEngine):
    """Tell what goes to the device."""

    def __init__(self, seed: int, tell: Tell) -> None:
        super().__init__(seed)
        self._tell = tell

    def deliver(self, output: Output) -> None:
        if output.drive is not None:
            message = decode_body(decode_frame(output.drive.rstrip(b"\0"))).message
            assert isinstance(message, Drive)
            highest_ua = tuple(row.target_ua for row in message.targets)
            self._tell(("driven", message.wanted_state, highest_ua))
        super().deliver(output)


def live_engine(root: Path, tell: Tell) -> None:
    """Arm, start, rise twice, lower, note, finish and close; whatever is refused ends it."""
    with tempfile.NamedTemporaryFile(suffix=".csv") as trace:
        visit = Visit(root / "records", PROFILE, trace=trace.name)
        visit.key_folder = root / "config"
        visit.engine = Told(visit.seed, tell)
        _live(visit, tell)
        visit.engine.close()


def _live(visit: Visit, tell: Tell) -> None:
    def ask(kind: type, *given: object) -> bool:
        request_id = visit.ask(kind, *given)
        return visit.settle(request_id)

    def annotate(number: int) -> None:
        if ask(msg.Annotate, "note", {"n": number}):
            tell(("noted", number))

    opened = visit.ask(
        msg.OpenRecord,
        str(visit.folder),
        str(visit.key_folder),
        HEADER["session_id"],
        dict(HEADER),
    )
    if not visit.settle(opened):
        return
    tell(("opened",))
    annotate(0)
    if not visit.connect() or not visit.settle(visit.prepare(30)):
        return
    steps: list[tuple[type, tuple[int, ...] | None]] = [
        (msg.Arm, None),
        (msg.Start, None),
        *((msg.SetTargets, targets_ua) for targets_ua in (FIRST_UA, SECOND_UA, LOW_UA)),
    ]
    for number, (kind, targets_ua) in enumerate(steps, start=1):
        if not ask(kind, *([] if targets_ua is None else [targets_ua])):
            break
        visit.run(S // 4)
        annotate(number)
    ask(msg.Stop, "enough")
    visit.until_rest()
    journal = visit.engine._loop._journal
    # A visit whose record has failed is closed all the same; the interface recovers the record.
    if ask(msg.CloseVisit) and journal is not None and journal._is_sealed:
        tell(("closed",))


def judge_engine(root: Path, state: State) -> None:
    """Find whatever the interface was told is kept, and a reason for whatever the device did."""
    path = root / "records" / f"{HEADER['session_id']}.jsonl"
    driven = [each for each in state.told if each[0] == "driven"]
    if not path.exists():
        assert ("opened",) not in state.told
        assert not driven
        return
    key = station_key.load_or_make(root / "config")
    try:
        was_needed = recover(path, key, mono_us=100 * S, wall=wall(100 * S)).was_needed
    except RecordError:
        # More garbage at the end than any crash leaves on most systems: left alone, and said so.
        if ("opened",) not in state.told:
            return
        assert "garbage" in state.words
        was_needed = True
    events = read(path).events
    if ("opened",) in state.told:
        is_pure = state.is_in_order and "garbage" not in state.words
        assert verify(path, key).is_ok or not is_pure
    notes = [each.content["content"]["n"] for each in events if each.kind == "annotation"]
    assert {each[1] for each in state.told if each[0] == "noted"} <= set(notes)
    kinds = [each.kind for each in events]
    asked_ua = [each.content["to_ua"] for each in events if each.kind == "rise_asked"]
    for _, wanted_state, targets_ua in driven:
        assert wanted_state == WantedState.SAFE or "arm_asked" in kinds
        assert wanted_state != WantedState.RUNNING or "start_asked" in kinds
        assert not any(targets_ua) or any(
            all(have <= most for have, most in zip(targets_ua, most_ua, strict=False))
            for most_ua in asked_ua
        ), "the device rose before the record said so"
    if ("closed",) in state.told:
        assert kinds[-1] == "seal"
        assert not was_needed
