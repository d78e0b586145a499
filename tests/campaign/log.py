"""What was seen during a run, in order: everything that the judge judges, and the trace's bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from estim.session.messages import Snapshot

Phases = tuple[tuple[int, int, int], ...]


@dataclass(slots=True)
class Pulse:
    """One pulse at the patient; `tick_us` is the device's own clock since its boot."""

    onset_us: int
    tick_us: int
    boot: int
    channel: int
    phases: Phases
    peak_ua: int
    end_us: int


@dataclass(slots=True)
class Asked:
    """What a person asked of a host, when, and what came of it."""

    at_us: int
    host: int
    kind: str
    content: tuple[object, ...]
    request_id: int
    is_done: bool | None = None


@dataclass(slots=True)
class Shown:
    """A snapshot as it was published."""

    at_us: int
    host: int
    snapshot: Snapshot


@dataclass(slots=True)
class Arrived:
    """Bytes at the device, and the device's own clock then; `forged` were no host's."""

    at_us: int
    tick_us: int
    boot: int
    octets: bytes


@dataclass(slots=True)
class Written:
    """Bytes that a host wrote."""

    at_us: int
    host: int
    octets: bytes


@dataclass(slots=True)
class Heard:
    """Bytes that reached a host's line."""

    at_us: int
    host: int
    octets: bytes


@dataclass(slots=True)
class HostLife:
    """One engine, from its start to its end."""

    number: int
    from_us: int
    until_us: int | None = None
    end: str = ""
    record: Path | None = None
    power_was_cut: bool = False
    is_lied_to: bool = False
    disk_failed_us: int | None = None
    synced: list[tuple[int, int]] = field(default_factory=list)
    """When the disk said that the record is kept, and up to which size."""
    epochs: list[int] = field(default_factory=list)
    stopped: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Log:
    """One run."""

    pulses: list[Pulse] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    arrived: list[Arrived] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    hosts: list[HostLife] = field(default_factory=list)
    sent_us: list[int] = field(default_factory=list)
    """When the device wrote."""
    disk_us: list[int] = field(default_factory=list)
    """When the disk was asked for something."""
    beats_us: list[int] = field(default_factory=list)
    happened: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    reboots_us: list[int] = field(default_factory=list)
    notices: list[tuple[int, str]] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    worst_drift_ppm: int = 0
    worst_device_ppm: int = 0
    ended_us: int = 0
    crash: str = ""
    moments: dict[int, Callable[[int], int]] = field(default_factory=dict)
    """For each boot of a device: from its own time since then to true time."""

    def digest(self, folder: Path) -> str:
        """Return the SHA-256 over everything: output, both ends' bytes, displays, records."""
        told = hashlib.sha256()
        for pulse in self.pulses:
            told.update(repr((pulse.onset_us, pulse.tick_us, pulse.channel, pulse.phases)).encode())
        pieces: list[Arrived | Written] = [*self.arrived, *self.written]
        for piece in pieces:
            told.update(b"%d " % piece.at_us + piece.octets)
        for shown in self.shown:
            plain = repr(shown.snapshot).replace(str(folder), "")
            told.update(b"%d " % shown.at_us + plain.encode())
        for asked in self.asked:
            told.update(f"{asked.at_us} {asked.kind} {asked.is_done}".encode())
        for at_us, text in self.notices:
            told.update(f"{at_us} {text}".replace(str(folder), "").encode())
        for host in self.hosts:
            if host.record is not None and host.record.exists():
                told.update(host.record.read_bytes())
        return told.hexdigest()
