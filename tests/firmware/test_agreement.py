"""Simulator and C core, written apart, do the same: every frame, every pulse, every deadline.

What is compared stands in `core.Twins`, after every single step of every session here.
"""

from __future__ import annotations

import dataclasses
import os

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from estim.simulator.device import DeviceSettings
from estim.simulator.load import Load
from firmware_protocol.messages import (
    PROTOCOL_VERSION,
    AcknowledgeFault,
    CommitProgram,
    DeviceState,
    Drive,
    GetCapabilities,
    GetEvents,
    Hello,
    Message,
    ProgramAccepted,
    ProgramKeyframes,
    SelfTest,
    Status,
    Stop,
    TargetRow,
    WantedState,
)
from firmware_protocol.program import PulseProgram
from firmware_protocol.schema import SCHEMA_HASH
from tests.firmware import strategies
from tests.firmware.core import Lockstep, Twins
from tests.simulator.host import MS, Host, S, one_channel
from tests.simulator.test_robustness import any_message

SHARED = [
    HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
]  # fmt: skip
PHASES = (Phase.reuse, Phase.generate)
THOROUGH = int(os.environ.get("ESTIM_FIRMWARE_THOROUGH", "1"))
"""How many times as many sessions as `make test` has time for; `make test-firmware` plays 3."""
OTHER_EPOCH = 0x0BAD_0BAD_0BAD_0BAD


def host_of(lockstep: Lockstep, own: DeviceSettings) -> tuple[Host, Twins]:
    twins = Twins(lockstep, own)
    return Host(own, wire=twins, device=twins.python), twins


AMPLITUDES_UA = st.sampled_from([0, 1_000, 1_999, 2_000, 2_100, 5_000, 20_000]) | st.integers(
    0, 110_000
)


