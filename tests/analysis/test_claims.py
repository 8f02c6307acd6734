"""The verdicts on studies whose truth was planted."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from axolotl_dmt.analysis.claims import MARGIN, above_zero, judge, trend, within
from axolotl_dmt.analysis.intervals import Difference
from axolotl_dmt.analysis.treatments import CellResult, CellStage, comparisons, group
from tests import planted


def verdicts(outcomes: list[CellResult], k: str | None = "1/16") -> dict[str, str]:
    (comparison,) = comparisons(group(outcomes), ["general"], k and Fraction(k))
    return {judged.claim.key: judged.verdict for judged in judge(comparison)}


def by_strategy(outcomes: list[CellResult], *names: str) -> list[CellResult]:
    return [outcome for outcome in outcomes if outcome.settings["strategy"] in names]


def test_every_planted_effect_is_shown() -> None:
    found = verdicts(planted.study(conflict=0.1))
    assert found == dict.fromkeys("abcdefg", "shown")


def test_a_planted_null_is_not_shown() -> None:
    found = verdicts(planted.study(forgetting=0.0))
    assert {found[key] for key in "abdef"} == {"not shown"}


def test_replay_that_wins_nothing_back_is_not_shown() -> None:
    found = verdicts(planted.study(replay=0.0))
    assert (found["a"], found["b"], found["d"], found["f"]) == (
        "not shown",
        "not shown",
        "not shown",
        "shown",
    )


def test_planted_opposites_contradict() -> None:
    found = verdicts(planted.study(replay=-0.4, conflict=-0.1))
    assert {found[key] for key in "abde"} == {"contradicted"}


def test_the_null_is_seldom_shown() -> None:
    chance, shown = random.Random(0), 0
    for _ in range(600):
        noise = Difference(by_seed={s: chance.gauss(0, 1) for s in range(5)})
        shown += above_zero("a", "", noise).verdict == "shown"
    assert shown / 600 <= 0.05


def test_one_seed_shows_nothing() -> None:
    assert verdicts(planted.study(1, forgetting=0.0))["a"] == "not shown"


def test_missing_cells_are_not_measured() -> None:
    outcomes = planted.study()
    found = verdicts(by_strategy(outcomes, "dmt", "sequential"))
    assert (found["a"], found["d"], found["f"]) == ("shown", "shown", "shown")
    assert {found[key] for key in "bceg"} == {"not measured"}
    alone = verdicts(by_strategy(outcomes, "single"))
    assert {alone[key] for key in "abcdef"} == {"not measured"} and alone["g"] == "shown"


def test_four_seeds_cannot_show_and_the_part_says_why() -> None:
    (comparison,) = comparisons(group(planted.study(4)), ["general"], Fraction(1, 16))
    judged = judge(comparison)[0]
    assert judged.verdict == "not shown"
    assert "4 seeds" in judged.parts[0].note and "0.05" in judged.parts[0].note


def test_one_ability_that_gains_does_not_make_up_for_one_that_does_not() -> None:
    def spoiled(outcome: CellResult) -> CellResult:
        if outcome.settings != {"strategy": "dmt", "k": "1/16"}:
            return outcome
        last = outcome.stages[-1]
        worse = replace(last, scores={**last.scores, "code": 0.25 + 0.01 * outcome.seed})
        return replace(outcome, stages=(*outcome.stages[:-1], worse))

    (comparison,) = comparisons(
        group([spoiled(o) for o in planted.study()]), ["general"], Fraction(1, 16)
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
    assert within("general", "", difference, MARGIN).verdict == verdict


def test_a_judges_scale_has_ten_times_the_margin() -> None:
    def judged(outcome: CellResult) -> CellResult:
        stages = tuple(
            replace(s, scores={**s.scores, "general": 1 + 6 * s.scores["general"]})
            for s in outcome.stages
        )
        return replace(outcome, stages=stages)

    (comparison,) = comparisons(group([judged(o) for o in planted.study()]), ["general"])
    (part,) = judge(comparison)[2].parts
    assert "0.5" in part.note


def test_the_reference_k_is_chosen_by_rule() -> None:
    def reference(*ks: str, declared: str | None = None) -> Fraction | None:
        outcomes = [planted.outcome({"strategy": "dmt", "k": k}, 0, []) for k in ks]
        (comparison,) = comparisons(group(outcomes), ["general"], declared and Fraction(declared))
        return comparison.reference_k

    assert reference(*planted.KS) == Fraction(1, 256)
    assert reference("0", "1/64", "1/16", "1/4", "1") == Fraction(1, 16)
    assert reference("0", "1/16", "1/4", "1") == Fraction(1, 16)
    assert reference("0", "1/8") == Fraction(1, 8)
    assert reference("0") is None
    assert reference("0", "1/16", "1/4", declared="1/4") == Fraction(1, 4)
    assert reference("0", "1/16", declared="1/2") is None


def test_mixed_sequential_stands_in_for_a_k_of_zero() -> None:
    outcomes = [o for o in planted.study() if o.settings.get("k") != "0"]
    (comparison,) = comparisons(group(outcomes), ["general"])
    assert comparison.ks[0] == 0
    assert verdicts(outcomes)["d"] == "shown"


def test_base_models_are_judged_apart() -> None:
    both = [
        replace(o, name=f"{name}-{o.name}", settings={**o.settings, "base_model": name})
        for name, outcomes in {
            "good": planted.study(),
            "none": planted.study(forgetting=0.0),
        }.items()
        for o in outcomes
    ]
    found = comparisons(group(both), ["general"], Fraction(1, 16))
    assert [dict(c.context) for c in found] == [{"base_model": "good"}, {"base_model": "none"}]
    assert [judge(c)[0].verdict for c in found] == ["shown", "not shown"]


def test_a_missing_score_leaves_its_seed_out_of_the_pairs() -> None:
    def lost(outcome: CellResult) -> CellResult:
        if outcome.seed or outcome.settings["strategy"] != "sequential":
            return outcome
        last = replace(outcome.stages[-1], scores={"math": float("nan")})
        return replace(outcome, stages=(*outcome.stages[:-1], last))

    (comparison,) = comparisons(
        group([lost(o) for o in planted.study()]), ["general"], Fraction(1, 16)
    )
    part = judge(comparison)[0].parts[0]
    assert part.difference is not None
    assert sorted(part.difference.by_seed) == [1, 2, 3, 4]


def test_two_cells_of_one_treatment_and_seed_are_refused() -> None:
    one = planted.outcome({"strategy": "dmt"}, 0, [])
    with pytest.raises(ValueError, match="seed 0"):
        group([one, replace(one, name="again")])


def test_a_trend_is_the_rise_along_a_fitted_line() -> None:
    line = [{0: 0.1, 1: 0.4}, {0: 0.2, 1: 0.4}, {0: 0.3, 1: 0.4}]
    found = trend(line, [0, 1, 2])
    assert found is not None
    assert found.by_seed == pytest.approx({0: 0.2, 1: 0.0})
    assert trend(line[:2], [0, 1]) is None


def test_rows_count_a_replayed_row_once() -> None:
    stages = [("a", {"math": 1.0}, {}), ("b", {"math": 0.25, "general": 0.5}, {})]
    outcome = planted.outcome({}, 0, stages)
    assert outcome.rows("math") == planted.ROWS["math"]
    assert outcome.rows() == planted.ROWS["math"] + planted.ROWS["general"] // 2
    assert outcome.rows("code") == 0
    assert outcome.last() == {} and CellResult(name="", settings={}, seed=0, stages=()).last() == {}
    assert isinstance(outcome.stages[0], CellStage)
