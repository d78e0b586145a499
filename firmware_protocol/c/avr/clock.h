/* Time since boot, from timer 1, which runs freely at one count a cycle. */

#ifndef EST_AVR_CLOCK_H
#define EST_AVR_CLOCK_H

#include <stdint.h>

#include "hardware.h"

void clock_init(void);

/* Return cycles since boot, modulo 2^32. Interrupts must be off. */
uint32_t clock_cycles(void);

/* Return microseconds since boot. */
est_us clock_us(void);

#endif
