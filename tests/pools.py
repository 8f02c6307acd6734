"""Small domains and stages for the tests of plans."""

from __future__ import annotations

from typing import Any

import numpy as np

from axolotl_dmt.plan import Domain, Stage, TrainingPlan
from axolotl_dmt.plan.amounts import parse_amount


def domain(name: str, rows: int, seed: int = 0, **fields: Any) -> Domain:
    """Return a domain whose rows have 1 to 60 tokens, about half of which are trained."""
    random = np.random.default_rng([seed, len(name), rows])
    lengths = random.integers(1, 61, rows, dtype=np.int32)
    values = {"lengths": lengths, "trained": (lengths + 1) // 2, **fields}
    return Domain(name=name, rows=rows, **values)


def stage(mix: dict[str, Any], name: str = "only", **settings: Any) -> Stage:
    """Return a stage whose mix is written as in the YAML."""
    amounts = {domain: parse_amount(value, f"mix.{domain}") for domain, value in mix.items()}
    return Stage(**{"name": name, "learning_rate": 2e-5, **settings, "mix": amounts})


def stage_rows(plan: TrainingPlan, index: int = 0) -> np.ndarray:
    """Return the global row numbers of a stage in training order, without blanks."""
    start, stop = plan.step_bounds(plan.stages[index])
    rows = np.asarray(plan.order[start:stop])
    return rows[rows >= 0]


def rows_of(plan: TrainingPlan, domain: str, index: int = 0) -> np.ndarray:
    """Return the row numbers, within one domain, of its rows in a stage, in training order."""
    names = [pool.name for pool in plan.pools]
    sizes = [pool.rows for pool in plan.pools]
    start = sum(sizes[: names.index(domain)])
    rows = stage_rows(plan, index) - start
    return rows[(rows >= 0) & (rows < sizes[names.index(domain)])]
