"""Settings that every test shares."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import settings

from tests.still_machine import Witnesses

# A test that failed while the machine stood still, or while it had to wait for a processor for so
# long, is played again, at most so often.
AGAIN_MAX = 3
STARVED_MS = 100
PLAYED_AGAIN = "played again"

TESTS = Path(__file__).parent
# Where long tests press keys and run processes in real time. What others find is never tried away.
TRIED_TWICE = {"drivers", "rig", "simulator", "tui"}

# A run behind nohup or in the background hands down that these are ignored; what tests start obeys.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline per example measures how busy the machine is, not whether the code is right.
settings.register_profile("estim", deadline=None)
settings.load_profile("estim")


@pytest.fixture(scope="session", autouse=True)
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the engines' sockets out of this user's own folder; all processes inherit it."""
    os.environ["XDG_RUNTIME_DIR"] = str(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session", autouse=True)
def witnesses(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[None]:
    """Watch for times in which no program ran, however urgent: no test outlasts those."""
    watching = Witnesses.start(tmp_path_factory.mktemp("witnesses"))
    pytestconfig.stash[WITNESSES] = watching
    yield
    watching.end()


WITNESSES = pytest.StashKey[Witnesses]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test; play it again where it failed and could not run meanwhile.

    A virtual machine is held now and then, by up to some tenths of a second, and a process may have
    to wait for a processor. Estim ends its output then, as it must, and a test of what it does in
    time shows nothing. A long test of keys and processes in real time gets a second try anyway.
    Told in the summary.
    """
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    is_long = item.get_closest_marker("long") is not None
    is_tried_twice = is_long and item.path.relative_to(TESTS).parts[0] in TRIED_TWICE
    for again in range(AGAIN_MAX + 1):
        began_us, waited_ms = time.monotonic_ns() // 1000, _waited_ms()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        held_ms, waited_ms = _held_ms(item.config, began_us), _waited_ms() - waited_ms
        could_run = held_ms == 0 and waited_ms < STARVED_MS
        is_due = not could_run or (again == 0 and is_tried_twice)
        if not is_due or again == AGAIN_MAX or not any(report.failed for report in reports):
            break
        words = "\n".join(report.longreprtext for report in reports if report.failed)
        item.user_properties.append(
            (
                PLAYED_AGAIN,
                f"machine held for {held_ms} ms, waited {waited_ms} ms for a processor\n{words}",
            )
        )
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _waited_ms() -> int:
    """Return how long this process has waited for a processor, where the system counts it."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) // 1_000_000
    except (OSError, ValueError, IndexError):
        return 0


def _held_ms(config: pytest.Config, since_us: int) -> int:
    watching = config.stash.get(WITNESSES, None)
    return watching.held_ms(since_us) if watching is not None else 0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell which tests were played again, and how they had failed."""
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, words in report.user_properties:
            if name == PLAYED_AGAIN and report.when == "call":
                terminalreporter.section(f"{PLAYED_AGAIN}: {report.nodeid}")
                terminalreporter.write_line(str(words))
