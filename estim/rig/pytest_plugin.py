"""Test stimulators with pytest: fixtures, markers, whose fault it was, and what is kept of it.

Rules:
1. A test of a device without `--estim-device` is skipped, never run on the simulator unasked.
2. A fault of rig or host is an error and may be tried again, every attempt kept and told; a
   device's is a failure, and stands at once.
3. One test at a time uses a device, whatever worker it runs in.
4. Nothing but the standard library is loaded, and no hook does anything, until a test asks for a
   fixture of ours.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from estim import api
    from estim.rig.measuring.expectation import Expected
    from estim.rig.measuring.result import Result
    from estim.rig.self_check import Bench
    from estim.session.messages import Blame, DeviceSnapshot

FIXTURES = ("estim_bench", "stimulator", "virtual_stimulator")
VIRTUAL_URL = "sim:?load=500"
TRACE_FLUSHED_S = 0.2
ARTEFACTS = "estim-artefacts"
_RETRIED = "attempt_"


@dataclass
class Attempt:
    """What is known of one attempt at one test."""

    item: pytest.Item
    number: int
    folder: Path | None = None
    stimulator: api.Stimulator | None = None
    has_failed: bool = False
    is_rigs_alone: bool = True
    words: list[str] = field(default_factory=list)

    @property
    def kept(self) -> Path:
        """Return where this attempt is kept once it has failed."""
        option = self.item.config.option
        name = "".join(
            letter if letter.isalnum() or letter in "._-" else "_" for letter in self.item.nodeid
        )
        folder = Path(option.estim_artefacts or self.item.config.rootpath / ARTEFACTS)
        run: str = option.estim_run
        return folder / run / name[-150:] / f"attempt-{self.number}"

    def tell(self, name: str, content: object) -> None:
        """Set a property of the test in every report from now on."""
        properties = self.item.user_properties
        properties[:] = [each for each in properties if each[0] != name]
        properties.append((name, str(content)))


_ATTEMPT = pytest.StashKey[Attempt]()
_CHECKED = pytest.StashKey["DeviceSnapshot"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("estim", "stimulators")
    add = group.addoption
    add("--estim-device", metavar="URL", help="the device, such as native:/dev/ttyUSB0 or sim:")
    add("--estim-bench", type=int, metavar="OHM", help="its dummy load; nobody is connected")
    add("--estim-channels", default="1", metavar="N,N", help="channels with a load (default: 1)")
    add(
        "--estim-load-tolerance", type=int, default=10, metavar="PERCENT",
        help="of the measured load (default: 10)",
    )  # fmt: skip
    add("--estim-dut", metavar="ID", help="serial number that the device must have, or is given")
    add("--estim-rig", default=platform.node(), metavar="NAME", help="of this rig (host name)")
    add("--estim-firmware", metavar="FILE", help="image in the device; its hash is reported")
    add("--estim-capture", metavar="URL", help="instrument: folder:, command: or scpi:")
    add("--estim-seed", type=int, default=0, metavar="N", help="of the virtual clock (default: 0)")
    add(
        "--estim-rig-retries", type=int, default=1, metavar="N",
        help="more attempts after a fault of rig or host (default: 1)",
    )  # fmt: skip
    add(
        "--estim-lock-timeout", type=float, default=120.0, metavar="S",
        help="how long to wait for a device in use (default: 120)",
    )  # fmt: skip
    add("--estim-artefacts", metavar="DIR", help=f"where records and traces go ({ARTEFACTS}/)")
    add(
        "--estim-keep", choices=("failed", "all"), default="failed",
        help="whose records and traces are kept (default: failed)",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers; refuse options that make no sense, before anything runs."""
    config.addinivalue_line("markers", "estim_hardware: needs a real device, never the simulator")
    config.addinivalue_line(
        "markers", "estim_profile(id, duration_s=None): what `estim_session` has loaded"
    )
    if not hasattr(config.option, "estim_run"):  # workers are given that of their controller
        from estim.clock import SystemClock

        config.option.estim_run = f"{SystemClock().wall():%Y%m%d-%H%M%S-%f}"
    if config.option.estim_device:
        from estim.errors import EstimError

        try:
            bench_of(config)
        except EstimError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what is tested, where a device is."""
    if not config.option.estim_device:
        return None
    bench = bench_of(config)
    return f"estim: {bench.url}, {bench.load_ohm} ohm, rig {config.option.estim_rig}"


def bench_of(config: pytest.Config) -> Bench:
    """Return the bench that the options describe.

    Raises:
        UsageError: they make no sense.
    """
    from estim import api
    from estim.drivers.registry import driver_name
    from estim.errors import UsageError
    from estim.rig.self_check import Bench

    option = config.option
    url: str = option.estim_device
    is_simulated = driver_name(url) == "sim"
    if option.estim_bench is None and not is_simulated:
        raise UsageError(
            "--estim-device needs --estim-bench OHM: a dummy load, and nobody connected"
        )
    load_ohm = api.simulated_ohm(url) if option.estim_bench is None else option.estim_bench
    if load_ohm < 1:
        raise UsageError(f"--estim-bench {load_ohm}: expected ohms above 0")
    if is_simulated and "load=" not in url:
        url = api.simulator_url(url, {"load": str(load_ohm)})
    channels = option.estim_channels.split(",")
    if not all(each.isascii() and each.isdigit() and int(each) for each in channels):
        raise UsageError(f"--estim-channels {option.estim_channels}: expected such as 1,2")
    if option.estim_firmware and not Path(option.estim_firmware).is_file():
        raise UsageError(f"--estim-firmware {option.estim_firmware}: there is no such file")
    if option.estim_capture:
        from estim.rig.captures.sources import check_source

        check_source(option.estim_capture)
    return Bench(
        url=url,
        load_ohm=load_ohm,
        channels=tuple(map(int, channels)),
        tolerance_percent=option.estim_load_tolerance,
        dut=option.estim_dut or "",
    )


# Fixtures.


@pytest.fixture
def estim_bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Bench]:
    """Give the device of --estim-device to this test alone, on a rig that was checked, not opened.

    For tools that open it themselves: `url`, `load_ohm`, and `folder` for what they write.
    """
    config = request.config
    url = config.option.estim_device
    if not url:
        pytest.skip("no --estim-device; --estim-device sim: takes the simulator")
    if request.node.get_closest_marker("estim_hardware") and url.startswith("sim:"):
        pytest.skip(f"needs a real device, and {url} is the simulator")
    from estim.rig.port_lock import port_lock
    from estim.rig.self_check import check, check_identity

    attempt = request.node.stash[_ATTEMPT]
    attempt.folder = tmp_path_factory.mktemp("estim")
    bench = bench_of(config)
    with port_lock(bench.url, config.option.estim_lock_timeout, request.node.nodeid):
        if _CHECKED not in config.stash:
            config.stash[_CHECKED] = check(bench, attempt.folder / "self-check").device
        device = config.stash[_CHECKED]
        _tell_device(attempt, device, check_identity(device, bench.dut))
        yield replace(bench, folder=attempt.folder)


@pytest.fixture
def stimulator(request: pytest.FixtureRequest, estim_bench: Bench) -> Generator[api.Stimulator]:
    """Give the device of --estim-device, identified, on a rig that was checked, to this test alone.

    It is an `estim.api.Stimulator`; whatever the test does, it ends at zero.
    """
    from estim import api
    from estim.rig.self_check import check_identity

    attempt, folder = request.node.stash[_ATTEMPT], estim_bench.folder
    opened_url = estim_bench.url
    if opened_url.startswith("sim:") and "trace=" not in opened_url:
        opened_url = api.simulator_url(opened_url, {"trace": str(folder / "trace.csv")})
    with api.open(
        opened_url, bench_ohm=estim_bench.load_ohm, records=folder
    ) as attempt.stimulator:  # fmt: skip
        device = attempt.stimulator.identify()
        _tell_device(attempt, device, check_identity(device, estim_bench.dut))
        yield attempt.stimulator
        _tell_program(attempt)


@pytest.fixture
def virtual_stimulator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[api.Stimulator]:
    """Give the simulator on a virtual clock, in this process: an hour takes seconds."""
    from estim import api

    attempt = request.node.stash[_ATTEMPT]
    attempt.folder = tmp_path_factory.mktemp("estim")
    with api.open(
        VIRTUAL_URL, is_virtual=True, seed=request.config.option.estim_seed,
        records=attempt.folder,
    ) as attempt.stimulator:  # fmt: skip
        device = attempt.stimulator.identify()
        _tell_device(attempt, device, device.serial_number)
        yield attempt.stimulator
        _tell_program(attempt)


@pytest.fixture
def estim_session(request: pytest.FixtureRequest, stimulator: api.Stimulator) -> api.Stimulator:
    """Give `stimulator` with the profile of the marker `estim_profile` loaded: arm, then start."""
    from estim.profile.library import find

    marker = request.node.get_closest_marker("estim_profile")
    if marker is None or len(marker.args) != 1:
        pytest.fail("estim_session needs a marker such as @pytest.mark.estim_profile('tens-burst')")
    stimulator.prepare(find(marker.args[0]), **marker.kwargs)
    _tell_program(request.node.stash[_ATTEMPT])
    return stimulator


class Load:
    """The dummy load of a bench; where a rig can switch its own, override the fixture `load`.

    Attributes:
        ohm: as declared, or as set last.
        is_settable: whether this one can be changed from here.
    """

    def __init__(self, stimulator: api.Stimulator, ohm: int) -> None:
        self.ohm = ohm
        self.is_settable = stimulator.url.startswith("sim:")
        self._stimulator = stimulator

    def set(self, ohm: int, channel: int = 1) -> None:
        """Connect another load; skip the test where that needs a person."""
        self._play(f"load {channel} {ohm}")
        self.ohm = ohm

    def take_off(self, channel: int = 1) -> None:
        """Take a lead off; skip the test where that needs a person."""
        self._play(f"lead-off {channel}")

    def put_on(self, channel: int = 1) -> None:
        """Put a lead on again; skip the test where that needs a person."""
        self._play(f"lead-on {channel}")

    def _play(self, line: str) -> None:
        from estim.session.messages import InjectFault

        if not self.is_settable:
            pytest.skip(f"nobody is here to change the load of {self._stimulator.url}")
        self._stimulator.ask(InjectFault(self._stimulator.engine.new_id(), line))


@pytest.fixture
def load(request: pytest.FixtureRequest, stimulator: api.Stimulator) -> Load:
    """Give the dummy load: its ohms, and where it is simulated a way to change it."""
    return Load(stimulator, bench_of(request.config).load_ohm)


@pytest.fixture
def estim_trace(request: pytest.FixtureRequest, stimulator: api.Stimulator) -> Path:
    """Give the file to which the simulator writes what reaches the load; skip elsewhere."""
    from urllib.parse import parse_qs

    written = parse_qs(stimulator.url.partition("?")[2]).get("trace")
    if not stimulator.url.startswith("sim:") or not written:
        pytest.skip(f"{stimulator.url} writes no trace; --estim-capture names an instrument")
    return Path(written[0])


Measure = Callable[..., "Result"]


@pytest.fixture
def estim_measure(request: pytest.FixtureRequest, estim_session: api.Stimulator) -> Measure:
    """Give what holds an output on its plateau and measures it against its programme.

    `estim_measure(2.0, channel=1, amplitude_ua=4000)` returns a `Result` of `estim.rig.measuring`:
    of what the instrument of --estim-capture took, or of the simulator's trace.
    """
    from estim.errors import RigFault
    from estim.rig.captures.capture import ReadOptions
    from estim.rig.measuring.expectation import Expected
    from estim.rig.measuring.measurement import Settings, measure

    source_url = request.config.option.estim_capture
    folder = request.node.stash[_ATTEMPT].folder
    load_ohm = bench_of(request.config).load_ohm
    trace = None if source_url else request.getfixturevalue("estim_trace")

    def measured(duration_s: float, *, channel: int, amplitude_ua: int) -> Result:
        prepared = estim_session.prepared
        if prepared is None:
            raise RigFault("nothing is loaded: there is nothing to measure against")
        expected = Expected.of(prepared, channel - 1, amplitude_ua)
        if trace is not None:
            path = _cut(estim_session, trace, expected, duration_s)
        else:
            path = _captured(estim_session, source_url, folder, duration_s)
        read = ReadOptions(load_ohm=load_ohm, channel=channel)
        return measure(path, expected, Settings(read=read))

    return measured


def _cut(session: api.Stimulator, trace: Path, expected: Expected, duration_s: float) -> Path:
    """Hold the output, and return what of the trace lies in that time."""
    from estim.errors import RigFault
    from estim.rig.jobs.taking import cut_trace

    clock = session.engine.clock
    began_us = clock.now_us()
    session.hold(duration_s)
    ended_us = clock.now_us()
    session.hold(TRACE_FLUSHED_S)
    cut = trace.with_name("measured.csv")
    number = expected.channel_number
    cut_trace(trace, cut, expected.channel, number, (began_us, ended_us))
    if len(cut.read_text("ascii").splitlines()) < 2:
        raise RigFault(f"channel {number}: the trace holds no pulse")
    return cut


def _captured(session: api.Stimulator, source_url: str, folder: Path, duration_s: float) -> Path:
    """Hold the output while an instrument captures, and return a copy of its file."""
    import shutil

    from estim.rig.captures.sources import open_source

    source = open_source(source_url, folder)
    try:
        source.arm()
        session.hold(duration_s)
        taken = source.fetch(session.pump)
    finally:
        source.close()
    kept = folder / taken.name
    if kept != taken:
        shutil.copyfile(taken, kept)
    return kept


# Reports.


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test of ours; try again where rig or host alone were at fault."""
    if not set(FIXTURES).intersection(getattr(item, "fixturenames", ())):
        return None
    from _pytest.runner import runtestprotocol

    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    attempts = max(0, item.config.option.estim_rig_retries) + 1
    for number in range(1, attempts + 1):
        attempt = item.stash[_ATTEMPT] = Attempt(item, number)
        _tell_rig(attempt)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        is_over = not attempt.has_failed or not attempt.is_rigs_alone or number == attempts
        if is_over or item.session.shouldstop:
            break
        attempt.tell(f"{_RETRIED}{number}", "; ".join((*attempt.words, f"kept: {attempt.kept}")))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost: after what xfail makes of it
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say whose fault a failure was: an error for rig and host, a failure for the device."""
    report = yield
    attempt = item.stash.get(_ATTEMPT, None)
    if attempt is None:
        return report
    if report.failed and call.excinfo is not None and not hasattr(report, "wasxfail"):
        _judge(attempt, report, call.excinfo.value)
    keeps_all = item.config.option.estim_keep == "all" and attempt.folder is not None
    if call.when == "teardown" and (keeps_all or (attempt.has_failed and report.when == call.when)):
        _keep(attempt, report)
    report.user_properties = list(item.user_properties)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell which tests were tried again, and why."""
    told = set()
    for reports in list(terminalreporter.stats.values()):
        for report in reports:
            for name, words in getattr(report, "user_properties", ()):
                if name.startswith(_RETRIED) and (report.nodeid, name) not in told:
                    told.add((report.nodeid, name))
                    if len(told) == 1:
                        terminalreporter.section("estim: tried again after a fault of the rig")
                    terminalreporter.write_line(f"{report.nodeid} {name}: {words}")


