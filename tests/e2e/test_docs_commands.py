"""The commands of README.md and the docs that need a training work as they are written.

The quickstart's rows are few here; everything else is as on the pages.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.docs_commands import clone, commands, run

TRAINING = (
    "make quickstart",
    "source .venv/bin/activate",
    "axolotl dmt report outputs/quickstart",
    "axolotl dmt visualise outputs/quickstart",
    "sed 's|k: 1/8|k: 0|; s|outputs/quickstart$|outputs/no-replay|' yaml_templates/quickstart.yaml "
    "> no_replay.yaml",
    "axolotl train no_replay.yaml --launcher python",
    "axolotl dmt compare outputs/quickstart outputs/no-replay",
    "DATA=outputs/quickstart-data/data\n"
    "DMT_MATH_DATA=$DATA/math_test.jsonl DMT_CODE_DATA=$DATA/code_test.jsonl \\\n"
    "DMT_GENERAL_DATA=$DATA/general_test.jsonl DMT_MAX_GEN_TOKS=48 \\\n"
    "lm_eval --tasks dmt_suite --model hf --batch_size 50 \\\n"
    "  --model_args pretrained=outputs/quickstart/stages/02-generalise",
    "axolotl dmt evaluate outputs/quickstart",
    'axolotl dmt recipe export outputs/quickstart --author "You" --licence apache-2.0',
    "axolotl dmt recipe use quickstart-recipe",
    'axolotl dmt recipe export outputs/my-run --author "You" --licence apache-2.0',
    "axolotl dmt recipe check my-run-recipe",
    "axolotl dmt row-losses dmt.yaml --model outputs/run/stages/01-specialise",
    "axolotl dmt merge outputs/quickstart --to outputs/merged",
    "axolotl train my.yaml",
)
"""The commands in the order in which they are run."""
ROWS = "--math 320 --code 160 --general 240 --test 10"
MODEL = "stages/02-generalise/model.safetensors"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run all commands in a clone and return {command: its output}."""
    folder, outputs = clone(tmp_path_factory.mktemp("clone")), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DMT_ALLOW_UNSAFE_CODE", "1")
        for command in TRAINING:
            prepare(command)
            outputs[command] = quickstart() if command == "make quickstart" else run(command)
        outputs["results"] = Path("outputs/quickstart/dmt/results.json").read_text()
        outputs["files"] = "\n".join(str(path) for path in Path().rglob("*"))
    return outputs


def quickstart() -> str:
    """Run what `make quickstart` runs in an environment that is set up, on fewer rows."""
    lines = run("make -n quickstart -o .venv/ready")
    assert "axolotl_dmt.toy outputs/quickstart-data\n" in lines
    return run(lines.replace("outputs/quickstart-data\n", f"outputs/quickstart-data {ROWS}\n"))


def prepare(command: str) -> None:
    """Make what a command of a how-to takes for granted."""
    if command.endswith("my.yaml"):
        text = Path("no_replay.yaml").read_text()
        Path("my.yaml").write_text(text.replace("outputs/no-replay", "outputs/mine"))
    elif "dmt.yaml" in command:
        shutil.copy("yaml_templates/quickstart.yaml", "dmt.yaml")
        shutil.copytree("outputs/quickstart", "outputs/run")
    elif "recipe export outputs/my-run" in command:
        shutil.copytree("outputs/quickstart", "outputs/my-run")


@pytest.mark.slow
def test_the_commands_are_those_of_the_pages(outputs: dict[str, str]) -> None:
    assert set(TRAINING) <= set(commands())
    for path in (
        f"outputs/quickstart/{MODEL}",
        f"outputs/no-replay/{MODEL}",
        f"outputs/mine/{MODEL}",
        "outputs/quickstart/dmt/report.html",
        "outputs/quickstart/dmt/hidden_states.png",
        "quickstart-recipe/dmt.yaml",
        "outputs/merged/model.safetensors",
    ):
        assert path in outputs["files"], path


@pytest.mark.slow
def test_the_quickstart_shows_its_stages_and_no_noise(outputs: dict[str, str]) -> None:
    lines = outputs["make quickstart"].splitlines()
    logged = [line for line in lines if line.startswith("[20")]
    of_stages = [line for line in logged if "stage 1/2 specialise" in line]
    assert 2 <= len(of_stages) <= 3  # its start, its end, and an estimate if it is long
    assert not [line for line in lines if line.startswith("{")]
    assert not [line for line in logged if "WARNING" in line and "axolotl_dmt" not in line]
    assert len(logged) < 20, logged
    assert "Abilities by stage" in outputs["make quickstart"]


@pytest.mark.slow
def test_lm_eval_gives_the_scores_of_the_run(outputs: dict[str, str]) -> None:
    (command,) = (command for command in TRAINING if command.startswith("DATA="))
    scores = json.loads(outputs["results"])["stages"][-1]["scores"]
    for score in scores.values():
        rows = [line for line in outputs[command].splitlines() if score["task"] in line]
        (shown,) = set(re.findall(r"↑ *\| *([\d.]+) *\|", "".join(rows)))
        assert float(shown) == pytest.approx(score["value"], abs=5e-5)
