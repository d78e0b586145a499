"""Carry one visit, or one bench session, through the engine: which request when. Knows no widget.

Rules:
1. Nothing here starts or raises output by itself: each such call is one action of a person.
2. On a person nothing is loaded again unasked: what is loaded has to be read back.
3. On a person the device's standing in the station's register is looked up at each loading.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estim.errors import EstimError, LimitRefused, PortLost, UsageError
from estim.session import messages
from estim.session.messages import DeviceSnapshot, Reply
from estim.session.states import HostState
from estim.tui.link import EngineLink

if TYPE_CHECKING:
    from estim.prepare.session import Prepared
    from estim.prepare.station import Standing
    from estim.profile.loader import LoadedProfile


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What a person chose before a bench session.

    Attributes:
        loaded: the profile with its hash and where it came from.
        url: the device's URL.
        bench_ohm: the dummy load that was declared, in ohms.
        is_demo: begun with one key on the simulator.
    """

    loaded: LoadedProfile
    url: str
    bench_ohm: int
    is_demo: bool = False

    @property
    def heading(self) -> str:
        """Say what kind of session this is."""
        kind = "DEMO, bench" if self.is_demo else "BENCH"
        return f"{kind} {self.bench_ohm} ohm, nobody connected"


@dataclass(frozen=True, slots=True)
class VisitPlan:
    """Whom a visit is for, who begins it, and by which guided protocol.

    Attributes:
        protocol: its `id`, `version` and `sha256`.
        pseudonym: of the person.
        operator: id of whoever begins the visit.
    """

    protocol: Mapping[str, str]
    pseudonym: str
    operator: str

    @property
    def heading(self) -> str:
        """Say what kind of session this is."""
        return f"VISIT {self.pseudonym}"


@dataclass(frozen=True, slots=True)
class Stimulation:
    """What is to be loaded, for whom and over which electrodes.

    Attributes:
        loaded: the profile with its hash and where it came from.
        duration_s: seconds of plateau; the profile's own if None.
        electrode_area_cm2: of the smallest electrode; if None the profile's recommendation on a
            bench, and on a person the least that the profile allows.
        patient_ceiling_ua: what this person may have at most.
        is_sensation_impaired: whether sensation at any of the sites is impaired.
    """

    loaded: LoadedProfile
    duration_s: int | None = None
    electrode_area_cm2: Decimal | None = None
    patient_ceiling_ua: int | None = None
    is_sensation_impaired: bool = False


