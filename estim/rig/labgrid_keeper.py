"""The process that holds a place of labgrid's for a job: `-m estim.rig.labgrid_keeper`.

It says `held` once, then nothing until `lost REASON`; `refused REASON` where it gets nothing. The
end of its standard input is the end of its job.

Rules:
1. Tags of the place tell owner, time-to-live and a beat; a beat that stands still for the
   time-to-live, on the watch of whoever wants the place, is a keeper that has died. No two
   machines' clocks are compared.
2. A place that is held without such tags was acquired by hand, and is never taken.
3. Another owner's tag on the place, a release, a resource that is gone and a coordinator that is
   gone all mean that it is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from typing import Any

import grpc
from labgrid.remote.client import ClientSession
from labgrid.remote.generated import labgrid_coordinator_pb2 as messages

from estim.rig.labgrid_place import HELD, LOST, REFUSED, WAITING

OWNER, BEAT, TTL = "estim_owner", "estim_beat", "estim_ttl"
WATCH_S = 0.05
ANSWER_S = 10.0
LET_GO_S = 1.0
"""From the job's end to letting go: the engine and, if that died too, the lease have ended output
well before."""


class _Refused(Exception):
    """The place is not to be had."""


class Keeper:
    """Take a place, renew the hold, say when it is lost, let it go."""

    def __init__(self, session: ClientSession, place: str, ttl_s: int, is_watching: bool) -> None:
        self._session = session
        self._place = place
        self._ttl_s = ttl_s
        self._is_watching = is_watching
        self._owner = f"{session.gethostname()}/{session.getuser()}/{os.getppid()}"
        self._beat = 0

    async def run(self, job_ended: asyncio.Event) -> int:
        """Hold the place until the job ends or the place is lost; return the exit code."""
        try:
            await self._take(job_ended)
        except _Refused as error:
            _say(f"{REFUSED} {error}")
            return 1
        _say(HELD)
        renew_at_s = 0.0
        now_s = asyncio.get_running_loop().time
        while not job_ended.is_set():
            reason = self._loss()
            if reason:
                _say(f"{LOST} {reason}")
                return 1
            if now_s() >= renew_at_s and not self._is_watching:
                renew_at_s = now_s() + self._ttl_s / 3
                await self._renew()
            await _wait(job_ended, WATCH_S)
        await asyncio.sleep(LET_GO_S)
        await self._let_go()
        return 0

    async def _take(self, job_ended: asyncio.Event) -> None:
        place = self._session.places.get(self._place)
        if place is None:
            raise _Refused("there is no such place")
        if self._is_watching:
            return
        if place.acquired:
            await self._outwait(place, job_ended)
        try:
            await self._session.stub.AcquirePlace(
                messages.AcquirePlaceRequest(placename=self._place)
            )
            await self._renew()
        except grpc.aio.AioRpcError as error:
            raise _Refused(str(error.details())) from None
        if reason := self._loss():
            await self._let_go()
            raise _Refused(reason)

    async def _outwait(self, place: Any, job_ended: asyncio.Event) -> None:
        """Release a place whose keeper has died; refuse any other."""
        owner, beat = place.tags.get(OWNER), place.tags.get(BEAT)
        if not owner:
            raise _Refused(f"it is acquired by {place.acquired}")
        ttl_s = int(place.tags.get(TTL, self._ttl_s))
        _say(f"{WAITING} {ttl_s}")
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + ttl_s
        while place.acquired and now_s() < until_s:
            await _wait(job_ended, WATCH_S)
            is_same = place.tags.get(OWNER) == owner and place.tags.get(BEAT) == beat
            if place.acquired and (job_ended.is_set() or not is_same):
                raise _Refused(f"it is held by {place.tags.get(OWNER, place.acquired)}")
        await self._release(place.acquired)

    def _loss(self) -> str:
        """Return why the place is lost, '' for not."""
        session, place = self._session, self._session.places.get(self._place)
        if session.stopping.is_set():
            return "the coordinator is gone"
        if place is None or not place.acquired:
            return "it was released"
        if not self._is_watching and place.tags.get(OWNER) != self._owner:
            return f"it was taken by {place.tags.get(OWNER) or place.acquired}"
        if not place.acquired_resources:
            return "it has no resource"
        for exporter, group, _, name in place.acquired_resources:
            entry = session.resources.get(exporter, {}).get(group, {}).get(name)
            if entry is None or not entry.data.get("avail"):
                return f"its exporter {exporter} no longer offers {group}/{name}"
        return ""

    async def _renew(self) -> None:
        self._beat += 1
        tags = {OWNER: self._owner, BEAT: str(self._beat), TTL: str(self._ttl_s)}
        await self._set_tags(tags)

    async def _let_go(self) -> None:
        """Release the place where it is still this keeper's."""
        place = self._session.places.get(self._place)
        if self._is_watching or place is None or place.tags.get(OWNER) != self._owner:
            return
        await self._set_tags({OWNER: "", BEAT: "", TTL: ""})
        await self._release(place.acquired)

    async def _set_tags(self, tags: dict[str, str]) -> None:
        try:
            await self._session.stub.SetPlaceTags(
                messages.SetPlaceTagsRequest(placename=self._place, tags=tags)
            )
            await self._session.sync_with_coordinator()
        except grpc.aio.AioRpcError:
            return  # a coordinator that is gone is seen as a loss

    async def _release(self, acquired_by: str | None) -> None:
        if not acquired_by:
            return
        try:
            await self._session.stub.ReleasePlace(
                messages.ReleasePlaceRequest(placename=self._place, fromuser=acquired_by)
            )
            await self._session.sync_with_coordinator()
        except grpc.aio.AioRpcError:
            return


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the event."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _say(line: str) -> None:
    try:
        print(line.replace("\n", " "), flush=True)
    except OSError:
        return  # the job has gone: the end of its input tells it too


async def _keep(arguments: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    job_ended = asyncio.Event()

    def see_input() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            job_ended.set()

    loop.add_reader(sys.stdin.fileno(), see_input)
    session = ClientSession(arguments.coordinator, loop)
    try:
        await asyncio.wait_for(session.start(), ANSWER_S)
    except Exception as error:  # labgrid's own, which has no class of its own
        _say(f"{REFUSED} the coordinator {arguments.coordinator} does not answer ({error})")
        return 1
    try:
        keeper = Keeper(session, arguments.place, arguments.ttl_s, arguments.watch)
        return await keeper.run(job_ended)
    finally:
        await session.stop()
        await session.close()


def main() -> int:
    """Keep a place; return the exit code."""
    parser = argparse.ArgumentParser(prog="estim.rig.labgrid_keeper")
    parser.add_argument("place")
    parser.add_argument("ttl_s", type=int)
    parser.add_argument("coordinator")
    parser.add_argument("--watch", action="store_true")
    arguments = parser.parse_args()
    # The job ends this by closing its input: a key at the terminal must not end it first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return asyncio.run(_keep(arguments))


if __name__ == "__main__":
    sys.exit(main())
