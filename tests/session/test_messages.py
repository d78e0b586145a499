"""What interface and engine say to each other: strict, whole, and never an exception but one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estim.errors import UsageError
from estim.safety.bounds import Bound, Bounds, ChannelBounds, Owner
from estim.session import messages as msg
from estim.session.states import HostState
from firmware_protocol.messages import PolicyFlag

_TEXT = st.text(max_size=30)
_NUMBER = st.integers(1 - 2**63, 2**63 - 1)
_ID = st.integers(1, 2**31)
_PLAIN = st.recursive(
    st.none() | st.booleans() | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_BOUND = st.builds(Bound, _TEXT, _NUMBER, st.sampled_from(Owner))
_BOUNDS = st.builds(
    Bounds,
    st.lists(
        st.builds(ChannelBounds, st.lists(_BOUND, max_size=2).map(tuple), _NUMBER), max_size=2
    ).map(tuple),
    st.lists(_BOUND, max_size=2).map(tuple),
    st.sampled_from([PolicyFlag(number) for number in range(4)]),
    st.booleans(),
    _NUMBER,
)
_BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    "int": _NUMBER,
    "str": _TEXT,
    "bool": st.booleans(),
    "Bounds": _BOUNDS,
    "HostState": st.sampled_from(HostState),
    "Severity": st.sampled_from(msg.Severity),
    "Blame": st.sampled_from(msg.Blame),
    "Blame | None": st.none() | st.sampled_from(msg.Blame),
    "tuple[int, ...]": st.lists(_NUMBER, max_size=4).map(tuple),
    "tuple[str, ...]": st.lists(_TEXT, max_size=3).map(tuple),
    "dict[str, Any]": st.dictionaries(_TEXT, _PLAIN, max_size=4),
    "dict[str, int]": st.dictionaries(_TEXT, _NUMBER, max_size=4),
}


def _build(kind: type) -> st.SearchStrategy[Any]:
    fields = {
        field.name: _ID if field.name == "request_id" else _BY_TYPE[field.type]
        for field in dataclasses.fields(kind)
    }
    return st.builds(kind, **fields)


_BY_TYPE["SessionSettings"] = _build(msg.SessionSettings)
_BY_TYPE["Fault | None"] = st.none() | _build(msg.Fault)
_BY_TYPE["DeviceSnapshot | None"] = st.none() | _build(msg.DeviceSnapshot)
_BY_TYPE["tuple[ChannelSnapshot, ...]"] = st.lists(_build(msg.ChannelSnapshot), max_size=2).map(
    tuple
)
_BY_TYPE["tuple[FrameSeen, ...]"] = st.lists(_build(msg.FrameSeen), max_size=2).map(tuple)
KINDS: tuple[type, ...] = (*get_args(msg.Request), *get_args(msg.Reply))


@given(st.one_of([_build(kind) for kind in KINDS]))
def test_what_is_written_is_read_back(message: Any) -> None:
    line = msg.to_line(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert msg.from_line(line) == message


@given(st.one_of(st.binary(max_size=200), _PLAIN.map(lambda each: json.dumps(each).encode())))
def test_garbage_is_a_usage_error(line: bytes) -> None:
    with pytest.raises(UsageError):
        msg.from_line(line)


@given(st.sampled_from(KINDS), st.dictionaries(_TEXT | st.just("request_id"), _PLAIN, max_size=5))
def test_a_known_kind_with_any_content_is_whole_or_a_usage_error(
    kind: type, fields: dict[str, Any]
) -> None:
    message: object = None
    with contextlib.suppress(UsageError):
        message = msg.from_line(json.dumps({**fields, "message": kind.__name__}).encode())
    assert message is None or isinstance(message, kind)


@given(_build(msg.Prepare), st.data())
def test_any_one_wrong_field_is_a_usage_error_or_the_same_type(
    message: msg.Prepare, data: st.DataObject
) -> None:
    fields = json.loads(msg.to_line(message))
    place: Any = fields
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else [0]))
        inner = place[key]
        if (isinstance(inner, dict) or (isinstance(inner, list) and inner)) and data.draw(
            st.booleans()
        ):
            place = inner
            continue
        break
    place[key] = data.draw(_PLAIN)
    try:
        again = msg.from_line(json.dumps(fields).encode())
    except UsageError:
        return
    assert msg.from_line(msg.to_line(again)) == again


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "JSON"),
        (b"[]", "object"),
        (b"{}", "known kind"),
        (b'{"message":"Nonsense"}', "known kind"),
        (b'{"message":[]}', "known kind"),
        (b'{"message":{}}', "known kind"),
        (b'{"message":null}', "known kind"),
        (b'{"message":"Arm"}', "request_id is missing"),
        (b'{"message":"Arm","request_id":1,"more":2}', "unknown key 'more'"),
        (b'{"message":"Arm","request_id":"1"}', "int expected"),
        (b'{"message":"Arm","request_id":true}', "int expected"),
        (b'{"message":"Arm","request_id":1.0}', "int expected"),
        (b'{"message":"Arm","request_id":0}', "above 0"),
        (b'{"message":"Arm","request_id":-1}', "above 0"),
        (b'{"message":"Raise","request_id":1,"channels":1}', "list expected"),
        (b'{"message":"Raise","request_id":1,"channels":["0"]}', "int expected"),
        (b'{"message":"Annotate","request_id":1,"kind":"x","content":[]}', "object expected"),
        (b'{"message":"Prepare","request_id":1,"program_hex":"","bounds":1}', "object expected"),
        (b'{"message":"Notice","at_us":1,"severity":"loud","text":""}', "unknown value 'loud'"),
        (b'{"message":"Notice","at_us":1,"severity":[],"text":""}', "unknown value"),
        (b"[" * 100_000, "JSON"),
        (b'{"message":"Stop","request_id":1,"reason":"' + b"x" * 20_000 + b'"}', "too long"),
        (b'{"message":"Stop","request_id":1' + b"0" * 5000 + b"}", "JSON"),
        (b"\xff\xfe", "JSON"),
    ],
)
def test_a_line_that_is_no_message_says_why(line: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        msg.from_line(line)


@pytest.mark.hazard(20)
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    """A record could not hold them."""
    line = '{"message":"OpenRecord","request_id":1,"folder":"","key_folder":"","session_id":"",'
    with pytest.raises(UsageError, match="number"):
        msg.from_line((line + '"header":{"x":' + number + "}}").encode())


@pytest.mark.parametrize("policy", ["-1", "4", "1.5", '"NONE"', "null", "[]", "true"])
def test_an_unknown_policy_is_refused(policy: str) -> None:
    line = (
        '{"message":"Prepare","request_id":1,"program_hex":"","settings":{"profile_id":"",'
        '"duration_s":1,"step_ua":100},"bounds":{"channels":[],"session":[],"is_bench":true,'
        '"amplitude_step_ua":1,"policy":' + policy + "}}"
    )
    with pytest.raises(UsageError, match="policy"):
        msg.from_line(line.encode())


def test_an_annotation_keeps_its_own_kind() -> None:
    """A line names its message beside the fields: an annotation's own `kind` is not lost."""
    note = msg.Annotate(1, "remark", {"text": "hello"})
    assert msg.from_line(msg.to_line(note)) == note
