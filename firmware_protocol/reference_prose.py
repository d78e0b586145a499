"""The chapters of PROTOCOL.md that people write; figures in braces come from `limits.py`.

`reference.py` puts the tables between them, from the declarations.
"""

from __future__ import annotations

INTRODUCTION = """\
# The Estim protocol, version {protocol_version}

<!-- Written by `python -m firmware_protocol.generate` from firmware_protocol/. Do not edit. -->

This is the contract between a host and a stimulator on a serial line: what the bytes are, and how
a device behaves. It is enough to build either end. `vectors.json` holds frames, programmes and
digests to test an implementation with. Schema hash of this version: `0x{schema_hash:08x}`.

Estim is not a certified medical device; SAFETY.md says what that means.

Four ideas carry the rest:

1. **Desired state.** The host repeats, about {drive_hz} times a second, the whole state that it
   wants. No message means 'one step more', so a message lost, doubled or late does no harm.
2. **A lease.** Every accepted `Drive` lets output live for at most {lease_ms_max} ms from the
   device tick that it echoes. Silence ends output without anybody deciding anything.
3. **The device is the last gate.** It holds every limit itself, refuses what breaks one, and never
   trims a request into something that nobody asked for.
4. **The device plays alone.** A pulse programme is loaded while output is off; pulse timing then
   depends on no message.
"""

LINE = """\
## 1. The line

8 data bits, no parity, one stop bit, 115200 baud unless agreed otherwise. Numbers are
little-endian. A message travels as one *body*:

| offset | bytes | what |
|---|---|---|
| 0 | 1 | `message_id` |
| 1 | 2 | `sequence`, counted per direction over all messages |
| 3 | 8 | `epoch` |
| 11 | 0 to {payload_max} | payload, laid out as chapter 9 says |
| last 4 | 4 | CRC-32 of everything before it (zlib's: polynomial 0x04C11DB7 reflected, \
start and final XOR 0xFFFFFFFF) |

A body has {body_min} to {body_max} bytes. It is coded with COBS and followed by one 0x00, so a zero
on the line always means 'end of frame', and a receiver that comes in late is in step after the next
zero. With such short bodies a COBS block never reaches 254 bytes. Empty frames (zero after zero)
are not an error and may be sent to end whatever came before.

A receiver needs {frame_max} bytes of buffer. Longer runs without a zero are dropped up to the next
zero and count as one damaged frame. It then checks in this order: COBS, length, CRC, message id,
payload. A payload must be exactly as long as its declaration and row count say; every enum value
and flag must be known; texts are printable ASCII, padded with NUL, with nothing after the first
NUL. So each message has one encoding only. The id of a message that runs the other way is unknown
here. What fails is dropped, counted in `damaged_count`,
and never answered.

**Sequences.** Each end numbers what it sends, from 0 after start, modulo 65536. Sequence a is newer
than b when (a - b) modulo 65536 lies between 1 and 32767 (RFC 1982). A frame that is not newer than
the newest one taken is dropped. `Stop` stands outside: it needs no newer sequence and does not move
the window. A device also takes every `Hello`, and starts its window at that Hello's sequence when
it adopts the epoch.

**Epochs.** An epoch is one host's time with a device: 64 random bits, never 0, chosen anew whenever
the host starts or reconnects. Every frame carries it. Either end drops frames of another epoch,
whole; only `Hello` and `Stop` reach a device from any epoch. A frame is judged when everything
before it was acted on: how the bytes were cut on their way changes nothing. So nothing that lingers
in a cable, a buffer or an older process can act. A device sends in its own epoch, also the answer
to a `Stop` of another one, and in epoch 0 where it has none yet; an `Identity` alone carries the
epoch of its `Hello`. That no epoch is 0 is the host's duty: a device takes 0 like any other.

### One frame, byte by byte

{worked_example}
"""

