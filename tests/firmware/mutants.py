"""Mutation testing of the C gate: every mutant that is not equivalent must be noticed.

`python -m tests.firmware.mutants [--every N] [--file gate.c]`. The tests of this folder are run
once on the true core, which agrees with the simulator in every answer (core.Twins); their commands
are then played to each mutant, and one answer that differs kills it, as does an index out of bounds
(all is compiled so that undefined behaviour ends the process) or many times the true core's time.
What is equivalent stands in `EQUIVALENT`, with why.

Prints one JSON object; exits 1 where a mutant lives that is not listed, or where one is listed that
dies or is none; those are told on standard error as they are found.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.firmware.core import C_FOLDER, SMALL, build

SCHEMA = "estim.mutants/2"
FILES = ("gate.c", "figures.c", "switched.c")
CHUNK = 1 << 16
SHARPEST_FIRST = [
    f"tests/firmware/test_{name}.py"
    for name in ("gate", "drives", "forms", "kernel_and_core", "small", "scenes")
]
FLAGS = (
    "-O1",
    "-fsanitize=undefined,bounds-strict",
    "-fsanitize-undefined-trap-on-error",
)
COMPILE = ("cc", "-std=c99", *FLAGS, "-w", "-I", str(C_FOLDER), "-c")

# A mutant may take so much more processor time than the true core; at least some seconds.
TIMES_THE_TRUE = 5
LEAST_S = 3

# (pattern, what takes its place): each match on each line of code is one mutant.
_SWAPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r" <= ", (" < ", " > ")),
    (r" < ", (" <= ", " >= ")),
    (r" >= ", (" > ", " < ")),
    (r" > ", (" >= ", " <= ")),
    (r" == ", (" != ",)),
    (r" != ", (" == ",)),
    (r" && ", (" || ",)),
    (r" \|\| ", (" && ",)),
    (r" \+ ", (" - ",)),
    (r"(?<=[\w\)\]]) - ", (" + ",)),
    (r"(?<=[\w\)\]]) \* ", (" + ",)),
    (r" / ", (" * ",)),
    (r" % ", (" / ",)),
    (r" \+= ", (" = ", " -= ")),
    (r" -= ", (" = ", " += ")),
    (r" \|= ", (" = ", " &= ")),
    (r"\+\+", ("--",)),
    (r"--(?=;)", ("++",)),
    (r"\btrue\b", ("false",)),
    (r"\bfalse\b", ("true",)),
    (r"(?<=[ (=])-(?=[a-z])", ("",)),
    (r"(?<=\()!(?=[a-z])", ("",)),
    (r"\b(EST_LIMIT_\w+_(?:MAX|MIN))\b", (r"(\1 + 1U)", r"(\1 - 1U)")),
    (r"\b(EST_PHASE_CHARGE_\w+|EST_FULL_PERMILLE|[UM]S_PER_M?S)\b", (r"(\1 + 1U)", r"(\1 - 1U)")),
    (r"(?<![\w\[])0U\b", ("1U",)),
    (r"(?<![\w\[])1U\b", ("0U", "2U")),
)
_STATEMENT = re.compile(r"^\s+(?:\(void\))?[\w>.\[\]*-]+(?: [+|^-]?= .+|\(.*\));$")
_KEPT = re.compile(r"^\s*(?:return\b|const\b|struct\b|uint|int|bool\b|enum\b)")
_FUNCTION = re.compile(r"^\w.*?(\w+)\(")

_TIE = "both are the same where they are equal"
_LOOK = """whether it pays to look for a stretch above its limit: none carries more than half of all
charge, and one that carries a pC more than the base has a strong phase, so it may carry 28000 pC/us
x 10 us above the base; and 2e9 fits 32 bits"""

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (file, function, line): why
    for (file, function, why), lines in {
        ("figures.c", "est_least", _TIE): ("return (one <= other) ? one : other;",),
        ("figures.c", "greatest", _TIE): ("return (one >= other) ? one : other;",),
        ("figures.c", "est_find_extremes", _TIE): (
            "if (setting.pulse_period_us >= found.period_max_us) {",
            "if (lasts_us >= found.phase_max_us) {",
        ),
        (
            "figures.c",
            "pulses_in_bursts",
            """they differ where the window ends just at the onset of a burst's last pulse: with one
            slow pulse more skipped that pulse is in it, and makes up for the one""",
        ): (
            "if (rest_us >= full_us) {",
            "const uint32_t rest_us = (US_PER_S + 1U) % channel->burst_period_us;",
        ),
        ("figures.c", "est_find_flows", "0 is neither way, and -0 is 0"): (
            "flows->charge_pc += "
            "(uint32_t)((flow->charge_pc <= 0) ? -flow->charge_pc : flow->charge_pc);",
        ),
        ("figures.c", "est_worst_stretch", "no current carries no charge, to either direction"): (
            "} else if (flow->current_ua >= 0) {",
        ),
        (
            "figures.c",
            "est_worst_stretch",
            """where both directions carry the same, either without its weak phases carries nothing:
            it is above no limit""",
        ): ("if (net_pc >= 0) {",),
        ("gate.c", "figures_digest", "it is compared with itself alone, from any start"): (
            "return est_crc32(1U, (const uint8_t *)gate->figures, (uint16_t)sizeof gate->figures);",
        ),
        (
            "gate.c",
            "review_second",
            """squares are even: each is odd where its charge is, and charges add up to 0; so are
            whole millions, and what rounds down to one is not parted by 1""",
        ): ("square_root((squares - 2U) / US_PER_S) + 1U, limits->rms_ua);",),
        ("gate.c", "review_charge", _LOOK): (
            "if ((flows->charge_pc / 2U) >= est_least(session_pc, EST_PHASE_CHARGE_BASE_PC)) {",
            "if ((flows->charge_pc * 2U) > est_least(session_pc, EST_PHASE_CHARGE_BASE_PC)) {",
            "if ((flows->charge_pc / 2U) > "
            "est_least(session_pc, (EST_PHASE_CHARGE_BASE_PC + 1U))) {",
            "if ((flows->charge_pc / 2U) > "
            "est_least(session_pc, (EST_PHASE_CHARGE_BASE_PC - 1U))) {",
        ),
        (
            "gate.c",
            "est_gate_review_target",
            "a target is judged again, with the same verdict, each time that a host repeats it",
        ): ("; /* without gate->reviewed_ua[channel] = target_ua; */",),
        ("switched.c", "smallest_share", _TIE): (
            "smallest = (share <= smallest) ? share : smallest;",
        ),
        (
            "switched.c",
            "shortest_gap_us",
            """a pulse begins with an active phase: its share is not the 0 that stands before it,
            and the count begins anew with it""",
        ): ("uint32_t gap_us = 1U;",),
    }.items()
    for line in lines
}
"""(file, function, mutated line without its indent): why nobody could tell it from the true one."""


@dataclass(frozen=True)
class Mutant:
    """One change of one line."""

    file: str
    function: str
    number: int
    line: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what `EQUIVALENT` knows it by."""
        return self.file, self.function, self.line.strip()

    def __str__(self) -> str:
        return f"{self.file}:{self.number}: {self.function}: {self.line.strip()}"


