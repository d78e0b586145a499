"""The sensation gate: may this site be stimulated, and with what ceiling?

Rules:
1. Each pad site is tested for itself, with the eyes closed, after the touches were shown on skin
   that feels normally. Counts without that do not count.
2. Sharp or dull, 10 touches: 8 named right pass [E]; with fewer the site has FAILED. Who guesses
   reaches 8 once in 18 times, so the monofilament stands beside it.
3. A 10 g monofilament, 4 touches at the pad site [E] (no source gives a count there; 4 is what a
   foot is given): all felt is NORMAL, 2 or 3 IMPAIRED, fewer FAILED.
4. FAILED forbids the site. IMPAIRED lowers its ceilings. Whatever is not tested, half tested, too
   old or dated in the future forbids as well.
5. The monofilament on the sole is an outcome (`instruments`) and never opens or shuts this gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from estim.visit.questions import Answers, Form, Kind, Question

SHARP_DULL_TOUCHES = 10
SHARP_DULL_PASS = 8
MONOFILAMENT_TOUCHES = 4
MONOFILAMENT_IMPAIRED = 2
IS_BLINDED = "is-blinded"

INSTRUCTIONS = (
    "Show both touches first on skin that feels normally (the breastbone or the upper arm): "
    "'this is sharp, this is dull', and once the thread.",
    "Then the eyes are closed, and stay closed. Give no hint: no 'now', no even rhythm, and now "
    "and then a pause without a touch.",
    f"Sharp or dull: {SHARP_DULL_TOUCHES} touches where the pad will lie, in mixed order. 'Say "
    "sharp, dull or nothing.' Count what is named right; 'nothing' is wrong.",
    f"Thread (10 g): {MONOFILAMENT_TOUCHES} touches there, each until it bends, for about 1 s. "
    "'Say yes when you feel it.' Count what is felt.",
    "Test each site for itself, on both sides. Use a clean tip, and do not break the skin.",
)
"""What is done, as it is read out [K]."""

_MOTOR_LANDMARK = (
    "find the lowest intensity with a visible twitch, and stay below it (prescriber's decision) [K]"
)
_MATCHED_SITE = "copy the intensity of a matched site that feels, the other side's for one [K]"
_LEG = (
    "move up to skin that feels: the upper calf [S:nct063], or the outer side below the knee "
    "(common peroneal nerve) [S:forst]",
    "the tibial nerve behind the inner ankle, where the skin there feels [K]",
)
_ELSEWHERE = ("move up the limb or along the nerve to skin that feels [K]",)


class State(StrEnum):
    """What the test says of a site."""

    NORMAL = "normal"
    IMPAIRED = "impaired"
    FAILED = "failed"
    NOT_TESTED = "not tested"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class SiteSensation:
    """What the test says of one site, in words too; `alternatives` where it failed."""

    site: str
    state: State
    words: str
    alternatives: tuple[str, ...] = ()

    @property
    def is_allowed(self) -> bool:
        """Tell whether a pad may lie here, as far as sensation goes."""
        return self.state in (State.NORMAL, State.IMPAIRED)

    @property
    def lowers_ceilings(self) -> bool:
        """Tell whether the ceilings for impaired sensation hold."""
        return self.state is State.IMPAIRED


def form(sites: Iterable[str]) -> Form:
    """Return the questions of the test at these sites, each site once."""
    found = [
        Question(
            IS_BLINDED,
            "Were the touches shown on normal skin first, and were the eyes closed?",
            Kind.YES_NO,
            note="without it the counts do not count [K]",
        )
    ]
    for site in dict.fromkeys(sites):
        found += [
            Question(
                _sharp_dull(site),
                f"{_words(site)}: sharp or dull, right of {SHARP_DULL_TOUCHES}?",
                Kind.WHOLE,
                minimum=0,
                maximum=SHARP_DULL_TOUCHES,
                note=f"{SHARP_DULL_PASS} pass [E]; fewer forbid the site",
            ),
            Question(
                _monofilament(site),
                f"{_words(site)}: 10 g thread, felt of {MONOFILAMENT_TOUCHES}?",
                Kind.WHOLE,
                minimum=0,
                maximum=MONOFILAMENT_TOUCHES,
                note=f"all {MONOFILAMENT_TOUCHES}: normal; from {MONOFILAMENT_IMPAIRED}: lower "
                "ceilings; fewer forbid the site [E]",
            ),
        ]
    return tuple(found)


def judge(
    sites: Sequence[str], answers: Answers, tested_on: date | None, today: date, valid_days: int
) -> Mapping[str, SiteSensation]:
    """Return what the test says of each site.

    Args:
        sites: names of the chart.
        answers: to `form`, of the day of the test.
        tested_on: that day, None where there was none.
        today: on which the site would be stimulated.
        valid_days: how many days after the test it holds; 0 holds on its own day alone.
    """
    return {site: _judge_site(site, answers, tested_on, today, valid_days) for site in sites}


def is_impaired(sites: Iterable[str], found: Mapping[str, SiteSensation]) -> bool:
    """Tell whether the ceilings for impaired sensation hold for pads at these sites.

    A site that is not normal for any reason counts, so that nothing untested gets full ceilings.
    """
    return any(site not in found or found[site].state is not State.NORMAL for site in sites)


def _judge_site(
    site: str, answers: Answers, tested_on: date | None, today: date, valid_days: int
) -> SiteSensation:
    name = _words(site)
    sharp_dull = _count(answers, _sharp_dull(site), SHARP_DULL_TOUCHES)
    monofilament = _count(answers, _monofilament(site), MONOFILAMENT_TOUCHES)
    if tested_on is None or sharp_dull is None or monofilament is None:
        return SiteSensation(site, State.NOT_TESTED, f"{name}: sensation is not tested")
    if answers.get(IS_BLINDED) is not True:
        told = f"{name}: tested without a demonstration or with open eyes; test again"
        return SiteSensation(site, State.NOT_TESTED, told)
    age_days = (today - tested_on).days
    if age_days < 0:
        told = f"{name}: tested on {tested_on}, after today ({today}); check the clock, test again"
        return SiteSensation(site, State.NOT_TESTED, told)
    counts = (
        f"sharp or dull {sharp_dull} of {SHARP_DULL_TOUCHES} right, 10 g thread {monofilament} of "
        f"{MONOFILAMENT_TOUCHES} felt"
    )
    if age_days > valid_days:
        told = (
            f"{name}: tested on {tested_on}, {age_days} days ago ({counts}); the site's policy "
            f"lets it hold for {max(valid_days, 0)} days; test again"
        )
        return SiteSensation(site, State.EXPIRED, told)
    if sharp_dull < SHARP_DULL_PASS or monofilament < MONOFILAMENT_IMPAIRED:
        told = f"{name}: failed, no pad here: {counts} [E]"
        return SiteSensation(site, State.FAILED, told, _alternatives(site))
    if monofilament < MONOFILAMENT_TOUCHES:
        told = f"{name}: impaired, so ceilings are lowered: {counts} [E]"
        return SiteSensation(site, State.IMPAIRED, told)
    return SiteSensation(site, State.NORMAL, f"{name}: normal: {counts} [E]")


def _count(answers: Answers, name: str, touches: int) -> int | None:
    answer = answers.get(name)
    return answer if type(answer) is int and 0 <= answer <= touches else None


def _alternatives(site: str) -> tuple[str, ...]:
    is_below_knee = any(
        word in site.split("-") for word in ("calf", "shin", "foot", "ankle", "sole", "heel",
                                             "toes", "leg")
    )  # fmt: skip
    return (*(_LEG if is_below_knee else _ELSEWHERE), _MATCHED_SITE, _MOTOR_LANDMARK)


def _sharp_dull(site: str) -> str:
    return f"{site}-sharp-dull"


def _monofilament(site: str) -> str:
    return f"{site}-monofilament"


def _words(site: str) -> str:
    return site.replace("-", " ")