STATES = """\
## 2. States

| state | output | how it is entered |
|---|---|---|
| SAFE | zero | after boot; on `Stop`; when a Drive wants SAFE; when the lease ends in ARMED |
| ARMED | zero | from SAFE by a Drive that wants ARMED; from RUNNING by the same (a pause) |
| RUNNING | possible | from ARMED by a Drive that wants RUNNING with every target 0 |
| FAULT | zero, latched | by a fault (chapter 7); left by `AcknowledgeFault`, its cause gone |

A device boots SAFE and without an epoch. Until it adopts one it acts on `Hello` and `Stop` alone
and sends nothing by itself. Up goes one step per Drive, down any number. A message that is not
allowed in the present state (chapter 9 lists them) is answered with `Refused(STATE)`, except
`Hello`, which is always answered with an `Identity`.

SAFE to ARMED needs all of: a programme loaded, both digests of the Drive equal to the device's own,
a patient's stop present where the session policy requires one, a supply of at least 10 %, and
memory that is sound (3.9). A Drive that wants ARMED in FAULT arms nothing and is not refused
(chapter 4).
"""

CONVERSATION = """\
## 3. A session, message by message

1. **Hello -> Identity.** The host proposes an epoch. If protocol version or schema hash differ, the
   device answers `SCHEMA_MISMATCH`; while RUNNING it answers `ENERGISED`; both carry the proposed
   epoch in their header, so that the host can read them, and change nothing. Otherwise it adopts
   the epoch and answers `ADOPTED`: limits return to the compiled ones, the programme is unloaded,
   ARMED becomes SAFE, targets become 0. A latched FAULT and latched lead-offs stay, and so does
   everything that is counted since boot. A Hello of the epoch in force does all this again.
2. **GetCapabilities -> Capabilities.**
3. **SetLimits -> LimitsAccepted.** Replaces the whole set of session limits, in SAFE only. Each
   value must lie at or below the compiled one (for the amplitude also the device's own maximum) and
   at or above its lowest allowed value ({setpoint_slew_ua_per_s_min} for the slew and
   {rise_per_cycle_ua_min} for a cycle's rise, {step_ua_min} for steps, {running_ms_min} for the
   running time, 0 for the values of a channel); there is one row per channel of the device.
   Anything else is `Refused(LIMIT)` with the limit's wire id, what was asked and what is allowed,
   or `Refused(CHANNELS)`, and leaves the former set in force. First the number of rows is judged,
   then the values in the order in which chapters 9 and 10 list them, row after row. A programme
   that is loaded stays. The limits digest is the CRC-32 of
   the payload of the `SetLimits` in force; a device without any has that of the compiled set:
   slew {setpoint_slew_ua_per_s_max} uA/s, {rise_per_cycle_ua_max} uA per cycle, steps of
   {step_ua_max} uA, {running_ms_max} ms of running, no policy, and per channel the smaller of
   {amplitude_ua_max} uA and the device's maximum, {phase_charge_pc_max} pC,
   {rms_ua_max} uA RMS, {average_ua_max} uA average.
4. **BeginProgram, then per channel ProgramPhases and ProgramKeyframes, then CommitProgram.** Only
   the commit is answered, with `ProgramAccepted` or with the first `Refused` that applies, in this
   order, each step for all channels before the next:

   - PROGRAM: order or form (chapter 5), and more than any device has: no channel or more than
     {channels_max}, more than {keyframes_max} keyframes.
   - PROGRAM_DIGEST.
   - CAPABILITY: more channels than the device has; then channel by channel the number of phases,
     the number of keyframes, the flags needed (bursts, cycle, keyframes, unequal phases), the
     shortest active phase, the longest, the shortest pulse period, each over all settings, and
     what the output stage cannot play (below).
   - LIMIT: channel by channel, setting by setting: each active phase within
     {phase_duration_us_min} to {phase_duration_us_max} us, then each polarity run (chapter 6, in
     the order of their first phases) within the same, then the pulse at most
     {pulse_duration_us_max} us. A single phase can fail here only where the device's own bounds are
     wider.

   `BeginProgram` unloads the programme before and drops the parts that came so far; after a refused
   commit nothing is loaded. A part without a `BeginProgram` before it, or a `ProgramKeyframes`
   without rows, is out of order. A commit without a `BeginProgram` since the last commit or Hello
   is refused (PROGRAM), whatever parts came, and leaves what is loaded. What a small device cannot
   even store is CAPABILITY, whatever its form and digest.

   A device may refuse with CAPABILITY, and then does so here, what `Capabilities` cannot express:
   it never leaves out or changes a pulse that it has accepted. A stage of one current source that
   is switched refuses, with `asked` and `allowed`, in this order: shares other than 1000 and -1000
   permille (asked: the smallest); gaps between two phases of one polarity shorter than
   `phase_min_us`; rests between two pulses shorter than twice `phase_min_us`, where the rest is
   pulse period - pulse, and with a cycle also off time + pulse offset; and a cycle in which the
   shortest pulse + off time + pulse offset is shorter than `pulse_period_min_us`.
5. **Drive**, again and again (chapter 4): ARMED, then RUNNING with targets 0, then the targets.
   Each is answered with a `Status`, or with a `Refused` and a `Status`.
6. **Stop**, or a Drive that wants less, ends output. `Stop` is taken in any state, epoch and
   sequence, de-energises, leads to SAFE (a FAULT stays) and is answered with a `Status`. A host
   sends it three times, ahead of everything, and repeats until a Status shows zero.
7. **AcknowledgeFault.** Its `latch_count` must be that of the Status that the operator saw, else
   `Refused(NOT_THE_LATEST)`: nobody clears what they have not seen. Without channels it clears the
   latched fault: FAULT becomes SAFE if its causes are gone, else `Refused(CAUSE_PRESENT)`; in any
   other state there is none, and it is `Refused(STATE)`. With a channel mask it clears the lead-off
   latches of those channels, in every state, and a FAULT stays; a bit of a channel whose lead-off
   is not latched does nothing and is not refused; a bit of a channel that the device does not have
   is `Refused(CHANNELS)`, and nothing is cleared. It is judged in the order
   NOT_THE_LATEST, CHANNELS, STATE, CAUSE_PRESENT. What was done is told by its events, and each is
   answered with a `Status`.
8. **GetEvents** sends again what the device still keeps (the last {events_kept} events; a small
   device fewer), from an index on: those whose (index - first index) modulo 65536 is below 32768,
   the oldest first. Events are otherwise sent once, as they happen, in the epoch of that moment;
   none before the first epoch.
9. **SelfTest -> SelfTestReport**, in SAFE only. Checks: 1 memory (limits and programme, and
   figures kept that were worked out from them, are still what was accepted), 2 output stage, 4
   inputs. One that fails latches SELF_TEST; while one fails no fault is cleared. A device looks at
   its memory by itself when it arms, and may with any Drive: what changed there latches SELF_TEST
   and is `Refused(FAULT_LATCHED)`.

**Events** carry in `detail`: STATE_CHANGED the new state, FAULT_LATCHED and FAULT_CLEARED the fault
code, LEAD_OFF and CONTACT_GOOD the load in ohms, PATIENT_STOP 1 when it is pressed and 0 when it is
released (the fault that the press latched stays), all others 0. A button that bounces is told once.

What happens at one moment is told in this order:

| what | messages, in order |
| --- | --- |
| a Hello adopted | STATE_CHANGED where ARMED ended (in the old epoch), `Identity`, EPOCH_ADOPTED |
| a Stop | STOP_RECEIVED, STATE_CHANGED where the state changed, `Status` |
| a Drive | STATE_CHANGED where the state changed, `Refused` where it was, `Status` |
| the patient's stop pressed | PATIENT_STOP, then as any fault |
| any fault | STATE_CHANGED where there was no FAULT, FAULT_LATCHED |
| a fault acknowledged | STATE_CHANGED, FAULT_CLEARED, `Status` |
| lead-offs acknowledged | LEAD_OFF_CLEARED for each channel re-armed, in order, `Status` |
| a self-test | `SelfTestReport`, then the fault where one failed |

Answers and events leave in the order in which they came about, and a `Status` after all that came
about before it left.

**Refused** names the channel from 0 where LIMIT, CAPABILITY, NOT_FROM_ZERO or LEAD_OFF_LATCHED
concern one, and otherwise 255; `limit` is 0 unless the reason is LIMIT. It carries in `asked` and
`allowed`:

| reason | asked | allowed |
| --- | --- | --- |
| LIMIT | what was asked, in the limit's unit | the highest, or the lowest where it was below |
| CAPABILITY | the figure not possible, or all flags needed | what is possible, or the flags there |
| CHANNELS | rows, or the mask | rows wanted, or channels of the device |
| NOT_FROM_ZERO, LEAD_OFF_LATCHED | the target | 0 |
| NOT_THE_LATEST | the latch count given | the device's own |
| CAUSE_PRESENT to a Drive that arms | percent of the supply | 0 |
| all others | 0 | 0 |

Of several refusals the first in the order of these chapters is told. Limits and targets are judged
channel by channel, all of one before the next. Of several stretches (chapter 6) of a setting it is
the one farthest above its limit, and of equals the first: by its first phase, then by its length,
the session's value before the compiled one. An `asked` that
is worked out is rounded up, so that it is always above what is allowed: RMS to the smallest whole
microampere whose square is at least the worst second's q2 / 1000000, average to the smallest that
is at least its q1 / 1000000 (chapter 6).
"""

