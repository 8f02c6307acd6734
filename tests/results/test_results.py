"""`results.json`: its documented contents, the round trip, and malformed files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt.errors import DMTError
from axolotl_dmt.results import Results, Sample, Score, StageResult
from axolotl_dmt.results.folder import CONFIG_FILE, load_results
from tests.mistakes import expect_error


def score(value: float, stderr: float | None = 0.01, n: int = 100, task: str = "dmt_math") -> Score:
    return Score(task=task, metric="dmt_score", value=value, stderr=stderr, n=n)


def stage(name: str, end_step: int = 10, **values: float) -> StageResult:
    scores = {ability: score(value) for ability, value in values.items()}
    return StageResult(name=name, end_step=end_step, rows={"math": 5}, scores=scores)


RUN = Results(
    plan_fingerprint="abc",
    stages=(stage("specialise", math=0.8, code=0.5), stage("generalise", 20, math=0.6, code=0.0)),
)


def test_the_file_holds_the_documented_contract(tmp_path: Path) -> None:
    data = json.loads(RUN.with_baseline({"math": score(0.1)}).save(tmp_path / "r.json").read_text())
    assert data == {
        "schema": 1,
        "plan_fingerprint": "abc",
        "stages": [
            {
                "name": name,
                "end_step": end,
                "rows": {"math": 5},
                "scores": {
                    ability: {
                        "task": "dmt_math",
                        "metric": "dmt_score",
                        "value": value,
                        "stderr": 0.01,
                        "n": 100,
                    }
                    for ability, value in values.items()
                },
            }
            for name, end, values in [
                ("specialise", 10, {"math": 0.8, "code": 0.5}),
                ("generalise", 20, {"math": 0.6, "code": 0.0}),
            ]
        ],
        "retention": {"math": pytest.approx(0.75), "code": 0.0},
        "forgetting": {"math": pytest.approx(0.2), "code": 0.5},
        "baseline": {
            "scores": {
                "math": {
                    "task": "dmt_math",
                    "metric": "dmt_score",
                    "value": 0.1,
                    "stderr": 0.01,
                    "n": 100,
                }
            }
        },
    }


texts = st.text(max_size=8)
stages = st.builds(
    StageResult,
    name=texts,
    end_step=st.integers(0, 10**9),
    rows=st.dictionaries(texts, st.integers(0, 10**9), max_size=3),
    scores=st.dictionaries(
        texts,
        st.builds(
            Score,
            task=texts,
            metric=texts,
            value=st.floats(0, 1),
            stderr=st.none() | st.floats(0, 1),
            n=st.integers(0, 9999),
        ),
        max_size=3,
    ),
    error=st.none() | texts,
    samples=st.lists(
        st.builds(
            Sample, ability=texts, prompt=texts, answer=texts, passed=st.none() | st.booleans()
        )
    ).map(tuple),
)


@given(st.lists(stages, max_size=3).map(tuple), st.none() | stages, st.lists(texts).map(tuple))
def test_saving_and_loading_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory,
    saved: tuple[StageResult, ...],
    baseline: StageResult | None,
    abilities: tuple[str, ...],
) -> None:
    results = Results(plan_fingerprint="f", stages=saved, abilities=abilities)
    if baseline is not None:
        results = results.with_baseline(
            baseline.scores, samples=baseline.samples, error=baseline.error
        )
    path = results.save(tmp_path_factory.getbasetemp() / "r" / "results.json")
    assert Results.load(path) == results
    assert Results.load(path.parent) == results


def test_unknown_keys_are_kept_everywhere(tmp_path: Path) -> None:
    data: dict[str, Any] = RUN.to_json()
    data |= {"hardware": {"gpu": "none"}}
    data["stages"][0]["tokens"] = 7
    data["stages"][0]["scores"]["math"]["strict_match"] = 0.7
    (tmp_path / "results.json").write_text(json.dumps(data))
    assert Results.load(tmp_path).to_json() == data


def test_retention_and_forgetting_are_computed_again_on_loading(tmp_path: Path) -> None:
    data = RUN.to_json() | {"retention": {"math": 99}, "forgetting": {}}
    assert Results.from_json(data).to_json()["retention"] == {
        "math": pytest.approx(0.75),
        "code": 0,
    }


def test_with_stage_replaces_the_stage_of_the_same_name_in_place() -> None:
    again = RUN.with_stage(stage("specialise", 10, math=0.9))
    assert [s.name for s in again.stages] == ["specialise", "generalise"]
    assert again.stages[0].scores["math"].value == 0.9
    assert RUN.stages[0].scores["math"].value == 0.8
    assert [s.name for s in RUN.with_stage(stage("polish", 30)).stages][-1] == "polish"


def test_the_baseline_is_no_earlier_stage() -> None:
    results = Results(plan_fingerprint="f", stages=(stage("only", math=0.2),))
    results = results.with_baseline({"math": score(0.9)})
    assert results.to_json()["retention"] == {"math": None}
    assert results.matrix(baseline=True).values == ((0.9,), (0.2,))


def test_a_failed_evaluation_is_an_error_on_its_stage_and_leaves_measures_undefined() -> None:
    failed = StageResult(name="polish", end_step=30, error="out of memory")
    data = RUN.with_stage(failed).to_json()
    assert data["stages"][2] == {
        "name": "polish",
        "end_step": 30,
        "rows": {},
        "scores": {},
        "error": "out of memory",
    }
    assert data["retention"] == {"math": None, "code": None}


def test_nan_numpy_scalars_and_paths_become_strict_json(tmp_path: Path) -> None:
    results = Results(
        plan_fingerprint="f",
        stages=(stage("a", math=math.nan),),
        learning_curve=({"step": np.int64(1), "stage": "a", "loss": np.float32("nan")},),
        settings={"output_dir": Path("out"), "betas": (0.9, 0.95)},
        timings={"train": np.float64(1.5)},
    )
    path = results.save(tmp_path / "results.json")
    data = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert data["learning_curve"] == [{"step": 1, "stage": "a", "loss": None}]
    assert data["settings"] == {"output_dir": "out", "betas": [0.9, 0.95]}
    assert data["stages"][0]["scores"]["math"]["value"] is None
    assert math.isnan(Results.load(path).stages[0].scores["math"].value)


def test_a_save_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = RUN.save(tmp_path / "results.json")
    before = path.read_bytes()
    endless: dict[str, Any] = {}
    endless["self"] = endless
    with pytest.raises(RecursionError):
        Results(plan_fingerprint="f", settings=endless).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("data", "key", "problem"),
    [
        ({"schema": 2}, "schema", "is 2, and this version reads 1"),
        ({}, "schema", "is None"),
        ({"schema": 1, "stages": []}, "r.json", "lacks 'plan_fingerprint'"),
        ({"schema": 1, "plan_fingerprint": "f", "stages": [3]}, "stages[0]", "is a int"),
        (
            {
                "schema": 1,
                "plan_fingerprint": "f",
                "stages": [{"name": "a", "end_step": 1, "rows": {}, "scores": {"math": {}}}],
            },
            "stages[0].scores.math",
            "lacks 'task'",
        ),
        ([], "r.json", "is a list"),
    ],
)
def test_a_malformed_file_is_one_line_naming_the_entry(
    tmp_path: Path, data: Any, key: str, problem: str
) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(data))
    with pytest.raises(DMTError) as error:
        Results.load(path)
    assert key in error.value.key
    assert problem in error.value.problem
    assert "\n" not in str(error.value)


def test_a_missing_file_and_one_that_is_not_json_are_named(tmp_path: Path) -> None:
    with expect_error(tmp_path / "results.json", "No such file"):
        Results.load(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with expect_error(tmp_path / "results.json", "JSON"):
        Results.load(tmp_path)


def test_a_run_without_an_ended_stage_and_another_folder_have_different_errors(
    tmp_path: Path,
) -> None:
    with expect_error("OUTPUT_DIR", tmp_path, "output_dir"):
        load_results(tmp_path)
    (tmp_path / "dmt").mkdir()
    (tmp_path / "dmt" / CONFIG_FILE).write_text("dmt: {}\n")
    with expect_error("OUTPUT_DIR", tmp_path):
        load_results(tmp_path)
