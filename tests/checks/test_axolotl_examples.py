"""Axolotl's own example YAMLs become staged runs by a plugin, a domain and a `dmt:` block.

`DMT_TEST_EXAMPLES` names the folder of the YAMLs; the test is skipped if it is not there.
"""

from __future__ import annotations

import copy
import os
import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from axolotl.utils.schemas.config import AxolotlInputConfig

from axolotl_dmt.checks.plugins import PLUGIN
from axolotl_dmt.checks.yaml_check import check_file
from axolotl_dmt.console import quiet_axolotl

FOLDER = Path(
    os.environ.get("DMT_TEST_EXAMPLES") or Path(__file__).parents[3] / "shared/axolotl_examples"
)
EXAMPLES = sorted([*FOLDER.glob("*.yaml"), *FOLDER.glob("*.yml")])
ENOUGH = Fraction(97, 100)

EXPECTED = {
    "optimizer": "optimisers whose state cannot be reset between stages",
    "relora": "merges the adapter and resets the optimiser on a schedule of its own",
    "jagged_restart_steps": "restarts the learning rate at steps that do not fit the stages",
    "lisa_step_interval": "trains other layers every few steps",
    "early_stopping_patience": "would end the run inside a stage",
    "save_strategy": "best: the best checkpoint may lie in an earlier stage",
}
"""The keys that may be refused, and why."""


def staged(settings: dict[str, Any]) -> dict[str, Any]:
    """Add to a YAML what makes it a staged run; a single dataset is taken twice."""
    entries = [entry for entry in settings["datasets"] if entry]
    entries = entries * 2 if len(entries) == 1 else entries
    names = [("general", "math")[(len(entries) - index) % 2 == 0] for index in range(len(entries))]
    return {
        **settings,
        "plugins": [PLUGIN, *(settings.get("plugins") or ())],
        "datasets": [{**entry, "domain": name} for entry, name in zip(entries, names, strict=True)],
        "dmt": {"strategy": "dmt", "k": "1/256"},
    }


def refused_keys(lines: list[str]) -> Iterator[str]:
    """Yield the key of each mistake that `check_file` reports."""
    for line in lines:
        parts = re.match(r"[^:]*(?::\d+)?(?:: ([\w.\[\]]+))?:", line)
        yield (parts and parts[1]) or line


def refused_by_axolotl(settings: dict[str, Any]) -> bool:
    """Return whether Axolotl refuses a YAML that has no `dmt:` block."""
    try:
        with quiet_axolotl(silent=True):
            AxolotlInputConfig(**copy.deepcopy(settings))
    except Exception:  # Axolotl's checks raise errors of many types
        return True
    return False


@pytest.mark.skipif(not EXAMPLES, reason=f"no YAMLs in {FOLDER}; name them in DMT_TEST_EXAMPLES")
def test_axolotls_examples_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    examples = {path.name: yaml.safe_load(path.read_text()) for path in EXAMPLES}
    trainable = {name: cfg for name, cfg in examples.items() if not refused_by_axolotl(cfg)}
    lines: dict[str, list[str]] = {}
    for name, settings in trainable.items():
        Path("dmt.yaml").write_text(yaml.safe_dump(staged(settings), sort_keys=False))
        lines[name] = list(check_file("dmt.yaml", files=False).mistakes)
    keys = {name: set(refused_keys(found)) for name, found in lines.items()}
    counts = Counter(key for found in keys.values() for key in found)
    accepted = sum(not found for found in keys.values())
    with capsys.disabled():
        print(
            f"\n{len(EXAMPLES)} examples; Axolotl itself refuses {len(EXAMPLES) - len(trainable)}."
            f"\nOf the other {len(trainable)}, {accepted} are accepted. Refused:"
        )
        for key, count in counts.most_common():
            print(f"  {count:3} {key}: {EXPECTED.get(key, 'NOT EXPECTED')}")
    unexpected = [
        f"{name}: {line}"
        for name, found in lines.items()
        for line in found
        if not set(refused_keys([line])) <= set(EXPECTED)
    ]
    assert unexpected == []
    assert accepted >= ENOUGH * len(trainable)
