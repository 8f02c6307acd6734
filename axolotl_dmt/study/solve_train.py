"""`axolotl dmt solve --train`: trains the solved stage from the weights of the probes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from axolotl_dmt.config.args import DMTConfig, read_config
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.console import echo
from axolotl_dmt.files import write_text
from axolotl_dmt.report.promises import judge
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.gate import verdict_of
from axolotl_dmt.results.results import Results
from axolotl_dmt.study.earlier_results import add_earlier
from axolotl_dmt.study.folder import open_study
from axolotl_dmt.study.runner import train_command
from axolotl_dmt.study.solvable import Probe, Solvable

_START: Final = ("base_model", "lora_model_dir", "tokenizer_config", "dataset_prepared_path")
"""Keys that make a run start from the weights of another and use the same prepared rows."""


def train_solved(
    path: Path,
    solvable: Solvable,
    probes: Sequence[Probe],
    evaluate: Mapping[str, Any] | None,
    launcher_args: str,
) -> None:
    """Train the last stage of a solved YAML, with the YAML's own `output_dir`.

    The results then hold those of the stages before it as well, as if one run had trained them all.

    Args:
        path: the solved YAML.
        solvable: the stage that was solved.
        probes: the probes, which share the stages before it.
        evaluate: the `dmt.evaluate` block of the probes, or None.
        launcher_args: arguments that are added to `axolotl train`.

    Raises:
        SystemExit: the training failed, or a floor or the gate does not hold.
    """
    raw = YamlFile.read(path).data
    cells = solvable.cells(probes, evaluate)
    folder = open_study(solvable.root, cells, retrain_changed=True)
    probe = cells[0].run
    start = {name: value for name, value in folder.config(probe).items() if name in _START}
    # The gate needs the results of the earlier stages, which are added below.
    block = {key: value for key, value in raw["dmt"].items() if key != "gate"}
    block["start_stage"] = solvable.name
    earlier = [folder.of(run) for run in probe.chain()[:-1]]
    if block.get("evaluate") is not None:
        before = _scores_stage_before(read_config(block), load_results(earlier[-1]))
        block["evaluate"] = {**block["evaluate"], "before": before}
    run_folder = RunFolder.of_config(raw)
    config = {**raw, **start, "output_dir": str(run_folder.output_dir), "dmt": block}
    file = solvable.root / "solved_stage.yaml"
    write_text(file, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    arguments = train_command(file, launcher_args)[1:]
    command = [sys.executable, "-m", "axolotl.cli.main", *arguments]
    if code := subprocess.run(command, check=False).returncode:
        raise SystemExit(code)
    add_earlier(run_folder, earlier)
    checked = read_config(raw["dmt"])
    outcomes = judge(run_folder.output_dir, checked.gate, checked.solved)
    for outcome in outcomes:
        echo(f"axolotl-dmt: gate: {outcome}")
    if status := int(verdict_of(outcomes)):
        raise SystemExit(status)


def _scores_stage_before(config: DMTConfig, earlier: Results) -> bool:
    """Whether the model after the stages before is scored now: each stage is, and it was not."""
    evaluate = config.evaluate
    scores_each_stage = evaluate is not None and evaluate.when not in ("end", "never")
    return scores_each_stage and not earlier.stages[-1].scores
