"""The interface's end of an engine: every end of it is told in words, nothing is left behind."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from estim.engine.client import EngineClient
from estim.engine.process import HELD
from estim.errors import DeviceFault
from estim.session import messages as msg
from estim.session.messages import Notice, Reply, Snapshot
from tests.engine.scene import CHECKOUT, is_alive, wait_for

BANNED = ("textual", "numpy", "pydantic", "estim.profile", "estim.waveform", "asyncio")

HEADER = {
    "schema": 1, "session_id": "s1", "kind": "bench", "software": {}, "profile": {},
    "operator": "bench", "pseudonym": "none", "bench_ohm": 500, "assets": [], "seed": None,
    "clock": "real",
}  # fmt: skip


class Interface:
    """A client with what it was told."""

    def __init__(self) -> None:
        self.replies: SimpleQueue[Reply] = SimpleQueue()
        self.ends: SimpleQueue[str] = SimpleQueue()
        self.client = EngineClient.spawn(self.replies.put, self.ends.put)

    def next(self, kind: type[Reply]) -> Reply:
        while not isinstance(reply := self.replies.get(timeout=5.0), kind):
            pass
        return reply


@pytest.fixture
def interface() -> Iterator[Interface]:
    interface = Interface()
    yield interface
    interface.client.close()


def test_a_client_that_closes_ends_the_engine_in_good_order(interface: Interface) -> None:
    interface.next(Snapshot)
    assert interface.client.close() == 0
    assert interface.ends.get(timeout=1.0) == "the engine has ended"
    assert not is_alive(interface.client.pid)


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = len(os.listdir("/proc/self/fd")), threading.active_count()  # others may end meanwhile
    for _ in range(2):
        interface = Interface()
        assert list(tmp_path.iterdir()) == []
        interface.client.close()
    assert len(os.listdir("/proc/self/fd")) <= before[0]
    assert threading.active_count() <= before[1]


def test_a_killed_engine_is_told_with_its_signal(interface: Interface) -> None:
    interface.next(Snapshot)
    os.kill(interface.client.pid, signal.SIGKILL)
    assert interface.ends.get(timeout=2.0) == "the engine died (signal 9)"
    with pytest.raises(Empty):
        interface.ends.get_nowait()
    interface.client.heartbeat(1)  # nobody hears it, and nothing is raised
    assert interface.client.close() == -signal.SIGKILL


def test_an_engine_that_crashes_tells_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hmac.py").write_text("raise RuntimeError('this hmac is not the real one')\n")
    monkeypatch.setattr("estim.__file__", str(tmp_path / "estim" / "__init__.py"))
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    interface = Interface()
    reason = interface.ends.get(timeout=5.0)
    expected = "the engine died (exit code 1): RuntimeError: this hmac is not the real one"
    assert reason == expected
    with pytest.raises(DeviceFault, match="this hmac is not the real one"):
        interface.client.ask(msg.Connect(interface.client.new_id(), "sim:"))
    assert interface.client.close() == 1


def test_files_where_the_interface_was_started_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('not the standard library')\n")
    monkeypatch.chdir(tmp_path)
    interface = Interface()
    assert isinstance(interface.next(Snapshot), Snapshot)
    assert interface.client.close() == 0


def test_whoever_asks_hears_at_once_that_the_engine_has_gone(interface: Interface) -> None:
    interface.next(Snapshot)
    os.kill(interface.client.pid, signal.SIGSTOP)
    threading.Timer(0.1, os.kill, (interface.client.pid, signal.SIGKILL)).start()
    began_s = time.monotonic()
    with pytest.raises(DeviceFault, match="signal 9"):
        interface.client.ask(msg.Stop(interface.client.new_id()), timeout_s=10.0)
    assert time.monotonic() - began_s < 3.0
    with pytest.raises(DeviceFault, match="signal 9"):
        interface.client.ask(msg.Stop(interface.client.new_id()), timeout_s=10.0)


def test_an_engine_that_does_not_answer_is_told_in_time(interface: Interface) -> None:
    interface.next(Snapshot)
    os.kill(interface.client.pid, signal.SIGSTOP)
    began_s = time.monotonic()
    with pytest.raises(DeviceFault, match="does not answer"):
        interface.client.ask(msg.Stop(interface.client.new_id()), timeout_s=0.2)
    assert 0.2 <= time.monotonic() - began_s < 1.0
    assert interface.client.close(timeout_s=0.2) == -signal.SIGKILL


def test_a_request_that_makes_no_sense_is_told_and_changes_nothing(interface: Interface) -> None:
    connection = interface.client._connection
    for nonsense in (
        b"\n",
        b"{}\n",
        b"[]\n",
        b"\xff\xfe\n",
        b'{"message":[]}\n',
        b'{"message":"Fly"}\n',
        b'{"message":"Stop"}\n',
        b'{"message":"Stop","request_id":true}\n',
        b'{"message":"Stop","request_id":1,"wings":2}\n',
        b'{"message":"Outcome","request_id":1,"is_done":true}\n',
        b"[" * 100_000 + b"\n",
        b"x" * 600_000 + b"\n",
    ):
        connection.sendall(nonsense)
        notice = interface.next(Notice)
        assert isinstance(notice, Notice)
        assert notice.blame is msg.Blame.HOST
    assert interface.client.ask(msg.Stop(interface.client.new_id())).is_done


def test_an_interface_that_never_reads_does_not_hold_the_engine_up() -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    with ours, theirs, tempfile.TemporaryFile() as last_words:
        engine = subprocess.Popen(
            [sys.executable, "-P", "-m", "estim.engine", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stderr=last_words,
            env=dict(os.environ, PYTHONPATH=str(CHECKOUT)),
        )
        theirs.close()
        for number in range(5000):
            ours.sendall(json.dumps({"message": "Nonsense", "number": number}).encode() + b"\n")
        ours.shutdown(socket.SHUT_WR)
        assert engine.wait(5.0) == 0


def test_the_engine_comes_before_other_programs_where_it_may(interface: Interface) -> None:
    interface.next(Snapshot)
    trial = [
        sys.executable, "-c", "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))"
    ]  # fmt: skip
    is_granted = subprocess.run(trial, capture_output=True, check=False).returncode == 0
    assert (os.sched_getscheduler(interface.client.pid) == os.SCHED_RR) is is_granted


def test_the_engine_loads_no_library_that_it_does_not_need() -> None:
    code = (
        "import sys, json\n"
        "from estim.engine.process import EngineProcess\n"
        "from estim.drivers.registry import make_driver, open_transport\n"
        "from estim.errors import PortLost\n"
        "at_start = sorted(sys.modules)\n"
        "make_driver('native:x', 1)\n"
        "try:\n"
        "    open_transport('native:/dev/nothing')\n"
        "except PortLost:\n"
        "    print(json.dumps([at_start, sorted(sys.modules)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code],
        env=dict(os.environ, PYTHONPATH=str(CHECKOUT)),
        capture_output=True,
        timeout=20,
        check=True,
    )
    at_start, modules = json.loads(done.stdout)
    assert "estim.engine.loop" in at_start
    assert {"serial", "subprocess"}.isdisjoint(at_start)  # the start waits for neither
    assert "serial" in modules
    assert [name for name in modules if name.startswith(BANNED)] == []


def test_the_running_engine_has_mapped_no_library_that_it_does_not_need(
    interface: Interface,
) -> None:
    interface.client.ask(msg.Connect(interface.client.new_id(), "sim:"))
    maps = Path(f"/proc/{interface.client.pid}/maps").read_text()
    assert "/libc.so" in maps or "/libc-" in maps or "musl" in maps
    assert "numpy" not in maps
    assert "pydantic" not in maps


def test_the_engine_is_out_of_reach_of_the_terminal(interface: Interface) -> None:
    assert os.getsid(interface.client.pid) == interface.client.pid != os.getsid(0)


def test_an_engine_told_to_end_does_so_though_its_record_cannot_be_sealed(
    interface: Interface, tmp_path: Path
) -> None:
    client = interface.client
    folders = str(tmp_path / "records"), str(tmp_path / "key")
    assert client.ask(msg.OpenRecord(client.new_id(), *folders, "s1", HEADER)).is_done
    size = (tmp_path / "records" / "s1.jsonl").stat().st_size
    resource.prlimit(client.pid, resource.RLIMIT_FSIZE, (size, size))
    os.kill(client.pid, signal.SIGTERM)
    assert interface.ends.get(timeout=3.0) == "the engine has ended"


@pytest.mark.parametrize(("answers", "code"), [(2, 0), (1, HELD)], ids=["later", "as it opens"])
def test_the_engine_ends_though_its_disk_never_answers(
    tmp_path: Path, answers: int, code: int
) -> None:
    """Rule 1 of the process: an orphan does not live on because its record cannot be sealed.

    The key of the station and the record are synced as a record is opened, once each.
    """
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from estim.engine import process\n"
        "from estim.record.files import FileOps\n"
        "process.ORPHAN_S = 0.5\n"
        "count = [0]\n"
        "def slow(self, descriptor):\n"
        "    count[0] += 1\n"
        "    Path(sys.argv[2]).write_text(str(count[0]))\n"
        "    if count[0] > int(sys.argv[3]): time.sleep(60)\n"
        "FileOps.sync_file = slow\n"
        "sys.exit(process.main(int(sys.argv[1])))\n"
    )
    ours, theirs = socket.socketpair()
    told = tmp_path / "syncs"
    with ours, theirs:
        engine = subprocess.Popen(
            [sys.executable, "-P", "-c", program, str(theirs.fileno()), str(told), str(answers)],
            pass_fds=[theirs.fileno()],
            env=dict(os.environ, PYTHONPATH=str(CHECKOUT)),
        )
        theirs.close()
        folders = str(tmp_path / "records"), str(tmp_path / "key")
        ours.sendall(msg.to_line(msg.OpenRecord(1, *folders, "s1", HEADER)))
        wait_for(lambda: told.exists() and int(told.read_text() or 0) > 1, 5.0, "record")
        time.sleep(0.3)
        ours.close()
        assert engine.wait(5.0) == code
        assert int(told.read_text()) == answers + 1
