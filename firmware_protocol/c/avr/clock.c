#include "clock.h"

#include <util/atomic.h>

#include "board.h"

#define COUNT_BITS 16U
#define ROUND_US_BITS 12U
#define ROUND_BITS 32U

static uint16_t count_seen;
static uint32_t rounds;
static uint16_t wraps; /* of `rounds`, one in 203 days: 16 bits of them after the shift last 9 years */

void clock_init(void)
{
    TCCR1A = 0U;
    TCCR1B = (uint8_t)(1U << CS10);
}

bool clock_tick(void)
{
    const uint16_t count = TCNT1;
    const bool has_moved = count != count_seen;

    if (count < count_seen) {
        rounds++;
        if (rounds == 0U) {
            wraps++;
        }
    }
    count_seen = count;
    return has_moved;
}

uint16_t clock_count(void)
{
    uint16_t count = 0U;

    /* Interrupts use the register that holds its other half. */
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        count = TCNT1;
    }
    return count;
}

uint32_t clock_cycles(void)
{
    (void)clock_tick();
    return (rounds << COUNT_BITS) | count_seen;
}

est_us clock_us(void)
{
    uint16_t count = 0U;
    uint32_t low = 0U;
    uint16_t high = 0U;

    /* Long shifts take long: not with interrupts off. */
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        (void)clock_tick();
        count = count_seen;
        low = rounds;
        high = wraps;
    }
    high = (uint16_t)((uint16_t)(high << ROUND_US_BITS) |
                      (uint16_t)(low >> (ROUND_BITS - ROUND_US_BITS)));
    low = (low << ROUND_US_BITS) | (count / CYCLES_PER_US);
    return ((est_us)high << ROUND_BITS) | low;
}
