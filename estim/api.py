"""Drive a stimulator from Python: the same engine, limits and record as the terminal interface.

    with estim.api.open("sim:", bench_ohm=500) as stimulator:
        stimulator.prepare(find("dpn-conventional"), duration_s=8)
        stimulator.arm()
        stimulator.start()
        stimulator.set_targets_ua((12_000, 0))
        result = stimulator.wait_until_finished()

`estim.aio` is the same for asyncio.

Rules:
1. The engine stops when it hears nothing from here for 400 ms while armed or running: a script
   keeps a session alive by calling `pump` or any method that waits, never in the background.
2. `stop` is accepted in every state. Leaving the `with` stops first, whatever it is left for.
3. Every session here is a bench session: a dummy load, and nobody connected. A person is treated in
   the guided visit of the terminal interface alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qsl, urlencode

from estim.clock import SystemClock, VirtualClock
from estim.engine.pumped import Engine as Engine  # a public name of this module
from estim.engine.pumped import RealEngine, SteppedEngine
from estim.errors import DeviceFault, EstimError, PortLost, UsageError
from estim.prepare import places, station
from estim.prepare.session import Prepared, capabilities_from_snapshot, prepare
from estim.prepare.site import load_site
from estim.profile.loader import LoadedProfile
from estim.record import station_key
from estim.record.recover import recover
from estim.session import messages as msg
from estim.session.messages import (
    Blame,
    DeviceSnapshot,
    Fault,
    Notice,
    Outcome,
    Reply,
    Request,
    Severity,
    Snapshot,
)
from estim.session.states import ENERGISED, HostState

BEAT_US = 100_000
PUMP_S = 0.05
ANSWER_S = 15.0
SIMULATED_OHM = 500
AT_REST = frozenset({HostState.READY, HostState.FAULT, HostState.CLOSED, HostState.DISCONNECTED})

OnReply = Callable[[Reply], None]


@dataclass(frozen=True, slots=True)
class Result:
    """How a stimulation went.

    Attributes:
        end_state: where the session came to rest.
        fault: the fault in words, '' for none.
        rise_ms, plateau_ms, delivered_ms: time with output, before and since every target was
            reached.
        pulse_counts: pulses per channel.
        record_path: where the record lies.
        suspect: whom a fault or an alarm pointed at, None for neither.
    """

    end_state: HostState
    fault: str
    rise_ms: int
    plateau_ms: int
    delivered_ms: int
    pulse_counts: tuple[int, ...]
    record_path: str
    suspect: Blame | None = None


class Stimulator:
    """One visit with one device.

    Attributes:
        engine: what it speaks to.
        snapshot: the newest of the engine's, None before the first.
        standing: of the device in this station's register, once prepared.
        prepared: what was loaded last, None for nothing.
        suspect: whom the newest fault or alarm pointed at, None for neither.
    """

    def __init__(self, engine: Engine, url: str, bench_ohm: int, on_reply: OnReply | None) -> None:
        self.engine = engine
        self.url = url
        self.bench_ohm = bench_ohm
        self.snapshot: Snapshot | None = None
        self.standing: station.Standing | None = None
        self.prepared: Prepared | None = None
        self.suspect: Blame | None = None
        self._on_reply = on_reply
        self._outcomes: dict[int, Outcome] = {}
        self._records: Path = places.records_folder()
        self._is_record_open = False
        self._seed: int | None = None
        self._beat = 0
        self._beat_us = 0
        self._is_closed = False

    def __enter__(self) -> Stimulator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.close(str(error) if isinstance(error, EstimError) else type(error).__name__)

    # A session, step by step.

    def identify(self) -> DeviceSnapshot:
        """Connect and ask the device who it is and what it can do; nothing flows.

        Raises:
            EstimError: there is no such device, or it does not answer.
        """
        if self.snapshot is None or self.snapshot.device is None:
            self.ask(msg.Connect(self.engine.new_id(), self.url))
        device = self._wait_for(lambda shown: shown.device is not None).device
        if device is None:
            raise PortLost(f"{self.url}: the device has gone")
        return device

    def prepare(
        self,
        loaded: LoadedProfile,
        *,
        duration_s: int | None = None,
        electrode_area_cm2: Decimal | None = None,
    ) -> Prepared:
        """Open the record, identify the device, and load a profile.

        Args:
            loaded: the profile, with its hash and where it came from.
            duration_s: seconds once every target was reached; the profile's own if None.
            electrode_area_cm2: of the smallest electrode; the profile's recommendation if None.

        Raises:
            EstimError: any of these was refused or failed; nothing was delivered.
        """
        if not self._is_record_open:
            self._open_record(loaded)
        is_known = self.snapshot is not None and self.snapshot.device is not None
        device = self.identify()
        if not is_known:
            self._acknowledge_old_lease()
        configuration = places.configuration_folder()
        today = SystemClock().wall().date()  # a stepped clock knows no calendar
        self.standing = station.standing(configuration, device.serial_number, today)
        prepared = prepare(
            loaded.profile,
            capabilities_from_snapshot(device),
            is_bench=True,
            site=load_site(configuration),
            duration_s=duration_s,
            electrode_area_cm2=electrode_area_cm2,
            standing=self.standing,
            sha256=loaded.sha256,
            origin=loaded.origin,
        )
        program_hex = prepared.program.canonical_bytes().hex()
        request_id = self.engine.new_id()
        self.ask(msg.Prepare(request_id, program_hex, prepared.bounds, prepared.settings))
        self.prepared = prepared
        return prepared

    def arm(self) -> None:
        """Arm at zero."""
        self.ask(msg.Arm(self.engine.new_id()))

    def start(self) -> None:
        """Begin RUNNING at zero."""
        self.ask(msg.Start(self.engine.new_id()))

    def set_targets_ua(self, targets_ua: tuple[int, ...]) -> None:
        """Set every channel's target; the device rises at its slew."""
        self.ask(msg.SetTargets(self.engine.new_id(), targets_ua))

    def pause(self) -> None:
        """Go to zero, stay armed."""
        self.ask(msg.Pause(self.engine.new_id()))

    def resume(self) -> None:
        """Rise from zero to where the pause began."""
        self.ask(msg.Resume(self.engine.new_id()))

    def stop(self, reason: str = "stop") -> None:
        """Go to zero now, in whatever state, and return once the device has confirmed it.

        Once closed there is nothing left to stop, and nothing happens.

        Raises:
            EstimError: zero was not confirmed: the device ends by itself within its `residual_ms`.
        """
        if self._is_closed:
            return
        self.ask(msg.Stop(self.engine.new_id(), reason))
        stopped_us = self.engine.clock.now_us()
        self._wait_for(lambda shown: shown.at_us >= stopped_us)

    def wait_for(
        self, is_reached: Callable[[Snapshot], bool], timeout_s: float = ANSWER_S
    ) -> Snapshot:
        """Keep the session alive until a snapshot is as asked; return that.

        Only snapshots made from now on count: the newest may be from before the last request.

        Raises:
            DeviceFault: the output ended before, with its suspect, or it took too long.
        """
        asked_us = self.engine.clock.now_us()
        was_energised = False

        def is_over(shown: Snapshot) -> bool:
            nonlocal was_energised
            if shown.at_us < asked_us:
                return False
            was_energised |= shown.state in ENERGISED
            return is_reached(shown) or (was_energised and shown.state in AT_REST)

        shown = self._wait_for(is_over, timeout_s)
        if not is_reached(shown):
            raise self._ended(shown.fault)
        return shown

    def hold(self, duration_s: float) -> Snapshot:
        """Keep the session alive for a while; return the newest snapshot.

        Raises:
            DeviceFault: the output ended before, with its suspect.
        """
        until_us = self.engine.clock.now_us() + int(duration_s * 1e6)
        return self.wait_for(lambda shown: shown.at_us >= until_us, duration_s + ANSWER_S)

    def wait_until_finished(self, stop_reason: Callable[[], str] = str) -> Result:
        """Keep the session alive until it comes to rest, or there is a reason to have it stopped.

        An electrode that comes off ends it too: nobody is here to press it on and re-arm. Only
        snapshots made from now on count: the newest may be from before the last request.
        """
        asked_us = self.engine.clock.now_us()
        lead_off = ""
        is_stopping = False
        while True:
            self.pump()
            shown = self.snapshot
            if shown is None or shown.at_us < asked_us:
                continue
            if shown.state in AT_REST:
                result = self.result()
                return replace(result, fault=result.fault or lead_off)
            lead_off = lead_off or _lead_off(shown)
            reason = lead_off or stop_reason()
            if reason and not is_stopping and shown.state in ENERGISED:
                is_stopping = True
                self.engine.send(msg.Stop(self.engine.new_id(), reason))

    def result(self) -> Result:
        """Return what the newest snapshot says was delivered."""
        shown = self.snapshot
        if shown is None:
            raise DeviceFault("nothing is known of the session")
        return Result(
            end_state=shown.state,
            fault=shown.fault.text if shown.fault else "",
            rise_ms=shown.rise_ms,
            plateau_ms=shown.plateau_ms,
            delivered_ms=shown.delivered_ms,
            pulse_counts=tuple(channel.pulse_count for channel in shown.channels),
            record_path=shown.record_path,
            suspect=self.suspect,
        )

    def close(self, reason: str = "closed") -> None:
        """Stop if need be, seal the record, end the engine; closing twice does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self.snapshot is not None and self.snapshot.state not in AT_REST:
                self.engine.send(msg.Stop(self.engine.new_id(), reason))
                self._wait_for(lambda shown: shown.state in AT_REST | {HostState.IDENTIFIED})
            self.ask(msg.CloseVisit(self.engine.new_id(), reason))
        except EstimError:
            pass  # the engine has gone or cannot seal: its record says so
        finally:
            self.engine.close()
            if self.engine.has_died:
                self._explain_record()

    # Underneath.

    def ask(self, request: Request) -> None:
        """Make a request and wait for its outcome.

        Raises:
            EstimError: it was refused or failed, with the class that its exit code names.
        """
        request_id: int = request.request_id  # type: ignore[union-attr]  # heartbeats are not asked
        self.engine.send(request)
        deadline_us = self.engine.clock.now_us() + int(ANSWER_S * 1e6)
        while request_id not in self._outcomes:
            self.pump()
            if self.engine.clock.now_us() > deadline_us:
                raise DeviceFault(f"the engine did not answer {type(request).__name__}")
        outcome = self._outcomes.pop(request_id)
        if not outcome.is_done:
            raise msg.error_of(outcome)

    def pump(self) -> None:
        """Let time pass: send a heartbeat where due, take what the engine says."""
        now_us = self.engine.clock.now_us()
        if now_us - self._beat_us >= BEAT_US:
            self._beat += 1
            self._beat_us = now_us
            self.engine.send(msg.Heartbeat(self._beat))
        for reply in self.engine.pump(PUMP_S):
            if isinstance(reply, Snapshot):
                self.snapshot = reply
            elif isinstance(reply, Outcome):
                self._outcomes[reply.request_id] = reply
            self.suspect = _suspect(reply) or self.suspect
            if self._on_reply is not None:
                self._on_reply(reply)

    def record_to(self, folder: Path, seed: int | None) -> None:
        """Choose where the record goes, before `prepare`."""
        self._records = folder
        self._seed = seed

    def _open_record(self, loaded: LoadedProfile) -> None:
        is_virtual = isinstance(self.engine.clock, VirtualClock)
        session_id = places.new_session_id(self.engine.clock.wall(), self._seed)
        header = places.record_header(
            session_id,
            loaded,
            bench_ohm=self.bench_ohm,
            clock="virtual" if is_virtual else "real",
            seed=self._seed,
        )
        self.ask(
            msg.OpenRecord(
                self.engine.new_id(),
                str(self._records),
                str(places.configuration_folder()),
                session_id,
                header,
            )
        )
        self._is_record_open = True

    def _explain_record(self) -> None:
        """Close the record that a dead engine left open."""
        if self.snapshot is None or not self.snapshot.record_path:
            return
        clock = self.engine.clock
        with contextlib.suppress(EstimError):  # `verify` tells what is wrong with it
            recover(
                Path(self.snapshot.record_path),
                station_key.load_or_make(places.configuration_folder()),
                mono_us=clock.now_us(),
                wall=clock.wall(),
            )

    def _acknowledge_old_lease(self) -> None:
        """Acknowledge a lease that ran out when an earlier host died: starting anew says so."""
        shown = self._wait_for(lambda shown: shown.status_age_ms >= 0)
        if shown.fault is not None:
            if shown.fault.code != "device_lease_expired":
                raise DeviceFault(f"{shown.fault.text}: {shown.fault.remedy}")
            self.ask(msg.Acknowledge(self.engine.new_id(), shown.latch_count))

    def _ended(self, fault: Fault | None) -> DeviceFault:
        """Say that, and maybe why, the output is no more."""
        error = DeviceFault(fault.text if fault else "the output ended")
        error.blame = self.suspect.value if self.suspect else ""
        return error

    def _wait_for(
        self, is_reached: Callable[[Snapshot], bool], timeout_s: float = ANSWER_S
    ) -> Snapshot:
        deadline_us = self.engine.clock.now_us() + int(timeout_s * 1e6)
        while self.snapshot is None or not is_reached(self.snapshot):
            self.pump()
            if self.engine.clock.now_us() > deadline_us:
                raise DeviceFault("the session did not get there in time")
        return self.snapshot


def _suspect(reply: Reply) -> Blame | None:
    """Return whom a fault or an alarm points at, None where it is neither."""
    if isinstance(reply, Snapshot):
        return reply.fault.blame if reply.fault else None
    if isinstance(reply, Notice) and reply.severity is Severity.ALARM:
        return reply.blame
    return None


def _lead_off(shown: Snapshot) -> str:
    """Name a channel whose electrode came off, '' for none."""
    for number, channel in enumerate(shown.channels, start=1):
        if channel.is_lead_off:
            return f"channel {number}: electrode off"
    return ""


def open(  # reads as `estim.api.open`
    url: str,
    *,
    bench_ohm: int | None = None,
    is_virtual: bool = False,
    seed: int | None = None,
    records: Path | None = None,
    on_reply: OnReply | None = None,
) -> Stimulator:
    """Open a device for a bench session.

    Args:
        url: `sim:`, `native:/dev/ttyUSB0` and the like.
        bench_ohm: the dummy load; says that nobody is connected. For `sim:` alone it may be left
            out: its own load then.
        is_virtual: step a virtual clock instead of waiting; `sim:` alone.
        seed: decides every random choice on the virtual clock.
        records: folder of the record.
        on_reply: called with everything the engine says.

    Raises:
        UsageError: a device that is none of ours to simulate came without its load.
    """
    if bench_ohm is None:
        bench_ohm = simulated_ohm(url)
    engine: Engine = SteppedEngine(seed or 0) if is_virtual else RealEngine()
    stimulator = Stimulator(engine, url, bench_ohm, on_reply)
    stimulator.record_to(records or places.records_folder(), seed)
    return stimulator


def identify(url: str) -> DeviceSnapshot:
    """Ask a device who it is and what it can do; nothing flows, and nothing is recorded.

    Raises:
        EstimError: there is no such device, or it does not answer.
    """
    # No record is opened, so nothing tells of the load that a session would declare.
    with Stimulator(RealEngine(), url, 0, None) as stimulator:
        return stimulator.identify()


def simulated_ohm(url: str) -> int:
    """Return the load that the simulator of a `sim:` URL is given.

    Raises:
        UsageError: it is another device, or the load is a name.
    """
    query = dict(parse_qsl(url.partition("?")[2]))
    load = query.get("load", str(SIMULATED_OHM))
    if not (url.startswith("sim:") and load.isascii() and load.isdigit()):
        raise UsageError(f"{url}: say the dummy load, bench_ohm, and with it that it is one")
    return int(load)


def simulator_url(url: str, options: Mapping[str, str]) -> str:
    """Add options to a `sim:` URL, keeping those it has.

    Raises:
        UsageError: the URL is not one of `sim:`.
    """
    if not url.startswith("sim:"):
        raise UsageError(f"{url}: a trace is written by sim: alone")
    query = urlencode(dict(options), safe="/")
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}{query}" if query else url
