"""Making a recipe of a run's folder: its YAML cleaned for strangers, and its card."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from axolotl_dmt.errors import DMTError
from axolotl_dmt.kept_config import SOURCES, load_config, without_secrets
from axolotl_dmt.raw_checks import NO_MODEL
from axolotl_dmt.recipe_safety import outside
from axolotl_dmt.recipes import (
    CARD_FILE,
    JSON_FILE,
    PICTURE,
    YAML_FILE,
    Card,
    ScoreCard,
    Source,
    StageCard,
)
from axolotl_dmt.report_markdown import plan_table, scores_table
from axolotl_dmt.report_view import ReportView
from axolotl_dmt.results import Results
from axolotl_dmt.run_folder import load_results

PERSONAL = re.compile(
    r"(use_)?(wandb|comet|mlflow|trackio|swanlab|gradio|otel|hub|hf|ray)(_.*)?"
    r"|push_dataset_to_hub|resume_from_checkpoint|axolotl_config_path|local_rank|world_size|device"
    # what the command line of Axolotl adds
    r"|debug|debug_text_only|debug_num_examples|shard"
)
"""Keys of the person and the machine that ran it; they say nothing of the run."""

_TEXTS = re.compile(
    r"(system_prompt|system_format|format|no_input_format|field_\w+|prompt|default_system_message|"
    r"lora_target_modules|\w*tokens)$"
)
_MACHINE_PATH = re.compile(r"(/|~|\.\.|\\\\|[A-Za-z]:[\\/]|file:)")


@dataclass
class Cleaned:
    """A YAML fit for strangers.

    Attributes:
        config: what is left.
        needs: {placeholder: what belongs there}.
        dropped: keys that were left out.
    """

    config: dict[str, Any]
    needs: dict[str, str]
    dropped: list[str]


def export(
    output_dir: Path,
    *,
    name: str | None = None,
    author: str | None = None,
    licence: str | None = None,
) -> tuple[dict[str, bytes], Cleaned]:
    """The files of a run's recipe.

    Args:
        output_dir: of the run.
        name: of the recipe; else the folder's.
        author: written to the card as it is.
        licence: as the hub names it, `apache-2.0`.

    Returns:
        {file name: bytes}, and what was done to the YAML.

    Raises:
        DMTError: the folder holds no run, or one of a version that kept no YAML.
    """
    results = load_results(output_dir)
    name = name or re.sub(r"[^\w-]+", "-", output_dir.resolve().name).strip("-") or "recipe"
    cleaned = clean(load_config(output_dir), results.extra.get(SOURCES) or {}, name)
    card = make_card(results, cleaned, name=name, author=author, licence=licence)
    picture = output_dir / "dmt" / PICTURE
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
    """Take secrets, names of accounts and paths of the machine out of a YAML.

    What is local gets a placeholder: the recipe's user has no such file.

    Args:
        raw: the run's own YAML.
        sources: what `kept_config.sources` gave when the run started.
        name: of the recipe; it names the output folder.
    """
    config = {key: value for key, value in without_secrets(raw).items() if value is not None}
    done = Cleaned(config=config, needs={}, dropped=[])
    for key in [key for key in raw if PERSONAL.fullmatch(key) or key not in config]:
        if config.pop(key, raw[key]) not in (None, False, 0):
            done.dropped.append(key)
    _base_model(done, sources.get("base_model") or {})
    _datasets(done, sources.get("datasets") or [])
    _evaluate(done)
    config["output_dir"] = f"outputs/{name}"
    if "dataset_prepared_path" in config:
        config["dataset_prepared_path"] = "last_run_prepared"
    done.config = _without_machine_paths(done, config, "")
    return done


def _base_model(done: Cleaned, source: Mapping[str, Any]) -> None:
    name = str(done.config.get("base_model"))
    if source.get("local", outside(name) is not None):
        done.config["base_model"] = NO_MODEL
        done.needs[NO_MODEL] = "the base model: a folder, or a name on the hub"
    elif source.get("revision"):
        done.config["revision_of_model"] = source["revision"]


def _datasets(done: Cleaned, sources: list[Mapping[str, Any]]) -> None:
    entries = done.config.get("datasets") or []
    for index, entry in enumerate(entries):
        source = sources[index] if index < len(sources) else {}
        if source.get("local", outside(entry.get("path")) is not None):
            suffix = Path(str(entry["path"])).suffix
            place = _place(done, f"your-data/{_plain(entry['domain'])}", suffix or ".jsonl")
            rows = f", {source['rows']:,} rows" if source.get("rows") is not None else ""
            done.needs[place] = f"data of the domain {entry['domain']}{rows}"
            entry["path"] = place
            entry.pop("data_files", None)
        elif source.get("revision"):
            entry["revision"] = source["revision"]
    for index, entry in enumerate(done.config.get("test_datasets") or []):
        if Path(str(entry.get("path"))).suffix or outside(entry.get("path")):
            place = _place(done, f"your-data/test-{index + 1}", Path(str(entry["path"])).suffix)
            entry["path"] = place
            done.needs[place] = "test data, for a loss"


def _evaluate(done: Cleaned) -> None:
    block = (done.config.get("dmt") or {}).get("evaluate") or {}
    for ability, path in (block.get("data") or {}).items():
        place = _place(done, f"your-data/{_plain(ability)}_test", Path(str(path)).suffix)
        done.needs[place] = f"test items of the ability {ability}"
        block["data"][ability] = place
    # the server, and the leave to go without a sandbox, are of the machine
    if (block.get("judge") or {}).pop("base_url", None):
        done.dropped.append("dmt.evaluate.judge.base_url")
    if block.pop("allow_unsafe_code", None):
        done.dropped.append("dmt.evaluate.allow_unsafe_code")


def _place(done: Cleaned, stem: str, suffix: str) -> str:
    count = 1
    while (place := f"{stem}{'' if count == 1 else f'-{count}'}{suffix}") in done.needs:
        count += 1
    return place


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", str(name)).strip("-") or "data"


def _without_machine_paths(done: Cleaned, value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        items = {k: _without_machine_paths(done, v, f"{key}.{k}") for k, v in value.items()}
        return {_without_home(k): v for k, v in items.items()}
    if isinstance(value, list):
        return [_without_machine_paths(done, item, key) for item in value]
    if not isinstance(value, str):
        return value
    if not _TEXTS.search(key) and _MACHINE_PATH.match(value) and "\n" not in value:
        last = re.split(r"[\\/]", value.rstrip("\\/"))[-1]
        place = _place(done, f"your-files/{_plain(Path(last).stem)}", Path(last).suffix)
        done.needs[place] = f"what {key.lstrip('.')} names"
        return place
    return _without_home(value)


def _without_home(text: Any) -> Any:
    home = str(Path.home())
    if not isinstance(text, str) or len(home) < 4:
        return text
    return text.replace(home, "your-home")


def make_card(
    results: Results, cleaned: Cleaned, *, name: str, author: str | None, licence: str | None
) -> Card:
    """The card of a run."""
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
    for point in results.scored():
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
    """The YAML file, with what its user must bring at its head."""
    lines = ["# A recipe of axolotl-dmt: axolotl train dmt.yaml, in the folder of this file."]
    if cleaned.needs:
        lines.append("# Not part of it; put yours there, or change the paths below:")
        lines += [f"#   {place}: {what}" for place, what in cleaned.needs.items()]
    body = yaml.safe_dump(cleaned.config, sort_keys=False, allow_unicode=True, width=100)
    return "\n".join(lines) + "\n\n" + body


def card_text(card: Card, results: Results, cleaned: Cleaned, *, picture: bool) -> str:
    """The README: front matter that the hub reads, then the card for people."""
    front: dict[str, Any] = {"tags": ["axolotl", "axolotl-dmt", "recipe"]}
    if card.licence:
        front["license"] = card.licence
    if not card.base_model.local:
        front["base_model"] = card.base_model.path
    if names := sorted({source.path for source in card.data if not source.local}):
        front["datasets"] = names
    front["axolotl_dmt_recipe"] = card.to_json()
    block = cleaned.config.get("dmt") or {}
    schedule = f"`strategy: {block['strategy']}`" if block.get("strategy") else "its own stages"
    # why an evaluation failed may name files of the machine it failed on
    shown = replace(results, stages=tuple(replace(stage, error=None) for stage in results.stages))
    view = ReportView.of(shown)
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {card.name}",
        f"A fine-tuning recipe for [Axolotl](https://github.com/axolotl-ai-cloud/axolotl) with "
        f"axolotl-dmt: `{card.base_model.path}` through {schedule}.",
        f"{f'Author: {card.author}. ' if card.author else ''}"
        f"{f'Licence: {card.licence}.' if card.licence else 'No licence is given.'}",
        "## Scores",
        scores_table(view),
    ]
    if picture:
        parts.append(f"![Ability by stage]({PICTURE})")
    parts += ["## Plan", plan_table(view), f"Plan fingerprint: `{card.plan_fingerprint}`"]
    parts += ["## Data", _data_table(card)]
    if cleaned.needs:
        needs = "\n".join(f"- `{place}`: {what}" for place, what in cleaned.needs.items())
        parts += ["## What to bring", needs]
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
            "The paths of local data count in the fingerprint, so yours will be another; the rows "
            "and steps above are what `axolotl dmt plan` must show."
        )
    return (
        f"With {card.global_batch} rows a step and these versions, `axolotl dmt plan` prints the "
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


def check_author(value: str | None, option: str) -> None:
    """Refuse a name that would break out of the card's line.

    Raises:
        DMTError: naming the option.
    """
    if value is not None and (not value.isprintable() or len(value) > 200):
        raise DMTError(option, f"{value!r} is no name", "write it in one line")
