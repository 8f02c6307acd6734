"""`axolotl dmt init`: a commented YAML to start from."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from axolotl_dmt.args import DEFAULT_K, read_config
from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks import known_strategies

SCORED = ("math", "code", "general")
"""Domains that dmt_suite has a task for."""

_FIELDS = (
    ("question", "answer"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "response"),
    ("input", "output"),
)
"""Columns of a question and its answer, where they are not Alpaca's."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The answers to init's questions.

    Attributes:
        base_model: a folder, or a name of the hub.
        data: (domain, file or name of the hub) of each dataset.
        gpu_memory: of one GPU in GB; 0 for a CPU.
        strategy: what `dmt.strategy` is to say.
        k: replay.
        general: the domain of general data, or None for the one called so, else the last.
        output_dir: of the run.
    """

    base_model: str
    data: Sequence[tuple[str, str]]
    gpu_memory: float
    strategy: str = "dmt"
    k: str = str(DEFAULT_K)
    general: str | None = None
    output_dir: str = "outputs/dmt"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a model of some size is trained in some memory.

    Attributes:
        adapter: full, lora or qlora.
        micro_batch: rows of a micro batch.
        learning_rate: as usual for it.
    """

    adapter: str
    micro_batch: int
    learning_rate: str


def write_yaml(path: Path, wanted: Wanted) -> None:
    """Write the YAML.

    Raises:
        DMTError: the file exists, or an answer cannot hold.
    """
    text = starting_yaml(wanted)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:  # never over an older one
            file.write(text)
    except FileExistsError:
        raise DMTError(str(path), "exists already", "name another file") from None
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise DMTError(str(path), problem, "name another file") from None


def billions(base_model: str) -> float:
    """Parameters in billions, as far as the name tells (`Llama-3.1-8B`); 7 where it does not."""
    found = re.findall(r"(?<![\d.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", base_model.lower())
    if not found:
        return 7.0
    number, unit = found[-1]
    return float(number) / (1000 if unit == "m" else 1)


def fit(size: float, gpu_memory: float) -> Fit:
    """What fits into the memory of one GPU; rules of thumb.

    Full fine-tuning holds 16 bytes a parameter (bf16 weights and gradients, AdamW's state and
    32-bit copies), LoRA 2 bytes of frozen weights, QLoRA about 0.7; activations come on top.

    Args:
        size: parameters in billions.
        gpu_memory: in GB; 0 for a CPU.
    """
    if not gpu_memory or gpu_memory >= 16 * size + 6:
        return Fit(adapter="full", micro_batch=2, learning_rate="2.0e-5")
    if gpu_memory >= 2.2 * size + 5:
        return Fit(adapter="lora", micro_batch=1, learning_rate="2.0e-4")
    return Fit(adapter="qlora", micro_batch=1, learning_rate="2.0e-4")


def starting_yaml(wanted: Wanted) -> str:
    """The YAML as text.

    Raises:
        DMTError: no data, or a k, a strategy or a general domain that cannot hold.
    """
    domains = list(dict.fromkeys(domain for domain, _ in wanted.data))
    if not domains:
        raise DMTError("--data", "is missing", "write --data math=math.jsonl for each dataset")
    size = billions(wanted.base_model)
    how = fit(size, wanted.gpu_memory)
    return "\n".join(
        [
            "# Look first:  axolotl dmt check THIS_FILE; axolotl dmt plan THIS_FILE",
            "# then train:  axolotl train THIS_FILE",
            "",
            f"base_model: {_text(wanted.base_model)}",
            "plugins:",
            "  - axolotl_dmt.DMTPlugin",
            "",
            "datasets:                        # Axolotl's own entries, and one key more: domain",
            *(line for domain, path in wanted.data for line in _dataset(domain, path)),
            "",
            *_block(wanted, domains),
            "",
            f"output_dir: {_text(wanted.output_dir)}",
            "dataset_prepared_path: last_run_prepared  # tokenised once, whatever the schedule",
            "sequence_len: 2048",
            "# sample_packing: true           # much faster; needs flash attention",
            "",
            *_memory(how, size, wanted.gpu_memory),
            "",
            "num_epochs: 3                    # passes of each stage over its mix",
            f"learning_rate: {how.learning_rate}            # peak of each stage",
            "lr_scheduler: cosine             # each stage warms up and decays on its own",
            "warmup_ratio: 0.03",
            "optimizer: adamw_torch",
            "logging_steps: 10",
            'save_strategy: "no"              # the stages are saved all the same',
            "seed: 42",
            "",
        ]
    )


