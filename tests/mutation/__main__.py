"""Mutation testing of the kernel and of the gate in Python: every mutant must be noticed.

`python -m tests.mutation [--every N] [--file estim/safety/kernel.py] [--jobs N]`. Each mutant is
tried in a process of its own, forked where the tests are loaded already: the functions that differ
are exchanged there, and the tests that call them played until one fails. What Python works out
while it loads a module (tables, constants) cannot be exchanged; there the tests are loaded anew.
A mutant that takes many times the true one's time is noticed too.

Only tests whose arguments are all written down play: no fixture, and nothing that Hypothesis
draws, so no mutant lives or dies by luck. What is equivalent stands in equivalent.toml, with why.

Prints one JSON object; exits 1 where a mutant lives that is not listed, or where one is listed that
dies or is none; those are told on standard error as they are found.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import pickle
import re
import resource
import signal
import sys
import time
import tomllib
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.changes import Members, Mutant, mutants_of

SCHEMA = "estim.mutants-python/1"
ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("equivalent.toml")

_SAFETY = ("tests/safety",)
_GATE = ("tests/simulator/test_gate_alone.py", "tests/simulator/test_gate.py", "tests/safety")
_FORM = ("tests/protocol", "tests/safety")
FILES: dict[str, tuple[str, ...]] = {
    "estim/safety/bounds.py": _SAFETY,
    "estim/safety/checks.py": _SAFETY,
    "estim/safety/figures.py": _SAFETY,
    "estim/safety/kernel.py": _SAFETY,
    "estim/safety/verdict.py": _SAFETY,
    "estim/simulator/gate.py": _GATE,
    "firmware_protocol/program.py": _FORM,
    "firmware_protocol/capabilities.py": _FORM,
    "firmware_protocol/session_limits.py": _FORM,
}
"""What can be mutated, and the tests that judge it."""

HELD = tuple(file for file in FILES if file.startswith("estim/"))
"""What is held to the list of equivalents; the others are tried where they are named."""

NAMED_IN = ("firmware_protocol/messages.py", "estim/safety/bounds.py", "estim/safety/kernel.py")
"""Where the enumerations stand whose members are taken for each other."""

# A test may take so much more processor time than with the true code; at least some seconds.
TIMES_THE_TRUE = 20
LEAST_S = 2.0
MEMORY_BYTES = 4 << 30

ALIVE, KILLED, BROKEN = 0, 1, 2
FATES = {ALIVE: "alive", KILLED: "killed"}


def main() -> int:
    """Try the mutants; return 1 where the list of equivalents is not right."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--file", action="append", help=f"default: {' '.join(HELD)}")
    parser.add_argument("--function", help="of these functions alone (how the name begins)")
    parser.add_argument("--again", action="append", help="only what lived, by this result")
    parser.add_argument("--every", type=int, default=1, help="try every Nth mutant")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    os.chdir(ROOT)
    began = time.monotonic()
    files = arguments.file or list(HELD)
    mutants = [mutant for file in files for mutant in all_of(file)]
    if arguments.function:
        mutants = [m for m in mutants if m.function.startswith(arguments.function)]
    if arguments.again:
        told_alive = {_unnumbered(line) for path in arguments.again for line in _problems(path)}
        mutants = [m for m in mutants if _unnumbered(f"alive: {m}") in told_alive]
    equivalent = listed()
    known = {mutant.key for mutant in mutants}
    problems = []
    if not arguments.function and not arguments.again:
        problems = [f"listed, and no mutant: {key}" for key in set(equivalent) - known
                    if key[0] in files]  # fmt: skip
    counts = {"alive": 0, "killed": 0}
    for mutant, fate in fates(mutants[:: arguments.every], arguments.jobs):
        counts[fate] += 1
        if (fate == "alive") is not (mutant.key in equivalent):
            problem = "alive" if fate == "alive" else "listed, and dies"
            problems.append(f"{problem}: {mutant}")
            print(problems[-1], file=sys.stderr, flush=True)
    unlisted = sum(problem.startswith("alive") for problem in problems)
    told = {
        "schema": SCHEMA,
        "mutants": sum(counts.values()),
        "killed": counts["killed"],
        "equivalent": counts["alive"] - unlisted,
        "alive": unlisted,
        "problems": problems,
        "elapsed_s": round(time.monotonic() - began, 1),
    }
    print(json.dumps(told))
    return int(bool(problems))


def _problems(path: str) -> list[str]:
    """Return what a result, the last line of a file, told."""
    told: list[str] = json.loads(Path(path).read_text().splitlines()[-1])["problems"]
    return told


