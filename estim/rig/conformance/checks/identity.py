"""Who the device is, whose epoch it takes, and what that leaves in force."""

from __future__ import annotations

import secrets
from dataclasses import replace

from estim.rig.conformance.bench import HOST_MS, Bench
from estim.rig.conformance.conversation import ANSWER_MS
from estim.rig.conformance.hearing import answers, words
from estim.rig.conformance.requirement import expect, fail, requirement
from firmware_protocol import limits
from firmware_protocol.messages import (
    CHANNELS_MAX,
    KEYFRAMES_MAX,
    PHASES_MAX,
    PROTOCOL_VERSION,
    Adoption,
    Capabilities,
    CapabilityFlag,
    DeviceState,
    EventCode,
    GetCapabilities,
    Hello,
    Identity,
    Message,
    SelfTest,
    SelfTestReport,
    Status,
    Stop,
    WantedState,
)
from firmware_protocol.schema import SCHEMA_HASH
from firmware_protocol.session_limits import limits_digest

UNPROMPTED_MS = 600


@requirement("ID-01", "3.1", "Hello is answered by an Identity of this schema, ADOPTED")
def hello_is_adopted(bench: Bench) -> None:
    bench.stop()
    identity = bench.adopt()
    found = (identity.protocol_version, identity.schema_hash)
    expect(
        found == (PROTOCOL_VERSION, SCHEMA_HASH),
        f"version {PROTOCOL_VERSION}, schema hash {SCHEMA_HASH:#010x}",
        f"version {found[0]}, schema hash {found[1]:#010x}",
    )
    bench.learn()


@requirement(
    "ID-02", "3.1", "another protocol version is answered SCHEMA_MISMATCH, changes nothing"
)
def another_version(bench: Bench) -> None:
    _refuses_hello(bench, Hello(PROTOCOL_VERSION + 1, SCHEMA_HASH), Adoption.SCHEMA_MISMATCH)


@requirement("ID-03", "3.1", "another schema hash is answered SCHEMA_MISMATCH, changes nothing")
def another_schema(bench: Bench) -> None:
    _refuses_hello(bench, Hello(PROTOCOL_VERSION, SCHEMA_HASH ^ 1), Adoption.SCHEMA_MISMATCH)


