#include "gate.h"

#include "interpreter.h"
#include "switched.h"

#define US_PER_S UINT32_C(1000000)

/* Refusals: every review returns true where it finds nothing, and else says what in `refusal`. */

bool est_refuse(struct est_refusal *refusal, uint8_t reason)
{
    return est_refuse_figures(refusal, reason, EST_NO_CHANNEL, 0U, 0U);
}

bool est_refuse_figures(struct est_refusal *refusal, uint8_t reason, uint8_t channel,
                        uint32_t asked, uint32_t allowed)
{
    refusal->reason = reason;
    refusal->limit = 0U;
    refusal->channel = channel;
    refusal->asked = asked;
    refusal->allowed = allowed;
    return false;
}

static bool refuse_limit(struct est_refusal *refusal, uint8_t limit, uint8_t channel,
                         uint32_t asked, uint32_t allowed)
{
    (void)est_refuse_figures(refusal, EST_REFUSAL_REASON_LIMIT, channel, asked, allowed);
    refusal->limit = limit;
    return false;
}

/* What is asked of one limit, and the highest that is allowed. */
struct asked {
    uint32_t asked;
    uint32_t lowest;
    uint32_t highest;
    uint8_t limit;
};

static bool review_range(const struct asked *range, uint8_t channel, struct est_refusal *refusal)
{
    bool is_within = true;

    if (range->asked > range->highest) {
        is_within = refuse_limit(refusal, range->limit, channel, range->asked, range->highest);
    } else if (range->asked < range->lowest) {
        is_within = refuse_limit(refusal, range->limit, channel, range->asked, range->lowest);
    } else {
        /* Within. */
    }
    return is_within;
}

static bool review_ranges(const struct asked *ranges, uint8_t count, uint8_t channel,
                          struct est_refusal *refusal)
{
    uint8_t index;

    for (index = 0U; index < count; index++) {
        if (!review_range(&ranges[index], channel, refusal)) {
            return false;
        }
    }
    return true;
}

/* Session limits. */

static uint32_t amplitude_max_ua(const struct est_gate *gate)
{
    return est_least(EST_LIMIT_AMPLITUDE_UA_MAX, gate->settings->amplitude_max_ua);
}

static uint32_t session_digest(const struct est_gate *gate)
{
    const struct est_session *session = &gate->session;
    uint8_t payload[EST_CHANNEL_LIMITS_SIZE];
    uint32_t digest;
    uint8_t index;

    est_put_u16(&payload[EST_SET_LIMITS_AT_SETPOINT_SLEW_UA_PER_S],
                session->setpoint_slew_ua_per_s);
    est_put_u16(&payload[EST_SET_LIMITS_AT_RISE_PER_CYCLE_UA], session->rise_per_cycle_ua);
    est_put_u16(&payload[EST_SET_LIMITS_AT_STEP_UA], session->step_ua);
    est_put_u32(&payload[EST_SET_LIMITS_AT_RUNNING_MS], session->running_ms);
    payload[EST_SET_LIMITS_AT_POLICY] = session->policy;
    payload[EST_SET_LIMITS_AT_CHANNELS_COUNT] = gate->settings->channel_count;
    digest = est_crc32(0U, payload, EST_SET_LIMITS_SIZE);
    for (index = 0U; index < gate->settings->channel_count; index++) {
        const struct est_channel_limits *limits = &session->channels[index];
        est_put_u32(&payload[EST_CHANNEL_LIMITS_AT_AMPLITUDE_UA], limits->amplitude_ua);
        est_put_u32(&payload[EST_CHANNEL_LIMITS_AT_PHASE_CHARGE_PC], limits->phase_charge_pc);
        est_put_u32(&payload[EST_CHANNEL_LIMITS_AT_RMS_UA], limits->rms_ua);
        est_put_u32(&payload[EST_CHANNEL_LIMITS_AT_AVERAGE_UA], limits->average_ua);
        digest = est_crc32(digest, payload, EST_CHANNEL_LIMITS_SIZE);
    }
    return digest;
}

