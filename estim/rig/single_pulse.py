"""Have a P24 play one single pulse into a load on the bench, and write down what it measured.

    taken = single_pulse(
        "p24:/dev/ttyACM0", find("tens-low-rate"), amplitude_ua=10_000, bench_ohm=500,
        out=Path("pulse.jsonl"),
    )
    taken.document()["measured"]

A session plays the P24 by its mid-level, which measures nothing. Its low level samples current or
voltage during a pulse: that is what this is for. The pulse is that of a profile.

Rules:
1. Nobody is connected: the load is declared, and no policy of a site opens this for a person.
2. The pulse passes what a session's pulse passes: the profile's, the site's, the device's and the
   compiled bounds, by the kernel, twice (load and target), and the device says who it is first.
3. It is written down, and synced, before it is asked for; a file that cannot be written is no
   pulse. Where no answer came the file says that the pulse counts as played.
4. Whatever happens, a Stop ends it that the device confirms; where it does not, that is an error
   that says what is left.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from estim.clock import SystemClock
from estim.dialects.p24 import Result
from estim.dialects.p24_low_level import Measurement
from estim.drivers.base import (
    ConnectFailed,
    DriveRefused,
    DriverEvent,
    Identified,
    Loaded,
    LoadFailed,
    StatusSeen,
)
from estim.drivers.p24 import result_words
from estim.drivers.p24_single import CAUTION, AskedPulse, P24SinglePulse
from estim.drivers.registry import Transport, driver_name, open_transport
from estim.errors import (
    DeviceFault,
    EstimError,
    LimitRefused,
    RecordError,
    ReplyTimeout,
    UncertainDelivery,
    UsageError,
)
from estim.prepare import places, station
from estim.prepare.session import Prepared, prepare
from estim.prepare.site import load_site
from estim.profile.loader import LoadedProfile
from estim.rig.port_lock import port_lock
from estim.safety import kernel
from estim.safety.kernel import DriveRequest, Facts, RiseKind
from estim.safety.verdict import Refused
from firmware_protocol.messages import FAULT_REMEDIES, DeviceState, FaultCode, Status, WantedState

SCHEMA = "estim.single-pulse/1"
DRIVER = "p24"
STEP_US = 2_000_000
STOP_US = 1_000_000
DRIVE_US = 50_000
LOCK_S = 1.0
HUNDREDTHS_UNITS = {
    Measurement.CURRENT: "mA/100",
    Measurement.VOLTAGE: "V/100",
    Measurement.HIGH_VOLTAGE: "V/100",
}
RESIDUAL = (
    "the pulse ends by itself; whether the device leaves its low level, and switches its high "
    "voltage off, is not known: unplug it"
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A single pulse, as it was asked for and as the device told of it.

    Attributes:
        url, profile_id, profile_sha256, bench_ohm: what was asked for.
        serial_number: of the device.
        asked_ua: amplitude asked for.
        measurement: what was to be measured.
        pulse: what went out.
    """

    url: str
    profile_id: str
    profile_sha256: str
    bench_ohm: int
    serial_number: str
    asked_ua: int
    measurement: Measurement
    pulse: AskedPulse

    def document(self) -> dict[str, Any]:
        """Return it for a file; `measured` is None where nothing came back.

        Samples have no sign: the device tells magnitudes.
        """
        pulse, answer = self.pulse, self.pulse.answer
        return {
            "schema": SCHEMA,
            "url": self.url,
            "serial_number": self.serial_number,
            "profile": {"id": self.profile_id, "sha256": self.profile_sha256},
            "bench_ohm": self.bench_ohm,
            "channel": pulse.channel + 1,
            "asked_ua": self.asked_ua,
            "played_ua": pulse.amplitude_ua,
            "points": [list(point) for point in pulse.points],
            "result": None if answer is None else answer.result,
            "measured": None
            if answer is None or not answer.hundredths
            else {
                "quantity": Measurement(answer.measurement).name.lower(),
                "unit": HUNDREDTHS_UNITS[Measurement(answer.measurement)],
                "sample_us": answer.sample_us,
                "samples": list(answer.hundredths),
            },
        }


