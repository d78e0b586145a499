/* Fuzzing of the whole core: any bytes, messages, times and mishaps, with a watch on what flows.
 *
 * An input is a list of moves (see `move`). Whatever they are, an independent watch holds at every
 * pulse and after every move:
 * 1. Nothing flows without a lease: not 320 ms after the last Drive that the host sent.
 * 2. No amplitude is above the compiled limit, the session's limit, or what the slew allows since
 *    RUNNING began; no phase carries more than 20 uC + 28 uC/ms allow.
 * 3. Every pulse is balanced to the last picocoulomb, and whole.
 * 4. The two polarities of a channel are never on together: each switch has an interval of its own.
 * 5. Pulses of two channels never overlap, unless the programme says that they may.
 * 6. RUNNING is entered from ARMED alone; outside of it every target and setpoint is 0.
 * 7. Every frame out is whole, with the next sequence; no event is dated back.
 *
 * Built with libFuzzer, or (EST_FUZZ_STANDALONE) with a driver of its own that needs no clang. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"

#define LEASE_US UINT64_C(320000)
#define MOVES_MAX 400U
#define BODY_ROOM (EST_BODY_MAX + EST_FRAME_OVERHEAD)

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "fuzz.c:%d: does not hold: %s\n", __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* One switch of a bridge: until when it is on. */
struct bridge {
    est_us positive_until_us;
    est_us negative_until_us;
    est_us pulse_until_us;
};

struct world {
    struct est_device device;
    struct est_settings settings;
    struct bridge bridges[EST_CHANNELS];
    uint32_t load_ohm[EST_CHANNELS];
    uint32_t gain_permille[EST_CHANNELS];
    est_us now_us;
    est_us drive_sent_us; /* EST_NEVER before the first one */
    est_us running_since_us;
    uint16_t sequence;
    uint16_t next_sequence_in;
    uint16_t failed_checks;
    uint8_t state;
    bool is_late; /* the port says that it missed a pulse */
    bool is_slow; /* it measures later */
    uint8_t epoch[EST_EPOCH_SIZE];
};

struct input {
    const uint8_t *bytes;
    size_t size;
};

static uint8_t next_u8(struct input *input)
{
    uint8_t byte = 0U;

    if (input->size > 0U) {
        byte = input->bytes[0];
        input->bytes++;
        input->size--;
    }
    return byte;
}

static uint16_t next_u16(struct input *input)
{
    const uint16_t low = next_u8(input);

    return (uint16_t)(low | ((uint16_t)next_u8(input) << 8U));
}

static uint32_t next_u32(struct input *input)
{
    const uint32_t low = next_u16(input);

    return low | ((uint32_t)next_u16(input) << 16U);
}

/* The watch. */

static unsigned long pulses_watched = 0UL;

static void watch_phases(struct world *world, const struct est_pulse *pulse)
{
    struct bridge *bridge = &world->bridges[pulse->channel];
    est_us at_us = pulse->onset_us;
    int64_t net_pc = 0;
    uint8_t phase;

    for (phase = 0U; phase < pulse->phase_count; phase++) {
        const struct est_phase *each = &pulse->phases[phase];
        const int64_t current_ua = each->current_ua;
        const int64_t size_ua = (current_ua < 0) ? -current_ua : current_ua;
        const int64_t lasts_us = each->duration_us;
        HOLDS(lasts_us > 0);
        HOLDS(size_ua <= (int64_t)pulse->peak_ua);
        if (current_ua != 0) {
            HOLDS((lasts_us >= 10) && (lasts_us <= 1000));
            HOLDS((size_ua * lasts_us) <= (20000000 + (28000 * lasts_us)));
        }
        if (current_ua > 0) {
            HOLDS(bridge->negative_until_us <= at_us);
            bridge->positive_until_us = at_us + each->duration_us;
        }
        if (current_ua < 0) {
            HOLDS(bridge->positive_until_us <= at_us);
            bridge->negative_until_us = at_us + each->duration_us;
        }
        net_pc += current_ua * lasts_us;
        at_us += each->duration_us;
    }
    HOLDS(net_pc == 0);
    HOLDS((at_us - pulse->onset_us) == pulse->pulse_us);
    HOLDS(pulse->pulse_us <= 10000U);
    HOLDS(bridge->pulse_until_us <= pulse->onset_us);
    bridge->pulse_until_us = at_us;
}

