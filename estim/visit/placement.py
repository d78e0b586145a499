"""Judge where the pads lie: places, sizes, age, and what that makes of the area.

Rules:
1. A channel has at least two pads, all on one part of the body: no current crosses from limb to
   limb or through the trunk.
2. No two pads of a visit's stimulation share a site.
3. No pad lies on a site that the screening forbids, or whose sensation was not tested, has failed
   or is too old.
4. The smallest pad of a channel counts for its density; a pad whose size is not told has none.
5. Where sensation is impaired, a pad has at least 25 cm2 [E].
6. Every problem is told at once, in words; while there is one, nothing may be armed.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from estim.errors import UsageError
from estim.profile.body_chart import SITES, parts
from estim.profile.models import AREA_MAX_CM2
from estim.safety.checks import current_density_ua_per_cm2
from estim.safety.figures import figures
from estim.units import UA_PER_MA
from estim.visit.questions import Answers, Choice, Form, Kind, Question, check
from estim.visit.regions import never
from estim.visit.sensation import SiteSensation, is_impaired
from firmware_protocol.program import ChannelProgram

PADS_MIN = 2
MM2_PER_CM2 = 100
IMPAIRED_AREA_MIN_CM2 = 25
"""Smallest pad where sensation is impaired (clinical facts, section 3.2 [E])."""
OTHER = "other"
PER_PAD = ("size", "area")
PER_CHANNEL = ("lot", "expiry", "uses", "gap", "edges")
"""What is asked of each pad besides its site, and of the pads of a channel together."""
NOT_PRINTED = "none"

AREA_CM2: Mapping[str, Decimal] = {
    "round-3.2": Decimal("8"),
    "4x4": Decimal("16"),
    "round-5": Decimal("19.6"),
    "5x5": Decimal("25"),
    "5x9": Decimal("45"),
    "7x13": Decimal("91"),
}
"""Area of each size that can be chosen: edges multiplied; a round one's rounded down."""

_SIZES = (
    Choice("round-3.2", "round, 3.2 cm across (8 cm2)"),
    Choice("4x4", "4 x 4 cm (16 cm2)"),
    Choice("round-5", "round, 5 cm across (19.6 cm2)"),
    Choice("5x5", "5 x 5 cm (25 cm2)"),
    Choice("5x9", "5 x 9 cm (45 cm2)"),
    Choice("7x13", "7 x 13 cm (91 cm2)"),
    Choice(OTHER, "another size: its area is asked"),
)
SITE_CHOICES = tuple(
    Choice(site.name, site.words) for site in SITES.values() if never(site) is None
)
_EXPIRY = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be placed and what holds for it.

    Attributes:
        pads_by_channel: how many pads each channel gets; fewer than two count as two.
        minimum_area_cm2: the least that the profile allows for any pad.
        forbidden_sites: of the screening, with reasons.
        sensation: of the gate, by site.
        today: on which the pads are used.
        uses_max: how often a pad may be used, this time included; the site policy's figure.
    """

    pads_by_channel: tuple[int, ...]
    minimum_area_cm2: Decimal
    forbidden_sites: Mapping[str, str]
    sensation: Mapping[str, SiteSensation]
    today: date
    uses_max: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What must be changed first, in words; `is_open`: a question was not answered yet."""

    words: str
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """What the answers come to.

    Attributes:
        found: what must be changed first.
        cautions: what may stay, but has to be known.
        sites_by_channel: as far as they are told.
        area_cm2_by_channel: smallest pad of each channel; None while a size is not told.
        is_sensation_impaired: whether the lowered ceilings hold.
        words: what is read back, channel by channel.
    """

    found: tuple[Problem, ...]
    cautions: tuple[str, ...]
    sites_by_channel: tuple[tuple[str, ...], ...]
    area_cm2_by_channel: tuple[Decimal | None, ...]
    is_sensation_impaired: bool
    words: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Return everything that must be changed first, in words."""
        return tuple(each.words for each in self.found)

    @property
    def wrong(self) -> tuple[str, ...]:
        """Return of the problems what more answers alone do not mend."""
        return tuple(each.words for each in self.found if not each.is_open)

    @property
    def area_cm2(self) -> Decimal | None:
        """Return the area of the smallest pad of all; None while any is not told."""
        told = [area for area in self.area_cm2_by_channel if area is not None]
        return min(told) if told and len(told) == len(self.area_cm2_by_channel) else None


def form(wanted: Wanted, answers: Answers) -> Form:
    """Return what is asked of each channel's pads."""
    found: list[Question] = []
    for channel, pads in _pads(wanted):
        for pad in pads:
            name = f"channel {channel}, pad {pad}"
            found.append(
                Question(pad_id(channel, pad, "site"), f"{name}: where?", Kind.CHOICE, SITE_CHOICES)
            )
            size = Question(
                pad_id(channel, pad, "size"), f"{name}: which size?", Kind.CHOICE, _SIZES,
                note="the smallest pad of a channel sets its density",
            )  # fmt: skip
            found.append(size)
            if answers.get(size.id) == OTHER:
                found.append(
                    Question(
                        pad_id(channel, pad, "area"), f"{name}: area of its gel?", Kind.DECIMAL,
                        minimum=1, maximum=AREA_MAX_CM2, unit="cm2",
                    )
                )  # fmt: skip
        found += _of_channel(channel)
    return tuple(found)


