"""Fits scaling curves of abilities, and finds where mixing turns from gain to conflict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from axolotl_dmt.analysis.intervals import Floats, bootstrap, ends

Points = Mapping[int, Sequence[tuple[float, float]]]
"""{seed: (rows, score) for each amount of data}."""

# The exponents that are tried. Over the range of any study, a power law looks like a logarithm
# below the first, and like a step above the last.
_EXPONENTS = np.geomspace(0.05, 3, 120)


@dataclass(frozen=True, kw_only=True)
class ScalingFit:
    """A least-squares curve of score against rows.

    Attributes:
        model: "log": a + b log2(rows); or "power": a - b rows^-c.
        parameters: {"a", "b"} or {"a", "b", "c"}. For "log", b is the gain of doubling the data.
        errors: their standard errors by the delete-one-seed jackknife; empty with one seed. All
            points of a seed are left out together, since its amounts are nested subsets of the same
            rows.
        residual: root mean square of the residuals, in units of the score.
        aicc: corrected Akaike criterion; lower is better. It treats points as independent.
        points: the number of fitted points.
        seeds: the number of seeds that the points come from.
    """

    model: str
    parameters: Mapping[str, float]
    errors: Mapping[str, float]
    residual: float
    aicc: float
    points: int
    seeds: int

    def predict(self, rows: float) -> float:
        """Return the curve's score at a number of rows."""
        a, b = self.parameters["a"], self.parameters["b"]
        if self.model == "log":
            return a + b * math.log2(rows)
        return float(a - b * rows ** -self.parameters["c"])

    def formula(self) -> str:
        """Return the curve's formula, with the standard errors of its parameters."""
        texts = {name: _with_error(v, self.errors.get(name)) for name, v in self.parameters.items()}
        if self.model == "log":
            return f"({texts['a']}) + ({texts['b']}) log2(rows)"
        return f"({texts['a']}) - ({texts['b']}) rows^-({texts['c']})"


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.3g}" if error is None else f"{value:.3g} ± {error:.2g}"


def fit_scaling(points: Points) -> dict[str, ScalingFit]:
    """Fit the models for which there are enough amounts: 3 for "log", 4 for "power".

    Args:
        points: the scores by rows of each seed, with rows above 0 and finite scores.

    Returns:
        {model: fit}, the preferred one first. The power law is preferred only where its AICc is
        lower by more than 2, since it has one more parameter. Empty with fewer than 3 amounts.
    """
    amounts = {round(math.log2(rows), 3) for line in points.values() for rows, _ in line}
    models = ["log"] * (len(amounts) >= 3) + ["power"] * (len(amounts) >= 4)
    fits = {model: _fit(model, points) for model in models}
    if len(fits) == 2 and fits["power"].aicc < fits["log"].aicc - 2:
        return {"power": fits["power"], "log": fits["log"]}
    return fits


def _fit(model: str, points: Points) -> ScalingFit:
    rows, scores = _columns(points)
    parameters, squares = _least_squares(model, rows, scores)
    n, free = len(rows), len(parameters) + 1  # the variance of the noise is a parameter too
    # Scores exactly on the curve have no residual: a floor keeps the logarithm finite.
    aic = n * math.log(max(squares / n, 1e-12)) + 2 * free
    return ScalingFit(
        model=model,
        parameters=parameters,
        errors=_jackknife(model, points),
        residual=math.sqrt(squares / n),
        aicc=aic + 2 * free * (free + 1) / (n - free - 1) if n > free + 1 else math.inf,
        points=n,
        seeds=len(points),
    )


def _columns(points: Points) -> tuple[Floats, Floats]:
    """Return the rows and the scores of all points, each of shape (points,)."""
    pairs = np.array([pair for line in points.values() for pair in line], dtype=float)
    return pairs[:, 0], pairs[:, 1]


