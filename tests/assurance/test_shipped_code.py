"""What is shipped has no switch that lifts a limit, and reads no number the way a country does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = [*(ROOT / "estim").rglob("*.py"), *(ROOT / "firmware_protocol").rglob("*.py")]
CORE = [*(ROOT / "firmware_protocol/c").glob("*.[ch]")]
PORTS = [
    path
    for port in ("avr", "posix")
    for path in (ROOT / "firmware_protocol/c" / port).glob("*.[ch]")
]
VARIABLES = {
    "COLORTERM": "doctor says what the terminal can",
    "ESTIM_TRACEBACK": "shows the traceback of a bug",
    "LG_COORDINATOR": "where labgrid's coordinator is",
    "NO_COLOR": "no colours",
    "TERM": "doctor says what the terminal can",
    "TMPDIR": "where onlookers find the session's snapshots",
    "XDG_RUNTIME_DIR": "the same",
}
"""Every environment variable that any code of ours reads by name, and what for: none of a limit."""
SWITCHES = {
    "EST_ANSWERS": "memory",
    "EST_CHANNELS": "memory",
    "EST_EVENTS": "memory",
    "EST_IN_FLIGHT": "pulses given ahead to a timer",
    "EST_KEYFRAMES": "memory",
    "EST_LEAD_US": "how long ahead a pulse is given to a timer",
    "EST_PHASES": "memory",
    "EST_SERIAL_NUMBER": "the device's own",
}
"""Every name that a build of the firmware may set by -D."""


def _trees_with(*words: str) -> Iterator[ast.Module]:
    """Yield the shipped modules in which one of the words stands at all."""
    for path in SHIPPED:
        text = path.read_text(encoding="utf-8")
        if any(word in text for word in words):
            yield ast.parse(text)


def _read_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names of variables read from the environment; '?' for one that is worked out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
            name = node.args[0]
            is_plain = isinstance(name, ast.Constant)
            yield ast.unparse(name).strip("'") if is_plain else "?" + ast.unparse(name)
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            yield ast.unparse(node.slice).strip("'")
        elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) == "os.environ":
            yield ast.unparse(node.left).strip("'")


@pytest.mark.hazard(41)
def test_what_is_read_from_the_environment_is_known_and_moves_no_limit() -> None:
    read = {name for tree in _trees_with("environ", "getenv") for name in _read_names(tree)}
    assert read == {*VARIABLES, "?TRACEBACK_VARIABLE"} - {"ESTIM_TRACEBACK"}


@pytest.mark.parametrize("package", ["estim/safety", "estim/session", "firmware_protocol"])
def test_what_decides_reads_no_environment_at_all(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert "environ" not in path.read_text(encoding="utf-8"), path


@pytest.mark.hazard(41)
def test_no_build_switch_of_the_core_touches_a_limit() -> None:
    """A limit in `protocol.h` is defined once and unconditionally, and no other switch exists."""
    asked: set[str] = set()
    for path in [*CORE, *PORTS]:
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for line in re.findall(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b(.*)$", text, re.MULTILINE):
            asked |= set(re.findall(r"\b[A-Z_][A-Z0-9_]+\b", line))
    guards = {name for name in asked if name.endswith("_H")}
    wire = {name for name in asked if re.fullmatch(r"EST_(WIRE_\w+_MAX|\w+_SIZE)", name)}
    assert asked - guards - wire == set(SWITCHES)


@pytest.mark.hazard(41)
@pytest.mark.parametrize("package", ["estim/safety", "estim/session", "firmware_protocol"])
def test_nothing_that_guards_vanishes_under_python_o(package: str) -> None:
    """`python -O` leaves every `assert` out: what decides about output has none."""
    for path in (ROOT / package).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)], path


@pytest.mark.hazard(20)
def test_nothing_asks_what_the_locale_calls_a_number() -> None:
    """Python's own `int`, `float` and `Decimal` know no locale: only this module would."""
    for tree in _trees_with("locale"):
        for node in ast.walk(tree):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert "locale" not in names
