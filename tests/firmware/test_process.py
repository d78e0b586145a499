"""The reference device as a process: a real pseudo-terminal, real time, the unmodified host."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from estim.__main__ import main
from estim.cli import simulate
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    DeviceState,
    FaultCode,
    Hello,
    Identity,
    Status,
    Stop,
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
def device(built: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the reference device; give the process and the path that it prints."""
    process = subprocess.Popen(
        [built / "estim-device", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdin, process.stdout, process.stderr:
        try:
            yield process, process.stdout.readline().decode().strip()
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def say(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()


def greeted(host: WireHost) -> Status:
    """Bring an epoch; return a Status."""
    host.ask(Hello(PROTOCOL_VERSION, SCHEMA_HASH), Identity)
    status = host.ask(Stop(), Status)
    assert isinstance(status, Status)
    return status


@pytest.mark.long
def test_the_unmodified_host_runs_a_session_on_it(built: Path, tmp_path: Path) -> None:
    """80 Hz, 2 x 200 us: result, record and the device's own trace tell the same story."""
    trace = tmp_path / "trace.csv"
    with device(built, "--trace", str(trace)) as (process, path):
        ran = subprocess.run(
            [sys.executable, "-m", "estim", "run", "dpn-conventional", "--device", f"native:{path}",
             "--bench", "500", "--amplitude", "1=2", "--duration", "1", "--json",
             "--records", str(tmp_path / "records")],
            cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])
    assert result["end"] == "finished"
    assert result["record_verifies"] is True
    rows = trace_rows(trace)
    assert result["pulses"] == {"1": len(rows) // 2, "2": 0}
    assert {row["duration_us"] for row in rows} == {200}
    assert max(abs(row["current_ua"]) for row in rows) == 2_000
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert second["t_us"] == first["t_us"] + 200
        assert first["current_ua"] + second["current_ua"] == 0
    onsets = [row["t_us"] for row in rows[::2]]
    assert {later - earlier for earlier, later in pairwise(onsets)} == {12_500}


@pytest.mark.hazard(7)
def test_it_is_silent_320_ms_after_the_host(built: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    with device(built, "--trace", str(trace)) as (_, path), opened(path) as descriptor:
        host = WireHost(descriptor)
        host.run()
        for _ in range(15):
            host.drive(WantedState.RUNNING, 1_000)
        last_us = time.monotonic_ns() // 1000
        host.read(0.45)
        assert host.status is not None
        assert (host.status.state, host.status.fault) == (
            DeviceState.FAULT, FaultCode.LEASE_EXPIRED,
        )  # fmt: skip
    rows = trace_rows(trace)
    assert len(rows) > 20
    assert rows[-1]["t_us"] <= last_us + 320_000


def test_the_lease_ends_on_schedule_even_when_the_process_slept(
    built: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    with device(built, "--trace", str(trace)) as (process, path):
        assert_the_lease_ends_on_schedule(process, path, trace)


def test_faults_come_as_lines_on_standard_input(built: Path) -> None:
    with device(built, "--channels=1", "--serial=REF-7") as (process, path):
        with opened(path) as descriptor:
            host = WireHost(descriptor)
            status = greeted(host)
            assert (len(status.channels), status.fault) == (1, FaultCode.NONE)
            say(process, "patient-stop press")
            host.read(0.4)
            assert host.status is not None
            assert host.status.fault is FaultCode.PATIENT_STOP
            say(process, "patient-stop release")
            say(process, "reboot")
            say(process, "no such thing")
            host.read(0.4)
            # Another epoch: its sequences have begun anew.
            status = greeted(WireHost(descriptor, 0x0BAD))
            assert (status.fault, status.tick_ms < 10_000) == (FaultCode.NONE, True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert b"not understood: no such thing" in process.stderr.read()


def test_a_hung_device_is_silent_at_zero_until_a_reboot(built: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    with device(built, "--trace", str(trace)) as (process, path), opened(path) as descriptor:
        host = WireHost(descriptor)
        host.run()
        for _ in range(10):
            host.drive(WantedState.RUNNING, 1_000)
        say(process, "hang")
        host.read(0.2)
        hung_us = time.monotonic_ns() // 1000
        host.send(Stop())
        assert host.read(0.4) == []
        say(process, "reboot")
        host.read(0.1)
        say(process, "drop 3")
        assert greeted(WireHost(descriptor, 0x0BAD)).state is DeviceState.SAFE
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert b"faults of the line are the simulator's alone: drop 3" in process.stderr.read()
    rows = trace_rows(trace)
    assert len(rows) > 20
    assert rows[-1]["t_us"] < hung_us - 100_000


def test_tcp_serves_one_client_at_a_time_on_the_loopback_address(built: Path) -> None:
    with device(built, "--tcp", "0") as (_, address):
        assert address.startswith("socket://127.0.0.1:")
        port = int(address.rpartition(":")[2])
        for epoch in (1, 2):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=5) as first,
                socket.create_connection(("127.0.0.1", port), timeout=5) as second,
            ):
                first.setblocking(True)
                second.settimeout(0.3)
                assert greeted(WireHost(first.fileno(), epoch)).state is DeviceState.SAFE
                with pytest.raises(TimeoutError):
                    second.recv(1)


def test_a_port_in_use_is_one_message(built: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        ran = subprocess.run(
            [built / "estim-device", "--tcp", port], capture_output=True, timeout=10, check=False
        )
    assert ran.returncode == 2
    assert f"estim-device: port {port}: ".encode() in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--channels", "5"), ("--channels", "0"), ("--load", "-1"), ("--load", "gel"),
     ("--serial", "seventeen letters"), ("--patient-stop", "maybe"), ("--what",), ("word",),
     ("--trace", "/no/such/folder/t.csv"), ("--tcp", "70000")],
)  # fmt: skip
def test_options_that_make_no_sense_are_said_so(built: Path, arguments: tuple[str, ...]) -> None:
    ran = subprocess.run(
        [built / "estim-device", *arguments], capture_output=True, timeout=10, check=False
    )
    assert ran.returncode == 2
    assert b"estim-device: " in ran.stderr
    assert ran.stdout == b""


def test_it_ends_by_itself_once_its_input_is_closed_and_nothing_flows(built: Path) -> None:
    with device(built, "--until-closed") as (process, path):
        assert path.startswith("/dev/")
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def test_estim_simulate_is_the_reference_device_where_it_is_built(built: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from estim.cli import simulate\n"
        f"simulate.REFERENCE = Path({str(built / 'estim-device')!r})\n"
        "from estim.__main__ import main\n"
        "sys.exit(main(['simulate', '--model', 'reference', '--serial', 'REF-9']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        with opened(process.stdout.readline().decode().strip()) as descriptor:
            identity = WireHost(descriptor).ask(Hello(PROTOCOL_VERSION, SCHEMA_HASH), Identity)
    finally:
        process.kill()
        process.communicate()
    assert isinstance(identity, Identity)
    assert (identity.model, identity.serial_number) == ("estim-reference", "REF-9")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "is not built here: `make -C firmware_protocol/c posix` builds it"),
        (("--tcp", "x"), "--tcp x: expected a whole number from 0 to 65535"),
        (("--faults", "f"), "--faults: the reference device plays no script"),
    ],
)
def test_estim_simulate_says_what_the_reference_device_lacks(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setattr(simulate, "REFERENCE", tmp_path / "not-built")
    assert main(["simulate", "--model", "reference", *arguments]) == 2
    assert said in capsys.readouterr().err
