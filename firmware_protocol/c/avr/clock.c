#include "clock.h"

#include <util/atomic.h>

#include "board.h"

#define COUNT_BITS 16U
#define ROUND_US_BITS 12U

static uint16_t count_seen;
static uint32_t rounds;
static uint16_t wraps; /* of `rounds`, each after 203 days */

void clock_init(void)
{
    TCCR1A = 0U;
    TCCR1B = (uint8_t)(1U << CS10);
}

void clock_tick(void)
{
    const uint16_t count = TCNT1;

    if (count < count_seen) {
        rounds++;
        if (rounds == 0U) {
            wraps++;
        }
    }
    count_seen = count;
}

uint32_t clock_cycles(void)
{
    clock_tick();
    return (rounds << COUNT_BITS) | count_seen;
}

est_us clock_us(void)
{
    est_us now_us = 0U;

    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        clock_tick();
        now_us = ((est_us)wraps << (32U + ROUND_US_BITS)) | ((est_us)rounds << ROUND_US_BITS) |
                 (count_seen / CYCLES_PER_US);
    }
    return now_us;
}
