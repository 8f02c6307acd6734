"""A strategy, an order and a report section for axolotl-dmt."""

from __future__ import annotations

import numpy as np

from axolotl_dmt import hookimpl
from axolotl_dmt.hookspecs import Section
from axolotl_dmt.inputs import Rows
from axolotl_dmt.orders import Epoch, Order
from axolotl_dmt.results import Results
from axolotl_dmt.strategies import Setting, StageMixes, Strategy


def rehearse(setting: Setting) -> StageMixes:
    """Specialise, generalise with a replay of k, then rehearse k of everything."""
    replay = dict.fromkeys(setting.specialised, setting.k)
    return [
        ("specialise", dict.fromkeys(setting.specialised, "all")),
        ("generalise", {**dict.fromkeys(setting.general, "all"), **replay}),
        ("rehearse", dict.fromkeys(setting.domains, setting.k)),
    ]


def short_first(epoch: Epoch) -> Rows:
    """The epoch's rows by length, short ones first."""
    return epoch.rows[np.argsort(epoch.lengths(epoch.rows), kind="stable")]


@hookimpl
def register_strategies() -> list[Strategy]:
    """One more strategy."""
    summary = "dmt, and a third stage that rehearses k of every domain"
    return [Strategy(name="rehearse", summary=summary, stages=rehearse)]


@hookimpl
def register_orders() -> dict[str, Order]:
    """One more order."""
    return {"short_first": short_first}


@hookimpl
def report_sections(results: Results) -> list[Section]:
    """Rows per optimiser step of each stage."""
    lines, done = ["| stage | rows a step |", "| :-- | --: |"], 0
    for stage in results.stages:
        steps, done = stage.end_step - done, stage.end_step
        lines.append(f"| {stage.name} | {sum(stage.rows.values()) / max(steps, 1):.1f} |")
    return [Section(title="Rows a step", markdown="\n".join(lines))]
