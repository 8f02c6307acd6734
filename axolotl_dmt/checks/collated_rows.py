"""Checks of a YAML whose rows are tokenised in the collator, batch by batch, during training.

These are Axolotl's multimodal datasets: `skip_prepare_dataset: true` with a `processor_type`. A
plan knows only the number of their rows, so everything that needs tokens or labels is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from axolotl_dmt.checks.data_files import columns_of, keys_of
from axolotl_dmt.checks.data_paths import entries
from axolotl_dmt.config.resolve import stage_key
from axolotl_dmt.config.run_keys import flag, tokenised_in_collator
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.inputs import Stage
from axolotl_dmt.plan.ranking import BY_LOSS

REASON = "with skip_prepare_dataset the rows are tokenised only during training"
IN_TOKENS = ("tokens", "token_share")
DEFAULT_COLUMNS = ("messages", "conversations")
MESSAGE_KEYS = (("role", "content"), ("from", "value"))
"""The keys of a message that the collator reads, in either form."""


def message_columns(cfg: Mapping[str, Any]) -> list[str]:
    """Return the columns in which the collator looks for a row's messages, the first one first."""
    named = [entry.get("field_messages") for _, entry in entries(cfg)]
    return list(dict.fromkeys([*(str(name) for name in named if name), *DEFAULT_COLUMNS]))


def uncollatable(cfg: Mapping[str, Any], stages: Sequence[Stage]) -> Iterator[DMTError]:
    """Yield the mistakes of a YAML that leaves tokenising to the collator.

    Args:
        cfg: the raw configuration; nothing is yielded without `skip_prepare_dataset`.
        stages: the resolved stages.
    """
    if not flag(cfg.get("skip_prepare_dataset")):
        return
    if not tokenised_in_collator(cfg):
        yield from _without_processor(cfg)
        return
    for key in ("sample_packing", "eval_sample_packing"):
        if flag(cfg.get(key)):
            problem = f"needs the lengths of the rows, and {REASON}"
            yield DMTError(key, problem, f"write {key}: false")
    if flag(cfg.get("remove_unused_columns")):
        problem = "would remove the messages and images, which the collator has yet to read"
        yield DMTError("remove_unused_columns", problem, "write remove_unused_columns: false")
    problems = {error.key: error for stage in stages for error in _of_stage(cfg, stage)}
    yield from problems.values()
    yield from _entries(cfg)


def need_tokens(cfg: Mapping[str, Any], command: str) -> None:
    """Check that the rows of a YAML are tokenised before training.

    Args:
        cfg: the raw configuration.
        command: what needs the tokens, for the error message.

    Raises:
        DMTError: the collator tokenises them.
    """
    if tokenised_in_collator(cfg):
        problem = f"{command} needs the tokens of the rows, and {REASON}"
        raise DMTError("skip_prepare_dataset", problem, "use it with text only")


def _without_processor(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield the datasets that nothing would tokenise."""
    for key, entry in entries(cfg):
        columns = columns_of(entry)
        if columns and "input_ids" not in columns and not isinstance(entry.get("type"), Mapping):
            yield not_tokenised(key, str(entry.get("path")))


def not_tokenised(key: str, path: str) -> DMTError:
    """Return the mistake of a dataset that neither the preparation nor the collator tokenises.

    Args:
        key: the entry's key, such as `datasets[2]`.
        path: its path.
    """
    problem = f"the rows of {path} are not tokenised, and skip_prepare_dataset leaves them so"
    return DMTError(key, problem, "remove skip_prepare_dataset, or set processor_type for images")


def _of_stage(cfg: Mapping[str, Any], stage: Stage) -> Iterator[DMTError]:
    """Yield what a stage asks for and only tokens could tell."""
    block = cfg.get("dmt") or {}
    for domain, amount in stage.mix.items():
        if amount.value and amount.unit in IN_TOKENS:
            key = f"{stage_key(block, stage.name, 'mix', 'dmt')}.{domain}"
            problem = f"{amount.unit} needs the lengths of the rows, and {REASON}"
            yield DMTError(key, problem, "write a fraction, rows or a share")
    if stage.order == "length_grouped":
        default = "dmt.order" if block.get("order") else "group_by_length"
        problem = f"needs the lengths of the rows, and {REASON}"
        key = stage_key(block, stage.name, "order", default)
        yield DMTError(key, problem, "remove it, or write another order in dmt.order")
    for domain in (name for name, amount in stage.mix.items() if amount.value):
        method = stage.method(domain)
        if method in ("longest", "shortest"):
            key = stage_key(block, stage.name, "select", "dmt.select")
            problem = f"{method} needs the lengths of the rows, and {REASON}"
            yield DMTError(key, problem, "write random, first or score:<column>")
        elif method == BY_LOSS:
            key = stage_key(block, stage.name, "select", "dmt.replay.select")
            problem = f"{method} needs the tokens and labels of the rows, and {REASON}"
            yield DMTError(key, problem, "write random, first or score:<column>")


def _entries(cfg: Mapping[str, Any]) -> Iterator[DMTError]:
    """Yield what the collator, which is the same for all datasets, cannot do for one of them."""
    names = message_columns(cfg)
    listed = list(entries(cfg))
    for key, entry in listed:
        if isinstance(entry.get("type"), Mapping):
            problem = "describes rows that are tokenised before training, not in the collator"
            yield DMTError(f"{key}.type", problem, "write type: chat_template")
        for setting in ("roles_to_train", "train_on_eos"):
            if entry.get(setting) != listed[0][1].get(setting) and key.startswith("datasets"):
                problem = f"differs from datasets[0].{setting}, which the collator uses for all"
                yield DMTError(f"{key}.{setting}", problem, "write the same for every dataset")
        columns = columns_of(entry)
        if columns is None:
            continue
        column = next((name for name in names if name in columns), None)
        if error := unreadable_columns(key, str(entry.get("path")), columns, names):
            yield error
        elif (keys := keys_of(entry, str(column))) and not any(
            set(pair) <= set(keys) for pair in MESSAGE_KEYS
        ):
            problem = f"the messages in {entry['path']} have no role and content"
            yield DMTError(key, problem, f"rename their keys, which are {', '.join(keys)}")


def unreadable_columns(
    key: str, path: str, columns: Sequence[str], names: Sequence[str]
) -> DMTError | None:
    """Return the mistake of a dataset whose columns the collator cannot read; None if it can.

    Args:
        key: the entry's key, such as `datasets[2]`.
        path: its path.
        columns: its columns.
        names: the columns in which the collator looks for messages.
    """
    if "input_ids" in columns:
        problem = f"the rows of {path} are tokenised, but the collator of processor_type reads text"
        return DMTError(key, problem, "name a file with messages")
    if not any(name in columns for name in names):
        problem = f"{path} has no column {' or '.join(names)}, from which the collator reads"
        fix = f"name it in field_messages; the columns are {', '.join(columns)}"
        return DMTError(key, problem, fix)
    return None
