"""The log of a run: Axolotl's, with control characters replaced in our messages."""

from __future__ import annotations

import logging

from axolotl.utils.logging import get_logger

from axolotl_dmt.console import clean_records

LOG = get_logger("axolotl_dmt")
clean_records(logging.getLogger("axolotl_dmt"))
