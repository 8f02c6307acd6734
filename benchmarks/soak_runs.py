"""The runs of soak.py: the tiny model, its data and YAML, and starts that may be killed."""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

PHASES = START, TRAINING, CHECKPOINT, STAGE_END, STAGE_SAVE, SCORING, END = (
    "start",
    "training step",
    "checkpoint save",
    "stage end",
    "stage save",
    "scoring",
    "end of the run",
)
LORA = {
    "adapter": "lora",
    "lora_r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.1,
    "lora_target_modules": ["q_proj", "v_proj", "down_proj"],
}
PACKED = {
    "sample_packing": True,
    "sequence_len": 256,
    "micro_batch_size": 2,
    "attn_implementation": "sdpa",
}
CONFIGURATIONS: Mapping[str, Mapping[str, Any]] = {
    "full, AdamW": {"optimizer": "adamw_torch"},
    "full, packed, 8-bit AdamW": {"optimizer": "adamw_bnb_8bit", **PACKED},
    # bitsandbytes keeps the state of fewer than 4,096 values in 32 bits.
    "LoRA, 8-bit AdamW": {"optimizer": "adamw_bnb_8bit", **LORA, "lora_r": 32},
    "LoRA, packed, AdamW": {"optimizer": "adamw_torch", **LORA, **PACKED},
}
IMPORTED_ONCE = (
    "axolotl.cli.main",
    "axolotl.cli.train",
    "axolotl.core.builders",
    "axolotl.loaders",
    "axolotl.utils.trainer",
    "axolotl_dmt.plugin",
    "axolotl_dmt.training.prepare",
    "axolotl_dmt.report.write",
    "bitsandbytes",
    "lm_eval.models.huggingface",
    "lm_eval.tasks",
    "matplotlib.pyplot",
    "peft",
    "soak_phases",
    "transformers.models.llama.modeling_llama",
    "wandb",
)
ROWS = {"math": 40, "code": 40, "general": 40}
FIELDS = {
    "math": ("question", "answer"),
    "code": ("prompt", "completion"),
    "general": ("prompt", "response"),
}
STAGES = [
    {"name": "specialise", "mix": {"math": "all"}},
    {
        "name": "broaden",
        "mix": {"math": "1/4", "code": "all"},
        "reset_optimizer": True,
        "learning_rate": 5e-4,
    },
    {"name": "generalise", "mix": {"math": "1/4", "code": "1/4", "general": "1/2"}},
]
# An untrained model answers nothing right, so one task scores the probability of the answers, which
# every weight moves.
TASK = """\
task: soak_answers
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
process_results: !function soak_scores.log_probability
metric_list: [{{metric: log_probability, aggregation: mean, higher_is_better: true}}]
"""
SCORES = """\
def log_probability(doc, results):
    return {"log_probability": results[0][0]}
"""


class Moment(NamedTuple):
    """A phase that began at a step and lasted some seconds."""

    phase: str
    step: int
    seconds: float


@dataclass(frozen=True)
class Start:
    """What became of one start: its exit code, and its phases in the order of time."""

    code: int
    moments: list[Moment]


def make_data(folder: Path) -> None:
    from axolotl_dmt.toy.__main__ import write_jsonl
    from axolotl_dmt.toy.model import save_base
    from axolotl_dmt.toy.skills import make_rows

    texts: list[str] = []
    for skill, count in ROWS.items():
        train, test = make_rows(skill, train=count, test=4, seed=3)
        write_jsonl(folder / f"{skill}.jsonl", train)
        write_jsonl(folder / f"{skill}_test.jsonl", test)
        texts += [text for row in train for text in row.values()]
    save_base(folder / "base", texts)
    tasks = folder / "tasks"
    tasks.mkdir()
    (tasks / "soak_answers.yaml").write_text(TASK.format(data=folder / "math.jsonl"))
    (tasks / "soak_scores.py").write_text(SCORES)


