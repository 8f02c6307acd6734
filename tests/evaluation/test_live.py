"""The live model is scored as it stands in the trainer, and the results say how fast."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.live import score_live_model
from axolotl_dmt.evaluation.scores import Evaluation, with_scores
from axolotl_dmt.evaluation.tasks import Tasks
from axolotl_dmt.results.results import StageResult
from tests.evaluation.test_answering_model import TOKENIZER, make


class Alone:
    index, count = 0, 1

    def from_first(self, value: Any) -> Any:
        return value

    def gathered(self, value: Any) -> list[Any]:
        return [value]


def test_a_stage_keeps_how_its_answers_were_generated(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"} for n in range(5)]
    data = tmp_path / "math.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = EvaluateConfig(
        tasks=["dmt_math"], data={"math": str(data)}, prompt="plain", max_new_tokens=6
    )
    model = make("llama").train()
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(unwrap_model=lambda wrapped: wrapped),
        model_wrapped=model,
        processing_class=TOKENIZER,
    )
    evaluation = score_live_model(trainer, Tasks(config), Alone())  # type: ignore[arg-type]
    assert evaluation.error is None
    assert model.training
    assert evaluation.scores["math"].n == 5
    again = Evaluation.from_json(json.loads(json.dumps(evaluation.to_json())))
    stage = with_scores(StageResult(name="one", end_step=1), again).to_json()
    assert stage["generation"]["batching"].startswith("continuous batching")
    assert 5 <= stage["generation"]["tokens"] <= 30
    assert stage["generation"]["tokens_per_second"] > 0
    assert StageResult.from_json(stage).to_json() == stage
