"""What can be checked of the raw YAML alone, before Axolotl validates it and anything is loaded."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axolotl_dmt.args import DMTConfig, read_config
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.hooks import load_hooks
from axolotl_dmt.inputs import Stage
from axolotl_dmt.resolve import StageDefaults

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
"""Axolotl keys that cannot stand beside `dmt:`, and what to do instead."""


_NAME = re.compile(r"\w(?:[\w .+-]{0,62}[\w+])?")
"""A domain's name: it stands in tables, keys of metrics and file names."""


def load_named_hooks(block: Any) -> None:
    """Load what `dmt.hooks` names, and forget what an earlier YAML named."""
    named = (isinstance(block, Mapping) and block.get("hooks")) or []
    if isinstance(named, list) and all(isinstance(name, str) for name in named):
        loaded = load_hooks(named)  # also forgets those of an earlier YAML
        if named:
            block["hooks"] = loaded  # a Ray worker starts in another folder


def read_what_can_be(block: Any) -> tuple[DMTConfig | None, list[DMTError]]:
    """The block as if its mistakes were not there, so that the rest can be checked all the same.

    Args:
        block: the mapping under `dmt`.

    Returns:
        The configuration, None where nothing can be made of it, and every mistake.
    """
    rest = {"dmt": copy.deepcopy(block)}
    problems: list[DMTError] = []
    for _ in range(10):  # some mistakes show only once others are out of the way
        try:
            return read_config(rest["dmt"]), problems
        except DMTErrors as error:
            found = list(error.errors)
        except DMTError as error:
            found = [error]
        known = [problem.key for problem in problems]
        problems += [p for p in found if not any(within(p.key, key) for key in known)]
        if not all(_removed(rest, problem.key) for problem in reversed(found)):
            break
    return None, problems


def _removed(block: Any, key: str) -> bool:
    """Take a key out of nested settings; False where it is not there."""
    *above, last = (int(n) if n else name for n, name in re.findall(r"\[(\d+)\]|([^.[\]]+)", key))
    if not above:  # the whole block
        return False
    try:
        for part in above:
            block = block[part]
        del block[last]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def within(key: str, other: str) -> bool:
    """Whether one of the two keys lies within the other."""
    short, long = sorted((key, other), key=len)
    return long == short or long.startswith((f"{short}.", f"{short}["))


NO_MODEL = "your-model"
"""What a recipe says where its run started from a local model."""


def check_base_model(cfg: Mapping[str, Any]) -> None:
    """Refuse a local model that is not there."""
    model = cfg.get("base_model")
    if not isinstance(model, str) or not model:
        raise DMTError("base_model", "is missing", "name a model of the hub, or a folder")
    if model == NO_MODEL and not Path(model).exists():
        fix = "put one there, name a folder, or a model of the hub"
        raise DMTError("base_model", f"{model} stands for a model of your own", fix)
    if is_local(model) and not Path(model).exists():
        raise DMTError("base_model", f"no folder {model}", "make it, or name a model of the hub")


def is_local(path: str) -> bool:
    """Whether a path can be nothing but one on this machine: `org/name` may be on the hub."""
    return path.startswith(("/", ".", "~")) or ("://" not in path and path.count("/") > 1)


def check_val_rows(config: DMTConfig, domains: Sequence[str]) -> None:
    """Refuse held-out rows of a domain that no dataset has."""
    asked = config.val_rows if isinstance(config.val_rows, Mapping) else {}
    known = f"known domains: {', '.join(domains)}"
    problems = [
        DMTError(f"dmt.val_rows.{name}", "no dataset has this domain", known)
        for name in asked
        if name not in domains
    ]
    if problems:
        raise DMTErrors(problems)


def check_output_dir(cfg: Mapping[str, Any], *, keep: bool = True) -> None:
    """Refuse an output folder that cannot be made.

    Args:
        cfg: the raw configuration.
        keep: leave the folder there; else what was made to try it is removed.
    """
    folder = Path(str(cfg.get("output_dir") or "model-out"))
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in made if not keep else ():
            part.rmdir()
    except OSError as error:
        problem = f"{folder} cannot be made ({error.strerror})"
        raise DMTError("output_dir", problem, "name a folder that you may write to") from None


