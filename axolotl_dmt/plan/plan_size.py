"""The check that a plan fits into memory, before it is allocated."""

from __future__ import annotations

import os
from typing import Final

from axolotl_dmt.errors import DMTError

MOST_OF_MEMORY: Final = 0.5
"""The part of the machine's memory that the order of a stage's rows may fill."""


def check_size(key: str, rows: int, bytes_a_row: int) -> None:
    """Check that the order of a stage's rows fits into the memory of this machine.

    Args:
        key: the YAML key that sets the epochs of the stage.
        rows: the rows that the stage trains on, each as often as it does.
        bytes_a_row: the size of one entry of the order.

    Raises:
        DMTError: it does not.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if rows * bytes_a_row > MOST_OF_MEMORY * memory:
        problem = (
            f"the stage would train on {float(rows):.3g} rows, whose order needs "
            f"{float(rows * bytes_a_row) / 2**30:,.0f} GiB of memory"
        )
        raise DMTError(key, problem, "take fewer epochs, or set max_steps")
