"""Every failure names a suspect: to the interface, and in the record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from estim.errors import DeviceFault, EstimError, PortLost, ReplyTimeout, UsageError
from estim.safety.bounds import Bound, Owner
from estim.session import events as ev
from estim.session import messages as msg
from estim.session.messages import Blame
from estim.session.states import HostState
from firmware_protocol.messages import FaultCode, RefusalReason, Refused, SetLimits
from tests.session.bench import MS, Bench, HandDevice


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.loop.end()


def _blame(bench: Bench, request_id: int) -> Blame | None:
    outcome = bench.outcome(request_id)
    assert outcome is not None
    assert not outcome.is_done
    return outcome.blame


@pytest.mark.parametrize(
    ("error", "suspect"),
    [
        (PortLost("no such port"), Blame.RIG),
        (UsageError("no such scheme"), Blame.OPERATOR),
        (DeviceFault("speaks another version"), Blame.DEVICE),
        (ReplyTimeout("did not answer"), Blame.UNKNOWN),
    ],
)
def test_a_failed_connection_names_a_suspect_to_the_interface_and_in_the_record(
    bench: Bench, error: EstimError, suspect: Blame
) -> None:
    bench.to(HostState.DISCONNECTED)
    bench.open_error = error
    asked = bench.ask(msg.Connect, "native:/dev/hand")
    assert _blame(bench, asked) is suspect
    assert bench.submitted[-1] == (
        "connect_failed",
        {"error": str(error), "blame": suspect.value},
    )


def test_another_device_at_the_port_points_at_the_rig(bench: Bench) -> None:
    bench.to(HostState.READY)
    bench.settle(bench.ask(msg.Disconnect))
    bench.device = HandDevice("HAND-2")
    asked = bench.ask(msg.Connect, "native:/dev/hand")
    bench.settle(asked)
    assert _blame(bench, asked) is Blame.RIG


def _refusal(bench: Bench) -> dict[str, Any]:
    """Return what the record holds of the one refused preparation."""
    (content,) = [content for kind, content in bench.submitted if kind == "prepare_refused"]
    return content


def test_a_programme_above_a_limit_points_at_who_asked(bench: Bench) -> None:
    bench.to(HostState.IDENTIFIED)
    program_hex, bounds, settings = bench.prepare_request()
    harsh = replace(bounds, session=(*bounds.session, Bound("running_ms", 0, Owner.SITE)))
    asked = bench.ask(msg.Prepare, program_hex, harsh, settings)
    bench.run(50 * MS)
    assert _blame(bench, asked) is Blame.OPERATOR
    assert _refusal(bench)["blame"] == "operator"


def test_a_programme_that_only_the_device_refuses_points_at_nobody_known(bench: Bench) -> None:
    """The kernel had approved it: one of the two is mistaken."""
    bench.to(HostState.IDENTIFIED)
    bench.device.ignores = (SetLimits,)
    asked = bench.ask(msg.Prepare, *bench.prepare_request())
    bench.device.say(Refused(0, SetLimits.message_id, RefusalReason.STATE, 0, 255, 0, 0))
    bench.run(50 * MS)
    assert _blame(bench, asked) is Blame.UNKNOWN
    assert _refusal(bench)["blame"] == "unknown"


def test_a_preparation_that_a_lost_line_ends_points_at_the_rig(bench: Bench) -> None:
    bench.to(HostState.IDENTIFIED)
    bench.device.is_deaf = True
    asked = bench.ask(msg.Prepare, *bench.prepare_request())
    bench.loop.post(ev.PortGone("unplugged"))
    assert _blame(bench, asked) is Blame.RIG
    assert _refusal(bench) == {"reasons": ["unplugged"], "blame": "rig"}


@pytest.mark.parametrize(
    ("code", "suspect"),
    [(FaultCode.OVERCURRENT, Blame.DEVICE), (FaultCode.LINE_NOISE, Blame.RIG)],
)
def test_a_wish_that_a_fault_ends_points_where_the_fault_does(
    bench: Bench, code: FaultCode, suspect: Blame
) -> None:
    bench.to(HostState.RUNNING).raise_to(3000, 0)
    bench.holds_durable = True
    asked = bench.ask(msg.Raise, (0,))
    bench.device.latch(code)
    bench.run(50 * MS)
    assert _blame(bench, asked) is bench.core.fault.blame is suspect


def test_a_wish_that_a_full_disk_ends_points_at_the_host(bench: Bench) -> None:
    bench.to(HostState.RUNNING).raise_to(3000, 0)
    bench.holds_durable = True
    asked = bench.ask(msg.Raise, (0,))
    bench.on_record_failure("no space left")
    assert _blame(bench, asked) is Blame.HOST
