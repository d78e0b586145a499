#include "device.h"

#include <string.h>

#include "state.h"

#define US_PER_MS UINT32_C(1000)
#define TEXT_SIZE 16U

/* Each frame as it goes out, its figures those of the moment in which it is taken. */

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
    est_put_u32(&payload[EST_STATUS_AT_RUNNING_MS], est_state_running_ms(device));
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
