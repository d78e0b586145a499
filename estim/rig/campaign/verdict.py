"""One verdict on each device of a campaign's table, and on all of them.

Rules:
1. A device that failed anything has failed, whatever else went wrong.
2. Where nothing failed, an error leaves the device without a verdict: rig or host are to be mended.
3. What was skipped counts for nothing; where nothing was tested there is no verdict either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from estim.rig.campaign.rows import ERROR, FAILED, PASSED

NO_VERDICT = "no verdict"
_BLAME_ORDER = ("device", "rig", "host", "operator", "unknown")


@dataclass(frozen=True, slots=True)
class DeviceVerdict:
    """What the rows of one device come to.

    Attributes:
        dut_serial: its serial number; where it was never told, its URL.
        verdict: 'passed', 'failed' or 'no verdict'.
        blame: whom the worst of its rows points at, '' where it passed.
        counts: of each outcome.
        reasons: `task: test: text` of what did not pass, each once, in the order of the table.
    """

    dut_serial: str
    verdict: str
    blame: str
    counts: dict[str, int]
    reasons: tuple[str, ...]


def judge(found: Sequence[dict[str, Any]]) -> list[DeviceVerdict]:
    """Return the verdict on each device of some rows.

    A row without a serial number is of the device that had the same URL otherwise.
    """
    serials = {row["device_url"]: row["dut_serial"] for row in found if row["dut_serial"]}
    devices: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        url = row["device_url"]
        devices.setdefault(row["dut_serial"] or serials.get(url, url), []).append(row)
    return [_of_device(serial, mine) for serial, mine in sorted(devices.items())]


def overall(verdicts: Sequence[DeviceVerdict]) -> tuple[str, str]:
    """Return the verdict on all devices, and whom it blames."""
    for verdict in (FAILED, NO_VERDICT):
        worst = [each.blame for each in verdicts if each.verdict == verdict]
        if worst:
            return verdict, min(worst, key=_BLAME_ORDER.index)
    return PASSED, ""


def _of_device(serial: str, mine: list[dict[str, Any]]) -> DeviceVerdict:
    counts = Counter(row["outcome"] for row in mine)
    told = Counter(
        ": ".join(part for part in _words(row) if part)
        for row in mine
        if row["outcome"] in (FAILED, ERROR)
    )
    reasons = tuple(
        text if count == 1 else f"{text} ({count} times)" for text, count in told.items()
    )
    verdict = next((each for each in (FAILED, ERROR, PASSED) if counts[each]), "")
    if verdict == PASSED:
        return DeviceVerdict(serial, PASSED, "", dict(counts), ())
    blames = [row["blame"] or "unknown" for row in mine if row["outcome"] == verdict]
    blame = min(blames, key=_BLAME_ORDER.index, default="rig")
    if verdict == FAILED:
        return DeviceVerdict(serial, FAILED, blame, dict(counts), reasons)
    return DeviceVerdict(
        serial, NO_VERDICT, blame, dict(counts), reasons or ("nothing was tested",)
    )


def _words(row: dict[str, Any]) -> tuple[str, ...]:
    test = "" if row["test"] == row["task"] else row["test"]
    return row["task"], test, row["text"]
