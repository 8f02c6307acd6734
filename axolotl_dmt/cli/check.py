"""`axolotl dmt check`: report the mistakes in a YAML, and show its prompts."""

from __future__ import annotations

import click

from axolotl_dmt.checks.local_prompts import local_prompts
from axolotl_dmt.checks.row_numbers import row_remarks
from axolotl_dmt.checks.yaml_check import check_file, remarks
from axolotl_dmt.errors import DMTError


def check_yaml(config: str, *, files: bool) -> bool:
    """Print every mistake in a YAML, or its prompts and what is odd about them.

    Args:
        config: the path of the YAML.
        files: whether the model and the data files that it names must exist.

    Returns:
        Whether there are no mistakes.
    """
    mistakes = check_file(config, files=files)
    lines: list[str] = []
    if files and not mistakes:
        try:
            lines = list(local_prompts(config))
        except DMTError as error:
            mistakes = [f"{config}: {line}" for line in str(error).splitlines()]
    about_rows = row_remarks(config) if files else []
    for line in (*lines, *about_rows, *remarks(config), *mistakes):
        click.echo(line)
    if not mistakes:
        click.echo(f"{config}: no mistakes found")
    return not mistakes
