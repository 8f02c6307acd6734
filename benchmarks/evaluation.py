"""Measure how fast the answers of the suite's tasks are generated, in three ways side by side.

`ours` is continuous batching; `static` is what `dmt.evaluate` does with `batching: static`;
`lm-eval` is lm-eval's own `hf` model with its largest automatic batch. Each measurement is a
process of its own and is kept in a file, so that the benchmark can be interrupted and continued.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATA = {
    "math": "gsm8k_test.jsonl",
    "code": "humaneval.jsonl",
    "general": "ifeval_input_data.jsonl",
}
WAYS = ("ours", "static", "lm-eval")
STATIC_BATCH = 8
AUTOMATIC_BATCH = 64
"""What `batch_size: auto` of lm-eval tries first. Its search, which runs batches of the model's
full length, is not counted."""


def main() -> None:
    options = parsed()
    if options.measure:
        print(json.dumps(measured(options)))
        return
    kept = [json.loads(line) for line in lines(options.results)]
    deadline = time.monotonic() + 60 * options.minutes
    for wanted in measurements(options):
        if any(wanted.items() <= one.items() for one in kept):
            continue
        if time.monotonic() > deadline:
            print(f"more is to be measured: repeat the command, which continues {options.results}")
            break
        kept.append(wanted | in_a_process(options, wanted))
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(kept[-1]) + "\n")
    print("\n".join(table([one for one in kept if one["items"] == options.items])))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of a chat model")
    parser.add_argument("--data", required=True, type=Path, help=f"folder with {DATA}")
    parser.add_argument("--items", type=int, default=64, help="items of each task")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tasks", default=",".join(DATA))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--max-new-tokens", type=int, help="default: each task's own limit")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, default=Path("evaluation.jsonl"))
    parser.add_argument("--minutes", type=float, default=600, help="start nothing after this long")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def measurements(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what to measure: all ways in turn, then the next task, then the next round."""
    for number in range(1, options.rounds + 1):
        for task in options.tasks.split(","):
            for way in options.ways.split(","):
                yield {
                    "round": number,
                    "task": task,
                    "way": way,
                    "items": options.items,
                    "limit": options.max_new_tokens,
                    "dtype": options.dtype,
                    "threads": options.threads,
                }


def in_a_process(options: argparse.Namespace, wanted: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:]]
    command += ["--measure", wanted["way"], "--tasks", wanted["task"]]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print({**wanted, "seconds": result["seconds"], "tokens": result["tokens"]}, flush=True)
    return result


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Generate the answers of one task in one way, in this process."""
    import torch
    from lm_eval.models.huggingface import HFLM

    from axolotl_dmt.config.args import EvaluateConfig
    from axolotl_dmt.evaluation.answering_model import AnsweringModel
    from axolotl_dmt.evaluation.batching import Batching
    from axolotl_dmt.evaluation.tasks import Tasks

    torch.set_num_threads(options.threads)
    task = options.tasks
    tasks = Tasks(
        EvaluateConfig(
            tasks=[f"dmt_{task}"],
            data={task: str(options.data / DATA[task])},
            limit=options.items,
            prompt="plain",
            apply_chat_template=True,
            max_new_tokens=options.max_new_tokens,
            allow_unsafe_code=True,
        )
    )
    arguments = {
        "pretrained": options.model,
        "dtype": options.dtype,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        **tasks.model_arguments(),
    }
    model: Any
    if options.measure == "ours":
        model = AnsweringModel(batching=Batching(), batch_size=STATIC_BATCH, **arguments)
    else:
        batch = STATIC_BATCH if options.measure == "static" else AUTOMATIC_BATCH
        model = HFLM(batch_size=batch, **arguments)
    times: dict[str, Any] = {}
    original = model.generate_until

    def timed(requests: Any, *args: Any, **kwargs: Any) -> Any:
        started, cpu = time.monotonic(), time.process_time()
        answers = original(requests, *args, **kwargs)
        tokens = [len(model.tokenizer.encode(a, add_special_tokens=False)) for a in answers]
        times.update(
            seconds=round(time.monotonic() - started, 2),
            cpu_seconds=round(time.process_time() - cpu, 2),
            tokens=sum(tokens),
            longest=max(tokens),
            answers=answers,
        )
        return answers

    model.generate_until = timed
    output = tasks.evaluate(model)
    assert output is not None
    scores = output["results"][f"dmt_{task}"]
    return times | {"score": scores["dmt_score,none"]}


def table(kept: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the table: medians over the rounds, and how many answers are the same as ours."""
    yield "| task | way | rounds | s | CPU s | tokens/s | ours is | answers as ours |"
    yield "|---|---|---|---|---|---|---|---|"
    for task in dict.fromkeys(one["task"] for one in kept):
        own = [one for one in kept if one["task"] == task and one["way"] == "ours"]
        for way in dict.fromkeys(one["way"] for one in kept):
            rounds = [one for one in kept if one["task"] == task and one["way"] == way]
            if not rounds or not own:
                continue
            seconds, cpu, ours = (
                statistics.median(one[key] for one in group)
                for group, key in ((rounds, "seconds"), (rounds, "cpu_seconds"), (own, "seconds"))
            )
            pairs = list(zip(rounds[0]["answers"], own[0]["answers"], strict=True))
            same = sum(a == b for a, b in pairs)
            yield (
                f"| {task} | {way} | {len(rounds)} | {seconds:.1f} | {cpu:.1f} "
                f"| {rounds[0]['tokens'] / seconds:.1f} | {seconds / ours:.2f} times as fast "
                f"| {same} of {len(pairs)} |"
            )


if __name__ == "__main__":
    main()
