"""The engine's own gate: no output on a person before what must be on record is, whoever asks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from estim.prepare.session import Prepared
from estim.safety.bounds import Bound, Owner
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.gate import digest_of
from estim.session.states import HostState
from firmware_protocol.messages import (
    AcknowledgeFault,
    ChannelFlag,
    DeviceState,
    Drive,
    FaultCode,
    PolicyFlag,
    WantedState,
)
from tests.session.bench import MS, Bench, HandDevice, S, prepared

READY, ARMED, RUNNING = HostState.READY, HostState.ARMED, HostState.RUNNING
ANSWERED = {
    "screen": "screening",
    "consent": "consent",
    "test_sensation": "sensation test",
    "place_electrodes": "electrodes",
    "try_stop": "stop was tried",
}
NOT_READ_BACK = "were not read back"


def on_a_person(**options: Any) -> Prepared:
    return prepared(is_bench=False, **options)


class Visit(Bench):
    """A bench whose record is a person's, though nobody is on the device that is moved by hand."""

    def annotate(self, kind: str, **content: Any) -> int:
        return self.ask(msg.Annotate, kind, content)

    def answer(self, *kinds: str) -> None:
        for kind in kinds:
            assert self.settle(self.annotate(kind, step=kind, operator="T-1", answers={"a": True}))

    @property
    def digest(self) -> str:
        self.loop.publish(self.clock.now_us())
        return self.snapshots[-1].prepared_digest

    def read_back(self, digest: str | None = None) -> None:
        asked = self.annotate("read_back", prepared_digest=digest or self.digest, operator="T-1")
        assert self.settle(asked)

    def begin(self, *kinds: str) -> None:
        """Come to READY with these answered."""
        self.open_record(kind="clinical")
        self.connect()
        self.answer(*kinds)
        self.prepare(on_a_person())

    def allow(self) -> None:
        """Come to READY with everything on record."""
        self.begin(*ANSWERED)
        self.read_back()

    def load_and_read_back(self) -> None:
        """Load anew what an answer has voided, and read it back."""
        self.prepare(on_a_person())
        self.read_back()

    def run_to(self, *targets_ua: int) -> None:
        """Come to RUNNING, each channel raised by keys."""
        self.allow()
        assert self.settle(self.ask(msg.Arm))
        assert self.settle(self.ask(msg.Start))
        for index, target_ua in enumerate(targets_ua):
            while self.core.targets_ua[index] < target_ua:
                assert self.settle(self.ask(msg.Raise, (index,)))
                self.run(600 * MS)  # a held key rises 1 mA in a second
        assert self.core.targets_ua == list(targets_ua)

    def is_refused(self, kind: type = msg.Arm) -> str:
        """Ask for a step towards output; return why nothing came of it."""
        state = self.state
        before = len(self.device.of(Drive))
        asked = self.ask(kind)
        self.run(300 * MS)
        assert self.state is state
        drives = self.device.of(Drive)[before:]
        allowed = WantedState.SAFE if state is READY else WantedState.ARMED
        assert {drive.wanted_state for drive in drives} == {allowed}
        return self.why(asked)


@pytest.fixture
def visit(tmp_path: Path) -> Iterator[Visit]:
    made = Visit(tmp_path)
    yield made
    made.loop.end()


# What must be on record.


def test_every_reason_is_told_at_once(visit: Visit) -> None:
    visit.begin()
    why = visit.is_refused()
    for words in (*ANSWERED.values(), NOT_READ_BACK):
        assert words in why
    assert len(visit.outcomes[visit.asked[-1]][0].reasons) == 6
    kept = [content for kind, content in visit.submitted if kind == "gate_refused"]
    assert [(one["asked"], len(one["reasons"])) for one in kept] == [("arm", 6)]


@pytest.mark.hazard(21, 46)
@pytest.mark.parametrize("missing", ANSWERED)
def test_each_answer_is_needed_for_itself(visit: Visit, missing: str) -> None:
    visit.begin(*(kind for kind in ANSWERED if kind != missing))
    visit.read_back()
    assert ANSWERED[missing] in visit.is_refused()
    assert len(visit.outcomes[visit.asked[-1]][0].reasons) == 1
    visit.answer(missing)
    visit.load_and_read_back()  # an answer voids what was loaded before
    assert visit.settle(visit.ask(msg.Arm))
    assert visit.state is ARMED


