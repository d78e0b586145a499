#include "reports.h"

#include <string.h>

#define STATUS_RUNNING_US UINT32_C(25000)
#define STATUS_RUNNING_SLOW_LINE_US UINT32_C(50000)
#define STATUS_IDLE_US UINT32_C(250000)
#define STATUS_PER_S_AT_MOST UINT32_C(60)
#define LINE_SHARE_PERCENT UINT32_C(65)
#define BITS_PER_BYTE UINT32_C(10)
#define HALF_WINDOW 0x8000U

/* Where an answer to GetEvents stands: the next index to be looked at, the last but one, and the
 * first that was wanted. */
#define RESEND_AT_NEXT 0U
#define RESEND_AT_END 2U
#define RESEND_AT_WANTED 4U

void est_reports_init(struct est_reports *reports, const struct est_settings *settings)
{
    const uint32_t frame_size = EST_BODY_MIN + EST_STATUS_SIZE + EST_FRAME_OVERHEAD +
                                ((uint32_t)settings->channel_count * EST_CHANNEL_STATUS_SIZE);
    const uint32_t bits_per_s = frame_size * BITS_PER_BYTE * STATUS_PER_S_AT_MOST;

    (void)memset(reports, 0, sizeof *reports);
    reports->status_due_us = EST_NEVER;
    reports->running_period_us = ((bits_per_s * 100U) > (LINE_SHARE_PERCENT * settings->baud))
                                     ? STATUS_RUNNING_SLOW_LINE_US
                                     : STATUS_RUNNING_US;
}

void est_reports_adopt(struct est_reports *reports, const uint8_t *epoch, uint16_t sequence,
                       est_us now_us)
{
    (void)memcpy(reports->epoch, epoch, EST_EPOCH_SIZE);
    reports->has_epoch = true;
    reports->newest_received = sequence;
    reports->is_status_wanted = false;
    reports->status_due_us = now_us + STATUS_IDLE_US;
}

bool est_reports_accept(struct est_reports *reports, const struct est_message *message)
{
    /* RFC 1982 with 16 bits. */
    const uint16_t ahead = (uint16_t)(message->sequence - reports->newest_received);

    if ((message->id == EST_MESSAGE_HELLO) || (message->id == EST_MESSAGE_STOP)) {
        return true;
    }
    if ((!reports->has_epoch) || (memcmp(message->epoch, reports->epoch, EST_EPOCH_SIZE) != 0)) {
        return false;
    }
    if ((ahead == 0U) || (ahead >= HALF_WINDOW)) {
        return false;
    }
    reports->newest_received = message->sequence;
    return true;
}

uint8_t *est_reports_answer(struct est_reports *reports, uint8_t id, const uint8_t *epoch)
{
    struct est_answer *answer;

    if (reports->answer_count == EST_ANSWERS) {
        reports->answer_first = (uint8_t)((reports->answer_first + 1U) % EST_ANSWERS);
        reports->answer_count--;
    }
    answer = &reports->answers[((uint16_t)reports->answer_first + reports->answer_count) %
                               EST_ANSWERS];
    reports->answer_count++;
    (void)memset(answer, 0, sizeof *answer);
    (void)memcpy(answer->epoch, (epoch != NULL) ? epoch : reports->epoch, EST_EPOCH_SIZE);
    answer->id = id;
    return answer->payload;
}

static uint32_t in_i32(uint32_t number)
{
    return (number > (uint32_t)INT32_MAX) ? (uint32_t)INT32_MAX : number;
}

void est_reports_refuse(struct est_reports *reports, const struct est_message *message,
                        const struct est_refusal *refusal)
{
    uint8_t *payload = est_reports_answer(reports, EST_MESSAGE_REFUSED, NULL);

    reports->refusal_count++;
    est_put_u16(&payload[EST_REFUSED_AT_IN_REPLY_TO], message->sequence);
    payload[EST_REFUSED_AT_MESSAGE] = message->id;
    payload[EST_REFUSED_AT_REASON] = refusal->reason;
    payload[EST_REFUSED_AT_LIMIT] = refusal->limit;
    payload[EST_REFUSED_AT_CHANNEL] = refusal->channel;
    est_put_u32(&payload[EST_REFUSED_AT_ASKED], in_i32(refusal->asked));
    est_put_u32(&payload[EST_REFUSED_AT_ALLOWED], in_i32(refusal->allowed));
}

static void write_event(uint8_t *payload, uint16_t index, const struct est_event *event)
{
    est_put_u16(&payload[EST_EVENT_AT_INDEX], index);
    est_put_u32(&payload[EST_EVENT_AT_TICK_MS], event->tick_ms);
    payload[EST_EVENT_AT_CODE] = event->code;
    payload[EST_EVENT_AT_CHANNEL] = event->channel;
    est_put_u32(&payload[EST_EVENT_AT_DETAIL], (uint32_t)event->detail);
}

