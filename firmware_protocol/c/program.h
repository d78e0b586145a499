/* The pulse programme: collected from messages, checked, with its digest.
 *
 * Rules (as PROTOCOL.md, chapter 5, has them):
 * 1. Every pulse is balanced: over the active phases the sum of units x permille is exactly 0.
 * 2. What is loaded was accepted whole; whatever breaks the order or a rule leaves nothing loaded.
 * 3. The digest is computed from what is stored, so it also tells whether memory has changed.
 */

#ifndef EST_PROGRAM_H
#define EST_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "codec.h"
#include "config.h"

#define EST_FULL_PERMILLE 1000U

struct est_program_phase {
    uint16_t duration; /* units, or microseconds for a gap */
    int16_t share_permille;
};

struct est_keyframe {
    uint32_t at_ms;
    uint32_t pulse_period_us;
    uint16_t amplitude_permille;
    uint16_t unit_us;
};

struct est_channel_program {
    uint32_t pulse_period_us;
    uint32_t pulse_offset_us;
    uint32_t burst_period_us;
    uint32_t on_ms;
    uint32_t off_ms;
    uint32_t cycle_offset_ms;
    uint32_t keyframe_cycle_ms;
    uint16_t unit_us;
    uint16_t pulses_per_burst;
    uint16_t ramp_up_ms;
    uint16_t ramp_down_ms;
    uint8_t keyframe_count; /* as announced */
    uint8_t keyframes_held;
    uint8_t phase_count;
    struct est_program_phase phases[EST_PHASES];
    struct est_keyframe keyframes[EST_KEYFRAMES];
};

enum est_loading {
    EST_LOADING_NOTHING, /* no BeginProgram since the last commit */
    EST_LOADING_PARTS,
    EST_LOADING_BROKEN /* out of order, or not well formed */
};

/* What does not fit into memory, told at the commit. */
struct est_shortfall {
    uint8_t asked;
    uint8_t allowed; /* 0: everything fits */
    uint8_t channel;
};

struct est_program {
    uint32_t digest; /* 0 while nothing is loaded */
    enum est_loading loading;
    struct est_shortfall shortfall;
    uint8_t channel_count; /* as announced */
    uint8_t channels_held;
    uint8_t flags;
    bool is_loaded;
    struct est_channel_program channels[EST_CHANNELS];
};

void est_program_unload(struct est_program *program);

/* Take BeginProgram, ProgramPhases and ProgramKeyframes in the order in which they come. */
void est_program_begin(struct est_program *program, const struct est_message *message);
void est_program_add_phases(struct est_program *program, const struct est_message *message);
void est_program_add_keyframes(struct est_program *program, const struct est_message *message);

/* Tell whether what was collected, all of which fits, is whole and well formed. */
bool est_program_is_well_formed(const struct est_program *program);

/* Return the CRC-32 of the canonical bytes of what is stored. */
uint32_t est_program_digest(const struct est_program *program);

/* The settings of a channel: its keyframes, or the one setting that stands for none. */
uint8_t est_setting_count(const struct est_channel_program *channel);
struct est_keyframe est_setting(const struct est_channel_program *channel, uint8_t index);

/* Length of a phase, and of a whole pulse, at a unit length; the latter may exceed 32 bits before
 * the programme is accepted. */
uint32_t est_phase_us(const struct est_program_phase *phase, uint16_t unit_us);
uint64_t est_pulse_us(const struct est_channel_program *channel, uint16_t unit_us);

bool est_has_cycle(const struct est_channel_program *channel);

/* Tell whether every positive phase has a negative one of the same length and share. */
bool est_is_paired(const struct est_channel_program *channel);

/* Return the amplitude grid on which every phase is a whole number of device steps. */
uint32_t est_grid_ua(const struct est_channel_program *channel, uint16_t step_ua);

/* Return |share| in permille; no share is -32768 in a well-formed programme. */
uint16_t est_share_size(const struct est_program_phase *phase);

#endif
