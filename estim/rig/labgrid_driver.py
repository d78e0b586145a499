"""A stimulator in labgrid: a driver, a strategy, and a target whose places are this job's alone.

Imported by labgrid, from the environment file's `imports`; labgrid is no dependency of Estim.

    with locked_target("rig.yaml") as target:
        target.get_driver("EstimStrategy").transition("armed")
        driver = target.get_driver("EstimStimulatorDriver")
        driver.start({1: 5})
        result = driver.wait_until_finished()

Rules:
1. Every session is a bench session: `bench_ohm` declares the dummy load, and nobody connected.
2. A place that is lost stops the output and fails whatever the job does next: nothing goes on.
"""

from __future__ import annotations

import contextlib
import enum
import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attr
from labgrid import Environment, target_factory
from labgrid.driver import Driver
from labgrid.resource import SerialPort
from labgrid.resource.remote import RemotePlace
from labgrid.strategy import Strategy, StrategyError
from labgrid.strategy.common import never_retry
from labgrid.util.proxy import proxymanager

from estim import api
from estim.errors import UsageError
from estim.profile.library import find
from estim.rig.labgrid_place import TTL_S, PlaceHold, PlaceLost
from estim.session import messages as msg
from estim.session.messages import DeviceSnapshot, Reply
from estim.session.states import ENERGISED

_LABGRID_SPEED = 115_200
_UA_PER_MA = 1000


@target_factory.reg_driver
@attr.s(eq=False)
class EstimStimulatorDriver(Driver):
    """Drive a stimulator on a dummy load, behind a port of this machine or of another.

    Args:
        bench_ohm: the dummy load; says that nobody is connected.
        dialect: the driver of Estim's: native, p24, pulsepal.
        records: folder of the records; this user's if empty.
    """

    bindings = {"port": {"SerialPort", "NetworkSerialPort"}}  # noqa: RUF012  # labgrid's way

    bench_ohm: int = attr.ib(validator=attr.validators.instance_of(int))
    dialect: str = attr.ib(default="native", validator=attr.validators.instance_of(str))
    records: str = attr.ib(default="", validator=attr.validators.instance_of(str))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.stimulator: api.Stimulator | None = None
        self._hold: PlaceHold | None = None
        self._owns_hold = False
        self._lost = ""
        self._channel_count = 0

    # What labgrid calls.

    def on_activate(self) -> None:
        """Open the device and ask who it is; nothing flows."""
        self._lost = ""
        self._watch_place()
        try:
            self.stimulator = api.open(
                self.url,
                bench_ohm=self.bench_ohm,
                records=Path(self.records) if self.records else None,
                on_reply=self._see,
            )
            self.stimulator.identify()
        except BaseException:
            self.on_deactivate()
            raise

    def on_deactivate(self) -> None:
        """Stop if need be, seal the record, let go of the device."""
        stimulator, self.stimulator = self.stimulator, None
        try:
            if stimulator is not None:
                stimulator.close(self._lost or "closed")
        finally:
            if self._owns_hold and self._hold is not None:
                self._hold.close()
                self._hold, self._owns_hold = None, False

    @property
    def url(self) -> str:
        """Return the device's URL, made from the port that is bound."""
        port = self.port
        if isinstance(port, SerialPort):
            address, options = port.port, []
        else:
            host, number = proxymanager.get_host_and_port(port)
            if port.protocol == "raw":
                return f"{self.dialect}:socket://{host}:{number}"
            if port.protocol != "rfc2217":
                raise UsageError(f"{port}: protocol {port.protocol!r}, expected raw or rfc2217")
            # As labgrid's own driver does: ser2net in front of a pseudo-terminal has no lines.
            address, options = f"rfc2217://{host}:{number}", ["ign_set_control"]
        if port.speed != _LABGRID_SPEED:  # else the dialect's own
            options.append(f"baud={port.speed}")
        return f"{self.dialect}:{address}" + ("?" + "&".join(options) if options else "")

    # What a job calls.

    def use_hold(self, hold: PlaceHold) -> None:
        """Depend on a hold of the place that the job has already."""
        self._hold = hold

    @Driver.check_active
    def identify(self) -> DeviceSnapshot:
        """Return who the device is and what it can do."""
        return self._open().identify()

    @Driver.check_active
    def arm(self, profile: str, duration_s: int | None = None) -> None:
        """Load a profile by its id or file, and arm at zero; start within 400 ms."""
        stimulator = self._open()
        loaded = find(profile)
        stimulator.prepare(loaded, duration_s=duration_s)
        stimulator.arm()
        self._channel_count = len(loaded.profile.channels)

    @Driver.check_active
    def start(self, targets_ma: Mapping[int, Decimal | int]) -> None:
        """Begin, and rise to the target of each channel; those not named stay at zero."""
        stimulator = self._open()
        count = self._channel_count
        unknown = sorted(set(targets_ma) - set(range(1, count + 1)))
        if unknown:
            raise UsageError(f"channel {unknown[0]}: the profile has channels 1 to {count}")
        stimulator.start()
        stimulator.set_targets_ua(
            tuple(int(targets_ma.get(each, 0) * _UA_PER_MA) for each in range(1, count + 1))
        )

    @Driver.check_active
    def wait_until_finished(self) -> api.Result:
        """Keep the session alive until it comes to rest.

        Raises:
            PlaceLost: the place was lost; the output has been stopped.
        """
        return self._open().wait_until_finished()

    @Driver.check_active
    def stop(self, reason: str = "stop") -> None:
        """Go to zero now."""
        self._open().stop(reason)

    # Underneath.

    def _open(self) -> api.Stimulator:
        if self.stimulator is None:
            raise UsageError("the stimulator is not open: activate the driver")
        if self._lost:
            raise PlaceLost(self._lost)
        return self.stimulator

    def _watch_place(self) -> None:
        """Watch over a remote place that somebody acquired by hand before this job."""
        place = getattr(self.port, "parent", None)
        if self._hold is None and isinstance(place, RemotePlace):
            self._hold = PlaceHold(place.name, coordinator=_coordinator(place), is_acquiring=False)
            self._owns_hold = True

    def _see(self, _: Reply) -> None:
        """Stop, once, where the place is lost; called with everything that the engine says."""
        reason = self._hold.lost() if self._hold is not None and not self._lost else ""
        stimulator = self.stimulator
        if not reason or self._hold is None or stimulator is None:
            return
        self._lost = f"place {self._hold.place}: {reason}"
        stimulator.engine.send(msg.Stop(stimulator.engine.new_id(), self._lost))
        raise PlaceLost(f"{self._lost}; the output is stopped")


