"""Show a plan: tables for the terminal, and a bar chart of the stages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from axolotl_dmt.chart_style import INK, PAGE, colours_of, dress, new_figure, save, wrapped
from axolotl_dmt.plan.inputs import Stage
from axolotl_dmt.plan.row_counts import counts_table
from axolotl_dmt.plan.training_plan import TrainingPlan

_DOMAIN_COLUMNS = (
    "rows",
    "of",
    "taken",
    "draws",
    "of stage",
    "repeats",
    "tokens",
    "trained",
    "share of loss",
)


def plan_tables(plan: TrainingPlan) -> Iterator[Any]:
    """Yield the parts of the terminal view: datasets, stages, and the domains of each stage."""
    if plan.data:
        header, rows = counts_table(plan.data)
        data = Table(title="Data", title_justify="left", box=None, pad_edge=False)
        for index, name in enumerate(header):
            data.add_column(name, justify="left" if index < 2 else "right", overflow="fold")
        for row in rows:
            data.add_row(*map(Text, row))
        yield data
        yield Text("")
    stages = Table(title="Plan", title_justify="left", box=None, pad_edge=False)
    stages.add_column("stage", no_wrap=True)
    for name in (
        "steps",
        "epochs",
        "peak lr",
        "schedule",
        "warm-up",
        "rows",
        "tokens",
        "optimiser",
    ):
        stages.add_column(name, justify="right")
    for stage in plan.stages:
        settings = stage.settings
        reset = settings.reset_optimizer and stage.index > 0
        stages.add_row(
            stage.name,
            f"{stage.start_step + 1:,}-{stage.end_step:,}",
            f"{settings.epochs:g}",
            f"{settings.learning_rate:.2g}",
            settings.lr_scheduler,
            f"{stage.warmup_steps:,}",
            f"{stage.draws:,}",
            _count(stage.tokens),
            "reset" if reset else "new" if stage.index == 0 else "kept",
        )
    yield stages

    domains = Table(title="Domains", title_justify="left", box=None, pad_edge=False)
    domains.add_column("stage", no_wrap=True)
    domains.add_column("domain", no_wrap=True)
    for name in _DOMAIN_COLUMNS:
        domains.add_column(name, justify="right")
    for stage in plan.stages:
        for position, (name, draw) in enumerate(stage.domains.items()):
            domains.add_row(
                stage.name if position == 0 else "",
                name,
                f"{draw.rows:,}",
                f"{draw.available:,}",
                f"{draw.rows / draw.available:.1%}",
                f"{draw.draws:,}",
                f"{draw.draws / stage.draws:.1%}",
                f"{draw.max_repeats}",
                _count(draw.tokens),
                _count(draw.trained_tokens),
                f"{draw.share:.1%}",
                end_section=position + 1 == len(stage.domains),
            )
    yield Text("")
    yield domains
    yield Text("")
    for stage in plan.stages:
        if unusual := _unusual_settings(stage.settings):
            yield Text(f"{stage.name}: {', '.join(unusual)}")
    unit = f"packs of {plan.packs_per_step} a step" if plan.packs_per_step else "rows a step"
    batch = unit if plan.packs_per_step else f"{plan.global_batch:,} {unit}"
    yield Text(
        f"{plan.total_steps:,} steps, {batch}, seed {plan.seed}, fingerprint {plan.fingerprint}"
    )


def _unusual_settings(stage: Stage) -> list[str]:
    """Return a phrase for each setting that most stages leave at its default."""
    unusual = [f"frozen {pattern}" for pattern in stage.freeze]
    if stage.new_adapter:
        unusual.append("a fresh adapter on top")
    if stage.train_on_inputs is not None:
        unusual.append("trains on inputs" if stage.train_on_inputs else "inputs are masked")
    return unusual


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def plot_plan(plan: TrainingPlan, path: Path) -> None:
    """Draw one bar per stage, as long as its steps and divided by each domain's share of the loss.

    Args:
        plan: the plan to draw.
        path: the file to write; its suffix determines the format.
    """
    names = list(dict.fromkeys(name for stage in plan.stages for name in stage.domains))
    colours = colours_of(names)
    figure = new_figure(8, 1.3 + 0.6 * len(plan.stages))
    axes = figure.subplots()
    for row, stage in enumerate(plan.stages):
        left = float(stage.start_step)
        for name, draw in stage.domains.items():
            width = stage.steps * draw.share
            axes.barh(row, width, left=left, color=colours[name], height=0.7)
            room = int(80 * width / plan.total_steps)  # characters that fit into the bar
            if room > 5:
                text = f"{wrapped(name, room - 1, 2)}\n{draw.share:.0%}"
                place = (left + width / 2, row)
                axes.text(*place, text, ha="center", va="center", fontsize=8, color=PAGE)
            left += width
    dress(axes, grid="x")
    axes.set_yticks(range(len(plan.stages)), [wrapped(s.name, 24) for s in plan.stages])
    axes.invert_yaxis()
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("optimiser step; width of a part: its expected share of the loss")
    handles = [axes.barh(0, 0, color=colours[name]) for name in names]
    texts = [wrapped(name, 40) for name in names]
    columns = max(1, min(len(names), 6, 100 // (max(map(len, texts)) + 6)))
    style = {"frameon": False, "fontsize": 9, "labelcolor": INK, "ncols": columns}
    figure.legend(handles, texts, loc="outside upper center", **style)
    save(figure, path)
