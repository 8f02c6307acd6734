"""`axolotl dmt report`: write the report of a run again and print its table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from axolotl_dmt.console import echo
from axolotl_dmt.hooks.loading import load_hooks
from axolotl_dmt.report.console import Console
from axolotl_dmt.report.model_card import update_card
from axolotl_dmt.report.terminal import print_tables
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.report.write import write_report
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.results import HOOKS, Results


def rewrite_report(output_dir: Path, *, hooks: Sequence[str]) -> None:
    """Write the report of a run again, from its results, and print its table.

    Args:
        output_dir: the run's output folder.
        hooks: the hooks to load, named as in `dmt.hooks`.

    Raises:
        DMTError: the folder holds no run, or a hook cannot be loaded.
    """
    results = load_results(output_dir)
    load_requested_hooks(hooks, results)
    write_and_print(output_dir, results)


def load_requested_hooks(names: Sequence[str], results: Results) -> None:
    """Load the hooks that the user named, and no others.

    The folder may come from somebody else, and hooks are code: the run's own hooks are only listed.

    Args:
        names: the hooks, named as in `dmt.hooks`.
        results: the run's results, which record the hooks that it used.

    Raises:
        DMTError: a hook cannot be loaded.
    """
    load_hooks(names)
    used = results.extra.get(HOOKS)
    if used and not names:
        echo(f"the run used hooks ({', '.join(used)}); load them with --hooks", err=True)


def write_and_print(output_dir: Path, results: Results) -> None:
    """Write the report and the section of the model card; print the table and the page's path."""
    view, folder = ReportView.of(results, output_dir), RunFolder(output_dir)
    write_report(view, folder.dmt)
    update_card(view, output_dir)
    print_tables(view, Console())
    echo(f"  {folder.report_html}")
