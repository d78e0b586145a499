#include "device.h"

#include <string.h>

#define US_PER_S UINT32_C(1000000)
#define US_PER_MS UINT32_C(1000)
#define HOUR_US UINT32_C(3600000000)
#define BATTERY_LOW_PERCENT 10U  /* below it the device does not arm */
#define BATTERY_EMPTY_PERCENT 5U /* below it the supply can no longer be trusted with output */
#define TEXT_SIZE 16U

/* Time and events. */

/* Return whole milliseconds, modulo 2^32. Nearly always the time fits 32 bits, and a division of 64
 * would be slow where they are not at home. */
static uint32_t in_ms(est_us time_us)
{
    uint64_t rest_us = time_us;
    uint32_t time_ms = 0U;

    while (rest_us > UINT32_MAX) {
        rest_us -= (uint64_t)HOUR_US;
        time_ms += HOUR_US / US_PER_MS;
    }
    return time_ms + ((uint32_t)rest_us / US_PER_MS);
}

static void set_now(struct est_device *device, est_us now_us)
{
    const uint32_t ticks = in_ms(now_us - device->tick_us);

    device->now_us = now_us;
    device->tick_us += (uint64_t)ticks * US_PER_MS;
    device->tick_ms += ticks;
}

static void emit(struct est_device *device, uint8_t code, uint8_t channel, int32_t detail)
{
    est_reports_emit(&device->reports, device->tick_ms, code, channel, detail);
}

static bool is_energised(const struct est_device *device)
{
    return (device->state == EST_DEVICE_STATE_ARMED) || (device->state == EST_DEVICE_STATE_RUNNING);
}

static uint32_t running_ms(const struct est_device *device)
{
    return (device->state == EST_DEVICE_STATE_RUNNING)
               ? in_ms(device->now_us - device->run_us)
               : device->ran_ms;
}

/* Transitions. */

static void begin_running(struct est_device *device)
{
    const struct est_program *program = &device->gate.program;
    uint8_t index;

    for (index = 0U; index < device->settings->channel_count; index++) {
        const bool is_played = program->is_loaded && (index < program->channel_count);
        est_channel_begin_running(&device->channels[index],
                                  is_played ? &program->channels[index] : NULL,
                                  device->gate.figures[index].grid_ua,
                                  device->settings->amplitude_step_ua, device->run_us);
    }
}

static void change_state(struct est_device *device, uint8_t state)
{
    uint8_t index;

    if (state == device->state) {
        return;
    }
    device->ran_ms = running_ms(device);
    for (index = 0U; index < device->settings->channel_count; index++) {
        est_channel_zero(&device->channels[index]);
    }
    device->state = state;
    if (!is_energised(device)) {
        device->damaged_noted = 0U;
    }
    emit(device, EST_EVENT_CODE_STATE_CHANGED, EST_NO_CHANNEL, (int32_t)state);
    if (state == EST_DEVICE_STATE_RUNNING) {
        device->run_us = device->now_us;
        begin_running(device);
    }
    est_hardware_enter_state(device->port, state);
}

static void latch_fault(struct est_device *device, uint8_t fault)
{
    change_state(device, EST_DEVICE_STATE_FAULT);
    device->fault = fault;
    device->latch_count++;
    emit(device, EST_EVENT_CODE_FAULT_LATCHED, EST_NO_CHANNEL, (int32_t)fault);
}

static void latch_patient_stop(struct est_device *device)
{
    device->is_stop_latched = true;
    device->is_stop_tested = true;
    latch_fault(device, EST_FAULT_CODE_PATIENT_STOP);
}

/* Pulses. */

static void act_on_finding(struct est_device *device, enum est_finding finding, uint8_t index)
{
    const bool stops_all =
        (device->gate.session.policy & EST_POLICY_FLAG_LEAD_OFF_STOPS_ALL) != 0U;
    const int32_t load_ohm = (int32_t)device->channels[index].load_ohm;
    uint8_t other;

    if (finding == EST_FINDING_CONTACT_GOOD) {
        emit(device, EST_EVENT_CODE_CONTACT_GOOD, index, load_ohm);
    } else if (finding == EST_FINDING_OVERCURRENT) {
        latch_fault(device, EST_FAULT_CODE_OVERCURRENT);
    } else if (finding == EST_FINDING_LEAD_OFF) {
        for (other = 0U; other < device->settings->channel_count; other++) {
            if (stops_all || (other == index)) {
                est_channel_latch_lead_off(&device->channels[other]);
            }
        }
        device->latch_count++;
        emit(device, EST_EVENT_CODE_LEAD_OFF, index, load_ohm);
    } else {
        /* Nothing was found. */
    }
}

