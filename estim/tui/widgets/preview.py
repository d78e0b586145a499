"""What a profile would deliver: waveform, limits that bind and whose they are, evidence."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from estim.errors import EstimError
from estim.prepare.report import LimitLine, preview
from estim.prepare.session import Prepared, prepare
from estim.profile.body_chart import draw
from estim.profile.loader import LoadedEntry, LoadedProfile
from estim.profile.models import Evidence
from estim.profile.search import told
from estim.tui import session_words, words
from estim.tui.widgets.plot import VIEWS, Plot
from estim.units import format_clock, in_unit

LIMITS_SHOWN = 4


class ProfilePreview(VerticalScroll):
    """Show one profile or entry; where there is room all three waveforms, else one at a time."""

    def __init__(self) -> None:
        super().__init__(id="preview", can_focus=False)
        self._view = 0

    def compose(self) -> ComposeResult:
        yield Static(id="preview-head", markup=False)
        for index in range(len(VIEWS)):
            yield Plot(id=f"view-{index}", classes="preview-plot")
        yield Static(id="preview-text", markup=False)

    def on_mount(self) -> None:
        self._mark_view()

    def show(self, loaded: LoadedProfile | LoadedEntry) -> None:
        """Show another profile or entry from its top."""
        self.scroll_home(animate=False)
        self.set_class(isinstance(loaded, LoadedEntry), "-entry")
        if isinstance(loaded, LoadedEntry):
            self._show_text(_head(loaded), _entry(loaded), _evidence(loaded.entry.evidence))
            return
        try:
            prepared = prepare(loaded.profile, is_bench=True)
        except EstimError as error:
            self.show_nothing(f"This profile is refused: {words.safe(str(error))}")
            return
        amplitude_ua = prepared.ceilings[0].ceiling_ua
        step_ua = prepared.bounds.amplitude_step_ua
        for index, view in enumerate(VIEWS):
            trace = view(prepared.program, 0, amplitude_ua, step_ua)
            note = f", channel 1 at its ceiling of {words.current(amplitude_ua)}"
            self.query_one(f"#view-{index}", Plot).show(trace, note)
        self._show_text(
            _head(loaded),
            _limits(prepared),
            _chart(loaded),
            _use(loaded),
            _evidence(loaded.profile.evidence),
        )

    def show_nothing(self, why: str) -> None:
        """Show why there is no preview."""
        self._show_text(Content(why))
        for index in range(len(VIEWS)):
            self.query_one(f"#view-{index}", Plot).show(None)

    def next_view(self) -> None:
        """Show the next waveform, where only one fits."""
        self._view = (self._view + 1) % len(VIEWS)
        self._mark_view()

    def scroll_page(self, direction: int) -> None:
        """Scroll by most of a page."""
        self.scroll_relative(y=direction * max(1, self.size.height - 2), animate=False)

    def _show_text(self, head: Content, *parts: Content) -> None:
        self.query_one("#preview-head", Static).update(head)
        self.query_one("#preview-text", Static).update(
            Content("\n\n").join([part for part in parts if part])
        )

    def _mark_view(self) -> None:
        for index in range(len(VIEWS)):
            self.query_one(f"#view-{index}").set_class(index == self._view, "-chosen")


def _head(loaded: LoadedProfile | LoadedEntry) -> Content:
    item = told(loaded)
    return Content.assemble(
        (words.safe(item.title), "bold"),
        (f"\n{item.id} {item.version}, sha256 {loaded.sha256[:12]}\n", "dim"),
        (f"▲ {words.safe(item.review_status)}", "$warning"),
    )


def _entry(loaded: LoadedEntry) -> Content:
    """Return what an entry says, why it cannot be run first."""
    entry = loaded.entry
    rows = [
        ("Mode", entry.mode, ""),
        ("What flows", entry.stimulus, entry.basis.stimulus.certainty),
        ("Placement", entry.placement, entry.basis.placement.certainty),
        ("Dose", entry.dose, entry.basis.dose.certainty),
    ]
    kind = words.safe(entry.kind.replace("-", " "))
    parts = [
        Content.assemble(
            (f"{kind}, cannot be run: ", "bold $warning"), words.safe(entry.cannot_run)
        )
    ]
    for name, text, certainty in rows:
        sure = f" [{certainty}]" if certainty else ""
        parts.append(Content.assemble((f"{name}: ", "dim"), words.safe(text), (sure, "dim")))
    return Content("\n").join(parts)


def _chart(loaded: LoadedProfile) -> Content:
    """Return where the pads go, as a drawing; nothing for a profile that names no site."""
    lines = draw([channel.pads for channel in loaded.profile.channels])
    if not lines:
        return Content("")
    return Content("\n").join([Content.styled("Where the pads go", "bold"), *map(Content, lines)])


def _limits(prepared: Prepared) -> Content:
    """Return each channel's ceiling with what binds it, and the tightest limits."""
    parts = [Content.styled("Limits at the ceiling, tightest first", "bold")]
    lines = preview(prepared)
    for channel in prepared.ceilings:
        reason = session_words.limit(str(channel.reasons[0])) if channel.reasons else ""
        name = words.safe(channel.name)
        parts.append(
            Content.assemble(
                f"channel {channel.channel}, {name}: up to ",
                (words.current(channel.ceiling_ua), "bold"),
                f"; {reason}" if reason else "",
            )
        )
        mine = [line for line in lines if line.channel == channel.channel]
        parts += [_limit_line(line) for line in mine[:LIMITS_SHOWN]]
    letters = ", ".join(f"{key} {meaning}" for key, meaning in words.CERTAINTY_WORDS.items())
    parts.append(Content.styled(f"Certainty: {letters}.", "dim"))
    return Content("\n").join(parts)


