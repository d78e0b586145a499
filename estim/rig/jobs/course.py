"""The course of a job: what its journal holds, and so what is left to do.

Rules:
1. The journal alone decides. A step is done when its line is durable; one that was interrupted is
   done again from its beginning.
2. A journal belongs to one job file: a job that was changed after it began is refused.
3. One process at a time walks a job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from estim.errors import RecordError, UsageError
from estim.record.ledger import read_ledger
from estim.record.lines import Event

STARTED = "started"
RESUMED = "resumed"
DEVICE = "device"
VISUAL = "visual"
CONFIRMED = "confirmed"
STEP = "step"
CONTRADICTED = "contradicted"
LEAKAGE = "leakage"
INTERRUPTED = "interrupted"
FINISHED = "finished"

PASS, FAIL, INCONCLUSIVE, NOT_APPLICABLE = "pass", "fail", "inconclusive", "not-applicable"

Content = Mapping[str, Any]


@dataclass
class Course:
    """What was done so far.

    Attributes:
        started: what the job said when it began; None where it has not.
        device: who the stimulator is.
        steps: what came of each step that is done, by its number.
        visual, leakage: what was typed in, by name.
        contradicted: loads that were refused.
        stops: how often the job was interrupted or begun again.
        finished: the verdict; None until the end.
        began_at, ended_at: wall time.
        line_count, head: of the journal, and the SHA-256 of its last line.
    """

    started: Content | None = None
    device: Content | None = None
    steps: dict[int, Content] = field(default_factory=dict)
    visual: dict[str, Content] = field(default_factory=dict)
    leakage: dict[str, Content] = field(default_factory=dict)
    contradicted: list[Content] = field(default_factory=list)
    stops: int = 0
    finished: Content | None = None
    began_at: datetime | None = None
    ended_at: datetime | None = None
    line_count: int = 0
    head: str = ""

    def take(self, event: Event) -> None:
        """Take one line of the journal."""
        content = event.content
        self.line_count, self.head = event.seq + 1, event.digest
        if event.kind == STARTED:
            self.started, self.began_at = content, event.wall
        elif event.kind == DEVICE:
            self.device = content
        elif event.kind == STEP:
            self.steps[content["number"]] = content
        elif event.kind == VISUAL:
            self.visual[content["name"]] = content
        elif event.kind == LEAKAGE:
            self.leakage[content["name"]] = content
        elif event.kind == CONTRADICTED:
            self.contradicted.append(content)
        elif event.kind == RESUMED:
            self.stops += 1
        elif event.kind == FINISHED:
            self.finished, self.ended_at = content, event.wall

    @property
    def captures_used(self) -> frozenset[str]:
        """Return the names of the files that steps have taken."""
        return frozenset(
            step["capture"]["name"] for step in self.steps.values() if step.get("capture")
        )

    @property
    def verdicts(self) -> list[str]:
        """Return the verdict of everything that was done."""
        done = (*self.steps.values(), *self.visual.values(), *self.leakage.values())
        return [content["verdict"] for content in done]


def course_of(events: Iterable[Event]) -> Course:
    """Return the course that a journal tells.

    Raises:
        RecordError: it is not the journal of a job.
    """
    course = Course()
    for event in events:
        try:
            course.take(event)
        except (KeyError, TypeError):
            raise RecordError(f"line {event.seq + 1} of the journal is not one of a job") from None
    return course


def journal_path(folder: Path, phase: str) -> Path:
    """Return where the journal of a phase lies."""
    return folder / f"{phase}.jsonl"


def other_phase(folder: Path, phase: str) -> Course | None:
    """Return the course of the as-found phase, for a job that is as-left; None without one.

    Raises:
        RecordError: its journal is damaged.
    """
    if phase == "as-found":
        return None
    course = course_of(read_ledger(journal_path(folder, "as-found")))
    return course if course.started is not None else None


def check_same_job(course: Course, sha256: str, path: Path) -> None:
    """Refuse a job file that is not the one the journal began with.

    Raises:
        UsageError: it was changed.
    """
    began_with = course.started["job_sha256"] if course.started else sha256
    if began_with != sha256:
        raise UsageError(
            f"{path}: changed since the job began (SHA-256 {began_with[:12]} then, {sha256[:12]} "
            "now): expected the same file, or another folder for a new job"
        )


def verdict_of(verdicts: Iterable[str]) -> str:
    """Return the verdict of the whole: what failed fails it, what is not known leaves it open.

    Where nothing was judged, nothing passes.
    """
    found = set(verdicts)
    if FAIL in found:
        return FAIL
    if INCONCLUSIVE in found or PASS not in found:
        return INCONCLUSIVE
    return PASS
