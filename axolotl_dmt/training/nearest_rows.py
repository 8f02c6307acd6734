"""Finds the rows that a stage trained on and that are most like the items that it lost.

They are found by their words (BM25), when a report asks for it, so that training does not wait. At
most `MOST_ROWS` rows of a stage are searched, drawn at random if there are more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from axolotl.loaders import load_tokenizer
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.draws import numbers_within_datasets
from axolotl_dmt.plan.training_plan import StagePlan, TrainingPlan
from axolotl_dmt.results.flips import Flip, stage_flips
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.nearest_rows import NearestRows, NearRow, write_nearest
from axolotl_dmt.training.load_run import compile_from_yaml
from axolotl_dmt.training.pool import RowPool
from axolotl_dmt.training.row_texts import texts_of

MOST_ROWS: Final = 100_000
"""Rows of a stage that are searched at most."""
NEAREST: Final = 3
"""Rows that are given for an item."""
LONGEST: Final = 1_500
"""Characters of a row that are kept."""
_COPIES: Final = 10
"""Times as many rows are looked at, of which some may be equal."""


def find_nearest(output_dir: Path, config: Path, *, most_items: int) -> Path | None:
    """Find the nearest rows of the items that each stage of a run lost, and write them.

    Args:
        output_dir: the run's output folder.
        config: its YAML.
        most_items: number of items of each ability and stage.

    Returns:
        The file; None where no item was lost.

    Raises:
        DMTError: the folder holds no run, or its YAML gives another plan than the run has followed.
    """
    flips = stage_flips(output_dir, load_results(output_dir), most=most_items)
    lost: dict[str, list[Flip]] = {}
    for group in flips:
        if group.is_lost:
            lost.setdefault(group.stage, []).extend(group.shown)
    if not any(lost.values()):
        return None
    plan = TrainingPlan.load(RunFolder(output_dir).plan)
    compiled = compile_from_yaml(str(config))
    if compiled.plan.fingerprint != plan.fingerprint:
        problem = f"{config} and its data do not give the plan that {output_dir} has followed"
        raise DMTError("--config", problem, "name the YAML of the run, with the data as it was")
    tokenizer = load_tokenizer(compiled.cfg)
    found = [
        nearest_of_stage(plan, stage, compiled.pool, tokenizer, lost[stage.name])
        for stage in plan.stages
        if lost.get(stage.name)
    ]
    return write_nearest(RunFolder(output_dir).dmt, found)


def nearest_of_stage(
    plan: TrainingPlan, stage: StagePlan, pool: RowPool, tokenizer: Any, lost: Sequence[Flip]
) -> NearestRows:
    """Return the nearest rows of the items that a stage lost.

    Args:
        plan: the plan.
        stage: the stage.
        pool: the rows of the plan.
        tokenizer: the tokenizer of the rows.
        lost: the items; at least one.
    """
    rows = trained_rows(plan, stage)
    searched = rows
    if len(rows) > MOST_ROWS:
        searched = np.sort(np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False))
    texts = [text for batch in texts_of(pool.dataset.select(searched), tokenizer) for text in batch]
    nearest = nearest_texts(texts, [flip.prompt for flip in lost], NEAREST)
    places = list(_places(pool, searched))
    return NearestRows(
        stage=stage.name,
        searched=len(searched),
        trained=len(rows),
        items={
            flip.item: tuple(
                NearRow(**places[index], score=round(score, 3), text=texts[index][:LONGEST])
                for index, score in pairs
            )
            for flip, pairs in zip(lost, nearest, strict=True)
        },
    )


def trained_rows(plan: TrainingPlan, stage: StagePlan) -> NDArray[np.int64]:
    """Return the different rows that a stage trains on, ascending."""
    first, last = plan.step_bounds(stage)
    rows = np.unique(np.asarray(plan.order[first:last]))
    trained: NDArray[np.int64] = rows[rows >= 0].astype(np.int64)
    return trained


def nearest_texts(
    texts: Sequence[str], queries: Sequence[str], most: int
) -> list[list[tuple[int, float]]]:
    """Return (number of a text, its BM25 score) of the texts that are most like each query.

    Texts that share no word with a query are left out, and of equal texts all but one.

    Args:
        texts: the texts; at least one.
        queries: the queries.
        most: number of texts for each query.
    """
    import bm25s

    options: dict[str, Any] = {"stopwords": "en", "show_progress": False}
    retriever = bm25s.BM25()
    tokens = bm25s.tokenize(list(texts), **options)
    if not any(tokens.ids):
        return [[] for _ in queries]
    retriever.index(tokens, show_progress=False)
    asked = bm25s.tokenize(list(queries), return_ids=False, **options)
    nearest = []
    for words in asked:
        numbers, scores = retriever.retrieve(
            [words], k=min(_COPIES * most, len(texts)), show_progress=False, sorted=True
        )
        different: dict[str, tuple[int, float]] = {}
        for number, score in zip(numbers[0].tolist(), scores[0].tolist(), strict=True):
            if score > 0:
                different.setdefault(texts[number], (int(number), float(score)))
        nearest.append(list(different.values())[:most])
    return nearest


def _places(pool: RowPool, rows: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Yield the domain, the dataset and the number of each row of the pool."""
    datasets = [(domain.name, *dataset) for domain in pool.domains for dataset in domain.datasets]
    sizes = np.array([count for _, _, count in datasets], np.int64)
    starts = np.cumsum(sizes) - sizes
    numbers = numbers_within_datasets(pool.domains, sizes)
    of = np.searchsorted(starts, rows, side="right") - 1
    for row, index in zip(rows.tolist(), of.tolist(), strict=True):
        domain, label, _ = datasets[index]
        number = row - int(starts[index]) if numbers is None else int(numbers[row])
        yield {"domain": domain, "dataset": label, "row": number}
