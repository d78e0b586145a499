"""`estim campaign`: the same tasks on several devices at once, and one table of what came out."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from estim.cli.arguments import whole
from estim.cli.console import complain, say, say_json, say_table, say_wrapped
from estim.cli.failures import FAILED, INTERRUPTED
from estim.cli.interruption import Interruption
from estim.drivers import registry
from estim.errors import LimitRefused, RigFault, UsageError
from estim.rig.campaign import entry, queries, rows, verdict
from estim.rig.campaign.rows import ERROR, SCHEMA, Row
from estim.rig.campaign.rows import FAILED as ROW_FAILED
from estim.rig.campaign.rows import PASSED as ROW_PASSED
from estim.rig.campaign.runner import Campaign, Plan
from estim.rig.campaign.tasks import task_for
from estim.text import sanitize

OHM_MAX = 1_000_000
REPETITIONS_MAX = 100_000
TIMEOUT_MAX_S = 86_400
EXIT_CODE_MAX = 255
VERDICT_SCHEMA = "estim.campaign-verdict/1"
_MISSING = (
    "a campaign is for the bench: add --bench OHM, the dummy load on every channel, and "
    "--nobody-connected"
)


def run(arguments: Namespace) -> int:
    """Run every task on every device; return 1 where anything did not pass.

    Raises:
        LimitRefused: load and nobody were not declared.
        UsageError: the command line makes no sense.
    """
    if arguments.bench is None or not arguments.nobody_connected:
        raise LimitRefused(_MISSING)
    bench_ohm = whole("--bench", arguments.bench, 1, OHM_MAX)
    plan = Plan(
        devices=_devices(arguments.device or []),
        tasks=[task_for(text, bench_ohm) for text in arguments.task],
        repetitions=whole("--repeat", arguments.repeat, 1, REPETITIONS_MAX),
        folder=Path(arguments.out),
        timeout_s=whole("--timeout", arguments.timeout, 1, TIMEOUT_MAX_S),
    )
    teller = _Teller(is_json=arguments.json)
    with Interruption() as interruption:
        Campaign(plan, interruption.reason, teller.tell).run()
        reason = interruption.reason()
    teller.end()
    if reason:
        complain(f"{reason}: every device was stopped; what had ended is in {plan.folder}")
        return INTERRUPTED
    return FAILED if teller.counts[ROW_FAILED] or teller.counts[ERROR] else 0


def run_add(arguments: Namespace) -> int:
    """Enter what a command said; return 0 whatever that was: the verdict comes later."""
    found = entry.enter(
        Path(arguments.folder),
        Path(arguments.junit) if arguments.junit else None,
        task=arguments.task,
        url=arguments.device,
        exit_code=whole("--exit-code", arguments.exit_code, 0, EXIT_CODE_MAX),
        text=arguments.text,
    )
    teller = _Teller(is_json=arguments.json)
    for row in found:
        teller.tell(row)
    teller.end()
    return 0


def run_verdict(arguments: Namespace) -> int:
    """Print the verdict; return 0 for passed, 1 for failed, 3 where there is none.

    Raises:
        UsageError: there is no table.
    """
    found = rows.read(Path(arguments.folder))
    if not found:
        raise UsageError(f"{arguments.folder}: no campaign has left rows there")
    verdicts = verdict.judge(found)
    word, blame = verdict.overall(verdicts)
    if arguments.json:
        devices = [asdict(each) for each in verdicts]
        say_json(VERDICT_SCHEMA, verdict=word, blame=blame, devices=devices)
    else:
        for each in verdicts:
            counts = ", ".join(f"{count} {name}" for name, count in sorted(each.counts.items()))
            say(f"{each.dut_serial}: {_said(each.verdict, each.blame)}: {counts}")
            for reason in each.reasons:
                say_wrapped(sanitize(reason))
        say(f"VERDICT: {_said(word, blame)}")
    return {ROW_PASSED: 0, ROW_FAILED: FAILED}.get(word, RigFault.exit_code)


def _said(word: str, blame: str) -> str:
    return f"{word}, blame: {blame}" if blame else word


def run_flakes(arguments: Namespace) -> int:
    """Print the flake rate by test, rig or device."""
    return _print(queries.flakes(Path(arguments.folder), arguments.by), is_json=arguments.json)


def run_query(arguments: Namespace) -> int:
    """Print what a question in SQL gets."""
    return _print(queries.query(Path(arguments.folder), arguments.sql), is_json=arguments.json)


class _Teller:
    """Say each row as it comes."""

    def __init__(self, *, is_json: bool) -> None:
        self.counts: Counter[str] = Counter()
        self._is_json = is_json

    def tell(self, row: Row) -> None:
        """Take a row."""
        self.counts[row.outcome] += 1
        if self._is_json:
            say_json(SCHEMA, event="row", **asdict(row))
        else:
            reason = f": {row.text} ({row.blame})" if row.text else ""
            say(f"{row.outcome:8} {row.dut_serial or row.device_url}  {row.test}{reason}")
        sys.stdout.flush()

    def end(self) -> None:
        """Say how many there were of each kind."""
        if self._is_json:
            say_json(SCHEMA, event="result", **self.counts)
        else:
            say(", ".join(f"{count} {name}" for name, count in sorted(self.counts.items())))


def _devices(urls: list[str]) -> list[str]:
    if not urls:
        raise UsageError("--device: expected at least one URL")
    for url in urls:
        registry.driver_name(url)
        if urls.count(url) > 1 and not url.startswith("sim:"):
            raise UsageError(f"--device {url}: given twice; a device does one thing at a time")
    return urls


def _print(table: queries.Table, *, is_json: bool) -> int:
    names, found = table
    if is_json:
        for row in found:
            cells = (cell if isinstance(cell, int | float) else str(cell) for cell in row)
            say_json("estim.campaign-answer/1", **dict(zip(names, cells, strict=True)))
    else:
        say_table(names, [[str(cell) for cell in row] for row in found])
    return 0
