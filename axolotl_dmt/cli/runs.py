"""`axolotl dmt evaluate`, `report` and `compare`: the commands that read finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from axolotl_dmt.cli.evaluate import score_stages
from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks.loading import load_hooks
from axolotl_dmt.report.compare import load_runs, terminal, write_html, write_markdown
from axolotl_dmt.report.model_card import update_card
from axolotl_dmt.report.terminal import terminal_table
from axolotl_dmt.report.write import write_report
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.results import HOOKS, Results


def evaluate_run(
    output_dir: Path, *, config: Path | None, again: bool, hooks: Sequence[str]
) -> None:
    """Score the stages of a run and print its table.

    Args:
        output_dir: the run's output folder.
        config: a YAML whose `dmt.evaluate` replaces the run's own.
        again: score the stages that already have scores, too.
        hooks: the hooks to load, named as in `dmt.hooks`.

    Raises:
        DMTError: the folder holds no run, a hook cannot be loaded, or a stage cannot be scored.
    """
    _load_hooks(hooks, load_results(output_dir))
    for stage, outcome in score_stages(output_dir, config_file=config, again=again):
        click.echo(f"{stage}: {outcome}")
    _show_report(output_dir, load_results(output_dir))


def rewrite_report(output_dir: Path, *, hooks: Sequence[str]) -> None:
    """Write the report of a run again, from its results, and print its table.

    Args:
        output_dir: the run's output folder.
        hooks: the hooks to load, named as in `dmt.hooks`.

    Raises:
        DMTError: the folder holds no run, or a hook cannot be loaded.
    """
    results = load_results(output_dir)
    _load_hooks(hooks, results)
    write_report(results, RunFolder(output_dir).dmt)
    update_card(output_dir, results)
    _show_report(output_dir, results)


def compare_runs(folders: Sequence[Path], *, markdown: Path | None, html: Path | None) -> None:
    """Print the tables that compare several runs, and write them to files if asked.

    Args:
        folders: the runs' output folders; the others are compared with the first.
        markdown: a Markdown file to write.
        html: an HTML page to write.

    Raises:
        DMTError: fewer than two runs, a folder without results, or a file that cannot be written.
    """
    runs = load_runs(folders)
    console = Console()
    for table in terminal(runs):
        console.print(table)
    try:
        written = write_markdown(runs, markdown) if markdown else []
        written += write_html(runs, html) if html else []
    except OSError as error:
        problem = f"{error.filename} cannot be written ({error.strerror})"
        raise DMTError("--markdown or --html", problem, "name another file") from None
    for path in written:
        click.echo(f"  {path}")


def _load_hooks(names: Sequence[str], results: Results) -> None:
    """Load the hooks that the user named, and no others.

    The folder may come from somebody else, and hooks are code: those that the run used are only
    listed.
    """
    load_hooks(names)
    used = results.extra.get(HOOKS)
    if used and not names:
        click.echo(f"the run used hooks ({', '.join(used)}); load them with --hooks", err=True)


def _show_report(output_dir: Path, results: Results) -> None:
    Console().print(terminal_table(results))
    click.echo(f"  {RunFolder(output_dir).report_html}")