/* Return the channel whose next step comes first, the first of those that come together. */
static uint8_t next_channel(const struct est_device *device)
{
    uint8_t next = EST_NO_CHANNEL;
    uint8_t index;

    for (index = 0U; index < device->settings->channel_count; index++) {
        if (device->channels[index].is_playing &&
            ((next == EST_NO_CHANNEL) || (device->channels[index].player.next_us <
                                          device->channels[next].player.next_us))) {
            next = index;
        }
    }
    return next;
}

static void play_step(struct est_device *device, uint8_t index, est_us now_us)
{
    struct est_channel *channel = &device->channels[index];
    const est_us onset_us = channel->player.next_us;
    struct est_measurement measured = {0U, 0U, false, false};
    struct est_pulse pulse;
    enum est_play play;

    if (!est_channel_has_room(channel)) {
        /* What is not measured is not known to be what was commanded. */
        latch_fault(device, EST_FAULT_CODE_OUTPUT_STAGE);
        return;
    }
    if (!est_channel_step(channel, &device->gate.session, &pulse)) {
        return;
    }
    pulse.channel = index;
    play = est_hardware_play(device->port, &pulse, &measured);
    if (play == EST_PLAY_MEASURED) {
        const enum est_finding finding = est_channel_judge(channel, &measured);
        if (finding != EST_FINDING_NOTHING) {
            /* With a lead the onset is still to come: time does not run ahead. */
            set_now(device, (onset_us < now_us) ? onset_us : now_us);
            act_on_finding(device, finding, index);
        }
    } else if (play == EST_PLAY_MISSED) {
        est_channel_miss(channel);
    } else {
        /* Its measurement comes later. */
    }
}

/* Play every pulse with its onset before `end_us`; tell whether still RUNNING. */
static bool play_before(struct est_device *device, est_us end_us, est_us now_us)
{
    while (device->state == EST_DEVICE_STATE_RUNNING) {
        const uint8_t index = next_channel(device);
        if ((index == EST_NO_CHANNEL) || (device->channels[index].player.next_us >= end_us)) {
            return true;
        }
        play_step(device, index, now_us);
    }
    return false;
}

/* Timers. */

/* Return when `running_ms` passes its limit. */
static est_us longest_run_us(const struct est_device *device)
{
    return device->run_us + (((uint64_t)device->gate.session.running_ms + 1U) * US_PER_MS);
}

/* Return when time itself ends RUNNING or ARMED next. */
static est_us next_timer_us(const struct est_device *device)
{
    est_us timer_us = EST_NEVER;

    if (device->state == EST_DEVICE_STATE_RUNNING) {
        timer_us = longest_run_us(device);
    }
    if (is_energised(device) && device->has_lease && (device->lease_expiry_us < timer_us)) {
        timer_us = device->lease_expiry_us;
    }
    return timer_us;
}

static void end_by_time(struct est_device *device, est_us timer_us)
{
    if (device->state == EST_DEVICE_STATE_ARMED) {
        change_state(device, EST_DEVICE_STATE_SAFE);
    } else if (device->has_lease && (timer_us == device->lease_expiry_us)) {
        latch_fault(device, EST_FAULT_CODE_LEASE_EXPIRED);
    } else {
        latch_fault(device, EST_FAULT_CODE_RUNNING_TIME);
    }
}

static void settle(struct est_device *device, est_us now_us)
{
    bool is_settled = false;

    while (!is_settled) {
        const est_us timer_us = next_timer_us(device);
        const bool is_timer_due = timer_us <= now_us;
        const est_us lead_end_us = now_us + EST_LEAD_US + 1U;
        const est_us end_us = (timer_us < lead_end_us) ? timer_us : lead_end_us;
        if ((device->state == EST_DEVICE_STATE_RUNNING) && (!play_before(device, end_us, now_us))) {
            continue;
        }
        if (is_timer_due) {
            /* A lease may have been accepted in the very millisecond in which it ends. */
            if (timer_us > device->now_us) {
                set_now(device, timer_us);
            }
            end_by_time(device, timer_us);
        }
        is_settled = !is_timer_due;
    }
    set_now(device, now_us);
    est_reports_note_time(&device->reports, now_us, device->state);
}

void est_device_advance(struct est_device *device, est_us now_us)
{
    if (now_us > device->now_us) {
        settle(device, now_us);
    }
}

/* Messages. */

static void answer_with_status(struct est_device *device)
{
    est_reports_want_status(&device->reports, device->now_us, device->state);
}

static void adopt(struct est_device *device, const struct est_message *message)
{
    if (device->state == EST_DEVICE_STATE_ARMED) {
        change_state(device, EST_DEVICE_STATE_SAFE);
    }
    device->has_lease = false;
    est_reports_adopt(&device->reports, message->epoch, message->sequence, device->now_us);
    est_gate_reset(&device->gate);
}

