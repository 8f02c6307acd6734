"""Which rows are replayed: `dmt.replay` as a selection of rows.

A stage replays a domain if the domain is not general and an earlier stage uses it too. Its rows are
selected by `dmt.replay.select`, unless the stage has its own `select`. `hardest` is the selection
`loss:hardest`, which takes the rows with the highest loss first, from those that earlier stages
chose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from axolotl_dmt.config.args import DMTConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.inputs import Stage
from axolotl_dmt.plan.ranking import BY_LOSS
from axolotl_dmt.plan.row_losses import COMMAND, KEY, no_losses, read_header

METHODS = {"random": "random", "hardest": BY_LOSS}
"""`dmt.replay.select` -> the selection method of a `Ranking`."""

StageSelect = str | Mapping[str, str] | None
"""The `select` of a stage: for all domains, by domain, or None if it is not set."""


def select_replay(
    config: DMTConfig, stages: Sequence[Stage], stage_selects: Sequence[StageSelect]
) -> tuple[Stage, ...]:
    """Return the stages with `dmt.replay.select` applied to each domain that they replay.

    Args:
        config: the checked block.
        stages: the stages in training order; a stage without a `select` has that of the block.
        stage_selects: the `select` that the YAML sets for each stage.
    """
    if config.replay is None or config.replay.select is None:
        return tuple(stages)
    method = METHODS[config.replay.select]
    general, learned = {*config.general_domains}, set[str]()
    selected = []
    for stage, select in zip(stages, stage_selects, strict=True):
        used = [name for name, amount in stage.mix.items() if amount.value]
        selected_by_stage = {*stage.mix} if isinstance(select, str) else {*(select or ())}
        not_replayed = general | selected_by_stage
        replayed = [name for name in used if name in learned and name not in not_replayed]
        if replayed:
            methods = {name: stage.method(name) for name in stage.mix}
            stage = replace(stage, select=methods | dict.fromkeys(replayed, method))
        selected.append(stage)
        learned.update(used)
    return tuple(selected)


def domains_by_loss(stages: Sequence[Stage]) -> tuple[str, ...]:
    """Return the domains whose rows some stage selects by their loss."""
    names = {
        name: None
        for stage in stages
        for name, amount in stage.mix.items()
        if amount.value and stage.method(name) == BY_LOSS
    }
    return tuple(names)


def check_losses(config: DMTConfig, stages: Sequence[Stage], *, files: bool = True) -> None:
    """Check the file of row losses as far as that is possible before data is loaded.

    Args:
        config: the checked block.
        stages: the resolved stages.
        files: whether to open the file.

    Raises:
        DMTError: no file is named, it does not exist, or it lacks a domain.
    """
    domains = domains_by_loss(stages)
    if not domains:
        return
    path = losses_path(config)
    if not files:
        return
    measured = [entry["name"] for entry in read_header(path)["domains"]]
    for domain in domains:
        if domain not in measured:
            raise no_losses(domain, path)


def losses_path(config: DMTConfig) -> Path:
    """Return the path of the file of row losses.

    Raises:
        DMTError: no file is named.
    """
    if config.replay is None or config.replay.losses is None:
        raise DMTError(KEY, "is missing", f"name the file that `{COMMAND}` wrote")
    return Path(config.replay.losses)
