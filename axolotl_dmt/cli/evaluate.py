"""`axolotl dmt evaluate`: score the saved stages of a run and write its report again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.evaluation.scores import Evaluation, with_scores
from axolotl_dmt.report.model_card import update_card
from axolotl_dmt.results.config_file import load_config, save_config
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.results import EVALUATE, Results
from axolotl_dmt.results.secrets import without_secrets


def evaluate_config(results: Results, config_file: Path | None) -> EvaluateConfig:
    """Return the settings to score by: those of a YAML, or else those of the run.

    Args:
        results: of the run.
        config_file: a YAML with `dmt.evaluate`, or None.

    Raises:
        DMTError: the YAML, or the run, has no such settings.
    """
    if config_file is not None:
        from axolotl_dmt.config.args import read_config
        from axolotl_dmt.config.yaml_file import YamlFile

        config = read_config(YamlFile.read(config_file).data.get("dmt"))
        if config.evaluate is not None:
            return config.evaluate
        raise DMTError("dmt.evaluate", f"{config_file} has none", "add evaluate: {tasks: [...]}")
    recorded = results.extra.get(EVALUATE)
    if recorded is None:
        raise DMTError(
            "dmt.evaluate",
            "the YAML of the run had none",
            "give --config with an evaluate block",
        )
    return EvaluateConfig.model_validate(recorded)


def score_stages(
    output_dir: Path, *, config_file: Path | None, again: bool
) -> Iterator[tuple[str, str]]:
    """Score the stages of a run, write the results after each stage, and the report at the end.

    Where all stages are scored by `config_file`, its `evaluate` block replaces the run's own in the
    folder, because recipes and comparisons read it there.

    Args:
        output_dir: the `output_dir` of the run.
        config_file: a YAML whose `dmt.evaluate` is used in place of the run's own, or None.
        again: also score the stages that have scores already.

    Yields:
        The name of each stage, and its scores or why it has no new ones.

    Raises:
        DMTError: the folder holds no run, no settings to score by, or no model of a stage.
    """
    from axolotl_dmt.evaluation.saved import score_saved_stage
    from axolotl_dmt.report.write import write_report

    run, results = RunFolder(output_dir), load_results(output_dir)
    config = evaluate_config(results, config_file)
    all_scored = True
    for index, stage in enumerate(results.stages):
        if stage.scores and not again:
            all_scored = False
            yield stage.name, "has scores already"
            continue
        model = run.stage(index, stage.name)
        if not model.is_dir():
            raise DMTError("OUTPUT_DIR", f"no folder {model}", "the model of the stage is needed")
        scored = score_saved_stage(model, config)
        all_scored = all_scored and not scored.error
        if scored.error and stage.scores:
            yield stage.name, f"kept its scores, because scoring again failed: {scored.error}"
            continue
        timings = {**results.timings, f"evaluate {stage.name}": scored.seconds}
        results = replace(results.with_stage(with_scores(stage, scored)), timings=timings)
        results.save(run.results)
        yield stage.name, scored.error or _in_one_line(scored)
    if config_file is not None and all_scored:
        results = _record_evaluate_settings(run, results, config)
    write_report(results, run.dmt)
    update_card(output_dir, results)


def _in_one_line(scored: Evaluation) -> str:
    return ", ".join(f"{name} {score.value:.3f}" for name, score in scored.scores.items())


def _record_evaluate_settings(run: RunFolder, results: Results, config: EvaluateConfig) -> Results:
    """Replace the settings for scoring in the run's YAML and results; return the new results."""
    if run.config.is_file():
        raw, block = load_config(run.output_dir), config.model_dump(exclude_unset=True)
        raw = raw | {"dmt": raw["dmt"] | {EVALUATE: block}}
        save_config(without_secrets(raw), run.output_dir)
    extra = {**results.extra, EVALUATE: config.model_dump(exclude_none=True)}
    results = replace(results, extra=extra)
    results.save(run.results)
    return results
