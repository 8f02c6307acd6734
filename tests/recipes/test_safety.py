"""The settings in a YAML by an unknown author that need the user's consent."""

from __future__ import annotations

import base64
import copy
import os
import posixpath
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from axolotl_dmt.checks.yaml_keys import names_of_fields
from axolotl_dmt.config.args import DMTConfig, EvaluateConfig
from axolotl_dmt.recipes import safety
from axolotl_dmt.recipes.safety import deepspeed_findings, findings, outside

GOOD: dict[str, Any] = {
    "base_model": "org/base",
    "plugins": ["axolotl_dmt.DMTPlugin", "axolotl.integrations.liger.LigerPlugin"],
    "liger_rope": True,
    "datasets": [
        {"path": "openai/gsm8k", "name": "main", "type": "alpaca_chat.load_qa", "domain": "math"},
        {
            "path": "./data/code.jsonl",
            "type": {"field_instruction": "q", "format": "/think {instruction} ~ ../x"},
            "domain": "code",
            "split": "train[:5%]",
            "revision": "a" * 40,
        },
        {"path": "data/chat", "data_files": ["a/*.jsonl"], "type": "chat_template"},
    ],
    "chat_template_jinja": "{{ bos_token }}/{% for m in messages %}{{ m }}{% endfor %}",
    "special_tokens": {"pad_token": "<pad>", "eos_token": "</s>"},
    "dmt": {
        "strategy": "dmt",
        "k": "1/256",
        "replay": {"select": "hardest", "losses": "outputs/x/dmt/row_losses.parquet"},
        "evaluate": {
            "tasks": ["dmt_suite", "mmlu_stem"],
            "data": {"math": "data/test.jsonl"},
            "gen_kwargs": {"temperature": 0.0},
        },
    },
    "learning_rate": "2e-5",
    "output_dir": "./outputs/x",
    "deepspeed": "deepspeed_configs/zero3.json",
    "fsdp_config": {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP"},
    "use_wandb": None,
    "trust_remote_code": False,
}


def changed(path: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    at: Any = config
    for part in parents:
        at = at[int(part)] if part.isdigit() else at[part]
    at[int(last) if last.isdigit() else last] = value
    return config


def test_a_yaml_that_only_trains_needs_no_consent() -> None:
    assert findings(GOOD) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # another's code
        ("plugins.1", "evil.Plugin"),
        ("plugins.1", "liger.LigerPlugin"),
        ("plugins.1", "axolotl.integrations.hatchery.HatcheryPlugin"),
        ("plugins.1", "axolotl.integrations.nemo_gym.NemoGymPlugin"),
        ("plugins.1", "axolotl_dmt.DMTPlugin\nevil"),
        ("plugins", "evil.Plugin"),
        ("trust_remote_code", True),
        ("datasets.0.trust_remote_code", True),
        ("datasets.0.type", "my_module.strategy"),
        ("datasets.0.type", "os.system"),
        ("datasets.0.type", "alpaca.load_x.y"),
        ("datasets.0.type", ["alpaca"]),
        ("datasets.0.input_transform", "evil.f"),
        ("datasets.0.ds_type", "pandas"),
        ("datasets.0.ds_type", "evil.py"),
        ("trainer_cls", "evil.Trainer"),
        ("torchdistx_path", "evil"),
        ("type_of_model", "evil.Model"),
        ("tokenizer_type", "os.path"),
        ("attn_implementation", "somebody/kernel"),
        ("use_kernels", True),
        ("trl", {"reward_funcs": ["evil.f"]}),
        ("overrides_of_model_kwargs", {"trust_remote_code": True}),
        ("model_quantization_config", "Mxfp4Config"),
        ("dmt.hooks", ["hooks.py"]),
        ("dmt.evaluate.include_path", "tasks"),
        ("dmt.evaluate.tasks", ["tasks/evil.yaml"]),
        ("dmt.evaluate.tasks", ["../evil"]),
        ("dmt.evaluate.model_args", {"trust_remote_code": True}),
        ("dmt.evaluate.allow_unsafe_code", True),
        ("resume_from_checkpoint", "checkpoint"),
        ("lora_model_dir", "adapter"),
        # elsewhere on the machine
        ("output_dir", "/etc"),
        ("output_dir", "outputs/../../x"),
        ("output_dir", "~/x"),
        ("output_dir", ".git/hooks"),
        ("output_dir", "$HOME/x"),
        ("dataset_prepared_path", "/tmp/x"),
        ("base_model", "../other"),
        ("datasets.1.path", "/home/me/private.jsonl"),
        ("datasets.1.path", "data\\..\\x"),
        ("datasets.1.path", "C:/x"),
        ("datasets.2.data_files", ["ok.jsonl", "../x"]),
        ("datasets.1.chat_template_jinja", "/etc/passwd"),
        ("chat_template_jinja", "../secret.txt"),
        ("dmt.evaluate.data", {"math": "/etc/passwd"}),
        ("dmt.replay", {"select": "hardest", "losses": "/etc/passwd"}),
        ("deepspeed", "/etc/ds.json"),
        ("deepspeed", ["x"]),
        # servers
        ("datasets.1.path", "https://evil.example/x.jsonl"),
        ("datasets.1.path", "s3://bucket/x"),
        ("datasets.2.data_files", "zip://x::https://evil.example"),
        ("base_model", "https://evil.example/model"),
        ("wandb_project", "x"),
        ("use_wandb", True),
        ("mlflow_tracking_uri", "http://evil.example"),
        ("use_mlflow", True),
        ("hub_model_id", "me/model"),
        ("push_dataset_to_hub", "me/data"),
        ("comet_api_key", "x"),
        ("gradio_share", True),
        ("bench_dataset", "https://evil.example"),
        ("dmt.evaluate.judge", {"model": "x", "base_url": "https://evil.example/v1"}),
        ("vllm", {"host": "evil.example"}),
        ("otel_metrics_host", "0.0.0.0"),
        ("a_key_of_tomorrow", {"run": "this"}),
        ("datasets.0.a_key_of_tomorrow", 1),
        ("dmt.a_key_of_tomorrow", 1),
        ("fsdp_config", {"x": "/etc"}),
        ("lr_scheduler_kwargs", {"x": "https://evil.example"}),
        ("optim_args", "x=/etc"),
        ("datasets", ["x"]),
    ],
)
def test_settings_that_can_do_harm_are_found_and_named(path: str, value: Any) -> None:
    (finding,) = findings(changed(path, value))
    key = finding.key.replace("[", ".").replace("]", "")
    assert key == path or key.startswith(f"{path}.") or path.startswith(key)
    assert finding.reason
    assert "\n" not in str(finding)


