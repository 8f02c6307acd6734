"""Checks a YAML by an unknown author against a list of harmless keys.

Axolotl has about 400 keys, and each release adds more. Some import Python modules, open files,
download code, or send credentials and models to servers. Therefore every key that is not on the
lists in this module is shown to the user, who can allow it with `--trust`. A key is on a list if
the worst that an accepted value can do is waste compute time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from axolotl_dmt.results.secrets import MASK, masked

Check: TypeAlias = Callable[[Any], str | None]
"""Returns why a value could do harm, or None if it is harmless."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A setting in a recipe's YAML that needs the user's consent.

    Attributes:
        key: its key, dotted and indexed: `datasets[0].path`.
        value: its value, masked if it is a secret.
        reason: what it could do.
        secret: whether it looks like a password or a key.
    """

    key: str
    value: Any
    reason: str
    secret: bool = False

    @property
    def problem(self) -> str:
        """The value, shortened, and the reason, in one line."""
        text = repr(self.value)
        return f"{text if len(text) <= 80 else text[:79] + '…'} {self.reason}"

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}"


def outside(path: Any) -> str | None:
    """Return why a path could point outside the working folder, or None if it cannot.

    A name on the Hub passes, too. Only the text of the path is checked: recipes contain no links.
    """
    if not isinstance(path, str) or not path or len(path) > 400:
        return "is not a path"
    if any(ord(char) < 32 or char in ':$%~\\"|<>\x7f' for char in path):
        return "points outside the working folder, or is a URL"
    parts = path.removeprefix("./").split("/")
    if path.startswith("/") or any(part.startswith(".") for part in parts if part):
        return "points outside the working folder, or to a hidden file"
    return None


_SCALAR = re.compile(r"[\w.+-][\w.+% -]{0,99}")
_STRATEGY = re.compile(
    # Axolotl imports any other dotted name as a Python module.
    r"(alpaca|alpaca_chat|alpaca_instruct|alpaca_w_system|chat_template|completion|context_qa|"
    r"creative_acr|explainchoice|concisechoice|summarizetldr|gpteacher|reflection|input_output|"
    r"llama2_chat|metharme|orcamini|pygmalion|stepwise_supervised|jeopardy|oasst)"
    r"(\.load(_\w+)?|:\w+)?"
    r"|axolotl_dmt\.chat"
)
_PLUGINS = re.compile(
    # Axolotl's plugins that only change how the model computes; others contact servers.
    r"axolotl_dmt\.DMTPlugin|"
    r"axolotl\.integrations\.(liger|cut_cross_entropy|spectrum|grokfast|densemixer)\.\w+"
)
_CLASS = re.compile(r"[A-Z][A-Za-z0-9_]*")
_TASK = re.compile(r"[A-Za-z0-9][\w-]*")
_REVISION = re.compile(r"[\w][\w.-]*")


def _matches(pattern: re.Pattern[str], reason: str) -> Check:
    def check(value: Any) -> str | None:
        return None if isinstance(value, str) and pattern.fullmatch(value) else reason

    return check


def _scalar(value: Any) -> str | None:
    if value is None or isinstance(value, (bool, int, float)):
        return None
    return _matches(_SCALAR, "is neither a number nor a single word")(value)


def _text(value: Any) -> str | None:
    return None if value is None or isinstance(value, str) else "is not text"


def _jinja(value: Any) -> str | None:
    # Transformers renders templates in a sandbox; a value without a brace names a file.
    return _text(value) if isinstance(value, str) and "{" in value else outside(value)


def _each(check: Check) -> Check:
    """Return a check of every item of a list, or of a value that is not a list."""

    def each(value: Any) -> str | None:
        items = value if isinstance(value, list) else [value]
        return next((reason for reason in map(check, items) if reason), None)

    return each


def _settings(value: Any) -> str | None:
    """Accept nested numbers and words, which cannot be paths, URLs or programs."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return _each(_settings)(value) if isinstance(value, list) else _scalar(value)


def _texts(value: Any) -> str | None:
    return _each(_text)(list(value.values()) if isinstance(value, Mapping) else value)


def _anything(value: Any) -> str | None:
    return None  # pydantic has validated the `dmt:` block


