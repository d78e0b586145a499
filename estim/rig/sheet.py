"""The characterisation sheet as people read it, and its pictures."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from estim.errors import UsageError
from estim.rig.reports import pdf
from estim.rig.reports.blocks import Block, Grid, Heading, Listing, Paragraph, Picture
from estim.rig.reports.markdown import to_markdown
from estim.rig.reports.words import figure_words, format_ohm
from estim.units import UA_PER_MA

DPI = 120
_POINT_HEADER = (
    "commanded", "measured", "peak voltage", "phase duration", "rate", "phase charge", "net charge",
    "RMS", "average",
)  # fmt: skip
_BASIS = (
    "Quantities: 21 CFR 882.5891, read in a public copy (S). Loads 500 ohm, 2 kohm, 10 kohm: the "
    "same (S).",
    "RMS density warns above 2 mA/cm2 (IEC 60601-2-10 by public documents) (S); half of it where "
    "sensation is impaired: proposal of this project (E).",
    "Power density below 0.25 W/cm2, computed into 500 ohm: FDA guidance of June 1999, in a public "
    "summary (S).",
    "Average current at most 10 mA, phase charge at most 20 uC + 28 uC/ms: FDA 2010 draft, never "
    "finalised (K?).",
)


def check_pictures_available() -> None:
    """Refuse, before anything is delivered, where the extra is missing.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--out needs the extra 'plot': pip install 'estim[plot]'")


def sheet_blocks(sheet: dict[str, Any], pictures: Sequence[Picture]) -> list[Block]:
    """Return the blocks of a sheet, in the order in which it is read."""
    device, profile = sheet["device"], sheet["profile"]
    blocks: list[Block] = [
        Heading(f"Characterisation of {device['model']}, serial {device['serial_number']}", 1),
        Paragraph(sheet["disclaimer"], is_strong=True),
        Grid(("what", "which"), tuple(_front_rows(sheet, device, profile)), (24, 76)),
    ]
    for load in sheet["loads"]:
        blocks += _load_blocks(load)
    blocks += _stated_blocks(sheet["stated"])
    unknowns = [said for load in sheet["loads"] for p in load["points"] for said in p["unknowns"]]
    if unknowns:
        blocks += [Heading("Not known"), Listing(tuple(dict.fromkeys(unknowns)))]
    blocks += [Heading("Where this comes from"), Listing(_BASIS)]
    if pictures:
        blocks += [Heading("Pictures"), *pictures]
    return blocks


def _front_rows(
    sheet: dict[str, Any], device: dict[str, Any], profile: dict[str, Any]
) -> list[tuple[str, str]]:
    instrument = sheet["instrument"]
    return [
        ("firmware", device["firmware_version"]),
        ("compliance voltage", f"{device['compliance_mv'] / 1000:g} V, as the device says"),
        ("profile", f"{profile['id']} {profile['version']}, SHA-256 {profile['sha256']}"),
        ("channel", str(sheet["channel"])),
        (
            "instrument",
            f"{instrument['model']}, serial {instrument['serial']}, calibration due "
            f"{instrument['calibration_due']}"
            if instrument
            else "none named: uncertainties hold noise and sampling only",
        ),
        ("impedance monitor", sheet["impedance_monitor"]),
    ]


def _load_blocks(load: dict[str, Any]) -> list[Block]:
    points = load["points"]
    origins = dict.fromkeys(p["from"] for p in points if p["measured_ua"] is not None)
    blocks: list[Block] = [
        Heading(f"Into {format_ohm(load['load_ohm'])}"),
        Paragraph(f"Figures from: {', '.join(origins) or 'nothing was measured'}."),
        Grid(_POINT_HEADER, tuple(map(_point_cells, points)), (11, 11, 11, 13, 10, 12, 12, 10, 10)),
    ]
    linearity = load["linearity"]
    if linearity:
        blocks.append(
            Paragraph(
                f"Linearity: measured = {linearity['gain']:.4f} x commanded "
                f"{round(linearity['offset_ua'] / UA_PER_MA, 3) + 0.0:+.3f} mA; largest residual "
                f"{linearity['largest_residual_ua'] / UA_PER_MA:.3f} mA, largest deviation "
                f"{linearity['largest_deviation_percent']:.2f} %."
            )
        )
    compliance = load["compliance"]
    if compliance:
        cause = (
            "the compliance voltage limits"
            if compliance["is_by_voltage"]
            else "the device switched the channel off"
        )
        blocks.append(
            Paragraph(
                f"{figure_words(compliance['asked_ua'], 'uA')} was not reached: {cause} at "
                f"{figure_words(compliance['reached_ua'], 'uA')}, "
                f"{compliance['voltage_mv'] / 1000:g} V.",
                is_strong=True,
            )
        )
    return blocks


def _point_cells(point: dict[str, Any]) -> tuple[str, ...]:
    peak_mv = point["peak_mv"]
    return (
        figure_words(point["commanded_ua"], "uA"),
        figure_words(point["measured_ua"], "uA"),
        "not known" if peak_mv is None else f"{peak_mv / 1000:.4g} V",
        figure_words(point["phase_duration_us"], "us"),
        figure_words(point["pulse_rate_hz"], "Hz"),
        figure_words(point["phase_charge_pc"], "pC"),
        figure_words(point["net_charge_pc"], "pC"),
        figure_words(point["rms_ua"], "uA"),
        figure_words(point["average_ua"], "uA"),
    )


