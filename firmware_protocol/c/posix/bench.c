#include "bench.h"

#include <stdio.h>
#include <string.h>

#define PERMILLE 1000U
#define GAIN_MAX_PERMILLE 5000U
#define MAINS_PERCENT 255U
#define UV_PER_MV 1000U

struct est_settings bench_settings(uint8_t channel_count, const char *serial_number,
                                   bool has_patient_stop)
{
    struct est_settings settings;

    (void)memset(&settings, 0, sizeof settings);
    settings.model = "estim-reference";
    settings.serial_number = serial_number;
    settings.firmware_version = UINT32_C(1) << 16U;
    settings.amplitude_max_ua = 100000U;
    settings.compliance_mv = 180000U;
    settings.pulse_period_min_us = 100U;
    settings.baud = 115200U;
    settings.amplitude_step_ua = 100U;
    settings.capability_flags =
        EST_CAPABILITY_FLAG_REPORTS_CURRENT | EST_CAPABILITY_FLAG_REPORTS_LOAD |
        EST_CAPABILITY_FLAG_HOLDS_BURST | EST_CAPABILITY_FLAG_HOLDS_CYCLE |
        EST_CAPABILITY_FLAG_HOLDS_KEYFRAMES | EST_CAPABILITY_FLAG_UNEQUAL_PHASES;
    if (has_patient_stop) {
        settings.capability_flags |= EST_CAPABILITY_FLAG_HAS_PATIENT_STOP;
    }
    settings.phase_min_us = 10U;
    settings.phase_max_us = 1000U;
    settings.channel_count = channel_count;
    return settings;
}

void bench_boot(struct bench *bench, uint32_t load_ohm, bool is_stop_pressed)
{
    uint8_t index;

    for (index = 0U; index < EST_CHANNELS; index++) {
        bench->leads[index].load_ohm = load_ohm;
        bench->leads[index].gain_permille = PERMILLE;
        bench->leads[index].is_lead_off = false;
    }
    est_device_init(&bench->device, &bench->settings, bench, bench->battery_percent,
                    is_stop_pressed);
}

void bench_reboot(struct bench *bench)
{
    est_device_init(&bench->device, &bench->settings, bench, bench->battery_percent,
                    bench->device.is_stop_pressed);
}

/* Return the largest amplitude on the grid, up to `asked_ua`, that the compliance voltage carries.
 * The largest phase of a pulse carries the whole amplitude. */
static uint32_t largest_that_fits(const struct bench *bench, const struct bench_leads *leads,
                                  uint32_t asked_ua, uint32_t grid_ua)
{
    const uint64_t most_uv = (uint64_t)bench->settings.compliance_mv * UV_PER_MV;
    uint64_t fitting_ua;

    if (leads->is_lead_off || (leads->load_ohm == 0U)) {
        return 0U;
    }
    fitting_ua = most_uv / leads->load_ohm;
    fitting_ua -= fitting_ua % grid_ua;
    return (fitting_ua < asked_ua) ? (uint32_t)fitting_ua : asked_ua;
}

enum est_play est_hardware_play(void *port, const struct est_pulse *pulse,
                                struct est_measurement *measured)
{
    struct bench *bench = port;
    const struct bench_leads *leads = &bench->leads[pulse->channel];
    const struct est_player *player = &bench->device.channels[pulse->channel].player;
    const uint32_t gained_ua =
        (uint32_t)(((uint64_t)pulse->peak_ua * leads->gain_permille) / PERMILLE);
    const uint32_t asked_ua = gained_ua - (gained_ua % player->grid_ua);
    const uint32_t delivered_ua = largest_that_fits(bench, leads, asked_ua, player->grid_ua);
    struct est_pulse delivered = *pulse;
    uint8_t phase;

    if (bench->misses_pulses) {
        return EST_PLAY_MISSED;
    }

    for (phase = 0U; phase < pulse->phase_count; phase++) {
        delivered.phases[phase].current_ua = est_phase_current_ua(
            &player->program->phases[phase], delivered_ua, player->step_ua);
    }
    delivered.peak_ua = delivered_ua;
    measured->peak_ua = delivered_ua;
    measured->load_ohm =
        (delivered.phases[0].current_ua != 0) ? leads->load_ohm : BENCH_OHM_MAX;
    measured->is_compliance_reached = delivered_ua < asked_ua;
    measured->is_delivered = delivered_ua > 0U;
    if (measured->is_delivered && (bench->sink != NULL)) {
        bench->sink(bench->sink_context, &delivered);
    }
    if (bench->is_mute) {
        return EST_PLAY_PENDING;
    }
    if (bench->measures_later) {
        bench->unmeasured[bench->unmeasured_count % EST_IN_FLIGHT] = *measured;
        bench->unmeasured_count++;
        return EST_PLAY_PENDING;
    }
    return EST_PLAY_MEASURED;
}

