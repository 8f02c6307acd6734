"""`axolotl dmt check`: every mistake that the YAML alone shows, with its line."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from axolotl_dmt.checks.axolotl_keys import check_output_dir
from axolotl_dmt.checks.axolotl_schema import axolotl_schema
from axolotl_dmt.checks.data_paths import missing_files
from axolotl_dmt.checks.plugins import PLUGIN, plugin_names
from axolotl_dmt.checks.row_numbers import row_remarks
from axolotl_dmt.checks.schedule import WEIGHT_DECAY, check_reading
from axolotl_dmt.checks.services import check_services
from axolotl_dmt.checks.unused_keys import unused_keys
from axolotl_dmt.checks.yaml_keys import check_keys
from axolotl_dmt.config.keep_args import COMMAND, unsolved
from axolotl_dmt.config.pydantic_errors import explain_axolotl
from axolotl_dmt.config.reading import Reading, read_schedule, within
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.console import quiet_axolotl
from axolotl_dmt.errors import DMTError, Problems, first_line


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a check of a YAML reports, one line each, which begins with the file and the line.

    Attributes:
        mistakes: what keeps the YAML from training as written, in the order of the file.
        remarks: what is worth knowing: the rows of the local files, replays of a handful of rows,
            and keys that have no effect. Keys of other versions of Axolotl are among these, since
            they change nothing; a key that resembles a known one counts as a mistake.
        reading: the schedule; None if the file cannot be read.
        raw: the content of the file.
    """

    mistakes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    reading: Reading | None = None
    raw: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def check_file(path: str | Path, *, files: bool = True) -> Findings:
    """Check a YAML as far as that is possible without a model, data or the network.

    The file is read once and its stages are resolved once.

    Args:
        path: the path of the YAML.
        files: whether the model and the data files that it names must exist; without them, there
            are no remarks about rows.
    """
    try:
        file = YamlFile.read(path)
    except DMTError as error:
        return Findings(mistakes=(str(error),))
    cfg = file.data
    reading = read_schedule(cfg, weight_decay=WEIGHT_DECAY)
    problems = [*file.duplicate_keys, *_plugin_problems(cfg)]
    if "dmt" in cfg:
        problems += _our_problems(cfg, reading, files=files)
    if files:
        problems += missing_files(cfg)  # also those that Axolotl has a cached copy of
    remarks = list(row_remarks(cfg, reading)) if files else []
    solves = unsolved(cfg.get("dmt"))
    if solves or any(
        within(problem.key, key) for problem in problems for key in ("dmt.k", "dmt.replay")
    ):
        remarks = [remark for remark in remarks if remark.key.startswith("datasets")]
    if solves:
        remarks.append(DMTError(solves, "`axolotl train` refuses it until it is solved", COMMAND))
    keys = [problem.key for problem in problems]
    with quiet_axolotl(silent=True):
        mistaken_keys, ignored_keys = check_keys(cfg)
        schema_problems = [*mistaken_keys, *refused_by_axolotl(cfg)]
    problems += [
        problem for problem in schema_problems if not any(within(problem.key, key) for key in keys)
    ]
    problems.sort(key=lambda problem: file.line(problem.key) or 0)
    return Findings(
        mistakes=tuple(dict.fromkeys(file.located(problem) for problem in problems)),
        remarks=tuple(
            file.located(remark) for remark in [*remarks, *ignored_keys, *unused_keys(cfg, reading)]
        ),
        reading=reading,
        raw=cfg,
    )


def _plugin_problems(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    if "dmt" not in cfg:
        yield DMTError("dmt", "there is no dmt block", "write dmt: {strategy: dmt}")
    if PLUGIN not in plugin_names(cfg):
        problem = f"{PLUGIN} is missing, so Axolotl would ignore the dmt block"
        yield DMTError("plugins", problem, f"add plugins: [{PLUGIN}]")


def _our_problems(cfg: Mapping[str, Any], reading: Reading, *, files: bool) -> list[DMTError]:
    problems = Problems(check_reading(cfg, reading, files=files))
    problems.attempt(check_output_dir, cfg, keep=False)
    if files:
        problems.attempt(check_services, cfg)
    return problems


def refused_by_axolotl(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield what Axolotl's own validation refuses.

    Args:
        cfg: the content of the YAML.
    """
    axolotl_keys: dict[str, Any] = {
        key: copy.deepcopy(value)
        for key, value in cfg.items()
        if key != "dmt" and isinstance(key, str)
    }
    listed = axolotl_keys.get("datasets")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict):
            entry.pop("domain", None)
            if str(entry.get("type")).startswith("sharegpt"):
                del entry["type"]  # reported for its entry; Axolotl's message shows the whole list
    try:
        axolotl_schema("config").AxolotlInputConfig(**axolotl_keys)
    except ValidationError as error:
        yield from explain_axolotl(error, cfg)
    except Exception as error:  # Axolotl's checks fail on values of an unexpected type
        cause = f"{type(error).__name__}: {first_line(error)}"
        yield DMTError("YAML", f"Axolotl cannot read it ({cause})", "correct the other mistakes")
