"""Onlookers: they see what the interface sees, and nothing they do or omit is felt."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from estim.engine.client import EngineClient
from estim.engine.viewers import SEND_BUFFER_SIZE, VIEWERS_MAX, Viewers, viewers_folder
from estim.session.messages import Snapshot, from_line, to_line
from estim.session.states import HostState
from tests.engine.scene import wait_for
from tests.tui.snapshots import snapshot

LINE = to_line(snapshot())
PUBLISH_MAX_S = 0.5  # a busy machine may hold this process up for a while by itself


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "estim"


@pytest.fixture
def viewers(folder: Path) -> Iterator[Viewers]:
    viewers = Viewers(folder)
    yield viewers
    viewers.close()


def look(viewers: Viewers) -> socket.socket:
    viewer = socket.socket(socket.AF_UNIX)
    viewer.settimeout(5.0)
    viewer.connect(str(viewers.path))
    return viewer


def test_every_viewer_gets_every_snapshot_as_the_interface_has_it(viewers: Viewers) -> None:
    with look(viewers) as first, look(viewers) as second:
        viewers.publish(snapshot())
        viewers.publish(snapshot(delivered_ms=66_000))
        for viewer in (first, second):
            lines = viewer.makefile("rb")
            assert from_line(lines.readline()) == snapshot()
            assert from_line(lines.readline()) == snapshot(delivered_ms=66_000)


def test_folder_and_socket_are_this_users_alone(viewers: Viewers, folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(viewers.path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(viewers.path.stat().st_mode)


def test_a_folder_that_others_can_reach_into_is_closed_to_them(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    viewers = Viewers(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    viewers.close()


def test_a_folder_through_a_link_is_not_used_and_the_session_goes_on(
    tmp_path: Path, folder: Path
) -> None:
    """Somebody else may have laid it where the temporary folder is shared."""
    (tmp_path / "theirs").mkdir()
    folder.symlink_to(tmp_path / "theirs")
    viewers = Viewers(folder)
    viewers.publish(snapshot())
    assert list((tmp_path / "theirs").iterdir()) == []
    viewers.close()


def test_a_path_too_long_for_a_socket_is_no_fault_of_the_session(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    viewers = Viewers(folder)
    viewers.publish(snapshot())
    viewers.close()
    assert list(folder.iterdir()) == []


def test_a_viewer_that_never_reads_holds_nobody_up_and_is_dropped(viewers: Viewers) -> None:
    with look(viewers) as idle, look(viewers) as reading:
        lines = reading.makefile("rb")
        # More than both buffers of a socket hold, whatever the system makes of their sizes.
        count = 20 * SEND_BUFFER_SIZE // len(LINE)
        longest_s = 0.0
        for _ in range(count):
            began_s = time.perf_counter()
            viewers.publish(snapshot())
            longest_s = max(longest_s, time.perf_counter() - began_s)
            assert lines.readline() == LINE
        assert longest_s < PUBLISH_MAX_S
        kept = 0
        while received := idle.recv(1 << 20):
            kept += len(received)  # it ends: the engine let go
        assert kept <= 4 * SEND_BUFFER_SIZE


def test_bytes_of_a_viewer_go_nowhere(viewers: Viewers) -> None:
    with look(viewers) as viewer:
        viewer.send(b"\xff" * 1000)  # before it was let in
        viewers.publish(snapshot())
        with pytest.raises(BrokenPipeError):
            viewer.send(b'{"message":"Stop","request_id":1}\n')
        viewers.publish(snapshot())
        lines = viewer.makefile("rb")
        assert [lines.readline(), lines.readline()] == [LINE, LINE]


def test_a_viewer_that_has_gone_is_forgotten_and_the_house_is_bounded(viewers: Viewers) -> None:
    crowd = [look(viewers) for _ in range(VIEWERS_MAX)]
    viewers.publish(snapshot())
    with look(viewers) as late:
        late.settimeout(0.05)
        viewers.publish(snapshot())
        with pytest.raises(TimeoutError):
            late.recv(1)
        for viewer in crowd:
            viewer.close()
        viewers.publish(snapshot())  # finds that they have gone
        viewers.publish(snapshot())
        assert late.recv(1) == LINE[:1]


def test_a_flood_of_connections_holds_nobody_up(viewers: Viewers) -> None:
    """Thousands knock, most of them gone at once; each snapshot lets in eight at most."""
    longest_s, kept = 0.0, list[socket.socket]()
    with look(viewers) as watching:
        viewers.publish(snapshot())
        lines = watching.makefile("rb")
        assert lines.readline() == LINE
        for round_number in range(100):
            for _ in range(30):
                knocking = socket.socket(socket.AF_UNIX)
                knocking.setblocking(False)
                try:
                    knocking.connect(str(viewers.path))
                except BlockingIOError:  # a full house
                    knocking.close()
                    continue
                if round_number % 2:
                    knocking.close()
                else:
                    kept.append(knocking)
            began_s = time.perf_counter()
            viewers.publish(snapshot())
            longest_s = max(longest_s, time.perf_counter() - began_s)
            assert lines.readline() == LINE
        assert longest_s < PUBLISH_MAX_S
        # Those let in, and as many again as the system lets wait.
        assert len(kept) <= 4 * VIEWERS_MAX
    for knocking in kept:
        knocking.close()


def test_a_folder_that_goes_meanwhile_is_no_fault_of_the_end(tmp_path: Path) -> None:
    """The last replies are written after the viewers were let go: nothing may be in their way."""
    folder = tmp_path / "estim"
    viewers = Viewers(folder)
    viewers.path.unlink()
    folder.rmdir()
    folder.write_text("a file where the folder was")
    viewers.publish(snapshot())
    viewers.close()
    assert folder.is_file()


def test_the_socket_of_a_killed_engine_goes_when_the_next_starts(folder: Path) -> None:
    folder.mkdir()
    stale = [folder / "engine-1.sock", folder / f"engine-{os.getpid()}.sock"]
    for path in stale:
        with socket.socket(socket.AF_UNIX) as former:
            former.bind(str(path))  # a process that dies leaves just this
    living = folder / "engine-2.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(living))
        other.listen(1)
        viewers = Viewers(folder)
        assert sorted(folder.iterdir()) == sorted([living, viewers.path])
        with look(viewers) as viewer:
            viewers.publish(snapshot())
            assert viewer.recv(1) == LINE[:1]
        viewers.close()
        assert list(folder.iterdir()) == [living]


def test_a_real_engine_publishes_and_removes_its_socket_at_the_end() -> None:
    client = EngineClient.spawn(lambda reply: None, lambda reason: None)
    path = viewers_folder() / f"engine-{client.pid}.sock"
    try:
        wait_for(path.exists, 10.0, "socket")
        with socket.socket(socket.AF_UNIX) as viewer:
            viewer.settimeout(5.0)
            viewer.connect(str(path))
            lines = viewer.makefile("rb")
            seen = from_line(lines.readline())
            assert isinstance(seen, Snapshot)
            assert seen.state is HostState.DISCONNECTED
            with pytest.raises(BrokenPipeError):
                viewer.send(b'{"message":"CloseVisit","request_id":1}\n')
            later = from_line(lines.readline())
            assert isinstance(later, Snapshot)
            assert later.at_us > seen.at_us
    finally:
        assert client.close() == 0
    assert not path.exists()


def test_a_killed_engine_leaves_a_socket_that_the_next_one_removes() -> None:
    killed = EngineClient.spawn(lambda reply: None, lambda reason: None)
    stale = viewers_folder() / f"engine-{killed.pid}.sock"
    wait_for(stale.exists, 10.0, "socket")
    os.kill(killed.pid, signal.SIGKILL)
    killed.close()
    assert stale.exists()
    following = EngineClient.spawn(lambda reply: None, lambda reason: None)
    try:
        wait_for(lambda: not stale.exists(), 10.0, "removal")
    finally:
        following.close()
