"""Every command in README.md and the docs works as it is written; those that train are slow tests.

A changed command has to be changed here, in `tests/e2e/test_docs_commands.py` or among `NOT_RUN`.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.docs_commands import ROOT, clone, commands, output_after, run
from tests.e2e.test_docs_commands import TRAINING

PLAN = "axolotl dmt plan yaml_templates/quickstart.yaml"
STUDY = "axolotl dmt study yaml_templates/studies/tiny/rq4_strategies.yaml --dry-run"
OWN_STUDY = "axolotl dmt study study.yaml --dry-run"
STRATEGIES = "axolotl dmt strategies"
BAD = "axolotl-dmt check bad.yaml"
ASK = "axolotl dmt init my.yaml"
INIT = (
    "axolotl dmt init my.yaml --base-model meta-llama/Llama-3.1-8B --gpu-memory 24 "
    "--data math=math.jsonl --data code=code.jsonl --data general=chats.jsonl"
)
CHECK, PLAN_OWN = "axolotl dmt check my.yaml", "axolotl dmt plan my.yaml"
SCHEMA = "axolotl-dmt schema > dmt.schema.json"
RECIPE = "axolotl dmt recipe use lora/8b_24gb --to my-run"
QUICK = {PLAN, STUDY, OWN_STUDY, STRATEGIES, BAD, ASK, INIT, CHECK, PLAN_OWN, SCHEMA, RECIPE}

NOT_RUN = {
    "make test": "runs these tests",
    "make real": "downloads a model and data",
    "make study": "trains for an hour",
    "make soak": "trains for an hour",
    "pip install .": "needs a package index",
    "axolotl train dmt.yaml --launcher torchrun -- --nnodes 2 --nproc_per_node 8 "
    "--rdzv_backend c10d --rdzv_endpoint HOST:29500": "needs two machines",
    "pip install '.[train]'": "needs a package index",
    "pip install '.[eval]'": "needs a package index",
    "pip install '.[judge]'": "needs a package index",
    "pip install '.[ray]'": "needs a package index",
    "axolotl dmt compare RUN RUN": "stands for a command",
    "axolotl-dmt evaluate org/model outputs/my-run http://localhost:8000/v1#served-model "
    "--tasks dmt_suite --limit 200 --data math=gsm8k_test.jsonl --to outputs/evaluation": (
        "see tests/cli/test_evaluate_models.py"
    ),
    "lm_eval --tasks dmt_suite --model hf --model_args pretrained=org/model": "downloads",
    "lm_eval run --tasks dmt_suite --model hf --model_args "
    "pretrained=outputs/my-run/stages/02-generalise": "downloads the benchmarks",
    "axolotl train dmt.yaml --launcher torchrun -- --nproc_per_node 8": "needs eight GPUs",
    "axolotl merge-lora dmt.yaml --lora-model-dir outputs/lora/stages/01-specialise "
    "--output-dir outputs/lora-stage-1": "see tests/e2e/test_lora_and_packing.py",
    "axolotl dmt study study.yaml": "see tests/e2e/test_study.py",
    "axolotl dmt study study.yaml --ray auto --gpus 8 "
    "--launcher-args '--launcher torchrun -- --nproc_per_node 8'": "needs eight GPUs",
    "axolotl dmt solve my.yaml": "see tests/e2e/test_solve.py",
    "axolotl dmt solve my.yaml --nearest --train": "see tests/e2e/test_solve.py",
    "axolotl train my.solved.yaml": "see tests/e2e/test_solve.py",
    "axolotl dmt merge outputs/my-run --measure 0.25,0.5,0.75": "see tests/e2e/test_merge.py",
    "axolotl dmt merge outputs/my-run --weight 0.75 "
    "--to outputs/merged": "see tests/e2e/test_merge.py",
    "axolotl-dmt evaluate outputs/my-run outputs/merged --limit 200 "
    "--to outputs/merge-scores": "see tests/cli/test_evaluate_models.py",
    "make study-pretrained": "fetches a model and takes a GPU",
    "axolotl dmt recipe push my-run-recipe you/my-recipe": "see tests/e2e/test_recipe_hub.py",
    "axolotl dmt recipe show hf://you/my-recipe": "see tests/e2e/test_recipe_hub.py",
    "axolotl dmt recipe use hf://you/my-recipe": "see tests/e2e/test_recipe_hub.py",
}


def test_every_command_of_the_docs_is_run_or_has_a_reason_not_to_be() -> None:
    covered = QUICK | set(TRAINING) | NOT_RUN.keys()
    assert sorted(set(commands()) - covered) == []
    assert sorted(covered - set(commands())) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the quickstart's data."""
    folder = clone(tmp_path_factory.mktemp("clone"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("python -m axolotl_dmt.toy outputs/quickstart-data")
    return folder


@pytest.fixture(autouse=True)
def in_the_clone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_the_plan_of_the_quickstart_is_the_one_in_the_readme() -> None:
    printed = [line.rstrip() for line in run(PLAN).splitlines()]
    expected = output_after(PLAN).strip().splitlines()
    start = printed.index("Plan")
    assert printed[start : start + len(expected)] == expected


def test_the_strategies_are_those_in_the_tutorial() -> None:
    names = [line.split()[0] for line in output_after(STRATEGIES).splitlines() if line[0] != " "]
    printed = run(STRATEGIES)
    assert [line.split()[0] for line in printed.splitlines() if line[:1].strip()] == names
    shown = " ".join(output_after(STRATEGIES).split())
    assert shown == " ".join(printed.split())


def test_the_mistakes_in_the_tutorial_are_found() -> None:
    page = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    Path("bad.yaml").write_text(text)
    shown = output_after(BAD).splitlines()
    assert [line for line in run(BAD).splitlines() if line in shown] == shown
    assert len(shown) == 3


def test_the_mistakes_in_the_readme_are_found() -> None:
    text = (ROOT / "yaml_templates/quickstart.yaml").read_text()
    for right, wrong in {
        "k: 1/8 ": "k: 3 ",
        "{epochs: 4}": "{epoch: 4}",
        "general_test.jsonl": "genral_test.jsonl",
        "\noptimizer:": "\noptimiser:",
    }.items():
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    Path("bad.yaml").write_text(text)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = [line for line in readme.splitlines() if line.startswith("bad.yaml:")]
    assert [line for line in run(BAD).splitlines() if line in shown] == shown
    assert len(shown) == 4


def test_a_yaml_is_written_from_answers_and_checked_and_planned() -> None:
    data = "outputs/quickstart-data/data"
    answers = ["outputs/quickstart-data/base", f"{data}/math.jsonl", "sums"]
    answers += [f"{data}/general.jsonl", "talk", "", "0"]
    Path("my.yaml").unlink(missing_ok=True)
    assert "without mistakes" in run(ASK, typed="\n".join(answers) + "\n")
    assert "math.jsonl has 8,000 rows" in run(CHECK)
    assert "fingerprint" in run(PLAN_OWN)


def test_a_yaml_is_written_from_options() -> None:
    Path("my.yaml").unlink(missing_ok=True)
    rows = {"math": "question answer", "code": "instruction output", "chats": "prompt response"}
    for name, columns in rows.items():
        Path(f"{name}.jsonl").write_text(json.dumps(dict.fromkeys(columns.split(), "text")) + "\n")
    assert "without mistakes" in run(INIT)


def test_a_study_is_shown_before_it_is_trained() -> None:
    assert "axolotl_dmt.toy outputs/studies/data-1" in run(STUDY)
    page = (ROOT / "docs/howto/studies.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yaml\n(base: .*?)^```$", page, re.MULTILINE | re.DOTALL)
    Path("study.yaml").write_text(text)
    shutil.copy("yaml_templates/quickstart.yaml", "base.yaml")
    assert "cells: 15, seeds: 3" in run(OWN_STUDY)


def test_a_recipe_is_copied_and_the_schema_is_written() -> None:
    run(RECIPE)
    assert Path("my-run/dmt.yaml").is_file()
    run(SCHEMA)
    assert json.loads(Path("dmt.schema.json").read_text())["title"]
