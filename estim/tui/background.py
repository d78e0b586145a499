"""Read in a thread of its own that nobody waits for at the end.

A worker thread of Textual or asyncio holds up leaving until it is done: a record of a gigabyte
takes minutes to verify. What writes a file belongs into `asyncio.to_thread`, which is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from estim.errors import EstimError

T = TypeVar("T")


async def read_in_background(read: Callable[[], T]) -> T:
    """Return what a call gives that only reads.

    Raises:
        EstimError: what the call raised.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def give(result: T) -> None:
        if not done.done():
            done.set_result(result)

    def refuse(error: BaseException) -> None:
        if not done.done():
            done.set_exception(error)

    def run() -> None:
        with contextlib.suppress(RuntimeError):  # the interface has been left meanwhile
            try:
                result = read()
            except (EstimError, OSError) as error:
                loop.call_soon_threadsafe(refuse, error)
            else:
                loop.call_soon_threadsafe(give, result)

    threading.Thread(target=run, name="reading", daemon=True).start()
    return await done