def judge(wanted: Wanted, answers: Answers) -> Placement:
    """Return what the answers come to; an answer that its question does not take is none."""
    heard = _heard(form(wanted, answers), answers)
    problems = [] if wanted.pads_by_channel else [Problem("no channel has pads")]
    cautions: list[str] = []
    sites_by_channel: list[tuple[str, ...]] = []
    areas: list[Decimal | None] = []
    for channel, pads in _pads(wanted):
        sites = [heard.get(pad_id(channel, pad, "site")) for pad in pads]
        told = tuple(str(site) for site in sites if site is not None)
        sites_by_channel.append(told)
        for pad, site in zip(pads, sites, strict=True):
            if site is None:
                problems.append(Problem(f"channel {channel}: pad {pad} is missing", is_open=True))
        on = parts(told)
        if len(on) > 1:
            problems.append(
                Problem(
                    f"channel {channel}: pads on {' and '.join(on)}; current must not cross the "
                    "body, so all pads of a channel lie on one part of it"
                )
            )
        area, wrong = _area(wanted, heard, channel, pads)
        areas.append(area)
        problems += wrong
        wrong, known = _pack(wanted, heard, channel)
        problems += wrong
        cautions += known
    problems += _site_problems(wanted, sites_by_channel)
    cautions += _impaired_words(wanted, sites_by_channel)
    return Placement(
        found=tuple(problems),
        cautions=tuple(cautions),
        sites_by_channel=tuple(sites_by_channel),
        area_cm2_by_channel=tuple(areas),
        is_sensation_impaired=is_impaired(_flat(sites_by_channel), wanted.sensation),
        words=tuple(read_back(sites_by_channel)),
    )


def read_back(sites_by_channel: Sequence[Sequence[str]]) -> list[str]:
    """Return what is read aloud before anything is armed: every pad's side and site."""
    return [
        f"channel {number}: {' and '.join(SITES[site].words for site in sites) or 'no pads'}"
        for number, sites in enumerate(sites_by_channel, start=1)
    ]


def density_words(
    channel: ChannelProgram, ceiling_ua: int, amplitude_step_ua: int, area_cm2: Decimal
) -> str:
    """Return the RMS density under a pad at a channel's ceiling, as it is shown beside the size."""
    worst = figures(channel, ceiling_ua, amplitude_step_ua)
    density = current_density_ua_per_cm2(worst, int(area_cm2 * MM2_PER_CM2))
    shown = Decimal(density) / UA_PER_MA
    return f"{shown:.2f} mA/cm2 RMS at {Decimal(ceiling_ua) / UA_PER_MA} mA on {area_cm2} cm2"


def pad_names(count: int) -> str:
    """Return a letter for each pad of a channel; fewer pads than two count as two."""
    return "abcdefgh"[: max(count, PADS_MIN)]


def _pads(wanted: Wanted) -> list[tuple[int, str]]:
    """Return each channel's number, from 1, with a letter for each pad."""
    return [
        (number, pad_names(count)) for number, count in enumerate(wanted.pads_by_channel, start=1)
    ]


def pad_id(channel: int, pad: str, what: str) -> str:
    """Return the id of a question about a pad, or about a channel's pads where `pad` is ''."""
    return f"channel-{channel}-{pad}-{what}" if pad else f"channel-{channel}-{what}"


def _of_channel(channel: int) -> list[Question]:
    name = f"channel {channel}"
    return [
        Question(pad_id(channel, "", "lot"), f"{name}: lot of the pads?", Kind.TEXT),
        Question(
            pad_id(channel, "", "expiry"), f"{name}: expiry of the pads, as printed?", Kind.TEXT,
            note=f"YYYY-MM-DD or YYYY-MM; '{NOT_PRINTED}' where none is printed",
        ),
        Question(
            pad_id(channel, "", "uses"),
            f"{name}: which use of these pads is this (1 is the first)?",
            Kind.WHOLE, minimum=1, maximum=1000,
        ),
        Question(
            pad_id(channel, "", "gap"),
            f"{name}: is the gap between the pads narrower than one pad, or do they touch?",
            Kind.YES_NO, note="at least one pad wide [K]",
        ),
        Question(
            pad_id(channel, "", "edges"),
            f"{name}: does any edge lift, or is the skin under a pad wet, oily or hairy?",
            Kind.YES_NO, note="what does not stick multiplies the density [S:enraf47]",
        ),
    ]  # fmt: skip


def _heard(asked: Form, answers: Answers) -> dict[str, object]:
    found: dict[str, object] = {}
    for question in asked:
        if question.id in answers:
            try:
                found[question.id] = check(question, answers[question.id])
            except UsageError:
                continue
    return found


