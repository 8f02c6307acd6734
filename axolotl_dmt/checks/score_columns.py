"""Refuses `select: score:<column>` for datasets whose rows do not match those of their file.

The column is read from the file again and matched with the prepared rows by position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.inputs import Stage


def unmatched_scores(
    cfg: Mapping[str, Any], domains: Sequence[str], stages: Sequence[Stage]
) -> Iterator[DMTError]:
    """Yield a mistake for each dataset that is selected by score and whose rows are rearranged.

    Args:
        cfg: Axolotl's raw configuration.
        domains: the domain of each entry of `datasets`.
        stages: the resolved stages.
    """
    methods = {
        domain: method
        for stage in stages
        for domain, amount in stage.mix.items()
        if amount.value and (method := stage.method(domain)).startswith("score:")
    }
    for index, (entry, domain) in enumerate(zip(cfg["datasets"], domains, strict=True)):
        if domain in methods:
            for key, problem in _rearranged(entry):
                problem = f"{problem}, so {methods[domain]} cannot be matched with the rows"
                fix = f"select the rows of {domain} in another way"
                fix = fix if key == "type" else f"remove it, or {fix}"
                yield DMTError(f"datasets[{index}].{key}", problem, fix)


def _rearranged(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for what makes the rows of an entry others than those of its file."""
    path = entry.get("path")
    for key in ("shards", "preprocess_shards"):
        value = entry.get(key)
        if value and not (key == "preprocess_shards" and value == 1):
            yield key, f"{value} reads {path} in another order"
    kind = entry.get("type")
    if isinstance(kind, str) and kind.split(":")[0] in ("completion", "pretrain"):
        yield "type", f"{kind} cuts long texts of {path} into several rows"