static void on_hello(struct est_device *device, const struct est_message *message)
{
    uint8_t adoption = EST_ADOPTION_ADOPTED;
    uint8_t *payload;

    if ((message->payload[EST_HELLO_AT_PROTOCOL_VERSION] != EST_PROTOCOL_VERSION) ||
        (est_get_u32(&message->payload[EST_HELLO_AT_SCHEMA_HASH]) != EST_SCHEMA_HASH)) {
        adoption = EST_ADOPTION_SCHEMA_MISMATCH;
    } else if (device->state == EST_DEVICE_STATE_RUNNING) {
        adoption = EST_ADOPTION_ENERGISED;
    } else {
        adopt(device, message);
    }
    payload = est_reports_answer(&device->reports, EST_MESSAGE_IDENTITY, message->epoch);
    est_put_u16(&payload[EST_IDENTITY_AT_IN_REPLY_TO], message->sequence);
    payload[EST_IDENTITY_AT_ADOPTION] = adoption;
    /* The rest is filled in when it is sent: these lie where constants will. */
    est_put_u32(&payload[EST_IDENTITY_AT_SCHEMA_HASH], device->tick_ms);
    payload[EST_IDENTITY_AT_PROTOCOL_VERSION] = device->state;
    if (adoption == EST_ADOPTION_ADOPTED) {
        emit(device, EST_EVENT_CODE_EPOCH_ADOPTED, EST_NO_CHANNEL, 0);
    }
}

static void on_set_limits(struct est_device *device, const struct est_message *message)
{
    struct est_refusal refusal;
    uint8_t *payload;

    if (est_gate_take_limits(&device->gate, message, &refusal)) {
        payload = est_reports_answer(&device->reports, EST_MESSAGE_LIMITS_ACCEPTED, NULL);
        est_put_u16(&payload[EST_LIMITS_ACCEPTED_AT_IN_REPLY_TO], message->sequence);
        est_put_u32(&payload[EST_LIMITS_ACCEPTED_AT_LIMITS_DIGEST], device->gate.limits_digest);
    } else {
        est_reports_refuse(&device->reports, message, &refusal);
    }
}

static void on_commit_program(struct est_device *device, const struct est_message *message)
{
    const uint32_t digest = est_get_u32(&message->payload[EST_COMMIT_PROGRAM_AT_PROGRAM_DIGEST]);
    struct est_refusal refusal;
    uint8_t *payload;

    if (est_gate_take_program(&device->gate, digest, &refusal)) {
        payload = est_reports_answer(&device->reports, EST_MESSAGE_PROGRAM_ACCEPTED, NULL);
        est_put_u16(&payload[EST_PROGRAM_ACCEPTED_AT_IN_REPLY_TO], message->sequence);
        est_put_u32(&payload[EST_PROGRAM_ACCEPTED_AT_PROGRAM_DIGEST], digest);
    } else {
        est_reports_refuse(&device->reports, message, &refusal);
    }
}

static uint32_t target_of(const struct est_message *drive, uint8_t index)
{
    const uint8_t *rows = &drive->payload[EST_DRIVE_AT_TARGETS];

    return est_get_u32(&rows[(index * EST_TARGET_ROW_SIZE) + EST_TARGET_ROW_AT_TARGET_UA]);
}

static bool refuse_target(struct est_refusal *refusal, uint8_t reason, uint8_t index,
                          uint32_t target_ua)
{
    return est_refuse_figures(refusal, reason, index, target_ua, 0U);
}

static bool review_digests(const struct est_device *device, const struct est_message *drive,
                           struct est_refusal *refusal)
{
    return est_gate_review_digests(&device->gate,
                                   est_get_u32(&drive->payload[EST_DRIVE_AT_PROGRAM_DIGEST]),
                                   est_get_u32(&drive->payload[EST_DRIVE_AT_LIMITS_DIGEST]),
                                   refusal);
}

static bool arm(struct est_device *device, const struct est_message *drive,
                struct est_refusal *refusal)
{
    const bool needs_stop =
        (device->gate.session.policy & EST_POLICY_FLAG_REQUIRE_PATIENT_STOP) != 0U;
    const bool has_stop =
        (device->settings->capability_flags & EST_CAPABILITY_FLAG_HAS_PATIENT_STOP) != 0U;
    bool is_armed = review_digests(device, drive, refusal);

    if (!is_armed) {
        /* The host believes what is not true. */
    } else if (needs_stop && (!has_stop)) {
        is_armed = est_refuse(refusal, EST_REFUSAL_REASON_PATIENT_STOP_MISSING);
    } else if (device->battery_percent < BATTERY_LOW_PERCENT) {
        is_armed = est_refuse_figures(refusal, EST_REFUSAL_REASON_CAUSE_PRESENT, EST_NO_CHANNEL,
                                      device->battery_percent, 0U);
    } else if (!est_gate_is_sound(&device->gate)) {
        latch_fault(device, EST_FAULT_CODE_SELF_TEST);
        is_armed = est_refuse(refusal, EST_REFUSAL_REASON_FAULT_LATCHED);
    } else {
        change_state(device, EST_DEVICE_STATE_ARMED);
    }
    return is_armed;
}

