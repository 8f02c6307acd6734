"""`axolotl dmt solve`: find the cheapest mix that keeps what a YAML names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from axolotl_dmt.cli.group import FILE, NEW_FILE, where_options


@click.command()
@click.argument("config", type=FILE)
@click.option(
    "--to",
    type=NEW_FILE,
    help="The YAML to write.  [default: CONFIG with .solved before its ending]",
)
@where_options
@click.option(
    "--nearest",
    is_flag=True,
    help="If no mix is sure to hold every floor, write the nearest one all the same.",
)
@click.option("--dry-run", is_flag=True, help="Print what the probes would cost; train nothing.")
@click.option(
    "--train",
    is_flag=True,
    help="Afterwards, train the stage that was found, from the weights that the probes started "
    "from.",
)
def solve(
    config: Path, jobs: int | None, ray: str | None, gpus: float | None, **options: Any
) -> None:
    """Find the cheapest mix that keeps what dmt.keep names.

    Trains the stages before the last once, then short probes of the last one with other amounts of
    each domain. Writes a new YAML with the stages that were found. If started again, the command
    continues where it stopped. Exits with code 1 if no mix is sure to hold every floor.
    """
    from axolotl_dmt.study.solve import solve as run_solver
    from axolotl_dmt.study.workers import Where

    run_solver(config, where=Where(jobs=jobs, ray=ray, gpus=gpus), **options)
