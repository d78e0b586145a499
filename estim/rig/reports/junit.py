"""Write outcomes as JUnit XML, whole or not at all."""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from estim.errors import UsageError
from estim.text import sanitize

if TYPE_CHECKING:  # so that a command without captures does not load what reads them
    from estim.rig.measuring.result import Check, Result


@dataclass(frozen=True, slots=True)
class Case:
    """One test case.

    Attributes:
        classname: what was done.
        name: of the case.
        time_s: how long it took, as text.
        properties: names and contents.
        failure: one sentence, '' where it passed.
        kind: of the failure.
        detail: below the sentence.
        skipped: why it was not judged, '' where it was.
    """

    classname: str
    name: str
    time_s: str = "0"
    properties: tuple[tuple[str, str], ...] = ()
    failure: str = ""
    kind: str = ""
    detail: str = ""
    skipped: str = ""


def check_folder(path: str | None) -> None:
    """Raise UsageError where a report could not be written later, before anything is done."""
    if path is not None and not Path(path).parent.is_dir():
        raise UsageError(f"--junit {path}: there is no such folder")


def write(path: str, suite_name: str, cases: Sequence[Case]) -> None:
    """Write test cases as one suite.

    Raises:
        UsageError: the file cannot be written.
    """
    failed = sum(bool(case.failure) for case in cases)
    skipped = sum(bool(case.skipped) for case in cases)
    suite = ElementTree.Element(
        "testsuite", name=suite_name, tests=str(len(cases)), failures=str(failed), errors="0"
    )
    if skipped:
        suite.set("skipped", str(skipped))
    for case in cases:
        element = ElementTree.SubElement(
            suite, "testcase", classname=case.classname, name=case.name, time=case.time_s
        )
        if case.properties:
            properties = ElementTree.SubElement(element, "properties")
            for name, content in case.properties:
                ElementTree.SubElement(properties, "property", name=name, value=sanitize(content))
        if case.failure:
            failure = ElementTree.SubElement(element, "failure", message=sanitize(case.failure))
            if case.kind:
                failure.set("type", case.kind)
            failure.text = sanitize(case.detail)
        if case.skipped:
            ElementTree.SubElement(element, "skipped", message=sanitize(case.skipped))
    document = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    target = Path(path)
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            file.write(document)
        Path(file.name).replace(target)
    except OSError as error:
        raise UsageError(f"--junit {path}: {error.strerror}") from None


def cases_of(result: Result, classname: str = "estim.measure") -> list[Case]:
    """Return a test case for each check; what is inconclusive has failed, and says so."""
    return [_case(check, classname) for check in result.checks] + [_whole(result, classname)]


def _whole(result: Result, classname: str) -> Case:
    """Return the case of the whole result: an instrument overdue fails no single check."""
    verdict = result.verdict.value
    reasons = "; ".join((result.looks_like, *result.unknowns)).strip("; ")
    return Case(
        classname,
        "verdict",
        properties=(("capture_sha256", result.sha256), ("profile", result.profile_id)),
        failure="" if verdict == "pass" else f"{verdict}: {reasons}"[:500],
        kind="" if verdict == "pass" else verdict,
    )


def _case(check: Check, classname: str) -> Case:
    properties = tuple(
        (name, f"{content}")
        for name, content in check.document().items()
        if content is not None and content != "" and name != "name"
    )
    if check.verdict.value == "pass":
        return Case(classname, check.name, properties=properties)
    measured = "unknown" if check.measured is None else f"{check.measured:.6g}"
    expected = "not commanded" if check.expected is None else f"{check.expected:.6g}"
    text = f"{check.verdict.value}: {measured} {check.unit}, expected {expected}"
    return Case(
        classname, check.name, properties=properties, failure=text,
        kind=check.verdict.value, detail=check.note,
    )  # fmt: skip
