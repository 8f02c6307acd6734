"""The ledger of a run: each item's verdict at each point, in `OUTPUT_DIR/dmt/items.parquet`.

A point is the model before training (`baseline`), the end of a stage, or a step of
`every_steps`. The columns are described in docs/items_parquet.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import parse_json, replacing

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA: Final = 1
METADATA: Final = b"axolotl_dmt"
"""The key of the file's metadata: JSON with `schema`."""
ITEMS_FILE: Final = "items.parquet"

BASELINE_KIND: Final = "baseline"
STAGE_KIND: Final = "stage"
STEP_KIND: Final = "step"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A model of a run that was scored.

    Attributes:
        kind: `baseline`, `stage` or `step`.
        name: `baseline`, the name of the stage, or `step 500`.
        step: number of optimiser steps done.
    """

    kind: str
    name: str
    step: int

    @classmethod
    def baseline(cls) -> Point:
        """Return the point before training."""
        return cls(kind=BASELINE_KIND, name=BASELINE_KIND, step=0)

    @classmethod
    def stage(cls, name: str, end_step: int) -> Point:
        """Return the point at the end of a stage."""
        return cls(kind=STAGE_KIND, name=name, step=end_step)

    @classmethod
    def at_step(cls, step: int) -> Point:
        """Return the point after a step within a stage."""
        return cls(kind=STEP_KIND, name=f"step {step}", step=step)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a task, as one model answered it.

    Attributes:
        ability: the ability that the task scores.
        task: name of the lm-eval task.
        item: its key, which is the same in every run on the same data: a digest of the task's name,
            the row and the target, `@` and the version of the task.
        doc: number of the row within the task, from 0.
        score: the value of the ability's metric; None where it is not one number.
        passed: whether the answer is right; None where the score is not 0 or 1.
        metrics: {metric: value} for every metric that is one number.
        prompt: the text that the model was given; None where texts are not kept.
        target: the right answer or what it is checked by; None where texts are not kept.
        answer: the text that the model generated, or its choice; it is untrusted. None where texts
            are not kept.
        prompt_digest: a digest of the prompt; None where the prompt holds the model's own answers.
        tokens: number of tokens of the answer's text; None where nothing was generated.
        cut_off: whether the answer reached the longest length; None where nothing was generated.
        fewshot: number of examples in the prompt.
        generation: the settings of the generation as JSON; None where nothing was generated.
        sandbox: how programs were isolated; None where the task runs none.
        lm_eval: version of lm-evaluation-harness.
        suite: version of axolotl-dmt, for the tasks of dmt_suite; else None.
    """

    ability: str
    task: str
    item: str
    doc: int
    score: float | None
    passed: bool | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    prompt: str | None = None
    target: str | None = None
    answer: str | None = None
    prompt_digest: str | None = None
    tokens: int | None = None
    cut_off: bool | None = None
    fewshot: int | None = None
    generation: str | None = None
    sandbox: str | None = None
    lm_eval: str | None = None
    suite: str | None = None


COLUMNS: Final = ("kind", "point", "step", *(column.name for column in fields(Item)))
"""The columns of the file, in order."""


def schema() -> pa.Schema:
    """Return the schema of the file."""
    import pyarrow as pa

    text = pa.string()
    types = {
        "step": pa.int64(),
        "doc": pa.int64(),
        "score": pa.float64(),
        "passed": pa.bool_(),
        "metrics": pa.map_(text, pa.float64()),
        "tokens": pa.int32(),
        "cut_off": pa.bool_(),
        "fewshot": pa.int32(),
    }
    columns = [pa.field(name, types.get(name, text)) for name in COLUMNS]
    return pa.schema(columns, metadata={METADATA: json.dumps({"schema": SCHEMA})})


def items_table(point: Point, items: Sequence[Item]) -> pa.Table:
    """Return the rows of a point."""
    import pyarrow as pa

    count = len(items)
    columns: dict[str, list[Any]] = {
        "kind": [point.kind] * count,
        "point": [point.name] * count,
        "step": [point.step] * count,
    }
    for column in COLUMNS[3:]:
        columns[column] = [getattr(item, column) for item in items]
    columns["metrics"] = [list(item.metrics.items()) for item in items]
    for name in ("prompt", "target", "answer"):
        columns[name] = [_whole_characters(text) for text in columns[name]]
    return pa.table(columns, schema=schema())


