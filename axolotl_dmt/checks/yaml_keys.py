"""Checks of the keys of a YAML: those that Axolotl does not know, and those written twice.

Axolotl ignores a key that it does not know, and Python's YAML readers take the last of two equal
keys, so `axolotl train` would train something else in silence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import AliasChoices, BaseModel

from axolotl_dmt.checks.axolotl_schema import axolotl_schema
from axolotl_dmt.checks.data_paths import entries
from axolotl_dmt.checks.plugins import PLUGIN, loaded_plugin, plugin_names
from axolotl_dmt.checks.trainer_source import trainer_arguments
from axolotl_dmt.config.plain_values import misread_keys
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.errors import DMTError, closest

MISSPELT: Final = 0.8
"""The similarity (0 to 1) from which an unknown key counts as a misspelling of a known one."""


def check_keys(
    cfg: Mapping[str, Any], written: Collection[Any] | None = None
) -> tuple[list[DMTError], list[DMTError]]:
    """Check the spelling of the keys at the top of a YAML.

    Args:
        cfg: the raw configuration, whose plugins may add keys.
        written: the keys to check; by default those of `cfg`.

    Returns:
        A mistake for each key that resembles a known one or is no text, and a remark for each other
        unknown key: Axolotl ignores it, and another version may know it.
    """
    written = cfg if written is None else written
    names = [name for name in written if isinstance(name, str)]
    known_keys = _known_keys(cfg)
    unknown = [name for name in names if name not in known_keys]
    mistakes, remarks = list(misread_keys(dict.fromkeys(written))), []
    for name, close in _closest(unknown, known_keys).items():
        if close:
            mistakes.append(DMTError(name, "unknown key", f"did you mean {close}?"))
        else:
            problem = "Axolotl does not know this key and ignores it"
            remarks.append(DMTError(name, problem, ""))
    return [*mistakes, *_misspelt_in_entries(cfg)], remarks


def check_written_keys(cfg: Mapping[str, Any]) -> tuple[list[DMTError], list[str]]:
    """Check the keys of the YAML file that a configuration was read from, or else those it has.

    The command line may add keys that are not meant for the YAML.

    Args:
        cfg: the raw configuration, in which Axolotl notes the path of the file.

    Returns:
        The mistakes, and a line for each remark, with the place in the file.
    """
    path = cfg.get("axolotl_config_path")
    file = None
    if path and Path(str(path)).is_file():
        with contextlib.suppress(DMTError):
            file = YamlFile.read(str(path))
    mistakes, remarks = check_keys(cfg, file.data if file else None)
    if file is None:
        return mistakes, [str(remark) for remark in remarks]
    return [*file.duplicate_keys, *mistakes], [file.located(remark) for remark in remarks]


def _misspelt_in_entries(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield a mistake for each key of a dataset's entry that resembles a known one."""
    known_keys = keys_of_entries()
    for key, entry in entries(cfg):
        unknown = [name for name in entry if isinstance(name, str) and name not in known_keys]
        for name in unknown:
            close = closest(name, known_keys, cutoff=MISSPELT)
            if close and close not in (*entry, "domain"):  # a missing domain is reported
                yield DMTError(f"{key}.{name}", "unknown key", f"did you mean {close}?")
        if isinstance(entry.get("type"), Mapping):
            yield from _misspelt_in_type(f"{key}.type", entry["type"])


def _misspelt_in_type(key: str, prompt: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield a mistake for each key of a custom prompt that resembles a known one."""
    known_keys = set(names_of_fields(axolotl_schema("datasets").UserDefinedPrompterType))
    for name in prompt:
        if isinstance(name, str) and name not in known_keys:
            close = closest(name, known_keys, cutoff=MISSPELT)
            if close and close not in prompt:
                yield DMTError(f"{key}.{name}", "unknown key", f"did you mean {close}?")


def keys_of_entries() -> set[str]:
    """Return the keys that Axolotl knows in an entry of `datasets`, whatever its kind, and ours."""
    datasets = axolotl_schema("datasets")
    models = [kind for kind in vars(datasets).values() if isinstance(kind, type)]
    return {"domain", "weight"}.union(
        *(names_of_fields(kind) for kind in models if issubclass(kind, BaseModel))
    )


def _known_keys(cfg: Mapping[str, Any]) -> set[str]:
    """Return the keys of Axolotl and of the plugins that can be loaded."""
    keys = {"dmt", *names_of_fields(axolotl_schema("config").AxolotlInputConfig)}
    for name in plugin_names(cfg):
        if name != PLUGIN:
            with contextlib.suppress(Exception):  # `check_plugins` reports it
                keys |= _keys_of_plugin(name)
    return keys


def _closest(unknown: Collection[str], known_keys: Collection[str]) -> dict[str, str | None]:
    """Return the unknown keys, each with the known key that it is probably a misspelling of.

    The names of the trainer's own arguments, such as `report_to`, are not misspelt.
    """
    matches = {key: closest(key, known_keys, cutoff=MISSPELT) for key in unknown}
    arguments = trainer_arguments() if any(matches.values()) else set()
    return {key: None if key in arguments else close for key, close in matches.items()}


def names_of_fields(model: type[BaseModel]) -> Iterator[str]:
    """Yield every key that sets a field of a model: the fields' own names and their aliases."""
    for name, field in model.model_fields.items():
        yield name
        for alias in (field.alias, field.validation_alias):
            for choice in alias.choices if isinstance(alias, AliasChoices) else (alias,):
                if choice is not None:
                    yield choice if isinstance(choice, str) else str(choice.path[0])


def _keys_of_plugin(name: str) -> set[str]:
    """Return the keys that another plugin adds to the YAML."""
    arguments = loaded_plugin(name).get_input_args()
    if arguments is None:
        return set()
    module, _, model = arguments.rpartition(".")
    arguments_model: type[BaseModel] = getattr(__import__(module, fromlist=[model]), model)
    return set(names_of_fields(arguments_model))
