#include "frame.h"

void est_deframer_clear(struct est_deframer *deframer)
{
    deframer->size = 0U;
    deframer->is_overlong = false;
}

enum est_deframed est_deframer_take(struct est_deframer *deframer, uint8_t byte)
{
    enum est_deframed deframed = EST_DEFRAMED_NOTHING;

    if (byte != 0U) {
        if (deframer->size < EST_FRAME_MAX) {
            deframer->bytes[deframer->size] = byte;
            deframer->size++;
        } else {
            deframer->is_overlong = true;
        }
    } else if (deframer->is_overlong) {
        est_deframer_clear(deframer);
        deframed = EST_DEFRAMED_OVERLONG;
    } else if (deframer->size > 0U) {
        deframed = EST_DEFRAMED_FRAME;
    } else {
        /* Zero after zero is not an error. */
    }
    return deframed;
}

bool est_deframer_decode(struct est_deframer *deframer, uint8_t *size)
{
    uint16_t code_index = 0U;

    while (code_index < deframer->size) {
        const uint8_t distance = deframer->bytes[code_index];
        deframer->bytes[code_index] = 0U;
        code_index = (uint16_t)(code_index + distance);
    }
    *size = (uint8_t)(deframer->size - 1U);
    return code_index == deframer->size;
}

uint8_t est_frame_encode(uint8_t *frame, uint8_t size)
{
    uint8_t code_index = 0U;
    uint8_t at;

    for (at = 1U; at <= size; at++) {
        if (frame[at] == 0U) {
            frame[code_index] = (uint8_t)(at - code_index);
            code_index = at;
        }
    }
    frame[code_index] = (uint8_t)(at - code_index);
    frame[at] = 0U;
    return (uint8_t)(at + 1U);
}
