"""The commands of the bench: sessions on a dummy load, devices, captures, jobs."""

from __future__ import annotations

import argparse
import importlib

from estim.cli.parser_base import (
    AREA_HELP,
    JSON_HELP,
    RECORDS_HELP,
    Commands,
    add,
    add_group,
)


def add_run(commands: Commands) -> None:
    """Declare `estim run`."""
    parser = add(commands, "run", "deliver a profile on a dummy load", "estim.cli.run")
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
    parser.add_argument("--area", metavar="CM2", help=AREA_HELP)
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    parser.add_argument("--junit", metavar="FILE", help="write the outcome as JUnit XML")
    parser.add_argument("--records", metavar="DIR", help=RECORDS_HELP)
    parser.add_argument("--trace", metavar="FILE", help="with sim: CSV of what reached the load")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="be asked in plain lines, for screen readers; every rise is typed",
    )


def add_simulate(commands: Commands) -> None:
    """Declare `estim simulate`."""
    parser = add(
        commands,
        "simulate",
        "be a virtual stimulator on a pseudo-terminal or TCP port",
        "estim.cli.simulate",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.late_epilog = lambda: str(importlib.import_module("estim.simulator.faults").SCRIPT_HELP)
    parser.add_argument(
        "--model",
        choices=("native", "reference", "p24", "pulsepal"),
        help="which device to be: the simulator's own; the reference firmware in C, which has "
        "resistors alone (--load OHM or open), no --faults, and no faults of the line; a HASOMED "
        "P24, which has no --channels and no --patient-stop; or a PulsePal, which has no --serial "
        "either and wants plain ohms",
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
    parser.add_argument(
        "--answer-us", metavar="US", help="p24: from a request to its answer; default: 1000"
    )
    parser.add_argument(
        "--trigger",
        metavar="yes|no",
        help="native: tell in the trace when the trigger rises, in rows of no current and no "
        "duration; default: no",
    )


def add_devices(commands: Commands) -> None:
    """Declare `estim devices`."""
    parser = add(commands, "devices", "list serial ports and the simulator", "estim.cli.devices")
    parser.add_argument("url", metavar="URL", nargs="*", help="ask this one who it is")
    parser.add_argument(
        "--probe", action="store_true", help="ask every port whose USB id a driver knows"
    )
    parser.add_argument(
        "--wait",
        metavar="S",
        help="ask each URL again until it answers; exit code 3 where it does not within S seconds",
    )
    parser.add_argument("--json", action="store_true", help=JSON_HELP)


def add_measure(commands: Commands) -> None:
    """Declare `estim measure`."""
    parser = add(
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
    parser.add_argument(
        "--trigger",
        metavar="S",
        help="the device's trigger rose at this time of the file: 0 in most of an oscilloscope's",
    )
    parser.add_argument("--probe", metavar="FACTOR", help="readings are multiplied by it")
    parser.add_argument("--instrument", metavar="FILE", help="TOML: serial, calibration, accuracy")
    parser.add_argument("--tolerances", choices=("project", "standard"), default="project")
    parser.add_argument(
        "--baseline", metavar="REF", help="also compare with an approved earlier result"
    )
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    parser.add_argument("--junit", metavar="FILE", help="write the checks as JUnit XML")
    parser.add_argument("--picture", metavar="FILE", help="SVG or PNG of the worst pulse")


def add_baseline(commands: Commands) -> None:
    """Declare `estim baseline`."""
    actions = add_group(
        commands, "baseline", "approve results to compare later ones with", "approve|list|show"
    )
    module = "estim.cli.baseline"

    approve = add(actions, "approve", "approve a result of measure --json", module, "run_approve")
    approve.add_argument("result", metavar="RESULT.json")
    approve.add_argument("--name", metavar="REF", required=True)
    approve.add_argument("--who", metavar="WHO", required=True, help="a pseudonym")
    approve.add_argument("--why", metavar="WHY", required=True)
    listing = add(actions, "list", "list the approved results", module, "run_list")
    show = add(actions, "show", "show an approved result and its history", module, "run_show")
    show.add_argument("name", metavar="REF")
    for parser in (approve, listing, show):
        parser.add_argument("--json", action="store_true", help=JSON_HELP)


def add_verify(commands: Commands) -> None:
    """Declare `estim verify`."""
    parser = add(
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
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    parser.add_argument("--records", metavar="DIR", help=RECORDS_HELP)


def add_characterise(commands: Commands) -> None:
    """Declare `estim characterise`."""
    parser = add(
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
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    parser.add_argument("--records", metavar="DIR", help=RECORDS_HELP)


def add_conformance(commands: Commands) -> None:
    """Declare `estim conformance`."""
    parser = add(
        commands,
        "conformance",
        "tell whether a device does what PROTOCOL.md says, on a dummy load",
        "estim.cli.conformance",
    )
    parser.add_argument("--device", metavar="URL", default="sim:", help="default: %(default)s")
    parser.add_argument(
        "--bench", "--load", metavar="OHM", help="declares the dummy load on every channel"
    )
    parser.add_argument(
        "--nobody-connected", action="store_true", help="declares that nobody is connected"
    )
    parser.add_argument(
        "--capture",
        metavar="FILE",
        help="what reaches the load, written meanwhile: CSV with the header "
        "t_us,channel,current_ua,duration_us and a row for each phase with current (channels from "
        "1, signed uA), its t_us of this computer's CLOCK_MONOTONIC",
    )
    parser.add_argument(
        "--scope",
        metavar="FILE",
        help="an instrument's recording: says when to start it, and where to save it",
    )
    parser.add_argument("--soak", metavar="S", default="3", help="default: %(default)s; 0 for none")
    parser.add_argument(
        "--hands", action="store_true", help="say when to take leads off and press the stop"
    )
    parser.add_argument(
        "--only", metavar="REQ", action="append", help="an id or a group of them; repeatable"
    )
    parser.add_argument("--list", action="store_true", help="list every requirement; no device")
    parser.add_argument(
        "--held",
        action="store_true",
        help="for programs: stop unless something comes on standard input each second",
    )
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    parser.add_argument("--junit", metavar="FILE", help="write the verdicts as JUnit XML")


def add_campaign(commands: Commands) -> None:
    """Declare `estim campaign`."""
    actions = add_group(
        commands,
        "campaign",
        "do the same on many devices, into one table",
        "run|add|verdict|flakes|query",
    )
    module = "estim.cli.campaign"
    folder_help = "folder of the table, as --out of run"

    run = add(actions, "run", "run tasks on several devices at once", module)
    run.add_argument(
        "task", metavar="TASK", nargs="+", help="conformance, a JOB.toml, or tests for pytest"
    )
    run.add_argument("--device", metavar="URL", action="append", help="repeatable")
    run.add_argument("--bench", metavar="OHM", help="declares the dummy load on every channel")
    run.add_argument(
        "--nobody-connected", action="store_true", help="declares that nobody is connected"
    )
    run.add_argument("--repeat", metavar="N", default="1", help="default: %(default)s")
    run.add_argument(
        "--timeout", metavar="S", default="3600", help="of one task; default: %(default)s"
    )
    run.add_argument("--out", metavar="DIR", default="campaign", help="default: %(default)s")
    enter = add(actions, "add", "enter what another command said", module, "run_add")
    enter.add_argument("folder", metavar="DIR", help=folder_help)
    enter.add_argument("--junit", metavar="FILE", help="its JUnit XML, if it writes one")
    enter.add_argument("--task", metavar="NAME", required=True, help="what was done")
    enter.add_argument("--device", metavar="URL", required=True, help="on what; it is asked its id")
    enter.add_argument(
        "--exit-code", metavar="N", default="0", help="of the command; default: %(default)s"
    )
    enter.add_argument("--text", metavar="TEXT", default="", help="why it failed, in a sentence")
    verdict = add(actions, "verdict", "judge the devices of a table", module, "run_verdict")
    verdict.add_argument("folder", metavar="DIR", help=folder_help)
    flakes = add(actions, "flakes", "tell how often what passes does not", module, "run_flakes")
    flakes.add_argument("folder", metavar="DIR", help=folder_help)
    flakes.add_argument("--by", choices=("test", "rig", "device"), default="test")
    query = add(actions, "query", "ask the table `results` in SQL", module, "run_query")
    query.add_argument("folder", metavar="DIR", help=folder_help)
    query.add_argument("sql", metavar="SQL")
    for parser in (run, enter, verdict, flakes, query):
        parser.add_argument("--json", action="store_true", help=JSON_HELP)
