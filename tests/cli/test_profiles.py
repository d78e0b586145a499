"""What `estim profiles` shows, against figures worked out by hand for one profile.

dpn-conventional: 80 Hz, 2 x 200 us, 40 mA on two channels, pads of 25 cm2, 1 mA/cm2 at most.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import PROFILE, Shell

ID = "dpn-conventional"
# At 40 mA: 80 pulses x 400 us = 32 ms of current a second.
AT_40_MA = {
    "amplitude_ua": (40_000, 40_000, "profile"),
    "sensory_amplitude_ua": (40_000, 80_000, "standard"),
    "phase_duration_us": (200, 1000, "standard"),
    "pulse_duration_us": (400, 10_000, "standard"),
    # 40 mA x 200 us = 8 uC; 20 uC + 28 uC/ms x 0.2 ms = 25.6 uC.
    "phase_charge_pc": (8_000_000, 25_600_000, "standard"),
    "net_charge_pc": (0, 0, "standard"),
    # (40 mA)^2 x 500 ohm x 400 us = 320 uJ.
    "pulse_energy_uj": (320, 300_000, "standard"),
    # 40 mA x sqrt(0.032) = 7.1554 mA, rounded up.
    "rms_ua": (7156, 50_000, "standard"),
    # 40 mA x 0.032.
    "average_ua": (1280, 10_000, "standard"),
    # 7155.4 uA / 25 cm2 = 286.2, rounded up.
    "current_density_ua_per_cm2": (287, 1000, "profile"),
    # (7.156 mA)^2 x 500 ohm / 25 cm2 = 1024.2 uW/cm2, rounded up.
    "power_density_uw_per_cm2": (1025, 250_000, "electrode"),
}


def test_the_list_names_every_shipped_profile_and_entry(estim: Shell) -> None:
    answer = estim("profiles", "list", "--json")
    shipped = sorted(path.stem for path in PROFILE.parent.glob("*.toml"))
    informing = sorted(path.stem for path in (PROFILE.parent / "entries").glob("*.toml"))
    assert (answer.code, answer.err) == (0, "")
    by_schema = {
        schema: [item["id"] for item in answer.objects if item["schema"] == schema]
        for schema in ("estim.profile-summary/1", "estim.library-entry-summary/1")
    }
    assert list(by_schema.values()) == [shipped, informing]
    words = estim("profiles", "list").out.splitlines()
    gap = words.index("")
    listed = [line.split()[0] for line in words[1:gap]]
    assert listed[0] == "dpn-conventional"
    assert sorted(listed) == shipped
    assert words[gap + 1] == "None of these profiles has been reviewed by a clinician."
    assert [line.split()[0] for line in words[gap + 5 :]] == informing


def test_the_list_is_searched_by_words_condition_and_mode(estim: Shell) -> None:
    def ids(*arguments: str) -> list[str]:
        return [item["id"] for item in estim("profiles", "list", "--json", *arguments).objects]

    assert ids("tibial") == ["tibial-nerve-bladder"]
    assert ids("hours", "DIABETIC") == ["dpn-tens-three-hours"]
    assert ids("--condition", "knee") == ["knee-osteoarthritis", "nmes-quadriceps"]
    assert ids("--mode", "burst", "--condition", "chronic pain") == ["tens-burst"]
    nothing = estim("profiles", "list", "no", "such", "thing")
    assert (nothing.code, nothing.out) == (0, "")
    assert nothing.err == "estim: nothing in the library matches\n"


def test_a_device_is_asked_and_what_it_lacks_is_told(estim: Shell) -> None:
    asked = ("profiles", "list", "--condition", "osteoarthritis", "--device")
    (one,) = estim(*asked, "sim:?channels=1&serial=A1", "--json").objects
    assert one["device"] == {
        "url": "sim:?channels=1&serial=A1",
        "model": "estim-virtual",
        "serial_number": "A1",
        "can_make": False,
        "missing": ["the programme needs 2 channels, the device has 1"],
        "ceilings_ua": [],
        "remarks": [],
    }
    words = estim("profiles", "list", "knee", "--condition", "osteoarthritis", "--device", "sim:")
    assert words.code == 0
    header, row = words.out.splitlines()[:2]
    assert header.split() == ["id", "mode", "session", "device", "title"]
    assert row.split()[:4] == ["knee-osteoarthritis", "conventional", "30:00", "yes"]
    told = estim("profiles", "list", "dpn", "--device", "sim:?channels=1").out
    reason = "the programme needs 2 channels, the device has 1: dpn-conventional, dpn-14hz, "
    assert " ".join(told.split()).count(reason) == 1
    assert told.count("needs 2 channels") == 1
    estim(*asked, "native:/dev/absent").assert_one_message(3)
    estim(*asked, "nonsense").assert_one_message(2)


def test_an_entry_is_shown_with_its_reason_and_never_run(estim: Shell, tmp_path: Path) -> None:
    shown = estim("profiles", "show", "h-wave")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0] == "H-Wave, diabetic peripheral neuropathy  (h-wave 1.0.0)"
    assert lines[1].startswith("*** EVIDENCE-ONLY: TO READ, NOT TO RUN. NOT REVIEWED BY A CLINICIA")
    assert lines[2].startswith("Cannot be run: Pulses of 4 ms")
    assert "83 % against 38 % improved; n = 31." in shown.out
    assert all(line.isprintable() for line in lines)
    (told,) = estim("profiles", "show", "h-wave", "--json").objects
    assert (told["schema"], told["kind"]) == ("estim.library-entry/1", "evidence-only")
    assert told["entry"]["dose"].startswith("30 minutes daily for 4 weeks")
    file = PROFILE.parent / "entries" / "h-wave.toml"
    for refused in (
        ("run", "h-wave", "--bench", "500", "--amplitude", "1=1"),
        ("run", file, "--bench", "500", "--amplitude", "1=1", "--clock", "virtual"),
        ("profiles", "check", "h-wave"),
        ("profiles", "check", file),
        ("profiles", "plot", "h-wave"),
        ("profiles", "show", "h-wave", "--area", "25"),
    ):
        answer = estim(*refused, *(("--records", tmp_path) if refused[0] == "run" else ()))
        answer.assert_one_message(4)
        assert "h-wave informs and cannot be run (evidence-only): Pulses of 4 ms" in answer.err
    assert not list(tmp_path.glob("*.jsonl"))
    assert estim("profiles", "show", file).out == shown.out


def test_show_draws_the_pads_and_names_precautions_and_neuropathy(estim: Shell) -> None:
    text = estim("profiles", "show", ID).out
    lines = [line.strip() for line in text.splitlines()]
    assert "neuropathy: peripheral; cause: diabetic" in lines
    picture = lines[lines.index("lower legs, back:") :]
    assert picture[6] == "|    1a     |  |     2a    |"
    assert "2b  right calf middle" in picture
    assert lines.index("Precautions:") < lines.index("Evidence")
    assert "Autonomic neuropathy" in lines[lines.index("Precautions:") + 1]
    (shown,) = estim("profiles", "show", ID, "--json").objects
    assert shown["neuropathy"] == {"kinds": ["peripheral"], "causes": ["diabetic"]}
    assert shown["chart"][6] == "|    1a     |  |     2a    |"


def test_show_gives_every_limit_with_figure_bound_owner_and_margin(estim: Shell) -> None:
    answer = estim("profiles", "show", ID, "--json")
    (shown,) = answer.objects
    assert (answer.code, answer.err) == (0, "")
    assert shown["schema"] == "estim.profile/1"
    assert shown["at_ceiling"]["amplitudes_ua"] == [40_000, 40_000]
    for channel in (1, 2):
        lines = {
            line["limit"]: (line["figure"], line["allowed"], line["owner"])
            for line in shown["at_ceiling"]["limits"]
            if line["channel"] == channel
        }
        assert lines == AT_40_MA
    margins = {line["limit"]: line["margin_permille"] for line in shown["at_ceiling"]["limits"]}
    # (25.6 - 8) / 25.6 = 0.6875.
    assert (margins["amplitude_ua"], margins["phase_charge_pc"]) == (0, 687)
    assert not any(line["is_exceeded"] for line in shown["at_ceiling"]["limits"])


WORST_SECOND = {
    "rms_ua",
    "average_ua",
    "current_density_ua_per_cm2",
    "power_density_uw_per_cm2",
}


@pytest.mark.parametrize(
    ("profile_id", "bounded"),
    [
        (ID, set()),
        ("tens-burst", set()),
        ("tens-amplitude-modulated", WORST_SECOND),
        ("nmes-quadriceps", WORST_SECOND),
    ],
)
def test_show_tells_upper_bounds_from_exact_figures(
    estim: Shell, profile_id: str, bounded: set[str]
) -> None:
    """What modulation and cycles leave of a second is bounded, never below what flows."""
    (shown,) = estim("profiles", "show", profile_id, "--json").objects
    told = {line["limit"] for line in shown["at_ceiling"]["limits"] if line["is_upper_bound"]}
    assert told == bounded
    rows = estim("profiles", "show", profile_id).out.splitlines()
    assert {row.split()[0] for row in rows if "  at most " in row} == {
        name.split("_")[0] for name in bounded
    }


def test_show_gives_the_programme_as_it_will_flow(estim: Shell) -> None:
    (shown,) = estim("profiles", "show", ID, "--json").objects
    left, right = shown["program"]
    assert left["phases"] == [
        {"duration_us": 200, "amplitude_permille": 1000},
        {"duration_us": 200, "amplitude_permille": -1000},
    ]
    assert (left["pulse_period_us"], left["pulse_rate_hz"]) == (12_500, 80.0)
    assert (left["burst"], left["cycle"], left["keyframes"]) == (None, None, [])
    # Two channels share a period of 12.5 ms: the second starts half of it later.
    assert (left["pulse_offset_us"], right["pulse_offset_us"]) == (0, 6250)
    assert shown["parameters"]["stimulus"]["pulse_rate_hz"] == 80
    assert shown["ceilings"][0]["ceiling_ua"] == 40_000
    assert [item["owner"] for item in shown["ceilings"][0]["binding"]] == ["profile"]


def test_show_at_an_amplitude_below_the_ceiling(estim: Shell) -> None:
    answer = estim("profiles", "show", ID, "--json", "--amplitude", "2=12.5")
    (shown,) = answer.objects
    assert answer.code == 0
    assert shown["at_amplitude"]["amplitudes_ua"] == [0, 12_500]
    charges = {
        line["channel"]: line["figure"]
        for line in shown["at_amplitude"]["limits"]
        if line["limit"] == "phase_charge_pc"
    }
    assert charges == {1: 0, 2: 2_500_000}  # 12.5 mA x 200 us


def test_an_amplitude_above_the_ceiling_is_shown_and_refused(estim: Shell) -> None:
    answer = estim("profiles", "show", ID, "--json", "--amplitude", "1=40.1")
    assert answer.code == 4
    assert (
        answer.err == "estim: channel 1: amplitude: 40.1 mA asked, 40 mA allowed by the profile\n"
    )
    (shown,) = answer.objects
    exceeded = [line["limit"] for line in shown["at_amplitude"]["limits"] if line["is_exceeded"]]
    assert exceeded == ["amplitude_ua"]


def test_an_amplitude_off_the_grid_is_refused_everywhere_in_the_same_words(
    estim: Shell, tmp_path: Path
) -> None:
    """250 permille in the second phase, in steps of 0.1 mA: amplitudes exist every 0.4 mA."""
    text = PROFILE.read_text()
    before = text.index("[stimulus.pulse]")
    after = text.index("[", before + 1)
    path = tmp_path / "uneven.toml"
    path.write_text(
        f"{text[:before]}[stimulus.pulse]\n"
        'waveform = "asymmetric-biphasic"\nphase_duration_us = 200\n'
        "second_phase_duration_us = 800\nsecond_phase_amplitude_permille = 250\n\n"
        f"{text[after:]}"
    )
    given = (path, "--amplitude", "1=6.3", "--amplitude", "2=41.2")
    errors = {
        estim(*command, *given, *rest).err
        for command, rest in (
            (("run",), ("--bench", "500", "--clock", "virtual")),
            (("profiles", "show"), ()),
            (("profiles", "plot"), ()),
            (("profiles", "export"), ("--csv", "-", "--duration", "0.001")),
        )
    }
    assert errors == {
        "estim: channel 1: 6.3 mA asked, the device delivers steps of 0.4 mA; "
        "channel 2: amplitude: 41.2 mA asked, 40 mA allowed by the profile\n"
    }
    assert estim("profiles", "show", *given).code == 4


def test_a_larger_electrode_lowers_the_density_and_a_smaller_one_is_refused(estim: Shell) -> None:
    (shown,) = estim("profiles", "show", ID, "--json", "--area", "50").objects
    figures = {line["limit"]: line["figure"] for line in shown["at_ceiling"]["limits"]}
    assert figures["current_density_ua_per_cm2"] == 144  # 7155.4 / 50 = 143.1, rounded up
    assert shown["electrode_area_mm2"] == 5000
    refused = estim("profiles", "show", ID, "--json", "--area", "24.9")
    refused.assert_one_message(2)
    assert "expected 25 to 400 cm2 for dpn-conventional" in refused.err


def test_people_are_told_review_status_placement_dose_and_evidence(estim: Shell) -> None:
    answer = estim("profiles", "show", ID)
    assert answer.code == 0
    head = answer.out.splitlines()[:2]
    assert head[0] == "Diabetic peripheral neuropathy, conventional  (dpn-conventional 1.0.1)"
    assert head[1].startswith("*** NOT REVIEWED BY A CLINICIAN.")
    text = " ".join(answer.out.split())
    for words in (
        "Channel 1, left leg: Two pads on the left calf",
        "setpoint slew 1 mA/s",
        "1 left leg 40 mA amplitude (profile)",
        "phase charge 8 uC 25.6 uC 68.7% standard K? 1 2",
        "30 to 60 minutes daily.",
        "(meta-analysis) [S]",
        "Caveat: ",
        "Contraindications: - Pacemaker",
    ):
        assert words in text
    assert max(map(len, answer.out.splitlines())) <= 100


def test_a_site_policy_binds_and_a_damaged_one_is_never_ignored(estim: Shell, home: Path) -> None:
    folder = home / "config" / "estim"
    folder.mkdir(parents=True)
    (folder / "site.toml").write_text("amplitude_ceiling_ua = 20000\n")
    (shown,) = estim("profiles", "show", ID, "--json").objects
    assert shown["ceilings"][0]["ceiling_ua"] == 20_000
    assert [item["owner"] for item in shown["ceilings"][0]["binding"]] == ["site"]
    (folder / "site.toml").write_text("amplitude_ceiling_ma = 20\n")
    estim("profiles", "show", ID, "--json").assert_one_message(2)


def test_what_the_certainties_mean_fits_a_terminal_of_80_columns(estim: Shell) -> None:
    lines = estim("profiles", "show", ID).out.splitlines()
    first = next(n for n, line in enumerate(lines) if line.strip().startswith("Certainty: S"))
    assert lines[first + 1].strip().endswith("a proposal of this project.")
    assert max(map(len, lines[first : first + 2])) <= 80


def test_a_plot_fits_its_width_and_shows_pulse_and_train(estim: Shell) -> None:
    for width in (40, 80, 133):
        answer = estim("profiles", "plot", ID, "--width", str(width))
        assert answer.code == 0
        pictures = [line for line in answer.out.splitlines() if "│" in line or "└" in line]
        assert max(map(len, pictures)) == width
    assert "one pulse, 400 us" in answer.out
    assert "train, 8 pulses" in answer.out
    assert " 40 │" in answer.out
    assert "-40 │" in answer.out
    assert "continuous" in answer.out


@pytest.mark.parametrize("words", ["list", "show", "plot"])
def test_nothing_printed_holds_a_control_character(estim: Shell, words: str) -> None:
    arguments = [words] if words == "list" else [words, ID]
    answer = estim("profiles", *arguments)
    assert all(line.isprintable() for line in answer.out.splitlines())
