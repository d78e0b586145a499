"""Say in one sentence why a table read from TOML is not what it should be."""

from __future__ import annotations

import difflib
import typing
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from estim.errors import ProfileError
from estim.profile import lines
from estim.profile.fields import Expectation
from estim.profile.modes import exclusion
from estim.profile.stimulus import Stimulus
from estim.profile.table import KeyProblem
from estim.text import sanitize

_SHOWN_MAX = 60
_TAG_KEYS = {"pulse": "waveform", "modulation": "change"}
"""Tables of which there are several kinds, and the key that tells them apart."""

Location = tuple[str | int, ...]
"""A path as pydantic tells it: the kind of a table stands behind the table's name."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that messages are about."""

    name: str
    text: str = ""

    def error(self, path: lines.Path, problem: str, line: int | None = None) -> ProfileError:
        """Return the error about a key; its line is looked up where it is not given."""
        if line is None and path:
            line = lines.line_of(self.text, path)
        where = sanitize(self.name) + (f", line {line}" if line else "")
        key = f"{_spell(path)}: " if path else ""
        return ProfileError(sanitize(f"{where}: {key}{problem}"))


def explain(origin: Origin, root: type[BaseModel], error: ValidationError) -> ProfileError:
    """Turn the most telling of pydantic's errors about a `root` into one sentence.

    The name of an excluded current tells most, and an unknown key more than the missing one that it
    was meant to be.
    """
    details = error.errors(include_url=False)
    for detail in details:
        excluded = _excluded(origin, detail)
        if excluded is not None:
            return excluded
    detail = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
    location = detail["loc"]
    path = _plain_path(location)
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, KeyProblem):
        return origin.error(path + cause.path, str(cause))
    if detail["type"] == "missing":
        return origin.error(path, f"missing; expected {_expected_at(root, location)}")
    if detail["type"] == "extra_forbidden":
        return origin.error(path, _unknown_key(root, location))
    if detail["type"].startswith("union_tag"):
        tag_key = _TAG_KEYS[str(path[-1])]
        unknown = [key for key in detail["input"] if key not in _keys_at(root, location)]
        if tag_key not in detail["input"] and unknown:
            path, location = (*path, unknown[0]), (*location, unknown[0])
            return origin.error(path, _unknown_key(root, location))
        path = (*path, tag_key)
    return origin.error(path, f"{_shown(detail)}; expected {_expectation(detail)}")


def _excluded(origin: Origin, detail: ErrorDetails) -> ProfileError | None:
    """Return the error about a mode or waveform that is refused by its name."""
    path, found = _plain_path(detail["loc"]), detail["input"]
    if detail["type"] == "union_tag_invalid" and path[-1] == "pulse":
        path, found = (*path, "waveform"), detail["ctx"]["tag"]
    elif detail["type"] != "literal_error" or path != ("mode",):
        return None
    reason = exclusion(found)
    if reason is None:
        return None
    return origin.error(path, f"{_shortened(repr(found))} is refused: {reason}")


def _plain_path(location: Location) -> lines.Path:
    """Drop the kinds that pydantic puts behind the tables of which there are several."""
    return tuple(
        part
        for index, part in enumerate(location)
        if not (index and _is_kind(location[index - 1], part))
    )


def _is_kind(table: str | int, part: str | int) -> bool:
    return table in _TAG_KEYS and part in _KINDS[str(table)]


def _shown(detail: ErrorDetails) -> str:
    """Return what was found, short enough for a line."""
    found = detail["input"]
    if detail["type"] == "union_tag_not_found":
        return "missing"
    if detail["type"] == "union_tag_invalid":
        found = found[_TAG_KEYS[str(_plain_path(detail["loc"])[-1])]]
    if isinstance(found, dict):
        return "a table"
    if isinstance(found, list):
        return f"a list of {len(found)}"
    if isinstance(found, bool):
        return str(found).lower()
    return _shortened(repr(found) if isinstance(found, str) else str(found))


