#include "machine.h"

#include <stdlib.h>
#include <string.h>

#include <avr_adc.h>
#include <avr_ioport.h>
#include <avr_spi.h>
#include <avr_timer.h>
#include <avr_uart.h>
#include <sim_avr.h>
#include <sim_cycle_timers.h>
#include <sim_elf.h>

/* The board, as ../avr/board.h has it. */
#define PIN_POSITIVE 1
#define PIN_NEGATIVE 2
#define PIN_PATIENT_STOP 2
#define PIN_ENABLE 3
#define PIN_TRIPPED 4
#define PIN_DAC_SELECT 7
#define DAC_UA_PER_COUNT 20U
#define DAC_COUNT_MASK 0x0FFFU
#define COMPLIANCE_MV 100000U
#define SUPPLY_MV 5000U
#define CURRENT_FULL_UA 102400U /* at the supply's voltage */
#define VOLTAGE_FULL_MV 128000U

#define CHECK_INS_AT 0x3EU /* GPIOR0, in data space */
#define TCCR1A_AT 0x80U
#define TCCR1C_AT 0x82U
#define POSITIVE_MODE 0xC0U /* COM1A in TCCR1A */
#define NEGATIVE_MODE 0x30U
#define CLEAR_ON_MATCH 0xA0U /* of both */
#define FORCE_POSITIVE 0x80U /* FOC1A in TCCR1C */
#define FORCE_NEGATIVE 0x40U
#define SPI_BYTE_CYCLES 17U
#define AVR_IO_START 0x20U
#define GUARD_SIZE 8U
#define PAINT 0xC5U /* what no one has written since the reset */
#define SPIN 0xCFFFU       /* rjmp to itself */
#define QUEUE_SIZE 65536U
/* simavr hands bytes on at a pace of its own, from when the first one came: a little faster than
 * they come, or a byte read late would delay all others. */
#define PUMP_CYCLES 300U
/* simavr looks at its timers between two instructions only: no more than this late. */
#define HANDLED_LATE_MAX 8U

static avr_t *avr;
static avr_uart_t *uart;
static avr_timer_t *timer1;
static avr_spi_t *spi;
static FILE *trace;
static machine_sent *on_sent;
static void *sent_context;

static struct {
    uint64_t start_cycle;
    uint8_t byte;
} queue[QUEUE_SIZE];
static size_t queue_first;
static size_t queue_count;
static uint64_t line_free_cycle;

static bool is_positive;
static bool is_negative;
static bool is_enabled;
static bool is_selected;
static uint16_t dac_shift;
static uint16_t dac_word;
static uint32_t load_ohm = 500U;
static uint32_t leak_ua;

static bool is_hang_wanted;
static bool is_hung;
static uint64_t hung_until; /* a stall's end; 0 for a hang, which only a reset ends */
static bool hangs_with_interrupts;
static uint32_t hung_at;
static uint8_t hung_code[2];

static uint16_t statics_end;

static uint64_t fed_cycle;
static struct machine_figures figures;

static void note(uint64_t cycle, const char *signal, uint32_t number)
{
    if (trace != NULL) {
        (void)fprintf(trace, "%llu,%s,%u,%llu\n", (unsigned long long)cycle, signal,
                      (unsigned)number, (unsigned long long)avr->cycle);
    }
}

static void *find_io(const char *kind, char name)
{
    avr_io_t *io;

    for (io = avr->io_port; io != NULL; io = io->next) {
        if (strcmp(io->kind, kind) != 0) {
            continue;
        }
        if ((strcmp(kind, "uart") == 0) && (((avr_uart_t *)io)->name == name)) {
            return io;
        }
        if ((strcmp(kind, "timer") == 0) && (((avr_timer_t *)io)->name == name)) {
            return io;
        }
        if (strcmp(kind, "spi") == 0) {
            return io;
        }
    }
    (void)fprintf(stderr, "estim-avr-run: no %s %c in this processor\n", kind, name);
    exit(EXIT_FAILURE);
}

/* Outputs. */

