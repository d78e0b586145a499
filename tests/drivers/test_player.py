"""What the host plays for a device that cannot: by hand, from PROTOCOL.md, chapter 5."""

from __future__ import annotations

from dataclasses import replace

from estim.drivers.player import ChannelPlayer, Train
from firmware_protocol.messages import ChannelLimits, CyclePhase, PolicyFlag, SetLimits
from firmware_protocol.program import ChannelProgram, Cycle, Keyframe, Phase

MS = 1000
S = 1_000_000
LIMITS = SetLimits(
    setpoint_slew_ua_per_s=2000,
    rise_per_cycle_ua=2000,
    step_ua=1000,
    running_ms=60_000,
    policy=PolicyFlag.NONE,
    channels=(ChannelLimits(50_000, 48_000_000, 50_000, 10_000),),
)
PLAIN = ChannelProgram((Phase(1, 1000), Phase(1, -1000)), unit_us=200, pulse_period_us=10_000)


def playing(
    channel: ChannelProgram, target_ua: int, limits: SetLimits = LIMITS, step_ua: int = 500
) -> ChannelPlayer:
    player = ChannelPlayer(channel, limits, step_ua)
    player.begin(0)
    player.aim(target_ua)
    return player


def advance(
    player: ChannelPlayer, from_us: int, to_us: int, step_us: int = 10 * MS
) -> Train | None:
    train = player.train(from_us)
    for now_us in range(from_us + step_us, to_us + 1, step_us):
        player.advance(now_us)
        train = player.train(now_us)
    return train


def test_a_setpoint_rises_at_the_slew_and_is_played_in_whole_steps_below_it() -> None:
    player = playing(PLAIN, 5000)
    assert advance(player, 0, 240 * MS) is None
    assert player.setpoint_ua == 480
    assert advance(player, 240 * MS, 980 * MS) == Train(1500, 200, 10_000)
    assert player.setpoint_ua == 1960
    assert advance(player, 980 * MS, 4 * S) == Train(5000, 200, 10_000)
    assert player.setpoint_ua == 5000


def test_a_late_host_rises_less_and_never_catches_up() -> None:
    player = playing(PLAIN, 20_000)
    player.advance(5 * S)
    assert player.setpoint_ua == 200
    assert player.train(5 * S) is None


def test_a_lower_target_holds_at_once() -> None:
    player = playing(PLAIN, 5000)
    advance(player, 0, 4 * S)
    player.aim(1700)
    assert player.train(4 * S) == Train(1500, 200, 10_000)
    assert player.setpoint_ua == 1700


def test_unequal_phases_stay_on_the_grid_where_both_are_whole_steps() -> None:
    channel = replace(PLAIN, phases=(Phase(1, 1000), Phase(4, -250)))
    player = playing(channel, 5000)
    assert advance(player, 0, 4 * S) == Train(4000, 200, 10_000)


def test_slow_pulses_rise_by_no_more_than_a_step_each() -> None:
    channel = replace(PLAIN, pulse_period_us=2 * S)
    player = playing(channel, 20_000)
    advance(player, 0, 4 * S)
    assert player.setpoint_ua == 2000  # 1 mA in 2 s, though the slew allows 4


# A cycle: 1 s wait, 1 s up, 2 s on, 1 s down, 3 s off.
CYCLE = replace(PLAIN, cycle=Cycle(1000, 2000, 1000, 3000, offset_ms=1000))


def test_in_a_cycle_a_setpoint_rises_on_the_plateau_alone_and_so_much_at_most() -> None:
    player = playing(CYCLE, 20_000)
    advance(player, 0, 2 * S)
    assert player.setpoint_ua == 0
    advance(player, 2 * S, 4 * S - 10 * MS)
    assert player.setpoint_ua == 2000
    advance(player, 4 * S - 10 * MS, 9 * S)  # the next on-phase began at 8 s, its plateau now
    assert player.setpoint_ua == 2000
    advance(player, 9 * S, 11 * S - 10 * MS)
    assert player.setpoint_ua == 4000


