"""One test polices every declaration: names, ids, sizes, words."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from enum import IntFlag
from typing import Any

import pytest

from firmware_protocol import codec, limits, messages, schema
from firmware_protocol.fields import Wire, wire_fields
from firmware_protocol.limits import BY_NAME, BY_WIRE_ID, LIMITS, Certainty
from firmware_protocol.messages import (
    FAULT_REMEDIES,
    MESSAGES,
    TO_DEVICE,
    TO_HOST,
    DeviceState,
    FaultCode,
    Message,
)
from firmware_protocol.reference import MEANINGS
from firmware_protocol.vectors import example

SUFFIXES = {
    "uA": "_ua",
    "pC": "_pc",
    "uJ": "_uj",
    "us": "_us",
    "ms": "_ms",
    "mV": "_mv",
    "ohm": "_ohm",
    "permille": "_permille",
    "%": "_percent",
    "uA/s": "_ua_per_s",
    "uA/cm2 RMS": "_ua_per_cm2",
    "uW/cm2": "_uw_per_cm2",
    "permille of the amplitude": "_permille",
    "permille of the largest charge": "_permille",
    "damaged frames a second": "_per_s",
}
EVERY_SUFFIX = sorted(set(SUFFIXES.values()) | {"_s", "_ma", "_hz", "_uc", "_v", "_cm2"}, key=len)
DECLARED = [*schema.ordered_messages(), *schema.rows_used()]
FIELDS = [(declared, *field) for declared in DECLARED for field in wire_fields(declared)]


def suffix_of(name: str) -> str:
    """Return the unit suffix of a name, the longest that fits, or ''."""
    return next((suffix for suffix in reversed(EVERY_SUFFIX) if name.endswith(suffix)), "")


@pytest.mark.hazard(18)
@pytest.mark.parametrize(
    ("declared", "name", "wire"), FIELDS, ids=[f"{d.__name__}.{n}" for d, n, _ in FIELDS]
)
def test_every_field_name_ends_in_its_unit(declared: type, name: str, wire: Wire) -> None:
    assert suffix_of(name) == (SUFFIXES[wire.unit] if wire.unit else "")
    assert wire.doc, f"{declared.__name__}.{name} says nothing"


@pytest.mark.hazard(18)
def test_every_limit_name_ends_in_its_unit() -> None:
    for limit in LIMITS:
        assert suffix_of(limit.name) == SUFFIXES[limit.unit], limit.name


@pytest.mark.hazard(18)
def test_every_constant_in_a_unit_says_so() -> None:
    for module in (limits, messages):
        for name, figure in vars(module).items():
            if isinstance(figure, int) and name.isupper() and figure >= 1000:
                assert re.search(r"(_US|_UA|_PC|_PER_S|_PER_US)$", name), name


def test_every_limit_is_bounded_and_says_why_and_whence() -> None:
    for limit in LIMITS:
        assert limit.why, limit.name
        assert limit.source, limit.name
        assert isinstance(limit.certainty, Certainty)
        assert limit.hard_max is not None or limit.hard_min is not None, limit.name
        if limit.hard_max is not None and limit.hard_min is not None:
            assert limit.hard_min <= limit.hard_max, limit.name
        if limit.recommended_max is not None:
            assert limit.recommended_max <= limit.maximum, limit.name
        assert getattr(limits, limit.name) is limit


def test_a_bound_that_is_not_there_cannot_be_read_as_one() -> None:
    with pytest.raises(ValueError, match="cycle_ramp_up_ms has no upper bound"):
        _ = BY_NAME["cycle_ramp_up_ms"].maximum
    with pytest.raises(ValueError, match="amplitude_ua has no lower bound"):
        _ = BY_NAME["amplitude_ua"].minimum


def test_wire_ids_of_limits_are_unique_and_fit_a_refusal() -> None:
    assert len(BY_WIRE_ID) == len(BY_NAME) == len(LIMITS)
    assert all(1 <= limit.wire_id <= 255 for limit in LIMITS)


def test_limits_restated_by_hand() -> None:
    """Figures of architecture and clinical notes, written down a second time on purpose."""
    maxima = {limit.name: limit.hard_max for limit in LIMITS}
    assert maxima == {
        "amplitude_ua": 100_000,
        "sensory_amplitude_ua": 80_000,
        "phase_duration_us": 1_000,
        "pulse_duration_us": 10_000,
        "phase_charge_pc": 48_000_000,
        "net_charge_pc": 0,
        "pulse_energy_uj": 300_000,
        "rms_ua": 50_000,
        "average_ua": 10_000,
        "current_density_ua_per_cm2": 2_000,
        "impaired_current_density_ua_per_cm2": 1_000,
        "power_density_uw_per_cm2": 250_000,
        "setpoint_slew_ua_per_s": 2_000,
        "rise_per_cycle_ua": 2_000,
        "step_ua": 1_000,
        "held_key_rise_ua_per_s": 1_000,
        "cycle_ramp_up_ms": None,
        "charge_rise_permille": 700,
        "running_ms": 10_800_000,
        "lease_ms": 320,
        "zero_after_silence_ms": 350,
        "heartbeat_ms": 400,
        "overcurrent_permille": 1_100,
        "lead_off_ohm": 15_000,
        "contact_ua": 2_000,
        "short_ohm": None,
        "line_errors_per_s": 16,
    }
    minima = {limit.name: limit.hard_min for limit in LIMITS if limit.hard_min is not None}
    assert minima == {
        "phase_duration_us": 10,
        "net_charge_pc": 0,
        "setpoint_slew_ua_per_s": 1,
        "rise_per_cycle_ua": 1,
        "step_ua": 100,
        "cycle_ramp_up_ms": 500,
        "running_ms": 1,
        "short_ohm": 100,
    }


@pytest.mark.parametrize(
    ("duration_us", "charge_pc"),
    [
        (0, 20_000_000),
        (100, 22_800_000),
        (200, 25_600_000),
        (250, 27_000_000),
        (500, 34_000_000),
        (1000, 48_000_000),
    ],
)
def test_charge_per_phase_is_20_uc_and_28_uc_per_ms(duration_us: int, charge_pc: int) -> None:
    assert limits.compiled_phase_charge_pc(duration_us) == charge_pc


def test_the_general_charge_limit_is_that_of_the_longest_phase() -> None:
    longest_us = limits.phase_duration_us.maximum
    assert limits.compiled_phase_charge_pc(longest_us) == limits.phase_charge_pc.maximum


def test_every_fault_has_a_remedy() -> None:
    assert set(FAULT_REMEDIES) == set(FaultCode)
    assert all(remedy.endswith(".") for remedy in FAULT_REMEDIES.values())


def test_every_enum_value_says_what_it_means() -> None:
    assert set(MEANINGS) == set(schema.enums_used())
    for kind, meanings in MEANINGS.items():
        named = [name for name in kind.__members__ if kind[name] or not issubclass(kind, IntFlag)]
        assert list(meanings) == named, kind.__name__
        assert all(meanings.values())


def test_message_ids_are_unique_and_tell_the_direction() -> None:
    names = [declared.__name__ for declared in MESSAGES.values()]
    assert len(set(names)) == len(names)
    for message_id, declared in MESSAGES.items():
        assert declared.message_id == message_id
        assert declared.direction == (TO_HOST if message_id & 0x80 else TO_DEVICE)
        assert 1 <= message_id <= 0xFF


def test_an_id_cannot_be_declared_twice() -> None:
    class Impostor(Message):
        pass

    with pytest.raises(ValueError, match="declared twice"):
        messages._declare(0x09, TO_DEVICE)(Impostor)


def test_allowed_states_restated_by_hand() -> None:
    safe_only = {"SetLimits", "BeginProgram", "ProgramPhases", "ProgramKeyframes"}
    safe_only |= {"CommitProgram", "SelfTest"}
    for declared in MESSAGES.values():
        expected = set(DeviceState)
        if declared.__name__ in safe_only:
            expected = {DeviceState.SAFE}
        elif declared.__name__ == "Hello":
            expected.remove(DeviceState.RUNNING)
        assert declared.allowed_in == expected, declared.__name__


@pytest.mark.parametrize("declared", MESSAGES.values(), ids=lambda declared: declared.__name__)
def test_the_largest_form_of_every_message_fits_a_body(declared: type[Message]) -> None:
    largest = codec.encode_body(example(declared, "highest"), 0xFFFF, 2**64 - 1)
    assert len(largest) <= 250


def test_rows_come_last_and_names_start_lower_case() -> None:
    for declared in DECLARED:
        wires = [wire for _, wire in wire_fields(declared)]
        assert all(wire.row is None for wire in wires[:-1]), declared.__name__
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name, _ in wire_fields(declared))


def test_the_schema_hash_is_the_crc_of_its_description() -> None:
    """The hash may change with the protocol; its description tells why."""
    described = schema.canonical_description()
    assert described.startswith("protocol 1\nmessage 1 Hello to_device SAFE,ARMED,FAULT\n")
    assert "\nfield targets|TargetRow[0..4]|\n" in described
    assert "\nrow TargetRow\nfield target_ua|u32|uA\n" in described
    assert "\nenum Adoption\nvalue 0 ADOPTED\nvalue 1 ENERGISED\n" in described
    assert "\nflags PolicyFlag\nvalue 0 NONE\nvalue 1 LEAD_OFF_STOPS_ALL\n" in described
    assert described.count("\nmessage ") == 20
    assert 0 <= schema.SCHEMA_HASH < 2**32


@pytest.mark.parametrize(
    "kind", [*MESSAGES.values(), *schema.rows_used()], ids=lambda k: k.__name__
)
def test_a_declared_class_is_a_frozen_dataclass(kind: Any) -> None:
    """Equal by class and fields, never changed, whole or not at all; copies are equal."""
    names = [field.name for field in dataclasses.fields(kind)]
    made, same = kind(*range(len(names))), kind(**{name: at for at, name in enumerate(names)})
    assert made == same
    assert hash(made) == hash(same)
    assert repr(made) == f"{kind.__name__}({', '.join(f'{n}={at}' for at, n in enumerate(names))})"
    assert made not in (
        tuple(range(len(names))),
        messages.Stop() if kind is not messages.Stop else 0,
    )
    assert copy.deepcopy(made) == made == pickle.loads(pickle.dumps(made))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.anything = 1
    with pytest.raises(TypeError):
        kind(*range(len(names) + 1))
    for name in names:
        assert dataclasses.replace(made, **{name: -1}) != made
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, name, 1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(made, name)
        with pytest.raises(TypeError, match=name):
            kind(**{each: 0 for each in names if each != name})