def _unnumbered(problem: str) -> str:
    """Leave the number of the line away: it changes with what stands above."""
    return re.sub(r":\d+: ", ": ", problem, count=1)


def all_of(file: str) -> list[Mutant]:
    """Return every mutant of a file of this checkout."""
    return mutants_of(file, (ROOT / file).read_text(), members())


def members() -> Members:
    """Return the members of every enumeration, and the limits, as the sources name them."""
    found: dict[str, tuple[str, ...]] = {}
    for file in NAMED_IN:
        for node in ast.parse((ROOT / file).read_text()).body:
            bases = [ast.unparse(base) for base in getattr(node, "bases", ())]
            if isinstance(node, ast.ClassDef) and {"Enum", "IntEnum", "IntFlag"} & set(bases):
                found[node.name] = tuple(_assigned(node.body, ast.expr))
    body = ast.parse((ROOT / "firmware_protocol/limits.py").read_text()).body
    found["limits"] = tuple(name for name in _assigned(body, ast.Call) if name.islower())
    return found


def _assigned(body: Sequence[ast.stmt], kind: type[ast.expr]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.value, kind):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id


def listed() -> dict[tuple[str, str, str, str], str]:
    """Return why each mutant on the list is equivalent."""
    entries = tomllib.loads(LIST.read_text()).get("equivalent", [])
    found: dict[tuple[str, str, str, str], str] = {}
    for entry in entries:
        for changed in entry["changed"]:
            key = entry["file"], entry["function"], entry["line"], changed
            assert key not in found, f"listed twice: {key}"
            found[key] = entry["why"]
    return found


def fates(mutants: list[Mutant], jobs: int) -> Iterator[tuple[Mutant, str]]:
    """Try mutants; give each with 'alive' or 'killed'.

    This process itself never loads the tests: what is tried by exchanging is tried from a child.
    One that lives there, in a function that was called while the tests were loaded, is tried again
    by loading them anew.
    """
    if not mutants:
        return
    at_load = _preload([mutant.file for mutant in mutants])
    anew = [mutant for mutant in mutants if not _differing(mutant)]
    parts = [mutant for mutant in mutants if _differing(mutant)]
    for mutant, fate in _exchanged(parts, jobs) if parts else ():
        if fate == "alive" and any(_name(true) in at_load for true, _ in _differing(mutant)):
            anew.append(mutant)
        else:
            yield mutant, fate
    if anew:
        _assert_true_ones_live(anew, jobs, _try_loading)
        yield from _forked(anew, jobs, _try_loading)


def _exchanged(mutants: list[Mutant], jobs: int) -> Iterator[tuple[Mutant, str]]:
    """Load the tests in a child and try mutants there."""
    receiving, sending = os.pipe()

    def try_all() -> int:
        with os.fdopen(sending, "w", buffering=1) as pipe:
            trial = Trial([mutant.file for mutant in mutants])
            _assert_true_ones_live(mutants, jobs, trial.fate)
            numbers = {mutant: number for number, mutant in enumerate(mutants)}
            for mutant, fate in _forked(mutants, jobs, trial.fate):
                print(numbers[mutant], fate, file=pipe)
        return 0

    pid = _child(try_all, is_silent=False)
    os.close(sending)
    try:
        with os.fdopen(receiving) as pipe:
            for line in pipe:
                number, fate = line.split()
                yield mutants[int(number)], fate
    except BaseException:
        os.kill(pid, signal.SIGTERM)
        raise
    assert os.waitpid(pid, 0)[1] == 0, "the mutants could not all be tried"


def _assert_true_ones_live(mutants: list[Mutant], jobs: int, fate: Callable[[Mutant], int]) -> None:
    """Assert that what is not changed is not killed, in the very same way."""
    files = sorted({mutant.file for mutant in mutants})
    unchanged = [Mutant(file, "", 0, "", "", (ROOT / file).read_text()) for file in files]
    for mutant, told in _forked(unchanged, jobs, fate):
        assert told == "alive", f"{mutant.file} is killed without a change"


def _forked(
    mutants: Iterable[Mutant], jobs: int, fate: Callable[[Mutant], int]
) -> Iterator[tuple[Mutant, str]]:
    """Run `fate` for each mutant in a child of its own; what ends a child has killed its mutant."""
    running: dict[int, Mutant] = {}
    try:
        for mutant in mutants:
            if len(running) >= jobs:
                yield _reaped(running)
            running[_child(lambda m=mutant: fate(m))] = mutant  # type: ignore[misc]
        while running:
            yield _reaped(running)
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)


