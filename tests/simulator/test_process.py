"""The simulator as a process of its own: a real pseudo-terminal, a real TCP port, real signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from estim.errors import UsageError
from estim.simulator.__main__ import main
from estim.simulator.spawn import spawn
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    DeviceState,
    FaultCode,
    Hello,
    Identity,
    WantedState,
)
from firmware_protocol.schema import SCHEMA_HASH
from tests.simulator.wire import (
    WireHost,
    assert_the_lease_ends_on_schedule,
    opened,
    trace_rows,
)

CHECKOUT = Path(__file__).resolve().parents[2]


@contextmanager
def simulator(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start `python -m estim.simulator`; give the process and its first line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "estim.simulator", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stderr is not None
    with process.stdin, process.stdout, process.stderr:
        try:
            yield process, process.stdout.readline().decode().strip()
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def test_a_session_on_a_pseudo_terminal_leaves_a_true_trace(tmp_path: Path) -> None:
    """Balanced pulses, at monotonic times, visible while running, silent 320 ms after the host."""
    trace = tmp_path / "trace.csv"
    with simulator("--trace", str(trace)) as (process, path), opened(path) as descriptor:
        host = WireHost(descriptor)
        host.run()
        began_us = time.monotonic_ns() // 1000
        for _ in range(20):
            host.drive(WantedState.RUNNING, 1_000)
        last_drive_us = time.monotonic_ns() // 1000
        assert len(trace_rows(trace)) > 20
        host.read(0.45)
        assert host.status is not None
        assert (host.status.state, host.status.fault) == (
            DeviceState.FAULT,
            FaultCode.LEASE_EXPIRED,
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    rows = trace_rows(trace)
    assert sum(row["current_ua"] * row["duration_us"] for row in rows) == 0
    assert all(row["channel"] == 1 and row["duration_us"] == 200 for row in rows)
    assert began_us - 100_000 < rows[0]["t_us"] < last_drive_us
    assert rows[-1]["t_us"] <= last_drive_us + 320_000
    slew = [(row["t_us"] - began_us + 100_000, row["current_ua"]) for row in rows]
    assert all(current * 1_000_000 <= 2_000 * since_us for since_us, current in slew)


@pytest.mark.hazard(7)
def test_the_lease_ends_on_schedule_even_when_the_process_slept(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    with simulator("--trace", str(trace)) as (process, path):
        assert_the_lease_ends_on_schedule(process, path, trace)


def test_clients_come_and_go_on_the_same_pseudo_terminal() -> None:
    with simulator() as (process, path):
        for epoch in (1, 2, 3):
            with opened(path) as descriptor:
                attributes = termios.tcgetattr(descriptor)
                assert not attributes[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
                host = WireHost(descriptor, epoch)
                assert host.ask(Hello(PROTOCOL_VERSION, SCHEMA_HASH), Identity)
            time.sleep(0.05)
            assert process.poll() is None


@pytest.mark.hazard(15)
def test_tcp_serves_one_client_at_a_time_on_the_loopback_address() -> None:
    with simulator("--tcp", "0") as (process, address):
        assert address.startswith("socket://127.0.0.1:")
        port = int(address.rpartition(":")[2])
        for epoch in (1, 2):
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                host = WireHost(client.fileno(), epoch)
                host.run()
                with socket.create_connection(("127.0.0.1", port), 5) as second:
                    second.settimeout(5)
                    assert second.recv(1) == b""
                assert host.drive(WantedState.SAFE).state is DeviceState.SAFE
        assert process.poll() is None


def test_live_faults_come_in_on_standard_input() -> None:
    with simulator() as (process, path), opened(path) as descriptor:
        host = WireHost(descriptor)
        host.ask(Hello(PROTOCOL_VERSION, SCHEMA_HASH), Identity)
        assert process.stdin is not None
        process.stdin.write(b"nonsense\npatient-stop press\n")
        process.stdin.flush()
        host.read(0.4)
        assert host.status is not None
        assert host.status.fault is FaultCode.PATIENT_STOP
        process.send_signal(signal.SIGTERM)
        process.wait(5)
        assert process.stderr is not None
        assert b"expected one of drop" in process.stderr.read()


def test_a_scripted_fault_happens_at_its_time(tmp_path: Path) -> None:
    script = tmp_path / "faults.txt"
    script.write_text("at 0.3 battery 1\n")
    with simulator("--faults", str(script)) as (_, path), opened(path) as descriptor:
        host = WireHost(descriptor)
        host.ask(Hello(PROTOCOL_VERSION, SCHEMA_HASH), Identity)
        host.read(0.8)
        assert host.status is not None
        assert host.status.fault is FaultCode.SUPPLY


def test_spawned_for_a_url_it_ends_by_itself_when_nobody_is_left(tmp_path: Path) -> None:
    """It outlives its starter by the lease and two seconds, so that its trace tells the end."""
    trace = tmp_path / "trace.csv"
    started = spawn({"load": "typical", "trace": str(trace), "channels": "1", "serial": "B-2"})
    assert os.getsid(started.process.pid) != os.getsid(0)
    with opened(started.path) as descriptor:
        identity = WireHost(descriptor).ask(Hello(PROTOCOL_VERSION, SCHEMA_HASH), Identity)
        assert isinstance(identity, Identity)
        assert identity.serial_number == "B-2"
    started.stdin.close()
    closed_at = time.monotonic()
    assert started.process.wait(5) == 0
    assert 1.9 < time.monotonic() - closed_at < 4
    assert trace.read_text() == "t_us,channel,current_ua,duration_us\n"
    started.messages.close()


def test_a_spawned_simulator_takes_live_faults_and_is_closed() -> None:
    started = spawn({})
    started.play("drop nothing")
    deadline = time.monotonic() + 5
    while "expected" not in started.read_messages() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "frames: expected a whole number" in started.read_messages()
    started.close()
    assert started.process.returncode == 0


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"lode": "500"}, "sim: expected one of load, trace, faults, channels, seed, serial"),
        ({"load": "wet"}, "load: expected 1 to 1000000 ohm"),
        ({"channels": "5"}, "channels: expected a whole number from 1 to 4, got '5'"),
        ({"seed": "x"}, "seed: expected a whole number"),
        ({"serial": "é"}, "serial: expected 1 to 16 ASCII characters"),
        ({"faults": "/nonexistent/faults"}, "cannot be read"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_at_once(query: dict[str, str], expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        spawn(query)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--load", "wet"], "load: expected"),
        (["--trace", "/nonexistent/trace.csv"], "cannot be written: No such file"),
        (["--channels", "0"], "channels: expected"),
        (["--faults", "/nonexistent"], "cannot be read"),
    ],
)
def test_bad_usage_is_one_message_and_exit_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert expected in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_a_port_in_use_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--tcp", str(taken.getsockname()[1])]) == 2
    assert "cannot listen there: Address already in use" in capsys.readouterr().err
