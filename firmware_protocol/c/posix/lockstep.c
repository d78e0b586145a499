/* The device with its time from outside: one command a line, and what came of it.
 *
 *   boot CHANNELS OHM PRESSED BATTERY STEP_UA AMPLITUDE_MAX_UA FLAGS BAUD COMPLIANCE_MV
 *        PHASE_MIN_US PHASE_MAX_US PERIOD_MIN_US ONE_MAGNITUDE
 *   bytes US HEX      bytes from the host      advance US      let time pass
 *   happen US WORDS   as in a fault script
 *   reboot US         start again; the clock begins at 0
 *   peek              report all channels to nobody: it begins their next peaks
 *   decode HEX        judge a frame given without its closing zero
 *   judge HEX         judge a body
 *   spoil WHERE       flip one bit of memory: limits, program, grid, pulses, restarts
 *   target CHANNEL UA   ask the gate alone about a target, whatever the state
 *   encode HEX        make the frame of a body
 *
 * Answers: `pulse US CHANNEL OFFSET:UA:US ...`, `frame HEX`, `due US`, closed by a line `.`. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define LINE_MAX_SIZE 8192U

static void print_pulse(void *context, const struct est_pulse *delivered)
{
    uint32_t offset_us = 0U;
    uint8_t phase;

    (void)context;
    (void)printf("pulse %" PRIu64 " %u", delivered->onset_us, delivered->channel + 1U);
    for (phase = 0U; phase < delivered->phase_count; phase++) {
        const struct est_phase *each = &delivered->phases[phase];
        if (each->current_ua != 0) {
            (void)printf(" %" PRIu32 ":%" PRId32 ":%u", offset_us, each->current_ua,
                         each->duration_us);
        }
        offset_us += each->duration_us;
    }
    (void)printf("\n");
}

static void print_hex(const uint8_t *bytes, size_t size)
{
    size_t at;

    for (at = 0U; at < size; at++) {
        (void)printf("%02x", bytes[at]);
    }
}

static void print_output(struct bench *bench)
{
    uint8_t frame[EST_FRAME_OUT_MAX];
    const est_us due_us = est_device_next_deadline_us(&bench->device);
    uint8_t size;

    while ((size = est_device_take_frame(&bench->device, frame)) > 0U) {
        (void)printf("frame ");
        print_hex(frame, size);
        (void)printf("\n");
    }
    if (due_us != EST_NEVER) {
        (void)printf("due %" PRIu64 "\n", due_us);
    }
}

static size_t read_hex(const char *text, uint8_t *bytes, size_t most)
{
    size_t size = 0U;
    unsigned byte = 0U;

    while ((size < most) && (sscanf(&text[2U * size], "%2x", &byte) == 1)) {
        bytes[size] = (uint8_t)byte;
        size++;
    }
    return size;
}

static void boot(struct bench *bench, const char *words)
{
    unsigned channels = 0U;
    unsigned ohm = 0U;
    unsigned pressed = 0U;
    unsigned battery = 0U;
    unsigned step = 0U;
    unsigned most = 0U;
    unsigned flags = 0U;
    unsigned baud = 0U;
    unsigned compliance = 0U;
    unsigned phase_min = 0U;
    unsigned phase_max = 0U;
    unsigned period_min = 0U;
    unsigned one_magnitude = 0U;

    if (sscanf(words, "%u %u %u %u %u %u %u %u %u %u %u %u %u", &channels, &ohm, &pressed, &battery,
               &step, &most, &flags, &baud, &compliance, &phase_min, &phase_max,
               &period_min, &one_magnitude) != 13) {
        (void)fprintf(stderr, "lockstep: boot takes 13 figures\n");
        exit(EXIT_FAILURE);
    }
    bench->settings = bench_settings((uint8_t)channels, "SIM-0001", false);
    bench->settings.model = "estim-virtual";
    bench->settings.amplitude_step_ua = (uint16_t)step;
    bench->settings.amplitude_max_ua = most;
    bench->settings.capability_flags = (uint16_t)flags;
    bench->settings.baud = baud;
    bench->settings.compliance_mv = compliance;
    bench->settings.phase_min_us = (uint16_t)phase_min;
    bench->settings.phase_max_us = (uint16_t)phase_max;
    bench->settings.pulse_period_min_us = period_min;
    bench->settings.is_switched = one_magnitude != 0U;
    bench->failed_checks = 0U;
    bench->measures_later = false;
    bench->misses_pulses = false;
    bench->is_mute = false;
    bench->unmeasured_count = 0U;
    bench->battery_percent = (uint8_t)battery;
    bench_boot(bench, ohm, pressed != 0U);
}

static void print_verdict(enum est_decoded decoded, const struct est_message *message)
{
    if (decoded == EST_DECODED_MESSAGE) {
        (void)printf("message %u %u ", message->id, message->sequence);
        print_hex(message->epoch, EST_EPOCH_SIZE);
        (void)printf(" %u\n", message->row_count);
    } else {
        (void)printf("%s\n", (decoded == EST_DECODED_BAD_FRAME) ? "bad frame" : "bad message");
    }
}

static void decode(const char *words)
{
    struct est_deframer deframer;
    struct est_message message;
    enum est_decoded decoded = EST_DECODED_BAD_FRAME;
    uint8_t bytes[LINE_MAX_SIZE / 2U];
    const size_t size = read_hex(words, bytes, sizeof bytes);
    uint8_t body_size = 0U;
    size_t at;

    est_deframer_clear(&deframer);
    for (at = 0U; at < size; at++) {
        (void)est_deframer_take(&deframer, bytes[at]);
    }
    if ((est_deframer_take(&deframer, 0U) == EST_DEFRAMED_FRAME) &&
        est_deframer_decode(&deframer, &body_size)) {
        decoded = est_decode_body(&deframer.bytes[1], body_size, &message);
    }
    print_verdict(decoded, &message);
}

static void judge(const char *words)
{
    struct est_message message;
    uint8_t body[UINT8_MAX];
    const size_t size = read_hex(words, body, sizeof body);

    print_verdict(est_decode_body(body, (uint8_t)size, &message), &message);
}

static void spoil(struct est_gate *gate, const char *where)
{
    if (strcmp(where, "limits") == 0) {
        gate->session.channels[0].amplitude_ua ^= 1U;
    } else if (strcmp(where, "program") == 0) {
        gate->program.channels[0].unit_us ^= 1U;
    } else if (strcmp(where, "grid") == 0) {
        gate->figures[0].grid_ua ^= 1U;
    } else if (strcmp(where, "pulses") == 0) {
        gate->figures[0].pulses ^= 1U;
    } else {
        gate->figures[0].restarts ^= 1U;
    }
}

static void judge_target(struct est_gate *gate, uint8_t channel, uint32_t target_ua)
{
    struct est_refusal refusal;

    if (est_gate_review_target(gate, channel, target_ua, &refusal)) {
        (void)printf("good\n");
    } else {
        (void)printf("refused %u %" PRIu32 " %" PRIu32 "\n", refusal.limit, refusal.asked,
                     refusal.allowed);
    }
}

static void encode(const char *words)
{
    uint8_t frame[EST_BODY_MAX + EST_FRAME_OVERHEAD];
    const size_t size = read_hex(words, &frame[1], EST_BODY_MAX);

    (void)printf("frame ");
    print_hex(frame, est_frame_encode(frame, (uint8_t)size));
    (void)printf("\n");
}

static void obey(struct bench *bench, const char *line)
{
    uint8_t bytes[LINE_MAX_SIZE / 2U];
    est_us at_us = 0U;
    uint32_t target_ua = 0U;
    unsigned channel = 0U;
    int start = 0;

    if (strncmp(line, "boot ", 5U) == 0) {
        boot(bench, &line[5]);
        print_output(bench);
    } else if (strncmp(line, "decode ", 7U) == 0) {
        decode(&line[7]);
    } else if (strncmp(line, "judge ", 6U) == 0) {
        judge(&line[6]);
    } else if (strncmp(line, "spoil ", 6U) == 0) {
        spoil(&bench->device.gate, &line[6]);
    } else if (sscanf(line, "target %u %" SCNu32, &channel, &target_ua) == 2) {
        judge_target(&bench->device.gate, (uint8_t)channel, target_ua);
    } else if (strncmp(line, "encode ", 7U) == 0) {
        encode(&line[7]);
    } else if (sscanf(line, "bytes %" SCNu64 " %n", &at_us, &start) == 1) {
        const size_t size = read_hex(&line[start], bytes, sizeof bytes);
        bench_advance(bench, at_us);
        est_device_receive(&bench->device, bytes, (uint16_t)size, at_us);
        bench_tell_measured(bench, at_us);
        print_output(bench);
    } else if (sscanf(line, "happen %" SCNu64 " %n", &at_us, &start) == 1) {
        if (!bench_happen(bench, &line[start], at_us)) {
            (void)fprintf(stderr, "lockstep: cannot happen: %s\n", &line[start]);
            exit(EXIT_FAILURE);
        }
        print_output(bench);
    } else if (sscanf(line, "reboot %" SCNu64, &at_us) == 1) {
        bench_advance(bench, at_us);
        bench_reboot(bench);
        print_output(bench);
    } else if (strcmp(line, "peek") == 0) {
        uint8_t index;
        for (index = 0U; index < bench->settings.channel_count; index++) {
            est_channel_report(&bench->device.channels[index], false, 0U, bytes);
        }
    } else if (sscanf(line, "advance %" SCNu64, &at_us) == 1) {
        bench_advance(bench, at_us);
        print_output(bench);
    } else {
        (void)fprintf(stderr, "lockstep: not understood: %s\n", line);
        exit(EXIT_FAILURE);
    }
}

int main(void)
{
    static struct bench bench;
    static char line[LINE_MAX_SIZE];

    bench.sink = print_pulse;
    while (fgets(line, (int)sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        obey(&bench, line);
        (void)printf(".\n");
        (void)fflush(stdout);
    }
    return EXIT_SUCCESS;
}