/* Return the cycle of the compare match that moves a pin now: the one after the equal count. */
static uint64_t match_cycle(unsigned compare)
{
    const avr_timer_comp_t *comp = &timer1->comp[compare];
    const uint16_t at =
        (uint16_t)(avr->data[comp->r_ocr] | (avr->data[comp->r_ocrh] << 8));
    const uint16_t late = (uint16_t)((uint16_t)(avr->cycle - timer1->tov_base) - at - 1U);

    return (late <= HANDLED_LATE_MAX) ? (avr->cycle - late) : avr->cycle;
}

/* A compare unit keeps the level of its last edge while it is not connected to its pin, and drives
 * the pin with it once it is again: so the data sheet has it, and neither emulator does. */
static uint8_t compare_mode;
static bool is_positive_kept;
static bool is_negative_kept;

static void on_compare_mode(struct avr_t *self, avr_io_addr_t at, uint8_t number, void *context)
{
    const uint8_t fresh = (uint8_t)(number & ~compare_mode);

    (void)self;
    (void)at;
    (void)context;
    if (((compare_mode & POSITIVE_MODE) == 0U) && ((fresh & POSITIVE_MODE) != 0U) &&
        is_positive_kept) {
        note(avr->cycle, "kept", 0U);
    }
    if (((compare_mode & NEGATIVE_MODE) == 0U) && ((fresh & NEGATIVE_MODE) != 0U) &&
        is_negative_kept) {
        note(avr->cycle, "kept", 1U);
    }
    compare_mode = number;
}

static void on_force_compare(struct avr_t *self, avr_io_addr_t at, uint8_t number, void *context)
{
    (void)self;
    (void)at;
    (void)context;
    if (((number & FORCE_POSITIVE) != 0U) &&
        ((compare_mode & POSITIVE_MODE) == (CLEAR_ON_MATCH & POSITIVE_MODE))) {
        is_positive_kept = false;
    }
    if (((number & FORCE_NEGATIVE) != 0U) &&
        ((compare_mode & NEGATIVE_MODE) == (CLEAR_ON_MATCH & NEGATIVE_MODE))) {
        is_negative_kept = false;
    }
}

static avr_cycle_count_t on_risen_at_overflow(struct avr_t *self, avr_cycle_count_t when,
                                              void *context)
{
    (void)self;
    (void)when;
    avr_raise_irq(context, 0U);
    return 0U;
}

/* A pin that a match would clear does not rise. simavr raises it where the counter overflows, as in
 * its modes of pulse-width modulation; the chip does nothing there. It is put back a cycle later,
 * since simavr is still about to tell others of it. */
static void on_polarity(struct avr_irq_t *irq, uint32_t number, void *context)
{
    const bool is_first = context == &is_positive;
    const uint8_t side = is_first ? POSITIVE_MODE : NEGATIVE_MODE;
    const bool is_high = (number & 1U) != 0U; /* above it, who tells */
    bool *is_on = context;

    if (!*is_on && is_high && ((compare_mode & side) == (CLEAR_ON_MATCH & side))) {
        avr_cycle_timer_register(avr, 1U, on_risen_at_overflow, irq);
        return;
    }
    if (*is_on != is_high) {
        *is_on = is_high;
        if ((compare_mode & side) != 0U) {
            *(is_first ? &is_positive_kept : &is_negative_kept) = *is_on;
        }
        note(match_cycle(is_first ? 0U : 1U), is_first ? "positive" : "negative", is_high);
    }
}

static void on_enable(struct avr_irq_t *irq, uint32_t number, void *context)
{
    (void)irq;
    (void)context;
    if (is_enabled != (number != 0U)) {
        is_enabled = number != 0U;
        note(avr->cycle, "enable", is_enabled);
    }
}

static void on_dac_select(struct avr_irq_t *irq, uint32_t number, void *context)
{
    (void)irq;
    (void)context;
    if (is_selected && (number != 0U)) {
        dac_word = dac_shift;
        note(avr->cycle, "dac", dac_word);
    }
    is_selected = number == 0U;
}

static void on_dac_byte(struct avr_irq_t *irq, uint32_t number, void *context)
{
    (void)irq;
    (void)context;
    if (is_selected) {
        dac_shift = (uint16_t)((dac_shift << 8) | (number & 0xFFU));
    }
}

