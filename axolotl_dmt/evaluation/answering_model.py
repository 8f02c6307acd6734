"""An lm-eval model that generates by continuous batching where the model allows it.

Everything else, and the generation of models that do not allow it, is lm-eval's own.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from tqdm import tqdm

from axolotl_dmt.evaluation.batching import (
    Batching,
    base_of,
    caller,
    free_memory,
    has_windows,
    model_refusal,
    token_chooser,
    wrong_logits,
)
from axolotl_dmt.evaluation.continuous import Answer, Choose, ContinuousBatch, most_likely
from axolotl_dmt.evaluation.early_stop import decides

LOG = logging.getLogger("axolotl_dmt")

MOST_ROWS = 256
MOST_ROWS_ON_CPU = 64
"""The most answers at once: a CPU's arithmetic is used up by fewer answers than a GPU's."""


@dataclass
class Generation:
    """How the answers of an evaluation were generated.

    Attributes:
        tokens: the number of generated tokens.
        seconds: the wall time of their generation.
        batching: how they were batched, and why.
    """

    tokens: int = 0
    seconds: float = 0.0
    batching: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the rate."""
        return {
            "batching": self.batching,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 3),
            "tokens_per_second": round(self.tokens / self.seconds, 1) if self.seconds else 0.0,
        }


