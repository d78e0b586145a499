"""What is read from files, and from the sockets between processes."""

from __future__ import annotations

import io
import json
import math
import os
import re
import tempfile
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from estim.errors import EstimError, ProfileError, RecordError, UsageError
from estim.prepare import last_device, roster, settings
from estim.prepare.site import SitePolicy
from estim.profile import loader
from estim.record import exports, ledger, reader, verify
from estim.record.lines import GENESIS, sha256_hex
from estim.rig.campaign import rows
from estim.rig.captures import csv_files, trace_files, vcd_files
from estim.rig.captures.capture import ReadOptions, open_capture
from estim.rig.jobs.job import load_job
from estim.rig.measuring import instrument
from estim.session import messages
from estim.simulator import faults
from estim.text import sanitize
from estim.tui import onlooker
from estim.visit import protocol
from tests.record.samples import KEY, sealed_record

MESSAGE_MAX = 2000
IMPORTED_LATE = (csv_files, trace_files, vcd_files)
"""What a capture loads by itself, here early enough to be instrumented."""


@cache
def _folder() -> Path:
    """Return a folder in memory, where there is one, that goes with this process."""
    shm = Path("/dev/shm")
    held = tempfile.TemporaryDirectory(prefix="estim-fuzz-", dir=shm if shm.is_dir() else None)
    _folder.held = held  # type: ignore[attr-defined]
    return Path(held.name)


def _file(name: str, octets: bytes) -> Path:
    path = _folder() / name
    path.unlink(missing_ok=True)
    path.write_bytes(octets)
    path.chmod(0o600)
    return path


def refused(attempt: Callable[[], Any], kind: type[EstimError]) -> Any:
    """Return what `attempt` gives, None where it is refused; only by `kind`, in one short message.

    The class is exact: a subclass that a page does not name would be a surprise to its caller.
    """
    try:
        return attempt()
    except kind as error:
        _check_told(error, kind)
        return None


def _check_told(error: EstimError, kind: type[EstimError]) -> None:
    assert type(error) is kind
    assert "\n" not in str(error)
    assert 0 < len(str(error)) < MESSAGE_MAX


def _check_plain(part: Any, where: str = "") -> None:
    """Assert that every text is one visible line and every number finite."""
    if isinstance(part, str):
        assert sanitize(part) == part, where
    elif isinstance(part, Decimal | float):
        assert math.isfinite(part), where
    elif isinstance(part, dict):
        for name, inner in part.items():
            _check_plain(name, where)
            _check_plain(inner, f"{where}.{name}")
    elif isinstance(part, list | tuple | set | frozenset):
        for inner in part:
            _check_plain(inner, where)
    elif isinstance(part, BaseModel):
        _check_plain(part.model_dump(), where)


def profile(octets: bytes) -> bool:
    """A profile is refused in one line, or is plain, finite and the same at each reading."""
    loaded = refused(lambda: loader.loads_any(octets, "fuzzed.toml"), ProfileError)
    if loaded is None:
        return False
    held = loaded.entry if isinstance(loaded, loader.LoadedEntry) else loaded.profile
    _check_plain(held)
    assert re.fullmatch(r"[a-z0-9-]{1,64}", held.id)
    again = loader.loads_any(octets.decode("utf-8"), "fuzzed.toml")
    assert again.sha256 == loaded.sha256 == sha256_hex(octets)
    return True


def guided(octets: bytes) -> bool:
    """A protocol is refused in one line, or asks for everything before output on a person."""
    path = _file("guided.toml", octets)
    loaded = refused(lambda: protocol.load(path), ProfileError)
    if loaded is None:
        return False
    held = loaded.protocol
    _check_plain(held)
    kinds = [step.kind for step in held.steps]
    if held.is_for_people and "stimulate" in kinds:
        assert set(protocol.BEFORE_OUTPUT) <= set(kinds[: kinds.index("stimulate")])
    return True


@cache
def _whole_record() -> bytes:
    """Return a sealed record; made once, the same bytes in every process."""
    with tempfile.TemporaryDirectory() as folder:
        return sealed_record(Path(folder), event_count=4).read_bytes()


def record(octets: bytes) -> bool:
    """Only what was sealed verifies; whatever else is read, shown and exported without surprise.

    A first byte of 'c' has each line take up the chain of the one before, as a forger would who
    lacks the key.
    """
    content = _chained(octets[1:]) if octets[:1] == b"c" else octets[1:]
    path = _file("2000-01-01-abc.jsonl", content)
    checked = refused(lambda: verify.verify(path, KEY), RecordError)
    if checked is not None:
        assert checked.is_ok == (content == _whole_record()), "sealed with the key, or not sound"
        assert all(len(str(finding)) < 300 for finding in checked.findings)
    for export in (exports.export_events, exports.export_telemetry):
        text = io.StringIO()
        if refused(lambda: export(path, text), RecordError) is not None:  # noqa: B023
            _check_table(text.getvalue())
    found = refused(lambda: reader.read(path), RecordError)
    return found is not None and bool(found.events)


def _chained(octets: bytes) -> bytes:
    prev, seq, lines = GENESIS, 0, []
    for line in octets.split(b"\n"):
        try:
            fields = json.loads(line)
            fields |= {"prev": prev, "seq": seq}
            line = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
        except (ValueError, TypeError, RecursionError):
            pass
        prev, seq = sha256_hex(line), seq + 1
        lines.append(line)
    return b"\n".join(lines)


