"""`axolotl dmt ...`: what can be asked of a YAML or a run without training."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

from axolotl_dmt.errors import DMTError


@contextlib.contextmanager
def _one_clear_error() -> Iterator[None]:
    try:
        yield
    except DMTError as error:
        for line in str(error).splitlines():
            click.echo(f"axolotl-dmt: {line}", err=True)
        sys.exit(2)


@click.group()
def dmt() -> None:
    """Dual-stage Mixed Fine-tuning: look at a plan before it is trained."""


@dmt.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Write a bar picture of the stages.")
@click.option(
    "--rows",
    type=click.Path(dir_okay=False),
    help="Write every draw in training order to a Parquet file.",
)
def plan(config: str, as_json: bool, plot: str | None, rows: str | None) -> None:
    """Print the plan of CONFIG: stages, rows, tokens, steps. Loads no model."""
    with _one_clear_error():
        from axolotl_dmt.plan_command import show_plan

        show_plan(config, as_json=as_json, plot=plot, rows=rows)


@dmt.command()
def strategies() -> None:
    """List the strategies, those of installed plugins too."""
    with _one_clear_error():
        from rich.console import Console
        from rich.table import Table

        from axolotl_dmt.hooks import known_strategies

        table = Table("strategy", "what it does", box=None, pad_edge=False)
        for strategy in known_strategies().values():
            table.add_row(strategy.name, strategy.summary)
        Console().print(table)
