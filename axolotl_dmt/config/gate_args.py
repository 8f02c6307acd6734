"""The `dmt.gate` block: what a run must keep and improve."""

from __future__ import annotations

from pydantic import Field, model_validator

from axolotl_dmt.config.evaluate_args import Block


class GateConfig(Block):
    """Limits on the changes of abilities that decide the run's exit status: `dmt.gate`."""

    keep: dict[str, float] = Field(
        default_factory=dict,
        description="{ability: the largest loss that is accepted, as a change of the score}.",
        examples=[{"math": -0.02, "code": -0.02}],
    )
    improve: dict[str, float] = Field(
        default_factory=dict,
        description="{ability: the smallest gain that is accepted}.",
        examples=[{"general": 0.01}],
    )
    against: str | None = Field(
        None,
        description="What the last stage is compared with: `baseline`, an earlier stage, or the "
        "output folder of another run. Default: the best earlier point of each ability.",
        examples=["specialise"],
    )

    @model_validator(mode="after")
    def _has_sound_rules(self) -> GateConfig:
        from axolotl_dmt.results.gate import rules_of

        rules_of(self.keep, self.improve)
        return self
