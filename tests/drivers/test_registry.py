"""From a URL to a driver and a line."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from estim.drivers import registry
from estim.drivers.native import NativeStimulator
from estim.errors import EstimError, PortLost, UsageError


@pytest.mark.parametrize(
    "url", ["sim:", "sim:?load=500", "native:/dev/ttyUSB0", "native:socket://a:1"]
)
def test_known_urls_name_a_driver(url: str) -> None:
    assert registry.driver_name(url) == url.partition(":")[0]
    assert isinstance(registry.make_driver(url, 1), NativeStimulator)


def test_each_driver_says_how_its_line_is_set() -> None:
    driver = registry.make_driver("p24:/dev/ttyACM0", 1)
    assert (driver.line.baud, driver.line.stop_bits, driver.line.has_flow_control) == (
        3_000_000, 2, True,
    )  # fmt: skip
    assert registry.make_driver("native:/dev/ttyUSB0", 1).line.baud == 115_200


@pytest.mark.parametrize("url", ["", "sim", "/dev/ttyUSB0", ":", "usb:x", "os:system", "NATIVE:x"])
def test_other_urls_say_what_is_expected(url: str) -> None:
    for function in (registry.driver_name, registry.open_transport):
        with pytest.raises(UsageError, match="expected one of native:, p24:, pulsepal:, sim:"):
            function(url)
    with pytest.raises(UsageError):
        registry.make_driver(url, 1)


@pytest.mark.parametrize("url", ["sim:/dev/ttyUSB0", "sim:x", "sim:?nonsense=1", "sim:?load"])
def test_a_simulator_has_no_address(url: str) -> None:
    with pytest.raises(UsageError):
        registry.open_transport(url)


@pytest.mark.parametrize(
    "url",
    [
        "native:", "native:/dev/does-not-exist", "native:/dev/null", "native:/dev/ttyS0?baud=x",
        "native:nonsense://x", "native:socket://", "native:socket://127.0.0.1:1", "native:a\0b",
        "native:\ud800", "native:/etc/passwd", "native:socket://127.0.0.1:99999",
    ],
)  # fmt: skip
def test_a_port_that_does_not_open_is_of_the_tree(url: str) -> None:
    """Nothing else may come out: the engine opens ports in a thread."""
    with pytest.raises(EstimError) as caught:
        registry.open_transport(url)
    assert isinstance(caught.value, PortLost | UsageError)


def test_a_pseudo_terminal_carries_bytes_both_ways() -> None:
    ours, theirs = pty.openpty()
    transport = registry.open_transport(f"native:{os.ttyname(theirs)}")
    try:
        transport.write(b"hello")
        assert os.read(ours, 100) == b"hello"
        os.write(ours, b"there")
        received = b""
        while len(received) < 5:
            received += transport.read()
        assert received == b"there"
    finally:
        transport.close()
        os.close(ours)
        os.close(theirs)


def test_the_simulator_answers_on_a_line_of_its_own() -> None:
    transport = registry.open_transport("sim:?seed=1")
    driver = registry.make_driver("sim:", 1)
    try:
        driver.connect(0)
        transport.write(b"".join(driver.take_output().ordered))
        received = b""
        for _ in range(100):
            received += transport.read()
            if received.count(b"\0") >= 1:
                break
        driver.receive(received, 0)
        driver.poll(0)
        assert driver.take_output().ordered, "the driver asks for capabilities next"
    finally:
        transport.close()


def test_nothing_is_loaded_that_is_not_named() -> None:
    code = (
        "import sys; from estim.drivers import registry;"
        "print([n for n in sys.modules if 'simulator' in n or n == 'estim.drivers.native'])"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert made.stdout.strip() == "[]"