static void watch_pulse(struct world *world, const struct est_pulse *pulse)
{
    const struct est_device *device = &world->device;
    const uint32_t session_ua = device->gate.session.channels[pulse->channel].amplitude_ua;
    uint8_t other;

    HOLDS(device->state == EST_DEVICE_STATE_RUNNING);
    HOLDS(world->state == EST_DEVICE_STATE_RUNNING);
    HOLDS(world->drive_sent_us != EST_NEVER);
    HOLDS(pulse->onset_us < (world->drive_sent_us + LEASE_US));
    HOLDS(pulse->channel < world->settings.channel_count);
    HOLDS((pulse->phase_count >= 2U) && (pulse->phase_count <= EST_PHASES));
    HOLDS((pulse->peak_ua > 0U) && (pulse->peak_ua <= 100000U));
    HOLDS(pulse->peak_ua <= world->settings.amplitude_max_ua);
    HOLDS(pulse->peak_ua <= session_ua);
    /* 2 mA/s, from nothing. */
    HOLDS(((uint64_t)pulse->peak_ua * 500U) <= (pulse->onset_us - world->running_since_us));
    watch_phases(world, pulse);
    if ((device->gate.program.flags & EST_PROGRAM_FLAG_ALLOW_OVERLAP) == 0U) {
        for (other = 0U; other < world->settings.channel_count; other++) {
            HOLDS((other == pulse->channel) ||
                  (world->bridges[other].pulse_until_us <= pulse->onset_us));
        }
    }
}

static void watch_device(const struct world *world)
{
    const struct est_device *device = &world->device;
    uint8_t index;

    HOLDS(device->state == world->state);
    HOLDS((device->fault == EST_FAULT_CODE_NONE) == (device->state != EST_DEVICE_STATE_FAULT));
    for (index = 0U; index < world->settings.channel_count; index++) {
        const struct est_channel *channel = &device->channels[index];
        HOLDS(channel->setpoint_ua <= channel->target_ua);
        HOLDS(channel->target_ua <= device->gate.session.channels[index].amplitude_ua);
        HOLDS((device->state == EST_DEVICE_STATE_RUNNING) || (channel->target_ua == 0U));
        HOLDS((!channel->is_latched) || (channel->target_ua == 0U));
    }
}

static void watch_frame(struct world *world, const uint8_t *frame, uint8_t size)
{
    struct est_deframer deframer;
    uint8_t body_size = 0U;
    uint8_t content_size;
    uint8_t at;

    est_deframer_clear(&deframer);
    HOLDS(size <= EST_FRAME_OUT_MAX);
    for (at = 0U; at < (size - 1U); at++) {
        HOLDS(frame[at] != 0U);
        (void)est_deframer_take(&deframer, frame[at]);
    }
    HOLDS(est_deframer_take(&deframer, frame[at]) == EST_DEFRAMED_FRAME);
    HOLDS(est_deframer_decode(&deframer, &body_size));
    HOLDS((body_size >= EST_BODY_MIN) && (body_size <= EST_BODY_MAX));
    content_size = (uint8_t)(body_size - EST_CRC_SIZE);
    HOLDS(est_crc32(0U, &deframer.bytes[1], content_size) ==
          est_get_u32(&deframer.bytes[1U + content_size]));
    HOLDS(est_get_u16(&deframer.bytes[2]) == world->next_sequence_in);
    world->next_sequence_in++;
}

/* What a port supplies. */

enum est_play est_hardware_play(void *port, const struct est_pulse *pulse,
                                struct est_measurement *measured)
{
    struct world *world = port;
    const uint32_t gain_permille = world->gain_permille[pulse->channel];
    const uint32_t load_ohm = world->load_ohm[pulse->channel];

