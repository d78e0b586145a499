"""Remember which device was used last at this station: the address alone, on one line of a file.

Rules:
1. It is offered first the next time, and never connected unless somebody chooses it.
2. Nothing depends on it: a file that cannot be read, or holds anything else, is as none.
"""

from __future__ import annotations

from pathlib import Path

from estim.errors import EstimError
from estim.prepare import durable
from estim.text import sanitize

FILE_NAME = "last-device"
URL_MAX = 400


def remember(folder: Path, url: str) -> None:
    """Keep the address of a device that was found; durable on return.

    Raises:
        RecordError: the folder cannot be written.
    """
    if is_address(url) and recall(folder) != url:
        with durable.alone(folder):
            durable.replace(folder / FILE_NAME, f"{url}\n".encode())


def recall(folder: Path) -> str:
    """Return the address that was kept, '' for none."""
    try:
        octets = durable.read_small(folder / FILE_NAME) or b""
        url = octets.decode("utf-8").strip()
    except (EstimError, UnicodeDecodeError):
        return ""
    return url if is_address(url) else ""


def is_address(url: str) -> bool:
    """Tell whether a text can be the address of a device."""
    return ":" in url and len(url) <= URL_MAX and sanitize(url) == url
