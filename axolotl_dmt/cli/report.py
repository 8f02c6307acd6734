"""`axolotl dmt report`: write the report of a run again and print its table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from axolotl_dmt.cli.group import FILE, FOLDER, hooks_option
from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError

if TYPE_CHECKING:
    from axolotl_dmt.results.results import Results


@click.command()
@click.argument("output_dir", type=FOLDER)
@hooks_option
@click.option(
    "--nearest",
    is_flag=True,
    help="Also find the rows that each stage trained on and that are most like the items that it "
    "lost, and show them as a hint. Loads the prepared rows.",
)
@click.option("--config", type=FILE, help="With --nearest: the YAML, if not the run's own copy.")
def report(output_dir: Path, hooks: tuple[str, ...], nearest: bool, config: Path | None) -> None:
    """Rewrite the report of a run and print its table."""
    rewrite_report(output_dir, hooks=hooks, nearest=nearest, config=config)


def rewrite_report(
    output_dir: Path, *, hooks: Sequence[str], nearest: bool = False, config: Path | None = None
) -> None:
    """Write the report of a run again, from its results, and print its table.

    Args:
        output_dir: the run's output folder.
        hooks: the hooks to load, named as in `dmt.hooks`.
        nearest: find the rows that are most like the items that were lost.
        config: the YAML of the run; None for the one saved in its folder.

    Raises:
        DMTError: the folder holds no run, a hook cannot be loaded, or the YAML and its data are
            not those of the run.
    """
    from axolotl_dmt.results.folder import load_results

    results = load_results(output_dir)
    load_requested_hooks(hooks, results)
    if nearest:
        _find_nearest(output_dir, config or saved_config(output_dir))
    write_and_print(output_dir, results)


def _find_nearest(output_dir: Path, config: Path) -> None:
    from axolotl_dmt.console import quiet_axolotl
    from axolotl_dmt.report.view import MOST_FLIPS

    with quiet_axolotl():
        from axolotl_dmt.training.nearest_rows import find_nearest

        found = find_nearest(output_dir, config, most_items=MOST_FLIPS)
    if found is None:
        echo("no stage lost an item whose answers the run has kept", err=True)


def saved_config(output_dir: Path) -> Path:
    """Return the YAML that is saved in a run's folder.

    Raises:
        DMTError: there is none, or it names hooks.
    """
    from axolotl_dmt.config.yaml_file import YamlFile
    from axolotl_dmt.results.folder import RunFolder

    path = RunFolder(output_dir).config
    if not path.is_file():
        raise DMTError("--config", f"there is no {path}", "name the YAML of the run")
    # The folder may come from somebody else, and hooks are code.
    if YamlFile.read(path).hooks():
        raise DMTError("--config", f"{path} names hooks, which are code", f"use --config {path}")
    return path


def load_requested_hooks(names: Sequence[str], results: Results) -> None:
    """Load the hooks that the user named, and no others.

    The folder may come from somebody else, and hooks are code: the run's own hooks are only listed.

    Args:
        names: the hooks, named as in `dmt.hooks`.
        results: the run's results, which record the hooks that it used.

    Raises:
        DMTError: a hook cannot be loaded.
    """
    from axolotl_dmt.hooks.loading import load_hooks
    from axolotl_dmt.results.results import HOOKS

    load_hooks(names)
    used = results.extra.get(HOOKS)
    if used and not names:
        echo(f"the run used hooks ({', '.join(used)}); load them with --hooks", err=True)


def write_and_print(output_dir: Path, results: Results) -> None:
    """Write the report and the section of the model card; print the table and the page's path."""
    from axolotl_dmt.report.console import Console
    from axolotl_dmt.report.model_card import update_card
    from axolotl_dmt.report.terminal import print_tables
    from axolotl_dmt.report.view import ReportView
    from axolotl_dmt.report.write import write_report
    from axolotl_dmt.results.folder import RunFolder

    view, folder = ReportView.of(results, output_dir), RunFolder(output_dir)
    write_report(view, folder.dmt)
    update_card(view, output_dir)
    print_tables(view, Console())
    echo(f"  {folder.report_html}")