DRIVE = """\
## 4. Drive

A host drains its input, then sends a Drive when a Status has come and 45 ms have passed since its
last Drive, or after 60 ms without a Status; `echoed_tick_ms` is the tick of the newest Status of
this epoch. The device judges a Drive in this order:

1. **Age.** The echoed tick is older than {lease_ms_max} ms, or in the future: the Drive is ignored
   whole and not answered.
2. **Wanted below RUNNING.** Output goes to zero at once: RUNNING becomes ARMED at zero or SAFE,
   ARMED becomes SAFE when SAFE is wanted, SAFE becomes ARMED under the conditions of chapter 2.
   Non-zero targets here are also answered with `Refused(NOT_FROM_ZERO)`, and arm nothing. Where
   arming is refused the reason is, in this order, NO_PROGRAM, PROGRAM_DIGEST, LIMITS_DIGEST,
   PATIENT_STOP_MISSING, CAUSE_PRESENT (supply below 10 %), FAULT_LATCHED (memory, 3.9). A FAULT
   stays as it is, and the Drive is accepted, whatever it wants below RUNNING and whatever its
   targets and digests.
3. **Wanted RUNNING.** Refused in SAFE (STEP_TOO_FAR) and in FAULT (FAULT_LATCHED); both digests
   must match (PROGRAM_DIGEST, LIMITS_DIGEST), and there must be as many targets as the programme
   has channels (CHANNELS). From ARMED every target must be 0 (NOT_FROM_ZERO).
4. **Targets.** Each must lie within the session's amplitude limit, be 0 on a channel whose lead-off
   is latched (LEAD_OFF_LATCHED), and keep charge (setting by setting), then RMS, then average
   within limits for every setting of the programme (chapter 6).

A Drive refused under 3 or 4 is without any effect: it is no command to stop, but it does not renew
the lease either; nor does one refused under 2, whose output went to zero. Neither becomes
`drive_sequence`. An accepted one sets the targets and renews: *expiry = max(expiry, echoed tick +
{lease_ms_max} ms)*.

At the expiry RUNNING becomes FAULT(LEASE_EXPIRED) and ARMED becomes SAFE. No pulse begins at or
after that moment; one in progress is finished, so that its charge stays balanced. Output is
therefore zero at most {zero_after_silence_ms_max} ms after the last sign of life of the host.

The start of output and the end of the host; the numbers on the line are ticks in ms:

```
host                                     device                                   lease until
Drive(ARMED, tick 1000)        -1010->   SAFE to ARMED                                   1320
                               <-1010-   Event(STATE_CHANGED 1), Status
Drive(RUNNING, 0, tick 1010)   -1060->   ARMED to RUNNING: the channels' clocks are 0    1330
                               <-1060-   Event(STATE_CHANGED 2), Status
                               <-1085-   Status, by itself
Drive(RUNNING, 5000, 1085)     -1105->   target 5000 uA, rises pulse by pulse            1405
                               <-1105-   Status
                               <-1130-   Status, by itself
Drive(RUNNING, 200000, 1130)   -1150->   refused whole: the target stays 5000 uA         1405
                               <-1150-   Refused(LIMIT), Status
silence                        <-1175-   Status, by itself; 1200, 1225 ... 1400
                               <-1405-   Event(STATE_CHANGED 3), Event(FAULT_LATCHED 1)
                               <-1425-   Status, by itself; 1675, 1925 ...
```
"""

