/* One output channel: setpoint, contact, and each pulse at its onset.
 *
 * Rules:
 * 1. A setpoint falls at once and rises only at onsets of plateau pulses that deliver something:
 *    never in silence, in a ramp, or at the first pulse of an on-phase.
 * 2. Until contact is proven the setpoint holds at the lowest amplitude that can judge it.
 * 3. A pulse is decided at its onset and always finished.
 */

#ifndef EST_CHANNEL_H
#define EST_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "gate.h"
#include "hardware.h"
#include "interpreter.h"

enum est_finding {
    EST_FINDING_NOTHING,
    EST_FINDING_CONTACT_GOOD,
    EST_FINDING_LEAD_OFF,
    EST_FINDING_OVERCURRENT
};

/* What the judgement of a pulse needs besides its measurement. */
struct est_played {
    uint32_t onset_us; /* modulo 2^32: contact is proven within seconds */
    uint32_t peak_ua;  /* commanded */
    uint8_t bad_max;   /* so many bad pulses in a row are a lead-off */
};

struct est_channel {
    uint32_t target_ua;
    uint32_t setpoint_ua;
    uint32_t pulse_count;
    uint32_t hold_ua;
    uint32_t credit; /* of a rise, in uA x us, below one uA */
    uint32_t risen_ua;
    uint32_t risen_on_phase;
    uint32_t last_peak_ua;
    uint32_t peak_since_ua;
    uint32_t load_ohm; /* of the pulse judged last */
    uint32_t first_judged_us; /* modulo 2^32 */
    struct est_played in_flight[EST_IN_FLIGHT]; /* given and not yet measured, the oldest first */
    uint32_t rise_ua;                           /* of the step taken last */
    struct est_player player;
    uint8_t in_flight_count;
    uint8_t contact;
    uint8_t good_count;
    uint8_t bad_streak;
    uint8_t over_streak;
    bool is_latched;
    bool is_playing;
    bool has_peak_since;
    bool has_judged;
    bool is_compliance_reached; /* in the pulse judged last */
    bool has_first_judged;
};

void est_channel_init(struct est_channel *channel);

/* Start the clock, with contact unknown and everything at zero; `program` may be NULL. */
void est_channel_begin_running(struct est_channel *channel,
                               const struct est_channel_program *program, uint32_t grid_ua,
                               uint16_t step_ua, est_us run_us);

/* Take target and setpoint to zero. */
void est_channel_zero(struct est_channel *channel);
void est_channel_set_target(struct est_channel *channel, uint32_t target_ua);
void est_channel_latch_lead_off(struct est_channel *channel);
void est_channel_rearm(struct est_channel *channel);

/* Tell whether another pulse can be in flight; where not, the stage no longer measures. */
bool est_channel_has_room(const struct est_channel *channel);

/* Take the step that is due: true where `pulse` shall be played now; it then is in flight. */
bool est_channel_step(struct est_channel *channel, const struct est_session *session,
                      struct est_pulse *pulse);

/* Take back the pulse of the step taken last, which the stage missed, and what it raised. */
void est_channel_miss(struct est_channel *channel);

/* Judge what was measured of the oldest pulse in flight. */
enum est_finding est_channel_judge(struct est_channel *channel,
                                   const struct est_measurement *measured);

/* Write the channel's row of a Status, and begin a new interval for its peak. */
void est_channel_report(struct est_channel *channel, bool is_running, est_us since_run_us,
                        uint8_t *row);

#endif
