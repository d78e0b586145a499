"""The command line as people type it; what a command does is loaded when it runs.

Rules:
1. Values stay text here, and are read where they are used: one place knows what is allowed.
2. Abbreviated flags are refused, so that a new flag never changes what an old script means.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any, NoReturn

from estim.cli.version import VERSION_TEXT
from estim.errors import UsageError

_JSON_HELP = "one JSON object per line instead of words"
_RECORDS_HELP = "folder of the records (default: this user's)"
_AMPLITUDE_HELP = "repeatable, others are at zero; default: every channel at its ceiling"
_AREA_HELP = "area of the smallest electrode (default: what the profile recommends)"
_CODES = (
    "Exit codes: 0 done, 1 a check failed, 2 bad usage or bad input, 3 no device, 4 refused by a "
    "limit or an interlock, 5 device fault or link lost, 130 interrupted."
)

THEMES = ("dark", "colour-blind-safe", "high-contrast")
Commands = Any  # argparse keeps its own type private


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the arguments, with `run` as the function that carries them out.

    Raises:
        UsageError: the command line makes no sense.
        SystemExit: help was asked for, and has been printed.
    """
    return build_parser().parse_args(argv)


class Parser(argparse.ArgumentParser):
    """Report a bad command line as any other failure is reported."""

    late_epilog: Callable[[], str] | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def format_help(self) -> str:
        """Return the help, with an epilog that is loaded for it alone."""
        if self.late_epilog is not None:
            self.epilog = self.late_epilog()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (`{self.prog} --help` tells more)")


def build_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="estim",
        description="Run guided sessions of transcutaneous electrical stimulation from a terminal. "
        "Not a certified medical device. Without a command: the terminal interface.",
        epilog=_CODES,
    )
    parser.add_argument("--version", action="version", version=VERSION_TEXT)
    parser.add_argument("--theme", choices=THEMES, help="colours of the terminal interface")
    parser.add_argument(
        "--reduced-motion", action="store_true", help="nothing moves there but the beat"
    )
    parser.set_defaults(run=_lazily("estim.cli.start"))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_run(commands)
    _add_simulate(commands)
    _add_devices(commands)
    _add_profiles(commands)
    _add_protocols(commands)
    _add_records(commands)
    _add_measure(commands)
    _add_baseline(commands)
    _add_doctor(commands)
    _add_verify(commands)
    _add_characterise(commands)
    _add_station(commands)
    _add_roster(commands)
    _add_config(commands)
    _add_completion(commands)
    _add_serve(commands)
    return parser


def _lazily(module: str, function: str = "run") -> Callable[[argparse.Namespace], int]:
    """Return what imports `module` only when it is called."""

    def call(arguments: argparse.Namespace) -> int:
        code: int = getattr(importlib.import_module(module), function)(arguments)
        return code

    return call


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _add(commands: Commands, name: str, summary: str, module: str, function: str = "run") -> Parser:
    parser: Parser = commands.add_parser(name, help=summary, description=_sentence(summary))
    parser.set_defaults(run=_lazily(module, function))
    return parser


def _add_group(commands: Commands, name: str, summary: str, actions: str) -> Commands:
    """Add a command that is followed by one of several actions; return where they are added."""
    group: Parser = commands.add_parser(name, help=summary, description=_sentence(summary))
    return group.add_subparsers(metavar=actions, required=True)


def _add_run(commands: Commands) -> None:
    parser = _add(commands, "run", "deliver a profile on a dummy load", "estim.cli.run")
    parser.add_argument("profile", metavar="PROFILE", help="id of a shipped profile, or a file")
    parser.add_argument("--device", metavar="URL", default="sim:", help="default: %(default)s")
    parser.add_argument(
        "--amplitude", metavar="CH=MA", action="append", help="target of a channel; repeatable"
    )
    parser.add_argument("--duration", metavar="S", help="seconds once every target is reached")
    parser.add_argument("--clock", choices=("real", "virtual"), default="real")
    parser.add_argument("--seed", metavar="N", help="decides every random choice")
    parser.add_argument(
        "--bench", metavar="OHM", help="declares a dummy load, and that nobody is connected"
    )
    parser.add_argument("--area", metavar="CM2", help=_AREA_HELP)
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)
    parser.add_argument("--junit", metavar="FILE", help="write the outcome as JUnit XML")
    parser.add_argument("--records", metavar="DIR", help=_RECORDS_HELP)
    parser.add_argument("--trace", metavar="FILE", help="with sim: CSV of what reached the load")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="be asked in plain lines, for screen readers; every rise is typed",
    )


