"""Trains the runs of a study, several at a time, parents first."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from axolotl_dmt.errors import DMTError
from axolotl_dmt.report.console import Console
from axolotl_dmt.results.folder import load_results
from axolotl_dmt.study.cells import StudyRun
from axolotl_dmt.study.folder import LOG_FILE, StudyFolder
from axolotl_dmt.study.workers import Workers
from axolotl_dmt.training.interruption import INTERRUPTED


def train_command(config: Path, launcher_args: str) -> list[str]:
    """Return the command that trains a configuration, as a user would type it."""
    return ["axolotl", "train", str(config), *shlex.split(launcher_args)]


def run_command(run: StudyRun, config: Path, launcher_args: str) -> list[str]:
    """Return the command that performs a run, as a user would type it."""
    if run.merge is not None:
        return ["python", "-m", "axolotl_dmt.study.merge_run", str(config)]
    return train_command(config, launcher_args)


def emit(folder: StudyFolder, runs: Sequence[StudyRun], launcher_args: str) -> Iterator[str]:
    """Write the configurations of the unfinished runs and yield their commands, in waves.

    The runs of a wave depend only on runs of earlier waves.

    Args:
        folder: the study's folder.
        runs: the runs of the study.
        launcher_args: arguments that are added to each `axolotl train`.
    """
    waves: dict[int, list[StudyRun]] = {}
    unfinished = folder.unfinished(runs)
    keys = {run.key for run in unfinished}
    for run in unfinished:
        depth = sum(earlier.key in keys for earlier in run.chain()[:-1])
        waves.setdefault(depth, []).append(run)
    if lost := _trained_again(folder, unfinished):
        yield f"# {lost}"
    for depth, wave in sorted(waves.items()):
        yield f"# wave {depth + 1} of {len(waves)}: {len(wave)} runs, in any order"
        for run in wave:
            yield shlex.join(run_command(run, _write(folder, run), launcher_args))


def emit_slurm(
    folder: StudyFolder, runs: Sequence[StudyRun], launcher_args: str, report: str
) -> Iterator[str]:
    """Write the configurations of the unfinished runs and yield a script that submits them.

    Each run is a job that starts once the run before it has succeeded. The script passes its own
    arguments on to `sbatch`, which must ask for the GPUs and the time of a run.

    Args:
        folder: the study's folder, on storage that all nodes share.
        runs: the runs of the study, parents before children.
        launcher_args: arguments that are added to each `axolotl train`.
        report: the command that writes the study's report, which runs at the end.
    """
    yield "#!/bin/bash"
    yield "# Submit with the options of one run, for example: bash FILE --gpus 8 --time 24:00:00"
    yield "set -euo pipefail"
    yield f"cd {shlex.quote(os.getcwd())}"
    jobs: dict[str, str] = {}
    unfinished = folder.unfinished(runs)
    if lost := _trained_again(folder, unfinished):
        yield f"# {lost}"
    for run in unfinished:
        command = shlex.join(run_command(run, _write(folder, run), launcher_args))
        sources = [f":${jobs[each.key]}" for each in run.sources() if each.key in jobs]
        jobs[run.key] = job = f"job_{len(jobs) + 1}"
        waits = f" --dependency=afterok{''.join(sources)} --kill-on-invalid-dep=yes"
        after = waits if sources else ""
        log = shlex.quote(str((folder.of(run) / LOG_FILE).resolve()))
        name = shlex.quote(f"{folder.root.name}: {run.name}")
        submit = f'sbatch --parsable "$@" --job-name={name} --output={log}{after}'
        yield f"{job}=$({submit} --wrap {shlex.quote(command)})"
    all_jobs = ":".join(f"${job}" for job in jobs.values())
    after = f" --dependency=afterany:{all_jobs}" if jobs else ""
    yield f"sbatch --job-name=report{after} --wrap {shlex.quote(report)}"


def _trained_again(folder: StudyFolder, unfinished: Sequence[StudyRun]) -> str:
    """Return a line on the finished runs whose weights are gone; empty if there are none."""
    lost = [run.name for run in unfinished if folder.is_done(run)]
    if not lost:
        return ""
    return f"trained again, since other runs need their weights, which are gone: {', '.join(lost)}"


def _write(folder: StudyFolder, run: StudyRun) -> Path:
    """Write the YAML of a run; the results of one whose weights are gone make room for new ones."""
    config = folder.write(run)
    if folder.is_done(run):
        folder.set_results_aside(run)
    return config


class StudyRunner:
    """Trains the unfinished runs of a study and reports progress.

    Attributes:
        failed: {key of a run: why it failed}.
    """

    def __init__(
        self,
        folder: StudyFolder,
        *,
        workers: Workers,
        launcher_args: str,
        console: Console,
        keep_weights: bool = True,
    ) -> None:
        """Store the settings.

        Args:
            folder: the study's folder.
            workers: where the runs are trained.
            launcher_args: arguments that are added to each `axolotl train`.
            console: where progress is shown.
            keep_weights: false deletes the weights of each run that has finished, except those
                that other runs start from or merge.
        """
        self.folder, self.workers, self.keep_weights = folder, workers, keep_weights
        self.launcher_args, self.console = launcher_args, console
        self.failed: dict[str, str] = {}

    def train(self, runs: Sequence[StudyRun]) -> None:
        """Train the unfinished runs; afterwards `failed` holds those that failed.

        Args:
            runs: parents before children.
        """
        waiting = self.folder.unfinished(runs)
        done = {run.key for run in runs} - {run.key for run in waiting}
        with self._failure_printed():
            self.folder.share_baselines()
        if lost := _trained_again(self.folder, waiting):
            self.console.print(lost, soft_wrap=True, highlight=False)
        if done:
            self.console.print(f"{len(done)} of {len(runs)} runs are done already")
        with self._progress() as progress:
            total = progress.add_task("runs", total=len(runs), completed=len(done))
            running: dict[Future[str | None], tuple[StudyRun, Any, float]] = {}
            jobs = self.workers.jobs or len(runs)
            with self._pool(jobs) as pool:
                while waiting or running:
                    for run in [*waiting]:
                        failed = [each for each in run.sources() if each.key in self.failed]
                        if failed:
                            waiting.remove(run)
                            self._fail(run, f"skipped, {failed[0].name} failed")
                            progress.advance(total)
                            self._print(self._count(done, runs), run, self.failed[run.key], 0)
                        elif len(running) < jobs and done.issuperset(
                            each.key for each in run.sources()
                        ):
                            waiting.remove(run)
                            task = progress.add_task(f"  {run.name}", total=None)
                            future = pool.submit(self._train, run)
                            running[future] = (run, task, time.monotonic())
                    for job in wait(running, return_when=FIRST_COMPLETED).done:
                        run, task, started = running.pop(job)
                        progress.remove_task(task)
                        problem = job.result()
                        if problem:
                            self._fail(run, problem)
                        else:
                            done.add(run.key)
                            self._tidy_up(run)
                        progress.advance(total)
                        seconds = time.monotonic() - started
                        self._print(self._count(done, runs), run, problem, seconds)

    def _train(self, run: StudyRun) -> str | None:
        """Train one run and return why it failed, or None."""
        config = _write(self.folder, run)
        log = self.folder.of(run) / LOG_FILE
        command = run_command(run, config, self.launcher_args)
        outcome = self.workers.perform(run.name, command, log)
        if isinstance(outcome, str):
            return outcome
        if outcome == 0 and self.folder.is_done(run):
            return None
        return f"{_failure_message(log)} (exit code {outcome}, see {log})"

    def _tidy_up(self, run: StudyRun) -> None:
        """Share the scores of the model before training, and delete what need not be kept."""
        with self._failure_printed():
            self.folder.share_baseline(run)
        with self._failure_printed():
            if not self.keep_weights:
                self.folder.delete_weights(run)

    @contextlib.contextmanager
    def _failure_printed(self) -> Iterator[None]:
        """Print an error of the block; the trainings that are running go on."""
        try:
            yield
        except (DMTError, OSError) as error:
            self.console.print(str(error), style="red", markup=False, soft_wrap=True)

    def _fail(self, run: StudyRun, problem: str) -> None:
        self.failed[run.key] = problem
        self.folder.of(run).mkdir(parents=True, exist_ok=True)
        self.folder.record(run, problem)

    def _count(self, done: Set[str], runs: Sequence[StudyRun]) -> str:
        return f"[{len(done) + len(self.failed)}/{len(runs)}]"

    def _print(self, count: str, run: StudyRun, problem: str | None, seconds: float) -> None:
        """Print one line on a run that has ended: its scores, or why it failed."""
        if problem:
            outcome = f"failed: {problem}"
        else:
            last = load_results(self.folder.of(run)).stages[-1]
            scores = ", ".join(f"{name} {value:.3f}" for name, value in last.values().items())
            outcome = f"not scored: {last.error}" if last.error else scores or "done"
        text = f"{count} {run.name} {seconds:.0f} s: {outcome}"
        style = "red" if problem else None
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    @contextlib.contextmanager
    def _pool(self, jobs: int) -> Iterator[ThreadPoolExecutor]:
        """On entry, start a pool with a thread for each concurrent run; on exit, wait for them.

        On an exception the runs are stopped. In the meantime SIGTERM raises SystemExit, so that it
        stops the runs as well.
        """
        former_handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            with ThreadPoolExecutor(jobs) as pool:
                try:
                    yield pool
                except BaseException:
                    self.workers.stop()
                    raise
        finally:
            signal.signal(signal.SIGTERM, former_handler)


def _failure_message(log: Path) -> str:
    """Return axolotl-dmt's own error line from a log, else the last error, else the last line."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    for mark in ("axolotl-dmt: ", "Error", ""):
        # When one rank of a run fails, the launcher interrupts the others.
        matching = [line for line in lines if mark in line and line and INTERRUPTED not in line]
        if matching:
            return (matching[0] if mark == "axolotl-dmt: " else matching[-1])[:300]
    return "no output"
