"""`axolotl dmt plan`: compile the plan of a YAML as training does, and show it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from axolotl_dmt.checks.prompts import prompt_lines, prompt_warnings
from axolotl_dmt.console import echo, quiet_axolotl
from axolotl_dmt.errors import DMTError, first_line
from axolotl_dmt.plan.plan_warnings import plan_warnings
from axolotl_dmt.plan.row_counts import notes_on_rows
from axolotl_dmt.training.load_run import compile_from_yaml


def show_plan(
    config: str, *, as_json: bool, plot: str | None, rows: str | None, cost: bool
) -> None:
    """Compile the plan of a YAML file and print it.

    Args:
        config: the path of the YAML.
        as_json: print the documented JSON instead of tables.
        plot: the picture to write, or None.
        rows: the Parquet file to write with every draw, or None.
        cost: print what the run needs on several kinds of GPU.

    Raises:
        DMTError: a mistake in the YAML, or a file cannot be written.
    """
    with quiet_axolotl():
        from axolotl_dmt.training.asking import run_prompts

        compiled = compile_from_yaml(config, search=True)
        prompts = run_prompts(compiled.run, compiled.cfg)
        plan, evaluate = compiled.plan, compiled.run.schedule.config.evaluate
        search = compiled.pool.contamination
    if rows:
        from axolotl_dmt.plan.draws import write_rows

        with _writing("--rows", rows):
            write_rows(plan, compiled.pool.domains, Path(rows))
    if plot:
        from axolotl_dmt.plan.show import plot_plan

        with _writing("--plot", plot):
            plot_plan(plan, Path(plot))
    about_prompts = dict.fromkeys(prompt_warnings(prompts, evaluate))
    about_rows = [*notes_on_rows(plan.data), *compiled.notes]
    if search is not None:
        about_rows += search.warnings()
    for warning in (*about_rows, *plan_warnings(plan), *about_prompts):
        echo(f"warning: {warning}", err=True)
    if as_json:
        echo(json.dumps(plan.to_json(), indent=2))
        return
    from axolotl_dmt.plan.show import plan_tables
    from axolotl_dmt.report.console import Console

    # Numbers must not be cut, even if the terminal is narrower.
    console = Console()
    console.width = max(console.width, 110)
    for part in plan_tables(plan):
        console.print(part)
    if cost:
        from axolotl_dmt.training.requirements import cost_table

        console.print(cost_table(compiled.cfg, plan))
    for line in prompt_lines(prompts, evaluate):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if search is not None:
        console.print(search.summary(), highlight=False, markup=False, soft_wrap=True)
    for path in filter(None, (rows, plot)):
        console.print(f"wrote {path}", style="dim", highlight=False)


@contextlib.contextmanager
def _writing(option: str, path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        problem = f"{path} cannot be written ({first_line(error)})"
        raise DMTError(option, problem, "name another file") from None
