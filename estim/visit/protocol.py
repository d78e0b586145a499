"""What a guided protocol says: typed steps, stimulation being one of them.

Rules:
1. A protocol for a person that stimulates asks first for everything that output on a person needs
   (`BEFORE_OUTPUT`), and none of these steps may be skipped.
2. After the last stimulation the skin is looked at, and a review ends the visit; neither may be
   skipped.
3. A profile that is for the bench only stands in no protocol for a person. Where a protocol names a
   profile, it names one of the library.
4. A protocol for the bench has the kinds of steps of a bench (`ON_BENCH`) and no other; a check
   stands there alone.
5. Each attribute is a TOML key; an unknown key, or one that does not belong to the kind of its
   step, refuses the protocol whole.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, model_validator

from estim.errors import ProfileError
from estim.profile import library
from estim.profile.fields import Identifier, Member, Version, Whole, Words
from estim.profile.loader import LoadedProfile, load_as
from estim.profile.models import Basis, Neuropathy
from estim.profile.table import KeyProblem, Table
from estim.text import sanitize
from estim.visit import instruments

SCHEMA = 1
FOLDER = "protocols"

KINDS = (
    "screen",
    "consent",
    "assess",
    "inspect_skin",
    "test_sensation",
    "try_stop",
    "place_electrodes",
    "check_contact",
    "check",
    "stimulate",
    "exercise",
    "manual_therapy",
    "adjunct",
    "educate",
    "review",
)
BEFORE_OUTPUT = (
    "screen",
    "consent",
    "inspect_skin",
    "test_sensation",
    "try_stop",
    "place_electrodes",
)
"""Kinds of steps that come before output on a person, each at least once."""

ON_BENCH = ("check", "stimulate", "educate", "review")
"""Kinds of steps with nobody connected."""

MEANWHILE = ("educate", "adjunct")
"""Kinds of steps that hang on nothing that a stimulation does: they may be answered while it is the
stimulation's turn, current flowing or not."""

NEVER_SKIPPED = (*BEFORE_OUTPUT, "review")

ADJUNCTS = (
    "heat",
    "cold",
    "ultrasound",
    "aquatic",
    "occupational",
    "adaptive-device",
    "acupuncture",
)

_LINE = Words(200)
_TEXT = Words(1000)
_COUNT = Whole("", 1, 100)
_Some = Field(strict=False, min_length=1, max_length=32)
_Any = Field(strict=False, max_length=32)


class Exercise(Table):
    """One exercise, or one technique of manual therapy, and how much of it."""

    name: Annotated[str, Words(80)]
    do: Annotated[str, _TEXT]
    sets: Annotated[int, _COUNT] = 1
    repetitions: Annotated[int, _COUNT] = 1
    hold_s: Annotated[int, Whole("s", 0, 600)] = 0
    rest_s: Annotated[int, Whole("s", 0, 600)] = 0
    duration_s: Annotated[int, Whole("s", 0, 3600)] = 0

    @property
    def dose(self) -> str:
        """Say how much of it, as people read it."""
        parts = [f"{self.sets} x {self.repetitions}"] if self.sets * self.repetitions > 1 else []
        parts += [f"{self.hold_s} s held"] if self.hold_s else []
        parts += [f"{self.rest_s} s rest between sets"] if self.rest_s else []
        parts += [f"{self.duration_s // 60} min"] if self.duration_s >= 60 else []
        return ", ".join(parts) or "once"


class Check(Table):
    """One thing that is looked at or measured on a device.

    Attributes:
        do: how it is looked at.
        expect: what is to be found.
        command: what does it, or helps with it, as it is typed; empty where nothing does.
    """

    name: Annotated[str, Words(80)]
    do: Annotated[str, _TEXT]
    expect: Annotated[str, _TEXT]
    command: Annotated[str, _LINE] | None = None


