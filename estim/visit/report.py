"""Say what was planned beside what was delivered, as data and as lines of text.

Rules:
1. Every figure is one of the record; a time between two of its events is their difference.
2. What the record does not hold is null in the data, and named in the text.
3. Where it is uncertain how long current flowed, that is said beside the figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estim.record.lines import NOTE_LATER, REASSIGNED
from estim.units import MS_PER_S, format_clock, format_ma
from estim.visit.account import Account, Noted, Programme, count, counts, text, to_zero_ms

SCHEMA = "estim.visit-report/1"
NOT_CERTIFIED = "Estim is not a certified medical device."
MM2_PER_CM2 = 100
_NUMBERS_MAX = 20
_ADDENDUM_KEYS = ("who", "why", "text")


def document(account: Account) -> dict[str, Any]:
    """Return the report as plain data."""
    return {
        "session_id": account.session_id,
        "pseudonym": account.pseudonym or None,
        "recorded_for": account.recorded_for or None,
        "operator": account.operator or None,
        "started": account.started.isoformat() if account.started else None,
        "ended": account.ended.isoformat() if account.ended else None,
        "end_reason": account.end_reason or None,
        "is_sealed": account.is_sealed,
        "software": account.software or None,
        "protocol": {"id": account.protocol_id, "version": account.protocol_version},
        "device": dict(account.device) or None,
        "not_done": list(account.not_done),
        "programmes": [_programme(account, each) for each in account.programmes],
        "addenda": [
            {
                "wall": each.wall.isoformat(),
                **{name: text(each.content.get(name)) for name in _ADDENDUM_KEYS},
                "event_seq": count(each.content.get("event_seq")),
            }
            for each in account.facts.addenda
        ],
        "faults": [text(each) for each in account.facts.faults],
        "unreadable_lines": list(account.unreadable),
        "left_out": account.left_out,
    }


def lines(account: Account) -> list[str]:
    """Return planned beside delivered, programme by programme."""
    found = [line for each in account.programmes for line in _programme_lines(account, each)]
    if not account.programmes:
        found.append("No programme was prepared; nothing was delivered.")
    if account.device:
        device = " ".join(filter(None, account.device.values()))
        found.append(f"Device (model, serial number, firmware): {device}")
    if account.left_out:
        found.append(f"{account.left_out} more events of this kind stand in the record.")
    return found


def addendum_lines(account: Account) -> list[str]:
    """Return what was added after the record was closed, in order."""
    found = []
    for each in account.facts.addenda:
        why, what = text(each.content.get("why")), str(each.content.get("text", ""))
        seq = count(each.content.get("event_seq"))
        about = f", about event {seq}" if seq is not None else ""
        head = f"{each.wall:%Y-%m-%d %H:%M} UTC, {text(each.content.get('who'))}"
        if why == REASSIGNED:
            found.append(f"{head}: {why}: this visit is of {text(what)}, not as recorded")
        elif why == NOTE_LATER:
            found += [f"{head}: {why}:", *(f"  {text(line)}" for line in what.split("\n"))]
        else:
            found.append(f"{head}{about}: {why}: {text(what)}")
    return found


def heading_lines(account: Account) -> list[str]:
    """Return whose visit it was, when, with whom, by what, and how its record stands."""
    when = f"{account.started:%Y-%m-%d %H:%M} UTC" if account.started else "day not in the record"
    found = [
        f"Person    {account.pseudonym or 'not in the record'}",
        f"Visit     {when}, with {_operators(account)}",
        f"Protocol  {_protocol(account)}",
        f"Record    {account.session_id}, {_record_state(account)}",
    ]
    if account.pseudonym != account.recorded_for:
        found.append(f"Recorded for {account.recorded_for or 'nobody'}: see the addenda.")
    if account.unreadable:
        numbers = ", ".join(map(str, account.unreadable[:_NUMBERS_MAX]))
        found.append(f"THE RECORD IS DAMAGED: what these lines held is missing here: {numbers}")
    elif account.facts.faults:
        found.append(f"THE RECORD IS DAMAGED: {text(account.facts.faults[0])}")
    return found


def to_text(account: Account) -> str:
    """Return the whole report as text."""
    added = addendum_lines(account)
    parts = [
        *heading_lines(account),
        "",
        "PLANNED AND DELIVERED",
        *lines(account),
        *(["", "ADDED LATER", *added] if added else []),
        "",
        NOT_CERTIFIED,
    ]
    return "\n".join(parts) + "\n"


def _operators(account: Account) -> str:
    names = [account.operator or "nobody named"]
    names += [text(each.content.get("to_operator")) for each in account.of_kind("handover")]
    return ", then ".join(name for name in names if name)


def _protocol(account: Account) -> str:
    if not account.protocol_id:
        return "not in the record"
    named = f"{account.protocol_id} {account.protocol_version}"
    if account.protocol is None:
        return f"{named} (not on this station: questions are named by their ids)"
    title = f"{account.protocol.title}, {named}"
    return title if account.is_same_protocol else f"{title} (this station's text differs)"


def _record_state(account: Account) -> str:
    if not account.is_sealed and not account.end_reason:
        return "not closed when this was written"
    ended = f"ended: {account.end_reason}" if account.end_reason else "nothing says why it ended"
    return f"{'closed' if account.is_sealed else 'not closed'}, {ended}"


# One programme.


def _programme(account: Account, programme: Programme) -> dict[str, Any]:
    done = programme.done
    return {
        "number": programme.number,
        "profile": {"id": programme.profile_id, "version": programme.profile_version},
        "places": programme.places or None,
        "planned": {
            "plateau_s": programme.planned_s,
            "ceilings_ua": list(programme.ceilings_ua),
            "electrode_areas_mm2": list(programme.areas_mm2),
        },
        "delivered": {
            "has_run": done.has_run if done else None,
            "output_ms": done.delivered_ms if done else None,
            "plateau_ms": programme.plateau_ms,
            "is_uncertain": done.is_uncertain if done else None,
            "pulses": list(done.pulses) if done else [],
            "highest_asked_ua": _by_channel(done.highest_target_ua if done else {}),
            "highest_measured_ua": _by_channel(done.highest_measured_ua if done else {}),
            "markers_ua": {
                str(channel): {text(name): amount for name, amount in marks.items()}
                for channel, marks in (done.markers_ua if done else {}).items()
            },
        },
        "happened": [
            {"wall": each.wall.isoformat(), "kind": each.kind, "words": _words(account, each)}
            for each in _meanwhile(account, programme)
        ],
    }


def _by_channel(amplitudes_ua: Mapping[int, int]) -> dict[str, int]:
    return {str(channel): amount for channel, amount in sorted(amplitudes_ua.items())}


def _programme_lines(account: Account, programme: Programme) -> list[str]:
    found = [
        f"{programme.number}. {programme.profile_id or 'a profile that the record does not name'} "
        f"{programme.profile_version}".rstrip(),
        f"   pads: {programme.places or 'not read back'}",
        f"   planned: {_planned(programme)}",
        f"   delivered: {_delivered(programme)}",
    ]
    done = programme.done
    if done is not None:
        if done.is_uncertain:
            found.append("   uncertain how long: it may have been more than the figures say")
        marks = [
            f"channel {channel} {text(name)} {format_ma(amount)} mA"
            for channel, marked in sorted(done.markers_ua.items())
            for name, amount in marked.items()
        ]
        found.append(f"   marked: {', '.join(marks) or 'no threshold'}")
    found += [
        f"   {each.wall:%H:%M:%S} {_words(account, each)}"
        for each in _meanwhile(account, programme)
    ]
    return found


def _meanwhile(account: Account, programme: Programme) -> list[Noted]:
    """Return what happened; a confirmed zero is told with the stop that it belongs to."""
    return [
        each
        for each in account.happened
        if each.programme == programme.number and each.kind != "zero_confirmed"
    ]


def _planned(programme: Programme) -> str:
    if programme.planned_s is None:
        parts = ["time not in the record"]
    else:
        parts = [f"{format_clock(programme.planned_s)} at the targets"]
    parts += _per_channel("at most", programme.ceilings_ua)
    parts += [
        f"channel {number} smallest pad {area_mm2 / MM2_PER_CM2:g} cm2"
        for number, area_mm2 in enumerate(programme.areas_mm2, start=1)
    ]
    return "; ".join(parts)


def _per_channel(words: str, amplitudes_ua: tuple[int, ...]) -> list[str]:
    return [
        f"channel {number} {words} {format_ma(amount)} mA"
        for number, amount in enumerate(amplitudes_ua, start=1)
    ]


def _delivered(programme: Programme) -> str:
    done = programme.done
    if done is None:
        return "not in the record"
    if not done.has_run:
        return "nothing: it was prepared and did not run"
    if done.delivered_ms is None:
        return "it ran; the record does not say how long"
    parts = [f"{_clock_ms(done.delivered_ms)} with output"]
    if programme.plateau_ms is not None:
        parts[0] += f", of it {_clock_ms(programme.plateau_ms)} at the targets"
    channels = sorted({*done.highest_target_ua, *done.highest_measured_ua})
    for channel in channels:
        asked, measured = (
            f"up to {format_ma(told[channel])} mA" if channel in told else "not in the record"
            for told in (done.highest_target_ua, done.highest_measured_ua)
        )
        parts.append(f"channel {channel} asked {asked}, measured {measured}")
    parts += [f"channel {n} {amount} pulses" for n, amount in enumerate(done.pulses, start=1)]
    return "; ".join(parts)


def _clock_ms(duration_ms: int) -> str:
    return format_clock(duration_ms // MS_PER_S)


# What happened meanwhile.


def _words(account: Account, each: Noted) -> str:
    """Return one thing that happened, in words."""
    content = each.content
    if each.kind == "alarm":
        told = [text(content.get(name)) for name in ("cause", "priority", "what")]
        return f"alarm {told[0].replace('_', ' ')} ({told[1]}) {told[2]}"
    if each.kind == "prompt":
        asked, answer = text(content.get("prompt")), text(content.get("answer"))
        return f"asked {asked}: {answer.replace('_', ' ')}"
    if each.kind == "paused":
        told_ua = counts(content.get("marker_ua"))
        return "; ".join(["paused", *_per_channel("at", told_ua)])
    if each.kind == "lead_off":
        at_ua = count(content.get("at_ua"))
        at = f" at {format_ma(at_ua)} mA" if at_ua is not None else ""
        return f"electrode off, channel {count(content.get('channel'))}{at}"
    if each.kind == "rearmed":
        return f"re-armed, channels {', '.join(map(str, counts(content.get('channels'))))}"
    if each.kind == "stop":
        zero_ms = to_zero_ms(account, each)
        told_zero = "no confirmed zero is recorded after it"
        if zero_ms is not None:
            told_zero = f"zero confirmed after {zero_ms / MS_PER_S:.2f} s"
        return f"stop: {text(content.get('reason'))}; {told_zero}"
    if each.kind == "fault":
        return f"fault: {text(content.get('text'))}"
    return _PLAIN[each.kind]


_PLAIN = {
    "uncertain_delivery": "the link broke: how long current flowed on is uncertain",
    "suspended": "the computer slept",
    "stalled": "the engine stood still",
    "self_test": "the device tested itself",
}
