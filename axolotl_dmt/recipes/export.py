"""Makes a recipe from a run's folder: the YAML without private settings, and the card."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from axolotl_dmt.config.reading import NO_MODEL
from axolotl_dmt.errors import DMTError
from axolotl_dmt.recipes.data_suffix import data_suffix
from axolotl_dmt.recipes.recipe import (
    CARD_FILE,
    JSON_FILE,
    PICTURE,
    YAML_FILE,
    Card,
    ScoreCard,
    Source,
    StageCard,
)
from axolotl_dmt.recipes.safety import outside
from axolotl_dmt.report.markdown import plan_table, scores_table
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results.config_file import load_config
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.results import SOURCES, Results
from axolotl_dmt.results.secrets import MASK, masked

PERSONAL = re.compile(
    r"(use_)?(wandb|comet|mlflow|trackio|swanlab|gradio|otel|hub|hf|ray)(_.*)?"
    r"|push_dataset_to_hub|resume_from_checkpoint|axolotl_config_path|local_rank|world_size|device"
    # added by Axolotl's command line
    r"|debug|debug_text_only|debug_num_examples|shard"
)
"""Keys that belong to the author's accounts or machine, and do not describe the run."""

_TEXT_KEYS = re.compile(
    r"(system_prompt|system_format|format|no_input_format|field_\w+|prompt|default_system_message|"
    r"lora_target_modules|\w*tokens)$"
)
"""Keys whose values are texts: one that starts with `/` is not a path."""
_MACHINE_PATH = re.compile(r"(/|~|\.\.|\\\\|[A-Za-z]:[\\/]|file:)")


@dataclass
class Cleaned:
    """A YAML that can be shared.

    Attributes:
        config: its content.
        needs: {placeholder: a description of what users must provide there}.
        dropped: the keys that were removed.
        masked: the keys whose values were masked, because they look like secrets.
    """

    config: dict[str, Any]
    needs: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)

    def placeholder(self, stem: str, suffix: str, description: str) -> str:
        """Add a placeholder to `needs` for something local; return its path, which is unique."""
        path, count = f"{stem}{suffix}", 1
        while path in self.needs:
            count += 1
            path = f"{stem}-{count}{suffix}"
        self.needs[path] = description
        return path


def export(
    output_dir: Path,
    *,
    name: str | None = None,
    author: str | None = None,
    licence: str | None = None,
) -> tuple[dict[str, bytes], Cleaned]:
    """Make a recipe from a run.

    Args:
        output_dir: the run's output folder.
        name: the name of the recipe; None for the name of the folder.
        author: the author for the card.
        licence: the licence, by its identifier on the Hub: `apache-2.0`.

    Returns:
        The files as {file name: bytes}, and the YAML with a record of what was removed from it.

    Raises:
        DMTError: the folder contains no run, or a run whose YAML was not saved.
    """
    results = load_results(output_dir)
    name = name or _plain(output_dir.resolve().name, "recipe")
    cleaned = clean(load_config(output_dir), results.extra.get(SOURCES) or {}, name)
    card = make_card(results, cleaned, name=name, author=author, licence=licence)
    picture = RunFolder(output_dir).picture
    files = {
        YAML_FILE: yaml_text(cleaned),
        CARD_FILE: card_text(card, results, cleaned, picture=picture.is_file()),
        JSON_FILE: _json_text(card),
    }
    data = {file: text.encode("utf-8", errors="replace") for file, text in files.items()}
    if picture.is_file():
        data[PICTURE] = picture.read_bytes()
    return data, cleaned


def clean(raw: Mapping[str, Any], sources: Mapping[str, Any], name: str) -> Cleaned:
    """Remove secrets, account names and machine paths from a YAML.

    Local models and files become placeholders, as users of the recipe do not have them.

    Args:
        raw: the run's YAML.
        sources: the result of `results.config_file.sources` at the start of the run.
        name: the name of the recipe, used in its output folder.
    """
    config = {key: value for key, value in masked(raw).items() if value is not None}
    cleaned = Cleaned(config)
    for key in [key for key in raw if PERSONAL.fullmatch(key) or key not in config]:
        if config.pop(key, raw[key]) not in (None, False, 0):
            cleaned.dropped.append(key)
    cleaned.masked += _masked_keys(config, "")
    _base_model(cleaned, sources.get("base_model") or {})
    _datasets(cleaned, sources.get("datasets") or [])
    _evaluate(cleaned)
    config["output_dir"] = f"outputs/{name}"
    if "dataset_prepared_path" in config:
        config["dataset_prepared_path"] = "last_run_prepared"
    cleaned.config = _without_machine_paths(cleaned, config, "")
    return cleaned