    watch_pulse(world, pulse);
    pulses_watched++;
    if (world->is_late) {
        return EST_PLAY_MISSED;
    }
    measured->peak_ua = (uint32_t)(((uint64_t)pulse->peak_ua * gain_permille) / 1000U);
    measured->load_ohm = load_ohm;
    measured->is_compliance_reached = load_ohm > 60000U;
    measured->is_delivered = load_ohm != 0U;
    return world->is_slow ? EST_PLAY_PENDING : EST_PLAY_MEASURED;
}

void est_hardware_enter_state(void *port, uint8_t state)
{
    struct world *world = port;

    if (state == EST_DEVICE_STATE_RUNNING) {
        HOLDS(world->state == EST_DEVICE_STATE_ARMED);
        world->running_since_us = world->device.run_us;
    }
    if (state == EST_DEVICE_STATE_ARMED) {
        HOLDS((world->state == EST_DEVICE_STATE_SAFE) ||
              (world->state == EST_DEVICE_STATE_RUNNING));
    }
    world->state = state;
}

uint16_t est_hardware_self_test(void *port)
{
    return ((const struct world *)port)->failed_checks;
}

/* What a host sends. */

static void take_frames(struct world *world)
{
    uint8_t frame[EST_FRAME_OUT_MAX];
    uint8_t size;

    while ((size = est_device_take_frame(&world->device, frame)) > 0U) {
        watch_frame(world, frame, size);
    }
}

static void send(struct world *world, uint8_t id, const uint8_t *payload, uint8_t size,
                 uint8_t spoilt)
{
    uint8_t frame[BODY_ROOM];
    const uint8_t content_size = (uint8_t)(EST_HEADER_SIZE + size);
    uint8_t frame_size;

    frame[1] = id;
    est_put_u16(&frame[2], world->sequence);
    world->sequence++;
    (void)memcpy(&frame[4], world->epoch, EST_EPOCH_SIZE);
    if (size > 0U) {
        (void)memcpy(&frame[1U + EST_HEADER_SIZE], payload, size);
    }
    est_put_u32(&frame[1U + content_size], est_crc32(0U, &frame[1], content_size));
    frame_size = est_frame_encode(frame, (uint8_t)(content_size + EST_CRC_SIZE));
    if (spoilt != 0U) {
        frame[spoilt % frame_size] ^= spoilt;
    }
    if (id == EST_MESSAGE_DRIVE) {
        world->drive_sent_us = world->now_us;
    }
    est_device_receive(&world->device, frame, frame_size, world->now_us);
}

static void send_hello(struct world *world)
{
    uint8_t payload[EST_HELLO_SIZE];

    payload[EST_HELLO_AT_PROTOCOL_VERSION] = EST_PROTOCOL_VERSION;
    est_put_u32(&payload[EST_HELLO_AT_SCHEMA_HASH], EST_SCHEMA_HASH);
    send(world, EST_MESSAGE_HELLO, payload, EST_HELLO_SIZE, 0U);
}

static void send_message(struct world *world, struct input *input)
{
    uint8_t payload[EST_BODY_MAX];
    const uint8_t id = next_u8(input);
    const uint8_t size = (uint8_t)(next_u8(input) % (EST_BODY_MAX - EST_BODY_MIN + 1U));
    const uint8_t spoilt = (uint8_t)((next_u8(input) > 200U) ? next_u8(input) : 0U);
    uint8_t at;

    for (at = 0U; at < size; at++) {
        payload[at] = next_u8(input);
    }
    send(world, id, payload, size, spoilt);
}

