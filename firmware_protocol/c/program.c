#include "program.h"

#include <string.h>

void est_program_unload(struct est_program *program)
{
    (void)memset(program, 0, sizeof *program);
    program->loading = EST_LOADING_NOTHING;
}

static void note_shortfall(struct est_program *program, uint8_t asked, uint8_t allowed,
                           uint8_t channel)
{
    if (program->shortfall.allowed == 0U) {
        program->shortfall.asked = asked;
        program->shortfall.allowed = allowed;
        program->shortfall.channel = channel;
    }
}

void est_program_begin(struct est_program *program, const struct est_message *message)
{
    est_program_unload(program);
    program->channel_count = message->payload[EST_BEGIN_PROGRAM_AT_CHANNEL_COUNT];
    program->flags = message->payload[EST_BEGIN_PROGRAM_AT_FLAGS];
    program->loading = EST_LOADING_PARTS;
    if ((program->channel_count < 1U) || (program->channel_count > EST_WIRE_CHANNELS_MAX)) {
        program->loading = EST_LOADING_BROKEN;
    } else if (program->channel_count > EST_CHANNELS) {
        note_shortfall(program, program->channel_count, EST_CHANNELS, EST_NO_CHANNEL);
    } else {
        /* There is room. */
    }
}

static void store_timing(struct est_channel_program *channel, const uint8_t *payload)
{
    channel->unit_us = est_get_u16(&payload[EST_PROGRAM_PHASES_AT_UNIT_US]);
    channel->pulse_period_us = est_get_u32(&payload[EST_PROGRAM_PHASES_AT_PULSE_PERIOD_US]);
    channel->pulse_offset_us = est_get_u32(&payload[EST_PROGRAM_PHASES_AT_PULSE_OFFSET_US]);
    channel->pulses_per_burst = est_get_u16(&payload[EST_PROGRAM_PHASES_AT_PULSES_PER_BURST]);
    channel->burst_period_us = est_get_u32(&payload[EST_PROGRAM_PHASES_AT_BURST_PERIOD_US]);
    channel->ramp_up_ms = est_get_u16(&payload[EST_PROGRAM_PHASES_AT_RAMP_UP_MS]);
    channel->on_ms = est_get_u32(&payload[EST_PROGRAM_PHASES_AT_ON_MS]);
    channel->ramp_down_ms = est_get_u16(&payload[EST_PROGRAM_PHASES_AT_RAMP_DOWN_MS]);
    channel->off_ms = est_get_u32(&payload[EST_PROGRAM_PHASES_AT_OFF_MS]);
    channel->cycle_offset_ms = est_get_u32(&payload[EST_PROGRAM_PHASES_AT_CYCLE_OFFSET_MS]);
    channel->keyframe_cycle_ms = est_get_u32(&payload[EST_PROGRAM_PHASES_AT_KEYFRAME_CYCLE_MS]);
    channel->keyframe_count = payload[EST_PROGRAM_PHASES_AT_KEYFRAME_COUNT];
}

void est_program_add_phases(struct est_program *program, const struct est_message *message)
{
    const uint8_t index = message->payload[EST_PROGRAM_PHASES_AT_CHANNEL];
    const uint8_t *row = &message->payload[EST_PROGRAM_PHASES_AT_PHASES];
    struct est_channel_program *channel;
    uint8_t phase;

    if (program->loading != EST_LOADING_PARTS) {
        return;
    }
    if ((index != program->channels_held) || (index >= program->channel_count)) {
        program->loading = EST_LOADING_BROKEN;
        return;
    }
    program->channels_held++;
    if (index >= EST_CHANNELS) {
        return;
    }
    channel = &program->channels[index];
    store_timing(channel, message->payload);
    if (message->row_count > EST_PHASES) {
        note_shortfall(program, message->row_count, EST_PHASES, index);
        return;
    }
    channel->phase_count = message->row_count;
    for (phase = 0U; phase < channel->phase_count; phase++) {
        channel->phases[phase].duration = est_get_u16(&row[EST_PHASE_ROW_AT_DURATION]);
        channel->phases[phase].share_permille =
            est_get_i16(&row[EST_PHASE_ROW_AT_AMPLITUDE_PERMILLE]);
        row = &row[EST_PHASE_ROW_SIZE];
    }
    if ((channel->keyframe_count > EST_KEYFRAMES) &&
        (channel->keyframe_count <= EST_WIRE_KEYFRAMES_MAX)) {
        note_shortfall(program, channel->keyframe_count, EST_KEYFRAMES, index);
    }
}

