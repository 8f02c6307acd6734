"""The rows that a stage trained on and that are most like the items that it lost, as a hint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from axolotl_dmt.files import read_json, write_json

NEAREST_FILE: Final = "nearest_rows.json"
SCHEMA: Final = 1


@dataclass(frozen=True, kw_only=True)
class NearRow:
    """A row to train on that resembles an item.

    Attributes:
        domain: its domain.
        dataset: the label of its dataset.
        row: its number within the prepared dataset, from 0.
        score: how much it resembles the item (BM25); comparable for one item only.
        text: its text, or the start of it; untrusted.
    """

    domain: str
    dataset: str
    row: int
    score: float
    text: str


@dataclass(frozen=True, kw_only=True)
class NearestRows:
    """The nearest rows of the items that one stage lost.

    Attributes:
        stage: the stage.
        searched: number of rows that were searched.
        trained: number of rows that the stage trained on.
        items: {item's key: its nearest rows, the nearest first}.
    """

    stage: str
    searched: int
    trained: int
    items: Mapping[str, tuple[NearRow, ...]]


def write_nearest(folder: Path, stages: Sequence[NearestRows]) -> Path:
    """Write what was found; return the file.

    Args:
        folder: the folder `dmt` of a run.
        stages: the stages that lost items.
    """
    path = folder / NEAREST_FILE
    write_json(path, {"schema": SCHEMA, "stages": [asdict(stage) for stage in stages]})
    return path


def read_nearest(folder: Path) -> dict[str, NearestRows]:
    """Return {stage: its nearest rows}; empty without a readable file."""
    try:
        content = read_json(folder / NEAREST_FILE)
        if content["schema"] != SCHEMA:
            return {}
        return {
            stage["stage"]: NearestRows(
                stage=stage["stage"],
                searched=int(stage["searched"]),
                trained=int(stage["trained"]),
                items={
                    str(item): tuple(NearRow(**row) for row in rows)
                    for item, rows in stage["items"].items()
                },
            )
            for stage in content["stages"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a report does not fail because of this file