def single_pulse(
    url: str,
    loaded: LoadedProfile,
    *,
    amplitude_ua: int,
    bench_ohm: int,
    out: Path,
    channel: int = 1,
    measurement: Measurement = Measurement.CURRENT,
) -> Taken:
    """Play one pulse of a profile's channel, at once at its amplitude, and return what came back.

    Args:
        url: `p24:` and its port.
        loaded: the profile whose pulse it is.
        amplitude_ua: rounded towards zero to the device's 0.5 mA.
        bench_ohm: the load that is connected, and nobody else.
        out: a new file of JSON lines; it is written before the pulse.
        channel: from 1.
        measurement: what the device samples during the pulse.

    Raises:
        UsageError: it is no P24, the load is none, or the channel is not the profile's.
        LimitRefused: a limit or the device refuses the pulse; nothing was delivered.
        PortLost, ReplyTimeout, DeviceFault: the device is not there, or not as it should be.
        RecordError: `out` cannot be written; nothing was delivered.
        UncertainDelivery: the pulse went out and nobody said what became of it, or the stop was
            not confirmed.
    """
    if driver_name(url) != DRIVER:
        raise UsageError(f"{url}: a single pulse is played by a P24 alone (p24:PORT)")
    if bench_ohm <= 0:
        raise UsageError("a single pulse is for a declared load of at least 1 ohm, never a person")
    if not 1 <= channel <= len(loaded.profile.channels):
        raise UsageError(f"channel {channel}: the profile has {len(loaded.profile.channels)}")
    with port_lock(url, LOCK_S, "single pulse"), _Bench(url, measurement) as bench:
        identified = bench.identify()
        serial_number = identified.identity.serial_number
        configuration = places.configuration_folder()
        prepared = prepare(
            loaded.profile,
            identified.capabilities,
            is_bench=True,
            site=load_site(configuration),
            standing=station.standing(configuration, serial_number, bench.clock.wall().date()),
            sha256=loaded.sha256,
            origin=loaded.origin,
        )
        targets_ua = tuple(
            amplitude_ua if number == channel else 0
            for number in range(1, len(prepared.program.channels) + 1)
        )
        with _open_new(out) as file:
            _write_line(
                file,
                {
                    "schema": SCHEMA, "state": "asked", "wall": bench.clock.wall().isoformat(),
                    "url": url, "serial_number": serial_number, "profile": loaded.profile.id,
                    "sha256": loaded.sha256, "bench_ohm": bench_ohm, "channel": channel,
                    "asked_ua": amplitude_ua, "caution": CAUTION,
                },
            )  # fmt: skip
            try:
                pulse = bench.play(prepared, targets_ua, identified)
            except BaseException as error:
                words = {"error": str(error), "counts_as_played": bench.driver.pulse is not None}
                _write_line(file, {"schema": SCHEMA, "state": "failed", **words})
                raise
            taken = Taken(
                url, loaded.profile.id, loaded.sha256, bench_ohm, serial_number, amplitude_ua,
                measurement, pulse,
            )  # fmt: skip
            _write_line(file, {"state": "played", **taken.document()})
    answer = taken.pulse.answer
    if answer is None:
        raise UncertainDelivery(f"{url}: no answer to the pulse: it counts as played")
    if answer.result != Result.OK:
        raise DeviceFault(f"{url}: after the pulse the device says: {result_words(answer.result)}")
    return taken


