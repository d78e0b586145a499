#include "line.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <stddef.h>

#include "reports.h"

/* What the host sends while a long message is acted on must fit. */
#define RING_SIZE 152U
#define UBRR_500_KBAUD 1U

static volatile uint8_t ring[RING_SIZE];
static volatile uint8_t ring_in;
static volatile uint8_t ring_out;
static uint8_t newest;
static bool is_losing; /* bytes, up to the next zero */

static uint8_t frame[EST_FRAME_OUT_MAX];
static const uint8_t *volatile next_byte;
static volatile uint8_t bytes_left;

/* A byte that finds the ring full is lost, with all that follows up to a zero: its frame fails its
 * check, and those behind it come whole again. For that zero there is always a place. A zero after
 * a zero ends nothing and is left out, so that a host may fill the line with them. */
ISR(USART_RX_vect)
{
    const uint8_t byte = UDR0;
    const uint8_t in = ring_in;
    const uint8_t out = ring_out;
    const uint8_t places = (uint8_t)(((out > in) ? out : (uint8_t)(out + RING_SIZE)) - in);
    const bool is_kept = (byte == 0U) ? (newest != 0U) : ((!is_losing) && (places > 2U));

    is_losing = (byte != 0U) && (!is_kept);
    if (is_kept) {
        ring[in] = byte;
        ring_in = (in < (RING_SIZE - 1U)) ? (uint8_t)(in + 1U) : 0U;
        newest = byte;
    }
}

ISR(USART_UDRE_vect)
{
    UDR0 = *next_byte;
    next_byte++;
    bytes_left--;
    if (bytes_left == 0U) {
        UCSR0B &= (uint8_t) ~(1U << UDRIE0);
    }
}

void line_init(void)
{
    UBRR0 = UBRR_500_KBAUD;
    UCSR0A = 0U;
    UCSR0C = (uint8_t)((1U << UCSZ01) | (1U << UCSZ00));
    UCSR0B = (uint8_t)((1U << RXCIE0) | (1U << RXEN0) | (1U << TXEN0));
    /* A reset may have cut a frame short, which would spoil the first one now. */
    UDR0 = 0U;
}

const uint8_t *line_peek(uint8_t *size)
{
    const uint8_t in = ring_in;
    const uint8_t out = ring_out;
    const uint8_t end = (in >= out) ? in : (uint8_t)RING_SIZE;
    uint8_t at = out;

    while ((at < end) && (ring[at] != 0U)) {
        at++;
    }
    *size = (uint8_t)(((at < end) ? (at + 1U) : end) - out);
    return (in != out) ? (const uint8_t *)&ring[out] : NULL;
}

void line_drop(uint8_t size)
{
    const uint8_t out = (uint8_t)(ring_out + size);

    ring_out = (out < RING_SIZE) ? out : 0U;
}

uint8_t *line_frame(void)
{
    return (bytes_left == 0U) ? frame : NULL;
}

void line_send(uint8_t size)
{
    /* Written before it is sent, whatever a compiler would rather do. */
    __asm__ volatile("" ::: "memory");
    next_byte = frame;
    bytes_left = size;
    UCSR0B |= (uint8_t)(1U << UDRIE0);
}
