"""Count what was delivered: time with output, time since every target was reached, pulses.

Rules:
1. Time counts only while the device reports RUNNING with a setpoint above zero.
2. The plateau begins when every wanted target above zero has been reached, and ends when the ramp
   down begins; what came before is rise, what comes after is neither.
"""

from __future__ import annotations

from firmware_protocol.messages import DeviceState, Status


class Delivery:
    """Accumulate over one prepared programme, pauses included."""

    def __init__(self, channel_count: int) -> None:
        self.rise_us = 0
        self.plateau_us = 0
        self.ramp_down_us = 0
        self.is_ramping_down = False
        self.is_plateau = False
        self._finished_pulses = [0] * channel_count
        self._current_pulses = [0] * channel_count
        self._counted_us: int | None = None
        self._has_run = False

    @property
    def delivered_us(self) -> int:
        """Return the time with output so far."""
        return self.rise_us + self.plateau_us + self.ramp_down_us

    @property
    def pulse_counts(self) -> list[int]:
        """Return pulses per channel so far."""
        return [
            done + now
            for done, now in zip(self._finished_pulses, self._current_pulses, strict=True)
        ]

    def take(self, status: Status, targets_ua: list[int], now_us: int) -> None:
        """Count the time since the last report, and its pulses."""
        self._count_pulses(status)
        is_delivering = status.state is DeviceState.RUNNING and any(
            row.setpoint_ua for row in status.channels
        )
        if not is_delivering:
            self._counted_us = None
            self.is_plateau = False
            return
        if self._counted_us is not None:
            elapsed_us = now_us - self._counted_us
            if self.is_ramping_down:
                self.ramp_down_us += elapsed_us
            elif self.is_plateau:
                self.plateau_us += elapsed_us
            else:
                self.rise_us += elapsed_us
        self._counted_us = now_us
        if any(targets_ua) and not self.is_plateau:
            self.is_plateau = all(
                row.setpoint_ua == target_ua
                for row, target_ua in zip(status.channels, targets_ua, strict=False)
            )

    def _count_pulses(self, status: Status) -> None:
        """Add up the device's counts, which begin again with each RUNNING.

        Until then they are those of an earlier programme, or of another host.
        """
        self._has_run = self._has_run or status.state is DeviceState.RUNNING
        if not self._has_run:
            return
        for index in range(min(len(self._current_pulses), len(status.channels))):
            count = status.channels[index].pulse_count
            if count < self._current_pulses[index]:
                self._finished_pulses[index] += self._current_pulses[index]
            self._current_pulses[index] = count