def _check_table(text: str) -> None:
    for row in text.split("\r\n"):
        assert row.isprintable()
        assert not re.search(r'(^|,)"?[=@]', row), "no cell is a formula"


def chain(octets: bytes) -> bool:
    """A ledger is refused, or every line of it names the one before."""
    path = _file("ledger.jsonl", _chained(octets[1:]) if octets[:1] == b"c" else octets[1:])
    (_folder() / "ledger.jsonl.head").unlink(missing_ok=True)
    events = refused(lambda: ledger.read_ledger(path), RecordError)
    if events is None:
        return False
    digests = [GENESIS, *(event.digest for event in events)]
    assert [event.prev for event in events] == digests[:-1]
    return bool(events)


READINGS_MAX = 1 << 21


def capture(octets: bytes) -> bool:
    """A capture is refused in one line, or gives finite currents in order and bounded number."""
    options = ReadOptions()
    if octets[:1] == b"v":
        options = ReadOptions(unit="V", load_ohm=500)
    elif octets[:1] == b"r":
        options = ReadOptions(unit="mA", sample_rate_hz=1e5)
    path = _file("capture", octets[1:])

    def read() -> int:
        opened = open_capture(path, options)
        count, last_us = 0, -math.inf
        if opened.is_sampled:
            for readings in opened.chunks():
                assert np.isfinite(readings).all()
                count += len(readings)
                if count > READINGS_MAX:  # a VCD says in 20 bytes what lasts for hours
                    break
        else:
            for steps in opened.steps():
                assert np.isfinite(steps.current_ua).all()
                assert (steps.end_us >= steps.start_us).all()
                assert float(steps.start_us[0]) >= last_us
                last_us = float(steps.start_us[-1])
                count += len(steps.start_us)
        assert math.isfinite(opened.info.duration_s)
        return count

    with np.errstate(all="raise"):
        return bool(refused(read, UsageError))


def fault_script(octets: bytes) -> bool:
    """A script of faults is refused in one line, or is in order, each fault in its range."""
    path = _file("faults.txt", octets)
    found = refused(lambda: faults.read_script(path, 2), UsageError)
    if not found:
        return False
    times = [fault.at_us for fault in found]
    assert times == sorted(times)
    assert all(0 <= fault.channel <= 2 and 0 <= fault.amount <= 10**12 for fault in found)
    return True


def line(octets: bytes) -> bool:
    """A line between interface and engine is one known message that goes out as it came."""
    message = refused(lambda: messages.from_line(octets), UsageError)
    if message is None:
        return False
    assert messages.from_line(messages.to_line(message)) == message
    return True


def snapshot(octets: bytes) -> bool:
    """What an onlooker shows of a line that anybody may have written is plain text."""
    shown = refused(lambda: onlooker._snapshot(octets), UsageError)
    if shown is None:
        return False
    _check_plain(messages.to_fields(shown))
    return True


def site(octets: bytes) -> bool:
    """A site's policy is refused in one line, or only ever stricter than none."""
    path = _file("site.toml", octets)
    policy = refused(lambda: settings.load(path, SitePolicy), UsageError)
    if policy is None:
        return False
    default = SitePolicy()
    for name in ("sensation_valid_days", "screening_valid_days", "attention_check_s"):
        assert getattr(policy, name) <= getattr(default, name)
    return True


def people(octets: bytes) -> bool:
    """A roster is refused in one line, or names each operator once, and nobody twice."""
    _file(roster.FILE_NAME, octets)
    _file(last_device.FILE_NAME, octets)
    assert sanitize(last_device.recall(_folder())) == last_device.recall(_folder())
    found = refused(lambda: roster.operators(_folder()), UsageError)
    if found is None:
        return False
    assert len({each.id.casefold() for each in found}) == len(found)
    _check_plain([each.id for each in found])
    return True


def bench_files(octets: bytes) -> bool:
    """Jobs and instruments are refused in one line, or are plain and finite."""
    path = _file("job.toml", octets)
    try:
        job = refused(lambda: load_job(path), UsageError)
    except EstimError as error:  # a profile that the job names
        _check_told(error, type(error))
        job = None
    if job is not None:
        _check_plain(job.job)
        return True
    tool = refused(lambda: instrument.load(path), UsageError)
    if tool is not None:
        _check_plain(tool.document())
    return tool is not None


def campaign(octets: bytes) -> bool:
    """Whatever a run left behind becomes rows of plain values, or none."""
    run = rows.Row("c", 1, "rig", "sim:", "SN", "model", "1", "0", "task")
    path = _file("left-behind", octets)
    found = [*rows.from_junit(run, path), *rows.from_verify(run, path)]
    for row in found:
        assert row.outcome in (rows.PASSED, rows.FAILED, rows.ERROR, rows.SKIPPED)
        assert math.isfinite(row.duration_s)
        assert isinstance(row.text, str)
    return bool(found)


def text(octets: bytes) -> bool:
    """What is shown has no control, is as long as before, and is stable."""
    before = octets.decode("utf-8", "surrogateescape")
    after = sanitize(before)
    assert len(after) == len(before)
    assert after == sanitize(after)
    assert not re.search(
        r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069]", after
    )
    after.encode("utf-8")
    return os.fsencode(before) == octets and after == before
