"""Public benchmark files that are not in the repository, such as HumanEval's rows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "DMT_TEST_DATA"
FOLDER = Path(__file__).parents[2] / "shared/data"
"""Where the files are looked for if the variable is not set: beside the repository."""


def public_file(name: str) -> Path:
    """Return the path of a public file, or skip the test if the file is missing."""
    file = Path(os.environ.get(VARIABLE) or FOLDER) / name
    if not file.is_file():
        pytest.skip(f"no {file}: set {VARIABLE} to the folder that contains it")
    return file
