#include "state.h"

#include <stddef.h>

#define US_PER_MS UINT32_C(1000)
#define HOUR_US UINT32_C(3600000000)

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
    const est_us since_us = now_us - device->tick_us;

    device->now_us = now_us;
    /* Within a tick there is nothing to divide, which takes long. */
    if (since_us >= US_PER_MS) {
        const uint32_t ticks = in_ms(since_us);
        device->tick_us += (uint64_t)ticks * US_PER_MS;
        device->tick_ms += ticks;
    }
}

void est_state_emit(struct est_device *device, uint8_t code, uint8_t channel, int32_t detail)
{
    est_reports_emit(&device->reports, device->tick_ms, code, channel, detail);
}

bool est_state_is_energised(const struct est_device *device)
{
    return (device->state == EST_DEVICE_STATE_ARMED) || (device->state == EST_DEVICE_STATE_RUNNING);
}

uint32_t est_state_running_ms(const struct est_device *device)
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

void est_state_change(struct est_device *device, uint8_t state)
{
    uint8_t index;

    if (state == device->state) {
        return;
    }
    device->ran_ms = est_state_running_ms(device);
    for (index = 0U; index < device->settings->channel_count; index++) {
        est_channel_zero(&device->channels[index]);
    }
    device->state = state;
    if (!est_state_is_energised(device)) {
        device->damaged_noted = 0U;
    }
    est_state_emit(device, EST_EVENT_CODE_STATE_CHANGED, EST_NO_CHANNEL, (int32_t)state);
    if (state == EST_DEVICE_STATE_RUNNING) {
        device->run_us = device->now_us;
        begin_running(device);
    }
    est_hardware_enter_state(device->port, state);
}

void est_state_latch_fault(struct est_device *device, uint8_t fault)
{
    est_state_change(device, EST_DEVICE_STATE_FAULT);
    device->fault = fault;
    device->latch_count++;
    est_state_emit(device, EST_EVENT_CODE_FAULT_LATCHED, EST_NO_CHANNEL, (int32_t)fault);
}

void est_state_latch_patient_stop(struct est_device *device)
{
    device->is_stop_latched = true;
    est_state_latch_fault(device, EST_FAULT_CODE_PATIENT_STOP);
}

/* Pulses. */

void est_state_act_on_finding(struct est_device *device, enum est_finding finding, uint8_t index)
{
    const bool stops_all =
        (device->gate.session.policy & EST_POLICY_FLAG_LEAD_OFF_STOPS_ALL) != 0U;
    const int32_t load_ohm = (int32_t)device->channels[index].load_ohm;
    uint8_t other;

    if (finding == EST_FINDING_CONTACT_GOOD) {
        est_state_emit(device, EST_EVENT_CODE_CONTACT_GOOD, index, load_ohm);
    } else if (finding == EST_FINDING_OVERCURRENT) {
        est_state_latch_fault(device, EST_FAULT_CODE_OVERCURRENT);
    } else if (finding == EST_FINDING_LEAD_OFF) {
        for (other = 0U; other < device->settings->channel_count; other++) {
            if (stops_all || (other == index)) {
                est_channel_latch_lead_off(&device->channels[other]);
            }
        }
        device->latch_count++;
        est_state_emit(device, EST_EVENT_CODE_LEAD_OFF, index, load_ohm);
    } else {
        /* Nothing was found. */
    }
}

uint8_t est_state_next_channel(const struct est_device *device)
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
        est_state_latch_fault(device, EST_FAULT_CODE_OUTPUT_STAGE);
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
            est_state_act_on_finding(device, finding, index);
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
        const uint8_t index = est_state_next_channel(device);
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

est_us est_state_next_timer_us(const struct est_device *device)
{
    est_us timer_us = EST_NEVER;

    if (device->state == EST_DEVICE_STATE_RUNNING) {
        timer_us = longest_run_us(device);
    }
    if (est_state_is_energised(device) && device->has_lease &&
        (device->lease_expiry_us < timer_us)) {
        timer_us = device->lease_expiry_us;
    }
    return timer_us;
}

static void end_by_time(struct est_device *device, est_us timer_us)
{
    if (device->state == EST_DEVICE_STATE_ARMED) {
        est_state_change(device, EST_DEVICE_STATE_SAFE);
    } else if (device->has_lease && (timer_us == device->lease_expiry_us)) {
        est_state_latch_fault(device, EST_FAULT_CODE_LEASE_EXPIRED);
    } else {
        est_state_latch_fault(device, EST_FAULT_CODE_RUNNING_TIME);
    }
}

void est_state_settle(struct est_device *device, est_us now_us)
{
    /* Below ARMED no pulse and no timer can be due. */
    bool is_settled = !est_state_is_energised(device);

    while (!is_settled) {
        const est_us timer_us = est_state_next_timer_us(device);
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
    if (now_us > device->now_us) {
        set_now(device, now_us);
    }
    est_reports_note_time(&device->reports, now_us, device->state);
}

void est_state_answer_with_status(struct est_device *device)
{
    est_reports_want_status(&device->reports, device->now_us, device->state);
}
