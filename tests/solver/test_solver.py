"""From probes to a mix: floors are held as often as promised, and what cannot be held is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axolotl_dmt.solver.design import choose_probes, fewest, least_cost
from axolotl_dmt.solver.floors import Limit, Measured, protected
from axolotl_dmt.solver.law import KNOWN, Law, Values, features, fit_law
from axolotl_dmt.solver.score_curve import fit_curve, log_odds, share_of
from axolotl_dmt.solver.search import EXTRA, Floor, search
from axolotl_dmt.solver.space import Points, Space, Variable

LEVELS = (1 / 64, 1 / 16, 1 / 4, 1 / 2)
LENGTHS = (1 / 16, 1 / 8, 1 / 4, 1 / 2)


def space(*rows: float) -> Space:
    names = ("math", "code", "law", "law_2", "law_3")
    return Space(
        variables=tuple(
            Variable(name=name, levels=LEVELS, rows=each)
            for name, each in zip(names, rows, strict=False)
        ),
        lengths=LENGTHS,
        fixed_rows=24000,
    )


TWO = space(24000, 6000)
FULL = 60000.0
MATH = np.array([-4.0, 0.3, -1.0, -0.1])
CODE = np.array([-4.0, 0.2, -0.1, -0.8])
GENERAL = np.array([-0.5, -0.4, 0.02, 0.01])


def values(points: Points, truth: Values, rng: np.random.Generator, noise: float) -> Values:
    return features(points) @ truth + rng.normal(0, noise, len(points))


def laws(points: Points, rng: np.random.Generator, noise: float) -> list[Law]:
    measured = [values(points, truth, rng, noise) for truth in (MATH, CODE, GENERAL)]
    return [fit_law(points, each, TWO.middles) for each in measured]


def floors(fitted: Sequence[Law], limit: float) -> list[Floor]:
    pairs = zip(("math", "code"), fitted, strict=False)
    return [Floor(name=name, law=law, limit=limit) for name, law in pairs]


def test_a_floor_holds_as_often_as_its_confidence_says() -> None:
    """Probes of a known response with noise; the full run is one more draw of it."""
    rng = np.random.default_rng(0)
    probes = choose_probes(TWO, 0.9 * FULL, 0.9)
    outcomes, everywhere = [], []
    for _ in range(120):
        math, code, general = laws(probes, rng, 0.1)
        answer = search(TWO, floors([math, code], -1.2), [general], 0.9)
        full = TWO.full([answer.amounts if answer.feasible else (0.2, 0.2)])
        run = values(full, MATH, rng, 0.1)[0]
        everywhere.append(run <= math.upper(full, 0.9)[0])
        if answer.feasible:
            outcomes.append(run <= -1.2)
    # Up to three standard errors below nine in ten.
    assert np.mean(everywhere) > 0.9 - 3 * np.sqrt(0.09 / len(everywhere))
    assert len(outcomes) > 50
    assert np.mean(outcomes) > 0.9 - 3 * np.sqrt(0.09 / len(outcomes))


def test_with_less_noise_the_mix_comes_close_to_the_cheapest_that_holds() -> None:
    rng = np.random.default_rng(1)
    probes = choose_probes(TWO, 0.6 * FULL, 0.9)
    math, code, general = laws(probes, rng, 1e-4)
    answer = search(TWO, floors([math, code], -2.2), [general], 0.9)
    ladder = np.geomspace(LEVELS[0], LEVELS[-1], 300)
    mixes = np.array([(a, b) for a in ladder for b in ladder])
    full = TWO.full(mixes)
    holds = (features(full) @ MATH <= -2.2) & (features(full) @ CODE <= -2.2)
    cheapest = TWO.cost(full[holds]).min()
    found = TWO.cost(TWO.full([answer.amounts]))[0]
    assert answer.feasible
    assert cheapest * 0.99 <= found <= cheapest * 1.02


def test_a_floor_that_no_mix_holds_is_named_with_the_nearest_that_one_holds() -> None:
    rng = np.random.default_rng(2)
    probes = choose_probes(TWO, 0.6 * FULL, 0.9)
    math, code, general = laws(probes, rng, 0.01)
    wanted = [
        Floor(name="math", law=math, limit=-2.0),
        Floor(name="code", law=code, limit=-9.0),
    ]
    answer = search(TWO, wanted, [general], 0.9)
    assert not answer.feasible
    assert "code" in answer.broken
    assert answer.impossible == ("code",)
    # With the floors that the answer reaches, it holds.
    nearer = [
        replace(each, limit=each.limit + max(0, answer.excess[each.name]) + 1e-6) for each in wanted
    ]
    assert search(TWO, nearer, [general], 0.9).feasible


def test_floors_that_hold_alone_and_not_together_are_broken_but_not_impossible() -> None:
    # Each domain's rows harm the other.
    probes = choose_probes(TWO, 0.6 * FULL, 0.9)
    rng = np.random.default_rng(3)
    opposed = (np.array([0.0, 0.0, -1.0, 1.0]), np.array([0.0, 0.0, 1.0, -1.0]))
    fitted = [fit_law(probes, values(probes, each, rng, 0.01), TWO.middles) for each in opposed]
    answer = search(TWO, floors(fitted, -1.0), [], 0.9)
    assert not answer.feasible
    assert not answer.impossible


def test_the_target_decides_among_mixes_of_about_the_same_cost() -> None:
    probes = choose_probes(TWO, 0.6 * FULL, 0.9)
    rng = np.random.default_rng(4)
    helped = np.array([-0.5, -0.4, 0.0, -0.5])  # the target falls with more code
    math = fit_law(probes, values(probes, MATH, rng, 0.01), TWO.middles)
    target = fit_law(probes, values(probes, helped, rng, 0.01), TWO.middles)
    answer = search(TWO, floors([math], -1.0), [target], 0.9)
    cheapest = search(TWO, floors([math], -1.0), [], 0.9)
    assert answer.amounts[1] > 2 * cheapest.amounts[1]
    costs = [TWO.cost(TWO.full([each.amounts]))[0] for each in (cheapest, answer)]
    assert costs[0] < costs[1] <= (1 + EXTRA) * costs[0]


@settings(max_examples=15, deadline=None)
@given(
    limit=st.floats(-3, 0),
    looser=st.floats(0.01, 2),
    seed=st.integers(0, 1000),
    confidence=st.sampled_from((0.8, 0.95)),
)
def test_a_looser_floor_never_costs_more_and_a_surer_one_never_less(
    limit: float, looser: float, seed: int, confidence: float
) -> None:
    rng = np.random.default_rng(seed)
    probes = choose_probes(TWO, 0.6 * FULL, 0.9)
    fitted = laws(probes, rng, 0.1)[:2]
    strict, loose, surer = (
        search(TWO, floors(fitted, bound), [], sure)
        for bound, sure in ((limit, confidence), (limit + looser, confidence), (limit, 0.97))
    )
    costs = [TWO.cost(TWO.full([each.amounts]))[0] for each in (strict, loose, surer)]
    step = 1.02  # SLSQP refines only near the best rung
    if strict.feasible:
        assert loose.feasible
        assert costs[1] <= costs[0] * step
    if surer.feasible:
        assert costs[0] <= costs[2] * step
    for each in (strict, loose, surer):
        inside = zip(TWO.variables, each.amounts, strict=True)
        assert all(v.least * 0.999 <= amount <= v.most * 1.001 for v, amount in inside)


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.floats(10, 1e6), min_size=1, max_size=4), budget=st.floats(0.4, 2))
def test_a_design_keeps_to_its_cost_and_determines_the_law(
    rows: list[float], budget: float
) -> None:
    stage = space(*rows)
    most = budget * stage.cost(stage.most)[0]
    if least_cost(stage) > most:
        with pytest.raises(ValueError, match="too small"):
            choose_probes(stage, most, 0.9)
        return
    probes = choose_probes(stage, most, 0.9)
    assert stage.cost(probes).sum() <= most * (1 + 1e-9)
    assert len(probes) >= fewest(stage)
    assert len(np.unique(probes, axis=0)) == len(probes)
    assert np.linalg.matrix_rank(features(probes)) == 2 + len(rows)
    again = choose_probes(stage, most, 0.9)
    assert (probes == again).all()  # a second call goes on with the same probes


def test_more_cost_gives_a_better_design() -> None:
    def widths(budget: float) -> float:
        probes = choose_probes(TWO, budget * FULL, 0.9)
        law = fit_law(probes, np.random.default_rng(0).normal(size=len(probes)), TWO.middles)
        return float((law.upper(TWO.most, 0.9) - law.lower(TWO.most, 0.9))[0] / law.best.sd)

    assert widths(1.0) < widths(0.7) < widths(0.45)


@pytest.mark.parametrize("factor", KNOWN)
def test_the_form_that_made_the_data_is_found(factor: float) -> None:
    points = np.array([(f, a, b) for f in LENGTHS for a in LEVELS for b in LEVELS])
    known = TWO.middles * factor
    law = fit_law(points, features(points, known) @ np.array([1.0, 0.3, -1.0, -2.0]), TWO.middles)
    assert law.best.known == pytest.approx(known)
    assert law.best.sd < 1e-9
    assert law.best.left_out < 1e-9


def test_too_few_probes_are_refused() -> None:
    points = choose_probes(TWO, 0.6 * FULL, 0.9)[:4]
    with pytest.raises(ValueError, match="4 probes"):
        fit_law(points, [0.0] * 4, TWO.middles)


def test_a_score_is_translated_to_the_loss_at_which_it_is_reached() -> None:
    losses = np.log(np.geomspace(0.01, 2, 12))
    shares = [share_of(-1 - 1.5 * loss) for loss in losses]
    curve = fit_curve(losses.tolist(), shares, 1_000_000)
    assert curve is not None
    at = curve.log_loss(0.8)
    assert curve.share(at) == pytest.approx(0.8, abs=1e-3)
    assert at == pytest.approx((log_odds(0.8, 1_000_000) + 1) / -1.5, abs=1e-2)
    few = fit_curve(losses.tolist(), shares, 50)
    assert few is not None
    assert few.log_loss_sd(0.8) > 10 * curve.log_loss_sd(0.8)  # fewer items are less certain


def test_scores_that_do_not_follow_the_losses_have_a_law_of_their_own() -> None:
    assert fit_curve([0.0, 1.0, 2.0, 3.0], [0.2, 0.8, 0.2, 0.8], 100) is None
    points = choose_probes(TWO, 0.6 * FULL, 0.9)
    rng = np.random.default_rng(5)
    odds = -(features(points) @ np.array([0.5, 0.1, -0.4, 0.0]))
    probes = [
        Measured(losses={"general": 1.0}, scores={"mmlu": (share_of(each), 10_000)})
        for each in odds + rng.normal(0, 0.02, len(odds))
    ]
    limit = Limit(name="mmlu", measure="score", reference=0.6, change=0.05)
    kept = protected(limit, TWO, points, probes, [], 1.0)
    assert kept.curve is None
    interval = kept.interval(TWO.most, 0.9)
    expected = share_of(-float((features(TWO.most) @ [0.5, 0.1, -0.4, 0.0])[0]))
    assert interval.low < expected < interval.high
    assert kept.nearest(0.0) == pytest.approx(0.55, abs=1e-3)


def test_a_limit_on_the_loss_is_relative_to_its_reference() -> None:
    points = choose_probes(TWO, 0.6 * FULL, 0.9)
    rng = np.random.default_rng(6)
    measured = np.exp(values(points, MATH, rng, 0.05))
    probes = [Measured(losses={"math": float(loss)}, scores={}) for loss in measured]
    limit = Limit(name="math", measure="loss", reference=0.1, change=0.02)
    kept = protected(limit, TWO, points, probes, [], 1.0)
    assert kept.nearest(0.0) == pytest.approx(0.12)
    interval = kept.interval(TWO.full([[0.1, 0.1]]), 0.9)
    truth = float(np.exp(features(TWO.full([[0.1, 0.1]])) @ MATH)[0])
    assert interval.low < truth < interval.high


@pytest.mark.parametrize("domains", [7, 8, 10])
def test_many_domains_have_probes_that_determine_the_law(domains: int) -> None:
    levels, lengths = (1 / 64, 1 / 16, 1 / 4, 1 / 2), (1 / 16, 1 / 8, 1 / 4, 1 / 2)
    variables = tuple(Variable(name=f"d{i}", levels=levels, rows=1000) for i in range(domains))
    space = Space(variables=variables, lengths=lengths, fixed_rows=5000)
    cost = least_cost(space)
    points = choose_probes(space, 1.2 * cost, 0.9)
    assert space.cost(points).sum() <= 1.2 * cost
    regressors = np.column_stack([np.ones(len(points)), points])
    assert np.linalg.matrix_rank(regressors) == domains + 2
