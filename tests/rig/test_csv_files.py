"""Every maker's CSV gives the same current and rate; what is damaged is told with file and line.

Each style is a literal beginning of such a file. The numbers are those of one short pulse: 10 V
over 500 ohm is 20 mA, and back; one sample every 2 us.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estim.errors import UsageError
from estim.rig.captures.capture import Capture, ReadOptions, open_capture

VOLTS = (0.0, 10.0, 10.0, -10.0, -10.0, 0.0)
CURRENT_UA = [0.0, 20_000.0, 20_000.0, -20_000.0, -20_000.0, 0.0]
LOAD = ReadOptions(load_ohm=500)


def rows(line: str, values: tuple[float, ...] = VOLTS, scale: float = 1e-6) -> str:
    return "".join(line.format(t=2 * n * scale, v=v, n=n) for n, v in enumerate(values))


TEKTRONIX_TDS = "".join(
    f"{left},{2e-6 * n:.9f},{volts:.5f},\n"
    for n, (left, volts) in enumerate(
        zip(
            (
                "Record Length,6.000000e+00,",
                "Sample Interval,2.000000e-06,",
                "Trigger Point,0.000000e+00,",
                "Source,CH1,",
                "Vertical Units,V,",
                ",,",
            ),
            VOLTS,
            strict=True,
        )
    )
)
STYLES = {
    "plain": "time,voltage (V)\n" + rows("{t:.6f},{v}\n"),
    "no header": rows("{t:.6f},{v}\n"),
    "tektronix tds": TEKTRONIX_TDS,
    "tektronix mso": (
        "Model,MSO54\nFirmware Version,1.20\n\nWaveform Type,ANALOG\nPoint Format,Y\n"
        "Horizontal Units,s\nHorizontal Scale,0.004\nSample Interval,2e-06\nRecord Length,6\n"
        "Zero Index,0\nVertical Units,V\nVertical Offset,0\n,\nLabels,,\nTIME,CH1\n"
        + rows("{t:.6e},{v}\n")
    ),
    "keysight": "x-axis,1\nsecond,Volt\n" + rows("{t:+.9E},{v:+.5E}\n"),
    "rigol increment": (
        "X,CH1,Start,Increment,\nSequence,Volt,0.000000e+00,2.000000e-06\n" + rows("{n},{v:.2e},\n")
    ),
    "rigol times": "Time(s),CH1(V)\n" + rows("{t:.6e},{v:.2e}\n"),
    "siglent": (
        "Record Length,Analog:6\nSample Interval,Analog:2.000000e-06\nVertical Units,V\n"
        "Vertical Scale,Analog:5.00\nVertical Offset,Analog:0.00\nHorizontal Units,s\n"
        "Horizontal Scale,0.001\nModel Number,SDS1104X-E\nSerial Number,SDSMMEBX000000\n"
        "Software Version,7.1\nSource,CH1\nSecond,Value\n" + rows("{t:.9f},{v:.5f}\n")
    ),
    "rigol, interval beside the name": (
        "CH1(V),t0 =-5.000000e-03, tInc = 2.000000e-06,\n" + rows("{v:.5f},,\n")
    ),
    "readings below a word for time": (
        "Memory Length,6,\nVertical Units,V,\nSampling Period,2.0e-06,\n"
        "Time,20-Nov-2026 10:11:12,\nWaveform Data,,\n" + rows("{v:.5f},\n")
    ),
    "siglent, amperes": (
        "Record Length,Analog:6\nSample Interval,Analog:2.000000e-06\nVertical Units,CH1:A,\n"
        "Source,CH1\nSecond,Value\n"
        + rows("{t:.9f},{v:.5f}\n", tuple(v / 500 for v in VOLTS))
    ),
    "siglent, the unit of another channel first": (
        "Record Length,Analog:6\nSample Interval,CH1:0.000002 CH2:0.000002\n"
        "Vertical Units,CH1:V CH2:A,,\nSource,CH2\nSecond,Value\n"
        + rows("{t:.9f},{v:.5f}\n", tuple(v / 500 for v in VOLTS))
    ),
    "lecroy": (
        "LECROYWS3024,32767,Waveform\nSegments,1,SegmentSize,6\nSegment,TrigTime,TimeSinceSegment1\n"
        "#1,20-Nov-2026 10:11:12,0\nTime,Ampl\n" + rows("{t:.6e},{v}\n")
    ),
    "picoscope": (
        "Time,Channel A\n(ms),(mV)\n\n"
        + rows("{t:.8f},{v:.5f}\n", tuple(v * 1000 for v in VOLTS), 1e-3)
    ),
    "picoscope us": "Time,Channel A\n(µs),(V)\n\n" + rows("{t:.2f},{v}\n", scale=1.0),
    "digilent": (
        "#Digilent WaveForms Oscilloscope Acquisition\n#Device Name: Discovery2\n"
        "#Sample rate: 5e+05Hz\n#Samples: 6\n\nTime (s),Channel 1 (V)\n" + rows("{t},{v}\n")
    ),
    "no times": "# Sample rate: 500 kHz\nvolts (V)\n" + rows("{v}\n"),
    "interval key": "Sample Interval,2.0 us\nVertical Units,V\nCH1\n" + rows("{v}\n"),
    "semicolon, decimal comma": (
        "Zeit (s);Kanal 1 (V)\n" + rows("{t:.6f};{v}\n").replace(".", ",")
    ),
    "tabs": "time\tCH1 (V)\n" + rows("{t:.6f}\t{v}\n"),
    "byte order mark and CRLF": (
        "\N{ZERO WIDTH NO-BREAK SPACE}time,CH1 (V)\r\n" + rows("{t:.6f},{v}\r\n")
    ),
    "quoted": '"Time","CH1 (V)"\n' + rows('"{t:.6f}","{v}"\n'),
    "millivolts": "t_us,ch1_mv\n" + rows("{t:.1f},{v}\n", tuple(v * 1000 for v in VOLTS), 1.0),
    "amperes": "time,current (A)\n" + rows("{t:.6f},{v}\n", tuple(v / 500 for v in VOLTS)),
    "microamperes": (
        "time_s,channel_1_current_ua\n" + rows("{t:.6f},{v}\n", tuple(v * 2000 for v in VOLTS))
    ),
    "two channels of our own": (
        "time_s,channel_1_current_ma,channel_2_current_ma,channel_1_voltage_v,channel_2_voltage_v\n"
        + "".join(f"{2e-6 * n:.6f},{v * 2},0.0,{v},0.0\n" for n, v in enumerate(VOLTS))
    ),
    "sigrok": (
        "; CSV generated by libsigrok 0.5.2 on Fri Nov 20 10:00:00 2026\n"
        "; Samplerate: 500 kHz\n; Channels (1/1): CH1\nchannel_1_voltage_v\n" + rows("{v}\n")
    ),
    "sigrok, from a file without a session": (
        "; CSV generated by libsigrok 0.5.2\n; from unknown\n; Channels (1/1): CH1\n"
        "META samplerate: 500000\n\n" + rows("{v}\n")
    ),
    "sigrok, volts by load": (
        "; Generated by sigrok\n; Channels (1/1): CH1\n; Samplerate: 500 kHz\nCH1 V DC\n"
        + rows("{v}\n")
    ),
}  # fmt: skip


def current_of(capture: Capture) -> list[float]:
    return [float(x) for chunk in capture.chunks() for x in chunk]


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "capture.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("style", STYLES)
def test_each_style_gives_the_same_current_and_rate(style: str, tmp_path: Path) -> None:
    capture = open_capture(written(tmp_path, STYLES[style]), LOAD)
    assert current_of(capture) == pytest.approx(CURRENT_UA, abs=1e-6)
    assert capture.info.sample_rate_hz == pytest.approx(500_000, rel=1e-6)
    assert capture.info.duration_s == pytest.approx(12e-6, rel=1e-6)


@pytest.mark.parametrize(
    ("style", "name"),
    [
        ("tektronix tds", "Tektronix CSV"), ("keysight", "Keysight CSV"),
        ("rigol increment", "Rigol CSV"), ("siglent", "Siglent CSV"), ("lecroy", "LeCroy CSV"),
        ("picoscope", "PicoScope CSV"), ("digilent", "Digilent CSV"), ("sigrok", "sigrok CSV"),
    ],
)  # fmt: skip
def test_the_style_is_named(style: str, name: str, tmp_path: Path) -> None:
    assert open_capture(written(tmp_path, STYLES[style]), LOAD).info.format == name


COLUMNS = {
    "plain": "voltage (V)", "no header": "column 2", "tektronix tds": "column 5",
    "tektronix mso": "CH1", "keysight": "channel 1 (Volt)", "rigol increment": "CH1 (Volt)",
    "siglent": "CH1", "lecroy": "Ampl", "picoscope": "Channel A (mV)", "quoted": "CH1 (V)",
    "interval key": "CH1", "sigrok": "channel_1_voltage_v",
    "sigrok, from a file without a session": "column 1",
}  # fmt: skip


@pytest.mark.parametrize("style", COLUMNS)
def test_a_column_is_named_as_its_maker_names_it(style: str, tmp_path: Path) -> None:
    assert open_capture(written(tmp_path, STYLES[style]), LOAD).info.column == COLUMNS[style]


def test_volts_without_a_load_are_told_with_one_unit(tmp_path: Path) -> None:
    path = written(tmp_path, STYLES["plain"])
    with pytest.raises(UsageError) as failure:
        open_capture(path, ReadOptions())
    assert str(failure.value) == (
        f"{path}: voltage (V): a current follows from volts only with the dummy load; say it with "
        "--load OHM"
    )
    with pytest.raises(UsageError, match="CH1 is in V: a current follows"):
        open_capture(written(tmp_path, STYLES["tektronix mso"]), ReadOptions())


@pytest.mark.parametrize(
    "form", ["{t:.2e}", "{t:.3f}", "{later:.4f}"], ids=["three digits", "ms", "after an hour"]
)
def test_times_of_too_few_digits_name_the_remedy(form: str, tmp_path: Path) -> None:
    # 3.6 ms of samples every 2 us.
    lines = [
        f"{form.format(t=n * 2e-6, later=3600 + n * 2e-6)},{v}"
        for n, v in enumerate(VOLTS * 300)
    ]  # fmt: skip
    path = written(tmp_path, "time,CH1 (V)\n" + "\n".join(lines) + "\n")
    with pytest.raises(UsageError) as failure:
        current_of(open_capture(path, LOAD))
    assert "too few digits" in str(failure.value)
    assert "--sample-rate" in str(failure.value)
    capture = open_capture(path, ReadOptions(load_ohm=500, sample_rate_hz=500_000))
    assert len(current_of(capture)) == 1800


def test_a_sigrok_session_is_told_how_to_become_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "capture.sr"
    with zipfile.ZipFile(path, "w") as session:
        session.writestr("version", "2")
        session.writestr("metadata", "[global]\n")
    with pytest.raises(UsageError) as failure:
        open_capture(path, LOAD)
    assert f"sigrok-cli -i {path} -O csv" in str(failure.value)


def test_times_count_from_the_first_sample_and_say_where_that_is(tmp_path: Path) -> None:
    text = "time,CH1 (V)\n" + "".join(f"{-1.5 + 2e-6 * n:.6f},{v}\n" for n, v in enumerate(VOLTS))
    capture = open_capture(written(tmp_path, text), LOAD)
    current_of(capture)
    assert capture.info.start_s == -1.5


def test_infinity_is_a_clipped_reading(tmp_path: Path) -> None:
    text = STYLES["picoscope"].replace("10000.00000", "∞").replace("-∞", "-10000.0")
    capture = open_capture(written(tmp_path, text), LOAD)
    # The largest finite reading, 10 V, stands for what was beyond.
    assert current_of(capture) == pytest.approx(CURRENT_UA)
    assert capture.info.is_clipped


def test_a_probe_multiplies_and_a_unit_overrides(tmp_path: Path) -> None:
    path = written(tmp_path, STYLES["plain"])
    probed = open_capture(path, ReadOptions(load_ohm=500, probe=10))
    assert current_of(probed) == pytest.approx([10 * c for c in CURRENT_UA])
    in_ma = open_capture(path, ReadOptions(unit="mA"))
    # 10 mA read as such: no load is needed.
    assert max(current_of(in_ma)) == pytest.approx(10_000)


def test_a_rate_given_stands_for_times(tmp_path: Path) -> None:
    path = written(tmp_path, "CH1 (V)\n" + rows("{v}\n"))
    with pytest.raises(UsageError, match="--sample-rate"):
        open_capture(path, LOAD)
    capture = open_capture(path, ReadOptions(load_ohm=500, sample_rate_hz=500_000))
    assert current_of(capture) == pytest.approx(CURRENT_UA)
    assert capture.info.sample_rate_hz == 500_000


def test_a_column_is_chosen_by_name_or_number(tmp_path: Path) -> None:
    text = "time,gate (V),output (V)\n" + rows("{t:.6f},5,{v}\n")
    path = written(tmp_path, text)
    with pytest.raises(UsageError, match=r"choose with --column: gate \(V\), output \(V\)"):
        open_capture(path, LOAD)
    for column in ("output (V)", "3"):
        capture = open_capture(path, ReadOptions(load_ohm=500, column=column))
        assert current_of(capture) == pytest.approx(CURRENT_UA)
    with pytest.raises(UsageError, match="no column 'input'"):
        open_capture(path, ReadOptions(load_ohm=500, column="input"))


def test_a_long_file_is_read_in_blocks_without_a_seam(tmp_path: Path) -> None:
    count = 400_000  # about 7 MB: two blocks
    levels = np.arange(count) % 1000
    text = "time,CH1 (mA)\n" + "".join(
        f"{n * 1e-6:.6f},{v}.0\n" for n, v in enumerate(levels.tolist())
    )
    seen: list[tuple[int, int]] = []
    path = written(tmp_path, text)
    capture = open_capture(path, ReadOptions(), lambda done, total: seen.append((done, total)))
    chunks = list(capture.chunks())
    assert len(chunks) >= 2
    np.testing.assert_allclose(np.concatenate(chunks), levels * 1000.0)
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    # What was read is found again, across the seam.
    seam = len(chunks[0])
    np.testing.assert_allclose(capture.window(seam - 2, 4), levels[seam - 2 : seam + 2] * 1000.0)


@dataclass(frozen=True)
class Damage:
    text: str
    expected: str


GOOD = "time,CH1 (V)\n" + rows("{t:.6f},{v}\n", VOLTS * 5)
DAMAGES = {
    "empty": Damage("", "the file is empty"),
    "blank": Damage("\n\n \n", "the file is empty"),
    "prose": Damage("dear reader\nno numbers here\n", ":2: 'no numbers here'; expected numbers"),
    "a word among the numbers": Damage(
        GOOD.replace("0.000020,-10.0", "0.000020,oops"),
        ":12: '0.000020,oops'; expected a number in column 1 and 2",
    ),
    "a line cut short": Damage(
        GOOD.replace("0.000020,-10.0", "0.000020"),
        ":12: '0.000020'; expected a number in column 1 and 2",
    ),
    "not a number": Damage(
        GOOD.replace("0.000020,-10.0", "0.000020,nan"), ":12: '0.000020,nan'; expected a number"
    ),
    "a gap in time": Damage(
        "time,CH1 (V)\n" + rows("{t:.6f},{v}\n", VOLTS * 40)
        + "".join(f"{1 + 2e-6 * n:.6f},0.0\n" for n in range(60)),
        ":242: the time moves by 0.999522 s; expected 2e-06 s between all samples",
    ),
    "time stands still": Damage("time,CH1 (V)\n" + "0.5,1.0\n" * 9, "times do not rise"),
    "volts without a load": Damage(GOOD, "say it with --load OHM"),
    "no unit": Damage("time,reading\n" + rows("{t:.6f},{v}\n"), "say it with --unit"),
    "UTF-16": Damage("\N{ZERO WIDTH NO-BREAK SPACE}t,v\n0,1\n", "UTF-16 text; expected UTF-8"),
    "binary": Damage("\0\1\2\0\0\3" * 100, "not a text file"),
    "times alone": Damage("time\n" + rows("{t:.6f}\n"), "one column of times and none of readings"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_told_with_file_line_and_what_was_expected(name: str, tmp_path: Path) -> None:
    damage = DAMAGES[name]
    path = written(tmp_path, damage.text, "utf-16-le" if name == "UTF-16" else "utf-8")
    asks = name in ("volts without a load", "no unit")
    with pytest.raises(UsageError) as failure:
        current_of(open_capture(path, ReadOptions() if asks else LOAD))
    assert damage.expected in str(failure.value)
    assert str(failure.value).startswith(str(path))


def test_a_file_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing.csv: cannot be read: No such file"):
        open_capture(tmp_path / "nothing.csv", LOAD)
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory"):
        open_capture(tmp_path, LOAD)


CELLS = st.sampled_from(
    ["time", "CH1 (V)", "0", "1e-6", "2e-6", "-3.5", "nan", "inf", "∞", "", ";", "#", "$var", "V",
     "s", "1e400", "x-axis", "Increment", "Sample Interval", "Segments", "second", "\t", '"', "0,5",
     "\x1b[2J"]
)  # fmt: skip


def outcome(path: Path) -> str:
    """Return the one message that a file gave, or '' after a check of what it holds."""
    try:
        current = current_of(open_capture(path, LOAD))
    except UsageError as error:
        return str(error)
    assert np.isfinite(current).all()
    return ""


@settings(max_examples=80)
@given(
    st.lists(st.lists(CELLS, min_size=0, max_size=4), min_size=1, max_size=12),
    st.sampled_from([",", ";", "\t", " "]),
    st.binary(max_size=20),
)
def test_whatever_a_file_holds_there_is_a_capture_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]], delimiter: str, tail: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes("\n".join(delimiter.join(line) for line in lines).encode() + tail)
    message = outcome(path)
    assert message.isprintable()
    assert "\n" not in message


@settings(max_examples=60)
@given(st.sampled_from(sorted(STYLES)), st.data())
def test_a_bent_byte_gives_a_capture_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, style: str, data: st.DataObject
) -> None:
    octets = bytearray(STYLES[style].encode())
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "bent.csv"
    path.write_bytes(bytes(octets))
    assert outcome(path).isprintable()
