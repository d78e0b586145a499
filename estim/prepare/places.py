"""Where this station keeps things, and what a record's header says."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

import estim
from firmware_protocol.messages import PROTOCOL_VERSION
from firmware_protocol.schema import SCHEMA_HASH

if TYPE_CHECKING:  # so that asking for a folder does not load the models of a profile
    from estim.profile.loader import LoadedProfile

INTERFACE_FILE = "interface.toml"
_NAME = "estim"


def configuration_folder() -> Path:
    """Return the folder of `site.toml` and `station.key`."""
    return Path(platformdirs.user_config_dir(_NAME, appauthor=False))


def records_folder() -> Path:
    """Return the folder of the records."""
    return Path(platformdirs.user_data_dir(_NAME, appauthor=False)) / "records"


def new_session_id(wall: datetime, seed: int | None = None) -> str:
    """Return an id that sorts by time; with a seed it is the same each time."""
    if seed is None:
        suffix = secrets.token_hex(3)
    else:
        suffix = hashlib.sha256(f"{seed}".encode()).hexdigest()[:6]
    return f"{wall:%Y%m%d-%H%M%S}-{suffix}"


def record_header(
    session_id: str,
    loaded: LoadedProfile,
    *,
    bench_ohm: int,
    clock: str,
    seed: int | None = None,
) -> dict[str, Any]:
    """Return the header of a bench session's record, as `estim.record` documents it."""
    return {
        **_header(session_id, clock),
        "kind": "bench",
        "profile": {
            "id": loaded.profile.id,
            "version": loaded.profile.version,
            "sha256": loaded.sha256,
        },
        "operator": "bench",
        "pseudonym": "none",
        "bench_ohm": bench_ohm,
        "seed": seed,
    }


def visit_header(
    session_id: str,
    protocol: Mapping[str, str],
    *,
    operator: str,
    pseudonym: str,
    clock: str,
    assets: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Return the header of a person's visit.

    It names no profile: each event `prepared` names the one that was loaded then.

    Args:
        session_id: of the record.
        protocol: `id`, `version` and `sha256` of the guided protocol.
        operator: id of whoever begins the visit.
        pseudonym: of the person.
        clock: 'real' or 'virtual'.
        assets: what is known of stimulator, electrodes and instruments from the start.
    """
    return {
        **_header(session_id, clock, assets),
        "kind": "clinical",
        "profile": None,
        "protocol": {name: protocol[name] for name in ("id", "version", "sha256")},
        "operator": operator,
        "pseudonym": pseudonym,
        "bench_ohm": None,
        "seed": None,
    }


def _header(
    session_id: str, clock: str, assets: Sequence[Mapping[str, str]] = ()
) -> dict[str, Any]:
    return {
        "schema": 1,
        "session_id": session_id,
        "software": {
            "estim": estim.__version__,
            "protocol": PROTOCOL_VERSION,
            "schema_hash": f"{SCHEMA_HASH:08x}",
        },
        "assets": [dict(asset) for asset in assets],
        "clock": clock,
    }
