"""Find the level: what each key may raise, the markers it is captured with, the lock on increases.

Rules:
1. A held key raises a channel by at most 1 mA in any second.
2. A held key never takes a channel above its comfortable marker; one fresh press does, by one step.
3. 20 s without a key lock every increase. Lowering opens the lock, or an accommodation offer that
   was taken, or a start from zero; nothing else does, and no key that was refused.
4. Nothing here stands in the way of lowering.
5. Whatever is not known counts against a rise: of two figures for a target the higher one.

The engine limits the rise once more, by its own clock; this is what a person is told beforehand.
A terminal tells presses, not releases: a press within `FRESH_US` of the one before is a held key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from estim.units import US_PER_S, format_ma
from firmware_protocol import limits

FRESH_US = 1 * US_PER_S
"""Keyboards begin to repeat 250 to 660 ms after the press; a second's pause is none of theirs."""
LOCK_US = 20 * US_PER_S
"""As one clinical unit has it, which also opens by its down key (clinical.md, 5, step 10)."""
HELD_RISE_UA = limits.held_key_rise_ua_per_s.maximum

LOCKED = "increases are locked after 20 s without a key: - opens them"


class Marker(StrEnum):
    """What a person says of the current; the letter is the key that marks it."""

    SENSORY = "sensory"
    COMFORTABLE = "comfortable"
    MOTOR = "motor"

    @property
    def letter(self) -> str:
        """Return the key, and the sign in displays."""
        return self.value[0]


MARKER_WORDS: Mapping[Marker, str] = {
    Marker.SENSORY: "first felt",
    Marker.COMFORTABLE: "comfortable",
    Marker.MOTOR: "muscle moves",
}


@dataclass(frozen=True, slots=True)
class Marked:
    """One marker that was set; `channel` counts from 1, as in the record."""

    channel: int
    marker: Marker
    amplitude_ua: int


@dataclass(slots=True)
class _Channel:
    """What the keys know of one channel; `rises` are (when, by how much, to where)."""

    markers: dict[Marker, int] = field(default_factory=dict)
    rises: list[tuple[int, int, int]] = field(default_factory=list)


