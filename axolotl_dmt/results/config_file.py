"""The copy of a run's YAML beside its results, and the record of where its data came from.

`OUTPUT_DIR/dmt/config.yaml` holds the configuration as the plugin first received it, with the
options of the command line. Whole model folders are often uploaded, so values that look like a
password, a token or a key are masked, and URLs lose their query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from axolotl_dmt.errors import DMTError, first_line
from axolotl_dmt.files import LARGEST_YAML, read_text, readable_text, write_text
from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.secrets import masked
from axolotl_dmt.yaml_data import parse_yaml

PART_KEYS = ("name", "data_files", "split")
"""The keys of an entry that choose a part of what is at its path."""
_COMMAND_LINE: Final[Mapping[str, Any]] = {
    "debug": False,
    "debug_text_only": False,
    "debug_num_examples": 0,
    "prompter": None,
    "shard": False,
}
"""Options of `axolotl train` with their defaults, which Axolotl adds to the configuration."""


def raw_config(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration as the user wrote it, without secrets.

    Args:
        cfg: the configuration as Axolotl read it, before validation.
    """
    raw: dict[str, Any] = masked(cfg)
    raw.pop("axolotl_config_path", None)
    for name, default in _COMMAND_LINE.items():
        if name in raw and raw[name] == default:
            del raw[name]
    block = raw.get("dmt")
    # A configuration that was validated before (on a Ray worker) has its domains under dmt.
    domains = block.pop("dataset_domains", None) if isinstance(block, dict) else None
    if domains:
        pairs = zip(raw["datasets"], domains, strict=True)
        raw["datasets"] = [{**entry, "domain": domain} for entry, domain in pairs]
    return raw


def sources(raw: Mapping[str, Any], domains: Iterable[Domain]) -> dict[str, Any]:
    """Return where the base model and each dataset came from.

    Local paths are looked up from the current folder, which must be the one the run starts in.

    Args:
        raw: what `raw_config` returned.
        domains: the pools, for the number of rows of each dataset.

    Returns:
        {"base_model": source, "datasets": [source with domain and rows, in the YAML's order]};
        a source is {"path", "local", "revision"}, with `name`, `data_files` and `split` where the
        entry sets them, and `revision` is the commit that was read, where the hub's cache holds it.
    """
    rows = {domain.name: iter(domain.datasets) for domain in domains}
    datasets = []
    for entry in raw["datasets"]:
        source = _source(str(entry["path"]), entry.get("revision"), "datasets")
        _, count = next(rows[entry["domain"]])
        part = {key: entry[key] for key in PART_KEYS if entry.get(key) is not None}
        datasets.append({"domain": entry["domain"], **source, **part, "rows": count})
    revision = raw.get("revision_of_model") or raw.get("model_revision")  # names of one key
    base = _source(str(raw.get("base_model")), revision, "models")
    return {"base_model": base, "datasets": datasets}


def _source(path: str, revision: Any, kind: str) -> dict[str, Any]:
    local = Path(path).expanduser().exists()
    commit = None if local else hub_commit(path, revision or "main", kind)
    return {"path": path, "local": local, "revision": commit or revision}


def hub_commit(name: str, revision: str, kind: str) -> str | None:
    """Return the commit that the hub's local cache holds for a name and revision, or None.

    Args:
        name: the hub's name for it, `user/repository`.
        revision: a branch, a tag or a commit.
        kind: "models" or "datasets".
    """
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / "--".join([kind, *name.split("/")])
    return readable_text(folder / "refs" / revision).strip() or None


def save_config(raw: Mapping[str, Any], output_dir: Path) -> None:
    """Write `config.yaml`, completely or not at all.

    Args:
        raw: what `raw_config` returned.
        output_dir: the `output_dir` of the run.
    """
    path = RunFolder(output_dir).config
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, yaml.safe_dump(raw, sort_keys=False, allow_unicode=True))


def load_config(output_dir: Path) -> dict[str, Any]:
    """Read the YAML that a run was started with.

    Args:
        output_dir: the `output_dir` of the run.

    Raises:
        DMTError: the folder holds no such file, or it cannot be read.
    """
    path = RunFolder(output_dir).config
    try:
        raw = parse_yaml(read_text(path, most_bytes=LARGEST_YAML))
    except OSError:
        raise DMTError(
            "OUTPUT_DIR", f"no file {path}", "name the output_dir of a dmt run"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        problem = f"cannot be read ({first_line(error)})"
        raise DMTError(str(path), problem, "restore it from the run") from None
    if not isinstance(raw, dict):
        raise DMTError(str(path), "holds no keys", "restore it from the run")
    return raw
