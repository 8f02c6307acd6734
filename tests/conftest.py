"""Settings and fixtures of all tests: no network access, and a small data set."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# A deadline would fail a test because the machine is busy.
hypothesis.settings.register_profile("no-deadline", deadline=None)
if hypothesis.settings.get_current_profile_name() == "default":
    hypothesis.settings.load_profile("no-deadline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TRAINING = "tests/e2e/"

ROWS = {"math": 120, "code": 60, "general": 100}


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write `data/*.jsonl`, `data/*_test.jsonl` and `base`, as in the quickstart, to a folder."""
    from axolotl_dmt.toy.__main__ import write_jsonl
    from axolotl_dmt.toy.model import save_base
    from axolotl_dmt.toy.skills import make_rows

    folder = tmp_path_factory.mktemp("toy")
    (folder / "data").mkdir()
    texts: list[str] = []
    for skill, count in ROWS.items():
        train, test = make_rows(skill, train=count, test=6, seed=3)
        write_jsonl(folder / "data" / f"{skill}.jsonl", train)
        write_jsonl(folder / "data" / f"{skill}_test.jsonl", test)
        texts += [text for row in train for text in row.values()]
    save_base(folder / "base", texts)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that train first, so that no process waits for the others' trainings."""
    items.sort(key=lambda item: not item.nodeid.startswith(TRAINING))
