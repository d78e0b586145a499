"""`estim characterise`: a stimulator's data sheet, on the bench."""

from __future__ import annotations

import sys
from argparse import Namespace
from decimal import Decimal, InvalidOperation
from pathlib import Path

from estim.cli.arguments import whole
from estim.cli.console import complain, say_json
from estim.cli.desk import TerminalDesk
from estim.cli.failures import INTERRUPTED
from estim.cli.interruption import Interruption
from estim.clock import SystemClock
from estim.errors import LimitRefused, UsageError
from estim.prepare import places
from estim.profile.library import find
from estim.rig.characterise import AREAS_CM2, LOADS_OHM, Characterisation, Wanted
from estim.rig.jobs.delivery import Bench, Interrupted
from estim.rig.jobs.job import MANUAL
from estim.rig.measuring import instrument as instruments
from estim.rig.reports import pdf
from estim.rig.reports.markdown import to_markdown
from estim.rig.reports.words import format_ohm
from estim.rig.sheet import check_pictures_available, sheet_blocks, write_sheet
from estim.units import parse_ma
from firmware_protocol import limits

AREA_MAX_CM2 = 400
LOAD_HINT = "without a person: one load at a time, with --load OHM"
_MISSING = (
    "characterisation is for the bench: add --bench OHM, the dummy load that is set now, and "
    "--nobody-connected"
)


def run(arguments: Namespace) -> int:
    """Characterise a device; write the sheet, its JSON and its pictures."""
    if arguments.bench is None or not arguments.nobody_connected:
        raise LimitRefused(_MISSING)
    bench_ohm = whole("--bench", arguments.bench, 1, 1_000_000)
    if bench_ohm not in LOADS_OHM:
        known = ", ".join(map(str, LOADS_OHM))
        raise UsageError(f"--bench {bench_ohm}: expected one of the loads of the sheet: {known}")
    out = Path(arguments.out) if arguments.out else None
    if out is not None:
        check_pictures_available()
    if arguments.pdf:
        pdf.check_available()
        if out is None:
            raise UsageError("--pdf: expected --out DIR, where to write it")
    wanted = _wanted(arguments)
    clock = SystemClock()
    with Interruption() as interruption:
        desk = TerminalDesk(
            interruption, is_json=arguments.json, where="characterise", hint=LOAD_HINT
        )
        loads_ohm = _loads_ohm(arguments, bench_ohm)

        def set_load(load_ohm: int) -> None:
            if load_ohm == bench_ohm or arguments.device.startswith("sim:"):
                return
            question = f"Set the dummy load to {format_ohm(load_ohm)}; nobody connected. Is it set?"
            if desk.ask("load_is_set", question, ("yes", "no")) == "no":
                raise LimitRefused("the dummy load is not set: nothing is delivered")

        walk = Characterisation(
            bench=Bench(
                arguments.device,
                arguments.clock == "virtual",
                Path(arguments.records) if arguments.records else places.records_folder(),
                interruption.reason,
            ),
            wanted=wanted,
            clock=clock,
            say=lambda text: print(text, file=sys.stderr, flush=True),
            set_load=set_load,
        )
        try:
            sheet = walk.run(loads_ohm)
        except Interrupted:
            complain(f"{interruption.reason()}: the output is off, nothing is kept")
            return INTERRUPTED
    if out is not None:
        write_sheet(out, sheet, with_pdf=arguments.pdf)
    if arguments.json:
        fields = {key: found for key, found in sheet.items() if key != "schema"}
        say_json(sheet["schema"], **fields)
    elif out is None:
        print(to_markdown(sheet_blocks(sheet, ())), end="")
    else:
        print(f"{out}: " + ", ".join(sorted(path.name for path in out.iterdir())))
    return 0


def _loads_ohm(arguments: Namespace, bench_ohm: int) -> tuple[int, ...]:
    """Return the loads to walk: the one that is set now first."""
    chosen = [whole("--load", text, 1, 1_000_000) for text in arguments.load or []]
    for load_ohm in chosen:
        if load_ohm not in LOADS_OHM:
            known = ", ".join(map(str, LOADS_OHM))
            raise UsageError(f"--load {load_ohm}: expected one of the loads of the sheet: {known}")
    walked = [load_ohm for load_ohm in LOADS_OHM if not chosen or load_ohm in chosen]
    return tuple(sorted(walked, key=lambda load_ohm: load_ohm != bench_ohm))


def _wanted(arguments: Namespace) -> Wanted:
    loaded = find(arguments.profile)
    if arguments.device.startswith(MANUAL):
        raise UsageError("--device manual: has no port; a job for `estim verify` measures it")
    if arguments.captures and not arguments.instrument:
        raise UsageError("--captures: expected --instrument FILE, what takes them")
    amplitudes_ua = sorted({_amplitude_ua(text) for text in arguments.amplitude or []})
    areas = tuple(_area_cm2(text) for text in arguments.area or [])
    return Wanted(
        loaded=loaded,
        channel=whole("--channel", arguments.channel, 1, len(loaded.profile.channels)),
        amplitudes_ua=tuple(amplitudes_ua),
        areas_cm2=areas or AREAS_CM2,
        captures=Path(arguments.captures) if arguments.captures else None,
        instrument=instruments.load(arguments.instrument) if arguments.instrument else None,
        today=SystemClock().wall().date(),
    )


def _area_cm2(text: str) -> Decimal:
    """Read an area to state densities for; the sheet is of the device, so no profile binds it."""
    try:
        area_cm2 = Decimal(text) if text.isascii() and "_" not in text else Decimal("NaN")
    except InvalidOperation:
        area_cm2 = Decimal("NaN")
    if not area_cm2.is_finite() or not 1 <= area_cm2 <= AREA_MAX_CM2:
        raise UsageError(f"--area {text}: expected 1 to {AREA_MAX_CM2} cm2")
    return area_cm2


def _amplitude_ua(text: str) -> int:
    try:
        amplitude_ua = parse_ma(text)
    except ValueError as error:
        raise UsageError(f"--amplitude: {error}") from None
    if not 0 < amplitude_ua <= limits.amplitude_ua.maximum:
        raise UsageError(f"--amplitude {text}: expected above 0 and up to 100 mA")
    return amplitude_ua
