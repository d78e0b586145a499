"""What a single key of a profile may hold: an exact number, a text, an identifier.

Each class is put into `Annotated[...]`. It checks one value and says in words what it expected; the
loader adds file, line and key.

Rules:
1. No binary floating point. TOML decimals arrive as `Decimal` and stay exact: 0.1 is one tenth.
2. A number outside its range, with too many decimals, not finite, or of another type is refused,
   never rounded.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_IDENTIFIER = re.compile(r"[a-z0-9-]{1,64}")
_NAMES_SHOWN_MAX = 12
_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}")


class Expectation:
    """Check one value; the base of everything in this module."""

    @property
    def expected(self) -> str:
        """Return in words what a value must be."""
        raise NotImplementedError

    def accepts(self, value: object) -> bool:
        """Tell whether `value` fits."""
        raise NotImplementedError

    def check(self, value: object) -> object:
        """Return `value` as it is kept; raise ValueError with what was expected."""
        if not self.accepts(value):
            raise ValueError(self.expected)
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.check,
            serialization=core_schema.plain_serializer_function_ser_schema(_plain_number),
        )


@dataclass(frozen=True)
class Whole(Expectation):
    """A whole number from `minimum` to `maximum`; `unit` is '' for a count."""

    unit: str
    minimum: int
    maximum: int

    @property
    def expected(self) -> str:
        if self.minimum == self.maximum:
            return str(self.minimum)
        unit = f" of {self.unit}" if self.unit else ""
        return f"a whole number{unit} from {self.minimum} to {self.maximum}"

    def accepts(self, value: object) -> bool:
        return type(value) is int and self.minimum <= value <= self.maximum


@dataclass(frozen=True)
class Exact(Expectation):
    """A number from `minimum` to `maximum` with at most `places` decimals, kept as a `Decimal`."""

    unit: str
    minimum: Decimal
    maximum: Decimal
    places: int

    @property
    def expected(self) -> str:
        decimals = "decimal" if self.places == 1 else "decimals"
        return (
            f"a number of {self.unit} from {self.minimum} to {self.maximum} "
            f"with at most {self.places} {decimals}"
        )

    def accepts(self, value: object) -> bool:
        if type(value) is not int and not isinstance(value, Decimal):
            return False
        if isinstance(value, Decimal) and not value.is_finite():
            return False
        # The range comes first: it keeps the exponent small before any arithmetic is done.
        return self.minimum <= value <= self.maximum and Decimal(value) == round(
            Decimal(value), self.places
        )

    def check(self, value: object) -> Decimal:
        super().check(value)
        assert isinstance(value, int | Decimal)
        return round(Decimal(value), self.places)


@dataclass(frozen=True)
class Words(Expectation):
    """One line of text, 1 to `maximum` characters, not blank."""

    maximum: int

    @property
    def expected(self) -> str:
        return f"a text of 1 to {self.maximum} characters"

    def accepts(self, value: object) -> bool:
        return isinstance(value, str) and len(value) <= self.maximum and bool(value.strip())


@dataclass(frozen=True)
class Identifier(Expectation):
    """A name that is safe as a file name."""

    @property
    def expected(self) -> str:
        return "1 to 64 characters from a-z, 0-9 and '-'"

    def accepts(self, value: object) -> bool:
        return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


@dataclass(frozen=True)
class Version(Expectation):
    """Three numbers with points between."""

    @property
    def expected(self) -> str:
        return "a version such as '1.0.0'"

    def accepts(self, value: object) -> bool:
        return isinstance(value, str) and _VERSION.fullmatch(value) is not None


@dataclass(frozen=True)
class Member(Expectation):
    """One of some names; `what` says in words what they name."""

    what: str
    names: Collection[str]

    @property
    def expected(self) -> str:
        if len(self.names) > _NAMES_SHOWN_MAX:
            return self.what
        return f"{self.what}: {', '.join(self.names)}"

    def accepts(self, value: object) -> bool:
        return isinstance(value, str) and value in self.names

    def check(self, value: object) -> object:
        if isinstance(value, str) and not self.accepts(value):
            nearest = difflib.get_close_matches(value[:64], self.names, n=1, cutoff=0.6)
            if nearest:
                raise ValueError(f"{self.what}; did you mean {nearest[0]!r}?")
        return super().check(value)


def _plain_number(value: object) -> object:
    """Return a whole `Decimal` as an int and another as the nearest float, for JSON."""
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return value
