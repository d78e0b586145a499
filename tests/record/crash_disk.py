"""A disk that forgets: what real code does to real files, written down and then cut anywhere.

`Disk` stands in for the calls of `os` that change files below one folder. Each call is carried out
for real and noted on a tape, or fails or lies where a test says so. `states` replays a tape up to
any call and says what may then be found on the disk:

- killed: everything that was called, and any part of the write in progress;
- cut: after a loss of power. A disk keeps of a file what it had at its last `fsync`, of a folder
  the entries that it had at its last `fsync`, and nothing else for certain. What was not synced may
  be there whole, in part by sectors, or as zeros or garbage of the right length.

What it does not model: sectors that were synced and go bad (`verify` finds those), and a file whose
length was not extended while its bytes were written.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

SECTOR = 512
ROOT = 0
_CHANGING = ("open", "write", "fsync", "fdatasync", "mkdir", "replace", "link", "unlink", "close")
# Nothing of ours calls these on a file that must last: a call would escape the tape.
_UNKNOWN = ("rename", "ftruncate", "truncate", "pwrite", "writev", "rmdir", "symlink", "sync")


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what it did, and to which node of the tree; `told` is no call but a promise."""

    name: str
    node: int = -1
    folder: int = -1
    entry: str = ""
    octets: bytes = b""
    told: Any = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at call number `at`.

    Attributes:
        kind: `error` raises `number`; `short` writes half; `part` writes half, then raises;
            `lie` reports a sync that did not happen; `drop` fails a sync and forgets what it was to
            keep, as systems do that mark a page clean after an error; `lie and drop` does so
            without a word.
        lasting: whether every later write fails too, as on a disk that stays full.
    """

    at: int
    kind: str = "error"
    number: int = errno.EIO
    lasting: bool = False

    def fits(self, name: str) -> bool:
        """Tell whether a call of this name can go wrong in this way."""
        only = {"short": "write", "part": "write"}
        return self.kind == "error" or name == only.get(self.kind, "sync")


@dataclass(slots=True)
class Node:
    """A file or a folder: as it is, and as the disk keeps it for certain."""

    is_folder: bool
    octets: bytes = b""
    kept: bytes = b""
    dropped: list[tuple[int, int]] = field(default_factory=list)
    entries: dict[str, int] = field(default_factory=dict)
    since_kept: list[dict[str, int]] = field(default_factory=lambda: [{}])
    """The entries at the last sync, and after each change since."""

    def sync(self) -> None:
        """Keep for certain what there is now, but for what was dropped."""
        octets = bytearray(self.octets)
        for begin, end in self.dropped:
            octets[begin:end] = bytes(end - begin)
        self.kept = bytes(octets)
        self.since_kept = [dict(self.entries)]

    def change(self, entry: str, node: int | None) -> None:
        """Enter a node in a folder, or take it out."""
        if node is None:
            del self.entries[entry]
        else:
            self.entries[entry] = node
        self.since_kept.append(dict(self.entries))


@dataclass(frozen=True, slots=True)
class State:
    """What may be found on the disk, and what had been promised by then."""

    files: dict[int, bytes]
    folders: dict[int, dict[str, int]]
    told: tuple[Any, ...]
    words: str
    is_in_order: bool = True
    """Whether nothing is missing before something that is there."""
    nodes: dict[int, Node] = field(default_factory=dict)
    """The tree with what it keeps for certain; empty where that is everything, as after a cut."""

    def sizes(self, number: int = ROOT) -> list[int]:
        """Return the sizes of all files that have a name."""
        if number in self.files:
            return [len(self.files[number])]
        inner = self.folders[number].values()
        return sorted(size for each in inner for size in self.sizes(each))

    def lay(self, root: Path) -> None:
        """Write it below an empty folder."""
        self._lay(ROOT, root)

    def _lay(self, number: int, place: Path) -> None:
        if number in self.files:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(descriptor, self.files[number])
            os.close(descriptor)
            return
        if number != ROOT:
            place.mkdir(mode=0o700)
        for name, inner in self.folders[number].items():
            self._lay(inner, place / name)


class Disk:
    """Note every call below `root`, from `with` on; fail as `fault` says.

    `left` is what a crash left there: its promises hold, and what it had not synced is no safer
    for having been found.
    """

    def __init__(
        self,
        root: Path,
        fault: Fault | None = None,
        left: State | None = None,
        at_call: Callable[[int, Call], None] | None = None,
    ) -> None:
        self.root = root
        self.tape: list[Call] = []
        self.names: list[str] = []
        """Of all calls that were begun."""
        self.has_failed = False
        self._fault = fault
        self._at_call = at_call
        self._real: dict[str, Any] = {}
        self._nodes: dict[str, int] = {}
        self._next_node = ROOT
        self._open: dict[int, int] = {}
        self.start: dict[int, Node] = {}
        if left is not None:
            self.tape = [Call("told", told=told) for told in left.told]
        if left is not None and left.nodes:
            self.start = deepcopy(left.nodes)
            self._next_node = max(self.start) + 1
            self._name_all(ROOT, str(root))
        else:
            self._scan(root)

    def tell(self, told: Any) -> None:
        """Note that something was promised to somebody."""
        self.tape.append(Call("told", told=told))

    def __enter__(self) -> Disk:
        for name in _CHANGING:
            self._real[name] = getattr(os, name)
            setattr(os, name, getattr(self, f"os_{name}"))
        for name in _UNKNOWN:
            self._real[name] = getattr(os, name)
            setattr(os, name, _unknown(name))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name, call in self._real.items():
            setattr(os, name, call)

    # The calls.

    def os_open(self, path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        place = self._place(path)
        is_new = place is not None and flags & os.O_CREAT and place not in self._nodes
        if place is not None and is_new:
            folder, entry = self._split(place)
            self._begin(Call("create", self._next_node, folder, entry))
        descriptor: int = self._real["open"](path, flags, mode, **options)
        if place is not None:
            if is_new:
                self._nodes[place] = self._made()
            self._open[descriptor] = self._nodes[place]
        return descriptor

    def os_write(self, descriptor: int, octets: Any) -> int:
        node = self._open.get(descriptor)
        if node is None:
            return int(self._real["write"](descriptor, octets))
        octets = bytes(octets)
        how = self._begin(Call("write", node, octets=octets), holds_back=True)
        if how in ("short", "part"):
            octets = octets[: max(1, len(octets) // 2)]
        self.tape.append(Call("write", node, octets=octets))
        written = int(self._real["write"](descriptor, octets))
        if how == "part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    def _sync(self, name: str, descriptor: int) -> None:
        node = self._open.get(descriptor)
        if node is None:
            self._real[name](descriptor)
            return
        how = self._begin(Call("sync", node), holds_back=True)
        if how in ("drop", "lie and drop"):
            self.tape.append(Call("drop", node))
        elif how != "lie":
            self.tape.append(Call("sync", node))
        if how == "drop":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def os_fsync(self, descriptor: int) -> None:
        self._sync("fsync", descriptor)

    def os_fdatasync(self, descriptor: int) -> None:
        self._sync("fdatasync", descriptor)

    def os_mkdir(self, path: Any, mode: int = 0o777, **options: Any) -> None:
        place = self._place(path)
        if place is not None and place not in self._nodes:
            folder, entry = self._split(place)
            self._begin(Call("mkdir", self._next_node, folder, entry))
        self._real["mkdir"](path, mode, **options)
        if place is not None:
            self._nodes[place] = self._made()

    def os_replace(self, source: Any, target: Any, **options: Any) -> None:
        before, after = self._place(source), self._place(target)
        if before is not None and after is not None:
            folder, entry = self._split(before)
            into, name = self._split(after)
            assert folder == into, "between folders: not modelled"
            self._begin(Call("replace", self._nodes[before], folder, name, told=entry))
        self._real["replace"](source, target, **options)
        if before is not None and after is not None:
            self._nodes[after] = self._nodes.pop(before)

    def os_link(self, source: Any, target: Any, **options: Any) -> None:
        before, after = self._place(source), self._place(target)
        is_known = before is not None and after is not None and after not in self._nodes
        if is_known and before is not None and after is not None:
            self._begin(Call("link", self._nodes[before], *self._split(after)))
        self._real["link"](source, target, **options)
        if before is not None and after is not None:
            self._nodes[after] = self._nodes[before]

    def os_unlink(self, path: Any, **options: Any) -> None:
        place = self._place(path)
        if place is not None and place in self._nodes:
            self._begin(Call("unlink", self._nodes[place], *self._split(place)))
        self._real["unlink"](path, **options)
        if place is not None:
            del self._nodes[place]

    def os_close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        self._real["close"](descriptor)

    # What they share.

    def _begin(self, call: Call, *, holds_back: bool = False) -> str:
        """Count a call, note it unless held back, and return how it is to go wrong."""
        number = len(self.names)
        self.names.append(call.name)
        if self._at_call is not None:
            self._at_call(number, call)
        fault = self._fault
        is_again = fault is not None and fault.lasting and self.has_failed and call.name == "write"
        if fault is not None and (number == fault.at or is_again) and fault.fits(call.name):
            self.has_failed = True
            if fault.kind != "error":
                return fault.kind
            raise OSError(fault.number, os.strerror(fault.number))
        if not holds_back:
            self.tape.append(call)
        return ""

    def _place(self, path: Any) -> str | None:
        if isinstance(path, int):
            return None
        text = os.path.abspath(os.fsdecode(path))
        root = str(self.root)
        return text if text == root or text.startswith(root + os.sep) else None

    def _split(self, place: str) -> tuple[int, str]:
        folder, entry = os.path.split(place)
        return self._nodes[folder], entry

    def _made(self) -> int:
        self._next_node += 1
        return self._next_node - 1

    def _name_all(self, number: int, place: str) -> None:
        self._nodes[place] = number
        for name, inner in self.start[number].entries.items():
            self._name_all(inner, os.path.join(place, name))

    def _scan(self, place: Path) -> int:
        """Take what is there already as kept for certain."""
        number = self._made()
        self._nodes[str(place)] = number
        if place.is_dir():
            entries = {each.name: self._scan(each) for each in sorted(place.iterdir())}
            self.start[number] = Node(True, entries=entries, since_kept=[dict(entries)])
        else:
            octets = place.read_bytes()
            self.start[number] = Node(False, octets, octets)
        return number


def _unknown(name: str) -> Callable[..., None]:
    def refuse(*given: Any, **options: Any) -> None:
        raise AssertionError(f"os.{name} is not on the tape")

    return refuse


def killed_states(disk: Disk, every_bytes: int = 1) -> Iterator[State]:
    """Yield what a process leaves that is killed before, after or in any call.

    A write is cut after every `every_bytes` bytes, and after its first and before its last.
    """
    for nodes, told, number, call in _replayed(disk):
        yield _laid(nodes, told, f"killed before call {number}")
        if call is not None and call.name == "write":
            size = len(call.octets)
            former = nodes[call.node].octets
            for length in sorted({1, size - 1, *range(every_bytes, size, every_bytes)} - {0}):
                nodes[call.node].octets = former + call.octets[:length]
                yield _laid(nodes, told, f"killed in call {number}, {length} bytes written")
            nodes[call.node].octets = former


def cut_states(disk: Disk, only_at: frozenset[int] | None = None) -> Iterator[State]:
    """Yield what may be there after a loss of power between any two calls, or after these."""
    seen: set[int] = set()
    for nodes, told, number, _ in _replayed(disk):
        if only_at is None or number in only_at:
            for state in _cut(nodes, told, f"power lost before call {number}"):
                mark = hash(
                    (str(state.files), str(state.folders), len(state.told), state.is_in_order)
                )
                if mark not in seen:
                    seen.add(mark)
                    yield state


def last_states(disk: Disk) -> Iterator[State]:
    """Yield what may be there in the end: as it is, or what was synced after a loss of power."""
    *_, (nodes, told, number, _) = _replayed(disk)
    yield _laid(nodes, told, f"ended after call {number}")
    yield from _cut_clean(nodes, told, f"power lost after call {number}")


def _replayed(
    disk: Disk,
) -> Iterator[tuple[dict[int, Node], tuple[Any, ...], int, Call | None]]:
    """Yield the tree before each call, what had been told, and the call; None in the end."""
    nodes = deepcopy(disk.start)
    told: tuple[Any, ...] = ()
    for number, call in enumerate(disk.tape):
        if call.name == "told":
            told = (*told, call.told)
            continue
        yield nodes, told, number, call
        _do(nodes, call)
    yield nodes, told, len(disk.tape), None


def _do(nodes: dict[int, Node], call: Call) -> None:
    node = nodes.get(call.node)
    if node is None:
        assert call.name in ("create", "mkdir")
        nodes[call.node] = Node(call.name == "mkdir")
        nodes[call.folder].change(call.entry, call.node)
    elif call.name == "write":
        node.octets += call.octets
    elif call.name == "sync":
        node.sync()
    elif call.name == "drop":
        node.dropped.append((len(node.kept), len(node.octets)))
    elif call.name == "link":
        nodes[call.folder].change(call.entry, call.node)
    elif call.name == "unlink":
        nodes[call.folder].change(call.entry, None)
    else:
        assert call.name == "replace"
        folder = nodes[call.folder]
        del folder.entries[call.told]
        folder.change(call.entry, call.node)


def _laid(nodes: dict[int, Node], told: tuple[Any, ...], words: str) -> State:
    return State(
        {number: node.octets for number, node in nodes.items() if not node.is_folder},
        {number: dict(node.entries) for number, node in nodes.items() if node.is_folder},
        told,
        words,
        nodes=deepcopy(nodes),
    )


def _cut_clean(nodes: dict[int, Node], told: tuple[Any, ...], words: str) -> Iterator[State]:
    latest = _laid(nodes, told, words)
    kept_files = {number: node.kept for number, node in nodes.items() if not node.is_folder}
    kept_folders = {number: node.since_kept[0] for number, node in nodes.items() if node.is_folder}
    for files, which in ((kept_files, "synced bytes"), (latest.files, "all bytes")):
        yield State(files, kept_folders, told, f"{words}: {which}, synced entries")
        yield State(files, latest.folders, told, f"{words}: {which}, all entries")
        for number, node in nodes.items():
            for entries in node.since_kept[1:-1]:
                folders = latest.folders | {number: entries}
                yield State(files, folders, told, f"{words}: {which}, some entries")


def _cut(nodes: dict[int, Node], told: tuple[Any, ...], words: str) -> Iterator[State]:
    yield from _cut_clean(nodes, told, words)
    latest = _laid(nodes, told, words)
    for number, node in nodes.items():
        if not node.is_folder and len(node.kept) < len(node.octets):
            for octets, how, is_in_order in _torn(node.kept, node.octets):
                files = latest.files | {number: octets}
                yield State(files, latest.folders, told, f"{words}: {how}", is_in_order)


def _torn(kept: bytes, octets: bytes) -> Iterator[tuple[bytes, str, bool]]:
    """Yield how a file may lie on the disk of which only `kept` was synced."""
    begin, end = len(kept), len(octets)
    chance = random.Random(end)
    first_end = min(end, (begin // SECTOR + 1) * SECTOR)
    for place in (begin, *range(first_end, end, SECTOR)):
        rest = end - place
        if place > begin:
            yield octets[:place], f"cut at the sector at {place}", True
        yield octets[:place] + bytes(rest), f"zeros from {place} on", True
        yield octets[:place] + chance.randbytes(rest), f"garbage from {place} on", True
        next_place = (place // SECTOR + 1) * SECTOR
        if next_place < end:
            hole = octets[:place] + bytes(next_place - place) + octets[next_place:]
            yield hole, f"a sector of zeros at {place}", False
