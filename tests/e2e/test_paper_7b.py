"""The paper's 7B templates on real rows, with a model of 7B's layout that fits two CPU processes.

Model, rows and batch size are small here, and bf16 is off, which accelerate refuses on a
CPU. All other keys are those of the templates.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.runs import ROOT, Finished, axolotl, write
from tests.e2e.test_sharded import TORCHRUN, zero
from tests.public_data import public_file
from tests.tiny_model import make_llama_tokenizer

pytestmark = pytest.mark.slow
ROWS = {"math": 48, "code": 32, "general": 16}
NO_DEEPSPEED = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed"
)
TEMPLATES = ["7b_fsdp2", pytest.param("7b_zero3", marks=NO_DEEPSPEED)]
K = 1 / 8
"""The templates' 1/256 of these rows would be none."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write real rows under the templates' names, and the model, into a folder."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "data").mkdir()
    gsm8k = [json.loads(line) for line in public_file("gsm8k_train.jsonl").open()]
    math = [{"query": row["question"], "response": row["answer"]} for row in gsm8k]
    code = json.loads(public_file("codealpaca_2k.json").read_text())
    trees = [json.loads(line) for line in public_file("oasst_en_trees.jsonl").open()]
    chats = [chat for tree in trees if (chat := first_chat(tree["prompt"]))]
    with (folder / "data/gsm8k_rft.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in math[: ROWS["math"]])
    (folder / "data/code_alpaca_20k.json").write_text(json.dumps(code[: ROWS["code"]]))
    (folder / "data/sharegpt.json").write_text(json.dumps(chats[: ROWS["general"]]))
    tests = [json.loads(line) for line in public_file("gsm8k_test.jsonl").open()]
    (folder / "data/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tests[:4]))
    save_model(folder / "model")
    return folder


def first_chat(node: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first path through a tree of messages, as ShareGPT's files have them."""
    turns: list[dict[str, str]] = []
    while True:
        names = {"prompter": "human", "assistant": "gpt"}
        turns.append({"from": names[node["role"]], "value": node["text"]})
        if not node["replies"]:
            break
        node = node["replies"][0]
    turns = turns[: len(turns) // 2 * 2]
    return {"conversations": turns} if turns else None


def save_model(folder: Path) -> None:
    """Save a random Llama with the proportions of Llama-7B, and its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_llama_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64 * 11008 // 4096,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def rehearsal(template: str, data: Path, folder: Path) -> Path:
    """Write a template with the small model and few rows, and return its path."""
    settings = yaml.safe_load((ROOT / f"yaml_templates/paper/{template}.yaml").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    for entry in settings["datasets"]:
        entry["path"] = str(data / entry["path"])
    settings["dmt"]["k"] = K
    settings["dmt"]["evaluate"] |= {
        "tasks": ["dmt_math"],
        "data": {"math": str(data / "data/test.jsonl")},
        "max_new_tokens": 4,
        "batch_size": 4,
    }
    settings |= {
        "base_model": str(data / "model"),
        "output_dir": str(folder / "out"),
        "dataset_prepared_path": str(folder / "prepared"),
        "dataset_num_proc": 1,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "num_epochs": 1,
        "logging_steps": 1,
        "bf16": False,
    }
    if settings.get("deepspeed"):
        (folder / "zero3.json").write_text(json.dumps(zero(3)))
        settings["deepspeed"] = str(folder / "zero3.json")
    return write(folder / f"{template}.yaml", settings)


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_template_passes_check_and_its_plan_is_exact(
    data: Path, tmp_path: Path, template: str
) -> None:
    file = rehearsal(template, data, tmp_path)
    checked = axolotl("dmt", "check", str(file))
    assert checked.returncode == 0, checked.stdout + checked.stderr

    planned = axolotl("dmt", "plan", str(file), "--json")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    stages = json.loads(planned.stdout[planned.stdout.index("{") :])["stages"]  # below the banner
    assert [
        {domain: counts["rows"] for domain, counts in stage["domains"].items() if counts["rows"]}
        for stage in stages
    ] == [
        {"math": ROWS["math"], "code": ROWS["code"]},
        {"math": 6, "code": 4, "general": ROWS["general"]},
    ]


@pytest.mark.parametrize("template", TEMPLATES)
def test_both_stages_train_over_two_sharded_processes(
    data: Path, tmp_path: Path, template: str
) -> None:
    file = rehearsal(template, data, tmp_path)
    settings = yaml.safe_load(file.read_text())
    settings["plugins"].insert(0, "tests.e2e.pretended_gpu.PretendedGPUPlugin")
    settings["reinit_weights"] = True  # several CPU processes cannot load a model
    done = axolotl(
        "train",
        str(write(file, settings)),
        *TORCHRUN,
        DS_ACCELERATOR="cpu",
        OPTIMIZER_FILE=str(tmp_path / "optimizer"),
    )
    run = Finished(done.returncode, done.stdout + done.stderr, tmp_path / "out")
    assert run.code == 0, run.output[-4000:]
    # 80 rows and then 26, 8 a step over both processes.
    assert [stage["end_step"] for stage in run.results["stages"]] == [10, 14]
    for stage in run.results["stages"]:
        assert stage.get("error") is None
        assert stage["scores"]["math"]["n"] == 4
    seen = json.loads((tmp_path / "optimizer.0.json").read_text())
    assert any(seen["before"]["moments"])
    assert not any(seen["after"]["moments"])
