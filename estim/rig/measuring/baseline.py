"""Approved results, and how far later ones have drifted from them.

Rules:
1. A baseline is a file of JSON lines, NAME.jsonl, in the folder `baselines` of this station's
   configuration. Approving appends a line; nothing is ever changed or removed.
2. Each line holds who, why, when, the SHA-256 of the approved file, the result itself, the SHA-256
   of the line before and that of its own content: a line that was changed, or left out before
   another, is found when the file is read. Whoever writes all digests anew is not.
3. The last line counts. A result that nobody approved is never compared with.
4. Two results compare only where profile, programme, channel, amplitude and load are the same.
5. A figure may drift by DRIFT_SHARE of its tolerance, so that a device that moves is seen while it
   is still within. What was inconclusive then has no drift that could be judged.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from math import hypot, sqrt
from pathlib import Path
from typing import Any

from estim.clock import SystemClock
from estim.errors import LimitRefused, RecordError, UsageError
from estim.prepare import places
from estim.record.names import check_pseudonym
from estim.rig.measuring.result import SCHEMA, Check, Result, Verdict, decide, overall
from estim.rig.measuring.tolerances import DRIFT_SHARE
from estim.text import sanitize

APPROVAL_SCHEMA = "estim.baseline/1"
FOLDER_NAME = "baselines"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_WHY_MAX = 300
_RESULT_MAX_BYTES = 4_000_000
_SAME = ("profile", "program_digest", "channel", "amplitude_ua", "load_ohm", "tolerances")
_ZERO = "0" * 64


@dataclass(frozen=True, slots=True)
class Approval:
    """One approved result."""

    name: str
    who: str
    why: str
    when: str
    sha256: str
    result: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """Return the approval as JSON holds it."""
        return {
            "schema": APPROVAL_SCHEMA,
            "name": self.name,
            "who": self.who,
            "why": self.why,
            "when": self.when,
            "sha256": self.sha256,
            "result": self.result,
        }


def default_folder() -> Path:
    """Return where this station keeps its baselines."""
    return places.configuration_folder() / FOLDER_NAME


def approve(
    result_file: str | Path, name: str, who: str, why: str, folder: Path | None = None
) -> Approval:
    """Append an approval of a result, as `estim measure --json` printed it, to a baseline.

    Raises:
        UsageError: the file holds no result, or name, who or why may not be written down.
        LimitRefused: the result did not pass.
        RecordError: the baseline is damaged or cannot be written.
    """
    octets, result = _read_result(result_file)
    path = _path(name, folder)
    check_pseudonym("--who", who)
    if not why.strip() or len(why) > _WHY_MAX:
        raise UsageError(f"--why: expected 1 to {_WHY_MAX} characters that say why")
    if result["verdict"] != Verdict.PASS.value:
        raise LimitRefused(
            f"{sanitize(str(result_file))}: the verdict is {sanitize(str(result['verdict']))}; "
            "only a result that passes may become a baseline"
        )
    approval = Approval(
        name=name,
        who=who,
        why=sanitize(why.strip()),
        when=SystemClock().wall().isoformat(timespec="seconds"),
        sha256=hashlib.sha256(octets).hexdigest(),
        result=result,
    )
    before = _ZERO
    if path.exists():
        history(name, folder)
        before = hashlib.sha256(path.read_bytes().splitlines()[-1]).hexdigest()
    content = {**approval.document(), "before": before}
    line = _json({**content, "own": _own(content)})
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RecordError(f"{path}: cannot be written: {error.strerror}") from None
    return approval


def names(folder: Path | None = None) -> list[str]:
    """Return the names of all baselines."""
    where = folder or default_folder()
    return sorted(path.stem for path in where.glob("*.jsonl")) if where.is_dir() else []


def history(name: str, folder: Path | None = None) -> list[Approval]:
    """Return every approval under a name, the latest last.

    Raises:
        LimitRefused: nothing was approved under this name.
        RecordError: the file is damaged, or not as it was written.
    """
    path = _path(name, folder)
    if not path.exists():
        known = ", ".join(names(folder)) or "none yet"
        raise LimitRefused(
            f"no approved result {sanitize(name)!r} (there are: {known}); approve one first with "
            "estim baseline approve"
        )
    approvals = []
    before = _ZERO
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            content = json.loads(line)
            sound = content["schema"] == APPROVAL_SCHEMA and content["before"] == before
            sound = sound and content.pop("own") == _own(content)
            approval = Approval(**{key: content[key] for key in Approval.__slots__})
        except (ValueError, KeyError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise RecordError(f"{path}:{number}: changed, left out or torn; expected an approval")
        approvals.append(approval)
        before = hashlib.sha256(line).hexdigest()
    if not approvals:
        raise RecordError(f"{path}: empty; expected an approval")
    return approvals


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=True, sort_keys=True)


def _own(content: dict[str, Any]) -> str:
    """Return the SHA-256 of what a line holds beside it."""
    return hashlib.sha256(_json(content).encode()).hexdigest()


def find(reference: str, folder: Path | None = None) -> Approval:
    """Return the approval that a name, or a file that was approved, stands for.

    Raises:
        LimitRefused: nobody approved it.
        RecordError: the baseline is damaged.
    """
    if _NAME.fullmatch(reference) and not Path(reference).is_file():
        return history(reference, folder)[-1]
    octets, _ = _read_result(reference)
    digest = hashlib.sha256(octets).hexdigest()
    for name in names(folder):
        for approval in history(name, folder):
            if approval.sha256 == digest:
                return approval
    raise LimitRefused(
        f"{sanitize(reference)}: nobody approved this result; approve it first with estim baseline "
        "approve"
    )


def compare(result: Result, approval: Approval) -> Result:
    """Return the result with a check `drift.FIGURE` for each figure of an approved one.

    Raises:
        UsageError: the two are not of the same thing.
    """
    document = result.document()
    for key in _SAME:
        if document[key] != approval.result.get(key):
            raise UsageError(
                f"baseline {approval.name}: {key} is {sanitize(str(approval.result.get(key)))} "
                f"there and {sanitize(str(document[key]))} here; expected the same"
            )
    earlier = {check["name"]: check for check in approval.result["checks"]}
    drifts = tuple(
        drift
        for check in result.checks
        if check.name in earlier
        for drift in [_drift(check, earlier[check.name], approval, result)]
        if drift is not None
    )
    checks = (*result.checks, *drifts)
    verdict = overall(checks)
    if verdict is Verdict.PASS and result.verdict is not Verdict.PASS:
        verdict = result.verdict
    return replace(result, checks=checks, verdict=verdict)


def _drift(
    check: Check, earlier: dict[str, Any], approval: Approval, result: Result
) -> Check | None:
    before, tolerance = earlier.get("measured"), check.tolerance
    if not isinstance(before, int | float) or check.measured is None or not tolerance:
        return None
    deviation = check.measured - before
    uncertainty = _repeatability(check, result, approval)
    allowed = DRIFT_SHARE * tolerance
    return replace(
        check,
        name=f"drift.{check.name}",
        expected=float(before),
        deviation=deviation,
        tolerance=allowed,
        uncertainty=uncertainty,
        verdict=decide(deviation, allowed, uncertainty),
        certainty="E",
        source=f"{DRIFT_SHARE:g} of the tolerance: proposal of this project",
        note=f"against {approval.name}, approved by {approval.who} on {approval.when}",
    )


def never_judged(approval: Approval) -> tuple[str, ...]:
    """Return the drifts that stay open even where the same instrument sees the same figures.

    Their uncertainty alone is more than may drift: whoever approves such a result should know.
    """
    instrument = approval.result.get("instrument")
    names = []
    for check in approval.result["checks"]:
        measured, tolerance = _figure(check.get("measured")), _figure(check.get("tolerance"))
        uncertainty = _figure(check.get("uncertainty"))
        if isinstance(instrument, dict):
            common = _common(str(check.get("unit")), measured, instrument)
            uncertainty = sqrt(max(0.0, uncertainty**2 - common**2))
        if tolerance and decide(0.0, DRIFT_SHARE * tolerance, uncertainty) is not Verdict.PASS:
            names.append(f"drift.{check['name']}")
    return tuple(names)


def _repeatability(check: Check, result: Result, approval: Approval) -> float:
    """Return the uncertainty of a difference: what one instrument does to both cancels."""
    uncertainty = check.uncertainty or 0.0
    instrument, then = result.instrument, approval.result.get("instrument")
    if instrument is None or not isinstance(then, dict) or then.get("serial") != instrument.serial:
        return uncertainty
    common = _common(check.unit, check.measured or 0.0, instrument.document())
    return sqrt(max(0.0, uncertainty**2 - common**2))


def _common(unit: str, measured: float, instrument: dict[str, Any]) -> float:
    """Return what an instrument's own error makes of a figure, alike in every capture."""
    if unit in ("uA", "pC"):
        percent = hypot(
            _figure(instrument.get("amplitude_uncertainty_percent")),
            _figure(instrument.get("load_uncertainty_percent")),
        )
        return percent / 100 * abs(measured)
    return _figure(instrument.get("time_uncertainty_ppm")) * 1e-6 * abs(measured)


def _figure(found: object) -> float:
    """Return a number of a file; 0 for what is none."""
    return float(found) if isinstance(found, int | float) else 0.0


def _path(name: str, folder: Path | None) -> Path:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"baseline {sanitize(name)[:64]!r}: expected 1 to 64 of lower-case letters, digits, "
            "'.', '_' and '-'"
        )
    return (folder or default_folder()) / f"{name}.jsonl"


def _read_result(path: str | Path) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of a result and what they hold."""
    shown = sanitize(str(path))
    try:
        octets = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"{shown}: {getattr(error, 'strerror', None) or error}") from None
    if len(octets) > _RESULT_MAX_BYTES:
        raise UsageError(f"{shown}: too large to be a result of estim measure --json")
    try:
        result = json.loads(octets)
        checks = result["checks"]
        sound = result["schema"] == SCHEMA and all(isinstance(c["name"], str) for c in checks)
        sound = sound and isinstance(result["verdict"], str)
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise UsageError(f"{shown}: expected the one line that estim measure --json prints")
    return octets, result