/* End a transfer of the SPI. simavr lets every byte take 100 us: its own timer is called sooner. */
static avr_cycle_count_t on_spi_end(struct avr_t *self, avr_cycle_count_t when, void *context)
{
    avr_cycle_timer_slot_p slot = self->cycle_timers.timer;

    (void)context;
    while ((slot != NULL) && (slot->param != spi)) {
        slot = slot->next;
    }
    if (slot != NULL) {
        const avr_cycle_timer_t raise = slot->timer;
        avr_cycle_timer_cancel(self, raise, spi);
        (void)raise(self, when, spi);
    }
    return 0U;
}

static void on_spi_begin(struct avr_t *self, avr_io_addr_t at, uint8_t number, void *context)
{
    (void)at;
    (void)number;
    (void)context;
    avr_cycle_timer_register(self, SPI_BYTE_CYCLES, on_spi_end, NULL);
}

/* The load. */

static void on_sampled(struct avr_irq_t *irq, uint32_t number, void *context)
{
    uint64_t current_ua = 0U;
    uint64_t voltage_mv = 0U;

    (void)irq;
    (void)number;
    (void)context;
    if (is_enabled && (is_positive != is_negative)) {
        current_ua = (uint64_t)(dac_word & DAC_COUNT_MASK) * DAC_UA_PER_COUNT;
        voltage_mv = (current_ua * load_ohm) / 1000U;
        if (load_ohm == UINT32_MAX) {
            current_ua = 0U;
            voltage_mv = COMPLIANCE_MV;
        } else if (voltage_mv > COMPLIANCE_MV) {
            voltage_mv = COMPLIANCE_MV;
            current_ua = (voltage_mv * 1000U) / load_ohm;
        } else {
            /* It flows as commanded. */
        }
    }
    current_ua += leak_ua;
    /* Rounded up, or an exact count would read as the one below. */
    avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_ADC0),
                  (uint32_t)(((current_ua * SUPPLY_MV) + CURRENT_FULL_UA - 1U) / CURRENT_FULL_UA));
    avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_ADC1),
                  (uint32_t)(((voltage_mv * SUPPLY_MV) + VOLTAGE_FULL_MV - 1U) / VOLTAGE_FULL_MV));
}

void machine_set_load(uint32_t ohm)
{
    load_ohm = ohm;
}

void machine_set_leak(uint32_t ua)
{
    leak_ua = ua;
}

/* Inputs. */

static bool is_pressed;
static bool is_tripped;

static void set_inputs(void)
{
    avr_ioport_external_t external = {
        .name = 'D', .mask = (1U << PIN_PATIENT_STOP) | (1U << PIN_TRIPPED), .value = 0U};

    external.value = (is_pressed ? (1U << PIN_PATIENT_STOP) : 0U) |
                     (is_tripped ? (1U << PIN_TRIPPED) : 0U);
    (void)avr_ioctl(avr, AVR_IOCTL_IOPORT_SET_EXTERNAL('D'), &external);
    avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('D'), PIN_PATIENT_STOP), is_pressed);
    avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('D'), PIN_TRIPPED), is_tripped);
}

void machine_set_patient_stop(bool pressed)
{
    is_pressed = pressed;
    set_inputs();
}

void machine_set_tripped(bool tripped)
{
    is_tripped = tripped;
    set_inputs();
}

/* The line. */

static avr_cycle_count_t on_start_bit(struct avr_t *self, avr_cycle_count_t when, void *context)
{
    (void)self;
    (void)context;
    note(when, "line", queue[queue_first].byte);
    uart->cycles_per_byte = PUMP_CYCLES;
    avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT),
                  queue[queue_first].byte);
    queue_first = (queue_first + 1U) % QUEUE_SIZE;
    queue_count--;
    return (queue_count > 0U) ? queue[queue_first].start_cycle : 0U;
}

static void await_start_bit(void)
{
    if (queue_count > 0U) {
        const uint64_t start = queue[queue_first].start_cycle;
        avr_cycle_timer_register(avr, (start > avr->cycle) ? (start - avr->cycle) : 1U,
                                 on_start_bit, NULL);
    }
}

