"""The steps of a job, in the order in which they are walked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from estim.profile.loader import LoadedProfile
from estim.rig.jobs.job import LoadedJob
from estim.rig.reports.words import format_ohm
from estim.units import UA_PER_MA

_TAG = re.compile(r"(?:^|[^a-z0-9])s0*([1-9][0-9]{0,3})(?![a-z0-9])")


@dataclass(frozen=True, slots=True)
class Step:
    """One load, profile, channel and amplitude.

    Attributes:
        number: from 1, in the order of the job.
        load_ohm: the dummy load.
        loaded: the profile.
        channel: from 1.
        amplitude_ua: the target.
    """

    number: int
    load_ohm: int
    loaded: LoadedProfile
    channel: int
    amplitude_ua: int

    @property
    def tag(self) -> str:
        """Return what a capture's file name may hold to say that it belongs to this step."""
        return f"s{self.number:02d}"

    @property
    def key(self) -> tuple[int, str, int, int]:
        """Return what makes the step the same in another phase of the job."""
        return (self.load_ohm, self.loaded.profile.id, self.channel, self.amplitude_ua)

    @property
    def words(self) -> str:
        """Say it in one line."""
        return (
            f"{format_ohm(self.load_ohm)}, {self.loaded.profile.id}, channel {self.channel}, "
            f"{self.amplitude_ua / UA_PER_MA:g} mA"
        )


def steps_of(loaded_job: LoadedJob) -> tuple[Step, ...]:
    """Return load x profile x channel x amplitude, the last one changing fastest."""
    job = loaded_job.job
    combinations = (
        (load_ohm, loaded, channel, amplitude_ua)
        for load_ohm in job.loads_ohm
        for loaded in loaded_job.profiles
        for channel in job.channels
        for amplitude_ua in job.amplitudes_ua
    )
    return tuple(Step(number, *parts) for number, parts in enumerate(combinations, start=1))


def tagged_number(file_name: str) -> int | None:
    """Return the number of the step that a file name names ('s03', 'x_s3.csv'), if it does."""
    found = _TAG.search(file_name.lower())
    return int(found.group(1)) if found else None
