"""Every template is listed, harmless, valid for Axolotl and compiles to a plan."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from axolotl_dmt.plan import TrainingPlan
from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.recipes.fetch import load
from axolotl_dmt.recipes.recipe import gallery, headline, read_recipe, templates_folder

ROOT = Path(__file__).parents[2]
NAMES = sorted(gallery())
TOY = ("quickstart",)
"""Templates that need the files of `python -m axolotl_dmt.toy`, and run code of tiny models."""
PREPARED = ("smollm2", "smollm2_lora")
"""Templates that need the files of `python -m axolotl_dmt.toy.pretrained`."""
ROWS = {"math": 747, "code": 2002, "general": 5176, "law": 500}
PAPER = {"math": 110_142, "code": 20_022, "general": 86_060}
LONGEST = {"math": 400, "code": 300, "general": 900, "law": 500}


def test_the_readme_names_every_template_and_no_other() -> None:
    readme = (templates_folder() / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\]\(([\w/.]+\.yaml)\)", readme))
    there = {
        path.relative_to(templates_folder()).as_posix()
        for path in templates_folder().rglob("*.yaml")
    }
    assert named == there


@pytest.mark.parametrize("name", NAMES)
def test_a_template_says_what_it_is_for_in_a_line_or_two(name: str) -> None:
    text = gallery()[name].read_text(encoding="utf-8")
    assert 10 < len(headline(gallery()[name])) < 200
    assert len(text.splitlines()) < 110


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_a_recipe_that_needs_no_trust(name: str) -> None:
    recipe = read_recipe(load(str(gallery()[name])))
    allowed = ["dmt.evaluate.allow_unsafe_code"] if name in TOY else []
    assert [finding.key for finding in recipe.findings] == allowed


@pytest.mark.parametrize("size", ["7b", "13b", "33b"])
def test_the_papers_templates_say_what_the_paper_says(size: str) -> None:
    both = [
        yaml.safe_load(gallery()[f"paper/{size}_{kind}"].read_text(encoding="utf-8"))
        for kind in ("fsdp2", "zero3")
    ]
    own = ("output_dir", "fsdp_version", "fsdp_config", "deepspeed", "gradient_checkpointing")
    first, second = ({k: v for k, v in one.items() if k not in own} for one in both)
    assert first == second
    assert first["learning_rate"] == 2e-5
    assert (first["num_epochs"], first["warmup_ratio"]) == (3, 0.03)
    assert first["dmt"]["k"] == "1/256"
    gpus = 16 if size == "33b" else 8
    assert first["micro_batch_size"] * first["gradient_accumulation_steps"] * gpus == 128
    assert "A chat between a curious user" in first["datasets"][0]["type"]["format"]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TOY])
def test_a_template_is_valid_and_compiles(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paper = name == "paper/7b_fsdp2"
    plan = compiled(gallery()[name], PAPER if paper else ROWS, gpus=8 if paper else 1)
    assert plan.stages[0].name == "specialise" and plan.stages[-1].name == "generalise"
    assert all(stage.steps > 0 for stage in plan.stages)
    if paper:
        steps = [f"{stage.steps:,}" for stage in plan.stages]
        assert steps == re.findall(
            r"([\d,]+) (?:steps )?of (?:specialised|general) data", paper_text()
        )


def paper_text() -> str:
    return gallery()["paper/7b_fsdp2"].read_text(encoding="utf-8")


def fetched(path: Path) -> None:
    """Write a file as `axolotl fetch deepspeed_configs` does."""
    stage = int(re.findall(r"zero(\d)", path.name)[0])
    settings = {"zero_optimization": {"stage": stage}, "bf16": {"enabled": True}}
    if stage == 3:
        settings["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = True
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(settings))


def with_data_files(cfg: Any) -> None:
    """Create the files that a template's user provides, each with one row of all usual columns."""
    texts = (
        "question",
        "answer",
        "instruction",
        "input",
        "output",
        "prompt",
        "query",
        "response",
        "text",
    )
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    row = {**dict.fromkeys(texts, "a"), "messages": messages, "conversations": turns}
    for entry in cfg.datasets:
        if Path(entry.path).suffix.startswith(".json"):
            Path(entry.path).parent.mkdir(parents=True, exist_ok=True)
            Path(entry.path).write_text(json.dumps(row) + "\n")


def with_prepared_files(cfg: Any) -> None:
    """Create the model's folder and the files to evaluate on, which a command prepares."""
    Path(cfg.base_model).mkdir(parents=True)
    (Path(cfg.base_model) / "config.json").write_text('{"model_type": "llama"}')
    row = json.dumps({"question": "a", "answer": "#### 1", "instruction": "a", "output": "b"})
    for entry in cfg.test_datasets:
        Path(entry.path).parent.mkdir(parents=True, exist_ok=True)
        chat = {"messages": [{"role": "user", "content": "a"}]}
        Path(entry.path).write_text(json.dumps(chat) if entry.type == "chat_template" else row)
    items = {
        "math": {"question": "a", "answer": "#### 1"},
        "code": {
            "task_id": "a",
            "prompt": "def f():\n",
            "test": "def check(candidate):\n    assert candidate() is None\n",
            "entry_point": "f",
        },
        "general": {
            "key": 1,
            "prompt": "a",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
        },
    }
    for name, item in items.items():
        Path(cfg.dmt.evaluate.data[name]).write_text(json.dumps(item) + "\n")


def compiled(path: Path, rows: dict[str, int], *, gpus: int) -> TrainingPlan:
    """Return the plan of a YAML, validated as with GPUs, for rows of random lengths."""
    from axolotl.integrations.base import PluginManager
    from axolotl.utils.config import prepare_plugins, validate_config
    from axolotl.utils.dict import DictDefault

    cfg: Any = DictDefault(yaml.safe_load(path.read_text(encoding="utf-8")))
    if cfg.deepspeed:
        fetched(Path(cfg.deepspeed))
    with_data_files(cfg)
    if path.stem in PREPARED:
        with_prepared_files(cfg)
    prepare_plugins(cfg)
    run = PluginManager.get_instance().plugins["axolotl_dmt.DMTPlugin"].run
    gpu = {"bf16": True, "fp8": True, "tf32": True, "n_gpu": gpus, "compute_capability": "sm_90"}
    cfg = validate_config(cfg, capabilities=gpu, env_capabilities={"torch_version": "2.8.0"})
    cfg.batch_size = cfg.micro_batch_size * cfg.gradient_accumulation_steps * gpus
    random = np.random.default_rng(0)
    pools = []
    for domain in dict.fromkeys(run.schedule.dataset_domains):
        lengths = random.integers(40, LONGEST[domain], rows[domain]).astype(np.int32)
        pools.append(Domain(name=domain, rows=rows[domain], lengths=lengths, trained=lengths // 2))
    plan: TrainingPlan = run.compile(cfg, pools)
    return plan
