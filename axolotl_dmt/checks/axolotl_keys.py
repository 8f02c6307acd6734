"""Checks of Axolotl's own keys in the raw YAML, before Axolotl validates it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.config.args import DMTConfig
from axolotl_dmt.config.reading import NO_MODEL
from axolotl_dmt.config.run_keys import val_set_size
from axolotl_dmt.errors import DMTError, DMTErrors, name_advice
from axolotl_dmt.results.folder import RunFolder

UNSUPPORTED = {
    "streaming": "a plan needs all rows before training starts; remove it",
    "pretraining_dataset": "dmt mixes instruction data; list it under datasets",
    "rl": "dmt schedules supervised fine-tuning; remove rl, or run it as a second YAML",
    "reward_model": "dmt schedules supervised fine-tuning",
    "process_reward_model": "dmt schedules supervised fine-tuning",
    "auto_find_batch_size": "the plan is made for one batch size; set micro_batch_size",
    "relora": "it merges the adapter and resets the optimiser on a schedule of its own; remove it, "
    "and write adapter: new on the stages that are to start a fresh adapter",
    "jagged_restart_steps": "it restarts the learning rate at steps that do not fit the stages; "
    "remove it, or write lr_scheduler: cosine_with_restarts",
    "lisa_step_interval": "it trains other layers every few steps; remove it, or write freeze on a "
    "stage",
    "early_stopping_patience": "it would end the run inside a stage, and later stages would not "
    "run; remove it, and set epochs or max_steps where a stage is to be shorter",
    "load_best_model_at_end": "the best checkpoint may lie in an earlier stage; remove it, and "
    "choose one of the models under stages/, where the end of every stage is saved",
}
"""Axolotl keys that are not supported together with `dmt:`, and what to do instead."""

UNEXPANDED: Final = re.compile(r"^~|\$(\w+|\{\w+\})")
"""What a shell would replace in a path; Axolotl does not."""


def check_base_model(cfg: Mapping[str, Any]) -> None:
    """Check that `base_model` is set and, if it can only be a local path, exists.

    Raises:
        DMTError: it is missing, or names a local folder that does not exist or holds no model.
    """
    model = cfg.get("base_model")
    if not isinstance(model, str) or not model:
        raise DMTError("base_model", "is missing", "name a model on the hub, or a folder")
    if model == NO_MODEL and not Path(model).exists():
        fix = "write the path of that model, or the name of a model on the hub"
        raise DMTError("base_model", f"{model} is a placeholder for a model of your own", fix)
    if is_local(model) and not Path(model).exists():
        fix = "correct the path, or name a model on the hub"
        raise DMTError("base_model", f"no folder {model}", fix)
    if Path(model).is_file():
        fix = "name the folder that holds it, or a model on the hub"
        raise DMTError("base_model", f"{model} is a file", fix)
    has_own_config = any(cfg.get(key) for key in ("base_model_config", "model_config"))
    if Path(model).is_dir() and not has_own_config and not _has_config(Path(model)):
        fix = "name the folder that holds the model, or a model on the hub"
        raise DMTError("base_model", f"the folder {model} has no config.json", fix)


def _has_config(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", "params.json"))


def is_local(path: str) -> bool:
    """Return whether a path can only be local; `org/name` may be a name on the hub."""
    return path.startswith(("/", ".", "~")) or ("://" not in path and path.count("/") > 1)


def check_val_rows(config: DMTConfig, domains: Sequence[str]) -> None:
    """Check that every domain in `dmt.val_rows` has a dataset.

    Raises:
        DMTError: some have none; the error lists all of them.
    """
    by_domain = config.val_rows if isinstance(config.val_rows, Mapping) else {}
    problems = []
    for name in by_domain:
        if name not in domains:
            fix = name_advice(name, domains, "domains")
            problems.append(DMTError(f"dmt.val_rows.{name}", "no dataset has this domain", fix))
    if problems:
        raise DMTErrors(problems)


def check_val_set_size(cfg: Mapping[str, Any], config: DMTConfig | None) -> None:
    """Check `val_set_size`.

    Args:
        cfg: the raw configuration.
        config: the `dmt:` block; None where it could not be read.

    Raises:
        DMTError: it is not a valid size, or `dmt.val_rows` is set beside it.
    """
    if val_set_size(cfg) and config is not None and config.val_rows:
        problem = "cannot be combined with dmt.val_rows: both say which rows are held out"
        raise DMTError("val_set_size", problem, "remove one of the two")


def check_output_dir(cfg: Mapping[str, Any], *, keep: bool = True) -> None:
    """Create the output folder, to check that it can be created.

    Args:
        cfg: the raw configuration.
        keep: False removes the folders that were created.

    Raises:
        DMTError: the folder cannot be created.
    """
    folder = RunFolder.of_config(cfg).output_dir
    if unexpanded := UNEXPANDED.search(str(folder)):
        problem = f"{folder}: Axolotl takes {unexpanded[0]!r} for the name of a folder"
        raise DMTError("output_dir", problem, "write the path in full")
    created = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in created if not keep else ():
            part.rmdir()
    except OSError as error:
        problem = f"{folder} cannot be created ({error.strerror})"
        raise DMTError("output_dir", problem, "name a folder that you may write to") from None


def refuse_unsupported(cfg: Mapping[str, Any]) -> None:
    """Check that the YAML sets no key of Axolotl that is not supported with `dmt:`.

    Raises:
        DMTError: it sets some, or an adapter would lack new tokens; the error lists all of them.
    """
    problems = [
        DMTError(key, "is not supported with dmt", advice)
        for key, advice in UNSUPPORTED.items()
        if cfg.get(key)
    ]
    problems += [*_weights(cfg), *_new_tokens(cfg)]
    if problems:
        raise DMTErrors(problems)


def _weights(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    entries = cfg.get("datasets")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        weight = entry.get("weight") if isinstance(entry, Mapping) else None
        if weight not in (None, 1):
            problem = (
                f"{weight} is not supported with dmt: rows would be dropped or repeated before the "
                "plan is made, so k and all other amounts would count what is left"
            )
            fix = "remove it, and write the amount of the domain in mix"
            yield DMTError(f"datasets[{index}].weight", problem, fix)


def _new_tokens(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield a mistake if an adapter would lack new tokens, for which Axolotl raises an error."""
    if cfg.get("adapter") and cfg.get("tokens") and not cfg.get("lora_modules_to_save"):
        problem = "is missing: the embeddings of the new tokens would not be saved"
        fix = "write [embed_tokens, lm_head], or the names that the base model has for them"
        yield DMTError("lora_modules_to_save", problem, fix)