static void send_drive(struct world *world, struct input *input)
{
    uint8_t payload[EST_DRIVE_SIZE + (EST_WIRE_CHANNELS_MAX * EST_TARGET_ROW_SIZE)];
    const struct est_device *device = &world->device;
    const uint8_t how = next_u8(input);
    uint8_t count = device->gate.program.channel_count;
    uint8_t index;

    payload[EST_DRIVE_AT_WANTED_STATE] = (uint8_t)(how % 3U);
    est_put_u32(&payload[EST_DRIVE_AT_ECHOED_TICK_MS],
                (uint32_t)(world->now_us / 1000U) - (((how & 64U) != 0U) ? next_u16(input) : 0U));
    est_put_u32(&payload[EST_DRIVE_AT_PROGRAM_DIGEST],
                device->gate.program.digest ^ (((how & 128U) != 0U) ? next_u8(input) : 0U));
    est_put_u32(&payload[EST_DRIVE_AT_LIMITS_DIGEST], device->gate.limits_digest);
    count = (count > EST_WIRE_CHANNELS_MAX) ? EST_WIRE_CHANNELS_MAX : count;
    payload[EST_DRIVE_AT_TARGETS_COUNT] = count;
    for (index = 0U; index < count; index++) {
        est_put_u32(&payload[EST_DRIVE_AT_TARGETS + (index * EST_TARGET_ROW_SIZE)],
                    ((how & 4U) != 0U) ? ((uint32_t)next_u16(input) * 2U) : 0U);
    }
    send(world, EST_MESSAGE_DRIVE, payload,
         (uint8_t)(EST_DRIVE_SIZE + (count * EST_TARGET_ROW_SIZE)), 0U);
}

/* Load a programme that is nearly always well formed: pairs, and what nests around them. */
static void send_program(struct world *world, struct input *input)
{
    uint8_t payload[EST_PROGRAM_PHASES_SIZE + (EST_WIRE_PHASES_MAX * EST_PHASE_ROW_SIZE)];
    const uint8_t how = next_u8(input);
    const uint8_t count = (uint8_t)(1U + (how % world->settings.channel_count));
    const uint16_t unit_us = (uint16_t)(10U + (next_u8(input) * 4U));
    const uint32_t period_us = 2200U + ((uint32_t)next_u16(input) * 4U);
    uint32_t digest;
    uint8_t index;

    payload[EST_BEGIN_PROGRAM_AT_CHANNEL_COUNT] = count;
    payload[EST_BEGIN_PROGRAM_AT_FLAGS] = (uint8_t)(how >> 7U);
    digest = est_crc32(0U, payload, EST_BEGIN_PROGRAM_SIZE);
    send(world, EST_MESSAGE_BEGIN_PROGRAM, payload, EST_BEGIN_PROGRAM_SIZE, 0U);
    for (index = 0U; index < count; index++) {
        uint8_t *row = &payload[EST_PROGRAM_PHASES_AT_PHASES];
        const uint16_t size =
            (uint16_t)(EST_PROGRAM_PHASES_SIZE + (((how & 8U) != 0U) ? 3U : 2U) * EST_PHASE_ROW_SIZE);
        (void)memset(payload, 0, sizeof payload);
        payload[EST_PROGRAM_PHASES_AT_CHANNEL] = index;
        est_put_u16(&payload[EST_PROGRAM_PHASES_AT_UNIT_US], unit_us);
        est_put_u32(&payload[EST_PROGRAM_PHASES_AT_PULSE_PERIOD_US], period_us * count);
        est_put_u32(&payload[EST_PROGRAM_PHASES_AT_PULSE_OFFSET_US], period_us * index);
        if ((how & 16U) != 0U) {
            est_put_u16(&payload[EST_PROGRAM_PHASES_AT_PULSES_PER_BURST], 5U);
            est_put_u32(&payload[EST_PROGRAM_PHASES_AT_BURST_PERIOD_US], period_us * count * 7U);
        }
        if ((how & 32U) != 0U) {
            est_put_u16(&payload[EST_PROGRAM_PHASES_AT_RAMP_UP_MS], 300U);
            est_put_u32(&payload[EST_PROGRAM_PHASES_AT_ON_MS], 500U);
            est_put_u16(&payload[EST_PROGRAM_PHASES_AT_RAMP_DOWN_MS], 200U);
            est_put_u32(&payload[EST_PROGRAM_PHASES_AT_OFF_MS], next_u8(input));
        }
        payload[EST_PROGRAM_PHASES_AT_PHASES_COUNT] = ((how & 8U) != 0U) ? 3U : 2U;
        est_put_u16(&row[EST_PHASE_ROW_AT_DURATION], 1U);
        est_put_u16(&row[EST_PHASE_ROW_AT_AMPLITUDE_PERMILLE], 1000U);
        row = &row[EST_PHASE_ROW_SIZE];
        if ((how & 8U) != 0U) {
            est_put_u16(&row[EST_PHASE_ROW_AT_DURATION], (uint16_t)(1U + next_u8(input)));
            row = &row[EST_PHASE_ROW_SIZE];
        }
        est_put_u16(&row[EST_PHASE_ROW_AT_DURATION], ((how & 64U) != 0U) ? 4U : 1U);
        est_put_u16(&row[EST_PHASE_ROW_AT_AMPLITUDE_PERMILLE],
                    ((how & 64U) != 0U) ? (uint16_t)-250 : (uint16_t)-1000);
        digest = est_crc32(digest, payload, size);
        send(world, EST_MESSAGE_PROGRAM_PHASES, payload, (uint8_t)size, 0U);
    }
    est_put_u32(payload, digest);
    send(world, EST_MESSAGE_COMMIT_PROGRAM, payload, EST_COMMIT_PROGRAM_SIZE, 0U);
}

