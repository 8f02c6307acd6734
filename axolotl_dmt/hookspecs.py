"""The hooks that other packages, modules and single files can implement.

Mark each implementation with `axolotl_dmt.hookimpl`. An implementation may leave out arguments that
it does not need. Every example is a complete file for `dmt.hooks: [my_hooks.py]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from axolotl_dmt.plan.inputs import Stage
    from axolotl_dmt.plan.orders import Order
    from axolotl_dmt.plan.ranking import Selector
    from axolotl_dmt.plan.solve import AmountRows
    from axolotl_dmt.plan.training_plan import StagePlan, TrainingPlan
    from axolotl_dmt.results.results import Results, Score
    from axolotl_dmt.strategies import Strategy

hookspec = pluggy.HookspecMarker("axolotl_dmt")


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """The state of the training at the start or the end of a stage.

    Attributes:
        stage: the stage, with its steps, settings and rows by domain.
        plan: the whole plan.
        step: the number of optimiser steps so far, over all stages.
        trainer: Axolotl's trainer; `trainer.model` is the live model. Every rank has its own.
        is_main: whether this is the process that writes files.
        output_dir: the output folder of the run.
        folder: at the end of the stage, the folder of its saved model; None at its start.
        scores: at the end of the stage, its scores by ability if it was scored. Only rank 0 has
            them.
    """

    stage: StagePlan
    plan: TrainingPlan
    step: int
    trainer: Any
    is_main: bool
    output_dir: Path
    folder: Path | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the report.

    Attributes:
        title: the heading, as plain text.
        markdown: the text; tables and `data:` images work, and HTML is shown as text.
    """

    title: str
    markdown: str


@hookspec
def register_strategies() -> Sequence[Strategy]:  # type: ignore[empty-body]
    """Add strategies for `dmt.strategy` to the built-in ones.

    Returns:
        The strategies. Their mixes are written as in the YAML.

    Example:
        General data first, then the rest::

            from axolotl_dmt import hookimpl
            from axolotl_dmt.api import Strategy


            def stages(setting):
                yield "general", dict.fromkeys(setting.general, "all")
                yield "special", dict.fromkeys(setting.specialised, "all")


            @hookimpl
            def register_strategies():
                return [Strategy(name="general_first", summary="general data first", stages=stages)]
    """


@hookspec
def register_amounts() -> Mapping[str, AmountRows]:  # type: ignore[empty-body]
    """Add units for the amounts of a `mix`, by name, written `math: {name: number}`.

    Returns:
        Unit -> function. It receives the domain (`axolotl_dmt.api.Domain`, with the number of rows
        and their lengths) and the exact number from the YAML (a `Fraction`), and returns the number
        of rows of the domain that one epoch takes, 1 or more; `select` chooses which.

    Example:
        `math: {at_most: 5000}`, all rows, but not more than 5000::

            from axolotl_dmt import hookimpl


            def at_most(domain, value):
                return min(domain.rows, int(value))


            @hookimpl
            def register_amounts():
                return {"at_most": at_most}
    """


@hookspec
def register_selectors() -> Mapping[str, Selector]:  # type: ignore[empty-body]
    """Add selections for `select`, by name: each ranks the rows of a domain.

    Returns:
        Name -> function. It receives the domain and a 64-bit key that depends on the seed, and
        returns the numbers of all its rows in the order in which they are taken, shape (rows,).

    Example:
        `select: last`, the newest rows of a file that grows::

            import numpy as np
            from axolotl_dmt import hookimpl


            def last(domain, key):
                return np.arange(domain.rows)[::-1]


            @hookimpl
            def register_selectors():
                return {"last": last}
    """


@hookspec
def register_orders() -> Mapping[str, Order]:  # type: ignore[empty-body]
    """Add orders for `order`, by name: each puts the rows of one epoch in training order.

    Returns:
        Name -> function. It receives an `axolotl_dmt.api.Epoch` and returns its rows in
        training order, each as often as in the epoch, shape (draws,).

    Example:
        `order: short_first`, a curriculum by length::

            import numpy as np
            from axolotl_dmt import hookimpl


            def short_first(epoch):
                return epoch.rows[np.argsort(epoch.lengths(epoch.rows), kind="stable")]


            @hookimpl
            def register_orders():
                return {"short_first": short_first}
    """


