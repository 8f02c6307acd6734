"""The wheel holds, in importable form, what other packages, YAMLs and commands rely on."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.runs import ROOT

PUBLIC_NAMES = {
    "axolotl_dmt": ["DMTPlugin", "hookimpl", "__version__"],
    "axolotl_dmt.api": [
        "DMTError",
        "Domain",
        "Draw",
        "Epoch",
        "Order",
        "PlanDataset",
        "Results",
        "Rows",
        "Schedule",
        "Section",
        "Setting",
        "StageContext",
        "StageDefaults",
        "StageMixes",
        "Strategy",
        "compile_plan",
        "draws",
        "load_schedule",
        "read_config",
        "resolve_stages",
    ],
    "axolotl_dmt.plan": ["TrainingPlan", "compile_plan"],
    "axolotl_dmt.results": ["Results", "StageResult", "Score", "Sample", "SCHEMA"],
    "axolotl_dmt.hookspecs": ["StageContext"],
    "axolotl_dmt.strategies": ["Strategy", "Setting"],
    "axolotl_dmt.errors": ["DMTError"],
    "axolotl_dmt.cli": ["dmt"],
    "axolotl_dmt.config.args": ["DMTArgs"],
    "axolotl_dmt.study.merge_run": [],
    "axolotl_dmt.toy": [],
    "axolotl_dmt.sandbox": [],
}
"""Names that are documented, used in a YAML or an entry point, or run with `python -m`."""

HEAVY = {"torch", "transformers", "axolotl", "lm_eval"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([sys.executable, "-m", *command, str(ROOT)], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages that holds only the wheel."""
    folder = tmp_path_factory.mktemp("site")
    command = ["pip", "install", "-q", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return folder


def run(site: Path, *arguments: str) -> str:
    """Return what Python prints outside the checkout, with the wheel first on its path."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=site.parent,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize("module", PUBLIC_NAMES)
def test_a_public_name_is_importable_from_the_wheel(site: Path, module: str) -> None:
    names = PUBLIC_NAMES[module]
    code = f"import {module} as m; print(m.__file__); [getattr(m, name) for name in {names!r}]"
    assert Path(run(site, "-c", code).splitlines()[0]).is_relative_to(site)


def test_the_python_interface_loads_no_training_library(site: Path) -> None:
    code = "import sys, axolotl_dmt.api; print(*{name.split('.')[0] for name in sys.modules})"
    assert not HEAVY & set(run(site, "-c", code).split())


def test_the_command_line_starts_without_the_training_libraries(site: Path) -> None:
    code = "import sys, axolotl_dmt.cli; print(*{name.split('.')[0] for name in sys.modules})"
    assert not HEAVY & set(run(site, "-c", code).split())
    code = "from axolotl_dmt.cli import dmt; dmt(['--help'])"
    assert "plan" in run(site, "-c", code)


def test_templates_tasks_and_entry_points_are_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        declared = archive.read(entry_points).decode()
    assert "axolotl_dmt/py.typed" in names
    assert "axolotl_dmt/yaml_templates/quickstart.yaml" in names
    assert "axolotl_dmt/report/templates/report.html.j2" in names
    assert any(name.startswith("lm_eval/tasks/dmt_suite/") for name in names)
    assert declared.count("axolotl_dmt.cli:dmt") == 2
    assert not [name for name in names if "reference" in name]


def test_the_plugin_names_its_configuration_class_by_a_path_that_exists(site: Path) -> None:
    code = (
        "from importlib import import_module\n"
        "from axolotl_dmt import DMTPlugin\n"
        "module, _, name = DMTPlugin().get_input_args().rpartition('.')\n"
        "print(getattr(import_module(module), name).model_fields.keys())\n"
    )
    assert "dmt" in run(site, "-c", code)
