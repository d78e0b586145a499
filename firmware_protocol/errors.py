"""Failures of the wire contract, the root that the host's own error tree does not share.

ProtocolError
├── FrameError      bytes that are not a frame: bad COBS, bad CRC, too long, too short
├── MessageError    a whole frame whose message is unknown or whose fields do not fit
└── ProgramError    a pulse programme that breaks a rule of `program.py`
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Say what broke the contract between host and device, in one sentence."""


class FrameError(ProtocolError):
    """Bytes between two zeros are not a frame."""


class MessageError(ProtocolError):
    """A frame is whole, but its message is unknown or a field does not fit."""


class ProgramError(ProtocolError):
    """A pulse programme is not well formed."""
