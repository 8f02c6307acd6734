"""The JSON Schema of the YAML, with which editors complete, describe and check keys."""

from __future__ import annotations

from typing import Any

from axolotl_dmt.config.args import INTERNAL, DMTConfig
from axolotl_dmt.hooks.calls import known_strategies, registered_amounts
from axolotl_dmt.plan.orders import ORDERS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def yaml_schema() -> dict[str, Any]:
    """Return the schema of a whole Axolotl YAML with a `dmt:` block.

    Axolotl's own keys may have any value. Names that installed plugins register are included.
    """
    block = DMTConfig.model_json_schema()
    definitions = block.pop("$defs")
    for name in INTERNAL:
        del block["properties"][name]
    block["description"] = "Stages, data mixing and scores: axolotl-dmt."
    properties = block["properties"]
    # These are examples and not the only valid names: a YAML may load hooks of its own.
    properties["strategy"]["examples"] = list(known_strategies())
    properties["order"]["examples"] = list(ORDERS)
    unit = {"type": ["number", "string"]}
    for amount in _amounts(definitions):
        amount["properties"].update(dict.fromkeys(registered_amounts(), unit))
    domain = {"type": "string", "minLength": 1, "description": "The kind of data this entry holds."}
    return {
        "$schema": DIALECT,
        "title": "Axolotl YAML with a dmt block",
        "type": "object",
        "properties": {
            "datasets": {
                "type": "array",
                "items": {"type": "object", "properties": {"domain": domain}},
            },
            "dmt": block,
        },
        "required": ["datasets", "dmt"],
        "$defs": definitions,
    }


def _amounts(schema: Any) -> list[dict[str, Any]]:
    """Return the objects in a schema that list the units of an amount."""
    if isinstance(schema, list):
        return [amount for item in schema for amount in _amounts(item)]
    if not isinstance(schema, dict):
        return []
    if "token_share" in schema.get("properties", {}):
        return [schema]
    return [amount for item in schema.values() for amount in _amounts(item)]
