"""Expands a study into cells and runs.

A *cell* is one schedule with one seed. A *run* is one `axolotl train` of one stage of a schedule
(together with following stages that keep the optimiser state), or one merge of two stages' models.
Cells whose schedules begin with the same stages share the runs of these stages. A k sweep therefore
trains stage 1 once for each seed, and `dmt` with k = 0 shares all its runs with `mixed_sequential`.

Nothing here loads a model or data, or writes a file.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

from axolotl_dmt.analysis.treatments import EQUAL_PARTS
from axolotl_dmt.errors import DMTError
from axolotl_dmt.study.config import Grid, Merge, Study
from axolotl_dmt.study.stages import cell_stages, domains_of, uses_k

SEED = "{seed}"
"""What is replaced by the seed of a cell, in the strings of a base."""


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """One `axolotl train`, or one merge.

    Attributes:
        name: the name of its folder, usually `<cell>/seed-<n>`.
        key: digest of everything that it trains, including the runs before it.
        stages: the names of its stages.
        parent: the run whose last stage it starts from, or None.
        config: the Axolotl YAML, without `output_dir` and with the model that stage 1 starts from
            as `base_model`.
        merge: how the run merges the models of the two stages before it; None if it trains.
        merge_weight: the weight of the second model.
    """

    name: str
    key: str
    stages: tuple[str, ...]
    parent: StudyRun | None
    config: Mapping[str, Any]
    merge: Merge | None = None
    merge_weight: float = EQUAL_PARTS

    def chain(self) -> tuple[StudyRun, ...]:
        """Return the runs of the schedule up to and including this one, in order."""
        return (*(self.parent.chain() if self.parent else ()), self)

    def sources(self) -> tuple[StudyRun, ...]:
        """Return the runs whose models it starts from or merges."""
        if self.merge is not None:
            return self.chain()[:-1]
        return (self.parent,) if self.parent else ()


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One schedule with one seed.

    Attributes:
        name: unique in the study.
        settings: {axis: value} without the seed; k and amounts are fractions.
        seed: the seed of the data order and the training.
        run: the last run of the cell's schedule.
    """

    name: str
    settings: Mapping[str, Any]
    seed: int
    run: StudyRun

    def plain_settings(self) -> dict[str, Any]:
        """Return the settings as JSON values; a fraction is always spelt like `1/4`."""
        return {
            axis: str(value) if isinstance(value, Fraction) else value
            for axis, value in self.settings.items()
        }


def expand(study: Study, base: Mapping[str, Any]) -> list[Cell]:
    """Return all cells of a study, seed by seed; equal cells are returned once.

    Args:
        study: the study.
        base: its base configuration.

    Raises:
        DMTError: a setting does not fit the base, two different cells have the same name, or there
            is no cell.
    """
    cells: dict[str, Cell] = {}
    runs: dict[str, StudyRun] = {}
    names: set[str] = set()
    for seed in study.seeds:
        for settings in _settings(study, base):
            name = _label(settings)
            cell = _cell(study, base, name, settings, seed, runs, names)
            if cells.setdefault(cell.name, cell).run is not cell.run:
                problem = f"two different cells are called {cell.name!r}"
                raise DMTError("study.cells", problem, "set the axis in which they differ in both")
    if study.merge_weight is not None and not any("merge" in c.settings for c in cells.values()):
        raise DMTError("study.merge_weight", "no cell merges anything", "add merge: linear")
    if not cells:
        raise DMTError("study", "has no cells: an axis is an empty list", "give it a value")
    return list(cells.values())


def runs_of(cells: Sequence[Cell]) -> list[StudyRun]:
    """Return the runs that these cells need, each once, parents before children."""
    return list({run.key: run for cell in cells for run in cell.run.chain()}.values())


