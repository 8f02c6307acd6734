"""Where the runs of a study are trained: in processes of this machine, or on a Ray cluster.

Ray places the runs on nodes with enough free GPUs, and repeats a run whose node is lost.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError, first_line
from axolotl_dmt.results.folder import load_results
from axolotl_dmt.study.folder import FINISHED

REPETITIONS = 20
"""How often Ray repeats a run whose node or worker is lost."""
SECONDS_TO_STOP = 60
"""How long a stopped training may take to end by itself."""


class Workers(Protocol):
    """Performs the commands of runs.

    Attributes:
        jobs: the most runs at a time; None leaves it to the workers.
    """

    jobs: int | None

    def perform(self, name: str, command: Sequence[str], log: Path) -> int | str:
        """Perform a command, with its output in a file; called in a thread for each run.

        Args:
            name: the name of the run.
            command: the program, as a user would type it, and its arguments.
            log: the file for its output.

        Returns:
            The exit code, or why there is none.
        """

    def stop(self) -> None:
        """End all commands that are being performed."""


def _on_this_python(command: Sequence[str]) -> list[str]:
    """Return a command with this process's Python in place of `axolotl` and `python`."""
    program, *arguments = command
    return [
        sys.executable,
        *(["-m", "axolotl.cli.main"] if program == "axolotl" else []),
        *arguments,
    ]


class LocalWorkers:
    """Processes of this machine, which share its CPU cores equally."""

    def __init__(self, *, jobs: int, lock: int) -> None:
        """Store the settings.

        Args:
            jobs: the most runs at a time.
            lock: the file descriptor that `folder.locked` yields.
        """
        self.jobs: int | None = jobs
        self._lock, self._cores = lock, max(1, _cpus() // jobs) if jobs > 1 else None
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    def perform(self, name: str, command: Sequence[str], log: Path) -> int | str:
        """Perform a command, as `Workers` describes."""
        environment = {**os.environ}
        if self._cores:
            environment.setdefault("OMP_NUM_THREADS", str(self._cores))
        with log.open("wb") as file:
            if self._stopping:
                return "stopped"
            process = subprocess.Popen(
                _on_this_python(command),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                # A run that outlives this process keeps the lock on the folder.
                pass_fds=(self._lock,),
            )
            self._processes.add(process)
            code = process.wait()
            self._processes.discard(process)
        return code

    def stop(self) -> None:
        """End all commands, as `Workers` describes."""
        self._stopping = True
        for process in [*self._processes]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


class RayWorkers:
    """The nodes of a Ray cluster, which share the study's folder and have this package."""

    def __init__(self, address: str, *, jobs: int | None, gpus: float | None) -> None:
        """Connect to the cluster.

        Args:
            address: `auto`, `HOST:6379` or `ray://HOST:10001`.
            jobs: the most runs at a time; None for as many as the cluster has room for.
            gpus: the GPUs of each run; None for 1.

        Raises:
            DMTError: Ray is not installed or does not answer.
        """
        try:
            import ray
        except ModuleNotFoundError as error:
            fix = "pip install 'axolotl-dmt[ray]' on all nodes"
            raise DMTError("--ray", "Ray is not installed", fix) from error
        try:
            _check_reachable(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # a ConnectionError, ValueError, RuntimeError or one of gRPC
            problem = f"no Ray cluster answers at {address} ({first_line(error)})"
            raise DMTError("--ray", problem, "start it with `ray start --head`") from None
        self.jobs, self._ray = jobs, ray
        largest = max((node["Resources"].get("GPU", 0) for node in ray.nodes()), default=0)
        self._gpus = 1 if gpus is None else gpus
        if self._gpus > largest:
            few = f"no node has the {self._gpus:g} GPUs of a run now, so Ray waits for one"
            echo(f"{few}; --gpus 0 asks for none", err=True)
        self._tasks: set[Any] = set()
        self._stopping = False

    def perform(self, name: str, command: Sequence[str], log: Path) -> int | str:
        """Perform a command on a node with enough free GPUs, as `Workers` describes."""
        if self._stopping:
            return "stopped"
        log.write_bytes(b"")
        task = self._ray.remote(_perform).options(
            name=name, num_gpus=self._gpus, max_retries=REPETITIONS
        )
        reference = task.remote(list(command), str(log.resolve()), os.getcwd())
        self._tasks.add(reference)
        try:
            outcome: int | str = self._ray.get(reference)
            return outcome
        except Exception as error:  # the node was lost too often, or the cluster is gone
            return (
                "stopped" if self._stopping else f"Ray: {type(error).__name__}: {first_line(error)}"
            )
        finally:
            self._tasks.discard(reference)

    def stop(self) -> None:
        """End all commands, as `Workers` describes."""
        self._stopping = True
        for reference in [*self._tasks]:
            self._ray.cancel(reference)


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where runs are trained, as the options of a command say.

    Attributes:
        jobs: the number of runs at the same time; None is 1, or on Ray as many as fit.
        ray: the address of a Ray cluster; None for this machine.
        gpus: the GPUs of each run on Ray; None for 1.
    """

    jobs: int | None = None
    ray: str | None = None
    gpus: float | None = None

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            DMTError: GPUs are asked for without a Ray cluster.
        """
        if self.ray is None and self.gpus is not None:
            fix = "add --ray, or choose this machine's with CUDA_VISIBLE_DEVICES"
            raise DMTError("--gpus", "asks a Ray cluster for GPUs, and there is no --ray", fix)

    def workers(self, lock: int) -> Workers:
        """Return the workers.

        Args:
            lock: the file descriptor of the folder's lock, which the processes here inherit.

        Raises:
            DMTError: the Ray cluster cannot be used.
        """
        if self.ray:
            return RayWorkers(self.ray, jobs=self.jobs, gpus=self.gpus)
        return LocalWorkers(jobs=self.jobs or 1, lock=lock)


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing answers at HOST:PORT, which Ray itself notices after minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=30).close()


def _perform(command: Sequence[str], log: str, folder: str) -> int | str:
    """Perform a command on a node of the cluster; return its exit code, or why there is none."""
    if not Path(log).is_file():
        return f"{socket.gethostname()} does not see {log}: name an output_dir that all nodes share"
    if _is_finished(Path(log).parent):  # the node was lost after the training and before its answer
        return 0
    process = subprocess.Popen(
        [sys.executable, "-m", "axolotl_dmt.study.guarded", log, *_on_this_python(command)],
        stdin=subprocess.PIPE,
        cwd=folder,
    )
    try:
        return process.wait()
    except BaseException:  # Ray interrupts a task that is cancelled
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_STOP)
        raise
    finally:
        assert process.stdin is not None
        process.stdin.close()


def _is_finished(folder: Path) -> bool:
    try:
        return FINISHED in load_results(folder).timings
    except DMTError:
        return False


def _cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
