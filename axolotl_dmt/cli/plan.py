"""`axolotl dmt plan`: compile the plan of a YAML as training does, and show it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.console import echo, quiet_axolotl
from axolotl_dmt.errors import DMTError, first_line
from axolotl_dmt.plan.plan_warnings import plan_warnings
from axolotl_dmt.plan.row_counts import notes_on_rows
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.training.plan_inputs import PlanInputs, quick_plan


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
    quick = None if cost else quick_plan(config)
    costs = None
    if quick is not None:
        plan, inputs = quick.plan, quick.inputs
        for remark in quick.remarks:
            echo(f"warning: {remark}", err=True)
    else:
        plan, inputs, cfg = _compiled(config)
        if cost:
            from axolotl_dmt.training.requirements import cost_table

            costs = cost_table(cfg, plan)
    if rows:
        from axolotl_dmt.plan.draws import write_rows

        with _writing("--rows", rows):
            write_rows(plan, inputs.domains, Path(rows))
    if plot:
        from axolotl_dmt.plan.show import plot_plan

        with _writing("--plot", plot):
            plot_plan(plan, Path(plot))
    about_rows = [*notes_on_rows(plan.data), *inputs.notes, *inputs.searched]
    for warning in (*about_rows, *plan_warnings(plan), *inputs.prompt_warnings):
        echo(f"warning: {warning}", err=True)
    if as_json:
        echo(json.dumps(plan.to_json(), indent=2))
        return
    from axolotl_dmt.plan.show import plan_tables
    from axolotl_dmt.report.console import Console

    # Numbers must not be cut, even if the terminal is narrower.
    console = Console()
    longest = max((len(counts.dataset) for counts in plan.data or ()), default=0)
    console.width = max(console.width, 110, min(longest, 100) + 75)
    for part in plan_tables(plan):
        console.print(part)
    if costs is not None:
        console.print(costs)
    for line in inputs.prompt_lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if inputs.summary is not None:
        console.print(inputs.summary, highlight=False, markup=False, soft_wrap=True)
    for path in filter(None, (rows, plot)):
        console.print(f"wrote {path}", style="dim", highlight=False)


def _compiled(config: str) -> tuple[TrainingPlan, PlanInputs, Any]:
    """Compile the plan with Axolotl, and keep its inputs for later.

    Returns:
        The plan, its inputs, and Axolotl's validated configuration.
    """
    with quiet_axolotl():
        from axolotl_dmt.training.asking import run_prompts
        from axolotl_dmt.training.load_run import compile_from_yaml
        from axolotl_dmt.training.plan_inputs import save
        from axolotl_dmt.training.prepared_inputs import inputs_of, prepared_folders

        compiled = compile_from_yaml(config, search=True)
        run, cfg = compiled.run, compiled.cfg
        prompts = run_prompts(run, cfg)
        inputs = inputs_of(run, cfg, compiled.pool, prompts)
        save(YamlFile.read(config).data, inputs, run.schedule.stages, prepared_folders(cfg))
    return compiled.plan, inputs, cfg


@contextlib.contextmanager
def _writing(option: str, path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        problem = f"{path} cannot be written ({first_line(error)})"
        raise DMTError(option, problem, "name another file") from None
