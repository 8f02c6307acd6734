"""Freezes parameters in the stages that set `freeze`, and unfreezes them afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from torch import nn

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.training_plan import StagePlan

WRAPPERS = re.compile(r"_checkpoint_wrapped_module\.|_orig_mod\.")
"""Parts of parameter names that activation offloading and torch.compile add."""


class Freezer:
    """Freezes and unfreezes the trainable parameters of a model.

    A frozen parameter has no gradient, so the optimiser does not update it: neither weight decay
    nor Adam's moments from an earlier stage change it. The optimiser and its checkpoints hold the
    same parameters in every stage, so a run can be resumed in the middle of such a stage.
    """

    def __init__(self, model: nn.Module) -> None:
        """Record the parameters that are trained in stages without `freeze`.

        Args:
            model: the unwrapped model, before the first step.
        """
        self.trainable = {
            WRAPPERS.sub("", name): parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }

    def check(self, stages: Iterable[StagePlan]) -> None:
        """Check the `freeze` patterns of all stages.

        Raises:
            DMTError: a pattern matches no trainable parameter, or a stage freezes all of them; the
                error names some of the model's parameters.
        """
        names = list(self.trainable)
        for stage in stages:
            key = f"freeze (stage {stage.name})"
            for pattern in stage.settings.freeze:
                if not any(re.search(pattern, name) for name in names):
                    raise DMTError(
                        key,
                        f"{pattern!r} matches no trainable parameter",
                        f"the model has {len(names)}, such as {', '.join(_examples(names))}",
                    )
            if len(_matches(stage.settings.freeze, names)) == len(names):
                raise DMTError(
                    key,
                    f"all {len(names)} trainable parameters are frozen",
                    "leave some out; freeze takes regular expressions that may match anywhere in "
                    f"a name such as {names[0]}",
                )

    def apply(self, patterns: Sequence[str]) -> None:
        """Freeze the parameters that these patterns match, and unfreeze all others."""
        frozen = set(_matches(patterns, self.trainable))
        for name, parameter in self.trainable.items():
            parameter.requires_grad_(name not in frozen)
            if name in frozen:
                parameter.grad = None


def _matches(patterns: Sequence[str], names: Iterable[str]) -> list[str]:
    return [name for name in names if any(re.search(pattern, name) for pattern in patterns)]


def _examples(names: Sequence[str]) -> list[str]:
    """Return up to three names: the first, the middle and the last one."""
    return list(dict.fromkeys([names[0], names[len(names) // 2], names[-1]]))
