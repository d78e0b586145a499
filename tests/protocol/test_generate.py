"""What is generated is up to date, complete, and agrees with independent oracles."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cobs import cobs
from crccheck.crc import Crc32

from firmware_protocol import codec, framing, generate
from firmware_protocol.errors import FrameError, MessageError, ProgramError
from firmware_protocol.fields import wire_fields
from firmware_protocol.limits import LIMITS
from firmware_protocol.messages import MESSAGES, RefusalReason
from firmware_protocol.program import from_canonical_bytes
from firmware_protocol.schema import SCHEMA_HASH, enums_used, rows_used
from firmware_protocol.vectors import plain_fields

ROOT = Path(generate.__file__).resolve().parent.parent
VECTORS: dict[str, Any] = json.loads((ROOT / "firmware_protocol/vectors.json").read_text())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy every generated file to a place where it may be broken."""
    for output in generate.OUTPUTS:
        path = tmp_path / output.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((ROOT / output.path).read_bytes())
    return tmp_path


def test_generated_files_in_the_checkout_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "firmware_protocol.generate", "--check"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.parametrize("path", [output.path for output in generate.OUTPUTS])
def test_a_stale_file_is_named_with_a_short_diff_and_written_anew(
    checkout: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = checkout / path
    good = stale.read_text(encoding="utf-8")
    stale.write_text(good.replace("us", "uS"), encoding="utf-8")
    assert generate.main(["--check"], checkout) == 1
    told = capsys.readouterr().err
    assert f"{path} is stale: run `python -m firmware_protocol.generate`" in told
    assert "+++" in told
    assert len(told.splitlines()) <= 22
    assert stale.read_text(encoding="utf-8") != good
    assert generate.main([], checkout) == 0
    assert capsys.readouterr().out == f"{path} written\n"
    assert generate.main(["--check"], checkout) == 0


def test_what_people_wrote_in_safety_is_kept(checkout: Path) -> None:
    page = checkout / "SAFETY.md"
    head, _, rest = page.read_text().partition(generate.LIMITS_BEGIN)
    _, _, tail = rest.partition(generate.LIMITS_END)
    begin, end = generate.LIMITS_BEGIN, generate.LIMITS_END
    page.write_text(f"ABOVE\n{begin}\nold table\n{end}\nBELOW")
    assert generate.main([], checkout) == 0
    assert page.read_text() == f"ABOVE\n{begin}{rest[: -len(end + tail)]}{end}\nBELOW"
    assert head.startswith("# Safety\n\n**Estim is not a certified medical device.**")


@pytest.mark.parametrize(
    "text",
    [
        "",
        generate.LIMITS_BEGIN,
        generate.LIMITS_END,
        generate.LIMITS_END + generate.LIMITS_BEGIN,
        generate.LIMITS_BEGIN + generate.LIMITS_BEGIN + generate.LIMITS_END,
        generate.LIMITS_BEGIN + generate.LIMITS_END + generate.LIMITS_END,
    ],
)
def test_safety_without_its_markers_is_an_error_and_left_alone(
    checkout: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = checkout / "SAFETY.md"
    page.write_text(text)
    assert generate.main([], checkout) == 1
    assert "SAFETY.md: expected <!-- limits:begin -->" in capsys.readouterr().err
    assert page.read_text() == text


def test_a_missing_file_is_stale_and_is_written(checkout: Path) -> None:
    path = checkout / "firmware_protocol/PROTOCOL.md"
    good = path.read_text()
    path.unlink()
    assert generate.main(["--check"], checkout) == 1
    assert generate.main([], checkout) == 0
    assert path.read_text() == good


def test_every_limit_has_a_row_in_safety() -> None:
    page = (ROOT / "SAFETY.md").read_text()
    for limit in LIMITS:
        (row,) = [line for line in page.splitlines() if f"| `{limit.name}` |" in line]
        for words in (limit.why, limit.source, f" {limit.certainty.value} "):
            assert words in row
    assert "| 1 | `amplitude_ua` | uA |  |  | 100 000 | burns, pain" in page
    assert "| 3 | `phase_duration_us` | us | 10 | 500 | 1 000 |" in page


def test_the_reference_names_everything_that_is_declared() -> None:
    page = (ROOT / "firmware_protocol/PROTOCOL.md").read_text()
    assert f"0x{SCHEMA_HASH:08x}" in page
    for message_id, declared in MESSAGES.items():
        assert f"\n### 0x{message_id:02X} {declared.__name__}\n" in page
    for declared_or_row in [*MESSAGES.values(), *rows_used()]:
        for name, wire in wire_fields(declared_or_row):
            assert f"| `{name}` | " in page
            assert wire.doc in page
    for kind in enums_used():
        section = page.partition(f"\n### {kind.__name__}\n")[2].partition("\n###")[0]
        for name, member in kind.__members__.items():
            assert f"| {int(member)} | {name} | " in section or name == "NONE"
    assert "| 9 | FAULT_LATCHED | a fault is latched |" in page
    assert len(RefusalReason) == 15
    for limit in LIMITS:
        assert f"| {limit.wire_id} | `{limit.name}` | {limit.unit} |" in page
    assert "{" not in page, "a figure was left out"


def test_the_worked_example_agrees_with_the_cobs_package() -> None:
    page = (ROOT / "firmware_protocol/PROTOCOL.md").read_text()
    _, _, rest = page.partition("A `Drive` for two channels, the first at 12 mA:")
    rows, _, rest = rest.partition("Those 37 bytes")
    body = bytes.fromhex("".join(line.split("`")[1] for line in rows.splitlines()[4:] if line))
    frame = bytes.fromhex(rest.split("```")[1])
    assert frame == cobs.encode(body) + b"\0"
    assert int.from_bytes(body[-4:], "little") == Crc32.calc(body[:-4])


def test_vector_frames_agree_with_oracles_and_decode_to_their_fields() -> None:
    seen = set()
    for vector in VECTORS["messages"]:
        body, frame = bytes.fromhex(vector["body"]), bytes.fromhex(vector["frame"])
        assert frame == cobs.encode(body) + b"\0"
        assert int.from_bytes(body[-4:], "little") == Crc32.calc(body[:-4])
        envelope = codec.decode_body(body)
        assert plain_fields(envelope.message) == vector["fields"]
        assert envelope.sequence == vector["sequence"]
        assert f"{envelope.epoch:016x}" == vector["epoch"]
        seen.add(type(envelope.message))
    assert seen == set(MESSAGES.values())
    assert VECTORS["schema_hash"] == SCHEMA_HASH


def test_vector_programmes_have_the_digests_of_an_oracle() -> None:
    for vector in VECTORS["programs"]:
        canonical = bytes.fromhex(vector["canonical"])
        assert canonical == bytes.fromhex("".join(vector["payloads"]))
        assert vector["digest"] == Crc32.calc(canonical)
        assert from_canonical_bytes(canonical).digest == vector["digest"]
    for vector in VECTORS["compiled_limits"]:
        assert vector["digest"] == Crc32.calc(bytes.fromhex(vector["payload"]))
    assert len(VECTORS["programs"]) >= 5


def test_bad_vectors_are_refused_with_their_verdict() -> None:
    errors = {"frame": FrameError, "message": MessageError}
    for vector in VECTORS["bad_frames"]:
        with pytest.raises(errors[vector["verdict"]]) as refused:
            codec.decode_body(framing.decode_frame(bytes.fromhex(vector["frame"])))
        assert str(refused.value) == vector["why"]
    for vector in VECTORS["bad_programs"]:
        with pytest.raises(ProgramError):
            from_canonical_bytes(bytes.fromhex(vector["canonical"]))
    assert {vector["verdict"] for vector in VECTORS["bad_frames"]} == {"frame", "message"}
