"""What a station writes down in its life, and what must be true of it after any crash.

A life runs the real code below one folder and tells the disk's tape what was promised to whom. Its
judge looks at a folder that a crash left, and at the promises made by then.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from estim.clock import VirtualClock
from estim.errors import EstimError, RecordError, UsageError
from estim.prepare import last_device, roster, settings, station
from estim.prepare.interface import InterfaceSettings
from estim.prepare.roster import Role
from estim.prepare.site import SitePolicy
from estim.record import station_key
from estim.record.addenda import add_addendum
from estim.record.journal import Journal
from estim.record.reader import read
from estim.record.recover import recover
from estim.record.verify import SealState, verify
from estim.record.writer import EventWriter, RecordWriter, SynchronousWriter
from tests.record.crash_disk import State
from tests.record.samples import SESSION_ID, header, wall

Tell = Callable[[tuple[Any, ...]], None]

# Seven events in three groups: one alone, four that fill several sectors, two.
GROUPS = ((0,), (1, 2, 3, 4), (5, 6))
EVENT_COUNT = 7
UNTOLD = frozenset({2, 5})
"""Events that nobody waits for, as reports of the device are."""
ADDENDA = ("it was the left foot", "and the right one later")
FILLING = "x" * 160
SEAL_TOKEN = 1000
WAIT_S = 10.0


def config_folder(root: Path) -> Path:
    return root / "config" / "estim"


def record_path(root: Path) -> Path:
    return root / "share" / "records" / f"{SESSION_ID}.jsonl"


# The life of a session.


def live_session(
    root: Path, tell: Tell, make_writer: type[EventWriter] = SynchronousWriter
) -> None:
    """Run a session from the station's first start to its addenda, as far as the disk lets it."""
    try:
        key = station_key.load_or_make(config_folder(root))
        tell(("key", key))
        path = record_path(root)
        journal = Journal.create(path.parent, header(), VirtualClock(), SESSION_ID)
        tell(("created",))
    except RecordError as error:
        tell(("refused", str(error)))
        return
    _write_events(journal, key, tell, make_writer)
    live_on_after_session(root, tell)


def live_on_after_session(root: Path, tell: Tell) -> None:
    """Recover the record, and add to it what is not yet there."""
    path = record_path(root)
    try:
        key = station_key.load_or_make(config_folder(root))
        tell(("key", key))
        if not path.exists():
            return
        recovery = recover(path, key, mono_us=90, wall=wall(90))
        tell(("recovered", recovery.head))
        known = [each.content["text"] for each in read(path).addenda]
        for number, text in enumerate(ADDENDA):
            if text in known:
                continue
            # The second is made where there is no key at hand.
            head = add_addendum(
                path,
                None if number else key,
                who="dr-3",
                why="slip",
                text=text,
                event_seq=1,
                mono_us=100 + number,
                wall=wall(100 + number),
            )
            tell(("added", text, head))
    except RecordError as error:
        tell(("refused", str(error)))


def _write_events(journal: Journal, key: bytes, tell: Tell, make_writer: type[EventWriter]) -> None:
    moved = threading.Condition()
    durable: set[int] = set()
    failures: list[str] = []

    def on_durable(token: int) -> None:
        tell(("durable", token))
        with moved:
            durable.add(token)
            moved.notify()

    def on_failure(reason: str) -> None:
        tell(("refused", reason))
        with moved:
            failures.append(reason)
            moved.notify()

    writer = make_writer(journal, on_durable, on_failure)
    for group in GROUPS:
        # While the writer waits for its turn, all of a group gathers in its queue.
        with getattr(writer, "_condition", threading.RLock()):
            for number in group:
                writer.submit(
                    "noted",
                    {"n": number, "filling": FILLING},
                    mono_us=10 + number,
                    wall=wall(10 + number),
                    token=None if number in UNTOLD else number,
                )
        with moved:
            while not (set(group) - UNTOLD <= durable or failures):
                assert moved.wait(WAIT_S)
    writer.seal(key, mono_us=50, wall=wall(50), token=SEAL_TOKEN)
    if writer.close(WAIT_S):
        tell(("sealed", journal.head))


