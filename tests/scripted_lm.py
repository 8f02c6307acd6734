"""An lm-eval model that answers from a script and records its requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lm_eval.api.model import LM


class ScriptedLM(LM):
    """A model whose answer is `script(prompt)`, truncated at the first stop sequence.

    Attributes:
        asked: The prompt and the generation settings of each request so far.
    """

    def __init__(self, script: Callable[[str], str]) -> None:
        super().__init__()
        self.script = script
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def generate_until(self, requests):
        self.asked += [request.args for request in requests]
        answers = []
        for prompt, settings in (request.args for request in requests):
            answer = self.script(prompt)
            for stop in settings.get("until", []):
                answer = answer.split(stop)[0]
            answers.append(answer)
        return answers

    def loglikelihood(self, requests):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError

    tokenizer_name = "scripted"

    def chat_template(self, chat_template=False):
        return "scripted"

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        # Like many templates, this one appends text to the content.
        turns = [message["role"] + "> " + (message["content"] + "|") for message in chat_history]
        return "\n".join(turns) + ("\nassistant>" if add_generation_prompt else "")
