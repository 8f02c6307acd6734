"""The losses on held-out rows by stage, which show changes that are too small for scores."""

from __future__ import annotations

from axolotl_dmt.report.format import MISSING, number
from axolotl_dmt.report.tables import Table
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results.metrics import finite

TITLE = "Losses on held-out rows"
NOTE = (
    "The mean loss per trained token, in nats, on rows that are not trained on (val_rows, "
    "val_set_size or test_datasets): lower is better. The change is that of the last stage."
)


def held_out_table(view: ReportView) -> Table | None:
    """Return each domain's loss on held-out rows at every point; None if none was measured."""
    points = [point.held_out_losses() for point in view.points]
    domains = dict.fromkeys(domain for losses in points for domain in losses)
    if not domains:
        return None
    rows = []
    for domain in domains:
        losses = [point.get(domain) for point in points]
        before, last = (losses[-2], losses[-1]) if len(losses) > 1 else (None, None)
        change = None if before is None or last is None else last - before
        cells = (MISSING if finite(loss) is None else f"{loss:.3f}" for loss in losses)
        rows.append((domain, *cells, number(change, sign=True)))
    return Table(title=TITLE, header=("domain", *view.names, "change"), rows=tuple(rows), note=NOTE)
