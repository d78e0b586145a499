"""Read and change the settings of this station: flat TOML files, held to a strict model.

Rules:
1. A file that is not as its model asks is refused with one message; it is never ignored or mended.
2. A setting that the file does not name is at its default.
3. Changing one setting leaves every other line of the file as somebody wrote it, comments too.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from estim.errors import UsageError
from estim.prepare import durable

DEFAULT = "default"
"""What is typed to take a setting out of its file again."""

_WHOLE = re.compile(r"-?[0-9]{1,18}")

Settings = TypeVar("Settings", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it holds now.

    Attributes:
        key: its name, ending in its unit where it has one.
        current: None where nothing is set and nothing holds by default.
        is_set: whether the file names it.
        path: the file.
        words: what it does, with source and certainty.
        expected: what it may be.
    """

    key: str
    current: int | bool | str | None
    is_set: bool
    path: Path
    words: str
    expected: str


def load(path: Path, model: type[Settings]) -> Settings:
    """Read a file of settings; a missing one sets nothing.

    Raises:
        UsageError: the file is not what it should be; the message names file and key.
    """
    octets = durable.read_small(path)
    return model() if octets is None else _checked(path, model, octets)


def settings_of(path: Path, model: type[BaseModel]) -> tuple[Setting, ...]:
    """Return every setting of a file.

    Raises:
        UsageError: as `load`.
    """
    loaded = load(path, model)
    properties = model.model_json_schema()["properties"]
    return tuple(
        Setting(
            key,
            getattr(loaded, key),
            key in loaded.model_fields_set,
            path,
            properties[key]["description"],
            _expected(properties[key]),
        )
        for key in model.model_fields
    )


def change(path: Path, model: type[BaseModel], key: str, typed: str) -> Setting:
    """Set one setting, or take it out with 'default'; durable on return of how it stands now.

    Raises:
        UsageError: the setting cannot be that, or the file is not what it should be.
        RecordError: the file cannot be written, or another program is changing it.
    """
    properties = model.model_json_schema()["properties"]
    if typed != DEFAULT:
        try:
            model.model_validate({key: _read_typed(typed)})
        except ValidationError:
            raise UsageError(
                f"{key}: {typed!r:.80} given, {_expected(properties[key])} or {DEFAULT} expected"
            ) from None
    with durable.alone(path.parent):
        octets = durable.read_small(path) or b""
        before = _checked(path, model, octets)
        edited = _edited(octets.decode("utf-8"), key, typed).encode("utf-8")
        wanted = {name: getattr(before, name) for name in before.model_fields_set - {key}}
        if typed != DEFAULT:
            wanted[key] = _read_typed(typed)
        try:
            found = tomllib.loads(edited.decode("utf-8"))
        except tomllib.TOMLDecodeError:
            found = {}
        # A file may be spelled in ways that an edit of one line does not understand.
        if found != wanted or len(edited) > durable.SIZE_MAX:
            raise UsageError(f"{path}: {key} cannot be changed here; change it in the file itself")
        durable.replace(path, edited)
    return next(each for each in settings_of(path, model) if each.key == key)


def _checked(path: Path, model: type[Settings], octets: bytes) -> Settings:
    try:
        fields = tomllib.loads(octets.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from None
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {key}: {first['msg']}") from None


def _read_typed(typed: str) -> int | bool | str:
    if typed in ("true", "false"):
        return typed == "true"
    return int(typed) if _WHOLE.fullmatch(typed) else typed


def _edited(text: str, key: str, typed: str) -> str:
    """Return a flat TOML text with one line changed, added or taken out."""
    line = re.compile(rf"^[ \t]*(?:{key}|\"{key}\"|'{key}')[ \t]*=[^#\n]*(#[^\n]*)?(?:\n|\Z)", re.M)
    if typed == DEFAULT:
        return line.sub("", text, count=1)
    held = _read_typed(typed)
    # JSON spells whole numbers, true and false and plain texts as TOML does.
    spelled = f"{key} = {json.dumps(held)}"
    found = line.search(text)
    if found is None:
        return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{spelled}\n"
    comment = f"  {found[1]}" if found[1] else ""
    return f"{text[: found.start()]}{spelled}{comment}\n{text[found.end() :]}"


def _expected(schema: dict[str, Any]) -> str:
    """Say what a setting may be, from the JSON schema of its model."""
    schema = next((one for one in schema.get("anyOf", ()) if one["type"] != "null"), schema)
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if schema["type"] == "boolean":
        return "true or false"
    return f"a whole number from {schema['minimum']} to {schema['maximum']}"
