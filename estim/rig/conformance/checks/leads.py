"""A lead that comes off: found, latched, told, and re-armed from zero."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from estim.rig.conformance.bench import HOST_MS, Bench
from estim.rig.conformance.checks.rising import CONTACT_UA, pad
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.hearing import elapsed_ms, words
from estim.rig.conformance.requirement import expect, fail, requirement
from firmware_protocol import limits
from firmware_protocol.messages import (
    AcknowledgeFault,
    CapabilityFlag,
    ChannelFlag,
    Contact,
    DeviceState,
    Event,
    EventCode,
    PolicyFlag,
    RefusalReason,
    Status,
    WantedState,
)

SLOW_PERIOD_US = 400_000
PERIOD_US = 60_000
"""So slow that several Status come while the bad pulses are counted."""
REACHED_MS = 3000
OTHER_UA = 500


@dataclass
class LeadOff:
    """One lead that came off while 2 mA flowed.

    Attributes:
        before: the Status before it; `open_circuit` all until the latch; `latched` the first after.
        event: LEAD_OFF, None where none came.
        off_ms: the device's tick when it came off, as far as this computer knows.
    """

    before: Status
    latched: Status
    event: Event | None
    open_circuit: list[Status] = field(default_factory=list)
    off_ms: int = 0


def lead_off(bench: Bench) -> LeadOff:
    """Take a lead off, once; and put it back behind a Stop.

    Raises:
        NotTestable: nobody can take it off here.
        Failed: the device does not find it.
    """
    made = bench.scenarios.get("lead off")
    if not isinstance(made, LeadOff):
        made = bench.scenarios["lead off"] = _take_off(bench, bench.compiled.policy)
        bench.stop()
        bench.put_lead_back()
    return made


@requirement("LEAD-01", "7", "a lead-off takes setpoint and target to 0, latched, counted and told")
def found_and_latched(bench: Bench) -> None:
    made = lead_off(bench)
    channel = made.latched.channels[0]
    expect(
        (channel.setpoint_ua, channel.target_ua, channel.contact) == (0, 0, Contact.OFF),
        "setpoint 0, target 0, contact OFF",
        f"{channel.setpoint_ua}, {channel.target_ua}, {channel.contact.name}",
    )
    counted = (made.latched.latch_count - made.before.latch_count) & 0xFFFF
    expect(counted == 1, "latch_count one more", counted)
    expect(made.event is not None, "the event LEAD_OFF", "none")
    expect(made.event is not None and made.event.channel == 0, "of channel index 0", made.event)


@requirement("LEAD-02", "7", "the other channels play on, where no policy says otherwise")
def others_play_on(bench: Bench) -> None:
    bench.need_channels(2)
    made = lead_off(bench)
    other = made.latched.channels[1]
    expect(
        (other.target_ua, bool(other.setpoint_ua)) == (OTHER_UA, True)
        and ChannelFlag.LEAD_OFF_LATCHED not in other.flags,
        f"channel 2 at {OTHER_UA} uA as before",
        f"{other.setpoint_ua} uA, {other.flags!r}",
    )


@requirement("LEAD-03", "7", "it is found within 3 pulses or 200 ms")
def found_in_time(bench: Bench) -> None:
    made = lead_off(bench)
    lasted = [status.tick_ms for status in made.open_circuit]
    bad_pulses = max(1, min(limits.LEAD_OFF_PULSES, limits.LEAD_OFF_US // PERIOD_US))
    most_ms = (bad_pulses + 1) * PERIOD_US // 1000 + HOST_MS
    if bench.world.patience_ms > REACHED_MS:
        return  # a hand has no tick
    took_ms = (lasted[-1] - lasted[0]) if lasted else 0
    expect(took_ms <= most_ms, f"found within {most_ms} ms", f"{took_ms} ms")


@requirement("LEAD-04", "7", "the latch stays when the lead is back, and refuses every target")
def stays_latched(bench: Bench) -> None:
    _latched_again(bench)
    bench.put_lead_back()
    for target_ua in (bench.can.amplitude_step_ua, OTHER_UA):
        outcome = bench.expect_drive_refused(
            bench.drive_message(WantedState.RUNNING, pad(bench, target_ua)),
            RefusalReason.LEAD_OFF_LATCHED,
            what="with a target on the latched channel",
        )
        expect(
            ChannelFlag.LEAD_OFF_LATCHED in outcome.status.channels[0].flags,
            "LEAD_OFF_LATCHED still",
            outcome.status.channels[0].flags,
        )


@requirement("LEAD-05", "3.7", "AcknowledgeFault with its channel re-arms it, from zero, UNKNOWN")
def rearmed_from_zero(bench: Bench) -> None:
    status = _latched_again(bench)
    bench.put_lead_back()
    bench.expect_refused(
        AcknowledgeFault((status.latch_count - 1) & 0xFFFF, 1), RefusalReason.NOT_THE_LATEST
    )
    mark = bench.line.mark()
    bench.line.send(AcknowledgeFault(status.latch_count, 1))
    bench.wait_event(mark, EventCode.LEAD_OFF_CLEARED, ANSWER_MS)
    channel = bench.probe().channels[0]
    expect(
        (channel.setpoint_ua, channel.target_ua, channel.contact, channel.flags)
        == (0, 0, Contact.UNKNOWN, ChannelFlag.NONE),
        "setpoint 0, target 0, contact UNKNOWN, no flag",
        f"{channel.setpoint_ua}, {channel.target_ua}, {channel.contact.name}, {channel.flags!r}",
    )
    again = bench.hold(300, pad(bench, OTHER_UA))
    now_ua = again.channels[0].setpoint_ua
    expect(0 < now_ua <= OTHER_UA, f"rising towards {OTHER_UA} uA again", f"{now_ua} uA")


@requirement("LEAD-06", "7", "with LEAD_OFF_STOPS_ALL every channel is at zero and latched")
def stops_all(bench: Bench) -> None:
    bench.need_channels(2)
    made = _take_off(bench, PolicyFlag.LEAD_OFF_STOPS_ALL)
    bench.stop()
    bench.put_lead_back()
    for number, channel in enumerate(made.latched.channels[: bench.channel_count], start=1):
        expect(
            (channel.setpoint_ua, channel.target_ua) == (0, 0)
            and ChannelFlag.LEAD_OFF_LATCHED in channel.flags,
            f"channel {number} at zero and latched",
            f"{channel.setpoint_ua} uA, {channel.flags!r}",
        )


@requirement("LEAD-07", "7", "below 5 Hz one bad pulse is a lead-off")
def slow_lead_off(bench: Bench) -> None:
    made = _take_off(bench, bench.compiled.policy, SLOW_PERIOD_US)
    bench.stop()
    bench.put_lead_back()
    # 200 ms / 400 ms: less than one pulse, so one.
    if bench.world.patience_ms <= REACHED_MS:  # a hand has no tick
        took_ms = elapsed_ms(made.latched.tick_ms, made.off_ms)
        most_ms = SLOW_PERIOD_US // 1000 + HOST_MS
        expect(took_ms <= most_ms, f"a lead-off with the next pulse, {most_ms} ms", f"{took_ms} ms")
    bench.need(CapabilityFlag.REPORTS_CURRENT)
    bad = [s.tick_ms for s in made.open_circuit if s.channels[0].peak_ua < CONTACT_UA // 10]
    expect(not bad, "no Status of a bad pulse without the latch", f"one at {bad[:1]} ms")


@requirement("LEAD-08", "3.7", "AcknowledgeFault re-arms the channels of its mask alone")
def rearms_mask_alone(bench: Bench) -> None:
    bench.need_channels(2)
    made = _take_off(bench, PolicyFlag.LEAD_OFF_STOPS_ALL)
    bench.stop()
    bench.put_lead_back()
    mark = bench.line.mark()
    bench.line.send(AcknowledgeFault(made.latched.latch_count, 1))
    bench.wait_event(mark, EventCode.LEAD_OFF_CLEARED, ANSWER_MS)
    channels = bench.probe().channels[: bench.channel_count]
    found = [ChannelFlag.LEAD_OFF_LATCHED in channel.flags for channel in channels]
    expect(
        found == [False] + [True] * (len(channels) - 1),
        "channel 1 re-armed by a mask of channel 1, the others latched",
        "latched: " + ", ".join(str(n) for n, is_latched in enumerate(found, 1) if is_latched),
    )


def _latched_again(bench: Bench) -> Status:
    """Have a latched channel in RUNNING: the one of the scenario, through a new session."""
    return _take_off(bench, bench.compiled.policy).latched


def _take_off(bench: Bench, policy: PolicyFlag, period_us: int = PERIOD_US) -> LeadOff:
    bench.begin(bench.programs.everyday(period_us), replace(bench.compiled, policy=policy))
    bench.reach(DeviceState.RUNNING)
    others = () if bench.channel_count < 2 else (OTHER_UA,)
    before = bench.hold(
        REACHED_MS,
        pad(bench, CONTACT_UA, *others),
        until=lambda status: status.channels[0].setpoint_ua >= CONTACT_UA,
    )
    mark, off_ms = bench.line.mark(), bench.tick_now()
    bench.play("lead-off 1")
    found = bench.hold(bench.world.patience_ms, until=_is_latched, may_refuse=True)
    seen = [h.message for h in bench.line.heard[mark:] if isinstance(h.message, Status)]
    if not _is_latched(found):
        bench.stop()
        bench.put_lead_back()
        fail("LEAD_OFF_LATCHED once a lead is off", words(found))
    bench.targets_ua = pad(bench, 0, *others if policy is PolicyFlag.NONE else ())
    bench.hold(HOST_MS, may_refuse=True)
    event = next(
        (
            h.message
            for h in bench.line.heard[mark:]
            if isinstance(h.message, Event) and h.message.code is EventCode.LEAD_OFF
        ),
        None,
    )
    return LeadOff(before, found, event, [s for s in seen if not _is_latched(s)], off_ms)


def _is_latched(status: Status) -> bool:
    return ChannelFlag.LEAD_OFF_LATCHED in status.channels[0].flags