def _shortened(shown: str) -> str:
    return shown if len(shown) <= _SHOWN_MAX else shown[:_SHOWN_MAX] + "..."


def _expectation(detail: ErrorDetails) -> str:
    """Return what pydantic or an `Expectation` wanted, in words."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return str(context["expected"])
    if kind.startswith("union_tag"):
        return " or ".join(repr(tag) for tag in _KINDS[str(_plain_path(detail["loc"])[-1])])
    if kind == "bool_type":
        return "true or false"
    if kind == "too_short":
        return f"at least {context['min_length']}"
    if kind == "too_long":
        return f"at most {context['max_length']}"
    if kind == "tuple_type":
        path = _plain_path(detail["loc"])
        return f"[[{_spell(path)}]]" if isinstance(detail["input"], dict) else "a list"
    return "a table"


def _unknown_key(root: type[BaseModel], location: Location) -> str:
    """Say which key was meant, or which kind of table a key belongs to."""
    key, holder = location[-1], location[:-1]
    if len(holder) > 1 and _is_kind(holder[-2], holder[-1]):
        table = str(holder[-2])
        kinds = [
            repr(_kind(model, table))
            for model in _models_at(root, holder[:-1])
            if key in model.model_fields
        ]
        if kinds:
            return f"given; expected with {_TAG_KEYS[table]} = {' or '.join(kinds)} only"
    known = sorted(_keys_at(root, holder))
    nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
    if nearest:
        return f"unknown key; did you mean {nearest[0]!r}?"
    return f"unknown key; expected one of: {', '.join(known)}"


# What the models say about a location.


def _models_at(root: type[BaseModel], location: Location) -> tuple[type[BaseModel], ...]:
    """Return the models that may stand at a location: more than one where its kind is unknown."""
    found: tuple[type[BaseModel], ...] = (root,)
    table: str | int = ""
    for part in location:
        if _is_kind(table, part):
            found = tuple(model for model in found if _kind(model, str(table)) == part)
        elif isinstance(part, str):
            found = tuple(
                model
                for owner in found
                if part in owner.model_fields
                for model in _models_in(owner.model_fields[part].annotation)
            )
        table = part
    return found


def _models_in(annotation: Any) -> tuple[type[BaseModel], ...]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(model for part in typing.get_args(annotation) for model in _models_in(part))


def _kind(model: type[BaseModel], table: str) -> str:
    return str(typing.get_args(model.model_fields[_TAG_KEYS[table]].annotation)[0])


def _keys_at(root: type[BaseModel], location: Location) -> set[str]:
    return {
        field.alias or name
        for model in _models_at(root, location)
        for name, field in model.model_fields.items()
    }


def _expected_at(root: type[BaseModel], location: Location) -> str:
    """Return in words what a missing key should hold."""
    for model in _models_at(root, location[:-1]):
        for name, field in model.model_fields.items():
            if location[-1] != (field.alias or name):
                continue
            for metadata in field.metadata:
                if isinstance(metadata, Expectation):
                    return metadata.expected
            if typing.get_origin(field.annotation) is typing.Literal:
                return " or ".join(repr(name) for name in typing.get_args(field.annotation))
            if typing.get_origin(field.annotation) is tuple:
                return "a list"
            return "true or false" if field.annotation is bool else "a table"
    return "a value"


def _kinds_of(table: str) -> tuple[str, ...]:
    models = _models_in(Stimulus.model_fields[table].annotation)
    return tuple(_kind(model, table) for model in models)


_KINDS = {table: _kinds_of(table) for table in _TAG_KEYS}


def _spell(path: lines.Path) -> str:
    """Write a path as 'channels[1].placement', counting from 1."""
    spelt = ""
    for part in path:
        if isinstance(part, int):
            spelt += f"[{part + 1}]"
        else:
            spelt += f".{part}" if spelt else part
    return spelt
