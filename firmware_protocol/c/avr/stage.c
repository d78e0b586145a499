#include "stage.h"

#include <avr/interrupt.h>
#include <string.h>
#include <util/atomic.h>

#include "board.h"
#include "clock.h"

/* The pulse in progress, and those whose onset comes within EST_LEAD_US. */
#define QUEUE_SIZE 4U
#define SIDES 2U
#define POSITIVE 0U
#define NEGATIVE 1U

#define NEXT_IN_QUEUE(place) ((uint8_t)(((place) + 1U) % QUEUE_SIZE))

/* The DAC is written, and the first edges are set, this long before a pulse; later than the second
 * figure before it, it is too late. */
#define AHEAD_CYCLES INT32_C(3200)
#define TOO_LATE_CYCLES INT32_C(800)
/* An onset nearer than this can no longer be called off. */
#define COMMITTED_CYCLES INT32_C(200)
/* The compare register reaches 4096 us ahead: longer stretches without an edge are taken in hops. */
#define HOP_FROM_US 3500U
#define HOP_US 2048U
#define HOP_CYCLES (HOP_US * CYCLES_PER_US)
/* Every match lies in the middle of a microsecond, never where the counter begins a new round: there
 * simavr overlooks it. */
#define PLACE 8U
/* Between two edges of one pin the interrupt has to set the second one. */
#define EDGES_APART_MIN_US 50U
/* After the last edge an interrupt may come late by no more than this before it is a defect. */
#define OVERDUE_CYCLES INT32_C(192000)

#define PEAK_UA_MAX 80000U
#define DAC_RUN 0x3000U /* gain 1, output on: the upper bits of its word */
#define LEAK_COUNTS 5U  /* 0.5 mA while nothing shall flow */
#define VISIBLE_UA 400U /* below it the ADC cannot tell whether anything flows */
/* Busy interrupts may leave no time for both samples of a short phase; then those of the pulse before
 * stand. More often in a row than this, it is a defect. */
#define UNSAMPLED_MAX 2U
#define LOAD_OHM_MAX UINT32_C(1000000)
#define COMPLIANCE_COUNTS 784U /* 98 V of 100 V */

/* Edges of one pin: the first one after the onset, each other after the one before. */
struct side {
    uint8_t edge_count;
    uint16_t intervals_us[EST_PHASES];
};

struct train {
    uint32_t onset_cycles;
    uint16_t dac_word;
    bool is_visible;
    struct side sides[SIDES];
};

/* How far one pin has come in the pulse in progress. */
struct progress {
    uint16_t hop_us; /* of the interval, still to go after the next match; 0: the match is an edge */
    uint8_t edges_left;
    const uint16_t *interval_us; /* the next one */
};

enum mode { MODE_IDLE, MODE_WAITING, MODE_PLAYING };
enum sampling { SAMPLING_NOTHING, SAMPLING_CURRENT, SAMPLING_VOLTAGE, SAMPLING_REST };

static struct train queue[QUEUE_SIZE];
static volatile uint8_t queue_first;
static volatile uint8_t queue_count;
static volatile enum mode mode;
static volatile struct progress progress[SIDES];
static volatile bool is_running;
static volatile bool has_failed;

static volatile enum sampling sampling;
static volatile bool has_begun; /* the pulse in progress, with its first edge */
static volatile bool is_in_first_phase;
static volatile bool has_sample;
static uint8_t unsampled_count;
static volatile uint16_t current_sampled;
static volatile uint16_t current_counts;
static volatile uint16_t voltage_counts;

/* What was sampled of one pulse. */
struct sampled {
    uint16_t current_counts;
    uint16_t voltage_counts;
    bool is_visible;
};

/* Of pulses that have ended and that nobody has asked for yet, the oldest first. */
static struct sampled ended[EST_IN_FLIGHT];
static volatile uint8_t ended_count;

/* Pins. */

/* A compare unit keeps the level of its last edge, and drives its pin with it once it is connected
 * again: so both are made low by force. */
