"""`axolotl dmt check`: every mistake that can be seen in a YAML without a GPU, with its line."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from axolotl_dmt.console import quiet_axolotl
from axolotl_dmt.data_files import missing_files
from axolotl_dmt.errors import DMTError
from axolotl_dmt.raw_checks import check_output_dir, within
from axolotl_dmt.yaml_file import YamlFile

PLUGIN = "axolotl_dmt.DMTPlugin"


def check_file(path: str | Path, *, files: bool = True) -> list[str]:
    """Check a YAML as far as that goes without a model, data or the network.

    Args:
        path: of the YAML.
        files: whether to look for the model and the data files that it names.

    Returns:
        A line for each mistake, beginning with the file and the line, in the file's order.
    """
    try:
        file = YamlFile.read(path)
    except DMTError as error:
        return [str(error)]
    problems = [*file.doubles, *_listed(file.data), *_ours(file.data, files=files)]
    if files:
        problems += missing_files(file.data)  # also those that Axolotl has a cached copy of
    keys = [problem.key for problem in problems]
    with quiet_axolotl(silent=True):
        problems += [p for p in _axolotls(file.data) if not any(within(p.key, k) for k in keys)]
    problems.sort(key=lambda problem: file.line(problem.key) or 0)
    return list(dict.fromkeys(file.located(problem) for problem in problems))


def _listed(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    if "dmt" not in cfg:
        yield DMTError("dmt", "there is no block", "write dmt: {strategy: dmt}")
    plugins = cfg.get("plugins")
    if not isinstance(plugins, list) or PLUGIN not in plugins:
        problem = f"{PLUGIN} is missing, so Axolotl would ignore the dmt block"
        yield DMTError("plugins", problem, f"add plugins: [{PLUGIN}]")


def _ours(cfg: Mapping[str, Any], *, files: bool) -> list[DMTError]:
    from axolotl_dmt.run import Run

    raw = copy.deepcopy(dict(cfg))
    if "dmt" not in raw:
        return []
    _, problems = Run.checked(raw, files=files)
    try:
        check_output_dir(raw, keep=False)
    except DMTError as error:
        problems.append(error)
    return problems


def _axolotls(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Unknown keys, which Axolotl drops without a word, and what its own checks refuse."""
    from axolotl.utils.schemas.config import AxolotlInputConfig

    known = {"dmt", *AxolotlInputConfig.model_fields}
    for index, name in enumerate(cfg.get("plugins") or ()):
        if name != PLUGIN:
            try:
                known |= _keys_of_plugin(str(name))
            except Exception as error:
                problem = f"{name} cannot be loaded ({type(error).__name__}: {error})"
                yield DMTError(f"plugins[{index}]", problem, "install it, or take it out")
    for key in cfg:
        if str(key) not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            fix = f"did you mean {close[0]}?" if close else "Axolotl would ignore it; remove it"
            yield DMTError(str(key), "unknown key", fix)
    rest: dict[str, Any] = {key: copy.deepcopy(value) for key, value in cfg.items() if key != "dmt"}
    for entry in rest.get("datasets") or ():
        if isinstance(entry, dict):
            entry.pop("domain", None)
    try:
        AxolotlInputConfig(**rest)
    except ValidationError as error:
        yield from _explained(error, cfg)
    except Exception as error:  # Axolotl's checks trip over what is of another shape altogether
        yield DMTError("", f"Axolotl cannot read it ({type(error).__name__}: {error})", "")


def _keys_of_plugin(name: str) -> set[str]:
    from axolotl.integrations.base import load_plugin

    arguments = load_plugin(name).get_input_args()
    if arguments is None:
        return set()
    module, _, model = arguments.rpartition(".")
    fields: type[BaseModel] = getattr(__import__(module, fromlist=[model]), model)
    return set(fields.model_fields)


def _explained(error: ValidationError, cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """One mistake a key: pydantic tells one for each form that a value may take."""
    seen = set()
    for detail in error.errors(include_url=False):
        key, here = "", cfg
        for part in detail["loc"]:
            try:
                here = here[part]  # type: ignore[index]
            except (KeyError, IndexError, TypeError):
                continue  # the name of a form that was tried
            key += f"[{part}]" if isinstance(part, int) else f".{part}"
        key = key.lstrip(".")
        said = " ".join(detail["msg"].removeprefix("Value error, ").split())
        if key not in seen or not key:
            seen.add(key)
            shown = "" if isinstance(here, Mapping) else f"{here!r} is not accepted: "
            yield DMTError(key or "Axolotl", f"{shown}{said[:1].lower()}{said[1:]}", "")