def _add_simulate(commands: Commands) -> None:
    parser = _add(
        commands,
        "simulate",
        "be a virtual stimulator on a pseudo-terminal or TCP port",
        "estim.cli.simulate",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.late_epilog = lambda: str(importlib.import_module("estim.simulator.faults").SCRIPT_HELP)
    parser.add_argument(
        "--model",
        choices=("native", "reference"),
        help="which device to be: the simulator's own, or the reference firmware in C",
    )
    parser.add_argument(
        "--load", metavar="OHM|NAME", help="ohms, or good-gel, typical, dry, open, short"
    )
    parser.add_argument("--faults", metavar="FILE", help="fault script, see below")
    parser.add_argument("--trace", metavar="FILE", help="CSV of what reached the load")
    parser.add_argument("--tcp", metavar="PORT", help="listen on 127.0.0.1; 0 for any port")
    parser.add_argument("--channels", metavar="N", help="number of channels")
    parser.add_argument("--serial", metavar="TEXT", help="serial number")
    parser.add_argument("--seed", metavar="N", help="decides every random choice")
    parser.add_argument(
        "--patient-stop", metavar="yes|no", help="whether there is a stop for the patient"
    )


def _add_devices(commands: Commands) -> None:
    parser = _add(commands, "devices", "list serial ports and the simulator", "estim.cli.devices")
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)


def _add_doctor(commands: Commands) -> None:
    parser = _add(
        commands, "doctor", "check what this computer offers, with remedies", "estim.cli.doctor"
    )
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)
    parser.add_argument("--records", metavar="DIR", help=_RECORDS_HELP)


def _add_verify(commands: Commands) -> None:
    parser = _add(
        commands, "verify", "do a technician's job and write its report", "estim.cli.verify"
    )
    parser.add_argument("job", metavar="JOB.toml", help="what to verify, with what")
    parser.add_argument(
        "--answer",
        metavar="NAME=WORD",
        action="append",
        help="what would be asked, as in [answers]: nobody_connected=yes, visual.case=pass; "
        "repeatable",
    )
    parser.add_argument("--pdf", action="store_true", help="the report as PDF too")
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)
    parser.add_argument("--records", metavar="DIR", help=_RECORDS_HELP)


def _add_characterise(commands: Commands) -> None:
    parser = _add(
        commands,
        "characterise",
        "write a stimulator's data sheet at 500 ohm, 2 kohm and 10 kohm",
        "estim.cli.characterise",
    )
    parser.add_argument("--device", metavar="URL", default="sim:", help="default: %(default)s")
    parser.add_argument(
        "--bench", metavar="OHM", help="declares the dummy load that is set now (500)"
    )
    parser.add_argument(
        "--nobody-connected", action="store_true", help="declares that nobody is connected"
    )
    parser.add_argument(
        "--load", metavar="OHM", action="append", help="500, 2000 or 10000; default: all three"
    )
    parser.add_argument("--profile", metavar="PROFILE", default="dpn-conventional")
    parser.add_argument("--channel", metavar="CH", default="1", help="default: %(default)s")
    parser.add_argument(
        "--amplitude", metavar="MA", action="append", help="repeatable; default: five of them"
    )
    parser.add_argument(
        "--area", metavar="CM2", action="append", help="of an electrode; repeatable"
    )
    parser.add_argument(
        "--captures", metavar="DIR", help="take oscilloscope captures from this folder"
    )
    parser.add_argument("--instrument", metavar="FILE", help="what takes the captures")
    parser.add_argument("--clock", choices=("real", "virtual"), default="real")
    parser.add_argument("--out", metavar="DIR", help="write sheet and pictures here")
    parser.add_argument("--pdf", action="store_true", help="with --out: the sheet as PDF too")
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)
    parser.add_argument("--records", metavar="DIR", help=_RECORDS_HELP)


def _add_station(commands: Commands) -> None:
    actions = _add_group(
        commands,
        "station",
        "look at and change which devices may be used on people",
        "list|show|set",
    )
    module = "estim.cli.station"
    listing = _add(actions, "list", "list where every known device stands", module, "run_list")
    show = _add(actions, "show", "show every entry about a device", module, "run_show")
    show.add_argument("serial", metavar="SERIAL")
    change = _add(actions, "set", "enter where a device stands", module, "run_set")
    change.add_argument("serial", metavar="SERIAL")
    change.add_argument("--state", choices=("in-service", "quarantined"))
    change.add_argument("--due", metavar="DATE", help="last day before the next check, 2027-01-31")
    change.add_argument("--who", metavar="NAME", required=True, help="who says so")
    change.add_argument("--why", metavar="TEXT", required=True, help="for what reason")
    for parser in (listing, show, change):
        parser.add_argument("--json", action="store_true", help=_JSON_HELP)


