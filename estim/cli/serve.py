"""`estim serve`: let a browser on this computer look on, view only."""

from __future__ import annotations

import sys
from argparse import Namespace

from estim.errors import UsageError

PORT_MIN, PORT_MAX = 1024, 65535


def run(arguments: Namespace) -> int:
    """Serve the page until interrupted."""
    from estim.cli.console import say
    from estim.tui.serving import Server

    server = Server(arguments.host, _port(arguments.port))
    say(server.url)
    sys.stdout.flush()
    print(
        "View only; the stop key is at the station. Whoever has this address may look on, from "
        "this computer alone. Ctrl+C ends.",
        file=sys.stderr,
    )
    server.serve()
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise UsageError(f"--port {text}: a number expected")
    port = int(text)
    if port and not PORT_MIN <= port <= PORT_MAX:
        raise UsageError(f"--port {text}: {PORT_MIN} to {PORT_MAX} expected, or 0 for any")
    return port
