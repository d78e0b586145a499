"""What a site lowers for every session: `site.toml` in the configuration folder."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from estim.errors import UsageError
from firmware_protocol import limits

FILE_NAME = "site.toml"


class SitePolicy(BaseModel):
    """Ceilings of the site, all optional; each can only lower what holds already.

    Attributes:
        amplitude_ceiling_ua: highest target amplitude of any channel.
        setpoint_slew_ua_per_s: fastest rise of a setpoint.
        longest_session_s: longest session, in seconds of plateau.
        requires_patient_stop: whether a device without a patient's stop is refused.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    amplitude_ceiling_ua: Annotated[int, Field(gt=0, le=limits.amplitude_ua.maximum)] | None = None
    setpoint_slew_ua_per_s: (
        Annotated[int, Field(gt=0, le=limits.setpoint_slew_ua_per_s.maximum)] | None
    ) = None
    longest_session_s: Annotated[int, Field(gt=0, le=limits.running_ms.maximum // 1000)] | None = (
        None
    )
    requires_patient_stop: bool = False


def load_site(folder: Path) -> SitePolicy:
    """Read the site policy; a missing file means none.

    Raises:
        UsageError: the file is not a site policy; it is never ignored.
    """
    path = folder / FILE_NAME
    try:
        with path.open("rb") as file:
            fields = tomllib.load(file)
    except FileNotFoundError:
        return SitePolicy()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
    try:
        return SitePolicy.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {key}: {first['msg']}") from None
