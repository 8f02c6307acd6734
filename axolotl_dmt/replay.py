"""Which rows are replayed: `dmt.replay` as a selection of the mixer.

A part of a domain is a replay where the domain is not general and an earlier stage takes some of
it. Such a part is selected as `dmt.replay.select` says, unless its stage says `select` itself:
`hardest` is the mixer's `loss:hardest`, which takes the rows of the highest loss first, out of
those that the earlier stages chose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from axolotl_dmt.args import DMTConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.inputs import Stage
from axolotl_dmt.mixing import BY_LOSS
from axolotl_dmt.row_losses import COMMAND, KEY, no_losses, read_header

METHODS = {"random": "random", "hardest": "loss:hardest", "easiest": "loss:easiest"}
"""`dmt.replay.select` -> a selection of the mixer."""

OwnSelect = str | Mapping[str, str] | None


def select_replay(
    config: DMTConfig, stages: Sequence[Stage], own: Sequence[OwnSelect]
) -> tuple[Stage, ...]:
    """The stages with `dmt.replay.select` on each of their replays.

    Args:
        config: the checked block.
        stages: in training order, selecting as the block says.
        own: what each of them says under `select` itself.
    """
    if config.replay is None:
        return tuple(stages)
    method = METHODS[config.replay.select]
    general, learned = {*config.general_domains}, set[str]()
    selected = []
    for stage, said in zip(stages, own, strict=True):
        taken = [name for name, amount in stage.mix.items() if amount.value]
        kept = {*stage.mix} if isinstance(said, str) else {*(said or ())}
        replayed = [name for name in taken if name in learned and name not in general | kept]
        if replayed:
            select = {name: stage.method(name) for name in stage.mix}
            stage = replace(stage, select=select | dict.fromkeys(replayed, method))
        selected.append(stage)
        learned.update(taken)
    return tuple(selected)


def domains_by_loss(stages: Sequence[Stage]) -> tuple[str, ...]:
    """The domains of which a stage takes rows by their loss."""
    found = {
        name: None
        for stage in stages
        for name, amount in stage.mix.items()
        if amount.value and stage.method(name) in BY_LOSS
    }
    return tuple(found)


def check_losses(config: DMTConfig, stages: Sequence[Stage], *, files: bool = True) -> None:
    """Refuse a file of losses that cannot be the right one, before data is loaded.

    Args:
        config: the checked block.
        stages: the resolved stages.
        files: whether to look for the file.

    Raises:
        DMTError: no file is named, it is not there, or it lacks a domain.
    """
    domains = domains_by_loss(stages)
    if not domains:
        return
    path = losses_path(config)
    if not files:
        return
    known = [entry["name"] for entry in read_header(path)["domains"]]
    for domain in domains:
        if domain not in known:
            raise no_losses(domain, path)


def losses_path(config: DMTConfig) -> Path:
    """The file of row losses.

    Raises:
        DMTError: none is named.
    """
    if config.replay is None or config.replay.losses is None:
        raise DMTError(KEY, "is missing", f"name the file that `{COMMAND}` wrote")
    return Path(config.replay.losses)
