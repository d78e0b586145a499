/* The reference device on an ATmega328P at 16 MHz.
 *
 * Rules:
 * 1. Outputs are off at reset, before anything else runs, and until the device enters RUNNING.
 * 2. The watchdog is fed in one place, after every task has checked in, the tick interrupt too.
 * 3. No task waits: what cannot be done now is done in the next pass.
 */

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <avr/wdt.h>
#include <stddef.h>
#include <string.h>

#include "board.h"
#include "clock.h"
#include "device.h"
#include "line.h"
#include "stage.h"

#ifndef EST_SERIAL_NUMBER
#define EST_SERIAL_NUMBER "0"
#endif

/* 16 MHz crystal, watchdog always on, brown-out at 4.3 V, no boot loader. */
FUSES = {
    .low = 0xFFU,
    .high = (unsigned char)(FUSE_SPIEN & FUSE_EESAVE & FUSE_WDTON),
    .extended = (unsigned char)(FUSE_BODLEVEL1 & FUSE_BODLEVEL0),
};

/* After so many cycles no further frame is begun in a pass, so that the other tasks get their turn.
 * No number of bytes: a pass costs time of its own, in which the line brings more of them. */
#define FRAMES_CYCLES 10000U

#define BATTERY_MAINS 255U

#define STACK_GUARD 0xA5U
#define STACK_GUARD_SIZE 8U /* bytes: a frame may leave holes where it passes */

/* Milliseconds for which the patient's stop counts as pressed still: contacts bounce. In a register
 * as well. */
#define STOP_HELD GPIOR1
#define STOP_HELD_MS 20U

/* Which tasks have checked in since the watchdog was fed. In a register that costs no RAM and that
 * one instruction changes, from an interrupt too. */
#define CHECK_INS GPIOR0
#define TASK_TICK 1U
#define TASK_LINE 2U
#define TASK_DEVICE 4U
#define TASK_STAGE 8U
#define TASK_REPORTS 16U
#define TASK_STACK 32U
#define TASKS_ALL 63U

static const struct est_settings settings = {
    .model = "estim-avr",
    .serial_number = EST_SERIAL_NUMBER,
    .firmware_version = UINT32_C(1) << 16U,
    .amplitude_max_ua = 80000U,
    .compliance_mv = 100000U,
    /* The queue of the stage holds no more pulses in the time by which they are given ahead. */
    .pulse_period_min_us = 5000U,
    .baud = LINE_BAUD,
    .amplitude_step_ua = 100U,
    .capability_flags = EST_CAPABILITY_FLAG_REPORTS_CURRENT | EST_CAPABILITY_FLAG_REPORTS_LOAD |
                        EST_CAPABILITY_FLAG_HAS_PATIENT_STOP | EST_CAPABILITY_FLAG_HOLDS_BURST |
                        EST_CAPABILITY_FLAG_HOLDS_CYCLE | EST_CAPABILITY_FLAG_HOLDS_KEYFRAMES,
    .phase_min_us = 50U,
    .phase_max_us = 1000U,
    .channel_count = 1U,
    .is_switched = true,
};

static struct est_device device;

/* End of the static variables: what lies above belongs to the stack. */
extern uint8_t __heap_start[STACK_GUARD_SIZE];

ISR(TIMER0_COMPA_vect)
{
    /* Where device time stands still no lease would ever end. */
    if (clock_tick()) {
        CHECK_INS |= TASK_TICK;
    }
    if ((PIND & (1U << PIN_PATIENT_STOP)) != 0U) {
        STOP_HELD = STOP_HELD_MS;
    } else if (STOP_HELD > 0U) {
        STOP_HELD--;
    } else {
        /* Released for long. */
    }
}

/* An interrupt that nobody asked for: without this the program would begin anew, and no one would
 * know. The watchdog does it, and is told of. */
ISR(BADISR_vect, ISR_NAKED)
{
    PORTD &= (uint8_t) ~(1U << PIN_ENABLE);
    for (;;) {
    }
}

/* Wakes the processor once in a millisecond, whatever else happens. */
static void tick_init(void)
{
    OCR0A = 249U;
    TCCR0A = (uint8_t)(1U << WGM01);
    TCCR0B = (uint8_t)((1U << CS01) | (1U << CS00));
    TIMSK0 = (uint8_t)(1U << OCIE0A);
}

static bool is_stop_pressed(void)
{
    return ((PIND & (1U << PIN_PATIENT_STOP)) != 0U) || (STOP_HELD > 0U);
}

static void take_bytes(void)
{
    const est_us now_us = clock_us();
    const uint16_t since = clock_count();
    uint8_t size;
    const uint8_t *bytes = line_peek(&size);

    while ((bytes != NULL) && ((uint16_t)(clock_count() - since) < FRAMES_CYCLES)) {
        est_device_receive(&device, bytes, size, now_us);
        line_drop(size);
        bytes = line_peek(&size);
    }
    CHECK_INS |= TASK_LINE;
}

/* Before any more pulses are given, so that few are in flight: the device's time stands still. */
static void tell_measurements(void)
{
    struct est_measurement measured;

    while (stage_take_measurement(&measured)) {
        est_device_measured(&device, 0U, &measured, device.now_us);
    }
}

static void look_at_stage(void)
{
    if (stage_take_defect() && (device.fault != EST_FAULT_CODE_OUTPUT_STAGE)) {
        est_device_report_defect(&device, device.now_us);
    }
    est_device_set_patient_stop(&device, is_stop_pressed(), device.now_us);
    if (stage_is_alive()) {
        CHECK_INS |= TASK_STAGE;
    }
}

static void send_frames(void)
{
    uint8_t *frame = line_frame();

    if (frame != NULL) {
        const uint8_t size = est_device_take_frame(&device, frame);
        if (size > 0U) {
            line_send(size);
        }
    }
    CHECK_INS |= TASK_REPORTS;
}

static bool is_stack_within(void)
{
    uint8_t at;

    for (at = 0U; at < STACK_GUARD_SIZE; at++) {
        if (__heap_start[at] != STACK_GUARD) {
            return false;
        }
    }
    return true;
}

static void feed_watchdog(void)
{
    if (is_stack_within()) {
        CHECK_INS |= TASK_STACK;
    }
    if (CHECK_INS == TASKS_ALL) {
        CHECK_INS = 0U;
        wdt_reset();
    }
}

int main(void)
{
    const uint8_t reset_cause = MCUSR;
    uint8_t size;

    stage_init();
    MCUSR = 0U;
    wdt_enable(WDTO_15MS);
    (void)memset(__heap_start, STACK_GUARD, STACK_GUARD_SIZE);
    clock_init();
    line_init();
    tick_init();
    est_device_init(&device, &settings, NULL, BATTERY_MAINS, is_stop_pressed());
    SMCR = (uint8_t)(1U << SE); /* idle: timers, line and ADC go on */
    sei();
    if ((reset_cause & (1U << WDRF)) != 0U) {
        est_device_report_defect(&device, clock_us());
    }
    for (;;) {
        tell_measurements();
        take_bytes();
        tell_measurements();
        est_device_advance(&device, clock_us());
        CHECK_INS |= TASK_DEVICE;
        look_at_stage();
        send_frames();
        feed_watchdog();
        if (line_peek(&size) == NULL) {
            sleep_cpu();
        }
    }
}