static uint32_t figures_digest(const struct est_gate *gate)
{
    return est_crc32(0U, (const uint8_t *)gate->figures, (uint16_t)sizeof gate->figures);
}

static void put_in_force(struct est_gate *gate, const struct est_session *session)
{
    uint8_t index;

    gate->session = *session;
    gate->limits_digest = session_digest(gate);
    for (index = 0U; index < EST_CHANNELS; index++) {
        gate->reviewed_ua[index] = 0U;
    }
}

void est_gate_init(struct est_gate *gate, const struct est_settings *settings)
{
    gate->settings = settings;
    est_gate_reset(gate);
}

void est_gate_reset(struct est_gate *gate)
{
    struct est_session compiled = {
        .setpoint_slew_ua_per_s = (uint16_t)EST_LIMIT_SETPOINT_SLEW_UA_PER_S_MAX,
        .rise_per_cycle_ua = (uint16_t)EST_LIMIT_RISE_PER_CYCLE_UA_MAX,
        .step_ua = (uint16_t)EST_LIMIT_STEP_UA_MAX,
        .running_ms = EST_LIMIT_RUNNING_MS_MAX,
        .policy = EST_POLICY_FLAG_NONE,
    };
    uint8_t index;

    for (index = 0U; index < EST_CHANNELS; index++) {
        compiled.channels[index].amplitude_ua = amplitude_max_ua(gate);
        compiled.channels[index].phase_charge_pc = EST_LIMIT_PHASE_CHARGE_PC_MAX;
        compiled.channels[index].rms_ua = EST_LIMIT_RMS_UA_MAX;
        compiled.channels[index].average_ua = EST_LIMIT_AVERAGE_UA_MAX;
    }
    put_in_force(gate, &compiled);
    est_program_unload(&gate->program);
}

static bool review_session(const struct est_session *asked, struct est_refusal *refusal)
{
    const struct asked ranges[] = {
        {asked->setpoint_slew_ua_per_s, EST_LIMIT_SETPOINT_SLEW_UA_PER_S_MIN,
         EST_LIMIT_SETPOINT_SLEW_UA_PER_S_MAX, EST_LIMIT_SETPOINT_SLEW_UA_PER_S_ID},
        {asked->rise_per_cycle_ua, EST_LIMIT_RISE_PER_CYCLE_UA_MIN,
         EST_LIMIT_RISE_PER_CYCLE_UA_MAX, EST_LIMIT_RISE_PER_CYCLE_UA_ID},
        {asked->step_ua, EST_LIMIT_STEP_UA_MIN, EST_LIMIT_STEP_UA_MAX, EST_LIMIT_STEP_UA_ID},
        {asked->running_ms, EST_LIMIT_RUNNING_MS_MIN, EST_LIMIT_RUNNING_MS_MAX,
         EST_LIMIT_RUNNING_MS_ID},
    };

    return review_ranges(ranges, (uint8_t)(sizeof(ranges) / sizeof(ranges[0])), EST_NO_CHANNEL,
                         refusal);
}

static bool review_channel_limits(const struct est_gate *gate,
                                  const struct est_channel_limits *asked, uint8_t channel,
                                  struct est_refusal *refusal)
{
    const struct asked ranges[] = {
        {asked->amplitude_ua, 0U, amplitude_max_ua(gate), EST_LIMIT_AMPLITUDE_UA_ID},
        {asked->phase_charge_pc, 0U, EST_LIMIT_PHASE_CHARGE_PC_MAX, EST_LIMIT_PHASE_CHARGE_PC_ID},
        {asked->rms_ua, 0U, EST_LIMIT_RMS_UA_MAX, EST_LIMIT_RMS_UA_ID},
        {asked->average_ua, 0U, EST_LIMIT_AVERAGE_UA_MAX, EST_LIMIT_AVERAGE_UA_ID},
    };