def _limit_line(line: LimitLine) -> Content:
    stem = line.limit.rsplit("_per_", 1)[0].rsplit("_", 1)[0].replace("_", " ")
    figure = (
        f"{in_unit(line.figure, line.unit).split(' ')[0]} of {in_unit(line.allowed, line.unit)}"
    )
    left = f"{max(0, line.margin_permille) // 10} % left"
    return Content.assemble(
        f"  {stem}: {figure}, ",
        (left, "bold" if line.margin_permille <= 0 else ""),
        (f" ({line.owner}'s limit, certainty {line.certainty})", "dim"),
    )


def _use(loaded: LoadedProfile) -> Content:
    profile = loaded.profile
    session = profile.session
    rows = [
        ("Session", f"{format_clock(session.duration_s)}, dose: {session.dose}"),
        ("Intensity", profile.guidance.intensity),
        ("Expect", profile.guidance.expect),
        *((f"Channel {n}", one.placement) for n, one in enumerate(profile.channels, start=1)),
        (
            "Electrodes",
            f"{profile.electrode.size}, at least {profile.electrode.minimum_area_cm2} cm2",
        ),
        *(("Not with", text) for text in profile.guidance.contraindications),
        *(("Care", text) for text in profile.guidance.precautions),
    ]
    if profile.bench_only_reason:
        rows.insert(0, ("Bench only", profile.bench_only_reason))
    parts = [Content.styled("Use", "bold")]
    parts += [Content.assemble((f"{name}: ", "dim"), words.safe(text)) for name, text in rows]
    return Content("\n").join(parts)


def _evidence(evidence: tuple[Evidence, ...]) -> Content:
    parts = [Content.styled("Evidence and its caveats", "bold")]
    if not evidence:
        parts.append(Content("None among the sources of this project."))
    for entry in evidence:
        certainty = words.CERTAINTY_WORDS.get(entry.certainty, entry.certainty)
        parts.append(
            Content.assemble(
                (words.safe(entry.study), "bold"),
                f" ({words.safe(entry.grade)}; {certainty}): {words.safe(entry.effect)} ",
                (f"Caveat: {words.safe(entry.caveat)} ", "$warning"),
                (words.safe(entry.source), "dim"),
            )
        )
    return Content("\n").join(parts)
