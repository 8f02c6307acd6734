"""Checks of Axolotl's own keys in the raw YAML, before Axolotl validates it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axolotl_dmt.config.args import DMTConfig
from axolotl_dmt.config.reading import NO_MODEL
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.results.folder import RunFolder

UNSUPPORTED = {
    "streaming": "a plan needs all rows before training starts; remove it",
    "pretraining_dataset": "dmt mixes instruction data; list it under datasets",
    "rl": "dmt schedules supervised fine-tuning; remove rl, or run it as a second YAML",
    "reward_model": "dmt schedules supervised fine-tuning",
    "process_reward_model": "dmt schedules supervised fine-tuning",
    "max_steps": "the plan gives the steps; set max_steps on a stage (dmt.stages, dmt.overrides)",
    "group_by_length": "write dmt.order: length_grouped",
    "curriculum_sampling": "the plan orders the rows already; remove it",
    "skip_prepare_dataset": "a plan needs tokenised rows; remove it",
    "auto_find_batch_size": "the plan is made for one batch size; set micro_batch_size",
    "relora": "it resets weights on a schedule of its own; remove it",
    "jagged_restart_steps": "the plan composes the learning rate; remove it",
    "lisa_step_interval": "it freezes layers on a schedule of its own; write freeze on a stage",
    "early_stopping_patience": "it would end the run inside a stage, and later stages would not "
    "run; set epochs or max_steps on the stage",
    "load_best_model_at_end": "the best checkpoint may lie in an earlier stage; remove it, every "
    "stage's end is kept under stages/",
}
"""Axolotl keys that are not supported together with `dmt:`, and what to do instead."""


def check_base_model(cfg: Mapping[str, Any]) -> None:
    """Raise DMTError if `base_model` is missing or names a local folder that does not exist."""
    model = cfg.get("base_model")
    if not isinstance(model, str) or not model:
        raise DMTError("base_model", "is missing", "name a model of the hub, or a folder")
    if model == NO_MODEL and not Path(model).exists():
        fix = "make that folder, or name another one or a model of the hub"
        raise DMTError("base_model", f"{model} stands for a model of your own", fix)
    if is_local(model) and not Path(model).exists():
        raise DMTError("base_model", f"no folder {model}", "make it, or name a model of the hub")


def is_local(path: str) -> bool:
    """Return whether a path can only be a local one; `org/name` may be a name on the hub."""
    return path.startswith(("/", ".", "~")) or ("://" not in path and path.count("/") > 1)


def check_val_rows(config: DMTConfig, domains: Sequence[str]) -> None:
    """Raise DMTError if `dmt.val_rows` names a domain that no dataset has."""
    by_domain = config.val_rows if isinstance(config.val_rows, Mapping) else {}
    fix = f"known domains: {', '.join(domains)}"
    problems = [
        DMTError(f"dmt.val_rows.{name}", "no dataset has this domain", fix)
        for name in by_domain
        if name not in domains
    ]
    if problems:
        raise DMTErrors(problems)


def check_output_dir(cfg: Mapping[str, Any], *, keep: bool = True) -> None:
    """Make the output folder.

    Args:
        cfg: the raw configuration.
        keep: False removes again what was made.

    Raises:
        DMTError: the folder cannot be made.
    """
    folder = RunFolder.of_config(cfg).output_dir
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in made if not keep else ():
            part.rmdir()
    except OSError as error:
        problem = f"{folder} cannot be made ({error.strerror})"
        raise DMTError("output_dir", problem, "name a folder that you may write to") from None


def refuse_unsupported(cfg: Mapping[str, Any]) -> None:
    """Raise DMTError if the YAML sets a key of Axolotl that is not supported with `dmt:`."""
    problems = [
        DMTError(key, "is not supported with dmt", advice)
        for key, advice in UNSUPPORTED.items()
        if cfg.get(key)
    ]
    if cfg.get("val_set_size"):
        problems.append(
            DMTError(
                "val_set_size",
                "is not supported with dmt: it would take rows out of the plan",
                "write dmt.val_rows, or name held-out files under test_datasets",
            )
        )
    if problems:
        raise DMTErrors(problems)