void est_reports_emit(struct est_reports *reports, uint32_t tick_ms, uint8_t code, uint8_t channel,
                      int32_t detail)
{
    const uint16_t index = reports->event_count;
    /* The count wraps, and 65536 may be no multiple of EST_EVENTS. */
    struct est_event *event = &reports->events[reports->event_next];

    event->tick_ms = tick_ms;
    event->code = code;
    event->channel = channel;
    event->detail = detail;
    reports->event_next = (uint8_t)((reports->event_next + 1U) % EST_EVENTS);
    reports->event_count++;
    if (reports->events_kept < EST_EVENTS) {
        reports->events_kept++;
    }
    if (reports->has_epoch) {
        write_event(est_reports_answer(reports, EST_MESSAGE_EVENT, NULL), index, event);
    }
}

void est_reports_resend_events(struct est_reports *reports, uint16_t first_index)
{
    uint8_t *payload = est_reports_answer(reports, EST_MESSAGE_GET_EVENTS, NULL);

    est_put_u16(&payload[RESEND_AT_NEXT], (uint16_t)(reports->event_count - reports->events_kept));
    est_put_u16(&payload[RESEND_AT_END], reports->event_count);
    est_put_u16(&payload[RESEND_AT_WANTED], first_index);
}

/* Return the next event that an answer to GetEvents sends, or NULL; `*index` is its index. */
static const struct est_event *next_resent(const struct est_reports *reports, uint8_t *payload,
                                           uint16_t *index)
{
    const uint16_t end = est_get_u16(&payload[RESEND_AT_END]);
    const uint16_t wanted = est_get_u16(&payload[RESEND_AT_WANTED]);
    uint16_t next = est_get_u16(&payload[RESEND_AT_NEXT]);

    while (next != end) {
        const uint16_t back = (uint16_t)(reports->event_count - next);
        *index = next;
        next++;
        /* Newer ones may have overwritten it since it was asked for. */
        if ((back <= reports->events_kept) && ((uint16_t)(*index - wanted) < HALF_WINDOW)) {
            est_put_u16(&payload[RESEND_AT_NEXT], next);
            return &reports->events[(((uint16_t)reports->event_next + EST_EVENTS) - back) %
                                    EST_EVENTS];
        }
    }
    return NULL;
}

static uint32_t status_period_us(const struct est_reports *reports, uint8_t state)
{
    return (state == EST_DEVICE_STATE_RUNNING) ? reports->running_period_us : STATUS_IDLE_US;
}

void est_reports_want_status(struct est_reports *reports, est_us now_us, uint8_t state)
{
    reports->is_status_wanted = true;
    if (reports->has_epoch) {
        reports->status_due_us = now_us + status_period_us(reports, state);
    }
}

void est_reports_note_time(struct est_reports *reports, est_us now_us, uint8_t state)
{
    if (now_us >= reports->status_due_us) {
        reports->is_status_wanted = true;
        reports->status_due_us += status_period_us(reports, state);
        if (reports->status_due_us <= now_us) {
            reports->status_due_us = now_us + status_period_us(reports, state);
        }
    }
}

bool est_reports_take(struct est_reports *reports, struct est_answer *answer)
{
    while (reports->answer_count > 0U) {
        struct est_answer *oldest = &reports->answers[reports->answer_first];
        *answer = *oldest;
        if (oldest->id == EST_MESSAGE_GET_EVENTS) {
            uint16_t index = 0U;
            const struct est_event *event = next_resent(reports, oldest->payload, &index);
            if (event != NULL) {
                answer->id = EST_MESSAGE_EVENT;
                write_event(answer->payload, index, event);
                return true;
            }
        }
        reports->answer_first = (uint8_t)((reports->answer_first + 1U) % EST_ANSWERS);
        reports->answer_count--;
        if (answer->id != EST_MESSAGE_GET_EVENTS) {
            return true;
        }
    }
    return false;
}

uint8_t est_reports_seal(struct est_reports *reports, uint8_t *frame, uint8_t id,
                         const uint8_t *epoch, uint8_t payload_size)
{
    const uint8_t content_size = (uint8_t)(EST_HEADER_SIZE + payload_size);
    uint8_t *body = &frame[1];

    body[0] = id;
    est_put_u16(&body[1], reports->next_sequence);
    (void)memcpy(&body[3], epoch, EST_EPOCH_SIZE);
    est_put_u32(&body[content_size], est_crc32(0U, body, content_size));
    reports->next_sequence++;
    return est_frame_encode(frame, (uint8_t)(content_size + EST_CRC_SIZE));
}
