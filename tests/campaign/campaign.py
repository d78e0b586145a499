"""Run seeds: one script, one world, one verdict."""

from __future__ import annotations

import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign.devices import Cores
from tests.campaign.judge import judge
from tests.campaign.log import Log
from tests.campaign.script import Script
from tests.campaign.verdict import Violation
from tests.campaign.world import World

SHM = Path("/dev/shm")


@dataclass(slots=True)
class Result:
    """What came of one script."""

    script: Script
    digest: str
    virtual_us: int
    violations: list[Violation]
    seen: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


def play(script: Script) -> Log:
    """Play a script on the simulator's core, unjudged, and return what was seen."""
    with tempfile.TemporaryDirectory() as scratch:
        return World(script, Path(scratch), Cores(Path(scratch))).run()


def run_script(script: Script, cores: Cores) -> Result:
    """Play a script and judge it; an exception of the product is a violation too."""
    with tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as scratch:
        folder = Path(scratch)
        world = World(script, folder, cores)
        try:
            world.run()
        except Exception:
            world.log.crash = "raised: " + traceback.format_exc(limit=-3).replace(scratch, "")
            world.log.ended_us = world.now_us
        digest = world.log.digest(folder)
        verdict = judge(world.log, script.session, script.quiet_us, folder)
        if world.host is not None:
            world.host.kill()
    return Result(
        script, digest, world.now_us, verdict.violations, verdict.seen, Counter(world.log.faults)
    )
