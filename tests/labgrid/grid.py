"""A coordinator, an exporter, places and simulated stimulators on loopback, as processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from tests.engine.scene import Scene, children, wait_for

WITHIN_S = 30.0
JOB = """
import sys
from estim.errors import EstimError
from estim.rig.labgrid_driver import locked_target

def main():
    with locked_target(sys.argv[1], ttl_s=int(sys.argv[2])) as target:
        target.get_driver("EstimStrategy").transition("armed")
        driver = target.get_driver("EstimStimulatorDriver")
        print("armed", driver.identify().serial_number, flush=True)
        driver.start({1: 3})
        result = driver.wait_until_finished()
        print(result.end_state.value, result.plateau_ms, result.fault or "-", flush=True)

try:
    main()
except EstimError as error:
    print("failed", error.blame, error, flush=True)
    sys.exit(error.exit_code)
"""


class Job:
    """A process that holds one place and stimulates; its words, line by line."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        with (folder / "job-errors.txt").open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                env=environment, cwd=folder, start_new_session=True,
            )  # fmt: skip
        self.words = ""

    def read_line(self, timeout_s: float = WITHIN_S) -> str:
        """Return the next line that the job says, '' for none any more."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        assert ready, "the job says nothing"
        return self.process.stdout.readline().decode().strip()

    def keeper_pid(self) -> int:
        """Return the process that holds the job's place."""
        return next(
            pid
            for pid in children(self.process.pid)
            if b"labgrid_keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )

    def end(self, timeout_s: float = WITHIN_S) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(timeout_s)

    def close(self) -> None:
        if self.process.poll() is None:
            for pid in [*children(self.process.pid), self.process.pid]:
                os.kill(pid, signal.SIGKILL)
        self.process.wait(WITHIN_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Grid:
    """Places stim-1 and stim-2, each with a simulated stimulator of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scenes = [Scene(self._folder(f"stim-{number}")) for number in (1, 2)]
        self.environment = self.scenes[0].environment | {
            "LG_HOSTNAME": "bench", "LG_USERNAME": "tester",
        }  # fmt: skip
        self.jobs: list[Job] = []
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Grid:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything that still runs."""
        for job in self.jobs:
            job.close()
        for name in list(self.processes):
            self.end(name)
        for scene in self.scenes:
            scene.__exit__(None, None, None)

    def end(self, name: str) -> None:
        """End the coordinator or the exporter."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(WITHIN_S)
        if process.stdout is not None:
            process.stdout.close()

    def client(self, *arguments: str) -> str:
        """Run labgrid's own client; return what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "labgrid.remote.client", "-x", self.coordinator, *arguments],
            env=self.environment, capture_output=True, timeout=WITHIN_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def holder(self, place: str) -> str:
        """Return who holds a place, '' for nobody."""
        for line in self.client("-p", place, "show").splitlines():
            name, _, who = line.strip().partition(": ")
            if name == "acquired":
                return "" if who == "None" else who
        return ""

    def start_job(self, place: str, *, duration_s: int = 60, ttl_s: int = 30) -> Job:
        """Start a job on a place."""
        environment = self.folder / f"{place}.yaml"
        environment.write_text(
            f"options: {{coordinator_address: '{self.coordinator}'}}\n"
            "imports: [estim.rig.labgrid_driver]\n"
            "targets:\n"
            "  main:\n"
            f"    resources: {{RemotePlace: {{name: {place}}}}}\n"
            "    drivers:\n"
            f"      EstimStimulatorDriver: {{bench_ohm: 500, records: {self.folder}/records}}\n"
            f"      EstimStrategy: {{duration_s: {duration_s}}}\n"
        )
        script = self.folder / "job.py"
        script.write_text(JOB)
        command = [sys.executable, str(script), str(environment), str(ttl_s)]
        job = Job(command, self.environment, self.folder)
        self.jobs.append(job)
        return job

    def _start(self) -> None:
        exported = []
        for number, scene in enumerate(self.scenes, start=1):
            scene.start_simulator("--tcp", "0", "--serial", f"DUT-{number}")
            port = scene.device.rpartition(":")[2]
            exported.append(
                f"stim-{number}:\n  NetworkSerialPort:\n"
                f"    {{host: 127.0.0.1, port: {port}, protocol: raw}}\n"
            )
        resources = self.folder / "exported.yaml"
        resources.write_text("".join(exported))
        coordinator = self._spawn("coordinator", "-l", "127.0.0.1:0")
        assert coordinator.stdout is not None
        self.coordinator = coordinator.stdout.readline().decode().split()[-1]
        self._spawn(
            "exporter", "-c", self.coordinator, "-n", "rig-a", "--hostname", "127.0.0.1",
            str(resources),
        )  # fmt: skip
        wait_for(lambda: self.client("resources").count("rig-a/stim-") == 2, WITHIN_S, "resources")
        for number in (1, 2):
            place = f"stim-{number}"
            self.client("-p", place, "create")
            self.client("-p", place, "add-match", f"rig-a/{place}/NetworkSerialPort")

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.txt").open("ab") as errors:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"labgrid.remote.{name}", *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                env=self.environment, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        return self.processes[name]

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder


def settle() -> None:
    """Let a while pass in which something that must not happen could."""
    time.sleep(1.0)
