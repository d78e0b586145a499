#include "drive.h"

#include "state.h"

#define US_PER_MS UINT32_C(1000)
#define BATTERY_LOW_PERCENT 10U /* below it the device does not arm */

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

/* What changed in memory since it was accepted must not be played. */
static bool review_memory(struct est_device *device, struct est_refusal *refusal)
{
    bool is_sound = est_gate_is_sound(&device->gate);

    if (!is_sound) {
        est_state_latch_fault(device, EST_FAULT_CODE_SELF_TEST);
        is_sound = est_refuse(refusal, EST_REFUSAL_REASON_FAULT_LATCHED);
    }
    return is_sound;
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
    } else {
        is_armed = review_memory(device, refusal);
    }
    if (is_armed) {
        est_state_change(device, EST_DEVICE_STATE_ARMED);
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
        est_state_change(device, EST_DEVICE_STATE_SAFE);
    } else if (device->state == EST_DEVICE_STATE_RUNNING) {
        est_state_change(device, EST_DEVICE_STATE_ARMED);
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
    bool is_repeated = true;
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
        if (target_of(drive, index) != device->channels[index].target_ua) {
            is_repeated = false;
        }
        if (!review_target(device, index, target_of(drive, index), refusal)) {
            return false;
        }
    }
    /* Nothing had to be judged anew: there is time to look at what was judged. */
    if (is_repeated && (!review_memory(device, refusal))) {
        return false;
    }
    if (device->state == EST_DEVICE_STATE_ARMED) {
        est_state_change(device, EST_DEVICE_STATE_RUNNING);
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

void est_drive_obey(struct est_device *device, const struct est_message *message)
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
    est_state_answer_with_status(device);
    if (is_accepted) {
        device->drive_sequence = message->sequence;
        renew_lease(device, age_ms);
    } else {
        est_reports_refuse(&device->reports, message, &refusal);
    }
}