static bool drive_below_running(struct est_device *device, const struct est_message *drive,
                                struct est_refusal *refusal)
{
    const uint8_t wanted = drive->payload[EST_DRIVE_AT_WANTED_STATE];
    const bool was_safe = device->state == EST_DEVICE_STATE_SAFE;
    uint8_t index;

    if (device->state == EST_DEVICE_STATE_FAULT) {
        return true;
    }
    if (wanted == EST_WANTED_STATE_SAFE) {
        change_state(device, EST_DEVICE_STATE_SAFE);
    } else if (device->state == EST_DEVICE_STATE_RUNNING) {
        change_state(device, EST_DEVICE_STATE_ARMED);
    } else {
        /* It is de-energised, or ARMED as wanted. */
    }
    for (index = 0U; index < drive->row_count; index++) {
        if (target_of(drive, index) != 0U) {
            return refuse_target(refusal, EST_REFUSAL_REASON_NOT_FROM_ZERO, index,
                                 target_of(drive, index));
        }
    }
    if (was_safe && (wanted == EST_WANTED_STATE_ARMED)) {
        return arm(device, drive, refusal);
    }
    return true;
}

static bool review_target(struct est_device *device, uint8_t index, uint32_t target_ua,
                          struct est_refusal *refusal)
{
    bool is_good;

    if ((target_ua != 0U) && (device->state == EST_DEVICE_STATE_ARMED)) {
        is_good = refuse_target(refusal, EST_REFUSAL_REASON_NOT_FROM_ZERO, index, target_ua);
    } else if ((target_ua != 0U) && device->channels[index].is_latched) {
        /* The amplitude limit is named first, where both apply. */
        is_good = est_gate_review_amplitude(&device->gate, index, target_ua, refusal);
        if (is_good) {
            is_good = refuse_target(refusal, EST_REFUSAL_REASON_LEAD_OFF_LATCHED, index, target_ua);
        }
    } else {
        is_good = est_gate_review_target(&device->gate, index, target_ua, refusal);
    }
    return is_good;
}

static bool drive_to_running(struct est_device *device, const struct est_message *drive,
                             struct est_refusal *refusal)
{
    uint8_t index;

    if (device->state == EST_DEVICE_STATE_SAFE) {
        return est_refuse(refusal, EST_REFUSAL_REASON_STEP_TOO_FAR);
    }
    if (device->state == EST_DEVICE_STATE_FAULT) {
        return est_refuse(refusal, EST_REFUSAL_REASON_FAULT_LATCHED);
    }
    if ((!review_digests(device, drive, refusal)) ||
        (!est_gate_review_count(&device->gate, drive->row_count, refusal))) {
        return false;
    }
    for (index = 0U; index < drive->row_count; index++) {
        if (!review_target(device, index, target_of(drive, index), refusal)) {
            return false;
        }
    }
    if (device->state == EST_DEVICE_STATE_ARMED) {
        change_state(device, EST_DEVICE_STATE_RUNNING);
    }
    for (index = 0U; index < drive->row_count; index++) {
        est_channel_set_target(&device->channels[index], target_of(drive, index));
    }
    return true;
}

/* Let the lease last from a tick that is `age_ms` old; it never gets shorter. */
static void renew_lease(struct est_device *device, uint32_t age_ms)
{
    const est_us expiry_us =
        device->tick_us + ((uint64_t)(EST_LIMIT_LEASE_MS_MAX - age_ms) * US_PER_MS);

    if ((!device->has_lease) || (expiry_us > device->lease_expiry_us)) {
        device->has_lease = true;
        device->lease_expiry_us = expiry_us;
    }
}

static void on_drive(struct est_device *device, const struct est_message *message)
{
    /* Stale or, modulo 2^32, from the future. */
    const uint32_t age_ms =
        device->tick_ms - est_get_u32(&message->payload[EST_DRIVE_AT_ECHOED_TICK_MS]);
    struct est_refusal refusal;
    bool is_accepted;

    if (age_ms > EST_LIMIT_LEASE_MS_MAX) {
        device->ignored_count++;
        return;
    }
    if (message->payload[EST_DRIVE_AT_WANTED_STATE] == EST_WANTED_STATE_RUNNING) {
        is_accepted = drive_to_running(device, message, &refusal);
    } else {
        is_accepted = drive_below_running(device, message, &refusal);
    }
    answer_with_status(device);
    if (is_accepted) {
        device->drive_sequence = message->sequence;
        renew_lease(device, age_ms);
    } else {
        est_reports_refuse(&device->reports, message, &refusal);
    }
}

