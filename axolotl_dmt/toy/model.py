"""Make small untrained Llama models and their tokenizers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from axolotl_dmt.toy import UNTRAINED

VOCABULARY = 512
CONTEXT = 256  # tokens; the longest training row is under 80


SIZES = {
    "0.1M": {"layers": 2, "hidden": 64, "inner": 128},
    "0.5M": {"layers": 3, "hidden": 128, "inner": 256},
    "2M": {"layers": 3, "hidden": 256, "inner": 512},
    "4M": {"layers": 4, "hidden": 320, "inner": 640},
}
"""The shapes of models by their number of parameters."""


def make_tokenizer(
    texts: Iterable[str], *, vocabulary: int = VOCABULARY, context: int = CONTEXT
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer on some texts.

    Like Llama 3's tokenizer it encodes any text without loss, and adds the beginning-of-text token
    but no end-of-text token. Each digit is a separate token, with which a model learns arithmetic
    faster.

    Args:
        texts: The texts to train on.
        vocabulary: The number of tokens.
        context: The model's context length in tokens.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(  # type: ignore[no-untyped-call]
        vocab_size=vocabulary,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A",
        pair="<s> $A $B",
        special_tokens=[("<s>", bpe.token_to_id("<s>"))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def save_base(folder: Path, texts: Iterable[str], *, seed: int = 0, size: str = "0.5M") -> None:
    """Write an untrained Llama and its tokenizer.

    Args:
        folder: The folder to write, which is created if it is missing.
        texts: The texts to train the tokenizer on.
        seed: The seed of the weights.
        size: The name of its shape in `SIZES`.

    Raises:
        OSError: If the folder cannot be written.
    """
    save_untrained(folder, make_tokenizer(texts), **SIZES[size], seed=seed)


def save_untrained(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    *,
    layers: int,
    hidden: int,
    inner: int,
    seed: int = 0,
) -> None:
    """Write a Llama with random weights, and its tokenizer, as `from_pretrained` loads them.

    The weights are drawn here because Axolotl's `reinit_weights` has no seed. Here the same seed
    gives the same run.

    Args:
        folder: The folder to write, which is created if it is missing.
        tokenizer: The tokenizer; it sets the model's vocabulary and context length.
        layers: The number of layers.
        hidden: The width of the hidden states.
        inner: The width of the feed-forward layers.
        seed: The seed of the weights.

    Raises:
        OSError: If the folder cannot be written.
    """
    config = LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    note = "The weights here are random. axolotl-dmt does not score them before training.\n"
    (folder / UNTRAINED).write_text(note, encoding="utf-8")
