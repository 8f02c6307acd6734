"""The quick ways to Axolotl's schema and to transformers' names give what the slow ways give.

Each quick way runs in a process of its own, in which nothing has imported torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from axolotl.utils.schemas import config, datasets, enums
from transformers import TrainingArguments
from transformers.training_args import OptimizerNames

from axolotl_dmt.checks.trainer_source import trainer_arguments, trainer_optimizers
from axolotl_dmt.checks.yaml_check import check_file

ROOT = Path(__file__).parents[2]
YAMLS = [
    *ROOT.glob("yaml_templates/paper/*.yaml"),
    *ROOT.glob("yaml_templates/lora/*.yaml"),
    ROOT / "yaml_templates/quickstart.yaml",
]
MISTAKES: dict[str, Any] = {
    "micro_batch_size": "many",
    "adapter": "lorra",
    "bf16": "maybe",
    "lora_r": [8],
    "chat_template": "nothing",
    "optimizer": "adam_w",
    "sample_packing": "sometimes",
    "sequence_len": -4,
    "load_in_4bit": True,
    "attn_implementation": "flesh",
    "quantization": {"weight_dtype": "int3"},
    "qat": {"weight_dtype": "int8", "activation_dtype": "nothing"},
    "rope_scaling": {},
    "save_steps": 10,
    "eval_steps": 7,
    "learning_rat": 1e-5,
    "report_to": "none",
    "datasets[0]": {"path": "x.jsonl", "type": "alpaca", "domian": "math", "shard": 1},
}
"""One change of a good YAML each, most of which Axolotl's validation refuses."""
PROGRAM = """
import json, sys
from axolotl_dmt.checks.yaml_check import check_file
found, heavy = {}, {}
for path in sys.argv[1:]:
    findings = check_file(path, files=False)
    found[path] = [findings.mistakes, findings.remarks]
    heavy[path] = [name for name in ("torch", "transformers", "accelerate") if name in sys.modules]
print(json.dumps([found, heavy]))
"""


def changed_yamls(folder: Path) -> list[str]:
    """Write the good YAMLs and the changed ones; return their paths."""
    folder.mkdir(exist_ok=True)
    good = yaml.safe_load(YAMLS[0].read_text())
    written = [str(path) for path in YAMLS]  # first, since torch stays imported
    for key, value in MISTAKES.items():
        wrong = {**good, key: value}
        if key == "datasets[0]":
            wrong = {**good, "datasets": [value, *good["datasets"][1:]]}
        path = folder / f"{key}.yaml"
        path.write_text(yaml.safe_dump(wrong, sort_keys=False))
        written.append(str(path))
    return written


def test_a_check_finds_the_same_with_and_without_torch(tmp_path: Path) -> None:
    paths = changed_yamls(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AXOLOTL_DO_NOT_TRACK": "1"}
    command = [sys.executable, "-c", PROGRAM, *paths]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    quick, heavy = json.loads(done.stdout)
    assert [path for path in map(str, YAMLS) if heavy[path]] == []  # some mistakes need torch
    slow = {path: check_file(path, files=False) for path in paths}
    for path, findings in slow.items():
        assert quick[path] == [list(findings.mistakes), list(findings.remarks)], path
    assert sum(bool(findings.mistakes) for findings in slow.values()) >= 12


@pytest.mark.parametrize("module", [config, datasets, enums])
def test_the_schema_itself_is_used_where_torch_is_imported(module: Any) -> None:
    from axolotl_dmt.checks.axolotl_schema import axolotl_schema

    assert axolotl_schema(module.__name__.rpartition(".")[2]) is module


def test_the_names_read_from_the_trainer_are_its_own() -> None:
    assert trainer_arguments() == set(TrainingArguments.__dataclass_fields__)
    assert trainer_optimizers() == {name.value for name in OptimizerNames}