static void store_keyframes(struct est_channel_program *channel, const struct est_message *message)
{
    const uint8_t *row = &message->payload[EST_PROGRAM_KEYFRAMES_AT_KEYFRAMES];
    uint8_t count;

    for (count = 0U; count < message->row_count; count++) {
        if (channel->keyframes_held < EST_KEYFRAMES) {
            struct est_keyframe *frame = &channel->keyframes[channel->keyframes_held];
            frame->at_ms = est_get_u32(&row[EST_KEYFRAME_ROW_AT_AT_MS]);
            frame->amplitude_permille = est_get_u16(&row[EST_KEYFRAME_ROW_AT_AMPLITUDE_PERMILLE]);
            frame->unit_us = est_get_u16(&row[EST_KEYFRAME_ROW_AT_UNIT_US]);
            frame->pulse_period_us = est_get_u32(&row[EST_KEYFRAME_ROW_AT_PULSE_PERIOD_US]);
        }
        channel->keyframes_held++;
        row = &row[EST_KEYFRAME_ROW_SIZE];
    }
}

void est_program_add_keyframes(struct est_program *program, const struct est_message *message)
{
    const uint8_t index = message->payload[EST_PROGRAM_KEYFRAMES_AT_CHANNEL];
    struct est_channel_program *channel;

    if (program->loading != EST_LOADING_PARTS) {
        return;
    }
    if ((program->channels_held == 0U) || (index != (uint8_t)(program->channels_held - 1U)) ||
        (message->row_count == 0U)) {
        program->loading = EST_LOADING_BROKEN;
        return;
    }
    if (index >= EST_CHANNELS) {
        return;
    }
    channel = &program->channels[index];
    if ((message->payload[EST_PROGRAM_KEYFRAMES_AT_FIRST_INDEX] != channel->keyframes_held) ||
        (((uint16_t)channel->keyframes_held + message->row_count) > EST_WIRE_KEYFRAMES_MAX)) {
        program->loading = EST_LOADING_BROKEN;
        return;
    }
    store_keyframes(channel, message);
}

/* Settings, lengths, shares. */

uint8_t est_setting_count(const struct est_channel_program *channel)
{
    return (channel->keyframe_count == 0U) ? 1U : channel->keyframe_count;
}

struct est_keyframe est_setting(const struct est_channel_program *channel, uint8_t index)
{
    struct est_keyframe setting = {0U, 0U, EST_FULL_PERMILLE, 0U};

    if (channel->keyframe_count > 0U) {
        setting = channel->keyframes[index];
    } else {
        setting.unit_us = channel->unit_us;
        setting.pulse_period_us = channel->pulse_period_us;
    }
    return setting;
}

uint32_t est_phase_us(const struct est_program_phase *phase, uint16_t unit_us)
{
    return (phase->share_permille == 0) ? (uint32_t)phase->duration
                                        : ((uint32_t)phase->duration * unit_us);
}

uint64_t est_pulse_us(const struct est_channel_program *channel, uint16_t unit_us)
{
    uint64_t pulse_us = 0U;
    uint8_t phase;

    for (phase = 0U; phase < channel->phase_count; phase++) {
        pulse_us += est_phase_us(&channel->phases[phase], unit_us);
    }
    return pulse_us;
}

bool est_has_cycle(const struct est_channel_program *channel)
{
    return (channel->on_ms > 0U) || (channel->ramp_up_ms > 0U) || (channel->ramp_down_ms > 0U) ||
           (channel->off_ms > 0U) || (channel->cycle_offset_ms > 0U);
}

uint16_t est_share_size(const struct est_program_phase *phase)
{
    const int32_t share_permille = phase->share_permille;

    return (uint16_t)((share_permille < 0) ? -share_permille : share_permille);
}

bool est_is_paired(const struct est_channel_program *channel)
{
    uint8_t one;
    uint8_t other;

    for (one = 0U; one < channel->phase_count; one++) {
        const struct est_program_phase *phase = &channel->phases[one];
        int8_t balance = 0;
        for (other = 0U; other < channel->phase_count; other++) {
            const struct est_program_phase *like = &channel->phases[other];
            if ((like->duration == phase->duration) &&
                (est_share_size(like) == est_share_size(phase)) && (like->share_permille != 0)) {
                balance = (int8_t)(balance + ((like->share_permille > 0) ? 1 : -1));
            }
        }
        if ((phase->share_permille != 0) && (balance != 0)) {
            return false;
        }
    }
    return true;
}

