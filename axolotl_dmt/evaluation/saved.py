"""Scores the saved model of a stage, in this process or in a separate one.

The separate process is `python -m axolotl_dmt.evaluation.saved FOLDER CONFIG.json OUT.json`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.config.evaluate_args import SERVED
from axolotl_dmt.console import bars_where_wanted, silence_known_noise
from axolotl_dmt.evaluation.items import read_items
from axolotl_dmt.evaluation.scores import Evaluation, error_text
from axolotl_dmt.evaluation.tasks import Tasks
from axolotl_dmt.files import read_json
from axolotl_dmt.hooks.loading import load_hooks, loaded_hooks
from axolotl_dmt.results.items import Point, items_of, record_items
from axolotl_dmt.scoring.prompts import TrainedPrompts

LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")
"""Prefixes of launchers' variables: a process that inherits them waits for other ranks."""
CHAT = "chat/completions"
"""How the address of a server's chat interface ends."""
AT_ONCE = 8
"""The requests that a server is sent at the same time."""
ITEMS_SUFFIX = ".parquet"
"""How the file ends in which the separate process hands back the items."""


def score_saved_stage(folder: Path, config: EvaluateConfig) -> Evaluation:
    """Score the model in a folder, a full model or a PEFT adapter.

    It is asked in the formats that the folder's `dmt_prompts.json` holds, unless `config` names
    another prompt.

    Args:
        folder: a stage folder, or any folder that `from_pretrained` or PEFT loads.
        config: the `dmt.evaluate` block.

    Returns:
        The evaluation; if it fails, its `error` says why.

    Raises:
        DMTError: `config` has a mistake.
    """
    tasks = Tasks(config, TrainedPrompts.beside(folder))
    return score_loaded(tasks, lambda: _load(tasks, folder, config))


def score_loaded(tasks: Tasks, load: Callable[[], Any]) -> Evaluation:
    """Score the lm-eval model that a function loads.

    Args:
        tasks: the tasks.
        load: returns the model.

    Returns:
        The evaluation; if loading or scoring fails, its `error` says why.
    """
    config = tasks.config
    started = time.monotonic()
    try:
        model = load()
        output = tasks.evaluate(model)
    except Exception as error:
        return Evaluation(error=error_text(error), seconds=time.monotonic() - started)
    assert output is not None
    seconds = time.monotonic() - started
    items = read_items(output, model, config)
    evaluation = Evaluation.of(output, samples=config.samples, seconds=seconds, items=items)
    generation = getattr(model, "generation", None)  # a served model does not count its tokens
    return replace(evaluation, generation=generation.to_json()) if generation else evaluation


def _load(tasks: Tasks, folder: Path, config: EvaluateConfig) -> Any:
    """Return lm-eval's model of the one in a folder."""
    arguments = tasks.model_arguments() | _model_arguments(folder, config)
    silence_known_noise()
    if config.model == SERVED:
        return served_model(str(folder), arguments)
    if config.model == "hf":
        from axolotl_dmt.evaluation.adapter_model import AdapterModel
        from axolotl_dmt.evaluation.answering_model import AnsweringModel
        from axolotl_dmt.evaluation.batching import Batching

        model_type = AdapterModel if _has_modules(folder) else AnsweringModel
        with bars_where_wanted():
            return model_type(
                batching=Batching.of(config),
                batch_size=config.batch_size,
                device=_device(),
                **arguments,
            )
    from lm_eval.api.registry import get_model

    # As `simple_evaluate` does with the name of a model. vLLM forms batches itself; a number would
    # only limit it.
    with bars_where_wanted():
        return get_model(config.model).create_from_arg_obj(
            arguments, {"batch_size": "auto", "max_batch_size": None, "device": None}
        )


def served_model(name: str, arguments: Mapping[str, Any]) -> Any:
    """Return lm-eval's model of one that a server answers for.

    Args:
        name: what the server calls the model, unless `arguments` has a `model`.
        arguments: arguments of lm-eval's model, with the server's address as `base_url`.
    """
    from lm_eval.api.registry import get_model

    usual = {"model": name, "num_concurrent": AT_ONCE, "tokenizer_backend": None, **arguments}
    usual["base_url"] = chat_url(str(arguments["base_url"]))
    return get_model(SERVED).create_from_arg_obj(usual, {"batch_size": 1})


