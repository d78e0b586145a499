"""The station's roster: who works here, in which role, with which PIN.

Rules:
1. A PIN is kept as a salted hash alone. It stands in no message, log, record or argument list.
2. There is no default operator and no default PIN: an empty roster lets somebody be added.
3. An id is never given twice: records name it, and it must go on meaning the same person. Who is
   removed stays in the file as removed.
4. A try is counted, durably, before anybody learns whether it was right. After FREE_TRIES wrong
   ones each further try has to wait; a right one clears the count.
5. The file is replaced whole or not at all, is private (0600), and is read strictly: one that is
   not as it should be is refused, never ignored.

A PIN tells people at one station apart. It does not keep out whoever can read this account's files:
all PINs of four digits are tried in minutes against any hash. What a stop needs is never asked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from estim.errors import UsageError
from estim.prepare import durable
from estim.record.names import check_pseudonym

FILE_NAME = "roster.json"
SCHEMA = 1
OPERATORS_MAX = 200
PIN_EXPECTED = "a PIN is 4 to 12 digits, not all the same and not counting up or down"

# 128 * N * r bytes: 16 MiB for some 50 ms, what scrypt's author proposes for interactive logins
# (Percival 2009) [K]. More would be felt at every change of hands on a small laptop, and protect
# four digits no better (see above). They belong to SCHEMA and not to the file: no file can make
# checking a PIN take long.
SCRYPT_N = 2**14
SCRYPT_R = 8
SCRYPT_P = 1
SALT_BYTES = 16
HASH_BYTES = 32

# [E]: two slips cost nothing; then 4 s, doubling, up to five minutes. Guessing half of the PINs of
# four digits at five minutes each takes 17 days.
FREE_TRIES = 3
FIRST_WAIT_S = 4
LONGEST_WAIT_S = 300

_PIN = re.compile(r"[0-9]{4,12}", re.ASCII)
_ENTRY_KEYS = {"id", "role", "salt", "hash", "failures", "last_failure_s"}
_FAILURES_MAX = 1_000_000


class Role(StrEnum):
    """What somebody is, and so may do, at this station."""

    THERAPIST = "therapist"
    CLINICIAN = "clinician"
    TECHNICIAN = "technician"


@dataclass(frozen=True, slots=True)
class Operator:
    """One person on the roster, by pseudonym.

    Attributes:
        failures: wrong PINs since the last right one.
        last_failure_s: when the last of them was, in seconds of wall time since 1970; 0 if never.
    """

    id: str
    role: Role
    failures: int = 0
    last_failure_s: int = 0

    @property
    def may_override(self) -> bool:
        """Tell whether this person may override a screening item."""
        return self.role is Role.CLINICIAN


@dataclass(frozen=True, slots=True)
class Try:
    """What became of a PIN: right, wrong, or not looked at because of `wait_s`."""

    is_right: bool
    wait_s: int
    words: str


@dataclass(frozen=True, slots=True)
class _Entry:
    operator: Operator
    salt: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Roster:
    entries: tuple[_Entry, ...] = ()
    removed: tuple[str, ...] = ()


def wait_s(failures: int, since_last_s: int) -> int:
    """Return how long the next try has to wait, in seconds, after so many wrong ones."""
    if failures < FREE_TRIES:
        return 0
    # Further doublings would only make the figure huge before it is cut.
    doublings = min(failures - FREE_TRIES, 10)
    full_s = min(FIRST_WAIT_S << doublings, LONGEST_WAIT_S)
    return max(0, full_s - since_last_s)


def operators(folder: Path) -> tuple[Operator, ...]:
    """Return who works here, in the order in which they were added; nobody where there is no file.

    Raises:
        UsageError: the file is not a roster, or others may read it.
    """
    return tuple(entry.operator for entry in _load(folder).entries)


def clinicians(folder: Path) -> frozenset[str]:
    """Return the ids of those who may override.

    Raises:
        UsageError: as `operators`.
    """
    return frozenset(each.id for each in operators(folder) if each.may_override)


def find(folder: Path, operator_id: str) -> Operator:
    """Return one operator.

    Raises:
        UsageError: nobody on the roster has this id, or as `operators`.
    """
    return _entry(_load(folder), operator_id).operator


def add(folder: Path, operator_id: str, role: Role, pin: str) -> Operator:
    """Add somebody; durable on return.

    Raises:
        UsageError: id or PIN cannot be used, or the file is not a roster.
        RecordError: the file cannot be written.
    """
    check_pseudonym("operator", operator_id)
    check_pin(pin)
    with durable.alone(folder):
        roster = _load(folder)
        known = {entry.operator.id.casefold() for entry in roster.entries}
        if operator_id.casefold() in known:
            raise UsageError(f"operator {operator_id}: is on the roster already")
        if operator_id.casefold() in {gone.casefold() for gone in roster.removed}:
            raise UsageError(
                f"operator {operator_id}: was removed, and records still name it; expected an id "
                "that nobody has had"
            )
        if len(roster.entries) >= OPERATORS_MAX:
            raise UsageError(f"the roster holds {OPERATORS_MAX} operators; expected no more")
        added = _with_pin(Operator(operator_id, role), pin)
        _save(folder, replace(roster, entries=(*roster.entries, added)))
    return added.operator


def set_pin(folder: Path, operator_id: str, pin: str) -> Operator:
    """Give somebody another PIN, and a clear count; durable on return.

    Raises:
        UsageError: there is nobody with this id, the PIN cannot be used, or the file is no roster.
        RecordError: the file cannot be written.
    """
    check_pin(pin)
    with durable.alone(folder):
        roster = _load(folder)
        former = _entry(roster, operator_id).operator
        changed = _with_pin(Operator(former.id, former.role), pin)
        _save(folder, _with_entry(roster, changed))
    return changed.operator


def remove(folder: Path, operator_id: str) -> None:
    """Take somebody off the roster for good; durable on return.

    Raises:
        UsageError: there is nobody with this id, or the file is not a roster.
        RecordError: the file cannot be written.
    """
    with durable.alone(folder):
        roster = _load(folder)
        gone = _entry(roster, operator_id)
        left = tuple(entry for entry in roster.entries if entry is not gone)
        _save(folder, _Roster(left, (*roster.removed, operator_id)))


def try_pin(folder: Path, operator_id: str, pin: str, wall: datetime) -> Try:
    """Tell whether a PIN is somebody's; a wrong one is counted first (rule 4).

    It takes some 50 ms, and up to LOCK_WAIT_S more while another program changes the roster: while
    output is possible, call it from a thread of its own.

    Raises:
        UsageError: there is nobody with this id, or the file is not a roster.
        RecordError: the count cannot be kept.
    """
    now_s = int(wall.astimezone(UTC).timestamp())
    with durable.alone(folder):
        roster = _load(folder)
        entry = _entry(roster, operator_id)
        who = entry.operator
        if who.last_failure_s > now_s:
            # The clock was set back. The wait begins anew, or it would last until that time.
            who = replace(who, last_failure_s=now_s)
            entry = replace(entry, operator=who)
            _save(folder, _with_entry(roster, entry))
        left_s = wait_s(who.failures, now_s - who.last_failure_s)
        if left_s:
            return Try(False, left_s, f"{operator_id}: too many wrong PINs: wait {left_s} s")
        # A text that is no PIN is not hashed: it may be of any length.
        is_right = _PIN.fullmatch(pin) is not None and hmac.compare_digest(
            entry.digest, _hash(pin, entry.salt)
        )
        failures = 0 if is_right else min(who.failures + 1, _FAILURES_MAX)
        counted = replace(who, failures=failures, last_failure_s=0 if is_right else now_s)
        if counted != who:
            _save(folder, _with_entry(roster, replace(entry, operator=counted)))
    if is_right:
        return Try(True, 0, f"{operator_id}: right PIN")
    next_s = wait_s(failures, 0)
    return Try(
        False, next_s, f"{operator_id}: wrong PIN" + (f": wait {next_s} s" if next_s else "")
    )


def check_pin(pin: str) -> None:
    """Check that a new PIN is one, and not among the first to be guessed.

    Raises:
        UsageError: it is not; the message does not repeat it.
    """
    if _PIN.fullmatch(pin):
        steps = {int(after) - int(before) for before, after in itertools.pairwise(pin)}
        if steps not in ({0}, {1}, {-1}):
            return
    raise UsageError(PIN_EXPECTED)


def _with_pin(operator: Operator, pin: str) -> _Entry:
    salt = os.urandom(SALT_BYTES)
    return _Entry(operator, salt, _hash(pin, salt))


def _hash(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        pin.encode("ascii"), salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, dklen=HASH_BYTES
    )


def _entry(roster: _Roster, operator_id: str) -> _Entry:
    for entry in roster.entries:
        if entry.operator.id == operator_id:
            return entry
    hint = "it is empty: `estim roster add` adds somebody" if not roster.entries else "see `list`"
    raise UsageError(f"operator {operator_id!r:.80}: not on the roster ({hint})")


def _with_entry(roster: _Roster, changed: _Entry) -> _Roster:
    entries = tuple(
        changed if entry.operator.id == changed.operator.id else entry for entry in roster.entries
    )
    return replace(roster, entries=entries)


def _save(folder: Path, roster: _Roster) -> None:
    fields = {
        "schema": SCHEMA,
        "operators": [
            {
                "id": entry.operator.id,
                "role": entry.operator.role.value,
                "salt": base64.b64encode(entry.salt).decode("ascii"),
                "hash": base64.b64encode(entry.digest).decode("ascii"),
                "failures": entry.operator.failures,
                "last_failure_s": entry.operator.last_failure_s,
            }
            for entry in roster.entries
        ],
        "removed": list(roster.removed),
    }
    durable.replace(folder / FILE_NAME, json.dumps(fields, indent=1).encode("ascii") + b"\n")


def _load(folder: Path) -> _Roster:
    path = folder / FILE_NAME
    octets = durable.read_small(path)
    if octets is None:
        return _Roster()
    mode = stat.S_IMODE(path.stat().st_mode)
    # Windows has no such bits and reports everything as open to all.
    if os.name == "posix" and mode & 0o077:
        raise UsageError(
            f"{path}: others may read or change it (mode {mode:03o}); make it private with "
            "chmod 600, and give everybody a new PIN if others had a login here"
        )
    try:
        fields = json.loads(octets.decode("ascii"))
        _expect(isinstance(fields, dict), "one JSON object")
        _expect(fields.keys() == {"schema", "operators", "removed"}, "schema, operators, removed")
        _expect(fields["schema"] == SCHEMA, f"schema {SCHEMA}")
        listed, gone = fields["operators"], fields["removed"]
        _expect(isinstance(listed, list) and isinstance(gone, list), "lists")
        entries = tuple(_read_entry(item) for item in listed)
        removed = tuple(_checked_id(item) for item in gone)
        ids = [each.casefold() for each in (*(e.operator.id for e in entries), *removed)]
        _expect(len(set(ids)) == len(ids), "every id once")
    except (ValueError, RecursionError, UsageError) as error:
        what = str(error) if isinstance(error, _Unexpected) else "JSON as Estim writes it"
        raise UsageError(f"{path}: not a roster: expected {what}") from None
    return _Roster(entries, removed)


class _Unexpected(ValueError):
    """Say what was expected of a roster file."""


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise _Unexpected(what)


def _read_entry(item: Any) -> _Entry:
    _expect(isinstance(item, dict) and item.keys() == _ENTRY_KEYS, "entries as Estim writes them")
    _expect(item["role"] in _ROLES, "a role of " + ", ".join(_ROLES))
    counts = (item["failures"], item["last_failure_s"])
    _expect(all(type(count) is int and count >= 0 for count in counts), "counts of 0 or more")
    operator = Operator(_checked_id(item["id"]), Role(item["role"]), *counts)
    salt, digest = _read_octets(item["salt"]), _read_octets(item["hash"])
    _expect((len(salt), len(digest)) == (SALT_BYTES, HASH_BYTES), "a salt and a hash")
    return _Entry(operator, salt, digest)


_ROLES: Sequence[str] = [role.value for role in Role]


def _checked_id(item: Any) -> str:
    _expect(isinstance(item, str), "ids as text")
    return check_pseudonym("operator", item)


def _read_octets(item: Any) -> bytes:
    _expect(isinstance(item, str), "salt and hash as text")
    return base64.b64decode(item, validate=True)