def _reaped(running: dict[int, Mutant]) -> tuple[Mutant, str]:
    pid, status = os.wait()
    return running.pop(pid), FATES.get(status, "killed")


def _child(action: Callable[[], int], *, is_silent: bool = True) -> int:
    """Fork; the child ends with what the action returns, silent, and never returns here."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = BROKEN
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        if is_silent:
            os.dup2(nowhere, 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = action()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


# Mutants of functions: what differs is exchanged.

Path_ = tuple[int, ...]


def _codes(code: types.CodeType, path: Path_ = ()) -> Iterator[tuple[Path_, types.CodeType]]:
    """Give a code object and every one within it, outermost first."""
    yield path, code
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    for index, each in enumerate(inner):
        yield from _codes(each, (*path, index))


def _own(code: types.CodeType) -> tuple[object, ...]:
    """Return what a code object does itself, without line numbers and what is within it."""
    consts = tuple(
        (type(const), const) for const in code.co_consts if not isinstance(const, types.CodeType)
    )
    return code.co_code, code.co_names, code.co_varnames, consts, code.co_exceptiontable


def _is_function(code: types.CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_NEWLOCALS and code.co_flags & inspect.CO_OPTIMIZED)


_TRUE: dict[str, types.CodeType] = {}


def _true_code(file: str) -> types.CodeType:
    if file not in _TRUE:
        path = ROOT / file
        _TRUE[file] = compile(path.read_text(), str(path), "exec", dont_inherit=True)
    return _TRUE[file]


def _differing(mutant: Mutant) -> list[tuple[types.CodeType, types.CodeType]]:
    """Return (true, mutated) code of the outermost functions that differ; empty where more does."""
    true = dict(_codes(_true_code(mutant.file)))
    path = str(ROOT / mutant.file)
    mutated = dict(_codes(compile(mutant.source, path, "exec", dont_inherit=True)))
    found: list[tuple[types.CodeType, types.CodeType]] = []
    done: list[Path_] = []
    for at, code in true.items():
        if any(at[: len(outer)] == outer for outer in done):
            continue
        other = mutated.get(at)
        if other is None:
            return []
        if not _is_function(code):
            if _own(code) != _own(other):
                return []
        elif code != other:
            if code.co_freevars != other.co_freevars:
                return []
            found.append((code, other))
            done.append(at)
        else:
            done.append(at)
    return found


class Trial:
    """Tests, loaded once; they are played to mutants of functions."""

    def __init__(self, files: list[str]) -> None:
        paths = sorted({path for file in files for path in FILES[file]})
        loaded = _Loaded()
        assert _pytest(paths, loaded) == 0, "the tests cannot be loaded"
        self._tests = loaded.tests
        self._functions = _functions_of(set(files))
        self._took_s, self._called = self._measured(set(files))

    def fate(self, mutant: Mutant) -> int:
        """Return whether the tests that call what is mutated notice it; for a child alone."""
        differing = _differing(mutant)
        calling = set()
        for true, mutated in differing:
            for _, code in _codes(true):
                calling |= self._called.get(_name(code), set())
            for function in self._functions.get(true, ()):
                function.__code__ = mutated
        for number in sorted(calling, key=self._took_s.__getitem__):
            if _is_failing(self._tests[number], self._took_s[number]):
                return KILLED
        return ALIVE

    def _measured(self, files: set[str]) -> tuple[list[float], dict[tuple[str, int], set[int]]]:
        """Play every test once, with the true code; return its time and what it called.

        In a child, so that nothing of it stays.
        """
        receiving, sending = os.pipe()
        pid = _child(lambda: self._measure(files, sending))
        os.close(sending)
        with os.fdopen(receiving, "rb") as pipe:
            told = pipe.read()
        assert os.waitpid(pid, 0)[1] == 0, "a test fails with the true code"
        took_s, called = pickle.loads(told)
        return took_s, called

    def _measure(self, files: set[str], sending: int) -> int:
        paths = {str(ROOT / file) for file in files}
        took_s: list[float] = []
        called: dict[tuple[str, int], set[int]] = {}

        def note(frame: types.FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_filename in paths:
                called.setdefault(_name(frame.f_code), set()).add(len(took_s))

        for test in self._tests:
            began_s = time.process_time()
            _clear_caches()
            sys.setprofile(note)
            try:
                test()
            finally:
                sys.setprofile(None)
            took_s.append(time.process_time() - began_s)
        with os.fdopen(sending, "wb") as pipe:
            pickle.dump((took_s, called), pipe)
        return 0


def _name(code: types.CodeType) -> tuple[str, int]:
    return f"{code.co_filename}:{code.co_qualname}", code.co_firstlineno


def _functions_of(files: set[str]) -> dict[types.CodeType, list[types.FunctionType]]:
    """Return every function that is there, by its code."""
    import gc

    paths = {str(ROOT / file) for file in files}
    found: dict[types.CodeType, list[types.FunctionType]] = {}
    for each in gc.get_objects():
        if isinstance(each, types.FunctionType) and each.__code__.co_filename in paths:
            found.setdefault(each.__code__, []).append(each)
    return found


_CACHES: list[Any] = []


def _clear_caches() -> None:
    if not _CACHES:
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] in ("estim", "firmware_protocol"):
                _CACHES.extend(
                    v for v in vars(module).values() if isinstance(v, _lru_cache_wrapper)
                )
    for cache in _CACHES:
        cache.cache_clear()


def _is_failing(test: Callable[[], None], true_s: float) -> bool:
    """Tell whether a test fails; where it takes too long, the signal ends this process."""
    _clear_caches()
    signal.setitimer(signal.ITIMER_VIRTUAL, max(LEAST_S, TIMES_THE_TRUE * true_s))
    try:
        test()
    except BaseException:
        return True
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return False


# Mutants of modules: the tests are loaded with them.


def _preload(files: list[str]) -> set[tuple[str, int]]:
    """Load what the tests load, but for our own modules; return what is called meanwhile."""
    receiving, sending = os.pipe()
    paths = sorted({path for file in files for path in FILES[file]})
    mutated = {str(ROOT / file) for file in files}
    called: set[tuple[str, int]] = set()

    def note(frame: types.FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename in mutated:
            called.add(_name(frame.f_code))

    def tell() -> int:
        sys.setprofile(note)
        code = _pytest(paths, _Loaded())
        sys.setprofile(None)
        with os.fdopen(sending, "wb") as pipe:
            pickle.dump((list(sys.modules), called), pipe)
        return code

    pid = _child(tell)
    os.close(sending)
    with os.fdopen(receiving, "rb") as pipe:
        names, at_load = pickle.load(pipe)
    assert os.waitpid(pid, 0)[1] == 0, "the tests cannot be loaded"
    for name in names:
        if name.split(".")[0] not in ("estim", "firmware_protocol", "tests", "conftest"):
            try:
                importlib.import_module(name)
            except ImportError:
                continue
    found: set[tuple[str, int]] = at_load
    return found


def _try_loading(mutant: Mutant) -> int:
    """Load the tests with a mutant in place and play them all; for a child alone."""
    sys.meta_path.insert(0, _Finder(mutant))
    loaded = _Loaded()
    signal.setitimer(signal.ITIMER_VIRTUAL, 30)
    if _pytest(list(FILES[mutant.file]), loaded) != 0:
        return KILLED
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return KILLED if any(_is_failing(test, 1.0) for test in loaded.tests) else ALIVE


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Load one module from the text of a mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = mutant.file.removesuffix(".py").replace("/", ".")

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(
            fullname, ROOT / self._mutant.file, loader=self
        )

    def exec_module(self, module: types.ModuleType) -> None:
        path = str(ROOT / self._mutant.file)
        exec(compile(self._mutant.source, path, "exec", dont_inherit=True), module.__dict__)


# Tests.


class _Loaded:
    """A plugin that takes the tests that pytest has collected, and plays none."""

    def __init__(self) -> None:
        self.tests: list[Callable[[], None]] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Keep every test that is a plain call."""
        if session.testsfailed:
            return True
        for item in session.items:
            test = _plain_call(item)
            if test is not None:
                self.tests.append(test)
        return True


def _plain_call(item: pytest.Item) -> Callable[[], None] | None:
    if not isinstance(item, pytest.Function) or inspect.iscoroutinefunction(item.obj):
        return None
    given = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    needed = inspect.signature(item.obj).parameters
    if set(needed) != set(given):
        return None
    return lambda: item.obj(**given)


def _pytest(paths: list[str], plugin: _Loaded) -> int:
    code = pytest.main(
        [*paths, "-q", "--no-header", "--no-summary", "-p", "no:cacheprovider",
         "-W", "ignore::pytest.PytestAssertRewriteWarning",
         "-m", "not hypothesis and not long and not emulated"],
        plugins=[plugin],
    )  # fmt: skip
    return 0 if plugin.tests and code in (0, pytest.ExitCode.NO_TESTS_COLLECTED) else 1


if __name__ == "__main__":
    sys.exit(main())
