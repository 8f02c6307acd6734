"""Collects what `plan_inputs` keeps of a run whose rows Axolotl has loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from axolotl.loaders import load_tokenizer

from axolotl_dmt.checks.contamination import nothing_searched
from axolotl_dmt.checks.prompts import RunPrompts, prompt_lines, prompt_warnings
from axolotl_dmt.training.asking import run_prompts
from axolotl_dmt.training.load_dataset import config_of_one_dataset
from axolotl_dmt.training.log import LOG
from axolotl_dmt.training.packing import packing_settings
from axolotl_dmt.training.plan_inputs import PlanInputs, save
from axolotl_dmt.training.pool import RowPool
from axolotl_dmt.training.prepared_data import prepared_folder
from axolotl_dmt.training.run import Run


def keep_inputs(run: Run, cfg: Any, pool: RowPool, prompts: RunPrompts | None) -> None:
    """Keep the inputs of a run's plan, after `axolotl preprocess` or before the training.

    Args:
        run: the checked run.
        cfg: Axolotl's validated configuration.
        pool: the rows, searched for evaluation items.
        prompts: the formats that the run is trained and asked in; None where nothing is asked.
    """
    if prompts is None and not cfg.is_preprocess:
        return
    try:
        inputs = inputs_of(run, cfg, pool, prompts or run_prompts(run, cfg))
        save(run.raw, inputs, run.schedule.stages, prepared_folders(cfg))
    except Exception as error:  # only `plan` is slower without them
        LOG.debug("the inputs of the plan are not kept: %s", error)


def inputs_of(run: Run, cfg: Any, pool: RowPool, prompts: RunPrompts) -> PlanInputs:
    """Return what the plan of a run and its display need beyond the schedule.

    Args:
        run: the checked run.
        cfg: Axolotl's validated configuration.
        pool: the rows, searched for evaluation items.
        prompts: the formats that the run is trained and asked in.
    """
    evaluate, search = run.schedule.config.evaluate, pool.contamination
    return PlanInputs(
        domains=pool.domains,
        global_batch=cfg.batch_size,
        packing=packing_settings(cfg) if cfg.sample_packing else None,
        notes=run.notes(cfg, pool),
        searched=list(search.warnings()) if search else [],
        summary=search.summary() if search else _nothing_searched(run),
        prompt_warnings=list(dict.fromkeys(prompt_warnings(prompts, evaluate))),
        prompt_lines=list(prompt_lines(prompts, evaluate)),
    )


def _nothing_searched(run: Run) -> str | None:
    config = run.schedule.config
    return nothing_searched(config.evaluate) if config.evaluate and config.evaluates else None


def prepared_folders(cfg: Any) -> list[Path]:
    """Return the folders in which Axolotl keeps the prepared rows of a configuration.

    Args:
        cfg: Axolotl's validated configuration.
    """
    name = load_tokenizer(cfg).name_or_path
    folders = []
    for entry in cfg.datasets:
        single = config_of_one_dataset(cfg, entry)
        folders.append(prepared_folder(single, single.datasets, name))
    for entry in cfg.test_datasets or ():
        single = config_of_one_dataset(cfg, cfg.datasets[0])
        single.test_datasets = [entry]
        folders.append(prepared_folder(single, single.test_datasets, name))
    return folders
