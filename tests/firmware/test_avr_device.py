"""The AVR image as a device: what is off when, what takes the output away, and what it holds."""

from __future__ import annotations

import subprocess
from itertools import pairwise

import pytest

from firmware_protocol.messages import (
    AcknowledgeFault,
    Capabilities,
    CapabilityFlag,
    CommitProgram,
    Contact,
    DeviceState,
    FaultCode,
    GetCapabilities,
    RefusalReason,
    Refused,
    SelfTest,
    SelfTestReport,
    WantedState,
)
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase, PulseProgram
from tests.firmware.avr_machine import CYCLES_PER_MS, Avr, AvrHost, Machine, pulses
from tests.firmware.core import C_FOLDER
from tests.simulator.host import one_channel

pytestmark = pytest.mark.emulated

FLASH_BYTES = 32_768
RAM_BYTES = 2048

# What costs most: all phases and keyframes that fit, in bursts, in a cycle, close together.
HEAVIEST = PulseProgram(
    (
        ChannelProgram(
            tuple(Phase(60, 1000 if at % 2 == 0 else -1000) for at in range(6)),
            unit_us=1,
            pulse_period_us=5000,
            pulses_per_burst=20,
            burst_period_us=200_000,
            cycle=Cycle(500, 3000, 500, 100),
            keyframe_cycle_ms=2000,
            keyframes=tuple(Keyframe(at * 250, 1000 - 50 * at, 1, 5000) for at in range(8)),
        ),
    )
)


def gap_of(gap_us: int) -> tuple[Phase, ...]:
    """Return a positive phase in two pieces."""
    return (Phase(50, 1000), Phase(gap_us, 0), Phase(50, 1000))


def levels(machine: Machine) -> dict[str, int]:
    """Return the last level of each output that ever moved."""
    outputs = ("positive", "negative", "enable")
    return {row.signal: row.number for row in machine.rows() if row.signal in outputs}


@pytest.mark.hazard(16)
def test_outputs_stay_off_from_reset_until_running(machine: Machine) -> None:
    host = AvrHost(machine)
    host.load(one_channel())
    host.pass_us(300_000)
    host.drive(WantedState.ARMED)
    host.pass_us(40_000)
    assert host.status.state is DeviceState.ARMED
    assert levels(machine) == {}
    host.drive(WantedState.RUNNING)
    host.pass_us(40_000)
    assert levels(machine) == {"enable": 1}


def test_it_says_what_fits_and_refuses_what_does_not(machine: Machine) -> None:
    host = AvrHost(machine)
    host.greet()
    told = host.ask(GetCapabilities(), Capabilities)
    assert (told.channel_count, told.phases_max, told.keyframes_max) == (1, 6, 8)
    assert (told.phase_min_us, told.phase_max_us, told.pulse_period_min_us) == (50, 1000, 5000)
    assert CapabilityFlag.UNEQUAL_PHASES not in told.flags
    pair = (Phase(100, 1000), Phase(100, -1000))
    taken = one_channel(10_000, (*gap_of(50), Phase(50, -1000), Phase(50, -1000)))
    host.load(taken)
    for program in (
        one_channel(10_000, pair * 4),
        one_channel(10_000, (Phase(49, 1000), Phase(49, -1000))),
        one_channel(4999, pair),
        one_channel(10_000, (Phase(100, 1000), Phase(200, -500))),
        one_channel(10_000, (*pair, Phase(50, 500), Phase(50, -500))),
        # Its pins can do neither: a gap of 49 us in one polarity, a rest of 99 us after a pulse.
        one_channel(10_000, (*gap_of(49), Phase(50, -1000), Phase(50, -1000))),
        one_channel(5000, (Phase(100, 1000), Phase(4701, 0), Phase(100, -1000))),
        PulseProgram((*one_channel().channels, *one_channel(pulse_offset_us=5000).channels)),
    ):
        for message in program.messages():
            host.send(message)
            host.pass_us(2000)
        refused = host.ask(CommitProgram(program.digest), Refused)
        assert refused.reason is RefusalReason.CAPABILITY


def test_it_measures_what_flows_and_finds_contact(machine: Machine) -> None:
    host = AvrHost(machine)
    machine.tell("load 1500")
    host.start(one_channel())
    host.keep(4500, 5000)
    channel = host.status.channels[0]
    assert channel.contact is Contact.GOOD
    assert channel.setpoint_ua == 5000
    assert channel.peak_ua == 5000
    assert channel.load_ohm == pytest.approx(1500, rel=0.03)
    assert abs(channel.pulse_count - len(pulses(machine.rows()))) <= 6


def test_a_target_that_falls_is_obeyed_but_for_pulses_given_ahead(machine: Machine) -> None:
    host = AvrHost(machine)
    host.start(one_channel(5000))
    host.keep(3500, 5000)
    assert host.status.channels[0].setpoint_ua > 4000
    fallen = host.drive(WantedState.RUNNING, 1000)
    host.pass_us(50_000)
    host.keep(500, 1000)
    played = pulses(machine.rows())
    late = [pulse for pulse in played if pulse.onset > fallen + 20 * CYCLES_PER_MS]
    assert {pulse.dac_ua for pulse in late} == {1000}
    # What was given ahead is above the new setpoint, and is no overcurrent.
    assert host.status.state is DeviceState.RUNNING