class Step(Table):
    """One step of a visit.

    Attributes:
        kind: what is done; see `KINDS`.
        why: reason, for the person who asks.
        do: what to do.
        gates: what depends on it, in words; empty where nothing does.
        may_skip: whether it can be left out with a reason.
        when: 'before' or 'after' stimulation, for assess and inspect_skin.
        instruments: assessments of an assess step, by id.
        profiles: what a stimulate step may deliver; the first is proposed.
        checks: of a check step, on the bench.
        exercises: of an exercise or a manual_therapy step.
        adjuncts: of an adjunct step.
        points: what an educate step explains; the take-home sheet repeats them.
    """

    kind: Annotated[str, Member("a kind of step", KINDS)]
    id: Annotated[str, Identifier()]
    title: Annotated[str, Words(60)]
    why: Annotated[str, _TEXT]
    do: Annotated[str, _TEXT]
    gates: Annotated[str, _LINE] = "nothing"
    may_skip: bool = False
    when: Literal["before", "after"] | None = None
    instruments: Annotated[tuple[Annotated[str, Identifier()], ...], _Any] = ()
    profiles: Annotated[tuple[Annotated[str, Identifier()], ...], _Any] = ()
    checks: Annotated[tuple[Check, ...], _Any] = ()
    exercises: Annotated[tuple[Exercise, ...], _Any] = ()
    adjuncts: Annotated[tuple[Annotated[str, Member("an adjunct", ADJUNCTS)], ...], _Any] = ()
    points: Annotated[tuple[Annotated[str, _TEXT], ...], _Any] = ()

    @model_validator(mode="after")
    def _check(self) -> Step:
        own = _OWN_KEYS.get(self.kind, ())
        for key in _KIND_KEYS:
            if key in own and not getattr(self, key):
                raise KeyProblem((key,), f"missing; expected in a step of kind {self.kind!r}")
            if key not in own and key in self.model_fields_set:
                raise KeyProblem((key,), f"not expected in a step of kind {self.kind!r}")
        if self.may_skip and self.kind in NEVER_SKIPPED:
            raise KeyProblem(
                ("may_skip",), f"true; expected false: a {self.kind} step is never skipped"
            )
        return self


_OWN_KEYS = {
    "assess": ("when", "instruments"),
    "inspect_skin": ("when",),
    "check": ("checks",),
    "stimulate": ("profiles",),
    "exercise": ("exercises",),
    "manual_therapy": ("exercises",),
    "adjunct": ("adjuncts",),
    "educate": ("points",),
}
_KIND_KEYS = tuple(dict.fromkeys(key for keys in _OWN_KEYS.values() for key in keys))


class Protocol(Table):
    """A guided protocol.

    Attributes:
        visit: 'first' or 'follow-up' for a person; 'bench' for a device on a dummy load.
        neuropathy: which neuropathies it is thought out for.
        summary: when to choose it.
        basis: how sure the order and the content of its steps are.
    """

    schema_version: Annotated[int, Whole("", SCHEMA, SCHEMA), Field(alias="schema")]
    id: Annotated[str, Identifier()]
    version: Annotated[str, Version()]
    title: Annotated[str, Words(80)]
    visit: Literal["first", "follow-up", "bench"]
    summary: Annotated[str, _TEXT]
    indications: Annotated[tuple[Annotated[str, Identifier()], ...], _Some]
    neuropathy: Neuropathy | None = None
    review_status: Annotated[str, _LINE]
    basis: Basis
    steps: Annotated[tuple[Step, ...], _Some]

    @property
    def is_for_people(self) -> bool:
        """Tell whether a person is connected."""
        return self.visit != "bench"

    def step(self, step_id: str) -> Step:
        """Return a step by its id; raise KeyError where there is none."""
        return next(step for step in self.steps if step.id == step_id)

    @model_validator(mode="after")
    def _check(self) -> Protocol:
        seen: set[str] = set()
        for index, step in enumerate(self.steps):
            if step.id in seen:
                raise KeyProblem(("steps", index, "id"), f"{step.id!r}; expected each id once")
            seen.add(step.id)
            if (step.kind == "check") if self.is_for_people else (step.kind not in ON_BENCH):
                place = "for a person" if self.is_for_people else "for the bench"
                raise KeyProblem(
                    ("steps", index, "kind"), f"{step.kind!r} stands in no protocol {place}"
                )
        stimulating = [i for i, step in enumerate(self.steps) if step.kind == "stimulate"]
        if self.steps[-1].kind != "review":
            raise KeyProblem(("steps",), "the last is no review; expected a review to end a visit")
        if self.is_for_people and stimulating:
            self._check_around(stimulating[0], stimulating[-1])
        return self

    def _check_around(self, first: int, last: int) -> None:
        before = {
            step.kind
            for step in self.steps[:first]
            if step.kind != "inspect_skin" or step.when == "before"
        }
        for kind in BEFORE_OUTPUT:
            if kind not in before:
                raise KeyProblem(
                    ("steps", first, "kind"),
                    f"stimulate; expected a step of kind {kind!r} before it",
                )
        if not any(s.kind == "inspect_skin" and s.when == "after" for s in self.steps[last:]):
            raise KeyProblem(
                ("steps", last, "kind"),
                "stimulate; expected a step of kind 'inspect_skin' with when = 'after' behind it",
            )


