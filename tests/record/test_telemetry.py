"""Telemetry keeps every change that matters and one honest summary a second."""

from __future__ import annotations

from estim.record.telemetry import CHANGED, SECOND, Reading, Telemetry

STILL = Reading(channel=1, target_ua=0, setpoint_ua=0, peak_ua=0, load_ohm=None, contact="unknown")


def test_what_does_not_change_is_kept_once() -> None:
    telemetry = Telemetry()
    ready = []
    for now_us in range(0, 900_000, 25_000):
        ready += telemetry.add(now_us, [STILL])
    assert [kind for kind, _ in ready] == [CHANGED]
    assert ready[0][1] == {
        "changes": [
            {
                "at_us": 0,
                "channel": 1,
                "target_ua": 0,
                "setpoint_ua": 0,
                "peak_ua": 0,
                "load_ohm": None,
                "contact": "unknown",
            }
        ]
    }


def test_a_group_closes_100_ms_after_its_first_change_and_not_before() -> None:
    telemetry = Telemetry()
    assert telemetry.add(5, [STILL]) == []
    assert telemetry.add(60_000, [STILL._replace(target_ua=1000)]) == []
    assert telemetry.due(100_004) == []
    [(kind, content)] = telemetry.due(100_005)
    assert kind == CHANGED
    assert [change["at_us"] for change in content["changes"]] == [5, 60_000]
    assert telemetry.due(900_000) == []


def test_each_change_of_target_or_contact_is_kept_within_a_group() -> None:
    """A channel that came on and went off within 100 ms was on."""
    telemetry = Telemetry()
    for now_us, target_ua, contact in (
        (0, 0, "good"),
        (25_000, 1000, "good"),
        (50_000, 0, "good"),
        (75_000, 0, "off"),
    ):
        telemetry.add(now_us, [STILL._replace(target_ua=target_ua, contact=contact)])
    [(_, content)] = telemetry.due(100_000)
    kept = [(change["target_ua"], change["contact"]) for change in content["changes"]]
    assert kept == [(0, "good"), (1000, "good"), (0, "good"), (0, "off")]


def test_of_a_ramp_a_group_keeps_the_newest_of_each_channel() -> None:
    telemetry = Telemetry()
    for step in range(4):
        readings = [
            STILL._replace(channel=channel, target_ua=2000, setpoint_ua=step * 50 * channel)
            for channel in (1, 2)
        ]
        telemetry.add(step * 25_000, readings)
    [(_, content)] = telemetry.due(100_000)
    kept = [(change["channel"], change["setpoint_ua"]) for change in content["changes"]]
    assert kept == [(1, 150), (2, 300)]


def test_noise_within_the_band_is_no_change_and_drift_out_of_it_is() -> None:
    """200 uA of peak; a sixteenth of 1600 ohm is 100 ohm."""
    telemetry = Telemetry()
    base = STILL._replace(peak_ua=5000, load_ohm=1600)
    telemetry.add(0, [base])
    telemetry.due(100_000)
    for now_us, peak_ua, load_ohm in ((200_000, 5200, 1700), (225_000, 4800, 1500)):
        telemetry.add(now_us, [base._replace(peak_ua=peak_ua, load_ohm=load_ohm)])
    assert telemetry.due(400_000) == []
    telemetry.add(500_000, [base._replace(peak_ua=5201)])
    [(_, content)] = telemetry.due(600_000)
    assert content["changes"][0]["peak_ua"] == 5201
    telemetry.add(700_000, [base._replace(peak_ua=5201, load_ohm=1701)])
    [(_, content)] = telemetry.due(800_000)
    assert content["changes"][0]["load_ohm"] == 1701