static void on_stop(struct est_device *device)
{
    emit(device, EST_EVENT_CODE_STOP_RECEIVED, EST_NO_CHANNEL, 0);
    if (device->state != EST_DEVICE_STATE_FAULT) {
        change_state(device, EST_DEVICE_STATE_SAFE);
    }
    answer_with_status(device);
}

/* Run every check with outputs off; return the mask of those that failed. */
static uint16_t failed_checks(struct est_device *device)
{
    uint16_t failed = est_hardware_self_test(device->port);

    if (!est_gate_is_sound(&device->gate)) {
        failed |= EST_SELF_TEST_MEMORY;
    }
    return failed;
}

static bool is_cause_gone(struct est_device *device)
{
    bool is_gone = (!device->is_stop_pressed) && (device->battery_percent >= BATTERY_EMPTY_PERCENT);

    if ((device->fault == EST_FAULT_CODE_SELF_TEST) ||
        (device->fault == EST_FAULT_CODE_OUTPUT_STAGE)) {
        is_gone = is_gone && (failed_checks(device) == 0U);
    }
    return is_gone;
}

static bool acknowledge_fault(struct est_device *device, struct est_refusal *refusal)
{
    const uint8_t cleared = device->fault;

    if (device->state != EST_DEVICE_STATE_FAULT) {
        return est_refuse(refusal, EST_REFUSAL_REASON_STATE);
    }
    if (!is_cause_gone(device)) {
        return est_refuse(refusal, EST_REFUSAL_REASON_CAUSE_PRESENT);
    }
    device->fault = EST_FAULT_CODE_NONE;
    device->is_stop_latched = false;
    change_state(device, EST_DEVICE_STATE_SAFE);
    emit(device, EST_EVENT_CODE_FAULT_CLEARED, EST_NO_CHANNEL, (int32_t)cleared);
    return true;
}

static void rearm_channels(struct est_device *device, uint8_t mask)
{
    uint8_t index;

    for (index = 0U; index < device->settings->channel_count; index++) {
        const uint8_t bit = (uint8_t)(1U << index);
        if (((mask & bit) != 0U) && device->channels[index].is_latched) {
            est_channel_rearm(&device->channels[index]);
            emit(device, EST_EVENT_CODE_LEAD_OFF_CLEARED, index, 0);
        }
    }
}

static void on_acknowledge(struct est_device *device, const struct est_message *message)
{
    const uint16_t latch_count =
        est_get_u16(&message->payload[EST_ACKNOWLEDGE_FAULT_AT_LATCH_COUNT]);
    const uint8_t mask = message->payload[EST_ACKNOWLEDGE_FAULT_AT_CHANNELS];
    const uint8_t channel_count = device->settings->channel_count;
    struct est_refusal refusal;
    bool is_done = true;

    if (latch_count != device->latch_count) {
        is_done = est_refuse_figures(&refusal, EST_REFUSAL_REASON_NOT_THE_LATEST, EST_NO_CHANNEL,
                                     latch_count, device->latch_count);
    } else if ((mask >> channel_count) != 0U) {
        is_done = est_refuse_figures(&refusal, EST_REFUSAL_REASON_CHANNELS, EST_NO_CHANNEL, mask,
                                     channel_count);
    } else if (mask == 0U) {
        is_done = acknowledge_fault(device, &refusal);
    } else {
        rearm_channels(device, mask);
    }
    if (!is_done) {
        est_reports_refuse(&device->reports, message, &refusal);
    }
    answer_with_status(device);
}

static void on_self_test(struct est_device *device, const struct est_message *message)
{
    const uint16_t failed = failed_checks(device);
    const uint16_t passed = failed ^ EST_SELF_TEST_ALL;
    uint8_t *payload = est_reports_answer(&device->reports, EST_MESSAGE_SELF_TEST_REPORT, NULL);

    est_put_u16(&payload[EST_SELF_TEST_REPORT_AT_IN_REPLY_TO], message->sequence);
    est_put_u16(&payload[EST_SELF_TEST_REPORT_AT_PASSED], passed);
    est_put_u16(&payload[EST_SELF_TEST_REPORT_AT_FAILED], failed);
    if (failed != 0U) {
        latch_fault(device, EST_FAULT_CODE_SELF_TEST);
    }
}

