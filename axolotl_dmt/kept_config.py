"""What a run was started with, kept beside its results: its YAML, and where its data came from.

`OUTPUT_DIR/dmt/config.yaml` holds the configuration as the plugin first saw it, the options of the
command line included. A model's folder is often uploaded whole, so nothing that looks like a key is
written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from axolotl_dmt.config_secrets import without_secrets
from axolotl_dmt.errors import DMTError
from axolotl_dmt.inputs import Domain

CONFIG_FILE = "config.yaml"
SOURCES = "sources"
"""Where `results.json` says what the run read."""


def raw_config(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as the user gave it, to be kept.

    Args:
        cfg: as Axolotl read it, before it was checked.
    """
    raw: dict[str, Any] = without_secrets(cfg)
    raw.pop("axolotl_config_path", None)
    block = raw.get("dmt")
    # A configuration that was checked before (on a Ray worker) has its domains under dmt.
    domains = block.pop("dataset_domains", None) if isinstance(block, dict) else None
    if domains:
        pairs = zip(raw["datasets"], domains, strict=True)
        raw["datasets"] = [{**entry, "domain": domain} for entry, domain in pairs]
    return raw


def sources(raw: Mapping[str, Any], domains: Iterable[Domain]) -> dict[str, Any]:
    """Where the base model and each data set came from, seen from where the run was started.

    Args:
        raw: what `raw_config` gave.
        domains: the pools, for the number of rows of each data set.

    Returns:
        {"base_model": source, "datasets": [source with domain and rows, in the YAML's order]};
        `revision` is the commit that was read, where the hub's cache knows it.
    """
    rows = {domain.name: iter(domain.datasets) for domain in domains}
    found = []
    for entry in raw["datasets"]:
        source = _source(str(entry["path"]), entry.get("revision"), "datasets")
        _, count = next(rows[entry["domain"]])
        found.append({"domain": entry["domain"], **source, "rows": count})
    base = _source(str(raw.get("base_model")), raw.get("revision_of_model"), "models")
    return {"base_model": base, "datasets": found}


def _source(path: str, revision: Any, kind: str) -> dict[str, Any]:
    local = Path(path).expanduser().exists()
    commit = None if local else hub_commit(path, revision or "main", kind)
    return {"path": path, "local": local, "revision": commit or revision}


def hub_commit(name: str, revision: str, kind: str) -> str | None:
    """The commit that the hub's local cache holds for a name and revision, or None.

    Args:
        name: as the hub writes it, `user/repository`.
        revision: a branch, a tag or a commit.
        kind: "models" or "datasets".
    """
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / "--".join([kind, *name.split("/")])
    try:
        return (folder / "refs" / revision).read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None


def save_config(raw: Mapping[str, Any], folder: Path) -> None:
    """Write `config.yaml`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temp = folder / f".{CONFIG_FILE}.{os.getpid()}.tmp"
    text = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)
    temp.write_text(text, encoding="utf-8")
    os.replace(temp, folder / CONFIG_FILE)


def load_config(output_dir: Path) -> dict[str, Any]:
    """The YAML that the run in a folder was started with.

    Raises:
        DMTError: it was not kept.
    """
    path = output_dir / "dmt" / CONFIG_FILE
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise DMTError(
            "OUTPUT_DIR", f"no file {path}", "name the output_dir of a dmt run"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DMTError(str(path), f"cannot be read ({first})", "restore it from the run") from None
    if not isinstance(raw, dict):
        raise DMTError(str(path), "holds no keys", "restore it from the run")
    return raw
