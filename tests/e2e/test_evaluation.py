"""The live model, a saved stage and a direct call of `lm_eval` give the same scores."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from axolotl_dmt.api import load_items
from axolotl_dmt.cli.main import dmt
from tests.conftest import ROWS
from tests.e2e.runs import ROOT, Finished, axolotl, config, environment, train, write
from tests.judge_server import judge_server

TASKS = ["dmt_suite"]


def settings(toy: Path, output: Path, **evaluate: Any) -> dict[str, Any]:
    data = {name: str(toy / f"data/{name}_test.jsonl") for name in ROWS}
    block = {
        "tasks": TASKS,
        "data": data,
        "max_new_tokens": 12,
        "allow_unsafe_code": True,
        **evaluate,
    }
    return config(
        toy,
        output,
        num_epochs=3,
        dmt={"strategy": "dmt", "k": "1/4", "val_rows": 8, "evaluate": block},
    )


@pytest.fixture(scope="module")
def live(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("live")
    done = train(folder, settings(toy, folder / "out"))
    assert done.code == 0, done.output[-4000:]
    return done


@pytest.fixture(scope="module")
def failed(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("failed")
    made = settings(toy, folder / "out")
    made["plugins"] += ["tests.e2e.failing.FailingEvaluationPlugin"]
    return train(folder, made)


def scores(done: Finished) -> list[dict[str, Any]]:
    return [stage["scores"] for stage in done.results["stages"]]


def stages(done: Finished) -> list[dict[str, Any]]:
    """Return the stages without the time that the generation took."""
    return [
        {**stage, "generation": stage["generation"]["tokens"]} for stage in done.results["stages"]
    ]


def answers(done: Finished) -> list[list[str]]:
    return [[s["answer"] for s in stage.get("samples", [])] for stage in done.results["stages"]]


def test_lm_eval_by_hand_gives_the_same_numbers(toy: Path, live: Finished, tmp_path: Path) -> None:
    stage = live.folder / "stages/02-generalise"
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--device", "cpu"]
    command += ["--model_args", f"pretrained={stage}", "--tasks", "dmt_suite"]
    command += ["--include_path", str(ROOT / "eval_tasks"), "--output_path", str(tmp_path)]
    command += ["--log_samples"]
    done = subprocess.run(
        command,
        env=environment(
            DMT_MATH_DATA=str(toy / "data/math_test.jsonl"),
            DMT_CODE_DATA=str(toy / "data/code_test.jsonl"),
            DMT_GENERAL_DATA=str(toy / "data/general_test.jsonl"),
            DMT_MAX_GEN_TOKS="12",
            DMT_ALLOW_UNSAFE_CODE="1",
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (output,) = tmp_path.rglob("results_*.json")
    by_hand = json.loads(output.read_text())["results"]
    for ability, score in scores(live)[-1].items():
        row = by_hand[f"dmt_{ability}"]
        assert row["dmt_score,none"] == score["value"], ability
        assert row["dmt_score_stderr,none"] == pytest.approx(score["stderr"])
    (logged,) = tmp_path.rglob("samples_dmt_math_*.jsonl")
    by_lm_eval = [json.loads(line)["resps"][0][0] for line in logged.open()][:3]
    ours = [s["answer"] for s in live.results["stages"][-1]["samples"] if s["ability"] == "math"]
    assert ours == by_lm_eval
    assert any(ours)


def test_the_ledger_holds_every_item_of_each_stage(live: Finished) -> None:
    items = load_items(live.folder).to_pandas()
    assert list(items.point.unique()) == ["specialise", "generalise"]
    for stage in live.results["stages"]:
        rows = items[items.point == stage["name"]]
        assert set(rows.step) == {stage["end_step"]}
        for ability, score in stage["scores"].items():
            scores = rows[rows.ability == ability].score
            assert len(scores) == score["n"]
            assert scores.mean() == pytest.approx(score["value"])
        sampled = {sample["answer"] for sample in stage["samples"]}
        assert sampled <= set(rows.answer)
    first, second = (set(items[items.point == name].item) for name in items.point.unique())
    assert first == second
    assert set(items[items.cut_off].tokens) <= {12}
    assert set(items[items.ability == "code"].sandbox) == {
        live.results["stages"][0]["scored_with"]["sandbox"]
    }


def test_the_gate_exits_with_its_verdict_and_writes_junit(live: Finished, tmp_path: Path) -> None:
    verdicts = (
        (("--keep", "math=-0.9,code=-0.9"), 0, ["holds", "holds"], ("2", "0", "0")),
        (
            ("--keep", "math=-0.9", "--improve", "code=0.9"),
            1,
            ["holds", "does not hold"],
            ("2", "1", "0"),
        ),
        (("--keep", "math=-0.02"), 2, ["undecided"], ("1", "0", "1")),  # of six items
    )
    for options, code, words, counts in verdicts:
        file = tmp_path / "gate.xml"
        arguments = ["gate", str(live.folder), *options, "--junit", str(file)]
        done = CliRunner().invoke(dmt, arguments)
        assert done.exit_code == code, done.output
        assert [line.partition(":")[0] for line in done.output.splitlines()] == words
        suite = ET.parse(file).getroot()
        assert tuple(map(suite.get, ("tests", "failures", "errors"))) == counts
    assert "items would decide it" in done.output
    command = axolotl("dmt", "gate", str(live.folder), "--improve", "code=0.9")
    assert command.returncode == 1 and "does not hold" in command.stdout, command.stderr


@pytest.mark.slow
def test_a_run_scored_in_the_background_gives_the_same_results_and_ends_by_its_gate(
    toy: Path, live: Finished, tmp_path: Path
) -> None:
    made = settings(toy, tmp_path / "out", runner="background")
    made["dmt"]["gate"] = {"keep": {"math": -0.9}, "improve": {"code": 0.9}}
    done = train(tmp_path, made)
    assert done.code == 1, done.output[-4000:]  # of the gate, once everything is saved
    _, kept, improved = done.output[-4000:].split("axolotl-dmt: gate: ")
    assert kept.startswith("holds: ") and improved.startswith("does not hold: ")
    assert stages(done) == stages(live)
    ledgers = [load_items(run.folder).to_pylist() for run in (done, live)]
    assert ledgers[0] == ledgers[1]
    weights = [(run.folder / "model.safetensors").read_bytes() for run in (done, live)]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_run_scored_through_a_server_trains_as_before(
    toy: Path, live: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with judge_server(lambda number, request: (200, "#### 2")) as server:
        arguments = {"base_url": server.url, "model": "served"}
        made = settings(
            toy,
            tmp_path / "out",
            tasks=["dmt_math"],
            runner="background",
            model="local-chat-completions",
            model_args=arguments,
        )
        done = train(tmp_path, made)
    assert done.code == 0, done.output[-4000:]
    data = map(json.loads, (toy / "data/math_test.jsonl").read_text().splitlines())
    right = [row["answer"].endswith("#### 2") for row in data]
    for score in scores(done):
        assert score["math"]["value"] == pytest.approx(sum(right) / len(right))
    assert len(server.requests) == 2 * len(right)
    assert {request["model"] for request in server.requests} == {"served"}
    weights = [(run.folder / "model.safetensors").read_bytes() for run in (done, live)]
    assert weights[0] == weights[1]


@pytest.mark.long
def test_a_failed_evaluation_never_loses_training(live: Finished, failed: Finished) -> None:
    assert failed.code == 0, failed.output[-4000:]
    for stage in failed.results["stages"]:
        assert stage["error"] == "OSError: the disk is full"
        assert stage["scores"] == {}
    weights = [(done.folder / "model.safetensors").read_bytes() for done in (live, failed)]
    assert weights[0] == weights[1]
    assert "was not scored" in failed.output


@pytest.mark.slow
def test_missing_scores_can_be_added_later(live: Finished, failed: Finished) -> None:
    done = axolotl("dmt", "evaluate", str(failed.folder))
    assert done.returncode == 0, done.stderr[-3000:]
    assert scores(failed) == scores(live)
    assert answers(failed) == answers(live)
    assert load_items(failed.folder) == load_items(live.folder)
    assert all("error" not in stage for stage in failed.results["stages"])
    again = axolotl("dmt", "evaluate", str(failed.folder))
    assert again.stdout.count("has scores already") == 2

    # Once all stages are scored with other settings, the folder holds these settings.
    recorded = failed.folder / "dmt/config.yaml"
    limited = yaml.safe_load(recorded.read_text())
    limited["dmt"]["evaluate"]["limit"] = 2
    path = write(failed.folder / "limited.yaml", limited)
    part = axolotl("dmt", "evaluate", str(failed.folder), "--config", str(path))
    assert "limit" not in yaml.safe_load(recorded.read_text())["dmt"]["evaluate"], part.stdout
    axolotl("dmt", "evaluate", str(failed.folder), "--config", str(path), "--again")
    assert yaml.safe_load(recorded.read_text()) == limited
    assert failed.results["evaluate"]["limit"] == 2
    assert {s["n"] for stage in failed.results["stages"] for s in stage["scores"].values()} == {2}


@pytest.mark.slow
def test_a_separate_process_gives_the_same_scores(
    toy: Path, live: Finished, tmp_path: Path
) -> None:
    done = train(
        tmp_path, settings(toy, tmp_path / "out", runner="subprocess", when="end", before=True)
    )
    assert done.code == 0, done.output[-4000:]
    baseline = done.results["baseline"]
    assert set(baseline["scores"]) == set(baseline["held_out_loss"]) == set(ROWS)
    assert sorted(path.name for path in (done.folder / "stages").iterdir()) == [
        "01-specialise",
        "02-generalise",
    ]
    assert scores(done)[0] == {}
    assert scores(done)[1] == scores(live)[1]
    assert answers(done)[1] == answers(live)[1]
    ledger = load_items(live.folder).to_pandas()
    ledger = ledger[ledger.point == "generalise"].reset_index(drop=True)
    mine = load_items(done.folder).to_pandas()
    assert list(mine.point.unique()) == ["baseline", "generalise"]
    assert mine[mine.point == "generalise"].reset_index(drop=True).equals(ledger)


def test_held_out_rows_are_kept_from_training_and_have_a_loss_by_domain(live: Finished) -> None:
    first, second = live.results["stages"]
    assert first["rows"] == {"math": ROWS["math"] - 8, "code": ROWS["code"] - 8}
    assert set(first["held_out_loss"]) == {"math", "code", "general"}
    # Stage 1 does not train on general data, stage 2 does.
    assert second["held_out_loss"]["general"] < first["held_out_loss"]["general"]


@pytest.mark.slow
def test_scores_are_logged_every_so_many_steps(toy: Path, tmp_path: Path) -> None:
    made = settings(toy, tmp_path / "out", tasks=["dmt_math"], when={"every_steps": 50})
    made["save_strategy"] = "steps"
    made["save_steps"] = 100
    done = train(tmp_path, made)
    assert done.code == 0, done.output[-4000:]
    first, second = (stage["end_step"] for stage in done.results["stages"])
    scored = [entry["step"] for entry in done.history if "dmt/math" in entry]
    assert scored == [
        step for step in range(1, second + 1) if step % 50 == 0 or step in (first, second)
    ]
    items = load_items(done.folder).to_pandas()
    assert list(items.step.unique()) == scored
    assert set(items[items.kind == "step"].point) == {
        f"step {step}" for step in scored if step not in (first, second)
    }
    losses = [entry["step"] for entry in done.history if "loss" in entry]
    assert losses == list(range(1, second + 1))


def test_a_run_becomes_a_recipe_that_another_can_plan(
    toy: Path, live: Finished, tmp_path: Path
) -> None:
    shared, mine = str(tmp_path / "shared"), str(tmp_path / "mine")
    made = CliRunner().invoke(dmt, ["recipe", "export", str(live.folder), "--to", shared])
    assert made.exit_code == 0, made.output
    assert "left out: dmt.evaluate.allow_unsafe_code" in made.output
    used = CliRunner().invoke(dmt, ["recipe", "use", shared, "--to", mine])
    assert used.exit_code == 0, used.output
    for name in ("dmt.yaml", "README.md", "recipe.json"):
        assert str(toy.parent) not in (tmp_path / "mine" / name).read_text()
    shutil.copytree(toy / "data", tmp_path / "mine/your-data")
    shutil.copytree(toy / "base", tmp_path / "mine/your-model")
    plan = axolotl("dmt", "plan", "dmt.yaml", "--json", cwd=tmp_path / "mine")
    assert plan.returncode == 0, plan.stderr
    stages = json.loads(plan.stdout[plan.stdout.index("{\n") :])["stages"]
    own = live.results["plan"]["stages"]
    assert [(s["name"], s["steps"]) for s in stages] == [(s["name"], s["steps"]) for s in own]
    assert [s["domains"] for s in stages] == [s["domains"] for s in own]