def test_a_step_that_was_left_out_does_not_count(visit: Visit) -> None:
    visit.begin("screen", "test_sensation", "place_electrodes", "try_stop")
    assert visit.settle(visit.annotate("skip", step="consent", operator="T-1", reason="hurry"))
    visit.read_back()
    assert "consent" in visit.is_refused()


def test_a_bench_asks_for_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path).to(ARMED)
    assert bench.core.gate.missing()
    bench.loop.end()


@pytest.mark.hazard(21)
def test_only_what_is_durable_counts(visit: Visit) -> None:
    visit.begin(*(kind for kind in ANSWERED if kind != "consent"))
    visit.holds_durable = True
    asked = visit.annotate("consent", step="consent", answers={})
    reading = visit.annotate("read_back", prepared_digest=visit.digest)
    why = visit.is_refused()
    assert "consent" in why
    assert NOT_READ_BACK in why
    visit.holds_durable = False
    for token in visit.held:
        visit.loop.durable(token)
    assert visit.is_done(asked)
    assert visit.is_done(reading)
    visit.load_and_read_back()
    assert visit.settle(visit.ask(msg.Arm))


def test_what_becomes_durable_after_it_was_given_up_does_not_count(visit: Visit) -> None:
    """Whoever asked was told that nobody knows: then nothing is built on it."""
    visit.begin(*(kind for kind in ANSWERED if kind != "consent"))
    visit.holds_durable = True
    asked = visit.annotate("consent", step="consent", answers={})
    visit.run(5100 * MS)
    assert "nobody knows" in visit.why(asked)
    visit.holds_durable = False
    for token in visit.held:
        visit.loop.durable(token)
    visit.load_and_read_back()
    assert "consent" in visit.is_refused()


def test_an_arm_that_was_refused_is_not_rescued_by_a_later_answer(visit: Visit) -> None:
    visit.begin(*(kind for kind in ANSWERED if kind != "consent"))
    asked = visit.ask(msg.Arm)
    visit.answer("consent")
    visit.load_and_read_back()
    visit.run(2 * S)
    assert "consent" in visit.why(asked)
    assert visit.state is READY
    assert visit.device.state is DeviceState.SAFE


@pytest.mark.hazard(24)
@pytest.mark.parametrize("kind", ["consent", "override"])
def test_an_answer_between_arm_and_armed_holds_the_start_back(visit: Visit, kind: str) -> None:
    visit.allow()
    visit.device.ignores = (Drive,)
    arming = visit.ask(msg.Arm)
    visit.run(100 * MS)
    visit.annotate(kind, step=kind, answers={})
    visit.device.ignores = ()
    assert visit.settle(arming)
    assert NOT_READ_BACK in visit.is_refused(msg.Start)
    visit.read_back()  # the old bounds cannot be read back again
    assert NOT_READ_BACK in visit.is_refused(msg.Start)
    stop(visit)
    visit.load_and_read_back()
    assert visit.settle(visit.ask(msg.Arm))


@pytest.mark.hazard(24)
def test_electrodes_placed_anew_in_a_pause_are_read_back_before_a_resume(visit: Visit) -> None:
    visit.run_to(1000, 0)
    assert visit.settle(visit.ask(msg.Pause))
    visit.answer("place_electrodes")
    assert NOT_READ_BACK in visit.is_refused(msg.Resume)
    visit.read_back()
    assert NOT_READ_BACK in visit.is_refused(msg.Resume)
    assert NOT_READ_BACK in visit.is_refused(msg.Start)


