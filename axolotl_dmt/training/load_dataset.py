"""Prepares one dataset with Axolotl, and reports in one line why that failed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from axolotl.utils.data import prepare_datasets
from axolotl.utils.dict import DictDefault
from datasets import Dataset

from axolotl_dmt.checks.collated_rows import not_tokenised
from axolotl_dmt.config.run_keys import tokenised_in_collator
from axolotl_dmt.errors import DMTError
from axolotl_dmt.training.load_errors import Loader, cause_of
from axolotl_dmt.training.prepared_data import current_rows
from axolotl_dmt.training.raw_row_check import check_rows as check_raw_rows
from axolotl_dmt.training.row_columns import check_lengths
from axolotl_dmt.training.tokenised_rows import is_tokenised


def load_dataset(
    cfg: DictDefault, key: str, tokenizer: Any, processor: Any, *, first_test: int = 0
) -> tuple[Dataset, Dataset | None]:
    """Return the rows of a configuration's only dataset, and those of its test datasets.

    Args:
        cfg: Axolotl's validated configuration, with one entry under `datasets`.
        key: the key of this entry in the YAML, such as `datasets[2]`.
        tokenizer: the tokenizer of the base model.
        processor: its processor, or None.
        first_test: the position in the YAML of the configuration's first test dataset.

    Raises:
        DMTError: the dataset or a test dataset cannot be read or tokenised, or has no rows.
    """
    try:
        with _current_rows(cfg, tokenizer):
            rows, tests, _, _ = prepare_datasets(cfg, tokenizer, processor=processor)
    except DMTError:
        raise
    except Exception as error:  # of the reader of a file, a prompt strategy or a chat template
        if cfg.test_datasets:
            load_dataset(_with_tests(cfg, None), key, tokenizer, processor)
            raise _test_error(cfg, error, tokenizer, processor, first_test) from error
        loader = Loader(cfg=cfg, tokenizer=tokenizer, processor=processor)
        raise loader.explain(cfg.datasets[0], key, error) from error
    _check_rows(rows, cfg, cfg.datasets[0], key, tokenizer, processor)
    if tests is not None and cfg.test_datasets:
        one = len(cfg.test_datasets) == 1
        test_key = f"test_datasets[{first_test}]" if one else "test_datasets"
        _check_rows(tests, _for_tests(cfg), cfg.test_datasets[0], test_key, tokenizer, processor)
    return rows, tests


def config_of_one_dataset(cfg: DictDefault, entry: DictDefault) -> DictDefault:
    """Return the configuration with this dataset alone, its rows in the order of the source."""
    single = DictDefault({**cfg, "datasets": [entry]})
    # The plan orders, splits and repeats rows; the cache must hold them in the source's order.
    single.shuffle_merged_datasets = False
    single.shuffle_before_merging_datasets = False
    single.val_set_size = 0
    if single.group_by_length:
        single.group_by_length = None
    single.test_datasets = None
    # Axolotl's count of steps is not used and would read every label; these three values prevent
    # that.
    single.total_num_tokens = single.total_supervised_tokens = 1
    single.sample_packing_eff_est = 1.0
    return single


def _current_rows(cfg: DictDefault, tokenizer: Any) -> AbstractContextManager[None]:
    """Return the context in which prepared rows fit their sources."""
    if cfg.skip_prepare_dataset:  # no rows are prepared, and none are saved
        return nullcontext()
    return current_rows(cfg, tokenizer.name_or_path)


def _for_tests(cfg: DictDefault) -> DictDefault:
    return DictDefault({**cfg, "sequence_len": cfg.eval_sequence_len or cfg.sequence_len})


def _check_rows(
    rows: Dataset, cfg: DictDefault, entry: DictDefault, key: str, tokenizer: Any, processor: Any
) -> None:
    if len(rows) == 0:
        raise _no_rows(cfg, entry, key)
    if tokenised_in_collator(cfg):
        check_raw_rows(rows, key, cfg, tokenizer, processor)
        return
    if cfg.skip_prepare_dataset and not is_tokenised(rows):
        raise not_tokenised(key, entry.path)
    check_lengths(rows, key, entry.path)


def _no_rows(cfg: DictDefault, entry: DictDefault, key: str) -> DMTError:
    if cfg.skip_prepare_dataset:
        return DMTError(key, f"{entry.path} has no rows", "add rows, or remove the entry")
    problem = f"{entry.path} has no rows of at most sequence_len {cfg.sequence_len} tokens"
    return DMTError(key, problem, "check the file, its type and sequence_len")


def _test_error(
    cfg: DictDefault, error: Exception, tokenizer: Any, processor: Any, first_test: int
) -> DMTError:
    """Return the mistake of the first test dataset that fails by itself, or of all together."""
    for index, entry in enumerate(cfg.test_datasets):
        single = _with_tests(cfg, [entry])
        try:
            prepare_datasets(single, tokenizer, processor=processor)
        except Exception as failure:
            loader = Loader(cfg=single, tokenizer=tokenizer, processor=processor, split="test")
            return loader.explain(entry, f"test_datasets[{first_test + index}]", failure)
    return DMTError("test_datasets", f"could not be prepared ({cause_of(error)})", "")


def _with_tests(cfg: DictDefault, tests: list[DictDefault] | None) -> DictDefault:
    return DictDefault({**cfg, "test_datasets": tests})
