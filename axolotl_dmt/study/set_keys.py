"""Checks that the keys which a study sets are keys that something reads.

A study that sets a misspelt key would train the same run once for each value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from axolotl_dmt.checks.yaml_keys import check_keys, keys_of_entries
from axolotl_dmt.config.args import INTERNAL, DMTConfig
from axolotl_dmt.errors import DMTError, DMTErrors, closest
from axolotl_dmt.study.config import Study


def check_set_keys(study: Study, base: Mapping[str, Any]) -> None:
    """Check every key in `set` and in `variants` of a study.

    Args:
        study: the study.
        base: its base configuration.

    Raises:
        DMTError: Axolotl and the `dmt` block do not know some; the error lists all of them.
    """
    places: dict[str, str] = {name: f"study.set.{name}" for name in study.set}
    for index, grid in enumerate(study.cells):
        places |= {name: f"study.cells[{index}].set.{name}" for name in grid.set}
    for variant, keys in study.variants.items():
        places |= {name: f"study.variants.{variant}.{name}" for name in keys}
    if problems := list(_unknown(places, base)):
        raise DMTErrors(problems)


def _unknown(places: Mapping[str, str], base: Mapping[str, Any]) -> Iterator[DMTError]:
    for dotted, place in places.items():
        top, *inner = dotted.split(".")
        if top == "dmt":
            if inner and inner[0] not in DMTConfig.model_fields:
                yield _mistake(place, inner[0], set(DMTConfig.model_fields) - INTERNAL)
        elif top not in base:
            mistakes, remarks = check_keys(base, [top])
            for error in (*mistakes, *remarks):
                fix = error.fix or "name a key of Axolotl, or one that the base has"
                yield DMTError(place, f"Axolotl does not know the key {top!r}", fix)
        elif top in ("datasets", "test_datasets") and len(inner) == 2:
            known = {*keys_of_entries(), *_keys_in(base[top])}
            if inner[1] not in known and closest(inner[1], known):
                yield _mistake(place, inner[1], known)


def _mistake(place: str, name: str, known: Iterable[str]) -> DMTError:
    close = closest(name, list(known))
    fix = f"did you mean {close}?" if close else f"known keys: {', '.join(sorted(known))}"
    return DMTError(place, f"unknown key {name!r}", fix)


def _keys_in(entries: Any) -> Iterator[str]:
    for entry in entries if isinstance(entries, list) else []:
        yield from entry if isinstance(entry, Mapping) else ()