def _settings(study: Study, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the settings of every cell without the seed, block by block."""
    common = {name: getattr(study, name) for name in Grid.model_fields}
    # A single value for all cells is not an axis.
    common["set"] = {name: value for name, value in study.set.items() if isinstance(value, list)}
    for block in study.cells or [Grid()]:
        block_axes = {name: getattr(block, name) for name in block.model_fields_set}
        for nested in ("amounts", "set"):
            block_axes[nested] = {**common[nested], **block_axes.get(nested, {})}
        axes = _axes({**common, **block_axes})
        # A block leaves a common axis out by null.
        for name in common["set"].keys() & block.set.keys():
            if block.set[name] is None:
                del axes[name]
        if block_axes.get("merge_weight") is not None and "merge" not in axes:
            problem = "is the weight in a merge, and these cells merge nothing"
            raise DMTError("study.cells.merge_weight", problem, "add merge: linear")
        for values in itertools.product(*axes.values()):
            settings = dict(zip(axes, values, strict=True))
            if (strategy := _base_strategy(base)) is not None:
                settings = {"strategy": strategy, **settings}
            if "k" in settings and not uses_k(
                settings.get("strategy"), base, settings.get("domain")
            ):
                del settings["k"]
            if settings.get("merge") is None or settings.get("merge_weight") == EQUAL_PARTS:
                settings.pop("merge_weight", None)
            yield settings


def _axes(grid: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return {axis: its values}; the axis of one domain's amount is called `amount.math`."""
    axes: dict[str, Any] = {name: grid[name] for name in ("strategy", "domain", "k", "amount")}
    axes |= {f"amount.{domain}": value for domain, value in grid["amounts"].items()}
    axes |= {name: grid[name] for name in ("merge", "merge_weight", "base_model", "variant")}
    axes = {name: value for name, value in axes.items() if value is not None}
    axes |= grid["set"]  # where null is a value like any other
    return {name: value if isinstance(value, list) else [value] for name, value in axes.items()}


def _base_strategy(base: Mapping[str, Any]) -> str | None:
    block = base.get("dmt")
    return block.get("strategy") if isinstance(block, Mapping) else None


def _label(settings: Mapping[str, Any]) -> str:
    """Return the settings as text, such as `dmt k=1/16` or `single math amount=1/4`."""
    names = [str(settings[axis]) for axis in ("strategy", "domain") if axis in settings]
    assignments = [
        f"{_short_name(axis)}={_short_value(axis, value)}"
        for axis, value in settings.items()
        if axis not in ("strategy", "domain")
    ]
    return " ".join([*names, *assignments]) or "base"


def _short_name(axis: str) -> str:
    return axis if axis.startswith("amount.") else axis.rpartition(".")[2]


def _short_value(axis: str, value: Any) -> str:
    if axis == "base_model" and isinstance(value, str):
        return Path(value).name
    if isinstance(value, str | Fraction):
        return str(value)
    return json.dumps(value, separators=(",", ":"))


def _cell(
    study: Study,
    base: Mapping[str, Any],
    label: str,
    settings: Mapping[str, Any],
    seed: int,
    runs: dict[str, StudyRun],
    names: set[str],
) -> Cell:
    """Return a cell; its new runs are added to `runs`, and their names to `names`."""
    config = _configuration(study, base, settings, seed)
    stages = cell_stages(config["dmt"], domains_of(config), settings)
    name = f"{label} seed={seed}"
    run: StudyRun | None = None
    groups = _groups(stages, config["dmt"])
    for index, group in enumerate(groups):
        stages_so_far = [stage for earlier in groups[: index + 1] for stage in earlier]
        last = index + 1 == len(groups)
        part = "" if last and "merge" not in settings else f".{index + 1}-{group[0]['name']}"
        folder = f"{_slug(label)}{part}/seed-{seed}"
        run = _run(config, stages_so_far, group, run, folder, runs, names)
    assert run is not None
    if method := settings.get("merge"):
        if len(stages) != 2:
            problem = f"{label} has {len(stages)} stages"
            fix = "merge the stages of a strategy with two stages, such as mixed_sequential"
            raise DMTError("study.merge", problem, fix)
        weight = settings.get("merge_weight", EQUAL_PARTS)
        run = _merge(method, weight, run, f"{_slug(label)}/seed-{seed}", runs, names)
    return Cell(name=name, settings=dict(settings), seed=seed, run=run)


def _groups(
    stages: Sequence[dict[str, Any]], block: Mapping[str, Any]
) -> list[list[dict[str, Any]]]:
    """Group the stages by run; a stage that keeps the optimiser state joins the run before it."""
    resets = block.get("reset_optimizer", True)
    groups: list[list[dict[str, Any]]] = []
    for stage in stages:
        if groups and not stage.get("reset_optimizer", resets):
            groups[-1].append(stage)
        else:
            groups.append([stage])
    return groups


def _run(
    config: Mapping[str, Any],
    stages_so_far: Sequence[dict[str, Any]],
    trained_stages: Sequence[dict[str, Any]],
    parent: StudyRun | None,
    name: str,
    runs: dict[str, StudyRun],
    names: set[str],
) -> StudyRun:
    """Return the run that trains the last stages of a schedule, from `runs` if it is there.

    Args:
        config: the cell's configuration.
        stages_so_far: the stages of the schedule up to the last one that the run trains.
        trained_stages: the stages that the run trains.
        parent: the run before it.
        name: its name, if it is new and the name is free.
        runs: {key: run}; a new run is added.
        names: the names of the runs; a new one is added.
    """
    block = {**config["dmt"], "stages": list(stages_so_far)}
    if len(stages_so_far) == 1:
        block.pop("replay", None)  # nothing is replayed yet, so variants of replay share this run
    if parent is not None:
        block["start_stage"] = trained_stages[0]["name"]
        if isinstance(evaluate := block.get("evaluate"), Mapping):
            # The model before training is scored once, by the first run.
            block["evaluate"] = {k: v for k, v in evaluate.items() if k != "before"}
    config = {**config, "dmt": block}
    key = _digest([config, parent.key if parent else None])
    if key not in runs:
        runs[key] = StudyRun(
            name=_unused(name, names),
            key=key,
            stages=tuple(stage["name"] for stage in trained_stages),
            parent=parent,
            config=config,
        )
    return runs[key]


def _merge(
    method: Merge,
    weight: float,
    parent: StudyRun,
    name: str,
    runs: dict[str, StudyRun],
    names: set[str],
) -> StudyRun:
    """Return the run that merges the stages up to `parent`."""
    key = _digest(["merge", method, parent.key, *([weight] if weight != EQUAL_PARTS else [])])
    if key not in runs:
        runs[key] = StudyRun(
            name=_unused(name, names),
            key=key,
            stages=("merge",),
            parent=parent,
            config=parent.config,
            merge=method,
            merge_weight=weight,
        )
    return runs[key]


def _digest(content: Any) -> str:
    plain = json.dumps(content, sort_keys=True, default=str)
    return blake2b(plain.encode(), digest_size=8).hexdigest()


def _unused(name: str, names: set[str]) -> str:
    """Return the name, with a number if it is taken, and add it to `names`."""
    numbered = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    unused = next(candidate for candidate in numbered if candidate not in names)
    names.add(unused)
    return unused


def _slug(label: str) -> str:
    """Return a label as the name of a folder: `dmt k=1/16` becomes `dmt-k1_16`."""
    text = label.replace("=", "").replace("/", "_").replace(" ", "-")
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text)[:120]


