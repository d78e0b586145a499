/* The figures that a target is judged by: what its pulses carry, and how many a second may hold.
 *
 * Rules (as PROTOCOL.md, chapter 6, has them):
 * 1. Every figure is one of the currents that would really flow, after keyframe, grid and step.
 * 2. A second is the worst sliding one: no second of what is played holds more.
 * 3. One pulse lasts at most 10000 us and carries at most 100000 uA, as the gate sees to first: its
 *    charge fits 31 bits, twice that 32. Sums over a second have 64.
 */

#ifndef EST_FIGURES_H
#define EST_FIGURES_H

#include <stdint.h>

#include "config.h"
#include "program.h"

uint32_t est_least(uint32_t one, uint32_t other);
uint64_t est_rounded_up(uint64_t dividend, uint64_t divisor);

/* Of all settings of a channel; of its active phases. */
struct est_extremes {
    uint32_t phase_min_us;
    uint32_t phase_max_us;
    uint32_t period_min_us;
    uint32_t period_max_us;
    uint16_t unit_min_us;
};

struct est_extremes est_find_extremes(const struct est_channel_program *channel);

/* What of the judgement of a target does not depend on it; made when a programme is accepted. */
struct est_channel_figures {
    uint32_t grid_ua;
    uint32_t pulses;   /* in the worst second of one setting; of the shortest period in bursts */
    uint32_t restarts; /* on-phases that may cut in, by the longest period */
};

void est_load_figures(struct est_channel_figures *figures,
                      const struct est_channel_program *channel, uint16_t step_ua);

/* The pulse of one setting at one amplitude; what several figures need of a phase is worked out
 * once, since a slow processor does this 20 times a second. */
struct est_flow {
    int32_t current_ua;
    int32_t charge_pc;
    int32_t slope_pc; /* charge allowed for its duration */
};

struct est_flows {
    struct est_flow phases[EST_PHASES];
    uint64_t squares;   /* current^2 x duration of them all */
    uint32_t charge_pc; /* |current| x duration of them all */
    uint8_t count;
};

void est_find_flows(const struct est_channel_program *channel, uint16_t unit_us,
                    uint32_t amplitude_ua, uint16_t step_ua, struct est_flows *flows);

/* Charge in one direction of a stretch, and what is allowed of it. */
struct est_stretch {
    int32_t charge_pc;
    int32_t allowed_pc;
};

/* Return charge and charge allowed of the stretch of the ring that is furthest above its limit;
 * 0 and 0 where none is. */
struct est_stretch est_worst_stretch(const struct est_flows *flows, uint32_t session_pc);

/* What the worst second holds: of one setting, or put together from several. */
struct est_second {
    uint64_t largest;     /* of a single pulse */
    uint64_t most_evenly; /* of ceil(second / period) pulses of one setting */
};

void est_add_setting(struct est_second *second, uint64_t quantity, uint32_t pulse_period_us);
uint64_t est_worst_second(const struct est_channel_program *channel,
                          const struct est_channel_figures *figures,
                          const struct est_second *second);

#endif