def _keys(names: str, check: Check) -> dict[str, Check]:
    return dict.fromkeys(names.split(), check)


DATASET: Mapping[str, Check] = {
    **_keys("path data_files", _each(outside)),
    **_keys(
        "domain name split shards shards_idx preprocess_shards field field_human field_model "
        "field_messages field_tools field_thinking template_thinking_key message_field_role "
        "message_field_content message_field_training message_field_training_detail "
        "split_thinking roles_to_train train_on_eos train_on_eot drop_system_message "
        "chat_template temperature logprobs_field conversation",
        _each(_scalar),
    ),
    "split": _matches(
        re.compile(r"\w+(\[[-\d:%]*\])?(\+\w+(\[[-\d:%]*\])?)*"), "is not a dataset split"
    ),
    "revision": _matches(_REVISION, "is not a revision"),
    "ds_type": _matches(re.compile("json|csv|parquet|arrow|text"), "could load more than data"),
    "message_property_mappings": _settings,
    "roles": _settings,
    "chat_template_jinja": _jinja,
}

PROMPT_TYPE: Mapping[str, Check] = _keys(
    "system_prompt system_format field_system field_instruction field_input field_output format "
    "no_input_format",
    _text,
)

EVALUATE: Mapping[str, Check] = {
    **_keys(
        "when before prompt limit num_fewshot batch_size batching cache_share stop_early "
        "apply_chat_template max_new_tokens runner model samples items domains devices "
        "enable_thinking think_end_token",
        _anything,
    ),
    "chat_template_args": _settings,
    "tasks": _each(_matches(_TASK, "is a task file, which can contain code")),
    "data": lambda value: _each(outside)(list(value.values())),
    "gen_kwargs": _settings,
}

DMT: Mapping[str, Check] = {
    **_keys(
        "strategy k general sequence domain stages overrides seed order select redraw max_repeats "
        "val_rows reset_optimizer start_stage on_plan_change keep improve solve solved "
        "loss_by_domain decontaminate",
        _anything,
    ),
    "gate": lambda value: outside(value.get("against") or "none"),
    "replay": lambda value: outside(value.get("losses", "none")),
}

DEEPSPEED: Mapping[str, Check] = _keys(
    "zero_optimization bf16 fp16 gradient_accumulation_steps gradient_clipping train_batch_size "
    "train_micro_batch_size_per_gpu steps_per_print wall_clock_breakdown communication_data_type "
    "zero_allow_untested_optimizer zero_force_ds_cpu_optimizer activation_checkpointing",
    _settings,
)