static void disconnect(void)
{
    TIMSK1 &= (uint8_t) ~((1U << OCIE1A) | (1U << OCIE1B));
    TCCR1A = (uint8_t)((1U << COM1A1) | (1U << COM1B1));
    TCCR1C = (uint8_t)((1U << FOC1A) | (1U << FOC1B));
    TCCR1A = 0U;
}

static void enable(bool is_on)
{
    if (is_on) {
        PORTD |= (uint8_t)(1U << PIN_ENABLE);
    } else {
        PORTD &= (uint8_t) ~(1U << PIN_ENABLE);
    }
}

static void fail(void)
{
    enable(false);
    disconnect();
    PORTB &= (uint8_t)~POLARITY_PINS;
    mode = MODE_IDLE;
    queue_count = 0U;
    is_running = false;
    has_failed = true;
}

static void write_dac(uint16_t word)
{
    PORTD &= (uint8_t) ~(1U << PIN_DAC_SELECT);
    SPDR = (uint8_t)(word >> 8U);
    while ((SPSR & (1U << SPIF)) == 0U) {
    }
    SPDR = (uint8_t)(word & 0xFFU);
    while ((SPSR & (1U << SPIF)) == 0U) {
    }
    PORTD |= (uint8_t)(1U << PIN_DAC_SELECT);
}

/* Sampling. */

static void sample(uint8_t input, enum sampling wanted)
{
    sampling = wanted;
    ADMUX = (uint8_t)((1U << REFS0) | input);
    ADCSRA |= (uint8_t)(1U << ADSC);
}

/* Current and voltage in turn through the first phase: its last pair counts. The input is held from
 * the start of a conversion, so that one begun in time may end later. */
ISR(ADC_vect)
{
    const uint16_t counts = ADC;

    if (sampling == SAMPLING_CURRENT) {
        current_sampled = counts;
        sampling = SAMPLING_NOTHING;
        if (is_in_first_phase) {
            sample(ADC_VOLTAGE, SAMPLING_VOLTAGE);
        }
    } else if (sampling == SAMPLING_VOLTAGE) {
        current_counts = current_sampled;
        voltage_counts = counts;
        has_sample = true;
        sampling = SAMPLING_NOTHING;
        if (is_in_first_phase) {
            sample(ADC_CURRENT, SAMPLING_CURRENT);
        }
    } else if (sampling == SAMPLING_REST) {
        sampling = SAMPLING_NOTHING;
        if (counts > LEAK_COUNTS) {
            fail();
        }
    } else {
        /* Nothing was asked. */
    }
}

/* Edges. The side is a constant wherever these are used, so that each interrupt becomes short. */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE uint16_t matched(uint8_t side)
{
    return (side == POSITIVE) ? OCR1A : OCR1B;
}

ALWAYS_INLINE void match_at(uint8_t side, uint16_t at)
{
    if (side == POSITIVE) {
        OCR1A = at;
    } else {
        OCR1B = at;
    }
}

ALWAYS_INLINE void toggle_on_match(uint8_t side, bool is_on)
{
    const uint8_t bit = (uint8_t)((side == POSITIVE) ? (1U << COM1A0) : (1U << COM1B0));

    if (is_on) {
        TCCR1A |= bit;
    } else {
        TCCR1A &= (uint8_t)~bit;
    }
}

/* Set the next match of a pin, `interval_us` after `from`. Only a pin that is low makes hops. */
ALWAYS_INLINE void set_interval(uint8_t side, uint16_t from, uint16_t interval_us)
{
    if (interval_us > HOP_FROM_US) {
        toggle_on_match(side, false);
        match_at(side, (uint16_t)(from + HOP_CYCLES));
        progress[side].hop_us = (uint16_t)(interval_us - HOP_US);
    } else {
        match_at(side, (uint16_t)(from + (interval_us * CYCLES_PER_US)));
        toggle_on_match(side, true);
        progress[side].hop_us = 0U;
    }
}

static void approach(void);