def main() -> int:
    """Try the mutants; return 1 where the list of equivalents is not right."""
    parser = argparse.ArgumentParser(prog="python -m tests.firmware.mutants")
    parser.add_argument("--file", action="append", help=f"default: {' '.join(FILES)}")
    parser.add_argument("--every", type=int, default=1, help="try every Nth mutant")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--record", help="a record made before, instead of running the tests")
    arguments = parser.parse_args()
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, _leave)
    began = time.monotonic()
    mutants = [m for file in arguments.file or FILES for m in mutants_of(file)]
    known = {m.key for m in mutants}
    files = {m.file for m in mutants}
    problems = [
        f"listed, and no mutant: {key}" for key in set(EQUIVALENT) - known if key[0] in files
    ]
    fates: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        record = Path(arguments.record) if arguments.record else _record(folder)
        trial = Trial(folder, record)
        with ThreadPoolExecutor(arguments.jobs) as pool:
            try:
                chosen = mutants[:: arguments.every]
                for mutant, fate in zip(chosen, pool.map(trial.fate, chosen), strict=True):
                    fates.append(fate)
                    if (fate == "alive") is not (mutant.key in EQUIVALENT):
                        problem = "alive" if fate == "alive" else "listed, and dies"
                        problems.append(f"{problem}: {mutant}")
                        print(problems[-1], file=sys.stderr, flush=True)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                trial.end()
                raise
    unlisted = sum(problem.startswith("alive") for problem in problems)
    told = {
        "schema": SCHEMA,
        "mutants": len(fates),
        "killed": fates.count("killed"),
        "does_not_compile": fates.count("broken"),
        "equivalent": fates.count("alive") - unlisted,
        "alive": unlisted,
        "problems": problems,
        "elapsed_s": round(time.monotonic() - began, 1),
    }
    print(json.dumps(told))
    return int(bool(problems))


