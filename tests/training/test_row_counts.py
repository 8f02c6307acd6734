"""What becomes of the rows of each dataset: counted, and the useless ones left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from axolotl_dmt.plan.row_counts import RowCounts, notes_on_rows
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.results.config_file import sources
from axolotl_dmt.training.row_counts import _saved_by_this_process
from tests.compiled import alpaca, compiled, one_process, settings, tiny
from tests.mistakes import expect_error

__all__ = ["one_process", "tiny"]
pytestmark = pytest.mark.usefixtures("one_process")

EMPTY = {"instruction": "Say nothing", "input": "", "output": ""}
LONG = {"instruction": "x" * 600, "input": "", "output": "5"}


def counts(data: tuple[RowCounts, ...]) -> dict[str, RowCounts]:
    return {Path(dataset.dataset).stem: dataset for dataset in data}


@pytest.mark.parametrize("packing", [False, True])
def test_the_same_rows_are_left_out_with_and_without_packing(
    tmp_path: Path, tiny: str, packing: bool
) -> None:
    rows = [LONG, EMPTY, *alpaca(6), *alpaca(2), EMPTY]
    content = settings(
        tmp_path,
        tiny,
        {"math": rows, "general": alpaca(8, "general")},
        sample_packing=packing,
        dataset_exact_deduplication=True,
    )
    for _ in range(2):  # tokenised, and then from the prepared rows
        run = compiled(tmp_path, content)
        math = counts(run.plan.data)["math"]
        assert (math.read, math.too_long, math.too_short) == (11, 1, 0)
        assert (math.untrained, math.duplicates, math.copies, math.kept) == (2, 2, 0, 6)
        assert [domain.rows for domain in run.pool.domains] == [6, 8]
        assert all((domain.trained > 0).all() for domain in run.pool.domains)
    notes = notes_on_rows(run.plan.data)
    assert any("1 of 11 rows" in note and "sequence_len" in note for note in notes)
    assert run.plan.to_json()["data"][0]["too_long"] == 1


def test_copies_that_remain_are_counted(tmp_path: Path, tiny: str) -> None:
    files = {"math": [*alpaca(8), EMPTY, *alpaca(3), EMPTY], "general": alpaca(8, "general")}
    run = compiled(tmp_path, settings(tmp_path, tiny, files))
    math = counts(run.plan.data)["math"]
    assert (math.untrained, math.duplicates, math.copies, math.kept) == (2, 0, 3, 11)


def test_a_plan_that_was_saved_keeps_the_counts(tmp_path: Path, tiny: str) -> None:
    files = {"math": [LONG, *alpaca(8)], "general": alpaca(8, "general")}
    plan = compiled(tmp_path, settings(tmp_path, tiny, files)).plan
    plan.save(tmp_path / "plan")
    assert TrainingPlan.load(tmp_path / "plan").data == plan.data


def test_clean_data_has_no_notes(tmp_path: Path, tiny: str) -> None:
    files = {"math": alpaca(8), "general": alpaca(8, "general")}
    run = compiled(tmp_path, settings(tmp_path, tiny, files))
    assert notes_on_rows(run.plan.data) == []
    assert {dataset.kept for dataset in run.plan.data} == {8}


def test_a_dataset_without_any_trained_token_is_refused(tmp_path: Path, tiny: str) -> None:
    files = {"math": alpaca(8), "general": [EMPTY] * 4}
    with expect_error("datasets[1]", "none of the 4 rows", "general.jsonl"):
        compiled(tmp_path, settings(tmp_path, tiny, files))


def test_copies_in_two_files_of_a_domain_are_removed(tmp_path: Path, tiny: str) -> None:
    files = {"math-1": alpaca(8), "math-2": alpaca(10), "general": alpaca(8, "general")}
    content = settings(tmp_path, tiny, files, dataset_exact_deduplication=True)
    run = compiled(tmp_path, content)
    assert counts(run.plan.data)["math-2"].duplicates == 8
    math = run.pool.domains[0]
    assert (math.rows, dict(math.datasets)) == (
        10,
        {f"{tmp_path}/math-1.jsonl": 8, f"{tmp_path}/math-2.jsonl": 2},
    )
    assert math.numbers.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_copies_in_two_domains_remain_in_the_first(tmp_path: Path, tiny: str) -> None:
    shared = alpaca(4)
    files = {
        "math": [*alpaca(8), *shared],
        "general": [*alpaca(8, "general"), *shared],
        "code": [*shared, *alpaca(3, "code")],
        "math-2": alpaca(5, "more"),
        "general-2": alpaca(6, "more"),
    }
    content = settings(tmp_path, tiny, files)
    plain = compiled(tmp_path, content).plan.fingerprint
    run = compiled(tmp_path, {**content, "dataset_exact_deduplication": True})
    found = {name: (row.duplicates, row.kept) for name, row in counts(run.plan.data).items()}
    assert found == {
        "math": (4, 8),
        "general": (4, 8),
        "code": (4, 3),
        "math-2": (0, 5),
        "general-2": (5, 1),
    }
    rows = [
        tuple(row) for domain in run.pool.domains for row in tokens(run.pool.rows_of(domain.name))
    ]
    assert len(rows) == len(set(rows)) == sum(kept for _, kept in found.values())
    assert run.plan.fingerprint != plain


def test_a_domain_of_copies_only_is_refused(tmp_path: Path, tiny: str) -> None:
    files = {"math": alpaca(8), "general": alpaca(4)}
    content = settings(tmp_path, tiny, files, dataset_exact_deduplication=True)
    with expect_error("dataset_exact_deduplication", "every row of general"):
        compiled(tmp_path, content)


def tokens(rows: Any) -> set[tuple[int, ...]]:
    return {tuple(row) for row in rows["input_ids"]}


def test_no_held_out_row_has_a_copy_among_the_trained_rows(tmp_path: Path, tiny: str) -> None:
    shared = alpaca(4)
    files = {"math": [*shared, *alpaca(8)], "general": [*alpaca(8, "general"), *shared]}
    content = settings(tmp_path, tiny, files)
    content["dmt"]["val_rows"] = {"math": 6}
    run = compiled(tmp_path, content)
    held = tokens(run.pool.held_out["math"])
    assert len(run.pool.held_out["math"]) == 6
    for domain in run.pool.domains:
        assert not held & tokens(run.pool.rows_of(domain.name))
    general = counts(run.plan.data)["general"]
    assert general.copies_of_held_out + general.kept == 12


def test_held_out_rows_may_empty_a_file(tmp_path: Path, tiny: str) -> None:
    files: dict[str, Any] = {f"math-{i}": [row] for i, row in enumerate(alpaca(6))}
    content = settings(tmp_path, tiny, {**files, "general": alpaca(8, "general")})
    content["dmt"]["val_rows"] = {"math": 3}
    run = compiled(tmp_path, content)
    listed = sources(run.run.raw, run.pool.domains)["datasets"]
    assert sorted(source["rows"] for source in listed) == [0, 0, 0, 1, 1, 1, 8]
    for source, dataset in zip(listed, run.plan.data, strict=True):
        assert (source["path"], source["rows"]) == (dataset.dataset, dataset.kept)
    assert len(run.pool.dataset) == 3 + 8 + 1


def scored(folder: Path, base: str, scores: list[Any], **changes: Any) -> dict[str, Any]:
    rows = [
        {**row, "quality": score} for row, score in zip(alpaca(len(scores)), scores, strict=True)
    ]
    content = settings(folder, base, {"math": rows}, **changes)
    stage = {"name": "only", "mix": {"math": {"rows": 2}}, "select": "score:quality"}
    return {**content, "dmt": {"stages": [stage]}}


def test_rows_are_chosen_by_score_although_rows_without_trained_tokens_are_left_out(
    tmp_path: Path, tiny: str
) -> None:
    content = scored(tmp_path, tiny, [5, 1, 9, 7, 3])
    path = Path(content["datasets"][0]["path"])
    path.write_text(path.read_text().replace('"output": "11"', '"output": ""'))  # row 2, the best
    run = compiled(tmp_path, content)
    (domain,) = run.pool.domains
    drawn = domain.numbers[[row for row in run.plan.order if row >= 0]]
    assert sorted(drawn.tolist()) == [0, 3]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_rows_without_a_score_are_refused_with_their_number(
    tmp_path: Path, tiny: str, missing: Any
) -> None:
    content = scored(tmp_path, tiny, [5.0, missing, 9.0, missing])
    with expect_error("dmt.select", "'quality'", "math.jsonl", "2 of 4", "row 1"):
        compiled(tmp_path, content)


def test_scores_of_dropped_rows_name_the_reason(tmp_path: Path, tiny: str) -> None:
    content = scored(tmp_path, tiny, [5, 9])
    path = Path(content["datasets"][0]["path"])
    path.write_text(path.read_text().replace("math 0", "x" * 600))
    with expect_error("dmt.select", "math.jsonl", "1 of 2 rows", "sequence_len"):
        compiled(tmp_path, content)


@pytest.mark.parametrize(("workers", "passed_on"), [(1, None), (2, 2), (None, None)])
def test_one_worker_to_save_a_dataset_is_this_process(
    workers: int | None, passed_on: int | None
) -> None:
    calls: list[Any] = []

    class Rows:
        def save_to_disk(self, path: str, **kwargs: Any) -> None:
            calls.append((path, kwargs))

    rows: Any = Rows()
    with _saved_by_this_process(rows):
        rows.save_to_disk("here", num_proc=workers, num_shards=3)
    assert calls == [("here", {"num_proc": passed_on, "num_shards": 3})]
    assert "save_to_disk" not in vars(rows)
