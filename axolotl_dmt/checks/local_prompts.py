"""Shows the prompts of a YAML where its tokenizer and its data are on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from axolotl_dmt.checks.evaluation_files import check_lengths, length_warnings
from axolotl_dmt.checks.local_model import model_file
from axolotl_dmt.checks.prompts import check_asked, prompt_lines, prompt_warnings, read_prompts
from axolotl_dmt.config.reading import Reading
from axolotl_dmt.console import quiet_axolotl

TOKENIZER_FILE = "tokenizer_config.json"


def local_prompts(raw: Mapping[str, Any], reading: Reading) -> Iterator[str]:
    """Yield the lines that show the prompts of a YAML, and its warnings about them.

    There are none if the tokenizer is not on this machine. No model is loaded and nothing is
    downloaded.

    Args:
        raw: the content of a YAML without mistakes.
        reading: the schedule that was read from it.

    Raises:
        DMTError: a task cannot be asked, or its answers do not fit into the model's context.
    """
    folder = tokenizer_folder(raw)
    if folder is None:
        return
    evaluate = reading.config.evaluate if reading.config and reading.config.evaluates else None
    with quiet_axolotl(silent=True), tempfile.TemporaryDirectory() as scratch:
        cfg = _configuration(raw, folder, scratch)
        tokenizer = _tokenizer(cfg)
        if tokenizer is None:
            return
        run = read_prompts(cfg, reading.dataset_domains, tokenizer, evaluate)
    if evaluate is not None:
        check_asked(evaluate, run.prompts)
        context = check_lengths(raw, evaluate, run.prompts, tokenizer)
        yield from (f"warning: {line}" for line in length_warnings(context))
    yield from prompt_lines(run, evaluate)
    yield from (f"warning: {line}" for line in dict.fromkeys(prompt_warnings(run, evaluate)))


def tokenizer_folder(raw: Mapping[str, Any]) -> Path | None:
    """Return the local folder of a YAML's tokenizer, in the Hub's cache too; None without one."""
    file = model_file(raw.get("tokenizer_config") or raw.get("base_model"), TOKENIZER_FILE)
    return None if file is None else file.parent


def _configuration(raw: Mapping[str, Any], folder: Path, scratch: str) -> Any:
    """Return the raw configuration with what Axolotl's loader of tokenizers needs."""
    from axolotl.utils.dict import DictDefault

    cfg = DictDefault({key: value for key, value in raw.items() if key != "dmt"})
    cfg.tokenizer_config, cfg.output_dir = str(folder), scratch
    cfg.sequence_len = cfg.sequence_len or 512
    return cfg


def _tokenizer(cfg: Any) -> Any:
    from axolotl.loaders import load_tokenizer

    try:
        return load_tokenizer(cfg)
    except (OSError, ValueError, KeyError, ImportError, AttributeError):
        return None  # the training reports what is wrong with it
