"""The table of a campaign: what each test said of each device, JSON lines in one folder.

Rules:
1. The rows of one run of one task on one device are one file, written whole or not at all.
2. A row names its device by serial number; a device without one has no rows but an error.
"""

from __future__ import annotations

import json
import os
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from estim.errors import RecordError

SCHEMA = "estim.campaign/1"
ROWS = "rows"
PASSED, FAILED, ERROR, SKIPPED = "passed", "failed", "error", "skipped"
INCONCLUSIVE = "inconclusive"
"""What a measurement cannot tell says nothing of the device: its instrument is the rig's."""
_BLAMES = ("device", "rig", "host", "operator", "unknown")
_BLAME_OF_CODE = {3: "rig", 4: "host", 5: "unknown"}


@dataclass(frozen=True, slots=True)
class Row:
    """One test on one device, once.

    Attributes:
        campaign, repetition: which campaign, and which of its repetitions from 1.
        rig: the machine that ran it.
        device_url, dut_serial, dut_model, dut_firmware, schema_hash: what it was run on.
        task: what was asked for: 'conformance', a job, or tests of pytest.
        test: the test within it; the task itself where it came to no test.
        outcome: passed, failed (the device's), error (anybody else's), skipped.
        blame: whom it points at, '' where it passed.
        text: why, '' where it passed.
        duration_s: of the test.
        began_at, ended_at: of the run, UTC.
        exit_code: of the run's process.
        artefacts: files of the run, from the campaign's folder.
    """

    campaign: str
    repetition: int
    rig: str
    device_url: str
    dut_serial: str
    dut_model: str
    dut_firmware: str
    schema_hash: str
    task: str
    test: str = ""
    outcome: str = ERROR
    blame: str = ""
    text: str = ""
    duration_s: float = 0.0
    began_at: str = ""
    ended_at: str = ""
    exit_code: int = 0
    artefacts: tuple[str, ...] = ()


def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Write the rows of one run, whole or not at all.

    Raises:
        RecordError: they cannot be written.
    """
    lines = "".join(json.dumps({"schema": SCHEMA, **asdict(row)}) + "\n" for row in rows)
    target = folder / ROWS / f"{name}.jsonl"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(target)
    except OSError as error:
        raise RecordError(f"{target}: cannot be written: {error.strerror}") from None


def read(folder: Path) -> list[dict[str, Any]]:
    """Return every row of a campaign's folder, as documents."""
    return [
        json.loads(line)
        for path in sorted((folder / ROWS).glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def from_junit(run: Row, path: Path) -> list[Row]:
    """Return a row for each test case of a JUnit file, none where there is no whole one."""
    try:
        root = ElementTree.parse(path).getroot()
        return [_from_case(run, case) for case in root.iter("testcase")]
    except (OSError, ElementTree.ParseError, ValueError, LookupError):
        return []  # the last two: a time that is none, an encoding that nobody knows


def from_verify(run: Row, output: Path) -> list[Row]:
    """Return a row for each step of a job, and one for its verdict, from what it wrote.

    There is none where it wrote something else: who was killed in the midst leaves half a line.
    """
    for document in _documents(output):
        if document.get("event") == "result":
            try:
                return [*_from_steps(run, document), _verdict(run, document)]
            except (AttributeError, KeyError, TypeError):
                return []
    return []


def whole_run(run: Row, text: str) -> Row:
    """Return the one row of a run that came to no test."""
    blame = run.blame or _BLAME_OF_CODE.get(run.exit_code, "unknown")
    return replace(run, test=run.task, outcome=ERROR, blame=blame, text=text)


def _from_case(run: Row, case: ElementTree.Element) -> Row:
    name = ".".join(filter(None, (case.get("classname", ""), case.get("name", ""))))
    said = {each.get("name"): each.get("value") or "" for each in case.iter("property")}
    duration_s = float(case.get("time") or 0)
    if not isfinite(duration_s):
        raise ValueError("a time without end")
    found = replace(run, test=name, outcome=PASSED, duration_s=duration_s)
    for kind, outcome, blame in ((FAILED, "failure", "device"), (ERROR, "error", "rig")):
        element = case.find(outcome)
        if element is not None:
            told = said.get("blame", "")
            text = element.get("message") or (element.text or "").strip().partition("\n")[0]
            if element.get("type") == INCONCLUSIVE:
                return replace(found, outcome=ERROR, text=text, blame="rig")
            return replace(found, outcome=kind, text=text, blame=told if told in _BLAMES else blame)
    skipped = case.find(SKIPPED)
    if skipped is not None:
        return replace(found, outcome=SKIPPED, text=skipped.get("message") or "")
    return found


def _from_steps(run: Row, document: dict[str, Any]) -> Iterator[Row]:
    for step in document.get("steps", ()):
        test = (
            f"{step['profile']} channel {step['channel']} {step['amplitude_ua']} uA "
            f"{step['load_ohm']} ohm"
        )
        yield _judged(replace(run, test=test), str(step.get("verdict")))


def _verdict(run: Row, document: dict[str, Any]) -> Row:
    return _judged(replace(run, test="verdict"), str(document["verdict"]))


def _judged(row: Row, verdict: str) -> Row:
    """Return a row with the outcome of a measurement's verdict."""
    if verdict == "pass":
        return replace(row, outcome=PASSED)
    if verdict == INCONCLUSIVE:
        return replace(row, outcome=ERROR, blame="rig", text=verdict)
    return replace(row, outcome=FAILED, blame="device", text=verdict)


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            yield document