/* Go to RUNNING and keep it for a while: a Drive every 50 ms with the same targets. */
static void keep(struct world *world, struct input *input)
{
    const uint8_t drives = (uint8_t)(next_u8(input) % 64U);
    const uint8_t target = (uint8_t)(next_u8(input) % 48U);
    uint8_t count;

    for (count = 0U; count < drives; count++) {
        /* Modulo 3: ARMED, then RUNNING; bit 2 gives targets, in units of 512 uA. */
        const uint8_t how = (count == 0U) ? 1U : ((count == 1U) ? 8U : 20U);
        const uint8_t bytes[9] = {how, 0U, target, 0U, target, 0U, target, 0U, target};
        struct input repeated = {bytes, sizeof bytes};
        send_drive(world, &repeated);
        world->now_us += (count > 1U) ? 50000U : 0U;
        est_device_advance(&world->device, world->now_us);
    }
}

static void mishap(struct world *world, struct input *input)
{
    const uint8_t what = next_u8(input);
    const uint8_t channel = (uint8_t)(next_u8(input) % world->settings.channel_count);
    const struct est_measurement measured = {next_u32(input), next_u16(input), (what & 16U) != 0U,
                                             (what & 32U) != 0U};

    switch (what % 9U) {
    case 0U:
        world->load_ohm[channel] = next_u16(input) * 2U;
        break;
    case 1U:
        world->gain_permille[channel] = next_u16(input) % 5001U;
        break;
    case 2U:
        est_device_set_patient_stop(&world->device, (what & 64U) != 0U, world->now_us);
        break;
    case 3U:
        est_device_set_battery(&world->device, (uint8_t)(next_u8(input) % 101U), world->now_us);
        break;
    case 4U:
        est_device_report_defect(&world->device, world->now_us);
        break;
    case 5U:
        world->failed_checks = (uint16_t)(next_u8(input) & EST_SELF_TEST_ALL);
        break;
    case 6U:
        world->is_late = !world->is_late;
        break;
    case 7U:
        world->is_slow = !world->is_slow;
        break;
    default:
        est_device_measured(&world->device, channel, &measured, world->now_us);
        break;
    }
}

static void receive_noise(struct world *world, struct input *input)
{
    uint8_t noise[64];
    const uint8_t size = (uint8_t)(next_u8(input) % sizeof noise);
    uint8_t at;

    for (at = 0U; at < size; at++) {
        noise[at] = next_u8(input);
    }
    est_device_receive(&world->device, noise, size, world->now_us);
}

