"""MT-Bench as an lm-eval task: two turns, the second asked with the model's first answer in view.

lm-eval builds all requests before it generates anything, so the first turn is generated while the
requests of the second are built; those lm-eval then runs with everyone else's. The judge grades
all answers at once where lm-eval applies filters.
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
from axolotl_dmt.scoring.sources import Row, prompt_template, set_generation, setting, splits

Speak = Callable[[Row, Sequence[str]], str]
"""The prompt of a question's next turn, given the answers so far."""

log = logging.getLogger(__name__)


def dataset(generation: dict[str, Any] | None = None, **metadata: Any) -> Any:
    """The 80 questions, as lm-eval wants them."""
    set_generation(generation, metadata)
    return splits(test=mtbench.load_questions(mtbench.data_folder(metadata)))


class MTBench(ConfigurableTask):  # type: ignore[misc]  # lm-eval is untyped
    """The task of `dmt_general_mtbench.yaml`.

    lm-eval hands its `--metadata` to no task that is a class: settings come from the environment,
    or from `metadata:` in a task configuration.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        config = {key: value for key, value in config.items() if key != "class"}
        config["metric_list"] = [
            {"metric": metric.__name__, "aggregation": metric, "higher_is_better": True}
            for metric in mtbench.METRICS
        ]
        # A first look at the judge's settings costs nothing; the answers cost hours.
        self._metadata = dict(config.get("metadata") or {})
        self._judge = Judge(settings := JudgeSettings.read(self._metadata))
        self._answers = DiskCache(settings.cache / "answers")
        self._prompts = mtbench.load_prompts(mtbench.data_folder(self._metadata))
        self._first: dict[int, str] = {}  # question_id -> first answer
        self._stored: dict[int, Any] = {}  # question_id -> cache key of its second answer
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
        """Answer the first turn of every question, then ask the second."""
        docs = list(
            self.doc_iterator(rank=rank, limit=limit, samples=samples, world_size=world_size)
        )
        if not docs:
            raise DMTError("limit", "fewer questions than processes", "raise the limit")
        speak = self._speaker(chat_template if apply_chat_template else None, system_instruction)
        model = _model_under_evaluation()
        # Ranks that read different answers from their caches would generate different numbers of
        # batches, and a sharded model would wait for ever.
        identity = _weights(model, self._metadata) if world_size == 1 else None
        total = min(limit or len(self.eval_docs), len(self.eval_docs))
        total = len(samples) if samples else total
        padding = -(-total // world_size) - len(docs)

        opening = [self._request(i, doc, speak(doc, [])) for i, doc in docs]
        answers = self._generate(model, opening, identity, padding)
        self._instances = []
        live = 0
        for (doc_id, doc), answer in zip(docs, answers, strict=True):
            self._first[doc["question_id"]] = answer
            instance = self._request(doc_id, doc, speak(doc, [answer]))
            self._stored[doc["question_id"]] = key = _key(identity, instance)
            known = self._answers.get(key) if identity else None
            if isinstance(known, str):
                instance.resps.append(known)
                instance.repeats = 0
            live += instance.repeats
            self._instances.append(instance)
        if not live:
            # Some of lm-eval's models cannot be asked nothing; the stored answer still comes first.
            self._instances[0].repeats = 1

    def _speaker(self, chat: Callable[..., str] | None, system: str | None) -> Speak:
        template = prompt_template(self._metadata)

        def speak(doc: Row, answers: Sequence[str]) -> str:
            asked = doc["turns"][: len(answers) + 1]
            if chat is None:
                history = list(zip(asked, answers, strict=False))
                text = template.render(asked[-1], history)
                return f"{system}\n\n{text}" if system else text
            messages = [{"role": "system", "content": system}] if system else []
            for index, turn in enumerate(asked):
                messages.append({"role": "user", "content": turn})
                if index < len(answers):
                    messages.append({"role": "assistant", "content": answers[index].strip()})
            return chat(messages, add_generation_prompt=True)

        return speak

    def _request(self, doc_id: int, doc: Row, prompt: str) -> Instance:
        settings = copy.deepcopy(self.config.generation_kwargs)
        # `--gen_kwargs` may ask for greedy answers or one temperature for all.
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
        self, model: Any, requests: Sequence[Instance], identity: str | None, padding: int
    ) -> list[str]:
        """The model's answers, in order; those that are on disk are not asked again."""
        known = [
            self._answers.get(_key(identity, request)) if identity else None for request in requests
        ]
        wanted = [
            r for r, answer in zip(requests, known, strict=True) if not isinstance(answer, str)
        ]
        fresh: list[str] = []
        if wanted:
            log.info("%s: generating %d first turns", self.config.task, len(wanted))
            fresh = model.generate_until([*wanted, *[wanted[-1]] * padding])[: len(wanted)]
        if identity:
            for request, answer in zip(wanted, fresh, strict=True):
                self._answers.put(_key(identity, request), answer)
        new = iter(fresh)
        return [answer if isinstance(answer, str) else next(new) for answer in known]

    # Scoring

    def apply_filters(self) -> None:
        """Take the second answers, store them, and have both turns graded."""
        super().apply_filters()
        questions, prompts = [], []
        for instance in self._instances:
            doc, second = instance.doc, instance.filtered_resps["none"]
            if self._stored[doc["question_id"]] is not None and instance.repeats:
                self._answers.put(self._stored[doc["question_id"]], second)
            answers = [self._first[doc["question_id"]], second]
            questions.append(doc["question_id"])
            prompts += [
                mtbench.judge_messages(self._prompts, doc, answers, turn) for turn in (0, 1)
            ]
        grades = self._judge.grade_all(prompts)
        self._judgments = {
            question: grades[2 * index : 2 * index + 2] for index, question in enumerate(questions)
        }
        missing = sum(grade.rating is None for grade in grades)
        if missing:
            log.warning("%s: %d of %d turns have no rating", self.config.task, missing, len(grades))

    def process_results(self, doc: Row, results: list[str]) -> dict[str, Any]:
        """One question's judgments, from which every metric is aggregated."""
        return mtbench.metric_values(self._judgments[doc["question_id"]])

    def higher_is_better(self) -> dict[str, bool]:
        """Failures and costs are better low; counts and scores high."""
        low = {"failed", "prompt_tokens", "completion_tokens"}
        return {metric.__name__: metric.__name__ not in low for metric in mtbench.METRICS}


