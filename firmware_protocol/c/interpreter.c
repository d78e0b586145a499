#include "interpreter.h"

#include <string.h>

#define US_PER_MS UINT32_C(1000)
#define PERMILLE 1000U

static uint64_t ms_in_us(uint32_t time_ms)
{
    return (uint64_t)time_ms * US_PER_MS;
}

static uint64_t ramp_down_at_us(const struct est_channel_program *program)
{
    return ms_in_us(program->ramp_up_ms) + ms_in_us(program->on_ms);
}

static uint64_t on_phase_us(const struct est_channel_program *program)
{
    return ramp_down_at_us(program) + ms_in_us(program->ramp_down_ms);
}

static void schedule_on_phase(struct est_player *player, est_us on_start_us)
{
    /* The pulse in hand may still belong to the on-phase before: the next step turns the page. */
    player->is_new_on_phase = true;
    player->on_start_us = on_start_us;
    player->next_us = on_start_us + player->program->pulse_offset_us;
}

void est_player_start(struct est_player *player, const struct est_channel_program *program,
                      uint32_t grid_ua, uint16_t step_ua, est_us run_us)
{
    (void)memset(player, 0, sizeof *player);
    player->program = program;
    player->grid_ua = grid_ua;
    player->step_ua = step_ua;
    player->is_plateau = true;
    player->setting = est_setting(program, 0U);
    schedule_on_phase(player, run_us + ms_in_us(program->cycle_offset_ms));
}

static void find_setting(struct est_player *player)
{
    const struct est_channel_program *program = player->program;
    const uint64_t cycle_us = ms_in_us(program->keyframe_cycle_ms);
    uint64_t at_us = player->elapsed_us - program->pulse_offset_us;
    uint8_t index = (uint8_t)(program->keyframe_count - 1U);

    if (at_us >= cycle_us) {
        at_us %= cycle_us;
    }
    while ((index > 0U) && (ms_in_us(program->keyframes[index].at_ms) > at_us)) {
        index--;
    }
    player->setting = program->keyframes[index];
}

static void schedule(struct est_player *player, est_us onset_us)
{
    const struct est_channel_program *program = player->program;

    if ((program->pulses_per_burst == 0U) ||
        (((uint32_t)player->pulse_index + 1U) < program->pulses_per_burst)) {
        /* Only counted within a burst. */
        player->pulse_index = (program->pulses_per_burst == 0U)
                                  ? 0U
                                  : (uint16_t)(player->pulse_index + 1U);
        player->next_us = onset_us + player->setting.pulse_period_us;
    } else {
        player->pulse_index = 0U;
        player->burst_start_us += program->burst_period_us;
        player->next_us = player->burst_start_us;
    }
    if (est_has_cycle(program) &&
        (player->next_us >= (player->on_start_us + on_phase_us(program)))) {
        schedule_on_phase(player,
                          player->on_start_us + on_phase_us(program) + ms_in_us(program->off_ms));
    }
}

bool est_player_begin(struct est_player *player)
{
    const struct est_channel_program *program = player->program;
    const est_us onset_us = player->next_us;
    const bool has_cycle = est_has_cycle(program);
    uint64_t interval_us = 0U;

    if (player->is_new_on_phase) {
        player->is_new_on_phase = false;
        player->on_phase_count++;
        player->has_previous = false;
        player->burst_start_us = onset_us;
        player->pulse_index = 0U;
    }
    player->elapsed_us = onset_us - player->on_start_us;
    if (program->keyframe_count > 0U) {
        find_setting(player);
    }
    schedule(player, onset_us);
    if (has_cycle) {
        if ((player->elapsed_us + est_pulse_us(program, player->setting.unit_us)) >
            on_phase_us(program)) {
            return false;
        }
        player->is_plateau = (player->elapsed_us >= ms_in_us(program->ramp_up_ms)) &&
                             (player->elapsed_us < ramp_down_at_us(program));
    }
    if (player->has_previous) {
        interval_us = onset_us - player->previous_us;
    }
    player->interval_us = (interval_us > UINT32_MAX) ? UINT32_MAX : (uint32_t)interval_us;
    player->previous_us = onset_us;
    player->has_previous = true;
    return true;
}