def _block(wanted: Wanted, domains: Sequence[str]) -> list[str]:
    """The `dmt:` block, checked as a run would check it."""
    general = wanted.general or ("general" if "general" in domains else domains[-1])
    if general not in domains:
        known = f"domains: {', '.join(domains)}"
        raise DMTError("--general", f"no --data has the domain {general!r}", known)
    if wanted.strategy not in (known_ones := known_strategies()):
        fix = f"known: {', '.join(known_ones)}"
        raise DMTError("--strategy", f"{wanted.strategy!r} is unknown", fix)
    block: dict[str, Any] = {"strategy": wanted.strategy, "k": wanted.k, "general": general}
    if len(domains) == 1:
        block = {"strategy": "single", "domain": domains[0]}
    read_config(block)
    words = {
        "strategy": "`axolotl dmt strategies` lists the others",
        "k": "replay in stage 2: this part of each specialised domain",
        "general": "learned last; all other domains are specialised",
        "domain": "a second domain makes stages of it",
    }
    lines = ["dmt:"]
    for key, value in block.items():
        lines.append(f"{f'  {key}: {_text(value)}':<32} # {words[key]}")
    tasks = [f"dmt_{domain}" for domain in domains if domain in SCORED]
    mark = "" if tasks else "# "
    return [
        *lines,
        f"  {mark}evaluate:",
        f"  {mark}  tasks: [{', '.join(tasks or ['dmt_suite'])}]"
        "   # scored after each stage; any task of lm-eval",
        f"  {mark}  limit: 200                   # items a task; remove it for the real numbers",
    ]


def _dataset(domain: str, path: str) -> list[str]:
    kind, why = _kind(path)
    lines = [f"  - path: {_text(path)}"]
    if Path(path).suffix in (".json", ".jsonl") or Path(path).is_file():
        lines.append(f"    ds_type: {'parquet' if path.endswith('.parquet') else 'json'}")
    return [
        *lines,
        f"    type: {_text(kind)}" + (f"  # {why}" if why else ""),
        f"    domain: {_text(domain)}",
    ]


def _kind(path: str) -> tuple[Any, str]:
    """Axolotl's `type` for a file, from the names of its columns, and a remark."""
    columns = _columns(Path(path))
    if "messages" in columns:
        return "chat_template", ""
    if {"instruction", "output"} <= columns:
        return "alpaca", ""
    for question, answer in _FIELDS:
        if {question, answer} <= columns:
            form = dict.fromkeys(("format", "no_input_format"), "{instruction}\n")
            return {"field_instruction": question, "field_output": answer, **form}, ""
    return "alpaca", "a guess: name the type that fits your columns"


def _columns(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return set(parquet.read_schema(path).names)
        with path.open(encoding="utf-8") as file:
            start = file.read(1 << 20)
        # A list of rows, or a row a line: either way the first row starts at the first brace.
        row, _ = json.JSONDecoder().raw_decode(start[start.index("{") :])
        return set(row)
    except (OSError, ValueError):
        return set()


def _memory(how: Fit, size: float, gpu_memory: float) -> list[str]:
    if not gpu_memory:
        return ["bf16: false                      # a CPU", *_batches(how)]
    note = f"# {size:g}B parameters in {gpu_memory:g} GB: "
    if how.adapter == "full":
        saving = ("bf16: auto", "gradient_checkpointing: true")
        return [f"{note}full fine-tuning fits", *saving, *_batches(how)]
    low = ["load_in_4bit: true"] if how.adapter == "qlora" else []
    return [
        f"{note}{how.adapter}; full fine-tuning would need about {16 * size + 6:.0f} GB",
        f"adapter: {how.adapter}",
        *low,
        "lora_r: 32",
        "lora_alpha: 64",
        "lora_target_linear: true",
        "bf16: auto",
        "gradient_checkpointing: true",
        *_batches(how),
    ]


def _batches(how: Fit) -> list[str]:
    accumulation = 32 // how.micro_batch
    return [
        f"micro_batch_size: {how.micro_batch}",
        f"gradient_accumulation_steps: {accumulation:<5}# 32 rows a step on one GPU",
    ]


def _text(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return text.strip().removesuffix("...").strip()
