/* Drives: how old, what is wanted, whether it may be.
 *
 * Rules:
 * 1. A Drive that echoes a tick from before the lease, or from the future, is ignored whole.
 * 2. A fresh wish below RUNNING is always obeyed; beyond that a Drive is obeyed whole or not at
 *    all.
 * 3. Only an accepted Drive renews the lease, which never gets shorter.
 */

#ifndef EST_DRIVE_H
#define EST_DRIVE_H

#include "codec.h"
#include "device.h"

void est_drive_obey(struct est_device *device, const struct est_message *message);

#endif