def _least_squares(model: str, rows: Floats, scores: Floats) -> tuple[dict[str, float], float]:
    """Return the best parameters and their sum of squared residuals."""
    # With its exponent fixed, a power law is linear: try all exponents instead of searching.
    x = np.log2(rows)[None] if model == "log" else -(rows ** -_EXPONENTS[:, None])
    centred = x - x.mean(axis=1, keepdims=True)
    spread = (centred**2).sum(axis=1)
    slope = np.divide(centred @ scores, spread, out=np.zeros_like(spread), where=spread > 0)
    squares = ((scores - scores.mean() - slope[:, None] * centred) ** 2).sum(axis=1)
    best = int(np.argmin(squares))
    a, b = scores.mean() - slope[best] * x[best].mean(), slope[best]
    parameters = {"a": float(a), "b": float(b)}
    if model == "power":
        parameters["c"] = float(_EXPONENTS[best])
    return parameters, float(squares[best])


def _jackknife(model: str, points: Points) -> dict[str, float]:
    """Return standard errors from the spread of fits that leave one seed out (Efron, 1982)."""
    n = len(points)
    if n < 2:
        return {}
    without = [{s: line for s, line in points.items() if s != left_out} for left_out in points]
    fits = [_least_squares(model, *_columns(remaining))[0] for remaining in without]
    return {
        name: math.sqrt((n - 1) * float(np.var([fit[name] for fit in fits]))) for name in fits[0]
    }


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The amount at which the mean of mixed minus single falls through 0 as the data grow.

    Attributes:
        amount: fraction of the data; None where the mean does not cross in the studied range.
        interval: 95% percentile bootstrap over seeds, which is too narrow with few seeds; None
            where more than 5% of the resamples have no crossing.
        resamples: fraction of the resamples that have a crossing.
        reason: why there is no amount; empty where there is one.
    """

    amount: float | None
    interval: tuple[float, float] | None
    resamples: float
    reason: str = ""


def gain_turns_to_conflict(conflicts: Mapping[float, Mapping[int, float]]) -> Crossing | None:
    """Find the amount at which mixing turns from gain to conflict.

    The mean over seeds is interpolated linearly over the logarithm of the amount. Of several
    crossings from gain to conflict, the last is taken.

    Args:
        conflicts: {amount, a fraction above 0: {seed: mixed minus single}}.

    Returns:
        The crossing; None with fewer than two amounts or no seed common to all.
    """
    amounts = sorted(conflicts)
    seeds = sorted(set.intersection(*(set(c) for c in conflicts.values()))) if amounts else []
    if len(amounts) < 2 or not seeds:
        return None
    table = np.array([[conflicts[amount][seed] for seed in seeds] for amount in amounts])
    logs = np.log(amounts)
    mean = table.mean(axis=1)
    crossing = _last_fall(logs, mean[None])[0]
    if len(seeds) == 1:
        share, interval = float(np.isfinite(crossing)), None
    else:
        falls = bootstrap(
            len(seeds), lambda index: _last_fall(logs, table[:, index].mean(axis=2).T)
        )
        crossed = falls[np.isfinite(falls)]
        share = len(crossed) / len(falls)
        interval = ends(np.exp(crossed)) if share >= 0.95 and np.isfinite(crossing) else None
    if np.isfinite(crossing):
        amount = float(np.exp(crossing))
        return Crossing(amount=amount, interval=interval, resamples=share)
    effect = "a gain" if mean[-1] > 0 else "no gain" if mean[-1] == 0 else "a conflict"
    reason = f"no crossing between {amounts[0]:g} and {amounts[-1]:g}; {effect} at {amounts[-1]:g}"
    return Crossing(amount=None, interval=None, resamples=share, reason=reason)


def _last_fall(logs: Floats, means: Floats) -> Floats:
    """Return where each row falls from above 0 to below it for the last time; NaN if never.

    Args:
        logs: logarithms of the amounts, shape (amounts,).
        means: means over seeds, shape (resamples, amounts).

    Returns:
        The interpolated logarithms, shape (resamples,).
    """
    before, after = means[:, :-1], means[:, 1:]
    gained = np.maximum.accumulate(means > 0, axis=1)[:, :-1]  # falling from 0 loses no gain
    falls = gained & (before >= 0) & (after < 0)
    share = np.divide(before, before - after, out=np.zeros_like(before), where=falls)
    positions = logs[:-1] + share * np.diff(logs)
    last = falls.shape[1] - 1 - np.argmax(falls[:, ::-1], axis=1)
    last_positions = positions[np.arange(len(positions)), last]
    crossings: Floats = np.where(falls.any(axis=1), last_positions, np.nan)
    return crossings
