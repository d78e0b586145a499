"""Read a treatment profile or an entry of the library from TOML, or say what is wrong with it.

Rules:
1. A file is a regular one of at most 64 KiB, UTF-8, nested at most 8 deep, with lines of at
   most 4096 characters (a dotted key costs the parser the square of its length). A folder, device
   or pipe is refused without waiting for it.
2. Text with control, bidirectional or other invisible characters is refused.
3. Each failure is one `ProfileError`: file, line where it is known, key, what was found, what was
   expected. In keys, members of a list count from 1, as channels do everywhere.
4. The hash is that of the bytes as they lie in the file.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tomllib
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from pydantic import ValidationError

from estim.errors import LimitRefused, ProfileError
from estim.profile import lines
from estim.profile.entry import Entry
from estim.profile.explain import Origin, explain
from estim.profile.models import Profile
from estim.profile.table import Table
from estim.text import first_unsafe

SIZE_MAX = 64 * 1024
LINE_MAX = 4096
DEPTH_MAX = 8
# Not every system has each of them; together they open without waiting and without side effects.
_OPEN_FLAGS = os.O_RDONLY | sum(
    getattr(os, flag, 0) for flag in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY")
)
_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_LISTS_OF_TABLES = ("channels", "evidence")
_Model = TypeVar("_Model", bound=Table)


@dataclass(frozen=True, slots=True)
class LoadedProfile:
    """A profile, the SHA-256 of its bytes in hexadecimal, and where it came from."""

    profile: Profile
    sha256: str
    origin: Origin

    @property
    def path(self) -> str:
        """Return the file's name."""
        return self.origin.name


@dataclass(frozen=True, slots=True)
class LoadedEntry:
    """An entry, the SHA-256 of its bytes in hexadecimal, and where it came from."""

    entry: Entry
    sha256: str
    path: str

    def refusal(self) -> LimitRefused:
        """Return what whoever wants to run or prepare it is told."""
        entry = self.entry
        return LimitRefused(
            f"{entry.id} informs and cannot be run ({entry.kind}): {entry.cannot_run}"
        )


def load(path: str | os.PathLike[str]) -> LoadedProfile:
    """Read the profile in a file.

    Raises:
        ProfileError: the file cannot be read, or what it holds is not a profile.
        LimitRefused: it is an entry, which cannot be run.
    """
    name = os.fspath(path)
    return loads(_read(name), name)


def loads(source: bytes | str, name: str) -> LoadedProfile:
    """Read a profile from bytes or text; `name` stands for the file in messages.

    Raises:
        ProfileError: what it holds is not a profile.
        LimitRefused: it is an entry, which cannot be run.
    """
    loaded = loads_any(source, name)
    if isinstance(loaded, LoadedEntry):
        raise loaded.refusal()
    return loaded


def load_any(path: str | os.PathLike[str]) -> LoadedProfile | LoadedEntry:
    """Read the profile or the entry in a file.

    Raises:
        ProfileError: the file cannot be read, or what it holds is neither.
    """
    name = os.fspath(path)
    return loads_any(_read(name), name)


def loads_any(source: bytes | str, name: str) -> LoadedProfile | LoadedEntry:
    """Read a profile or an entry from bytes or text; an entry says `cannot_run`.

    Raises:
        ProfileError: what it holds is neither.
    """
    origin, raw, sha256 = _raw(source, name)
    if "cannot_run" in raw:
        return LoadedEntry(_model(Entry, origin, raw), sha256, name)
    return LoadedProfile(_model(Profile, origin, raw), sha256, origin)


def load_entry(path: str | os.PathLike[str]) -> LoadedEntry:
    """Read the entry of the library in a file.

    Raises:
        ProfileError: the file cannot be read, or what it holds is not an entry.
    """
    name = os.fspath(path)
    return loads_entry(_read(name), name)


def loads_entry(source: bytes | str, name: str) -> LoadedEntry:
    """Read an entry from bytes or text; `name` stands for the file in messages.

    Raises:
        ProfileError: what it holds is not an entry.
    """
    origin, raw, sha256 = _raw(source, name)
    return LoadedEntry(_model(Entry, origin, raw), sha256, name)


def load_as(model: type[_Model], path: str | os.PathLike[str]) -> tuple[_Model, str]:
    """Return what a file of another kind holds, and the SHA-256 of its bytes.

    Raises:
        ProfileError: the file cannot be read, or what it holds is not such a model.
    """
    name = os.fspath(path)
    origin, raw, sha256 = _raw(_read(name), name)
    return _model(model, origin, raw), sha256


def _raw(source: bytes | str, name: str) -> tuple[Origin, dict[str, Any], str]:
    """Return where the text stands, its keys as parsed, and the SHA-256 of its bytes."""
    origin = Origin(name, "")
    if isinstance(source, str):
        source = source.encode("utf-8", "surrogatepass")
    if len(source) > SIZE_MAX:
        raise origin.error((), f"more than {SIZE_MAX // 1024} KiB; too long for what it should be")
    try:
        text = source.decode("utf-8")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise origin.error((), "not UTF-8 text", line) from None
    origin = Origin(name, text.replace("\r\n", "\n"))
    for number, line_text in enumerate(origin.text.split("\n"), start=1):
        if len(line_text) > LINE_MAX:
            raise origin.error((), f"more than {LINE_MAX} characters in a line", number)
    raw = _parse(origin)
    _check_raw(origin, raw)
    return origin, raw, hashlib.sha256(source).hexdigest()


def _model(model: type[_Model], origin: Origin, raw: dict[str, Any]) -> _Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise explain(origin, model, error) from None


def _read(name: str) -> bytes:
    """Return at most `SIZE_MAX` + 1 bytes of a regular file; never wait for a pipe or a device."""
    origin = Origin(name, "")
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


def _parse(origin: Origin) -> dict[str, Any]:
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
        if line and (message == "Cannot overwrite a value" or message.endswith(" twice")):
            raise _repeated(origin, line) from None
        raise origin.error((), f"not valid TOML: {message}", line) from None
    except ValueError:
        raise origin.error((), "not valid TOML: a number with too many digits") from None


def _repeated(origin: Origin, line: int) -> ProfileError:
    """Return the error about a key, or the header of a table, that stands in the text again."""
    path = lines.path_at(origin.text, line)
    name = path[0]
    if name in _LISTS_OF_TABLES and path in ((name,), (name, 0)):
        return origin.error(path[:1], f"given as [{name}]; expected [[{name}]]", line)
    return origin.error(path, "given twice; expected once", line)


def _decimal(text: str) -> Decimal:
    """Read a TOML float exactly; one beyond all exponents is infinite, which no key accepts."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")


def _check_raw(origin: Origin, raw: dict[str, Any]) -> None:
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


def _check_text(origin: Origin, path: lines.Path, text: str) -> None:
    index = first_unsafe(text)
    if index is not None:
        raise origin.error(
            path,
            f"character {index + 1} is U+{ord(text[index]):04X}, a control or invisible character; "
            "expected one line of visible text",
        )
