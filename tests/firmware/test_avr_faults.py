"""The AVR image when something in it goes wrong: late edges, changed memory, lost clocks, bounces.

Each fault is put into the emulated chip from outside; the image knows nothing of it.
"""

from __future__ import annotations

import struct

import pytest

from firmware_protocol.messages import (
    AcknowledgeFault,
    Contact,
    DeviceState,
    Event,
    EventCode,
    FaultCode,
    RefusalReason,
    Refused,
    Stop,
    WantedState,
)
from firmware_protocol.program import Phase
from tests.firmware.avr_machine import (
    CYCLES_PER_MS,
    CYCLES_PER_US,
    RAM_START,
    AvrHost,
    Machine,
    pulses,
)
from tests.firmware.test_avr_device import HEAVIEST
from tests.simulator.host import one_channel

pytestmark = pytest.mark.emulated

PERIOD_US = 5000
SIX_OF_50_US = tuple(Phase(50, 1000 if at % 2 == 0 else -1000) for at in range(6))
TCCR1B = 0x81
TIMSK0 = 0x6E
WATCHDOG_MS = 40
GRID_UA = 100


def levels(machine: Machine) -> dict[str, int]:
    """Return the last level of each output that ever moved."""
    outputs = ("positive", "negative", "enable")
    return {row.signal: row.number for row in machine.rows() if row.signal in outputs}


def onsets(machine: Machine) -> list[int]:
    return [pulse.onset for pulse in pulses(machine.rows())]


def find_all(ram: bytes, wanted: bytes) -> list[int]:
    """Return the addresses of bytes in RAM; what came over the line may still lie there too."""
    found = [at for at in range(len(ram)) if ram.startswith(wanted, at)]
    assert found
    return [RAM_START + at for at in found]


def resets_since(machine: Machine, cycle: int) -> list[int]:
    return [row.cycle for row in machine.rows(cycle) if row.signal == "reset"]


@pytest.mark.hazard(29)
def test_an_edge_that_is_late_takes_all_away_and_leaves_no_level_behind(machine: Machine) -> None:
    """Interrupts wait for 120 us in a pulse whose edges lie 50 us apart.

    A compare unit remembers a level that was high when it was taken from its pin: connected again,
    it would drive the pin at once.
    """
    host = AvrHost(machine)
    host.start(one_channel(PERIOD_US, SIX_OF_50_US))
    host.keep(1000, 3000)
    onset = onsets(machine)[-1]
    while onset < machine.cycle + 3000:
        onset += PERIOD_US * CYCLES_PER_US
    host.pass_until(onset - 200)
    machine.tell(f"stall {200 + 120 * CYCLES_PER_US}")
    host.pass_us(50_000)
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.OUTPUT_STAGE)
    assert levels(machine) == {"positive": 0, "negative": 0, "enable": 0}
    off = [row.cycle for row in machine.rows(onset) if (row.signal, row.number) == ("enable", 0)]
    assert off[0] - onset <= 200 * CYCLES_PER_US
    host.send(AcknowledgeFault(host.status.latch_count, 0))
    host.pass_us(50_000)
    for wanted in (WantedState.ARMED, WantedState.RUNNING):
        host.drive(wanted)
        host.pass_us(40_000)
    since = machine.cycle
    host.keep(500, 3000)
    assert host.status.state is DeviceState.RUNNING
    assert len(pulses(machine.rows(since))) > 60
    assert [row for row in machine.rows() if row.signal == "kept"] == []


def test_a_lead_off_is_told_once_however_many_pulses_were_given_ahead(machine: Machine) -> None:
    host = AvrHost(machine)
    host.start(one_channel(PERIOD_US))
    host.keep(3000, 4000)
    assert host.status.channels[0].contact is Contact.GOOD
    latched = host.status.latch_count
    machine.tell("load open")
    host.keep(50, 4000)
    host.keep(450, 0)
    off = host.status
    assert (off.channels[0].contact, off.latch_count) == (Contact.OFF, latched + 1)
    assert [e.code for e in host.of(Event)].count(EventCode.LEAD_OFF) == 1


@pytest.mark.hazard(28)
def test_a_bit_that_flips_in_the_programme_is_never_felt(machine: Machine) -> None:
    """One phase becomes a microsecond longer in memory: no pulse out of balance, and a fault."""
    host = AvrHost(machine)
    host.start(one_channel(PERIOD_US, (Phase(214, 1000), Phase(214, -1000))))
    host.keep(1000, 3000)
    shape = struct.pack("<HhHh", 214, 1000, 214, -1000)
    for place in find_all(machine.ram(), shape):
        machine.tell(f"poke {place:x} {215:x}")
    host.pass_us(60_000)
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.OUTPUT_STAGE)
    played = pulses(machine.rows())
    assert len(played) > 150
    assert {pulse.net_cycles for pulse in played} == {0}
    # Its cause is still in memory.
    host.send(AcknowledgeFault(host.status.latch_count, 0))
    host.pass_us(50_000)
    assert host.of(Refused)[-1].reason is RefusalReason.CAUSE_PRESENT


