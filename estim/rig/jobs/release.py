"""What a finished job enters in the station's register."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estim.clock import Clock
from estim.prepare import places, station
from estim.rig.jobs import course as kinds
from estim.rig.jobs.job import Job


def enter_verdict(
    job: Job, device: Mapping[str, Any], verdict: str, clock: Clock
) -> station.Standing | None:
    """Quarantine what failed; release what passed where the job names who does so.

    Returns:
        Where the device stands now; None where the register does not know it.

    Raises:
        EstimError: the register cannot be written.
    """
    state, who, due = None, job.who, None
    if verdict == kinds.FAIL:
        state = station.State.QUARANTINED
    elif verdict == kinds.PASS:
        due = job.next_due
        if job.release_by is not None:
            state, who = station.State.IN_SERVICE, job.release_by
    folder, serial_number = places.configuration_folder(), device["serial_number"]
    if state is None and due is None:
        return station.standing(folder, serial_number, clock.wall().date())
    return station.enter(
        folder,
        serial_number,
        who=who,
        why=f"{'failed' if verdict == kinds.FAIL else 'passed'} job: {job.title} ({job.phase})",
        clock=clock,
        state=state,
        due=due,
    )