live_threaded_session = functools.partial(live_session, make_writer=RecordWriter)


def judge_session(root: Path, state: State) -> None:
    """Find everything that was promised, and nothing changed; recover as the interface does."""
    told = state.told
    keys = [each[1] for each in told if each[0] == "key"]
    key = station_key.load_or_make(config_folder(root))
    assert not keys or key == keys[0], "the station has another key"
    is_created = ("created",) in told
    path = record_path(root)
    if not path.exists():
        assert not is_created, "the record is gone"
        assert not any(each[0] in ("recovered", "added") for each in told), "so is what was told"
        return
    before = path.read_bytes()
    try:
        recover(path, key, mono_us=200, wall=wall(200))
    except RecordError:
        assert not is_created, "what was begun cannot be recovered"
        assert path.read_bytes() == before
        return
    after = path.read_bytes()
    assert after.startswith(before), "something was cut off"
    judge_record(path, key, told, is_in_order=state.is_in_order)
    assert not recover(path, key, mono_us=300, wall=wall(300)).was_needed
    assert path.read_bytes() == after


def judge_record(
    path: Path, key: bytes, told: Sequence[tuple[Any, ...]], *, is_in_order: bool = True
) -> None:
    """Check a record that was recovered against what was promised."""
    found = verify(path, key)
    record = read(path)
    numbers = [each.content["n"] for each in record.events if each.kind == "noted"]
    promised = {each[1] for each in told if each[0] == "durable"} - {SEAL_TOKEN}
    assert promised <= set(numbers), "an acknowledged event is gone"
    if is_in_order:
        assert numbers == list(range(len(numbers)))
    if ("created",) in told:
        assert record.header is not None, "the header is gone"
        assert found.is_ok or not is_in_order, found.findings
    if found.is_ok:
        assert found.state is SealState.SEALED
        assert found.is_recovered or len(numbers) == EVENT_COUNT, "a loss that nobody is told of"
    heads = {each.digest for each in record.events}
    for each in told:
        if each[0] in ("sealed", "recovered", "added"):
            assert each[-1] in heads, "a head that was printed is gone"
        if each[0] == "added":
            assert each[1] in [addendum.content["text"] for addendum in record.addenda]


def judge_session_of_a_liar(root: Path, state: State) -> None:
    """Find that something was lost, where a disk said that it was kept and it was not."""
    path = record_path(root)
    if not path.exists():
        return
    try:
        key = station_key.load_or_make(config_folder(root))
        recover(path, key, mono_us=200, wall=wall(200))
    except RecordError:
        return
    found = verify(path, key)
    numbers = [each.content["n"] for each in read(path).events if each.kind == "noted"]
    assert numbers == sorted(set(numbers))
    if found.is_ok:
        assert numbers == list(range(len(numbers)))
        assert found.is_recovered or len(numbers) == EVENT_COUNT, "a loss that nobody is told of"
    for each in state.told:
        if each[0] in ("sealed", "recovered", "added"):
            noted = verify(path, key, noted_head=each[-1])
            lost = {one[1] for one in state.told if one[0] == "durable"} - {SEAL_TOKEN}
            assert not noted.is_ok or lost <= set(numbers)


# The life of the configuration folder.

Step = tuple[str, Any, Callable[[Path], object]]
SITE = ("site.toml", SitePolicy)
INTERFACE = ("interface.toml", InterfaceSettings)
MORNING = 946_720_800
PINS = ("4711", "2580")


def _set(where: tuple[str, Any], key: str, typed: str) -> Callable[[Path], object]:
    return lambda folder: settings.change(folder / where[0], where[1], key, typed)


def _enter(serial: str, state: station.State) -> Callable[[Path], object]:
    return lambda folder: station.enter(
        folder, serial, who="tech-1", why="yearly check", clock=VirtualClock(5), state=state
    )


def _add(operator_id: str, role: Role, pin: str) -> Callable[[Path], object]:
    def add(folder: Path) -> None:
        # Whoever was cut off tries again, and is content to find it done.
        if operator_id not in {each.id for each in roster.operators(folder)}:
            roster.add(folder, operator_id, role, pin)
        elif not roster.try_pin(folder, operator_id, pin, wall(0)).is_right:
            roster.set_pin(folder, operator_id, pin)

    return add


