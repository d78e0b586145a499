"""`estim profiles plot`: pages as SVG and PNG, and the drawings in the terminal."""

from __future__ import annotations

import io
import re
import struct
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.cli.commands import Shell

BLUE, VERMILLION = (0, 114, 178), (213, 94, 0)


def words_of(path: Path) -> list[str]:
    """Return the texts of an SVG, which matplotlib leaves as comments beside the outlines."""
    return re.findall(r"<!-- (.*?) -->", path.read_text("utf-8"))


def test_a_page_says_everything_and_is_the_same_each_time(estim: Shell, tmp_path: Path) -> None:
    """dpn-conventional at 12 and 7.3 mA: 200 us are 2.4 and 1.46 uC."""
    paths = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in paths:
        answer = estim(
            "profiles", "plot", "dpn-conventional", "--svg", path,
            "--amplitude", "1=12", "--amplitude", "2=7.3",
        )  # fmt: skip
        assert (answer.code, answer.out) == (0, "")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    root = ElementTree.fromstring(paths[0].read_text("utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = words_of(paths[0])
    assert words.count("200 µs") == 4
    for text in (
        "Diabetic peripheral neuropathy, conventional", "time (µs)", "current (mA)",
        "One pulse, 400 µs, channel 1: left leg", "Train: 80 Hz, a pulse every 12.5 ms",
    ):  # fmt: skip
        assert text in words
    everything = "\n".join(words)
    for text in (
        "+12 mA", "−12 mA", "2.4 µC", "+7.3 mA", "1.46 µC", "net charge 0 µC",
        "rise 13 s at 1 mA/s at most, plateau 30:00, ramp down 2 s",
        "channel 1: left leg", "channel 2: right leg",
        "dpn-conventional 1.0.1, programme ", "file sha256 ", "Not a certified medical device",
        "not reviewed by a clinician",
    ):  # fmt: skip
        assert text in everything
    assert not re.search(r"20\d\d-\d\d-\d\d", paths[0].read_text("utf-8")), "a date"


@pytest.mark.parametrize(
    ("profile_id", "texts"),
    [
        (
            "tens-burst",
            ["One burst: 10 pulses at 100 Hz, a pulse every 10 ms; the next burst after 500 ms"],
        ),
        (
            "nmes-quadriceps",
            ["On/off cycle: ramp up 3 s, on 15 s, ramp down 3 s, off 45 s"],
        ),
        (
            "tens-dense-disperse",
            ["Modulation cycle, repeated every 6 s", "pulse rate", "first phase", "600 µs"],
        ),
    ],
)  # fmt: skip
def test_each_mode_has_its_panels(
    estim: Shell, tmp_path: Path, profile_id: str, texts: list[str]
) -> None:
    path = tmp_path / "page.svg"
    assert estim("profiles", "plot", profile_id, "--svg", path).code == 0
    everything = "\n".join(words_of(path))
    assert all(text in everything for text in texts)


def test_a_png_is_as_wide_as_a_page_and_shows_both_channels(estim: Shell, tmp_path: Path) -> None:
    import matplotlib.image

    path = tmp_path / "page.png"
    assert estim("profiles", "plot", "dpn-conventional", "--png", path).code == 0
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width == 1240  # 8.27 inches at 150 dots
    assert 900 < height < 1754  # no higher than A4
    pixels = matplotlib.image.imread(io.BytesIO(data), format="png")[..., :3] * 255
    for colour in (BLUE, VERMILLION):
        assert (abs(pixels - colour) < 60).all(axis=-1).sum() > 300
    assert 0.5 < (pixels > 254).all(axis=-1).mean() < 0.99


def test_a_file_that_is_there_is_replaced_only_when_told(estim: Shell, tmp_path: Path) -> None:
    path = tmp_path / "page.svg"
    path.write_text("precious")
    estim("profiles", "plot", "tens-low-rate", "--svg", path).assert_one_message(2)
    assert path.read_text() == "precious"
    assert estim("profiles", "plot", "tens-low-rate", "--svg", path, "--force").code == 0
    assert path.read_text().startswith("<?xml")


def test_without_matplotlib_the_extra_is_named_and_no_file_is_left(
    estim: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = estim("profiles", "plot", "tens-low-rate", "--png", tmp_path / "page.png")
    answer.assert_one_message(2)
    assert answer.err == "estim: --png: needs the extra 'plot': pip install 'estim[plot]'\n"
    assert not (tmp_path / "page.png").exists()


def test_an_amplitude_above_a_limit_is_not_drawn(estim: Shell, tmp_path: Path) -> None:
    path = tmp_path / "page.svg"
    estim(
        "profiles", "plot", "tens-low-rate", "--svg", path, "--amplitude", "1=61"
    ).assert_one_message(4)
    assert not path.exists()


def test_the_terminal_shows_one_burst_and_the_whole_session(estim: Shell) -> None:
    answer = estim("profiles", "plot", "tens-burst", "--amplitude", "1=10", "--width", "60")
    assert "channel 1, painful area, at 10.0 mA" in answer.out
    _, _, rest = answer.out.partition("one burst of 10 pulses; the next after 500 ms\n")
    burst = rest.split("\n\n")[0].splitlines()
    # Ten pulses stand up from the zero line, from its beginning on.
    assert len(burst[1].partition("│")[2].replace(" ", "")) == 10
    assert burst[-1].endswith("100 ms")
    _, _, session = answer.out.partition("whole session: rise 0:")
    assert "plateau 30:00, then 2 s down" in session
    # The plateau fills the top row but for the rise and the fall.
    assert session.splitlines()[2].count("⠉") > 40


def test_the_whole_session_is_drawn_where_there_is_ascii_only(
    estim: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("estim.cli.profile_plot.can_print", lambda text: False)
    answer = estim("profiles", "plot", "nmes-quadriceps", "--width", "60")
    rows = answer.out[answer.out.index("whole session") :].splitlines()[2:7]
    assert answer.out.isascii()
    # 53:57 of 70.5 min rise: the top row holds the last quarter, the bottom one all.
    assert rows[0].count("#") < 0.35 * rows[4].count("#")
    assert rows[0].rstrip().endswith("#")
