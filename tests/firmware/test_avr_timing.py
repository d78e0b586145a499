"""The AVR image's times, counted in cycles of the emulated processor: edges, lease, stop, hang.

The trace is read by `pulses`, which knows nothing of what was commanded.
"""

from __future__ import annotations

import subprocess
from itertools import pairwise

import pytest

from firmware_protocol.messages import (
    DeviceState,
    FaultCode,
    Stop,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Phase, PulseProgram
from tests.firmware.avr_machine import (
    BYTE_CYCLES,
    CYCLES_PER_MS,
    CYCLES_PER_US,
    Avr,
    AvrHost,
    Machine,
    Noted,
    pulses,
)
from tests.simulator.host import one_channel

pytestmark = pytest.mark.emulated

PERIOD_US = 5000

SIX_OF_50_US = tuple(Phase(50, 1000 if at % 2 == 0 else -1000) for at in range(6))
WITH_GAPS = (
    Phase(100, 1000), Phase(57, 0), Phase(100, -1000), Phase(13, 0),
    Phase(50, 1000), Phase(50, -1000),
)  # fmt: skip
NEGATIVE_FIRST_LONG_GAP = (Phase(1000, -1000), Phase(4500, 0), Phase(1000, 1000))
# The shortest gap within one polarity, 50 us, and the shortest rest after a pulse, 100 us.
CUT = (
    Phase(100, -1000), Phase(50, 0), Phase(100, -1000),
    Phase(100, 1000), Phase(50, 0), Phase(100, 1000),
)  # fmt: skip
SHORTEST_REST = (Phase(1000, 1000), Phase(2900, 0), Phase(1000, -1000))
SHORTEST_REST_OF_ONE_PIN = (
    Phase(50, 1000), Phase(4650, 0), Phase(50, -1000),
    Phase(50, 0), Phase(50, -1000), Phase(50, 1000),
)  # fmt: skip


def polarity_of(phases: tuple[Phase, ...]) -> list[tuple[int, int, int]]:
    """Return (from, to, sign) in cycles after the onset, worked out from the phases alone."""
    at_us, stretches = 0, []
    for phase in phases:
        if phase.amplitude_permille:
            sign = 1 if phase.amplitude_permille > 0 else -1
            since, to = at_us * CYCLES_PER_US, (at_us + phase.duration) * CYCLES_PER_US
            stretches.append((since, to, sign))
        at_us += phase.duration
    return stretches


def rows_of_outputs(rows: list[Noted]) -> list[Noted]:
    return [row for row in rows if row.signal in ("positive", "negative", "enable")]


def last_edge(machine: Machine) -> int:
    return max(row.cycle for row in machine.rows() if row.signal in ("positive", "negative"))


@pytest.mark.parametrize(
    "phases",
    [
        SIX_OF_50_US, WITH_GAPS, NEGATIVE_FIRST_LONG_GAP, CUT, SHORTEST_REST,
        SHORTEST_REST_OF_ONE_PIN,
    ],
)  # fmt: skip
def test_edges_come_within_a_cycle_while_the_line_is_full(
    machine: Machine, phases: tuple[Phase, ...]
) -> None:
    period_us = 20_000 if phases is NEGATIVE_FIRST_LONG_GAP else PERIOD_US
    host = AvrHost(machine)
    host.start(PulseProgram((ChannelProgram(phases, unit_us=1, pulse_period_us=period_us),)))
    asked_before = len(host.seen)
    assert host.keep_on_a_full_line(2000, 4000) == 2000 * CYCLES_PER_MS // BYTE_CYCLES
    assert host.status.state is DeviceState.RUNNING
    # The pulse in progress is finished.
    host.send(Stop())
    host.pass_us(20_000)
    played = pulses(machine.rows())
    wanted = polarity_of(phases)
    assert len(played) > 1_900_000 // period_us
    for pulse in played:
        assert len(pulse.stretches) == len(wanted)
        for (since, to, sign), (wanted_since, wanted_to, wanted_sign) in zip(
            pulse.stretches, wanted, strict=True
        ):
            assert sign == wanted_sign
            assert abs(since - pulse.onset - wanted_since) <= 1
            assert abs(to - since - (wanted_to - wanted_since)) <= 1
        assert abs(pulse.net_cycles) <= 1
    for sooner, later in pairwise(played):
        assert abs(later.onset - sooner.onset - period_us * CYCLES_PER_US) <= 1
    # Nothing was lost on the way, and nearly everything that was asked was answered.
    assert (host.status.state, host.status.damaged_count) == (DeviceState.SAFE, 0)
    assert host.damaged_count == 0
    assert len(host.seen) - asked_before > 300


@pytest.mark.parametrize("later_us", range(0, 20 * 740, 740))
def test_no_edge_comes_but_of_a_pulse_however_the_line_meets_the_pulses(
    machine: Machine, later_us: int
) -> None:
    """The counter overflows every 4096 us: some shift puts it amid the end of a pulse."""
    host = AvrHost(machine)
    host.pass_us(later_us)
    host.start(PulseProgram((ChannelProgram(SIX_OF_50_US, unit_us=1, pulse_period_us=PERIOD_US),)))
    host.keep_on_a_full_line(1500, 4000)
    played = pulses(machine.rows())
    assert len(played) > 1_400_000 // PERIOD_US
    assert all(pulse.net_cycles == 0 for pulse in played)
    edges = [row for row in machine.rows() if row.signal in ("positive", "negative")]
    assert len(edges) == 12 * len(played)


def test_output_ends_350_ms_after_the_tick_that_the_last_drive_echoed(machine: Machine) -> None:
    host = AvrHost(machine)
    host.start(one_channel(PERIOD_US))
    host.keep(1000, 3000)
    echoed_ms = host.status.tick_ms
    host.drive(WantedState.RUNNING, 3000, echoed_ms)
    host.pass_us(1_000_000)
    # The device's tick 0 begins after the processor's cycle 0: this bound is on the strict side.
    ended_ms = last_edge(machine) / CYCLES_PER_MS - echoed_ms
    assert 300 < ended_ms <= 350
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.LEASE_EXPIRED)
    assert [row.number for row in machine.rows() if row.signal == "enable"] == [1, 0]