class Status(enum.Enum):
    """How far a stimulator is."""

    unknown = 0
    off = 1
    identified = 2
    armed = 3


@target_factory.reg_driver
@attr.s(eq=False)
class EstimStrategy(Strategy):
    """Bring a stimulator to `off`, `identified` or `armed`, in this order.

    Args:
        profile: id or file of what is armed.
        duration_s: once every target is reached; 0 for the profile's own.
    """

    bindings = {"stimulator": "EstimStimulatorDriver"}  # noqa: RUF012  # labgrid's way

    profile: str = attr.ib(default="dpn-conventional", validator=attr.validators.instance_of(str))
    duration_s: int = attr.ib(default=0, validator=attr.validators.instance_of(int))
    status: Status = attr.ib(default=Status.unknown)

    @never_retry
    def transition(self, status: Status | str) -> None:
        """Go to a status by way of those between.

        Raises:
            StrategyError: there is no such status, or the device does not get there; labgrid's
                strategies stay broken then.
        """
        wanted = (
            Status[status] if isinstance(status, str) and status in Status.__members__ else status
        )
        if not isinstance(wanted, Status) or wanted is Status.unknown:
            raise StrategyError(f"cannot go to {status}: expected off, identified or armed")
        if wanted is Status.off:
            self.target.deactivate(self.stimulator)
        else:
            self._identify()
        if wanted is Status.armed:
            self.stimulator.arm(self.profile, self.duration_s or None)
        self.status = wanted

    def _identify(self) -> None:
        """Bring the stimulator to where it is known and nothing flows."""
        self.target.activate(self.stimulator)
        shown = self.stimulator.stimulator.snapshot
        if shown is not None and shown.state in ENERGISED:
            self.stimulator.stop("disarmed")
        self.stimulator.identify()


@contextlib.contextmanager
def locked_target(environment: str | Path, role: str = "main", ttl_s: int = TTL_S) -> Iterator[Any]:
    """Hold the remote places of a target for this job alone, and yield the target.

    Args:
        environment: labgrid's environment file.
        role: which of its targets.
        ttl_s: how long the places stay held should this job's keeper die.

    Raises:
        PlaceLost: one of them is not to be had.
    """
    loaded = Environment(str(environment))
    coordinator = loaded.config.get_option(
        "coordinator_address", os.environ.get("LG_COORDINATOR", "127.0.0.1:20408")
    )
    with contextlib.ExitStack() as stack:
        holds = [
            stack.enter_context(PlaceHold(place, coordinator=coordinator, ttl_s=ttl_s))
            for place in _places(loaded, role)
        ]
        target = loaded.get_target(role)
        stack.callback(target.cleanup)
        if target is not None and holds:
            target.get_driver("EstimStimulatorDriver", activate=False).use_hold(holds[0])
        yield target


def _places(environment: Any, role: str) -> list[str]:
    resources, _ = target_factory.normalize_config(environment.config.get_targets().get(role, {}))
    return list(resources.get("RemotePlace", {}))


def _coordinator(place: Any) -> str:
    default = os.environ.get("LG_COORDINATOR", "127.0.0.1:20408")
    environment = place.target.env
    return str(
        environment.config.get_option("coordinator_address", default) if environment else default
    )
