"""What Ctrl-C or a SIGTERM during training says: where it was, what is kept, how to go on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from axolotl_dmt.resume import checkpoints, read_state
from axolotl_dmt.training_plan import TrainingPlan

INTERRUPTED = "axolotl-dmt: interrupted by"

Tell = Callable[[signal.Signals, bool], str]
"""Makes the line of a signal and of whether Axolotl saves the model because of it."""


def telling(trainer: Any, plan: TrainingPlan, raw: Mapping[str, Any]) -> Tell:
    """What makes the line while a trainer trains.

    Args:
        trainer: follows the plan.
        plan: the plan.
        raw: the configuration as the user gave it.
    """

    def tell(signum: signal.Signals, saves: bool) -> str:
        args, state = trainer.args, trainer.state
        whole = not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)
        return last_words(
            signum.name,
            plan=plan,
            step=state.global_step,
            output_dir=Path(args.output_dir),
            save_strategy=str(getattr(args.save_strategy, "value", args.save_strategy)),
            save_steps=state.save_steps or args.save_steps,
            resumes_last=bool(raw.get("auto_resume_from_checkpoints")),
            resumes_from=raw.get("resume_from_checkpoint"),
            saves_model=saves and whole,
        )

    return tell


def last_words(
    what: str,
    *,
    plan: TrainingPlan,
    step: int,
    output_dir: Path,
    save_strategy: str,
    save_steps: float,
    resumes_last: bool,
    resumes_from: str | None,
    saves_model: bool,
) -> str:
    """The line that says where a run was interrupted, what is kept and how to go on.

    Args:
        what: the signal's name.
        plan: the run's plan.
        step: optimiser steps done.
        output_dir: of the run.
        save_strategy: "no", "steps" or "epoch".
        save_steps: optimiser steps between checkpoints.
        resumes_last: `auto_resume_from_checkpoints` is on.
        resumes_from: the YAML's `resume_from_checkpoint`.
        saves_model: Axolotl saves the model as it is now into the output folder.
    """
    stage = plan.stages[plan.stage_at(max(step - 1, 0))]
    last = next((c for c in reversed(checkpoints(output_dir)) if read_state(c)), None)
    stages = [output_dir / "stages" / f"{s.index + 1:02d}-{s.name}" for s in plan.stages]
    kept = [str(path) for path in (last, *stages) if path and path.is_dir()]
    if saves_model:
        kept.append(f"the unfinished model in {output_dir} itself")
    if last is not None:
        done = last.name.rpartition("-")[2]
        advice = f"to go on from step {done}, run the same command "
        if resumes_from:
            advice += f"with resume_from_checkpoint: {last}"
        else:
            advice += "again" if resumes_last else "with auto_resume_from_checkpoints: true"
    elif resumes_from:
        advice = f"no new checkpoint is there, the same command goes on from {resumes_from} again"
    else:
        why = f"save_strategy: {save_strategy}"
        change = "save_strategy: steps and save_steps"
        if save_strategy == "no":
            why = 'save_strategy: "no"'
        elif save_strategy == "steps":
            why, change = f"save_steps: {save_steps:g}", "a smaller save_steps"
        advice = (
            f"no checkpoint is there ({why}), so a rerun starts from step 0; {change} changes that"
        )
    return (
        f"{INTERRUPTED} {what} after step {step:,} of {plan.total_steps:,}, in stage {stage.name}; "
        f"kept: {', '.join(kept) or 'nothing'}; {advice}"
    )


@contextlib.contextmanager
def told(tell: Tell | None) -> Iterator[None]:
    """Meanwhile SIGINT and SIGTERM print a line; then they end the process as they would have.

    A process that ends for a signal has the exit code 128 + signal, also where the handler that was
    there (Axolotl's, which saves the model) says that all is well.

    Args:
        tell: makes the line; None on ranks that say nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # a Ray worker's: signals are not its own
        return
    watch = _Watch(tell)
    try:
        yield
    finally:
        watch.stop()


class _Watch:
    """Handlers of signals, and the thread that prints.

    The main thread runs its handlers only between two bytecodes, and never where it waits for ranks
    that are gone; so the line, and the end of the process by SIGTERM, come from a thread.
    """

    def __init__(self, tell: Tell | None) -> None:
        self.tell, self.active, self.said = tell, True, False
        self.former: dict[int, Any] = {}
        # The other ranks die of SIGTERM at once, as they did.
        for signum in (signal.SIGINT, signal.SIGTERM) if tell else (signal.SIGINT,):
            former = signal.getsignal(signum)
            if former not in (signal.SIG_IGN, None):
                self.former[signum] = former
                signal.signal(signum, self._handle)
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        self.former_fd = signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        self.thread = threading.Thread(target=self._listen, name="axolotl-dmt", daemon=True)
        self.thread.start()
        os.register_at_fork(after_in_child=self._forget)

    def stop(self) -> None:
        """Put back what was there; what is to be said has been said then."""
        self.active = False
        signal.set_wakeup_fd(self.former_fd)
        for signum, former in self.former.items():
            signal.signal(signum, former)
        os.close(self.writer)
        self.thread.join()
        os.close(self.reader)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        former = self.former[signum]
        if not callable(former):
            return  # SIGTERM as it comes: the thread ends the process
        try:
            former(signum, frame)
        except SystemExit as leave:
            raise SystemExit(leave.code or 128 + signum) from None
        except KeyboardInterrupt:
            if self.tell:
                raise
            raise SystemExit(128 + signum) from None

    def _listen(self) -> None:
        while received := os.read(self.reader, 64):
            for signum in received:
                if signum in self.former:
                    self._end(signal.Signals(signum))

    def _end(self, signum: signal.Signals) -> None:
        former = self.former[signum]
        try:
            if self.tell and not self.said:
                self.said = True
                saves = callable(former) and former is not signal.default_int_handler
                line = self.tell(signum, saves and signum == signal.SIGINT)
                sys.stdout.flush()
                # from the start of a line, whatever a progress bar left there
                print(f"\n{line}", file=sys.stderr, flush=True)
        finally:
            if former == signal.SIG_DFL:
                os._exit(128 + signum)

    def _forget(self) -> None:
        """In a forked process, such as a data loader's worker, signals are that process's alone."""
        if self.active:
            self.active = False
            signal.set_wakeup_fd(-1)
            for signum in self.former:
                own = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
                signal.signal(signum, own)