def _judge(attempt: Attempt, report: pytest.TestReport, error: BaseException) -> None:
    from estim.session.messages import Blame

    blame = blame_of(error, attempt.stimulator)
    is_rigs = blame in (Blame.RIG, Blame.HOST)
    attempt.has_failed = True
    attempt.is_rigs_alone &= is_rigs
    attempt.words.append(f"{blame.value}: {error}"[:500])
    attempt.tell("blame", blame.value)
    attempt.tell("artefacts", attempt.kept)
    if is_rigs and report.when == "call":
        report.when = "setup"  # what every reader of reports takes for an error
    elif blame is Blame.DEVICE and report.when == "setup":
        report.when = "call"
    words = f"blame: {blame.value}\nkept in: {attempt.kept}"
    report.sections.append(("estim", words))


def blame_of(error: BaseException, stimulator: api.Stimulator | None) -> Blame:
    """Return whom a failure points at: what the error says, else the session, else its kind."""
    from estim.errors import EstimError
    from estim.session.messages import Blame
    from estim.session.suspects import suspect_of

    if isinstance(error, EstimError) and error.blame:
        return Blame(error.blame)
    if stimulator is not None and stimulator.suspect is not None:
        return stimulator.suspect
    return suspect_of(error) if isinstance(error, EstimError) else Blame.UNKNOWN


