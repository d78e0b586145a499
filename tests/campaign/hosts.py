"""What a host must write, and when it must fall silent: S1, S2 and S4 of its own frames."""

from __future__ import annotations

from tests.campaign.frames import DRIVE, RUNNING, STATUS, STOP, Cutter
from tests.campaign.log import Heard, Log, Written
from tests.campaign.sessions import Envelope
from tests.campaign.verdict import (
    MILLION,
    MS,
    STOP_TO_WIRE_US,
    ZERO_AFTER_FROZEN_US,
    ZERO_AFTER_LINK_LOSS_US,
    Verdict,
    last_before,
)

LEAVING_US = 1300 * MS
"""An engine that was left waits 1 s for zero, then closes its line."""
DRIVE_US = 70 * MS
"""A host with a line writes at least every 60 ms."""


def judge_hosts(log: Log, envelope: Envelope, verdict: Verdict) -> None:
    """Judge every host's frames, and output without them."""
    _judge_silence(log, verdict)
    _judge_written(log, envelope, verdict)
    _judge_stops(log, verdict)


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
        last_us = last_before(commanded, pulse.onset_us)
        if pulse.end_us - last_us > ZERO_AFTER_LINK_LOSS_US:
            verdict.fail("S2", pulse.onset_us, "output 350 ms after the last word of any host")
        last_us = last_before(alive, pulse.onset_us)
        if pulse.end_us - last_us > frozen_us:
            verdict.fail("S2", pulse.onset_us, "output 750 ms after the display froze")
        elif pulse.onset_us - last_us > 300 * MS:
            verdict.seen["S2 output while the display was late"] += 1


def _judge_written(log: Log, envelope: Envelope, verdict: Verdict) -> None:
    """No host asks for more than the envelope, or for output below RUNNING."""
    cutters: dict[int, Cutter] = {}
    ears: dict[int, Cutter] = {}
    heard: set[tuple[int, int]] = set()
    pieces: list[Heard | Written] = [*log.heard, *log.written]
    for piece in sorted(pieces, key=lambda piece: piece.at_us):
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
        was_talking = at_us - last_before(written.get(asked.host, []), at_us) < DRIVE_US
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
        elif asked.kind == "Connect" and asked.is_done is not False:
            spells.append((asked.at_us - DRIVE_US, asked.at_us))  # it had no line then
    return spells
