"""Whatever is done to a closed record is found; whoever has no key cannot make one that passes."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from pathlib import Path

import pytest

from estim.record.verify import SealState, Verification, What, verify
from tests.record.samples import (
    KEY,
    OTHER_KEY,
    SESSION_ID,
    append,
    raw_lines,
    seal,
    sealed_record,
    start,
    write_lines,
)


def whats(verification: Verification) -> set[What]:
    return {finding.what for finding in verification.findings}


def found(verification: Verification) -> list[tuple[int, What]]:
    return [(finding.line, finding.what) for finding in verification.findings]


def test_a_record_as_it_was_written_passes(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    checked = verify(path, KEY)
    assert checked.is_ok
    assert (checked.findings, checked.notes) == ((), ())
    assert checked.state == "sealed"
    assert (checked.lines, checked.addenda, checked.is_recovered) == (8, 0, False)
    assert checked.head == hashlib.sha256(raw_lines(path)[-1]).hexdigest()


def test_without_a_key_the_seal_is_said_to_be_unchecked(tmp_path: Path) -> None:
    checked = verify(sealed_record(tmp_path), None)
    assert checked.is_ok
    assert checked.state == "seal not checked: no key"


def test_another_key_does_not_pass(tmp_path: Path) -> None:
    checked = verify(sealed_record(tmp_path), OTHER_KEY)
    assert found(checked) == [(8, What.BAD_SEAL)]
    assert checked.state == "bad seal"


@pytest.mark.hazard(39)
@pytest.mark.parametrize("key", [KEY, None], ids=["with key", "without key"])
def test_every_single_byte_change_is_found(tmp_path: Path, key: bytes | None) -> None:
    """Three changes of every byte: another letter or digit, a space, a newline."""
    path = sealed_record(tmp_path, event_count=2)
    whole = path.read_bytes()
    changed = tmp_path / "changed.jsonl"
    descriptor = os.open(changed, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(descriptor, whole)
    for index, octet in enumerate(whole):
        for other in (octet ^ 1, 0x20, 0x0A):
            if other == octet:
                continue
            os.pwrite(descriptor, bytes([other]), index)
            assert not verify(changed, key).is_ok, (index, bytes([octet]), bytes([other]))
        os.pwrite(descriptor, bytes([octet]), index)
    os.close(descriptor)
    assert verify(changed, key).is_ok


@pytest.mark.parametrize("index", range(8))
def test_a_changed_line_is_named(tmp_path: Path, index: int) -> None:
    """Every line in turn: one digit of its monotonic time."""
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    lines[index] = lines[index].replace(b'"mono_us":', b'"mono_us":9', 1).replace(b":90,", b":9,")
    checked = verify(write_lines(path, lines), KEY)
    expected = (8, What.BAD_SEAL) if index == 7 else (index + 1, What.CHANGED)
    assert found(checked) == [expected]


@pytest.mark.parametrize("index", range(1, 7))
def test_a_changed_backward_hash_is_named(tmp_path: Path, index: int) -> None:
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    fields = json.loads(lines[index])
    fields["prev"] = "f" * 64
    lines[index] = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    assert found(verify(write_lines(path, lines), KEY)) == [(index + 1, What.CHANGED)]


@pytest.mark.hazard(39)
@pytest.mark.parametrize("index", range(8))
def test_a_dropped_line_is_found(tmp_path: Path, index: int) -> None:
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    del lines[index]
    checked = verify(write_lines(path, lines), KEY)
    if index == 7:
        assert found(checked) == [(7, What.TRUNCATED)]
        assert checked.state == "unsealed"
    else:
        assert (index + 1, What.MISSING) in found(checked)
        assert f"number {index} should stand before it" in checked.findings[-1].detail or not index


@pytest.mark.hazard(39)
@pytest.mark.parametrize("index", range(7))
def test_swapped_neighbours_are_found(tmp_path: Path, index: int) -> None:
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    lines[index], lines[index + 1] = lines[index + 1], lines[index]
    checked = verify(write_lines(path, lines), KEY)
    assert (index + 1, What.SWAPPED) in found(checked)
    if index < 6:  # with the seal moved, the record is also cut short
        assert found(checked) == [(index + 1, What.SWAPPED)]


@pytest.mark.parametrize(("one", "other"), [(1, 4), (0, 7), (2, 6), (1, 6)])
def test_lines_swapped_from_afar_are_found(tmp_path: Path, one: int, other: int) -> None:
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    lines[one], lines[other] = lines[other], lines[one]
    assert What.SWAPPED in whats(verify(write_lines(path, lines), KEY))


@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("distance", [1, 3])
def test_a_line_that_stands_twice_is_found(tmp_path: Path, index: int, distance: int) -> None:
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    place = min(index + distance, 8)
    lines.insert(place, lines[index])
    checked = verify(write_lines(path, lines), KEY)
    assert any(
        finding.line == place + 1 and finding.what in (What.DUPLICATE, What.SWAPPED)
        for finding in checked.findings
    )
    if distance == 1:
        assert (place + 1, What.DUPLICATE) in found(checked)


@pytest.mark.hazard(39)
@pytest.mark.parametrize("length", range(8))
def test_a_record_cut_after_any_line_is_unsealed(tmp_path: Path, length: int) -> None:
    path = sealed_record(tmp_path)
    checked = verify(write_lines(path, raw_lines(path)[:length]), KEY)
    assert What.TRUNCATED in whats(checked)
    assert checked.state == "unsealed"
    assert (What.NO_HEADER in whats(checked)) == (length == 0)


def test_a_line_of_another_record_is_found(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    other = raw_lines(sealed_record(tmp_path / "other", "another"))
    mine = raw_lines(path)
    for index in range(1, 8):
        put_in = [*mine[:index], other[index], *mine[index:]]
        assert not verify(write_lines(path, put_in), KEY).is_ok
        put_over = [*mine[:index], other[index], *mine[index + 1 :]]
        assert not verify(write_lines(path, put_over), KEY).is_ok
    far = json.loads(other[4]) | {"seq": 500}
    line = json.dumps(far, sort_keys=True, separators=(",", ":")).encode()
    checked = verify(write_lines(path, [*mine[:3], line, *mine[3:]]), KEY)
    assert found(checked) == [(4, What.FOREIGN)]


@pytest.mark.parametrize("index", range(1, 8))
def test_the_end_of_another_record_does_not_fit(tmp_path: Path, index: int) -> None:
    """Both ends are sealed with the right key and count alike; still they are two records."""
    path = sealed_record(tmp_path)
    other = raw_lines(sealed_record(tmp_path / "other", "another"))
    spliced = [*raw_lines(path)[:index], *other[index:]]
    checked = verify(write_lines(path, spliced), KEY)
    assert What.CHANGED in whats(checked)


@pytest.mark.hazard(39)
def test_a_chain_made_anew_without_the_key_is_found_by_the_key_holder_alone(
    tmp_path: Path,
) -> None:
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    lines[3] = lines[3].replace(b'"target_ua":2000', b'"target_ua":1000')
    previous = hashlib.sha256(lines[0]).hexdigest()
    for index in range(1, 7):
        fields = json.loads(lines[index]) | {"prev": previous}
        lines[index] = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
        previous = hashlib.sha256(lines[index]).hexdigest()
    fields = json.loads(lines[7]) | {"prev": previous}
    fields["content"] |= {"head": previous}
    del fields["content"]["check"]
    spelled = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    fields["content"]["check"] = hashlib.sha256(spelled).hexdigest()
    lines[7] = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    write_lines(path, lines)
    assert found(verify(path, KEY)) == [(8, What.BAD_SEAL)]
    assert verify(path, None).state is SealState.UNCHECKED


def test_a_seal_of_other_lines_is_found_although_it_is_made_with_the_key(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    fields = json.loads(lines[7])
    fields["content"] = {
        "events": 7,
        "head": "ab" * 32,
        "key_id": hashlib.sha256(KEY).hexdigest()[:16],
        "recovered": False,
    }

    def spelled() -> bytes:
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    fields["content"]["hmac"] = hmac.new(KEY, spelled(), "sha256").hexdigest()
    fields["content"]["check"] = hashlib.sha256(spelled()).hexdigest()
    lines[7] = spelled()
    [finding] = verify(write_lines(path, lines), KEY).findings
    assert (finding.line, finding.what) == (8, What.BAD_SEAL)
    assert "other lines" in finding.detail


@pytest.mark.hazard(39)
def test_a_noted_head_shows_a_record_made_anew(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    head = verify(path, KEY).head
    assert verify(path, KEY, noted_head=head).is_ok
    path.unlink()
    sealed_record(tmp_path, event_count=5)
    checked = verify(path, KEY, noted_head=head)
    assert whats(checked) == {What.OTHER_HEAD}


def test_two_damaged_places_are_both_found(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    lines[1] = b"\x00" * 40
    lines[5] = lines[5].replace(b"target", b"tarjet", 1)
    checked = verify(write_lines(path, lines), KEY)
    assert found(checked) == [(2, What.NOT_JSON), (6, What.CHANGED)]


def test_a_line_put_in_that_is_no_json_is_found_alone(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    lines.insert(4, b"hello")
    assert found(verify(write_lines(path, lines), KEY)) == [(5, What.NOT_JSON)]


def test_an_event_after_the_seal_is_found(tmp_path: Path) -> None:
    """Chained rightly by somebody without the key."""
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    event = json.loads(lines[1]) | {"seq": 8, "prev": hashlib.sha256(lines[7]).hexdigest()}
    lines.append(json.dumps(event, sort_keys=True, separators=(",", ":")).encode())
    assert found(verify(write_lines(path, lines), KEY)) == [(9, What.FOREIGN)]


def test_another_spelling_of_the_same_json_is_found(tmp_path: Path) -> None:
    path = sealed_record(tmp_path)
    lines = raw_lines(path)
    for index in range(8):
        for spelled in (
            lines[index].replace(b'","', b'", "', 1),
            lines[index].replace(b'"schema":1', b'"schema":1.0'),
            lines[index].replace(b'"schema":1', b'"schema":2,"schema":1'),
        ):
            other = [*lines[:index], spelled, *lines[index + 1 :]]
            assert not verify(write_lines(path, other), None).is_ok


def test_a_file_under_another_name_is_noted_not_blamed(tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(sealed_record(tmp_path).read_bytes())
    checked = verify(copy, KEY)
    assert checked.is_ok
    assert checked.notes == (f"the file is named copy.jsonl, its header says '{SESSION_ID}'",)


def test_a_record_still_open_is_unsealed_and_reads_on(tmp_path: Path) -> None:
    journal = start(tmp_path)
    append(journal, "armed", 1)
    assert found(verify(journal.path, KEY)) == [(2, What.TRUNCATED)]
    seal(journal, 2)
    assert verify(journal.path, KEY).is_ok
    journal.close()