@pytest.mark.hazard(28)
def test_limits_that_change_in_memory_end_running_with_the_next_drive(machine: Machine) -> None:
    """A limit of 80 mA becomes one of 211 mA, which no pulse shows before it is asked for."""
    host = AvrHost(machine)
    host.start(one_channel(PERIOD_US, (Phase(214, 1000), Phase(214, -1000))))
    host.keep(3000, 3000)
    session = struct.pack("<IIII", 80_000, 48_000_000, 50_000, 10_000)
    for place in find_all(machine.ram(), session):
        machine.tell(f"poke {place + 2:x} 03")
    host.keep(100, 3000)
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.SELF_TEST)
    # Its cause goes with the next Hello, which puts the compiled limits in force.
    host.send(AcknowledgeFault(host.status.latch_count, 0))
    host.pass_us(50_000)
    assert host.of(Refused)[-1].reason is RefusalReason.CAUSE_PRESENT
    host.greet()
    host.send(AcknowledgeFault(host.status.latch_count, 0))
    host.pass_us(50_000)
    assert host.status.state is DeviceState.SAFE


@pytest.mark.hazard(28)
def test_figures_that_change_in_memory_end_running_with_the_next_drive(machine: Machine) -> None:
    """The 50 pulses that a second holds become 1: RMS and average would be judged by that."""
    host = AvrHost(machine)
    host.start(one_channel(20_000, (Phase(214, 1000), Phase(214, -1000))))
    host.keep(1000, 3000)
    places = find_all(machine.ram(), struct.pack("<III", GRID_UA, 50, 0))
    assert len(places) == 1
    machine.tell(f"poke {places[0] + 4:x} 01")
    host.keep(100, 3000)
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.SELF_TEST)


@pytest.mark.hazard(28)
@pytest.mark.parametrize(
    ("place", "byte"),
    [("guard", 0), ("above the guard", 0), (TCCR1B, 0), (TIMSK0, 6)],
    ids=["stack", "stack past its end", "timer stopped", "unknown interrupt"],
)
def test_what_the_program_cannot_survive_ends_in_a_reset_and_a_fault(
    machine: Machine, place: str | int, byte: int
) -> None:
    host = AvrHost(machine)
    host.start(one_channel(PERIOD_US, (Phase(1000, 1000), Phase(1000, -1000))))
    host.keep(500, 3000)
    if isinstance(place, str):
        place = RAM_START + machine.figures().static_size + (place != "guard") * 3
    machine.tell(f"poke {place:x} {byte:x}")
    since = machine.cycle
    host.pass_us(WATCHDOG_MS * 1000)
    resets = resets_since(machine, since)
    assert len(resets) == 1
    rows = [row for row in machine.rows() if row.signal in ("positive", "negative", "enable")]
    assert max(row.cycle for row in rows) <= resets[0]
    assert levels(machine) == {"positive": 0, "negative": 0, "enable": 0}
    assert host.greet().state is DeviceState.FAULT


def test_a_button_that_bounces_is_pressed_once_and_released_once(machine: Machine) -> None:
    """Contacts bounce for some milliseconds at either end, and a press of 2 ms is enough."""
    host = AvrHost(machine)
    host.start(one_channel(PERIOD_US))
    host.keep(500, 3000)
    latched = host.status.latch_count
    for level in (1, 0, 1, 0, 1):
        machine.tell(f"stop {level}")
        host.pass_us(2000)
    host.pass_us(100_000)
    for level in (0, 1, 0, 1, 0):
        machine.tell(f"stop {level}")
        host.pass_us(2000)
    host.pass_us(100_000)
    told = [(e.code, e.detail) for e in host.of(Event) if e.code is EventCode.PATIENT_STOP]
    assert told == [(EventCode.PATIENT_STOP, 1), (EventCode.PATIENT_STOP, 0)]
    assert host.status.latch_count == latched + 1
    host.send(AcknowledgeFault(host.status.latch_count, 0))
    host.send(Stop())
    host.pass_us(50_000)
    assert host.status.state is DeviceState.SAFE


@pytest.mark.hazard(46)
@pytest.mark.parametrize("later_us", [1500, 4000, 7000])
def test_a_press_shorter_than_the_longest_pass_is_not_missed(
    machine: Machine, later_us: int
) -> None:
    """1.5 ms, while a new target is judged for 10 ms."""
    host = AvrHost(machine)
    host.start(HEAVIEST)
    host.keep(500, 3000)
    host.drive(WantedState.RUNNING, 2900)
    host.pass_us(later_us)
    since = machine.cycle
    machine.tell("stop 1")
    host.pass_us(1500)
    machine.tell("stop 0")
    host.pass_us(60_000)
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, FaultCode.PATIENT_STOP)
    off = [row.cycle for row in machine.rows(since) if row.signal == "enable"]
    assert off[0] - since <= 20 * CYCLES_PER_MS
