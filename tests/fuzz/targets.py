"""Every target of the fuzzer by name: what it calls, and where to begin.

A target takes bytes, and returns whether they were accepted. What it finds wrong it raises: any
exception but the documented ones, or an assertion about what must hold beyond 'no crash'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import documents, native, seeds

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Target:
    """One parser, the longest input that is tried, and inputs to begin with."""

    run: Callable[[bytes], bool]
    longest: int
    seeds: Callable[[], Iterator[bytes]]


TARGETS = {
    "stream": Target(native.stream, 1024, seeds.stream),
    "body": Target(native.body, 250, seeds.bodies),
    "programme": Target(native.programme, 2048, seeds.programmes),
    "p24_stream": Target(native.p24_stream, 2048, seeds.p24_stream),
    "p24_payload": Target(native.p24_payload, 600, seeds.p24_payloads),
    "pulsepal_answers": Target(native.pulsepal_answers, 128, seeds.pulsepal_answers),
    "pulsepal_commands": Target(native.pulsepal_commands, 1024, seeds.pulsepal_commands),
    "profile": Target(documents.profile, 70_000, seeds.profiles),
    "guided": Target(documents.guided, 70_000, seeds.protocols),
    "record": Target(documents.record, 8192, seeds.records),
    "chain": Target(documents.chain, 4096, seeds.ledgers),
    "capture": Target(documents.capture, 4096, seeds.captures),
    "fault_script": Target(documents.fault_script, 2048, seeds.fault_scripts),
    "line": Target(documents.line, 4096, seeds.lines),
    "snapshot": Target(documents.snapshot, 4096, seeds.snapshots),
    "site": Target(documents.site, 2048, seeds.sites),
    "people": Target(documents.people, 2048, seeds.rosters),
    "bench_files": Target(documents.bench_files, 4096, seeds.bench_files),
    "campaign": Target(documents.campaign, 4096, seeds.campaigns),
    "text": Target(documents.text, 512, seeds.texts),
}


def kept(name: str) -> list[Path]:
    """Return the inputs of a target's corpus, by name."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
