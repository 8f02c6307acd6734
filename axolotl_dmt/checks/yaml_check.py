"""`axolotl dmt check`: every mistake that the YAML alone shows, with its line."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ValidationError

from axolotl_dmt.checks.axolotl_keys import check_output_dir
from axolotl_dmt.checks.data_paths import missing_files
from axolotl_dmt.checks.plugins import PLUGIN, loaded_plugin, plugin_names, scored_twice
from axolotl_dmt.checks.row_numbers import row_remarks
from axolotl_dmt.checks.schedule import WEIGHT_DECAY, check_reading
from axolotl_dmt.checks.services import check_services
from axolotl_dmt.config.pydantic_errors import explain_axolotl
from axolotl_dmt.config.reading import Reading, read_schedule, within
from axolotl_dmt.config.run_keys import default_order
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.console import quiet_axolotl
from axolotl_dmt.errors import DMTError, Problems

MERGED = "shuffle_merged_datasets"
BEFORE_MERGING = "shuffle_before_merging_datasets"
MISSPELT = 0.8
"""The similarity (0 to 1) from which an unknown key counts as a misspelling of a known one."""


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
    reading = read_schedule(cfg, weight_decay=WEIGHT_DECAY, files=files)
    problems = [*file.duplicate_keys, *_plugin_problems(cfg)]
    if "dmt" in cfg:
        problems += _our_problems(cfg, reading, files=files)
    if files:
        problems += missing_files(cfg)  # also those that Axolotl has a cached copy of
    remarks = list(row_remarks(cfg, reading)) if files else []
    keys = [problem.key for problem in problems]
    with quiet_axolotl(silent=True):
        schema_problems, without_effect = _schema_findings(cfg)
    problems += [
        problem for problem in schema_problems if not any(within(problem.key, key) for key in keys)
    ]
    problems.sort(key=lambda problem: file.line(problem.key) or 0)
    return Findings(
        mistakes=tuple(dict.fromkeys(file.located(problem) for problem in problems)),
        remarks=tuple(file.located(remark) for remark in [*remarks, *without_effect]),
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


def _schema_findings(cfg: Mapping[str, Any]) -> tuple[list[DMTError], list[DMTError]]:
    """Return what Axolotl refuses or silently ignores as a misspelling, and keys without effect."""
    problems: list[DMTError] = []
    without_effect: list[DMTError] = []
    for key, close in _unknown_keys(cfg, _known_keys(cfg)).items():
        if close:
            problems.append(DMTError(key, "unknown key", f"did you mean {close}?"))
        else:
            problem = "Axolotl does not know this key and ignores it"
            without_effect.append(DMTError(key, problem, ""))
    return [*problems, *_refused_by_axolotl(cfg)], [*without_effect, *_known_without_effect(cfg)]


def _known_without_effect(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield the keys of Axolotl that change nothing or do something twice beside stages."""
    if cfg.get(MERGED) is False and not default_order(cfg):
        problem = (
            "has no effect alone: the rows are shuffled in each epoch, as Axolotl's trainer does"
        )
        fix = "write curriculum_sampling: true for the order of the files"
        yield DMTError(MERGED, problem, fix)
    if cfg.get(BEFORE_MERGING):
        problem = "has no effect: dmt.order orders the rows of all datasets of a stage"
        yield DMTError(BEFORE_MERGING, problem, "remove it")
    if scored_twice(cfg):
        problem = "the lm_eval plugin scores the last stage again after training, in 16-bit weights"
        yield DMTError("lm_eval_tasks", problem, "remove it if dmt.evaluate is enough")


def _refused_by_axolotl(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield what Axolotl's own validation of the YAML refuses."""
    from axolotl.utils.schemas.config import AxolotlInputConfig

    axolotl_keys: dict[str, Any] = {
        key: copy.deepcopy(value) for key, value in cfg.items() if key != "dmt"
    }
    for entry in axolotl_keys.get("datasets") or ():
        if isinstance(entry, dict):
            entry.pop("domain", None)
            if str(entry.get("type")).startswith("sharegpt"):
                del entry["type"]  # reported for its entry; Axolotl's message shows the whole list
    try:
        AxolotlInputConfig(**axolotl_keys)
    except ValidationError as error:
        yield from explain_axolotl(error, cfg)
    except Exception as error:  # Axolotl's checks fail on values of an unexpected type
        yield DMTError("", f"Axolotl cannot read it ({type(error).__name__}: {error})", "")


def _known_keys(cfg: Mapping[str, Any]) -> set[str]:
    """Return the keys of Axolotl and of the plugins that can be loaded."""
    from axolotl.utils.schemas.config import AxolotlInputConfig

    keys = {"dmt", *names_of_fields(AxolotlInputConfig)}
    for name in plugin_names(cfg):
        if name != PLUGIN:
            with contextlib.suppress(Exception):  # `check_plugins` reports it
                keys |= _keys_of_plugin(name)
    return keys


def _unknown_keys(cfg: Mapping[str, Any], known_keys: set[str]) -> dict[str, str | None]:
    """Return the unknown keys, each with the known key that it is probably a misspelling of.

    The names of the trainer's own arguments, such as `report_to`, are not misspelt.
    """
    unknown = [str(key) for key in cfg if str(key) not in known_keys]
    arguments = _trainer_arguments() if unknown else set()
    matches = {
        key: difflib.get_close_matches(key, known_keys, n=1, cutoff=MISSPELT)
        if key not in arguments
        else []
        for key in unknown
    }
    return {key: names[0] if names else None for key, names in matches.items()}


def _trainer_arguments() -> set[str]:
    from transformers import TrainingArguments

    return {field.name for field in fields(TrainingArguments)}


def names_of_fields(model: type[BaseModel]) -> Iterator[str]:
    """Yield every key that sets a field of a model: the fields' own names and their aliases."""
    for name, field in model.model_fields.items():
        yield name
        for alias in (field.alias, field.validation_alias):
            for choice in alias.choices if isinstance(alias, AliasChoices) else (alias,):
                if choice is not None:
                    yield choice if isinstance(choice, str) else str(choice.path[0])


def _keys_of_plugin(name: str) -> set[str]:
    """Return the keys that another plugin adds to the YAML."""
    arguments = loaded_plugin(name).get_input_args()
    if arguments is None:
        return set()
    module, _, model = arguments.rpartition(".")
    arguments_model: type[BaseModel] = getattr(__import__(module, fromlist=[model]), model)
    return set(names_of_fields(arguments_model))
