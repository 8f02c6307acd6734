"""The JSON Schema of the YAML, which lets editors complete, describe and check its keys."""

from __future__ import annotations

from typing import Any

from axolotl_dmt.config.args import INTERNAL, DMTConfig
from axolotl_dmt.hooks.calls import registered_amounts, registered_strategies
from axolotl_dmt.plan.orders import ORDERS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def yaml_schema() -> dict[str, Any]:
    """Return the schema of a whole Axolotl YAML with a `dmt:` block.

    Axolotl's own keys may have any value. Names that installed plugins register are included.

    Raises:
        DMTError: the hook of an installed plugin failed.
    """
    block = DMTConfig.model_json_schema()
    definitions = block.pop("$defs")
    for name in INTERNAL:
        del block["properties"][name]
    block["description"] = "Stages, data mixing and scores: axolotl-dmt."
    properties = block["properties"]
    # Examples, not the only valid names: a YAML may load its own hooks.
    properties["strategy"]["examples"] = list(registered_strategies())
    properties["order"]["examples"] = list(ORDERS)
    unit = {"type": ["number", "string"]}
    for amount in _amount_schemas(definitions):
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


def _amount_schemas(schema: Any) -> list[dict[str, Any]]:
    """Return the parts of a schema that list the units of an amount."""
    if isinstance(schema, list):
        return [amount for item in schema for amount in _amount_schemas(item)]
    if not isinstance(schema, dict):
        return []
    if "token_share" in schema.get("properties", {}):
        return [schema]
    return [amount for item in schema.values() for amount in _amount_schemas(item)]
