"""`axolotl dmt init`: ask what to train, and write a commented YAML to start from."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from axolotl_dmt.checks.yaml_check import check_file
from axolotl_dmt.cli.init_formats import template_lines, type_lines
from axolotl_dmt.cli.init_model import BaseModel, sequence_length
from axolotl_dmt.config.args import DEFAULT_K, read_config
from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError
from axolotl_dmt.hooks.calls import registered_strategies

SCORED = ("math", "code", "general")
"""The domains for which dmt_suite has a task."""
SHORT_CONTEXT = 2048
"""The context in tokens below which the tasks' own limits for answers are too long."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The user's answers: what to train, on which data and hardware.

    Attributes:
        base_model: a model folder, or a name on the Hub.
        data: each dataset as (domain, file or name on the Hub).
        gpu_memory: the memory of one GPU in GB; 0 to train on the CPU.
        strategy: the value of `dmt.strategy`.
        k: the value of `dmt.k`, the fraction of specialised data that stage 2 replays.
        general: the domain of general data. None stands for the domain `general` if there is one,
            else for the last domain.
        prompt: the chat template of all datasets; None for the model's own or, without one, Vicuna.
        output_dir: the run's output folder.
    """

    base_model: str
    data: Sequence[tuple[str, str]]
    gpu_memory: float
    strategy: str = "dmt"
    k: str = str(DEFAULT_K)
    general: str | None = None
    prompt: str | None = None
    output_dir: str = "outputs/dmt"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A training method that fits a model of a given size into a given amount of memory.

    Attributes:
        adapter: `full` for full fine-tuning, `lora` or `qlora`.
        micro_batch: rows per micro batch.
        learning_rate: a customary peak learning rate for this kind of training.
    """

    adapter: str
    micro_batch: int
    learning_rate: str


def init_yaml(
    path: Path,
    *,
    base_model: str | None,
    data: Sequence[str],
    gpu_memory: float | None,
    **settings: Any,
) -> None:
    """Ask the questions that no option answers, write the YAML, check it, and say what is next.

    Args:
        path: the file to write.
        base_model: a model folder or a name on the Hub; None to ask.
        data: each dataset as `DOMAIN=FILE`; empty to ask.
        gpu_memory: the memory of one GPU in GB; None to ask.
        **settings: the other attributes of `Answers`.

    Raises:
        DMTError: the file exists, an answer is invalid, standard input ends before all questions
            are answered, or what was written does not pass the check.
    """
    if path.exists():
        raise DMTError(str(path), "exists already", "name another file")
    datasets = [_domain_and_file(entry) for entry in data]
    try:
        base_model = base_model or click.prompt("Base model (a folder, or a name on the Hub)")
        datasets = datasets or _ask_for_datasets()
        if gpu_memory is None:
            question = "Memory of one GPU in GB (0 to train on the CPU)"
            gpu_memory = click.prompt(question, type=float, default=24)
    except click.Abort:
        if sys.stdin.isatty():  # the user pressed Ctrl-C
            raise
        echo(err=True)
        fix = "pass --base-model, --data and --gpu-memory"
        problem = "standard input ended before all questions were answered"
        raise DMTError("init", problem, fix) from None
    answers = Answers(base_model=base_model, data=datasets, gpu_memory=gpu_memory or 0, **settings)
    write_yaml(path, answers)
    if mistakes := check_file(path).mistakes:
        for mistake in mistakes:
            echo(mistake, err=True)
        raise DMTError(str(path), "is written, but has mistakes", "correct them and check it again")
    check = f"axolotl dmt check {shlex.quote(str(path))} --prompts"
    echo(f"wrote {path}, without mistakes; next: {check}")


def _domain_and_file(entry: str) -> tuple[str, str]:
    domain, _, file = entry.partition("=")
    if not (domain and file):
        raise DMTError("--data", f"{entry!r} has no domain", "write math=math.jsonl")
    return domain, file


def _ask_for_datasets() -> list[tuple[str, str]]:
    datasets = []
    question = "Data file, or a dataset on the Hub (leave empty to finish)"
    while file := click.prompt(question, default=""):
        datasets.append((click.prompt("  its domain", default="general"), file))
    return datasets


def write_yaml(path: Path, answers: Answers) -> None:
    """Write the YAML to a new file.

    Raises:
        DMTError: the file exists or cannot be written, or an answer is invalid.
    """
    text = starting_yaml(answers)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:  # never overwrite a file
            file.write(text)
    except FileExistsError:
        raise DMTError(str(path), "exists already", "name another file") from None
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise DMTError(str(path), problem, "name another file") from None


def billions(base_model: str) -> float:
    """Read the number of parameters, in billions, from a name such as `Llama-3.1-8B`.

    Returns 7 if the name holds none.
    """
    sizes = re.findall(r"(?<![\d.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", base_model.lower())
    if not sizes:
        return 7.0
    number, unit = sizes[-1]
    return float(number) / (1000 if unit == "m" else 1)


def fit(size: float, gpu_memory: float) -> Fit:
    """Choose full fine-tuning, LoRA or QLoRA by the memory of one GPU.

    These are rules of thumb. Full fine-tuning needs 16 bytes per parameter (bf16 weights and
    gradients, the AdamW state and 32-bit copies), LoRA 2 bytes per frozen parameter, QLoRA about
    0.7; activations need more on top.

    Args:
        size: parameters in billions.
        gpu_memory: the memory in GB; 0 for a CPU.
    """
    if not gpu_memory or gpu_memory >= 16 * size + 6:
        return Fit(adapter="full", micro_batch=2, learning_rate="2.0e-5")
    if gpu_memory >= 2.2 * size + 5:
        return Fit(adapter="lora", micro_batch=1, learning_rate="2.0e-4")
    return Fit(adapter="qlora", micro_batch=1, learning_rate="2.0e-4")


