"""Recipes: a run that others can repeat, as a small folder.

    my-recipe/
      dmt.yaml        the YAML, without secrets and without paths of the machine it ran on
      README.md       the card: front matter for the hub, scores, plan, data
      recipe.json     the card for programs
      abilities.png   the picture of the scores

`export` (in `recipe_export`) makes one of a run's folder; this module says what a recipe is and
reads one that somebody else made. A recipe is data: nothing of it runs by being read.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from axolotl_dmt.args import read_config
from axolotl_dmt.errors import DMTError
from axolotl_dmt.recipe_safety import Finding, deepspeed_findings, findings
from axolotl_dmt.recipe_source import RecipeFiles
from axolotl_dmt.recipe_yaml import read_yaml

SCHEMA = 1
YAML_FILE, CARD_FILE, JSON_FILE, PICTURE = "dmt.yaml", "README.md", "recipe.json", "abilities.png"
PLUGIN = "axolotl_dmt.DMTPlugin"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Source(_Part):
    """Where a model or a data set comes from.

    Attributes:
        path: its name on the hub; of a local one, the place in the recipe where yours belongs.
        local: whether it is not part of the recipe and must be brought.
        revision: the commit, tag or branch; None where unknown.
        domain: of a data set.
        rows: of a data set, once tokenised.
    """

    path: str
    local: bool = False
    revision: str | None = None
    domain: str | None = None
    rows: int | None = Field(None, ge=0)


class StageCard(_Part):
    """One stage as it was planned; `rows` is {domain: distinct rows}."""

    name: str
    steps: int
    epochs: float | None = None
    learning_rate: float | None = None
    rows: dict[str, int] = Field(default_factory=dict)


class ScoreCard(_Part):
    """One ability's score after one stage; `value` and `stderr` as lm-eval gave them."""

    stage: str
    ability: str
    task: str
    metric: str
    value: float | None
    stderr: float | None = None
    n: int


class Card(_Part):
    """What `recipe.json` and the front matter of `README.md` hold.

    `needs` is {path: what its user must bring there}.
    """

    schema_version: int = Field(SCHEMA, alias="schema")
    name: str
    author: str | None = None
    licence: str | None = None
    base_model: Source
    data: list[Source]
    plan_fingerprint: str
    global_batch: int | None = None
    stages: list[StageCard] = Field(default_factory=list)
    scores: list[ScoreCard] = Field(default_factory=list)
    needs: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The JSON form."""
        return self.model_dump(by_alias=True)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe that has been read; its YAML is plain data with a `dmt:` block without mistakes.

    Attributes:
        name: a short name taken from where it came from.
        files: {relative name: bytes}, as they came.
        yaml_name: which of the files is the YAML.
        config: what that holds.
        card: None where the recipe is a YAML alone.
        findings: what needs the user's word.
        left_out: files that were not taken over.
    """

    name: str
    files: Mapping[str, bytes]
    yaml_name: str
    config: Mapping[str, Any]
    card: Card | None
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...] = ()


def read_recipe(source: RecipeFiles) -> Recipe:
    """Read a recipe's files and look for what may do harm.

    Raises:
        DMTError: no YAML, a mistake in it, or a card that is none.
    """
    name = _yaml_name(source.files)
    config = read_yaml(source.files[name], name)
    plugins = config.get("plugins")
    if PLUGIN not in (plugins if isinstance(plugins, list) else [plugins]):
        raise DMTError("plugins", f"{name} does not list {PLUGIN}", f"add plugins: [{PLUGIN}]")
    read_config(config.get("dmt"))
    found = findings(config)
    deepspeed = config.get("deepspeed")
    if isinstance(deepspeed, str):
        # however the YAML spells it, and on a disk that knows no capitals
        place = posixpath.normpath(deepspeed).lower()
        for own in (file for file in source.files if file.lower() == place):
            found += deepspeed_findings(_json(source.files[own], own), own)
    return Recipe(
        name=source.name,
        files=source.files,
        yaml_name=name,
        config=config,
        card=_card(source.files),
        findings=tuple(found),
        left_out=source.left_out,
    )


def _yaml_name(files: Mapping[str, bytes]) -> str:
    found = [name for name in files if "/" not in name and name.endswith((".yaml", ".yml"))]
    if YAML_FILE in found:
        return YAML_FILE
    if len(found) != 1:
        problem = f"{len(found)} YAML files" if found else "no YAML file"
        raise DMTError("SOURCE", f"the recipe has {problem}", f"name its YAML {YAML_FILE}")
    return found[0]


def _card(files: Mapping[str, bytes]) -> Card | None:
    if JSON_FILE not in files:
        return None
    data = _json(files[JSON_FILE], JSON_FILE)
    if (schema := data.get("schema")) != SCHEMA:
        fix = f"this version reads schema {SCHEMA}: install another axolotl-dmt"
        raise DMTError(JSON_FILE, f"has schema {schema!r}", fix)
    try:
        return Card.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DMTError(JSON_FILE, f"{place!r}: {first['msg']}", "export the recipe anew") from None


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DMTError(where, f"is no JSON ({error})", "export the recipe anew") from None
    if not isinstance(value, dict):
        raise DMTError(where, "is no JSON object", "export the recipe anew")
    return value


def save_files(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write a recipe's files into a folder that is new or empty.

    Raises:
        DMTError: the folder holds something, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DMTError("--to", f"{folder} is not empty", "name a new folder")
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
    except OSError as error:
        problem = f"{folder} cannot be written ({error.strerror})"
        raise DMTError("--to", problem, "name another folder") from None
    return folder


def templates_folder() -> Path:
    """Where the templates lie: in the installed package, or in a clone beside it."""
    package = Path(__file__).parent
    inside = package / "yaml_templates"
    return inside if inside.is_dir() else package.parent / "yaml_templates"


def gallery() -> Mapping[str, Path]:
    """The built-in recipes, {name: YAML}; `lora/8b-24gb` lies in `lora/8b-24gb.yaml`."""
    folder = templates_folder()
    found = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*.yaml"))
    }
    # a study is a grid of runs and no run
    return {name: path for name, path in found.items() if not name.startswith("studies/")}


def known_recipes() -> Mapping[str, Path]:
    """The gallery and the recipes of installed packages, {name: YAML or folder}.

    Raises:
        DMTError: a package's recipe has the name of another one.
    """
    from axolotl_dmt.hooks import registered_recipes

    built_in, more = gallery(), registered_recipes()
    if taken := sorted(built_in.keys() & more.keys()):
        raise DMTError("recipe", f"{taken[0]!r} is registered twice", "rename the package's")
    return {**built_in, **more}


def headline(path: Path) -> str:
    """What a recipe is for: how the comment at the head of its YAML begins."""
    if path.is_dir():
        path = path / YAML_FILE
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words.append(line.lstrip("# "))
    return re.split(r"[.;] |\.$", " ".join(words))[0]
