"""MT-Bench as an lm-eval task of two turns: the second prompt contains the model's first answer.

lm-eval builds the requests of all tasks before it generates anything. So this task generates the
first turn while it builds the requests of the second turn, which lm-eval then runs with those of
the other tasks. The judge grades all answers at once when lm-eval applies filters.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from axolotl_dmt.errors import DMTError
from axolotl_dmt.scoring import mtbench
from axolotl_dmt.scoring.judge import DiskCache, Judge, JudgeSettings, Judgment
from axolotl_dmt.scoring.prompts import Template
from axolotl_dmt.scoring.sources import (
    MODEL_FOLDERS,
    Row,
    Splits,
    as_splits,
    prompt_template,
    set_generation,
    setting,
)
from axolotl_dmt.scoring.thinking import after_thinking

NextPrompt = Callable[[Row, Sequence[str]], str]
"""Returns the prompt of a question's next turn, given the answers to the turns before it."""

TASK = "dmt_general_mtbench"
log = logging.getLogger(__name__)


@as_splits
def dataset(generation: dict[str, Any] | None = None, **metadata: Any) -> Splits:
    """Return the questions of `dmt_general_mtbench`.

    Args:
        generation: The task's `generation_kwargs`; its answer length is changed in place.
        metadata: The task's metadata.

    Raises:
        DMTError: If a setting is wrong, or MT-Bench's files are missing or wrong.
    """
    set_generation(generation, metadata)
    return {"test": mtbench.load_questions(mtbench.data_folder(metadata))}


class MTBench(ConfigurableTask):  # type: ignore[misc]  # lm-eval is untyped
    """The task of `dmt_general_mtbench.yaml`.

    lm-eval does not pass `--metadata` to a task that is a class, so the settings come from the
    environment, or from `metadata:` in a task configuration.

    Raises:
        DMTError: If a setting is wrong, the `openai` package is not installed, or MT-Bench's files
            are missing or wrong.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        config = {key: value for key, value in config.items() if key != "class"}
        config["metric_list"] = [
            {"metric": metric.__name__, "aggregation": metric, "higher_is_better": True}
            for metric in mtbench.METRICS
        ]
        # Check the judge's settings now, before the model spends hours on its answers.
        self._metadata = dict(config.get("metadata") or {})
        self._judge = Judge(settings := JudgeSettings.read(self._metadata))
        self._answers = DiskCache(settings.cache / "answers")
        self._prompts = mtbench.load_prompts(mtbench.data_folder(self._metadata))
        self._stop: list[str] = []  # the turn marks of the prompt format
        self._first_answers: dict[int, str] = {}  # by question_id
        self._second_keys: dict[int, Any] = {}  # cache key of the second answer by question_id
        self._judgments: dict[int, list[Judgment]] = {}
        super().__init__(config=config)

    # Generating

    def build_all_requests(
        self,
        *,
        limit: int | None = None,
        samples: list[int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        chat_template: Callable[..., str] | None = None,
        **_: Any,
    ) -> None:
        """Generate the first answer to every question, then build the requests of the second turn.

        Raises:
            DMTError: If there are fewer questions than processes.
        """
        docs = list(
            self.doc_iterator(rank=rank, limit=limit, samples=samples, world_size=world_size)
        )
        if not docs:
            problem = f"there are fewer questions than processes ({world_size})"
            raise DMTError("limit", problem, "raise the limit")
        model = _model_under_evaluation()
        template = prompt_template({**_model_folders(model), **self._metadata}, TASK)
        self._stop = list(template.stop)
        next_prompt = self._next_prompt(
            template, chat_template if apply_chat_template else None, system_instruction
        )
        # Ranks with different cached answers would generate different numbers of batches, and a
        # sharded model would hang; so only a single process uses stored answers.
        weights = _weights_name(model, self._metadata) if world_size == 1 else None
        total = min(limit or len(self.eval_docs), len(self.eval_docs))
        total = len(samples) if samples else total
        padding = -(-total // world_size) - len(docs)

        first_turns = [self._request(i, doc, next_prompt(doc, [])) for i, doc in docs]
        generated = self._generate(model, first_turns, weights, padding)
        answers = [after_thinking(answer) for answer in generated]
        self._instances = []
        to_generate = 0
        for (doc_id, doc), answer in zip(docs, answers, strict=True):
            self._first_answers[doc["question_id"]] = answer
            instance = self._request(doc_id, doc, next_prompt(doc, [answer]))
            self._second_keys[doc["question_id"]] = key = _cache_key(weights, instance)
            stored = self._answers.get(key) if weights else None
            if isinstance(stored, str):
                instance.resps.append(stored)
                instance.repeats = 0
            to_generate += instance.repeats
            self._instances.append(instance)
        if not to_generate:
            # Some of lm-eval's models fail without any request. The answer to this one is ignored,
            # because the stored answer comes first.
            self._instances[0].repeats = 1

    def _next_prompt(
        self, template: Template, chat: Callable[..., str] | None, system: str | None
    ) -> NextPrompt:
        """Return the function that builds prompts with the chat template, or else with ours."""

        def next_prompt(doc: Row, answers: Sequence[str]) -> str:
            turns = doc["turns"][: len(answers) + 1]
            if chat is None:
                history = list(zip(turns, answers, strict=False))
                text = template.render(turns[-1], history)
                return f"{system}\n\n{text}" if system else text
            messages = [{"role": "system", "content": system}] if system else []
            for index, turn in enumerate(turns):
                messages.append({"role": "user", "content": turn})
                if index < len(answers):
                    messages.append({"role": "assistant", "content": answers[index].strip()})
            return chat(messages, add_generation_prompt=True)

        return next_prompt

    def _request(self, doc_id: int, doc: Row, prompt: str) -> Instance:
        settings = copy.deepcopy(self.config.generation_kwargs)
        settings["until"] = settings["until"] or self._stop  # `--gen_kwargs` may name others
        # `--gen_kwargs` may set greedy decoding, or one temperature for all categories.
        if not {"temperature", "do_sample"} & settings.keys():
            temperature = mtbench.TEMPERATURES.get(doc["category"], 0.7)
            settings["do_sample"] = temperature > 0
            settings["temperature"] = temperature
        return Instance(
            request_type="generate_until",
            doc=doc,
            arguments=(prompt, settings),
            idx=0,
            metadata=(self.config.task, doc_id, 1),
        )

    def _generate(
        self, model: Any, requests: Sequence[Instance], weights: str | None, padding: int
    ) -> list[str]:
        """Return the model's answers in order; stored answers are not generated again.

        Args:
            model: The lm-eval model.
            requests: The requests to answer.
            weights: The name of the weights, under which answers are stored; None to store none.
            padding: How many requests to add, so that all ranks generate equally many.
        """
        stored = [
            self._answers.get(_cache_key(weights, request)) if weights else None
            for request in requests
        ]
        pending = [
            request
            for request, answer in zip(requests, stored, strict=True)
            if not isinstance(answer, str)
        ]
        answers: list[str] = []
        if pending:
            log.info("%s: generating %d first turns", self.config.task, len(pending))
            answers = model.generate_until([*pending, *[pending[-1]] * padding])[: len(pending)]
        if weights:
            for request, answer in zip(pending, answers, strict=True):
                self._answers.put(_cache_key(weights, request), answer)
        generated = iter(answers)
        return [answer if isinstance(answer, str) else next(generated) for answer in stored]

    # Scoring

    def apply_filters(self) -> None:
        """Store the second answers and have the judge grade both turns."""
        super().apply_filters()
        questions, prompts = [], []
        for instance in self._instances:
            doc, second = instance.doc, instance.filtered_resps["none"]
            key = self._second_keys[doc["question_id"]]
            if key is not None and instance.repeats:
                self._answers.put(key, second)
            answers = [self._first_answers[doc["question_id"]], second]
            questions.append(doc["question_id"])
            prompts += [
                mtbench.judge_messages(self._prompts, doc, answers, turn) for turn in (0, 1)
            ]
        judgments = self._judge.grade_all(prompts)
        self._judgments = {
            question: judgments[2 * index : 2 * index + 2]
            for index, question in enumerate(questions)
        }
        missing = sum(judgment.rating is None for judgment in judgments)
        if missing:
            total = len(judgments)
            log.warning("%s: %d of %d turns have no rating", self.config.task, missing, total)

    def process_results(self, doc: Row, results: list[str]) -> dict[str, Any]:
        """Return one question's judgments, from which every metric is aggregated."""
        return mtbench.metric_values(self._judgments[doc["question_id"]])

    def higher_is_better(self) -> dict[str, bool]:
        """Return for each metric whether higher is better, which failures and tokens are not."""
        lower_is_better = {"failed", "prompt_tokens", "completion_tokens"}
        names = [metric.__name__ for metric in mtbench.METRICS]
        return {name: name not in lower_is_better for name in names}


