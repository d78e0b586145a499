/* What a port supplies. The core calls these functions and nothing else outside itself.
 *
 * Rules:
 * 1. `port` is the pointer given to `est_device_init`; the core never looks behind it.
 * 2. Time is microseconds since boot on the device's own clock, and is passed into the core; the
 *    core never asks for it.
 * 3. A pulse that has begun is always finished, whatever the core says next: cut short, it would
 *    leave charge behind.
 * 4. The hardware holds limits of its own (isolation, DC blocking, an independent limit of pulse
 *    length): nothing here replaces them.
 */

#ifndef EST_HARDWARE_H
#define EST_HARDWARE_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

/* Microseconds since boot. */
typedef uint64_t est_us;

#define EST_NEVER UINT64_MAX

/* One phase of a pulse as it shall flow; a gap has no current. */
struct est_phase {
    int32_t current_ua;
    uint16_t duration_us;
};

/* One pulse, whole and balanced: the sum of current x duration over its phases is 0. */
struct est_pulse {
    est_us onset_us;
    uint8_t channel; /* from 0 */
    uint8_t phase_count;
    uint16_t pulse_us; /* onset to the end of the last phase */
    uint32_t peak_ua;  /* largest |current| of its phases, never 0 */
    struct est_phase phases[EST_PHASES];
};

/* What was measured of one pulse. */
struct est_measurement {
    uint32_t peak_ua;  /* largest |current| */
    uint32_t load_ohm; /* voltage over current at the end of the first active phase */
    bool is_compliance_reached;
    bool is_delivered; /* any current flowed */
};

enum est_play {
    EST_PLAY_MEASURED, /* played, and `measured` is filled in */
    EST_PLAY_PENDING,  /* will be played; `est_device_measured` tells the rest, in order */
    EST_PLAY_MISSED    /* not played and never will be: its onset is past */
};

/* What one device is; constant from boot on. Texts end with NUL and have at most 16 characters. */
struct est_settings {
    const char *model;
    const char *serial_number;
    uint32_t firmware_version; /* major << 16 | minor << 8 | patch */
    uint32_t amplitude_max_ua;
    uint32_t compliance_mv;
    uint32_t pulse_period_min_us;
    uint32_t baud;
    uint16_t amplitude_step_ua;
    uint16_t capability_flags; /* EST_CAPABILITY_FLAG_* */
    uint16_t phase_min_us;
    uint16_t phase_max_us;
    uint8_t channel_count; /* at most EST_CHANNELS */
    bool is_switched; /* one current source, switched by the edges of pins: see switched.h */
};

/* Give a pulse to the output stage; never with an onset at or after the end of the lease. A stage
 * that lets EST_IN_FLIGHT pulses go unmeasured is taken for defective. */
enum est_play est_hardware_play(void *port, const struct est_pulse *pulse,
                                struct est_measurement *measured);

/* Follow the state: outputs are enabled in RUNNING alone. On leaving it no further pulse begins,
 * also none that was given already; the one in progress is finished. */
void est_hardware_enter_state(void *port, uint8_t state);

/* Test what can be tested with outputs off; return a bit mask of the checks that failed, of
 * EST_SELF_TEST_STAGE and EST_SELF_TEST_INPUTS. */
uint16_t est_hardware_self_test(void *port);

#define EST_SELF_TEST_MEMORY 1U
#define EST_SELF_TEST_STAGE 2U
#define EST_SELF_TEST_INPUTS 4U
#define EST_SELF_TEST_ALL 7U

#endif
