"""`estim doctor`: what this computer offers for a session, and what to do where it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import metadata, util
from pathlib import Path
from subprocess import DEVNULL

from estim.cli.arguments import whole
from estim.cli.console import can_print, complain, say_json, say_table
from estim.cli.plot import BRAILLE_FULL
from estim.cli.version import VERSION_TEXT
from estim.clock import SystemClock
from estim.errors import EstimError, LimitRefused, UsageError
from estim.record import station_key
from estim.record.journal import MIN_FREE_BYTES
from estim.units import US_PER_S

SCHEMA = "estim.doctor/1"
PACKAGES = ("pyserial", "pydantic", "numpy", "textual", "platformdirs")
LABGRID_FORK = "pyserial-labgrid"
"""Owns the name `serial` as pyserial does; alone it serves, as `make test-labgrid` shows."""
PYTHON_MIN = (3, 11)
COLUMNS_MIN, LINES_MIN = 80, 24
OHM_MAX = 1_000_000
LOAD_TOLERANCE_PERCENT = 10
_MB = 1_000_000
_TRIAL_S = 5
_MISSING = (
    "a device is checked on the bench: add --bench OHM, the dummy load on channel 1, and "
    "--nobody-connected"
)


class State(StrEnum):
    """Tell how a check came out; only FAILED keeps a session from being run."""

    OK = "ok"
    NOTE = "note"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, what was found, and what to do about it ('' for nothing)."""

    check: str
    state: State
    found: str
    remedy: str = ""


USB_SERIAL = Path("/sys/bus/usb-serial/devices")
LATENCY_TIMER_MS = 1


def run(arguments: Namespace) -> int:
    """Look at everything; return 1 where a check failed.

    Raises:
        LimitRefused: a device was named, and load and nobody were not declared.
        RigFault: the rig of that device is not as declared.
        EstimError: the device cannot be reached, or refuses.
    """
    if arguments.device is None and (arguments.bench or arguments.nobody_connected):
        raise UsageError("--bench and --nobody-connected: expected --device URL with them")
    if arguments.device is not None and not (arguments.bench and arguments.nobody_connected):
        raise LimitRefused(_MISSING)
    bench_ohm = arguments.bench and whole("--bench", arguments.bench, 1, OHM_MAX)
    checks = [Check("estim", State.OK, VERSION_TEXT), _python(), *map(_package, PACKAGES)]
    checks.append(_serial_module())
    if all(check.state is not State.FAILED for check in checks):
        checks += _examine_rest(arguments.records)
        if arguments.device is not None:
            checks += _rig(arguments.device, bench_ohm, arguments.records)
    if arguments.json:
        for check in checks:
            say_json(SCHEMA, **asdict(check))
    else:
        say_table(
            ("check", "state", "found"),
            [(line.check, line.state, line.found) for line in checks],
            folding=("found",),
        )
    for check in checks:
        if check.remedy:
            complain(f"{check.check}: {check.remedy}")
    return int(any(check.state is State.FAILED for check in checks))


def _examine_rest(records_given: str | None) -> list[Check]:
    """Return what can be looked at only where every package is there."""
    from estim.prepare.places import configuration_folder, records_folder

    records = Path(records_given) if records_given else records_folder()
    configuration = configuration_folder()
    return [
        _records_folder(records),
        _free_space(records),
        *_station_files(configuration),
        _station_key(configuration),
        _station_register(configuration),
        *_terminal(),
        _clock(),
        _inhibition(),
        _priority(),
        _viewers(),
        *_serial_rights(),
        *_latency_timers(),
        *_other_drivers(),
    ]


def _rig(url: str, bench_ohm: int, records_given: str | None) -> list[Check]:
    """Return what the check of a rig found; it raises what is wrong."""
    from estim.prepare.places import records_folder
    from estim.rig.self_check import Bench, check

    records = Path(records_given) if records_given else records_folder()
    checked = check(Bench(url, bench_ohm, (1,), LOAD_TOLERANCE_PERCENT), records)
    device = checked.device
    found = [Check("device", State.OK, f"{device.model} {device.serial_number} at {url}")]
    if checked.loads_ohm:
        words = f"{checked.loads_ohm[0]} ohm measured, {bench_ohm} ohm declared"
        return [*found, Check("load", State.OK, words)]
    return [
        *found,
        Check("load", State.NOTE, f"{bench_ohm} ohm declared; the device measures none"),
    ]


def _python() -> Check:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info >= PYTHON_MIN:
        return Check("python", State.OK, found)
    return Check("python", State.FAILED, found, "install Python 3.11 or newer")


def _package(name: str) -> Check:
    try:
        return Check(name, State.OK, metadata.version(name))
    except metadata.PackageNotFoundError:
        if name == "pyserial" and _serial_owners() == {LABGRID_FORK}:
            found = f"{LABGRID_FORK} {metadata.version(LABGRID_FORK)} in its place"
            return Check(name, State.NOTE, found)
        return Check(name, State.FAILED, "missing", f"run `{sys.executable} -m pip install {name}`")


