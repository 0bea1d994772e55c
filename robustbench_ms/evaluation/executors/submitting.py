"""The jobs of a run's workers, by submitit: Slurm's, or processes of this machine that try the same out."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.executors.serving import noted, read_note, serve
from robustbench_ms.specs.engines import Engine, minutes

__all__ = ["Jobs"]

HOUR = "60"
"""The time limit where none is given, minutes."""
_ITS_OWN = ("partition", "account", "qos", "constraint", "nodelist", "mem")
"""Options that are Slurm's, and passed on as they are."""


class Jobs:
    """What is submitted for the run in `folder`, a job a worker, named `rbms-<token>-<number>-<attempt>`."""

    def __init__(self, engine: Engine, folder: Path, count: int) -> None:
        self._engine, self._folder, self.count = engine, folder, count
        self._submitit = _imported()
        self._local = engine.options.get("cluster") == "local"

    def submit(self, number: int, attempt: int) -> Any:
        """Submit a worker; UserError in the queue's own words where that is refused."""
        if not self._local and (
            missing := [name for name in ("sbatch", "squeue", "srun") if not shutil.which(name)]
        ):
            raise UserError(
                f"--on slurm needs Slurm's {missing[0]}, which is not on this machine; submit from one that has it, or "
                "try it out with cluster=local"
            )
        try:
            job = self._executor(number, attempt).submit(
                serve, str(self._folder), number, attempt, self.count
            )
        except (self._submitit.core.utils.FailedJobError, subprocess.CalledProcessError, OSError) as error:
            told = " ".join(str(getattr(error, "stderr", None) or error).split())
            raise UserError(f"Slurm refused the job of worker {number}: {told}") from error
        if self._local:
            noted(self._folder / "workers" / f"{number}-{attempt}.job", job.job_id)
        return job

    def script(self, number: int, attempt: int) -> str:
        """What sbatch is given for a worker."""
        executor = self._executor(number, attempt)
        text: str = executor._make_submission_file_text(executor._submitit_command_str, "")  # noqa: SLF001 - only submitting it is public
        return text

    def queued(self) -> dict[int, tuple[int, Any]]:
        """{number: (attempt, job)} of the workers that wait or run, submitted by this parent or by one before it."""
        found: dict[int, tuple[int, Any]] = {}
        for name, job_id in self._named():
            number, attempt = map(int, name)
            kind = self._submitit.LocalJob if self._local else self._submitit.SlurmJob
            if attempt >= found.get(number, (0, None))[0]:
                found[number] = attempt, kind(folder=self._folder / "jobs", job_id=job_id)
        return found

    def _named(self) -> Iterator[tuple[tuple[str, str], str]]:
        """((number, attempt), job's id) of each."""
        if self._local:
            for path in (self._folder / "workers").glob("*.job"):
                if _alive(int(read_note(path))):
                    number, _, attempt = path.stem.partition("-")
                    yield (number, attempt), read_note(path)
            return
        try:
            told = subprocess.run(
                ["squeue", "--me", "--noheader", "--format=%i %j"],  # noqa: S607 - the user's own Slurm
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
        except (OSError, subprocess.CalledProcessError) as error:
            raise UserError(f"Slurm's queue cannot be asked ({error})") from error
        token = re.escape(self._folder.name.partition("-")[2])
        for line in told.splitlines():
            known = re.fullmatch(rf"\s*(\S+) rbms-{token}-(\d+)-(\d+)\s*", line)
            if known:
                yield (known[2], known[3]), known[1]

    def is_over(self, job: Any) -> bool:
        """Whether a job has left the queue, however it ended."""
        if self._local:
            _ = job.state  # reaps it
            return not _alive(int(job.job_id))
        return bool(job.done())

    def cancel(self, job: Any, pid: int | None) -> None:
        """Take a job from the queue, or end it; `pid` is its worker's own where that has begun, and not a wrapper's."""
        if not self._local:
            job.cancel(check=False)
            return
        for process in (int(job.job_id), pid):
            if process is not None and _alive(process):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    def wait(self, job: Any) -> None:
        """Until a process of this machine that has ended, or was cancelled, is gone."""
        process = getattr(job, "_process", None)
        if process is not None:
            process.wait()

    def described(self, job: Any) -> str:
        """A job, for people."""
        return f"process {job.job_id}" if self._local else f"Slurm's job {job.job_id}"

    def _executor(self, number: int, attempt: int) -> Any:
        options, submitit = self._engine.options, self._submitit
        folder = self._folder / "jobs"
        python = {"python": options["python"]} if "python" in options else {}
        limit = minutes(options.get("time", HOUR))
        gpus = int(options.get("gpus", "0"))
        if self._local:
            executor = submitit.LocalExecutor(folder, **python)
            executor.update_parameters(timeout_min=limit, gpus_per_node=gpus, stderr_to_stdout=True)
            return executor

        class Slurm(submitit.SlurmExecutor):  # type: ignore[misc, name-defined]
            """Made where there is no Slurm too, for the text of a script."""

            @classmethod
            def affinity(cls) -> int:
                return 2

        executor = Slurm(folder, **python)
        executor.update_parameters(
            job_name=f"rbms-{self._folder.name.partition('-')[2]}-{number}-{attempt}",
            time=limit,
            nodes=1,
            ntasks_per_node=1,
            cpus_per_task=self._engine.cpus,
            srun_args=[
                f"--cpus-per-task={self._engine.cpus}"
            ],  # srun takes it from sbatch no more, since Slurm 22.05
            stderr_to_stdout=True,
            **({"gpus_per_node": gpus} if gpus else {}),
            **{name: options[name] for name in _ITS_OWN if name in options},
        )
        return executor


def _imported() -> Any:
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise UserError(
            f'--on slurm needs the package {error.name!r}: pip install "robustbench-ms[slurm]"'
        ) from error
    return submitit


def _alive(pid: int) -> bool:
    """Whether a process of submitit's runs under that number, which may be another's by now."""
    try:
        return b"submitit" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
