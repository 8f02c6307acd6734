"""The rows that the model is trained on, as a second plugin records them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROWS
from tests.e2e import spy
from tests.e2e.runs import config, train

pytestmark = pytest.mark.long

FIELDS = {
    "math": ("question", "answer"),
    "code": ("prompt", "completion"),
    "general": ("prompt", "response"),
}


def domain_of_text(toy: Path) -> dict[str, str]:
    """Return {text of a row: its domain}."""
    domains = {}
    for domain, (question, answer) in FIELDS.items():
        for line in (toy / f"data/{domain}.jsonl").open():
            row = json.loads(line)
            domains[row[question] + row[answer]] = domain
    return domains


@pytest.mark.parametrize("accumulation", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_each_stage_trains_exactly_its_rows(toy: Path, tmp_path: Path, accumulation: int) -> None:
    from transformers import AutoTokenizer

    folder = tmp_path / "spy"
    folder.mkdir()
    settings = config(toy, tmp_path / "out", num_epochs=2)
    settings["plugins"] += ["tests.e2e.spy.SpyPlugin"]
    settings["micro_batch_size"] //= accumulation
    settings["gradient_accumulation_steps"] = accumulation
    done = train(tmp_path, settings, SPY_FILE=str(folder / "seen"))
    assert done.code == 0, done.output[-4000:]

    tokenizer = AutoTokenizer.from_pretrained(toy / "base")
    domains = domain_of_text(toy)
    ends = [stage["end_step"] for stage in done.results["stages"]]
    stages: list[Counter[str]] = [Counter(), Counter()]
    for seen in spy.read(folder):
        for row in spy.trained_rows(seen):
            text = tokenizer.decode(row, skip_special_tokens=True)
            stages[seen["step"] >= ends[0]][text] += 1

    by_domain = [Counter(domains[text] for text in stage) for stage in stages]
    assert by_domain[0] == {"math": ROWS["math"], "code": ROWS["code"]}
    assert by_domain[1] == {"general": ROWS["general"], "math": 30, "code": 15}
    # In two epochs, every row is trained on exactly twice.
    assert {count for stage in stages for count in stage.values()} == {2}
    # The replayed rows are among those of stage 1.
    assert {text for text in stages[1] if domains[text] != "general"} <= set(stages[0])
