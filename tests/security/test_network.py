"""Nothing is on the network unless asked: every command runs with each socket call told.

Python's own audit events are written down in every process that a command starts; a socket between
processes of this machine (AF_UNIX) is none of the network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from estim.cli.parser import build_parser
from tests.cli.commands import CHECKOUT

pytestmark = pytest.mark.long  # two dozen processes

HOOK = """
import json, os, socket, sys
def _told(event, arguments):
    if event in ("socket.bind", "socket.connect", "socket.sendto", "socket.getaddrinfo",
                 "socket.gethostbyname", "urllib.Request"):
        first = arguments[0]
        if getattr(first, "family", None) == socket.AF_UNIX:
            return
        with open(os.environ["SOCKET_LOG"], "a") as log:
            log.write(json.dumps([event, [repr(each) for each in arguments[1:]]]) + "\\n")
sys.addaudithook(_told)
with open(os.environ["SOCKET_LOG"], "a") as log:
    log.write('["process"]\\n')
"""

BENCH = ("--bench", "500", "--nobody-connected")
COMMANDS: dict[str, list[tuple[str, ...]]] = {
    "run": [
        ("dpn-conventional", "--clock", "virtual", "--bench", "500", "--amplitude", "1=2",
         "--duration", "1"),
        ("dpn-conventional", "--bench", "500", "--amplitude", "1=1", "--duration", "1"),
    ],
    "simulate": [("--model", "nothing")],
    "devices": [(), ("sim:",)],
    "profiles": [("list",), ("check", "dpn-conventional"), ("plot", "dpn-conventional")],
    "protocols": [("list",)],
    "records": [("list",), ("verify", "nothing"), ("export", "nothing", "--output", "x.csv")],
    "measure": [("nothing.csv",)],
    "baseline": [("list",)],
    "doctor": [()],
    "verify": [("docs/jobs/sim-check.toml", "--answer", "nobody_connected=no")],
    "characterise": [("--device", "sim:")],
    "conformance": [("--device", "sim:", *BENCH, "--only", "IDENT-01")],
    "campaign": [("run",)],
    "station": [("list",)],
    "roster": [("list",)],
    "config": [()],
    "completion": [("bash",)],
    "serve": [("--port", "80")],
}  # fmt: skip
"""Each command as far as it goes alone; one that is refused has been imported and has read."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    home = tmp_path / "home"
    home.mkdir()
    return {
        **os.environ,
        "PYTHONPATH": f"{tmp_path / 'hook'}{os.pathsep}{CHECKOUT}",
        "SOCKET_LOG": str(tmp_path / "sockets"),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
    }


def told(environment: dict[str, str], *arguments: str) -> tuple[int, list[list[object]]]:
    """Return how many processes ran, and what was told of sockets."""
    log = Path(environment["SOCKET_LOG"])
    log.unlink(missing_ok=True)
    subprocess.run(
        [sys.executable, "-m", "estim", *arguments],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    events = [json.loads(line) for line in log.read_text().splitlines()]
    processes = events.count(["process"])
    return processes, [event for event in events if event != ["process"]]


def test_every_command_is_tried() -> None:
    [commands] = [
        each for each in build_parser()._actions if each.choices and each.dest == "==SUPPRESS=="
    ]
    assert set(COMMANDS) == set(commands.choices or ())


@pytest.mark.hazard(40)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_opens_a_socket_to_a_network(command: str, environment: dict[str, str]) -> None:
    for arguments in COMMANDS[command]:
        processes, sockets = told(environment, command, *arguments)
        assert processes >= 1
        assert sockets == [], arguments


def test_a_session_has_processes_of_its_own_and_none_of_them_opens_a_socket(
    environment: dict[str, str],
) -> None:
    processes, sockets = told(environment, "run", *COMMANDS["run"][1])
    assert processes >= 3, "interface, engine, simulator"
    assert sockets == []


def test_a_socket_that_was_asked_for_is_seen(environment: dict[str, str]) -> None:
    """Otherwise every test above would pass whatever was opened."""
    _, sockets = told(environment, "devices", "native:socket://127.0.0.1:1")
    assert ["socket.connect", ["('127.0.0.1', 1)"]] in sockets


def test_serve_and_the_simulator_listen_on_loopback_alone(environment: dict[str, str]) -> None:
    for arguments in (("serve", "--port", "0"), ("simulate", "--tcp", "0")):
        Path(environment["SOCKET_LOG"]).unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-m", "estim", *arguments],
            cwd=CHECKOUT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert b"127.0.0.1" in process.stdout.readline()
            process.kill()
        events = [
            json.loads(each)
            for each in Path(environment["SOCKET_LOG"]).read_text().split("\n")
            if each
        ]
        bound = [event[1][0] for event in events if event[0] == "socket.bind"]
        assert bound, arguments
        assert all(address.startswith("('127.0.0.1', ") for address in bound), bound
