"""The published client, unmodified, on a real pseudo-terminal: its own documented examples.

Each expectation is worked out by hand from what the example asks, over a load of 1000 ohm, where a
millivolt is a microampere. The client rounds a positive voltage up by less than a step of 305 uV,
and cuts times to the cycle of 50 us below (0.3 ms to 0.25 ms): what is delivered says so.
"""

from __future__ import annotations

import csv
import gc
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pypulsepal import PulsePal
from pypulsepal.config_io import load_config, save_config
from pypulsepal.models import PulsePalConfig

from tests.simulator.processes import END_S, play
from tests.simulator.processes import simulated as simulated_process

pytestmark = pytest.mark.long


@dataclass
class Running:
    """A simulated PulsePal that runs by itself."""

    path: str
    process: subprocess.Popen[bytes]
    trace: Path

    def delivered(self) -> list[tuple[int, int, int, int]]:
        """End the simulator; return onset after the first row, channel, current, duration."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(END_S) == 0
        with self.trace.open(newline="") as stream:
            rows = [tuple(int(cell) for cell in row) for row in list(csv.reader(stream))[1:]]
        return [(t_us - rows[0][0], number, ua, us) for t_us, number, ua, us in rows]

    def fail(self, line: str) -> None:
        play(self.process, line)
        time.sleep(0.1)


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[Running]:
    trace = tmp_path / "trace.csv"
    with simulated_process("--model", "pulsepal", "--load", "1000", f"--trace={trace}") as started:
        process, path = started
        yield Running(path, process, trace)
    gc.collect()  # the client says goodbye when it is thrown away


def test_the_first_example_programs_triggers_and_closes(simulated: Running) -> None:
    """5 V for 1 ms, 10 ms between pulses, for as long as asked: here 50 ms, so five pulses."""
    pp: Any = PulsePal(serial_port=simulated.path)
    assert (pp.firmware_version, pp.model) == (21, 2)
    pp.channel_configs[0].phase1Voltage = 5.0
    pp.channel_configs[0].pulseTrainDuration = 0.05
    assert pp.sync_all_params()
    pp.trigger_selected_channels(channel_1=True)
    time.sleep(0.2)
    pp.stop_all_outputs()
    pp.close()
    assert simulated.delivered() == [(at * 11_000, 1, 5000, 1000) for at in range(5)]


def test_the_context_manager_ends_a_train_on_its_way_out(simulated: Running) -> None:
    """Its goodbye ends what plays: a train of 10 s is over soon after 0.1 s."""
    pp: Any
    with PulsePal(serial_port=simulated.path) as pp:
        pp.channel_configs[1].pulseTrainDuration = 10.0
        pp.sync_all_params()
        pp.trigger_selected_channels(channel_2=True)
        time.sleep(0.1)
    time.sleep(0.3)
    rows = simulated.delivered()
    assert {row[1:3] for row in rows} == {(2, 5000)}
    assert 5 <= len(rows) <= 25
    assert [row[0] for row in rows] == [at * 11_000 for at in range(len(rows))]


def test_an_abort_ends_a_train_and_leaves_the_client_connected(simulated: Running) -> None:
    pp: Any
    with PulsePal(serial_port=simulated.path) as pp:
        pp.channel_configs[0].pulseTrainDuration = 10.0
        pp.sync_all_params()
        pp.trigger_all_channels()
        time.sleep(0.1)
        pp.stop_all_outputs()
        time.sleep(0.2)
        assert pp.set_resting_voltage(0, 0.0)
    last: dict[int, int] = {}
    for t_us, number, _, _ in simulated.delivered():
        last[number] = t_us
    assert set(last) == {1, 2, 3, 4}
    assert last[1] < 250_000  # of 10 s
    assert all(t_us < 1_100_000 for t_us in last.values())


def test_a_configuration_file_is_loaded_and_played(simulated: Running, tmp_path: Path) -> None:
    """Biphasic, 2 V for 0.2 ms, 0.1 ms apart, twice: by one parameter at a time as well."""
    config: Any = PulsePalConfig()
    first = config.channels[1]
    first.isBiphasic = True
    first.phase1Voltage, first.phase2Voltage = 2.0, -2.0
    first.phase1Duration = first.phase2Duration = 0.0002
    first.interPhaseInterval = 0.0001
    first.interPulseInterval, first.pulseTrainDuration = 0.0095, 0.0151
    save_config(config, tmp_path / "my_params.json")
    assert json.loads((tmp_path / "my_params.json").read_text())["channels"]["1"]["isBiphasic"]
    pp: Any
    loaded = load_config(tmp_path / "my_params.json")
    with PulsePal.from_config(loaded, serial_port=simulated.path) as pp:
        pp.trigger_selected_channels(channel_1=True)
        time.sleep(0.2)
        pp.upload_all()
        pp.trigger_selected_channels(channel_1=True)
        time.sleep(0.2)
    rows = simulated.delivered()
    train = [(0, 2000), (300, -2000), (10_000, 2000), (10_300, -2000)]
    assert [(t_us, ua) for t_us, _, ua, _ in rows[:4]] == train
    assert [(t_us - rows[4][0], ua) for t_us, _, ua, _ in rows[4:]] == train
    assert {row[3] for row in rows} == {200}


def test_a_custom_train_is_uploaded_and_played(simulated: Running) -> None:
    """Three onsets with their own voltages; the client's 0.3 ms arrives as 0.25 ms."""
    pp: Any
    with PulsePal(serial_port=simulated.path) as pp:
        assert pp.upload_custom_pulse_train(0, [0.0, 0.002, 0.005], [2.0, 6.0, -2.0])
        assert pp.program_one_param(0, "customTrainID", 1)
        assert pp.program_one_param(0, "phase1Duration", 0.0003)
        pp.trigger_selected_channels(channel_1=True)
        time.sleep(0.2)
    assert simulated.delivered() == [
        (0, 1, 2000, 250), (2000, 1, 6000, 250), (5000, 1, -2000, 250),
    ]  # fmt: skip