def _cache_key(weights: str | None, request: Instance) -> Any:
    """Return the key under which a request's answer is stored; None without a name of weights."""
    return None if weights is None else {"weights": weights, "request": list(request.arguments)}


def _model_under_evaluation() -> Any:
    """Return the model that lm-eval is evaluating.

    lm-eval does not pass it to any task method, so it is read from the local variable `lm` of
    `evaluate`, the caller of `build_all_requests`.
    """
    frame = sys._getframe(1)
    while frame is not None:
        model = frame.f_locals.get("lm")
        if hasattr(model, "generate_until"):
            return model
        frame = frame.f_back  # type: ignore[assignment]
    raise RuntimeError("dmt_general_mtbench: lm-eval's evaluate() no longer has a local `lm`")


def _model_folders(model: Any) -> dict[str, Any]:
    """Return the folders that an lm-eval model was loaded from, named as its arguments."""
    return {name: getattr(model, name, None) for name in MODEL_FOLDERS}


def _weights_name(model: Any, metadata: dict[str, Any]) -> str | None:
    """Return a name of the weights, so that stored answers are never used for another model.

    It is the value of `dmt_mtbench_run`, else a hash of the shape, the sum and some values of every
    parameter. It is None, and answers are not stored, if the parameters are not accessible.
    """
    run = setting("dmt_mtbench_run", metadata)
    if run is not None:
        return str(run)
    parameters = getattr(getattr(model, "model", None), "named_parameters", None)
    if parameters is None:
        return None
    digest = hashlib.sha256()
    for name, parameter in parameters():
        values = parameter.detach().flatten()
        sample = values[:: max(1, len(values) // 256)].float().cpu().numpy().tobytes()
        digest.update(
            f"{name} {tuple(parameter.shape)} {float(values.double().sum())}".encode() + sample
        )
    return digest.hexdigest()
