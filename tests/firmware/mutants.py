"""Mutation testing of the C gate: every mutant that is not equivalent must be noticed.

`python -m tests.firmware.mutants [--every N] [--file gate.c]`. The tests of this folder are run
once on the true core, which agrees with the simulator in every answer (core.Twins); their commands
are then played to each mutant, and one answer that differs kills it. What is equivalent stands in
`EQUIVALENT`, with why.

Prints one JSON object; exits 1 where a mutant lives that is not listed, or a listed one dies.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.firmware.core import C_FOLDER, SMALL, build

SCHEMA = "estim.mutants/1"
REPLAY_S = 60
CHUNK = 1 << 16
SHARPEST_FIRST = [
    f"tests/firmware/test_{name}.py"
    for name in ("forms", "kernel_and_core", "small", "vectors", "agreement", "scenes")
]
COMPILE = ("cc", "-std=c99", "-O1", "-w", "-I", str(C_FOLDER), "-c")

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
    (r" \|= ", (" = ", " &= ")),
    (r"\+\+", ("--",)),
    (r"--(?=;)", ("++",)),
    (r"\btrue\b", ("false",)),
    (r"\bfalse\b", ("true",)),
    (r"(?<=[ (=])-(?=[a-z])", ("",)),
    (r"(?<=\()!(?=[a-z])", ("",)),
    (r"\b(EST_LIMIT_\w+_(?:MAX|MIN))\b", (r"(\1 + 1U)", r"(\1 - 1U)")),
    (r"\b(EST_PHASE_CHARGE_\w+)\b", (r"(\1 + 1U)", r"(\1 - 1U)")),
    (r"(?<![\w\[])0U\b", ("1U",)),
    (r"(?<![\w\[])1U\b", ("0U", "2U")),
)
_STATEMENT = re.compile(r"^\s+(?:\(void\))?[\w>.\[\]*-]+(?: [+|^-]?= .+|\(.*\));$")
_KEPT = re.compile(r"^\s*(?:return\b|const\b|struct\b|uint|int|bool\b|enum\b)")

_TIE = "both are the same where they are equal"
_ZERO = "0 is neither way, and -0 is 0"
_REPLACED = "the first figure that is looked at takes its place"
_CLEARED = (
    "entering RUNNING reviews targets of 0, so what was found good before is forgotten anyway"
)

EQUIVALENT: dict[tuple[str, str], str] = {
    ("gate.c", line): why
    for why, lines in {
        _TIE: (
            "return (one <= other) ? one : other;",
            "found.period_max_us = (setting.pulse_period_us >= found.period_max_us)",
            "(setting.unit_us <= found.unit_min_us) ? setting.unit_us : found.unit_min_us;",
            "(lasts_us >= found.phase_max_us) ? lasts_us : found.phase_max_us;",
            "(share <= found.share_min_permille) ? share : found.share_min_permille;",
            "((last <= channel->pulses_per_burst) ? last : channel->pulses_per_burst);",
            "(full_at <= to) ? (uint16_t)full_at : to);",
            "return (uint32_t)((other >= most) ? other : most);",
            "second->largest = (quantity >= second->largest) ? quantity : second->largest;",
            "second->most_evenly = (evenly >= second->most_evenly) ? evenly : second->most_evenly;",
            "return (cycle_ms > (US_PER_S / US_PER_MS))",
        ),
        _ZERO: (
            "const uint32_t size_ua = (uint32_t)((current_ua <= 0) ? -current_ua : current_ua);",
            "} else if (forward_ua <= 0) {",
            "keep_worse(&worst, (net_pc > 0) ? net_pc : -net_pc, (int32_t)session_pc);",
        ),
        _REPLACED: (
            "struct extremes found = {UINT32_MAX, 1U, UINT32_MAX, 0U, UINT16_MAX, UINT16_MAX};",
            "struct extremes found = {UINT32_MAX, 0U, UINT32_MAX, 1U, UINT16_MAX, UINT16_MAX};",
            "uint32_t asked = 1U;",
            "uint32_t allowed = 1U;",
            "struct asked pulse = {1U, 0U, EST_LIMIT_PULSE_DURATION_US_MAX,",
            "struct asked range = {1U, 0U, 0U, EST_LIMIT_AMPLITUDE_UA_ID};",
            "struct asked range = {0U, 0U, 1U, EST_LIMIT_AMPLITUDE_UA_ID};",
        ),
        "only a figure above its bound is told, and that takes the place of any other": (
            "struct second squares = {0U, 1U};",
            "struct second charge = {1U, 0U};",
            "struct second charge = {0U, 1U};",
        ),
        "asked of active phases alone, and of two at a time: either way round is right": (
            "return channel->phases[phase].share_permille >= 0;",
            "return channel->phases[phase].share_permille <= 0;",
        ),
        "it is the first flag that is looked at": ("needed = EST_CAPABILITY_FLAG_HOLDS_BURST;",),
        "a pulse lasts longer than that": (
            "struct asked pulse = {0U, 1U, EST_LIMIT_PULSE_DURATION_US_MAX,",
        ),
        "a second in thousandths of a longer cycle, rounded up, is 1 too": (
            "return (cycle_ms >= (US_PER_S * US_PER_MS))",
        ),
        _CLEARED: (
            "for (index = 0U; index >= EST_CHANNELS; index++) {",
            "for (index = 1U; index < EST_CHANNELS; index++) {",
            "gate->figures[index].reviewed_ua = 1U;",
            "figures->reviewed_ua = 1U;",
        ),
    }.items()
    for line in lines
}
"""(file, mutated line without its indent): why nobody could tell it from the true one."""


@dataclass(frozen=True)
class Mutant:
    """One change of one line."""

    file: str
    number: int
    line: str

    @property
    def key(self) -> tuple[str, str]:
        """Return what `EQUIVALENT` knows it by."""
        return self.file, self.line.strip()


def main() -> int:
    """Try the mutants; return 1 where the list of equivalents is not right."""
    parser = argparse.ArgumentParser(prog="python -m tests.firmware.mutants")
    parser.add_argument("--file", action="append", help="default: gate.c")
    parser.add_argument("--every", type=int, default=1, help="try every Nth mutant")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--record", help="a record made before, instead of running the tests")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        record = Path(arguments.record) if arguments.record else _record(folder)
        trial = Trial(folder, record)
        mutants = [m for file in arguments.file or ["gate.c"] for m in mutants_of(file)]
        chosen = mutants[:: arguments.every]
        with ThreadPoolExecutor(arguments.jobs) as pool:
            fates = list(pool.map(trial.fate, chosen))
    alive = [m for m, fate in zip(chosen, fates, strict=True) if fate == "alive"]
    unlisted = [m for m in alive if m.key not in EQUIVALENT]
    wrongly_listed = [
        m for m, fate in zip(chosen, fates, strict=True) if m.key in EQUIVALENT and fate != "alive"
    ]
    for mutant in unlisted:
        print(f"alive: {mutant.file}:{mutant.number}: {mutant.line.strip()}", file=sys.stderr)
    for mutant in wrongly_listed:
        print(f"dies, though listed: {mutant.file}:{mutant.number}: {mutant.line.strip()}",
              file=sys.stderr)  # fmt: skip
    told = {
        "schema": SCHEMA,
        "mutants": len(chosen),
        "killed": fates.count("killed"),
        "does_not_compile": fates.count("broken"),
        "equivalent": len(alive) - len(unlisted),
        "alive": len(unlisted),
        "elapsed_s": round(time.monotonic() - began, 1),
    }
    print(json.dumps(told))
    return int(bool(unlisted or wrongly_listed))


def mutants_of(file: str) -> Iterator[Mutant]:
    """Give every mutant of a file, line by line."""
    is_comment = False
    for number, line in enumerate((C_FOLDER / file).read_text().splitlines(), start=1):
        is_comment = is_comment or line.lstrip().startswith("/*")
        if not is_comment and line.strip() and not line.startswith("#"):
            code = line.partition(" /*")[0]
            seen = {line}
            for changed in _changes(code):
                if changed not in seen:
                    seen.add(changed)
                    yield Mutant(file, number, changed)
        if "*/" in line:
            is_comment = False


def _changes(code: str) -> Iterator[str]:
    for pattern, replacements in _SWAPS:
        for match in re.finditer(pattern, code):
            for replacement in replacements:
                yield code[: match.start()] + match.expand(replacement) + code[match.end() :]
    if _STATEMENT.match(code) and not _KEPT.match(code):
        yield code[: len(code) - len(code.lstrip())] + ";"


class Trial:
    """Play the record to mutants of the full core and of the small one."""

    def __init__(self, folder: Path, record: Path) -> None:
        self._folder = folder
        self._streams: dict[str, tuple[Path, Path]] = {}
        for name, variables in (("full", ()), ("small", (f"DEFINES={SMALL}",))):
            build("lockstep", folder / name, "CC=cc", "CFLAGS=-O1", *variables)
            lines = (record.parent / f"{record.name}.{name}").read_text().splitlines()
            commands, answers = folder / f"{name}.commands", folder / f"{name}.answers"
            commands.write_text("".join(f"{line[2:]}\n" for line in lines if line[0] == ">"))
            answers.write_text("".join(f"{line}\n" for line in lines if line[0] != ">"))
            self._streams[name] = commands, answers
            assert self._is_unnoticed(name, folder / name / "lockstep"), "the record is stale"

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

    def _is_unnoticed(self, name: str, binary: Path) -> bool:
        """Play all commands; end with the first answer that differs."""
        commands, answers = self._streams[name]
        with (
            commands.open("rb") as stream,
            answers.open("rb") as expected,
            subprocess.Popen(
                ["timeout", str(REPLAY_S), binary],
                stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            ) as played,
        ):  # fmt: skip
            assert played.stdout is not None
            while (told := played.stdout.read(CHUNK)) == expected.read(CHUNK):
                if not told:
                    return played.wait() == 0
            played.stdout.close()
            played.kill()
            return False


def _record(folder: Path) -> Path:
    """Run the tests on the true core, and keep what it was told and what it answered."""
    record = folder / "record"
    subprocess.run(
        [sys.executable, "-m", "pytest", *SHARPEST_FIRST, "-q", "-p", "no:cacheprovider"],
        cwd=C_FOLDER.parents[1], check=True, stdout=subprocess.DEVNULL,
        env=os.environ | {"ESTIM_FIRMWARE_RECORD": str(record)},
    )  # fmt: skip
    return record


if __name__ == "__main__":
    sys.exit(main())
