"""`estim config`: every setting of this station, where it comes from, and how to change it."""

from __future__ import annotations

import difflib
from argparse import Namespace
from pathlib import Path
from typing import Any

from estim.cli.console import say, say_json, say_table
from estim.errors import UsageError
from estim.prepare import interface, places, settings, site
from estim.prepare.interface import InterfaceSettings
from estim.prepare.settings import Setting
from estim.prepare.site import SitePolicy

SCHEMA = "estim.config/1"
PLACES_SCHEMA = "estim.config-places/1"
_HEADER = ("setting", "now", "from", "may be")
_FILES = ((site.FILE_NAME, SitePolicy), (interface.FILE_NAME, InterfaceSettings))


def run(arguments: Namespace) -> int:
    """Show every setting, and where it comes from."""
    folder = places.configuration_folder()
    files = [(name, settings.settings_of(folder / name, model)) for name, model in _FILES]
    if arguments.json:
        for _, found in files:
            for setting in found:
                say_json(SCHEMA, **_fields(setting))
        return 0
    say(f"configuration  {folder}")
    say(f"records        {places.records_folder()}")
    for name, found in files:
        say()
        is_there = (folder / name).exists()
        say(f"{folder / name}" + ("" if is_there else " (not there: all at their defaults)"))
        rows = [
            (each.key, _shown(each), "set" if each.is_set else "default", each.expected)
            for each in found
        ]
        say_table(_HEADER, rows, indent=2)
    return 0


def run_path(arguments: Namespace) -> int:
    """Print the configuration folder; with --json every place."""
    folder = places.configuration_folder()
    if arguments.json:
        say_json(
            PLACES_SCHEMA,
            configuration=str(folder),
            records=str(places.records_folder()),
            files=[str(folder / name) for name, _ in _FILES],
        )
    else:
        say(str(folder))
    return 0


def run_get(arguments: Namespace) -> int:
    """Print what one setting is now."""
    path, model = _file_of(arguments.key)
    found = next(s for s in settings.settings_of(path, model) if s.key == arguments.key)
    if arguments.json:
        say_json(SCHEMA, **_fields(found))
    else:
        say(_shown(found))
    return 0


def run_set(arguments: Namespace) -> int:
    """Change one setting, and say what it is now."""
    path, model = _file_of(arguments.key)
    changed = settings.change(path, model, arguments.key, arguments.typed)
    if arguments.json:
        say_json(SCHEMA, **_fields(changed))
    else:
        origin = "set" if changed.is_set else "default"
        say(f"{changed.key}: {_shown(changed)} ({origin}, {path})")
    return 0


def _file_of(key: str) -> tuple[Path, type[SitePolicy] | type[InterfaceSettings]]:
    known: list[str] = []
    for name, model in _FILES:
        if key in model.model_fields:
            return places.configuration_folder() / name, model
        known += model.model_fields
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "`estim config` lists them"
    raise UsageError(f"there is no setting {key!r:.80}: {hint}")


def _fields(setting: Setting) -> dict[str, Any]:
    return {
        "key": setting.key,
        "now": setting.current,
        "is_set": setting.is_set,
        "file": str(setting.path),
        "expected": setting.expected,
        "meaning": setting.words,
    }


def _shown(setting: Setting) -> str:
    if setting.current is None:
        return "none"
    return str(setting.current).lower()
