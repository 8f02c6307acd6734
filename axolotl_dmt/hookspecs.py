"""The hooks that other packages, modules and single files may implement.

Mark each implementation with `axolotl_dmt.hookimpl`. An implementation may leave out arguments that
it does not need. Every example here is a whole file that `dmt.hooks: [my_hooks.py]` takes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from axolotl_dmt.inputs import Stage
    from axolotl_dmt.mixing import Selector
    from axolotl_dmt.orders import Order
    from axolotl_dmt.results import Results, Score
    from axolotl_dmt.solve import AmountRows
    from axolotl_dmt.strategies import Strategy
    from axolotl_dmt.training_plan import StagePlan, TrainingPlan

hookspec = pluggy.HookspecMarker("axolotl_dmt")


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """What a hook is told where a stage starts or ends.

    Attributes:
        stage: the stage, with its steps, settings and rows by domain.
        plan: the whole plan.
        step: optimiser steps done so far, over all stages.
        trainer: Axolotl's trainer; `trainer.model` is the live model. Every rank has its own.
        is_main: whether this is the process that writes files.
        output_dir: of the run.
        folder: at a stage's end, where its model was saved; None at its start.
        scores: at a stage's end, its score by ability where it was scored; rank 0 alone has them.
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
        title: its heading, plain text.
        markdown: its text; tables and `data:` images work. HTML in it is shown as text.
    """

    title: str
    markdown: str


@hookspec
def register_strategies() -> Sequence[Strategy]:  # type: ignore[empty-body]
    """Strategies to offer under `dmt.strategy`, beside the built-in ones.

    Returns:
        The strategies. Their mixes are written as in the YAML.

    Example:
        General data first, then the rest::

            from axolotl_dmt import hookimpl
            from axolotl_dmt.strategies import Strategy


            def stages(setting):
                yield "general", dict.fromkeys(setting.general, "all")
                yield "special", dict.fromkeys(setting.specialised, "all")


            @hookimpl
            def register_strategies():
                return [Strategy(name="general_first", summary="general data first", stages=stages)]
    """


@hookspec
def register_amounts() -> Mapping[str, AmountRows]:  # type: ignore[empty-body]
    """Units for the amounts of a `mix`, by name, written `math: {name: number}`.

    Returns:
        Unit -> function. It is given the domain (`axolotl_dmt.inputs.Domain`, with the number of
        rows and their lengths) and the exact number from the YAML (a `Fraction`), and returns the
        rows of the domain that one epoch takes, 1 or more. Which rows these are is `select`'s.

    Example:
        `math: {at_most: 5000}`, all rows but no more than that::

            from axolotl_dmt import hookimpl


            def at_most(domain, value):
                return min(domain.rows, int(value))


            @hookimpl
            def register_amounts():
                return {"at_most": at_most}
    """


@hookspec
def register_selectors() -> Mapping[str, Selector]:  # type: ignore[empty-body]
    """Ways for `select` to rank a domain's rows, by name; a part of it is the first of them.

    Returns:
        Name -> function. It is given the domain and a 64-bit key that depends on the seed, and
        returns the numbers of all its rows, the ones to take first at the front, shape (rows,).

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
    """Ways for `order` to lay out one epoch's rows, by name.

    Returns:
        Name -> function. It is given an `axolotl_dmt.orders.Epoch` and returns its rows in
        training order, each as often as it was given, shape (draws,).

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

    Called once for a run on every rank, where the YAML is read: the same stages must give the same
    answer on each. Each implementation is given the stages that the one before returned.

    Args:
        stages: in training order, every default filled in.
        domains: names of the domains that have a dataset, in the YAML's order.

    Returns:
        The stages to train, or None to leave them as they are.

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
    """Called on every rank before the first step of a stage, and where a run resumes within one.

    Example:
        Say what is about to be learned::

            from axolotl_dmt import hookimpl


            @hookimpl
            def stage_start(context):
                if context.is_main:
                    print("learning", ", ".join(context.stage.domains))
    """


@hookspec
def stage_end(context: StageContext) -> None:
    """Called on every rank after a stage's last step, once its model is saved and scored.

    Example:
        Keep a line for each stage in a file of one's own::

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
    """Choose which of lm-eval's numbers are an ability's score, and bring them to 0 to 1.

    Called after each evaluation, where lm-eval's results are: with `runner: subprocess`, in that
    process. Each implementation is given what the one before left.

    Args:
        scores: by ability, as they would be recorded: the first known metric of each task.
        output: what `lm_eval.simple_evaluate` returned; `output["results"][task]` has each metric.

    Returns:
        The scores by ability to record, or None to leave them as they are.

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
    """Sections to add at the end of `report.html` and `report.md`.

    Args:
        results: the run, as `results.json` holds it.

    Returns:
        The sections, none where there is nothing to say.

    Example:
        How long each part took::

            from axolotl_dmt import hookimpl
            from axolotl_dmt.hookspecs import Section


            @hookimpl
            def report_sections(results):
                lines = [f"- {part}: {seconds:.0f} s" for part, seconds in results.timings.items()]
                return [Section(title="Where the time went", markdown="\\n".join(lines))]
    """


@hookspec
def register_recipes() -> Mapping[str, Path]:  # type: ignore[empty-body]
    """Recipes that come with a package, by the name that `axolotl dmt recipe` takes.

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
