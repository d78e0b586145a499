"""Read a treatment profile from TOML, or say in one sentence what is wrong with it.

Other files of the same kind, strict models in TOML, are read in the same way with `load_as`.

Rules:
1. A profile is a regular file of at most 64 KiB, UTF-8, nested at most 8 deep, with lines of at
   most 4096 characters (a dotted key costs the parser the square of its length). A folder, device
   or pipe is refused without waiting for it.
2. Text with control, bidirectional or other invisible characters is refused.
3. Each failure is one `ProfileError`: file, line where it is known, key, what was found, what was
   expected. In keys, members of a list count from 1, as channels do everywhere.
4. The hash is that of the bytes as they lie in the file.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import stat
import tomllib
import typing
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from estim.errors import ProfileError
from estim.profile import lines
from estim.profile.fields import Expectation
from estim.profile.models import Profile
from estim.profile.stimulus import KeyProblem
from estim.text import first_unsafe, sanitize

SIZE_MAX = 64 * 1024
LINE_MAX = 4096
DEPTH_MAX = 8
_SHOWN_MAX = 60
# Not every system has each of them; together they open without waiting and without side effects.
_OPEN_FLAGS = os.O_RDONLY | sum(
    getattr(os, flag, 0) for flag in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY")
)
_T = TypeVar("_T", bound=BaseModel)
_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class LoadedProfile:
    """A profile, the SHA-256 of its bytes in hexadecimal, and where it came from."""

    profile: Profile
    sha256: str
    path: str


def load(path: str | os.PathLike[str]) -> LoadedProfile:
    """Read the profile in a file.

    Raises:
        ProfileError: the file cannot be read, or what it holds is not a profile.
    """
    name = os.fspath(path)
    return loads(_read(name), name)


def loads(source: bytes | str, name: str) -> LoadedProfile:
    """Read a profile from bytes or text; `name` stands for the file in messages.

    Raises:
        ProfileError: what it holds is not a profile.
    """
    if isinstance(source, str):
        source = source.encode("utf-8", "surrogatepass")
    return LoadedProfile(_loads_as(Profile, source, name), _hash(source), name)


def load_as(model: type[_T], path: str | os.PathLike[str]) -> tuple[_T, str]:
    """Return what a file holds as a model of `Table`s, and the hash of its bytes.

    Raises:
        ProfileError: the file cannot be read, or what it holds is not such a model.
    """
    name = os.fspath(path)
    source = _read(name)
    return _loads_as(model, source, name), _hash(source)


def _hash(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()


def _loads_as(model: type[_T], source: bytes, name: str) -> _T:
    origin = _Origin(name, "", model)
    if len(source) > SIZE_MAX:
        raise origin.error((), f"more than {SIZE_MAX // 1024} KiB; too long for what it should be")
    try:
        text = source.decode("utf-8")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise origin.error((), "not UTF-8 text", line) from None
    origin = _Origin(name, text.replace("\r\n", "\n"), model)
    for number, line_text in enumerate(origin.text.split("\n"), start=1):
        if len(line_text) > LINE_MAX:
            raise origin.error((), f"more than {LINE_MAX} characters in a line", number)
    raw = _parse(origin)
    _check_raw(origin, raw)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise _explain(origin, error) from None


@dataclass(frozen=True, slots=True)
class _Origin:
    """The file that messages are about, and what it should hold."""

    name: str
    text: str
    model: type[BaseModel] = Profile

    def error(self, path: lines.Path, problem: str, line: int | None = None) -> ProfileError:
        if line is None and path:
            line = lines.line_of(self.text, path)
        where = sanitize(self.name) + (f", line {line}" if line else "")
        key = f"{_spell(path)}: " if path else ""
        return ProfileError(sanitize(f"{where}: {key}{problem}"))


def _read(name: str) -> bytes:
    """Return at most `SIZE_MAX` + 1 bytes of a regular file; never wait for a pipe or a device."""
    origin = _Origin(name, "")
    try:
        descriptor = os.open(name, _OPEN_FLAGS)
    except ValueError:
        raise origin.error((), "not a file name") from None
    except OSError as error:
        raise origin.error((), f"cannot be opened: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise origin.error((), "not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(SIZE_MAX + 1)
    except OSError as error:
        raise origin.error((), f"cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _parse(origin: _Origin) -> dict[str, Any]:
    try:
        return tomllib.loads(origin.text, parse_float=_decimal)
    except RecursionError:
        raise origin.error((), f"nested more than {DEPTH_MAX} deep") from None
    except tomllib.TOMLDecodeError as error:
        message, line = str(error), None
        position = _AT_LINE.search(message)
        if position:
            message = message[: position.start()]
            line = int(position.group(1) or origin.text.count("\n") + 1)
        if message == "Cannot overwrite a value" and line:
            repeated = lines.path_at(origin.text, line)
            raise origin.error(repeated, "given twice; expected once", line) from None
        raise origin.error((), f"not valid TOML: {message}", line) from None
    except ValueError:
        raise origin.error((), "not valid TOML: a number with too many digits") from None


def _decimal(text: str) -> Decimal:
    """Read a TOML float exactly; one beyond all exponents is infinite, which no key accepts."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")


