"""What the stages of a schedule need of the rows beyond their lengths."""

from __future__ import annotations

from collections.abc import Sequence

from axolotl_dmt.plan.inputs import Stage


def score_columns(stages: Sequence[Stage]) -> dict[str, tuple[str, ...]]:
    """Return {domain: the columns that `select: score:<column>` names}."""
    columns: dict[str, dict[str, None]] = {}
    for stage in stages:
        for domain in stage.mix:
            select = stage.select
            method = select if isinstance(select, str) else select.get(domain, "random")
            if method.startswith("score:"):
                columns.setdefault(domain, {})[method.removeprefix("score:")] = None
    return {domain: tuple(names) for domain, names in columns.items()}


def remasked_domains(stages: Sequence[Stage]) -> dict[str, str]:
    """Return {domain whose inputs a stage masks differently: the first such stage}.

    A stage that sets `train_on_inputs` masks the inputs differently from Axolotl's setting.
    """
    stage_names: dict[str, str] = {}
    for stage in stages:
        if stage.train_on_inputs is not None:
            domains = (name for name, amount in stage.mix.items() if amount.value)
            stage_names = {**dict.fromkeys(domains, stage.name), **stage_names}
    return stage_names
