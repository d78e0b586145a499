/* The serial line: 500 kbaud, 8N1, both directions by interrupts. */

#ifndef EST_AVR_LINE_H
#define EST_AVR_LINE_H

#include <stdbool.h>
#include <stdint.h>

#define LINE_BAUD UINT32_C(500000)

void line_init(void);

/* Return bytes that have come, up to the end of a frame at most, and how many, or NULL; they stay
 * until dropped. */
const uint8_t *line_peek(uint8_t *size);
void line_drop(uint8_t size);

/* Return where the next frame is to be written, or NULL while the last one is still being sent. */
uint8_t *line_frame(void);
void line_send(uint8_t size);

#endif
