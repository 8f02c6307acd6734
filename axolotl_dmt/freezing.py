"""Holds parameters still in the stages that say so, and gives them back afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from torch import nn

from axolotl_dmt.errors import DMTError
from axolotl_dmt.training_plan import StagePlan


class Freezer:
    """The trainable parameters of a model, and which of them a stage holds still.

    A frozen parameter has no gradient, so that an optimiser leaves it as it is: neither weight
    decay nor Adam's moments of an earlier stage move it. Which parameters the optimiser and its
    checkpoints know does not change, so that a run can be resumed in the middle of such a stage.
    """

    def __init__(self, model: nn.Module) -> None:
        """Remember what is trained where nothing is frozen.

        Args:
            model: as it is before the first step, without any wrapper.
        """
        self.trainable = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }

    def check(self, stages: Iterable[StagePlan]) -> None:
        """Refuse patterns that match nothing, or all there is to train.

        Raises:
            DMTError: with some of the model's names.
        """
        names = list(self.trainable)
        for stage in stages:
            key = f"freeze (stage {stage.name})"
            for pattern in stage.settings.freeze:
                if not any(re.search(pattern, name) for name in names):
                    raise DMTError(
                        key,
                        f"{pattern!r} matches no trainable parameter",
                        f"there are {len(names)}, such as {', '.join(_some(names))}",
                    )
            if len(_matches(stage.settings.freeze, names)) == len(names):
                raise DMTError(
                    key,
                    f"all {len(names)} trainable parameters are frozen",
                    "leave some out; freeze takes regular expressions that may match anywhere in "
                    f"a name such as {names[0]}",
                )

    def apply(self, patterns: Sequence[str]) -> None:
        """Freeze what these patterns match, and nothing else."""
        frozen = set(_matches(patterns, self.trainable))
        for name, parameter in self.trainable.items():
            parameter.requires_grad_(name not in frozen)
            if name in frozen:
                parameter.grad = None


def _matches(patterns: Sequence[str], names: Iterable[str]) -> list[str]:
    return [name for name in names if any(re.search(pattern, name) for pattern in patterns)]


def _some(names: Sequence[str]) -> list[str]:
    """Up to three names from the start, the middle and the end."""
    return list(dict.fromkeys([names[0], names[len(names) // 2], names[-1]]))