def _remove(operator_id: str) -> Callable[[Path], object]:
    def remove(folder: Path) -> None:
        try:
            roster.remove(folder, operator_id)
        except UsageError as error:
            if "not on the roster" not in str(error):
                raise

    return remove


IN_SERVICE, QUARANTINED = station.State.IN_SERVICE, station.State.QUARANTINED
STEPS: tuple[Step, ...] = (
    ("interface.toml theme", "high-contrast", _set(INTERFACE, "theme", "high-contrast")),
    ("last device", "native:/dev/ttyA", lambda at: last_device.remember(at, "native:/dev/ttyA")),
    ("site.toml longest_session_s", 1200, _set(SITE, "longest_session_s", "1200")),
    ("device SN1", IN_SERVICE, _enter("SN1", IN_SERVICE)),
    ("operator dr-3", (Role.CLINICIAN, 0), _add("dr-3", Role.CLINICIAN, PINS[0])),
    ("site.toml requires_patient_stop", True, _set(SITE, "requires_patient_stop", "true")),
    ("device SN1", QUARANTINED, _enter("SN1", QUARANTINED)),
    ("operator tech-1", (Role.TECHNICIAN, 0), _add("tech-1", Role.TECHNICIAN, PINS[1])),
    (
        "operator dr-3",
        (Role.CLINICIAN, 1),
        lambda at: roster.try_pin(at, "dr-3", "9999", wall(0)),
    ),
    ("device SN2", IN_SERVICE, _enter("SN2", IN_SERVICE)),
    ("site.toml longest_session_s", None, _set(SITE, "longest_session_s", "default")),
    ("operator tech-1", None, _remove("tech-1")),
    ("last device", "native:/dev/ttyB", lambda at: last_device.remember(at, "native:/dev/ttyB")),
)


def live_configuration(root: Path, tell: Tell) -> None:
    """Go through every step; one that is refused is left, and the next is tried."""
    folder = config_folder(root)
    for key, wanted, take in STEPS:
        tell(("begun", key, wanted))
        try:
            take(folder)
        except EstimError as error:
            tell(("refused", key, str(error)))
        else:
            tell(("kept", key, wanted))


def configuration(root: Path) -> dict[str, Any]:
    """Return what the station knows, as its readers give it."""
    folder = config_folder(root)
    site = settings.load(folder / SITE[0], SITE[1])
    interface = settings.load(folder / INTERFACE[0], INTERFACE[1])
    known: dict[str, Any] = {
        "interface.toml theme": interface.theme if interface.model_fields_set else None,
        "site.toml longest_session_s": site.longest_session_s,
        "site.toml requires_patient_stop": site.requires_patient_stop or None,
        "last device": last_device.recall(folder) or None,
    }
    for operator in roster.operators(folder):
        known[f"operator {operator.id}"] = (operator.role, operator.failures)
    for entry in station.standings(folder, date(2000, 1, 1)):
        known[f"device {entry.serial_number}"] = entry.state
    return known


def judge_configuration(root: Path, state: State) -> None:
    """Find what was promised last, or what was asked since; then everything works again."""
    possible: dict[str, set[Any]] = {key: {None} for key, _, _ in STEPS}
    for what, key, wanted in state.told:
        if what == "begun":
            possible[key].add(wanted)
        elif what == "kept":
            possible[key] = {wanted}
    known = configuration(root)
    assert known.keys() <= possible.keys()
    for key, allowed in possible.items():
        assert known.get(key) in allowed, f"{key} is {known.get(key)}, not of {allowed}"
    assert last_device.is_address(known["last device"] or "native:none")


def judge_configuration_of_a_liar(root: Path, state: State) -> None:
    """Read every file, or be told in plain words which one cannot be read."""
    try:
        known = configuration(root)
    except EstimError as error:
        words = str(error)
        assert str(config_folder(root)) in words
    else:
        assert known.keys() <= {key for key, _, _ in STEPS}
