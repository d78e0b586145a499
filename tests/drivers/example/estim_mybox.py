"""A stimulator of our own: it speaks the Estim protocol, at a line speed of its own, on the bench.

What a driver owes its session stands in `estim.drivers.base.Stimulator`. One for a device that
speaks something else entirely is `estim.drivers.p24`: its codec, and the host standing in for what
the device lacks.
"""

from __future__ import annotations

from estim.drivers.base import DriverEvent, Identified, Use
from estim.drivers.native import NativeStimulator
from estim.transport.line_settings import LineSettings

CAUTION = "MyBox is a prototype: on a dummy load alone."


class MyBoxStimulator(NativeStimulator):
    """Drive a MyBox."""

    line = LineSettings(baud=500_000)

    def poll(self, now_us: int) -> list[DriverEvent]:
        """Say of whoever answers that it is for the bench alone."""
        return [
            event._replace(use=Use.BENCH, caution=CAUTION)
            if isinstance(event, Identified)
            else event
            for event in super().poll(now_us)
        ]