def test_a_secret_is_found_and_not_repeated() -> None:
    (finding,) = findings({**GOOD, "optim_args": "hf_" + "a" * 34})
    assert finding.secret and "aaa" not in str(finding)


def test_a_secret_within_nested_settings_is_not_repeated() -> None:
    settings = {"storage_options": {"account": "me", "pass": "orange"}}
    config = changed("datasets.0", {**GOOD["datasets"][0], **settings})
    (finding,) = findings(config)
    assert finding.key == "datasets[0].storage_options"
    assert finding.secret and "orange" not in str(finding)


def test_what_was_masked_at_export_is_no_secret() -> None:
    assert findings({**GOOD, "optim_args": "***"}) == []


@pytest.mark.parametrize("key", ["datasets", "test_datasets"])
def test_datasets_in_another_shape_than_a_list_are_found(key: str) -> None:
    entry = {"path": "/etc/passwd", "type": "alpaca", "domain": "math"}
    (finding,) = findings({**GOOD, key: {"0": entry}})
    assert finding.key == key


def test_a_deepspeed_configuration_in_base64_is_found() -> None:
    encoded = base64.urlsafe_b64encode(b'{"wandb": {"enabled": true}}').decode().rstrip("=")
    (finding,) = findings({**GOOD, "deepspeed": encoded})
    assert finding.key == "deepspeed"


def test_a_deepspeed_file_may_not_log_elsewhere() -> None:
    good = {"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}, "bf16": {}}
    assert deepspeed_findings(good, "ds.json") == []
    assert findings({**GOOD, "deepspeed": good}) == []
    for bad in (
        {"wandb": {"enabled": True}},
        {"compile": {"backend": "evil.f"}},
        {"zero_optimization": {"offload_param": {"device": "nvme", "nvme_path": "/x"}}},
    ):
        assert len(deepspeed_findings(bad, "ds.json")) == 1


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(["..", ".", "a", "~", "", "$HOME", "C:"])).map("/".join)
)
@example("a/..//../x")
@example("./../x")
@example("././../x")
@example("a\0/../x")
@example("%USERPROFILE%/x")
def test_an_accepted_path_stays_in_the_working_folder(path: str) -> None:
    if outside(path) is not None:
        return
    joined = posixpath.normpath(posixpath.join("/work/folder", path))
    assert joined == "/work/folder" or joined.startswith("/work/folder/")
    assert os.path.expanduser(path) == os.path.expandvars(path) == path
    assert Path("/work/folder", path).is_relative_to("/work/folder")
    assert "://" not in path and "\\" not in path


@given(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True), min_size=1, max_size=4))
def test_plain_relative_paths_are_accepted(parts: list[str]) -> None:
    assert outside("/".join(parts)) is None
    assert outside("./" + "/".join(parts)) is None


def test_every_key_of_the_dmt_block_is_either_harmless_or_has_a_reason() -> None:
    known = {*safety.DMT, "evaluate", "dataset_domains", "hooks"}
    assert set(DMTConfig.model_fields) <= known
    reasons = {key.rsplit(".", 1)[1] for key in safety.REASONS if ".evaluate." in key}
    assert set(EvaluateConfig.model_fields) <= {*safety.EVALUATE, *reasons}


def test_every_harmless_key_is_one_of_axolotl() -> None:
    from axolotl.integrations.cut_cross_entropy.args import CutCrossEntropyArgs
    from axolotl.integrations.densemixer.args import DenseMixerArgs
    from axolotl.integrations.grokfast import GrokfastArgs
    from axolotl.integrations.liger.args import LigerArgs
    from axolotl.integrations.spectrum.args import SpectrumArgs
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from axolotl.utils.schemas.datasets import SFTDataset, UserDefinedPrompterType

    models = (
        AxolotlInputConfig,
        LigerArgs,
        CutCrossEntropyArgs,
        SpectrumArgs,
        GrokfastArgs,
        DenseMixerArgs,
    )
    known = {name for model in models for name in names_of_fields(model)}
    assert set(safety.TOP) - known == set()
    assert set(safety.DATASET) - set(SFTDataset.model_fields) == {"domain"}
    assert set(safety.PROMPT_TYPE) == set(UserDefinedPrompterType.model_fields)


def test_keys_with_a_reason_are_on_no_list_of_harmless_ones() -> None:
    names = {key.rsplit(".", 1)[-1] for key in safety.REASONS}
    harmless = (*safety.TOP, *safety.DATASET, *safety.DMT)
    assert names.isdisjoint({*harmless, *safety.EVALUATE})
