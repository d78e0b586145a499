"""Check a session record: its chain, its seals, and what a crash left.

Rules:
1. The chain can be checked by anyone, the seal only with the station key. Without the key, somebody
   who can write files could have made the whole record anew; the answer then says that the seal was
   not checked.
2. Whoever holds the key can make a record that passes. Nothing here protects from them.
3. Addenda cut off at the end leave a record that was whole before them, and passes. Only a head
   that was written down elsewhere shows that: give it as `noted_head`.
4. A damaged line breaks the chain at most twice; it is told once, at the line that most likely
   changed.
5. Nothing a file holds makes this raise anything but RecordError, and only where it cannot be
   opened or read at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from estim.record.lines import ADDENDUM, GENESIS, HEADER, RECOVERED, SEAL, Event, seal_fault
from estim.record.names import SUFFIX
from estim.record.reader import Line, opened, record_lines

MAX_FINDINGS = 100


class What(StrEnum):
    """Name what can be wrong with a record."""

    NOT_JSON = "not a line of a record"
    CHANGED = "changed line"
    MISSING = "missing line"
    SWAPPED = "swapped line"
    DUPLICATE = "duplicate sequence"
    FOREIGN = "foreign line"
    NO_HEADER = "no header"
    TRUNCATED = "truncated: no seal"
    TORN = "torn tail"
    BAD_SEAL = "bad seal"
    OTHER_HEAD = "noted head not found"
    TOO_MANY = "too many findings"


class SealState(StrEnum):
    """Tell how far the seal of a record can be relied on."""

    SEALED = "sealed"
    UNCHECKED = "seal not checked: no key"
    BAD = "bad seal"
    UNSEALED = "unsealed"


@dataclass(frozen=True, slots=True)
class Finding:
    """Tell what is wrong, at which line of the file (from 1)."""

    line: int
    what: What
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Verification:
    """Tell whether a record is as it was written.

    `is_ok` means that nothing was found; read it together with `state`. `lines` counts those
    that belong to the chain. `head` is the hash of the last of them. `notes` are no faults.
    """

    is_ok: bool
    findings: tuple[Finding, ...]
    state: SealState
    lines: int
    addenda: int
    is_recovered: bool
    head: str
    notes: tuple[str, ...]


def verify(path: Path, key: bytes | None, noted_head: str | None = None) -> Verification:
    """Check a record against itself, the station key, and a head noted down when it was closed.

    Raises:
        RecordError: the file cannot be opened or read.
    """
    walk = _Walk(key, noted_head)
    with opened(path) as descriptor:
        walk.take(record_lines(descriptor))
    if walk.session_id is not None and path.name != walk.session_id + SUFFIX:
        walk.notes.append(f"the file is named {path.name}, its header says {walk.session_id!a:.80}")
    return walk.result()


@dataclass(frozen=True, slots=True)
class _Link:
    """Hold a line as the walk sees it: with its event, or with the reason why it has none.

    `torn_count` lines before it were cut short by a crash and are explained by this one.
    """

    line: Line
    torn_count: int
    event: Event | None
    reason: str

    def follows(self, digest: str, seq: int) -> bool:
        return self.event is not None and self.event.prev == digest and self.event.seq == seq

    @classmethod
    def of(cls, line: Line, torn_count: int) -> _Link:
        try:
            return cls(line, torn_count, line.parse(), "")
        except ValueError as error:
            return cls(line, torn_count, None, str(error))


@dataclass(slots=True)
class _Walk:
    """Go along the chain with one line of foresight."""

    key: bytes | None
    noted_head: str | None
    session_id: str | None = None
    notes: list[str] = field(default_factory=list)
    _findings: list[Finding] = field(default_factory=list)
    # Where the chain stands. After a damaged line its hash says nothing, so the next line is
    # believed.
    _head: str = GENESIS
    _seq: int = -1
    _line_number: int = 0
    _is_linked: bool = True
    # Lines seen before their turn, by sequence: the other half of a swap.
    _early: dict[int, str] = field(default_factory=dict)
    _line_count: int = 0
    _addendum_count: int = 0
    _seal_count: int = 0
    _after_seal_count: int = 0
    _has_given_up: bool = False
    _is_recovered: bool = False
    _has_noted_head: bool = False

    def take(self, lines: Iterator[Line]) -> None:
        """Go along all lines, or as far as MAX_FINDINGS."""
        held: _Link | None = None
        torn_count = 0
        for line in lines:
            if line.is_torn:
                torn_count += 1
                self.notes.append(
                    f"line {line.number} holds {line.size} bytes that a crash cut short; kept"
                )
            elif not line.is_whole:
                self._find(line.number, What.TORN, f"the last {line.size} bytes are no whole line")
            else:
                link = _Link.of(line, torn_count)
                torn_count = 0
                if held is not None:
                    self._step(held, link)
                held = link
            if len(self._findings) >= MAX_FINDINGS:
                self._find(line.number, What.TOO_MANY, "gave up here")
                self._has_given_up = True
                return
        if held is not None:
            self._step(held, None)

    def result(self) -> Verification:
        """Close the walk and say what was found."""
        if not self._has_given_up:
            self._find_what_lacks()
        if self._after_seal_count:
            count = self._after_seal_count
            self.notes.append(f"the last {count} lines carry no seal: anyone may have added them")
        if not self._seal_count:
            state = SealState.UNSEALED
        elif any(finding.what is What.BAD_SEAL for finding in self._findings):
            state = SealState.BAD
        else:
            state = SealState.UNCHECKED if self.key is None else SealState.SEALED
        return Verification(
            is_ok=not self._findings,
            findings=tuple(sorted(self._findings, key=lambda finding: finding.line)),
            state=state,
            lines=self._line_count,
            addenda=self._addendum_count,
            is_recovered=self._is_recovered,
            head=self._head,
            notes=tuple(self.notes),
        )

    def _find_what_lacks(self) -> None:
        if not self._line_count:
            self._find(1, What.NO_HEADER, "there is no whole line")
        if not self._seal_count:
            detail = "still open, cut off, or ended by a crash"
            self._find(self._line_number, What.TRUNCATED, detail)
        if self.noted_head is not None and not self._has_noted_head:
            detail = f"no line has the noted hash {self.noted_head}"
            self._find(self._line_number, What.OTHER_HEAD, detail)

    def _step(self, link: _Link, after: _Link | None) -> None:
        number, event = link.line.number, link.event
        expected = self._seq + 1
        if event is None:
            self._find(number, What.NOT_JSON, link.reason)
            # Where the next line follows the one before, this one was put between them.
            if after is None or not after.follows(self._head, expected):
                self._accept(link, expected, is_linked=False)
        elif event.seq == expected and (event.prev == self._head or not self._is_linked):
            self._accept(link, expected)
        elif self._early.get(expected) == event.prev and event.seq == expected + 1:
            self._accept(link, event.seq)
        elif after is not None and after.follows(self._head, expected) and self._is_linked:
            self._find_inserted(link, event, after)
        elif event.prev == self._head and self._is_linked:
            self._find(number, What.CHANGED, f"its number is {event.seq}, expected {expected}")
            self._accept(link, expected, is_linked=False)
        elif event.seq == expected:
            self._find_broken(link, after)
        else:
            self._find_out_of_turn(link, event, expected)

    def _find_inserted(self, link: _Link, event: Event, after: _Link) -> None:
        number = link.line.number
        if event.prev == after.line.sha256:
            self._early[event.seq] = event.digest
            self._find(number, What.SWAPPED, f"belongs after line {after.line.number}")
        elif event.seq <= self._seq:
            self._find(number, What.DUPLICATE, f"number {event.seq} was there before")
        else:
            self._find(number, What.FOREIGN, "the lines before and after it belong together")

    def _find_broken(self, link: _Link, after: _Link | None) -> None:
        """Blame the line before where this one is vouched for by what follows, else this one."""
        event = link.event
        if after is not None and after.event is not None:
            is_vouched = after.event.prev == link.line.sha256
        else:
            is_vouched = event is not None and event.kind == SEAL and not seal_fault(event, None)
        if is_vouched:
            detail = f"line {link.line.number} keeps another hash of it"
            self._find(self._line_number, What.CHANGED, detail)
            self._accept(link, self._seq + 1)
        else:
            detail = f"does not continue line {self._line_number}: one of them was changed"
            self._find(link.line.number, What.CHANGED, detail)
            self._accept(link, self._seq + 1, is_linked=False)

    def _find_out_of_turn(self, link: _Link, event: Event, expected: int) -> None:
        number = link.line.number
        if event.seq > expected:
            gone = f"{expected}" if event.seq == expected + 1 else f"{expected} to {event.seq - 1}"
            self._find(number, What.MISSING, f"number {gone} should stand before it")
        elif event.seq == self._seq:
            self._find(number, What.DUPLICATE, f"number {event.seq} was there before")
        else:
            self._find(number, What.SWAPPED, f"number {event.seq} comes after {self._seq}")
        self._accept(link, event.seq)

    def _accept(self, link: _Link, seq: int, *, is_linked: bool = True) -> None:
        self._seq, self._line_number = seq, link.line.number
        self._head, self._is_linked = link.line.sha256, is_linked
        self._line_count += 1
        self._has_noted_head = self._has_noted_head or self._head == self.noted_head
        if link.event is not None:
            self._meet(link.event, link.torn_count)

    def _meet(self, event: Event, torn_count: int) -> None:
        """Check that this kind of line may stand here."""
        number, kind = self._line_number, event.kind
        if self._line_count == 1 and kind != HEADER:
            self._find(number, What.NO_HEADER, f"the first line is of kind {kind}")
        elif self._line_count > 1 and kind == HEADER:
            self._find(number, What.FOREIGN, "a second header")
        elif kind == ADDENDUM and not self._seal_count:
            self._find(number, What.FOREIGN, "an addendum before the seal")
        elif self._seal_count and kind not in (SEAL, ADDENDUM, RECOVERED):
            self._find(number, What.FOREIGN, f"an event of kind {kind} after the seal")
        elif kind == RECOVERED and not _explains(event, torn_count):
            self._find(number, What.MISSING, "the torn bytes that it names are not before it")
        if kind == HEADER:
            self.session_id = str(event.content.get("session_id"))
        elif kind == SEAL:
            fault = seal_fault(event, self.key)
            if fault is not None:
                self._find(number, What.BAD_SEAL, fault)
            self._seal_count += 1
            self._after_seal_count = 0
        else:
            self._after_seal_count += 1 if self._seal_count else 0
            self._addendum_count += 1 if kind == ADDENDUM else 0
            self._is_recovered = self._is_recovered or kind == RECOVERED

    def _find(self, line_number: int, what: What, detail: str) -> None:
        self._findings.append(Finding(line_number, what, detail))


def _explains(event: Event, torn_count: int) -> bool:
    claims = event.content.get("torn")
    return isinstance(claims, list) and len(claims) == torn_count
