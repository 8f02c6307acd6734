"""What Ctrl-C or a SIGTERM during training says: where it was, what is kept, how to go on."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from axolotl_dmt.resume import read_state
from axolotl_dmt.run_folder import RunFolder
from axolotl_dmt.training_plan import TrainingPlan

INTERRUPTED = "axolotl-dmt: interrupted by"

Tell = Callable[[signal.Signals, bool], str]
"""Makes the line from the signal and whether Axolotl saves the model because of it."""


def last_words(
    trainer: Any, plan: TrainingPlan, raw: Mapping[str, Any], signum: signal.Signals, saves: bool
) -> str:
    """The line that says where a run was interrupted, what is kept and how to go on.

    Args:
        trainer: follows the plan.
        plan: the plan.
        raw: the configuration as the user gave it.
        signum: the signal.
        saves: whether Axolotl saves the model as it is now into the output folder.
    """
    output_dir, step = Path(trainer.args.output_dir), trainer.state.global_step
    stage = plan.stages[plan.stage_at(max(step - 1, 0))]
    folder = RunFolder(output_dir)
    last = next((c for c in reversed(folder.checkpoints()) if read_state(c)), None)
    stages = [folder.stage(s.index, s.name) for s in plan.stages]
    kept = [str(path) for path in (last, *stages) if path and path.is_dir()]
    if saves and not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        kept.append(f"the unfinished model in {output_dir} itself")
    named = raw.get("resume_from_checkpoint")
    if last is not None:
        how = "with auto_resume_from_checkpoints: true"
        if raw.get("auto_resume_from_checkpoints"):
            how = "again"
        if named:
            how = f"with resume_from_checkpoint: {last}"
        advice = f"to go on from step {last.name.rpartition('-')[2]}, run the same command {how}"
    elif named:
        advice = f"no new checkpoint is there, the same command goes on from {named} again"
    else:
        why, change = _why_none(trainer, raw)
        advice = (
            f"no checkpoint is there ({why}), so a rerun starts from step 0; {change} changes that"
        )
    return (
        f"{INTERRUPTED} {signum.name} after step {step:,} of {plan.total_steps:,}, "
        f"in stage {stage.name}; kept: {', '.join(kept) or 'nothing'}; {advice}"
    )


def _why_none(trainer: Any, raw: Mapping[str, Any]) -> tuple[str, str]:
    """The key because of which no checkpoint is there yet, and what to write for one."""
    strategy = getattr(trainer.args.save_strategy, "value", trainer.args.save_strategy)
    if strategy == "steps" and raw.get("saves_per_epoch"):
        return f"saves_per_epoch: {raw['saves_per_epoch']}", "a larger saves_per_epoch"
    if strategy == "steps":
        steps = trainer.state.save_steps or trainer.args.save_steps
        return f"save_steps: {steps:g}", "a smaller save_steps"
    shown = '"no"' if strategy == "no" else strategy
    return f"save_strategy: {shown}", "save_strategy: steps and save_steps"


@contextlib.contextmanager
def told(tell: Tell | None) -> Iterator[None]:
    """Meanwhile a SIGINT or SIGTERM prints a line first, and then does what it would have done.

    Only the exit code differs, where the handler that was there ends the process as if all were
    well, as Axolotl's does after it has saved the model: it is 128 + signal then.

    Args:
        tell: makes the line; None on ranks that say nothing.
    """
    former: dict[int, Any] = {}
    process = os.getpid()

    def put_back() -> None:
        for signum, handler in former.items():
            signal.signal(signum, handler)

    def handle(signum: int, frame: FrameType | None) -> None:
        put_back()
        handler = former[signum]
        if os.getpid() != process:  # a data loader's worker: it neither tells nor saves
            handler = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
            signal.signal(signum, handler)
        elif tell is not None:
            saves = signum == signal.SIGINT and handler is not signal.default_int_handler
            with contextlib.suppress(Exception):  # a line that fails must not keep the run alive
                # Not print(), which must not be entered twice; from the start of a line, whatever
                # a progress bar left there.
                os.write(2, f"\n{tell(signal.Signals(signum), saves)}\n".encode())
        if not callable(handler):
            os.kill(os.getpid(), signum)
            return
        try:
            handler(signum, frame)
        except SystemExit as leave:
            raise SystemExit(leave.code or 128 + signum) from None

    # A Ray worker trains in a thread, to which no signal comes.
    if tell is not None and threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(signum)
            if handler not in (signal.SIG_IGN, None):
                former[signum] = handler
                signal.signal(signum, handle)
    try:
        yield
    finally:
        put_back()