def _keep(attempt: Attempt, report: pytest.TestReport) -> None:
    """Copy records and trace of a failed test, now that they are closed."""
    import shutil

    try:
        attempt.kept.mkdir(parents=True, exist_ok=True)
        if attempt.folder is not None:
            shutil.copytree(attempt.folder, attempt.kept, dirs_exist_ok=True)
        if attempt.words:
            (attempt.kept / "failure.txt").write_text("\n".join(attempt.words) + "\n", "utf-8")
    except OSError as error:
        attempt.tell("artefacts", f"not kept: {error}")
        report.sections.append(("estim", f"nothing could be kept: {error}"))


def _tell_rig(attempt: Attempt) -> None:
    """Set what is known before the device is; so every report has each of these."""
    properties = attempt.item.user_properties
    properties[:] = [each for each in properties if each[0] not in ("blame", "artefacts")]
    from firmware_protocol.schema import SCHEMA_HASH

    option = attempt.item.config.option
    firmware_hash = "not stated"
    if option.estim_firmware:
        import hashlib

        image = Path(option.estim_firmware).read_bytes()
        firmware_hash = f"sha256:{hashlib.sha256(image).hexdigest()}"
    for name, content in (
        ("dut_serial", "not identified"),
        ("dut_model", "not identified"),
        ("firmware_version", "not identified"),
        ("firmware_hash", firmware_hash),
        ("schema_hash", f"{SCHEMA_HASH:08x}"),
        ("program_digest", "nothing loaded"),
        ("rig", option.estim_rig),
        ("seed", option.estim_seed),
        ("attempts", attempt.number),
    ):
        attempt.tell(name, content)


def _tell_device(attempt: Attempt, device: DeviceSnapshot, dut: str) -> None:
    attempt.tell("dut_serial", dut)
    attempt.tell("dut_model", device.model)
    attempt.tell("firmware_version", device.firmware_version)


def _tell_program(attempt: Attempt) -> None:
    prepared = attempt.stimulator.prepared if attempt.stimulator else None
    if prepared is not None:
        attempt.tell("program_digest", f"{prepared.program.digest:08x}")
