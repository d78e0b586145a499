/* What the device is doing, and what changes it without a message: time, pulses, faults.
 *
 * Rules:
 * 1. Output is possible in RUNNING alone; leaving it takes every channel to zero at once.
 * 2. Everything happens at its own scheduled time, in order of time, however late
 *    `est_state_settle` is called: no pulse begins at or after the end of the lease.
 * 3. FAULT is latched until acknowledged, its cause gone.
 */

#ifndef EST_STATE_H
#define EST_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "channel.h"
#include "device.h"

void est_state_emit(struct est_device *device, uint8_t code, uint8_t channel, int32_t detail);
void est_state_answer_with_status(struct est_device *device);

/* Tell whether the device is ARMED or RUNNING. */
bool est_state_is_energised(const struct est_device *device);

/* Return how long RUNNING has lasted, or lasted last. */
uint32_t est_state_running_ms(const struct est_device *device);

void est_state_change(struct est_device *device, uint8_t state);
void est_state_latch_fault(struct est_device *device, uint8_t fault);
void est_state_latch_patient_stop(struct est_device *device);
void est_state_act_on_finding(struct est_device *device, enum est_finding finding, uint8_t index);

/* Return the channel whose next step comes first, the first of those that come together. */
uint8_t est_state_next_channel(const struct est_device *device);

/* Return when time itself ends RUNNING or ARMED next. */
est_us est_state_next_timer_us(const struct est_device *device);

/* Let everything happen that is due up to `now_us`, which may be the present. */
void est_state_settle(struct est_device *device, est_us now_us);

#endif
