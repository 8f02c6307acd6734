"""`plan` shows the same without Axolotl as with it, and only while nothing has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from axolotl_dmt.cli.main import dmt
from axolotl_dmt.training.load_run import load_run
from axolotl_dmt.training.prepare import prepare
from tests.checks.test_contamination import evaluation
from tests.compiled import alpaca, one_process, settings, tiny, write

__all__ = ["one_process", "tiny"]
pytestmark = pytest.mark.usefixtures("one_process")
ROOT = Path(__file__).parents[2]
WITHOUT_TORCH = """
import importlib.abc, sys


class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
from axolotl_dmt.cli import dmt
dmt(sys.argv[1:])
"""


def content(folder: Path, base: str, **changes: Any) -> dict[str, Any]:
    files = {"math": alpaca(30), "code": alpaca(20, "code"), "general": alpaca(20, "chat")}
    made = settings(folder, base, files, **changes)
    made["dmt"] |= {"evaluate": evaluation(folder), "val_rows": 2}
    return made


def with_axolotl(path: str, *options: str) -> tuple[str, str]:
    done = CliRunner().invoke(dmt, ["plan", str(path), *options])
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def without(path: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "plan", str(path), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def warnings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("warning: ")]


def test_the_same_is_shown_without_axolotl_for_this_and_other_schedules(
    tmp_path: Path, tiny: str
) -> None:
    made = content(tmp_path, tiny)
    path = write(tmp_path, made)
    shown, errors = with_axolotl(path)
    quick = without(path)
    assert quick.returncode == 0, quick.stderr
    assert quick.stdout == shown
    assert warnings(quick.stderr) == warnings(errors)
    other = write(tmp_path, made | {"dmt": {**made["dmt"], "k": "1/2"}})
    quick = without(other, "--json", "--rows", str(tmp_path / "quick.parquet"))
    assert quick.returncode == 0, quick.stderr
    (tmp_path / "prepared").rename(tmp_path / "aside")  # so that Axolotl is asked
    assert without(other).returncode == 2
    full, _ = with_axolotl(other, "--json", "--rows", str(tmp_path / "full.parquet"))
    assert json.loads(quick.stdout) == json.loads(full)
    parquets = [(tmp_path / f"{name}.parquet").read_bytes() for name in ("quick", "full")]
    assert parquets[0] == parquets[1]


@pytest.mark.parametrize("what", ["rows", "tests", "key", "environment", "tokenizer", "mistake"])
def test_axolotl_is_asked_again_where_something_has_changed(
    tmp_path: Path, tiny: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    base.symlink_to(tiny)
    made = content(tmp_path, str(base))
    path = write(tmp_path, made)
    with_axolotl(path)
    assert without(path).returncode == 0
    match what:
        case "rows":
            (tmp_path / "math.jsonl").write_text((tmp_path / "math.jsonl").read_text() * 2)
        case "tests":
            file = Path(next(iter(made["dmt"]["evaluate"]["data"].values())))
            os.utime(file, ns=(1, 1))
        case "key":
            write(tmp_path, made | {"micro_batch_size": 4})
        case "environment":
            monkeypatch.setenv("WORLD_SIZE", "2")
        case "tokenizer":
            base.unlink()
            base.symlink_to(tmp_path)
        case "mistake":
            write(tmp_path, made | {"dmt": {**made["dmt"], "k": "9/8"}})
    assert without(path).returncode == 2


def test_packs_are_those_of_axolotl(tmp_path: Path, tiny: str) -> None:
    path = write(tmp_path, content(tmp_path, tiny, sample_packing=True))
    shown, _ = with_axolotl(path, "--json")
    again, _ = with_axolotl(path, "--json")
    assert again == shown


def test_what_hooks_change_is_not_kept(tmp_path: Path, tiny: str) -> None:
    (tmp_path / "hooks.py").write_text(
        "from axolotl_dmt import hookimpl\n\n\n@hookimpl\ndef adjust_stages(stages):\n    pass\n"
    )
    made = content(tmp_path, tiny)
    made["dmt"]["hooks"] = [str(tmp_path / "hooks.py")]
    path = write(tmp_path, made)
    with_axolotl(path)
    assert without(path).returncode == 2


def test_preparing_a_run_keeps_the_inputs(tmp_path: Path, tiny: str) -> None:
    path = write(tmp_path, content(tmp_path, tiny))
    cfg, run = load_run(str(path))
    prepare(run, cfg)
    quick = without(path, "--json")
    assert quick.returncode == 0, quick.stderr
    assert json.loads(quick.stdout) == json.loads(with_axolotl(path, "--json")[0])
