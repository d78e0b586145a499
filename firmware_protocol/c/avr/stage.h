/* The output stage: pulses whose edges come from output compare alone.
 *
 * Rules:
 * 1. No instruction moves a polarity pin during a pulse: timer 1 toggles OC1A (positive) and OC1B
 *    (negative) at the cycle that was set beforehand.
 * 2. The amplitude is set, by the DAC, before the first edge, and stays until after the last.
 * 3. A pulse that cannot begin in time is left out whole, and is a defect; one that has begun is
 *    finished.
 * 4. The enable pin is high in RUNNING alone, and until the end of the pulse in progress.
 * 5. What goes wrong takes every output away at once, and is told to the device as a defect.
 */

#ifndef EST_AVR_STAGE_H
#define EST_AVR_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "hardware.h"

/* The first thing after a reset: the pins as they must be. */
void stage_init(void);

/* Return true once for each pulse that was measured, in their order. */
bool stage_take_measurement(struct est_measurement *measured);

/* Return true once after something went wrong with a pulse, and while the stage's limit is tripped. */
bool stage_take_defect(void);

/* Tell whether what is queued is being played. */
bool stage_is_alive(void);

#endif
