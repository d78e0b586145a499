"""The commands that look things up and write them out: profiles, protocols, records."""

from __future__ import annotations

from estim.cli.parser_base import (
    AMPLITUDE_HELP,
    AREA_HELP,
    JSON_HELP,
    RECORDS_HELP,
    Commands,
    add,
    add_group,
)


def add_profiles(commands: Commands) -> None:
    """Declare `estim profiles`."""
    actions = add_group(
        commands, "profiles", "look at treatment profiles", "list|show|check|plot|diff|export"
    )
    module = "estim.cli.profiles"

    listing = add(actions, "list", "search the library", "estim.cli.profile_list")
    listing.add_argument("text", metavar="TEXT", nargs="*", help="words that must all occur")
    listing.add_argument("--condition", metavar="C", help="what it is for, for example neuropathy")
    listing.add_argument("--mode", metavar="M", help="for example burst")
    listing.add_argument(
        "--device", metavar="URL", help="ask this device, and tell which profiles it can make"
    )
    listing.add_argument("--json", action="store_true", help=JSON_HELP)

    show = add(
        actions,
        "show",
        "show parameters, figures, the limits that bind, and evidence",
        module,
        "run_show",
    )
    show.add_argument("profile", metavar="ID|FILE")
    show.add_argument("--json", action="store_true", help=JSON_HELP)
    show.add_argument("--area", metavar="CM2", help=AREA_HELP)
    show.add_argument(
        "--amplitude", metavar="CH=MA", action="append", help="also at this target; repeatable"
    )

    check = add(actions, "check", "check profiles against every limit", "estim.cli.profile_check")
    check.add_argument("profiles", metavar="FILE", nargs="+", help="a file, or the id of a profile")
    check.add_argument("--area", metavar="CM2", help=AREA_HELP)
    check.add_argument(
        "--driver", metavar="NAME", help="check it for this kind of device too: p24, pulsepal"
    )
    check.add_argument("--json", action="store_true", help=JSON_HELP)

    plot = add(
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
    plot.add_argument("--amplitude", metavar="CH=MA", action="append", help=AMPLITUDE_HELP)
    _add_export(actions)

    diff = add(actions, "diff", "say in physics what changed from A to B", "estim.cli.profile_diff")
    diff.epilog = "Exit code 0: no difference; 1: they differ, as with the command diff."
    diff.add_argument("first", metavar="A", help="id of a shipped profile, or a file")
    diff.add_argument("second", metavar="B", help="id of a shipped profile, or a file")
    diff.add_argument("--json", action="store_true", help=JSON_HELP)


def _add_export(actions: Commands) -> None:
    export = add(
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
    export.add_argument("--amplitude", metavar="CH=MA", action="append", help=AMPLITUDE_HELP)
    export.add_argument(
        "--rate", metavar="HZ", default="1000000", help="samples a second; default: %(default)s"
    )
    export.add_argument(
        "--start", metavar="S", default="0", help="first sample; default: %(default)s"
    )
    export.add_argument("--duration", metavar="S", default="1", help="default: %(default)s")
    export.add_argument("--load", metavar="OHM", help="also the volts over this load")


def add_protocols(commands: Commands) -> None:
    """Declare `estim protocols`."""
    actions = add_group(commands, "protocols", "look at guided visits", "list|show|check")
    module = "estim.cli.protocols"

    listing = add(actions, "list", "list the shipped protocols", module, "run_list")
    listing.add_argument("--json", action="store_true", help=JSON_HELP)

    show = add(actions, "show", "show a protocol step by step", module, "run_show")
    show.add_argument("protocol", metavar="ID|FILE")
    show.add_argument("--json", action="store_true", help=JSON_HELP)

    check = add(actions, "check", "check whether files are protocols", module, "run_check")
    check.add_argument(
        "protocols", metavar="FILE", nargs="+", help="a file, or the id of a protocol"
    )
    check.add_argument("--json", action="store_true", help=JSON_HELP)


def add_records(commands: Commands) -> None:
    """Declare `estim records`."""
    actions = add_group(
        commands, "records", "look at session records", "list|show|verify|export|amend"
    )
    module = "estim.cli.records"

    listing = add(actions, "list", "list the records, the newest first", module, "run_list")
    show = add(actions, "show", "show what happened, in order", module, "run_show")
    show.add_argument("record", metavar="ID|FILE")
    verify = add(
        actions, "verify", "check that nothing was changed, left out or added", module, "run_verify"
    )
    verify.add_argument("records_given", metavar="ID|FILE", nargs="+")
    verify.add_argument(
        "--head", metavar="SHA256", help="a head that was noted when the record was closed"
    )
    for parser in (listing, show, verify):
        parser.add_argument("--json", action="store_true", help=JSON_HELP)
    export = add(
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
        metavar="FORM",
        choices=("note", "report", "json", "take-home", "pdf", "take-home-pdf", "fhir", "csv"),
        help="of a visit: note, report (as data: json), take-home, pdf (note and report), "
        "take-home-pdf, fhir; of any record: csv",
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
        parser.add_argument("--records", metavar="DIR", help=RECORDS_HELP)


def _add_amend(actions: Commands) -> None:
    amend = add(
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
    amend.add_argument("--json", action="store_true", help=JSON_HELP)
    amend.add_argument("--records", metavar="DIR", help=RECORDS_HELP)
