"""`estim protocols`: the guided visits that are shipped, one of them whole, and whether files are.

A file that is no protocol counts 2; what it names must exist too, and be fit for a person.
"""

from __future__ import annotations

from argparse import Namespace

from estim.cli.console import complain, say, say_json, say_table, say_wrapped
from estim.cli.profile_figures import neuropathy_words
from estim.errors import ProfileError
from estim.profile.models import NOT_REVIEWED
from estim.visit.protocol import LoadedProtocol, Step, find, load, shipped, shipped_ids

SUMMARY_SCHEMA = "estim.protocol-summary/1"
SHOW_SCHEMA = "estim.protocol/1"
CHECK_SCHEMA = "estim.protocol-check/1"
WALKED = "It is walked on the technician's bench: estim, p, t on a profile, Acceptance test."


def run_list(arguments: Namespace) -> int:
    """Print every shipped protocol.

    Raises:
        ProfileError: one of them is damaged.
    """
    found = shipped()
    if arguments.json:
        for loaded in found:
            protocol = loaded.protocol
            say_json(
                SUMMARY_SCHEMA,
                **loaded.facts,
                title=protocol.title,
                visit=protocol.visit,
                indications=list(protocol.indications),
                profiles=_profiles(loaded),
                review_status=protocol.review_status,
            )
        return 0
    say_table(
        ("id", "visit", "steps", "title"),
        [
            (each.protocol.id, each.protocol.visit, str(len(each.protocol.steps)),
             each.protocol.title)
            for each in found
        ],
        giving=("steps",),
        folding=("title",),
    )  # fmt: skip
    say()
    bench = [each.protocol.id for each in found if not each.protocol.is_for_people]
    say(f"{', '.join(bench)}: for the bench. {WALKED}")
    if all(each.protocol.review_status == NOT_REVIEWED for each in found):
        say("None of these protocols has been reviewed by a clinician.")
    return 0


def run_show(arguments: Namespace) -> int:
    """Print one protocol, step after step.

    Raises:
        ProfileError: there is no such protocol, or it cannot be used.
    """
    loaded = find(arguments.protocol)
    if arguments.json:
        parameters = loaded.protocol.model_dump(mode="json", by_alias=True, exclude_none=True)
        say_json(SHOW_SCHEMA, **loaded.facts, file=loaded.path, parameters=parameters)
    else:
        _say_protocol(loaded)
    return 0


def run_check(arguments: Namespace) -> int:
    """Check every file; say of each that it is fine, or the one thing that is wrong with it."""
    codes = []
    for name in arguments.protocols:
        code, problem = 0, ""
        try:
            find(name) if name in shipped_ids() else load(name)
        except ProfileError as error:
            code, problem = error.exit_code, str(error)
            complain(problem)
        codes.append(code)
        if arguments.json:
            say_json(CHECK_SCHEMA, file=name, exit_code=code, problem=problem)
        elif not code:
            say(f"ok  {name}")
    return max(codes)


def _profiles(loaded: LoadedProtocol) -> list[str]:
    return list(dict.fromkeys(name for step in loaded.protocol.steps for name in step.profiles))


def _say_protocol(loaded: LoadedProtocol) -> None:
    protocol = loaded.protocol
    say(f"{protocol.title}  ({protocol.id} {protocol.version})")
    if protocol.review_status == NOT_REVIEWED:
        review = NOT_REVIEWED.upper()
    else:
        review = f"The file says: {protocol.review_status}; Estim cannot check this"
    say(f"*** {review}. Estim is not a certified medical device. ***")
    if not protocol.is_for_people:
        say("FOR THE BENCH ONLY: a dummy load, and nobody connected")
        say(WALKED)
    say(f"{protocol.visit} visit; for {', '.join(protocol.indications)}")
    if protocol.neuropathy is not None:
        say(neuropathy_words(protocol.neuropathy))
    say(f"file {loaded.path}")
    say(f"sha256 {loaded.sha256}")
    say_wrapped(protocol.summary, 0)
    say_wrapped(f"[{protocol.basis.certainty}] {protocol.basis.source}", 0)
    for number, step in enumerate(protocol.steps, start=1):
        say()
        _say_step(number, step)


def _say_step(number: int, step: Step) -> None:
    marks = [step.kind.replace("_", " "), *([step.when] if step.when else [])]
    if step.may_skip:
        marks.append("may be left out, with a reason")
    say(f"{number}. {step.title}  ({'; '.join(marks)})")
    say_wrapped(f"Why: {step.why}")
    say_wrapped(f"Do: {step.do}")
    if step.gates != "nothing":
        say_wrapped(f"Gates: {step.gates}")
    for check in step.checks:
        command = f" `{check.command}`" if check.command else ""
        say_wrapped(f"- {check.name}: {check.do}{command} Expected: {check.expect}", 4)
    for exercise in step.exercises:
        say_wrapped(f"- {exercise.name}: {exercise.do} ({exercise.dose})", 4)
    for point in (*step.instruments, *step.profiles, *step.adjuncts, *step.points):
        say_wrapped(f"- {point}", 4)
