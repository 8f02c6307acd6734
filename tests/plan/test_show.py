"""The view of a plan in the terminal."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from axolotl_dmt.plan.show import plan_tables
from tests.training.test_trainer import plan_of, stage


def lines(*stages: Any) -> list[str]:
    return [str(part) for part in plan_tables(plan_of(*stages)) if isinstance(part, Text)]


def test_unusual_settings_are_listed_below_the_tables() -> None:
    special = stage("end", 8, freeze=("embed_tokens",), new_adapter=True, train_on_inputs=False)
    notes = lines(stage("start", 8), special)
    assert "end: frozen embed_tokens, a fresh adapter on top, inputs are masked" in notes
    assert not any(line.startswith("start") for line in notes)