static void end_pulse(void)
{
    const bool is_visible = queue[queue_first].is_visible;

    disconnect();
    mode = MODE_IDLE;
    queue_first = NEXT_IN_QUEUE(queue_first);
    queue_count--;
    unsampled_count = has_sample ? 0U : (uint8_t)(unsampled_count + 1U);
    if (((PINB & POLARITY_PINS) != 0U) || (unsampled_count > UNSAMPLED_MAX) ||
        (ended_count == EST_IN_FLIGHT)) {
        fail();
        return;
    }
    /* Told of every pulse, or the device would take one for another. */
    ended[ended_count].current_counts = current_counts;
    ended[ended_count].voltage_counts = voltage_counts;
    ended[ended_count].is_visible = is_visible;
    ended_count++;
    sample(ADC_CURRENT, SAMPLING_REST);
    if (!is_running) {
        enable(false);
    }
    approach();
}

ALWAYS_INLINE void on_match(uint8_t side)
{
    const uint16_t at = matched(side);
    uint16_t interval_us = progress[side].hop_us;

    if (interval_us == 0U) {
        const uint8_t edges_left = (uint8_t)(progress[side].edges_left - 1U);
        if (!has_begun) {
            has_begun = true;
            is_in_first_phase = true;
            sample(ADC_CURRENT, SAMPLING_CURRENT);
        } else {
            /* One edge ends the first phase, and the next one may begin with the same. */
            is_in_first_phase = false;
        }
        progress[side].edges_left = edges_left;
        if (edges_left == 0U) {
            /* The counter comes by here again, in a pulse that lasts longer than a round. */
            toggle_on_match(side, false);
            TIMSK1 = (uint8_t)(TIMSK1 & ~((side == POSITIVE) ? (1U << OCIE1A) : (1U << OCIE1B)));
            if (progress[1U - side].edges_left == 0U) {
                end_pulse();
            }
            return;
        }
        interval_us = *progress[side].interval_us;
        progress[side].interval_us++;
    }
    set_interval(side, at, interval_us);
    if ((progress[side].hop_us == 0U) &&
        ((uint16_t)(TCNT1 - at) >= (uint16_t)(interval_us * CYCLES_PER_US))) {
        fail();
    }
}

ALWAYS_INLINE void set_first_edge(uint8_t side, const struct train *train)
{
    const uint16_t onset = (uint16_t)(train->onset_cycles & 0xFFFFU);

    progress[side].edges_left = train->sides[side].edge_count;
    progress[side].interval_us = &train->sides[side].intervals_us[1];
    set_interval(side, onset, train->sides[side].intervals_us[0]);
}

static int32_t cycles_left(const struct train *train)
{
    return (int32_t)(train->onset_cycles - clock_cycles());
}

/* Write the amplitude and set the first edge of each pin; interrupts are off. Return false where
 * that took too long. */
static bool begin_pulse(const struct train *train)
{
    write_dac(train->dac_word);
    if (cycles_left(train) < COMMITTED_CYCLES) {
        return false;
    }
    has_begun = false;
    is_in_first_phase = false;
    has_sample = false;
    mode = MODE_PLAYING;
    set_first_edge(POSITIVE, train);
    set_first_edge(NEGATIVE, train);
    TIFR1 = (uint8_t)((1U << OCF1A) | (1U << OCF1B));
    TIMSK1 |= (uint8_t)((1U << OCIE1A) | (1U << OCIE1B));
    return true;
}

/* Wait for the next pulse, or begin it; interrupts are off. */
static void approach(void)
{
    mode = MODE_IDLE;
    if (queue_count > 0U) {
        const struct train *train = &queue[queue_first];
        const int32_t left = cycles_left(train);
        if (left > (AHEAD_CYCLES + (int32_t)EDGES_APART_MIN_US)) {
            const int32_t wait = left - AHEAD_CYCLES;
            const uint16_t hop = (wait > (int32_t)HOP_CYCLES) ? HOP_CYCLES : (uint16_t)wait;
            OCR1A = (uint16_t)((uint16_t)(TCNT1 + hop) | PLACE);
            mode = MODE_WAITING;
            TIFR1 = (uint8_t)(1U << OCF1A);
            TIMSK1 |= (uint8_t)(1U << OCIE1A);
            return;
        }
        if (!begin_pulse(train)) {
            fail();
        }
    }
    /* With nothing to begin, whoever asks has let go of the pins already. */
}

