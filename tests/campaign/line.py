"""What a device must make of what arrives, and no pulse beyond it: S2 and S4 on the line.

Rules:
1. The model is written from architecture.md, section 4, and reads nothing of the device's reports.
2. Where a device could judge either way (ticks are whole milliseconds), the model lets both pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.campaign.frames import (
    ARMED,
    DRIVE,
    HELLO,
    RUNNING,
    STOP,
    Cutter,
    Frame,
    is_newer,
)
from tests.campaign.log import Arrived, Log, Pulse
from tests.campaign.verdict import FOR_EVER_US, LEASE_MS, MS, ZERO_AFTER_STOP_US, Verdict

FRESH_EDGE_MS = 310
"""A frame this old may be judged either way: ticks are whole milliseconds."""
OUTPUT_WAS_ON_US = 100 * MS


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


def judge_line(log: Log, verdict: Verdict) -> list[Run]:
    """No pulse without RUNNING, entered from ARMED at zero, and none after the lease."""
    written: dict[bytes, int] = {}
    cutters: dict[int, Cutter] = {}
    for piece in log.written:
        for frame in cutters.setdefault(piece.host, Cutter()).feed(piece.octets):
            written[frame.octets] = piece.at_us
    boots = {each.boot for each in log.arrived} | {each.boot for each in log.pulses}
    runs: list[Run] = []
    for boot in sorted(boots):
        arrived = [each for each in log.arrived if each.boot == boot]
        pulses = [each for each in log.pulses if each.boot == boot]
        _judge_boot(WireModel(written), arrived, pulses, runs, log, verdict)
    return runs


def _judge_boot(
    model: WireModel, arrived: list[Arrived], pulses: list[Pulse], runs: list[Run], log: Log,
    verdict: Verdict,
) -> None:  # fmt: skip
    run: Run | None = None
    events: list[tuple[int, int, Arrived | Pulse]] = [
        *((each.tick_us, 0, each) for each in arrived),
        *((each.tick_us, 1, each) for each in pulses),
    ]
    last_tick_us = -FOR_EVER_US
    for tick_us, _, each in sorted(events, key=lambda event: event[:2]):
        if model.lapse(tick_us):
            moment = log.moments.get(each.boot)
            _end(run, "lease", moment(model.off_tick_us) if moment else 0)
            run = None
            _counted(model, last_tick_us, "lease", verdict)
        if isinstance(each, Arrived):
            began, ended = model.take(each.octets, tick_us)
            if ended:
                _end(run, ended, each.at_us)
                run = None
                _counted(model, last_tick_us, ended, verdict)
            if began:
                run = Run(each.at_us)
                runs.append(run)
        else:
            last_tick_us = tick_us
            _judge_pulse(model, each, verdict)
    reboot_us = next((at for at in log.reboots_us if run is not None and at >= run.from_us), None)
    if reboot_us is not None:
        _end(run, "reboot", reboot_us)


def _end(run: Run | None, why: str, at_us: int) -> None:
    if run is not None:
        run.until_us, run.why = at_us, why


def _counted(model: WireModel, last_tick_us: int, why: str, verdict: Verdict) -> None:
    """Count an end that found output on; nothing runs after it."""
    if model.off_tick_us - last_tick_us < OUTPUT_WAS_ON_US:
        verdict.seen[f"S2 {why} while output was on"] += 1


def _judge_pulse(model: WireModel, pulse: Pulse, verdict: Verdict) -> None:
    if model.is_running:
        verdict.seen["S4 output in RUNNING"] += 1
    elif not 0 <= pulse.tick_us - model.off_tick_us <= ZERO_AFTER_STOP_US:
        name = "S2" if model.off_tick_us > 0 else "S4"
        verdict.fail(name, pulse.onset_us, "a pulse while nobody holds the device in RUNNING")
    if pulse.tick_us >= model.lease_tick_us:
        verdict.fail("S2", pulse.onset_us, "a pulse at or after the end of the lease")
