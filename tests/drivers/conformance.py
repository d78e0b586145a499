"""What every driver owes its session, whatever device it speaks to: one class that all pass.

A kind of device subclasses `DriverConformance` and names its URL and its model. The real engine
loop, kernel, session, record and driver run on a virtual clock against the simulated device; what
is judged is what reached the load, and what a person is told.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from estim.drivers import registry
from estim.drivers.base import Output, Stimulator
from estim.engine.loop import Port
from estim.prepare.session import Prepared, capabilities_from_snapshot, prepare
from estim.profile.loader import load
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.states import HostState
from estim.simulator.line import FaultyLine
from estim.simulator.models import MODELS
from estim.simulator.options import SimulatorOptions
from estim.simulator.trace import DeliveredPhases
from tests.session.bench import HEADER, MS, PROFILES, Bench, S

SLACK_US = 20 * MS
"""The step of the virtual clock, and the pulse in progress."""


class Pulses:
    """What reached the load: (time in us, channel from 1, signed current in uA, duration in us)."""

    def __init__(self) -> None:
        self.phases: list[tuple[int, int, int, int]] = []

    def add_pulse(self, onset_us: int, channel_number: int, phases: DeliveredPhases) -> None:
        for offset_us, current_ua, duration_us in phases:
            self.phases.append((onset_us + offset_us, channel_number, current_ua, duration_us))

    def flush(self) -> None:
        """Nothing waits here."""

    def after(self, time_us: int) -> list[tuple[int, int, int, int]]:
        return [phase for phase in self.phases if phase[0] > time_us]

    def peak_ua(self, channel: int, since_us: int = 0) -> int:
        return max((abs(p[2]) for p in self.after(since_us) if p[1] == channel), default=0)


class Rig(Bench):
    """One visit with a simulated device at the end of a line that a test can cut."""

    def __init__(self, folder: Path, url: str, model: str, serial: str = "") -> None:
        super().__init__(folder)
        self.url = url
        self.pulses = Pulses()
        self.line = self.simulated(model, serial)
        self.is_silent = False
        self.noise: Random | None = None

    def simulated(self, model: str, serial: str = "") -> FaultyLine:
        options = SimulatorOptions(**({"serial": serial} if serial else {}))
        now_us = self.clock.now_us()
        device = MODELS[model].prepare(options, now_us)(self.pulses)
        return FaultyLine(device, start_us=now_us, cut=MODELS[model].cut)

    def open_port(self, url: str, now_us: int) -> tuple[Port, Stimulator] | None:
        self.driver = registry.make_driver(url, 0x5EED + now_us)
        self.is_plugged = True
        return self, self.driver

    def send(self, output: Output) -> None:
        now_us = self.clock.now_us()
        if self.is_plugged:
            self.line.receive(
                b"".join((*output.urgent, *output.ordered, output.drive or b"")), now_us
            )
        if output.drive is not None:
            self.loop.post(ev.DriveWritten(now_us))

    def step(self, step_us: int) -> None:
        now_us = self.clock.now_us() + step_us
        self.clock.advance_to(now_us)
        self.loop.wake()
        if self.is_beating and now_us - self._beat_us >= 100 * MS:
            self._beat_us = now_us
            self.loop.post(ev.RequestMade(msg.Heartbeat(now_us)))
        self.line.advance(now_us)
        received = self.line.take_output(now_us)
        if self.noise is not None:
            received = self.noise.randbytes(self.noise.randrange(1, 40))
        if received and self.is_plugged and not self.is_silent:
            self.loop.receive(received)
        self.loop.turn()

    def connect(self) -> None:
        assert self.settle(self.ask(msg.Connect, self.url)), self.outcomes

    def unplug(self) -> None:
        self.is_plugged = False
        self.loop.post(ev.PortGone(f"{self.url}: the port is gone"))

    @property
    def snapshot(self) -> msg.Snapshot:
        self.loop.publish(self.clock.now_us())
        return self.snapshots[-1]


class DriverConformance:
    """The tests; a subclass names the device."""

    url: ClassVar[str]
    model: ClassVar[str]
    profile: ClassVar[str] = "dpn-conventional"
    other_model: ClassVar[str]
    """A device that this driver does not speak to."""
    residual_ms: ClassVar[int]

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return Rig(tmp_path, self.url, self.model)

    def made(self, rig: Rig) -> Prepared:
        """Prepare the profile for what the device says of itself, as an interface does."""
        device = rig.snapshot.device
        assert device is not None
        loaded = load(PROFILES / f"{self.profile}.toml")
        return prepare(
            loaded.profile, capabilities_from_snapshot(device), is_bench=True, sha256=loaded.sha256
        )

    def running(self, rig: Rig, *targets_ua: int) -> Rig:
        rig.open_record()
        rig.connect()
        rig.prepare(self.made(rig))
        assert rig.settle(rig.ask(msg.Arm))
        assert rig.settle(rig.ask(msg.Start))
        assert rig.state is HostState.RUNNING
        if targets_ua:
            targets_ua += (0,) * (len(rig.core.program.channels) - len(targets_ua))
            assert rig.settle(rig.ask(msg.SetTargets, targets_ua))
        return rig

    # Identify and refuse.

    def test_it_says_who_the_device_is_and_how_long_output_outlives_this_computer(
        self, rig: Rig
    ) -> None:
        rig.open_record()
        rig.connect()
        device = rig.snapshot.device
        assert device is not None
        assert device.model
        assert device.serial_number
        assert device.residual_ms == self.residual_ms
        kept = dict(rig.submitted)["identified"]
        assert kept["residual_ms"] == self.residual_ms
        assert kept.get("caution", "") == device.caution
        assert bool(device.caution) is (self.residual_ms > 350)
        assert rig.pulses.phases == []

    @pytest.mark.hazard(14)
    def test_another_kind_of_device_is_refused_in_one_message_and_gets_no_output(
        self, rig: Rig
    ) -> None:
        rig.line = rig.simulated(self.other_model)
        rig.open_record()
        asked = rig.ask(msg.Connect, self.url)
        rig.until(lambda: rig.outcome(asked) is not None, 10 * S)
        assert self.url in rig.why(asked)
        assert rig.state is HostState.DISCONNECTED
        assert rig.pulses.phases == []

    def test_a_target_above_the_ceiling_is_refused_and_changes_nothing(self, rig: Rig) -> None:
        self.running(rig)
        ceiling_ua = rig.core.ceilings[0][0]
        count = len(rig.core.program.channels)
        asked = rig.ask(msg.SetTargets, (ceiling_ua + 1000,) + (0,) * (count - 1))
        assert not rig.settle(asked)
        assert "asked" in rig.why(asked)
        rig.run(S)
        assert rig.pulses.phases == []

    # Ramp, pause, stop.

    @pytest.mark.hazard(4)
    def test_arming_and_starting_give_nothing_and_output_rises_from_zero_at_the_slew(
        self, rig: Rig
    ) -> None:
        self.running(rig)
        rig.run(S)
        assert rig.pulses.phases == []
        count = len(rig.core.program.channels)
        began_us = rig.clock.now_us()
        assert rig.settle(rig.ask(msg.SetTargets, (3000,) + (0,) * (count - 1)))
        rig.run(6 * S)
        assert rig.pulses.peak_ua(1) == 3000
        assert rig.pulses.peak_ua(2) == 0
        slew_ua_per_s = 1000
        for time_us, _, current_ua, _ in rig.pulses.phases:
            elapsed_s = (time_us - began_us) / S
            assert abs(current_ua) <= slew_ua_per_s * elapsed_s + 500
        assert sum(phase[2] * phase[3] for phase in rig.pulses.phases) == 0
        assert rig.snapshot.channels[0].setpoint_ua == 3000

    def test_lowering_holds_at_once(self, rig: Rig) -> None:
        self.running(rig, 4000).run(6 * S)
        assert rig.settle(rig.ask(msg.Lower, (0,), 3000))
        lowered_us = rig.clock.now_us()
        rig.run(S)
        assert rig.pulses.peak_ua(1, lowered_us + 120 * MS) == 1000

    @pytest.mark.hazard(5)
    def test_a_pause_is_zero_and_resuming_rises_from_zero(self, rig: Rig) -> None:
        self.running(rig, 3000).run(5 * S)
        assert rig.settle(rig.ask(msg.Pause))
        paused_us = rig.clock.now_us()
        rig.run(3 * S)
        assert rig.pulses.after(paused_us + 100 * MS) == []
        assert rig.settle(rig.ask(msg.Resume))
        rig.run(600 * MS)
        assert rig.pulses.peak_ua(1, paused_us + 100 * MS) <= 1500

    def test_stop_is_zero_at_once_confirmed_and_final(self, rig: Rig) -> None:
        self.running(rig, 4000).run(6 * S)
        rig.ask(msg.Stop)
        stopped_us = rig.clock.now_us()
        rig.until(lambda: rig.state is not HostState.STOPPING, 200 * MS)
        assert rig.pulses.after(stopped_us + SLACK_US) == []
        assert "zero_confirmed" in rig.kinds()
        rig.run(3 * S)
        assert rig.pulses.after(stopped_us + SLACK_US) == []

    @pytest.mark.parametrize("after_ms", range(0, 60, 5))
    def test_stop_at_any_moment_between_two_requests(self, rig: Rig, after_ms: int) -> None:
        """Whatever is on its way: an update, an answer, both, or nothing."""
        self.running(rig, 4000).run(2 * S)
        rig.run(after_ms * MS, MS)
        rig.ask(msg.Stop)
        stopped_us = rig.clock.now_us()
        rig.until(lambda: "zero_confirmed" in rig.kinds(), 150 * MS)
        rig.run(500 * MS)
        assert rig.pulses.after(stopped_us + SLACK_US) == []

    # The line.

    @pytest.mark.hazard(6)
    def test_unplugged_it_ends_within_its_residual_time_and_does_not_come_back(
        self, rig: Rig
    ) -> None:
        self.running(rig, 3000).run(5 * S)
        rig.unplug()
        gone_us = rig.clock.now_us()
        rig.run(4 * S)
        assert rig.pulses.after(gone_us + self.residual_ms * MS + SLACK_US) == []
        assert rig.state is HostState.FAULT
        assert rig.snapshot.fault is not None
        assert rig.settle(rig.ask(msg.Acknowledge))
        rig.connect()
        replugged_us = rig.clock.now_us()
        rig.run(3 * S)
        assert rig.pulses.after(replugged_us) == []

    def test_a_silent_device_is_noticed_and_told_as_uncertain(self, rig: Rig) -> None:
        self.running(rig, 3000).run(5 * S)
        rig.is_silent = True
        silent_us = rig.clock.now_us()
        rig.until(lambda: rig.state is HostState.FAULT, S)
        # 500 ms without a report, which may have come just before.
        assert rig.clock.now_us() - silent_us <= 600 * MS
        rig.run(3 * S)
        assert rig.pulses.after(silent_us + self.residual_ms * MS + SLACK_US) == []

    def test_garbage_is_no_sign_of_life(self, rig: Rig) -> None:
        self.running(rig, 3000).run(5 * S)
        rig.noise = Random(5)
        noisy_us = rig.clock.now_us()
        rig.until(lambda: rig.state is HostState.FAULT, S)
        rig.run(3 * S)
        assert rig.pulses.after(noisy_us + 500 * MS + self.residual_ms * MS) == []

    @pytest.mark.hazard(14)
    def test_another_device_of_the_kind_on_the_same_name_is_not_driven(
        self, rig: Rig, tmp_path: Path
    ) -> None:
        self.running(rig, 3000).run(5 * S)
        rig.unplug()
        rig.run(3 * S)
        assert rig.settle(rig.ask(msg.Acknowledge))
        rig.line = rig.simulated(self.model, "OTHER-0002")
        asked = rig.ask(msg.Connect, self.url)
        assert not rig.settle(asked)
        assert "another device" in rig.why(asked)

    @pytest.mark.hazard(16)
    def test_a_device_that_restarts_while_it_runs_gives_nothing_until_asked(self, rig: Rig) -> None:
        self.running(rig, 3000).run(5 * S)
        rig.line = rig.simulated(self.model)
        restarted_us = rig.clock.now_us()
        rig.run(3 * S)
        assert rig.pulses.after(restarted_us) == []
        assert rig.state is HostState.FAULT

    # The host.

    @pytest.mark.hazard(8)
    def test_a_frozen_display_ends_output(self, rig: Rig) -> None:
        self.running(rig, 3000).run(5 * S)
        rig.is_beating = False
        frozen_us = rig.clock.now_us()
        rig.run(4 * S)
        assert rig.pulses.after(frozen_us + 2 * S + SLACK_US) == []

    @pytest.mark.hazard(30)
    def test_a_dead_host_leaves_output_for_its_residual_time_at_most(self, rig: Rig) -> None:
        self.running(rig, 3000).run(5 * S)
        died_us = rig.clock.now_us()
        for later_us in range(died_us, died_us + 4 * S, 10 * MS):
            rig.line.advance(later_us)
        assert rig.pulses.after(died_us + self.residual_ms * MS + SLACK_US) == []

    def test_the_record_tells_the_session_and_verifies(self, rig: Rig) -> None:
        self.running(rig, 3000).run(5 * S)
        rig.ask(msg.Stop)
        rig.until(lambda: rig.state is HostState.READY, S)
        rig.settle(rig.ask(msg.CloseVisit))
        kinds = [event.kind for event in rig.record()]
        for kind in ("identified", "prepared", "targets", "zero_confirmed"):
            assert kind in kinds, (kind, HEADER)