PROGRAMME = """\
## 5. The pulse programme

Each channel has:

- **phases**, 1 to {phases_max}, in order. An active phase lasts `duration` *units* and carries a
  signed share of the channel's amplitude in permille. A gap has share 0 and lasts `duration`
  microseconds, whatever the unit.
- **unit** and **pulse period** (onset to onset), and the **pulse offset** of the first onset.
- **bursts**, if `pulses_per_burst` is not 0: so many pulses, then rest until the burst period ends.
- a **cycle**, if `on_ms` is not 0: ramp up, plateau, ramp down, off, after an initial offset.
- **keyframes**, up to {keyframes_max}: from `at_ms` on, a share of the amplitude, a unit and a
  pulse period hold until the next one; after `keyframe_cycle_ms` they begin again.

A programme is well formed when, on every channel: durations are at least 1; the first and last
phases are active; the largest absolute share is exactly 1000; the sum of duration x share over the
active phases is exactly 0; keyframes begin at 0 ms, rise in time, begin before their cycle ends,
have at most 1000 permille and one of them exactly that; for every *setting* the unit is at least 1,
the pulse at most the pulse period, and `pulses_per_burst` x pulse period at most the burst period;
what is absent (bursts, cycle, keyframes) has zeros in all its fields. The settings of a channel are
its keyframes; its own unit and pulse period are its one setting where it has none, and otherwise
are neither used nor checked.

Unless ALLOW_OVERLAP is set, pulses of two channels can never coincide: for each pair of channels
one of these must hold.

- *Together*: both have the same cycle with its offset, the same bursts, keyframe cycle, keyframe
  times and pulse periods; and with *lead* the later pulse offset less the earlier one, in every
  setting: the pulse of the earlier <= lead, and lead + the pulse of the later <= pulse period. So a
  lead of more than one period is not well formed.
- *In turn*: both have cycles of one length L; and with *lead* = (cycle offset of the second -
  that of the first) modulo L: the on-phase of the first <= lead, and lead + the on-phase of the
  second <= L.

**Time.** A channel's clock is zero when RUNNING begins. On-phase k of a cycle begins at
*cycle offset + k x (ramp up + on + ramp down + off)* and lasts *ramp up + on + ramp down*; without
a cycle there is one on-phase without end. In each on-phase the first burst begins after the pulse
offset, and others follow at the burst period; within a burst (or without bursts) the next onset
follows after the pulse period that held at the onset before. The keyframe that holds at an onset is
found by the time since the first onset of the on-phase, modulo the keyframe cycle. A pulse that
would outlast its on-phase is not started; one that ends with it is. Onsets of several channels at
one moment are taken in the order of the channels.

Bursts of 3 pulses every 60 ms after an offset of 25 ms; from 0 ms on a pulse period of 10 ms holds,
from 100 ms on one of 20 ms, and after 200 ms they begin again:

```
onset        25  35  45    85  95 105   145 165 185   205 225 235   265 275 285 ms ...
in keyframes  0  10  20    60  70  80   120 140 160   180   0  10    40  50  60 ms
period       10  10  10    10  10  10    20  20  20    20  10  10    10  10  10 ms
```

**Amplitude.** At each onset: setpoint, times the ramp, times the keyframe's permille over 1000;
each step rounded down to whole microamperes; the result rounded down to the channel's *grid*. The
ramp is, with t the time since the on-phase began: t / ramp up while t < ramp up; 1 while
t < ramp up + on; then (on-phase - t) / ramp down, which is what remains of it.
Then each phase gets amplitude x |share| / 1000, rounded towards zero to the device's
`amplitude_step_ua`, with the share's sign. The grid is `amplitude_step_ua` where positive and
negative phases are equal in pairs, and otherwise *step x lcm(1000 / gcd(1000, |share|))* over the
active phases, so that every phase is a whole number of steps and the pulse stays balanced to the
last count. Example: shares 1000 and -250, step 100 uA: grid 100 x lcm(1, 4) = 400 uA; an amplitude
of 7300 uA becomes 7200 uA, the phases 7200 and -1800 uA.

One cycle of 400 ms (offset 100, ramp up 50, on 100, ramp down 50, off 200 ms), pulses of 2 x 200 us
every 30 ms after an offset of 5 ms, at a setpoint of 1000 uA:

```
in RUNNING   105     135     165     195     225     255     285    (315)      505 ms ...
t              5      35      65      95     125     155     185    (215)        5 ms
ramp        5/50   35/50       1       1       1   45/50   15/50       -      5/50
amplitude    100     700    1000    1000    1000     900     300    none       100 uA
            RAMP_UP         PLATEAU                RAMP_DOWN         OFF    RAMP_UP
```

**Digest.** The canonical bytes are the payload of `BeginProgram`, then for each channel the payload
of `ProgramPhases` and those of its `ProgramKeyframes`, {keyframes_per_message} at a time. The
digest is their CRC-32. It tells programmes apart; it does not protect against intent.
"""

