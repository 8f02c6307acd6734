"""Answers that are generated continuously are those of lm-eval's static batches."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from axolotl_dmt.evaluation import answering_model
from axolotl_dmt.evaluation.answering_model import AnsweringModel
from axolotl_dmt.evaluation.batching import Batching
from axolotl_dmt.evaluation.live import undisturbed
from tests.tiny_model import make_tokenizer

TOKENIZER = make_tokenizer()
SIZES: dict[str, Any] = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.4,  # so that the answers differ and end at various places
    "eos_token_id": TOKENIZER.eos_token_id,
    "pad_token_id": TOKENIZER.pad_token_id,
    "bos_token_id": TOKENIZER.bos_token_id,
}
PROMPTS = ["What is 7 times 8? " * count + end for count in (1, 6, 2, 9, 3) for end in "ab"]


def make(kind: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZES, **changes})
    return AutoModelForCausalLM.from_config(config).eval()


def with_lora(model: Any) -> Any:
    adapter = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter += torch.randn_like(parameter) / 50
    return adapter.eval()


MODELS: dict[str, Callable[[], Any]] = {
    "grouped queries": lambda: make("llama"),
    "eager": lambda: make("llama", attn_implementation="eager"),
    "one head for all": lambda: make("qwen3", num_key_value_heads=1, head_dim=8),
    "a window": lambda: make("mistral", sliding_window=12),
    "some windows": lambda: make(
        "gemma3_text", sliding_window=12, num_hidden_layers=6, head_dim=8, pad_token_id=0
    ),
    "no rotation": lambda: make("gpt2", n_positions=512, n_embd=32, n_layer=2, n_head=4),
    "bias by distance": lambda: make("bloom", n_layer=2, n_head=4),
    "mixture of experts": lambda: make("mixtral", num_local_experts=4, sliding_window=None),
    "double": lambda: make("llama").double(),
    "lora": lambda: with_lora(make("llama")),
    "compiled": lambda: torch.compile(make("llama")),
}


def requests(
    prompts: Sequence[str] = PROMPTS, task: str = "dmt_math", **settings: Any
) -> list[Instance]:
    """Return requests with two limits, whose answers also end at some characters."""
    return [
        Instance(
            request_type="generate_until",
            doc={},
            arguments=(
                prompt,
                {"until": ["Q", "zz"], "max_gen_toks": 16 + 8 * (i % 2), "do_sample": False}
                | settings,
            ),
            idx=i,
            metadata=(task, i, 1),
        )
        for i, prompt in enumerate(prompts)
    ]


def ours(model: Any, **arguments: Any) -> AnsweringModel:
    batching = arguments.pop("batching", Batching())
    return AnsweringModel(
        batching=batching,
        pretrained=model,
        tokenizer=copy.deepcopy(TOKENIZER),
        batch_size=4,
        **arguments,
    )


def plain(model: Any, asked: Sequence[Instance], *, batch: int = 1, **arguments: Any) -> list[str]:
    """Return what lm-eval's own model answers, by default one prompt at a time."""
    tokenizer = copy.deepcopy(TOKENIZER)
    model = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, **arguments)
    answers: list[str] = model.generate_until(list(asked), disable_tqdm=True)
    return answers


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make room for few answers, so that most prompts have to wait; fill new memory with NaN."""
    monkeypatch.setattr(answering_model, "MOST_ROWS_ON_CPU", 4)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("name", MODELS)
def test_greedy_answers_are_those_of_static_batches(name: str) -> None:
    model = MODELS[name]()
    expected = plain(model, requests())
    assert len(set(expected)) > 1
    assert len({len(answer) for answer in expected}) > 1
    continuous = ours(model)
    assert continuous.generate_until(requests(), disable_tqdm=True) == expected
    assert continuous.generation.batching.startswith("continuous batching, 4 answers at once")
    static = ours(model, batching=Batching(mode="static"))
    assert static.generate_until(requests(), disable_tqdm=True) == expected
    assert static.generation.batching.startswith("static batches of 4")
    assert static.generation.tokens >= continuous.generation.tokens > 0
    assert continuous.generation.to_json()["tokens_per_second"] > 0


STATIC: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "state": (
        lambda: make("mamba", n_layer=2, state_size=4, tie_word_embeddings=False),
        {},
        "holds more than keys and values",
    ),
    "penalty": (lambda: make("llama"), {"repetition_penalty": 1.3}, "RepetitionPenalty"),
    "beams": (lambda: make("llama"), {"num_beams": 2}, "generation mode"),
    "prompt tuning": (
        lambda: get_peft_model(
            make("llama"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
        ).eval(),
        {},
        "adds its own tokens",
    ),
}


@pytest.mark.parametrize("name", STATIC)
def test_what_cannot_be_continuous_is_static_and_says_why(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    build, settings, reason = STATIC[name]
    model, asked = build(), requests(PROMPTS[:3], **settings)
    # With the virtual tokens of prompt tuning, answers depend on the padding of a batch.
    expected = plain(model, asked, batch=4)
    caplog.set_level("INFO", "axolotl_dmt")
    assert ours(model).generate_until(asked, disable_tqdm=True) == expected
    (line,) = (r.getMessage() for r in caplog.records if r.name == "axolotl_dmt")
    assert "static batches" in line
    assert reason in line


def test_a_model_that_computes_something_else_with_a_cache_is_static() -> None:
    """As remote code may, this model ignores the positions that it is given."""
    model = make("llama")
    original = type(model).forward

    class Wrong(type(model)):  # type: ignore[misc]
        def forward(self, *args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
            kwargs.pop("position_ids", None)
            return original(self, *args, past_key_values=past_key_values, **kwargs)

    model.__class__ = Wrong
    answering = ours(model)
    answering.generate_until(requests(PROMPTS[:2]), disable_tqdm=True)
    assert "a trial of it gave logits that differ" in answering.generation.batching


def test_a_prompt_beyond_the_models_length_is_cut_as_lm_eval_cuts_it() -> None:
    model = make("llama")
    asked = requests(["long " * 200, "short"])
    expected = plain(model, asked, max_length=100)
    assert ours(model, max_length=100).generate_until(asked, disable_tqdm=True) == expected


@pytest.mark.parametrize("end", ["=", TOKENIZER.encode("=", add_special_tokens=False)[0]])
def test_reasoning_is_removed_as_lm_eval_removes_it(end: str | int) -> None:
    model = make("llama")
    expected = plain(model, requests(), think_end_token=end)
    assert expected != plain(model, requests())
    answers = ours(model, think_end_token=end).generate_until(requests(), disable_tqdm=True)
    assert answers == expected


def test_samples_are_drawn_from_the_model() -> None:
    model = make("llama")
    sure = requests(do_sample=True, temperature=0.7, top_k=1)
    answering = ours(model)
    assert answering.generate_until(sure, disable_tqdm=True) == plain(model, requests())
    assert answering.generation.batching.startswith("continuous")
    warm = requests(do_sample=True, temperature=1.0)
    assert answering.generate_until(warm, disable_tqdm=True) != plain(model, requests())


def read_tokens(model: Any, asked: Sequence[Instance]) -> tuple[list[str], int]:
    """Return the answers, and how many tokens the model computed for them, without the trial."""
    answering = ours(model)
    answering.generate_until(asked[:1], disable_tqdm=True)
    computed = 0

    def count(module: Any, args: Any, kwargs: Any) -> None:
        nonlocal computed
        computed += kwargs["input_ids"].numel()

    handle = model.register_forward_pre_hook(count, with_kwargs=True)
    answers = answering.generate_until(asked, disable_tqdm=True)
    handle.remove()
    return answers, computed


def test_examples_that_begin_all_prompts_of_a_task_are_read_once() -> None:
    model = make("llama")
    examples = "Question: 1 + 1? Answer: 2. " * 10
    asked = requests([f"{examples}{prompt}" for prompt in PROMPTS[:8]])
    answers, computed = read_tokens(model, asked)
    assert answers == plain(model, asked)
    least = sum(len(request.args[0]) for request in asked) - 7 * len(examples)
    assert computed < least + 8 * 32 + 8 * 200  # answers, and padding
    apart = [*requests(PROMPTS[:1]), *requests([r.args[0] for r in asked], task="")[1:]]
    assert read_tokens(model, apart)[1] > computed - len(asked[0].args[0])


def test_answers_that_repeat_themselves_take_several_tokens_at_a_time() -> None:
    model = make("llama")
    with torch.no_grad():  # each token follows from the one before it, so every answer is a loop
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    asked = requests(PROMPTS[:3], max_gen_toks=100, until=[])
    steps = []

    def count(module: Any, args: Any, kwargs: Any) -> None:
        steps.append(kwargs["input_ids"].shape)

    answering = ours(model)
    answering.generate_until(asked[:1], disable_tqdm=True)
    before = answering.generation.tokens
    handle = model.register_forward_pre_hook(count, with_kwargs=True)
    answers = answering.generate_until(asked, disable_tqdm=True)
    handle.remove()
    assert answers == plain(model, asked, batch=3)
    assert answering.generation.tokens - before > 200
    assert len(steps) < 60
    assert all(rows * columns <= 64 for rows, columns in steps[2:])


def test_fewer_answers_are_generated_at_once_where_memory_runs_out() -> None:
    model = make("llama")
    expected = plain(model, requests())
    batches = []

    def run_out(module: Any, args: Any, kwargs: Any) -> None:
        batches.append(kwargs["input_ids"].shape[0])
        if batches[-1] > 3:
            raise torch.OutOfMemoryError("out of memory")

    answering = ours(model)
    model.register_forward_pre_hook(run_out, with_kwargs=True)
    assert answering.generate_until(requests(), disable_tqdm=True) == expected
    assert max(batches) > 3


def test_the_cache_takes_no_more_than_its_share() -> None:
    model = make("llama")
    answering = ours(model, batching=Batching(cache_share=1e-12))
    assert answering.generate_until(requests(), disable_tqdm=True) == plain(model, requests())
    assert answering.generation.batching.startswith("continuous batching, 1 answers at once")


def gradients(model: Any) -> list[torch.Tensor]:
    model.zero_grad()
    tokens = torch.arange(3, 40)[None]
    torch.manual_seed(5)
    model(input_ids=tokens, labels=tokens).loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", ["grouped queries", "lora", "some windows", "eager"])
def test_the_model_and_the_training_are_as_they_were(name: str) -> None:
    model = MODELS[name]().train()
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    before = gradients(model)
    config, attention = model.config.to_dict(), dict(ALL_ATTENTION_FUNCTIONS)
    threads, random = threading.active_count(), torch.get_rng_state()
    with undisturbed(model):
        ours(model).generate_until(requests(do_sample=True, temperature=1.0), disable_tqdm=True)
    assert torch.equal(torch.get_rng_state(), random)
    assert threading.active_count() == threads
    assert model.config.to_dict() == config
    assert dict(ALL_ATTENTION_FUNCTIONS) == attention
    assert all(module.training for module in model.modules())
    assert all(map(torch.equal, gradients(model), before))


def test_an_error_surfaces_and_leaves_attention_as_it_was() -> None:
    model = make("llama")
    answering = ours(model)
    answering.generate_until(requests(PROMPTS[:1]), disable_tqdm=True)
    attention = dict(ALL_ATTENTION_FUNCTIONS)

    def fail(*_: Any) -> None:
        raise OSError("the device is gone")

    model.register_forward_pre_hook(fail)
    with pytest.raises(OSError, match="the device is gone"):
        answering.generate_until(requests(), disable_tqdm=True)
    assert dict(ALL_ATTENTION_FUNCTIONS) == attention