    return review_ranges(ranges, (uint8_t)(sizeof(ranges) / sizeof(ranges[0])), channel, refusal);
}

bool est_gate_take_limits(struct est_gate *gate, const struct est_message *message,
                          struct est_refusal *refusal)
{
    const uint8_t *payload = message->payload;
    const uint8_t *row = &payload[EST_SET_LIMITS_AT_CHANNELS];
    struct est_session asked = {
        .setpoint_slew_ua_per_s = est_get_u16(&payload[EST_SET_LIMITS_AT_SETPOINT_SLEW_UA_PER_S]),
        .rise_per_cycle_ua = est_get_u16(&payload[EST_SET_LIMITS_AT_RISE_PER_CYCLE_UA]),
        .step_ua = est_get_u16(&payload[EST_SET_LIMITS_AT_STEP_UA]),
        .running_ms = est_get_u32(&payload[EST_SET_LIMITS_AT_RUNNING_MS]),
        .policy = payload[EST_SET_LIMITS_AT_POLICY],
    };
    uint8_t index;

    if (message->row_count != gate->settings->channel_count) {
        return est_refuse_figures(refusal, EST_REFUSAL_REASON_CHANNELS, EST_NO_CHANNEL,
                                  message->row_count, gate->settings->channel_count);
    }
    if (!review_session(&asked, refusal)) {
        return false;
    }
    for (index = 0U; index < message->row_count; index++) {
        struct est_channel_limits *limits = &asked.channels[index];
        limits->amplitude_ua = est_get_u32(&row[EST_CHANNEL_LIMITS_AT_AMPLITUDE_UA]);
        limits->phase_charge_pc = est_get_u32(&row[EST_CHANNEL_LIMITS_AT_PHASE_CHARGE_PC]);
        limits->rms_ua = est_get_u32(&row[EST_CHANNEL_LIMITS_AT_RMS_UA]);
        limits->average_ua = est_get_u32(&row[EST_CHANNEL_LIMITS_AT_AVERAGE_UA]);
        if (!review_channel_limits(gate, limits, index, refusal)) {
            return false;
        }
        row = &row[EST_CHANNEL_LIMITS_SIZE];
    }
    put_in_force(gate, &asked);
    return true;
}

/* Programme: capabilities and durations. */

static uint16_t needed_flags(const struct est_channel_program *channel)
{
    uint16_t needed = EST_CAPABILITY_FLAG_NONE;

    if (channel->pulses_per_burst > 0U) {
        needed = EST_CAPABILITY_FLAG_HOLDS_BURST;
    }
    if (est_has_cycle(channel)) {
        needed |= EST_CAPABILITY_FLAG_HOLDS_CYCLE;
    }
    if (channel->keyframe_count > 0U) {
        needed |= EST_CAPABILITY_FLAG_HOLDS_KEYFRAMES;
    }
    if (!est_is_paired(channel)) {
        needed |= EST_CAPABILITY_FLAG_UNEQUAL_PHASES;
    }
    return needed;
}

static bool review_capability(const struct est_gate *gate, uint8_t index,
                              struct est_refusal *refusal)
{
    const struct est_settings *settings = gate->settings;
    const struct est_channel_program *channel = &gate->program.channels[index];
    const uint16_t needed = needed_flags(channel);
    const struct est_extremes found = est_find_extremes(channel);
    uint32_t asked;
    uint32_t allowed;

    if ((needed & settings->capability_flags) != needed) {
        asked = needed;
        allowed = settings->capability_flags;
    } else if (found.phase_min_us < settings->phase_min_us) {
        asked = found.phase_min_us;
        allowed = settings->phase_min_us;
    } else if (found.phase_max_us > settings->phase_max_us) {
        asked = found.phase_max_us;
        allowed = settings->phase_max_us;
    } else if (found.period_min_us < settings->pulse_period_min_us) {
        asked = found.period_min_us;
        allowed = settings->pulse_period_min_us;
    } else {
        return (!settings->is_switched) || est_switched_review(settings, channel, index, refusal);
    }
    return est_refuse_figures(refusal, EST_REFUSAL_REASON_CAPABILITY, index, asked, allowed);
}