bool machine_receive(uint64_t cycle, const uint8_t *bytes, size_t size)
{
    const bool was_empty = queue_count == 0U;
    size_t at;

    if ((queue_count + size) > QUEUE_SIZE) {
        return false;
    }
    line_free_cycle = (cycle > line_free_cycle) ? cycle : line_free_cycle;
    line_free_cycle = (avr->cycle >= line_free_cycle) ? (avr->cycle + 1U) : line_free_cycle;
    for (at = 0U; at < size; at++) {
        const size_t place = (queue_first + queue_count) % QUEUE_SIZE;
        queue[place].start_cycle = line_free_cycle;
        queue[place].byte = bytes[at];
        queue_count++;
        line_free_cycle += MACHINE_BYTE_CYCLES;
    }
    if (was_empty) {
        await_start_bit();
    }
    return true;
}

static void on_byte_sent(struct avr_irq_t *irq, uint32_t number, void *context)
{
    (void)irq;
    (void)context;
    uart->cycles_per_byte = MACHINE_BYTE_CYCLES;
    on_sent(sent_context, avr->cycle, (uint8_t)number);
}

/* Faults. */

void machine_hang(bool has_interrupts)
{
    is_hang_wanted = true;
    hangs_with_interrupts = has_interrupts;
    hung_until = 0U;
}

void machine_stall(uint32_t cycles)
{
    machine_hang(false);
    hung_until = avr->cycle + cycles;
    /* It would sleep for ever. */
    avr->state = (avr->state == cpu_Sleeping) ? cpu_Running : avr->state;
}

static void go_on(void)
{
    (void)memcpy(&avr->flash[hung_at], hung_code, sizeof hung_code);
    is_hung = false;
}

void machine_poke(uint16_t at, uint8_t byte)
{
    const uint16_t io = (uint16_t)AVR_DATA_TO_IO(at);

    if ((at < MACHINE_RAM_START) && (at >= AVR_IO_START) && (avr->io[io].w.c != NULL)) {
        avr->io[io].w.c(avr, at, byte, avr->io[io].w.param);
    } else {
        avr->data[at] = byte;
    }
}

uint8_t machine_peek(uint16_t at)
{
    return avr->data[at];
}

/* Only the main loop has interrupts on, so there it spins. */
static void hang(void)
{
    if (!avr->sreg[S_I] || (avr->state != cpu_Running)) {
        return;
    }
    hung_at = avr->pc;
    (void)memcpy(hung_code, &avr->flash[hung_at], sizeof hung_code);
    avr->flash[hung_at] = (uint8_t)(SPIN & 0xFFU);
    avr->flash[hung_at + 1U] = (uint8_t)(SPIN >> 8);
    if (!hangs_with_interrupts) {
        avr->sreg[S_I] = 0U;
    }
    is_hang_wanted = false;
    is_hung = true;
    note(avr->cycle, "hang", hangs_with_interrupts);
}

/* Reset. */

static void follow_outputs(void)
{
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('B'), PIN_POSITIVE),
                            on_polarity, &is_positive);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('B'), PIN_NEGATIVE),
                            on_polarity, &is_negative);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('D'), PIN_ENABLE),
                            on_enable, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('D'), PIN_DAC_SELECT),
                            on_dac_select, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_SPI_GETIRQ(0), SPI_IRQ_OUTPUT),
                            on_dac_byte, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_OUT_TRIGGER),
                            on_sampled, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT),
                            on_byte_sent, NULL);
}

/* A chip in reset lets go of its pins, and the board pulls them down. */
static void on_reset(struct avr_t *self)
{
    uint32_t no_flags = 0U;

    (void)self;
    figures.reset_count++;
    figures.longest_feed_cycles = 0U;
    fed_cycle = avr->cycle;
    (void)memset(&avr->data[MACHINE_RAM_START], PAINT, MACHINE_RAM_SIZE);
    note(avr->cycle, "reset", figures.reset_count);
    on_polarity(NULL, 0U, &is_positive);
    on_polarity(NULL, 0U, &is_negative);
    compare_mode = 0U;
    is_positive_kept = false;
    is_negative_kept = false;
    on_enable(NULL, 0U, NULL);
    is_selected = false;
    if (is_hung) {
        go_on();
    }
    (void)avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &no_flags);
    set_inputs();
    /* simavr has just forgotten every timer, ours too. */
    await_start_bit();
}

