"""Fuzz one target in this process: `python -m tests.fuzz.worker TARGET` and libFuzzer's flags."""

from __future__ import annotations

import sys

import atheris

# Before anything of ours is imported: what was imported before is not looked into.
with atheris.instrument_imports(include=["estim", "firmware_protocol", "tomllib", "csv", "json"]):
    from tests.fuzz.targets import TARGETS


def _try(octets: bytes) -> None:
    TARGETS[sys.argv[1]].run(octets)


if __name__ == "__main__":
    # libFuzzer calls itself by its first word when it merges, through a shell.
    itself = f"'{sys.executable}' -m tests.fuzz.worker {sys.argv[1]}"
    atheris.Setup([itself, *sys.argv[2:]], _try)
    atheris.Fuzz()
