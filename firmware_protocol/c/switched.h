/* What an output stage cannot play that switches one current source by the edges of its pins.
 *
 * Rules (each may be refused with CAPABILITY, PROTOCOL.md, chapter 3):
 * 1. Every active phase has the magnitude of the pulse: shares are +-1000 permille.
 * 2. Between two phases of one polarity that do not touch there are at least `phase_min_us`: the
 *    next edge of a pin is set after the one before.
 * 3. Between two pulses there is twice that, also where one on-phase follows another: the amplitude
 *    and the next first edges are set then.
 * 4. The first pulse of an on-phase comes no sooner after the one before it than
 *    `pulse_period_min_us`.
 */

#ifndef EST_SWITCHED_H
#define EST_SWITCHED_H

#include <stdbool.h>

#include "gate.h"
#include "hardware.h"
#include "program.h"

/* Return true where such a stage can play a channel, and else say why in `refusal`. */
bool est_switched_review(const struct est_settings *settings,
                         const struct est_channel_program *channel, uint8_t index,
                         struct est_refusal *refusal);

#endif