LIMITS = """\
## 6. Limits

The table of all limits stands in SAFETY.md; `Refused` names one by its wire id:

{limit_ids}

Integers only: 1 uA x 1 us = 1 pC. For each setting (keyframe) of a channel, at the amplitude that
the target gives after keyframe and grid:

- **Polarity run**: neighbouring active phases of one sign, the gaps between them ignored, the last
  joined with the first (a pulse is a ring). It is what the body feels as one phase, so a phase that
  is cut in steps gains nothing.
- **Charge of a phase**: for either direction, and for every stretch of phases that follow each
  other on the ring, the sum of current x duration in that direction, so that what flows back is
  taken off: at most the session's value. *And*, with the phases of that direction left out in which
  at most {charge_slope_pc} uA flow: at most {charge_base_pc} pC + {charge_slope_pc} pC/us x the
  duration of its other phases of that direction. So neither a weak phase nor a weak turn excuses
  the charge beside it.
- **q1** is the sum of |current| x duration, **q2** the sum of current^2 x duration, over the phases
  of one pulse.
- **Pulses in the worst second** (all divisions up to whole pulses, times in us). *Restarts(x)*: 0
  without a cycle, and 0 where the shortest pulse + off time + pulse offset is at least x; else
  ceil(1000000 / cycle length). Without bursts: ceil(1000000 / period) + restarts(period). With
  bursts of n pulses at burst period B: the greatest, over m from 0 to n - 1 pulses of a burst that
  lie before the second at the *longest* period, of
  floor(W / B) x n - m + min(n, ceil((W mod B) / period)), with W = 1000000 + m x longest;
  + restarts(B) x n; and never more than without bursts. Where all periods are alike m is 0.
- **RMS** holds when the worst second's q2 is at most rms_ua^2 x 1000000; **average** holds when its
  q1 is at most average_ua x 1000000. The worst second of one setting: pulses x q. Of several
  keyframes without bursts: the greatest ceil(1000000 / period) x q, + (1 + restarts(longest
  period)) x the largest q. Of several keyframes with bursts: (pulses at the shortest period + 1) x
  the largest q.

Pulses of 2 x 200 us, so q1 = 400 us x amplitude; *average* is what 20000 uA would need:

| programme | pulses in the worst second | average |
| --- | --- | --- |
| A: every 30 ms | ceil(33.3) = 34 | 272 uA |
| B: A in cycles of 300 ms on, 5 ms off | 34 + ceil(1000 / 305) = 34 + 4 = 38 | 304 uA |
| C: 3 pulses 10 ms apart, a burst every 66 ms | 15 x 3 + ceil(10 / 10) = 46 | 368 uA |
| D: C with keyframes of 10 and of 20 ms | 47 + 1 = 48 | 384 uA |
| E: keyframes of 30 and of 70 ms, no bursts | max(34, ceil(14.3)) + 1 = 35 | 280 uA |

In B there are restarts, since 0.4 + 5 ms are less than 30 ms. In C 15 bursts take 990 ms, and 10 ms
are left. In D m = 0 gives 46; m = 1, with W = 1020 ms, 45 - 1 + min(3, ceil(30 / 10)) = 47; m = 2,
with W = 1040 ms, 45 - 2 + 3 = 46.
With 300 uA of average allowed A takes 22000 uA (34 x 400 x 22000 = 299200000 <= 300000000) and not
22100 (300560000: `asked` is 301). Its RMS at 22100 uA is told as 2578 uA, since q2 / 1000000 =
34 x 400 x 22100^2 / 1000000 = 6642376 lies between 2577^2 = 6640929 and 2578^2 = 6646084.

**How output rises.** The target is what the host wants, the setpoint what the channel has come to.
A setpoint falls at once. It rises only at onsets on the plateau (or without a cycle), by the slew
x the time since the channel's onset before, in the same on-phase; the first pulse of an on-phase
brings no rise. The onset before counts whether or not current flowed at it. A pulse is given after
the rise at its onset. A keyframe in which neither the setpoint nor the hold of chapter 7 would
deliver anything brings no rise. So nothing rises while nothing can be felt. Ramps, keyframes and
bursts are part of the programme and are not slew-limited.

A rise is whole microamperes. The fraction that is left is added to the next rise; it is below 1 uA,
and is kept, whatever happens to target and setpoint, until RUNNING begins anew. Whole microamperes
that a bound cuts off are lost. The bounds: the target; the hold of chapter 7; within one on-phase
of a cycle all rises together `rise_per_cycle_ua`, to which a fall gives nothing back. When the two
onsets are more than {slow_pulse_ms} ms apart the rise is held to `step_ua` too, and its fraction is
dropped while the one kept waits. Example: slew 1999 uA/s, an onset every 10 ms, 19.99 uA each: the
first pulse rises by 0, the next by 19 (0.99 is left), then by 20 (0.98 is left).
"""

