#include "figures.h"

#include "interpreter.h"

#define US_PER_S UINT32_C(1000000)
#define US_PER_MS UINT32_C(1000)
#define MS_PER_S UINT32_C(1000)

uint32_t est_least(uint32_t one, uint32_t other)
{
    return (one < other) ? one : other;
}

static uint64_t greatest(uint64_t one, uint64_t other)
{
    return (one > other) ? one : other;
}

uint64_t est_rounded_up(uint64_t dividend, uint64_t divisor)
{
    return (dividend + divisor - 1U) / divisor;
}

struct est_extremes est_find_extremes(const struct est_channel_program *channel)
{
    struct est_extremes found = {
        .phase_min_us = UINT32_MAX,
        .period_min_us = UINT32_MAX,
        .unit_min_us = UINT16_MAX,
    };
    uint8_t index;
    uint8_t phase;

    for (index = 0U; index < est_setting_count(channel); index++) {
        const struct est_keyframe setting = est_setting(channel, index);
        found.period_min_us = est_least(found.period_min_us, setting.pulse_period_us);
        if (setting.pulse_period_us > found.period_max_us) {
            found.period_max_us = setting.pulse_period_us;
        }
        found.unit_min_us = (uint16_t)est_least(found.unit_min_us, setting.unit_us);
        for (phase = 0U; phase < channel->phase_count; phase++) {
            const uint32_t lasts_us = est_phase_us(&channel->phases[phase], setting.unit_us);
            if (channel->phases[phase].share_permille != 0) {
                found.phase_min_us = est_least(found.phase_min_us, lasts_us);
                if (lasts_us > found.phase_max_us) {
                    found.phase_max_us = lasts_us;
                }
            }
        }
    }
    return found;
}

/* How many pulses the worst second holds. */

/* Return how many on-phases in a second may cut in before pulses are `apart_us` apart. */
static uint32_t fresh_starts(const struct est_channel_program *channel, uint16_t unit_min_us,
                             uint32_t apart_us)
{
    const uint64_t cycle_ms = (uint64_t)channel->ramp_up_ms + channel->on_ms +
                              channel->ramp_down_ms + channel->off_ms;
    const uint64_t silence_us = est_pulse_us(channel, unit_min_us) +
                                ((uint64_t)channel->off_ms * US_PER_MS) +
                                channel->pulse_offset_us;

    if ((!est_has_cycle(channel)) || (silence_us >= apart_us)) {
        return 0U;
    }
    return (uint32_t)est_rounded_up(MS_PER_S, cycle_ms);
}

/* Return the pulses of a second before which `skipped` pulses of a slow burst lie. */
static uint32_t pulses_after(const struct est_channel_program *channel, uint32_t period_us,
                             uint32_t slowest_us, uint16_t skipped)
{
    const uint64_t window_us = US_PER_S + ((uint64_t)skipped * slowest_us);
    const uint32_t bursts = (uint32_t)(window_us / channel->burst_period_us);
    const uint64_t last = est_rounded_up(window_us % channel->burst_period_us, period_us);

    return (bursts * channel->pulses_per_burst) +
           est_least((uint32_t)last, channel->pulses_per_burst) - skipped;
}

/* Return the most onsets of bursts in any second, at least `period_us` apart in the bursts that it
 * holds and `slowest_us` in the one that it cuts in on.
 *
 * Each slow pulse more that is skipped adds at least one to the last burst until that is full, and
 * then none: the most lies where a last burst has just become full. The first that can be is the
 * one that the second ends in; where that is full already, the next one. Any later one comes after
 * more skipped pulses than it has. So bursts of 65535 pulses cost as little as short ones. */
static uint32_t pulses_in_bursts(const struct est_channel_program *channel, uint32_t period_us,
                                 uint32_t slowest_us)
{
    const uint16_t last = (uint16_t)(channel->pulses_per_burst - 1U);
    const uint32_t rest_us = US_PER_S % channel->burst_period_us;
    uint64_t full_us = (uint64_t)last * period_us;
    uint32_t skipped;

    if (rest_us > full_us) {
        full_us += channel->burst_period_us;
    }
    skipped = est_least((uint32_t)((full_us - rest_us) / slowest_us) + 1U, last);
    return (uint32_t)greatest(pulses_after(channel, period_us, slowest_us, 0U),
                              pulses_after(channel, period_us, slowest_us, (uint16_t)skipped));
}

/* Return the most onsets in any second, pulses being at least the shortest period apart. */
static uint32_t pulses_in_second(const struct est_channel_program *channel,
                                 const struct est_extremes *found)
{
    const uint32_t period_us = found->period_min_us;
    uint32_t pulses = (uint32_t)est_rounded_up(US_PER_S, period_us) +
                      fresh_starts(channel, found->unit_min_us, period_us);

    if (channel->pulses_per_burst > 0U) {
        const uint32_t in_bursts =
            pulses_in_bursts(channel, period_us, found->period_max_us) +
            (channel->pulses_per_burst *
             fresh_starts(channel, found->unit_min_us, channel->burst_period_us));
        pulses = est_least(pulses, in_bursts);
    }
    return pulses;
}

