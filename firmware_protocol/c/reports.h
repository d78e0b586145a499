/* What the device says: answers, events, and when a Status is due.
 *
 * Rules:
 * 1. There is never more than one Status to be sent: the newest, built when it is taken.
 * 2. A Status given as an answer restarts the timer of the others.
 * 3. What nobody takes is bounded; the oldest goes first.
 * 4. What was to be said in one epoch is said in it, also after the next was adopted.
 */

#ifndef EST_REPORTS_H
#define EST_REPORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec.h"
#include "config.h"
#include "frame.h"
#include "gate.h"
#include "hardware.h"

#define EST_ANSWER_PAYLOAD_MAX EST_REFUSED_SIZE

/* The largest body to the host is that of a Status, or of an Identity where channels are few. */
#define EST_STATUS_PAYLOAD_MAX (EST_STATUS_SIZE + (EST_CHANNELS * EST_CHANNEL_STATUS_SIZE))
#if (EST_STATUS_SIZE + (EST_CHANNELS * EST_CHANNEL_STATUS_SIZE)) > EST_IDENTITY_SIZE
#define EST_PAYLOAD_OUT_MAX EST_STATUS_PAYLOAD_MAX
#else
#define EST_PAYLOAD_OUT_MAX EST_IDENTITY_SIZE
#endif
#define EST_FRAME_OUT_MAX (EST_BODY_MIN + EST_PAYLOAD_OUT_MAX + EST_FRAME_OVERHEAD)

/* A message to be sent. Identity and Capabilities keep here only what may change. */
struct est_answer {
    uint8_t epoch[EST_EPOCH_SIZE];
    uint8_t id;
    uint8_t payload[EST_ANSWER_PAYLOAD_MAX];
};

struct est_event {
    uint32_t tick_ms;
    int32_t detail;
    uint8_t code;
    uint8_t channel;
};

struct est_reports {
    est_us status_due_us; /* EST_NEVER before the first epoch */
    uint32_t running_period_us;
    uint8_t epoch[EST_EPOCH_SIZE];
    uint16_t next_sequence;
    uint16_t refusal_count;
    uint16_t damaged_count;
    uint16_t event_count;
    uint16_t newest_received;
    uint8_t events_kept;
    uint8_t event_next;
    uint8_t answer_first;
    uint8_t answer_count;
    bool has_epoch;
    bool is_status_wanted;
    struct est_event events[EST_EVENTS];
    struct est_answer answers[EST_ANSWERS];
};

void est_reports_init(struct est_reports *reports, const struct est_settings *settings);

/* Begin an epoch, and to report of our own accord. */
void est_reports_adopt(struct est_reports *reports, const uint8_t *epoch, uint16_t sequence,
                       est_us now_us);

/* Tell whether a message is for now: of this epoch and newer than the newest; note it where so.
 * Hello and Stop always are, and move nothing. */
bool est_reports_accept(struct est_reports *reports, const struct est_message *message);

/* Put an answer into the queue and return its zeroed payload; `epoch` NULL is the present one. */
uint8_t *est_reports_answer(struct est_reports *reports, uint8_t id, const uint8_t *epoch);

void est_reports_refuse(struct est_reports *reports, const struct est_message *message,
                        const struct est_refusal *refusal);

/* Keep an event, and tell it where anybody is known to listen. */
void est_reports_emit(struct est_reports *reports, uint32_t tick_ms, uint8_t code, uint8_t channel,
                      int32_t detail);
void est_reports_resend_events(struct est_reports *reports, uint16_t first_index);

/* Send a Status now, and the next one a whole period later. */
void est_reports_want_status(struct est_reports *reports, est_us now_us, uint8_t state);

/* Want a Status where its time has come. */
void est_reports_note_time(struct est_reports *reports, est_us now_us, uint8_t state);

/* Take the oldest answer's id, epoch and payload; return false where there is none. */
bool est_reports_take(struct est_reports *reports, struct est_answer *answer);

/* Complete the body whose payload lies at `frame + 1 + EST_HEADER_SIZE`; return the frame's size.
 */
uint8_t est_reports_seal(struct est_reports *reports, uint8_t *frame, uint8_t id,
                         const uint8_t *epoch, uint8_t payload_size);

#endif
