"""The commands `axolotl dmt ...`: `main` declares them, and longer ones have a module each."""

from axolotl_dmt.cli.main import dmt

__all__ = ["dmt"]
