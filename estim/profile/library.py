"""Find what the library ships, installed or in a checkout: profiles to run, entries to read."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import estim
from estim.errors import ProfileError
from estim.profile import search
from estim.profile.fields import Identifier
from estim.profile.loader import LoadedEntry, LoadedProfile, load, load_any, load_entry
from estim.text import sanitize

_PACKAGE = Path(estim.__file__).resolve().parent
_FOLDERS = (_PACKAGE / "profiles", _PACKAGE.parent / "profiles")


def library() -> list[LoadedProfile]:
    """Return every shipped profile, by id.

    Raises:
        ProfileError: there is no library, or a profile in it is damaged.
    """
    return [_load_shipped(profile_id) for profile_id in shipped_ids()]


def shipped_ids() -> list[str]:
    """Return the ids of the shipped profiles, sorted, without reading them."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def entries() -> list[LoadedEntry]:
    """Return every shipped entry that informs and cannot be run, by id.

    Raises:
        ProfileError: there is no library, or an entry in it is damaged.
    """
    return [_load_shipped_entry(entry_id) for entry_id in entry_ids()]


def entry_ids() -> list[str]:
    """Return the ids of the shipped entries, sorted, without reading them."""
    return sorted(path.stem for path in (folder() / "entries").glob("*.toml"))


def find(id_or_path: str) -> LoadedProfile:
    """Return a shipped profile by its id, or the profile in a file.

    What ends in `.toml` or holds a path separator is a path; anything else is an id.

    Raises:
        ProfileError: there is no such profile, naming the nearest one, or it is damaged.
        LimitRefused: it is an entry, which informs and cannot be run.
    """
    loaded = find_any(id_or_path)
    if isinstance(loaded, LoadedEntry):
        raise loaded.refusal()
    return loaded


def find_any(id_or_path: str) -> LoadedProfile | LoadedEntry:
    """Return a shipped profile or entry by its id, or what is in a file.

    Raises:
        ProfileError: there is neither, naming the nearest one, or it is damaged.
    """
    separators = (os.sep, os.altsep or os.sep)
    if id_or_path.endswith(".toml") or any(mark in id_or_path for mark in separators):
        return load_any(id_or_path)
    shown = sanitize(id_or_path)[:64]
    if not Identifier().accepts(id_or_path):
        raise ProfileError(f"{shown!r} is not a profile id; expected {Identifier().expected}")
    known = shipped_ids()
    if id_or_path in known:
        return _load_shipped(id_or_path)
    informing = entry_ids()
    if id_or_path in informing:
        return _load_shipped_entry(id_or_path)
    nearest = difflib.get_close_matches(id_or_path, [*known, *informing], n=1, cutoff=0.5)
    nearest = nearest or [each for each in (*informing, *known) if _is_meant(each, id_or_path)]
    hint = f"did you mean {nearest[0]!r}?" if nearest else "`estim profiles list` names them all"
    raise ProfileError(f"there is no profile {shown!r}; {hint}")


def _is_meant(item_id: str, text: str) -> bool:
    is_entry = item_id in entry_ids()
    return search.matches(
        _load_shipped_entry(item_id) if is_entry else _load_shipped(item_id), text
    )


def folder() -> Path:
    """Return the folder of the library; raise ProfileError where there is none."""
    for folder in _FOLDERS:
        if folder.is_dir():
            return folder
    raise ProfileError(f"the profile library is missing; expected it in {_FOLDERS[0]}")


def _load_shipped(profile_id: str) -> LoadedProfile:
    loaded = load(folder() / f"{profile_id}.toml")
    if loaded.profile.id != profile_id:
        raise ProfileError(f"{loaded.path}: id: {loaded.profile.id!r}; expected {profile_id!r}")
    return loaded


def _load_shipped_entry(entry_id: str) -> LoadedEntry:
    loaded = load_entry(folder() / "entries" / f"{entry_id}.toml")
    if loaded.entry.id != entry_id:
        raise ProfileError(f"{loaded.path}: id: {loaded.entry.id!r}; expected {entry_id!r}")
    return loaded