@pytest.mark.parametrize("kind", [*ANSWERED, "inspect_skin", "override", "plan"])
def test_an_answer_voids_the_load_so_that_its_bounds_are_read_back_by_nobody(
    visit: Visit, kind: str
) -> None:
    visit.allow()
    before = visit.digest
    assert visit.settle(visit.annotate(kind, step=kind, operator="T-1", answers={}))
    assert visit.digest == ""
    visit.read_back(before)
    assert NOT_READ_BACK in visit.is_refused()
    visit.load_and_read_back()
    assert visit.settle(visit.ask(msg.Arm))


def test_what_was_loaded_while_an_answer_was_on_its_way_counts_for_nothing(visit: Visit) -> None:
    """Whoever prepared it cannot have known the answer."""
    visit.allow()
    loading = visit.ask(msg.Prepare, *visit.prepare_request(on_a_person()))
    visit.holds_durable = True
    asked = visit.annotate("place_electrodes", step="electrodes", answers={})
    assert "answer changed" in visit.why(loading)
    visit.prepare(on_a_person())
    digest = visit.digest
    visit.holds_durable = False
    for token in visit.held:
        visit.loop.durable(token)
    assert visit.is_done(asked)
    assert digest
    assert visit.digest == ""
    visit.read_back(digest)
    assert NOT_READ_BACK in visit.is_refused()


def test_a_note_voids_nothing(visit: Visit) -> None:
    visit.allow()
    assert visit.settle(visit.annotate("remark", text="calm", operator="T-1"))
    assert visit.settle(visit.ask(msg.Arm))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("read_back", {}),
        ("read_back", {"prepared_digest": 7}),
        ("read_back", {"program_digest": "abc"}),
        ("consent", ["yes"]),
        ("read_back", "abc"),
    ],
)
def test_what_cannot_count_is_not_taken(visit: Visit, kind: str, content: Any) -> None:
    visit.begin()
    asked = visit.ask(msg.Annotate, kind, content)
    assert kind in visit.why(asked)
    assert visit.outcome(asked).exit_code == 2  # type: ignore[union-attr]
    assert "annotation" not in visit.kinds()


# What is read back.