def _masked_keys(value: Any, key: str) -> Iterator[str]:
    """Yield the keys, dotted and indexed, whose values hold `MASK`."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _masked_keys(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _masked_keys(item, f"{key}[{index}]")
    elif isinstance(value, str) and MASK in value:
        yield key


def _base_model(cleaned: Cleaned, source: Mapping[str, Any]) -> None:
    name = str(cleaned.config.get("base_model"))
    if source.get("local", outside(name) is not None):
        cleaned.config["base_model"] = NO_MODEL
        cleaned.needs[NO_MODEL] = "the base model: a folder, or a name on the Hub"
    elif source.get("revision"):
        cleaned.config.pop("model_revision", None)  # another name of the same key
        cleaned.config["revision_of_model"] = source["revision"]


def _datasets(cleaned: Cleaned, sources: list[Mapping[str, Any]]) -> None:
    entries = cleaned.config.get("datasets") or []
    for index, entry in enumerate(entries):
        source = sources[index] if index < len(sources) else {}
        if source.get("local", outside(entry.get("path")) is not None):
            rows = f", {source['rows']:,} rows" if source.get("rows") is not None else ""
            entry["path"] = cleaned.placeholder(
                f"your-data/{_plain(entry['domain'])}",
                data_suffix(entry["path"], entry.get("data_files")) or ".jsonl",
                f"data of the domain {entry['domain']}{rows}",
            )
            entry.pop("data_files", None)
        elif source.get("revision"):
            entry["revision"] = source["revision"]
    for index, entry in enumerate(cleaned.config.get("test_datasets") or []):
        path = entry.get("path")
        suffix = data_suffix(path, entry.get("data_files"))
        if suffix or outside(path):
            stem = f"your-data/test-{index + 1}"
            entry["path"] = cleaned.placeholder(stem, suffix, "test data for the loss")
            entry.pop("data_files", None)


def _evaluate(cleaned: Cleaned) -> None:
    block = (cleaned.config.get("dmt") or {}).get("evaluate") or {}
    for ability, path in (block.get("data") or {}).items():
        stem = f"your-data/{_plain(ability)}_test"
        description = f"test items of the ability {ability}"
        block["data"][ability] = cleaned.placeholder(stem, Path(str(path)).suffix, description)
    # The judge's server, and permission to run code without a sandbox, belong to the machine.
    if (block.get("judge") or {}).pop("base_url", None):
        cleaned.dropped.append("dmt.evaluate.judge.base_url")
    if block.pop("allow_unsafe_code", None):
        cleaned.dropped.append("dmt.evaluate.allow_unsafe_code")


def _plain(name: str, default: str = "data") -> str:
    """Return a name of letters, digits, `_` and `-`, with all other characters replaced."""
    return re.sub(r"[^\w-]+", "-", str(name)).strip("-") or default


def _without_machine_paths(cleaned: Cleaned, value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        items = {k: _without_machine_paths(cleaned, v, f"{key}.{k}") for k, v in value.items()}
        return {_without_home(k): v for k, v in items.items()}
    if isinstance(value, list):
        return [_without_machine_paths(cleaned, item, key) for item in value]
    if not isinstance(value, str):
        return value
    if not _TEXT_KEYS.search(key) and _MACHINE_PATH.match(value) and "\n" not in value:
        file = Path(re.split(r"[\\/]", value.rstrip("\\/"))[-1])
        stem, description = f"your-files/{_plain(file.stem)}", f"the file for {key.lstrip('.')}"
        return cleaned.placeholder(stem, file.suffix, description)
    return _without_home(value)


def _without_home(text: Any) -> Any:
    home = str(Path.home())
    if not isinstance(text, str) or len(home) < 4:
        return text
    return text.replace(home, "your-home")


def make_card(
    results: Results, cleaned: Cleaned, *, name: str, author: str | None, licence: str | None
) -> Card:
    """Return the card of a run.

    Args:
        results: the run's results.
        cleaned: its YAML, as it will be shared.
        name: the name of the recipe.
        author: the author; None to name nobody.
        licence: the licence; None if there is none.
    """
    sources = results.extra.get(SOURCES) or {}
    base = sources.get("base_model") or {}
    config = cleaned.config
    data = [
        Source(
            path=str(entry["path"]),
            local=str(entry["path"]) in cleaned.needs,
            revision=entry.get("revision"),
            domain=str(entry["domain"]),
            rows=source.get("rows"),
        )
        for entry, source in zip(config["datasets"], sources.get("datasets") or [], strict=False)
    ]
    return Card(
        name=name,
        author=author,
        licence=licence,
        base_model=Source(
            path=str(config["base_model"]),
            local=NO_MODEL in cleaned.needs,
            revision=None if NO_MODEL in cleaned.needs else base.get("revision"),
        ),
        data=data,
        plan_fingerprint=results.plan_fingerprint,
        global_batch=(results.plan or {}).get("global_batch"),
        stages=list(_stages(results)),
        scores=list(_scores(results)),
        needs=cleaned.needs,
        versions=dict(results.versions),
    )


def _stages(results: Results) -> Iterator[StageCard]:
    for stage in (results.plan or {}).get("stages", ()):
        domains = stage.get("domains") or {}
        yield StageCard(
            name=stage["name"],
            steps=stage["steps"],
            epochs=stage.get("epochs"),
            learning_rate=stage.get("learning_rate"),
            rows={domain: draw["rows"] for domain, draw in domains.items() if draw.get("rows")},
        )


def _scores(results: Results) -> Iterator[ScoreCard]:
    for point in results.points():
        for ability, score in point.scores.items():
            yield ScoreCard(
                stage=point.name,
                ability=ability,
                task=score.task,
                metric=score.metric,
                value=score.value if score.value == score.value else None,
                stderr=score.stderr,
                n=score.n,
            )


def yaml_text(cleaned: Cleaned) -> str:
    """Return the text of the YAML file, with a list of what users must provide at the top."""
    lines = ["# An axolotl-dmt recipe. Run it in this folder: axolotl train dmt.yaml"]
    if cleaned.needs:
        lines.append("# You must provide these, or change the paths below:")
        lines += [f"#   {path}: {description}" for path, description in cleaned.needs.items()]
    if cleaned.masked:
        lines.append(f"# Values that look like secrets were replaced by {MASK}; write your own:")
        lines += [f"#   {key}" for key in cleaned.masked]
    body = yaml.safe_dump(cleaned.config, sort_keys=False, allow_unicode=True, width=100)
    return "\n".join(lines) + "\n\n" + body


def card_text(card: Card, results: Results, cleaned: Cleaned, *, picture: bool) -> str:
    """Return the text of the README: front matter for the Hub, then the card for people.

    Args:
        card: the card as data.
        results: the run's results, for the tables of scores and stages.
        cleaned: the YAML that is shared.
        picture: whether the recipe contains the chart of the scores.
    """
    front: dict[str, Any] = {"tags": ["axolotl", "axolotl-dmt", "recipe"]}
    if card.licence:
        front["license"] = card.licence
    if not card.base_model.local:
        front["base_model"] = card.base_model.path
    if names := sorted({source.path for source in card.data if not source.local}):
        front["datasets"] = names
    front["axolotl_dmt_recipe"] = card.to_json()
    block = cleaned.config.get("dmt") or {}
    schedule = f"`strategy: {block['strategy']}`" if block.get("strategy") else "custom stages"
    # The message of a failed evaluation can contain paths of the machine.
    shown = replace(results, stages=tuple(replace(stage, error=None) for stage in results.stages))
    view = ReportView.of(shown)
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {card.name}",
        f"A fine-tuning recipe for [Axolotl](https://github.com/axolotl-ai-cloud/axolotl) with "
        f"axolotl-dmt: `{card.base_model.path}` trained with {schedule}.",
        f"{f'Author: {card.author}. ' if card.author else ''}"
        f"{f'Licence: {card.licence}.' if card.licence else 'No licence was specified.'}",
        "## Scores",
        scores_table(view),
    ]
    if picture:
        parts.append(f"![Ability by stage]({PICTURE})")
    parts += ["## Plan", plan_table(view), f"Plan fingerprint: `{card.plan_fingerprint}`"]
    parts += ["## Data", _data_table(card)]
    if cleaned.needs:
        needs = "\n".join(
            f"- `{path}`: {description}" for path, description in cleaned.needs.items()
        )
        parts += ["## What to provide", needs]
    parts += [
        "## Use it",
        "```\naxolotl dmt recipe use THIS_FOLDER --to my-run\ncd my-run\n"
        "axolotl dmt plan dmt.yaml\naxolotl train dmt.yaml\n```",
        _same_plan(card),
        "## Versions",
        "\n".join(f"- {package} {version}" for package, version in card.versions.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _same_plan(card: Card) -> str:
    if any(source.local for source in card.data):
        return (
            "The fingerprint includes the paths of local data, so yours will differ. "
            "`axolotl dmt plan` must show the rows and steps above."
        )
    return (
        f"With {card.global_batch} rows per step and these versions, `axolotl dmt plan` prints the "
        "fingerprint above."
    )


def _data_table(card: Card) -> str:
    lines = ["| domain | source | revision | rows |", "| :-- | :-- | :-- | --: |"]
    for source in card.data:
        where = "not part of the recipe" if source.local else source.path
        rows = "–" if source.rows is None else f"{source.rows:,}"
        revision = f"`{source.revision}`" if source.revision else "–"
        lines.append(f"| {source.domain} | {where} | {revision} | {rows} |")
    return "\n".join(lines)


def _json_text(card: Card) -> str:
    return json.dumps(card.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def check_card_text(value: str | None, option: str) -> None:
    """Raise DMTError unless a text for the card is one short line.

    Args:
        value: the text; None if the option was not used.
        option: the command-line option.

    Raises:
        DMTError: the text contains a line break or control character, or is too long.
    """
    if value is not None and (not value.isprintable() or len(value) > 200):
        problem = f"{value!r} is not a single line of at most 200 characters"
        raise DMTError(option, problem, "shorten it to one line")
