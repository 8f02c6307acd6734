"""The prompts of a run: the formats that its domains are trained in, and what they are asked in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from axolotl_dmt.checks.data_files import first_rows
from axolotl_dmt.checks.evaluation_files import check_asked_domains, first_question
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.evaluation.asking import chat_arguments, is_ours
from axolotl_dmt.evaluation.row_tokens import NoFormatError, TrainedFormat
from axolotl_dmt.evaluation.tasks import task_settings, tasks_of
from axolotl_dmt.evaluation.trained_chats import SAMPLE_QUESTION
from axolotl_dmt.evaluation.trained_prompts import trained_format
from axolotl_dmt.scoring.prompts import AS_TRAINED, QUESTION, Template, TrainedPrompts
from axolotl_dmt.scoring.sources import prompt_template
from axolotl_dmt.scoring.worked_examples import SAMPLE_QUESTIONS

Rows = list[dict[str, Any]]

SHOWN_LINES = 8
SHOWN_WIDTH = 96


@dataclass(frozen=True, kw_only=True)
class RunPrompts:
    """The formats that a run is trained and asked in.

    Attributes:
        prompts: the formats of the training.
        trained: (domain, label of the dataset, its format) for each dataset that shows one.
        rows: some rows of each of these datasets.
        tokenizer: the tokenizer of the training.
    """

    prompts: TrainedPrompts
    trained: Sequence[tuple[str, str, TrainedFormat]]
    rows: Sequence[Rows]
    tokenizer: Any


def read_prompts(
    cfg: Any,
    domains: Sequence[str],
    tokenizer: Any,
    evaluate: EvaluateConfig | None,
    *,
    read_rows: Callable[[Any], Rows | None] = first_rows,
) -> RunPrompts:
    """Read the format of each dataset.

    Args:
        cfg: Axolotl's configuration, raw or validated.
        domains: the domain of each entry of `datasets`.
        tokenizer: the tokenizer of the training.
        evaluate: the `dmt.evaluate` block.
        read_rows: returns some rows of an entry, or None if they cannot be read.
    """
    arguments = chat_arguments(evaluate) if evaluate else {}
    formats: dict[str, Template] = {}
    unknown: dict[str, str] = {}
    trained, all_rows = [], []
    for entry, domain in zip(cfg["datasets"], domains, strict=True):
        rows = read_rows(entry)
        try:
            found = trained_format(cfg, entry, tokenizer, rows, chat_arguments=arguments)
        except NoFormatError as error:
            unknown.setdefault(domain, str(error))
            continue
        trained.append((domain, str(entry.get("path")), found))
        all_rows.append(rows or [])
        formats.setdefault(domain, found.template)
    unknown = {domain: reason for domain, reason in unknown.items() if domain not in formats}
    tasks = (evaluate.domains if evaluate else None) or {}
    prompts = TrainedPrompts(domains=formats, unknown=unknown, tasks=tasks)
    return RunPrompts(prompts=prompts, trained=trained, rows=all_rows, tokenizer=tokenizer)


def check_asked(evaluate: EvaluateConfig, prompts: TrainedPrompts) -> None:
    """Check that each task of dmt_suite can be asked.

    Raises:
        DMTError: a task has no format, or `dmt.evaluate.domains` names an unknown domain.
    """
    check_asked_domains(evaluate, [*prompts.domains, *prompts.unknown])
    for task in tasks_of(evaluate):
        asked_in(evaluate, prompts, task)


def asked_in(evaluate: EvaluateConfig, prompts: TrainedPrompts, task: str) -> Template | None:
    """Return the format that a task is asked in; None where lm-eval or the tokenizer decides.

    Raises:
        DMTError: the task has no format.
    """
    if evaluate.apply_chat_template:
        return None
    if evaluate.prompt == AS_TRAINED:
        return prompts.of(task) if is_ours(task) or prompts.domain_of(task) else None
    return prompt_template(task_settings(evaluate), task) if is_ours(task) else None


# Warnings


def prompt_warnings(run: RunPrompts, evaluate: EvaluateConfig | None) -> Iterator[str]:
    """Yield a line for each way in which the prompts of a run do not fit together."""
    yield from _different_formats(run)
    yield from _unlearnt_ends(run)
    if evaluate is None:
        return
    for task in tasks_of(evaluate):
        try:
            template = asked_in(evaluate, run.prompts, task)
        except DMTError:
            continue  # a mistake, which `check_asked` reports
        if template is not None:
            yield from _not_as_trained(run, task, template)
            yield from _cutting_stops(run, task, template)
    if not evaluate.apply_chat_template and evaluate.prompt == AS_TRAINED:
        yield from _other_tokens(run)
        special = {template.special_tokens for template in run.prompts.domains.values()}
        if len(special) > 1:
            yield "the tokenizer adds special tokens to the rows of some domains only"


def _different_formats(run: RunPrompts) -> Iterator[str]:
    shown = {
        (domain, label): _compact(
            _with_question(found.template, QUESTION + found.gap, run.tokenizer)
        )
        for domain, label, found in run.trained
    }
    if len(set(shown.values())) > 1:
        each = "; ".join(f"{domain} ({label}): {text!r}" for (domain, label), text in shown.items())
        yield f"the datasets are trained in different prompt formats: {each}"


def _unlearnt_ends(run: RunPrompts) -> Iterator[str]:
    eos = run.tokenizer.eos_token
    ends = {found.template.end.strip() for _, _, found in run.trained if not found.ends_with_eos}
    for end in sorted(ends):
        how = f"ends an answer with {end!r}" if end else "does not mark the end of an answer"
        yield (
            f"the training format {how}, but generation ends at {eos!r}: the model may write on "
            f"until its answers are cut off; for a chat template, set special_tokens: {{eos_token: "
            f"{end or '...'}}}"
        )


def _not_as_trained(run: RunPrompts, task: str, template: Template) -> Iterator[str]:
    domain = run.prompts.domain_of(task)
    trained = [found for name, _, found in run.trained if domain in (None, name)]
    if trained and not any(_same(template, found, run.tokenizer) for found in trained):
        asked, others = (_compact(t.render("{question}")) for t in (template, trained[0].template))
        where = f"{domain} is trained" if domain else "the domains are trained"
        yield f"{task} is asked as {asked!r}, but {where} as {others!r}"


def _other_tokens(run: RunPrompts) -> Iterator[str]:
    for domain, label, found in run.trained:
        if not found.exact:
            yield (
                f"{domain} ({label}): a prompt is not asked with the very tokens of its trained "
                "rows; the tokenizer does not keep all white space of a text"
            )


def _cutting_stops(run: RunPrompts, task: str, template: Template) -> Iterator[str]:
    """Yield a line for each stop string that occurs inside answers of the training rows."""
    for (domain, label, _), rows in zip(run.trained, run.rows, strict=True):
        if domain != run.prompts.domain_of(task):
            continue
        answers = [answer for row in rows for answer in _answers(row)]
        for stop in template.stop:
            if number := sum(stop in answer for answer in answers):
                yield (
                    f"{task} ends answers at {stop!r}, which {number} of {len(answers)} answers "
                    f"in {label} contain"
                )


def _answers(row: Mapping[str, Any]) -> Iterator[str]:
    for name in ("answer", "output", "response", "completion", "solution"):
        if isinstance(row.get(name), str):
            yield row[name]
            return
    for messages in row.values():
        for message in messages if isinstance(messages, list) else ():
            if isinstance(message, dict) and {"assistant", "gpt"} & set(map(str, message.values())):
                yield from (str(v) for v in message.values() if v not in ("assistant", "gpt"))


def _same(asked: Template, trained: TrainedFormat, tokenizer: Any) -> bool:
    """Whether a format asks like a trained one, up to the beginning-of-text token."""
    question = SAMPLE_QUESTION + trained.gap
    texts = [_with_question(t, question, tokenizer) for t in (asked, trained.template)]
    # A named format leaves the answer's first white space to the model.
    return texts[0] == texts[1] or texts[0].strip() == texts[1].strip() != SAMPLE_QUESTION


def _with_question(template: Template, question: str, tokenizer: Any) -> str:
    """Return a prompt without the start that a tokenizer may add: its token, and Llama's space."""
    return template.render(question).removeprefix(tokenizer.bos_token or "").removeprefix(" ")


