"""Loads the rows of `test_datasets`, each entry by itself and under a name of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from axolotl.utils.dict import DictDefault
from datasets import Dataset

from axolotl_dmt.training.load_dataset import config_of_one_dataset, load_dataset
from axolotl_dmt.training.row_counts import counting_rows
from axolotl_dmt.training.row_digests import row_digests
from axolotl_dmt.training.tokenised_rows import is_tokenised, trained_counts


def load_tests(cfg: DictDefault, tokenizer: Any, processor: Any) -> dict[str, Dataset]:
    """Return {name: rows} of each entry of `test_datasets`.

    Raises:
        DMTError: an entry cannot be prepared.
    """
    rows: dict[str, Dataset] = {}
    for index, (name, entry) in enumerate(
        zip(test_names(cfg), cfg.test_datasets or (), strict=True)
    ):
        single = config_of_one_dataset(cfg, cfg.datasets[0])
        single.test_datasets = [entry]
        with counting_rows():
            _, tests = load_dataset(single, "datasets[0]", tokenizer, processor, first_test=index)
        if tests is not None:
            is_text = is_tokenised(tests)
            rows[name] = tests.select(np.flatnonzero(trained_counts(tests))) if is_text else tests
    return rows


def test_names(cfg: DictDefault) -> list[str]:
    """Return the name of each entry of `test_datasets` in the log.

    A single entry is called `test`. Several have the name of their file or dataset, such as
    `test_gsm8k`, with a number where two are the same.
    """
    entries = cfg.test_datasets or ()
    if len(entries) == 1:
        return ["test"]
    names: list[str] = []
    for entry in entries:
        files = entry.data_files
        source = files[0] if isinstance(files, list) and files else files or entry.path
        stem = re.sub(r"\W+", "_", Path(str(source)).name.split(".")[0]) or "rows"
        name = f"test_{stem}"
        copies = sum(other == name or other.startswith(f"{name}_") for other in names)
        names.append(f"{name}_{copies + 1}" if name in names else name)
    return names


def notes_on_tests(rows: Dataset, tests: Dataset) -> Iterator[str]:
    """Yield a sentence if test rows are copies of rows that are trained on."""
    copies = int(np.isin(row_digests(tests), row_digests(rows)).sum())
    if copies:
        yield (
            f"{copies} of the {len(tests)} rows of test_datasets are exact copies of rows that are "
            "trained on, so their loss does not show what the model learned to generalise"
        )
