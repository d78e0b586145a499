#include "device.h"

#include <string.h>

#include "drive.h"
#include "state.h"

#define US_PER_S UINT32_C(1000000)
#define BATTERY_EMPTY_PERCENT 5U /* below it the supply can no longer be trusted with output */

/* Messages. */

static void adopt(struct est_device *device, const struct est_message *message)
{
    if (device->state == EST_DEVICE_STATE_ARMED) {
        est_state_change(device, EST_DEVICE_STATE_SAFE);
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
        est_state_emit(device, EST_EVENT_CODE_EPOCH_ADOPTED, EST_NO_CHANNEL, 0);
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

static void on_stop(struct est_device *device)
{
    est_state_emit(device, EST_EVENT_CODE_STOP_RECEIVED, EST_NO_CHANNEL, 0);
    if (device->state != EST_DEVICE_STATE_FAULT) {
        est_state_change(device, EST_DEVICE_STATE_SAFE);
    }
    est_state_answer_with_status(device);
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

/* Of whatever was latched: the newest fault is told, and may stand before others. */
static bool are_causes_gone(struct est_device *device)
{
    return (!device->is_stop_pressed) && (device->battery_percent >= BATTERY_EMPTY_PERCENT) &&
           (failed_checks(device) == 0U);
}

static bool acknowledge_fault(struct est_device *device, struct est_refusal *refusal)
{
    const uint8_t cleared = device->fault;

    if (device->state != EST_DEVICE_STATE_FAULT) {
        return est_refuse(refusal, EST_REFUSAL_REASON_STATE);
    }
    if (!are_causes_gone(device)) {
        return est_refuse(refusal, EST_REFUSAL_REASON_CAUSE_PRESENT);
    }
    device->fault = EST_FAULT_CODE_NONE;
    device->is_stop_latched = false;
    est_state_change(device, EST_DEVICE_STATE_SAFE);
    est_state_emit(device, EST_EVENT_CODE_FAULT_CLEARED, EST_NO_CHANNEL, (int32_t)cleared);
    return true;
}

static void rearm_channels(struct est_device *device, uint8_t mask)
{
    uint8_t index;

    for (index = 0U; index < device->settings->channel_count; index++) {
        const uint8_t bit = (uint8_t)(1U << index);
        if (((mask & bit) != 0U) && device->channels[index].is_latched) {
            est_channel_rearm(&device->channels[index]);
            est_state_emit(device, EST_EVENT_CODE_LEAD_OFF_CLEARED, index, 0);
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
    est_state_answer_with_status(device);
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
        est_state_latch_fault(device, EST_FAULT_CODE_SELF_TEST);
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
        est_drive_obey(device, message);
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
    if (!est_state_is_energised(device)) {
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
        est_state_latch_fault(device, EST_FAULT_CODE_LINE_NOISE);
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
    bool is_changed = false;
    uint16_t at;

    for (at = 0U; at < size; at++) {
        const enum est_deframed deframed = est_deframer_take(&device->deframer, bytes[at]);
        if (deframed != EST_DEFRAMED_NOTHING) {
            est_device_advance(device, now_us);
            is_changed = true;
        }
        if (deframed == EST_DEFRAMED_FRAME) {
            take_frame(device);
        } else if (deframed == EST_DEFRAMED_OVERLONG) {
            note_damaged(device);
        } else {
            /* More is to come. */
        }
    }
    if (is_changed) {
        est_state_settle(device, device->now_us);
    }
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
    est_state_emit(device, EST_EVENT_CODE_BOOTED, EST_NO_CHANNEL, 0);
    if (is_stop_pressed) {
        est_state_latch_patient_stop(device);
    }
}

est_us est_device_next_deadline_us(const struct est_device *device)
{
    const est_us timer_us = est_state_next_timer_us(device);

    return (timer_us < device->reports.status_due_us) ? timer_us : device->reports.status_due_us;
}

est_us est_device_next_pulse_us(const struct est_device *device)
{
    const uint8_t index = est_state_next_channel(device);

    return ((device->state == EST_DEVICE_STATE_RUNNING) && (index != EST_NO_CHANNEL))
               ? device->channels[index].player.next_us
               : EST_NEVER;
}

void est_device_advance(struct est_device *device, est_us now_us)
{
    if (now_us > device->now_us) {
        est_state_settle(device, now_us);
    }
}

void est_device_measured(struct est_device *device, uint8_t channel,
                         const struct est_measurement *measured, est_us now_us)
{
    struct est_channel *played = &device->channels[channel];

    est_device_advance(device, now_us);
    if (played->in_flight_count > 0U) {
        const enum est_finding finding = est_channel_judge(played, measured);
        if (device->state == EST_DEVICE_STATE_RUNNING) {
            est_state_act_on_finding(device, finding, channel);
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
    est_state_emit(device, EST_EVENT_CODE_PATIENT_STOP, EST_NO_CHANNEL, is_pressed ? 1 : 0);
    if (is_pressed) {
        est_state_latch_patient_stop(device);
    } else {
        device->is_stop_tested = true;
    }
}

void est_device_set_battery(struct est_device *device, uint8_t percent, est_us now_us)
{
    const bool was_good = device->battery_percent >= BATTERY_EMPTY_PERCENT;

    est_device_advance(device, now_us);
    device->battery_percent = percent;
    if (was_good && (percent < BATTERY_EMPTY_PERCENT)) {
        est_state_latch_fault(device, EST_FAULT_CODE_SUPPLY);
    }
}

void est_device_report_defect(struct est_device *device, est_us now_us)
{
    est_device_advance(device, now_us);
    est_state_latch_fault(device, EST_FAULT_CODE_OUTPUT_STAGE);
}
