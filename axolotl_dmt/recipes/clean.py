"""Removes secrets, account names and machine paths from a run's YAML, so that it can be shared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axolotl_dmt.config.reading import NO_MODEL
from axolotl_dmt.recipes.data_suffix import data_suffix
from axolotl_dmt.recipes.safety import outside
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
    for key in [key for key in raw if _stays_behind(str(key)) or key not in config]:
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


def _stays_behind(key: str) -> bool:
    """Return whether a key is about an account or a machine, or only holds an anchor.

    Axolotl's keys are names of Python, so it ignores a key such as `x-alpaca`.
    """
    return bool(PERSONAL.fullmatch(key)) or not key.isidentifier()


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
                f"your-data/{plain_name(entry['domain'])}",
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
        stem = f"your-data/{plain_name(ability)}_test"
        description = f"test items of the ability {ability}"
        block["data"][ability] = cleaned.placeholder(stem, Path(str(path)).suffix, description)
    # The judge's server, and permission to run code without a sandbox, belong to the machine.
    if (block.get("judge") or {}).pop("base_url", None):
        cleaned.dropped.append("dmt.evaluate.judge.base_url")
    if block.pop("allow_unsafe_code", None):
        cleaned.dropped.append("dmt.evaluate.allow_unsafe_code")


def plain_name(name: str, default: str = "data") -> str:
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
        stem, description = f"your-files/{plain_name(file.stem)}", f"the file for {key.lstrip('.')}"
        return cleaned.placeholder(stem, file.suffix, description)
    return _without_home(value)


def _without_home(text: Any) -> Any:
    home = str(Path.home())
    if not isinstance(text, str) or len(home) < 4:
        return text
    return text.replace(home, "your-home")
