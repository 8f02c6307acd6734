"""A study expands into cells that share runs, and its folder never mixes two studies' results."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from axolotl_dmt.analysis.treatments import group
from axolotl_dmt.cli.main import dmt
from axolotl_dmt.config.args import read_config
from axolotl_dmt.errors import DMTError
from axolotl_dmt.study.cell_results import read_cell_results, read_missing
from axolotl_dmt.study.cells import Cell, runs_of
from axolotl_dmt.study.config import read_study
from axolotl_dmt.study.folder import (
    locked,
    open_study,
)
from axolotl_dmt.study.runner import emit, emit_slurm
from tests.mistakes import assert_mistake, expect_error
from tests.study.made_up import BASE, cells_of, finish, opened, with_weights

TINY = Path(__file__).parents[2] / "yaml_templates/studies/tiny"


def mixes(cell: Cell) -> list[dict[str, Any]]:
    return [stage["mix"] for stage in cell.run.config["dmt"]["stages"]]


def test_a_sweep_of_k_trains_stage_1_once_for_each_seed(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, seeds=[1, 2], strategy="dmt", k=[0, "1/256", 0.25, 1])
    assert [cell.plain_settings()["k"] for cell in cells[:4]] == ["0", "1/256", "1/4", "1"]
    assert len(cells) == 8
    runs = runs_of(cells)
    assert [run.stages for run in runs[:5]] == [("specialise",)] + 4 * [("generalise",)]
    assert len(runs) == 10
    first = runs[0]
    assert all(run.parent is first for run in runs[1:5])
    assert [mixes(cell)[1] for cell in cells[:3]] == [
        {"general": "all"},
        {"general": "all", "math": "1/256", "code": "1/256"},
        {"general": "all", "math": "1/4", "code": "1/4"},
    ]


def test_stage_1_is_shared_whatever_is_replayed_after_it(tmp_path: Path) -> None:
    losses = {"dmt.replay.losses": "losses-{seed}.parquet"}
    selects = ["random", "hardest"]
    cells = cells_of(tmp_path, set={**losses, "dmt.replay.select": selects}, k="1/4")
    assert len(runs_of(cells)) == 3
    replays = [cell.run.config["dmt"]["replay"] for cell in cells]
    assert replays == [{"losses": "losses-1.parquet", "select": select} for select in selects]
    assert "replay" not in cells[0].run.chain()[0].config["dmt"]


def test_a_base_with_k_auto_needs_a_k(tmp_path: Path) -> None:
    base = {**BASE, "dmt": {**BASE["dmt"], "k": "auto"}}
    assert len(cells_of(tmp_path, base, k=["1/4", "1/2"])) == 2
    with expect_error("study.k", "auto"):
        cells_of(tmp_path, base)


def test_schedules_that_begin_alike_share_their_runs(tmp_path: Path) -> None:
    cells = cells_of(
        tmp_path,
        cells=[
            {"strategy": "single", "domain": ["math", "code"]},
            {"strategy": ["multi_task", "sequential", "mixed_sequential"]},
            {"strategy": "dmt", "k": [0, "1/4"]},
        ],
    )
    by_name = {cell.name.removesuffix(" seed=1"): cell for cell in cells}
    assert list(by_name) == [
        "single math",
        "single code",
        "multi_task",
        "sequential",
        "mixed_sequential",
        "dmt k=0",
        "dmt k=1/4",
    ]
    assert by_name["dmt k=0"].run is by_name["mixed_sequential"].run
    assert by_name["sequential"].run.chain()[0] is by_name["single code"].run
    assert len(runs_of(cells)) == 8


def test_a_stage_that_keeps_the_optimisers_state_stays_in_its_run(tmp_path: Path) -> None:
    base = {**BASE, "dmt": {**BASE["dmt"], "reset_optimizer": False}}
    (run,) = runs_of(cells_of(tmp_path, base))
    assert run.stages == ("specialise", "generalise")
    assert "start_stage" not in run.config["dmt"]


def test_k_is_not_an_axis_of_a_strategy_that_ignores_it(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, strategy=["multi_task", "dmt"], k=["1/4", "1/2"])
    assert [cell.name for cell in cells] == [
        "multi_task seed=1",
        "dmt k=1/4 seed=1",
        "dmt k=1/2 seed=1",
    ]
    assert "k" not in cells[0].settings


def test_amounts_reduce_every_domain_and_its_replay(tmp_path: Path) -> None:
    (cell,) = cells_of(
        tmp_path, amount="1/4", amounts={"general": "1/64", "specialised": "1/2"}, k="1/8"
    )
    assert mixes(cell) == [
        {"math": "1/2", "code": "1/2"},
        {"general": "1/64", "math": "1/16", "code": "1/16"},
    ]
    (cell,) = cells_of(tmp_path, strategy="multi_task", amount=0.25)
    assert mixes(cell) == [{"math": "1/4", "code": "1/4", "general": "1/4"}]


def test_an_amount_of_rows_cannot_be_reduced(tmp_path: Path) -> None:
    stages = [{"name": "one", "mix": {"math": {"rows": 10}}}]
    base = {**BASE, "dmt": {"stages": stages}}
    assert mixes(*cells_of(tmp_path, base)) == [{"math": {"rows": 10}}]
    with expect_error("study.amount", "math", "10 rows"):
        cells_of(tmp_path, base, amount="1/4")


def test_the_seed_is_axolotls_and_the_plans_and_stands_in_paths(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, seeds=[3, 4], strategy="multi_task")
    for cell, seed in zip(cells, (3, 4), strict=True):
        config = cell.run.config
        assert config["seed"] == config["dmt"]["seed"] == seed
        # The rows are cached under the tokenizer's name, which must not be a parent's folder.
        assert config["base_model"] == config["tokenizer_config"] == f"models/{seed}"


def test_any_key_may_be_an_axis_and_variants_are_named_sets_of_keys(tmp_path: Path) -> None:
    cells = cells_of(
        tmp_path,
        strategy="multi_task",
        set={"learning_rate": [1e-3, 2e-3], "dmt.order": "round_robin"},
        variant=["plain", "other"],
        variants={"plain": {}, "other": {"datasets.2.path": "other.jsonl"}},
    )
    assert [cell.name for cell in cells] == [
        f"multi_task variant={variant} learning_rate={rate} seed=1"
        for variant in ("plain", "other")
        for rate in ("0.001", "0.002")
    ]
    last = cells[-1].run.config
    assert last["learning_rate"] == 2e-3
    assert last["dmt"]["order"] == "round_robin"
    assert [cell.run.config["datasets"][2]["path"] for cell in cells[1:3]] == [
        "chat.jsonl",
        "other.jsonl",
    ]
    assert BASE["datasets"][2]["path"] == "chat.jsonl"


def test_every_runs_block_is_accepted(tmp_path: Path) -> None:
    base = {**BASE, "dmt": {**BASE["dmt"], "overrides": {"generalise": {"epochs": 2}}}}
    cells = cells_of(tmp_path, base, strategy=["dmt", "sequential"])
    for run in runs_of(cells):
        read_config(run.config["dmt"])
    assert cells[0].run.config["dmt"]["stages"][1]["epochs"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strateg": "dmt"}, "study.strateg: unknown key; did you mean strategy?"),
        ({"seeds": []}, "study.seeds"),
        ({"k": "1/x"}, "study.k"),
        ({"k": 3}, "study.k"),
        ({"strategy": "dmtt"}, "study.strategy: 'dmtt' is unknown; known: "),
        ({"strategy": "single", "domain": "maths"}, "no dataset has the domain 'maths'"),
        ({"amounts": {"maths": 1}}, "study.amounts.maths: no dataset has this domain"),
        ({"variant": "other"}, "study.variant: 'other' is unknown"),
        ({"set": {"datasets.9.path": "x"}}, "study.set.datasets.9.path: has no entry '9'"),
        ({"set": {"learning_rate.x": 1}}, "study.set.learning_rate.x"),
        ({"base": "nowhere.yaml"}, "study.base: nowhere.yaml cannot be read"),
        ({"base": {"datasets": []}}, "study.base: has no dmt block"),
        ({"base": 3}, "study.base: 3 is not accepted"),
        ({"base": "."}, "study.base: . cannot be read (Is a directory)"),
        ({"k": []}, "study: has no cells"),
        ({"k": ["1/8", "x"]}, "study.k[1]: 'x' is not a fraction"),
        ({"set": {"dmt": 3}}, "study.set.dmt: 3 "),
        ({"base": {**BASE, "dmt": {"strateg": "dmt"}}, "k": 1}, "dmt.strateg: unknown key"),
        ({"base": {**BASE, "dmt": {3: "dmt"}}, "k": 1}, "dmt"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DMTError) as caught:
        cells_of(tmp_path, **change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "study.yaml: holds no keys; write lines of the form key: value"),
        (b"- a", "study.yaml: holds no keys"),
        (b"a: [1\nb: 2", "study.yaml:2: is not YAML: expected ',' or ']'"),
        (b"\xff\xfe\x00", "study.yaml: cannot be read (not UTF-8)"),
        (b"a: 2020-99-99", "study.yaml: is not YAML: month must be in 1..12"),
        (b"a: {[1]: 2}", "study.yaml:1: is not YAML: found unhashable key"),
    ],
)
def test_a_file_that_is_not_a_study_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_bytes(text)
    done = CliRunner().invoke(dmt, ["study", "study.yaml", "--dry-run"])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert done.output.startswith(f"axolotl-dmt: {message}")


def test_the_yaml_of_a_training_is_refused_as_a_study(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(BASE))
    with pytest.raises(DMTError) as caught:
        read_study(path)
    assert_mistake(str(caught.value), "STUDY", path)


def test_a_dry_run_shows_the_cells_before_there_is_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    block = {**BASE["dmt"], "evaluate": {"tasks": ["dmt_suite"], "data": {"math": "none.jsonl"}}}
    study = {"base": {**BASE, "dmt": block}, "output_dir": "out", "seeds": [1], "k": [0, "1/8"]}
    Path("study.yaml").write_text(yaml.safe_dump(study))
    done = CliRunner().invoke(dmt, ["study", "study.yaml", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "cells: 2, seeds: 1, runs: 3, done: 0" in done.output
    assert "dmt.evaluate.data.math: no file none.jsonl" in done.output


def test_a_dry_run_names_the_command_that_makes_missing_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(dmt, ["study", str(TINY / "rq4_strategies.yaml"), "--dry-run"])
    assert done.exit_code == 0, done.output
    *_, heading, first, second, third = done.output.splitlines()
    assert "Make it first" in heading
    assert "no file" not in done.output and "no folder" not in done.output
    for seed, line in enumerate((first, second, third), 1):
        command = line.split()
        assert command[:4] == ["python", "-m", "axolotl_dmt.toy", f"outputs/studies/data-{seed}"]
        assert command[4:6] == ["--seed", str(seed)]
    recipe = (TINY.parents[2] / "Makefile").read_text()
    assert "STUDY_ROWS := " + " ".join(command[6:]) in recipe


def test_a_child_starts_from_its_parents_last_stage(tmp_path: Path) -> None:
    cells = cells_of(tmp_path)
    folder = opened(tmp_path, cells)
    child = cells[0].run
    assert child.parent is not None
    stage = folder.of(child.parent) / "stages" / "01-specialise"
    config = yaml.safe_load(folder.write(child).read_text())
    assert config["base_model"] == str(stage)
    assert config["dmt"]["start_stage"] == "generalise"
    assert config["output_dir"] == str(folder.of(child))
    lora = cells_of(tmp_path, {**BASE, "adapter": "lora"})
    config = opened(tmp_path, lora, retrain_changed=True).config(lora[0].run)
    assert config["lora_model_dir"] == str(stage)
    assert config["base_model"] == "models/1"


def test_results_hold_the_whole_schedule_of_the_cells_that_are_done(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, k=["1/4", "1/8"])
    folder = opened(tmp_path, cells)
    assert read_cell_results(tmp_path / "out") == []
    runs = runs_of(cells)
    for value, run in enumerate(runs[:2]):
        finish(folder, run, value / 10)
    folder.write(runs[2])
    folder.record(runs[2], "out of memory")
    (result,) = read_cell_results(tmp_path / "out")
    assert result.settings == {"strategy": "dmt", "k": "1/4"}
    assert (result.name, result.seed) == ("dmt k=1/4 seed=1", 1)
    assert [(stage.name, stage.scores["math"]) for stage in result.stages] == [
        ("specialise", 0.0),
        ("generalise", 0.1),
    ]
    assert result.stages[0].rows == {"math": 7}
    assert read_missing(tmp_path / "out") == {
        "dmt k=1/8 seed=1": "runs/dmt-k1_8/seed-1: out of memory"
    }


def test_a_changed_study_is_refused_or_trained_again_and_nothing_is_lost(tmp_path: Path) -> None:
    cells = cells_of(tmp_path)
    folder = opened(tmp_path, cells)
    for run in runs_of(cells):
        finish(folder, run, 0.5)
    changed = cells_of(tmp_path, {**BASE, "learning_rate": 9e-3})
    with expect_error("study.output_dir", "2 runs", "--retrain-changed"):
        opened(tmp_path, changed)
    assert len(read_cell_results(tmp_path / "out")) == 1
    again = opened(tmp_path, changed, retrain_changed=True)
    assert not any(again.is_done(run) for run in runs_of(changed))
    assert read_cell_results(tmp_path / "out") == []
    # The first study finds its runs again, under their new names.
    again = opened(tmp_path, cells)
    assert all(again.is_done(run) for run in runs_of(cells))
    assert len(read_cell_results(tmp_path / "out")) == 1


def test_more_cells_leave_the_finished_ones_unchanged(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, k="1/4")
    folder = opened(tmp_path, cells)
    for run in runs_of(cells):
        finish(folder, run, 0.5)
    more = cells_of(tmp_path, cells=[{"strategy": "sequential"}, {"k": ["1/2", "1/4"]}])
    folder = opened(tmp_path, more)
    done = [run.name for run in runs_of(more) if folder.is_done(run)]
    assert len(done) == 2
    assert len(runs_of(more)) == 6
    assert folder.last_stage(more[1].run.chain()[0]).parts[-4] == "dmt-k1_4.1-specialise"


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        expect_error("study.output_dir", tmp_path / "file", "File exists"),
        locked(tmp_path / "file"),
    ):
        pass


def test_two_studies_cannot_run_in_one_folder(tmp_path: Path) -> None:
    cells_of(tmp_path)
    with locked(tmp_path / "out/runs"):
        done = CliRunner().invoke(dmt, ["study", str(tmp_path / "study.yaml")])
    assert done.exit_code == 2
    assert "study.output_dir: " in done.output
    assert not (tmp_path / "out/study.json").exists()


def test_studies_with_one_folder_of_runs_share_what_they_have_in_common(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, k="1/4")
    folder = opened(tmp_path, cells)
    for run in runs_of(cells):
        finish(folder, run, 0.5)
    root, runs_dir = tmp_path / "other", tmp_path / "out/runs"
    others = cells_of(tmp_path, k=["1/2", "1/4"])
    other = open_study(root, others, retrain_changed=False, runs_dir=runs_dir)
    other.write_cells(others)
    assert [other.is_done(run) for run in runs_of(others)] == [True, False, True]
    assert other.of(others[0].run) == runs_dir / "dmt-k1_2/seed-1"
    assert [result.settings["k"] for result in read_cell_results(root)] == ["1/4"]


def test_a_merge_is_a_run_on_the_models_of_two_stages(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, cells=[{"merge": ["linear", "slerp"]}, {}])
    linear, slerp, plain = (cell.run for cell in cells)
    assert (linear.merge, slerp.merge, plain.merge) == ("linear", "slerp", None)
    assert linear.parent is slerp.parent is plain
    folder = opened(tmp_path, cells)
    runs = tmp_path / "out/runs"
    config = yaml.safe_load(folder.write(linear).read_text())
    assert config["merge"] == {
        "method": "linear",
        "weight": 0.5,
        "models": [str(folder.last_stage(run)) for run in plain.chain()],
    }
    assert config["dmt"]["evaluate"] == {"tasks": ["dmt_suite"]}
    assert folder.of(linear) == runs / "dmt-mergelinear/seed-1"
    lines = list(emit(folder, runs_of(cells), "--launcher python"))
    assert lines[-1] == f"python -m axolotl_dmt.study.merge_run {folder.of(slerp)}/config.yaml"
    for run in runs_of(cells):
        finish(folder, run, 0.5)
    merged = next(t for t in group(read_cell_results(tmp_path / "out")) if "merge" in t.settings)
    assert merged.stage_names == ("specialise", "generalise", "merge")
    assert merged.label == "linear merge of dmt"
    assert not merged.context


def test_a_merge_has_a_weight(tmp_path: Path) -> None:
    block = {"merge": "linear", "merge_weight": ["1/2", 0.75]}
    cells = cells_of(tmp_path, merge_weight=0.9, cells=[{"merge": "linear"}, block, {}])
    strong, equal, heavier, plain = (cell.run for cell in cells)
    assert plain.merge is None and "merge_weight" not in cells[-1].settings
    folder = opened(tmp_path, cells)
    configs = [yaml.safe_load(folder.write(run).read_text()) for run in (strong, equal, heavier)]
    assert [config["merge"]["weight"] for config in configs] == [0.9, 0.5, 0.75]
    # A study without weights has merged in equal parts.
    assert cells_of(tmp_path, merge="linear")[0].run.key == equal.key
    for run in runs_of(cells):
        finish(folder, run, 0.5)
    labels = {t.label for t in group(read_cell_results(tmp_path / "out"))}
    assert labels == {
        "linear merge with weight 0.9 of dmt",
        "linear merge of dmt",
        "linear merge with weight 0.75 of dmt",
        "dmt",
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"merge": "linear", "merge_weight": 1.0}, ("study.merge_weight: ", 1.0)),
        (
            {"cells": [{"merge": "linear", "merge_weight": [0.5, -1]}]},
            ("study.cells[0].merge_weight[1]: ", -1),
        ),
        ({"cells": [{"merge_weight": 0.5}]}, ("study.cells.merge_weight", "merge: linear")),
        ({"merge_weight": 0.5}, ("study.merge_weight", "merge: linear")),
        ({"merge": "linear", "merge_weight": "1/0"}, ("study.merge_weight: ", "1/0")),
    ],
)
def test_a_weight_that_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    with pytest.raises(DMTError) as caught:
        cells_of(tmp_path, **changes)
    message = str(caught.value)
    assert all(str(part) in message for part in expected), message


def test_the_commands_come_in_waves_without_the_finished_runs(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, strategy=["sequential", "dmt"])
    folder = opened(tmp_path, cells)
    runs = runs_of(cells)
    lines = list(emit(folder, runs, "--launcher torchrun -- --nproc_per_node 2"))
    assert [line for line in lines if line.startswith("#")] == [
        "# wave 1 of 3: 2 runs, in any order",
        "# wave 2 of 3: 2 runs, in any order",
        "# wave 3 of 3: 1 runs, in any order",
    ]
    config = folder.of(runs[0]) / "config.yaml"
    assert lines[1] == f"axolotl train {config} --launcher torchrun -- --nproc_per_node 2"
    assert config.is_file()
    finish(folder, runs[0], 0.5)
    with_weights(folder, runs[0])
    remaining = list(emit(folder, runs, ""))
    assert remaining[0] == "# wave 1 of 2: 2 runs, in any order"
    assert json.loads((folder.of(runs[1]) / "run.json").read_text())["key"] == runs[1].key


def test_the_report_covers_the_finished_cells_and_names_the_missing_ones(tmp_path: Path) -> None:
    settings = {"cells": [{"strategy": "mixed_sequential"}, {"k": ["1/4", "1/8"]}]}
    cells = cells_of(tmp_path, seeds=[1, 2], judge_k="1/4", notes="Sizes were fixed.", **settings)
    folder = opened(tmp_path, cells)
    for number, run in enumerate(runs_of(cells)[:-1]):
        finish(folder, run, number / 10)
    done = CliRunner().invoke(dmt, ["study", str(tmp_path / "study.yaml"), "--report-only"])
    assert done.exit_code == 0, done.output
    assert "dmt k=1/8 seed=2 is missing: runs/dmt-k1_8/seed-2: not trained yet" in done.output
    page = (tmp_path / "out/report/study.md").read_text(encoding="utf-8")
    assert "Sizes were fixed." in page
    assert "not trained yet" in page


def test_a_study_that_was_not_started_has_no_report(tmp_path: Path) -> None:
    with expect_error(tmp_path, "study.json"):
        read_cell_results(tmp_path)


SBATCH = """#!/bin/bash
number=$(($(wc -l < calls) + 1))
printf '%s\\t' "$@" >> calls
echo >> calls
echo "$number"
"""


def test_the_script_for_slurm_submits_each_run_after_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = cells_of(tmp_path, strategy=["sequential", "dmt"])
    folder = opened(tmp_path, cells)
    runs = runs_of(cells)
    finish(folder, runs[0], 0.5)
    with_weights(folder, runs[0])
    (tmp_path / "submit.sh").write_text("\n".join(emit_slurm(folder, runs, "", "report it")))
    (tmp_path / "sbatch").write_text(SBATCH)
    (tmp_path / "sbatch").chmod(0o755)
    (tmp_path / "calls").touch()
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "submit.sh", "--gpus", "8"], env=environment, check=True)
    calls = [line.split("\t") for line in (tmp_path / "calls").read_text().splitlines()]
    left = runs[1:]
    assert len(calls) == len(left) + 1
    number = {run.key: str(index) for index, run in enumerate(left, 1)}
    for run, call in zip(left, calls, strict=False):
        assert call[:3] == ["--parsable", "--gpus", "8"]
        assert f"axolotl train {folder.of(run) / 'config.yaml'}" in call
        after = number.get(run.parent.key) if run.parent else None
        assert (f"--dependency=afterok:{after}" in call) == (after is not None)
    numbers = ":".join(number.values())
    assert calls[-1][-3:-1] == ["--wrap", "report it"]
    assert f"--dependency=afterany:{numbers}" in calls[-1]


def test_a_name_that_moves_to_another_run_moves_no_folder(tmp_path: Path) -> None:
    """The variant `low` gets the value that `high` had, and `high` a new one."""
    variants = {"low": {"learning_rate": 1e-4}, "high": {"learning_rate": 1e-3}}
    cells = cells_of(tmp_path, variants=variants, variant=["low", "high"], strategy="multi_task")
    folder = opened(tmp_path, cells)
    low, high = (cell.run for cell in cells)
    finish(folder, high, 0.5)
    kept = folder.of(high)
    variants = {"low": {"learning_rate": 1e-3}, "high": {"learning_rate": 1e-2}}
    cells = cells_of(tmp_path, variants=variants, variant=["low", "high"], strategy="multi_task")
    folder = opened(tmp_path, cells)
    low, high = (cell.run for cell in cells)
    assert folder.of(low) == kept and folder.is_done(low)
    assert folder.of(high) != kept and not folder.is_done(high)
    finish(folder, high, 0.75)
    values = [cell.last()["math"] for cell in read_cell_results(tmp_path / "out")]
    assert values == [0.5, 0.75]
    assert opened(tmp_path, cells).of(high) == folder.of(high)


@pytest.mark.parametrize("axis", [{"k": ["1/8", 1]}, {"domain": "math"}])
def test_an_axis_that_the_stages_of_the_base_ignore_is_refused(
    tmp_path: Path, axis: dict[str, Any]
) -> None:
    base = {**BASE, "dmt": {"stages": [{"name": "one", "mix": {"math": "all", "code": "1/8"}}]}}
    with expect_error(f"study.{next(iter(axis))}", "stages", "strategy"):
        cells_of(tmp_path, base, **axis)


def test_null_is_a_value_of_a_key_of_the_base(tmp_path: Path) -> None:
    base = {**BASE, "adapter": "lora"}
    plain, lora = cells_of(tmp_path, base, strategy="multi_task", set={"adapter": [None, "lora"]})
    assert (plain.run.config["adapter"], lora.run.config["adapter"]) == (None, "lora")
    assert plain.run.key != lora.run.key
    assert plain.name == "multi_task adapter=null seed=1"


def test_null_leaves_out_an_axis_that_all_other_cells_have(tmp_path: Path) -> None:
    common = {"learning_rate": [1e-5, 2e-5]}
    cells = [{"strategy": "multi_task", "set": {"learning_rate": None}}, {"strategy": "dmt"}]
    first, *others = cells_of(tmp_path, set=common, cells=cells)
    assert first.name == "multi_task seed=1"
    assert first.run.config["learning_rate"] == BASE["learning_rate"]
    assert [cell.settings["learning_rate"] for cell in others] == common["learning_rate"]
