"""What the kit and a device say to each other, whatever is judged: requests, answers, ticks."""

from __future__ import annotations

import secrets
from typing import TypeVar

from estim.rig.conformance.hearing import (
    TICK_MODULUS,
    answers,
    is_at_rest,
    words,
)
from estim.rig.conformance.line import US_PER_MS, Heard, Line
from estim.rig.conformance.programs import Programs
from estim.rig.conformance.requirement import (
    NeverAtRest,
    expect,
    fail,
)
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    Adoption,
    Capabilities,
    CapabilityFlag,
    ChannelFlag,
    CommitProgram,
    Event,
    EventCode,
    GetCapabilities,
    Hello,
    Identity,
    LimitsAccepted,
    Message,
    ProgramAccepted,
    RefusalReason,
    Refused,
    SetLimits,
    Status,
    Stop,
)
from firmware_protocol.program import PulseProgram
from firmware_protocol.schema import SCHEMA_HASH
from firmware_protocol.session_limits import compiled_limits, limits_digest

ANSWER_MS = 500
STALE_TICK_US = 150_000

_M = TypeVar("_M", bound=Message)


class Conversation:
    """Talk to the device over a line; keep what it said last."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.status: Status | None = None
        self.identity: Identity | None = None
        self.can = Capabilities(0, 1, 2, 0, CapabilityFlag.NONE, 0, 1, 0, 0, 0, 0, 0)
        self.programs = Programs(self.can)
        self.program_digest = 0
        self.limits_digest = 0
        self.channel_count = 0
        self.targets_ua: tuple[int, ...] = ()
        self._tick: tuple[int, int] | None = None
        line.watchers.append(self.watch)

    def watch(self, heard: Heard) -> None:
        """Keep the newest Status and tick."""
        message = heard.message
        if isinstance(message, Status):
            self.status = message
        if isinstance(message, (Identity, Status)):
            self._tick = (message.tick_ms, heard.at_us)

    def adopt(self) -> Identity:
        """Say Hello with a new epoch until it is adopted."""
        for _ in range(3):
            epoch = secrets.randbits(64) or 1
            self.line.connection.adopt(epoch)
            mark = self.line.mark()
            sequence = self.line.send(Hello(PROTOCOL_VERSION, SCHEMA_HASH))
            heard = self.line.wait(
                mark,
                lambda h, e=epoch, s=sequence: (  # type: ignore[misc]
                    isinstance(h.message, Identity) and h.epoch == e and h.message.in_reply_to == s
                ),
                ANSWER_MS,
            )
            if heard is not None:
                break
        else:
            fail("an Identity in answer to Hello", self.line.silence())
        identity = heard.message
        assert isinstance(identity, Identity)
        if identity.adoption is not Adoption.ADOPTED:
            fail("an epoch adopted", words(identity))
        self.identity = identity
        self.program_digest, self.channel_count = 0, 0
        self.limits_digest = limits_digest(self.compiled)
        return identity

    def learn(self) -> None:
        """Ask for the Capabilities, once."""
        self.can = self.ask(GetCapabilities(), Capabilities)
        self.programs = Programs(self.can)
        self.limits_digest = limits_digest(self.compiled)

    @property
    def compiled(self) -> SetLimits:
        """Return the limits in force when an epoch begins."""
        return compiled_limits(self.can.channel_count, self.can.amplitude_max_ua)

    def stop(self) -> Status:
        """Send Stop until a Status shows no output; it ends whatever the device does.

        Raises:
            NeverAtRest: none does.
        """
        for _ in range(4):
            mark = self.line.mark()
            self.line.send(Stop())
            heard = self.line.wait(mark, is_at_rest, ANSWER_MS)
            if heard is not None:
                assert isinstance(heard.message, Status)
                return heard.message
        seen = words(self.status) if self.status is not None else self.line.silence()
        raise NeverAtRest("a Status at zero, not RUNNING, in answer to Stop", seen)

    def set_limits(self, session: SetLimits) -> None:
        """Put session limits in force."""
        accepted = self.ask(session, LimitsAccepted)
        self.limits_digest = accepted.limits_digest

    def load(self, program: PulseProgram) -> None:
        """Load a programme."""
        for message in program.messages():
            self.line.send(message)
        accepted = self.ask(CommitProgram(program.digest), ProgramAccepted)
        self.program_digest = accepted.program_digest
        self.channel_count = len(program.channels)
        self.targets_ua = (0,) * self.channel_count

    def commit(self, program: PulseProgram, digest: int | None = None) -> Message | None:
        """Send a programme and its commit; return the answer, None where there is none."""
        for message in program.messages():
            self.line.send(message)
        mark = self.line.mark()
        sequence = self.line.send(CommitProgram(program.digest if digest is None else digest))
        self.fence(mark)
        heard = next((h for h in self.line.heard[mark:] if answers(sequence)(h)), None)
        return None if heard is None else heard.message

    def ask(self, message: Message, answer: type[_M], within_ms: int = ANSWER_MS) -> _M:
        """Send a message and return its answer.

        Raises:
            Failed: it is refused, or not answered.
        """
        mark = self.line.mark()
        sequence = self.line.send(message)
        heard = self.line.wait(mark, answers(sequence), within_ms)
        found = heard.message if heard is not None else None
        if not isinstance(found, answer):
            fail(f"{answer.__name__} in answer to {type(message).__name__}", words(found))
        return found

    def fence(self, mark: int) -> list[Message]:
        """Return every answer from a mark to that of a message sent now; Status and events apart.

        A device answers in order, so what has not come by then does not come.

        Raises:
            Failed: the fence itself is not answered.
        """
        sequence = self.line.send(GetCapabilities())
        end = self.line.wait(mark, answers(sequence), ANSWER_MS)
        if end is None or not isinstance(end.message, Capabilities):
            fail(
                "Capabilities in answer to GetCapabilities",
                words(end.message if end is not None else None),
            )
        return [
            heard.message
            for heard in self.line.heard[mark:]
            if heard is not end and not isinstance(heard.message, (Status, Event))
        ]

    def expect_refused(self, message: Message, *reasons: RefusalReason, what: str = "") -> Refused:
        """Send a message and return its refusal for one of the reasons."""
        mark = self.line.mark()
        sequence = self.line.send(message)
        named = " or ".join(reason.name for reason in reasons)
        expected = f"Refused({named}) in answer to {type(message).__name__}" + (
            f" {what}" if what else ""
        )
        found = self.fence(mark)
        refused = next((m for m in found if isinstance(m, Refused)), None)
        if refused is None:
            fail(expected, ", ".join(map(words, found)) or "no answer")
        expect(refused.reason in reasons, expected, words(refused))
        expect(
            (refused.in_reply_to, refused.message) == (sequence, message.message_id),
            f"Refused in reply to message {message.message_id}, sequence {sequence}",
            f"message {refused.message}, sequence {refused.in_reply_to}",
        )
        return refused

    def wait_event(
        self, mark: int, code: EventCode, within_ms: int, detail: int | None = None
    ) -> Event:
        """Return the next event of a code.

        Raises:
            Failed: it does not come in time.
        """
        heard = self.line.wait(
            mark,
            lambda h: (
                isinstance(h.message, Event)
                and h.message.code is code
                and (detail is None or h.message.detail == detail)
            ),
            within_ms,
        )
        if heard is None:
            shown = code.name if detail is None else f"{code.name}, detail {detail}"
            found = [h.message for h in self.line.heard[mark:]]
            codes = [message.code.name for message in found if isinstance(message, Event)]
            fail(f"the event {shown} within {within_ms} ms", ", ".join(codes) or "no event")
        assert isinstance(heard.message, Event)
        return heard.message

    def echo(self) -> int:
        """Return the newest tick known, carried on where it is old by now."""
        if self._tick is None:
            fail("a device tick", "none yet")
        tick_ms, at_us = self._tick
        age_us = self.line.now_us() - at_us
        if age_us > STALE_TICK_US:
            tick_ms += (age_us - STALE_TICK_US) // US_PER_MS
        return tick_ms % TICK_MODULUS

    def tick_now(self) -> int:
        """Return what the device's tick must be by now, at least."""
        if self._tick is None:
            fail("a device tick", "none yet")
        tick_ms, at_us = self._tick
        return (tick_ms + (self.line.now_us() - at_us) // US_PER_MS) % TICK_MODULUS

    @property
    def latched_mask(self) -> int:
        """Return the channels whose lead-off is latched, as a bit mask."""
        channels = self.status.channels if self.status is not None else ()
        return sum(
            1 << index
            for index, channel in enumerate(channels)
            if ChannelFlag.LEAD_OFF_LATCHED in channel.flags
        )