@pytest.mark.parametrize("later_us", range(0, 5000, 620))
def test_output_ends_20_ms_after_a_stop_but_for_the_pulse_in_progress(
    machine: Machine, later_us: int
) -> None:
    host = AvrHost(machine)
    host.start(one_channel(PERIOD_US))
    host.keep(500, 3000)
    host.pass_us(later_us)
    stop_ends = host.send(Stop())
    host.pass_us(100_000)
    played = pulses(machine.rows())
    in_progress = [pulse.end for pulse in played if pulse.onset <= stop_ends <= pulse.end]
    # Pulses were given 15 ms ahead; those that had not begun were called back.
    assert played[-1].onset <= stop_ends + 5 * CYCLES_PER_MS
    bound = max([stop_ends + 20 * CYCLES_PER_MS, *in_progress])
    assert last_edge(machine) <= bound
    disabled = [row.cycle for row in machine.rows() if (row.signal, row.number) == ("enable", 0)]
    assert len(disabled) == 1
    assert disabled[0] <= bound
    assert all(pulse.net_cycles == 0 for pulse in played)
    assert host.status.state is DeviceState.SAFE


@pytest.mark.parametrize("has_interrupts", [True, False])
@pytest.mark.parametrize("later_us", [0, 1100, 2600, 4100])
def test_a_hung_main_loop_lets_the_pins_go_within_40_ms(
    machine: Machine, has_interrupts: bool, later_us: int
) -> None:
    host = AvrHost(machine)
    host.start(one_channel(PERIOD_US, (Phase(1000, 1000), Phase(1000, -1000))))
    host.keep(500, 3000)
    host.pass_us(later_us)
    machine.tell(f"hang {int(has_interrupts)}")
    host.pass_us(200_000)
    rows = machine.rows()
    hung = next(row.cycle for row in rows if row.signal == "hang")
    resets = [row.cycle for row in rows if row.signal == "reset"]
    assert len(resets) == 2
    assert 0 < resets[1] - hung <= 40 * CYCLES_PER_MS
    assert max(row.cycle for row in rows_of_outputs(rows)) <= resets[1]
    levels = {row.signal: row.number for row in rows_of_outputs(rows)}
    assert levels == {"positive": 0, "negative": 0, "enable": 0}
    # It tells so afterwards, and has forgotten its epoch.
    assert host.greet().state is DeviceState.FAULT
    host.pass_us(300_000)
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.OUTPUT_STAGE)


ROUND_US = 4096  # of timer 1, 16 bits at 16 MHz
FAR_ROUNDS = 1 << 28


def set_clock(avr: Avr, machine: Machine, host: AvrHost, rounds: int) -> None:
    """Let device time jump ahead, by no more than a pass of the main loop can take in."""
    told = subprocess.run(["avr-nm", avr.image], capture_output=True, text=True, check=True).stdout
    (place,) = [int(row.split()[0], 16) & 0xFFFF for row in told.splitlines() if " rounds" in row]
    for reached in (*range(FAR_ROUNDS, rounds, FAR_ROUNDS), rounds):
        for at, byte in enumerate(reached.to_bytes(4, "little")):
            machine.tell(f"poke {place + at:x} {byte:x}")
        host.pass_us(20_000)


@pytest.mark.parametrize(
    "wraps_us",
    [(1 << 32) // 16, 1 << 32, (1 << 32) * 1000, (1 << 32) * ROUND_US],
    ids=["cycles, 4.5 min", "microseconds, 72 min", "the tick, 49.7 days", "rounds, 203 days"],
)
def test_pulses_and_lease_go_on_where_a_counter_begins_anew(
    avr: Avr, machine: Machine, wraps_us: int
) -> None:
    host = AvrHost(machine)
    set_clock(avr, machine, host, wraps_us // ROUND_US - 500)  # 2 s before
    before = machine.cycle
    host.start(one_channel(PERIOD_US))
    first_ms = host.status.tick_ms
    host.keep(3000, 2000)
    assert host.status.state is DeviceState.RUNNING
    wraps_after_ms = wraps_us // 1000 % 2**32 - first_ms
    assert 0 < wraps_after_ms % 2**32 < 2500  # it happened while RUNNING
    assert (host.status.tick_ms - first_ms) % 2**32 == pytest.approx(3000, abs=50)
    assert host.status.running_ms == pytest.approx(3040, abs=50)
    played = pulses(machine.rows(before))
    assert len(played) > 500
    for sooner, later in pairwise(played):
        assert abs(later.onset - sooner.onset - PERIOD_US * CYCLES_PER_US) <= 1
    host.pass_us(500_000)
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.LEASE_EXPIRED)
    assert (last_edge(machine) - machine.cycle) / CYCLES_PER_MS < -150
