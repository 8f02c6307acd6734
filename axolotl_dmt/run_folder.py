"""What can be done with the folder that a run left: score its stages, write its report anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from axolotl_dmt.args import EvaluateConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.kept_config import CONFIG_FILE, load_config, save_config, without_secrets
from axolotl_dmt.model_card import update_card
from axolotl_dmt.results import EVALUATE, RESULTS_FILE, Results
from axolotl_dmt.scored import with_scores


def load_results(output_dir: Path) -> Results:
    """The results of a run.

    Raises:
        DMTError: the folder holds none.
    """
    path = output_dir / "dmt" / RESULTS_FILE
    if not path.is_file():
        if (output_dir / "dmt" / CONFIG_FILE).is_file():
            problem = f"no stage of the run in {output_dir} has ended yet"
            fix = "wait for it, or train it anew"
            if earlier := sorted(output_dir.glob("_earlier-*")):
                fix += f"; an earlier run is kept in {earlier[-1]}"
            raise DMTError("OUTPUT_DIR", problem, fix)
        raise DMTError("OUTPUT_DIR", f"no file {path}", "name the output_dir of a dmt run")
    return Results.load(path)


def stage_folder(output_dir: Path, index: int, name: str) -> Path:
    """Where the model of a stage lies; the first has index 0."""
    return output_dir / "stages" / f"{index + 1:02d}-{name}"


def evaluate_config(results: Results, config_file: Path | None) -> EvaluateConfig:
    """How to score: as a YAML says, or else as the run was told.

    Raises:
        DMTError: neither says so.
    """
    if config_file is not None:
        from axolotl_dmt.args import read_config
        from axolotl_dmt.yaml_file import YamlFile

        config = read_config(YamlFile.read(config_file).data.get("dmt"))
        if config.evaluate is not None:
            return config.evaluate
        raise DMTError("dmt.evaluate", f"{config_file} has none", "add evaluate: {tasks: [...]}")
    kept = results.extra.get(EVALUATE)
    if kept is None:
        raise DMTError(
            "dmt.evaluate",
            "the run was not told how to score",
            "give --config with an evaluate block",
        )
    return EvaluateConfig.model_validate(kept)


def score_stages(
    output_dir: Path, *, config_file: Path | None, again: bool
) -> Iterator[tuple[str, str]]:
    """Score the stages of a run that have no scores, or all of them; writes after each.

    Args:
        output_dir: of the run.
        config_file: a YAML whose `dmt.evaluate` to score by, in place of the run's own.
        again: score the stages that have scores too.

    Yields:
        A stage's name and what became of it.

    Raises:
        DMTError: no run there, no way to score it, or a stage's folder is gone.

    Where `config_file` scored all stages, the folder then holds its `evaluate` block in place of
    the run's own, for a recipe and for comparisons.
    """
    from axolotl_dmt.report import write_report
    from axolotl_dmt.saved_stage import score_saved_stage

    results = load_results(output_dir)
    config = evaluate_config(results, config_file)
    as_told = True
    for index, stage in enumerate(results.stages):
        if stage.scores and not again:
            as_told = False
            yield stage.name, "has scores already"
            continue
        folder = stage_folder(output_dir, index, stage.name)
        if not folder.is_dir():
            raise DMTError("OUTPUT_DIR", f"no folder {folder}", "the stage's model is needed")
        scored = score_saved_stage(folder, config)
        if scored.error and stage.scores:
            as_told = False
            yield stage.name, f"kept its scores, scoring again failed: {scored.error}"
            continue
        as_told = as_told and not scored.error
        timings = {**results.timings, f"evaluate {stage.name}": scored.seconds}
        results = replace(results.with_stage(with_scores(stage, scored)), timings=timings)
        results.save(output_dir / "dmt" / RESULTS_FILE)
        values = ", ".join(f"{name} {score.value:.3f}" for name, score in scored.scores.items())
        yield stage.name, scored.error or values
    if config_file is not None and as_told:
        results = _told(output_dir, results, config)
    write_report(results, output_dir / "dmt")
    update_card(output_dir, results)


def _told(output_dir: Path, results: Results, evaluate: EvaluateConfig) -> Results:
    """The results, and the run's YAML, as if the run had been told to score like this."""
    folder = output_dir / "dmt"
    if (folder / CONFIG_FILE).is_file():
        raw, block = load_config(output_dir), evaluate.model_dump(exclude_unset=True)
        save_config(without_secrets(raw | {"dmt": raw["dmt"] | {EVALUATE: block}}), folder)
    extra = {**results.extra, EVALUATE: evaluate.model_dump(exclude_none=True)}
    results = replace(results, extra=extra)
    results.save(folder / RESULTS_FILE)
    return results
