"""Recipes: small folders from which others can repeat a run.

    my-recipe/
      dmt.yaml        the YAML, without secrets and without paths of the original machine
      README.md       the card: metadata for the Hub, scores, plan, data
      recipe.json     the card as data
      abilities.png   the chart of the scores

`export.export` makes a recipe from a run's folder. This module defines what a recipe is and reads
recipes by unknown authors. A recipe is data: reading it executes nothing.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from axolotl_dmt.config.args import read_config
from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import parse_json, readable_text
from axolotl_dmt.recipes.fetch import RecipeFiles
from axolotl_dmt.recipes.safety import Finding, deepspeed_findings, findings
from axolotl_dmt.recipes.strict_yaml import read_yaml

SCHEMA = 1
YAML_FILE, CARD_FILE, JSON_FILE, PICTURE = "dmt.yaml", "README.md", "recipe.json", "abilities.png"
PLUGIN = "axolotl_dmt.DMTPlugin"
EXPORT_AGAIN = "export the recipe again"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Source(_Part):
    """The origin of a model or dataset.

    Attributes:
        path: its name on the Hub; if it is local, the path at which users provide their own.
        local: whether users must provide it, as it is not on the Hub.
        revision: the commit, tag or branch; None if unknown.
        domain: the domain of a dataset.
        rows: the number of rows of a dataset after tokenisation.
    """

    path: str
    local: bool = False
    revision: str | None = None
    domain: str | None = None
    rows: int | None = Field(None, ge=0)


class StageCard(_Part):
    """One stage of the plan; `rows` is {domain: number of distinct rows}."""

    name: str
    steps: int
    epochs: float | None = None
    learning_rate: float | None = None
    rows: dict[str, int] = Field(default_factory=dict)


class ScoreCard(_Part):
    """The score of one ability after one stage; `value` and `stderr` are those of lm-eval."""

    stage: str
    ability: str
    task: str
    metric: str
    value: float | None
    stderr: float | None = None
    n: int


class Card(_Part):
    """The card: the content of `recipe.json` and of the front matter of `README.md`.

    `needs` is {path: a description of what the user must provide there}.
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
        """Return the card as JSON values."""
        return self.model_dump(by_alias=True)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe after reading: its YAML is plain data with a valid `dmt:` block.

    Attributes:
        name: a short name derived from the source.
        files: {relative name: unchanged bytes}.
        yaml_name: the name of the YAML among the files.
        config: the content of the YAML.
        card: the card; None if the recipe is only a YAML.
        findings: the settings that need the user's consent.
        left_out: the names of files in the source that were not read.
    """

    name: str
    files: Mapping[str, bytes]
    yaml_name: str
    config: Mapping[str, Any]
    card: Card | None
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...] = ()


def read_recipe(source: RecipeFiles) -> Recipe:
    """Read the files of a recipe and find the settings that could do harm.

    Raises:
        DMTError: there is no YAML, it has a mistake, or `recipe.json` is not a valid card.
    """
    name = _yaml_name(source.files)
    config = read_yaml(source.files[name], name)
    plugins = config.get("plugins")
    if PLUGIN not in (plugins if isinstance(plugins, list) else [plugins]):
        raise DMTError("plugins", f"{name} does not list {PLUGIN}", f"add plugins: [{PLUGIN}]")
    read_config(config.get("dmt"))
    needs_consent = findings(config)
    deepspeed = config.get("deepspeed")
    if isinstance(deepspeed, str):
        # Other spellings of the path, and on some file systems other capitals, name the same file.
        path = posixpath.normpath(deepspeed).lower()
        for file in (file for file in source.files if file.lower() == path):
            needs_consent += deepspeed_findings(_json(source.files[file], file), file)
    return Recipe(
        name=source.name,
        files=source.files,
        yaml_name=name,
        config=config,
        card=_card(source.files),
        findings=tuple(needs_consent),
        left_out=source.left_out,
    )


def _yaml_name(files: Mapping[str, bytes]) -> str:
    names = [name for name in files if "/" not in name and name.endswith((".yaml", ".yml"))]
    if YAML_FILE in names:
        return YAML_FILE
    if len(names) != 1:
        problem = f"{len(names)} YAML files" if names else "no YAML file"
        raise DMTError("SOURCE", f"the recipe has {problem}", f"name its YAML {YAML_FILE}")
    return names[0]


def _card(files: Mapping[str, bytes]) -> Card | None:
    if JSON_FILE not in files:
        return None
    data = _json(files[JSON_FILE], JSON_FILE)
    if (schema := data.get("schema")) != SCHEMA:
        fix = f"this version of axolotl-dmt reads schema {SCHEMA}; install a matching version"
        raise DMTError(JSON_FILE, f"has schema {schema!r}", fix)
    try:
        return Card.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DMTError(JSON_FILE, f"{key!r}: {first['msg']}", EXPORT_AGAIN) from None


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = parse_json(data)
    except ValueError as error:
        raise DMTError(where, f"is not valid JSON ({error})", EXPORT_AGAIN) from None
    if not isinstance(value, dict):
        raise DMTError(where, "is not a JSON object", EXPORT_AGAIN)
    return value


def save_files(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write the files of a recipe into a new or empty folder.

    Raises:
        DMTError: the folder is not empty or cannot be written.
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
    """Return the folder of templates: inside an installed package, beside it in a clone."""
    package = Path(__file__).parents[1]
    inside = package / "yaml_templates"
    return inside if inside.is_dir() else package.parent / "yaml_templates"


def gallery() -> Mapping[str, Path]:
    """Return the built-in recipes as {name: YAML file}; `lora/8b_24gb` is `lora/8b_24gb.yaml`."""
    folder = templates_folder()
    templates = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*.yaml"))
    }
    # A study is a grid of runs, not a run.
    return {name: path for name, path in templates.items() if not name.startswith("studies/")}


def known_recipes() -> Mapping[str, Path]:
    """Return the built-in recipes and those of installed packages as {name: YAML or folder}.

    Raises:
        DMTError: two recipes share a name, or a package's hook fails.
    """
    from axolotl_dmt.hooks.calls import registered_recipes

    built_in, installed = gallery(), registered_recipes()
    if duplicates := sorted(built_in.keys() & installed.keys()):
        problem = f"{duplicates[0]!r} is registered twice"
        raise DMTError("recipe", problem, "rename the recipe of the installed package")
    return {**built_in, **installed}


def headline(path: Path) -> str:
    """Return the purpose of a recipe: the first sentence of the comment that opens its YAML."""
    if path.is_dir():
        path = path / YAML_FILE
    words: list[str] = []
    for line in readable_text(path).splitlines():
        if not line.startswith("#"):
            break
        words.append(line.lstrip("# "))
    return re.split(r"[.;] |\.$", " ".join(words))[0]
