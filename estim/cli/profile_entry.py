"""An entry of the library that informs and cannot be run, for people and as JSON."""

from __future__ import annotations

from typing import Any

from estim.cli.console import say, say_json, say_wrapped
from estim.cli.profile_figures import CERTAINTY_LINES, entry_summary, neuropathy_words
from estim.profile.loader import LoadedEntry
from estim.profile.models import Basis, Evidence

SCHEMA = "estim.library-entry/1"


def show(loaded: LoadedEntry, is_json: bool) -> None:
    """Print an entry."""
    if is_json:
        say_json(SCHEMA, **_document(loaded))
        return
    entry = loaded.entry
    say(f"{entry.title}  ({entry.id} {entry.version})")
    say(f"*** {entry.kind.upper()}: TO READ, NOT TO RUN. {entry.review_status.upper()}. ***")
    say_wrapped(f"Cannot be run: {entry.cannot_run}", 0)
    if entry.indications:
        say(f"for {', '.join(entry.indications)}")
    if entry.neuropathy is not None:
        say(neuropathy_words(entry.neuropathy))
    say(f"mode {entry.mode}")
    say(f"file {loaded.path}")
    say(f"sha256 {loaded.sha256}")
    for title, text, basis in (
        ("What flows", entry.stimulus, entry.basis.stimulus),
        ("Placement", entry.placement, entry.basis.placement),
        ("Dose", entry.dose, entry.basis.dose),
    ):
        _say_group(title, text, basis)
    say_evidence(entry.evidence)


def say_evidence(evidence: tuple[Evidence, ...]) -> None:
    """Print what is known, each study with its caveat, and what the letters mean."""
    say()
    say("Evidence")
    if not evidence:
        say("  None among the sources of this project.")
    for item in evidence:
        say_wrapped(f"{item.study} ({item.grade}) [{item.certainty}]")
        say_wrapped(f"Effect: {item.effect}", 4)
        say_wrapped(f"Caveat: {item.caveat}", 4)
        say_wrapped(f"Source: {item.source}", 4)
    for line in CERTAINTY_LINES:
        say(f"  {line}")


def _document(loaded: LoadedEntry) -> dict[str, Any]:
    return entry_summary(loaded) | {
        "entry": loaded.entry.model_dump(mode="json", by_alias=True),
    }


def _say_group(title: str, text: str, basis: Basis) -> None:
    say()
    say(f"{title} [{basis.certainty}]")
    say_wrapped(text)
    say_wrapped(f"({basis.source})")
