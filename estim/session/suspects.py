"""Whom a failure points at, where nobody knows better than its kind tells."""

from __future__ import annotations

from estim.errors import (
    DeviceFault,
    EstimError,
    LimitRefused,
    PortLost,
    RecordError,
    UsageError,
)
from estim.session.messages import Blame

_SUSPECTS: dict[type[EstimError], Blame] = {
    UsageError: Blame.OPERATOR,
    LimitRefused: Blame.OPERATOR,
    PortLost: Blame.RIG,
    DeviceFault: Blame.DEVICE,
    RecordError: Blame.HOST,
}


def suspect_of(error: EstimError) -> Blame:
    """Return whom an error points at by its kind alone."""
    return _SUSPECTS.get(type(error), Blame.UNKNOWN)