static void on_fed(struct avr_t *self, avr_io_addr_t at, uint8_t number, void *context)
{
    (void)context;
    self->data[at] = number;
    if (number == 0U) {
        const uint64_t since = self->cycle - fed_cycle;
        figures.longest_feed_cycles =
            (since > figures.longest_feed_cycles) ? since : figures.longest_feed_cycles;
        fed_cycle = self->cycle;
    }
}

/* Time. */

static void do_not_sleep(avr_t *self, avr_cycle_count_t cycles)
{
    (void)self;
    (void)cycles;
}

static avr_cycle_count_t on_until(struct avr_t *self, avr_cycle_count_t when, void *context)
{
    (void)self;
    (void)when;
    (void)context;
    return 0U;
}

uint64_t machine_cycle(void)
{
    return avr->cycle;
}

bool machine_run_until(uint64_t cycle)
{
    if (cycle > avr->cycle) {
        avr_cycle_timer_register(avr, cycle - avr->cycle, on_until, NULL);
    }
    while (avr->cycle < cycle) {
        const int state = avr_run(avr);
        if ((state == cpu_Done) || (state == cpu_Crashed)) {
            return false;
        }
        if (is_hang_wanted) {
            hang();
        } else if (is_hung && (hung_until != 0U) && (avr->cycle >= hung_until)) {
            go_on();
            avr->sreg[S_I] = 1U;
            /* Else simavr looks at what has waited only when the next one comes. */
            avr->interrupt_state = -1;
        } else {
            /* As it goes. */
        }
    }
    return true;
}

struct machine_figures machine_figures(void)
{
    /* Above the bytes that guard it. */
    const uint16_t bottom = (uint16_t)(statics_end + GUARD_SIZE);
    uint16_t at = bottom;
    struct machine_figures now;

    while ((at < (MACHINE_RAM_START + MACHINE_RAM_SIZE)) && (avr->data[at] == PAINT)) {
        at++;
    }
    figures.stack_left = (uint16_t)(at - bottom);
    figures.static_size = (uint16_t)(statics_end - MACHINE_RAM_START);
    now = figures;
    figures.longest_feed_cycles = 0U;
    return now;
}

void machine_start(const char *image, FILE *to_trace, machine_sent *sent, void *context)
{
    elf_firmware_t firmware;

    (void)memset(&firmware, 0, sizeof firmware);
    if (elf_read_firmware(image, &firmware) != 0) {
        (void)fprintf(stderr, "estim-avr-run: %s is no image\n", image);
        exit(EXIT_FAILURE);
    }
    avr = avr_make_mcu_by_name("atmega328p");
    if (avr == NULL) {
        (void)fprintf(stderr, "estim-avr-run: this libsimavr has no atmega328p\n");
        exit(EXIT_FAILURE);
    }
    avr_init(avr);
    avr->log = LOG_NONE;
    firmware.frequency = MACHINE_HZ;
    firmware.vcc = SUPPLY_MV;
    firmware.avcc = SUPPLY_MV;
    avr_load_firmware(avr, &firmware);
    avr->log = LOG_NONE;
    avr->sleep = do_not_sleep;
    trace = to_trace;
    on_sent = sent;
    sent_context = context;
    statics_end = (uint16_t)(MACHINE_RAM_START + firmware.datasize + firmware.bsssize);
    uart = find_io("uart", '0');
    timer1 = find_io("timer", '1');
    spi = find_io("spi", '0');
    follow_outputs();
    avr_register_io_write(avr, spi->r_spdr, on_spi_begin, NULL);
    avr_register_io_write(avr, TCCR1A_AT, on_compare_mode, NULL);
    avr_register_io_write(avr, TCCR1C_AT, on_force_compare, NULL);
    avr_register_io_write(avr, CHECK_INS_AT, on_fed, NULL);
    avr->reset = on_reset;
    if (trace != NULL) {
        (void)fprintf(trace, "cycle,signal,value,handled\n");
    }
    avr_reset(avr);
}
