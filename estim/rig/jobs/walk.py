"""Walk a job: load x profile x channel x amplitude, each step delivered, captured and measured.

Rules:
1. Nothing is delivered before it was said which load is set and that nobody is connected: at every
   load, and again after an interruption. Only the simulator needs no such word.
2. Every step of the job is checked against limits and device before the first one is delivered.
3. A step counts once its line in the journal is durable; whatever interrupts it, it is done again.
4. A load that contradicts the declared one is refused, never measured.
5. A failed job quarantines the device for people; a passed one releases it only by a named person.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import estim
from estim import api
from estim.clock import Clock
from estim.errors import DeviceFault, LimitRefused, UsageError
from estim.prepare.session import Prepared, prepare, target_reasons
from estim.record.ledger import Ledger
from estim.rig.counts import counted
from estim.rig.jobs import course as kinds
from estim.rig.jobs.course import Course, check_same_job, course_of, other_phase, verdict_of
from estim.rig.jobs.delivery import (
    Bench,
    Delivered,
    Interrupted,
    LoadContradicted,
    deliver,
    identify,
)
from estim.rig.jobs.desk import Desk
from estim.rig.jobs.job import LoadedJob
from estim.rig.jobs.matching import StepJudge, captured_contradiction
from estim.rig.jobs.release import enter_verdict
from estim.rig.jobs.scope import UV_PER_MV, scope_settings
from estim.rig.jobs.steps import Step, steps_of
from estim.rig.jobs.taking import CaptureFolder, Waiting, cut_trace
from estim.rig.jobs.typed import look, take_leakage
from estim.rig.measuring import instrument as instruments
from estim.rig.measuring.instrument import Instrument
from estim.rig.reports.words import format_ohm
from estim.units import UA_PER_MA

_YES = ("yes", "no")


@dataclass
class Walk:
    """One process walking one job.

    Attributes:
        loaded: the job.
        ledger: its journal, locked.
        desk: who is asked.
        clock: the station's.
        records: folder of the session records.
        stop_reason: why to end, '' for not.
        on_open: as in `Bench`.
    """

    loaded: LoadedJob
    ledger: Ledger
    desk: Desk
    clock: Clock
    records: Path
    stop_reason: Callable[[], str]
    on_open: Callable[[api.Stimulator], None] | None = None

    def __post_init__(self) -> None:
        self.course: Course = course_of(self.ledger.events)
        self.steps = steps_of(self.loaded)
        self._job = self.loaded.job
        self._folder = CaptureFolder(self.loaded.captures, self.clock)
        self._judge = StepJudge(self.loaded, self.clock.wall().date())
        self._prepared: dict[str, Prepared] = {}
        self._compliance_mv = 0
        self._as_found = other_phase(self.loaded.folder, self._job.phase)

    def run(self) -> Course:
        """Do what is left to do; return the finished course.

        Raises:
            Interrupted: somebody asked to end; everything done so far is kept.
            EstimError: something was refused or failed; everything done so far is kept.
        """
        check_same_job(self.course, self.loaded.sha256, self.loaded.path)
        if self.course.finished is not None:
            self.desk.say("The job is finished: its report is written again, nothing is delivered.")
            return self.course
        self._begin()
        try:
            look(self._job, self.course, self.desk, self._note)
            self._identify()
            for load_ohm in self._job.loads_ohm:
                self._walk_load(load_ohm)
            take_leakage(
                self._job,
                self.course,
                self.desk,
                self._note,
                self._instrument,
                self.clock.wall().date(),
            )
        except Interrupted:
            self._note(kinds.INTERRUPTED, {"reason": self.stop_reason()})
            raise
        self._finish()
        return self.course

    # Before and after.

    def _begin(self) -> None:
        if self.course.started is not None:
            left = len(self.steps) - len(self.course.steps)
            self._note(kinds.RESUMED, {"steps_done": len(self.course.steps)})
            self.desk.say(f"Going on: {counted(len(self.course.steps), 'step')} done, {left} left.")
            return
        job = self._job
        self._note(
            kinds.STARTED,
            {
                "job": job.model_dump(mode="json", by_alias=True, exclude={"answers"}),
                "job_sha256": self.loaded.sha256,
                "software": estim.__version__,
                "profiles": [
                    {"id": p.profile.id, "version": p.profile.version, "sha256": p.sha256}
                    for p in self.loaded.profiles
                ],
                "instruments": {
                    name: self._instrument(name).document()
                    for name in sorted({job.instrument, *(e.instrument for e in job.leakage)})
                },
                "step_count": len(self.steps),
            },
        )

    def _identify(self) -> None:
        """Learn who the device is, and refuse at once what no step may ask of it."""
        job = self._job
        if job.stimulator is not None:
            device: dict[str, Any] = job.stimulator.model_dump()
            for loaded in self.loaded.profiles:
                self._prepared[loaded.profile.id] = prepare(
                    loaded.profile, is_bench=True, duration_s=job.dwell_s, origin=loaded.origin
                )
        else:
            shown = None
            for loaded in self.loaded.profiles:
                # The load is not set yet, and nothing is delivered: no load is declared for it.
                bench = self._bench(self._url(job.loads_ohm[0]))
                shown, prepared = identify(bench, loaded, job.loads_ohm[0], job.dwell_s)
                self._prepared[loaded.profile.id] = prepared
            if shown is None:
                raise DeviceFault("the device has gone")
            self._compliance_mv = shown.capabilities["compliance_mv"]
            device = {
                "model": shown.model,
                "serial_number": shown.serial_number,
                "firmware_version": shown.firmware_version,
            }
        self._check_same_device(device)
        reasons = [
            f"{step.words}: {reason}"
            for step in self.steps
            for reason in target_reasons(
                self._prepared[step.loaded.profile.id], step.channel - 1, step.amplitude_ua
            )
        ]
        if reasons:
            raise LimitRefused("; ".join(dict.fromkeys(reasons)))

    def _check_same_device(self, device: dict[str, Any]) -> None:
        if self.course.device is None:
            self._note(kinds.DEVICE, device)
        elif self.course.device["serial_number"] != device["serial_number"]:
            raise LimitRefused(
                f"this is device {device['serial_number']}, the job began with device "
                f"{self.course.device['serial_number']}"
            )

    def _finish(self) -> None:
        verdict = verdict_of(self.course.verdicts)
        entered = None
        if self.course.device is not None:
            entered = enter_verdict(self._job, self.course.device, verdict, self.clock)
        words = entered.words if entered else ""
        if entered:
            self.desk.say(f"Station register: device {entered.serial_number}: {words}")
        self._note(kinds.FINISHED, {"verdict": verdict, "register": words})

    # One load, one step.

    def _walk_load(self, load_ohm: int) -> None:
        left = [
            s for s in self.steps if s.load_ohm == load_ohm and s.number not in self.course.steps
        ]
        if not left:
            return
        self._confirm_load(load_ohm)
        for step in left:
            if self.stop_reason():
                raise Interrupted
            self._take_step(step)

    def _confirm_load(self, load_ohm: int) -> None:
        if self._job.is_simulated:
            by = "the simulator"
        else:
            self._confirm(
                "load_is_set", f"Set the dummy load to {format_ohm(load_ohm)}. Is it set?"
            )
            self._confirm(
                "nobody_connected",
                "Nobody is connected to the stimulator, and its leads end at the dummy load?",
            )
            by = self._job.who
        self._note(kinds.CONFIRMED, {"load_ohm": load_ohm, "nobody_connected": True, "by": by})

    def _confirm(self, name: str, question: str) -> None:
        given = getattr(self._job.answers, name)
        is_so = given if given is not None else self.desk.ask(name, question, _YES) == "yes"
        if not is_so:
            raise LimitRefused(f"{name}: answered no: nothing is delivered")

    def _take_step(self, step: Step) -> None:
        self._announce(step)
        waiting = self._folder.begin(step)
        while True:
            try:
                content = self._unreachable(step) or self._deliver_and_measure(step, waiting)
            except LoadContradicted as refused:
                self._note(kinds.CONTRADICTED, {"number": step.number, "text": str(refused)})
                if not self.desk.is_attended:
                    raise
                self.desk.say(f"Refused: {refused}")
                self._confirm_again(step)
                continue
            if not content.pop("fits_other", "") or not self._is_taken_again(content, waiting):
                break
        self._note(kinds.STEP, content)
        self.desk.tell("step", **content)
        for note in content["notes"]:
            self.desk.say(f"  note: {note}")
        self.desk.say(f"  {content['verdict']}")

    def _confirm_again(self, step: Step) -> None:
        wanted = format_ohm(step.load_ohm)
        question = f"Set the dummy load to {wanted}; nobody connected. Deliver again?"
        if self.desk.ask("load_is_set", question, _YES) == "no":
            raise LimitRefused(f"step {step.number}: the dummy load is not the declared one")

    def _is_taken_again(self, content: dict[str, Any], waiting: Waiting) -> bool:
        """Ask whether a capture of another step shall count; where nobody is there, it does."""
        if not self.desk.is_attended:
            return False
        question = f"{content['notes'][-1]}. Keep it, or deliver and capture again?"
        self._folder.refuse(waiting, self._folder.folder / content["capture"]["name"])
        return self.desk.ask("capture", question, ("keep", "again")) == "again"

    def _announce(self, step: Step) -> None:
        prepared = self._prepared[step.loaded.profile.id]
        self.desk.say(f"Step {step.number} of {len(self.steps)} ({step.tag}): {step.words}")
        if self._job.capture == "folder":
            settings = scope_settings(
                prepared.program.channels[step.channel - 1],
                step.amplitude_ua,
                step.load_ohm,
                prepared.bounds.amplitude_step_ua,
            )
            self.desk.say(f"  scope: {settings.words}")

    def _unreachable(self, step: Step) -> dict[str, Any] | None:
        """Return what to note of a step that the device's voltage cannot carry, if it cannot."""
        needed_mv = step.amplitude_ua * step.load_ohm // UV_PER_MV
        if not self._compliance_mv or needed_mv <= self._compliance_mv:
            return None
        note = (
            f"not done: needs {needed_mv / 1000:g} V, the device has "
            f"{self._compliance_mv / 1000:g} V (compliance voltage, as it says itself)"
        )
        return {**_content(step), "verdict": kinds.NOT_APPLICABLE, "notes": [note]}

    def _deliver_and_measure(self, step: Step, waiting: Waiting) -> dict[str, Any]:
        if self._job.is_manual:
            delivered = None
            self._set_by_hand(step)
            path = self._wait_for(waiting)
        else:
            delivered, path = self._drive(step, waiting)
        self.desk.say(f"  measuring {path.name}")
        result, notes, better = self._judge.judge(step, path, self._prepared, self.steps)
        contradiction = captured_contradiction(step, result)
        if contradiction:
            self._folder.refuse(waiting, path)
            raise LoadContradicted(contradiction)
        verdict, sha256 = result["verdict"], result["capture"]["sha256"]
        former = self._former_owner(sha256)
        if former and self._job.capture == "folder":
            # Noise alone would make two captures differ: this one was copied, or never triggered.
            notes.append(f"{path.name} holds the very bytes of {former}: it measures nothing new")
            verdict = kinds.INCONCLUSIVE if verdict == kinds.PASS else verdict
        return {
            **_content(step),
            "device": _reported(delivered) if delivered else None,
            "capture": {"name": path.name, "sha256": sha256},
            "result": result,
            "verdict": verdict,
            "notes": notes,
            "fits_other": better,
        }

    def _former_owner(self, sha256: str) -> str:
        """Return which step took a capture with the same bytes, '' for none."""
        phases = [(self._job.phase, self.course), ("as-found", self._as_found)]
        for phase, walked in phases:
            for number, content in walked.steps.items() if walked else ():
                if (content.get("capture") or {}).get("sha256") == sha256:
                    return f"{phase} step {number}"
        return ""

    def _set_by_hand(self, step: Step) -> None:
        if self._job.answers.delivered:
            return
        profile = step.loaded.profile
        self.desk.ask(
            "delivered",
            f"Set {step.amplitude_ua / UA_PER_MA:g} mA of {profile.title} on channel "
            f"{step.channel} and save a capture to {self._folder.folder}. "
            "Press Enter when it is saved.",
        )

    def _drive(self, step: Step, waiting: Waiting) -> tuple[Delivered, Path]:
        job = self._job
        if job.capture != "trace":
            delivered = self._deliver(step, self._url(step.load_ohm))
            return delivered, self._wait_for(waiting)
        target = self._folder.folder / f"{job.phase}-{step.tag}.csv"
        with tempfile.TemporaryDirectory(prefix="estim-") as folder:
            trace = Path(folder) / "trace.csv"
            delivered = self._deliver(step, self._url(step.load_ohm, trace))
            channel = self._prepared[step.loaded.profile.id].program.channels[step.channel - 1]
            cut_trace(trace, target, channel, step.channel, delivered.plateau_us)
        return delivered, target

    def _deliver(self, step: Step, url: str) -> Delivered:
        delivered, prepared = deliver(
            self._bench(url),
            step.loaded,
            step.channel - 1,
            step.amplitude_ua,
            load_ohm=step.load_ohm,
            dwell_s=self._job.dwell_s,
            load_tolerance_percent=self._job.load_tolerance_percent,
        )
        self._check_same_device({"serial_number": delivered.device.serial_number})
        if delivered.lead_off:
            raise DeviceFault(f"step {step.number}: {step.words}: {delivered.lead_off}")
        self._prepared[step.loaded.profile.id] = prepared
        return delivered

    def _wait_for(self, waiting: Waiting) -> Path:
        """Wait for the capture of a step; ask where somebody is there to be asked."""
        while True:
            used = self.course.captures_used
            if self._as_found is not None:
                used |= self._as_found.captures_used
            path = self._folder.wait(waiting, used, self._job.capture_wait_s, self.stop_reason)
            if path is not None:
                return path
            if self.stop_reason():
                raise Interrupted
            missing = f"step {waiting.step.number}: no capture came to {self._folder.folder}"
            if not self.desk.is_attended:
                raise UsageError(
                    f"{missing} within {self._job.capture_wait_s} s; expected a file, named "
                    f"{waiting.step.tag} or newer than the step"
                )
            self.desk.ask("capture", f"{missing}. Press Enter to look again.")

    def _bench(self, url: str) -> Bench:
        is_virtual = self._job.clock == "virtual"
        return Bench(url, is_virtual, self.records, self.stop_reason, self.on_open)

    def _url(self, load_ohm: int, trace: Path | None = None) -> str:
        url = self._job.device
        if not self._job.is_simulated:
            return url
        options = {} if "load=" in url else {"load": str(load_ohm)}
        if trace is not None:
            options["trace"] = str(trace)
        return api.simulator_url(url, options)

    def _instrument(self, name: str) -> Instrument:
        return instruments.load(self.loaded.beside(name))

    def _note(self, kind: str, content: dict[str, Any]) -> None:
        self.course.take(self.ledger.append(kind, content, self.clock))


def _content(step: Step) -> dict[str, Any]:
    return {
        "number": step.number,
        "load_ohm": step.load_ohm,
        "profile": step.loaded.profile.id,
        "channel": step.channel,
        "amplitude_ua": step.amplitude_ua,
        "words": step.words,
    }


def _reported(delivered: Delivered) -> dict[str, Any]:
    return {
        "load_ohm": delivered.load_ohm,
        "measured_ua": delivered.measured_ua,
        "record": Path(delivered.record).name,
    }