def test_a_custom_waveform_is_uploaded_and_played_without_gaps(simulated: Running) -> None:
    pp: Any
    with PulsePal(serial_port=simulated.path) as pp:
        assert pp.upload_custom_waveform(0, 0.001, [2.0, 6.0, -6.0, -2.0])
        assert pp.program_one_param(0, "customTrainID", 1)
        assert pp.program_one_param(0, "phase1Duration", 0.001)
        pp.trigger_selected_channels(channel_1=True)
        time.sleep(0.2)
    assert simulated.delivered() == [
        (0, 1, 2000, 1000), (1000, 1, 6000, 1000), (2000, 1, -6000, 1000), (3000, 1, -2000, 1000),
    ]  # fmt: skip


def test_continuous_and_fixed_output_go_on_until_they_are_ended(simulated: Running) -> None:
    pp: Any
    with PulsePal(serial_port=simulated.path) as pp:
        pp.channel_configs[0].pulseTrainDuration = 0.01
        pp.sync_all_params()
        assert pp.set_continuous(0, 1)
        time.sleep(0.2)
        assert pp.set_continuous(0, 0)
        assert pp.set_fixed_voltage(2, -2.0)
        time.sleep(0.15)
        assert pp.set_fixed_voltage(2, 0.0)
    rows = simulated.delivered()
    pulses = [row for row in rows if row[1] == 1]
    assert len(pulses) >= 10  # a train of 10 ms has one
    held = [row for row in rows if row[1] == 3]
    assert {row[2] for row in held} == {-2000}
    assert sum(row[3] for row in held) >= 150_000


def test_settings_are_saved_and_read_back(simulated: Running) -> None:
    pp: Any
    with PulsePal(serial_port=simulated.path) as pp:
        pp.channel_configs[3].phase1Duration = 0.002
        pp.sync_all_params()
        pp.save_to_sd("e.pps")
        told = pp.read_sd_params()
    assert told["phase1Duration"] == [0.001, 0.001, 0.001, 0.002]
    assert told["phase1Voltage"] == [5.0002] * 4
    assert told["restingVoltage"] == [0.0002] * 4
    assert told["triggerAddress"] == [[1, 1, 1, 1], [0, 0, 0, 0]]


def test_12_v_of_the_client_are_minus_8_v_at_the_load(simulated: Running) -> None:
    pp: Any
    with PulsePal(serial_port=simulated.path) as pp:
        assert pp.set_fixed_voltage(0, 12.0)
        time.sleep(0.15)
        pp.stop_all_outputs()
    assert {row[1:3] for row in simulated.delivered()} == {(1, -8000)}


def test_a_device_that_stalls_leaves_the_client_without_an_answer(simulated: Running) -> None:
    """It waits a second; what comes late is taken for the answer to the next question."""
    pp: Any
    with PulsePal(serial_port=simulated.path) as pp:
        simulated.fail("stall 1.4")
        assert pp.set_resting_voltage(0, 0.0) is False
        time.sleep(0.6)
        assert pp.set_resting_voltage(0, 0.0) is True
