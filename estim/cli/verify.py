"""`estim verify JOB.toml`: a technician's job in one go, with a report to sign."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from estim.cli.console import complain
from estim.cli.desk import TerminalDesk
from estim.cli.failures import FAILED, INTERRUPTED
from estim.cli.interruption import Interruption
from estim.clock import SystemClock
from estim.errors import UsageError
from estim.prepare import places
from estim.profile.table import KeyProblem
from estim.record.ledger import open_ledger
from estim.rig.counts import counted
from estim.rig.jobs import course as kinds
from estim.rig.jobs.course import journal_path
from estim.rig.jobs.delivery import Interrupted
from estim.rig.jobs.job import Answers, LoadedJob, load_job
from estim.rig.jobs.walk import Walk
from estim.rig.jobs.written import report_path, write_reports
from estim.rig.reports import pdf

ANSWER_HINT = "say it under [answers], or with --answer NAME=WORD"
_YES_NO = {"yes": True, "no": False}


def run(arguments: Namespace) -> int:
    """Walk a job as far as it goes; return the exit code."""
    if arguments.pdf:
        pdf.check_available()
    path = Path(arguments.job)
    loaded = _with_answers(load_job(path), arguments.answer or [])
    job = loaded.job
    with (
        Interruption() as interruption,
        open_ledger(journal_path(loaded.folder, job.phase)) as ledger,
    ):
        desk = TerminalDesk(interruption, is_json=arguments.json, where=str(path), hint=ANSWER_HINT)
        walk = Walk(
            loaded,
            ledger,
            desk,
            SystemClock(),
            Path(arguments.records) if arguments.records else places.records_folder(),
            interruption.reason,
        )
        try:
            course = walk.run()
        except Interrupted:
            done = len(walk.course.steps)
            complain(
                f"{interruption.reason()}: the output is off, {done} of "
                f"{counted(len(walk.steps), 'step')} kept; the same command goes on from there"
            )
            return INTERRUPTED
        report = write_reports(loaded, course, with_pdf=arguments.pdf)
    desk.tell("result", **{key: found for key, found in report.items() if key != "schema"})
    desk.say(f"Verdict: {report['verdict']}")
    desk.say(f"Report:  {report_path(loaded, 'md')}")
    return 0 if report["verdict"] == kinds.PASS else FAILED


def _with_answers(loaded: LoadedJob, given: Sequence[str]) -> LoadedJob:
    """Return the job with the answers of the command line, which win over the file's."""
    held = loaded.job.answers
    answers: dict[str, Any] = {name: getattr(held, name) for name in Answers.model_fields}
    answers |= {name: dict(found) for name, found in answers.items() if isinstance(found, dict)}
    for text in given:
        name, separator, word = text.partition("=")
        table, _, key = name.partition(".")
        if not separator or not word:
            raise UsageError(f"--answer {text}: expected NAME=WORD, for example visual.case=pass")
        if table not in answers or bool(key) != isinstance(answers[table], dict):
            known = ", ".join(sorted(answers))
            raise UsageError(f"--answer {text}: there is no {name!r}; expected one of {known}")
        if key:
            answers[table][key] = _number(word) if table == "leakage_ua" else word
        else:
            answers[table] = _YES_NO.get(word, word)
    try:
        job = loaded.job.with_answers(Answers.model_validate(answers))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        expected = problem.get("ctx", {}).get("error") or problem["msg"]
        raise UsageError(f"--answer {place}: expected {expected}") from None
    except KeyProblem as error:
        raise UsageError(f"--answer {'.'.join(map(str, error.path[1:]))}: {error}") from None
    return LoadedJob(job, loaded.sha256, loaded.path, loaded.profiles)


def _number(word: str) -> Decimal | str:
    """Return a number as the model takes it; anything else as it stands, to be refused there."""
    try:
        return Decimal(word)
    except InvalidOperation:
        return word