def _key(identity: str | None, request: Instance) -> Any:
    return None if identity is None else {"weights": identity, "request": list(request.arguments)}


def _model_under_evaluation() -> Any:
    """The model that lm-eval is evaluating.

    No task method is handed it, so it is read from the local variable `lm` of `evaluate`, the
    caller of `build_all_requests`.
    """
    frame = sys._getframe(1)
    while frame is not None:
        model = frame.f_locals.get("lm")
        if hasattr(model, "generate_until"):
            return model
        frame = frame.f_back  # type: ignore[assignment]
    raise RuntimeError("dmt_general_mtbench: lm-eval's evaluate() no longer has a local `lm`")


def _weights(model: Any, metadata: dict[str, Any]) -> str | None:
    """A name for the weights, so that stored answers are never taken for another model's.

    `dmt_mtbench_run` names them; else a hash of every parameter's shape, sum and some values does;
    None, and answers are not stored, for a model whose parameters are out of sight.
    """
    named = setting("dmt_mtbench_run", metadata)
    if named is not None:
        return str(named)
    parameters = getattr(getattr(model, "model", None), "named_parameters", None)
    if parameters is None:
        return None
    digest = hashlib.sha256()
    for name, parameter in parameters():
        values = parameter.detach().flatten()
        some = values[:: max(1, len(values) // 256)].float().cpu().numpy().tobytes()
        digest.update(
            f"{name} {tuple(parameter.shape)} {float(values.double().sum())}".encode() + some
        )
    return digest.hexdigest()
