"""Makes a recipe from a run's folder: the YAML without private settings, and the card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from axolotl_dmt.config.reading import NO_MODEL
from axolotl_dmt.errors import DMTError
from axolotl_dmt.recipes.clean import Cleaned, clean, plain_name
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
from axolotl_dmt.report.markdown import plan_table, scores_table
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results.config_file import load_config
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.results.results import SOURCES, Results
from axolotl_dmt.results.secrets import MASK


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
    name = name or plain_name(output_dir.resolve().name, "recipe")
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
    shown = replace(
        results,
        stages=tuple(replace(stage, error=None) for stage in results.stages),
        baseline=results.baseline and replace(results.baseline, error=None),
    )
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