# Display


def prompt_lines(run: RunPrompts, evaluate: EvaluateConfig | None) -> Iterator[str]:
    """Yield the lines that show a trained row of each domain and a prompt of each ability."""
    shown = set()
    for domain, label, found in run.trained:
        if domain not in shown:
            shown.add(domain)
            yield from _excerpt(f"a row of {domain} as it is trained ({label}):", found.row)
    for domain, reason in run.prompts.unknown.items():
        yield f"{domain}: no prompt format ({reason})"
    for task in tasks_of(evaluate) if evaluate else ():
        try:
            template = asked_in(evaluate, run.prompts, task) if evaluate else None
        except DMTError:
            continue
        if template is None:
            by = (
                "the tokenizer's chat template"
                if evaluate and evaluate.apply_chat_template
                else ("lm-eval's own prompt")
            )
            yield f"{task} is asked in {by}"
            continue
        question = first_question(task, evaluate) if evaluate else None
        title = f"{task} is asked:" if question else f"{task} is asked (a sample question):"
        question = question or SAMPLE_QUESTIONS.get(task, SAMPLE_QUESTION)
        yield from _excerpt(title, template.render(question))
        yield f"  its answers end at {', '.join(map(repr, template.stop)) or 'end of text'}"


def _excerpt(title: str, text: str) -> Iterator[str]:
    """Yield a title and a text, cut in its middle to a few lines that show white space."""
    lines = [repr(line)[1:-1] for line in text.splitlines(keepends=True)]
    if (hidden := len(lines) - SHOWN_LINES) > 1:
        half = SHOWN_LINES // 2
        lines = [*lines[:half], f"... ({hidden} lines)", *lines[-half:]]
    yield title
    for line in lines:
        cut = len(line) - SHOWN_WIDTH
        half = SHOWN_WIDTH // 2
        yield f"  | {line if cut <= 0 else f'{line[:half]} ... {line[-half:]}'}"


def _compact(text: str) -> str:
    return text if len(text) <= 160 else f"{text[:80]}...{text[-70:]}"
