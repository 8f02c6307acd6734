"""How much of a domain a stage takes, in the unit the user named.

Units are named, never guessed from the type of a number: a bare number or "a/b" is always a
fraction of the domain, and every other amount names its unit:

    math: all                      # every row once
    math: 1/256                    # a fraction of the domain's rows; 0.25 and 1 are fractions too
    math: {fraction: 1/256}        # the same
    math: {rows: 500}              # this many rows
    math: {tokens: 200000}         # as many rows as hold this many tokens, to within one row
    math: {share: 0.01}            # this share of the rows of the stage
    math: {token_share: 0.01}      # this share of the tokens of the stage
    math: {joint_share: 0.1}       # this share of the rows of the stage, together with the other
                                   # domains that have a joint share, in proportion to their rows
    math: {weight: 2}              # relative to the other weights of the stage

Numbers are exact: 0.1 means 1/10, as typed, and not the nearest binary number.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, cast

from axolotl_dmt.errors import DMTError

WHOLE: Final = ("rows", "tokens")
SHARES: Final = ("share", "token_share", "joint_share")
UNITS: Final = ("fraction", *WHOLE, *SHARES, "weight")
FORMS: Final = (
    "write all, a fraction of the domain such as 1/256, "
    "or one of {rows: n}, {tokens: n}, {share: s}, {token_share: s}, {joint_share: s}, "
    "{weight: w}"
)


@dataclass(frozen=True)
class Amount:
    """An amount of one domain in one stage.

    Args:
        unit: the unit of `value`: "all", one of `UNITS`, or one that a hook registers.
        value: the exact number, zero or more; 1 if the unit is "all".
    """

    unit: str
    value: Fraction = Fraction(1)

    def to_plain(self) -> str | dict[str, int | str]:
        """Return the form that a YAML or JSON file holds; `parse_amount` reads it."""
        if self.unit == "all":
            return "all"
        if self.unit == "fraction":
            return str(self.value)
        return {self.unit: plain_number(self.value)}

    def __str__(self) -> str:
        if self.unit in ("all", "fraction"):
            return str(self.to_plain())
        if self.unit in WHOLE:
            return f"{int(self.value):,} {self.unit}"
        return f"{self.unit.replace('_', ' ')} {float(self.value):.6g}"


ALL: Final = Amount("all")


def plain_number(value: Fraction) -> int | str:
    """Return a number in the form that a YAML or JSON file holds; `parse_fraction` reads it."""
    return int(value) if value.denominator == 1 else str(value)


def parse_fraction(value: object, key: str) -> Fraction:
    """Read a number, or "a/b", exactly.

    Args:
        value: a number, or a string that holds a number or "a/b".
        key: the YAML key that an error names.

    Returns:
        The exact value, zero or more. A float means the decimal number that it prints as.

    Raises:
        DMTError: the value is none of these, not finite, or negative.
    """
    fix = "write a number or a fraction such as 0.25 or 1/256"
    if isinstance(value, Fraction):
        number = value
    elif isinstance(value, float) and not math.isfinite(value):
        raise DMTError(key, f"{value!r} is not a finite number", fix)
    else:
        try:
            text = str(value).strip()  # that of a boolean or a list is not a number
            # An exponent goes through float, where 1e999999999 is infinite and not a huge integer.
            number = Fraction(str(float(text)) if "e" in text.lower() else text)
        except ZeroDivisionError:
            raise DMTError(key, f"{value!r} divides by zero", fix) from None
        except (ValueError, OverflowError):
            raise DMTError(key, f"{value!r} is not a fraction", fix) from None
    if number < 0:
        raise DMTError(key, f"{value!r} is negative", fix)
    return number


def parse_amount(value: object, key: str, units: Collection[str] | None = ()) -> Amount:
    """Read an amount as the YAML gives it.

    Args:
        value: "all", a number or "a/b", a mapping of one unit to a number, or an `Amount`.
        key: the YAML key that an error names, such as `dmt.stages[0].mix.math`.
        units: further units that hooks register; None accepts any unit, for a plan that was
            checked before it was saved.

    Returns:
        The amount. A fraction above 1 is valid: only the stage knows whether rows may repeat.

    Raises:
        DMTError: the value has another form, a share is above 1, or rows or tokens are not whole
            numbers.
    """
    if isinstance(value, Amount):
        return value
    if isinstance(value, str) and value.strip().lower() == "all":
        return ALL
    if not isinstance(value, Mapping):
        try:
            return Amount("fraction", parse_fraction(value, key))
        except DMTError as error:
            raise DMTError(key, error.problem, FORMS) from None
    if len(value) != 1:
        units_given = ", ".join(map(str, value)) or "none"
        raise DMTError(key, f"an amount has one unit, but this one has {units_given}", FORMS)
    unit, number = cast("tuple[Any, object]", next(iter(value.items())))
    if unit not in UNITS and units is not None and unit not in units:
        registered = f"; registered: {', '.join(units)}" if units else ""
        raise DMTError(key, f"unknown unit {unit!r}", f"{FORMS}{registered}")
    exact = parse_fraction(number, f"{key}.{unit}")
    if unit in WHOLE and exact.denominator != 1:
        raise DMTError(f"{key}.{unit}", f"{number!r} is not a whole number", "write a whole number")
    if unit in SHARES and exact > 1:
        raise DMTError(
            f"{key}.{unit}", f"{number!r} is more than the whole stage", "write a share from 0 to 1"
        )
    return Amount(unit, exact)
