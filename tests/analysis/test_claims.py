"""The verdicts on made-up studies whose true effects are known."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from axolotl_dmt.analysis.claims import judge, judge_sizes, trend
from axolotl_dmt.analysis.comparisons import comparisons
from axolotl_dmt.analysis.intervals import Difference
from axolotl_dmt.analysis.measure import NOISE
from axolotl_dmt.analysis.treatments import CellResult, CellStage, group
from axolotl_dmt.analysis.verdicts import above_zero, within
from tests import planted


def verdicts(results: list[CellResult], k: str | None = "1/16") -> dict[str, str]:
    """Return {key of a claim: the verdict on it}."""
    (comparison,) = comparisons(group(results), ["general"], k and Fraction(k))
    return {judged.claim.key: judged.verdict for judged in judge(comparison)}


def of_strategies(results: list[CellResult], *names: str) -> list[CellResult]:
    return [result for result in results if result.settings["strategy"] in names]


def test_every_planted_effect_is_shown() -> None:
    by_claim = verdicts(planted.study(conflict=0.1))
    assert by_claim == {**dict.fromkeys("abcdefgi", "shown"), "j": "not measured"}


def test_a_planted_null_is_not_shown() -> None:
    by_claim = verdicts(planted.study(forgetting=0.0))
    assert {by_claim[key] for key in "abdef"} == {"not shown"}


def test_replay_without_an_effect_is_not_shown() -> None:
    by_claim = verdicts(planted.study(replay=0.0))
    assert (by_claim["a"], by_claim["b"], by_claim["d"], by_claim["f"]) == (
        "not shown",
        "not shown",
        "not shown",
        "shown",
    )


def test_planted_opposites_contradict() -> None:
    by_claim = verdicts(planted.study(replay=-0.4, conflict=-0.1))
    assert {by_claim[key] for key in "abde"} == {"contradicted"}


def test_the_null_is_seldom_shown() -> None:
    chance, shown = random.Random(0), 0
    for _ in range(600):
        noise = Difference(by_seed={s: chance.gauss(0, 1) for s in range(5)})
        shown += above_zero("a", "", noise).verdict == "shown"
    assert shown / 600 <= 0.05


def test_one_seed_shows_nothing() -> None:
    assert verdicts(planted.study(1, forgetting=0.0))["a"] == "not shown"


def test_missing_cells_are_not_measured() -> None:
    results = planted.study()
    by_claim = verdicts(of_strategies(results, "dmt", "sequential"))
    assert (by_claim["a"], by_claim["d"], by_claim["f"]) == ("shown", "shown", "shown")
    assert {by_claim[key] for key in "bceg"} == {"not measured"}
    by_claim = verdicts(of_strategies(results, "single"))
    assert {by_claim[key] for key in "abcdef"} == {"not measured"} and by_claim["g"] == "shown"


def test_four_seeds_cannot_show_and_the_part_says_why() -> None:
    (comparison,) = comparisons(group(planted.study(4)), ["general"], Fraction(1, 16))
    judged = judge(comparison)[0]
    assert judged.verdict == "not shown"
    assert "4 seeds" in judged.parts[0].note and "0.05" in judged.parts[0].note


def test_one_ability_that_gains_does_not_make_up_for_one_that_does_not() -> None:
    def with_worse_code(result: CellResult) -> CellResult:
        if result.settings != {"strategy": "dmt", "k": "1/16"}:
            return result
        last = result.stages[-1]
        worse = replace(last, scores={**last.scores, "code": 0.25 + 0.01 * result.seed})
        return replace(result, stages=(*result.stages[:-1], worse))

    (comparison,) = comparisons(
        group([with_worse_code(result) for result in planted.study()]),
        ["general"],
        Fraction(1, 16),
    )
    judged = judge(comparison)[0]
    assert judged.verdict == "not shown"
    assert [(p.ability, p.verdict) for p in judged.parts] == [
        ("math", "shown"),
        ("code", "not shown"),
    ]


@pytest.mark.parametrize(
    ("mean", "spread", "verdict"),
    [
        (0.0, 0.01, "shown"),
        (0.03, 0.01, "shown"),
        (0.0, 0.08, "not shown"),
        (0.05, 0.01, "not shown"),
        (0.2, 0.01, "contradicted"),
        (-0.2, 0.01, "contradicted"),
    ],
)
def test_within_noise_needs_the_whole_interval_inside_the_margin(
    mean: float, spread: float, verdict: str
) -> None:
    values = [mean + spread * x for x in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    difference = Difference(by_seed=dict(enumerate(values)))
    assert within("general", "", difference, NOISE).verdict == verdict


def test_a_judges_scale_has_ten_times_the_margin() -> None:
    def judged(result: CellResult) -> CellResult:
        stages = tuple(
            replace(s, scores={**s.scores, "general": 1 + 6 * s.scores["general"]})
            for s in result.stages
        )
        return replace(result, stages=stages)

    results = [judged(result) for result in planted.study()]
    (comparison,) = comparisons(group(results), ["general"])
    (part,) = judge(comparison)[2].parts
    assert "0.5" in part.note


def test_the_reference_k_is_chosen_by_rule() -> None:
    def reference(*ks: str, declared: str | None = None) -> Fraction | None:
        results = [planted.cell_result({"strategy": "dmt", "k": k}, 0, []) for k in ks]
        (comparison,) = comparisons(group(results), ["general"], declared and Fraction(declared))
        return comparison.reference_k

    assert reference(*planted.KS) == Fraction(1, 256)
    assert reference("0", "1/64", "1/16", "1/4", "1") == Fraction(1, 16)
    assert reference("0", "1/16", "1/4", "1") == Fraction(1, 16)
    assert reference("0", "1/8") == Fraction(1, 8)
    assert reference("0") is None
    assert reference("0", "1/16", "1/4", declared="1/4") == Fraction(1, 4)
    assert reference("0", "1/16", declared="1/2") is None


def test_mixed_sequential_stands_in_for_a_k_of_zero() -> None:
    results = [result for result in planted.study() if result.settings.get("k") != "0"]
    (comparison,) = comparisons(group(results), ["general"])
    assert comparison.ks[0] == 0
    assert verdicts(results)["d"] == "shown"


def test_base_models_are_judged_separately() -> None:
    by_model = {"effect": planted.study(), "null": planted.study(forgetting=0.0)}
    results = [
        replace(
            result, name=f"{model}-{result.name}", settings={**result.settings, "base_model": model}
        )
        for model, results_of_model in by_model.items()
        for result in results_of_model
    ]
    compared = comparisons(group(results), ["general"], Fraction(1, 16))
    assert [dict(c.context) for c in compared] == [{"base_model": "effect"}, {"base_model": "null"}]
    assert [judge(c)[0].verdict for c in compared] == ["shown", "not shown"]


def test_a_missing_score_leaves_its_seed_out_of_the_pairs() -> None:
    def without_seed_0(result: CellResult) -> CellResult:
        if result.seed or result.settings["strategy"] != "sequential":
            return result
        last = replace(result.stages[-1], scores={"math": float("nan")})
        return replace(result, stages=(*result.stages[:-1], last))

    results = [without_seed_0(result) for result in planted.study()]
    (comparison,) = comparisons(group(results), ["general"], Fraction(1, 16))
    part = judge(comparison)[0].parts[0]
    assert part.difference is not None
    assert sorted(part.difference.by_seed) == [1, 2, 3, 4]


def test_two_cells_of_one_treatment_and_seed_are_refused() -> None:
    result = planted.cell_result({"strategy": "dmt"}, 0, [])
    with pytest.raises(ValueError, match="seed 0"):
        group([result, replace(result, name="again")])


def test_a_trend_is_the_rise_along_a_fitted_line() -> None:
    line = [{0: 0.1, 1: 0.4}, {0: 0.2, 1: 0.4}, {0: 0.3, 1: 0.4}]
    rise = trend(line, [0, 1, 2])
    assert rise is not None
    assert rise.by_seed == pytest.approx({0: 0.2, 1: 0.0})
    assert trend(line[:2], [0, 1]) is None


def test_rows_count_a_replayed_row_once() -> None:
    stages = [("a", {"math": 1.0}, {}), ("b", {"math": 0.25, "general": 0.5}, {})]
    result = planted.cell_result({}, 0, stages)
    assert result.rows("math") == planted.ROWS["math"]
    assert result.rows() == planted.ROWS["math"] + planted.ROWS["general"] // 2
    assert result.rows("code") == 0
    assert result.last() == {} and CellResult(name="", settings={}, seed=0, stages=()).last() == {}
    assert isinstance(result.stages[0], CellStage)


@pytest.mark.parametrize(
    ("before", "verdict"),
    [((0.1, 0.1), "shown"), ((0.1, 0.99), "not shown"), ((0.99, 0.99), "contradicted")],
)
def test_abilities_of_the_model_before_training_are_kept_or_lost(
    before: tuple[float, float], verdict: str
) -> None:
    results = [
        replace(r, before={"math": before[r.seed % 2], "code": 0.0, "general": 0.0})
        for r in planted.study()
    ]
    assert verdicts(results)["j"] == verdict


@pytest.mark.parametrize(("step", "verdict"), [(0.1, "shown"), (0.0, "not shown")])
def test_larger_models_do_better_or_not(step: float, verdict: str) -> None:
    results = [r for i, name in enumerate("abc") for r in planted.of_base_model(name, i * step)]
    compared = comparisons(group(results), ["general"])
    judged = judge_sizes(compared)
    assert judged is not None and judged.claim.key == "h" and judged.verdict == verdict
    assert judged.parts[0].quantity == "fitted change from a to c"
    assert judge_sizes(compared[:2]) is None
    # A learning rate may go with each model, but a model must not be there twice.
    rates = {"models/a": 4e-3, "models/b": 2e-3, "models/c": 1e-3}
    with_rates = [
        replace(r, settings={**r.settings, "learning_rate": rates[r.settings["base_model"]]})
        for r in results
    ]
    again = judge_sizes(comparisons(group(with_rates), ["general"]))
    assert again is not None and again.verdict == verdict
    other_data = [
        replace(r, settings={**r.settings, "amount.math": f"1/{i + 1}"})
        for i, name in enumerate("abc")
        for r in planted.of_base_model(name, i * step)
    ]
    assert judge_sizes(comparisons(group(other_data), ["general"])) is None
    slower = [replace(r, settings={**r.settings, "learning_rate": 0.1}) for r in results]
    assert judge_sizes(comparisons(group([*with_rates, *slower]), ["general"])) is None
