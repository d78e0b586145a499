/* An ATmega328P with its board, emulated by libsimavr: line, DAC, load, inputs, and what is seen.
 *
 * Rules:
 * 1. Time is the processor's cycles and nothing else.
 * 2. Every edge of an output, DAC word, reset and byte goes into the trace with its cycle.
 * 3. The emulated image is the one that a chip would get: nothing in it knows of the emulation.
 */

#ifndef EST_EMULATION_MACHINE_H
#define EST_EMULATION_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MACHINE_HZ 16000000U
/* Ten bits at 500 kbaud. */
#define MACHINE_BYTE_CYCLES 320U
#define MACHINE_RAM_START 0x100U
#define MACHINE_RAM_SIZE 0x800U

typedef void machine_sent(void *context, uint64_t cycle, uint8_t byte);

/* Load the image and reset; exit with a message where that fails. `trace` may be NULL. */
void machine_start(const char *image, FILE *trace, machine_sent *sent, void *context);

uint64_t machine_cycle(void);

/* Run up to a cycle; return false where the processor can go no further. */
bool machine_run_until(uint64_t cycle);

/* Put bytes on the line, one after the other: the first start bit comes at `cycle`, or once the
 * line is free. Return false where too many wait already. */
bool machine_receive(uint64_t cycle, const uint8_t *bytes, size_t size);

/* Connect a load; UINT32_MAX is an open circuit. */
void machine_set_load(uint32_t load_ohm);
/* Let current flow that nobody commanded. */
void machine_set_leak(uint32_t leak_ua);
void machine_set_patient_stop(bool is_pressed);
void machine_set_tripped(bool is_tripped);

/* Let the main loop hang from now on: it spins where it stands, with interrupts on or off, until a
 * reset. */
void machine_hang(bool has_interrupts);

/* Let interrupts wait for so many cycles, as something that holds them off would. */
void machine_stall(uint32_t cycles);

/* Change one byte of RAM, or write a register, as a fault would; look at bytes. */
void machine_poke(uint16_t at, uint8_t byte);
uint8_t machine_peek(uint16_t at);

struct machine_figures {
    uint64_t longest_feed_cycles; /* between two feeds of the watchdog, since last asked */
    uint16_t static_size;         /* bytes of RAM */
    uint16_t stack_left;          /* bytes between it and the deepest stack since the last reset */
    uint32_t reset_count;
};

struct machine_figures machine_figures(void);

#endif