class LevelKeys:
    """Judge the keys that raise, lower and mark.

    Args:
        count: number of channels.
        step_ua: what one press raises by, 1 mA at most.
        comfortable_ua: comfortable markers of an earlier visit, by channel from 0; 0 for none.
    """

    def __init__(self, count: int, step_ua: int, comfortable_ua: Sequence[int] = ()) -> None:
        self.step_ua = step_ua
        self.chosen = frozenset(range(count))
        self._channels = [_Channel() for _ in range(count)]
        for channel, amplitude_ua in zip(self._channels, comfortable_ua, strict=False):
            if amplitude_ua > 0:
                channel.markers[Marker.COMFORTABLE] = amplitude_ua
        self._idle_us = 0
        self._seen_us: int | None = None
        self._is_resting = False
        self._is_locked = False
        self._pressed_us: int | None = None

    # What is known.

    @property
    def is_locked(self) -> bool:
        """Tell whether increases are locked."""
        return self._is_locked

    @property
    def count(self) -> int:
        """Return the number of channels."""
        return len(self._channels)

    @property
    def is_linked(self) -> bool:
        """Tell whether the keys act on every channel."""
        return len(self.chosen) == len(self._channels)

    def markers(self, index: int) -> Mapping[Marker, int]:
        """Return the markers of a channel (from 0) in microamperes."""
        return dict(self._channels[index].markers)

    # Time and channels.

    def advance(self, now_us: int, *, is_resting: bool = False) -> None:
        """Let time pass; `is_resting` from now on: between two contractions no key can raise.

        That rest counts for nothing, or an on/off programme would be locked at each contraction.
        """
        if self._seen_us is not None and not self._is_resting:
            self._idle_us += max(0, now_us - self._seen_us)
        self._seen_us = max(now_us, self._seen_us or now_us)
        self._is_resting = is_resting
        if self._idle_us >= LOCK_US:
            self._is_locked = True

    def begin(self, now_us: int) -> None:
        """Begin at zero: a start is a key, and there is nothing yet to raise by mistake."""
        self._touch(now_us, opens=True)
        self._pressed_us = None
        for channel in self._channels:
            channel.rises.clear()

    def choose(self, index: int | None) -> None:
        """Have the keys act on one channel (from 0), or on all of them, linked."""
        if index is None:
            self.chosen = frozenset(range(len(self._channels)))
        elif 0 <= index < len(self._channels):
            self.chosen = frozenset({index})

    # Keys.

    def press_raise(
        self, now_us: int, targets_ua: Sequence[int], indexes: frozenset[int] | None = None
    ) -> str:
        """Take a press of the raise key; return why it is refused, nothing where it may pass.

        Args:
            now_us: when.
            targets_ua: the newest target known of each channel.
            indexes: the channels (from 0) that an offer is for; None for the chosen ones.
        """
        wanted = self.chosen if indexes is None else indexes
        is_fresh = self._pressed_us is None or now_us - self._pressed_us >= FRESH_US
        self._pressed_us = now_us
        self._advance_to(now_us)
        if self._is_locked:
            return LOCKED
        self._idle_us = 0
        if not wanted:
            return "no channel is chosen"
        for index in sorted(wanted):
            refusal = self._refusal(index, now_us, targets_ua[index], is_fresh)
            if refusal:
                return f"channel {index + 1}: {refusal}"
        for index in wanted:
            reached_ua = self._target_ua(index, now_us, targets_ua[index]) + self.step_ua
            self._channels[index].rises.append((now_us, self.step_ua, reached_ua))
        return ""

    def press_lower(self, now_us: int) -> None:
        """Take a press of the lower key: it always passes, and opens the lock."""
        self._touch(now_us, opens=True)
        for index in self.chosen:
            channel = self._channels[index]
            # What was raised still counts in its second; where it led to does not any more.
            channel.rises = [(at_us, by_ua, 0) for at_us, by_ua, _ in channel.rises]

    def take_offer(self, now_us: int) -> None:
        """Take an accommodation offer: it opens the lock, and what follows is a fresh press."""
        self._touch(now_us, opens=True)
        self._pressed_us = None

    def mark(
        self, now_us: int, marker: Marker, felt_ua: Sequence[int]
    ) -> tuple[tuple[Marked, ...], str]:
        """Mark the chosen channels where they are; return what was marked, or why nothing was.

        Args:
            now_us: when.
            marker: what the person says.
            felt_ua: what flows in each channel, not what it is still rising to.
        """
        self._touch(now_us, opens=False)
        at_zero = [index + 1 for index in sorted(self.chosen) if felt_ua[index] <= 0]
        if not self.chosen or len(at_zero) == len(self.chosen):
            return (), f"nothing is marked {MARKER_WORDS[marker]} at zero"
        marked = []
        for index in sorted(self.chosen):
            if felt_ua[index] > 0:
                self._channels[index].markers[marker] = felt_ua[index]
                marked.append(Marked(index + 1, marker, felt_ua[index]))
        return tuple(marked), ""

    # Inside.

    def _advance_to(self, now_us: int) -> None:
        self.advance(now_us, is_resting=self._is_resting)

    def _touch(self, now_us: int, *, opens: bool) -> None:
        self._advance_to(now_us)
        self._is_locked = self._is_locked and not opens
        if not self._is_locked:
            self._idle_us = 0

    def _target_ua(self, index: int, now_us: int, told_ua: int) -> int:
        """Return the higher of what is told and what was let through within a second."""
        channel = self._channels[index]
        channel.rises = [rise for rise in channel.rises if now_us - rise[0] < US_PER_S]
        return max([told_ua, *(reached_ua for _, _, reached_ua in channel.rises)])

    def _refusal(self, index: int, now_us: int, told_ua: int, is_fresh: bool) -> str:
        target_ua = self._target_ua(index, now_us, told_ua)
        channel = self._channels[index]
        marker_ua = channel.markers.get(Marker.COMFORTABLE, 0)
        if marker_ua and not is_fresh and target_ua + self.step_ua > marker_ua:
            return (
                f"a held key stops at comfortable, {format_ma(marker_ua)} mA: "
                "let go for a second, then press once"
            )
        if sum(by_ua for _, by_ua, _ in channel.rises) + self.step_ua > HELD_RISE_UA:
            return f"at most {format_ma(HELD_RISE_UA)} mA in a second"
        return ""
