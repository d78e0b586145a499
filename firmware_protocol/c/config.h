/* How much a device holds: each figure may be set by -D, at most what the wire allows.
 *
 * The defaults are those of the posix port. An ATmega328P uses 1 channel, 6 phases, 8 keyframes,
 * 16 events, 8 answers.
 */

#ifndef EST_CONFIG_H
#define EST_CONFIG_H

#include "protocol.h"

/* Channels that the memory holds; `est_settings` says how many there are. */
#ifndef EST_CHANNELS
#define EST_CHANNELS 4U
#endif

#ifndef EST_PHASES
#define EST_PHASES 16U
#endif

#ifndef EST_KEYFRAMES
#define EST_KEYFRAMES 32U
#endif

/* Events kept for GetEvents. */
#ifndef EST_EVENTS
#define EST_EVENTS 64U
#endif

/* Answers and events kept until they are taken; the oldest goes first. */
#ifndef EST_ANSWERS
#define EST_ANSWERS 128U
#endif

/* How long before its onset a pulse is decided and given to the hardware. A port whose pulses are
 * started by a timer needs some time to set it; 0 where time is stepped. */
#ifndef EST_LEAD_US
#define EST_LEAD_US 0U
#endif

/* Pulses of a channel that may be given and not yet measured, where they are measured later. More
 * than EST_LEAD_US holds of the shortest period, and one in progress. */
#ifndef EST_IN_FLIGHT
#define EST_IN_FLIGHT 3U
#endif

#if (EST_CHANNELS < 1U) || (EST_CHANNELS > EST_WIRE_CHANNELS_MAX)
#error "EST_CHANNELS: 1 to EST_WIRE_CHANNELS_MAX"
#endif
#if (EST_PHASES < 2U) || (EST_PHASES > EST_WIRE_PHASES_MAX)
#error "EST_PHASES: 2 to EST_WIRE_PHASES_MAX"
#endif
#if (EST_KEYFRAMES < 1U) || (EST_KEYFRAMES > EST_WIRE_KEYFRAMES_MAX)
#error "EST_KEYFRAMES: 1 to EST_WIRE_KEYFRAMES_MAX"
#endif
#if (EST_EVENTS < 1U) || (EST_EVENTS > EST_WIRE_EVENTS_MAX)
#error "EST_EVENTS: 1 to EST_WIRE_EVENTS_MAX"
#endif
#if (EST_IN_FLIGHT < 1U) || (EST_IN_FLIGHT > 15U)
#error "EST_IN_FLIGHT: 1 to 15"
#endif
#if (EST_ANSWERS < 4U) || (EST_ANSWERS > 255U)
#error "EST_ANSWERS: 4 to 255"
#endif

#endif
