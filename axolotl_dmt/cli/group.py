"""What the commands share: the group, which reports mistakes in one message, types and options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from axolotl_dmt.errors import DMTError, one_clear_error

EXTRAS: Final = {"axolotl": "train", "torch": "eval", "transformers": "eval", "peft": "eval"}
"""The extra of this package that installs a library."""

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)

hooks_option = click.option(
    "--hooks",
    multiple=True,
    metavar="MODULE_OR_FILE",
    help="Load this module or file of hooks, named as in dmt.hooks; repeat for more. The hooks "
    "that the run used are loaded only if they are named here.",
)
launcher_option = click.option(
    "--launcher-args",
    help="Append this to each `axolotl train` command, for example "
    "'--launcher torchrun -- --nproc_per_node 8'.",
)


def where_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where and how several runs are trained."""
    for option in (
        launcher_option,
        click.option(
            "--gpus",
            type=click.FloatRange(min=0),
            help="With --ray, the GPUs of each run.  [default: 1]",
        ),
        click.option(
            "--ray",
            metavar="ADDRESS",
            help="Train on the Ray cluster at this address, or at auto. All nodes must share the "
            "folder of the runs.",
        ),
        click.option(
            "--jobs",
            type=click.IntRange(min=1),
            help="How many runs to train at the same time.  [default: 1; with --ray, as many as "
            "the cluster has room for]",
        ),
    ):
        command = option(command)
    return command


class Commands(click.Group):
    """A group that ends a command with a message and exit code 2 if it raises a user's mistake.

    A command that needs a library which only an extra of this package installs counts as one, too.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke the command.

        Raises:
            SystemExit: with code 2 after a user's mistake was printed.
        """
        with one_clear_error():
            try:
                return super().invoke(ctx)
            except ModuleNotFoundError as error:
                package = (error.name or "").partition(".")[0]
                if package not in EXTRAS:
                    raise
                fix = f"pip install 'axolotl-dmt[{EXTRAS[package]}]'"
                raise DMTError(package, "is not installed, and is needed here", fix) from error