static bool review_phase_us(uint32_t lasts_us, uint8_t index, struct est_refusal *refusal)
{
    const struct asked range = {lasts_us, EST_LIMIT_PHASE_DURATION_US_MIN,
                                EST_LIMIT_PHASE_DURATION_US_MAX, EST_LIMIT_PHASE_DURATION_US_ID};

    return review_range(&range, index, refusal);
}

static bool review_active_phases(const struct est_channel_program *channel, uint16_t unit_us,
                                 uint8_t index, struct est_refusal *refusal)
{
    uint8_t phase;

    for (phase = 0U; phase < channel->phase_count; phase++) {
        if ((channel->phases[phase].share_permille != 0) &&
            (!review_phase_us(est_phase_us(&channel->phases[phase], unit_us), index, refusal))) {
            return false;
        }
    }
    return true;
}

/* Return the index of the active phase that comes `from` or after it, round the ring. */
static uint8_t next_active(const struct est_channel_program *channel, uint8_t from)
{
    uint8_t phase = (uint8_t)(from % channel->phase_count);

    while (channel->phases[phase].share_permille == 0) {
        phase = (uint8_t)((phase + 1U) % channel->phase_count);
    }
    return phase;
}

/* Tell whether a phase is the first of a polarity run: of what the body feels as one phase, which is
 * neighbours of one sign, gaps ignored, the last joined with the first. */
static bool does_begin_run(const struct est_channel_program *channel, uint8_t phase)
{
    uint8_t before = phase;

    do {
        before = (before == 0U) ? channel->phase_count : before;
        before--;
    } while (channel->phases[before].share_permille == 0);
    return ((int32_t)channel->phases[before].share_permille *
            channel->phases[phase].share_permille) < 0;
}

/* A balanced pulse has both signs, so every run has a beginning, and another one follows. */
static bool review_runs(const struct est_channel_program *channel, uint16_t unit_us, uint8_t index,
                        struct est_refusal *refusal)
{
    uint8_t first;

    for (first = 0U; first < channel->phase_count; first++) {
        uint8_t phase = first;
        uint32_t run_us = 0U;

        if (does_begin_run(channel, first)) {
            do {
                run_us += est_phase_us(&channel->phases[phase], unit_us);
                phase = next_active(channel, (uint8_t)(phase + 1U));
            } while (!does_begin_run(channel, phase));
            if (!review_phase_us(run_us, index, refusal)) {
                return false;
            }
        }
    }
    return true;
}

static bool review_durations(const struct est_gate *gate, uint8_t index,
                             struct est_refusal *refusal)
{
    const struct est_channel_program *channel = &gate->program.channels[index];
    uint8_t number;

    for (number = 0U; number < est_setting_count(channel); number++) {
        const struct est_keyframe setting = est_setting(channel, number);
        uint32_t pulse_us;
        if ((!review_active_phases(channel, setting.unit_us, index, refusal)) ||
            (!review_runs(channel, setting.unit_us, index, refusal))) {
            return false;
        }
        /* 16 phases of at most 65535 us. */
        pulse_us = (uint32_t)est_pulse_us(channel, setting.unit_us);
        if (pulse_us > EST_LIMIT_PULSE_DURATION_US_MAX) {
            return refuse_limit(refusal, EST_LIMIT_PULSE_DURATION_US_ID, index, pulse_us,
                                EST_LIMIT_PULSE_DURATION_US_MAX);
        }
    }
    return true;
}

/* Programme: acceptance. */

typedef bool (*channel_review)(const struct est_gate *gate, uint8_t index,
                               struct est_refusal *refusal);