def test_the_digest_names_everything_that_is_loaded_and_follows_from_the_record(
    visit: Visit,
) -> None:
    visit.begin()
    content = dict(visit.submitted)["prepared"]
    settings = {
        "profile_id": "dpn-conventional",
        "profile_version": content["profile_version"],
        "profile_sha256": content["profile_sha256"],
        "duration_s": content["duration_s"],
        "step_ua": content["step_ua"],
        "ramp_down_ms": content["ramp_down_ms"],
        "allows_research_device": content["allows_research_device"],
    }
    loaded = {"program": content["program"], "bounds": content["bounds"], "settings": settings}
    spelled = json.dumps(loaded, sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(spelled).hexdigest() == visit.digest == content["prepared_digest"]
    path = Path(__file__).parents[2] / "profiles" / "dpn-conventional.toml"
    assert content["profile_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert content["profile"] == "dpn-conventional"


def test_whatever_differs_has_another_digest() -> None:
    made = on_a_person()
    bounds, settings = made.bounds, made.settings
    first = bounds.channels[0]
    lower = dataclasses.replace(
        first, bounds=(*first.bounds, Bound("amplitude_ua", 1, Owner.PATIENT))
    )
    smaller = dataclasses.replace(first, electrode_area_mm2=first.electrode_area_mm2 - 1)
    others = (
        (prepared("dpn-14hz", is_bench=False).program, bounds, settings),
        (made.program, dataclasses.replace(bounds, channels=(lower, bounds.channels[1])), settings),
        (made.program, dataclasses.replace(bounds, channels=(smaller, first)), settings),
        (made.program, dataclasses.replace(bounds, policy=PolicyFlag(3)), settings),
        (made.program, bounds, dataclasses.replace(settings, duration_s=1)),
        (made.program, bounds, dataclasses.replace(settings, step_ua=100)),
        (made.program, bounds, dataclasses.replace(settings, profile_sha256="00")),
    )
    digests = {digest_of(*each) for each in others} | {digest_of(made.program, bounds, settings)}
    assert len(digests) == len(others) + 1


@pytest.mark.hazard(21)
def test_the_same_programme_with_other_electrodes_is_read_back_anew(visit: Visit) -> None:
    visit.allow()
    before, program_digest = visit.digest, visit.core.program_digest
    visit.prepare(on_a_person(electrode_area_cm2=Decimal(40)))
    assert visit.core.program_digest == program_digest
    assert visit.digest != before
    assert NOT_READ_BACK in visit.is_refused()
    visit.read_back(before)  # what is read off an old screen
    assert NOT_READ_BACK in visit.is_refused()
    visit.read_back()
    assert visit.settle(visit.ask(msg.Arm))


def test_a_wrong_reading_takes_a_right_one_back(visit: Visit) -> None:
    visit.allow()
    visit.read_back("0" * 64)
    assert NOT_READ_BACK in visit.is_refused()


def stop(visit: Visit) -> None:
    assert visit.settle(visit.ask(msg.Stop))


def fault(visit: Visit) -> None:
    visit.device.latch(FaultCode.OVERCURRENT)
    visit.until(lambda: visit.state is HostState.FAULT)
    assert visit.settle(visit.ask(msg.Acknowledge))


def unplug(visit: Visit) -> None:
    visit.loop.post(ev.PortGone("unplugged"))
    visit.connect()


def disconnect(visit: Visit) -> None:
    assert visit.settle(visit.ask(msg.Disconnect))
    visit.connect()


def try_another_device(visit: Visit) -> None:
    assert visit.settle(visit.ask(msg.Disconnect))
    own, visit.device = visit.device, HandDevice("HAND-2")
    assert not visit.settle(visit.ask(msg.Connect, "native:/dev/hand"))
    visit.device = own
    visit.connect()


def load_another(visit: Visit) -> None:
    visit.prepare(on_a_person(duration_s=60))


def fail_to_load(visit: Visit) -> None:
    program_hex, bounds, settings = visit.prepare_request(on_a_person())
    nothing = dataclasses.replace(bounds, channels=())
    assert not visit.settle(visit.ask(msg.Prepare, program_hex, nothing, settings))


@pytest.mark.hazard(21)
@pytest.mark.parametrize(
    "happens",
    [stop, fault, unplug, disconnect, try_another_device, load_another, fail_to_load],
)
def test_nothing_that_was_loaded_before_counts_as_read_back_now(
    visit: Visit, happens: Callable[[Visit], None]
) -> None:
    """Even where the very same is loaded again, and so has the same digest."""
    visit.allow()
    before = visit.digest
    happens(visit)
    visit.prepare(on_a_person())
    assert visit.digest == before
    assert NOT_READ_BACK in visit.is_refused()
    assert len(visit.outcomes[visit.asked[-1]][0].reasons) == 1  # the visit's answers still hold
    visit.read_back()
    assert visit.settle(visit.ask(msg.Arm))


@pytest.mark.parametrize("is_loading", [False, True])
def test_a_reading_that_was_asked_for_before_the_load_does_not_count(
    visit: Visit, is_loading: bool
) -> None:
    """It becomes durable once the same has been loaded again."""
    visit.begin(*ANSWERED)
    visit.holds_durable = True
    digest = visit.digest
    if is_loading:
        loading = visit.ask(msg.Prepare, *visit.prepare_request(on_a_person()))
        reading = visit.annotate("read_back", prepared_digest=digest)
        assert visit.settle(loading)
    else:
        reading = visit.annotate("read_back", prepared_digest=digest)
        visit.prepare(on_a_person())
    visit.holds_durable = False
    for token in visit.held:
        visit.loop.durable(token)
    assert visit.is_done(reading)
    assert NOT_READ_BACK in visit.is_refused()


def test_nothing_is_named_where_nothing_is_loaded(visit: Visit) -> None:
    visit.allow()
    stop(visit)
    assert visit.digest == ""
    visit.read_back("")
    why = visit.is_refused()
    assert "no programme is loaded" in why
    assert NOT_READ_BACK in why


# A person's session otherwise.


@pytest.mark.hazard(32)
def test_a_visit_is_never_longer_in_all_than_one_load_may_be(visit: Visit) -> None:
    def load(duration_s: int) -> str:
        program_hex, bounds, settings = visit.prepare_request(on_a_person(duration_s=duration_s))
        minute = Bound("running_ms", 60_000, Owner.SITE)
        bounds = dataclasses.replace(bounds, session=(*bounds.session, minute))
        asked = visit.ask(msg.Prepare, program_hex, bounds, settings)
        return "" if visit.settle(asked) else visit.why(asked)

    visit.run_to(1_000, 0)
    visit.run(30 * S)
    assert visit.settle(visit.ask(msg.Stop))
    assert "31 s delivered already, 60 s allowed in all" in load(40)
    assert load(40)  # asking again does not help
    assert load(61)
    assert load(25) == ""  # with the rise, 31 s are behind


@pytest.mark.hazard(45)
def test_a_person_is_raised_by_keys_alone(visit: Visit) -> None:
    visit.run_to(2000, 500)
    for targets in ((2001, 500), (3000, 0), (40_000, 40_000)):
        asked = visit.ask(msg.SetTargets, targets)
        assert not visit.settle(asked)
        assert "on the bench alone" in visit.why(asked)
    visit.run(200 * MS)
    assert visit.device.targets == [2000, 500]


@pytest.mark.hazard(19)
@pytest.mark.parametrize("left_out", ["profile_id", "profile_version", "profile_sha256"])
def test_a_profile_that_nobody_could_find_again_is_loaded_for_no_person(
    visit: Visit, left_out: str
) -> None:
    visit.open_record(kind="clinical")
    visit.connect()
    program_hex, bounds, settings = visit.prepare_request(on_a_person())
    settings = dataclasses.replace(settings, **{left_out: ""})
    asked = visit.ask(msg.Prepare, program_hex, bounds, settings)
    assert "sha256" in visit.why(asked)


@pytest.mark.hazard(25)
def test_an_electrode_off_keeps_the_others_the_time_and_the_marker(visit: Visit) -> None:
    visit.run_to(2000, 1000)
    visit.run(1 * S)
    plateau_us = visit.core.delivery.plateau_us
    visit.device.lead_off(0)
    visit.run(1 * S)
    assert visit.state is RUNNING
    assert visit.device.targets == [0, 1000]
    assert visit.core.marker_ua == [2000, 0]
    assert visit.core.delivery.plateau_us >= plateau_us + 900 * MS
    assert visit.settle(visit.ask(msg.Rearm, (0,)))
    assert visit.device.of(AcknowledgeFault) == [AcknowledgeFault(1, 0b01)]
    visit.run(1 * S)
    assert visit.device.targets == [0, 1000]  # it is raised from zero, by keys
    assert visit.core.marker_ua == [2000, 0]
    assert visit.settle(visit.ask(msg.Raise, (0,)))
    visit.run(100 * MS)
    assert visit.device.targets == [500, 1000]
    assert visit.core.delivery.plateau_us >= plateau_us + 1900 * MS


@pytest.mark.hazard(25)
def test_where_an_electrode_stops_all_each_is_re_armed_for_itself(visit: Visit) -> None:
    """The device latches every channel; time stands still, none of it is lost."""
    visit.run_to(2000, 1000)
    visit.run(1 * S)
    visit.device.lead_off(0)
    visit.device.lead_off(1)
    visit.run(100 * MS)
    delivered_us = visit.core.delivery.delivered_us
    visit.run(2 * S)
    assert visit.state is RUNNING
    assert visit.device.targets == [0, 0]
    assert visit.core.marker_ua == [2000, 1000]
    assert visit.core.delivery.delivered_us == delivered_us
    assert visit.settle(visit.ask(msg.Rearm, (1,)))
    assert visit.device.flags == [ChannelFlag.LEAD_OFF_LATCHED, ChannelFlag.NONE]
    asked = visit.ask(msg.Raise, (0,))
    assert not visit.settle(asked)
    assert "electrode is off" in visit.why(asked)
    assert visit.settle(visit.ask(msg.Raise, (1,)))
    visit.run(1 * S)
    assert visit.device.targets == [0, 500]
    assert visit.core.delivery.delivered_us > delivered_us + 900 * MS