def _configuration(
    study: Study, base: Mapping[str, Any], settings: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Return the base with a cell's settings applied, except those of the schedule."""
    config: dict[str, Any] = deepcopy(dict(base))
    config.pop("output_dir", None)
    if not isinstance(config.get("dmt"), Mapping):
        raise DMTError("study.base", "has no dmt block", "name an Axolotl YAML with a dmt block")
    changes = {name: value for name, value in study.set.items() if not isinstance(value, list)}
    if "base_model" in settings:
        changes["base_model"] = settings["base_model"]
    if "variant" in settings:
        variant = settings["variant"]
        if variant not in study.variants:
            fix = f"known: {', '.join(study.variants) or 'none; define them under variants'}"
            raise DMTError("study.variant", f"{variant!r} is unknown", fix)
        changes |= study.variants[variant]
    changes |= {
        name: value
        for name, value in settings.items()
        if name not in Grid.model_fields and not name.startswith("amount.")
    }
    for name, value in changes.items():
        _set(config, name, value)
    if not isinstance(config["dmt"], dict):
        raise DMTError("study.set.dmt", f"{config['dmt']!r} is not a mapping", "set a key in it")
    config["dmt"].pop("gate", None)  # a run of a study is not failed by its scores
    config = _with_seed(config, seed)
    config["seed"] = config["dmt"]["seed"] = seed
    # A later run loads its model from its parent's folder. The tokeniser's name must stay the same,
    # because the tokenised rows are cached under it.
    config.setdefault("tokenizer_config", config.get("base_model"))
    config.setdefault("dataset_prepared_path", str(Path(study.output_dir) / "prepared"))
    config.setdefault("auto_resume_from_checkpoints", True)
    return config


def _set(config: Any, dotted: str, value: Any) -> None:
    """Set a key by its dotted name, in which a number names an entry of a list.

    Raises:
        DMTError: the name does not fit the configuration.
    """
    key = f"study.set.{dotted}"
    *path, last = dotted.split(".")
    parent = config
    for part in path:
        if isinstance(parent, list):
            parent = parent[_index(parent, part, key)]
        else:
            parent = parent.setdefault(part, {})
        if not isinstance(parent, dict | list):
            raise DMTError(key, f"the base's {part} is not a mapping", "name a key of the base")
    if isinstance(parent, list):
        parent[_index(parent, last, key)] = deepcopy(value)
    else:
        parent[last] = deepcopy(value)


def _index(entries: list[Any], part: str, key: str) -> int:
    if not part.isdecimal() or int(part) >= len(entries):
        raise DMTError(key, f"has no entry {part!r}", f"write a number below {len(entries)}")
    return int(part)


def _with_seed(value: Any, seed: int) -> Any:
    """Return the value with every `{seed}` in its strings replaced by the seed."""
    if isinstance(value, str):
        return value.replace(SEED, str(seed))
    if isinstance(value, dict):
        return {name: _with_seed(item, seed) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_seed(item, seed) for item in value]
    return value