static bool review_channels(const struct est_gate *gate, channel_review review,
                            struct est_refusal *refusal)
{
    uint8_t index;

    for (index = 0U; index < gate->program.channel_count; index++) {
        if (!review(gate, index, refusal)) {
            return false;
        }
    }
    return true;
}

static bool review_program(const struct est_gate *gate, uint32_t digest,
                           struct est_refusal *refusal)
{
    const struct est_program *program = &gate->program;

    if (program->loading != EST_LOADING_PARTS) {
        return est_refuse(refusal, EST_REFUSAL_REASON_PROGRAM);
    }
    if (program->shortfall.allowed != 0U) {
        return est_refuse_figures(refusal, EST_REFUSAL_REASON_CAPABILITY,
                                  program->shortfall.channel, program->shortfall.asked,
                                  program->shortfall.allowed);
    }
    if (!est_program_is_well_formed(program)) {
        return est_refuse(refusal, EST_REFUSAL_REASON_PROGRAM);
    }
    if (est_program_digest(program) != digest) {
        return est_refuse(refusal, EST_REFUSAL_REASON_PROGRAM_DIGEST);
    }
    if (program->channel_count > gate->settings->channel_count) {
        return est_refuse_figures(refusal, EST_REFUSAL_REASON_CAPABILITY, EST_NO_CHANNEL,
                                  program->channel_count, gate->settings->channel_count);
    }
    return review_channels(gate, review_capability, refusal) &&
           review_channels(gate, review_durations, refusal);
}

bool est_gate_take_program(struct est_gate *gate, uint32_t digest, struct est_refusal *refusal)
{
    const bool is_good = review_program(gate, digest, refusal);
    struct est_program *program = &gate->program;
    uint8_t index;

    if (is_good) {
        program->is_loaded = true;
        program->digest = digest;
        program->loading = EST_LOADING_NOTHING;
        for (index = 0U; index < program->channel_count; index++) {
            est_load_figures(&gate->figures[index], &program->channels[index],
                             gate->settings->amplitude_step_ua);
            gate->reviewed_ua[index] = 0U;
        }
        gate->figures_digest = figures_digest(gate);
    } else if (program->loading != EST_LOADING_NOTHING) {
        est_program_unload(program);
    } else {
        /* A commit without any parts leaves what is loaded. */
    }
    return is_good;
}

/* Drives. */

bool est_gate_review_digests(const struct est_gate *gate, uint32_t program_digest,
                             uint32_t limits_digest, struct est_refusal *refusal)
{
    bool is_true = true;

    if (!gate->program.is_loaded) {
        is_true = est_refuse(refusal, EST_REFUSAL_REASON_NO_PROGRAM);
    } else if (program_digest != gate->program.digest) {
        is_true = est_refuse(refusal, EST_REFUSAL_REASON_PROGRAM_DIGEST);
    } else if (limits_digest != gate->limits_digest) {
        is_true = est_refuse(refusal, EST_REFUSAL_REASON_LIMITS_DIGEST);
    } else {
        /* The host believes what is true. */
    }
    return is_true;
}

bool est_gate_review_count(const struct est_gate *gate, uint8_t target_count,
                           struct est_refusal *refusal)
{
    bool is_right = target_count == gate->program.channel_count;

    if (!is_right) {
        is_right = est_refuse_figures(refusal, EST_REFUSAL_REASON_CHANNELS, EST_NO_CHANNEL,
                                      target_count, gate->program.channel_count);
    }
    return is_right;
}

bool est_gate_review_amplitude(const struct est_gate *gate, uint8_t channel, uint32_t target_ua,
                               struct est_refusal *refusal)
{
    const struct asked range = {target_ua, 0U, gate->session.channels[channel].amplitude_ua,
                                EST_LIMIT_AMPLITUDE_UA_ID};

    return review_range(&range, channel, refusal);
}

