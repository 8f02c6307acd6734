"""Reports on a run: a terminal table, Markdown, a picture, an HTML page and a model card's section.

    from pathlib import Path

    from axolotl_dmt.report.view import ReportView
    from axolotl_dmt.report.write import write_report
    from axolotl_dmt.results.folder import load_results

    folder = Path("outputs/run")
    view = ReportView.of(load_results(folder), folder)  # computed once for all forms
    write_report(view, folder / "dmt")  # report.md, report.html, abilities.png

`terminal.terminal_table` and `model_card.update_card` take the same view. `compare` shows several
runs side by side.
"""