class AnsweringModel(HFLM):  # lm-eval is untyped
    """Generates continuously, or in static batches of `batch_size`, and counts the tokens.

    Attributes:
        generation: how the answers so far were generated.
    """

    def __init__(self, *, batching: Batching, **arguments: Any) -> None:
        """Create the model.

        Args:
            batching: the settings of `dmt.evaluate`.
            **arguments: lm-eval's own.
        """
        super().__init__(**arguments)
        self.batching = batching
        self.generation = Generation()
        self._refusal: str | None = "evaluate.batching is static"
        if batching.mode != "static":
            self._refusal = model_refusal(self.model) if self.backend == "causal" else self.backend
        self._is_tried = False
        self._choosers: dict[str, Choose | str] = {}

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return the answers, in the order of the requests."""
        started = time.monotonic()
        texts: dict[int, str] = {}
        answers, reasons = self._prepared(requests)
        if answers and self._refusal is None:
            self._generate(list(answers.values()), disable_tqdm)
            texts = {i: self._text(requests[i], answer.tokens) for i, answer in answers.items()}
        static = [i for i in range(len(requests)) if i not in texts]
        if static:
            reason = self._refusal or ", ".join(dict.fromkeys(reasons))
            self._say(f"static batches of {self.batch_size}: {reason}")
            plain = super().generate_until([requests[i] for i in static], disable_tqdm)
            texts |= dict(zip(static, plain, strict=True))
        self.generation.seconds += time.monotonic() - started
        return [texts[i] for i in range(len(requests))]

    def _prepared(self, requests: Sequence[Instance]) -> tuple[dict[int, Answer], list[str]]:
        """Return the answers that can be generated continuously, by request, and why others not."""
        answers: dict[int, Answer] = {}
        reasons: list[str] = []
        for i, request in enumerate(requests if self._refusal is None else ()):
            answer = self._answer(request)
            if isinstance(answer, Answer):
                answers[i] = answer
            else:
                reasons.append(answer)
        if answers and not self._is_tried:
            self._is_tried = True
            prompt = max((answer.prompt for answer in answers.values()), key=len)
            with self._precision():
                self._refusal = wrong_logits(self.model, prompt, self.device)
        return answers, reasons

    def _answer(self, request: Instance) -> Answer | str:
        """Return the answer to generate, or why it cannot be generated continuously."""
        context, settings = request.args
        settings = normalize_gen_kwargs(settings, self.max_gen_toks)
        until = handle_stop_sequences(settings.pop("until", None), eos=None)
        limit = settings.pop("max_gen_toks")
        if limit >= self.max_length or "max_length" in settings:
            return "the limit of an answer is the model's own"
        choose = self._chooser(settings)
        if isinstance(choose, str):
            return choose
        tokens, _ = self.tok_batch_encode(
            [context], left_truncate_len=self.max_length - limit, truncation=self.truncation
        )
        prompt = tokens[0].tolist()
        if not prompt or limit < 1:
            return "a prompt is empty"
        return Answer(
            prompt=prompt,
            limit=limit,
            is_complete=self._ending(until, request.task_name or ""),
            choose=choose,
            guessable=choose is most_likely,
            group=request.task_name or "",
        )

    def _chooser(self, settings: Mapping[str, Any]) -> Choose | str:
        """Return what selects the next token, the same object for the same settings."""
        settings = dict(settings)
        if not settings.get("temperature"):  # as lm-eval does
            settings.pop("temperature", None)
            settings.setdefault("do_sample", False)
        key = json.dumps(settings, sort_keys=True, default=str)
        if key not in self._choosers:
            self._choosers[key] = token_chooser(self.model, settings)
        return self._choosers[key]

    def _ending(self, until: Sequence[str], task: str) -> Callable[[list[int]], bool]:
        """Return whether an answer to a task ends: at a token, a stop sequence, or its decision."""
        eos = base_of(self.model).generation_config.eos_token_id
        ends = {self.eot_token_id, *(eos if isinstance(eos, (list, tuple)) else (eos,))}
        special = dict(
            zip(self.tokenizer.all_special_tokens, self.tokenizer.all_special_ids, strict=True)
        )
        ends |= {special[text] for text in until if text in special}
        stops = [text for text in until if text and text not in special]
        # As many tokens as lm-eval looks at: the same text may be other tokens in an answer.
        most = max(
            (len(self.tokenizer.encode(t, add_special_tokens=False)) for t in stops), default=0
        )
        decision = decides(task) if self.batching.stops_early else None

        def is_complete(tokens: list[int]) -> bool:
            if tokens[-1] in ends:
                return True
            if not stops and decision is None:
                return False
            tail = self.tokenizer.decode(tokens[-most - 2 :])
            if any(stop in tail for stop in stops):
                return True
            return (
                decision is not None
                and "\n" in tail
                and bool(decision.search(self.tokenizer.decode(tokens)))
            )

        return is_complete

    def _generate(self, answers: Sequence[Answer], disable_tqdm: bool) -> None:
        """Generate answers continuously, with fewer at once where the memory does not suffice."""
        rows = MOST_ROWS_ON_CPU if self.device.type == "cpu" else MOST_ROWS
        memory = free_memory(self.device, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        bar = tqdm(
            total=len(answers),
            disable=disable_tqdm or self.rank != 0,
            desc="Running generate_until requests",
        )
        while waiting := [answer for answer in answers if not answer.is_finished]:
            batch = ContinuousBatch(
                caller(self.model),
                self.device,
                most_rows=rows,
                cache_bytes=memory * self.batching.cache_share,
                by_column=has_windows(self.model),
            )
            try:
                with self._precision():
                    batch.generate(waiting, bar.update)
            except torch.OutOfMemoryError:
                if batch.room == 1:
                    raise
                rows = batch.room // 2
                for answer in waiting:
                    answer.tokens = answer.tokens if answer.is_finished else []
        bar.close()
        self._say(
            f"continuous batching, {batch.room} answers at once with "
            f"{batch.cache_size / 2**30:.2g} GiB of keys and values"
        )
        self.generation.tokens += sum(len(answer.tokens) for answer in answers)

    def _precision(self) -> torch.autocast:
        dtype = self.mixed_precision_dtype
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
        output = super()._model_generate(context, *args, **kwargs)
        answers = output[:, context.shape[1] :]
        lengths = (answers != self.tokenizer.pad_token_id).sum(1) + 1  # and the token that ends it
        self.generation.tokens += int(lengths.clamp(max=answers.shape[1]).sum())
        return output

    def _text(self, request: Instance, tokens: Sequence[int]) -> str:
        """Return an answer's text as lm-eval reads it: without stop sequences and reasoning."""
        context, settings = request.args
        until = normalize_gen_kwargs(settings, self.max_gen_toks).get("until")
        end = self.think_end_token
        if isinstance(end, int) and end in tokens:
            tokens = tokens[len(tokens) - tokens[::-1].index(end) :]
        text = self.tok_decode(tokens)
        text = postprocess_generated_text(
            generation=text.lstrip() if isinstance(end, int) else text,
            stop=handle_stop_sequences(until, eos=self.tok_decode(self.eot_token_id, False)),
            think_end_token=end if isinstance(end, str) else None,
        )
        self.cache_hook.add_partial("generate_until", (context, settings), text)
        return text

    def _say(self, how: str) -> None:
        """Log how answers are generated, once."""
        if how != self.generation.batching:
            self.generation.batching = how
            if self.rank == 0:
                LOG.info("answers are generated by %s", how)
