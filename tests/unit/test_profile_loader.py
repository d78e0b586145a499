"""A profile that is not right is refused in one sentence that names file, line and key."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estim.errors import ProfileError
from estim.profile.loader import load, loads
from tests.unit.profile_text import COMPLETE

NAME = "spoilt.toml"
LINES = COMPLETE.splitlines()
KEY = re.compile(r"(\w+) = (.*)")
OPTIONAL = {
    "bench_only_reason",
    "allow_overlap",
    "interphase_gap_us",
    "cycle_offset_s",
    "amplitude_permille",
    "phase_charge_uc",
    "rms_ma",
    "average_ma",
    "current_density_ma_per_cm2",
    "rise_per_cycle_ma",
}
"""Keys that have a default. Points of a modulation may leave out rate and duration too."""

BAD_NUMBERS = [
    "nan", "inf", "-inf", "-1", "-0.5", "1e400", "-1e400", "1e999999999999999999", "99999999999",
    "1_000_000", "0.00001", "1e-400", "true", '"12"', "[1]", "{ a = 1 }", "1979-05-27", "07:32:00",
]  # fmt: skip
BAD_TEXTS = [
    "5", "1.5", "true", "nan", "[]", "{ a = 1 }", '""', '"   "', "1979-05-27",
    r'"\u001b[31mred"', r'"20\u202e02"', r'"a\nb"', r'"a\u0000"', r'"\u009b2J"', r'"\u2028"',
    '"' + "x" * 1001 + '"',
]  # fmt: skip
BAD_FLAGS = ["0", "1", "1.0", '"true"', "[]", "nan"]


def refusal(text: str | bytes) -> str:
    """Return the message of the refusal; anything but one ProfileError fails the test."""
    with pytest.raises(ProfileError) as caught:
        loads(text, NAME)
    message = str(caught.value)
    assert message.startswith(NAME)
    assert message.isprintable(), "one line, nothing that moves the cursor"
    assert "Traceback" not in message
    assert "pydantic" not in message
    return message


def keyed_lines() -> list[tuple[int, str, str]]:
    """Return index, key and value of every line that holds a key."""
    found = []
    for index, line in enumerate(LINES):
        match = KEY.fullmatch(line)
        if match:
            found.append((index, match.group(1), match.group(2)))
    return found


def spoil(index: int, line: str) -> str:
    return "\n".join([*LINES[:index], line, *LINES[index + 1 :]])


def bad_values() -> list[tuple[int, str, str]]:
    cases = []
    for index, key, value in keyed_lines():
        if value in ("true", "false"):
            bad = BAD_FLAGS
        elif value.startswith('"'):
            bad = BAD_TEXTS
        elif value.startswith("["):
            bad = ["5", '"text"', "[]", "[5]", "true", "{ a = 1 }", r'["\u001b"]', '[""]']
        else:
            bad = BAD_NUMBERS
        cases += [(index, key, value) for value in bad]
    return cases


def test_the_complete_profile_is_read_exactly() -> None:
    loaded = loads(COMPLETE, NAME)
    profile = loaded.profile
    assert loaded.sha256 == hashlib.sha256(COMPLETE.encode()).hexdigest()
    assert loaded.path == NAME
    assert profile.channels[0].amplitude_ceiling_ua == 20_500
    assert profile.rise.step_ua == 300
    assert profile.rise.setpoint_slew_ua_per_s == 1500
    assert profile.rise.rise_per_cycle_ua == 1100
    assert profile.ceilings.phase_charge_pc == 20_500_000
    assert profile.ceilings.rms_ua == 30_000
    assert profile.ceilings.average_ua == 5500
    assert profile.ceilings.current_density_ua_per_cm2 == 1500
    assert profile.electrode.recommended_area_cm2 == Decimal("25.5")
    assert profile.impaired_amplitude_ceiling_ua(profile.channels[0]) == 10_250


def test_json_has_plain_numbers_under_the_keys_of_the_file() -> None:
    shown = loads(COMPLETE, NAME).profile.model_dump(mode="json", by_alias=True)
    assert shown["schema"] == 1
    assert shown["stimulus"]["pulse_rate_hz"] == 100
    assert shown["stimulus"]["burst"]["burst_rate_hz"] == 2.5
    assert type(shown["stimulus"]["pulse_rate_hz"]) is int
    assert shown["channels"][0]["amplitude_ceiling_ma"] == 20.5


@pytest.mark.hazard(19, 20)
@pytest.mark.parametrize(("index", "key", "value"), bad_values())
def test_a_bad_value_is_refused_with_file_line_and_key(index: int, key: str, value: str) -> None:
    message = refusal(spoil(index, f"{key} = {value}"))
    assert f"line {index + 1}:" in message
    assert key in message
    assert "expected" in message


@pytest.mark.hazard(20)
@pytest.mark.parametrize(("index", "key", "value"), keyed_lines())
def test_a_key_given_twice_is_named(index: int, key: str, value: str) -> None:
    message = refusal(spoil(index, f"{LINES[index]}\n{LINES[index]}"))
    assert f"line {index + 2}:" in message
    assert re.search(rf"\b{key}: given twice", message)


AS_ONE_TABLE = "channels: given as [channels]; expected [[channels]]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[channels]\n[channels]\n", f"line 2: {AS_ONE_TABLE}"),
        ("[channels]\n[[channels]]\n", f"line 2: {AS_ONE_TABLE}"),
        (
            COMPLETE.replace("[[channels]]", "[channels]"),
            "channels: a table; expected [[channels]]",
        ),
        (
            COMPLETE.replace('waveform = "asymmetric-biphasic"', "waveform = 3"),
            "stimulus.pulse.waveform: 3; expected 'symmetric-biphasic' or",
        ),
    ],
)
def test_what_was_written_is_told_as_it_was_written(text: str, said: str) -> None:
    assert said in refusal(text)


@pytest.mark.parametrize(("index", "key", "value"), keyed_lines())
def test_a_misspelt_key_is_answered_with_the_right_one(index: int, key: str, value: str) -> None:
    message = refusal(spoil(index, f"{key}x = {value}"))
    assert f"line {index + 1}:" in message
    assert f"{key}x: unknown key; did you mean '{key}'?" in message


@pytest.mark.parametrize(("index", "key", "value"), keyed_lines())
def test_a_missing_key_is_named_with_what_it_should_hold(index: int, key: str, value: str) -> None:
    text = "\n".join([*LINES[:index], *LINES[index + 1 :]])
    in_point = LINES[index - 1].startswith("at_s") or LINES[index - 2].startswith("at_s")
    if key in OPTIONAL or (in_point and key != "at_s"):
        loads(text, NAME)
        return
    message = refusal(text)
    assert re.search(rf"\b{key}: missing; expected .", message)


@pytest.mark.parametrize(
    "header", [line for line in LINES if line.startswith("[") and line != "[stimulus]"]
)
def test_a_misspelt_table_is_refused_by_name(header: str) -> None:
    name = header.strip("[]")
    message = refusal(COMPLETE.replace(header, header.replace(name, name + "z"), 1))
    assert name + "z" in message
    assert f"did you mean '{name.rsplit('.', 1)[-1]}'?" in message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("at_s = 0\n", "at_s = 0.5\n", "points[1].at_s: 0.500; expected 0 s"),
        ("at_s = 3", "at_s = 0", "points[2].at_s: 0.000; expected a time after 0.000 s"),
        ("cycle_s = 6", "cycle_s = 3", "modulation.cycle_s: 3.000; expected a cycle that outlasts"),
        ("hold_s = 0.5\n", "", "modulation.hold_s: missing"),
        ("hold_s = 0.5", "hold_s = 0.7", "modulation.hold_s: 0.700; expected a length of which"),
        ("hold_s = 0.5", "hold_s = 0.1", "at most 32 holds"),
        ('change = "linear"', 'change = "hold"',
         "modulation.hold_s: given; expected with change = 'linear' or 'strength-duration' or "
         "'random' or 'beat' only"),
        ("_permille = 1000", "_permille = 999", "points: expected amplitude_permille 1000 at one"),
        ("_cm2 = 16", "_cm2 = 26", "electrode.minimum_area_cm2: 26.0; expected at most"),
        ("duration_s = 1800", "duration_s = 3601", "session.duration_s: 3601; expected at most"),
        ("exposure_s = 600", "exposure_s = 3601", "session.first_exposure_s: 3601; expected at"),
        ("amplitude_ceiling_ma = 20.5", "amplitude_ceiling_ma = 80.1", "expected at most 80 mA"),
        ("_permille = 500\nphase_c", "_permille = 501\nphase_c", "expected at most 500, unless"),
        ('bench_only_reason = "made for tests"\nallow_overlap = false', "allow_overlap = true",
         "allow_overlap: true; expected false unless bench_only_reason"),
        ('bench_only_reason = "made for tests"\n', "", None),
        ('mode = "conventional"', 'mode = "russian"',
         "stimulus.pulse.waveform: 'asymmetric-biphasic'; expected 'stepped-sine' in mode "
         "'russian'"),
        ('mode = "conventional"', 'mode = "microcurrent"', None),
        ('"complete"', '"../complete"', "id: '../complete'; expected 1 to 64 characters"),
        ('"complete"', '"Complete"', "id: 'Complete'"),
        ('"complete"', '"' + "a" * 65 + '"', "id: 'aaaa"),
        ('"1.2.3"', '"1.2"', "version: '1.2'; expected a version such as"),
        ("step_ma = 0.3", "step_ma = 0.35", "rise.step_ma: 0.35; expected a number of mA from"),
        ("step_ma = 0.3", "step_ma = 0.30", None),
        ("schema = 1", "schema = 2", "schema: 2; expected 1"),
        ("schema = 1", "schema = true", "schema: true; expected 1"),
        ('waveform = "asymmetric-biphasic"', 'waveform = "monophasic"',
         "stimulus.pulse.waveform: 'monophasic' is refused: pulses of one direction: it leaves "
         "a net charge under the electrodes, which burns the skin; every pulse here must balance "
         "to zero"),
        ('waveform = "asymmetric-biphasic"', 'waveform = "triphasic"',
         "stimulus.pulse.waveform: 'triphasic'; expected 'symmetric-biphasic' or"),
        ('waveform = "asymmetric-biphasic"', 'waveform = "symmetric-biphasic"',
         "stimulus.pulse.second_phase_duration_us: given; expected with waveform = "
         "'asymmetric-biphasic' only"),
        ('indications = ["chronic-pain"]', 'indications = ["Chronic pain"]', "indications[1]: "),
    ],
)  # fmt: skip
def test_keys_that_do_not_go_together(old: str, new: str, said: str | None) -> None:
    """None: this change alone is fine."""
    assert COMPLETE.count(old) >= 1
    text = COMPLETE.replace(old, new, 1)
    if said is None:
        loads(text, NAME)
        return
    assert said in refusal(text)


def test_what_only_a_bench_may_have_needs_its_reason() -> None:
    for_person = COMPLETE.replace('bench_only_reason = "made for tests"\n', "")
    loads(for_person, NAME)
    steep = for_person.replace("ramp_up_s = 1.5", "ramp_up_s = 0.499")
    assert "cycle.ramp_up_s: 0.499; expected at least 0.5 s on a person" in refusal(steep)
    loads(for_person.replace("ramp_up_s = 1.5", "ramp_up_s = 0.5"), NAME)
    current = for_person.replace('"conventional"', '"microcurrent"')
    assert (
        "bench_only_reason: missing; expected the reason why mode 'microcurrent' with waveform "
        "'asymmetric-biphasic' is not for a person"
    ) in refusal(current)


def test_impaired_sensation_keeps_more_than_half_only_where_all_is_halved_already() -> None:
    kept = COMPLETE.replace(
        "impaired_sensation_permille = 500", "impaired_sensation_permille = 1000"
    )
    assert "expected at most 500" in refusal(kept)  # 1.5 mA/cm2
    low = kept.replace("_per_cm2 = 1.5", "_per_cm2 = 1")
    loads(low.replace("amplitude_ceiling_ma = 20.5", "amplitude_ceiling_ma = 40"), NAME)
    high = low.replace("amplitude_ceiling_ma = 20.5", "amplitude_ceiling_ma = 40.1")
    assert "at most 40 mA" in refusal(high)  # half of 80


def test_a_channel_may_not_shift_a_cycle_that_it_has_not() -> None:
    start, end = COMPLETE.index("[stimulus.cycle]"), COMPLETE.index("[stimulus.modulation]")
    message = refusal(COMPLETE[:start] + COMPLETE[end:])
    assert "channels[1].cycle_offset_s: 0.500; expected 0: there is no cycle" in message


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"", "schema: missing"),
        (b"# nothing\n", "schema: missing"),
        (b"\xff\xfe", "line 1: not UTF-8"),
        (COMPLETE.encode("utf-16"), "not UTF-8"),
        (COMPLETE.replace("daily", "täglich").encode("latin-1"), "not UTF-8"),
        (b"a = 1\n\xc3", "line 2: not UTF-8"),
        (b"\x00" * 100, "not valid TOML"),
        (b"\xef\xbb\xbf" + COMPLETE.encode(), "line 1: not valid TOML"),
        (b'{"schema": 1}', "line 1: not valid TOML"),
        (b"schema 1", "line 1: not valid TOML"),
        (b"schema = 1\n[stimulus\n", "line 2: not valid TOML"),
        (b'id = "open', "not valid TOML"),
        (b"schema = 1,5", "line 1: not valid TOML"),
        (b"schema = 1979-13-45", "not valid TOML"),
        (b"schema = " + b"9" * 4050, "line 1: schema: 9999"),
        (b"schema = " + b"9" * 5000, "line 1: more than 4096 characters in a line"),
        (b"schema = 1e" + b"9" * 4000, "line 1: schema: Infinity; expected 1"),
        (b"schema = " + b"[" * 4000, "nested more than 8 deep"),
        (b"schema = " + b"[\n" * 30_000, "nested more than 8 deep"),
        (b"schema = " + b"[\n" * 9000 + b"]" * 4000, "nested more than 8 deep"),
        (b"schema = " + b"{a=" * 1000 + b"1" + b"}" * 1000, "nested more than 8 deep"),
        (b"schema = " + b"[" * 8 + b"]" * 8, "nested more than 8 deep"),
        (b"a" + b".a" * 2000 + b" = 1", "nested more than 8 deep"),
        (b"[a" + b".a" * 2000 + b"]\nb = 1", "nested more than 8 deep"),
        (b"a" + b".a" * 20_000 + b" = 1", "line 1: more than 4096 characters in a line"),
        (b'"\\u001b[2J" = 1', "U+001B, a control or invisible character"),
        (b'"\\u202e" = 1', "U+202E"),
        (b"#\n" * (32 * 1024) + b"#", "more than 64 KiB"),
        (b"schema = 1\n[rise]\n[rise]\n", "line 3: rise: given twice; expected once"),
        (b"schema = 1\nschema.x = 1\n", "line 2"),
    ],
)
def test_what_is_not_toml_at_all(source: bytes, said: str) -> None:
    assert said in refusal(source)


def test_a_stricter_interpreter_still_answers_in_one_sentence() -> None:
    """Python's own limit on digits may be set lower than a line is long."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert "a number with too many digits" in refusal(b"schema = " + b"9" * 700)
    finally:
        sys.set_int_max_str_digits(before)