def _area(
    wanted: Wanted, heard: Mapping[str, object], channel: int, pads: str
) -> tuple[Decimal | None, list[Problem]]:
    """Return the smallest area of a channel, None while one is not told, with problems."""
    areas: list[Decimal | None] = []
    problems = []
    for pad in pads:
        size = heard.get(pad_id(channel, pad, "size"))
        other = heard.get(pad_id(channel, pad, "area"))
        area = Decimal(str(other)) if size == OTHER and other is not None else None
        if size != OTHER and size is not None:
            area = AREA_CM2[str(size)]
        areas.append(area)
        if area is None:
            untold = f"channel {channel}: the size of pad {pad} is not told"
            problems.append(Problem(untold, is_open=True))
        elif area < wanted.minimum_area_cm2:
            problems.append(
                Problem(
                    f"channel {channel}: pad {pad} has {area} cm2, the profile requires at least "
                    f"{wanted.minimum_area_cm2} cm2"
                )
            )
        elif area < IMPAIRED_AREA_MIN_CM2 and _lowers(wanted, heard, channel, pad):
            problems.append(
                Problem(
                    f"channel {channel}: pad {pad} has {area} cm2; where sensation is impaired at "
                    f"least {IMPAIRED_AREA_MIN_CM2} cm2 are required [E]"
                )
            )
    told = [area for area in areas if area is not None]
    return (min(told) if len(told) == len(areas) else None), problems


def _lowers(wanted: Wanted, heard: Mapping[str, object], channel: int, pad: str) -> bool:
    felt = wanted.sensation.get(str(heard.get(pad_id(channel, pad, "site"))))
    return felt is not None and felt.lowers_ceilings


def _pack(
    wanted: Wanted, heard: Mapping[str, object], channel: int
) -> tuple[list[Problem], list[str]]:
    """Return problems and cautions of a channel's pads as things: lot, expiry, uses, seat."""
    name = f"channel {channel}"
    problems: list[Problem] = []
    cautions: list[str] = []
    if heard.get(pad_id(channel, "", "lot")) is None:
        problems.append(Problem(f"{name}: the lot of the pads is not told", is_open=True))
    expiry = heard.get(pad_id(channel, "", "expiry"))
    last_day = last_day_of(str(expiry))
    if expiry is None:
        problems.append(Problem(f"{name}: the expiry of the pads is not told", is_open=True))
    elif str(expiry).strip().lower() == NOT_PRINTED:
        cautions.append(f"{name}: no expiry is printed on the pads; look at the gel")
    elif last_day is None:
        problems.append(
            Problem(
                f"{name}: expiry {expiry!r} is no date; YYYY-MM-DD or YYYY-MM expected, or "
                f"'{NOT_PRINTED}'"
            )
        )
    elif last_day < wanted.today:
        problems.append(Problem(f"{name}: the pads have expired ({expiry}); take new ones"))
    uses = heard.get(pad_id(channel, "", "uses"))
    if not isinstance(uses, int):
        problems.append(Problem(f"{name}: the number of uses is not told", is_open=True))
    elif uses > wanted.uses_max:
        problems.append(
            Problem(
                f"{name}: use {uses} of these pads, the site's policy allows {wanted.uses_max}; "
                "take new ones"
            )
        )
    for what, wrong in (
        ("gap", "leave a gap of at least one pad between the pads"),
        ("edges", "clean and dry the skin, and press the pads on until no edge lifts"),
    ):
        answer = heard.get(pad_id(channel, "", what))
        if answer is True:
            problems.append(Problem(f"{name}: {wrong}"))
        elif answer is not False:
            problems.append(Problem(f"{name}: it is not told whether to {wrong}", is_open=True))
    return problems, cautions


def last_day_of(expiry: str) -> date | None:
    """Return the last day on which pads may be used; None if this is no date."""
    found = _EXPIRY.fullmatch(expiry.strip())
    if found is None:
        return None
    try:
        year, month = int(found[1]), int(found[2])
        return date(year, month, int(found[3] or calendar.monthrange(year, month)[1]))
    except ValueError:
        return None


def _site_problems(wanted: Wanted, sites_by_channel: Sequence[Sequence[str]]) -> list[Problem]:
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for channel, sites in enumerate(sites_by_channel, start=1):
        for site in sites:
            name = f"channel {channel}: {SITES[site].words}"
            if site in seen:
                problems.append(Problem(f"{name} holds a pad of channel {seen[site]} already"))
                continue
            seen[site] = channel
            if site in wanted.forbidden_sites:
                reason = wanted.forbidden_sites[site]
                problems.append(Problem(f"{name} is forbidden: {reason}"))
            felt = wanted.sensation.get(site)
            if felt is None:
                problems.append(Problem(f"{name}: sensation is not tested"))
            elif not felt.is_allowed:
                problems.append(Problem(f"channel {channel}: {felt.words}"))
    return problems


def _impaired_words(wanted: Wanted, sites_by_channel: Sequence[Sequence[str]]) -> list[str]:
    found = (wanted.sensation.get(site) for site in _flat(sites_by_channel))
    return [each.words for each in found if each is not None and each.lowers_ceilings]


def _flat(sites_by_channel: Iterable[Iterable[str]]) -> list[str]:
    return [site for sites in sites_by_channel for site in sites]