def _serial_module() -> Check:
    """See whose `serial` gets imported: other packages bring one that looks much like it."""
    spec = util.find_spec("serial")
    if spec is None or spec.origin is None:
        return Check("serial module", State.FAILED, "missing", "install pyserial")
    owners = _serial_owners()
    if owners == {LABGRID_FORK}:
        return Check("serial module", State.NOTE, f"{spec.origin}, labgrid's fork")
    others = sorted(owners - {"pyserial"})
    if not others:
        return Check("serial module", State.OK, spec.origin)
    return Check(
        "serial module",
        State.FAILED,
        f"{spec.origin}, also brought by {', '.join(others)}",
        f"use an environment without {', '.join(others)}, then reinstall pyserial",
    )


def _serial_owners() -> set[str]:
    """Return the installed packages that own the name `serial`."""
    return set(metadata.packages_distributions().get("serial", ()))


def _records_folder(folder: Path) -> Check:
    """Write and sync a file, as a record would be; where there is no folder yet, look above it."""
    what = "record folder"
    place = _nearest(folder)
    try:
        if place == folder:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"estim doctor\n")
                file.flush()
                os.fsync(file.fileno())
            return Check(what, State.OK, str(folder))
        is_writable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
        reason = "cannot be made"
    except OSError as error:
        is_writable, reason = False, f"cannot be written: {error.strerror}"
    if is_writable:
        return Check(what, State.OK, f"{folder}, to be made by the first session")
    return Check(
        what,
        State.FAILED,
        f"{folder}: {reason}",
        "make it writable, or choose another folder with --records; no record, no session",
    )


def _free_space(folder: Path) -> Check:
    what = "free space for records"
    try:
        free_bytes = shutil.disk_usage(_nearest(folder)).free
    except OSError as error:
        return Check(what, State.FAILED, f"unknown: {error.strerror}", "look at the record folder")
    found = f"{free_bytes // _MB} MB"
    if free_bytes >= MIN_FREE_BYTES:
        return Check(what, State.OK, found)
    return Check(
        what, State.FAILED, found, f"a session needs {MIN_FREE_BYTES // _MB} MB: make room"
    )


def _station_files(folder: Path) -> Iterator[Check]:
    """Check what people set at this station: a wrong file is refused, never ignored."""
    from estim.prepare import interface, roster, site

    files: tuple[tuple[str, str, Callable[[Path], object]], ...] = (
        ("site policy", site.FILE_NAME, site.load_site),
        ("interface settings", interface.FILE_NAME, interface.load_interface),
        ("roster", roster.FILE_NAME, roster.operators),
    )
    for what, name, load in files:
        path = folder / name
        try:
            load(folder)
        except EstimError as error:
            yield Check(what, State.FAILED, str(error), "correct the file; it is never ignored")
        else:
            found = str(path) if path.exists() else f"none ({path} would be it)"
            yield Check(what, State.OK, found)


def _station_key(folder: Path) -> Check:
    what, path = "station key", folder / station_key.FILE_NAME
    try:
        key = station_key.load(folder)
    except EstimError as error:
        return Check(what, State.FAILED, str(error), "as said; without a key no record is sealed")
    if key is None:
        return Check(what, State.OK, f"{path}, to be made by the first session")
    return Check(what, State.OK, f"{path}, private")


def _station_register(folder: Path) -> Check:
    """Tell which devices are for the bench only."""
    what = "station register"
    from estim.prepare import station

    try:
        known = station.standings(folder, SystemClock().wall().date())
    except EstimError as error:
        return Check(
            what,
            State.FAILED,
            str(error),
            "restore the file from a copy; until then no device may be used on people",
        )
    if not known:
        return Check(what, State.OK, f"no device entered ({folder / station.FILE_NAME})")
    held = [found for found in known if not found.is_for_people]
    if not held:
        return Check(what, State.OK, f"{len(known)} in service")
    found = "; ".join(f"{device.serial_number} {device.words}" for device in held)
    return Check(what, State.NOTE, found, "verify them; `estim station list` tells more")


