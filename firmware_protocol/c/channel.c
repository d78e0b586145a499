#include "channel.h"

#include <string.h>

#define US_PER_S UINT32_C(1000000)
#define PERMILLE UINT32_C(1000)

static void forget_contact(struct est_channel *channel)
{
    channel->contact = EST_CONTACT_UNKNOWN;
    channel->good_count = 0U;
    channel->bad_streak = 0U;
    channel->over_streak = 0U;
    channel->has_first_judged = false;
}

void est_channel_init(struct est_channel *channel)
{
    (void)memset(channel, 0, sizeof *channel);
}

void est_channel_begin_running(struct est_channel *channel,
                               const struct est_channel_program *program, uint32_t grid_ua,
                               uint16_t step_ua, est_us run_us)
{
    const bool is_latched = channel->is_latched;

    est_channel_init(channel);
    channel->is_latched = is_latched;
    if (program != NULL) {
        channel->is_playing = true;
        channel->hold_ua = ((EST_LIMIT_CONTACT_UA_MAX + grid_ua - 1U) / grid_ua) * grid_ua;
        est_player_start(&channel->player, program, grid_ua, step_ua, run_us);
    }
}

void est_channel_zero(struct est_channel *channel)
{
    channel->target_ua = 0U;
    channel->setpoint_ua = 0U;
}

void est_channel_set_target(struct est_channel *channel, uint32_t target_ua)
{
    channel->target_ua = target_ua;
    if (channel->setpoint_ua > target_ua) {
        channel->setpoint_ua = target_ua;
    }
}

void est_channel_latch_lead_off(struct est_channel *channel)
{
    est_channel_zero(channel);
    channel->is_latched = true;
}

void est_channel_rearm(struct est_channel *channel)
{
    channel->is_latched = false;
    forget_contact(channel);
}

/* Tell whether this setting delivers anything at the setpoint, or at the hold. */
static bool is_felt(const struct est_channel *channel)
{
    const uint32_t highest_ua =
        (channel->setpoint_ua > channel->hold_ua) ? channel->setpoint_ua : channel->hold_ua;

    return est_setting_amplitude_ua(&channel->player.setting, highest_ua,
                                    channel->player.grid_ua) > 0U;
}

static uint32_t slewed_ua(struct est_channel *channel, const struct est_session *session)
{
    const uint32_t interval_us = channel->player.interval_us;
    uint32_t rise_ua;

    if (interval_us > EST_SLOW_PULSE_US) {
        const uint64_t slewed =
            ((uint64_t)session->setpoint_slew_ua_per_s * interval_us) / US_PER_S;
        rise_ua = (slewed < session->step_ua) ? (uint32_t)slewed : session->step_ua;
    } else {
        channel->credit += session->setpoint_slew_ua_per_s * interval_us;
        rise_ua = channel->credit / US_PER_S;
        channel->credit %= US_PER_S;
    }
    return rise_ua;
}

static void rise(struct est_channel *channel, const struct est_session *session)
{
    uint32_t rise_ua = slewed_ua(channel, session);
    uint32_t ceiling_ua = channel->target_ua;

    if (est_has_cycle(channel->player.program)) {
        if (channel->risen_on_phase != channel->player.on_phase_count) {
            channel->risen_on_phase = channel->player.on_phase_count;
            channel->risen_ua = 0U;
        }
        if (rise_ua > (session->rise_per_cycle_ua - channel->risen_ua)) {
            rise_ua = session->rise_per_cycle_ua - channel->risen_ua;
        }
    }
    if ((channel->contact != EST_CONTACT_GOOD) && (ceiling_ua > channel->hold_ua)) {
        ceiling_ua = (channel->hold_ua > channel->setpoint_ua) ? channel->hold_ua
                                                                : channel->setpoint_ua;
    }
    if (rise_ua > (ceiling_ua - channel->setpoint_ua)) {
        rise_ua = ceiling_ua - channel->setpoint_ua;
    }
    channel->rise_ua = rise_ua;
    channel->risen_ua += rise_ua;
    channel->setpoint_ua += rise_ua;
}

static uint8_t bad_pulses_max(uint32_t period_us)
{
    const uint32_t in_time = EST_LEAD_OFF_US / period_us;
    uint8_t most = (uint8_t)EST_LEAD_OFF_PULSES;

    if (in_time < EST_LEAD_OFF_PULSES) {
        most = (in_time < 1U) ? 1U : (uint8_t)in_time;
    }
    return most;
}

bool est_channel_has_room(const struct est_channel *channel)
{
    return channel->in_flight_count < EST_IN_FLIGHT;
}

bool est_channel_step(struct est_channel *channel, const struct est_session *session,
                      struct est_pulse *pulse)
{
    struct est_player *player = &channel->player;
    struct est_played *played = &channel->in_flight[channel->in_flight_count];
    uint32_t amplitude_ua;

    channel->rise_ua = 0U;
    if (!est_player_begin(player)) {
        return false;
    }
    if ((channel->setpoint_ua < channel->target_ua) && player->is_plateau && is_felt(channel)) {
        rise(channel, session);
    }
    amplitude_ua = est_player_amplitude_ua(player, channel->setpoint_ua);
    if (amplitude_ua == 0U) {
        return false;
    }
    est_player_pulse(player, amplitude_ua, pulse);
    played->onset_us = (uint32_t)(pulse->onset_us & UINT32_MAX);
    played->bad_max = bad_pulses_max(player->setting.pulse_period_us);
    played->peak_ua = pulse->peak_ua;
    channel->in_flight_count++;
    return true;
}

