"""Make a FHIR R4 bundle of one visit, as plain data.

Rules:
1. The person is an identifier, the pseudonym; operators are identifiers too. No name, no birth
   date, no address, and no free text that somebody typed, but the words of an adverse event.
2. No code of a terminology is given that was not checked against it: what was done and measured is
   named in words and by Estim's own identifiers.
3. Amounts carry their unit in UCUM. What is uncertain or missing is left out or said, not guessed.
4. The same record gives the same bundle: ids are made from the session's.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from estim.text import sanitize
from estim.units import MS_PER_S, UA_PER_MA
from estim.visit.account import Account, Programme, text
from estim.visit.fold import ADVERSE, REVIEW
from estim.visit.instruments import Instrument, Score
from estim.visit.note import scores_of

PSEUDONYM_SYSTEM = "urn:estim:pseudonym"
OPERATOR_SYSTEM = "urn:estim:operator"
SESSION_SYSTEM = "urn:estim:session"
SERIAL_SYSTEM = "urn:estim:device-serial"
INSTRUMENT_SYSTEM = "urn:estim:assessment"
FIGURE_SYSTEM = "urn:estim:figure"
_UCUM = "http://unitsofmeasure.org"
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_NAMESPACE = uuid.UUID("8f0c6d2e-6c39-4d0e-9d7e-3b1f5f1d9f61")

_UNITS = {
    "s": "s", "mA": "mA", "mmHg": "mm[Hg]", "degrees": "deg", "a minute": "/min",
    "count": "{count}", "score": "{score}",
}  # fmt: skip
"""UCUM code of each unit; what stands in braces is a plain number with a word beside it."""
_SCORE_UNITS = {
    "tug": "s", "blood-pressure": "mmHg", "range-of-motion": "degrees", "falls": "count",
    "symptoms": "count", "feet": "count", "monofilament-plantar": "count",
}  # fmt: skip
_PART_UNITS = {"heart-rate-rise": "a minute"}

Resource = dict[str, Any]


def bundle(account: Account) -> Resource:
    """Return the whole visit as a bundle of kind `collection`."""
    made = _Maker(account)
    resources = [made.patient(), made.encounter()]
    if account.device.get("serial_number"):
        resources.append(made.device())
    for programme in account.programmes:
        if programme.done is not None and programme.done.has_run:
            resources += made.stimulation(programme)
    resources += made.scores()
    resources += made.adverse_event()
    entries = [
        {"fullUrl": made.url(each["id"]), "resource": _without_nothing(each)} for each in resources
    ]
    return _without_nothing(
        {
            "resourceType": "Bundle",
            "type": "collection",
            "identifier": {"system": SESSION_SYSTEM, "value": account.session_id},
            "timestamp": _instant(account.ended or account.started),
            "entry": entries,
        }
    )


class _Maker:
    def __init__(self, account: Account) -> None:
        self._told = account
        self._subject = self._reference("patient")
        self._encounter = self._reference("encounter")

    def url(self, name: str) -> str:
        return f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{self._told.session_id}/{name}')}"

    def _reference(self, name: str) -> Resource:
        return {"reference": self.url(name)}

    def patient(self) -> Resource:
        value = self._told.pseudonym or "unknown"
        return {
            "resourceType": "Patient",
            "id": "patient",
            "identifier": [{"system": PSEUDONYM_SYSTEM, "value": value}],
        }

    def encounter(self) -> Resource:
        told = self._told
        operators = [told.operator] + [
            text(each.content.get("to_operator")) for each in told.of_kind("handover")
        ]
        return {
            "resourceType": "Encounter",
            "id": "encounter",
            "identifier": [{"system": SESSION_SYSTEM, "value": told.session_id}],
            "status": "finished" if told.end_reason else "unknown",
            "class": {"system": _ACT_CODE, "code": "AMB"},
            "subject": self._subject,
            "participant": [
                {"individual": {"identifier": {"system": OPERATOR_SYSTEM, "value": name}}}
                for name in dict.fromkeys(operators)
                if name
            ],
            "period": {"start": _instant(told.started), "end": _instant(told.ended)},
        }

    def device(self) -> Resource:
        told = self._told.device
        firmware, model = told.get("firmware_version"), told.get("model")
        return {
            "resourceType": "Device",
            "id": "device",
            "identifier": [{"system": SERIAL_SYSTEM, "value": told["serial_number"]}],
            "serialNumber": told["serial_number"],
            "deviceName": [{"name": model, "type": "model-name"}] if model else None,
            "version": [{"value": firmware}] if firmware else None,
        }

    def stimulation(self, programme: Programme) -> Iterable[Resource]:
        """Return one programme as a procedure, with its figures as observations."""
        done = programme.done
        assert done is not None
        name = f"stimulation-{programme.number}"
        profile = f"{programme.profile_id} {programme.profile_version}".strip()
        is_told = done.delivered_ms is not None and not done.is_uncertain
        yield {
            "resourceType": "Procedure",
            "id": name,
            "status": "completed" if is_told else "unknown",
            "code": {"text": f"Transcutaneous electrical stimulation, profile {profile}"},
            "subject": self._subject,
            "encounter": self._encounter,
            "performedPeriod": {
                "start": _instant(programme.started or programme.wall),
                "end": _instant(programme.ended),
            },
            "usedReference": (
                [self._reference("device")] if self._told.device.get("serial_number") else None
            ),
        }
        for figure, words, amount, unit in _figures(programme):
            found = self._observation(f"{name}-{figure}", words, programme.ended or programme.wall)
            found["code"]["coding"] = [{"system": FIGURE_SYSTEM, "code": figure}]
            found["partOf"] = [self._reference(name)]
            found["valueQuantity"] = _quantity(amount, unit)
            yield found

    def scores(self) -> Iterable[Resource]:
        number = 0
        for step in self._told.latest("assess"):
            for instrument, score in scores_of(step.answers):
                number += 1
                name = f"score-{number}-{instrument.id}"
                found = self._observation(name, instrument.title, step.wall)
                found["code"]["coding"] = [{"system": INSTRUMENT_SYSTEM, "code": instrument.id}]
                if score.interpretation:
                    found["note"] = [{"text": f"{score.interpretation} [{score.certainty}]"}]
                yield _with_score(found, instrument, score)

    def adverse_event(self) -> Iterable[Resource]:
        reviewed = self._told.latest(REVIEW)
        if reviewed and reviewed[-1].answers.get(ADVERSE) is True:
            words = reviewed[-1].answers.get("adverse-what")
            yield {
                "resourceType": "AdverseEvent",
                "id": "adverse-event",
                "actuality": "actual",
                "event": {"text": sanitize(str(words))} if words else None,
                "subject": self._subject,
                "encounter": self._encounter,
                "recordedDate": _instant(reviewed[-1].wall),
            }

    def _observation(self, name: str, words: str, wall: datetime) -> Resource:
        return {
            "resourceType": "Observation",
            "id": name,
            "status": "final",
            "code": {"text": sanitize(words)},
            "subject": self._subject,
            "encounter": self._encounter,
            "effectiveDateTime": _instant(wall),
        }


def _figures(programme: Programme) -> Iterable[tuple[str, str, Decimal, str]]:
    """Return name, words, amount and unit of what was planned and delivered."""
    done = programme.done
    assert done is not None
    if programme.planned_s is not None:
        yield "planned-time", "Planned time at the targets", Decimal(programme.planned_s), "s"
    if done.delivered_ms is not None and not done.is_uncertain:
        seconds = Decimal(done.delivered_ms) / MS_PER_S
        yield "delivered-time", "Delivered time with output", seconds, "s"
    told: tuple[tuple[str, str, Mapping[int, int]], ...] = (
        ("asked", "Highest intensity asked for", done.highest_target_ua),
        ("measured", "Highest intensity measured", done.highest_measured_ua),
    )
    for name, words, by_channel in told:
        for channel, amount_ua in sorted(by_channel.items()):
            amount = Decimal(amount_ua) / UA_PER_MA
            yield f"{name}-{channel}", f"{words}, channel {channel}", amount, "mA"
    for channel, marks in sorted(done.markers_ua.items()):
        for marker in ("sensory", "comfortable", "motor"):
            if marker in marks:
                amount = Decimal(marks[marker]) / UA_PER_MA
                yield f"{marker}-{channel}", f"{marker} level, channel {channel}", amount, "mA"


def _with_score(found: Resource, instrument: Instrument, score: Score) -> Resource:
    """Return an observation with the number that is followed, and its parts."""
    unit = _SCORE_UNITS.get(instrument.id, "score")
    if score.value is not None:
        found["valueQuantity"] = _quantity(score.value, unit)
    elif not score.parts:
        found["dataAbsentReason"] = {"text": "not answered wholly, so not scored"}
    found["component"] = [
        {
            "code": {"text": name.replace("-", " ")},
            "valueQuantity": _quantity(part, _PART_UNITS.get(name, unit)),
        }
        for name, part in score.parts.items()
    ]
    return found


def _quantity(amount: Decimal, unit: str) -> Resource:
    whole = amount == amount.to_integral_value()
    return {
        "value": int(amount) if whole else float(amount),
        "unit": unit,
        "system": _UCUM,
        "code": _UNITS[unit],
    }


def _instant(wall: datetime | None) -> str | None:
    return wall.isoformat(timespec="milliseconds") if wall is not None else None


def _without_nothing(resource: Resource) -> Resource:
    """Leave out what is not known: FHIR has no null and no empty list."""
    found = {}
    for name, each in resource.items():
        kept = _without_nothing(each) if isinstance(each, dict) else each
        if kept not in (None, {}, [], ""):
            found[name] = kept
    return found