@dataclass(frozen=True, slots=True)
class LoadedProtocol:
    """A protocol, the SHA-256 of its file's bytes, where it came from, and its profiles by id."""

    protocol: Protocol
    sha256: str
    path: str
    profiles: Mapping[str, LoadedProfile] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, compare=False
    )

    @property
    def facts(self) -> dict[str, str]:
        """Return what a record keeps of it."""
        return {
            "id": self.protocol.id,
            "version": self.protocol.version,
            "sha256": self.sha256,
        }


def load(path: str | os.PathLike[str]) -> LoadedProtocol:
    """Read a protocol from a file.

    Raises:
        ProfileError: it cannot be read, is no protocol, or names a profile that it may not.
    """
    protocol, sha256 = load_as(Protocol, path)
    profiles: dict[str, LoadedProfile] = {}
    loaded = LoadedProtocol(protocol, sha256, os.fspath(path), MappingProxyType(profiles))
    for number, step in enumerate(protocol.steps, start=1):
        for name in step.instruments:
            if name not in instruments.BY_ID:
                raise ProfileError(
                    f"{sanitize(loaded.path)}: steps[{number}].instruments: {name!r}; expected one "
                    f"of {', '.join(instruments.BY_ID)}"
                )
        for profile_id in step.profiles:
            where = f"{sanitize(loaded.path)}: steps[{number}].profiles: {profile_id!r}"
            if profile_id not in library.shipped_ids():
                raise ProfileError(f"{where}; expected a profile of the library")
            profiles[profile_id] = library.find(profile_id)
            if protocol.is_for_people and profiles[profile_id].profile.is_bench_only:
                raise ProfileError(f"{where} is for the bench only; expected one for a person")
    return loaded


def shipped_ids() -> list[str]:
    """Return the ids of the shipped protocols, sorted."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


@functools.cache
def shipped() -> tuple[LoadedProtocol, ...]:
    """Return every shipped protocol, by id.

    Raises:
        ProfileError: one of them is damaged.
    """
    return tuple(find(protocol_id) for protocol_id in shipped_ids())


def find(id_or_path: str) -> LoadedProtocol:
    """Return a shipped protocol by its id, or the protocol in a file.

    Raises:
        ProfileError: there is none, naming the nearest one, or it is damaged.
    """
    if id_or_path.endswith(".toml") or os.sep in id_or_path:
        return load(id_or_path)
    known = shipped_ids()
    if id_or_path not in known:
        shown = sanitize(id_or_path)[:64]
        nearest = difflib.get_close_matches(shown, known, n=1, cutoff=0.5)
        listing = "`estim protocols list` names them all"
        hint = f"did you mean {nearest[0]!r}?" if nearest else listing
        raise ProfileError(f"there is no protocol {shown!r}; {hint}")
    loaded = load(_folder() / f"{id_or_path}.toml")
    if loaded.protocol.id != id_or_path:
        raise ProfileError(f"{loaded.path}: id: {loaded.protocol.id!r}; expected {id_or_path!r}")
    return loaded


def _folder() -> Path:
    return library.folder() / FOLDER