@hookspec
def adjust_stages(stages: Sequence[Stage], domains: Sequence[str]) -> Sequence[Stage] | None:
    """Change the resolved stages before they are compiled into a plan.

    Called once for a run on every rank, when the YAML is read: the same stages must give the same
    answer on every rank. Each implementation receives the stages that the one before returned.

    Args:
        stages: in training order, every default filled in.
        domains: names of the domains that have a dataset, in the YAML's order.

    Returns:
        The stages to train, or None to leave them unchanged.

    Example:
        Each stage at half the learning rate of the one before::

            from dataclasses import replace
            from axolotl_dmt import hookimpl


            @hookimpl
            def adjust_stages(stages):
                return [
                    replace(stage, learning_rate=stage.learning_rate / 2**index)
                    for index, stage in enumerate(stages)
                ]
    """


@hookspec
def stage_start(context: StageContext) -> None:
    """Act on every rank before the first step of a stage, or when a run resumes within one.

    Example:
        Print what the stage trains on::

            from axolotl_dmt import hookimpl


            @hookimpl
            def stage_start(context):
                if context.is_main:
                    print("training on", ", ".join(context.stage.domains))
    """


@hookspec
def stage_end(context: StageContext) -> None:
    """Act on every rank after the last step of a stage, once its model is saved and scored.

    Example:
        Write a line for each stage to a file::

            from axolotl_dmt import hookimpl


            @hookimpl
            def stage_end(context):
                if context.is_main:
                    with (context.output_dir / "stages.txt").open("a") as file:
                        file.write(f"{context.step} {context.stage.name}\\n")
    """


@hookspec
def adjust_scores(
    scores: Mapping[str, Score], output: Mapping[str, Any]
) -> Mapping[str, Score] | None:
    """Choose which of lm-eval's numbers is the score of an ability, and scale it to 0 to 1.

    Called after each evaluation in the process that ran lm-eval: with `runner: subprocess`, in that
    process. Each implementation receives the scores that the one before returned.

    Args:
        scores: by ability, the first known metric of each task.
        output: what `lm_eval.simple_evaluate` returned; `output["results"][task]` has each metric.

    Returns:
        The scores to record, by ability, or None to leave them unchanged.

    Example:
        MT-Bench's 1 to 10 as 0 to 1::

            from dataclasses import replace
            from axolotl_dmt import hookimpl


            @hookimpl
            def adjust_scores(scores):
                return {
                    name: replace(score, value=(score.value - 1) / 9, stderr=None)
                    if score.task == "dmt_general_mtbench"
                    else score
                    for name, score in scores.items()
                }
    """


@hookspec
def report_sections(results: Results) -> Sequence[Section]:  # type: ignore[empty-body]
    """Add sections to the end of `report.html` and `report.md`.

    Args:
        results: the results of the run, as in `results.json`.

    Returns:
        The sections; an empty list adds none.

    Example:
        The time that each part took::

            from axolotl_dmt import hookimpl
            from axolotl_dmt.api import Section


            @hookimpl
            def report_sections(results):
                lines = [f"- {part}: {seconds:.0f} s" for part, seconds in results.timings.items()]
                return [Section(title="Where the time went", markdown="\\n".join(lines))]
    """


@hookspec
def register_recipes() -> Mapping[str, Path]:  # type: ignore[empty-body]
    """Add the recipes of a package, by the name that `axolotl dmt recipe` takes.

    Returns:
        Name -> the recipe's YAML file or folder.

    Example:
        A recipe in the folder of the package::

            from pathlib import Path
            from axolotl_dmt import hookimpl


            @hookimpl
            def register_recipes():
                return {"my_lab/math_first": Path(__file__).with_name("math_first.yaml")}
    """