def _add_serve(commands: Commands) -> None:
    parser = _add(
        commands, "serve", "let a browser on this computer look on, view only", "estim.cli.serve"
    )
    parser.epilog = "Prints the address with its token, then serves until Ctrl+C."
    parser.add_argument(
        "--host", default="127.0.0.1", help="127.0.0.1, localhost or ::1; default: %(default)s"
    )
    parser.add_argument("--port", metavar="N", default="8000", help="0 for any; default: 8000")


def _add_roster(commands: Commands) -> None:
    actions = _add_group(
        commands, "roster", "look at and change who works at this station", "list|add|pin|remove"
    )
    module = "estim.cli.roster"
    listing = _add(actions, "list", "list who works here", module, "run_list")
    add = _add(actions, "add", "add somebody, with a role and a PIN", module, "run_add")
    add.add_argument("operator", metavar="ID", help="a pseudonym that nobody has had")
    add.add_argument(
        "--role", choices=("therapist", "clinician", "technician"), required=True,
        help="a clinician may override screening items",
    )  # fmt: skip
    pin = _add(actions, "pin", "give somebody another PIN", module, "run_pin")
    remove = _add(actions, "remove", "take somebody off, for good", module, "run_remove")
    for parser in (pin, remove):
        parser.add_argument("operator", metavar="ID")
    for parser in (add, pin):
        parser.add_argument(
            "--pin-stdin", action="store_true", help="read the PIN from standard input"
        )
    for parser in (listing, add, pin, remove):
        parser.add_argument("--json", action="store_true", help=_JSON_HELP)


def _add_config(commands: Commands) -> None:
    module = "estim.cli.config"
    group = _add(commands, "config", "show and change the settings of this station", module)
    group.add_argument("--json", action="store_true", help=_JSON_HELP)
    actions = group.add_subparsers(metavar="path|get|set")
    path = _add(actions, "path", "print the configuration folder", module, "run_path")
    get = _add(actions, "get", "print one setting", module, "run_get")
    change = _add(actions, "set", "change one setting", module, "run_set")
    for parser in (get, change):
        parser.add_argument("key", metavar="KEY", help="as `estim config` lists them")
    change.add_argument("typed", metavar="VALUE", help="'default' takes it out of its file again")
    for parser in (path, get, change):
        # Suppressed, or it would undo a --json before the action.
        parser.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help=_JSON_HELP
        )


