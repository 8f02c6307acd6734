"""`axolotl dmt check`: report the mistakes in a YAML, and show its prompts if asked."""

from __future__ import annotations

from axolotl_dmt.checks.yaml_check import Findings, check_file
from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError

NO_PROMPTS = "the prompts were not checked; add --prompts, or see them in `axolotl dmt plan`"


def check_yaml(config: str, *, files: bool, prompts: bool, contamination: bool = False) -> bool:
    """Print every mistake in a YAML, and what is worth knowing about it.

    Args:
        config: the path of the YAML.
        files: whether the model and the data files that it names must exist.
        prompts: also show the prompts and check them, where the tokenizer is on this machine. This
            imports Axolotl, which takes several seconds.
        contamination: also search the local data files for the items of the evaluation files.

    Returns:
        Whether there are no mistakes.
    """
    findings = check_file(config, files=files)
    mistakes, lines = list(findings.mistakes), []
    if not mistakes and prompts:
        try:
            lines = _prompt_lines(findings)
        except DMTError as error:
            mistakes = [f"{config}: {line}" for line in str(error).splitlines()]
    if not mistakes and contamination:
        from axolotl_dmt.checks.contamination import search_files

        assert findings.reading is not None, "a file without mistakes can be read"
        try:
            lines += search_files(findings.raw, findings.reading)
        except DMTError as error:
            mistakes = [f"{config}: {line}" for line in str(error).splitlines()]
    for line in (*lines, *findings.remarks, *mistakes):
        echo(line)
    if not mistakes:
        echo(f"{config}: no mistakes found" + ("" if prompts else f" ({NO_PROMPTS})"))
    return not mistakes


def _prompt_lines(findings: Findings) -> list[str]:
    """Return the lines that show the prompts, or one that says why there are none."""
    from axolotl_dmt.checks.local_prompts import local_prompts

    assert findings.reading is not None, "a file without mistakes can be read"
    lines = list(local_prompts(findings.raw, findings.reading))
    return lines or ["the prompts cannot be shown: the tokenizer is not on this machine"]
