"""Read the few things that several commands take: whole numbers, amplitudes, areas."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from estim.errors import UsageError
from estim.units import parse_ma

if TYPE_CHECKING:  # so that `estim simulate` does not load the models of a profile
    from estim.profile.models import Profile

_LENGTH_MAX = 20


def whole(flag: str, text: str, lowest: int, highest: int) -> int:
    """Read a whole number; raise UsageError where it is none or lies outside."""
    if text.isascii() and text.isdigit() and len(text) < 12 and lowest <= int(text) <= highest:
        return int(text)
    raise UsageError(f"{flag} {text}: expected a whole number from {lowest} to {highest}")


def targets_ua(texts: Sequence[str], channel_count: int) -> tuple[int, ...]:
    """Read `CH=MA` for some channels; the others stay at zero.

    Raises:
        UsageError: no such channel, a channel twice, or no amplitude.
    """
    targets: dict[int, int] = {}
    for text in texts:
        channel_text, separator, amplitude_text = text.partition("=")
        is_number = channel_text.isascii() and channel_text.isdigit() and len(channel_text) < 4
        if not separator or not is_number or not 1 <= int(channel_text) <= channel_count:
            raise UsageError(
                f"--amplitude {text}: expected CH=MA with a channel from 1 to {channel_count}"
            )
        channel = int(channel_text)
        if channel in targets:
            raise UsageError(f"--amplitude: channel {channel} is given twice")
        try:
            targets[channel] = parse_ma(amplitude_text)
        except ValueError as error:
            raise UsageError(f"--amplitude: {error}") from None
    return tuple(targets.get(channel, 0) for channel in range(1, channel_count + 1))


def exact(
    flag: str, text: str, lowest: Decimal, highest: Decimal, places: int, unit: str
) -> Decimal:
    """Read a plain decimal; raise UsageError where it is none, or lies outside."""
    is_plain = text.isascii() and text.replace(".", "", 1).isdigit() and len(text) <= _LENGTH_MAX
    number = Decimal(text) if is_plain else Decimal("NaN")
    if not is_plain or not lowest <= number <= highest or number != round(number, places):
        raise UsageError(
            f"{flag} {text}: expected {lowest:f} to {highest:f} {unit} with at most {places} "
            "decimals"
        )
    return number


def area_cm2(text: str | None, profile: Profile) -> Decimal | None:
    """Read the area of the smallest electrode; None for none given.

    Raises:
        UsageError: it is none, or one that the profile was not thought out for.
    """
    from estim.profile.models import AREA_MAX_CM2  # loaded already, with the profile

    if text is None:
        return None
    try:
        area = Decimal(text) if text.isascii() and "_" not in text else Decimal("NaN")
    except InvalidOperation:
        area = Decimal("NaN")
    least = profile.electrode.minimum_area_cm2
    if not area.is_finite() or not least <= area <= AREA_MAX_CM2:
        raise UsageError(
            f"--area {text}: expected {least.normalize():f} to {AREA_MAX_CM2} cm2 for {profile.id}"
        )
    return area
