/* A device on a bench, without electronics: its output stage and what lies between its leads.
 *
 * Rules:
 * 1. A pulse is delivered whole and balanced: where its voltage would exceed the compliance
 *    voltage, all phases are scaled alike, to the largest amplitude on the grid that fits.
 * 2. An open circuit takes no current.
 * 3. A stage set to deliver too much (a fault to be found by the core) stays balanced too.
 */

#ifndef EST_BENCH_H
#define EST_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "device.h"

#define BENCH_OHM_MAX UINT32_C(1000000)

struct bench_leads {
    uint32_t load_ohm; /* 0: open */
    uint32_t gain_permille;
    bool is_lead_off;
};

/* What reached the load: `pulse` with the currents that flowed. Channels count from 1 in a trace,
 * from 0 here. */
typedef void (*bench_sink)(void *context, const struct est_pulse *delivered);

struct bench {
    struct est_device device;
    struct est_settings settings;
    struct bench_leads leads[EST_CHANNELS];
    uint16_t failed_checks; /* what the self-test finds */
    bool measures_later;    /* as a stage does that plays in real time */
    bool misses_pulses;
    bool is_mute; /* and never tells what it measured */
    uint8_t unmeasured_count;
    struct est_measurement unmeasured[EST_IN_FLIGHT];
    uint8_t battery_percent;
    bench_sink sink;
    void *sink_context;
};

/* The device that `estim simulate` is: everything held, 100 mA in steps of 0.1 mA. */
struct est_settings bench_settings(uint8_t channel_count, const char *serial_number,
                                   bool has_patient_stop);

/* Connect a load to every channel and switch the device on. */
void bench_boot(struct bench *bench, uint32_t load_ohm, bool is_stop_pressed);

/* Start again as after a reset: loads, supply and the stop's position stay; the clock begins at 0. */
void bench_reboot(struct bench *bench);

/* Let time pass; a stage that measures later tells what it measured at each onset, before the next
 * step. */
void bench_advance(struct bench *bench, est_us now_us);
void bench_tell_measured(struct bench *bench, est_us now_us);

/* Let something happen, in the words of the simulator's fault scripts ("lead-off 1"); return false
 * where the words are not known or do not fit. */
bool bench_happen(struct bench *bench, const char *words, est_us now_us);

#endif
