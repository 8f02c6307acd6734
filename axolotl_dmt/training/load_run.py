"""Loads a YAML as `axolotl train` does, and compiles its plan, without training.

For commands that inspect a run: `load_run` checks the YAML, and `compile_from_yaml` also loads the
rows and compiles the plan.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from axolotl_dmt.checks.data_paths import by_products
from axolotl_dmt.config.pydantic_errors import explain_axolotl
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError, DMTErrors, explain_load_errors
from axolotl_dmt.training.telemetry import send_no_telemetry

if TYPE_CHECKING:
    from axolotl_dmt.plan.training_plan import TrainingPlan
    from axolotl_dmt.training.pool import RowPool
    from axolotl_dmt.training.run import Run

NO_PROCESS_GROUP: Final = {"AXOLOTL_IS_PREPROCESS": "1"}
"""Keeps Axolotl from starting a process group for DeepSpeed while it loads a YAML, which would need
the variables of a launcher. The switch is that of `axolotl preprocess`."""


@dataclass(frozen=True, kw_only=True)
class CompiledRun:
    """A run whose plan is compiled for inspection, not for training.

    Attributes:
        run: the checked run.
        pool: the tokenised rows.
        plan: the plan that `axolotl train` would follow.
        notes: a sentence for each thing about the rows to evaluate that is probably not meant.
        cfg: Axolotl's validated configuration.
    """

    run: Run
    pool: RowPool
    plan: TrainingPlan
    cfg: Any
    notes: Sequence[str] = ()


def compile_from_yaml(config: str, *, search: bool = False) -> CompiledRun:
    """Compile the plan that `axolotl train` would follow.

    Args:
        config: the path of the YAML.
        search: search the rows for the items of the evaluation files.

    Raises:
        DMTError: the YAML has no `dmt:` block, the base model cannot be loaded, or the rows reveal
            a mistake.
        SystemExit: with code 2 after the mistakes in the YAML were printed.
    """
    cfg, run = load_run(config)
    from axolotl_dmt.training.pool import unprepared

    if (missing := unprepared(cfg)) and not cfg.skip_prepare_dataset:
        echo(f"tokenising, not prepared yet: {', '.join(missing.values())}", err=True)
    pool = run.load_pool(cfg, search=search)
    plan = run.compile(cfg, pool.domains)
    return CompiledRun(run=run, pool=pool, plan=plan, notes=run.notes(cfg, pool), cfg=cfg)


def load_run(config: str, **changes: Any) -> tuple[Any, Run]:
    """Load and check a YAML as `axolotl train` does.

    Args:
        config: the path of the YAML.
        **changes: keys of the YAML to replace.

    Returns:
        Axolotl's validated configuration, and the checked run.

    Raises:
        DMTError: the YAML has no `dmt:` block, Axolotl refuses it, or the base model cannot be
            loaded.
        SystemExit: with code 2 after the mistakes in the YAML were printed.
    """
    raw = YamlFile.read(config).data  # reports a file that is not YAML in one line
    if errors := list(by_products(raw)):  # Axolotl will see another output folder
        raise DMTErrors(errors)
    from axolotl.cli.config import load_cfg
    from axolotl.integrations.base import PluginManager

    from axolotl_dmt.evaluation.tasks import environment_variables
    from axolotl_dmt.training.run import Run

    send_no_telemetry()
    # Axolotl empties debug.log in its output folder, which may be the folder of a finished run.
    # Inspecting a plan must not write there.
    scratch_folder = tempfile.TemporaryDirectory(prefix="axolotl-dmt-")
    base = {"base_model": raw.get("base_model")}
    with (
        scratch_folder as scratch,
        explain_load_errors(base),
        environment_variables(NO_PROCESS_GROUP),
    ):
        try:
            cfg = load_cfg(config, **changes, output_dir=scratch)
        except ValidationError as error:
            raise DMTErrors(explain_axolotl(error, raw)) from error
    plugins: Any = PluginManager.get_instance().plugins
    runs = (getattr(plugin, "run", None) for plugin in plugins.values())
    run = next((run for run in runs if isinstance(run, Run)), None)
    if run is None:
        raise DMTError(
            "dmt",
            f"{config} has no dmt block, or does not list the plugin",
            "add plugins: [axolotl_dmt.DMTPlugin] and a dmt block",
        )
    return cfg, run