def check_start_stage(config: DMTConfig, stages: Sequence[Stage]) -> None:
    """Refuse to start at a stage that is not there."""
    names = [stage.name for stage in stages]
    if config.start_stage and names and config.start_stage not in names:
        raise DMTError(
            "dmt.start_stage", f"no stage {config.start_stage!r}", f"stages: {', '.join(names)}"
        )


def refuse_unsupported(cfg: Mapping[str, Any]) -> None:
    """Refuse keys of Axolotl that cannot stand beside a `dmt:` block."""
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


RESETTABLE = frozenset({"adamw_torch", "adamw_torch_fused", "sgd", "rmsprop"})
"""Axolotl's names of the optimisers whose state starts at zero, so that it can be reset."""


def refuse_optimizer(cfg: Mapping[str, Any], stages: Sequence[Stage]) -> None:
    """Refuse an optimiser whose state cannot be reset, where it would have to be."""
    name = cfg.get("optimizer") or "adamw_torch_fused"
    if name in RESETTABLE:
        return
    if any(stage.reset_optimizer for stage in stages[1:]):
        raise DMTError(
            "optimizer",
            f"the state of {name} cannot be reset between stages",
            f"use one of {', '.join(sorted(RESETTABLE))}, or set dmt.reset_optimizer: false",
        )


def take_domains(cfg: dict[str, Any]) -> list[str]:
    """The domain of each dataset, taken off the raw entries."""
    entries = cfg.get("datasets") or []
    if not entries:
        raise DMTError("datasets", "is empty", "list your datasets, each with a domain")
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        fix = "list entries such as - {path: math.jsonl, type: alpaca, domain: math}"
        raise DMTError("datasets", "is no list of entries", fix)
    # A configuration that was checked before (on a Ray worker) has them here already.
    block = cfg["dmt"]
    known = block.get("dataset_domains") if isinstance(block, Mapping) else None
    if known and len(known) == len(entries):
        return list(known)
    problems: list[DMTError] = []
    domains: list[str] = []
    for index, entry in enumerate(entries):
        domain = entry.pop("domain", None)
        key, path = f"datasets[{index}].domain", entry.get("path", "the entry")
        if domain is None:
            fix = "add one, for example domain: math"
            problems.append(DMTError(key, f"{path} has no domain", fix))
        elif not isinstance(domain, str) or not _NAME.fullmatch(domain):
            fix = "use letters, digits, '_', '-', '.' and spaces between them, 64 at most"
            problems.append(DMTError(key, f"{path}: domain {domain!r} is no name", fix))
        else:
            domains.append(domain)
    if problems:
        raise DMTErrors(problems)
    return domains


ANY_DEFAULTS = StageDefaults(
    epochs=1.0,
    learning_rate=1e-5,
    lr_scheduler="cosine",
    warmup_steps=None,
    warmup_ratio=None,
    weight_decay=None,
)
"""Stand in for Axolotl's own settings where these are wrong, so that the rest can be checked."""


def stage_defaults(cfg: Mapping[str, Any]) -> StageDefaults:
    """Axolotl's own settings, with Axolotl's own defaults where the raw YAML is silent."""

    def number(key: str, default: Any) -> Any:
        value = cfg.get(key)
        if value is None:
            return default
        try:
            return float(value)
        except (TypeError, ValueError):
            raise DMTError(key, f"{value!r} is no number", "write one, e.g. 2e-5") from None

    rate = number("learning_rate", None)
    if rate is None:
        raise DMTError("learning_rate", "is missing", "write learning_rate: 2e-5")
    warmup = number("warmup_steps", None)
    scheduler = cfg.get("lr_scheduler") or "cosine"
    epochs = number("num_epochs", 1.0)
    if not epochs > 0:
        raise DMTError("num_epochs", f"{epochs:g} is not above zero", "write num_epochs: 3")
    if number("micro_batch_size", 1) < 1:
        raise DMTError("micro_batch_size", "is below 1", "write micro_batch_size: 1")
    return StageDefaults(
        epochs=epochs,
        learning_rate=rate,
        lr_scheduler=str(getattr(scheduler, "value", scheduler)),
        warmup_steps=None if warmup is None else int(warmup),
        warmup_ratio=number("warmup_ratio", None),
        weight_decay=number("weight_decay", None),
        train_on_inputs=bool(cfg.get("train_on_inputs")),
    )