def mutants_of(file: str) -> Iterator[Mutant]:
    """Give every mutant of a file, line by line."""
    is_comment = False
    function = ""
    for number, line in enumerate((C_FOLDER / file).read_text().splitlines(), start=1):
        is_comment = is_comment or line.lstrip().startswith("/*")
        if not is_comment and line.strip() and not line.startswith("#"):
            if begun := _FUNCTION.match(line):
                function = begun[1]
            code = line.partition(" /*")[0]
            seen = {line}
            for changed in _changes(code):
                if changed not in seen:
                    seen.add(changed)
                    yield Mutant(file, function, number, changed)
        if "*/" in line:
            is_comment = False


def _changes(code: str) -> Iterator[str]:
    for pattern, replacements in _SWAPS:
        for match in re.finditer(pattern, code):
            for replacement in replacements:
                yield code[: match.start()] + match.expand(replacement) + code[match.end() :]
    if _STATEMENT.match(code) and not _KEPT.match(code):
        yield f"    ; /* without {code.strip()} */"


class Trial:
    """Play the record to mutants of the full core and of the small one."""

    def __init__(self, folder: Path, record: Path) -> None:
        self._folder = folder
        self._streams: dict[str, tuple[Path, Path]] = {}
        self._limits_s: dict[str, int | str] = {}
        self._playing: set[subprocess.Popen[bytes]] = set()
        for name, variables in (("full", ()), ("small", (f"DEFINES={SMALL}",))):
            build("lockstep", folder / name, "CC=cc", f"CFLAGS={' '.join(FLAGS)}", *variables)
            lines = (record.parent / f"{record.name}.{name}").read_text().splitlines()
            commands, answers = folder / f"{name}.commands", folder / f"{name}.answers"
            commands.write_text("".join(f"{line[2:]}\n" for line in lines if line[0] == ">"))
            answers.write_text("".join(f"{line}\n" for line in lines if line[0] != ">"))
            self._streams[name] = commands, answers
            self._limits_s[name] = "unlimited"
            before_s = _children_s()
            assert self._is_unnoticed(name, folder / name / "lockstep"), "the record is stale"
            true_s = _children_s() - before_s
            self._limits_s[name] = max(LEAST_S, math.ceil(TIMES_THE_TRUE * true_s))

    def fate(self, mutant: Mutant) -> str:
        """Return 'killed', 'alive', or 'broken' where it does not compile."""
        lines = (C_FOLDER / mutant.file).read_text().splitlines()
        lines[mutant.number - 1] = mutant.line
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            source = Path(scratch) / mutant.file
            source.write_text("\n".join(lines) + "\n")
            for name, defines in (("full", ""), ("small", SMALL)):
                binary = Path(scratch) / name
                objects = [
                    path
                    for path in (self._folder / name).glob("*.o")
                    if path.name not in (source.with_suffix(".o").name, "main.o")
                ]
                made = source.with_suffix(".o")
                compiled = subprocess.run(
                    [*COMPILE, *defines.split(), source, "-o", made],
                    capture_output=True,
                    check=False,
                )
                if compiled.returncode:
                    return "broken"
                subprocess.run(["cc", made, *objects, "-o", binary], check=True)
                if not self._is_unnoticed(name, binary):
                    return "killed"
        return "alive"

    def end(self) -> None:
        """End what still plays."""
        for played in tuple(self._playing):
            played.kill()

    def _is_unnoticed(self, name: str, binary: Path) -> bool:
        """Play all commands; end with the first answer that differs.

        The limit is the system's, so that no mutant outlasts this process by more, however it ends.
        """
        commands, answers = self._streams[name]
        limited = f'ulimit -c 0 && ulimit -t {self._limits_s[name]} && exec "$0"'
        with (
            commands.open("rb") as stream,
            answers.open("rb") as expected,
            subprocess.Popen(
                ["sh", "-c", limited, binary],
                stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            ) as played,
        ):  # fmt: skip
            self._playing.add(played)
            try:
                assert played.stdout is not None
                while (told := played.stdout.read(CHUNK)) == expected.read(CHUNK):
                    if not told:
                        return played.wait() == 0
                return False
            finally:
                played.kill()
                self._playing.remove(played)


def _children_s() -> float:
    """Return the processor time of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _record(folder: Path) -> Path:
    """Run the tests on the true core, and keep what it was told and what it answered.

    Nothing that Hypothesis draws: no mutant lives or dies by luck.
    """
    record = folder / "record"
    subprocess.run(
        [sys.executable, "-m", "pytest", *SHARPEST_FIRST, "-q", "-p", "no:cacheprovider",
         "-m", "not hypothesis"],
        cwd=C_FOLDER.parents[1], check=True, stdout=subprocess.DEVNULL,
        env=os.environ | {"ESTIM_FIRMWARE_RECORD": str(record)},
    )  # fmt: skip
    return record


def _leave(asked: int, _frame: FrameType | None) -> None:
    sys.exit(128 + asked)


if __name__ == "__main__":
    sys.exit(main())