FAULTS = """\
## 7. Contact, measurement, faults

**Contact** is judged on pulses whose largest commanded phase is at least {contact_ua_max} uA;
others are passed over: they neither count nor end a row. A pulse is good when the load (voltage
over current at the end of the first active phase) is below {lead_off_ohm_max} ohm and the
compliance voltage was not reached, else bad. Contact becomes GOOD at a good pulse that is at least
the {contact_pulses}th good one, in a row or not, and begins at least {contact_ms} ms after the
first pulse judged, good or bad. Until then the setpoint does not pass the *hold*,
{contact_ua_max} uA rounded up to the channel's grid. It is UNKNOWN again whenever RUNNING begins,
also where a lead-off is still latched, and after a channel is re-armed; all counts of this chapter
begin anew with it. While the setpoint is below {contact_ua_max} uA `Status` tells UNKNOWN for GOOD;
what was proven stays proven, without another hold.

**Lead-off**: N bad pulses in a row, N = max(1, min({lead_off_pulses}, floor(
{lead_off_us} us / pulse period))), the period that of the setting of the last of them.
`contact` becomes OFF, setpoint and target of the channel become 0,
LEAD_OFF_LATCHED is set, `latch_count` grows by one, an event is sent. With LEAD_OFF_STOPS_ALL
setpoint and target of every channel become 0 and every channel is latched, by one count and one
event, which names the channel that was found; `contact` is OFF on that one alone. Only
`AcknowledgeFault` (or a reboot) re-arms it, and its target starts from 0. A load under
{short_ohm_min} ohm sets SHORTED and stops nothing.

`load_ohm`, COMPLIANCE_REACHED and SHORTED are those of the last pulse judged since RUNNING began;
re-arming does not clear them. They are 0 while no pulse was judged, and while the setpoint is below
{contact_ua_max} uA unless contact is OFF.

**Faults** de-energise and latch:

{fault_table}

A fault that comes while another is latched takes its place, and `latch_count` grows again. The
patient's stop acts in every state, at boot too; its cause is gone when it is released. SUPPLY is
latched when the supply falls below 5 %, and again only once it was 5 % or more in between; a device
that boots below latches nothing, and does not arm. No fault, whichever is told, can be acknowledged
while the stop is pressed, the supply is below 5 % or a check of 3.9 fails: for the fault told may
stand before an older one. Other faults have no cause that stays.

RUNNING_TIME is latched when RUNNING has lasted `running_ms` + 1 ms; where the lease ends at the
same moment it is LEASE_EXPIRED. Of OVERCURRENT every pulse counts that was commanded, also one too
weak to judge contact, against the setpoint at that pulse. LINE_NOISE counts the frames damaged
since the device was last SAFE or in FAULT; the last of the {line_errors_per_s_max} comes less than
1 s after the first. A pulse in progress is always finished, never cut: a cut pulse would leave
charge behind.
"""

