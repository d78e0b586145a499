/* A byte stream becomes frame bodies: COBS, with 0x00 between frames, in bounded memory. */

#ifndef EST_FRAME_H
#define EST_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol.h"

/* COBS adds one byte to a body, and the closing zero follows. */
#define EST_FRAME_OVERHEAD 2U

struct est_deframer {
    uint8_t bytes[EST_FRAME_MAX];
    uint8_t size;
    bool is_overlong;
};

enum est_deframed {
    EST_DEFRAMED_NOTHING, /* the frame is not complete, or was empty */
    EST_DEFRAMED_FRAME,   /* `bytes` holds a whole frame, until `est_deframer_clear` */
    EST_DEFRAMED_OVERLONG /* a run without a zero was too long; it is dropped */
};

void est_deframer_clear(struct est_deframer *deframer);

enum est_deframed est_deframer_take(struct est_deframer *deframer, uint8_t byte);

/* Decode the whole frame in place; `*size` becomes the size of the body that begins at `bytes + 1`.
 * Return false where it is no COBS frame. */
bool est_deframer_decode(struct est_deframer *deframer, uint8_t *size);

/* Code the body that lies at `frame + 1`, in place, and close it; return the bytes of the frame.
 * `frame` has room for `size` + EST_FRAME_OVERHEAD. */
uint8_t est_frame_encode(uint8_t *frame, uint8_t size);

#endif
