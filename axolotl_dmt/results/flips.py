"""The items whose verdict a stage turned: lost ones that were right before, and won ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.items import BASELINE_KIND, read_items
from axolotl_dmt.results.results import Results

_COLUMNS = ("point", "kind", "ability", "item", "score", "prompt_digest")
_TEXTS = ("prompt", "target", "answer", "cut_off")


@dataclass(frozen=True, kw_only=True)
class Flip:
    """An item whose score changed over a stage.

    Attributes:
        item: its key in the ledger.
        ability: the ability.
        stage: the stage that changed it.
        before: the point before that stage.
        is_lost: whether the score fell.
        scores: the score before and after.
        prompt: what the models were asked.
        target: the right answer or what it is checked by; empty where there is none.
        answers: the answers before and after; untrusted text.
        cut_off: whether the answers before and after reached the longest length.
    """

    item: str
    ability: str
    stage: str
    before: str
    is_lost: bool
    scores: tuple[float, float]
    prompt: str
    target: str
    answers: tuple[str, str]
    cut_off: tuple[bool, bool]


@dataclass(frozen=True, kw_only=True)
class Flips:
    """The items that one stage lost, or won, of one ability.

    Attributes:
        ability: the ability.
        stage: the stage.
        before: the point before it.
        is_lost: whether their scores fell.
        count: number of such items.
        shown: some of them, in the order of the task.
    """

    ability: str
    stage: str
    before: str
    is_lost: bool
    count: int
    shown: tuple[Flip, ...]


def stage_flips(folder: Path, results: Results, *, most: int) -> tuple[Flips, ...]:
    """Return the items that each stage turned, against the point before it.

    Items whose prompts differ between the two points are left out.

    Args:
        folder: the run's output folder.
        results: its results.
        most: number of items to show for each ability, stage and direction.

    Returns:
        Those of the first stage first; empty where the run has no ledger with texts.

    Raises:
        DMTError: the ledger cannot be read.
    """
    path = RunFolder(folder).items
    if not path.is_file():
        return ()
    table = read_items(path)
    names = [BASELINE_KIND, *(stage.name for stage in results.stages)]
    columns = [table[name].to_pylist() for name in _COLUMNS]
    points: dict[str, dict[str, int]] = {name: {} for name in names}
    for index, (point, kind, _, item, score, _) in enumerate(zip(*columns, strict=True)):
        is_of_point = point in points and (kind == BASELINE_KIND) == (point == BASELINE_KIND)
        if is_of_point and score is not None:
            points[point][item] = index
    flips = []
    for before, stage in pairwise(names):
        flips += _between(table, columns, points, (before, stage), most)
    return tuple(flips)


def _between(
    table: Any,
    columns: Sequence[Sequence[Any]],
    points: dict[str, dict[str, int]],
    names: tuple[str, str],
    most: int,
) -> list[Flips]:
    _, _, abilities, _, scores, prompts = columns
    turned: dict[tuple[str, bool], list[tuple[int, int]]] = {}
    before, after = (points[name] for name in names)
    for item, index in after.items():
        former = before.get(item)
        if former is None or scores[former] == scores[index]:
            continue
        if prompts[former] == prompts[index]:
            key = abilities[index], scores[index] < scores[former]
            turned.setdefault(key, []).append((former, index))
    ordered = sorted(turned, key=lambda key: (abilities.index(key[0]), not key[1]))
    return [
        Flips(
            ability=ability,
            stage=names[1],
            before=names[0],
            is_lost=is_lost,
            count=len(pairs),
            shown=_shown(table, pairs[:most], names, is_lost=is_lost),
        )
        for ability, is_lost in ordered
        for pairs in [turned[ability, is_lost]]
    ]


def _shown(
    table: Any, pairs: Sequence[tuple[int, int]], names: tuple[str, str], *, is_lost: bool
) -> tuple[Flip, ...]:
    """Read the texts of some items; those without texts are left out."""
    columns = ["item", "ability", "score", *_TEXTS]
    rows = table.select(columns).take([index for pair in pairs for index in pair]).to_pylist()
    flips = []
    for former, latter in zip(rows[::2], rows[1::2], strict=True):
        if former["answer"] is None or latter["answer"] is None:
            continue
        flips.append(
            Flip(
                item=latter["item"],
                ability=latter["ability"],
                stage=names[1],
                before=names[0],
                is_lost=is_lost,
                scores=(former["score"], latter["score"]),
                prompt=latter["prompt"] or "",
                target=latter["target"] or "",
                answers=(former["answer"], latter["answer"]),
                cut_off=(bool(former["cut_off"]), bool(latter["cut_off"])),
            )
        )
    return tuple(flips)
