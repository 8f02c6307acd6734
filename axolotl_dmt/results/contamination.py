"""Which items of the evaluation files share text with trained rows, and the scores without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json, write_json
from axolotl_dmt.results.items import BASELINE_KIND, STAGE_KIND, read_items
from axolotl_dmt.results.results import Results

CONTAMINATION_FILE: Final = "contamination.json"
SCHEMA: Final = 1
CLOSE: Final = 1e-6
"""A score is given without items only if it is the mean of its items, up to this difference."""


@dataclass(frozen=True, kw_only=True)
class CleanScore:
    """The scores of an ability with and without contaminated items.

    Attributes:
        ability: the name of the ability.
        items: number of items.
        contaminated: number of items that share text with rows to train on.
        scores: {stage or `baseline`: (score of all items, score without the contaminated ones)};
            the second is None where every item is contaminated.
    """

    ability: str
    items: int
    contaminated: int
    scores: Mapping[str, tuple[float, float | None]]


def write_contamination(folder: Path, record: Mapping[str, Any]) -> None:
    """Write what a search for contamination found.

    Args:
        folder: the folder `dmt` of a run, or that of a plan until its training starts; it is
            created.
        record: what was found. Its `tasks` are {task: {"items": count, "contaminated": {item's
            key: {domain: rows}}}}.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONTAMINATION_FILE, {"schema": SCHEMA, **record})


def read_contamination(folder: Path) -> dict[str, set[str]]:
    """Return {task: keys of its contaminated items}; empty without a readable record."""
    try:
        record = read_json(folder / CONTAMINATION_FILE)
        if record["schema"] != SCHEMA:
            return {}
        return {task: set(found["contaminated"]) for task, found in record["tasks"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a report does not fail because of this file


def clean_scores(output_dir: Path, results: Results) -> tuple[CleanScore, ...]:
    """Return the scores of each ability that has contaminated items.

    Points whose score is not the mean of the ledger's items are left out.

    Args:
        output_dir: the folder of the run.
        results: its results.
    """
    found = read_contamination(output_dir / "dmt")
    if not any(found.values()):
        return ()
    try:
        table = read_items(output_dir / "dmt" / "items.parquet")
    except DMTError:
        return ()
    columns = ("kind", "point", "ability", "task", "item", "score")
    answers: dict[tuple[str, str], list[tuple[bool, float]]] = {}
    for row in table.select(columns).to_pylist():
        if row["kind"] in (BASELINE_KIND, STAGE_KIND) and row["score"] is not None:
            is_bad = row["item"].partition("@")[0] in found.get(row["task"], ())
            answers.setdefault((row["ability"], row["point"]), []).append((is_bad, row["score"]))
    points = {point.name: point.scores for point in results.stages}
    if results.baseline:
        points = {BASELINE_KIND: results.baseline.scores, **points}
    scores: dict[str, dict[str, tuple[float, float | None]]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for point, recorded in points.items():
        for ability, score in recorded.items():
            items = answers.get((ability, point), [])
            bad = sum(is_bad for is_bad, _ in items)
            if not bad or abs(_mean([value for _, value in items]) - score.value) > CLOSE:
                continue
            clean = [value for is_bad, value in items if not is_bad]
            scores.setdefault(ability, {})[point] = (score.value, _mean(clean) if clean else None)
            sizes[ability] = (len(items), bad)
    return tuple(
        CleanScore(
            ability=ability,
            items=sizes[ability][0],
            contaminated=sizes[ability][1],
            scores=by_point,
        )
        for ability, by_point in scores.items()
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
