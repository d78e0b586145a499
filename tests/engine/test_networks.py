"""A device at the end of a network: the lease holds through delay, jitter, stalls and cuts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.engine.delay_proxy import DelayProxy
from tests.engine.faults import ZERO_AFTER_DEATH_US
from tests.engine.rfc2217_server import Rfc2217Server
from tests.engine.scene import Host, Scene, now_us, wait_for

pytestmark = pytest.mark.long  # whole processes in real time

FAULT = 5
PERIOD_US = 12_500  # 80 pulses a second
LEASE_US = 320_000
AFTERWARDS_US = 600_000
AFTERWARDS_S = 1.0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path) as scene:
        yield scene


@pytest.mark.parametrize(("delay_s", "jitter_s", "piece_size"), [(0.02, 0.005, 7), (0.06, 0.0, 3)])
def test_a_session_runs_over_a_network(
    scene: Scene, delay_s: float, jitter_s: float, piece_size: int
) -> None:
    """At 20 ms each way with jitter, and at 60: no pulse is missing, whatever the pieces."""
    scene.target = "1=3"
    with DelayProxy(
        scene.start_simulator("--tcp", "0"),
        delay_s=delay_s, jitter_s=jitter_s, piece_size=piece_size,
    ) as proxy:  # fmt: skip
        host = scene.start_host(proxy.url, "--duration", "2")
        assert host.end(60.0) == 0, host.complaints
    onsets = sorted({row[0] for row in scene.rows() if row[2] > 0})
    assert len(onsets) > 160
    assert {later - sooner for sooner, later in pairwise(onsets)} == {PERIOD_US}


def test_a_link_beyond_the_lease_never_arms_and_says_why(scene: Scene) -> None:
    with DelayProxy(scene.start_simulator("--tcp", "0"), delay_s=0.2) as proxy:
        host = scene.start_host(proxy.url)
        assert host.end(30.0) == FAULT
    (error,) = host.all_of("error")
    assert error["blame"] == "rig"
    said = host.complaints.decode()
    assert "the device did not arm: the link takes 4" in said
    assert scene.last_current_us() == 0


@pytest.mark.parametrize("what", ["stall", "to_device", "to_host", "cut", "slow"])
def test_output_ends_by_itself_on_schedule_and_does_not_come_back(scene: Scene, what: str) -> None:
    with DelayProxy(scene.start_simulator("--tcp", "0"), delay_s=0.02, jitter_s=0.005) as proxy:
        host = scene.start_host(proxy.url)
        scene.wait_for_current()
        time.sleep(0.5)
        struck_us = now_us()
        if what == "cut":
            proxy.cut()
        elif what == "slow":
            proxy.set_delay(0.4)
        else:
            proxy.stall(*([] if what == "stall" else [getattr(proxy, what)]))
        assert host.end() == FAULT
        wait_for(lambda: now_us() - struck_us > AFTERWARDS_US, 5.0, "the lease's end")
        ended_us = scene.last_current_us()
        assert 0 < ended_us - struck_us <= ZERO_AFTER_DEATH_US
        # What was held up arrives now, Drives among it, at a device that has ended its output.
        proxy.flow()
        time.sleep(AFTERWARDS_S)
        assert scene.last_current_us() == ended_us
        assert proxy.connection_count == 1  # nobody connected again by himself
    (result,) = host.all_of("result")
    assert any(words in result["end"] for words in ("fell silent", "lease expired", "port is gone"))


@pytest.mark.hazard(9)
def test_frames_held_up_in_a_buffer_prolong_nothing(scene: Scene) -> None:
    """The host hears nothing and goes on for a while: the lease counts from what it echoes."""
    with DelayProxy(scene.start_simulator("--tcp", "0")) as proxy:
        host = scene.start_host(proxy.url)
        scene.wait_for_current()
        struck_us = now_us()
        proxy.stall(proxy.to_host)
        assert host.end() == FAULT
        wait_for(lambda: now_us() - struck_us > AFTERWARDS_US, 5.0, "the lease's end")
    assert 0 < scene.last_current_us() - struck_us <= LEASE_US + 2 * PERIOD_US


# rfc2217.


def test_a_session_runs_over_rfc2217(scene: Scene) -> None:
    scene.target = "1=3"
    with Rfc2217Server(scene.start_simulator()) as server, DelayProxy(server.address) as proxy:
        host = _start_rfc2217(scene, proxy, "--duration", "2")
        assert host.end(60.0) == 0, host.complaints
    onsets = sorted({row[0] for row in scene.rows() if row[2] > 0})
    assert len(onsets) > 160
    assert {later - sooner for sooner, later in pairwise(onsets)} == {PERIOD_US}


@pytest.mark.parametrize("what", ["stall", "cut"])
def test_over_rfc2217_output_ends_by_itself_and_does_not_come_back(scene: Scene, what: str) -> None:
    with Rfc2217Server(scene.start_simulator()) as server, DelayProxy(server.address) as proxy:
        proxy.figures["delay_s"] = 0.02
        host = _start_rfc2217(scene, proxy)
        scene.wait_for_current()
        time.sleep(0.5)
        struck_us = now_us()
        if what == "cut":
            proxy.cut()
        else:
            proxy.stall()
        assert host.end() == FAULT
        wait_for(lambda: now_us() - struck_us > AFTERWARDS_US, 5.0, "the lease's end")
        ended_us = scene.last_current_us()
        assert 0 < ended_us - struck_us <= ZERO_AFTER_DEATH_US
        proxy.flow()
        time.sleep(AFTERWARDS_S)
        assert scene.last_current_us() == ended_us


def _start_rfc2217(scene: Scene, proxy: DelayProxy, *options: str) -> Host:
    """Start a host on a port without modem lines, as a pseudo-terminal is one."""
    url = f"native:rfc2217://127.0.0.1:{proxy.port}?ign_set_control"
    return scene.start_host(url, *options)
