"""`axolotl dmt evaluate`: score the saved stages of a run, or any models side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from axolotl_dmt.cli.report import load_requested_hooks, write_and_print
from axolotl_dmt.config.args import EvaluateConfig, read_config
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError
from axolotl_dmt.evaluation.saved import score_saved_stage
from axolotl_dmt.evaluation.scores import Evaluation, with_scores
from axolotl_dmt.hooks.loading import load_hooks
from axolotl_dmt.results.config_file import load_config, save_config
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.items import Point, record_items
from axolotl_dmt.results.results import EVALUATE, Results
from axolotl_dmt.results.secrets import masked, without_masked


def evaluate(
    models: Sequence[str],
    *,
    config: Path | None,
    tasks: str | None,
    limit: float | None,
    data: Sequence[str],
    to: Path | None,
    again: bool,
    hooks: Sequence[str],
) -> bool:
    """Score the stages of a run if only its folder is given, else models side by side.

    Args:
        models: what the command line names; see `AnyModel.of`.
        config: a YAML with `dmt.evaluate`, or None.
        tasks: names of tasks, separated by commas, or None.
        limit: items per task, or None.
        data: `ability=file` for each ability with items of its own.
        to: the folder to write the results to, or None.
        again: also score the stages of a run that already have scores.
        hooks: the hooks to load, named as in `dmt.hooks`.

    Returns:
        Whether every model was scored.

    Raises:
        DMTError: an argument is wrong, a hook cannot be loaded, or a stage cannot be scored.
    """
    chosen = bool(tasks or limit or data or to)
    if len(models) == 1 and not chosen and RunFolder(Path(models[0])).results.is_file():
        evaluate_run(Path(models[0]), config=config, again=again, hooks=hooks)
        return True
    if again:
        raise DMTError("--again", "is for the stages of one run", "remove it")
    from axolotl_dmt.cli.evaluate_models import evaluate_models

    block = config_of(config) if config else EvaluateConfig()
    block = with_options(block, tasks=tasks, limit=limit, data=data)
    load_hooks(hooks)
    return evaluate_models(models, block, to=to)


def with_options(
    block: EvaluateConfig, *, tasks: str | None, limit: float | None, data: Sequence[str]
) -> EvaluateConfig:
    """Return a block with the values of the command line in place of its own.

    Raises:
        DMTError: a value is wrong.
    """
    values: dict[str, Any] = block.model_dump(exclude_unset=True)
    if tasks:
        values["tasks"] = [name.strip() for name in tasks.split(",") if name.strip()]
    if limit:
        values["limit"] = limit
    for entry in data:
        ability, _, path = entry.partition("=")
        if not path:
            raise DMTError("--data", f"{entry!r} has no =", "write math=gsm8k_test.jsonl")
        values["data"] = {**(values.get("data") or {}), ability: path}
    config = read_config({"strategy": "dmt", "evaluate": values}).evaluate
    assert config is not None
    return config


def evaluate_run(
    output_dir: Path, *, config: Path | None, again: bool, hooks: Sequence[str]
) -> None:
    """Score the stages of a run, write its report and print its table.

    Args:
        output_dir: the run's output folder.
        config: a YAML whose `dmt.evaluate` is used in place of the run's own, or None.
        again: also score the stages that already have scores.
        hooks: the hooks to load, named as in `dmt.hooks`.

    Raises:
        DMTError: the folder holds no run, a hook cannot be loaded, or a stage cannot be scored.
    """
    load_requested_hooks(hooks, load_results(output_dir))
    for stage, outcome in score_stages(output_dir, config_file=config, again=again):
        echo(f"{stage}: {outcome}")
    write_and_print(output_dir, load_results(output_dir))


def score_stages(
    output_dir: Path, *, config_file: Path | None, again: bool
) -> Iterator[tuple[str, str]]:
    """Score the stages of a run, and save the results after each stage.

    If `config_file` is given and all stages are scored by it, its `evaluate` block replaces the
    run's own in the folder, because recipes and comparisons read it there.

    Args:
        output_dir: the run's output folder.
        config_file: a YAML whose `dmt.evaluate` is used in place of the run's own, or None.
        again: also score the stages that already have scores.

    Yields:
        The name of each stage, and its scores or why it has no new ones.

    Raises:
        DMTError: the folder holds no run, no settings to score by, or no model of a stage.
    """
    run, results = RunFolder(output_dir), load_results(output_dir)
    config = evaluate_config(results, config_file)
    all_scored = True
    for index, stage in enumerate(results.stages):
        if stage.scores and not again:
            all_scored = False
            yield stage.name, "has scores already"
            continue
        model = run.model_of(index, stage)
        if not model.is_dir():
            raise DMTError("OUTPUT_DIR", f"no folder {model}", "the model of the stage is needed")
        evaluation = score_saved_stage(model, config)
        all_scored = all_scored and not evaluation.error
        if evaluation.error and stage.scores:
            yield stage.name, f"kept its scores, because scoring again failed: {evaluation.error}"
            continue
        point = Point.stage(stage.name, stage.end_step)
        record_items(run.items, point, evaluation.items)
        timings = {**results.timings, f"evaluate {stage.name}": evaluation.seconds}
        results = replace(results.with_stage(with_scores(stage, evaluation)), timings=timings)
        results.save(run.results)
        yield stage.name, evaluation.error or _in_one_line(evaluation)
    if config_file is not None and all_scored:
        _record_evaluate_settings(run, results, config)


def evaluate_config(results: Results, config_file: Path | None) -> EvaluateConfig:
    """Return the settings to score by: those of a YAML or, without one, those of the run.

    Args:
        results: the run's results.
        config_file: a YAML with `dmt.evaluate`, or None.

    Raises:
        DMTError: the YAML, or the run, has no such settings.
    """
    if config_file is not None:
        return config_of(config_file)
    recorded = results.extra.get(EVALUATE)
    if recorded is None:
        raise DMTError(
            "dmt.evaluate",
            "the YAML of the run had none",
            "give --config with an evaluate block",
        )
    # Runs of versions that recorded no prompt were asked in `plain`.
    return EvaluateConfig.model_validate({"prompt": "plain", **without_masked(recorded)})


def config_of(file: Path) -> EvaluateConfig:
    """Return the `dmt.evaluate` block of a YAML.

    Raises:
        DMTError: the YAML has none, or its `dmt:` block has a mistake.
    """
    config = read_config(YamlFile.read(file).data.get("dmt"))
    if config.evaluate is None:
        raise DMTError("dmt.evaluate", f"{file} has none", "add evaluate: {tasks: [...]}")
    return config.evaluate


def _in_one_line(evaluation: Evaluation) -> str:
    return ", ".join(f"{name} {score.value:.3f}" for name, score in evaluation.scores.items())


def _record_evaluate_settings(run: RunFolder, results: Results, config: EvaluateConfig) -> None:
    """Replace the settings for scoring in the run's YAML and in its results."""
    if run.config.is_file():
        raw, block = load_config(run.output_dir), config.model_dump(exclude_unset=True)
        raw = raw | {"dmt": raw["dmt"] | {EVALUATE: block}}
        save_config(masked(raw), run.output_dir)
    extra = {**results.extra, EVALUATE: config.model_dump(exclude_none=True)}
    replace(results, extra=extra).save(run.results)
