"""Write and read one line of a session record.

Rules:
1. A line is canonical JSON: keys sorted, no spaces, ASCII only, no NaN or infinity, at most
   MAX_LINE_BYTES long. Reading takes nothing else, so that every line has exactly one spelling.
2. Its keys are `schema`, `seq`, `mono_us`, `wall`, `kind`, `content` and `prev`. `seq` counts from
   0, the header.
3. `prev` is the SHA-256, in hex, of the bytes of the line before it without the newline; 64 zeros
   on the first line.
4. A seal is a line of kind `seal` whose content names the `head` (the hash of the line before), the
   number of `events` before it, the `key_id` and whether it was `recovered` after a crash. `hmac`
   is the HMAC-SHA256, under the station key, of this very line without `hmac` and `check`; `check`
   is the SHA-256 of this line without `check`. The HMAC covers the whole line, and so the head in
   it: over the head alone, the time on the seal could be altered unseen.
5. Times are arguments; nothing here reads a clock.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from estim.errors import RecordError

SCHEMA = 1
GENESIS = "0" * 64
MAX_LINE_BYTES = 64 * 1024
MAX_DEPTH = 32  # Pythons differ in how deep they read: every one of them must read a record

HEADER = "header"
SEAL = "seal"
ADDENDUM = "addendum"
RECOVERED = "recovered"
ANNOTATION = "annotation"
"""An event that somebody asked for, such as a step of a visit; its content names its own kind."""
RESERVED_KINDS = frozenset({HEADER, SEAL, ADDENDUM, RECOVERED})

# What an addendum gives as its reason, where others than people read it.
REASSIGNED = "belongs to another person"  # its text is that person's pseudonym
NOTE_LATER = "note written later"  # its text is the note

_KEYS = {"schema", "seq", "mono_us", "wall", "kind", "content", "prev"}
_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_SEAL_SHAPES = {
    "events": re.compile(r"[0-9]{1,18}"),
    "head": _HASH,
    "key_id": re.compile(r"[0-9a-f]{16}"),
    "recovered": re.compile(r"True|False"),
    "hmac": _HASH,
    "check": _HASH,
}
_WALL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold an event that is ready to be chained: checked, and its content already spelled."""

    kind: str
    content_json: str
    mono_us: int
    wall: str


@dataclass(frozen=True, slots=True)
class Event:
    """Hold one line as it was read; `digest` is the SHA-256 of its bytes."""

    seq: int
    mono_us: int
    wall: datetime
    kind: str
    content: Mapping[str, Any]
    prev: str
    digest: str


def sha256_hex(octets: bytes) -> str:
    """Return the SHA-256 of some bytes in hex."""
    return hashlib.sha256(octets).hexdigest()


def key_id(key: bytes) -> str:
    """Name a key without telling it: the first 16 hex digits of its SHA-256."""
    return sha256_hex(key)[:16]


def event_entry(kind: str, content: Mapping[str, Any], *, mono_us: int, wall: datetime) -> Entry:
    """Check an event of the session and spell its content.

    Raises:
        RecordError: the kind is one of the record's own, or `make_entry` refuses.
    """
    if kind in RESERVED_KINDS:
        raise RecordError(f"the record writes events of kind {kind!r} itself")
    return make_entry(kind, content, mono_us=mono_us, wall=wall)


def make_entry(kind: str, content: Mapping[str, Any], *, mono_us: int, wall: datetime) -> Entry:
    """Check any event and spell its content.

    Raises:
        RecordError: kind, times or content cannot stand in a record.
    """
    if not _KIND.fullmatch(kind):
        raise RecordError(f"a kind of event is lower-case letters, digits and _, got {kind!r}")
    if type(mono_us) is not int or mono_us < 0:
        raise RecordError(f"event {kind}: mono_us must be microseconds from 0 on, got {mono_us!r}")
    if wall.tzinfo is None:
        raise RecordError(f"event {kind}: the wall time has no time zone")
    try:
        spelled = _canonical(dict(content))
        # Keys that are not text would be sorted before they become text, and so read back in
        # another order.
        is_canonical = _canonical(json.loads(spelled)) == spelled
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"event {kind}: the content is not plain JSON: {error}") from None
    if _is_too_deep(content):
        raise RecordError(f"event {kind}: the content is nested more than {MAX_DEPTH} deep")
    if not is_canonical:
        raise RecordError(f"event {kind}: every key of the content must be text")
    # 512 bytes are more than everything else on a line can take.
    if len(spelled) > MAX_LINE_BYTES - 512:
        raise RecordError(f"event {kind}: the content is {len(spelled)} bytes, too long for a line")
    stamp = wall.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return Entry(kind, spelled, mono_us, stamp)


