"""`axolotl dmt check`: report the mistakes in a YAML, and show its prompts."""

from __future__ import annotations

from axolotl_dmt.checks.local_prompts import local_prompts
from axolotl_dmt.checks.yaml_check import check_file
from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError


def check_yaml(config: str, *, files: bool) -> bool:
    """Print every mistake in a YAML, or its prompts and what is odd about them.

    Args:
        config: the path of the YAML.
        files: whether the model and the data files that it names must exist.

    Returns:
        Whether there are no mistakes.
    """
    findings = check_file(config, files=files)
    mistakes, lines = list(findings.mistakes), []
    if files and not mistakes and findings.reading is not None:
        try:
            lines = list(local_prompts(findings.raw, findings.reading))
        except DMTError as error:
            mistakes = [f"{config}: {line}" for line in str(error).splitlines()]
    for line in (*lines, *findings.remarks, *mistakes):
        echo(line)
    if not mistakes:
        echo(f"{config}: no mistakes found")
    return not mistakes
