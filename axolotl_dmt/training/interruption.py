"""Prints one line when Ctrl-C or SIGTERM interrupts a training: what is kept, how to continue."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.training.checkpoint_files import defect, lacks_optimizer

INTERRUPTED = "axolotl-dmt: interrupted by"

MakeMessage = Callable[[signal.Signals], str]
"""A function that returns the line to print for a signal."""

_DEFAULT_HANDLERS: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


def interruption_message(trainer: Any, plan: TrainingPlan, signum: signal.Signals) -> str:
    """Return the line that says where a run was interrupted, what is kept and how to continue.

    Args:
        trainer: the trainer that follows the plan.
        plan: the plan.
        signum: the signal.
    """
    run, step = RunFolder(Path(trainer.args.output_dir)), trainer.state.global_step
    current = plan.stages[plan.stage_at(max(step - 1, 0))]
    saved = [run.stage(stage.index, stage.name) for stage in plan.stages]
    kept = [str(folder) for folder in saved if folder.is_dir()]
    advice = (
        "no new checkpoint was saved, so a rerun starts where this run started; "
        "set save_strategy: steps and a small save_steps to save checkpoints"
    )
    whole = [checkpoint for checkpoint in run.checkpoints() if not defect(checkpoint)]
    checkpoint = next((c for c in reversed(whole) if not lacks_optimizer(c)), None)
    if checkpoint is None and whole:
        kept.insert(0, str(whole[-1]))
        advice = (
            "the checkpoints hold no optimizer state, so a rerun starts where this run started; "
            "remove save_only_model to save checkpoints that a run can continue from"
        )
    if checkpoint is not None:
        kept.insert(0, str(checkpoint))
        advice = (
            f"to continue from step {checkpoint.name.rpartition('-')[2]}, run the same command "
            f"with resume_from_checkpoint: {checkpoint}"
        )
    return (
        f"{INTERRUPTED} {signum.name} after step {step:,} of {plan.total_steps:,}, "
        f"in stage {current.name}; kept: {', '.join(kept) or 'nothing'}; {advice}"
    )


@contextlib.contextmanager
def line_on_signal(make_message: MakeMessage | None) -> Iterator[None]:
    """On entry, make SIGINT and SIGTERM print a line before their usual effect; undo it on exit.

    Apart from the line, only the exit code differs: where a handler would end the process with code
    0, as Axolotl's does after it has saved the model, the code is 128 + signal.

    Args:
        make_message: makes the line; None on ranks that print none.
    """
    # A Ray worker trains outside the main thread, where no signal arrives.
    if make_message is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()
    handlers = {signum: signal.getsignal(signum) for signum in _DEFAULT_HANDLERS}
    # An ignored signal stays ignored; None is a handler that Python did not install.
    usual = {n: handler for n, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for signum, handler in usual.items():
            signal.signal(signum, handler)

    def handle(signum: int, frame: FrameType | None) -> None:
        restore()  # a second signal has its usual effect at once
        handler = usual[signum]
        if os.getpid() != process:  # a data loader's worker neither prints nor saves the model
            handler = _DEFAULT_HANDLERS[signum]
            signal.signal(signum, handler)
        else:
            _print_line(make_message, signal.Signals(signum))
        if not callable(handler):
            os.kill(os.getpid(), signum)
            return
        try:
            handler(signum, frame)
        except SystemExit as leave:
            raise SystemExit(leave.code or 128 + signum) from None

    for signum in usual:
        signal.signal(signum, handle)
    try:
        yield
    finally:
        restore()


def _print_line(make_message: MakeMessage, signum: signal.Signals) -> None:
    # A message that cannot be made must not keep the process alive. print() is not reentrant, so a
    # signal handler must not call it. The first newline ends a progress bar's line.
    with contextlib.suppress(Exception):
        os.write(2, f"\n{make_message(signum)}\n".encode())