class _Bench:
    """A P24 at the end of its line, turned by hand."""

    def __init__(self, url: str, measurement: Measurement) -> None:
        self.clock = SystemClock()
        self.driver = P24SinglePulse(int.from_bytes(os.urandom(8), "big") or 1, url, measurement)
        self._url = url
        self._line: Transport = open_transport(url)
        self._status: Status | None = None
        self._status_us = 0
        self._digests = (0, 0)
        self._identified: Identified | None = None
        self._has_ended = False

    def __enter__(self) -> _Bench:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if not self._has_ended:
                with contextlib.suppress(EstimError):
                    self.driver.stop(self.clock.now_us())
                    self._flush()
        finally:
            self._line.close()

    def identify(self) -> Identified:
        """Ask who is there; what somebody left on is stopped."""
        self.driver.connect(self.clock.now_us())
        self._turn_until(lambda: self._identified is not None)
        assert self._identified is not None
        return self._identified

    def play(
        self, prepared: Prepared, targets_ua: tuple[int, ...], identified: Identified
    ) -> AskedPulse:
        """Load, enter the low level, have the pulse played, and stop."""
        try:
            self._load(prepared, identified)
            for state, wanted in (
                (DeviceState.ARMED, WantedState.ARMED),
                (DeviceState.RUNNING, WantedState.RUNNING),
            ):
                self._go(prepared, state, wanted)
            self._turn_until(
                lambda: self.driver.is_over,
                lambda: self._drive(prepared, WantedState.RUNNING, targets_ua),
            )
        finally:
            self.end()
        assert self.driver.pulse is not None
        return self.driver.pulse

    def end(self) -> None:
        """Stop, and return once the device has confirmed it.

        Raises:
            UncertainDelivery: it did not.
        """
        self._has_ended = True
        until_us = self.clock.now_us() + STOP_US
        try:
            if not self.driver.is_stopping:
                self.driver.stop(self.clock.now_us())
            while self.driver.is_stopping and self.clock.now_us() < until_us:
                self._turn()
        except EstimError as error:
            raise UncertainDelivery(f"{error}; the stop is not confirmed: {RESIDUAL}") from error
        if self.driver.is_stopping:
            raise UncertainDelivery(f"{self._url}: the stop is not confirmed: {RESIDUAL}")

    def _load(self, prepared: Prepared, identified: Identified) -> None:
        verdict = kernel.review_load(
            prepared.program, prepared.bounds, identified.capabilities, self.clock.now_us()
        )
        if isinstance(verdict, Refused):
            raise LimitRefused(str(verdict))
        self.driver.load(verdict, self.clock.now_us())
        self._turn_until(
            lambda: any(self._digests) and self._told_digests() == self._digests,
            lambda: self._drive(prepared, WantedState.SAFE, (0,) * len(prepared.program.channels)),
        )

    def _told_digests(self) -> tuple[int, int]:
        status = self._status
        return (0, 0) if status is None else (status.program_digest, status.limits_digest)

    def _go(self, prepared: Prepared, state: DeviceState, wanted: WantedState) -> None:
        zero_ua = (0,) * len(prepared.program.channels)
        self._turn_until(
            lambda: self._status is not None and self._status.state is state,
            lambda: self._drive(prepared, wanted, zero_ua),
        )

    def _drive(self, prepared: Prepared, wanted: WantedState, targets_ua: tuple[int, ...]) -> None:
        """Have a Drive reviewed, and hand it over; once the pulse went out nothing more does."""
        now_us, status = self.clock.now_us(), self._status
        if self.driver.pulse is not None or status is None:
            return
        facts = Facts(
            device_state=status.state,
            status_age_us=now_us - self._status_us,
            heartbeat_age_us=0,  # whoever asks is waiting in this very call
            running_ms=status.running_ms,
            digests_match=self._told_digests() == self._digests,
            is_fault_latched=status.fault is not FaultCode.NONE,
            lead_off_channels=frozenset(),  # nothing was played that could have told
            inputs=status.inputs,
        )
        request = DriveRequest(wanted, targets_ua, (0,) * len(targets_ua), RiseKind.TARGET)
        verdict = kernel.review(request, prepared.program, facts, prepared.bounds, now_us)
        if isinstance(verdict, Refused):
            raise LimitRefused(str(verdict))
        self.driver.drive(verdict, now_us)

    def _turn_until(
        self, is_reached: Callable[[], bool], drive: Callable[[], None] = lambda: None
    ) -> None:
        began_us = self.clock.now_us()
        due_us = began_us
        while not is_reached():
            now_us = self.clock.now_us()
            if now_us - began_us > STEP_US:
                raise ReplyTimeout(f"{self._url}: the device did not get there in time")
            if now_us >= due_us:
                due_us = now_us + DRIVE_US
                drive()
            self._turn()

    def _turn(self) -> None:
        for event in self.driver.poll(self.clock.now_us()):
            self._take(event)
        self._flush()
        received = self._line.read()
        if received:
            self.driver.receive(received, self.clock.now_us())

    def _flush(self) -> None:
        output = self.driver.take_output()
        sending = b"".join((*output.urgent, *output.ordered, output.drive or b""))
        if sending:
            self._line.write(sending)

    def _take(self, event: DriverEvent) -> None:
        match event:
            case Identified():
                self._identified = event
            case ConnectFailed(error) | LoadFailed(error):
                raise error
            case Loaded():
                self._digests = (event.program_digest, event.limits_digest)
            case StatusSeen(status):
                self._status, self._status_us = status, self.clock.now_us()
                if status.fault is not FaultCode.NONE and not self._has_ended:
                    raise DeviceFault(f"{self._url}: {FAULT_REMEDIES[status.fault]}")
            case DriveRefused() if self.driver.pulse is None and not self._has_ended:
                raise LimitRefused(f"{self._url}: {event.explanation}")


def _open_new(path: Path) -> IO[str]:
    try:
        return path.open("x", encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from error


def _write_line(file: IO[str], line: dict[str, Any]) -> None:
    try:
        file.write(json.dumps(line, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise RecordError(f"{file.name}: {error.strerror}") from error
