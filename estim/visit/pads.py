"""Ask for the pads briefly: where the profile would have them, all of one kind, in one go.

What is answered so is spelt out pad by pad before `placement` judges it: one judgement for both.
"""

from __future__ import annotations

from dataclasses import replace

from estim.profile.body_chart import SITES
from estim.profile.models import Profile
from estim.visit import placement
from estim.visit.placement import PER_CHANNEL, PER_PAD, Wanted, pad_id, pad_names
from estim.visit.questions import Answer, Answers, Form, Kind, Question

AS_PROFILE = "as-profile"
ALIKE = "alike"


def form(profile: Profile, wanted: Wanted, answers: Answers) -> Form:
    """Return what is asked of the pads, given the answers so far."""
    asked: list[Question] = []
    if all(channel.pads for channel in profile.channels):
        sites = "; ".join(placement.read_back([channel.pads for channel in profile.channels]))
        asked.append(Question(AS_PROFILE, f"Are the pads at: {sites}?", Kind.YES_NO))
    asked.append(Question(ALIKE, "Are all pads of one size and from one packet?", Kind.YES_NO))
    for question in placement.form(wanted, expanded(profile, answers)):
        channel, what = _split(question.id)
        if what == "site" and answers.get(AS_PROFILE) is True:
            continue
        if answers.get(ALIKE) is True and what in (*PER_PAD, *PER_CHANNEL):
            if channel == 1 and not any(each.id == _for_all(what) for each in asked):
                words = question.words.partition(": ")[2].lower()
                asked.append(replace(question, id=_for_all(what), words=f"All pads: {words}"))
            continue
        asked.append(question)
    return tuple(asked)


def expanded(profile: Profile, answers: Answers) -> dict[str, Answer]:
    """Return the answers with what was said for all pads at once, pad by pad."""
    whole = dict(answers)
    for number, channel in enumerate(profile.channels, start=1):
        names = pad_names(len(channel.pads))
        if answers.get(AS_PROFILE) is True:
            for name, site in zip(names, channel.pads, strict=False):
                whole[pad_id(number, name, "site")] = site
        if answers.get(ALIKE) is True:
            places = [(name, what) for name in names for what in PER_PAD]
            for name, what in (*places, *(("", what) for what in PER_CHANNEL)):
                if _for_all(what) in answers:
                    whole[pad_id(number, name, what)] = answers[_for_all(what)]
    return whole


def sites_by_channel(profile: Profile, answers: Answers) -> list[tuple[str, ...]]:
    """Return the sites of each channel's pads, as far as they are told."""
    whole = expanded(profile, answers)
    found = []
    for number, channel in enumerate(profile.channels, start=1):
        told = [whole.get(pad_id(number, pad, "site")) for pad in pad_names(len(channel.pads))]
        found.append(tuple(str(site) for site in told if site in SITES))
    return found


def _for_all(what: str) -> str:
    return f"all-{what}"


def _split(name: str) -> tuple[int, str]:
    """Return the channel of a question of the placement, and what it asks."""
    parts = name.split("-")
    return int(parts[1]), parts[-1]