def _whole_characters(text: str | None) -> str | None:
    """Replace half surrogate pairs, which a model may generate and UTF-8 cannot represent."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")


def record_items(path: Path, point: Point, items: Sequence[Item]) -> None:
    """Add the rows of a point to a ledger; rows that the point has there already are replaced.

    The file is written completely or not at all.

    Args:
        path: the file; its folder is created. Without a file, a new one is begun.
        point: the point that was scored.
        items: its items; where there are none, nothing is written.

    Raises:
        DMTError: the file exists and is not a ledger.
    """
    if not items:
        return
    import pyarrow as pa

    parts = []
    if path.is_file():
        parts.append(_without(read_items(path), point))
    write_items(path, pa.concat_tables([*parts, items_table(point, items)]))


def rename_point(path: Path, old: Point, new: Point) -> None:
    """Give the rows of a point in a ledger to another point; without a ledger, nothing is done.

    Args:
        path: the file.
        old: the point that has the rows, such as the baseline.
        new: the point that has them afterwards.

    Raises:
        DMTError: the file is not a ledger.
    """
    import pyarrow as pa

    if not path.is_file():
        return
    if items := items_of(path, old.name):
        rest = _without(_without(read_items(path), old), new)
        write_items(path, pa.concat_tables([rest, items_table(new, items)]))


def _without(table: pa.Table, point: Point) -> pa.Table:
    """Return the rows of a ledger that are of other points."""
    import pyarrow.compute as pc

    same = pc.and_(pc.equal(table["kind"], point.kind), pc.equal(table["point"], point.name))
    return table.filter(pc.invert(same))


def write_items(path: Path, table: pa.Table) -> None:
    """Write a ledger completely or not at all, its points in the order of their steps."""
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = table.sort_by([("step", "ascending"), ("kind", "ascending")])
    with replacing(path) as temporary:
        # The prompts are the same at every point, and a large dictionary holds each of them once.
        parquet.write_table(
            ordered, temporary, compression="zstd", dictionary_pagesize_limit=64 * 2**20
        )


def read_items(path: Path) -> pa.Table:
    """Read a ledger.

    Args:
        path: the file.

    Raises:
        DMTError: there is no such file, or it is not a ledger that this version reads.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with path.open("rb") as file:
            table = parquet.read_table(file)
    except FileNotFoundError as error:
        fix = "score the run with this version: axolotl dmt evaluate OUTPUT_DIR --again"
        raise DMTError(str(path), "there is no such file", fix) from error
    except (OSError, pa.ArrowException) as error:
        fix = "move it away and score the run again: axolotl dmt evaluate OUTPUT_DIR --again"
        raise DMTError(str(path), f"cannot be read ({error})", fix) from error
    version = _schema_version((table.schema.metadata or {}).get(METADATA, b"{}"))
    if version != SCHEMA:
        problem = f"has schema {version!r}, and this version reads {SCHEMA}"
        fix = "read it with the version of axolotl-dmt that wrote it"
        raise DMTError(str(path), problem, fix)
    return table.select(COLUMNS).cast(schema())


def _schema_version(header: bytes) -> Any:
    try:
        fields = parse_json(header)
    except ValueError:
        return None
    return fields.get("schema") if isinstance(fields, dict) else None


def items_of(path: Path, point: str | None = None) -> tuple[Item, ...]:
    """Read the items of a file; none if there is no file.

    Args:
        path: the file.
        point: the name of the point to read; None reads all of them.

    Raises:
        DMTError: the file is not a ledger.
    """
    if not path.is_file():
        return ()
    import pyarrow.compute as pc

    table = read_items(path)
    if point is not None:
        table = table.filter(pc.equal(table["point"], point))
    rows = table.drop_columns(list(COLUMNS[:3])).to_pylist()
    return tuple(Item(**{**row, "metrics": dict(row["metrics"])}) for row in rows)
