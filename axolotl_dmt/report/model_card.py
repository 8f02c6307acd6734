"""Adds a section on stages and scores to the model card that Axolotl writes.

Axolotl copies the run's YAML to the card, which is often uploaded, so secrets in it are masked.
"""

from __future__ import annotations

import re
from pathlib import Path

from axolotl_dmt.files import LARGEST, read_text
from axolotl_dmt.report.markdown import plan_table, scores_table
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.masked_yaml import masked_yaml
from axolotl_dmt.results.secrets import masked_text

START, END = "<!-- axolotl-dmt: start -->", "<!-- axolotl-dmt: end -->"
"""The text between these marks is replaced; the text around them stays."""

_CONFIG = re.compile(
    r"(<summary>See axolotl config</summary>.*?\n```yaml\n)(.*?)(\n?```\n\n</details>)", re.DOTALL
)
"""The YAML in Axolotl's model card."""


def update_card(view: ReportView, output_dir: Path) -> None:
    """Write the section into `OUTPUT_DIR/README.md` and mask secrets, if that file exists.

    Args:
        view: the run.
        output_dir: the run's output folder.
    """
    card = RunFolder(output_dir).model_card
    if card.is_file():
        text = read_text(card, most_bytes=LARGEST, errors="replace")
        picture = RunFolder(output_dir).picture
        place = picture.relative_to(output_dir).as_posix() if picture.is_file() else None
        text = masked_text(_CONFIG.sub(_masked_config, text))
        card.write_text(with_section(text, section(view, place)), encoding="utf-8")


def _masked_config(block: re.Match[str]) -> str:
    return f"{block[1]}{masked_yaml(block[2])}{block[3]}"


def section(view: ReportView, picture: str | None = None) -> str:
    """Return the section as Markdown.

    Args:
        view: the run.
        picture: path of the plot, relative to the card.
    """
    scored = ", and scored after each by lm-evaluation-harness" if view.was_scored else ""
    parts = [
        "## Abilities by training stage",
        "Trained in stages with [axolotl-dmt](https://github.com/axolotl-dmt/axolotl-dmt)"
        f"{scored}.",
        scores_table(view),
        *([f"![Ability by stage]({picture})"] if picture else []),
        *([view.how_to_read] if view.was_scored else []),
        *([plan_table(view)] if view.results.plan else []),
        f"Plan fingerprint: `{view.results.plan_fingerprint}`",
    ]
    return "\n\n".join(parts)


def with_section(card: str, text: str) -> str:
    """Return the card with this section in place of an earlier one, else at its end."""
    block = f"{START}\n\n{text}\n\n{END}"
    before, start, from_start = card.partition(START)
    _, end, after = from_start.partition(END)
    if start and end:
        return f"{before}{block}{after}"
    return f"{card.rstrip()}\n\n{block}\n"
