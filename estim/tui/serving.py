"""Serve the view-only page on loopback: one process of `estim.tui.viewer` for each tab.

Rules:
1. Loopback alone; every request must name this very server in Host (no rebound name), must not come
   from another page (Origin, Sec-Fetch-Site), and page and socket need the token in their path.
2. A tab's process is killed when its connection ends for whatever reason; it ends by itself when
   this process dies (`estim.tui.parent`). It holds nothing that would have to be saved.
3. A page that does not take what it is sent is let go: what it would show later is old.
4. Of what a page sends, keys, clicks and sizes reach the viewer, and that reaches no engine.

The page runs the front end of textual-serve, and the viewer talks to this process through Textual's
own web driver. The server of textual-serve is not used: it knows no token, binds and answers to any
name, starts a shell for each tab, leaves orphans, and its page asks a stranger for a font.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import sys
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import estim
from estim.clock import SystemClock
from estim.errors import UsageError
from estim.units import US_PER_S

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
TABS_MAX = 8
MESSAGE_MAX = 64 * 1024
PACKET_MAX = 4 * 1024 * 1024
UNSEEN_US = 2 * US_PER_S
COLUMNS_MAX, ROWS_MAX = 500, 200
SHUTDOWN_S = 1.0
HEARTBEAT_S = 5.0
PAGE = Path(__file__).with_name("page")
_PRELUDE = b"__GANGLION__\n"
_FORBIDDEN = "estim: refused. Open the address that `estim serve` printed.\n"


class Server:
    """Hold the token, the socket and the tabs of one server.

    Args:
        host: one of `LOOPBACK_HOSTS`.
        port: 0 for any.

    Raises:
        UsageError: another host, or the port is in use.
    """

    def __init__(self, host: str, port: int) -> None:
        self._token = secrets.token_urlsafe(32)
        self._clock = SystemClock()
        self._socket = _listen(host, port)
        address, port = self._socket.getsockname()[:2]
        self._authority = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self._viewers: set[asyncio.subprocess.Process] = set()
        self._tab_count = 0

    @property
    def url(self) -> str:
        """Return the address of the page, token included."""
        return f"http://{self._authority}/{self._token}/"

    def serve(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        from aiohttp import web

        web.run_app(
            self.application(),
            sock=self._socket,
            print=None,
            access_log=None,  # it would hold the token
            shutdown_timeout=SHUTDOWN_S,
        )

    def application(self) -> web.Application:
        """Return what answers requests."""
        from aiohttp import web

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._judge(request)
            return await handler(request)

        application = web.Application(middlewares=[guard])
        application.add_routes(
            [
                web.get(f"/{self._token}/", self._page),
                web.get(f"/{self._token}/ws", self._look),
                web.static("/page", PAGE),
                web.static("/static", _front_end()),
            ]
        )
        application.on_response_prepare.append(self._harden)
        application.on_shutdown.append(self._end_viewers)
        return application

    # Who may ask.

    def _judge(self, request: web.Request) -> None:
        """Refuse what is not meant for this server, or comes from another page (rule 1)."""
        from aiohttp import web

        origins = request.headers.getall("Origin", [])
        is_own = (
            request.headers.getall("Host", []) == [self._authority]
            and all(origin == f"http://{self._authority}" for origin in origins)
            and request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        )
        has_token = secrets.compare_digest(
            request.path.split("/")[1].encode("utf-8", "replace"), self._token.encode()
        )
        is_public = request.path.startswith(("/page/", "/static/"))
        if not is_own or not (has_token or is_public):
            raise web.HTTPForbidden(text=_FORBIDDEN)
        if request.path.endswith("/ws") and not origins:
            raise web.HTTPForbidden(text=_FORBIDDEN)

    async def _harden(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(
            {
                "Content-Security-Policy": (
                    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
                    f"font-src 'self'; img-src data:; connect-src ws://{self._authority}; "
                    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
                ),
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Cache-Control": "no-store",
            }
        )

    async def _page(self, request: web.Request) -> web.Response:
        from aiohttp import web

        text = Template((PAGE / "index.html").read_text("utf-8")).substitute(
            websocket=f"ws://{self._authority}/{self._token}/ws"
        )
        return web.Response(text=text, content_type="text/html")

    # Tabs.

    async def _look(self, request: web.Request) -> web.StreamResponse:
        """Run a viewer for a tab, as long as both are there."""
        from aiohttp import web

        if self._tab_count >= TABS_MAX:
            raise web.HTTPServiceUnavailable(text=f"estim: {TABS_MAX} pages look on already.\n")
        self._tab_count += 1
        try:
            columns = _within(request.query.get("width"), 80, COLUMNS_MAX)
            rows = _within(request.query.get("height"), 24, ROWS_MAX)
            page = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_MAX)
            await page.prepare(request)
            await self._join(page, await _start_viewer(columns, rows))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(page.close(), SHUTDOWN_S)
            return page
        finally:
            self._tab_count -= 1

    async def _join(self, page: web.WebSocketResponse, viewer: asyncio.subprocess.Process) -> None:
        """Carry between page and viewer until one has ended; leave no viewer behind."""
        assert viewer.stdin is not None
        assert viewer.stdout is not None
        self._viewers.add(viewer)
        unseen: deque[int] = deque()
        tasks = [
            asyncio.create_task(self._forward(viewer.stdout, page, unseen)),
            asyncio.create_task(_obey(page, viewer.stdin, unseen)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await _kill(viewer)
            self._viewers.discard(viewer)
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(
        self, viewer: StreamReader, page: web.WebSocketResponse, unseen: deque[int]
    ) -> None:
        """Pass on what the viewer draws, until it ends or the page lags (rule 3)."""
        if await viewer.readline() != _PRELUDE:
            return
        with contextlib.suppress(IncompleteReadError, ConnectionError):
            while True:
                head = await viewer.readexactly(5)
                size = int.from_bytes(head[1:], "big")
                if size > PACKET_MAX:
                    return
                drawn = await viewer.readexactly(size)
                now_us = self._clock.now_us()
                if unseen and now_us - unseen[0] > UNSEEN_US:
                    return
                if head[:1] == b"D":  # nothing else is meant for the page
                    unseen.append(now_us)
                    await asyncio.wait_for(page.send_bytes(drawn), UNSEEN_US / US_PER_S)

    async def _end_viewers(self, application: web.Application) -> None:
        for viewer in list(self._viewers):
            await _kill(viewer)


async def _obey(page: web.WebSocketResponse, viewer: StreamWriter, unseen: deque[int]) -> None:
    """Pass on keys and sizes from a page, until it goes or sends nonsense."""
    from aiohttp import WSMsgType

    async for message in page:
        if message.type is not WSMsgType.TEXT:
            return
        packet = _packet(message.data, unseen)
        if packet is None:
            return
        if packet:
            with contextlib.suppress(ConnectionError):
                viewer.write(packet)
                await viewer.drain()


def _packet(text: str, unseen: deque[int]) -> bytes | None:
    """Return what a page's message means to the viewer: b'' for nothing, None for nonsense."""
    try:
        kind, *more = json.loads(text)
        if kind == "seen":
            if unseen:
                unseen.popleft()
            return b""
        if kind == "ping":
            return b""
        if kind == "stdin":
            typed: str = more[0]
            return _framed(b"D", typed.encode())
        if kind == "resize":
            size = more[0]
            told: dict[str, Any] = {
                "type": "resize",
                "width": _within(size["width"], 80, COLUMNS_MAX),
                "height": _within(size["height"], 24, ROWS_MAX),
            }
        elif kind in ("focus", "blur"):
            told = {"type": kind}
        else:
            return None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None
    return _framed(b"M", json.dumps(told).encode())


