"""A technician's job as a file says it: what to verify, with what, and what was answered before.

Rules:
1. Strict, as a profile is: an unknown key, a wrong type or a number out of range refuses the job
   whole, before anything is delivered, with file, line and key.
2. Every path in a job is taken from the folder that the job file lies in.
3. A job is for the bench. Nothing in it can say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from estim.errors import ProfileError, UsageError
from estim.profile.fields import Exact, Expectation, Identifier, Whole, Words
from estim.profile.library import find
from estim.profile.loader import LoadedProfile, load_as
from estim.profile.models import Certainty, whole_ua
from estim.profile.table import KeyProblem, Table
from estim.units import UA_PER_MA
from firmware_protocol import limits
from firmware_protocol.messages import CHANNELS_MAX

SCHEMA = 1
STEPS_MAX = 1000
LOAD_MAX_OHM = 100_000
MANUAL = "manual:"
SIMULATOR = "sim:"

_LINE = Words(200)
_NAME = Words(80)
_READING_UA = Exact("uA", Decimal(0), Decimal(100_000), 2)
_AMPLITUDE_MA = Exact("mA", Decimal("0.1"), Decimal(limits.amplitude_ua.maximum) / UA_PER_MA, 1)


@dataclass(frozen=True)
class Day(Expectation):
    """A date without a time."""

    @property
    def expected(self) -> str:
        return "a date such as 2027-01-31, without quotes"

    def accepts(self, value: object) -> bool:
        return isinstance(value, date) and not isinstance(value, datetime)


class Stimulator(Table):
    """Who a stimulator without a port is: nobody can ask it."""

    model: Annotated[str, _NAME]
    serial_number: Annotated[str, Words(64)]
    firmware_version: Annotated[str, _NAME] = "not stated"


class Reading(Table):
    """How a capture is to be read where the file itself does not say."""

    column: Annotated[str, _NAME] | None = None
    unit: Literal["V", "mV", "A", "mA", "uA"] | None = None
    sample_rate_hz: Annotated[Decimal, Exact("Hz", Decimal(1), Decimal(10**11), 3)] | None = None
    probe: Annotated[Decimal, Exact("x", Decimal("0.001"), Decimal(10_000), 3)] | None = None


class Conditions(Table):
    """What it was like where the job was done."""

    temperature_c: Annotated[Decimal, Exact("degrees C", Decimal(-40), Decimal(85), 1)] | None = (
        None
    )
    humidity_percent: Annotated[Decimal, Exact("%", Decimal(0), Decimal(100), 1)] | None = None
    supply: Annotated[str, _LINE] | None = None
    notes: Annotated[str, Words(1000)] | None = None


class VisualCheck(Table):
    """Something that a person looks at."""

    name: Annotated[str, Identifier()]
    question: Annotated[str, _LINE]


class LeakageCheck(Table):
    """A reading that a person takes with a meter and types in, with its highest value."""

    name: Annotated[str, Identifier()]
    question: Annotated[str, _LINE]
    at_most_ua: Annotated[Decimal, Exact("uA", Decimal("0.1"), Decimal(10_000), 1)]
    uncertainty_ua: Annotated[Decimal, Exact("uA", Decimal(0), Decimal(1000), 2)]
    instrument: Annotated[str, _LINE]
    source: Annotated[str, _LINE]
    certainty: Certainty


class Answers(Table):
    """What would be asked at a terminal, answered before. A rig that has no person needs it.

    Attributes:
        nobody_connected: nobody is connected to the stimulator, at any load of the job.
        load_is_set: the rig sets each dummy load by itself, or there is only one.
        delivered: with `manual:`, the rig sets each amplitude by itself.
        visual: 'pass', 'fail' or 'not-applicable' for each check by name.
        leakage_ua: the reading for each entry by name.
    """

    nobody_connected: bool | None = None
    load_is_set: bool | None = None
    delivered: bool | None = None
    visual: dict[str, Literal["pass", "fail", "not-applicable"]] = Field(default_factory=dict)
    leakage_ua: dict[str, Annotated[Decimal, _READING_UA]] = Field(default_factory=dict)


_Some = Field(strict=False, min_length=1, max_length=64)
_Any = Field(strict=False, max_length=64)


class Job(Table):
    """One visit of a technician to one stimulator.

    Attributes:
        device: URL of the stimulator, or 'manual:' for one without a port.
        phase: 'as-found' before anything was adjusted, 'as-left' after.
        dwell_s: how long each step plays at its amplitude.
        capture: 'folder' takes files that appear in `captures`; 'trace' the simulator's own.
        capture_wait_s: how long a rig without a person waits for a file.
        folder: where state and reports are kept; both phases of a job share it.
        instrument: file of the instrument that makes the captures.
        release_by: who releases the device for people if the job passes; nobody if absent.
        next_due: last day before the next check, entered in the station's register on a pass.
    """

    schema_version: Annotated[int, Whole("", SCHEMA, SCHEMA), Field(alias="schema")]
    title: Annotated[str, _NAME]
    device: Annotated[str, _LINE]
    who: Annotated[str, _NAME]
    why: Annotated[str, _LINE]
    phase: Literal["as-found", "as-left"]
    loads_ohm: Annotated[tuple[Annotated[int, Whole("ohm", 1, LOAD_MAX_OHM)], ...], _Some]
    profiles: Annotated[tuple[Annotated[str, _LINE], ...], _Some]
    channels: Annotated[tuple[Annotated[int, Whole("", 1, CHANNELS_MAX)], ...], _Some]
    amplitudes_ma: Annotated[tuple[Annotated[Decimal, _AMPLITUDE_MA], ...], _Some]
    dwell_s: Annotated[int, Whole("s", 1, 3600)]
    folder: Annotated[str, _LINE]
    capture: Literal["folder", "trace"] = "folder"
    captures: Annotated[str, _LINE] = "captures"
    capture_wait_s: Annotated[int, Whole("s", 1, 3600)] = 60
    clock: Literal["real", "virtual"] = "real"
    tolerances: Literal["project", "standard"] = "project"
    load_tolerance_percent: Annotated[int, Whole("%", 1, 50)] = 10
    instrument: Annotated[str, _LINE]
    release_by: Annotated[str, _NAME] | None = None
    next_due: Annotated[date, Day()] | None = None
    stimulator: Stimulator | None = None
    reading: Reading = Reading()
    conditions: Conditions = Conditions()
    visual: Annotated[tuple[VisualCheck, ...], _Any] = ()
    leakage: Annotated[tuple[LeakageCheck, ...], _Any] = ()
    answers: Answers = Answers()

    @property
    def is_manual(self) -> bool:
        """Tell whether a person sets the stimulator by hand."""
        return self.device == MANUAL

    @property
    def is_simulated(self) -> bool:
        """Tell whether the stimulator is the built-in simulator."""
        return self.device.startswith(SIMULATOR)

    @property
    def amplitudes_ua(self) -> tuple[int, ...]:
        """Return the amplitudes in microamperes."""
        return tuple(whole_ua(amplitude_ma) for amplitude_ma in self.amplitudes_ma)

    def with_answers(self, answers: Answers) -> Job:
        """Return the job with other answers; raise KeyProblem for checks that it has not."""
        changed = self.model_copy(update={"answers": answers})
        changed._check_answers()
        return changed

    @model_validator(mode="after")
    def _check(self) -> Job:
        for key in ("loads_ohm", "profiles", "channels", "amplitudes_ma"):
            listed = getattr(self, key)
            if len(set(listed)) < len(listed):
                raise KeyProblem((key,), "the same twice; expected each once")
        count = (
            len(self.loads_ohm) * len(self.profiles) * len(self.channels) * len(self.amplitudes_ma)
        )
        if count > STEPS_MAX:
            raise KeyProblem(("loads_ohm",), f"{count} steps in all; expected at most {STEPS_MAX}")
        self._check_device()
        for key in ("visual", "leakage"):
            names = [check.name for check in getattr(self, key)]
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise KeyProblem((key, index, "name"), f"{name!r} again; expected each once")
        self._check_answers()
        return self

    def _check_device(self) -> None:
        if self.capture == "trace" and not self.is_simulated:
            raise KeyProblem(("capture",), "'trace'; expected 'folder': only sim: writes a trace")
        if self.clock == "virtual" and self.capture != "trace":
            raise KeyProblem(("clock",), "'virtual'; expected 'real' unless capture is 'trace'")
        if self.is_manual and self.stimulator is None:
            raise KeyProblem(("stimulator",), "missing; expected a table: manual: cannot be asked")
        if not self.is_manual and self.stimulator is not None:
            raise KeyProblem(("stimulator",), "a table; expected none: the device says who it is")
        if self.device.startswith(MANUAL) and not self.is_manual:
            raise KeyProblem(("device",), f"{self.device!r}; expected nothing after 'manual:'")

    def _check_answers(self) -> None:
        known: dict[str, tuple[VisualCheck | LeakageCheck, ...]] = {
            "visual": self.visual,
            "leakage_ua": self.leakage,
        }
        for key, checks in known.items():
            names = {check.name for check in checks}
            for name in getattr(self.answers, key):
                if name not in names:
                    listed = ", ".join(sorted(names)) or "none"
                    raise KeyProblem(("answers", key, name), f"no such check; there are: {listed}")


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """A job, the hash of its file, where it lies, and the profiles that it names."""

    job: Job
    sha256: str
    path: Path
    profiles: tuple[LoadedProfile, ...]

    @property
    def folder(self) -> Path:
        """Return where state and reports are kept."""
        return self.beside(self.job.folder)

    @property
    def captures(self) -> Path:
        """Return where captures are dropped."""
        return self.beside(self.job.captures)

    def beside(self, name: str) -> Path:
        """Return a path that the job names, taken from the folder of the job file."""
        return self.path.parent / name


def load_job(path: Path) -> LoadedJob:
    """Read a job and the profiles that it names.

    Raises:
        UsageError: the file cannot be read or is not a job; file, line, key and what was expected.
        ProfileError: a profile is damaged or there is none of that name.
    """
    try:
        job, sha256 = load_as(Job, path)
    except ProfileError as error:
        raise UsageError(str(error)) from None
    absolute = path.absolute()
    profiles = []
    for index, name in enumerate(job.profiles):
        is_file = name.endswith(".toml")
        try:
            loaded = find(str(absolute.parent / name) if is_file else name)
        except ProfileError as error:
            raise UsageError(f"{path}: profiles[{index + 1}]: {error}") from None
        for channel in job.channels:
            if channel > len(loaded.profile.channels):
                raise UsageError(
                    f"{path}: channels: {channel}; expected at most "
                    f"{len(loaded.profile.channels)}, as {loaded.profile.id} has"
                )
        profiles.append(loaded)
    ids = [loaded.profile.id for loaded in profiles]
    if len(set(ids)) < len(ids):
        raise UsageError(f"{path}: profiles: two with the same id; expected each once")
    return LoadedJob(job, sha256, absolute, tuple(profiles))
