"""Judge a run: S1 to S7, from output, wire, displays and record.

Rules:
1. Every figure is restated by hand from architecture.md, sections 4 and 10; each tolerance says
   what it is derived from.
2. What was asked counts from when it was asked; what was refused counts as never asked.
3. The judge follows the line with a small reference of its own (`WireModel`): what a device must
   have made of what arrived. It reads nothing of the device's own reports.
"""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign import patient
from tests.campaign.frames import (
    ARMED,
    DRIVE,
    HELLO,
    RUNNING,
    STATUS,
    STOP,
    Cutter,
    Frame,
    is_newer,
)
from tests.campaign.log import Asked, Heard, Log, Pulse
from tests.campaign.requests import judge_requests
from tests.campaign.records import examine_records
from tests.campaign.sessions import Envelope, session_named

MS = 1000
LEASE_MS = 320
ZERO_AFTER_LINK_LOSS_US = 350 * MS
ZERO_AFTER_FROZEN_US = 750 * MS
ZERO_AFTER_STOP_US = 20 * MS
FRESH_EDGE_MS = 310
"""A frame this old may be judged either way: ticks are whole milliseconds."""
FINISH_US = 500 * MS + 60 * MS + ZERO_AFTER_LINK_LOSS_US
"""Ramp down as the session set it, the longest between two Drives, and a lost Stop."""
OPERABLE_US = 5_000_000
QUIET_GRACE_US = 400 * MS
MILLION = 1_000_000
FOR_EVER_US = 2**62
SHOWN_WINDOW_US = 600 * MS
"""A report counts as known for 500 ms; 100 ms more for its way."""
STOP_TO_WIRE_US = 50 * MS
LEAVING_US = 1300 * MS
"""An engine that was left waits 1 s for zero, then closes its line."""
DRIVE_US = 70 * MS
"""A host with a line writes at least every 60 ms."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One promise broken."""

    invariant: str
    at_us: int
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at_us / 1e6:.6f}: {self.text}"


@dataclass(slots=True)
class Verdict:
    """What was found, and how often there was anything to find."""

    violations: list[Violation] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def fail(self, invariant: str, at_us: int, text: str) -> None:
        self.violations.append(Violation(invariant, at_us, text))


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
    runs = _judge_line(log, verdict)
    _judge_silence(log, verdict)
    _judge_written(log, session.envelope, verdict)
    _judge_stops(log, verdict)
    _judge_asked(log, session.channel_count, session.envelope, leads, runs, verdict)
    judge_requests(log, session, verdict.fail, verdict.seen)
    _judge_leads(log, session.envelope, leads, runs, verdict)
    _judge_shown(log, session.envelope, leads, runs, verdict)
    examine_records(log, folder, verdict.fail, verdict.seen)
    _judge_operable(log, quiet_us, verdict)
    verdict.violations.sort(key=lambda each: each.at_us)
    return verdict


# S2 and S4 on the line.


@dataclass(slots=True)
class Run:
    """A stretch in which a device may have been RUNNING, in true time."""

    from_us: int
    until_us: int = FOR_EVER_US
    why: str = ""


class WireModel:
    """What one device, since one boot, must make of what arrives: no more than architecture.md."""

    def __init__(self, written: dict[bytes, int]) -> None:
        self._written = written
        self._cutter = Cutter()
        self._newest: dict[int, int] = {}
        """Newest sequence of each epoch that may be the adopted one."""
        self.is_armed = False
        self.is_running = False
        self.lease_tick_us = -1
        self.off_tick_us = -FOR_EVER_US

    def lapse(self, tick_us: int) -> bool:
        """Let the lease run out; tell whether that ended RUNNING."""
        if self.lease_tick_us >= 0 and tick_us >= self.lease_tick_us:
            was_running = self.is_running
            self.is_armed = self.is_running = False
            if was_running:
                self.off_tick_us = self.lease_tick_us
            return was_running
        return False

    def take(self, octets: bytes, tick_us: int) -> tuple[bool, str]:
        """Take bytes; tell whether RUNNING began, and why it ended ('' where it did not)."""
        began, ended = False, ""
        for frame in self._cutter.feed(octets):
            if frame.message_id == STOP:
                ended = self._end(tick_us, "stop") or ended
                self.is_armed = False
            elif frame.message_id == HELLO:
                self._hello(frame)
            elif frame.message_id == DRIVE:
                is_new = self._is_new(frame)
                began_now, ended_now = self._drive(frame, is_new, tick_us)
                began, ended = began or began_now, ended_now or ended
            else:
                self._is_new(frame)
        return began, ended

    def _hello(self, frame: Frame) -> None:
        """Adopt an epoch below RUNNING; what ended RUNNING, the model may not know."""
        if not self.is_running:
            self._newest.clear()
            self.is_armed = False
            self.lease_tick_us = -1
        self._newest[frame.epoch] = frame.sequence

    def _is_new(self, frame: Frame) -> bool:
        newest = self._newest.get(frame.epoch)
        if newest is not None and is_newer(frame.sequence, newest):
            self._newest[frame.epoch] = frame.sequence
            return True
        return False

    def _drive(self, frame: Frame, is_new: bool, tick_us: int) -> tuple[bool, str]:
        age_ms = tick_us // MS - frame.echoed_ms
        if frame.octets not in self._written or not is_new or not 0 <= age_ms <= LEASE_MS:
            return False, ""
        began, ended = False, ""
        if frame.wanted == RUNNING:
            if self.is_armed and not self.is_running and not any(frame.targets_ua):
                began = self.is_running = True
        elif age_ms <= FRESH_EDGE_MS:
            ended = self._end(tick_us, "drive")
            self.is_armed = frame.wanted == ARMED
        elif frame.wanted == ARMED:
            self.is_armed = True
        self.lease_tick_us = max(self.lease_tick_us, (frame.echoed_ms + LEASE_MS) * MS)
        return began, ended

    def _end(self, tick_us: int, why: str) -> str:
        if not self.is_running:
            return ""
        self.is_running = False
        self.off_tick_us = tick_us
        return why


