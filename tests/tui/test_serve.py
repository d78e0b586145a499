"""`estim serve` as a process: who may look on, and that nothing it started outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from estim.cli.parser import parse
from estim.engine.viewers import Viewers, viewers_folder
from estim.errors import UsageError
from estim.tui.serving import _packet
from tests.tui.browser import Browser, find_browser
from tests.tui.processes import children, is_running, wait_until
from tests.tui.snapshots import channel, snapshot
from tests.tui.terminal import CHECKOUT

if TYPE_CHECKING:
    from aiohttp import ClientSession, ClientWebSocketResponse

pytest.importorskip("textual_serve", reason="the extra `serve` is not installed")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

GONE_S = 2.0
START_S = 15.0


@dataclass(frozen=True)
class Served:
    """A server's process and the address that it printed."""

    process: subprocess.Popen[str]
    url: str

    @property
    def origin(self) -> str:
        return self.url.rsplit("/", 2)[0]

    @property
    def viewers(self) -> list[int]:
        return children(self.process.pid)


@contextmanager
def server(*arguments: str) -> Iterator[Served]:
    with subprocess.Popen(
        [sys.executable, "-m", "estim", "serve", "--port", "0", *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TEXTUAL_FPS": "20"},
    ) as process:
        assert process.stdout is not None
        try:
            yield Served(process, process.stdout.readline().strip())
        finally:
            process.kill()


@pytest.fixture
def served() -> Iterator[Served]:
    with server() as one:
        yield one


@asynccontextmanager
async def client() -> AsyncIterator[ClientSession]:
    from aiohttp import ClientSession

    async with ClientSession() as one:
        yield one


async def open_tab(session: ClientSession, served: Served) -> ClientWebSocketResponse:
    """Open a page's socket and wait until its viewer draws."""
    tab = await session.ws_connect(f"{served.url}ws", headers={"Origin": served.origin})
    async with asyncio.timeout(START_S):
        await tab.receive_bytes()
    return tab


async def status(session: ClientSession, url: str, **headers: str) -> int:
    async with session.get(url, headers=headers) as answer:
        return answer.status


async def status_of_socket(session: ClientSession, url: str, **headers: str) -> int:
    from aiohttp import WSServerHandshakeError

    try:
        async with session.ws_connect(url, headers=headers):
            return 101
    except WSServerHandshakeError as error:
        return error.status


# Who may look on.


async def test_page_and_socket_need_token_host_and_origin(served: Served) -> None:
    origin, port = served.origin, urlsplit(served.url).port
    socket_url = f"{served.url}ws"
    async with client() as session:
        assert await status(session, served.url) == 200
        assert await status(session, served.url, Origin=origin) == 200
        assert await status(session, f"{origin}/") == 403
        assert await status(session, f"{origin}/wrong-token/") == 403
        assert await status(session, served.url[:-2] + "/") == 403
        assert await status(session, served.url, Origin="http://example.org") == 403
        assert await status(session, served.url, Origin="null") == 403
        assert await status(session, served.url, Host=f"rebound.example:{port}") == 403
        assert await status(session, served.url, **{"Sec-Fetch-Site": "cross-site"}) == 403
        assert await status(session, f"{origin}/page/viewer.js") == 200
        assert await status(session, f"{origin}/page/viewer.js", Host="rebound.example") == 403
        assert await status(session, f"{origin}/page/..%2fserving.py") == 404

        assert await status_of_socket(session, socket_url) == 403
        assert await status_of_socket(session, socket_url, Origin="http://example.org") == 403
        assert (
            await status_of_socket(session, socket_url, Origin=f"http://127.0.0.1:{port}0") == 403
        )
        assert await status_of_socket(session, f"{origin}/ws", Origin=origin) == 403
        assert await status_of_socket(session, f"{origin}/wrong/ws", Origin=origin) == 403
        assert served.viewers == []
        assert await status_of_socket(session, socket_url, Origin=origin) == 101


async def test_the_page_asks_no_stranger_for_anything(served: Served) -> None:
    async with client() as session, session.get(served.url) as answer:
        text = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    assert text.count("http") == 0
    assert text.count("//") == 1  # its own socket
    assert f"connect-src ws://{urlsplit(served.url).netloc};" in policy
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org", ""])
def test_any_other_host_is_refused_in_one_line(host: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "estim", "serve", "--port", "0", "--host", host],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "only this computer itself may look on" in ended.stderr


@pytest.mark.parametrize("port", ["", "x", "80", "65536", "-1", "٣"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    arguments = parse(["serve", f"--port={port}"])
    with pytest.raises(UsageError, match="expected"):
        arguments.run(arguments)


def test_a_port_in_use_is_refused_in_words(served: Served) -> None:
    arguments = parse(["serve", "--port", str(urlsplit(served.url).port)])
    with pytest.raises(UsageError, match="in use"):
        arguments.run(arguments)


# Nothing is left behind.


async def test_a_viewer_is_gone_soon_after_its_tab_was_closed(served: Served) -> None:
    async with client() as session:
        tab, other = [await open_tab(session, served) for _ in range(2)]
        first, second = sorted(served.viewers)
        await tab.close()
        assert await asyncio.to_thread(wait_until, lambda: len(served.viewers) == 1, GONE_S)
        other._response.connection.transport.abort()  # type: ignore[union-attr]
        assert await asyncio.to_thread(
            wait_until, lambda: not is_running(first) and not is_running(second), GONE_S
        )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
async def test_viewers_are_gone_soon_after_the_server_was_ended(
    served: Served, number: signal.Signals
) -> None:
    async with client() as session:
        tab = await open_tab(session, served)
        (viewer,) = served.viewers
        served.process.send_signal(number)
        assert await asyncio.to_thread(wait_until, lambda: not is_running(viewer), GONE_S)
        await tab.close()
    served.process.wait(5)


async def test_a_stopped_viewer_goes_with_its_tab(served: Served) -> None:
    async with client() as session:
        tab = await open_tab(session, served)
        (viewer,) = served.viewers
        os.kill(viewer, signal.SIGSTOP)
        await tab.close()
        assert await asyncio.to_thread(wait_until, lambda: not is_running(viewer), GONE_S)


async def test_a_page_learns_at_once_that_its_viewer_died(served: Served) -> None:
    from aiohttp import WSMsgType

    async with client() as session:
        tab = await open_tab(session, served)
        os.kill(served.viewers[0], signal.SIGKILL)
        async with asyncio.timeout(GONE_S):
            while (await tab.receive()).type is WSMsgType.BINARY:
                pass
        assert tab.closed


async def test_a_page_that_takes_nothing_is_let_go(served: Served) -> None:
    """What it would show at last is old: 2 s after a message that it never confirmed."""
    async with client() as session:
        tab = await open_tab(session, served)
        (viewer,) = served.viewers
        assert not await asyncio.to_thread(wait_until, lambda: not is_running(viewer), 1.5)
        assert await asyncio.to_thread(wait_until, lambda: not is_running(viewer), 0.5 + GONE_S)
        await tab.close()


NONSENSE = [
    "", "[]", "{}", '["stop"]', '["stdin"]', '["stdin", 5]', '["resize", []]', "[" * 9999,
    '["stdin", "\\ud800"]',
]  # fmt: skip


@pytest.mark.parametrize("said", NONSENSE)
def test_nonsense_from_a_page_is_no_packet(said: str) -> None:
    assert _packet(said, deque()) is None


def test_what_a_page_may_say_becomes_a_packet_of_the_web_driver() -> None:
    assert _packet('["stdin", "aé"]', deque()) == b"D\0\0\0\x03a\xc3\xa9"
    told = b'{"type": "resize", "width": 100, "height": 24}'
    assert _packet('["resize", {"width": 100, "height": 99999}]', deque()) == b"M\0\0\0." + told
    unseen = deque([1, 2])
    assert _packet('["seen"]', unseen) == b""
    assert unseen == deque([2])


async def test_nonsense_from_a_page_ends_its_viewer_and_nothing_else(served: Served) -> None:
    async with client() as session:
        tab = await open_tab(session, served)
        (viewer,) = served.viewers
        await tab.send_str("nonsense")
        assert await asyncio.to_thread(wait_until, lambda: not is_running(viewer), GONE_S)
        assert await status(session, served.url) == 200


# In a browser.

browser = pytest.mark.skipif(
    find_browser() is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)
IS_COVERED = "!document.querySelector('#cover').classList.contains('fresh')"
PICTURES_VARIABLE = "ESTIM_BROWSER_PICTURES"


@browser
async def test_in_a_browser_it_shows_a_session_and_covers_what_is_old(
    served: Served, tmp_path: Path
) -> None:
    """One start of the browser for the whole story, since it takes seconds.

    The screenshots are kept in the folder that ESTIM_BROWSER_PICTURES names, for looking at.
    """
    program = find_browser()
    assert program is not None
    pictures = Path(os.environ.get(PICTURES_VARIABLE, tmp_path))
    engine = Viewers(viewers_folder())
    publishing: asyncio.Task[None] | None = None
    try:
        async with Browser(program, tmp_path) as page:
            await page.call("Page.navigate", url=served.url)
            await page.until(f"!({IS_COVERED})")
            publishing = asyncio.create_task(_publish(engine))
            await asyncio.sleep(1.5)
            shot = pictures / "running.png"
            await page.screenshot(shot)
            assert shot.stat().st_size > 10_000
            assert not await page.evaluate(IS_COVERED)

            (viewer,) = served.viewers
            os.kill(viewer, signal.SIGSTOP)
            await page.until(IS_COVERED, 2.0)
            await page.screenshot(pictures / "stands-still.png")
            os.kill(viewer, signal.SIGCONT)
            await page.until(f"!({IS_COVERED})", 5.0)

            served.process.kill()
            await page.until("document.body.classList.contains('-closed')", 5.0)
            assert await page.evaluate(IS_COVERED)
            told = await page.evaluate("document.querySelector('#cover').innerText")
            assert "UNKNOWN" in told
            assert "The connection has ended" in told
            await page.screenshot(pictures / "ended.png")
            assert not [error for error in page.errors if "Content Security Policy" in error]
    finally:
        if publishing is not None:
            publishing.cancel()
        engine.close()


async def _publish(engine: Viewers) -> None:
    began = time.monotonic()
    while True:
        reached_ua = min(12_000, int((time.monotonic() - began) * 8_000))
        rows: tuple[Any, ...] = (channel(shown_ua=reached_ua, target_ua=reached_ua),)
        engine.publish(snapshot(at_us=time.monotonic_ns() // 1000, channels=rows))
        await asyncio.sleep(0.05)