def _framed(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "big") + payload


def _within(given: object, default: int, maximum: int) -> int:
    """Return a count of cells that a page asked for, where it is one."""
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 6:
        given = int(given)
    return given if type(given) is int and 1 <= given <= maximum else default


async def _start_viewer(columns: int, rows: int) -> asyncio.subprocess.Process:
    """Start a viewer as a child of this very process, without a shell between."""
    environment = {
        name: text
        for name, text in os.environ.items()
        if name != "NO_COLOR" and not name.startswith("TEXTUAL")
    }
    checkout = str(Path(estim.__file__).resolve().parent.parent)
    former = environment.get("PYTHONPATH", "").split(os.pathsep)
    environment |= {
        # Absolute entries alone: a relative one would load what lies in the working folder.
        "PYTHONPATH": os.pathsep.join([checkout, *filter(os.path.isabs, former)]),
        "TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver",
        "TEXTUAL_COLOR_SYSTEM": "truecolor",
        "TEXTUAL_ANIMATIONS": "none",
        "COLUMNS": str(columns),
        "ROWS": str(rows),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "estim.tui.viewer",
        str(os.getpid()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=environment,
    )


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _front_end() -> Path:
    """Return the folder of textual-serve's page.

    Raises:
        UsageError: the extra is not installed.
    """
    spec = find_spec("textual_serve")
    if spec is None or spec.origin is None or find_spec("aiohttp") is None:
        raise UsageError("serving needs an extra: pip install 'estim[serve]'")
    return Path(spec.origin).with_name("static")


def _listen(host: str, port: int) -> socket.socket:
    if host not in LOOPBACK_HOSTS:
        raise UsageError(
            f"--host {host}: only this computer itself may look on, as {', '.join(LOOPBACK_HOSTS)}"
        )
    _front_end()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.replace("localhost", "127.0.0.1"), port))
        listener.listen()  # at once: the address is printed before the loop runs
    except OSError as error:
        listener.close()
        raise UsageError(f"--port {port}: {error.strerror}") from None
    return listener
