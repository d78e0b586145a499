#include "switched.h"

#include "figures.h"

#define US_PER_MS UINT32_C(1000)
/* Longer silences are taken for this one: sums fit 32 bits. */
#define LONG_MS UINT32_C(2000000)
#define LONG_US (LONG_MS * US_PER_MS)

static uint16_t smallest_share(const struct est_channel_program *channel)
{
    uint16_t smallest = UINT16_MAX;
    uint8_t phase;

    for (phase = 0U; phase < channel->phase_count; phase++) {
        if (channel->phases[phase].share_permille != 0) {
            const uint16_t share = est_share_size(&channel->phases[phase]);
            smallest = (share < smallest) ? share : smallest;
        }
    }
    return smallest;
}

/* Return the shortest gap between two phases of one polarity. */
static uint32_t shortest_gap_us(const struct est_channel_program *channel)
{
    uint32_t shortest_us = UINT32_MAX;
    uint32_t gap_us = 0U;
    int16_t before_permille = 0;
    uint8_t phase;

    for (phase = 0U; phase < channel->phase_count; phase++) {
        const int16_t share_permille = channel->phases[phase].share_permille;
        if (share_permille == 0) {
            gap_us += channel->phases[phase].duration;
        } else {
            if ((gap_us > 0U) && (share_permille == before_permille)) {
                shortest_us = est_least(shortest_us, gap_us);
            }
            before_permille = share_permille;
            gap_us = 0U;
        }
    }
    return shortest_us;
}

bool est_switched_review(const struct est_settings *settings,
                         const struct est_channel_program *channel, uint8_t index,
                         struct est_refusal *refusal)
{
    const uint32_t silence_us = (est_least(channel->off_ms, LONG_MS) * US_PER_MS) +
                                est_least(channel->pulse_offset_us, LONG_US);
    const uint16_t share = smallest_share(channel);
    const uint32_t gap_us = shortest_gap_us(channel);
    const uint32_t rest_min_us = 2U * (uint32_t)settings->phase_min_us;
    uint32_t rest_us = UINT32_MAX;
    uint32_t restart_us = UINT32_MAX;
    uint32_t asked;
    uint32_t allowed;
    uint8_t number;

    for (number = 0U; number < est_setting_count(channel); number++) {
        const struct est_keyframe setting = est_setting(channel, number);
        /* In a well-formed programme it fits into its period, and so into 32 bits. */
        const uint32_t pulse_us = (uint32_t)est_pulse_us(channel, setting.unit_us);
        rest_us = est_least(rest_us, setting.pulse_period_us - pulse_us);
        restart_us = est_least(restart_us, pulse_us);
    }
    if (est_has_cycle(channel)) {
        rest_us = est_least(rest_us, silence_us);
        restart_us += silence_us;
    } else {
        restart_us = UINT32_MAX;
    }
    if (share < EST_FULL_PERMILLE) {
        asked = share;
        allowed = EST_FULL_PERMILLE;
    } else if (gap_us < settings->phase_min_us) {
        asked = gap_us;
        allowed = settings->phase_min_us;
    } else if (rest_us < rest_min_us) {
        asked = rest_us;
        allowed = rest_min_us;
    } else if (restart_us < settings->pulse_period_min_us) {
        asked = restart_us;
        allowed = settings->pulse_period_min_us;
    } else {
        return true;
    }
    return est_refuse_figures(refusal, EST_REFUSAL_REASON_CAPABILITY, index, asked, allowed);
}
