"""Seeded bugs in host and device, each of which the campaign must find within 1 000 seeds.

To add one: a name, and for each place its file, the text that stands there (once), and what takes
its place. Sorted by file.
"""

from __future__ import annotations

from typing import NamedTuple


class Edit(NamedTuple):
    """One change of one file."""

    file: str
    old: str
    new: str


BUGS: dict[str, tuple[Edit, ...]] = {
    # The C core.
    "c: a setpoint rises above the contact's 2 mA before it is proven": (
        Edit(
            "firmware_protocol/c/channel.c",
            "if ((channel->contact != EST_CONTACT_GOOD) && (ceiling_ua > channel->hold_ua)) {",
            "if (false) {",
        ),
    ),
    "c: twice the slew": (
        Edit(
            "firmware_protocol/c/channel.c",
            "channel->credit += session->setpoint_slew_ua_per_s * interval_us;",
            "channel->credit += 2U * session->setpoint_slew_ua_per_s * interval_us;",
        ),
    ),
    "c: no step limit below 5 Hz": (
        Edit(
            "firmware_protocol/c/channel.c",
            "rise_ua = (slewed < session->step_ua) ? (uint32_t)slewed : session->step_ua;",
            "rise_ua = (uint32_t)slewed;",
        ),
    ),
    "c: no limit of the rise in a cycle": (
        Edit(
            "firmware_protocol/c/channel.c",
            "if (rise_ua > (session->rise_per_cycle_ua - channel->risen_ua)) {",
            "if (false) {",
        ),
    ),
    "c: an electrode that came off is not latched": (
        Edit(
            "firmware_protocol/c/channel.c",
            "    est_channel_zero(channel);\n    channel->is_latched = true;",
            "    est_channel_zero(channel);",
        ),
    ),
    "c: overcurrent is never found": (
        Edit(
            "firmware_protocol/c/channel.c",
            "if (channel->over_streak >= EST_OVERCURRENT_PULSES) {",
            "if (channel->over_streak >= 200U) {",
        ),
    ),
    "c: the age of a frame is not looked at": (
        Edit(
            "firmware_protocol/c/drive.c",
            "if (age_ms > EST_LIMIT_LEASE_MS_MAX) {",
            "if (age_ms > UINT32_C(60000)) {",
        ),
        Edit(
            "firmware_protocol/c/drive.c",
            "(uint64_t)(EST_LIMIT_LEASE_MS_MAX - age_ms)",
            "(uint64_t)(EST_LIMIT_LEASE_MS_MAX + (0U * age_ms))",
        ),
    ),
    "c: the lease runs from the arrival, not from the echo": (
        Edit(
            "firmware_protocol/c/drive.c",
            "(uint64_t)(EST_LIMIT_LEASE_MS_MAX - age_ms)",
            "(uint64_t)(EST_LIMIT_LEASE_MS_MAX + (0U * age_ms))",
        ),
    ),
    "c: RUNNING from SAFE": (
        Edit(
            "firmware_protocol/c/drive.c",
            "        return est_refuse(refusal, EST_REFUSAL_REASON_STEP_TOO_FAR);",
            "        est_state_change(device, EST_DEVICE_STATE_ARMED);",
        ),
    ),
    "c: a pause keeps RUNNING": (
        Edit(
            "firmware_protocol/c/drive.c",
            "        est_state_change(device, EST_DEVICE_STATE_ARMED);\n    } else {\n"
            "        /* It is de-energised",
            "        renew_lease(device, 0U);\n    } else {\n        /* It is de-energised",
        ),
        Edit(
            "firmware_protocol/c/drive.c",
            "static uint32_t target_of(",
            "static void renew_lease(struct est_device *device, uint32_t age_ms);\n\n"
            "static uint32_t target_of(",
        ),
    ),
    "c: no lease": (
        Edit(
            "firmware_protocol/c/state.c",
            "if (est_state_is_energised(device) && device->has_lease &&",
            "if ((device->state == EST_DEVICE_STATE_ARMED) && device->has_lease &&",
        ),
    ),
    "c: the patient's stop is reported, and stops nothing": (
        Edit(
            "firmware_protocol/c/state.c",
            "    device->is_stop_latched = true;\n"
            "    est_state_latch_fault(device, EST_FAULT_CODE_PATIENT_STOP);",
            "    device->is_stop_latched = true;",
        ),
    ),
    "c: output goes on by itself after the lease": (
        Edit(
            "firmware_protocol/c/state.c",
            "        est_state_latch_fault(device, EST_FAULT_CODE_LEASE_EXPIRED);",
            "        device->lease_expiry_us = EST_NEVER - 1U;\n"
            "        est_channel_zero(&device->channels[0]);\n"
            "        est_channel_zero(&device->channels[1]);",
        ),
    ),
    # The driver.
    "driver: a guess of the device's tick is echoed": (
        Edit(
            "estim/drivers/native.py",
            "echoed_tick_ms=self._newest_tick_ms,",
            "echoed_tick_ms=self._newest_tick_ms + (now_us - self._heard_us) // 1000,",
        ),
        Edit(
            "estim/drivers/native.py",
            "        self._newest_tick_ms = status.tick_ms\n",
            "        self._newest_tick_ms = status.tick_ms\n        self._heard_us = now_us\n",
        ),
    ),
    "driver: a Drive that waits is kept at a Stop": (
        Edit(
            "estim/drivers/native.py",
            "        self._stop_count = 0\n        self._drive_frame = None",
            "        self._stop_count = 0",
        ),
        Edit(
            "estim/drivers/native.py",
            "        self._send_stop(now_us)\n\n    def acknowledge",
            "        self._stop_due_us = now_us + STOP_REPEAT_US\n\n    def acknowledge",
        ),
    ),
    # Loop, record.
    "record: acknowledged before it is synced": (
        Edit(
            "estim/record/writer.py",
            "        else:\n            self._journal.sync()\n        for _, token in group:",
            "        for _, token in group:",
        ),
    ),
    "record: a failed fsync is passed over": (
        Edit(
            "estim/record/journal.py",
            "            self._ops.sync_file(self._descriptor)\n        except OSError as error:\n"
            "            raise self._poison(error) from None",
            "            self._ops.sync_file(self._descriptor)\n        except OSError:\n"
            "            return",
        ),
    ),
    "record: a short write is not completed": (
        Edit(
            "estim/record/journal.py",
            "remaining = remaining[written:]",
            "remaining = remaining[max(written, len(remaining)) :]",
        ),
    ),
    "record: what failed is written again": (
        Edit(
            "estim/record/journal.py",
            "        except OSError as error:\n            raise self._poison(error) from None\n\n"
            "    def _poison",
            "        except OSError:\n            self._ops.write(self._descriptor, octets)\n\n"
            "    def _poison",
        ),
    ),
    "session: output goes on without a record": (
        Edit(
            "estim/session/core.py",
            "        session.begin_finish(text, now_us, Blame.HOST)\n"
            "    elif session.state is HostState.ARMED:\n"
            "        session.begin_stop(text, now_us, Blame.HOST)\n\n\ndef _on_sealed",
            "        pass\n\n\ndef _on_sealed",
        ),
    ),
    # The kernel.
    "kernel: the ceiling is not looked at": (
        Edit(
            "estim/safety/kernel.py",
            "        reasons += amplitude_reasons(program, bounds, index, target_ua)\n",
            "",
        ),
    ),
    "kernel: keys raise as fast as they come": (
        Edit(
            "estim/safety/kernel.py",
            "        return checks.run(checks.KEY_CHECKS, ask, bounds.session)",
            "        return [] if ask else []",
        ),
    ),
    "kernel: a target at once on a person": (
        Edit(
            "estim/safety/kernel.py",
            "if request.rise_kind is RiseKind.TARGET and bounds.is_bench:",
            "if request.rise_kind is RiseKind.TARGET:",
        ),
    ),
    # The session.
    "session: any report keeps the display alive": (
        Edit(
            "estim/session/reports.py",
            "    session.status = status\n",
            "    session.status = status\n    session.beat_us = now_us\n",
        ),
    ),
    "session: a channel whose electrode came off re-arms itself": (
        Edit(
            "estim/session/reports.py",
            '        session.append(\n            "lead_off"',
            "        session.do(ev.AcknowledgeDevice(status.latch_count, 1 << index))\n"
            '        session.append(\n            "lead_off"',
        ),
        Edit(
            "estim/session/reports.py",
            "            session.targets_ua[index] = 0\n",
            "",
        ),
    ),
    "session: a pause keeps wanting output": (
        Edit(
            "estim/session/requests.py",
            '    session.go_to_zero("paused meanwhile", Blame.OPERATOR)\n'
            "    session.follow(Trigger.PAUSED)\n",
            "",
        ),
    ),
    "session: a person is armed without the gate": (
        Edit(
            "estim/session/requests.py",
            "    missing = () if session.is_bench else session.gate.missing()\n    reasons =",
            "    missing: tuple[str, ...] = ()\n    reasons =",
        ),
    ),
    "session: a stop forgets to send Stop": (
        Edit(
            "estim/session/state.py",
            "        self.do(ev.StopOutput())\n        self.fail_load(LimitRefused(reason), "
            "blame=blame)",
            "        self.fail_load(LimitRefused(reason), blame=blame)",
        ),
    ),
    "session: a rise does not wait for the record": (
        Edit(
            "estim/session/state.py",
            '        self.when_durable("rise_asked", content, pending)',
            '        self.append("rise_asked", content)\n        pending.proceed(now_us)',
        ),
    ),
    "display: what was commanded, whatever is reported": (
        Edit(
            "estim/session/snapshot.py",
            "shown_ua=max(target_ua, row.setpoint_ua, row.peak_ua, row.target_ua),",
            "shown_ua=target_ua,",
        ),
    ),
    # The simulator's core.
    "python: start keeps the level": (
        Edit(
            "estim/simulator/channel.py",
            "        self.zero()\n        self.pulse_count = 0",
            "        self.pulse_count = 0",
        ),
        Edit(
            "estim/simulator/states.py",
            "        if self.state is DeviceState.RUNNING:\n"
            "            for channel in self._channels:\n                channel.zero()\n",
            "",
        ),
    ),
    "python: a pulse leaves charge behind": (
        Edit(
            "estim/simulator/output_stage.py",
            "            phases.append((offset_us, current_ua, duration_us))",
            "            phases.append((offset_us, current_ua + (offset_us > 0), duration_us))",
        ),
    ),
    "python: an epoch is adopted while RUNNING": (
        Edit(
            "estim/simulator/device.py",
            "        elif self._states.state is DeviceState.RUNNING:\n"
            "            adoption = Adoption.ENERGISED\n",
            "",
        ),
    ),
    "python: a Stop of another epoch is not obeyed": (
        Edit(
            "estim/simulator/device.py",
            "    def _on_stop(self, _stop: Stop, _sequence: int, _epoch: int) -> None:\n",
            "    def _on_stop(self, _stop: Stop, _sequence: int, _epoch: int) -> None:\n"
            "        if _epoch != self._reports.connection.epoch:\n            return\n",
        ),
    ),
    "python: targets above the session's limit are obeyed": (
        Edit(
            "estim/simulator/device.py",
            "        return self._gate.review_target(index, target_ua)",
            "        return None",
        ),
    ),
    "python: the sequence of a frame is not looked at": (
        Edit(
            "firmware_protocol/connection.py",
            "if self._newest_received is not None and not is_newer(sequence, "
            "self._newest_received):",
            "if sequence < 0:",
        ),
    ),
    "python: the lease is twice as long": (
        Edit(
            "estim/simulator/states.py",
            "expiry_us = self.boot_us + (echoed_ms + LEASE_MS) * US_PER_MS",
            "expiry_us = self.boot_us + (echoed_ms + 2 * LEASE_MS) * US_PER_MS",
        ),
    ),
}
