"""Types of the YAML's fields that hold an amount, a fraction or a weight.

Each type reads its field exactly, once, when the YAML is validated. From then on the program holds
`Amount` and `Fraction` objects. A dump writes them in the plain form of a YAML or JSON file, which
these types can read: Axolotl validates the block, dumps it, and may validate it again.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks.calls import registered_amounts
from axolotl_dmt.plan.amounts import Amount, parse_amount, parse_fraction, plain_number

AUTO: Final = "auto"
"""The value of `dmt.k` that has `axolotl dmt solve` choose it."""

# The key is empty in each of these: `pydantic_errors.explain` adds the key of the field.


def _read_amount(value: object) -> Amount:
    return parse_amount(value, "", registered_amounts())


def _read_weight(value: object) -> Fraction:
    return parse_fraction(value, "")


def _read_fraction_of_domain(value: object) -> Fraction:
    fraction = parse_fraction(value, "")
    if not 0 <= fraction <= 1:
        raise DMTError("", f"{value} is outside [0, 1]", "write a fraction such as 1/256 or 0.25")
    return fraction


def _read_part_of_stage(value: object) -> Fraction:
    fraction = parse_fraction(value, "")
    if not 0 < fraction < 1:
        fix = "write a share of the stage such as 0.1"
        raise DMTError("", f"{value} is not between 0 and 1", fix)
    return fraction


def _read_k(value: object) -> Fraction | Literal["auto"]:
    return AUTO if value == AUTO else _read_fraction_of_domain(value)


_NUMBER: dict[str, Any] = {"type": ["number", "string"]}

AmountValue: TypeAlias = Annotated[
    Amount,
    PlainValidator(_read_amount),
    PlainSerializer(Amount.to_plain),
    WithJsonSchema(
        {
            "description": "all, a fraction of the domain's rows (1/256 or 0.25), or a named unit",
            "anyOf": [
                {"const": "all"},
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": "^[0-9.]+(/[0-9.]+)?$"},
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": False,
                    "properties": {
                        "rows": {"type": "integer", "minimum": 0},
                        "tokens": {"type": "integer", "minimum": 0},
                        "fraction": _NUMBER,
                        "share": _NUMBER,
                        "token_share": _NUMBER,
                        "joint_share": _NUMBER,
                        "weight": {"type": "number", "minimum": 0},
                    },
                },
            ],
        }
    ),
]
"""How much of a domain a stage takes."""

FractionOfDomain: TypeAlias = Annotated[
    Fraction,
    PlainValidator(_read_fraction_of_domain),
    PlainSerializer(Fraction.__str__),
    WithJsonSchema({**_NUMBER, "examples": ["1/256", 0.25]}),
]
"""A fraction from 0 to 1 of a domain's rows."""

PartOfStage: TypeAlias = Annotated[
    Fraction,
    PlainValidator(_read_part_of_stage),
    PlainSerializer(Fraction.__str__),
    WithJsonSchema({**_NUMBER, "examples": [0.1, "1/20"]}),
]
"""A share between 0 and 1 of a stage's rows."""

Weight: TypeAlias = Annotated[
    Fraction,
    PlainValidator(_read_weight),
    PlainSerializer(plain_number),
    WithJsonSchema({**_NUMBER, "examples": [2, "1/3"]}),
]
"""A weight of a domain, relative to the other weights of its stage."""

ReplayFraction: TypeAlias = Annotated[
    FractionOfDomain | Literal["auto"],
    PlainValidator(_read_k),
    PlainSerializer(str),
    WithJsonSchema({**_NUMBER, "examples": ["1/256", 0.25, AUTO]}),
]
"""`dmt.k`: a fraction from 0 to 1 of each specialised domain, or `auto`."""
