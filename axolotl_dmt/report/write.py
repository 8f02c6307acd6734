"""Writes the files of a run's report: Markdown, a picture and one HTML page."""

from __future__ import annotations

from pathlib import Path

from axolotl_dmt.hooks.calls import report_sections
from axolotl_dmt.report.html import html_report
from axolotl_dmt.report.markdown import markdown_report
from axolotl_dmt.report.plot import plot_abilities
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results.folder import PICTURE, REPORT_HTML, REPORT_MARKDOWN


def write_report(view: ReportView, folder: str | Path) -> list[Path]:
    """Write `report.md`, `report.html` and, where anything was scored, `abilities.png`.

    Args:
        view: the run.
        folder: where to write; it is created if needed.

    Returns:
        The files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    picture = folder / PICTURE
    if view.was_scored:
        plot_abilities(view, picture)
        written.append(picture)
    else:
        picture.unlink(missing_ok=True)  # an earlier run's picture would contradict the text
    sections = report_sections(view.results)
    image = picture.name if written else None
    for name, text in (
        (REPORT_MARKDOWN, markdown_report(view, picture=image, sections=sections)),
        (REPORT_HTML, html_report(view, sections=sections)),
    ):
        # A model may write half a surrogate pair, and a report must not fail because of it.
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
        written.append(folder / name)
    return written
