"""`axolotl dmt plan`: compile the plan of a YAML as training would, and show it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axolotl_dmt.args import AUTO
from axolotl_dmt.errors import DMTError
from axolotl_dmt.k_choice import choice_file
from axolotl_dmt.loadable import loading
from axolotl_dmt.yaml_file import YamlFile

if TYPE_CHECKING:
    from axolotl_dmt.plan import TrainingPlan
    from axolotl_dmt.run import Run


def show_plan(config: str, *, as_json: bool, plot: str | None, rows: str | None) -> None:
    """Compile the plan of a YAML file and print it.

    Args:
        config: path of the YAML.
        as_json: print the JSON contract instead of tables.
        plot: where to write the bar picture, or None.
        rows: where to write every draw as Parquet, or None.
    """
    with quiet_logs():
        plan, run = compile_from_yaml(config)
    if rows:
        from axolotl_dmt.rows import write_rows

        with _writing("--rows", rows):
            write_rows(plan, run.pool.domains, Path(rows))
    if plot:
        from axolotl_dmt.plan_view import plot_plan

        with _writing("--plot", plot):
            plot_plan(plan, Path(plot))
    if as_json:
        print(json.dumps(plan.to_json(), indent=2))
        return
    from rich.console import Console

    from axolotl_dmt.plan_view import plan_tables

    # Numbers must not be cut, whatever the width of the terminal.
    console = Console()
    console.width = max(console.width, 110)
    for part in plan_tables(plan):
        console.print(part)
    for path in filter(None, (rows, plot)):
        console.print(f"wrote {path}", style="dim", highlight=False)


def compile_from_yaml(config: str) -> tuple[TrainingPlan, Run]:
    """The plan that `axolotl train` would follow, through Axolotl's own configuration loading.

    Raises:
        DMTError: the YAML has no `dmt:` block, or a mistake in it.
    """
    cfg, run = load_run(config)
    from axolotl_dmt.data import unprepared

    if missing := unprepared(cfg):
        print(f"tokenising, not prepared yet: {', '.join(missing.values())}", file=sys.stderr)
    run.pool = run.load_pool(cfg)
    return run.compile(cfg, run.pool.domains), run


def load_run(config: str, **changes: Any) -> tuple[Any, Run]:
    """Axolotl's checked configuration of a YAML, and our run under it.

    Args:
        config: path of the YAML.
        **changes: keys of the YAML to read otherwise.

    Raises:
        DMTError: the YAML has no `dmt:` block, or a mistake in it, or the base model is not there.
    """
    raw = YamlFile.read(config).data  # what is not YAML at all is said in one line
    block = changes.get("dmt", raw.get("dmt"))
    if isinstance(block, dict) and block.get("k") == AUTO:
        changes["dmt"] = {**block, "k_file": str(choice_file(raw))}
    from axolotl.cli.config import load_cfg
    from axolotl.integrations.base import PluginManager

    # Axolotl empties the debug.log of its output folder, which may hold a finished run's: nothing
    # of a plan that is only looked at goes there.
    scratch_folder = tempfile.TemporaryDirectory(prefix="axolotl-dmt-")
    with scratch_folder as scratch, loading({"base_model": raw.get("base_model")}):
        cfg = load_cfg(config, **changes, output_dir=scratch)
    plugins: Any = PluginManager.get_instance().plugins
    run = next((plugin.run for plugin in plugins.values() if hasattr(plugin, "run")), None)
    if run is None:
        raise DMTError(
            "dmt",
            f"{config} has no dmt block, or does not list the plugin",
            "add plugins: [axolotl_dmt.DMTPlugin] and a dmt block",
        )
    return cfg, run


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Axolotl logs its whole configuration and prints to stdout; neither belongs in a plan."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    os.environ.setdefault("TQDM_DISABLE", "1")
    with contextlib.redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            logging.disable(level)


@contextlib.contextmanager
def _writing(option: str, path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DMTError(option, f"{path} cannot be written ({first})", "name another file") from None
