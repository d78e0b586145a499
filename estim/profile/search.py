"""Find profiles and entries by words, by condition and by mode.

Rules:
1. Every word sought must occur, in any order, in capitals or not; a hyphen counts as a space.
2. A neuropathy profile that names no cause is found under every cause.
"""

from __future__ import annotations

from estim.profile.entry import Entry
from estim.profile.loader import LoadedEntry, LoadedProfile
from estim.profile.models import NEUROPATHY_CAUSES, Profile

LEADING_CONDITION = "neuropathy"
FIRST_CHOICE = "dpn-conventional"
"""The generic first choice in neuropathy: it opens every list."""


def told(loaded: LoadedProfile | LoadedEntry) -> Profile | Entry:
    """Return what was loaded."""
    return loaded.profile if isinstance(loaded, LoadedProfile) else loaded.entry


def matches(
    loaded: LoadedProfile | LoadedEntry, text: str = "", *, condition: str = "", mode: str = ""
) -> bool:
    """Tell whether an item is sought: by any of its words, by what it is for, by its mode."""
    item = told(loaded)
    conditions = _conditions(item)
    words = [item.id, item.title, item.mode, *conditions]
    if isinstance(item, Entry):
        words.append(item.kind)
    else:
        words += item.guidance.precautions
    return _has_all(words, text) and _has_all(conditions, condition) and _has_all([item.mode], mode)


def shelf_order(loaded: LoadedProfile | LoadedEntry) -> tuple[bool, bool, bool, bool, int, str]:
    """Sort profiles before entries, those for a person first; neuropathy leads, by its cause."""
    item = told(loaded)
    is_entry = isinstance(item, Entry)
    is_bench_only = not isinstance(item, Entry) and item.is_bench_only
    leads = any(LEADING_CONDITION in indication for indication in item.indications)
    return (is_entry, is_bench_only, not leads, item.id != FIRST_CHOICE, _cause(item), item.id)


def _conditions(item: Profile | Entry) -> list[str]:
    if item.neuropathy is None:
        return [*item.indications]
    causes = item.neuropathy.causes or NEUROPATHY_CAUSES
    return [*item.indications, LEADING_CONDITION, *item.neuropathy.kinds, *causes]


def _cause(item: Profile | Entry) -> int:
    """Return the place of the first cause among the causes, after all of them where none is."""
    causes = item.neuropathy.causes if item.neuropathy else ()
    return NEUROPATHY_CAUSES.index(causes[0]) if causes else len(NEUROPATHY_CAUSES)


def _has_all(texts: list[str], sought: str) -> bool:
    searched = _plain(" ".join(texts))
    return all(word in searched for word in _plain(sought).split())


def _plain(text: str) -> str:
    return text.lower().replace("-", " ")
