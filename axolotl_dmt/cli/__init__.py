"""The commands `axolotl dmt ...`, one module for each; `main` declares them and their options."""

from axolotl_dmt.cli.main import dmt

__all__ = ["dmt"]