def _check_raw(origin: _Origin, raw: dict[str, Any]) -> None:
    """Refuse what is nested too deep and every text with invisible characters, keys included."""
    waiting: list[tuple[lines.Path, object]] = [((), raw)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, str):
            _check_text(origin, path, node)
            continue
        if not isinstance(node, dict | list):
            continue
        if len(path) >= DEPTH_MAX:
            raise origin.error(path[:DEPTH_MAX], f"nested more than {DEPTH_MAX} deep")
        members = node.items() if isinstance(node, dict) else enumerate(node)
        for key, member in members:
            if isinstance(key, str):
                _check_text(origin, (*path, key), key)
            waiting.append(((*path, key), member))


def _check_text(origin: _Origin, path: lines.Path, text: str) -> None:
    index = first_unsafe(text)
    if index is not None:
        raise origin.error(
            path,
            f"character {index + 1} is U+{ord(text[index]):04X}, a control or invisible character; "
            "expected one line of visible text",
        )


def _explain(origin: _Origin, error: ValidationError) -> ProfileError:
    """Turn the most telling of pydantic's errors into one sentence.

    An unknown key tells more than the missing one that it was meant to be.
    """
    details = error.errors(include_url=False)
    detail = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
    path = _plain_path(detail["loc"])
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, KeyProblem):
        return origin.error(path + cause.path, str(cause))
    if detail["type"] == "missing":
        return origin.error(path, f"missing; expected {_expected_at(origin.model, path)}")
    if detail["type"] == "extra_forbidden":
        return origin.error(path, f"unknown key; {_nearest_key(origin.model, path)}")
    if detail["type"].startswith("union_tag"):
        unknown = [key for key in detail["input"] if key not in _keys_at(origin.model, path)]
        if "waveform" not in detail["input"] and unknown:
            path = (*path, unknown[0])
            return origin.error(path, f"unknown key; {_nearest_key(origin.model, path)}")
        path = (*path, "waveform")
    return origin.error(path, f"{_shown(detail)}; expected {_expectation(detail)}")


def _plain_path(loc: tuple[str | int, ...]) -> lines.Path:
    """Drop the union tag that pydantic puts after 'pulse'."""
    return tuple(
        part
        for index, part in enumerate(loc)
        if not (index and loc[index - 1] == "pulse" and part in _PULSES)
    )


def _shown(detail: ErrorDetails) -> str:
    """Return what was found, short enough for a line."""
    found = detail["input"]
    if detail["type"] == "union_tag_not_found":
        return "missing"
    if detail["type"] == "union_tag_invalid":
        found = detail["ctx"]["tag"]
    if isinstance(found, dict):
        return "a table"
    if isinstance(found, list):
        return f"a list of {len(found)}"
    if isinstance(found, bool):
        return str(found).lower()
    shown = repr(found) if isinstance(found, str) else str(found)
    return shown if len(shown) <= _SHOWN_MAX else shown[:_SHOWN_MAX] + "..."


def _expectation(detail: ErrorDetails) -> str:
    """Return what pydantic or an `Expectation` wanted, in words."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return str(context["expected"])
    if kind.startswith("union_tag"):
        return " or ".join(repr(tag) for tag in _PULSES)
    if kind == "bool_type":
        return "true or false"
    if kind == "too_short":
        return f"at least {context['min_length']}"
    if kind == "too_long":
        return f"at most {context['max_length']}"
    if kind == "tuple_type":
        return "a list"
    return "a table"


def _nearest_key(root: type[BaseModel], path: lines.Path) -> str:
    known = sorted(_keys_at(root, path[:-1]))
    nearest = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
    if nearest:
        return f"did you mean {nearest[0]!r}?"
    return f"expected one of: {', '.join(known)}"


# What the models say about a path.


def _models_at(root: type[BaseModel], path: lines.Path) -> tuple[type[BaseModel], ...]:
    """Return the models that may stand at a path: more than one for a pulse."""
    found: tuple[type[BaseModel], ...] = (root,)
    for part in path:
        if isinstance(part, str):
            found = tuple(
                model
                for owner in found
                if part in owner.model_fields
                for model in _models_in(owner.model_fields[part].annotation)
            )
    return found


def _models_in(annotation: Any) -> tuple[type[BaseModel], ...]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(model for part in typing.get_args(annotation) for model in _models_in(part))


def _keys_at(root: type[BaseModel], path: lines.Path) -> set[str]:
    return {
        field.alias or name
        for model in _models_at(root, path)
        for name, field in model.model_fields.items()
    }


def _expected_at(root: type[BaseModel], path: lines.Path) -> str:
    """Return in words what a missing key should hold."""
    for model in _models_at(root, path[:-1]):
        for name, field in model.model_fields.items():
            if path[-1] != (field.alias or name):
                continue
            for metadata in field.metadata:
                if isinstance(metadata, Expectation):
                    return metadata.expected
            if typing.get_origin(field.annotation) is typing.Literal:
                return " or ".join(repr(value) for value in typing.get_args(field.annotation))
            if typing.get_origin(field.annotation) is tuple:
                return "a list"
            return "true or false" if field.annotation is bool else "a table"
    return "a value"


_PULSES = tuple(
    typing.get_args(model.model_fields["waveform"].annotation)[0]
    for model in _models_in(Profile.model_fields["stimulus"].annotation)
    for model in _models_in(model.model_fields["pulse"].annotation)
)


def _spell(path: lines.Path) -> str:
    """Write a path as 'channels[1].placement', counting from 1."""
    spelt = ""
    for part in path:
        if isinstance(part, int):
            spelt += f"[{part + 1}]"
        else:
            spelt += f".{part}" if spelt else part
    return spelt
