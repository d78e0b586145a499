"""What a record must hold before output on a person: the engine's own gate.

Rules:
1. Only what is durable in this record counts, and only what was asked for after the record opened.
2. The reading-back names everything that is loaded, by the engine's own digest over programme,
   bounds and settings. It counts for the load that it was asked for under: loading anew, and every
   way of losing a programme, void it, even where the same comes back.
3. An answer to a step that gates output, given first or again, voids the load itself, when it is
   asked for and once it is durable: bounds that were worked out without it can neither be read
   back nor armed any more. What flows meanwhile goes on, and cannot be resumed.
4. Every reason is told, in words. A bench, with nobody connected, needs nothing of this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from estim.record.lines import sha256_hex
from estim.safety.bounds import Bounds
from estim.session.messages import SessionSettings, to_fields
from firmware_protocol.program import PulseProgram

READ_BACK = "read_back"
DIGEST_KEY = "prepared_digest"
REQUIRED: Mapping[str, str] = {
    "screen": "the screening was not recorded",
    "consent": "consent was not recorded",
    "test_sensation": "the sensation test was not recorded",
    "place_electrodes": "the place of the electrodes was not recorded",
    "try_stop": "it was not recorded that the stop was tried",
}
"""What every person's visit answers before output, and what is said where that is missing."""

NOT_READ_BACK = "site, side and limits of what is loaded now were not read back"
VOIDING = frozenset({*REQUIRED, "inspect_skin", "override", "plan"})
"""What changes the bounds that a load was made with, or whether there may be output at all."""


class Gate:
    """Know what was kept, and whether what is loaded was read back."""

    def __init__(self) -> None:
        self.digest = ""
        self._kept: set[str] = set()
        self._is_read_back = False
        self._turn = 0

    def load(self, program: PulseProgram, bounds: Bounds, settings: SessionSettings) -> None:
        """Take what was loaded; it was read back by nobody yet (rule 2)."""
        self._void()
        self.digest = digest_of(program, bounds, settings)

    def unload(self) -> None:
        """Forget what was loaded."""
        self._void()
        self.digest = ""

    def ask(self, kind: str) -> int:
        """Note that an annotation is on its way; return the moment, which `keep` wants to know."""
        if kind in VOIDING:
            self.unload()
        return self._turn

    def keep(self, kind: str, content: Mapping[str, object], turn: int) -> None:
        """Count an annotation that is durable, asked for at a turn (rules 1 and 2)."""
        if kind in VOIDING:
            self.unload()
        if kind in REQUIRED:
            self._kept.add(kind)
        elif kind == READ_BACK and turn == self._turn and self.digest:
            self._is_read_back = content.get(DIGEST_KEY) == self.digest

    def missing(self) -> tuple[str, ...]:
        """Return every reason against output on a person, in words."""
        reasons = [words for kind, words in REQUIRED.items() if kind not in self._kept]
        if not self._is_read_back:
            reasons.append(NOT_READ_BACK)
        return tuple(reasons)

    def _void(self) -> None:
        self._turn += 1
        self._is_read_back = False


def digest_of(program: PulseProgram, bounds: Bounds, settings: SessionSettings) -> str:
    """Return the SHA-256, in hex, of everything that was loaded."""
    loaded = {
        "program": program.canonical_bytes().hex(),
        "bounds": to_fields(bounds),
        "settings": to_fields(settings),
    }
    return sha256_hex(json.dumps(loaded, sort_keys=True, separators=(",", ":")).encode())


def annotation_problem(kind: str, content: object) -> str:
    """Say what an annotation that gates output lacks at the least; '' for nothing."""
    if kind not in REQUIRED and kind != READ_BACK:
        return ""
    if not isinstance(content, dict):
        return f"{kind}: an object expected"
    if kind == READ_BACK and not isinstance(content.get(DIGEST_KEY), str):
        return f"{kind}: {DIGEST_KEY} expected, the digest of what is loaded"
    return ""