def test_64_kib_exactly_is_still_read() -> None:
    body = COMPLETE.encode()
    padded = body + b"\n" * (64 * 1024 - len(body))
    assert loads(padded, NAME).profile.id == "complete"
    assert "more than 64 KiB" in refusal(padded + b"#")


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_but_a_profile_error(source: bytes) -> None:
    refusal(source)


@pytest.mark.hazard(19)
@settings(max_examples=150)
@given(st.integers(0, len(COMPLETE) - 1), st.binary(min_size=0, max_size=3))
def test_no_spoilt_byte_raises_anything_but_a_profile_error(place: int, inserted: bytes) -> None:
    """Whatever is read all the same was read whole: an id, a ceiling and a pulse."""
    body = COMPLETE.encode()
    spoilt = body[:place] + inserted + body[place + 1 :]
    try:
        profile = loads(spoilt, NAME).profile
    except ProfileError:
        refusal(spoilt)
    else:
        assert 100 <= profile.channels[0].amplitude_ceiling_ua <= 100_000
        assert profile.stimulus.pulse.sequence()


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    good = tmp_path / "good.toml"
    good.write_text(COMPLETE)
    assert load(good).path == str(good)
    fifo = tmp_path / "fifo.toml"
    os.mkfifo(fifo)
    to_folder = tmp_path / "link.toml"
    to_folder.symlink_to(tmp_path)
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    for path, said in [
        (tmp_path, "not a regular file"),
        (to_folder, "not a regular file"),
        (fifo, "not a regular file"),  # opening it for reading would wait for ever
        (Path("/dev/zero"), "not a regular file"),
        (Path("/dev/null"), "not a regular file"),
        (loop, "cannot be opened"),
        (tmp_path / "absent.toml", "cannot be opened: No such file"),
        (good / "below", "cannot be opened"),
        (Path("a\0b"), "not a file name"),
        (Path("x" * 5000), "cannot be opened"),
    ]:
        with pytest.raises(ProfileError, match=re.escape(said)):
            load(path)


def test_a_file_name_cannot_drive_the_terminal(tmp_path: Path) -> None:
    for name in ("\x1b[2J.toml", "\u202e.toml", "\udcff.toml"):
        path = tmp_path / name
        path.write_text("schema = 0")
        with pytest.raises(ProfileError) as caught:
            load(path)
        assert str(caught.value).isprintable()