def _terminal() -> list[Check]:
    what = "terminal"
    if not sys.stdout.isatty():
        return [Check(what, State.NOTE, "none here: the interface needs one, `estim run` does not")]
    size = shutil.get_terminal_size()
    found = f"{size.columns} x {size.lines}"
    is_large = size.columns >= COLUMNS_MIN and size.lines >= LINES_MIN
    remedy = "" if is_large else f"enlarge it to {COLUMNS_MIN} x {LINES_MIN} or more"
    checks = [Check(what, State.OK if is_large else State.NOTE, found, remedy)]
    if can_print(BRAILLE_FULL):
        checks.append(Check("characters", State.OK, f"{sys.stdout.encoding}"))
    else:
        remedy = "choose a UTF-8 locale, for example LC_ALL=C.UTF-8: plots are coarse without"
        checks.append(Check("characters", State.NOTE, f"{sys.stdout.encoding}", remedy))
    kind = os.environ.get("TERM", "")
    if os.environ.get("NO_COLOR"):
        checks.append(Check("colour", State.OK, "switched off by NO_COLOR"))
    elif kind in ("", "dumb"):
        remedy = "set TERM to the terminal's name, for example xterm-256color"
        checks.append(Check("colour", State.NOTE, f"none, TERM is {kind!r}", remedy))
    else:
        checks.append(
            Check("colour", State.OK, f"{kind} {os.environ.get('COLORTERM', '')}".rstrip())
        )
    return checks


def _clock() -> Check:
    """See whether a sleep of the machine would be noticed."""
    clock = SystemClock()
    first_us, boot_us, last_us = clock.now_us(), clock.boot_us(), clock.now_us()
    asleep_s = max(0, boot_us - last_us) // US_PER_S
    if last_us < first_us:
        return Check("clock", State.FAILED, "runs backwards", "report it to the system's maker")
    if not hasattr(time, "CLOCK_BOOTTIME"):
        found = "cannot tell a sleep of the machine"
        return Check("clock", State.NOTE, found, "switch off its sleep yourself")
    return Check("clock", State.OK, f"monotonic; asleep for {asleep_s} s since the start")


def _inhibition() -> Check:
    """Hold sleep off for a moment, in the way a session does."""
    what, remedy = "keeping awake", "switch off the sleep of this computer yourself"
    program = shutil.which("systemd-inhibit")
    if program is None:
        return Check(what, State.NOTE, "this system offers no way", remedy)
    trial = [program, "--what=idle:sleep:handle-lid-switch", "--mode=block", "true"]
    try:
        subprocess.run(trial, timeout=_TRIAL_S, check=True, stdin=DEVNULL, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        return Check(what, State.NOTE, "the system refuses it", remedy)
    return Check(what, State.OK, "idle, sleep and lid switch can be held off")


def _priority() -> Check:
    """Tell whether an engine would come before other programs; tried by another process."""
    trial = "from estim.priority import ask_to_come_first as ask; raise SystemExit(not ask())"
    command = [sys.executable, "-c", trial]
    if subprocess.run(command, check=False, capture_output=True).returncode == 0:
        return Check("priority", State.OK, "an engine may come before other programs")
    remedy = (
        "close other programs during a session, or allow this user a real-time priority of 1 or a "
        "niceness of -10 (limits.conf: rtprio, nice)"
    )
    return Check("priority", State.NOTE, "an engine waits its turn as others do", remedy)


def _viewers() -> Check:
    """Tell where running sessions can be looked at, and which there are."""
    from estim.engine.viewers import claim, is_alive, sockets, viewers_folder

    what, folder = "looking on", viewers_folder()
    try:
        if folder.is_symlink() or folder.exists():
            claim(folder)
    except OSError as error:
        remedy = "set XDG_RUNTIME_DIR to a folder of your own; sessions run without"
        return Check(what, State.NOTE, f"{folder}: {error.strerror or error}", remedy)
    running = [str(path) for path in sockets(folder) if is_alive(path)]
    return Check(what, State.OK, ", ".join(running) or f"no session runs; sockets are in {folder}")


def _serial_rights() -> list[Check]:
    from estim.cli.devices import access_remedy, serial_ports

    ports = serial_ports()
    if not ports:
        return [Check("serial ports", State.OK, "none found; sim: is always there")]
    return [
        Check(f"port {port.port}", State.OK, port.description)
        if port.is_accessible
        else Check(f"port {port.port}", State.FAILED, "access denied", access_remedy(port.port))
        for port in ports
    ]


def _latency_timers() -> list[Check]:
    """See whether FTDI adapters hold bytes back: 16 ms by default, which every round trip waits."""
    found = []
    for timer in sorted(USB_SERIAL.glob("*/latency_timer")):
        try:
            waits_ms = int(timer.read_text())
        except (OSError, ValueError):
            continue
        is_short = waits_ms <= LATENCY_TIMER_MS
        found.append(
            Check(
                f"latency of {timer.parent.name}",
                State.OK if is_short else State.NOTE,
                f"the adapter holds bytes back for up to {waits_ms} ms",
                "" if is_short else f"run `echo {LATENCY_TIMER_MS} | sudo tee {timer}`",
            )
        )
    return found


def _other_drivers() -> list[Check]:
    """Name the drivers that other packages bring; none of them is loaded here."""
    from estim.drivers.registry import brought

    return [
        Check(f"driver {name}:", State.NOTE, f"{place}, brought by another package")
        for name, place in sorted(brought().items())
    ]


def _nearest(folder: Path) -> Path:
    """Return the folder itself, or what there is of the way to it."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