uint32_t est_setting_amplitude_ua(const struct est_keyframe *setting, uint32_t ramped_ua,
                                  uint32_t grid_ua)
{
    const uint32_t scaled_ua = (ramped_ua * setting->amplitude_permille) / PERMILLE;

    return scaled_ua - (scaled_ua % grid_ua);
}

uint32_t est_player_amplitude_ua(const struct est_player *player, uint32_t setpoint_ua)
{
    const struct est_channel_program *program = player->program;
    uint64_t ramped_ua = setpoint_ua;

    if (!player->is_plateau) {
        if (player->elapsed_us < ms_in_us(program->ramp_up_ms)) {
            ramped_ua = (ramped_ua * player->elapsed_us) / ms_in_us(program->ramp_up_ms);
        } else {
            ramped_ua = (ramped_ua * (on_phase_us(program) - player->elapsed_us)) /
                        ms_in_us(program->ramp_down_ms);
        }
    }
    return est_setting_amplitude_ua(&player->setting, (uint32_t)ramped_ua, player->grid_ua);
}

int32_t est_phase_current_ua(const struct est_program_phase *phase, uint32_t amplitude_ua,
                             uint16_t step_ua)
{
    const uint16_t size_permille = est_share_size(phase);
    /* Mostly there is nothing to divide, and a small processor divides slowly. */
    const uint32_t shared_ua = (size_permille == PERMILLE)
                                   ? amplitude_ua
                                   : ((amplitude_ua * size_permille) / PERMILLE);
    const uint32_t size_ua = shared_ua - (shared_ua % step_ua);
    const int32_t current_ua = (int32_t)size_ua;

    return (phase->share_permille < 0) ? -current_ua : current_ua;
}

void est_player_pulse(const struct est_player *player, uint32_t amplitude_ua,
                      struct est_pulse *pulse)
{
    const struct est_channel_program *program = player->program;
    uint8_t phase;

    pulse->onset_us = player->previous_us;
    pulse->phase_count = program->phase_count;
    pulse->pulse_us = 0U;
    pulse->peak_ua = 0U;
    for (phase = 0U; phase < program->phase_count; phase++) {
        struct est_phase *each = &pulse->phases[phase];
        uint32_t size_ua;
        each->current_ua =
            est_phase_current_ua(&program->phases[phase], amplitude_ua, player->step_ua);
        each->duration_us =
            (uint16_t)est_phase_us(&program->phases[phase], player->setting.unit_us);
        pulse->pulse_us = (uint16_t)(pulse->pulse_us + each->duration_us);
        size_ua = (uint32_t)((each->current_ua < 0) ? -each->current_ua : each->current_ua);
        pulse->peak_ua = (size_ua > pulse->peak_ua) ? size_ua : pulse->peak_ua;
    }
}

uint8_t est_cycle_phase(const struct est_channel_program *program, est_us since_run_us)
{
    const uint64_t offset_us = ms_in_us(program->cycle_offset_ms);
    uint8_t cycle_phase = EST_CYCLE_PHASE_OFF;
    uint64_t elapsed_us;

    if (!est_has_cycle(program)) {
        return EST_CYCLE_PHASE_PLATEAU;
    }
    if (since_run_us < offset_us) {
        return EST_CYCLE_PHASE_WAITING;
    }
    elapsed_us = (since_run_us - offset_us) % (on_phase_us(program) + ms_in_us(program->off_ms));
    if (elapsed_us < ms_in_us(program->ramp_up_ms)) {
        cycle_phase = EST_CYCLE_PHASE_RAMP_UP;
    } else if (elapsed_us < ramp_down_at_us(program)) {
        cycle_phase = EST_CYCLE_PHASE_PLATEAU;
    } else if (elapsed_us < on_phase_us(program)) {
        cycle_phase = EST_CYCLE_PHASE_RAMP_DOWN;
    } else {
        /* It rests. */
    }
    return cycle_phase;
}