def test_slow_drift_is_measured_from_what_was_kept() -> None:
    telemetry = Telemetry()
    ready = []
    for step in range(10):  # 50 uA every 25 ms: each step is small, the fifth is over 200 from 0
        ready += telemetry.add(step * 25_000, [STILL._replace(peak_ua=50 * step)])
    ready += telemetry.finish(250_000)
    kept = [
        change["peak_ua"]
        for kind, content in ready
        if kind == CHANGED
        for change in content["changes"]
    ]
    assert kept == [0, 250]


def test_a_value_that_appears_or_vanishes_is_a_change() -> None:
    telemetry = Telemetry()
    telemetry.add(0, [STILL])
    telemetry.due(100_000)
    telemetry.add(200_000, [STILL._replace(load_ohm=500)])
    assert len(telemetry.due(300_000)) == 1
    telemetry.add(400_000, [STILL])
    assert len(telemetry.due(500_000)) == 1


def test_a_second_has_its_minimum_floored_mean_and_maximum() -> None:
    """Peaks 1000, 1001, 4000 uA: mean 2000.33. Loads 500 and 501: mean 500.5. Both floored."""
    telemetry = Telemetry()
    for now_us, peak_ua, load_ohm in ((7, 1000, 500), (300_000, 1001, None), (600_000, 4000, 501)):
        telemetry.add(
            now_us,
            [STILL._replace(target_ua=4000, setpoint_ua=4000, peak_ua=peak_ua, load_ohm=load_ohm)],
        )
    assert [kind for kind, _ in telemetry.due(1_000_006)] == [CHANGED]
    [(kind, content)] = telemetry.due(1_000_007)
    assert kind == SECOND
    assert content == {
        "from_us": 7,
        "to_us": 1_000_007,
        "channels": [
            {
                "channel": 1,
                "count": 3,
                "target_min_ua": 4000,
                "target_mean_ua": 4000,
                "target_max_ua": 4000,
                "setpoint_min_ua": 4000,
                "setpoint_mean_ua": 4000,
                "setpoint_max_ua": 4000,
                "peak_min_ua": 1000,
                "peak_mean_ua": 2000,
                "peak_max_ua": 4000,
                "load_min_ohm": 500,
                "load_mean_ohm": 500,
                "load_max_ohm": 501,
            }
        ],
    }


def test_a_mean_of_negative_readings_is_floored_too() -> None:
    """-1 and -2: mean -1.5, floored -2."""
    telemetry = Telemetry()
    for now_us, peak_ua in ((0, -1), (1, -2)):
        telemetry.add(now_us, [STILL._replace(peak_ua=peak_ua)])
    [_, (_, content)] = telemetry.finish(2)
    assert content["channels"][0]["peak_mean_ua"] == -2


def test_channels_are_summed_up_apart_and_what_is_not_measured_left_out() -> None:
    telemetry = Telemetry()
    two = STILL._replace(channel=2, target_ua=9000, setpoint_ua=None, peak_ua=None)
    telemetry.add(0, [two, STILL])
    [_, (_, content)] = telemetry.finish(500_000)
    assert content["to_us"] == 500_000
    one, other = content["channels"]
    assert (one["channel"], one["target_max_ua"], one["peak_max_ua"]) == (1, 0, 0)
    assert other == {
        "channel": 2,
        "count": 1,
        "target_min_ua": 9000,
        "target_mean_ua": 9000,
        "target_max_ua": 9000,
    }


def test_finish_leaves_nothing_behind() -> None:
    telemetry = Telemetry()
    telemetry.add(0, [STILL])
    assert len(telemetry.finish(10)) == 2
    assert telemetry.finish(5_000_000) == []


def test_a_silence_gives_no_summaries_of_nothing() -> None:
    telemetry = Telemetry()
    telemetry.add(0, [STILL])
    assert [kind for kind, _ in telemetry.due(10_000_000)] == [CHANGED, SECOND]
    assert telemetry.due(20_000_000) == []
    telemetry.add(20_000_000, [STILL])
    [(_, content)] = telemetry.due(21_000_000)
    assert content["from_us"] == 20_000_000
