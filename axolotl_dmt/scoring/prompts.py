"""Prompt formats: a question in the text around it, as a model was trained to see it.

A `Template` is one format. `TEMPLATES` holds those that a YAML can name, and `TrainedPrompts` those
of one run, which the run saves beside each stage's model (`PROMPTS_FILE`), so that a stage is asked
in the format of its training wherever it is scored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import read_json, write_text

AS_TRAINED: Final = "as_trained"
"""The value of `dmt.evaluate.prompt` and `dmt_prompt` for the format of the training rows."""
PROMPTS_FILE: Final = "dmt_prompts.json"
"""The file beside a saved model that holds the formats that it was trained in."""
QUESTION: Final = "{question}"
MARK: Final = re.compile(r"[:#<>|\[\]*=]")
"""What tells the label of a turn, such as `USER:`, from an ordinary word before a question."""

_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
_INSTRUCT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)


@dataclass(frozen=True, kw_only=True)
class Template:
    """A prompt format.

    Attributes:
        first: The text around the first question of a conversation, which contains `{question}`.
        later: The text around a later question, after an answer; it contains `{question}` too.
        stop: Texts that end an answer, beside the end-of-text token: the marks of the next turn.
        end: The text that ends the answer of a worked example.
        trained: Whether the text was read from training rows, so that the answer follows it at
            once and the question is not changed to fit.
        strips: Whether the format removes white space around a question.
        special_tokens: Whether the tokenizer has to add its own special tokens, such as `<s>`.
    """

    first: str
    later: str
    stop: tuple[str, ...] = ()
    end: str = ""
    trained: bool = False
    strips: bool = False
    special_tokens: bool = True

    def render(self, question: str, history: Sequence[tuple[str, str]] = ()) -> str:
        """Return the prompt for a question that follows earlier (question, answer) turns."""
        text = ""
        for earlier_question, answer in history:
            prompt = text + self._turn(earlier_question, text)
            text = f"{prompt}{self.gap(prompt)}{answer.strip()}"
        return text + self._turn(question, text)

    def render_messages(
        self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return the prompt for a conversation, in place of a tokenizer's chat template.

        Args:
            messages: The messages with `role` and `content`. The text of a system message is put
                before the first question, because the format has its own system message.
            add_generation_prompt: Whether the model starts an answer; if not, the last message is
                the start of the answer.
        """
        system = "".join(f"{m['content']}\n\n" for m in messages if m["role"] == "system")
        questions = [m["content"] for m in messages if m["role"] == "user"]
        answers = [m["content"] for m in messages if m["role"] == "assistant"]
        questions[0] = system + questions[0]
        turns = list(zip(questions, answers, strict=False))
        prompt = self.render(questions[-1], turns[: len(questions) - 1])
        return prompt if add_generation_prompt else f"{prompt}{self.gap(prompt)}{answers[-1]}"

    def _turn(self, question: str, before: str) -> str:
        turn = self.later if before else self.first
        if self.strips:
            question = question.strip()
        # A question that ends with a newline (a `def` line, say) gets no empty line after it.
        if not self.trained and question.endswith("\n") and f"{QUESTION}\n" in turn:
            question = question[:-1]
        return turn.replace(QUESTION, question)

    def gap(self, prompt: str) -> str:
        """Return what separates a prompt from its answer: a space, or nothing after white space."""
        return "" if self.trained or prompt[-1:].isspace() else " "

    def to_json(self) -> dict[str, Any]:
        """Return plain values, which `from_json` reads."""
        return {**vars(self), "stop": list(self.stop)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Template:
        """Return the template that `to_json` wrote; keys of later versions are ignored."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        return cls(**{**known, "stop": tuple(data.get("stop", ()))})


def custom_template(text: str) -> Template:
    """Return the format of a text with `{question}`; later turns repeat it after an empty line."""
    return Template(first=text, later=f"\n\n{text}", stop=turn_marks(text))


def turn_marks(first: str) -> tuple[str, ...]:
    r"""Return the text by which a next turn would be recognised: `\nUSER:` for `... USER: `.

    It is the label before the question: the whole line before it or, if that is long, its last
    word. A format without a label has no such text.
    """
    lines = first.split(QUESTION)[0].rstrip().split("\n")
    label = lines[-1].strip()
    label = label if len(label) <= 40 else label.split(" ")[-1]
    return (f"\n{label}",) if MARK.search(label) else ()


TEMPLATES: Mapping[str, Template] = {
    "plain": Template(first="{question}\n", later="\n\n{question}\n"),
    # FastChat's vicuna_v1.1, the prompt that the paper trains with.
    "vicuna": Template(
        first=f"{_SYSTEM} USER: {{question}} ASSISTANT:",
        later="</s>USER: {question} ASSISTANT:",
        stop=("</s>", "\nUSER:"),
    ),
    "alpaca": Template(
        first=f"{_INSTRUCT}\n\n### Instruction:\n{{question}}\n\n### Response:\n",
        later="\n\n### Instruction:\n{question}\n\n### Response:\n",
        stop=("\n### Instruction:",),
    ),
}


@dataclass(frozen=True, kw_only=True)
class TrainedPrompts:
    """The formats that a run trains its domains in.

    Attributes:
        domains: {domain: its format}.
        unknown: {domain: why its rows have no question}, such as raw text.
        tasks: {task or ability: domain}, for those whose names do not say it.
    """

    domains: Mapping[str, Template]
    unknown: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)

    def domain_of(self, task: str, *groups: str) -> str | None:
        """Return the domain of a task, or None.

        It is the named one, that of the task's name, or for a task of dmt_suite the domain that
        its name starts with: `math` for `dmt_math_hard`.

        Args:
            task: The name of the task.
            *groups: The groups that the task is a part of, the innermost first.
        """
        for name in (task, *groups):
            ability = name.removeprefix("dmt_")
            for key in (name, ability):
                if key in self.tasks:
                    return self.tasks[key]
            domains = [*self.domains, *self.unknown]
            if ability in domains:
                return ability
            if name != ability:
                starts = [domain for domain in domains if ability.startswith(f"{domain}_")]
                if starts:
                    return max(starts, key=len)
        return None

    def of(self, task: str) -> Template:
        """Return the format in which a task of dmt_suite is asked.

        A task without a domain is asked in the one format of a run that has only one.

        Raises:
            DMTError: If the task's domain is unknown or has no questions, or the task has none and
                the domains differ.
        """
        domain, key = self.domain_of(task), "dmt.evaluate.domains"
        if domain is not None and domain in self.domains:
            return self.domains[domain]
        if domain is not None and domain in self.unknown:
            problem = f"{task} cannot be asked as {domain} is trained: {self.unknown[domain]}"
            fix = f"write prompt: plain or a template with {QUESTION}, or name another domain"
            raise DMTError("dmt.evaluate.prompt", f"{problem}", fix)
        names = ", ".join([*self.domains, *self.unknown])
        if domain is not None:
            raise DMTError(f"{key}.{task}", f"there is no domain {domain!r}", f"domains: {names}")
        formats = set(self.domains.values())
        if len(formats) == 1:
            return formats.pop()
        problem = f"{task} has no domain of its name, and the domains are trained differently"
        raise DMTError(key, problem, f"write domains: {{{task}: ...}} with one of {names}")

    def with_tasks(self, tasks: Mapping[str, str] | None) -> TrainedPrompts:
        """Return the same formats with the domains of further tasks."""
        return replace(self, tasks={**self.tasks, **(tasks or {})})

    def to_json(self) -> dict[str, Any]:
        """Return plain values, which `from_json` reads."""
        domains = {name: template.to_json() for name, template in self.domains.items()}
        return {"domains": domains, "unknown": dict(self.unknown), "tasks": dict(self.tasks)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainedPrompts:
        """Return the formats that `to_json` wrote."""
        domains = {name: Template.from_json(item) for name, item in data["domains"].items()}
        return cls(domains=domains, unknown=data.get("unknown", {}), tasks=data.get("tasks", {}))

    def save(self, folder: Path) -> None:
        """Write the formats to `PROMPTS_FILE` in a folder.

        Raises:
            OSError: If the file cannot be written.
        """
        write_text(folder / PROMPTS_FILE, json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> TrainedPrompts:
        """Read the formats of a file, or of `PROMPTS_FILE` in a folder.

        Raises:
            DMTError: If the file cannot be read.
        """
        file = path / PROMPTS_FILE if path.is_dir() else path
        try:
            return cls.from_json(read_json(file))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"{file} cannot be read ({type(error).__name__}: {error})"
            raise DMTError("dmt_prompt", problem, f"name a folder with {PROMPTS_FILE}") from error

    @classmethod
    def beside(cls, *models: Any) -> TrainedPrompts | None:
        """Return the formats saved beside the first of some models that has them, else None.

        Args:
            *models: Folders of models or adapters; names on the hub and None are skipped.
        """
        for model in models:
            if isinstance(model, (str, Path)) and (Path(model) / PROMPTS_FILE).is_file():
                return cls.load(Path(model))
        return None
