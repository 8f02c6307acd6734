"""Shows what `axolotl dmt solve` found: tables, sentences, comments for the YAML, and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from axolotl_dmt.report.tables import Table
from axolotl_dmt.solver.floors import Interval, Protected, loss_interval
from axolotl_dmt.solver.law import Law
from axolotl_dmt.solver.space import Space
from axolotl_dmt.study.solvable import Solvable
from axolotl_dmt.study.solving import Solution

SCHEMA = 1


def probes_table(solvable: Solvable, solution: Solution) -> Any:
    """Return a table of the probes and what was measured after each."""
    losses = list(solution.laws)
    scores = [each.limit.name for each in solution.protected if each.limit.measure == "score"]
    rows = [
        (
            *(str(value) for value in probe),
            *(f"{each.losses[name]:.4f}" for name in losses),
            *(f"{each.scores[name][0]:.3f}" for name in scores),
        )
        for probe, each in zip(solution.probes, solution.measured, strict=True)
    ]
    header = (
        "length",
        *solvable.variables,
        *(f"loss {name}" for name in losses),
        *(f"score {name}" for name in scores),
    )
    return Table(title="Probes", header=header, rows=tuple(rows), left=()).terminal()


def promises_table(solvable: Solvable, space: Space, solution: Solution) -> Any:
    """Return a table of the floors and the other losses, predicted for the full stage."""
    confidence = solvable.settings.confidence
    point = space.full([solution.answer.amounts])
    rows = []
    for each in solution.protected:
        interval = each.interval(point, confidence)
        holds = "yes" if solution.answer.excess[each.floor.name] <= 0 else "NO"
        limit = each.limit
        law = _law_text(each.floor.law)
        rows.append(
            (f"{limit.measure} {limit.name}", *_cells(interval), f"{limit.value:.4g}", holds, law)
        )
    limited = {each.limit.name for each in solution.protected if each.limit.measure == "loss"}
    for name, fitted in solution.laws.items():
        if name not in limited:
            interval = loss_interval(fitted, point, confidence)
            rows.append((f"loss {name}", *_cells(interval), "", "", _law_text(fitted)))
    header = ("", "predicted", f"{2 * confidence - 1:.0%} interval", "limit", "holds", "law")
    title = f"Predicted after {solvable.name}"
    return Table(title=title, header=header, rows=tuple(rows), left=(0, 5)).terminal()


def _cells(interval: Interval) -> tuple[str, str]:
    return f"{interval.predicted:.4g}", f"{interval.low:.4g} to {interval.high:.4g}"


def _law_text(law: Law) -> str:
    best = law.best
    return f"residuals {best.sd:.2g}, left out {best.left_out:.2g}"


def answer_lines(
    solvable: Solvable, space: Space, solution: Solution, rows: Mapping[str, int]
) -> Iterator[str]:
    """Yield the mix in a sentence or, if no mix holds, which floors break and what would hold."""
    amounts = ", ".join(f"{name} {count:,} rows" for name, count in rows.items())
    cost = space.cost(space.full([solution.answer.amounts]))[0]
    bare = space.fixed_rows
    if solution.answer.feasible:
        yield (
            f"{solvable.name} replays {amounts}: {cost / bare - 1:+.0%} rows. Each floor holds "
            f"with {solvable.settings.confidence:.0%} probability, if the law does."
        )
        return
    most = ", ".join(f"{name} {v.most:g}" for name, v in _named(solvable, space))
    yield f"NO mix up to {most} holds every floor with its uncertainty."
    for each in solution.protected:
        name = each.floor.name
        if name in solution.answer.broken:
            nearest = each.nearest(solution.answer.excess[name])
            alone = each.nearest(max(0.0, solution.answer.least_excess[name]))
            text = f"  {each.limit.measure} {name}: {each.limit.value:.4g} does not hold"
            text += f"; {nearest:.4g} would, together with the other floors"
            if name in solution.answer.impossible:
                text += f"; {alone:.4g} on its own"
            yield f"{text} ({_as_key(each, nearest)})"
    yield (
        f"The nearest mix is {amounts}. Raise the floors, solve.levels or solve.budget; or add "
        "--nearest to write this mix, and let its full run show whether the floors hold."
    )


def _named(solvable: Solvable, space: Space) -> Iterator[tuple[str, Any]]:
    yield from zip(solvable.variables, space.variables, strict=True)


def _as_key(each: Protected, value: float) -> str:
    """Return a floor with this value as `dmt.keep` would hold it."""
    change = value - each.limit.reference
    if each.limit.measure == "loss":
        return f"{each.limit.name}: {{loss: {max(change, 0):.3g}}}"
    return f"{each.limit.name}: {min(change, 0):.3g}"


def block_comment(
    solvable: Solvable, space: Space, solution: Solution, rows: Mapping[str, int]
) -> str:
    """Return the comment above the stages of the new YAML."""
    confidence = solvable.settings.confidence
    point = space.full([solution.answer.amounts])
    lines = [
        f"Found by axolotl dmt solve from {len(solution.probes)} probes. Each worse end of an "
        f"interval has {confidence:.0%} confidence."
    ]
    if not solution.answer.feasible:
        lines.append("No mix is sure to hold every floor. This one is the nearest.")
    for each in solution.protected:
        interval, limit = each.interval(point, confidence), each.limit
        lines.append(
            f"{limit.measure} {limit.name}: predicted {interval.predicted:.4g} ({interval.low:.4g} "
            f"to {interval.high:.4g}), limit {limit.value:.4g}"
        )
    for name, law in solution.targets.items():
        interval = loss_interval(law, point, confidence)
        lines.append(
            f"loss {name}: predicted {interval.predicted:.4g} ({interval.low:.4g} to "
            f"{interval.high:.4g}), to be improved"
        )
    lines += [f"{name}: {count:,} rows are replayed" for name, count in rows.items()]
    lines += solvable.notes
    return "\n".join(lines)


def solution_json(
    solvable: Solvable, solution: Solution, rows: Mapping[str, int]
) -> dict[str, Any]:
    """Return everything that was measured, fitted and chosen, as `solution.json` holds it."""
    return {
        "schema": SCHEMA,
        "stage": solvable.name,
        "feasible": solution.answer.feasible,
        "rows": dict(rows),
        "before": list(solvable.notes),
        "amounts": dict(zip(solvable.variables, solution.answer.amounts, strict=True)),
        "probes": [
            {
                "length": str(probe[0]),
                "amounts": dict(zip(solvable.variables, map(str, probe[1:]), strict=True)),
                "losses": dict(each.losses),
                "scores": {name: value for name, (value, _) in each.scores.items()},
            }
            for probe, each in zip(solution.probes, solution.measured, strict=True)
        ],
        "floors": [
            {
                **vars(each.limit),
                "value": each.limit.value,
                "excess": solution.answer.excess[each.floor.name],
                "law": _law_json(each.floor.law),
            }
            for each in solution.protected
        ],
        "laws": {name: _law_json(law) for name, law in solution.laws.items()},
    }


def _law_json(law: Law) -> dict[str, Any]:
    return {
        "degrees_of_freedom": law.dof,
        "fits": [
            {
                "c": fit.known.tolist(),
                "coefficients": fit.coefficients.tolist(),
                "residuals": fit.residuals.tolist(),
                "sd": fit.sd,
                "left_out": fit.left_out,
            }
            for fit in law.fits
        ],
    }
