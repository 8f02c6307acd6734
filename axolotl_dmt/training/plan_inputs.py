"""Keeps what a plan needs of its rows beside the prepared rows, so that `plan` starts fast.

Loading Axolotl takes many times longer than compiling a plan. The lengths of the rows, the global
batch and the texts that `plan` prints do not depend on the schedule. They are kept in a file for
each YAML, with everything that they follow from: the YAML without its schedule, the files and
models that it names, the prepared rows, the environment and the versions of the libraries. Where
anything differs, `plan` loads Axolotl again.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from axolotl_dmt.checks.cached_benchmarks import cache_state
from axolotl_dmt.checks.contamination import strings
from axolotl_dmt.checks.schedule import check_schedule
from axolotl_dmt.checks.unused_keys import unused_keys
from axolotl_dmt.checks.yaml_keys import check_keys
from axolotl_dmt.config.keep_args import unsolved
from axolotl_dmt.config.replay import domains_by_loss
from axolotl_dmt.config.row_needs import remasked_domains, score_columns
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.console import quiet_axolotl
from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import parse_json, readable_text, replacing
from axolotl_dmt.hooks.loading import loaded_hooks
from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.plan.plan_warnings import check_warmup
from axolotl_dmt.plan.row_counts import RowCounts
from axolotl_dmt.plan.training_plan import TrainingPlan
from axolotl_dmt.results.config_file import raw_config

SCHEDULE_KEYS = ("strategy", "k", "domain", "sequence", "overrides", "stages", "start_stage")
"""The keys of the `dmt:` block that decide nothing but the stages."""
DEFAULT_FOLDER = "last_run_prepared"
"""Axolotl's own default of `dataset_prepared_path`."""
LIBRARIES = ("axolotl", "axolotl-dmt", "datasets", "lm-eval", "tokenizers", "torch", "transformers")
ENVIRONMENT = ("WORLD_SIZE", "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "XDG_CACHE_HOME")
"""The environment variables that may change a plan. Libraries set others when they are imported."""
COLUMNS = ("lengths", "trained", "numbers")
"""The arrays of a domain that are kept."""
MOST_FILES = 10_000
"""The most files that a folder named in the YAML may have; beyond, nothing is kept."""


@dataclass(frozen=True, kw_only=True)
class PlanInputs:
    """What a plan and its display need beyond the schedule.

    Attributes:
        domains: the rows of every domain.
        global_batch: rows of an optimiser step over all devices.
        packing: what `packing_settings` returns, or None where rows are not packed.
        notes: sentences about the rows to evaluate.
        searched: sentences about rows that share text with evaluation items.
        summary: the last line on them, which says what was searched; None where nothing is scored.
        prompt_warnings: sentences about prompts that do not fit together.
        prompt_lines: the lines that show the prompts.
    """

    domains: tuple[Domain, ...]
    global_batch: int
    packing: Mapping[str, Any] | None
    notes: Sequence[str] = ()
    searched: Sequence[str] = ()
    summary: str | None = None
    prompt_warnings: Sequence[str] = ()
    prompt_lines: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class QuickPlan:
    """A plan that was compiled without Axolotl.

    Attributes:
        plan: the plan.
        inputs: what it was compiled from.
        remarks: a line for each key of the YAML that has no effect.
    """

    plan: TrainingPlan
    inputs: PlanInputs
    remarks: Sequence[str]


def quick_plan(config: str) -> QuickPlan | None:
    """Compile the plan of a YAML from the inputs that an earlier command kept.

    Args:
        config: the path of the YAML.

    Returns:
        The plan; None where nothing fitting is kept, or where the YAML has a mistake.
    """
    try:
        file = YamlFile.read(config)
    except DMTError:
        return None
    raw = file.data
    if file.duplicate_keys or not isinstance(raw.get("dmt"), Mapping) or unsolved(raw["dmt"]):
        return None
    inputs = load(raw)
    if inputs is None:
        return None
    with quiet_axolotl(silent=True):
        schedule, mistakes = check_schedule(raw)
        mistaken_keys, ignored_keys = check_keys(raw)
    if schedule is None or mistakes or mistaken_keys or _needs_more(schedule.stages):
        return None
    packing = None
    if inputs.packing is not None:
        from axolotl_dmt.training.packing import packing_by

        packing = packing_by(inputs.packing)
    plan = schedule.compile_plan(inputs.domains, global_batch=inputs.global_batch, packing=packing)
    check_warmup(plan)
    remarks = [file.located(remark) for remark in ignored_keys]
    remarks += map(str, unused_keys(raw, schedule))
    return QuickPlan(plan=plan, inputs=inputs, remarks=remarks)


def load(raw: Mapping[str, Any]) -> PlanInputs | None:
    """Return the inputs that were kept for a YAML, None unless everything is as it was then."""
    try:
        with np.load(_file(raw), allow_pickle=False) as kept:
            data = parse_json(str(kept["data"]))
            if data["facts"] != _facts(raw) or data["prepared"] != _states(data["prepared"]):
                return None
            domains = tuple(
                _domain(entry, {name: kept[f"{index}.{name}"] for name in entry["columns"]})
                for index, entry in enumerate(data["domains"])
            )
        return PlanInputs(domains=domains, **data["inputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(raw: Mapping[str, Any], inputs: PlanInputs, stages: Any, prepared: Sequence[Path]) -> None:
    """Keep the inputs of a plan for later, where they do not depend on the schedule.

    Args:
        raw: the YAML as the user wrote it.
        inputs: the inputs.
        stages: the resolved stages.
        prepared: the folders of the prepared rows.
    """
    facts, states = _facts(raw), _states(map(str, prepared))
    if facts is None or None in states.values() or _needs_more(stages):
        return
    arrays: dict[str, Any] = {}
    for index, domain in enumerate(inputs.domains):
        arrays |= {f"{index}.{name}": values for name, values in _columns(domain).items()}
    plain = {f.name: getattr(inputs, f.name) for f in fields(inputs) if f.name != "domains"}
    entries = [
        {
            "name": domain.name,
            "rows": domain.rows,
            "datasets": domain.datasets,
            "counts": [vars(counts) for counts in domain.counts],
            "columns": list(_columns(domain)),
        }
        for domain in inputs.domains
    ]
    data = {"facts": facts, "prepared": states, "domains": entries, "inputs": plain}
    file = _file(raw)
    with contextlib.suppress(OSError, TypeError, ValueError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary, temporary.open("wb") as opened:
            np.savez(opened, data=np.array(json.dumps(data)), **arrays)


def _needs_more(stages: Any) -> bool:
    """Return whether the stages need more of the rows than what is kept."""
    return bool(score_columns(stages) or remasked_domains(stages) or domains_by_loss(stages))


def _columns(domain: Domain) -> dict[str, Any]:
    columns = {name: getattr(domain, name) for name in COLUMNS}
    return {name: values for name, values in columns.items() if values is not None}


def _domain(entry: Mapping[str, Any], columns: Mapping[str, Any]) -> Domain:
    return Domain(
        name=entry["name"],
        rows=entry["rows"],
        datasets=tuple((label, rows) for label, rows in entry["datasets"]),
        counts=tuple(map(RowCounts.from_json, entry["counts"])),
        **columns,
    )


def _file(raw: Mapping[str, Any]) -> Path:
    """Return the file for a YAML in a working folder."""
    folder = Path(str(raw.get("dataset_prepared_path") or DEFAULT_FOLDER)) / "dmt_plan_inputs"
    text = json.dumps([_without_schedule(raw), os.getcwd()], default=str)
    return folder / f"{blake2b(text.encode(), digest_size=12).hexdigest()}.npz"


def _facts(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return everything that the inputs follow from, except the prepared rows, as JSON holds it.

    None where that cannot be told: hooks and other plugins may do anything.
    """
    yaml = _without_schedule(raw)
    if loaded_hooks() or yaml["dmt"].get("hooks") or len(yaml.get("plugins") or ()) != 1:
        return None
    paths = {key: value for key, value in yaml.items() if key != "dataset_prepared_path"}
    names = sorted(set(strings(paths)))
    files = {name: state for name in names if (state := _state(name)) is not None}
    if any(state == "too many" for state in files.values()):
        return None
    code = Path(__file__).parents[1].rglob("*.py")
    facts = {
        "yaml": yaml,
        "files": files,
        "versions": {name: _version(name) for name in LIBRARIES},
        "code": max(path.stat().st_mtime_ns for path in code),
        "python": platform.python_version(),
        "benchmarks": cache_state() if yaml["dmt"].get("evaluate") else {},
        "environment": {name: os.environ.get(name) for name in ENVIRONMENT},
    }
    text = json.dumps(facts, default=str, sort_keys=True)
    return {"digest": blake2b(text.encode()).hexdigest()}


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _without_schedule(raw: Mapping[str, Any]) -> dict[str, Any]:
    plain = raw_config(raw)
    block = {key: value for key, value in plain["dmt"].items() if key not in SCHEDULE_KEYS}
    inputs = {key: value for key, value in plain.items() if key != "output_dir"}
    return {**inputs, "dmt": block}


def _state(name: str) -> Any:
    """Return what shows whether a file, a folder or a repository of the hub has changed."""
    path = Path(name).expanduser()
    with contextlib.suppress(OSError):
        if path.is_file():
            return _times(path)
        if path.is_dir():
            files = [file for file in sorted(path.rglob("*")) if file.is_file()]
            if len(files) > MOST_FILES:
                return "too many"
            return {str(file.relative_to(path)): _times(file) for file in files}
    return _revisions(name)


def _revisions(name: str) -> Any:
    """Return the revisions of a repository that the hub's local cache holds, or None."""
    if len(name) > 200 or not all(c.isalnum() or c in "-_./" for c in name):
        return None
    from huggingface_hub.constants import HF_HUB_CACHE

    repository = name.replace("/", "--")
    refs = [
        file
        for kind in ("models", "datasets")
        for file in sorted(Path(HF_HUB_CACHE, f"{kind}--{repository}", "refs").glob("*"))
    ]
    return {str(file): readable_text(file) for file in refs if file.is_file()} or None


def _times(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _states(folders: Any) -> dict[str, Any]:
    """Return {folder of prepared rows: its state, None if it holds no rows}."""
    states = {}
    for folder in folders:
        file = Path(folder) / "state.json"
        states[folder] = _times(file) if file.is_file() else None
    return states
