"""What holds in everything that the device said during the run; judged at its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from estim.rig.conformance.bench import Bench
from estim.rig.conformance.hearing import elapsed_ms
from estim.rig.conformance.line import Heard
from estim.rig.conformance.requirement import NotTestable, expect, requirement
from firmware_protocol import limits
from firmware_protocol.messages import DeviceState, Event, Identity, Status

SLEW_UA_PER_S = limits.setpoint_slew_ua_per_s.maximum
FINDINGS_KEPT = 5


@dataclass
class Witness:
    """Watch every message, and note what must never be.

    Counts and ticks begin again with a device that the kit had started anew.
    """

    bench: Bench
    frame_count: int = 0
    gaps: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    backwards: list[str] = field(default_factory=list)
    energised: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)
    steep: list[str] = field(default_factory=list)
    _boots_seen: int = 0
    _sequence: int | None = None
    _event_index: int | None = None
    _status: Status | None = None

    def watch(self, heard: Heard) -> None:
        """Take a message as it comes."""
        message = heard.message
        self.frame_count += 1
        if heard.sequence == 0 and self._boots_seen != self.bench.reboot_count:
            self._boots_seen = self.bench.reboot_count
            self._sequence = self._event_index = self._status = None
        if self._sequence is not None and heard.sequence != (self._sequence + 1) & 0xFFFF:
            _note(self.gaps, f"sequence {heard.sequence} after {self._sequence}")
        self._sequence = heard.sequence
        own = self.bench.line.connection.epoch
        if heard.epoch != own and not isinstance(message, (Identity, Status, Event)):
            _note(self.foreign, f"{type(message).__name__} of epoch {heard.epoch:#x}")
        if isinstance(message, Event):
            self._take_event(message)
        elif isinstance(message, Status):
            self._take_status(message)

    def _take_event(self, event: Event) -> None:
        last = self._event_index
        if last is not None and 1 < (event.index - last) & 0xFFFF < 0x8000:
            _note(self.lost, f"index {event.index} after {last}")
        if last is None or 0 < (event.index - last) & 0xFFFF < 0x8000:
            self._event_index = event.index

    def _take_status(self, status: Status) -> None:
        before, self._status = self._status, status
        for number, channel in enumerate(status.channels, start=1):
            flows = channel.setpoint_ua or channel.target_ua
            if flows and status.state is not DeviceState.RUNNING:
                _note(self.energised, f"channel {number} at {flows} uA in {status.state.name}")
            if channel.setpoint_ua > channel.target_ua:
                _note(self.beyond, f"setpoint {channel.setpoint_ua}, target {channel.target_ua} uA")
        if before is None:
            return
        ticked_ms = elapsed_ms(status.tick_ms, before.tick_ms)
        if ticked_ms < 0:
            _note(self.backwards, f"tick {status.tick_ms} after {before.tick_ms}")
            return
        for former, now in zip(before.channels, status.channels, strict=False):
            rose_ua = now.setpoint_ua - former.setpoint_ua
            # A pulse raises for the whole time since the one before, up to a slow one's step.
            most_ua = SLEW_UA_PER_S * ticked_ms // 1000 + limits.step_ua.maximum
            if rose_ua > most_ua:
                _note(self.steep, f"{rose_ua} uA within {ticked_ms} ms")


def witness(bench: Bench) -> Witness:
    """Return the run's witness; the suite has it watch from the beginning."""
    made = bench.scenarios.get("witness")
    if not isinstance(made, Witness) or not made.frame_count:
        raise NotTestable("nothing was heard")
    return made


@requirement("ALWAYS-01", "1", "every frame of the device can be decoded")
def decodable(bench: Bench) -> None:
    witness(bench)
    expect(not bench.line.damaged, "no damaged frame", "; ".join(bench.line.damaged[:3]))


@requirement("ALWAYS-02", "1", "the device counts its sequence by one with each message")
def counts_sequences(bench: Bench) -> None:
    _expect_none(witness(bench).gaps, "no gap")


@requirement("ALWAYS-03", "1", "every answer carries the epoch in force")
def carries_epoch(bench: Bench) -> None:
    _expect_none(witness(bench).foreign, "no answer of another epoch")


@requirement("ALWAYS-04", "3.8", "no event is lost: indices follow each other")
def loses_no_event(bench: Bench) -> None:
    _expect_none(witness(bench).lost, "no index left out")


@requirement("ALWAYS-05", "8", "ticks never run backwards")
def ticks_forward(bench: Bench) -> None:
    _expect_none(witness(bench).backwards, "rising ticks")


@requirement("ALWAYS-06", "2", "outside RUNNING every Status shows setpoint and target 0")
def zero_outside_running(bench: Bench) -> None:
    _expect_none(witness(bench).energised, "zero outside RUNNING")


@requirement("ALWAYS-07", "6", "no Status shows a setpoint above its target")
def never_above_target(bench: Bench) -> None:
    _expect_none(witness(bench).beyond, "setpoints at or below their targets")


@requirement("ALWAYS-08", "6", "no two Status show a rise beyond slew and step")
def never_steep(bench: Bench) -> None:
    _expect_none(witness(bench).steep, f"at most {SLEW_UA_PER_S} uA/s and a step")


def _expect_none(found: list[str], expected: str) -> None:
    expect(not found, expected, "; ".join(found[:3]))


def _note(findings: list[str], text: str) -> None:
    if len(findings) < FINDINGS_KEPT:
        findings.append(text)
