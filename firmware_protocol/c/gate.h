/* The last gate: every limit that the device enforces on what it is asked to do.
 *
 * Rules:
 * 1. It refuses, it never clamps; a refusal names the limit, what was asked and what is allowed.
 * 2. Compiled limits stand even where a session limit would allow more.
 * 3. A target is judged by the currents that would really flow, in the worst setting and the worst
 *    sliding second.
 * 4. Integers only.
 */

#ifndef EST_GATE_H
#define EST_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec.h"
#include "config.h"
#include "figures.h"
#include "hardware.h"
#include "program.h"

struct est_channel_limits {
    uint32_t amplitude_ua;
    uint32_t phase_charge_pc;
    uint32_t rms_ua;
    uint32_t average_ua;
};

struct est_session {
    uint32_t running_ms;
    uint16_t setpoint_slew_ua_per_s;
    uint16_t rise_per_cycle_ua;
    uint16_t step_ua;
    uint8_t policy;
    struct est_channel_limits channels[EST_CHANNELS];
};

/* Why something is not done. */
struct est_refusal {
    uint32_t asked;
    uint32_t allowed;
    uint8_t reason;
    uint8_t limit;
    uint8_t channel;
};

struct est_gate {
    const struct est_settings *settings;
    uint32_t limits_digest;
    struct est_session session;
    struct est_program program;
    struct est_channel_figures figures[EST_CHANNELS];
    uint32_t figures_digest;
    uint32_t reviewed_ua[EST_CHANNELS]; /* the target that was found good last; 0 always is */
};

/* Begin with the compiled limits and no programme. */
void est_gate_init(struct est_gate *gate, const struct est_settings *settings);
void est_gate_reset(struct est_gate *gate);

/* Say why, and return false. */
bool est_refuse(struct est_refusal *refusal, uint8_t reason);
bool est_refuse_figures(struct est_refusal *refusal, uint8_t reason, uint8_t channel,
                        uint32_t asked, uint32_t allowed);

/* All of these return true where nothing stands against it, and else say why in `refusal`. */

bool est_gate_take_limits(struct est_gate *gate, const struct est_message *message,
                          struct est_refusal *refusal);
bool est_gate_take_program(struct est_gate *gate, uint32_t digest, struct est_refusal *refusal);
bool est_gate_review_digests(const struct est_gate *gate, uint32_t program_digest,
                             uint32_t limits_digest, struct est_refusal *refusal);
bool est_gate_review_count(const struct est_gate *gate, uint8_t target_count,
                           struct est_refusal *refusal);
bool est_gate_review_amplitude(const struct est_gate *gate, uint8_t channel, uint32_t target_ua,
                               struct est_refusal *refusal);

/* Judge one channel's target: amplitude, charge per phase, RMS and average. */
bool est_gate_review_target(struct est_gate *gate, uint8_t channel, uint32_t target_ua,
                            struct est_refusal *refusal);

/* Tell whether limits and programme in memory still are those that were accepted, and with them the
 * figures made of the programme. What `reviewed_ua` says is put right by the next repeated Drive. */
bool est_gate_is_sound(const struct est_gate *gate);

#endif
