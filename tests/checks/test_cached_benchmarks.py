"""Benchmarks in the cache of `datasets` are searched for, and the network is left alone."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets.packaged_modules.json.json import Json

from axolotl_dmt.checks.cached_benchmarks import HUBS, cache_state, cached_questions
from axolotl_dmt.checks.contamination import ContaminationSearch
from axolotl_dmt.checks.evaluation_files import DATASETS, local_questions
from axolotl_dmt.config.args import EvaluateConfig
from tests.checks.test_contamination import CLEAN, COPY, ITEMS, checked, evaluation, write
from tests.e2e.runs import environment
from tests.fake_hub import FakeHub

IFEVAL = {
    "key": 1,
    "prompt": COPY["instruction"],
    "instruction_id_list": ["punctuation:no_comma"],
    "kwargs": [{"num_words": None}],
}


def cached(
    cache: Path, name: str, rows: list[dict[str, Any]], *, config: str = "main", split: str = "test"
) -> None:
    """Write a dataset into a cache, as `datasets` does when it is loaded from the hub."""
    file = cache / f"{name.replace('/', '-')}.jsonl"
    cache.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    builder = Json(
        cache_dir=str(cache),
        dataset_name=name.partition("/")[2],
        repo_id=name,
        config_name=config,
        config_id=config,
        hash="0" * 40,
        data_files={split: [str(file)]},
    )
    builder.download_and_prepare()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home" / "datasets"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder


def test_every_task_of_the_suite_that_reads_rows_has_its_dataset() -> None:
    assert HUBS.keys() == DATASETS.keys()


def test_the_items_are_those_of_the_same_rows_in_a_file(cache: Path, tmp_path: Path) -> None:
    cached(cache, "openai/gsm8k", ITEMS)
    block = EvaluateConfig(tasks=["dmt_math"])
    items = cached_questions(block)
    assert items == local_questions(EvaluateConfig(**evaluation(tmp_path)))
    assert len(cached_questions(EvaluateConfig(tasks=["dmt_math"], limit=2))["dmt_math"][0]) == 2
    assert cached_questions(EvaluateConfig(**evaluation(tmp_path))) == {}  # its file is read
    assert datasets.config.HF_HUB_OFFLINE  # as before


def test_files_and_the_cache_are_searched_together(cache: Path, tmp_path: Path) -> None:
    cached(cache, "openai/gsm8k", ITEMS)
    cached(cache, "google/IFEval", [IFEVAL], config="default", split="train")
    block = EvaluateConfig(**evaluation(tmp_path, tasks=["dmt_suite", "gsm8k"]))
    search = ContaminationSearch.of(block)
    assert search is not None and search.has_files
    matches = search.find([["nothing", COPY["instruction"]]])
    assert search.of_files(matches).tolist() == [True, True, False]
    search.add("general", "g.jsonl", matches)
    assert len(list(search.warnings())) == 2
    record = search.record()
    assert record["not_searched"] == ["dmt_code", "gsm8k"]
    assert record["tasks"]["dmt_general"]["dataset"] == "google/IFEval"
    assert "dataset" not in record["tasks"]["dmt_math"]
    for part in (
        "1 of dmt_general (cached google/IFEval)",
        "openai/openai_humaneval is not cached",
    ):
        assert part in search.summary()


@pytest.mark.parametrize("config", ["socratic", "main-0123456789abcdef"])
def test_another_configuration_is_not_the_benchmark(cache: Path, config: str) -> None:
    cached(cache, "openai/gsm8k", ITEMS, config=config)
    cached(cache, "other/gsm8k", ITEMS)
    assert ContaminationSearch.of(EvaluateConfig(tasks=["dmt_math"])) is None


def test_what_the_cache_holds_is_seen(cache: Path) -> None:
    assert cache_state() == {}
    cached(cache, "other/data", ITEMS)
    assert cache_state() == {}
    cached(cache, "openai/gsm8k", ITEMS)
    assert len(cache_state()) == 1


def test_a_run_that_finds_nothing_cached_says_what_is_not_searched(
    cache: Path, tmp_path: Path
) -> None:
    output = checked(tmp_path, write(tmp_path, "jsonl", [CLEAN]), evaluate={"tasks": ["dmt_suite"]})
    (line,) = [line for line in output.splitlines() if "contamination" in line]
    for name in ("openai/gsm8k", "openai/openai_humaneval", "google/IFEval"):
        assert f"({name} is not cached)" in line


def test_the_command_reads_the_cache_and_asks_no_server(tmp_path: Path) -> None:
    cached(tmp_path / "home" / "datasets", "openai/gsm8k", ITEMS)
    checked(tmp_path, write(tmp_path, "jsonl", [COPY]), evaluate={"tasks": ["dmt_suite"]})
    code = "from axolotl_dmt.cli.main import dmt; dmt()"
    command = [sys.executable, "-c", code, "check", str(tmp_path / "dmt.yaml"), "--contamination"]
    with contextlib.closing(FakeHub()) as hub:
        variables = environment(
            HF_HOME=str(tmp_path / "home"),
            HF_ENDPOINT=hub.url,
            HF_HUB_OFFLINE="0",
            HF_DATASETS_OFFLINE="0",
        )
        variables.pop("HF_DATASETS_CACHE", None)
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert "1 row(s) of general share text with 2 of 3 items of math" in done.stdout, done.stderr
    assert "3 of dmt_math (cached openai/gsm8k)" in done.stdout
    assert hub.asked == []
    assert "cached version" not in done.stderr
