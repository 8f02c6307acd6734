"""Compile the plan of a YAML in this process, without a training."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from axolotl_dmt.training.load_run import CompiledRun, compile_from_yaml
from tests.tiny_model import make_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny base model; one token is one character."""
    return make_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let `datasets` work in this process: spawned processes would import everything again."""
    for name in ("map", "filter", "save_to_disk"):
        original = getattr(datasets.Dataset, name)

        def in_process(self: Any, *args: Any, _original: Any = original, **kwargs: Any) -> Any:
            return _original(self, *args, **{**kwargs, "num_proc": None})

        monkeypatch.setattr(datasets.Dataset, name, in_process)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    yield


def alpaca(count: int, word: str = "math", **columns: Any) -> list[dict[str, Any]]:
    """Return distinct rows of `type: alpaca`."""
    rows = (
        {"instruction": f"{word} {i} + 9", "input": "", "output": f"{i + 9}"} for i in range(count)
    )
    return [{**row, **columns} for row in rows]


def settings(
    folder: Path, base: str, files: Mapping[str, Iterable[Mapping[str, Any]]], **changes: Any
) -> dict[str, Any]:
    """Return a YAML's content; each file `DOMAIN` or `DOMAIN-...` is written and listed."""
    entries = []
    for name, rows in files.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        entries.append({"path": str(path), "type": "alpaca", "domain": name.split("-")[0]})
    return {
        "base_model": base,
        "plugins": ["axolotl_dmt.DMTPlugin"],
        "output_dir": str(folder / "out"),
        "dataset_prepared_path": str(folder / "prepared"),
        "sequence_len": 512,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-3,
        "optimizer": "adamw_torch",
        "bf16": False,
        "dataset_num_proc": 1,
        "seed": 42,
        "datasets": entries,
        "dmt": {"strategy": "dmt", "k": "1/4"},
        **changes,
    }


def write(folder: Path, content: Mapping[str, Any]) -> str:
    """Write a YAML and return its path."""
    path = folder / "dmt.yaml"
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False))
    return str(path)


def compiled(folder: Path, content: Mapping[str, Any], *, search: bool = False) -> CompiledRun:
    """Return the plan and the rows of a YAML, with what a search for evaluation items found."""
    return compile_from_yaml(write(folder, content), search=search)