void est_channel_miss(struct est_channel *channel)
{
    /* Nothing was felt, so nothing may have risen. */
    channel->in_flight_count--;
    channel->setpoint_ua -= channel->rise_ua;
    channel->risen_ua -= channel->rise_ua;
}

static struct est_played take_oldest(struct est_channel *channel)
{
    const struct est_played oldest = channel->in_flight[0];
    uint8_t index;

    channel->in_flight_count--;
    for (index = 0U; index < channel->in_flight_count; index++) {
        channel->in_flight[index] = channel->in_flight[index + 1U];
    }
    return oldest;
}

static enum est_finding judge_contact(struct est_channel *channel,
                                      const struct est_played *played, bool is_good)
{
    enum est_finding finding = EST_FINDING_NOTHING;

    if (channel->is_latched) {
        /* Given before the lead-off was found: it is known already. */
    } else if (is_good) {
        channel->bad_streak = 0U;
        if (channel->good_count < EST_CONTACT_PULSES) {
            channel->good_count++;
        }
        if ((channel->contact != EST_CONTACT_GOOD) &&
            (channel->good_count >= EST_CONTACT_PULSES) &&
            ((played->onset_us - channel->first_judged_us) >= EST_CONTACT_US)) {
            channel->contact = EST_CONTACT_GOOD;
            finding = EST_FINDING_CONTACT_GOOD;
        }
    } else {
        channel->bad_streak++;
        if (channel->bad_streak >= played->bad_max) {
            channel->contact = EST_CONTACT_OFF;
            finding = EST_FINDING_LEAD_OFF;
        }
    }
    return finding;
}

enum est_finding est_channel_judge(struct est_channel *channel,
                                   const struct est_measurement *measured)
{
    const struct est_played played = take_oldest(channel);
    /* A pulse given ahead may be above a setpoint that has fallen since. */
    const uint32_t commanded_ua =
        (played.peak_ua > channel->setpoint_ua) ? played.peak_ua : channel->setpoint_ua;
    const uint64_t highest = ((uint64_t)commanded_ua * EST_LIMIT_OVERCURRENT_PERMILLE_MAX) +
                             ((uint64_t)EST_OVERCURRENT_MARGIN_UA * PERMILLE);

    if (measured->is_delivered) {
        channel->pulse_count++;
    }
    channel->last_peak_ua = measured->peak_ua;
    if ((!channel->has_peak_since) || (measured->peak_ua > channel->peak_since_ua)) {
        channel->peak_since_ua = measured->peak_ua;
        channel->has_peak_since = true;
    }
    if (((uint64_t)measured->peak_ua * PERMILLE) > highest) {
        channel->over_streak++;
        if (channel->over_streak >= EST_OVERCURRENT_PULSES) {
            return EST_FINDING_OVERCURRENT;
        }
    } else {
        channel->over_streak = 0U;
    }
    if (played.peak_ua < EST_LIMIT_CONTACT_UA_MAX) {
        return EST_FINDING_NOTHING;
    }
    channel->has_judged = true;
    channel->load_ohm = measured->load_ohm;
    channel->is_compliance_reached = measured->is_compliance_reached;
    if (!channel->has_first_judged) {
        channel->has_first_judged = true;
        channel->first_judged_us = played.onset_us;
    }
    return judge_contact(channel, &played,
                         (measured->load_ohm < EST_LIMIT_LEAD_OFF_OHM_MAX) &&
                             (!measured->is_compliance_reached));
}

void est_channel_report(struct est_channel *channel, bool is_running, est_us since_run_us,
                        uint8_t *row)
{
    const bool is_blind =
        (channel->setpoint_ua < EST_LIMIT_CONTACT_UA_MAX) && (channel->contact != EST_CONTACT_OFF);
    const bool is_judged = channel->has_judged && (!is_blind);
    uint32_t peak_ua = 0U;
    uint8_t flags = EST_CHANNEL_FLAG_NONE;

    if (channel->has_peak_since) {
        peak_ua = channel->peak_since_ua;
    } else if (is_running && (channel->setpoint_ua > 0U)) {
        peak_ua = channel->last_peak_ua;
    } else {
        /* Nothing flows. */
    }
    channel->has_peak_since = false;
    channel->peak_since_ua = 0U;
    if (channel->is_latched) {
        flags |= EST_CHANNEL_FLAG_LEAD_OFF_LATCHED;
    }
    if (is_judged && channel->is_compliance_reached) {
        flags |= EST_CHANNEL_FLAG_COMPLIANCE_REACHED;
    }
    if (is_judged && (channel->load_ohm < EST_LIMIT_SHORT_OHM_MIN)) {
        flags |= EST_CHANNEL_FLAG_SHORTED;
    }
    est_put_u32(&row[EST_CHANNEL_STATUS_AT_TARGET_UA], channel->target_ua);
    est_put_u32(&row[EST_CHANNEL_STATUS_AT_SETPOINT_UA], channel->setpoint_ua);
    est_put_u32(&row[EST_CHANNEL_STATUS_AT_PEAK_UA], peak_ua);
    est_put_u32(&row[EST_CHANNEL_STATUS_AT_LOAD_OHM], is_judged ? channel->load_ohm : 0U);
    est_put_u32(&row[EST_CHANNEL_STATUS_AT_PULSE_COUNT], channel->pulse_count);
    row[EST_CHANNEL_STATUS_AT_CONTACT] = is_blind ? EST_CONTACT_UNKNOWN : channel->contact;
    row[EST_CHANNEL_STATUS_AT_CYCLE_PHASE] =
        (is_running && channel->is_playing) ? est_cycle_phase(channel->player.program, since_run_us)
                                            : EST_CYCLE_PHASE_IDLE;
    row[EST_CHANNEL_STATUS_AT_FLAGS] = flags;
}