TOP: Mapping[str, Check] = {
    **_keys(
        "base_model base_model_config model_config tokenizer_config output_dir "
        "dataset_prepared_path spectrum_model_name",
        outside,
    ),
    **_keys(
        # training
        "micro_batch_size gradient_accumulation_steps batch_size eval_batch_size num_epochs "
        "max_steps learning_rate embedding_lr embedding_lr_scale weight_decay optimizer "
        "lr_scheduler lr_quadratic_warmup cosine_min_lr_ratio cosine_constant_lr_ratio "
        "lr_div_factor adam_epsilon adam_epsilon2 adam_beta1 adam_beta2 adam_beta3 max_grad_norm "
        "warmup_steps warmup_ratio train_on_inputs group_by_length neftune_noise_alpha "
        "noisy_embedding_alpha loraplus_lr_ratio loraplus_lr_embedding seed val_set_size "
        "loss_watchdog_threshold loss_watchdog_patience early_stopping_patience "
        # precision and memory
        "bf16 fp16 fp8 bfloat16 float16 float32 tf32 load_in_8bit load_in_4bit "
        "gradient_checkpointing activation_offloading layer_offloading low_cpu_mem_usage "
        "gpu_memory_limit torch_compile torch_compile_mode tiled_mlp tiled_mlp_num_shards "
        "chunked_cross_entropy chunked_cross_entropy_num_chunks torch_empty_cache_steps gc_steps "
        "gc_collect_steps embeddings_skip_upcast fp32_norms "
        # adapters
        "adapter lora_r lora_alpha lora_dropout lora_target_linear lora_fan_in_fan_out "
        "lora_mlp_kernel lora_qkv_kernel lora_o_kernel lora_embedding_kernel lora_on_cpu "
        "peft_use_dora peft_use_rslora peft_init_lora_weights peft_autocast_adapter_dtype "
        "peft_ensure_weight_tying qlora_sharded_model_loading merge_lora merge_method "
        # model and tokenizer
        "sequence_len eval_sequence_len min_sample_len excess_length_strategy reinit_weights "
        "resize_token_embeddings_to_32x mean_resizing_embeddings shrink_embeddings "
        "tokenizer_use_fast tokenizer_legacy tokenizer_save_jinja_files chat_template "
        "attn_implementation flash_attention sdp_attention flex_attention xformers_attention "
        "eager_attention sample_packing sample_packing_group_size sample_packing_bin_size "
        "sample_packing_sequentially sample_packing_mp_start_method eval_sample_packing "
        "pad_to_sequence_len pad_to_multiple_of batch_flattening multipack_real_batches "
        "is_falcon_derived_model is_llama_derived_model is_mistral_derived_model "
        "is_qwen_derived_model "
        # data
        "shuffle_merged_datasets shuffle_before_merging_datasets dataset_num_proc "
        "dataset_processes dataset_exact_deduplication dataset_keep_in_memory "
        "dataloader_num_workers dataloader_pin_memory dataloader_prefetch_factor "
        "dataloader_drop_last skip_prepare_dataset remove_unused_columns image_size "
        "image_resize_algorithm "
        # several GPUs
        "fsdp_version fsdp_final_state_dict_type dp_shard_size dp_replicate_size "
        "context_parallel_size tensor_parallel_size heads_k_stride ring_attn_func ddp_timeout "
        "ddp_bucket_cap_mb ddp_broadcast_buffers ddp_find_unused_parameters "
        # saving and logging
        "logging_steps save_steps saves_per_epoch save_strategy save_total_limit save_first_step "
        "save_only_model save_safetensors eval_steps evals_per_epoch eval_strategy "
        "load_best_model_at_end metric_for_best_model greater_is_better use_tensorboard "
        "include_tokens_per_second include_tkps auto_resume_from_checkpoints strict "
        # Axolotl's own plugins
        "liger_rope liger_rms_norm liger_rms_norm_gated liger_layer_norm liger_swiglu "
        "liger_glu_activation liger_cross_entropy liger_fused_linear_cross_entropy "
        "liger_use_token_scaling cut_cross_entropy spectrum_top_fraction grokfast_alpha "
        "grokfast_lamb dense_mixer",
        _scalar,
    ),
    **_keys(
        "lr_scheduler_kwargs optim_args gradient_checkpointing_kwargs lora_rank_pattern "
        "lora_alpha_pattern rope_scaling fsdp fsdp_config max_memory bnb_config_kwargs "
        "peft_layers_to_transform fix_untrained_tokens selective_checkpointing lr_groups",
        _settings,
    ),
    **_keys(
        "lora_target_modules lora_target_parameters lora_modules_to_save unfrozen_parameters "
        "special_tokens tokens eot_tokens default_system_message peft_layers_pattern "
        "optim_target_modules",
        _texts,
    ),
    **_keys(
        "type_of_model model_type tokenizer_type processor_type",
        _matches(_CLASS, "is not the name of a transformers class"),
    ),
    **_keys("revision_of_model model_revision", _matches(_REVISION, "is not a revision")),
    "plugins": _each(_matches(_PLUGINS, "runs code of another package")),
    "chat_template_jinja": _jinja,
}

REASONS: Mapping[str, str] = {
    "trust_remote_code": "runs code from the repository of a model or dataset",
    "resume_from_checkpoint": "loads a checkpoint, which can contain code",
    "trainer_cls": "imports a Python module",
    "torchdistx_path": "imports Python modules from a folder",
    "rl": "is not supported with dmt",
    "trl": "imports Python functions and contacts servers",
    "vllm": "starts or contacts a server",
    "use_kernels": "runs code from the Hub",
    "overrides_of_model_kwargs": "changes how and from where the model is loaded",
    "bench_dataset": "downloads from a URL",
    "push_dataset_to_hub": "uploads your data",
    "hf_use_auth_token": "sends your token",
    "gradio_share": "opens a server to the internet",
    "use_ray": "runs on your Ray cluster",
    "dmt.hooks": "runs Python code",
    "dmt.evaluate.include_path": "loads task files, which can contain code",
    "dmt.evaluate.judge": "sends your API key and the answers to a server, at your expense",
    "dmt.evaluate.model_args": "changes how the model is loaded",
    "dmt.evaluate.allow_unsafe_code": "runs generated code without isolation",
}
"""What the well-known keys that are on no list could do."""

