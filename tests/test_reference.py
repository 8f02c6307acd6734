"""The reference of YAML keys agrees with the code, and every example in it is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from axolotl_dmt.config.args import INTERNAL, read_config
from reference import SECTIONS, yaml_reference

PAGE = Path(__file__).parents[1] / "docs/yaml_reference.md"


def test_the_page_is_up_to_date_with_the_code() -> None:
    assert PAGE.read_text() == yaml_reference(), "run `make docs-reference`"


@pytest.mark.parametrize("model", [model for _, model, _ in SECTIONS])
def test_every_key_has_a_description_and_an_example(model: Any) -> None:
    for name, field in model.model_fields.items():
        if name not in INTERNAL:
            assert field.description, name
            assert field.examples, name


def block_with(section: str, example: dict[str, Any]) -> dict[str, Any]:
    stage = {"name": "one", "mix": {"math": "all"}}
    if section == "dmt":
        base = {} if {"strategy", "stages"} & set(example) else {"strategy": "dmt"}
        return {**base, **example}
    if section == "dmt.stages[*]":
        if "weights" in example or "temperature" in example:
            stage = {"name": "one", "weights": {"math": 1}}
        return {"stages": [{**stage, **example}]}
    if section == "dmt.overrides.<stage>":
        return {"strategy": "dmt", "overrides": {"generalise": example}}
    if section == "dmt.keep.<ability>":
        base = {} if {"drop", "loss"} & set(example) else {"drop": 0.02}
        return {"strategy": "dmt", "keep": {"math": {**base, **example}}}
    if section == "dmt.evaluate.judge":
        return {"strategy": "dmt", "evaluate": {"judge": {"model": "gpt-4o", **example}}}
    if section == "dmt.evaluate.when":
        return {"strategy": "dmt", "evaluate": {"when": example}}
    if section == "dmt.gate" and "against" in example:
        example = {"keep": {"math": -0.02}, **example}
    return {"strategy": "dmt", section.removeprefix("dmt."): example}


def examples() -> list[tuple[str, str]]:
    pairs, section = [], ""
    for part in yaml_reference().split("\n## ")[1:]:
        section = part.split("`")[1] if part.startswith("`") else ""
        pairs += [(section, text.split("```")[0]) for text in part.split("```yaml\n")[1:]]
    return pairs


@pytest.mark.parametrize(("section", "example"), examples())
def test_every_example_on_the_page_is_accepted(section: str, example: str) -> None:
    read_config(block_with(section, yaml.safe_load(example)))
