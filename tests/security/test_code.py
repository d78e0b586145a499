"""What the code may not contain at all: ways in for text from files, and ways round a limit.

Hazard 41 and the rule on privileges: nothing is evaluated, unpickled or loaded by itself; the
environment changes no limit; the firmware has no switch that turns its gate off.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.firmware.core import NO_COMPILER, build, compiler

CHECKOUT = Path(__file__).parents[2]
FIRMWARE = CHECKOUT / "firmware_protocol" / "c"

pytestmark = pytest.mark.long  # every file of the code is parsed

FORBIDDEN_MODULES = {
    *("pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml"),
    *("pkg_resources", "runpy", "code", "codeop", "telnetlib", "ftplib"),
    *("http.client", "http.server", "urllib.request", "requests", "smtplib", "xmlrpc"),
}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("os.system", "os.popen", "pty.spawn", "subprocess.getoutput", "np.load", "numpy.load"),
}
PLUGINS = {"estim/cli/doctor.py", "estim/drivers/registry.py"}
"""Ask which drivers are installed; tests/drivers/test_registry.py: none is loaded unnamed."""

FOREIGN_CODE = {"estim/rig/campaign/launch.py", "estim/tui/parent.py"}
"""Load the C library, to ask that a process ends with the one that started it."""

ENVIRONMENT = {
    "ESTIM_TRACEBACK": "shows a traceback of a bug",
    "COLORTERM": "told by doctor",
    "LG_COORDINATOR": "where labgrid answers, for who uses it",
    "NO_COLOR": "colours",
    "PYTHONPATH": "handed on to processes of our own",
    "TERM": "told by doctor",
    "TMPDIR": "where onlookers' sockets lie",
    "XDG_RUNTIME_DIR": "where onlookers' sockets lie",
}
"""Every variable that the code reads by itself; none of them is a limit or an interlock."""


@functools.cache
def sources() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (path.relative_to(CHECKOUT).as_posix(), ast.parse(path.read_bytes()))
        for package in ("estim", "firmware_protocol")
        for path in sorted((CHECKOUT / package).rglob("*.py"))
    )


def faults_of(tree: ast.AST) -> Iterator[str]:
    """Yield what in a module must not be there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = {node.module or "", *(f"{node.module}.{each.name}" for each in node.names)}
            yield from names & FORBIDDEN_MODULES
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in FORBIDDEN_CALLS:
                yield called
            for keyword in node.keywords:
                if keyword.arg == "shell" and ast.unparse(keyword.value) != "False":
                    yield f"{called}(shell=...)"


def test_nothing_is_evaluated_unpickled_or_given_to_a_shell() -> None:
    found = {path: sorted(set(faults_of(tree))) for path, tree in sources()}
    assert {path: faults for path, faults in found.items() if faults} == {}


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from urllib import request", "eval(x)", "os.system('x')", "f(shell=True)"],
)
def test_the_search_sees_what_it_looks_for(text: str) -> None:
    assert list(faults_of(ast.parse(text)))


def importers(module: str) -> set[str]:
    return {
        path
        for path, tree in sources()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and module in (each.name for each in node.names))
        or (
            isinstance(node, ast.ImportFrom)
            and module in (node.module, *(f"{node.module}.{each.name}" for each in node.names))
        )
    }


def test_foreign_code_and_plug_ins_are_the_business_of_named_modules() -> None:
    assert importers("ctypes") == FOREIGN_CODE
    assert importers("importlib.metadata") == PLUGINS


def test_a_module_is_imported_by_name_only_from_a_table_of_the_code() -> None:
    """`import_module` takes a constant, or a name that a table in the same file gives."""
    found = {
        path
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("import_module")
        and not isinstance(node.args[0], ast.Constant)
    }
    assert found == {
        "estim/cli/parser_base.py",
        "estim/drivers/registry.py",
        "estim/tui/papers.py",
    }


def read_from_environment(tree: ast.Module) -> Iterator[str]:
    constants = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        key: ast.expr | None = None
        if isinstance(node, ast.Call) and re.search(
            r"(environ(ment)?\.get|getenv)$", ast.unparse(node.func)
        ):
            key = node.args[0]
        elif isinstance(node, ast.Compare) and "os.environ" in ast.unparse(node.comparators[0]):
            key = node.left
        elif isinstance(node, ast.Subscript) and "os.environ" in ast.unparse(node.value):
            key = node.slice
        if isinstance(key, ast.Constant):
            yield str(key.value)
        elif isinstance(key, ast.Name):
            yield str(constants.get(key.id, key.id))


def test_the_environment_sets_no_limit_and_no_override() -> None:
    found = {name for _, tree in sources() for name in read_from_environment(tree)}
    assert found == set(ENVIRONMENT)


# The firmware.

CONDITIONS = {
    *("EST_SERIAL_NUMBER", "EST_PHASES", "EST_LEAD_US", "EST_KEYFRAMES", "EST_IN_FLIGHT"),
    *("EST_EVENTS", "EST_CHANNELS", "EST_ANSWERS"),
}
"""What a build may set: sizes and a name. Limits are constants of protocol.h."""

OVERRIDE = re.compile(r"debug|override|bypass|unsafe|backdoor|allow_|ignore_limit|no_limit", re.I)


def shipped_c() -> list[Path]:
    return sorted((*FIRMWARE.glob("*.[ch]"), *FIRMWARE.glob("avr/*.[ch]")))


def test_the_core_has_no_switch_but_sizes_and_a_name() -> None:
    found = set()
    for path in shipped_c():
        for line in path.read_text("utf-8").splitlines():
            if re.match(r"\s*#\s*(if|elif)", line) and not re.search(r"_H\b", line):
                found |= set(re.findall(r"\bEST_\w+|\b[A-Z]\w{3,}", line))
    sizes = {name for name in found if re.fullmatch(r"EST_(WIRE_)?\w+_(MAX|SIZE)", name)}
    assert found - sizes == CONDITIONS


@pytest.mark.hazard(41)
def test_the_built_core_has_no_symbol_of_an_override(tmp_path: Path) -> None:
    if compiler() is None:
        pytest.skip(NO_COMPILER)
    build("lockstep", tmp_path)
    listed = subprocess.run(
        ["nm", str(tmp_path / "lockstep")], capture_output=True, text=True, check=True
    ).stdout
    symbols = {line.split()[-1] for line in listed.splitlines()}
    assert len([name for name in symbols if name.startswith("est_")]) > 20
    assert {name for name in symbols if OVERRIDE.search(name)} == set()
    texts = re.findall(rb"[\x20-\x7e]{6,}", (tmp_path / "lockstep").read_bytes())
    assert [text for text in texts if re.search(rb"override|bypass|backdoor", text, re.I)] == []