static void act_on_message(struct est_device *device, const struct est_message *message)
{
    const uint8_t bit = (uint8_t)(1U << device->state);
    const bool is_allowed = (message->allowed_in & bit) != 0U;

    /* A Hello that comes while RUNNING is answered, not refused. */
    if ((!is_allowed) && (message->id != EST_MESSAGE_HELLO)) {
        struct est_refusal refusal;
        (void)est_refuse(&refusal, EST_REFUSAL_REASON_STATE);
        est_reports_refuse(&device->reports, message, &refusal);
        return;
    }
    switch (message->id) {
    case EST_MESSAGE_HELLO:
        on_hello(device, message);
        break;
    case EST_MESSAGE_GET_CAPABILITIES:
        est_put_u16(est_reports_answer(&device->reports, EST_MESSAGE_CAPABILITIES, NULL),
                    message->sequence);
        break;
    case EST_MESSAGE_SET_LIMITS:
        on_set_limits(device, message);
        break;
    case EST_MESSAGE_BEGIN_PROGRAM:
        est_program_begin(&device->gate.program, message);
        break;
    case EST_MESSAGE_PROGRAM_PHASES:
        est_program_add_phases(&device->gate.program, message);
        break;
    case EST_MESSAGE_PROGRAM_KEYFRAMES:
        est_program_add_keyframes(&device->gate.program, message);
        break;
    case EST_MESSAGE_COMMIT_PROGRAM:
        on_commit_program(device, message);
        break;
    case EST_MESSAGE_DRIVE:
        on_drive(device, message);
        break;
    case EST_MESSAGE_STOP:
        on_stop(device);
        break;
    case EST_MESSAGE_ACKNOWLEDGE_FAULT:
        on_acknowledge(device, message);
        break;
    case EST_MESSAGE_GET_EVENTS:
        est_reports_resend_events(
            &device->reports, est_get_u16(&message->payload[EST_GET_EVENTS_AT_FIRST_INDEX]));
        break;
    default: /* SelfTest: the codec lets through nothing else. */
        on_self_test(device, message);
        break;
    }
}

/* Bytes in. */

/* Count a damaged frame; too many within a second, while energised, are a fault. */
static void note_damaged(struct est_device *device)
{
    const uint8_t most = (uint8_t)EST_LIMIT_LINE_ERRORS_PER_S_MAX;
    const uint32_t now_us = (uint32_t)(device->now_us & UINT32_MAX);

    device->reports.damaged_count++;
    if (!is_energised(device)) {
        return;
    }
    /* After a second without damage the older ones count no more, so 32 bits tell the rest apart.
     */
    if ((device->now_us - device->newest_damaged_us) >= US_PER_S) {
        device->damaged_noted = 0U;
    }
    device->newest_damaged_us = device->now_us;
    device->damaged_at_us[device->damaged_next] = now_us;
    device->damaged_next = (uint8_t)((device->damaged_next + 1U) % most);
    if (device->damaged_noted < most) {
        device->damaged_noted++;
    }
    /* The place of the next one is that of the oldest. */
    if ((device->damaged_noted == most) &&
        ((now_us - device->damaged_at_us[device->damaged_next]) < US_PER_S)) {
        latch_fault(device, EST_FAULT_CODE_LINE_NOISE);
    }
}

static void take_frame(struct est_device *device)
{
    struct est_message message;
    uint8_t size = 0U;

    if ((!est_deframer_decode(&device->deframer, &size)) ||
        (est_decode_body(&device->deframer.bytes[1], size, &message) != EST_DECODED_MESSAGE)) {
        note_damaged(device);
    } else if (est_reports_accept(&device->reports, &message)) {
        act_on_message(device, &message);
    } else {
        /* Whole, but of another epoch or old. */
    }
    est_deframer_clear(&device->deframer);
}

void est_device_receive(struct est_device *device, const uint8_t *bytes, uint16_t size,
                        est_us now_us)
{
    uint16_t at;

    est_device_advance(device, now_us);
    for (at = 0U; at < size; at++) {
        const enum est_deframed deframed = est_deframer_take(&device->deframer, bytes[at]);
        if (deframed == EST_DEFRAMED_FRAME) {
            take_frame(device);
        } else if (deframed == EST_DEFRAMED_OVERLONG) {
            note_damaged(device);
        } else {
            /* More is to come. */
        }
    }
    settle(device, device->now_us);
}

/* Frames out. */

static void write_text(uint8_t *at, const char *text)
{
    uint8_t size = 0U;

    (void)memset(at, 0, TEXT_SIZE);
    while ((size < TEXT_SIZE) && (text[size] != '\0')) {
        at[size] = (uint8_t)text[size];
        size++;
    }
}

static uint8_t write_identity(const struct est_device *device, const struct est_answer *answer,
                              uint8_t *payload)
{
    (void)memcpy(payload, answer->payload, EST_IDENTITY_AT_PROTOCOL_VERSION);
    payload[EST_IDENTITY_AT_PROTOCOL_VERSION] = EST_PROTOCOL_VERSION;
    est_put_u32(&payload[EST_IDENTITY_AT_SCHEMA_HASH], EST_SCHEMA_HASH);
    est_put_u32(&payload[EST_IDENTITY_AT_FIRMWARE_VERSION], device->settings->firmware_version);
    est_put_u32(&payload[EST_IDENTITY_AT_TICK_MS],
                est_get_u32(&answer->payload[EST_IDENTITY_AT_SCHEMA_HASH]));
    payload[EST_IDENTITY_AT_STATE] = answer->payload[EST_IDENTITY_AT_PROTOCOL_VERSION];
    write_text(&payload[EST_IDENTITY_AT_MODEL], device->settings->model);
    write_text(&payload[EST_IDENTITY_AT_SERIAL_NUMBER], device->settings->serial_number);
    return EST_IDENTITY_SIZE;
}

