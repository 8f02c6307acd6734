"""Scores a saved stage: in this process, or in one of its own that holds nothing of the training.

`python -m axolotl_dmt.saved_stage FOLDER CONFIG.json OUT.json` is the process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from axolotl_dmt.args import EvaluateConfig
from axolotl_dmt.hook_loading import load_hooks, loaded_hooks
from axolotl_dmt.scored import Evaluation, described
from axolotl_dmt.tasks import Tasks

LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")
"""Beginnings of what launchers set, which would make the new process look for its peers."""


def score_saved_stage(folder: Path, config: EvaluateConfig) -> Evaluation:
    """Score the model in a folder, a whole one or a PEFT adapter.

    Args:
        folder: a stage folder, or any folder that `from_pretrained` or PEFT loads.
        config: how to score.

    Returns:
        The scores; a failure is in it as `error`.

    Raises:
        DMTError: a mistake in `config`.
    """
    tasks = Tasks(config)
    started = time.monotonic()
    try:
        output = tasks.evaluate(
            config.model,
            model_args=_model_arguments(folder, config),
            # vLLM makes its own batches; a number here would only hold it back
            batch_size="auto" if config.model == "vllm" else config.batch_size,
            device=_device() if config.model == "hf" else None,
        )
    except Exception as error:
        return Evaluation(error=described(error), seconds=time.monotonic() - started)
    assert output is not None
    return Evaluation.of(output, samples=config.samples, seconds=time.monotonic() - started)


def _model_arguments(folder: Path, config: EvaluateConfig) -> dict[str, Any]:
    """What lm-eval's `hf` or `vllm` model takes to load a stage, whole or as an adapter."""
    arguments: dict[str, Any] = {"pretrained": str(folder)}
    file = folder / "adapter_config.json"
    if file.is_file():
        adapter = json.loads(file.read_text(encoding="utf-8"))
        arguments = {"pretrained": adapter["base_model_name_or_path"], "tokenizer": str(folder)}
        if config.model == "vllm":
            arguments |= {"lora_local_path": str(folder), "max_lora_rank": _vllm_rank(adapter["r"])}
        else:
            arguments["peft"] = str(folder)
    return arguments | (config.model_args or {})


def _vllm_rank(rank: int) -> int:
    """The rank to reserve in vLLM, which takes powers of two and by itself no more than 16."""
    return max(16, 1 << (rank - 1).bit_length())


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def score_in_subprocess(folder: Path, config: EvaluateConfig) -> Evaluation:
    """Score a saved stage in a process of its own.

    Training state stays out of it, so that weights sharded by ZeRO-3 or FSDP, or vLLM, can be
    scored; the new process needs memory of its own beside the training.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="axolotl-dmt-") as scratch:
        config_file, out_file = Path(scratch) / "config.json", Path(scratch) / "scored.json"
        told = {"evaluate": config.model_dump(exclude_none=True), "hooks": loaded_hooks()}
        config_file.write_text(json.dumps(told), encoding="utf-8")
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith((*LAUNCHER_VARIABLES, "ACCELERATE_", "FSDP_"))
        }
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(folder), str(config_file), str(out_file)],
            env=environment,
            stdout=sys.stderr,
            check=False,
        )
        if done.returncode == 0 and out_file.is_file():
            return Evaluation.from_json(json.loads(out_file.read_text(encoding="utf-8")))
    return Evaluation(
        error=f"the evaluation process ended with code {done.returncode}",
        seconds=time.monotonic() - started,
    )


def main(folder: str, config_file: str, out_file: str) -> None:
    """The process of its own: read the configuration, score, write the scores."""
    told = json.loads(Path(config_file).read_text(encoding="utf-8"))
    load_hooks(told["hooks"])
    config = EvaluateConfig.model_validate(told["evaluate"])
    scored = score_saved_stage(Path(folder), config)
    Path(out_file).write_text(json.dumps(scored.to_json()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
