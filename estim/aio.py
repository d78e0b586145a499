"""Drive a stimulator from asyncio: `estim.api`, run in a thread of its own.

    async with estim.aio.open("sim:") as stimulator:
        await stimulator.prepare(find("dpn-conventional"), duration_s=8)
        await stimulator.arm()
        await stimulator.start()
        await stimulator.set_targets_ua((12_000, 0))
        result = await stimulator.wait_until_finished()

Rules:
1. Cancelling a call stops the output and waits for zero before the cancellation goes on, however
   often it is repeated. Leaving the `async with` does too, whatever it is left for.
2. A beat goes to the engine only while a call is awaited and the event loop turns: a loop that
   stands still ends the output, as a script that calls nothing does in `estim.api`.
3. One call at a time; `stop` alone overtakes, and waits for nothing before it is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from estim import api
from estim.clock import SystemClock, VirtualClock
from estim.errors import DeviceFault, EstimError, UsageError
from estim.prepare.session import Prepared
from estim.profile.loader import LoadedProfile
from estim.session import messages as msg
from estim.session.messages import DeviceSnapshot, Reply, Request, Snapshot

_P = ParamSpec("_P")
_T = TypeVar("_T")
CANCELLED = "cancelled"


class Stimulator:
    """One visit with one device; every method is that of `estim.api.Stimulator`."""

    def __init__(self, open_one: Callable[[], api.Stimulator]) -> None:
        self._open_one = open_one
        self._worker = ThreadPoolExecutor(1, "estim-aio")
        self._opened: api.Stimulator | None = None
        self._link: _Link | None = None
        self._is_busy = False

    async def __aenter__(self) -> Stimulator:
        try:
            await self._call(self._open, asyncio.get_running_loop())
        except BaseException:
            await self.close(CANCELLED)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            await self.close()
        else:
            await self.close(str(error) if isinstance(error, EstimError) else type(error).__name__)

    @property
    def snapshot(self) -> Snapshot | None:
        """Return the newest snapshot, None before the first."""
        return self._opened.snapshot if self._opened else None

    async def identify(self) -> DeviceSnapshot:
        """Connect and ask the device who it is and what it can do; nothing flows."""
        return await self._call(self._sync.identify)

    async def prepare(
        self,
        loaded: LoadedProfile,
        *,
        duration_s: int | None = None,
        electrode_area_cm2: Decimal | None = None,
    ) -> Prepared:
        """Open the record, identify the device, and load a profile."""
        return await self._call(
            self._sync.prepare,
            loaded,
            duration_s=duration_s,
            electrode_area_cm2=electrode_area_cm2,
        )

    async def arm(self) -> None:
        """Arm at zero."""
        await self._call(self._sync.arm)

    async def start(self) -> None:
        """Begin RUNNING at zero."""
        await self._call(self._sync.start)

    async def set_targets_ua(self, targets_ua: tuple[int, ...]) -> None:
        """Set every channel's target; the device rises at its slew."""
        await self._call(self._sync.set_targets_ua, targets_ua)

    async def pause(self) -> None:
        """Go to zero, stay armed."""
        await self._call(self._sync.pause)

    async def resume(self) -> None:
        """Rise from zero to where the pause began."""
        await self._call(self._sync.resume)

    async def hold(self, duration_s: float) -> Snapshot:
        """Keep the session alive for a while."""
        return await self._call(self._sync.hold, duration_s)

    async def wait_for(
        self, is_reached: Callable[[Snapshot], bool], timeout_s: float = api.ANSWER_S
    ) -> Snapshot:
        """Keep the session alive until a snapshot is as asked; `is_reached` runs in the thread."""
        return await self._call(self._sync.wait_for, is_reached, timeout_s)

    async def wait_until_finished(self) -> api.Result:
        """Keep the session alive until it comes to rest."""
        return await self._call(self._sync.wait_until_finished)

    async def stop(self, reason: str = "stop") -> None:
        """Go to zero now, in whatever state, also while another call waits; wait for zero."""
        self._send_stop(reason)
        if self._opened is not None:
            await self._finish(self._submit(self._opened.stop, reason))

    async def close(self, reason: str = "closed") -> None:
        """Stop if need be, seal the record, end the engine; closing twice does nothing."""
        self._send_stop(reason)
        opened, self._opened = self._opened, None
        if opened is not None:
            await self._finish(self._submit(opened.close, reason))
        self._worker.shutdown(wait=False)

    # Underneath.

    @property
    def _sync(self) -> api.Stimulator:
        if self._opened is None:
            raise DeviceFault("the stimulator is not open")
        return self._opened

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._opened = self._open_one()
        self._link = self._opened.engine = _Link(self._opened.engine, loop)

    def _submit(
        self, act: Callable[_P, _T], *given: _P.args, **named: _P.kwargs
    ) -> asyncio.Future[_T]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._worker, partial(act, *given, **named))

    async def _call(self, act: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T:
        if self._is_busy:
            raise UsageError("another call is waiting; only stop overtakes it")
        self._is_busy = True
        try:
            running = self._submit(act, *given, **named)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                self._send_stop(CANCELLED)
                if self._link is not None:
                    self._link.is_abandoned = True
                await self._settle(running)
                await self._settle(self._submit(self._stop_abandoned))
                raise
        finally:
            self._is_busy = False

    def _stop_abandoned(self) -> None:
        if self._link is not None and self._opened is not None:
            self._link.is_abandoned = False
            self._opened.stop(CANCELLED)

    def _send_stop(self, reason: str) -> None:
        """Send a stop from this very thread, waiting for nothing."""
        if self._link is not None and self._opened is not None:
            self._link.send(msg.Stop(self._link.new_id(), reason))

    async def _settle(self, running: asyncio.Future[Any]) -> bool:
        """Wait for the thread through any cancellation; tell whether there was one."""
        was_cancelled = False
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:
                was_cancelled = True
                self._send_stop(CANCELLED)
        running.exception()  # has been seen, whether it is raised or not
        return was_cancelled

    async def _finish(self, running: asyncio.Future[None]) -> None:
        if await self._settle(running):
            raise asyncio.CancelledError
        running.result()


class _Abandoned(Exception):
    """Nobody waits for this call any more."""


class _Link:
    """An engine whose beat is that of the event loop (rule 2), and whose waiting can be ended."""

    def __init__(self, engine: api.Engine, loop: asyncio.AbstractEventLoop) -> None:
        self.is_abandoned = False
        self._engine = engine
        self._loop = loop
        self._has_turned = True

    @property
    def clock(self) -> SystemClock | VirtualClock:
        return self._engine.clock

    @property
    def has_died(self) -> bool:
        return self._engine.has_died

    def new_id(self) -> int:
        return self._engine.new_id()

    def send(self, request: Request) -> None:
        if isinstance(request, msg.Heartbeat):
            if not self._has_turned:
                return
            self._has_turned = False
            with contextlib.suppress(RuntimeError):  # a closed loop turns no more
                self._loop.call_soon_threadsafe(self._turned)
        self._engine.send(request)

    def pump(self, timeout_s: float) -> list[Reply]:
        if self.is_abandoned:
            raise _Abandoned
        return self._engine.pump(timeout_s)

    def close(self) -> None:
        self._engine.close()

    def _turned(self) -> None:
        self._has_turned = True


def open(  # reads as `estim.aio.open`
    url: str,
    *,
    bench_ohm: int | None = None,
    is_virtual: bool = False,
    seed: int | None = None,
    records: Path | None = None,
) -> Stimulator:
    """Open a device for a bench session with `async with`; the arguments are `estim.api.open`'s."""
    named: dict[str, Any] = {"bench_ohm": bench_ohm, "is_virtual": is_virtual, "seed": seed}
    return Stimulator(partial(api.open, url, records=records, **named))