static uint8_t write_capabilities(const struct est_settings *settings,
                                  const struct est_answer *answer, uint8_t *payload)
{
    const uint32_t residual_ms =
        EST_LIMIT_LEASE_MS_MAX + (EST_LIMIT_PULSE_DURATION_US_MAX / US_PER_MS);

    (void)memcpy(payload, answer->payload, EST_CAPABILITIES_AT_CHANNEL_COUNT);
    payload[EST_CAPABILITIES_AT_CHANNEL_COUNT] = settings->channel_count;
    payload[EST_CAPABILITIES_AT_PHASES_MAX] = EST_PHASES;
    payload[EST_CAPABILITIES_AT_KEYFRAMES_MAX] = EST_KEYFRAMES;
    est_put_u16(&payload[EST_CAPABILITIES_AT_FLAGS], settings->capability_flags);
    est_put_u32(&payload[EST_CAPABILITIES_AT_AMPLITUDE_MAX_UA], settings->amplitude_max_ua);
    est_put_u16(&payload[EST_CAPABILITIES_AT_AMPLITUDE_STEP_UA], settings->amplitude_step_ua);
    est_put_u32(&payload[EST_CAPABILITIES_AT_COMPLIANCE_MV], settings->compliance_mv);
    est_put_u16(&payload[EST_CAPABILITIES_AT_PHASE_MIN_US], settings->phase_min_us);
    est_put_u16(&payload[EST_CAPABILITIES_AT_PHASE_MAX_US], settings->phase_max_us);
    est_put_u32(&payload[EST_CAPABILITIES_AT_PULSE_PERIOD_MIN_US], settings->pulse_period_min_us);
    est_put_u16(&payload[EST_CAPABILITIES_AT_RESIDUAL_MS], (uint16_t)residual_ms);
    return EST_CAPABILITIES_SIZE;
}

static uint8_t input_flags(const struct est_device *device)
{
    uint8_t inputs = EST_INPUT_FLAG_NONE;

    if ((device->settings->capability_flags & EST_CAPABILITY_FLAG_HAS_PATIENT_STOP) != 0U) {
        inputs = EST_INPUT_FLAG_PATIENT_STOP_PRESENT;
        if (device->is_stop_pressed || device->is_stop_latched) {
            inputs |= EST_INPUT_FLAG_PATIENT_STOP_PRESSED;
        }
        if (device->is_stop_tested) {
            inputs |= EST_INPUT_FLAG_PATIENT_STOP_TESTED;
        }
    }
    return inputs;
}

static uint8_t write_status(struct est_device *device, uint8_t *payload)
{
    const uint8_t channel_count = device->settings->channel_count;
    const est_us since_run_us = device->now_us - device->run_us;
    const bool is_running = device->state == EST_DEVICE_STATE_RUNNING;
    uint8_t *row = &payload[EST_STATUS_AT_CHANNELS];
    uint8_t index;

    est_put_u32(&payload[EST_STATUS_AT_TICK_MS], device->tick_ms);
    payload[EST_STATUS_AT_STATE] = device->state;
    payload[EST_STATUS_AT_FAULT] = device->fault;
    est_put_u16(&payload[EST_STATUS_AT_LATCH_COUNT], device->latch_count);
    payload[EST_STATUS_AT_INPUTS] = input_flags(device);
    payload[EST_STATUS_AT_BATTERY_PERCENT] = device->battery_percent;
    est_put_u16(&payload[EST_STATUS_AT_DRIVE_SEQUENCE], device->drive_sequence);
    est_put_u32(&payload[EST_STATUS_AT_PROGRAM_DIGEST], device->gate.program.digest);
    est_put_u32(&payload[EST_STATUS_AT_LIMITS_DIGEST], device->gate.limits_digest);
    est_put_u16(&payload[EST_STATUS_AT_REFUSAL_COUNT], device->reports.refusal_count);
    est_put_u16(&payload[EST_STATUS_AT_DAMAGED_COUNT], device->reports.damaged_count);
    est_put_u16(&payload[EST_STATUS_AT_EVENT_COUNT], device->reports.event_count);
    est_put_u32(&payload[EST_STATUS_AT_RUNNING_MS], running_ms(device));
    payload[EST_STATUS_AT_CHANNELS_COUNT] = channel_count;
    for (index = 0U; index < channel_count; index++) {
        est_channel_report(&device->channels[index], is_running, since_run_us, row);
        row = &row[EST_CHANNEL_STATUS_SIZE];
    }
    return (uint8_t)(EST_STATUS_SIZE + (channel_count * EST_CHANNEL_STATUS_SIZE));
}