def chat_url(address: str) -> str:
    """Return where a server answers chats, from its address with or without that ending."""
    address = address.rstrip("/")
    return address if address.endswith(CHAT) else f"{address}/{CHAT}"


def _has_modules(folder: Path) -> bool:
    """Return whether a folder holds an adapter with whole modules, such as the embeddings."""
    return bool(_adapter(folder).get("modules_to_save"))


def _adapter(folder: Path) -> dict[str, Any]:
    """Return the configuration of the adapter in a folder; empty if it holds none."""
    file = folder / "adapter_config.json"
    return dict(read_json(file)) if file.is_file() else {}


def _model_arguments(folder: Path, config: EvaluateConfig) -> dict[str, Any]:
    """Return the arguments with which lm-eval's `hf` or `vllm` model loads the folder."""
    if config.model == SERVED:
        return dict(config.model_args or {})
    arguments: dict[str, Any] = {"pretrained": str(folder)}
    if adapter := _adapter(folder):
        arguments = {"pretrained": adapter["base_model_name_or_path"], "tokenizer": str(folder)}
        if config.model == "vllm":
            arguments |= {"lora_local_path": str(folder), "max_lora_rank": _vllm_rank(adapter["r"])}
        else:
            arguments["peft"] = str(folder)
    return arguments | (config.model_args or {})


def _vllm_rank(rank: int) -> int:
    """Return the `max_lora_rank` for vLLM: a power of two, and at least its default of 16."""
    return max(16, 1 << (rank - 1).bit_length())


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def score_in_subprocess(
    folder: Path, config: EvaluateConfig, *, own_session: bool = False
) -> Evaluation:
    """Score a saved stage in a separate process.

    The process holds no training state, so it can score models that the training shards with ZeRO-3
    or FSDP, and can use vLLM. It needs memory in addition to that of the training.

    Args:
        folder: as in `score_saved_stage`.
        config: the `dmt.evaluate` block.
        own_session: start the process in a session of its own, which no signal of the terminal
            reaches. It ends, with all that it started, when this process is gone.

    Returns:
        The evaluation; if it fails, its `error` says why.

    Raises:
        OSError: the process cannot be started.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="axolotl-dmt-") as scratch:
        config_file, out_file = Path(scratch) / "config.json", Path(scratch) / "scored.json"
        settings = {
            "evaluate": config.model_dump(exclude_none=True),
            "hooks": loaded_hooks(),
            "parent": os.getpid(),
        }
        config_file.write_text(json.dumps(settings), encoding="utf-8")
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith((*LAUNCHER_VARIABLES, "ACCELERATE_", "FSDP_"))
        }
        if config.devices is not None:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, config.devices))
        completed = subprocess.run(
            [sys.executable, "-m", __name__, str(folder), str(config_file), str(out_file)],
            env=environment,
            stdout=sys.stderr,
            start_new_session=own_session,
            check=False,
        )
        if completed.returncode == 0 and out_file.is_file():
            evaluation = Evaluation.from_json(read_json(out_file))
            return replace(evaluation, items=items_of(out_file.with_suffix(ITEMS_SUFFIX)))
    return Evaluation(
        error=f"the evaluation process ended with code {completed.returncode}",
        seconds=time.monotonic() - started,
    )


def main(folder: str, config_file: str, out_file: str) -> None:
    """Run the separate process: read the configuration, score the model, write the evaluation."""
    settings = read_json(config_file)
    _end_with(settings["parent"])
    load_hooks(settings["hooks"])
    config = EvaluateConfig.model_validate(settings["evaluate"])
    evaluation = score_saved_stage(Path(folder), config)
    record_items(Path(out_file).with_suffix(ITEMS_SUFFIX), Point.baseline(), evaluation.items)
    Path(out_file).write_text(json.dumps(evaluation.to_json()), encoding="utf-8")


def _end_with(parent: int) -> None:
    """End this process soon after its parent is gone, in a session of its own with all in it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        if os.getsid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="watch", daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