def test_a_lead_that_is_off_ends_its_channel(machine: Machine) -> None:
    host = AvrHost(machine)
    host.start(one_channel())
    host.keep(3000, 4000)
    before = len(pulses(machine.rows()))
    machine.tell("load open")
    host.keep(500, 4000)
    assert host.status.channels[0].contact is Contact.OFF
    assert host.status.channels[0].setpoint_ua == 0
    # Three pulses to find it, and those that were given ahead of their time.
    assert len(pulses(machine.rows())) - before <= 6


@pytest.mark.parametrize(
    ("command", "undo", "fault"),
    [
        ("stop 1", "stop 0", FaultCode.PATIENT_STOP),
        ("tripped 1", "tripped 0", FaultCode.OUTPUT_STAGE),
        ("leak 600", "leak 0", FaultCode.OUTPUT_STAGE),
    ],
)
def test_inputs_and_checks_take_the_output_away(
    machine: Machine, command: str, undo: str, fault: FaultCode
) -> None:
    host = AvrHost(machine)
    host.start(one_channel())
    host.keep(1000, 3000)
    machine.tell(command)
    since = machine.cycle
    host.pass_us(200_000)
    assert (host.status.state, host.status.fault) == (DeviceState.FAULT, fault)
    disabled = [row.cycle for row in machine.rows(since) if row.signal == "enable"]
    assert len(disabled) == 1
    # At the latest with the next pulse: that is when a leak shows.
    assert disabled[0] - since <= 20 * CYCLES_PER_MS
    assert levels(machine) == {"positive": 0, "negative": 0, "enable": 0}
    # The cause has to go before the fault can.
    host.send(AcknowledgeFault(host.status.latch_count, 0))
    host.pass_us(50_000)
    assert host.of(Refused)[-1].reason is RefusalReason.CAUSE_PRESENT
    machine.tell(undo)
    host.pass_us(50_000)
    host.send(AcknowledgeFault(host.status.latch_count, 0))
    host.pass_us(50_000)
    assert host.status.state is DeviceState.SAFE


@pytest.mark.hazard(29)
def test_a_leak_is_found_by_the_self_test(machine: Machine) -> None:
    host = AvrHost(machine)
    host.greet()
    assert host.ask(SelfTest(), SelfTestReport).failed == 0
    machine.tell("leak 600")
    assert host.ask(SelfTest(), SelfTestReport).failed == 2


@pytest.mark.hazard(29)
def test_a_leak_behind_the_patients_stop_is_not_cleared_with_it(machine: Machine) -> None:
    host = AvrHost(machine)
    host.greet()
    machine.tell("leak 600")
    assert host.ask(SelfTest(), SelfTestReport).failed == 2
    for level in (1, 0):
        machine.tell(f"stop {level}")
        host.pass_us(100_000)
    host.pass_us(300_000)
    assert host.status.fault is FaultCode.PATIENT_STOP
    host.send(AcknowledgeFault(host.status.latch_count, 0))
    host.pass_us(50_000)
    assert host.of(Refused)[-1].reason is RefusalReason.CAUSE_PRESENT
    machine.tell("leak 0")
    host.send(AcknowledgeFault(host.status.latch_count, 0))
    host.pass_us(50_000)
    assert host.status.state is DeviceState.SAFE


def test_flash_ram_stack_and_the_longest_pass_leave_room(avr: Avr, machine: Machine) -> None:
    told = subprocess.run(["avr-size", avr.image], capture_output=True, text=True, check=True)
    text, data, bss = (int(word) for word in told.stdout.splitlines()[1].split()[:3])
    assert text + data <= FLASH_BYTES
    assert data + bss <= RAM_BYTES * 3 // 4
    host = AvrHost(machine)
    host.start(HEAVIEST)
    loading = machine.figures()
    for target_ua in (*range(2000, 5000, 100), *range(80_000, 78_000, -100)):
        host.drive(WantedState.RUNNING, target_ua)
        host.pass_us(50_000)
    running = machine.figures()
    print(
        f"flash {text + data} B, RAM {data + bss} B, stack left {running.stack_left} B, "
        f"longest pass {loading.longest_feed_cycles} cycles loading, "
        f"{running.longest_feed_cycles} running"
    )
    assert running.reset_count == 1
    assert running.stack_left >= 64
    # Pulses are given 15 ms ahead, and the watchdog of a slow chip bites after 14.
    assert max(loading.longest_feed_cycles, running.longest_feed_cycles) < 14 * CYCLES_PER_MS
    # And however busy it was, no pulse was late or left out: 5 ms apart, or in another burst.
    played = [pulse for pulse in pulses(machine.rows()) if pulse.dac_ua >= 500]
    assert len(played) > 100
    apart_ms = {(later.onset - sooner.onset) / CYCLES_PER_MS for sooner, later in pairwise(played)}
    assert all(apart == 5 or apart >= 105 for apart in apart_ms), apart_ms
    assert all(lasts == 60 * 16 for pulse in played for lasts in pulse.lasts)
    assert all(pulse.net_cycles == 0 for pulse in played)


@pytest.mark.hazard(27)
def test_fuses_hold_the_watchdog_on_and_the_supply_watched(avr: Avr) -> None:
    told = subprocess.run(
        ["make", "--silent", "-C", C_FOLDER / "avr", "fuses", f"BUILD={avr.image.parent}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    # By the data sheet, programmed bits are 0: high has SPIEN (5), WDTON (4) and EESAVE (3),
    # extended has BODLEVEL 100: 4.3 V; low is a crystal of 8 to 16 MHz, slowly rising supply.
    assert told.stdout.split() == ["ff", "c7", "fc"]
