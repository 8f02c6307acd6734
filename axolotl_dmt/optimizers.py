"""Which optimisers' state can be forgotten between stages."""

RESETTABLE = frozenset({"adamw_torch", "adamw_torch_fused", "sgd", "rmsprop"})
"""Axolotl's names of optimisers that build their state anew at the next step once it is cleared."""
