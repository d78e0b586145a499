"""Two programs reach for one port at the same moment: one gets it."""

from __future__ import annotations

import os
import pty
import threading
import tty

import pytest

from estim.errors import PortLost
from estim.transport.serial_port import SerialPort, open_port
from estim.transport.socket_port import SocketPort

ROUNDS, RIVALS = 25, 4


@pytest.mark.hazard(15)
def test_of_many_that_open_a_port_at_once_one_gets_it() -> None:
    """The lock belongs to the open file, so threads that each open it are as good as processes."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    address = os.ttyname(slave)
    try:
        for _ in range(ROUNDS):
            gate = threading.Barrier(RIVALS)
            opened: list[SerialPort | SocketPort] = []
            refused: list[str] = []

            def reach(
                gate: threading.Barrier = gate,
                opened: list[SerialPort | SocketPort] = opened,
                refused: list[str] = refused,
            ) -> None:
                gate.wait(5.0)
                try:
                    opened.append(open_port(address))
                except PortLost as error:
                    refused.append(str(error))

            rivals = [threading.Thread(target=reach) for _ in range(RIVALS)]
            for rival in rivals:
                rival.start()
            for rival in rivals:
                rival.join(10.0)
            for port in opened:
                port.close()
            assert len(opened) == 1
            assert len(refused) == RIVALS - 1
            assert all("in use by another program" in text for text in refused)
    finally:
        os.close(slave)
        os.close(master)
