"""Tasks, scorers, sandbox, reports and commands work where Axolotl is not installed.

A process of its own, in which an import of Axolotl fails, does each part.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDS_AXOLOTL = (
    "axolotl_dmt.evaluation.live",
    "axolotl_dmt.evaluation.shared_model",
    "axolotl_dmt.plugin",
    "axolotl_dmt.ranks",
    "axolotl_dmt.training",
)
"""The modules that only a run of Axolotl uses, with all below them."""
NEEDS_TORCH = (
    "axolotl_dmt.cli.visualise",
    "axolotl_dmt.evaluation.adapter_model",
    "axolotl_dmt.evaluation.answering_model",
    "axolotl_dmt.evaluation.batching",
    "axolotl_dmt.evaluation.continuous",
    "axolotl_dmt.evaluation.row_cache",
    "axolotl_dmt.scoring.mtbench_task",
    "axolotl_dmt.study.merge_run",
    "axolotl_dmt.toy",
)
"""The modules that import torch, themselves or through lm-eval."""
FORBID = """
import importlib.abc, sys
class Forbidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Forbidden())
"""
AXOLOTL = ("axolotl",)
TRAINING = ("axolotl", "torch", "transformers", "accelerate", "peft")


def run(code: str, *arguments: str, forbidden: tuple[str, ...] = AXOLOTL) -> tuple[int, str, str]:
    """Return the exit code and the output of a program in which some packages are missing."""
    done = subprocess.run(
        [sys.executable, "-c", FORBID.format(names=forbidden) + code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def modules() -> list[str]:
    names = []
    for file in sorted((ROOT / "axolotl_dmt").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in names if not name.endswith("__main__")]


def is_below(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def failed_imports(names: list[str], *, forbidden: tuple[str, ...]) -> dict[str, str]:
    """Return {module: the error} for the modules that cannot be imported without some packages."""
    code = (
        "import importlib\n"
        "failed = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ImportError as error:\n"
        "        failed[name] = str(error)\n"
        "import json; print(json.dumps(failed))\n"
    )
    status, out, err = run(code, *names, forbidden=forbidden)
    assert status == 0, err
    failed: dict[str, str] = json.loads(out)
    return failed


def test_everything_but_the_training_is_importable_without_axolotl_and_torch() -> None:
    light = [name for name in modules() if not is_below(name, (*NEEDS_AXOLOTL, *NEEDS_TORCH))]
    assert failed_imports(light, forbidden=TRAINING) == {}
    assert {"axolotl_dmt.scoring.math", "axolotl_dmt.evaluation.saved"} <= set(light)


def test_what_needs_torch_is_importable_without_axolotl() -> None:
    assert failed_imports(list(NEEDS_TORCH), forbidden=AXOLOTL) == {}


def test_lm_eval_loads_and_scores_the_suite_without_axolotl(tmp_path: Path) -> None:
    rows = {
        "math": {"question": "What is 1+1?", "answer": "1+1=2\n#### 2"},
        "code": {
            "task_id": "t/1",
            "prompt": "def add(x):\n",
            "canonical_solution": "    return x + 1\n",
            "test": "def check(candidate):\n    assert candidate(1) == 2\n",
            "entry_point": "add",
        },
        "general": {
            "key": 1,
            "prompt": "Say w",
            "instruction_id_list": ["dmt:equals"],
            "kwargs": [{"text": "w"}],
        },
    }
    settings = {"allow_unsafe_code": True}
    for ability, row in rows.items():
        (tmp_path / f"{ability}.jsonl").write_text(json.dumps(row))
        settings[f"dmt_{ability}_data"] = str(tmp_path / f"{ability}.jsonl")
    code = (
        "import json, lm_eval, lm_eval.evaluator\n"
        "from lm_eval.tasks import TaskManager\n"
        "from tests.scripted_lm import ScriptedLM\n"
        "lm_eval.evaluator.add_env_info = lambda _: None\n"
        "answers = {'1+1': '#### 2', 'def add': '    return x + 1', 'Say w': 'w'}\n"
        "model = ScriptedLM(lambda p: next(a for q, a in answers.items() if q in p))\n"
        f"manager = TaskManager(include_path={str(ROOT / 'eval_tasks')!r}, include_defaults=False,"
        "    metadata=json.loads(sys.argv[1]))\n"
        "output = lm_eval.simple_evaluate(model=model, tasks=['dmt_suite'], task_manager=manager,"
        "    bootstrap_iters=10)\n"
        "print('SCORE', output['results']['dmt_suite']['dmt_score,none'])\n"
    )
    status, out, err = run(code, json.dumps(settings))
    assert status == 0, err
    assert out.splitlines()[-1] == "SCORE 1.0"


def test_lm_eval_reads_no_entry_points_yet(tmp_path: Path) -> None:
    """When this fails, declare the suite as `pyproject.toml` describes above the wheel's files."""
    (tmp_path / "their_tasks").mkdir()
    (tmp_path / "their_tasks/__init__.py").touch()
    (tmp_path / "their_tasks/theirs.yaml").write_text("task: theirs\ndataset_path: json\n")
    declared = tmp_path / "theirs-1.0.dist-info"
    declared.mkdir()
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (declared / "entry_points.txt").write_text("[lm_eval.tasks]\ntheirs = their_tasks\n")
    code = (
        "sys.path.insert(0, sys.argv[1])\n"
        "from importlib.metadata import entry_points\n"
        "assert [e.value for e in entry_points(group='lm_eval.tasks')] == ['their_tasks']\n"
        "from lm_eval.tasks import TaskManager\n"
        "print('TASKS', *TaskManager(include_defaults=False).all_tasks)\n"
    )
    status, out, err = run(code, str(tmp_path))
    assert status == 0, err
    assert out.splitlines()[-1].split() == ["TASKS"]


@pytest.mark.parametrize("command", ["check", "plan"])
def test_a_command_that_needs_axolotl_says_so(command: str) -> None:
    template = str(ROOT / "yaml_templates/quickstart.yaml")
    code = "from axolotl_dmt.cli import dmt; dmt(sys.argv[1:])"
    status, _, err = run(code, command, template, forbidden=TRAINING)
    assert status == 2
    assert "Traceback" not in err
    assert "axolotl" in err.splitlines()[-1] and "axolotl-dmt[train]" in err.splitlines()[-1]
