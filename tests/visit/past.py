"""Write records of visits as the engine does, with the journal that it uses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from estim.clock import VirtualClock
from estim.record.journal import Journal
from tests.record.samples import KEY, Unsynced, header

PERSON = "P-0042"
PLACEMENT = ["channel 1: left upper calf, outer side"]
DIGEST = 3_348_580_176
EPOCH = VirtualClock.EPOCH


def day(number: int) -> datetime:
    """Return nine in the morning, so many days after 1 January 2000."""
    return datetime(2000, 1, 1, 9, tzinfo=UTC) + timedelta(days=number)


class Past:
    """One visit, being written."""

    def __init__(self, folder: Path, session_id: str, on: datetime, **changes: Any) -> None:
        clock = VirtualClock((on - EPOCH) // timedelta(microseconds=1))
        fields = {"kind": "clinical", "pseudonym": PERSON, "operator": "T-1", "profile": None}
        self.session_id = session_id
        self.pseudonym = (fields | changes)["pseudonym"]
        self._wall = on
        told = header(session_id, **(fields | changes))
        self.journal = Journal.create(folder, told, clock, session_id, ops=Unsynced())
        self.annotate(
            "visit",
            protocol={"id": "diabetic-neuropathy-first", "version": "1.0.0", "sha256": "ab" * 32},
            pseudonym=self.pseudonym,
            operator="T-1",
            site={},
        )

    @property
    def path(self) -> Path:
        return self.journal.path

    def event(self, kind: str, /, **content: Any) -> None:
        self._wall += timedelta(seconds=1)
        mono_us = (self._wall - EPOCH) // timedelta(microseconds=1)
        self.journal.append(kind, content, mono_us=mono_us, wall=self._wall)

    def annotate(self, kind: str, /, **content: Any) -> None:
        self.event("annotation", kind=kind, content=content)

    def step(
        self, kind: str, answers: dict[str, Any], carried_from: str | None = None, name: str = ""
    ) -> None:
        self.annotate(
            kind, step=name or kind, operator="T-1", answers=answers, carried_from=carried_from
        )

    def stimulate(
        self,
        *,
        comfortable_ua: int | None = 12_000,
        profile: str = "dpn-conventional",
        digest: int = DIGEST,
        placement: list[str] | None = None,
        plateau_ms: int = 1_200_000,
    ) -> None:
        """Prepare, read back, run and end one programme on one channel."""
        self.event(
            "prepared", profile=profile, program_digest=digest, prepared_digest="cd" * 32,
            ceilings_ua=[40_000],
        )  # fmt: skip
        self.annotate(
            "read_back", prepared_digest="cd" * 32, profile=profile, ceilings_ua=[40_000],
            placement=PLACEMENT if placement is None else placement, operator="T-1",
        )  # fmt: skip
        self.event("state", **{"from": "armed", "to": "running", "by": "device running"})
        self.event("targets", targets_ua=[14_000], from_ua=[0])
        self.event(
            "telemetry_second", from_us=0, to_us=1_000_000,
            channels=[{"channel": 1, "count": 40, "load_max_ohm": 900, "peak_max_ua": 14_100,
                       "peak_mean_ua": 9_000, "peak_min_ua": 0}],
        )  # fmt: skip
        if comfortable_ua is not None:
            self.annotate("marker", channel=1, marker="comfortable", amplitude_ua=comfortable_ua)
        if plateau_ms:
            self.event(
                "delivered", rise_ms=14_000, plateau_ms=plateau_ms, ramp_down_ms=2_000,
                pulses=[97_000],
            )  # fmt: skip

    def finish(self, *, review: dict[str, Any] | None = None, note: str = "S: better.") -> Path:
        """Review, write the note, close and seal."""
        self.step("review", {"adverse": False} if review is None else review)
        self.annotate("note", text=note)
        return self.close()

    def close(self) -> Path:
        self.event("closed", reason="visit over", delivered_ms=1)
        self.journal.seal(KEY, mono_us=10**15, wall=self._wall + timedelta(seconds=1))
        self.journal.close()
        return self.path

    def tear(self) -> Path:
        """Stop in the middle of a line, as a crash does."""
        self.journal.close()
        with self.path.open("ab") as file:
            file.write(b'{"content":{"ki')
        return self.path


def whole_visit(folder: Path, session_id: str, on: datetime, **options: Any) -> Path:
    """Write a finished visit with screening, sensation, one stimulation."""
    past = Past(folder, session_id, on, **options)
    past.step("screen", {"pacemaker": False, "insulin": True})
    past.step("test_sensation", {"calf-sharp-dull": 9})
    past.step("assess", {"pain-now": 6})
    past.stimulate()
    return past.finish()


def damage(path: Path, line: int) -> None:
    """Change one figure of one line, as somebody might who wants it otherwise."""
    lines = path.read_bytes().split(b"\n")
    lines[line] = lines[line].replace(b":", b";", 1)
    path.write_bytes(b"\n".join(lines))
