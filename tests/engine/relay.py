"""A plug and its cable: a process between a host and one device, or the other of two.

`python -m tests.engine.relay NAME DEVICE [DEVICE]` makes NAME a link to a pseudo-terminal of its
own, says so on standard output, and passes bytes on. A line on standard input switches to the
other device under the open port. Killed, it is a plug pulled: the host's port is gone, and the
device lives on.
"""

from __future__ import annotations

import os
import pty
import select
import sys
import tty

_CHUNK = 4096
_STDIN = 0


def main(name: str, devices: list[str]) -> None:
    """Pass bytes on until standard input ends."""
    host, slave = pty.openpty()
    tty.setraw(slave)
    draft = f"{name}.{os.getpid()}"
    os.symlink(os.ttyname(slave), draft)
    os.replace(draft, name)
    device = _opened(devices[0])
    print(name, flush=True)
    while True:
        ready, _, _ = select.select([_STDIN, host, device], [], [])
        if _STDIN in ready:
            if not os.read(_STDIN, _CHUNK):
                return
            os.close(device)
            devices.reverse()
            device = _opened(devices[0])
        elif host in ready:
            os.write(device, os.read(host, _CHUNK))
        else:
            os.write(host, os.read(device, _CHUNK))


def _opened(device: str) -> int:
    descriptor = os.open(device, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(descriptor)
    return descriptor


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