static uint16_t greatest_common_divisor(uint16_t first, uint16_t second)
{
    uint16_t larger = first;
    uint16_t smaller = second;

    while (smaller != 0U) {
        const uint16_t rest = (uint16_t)(larger % smaller);
        larger = smaller;
        smaller = rest;
    }
    return larger;
}

uint32_t est_grid_ua(const struct est_channel_program *channel, uint16_t step_ua)
{
    uint32_t steps = 1U; /* always divides 1000 */
    uint8_t phase;

    if (!est_is_paired(channel)) {
        for (phase = 0U; phase < channel->phase_count; phase++) {
            const uint16_t share = est_share_size(&channel->phases[phase]);
            if (share != 0U) {
                const uint16_t needed = (uint16_t)(
                    EST_FULL_PERMILLE / greatest_common_divisor(EST_FULL_PERMILLE, share));
                steps = (steps * needed) / greatest_common_divisor((uint16_t)steps, needed);
            }
        }
    }
    return steps * step_ua;
}

/* Form. */

static bool are_phases_well_formed(const struct est_channel_program *channel)
{
    int32_t net = 0;
    uint16_t largest = 0U;
    uint8_t phase;

    if ((channel->phase_count < 1U) || (channel->phases[0].share_permille == 0) ||
        (channel->phases[channel->phase_count - 1U].share_permille == 0)) {
        return false;
    }
    for (phase = 0U; phase < channel->phase_count; phase++) {
        const struct est_program_phase *each = &channel->phases[phase];
        const uint16_t share = est_share_size(each);
        if ((each->duration < 1U) || (share > EST_FULL_PERMILLE)) {
            return false;
        }
        largest = (share > largest) ? share : largest;
        net += (int32_t)each->duration * each->share_permille;
    }
    return (largest == EST_FULL_PERMILLE) && (net == 0);
}

static bool are_keyframes_well_formed(const struct est_channel_program *channel)
{
    uint16_t largest = 0U;
    uint8_t frame;

    if (channel->keyframe_count != channel->keyframes_held) {
        return false;
    }
    if (channel->keyframe_count == 0U) {
        return channel->keyframe_cycle_ms == 0U;
    }
    if (channel->keyframes[0].at_ms != 0U) {
        return false;
    }
    for (frame = 0U; frame < channel->keyframe_count; frame++) {
        const struct est_keyframe *each = &channel->keyframes[frame];
        if ((frame > 0U) && (each->at_ms <= channel->keyframes[frame - 1U].at_ms)) {
            return false;
        }
        if ((each->amplitude_permille > EST_FULL_PERMILLE) ||
            (each->at_ms >= channel->keyframe_cycle_ms)) {
            return false;
        }
        largest = (each->amplitude_permille > largest) ? each->amplitude_permille : largest;
    }
    return largest == EST_FULL_PERMILLE;
}

static bool is_timing_well_formed(const struct est_channel_program *channel)
{
    uint8_t index;

    for (index = 0U; index < est_setting_count(channel); index++) {
        const struct est_keyframe setting = est_setting(channel, index);
        if ((setting.unit_us < 1U) ||
            (est_pulse_us(channel, setting.unit_us) > setting.pulse_period_us) ||
            (((uint64_t)channel->pulses_per_burst * setting.pulse_period_us) >
             channel->burst_period_us)) {
            return false;
        }
    }
    if ((channel->burst_period_us > 0U) && (channel->pulses_per_burst == 0U)) {
        return false;
    }
    return (!est_has_cycle(channel)) || (channel->on_ms > 0U);
}

#if EST_CHANNELS > 1U

static uint64_t on_phase_ms(const struct est_channel_program *channel)
{
    return (uint64_t)channel->ramp_up_ms + channel->on_ms + channel->ramp_down_ms;
}

static uint64_t total_ms(const struct est_channel_program *channel)
{
    return on_phase_ms(channel) + channel->off_ms;
}

