"""The prompt format of rows that the collator tokenises: the chat template around a text."""

from __future__ import annotations

from typing import Any

from axolotl_dmt.evaluation.row_tokens import NoFormatError, TrainedFormat, cut_question
from axolotl_dmt.evaluation.trained_chats import SAMPLE_ANSWER, SAMPLE_QUESTION
from axolotl_dmt.scoring.prompts import QUESTION, Template


def collated_format(cfg: Any, tokenizer: Any) -> TrainedFormat:
    """Return the format of rows with a question and no image.

    Args:
        cfg: Axolotl's configuration.
        tokenizer: the tokenizer of the training.

    Raises:
        NoFormatError: the chat template does not show the question and the answer as they are.
    """
    from axolotl.utils.chat_templates import get_chat_template_from_config

    chat_template = get_chat_template_from_config(cfg=cfg, tokenizer=tokenizer)

    def rendered(*texts: str, prompt: bool = False) -> str:
        messages = [
            {"role": role, "content": [{"type": "text", "text": text}]}
            for role, text in zip(("user", "assistant") * 2, texts, strict=False)
        ]
        text: str = tokenizer.apply_chat_template(
            messages, chat_template=chat_template, tokenize=False, add_generation_prompt=prompt
        )
        return text

    first = rendered(SAMPLE_QUESTION, prompt=True)
    whole = rendered(SAMPLE_QUESTION, SAMPLE_ANSWER)
    second = "And which one has Spain?"
    both = rendered(SAMPLE_QUESTION, SAMPLE_ANSWER, second, prompt=True)
    if not (SAMPLE_ANSWER in whole and whole.startswith(first) and SAMPLE_ANSWER in both):
        raise NoFormatError("its chat template does not begin an answer with the generation prompt")
    end = whole.partition(SAMPLE_ANSWER)[2]
    later = both.partition(SAMPLE_ANSWER)[2].replace(second, QUESTION)
    eos = tokenizer.eos_token or ""
    mark = later.partition(QUESTION)[0].strip()
    template = Template(
        first=cut_question(first, SAMPLE_QUESTION),
        later=later,
        stop=tuple(dict.fromkeys(filter(None, (eos, end.strip() or mark)))),
        end=end,
        trained=True,
        strips=f" {SAMPLE_QUESTION} " not in rendered(f" {SAMPLE_QUESTION} "),
        special_tokens=False,  # the template writes them, as in the collator
    )
    ends_with_eos = bool(eos) and end.lstrip().startswith(eos)
    return TrainedFormat(template=template, row=whole, ends_with_eos=ends_with_eos)
