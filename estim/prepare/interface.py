"""How the interface looks and sounds at this station: `interface.toml`.

Nothing here can silence an alarm: only the bell of prompts, which stay on the screen, is a choice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from estim.prepare import places, settings

FILE_NAME = places.INTERFACE_FILE

Theme = Literal["dark", "colour-blind-safe", "high-contrast"]
THEMES: tuple[str, ...] = get_args(Theme)


class InterfaceSettings(BaseModel):
    """What somebody chose for this station, all of it optional."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    theme: Theme = Field(default="dark", description="colours; high-contrast is made for glare")
    reduced_motion: bool = Field(
        default=False, description="whether nothing on the screen may move"
    )
    prompt_bell: bool = Field(
        default=True,
        description="whether prompts ring; alarms ring always, and cannot be silenced here",
    )


def load_interface(folder: Path) -> InterfaceSettings:
    """Read the settings of the interface; a missing file means the defaults.

    Raises:
        UsageError: the file is not what it should be.
    """
    return settings.load(folder / FILE_NAME, InterfaceSettings)