@requirement("ID-04", "3.1", "while RUNNING a Hello is answered ENERGISED and changes nothing")
def hello_while_running(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    bench.reach(DeviceState.RUNNING)
    _refused_hello(bench, Hello(PROTOCOL_VERSION, SCHEMA_HASH), Adoption.ENERGISED)
    status = bench.probe()
    expect(status.state is DeviceState.RUNNING, "RUNNING after the Hello", words(status))


@requirement(
    "ID-05", "3.1", "an epoch adopted restores the compiled limits and unloads the programme"
)
def adoption_resets(bench: Bench) -> None:
    bench.begin(bench.programs.everyday(), replace(bench.compiled, setpoint_slew_ua_per_s=1000))
    bench.reach(DeviceState.ARMED)
    identity = bench.adopt()
    expect(identity.state is DeviceState.SAFE, "SAFE in the Identity", identity.state.name)
    status = bench.probe()
    expect(status.state is DeviceState.SAFE, "SAFE", words(status))
    expect(status.program_digest == 0, "no programme", f"digest {status.program_digest:#x}")
    compiled = limits_digest(bench.compiled)
    expect(
        status.limits_digest == compiled,
        f"the compiled limits, digest {compiled:#010x}",
        f"digest {status.limits_digest:#010x}",
    )


@requirement("ID-06", "3.1", "a latched FAULT stays latched when an epoch is adopted")
def adoption_keeps_fault(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    fault = bench.reach(DeviceState.FAULT).fault
    identity = bench.adopt()
    expect(identity.state is DeviceState.FAULT, "FAULT in the Identity", identity.state.name)
    status = bench.probe_in_fault()
    expect(status.fault is fault, f"{fault.name} still latched", words(status))


@requirement("ID-07", "9", "model and serial number are told, and are the same each time")
def identity_is_stable(bench: Bench) -> None:
    first, second = bench.begin(), bench.begin()
    named = (first.model, first.serial_number)
    expect(all(name.strip() for name in named), "a model and a serial number", repr(named))
    again = (second.model, second.serial_number)
    expect(named == again, f"{named} again", again)
    expect(
        first.firmware_version == second.firmware_version,
        f"firmware {first.firmware_version:#x} again",
        f"{second.firmware_version:#x}",
    )


@requirement("ID-08", "9", "Capabilities lie within what the protocol can say")
def capabilities_are_possible(bench: Bench) -> None:
    bench.begin()
    can = bench.ask(GetCapabilities(), Capabilities)
    has_frames = CapabilityFlag.HOLDS_KEYFRAMES in can.flags
    silence_ms = limits.zero_after_silence_ms.maximum
    for name, is_possible in (
        ("channel_count", 1 <= can.channel_count <= CHANNELS_MAX),
        ("phases_max", 2 <= can.phases_max <= PHASES_MAX),
        ("keyframes_max", not has_frames or can.keyframes_max > 0),
        ("keyframes_max", can.keyframes_max <= KEYFRAMES_MAX),
        ("amplitude_step_ua", 0 < can.amplitude_step_ua <= can.amplitude_max_ua),
        ("compliance_mv", can.compliance_mv > 0),
        ("phase_min_us", 0 < can.phase_min_us <= can.phase_max_us),
        ("pulse_period_min_us", can.pulse_period_min_us > 0),
        ("residual_ms", 0 < can.residual_ms <= silence_ms),
    ):
        expect(is_possible, f"a possible {name}", getattr(can, name))
    again = bench.ask(GetCapabilities(), Capabilities)
    changed = [
        name
        for name in can.__slots__
        if name != "in_reply_to" and getattr(again, name) != getattr(can, name)
    ]
    expect(not changed, "the same Capabilities each time", f"other {', '.join(changed)}")


@requirement("ID-09", "3.9", "the self-test is answered in SAFE, and passes")
def self_test_passes(bench: Bench) -> None:
    bench.begin()
    report = bench.ask(SelfTest(), SelfTestReport, within_ms=5000)
    expect(report.failed == 0, "no check failed", f"failed {report.failed:#06b}")
    expect(report.passed != 0, "at least one check passed", "none")


@requirement(
    "EPOCH-01", "2", "a device without an epoch acts on Hello and Stop alone, unprompted on nothing"
)
def silent_without_epoch(bench: Bench) -> None:
    bench.begin()
    bench.play("reboot")
    bench.line.listen(100)
    mark = bench.line.mark()
    for epoch in (0, secrets.randbits(64) or 1):
        for message in _of_a_session(bench):
            bench.line.send(message, epoch=epoch)
    heard = bench.line.listen(UNPROMPTED_MS)
    expect(not heard, "silence until a Hello", ", ".join(words(h.message) for h in heard))
    mark = bench.line.mark()
    bench.line.send(Stop())
    answer = bench.line.wait(mark, lambda h: isinstance(h.message, Status), ANSWER_MS)
    expect(answer is not None, "a Status in answer to Stop", "no answer")
    identity = bench.adopt()
    expect(identity.state is DeviceState.SAFE, "SAFE after a start", identity.state.name)


@requirement("EPOCH-02", "1", "a frame of another epoch is dropped whole")
def another_epoch_is_dropped(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    before = bench.probe()
    own = bench.line.connection.epoch or 0
    found: list[Message] = []
    for epoch in (0, own ^ 1, own ^ (1 << 63), secrets.randbits(64)):
        for message in _of_a_session(bench):
            mark = bench.line.mark()
            bench.line.send(message, epoch=epoch)
            found += bench.fence(mark)
    expect(not found, "no answer to another epoch", ", ".join(map(words, found)))
    after = bench.probe()
    expect(after.state is before.state, f"{before.state.name} as before", words(after))
    for name in ("program_digest", "limits_digest", "damaged_count", "refusal_count"):
        expect(
            getattr(after, name) == getattr(before, name),
            f"{name} {getattr(before, name)} as before",
            getattr(after, name),
        )


@requirement("EPOCH-03", "1", "once another epoch is adopted, frames of the one before are dropped")
def former_epoch_is_dropped(bench: Bench) -> None:
    bench.begin(bench.programs.everyday())
    former = bench.line.connection.epoch
    bench.adopt()
    bench.load(bench.programs.everyday())
    mark = bench.line.mark()
    bench.line.send(bench.drive_message(WantedState.ARMED), epoch=former)
    bench.line.send(GetCapabilities(), epoch=former)
    found = bench.fence(mark)
    expect(not found, "no answer to the epoch before", ", ".join(map(words, found)))
    status = bench.probe()
    expect(status.state is DeviceState.SAFE, "SAFE", words(status))


@requirement("EPOCH-04", "3.1", "an epoch adopted is told by EPOCH_ADOPTED")
def adoption_is_told(bench: Bench) -> None:
    bench.begin()
    mark = bench.line.mark()
    bench.adopt()
    bench.wait_event(mark, EventCode.EPOCH_ADOPTED, HOST_MS + ANSWER_MS)


def _of_a_session(bench: Bench) -> tuple[Message, ...]:
    drive = bench.drive_message(WantedState.ARMED)
    return (
        GetCapabilities(),
        bench.compiled,
        SelfTest(),
        *bench.programs.single().messages(),
        drive,
    )


def _refuses_hello(bench: Bench, hello: Hello, adoption: Adoption) -> None:
    bench.begin(bench.programs.everyday())
    before = bench.probe()
    _refused_hello(bench, hello, adoption)
    after = bench.probe()
    expect(
        after.program_digest == before.program_digest, "the programme still loaded", words(after)
    )


def _refused_hello(bench: Bench, hello: Hello, adoption: Adoption) -> None:
    """Propose an epoch in vain; the answer carries it."""
    proposed = secrets.randbits(64) or 1
    mark = bench.line.mark()
    sequence = bench.line.send(hello, epoch=proposed)
    heard = bench.line.wait(mark, answers(sequence), ANSWER_MS)
    if heard is None or not isinstance(heard.message, Identity):
        fail(f"Identity({adoption.name})", words(heard.message if heard is not None else None))
    expect(heard.message.adoption is adoption, f"Identity({adoption.name})", words(heard.message))
    expect(heard.epoch == proposed, "the proposed epoch in its header", f"{heard.epoch:#x}")
    expect(heard.message.schema_hash == SCHEMA_HASH, "its own schema hash", "another")