def starting_yaml(answers: Answers) -> str:
    """Return the text of the YAML.

    Raises:
        DMTError: there is no data, or k, the strategy or the general domain is invalid.
    """
    domains = list(dict.fromkeys(domain for domain, _ in answers.data))
    if not domains:
        raise DMTError("--data", "is missing", "write --data math=math.jsonl for each dataset")
    model = BaseModel.read(answers.base_model)
    size = model.billions() or billions(answers.base_model)
    length = sequence_length(model, [path for _, path in answers.data])
    method = fit(size, answers.gpu_memory)
    return "\n".join(
        [
            "# Check first:  axolotl dmt check THIS_FILE; axolotl dmt plan THIS_FILE",
            "# Then train:   axolotl train THIS_FILE",
            "",
            f"base_model: {_text(answers.base_model)}",
            "plugins:",
            "  - axolotl_dmt.DMTPlugin",
            "",
            "datasets:                        # as in Axolotl, plus one key: domain",
            *(line for domain, path in answers.data for line in _dataset(domain, path)),
            *template_lines(model, answers.prompt),
            "",
            *_block(answers, domains, model),
            "",
            f"output_dir: {_text(answers.output_dir)}",
            "dataset_prepared_path: last_run_prepared  # one tokenised copy serves every schedule",
            f"sequence_len: {length.tokens:<19}# {length.reason}",
            "# sample_packing: true           # much faster; needs flash attention",
            "",
            *_memory(method, size, answers.gpu_memory, model),
            "",
            "num_epochs: 3                    # epochs of each stage over its mix",
            f"learning_rate: {method.learning_rate}            # the peak in each stage",
            "lr_scheduler: cosine             # every stage has its own warm-up and decay",
            "warmup_ratio: 0.03",
            "optimizer: adamw_torch",
            "logging_steps: 10",
            'save_strategy: "no"              # the stages are saved anyway',
            "seed: 42",
            "",
        ]
    )


def _block(answers: Answers, domains: Sequence[str], model: BaseModel) -> list[str]:
    """Return the lines of the `dmt:` block, checked as a run checks it."""
    general = answers.general or ("general" if "general" in domains else domains[-1])
    if general not in domains:
        fix = f"domains: {', '.join(domains)}"
        raise DMTError("--general", f"no --data has the domain {general!r}", fix)
    strategies = registered_strategies()
    if answers.strategy not in strategies:
        fix = f"choose one of: {', '.join(strategies)}"
        raise DMTError("--strategy", f"{answers.strategy!r} is unknown", fix)
    block: dict[str, Any] = {"strategy": answers.strategy, "k": answers.k, "general": general}
    if len(domains) == 1:
        block = {"strategy": "single", "domain": domains[0]}
    read_config(block)
    comments = {
        "strategy": "`axolotl dmt strategies` lists the others",
        "k": "the fraction of each specialised domain that stage 2 replays",
        "general": "trained last; all other domains are specialised",
        "domain": "add a second domain to train in stages",
    }
    lines = ["dmt:"]
    for key, value in block.items():
        lines.append(f"{f'  {key}: {_text(value)}':<32} # {comments[key]}")
    tasks = [f"dmt_{domain}" for domain in domains if domain in SCORED]
    mark = "" if tasks else "# "
    return [
        *lines,
        f"  {mark}evaluate:",
        f"  {mark}  tasks: [{', '.join(tasks or ['dmt_suite'])}]"
        "   # scored after each stage; any lm-eval task works",
        f"  {mark}  limit: 200                   # items per task; remove it for the final scores",
        *_answer_length(model, mark),
    ]


def _answer_length(model: BaseModel, mark: str) -> list[str]:
    """Return a shorter limit for answers than the tasks', if the model's context needs one."""
    if model.context is None or model.context >= SHORT_CONTEXT:
        return []
    tokens = model.context // 2
    return [
        f"  {mark}  max_new_tokens: {tokens:<12} # the model's context is {model.context} tokens"
    ]


def _dataset(domain: str, path: str) -> list[str]:
    lines = [f"  - path: {_text(path)}"]
    if Path(path).suffix in (".json", ".jsonl") or Path(path).is_file():
        kind = Path(path).suffix[1:]
        lines.append(f"    ds_type: {kind if kind in ('parquet', 'csv') else 'json'}")
    return [*lines, *type_lines(path), f"    domain: {_text(domain)}"]


def _memory(method: Fit, size: float, gpu_memory: float, model: BaseModel) -> list[str]:
    if not gpu_memory:
        return ["bf16: false                      # for the CPU", *_batches(method)]
    precision = "bf16: auto"
    if model.dtype == "float32":
        precision = "bf16: false                      # the model's weights are float32"
    note = f"# {size:g}B parameters in {gpu_memory:g} GB: "
    if method.adapter == "full":
        saving = (precision, "gradient_checkpointing: true")
        return [f"{note}full fine-tuning fits", *saving, *_batches(method)]
    quantised = ["load_in_4bit: true"] if method.adapter == "qlora" else []
    return [
        f"{note}{method.adapter}; full fine-tuning would need about {16 * size + 6:.0f} GB",
        f"adapter: {method.adapter}",
        *quantised,
        "lora_r: 32",
        "lora_alpha: 64",
        "lora_target_linear: true",
        precision,
        "gradient_checkpointing: true",
        *_batches(method),
    ]


def _batches(method: Fit) -> list[str]:
    accumulation = 32 // method.micro_batch
    return [
        f"micro_batch_size: {method.micro_batch}",
        f"gradient_accumulation_steps: {accumulation:<5}# 32 rows per step on one GPU",
    ]


def _text(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return text.strip().removesuffix("...").strip()
