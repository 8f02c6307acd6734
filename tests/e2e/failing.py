"""An Axolotl plugin under which every evaluation fails."""

from __future__ import annotations

from typing import Any

from axolotl.integrations.base import BasePlugin


class FailingEvaluationPlugin(BasePlugin):
    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        import lm_eval

        def fail(*args: Any, **kwargs: Any) -> None:
            raise OSError("the disk is full")

        lm_eval.simple_evaluate = fail
        return []