static bool have_same_times(const struct est_channel_program *one,
                            const struct est_channel_program *other)
{
    uint8_t index;

    if ((one->ramp_up_ms != other->ramp_up_ms) || (one->on_ms != other->on_ms) ||
        (one->ramp_down_ms != other->ramp_down_ms) || (one->off_ms != other->off_ms) ||
        (one->cycle_offset_ms != other->cycle_offset_ms) ||
        (one->keyframe_cycle_ms != other->keyframe_cycle_ms) ||
        (one->pulses_per_burst != other->pulses_per_burst) ||
        (one->burst_period_us != other->burst_period_us) ||
        (one->keyframe_count != other->keyframe_count)) {
        return false;
    }
    for (index = 0U; index < est_setting_count(one); index++) {
        const struct est_keyframe mine = est_setting(one, index);
        const struct est_keyframe theirs = est_setting(other, index);
        if ((mine.at_ms != theirs.at_ms) || (mine.pulse_period_us != theirs.pulse_period_us)) {
            return false;
        }
    }
    return true;
}

/* Tell whether both tick together with offsets that keep every pair of pulses apart. */
static bool do_share_timing(const struct est_channel_program *first,
                            const struct est_channel_program *second)
{
    const bool is_first_early = first->pulse_offset_us <= second->pulse_offset_us;
    const struct est_channel_program *early = is_first_early ? first : second;
    const struct est_channel_program *late = is_first_early ? second : first;
    const uint32_t lead_us = late->pulse_offset_us - early->pulse_offset_us;
    uint8_t index;

    if (!have_same_times(first, second)) {
        return false;
    }
    for (index = 0U; index < est_setting_count(early); index++) {
        const struct est_keyframe mine = est_setting(early, index);
        const struct est_keyframe theirs = est_setting(late, index);
        if ((est_pulse_us(early, mine.unit_us) > lead_us) ||
            ((lead_us + est_pulse_us(late, theirs.unit_us)) > mine.pulse_period_us)) {
            return false;
        }
    }
    return true;
}

/* Tell whether the on-phases of two cycles of equal length are apart for ever. */
static bool are_never_on_together(const struct est_channel_program *one,
                                  const struct est_channel_program *other)
{
    const uint64_t length_ms = total_ms(one);
    uint64_t lead_ms;

    if ((!est_has_cycle(one)) || (!est_has_cycle(other)) || (length_ms != total_ms(other))) {
        return false;
    }
    lead_ms = other->cycle_offset_ms % length_ms;
    lead_ms = ((lead_ms + length_ms) - (one->cycle_offset_ms % length_ms)) % length_ms;
    return (on_phase_ms(one) <= lead_ms) && ((lead_ms + on_phase_ms(other)) <= length_ms);
}

static bool may_overlap(const struct est_program *program)
{
    uint8_t first;
    uint8_t second;

    for (second = 1U; second < program->channel_count; second++) {
        for (first = 0U; first < second; first++) {
            const struct est_channel_program *one = &program->channels[first];
            const struct est_channel_program *other = &program->channels[second];
            if ((!do_share_timing(one, other)) && (!are_never_on_together(one, other))) {
                return true;
            }
        }
    }
    return false;
}

#else

static bool may_overlap(const struct est_program *program)
{
    (void)program;
    return false;
}

#endif

bool est_program_is_well_formed(const struct est_program *program)
{
    uint8_t index;

    if (program->channels_held != program->channel_count) {
        return false;
    }
    for (index = 0U; index < program->channel_count; index++) {
        const struct est_channel_program *channel = &program->channels[index];
        if ((!are_phases_well_formed(channel)) || (!are_keyframes_well_formed(channel)) ||
            (!is_timing_well_formed(channel))) {
            return false;
        }
    }
    return ((program->flags & EST_PROGRAM_FLAG_ALLOW_OVERLAP) != 0U) || (!may_overlap(program));
}

/* Digest. */

