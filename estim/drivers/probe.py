"""Ask what is at the end of a line who it is, outside any session.

Rules:
1. Nothing is asked for but identity: no programme, no arming, no output.
2. A last Stop goes out before the line is let go, whoever was there.
"""

from __future__ import annotations

import os
import time

from estim.clock import SystemClock
from estim.drivers import registry
from estim.drivers.base import ConnectFailed, Identified, Output, Stimulator
from estim.drivers.registry import Transport
from estim.errors import ReplyTimeout

PROBE_US = 4_000_000
STOP_S = 0.1


def probe(url: str, limit_us: int = PROBE_US) -> Identified:
    """Open a URL and return who answers.

    Raises:
        UsageError: the URL makes no sense.
        PortLost, DeviceFault, ReplyTimeout: nobody answers, or not as that driver's device would.
    """
    clock = SystemClock()
    driver = registry.make_driver(url, int.from_bytes(os.urandom(8), "big") or 1)
    line = registry.open_transport(url)
    try:
        began_us = clock.now_us()
        driver.connect(began_us)
        while (now_us := clock.now_us()) - began_us < limit_us:
            for event in driver.poll(now_us):
                if isinstance(event, Identified):
                    return event
                if isinstance(event, ConnectFailed):
                    raise event.error
            _write(line, driver.take_output())
            received = line.read()
            if received:
                driver.receive(received, clock.now_us())
        raise ReplyTimeout(f"{url}: the device did not answer")
    finally:
        _let_go(line, driver, clock)


def _let_go(line: Transport, driver: Stimulator, clock: SystemClock) -> None:
    driver.stop(clock.now_us())
    try:
        _write(line, driver.take_output())
        time.sleep(STOP_S)
    finally:
        line.close()


def _write(line: Transport, output: Output) -> None:
    sending = b"".join((*output.urgent, *output.ordered, output.drive or b""))
    if sending:
        line.write(sending)
