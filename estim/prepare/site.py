"""What a site lowers for every session: `site.toml` in the configuration folder.

Where a setting is a limit, its default is what holds without a file, and the site can only make it
stricter. Figures marked [E] are proposals of this project, neither a standard nor clinical
evidence; [K] is common professional knowledge that was not checked against an original.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from estim.prepare import settings
from firmware_protocol import limits

FILE_NAME = "site.toml"


class SitePolicy(BaseModel):
    """What the site asks for, all of it optional."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    amplitude_ceiling_ua: int | None = Field(
        default=None,
        ge=1,
        le=limits.amplitude_ua.maximum,
        description="highest target amplitude of any channel",
    )
    setpoint_slew_ua_per_s: int | None = Field(
        default=None,
        ge=1,
        le=limits.setpoint_slew_ua_per_s.maximum,
        description="fastest rise of a setpoint",
    )
    longest_session_s: int | None = Field(
        default=None,
        ge=1,
        le=limits.running_ms.maximum // 1000,
        description="longest session, in seconds of plateau",
    )
    requires_patient_stop: bool = Field(
        default=False, description="whether a device without a patient's stop is refused"
    )
    allows_research_device: bool = Field(
        default=False,
        description="whether a stimulator that is no medical device may be used on a person; the "
        "site answers for it",
    )
    sensation_valid_days: int = Field(
        # A neuropathy may progress within weeks, and under chemotherapy from cycle to cycle (two or
        # three weeks): a month is the longest that a test may speak for, not a recommendation.
        default=30,
        ge=0,
        le=30,
        description="how many days after the test a sensation result holds; 0: on that day alone "
        "(consider 14 under chemotherapy) [E]",
    )
    screening_valid_days: int = Field(
        # Counted from the day when everything was last asked, not from the last 'unchanged'.
        default=30,
        ge=0,
        le=30,
        description="how many days screening answers may be shown with 'changed since?'; after "
        "that everything is asked anew [E]",
    )
    electrode_uses_max: int = Field(
        # Not a limit of ours alone: a maker's own figure, on the packet, goes first where lower.
        default=20,
        ge=1,
        le=50,
        description="how often one pair of self-adhesive electrodes may be used; the maker's "
        "figure goes first where it is lower [E]",
    )
    idle_lock_s: int = Field(
        default=300,
        ge=30,
        le=900,
        description="after how long without a key the operator's PIN is asked for; never stops "
        "the stop key [E]",
    )
    attention_check_s: int = Field(
        default=600,
        ge=60,
        le=600,
        description="how often somebody must answer while a session runs; unanswered, it pauses "
        "[E]",
    )
    comfort_check_s: int = Field(
        # Re-check at 5 min, then every 5 to 10.
        default=300,
        ge=60,
        le=600,
        description="how often comfort is asked for, where the profile asks less often [K]",
    )


def load_site(folder: Path) -> SitePolicy:
    """Read the site policy; a missing file means none.

    Raises:
        UsageError: the file is not a site policy; it is never ignored.
    """
    return settings.load(folder / FILE_NAME, SitePolicy)