def _judge_line(log: Log, verdict: Verdict) -> list[Run]:
    """No pulse without RUNNING, entered from ARMED at zero, and none after the lease."""
    written: dict[bytes, int] = {}
    cutters: dict[int, Cutter] = {}
    for piece in log.written:
        for frame in cutters.setdefault(piece.host, Cutter()).feed(piece.octets):
            written[frame.octets] = piece.at_us
    boots = sorted({each.boot for each in (*log.arrived, *log.pulses)})  # type: ignore[attr-defined]
    runs: list[Run] = []
    for boot in boots:
        arrived = [each for each in log.arrived if each.boot == boot]
        pulses = [each for each in log.pulses if each.boot == boot]
        _judge_boot(WireModel(written), arrived, pulses, runs, log, verdict)
    return runs


def _judge_boot(model, arrived, pulses, runs, log, verdict) -> None:  # type: ignore[no-untyped-def]
    run: Run | None = None
    events = sorted(
        [(each.tick_us, 0, each) for each in arrived]
        + [(each.tick_us, 1, each) for each in pulses],
        key=lambda event: event[:2],
    )
    last_tick_us = -FOR_EVER_US

    def end(why: str, at_us: int) -> None:
        nonlocal run
        if run is not None:
            run.until_us, run.why = at_us, why
            run = None
        if model.off_tick_us - last_tick_us < 100 * MS:
            verdict.seen[f"S2 {why} while output was on"] += 1

    for tick_us, kind, each in events:
        at_us = each.onset_us if kind else each.at_us
        if model.lapse(tick_us):
            end("lease", log.moments[each.boot](model.off_tick_us))
        if kind == 0:
            began, ended = model.take(each.octets, tick_us)
            if ended:
                end(ended, at_us)
            if began:
                run = Run(at_us)
                runs.append(run)
            continue
        last_tick_us = tick_us
        if model.is_running:
            verdict.seen["S4 output in RUNNING"] += 1
        elif tick_us == model.off_tick_us or 0 <= tick_us - model.off_tick_us <= ZERO_AFTER_STOP_US:
            pass
        else:
            name = "S2" if model.off_tick_us > 0 else "S4"
            verdict.fail(name, at_us, "a pulse while nobody holds the device in RUNNING")
        if tick_us >= model.lease_tick_us:
            verdict.fail("S2", at_us, "a pulse at or after the end of the lease")
    reboot_us = next((at for at in log.reboots_us if run is not None and at >= run.from_us), None)
    if run is not None and reboot_us is not None:
        run.until_us, run.why = reboot_us, "reboot"


def _judge_silence(log: Log, verdict: Verdict) -> None:
    """Output needs a host that wrote within 350 ms, and a display that lived within 750 ms."""
    commanded: list[int] = []
    cutters: dict[int, Cutter] = {}
    for piece in log.written:
        for frame in cutters.setdefault(piece.host, Cutter()).feed(piece.octets):
            if frame.message_id == DRIVE and frame.wanted == RUNNING:
                commanded.append(piece.at_us)
    alive = sorted([*log.beats_us, *(each.at_us for each in log.asked if each.kind == "Arm")])
    # The host's 400 ms and the device's 320 ms are counted by clocks that may be slow.
    worst_ppm = max(log.worst_drift_ppm, log.worst_device_ppm)
    frozen_us = ZERO_AFTER_FROZEN_US * MILLION // (MILLION - worst_ppm)
    for pulse in log.pulses:
        last_us = _last(commanded, pulse.onset_us)
        if pulse.end_us - last_us > ZERO_AFTER_LINK_LOSS_US:
            verdict.fail("S2", pulse.onset_us, "output 350 ms after the last word of any host")
        last_us = _last(alive, pulse.onset_us)
        if pulse.end_us - last_us > frozen_us:
            verdict.fail("S2", pulse.onset_us, "output 750 ms after the display froze")
        elif pulse.onset_us - last_us > 300 * MS:
            verdict.seen["S2 output while the display was late"] += 1