void bench_tell_measured(struct bench *bench, est_us now_us)
{
    const uint8_t count = bench->unmeasured_count;
    uint8_t index;

    bench->unmeasured_count = 0U;
    for (index = 0U; index < count; index++) {
        est_device_measured(&bench->device, 0U, &bench->unmeasured[index], now_us);
    }
}

void bench_advance(struct bench *bench, est_us now_us)
{
    est_us onset_us = est_device_next_pulse_us(&bench->device);

    while (bench->measures_later && (onset_us <= now_us)) {
        est_device_advance(&bench->device, onset_us);
        bench_tell_measured(bench, onset_us);
        onset_us = est_device_next_pulse_us(&bench->device);
    }
    est_device_advance(&bench->device, now_us);
}

void est_hardware_enter_state(void *port, uint8_t state)
{
    /* A pulse is delivered whole at its onset: there is nothing to hold back. */
    (void)port;
    (void)state;
}

uint16_t est_hardware_self_test(void *port)
{
    return ((const struct bench *)port)->failed_checks;
}

static bool find_leads(struct bench *bench, unsigned number, struct bench_leads **leads)
{
    const bool is_there = (number >= 1U) && (number <= bench->settings.channel_count);

    if (is_there) {
        *leads = &bench->leads[number - 1U];
    }
    return is_there;
}

static bool happen_to_leads(struct bench *bench, const char *words)
{
    struct bench_leads *leads = NULL;
    unsigned number = 0U;
    unsigned amount = 0U;
    char end = '\0';
    bool is_done = true;

    if ((sscanf(words, "lead-off %u%c", &number, &end) == 1) &&
        find_leads(bench, number, &leads)) {
        leads->is_lead_off = true;
    } else if ((sscanf(words, "lead-on %u%c", &number, &end) == 1) &&
               find_leads(bench, number, &leads)) {
        leads->is_lead_off = false;
    } else if ((sscanf(words, "load %u open%c", &number, &end) == 1) &&
               (strstr(words, " open") != NULL) && find_leads(bench, number, &leads)) {
        leads->load_ohm = 0U;
    } else if ((sscanf(words, "load %u %u%c", &number, &amount, &end) == 2) && (amount >= 1U) &&
               (amount <= BENCH_OHM_MAX) && find_leads(bench, number, &leads)) {
        leads->load_ohm = amount;
    } else if ((sscanf(words, "gain %u %u%c", &number, &amount, &end) == 2) &&
               (amount <= GAIN_MAX_PERMILLE) && find_leads(bench, number, &leads)) {
        leads->gain_permille = amount;
    } else {
        is_done = false;
    }
    return is_done;
}

bool bench_happen(struct bench *bench, const char *words, est_us now_us)
{
    unsigned amount = 0U;
    char end = '\0';
    bool is_done = true;

    bench_advance(bench, now_us);
    if (strcmp(words, "patient-stop press") == 0) {
        est_device_set_patient_stop(&bench->device, true, now_us);
    } else if (strcmp(words, "patient-stop release") == 0) {
        est_device_set_patient_stop(&bench->device, false, now_us);
    } else if ((sscanf(words, "battery %u%c", &amount, &end) == 1) && (amount <= MAINS_PERCENT)) {
        bench->battery_percent = (uint8_t)amount;
        est_device_set_battery(&bench->device, (uint8_t)amount, now_us);
    } else if (strcmp(words, "defect") == 0) {
        est_device_report_defect(&bench->device, now_us);
    } else if ((sscanf(words, "measure-later %u%c", &amount, &end) == 1) && (amount <= 1U)) {
        bench->measures_later = amount != 0U;
    } else if ((sscanf(words, "mute %u%c", &amount, &end) == 1) && (amount <= 1U)) {
        bench->is_mute = amount != 0U;
    } else if ((sscanf(words, "miss %u%c", &amount, &end) == 1) && (amount <= 1U)) {
        bench->misses_pulses = amount != 0U;
    } else if ((sscanf(words, "self-test %u%c", &amount, &end) == 1) &&
               (amount <= EST_SELF_TEST_ALL)) {
        bench->failed_checks = (uint16_t)amount;
    } else {
        is_done = happen_to_leads(bench, words);
    }
    return is_done;
}
