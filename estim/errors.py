"""Every failure that Estim reports on purpose.

EstimError                exit code
├── UsageError            2   a command line or a request that makes no sense
├── ProfileError          2   a treatment profile: file, key, what was expected
├── PortLost              3   no port, a port in use, or a port that went away before a session
├── RigFault              3   a test bench that is not as declared: nothing is said of the device
├── LimitRefused          4   a limit or an interlock said no; nothing was delivered because of it
├── DeviceFault           5   the device stopped by itself, or is not the one it should be
├── ReplyTimeout          5   the device did not answer in time
├── UncertainDelivery     5   the link broke while output may have been on: recorded as delivered
└── RecordError           1   a record that cannot be written, read or verified

`firmware_protocol.errors.ProtocolError` is a second root: it belongs to the contract, not to the
host.
Each class knows the exit code of the command line, so that no caller keeps a table of its own.
"""

from __future__ import annotations


class EstimError(Exception):
    """Carry one sentence for a person, the exit code that goes with it, and maybe a suspect.

    Attributes:
        blame: whom it points at, in the words of a session's engine; '' where none has said.
    """

    exit_code = 1
    blame = ""


class UsageError(EstimError):
    """The request makes no sense as given."""

    exit_code = 2


class ProfileError(EstimError):
    """A treatment profile cannot be used."""

    exit_code = 2


class PortLost(EstimError):
    """There is no such port, it is in use, or it went away."""

    exit_code = 3


class RigFault(EstimError):
    """The bench is not as it was declared, so that it can judge no device."""

    exit_code = 3
    blame = "rig"


class LimitRefused(EstimError):
    """A limit or an interlock refused what was asked."""

    exit_code = 4


class DeviceFault(EstimError):
    """The device stopped, or is not a device that may be driven."""

    exit_code = 5


class ReplyTimeout(EstimError):
    """The device did not answer in time."""

    exit_code = 5


class UncertainDelivery(EstimError):
    """Nobody can say whether output went on after the link broke."""

    exit_code = 5


class RecordError(EstimError):
    """A record cannot be written, read or verified."""

    exit_code = 1
