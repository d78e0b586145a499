"""Name regions of the body as a therapist does, and the sites of the chart at or near each.

Rules:
1. Every site of the chart lies in a region besides the whole limb and 'everywhere'.
2. Near counts as in: regions overlap by the sites next to their edge.
3. A region may have no site: it can be named, and forbids what lies near it.
4. No pad goes on head, face, front of the neck, chest or genitals, whatever was answered; a site
   that the chart may get there is forbidden by its name or part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from estim.profile.body_chart import SITES, Site
from estim.visit.questions import Choice

EVERYWHERE = "everywhere"
NOWHERE_ELSE = "nowhere-else"
SIDES = ("left", "right")

_NEVER = re.compile(
    r"\b(head|skull|face|temple|jaw|cheek|forehead|eyes?|mouth|lips?|neck|throat|carotid|chest|"
    r"breasts?|sternum|heart|thora\w*|testes|genitals?|groin)\b"
)


@dataclass(frozen=True, slots=True)
class Region:
    """A region: `sites` are those of the chart at or near it."""

    id: str
    words: str
    sites: frozenset[str]


def never(site: Site) -> str | None:
    """Return why a site may never hold a pad, or None (rule 4)."""
    found = _NEVER.search(f"{site.words} {site.part}".replace("-", " "))
    if found is None:
        return None
    return f"{site.words}: no pad goes on or near the {found[1]}, ever [S:as]"


def sites_of(regions: Iterable[str]) -> frozenset[str]:
    """Return the sites at or near regions; a name that is no region counts as everywhere."""
    everywhere = REGIONS[EVERYWHERE]
    return frozenset().union(*(REGIONS.get(name, everywhere).sites for name in regions))


def choices(regions: Iterable[str]) -> tuple[Choice, ...]:
    """Return regions as choices of a question."""
    return tuple(Choice(name, REGIONS[name].words) for name in regions)


_SIDED: Mapping[str, tuple[str, str]] = {
    "foot": (
        "foot or toes",
        "ankle-front foot-top-outer foot-top-inner toes-base-outer toes-base-inner "
        "sole-front-outer sole-front-inner heel inner-ankle-behind",
    ),
    "ankle": (
        "ankle",
        "ankle-front inner-ankle-behind inner-leg-above-ankle heel foot-top-outer foot-top-inner "
        "shin-lower-outer shin-lower-inner calf-lower-outer calf-lower-inner",
    ),
    "lower-leg": (
        "lower leg",
        "below-knee-outer shin-upper-outer shin-upper-inner shin-middle-outer shin-middle-inner "
        "shin-lower-outer shin-lower-inner calf-upper-outer calf-upper calf-upper-inner "
        "calf-middle-outer calf-middle calf-lower-outer calf-lower-inner inner-leg-middle "
        "inner-leg-above-ankle inner-ankle-behind ankle-front knee-back knee-below-outer "
        "knee-below-inner",
    ),
    "knee": (
        "knee",
        "knee-above-outer knee-above-inner knee-below-outer knee-below-inner knee-back "
        "thigh-lower-outer thigh-lower-inner thigh-back-lower-outer thigh-back-lower-inner "
        "below-knee-outer shin-upper-outer shin-upper-inner calf-upper-outer calf-upper "
        "calf-upper-inner",
    ),
    "thigh": (
        "thigh",
        "thigh-upper-outer thigh-upper-inner thigh-middle-outer thigh-middle thigh-middle-inner "
        "thigh-lower-outer thigh-lower-inner thigh-back-upper-outer thigh-back-upper-inner "
        "thigh-back-middle-outer thigh-back-middle-inner thigh-back-lower-outer "
        "thigh-back-lower-inner knee-above-outer knee-above-inner knee-back",
    ),
    "hip": (
        "hip or groin",
        "thigh-upper-outer thigh-upper-inner thigh-back-upper-outer thigh-back-upper-inner "
        "buttock-upper abdomen-lowest",
    ),
    "buttock": (
        "buttock",
        "buttock-upper low-back-lower thigh-back-upper-outer thigh-back-upper-inner",
    ),
    "hand": ("hand or wrist", "wrist-above forearm-middle-outer forearm-middle-inner"),
    "forearm": (
        "forearm",
        "forearm-upper-outer forearm-upper-inner forearm-middle-outer forearm-middle-inner "
        "wrist-above",
    ),
    "upper-arm": (
        "upper arm or elbow",
        "upper-arm-front upper-arm-front-lower upper-arm-back upper-arm-back-lower "
        "shoulder-front shoulder-back forearm-upper-outer forearm-upper-inner",
    ),
    "shoulder": (
        "shoulder",
        "shoulder-front shoulder-back shoulder-blade-above upper-arm-front upper-arm-back",
    ),
}
_LIMBS: Mapping[str, tuple[str, ...]] = {"leg": ("leg",), "arm": ("arm", "shoulder")}
"""A whole limb: the parts of the chart that it holds."""
_MIDDLE: Mapping[str, tuple[str, str]] = {
    "low-back": (
        "low back",
        "low-back-upper low-back-middle low-back-lower buttock-upper",
    ),
    "abdomen": ("abdomen", "abdomen-upper abdomen-middle abdomen-lower abdomen-lowest"),
    "pelvis": ("pelvis", "abdomen-lower abdomen-lowest low-back-lower buttock-upper"),
    "genitals": ("genitals", "abdomen-lowest thigh-upper-inner"),
    "chest": ("chest", "shoulder-front abdomen-upper"),
    "upper-back": ("upper back", "shoulder-blade-above low-back-upper"),
    "neck": ("neck", "shoulder-blade-above"),
    "head": ("head, face, eyes or mouth", ""),
}


def _regions() -> dict[str, Region]:
    found = [
        Region(f"{side}-{name}", f"{side} {words}", frozenset(f"{side}-{s}" for s in sites.split()))
        for name, (words, sites) in _SIDED.items()
        for side in SIDES
    ]
    for limb, held in _LIMBS.items():
        for side in SIDES:
            parts = {f"{side} {part}" for part in held}
            sites_held = frozenset(s.name for s in SITES.values() if s.part in parts)
            found.append(Region(f"{side}-{limb}", f"whole {side} {limb}", sites_held))
    for name, (words, sites) in _MIDDLE.items():
        both = frozenset(f"{side}-{site}" for side in SIDES for site in sites.split())
        found.append(Region(name, words, both))
    found.append(Region(EVERYWHERE, "everywhere, or not known where", frozenset(SITES)))
    return {region.id: region for region in found}


REGIONS: Mapping[str, Region] = MappingProxyType(_regions())
"""Every region by its id, in the order in which they are offered."""

LIMBS = tuple(f"{side}-{limb}" for limb in _LIMBS for side in SIDES)
"""The whole limbs, for what affects a limb and not a place on it."""
