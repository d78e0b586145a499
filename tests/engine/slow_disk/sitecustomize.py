"""Let a real process have a slow disk: loaded by Python itself, from PYTHONPATH, before anything.

`ESTIM_TEST_DISK` names a file that holds how many seconds each sync takes; `hang` means until the
file says otherwise. The sync then happens for real. Waiting lets other threads run, as a sync does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TOLD = Path(os.environ["ESTIM_TEST_DISK"])


def _slowly(sync: Callable[[Any], None]) -> Callable[[Any], None]:
    def slow(descriptor: Any) -> None:
        while (told := _TOLD.read_text().strip()) in ("hang", ""):  # empty while it is written
            time.sleep(0.01)
        time.sleep(float(told))
        sync(descriptor)

    return slow


for _name in ("fsync", "fdatasync"):
    setattr(os, _name, _slowly(getattr(os, _name)))
