"""Which devices the simulator can be: one row each.

What a device needs is imported by its row's `prepare`, and no sooner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from estim.dialects import p24 as p24_dialect
from estim.dialects import pulsepal as pulsepal_dialect
from estim.errors import UsageError
from estim.simulator.faults import NATIVE_VERBS, P24_VERBS, PULSEPAL_VERBS, Verb
from estim.simulator.line import CutFrames, Device, cut_at_zero

if TYPE_CHECKING:
    from estim.simulator.options import SimulatorOptions
    from estim.simulator.trace import TraceSink


MakeDevice = Callable[["TraceSink | None"], Device]


@dataclass(frozen=True, slots=True)
class Model:
    """One kind of device.

    Attributes:
        title: how people call it, as in 'a P24'.
        options: which of `SimulatorOptions` it takes.
        verbs: which faults it can play.
        cut: how its frames are found on the line.
        channel_count: the number of its channels, as the options have it.
        prepare: take the options and the time of switching on, return what makes the device for a
            trace; raises UsageError where the options make no sense.
    """

    title: str
    options: tuple[str, ...]
    verbs: frozenset[Verb]
    cut: CutFrames
    channel_count: Callable[[SimulatorOptions], int]
    prepare: Callable[[SimulatorOptions, int], MakeDevice]


def _prepare_native(options: SimulatorOptions, boot_us: int) -> MakeDevice:
    from estim.simulator.device import VirtualDevice

    settings = options.settings(boot_us)
    return lambda trace: VirtualDevice(settings, trace)


def _prepare_p24(options: SimulatorOptions, boot_us: int) -> MakeDevice:
    from estim.simulator.p24 import VirtualP24, read_settings

    settings = read_settings(options, boot_us)
    return lambda trace: VirtualP24(settings, trace)


def cut_bytes(carried: bytes) -> tuple[list[bytes], bytes]:
    """Cut where there are no frames: every byte for itself."""
    return [bytes((each,)) for each in carried], b""


def _prepare_pulsepal(options: SimulatorOptions, boot_us: int) -> MakeDevice:
    from estim.simulator.load import parse_load
    from estim.simulator.pulsepal import VirtualPulsePal

    load = parse_load(options.load)
    if load.parallel_ohm:
        raise UsageError(f"load: expected ohms, open or short for a PulsePal, got {options.load!r}")
    return lambda trace: VirtualPulsePal(load, trace, boot_us)


MODELS = {
    "native": Model(
        title="an Estim stimulator",
        options=(
            "load",
            "trace",
            "faults",
            "channels",
            "seed",
            "serial",
            "patient_stop",
            "trigger",
        ),
        verbs=NATIVE_VERBS,
        cut=cut_at_zero,
        channel_count=lambda options: options.channel_count(),
        prepare=_prepare_native,
    ),
    "p24": Model(
        title="a P24",
        options=("load", "trace", "faults", "seed", "serial", "answer_us"),
        verbs=P24_VERBS,
        cut=p24_dialect.cut,
        channel_count=lambda _options: p24_dialect.CHANNELS,
        prepare=_prepare_p24,
    ),
    "pulsepal": Model(
        title="a PulsePal",
        options=("load", "trace", "faults", "seed"),
        verbs=PULSEPAL_VERBS,
        cut=cut_bytes,
        channel_count=lambda _options: pulsepal_dialect.CHANNELS,
        prepare=_prepare_pulsepal,
    ),
}
NATIVE = MODELS["native"]
