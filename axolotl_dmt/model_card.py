"""The section on stages and scores in the model card that Axolotl writes."""

from __future__ import annotations

from pathlib import Path

from axolotl_dmt.report_markdown import plan_table, scores_table
from axolotl_dmt.report_view import HOW_TO_READ, ReportView
from axolotl_dmt.results import Results

START, END = "<!-- axolotl-dmt: start -->", "<!-- axolotl-dmt: end -->"
"""What is between them is written anew; what the user writes around them stays."""


def update_card(output_dir: Path, results: Results) -> None:
    """Write the section into `OUTPUT_DIR/README.md`, where there is one."""
    card = output_dir / "README.md"
    if card.is_file():
        text = card.read_text(encoding="utf-8", errors="replace")
        picture = "dmt/abilities.png" if (output_dir / "dmt" / "abilities.png").is_file() else None
        card.write_text(
            with_section(text, section(ReportView.of(results), picture)), encoding="utf-8"
        )


def section(view: ReportView, picture: str | None = None) -> str:
    """The section as Markdown.

    Args:
        view: the run.
        picture: path of the plot, from the card.
    """
    parts = [
        "## Abilities by training stage",
        "Trained in stages with [axolotl-dmt](https://github.com/axolotl-dmt/axolotl-dmt), and "
        "scored after each by lm-evaluation-harness.",
        scores_table(view),
        *([f"![Ability by stage]({picture})"] if picture else []),
        HOW_TO_READ,
        *([plan_table(view)] if view.results.plan else []),
        f"Plan fingerprint: `{view.results.plan_fingerprint}`",
    ]
    return "\n\n".join(parts)


def with_section(card: str, text: str) -> str:
    """The card with this section: in place of the one it has, or at its end."""
    block = f"{START}\n\n{text}\n\n{END}"
    before, start, rest = card.partition(START)
    _, end, after = rest.partition(END)
    if start and end:
        return f"{before}{block}{after}"
    return f"{card.rstrip()}\n\n{block}\n"
