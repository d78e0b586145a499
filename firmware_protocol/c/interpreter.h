/* Step through the onsets of one channel since RUNNING began, and build the pulse of each.
 *
 * Rules:
 * 1. Amplitude at an onset: setpoint x ramp x keyframe, each rounded down, then down to the grid on
 *    which every phase is a whole number of device steps.
 * 2. A pulse that would outlast its on-phase is not begun.
 * 3. Every step is later than the one before.
 */

#ifndef EST_INTERPRETER_H
#define EST_INTERPRETER_H

#include <stdbool.h>
#include <stdint.h>

#include "hardware.h"
#include "program.h"

struct est_player {
    const struct est_channel_program *program;
    est_us next_us; /* when the next step is due */
    est_us on_start_us;
    est_us burst_start_us;
    est_us previous_us; /* the pulse before in the same on-phase */
    uint32_t grid_ua;
    uint32_t interval_us;    /* since that pulse, 0 for the first one, at most UINT32_MAX */
    uint32_t on_phase_count; /* since RUNNING began */
    est_us elapsed_us;       /* of the on-phase, at the onset taken last */
    uint16_t pulse_index;    /* within its burst */
    uint16_t step_ua;
    bool is_new_on_phase;
    bool has_previous;
    bool is_plateau;
    struct est_keyframe setting; /* that holds at the onset taken last */
};

/* Set the channel's clock to zero at `run_us`. */
void est_player_start(struct est_player *player, const struct est_channel_program *program,
                      uint32_t grid_ua, uint16_t step_ua, est_us run_us);

/* Take the onset at `next_us` and schedule the one after it; return false where no pulse begins. */
bool est_player_begin(struct est_player *player);

/* Return what a setpoint delivers at the onset taken last, the ramp included or not. */
uint32_t est_player_amplitude_ua(const struct est_player *player, uint32_t setpoint_ua);
uint32_t est_setting_amplitude_ua(const struct est_keyframe *setting, uint32_t ramped_ua,
                                  uint32_t grid_ua);

/* Return the signed current of a phase, a whole number of steps. */
int32_t est_phase_current_ua(const struct est_program_phase *phase, uint32_t amplitude_ua,
                             uint16_t step_ua);

/* Fill in the pulse of an amplitude that is not 0. */
void est_player_pulse(const struct est_player *player, uint32_t amplitude_ua,
                      struct est_pulse *pulse);

/* Tell where the channel stands in its cycle; without one, always on the plateau. */
uint8_t est_cycle_phase(const struct est_channel_program *program, est_us since_run_us);

#endif