static uint8_t answer_size(uint8_t id)
{
    uint8_t size;

    switch (id) {
    case EST_MESSAGE_EVENT:
        size = EST_EVENT_SIZE;
        break;
    case EST_MESSAGE_REFUSED:
        size = EST_REFUSED_SIZE;
        break;
    case EST_MESSAGE_LIMITS_ACCEPTED:
        size = EST_LIMITS_ACCEPTED_SIZE;
        break;
    case EST_MESSAGE_PROGRAM_ACCEPTED:
        size = EST_PROGRAM_ACCEPTED_SIZE;
        break;
    default: /* SelfTestReport */
        size = EST_SELF_TEST_REPORT_SIZE;
        break;
    }
    return size;
}

uint8_t est_device_take_frame(struct est_device *device, uint8_t *frame)
{
    uint8_t *payload = &frame[1U + EST_HEADER_SIZE];
    struct est_answer answer;
    uint8_t size;

    if (est_reports_take(&device->reports, &answer)) {
        if (answer.id == EST_MESSAGE_IDENTITY) {
            size = write_identity(device, &answer, payload);
        } else if (answer.id == EST_MESSAGE_CAPABILITIES) {
            size = write_capabilities(device->settings, &answer, payload);
        } else {
            size = answer_size(answer.id);
            (void)memcpy(payload, answer.payload, size);
        }
        return est_reports_seal(&device->reports, frame, answer.id, answer.epoch, size);
    }
    if (device->reports.is_status_wanted) {
        device->reports.is_status_wanted = false;
        size = write_status(device, payload);
        return est_reports_seal(&device->reports, frame, EST_MESSAGE_STATUS, device->reports.epoch,
                                size);
    }
    return 0U;
}

/* The port's view. */

void est_device_init(struct est_device *device, const struct est_settings *settings, void *port,
                     uint8_t battery_percent, bool is_stop_pressed)
{
    uint8_t index;

    (void)memset(device, 0, sizeof *device);
    device->port = port;
    device->settings = settings;
    device->state = EST_DEVICE_STATE_SAFE;
    device->battery_percent = battery_percent;
    device->is_stop_pressed = is_stop_pressed;
    est_deframer_clear(&device->deframer);
    est_reports_init(&device->reports, settings);
    est_gate_init(&device->gate, settings);
    for (index = 0U; index < EST_CHANNELS; index++) {
        est_channel_init(&device->channels[index]);
    }
    est_hardware_enter_state(port, EST_DEVICE_STATE_SAFE);
    emit(device, EST_EVENT_CODE_BOOTED, EST_NO_CHANNEL, 0);
    if (is_stop_pressed) {
        latch_patient_stop(device);
    }
}

est_us est_device_next_deadline_us(const struct est_device *device)
{
    const est_us timer_us = next_timer_us(device);

    return (timer_us < device->reports.status_due_us) ? timer_us : device->reports.status_due_us;
}

est_us est_device_next_pulse_us(const struct est_device *device)
{
    const uint8_t index = next_channel(device);

    return ((device->state == EST_DEVICE_STATE_RUNNING) && (index != EST_NO_CHANNEL))
               ? device->channels[index].player.next_us
               : EST_NEVER;
}

void est_device_measured(struct est_device *device, uint8_t channel,
                         const struct est_measurement *measured, est_us now_us)
{
    struct est_channel *played = &device->channels[channel];

    est_device_advance(device, now_us);
    if (played->in_flight_count > 0U) {
        const enum est_finding finding = est_channel_judge(played, measured);
        if (device->state == EST_DEVICE_STATE_RUNNING) {
            act_on_finding(device, finding, channel);
        }
    }
}

void est_device_set_patient_stop(struct est_device *device, bool is_pressed, est_us now_us)
{
    est_device_advance(device, now_us);
    if ((is_pressed == device->is_stop_pressed) ||
        ((device->settings->capability_flags & EST_CAPABILITY_FLAG_HAS_PATIENT_STOP) == 0U)) {
        return;
    }
    device->is_stop_pressed = is_pressed;
    emit(device, EST_EVENT_CODE_PATIENT_STOP, EST_NO_CHANNEL, is_pressed ? 1 : 0);
    if (is_pressed) {
        latch_patient_stop(device);
    }
}

void est_device_set_battery(struct est_device *device, uint8_t percent, est_us now_us)
{
    est_device_advance(device, now_us);
    device->battery_percent = percent;
    if (percent < BATTERY_EMPTY_PERCENT) {
        latch_fault(device, EST_FAULT_CODE_SUPPLY);
    }
}

void est_device_report_defect(struct est_device *device, est_us now_us)
{
    est_device_advance(device, now_us);
    latch_fault(device, EST_FAULT_CODE_OUTPUT_STAGE);
}
