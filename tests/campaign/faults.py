"""Every kind of fault, by class, and a script of them from one integer.

Rules:
1. All chance is here: a seed makes a script, and the script decides everything.
2. What lasts ends before `quiet`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.campaign.clocks import DRIFT_MAX_PPM
from tests.campaign.script import Script, Step
from tests.campaign.sessions import SESSIONS

MS = 1000
S = 1_000_000
YEAR_S = 31_536_000
FORGERIES = ("above", "leap", "stale", "future", "digest")
SALT = 1 << 20
Words = tuple[str, ...]
Draw = Callable[[Random, int], Words]
"""Make the words of one fault; the number is the milliseconds that are left."""


def _salt(random: Random) -> str:
    return str(random.randrange(SALT))


def _way(random: Random) -> str:
    return random.choice(("both", "to-device", "to-host"))


def _ms(random: Random, left_ms: int, most_ms: int, least_ms: int = 1) -> str:
    """Return a duration: short ones are as likely as long ones, and the edges of the timers are."""
    edges = (40, 140, 160, 200, 310, 325, 345, 390, 410, 500, 740, 760, 1000, 2100)
    drawn = random.choice(edges) if random.random() < 0.5 else random.randint(least_ms, most_ms)
    return str(max(1, min(drawn, most_ms, left_ms)))


def _frames(verb: str) -> Draw:
    return lambda r, left: ("wire", verb, _way(r), str(r.choice((1, 1, 2, 3, 6))), _salt(r))


def _one_frame(verb: str) -> Draw:
    return lambda r, left: ("wire", verb, _way(r), "1", _salt(r))


def _lasting(verb: str, most_ms: int) -> Draw:
    return lambda r, left: ("wire", verb, _way(r), _ms(r, left, most_ms), "0")


def _for_ms(*words: str, most_ms: int) -> Draw:
    return lambda r, left: (*words, _ms(r, left, most_ms))


def _plain(*words: str) -> Draw:
    return lambda r, left: words


def _numbered(*words: str, values: tuple[int, ...]) -> Draw:
    return lambda r, left: (*words, str(r.choice(values)))


def _channel(r: Random) -> str:
    return str(r.choice((1, 1, 2)))


def _targets(r: Random) -> tuple[str, str]:
    return str(100 * r.randrange(0, 220)), str(100 * r.randrange(0, 220))


FAULTS: dict[str, tuple[Draw, ...]] = {
    "wire": (
        _frames("drop"), _frames("duplicate"), _one_frame("flip"), _one_frame("truncate"),
        _frames("merge"), _one_frame("reorder"),
        lambda r, left: ("wire", "late", _way(r), _ms(r, 10_000, 10_000), _salt(r)),
        lambda r, left: (
            "wire", "delay", _way(r), _ms(r, 10_000, r.choice((60, 400, 10_000))),
            _ms(r, left, 1500),
        ),
        _lasting("stall", 2500), _lasting("lose", 2500), _lasting("lose", 400),
        lambda r, left: ("wire", "garbage", _way(r), str(r.choice((1, 5, 40, 300))), _salt(r)),
        lambda r, left: ("wire", "replay", _way(r), str(r.choice((1, 5, 40, 200))), "0"),
        lambda r, left: ("wire", "unplug", _ms(r, left, 1500)),
        lambda r, left: ("rogue", r.choice(("hello", "stop", "drive"))),
        lambda r, left: ("rogue", r.choice(FORGERIES), _salt(r)),
    ),
    "host": (
        _plain("host", "kill"), _for_ms("host", "stop", most_ms=1500),
        _for_ms("host", "stall", most_ms=900), _for_ms("host", "block", most_ms=700),
        _plain("host", "raise"), _plain("host", "interrupt"),
        _for_ms("operator", "freeze", most_ms=2000), _for_ms("operator", "blank", most_ms=1500),
        _plain("operator", "die"),
    ),
    "clock": (
        lambda r, left: ("clock", "device", str(r.randint(-DRIFT_MAX_PPM, DRIFT_MAX_PPM))),
        lambda r, left: ("clock", "host", str(r.randint(-DRIFT_MAX_PPM, DRIFT_MAX_PPM))),
        _for_ms("clock", "suspend", most_ms=2000),
        lambda r, left: ("clock", "wall", str(r.choice((-YEAR_S, -3600, -1, 7200, YEAR_S)))),
    ),
    "disk": (
        _numbered("disk", "enospc", values=(1,)), _numbered("disk", "eio", values=(1,)),
        _numbered("disk", "short", values=(1, 3)), _numbered("disk", "fsync-fail", values=(1,)),
        _plain("disk", "fsync-lie", "1"), _plain("disk", "full", "1"),
        _numbered("disk", "slow", values=(20, 100, 240, 260)),
        _for_ms("disk", "stall", most_ms=800),
        lambda r, left: ("disk", "power-cut", _salt(r)),
    ),
    "device": (
        _plain("device", "reboot"), _plain("device", "hang"),
        _for_ms("device", "off", most_ms=900), _for_ms("device", "stuck", most_ms=1500),
        lambda r, left: (
            "device", "swap", _ms(r, left, 1500), r.choice(("told", "silently")),
        ),
        _numbered("device", "battery", values=(0, 4, 5, 9, 10, 60)),
        lambda r, left: ("device", "gain", _channel(r), str(r.choice((500, 1050, 1200, 1450)))),
        lambda r, left: ("device", "gain", "1", "1450"),
    ),
    "patient": (
        lambda r, left: ("patient", "open", _channel(r)),
        lambda r, left: ("patient", "close", _channel(r)),
        lambda r, left: (
            "patient", "load", _channel(r),
            str(r.choice((1, 20, 100, 500, 2000, 10_000, 14_900, 15_100, 100_000))),
        ),
        lambda r, left: (
            "patient", "chatter", _channel(r), str(r.choice((1, 5, 20, 50, 100))),
            _ms(r, left, 600),
        ),
        _plain("patient", "stop", "press"), _plain("patient", "stop", "release"),
    ),
    "operator": (
        _plain("operator", "stop"), _plain("operator", "pause"), _plain("operator", "resume"),
        _plain("operator", "start"), _plain("operator", "arm"), _plain("operator", "finish"),
        _plain("operator", "self-test"), _plain("operator", "disconnect"),
        _plain("operator", "close"), _plain("operator", "connect"), _plain("operator", "prepare"),
        _plain("operator", "acknowledge"), _plain("operator", "rearm"),
        _plain("operator", "note"), _plain("operator", "open"),
        lambda r, left: ("operator", "raise", _channel(r)),
        lambda r, left: ("operator", "lower", _channel(r), str(r.choice((100, 1000, 5000)))),
        lambda r, left: ("operator", "targets", *_targets(r)),
        lambda r, left: ("operator", "aim", *_targets(r)),
        _for_ms("operator", "hold", most_ms=1500),
    ),
}  # fmt: skip
"""What may go wrong. The operator's part is what any person may do, at any time."""

