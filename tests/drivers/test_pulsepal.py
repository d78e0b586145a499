"""The PulsePal's driver against its simulated device, on a virtual clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim.session import messages as msg
from estim.simulator.line import FaultyLine
from estim.simulator.models import MODELS
from estim.simulator.options import SimulatorOptions
from tests.drivers.conformance import DriverConformance, Rig
from tests.session.bench import S


class PulsePalRig(Rig):
    """A rig with 1000 ohm at each output: a step of the device is a third of a microampere."""

    def simulated(self, model: str, serial: str = "") -> FaultyLine:
        now_us = self.clock.now_us()
        device = MODELS[model].prepare(SimulatorOptions(load="1000"), now_us)(self.pulses)
        return FaultyLine(device, start_us=now_us, cut=MODELS[model].cut)


class TestPulsePal(DriverConformance):
    """What every driver owes its session."""

    url = "pulsepal:/dev/hand?load=1000"
    model = "pulsepal"
    other_model = "native"
    residual_ms = 500

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return PulsePalRig(tmp_path, self.url, self.model)

    def test_another_device_of_the_kind_on_the_same_name_is_not_driven(
        self, rig: Rig, tmp_path: Path
    ) -> None:
        """A PulsePal has no number to tell it by: another one is taken for the same, and gives
        nothing until it is asked."""
        self.running(rig, 3000).run(5 * S)
        rig.unplug()
        rig.run(3 * S)
        assert rig.settle(rig.ask(msg.Acknowledge))
        rig.line = rig.simulated(self.model)
        rig.connect()
        assert rig.snapshot.device is not None
        assert rig.snapshot.device.serial_number == "not told"
        replugged_us = rig.clock.now_us()
        rig.run(3 * S)
        assert rig.pulses.after(replugged_us) == []