def _add_completion(commands: Commands) -> None:
    parser = _add(
        commands, "completion", "print what completes commands in a shell", "estim.cli.completion"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.epilog = (
        "bash: estim completion bash > ~/.local/share/bash-completion/completions/estim\n"
        "zsh:  estim completion zsh > FOLDER/_estim, where FOLDER stands in $fpath\n"
        "tcsh: estim completion tcsh | source /dev/stdin, or from a file in ~/.tcshrc"
    )


def _add_profiles(commands: Commands) -> None:
    actions = _add_group(
        commands, "profiles", "look at treatment profiles", "list|show|check|plot|diff|export"
    )
    module = "estim.cli.profiles"

    listing = _add(actions, "list", "search the library", "estim.cli.profile_list")
    listing.add_argument("text", metavar="TEXT", nargs="*", help="words that must all occur")
    listing.add_argument("--condition", metavar="C", help="what it is for, for example neuropathy")
    listing.add_argument("--mode", metavar="M", help="for example burst")
    listing.add_argument(
        "--device", metavar="URL", help="ask this device, and tell which profiles it can make"
    )
    listing.add_argument("--json", action="store_true", help=_JSON_HELP)

    show = _add(
        actions,
        "show",
        "show parameters, figures, the limits that bind, and evidence",
        module,
        "run_show",
    )
    show.add_argument("profile", metavar="ID|FILE")
    show.add_argument("--json", action="store_true", help=_JSON_HELP)
    show.add_argument("--area", metavar="CM2", help=_AREA_HELP)
    show.add_argument(
        "--amplitude", metavar="CH=MA", action="append", help="also at this target; repeatable"
    )

    check = _add(actions, "check", "check profiles against every limit", "estim.cli.profile_check")
    check.add_argument("profiles", metavar="FILE", nargs="+", help="a file, or the id of a profile")
    check.add_argument("--area", metavar="CM2", help=_AREA_HELP)
    check.add_argument("--json", action="store_true", help=_JSON_HELP)

    plot = _add(
        actions,
        "plot",
        "draw pulse, train or burst, modulation, cycle and the whole session",
        "estim.cli.profile_plot",
    )
    plot.add_argument("profile", metavar="ID|FILE")
    plot.add_argument("--channel", metavar="CH", default="1", help="default: %(default)s")
    plot.add_argument("--width", metavar="COLUMNS", help="default: that of the terminal")
    plot.add_argument("--svg", metavar="FILE", help="a page with every channel, into a file")
    plot.add_argument("--png", metavar="FILE", help="the same as pixels")
    plot.add_argument("--force", action="store_true", help="replace files that exist")
    plot.add_argument("--amplitude", metavar="CH=MA", action="append", help=_AMPLITUDE_HELP)
    _add_export(actions)

    diff = _add(
        actions, "diff", "say in physics what changed from A to B", "estim.cli.profile_diff"
    )
    diff.epilog = "Exit code 0: no difference; 1: they differ, as with the command diff."
    diff.add_argument("first", metavar="A", help="id of a shipped profile, or a file")
    diff.add_argument("second", metavar="B", help="id of a shipped profile, or a file")
    diff.add_argument("--json", action="store_true", help=_JSON_HELP)


def _add_protocols(commands: Commands) -> None:
    actions = _add_group(commands, "protocols", "look at guided visits", "list|show|check")
    module = "estim.cli.protocols"

    listing = _add(actions, "list", "list the shipped protocols", module, "run_list")
    listing.add_argument("--json", action="store_true", help=_JSON_HELP)

    show = _add(actions, "show", "show a protocol step by step", module, "run_show")
    show.add_argument("protocol", metavar="ID|FILE")
    show.add_argument("--json", action="store_true", help=_JSON_HELP)

    check = _add(actions, "check", "check whether files are protocols", module, "run_check")
    check.add_argument(
        "protocols", metavar="FILE", nargs="+", help="a file, or the id of a protocol"
    )
    check.add_argument("--json", action="store_true", help=_JSON_HELP)


def _add_export(actions: Commands) -> None:
    export = _add(
        actions, "export", "write the sampled waveform to a file", "estim.cli.profile_export"
    )
    export.epilog = (
        "sigrok-cli reads what --sigrok writes; the file and the command's output tell the command "
        "for it, such as: sigrok-cli -I csv:samplerate=1000000:column_formats=2a3 -i FILE. "
        "The waveform is that of the programme once the amplitudes have been reached, counted from "
        "the programme's start. At 1 MHz every edge, and so every charge, is exact."
    )
    export.add_argument("profile", metavar="ID|FILE")
    form = export.add_mutually_exclusive_group(required=True)
    form.add_argument("--csv", metavar="FILE", help="time, and mA of each channel; - for output")
    form.add_argument("--vcd", metavar="FILE", help="value change dump with real variables")
    form.add_argument("--sigrok", metavar="FILE", help="the CSV that sigrok-cli reads")
    export.add_argument("--force", action="store_true", help="replace a file that exists")
    export.add_argument(
        "--channel", metavar="CH", action="append", help="repeatable; default: every channel"
    )
    export.add_argument("--amplitude", metavar="CH=MA", action="append", help=_AMPLITUDE_HELP)
    export.add_argument(
        "--rate", metavar="HZ", default="1000000", help="samples a second; default: %(default)s"
    )
    export.add_argument(
        "--start", metavar="S", default="0", help="first sample; default: %(default)s"
    )
    export.add_argument("--duration", metavar="S", default="1", help="default: %(default)s")
    export.add_argument("--load", metavar="OHM", help="also the volts over this load")


def _add_records(commands: Commands) -> None:
    actions = _add_group(
        commands, "records", "look at session records", "list|show|verify|export|amend"
    )
    module = "estim.cli.records"

    listing = _add(actions, "list", "list the records, the newest first", module, "run_list")
    show = _add(actions, "show", "show what happened, in order", module, "run_show")
    show.add_argument("record", metavar="ID|FILE")
    verify = _add(
        actions, "verify", "check that nothing was changed, left out or added", module, "run_verify"
    )
    verify.add_argument("records_given", metavar="ID|FILE", nargs="+")
    verify.add_argument(
        "--head", metavar="SHA256", help="a head that was noted when the record was closed"
    )
    for parser in (listing, show, verify):
        parser.add_argument("--json", action="store_true", help=_JSON_HELP)
    export = _add(
        actions,
        "export",
        "write a record as CSV, note, report, sheet or FHIR",
        module,
        "run_export",
    )
    export.add_argument("record", metavar="ID|FILE")
    form = export.add_mutually_exclusive_group(required=True)
    form.add_argument("--csv", metavar="FILE", help="CSV into a file that does not exist yet, or -")
    form.add_argument(
        "--format",
        choices=("note", "report", "json", "take-home", "pdf", "take-home-pdf", "fhir", "csv"),
        help="note, report (as data: json) and take-home sheet of a visit; pdf is note and report",
    )
    export.add_argument(
        "--out", metavar="FILE", default="-", help="with --format: a new file; default: output"
    )
    export.add_argument(
        "--telemetry", action="store_true", help="with CSV: the readings instead of the events"
    )
    export.epilog = "pdf and take-home-pdf need the extra 'report', fhir the extra 'fhir'."
    _add_amend(actions)
    for parser in (listing, show, verify, export):
        parser.add_argument("--records", metavar="DIR", help=_RECORDS_HELP)


def _add_amend(actions: Commands) -> None:
    amend = _add(
        actions, "amend", "add to a closed record, without changing it", "estim.cli.record_amend"
    )
    amend.add_argument("record", metavar="ID|FILE")
    amend.add_argument("--who", metavar="ID", required=True, help="who on the roster says so")
    amend.add_argument(
        "--pin-stdin", action="store_true", help="read the PIN from the first line of input"
    )
    what = amend.add_mutually_exclusive_group(required=True)
    what.add_argument("--note", metavar="FILE", help="a note that is written later; - for input")
    what.add_argument("--reassign", metavar="PSEUDONYM", help="to whom the visit belongs")
    what.add_argument("--text", metavar="TEXT", help="what is to be read instead, or besides")
    amend.add_argument("--why", metavar="TEXT", help="with --text: for what reason")
    amend.add_argument("--event", metavar="N", help="with --text: the event it is about, from 0")
    amend.add_argument(
        "--recover", action="store_true", help="first close a record that a crash left open"
    )
    amend.add_argument("--json", action="store_true", help=_JSON_HELP)
    amend.add_argument("--records", metavar="DIR", help=_RECORDS_HELP)


def _add_measure(commands: Commands) -> None:
    parser = _add(
        commands, "measure", "hold a capture against what a profile commands", "estim.cli.measure"
    )
    parser.add_argument("capture", metavar="CAPTURE", help="CSV, VCD, or a trace of estim")
    parser.add_argument("--profile", metavar="ID|FILE", required=True)
    parser.add_argument("--channel", metavar="CH", default="1", help="default: %(default)s")
    parser.add_argument("--amplitude", metavar="MA", help="what was commanded")
    parser.add_argument("--load", metavar="OHM", help="the dummy load; needed for volts")
    parser.add_argument("--column", metavar="NAME", help="name or number of the readings")
    parser.add_argument("--unit", metavar="V|mV|A|mA|uA", help="where the file does not say")
    parser.add_argument("--sample-rate", metavar="HZ", help="where the file has no times")
    parser.add_argument("--probe", metavar="FACTOR", help="readings are multiplied by it")
    parser.add_argument("--instrument", metavar="FILE", help="TOML: serial, calibration, accuracy")
    parser.add_argument("--tolerances", choices=("project", "standard"), default="project")
    parser.add_argument(
        "--baseline", metavar="REF", help="also compare with an approved earlier result"
    )
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)
    parser.add_argument("--junit", metavar="FILE", help="write the checks as JUnit XML")
    parser.add_argument("--picture", metavar="FILE", help="SVG or PNG of the worst pulse")


def _add_baseline(commands: Commands) -> None:
    actions = _add_group(
        commands, "baseline", "approve results to compare later ones with", "approve|list|show"
    )
    module = "estim.cli.baseline"

    approve = _add(actions, "approve", "approve a result of measure --json", module, "run_approve")
    approve.add_argument("result", metavar="RESULT.json")
    approve.add_argument("--name", metavar="REF", required=True)
    approve.add_argument("--who", metavar="WHO", required=True, help="a pseudonym")
    approve.add_argument("--why", metavar="WHY", required=True)
    listing = _add(actions, "list", "list the approved results", module, "run_list")
    show = _add(actions, "show", "show an approved result and its history", module, "run_show")
    show.add_argument("name", metavar="REF")
    for parser in (approve, listing, show):
        parser.add_argument("--json", action="store_true", help=_JSON_HELP)
