"""A strategy, an order and a report section for axolotl-dmt."""

from __future__ import annotations

import numpy as np

from axolotl_dmt import hookimpl
from axolotl_dmt.api import (
    Epoch,
    Order,
    Results,
    Rows,
    Section,
    Setting,
    StageMixes,
    Strategy,
)


def rehearse(setting: Setting) -> StageMixes:
    """Return dmt's two stages and a third one that trains on a fraction k of every domain."""
    replay = dict.fromkeys(setting.specialised, setting.k)
    return [
        ("specialise", dict.fromkeys(setting.specialised, "all")),
        ("generalise", {**dict.fromkeys(setting.general, "all"), **replay}),
        ("rehearse", dict.fromkeys(setting.domains, setting.k)),
    ]


def short_first(epoch: Epoch) -> Rows:
    """Return the epoch's rows ordered by length, the shortest first."""
    return epoch.rows[np.argsort(epoch.lengths(epoch.rows), kind="stable")]


@hookimpl
def register_strategies() -> list[Strategy]:
    """Offer the strategy `rehearse`."""
    summary = "dmt, and a third stage that rehearses k of every domain"
    return [Strategy(name="rehearse", summary=summary, stages=rehearse)]


@hookimpl
def register_orders() -> dict[str, Order]:
    """Offer the order `short_first`."""
    return {"short_first": short_first}


@hookimpl
def report_sections(results: Results) -> list[Section]:
    """Add a section with the rows per optimiser step of each stage."""
    lines, done = ["| stage | rows a step |", "| :-- | --: |"], 0
    for stage in results.stages:
        steps, done = stage.end_step - done, stage.end_step
        lines.append(f"| {stage.name} | {sum(stage.rows.values()) / max(steps, 1):.1f} |")
    return [Section(title="Rows a step", markdown="\n".join(lines))]
