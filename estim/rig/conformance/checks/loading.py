"""Loading a programme: order, form, digest, Capabilities, and the limits of a pulse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from estim.rig.conformance.bench import Bench
from estim.rig.conformance.hearing import words
from estim.rig.conformance.programs import SYMMETRIC
from estim.rig.conformance.requirement import NotApplicable, expect, requirement
from firmware_protocol import limits
from firmware_protocol.limits import Limit
from firmware_protocol.messages import (
    CHANNELS_MAX,
    KEYFRAMES_MAX,
    PHASES_MAX,
    BeginProgram,
    CapabilityFlag,
    CommitProgram,
    Message,
    ProgramAccepted,
    ProgramFlag,
    ProgramPhases,
    RefusalReason,
    Refused,
)
from firmware_protocol.program import (
    ChannelProgram,
    Cycle,
    Keyframe,
    Phase,
    PulseProgram,
)

_EITHER = (RefusalReason.CAPABILITY, RefusalReason.LIMIT)


@requirement(
    "LOAD-01", "3.4", "a programme is loaded, and answered with its digest at the commit alone"
)
def loads(bench: Bench) -> None:
    bench.begin()
    program = bench.programs.everyday()
    mark = bench.line.mark()
    for message in program.messages():
        bench.line.send(message)
    found = bench.fence(mark)
    expect(not found, "nothing answered before the commit", ", ".join(map(words, found)))
    bench.load(program)
    expect(
        bench.program_digest == program.digest, f"{program.digest:#010x}",
        f"{bench.program_digest:#010x}",
    )  # fmt: skip
    told = bench.probe().program_digest
    expect(told == program.digest, f"{program.digest:#010x} in the Status", f"{told:#010x}")


@requirement("LOAD-02", "3.4", "a commit with another digest is refused, and nothing is loaded")
def wrong_digest(bench: Bench) -> None:
    bench.begin()
    program = bench.programs.everyday()
    for wrong in (program.digest ^ 1, program.digest ^ 0x8000_0000, 0):
        for message in program.messages():
            bench.line.send(message)
        bench.expect_refused(
            CommitProgram(wrong), RefusalReason.PROGRAM_DIGEST, what=f"with digest {wrong:#x}"
        )
        told = bench.probe().program_digest
        expect(told == 0, "no programme loaded", f"{told:#010x}")


@requirement(
    "LOAD-03", "5", "the digest covers every field: a programme changed on its way is refused"
)
def digest_covers_all(bench: Bench) -> None:
    bench.begin()
    program = bench.programs.everyday()
    begin, phases, *rest = program.messages()
    assert isinstance(phases, ProgramPhases)
    changed: tuple[Message, ...] = (
        replace(phases, pulse_period_us=phases.pulse_period_us + 1),
        replace(phases, unit_us=phases.unit_us + 1),
        replace(phases, pulse_offset_us=phases.pulse_offset_us + 1),
    )
    for other in changed:
        for message in (begin, other, *rest):
            bench.line.send(message)
        bench.expect_refused(
            CommitProgram(program.digest),
            RefusalReason.PROGRAM_DIGEST,
            RefusalReason.PROGRAM,  # an offset may make channels overlap
            RefusalReason.CAPABILITY,  # a unit may be more than it has
            what="of another programme than was sent",
        )


@requirement("LOAD-04", "3.4", "what comes out of order is refused at the commit: PROGRAM")
def out_of_order(bench: Bench) -> None:
    bench.begin()
    program = bench.programs.single()
    begin, phases = program.messages()
    assert isinstance(phases, ProgramPhases)
    for what, loading in (
        ("nothing before it", ()),
        ("without BeginProgram", (phases,)),
        ("without ProgramPhases", (begin,)),
        ("with a channel twice", (begin, phases, phases)),
        ("with a channel of another index", (begin, replace(phases, channel=1))),
        ("with a channel more than announced", (begin, phases, replace(phases, channel=1))),
        ("with keyframes missing", (begin, replace(phases, keyframe_count=2))),
        ("of no channel", (BeginProgram(0, ProgramFlag.NONE),)),
    ):
        # A programme of before must not help.
        bench.line.send(BeginProgram(1, ProgramFlag.NONE))
        bench.expect_refused(CommitProgram(1), RefusalReason.PROGRAM)
        for message in loading:
            mark = bench.line.mark()
            bench.line.send(message)
            bench.fence(mark)
        bench.expect_refused(CommitProgram(program.digest), RefusalReason.PROGRAM, what=what)


@requirement("LOAD-05", "5", "a programme that is not well formed is refused: PROGRAM")
def not_well_formed(bench: Bench) -> None:
    bench.begin()
    for what, program in _ill_formed(bench):
        _expect_refused(bench, program, RefusalReason.PROGRAM, what)


@requirement("LOAD-06", "3.4", "BeginProgram unloads the programme before")
def begin_unloads(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.line.send(BeginProgram(1, ProgramFlag.NONE))
    told = bench.probe().program_digest
    expect(told == 0, "no programme loaded", f"{told:#010x}")


@requirement("LOAD-07", "3.4", "phases in a pulse: the device's most are taken, more are refused")
def phase_count(bench: Bench) -> None:
    bench.begin()
    most = bench.can.phases_max // 2 * 2
    programs = bench.programs
    while most * programs.phase_min_us > limits.pulse_duration_us.maximum:
        most -= 2
    _expect_loaded(bench, programs.phases(most), f"{most} phases")
    if bench.can.phases_max >= PHASES_MAX:
        return
    _expect_not(bench, programs.phases(bench.can.phases_max // 2 * 2 + 2), "phases beyond its most")


@requirement("LOAD-08", "3.4", "phase duration: the device's shortest and longest, and 1 us beyond")
def phase_durations(bench: Bench) -> None:
    bench.begin()
    programs = bench.programs
    shortest, longest = programs.phase_min_us, programs.phase_max_us
    period_us = max(programs.period_us, 2 * longest + 2)
    for phase_us in (shortest, longest):
        _expect_loaded(bench, programs.single(phase_us, period_us), f"phases of {phase_us} us")
    for phase_us in (shortest - 1, longest + 1):
        _expect_not(bench, programs.single(phase_us, period_us), f"phases of {phase_us} us")


@requirement("LOAD-09", "3.4", "pulse period: the device's shortest is taken, 1 us less is refused")
def shortest_period(bench: Bench) -> None:
    bench.begin()
    shortest, phase_us = bench.can.pulse_period_min_us, bench.programs.phase_min_us
    if 2 * phase_us >= shortest:
        raise NotApplicable("two of its shortest phases fill its shortest pulse period")
    _expect_loaded(bench, bench.programs.single(phase_us, shortest), f"a period of {shortest} us")
    _expect_not(
        bench, bench.programs.single(phase_us, shortest - 1), f"a period of {shortest - 1} us"
    )


@requirement("LOAD-10", "3.4", "channels: all of the device's are taken, one more is refused")
def channel_count(bench: Bench) -> None:
    bench.begin()
    _expect_loaded(bench, bench.programs.everyday(), "all channels")
    count = bench.can.channel_count + 1
    if count > CHANNELS_MAX:
        return
    channel = bench.programs.channel()
    apart_us = channel.pulse_period_us // count
    more = PulseProgram(tuple(replace(channel, pulse_offset_us=n * apart_us) for n in range(count)))
    _expect_not(bench, more, f"{count} channels")


@requirement("LOAD-11", "3.4", "keyframes: the device's most are taken, one more is refused")
def keyframe_count(bench: Bench) -> None:
    bench.need(CapabilityFlag.HOLDS_KEYFRAMES)
    bench.begin()
    most = bench.can.keyframes_max
    _expect_loaded(bench, _with_keyframes(bench, most), f"{most} keyframes")
    if most < KEYFRAMES_MAX:
        _expect_not(bench, _with_keyframes(bench, most + 1), f"{most + 1} keyframes")


@requirement("LOAD-12", "3.4", "bursts, cycles, keyframes, unequal phases: as the Capabilities say")
def patterns(bench: Bench) -> None:
    bench.begin()
    programs = bench.programs
    unequal = replace(programs.channel(), phases=(Phase(1, 1000), Phase(2, -500)))
    if 2 * programs.phase_us > programs.phase_max_us:
        unequal = replace(unequal, unit_us=programs.phase_max_us // 2)
    for flag, program in (
        (CapabilityFlag.HOLDS_BURST, programs.burst()),
        (CapabilityFlag.HOLDS_CYCLE, programs.cycle(1000, 1000)),
        (CapabilityFlag.HOLDS_KEYFRAMES, programs.keyframes()),
        (CapabilityFlag.UNEQUAL_PHASES, PulseProgram((unequal,))),
    ):
        if programs.has(flag):
            _expect_loaded(bench, program, flag.name or "")
        else:
            what = f"what needs {flag.name}, which is lacking"
            _expect_refused(bench, program, RefusalReason.CAPABILITY, what)


@requirement(
    "LOAD-13", "6", "neighbours of one sign count as one phase: 1000 us together, not 1001"
)
def polarity_run(bench: Bench) -> None:
    if bench.can.phases_max < 4 or bench.can.phase_max_us < 501:
        raise NotApplicable("needs 4 phases, of up to 501 us")
    bench.begin()
    period_us = max(bench.programs.period_us, 2_100)

    def run(first: int, second: int) -> PulseProgram:
        one_way = (Phase(first, 1000), Phase(second, 1000))
        back = (Phase(first, -1000), Phase(second, -1000))
        return PulseProgram((ChannelProgram(one_way + back, 1, period_us),))

    _expect_loaded(bench, run(500, 500), "a polarity run of 1000 us")
    _expect_run_refused(bench, run(500, 501))


@requirement("LOAD-14", "3.4", "a pulse of 10 ms is taken, 1 us more is refused and named")
def pulse_duration(bench: Bench) -> None:
    if bench.can.phases_max < 3:
        raise NotApplicable("needs 3 phases, one of them a gap")
    bench.begin()
    phase_us = bench.programs.phase_us
    most_us = limits.pulse_duration_us.maximum

    def lasting(pulse_us: int) -> PulseProgram:
        gap = Phase(pulse_us - 2 * phase_us, 0)
        phases = (SYMMETRIC[0], gap, SYMMETRIC[1])
        return PulseProgram((ChannelProgram(phases, phase_us, 2 * most_us),))

    _expect_loaded(bench, lasting(most_us), f"a pulse of {most_us} us")
    _expect_refused(
        bench, lasting(most_us + 1), RefusalReason.LIMIT, f"a pulse of {most_us + 1} us",
        limits.pulse_duration_us,
    )  # fmt: skip


@requirement("LOAD-15", "6", "the last phases of a pulse join the first: 1000 us, not 1001")
def joined_ends(bench: Bench) -> None:
    _need_runs(bench)
    between_us = max(100, bench.programs.phase_min_us)

    def run(first: int, last: int) -> PulseProgram:
        # Of the other direction: `first` alone, and `between` with `last`.
        durations = (first, -first, between_us, -between_us, -last, last)
        return _of_durations(bench, durations)

    _expect_playable(bench, run(500, 500), "500 us first and 500 us last of one direction")
    _expect_run_refused(bench, run(500, 501))


@requirement("LOAD-16", "6", "a gap does not break a polarity run: 1000 us, not 1001")
def run_with_gap(bench: Bench) -> None:
    _need_runs(bench)
    gap = Phase(max(50, bench.programs.phase_min_us), 0)

    def run(first: int, second: int) -> PulseProgram:
        one_way = (Phase(first, 1000), gap, Phase(second, 1000))
        back = (Phase(first, -1000), gap, Phase(second, -1000))
        channel = ChannelProgram(one_way + back, 1, max(bench.programs.period_us, 5_000))
        return PulseProgram((channel,))

    _expect_playable(bench, run(500, 500), "a polarity run of 1000 us and a gap")
    _expect_run_refused(bench, run(500, 501))


@requirement("LOAD-17", "3.4", "the first of PROGRAM, PROGRAM_DIGEST, CAPABILITY is told")
def order_of_refusals(bench: Bench) -> None:
    bench.begin()
    programs = bench.programs
    beyond_us = programs.phase_max_us + 1
    channel = programs.channel(beyond_us, max(programs.period_us, 2 * beyond_us))
    answer = bench.commit(PulseProgram((channel,)), digest=1)
    expect(
        isinstance(answer, Refused) and answer.reason is RefusalReason.PROGRAM_DIGEST,
        f"Refused(PROGRAM_DIGEST) for phases of {beyond_us} us with another digest",
        words(answer),
    )
    lopsided = replace(channel, phases=(Phase(1, 1000), Phase(1, -999)))
    answer = bench.commit(PulseProgram((lopsided,)), digest=1)
    expect(
        isinstance(answer, Refused) and answer.reason is RefusalReason.PROGRAM,
        f"Refused(PROGRAM) for phases of {beyond_us} us with a net charge and another digest",
        words(answer),
    )


@requirement("LOAD-18", "5", "two channels may take turns by cycles of equal length, never meeting")
def taking_turns(bench: Bench) -> None:
    bench.need_channels(2)
    bench.need(CapabilityFlag.HOLDS_CYCLE)
    bench.begin()
    first = replace(bench.programs.channel(), cycle=Cycle(100, 300, 0, 600))

    def turns(offset_ms: int) -> PulseProgram:
        return PulseProgram((first, replace(first, cycle=Cycle(100, 300, 0, 600, offset_ms))))

    for offset_ms in (400, 600):
        _expect_loaded(bench, turns(offset_ms), f"on-phases of 400 ms, {offset_ms} of 1000 apart")
    for offset_ms in (399, 601):
        what = f"on-phases of 400 ms that meet, {offset_ms} of 1000 ms apart"
        _expect_refused(bench, turns(offset_ms), RefusalReason.PROGRAM, what)


def _need_runs(bench: Bench) -> None:
    if bench.can.phases_max < 6 or bench.programs.phase_max_us < 501:
        raise NotApplicable("needs 6 phases, of up to 501 us")


def _of_durations(bench: Bench, durations: tuple[int, ...]) -> PulseProgram:
    """Return a programme of full phases, each of so many us; negative ones flow back."""
    phases = tuple(Phase(abs(us), 1000 if us > 0 else -1000) for us in durations)
    return PulseProgram((ChannelProgram(phases, 1, max(bench.programs.period_us, 5_000)),))


def _expect_playable(bench: Bench, program: PulseProgram, what: str) -> None:
    bench.need_playable(program)
    _expect_loaded(bench, program, what)


def _expect_run_refused(bench: Bench, program: PulseProgram) -> None:
    what = "a polarity run of 1001 us"
    _expect_refused(bench, program, RefusalReason.LIMIT, what, limits.phase_duration_us)


def _ill_formed(bench: Bench) -> Iterator[tuple[str, PulseProgram]]:
    """Yield programmes with one rule of chapter 5 broken, as far as the device could play them."""
    programs = bench.programs
    good = programs.channel()
    unit_us, period_us = good.unit_us, good.pulse_period_us

    def one(**changed: object) -> PulseProgram:
        return PulseProgram((replace(good, **changed),))  # type: ignore[arg-type]

    yield "a phase of no duration", one(phases=(Phase(0, 1000), Phase(0, -1000)))
    yield "a gap first", one(phases=(Phase(50, 0), *SYMMETRIC))
    yield "a gap last", one(phases=(*SYMMETRIC, Phase(50, 0)))
    yield "a largest share of 999 permille", one(phases=(Phase(1, 999), Phase(1, -999)))
    yield "a share of 1001 permille", one(phases=(Phase(1, 1001), Phase(1, -1001)))
    yield "a net charge", one(phases=(Phase(1, 1000), Phase(1, -999)))
    yield "one polarity alone", one(phases=(Phase(1, 1000), Phase(1, 1000)))
    yield "no phase", one(phases=())
    yield "a pulse longer than its period", one(pulse_period_us=2 * unit_us - 1)
    yield "a phase unit of 0", one(unit_us=0)
    yield "a burst period without bursts", one(burst_period_us=500_000)
    yield "a keyframe cycle without keyframes", one(keyframe_cycle_ms=1000)
    yield "a cycle without an on time", one(cycle=Cycle(500, 0, 500, 1000))
    yield "an off time without a cycle", one(cycle=Cycle(0, 0, 0, 1000))
    if bench.can.channel_count > 1:
        yield "channels that coincide", PulseProgram((good, good))
        late = replace(good, pulse_offset_us=2 * unit_us - 1)
        yield "channels that overlap by 1 us", PulseProgram((good, late))
        other = replace(good, pulse_period_us=period_us + 1, pulse_offset_us=period_us // 2)
        yield "channels whose periods differ", PulseProgram((good, other))
    if programs.has(CapabilityFlag.HOLDS_BURST):
        yield (
            "a burst longer than its period",
            one(pulses_per_burst=7, burst_period_us=7 * period_us - 1),
        )
    if programs.has(CapabilityFlag.HOLDS_KEYFRAMES):
        first = Keyframe(0, 1000, unit_us, period_us)
        for what, frames, cycle_ms in (
            ("keyframes that begin at 1 ms", (replace(first, at_ms=1),), 1000),
            ("two keyframes at once", (first, first), 1000),
            ("a keyframe at the end of its cycle", (first, replace(first, at_ms=1000)), 1000),
            ("a keyframe of 1001 permille", (replace(first, amplitude_permille=1001),), 1000),
            ("no keyframe of 1000 permille", (replace(first, amplitude_permille=999),), 1000),
        ):
            yield what, one(keyframes=frames, keyframe_cycle_ms=cycle_ms)


def _with_keyframes(bench: Bench, count: int) -> PulseProgram:
    programs = bench.programs
    frames = tuple(
        Keyframe(100 * n, 1000 - n, programs.phase_us, programs.period_us) for n in range(count)
    )
    channel = replace(programs.channel(), keyframes=frames, keyframe_cycle_ms=100 * count + 100)
    return PulseProgram((channel,))


def _expect_refused(
    bench: Bench,
    program: PulseProgram,
    reason: RefusalReason,
    what: str,
    limit: Limit | None = None,
) -> None:
    """Expect a programme to be refused, for a limit where one is given."""
    answer = bench.commit(program)
    wire_id = limit.wire_id if limit is not None else 0
    named = f"{reason.name} {limit.name}" if limit is not None else reason.name
    expect(
        isinstance(answer, Refused) and (answer.reason, answer.limit) == (reason, wire_id),
        f"Refused({named}) for a programme with {what}",
        words(answer),
    )


def _expect_loaded(bench: Bench, program: PulseProgram, what: str) -> None:
    answer = bench.commit(program)
    is_accepted = isinstance(answer, ProgramAccepted)
    expect(is_accepted, f"a programme with {what} accepted", words(answer))
    told = bench.probe().program_digest
    expect(told == program.digest, f"digest {program.digest:#010x} loaded", f"{told:#010x}")


def _expect_not(bench: Bench, program: PulseProgram, what: str) -> None:
    """Expect what is beyond the device, or beyond a limit, to be refused."""
    answer = bench.commit(program)
    expect(
        isinstance(answer, Refused) and answer.reason in _EITHER,
        f"Refused(CAPABILITY or LIMIT) for {what}",
        words(answer),
    )
    told = bench.probe().program_digest
    expect(told == 0, "no programme loaded", f"{told:#010x}")
