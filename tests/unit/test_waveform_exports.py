"""What is exported is what the profile says, read back by parsers of this file.

Figures are worked out from the TOML with school arithmetic: 1 mA for 1 us is 1000 pC.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby, pairwise

import pytest

from estim.profile.library import find, shipped_ids
from estim.waveform.compile import compile_profile
from estim.waveform.exports import (
    Block,
    Waveform,
    csv_blocks,
    sigrok_blocks,
    vcd_blocks,
)

MHZ = 1_000_000


@dataclass(frozen=True)
class Run:
    """A current in uA from one time to another, in us."""

    start_us: int
    end_us: int
    current_ua: int

    @property
    def charge_pc(self) -> int:
        return self.current_ua * (self.end_us - self.start_us)


def waveform(
    profile_id: str, amplitudes_ma: list[float], start_s: float = 0, duration_s: float = 1
) -> Waveform:
    program = compile_profile(find(profile_id).profile)
    return Waveform(
        program,
        tuple(range(len(program.channels))),
        tuple(round(amplitude_ma * 1000) for amplitude_ma in amplitudes_ma),
        100,
        MHZ,
        round(start_s * 1e6),
        round(duration_s * 1e6),
    )


def text_of(blocks: Iterator[Block]) -> str:
    return b"".join(block.text for block in blocks).decode("ascii")


def in_ua(text: str) -> int:
    """Read mA with three decimals without a float between."""
    whole, _, decimals = text.partition(".")
    assert len(decimals) == 3
    return int(whole + decimals)


def csv_runs(text: str, column: int) -> list[Run]:
    """Read a CSV at 1 MHz as runs of equal currents."""
    lines = text.splitlines()
    assert lines[0].split(",")[0] == "time_s"
    samples = [line.split(",") for line in lines[1:]]
    begin_us = in_us(samples[0][0])
    assert [in_us(sample[0]) for sample in samples] == list(
        range(begin_us, begin_us + len(samples))
    )
    runs, at_us = [], begin_us
    for current, members in groupby(sample[column] for sample in samples):
        end_us = at_us + len(list(members))
        runs.append(Run(at_us, end_us, in_ua(current)))
        at_us = end_us
    return runs


def in_us(text: str) -> int:
    whole, _, decimals = text.partition(".")
    assert len(decimals) == 6
    return int(whole) * MHZ + int(decimals)


def vcd_runs(text: str, name: str) -> list[Run]:
    """Read one variable of a VCD as runs."""
    head, _, body = text.partition("$enddefinitions $end\n")
    assert "$timescale 1 us $end" in head
    (code,) = (line.split()[3] for line in head.splitlines() if f" {name} " in line)
    now_us, changes = 0, []
    for line in body.splitlines():
        if line.startswith("#"):
            assert int(line[1:]) >= now_us
            now_us = int(line[1:])
        elif line.startswith("r") and line.split()[1] == code:
            changes.append((now_us, in_ua(line.split()[0][1:])))
    changes.append((now_us, 0))
    assert all(one[1] != other[1] for one, other in pairwise(changes[:-1])), "no change"
    return [Run(one[0], other[0], one[1]) for one, other in pairwise(changes)]


def pulses_of(runs: list[Run]) -> list[list[Run]]:
    """Group currents with no silence of a millisecond or more between them."""
    found: list[list[Run]] = []
    for run in runs:
        if not run.current_ua:
            continue
        if found and run.start_us - found[-1][-1].end_us < 1000:
            found[-1].append(run)
        else:
            found.append([run])
    return found


def test_two_channels_as_csv_hold_the_pulses_of_the_profile() -> None:
    """80 Hz is a pulse every 12.5 ms, 4 in 0.05 s; 200 us each way; half a period apart."""
    text = text_of(csv_blocks(waveform("dpn-conventional", [12, 7.3], duration_s=0.05)))
    assert text.startswith(
        "time_s,channel_1_current_ma,channel_2_current_ma\n0.000000,12.000,0.000"
    )
    assert text.count("\n") == 50_001
    for column, offset_us, charge_pc in ((1, 0, 2_400_000), (2, 6250, 1_460_000)):
        pulses = pulses_of(csv_runs(text, column))
        assert [pulse[0].start_us for pulse in pulses] == [
            offset_us + 12_500 * number for number in range(4)
        ]
        assert all([run.charge_pc for run in pulse] == [charge_pc, -charge_pc] for pulse in pulses)


@pytest.mark.long
def test_a_burst_as_csv_from_the_middle_of_the_session() -> None:
    """10 pulses 10 ms apart, twice a second: from 0.45 s to 0.55 s come those at 0.5 to 0.54 s."""
    text = text_of(csv_blocks(waveform("tens-burst", [60], 0.45, 0.1)))
    pulses = pulses_of(csv_runs(text, 1))
    assert [pulse[0].start_us for pulse in pulses] == [500_000 + 10_000 * n for n in range(5)]
    assert {run.charge_pc for pulse in pulses for run in pulse} == {12_000_000, -12_000_000}


def test_an_on_off_cycle_as_vcd_ramps_holds_and_is_silent() -> None:
    """3 s up, 15 s on, 3 s down, 45 s off, at 50 Hz and 100 mA; amplitudes floor to 0.1 mA."""
    text = text_of(vcd_blocks(waveform("nmes-quadriceps", [100], duration_s=66)))
    runs = vcd_runs(text, "channel_1_current_ma")
    wanted: list[tuple[int, int]] = []
    for onset_ms in range(0, 21_000, 20):
        share_ms = min(onset_ms, 3000, 21_000 - onset_ms)
        tenths_ma = 1000 * share_ms // 3000
        if tenths_ma:
            wanted.append((onset_ms * 1000, tenths_ma * 100))
    pulses = pulses_of(runs)
    assert [(pulse[0].start_us, pulse[0].current_ua) for pulse in pulses] == wanted
    assert len(wanted) == 1049
    assert sum(current_ua == 100_000 for _, current_ua in wanted) == 751
    assert all([run.end_us - run.start_us for run in pulse] == [250, 250] for pulse in pulses)
    assert runs[-1] == Run(20_980_500, 66_000_000, 0)


@pytest.mark.parametrize("profile_id", shipped_ids())
def test_every_exported_pulse_of_the_library_carries_no_net_charge(profile_id: str) -> None:
    """Wherever current turns positive a pulse begins; what flowed until then must cancel."""
    profile = find(profile_id).profile
    for index, channel in enumerate(profile.channels):
        cycle = profile.channel_stimulus(channel).cycle
        plateau_s = float(channel.cycle_offset_s + cycle.ramp_up_s) if cycle else 0.0
        wave = waveform(profile_id, [12.3] * len(profile.channels), plateau_s, 1.1)
        runs = vcd_runs(
            text_of(vcd_blocks(replace(wave, channel_indexes=(index,)))),
            f"channel_{index + 1}_current_ma",
        )
        sums = [0]
        is_within = False  # the first pulse may have begun before the file does
        for before, run in pairwise([Run(0, 0, 0), *runs]):
            if before.current_ua <= 0 < run.current_ua:
                if is_within:
                    assert sums[-1] == 0, run
                    sums.append(0)
                is_within = is_within or run.start_us > runs[0].start_us
            if is_within:
                sums[-1] += run.charge_pc
        assert len(sums) > 1


@pytest.mark.parametrize("rate_hz", [44_100, 300_007, 2_999_999])
def test_samples_that_fall_between_edges_hold_what_flows_at_their_instant(rate_hz: int) -> None:
    wave = replace(waveform("dpn-conventional", [12, 0], duration_s=0.02), sample_rate_hz=rate_hz)
    rows = text_of(csv_blocks(wave)).splitlines()[1:]
    assert len(rows) == rate_hz * 20 // 1000
    assert not wave.has_exact_edges
    for number in range(0, len(rows), 7):
        since_us = Fraction(number * MHZ, rate_hz) % 12_500
        current = "12.000" if since_us < 200 else "-12.000" if since_us < 400 else "0.000"
        time_ns = number * 10**9 // rate_hz
        assert rows[number] == f"0.{time_ns:09d},{current},0.000"


def test_rates_that_meet_every_edge_are_told_from_those_that_do_not() -> None:
    """All edges of 80 Hz and 200 us lie on multiples of 50 us: 20 kHz meets them, 30 kHz not."""
    wave = waveform("dpn-conventional", [12, 12])
    met = {rate_hz: replace(wave, sample_rate_hz=rate_hz).has_exact_edges for rate_hz in
           (10_000, 20_000, 30_000, 40_000, MHZ, 3 * MHZ)}  # fmt: skip
    assert met == {
        10_000: False, 20_000: True, 30_000: False, 40_000: True, MHZ: True, 3 * MHZ: True
    }  # fmt: skip
    assert not replace(wave, sample_rate_hz=20_000, start_us=25).has_exact_edges


@pytest.mark.parametrize("blocks", [csv_blocks, sigrok_blocks, vcd_blocks])
def test_all_formats_hold_the_same_samples(blocks: Callable[[Waveform], Iterator[Block]]) -> None:
    """0.3 ms around a pulse of the second channel, with the volts over 470 ohm."""
    wave = replace(waveform("dpn-conventional", [12, 7.3], 0.0064, 0.0003), load_ohm=470)
    text = text_of(blocks(wave))
    # 7.3 mA until 6450 us, then -7.3 mA until 6650 us; 7.3 mA x 470 ohm = 3.431 V.
    if blocks is vcd_blocks:
        # Codes in the order of the variables: two currents, then two voltages.
        assert text.partition("$enddefinitions $end\n")[2].splitlines() == [
            "#6400", "$dumpvars", "r0.000 !", "r0.000000 #", 'r7.300 "', "r3.431000 $", "$end",
            "#6450", 'r-7.300 "', "r-3.431000 $", "#6650", 'r0.000 "', "r0.000000 $", "#6700",
        ]  # fmt: skip
        return
    rows = [line for line in text.splitlines() if not line.startswith(";")]
    begins = "time_s," if blocks is csv_blocks else ""
    assert rows[0] == begins + (
        "channel_1_current_ma,channel_2_current_ma,channel_1_voltage_v,channel_2_voltage_v"
    )
    wanted = ["0.000,7.300,0.000000,3.431000"] * 50
    wanted += ["0.000,-7.300,0.000000,-3.431000"] * 200 + ["0.000,0.000,0.000000,0.000000"] * 50
    if blocks is csv_blocks:
        wanted = [f"0.{6400 + n:06d},{row}" for n, row in enumerate(wanted)]
    assert rows[1:] == wanted


def test_times_gain_a_digit_where_they_need_one() -> None:
    text = text_of(csv_blocks(waveform("tens-low-rate", [1], 9.999998, 0.000004)))
    times = [line.split(",")[0] for line in text.splitlines()[1:]]
    assert times == ["9.999998", "9.999999", "10.000000", "10.000001"]


def test_only_the_channels_that_were_asked_for_are_written() -> None:
    wave = replace(waveform("dpn-conventional", [12, 7.3], 0.0062, 0.0001), channel_indexes=(1,))
    lines = text_of(csv_blocks(wave)).splitlines()
    assert (lines[0], lines[50], lines[51]) == (
        "time_s,channel_2_current_ma", "0.006249,0.000", "0.006250,7.300",
    )  # fmt: skip
    assert "channel_1" not in text_of(vcd_blocks(wave))


def test_a_vcd_with_times_between_microseconds_counts_nanoseconds() -> None:
    wave = replace(waveform("tens-low-rate", [1], duration_s=0.001), sample_rate_hz=3 * MHZ)
    text = text_of(vcd_blocks(wave))
    assert "$timescale 1 ns $end" in text
    # 200 us is sample 600, 400 us sample 1200, 1 ms the end.
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "#0", "#200000", "#400000", "#1000000",
    ]  # fmt: skip


def test_memory_does_not_grow_with_the_duration() -> None:
    peaks = []
    for duration_s in (0.2, 1):
        tracemalloc.start()
        size = sum(
            len(block.text)
            for block in csv_blocks(waveform("dpn-conventional", [12, 7.3], 0, duration_s))
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert size > 20_000_000
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 20_000_000