@pytest.mark.hazard(3, 42)
@given(st.data())
@settings(max_examples=30 * THOROUGH, suppress_health_check=SHARED, phases=PHASES)
def test_any_programme_is_played_alike(lockstep: Lockstep, data: st.DataObject) -> None:
    """Ramps, cycles, bursts, keyframes, holds: rises and falls of the targets over seconds."""
    own = data.draw(strategies.device_settings())
    own = dataclasses.replace(own, battery_percent=255, compliance_mv=180_000)
    host, twins = host_of(lockstep, own)
    played = data.draw(strategies.programmes(own.channel_count))
    limits = data.draw(strategies.session_limits(own))
    host.hello()
    host.set_limits(limits)
    assume(isinstance(host.load(played)[0], ProgramAccepted))
    host.drive(WantedState.ARMED)
    assume(host.state() is DeviceState.ARMED)
    host.drive(WantedState.RUNNING)
    for _ in range(data.draw(st.integers(1, 4))):
        targets_ua = [data.draw(AMPLITUDES_UA) for _ in played.channels]
        # What the gate refuses would let the lease run out: take what it takes of it.
        while any(targets_ua) and any(
            twins.python._review_target(index, target) for index, target in enumerate(targets_ua)
        ):
            targets_ua = [target // 2 for target in targets_ua]
        host.keep(data.draw(st.sampled_from([1, 2, 4])) * S, *targets_ua)


@dataclasses.dataclass(frozen=True)
class Scene:
    """One session under way, and what its host may send next."""

    host: Host
    twins: Twins
    data: st.DataObject

    def message(self) -> Message:
        """Draw a message that makes sense about now, or any at all."""
        draw = self.data.draw
        status = next(iter(self.host.of(Status)[-1:]), None)
        latch_count = 0 if status is None else status.latch_count
        drawn: Message = draw(
            st.one_of(
                self.drives(),
                self.drives(),
                self.drives(),
                st.just(Stop()),
                st.just(GetCapabilities()),
                st.just(SelfTest()),
                st.just(Hello(PROTOCOL_VERSION, SCHEMA_HASH)),
                st.builds(GetEvents, st.sampled_from([0, 1, 5, 40, 65_530])),
                st.builds(
                    AcknowledgeFault,
                    st.sampled_from([latch_count, latch_count, latch_count, 0, latch_count + 1]),
                    st.sampled_from([0, 0, 0, 1, 3, 15, 16]),
                ),
                any_message(),
            )
        )
        return drawn

    def drives(self) -> st.SearchStrategy[Drive]:
        tick_ms = self.host.tick_ms
        ticks = [tick_ms] * 6 + [tick_ms - 1, tick_ms - 319, tick_ms - 320, tick_ms - 321]
        program_digests = [self.host.program_digest] * 8 + [0, 1]
        limits_digests = [self.host.limits_digest] * 8 + [0]
        count = self.host.channel_count
        targets = st.just((TargetRow(0),) * count) | st.lists(
            st.builds(TargetRow, AMPLITUDES_UA),
            min_size=max(0, count - 1),
            max_size=min(4, count + 1),
        ).map(tuple)
        return st.builds(
            Drive,
            st.sampled_from([*WantedState, WantedState.ARMED, WantedState.RUNNING]),
            st.sampled_from([each % 2**32 for each in (*ticks, tick_ms + 1)]),
            st.sampled_from(program_digests),
            st.sampled_from(limits_digests),
            targets,
        )

    def act(self) -> None:
        """Let one thing happen."""
        draw = self.data.draw
        what = draw(st.sampled_from(ACTIONS))
        if what == "send":
            self.host.send(self.message())
        elif what == "damage":
            self.damage()
        elif what == "linger":
            self.host.send(self.message(), OTHER_EPOCH)
        elif what == "wait":
            waits_us = [1, 999, 25 * MS, 50 * MS, 50 * MS, 319 * MS, 320 * MS, 321 * MS, 2 * S]
            self.host.pass_time(draw(st.sampled_from(waits_us)))
        elif what == "keep":
            targets_ua = [draw(AMPLITUDES_UA) // 8 for _ in range(self.host.channel_count)]
            self.host.keep(draw(st.sampled_from([100 * MS, 1 * S, 2 * S])), *targets_ua)
        elif what == "reload":
            self.reload()
        elif what == "rise":
            self.host.drive(WantedState.ARMED)
            self.host.drive(WantedState.RUNNING)
        else:
            self.happen(what)

    def damage(self) -> None:
        """Send frames cut, flipped, merged, doubled or out of order, in any pieces."""
        draw = self.data.draw
        frames = [self.host.connection.send(self.message()) for _ in range(draw(st.integers(1, 4)))]
        frames = draw(st.permutations(frames))
        if draw(st.booleans()):
            frames.append(frames[0])
        raw = bytearray(b"".join(frames))
        for _ in range(draw(st.integers(0, 2))):
            raw[draw(st.integers(0, len(raw) - 1))] ^= draw(st.integers(1, 255))
        if draw(st.booleans()):
            start = draw(st.integers(0, len(raw)))
            del raw[start : start + draw(st.integers(0, 20))]
        cut = draw(st.integers(0, len(raw)))
        self.host.write(bytes(raw[:cut]))
        if draw(st.booleans()):
            self.host.pass_time(draw(st.sampled_from([1, 10 * MS, 400 * MS])))
        self.host.write(bytes(raw[cut:]) + b"\x05\x01\0" * draw(st.sampled_from([0, 0, 3, 15, 16])))

    def reload(self) -> None:
        """Load a programme again, its messages whole, or with one lost, doubled or in pieces."""
        draw = self.data.draw
        played = draw(strategies.programmes(4))
        loading = list(played.messages())
        fault = draw(st.sampled_from(["", "", "lost", "doubled", "pieces", "digest"]))
        index = draw(st.integers(0, len(loading) - 1))
        chosen = loading[index]
        if fault == "lost":
            del loading[index]
        elif fault == "doubled":
            loading.insert(index, chosen)
        elif fault == "pieces" and isinstance(chosen, ProgramKeyframes):
            loading[index : index + 1] = strategies.keyframes_one_by_one(chosen)
        for message in loading:
            self.host.send(message)
        digest = played.digest ^ (fault == "digest")
        answer = self.host.send(CommitProgram(digest))
        if answer and isinstance(answer[0], ProgramAccepted):
            self.host.program_digest = digest
            self.host.channel_count = len(played.channels)

    def happen(self, what: str) -> None:
        """Let the world do something to the device."""
        draw, now_us = self.data.draw, self.host.now_us
        number = draw(st.integers(1, len(self.twins.python._channels)))
        if what == "press":
            self.twins.set_patient_stop(draw(st.booleans()), now_us)
        elif what == "battery":
            self.twins.set_battery(draw(st.sampled_from([100, 10, 9, 5, 4])), now_us)
        elif what == "lead":
            self.twins.set_lead_off(number, draw(st.booleans()), now_us)
        elif what == "load":
            ohm = draw(st.sampled_from([0, 50, 500, 14_999, 15_000]))
            self.twins.set_load(number, Load(ohm, is_open=not ohm), now_us)
        else:
            self.twins.set_gain(
                number, draw(st.sampled_from([0, 900, 1000, 1000, 1100, 1500, 5000])), now_us
            )


ACTIONS = (
    *("send",) * 6,
    *("keep",) * 4,
    *("wait",) * 2,
    *("damage",) * 2,
    "linger", "reload", "rise", "rise", "press", "battery", "lead", "load", "gain",
)  # fmt: skip


def begin(host: Host, data: st.DataObject, own: DeviceSettings, played: PulseProgram) -> None:
    """Bring a session as far as it is drawn to come."""
    stages = data.draw(st.integers(0, 5))
    if stages > 0:
        host.hello()
    if stages > 1:
        host.set_limits(data.draw(strategies.session_limits(own)))
    if stages > 2:
        host.load(played)
    if stages > 3:
        host.drive(WantedState.ARMED)
        host.drive(WantedState.RUNNING)
    if stages > 4:
        host.keep(1500 * MS, *(2_100 for _ in range(host.channel_count)))


@pytest.mark.hazard(11)
@given(st.data())
@settings(max_examples=60 * THOROUGH, suppress_health_check=SHARED, phases=PHASES)
def test_any_stream_in_any_state_has_the_same_answers_and_the_same_output(
    lockstep: Lockstep, data: st.DataObject
) -> None:
    """Valid, corrupted, reordered, doubled, delayed; loads, leads, stops, supply."""
    own = data.draw(strategies.device_settings())
    host, twins = host_of(lockstep, own)
    begin(host, data, own, data.draw(strategies.programmes(own.channel_count)))
    scene = Scene(host, twins, data)
    for _ in range(data.draw(st.integers(1, 25))):
        scene.act()
    host.pass_time(1 * S)


def test_ticks_are_right_after_hours_and_days(lockstep: Lockstep) -> None:
    """32 bits hold 71 minutes in us and 49 days in ms: both pass, in one step and in many."""
    host, _ = host_of(lockstep, DeviceSettings())
    host.hello()
    for hours in (1, 2, 24, 24 * 40, 24 * 10, 1):
        host.pass_time(hours * 3600 * S + 1)
        host.send(Stop())
    assert host.status.tick_ms == (1 + 2 + 24 + 960 + 240 + 1) * 3_600_000 % 2**32


@given(st.integers(0, 320), st.lists(st.sampled_from(list(WantedState)), min_size=1, max_size=4))
@settings(max_examples=40, suppress_health_check=SHARED, phases=PHASES)
def test_a_lease_that_ends_at_boot_or_at_once_is_no_lease(
    lockstep: Lockstep, age_ms: int, wanted: list[WantedState]
) -> None:
    """All in one read at the tick 0, echoing ticks before it, modulo 2^32; then nothing more."""
    host, twins = host_of(lockstep, DeviceSettings())
    host.prepare(one_channel())
    host.now_us += 999
    raw = b"".join(
        host.connection.send(
            Drive(each, -age_ms % 2**32, host.program_digest, host.limits_digest, (TargetRow(0),))
        )
        for each in (WantedState.ARMED, *wanted)
    )
    host.write(raw)
    host.pass_time(1 * S)
    assert host.state() in (DeviceState.SAFE, DeviceState.FAULT)
    assert twins.trace.pulses == []
