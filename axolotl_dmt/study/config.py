"""The keys of a study's YAML, which describes a grid of runs over one base configuration.

    base: base.yaml                  # an Axolotl YAML with a dmt block, or its content
    output_dir: outputs/studies/k
    seeds: [1, 2, 3]
    cells:                           # grids; the study has the cells of all of them
      - strategy: [multi_task, sequential]
      - {strategy: dmt, k: [0, 1/256, 1/16]}

Nothing here loads a model or data, or writes a file.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from axolotl_dmt.config.amount_fields import FractionOfDomain
from axolotl_dmt.config.pydantic_errors import explain
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.errors import DMTError, DMTErrors

Merge = Literal["linear", "slerp"]


def _as_number(value: object) -> object:
    """Return a fraction such as `1/4` as a number; leave anything else to pydantic."""
    if not isinstance(value, str):
        return value
    try:
        return float(Fraction(value))
    except (ValueError, ZeroDivisionError):
        return value


MergeWeight = Annotated[float, BeforeValidator(_as_number), Field(gt=0, lt=1)]


class Grid(BaseModel):
    """The axes of a grid: each is a value or a list of values."""

    model_config = ConfigDict(extra="forbid")

    strategy: str | list[str] | None = Field(
        None, description="A name that `axolotl dmt strategies` lists."
    )
    domain: str | list[str] | None = Field(None, description="The domain of the strategy `single`.")
    k: FractionOfDomain | list[FractionOfDomain] | None = Field(
        None, description="The replay fraction; ignored by strategies that do not use it."
    )
    amount: FractionOfDomain | list[FractionOfDomain] | None = Field(
        None, description="The fraction of every domain that is available for training."
    )
    amounts: dict[str, FractionOfDomain | list[FractionOfDomain]] = Field(
        default_factory=dict,
        description="The fraction by domain, in place of `amount`; `specialised` stands for all "
        "domains that are not general.",
    )
    base_model: str | list[str] | None = Field(
        None, description="Replaces the base's `base_model`."
    )
    merge: Merge | list[Merge] | None = Field(
        None,
        description="For a schedule of two stages: merge their models, tensor by tensor along a "
        "line or an arc, and score the merged model.",
    )
    merge_weight: MergeWeight | list[MergeWeight] | None = Field(
        None, description="The weight of the second model in a merge, 0.5 by default."
    )
    variant: str | list[str] | None = Field(None, description="Names of `variants`.")
    set: dict[str, Any] = Field(
        default_factory=dict,
        description="Any key of the base by its dotted name; a list of values is an axis. "
        "`datasets.0.path` names an entry of a list by its number.",
    )


class Study(Grid):
    """A study's YAML. Axes at the top level apply to every block of `cells`."""

    base: str | dict[str, Any] = Field(description="The path of an Axolotl YAML, or its content.")
    output_dir: str
    runs_dir: str | None = Field(
        None,
        description="The folder of the runs, by default OUTPUT_DIR/runs. Studies that share it "
        "train the runs that they have in common once.",
    )
    keep_weights: bool = Field(
        True,
        description="If false, the weights of each run are deleted once it is scored, except those "
        "that other runs of the study start from or merge.",
    )
    seeds: list[int] = Field(min_length=1, description="Seeds of Axolotl and of the plan.")
    title: str | None = Field(None, description="The title of the report.")
    measure: Literal["score", "held_out_loss"] = Field(
        "score",
        description="What treatments are compared by: the scores of abilities, or the losses on "
        "held-out rows (`test_datasets` or `dmt.val_rows` of the base) as log-likelihoods.",
    )
    notes: str = Field("", description="Markdown that the report quotes.")
    judge_k: FractionOfDomain | None = Field(
        None, description="The k of `dmt` at which the report judges the paper's claims."
    )
    make_data: str | None = Field(
        None,
        description="The command that makes the data of a seed, which is shown if files are "
        "missing; `{seed}` is replaced. It is never run.",
    )
    cells: list[Grid] = Field(
        default_factory=list, description="Grids; the study has the cells of all of them."
    )
    variants: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Named sets of keys (dotted names) for the axis `variant`.",
    )


def read_study(path: Path) -> tuple[Study, dict[str, Any]]:
    """Read a study and its base configuration.

    Args:
        path: the study's YAML. The path of its base is relative to the YAML's folder or, if there
            is no such file, to the working directory.

    Returns:
        The study, and its base as plain values.

    Raises:
        DMTError: a file cannot be read, or the study has mistakes, all of which the error lists.
    """
    raw = YamlFile.read(path).data
    if "base" not in raw and "datasets" in raw:
        problem = f"{path} configures a training run, not a study"
        fix = f"write a YAML with base: {path}, output_dir, seeds and cells"
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
