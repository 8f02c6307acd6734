"""A study that is judged by losses on held-out rows."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from axolotl_dmt.analysis.claims import judge
from axolotl_dmt.analysis.comparisons import comparisons
from axolotl_dmt.analysis.measure import LOG_LIKELIHOOD, SCORE, Scale, require
from axolotl_dmt.analysis.report import write_study_report
from axolotl_dmt.analysis.treatments import CellResult, group
from axolotl_dmt.errors import DMTError
from axolotl_dmt.results.results import StageResult
from tests import planted


def as_log_likelihoods(results: list[CellResult]) -> list[CellResult]:
    """Return the results with scores from 0 to 1 as log-likelihoods from -2 to -1."""
    return [
        replace(
            result,
            measure=LOG_LIKELIHOOD,
            stages=tuple(
                replace(stage, scores={a: v - 2 for a, v in stage.scores.items()})
                for stage in result.stages
            ),
        )
        for result in results
    ]


def test_a_stage_has_its_scores_or_its_negated_losses() -> None:
    stage = StageResult(
        name="a", end_step=1, extra={"held_out_loss": {"math": 0.85, "test_code": 2}}
    )
    assert LOG_LIKELIHOOD.values(stage) == {"math": -0.85, "code": -2.0}
    assert SCORE.values(stage) == {}
    assert LOG_LIKELIHOOD.values(StageResult(name="a", end_step=1)) == {}


def test_scales() -> None:
    assert SCORE.scale([0.2, 0.9]) == Scale(0.0, 1.0)
    assert SCORE.scale([0.2, 7.5]) == Scale(0.0, 10.0)
    assert LOG_LIKELIHOOD.scale([-2.5, -0.5]) == Scale(-2.5, -0.5)
    assert LOG_LIKELIHOOD.scale([-2.5]).share(-2.5) == 0.5
    assert (SCORE.within_noise(Scale(0, 10)), LOG_LIKELIHOOD.within_noise(Scale(-9, 0))) == (
        0.5,
        0.05,
    )


def test_losses_get_the_verdicts_that_the_same_scores_get() -> None:
    scores = planted.study(conflict=0.1)
    judged = [
        {claim.claim.key: claim.verdict for claim in judge(comparison)}
        for results in (scores, as_log_likelihoods(scores))
        for comparison in comparisons(group(results), ["general"], Fraction(1, 16))
    ]
    assert judged[0] == judged[1]


def test_the_report_names_the_measure_and_its_margin(tmp_path: Path) -> None:
    results = as_log_likelihoods(planted.study(conflict=0.1))
    write_study_report(results, tmp_path, title="Losses", k=Fraction(1, 16))
    text = (tmp_path / "study.md").read_text()
    assert "Held-out log-likelihood (nats per token) after the last stage" in text
    assert "0.05 nats per token" in text and "5% of the scale" not in text
    assert "Retention" not in text  # a ratio of log-likelihoods has no meaning
    rows = json.loads((tmp_path / "study_results.json").read_text())["records"]
    values = [row["value"] for row in rows if row["measure"] == "score"]
    assert values and min(values) > -2.2 and max(values) < -0.9


def test_a_study_without_losses_says_what_to_add() -> None:
    with pytest.raises(DMTError) as caught:
        require(LOG_LIKELIHOOD, [{}, {}])
    assert caught.value.key == "study.measure" and "val_rows" in caught.value.fix
    require(SCORE, [{}])
