"""The rise and the shape of a whole session, against times worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from estim import api
from estim.profile.library import find
from estim.waveform.compile import compile_profile
from estim.waveform.envelope import Pace, SessionEnvelope, session_envelope


def envelope(
    profile_id: str, target_ma: float, pace: Pace, duration_s: int, columns: int
) -> SessionEnvelope:
    program = compile_profile(find(profile_id).profile)
    targets_ua = (round(target_ma * 1000), *[0] * (len(program.channels) - 1))
    return session_envelope(program, targets_ua, 100, pace, duration_s, columns)


@pytest.mark.parametrize(
    ("profile_id", "target_ma", "pace", "rise_s", "within_s"),
    [
        # 12 mA at 1 mA/s, and 1 s at 2 mA until contact is proven.
        ("dpn-conventional", 12, Pace(1000, 2000, 500), 13, 0.05),
        # Below the contact amplitude nothing is waited for: 1.5 mA at 0.5 mA/s.
        ("dpn-conventional", 1.5, Pace(500, 2000, 500), 3, 0.05),
        # 2 mA in each plateau, which begin at 0, 66 and 132 s; the last 1 mA takes 0.5 s.
        ("nmes-quadriceps", 5, Pace(2000, 2000, 1000), 132.5, 0.05),
        # 4 Hz, 0.5 mA a pulse at most: 2 mA with the fifth pulse at 1 s, five good ones until 2 s,
        # then eight more steps of 0.5 mA.
        ("tens-low-rate", 6, Pace(2000, 2000, 500), 4, 0.001),
    ],
)  # fmt: skip
def test_the_rise_takes_as_long_as_a_device_takes(
    profile_id: str, target_ma: float, pace: Pace, rise_s: float, within_s: float
) -> None:
    whole = envelope(profile_id, target_ma, pace, 60, 100)
    assert whole.rise_us == pytest.approx(rise_s * 1e6, abs=within_s * 1e6)
    assert whole.plateau_us == 60_000_000
    assert whole.total_us == whole.rise_us + 62_000_000


@pytest.mark.parametrize(
    ("profile_id", "targets_ua"),
    [
        ("dpn-conventional", (5000, 3000)),
        ("tens-low-rate", (4000,)),
        # Only the strongest of the modulated pulses prove contact, or those above the hold.
        pytest.param("tens-strength-duration", (5000, 0), marks=pytest.mark.long),
        pytest.param("tens-amplitude-modulated", (5000,), marks=pytest.mark.long),
        pytest.param("nmes-alternating", (3000, 3000), marks=pytest.mark.long),
        pytest.param("russian-quadriceps", (3000,), marks=pytest.mark.long),
    ],
)
def test_the_rise_drawn_is_the_rise_delivered(
    profile_id: str, targets_ua: tuple[int, ...], tmp_path: Path
) -> None:
    loaded = find(profile_id)
    count = len(loaded.profile.channels)
    targets_ua = (*targets_ua, *[0] * (count - len(targets_ua)))
    with api.open("sim:?load=500", bench_ohm=500, is_virtual=True, records=tmp_path) as stimulator:
        prepared = stimulator.prepare(loaded, duration_s=1)
        stimulator.arm()
        stimulator.start()
        stimulator.set_targets_ua(targets_ua)
        delivered = stimulator.wait_until_finished(lambda: "")
    rise = loaded.profile.rise
    pace = Pace(rise.setpoint_slew_ua_per_s, rise.rise_per_cycle_ua, rise.step_ua)
    drawn = session_envelope(prepared.program, targets_ua, 100, pace, 1, 100)
    assert drawn.rise_us / 1e6 == pytest.approx(delivered.rise_ms / 1e3, abs=0.5)


def test_a_continuous_session_rises_stays_and_falls() -> None:
    """13 s up, 60 s of plateau, 2 s down: columns of 0.25 s."""
    whole = envelope("dpn-conventional", 12, Pace(1000, 2000, 500), 60, 300)
    first, second = whole.channels
    assert not second.high_ua.any()
    assert first.high_ua[8:12].tolist() == [2000] * 4
    # After 1 s at 2 mA it is one second behind: 4 mA at 5 s.
    assert first.high_ua[20] == pytest.approx(4200, abs=100)
    assert set(first.high_ua[53:291].tolist()) == set(first.low_ua[53:291].tolist()) == {12_000}
    assert first.high_ua[296] == pytest.approx(6000, abs=200)
    assert (first.high_ua[299], first.low_ua[299]) < (1600, 200)


AT_ONCE = Pace(200_000, 100_000, 1000)


def test_off_times_are_empty_and_plateaus_are_full() -> None:
    """Cycles of 66 s, 3 up, 15 on, 3 down, 45 off, in columns of about a second."""
    whole = envelope("nmes-quadriceps", 100, AT_ONCE, 132, 132)
    (channel,) = whole.channels
    column_s = whole.total_us / 1e6 / 132
    # 1 s at 2 mA after the first ramp, then 98 mA at once.
    assert whole.rise_us == pytest.approx(1.5e6, abs=50_000)
    # Time begins with the first plateau: the second ramp from 63 to 66 s.
    on = slice(int(66 / column_s) + 1, int(81 / column_s))
    off = slice(int(84 / column_s) + 1, int(129 / column_s))
    assert (
        channel.high_ua[on].tolist()
        == channel.low_ua[on].tolist()
        == [100_000] * len(range(132)[on])
    )
    assert channel.high_ua[off].tolist() == [0] * len(range(132)[off])


def test_columns_longer_than_a_cycle_keep_its_lowest_and_highest() -> None:
    whole = envelope("nmes-quadriceps", 100, AT_ONCE, 660, 9)
    (channel,) = whole.channels
    assert channel.high_ua[1:8].tolist() == [100_000] * 7
    assert channel.low_ua[1:8].tolist() == [0] * 7