void est_load_figures(struct est_channel_figures *figures,
                      const struct est_channel_program *channel, uint16_t step_ua)
{
    const struct est_extremes found = est_find_extremes(channel);

    figures->grid_ua = est_grid_ua(channel, step_ua);
    figures->pulses = pulses_in_second(channel, &found);
    figures->restarts = fresh_starts(channel, found.unit_min_us, found.period_max_us);
}

/* What one pulse carries. */

void est_find_flows(const struct est_channel_program *channel, uint16_t unit_us,
                    uint32_t amplitude_ua, uint16_t step_ua, struct est_flows *flows)
{
    int32_t current_ua = 0;
    int16_t former_permille = 0;
    uint8_t phase;

    flows->count = channel->phase_count;
    flows->charge_pc = 0U;
    flows->squares = 0U;
    for (phase = 0U; phase < channel->phase_count; phase++) {
        const struct est_program_phase *each = &channel->phases[phase];
        const int16_t share_permille = channel->phases[phase].share_permille;
        const int32_t lasts_us = (int32_t)est_phase_us(each, unit_us);
        struct est_flow *flow = &flows->phases[phase];
        int64_t square;
        if (share_permille == -former_permille) {
            current_ua = -current_ua;
        } else if (share_permille != former_permille) {
            current_ua = est_phase_current_ua(each, amplitude_ua, step_ua);
        } else {
            /* As in the phase before. */
        }
        former_permille = share_permille;
        flow->current_ua = current_ua;
        flow->charge_pc = current_ua * lasts_us;
        flow->slope_pc = (int32_t)EST_PHASE_CHARGE_SLOPE_PC_PER_US * lasts_us;
        flows->charge_pc += (uint32_t)((flow->charge_pc < 0) ? -flow->charge_pc : flow->charge_pc);
        square = (int64_t)flow->charge_pc * current_ua;
        flows->squares += (uint64_t)square;
    }
}

static void keep_worse(struct est_stretch *worst, int32_t charge_pc, int32_t allowed_pc)
{
    if ((charge_pc - allowed_pc) > (worst->charge_pc - worst->allowed_pc)) {
        worst->charge_pc = charge_pc;
        worst->allowed_pc = allowed_pc;
    }
}

struct est_stretch est_worst_stretch(const struct est_flows *flows, uint32_t session_pc)
{
    const int32_t slope_ua = (int32_t)EST_PHASE_CHARGE_SLOPE_PC_PER_US;
    struct est_stretch worst = {0, 0};
    uint8_t first;

    for (first = 0U; first < flows->count; first++) {
        /* Of each direction, its weak phases left out. */
        struct est_stretch forward = {0, (int32_t)EST_PHASE_CHARGE_BASE_PC};
        struct est_stretch backward = {0, (int32_t)EST_PHASE_CHARGE_BASE_PC};
        int32_t net_pc = 0;
        uint8_t at = first;
        do {
            const struct est_flow *flow = &flows->phases[at];
            net_pc += flow->charge_pc;
            if (flow->current_ua > slope_ua) {
                forward.charge_pc += flow->charge_pc;
                forward.allowed_pc += flow->slope_pc;
                backward.charge_pc -= flow->charge_pc;
            } else if (flow->current_ua < -slope_ua) {
                backward.charge_pc -= flow->charge_pc;
                backward.allowed_pc += flow->slope_pc;
                forward.charge_pc += flow->charge_pc;
            } else if (flow->current_ua > 0) {
                backward.charge_pc -= flow->charge_pc;
            } else {
                forward.charge_pc += flow->charge_pc;
            }
            if (net_pc > 0) {
                keep_worse(&worst, net_pc, (int32_t)session_pc);
                keep_worse(&worst, forward.charge_pc, forward.allowed_pc);
            } else {
                keep_worse(&worst, -net_pc, (int32_t)session_pc);
                keep_worse(&worst, backward.charge_pc, backward.allowed_pc);
            }
            at++;
            at = (at < flows->count) ? at : 0U;
        } while (at != first);
    }
    return worst;
}

/* What the worst second carries. */

void est_add_setting(struct est_second *second, uint64_t quantity, uint32_t pulse_period_us)
{
    const uint32_t pulses = ((US_PER_S - 1U) / pulse_period_us) + 1U; /* rounded up */

    second->largest = greatest(second->largest, quantity);
    second->most_evenly = greatest(second->most_evenly, pulses * quantity);
}

uint64_t est_worst_second(const struct est_channel_program *channel,
                          const struct est_channel_figures *figures,
                          const struct est_second *second)
{
    uint64_t most;

    if (est_setting_count(channel) == 1U) {
        most = figures->pulses * second->largest;
    } else if (channel->pulses_per_burst > 0U) {
        /* A second that spans two keyframes may hold one pulse more. */
        most = ((uint64_t)figures->pulses + 1U) * second->largest;
    } else {
        most = (((uint64_t)figures->restarts + 1U) * second->largest) + second->most_evenly;
    }
    return most;
}