ISR(TIMER1_COMPA_vect)
{
    if (mode == MODE_PLAYING) {
        on_match(POSITIVE);
    } else {
        approach();
    }
}

ISR(TIMER1_COMPB_vect)
{
    on_match(NEGATIVE);
}

/* The core's view. */

/* Write a pulse as edges; return false where the pins cannot play it, or it is none that the core
 * may ask for: out of balance, too strong, too long. */
static bool plan(struct train *train, const struct est_pulse *pulse)
{
    uint16_t last_us[SIDES] = {0U, 0U};
    uint16_t now_us = 0U;
    int16_t net_us = 0;
    uint8_t on = SIDES; /* the side that is high */
    uint8_t at;

    if (pulse->peak_ua > PEAK_UA_MAX) {
        return false;
    }
    train->onset_cycles = ((uint32_t)(pulse->onset_us & UINT32_MAX) * CYCLES_PER_US) + PLACE;
    train->dac_word = (uint16_t)(DAC_RUN | (uint16_t)(pulse->peak_ua / DAC_UA_PER_COUNT));
    train->is_visible = pulse->peak_ua >= VISIBLE_UA;
    train->sides[POSITIVE].edge_count = 0U;
    train->sides[NEGATIVE].edge_count = 0U;
    for (at = 0U; at <= pulse->phase_count; at++) {
        const int32_t current_ua = (at < pulse->phase_count) ? pulse->phases[at].current_ua : 0;
        const uint8_t wanted = (uint8_t)((current_ua > 0)   ? POSITIVE
                                         : (current_ua < 0) ? NEGATIVE
                                                            : SIDES);
        uint8_t side;
        for (side = 0U; side < SIDES; side++) {
            struct side *edges = &train->sides[side];
            if ((side == on) != (side == wanted)) {
                const uint16_t apart_us = (uint16_t)(now_us - last_us[side]);
                if ((edges->edge_count > 0U) && (apart_us < EDGES_APART_MIN_US)) {
                    return false;
                }
                if (side == on) {
                    if (apart_us > EST_LIMIT_PHASE_DURATION_US_MAX) {
                        return false;
                    }
                    net_us = (int16_t)((side == POSITIVE) ? (net_us + (int16_t)apart_us)
                                                          : (net_us - (int16_t)apart_us));
                }
                edges->intervals_us[edges->edge_count] = apart_us;
                edges->edge_count++;
                last_us[side] = now_us;
            }
        }
        on = wanted;
        if (at < pulse->phase_count) {
            now_us = (uint16_t)(now_us + pulse->phases[at].duration_us);
        }
    }
    return net_us == 0;
}

enum est_play est_hardware_play(void *port, const struct est_pulse *pulse,
                                struct est_measurement *measured)
{
    enum est_play play = EST_PLAY_MISSED;
    struct train *train = queue;
    bool is_planned = false;

    (void)port;
    (void)measured;
    /* The first of the queue may be taken meanwhile, which moves its end nowhere. */
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        train = &queue[(uint8_t)(queue_first + queue_count) % QUEUE_SIZE];
        is_planned = queue_count < QUEUE_SIZE;
    }
    is_planned = is_planned && plan(train, pulse);
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        if (!is_running) {
            /* A defect has been found meanwhile. */
        } else if (is_planned && (cycles_left(train) > TOO_LATE_CYCLES)) {
            play = EST_PLAY_PENDING;
            queue_count++;
            if (mode == MODE_IDLE) {
                approach();
            }
        } else {
            /* What was asked for and is not played is a defect, never silence. */
            fail();
        }
    }
    return play;
}

void est_hardware_enter_state(void *port, uint8_t state)
{
    (void)port;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        is_running = state == EST_DEVICE_STATE_RUNNING;
        if (is_running) {
            enable(true);
        } else if ((mode == MODE_PLAYING) &&
                   (cycles_left(&queue[queue_first]) < COMMITTED_CYCLES)) {
            queue_count = 1U;
        } else {
            enable(false);
            disconnect();
            mode = MODE_IDLE;
            queue_count = 0U;
        }
    }
}

