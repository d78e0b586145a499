"""How output rises and falls, what proves the contact, and whether what is measured is true.

One delivery into the declared load serves several requirements; it is made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from estim.rig.conformance.bench import AHEAD_MS, TICK_MS, Bench
from estim.rig.conformance.hearing import elapsed_ms, words
from estim.rig.conformance.requirement import (
    NotApplicable,
    NotTestable,
    expect,
    fail,
    requirement,
)
from firmware_protocol import limits
from firmware_protocol.messages import (
    CapabilityFlag,
    Contact,
    CyclePhase,
    DeviceState,
    Event,
    EventCode,
    Status,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Keyframe, Phase, PulseProgram

REACHED_MS = 5000
PLATEAU_MS = 600
LOWERED_UA = 1000
STATUS_MS = 50
CONTACT_UA = limits.contact_ua.maximum
CONTACT_MS = limits.CONTACT_US // 1000
MEASURED_PERCENT = 10
MEASURED_UA = 200
LOAD_EXTRA_OHM = 20
SLOW_UA_PER_S = 300
SILENT_MS = (300, 700)
CARRIED_MS = 800
CARRIED_UA = 4


@dataclass
class Delivery:
    """One delivery on the first channel, from zero to the target and back.

    Attributes:
        begun: the Status that accepted the target.
        rising: every Status on the way up; `plateau` those at the target.
        lowered: the Status that answered a lower target.
        proven: the event CONTACT_GOOD, None where none came.
        window_us: from arming to the last Status, on this computer's clock.
    """

    begun: Status
    period_us: int
    target_ua: int
    rising: list[Status] = field(default_factory=list)
    plateau: list[Status] = field(default_factory=list)
    lowered: Status | None = None
    proven: Event | None = None
    window_us: tuple[int, int] = (0, 0)
    lowered_us: int = 0
    stopped_us: int = 0


def delivery(bench: Bench) -> Delivery:
    """Return the delivery, made the first time it is asked for.

    Raises:
        Failed: the device did not come to its target.
    """
    made = bench.scenarios.get("delivery")
    if not isinstance(made, Delivery):
        made = bench.scenarios["delivery"] = deliver(bench)
    return made


def deliver(bench: Bench) -> Delivery:
    """Make a delivery: to the target, held, lowered, stopped.

    Raises:
        Failed: the device did not come to its target.
    """
    line, target_ua = bench.line, bench.target_ua
    bench.begin(bench.programs.everyday())
    start_us = line.now_us()
    bench.reach(DeviceState.RUNNING)
    targets = pad(bench, target_ua)
    mark = line.mark()
    bench.targets_ua = targets
    begun = bench.arrived(
        bench.drive(bench.drive_message(WantedState.RUNNING, targets)), DeviceState.RUNNING
    )
    made = Delivery(begun, bench.programs.period_us, target_ua)
    last = bench.hold(REACHED_MS, until=lambda status: status.channels[0].setpoint_ua >= target_ua)
    made.rising = [h.message for h in line.heard[mark:] if isinstance(h.message, Status)]
    made.proven = next(
        (
            h.message
            for h in line.heard[mark:]
            if isinstance(h.message, Event) and h.message.code is EventCode.CONTACT_GOOD
        ),
        None,
    )
    if last.channels[0].setpoint_ua < target_ua:
        bench.stop()
        fail(f"a setpoint of {target_ua} uA within {REACHED_MS} ms", words(last))
    mark = line.mark()
    bench.hold(PLATEAU_MS)
    made.plateau = [h.message for h in line.heard[mark:] if isinstance(h.message, Status)]
    made.lowered_us = line.now_us()
    bench.targets_ua = pad(bench, LOWERED_UA)
    made.lowered = bench.drive(bench.drive_message(WantedState.RUNNING, bench.targets_ua)).status
    bench.hold(PLATEAU_MS // 2)
    made.stopped_us = line.now_us()
    bench.stop()
    made.window_us = (start_us, line.now_us())
    return made


@requirement("RISE-01", "6", "a setpoint rises by the slew, and no faster")
def slew(bench: Bench) -> None:
    made = delivery(bench)
    _expect_slew(made, made.rising, bench.compiled.setpoint_slew_ua_per_s, CONTACT_UA)


@requirement("RISE-02", "6", "the session's slew binds, where it is the lower")
def session_slew(bench: Bench) -> None:
    session = replace(bench.compiled, setpoint_slew_ua_per_s=SLOW_UA_PER_S)
    bench.begin(bench.programs.everyday(), session)
    bench.reach(DeviceState.RUNNING)
    bench.targets_ua = pad(bench, LOWERED_UA)
    begun = bench.drive(bench.drive_message(WantedState.RUNNING, bench.targets_ua)).status
    made = Delivery(begun, bench.programs.period_us, LOWERED_UA)
    mark = bench.line.mark()
    bench.hold(1000)
    rising = [h.message for h in bench.line.heard[mark:] if isinstance(h.message, Status)]
    _expect_slew(made, rising, SLOW_UA_PER_S, LOWERED_UA)


@requirement("RISE-03", "7", "until contact is proven a setpoint does not pass 2 mA")
def held_until_proven(bench: Bench) -> None:
    made = delivery(bench)
    step_ua = bench.can.amplitude_step_ua
    hold_ua = -(-CONTACT_UA // step_ua) * step_ua
    for status in made.rising:
        channel = status.channels[0]
        expect(
            channel.contact is Contact.GOOD or channel.setpoint_ua <= hold_ua,
            f"at most {hold_ua} uA while contact is {channel.contact.name}",
            f"{channel.setpoint_ua} uA",
        )


@requirement("RISE-04", "6", "a setpoint falls at once, and never passes the target")
def falls_at_once(bench: Bench) -> None:
    made = delivery(bench)
    assert made.lowered is not None
    found = made.lowered.channels[0].setpoint_ua
    expect(found == LOWERED_UA, f"{LOWERED_UA} uA in the answer to the Drive", f"{found} uA")


@requirement("RISE-05", "6", "below 5 Hz a pulse raises by at most step_ua, the first by nothing")
def slow_pulses(bench: Bench) -> None:
    step_ua, period_us = 300, 500_000
    session = replace(bench.compiled, step_ua=step_ua)
    bench.begin(bench.programs.everyday(period_us), session)
    bench.reach(DeviceState.RUNNING)
    mark = bench.line.mark()
    bench.hold(1900, pad(bench, LOWERED_UA + 500))
    seen = [h.message for h in bench.line.heard[mark:] if isinstance(h.message, Status)]
    former_ua = 0
    for status in seen:
        now_ua = status.channels[0].setpoint_ua
        expect(
            now_ua - former_ua <= step_ua,
            f"at most {step_ua} uA more with a pulse",
            f"{former_ua} then {now_ua} uA",
        )
        is_before_second = status.running_ms < period_us // 1000 - TICK_MS
        expect(
            not (is_before_second and now_ua),
            "no rise with the first pulse",
            f"{now_ua} uA after {status.running_ms} ms",
        )
        former_ua = now_ua
    expect(former_ua >= step_ua, f"at least {step_ua} uA after four pulses", f"{former_ua} uA")


@requirement("RISE-06", "6", "within one cycle all rises together stay within rise_per_cycle_ua")
def rise_per_cycle(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_CYCLE)
    most_ua, on_ms, off_ms = 200, 500, 300
    session = replace(bench.compiled, rise_per_cycle_ua=most_ua)
    bench.begin(bench.programs.cycle(on_ms, off_ms), session)
    bench.reach(DeviceState.RUNNING)
    mark = bench.line.mark()
    bench.hold(2 * (on_ms + off_ms) + 100, (LOWERED_UA,))
    seen = [h.message for h in bench.line.heard[mark:] if isinstance(h.message, Status)]
    for status in seen:
        begun = (status.running_ms + AHEAD_MS) // (on_ms + off_ms) + 1
        now_ua = status.channels[0].setpoint_ua
        expect(
            now_ua <= begun * most_ua,
            f"at most {most_ua} uA more in each cycle",
            f"{now_ua} uA in cycle {begun}",
        )
    last_ua = seen[-1].channels[0].setpoint_ua if seen else 0
    expect(last_ua > most_ua, f"more than {most_ua} uA in the third cycle", f"{last_ua} uA")


@requirement("RISE-07", "6", "nothing rises outside the plateau, and the cycle's phase is told")
def rises_on_plateau(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_CYCLE)
    on_ms, off_ms, ramp_ms = 300, 300, 300
    bench.begin(bench.programs.cycle(on_ms, off_ms, ramp_ms))
    bench.reach(DeviceState.RUNNING)
    mark = bench.line.mark()
    bench.hold(ramp_ms + on_ms + off_ms + ramp_ms // 2, (LOWERED_UA,))
    seen = [h.message for h in bench.line.heard[mark:] if isinstance(h.message, Status)]
    total_ms = ramp_ms + on_ms + off_ms
    for before, status in pairwise(seen):
        at_ms = status.running_ms % total_ms
        for edge_ms, phase in (
            (0, CyclePhase.RAMP_UP), (ramp_ms, CyclePhase.PLATEAU),
            (ramp_ms + on_ms, CyclePhase.OFF),
        ):  # fmt: skip
            lasts_ms = {CyclePhase.RAMP_UP: ramp_ms, CyclePhase.PLATEAU: on_ms}.get(phase, off_ms)
            if edge_ms + 2 <= at_ms < edge_ms + lasts_ms - 2:
                told = status.channels[0].cycle_phase
                expect(told is phase, f"{phase.name} {at_ms} ms into the cycle", told.name)
        rose_ua = status.channels[0].setpoint_ua - before.channels[0].setpoint_ua
        phases = {status.channels[0].cycle_phase, before.channels[0].cycle_phase}
        is_ahead = ramp_ms - AHEAD_MS <= at_ms < ramp_ms  # of the plateau's first pulse
        expect(
            rose_ua <= 0 or is_ahead or CyclePhase.PLATEAU in phases,
            "no rise in a ramp or off time",
            f"{rose_ua} uA in {status.channels[0].cycle_phase.name}",
        )


@requirement("RISE-08", "6", "each channel rises to its own target, and no other")
def own_targets(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    targets = tuple(200 * (number + 1) for number in range(bench.channel_count))
    for wanted in (targets, targets[::-1]):
        status = bench.hold(700, wanted)
        found = tuple(channel.setpoint_ua for channel in status.channels[: len(wanted)])
        expect(found == wanted, f"setpoints {wanted} uA", found)


@requirement("RISE-09", "6", "the first pulse of an on-phase brings no rise")
def first_of_on_phase(bench: Bench) -> None:
    """Play on-phases of one pulse each: under them nothing ever rises."""
    bench.need(CapabilityFlag.HOLDS_CYCLE)
    on_ms = 2 * bench.programs.phase_us // 1000 + 1
    off_ms = bench.programs.period_us // 1000 * 9
    bench.begin(bench.programs.cycle(on_ms, off_ms))
    bench.reach(DeviceState.RUNNING)
    mark = bench.line.mark()
    bench.hold(6 * (on_ms + off_ms), (LOWERED_UA,))
    seen = [h.message for h in bench.line.heard[mark:] if isinstance(h.message, Status)]
    highest_ua = max((status.channels[0].setpoint_ua for status in seen), default=0)
    expect(highest_ua == 0, "setpoint 0 where each on-phase has one pulse", f"{highest_ua} uA")


@requirement("RISE-10", "6", "a keyframe in which nothing would be delivered brings no rise")
def silent_keyframe(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_KEYFRAMES)
    programs, step_ua = bench.programs, bench.can.amplitude_step_ua
    # The hold of 2 mA gives 2 uA at 1 permille.
    permille = int(step_ua > -(-CONTACT_UA // step_ua) * step_ua // 1000)
    loud = Keyframe(0, 1000, programs.phase_us, programs.period_us)
    silent = replace(loud, at_ms=SILENT_MS[0], amplitude_permille=permille)
    channel = replace(programs.channel(), keyframes=(loud, silent), keyframe_cycle_ms=SILENT_MS[1])
    session = replace(bench.compiled, setpoint_slew_ua_per_s=LOWERED_UA)
    bench.begin(PulseProgram((channel,)), session)
    bench.reach(DeviceState.RUNNING)
    mark = bench.line.mark()
    last = bench.hold(SILENT_MS[1] + SILENT_MS[0] // 2, (LOWERED_UA,))
    seen = [h.message for h in bench.line.heard[mark:] if isinstance(h.message, Status)]
    first_ms, end_ms = SILENT_MS[0] + AHEAD_MS + TICK_MS, SILENT_MS[1] - AHEAD_MS - TICK_MS
    silent_ua = [s.channels[0].setpoint_ua for s in seen if first_ms <= s.running_ms < end_ms]
    expect(bool(silent_ua) and silent_ua[0] > 0, "a rise before the silent keyframe", silent_ua)
    expect(
        len(set(silent_ua)) == 1,
        f"the setpoint as it is in a keyframe of {permille} permille",
        f"{silent_ua[0]} to {silent_ua[-1]} uA",
    )
    now_ua = last.channels[0].setpoint_ua
    expect(now_ua > silent_ua[-1], "a rise once it is over", f"{now_ua} uA")


@requirement("RISE-11", "6", "fractions of a microampere are carried over from pulse to pulse")
def carried_over(bench: Bench) -> None:
    """Rise by half a microampere a pulse."""
    slew_ua_per_s = 500_000 // bench.programs.period_us
    session = replace(bench.compiled, setpoint_slew_ua_per_s=slew_ua_per_s)
    bench.begin(bench.programs.everyday(), session)
    bench.reach(DeviceState.RUNNING)
    bench.targets_ua = pad(bench, LOWERED_UA)
    begun = bench.drive(bench.drive_message(WantedState.RUNNING, bench.targets_ua)).status
    last = bench.hold(CARRIED_MS)
    due_ua = slew_ua_per_s * elapsed_ms(last.tick_ms, begun.tick_ms) // 1000
    now_ua = last.channels[0].setpoint_ua
    # A pulse at either end, and what is told ahead.
    expect(
        abs(now_ua - due_ua) <= CARRIED_UA,
        f"{due_ua} uA (+-{CARRIED_UA}) by {slew_ua_per_s} uA/s, half a microampere a pulse",
        f"{now_ua} uA",
    )


@requirement("RISE-12", "7", "the hold of 2 mA is rounded up to the channel's grid")
def hold_on_grid(bench: Bench) -> None:
    channel, hold_ua = _off_hold(bench)
    bench.need_playable(PulseProgram((channel,)))
    bench.begin(PulseProgram((channel,)))
    bench.reach(DeviceState.RUNNING)
    mark = bench.line.mark()
    bench.hold(
        REACHED_MS // 2, (bench.target_ua,),
        until=lambda status: status.channels[0].setpoint_ua >= hold_ua,
    )  # fmt: skip
    bench.hold(PLATEAU_MS)
    seen = [h.message for h in bench.line.heard[mark:] if isinstance(h.message, Status)]
    held_ua = max(
        (s.channels[0].setpoint_ua for s in seen if s.channels[0].contact is not Contact.GOOD),
        default=0,
    )
    expect(held_ua == hold_ua, f"a hold of {hold_ua} uA, 2 mA on its grid", f"{held_ua} uA")


def _off_hold(bench: Bench) -> tuple[ChannelProgram, int]:
    """Return a channel whose grid does not divide 2 mA, and where it holds.

    Raises:
        NotApplicable: the device has no such grid.
    """
    programs, step_ua = bench.programs, bench.can.amplitude_step_ua
    for units in (1, 4, 8, 25):
        # Shares 1000 and -1000 / units: the grid is so many steps.
        grid_ua = step_ua * units
        hold_ua = -(-CONTACT_UA // grid_ua) * grid_ua
        unit_us = max(programs.phase_min_us, min(100, programs.phase_max_us // units))
        is_possible = units * unit_us <= programs.phase_max_us and (
            units == 1 or programs.has(CapabilityFlag.UNEQUAL_PHASES)
        )
        if CONTACT_UA < hold_ua <= bench.target_ua and is_possible:
            phases = (Phase(1, 1000), Phase(units, -1000 // units))
            return ChannelProgram(phases, unit_us, programs.period_us), hold_ua
    raise NotApplicable("2 mA lie on every grid that it has")


@requirement("CONTACT-01", "7", "below 2 mA the contact is UNKNOWN")
def unknown_below(bench: Bench) -> None:
    for status in delivery(bench).rising:
        channel = status.channels[0]
        expect(
            channel.setpoint_ua >= CONTACT_UA or channel.contact is Contact.UNKNOWN,
            f"UNKNOWN at {channel.setpoint_ua} uA",
            channel.contact.name,
        )


@requirement("CONTACT-02", "7", "contact is GOOD after 5 good pulses and 1000 ms, not before")
def proven_in_time(bench: Bench) -> None:
    made = delivery(bench)
    judged = next(
        (s for s in made.rising if s.channels[0].setpoint_ua >= CONTACT_UA), made.rising[-1]
    )
    if made.proven is None:
        fail("the event CONTACT_GOOD", "none")
    took_ms = elapsed_ms(made.proven.tick_ms, judged.tick_ms)
    latest_ms = CONTACT_MS + 6 * made.period_us // 1000 + TICK_MS
    # The pulse that was judged first may have come a Status earlier.
    expect(
        CONTACT_MS - STATUS_MS - TICK_MS <= took_ms <= latest_ms,
        f"CONTACT_GOOD {CONTACT_MS} ms after the first pulse of 2 mA",
        f"{took_ms} ms",
    )


@requirement("MEASURE-01", "7", "load_ohm is that of the declared load")
def load_is_true(bench: Bench) -> None:
    bench.need(CapabilityFlag.REPORTS_LOAD)
    allowed_ohm = bench.bench_ohm * MEASURED_PERCENT // 100 + LOAD_EXTRA_OHM
    found = [status.channels[0].load_ohm for status in delivery(bench).plateau]
    expect(
        all(abs(load_ohm - bench.bench_ohm) <= allowed_ohm for load_ohm in found),
        f"{bench.bench_ohm} ohm, give or take {allowed_ohm}",
        sorted(set(found)),
    )


@requirement(
    "MEASURE-02", "8", "peak_ua is what flows: within 10 % of the setpoint on a sound load"
)
def peak_is_true(bench: Bench) -> None:
    bench.need(CapabilityFlag.REPORTS_CURRENT)
    made = delivery(bench)
    if made.target_ua * bench.bench_ohm > 1000 * bench.can.compliance_mv:
        raise NotTestable("the declared load takes no such current at its compliance voltage")
    allowed_ua = made.target_ua * MEASURED_PERCENT // 100 + MEASURED_UA
    found = [status.channels[0].peak_ua for status in made.plateau]
    expect(
        all(abs(peak_ua - made.target_ua) <= allowed_ua for peak_ua in found),
        f"{made.target_ua} uA, give or take {allowed_ua}",
        sorted(set(found)),
    )


@requirement("MEASURE-03", "8", "pulse_count counts every pulse: as many as the period allows, +-1")
def pulses_are_counted(bench: Bench) -> None:
    made = delivery(bench)
    first, last = made.plateau[0], made.plateau[-1]
    counted = last.channels[0].pulse_count - first.channels[0].pulse_count
    expected = elapsed_ms(last.tick_ms, first.tick_ms) * 1000 / made.period_us
    expect(abs(counted - expected) <= 1.2, f"{expected:.1f} pulses", counted)
    others = [channel.pulse_count for channel in last.channels[1:]]
    expect(not any(others), "no pulse on channels at zero", others)


@requirement("MEASURE-04", "8", "peak_ua is measured, not copied: next to nothing with a lead off")
def peak_is_measured(bench: Bench) -> None:
    from estim.rig.conformance.checks.leads import lead_off

    bench.need(CapabilityFlag.REPORTS_CURRENT)
    made = lead_off(bench)
    off = [
        status.channels[0].peak_ua for status in made.open_circuit if status.channels[0].setpoint_ua
    ]
    if not off:
        raise NotTestable("no Status came between the lead and its latch")
    least_ua = min(off)
    expect(
        least_ua <= CONTACT_UA * MEASURED_PERCENT // 100,
        "less than a tenth of the setpoint measured into an open circuit",
        f"at least {least_ua} uA",
    )


def pad(bench: Bench, *targets_ua: int) -> tuple[int, ...]:
    """Return targets for all channels of the programme, zero where none is given."""
    return targets_ua + (0,) * (bench.channel_count - len(targets_ua))


def _expect_slew(made: Delivery, seen: Sequence[Status], slew_ua_per_s: int, until_ua: int) -> None:
    """Expect every Status of a rise on the slew's line, up to an amplitude."""
    for status in seen:
        since_ms = elapsed_ms(status.tick_ms, made.begun.tick_ms)
        now_ua = status.channels[0].setpoint_ua
        most_ua = slew_ua_per_s * (since_ms * 1000 + made.period_us) // 1_000_000 + 2
        expect(
            now_ua <= most_ua,
            f"at most {most_ua} uA {since_ms} ms after the target ({slew_ua_per_s} uA/s)",
            f"{now_ua} uA",
        )
        least_ua = min(until_ua, slew_ua_per_s * max(0, since_ms - 2 * STATUS_MS) // 1000)
        expect(
            now_ua >= least_ua * 8 // 10,
            f"at least {least_ua * 8 // 10} uA {since_ms} ms after the target",
            f"{now_ua} uA",
        )
