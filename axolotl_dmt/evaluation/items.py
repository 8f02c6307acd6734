"""The items of an evaluation, for the ledger, read from the output of lm-evaluation-harness."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from axolotl_dmt import __version__
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.asking import is_ours
from axolotl_dmt.evaluation.scores import ability_of, group_abilities, scored_samples, verdict
from axolotl_dmt.results.items import Item
from axolotl_dmt.results.secrets import masked
from axolotl_dmt.scoring import mtbench
from axolotl_dmt.scoring.sources import RENDERED, TARGET

LOG = logging.getLogger(__name__)
MTBENCH = "dmt_general_mtbench"
"""The task whose prompts hold the model's own first answers."""

NEARLY_FULL = 0.98
"""An answer whose text has this share of the longest length in tokens counts as cut off.

The text is tokenised again for the count, which can give slightly fewer tokens than the model
generated.
"""


def read_items(output: Mapping[str, Any], model: Any, config: EvaluateConfig) -> tuple[Item, ...]:
    """Return the items of an evaluation.

    Args:
        output: the output of `lm_eval.simple_evaluate`.
        model: the lm-eval model that answered; its tokenizer counts the tokens.
        config: the `dmt.evaluate` block, which says what to keep.

    Returns:
        The items; none, with a warning, where a task's output has an unknown form. The scores of
        hours of training must not be lost for want of their items.
    """
    if config.items == "none":
        return ()
    try:
        return tuple(_read(output, model, with_texts=config.items == "full"))
    except Exception as error:
        LOG.warning("the items are not recorded: %s: %s", type(error).__name__, error)
        return ()


def _read(output: Mapping[str, Any], model: Any, *, with_texts: bool) -> Iterator[Item]:
    groups = group_abilities(output)
    for task in output.get("samples") or {}:
        scored_by = groups.get(task, task)
        scored = scored_samples(output, scored_by, task)
        if scored is None:
            continue
        metric, samples = scored
        same_key: Counter[str] = Counter()
        shared = _shared(output, task)
        for sample in samples:
            key = _key(task, sample, output.get("versions", {}).get(task))
            same_key[key] += 1
            numbers = _numbers(task, sample)
            score = numbers.get(metric)
            yield Item(
                ability=ability_of(scored_by),
                task=task,
                item=key if same_key[key] == 1 else f"{key}#{same_key[key]}",
                doc=int(sample["doc_id"]),
                score=score,
                passed=verdict(score),
                metrics=numbers,
                **_texts(sample, with_texts=with_texts),
                **_generated(sample, model),
                prompt_digest=None if task == MTBENCH else digest(_prompt(sample)),
                **shared,
            )


def digest(*parts: str) -> str:
    """Return a short digest of texts: 16 hex digits."""
    return sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def _key(task: str, sample: Mapping[str, Any], task_version: Any) -> str:
    """Return the key of an item, which does not depend on the prompt's format."""
    doc, target = sample.get("doc"), str(sample.get("target"))
    if is_ours(task) and isinstance(doc, Mapping):
        return f"{row_key(task, doc)}@{task_version}"
    identity = (str(sample.get("doc_hash") or _prompt(sample)), target)
    return f"{digest(task, *identity)}@{task_version}"


def row_key(task: str, row: Mapping[str, Any]) -> str:
    """Return the key of an item of a task of ours, without the task's version.

    Args:
        task: the name of the task.
        row: the row that lm-eval gets from the task.
    """
    # The rendered prompt and target depend on the format that the run is asked in.
    fields = {name: value for name, value in row.items() if name not in (RENDERED, TARGET)}
    return digest(task, json.dumps(fields, sort_keys=True, default=str), "")


def _shared(output: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return what all items of a task have in common."""
    config = output.get("configs", {}).get(task) or {}
    record = (config.get("dataset_kwargs") or {}).get("record") or {}
    shots = output.get("n-shot", {}).get(task)
    sandbox = record.get("sandbox")
    return {
        "fewshot": None if shots is None else int(shots),
        "sandbox": None if sandbox is None else str(sandbox),
        "lm_eval": version("lm_eval"),
        "suite": __version__ if is_ours(task) else None,
    }


def _numbers(task: str, sample: Mapping[str, Any]) -> dict[str, float]:
    """Return {metric: value} for the metrics of a sample that are one number."""
    if task == MTBENCH:
        item = [sample["rating"]]
        values: Mapping[str, Any] = {
            metric.__name__: metric(item) for metric in (mtbench.dmt_score, mtbench.rating)
        }
    else:
        values = {name: sample.get(name) for name in sample.get("metrics") or ()}
    numbers = {name: _number(value) for name, value in values.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def _number(value: Any) -> float | None:
    """Return a value as a number; a list of numbers or flags as its mean; None for all else."""
    if isinstance(value, list) and value:
        numbers = [_number(each) for each in value]
        known = [number for number in numbers if number is not None]
        return math.fsum(known) / len(known) if len(known) == len(numbers) else None
    if not isinstance(value, (bool, int, float)) and not callable(getattr(value, "item", None)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _arguments(sample: Mapping[str, Any], index: int = 0) -> Sequence[Any]:
    request = sample["arguments"][index]
    return request if isinstance(request, (list, tuple)) else (request,)


def _prompt(sample: Mapping[str, Any]) -> str:
    return str(_arguments(sample)[0])


def _texts(sample: Mapping[str, Any], *, with_texts: bool) -> dict[str, Any]:
    if not with_texts:
        return {}
    target = sample.get("target")
    return {
        "prompt": _prompt(sample),
        "target": None if target in (None, "") else str(target),
        "answer": answer_of(sample),
    }


def answer_of(sample: Mapping[str, Any]) -> str:
    """Return the generated text of a sample; of a multiple choice, the likeliest continuation."""
    responses = [_innermost(response) for response in sample["resps"]]
    likelihoods = [_likelihood(response) for response in sample["resps"]]
    if len(responses) > 1 and all(value is not None for value in likelihoods):
        best = max(range(len(responses)), key=lambda i: likelihoods[i] or -math.inf)
        return str(_arguments(sample, best)[-1])
    return str(responses[0])


def _innermost(value: Any) -> Any:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return value


def _likelihood(response: Any) -> float | None:
    """Return the loglikelihood in a response `[(loglikelihood, is greedy)]`; None of others."""
    first = response[0] if isinstance(response, (list, tuple)) and response else response
    if isinstance(first, (list, tuple)) and len(first) == 2 and isinstance(first[0], float):
        return first[0]
    return None


def _generated(sample: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Return the settings and the length of a generated answer; nothing for other requests."""
    settings = _arguments(sample)[-1]
    if not isinstance(settings, dict):
        return {}
    from lm_eval.models.utils import normalize_gen_kwargs

    default = getattr(model, "max_gen_toks", None) or 256
    longest = normalize_gen_kwargs(settings, int(default))["max_gen_toks"]
    text = json.dumps(masked(settings), sort_keys=True, default=str)
    tokenise = getattr(model, "tok_encode", None)
    if tokenise is None:
        return {"generation": text}
    encoded = tokenise(answer_of(sample), add_special_tokens=False)
    if isinstance(encoded, str):  # a served model, whose tokenizer is not here
        return {"generation": text}
    tokens = len(encoded)
    return {"generation": text, "tokens": tokens, "cut_off": tokens >= NEARLY_FULL * longest}
