"""Every driver, in the one class that all of them pass."""

from __future__ import annotations

from tests.drivers.conformance import DriverConformance


class TestNative(DriverConformance):
    """The Estim protocol."""

    url = "native:/dev/hand"
    model = "native"
    other_model = "p24"
    residual_ms = 330


class TestP24(DriverConformance):
    """ScienceMode 4."""

    url = "p24:/dev/hand"
    model = "p24"
    other_model = "native"
    residual_ms = 2000