STATUS = """\
## 8. Status and timing

Each Drive that was not ignored, each `Stop` and each `AcknowledgeFault` is answered with a `Status`
at once, after the `Refused` where there is one. Otherwise one goes out every 25 ms while RUNNING,
or every 50 ms where 60 a second would fill more than 65 % of the line (10 bits to a byte), and
every 250 ms in other states. An answer restarts this timer, and an unsent Status is replaced by
the newest: Status is never queued. Several messages read at once may so have one Status between
them. Of other messages that nobody reads a device keeps some, and drops the oldest.

The timer starts when an epoch is adopted, with 250 ms. A change of state by itself neither sends a
Status nor restarts it: the first Status after a fault in RUNNING comes when the next one of RUNNING
would have come.

A Status tells the moment in which it leaves, its tick and drive sequence among it, not that of the
message that it answers. An `Identity` and an `Event` tell the moment of their cause. A Status has a
row for every channel of the device, whatever the programme; a channel that plays nothing is IDLE,
its figures 0. A device may decide a pulse up to 15 ms before its onset, with the target of that
moment; one that has not begun when RUNNING ends is not given.

**Without a pause.** From a line that was quiet a device takes any programme that it can hold, its
frames sent at once from `BeginProgram` to `CommitProgram`; and it answers four requests sent at
once. After either a host waits for the answers: frames that come sooner may be lost, counted as
damaged or not. The reference host keeps to it, with one exchange of set-up at a time.

`tick_ms` counts milliseconds since boot, modulo 2^32; differences are taken modulo 2^32.
`peak_ua` is the highest current measured since the Status before, whatever the state is by now.
Where there was no pulse since, it is that of the last pulse, or 0 when not RUNNING or when the
setpoint is 0. `pulse_count` counts the pulses in which current flowed since RUNNING began last, and
`running_ms` is how long RUNNING has lasted, or lasted last; both keep their figures when RUNNING
ends, 0 where there was none since boot. `drive_sequence` keeps its own over a Hello, 0 before the
first Drive was accepted. Counters of 16 bits wrap.

| what | figure |
|---|---|
| Drive while connected | 45 to 60 ms apart |
| lease, from the echoed tick | {lease_ms_max} ms |
| output zero after the host fell silent | {zero_after_silence_ms_max} ms at most |
| output zero after the last byte of `Stop` | 20 ms and the rest of the pulse in progress |
| longest pulse | {pulse_duration_us_max} us |
| Status while RUNNING / otherwise | 25 (50) ms / 250 ms |
| damaged frames while ARMED or RUNNING | {line_errors_per_s_max} within 1 s are a fault |
"""
