/* Time since boot, from timer 1, which runs freely at one count a cycle.
 *
 * It is read often enough to see every round of the counter: `clock_tick` is called once in a
 * millisecond, and a round takes four. So no overflow interrupt is needed, nor its flag trusted.
 */

#ifndef EST_AVR_CLOCK_H
#define EST_AVR_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "hardware.h"

void clock_init(void);

/* Tell whether time has passed since anybody looked. Interrupts must be off. */
bool clock_tick(void);

/* Return cycles since boot, modulo 2^16. */
uint16_t clock_count(void);

/* Return cycles since boot, modulo 2^32. Interrupts must be off. */
uint32_t clock_cycles(void);

/* Return microseconds since boot. */
est_us clock_us(void);

#endif