class SessionController(EngineLink):
    """Drive one engine from its record's header to its seal.

    A bench session: `open`, then `arm_and_start` as often as wanted, `close`. A visit: `open`
    (record only), `annotate`, `connect`, `prepare`, `annotate` the reading-back of
    `prepared_digest`, `arm`, `start`; after each stop `prepare` anew, and read back anew; `close`.

    Args:
        plan: a bench session's or a visit's.
        records: folder of the records; None for the usual one.
        on_reply: called with each reply, in the engine client's thread, after it was taken in.
        on_end: called with the reason, in that thread, when the engine has gone unasked.
    """

    def __init__(
        self,
        plan: SessionPlan | VisitPlan,
        records: Path | None,
        on_reply: Callable[[Reply], None],
        on_end: Callable[[str], None],
    ) -> None:
        self.plan = plan
        self.session_id = ""
        self.prepared: Prepared | None = None
        self.prepared_digest = ""
        self.standing: Standing | None = None
        self._stimulation: Stimulation | None = None
        self._url = ""
        if isinstance(plan, SessionPlan):
            self._stimulation, self._url = Stimulation(plan.loaded), plan.url
        self._records = records
        super().__init__(on_reply, on_end)

    @property
    def is_bench(self) -> bool:
        """Tell whether this is a bench session, with nobody connected."""
        return isinstance(self.plan, SessionPlan)

    @property
    def loaded(self) -> LoadedProfile | None:
        """Return the profile that was chosen last."""
        return self._stimulation.loaded if self._stimulation is not None else None

    @property
    def title(self) -> str:
        """Return the title of the profile that was chosen last, '' for none."""
        return self.loaded.profile.title if self.loaded is not None else ""

    async def open(self) -> None:
        """Open the record; on the bench also find the device and load the programme.

        A visit's record begins with the annotation `visit`.

        Raises:
            EstimError: what failed, in words.
        """
        from estim.prepare import places, site

        plan = self.plan
        configuration = places.configuration_folder()
        policy = site.load_site(configuration)
        self.session_id = places.new_session_id(self._clock.wall())
        if isinstance(plan, SessionPlan):
            header = places.record_header(
                self.session_id, plan.loaded, bench_ohm=plan.bench_ohm, clock="real"
            )
        else:
            header = places.visit_header(
                self.session_id, plan.protocol,
                operator=plan.operator, pseudonym=plan.pseudonym, clock="real",
            )  # fmt: skip
        folders = str(self._records or places.records_folder()), str(configuration)
        await self.must(
            lambda number: messages.OpenRecord(number, *folders, self.session_id, header)
        )
        if isinstance(plan, SessionPlan):
            await self.reconnect()
        else:
            begun = {name: header[name] for name in ("protocol", "pseudonym", "operator")}
            await self.annotate("visit", {**begun, "site": policy.model_dump(mode="json")})

    async def annotate(self, kind: str, content: Mapping[str, Any]) -> None:
        """Keep something in the record; return once it is durable.

        Raises:
            EstimError: it cannot stand in a record, or nobody knows whether it was kept.
        """
        await self.must(lambda number: messages.Annotate(number, kind, dict(content)))

    async def connect(self, url: str) -> DeviceSnapshot:
        """Find a device; return who it is and what it can do.

        Raises:
            EstimError: it is not there, or it is another one than this record is bound to.
        """
        await self.must(lambda number: messages.Connect(number, url))
        self._url = url
        device = (await self.next_snapshot()).device
        if device is None:
            raise PortLost(f"{url}: the device has gone")
        if not (isinstance(self.plan, SessionPlan) and self.plan.is_demo):
            await asyncio.to_thread(_remember, url)
        return device

    async def inject(self, line: str) -> None:
        """Let something go wrong at the simulator; in a person's record their own stop alone.

        Raises:
            EstimError: it is refused, or was not kept.
        """
        await self.must(lambda number: messages.InjectFault(number, line))

    async def disconnect(self) -> None:
        """Close the port; what was loaded is gone.

        Raises:
            EstimError: output is possible.
        """
        await self.must(messages.Disconnect)

    async def reconnect(self) -> None:
        """Find the same device again after the link was lost; on the bench load again (rule 2).

        Raises:
            EstimError: it is not there, or it is another one.
        """
        await self.connect(self._url)
        if self.is_bench:
            await self.prepare_again()

    async def prepare(self, stimulation: Stimulation) -> Prepared:
        """Compile a profile for the device that is there, and load it.

        Raises:
            EstimError: a limit or the station's register refuses it, or the device is gone.
        """
        self.prepared_digest = ""  # whatever comes of this: nobody wants the former one any more
        device = await self._device()
        prepared = await asyncio.to_thread(self._compile, stimulation, device)
        program_hex = prepared.program.canonical_bytes().hex()
        await self.must(
            lambda number: messages.Prepare(number, program_hex, prepared.bounds, prepared.settings)
        )
        self._stimulation, self.prepared = stimulation, prepared
        self.step_ua = prepared.settings.step_ua
        self.prepared_digest = (await self.next_snapshot()).prepared_digest
        return prepared

    async def prepare_again(self) -> None:
        """Load once more what was chosen last.

        Raises:
            EstimError: as `prepare`, or nothing was chosen yet.
        """
        if self._stimulation is None:
            raise UsageError("no profile was chosen yet")
        await self.prepare(self._stimulation)

    async def arm(self) -> None:
        """Arm at zero.

        Raises:
            EstimError: what refused, with every reason.
        """
        if not self.prepared_digest:
            raise LimitRefused("nothing is prepared: the last choice was not loaded")
        await self.must(messages.Arm)

    async def start(self) -> None:
        """Start at zero, from armed.

        Raises:
            EstimError: what refused, with every reason.
        """
        await self.must(messages.Start)

    async def arm_and_start(self) -> None:
        """Arm where that is to be done; start at zero.

        On the bench the programme is loaded again where a stop cleared it (rule 2).

        Raises:
            EstimError: what refused, with every reason.
        """
        if self.is_bench and self.snapshot is not None and not self.snapshot.has_program:
            await self.prepare_again()
        if self.snapshot is None or self.snapshot.state is not HostState.ARMED:
            await self.arm()
        await self.start()

    def _compile(self, stimulation: Stimulation, device: DeviceSnapshot) -> Prepared:
        """Gather everything that bounds a stimulation; reads files, so never in the loop."""
        from estim.prepare import places, session, site, station

        configuration = places.configuration_folder()
        today = self._clock.wall().date()
        self.standing = station.standing(configuration, device.serial_number, today)
        loaded = stimulation.loaded
        return session.prepare(
            loaded.profile,
            session.capabilities_from_snapshot(device),
            is_bench=self.is_bench,
            site=site.load_site(configuration),
            duration_s=stimulation.duration_s,
            electrode_area_cm2=stimulation.electrode_area_cm2,
            patient_ceiling_ua=stimulation.patient_ceiling_ua,
            is_sensation_impaired=stimulation.is_sensation_impaired,
            standing=self.standing,
            sha256=loaded.sha256,
            origin=loaded.origin,
        )

    async def _device(self) -> DeviceSnapshot:
        """Return what the device can do, as the engine says it now."""
        device = (await self.next_snapshot()).device
        if device is None:
            raise UsageError("no device is connected")
        return device


def _remember(url: str) -> None:
    """Keep the address for the next start; a station that cannot keep it works without."""
    from estim.prepare import last_device, places

    with contextlib.suppress(EstimError):
        last_device.remember(places.configuration_folder(), url)