static void move(struct world *world, struct input *input)
{
    uint8_t acknowledged[EST_ACKNOWLEDGE_FAULT_SIZE];

    switch (next_u8(input) % 12U) {
    case 0U:
        receive_noise(world, input);
        break;
    case 1U:
        send_message(world, input);
        break;
    case 2U:
        world->now_us += next_u16(input);
        est_device_advance(&world->device, world->now_us);
        break;
    case 3U:
        world->now_us += (uint64_t)next_u16(input) * 50U;
        est_device_advance(&world->device, world->now_us);
        break;
    case 4U:
        send_program(world, input);
        break;
    case 5U:
    case 6U:
        send_drive(world, input);
        break;
    case 7U:
        keep(world, input);
        break;
    case 8U:
        mishap(world, input);
        break;
    case 9U:
        send(world, EST_MESSAGE_STOP, NULL, 0U, 0U);
        break;
    case 10U:
        est_put_u16(acknowledged, world->device.latch_count);
        acknowledged[EST_ACKNOWLEDGE_FAULT_AT_CHANNELS] = (uint8_t)(next_u8(input) & 15U);
        send(world, EST_MESSAGE_ACKNOWLEDGE_FAULT, acknowledged, EST_ACKNOWLEDGE_FAULT_SIZE, 0U);
        break;
    default:
        world->epoch[next_u8(input) % EST_EPOCH_SIZE]++;
        send_hello(world);
        break;
    }
    take_frames(world);
    watch_device(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct world world;
    struct input input = {bytes, size};
    const uint8_t how = next_u8(&input);
    uint8_t index;
    uint32_t moves;

    (void)memset(&world, 0, sizeof world);
    world.drive_sent_us = EST_NEVER;
    world.settings.model = "fuzzed";
    world.settings.serial_number = "FUZZ-0001-is-16-";
    world.settings.amplitude_max_ua = ((how & 4U) != 0U) ? 60000U : 100000U;
    world.settings.amplitude_step_ua = ((how & 8U) != 0U) ? 100U : 1U;
    world.settings.compliance_mv = 180000U;
    world.settings.baud = 115200U;
    world.settings.capability_flags = 127U;
    world.settings.phase_min_us = 10U;
    world.settings.phase_max_us = 1000U;
    world.settings.pulse_period_min_us = 100U;
    world.settings.channel_count = (uint8_t)(1U + ((how & 3U) % EST_CHANNELS));
    world.settings.is_switched = (how & 16U) != 0U;
    for (index = 0U; index < EST_CHANNELS; index++) {
        world.load_ohm[index] = 500U;
        world.gain_permille[index] = 1000U;
    }
    est_device_init(&world.device, &world.settings, &world, 100U, (how & 64U) != 0U);
    if ((how & 32U) == 0U) {
        send_hello(&world);
        send_program(&world, &input);
    }
    for (moves = 0U; (moves < MOVES_MAX) && (input.size > 0U); moves++) {
        move(&world, &input);
    }
    world.now_us += UINT64_C(2000000);
    est_device_advance(&world.device, world.now_us);
    take_frames(&world);
    HOLDS(world.device.state != EST_DEVICE_STATE_RUNNING);
    watch_device(&world);
    return 0;
}

#ifdef EST_FUZZ_STANDALONE

/* `fuzz RUNS SEED`: random inputs, the same for the same seed; or `fuzz FILE` for one of them. */
static uint64_t random_state;

static uint8_t random_byte(void)
{
    random_state ^= random_state << 13U;
    random_state ^= random_state >> 7U;
    random_state ^= random_state << 17U;
    return (uint8_t)(random_state >> 24U);
}

int main(int count, char **words)
{
    static uint8_t bytes[4096];
    unsigned long runs = 0UL;
    unsigned long run;
    size_t at;

    if (count != 3) {
        (void)fprintf(stderr, "usage: fuzz RUNS SEED\n");
        return 2;
    }
    runs = strtoul(words[1], NULL, 10);
    random_state = strtoull(words[2], NULL, 10) | (UINT64_C(1) << 40U);
    for (run = 0UL; run < runs; run++) {
        const size_t size = 1U + (((size_t)random_byte() * 16U) % sizeof bytes);
        for (at = 0U; at < size; at++) {
            bytes[at] = random_byte();
        }
        bytes[0] &= (uint8_t)~48U; /* a session begins */
        (void)LLVMFuzzerTestOneInput(bytes, size);
    }
    (void)printf("%lu runs, %lu pulses watched\n", runs, pulses_watched);
    return 0;
}

#endif
