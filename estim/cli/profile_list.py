"""`estim profiles list`: what the library holds, searched, and what a device can make of it.

Profiles come first; entries, which inform and cannot be run, are listed apart with their kind.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from estim import api
from estim.cli.console import complain, progress, say, say_json, say_table, say_wrapped
from estim.cli.profile_figures import entry_summary, summary
from estim.drivers.registry import driver_class
from estim.prepare.fit import Fit, fit
from estim.prepare.places import configuration_folder
from estim.prepare.session import capabilities_from_snapshot
from estim.prepare.site import load_site
from estim.profile.library import entries, library
from estim.profile.loader import LoadedEntry, LoadedProfile
from estim.profile.models import NOT_REVIEWED
from estim.profile.search import matches, shelf_order
from estim.session.messages import DeviceSnapshot
from estim.units import format_clock

SCHEMA = "estim.profile-summary/1"
ENTRY_SCHEMA = "estim.library-entry-summary/1"


def run(arguments: Namespace) -> int:
    """Print the profiles and entries that are sought; of a device, what each profile needs.

    Raises:
        EstimError: the library is damaged, or the device does not answer.
    """
    text = " ".join(arguments.text)
    sought = {"condition": arguments.condition or "", "mode": arguments.mode or ""}
    profiles = [one for one in library() if matches(one, text, **sought)]
    informing = [one for one in entries() if matches(one, text, **sought)]
    device, fits = None, None
    if arguments.device is not None:
        with progress(f"asking {arguments.device}"):
            device = api.identify(arguments.device)
        fits = _fits(profiles, device)
    if arguments.json:
        _say_json(profiles, informing, device, fits)
        return 0
    if not profiles and not informing:
        complain("nothing in the library matches")
    if profiles:
        _say_profiles(sorted(profiles, key=shelf_order), device, fits)
    if informing:
        _say_entries(informing)
    return 0


def _fits(profiles: list[LoadedProfile], device: DeviceSnapshot) -> dict[str, Fit]:
    capabilities = capabilities_from_snapshot(device)
    site, driver = load_site(configuration_folder()), driver_class(device.url)
    return {one.profile.id: fit(one, capabilities, site, driver) for one in profiles}


def _say_json(
    profiles: list[LoadedProfile],
    informing: list[LoadedEntry],
    device: DeviceSnapshot | None,
    fits: dict[str, Fit] | None,
) -> None:
    for loaded in profiles:
        fields: dict[str, Any] = summary(loaded)
        if device is not None and fits is not None:
            found = fits[loaded.profile.id]
            fields["device"] = {
                "url": device.url,
                "model": device.model,
                "serial_number": device.serial_number,
                "can_make": not found.missing,
                "missing": list(found.missing),
                "ceilings_ua": list(found.ceilings_ua),
                "remarks": list(found.remarks),
            }
        say_json(SCHEMA, **fields)
    for entry in informing:
        say_json(ENTRY_SCHEMA, **entry_summary(entry))


def _say_profiles(
    profiles: list[LoadedProfile], device: DeviceSnapshot | None, fits: dict[str, Fit] | None
) -> None:
    rows = []
    for loaded in profiles:
        profile = loaded.profile
        row = [profile.id, profile.mode, format_clock(profile.session.duration_s)]
        if fits is not None:
            row.append("no" if fits[profile.id].missing else "yes")
        bench = "BENCH ONLY: " if profile.is_bench_only else ""
        rows.append((*row, bench + profile.title))
    device_column = () if fits is None else ("device",)
    say_table(
        ("id", "mode", "session", *device_column, "title"),
        rows,
        giving=("mode",),
        folding=("title",),
    )
    if device is not None and fits is not None:
        say()
        say(f"device: {device.url}, {device.model}, serial number {device.serial_number}")
        lacking: dict[str, list[str]] = {}
        for loaded in profiles:
            for lack in fits[loaded.profile.id].missing:
                lacking.setdefault(lack, []).append(loaded.profile.id)
        for lack, ids in lacking.items():
            say_wrapped(f"{lack}: {', '.join(ids)}")
    reviewed = [one.profile.id for one in profiles if one.profile.review_status != NOT_REVIEWED]
    say()
    if reviewed:
        say_wrapped(f"Their files say more than '{NOT_REVIEWED}': {', '.join(reviewed)}", 0)
    else:
        say("None of these profiles has been reviewed by a clinician.")


def _say_entries(informing: list[LoadedEntry]) -> None:
    say()
    say("To read, not to run (`estim profiles show ID` tells why):")
    say_table(
        ("id", "kind", "title"),
        [(one.entry.id, one.entry.kind, one.entry.title) for one in informing],
        folding=("title",),
    )
