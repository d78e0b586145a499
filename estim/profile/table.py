"""What every table of a profile is built on, and how times of a profile become integers."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from pydantic import BaseModel, ConfigDict

from estim.units import MS_PER_S, US_PER_S


class KeyProblem(ValueError):
    """A key that does not go with another; `path` starts at the model that raises it."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


class Table(BaseModel):
    """The base of every table of a profile: strict, frozen, closed."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def period_us(rate_hz: Decimal | Fraction) -> int:
    """Return the period of a rate, floored to whole microseconds.

    So the rate delivered is the one asked, or higher by less than one microsecond a period.
    """
    return int(US_PER_S / Fraction(rate_hz))


def whole_ms(duration_s: Decimal) -> int:
    """Return a duration with at most three decimals as whole milliseconds."""
    return int(duration_s * MS_PER_S)
