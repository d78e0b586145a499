"""Live in child processes that kill themselves before a call: `crash_child FOLDER LIFE CALL...`.

Beside each child's folder a file holds what it had promised, as pickles.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from estim.prepare import roster
from tests.record.crash_disk import Call, Disk
from tests.record.crash_lives import Tell, live_configuration, live_threaded_session

CHILD_LIVES: dict[str, Callable[[Path, Tell], None]] = {
    "session": live_threaded_session,
    "configuration": live_configuration,
}


def main(folder: Path, life: str, numbers: list[int]) -> None:
    """Have one child for each number; check that each was killed."""
    for number in numbers:
        child = os.fork()
        if child == 0:
            _die_at(folder / str(number), life, number)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), status


def _die_at(root: Path, life: str, number: int) -> None:
    root.mkdir()
    told_at = os.open(root.with_suffix(".told"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def at_call(begun: int, call: Call) -> None:
        if begun == number:
            os.kill(os.getpid(), signal.SIGKILL)

    roster.SCRYPT_N = 2  # nobody guesses a PIN here
    try:
        with Disk(root, at_call=at_call):
            CHILD_LIVES[life](root, lambda told: _tell(told_at, told))
    finally:
        os._exit(0)


def _tell(told_at: int, told: tuple[Any, ...]) -> None:
    os.write(told_at, pickle.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [int(number) for number in sys.argv[3:]])
