"""Make a random Llama of a few kilobytes and its character tokenizer, offline and in a second."""

from __future__ import annotations

import string
from pathlib import Path

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(chat_template: str | None = None):
    """Return a tokenizer with one token per printable character; others become `<unk>`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    special = ["<unk>", "<s>", "</s>"]
    vocabulary = {token: i for i, token in enumerate([*special, *string.printable])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    return _fast(core, chat_template)


def _fast(core, chat_template: str | None, **more: object):
    """Return the tokenizer of transformers with Llama's special tokens."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        **more,
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def make_llama_tokenizer(chat_template: str | None = None, *, legacy: bool = False):
    """Return a tokenizer that treats spaces as SentencePiece does in Llama, one token a character.

    A text begins with a space of its own; with `legacy`, so does the text after a special token.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    special = ["<unk>", "<s>", "</s>"]
    letters = [c for c in string.printable if c not in string.whitespace]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *letters]
    words = [f"\u2581{letter}" for letter in string.ascii_letters]
    vocabulary = {token: i for i, token in enumerate([*tokens, *words])}
    merges = [("\u2581", letter) for letter in string.ascii_letters]  # a digit stands alone
    core = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    replace = normalizers.Replace(" ", "\u2581")
    if legacy:
        core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), replace])
    else:
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    parts = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    core.decoder = decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    marks = ["<|im_start|>", "<|im_end|>"]
    return _fast(core, chat_template, additional_special_tokens=marks)


def make_model(folder: str | Path, chat_template: str | None = CHATML, seed: int = 0) -> str:
    """Save the model and its tokenizer for `from_pretrained`, and return the folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(chat_template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
