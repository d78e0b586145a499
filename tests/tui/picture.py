"""Take the picture for the README: `python -m tests.tui.picture docs/session.svg`."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.tui.harness import WatchedApp, drive, open_demo, start, until

SIZE = (100, 30)
_FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)
STEPS = 14


def take(path: Path) -> None:
    """Run the demo session on the simulator, raise both channels by 0.5 mA a step, and save it."""

    async def script(app: WatchedApp, pilot: Pilot[Any]) -> None:
        await open_demo(app, pilot)
        await start(app, pilot)
        for step in range(1, STEPS + 1):
            await pilot.press("+")
            await until(lambda wanted=step: f"commanded 1: {wanted / 2:.1f} mA" in app.text())  # type: ignore[misc]
            await pilot.pause(0.5)
        await until(lambda: app.text().count("✓ good") == 2)
        await pilot.pause(1.0)
        # Without the fonts that it would fetch: a picture asks nobody for anything.
        path.write_text(_FONT_FACE.sub("", app.export_screenshot(title="estim")))

    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        os.environ["COLORTERM"] = "truecolor"
        drive(script, Path(folder) / "records", SIZE)


if __name__ == "__main__":
    take(Path(sys.argv[1]))
