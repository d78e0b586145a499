"""Each safety measure, taken out: what to replace, and which linked tests must then fail.

A breakage says of one hazard: without these lines of the product, these tests of SAFETY.md fail.
It is how "there is a test" becomes "the test would notice". Every `old` stands in its file exactly
once (`test_links.py` sees to that), so a measure that moves takes its breakage along.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Breakage:
    """One measure of one hazard, and the edit that takes it out."""

    hazard: int
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


BREAKAGES = (
    Breakage(
        1, "the kernel does not compare amplitudes", "estim/safety/checks.py",
        "    limits.amplitude_ua.name: _at_most(lambda ask: ask.worst.amplitude_ua),",
        "    limits.amplitude_ua.name: _at_most(lambda ask: 0),",
        ("tests/safety/test_edges.py::test_a_bound_allows_its_value_and_not_one_count_more",),
    ),
    Breakage(
        1, "the device allows twice the amplitude", "estim/simulator/gate.py",
        "        highest_ua = self.session.channels[index].amplitude_ua\n",
        "        highest_ua = 2 * self.session.channels[index].amplitude_ua\n",
        ("tests/simulator/test_gate.py::test_amplitude",),
    ),
    Breakage(
        1, "the C core allows whatever the device can", "firmware_protocol/c/gate.c",
        "    return est_least(EST_LIMIT_AMPLITUDE_UA_MAX, gate->settings->amplitude_max_ua);",
        "    return gate->settings->amplitude_max_ua;",
        ("tests/firmware/test_gate.py::test_no_device_is_allowed_more_than_100_ma",),
    ),
    Breakage(
        2, "the kernel forgets 20 uC + 28 uC/ms", "estim/safety/checks.py",
        "min(bound.value, limits.compiled_phase_charge_pc(duration_us))", "bound.value",
        (
            "tests/safety/test_phase_charge.py::test_a_weak_tail_does_not_excuse_a_strong_phase",
            "tests/safety/test_edges.py::test_a_phase_cut_in_two_carries_no_more_than_a_whole_one",
        ),
    ),
    Breakage(
        2, "the device does not judge RMS", "estim/simulator/gate.py",
        "        if squares > session.rms_ua * session.rms_ua * US_PER_S:",
        "        if False:",
        ("tests/simulator/test_gate.py::test_rms",),
    ),
    Breakage(
        3, "an unbalanced programme has good form", "firmware_protocol/program.py",
        "    if net != 0:\n", "    if net > 1_000_000:\n",
        ("tests/simulator/test_messages.py::test_an_unbalanced_programme_is_refused",),
    ),
    Breakage(
        3, "the host compiles what is not balanced", "estim/waveform/compile.py",
        "        self._check_balance(sequence)\n", "",
        (
            "tests/unit/test_waveform_compile.py"
            "::test_what_is_not_balanced_is_refused_with_the_charge_and_the_remedy",
        ),
    ),
    Breakage(
        4, "the kernel lets RUNNING begin above zero", "estim/safety/kernel.py",
        "    elif facts.device_state is DeviceState.ARMED and any(request.targets_ua):",
        "    elif False:",
        ("tests/safety/test_interlocks.py::test_running_is_entered_at_zero_alone",),
    ),
    Breakage(
        4, "the device lets RUNNING begin above zero", "estim/simulator/device.py",
        "        if target_ua and self._states.state is DeviceState.ARMED:", "        if False:",
        ("tests/simulator/test_messages.py::test_running_begins_at_zero",),
    ),
    Breakage(
        4, "the device does not ramp", "estim/simulator/channel.py",
        "        rise_ua = min(rise_ua, ceiling_ua - self.setpoint_ua)",
        "        rise_ua = ceiling_ua - self.setpoint_ua",
        ("tests/simulator/test_setpoint.py::test_no_amplitude_lies_above_slew_times_time",),
    ),
    Breakage(
        5, "a return may go higher than before", "estim/safety/kernel.py",
        "        allowed_ua = sum(request.return_targets_ua[index : index + 1])",
        "        allowed_ua = request.targets_ua[index]",
        ("tests/safety/test_interlocks.py::test_a_rise_needs_its_reason",),
    ),
    Breakage(
        5, "a resume does not wait for the pause to be seen", "estim/session/reports.py",
        "    if status.state is not reached or not session.is_pause_seen:",
        "    if status.state is not reached:",
        (
            "tests/session/test_two_ends.py"
            "::test_a_resume_waits_until_the_device_has_seen_the_pause",
        ),
    ),
    Breakage(
        6, "the lease never ends", "estim/simulator/states.py",
        "        expiry_us = self.boot_us + (echoed_ms + LEASE_MS) * US_PER_MS",
        "        expiry_us = self.boot_us + (echoed_ms + 100 * LEASE_MS) * US_PER_MS",
        (
            "tests/simulator/test_lease.py::test_running_ends_exactly_320_ms_after_the_echoed_tick",
            "tests/session/test_virtual.py::test_zero_within_350_ms_of_losing_the_link",
        ),
    ),
    Breakage(
        6, "the host believes in a device that fell silent", "estim/session/core.py",
        "        elif now_us - session.status_us > SILENT_ENERGISED_US:", "        elif False:",
        ("tests/session/test_faults.py::test_a_silent_device_is_a_fault_after_500_ms",),
    ),
    Breakage(
        7, "the lease of the C core never ends", "firmware_protocol/c/state.c",
        "        (device->lease_expiry_us < timer_us)) {",
        "        (timer_us == 0U)) {",
        ("tests/firmware/test_process.py::test_it_is_silent_320_ms_after_the_host",),
    ),
    Breakage(
        7, "the lease of the simulator never ends", "estim/simulator/states.py",
        "        expiry_us = self.boot_us + (echoed_ms + LEASE_MS) * US_PER_MS",
        "        expiry_us = self.boot_us + (echoed_ms + 100 * LEASE_MS) * US_PER_MS",
        ("tests/session/test_virtual.py::test_zero_within_350_ms_of_the_engine_s_death",),
    ),
    Breakage(
        8, "nobody misses the heartbeat", "estim/session/core.py",
        "        if now_us - session.beat_us > FROZEN_US:", "        if False:",
        ("tests/session/test_faults.py::test_the_heartbeat_may_be_400_ms_old_and_no_more",),
    ),
    Breakage(
        8, "a beat counts once it was written", "estim/tui/terminal.py",
        "        return self._file.write(text)\n",
        "        self._on_beat(self._written)\n        return self._file.write(text)\n",
        ("tests/tui/test_terminal.py::test_a_beat_is_reported_only_once_it_was_flushed",),
    ),
    Breakage(
        8, "a beat counts though nothing was flushed", "estim/tui/terminal.py",
        "        self._file.flush()\n        if self._written",
        "        if self._written",
        ("tests/tui/test_terminal.py::test_a_flush_that_fails_reports_nothing",),
    ),
    Breakage(
        9, "the device obeys a Drive of any age", "estim/simulator/device.py",
        "        if age_ms > LEASE_MS:", "        if False:",
        ("tests/simulator/test_lease.py::test_a_stale_or_future_drive_is_ignored_whole",),
    ),
    Breakage(
        10, "nobody looks at the CRC", "firmware_protocol/codec.py",
        "    if zlib.crc32(content) != CRC.unpack_from(body, len(content))[0]:", "    if False:",
        ("tests/protocol/test_frames.py::test_every_flip_of_one_bit_is_rejected",),
    ),
    Breakage(
        10, "noise is no fault", "estim/simulator/states.py",
        "            self.latch_fault(FaultCode.LINE_NOISE)", "            pass",
        (
            "tests/simulator/test_device_faults.py"
            "::test_sixteen_damaged_frames_within_a_second_are_a_fault",
        ),
    ),
    Breakage(
        11, "a frame grows without end", "firmware_protocol/framing.py",
        "        if len(self._partial) + len(piece) > FRAME_MAX:", "        if False:",
        (
            "tests/protocol/test_framing.py"
            "::test_endless_garbage_is_one_damaged_frame_in_bounded_memory",
        ),
    ),
    Breakage(
        12, "old sequences are taken", "firmware_protocol/connection.py",
        "    return 0 < (sequence - than) % SEQUENCE_MODULUS < _HALF_WINDOW", "    return True",
        (
            "tests/protocol/test_permutations.py"
            "::test_in_whatever_order_frames_come_each_acts_once_and_none_after_a_newer_one",
            "tests/protocol/test_connection.py::test_rule_1_a_frame_that_is_not_newer_is_dropped",
            "tests/simulator/test_messages.py::test_an_old_sequence_is_dropped",
        ),
    ),
    Breakage(
        13, "frames of another epoch come out", "firmware_protocol/connection.py",
        "        if epoch != self.epoch:", "        if False:",
        (
            "tests/protocol/test_connection.py::test_rule_3_only_the_current_epoch_comes_out",
            "tests/session/test_core.py::test_reports_of_another_epoch_are_silence",
        ),
    ),
    Breakage(
        13, "a Hello is adopted while RUNNING", "estim/simulator/device.py",
        "            adoption = Adoption.ENERGISED\n        else:\n            self._adopt",
        "            adoption = Adoption.ENERGISED\n            self._adopt",
        (
            "tests/simulator/test_messages.py"
            "::test_hello_in_running_is_answered_and_changes_nothing",
        ),
    ),
    Breakage(
        14, "any serial number will do", "estim/session/reports.py",
        "    if session.identity is not None and serial_number != session.identity.serial_number:",
        "    if False:",
        (
            "tests/session/test_core.py::test_another_serial_number_is_another_device",
            "tests/engine/test_hosts.py"
            "::test_another_device_behind_the_same_name_is_not_driven",
        ),
    ),
    Breakage(
        15, "a port has any number of owners", "estim/transport/serial_port.py",
        "                self._serial.exclusive = True\n", "",
        (
            "tests/engine/test_port_race.py::test_of_many_that_open_a_port_at_once_one_gets_it",
            "tests/engine/test_transport.py::test_a_port_has_one_owner_until_it_is_closed",
        ),
    ),
    Breakage(
        16, "DTR is high when the port opens", "estim/transport/serial_port.py",
        "            self._serial.dtr = settings.dtr\n", "",
        ("tests/engine/test_transport.py::test_dtr_and_rts_are_low_before_the_port_opens",),
    ),
    Breakage(
        16, "a device that lost its programme is believed", "estim/session/reports.py",
        "    if not session.has_digests(status):\n        session.latch_fault(",
        "    if False:\n        session.latch_fault(",
        ("tests/session/test_core.py::test_a_device_that_lost_programme_or_limits_is_a_fault",),
    ),
    Breakage(
        17, "the host takes any schema", "estim/drivers/native.py",
        "        if identity.adoption is Adoption.SCHEMA_MISMATCH or "
        "identity.schema_hash != SCHEMA_HASH:",
        "        if False:",
        ("tests/drivers/test_native.py::test_another_schema_is_refused_with_both_hashes",),
    ),
    Breakage(
        17, "the device takes any schema", "estim/simulator/device.py",
        "            adoption = Adoption.SCHEMA_MISMATCH\n",
        "            self._adopt(epoch, sequence)\n",
        ("tests/simulator/test_messages.py::test_another_language_is_told_and_not_adopted",),
    ),
    Breakage(
        18, "a microcoulomb has a thousand picocoulombs", "estim/units.py",
        "PC_PER_UC = 1_000_000", "PC_PER_UC = 1_000",
        ("tests/unit/test_units.py::test_the_conversion_factors_are_those_of_the_si",),
    ),
    Breakage(
        19, "a profile without a hash is loaded on a person", "estim/session/requests.py",
        "    if not is_bench and not named:", "    if False:",
        (
            "tests/session/test_gate.py"
            "::test_a_profile_that_nobody_could_find_again_is_loaded_for_no_person",
        ),
    ),
    Breakage(
        20, "infinity is a number on the way to the engine", "estim/session/messages.py",
        "    if not isfinite(number):", "    if False:",
        ("tests/session/test_messages.py::test_numbers_that_are_none_are_refused",),
    ),
    Breakage(
        21, "no answer is asked for", "estim/session/gate.py",
        "        reasons = [words for kind, words in REQUIRED.items() if kind not in self._kept]",
        "        reasons: list[str] = []",
        ("tests/session/test_gate.py::test_each_answer_is_needed_for_itself",),
    ),
    Breakage(
        21, "reading back is not asked for", "estim/session/gate.py",
        "        if not self._is_read_back:", "        if False:",
        (
            "tests/session/test_gate.py"
            "::test_the_same_programme_with_other_electrodes_is_read_back_anew",
        ),
    ),
    Breakage(
        21, "what was read back of a former load counts", "estim/session/gate.py",
        "        self._turn += 1\n        self._is_read_back = False", "        self._turn += 1",
        (
            "tests/session/test_gate.py"
            "::test_nothing_that_was_loaded_before_counts_as_read_back_now",
        ),
    ),
    Breakage(
        21, "any last character fits a pseudonym", "estim/visit/pseudonym.py",
        "    if check_character(plain[:-1]) != plain[-1]:", "    if False:",
        ("tests/visit/test_pseudonym.py::test_every_single_wrong_character_is_found",),
    ),
    Breakage(
        22, "what the device reports is not shown", "estim/session/snapshot.py",
        "row.setpoint_ua, row.peak_ua, row.target_ua)", "0)",
        ("tests/session/test_core.py::test_a_snapshot_never_understates",),
    ),
    Breakage(
        22, "a device whose clock stands still is alive", "estim/session/reports.py",
        "    if before is None or status.tick_ms != before.tick_ms:", "    if True:",
        ("tests/session/test_two_ends.py::test_a_clock_that_stands_still_is_no_sign_of_life",),
    ),
    Breakage(
        23, "keys are not added up over a second", "estim/safety/checks.py",
        "        lambda ask: max(ask.key_rise_in_second_ua, 0) + ask.key_rise_ua",
        "        lambda ask: ask.key_rise_ua",
        (
            "tests/safety/test_edges.py::test_a_key_raises_by_one_step_and_by_1_ma_a_second",
            "tests/session/test_core.py::test_keys_raise_at_most_1_ma_in_a_second",
        ),
    ),
    Breakage(
        24, "an answer voids nothing", "estim/session/gate.py",
        "VOIDING = frozenset({*REQUIRED, \"inspect_skin\", \"override\", \"plan\"})",
        "VOIDING: frozenset[str] = frozenset()",
        (
            "tests/session/test_gate.py"
            "::test_an_answer_between_arm_and_armed_holds_the_start_back",
        ),
    ),
    Breakage(
        25, "an electrode that came off is judged good", "estim/simulator/channel.py",
        "        self.contact = Contact.OFF\n        return Finding.LEAD_OFF",
        "        return Finding.NOTHING",
        (
            "tests/simulator/test_device_faults.py"
            "::test_a_lead_that_comes_off_is_found_within_its_pulses",
        ),
    ),
    Breakage(
        25, "the target outlives the electrode", "estim/session/reports.py",
        "            session.targets_ua[index] = 0\n", "",
        (
            "tests/session/test_core.py"
            "::test_an_electrode_off_stops_its_channel_alone_until_rearmed",
        ),
    ),
    Breakage(
        26, "density is not judged", "estim/safety/checks.py",
        "    if worst.rms_ua <= density_rms_ua(bound, area_mm2):", "    if True:",
        ("tests/safety/test_edges.py::test_the_electrode_binds_a_small_pad",),
    ),
    Breakage(
        27, "the device arms on an empty battery", "estim/simulator/device.py",
        "        if not self._states.has_charge:", "        if False:",
        (
            "tests/simulator/test_device_faults.py"
            "::test_a_low_battery_does_not_arm_and_an_empty_one_stops",
        ),
    ),
    Breakage(
        27, "a low battery is no alarm", "estim/visit/alarms.py",
        "        found += _of_battery(snapshot)\n", "",
        ("tests/visit/test_alarms.py::test_what_a_snapshot_says",),
    ),
    Breakage(
        28, "the core does not look at its own memory", "firmware_protocol/c/gate.c",
        "    return (session_digest(gate) == gate->limits_digest) &&", "    return true ||",
        (
            "tests/firmware/test_forms.py"
            "::test_one_flipped_bit_of_limits_or_programme_is_found_before_output",
        ),
    ),
    Breakage(
        29, "the device does not mind what flows", "estim/simulator/channel.py",
        "            return Finding.OVERCURRENT", "            return Finding.NOTHING",
        (
            "tests/simulator/test_device_faults.py::test_more_than_110_percent_and_1_ma_is_a_fault",
            "tests/session/test_virtual.py::test_too_much_gain_ends_after_two_pulses",
        ),
    ),
    Breakage(
        29, "the host does not look at what is measured", "estim/session/reports.py",
        "    return session.overshoot_count >= OVERSHOOTS_MAX", "    return False",
        ("tests/session/test_attack.py::test_a_device_that_measures_more_than_was_asked_is_a_fault",),
    ),
    Breakage(
        30, "the stand-in grants a lease without end", "estim/drivers/stand_in.py",
        "        self.lease_us = now_us + LEASE_US",
        "        self.lease_us = now_us + 100 * LEASE_US",
        (
            "tests/drivers/test_p24.py"
            "::test_without_drives_output_ends_after_the_lease_though_the_driver_goes_on",
        ),
    ),
    Breakage(
        30, "any kind of device is good enough for a person", "estim/session/requests.py",
        "    problem = _use_problem(session, request.settings) or _dose_problem(",
        "    problem = _dose_problem(",
        ("tests/session/test_use.py::test_a_device_that_is_not_for_people_is_not_loaded_for_one",),
    ),
    Breakage(
        31, "the stop keys wait for their turn", "estim/tui/app.py",
        "        Binding(\"f12,ctrl+x\", \"stop\", \"Stop\", priority=True, show=False),\n", "",
        (
            "tests/tui/test_stop_key.py"
            "::test_stop_takes_the_output_to_zero_at_once_under_a_dialogue",
        ),
    ),
    Breakage(
        31, "Stop is sent once", "estim/drivers/native.py",
        "        self._stop_due_us = now_us + STOP_REPEAT_US", "        self._stop_due_us = None",
        (
            "tests/drivers/test_native.py"
            "::test_stop_is_repeated_every_30_ms_until_a_status_shows_zero",
        ),
    ),
    Breakage(
        31, "a Stop of another epoch is not heard", "firmware_protocol/connection.py",
        "        if self.role is Role.DEVICE and isinstance(message, (Hello, Stop)):",
        "        if self.role is Role.DEVICE and isinstance(message, Hello):",
        (
            "tests/simulator/test_messages.py"
            "::test_messages_of_another_epoch_are_ignored_but_stop_is_not",
        ),
    ),
    Breakage(
        32, "a session never becomes too long", "estim/session/requests.py",
        "    if done_ms + settings.duration_s * 1000 <= longest_ms:", "    if True:",
        ("tests/session/test_gate.py::test_a_visit_is_never_longer_in_all_than_one_load_may_be",),
    ),
    Breakage(
        32, "the device runs for ever", "estim/simulator/states.py",
        "            return min(self.lease_expiry_us, self._longest_run_us())",
        "            return self.lease_expiry_us",
        (
            "tests/simulator/test_device_faults.py"
            "::test_running_ends_when_its_longest_time_is_passed",
        ),
    ),
    Breakage(
        32, "nobody misses an answer", "estim/visit/prompts.py",
        "        return asked is not None and asked.is_overdue", "        return False",
        (
            "tests/visit/test_prompts.py"
            "::test_an_attention_check_without_an_answer_asks_for_a_pause_and_a_key_takes_it_back",
        ),
    ),
    Breakage(
        33, "an alarm is raised as often as its cause", "estim/visit/alarms.py",
        "RAISE_US = 10 * US_PER_S", "RAISE_US = 0",
        (
            "tests/visit/test_alarms.py"
            "::test_a_flood_raises_each_cause_at_most_once_in_10_s_and_loses_none",
        ),
    ),
    Breakage(
        34, "an interface that is gone stops nothing", "estim/session/core.py",
        "    _leave(session, now_us, \"the interface is gone\", Blame.HOST)", "    return",
        (
            "tests/session/test_faults.py"
            "::test_the_end_of_the_interface_stops_seals_and_ends",
        ),
    ),
    Breakage(
        34, "nobody watches the terminal", "estim/tui/terminal.py",
        "            elif self._is_gone():", "            elif False:",
        (
            "tests/tui/test_terminal.py"
            "::test_a_terminal_that_is_gone_ends_the_session_and_the_process",
        ),
    ),
    Breakage(
        35, "a sleep goes unnoticed", "estim/engine/loop.py",
        "        if asleep_us - self._asleep_us > SUSPEND_US:", "        if False:",
        ("tests/session/test_faults.py::test_a_sleep_of_over_50_ms_is_a_fault",),
    ),
    Breakage(
        35, "a loop that stood still goes on", "estim/engine/loop.py",
        "        if gap_us > STALL_US:", "        if False:",
        ("tests/session/test_faults.py::test_a_loop_that_stands_still_for_over_320_ms_is_a_fault",),
    ),
    Breakage(
        36, "the engine's time is wall time", "estim/engine/loop.py",
        "            while self._waiting:\n                now_us = self._clock.now_us()",
        "            while self._waiting:\n"
        "                now_us = int(self._clock.wall().timestamp() * 1e6)",
        (
            "tests/session/test_wall_clock.py"
            "::test_a_wall_clock_that_jumps_at_every_look_changes_nothing_that_is_delivered",
        ),
    ),
    Breakage(
        37, "a record that fails stops nothing", "estim/session/core.py",
        "        session.begin_finish(text, now_us, Blame.HOST)\n"
        "    elif session.state is HostState.ARMED:",
        "        pass\n    elif session.state is HostState.ARMED:",
        ("tests/session/test_faults.py::test_a_record_that_fails_while_running_ramps_down",),
    ),
    Breakage(
        37, "a poisoned journal is written on", "estim/record/journal.py",
        "        self._failure = error.strerror or str(error)\n"
        "        return RecordError(f\"{self._path}: the record cannot be written: "
        "{self._failure}\")",
        "        return RecordError(f\"{self._path}: the record cannot be written: {error}\")",
        ("tests/record/test_journal.py::test_a_full_disk_poisons_the_journal",),
    ),
    Breakage(
        38, "an event is acknowledged before it is synced", "estim/record/writer.py",
        "            self._write_seal(last)\n        else:\n            self._journal.sync()",
        "            self._write_seal(last)",
        (
            "tests/record/test_writer.py"
            "::test_nothing_is_acknowledged_before_its_sync_and_what_waits_is_one_group",
        ),
    ),
    Breakage(
        39, "lines need not belong together", "estim/record/verify.py",
        "        elif event.seq == expected and "
        "(event.prev == self._head or not self._is_linked):",
        "        elif event.seq == expected:",
        ("tests/record/test_verify.py::test_every_single_byte_change_is_found",),
    ),
    Breakage(
        39, "a seal of any key will do", "estim/record/lines.py",
        "    if content[\"key_id\"] != key_id(key):", "    return None\n    if False:",
        (
            "tests/record/test_verify.py"
            "::test_a_chain_made_anew_without_the_key_is_found_by_the_key_holder_alone",
        ),
    ),
    Breakage(
        40, "records can be read by everybody", "estim/record/files.py",
        "    return os.open(path, flags | _BINARY, 0o600)",
        "    return os.open(path, flags | _BINARY, 0o644)",
        ("tests/record/test_journal.py::test_file_and_folder_are_private",),
    ),
    Breakage(
        41, "a limit can be set by a variable", "firmware_protocol/limits.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\nimport os\nLIFTED = os.environ.get(\"ESTIM_LIMIT\")\n",
        (
            "tests/assurance/test_shipped_code.py"
            "::test_what_is_read_from_the_environment_is_known_and_moves_no_limit",
        ),
    ),
    Breakage(
        41, "a build can set the number of pulses in flight and the lease",
        "firmware_protocol/c/config.h",
        "#ifndef EST_PHASES\n",
        "#ifdef EST_NO_LEASE\n#define EST_LEASE_MS 0\n#endif\n#ifndef EST_PHASES\n",
        ("tests/assurance/test_shipped_code.py::test_no_build_switch_of_the_core_touches_a_limit",),
    ),
    Breakage(
        42, "setpoints rise in silence", "estim/simulator/channel.py",
        "and player.is_plateau and self._is_felt(shape):", ":",
        ("tests/simulator/test_setpoint.py::test_no_rise_outside_the_plateau",),
    ),
    Breakage(
        42, "a rise is taken between contractions", "estim/session/requests.py",
        "        if _is_between_contractions(session, index):", "        if False:",
        ("tests/session/test_core.py::test_a_rise_between_contractions_is_refused",),
    ),
    Breakage(
        42, "a cycle may raise by any amount", "estim/simulator/channel.py",
        "            rise_ua = min(rise_ua, session.rise_per_cycle_ua - self._risen_ua)\n", "",
        ("tests/simulator/test_setpoint.py::test_each_cycle_raises_by_at_most_its_share",),
    ),
    Breakage(
        42, "a slow pulse may raise by any amount", "estim/simulator/channel.py",
        "            rise_ua = min(rise_ua, session.step_ua)\n", "",
        ("tests/simulator/test_setpoint.py::test_below_5_hz_each_pulse_raises_by_at_most_one_step",),
    ),
    Breakage(
        43, "who stands may be stimulated", "estim/visit/screening_items.py",
        "        Gravity.STOP, \"\", \"E\", only_for=OnlyFor.MOTOR,\n"
        "        advice=\"a limb that bears weight",
        "        Gravity.CARE, \"\", \"E\", only_for=OnlyFor.MOTOR,\n"
        "        advice=\"a limb that bears weight",
        ("tests/visit/test_screening.py::test_yes_leads_to_what_the_table_says_and_to_nothing_else",),
    ),
    Breakage(
        44, "channels may overlap on a person", "estim/safety/kernel.py",
        "    if program.allow_overlap and not bounds.is_bench:", "    if False:",
        ("tests/safety/test_edges.py::test_channels_overlap_on_a_bench_alone",),
    ),
    Breakage(
        44, "no pair of channels is thought to meet", "firmware_protocol/program.py",
        "    return not (_share_timing(first, second) or _never_on_together(first, second))",
        "    return False",
        ("tests/protocol/test_overlap.py::test_channels_that_the_rule_takes_never_coincide",),
    ),
    Breakage(
        45, "a person's record takes the bounds of a bench", "estim/session/requests.py",
        "    if request.bounds.is_bench is not session.is_bench:", "    if False:",
        (
            "tests/session/test_attack.py"
            "::test_a_person_is_not_prepared_as_a_bench_nor_a_bench_as_a_person",
        ),
    ),
    Breakage(
        45, "a single pulse needs no declared load", "estim/rig/single_pulse.py",
        "    if bench_ohm <= 0:", "    if False:",
        ("tests/rig/test_single_pulse.py::test_nobody_is_connected_and_it_is_a_p24",),
    ),
    Breakage(
        45, "a target is set at once on a person", "estim/safety/kernel.py",
        "    if request.rise_kind is RiseKind.TARGET and bounds.is_bench:",
        "    if request.rise_kind is RiseKind.TARGET:",
        ("tests/session/test_gate.py::test_a_person_is_raised_by_keys_alone",),
    ),
    Breakage(
        46, "the patient's stop is only noted", "estim/simulator/states.py",
        "        if is_pressed:\n            self._latch_patient_stop()\n",
        "        if is_pressed:\n            pass\n",
        (
            "tests/simulator/test_device_faults.py"
            "::test_the_patient_stop_is_a_fault_in_any_state",
        ),
    ),
    Breakage(
        46, "a session that requires the patient's stop does without", "estim/safety/kernel.py",
        "    if has_stop or PolicyFlag.REQUIRE_PATIENT_STOP not in bounds.policy:", "    if True:",
        ("tests/safety/test_interlocks.py::test_a_required_patient_stop_must_be_there_to_arm_and_to_run",),
    ),
    Breakage(
        46, "a pressed patient's stop bars nothing", "estim/safety/kernel.py",
        "    if InputFlag.PATIENT_STOP_PRESSED in facts.inputs:", "    if False:",
        ("tests/session/test_faults.py::test_a_pressed_patient_stop_keeps_the_session_from_arming",),
    ),
    Breakage(
        47, "one electrode stops every channel", "estim/simulator/states.py",
        "            for other in self._channels if stops_all else (channel,):",
        "            for other in self._channels:",
        (
            "tests/simulator/test_device_faults.py"
            "::test_without_the_policy_the_other_channel_goes_on",
        ),
    ),
    Breakage(
        47, "overload goes on until the lease trips", "estim/session/overload.py",
        "            return Lateness.STOP", "            return Lateness.WARN",
        (
            "tests/session/test_faults.py"
            "::test_overload_warns_over_150_ms_and_ramps_after_two_over_200_ms",
        ),
    ),
    Breakage(
        48, "quarantine is a word", "estim/prepare/station.py",
        "        return self.state is State.IN_SERVICE\n", "        return True\n",
        (
            "tests/unit/test_station.py"
            "::test_what_is_held_back_is_refused_for_people_and_works_on_the_bench",
        ),
    ),
    Breakage(
        49, "a load that contradicts the declared one is delivered to",
        "estim/rig/jobs/delivery.py",
        "        if watch.contradiction:\n",
        "        if False:\n",
        ("tests/rig/test_verify.py::test_a_load_that_contradicts_the_declared_one_is_refused",),
    ),
)  # fmt: skip