static uint32_t digest_timing(uint32_t crc, const struct est_channel_program *channel,
                              uint8_t index)
{
    uint8_t payload[EST_PROGRAM_PHASES_SIZE];

    payload[EST_PROGRAM_PHASES_AT_CHANNEL] = index;
    est_put_u16(&payload[EST_PROGRAM_PHASES_AT_UNIT_US], channel->unit_us);
    est_put_u32(&payload[EST_PROGRAM_PHASES_AT_PULSE_PERIOD_US], channel->pulse_period_us);
    est_put_u32(&payload[EST_PROGRAM_PHASES_AT_PULSE_OFFSET_US], channel->pulse_offset_us);
    est_put_u16(&payload[EST_PROGRAM_PHASES_AT_PULSES_PER_BURST], channel->pulses_per_burst);
    est_put_u32(&payload[EST_PROGRAM_PHASES_AT_BURST_PERIOD_US], channel->burst_period_us);
    est_put_u16(&payload[EST_PROGRAM_PHASES_AT_RAMP_UP_MS], channel->ramp_up_ms);
    est_put_u32(&payload[EST_PROGRAM_PHASES_AT_ON_MS], channel->on_ms);
    est_put_u16(&payload[EST_PROGRAM_PHASES_AT_RAMP_DOWN_MS], channel->ramp_down_ms);
    est_put_u32(&payload[EST_PROGRAM_PHASES_AT_OFF_MS], channel->off_ms);
    est_put_u32(&payload[EST_PROGRAM_PHASES_AT_CYCLE_OFFSET_MS], channel->cycle_offset_ms);
    est_put_u32(&payload[EST_PROGRAM_PHASES_AT_KEYFRAME_CYCLE_MS], channel->keyframe_cycle_ms);
    payload[EST_PROGRAM_PHASES_AT_KEYFRAME_COUNT] = channel->keyframe_count;
    payload[EST_PROGRAM_PHASES_AT_PHASES_COUNT] = channel->phase_count;
    return est_crc32(crc, payload, EST_PROGRAM_PHASES_SIZE);
}

static uint32_t digest_phases(uint32_t crc, const struct est_channel_program *channel)
{
    uint32_t digest = crc;
    uint8_t row[EST_PHASE_ROW_SIZE];
    uint8_t phase;

    for (phase = 0U; phase < channel->phase_count; phase++) {
        est_put_u16(&row[EST_PHASE_ROW_AT_DURATION], channel->phases[phase].duration);
        est_put_u16(&row[EST_PHASE_ROW_AT_AMPLITUDE_PERMILLE],
                    (uint16_t)channel->phases[phase].share_permille);
        digest = est_crc32(digest, row, EST_PHASE_ROW_SIZE);
    }
    return digest;
}

static uint32_t digest_keyframes(uint32_t crc, const struct est_channel_program *channel,
                                 uint8_t index)
{
    uint32_t digest = crc;
    uint8_t row[EST_KEYFRAME_ROW_SIZE];
    uint8_t frame;

    for (frame = 0U; frame < channel->keyframe_count; frame++) {
        const struct est_keyframe *each = &channel->keyframes[frame];
        if ((frame % EST_KEYFRAMES_PER_MESSAGE) == 0U) {
            const uint8_t left = (uint8_t)(channel->keyframe_count - frame);
            row[EST_PROGRAM_KEYFRAMES_AT_CHANNEL] = index;
            row[EST_PROGRAM_KEYFRAMES_AT_FIRST_INDEX] = frame;
            row[EST_PROGRAM_KEYFRAMES_AT_KEYFRAMES_COUNT] =
                (left < EST_KEYFRAMES_PER_MESSAGE) ? left : EST_KEYFRAMES_PER_MESSAGE;
            digest = est_crc32(digest, row, EST_PROGRAM_KEYFRAMES_SIZE);
        }
        est_put_u32(&row[EST_KEYFRAME_ROW_AT_AT_MS], each->at_ms);
        est_put_u16(&row[EST_KEYFRAME_ROW_AT_AMPLITUDE_PERMILLE], each->amplitude_permille);
        est_put_u16(&row[EST_KEYFRAME_ROW_AT_UNIT_US], each->unit_us);
        est_put_u32(&row[EST_KEYFRAME_ROW_AT_PULSE_PERIOD_US], each->pulse_period_us);
        digest = est_crc32(digest, row, EST_KEYFRAME_ROW_SIZE);
    }
    return digest;
}

uint32_t est_program_digest(const struct est_program *program)
{
    uint32_t digest;
    uint8_t begin[EST_BEGIN_PROGRAM_SIZE];
    uint8_t index;

    begin[EST_BEGIN_PROGRAM_AT_CHANNEL_COUNT] = program->channel_count;
    begin[EST_BEGIN_PROGRAM_AT_FLAGS] = program->flags;
    digest = est_crc32(0U, begin, EST_BEGIN_PROGRAM_SIZE);
    for (index = 0U; index < program->channel_count; index++) {
        const struct est_channel_program *channel = &program->channels[index];
        digest = digest_timing(digest, channel, index);
        digest = digest_phases(digest, channel);
        digest = digest_keyframes(digest, channel, index);
    }
    return digest;
}
