"""Make a random LLaVA of a few kilobytes, its processor, and images to ask it about.

The image processor is the one of transformers that needs only Pillow: its default one needs
torchvision.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny_model import make_tokenizer

IMAGE_SIZE = 8
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_vlm(folder: str | Path, seed: int = 0) -> str:
    """Save the model and its processor for `from_pretrained`, and return the folder."""
    import torch
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = make_tokenizer(TEMPLATE)
    tokenizer.add_special_tokens(
        {
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>", "<image>"],
            "pad_token": "<unk>",
        }
    )
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    images = CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=size)
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    widths = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=IMAGE_SIZE, patch_size=4, **widths),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            num_key_value_heads=2,
            max_position_embeddings=512,
            pad_token_id=tokenizer.pad_token_id,
            **widths,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
        vision_feature_layer=-1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def picture_rows(count: int, folder: Path) -> list[dict[str, Any]]:
    """Write plain images to a folder, and return questions about them, each with an answer."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        name = list(COLOURS)[number % len(COLOURS)]
        path = folder / f"{number}.png"
        Image.new("RGB", (8 + number % 3, 8), COLOURS[name]).save(path)
        rows.append(row(f"colour of {number}?", name, str(path)))
    return rows


def row(question: str, answer: str, image: str | None = None) -> dict[str, Any]:
    """Return a conversation, with an image in its first message if one is named."""
    content = [{"type": "text", "text": question}]
    if image is not None:
        content.append({"type": "image", "path": image})
    return {
        "messages": [
            {"role": "user", "content": content},
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ]
    }


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write rows as JSON lines and return the path."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)
