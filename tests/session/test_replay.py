"""What the core was told once leads it to the same place again, faster than it happened."""

from __future__ import annotations

import time
from pathlib import Path

from estim.session.states import HostState
from tests.benchmarks.bench_session import replay, virtual_session


def test_recorded_events_replay_through_the_core_alone(tmp_path: Path) -> None:
    """20 s of plateau and some 15 s around it; the figure is 30 minutes in at most 1 s."""
    recorded, core = virtual_session(tmp_path, 20)
    began_s = time.process_time()
    replayed = replay(recorded)
    took_s = time.process_time() - began_s
    assert replayed.state is core.state is HostState.CLOSED
    assert replayed.delivery.pulse_counts == core.delivery.pulse_counts
    assert min(replayed.delivery.pulse_counts) > 1600  # 20 s x 80 Hz
    assert replayed.delivery.delivered_us == core.delivery.delivered_us
    # 35 s of 1800 s would be 20 ms; ten times that on a machine under load.
    assert took_s < 0.2
