"""`estim profiles diff`: what changed from one profile to another, in physics, the worst first."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from math import inf

from estim.cli.console import say, say_json, say_table, say_wrapped
from estim.cli.profile_facts import AS_WRITTEN, Fact, Harm, facts
from estim.cli.profile_figures import summary
from estim.prepare.session import prepare
from estim.profile.library import find
from estim.profile.loader import LoadedProfile

SCHEMA = "estim.profile-diff/1"
DIFFERENT = 1

_SECTIONS = ("safety", "stimulus", "session", "guidance", "evidence", "identity")
_CELL_CHARACTERS = 28
_ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that differs; what a profile lacks is None."""

    section: str
    channel: int
    name: str
    before: str | None
    after: str | None
    share: float | None
    is_worse: bool | None

    @property
    def rank(self) -> tuple[int, float, int, int]:
        """Return what puts the worst first: less safe, by how much, then by section."""
        is_safety = self.is_worse is not None
        size = inf if self.share is None else abs(self.share)
        return (
            0 if self.is_worse else 1,
            -size if is_safety else 0.0,
            _SECTIONS.index(self.section),
            self.channel,
        )


def run(arguments: Namespace) -> int:
    """Print what differs; return 0 where nothing does, else 1.

    Raises:
        ProfileError: there is no such profile, or it cannot be used.
        LimitRefused: a limit refuses one of them.
    """
    first, second = find(arguments.first), find(arguments.second)
    changes = differences(_facts(first), _facts(second))
    if arguments.json:
        say_json(
            SCHEMA,
            a=summary(first),
            b=summary(second),
            is_same=not changes,
            changes=[
                {
                    "section": change.section,
                    "channel": change.channel,
                    "name": change.name,
                    "a": change.before,
                    "b": change.after,
                    "change_permille": None if change.share is None else round(change.share * 1000),
                    "is_worse": change.is_worse,
                }
                for change in changes
            ],
        )
    else:
        _say(first, second, changes)
    return DIFFERENT if changes else 0


def differences(first: list[Fact], second: list[Fact]) -> list[Change]:
    """Return the facts that differ, the worst for safety first."""
    common = min(_channel_count(first), _channel_count(second))
    before = {fact.key: fact for fact in first if _is_told(fact, common)}
    after = {fact.key: fact for fact in second if _is_told(fact, common)}
    wholes = {fact.name for fact in before.values()} & {fact.name for fact in after.values()}
    changes = [
        _change(before.get(key), after.get(key))
        for key, fact in (before | after).items()
        if before.get(key) != after.get(key) and (not fact.part_of or fact.part_of in wholes)
    ]
    if any(change.section == "stimulus" and change.name != AS_WRITTEN for change in changes):
        changes = [change for change in changes if change.name != AS_WRITTEN]
    return sorted(changes, key=lambda change: change.rank)


def _channel_count(told: list[Fact]) -> int:
    return max(fact.channel for fact in told)


def _is_told(fact: Fact, common: int) -> bool:
    """Tell whether a fact is worth comparing: of a channel that only one has, little is."""
    return fact.channel <= common or fact.name in ("name", "ceiling")


def _facts(loaded: LoadedProfile) -> list[Fact]:
    return facts(loaded, prepare(loaded.profile, is_bench=True, origin=loaded.origin))


def _change(before: Fact | None, after: Fact | None) -> Change:
    known = after or before
    assert known is not None
    old = before.figure if before else None
    new = after.figure if after else None
    share = None
    if old and new and old != new:
        share = (new - old) / abs(old)
    return Change(
        known.section,
        known.channel,
        known.name,
        before.shown if before else None,
        after.shown if after else None,
        share,
        _is_worse(known, old, new),
    )


def _is_worse(known: Fact, old: float | None, new: float | None) -> bool | None:
    """Tell whether a change is for the worse; None where safety does not hang on it."""
    is_protection = known.section == "safety" and known.harm is Harm.LOWER
    if known.harm is Harm.NONE or ((old is None or new is None) and not is_protection):
        return None
    # A protection that is gone, or new, counts as nothing on that side.
    rise = (new or 0) - (old or 0)
    return rise > 0 if known.harm is Harm.HIGHER else rise < 0


def _say(first: LoadedProfile, second: LoadedProfile, changes: list[Change]) -> None:
    for letter, loaded in (("A", first), ("B", second)):
        say(f"{letter}  {loaded.profile.id} {loaded.profile.version}  {loaded.path}")
    say()
    if not changes:
        say("no difference")
        return
    alike: dict[tuple[object, ...], list[Change]] = {}
    for change in changes:
        told = (change.name, change.before, change.after, change.is_worse)
        alike.setdefault(told, []).append(change)
    brief = [group for group in alike.values() if _is_brief(group[0])]
    if brief:
        say("Less safe is marked with !, the largest change first.")
        rows = [
            (
                "!" if group[0].is_worse else "",
                _place(group) + group[0].name,
                group[0].before or _ABSENT,
                group[0].after or _ABSENT,
                "" if group[0].share is None else f"{group[0].share:+.1%}",
            )
            for group in brief
        ]
        say_table(("", "what", "A", "B", "change"), rows, folding=("what", "change", "A", "B"))
    for group in alike.values():
        if not _is_brief(group[0]):
            mark = "! " if group[0].is_worse else ""
            say_wrapped(f"{mark}{_place(group)}{group[0].name}", 0)
            say_wrapped(f"A: {group[0].before or _ABSENT}")
            say_wrapped(f"B: {group[0].after or _ABSENT}")


def _is_brief(change: Change) -> bool:
    """Tell whether a change fits a row of a table."""
    texts = (change.before or "", change.after or "")
    return max(map(len, texts)) <= _CELL_CHARACTERS and len(change.name) <= 2 * _CELL_CHARACTERS


def _place(group: list[Change]) -> str:
    """Say which channels changes that are alike belong to."""
    numbers = ", ".join(str(change.channel) for change in group if change.channel)
    return f"channel {numbers}: " if numbers else ""