static uint32_t square_root(uint64_t number)
{
    uint64_t root = 0U;
    uint64_t bit = UINT64_C(1) << 31U;

    while (bit != 0U) {
        const uint64_t candidate = root | bit;
        if ((candidate * candidate) <= number) {
            root = candidate;
        }
        bit >>= 1U;
    }
    return (uint32_t)root;
}

static bool review_second(const struct est_channel_limits *limits, uint64_t squares,
                          uint64_t charge, uint8_t channel, struct est_refusal *refusal)
{
    bool is_within = true;

    if (squares > ((uint64_t)limits->rms_ua * limits->rms_ua * US_PER_S)) {
        is_within = refuse_limit(refusal, EST_LIMIT_RMS_UA_ID, channel,
                                 square_root((squares - 1U) / US_PER_S) + 1U, limits->rms_ua);
    } else if (charge > ((uint64_t)limits->average_ua * US_PER_S)) {
        is_within = refuse_limit(refusal, EST_LIMIT_AVERAGE_UA_ID, channel,
                                 (uint32_t)est_rounded_up(charge, US_PER_S), limits->average_ua);
    } else {
        /* Within both. */
    }
    return is_within;
}

static bool review_charge(const struct est_flows *flows, uint32_t session_pc, uint8_t channel,
                          struct est_refusal *refusal)
{
    /* No stretch carries more than half of all charge: mostly there is nothing to look for. */
    if ((flows->charge_pc / 2U) > est_least(session_pc, EST_PHASE_CHARGE_BASE_PC)) {
        const struct est_stretch worst = est_worst_stretch(flows, session_pc);
        if (worst.charge_pc > worst.allowed_pc) {
            return refuse_limit(refusal, EST_LIMIT_PHASE_CHARGE_PC_ID, channel,
                                (uint32_t)worst.charge_pc, (uint32_t)worst.allowed_pc);
        }
    }
    return true;
}

static bool review_derived(const struct est_gate *gate, uint8_t index, uint32_t target_ua,
                           struct est_refusal *refusal)
{
    const struct est_channel_program *channel = &gate->program.channels[index];
    const struct est_channel_figures *figures = &gate->figures[index];
    const struct est_channel_limits *limits = &gate->session.channels[index];
    struct est_second squares = {0U, 0U};
    struct est_second charge = {0U, 0U};
    uint8_t number;

    for (number = 0U; number < est_setting_count(channel); number++) {
        const struct est_keyframe setting = est_setting(channel, number);
        struct est_flows flows;
        est_find_flows(channel, setting.unit_us,
                       est_setting_amplitude_ua(&setting, target_ua, figures->grid_ua),
                       gate->settings->amplitude_step_ua, &flows);
        if (!review_charge(&flows, limits->phase_charge_pc, index, refusal)) {
            return false;
        }
        est_add_setting(&squares, flows.squares, setting.pulse_period_us);
        est_add_setting(&charge, flows.charge_pc, setting.pulse_period_us);
    }
    return review_second(limits, est_worst_second(channel, figures, &squares),
                         est_worst_second(channel, figures, &charge), index, refusal);
}

bool est_gate_review_target(struct est_gate *gate, uint8_t channel, uint32_t target_ua,
                            struct est_refusal *refusal)
{
    /* A host repeats its target 20 times a second. */
    if (target_ua != gate->reviewed_ua[channel]) {
        if ((!est_gate_review_amplitude(gate, channel, target_ua, refusal)) ||
            (!review_derived(gate, channel, target_ua, refusal))) {
            return false;
        }
        gate->reviewed_ua[channel] = target_ua;
    }
    return true;
}

bool est_gate_is_sound(const struct est_gate *gate)
{
    return (session_digest(gate) == gate->limits_digest) &&
           ((!gate->program.is_loaded) ||
            ((est_program_digest(&gate->program) == gate->program.digest) &&
             (figures_digest(gate) == gate->figures_digest)));
}
