#include "codec.h"

#define NO_ENUM 255U
#define CRC_POLYNOMIAL 0xEDB88320U

/* How the payload of a message lies. */
struct layout {
    uint8_t size;
    uint8_t row_size;
    uint8_t rows_max;
    uint8_t allowed_in;
    uint8_t enum_at;
    uint8_t enum_max;
};

static bool find_layout(uint8_t id, struct layout *layout)
{
    bool is_known = true;

    /* A switch and not a table, which would lie in RAM on a microcontroller. */
#define EST_LAYOUT_CASE(id_, size_, row_size_, rows_max_, allowed_, enum_at_, enum_max_)           \
    case (id_):                                                                                    \
        layout->size = (size_);                                                                    \
        layout->row_size = (row_size_);                                                            \
        layout->rows_max = (rows_max_);                                                            \
        layout->allowed_in = (allowed_);                                                           \
        layout->enum_at = (enum_at_);                                                              \
        layout->enum_max = (enum_max_);                                                            \
        break;

    switch (id) {
        EST_TO_DEVICE(EST_LAYOUT_CASE)
    default:
        is_known = false;
        break;
    }
    return is_known;
}

static bool is_payload_valid(const struct layout *layout, struct est_message *message)
{
    uint16_t size = layout->size;

    if (message->payload_size < size) {
        return false;
    }
    if ((layout->enum_at != NO_ENUM) && (message->payload[layout->enum_at] > layout->enum_max)) {
        return false;
    }
    message->row_count = 0U;
    if (layout->rows_max > 0U) {
        message->row_count = message->payload[size - 1U];
        if (message->row_count > layout->rows_max) {
            return false;
        }
        size = (uint16_t)(size + ((uint16_t)message->row_count * layout->row_size));
    }
    return message->payload_size == size;
}

enum est_decoded est_decode_body(const uint8_t *body, uint8_t size, struct est_message *message)
{
    struct layout layout = {0U, 0U, 0U, 0U, 0U, 0U};
    uint8_t content_size;

    if ((size < EST_BODY_MIN) || (size > EST_BODY_MAX)) {
        return EST_DECODED_BAD_FRAME;
    }
    content_size = (uint8_t)(size - EST_CRC_SIZE);
    if (est_crc32(0U, body, content_size) != est_get_u32(&body[content_size])) {
        return EST_DECODED_BAD_FRAME;
    }
    message->id = body[0];
    message->sequence = est_get_u16(&body[1]);
    message->epoch = &body[3];
    message->payload = &body[EST_HEADER_SIZE];
    message->payload_size = (uint8_t)(content_size - EST_HEADER_SIZE);
    if (!find_layout(message->id, &layout) || !is_payload_valid(&layout, message)) {
        return EST_DECODED_BAD_MESSAGE;
    }
    message->allowed_in = layout.allowed_in;
    return EST_DECODED_MESSAGE;
}

uint16_t est_get_u16(const uint8_t *at)
{
    return (uint16_t)(((uint16_t)at[1] << 8U) | at[0]);
}

uint32_t est_get_u32(const uint8_t *at)
{
    return ((uint32_t)at[3] << 24U) | ((uint32_t)at[2] << 16U) | ((uint32_t)at[1] << 8U) |
           (uint32_t)at[0];
}

int16_t est_get_i16(const uint8_t *at)
{
    const uint16_t number = est_get_u16(at);

    /* Spelt out, since the conversion of what does not fit is the implementation's choice. */
    return (number <= (uint16_t)INT16_MAX)
               ? (int16_t)number
               : (int16_t)(-(int32_t)(UINT32_C(0x10000) - (uint32_t)number));
}

void est_put_u16(uint8_t *at, uint16_t number)
{
    at[0] = (uint8_t)(number & 0xFFU);
    at[1] = (uint8_t)(number >> 8U);
}

void est_put_u32(uint8_t *at, uint32_t number)
{
    est_put_u16(at, (uint16_t)(number & 0xFFFFU));
    est_put_u16(&at[2], (uint16_t)(number >> 16U));
}

uint32_t est_crc32(uint32_t crc, const uint8_t *bytes, uint16_t size)
{
    uint32_t rest = ~crc;
    uint16_t at;
    uint8_t bit;

    for (at = 0U; at < size; at++) {
        rest ^= bytes[at];
        for (bit = 0U; bit < 8U; bit++) {
            rest = ((rest & 1U) != 0U) ? ((rest >> 1U) ^ CRC_POLYNOMIAL) : (rest >> 1U);
        }
    }
    return ~rest;
}
