#include "clock.h"

#include <avr/interrupt.h>
#include <stdbool.h>
#include <util/atomic.h>

#include "board.h"

/* Half of the counter's range: an overflow still pending belongs to a small count. */
#define HALF_RANGE 0x8000U
#define CYCLES_BITS 16U
#define US_BITS 12U /* of one overflow */

static volatile uint32_t overflow_count;
static volatile uint16_t wrap_count; /* of overflow_count, each after 203 days */

ISR(TIMER1_OVF_vect)
{
    overflow_count++;
    if (overflow_count == 0U) {
        wrap_count++;
    }
}

void clock_init(void)
{
    TCCR1A = 0U;
    TCCR1B = (uint8_t)(1U << CS10);
    TIMSK1 = (uint8_t)(1U << TOIE1);
}

/* Read counter and overflows as of one moment; interrupts are off. */
static uint32_t read_overflows(uint16_t *count)
{
    uint32_t overflows = overflow_count;

    *count = TCNT1;
    if (((TIFR1 & (1U << TOV1)) != 0U) && (*count < HALF_RANGE)) {
        overflows++;
    }
    return overflows;
}

uint32_t clock_cycles(void)
{
    uint16_t count;
    const uint32_t overflows = read_overflows(&count);

    return (overflows << CYCLES_BITS) | count;
}

est_us clock_us(void)
{
    uint16_t count = 0U;
    uint16_t wraps = 0U;
    uint32_t overflows = 0U;

    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        overflows = read_overflows(&count);
        wraps = wrap_count;
        if (overflows < overflow_count) {
            wraps++;
        }
    }
    return ((est_us)wraps << (32U + US_BITS)) | ((est_us)overflows << US_BITS) |
           (count / CYCLES_PER_US);
}
