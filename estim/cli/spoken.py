"""A session in plain lines, as a screen reader speaks them: one line for each change.

Rules:
1. No line understates: a current is the larger of what was commanded and what is reported. A rise
   is told at once, a fall once it has come to rest.
2. What is older than half a second is unknown, and said to be.
3. Nothing is told twice that has not changed.
"""

from __future__ import annotations

from estim.session.messages import ChannelSnapshot, Snapshot
from estim.session.states import HostState
from estim.tui import session_words
from estim.tui.words import clock_ms, current
from firmware_protocol.messages import MAINS_PERCENT

REST_US = 400_000
_WITHOUT_REPORTS = (HostState.DISCONNECTED, HostState.IDENTIFIED, HostState.CLOSED)
UNKNOWN = (
    "State: unknown. Nothing was heard of the device for half a second: output may be on. "
    "Stop works all the same."
)


class Speaker:
    """Remember what was said, and say what is new."""

    def __init__(self) -> None:
        self.latch_count = -1
        self._state = ""
        self._told_ua: dict[int, tuple[int, int]] = {}
        self._falling: dict[int, tuple[int, int]] = {}
        self._contact: dict[int, str] = {}

    def unknown(self) -> list[str]:
        """Return what to say where nothing is heard any more."""
        return self._of_state(UNKNOWN)

    def changes(self, shown: Snapshot) -> list[str]:
        """Return a line for each thing that is new in a snapshot."""
        if not _is_known(shown):
            return self.unknown()
        said = self._of_state(state_line(shown))
        for number, row in enumerate(shown.channels, start=1):
            said += self._of_current(number, row, shown.at_us)
            said += self._of_contact(number, row)
        self.latch_count = shown.latch_count
        return said

    def _of_state(self, line: str) -> list[str]:
        if line == self._state:
            return []
        self._state = line
        return [line]

    def _of_current(self, number: int, row: ChannelSnapshot, at_us: int) -> list[str]:
        told_ua, told_target_ua = self._told_ua.get(number, (0, 0))
        if row.shown_ua < told_ua:
            resting_ua, since_us = self._falling.get(number, (-1, at_us))
            if resting_ua != row.shown_ua:
                self._falling[number] = (row.shown_ua, at_us)
                return []
            # What a measurement wavers by is no change that anybody asked for.
            is_asked_for = row.target_ua != told_target_ua or row.shown_ua == 0
            if at_us - since_us < REST_US or not is_asked_for:
                return []
        self._falling.pop(number, None)
        self._told_ua[number] = (row.shown_ua, row.target_ua)
        if current(row.shown_ua) == current(told_ua):
            return []
        return [f"Channel {number}: {current(row.shown_ua)}."]

    def _of_contact(self, number: int, row: ChannelSnapshot) -> list[str]:
        words = contact_words(row)
        former = self._contact.get(number, "unknown")
        self._contact[number] = words
        if words in (former, "unknown"):
            return []
        remedy = (
            f" Press it on, then say: rearm {number}. It begins from zero."
            if row.is_lead_off
            else ""
        )
        return [f"Channel {number}: electrode {words}.{remedy}"]


def state_line(shown: Snapshot) -> str:
    """Return the state in words."""
    return f"State: {session_words.state_words(shown)[1].lower()}."


def contact_words(row: ChannelSnapshot) -> str:
    """Return what is known of a channel's electrodes, without signs."""
    return session_words.contact(row).partition(" ")[2]


def summary(shown: Snapshot) -> list[str]:
    """Return everything that there is to say now, asked for."""
    said = [state_line(shown) if _is_known(shown) else UNKNOWN]
    if shown.fault is not None:
        said.append(f"Fault: {shown.fault.text}. {shown.fault.remedy}. Then say: acknowledge.")
    for number, row in enumerate(shown.channels, start=1):
        said.append(
            f"Channel {number}: {current(row.shown_ua)}, {_measured(row)}, electrode "
            f"{contact_words(row)}, at most {current(row.ceiling_ua)}{_binding(row)}."
        )
    left_ms = session_words.left_ms(shown)
    if left_ms is not None and shown.has_program:
        said.append(f"Time left: {clock_ms(left_ms)} of {clock_ms(shown.duration_ms)}.")
    if shown.battery_percent != MAINS_PERCENT:
        said.append(f"Battery: {shown.battery_percent} percent.")
    return said


def _is_known(shown: Snapshot) -> bool:
    """Tell whether the report is fresh, or there is no device that could deliver anything."""
    return shown.is_known or shown.state in _WITHOUT_REPORTS


def _measured(row: ChannelSnapshot) -> str:
    return "not measured" if row.measured_ua < 0 else f"measured {current(row.measured_ua)}"


def _binding(row: ChannelSnapshot) -> str:
    limit = session_words.limit(row.ceiling_reason)
    return f" ({limit})" if limit else ""