def _last(times_us: list[int], at_us: int) -> int:
    index = bisect.bisect_right(times_us, at_us)
    return times_us[index - 1] if index else -FOR_EVER_US


def _judge_written(log: Log, envelope: Envelope, verdict: Verdict) -> None:
    """No host asks for more than the envelope, or for output below RUNNING."""
    cutters: dict[int, Cutter] = {}
    ears: dict[int, Cutter] = {}
    heard: set[tuple[int, int]] = set()
    pieces = sorted([*log.heard, *log.written], key=lambda piece: piece.at_us)
    for piece in pieces:
        if isinstance(piece, Heard):
            for frame in ears.setdefault(piece.host, Cutter()).feed(piece.octets):
                if frame.message_id == STATUS:
                    heard.add((piece.host, frame.tick_ms))
            continue
        for frame in cutters.setdefault(piece.host, Cutter()).feed(piece.octets):
            if frame.message_id != DRIVE:
                continue
            verdict.seen["S1 drives"] += 1
            if (piece.host, frame.echoed_ms) not in heard:
                verdict.fail("S2", piece.at_us, "a Drive echoes a tick that nobody told")
            if any(ua > envelope.amplitude_ua for ua in frame.targets_ua):
                verdict.fail("S1", piece.at_us, f"a Drive for {frame.targets_ua} uA")
            if frame.wanted != RUNNING and any(frame.targets_ua):
                verdict.fail("S4", piece.at_us, "a Drive below RUNNING that wants output")


def _judge_stops(log: Log, verdict: Verdict) -> None:
    """A Stop that was asked for is on the wire at once, where the host lives and has a line."""
    written: dict[int, list[int]] = {}
    stops: dict[int, list[int]] = {}
    cutters: dict[int, Cutter] = {}
    for piece in log.written:
        written.setdefault(piece.host, []).append(piece.at_us)
        for frame in cutters.setdefault(piece.host, Cutter()).feed(piece.octets):
            if frame.message_id == STOP:
                stops.setdefault(piece.host, []).append(piece.at_us)
    held = _held_spells(log)
    gone = {host.number: host.until_us for host in log.hosts if host.until_us}
    for asked in log.asked:
        at_us = asked.at_us
        until_us = at_us + STOP_TO_WIRE_US
        was_talking = at_us - _last(written.get(asked.host, []), at_us) < DRIVE_US
        if asked.kind != "Stop" or not was_talking or gone.get(asked.host, until_us) < until_us:
            continue
        if any(from_us <= until_us and at_us <= to_us for from_us, to_us in held):
            continue
        if not any(at_us <= each <= at_us + 2 * DRIVE_US for each in written[asked.host]):
            continue  # its line was closed meanwhile
        verdict.seen["S2 stop asked"] += 1
        if not any(at_us <= each <= until_us for each in stops.get(asked.host, [])):
            verdict.fail("S2", at_us, "a stop was asked for, and none was sent")


def _held_spells(log: Log) -> list[tuple[int, int]]:
    """Return when a host, its loop or its line could do nothing."""
    spells = []
    for at_us, words in log.happened:
        if words[:2] in (("host", "stop"), ("host", "stall"), ("host", "block"),
                         ("clock", "suspend"), ("wire", "unplug"), ("device", "swap")):  # fmt: skip
            spells.append((at_us, at_us + int(words[2]) * MS + STOP_TO_WIRE_US))
        elif words == ("host", "raise"):
            spells.append((at_us, at_us + STOP_TO_WIRE_US))
        elif words[:2] in (("operator", "die"), ("host", "interrupt")):
            spells.append((at_us, at_us + LEAVING_US))
    for asked in log.asked:
        if asked.kind in ("Disconnect", "CloseVisit") and asked.is_done is not False:
            spells.append((asked.at_us, asked.at_us + DRIVE_US + STOP_TO_WIRE_US))
    return spells


# S4 by what people asked.


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


def _judge_asked(  # type: ignore[no-untyped-def]
    log: Log, count: int, envelope: Envelope, leads, runs: list[Run], verdict: Verdict
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
    for at_us, _, what in sorted([*ends, *asked], key=lambda event: event[:2]):  # type: ignore[misc]
        if isinstance(what, str):
            permission.end(at_us)
        elif what.at_us <= gone.get(what.host, FOR_EVER_US):
            permission.take(what)
    for pulse in log.pulses:
        most_ua = permission.ceiling_ua(pulse.channel, pulse.onset_us)
        verdict.seen["S4 asked"] += 1
        if patient.commanded_ua(pulse, leads[pulse.channel]) > most_ua:
            verdict.fail("S4", pulse.onset_us, f"{pulse.peak_ua} uA where {most_ua} uA were asked")


def _judge_leads(  # type: ignore[no-untyped-def]
    log: Log, envelope: Envelope, leads, runs: list[Run], verdict: Verdict
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


# S5 and S7.


def _judge_shown(  # type: ignore[no-untyped-def]
    log: Log, envelope: Envelope, leads, runs: list[Run], verdict: Verdict
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
            if _last(asked, after.onset_us) > former.onset_us:
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