static uint16_t sample_now(uint8_t input)
{
    ADMUX = (uint8_t)((1U << REFS0) | input);
    ADCSRA = (uint8_t)((1U << ADEN) | (1U << ADSC) | (1U << ADPS2));
    while ((ADCSRA & (1U << ADSC)) != 0U) {
    }
    ADCSRA = (uint8_t)((1U << ADEN) | (1U << ADIF) | (1U << ADIE) | (1U << ADPS2));
    return ADC;
}

uint16_t est_hardware_self_test(void *port)
{
    uint16_t failed = 0U;

    (void)port;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        /* While the last pulse is being finished there is current, and rightly so. */
        if ((mode != MODE_PLAYING) && (sampling == SAMPLING_NOTHING) &&
            (((PINB & POLARITY_PINS) != 0U) || (sample_now(ADC_CURRENT) > LEAK_COUNTS))) {
            failed |= EST_SELF_TEST_STAGE;
        }
        if ((PIND & (1U << PIN_STAGE_TRIPPED)) != 0U) {
            failed |= EST_SELF_TEST_INPUTS;
        }
    }
    return failed;
}

/* The port's view. */

void stage_init(void)
{
    PORTB = 0U;
    DDRB = (uint8_t)(POLARITY_PINS | (1U << PIN_DAC_DATA) | (1U << PIN_DAC_CLOCK));
    PORTD = (uint8_t)((1U << PIN_DAC_SELECT) | (1U << PIN_PATIENT_STOP) | (1U << PIN_STAGE_TRIPPED));
    DDRD = (uint8_t)((1U << PIN_ENABLE) | (1U << PIN_DAC_SELECT));
    SPSR = (uint8_t)(1U << SPI2X);
    SPCR = (uint8_t)((1U << SPE) | (1U << MSTR));
    /* 1 MHz: 13 us a conversion. */
    ADCSRA = (uint8_t)((1U << ADEN) | (1U << ADIE) | (1U << ADPS2));
    DIDR0 = (uint8_t)((1U << ADC_CURRENT) | (1U << ADC_VOLTAGE));
    write_dac(DAC_RUN);
}

bool stage_take_measurement(struct est_measurement *measured)
{
    struct sampled oldest = {0U, 0U, false};
    bool is_new = false;

    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        if (ended_count > 0U) {
            is_new = true;
            oldest = ended[0];
            ended_count--;
            (void)memmove(&ended[0], &ended[1], ended_count * sizeof ended[0]);
        }
    }
    if (is_new) {
        const uint16_t current = oldest.current_counts;
        const uint16_t voltage = oldest.voltage_counts;
        measured->peak_ua = current * UA_PER_COUNT;
        measured->is_delivered = (current > 0U) || (!oldest.is_visible);
        measured->is_compliance_reached = voltage >= COMPLIANCE_COUNTS;
        measured->load_ohm = LOAD_OHM_MAX;
        if (current > 0U) {
            const uint32_t load_ohm =
                (voltage * (MV_PER_COUNT * 1000U / UA_PER_COUNT)) / current;
            measured->load_ohm = (load_ohm < LOAD_OHM_MAX) ? load_ohm : LOAD_OHM_MAX;
        }
    }
    return is_new;
}

bool stage_take_defect(void)
{
    const bool is_tripped = (PIND & (1U << PIN_STAGE_TRIPPED)) != 0U;
    bool is_defect = is_tripped;

    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        is_defect = is_defect || has_failed;
        has_failed = false;
        if (is_tripped) {
            enable(false);
        }
    }
    return is_defect;
}

bool stage_is_alive(void)
{
    bool is_alive = true;

    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        if (mode != MODE_IDLE) {
            is_alive = cycles_left(&queue[queue_first]) > -OVERDUE_CYCLES;
        }
    }
    return is_alive;
}
