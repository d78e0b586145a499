/* Numbers and messages on the wire, little-endian, by the offsets of protocol.h.
 *
 * Rules:
 * 1. Decoding is total: any bytes give a message or a verdict.
 * 2. Only one encoding of a message exists: unknown values are errors, no byte is left over.
 */

#ifndef EST_CODEC_H
#define EST_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol.h"

#define EST_EPOCH_SIZE 8U

/* A body, judged; it points into the bytes that it was read from. */
struct est_message {
    const uint8_t *epoch;
    const uint8_t *payload;
    uint16_t sequence;
    uint8_t id;
    uint8_t payload_size;
    uint8_t row_count;
    uint8_t allowed_in; /* bit mask by EST_DEVICE_STATE_* */
};

enum est_decoded {
    EST_DECODED_MESSAGE,    /* a message to the device, its payload as declared */
    EST_DECODED_BAD_FRAME,  /* length or CRC is wrong */
    EST_DECODED_BAD_MESSAGE /* no message to the device, or its payload is not as declared */
};

enum est_decoded est_decode_body(const uint8_t *body, uint8_t size, struct est_message *message);

uint16_t est_get_u16(const uint8_t *at);
uint32_t est_get_u32(const uint8_t *at);
int16_t est_get_i16(const uint8_t *at);
void est_put_u16(uint8_t *at, uint16_t number);
void est_put_u32(uint8_t *at, uint32_t number);

/* CRC-32 as zlib has it; begin with 0, or with that of the bytes before. */
uint32_t est_crc32(uint32_t crc, const uint8_t *bytes, uint16_t size);

#endif
