/* The device: bytes in, frames out, pulses to the hardware, at the times given.
 *
 * Rules:
 * 1. Any bytes may come in at any time.
 * 2. A Drive is obeyed whole or not at all, except that a fresh wish below RUNNING always is.
 * 3. A Stop is obeyed in any state, epoch and order.
 * 4. Everything happens at its own scheduled time, in order of time, however late the port calls:
 *    no pulse begins at or after the end of the lease.
 * 5. Output is possible in RUNNING alone; FAULT is latched until acknowledged, its cause gone.
 *
 * A port calls these functions from one place (its main loop, never from an interrupt), with a time
 * that never goes back. It calls `est_device_advance` at the latest when
 * `est_device_next_deadline_us` or `est_device_next_pulse_us` (less EST_LEAD_US) comes, and then
 * takes the frames.
 */

#ifndef EST_DEVICE_H
#define EST_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "channel.h"
#include "codec.h"
#include "config.h"
#include "frame.h"
#include "gate.h"
#include "hardware.h"
#include "reports.h"

struct est_device {
    void *port;
    const struct est_settings *settings;
    est_us now_us;
    est_us tick_us; /* when the present tick began */
    est_us run_us;  /* when RUNNING began */
    est_us lease_expiry_us;
    est_us newest_damaged_us;
    uint32_t damaged_at_us[EST_LIMIT_LINE_ERRORS_PER_S_MAX]; /* modulo 2^32 */
    uint32_t tick_ms;
    uint32_t ran_ms;
    uint32_t ignored_count;
    uint16_t latch_count;
    uint16_t drive_sequence;
    uint8_t damaged_next;
    uint8_t damaged_noted;
    uint8_t state;
    uint8_t fault;
    uint8_t battery_percent;
    bool has_lease;
    bool is_stop_pressed;
    bool is_stop_latched;
    bool is_stop_tested;
    struct est_deframer deframer;
    struct est_reports reports;
    struct est_gate gate;
    struct est_channel channels[EST_CHANNELS];
};

/* Boot: SAFE, without an epoch, outputs off. `settings` must live as long as the device. The clock
 * begins at 0. */
void est_device_init(struct est_device *device, const struct est_settings *settings, void *port,
                     uint8_t battery_percent, bool is_stop_pressed);

/* Take bytes from the line; where they end a frame, everything due before it happens first. Bytes
 * that end none cost little, and no time passes with them. */
void est_device_receive(struct est_device *device, const uint8_t *bytes, uint16_t size,
                        est_us now_us);

/* Let everything happen that is due up to `now_us`. */
void est_device_advance(struct est_device *device, est_us now_us);

/* Write the next frame to be sent, of at most EST_FRAME_OUT_MAX bytes; return its size, 0 for none.
 * Take all of them whenever the line has room: a Status is built from the present. */
uint8_t est_device_take_frame(struct est_device *device, uint8_t *frame);

/* Return when a report or a timer is due next, and when the next pulse may begin; EST_NEVER for
 * none. */
est_us est_device_next_deadline_us(const struct est_device *device);
est_us est_device_next_pulse_us(const struct est_device *device);

/* Tell what was measured of a pulse that was EST_PLAY_PENDING, once it has ended. */
void est_device_measured(struct est_device *device, uint8_t channel,
                         const struct est_measurement *measured, est_us now_us);

/* Tell that the patient's own stop was pressed or released, where there is one. */
void est_device_set_patient_stop(struct est_device *device, bool is_pressed, est_us now_us);

/* Tell that the charge of the supply has changed; 255 is mains. */
void est_device_set_battery(struct est_device *device, uint8_t percent, est_us now_us);

/* Tell that the output stage found a defect of its own, or a pulse longer than commanded. */
void est_device_report_defect(struct est_device *device, est_us now_us);

#endif