def encode_line(entry: Entry, seq: int, prev: str) -> bytes:
    """Spell a whole line, without its newline."""
    return (
        f'{{"content":{entry.content_json},"kind":"{entry.kind}","mono_us":{entry.mono_us},'
        f'"prev":"{prev}","schema":{SCHEMA},"seq":{seq},"wall":"{entry.wall}"}}'
    ).encode("ascii")


def encode_seal(
    key: bytes, seq: int, prev: str, *, mono_us: int, wall: datetime, recovered: bool
) -> bytes:
    """Spell the seal that closes all lines before it (rule 4)."""

    def spell(content: Mapping[str, Any]) -> bytes:
        return encode_line(make_entry(SEAL, content, mono_us=mono_us, wall=wall), seq, prev)

    content: dict[str, Any] = {
        "events": seq,
        "head": prev,
        "key_id": key_id(key),
        "recovered": recovered,
    }
    content["hmac"] = hmac.new(key, spell(content), hashlib.sha256).hexdigest()
    content["check"] = sha256_hex(spell(content))
    return spell(content)


def seal_fault(seal: Event, key: bytes | None) -> str | None:
    """Say what is wrong with a seal, or None. Without a key the HMAC itself stays unchecked."""

    def spell(*left_out: str) -> bytes:
        content = {name: value for name, value in seal.content.items() if name not in left_out}
        entry = make_entry(SEAL, content, mono_us=seal.mono_us, wall=seal.wall)
        return encode_line(entry, seal.seq, seal.prev)

    content = seal.content
    if content.keys() != _SEAL_SHAPES.keys() or not all(
        shape.fullmatch(str(content[name])) for name, shape in _SEAL_SHAPES.items()
    ):
        return "the seal is not shaped as a seal is"
    if content["check"] != sha256_hex(spell("check")):
        return "the seal itself was changed"
    if content["head"] != seal.prev or content["events"] != seal.seq:
        return "the seal closes other lines than those before it"
    if key is None:
        return None
    if content["key_id"] != key_id(key):
        return f"sealed with key {content['key_id']}, this station's key is {key_id(key)}"
    expected = hmac.new(key, spell("hmac", "check"), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(str(content["hmac"]).encode(), expected.encode()):
        return "the seal was not made with this station's key"
    return None


def _is_too_deep(content: object) -> bool:
    level = [content]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for part in level:
            if isinstance(part, Mapping):
                inner += part.values()
            elif isinstance(part, list | tuple):
                inner += part
        if not inner:
            return False
        level = inner
    return True


def parse_line(octets: bytes, digest: str) -> Event:
    """Read one line without its newline, given its SHA-256.

    Raises:
        ValueError: it is not a line of a record; the message says why.
    """
    try:
        fields = json.loads(octets.decode("ascii"))
        spelled = _canonical(fields).encode("ascii")
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except ValueError:
        raise ValueError("not JSON") from None
    if not isinstance(fields, dict) or fields.keys() != _KEYS:
        raise ValueError("not a line of a record")
    if spelled != octets:
        raise ValueError("not canonical JSON")
    wall = fields["wall"]
    shapes_hold = (
        fields["schema"] == SCHEMA
        and all(type(fields[name]) is int for name in ("schema", "seq", "mono_us"))
        and min(fields["seq"], fields["mono_us"]) >= 0
        and all(isinstance(fields[name], str) for name in ("kind", "prev", "wall"))
        and isinstance(fields["content"], dict)
        and _KIND.fullmatch(fields["kind"])
        and _HASH.fullmatch(fields["prev"])
        and _WALL.fullmatch(wall)
    )
    if not shapes_hold:
        raise ValueError("not a line of a record: a field has the wrong shape")
    try:
        stamp = datetime.fromisoformat(wall)
    except ValueError:
        raise ValueError(f"not a line of a record: there is no time {wall}") from None
    return Event(
        seq=fields["seq"],
        mono_us=fields["mono_us"],
        wall=stamp,
        kind=fields["kind"],
        content=fields["content"],
        prev=fields["prev"],
        digest=digest,
    )


def _canonical(fields: object) -> str:
    return json.dumps(
        fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