def _stated_blocks(stated: dict[str, Any] | None) -> list[Block]:
    if stated is None:
        return [Heading("At 500 ohm"), Paragraph("Not known: nothing was captured at 500 ohm.")]
    rows = tuple(
        (
            f"{area['area_cm2']:g} cm2",
            f"{area['rms_density_ua_per_cm2'] / 1000:.4g} mA/cm2",
            f"{area['power_density_uw_per_cm2'] / 1e6:.4g} W/cm2",
        )
        for area in stated["areas"]
    )
    return [
        Heading(
            f"At 500 ohm and {figure_words(stated['amplitude_ua'], 'uA')}, "
            "the highest amplitude here"
        ),
        Listing(
            (
                f"phase charge {figure_words(stated['phase_charge_pc'], 'pC')}",
                f"net charge {figure_words(stated['net_charge_pc'], 'pC')} a pulse",
                f"average absolute current {figure_words(stated['average_ua'], 'uA')}",
                f"RMS current {figure_words(stated['rms_ua'], 'uA')}, worst second",
            )
        ),
        Grid(("electrode", "RMS density", "power density"), rows, (30, 35, 35)),
    ]


def write_sheet(out: Path, sheet: dict[str, Any], *, with_pdf: bool) -> None:
    """Write a sheet with its JSON and its pictures into a folder.

    Raises:
        UsageError: the folder cannot be written, or an extra is missing.
    """
    check_pictures_available()
    try:
        out.mkdir(parents=True, exist_ok=True)
        pictures = draw_pictures(sheet, out)
        (out / "sheet.json").write_text(json.dumps(sheet, indent=1) + "\n", encoding="ascii")
        blocks = sheet_blocks(sheet, pictures)
        (out / "sheet.md").write_text(to_markdown(blocks), encoding="utf-8")
        if with_pdf:
            pdf.write_pdf(blocks, out / "sheet.pdf", "Characterisation", sheet["disclaimer"])
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}") from None


def draw_pictures(sheet: dict[str, Any], folder: Path) -> list[Picture]:
    """Draw the waveforms and the linearity into a folder, as PNG and SVG.

    Raises:
        UsageError: the extra is missing, or a file cannot be written.
    """
    check_pictures_available()
    pictures = []
    try:
        if sheet["waveforms"]:
            figure = _draw_waveforms(sheet["waveforms"])
            pictures.append(_keep(figure, folder, "waveforms", "One captured pulse a load"))
        figure = _draw_linearity(sheet["loads"])
        pictures.append(_keep(figure, folder, "linearity", "Measured amplitude against commanded"))
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from None
    return pictures


def _keep(figure: Any, folder: Path, name: str, caption: str) -> Picture:
    for ending in ("png", "svg"):
        figure.savefig(folder / f"{name}.{ending}", dpi=DPI)
    return Picture(f"{name}.png", caption)


def _draw_waveforms(waveforms: Sequence[dict[str, Any]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.4 * len(waveforms)), layout="constrained")
    axes = figure.subplots(len(waveforms), 1, squeeze=False)
    for axis, drawn in zip(axes[:, 0], waveforms, strict=True):
        volts_per_ma = drawn["load_ohm"] / 1000
        axis.plot(
            drawn["times_us"],
            [i / UA_PER_MA for i in drawn["current_ua"]],
            drawstyle="steps-post", color="C0", linewidth=1.2,
        )  # fmt: skip
        axis.axhline(0, color="black", linewidth=0.5)
        axis.set_title(
            f"{format_ohm(drawn['load_ohm'])}, {drawn['amplitude_ua'] / UA_PER_MA:g} mA", fontsize=9
        )
        axis.set_ylabel("mA")
        other = axis.secondary_yaxis(
            "right", functions=(lambda ma, k=volts_per_ma: ma * k, lambda v, k=volts_per_ma: v / k)
        )
        other.set_ylabel("V")
    axes[-1, 0].set_xlabel("us since the onset")
    return figure


def _draw_linearity(loads: Sequence[dict[str, Any]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    highest_ma = 0.0
    for load, marker in zip(loads, "os^vD*" * len(loads), strict=False):
        done = [p for p in load["points"] if p["measured_ua"] is not None]
        commanded = [p["commanded_ua"] / UA_PER_MA for p in done]
        measured = [p["measured_ua"] / UA_PER_MA for p in done]
        axis.plot(commanded, measured, marker, label=format_ohm(load["load_ohm"]), fillstyle="none")
        highest_ma = max(highest_ma, *commanded, 0.0)
        if load["compliance"]:
            asked_ma = load["compliance"]["asked_ua"] / UA_PER_MA
            reached_ma = load["compliance"]["reached_ua"] / UA_PER_MA
            axis.plot([asked_ma], [reached_ma], "rx")
            axis.annotate(
                f"{format_ohm(load['load_ohm'])}: limit", (asked_ma, reached_ma),
                textcoords="offset points", xytext=(-6, -10), ha="right", fontsize=7, color="red",
            )  # fmt: skip
    axis.plot([0, highest_ma], [0, highest_ma], color="0.6", linewidth=0.8, zorder=0)
    axis.set_xlabel("commanded, mA")
    axis.set_ylabel("measured, mA")
    axis.grid(visible=True, linewidth=0.3)
    axis.legend(fontsize=8)
    return figure