def test_in_a_cycle_the_ramps_scale_and_the_rest_is_silent() -> None:
    player = playing(CYCLE, 20_000)
    advance(player, 0, 8 * S)
    assert player.setpoint_ua == 2000
    told = [
        (now_us // MS, train.amplitude_ua if train else 0, player.cycle_phase(now_us))
        for now_us in (7500 * MS, 8000 * MS, 8250 * MS, 8500 * MS, 8990 * MS, 10_500 * MS)
        for train in (player.train(now_us),)
    ]
    assert told == [
        (7500, 0, CyclePhase.OFF),
        (8000, 0, CyclePhase.RAMP_UP),
        (8250, 500, CyclePhase.RAMP_UP),
        (8500, 1000, CyclePhase.RAMP_UP),
        (8990, 1500, CyclePhase.RAMP_UP),
        (10_500, 2000, CyclePhase.PLATEAU),
    ]
    # Down: what holds 50 ms later is lower, and is played now.
    assert player.train(11_000 * MS) == Train(1500, 200, 10_000)
    assert player.train(11_460 * MS) == Train(500, 200, 10_000)
    assert player.train(11_440 * MS) == Train(1000, 200, 10_000)
    assert player.train(12_000 * MS) is None
    assert player.cycle_phase(500 * MS) is CyclePhase.WAITING


def test_a_burst_ends_between_its_last_pulse_and_the_one_that_must_not_come() -> None:
    channel = replace(PLAIN, pulses_per_burst=5, burst_period_us=500 * MS)
    player = playing(channel, 1000)
    advance(player, 0, 8 * S, 5 * MS)
    assert player.setpoint_ua == 1000
    began_us = 8 * S
    assert player.next_change_us(began_us) == began_us + 45 * MS
    assert player.train(began_us + 44 * MS) == Train(1000, 200, 10_000)
    assert player.train(began_us + 45 * MS) is None
    assert player.next_change_us(began_us + 45 * MS) == began_us + 500 * MS
    assert player.train(began_us + 500 * MS) == Train(1000, 200, 10_000)


def test_in_the_rest_between_bursts_nothing_rises() -> None:
    channel = replace(PLAIN, pulses_per_burst=5, burst_period_us=500 * MS)
    player = playing(channel, 10_000)
    advance(player, 0, 45 * MS, 5 * MS)
    risen_ua = player.setpoint_ua
    assert 70 <= risen_ua <= 90
    advance(player, 45 * MS, 495 * MS, 5 * MS)
    assert player.setpoint_ua == risen_ua


def test_keyframes_hold_from_their_time_on_and_begin_again() -> None:
    frames = (Keyframe(0, 1000, 200, 10_000), Keyframe(300, 500, 100, 20_000))
    channel = replace(PLAIN, keyframes=frames, keyframe_cycle_ms=1000)
    player = playing(channel, 2000)
    advance(player, 0, 4 * S)
    assert player.train(4 * S + 299 * MS) == Train(2000, 200, 10_000)
    assert player.train(4 * S + 300 * MS) == Train(1000, 100, 20_000)
    assert player.next_change_us(4 * S + 300 * MS) == 5 * S
    assert player.train(5 * S) == Train(2000, 200, 10_000)


def test_in_a_pause_of_a_modulation_nothing_rises() -> None:
    frames = (Keyframe(0, 1000, 200, 10_000), Keyframe(100, 0, 200, 10_000))
    channel = replace(PLAIN, keyframes=frames, keyframe_cycle_ms=1000)
    player = playing(channel, 10_000)
    advance(player, 0, 90 * MS)
    risen_ua = player.setpoint_ua
    advance(player, 100 * MS, 990 * MS)
    assert player.setpoint_ua == risen_ua == 180


def test_pulses_are_counted_from_what_was_played() -> None:
    player = playing(PLAIN, 1000)
    advance(player, 0, 250 * MS)
    assert player.pulse_count == 0
    advance(player, 250 * MS, 1250 * MS)
    assert player.pulse_count == 100


def test_nothing_aimed_at_has_no_next_change() -> None:
    player = playing(CYCLE, 0)
    assert player.next_change_us(0) is None
