"""A headless Chromium, driven through its own debugging protocol: no other software is needed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1000,640",
    "--remote-debugging-port=0",
)
START_S = 20.0


def find_browser() -> str | None:
    """Return the path of a Chromium, None where this machine has none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """Hold one browser with one page."""

    def __init__(self, program: str, folder: Path) -> None:
        log = folder / "chromium.log"
        with log.open("wb") as written:
            self._process = subprocess.Popen(
                [program, *FLAGS, f"--user-data-dir={folder / 'chromium'}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=written,
                start_new_session=True,
            )
        self._log = log
        self._number = 0
        self.errors: list[str] = []

    async def __aenter__(self) -> Browser:
        from aiohttp import ClientSession

        self._client = ClientSession()
        self._line = await self._client.ws_connect(await self._address(), max_msg_size=0)
        self._session = ""
        target = (await self.call("Target.getTargets"))["targetInfos"]
        page = next(one["targetId"] for one in target if one["type"] == "page")
        attached = await self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        await self.call("Runtime.enable")
        await self.call("Log.enable")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self._client.close()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(5)

    async def _address(self) -> str:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            found = re.search(r"DevTools listening on (ws://\S+)", self._log.read_text())
            if found:
                return found[1]
            await asyncio.sleep(0.05)
        raise AssertionError(f"the browser did not start: {self._log.read_text()}")

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call the browser; keep what its page complains of meanwhile."""
        self._number += 1
        number = self._number
        asked = {"id": number, "method": method, "params": parameters}
        await self._line.send_str(
            json.dumps(asked | ({"sessionId": self._session} if self._session else {}))
        )
        async with asyncio.timeout(START_S):
            while True:
                told = json.loads((await self._line.receive()).data)
                if told.get("id") == number:
                    assert "error" not in told, told
                    result: dict[str, Any] = told["result"]
                    return result
                if told.get("method") == "Runtime.exceptionThrown":
                    self.errors.append(json.dumps(told["params"]))
                if told.get("method") == "Log.entryAdded":
                    self.errors.append(told["params"]["entry"]["text"])

    async def evaluate(self, script: str) -> Any:
        """Return what an expression is in the page."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def until(self, script: str, timeout_s: float = 15.0) -> None:
        """Wait until an expression holds in the page."""
        end = time.monotonic() + timeout_s
        while not await self.evaluate(script):
            assert time.monotonic() < end, f"{script} never held; {self.errors}"
            await asyncio.sleep(0.05)

    async def press(self, key: str, code: int) -> None:
        """Press a key in the page."""
        for kind in ("rawKeyDown", "char", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                text=key if kind == "char" else "",
                windowsVirtualKeyCode=code,
            )

    async def screenshot(self, path: Path) -> None:
        """Keep what the page looks like."""
        shot = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))