_WEIGHTS = {
    "wire": 8, "host": 3, "clock": 2, "disk": 2, "device": 2, "patient": 4, "operator": 8,
}  # fmt: skip
_WARM_UP_US = 600 * MS


def make_script(seed: int) -> Script:
    """Make the script of a seed: calm ones and dense ones, all classes or one or two."""
    random = Random(seed)
    core = ("python", "c")[seed % 2]
    session = random.choice(sorted(SESSIONS))
    quiet_us = random.randint(5 * S, 11 * S)
    classes = list(_WEIGHTS)
    if random.random() < 0.4:
        classes = [*random.sample(classes, random.randint(1, 2)), "operator"]
    weights = [_WEIGHTS[each] for each in classes]
    steps = []
    if random.random() < 0.3:
        for clock in ("device", "host"):
            ppm = random.choice((-DRIFT_MAX_PPM, DRIFT_MAX_PPM, random.randint(-20_000, 20_000)))
            steps.append(Step(0, ("clock", clock, str(ppm))))
    for _ in range(random.choice((1, 2, 4, 8, 12, 20, 30))):
        at_us = random.randint(_WARM_UP_US, quiet_us - 10 * MS)
        left_ms = (quiet_us - at_us) // MS
        kind = random.choices(classes, weights)[0]
        words = random.choice(FAULTS[kind])(random, left_ms)
        if kind == "patient" and words[1] in ("open", "load") and random.random() < 0.5:
            # Most leads are put back; the others stay off until the quiet.
            steps.append(_put_back(random, words, at_us, quiet_us))
        steps.append(Step(at_us, words))
    return Script(seed, core, session, quiet_us, tuple(sorted(steps, key=lambda s: s.at_us)))


def _put_back(random: Random, words: Words, at_us: int, quiet_us: int) -> Step:
    back_us = min(at_us + MS * int(_ms(random, 2000, 2000)), quiet_us - MS)
    if words[1] == "open":
        return Step(back_us, ("patient", "close", words[2]))
    return Step(back_us, ("patient", "load", words[2], "500"))
