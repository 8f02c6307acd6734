"""A study's YAML: a grid of runs over one base configuration.

    base: base.yaml                  # any Axolotl YAML with a dmt block, or the mapping itself
    output_dir: outputs/studies/k
    seeds: [1, 2, 3]
    cells:                           # each a grid of its own, joined
      - strategy: [multi_task, sequential]
      - {strategy: dmt, k: [0, 1/256, 1/16]}

Pure: nothing here loads a model or data, or writes a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from axolotl_dmt.args import FractionOfDomain
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.explain import explain
from axolotl_dmt.yaml_file import YamlFile

Merge = Literal["linear", "slerp"]


class Grid(BaseModel):
    """The axes: each a value, or a list of values to go through."""

    model_config = ConfigDict(extra="forbid")

    strategy: str | list[str] | None = Field(None, description="Of `axolotl dmt strategies`.")
    domain: str | list[str] | None = Field(None, description="For the strategy `single`.")
    k: FractionOfDomain | list[FractionOfDomain] | None = Field(
        None, description="Replay; left out where a strategy does not look at it."
    )
    amount: FractionOfDomain | list[FractionOfDomain] | None = Field(
        None, description="The part of every domain that is there to be trained on."
    )
    amounts: dict[str, FractionOfDomain | list[FractionOfDomain]] = Field(
        default_factory=dict,
        description="The same by domain, in place of `amount`; `specialised` stands for all "
        "domains that are not general.",
    )
    base_model: str | list[str] | None = Field(None, description="In place of the base's.")
    merge: Merge | list[Merge] | None = Field(
        None,
        description="Of a schedule of two stages: merge their models half and half, tensor by "
        "tensor along the line or the arc, and score that.",
    )
    variant: str | list[str] | None = Field(None, description="Names of `variants`.")
    set: dict[str, Any] = Field(
        default_factory=dict,
        description="Any key of the base by its dotted name; a list is gone through. "
        "`datasets.0.path` names an entry of a list by its number.",
    )


class Study(Grid):
    """A study's YAML. Axes at its top hold for every block of `cells`."""

    base: str | dict[str, Any] = Field(description="A YAML's path, or its content.")
    output_dir: str
    runs_dir: str | None = Field(
        None,
        description="Where the runs lie, by default OUTPUT_DIR/runs. Studies with the same one "
        "train what they have in common once.",
    )
    seeds: list[int] = Field(min_length=1, description="Of Axolotl and of the plan.")
    title: str | None = Field(None, description="Of the report.")
    notes: str = Field("", description="Markdown that the report quotes.")
    judge_k: FractionOfDomain | None = Field(
        None, description="The k of `dmt` at which the report judges the paper's claims."
    )
    cells: list[Grid] = Field(default_factory=list, description="Grids, joined.")
    variants: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Named sets of dotted keys for the axis `variant`."
    )


def read_study(path: Path) -> tuple[Study, dict[str, Any]]:
    """Read a study and its base configuration.

    Args:
        path: the study's YAML; a base that is a path is looked up beside it, then here.

    Raises:
        DMTError: with every mistake found.
    """
    raw = YamlFile.read(path).data
    if "base" not in raw and "datasets" in raw:
        problem = f"{path} is a YAML to train, and no study of one"
        fix = f"write base: {path}, output_dir, seeds and cells into a file of their own"
        raise DMTError("STUDY", problem, fix)
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        raise DMTErrors(explain(error, Study, "study")) from None
    if isinstance(study.base, dict):
        return study, study.base
    beside = path.parent / study.base
    try:
        return study, YamlFile.read(beside if beside.is_file() else study.base).data
    except DMTError as error:
        raise DMTError("study.base", f"{error.key} {error.problem}", error.fix) from None