_SENDS = re.compile(r"(wandb|comet|mlflow|trackio|swanlab|hub|otel|hf_mlflow)_|use_(wandb|comet)")


def findings(config: Mapping[str, Any]) -> list[Finding]:
    """Return the settings in a YAML that could do more than train a model in the working folder.

    Args:
        config: the content of the YAML; its `dmt:` block has passed `config.args.read_config`.

    Returns:
        The findings; an empty list if the YAML is harmless.
    """
    return [*_findings(config)]


def deepspeed_findings(config: Mapping[str, Any], where: str) -> list[Finding]:
    """Return the settings in a DeepSpeed configuration that could do harm.

    Args:
        config: the content of the DeepSpeed configuration.
        where: its file name or YAML key, the prefix of each finding's key.
    """
    return [*_check_block(config, DEEPSPEED, f"{where}.")]


def _findings(config: Mapping[str, Any]) -> Iterable[Finding]:
    blocks = ("datasets", "test_datasets", "dmt", "deepspeed")
    yield from _check_block({k: v for k, v in config.items() if k not in blocks}, TOP, "")
    for key in ("datasets", "test_datasets"):
        entries = config.get(key) or []
        if not isinstance(entries, list):
            yield Finding(key=key, value=masked(entries, key), reason="is not a list of datasets")
            continue
        for index, entry in enumerate(entries):
            yield from _check_dataset(entry, f"{key}[{index}]")
    block = config.get("dmt") or {}
    yield from _check_block({k: v for k, v in block.items() if k != "evaluate"}, DMT, "dmt.")
    yield from _check_block(block.get("evaluate") or {}, EVALUATE, "dmt.evaluate.")
    deepspeed = config.get("deepspeed")
    if isinstance(deepspeed, Mapping):
        yield from deepspeed_findings(deepspeed, "deepspeed")
    elif deepspeed is not None and (reason := outside(deepspeed) or _not_json(deepspeed)):
        yield Finding(key="deepspeed", value=deepspeed, reason=reason)


def _not_json(path: str) -> str | None:
    # DeepSpeed also takes a whole configuration in base64, which nobody can look into.
    return None if path.endswith(".json") else "is not the name of a JSON file"


def _check_dataset(entry: Any, where: str) -> Iterable[Finding]:
    if not isinstance(entry, Mapping):
        yield Finding(key=where, value=entry, reason="is not a dataset")
        return
    kind = entry.get("type")
    if isinstance(kind, Mapping):
        yield from _check_block(kind, PROMPT_TYPE, f"{where}.type.")
    elif kind is not None and not (isinstance(kind, str) and _STRATEGY.fullmatch(kind)):
        yield Finding(key=f"{where}.type", value=kind, reason="could import a Python module")
    yield from _check_block({k: v for k, v in entry.items() if k != "type"}, DATASET, f"{where}.")


def _check_block(
    block: Mapping[str, Any], allowed: Mapping[str, Check], prefix: str
) -> Iterable[Finding]:
    for name, value in block.items():
        key = f"{prefix}{name}"
        if value == MASK:
            continue  # the author's value, without which the recipe was shared
        shown = masked(value, str(name))
        if shown != value:
            yield Finding(key=key, value=shown, reason="looks like a secret", secret=True)
        elif name in allowed:
            if value is not None and (reason := allowed[name](value)):
                yield Finding(key=key, value=value, reason=reason)
        elif value not in (None, False):
            yield Finding(key=key, value=value, reason=_reason(key, str(name)))


def _reason(key: str, name: str) -> str:
    if reason := REASONS.get(key) or REASONS.get(name):
        return reason
    if _SENDS.match(name):
        return "sends data about the run, or its results, to a server"
    return "is not on the list of harmless keys"
