"""Every hand-written scene of the simulator's own tests, played with the C core beside it.

The assertions are those of tests/simulator; `core.Twins` adds that the C core said and delivered
the same, after every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from estim.simulator.device import DeviceSettings
from estim.simulator.load import Load
from firmware_protocol.messages import Status
from tests.firmware.core import Lockstep, Twins
from tests.simulator import (
    test_device_faults,
    test_gate,
    test_lease,
    test_messages,
    test_robustness,
    test_setpoint,
)
from tests.simulator.host import Host

MODULES: tuple[ModuleType, ...] = (
    test_device_faults,
    test_gate,
    test_lease,
    test_messages,
    test_robustness,
    test_setpoint,
)

# How much is kept that nobody takes is each device's own affair, within bounds.
NOT_HERE = ("test_unread_output_stays_bounded",)


class TwinDevice:
    """The simulator's device as its tests know it, with the C core beside it."""

    def __init__(self, twins: Twins) -> None:
        self._twins = twins

    def __getattr__(self, name: str) -> Any:
        return getattr(self._twins.python, name)

    def _status(self) -> Status:
        return self._twins.peek()

    def set_load(self, channel_number: int, load: Load, now_us: int) -> None:
        if load.parallel_ohm:
            pytest.skip("the C bench has plain resistors")
        self._twins.set_load(channel_number, load, now_us)

    def hang(self, now_us: int) -> None:
        pytest.skip("a hung C core is the watchdog's business")


for _name in (
    "receive", "advance", "take_output", "set_lead_off", "set_gain", "set_patient_stop",
    "set_battery", "reboot",
):  # fmt: skip
    setattr(
        TwinDevice,
        _name,
        lambda self, *given, _called=_name: getattr(self._twins, _called)(*given),
    )


@pytest.fixture(autouse=True)
def both(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give every scene hosts whose device is both; one that brings its own keeps it."""
    processes: list[Lockstep] = []

    def host(settings: DeviceSettings | None = None, **more: Any) -> Host:
        if more.get("wire") is not None or more.get("device") is not None:
            return Host(settings, **more)
        own = settings or DeviceSettings(load=more.get("load") or Load(500))
        if own.load.parallel_ohm or own.schema_hash != DeviceSettings().schema_hash:
            pytest.skip("the C core has one schema, its bench plain resistors")
        if (own.phases_max, own.keyframes_max, own.model, own.serial_number) != (
            16, 32, "estim-virtual", "SIM-0001",
        ):  # fmt: skip
            pytest.skip("the C core was built for other figures, or another name")
        processes.append(Lockstep(built / "lockstep"))
        twins = Twins(processes[-1], own)
        made = Host(own, wire=twins, device=TwinDevice(twins))  # type: ignore[arg-type]
        made.trace = twins.trace
        return made

    for module in MODULES:
        monkeypatch.setattr(module, "Host", host)
    yield
    assert [process.close() for process in processes] == [0] * len(processes)


globals().update(
    {
        f"test_{module.__name__.rpartition('.')[2][5:]}_{name[5:]}": scene
        for module in MODULES
        for name, scene in vars(module).items()
        if name.startswith("test_") and name not in NOT_HERE
    }
)
