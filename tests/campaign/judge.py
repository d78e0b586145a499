"""Judge a run: S1 to S7, from output, wire, displays and record.

Rules:
1. Every figure is restated by hand from architecture.md, sections 4 and 10; each tolerance says
   what it is derived from.
2. The judges are independent of each other: `patient` (S1, S3), `line` and `hosts` (S2), `asked`
   and `requests` (S4), here what is shown (S5) and what works again (S7), `records` (S6).
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from pathlib import Path

from tests.campaign import patient
from tests.campaign.asked import judge_asked, judge_leads
from tests.campaign.hosts import judge_hosts
from tests.campaign.line import Run, judge_line
from tests.campaign.log import Log
from tests.campaign.patient import Leads
from tests.campaign.records import examine_records
from tests.campaign.requests import judge_requests
from tests.campaign.sessions import Envelope, session_named
from tests.campaign.verdict import MS, Verdict, last_before

OPERABLE_US = 5_000_000
QUIET_GRACE_US = 400 * MS
SHOWN_WINDOW_US = 600 * MS
"""A report counts as known for 500 ms; 100 ms more for its way."""


def judge(log: Log, session_name: str, quiet_us: int, folder: Path) -> Verdict:
    """Judge everything of one run."""
    session, _ = session_named(session_name)
    verdict = Verdict()
    if log.crash:
        verdict.fail("S7", log.ended_us, log.crash)
    log.pulses.sort(key=lambda pulse: pulse.onset_us)
    leads = [
        patient.Leads(log.happened, channel, quiet_us) for channel in range(session.channel_count)
    ]
    patient.examine(log.pulses, session.envelope, leads, verdict.fail, verdict.seen)
    runs = judge_line(log, verdict)
    judge_hosts(log, session.envelope, verdict)
    judge_asked(log, session.channel_count, session.envelope, leads, runs, verdict)
    judge_requests(log, session, verdict.fail, verdict.seen)
    judge_leads(log, session.envelope, leads, runs, verdict)
    _judge_shown(log, session.envelope, leads, runs, verdict)
    examine_records(log, folder, verdict.fail, verdict.seen)
    _judge_operable(log, quiet_us, verdict)
    verdict.violations.sort(key=lambda each: each.at_us)
    return verdict


def _judge_shown(
    log: Log, envelope: Envelope, leads: Sequence[Leads], runs: Sequence[Run], verdict: Verdict
) -> None:
    """What is shown as known is never below what flows."""
    asked = [each.at_us for each in log.asked]
    for channel, lead in enumerate(leads):
        own = [pulse for pulse in log.pulses if pulse.channel == channel]
        onsets = [pulse.onset_us for pulse in own]
        for shown in log.shown:
            at_us, snapshot = shown.at_us, shown.snapshot
            if not snapshot.is_known:
                continue
            index = bisect.bisect_right(onsets, at_us)
            if not 0 < index < len(own):
                continue
            former, after = own[index - 1], own[index]
            if after.onset_us - former.onset_us > 2 * envelope.period_us:
                continue
            if last_before(asked, after.onset_us) > former.onset_us:
                continue  # lowered and raised again between two pulses: both are true
            if lead.was_off(former.onset_us, after.onset_us):
                continue
            if not any(r.from_us <= former.onset_us and after.onset_us <= r.until_us for r in runs):
                continue  # from one run to the next nothing flows
            true_ua = min(former.peak_ua, after.peak_ua)
            if lead.gain(after.onset_us) > patient.FULL:
                # What a defective stage adds is shown once it was measured and told.
                since_us = at_us - SHOWN_WINDOW_US
                true_ua = min(
                    patient.commanded_ua(p, lead) if p.onset_us <= since_us else p.peak_ua
                    for p in own[max(0, bisect.bisect_right(onsets, since_us) - 1) : index + 1]
                )
            row = snapshot.channels[channel] if channel < len(snapshot.channels) else None
            verdict.seen["S5"] += 1
            if (row.shown_ua if row is not None else 0) < true_ua:
                told = row.shown_ua if row is not None else "nothing"
                verdict.fail("S5", at_us, f"{told} uA shown, {true_ua} uA flow")


def _judge_operable(log: Log, quiet_us: int, verdict: Verdict) -> None:
    """After the faults: a stop was asked; within 5 s a start is done, at the end all is off."""
    until_us = quiet_us + OPERABLE_US
    verdict.seen["S7"] += 1
    started = [each for each in log.asked if each.kind in ("Start", "Resume") and each.is_done]
    if not any(quiet_us < each.at_us <= until_us for each in started):
        verdict.fail("S7", until_us, "not operable within 5 s after the last fault")
    last = log.pulses[-1].onset_us if log.pulses else 0
    if log.ended_us - last < QUIET_GRACE_US:
        verdict.fail("S7", log.ended_us, "output at the end")
