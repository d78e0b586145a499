"""What people asked for, and nothing beyond it: S4.

A request counts from when it was made; one that was refused counts as never made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.campaign import patient
from tests.campaign.line import Run
from tests.campaign.log import Asked, Log
from tests.campaign.patient import Leads
from tests.campaign.sessions import Envelope
from tests.campaign.verdict import (
    FOR_EVER_US,
    MS,
    ZERO_AFTER_LINK_LOSS_US,
    ZERO_AFTER_STOP_US,
    Verdict,
)

FINISH_US = 500 * MS + 60 * MS + ZERO_AFTER_LINK_LOSS_US
"""Ramp down as the session set it, the longest between two Drives, and a lost Stop."""


@dataclass(slots=True)
class _Allowance:
    from_us: int
    ceiling_ua: int
    until_us: int = FOR_EVER_US


class Permission:
    """What the operator wants, at any time, per channel."""

    def __init__(self, count: int, step_ua: int) -> None:
        self.allowances: list[list[_Allowance]] = [[] for _ in range(count)]
        self._asked_ua = [0] * count
        self._marker_ua = [0] * count
        self._step_ua = step_ua
        self._is_armed = self._is_started = False

    def take(self, asked: Asked) -> None:
        """Take a request that was done, or of which nobody knows."""
        kind, at_us = asked.kind, asked.at_us
        if kind == "Arm":
            self._is_armed = True
        elif kind == "Start":
            self._is_started = self._is_armed
        elif kind == "Resume" and self._is_armed:
            self._is_started = True
            self._set(self._marker_ua, at_us)
        elif kind == "SetTargets":
            self._set([int(str(ua)) for ua in asked.content[0]], at_us)  # type: ignore[attr-defined]
        elif kind == "Raise":
            wished = list(self._asked_ua)
            for index in set(asked.content[0]):  # type: ignore[call-overload]
                wished[index] += self._step_ua
            self._set(wished, at_us)
        elif kind == "Lower":
            wished = list(self._asked_ua)
            for index in asked.content[0]:  # type: ignore[attr-defined]
                wished[index] = max(0, wished[index] - int(str(asked.content[1])))
            self._set(wished, at_us)
        elif kind == "Pause":
            self._marker_ua = list(self._asked_ua)
            self._is_started = False
            self._close(at_us + ZERO_AFTER_LINK_LOSS_US)
        elif kind in ("Stop", "Disconnect", "CloseVisit"):
            self.end(at_us + ZERO_AFTER_LINK_LOSS_US)
        elif kind == "Finish":
            self.end(at_us + FINISH_US * 106 // 100)

    def end(self, until_us: int) -> None:
        """Let everything end: only arm, start and rise bring output back."""
        self._is_armed = self._is_started = False
        self._marker_ua = [0] * len(self._marker_ua)
        self._close(until_us)

    def ceiling_ua(self, channel: int, at_us: int) -> int:
        return max(
            (
                each.ceiling_ua
                for each in self.allowances[channel]
                if each.from_us <= at_us <= each.until_us
            ),
            default=0,
        )

    def _set(self, targets_ua: list[int], at_us: int) -> None:
        if not self._is_started or len(targets_ua) != len(self._asked_ua):
            return
        for index, ua in enumerate(targets_ua):
            if ua < self._asked_ua[index]:
                self._close_one(index, at_us + ZERO_AFTER_LINK_LOSS_US)
            self.allowances[index].append(_Allowance(at_us, ua))
            self._asked_ua[index] = ua

    def _close(self, until_us: int) -> None:
        for index in range(len(self._asked_ua)):
            self._asked_ua[index] = 0
            self._close_one(index, until_us)

    def _close_one(self, index: int, until_us: int) -> None:
        for each in reversed(self.allowances[index]):
            if each.until_us <= until_us:
                break
            each.until_us = until_us


def judge_asked(
    log: Log,
    count: int,
    envelope: Envelope,
    leads: Sequence[Leads],
    runs: Sequence[Run],
    verdict: Verdict,
) -> None:
    """Nothing flows that nobody asked for, armed and started since whatever ended it last."""
    permission = Permission(count, envelope.step_ua)
    ends = [(run.until_us, 0, run.why) for run in runs if run.why == "lease"]
    ends += [(at_us, 0, "reboot") for at_us in log.reboots_us]
    ends += [
        (host.until_us + ZERO_AFTER_LINK_LOSS_US, 0, "host") for host in log.hosts if host.until_us
    ]
    for at_us, words in log.happened:
        if words == ("patient", "stop", "press"):
            ends.append((at_us + ZERO_AFTER_STOP_US, 0, "patient stop"))
        elif words[:2] == ("device", "battery") and int(words[2]) < 5:
            ends.append((at_us + ZERO_AFTER_STOP_US, 0, "supply"))
    # A host that is gone can be asked nothing more, and what it was asked goes with it.
    gone = {host.number: host.until_us for host in log.hosts if host.until_us}
    asked = [(each.at_us, 1, each) for each in log.asked if each.is_done is not False]
    events: list[tuple[int, int, str | Asked]] = [*ends, *asked]
    for at_us, _, what in sorted(events, key=lambda event: event[:2]):
        if isinstance(what, str):
            permission.end(at_us)
        elif what.at_us <= gone.get(what.host, FOR_EVER_US):
            permission.take(what)
    for pulse in log.pulses:
        most_ua = permission.ceiling_ua(pulse.channel, pulse.onset_us)
        verdict.seen["S4 asked"] += 1
        if patient.commanded_ua(pulse, leads[pulse.channel]) > most_ua:
            verdict.fail("S4", pulse.onset_us, f"{pulse.peak_ua} uA where {most_ua} uA were asked")


def judge_leads(
    log: Log, envelope: Envelope, leads: Sequence[Leads], runs: Sequence[Run], verdict: Verdict
) -> None:
    """A lead that came off under current stays at zero until somebody re-arms it."""
    if envelope.rest_us:
        return  # whether a pulse was due in that time, the patient cannot tell
    latch_us = (patient.missing_pulses_max(envelope.period_us) + 2) * envelope.period_us
    latch_us = latch_us * 106 // 100
    rearmed = [
        each.at_us for each in log.asked if each.kind == "Rearm" and each.is_done is not False
    ]
    for channel, lead in enumerate(leads):
        own = [pulse for pulse in log.pulses if pulse.channel == channel]
        for off_us, on_us in lead.spells_off():
            before = [p for p in own if off_us - 2 * envelope.period_us < p.onset_us <= off_us]
            is_held = any(run.from_us < off_us and run.until_us > off_us + latch_us for run in runs)
            if on_us - off_us < latch_us or not is_held or not before:
                continue
            if patient.commanded_ua(before[-1], lead) < patient.CONTACT_UA:
                continue
            verdict.seen["S4 lead off"] += 1
            freed = [at for at in (*rearmed, *log.reboots_us) if at > off_us]
            until_us = min(freed, default=FOR_EVER_US)
            begin_us = off_us + latch_us
            silent = log.pulses if envelope.lead_off_stops_all else own
            late = [p for p in silent if begin_us < p.onset_us < until_us]
            if late:
                verdict.fail("S4", late[0].onset_us, "output on a lead that came off")