def settings(data: Path, output: Path, configuration: str) -> dict[str, Any]:
    evaluate = {
        "tasks": ["dmt_math", "soak_answers"],
        "include_path": str(data / "tasks"),
        "data": {"math": str(data / "math_test.jsonl")},
        "prompt": "plain",
        "limit": 2,
        "max_new_tokens": 2,
        "before": True,
    }
    return {
        "base_model": str(data / "base"),
        "plugins": ["axolotl_dmt.DMTPlugin", "soak_phases.PhasesPlugin"],
        "datasets": [
            {
                "path": str(data / f"{domain}.jsonl"),
                "domain": domain,
                "type": {
                    "field_instruction": question,
                    "field_output": answer,
                    "format": "{instruction}",
                    "no_input_format": "{instruction}",
                },
            }
            for domain, (question, answer) in FIELDS.items()
        ],
        "dmt": {"stages": STAGES, "evaluate": evaluate},
        "dataset_prepared_path": str(output.parent.parent / "prepared"),
        "output_dir": str(output),
        "val_set_size": 6,
        "sequence_len": 128,
        "micro_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "num_epochs": 1,
        "learning_rate": 1e-3,
        "lr_scheduler": "cosine",
        "neftune_noise_alpha": 1.0,  # draws random numbers, so that a lost generator state shows
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 3,
        "save_total_limit": 2,
        "auto_resume_from_checkpoints": True,
        "bf16": False,
        "seed": 7,
        "dataset_num_proc": 1,
        **CONFIGURATIONS[configuration],
    }


def import_once() -> None:
    """Import what every start needs, so that its fork has it already."""
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    # The packer that numba compiles; its types are those of a training's call.
    from axolotl.utils.samplers.multipack import pack_parallel

    pack_parallel(np.ones(2, np.int32), 4, 2, 2, num_processes=1)
    gc.freeze()  # collections in a fork then leave these objects alone


def axolotl_train(config: Path, pipe: int) -> int:
    """Run `axolotl train CONFIG --launcher python` in this process and return its exit code."""
    from axolotl.cli.main import cli

    os.environ["SOAK_PIPE"] = str(pipe)
    sys.argv = ["axolotl", "train", str(config), "--launcher", "python"]
    try:
        cli()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def start(config: Path, log: Path, target: Moment | None = None, delay: float = 0.0) -> Start:
    """Start a training, and kill it some seconds after its target phase has begun."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.close(reads)
        in_fork(config, log, writes)
    os.close(writes)
    entered = [(START, 0, time.monotonic())]
    due = None
    while True:
        entered += reported(reads)
        if due is None and target is not None:
            begun = (at for phase, step, at in entered if is_due(phase, step, target))
            due = next((at + delay for at in begun), None)
        if due is not None and target is not None:
            time.sleep(max(due - time.monotonic(), 0))
            # As when a machine loses its power: all processes of the training at once.
            os.killpg(child, signal.SIGKILL)
            target = None
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        select.select([reads], [], [], 0.02 if target is None else 0.5)
    entered += reported(reads)  # written before the signal arrived
    os.close(reads)
    ends = [at for *_, at in entered[1:]] + [time.monotonic()]
    moments = [
        Moment(phase, step, end - at) for (phase, step, at), end in zip(entered, ends, strict=True)
    ]
    return Start(os.waitstatus_to_exitcode(status), moments)


def in_fork(config: Path, log: Path, pipe: int) -> NoReturn:
    """Train in a process group of its own, with all output in a file, and exit."""
    os.setpgid(0, 0)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.chdir(config.parent)
    code = 1
    try:
        code = axolotl_train(config, pipe)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def reported(pipe: int) -> list[tuple[str, int, float]]:
    """Return the phases, with step and time, that were reported since the last call."""
    entered = []
    while select.select([pipe], [], [], 0)[0] and (text := os.read(pipe, 1 << 16).decode()):
        for line in text.splitlines():  # a line is short enough to arrive in one piece
            step, phase = line.split(" ", 1)
            entered.append((phase, int(step), time.monotonic()))
    return entered


def is_due(phase: str, step: int, target: Moment) -> bool:
    return phase == target.phase and step >= target.step
