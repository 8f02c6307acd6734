"""Generate the reference of every YAML key from the pydantic models that check it.

`make docs-reference` writes it to docs/yaml_reference.md.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from axolotl_dmt.config.amount_fields import AmountValue, FractionOfDomain, Weight
from axolotl_dmt.config.args import INTERNAL, DMTConfig, ScheduleConfig, StageConfig
from axolotl_dmt.config.evaluate_args import EvaluateConfig
from axolotl_dmt.config.keep_args import FloorConfig, SolveConfig
from axolotl_dmt.config.replay_args import ReplayConfig

SECTIONS: tuple[tuple[str, type[BaseModel], str], ...] = (
    ("dmt", DMTConfig, "The block itself. Set either `strategy` or `stages`."),
    (
        "dmt.stages[*]",
        StageConfig,
        "One stage of an explicit schedule. Set either `mix` or `weights`.",
    ),
    (
        "dmt.overrides.<stage>",
        ScheduleConfig,
        "Changes to one stage of a named strategy: the same keys, except `name` and `mix`.",
    ),
    ("dmt.keep.<ability>", FloorConfig, "How far an ability may fall; -0.02 means {drop: 0.02}."),
    ("dmt.solve", SolveConfig, "How `axolotl dmt solve` probes."),
    ("dmt.replay", ReplayConfig, "Which rows are replayed."),
    ("dmt.evaluate", EvaluateConfig, "How each ability is scored."),
)

AMOUNTS = """\
## Amounts

An amount sets how much of a domain a stage takes. A bare number or `a/b` is always a fraction of
the domain's rows; every other amount names its unit.

| amount | meaning |
| :-- | :-- |
| `all` | every row of the domain |
| `1/256`, `0.25` | this fraction of the domain's rows, to the nearest row |
| `{fraction: 1/256}` | the same, with the unit written out |
| `{rows: 500}` | this many rows |
| `{tokens: 200000}` | rows that together hold this many tokens, to within one row |
| `{share: 0.01}` | this share of the stage's rows |
| `{token_share: 0.01}` | this share of the stage's tokens |
| `{joint_share: 0.1}` | this share of the stage's rows, divided among its joint shares by rows |
| `{weight: 2}` | a share of the stage's rows, in proportion to its other weights |
"""


def yaml_reference() -> str:
    """Return the whole page as Markdown."""
    parts = [
        "# Every key of the YAML",
        "",
        "Generated from the code by `make docs-reference`. To change a description, edit "
        f"`{_source(DMTConfig)}`.",
        "",
        "Besides the `dmt:` block, the plugin adds one key to each entry of Axolotl's `datasets`:",
        "`domain`, the name of the kind of data that the entry holds. Several entries may share a",
        "domain.",
        "",
    ]
    for key, model, introduction in SECTIONS:
        parts += [f"## `{key}`", "", introduction, ""]
        for name, field in model.model_fields.items():
            if name not in INTERNAL:
                parts += _entry(name, field)
    return "\n".join([*parts, AMOUNTS.rstrip(), ""])


def _source(model: type[BaseModel]) -> str:
    return f"{model.__module__.replace('.', '/')}.py"


def _entry(name: str, field: FieldInfo) -> Iterator[str]:
    yield f"### `{name}`"
    yield ""
    yield f"{field.description}"
    yield ""
    yield f"Takes {_type_name(field.annotation)}. {_default(field)}"
    yield ""
    yield "```yaml"
    yield _example(name, field)
    yield "```"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "Required."
    value = field.get_default(call_default_factory=True, validated_data={})
    return "Default: none." if value is None else f"Default: `{_inline(value)}`."


def _inline(value: Any) -> str:
    plain = to_jsonable_python(value, fallback=str)
    text = yaml.safe_dump(plain, default_flow_style=True, width=1000, sort_keys=False).strip()
    return text.removesuffix("...").strip()


def _example(name: str, field: FieldInfo) -> str:
    assert field.examples, f"{name} has no example"
    return f"{name}: {_inline(field.examples[0])}"


def _type_name(annotation: Any) -> str:
    if annotation == FractionOfDomain:
        return "a fraction from 0 to 1"
    if annotation == list[FractionOfDomain]:
        return "a list of fractions from 0 to 1"
    if annotation == AmountValue:
        return "an amount"
    if annotation == Weight:
        return "a number or fraction"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        kinds = [_type_name(kind) for kind in arguments if kind is not type(None)]
        return " or ".join(dict.fromkeys(kinds))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"a list of {_type_name(arguments[0]).removeprefix('a ')}s"
    if origin is dict:
        return f"a mapping of name to {_type_name(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a block"
    names = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
    return names.get(annotation, "any value")


if __name__ == "__main__":
    print(yaml_reference(), end="")
