"""Performs a run of a study that merges the models of two stages and scores the merged model.

`python -m axolotl_dmt.study.merge_run CONFIG` reads the `config.yaml` that the study wrote, and
writes the same files as a training of one stage.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.run_keys import holds_out_rows
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.errors import one_clear_error
from axolotl_dmt.evaluation.saved import score_saved_stage
from axolotl_dmt.evaluation.scores import with_scores
from axolotl_dmt.hooks.loading import load_hooks
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.report.write import write_report
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.held_out import with_held_out_losses
from axolotl_dmt.results.results import EVALUATE, Results, StageResult
from axolotl_dmt.scoring.prompts import TrainedPrompts
from axolotl_dmt.study.folder import FINISHED
from axolotl_dmt.training.held_out_losses import losses_of_base_model
from axolotl_dmt.training.merge import merge_stages


def merge_and_score(config_file: Path) -> None:
    """Merge two stages, score the model like the other runs of the study, and write the results.

    Args:
        config_file: the YAML of the run that trained the models, with `merge: {method, weight,
            models}`, and with the folder of the merged model as its `base_model`.

    Raises:
        DMTError: the models cannot be merged, or the YAML has a mistake.
    """
    started = time.monotonic()
    raw = YamlFile.read(config_file).data
    merge = raw.pop("merge")
    config = read_config(raw["dmt"])
    folder = RunFolder.of_config(raw)
    model = folder.stage(0, "merge")
    if not model.exists():
        model.parent.mkdir(parents=True, exist_ok=True)
        run = Path(merge["models"][-1]).parents[1]
        merge_stages(run, merge["models"], method=merge["method"], weight=merge["weight"], to=model)
        if prompts := TrainedPrompts.beside(*reversed(merge["models"])):
            prompts.save(model)
    stage, extra = StageResult(name="merge", end_step=0), {}
    if config.evaluate is not None and config.evaluates:
        load_hooks(config.hooks or ())
        stage = with_scores(stage, score_saved_stage(model, config.evaluate))
        extra = {EVALUATE: config.evaluate.model_dump(exclude_none=True)}
    if holds_out_rows(raw, config.val_rows):
        stage = with_held_out_losses(stage, losses_of_base_model(raw))
    results = Results(
        plan_fingerprint="merge",
        stages=(stage,),
        timings={FINISHED: time.monotonic() - started},
        settings={"merge": merge},
        extra=extra,
    )
    results.save(folder.results)
    write_report(ReportView.of(results, folder.output_dir), folder.dmt)


if __name__ == "__main__":
    with one_clear_error():
        merge_and_score(Path(sys.argv[1]))
